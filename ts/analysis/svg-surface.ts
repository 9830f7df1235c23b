/** A loss surface as filled contours (marching squares with linear interpolation) with the training path over it. */
import { escapeHtml } from '../train/svg-chart.js';
import { frame, place } from './svg-frame.js';

export interface SurfaceDrawing {
  a: readonly number[];
  b: readonly number[];
  /** [b][a] row by row */
  losses: readonly number[];
  path: readonly { step: number; a: number; b: number; loss: number }[];
  xLabel: string;
  yLabel: string;
}

const levelsWanted = 14;

/** Levels between the least and the largest loss: even steps of the logarithm where the losses span more than a factor of 30. */
export function contourLevels(losses: readonly number[]): { levels: number[]; logarithmic: boolean } {
  const finite = losses.filter((loss) => Number.isFinite(loss));
  const low = Math.min(...finite);
  const high = Math.max(...finite);
  const logarithmic = low > 0 && high / low > 30;
  const [from, to] = logarithmic ? [Math.log(low), Math.log(high)] : [low, high];
  const levels = Array.from({ length: levelsWanted }, (_, k) => from + ((k + 1) * (to - from)) / levelsWanted);
  return { levels: logarithmic ? levels.map(Math.exp) : levels, logarithmic };
}

type Corner = readonly [x: number, y: number, value: number];

/** The part of a cell where the value is at most `level`, and the line where it equals it. */
function clip(cell: readonly Corner[], level: number): { polygon: [number, number][]; line: [number, number][] } {
  const polygon: [number, number][] = [];
  const line: [number, number][] = [];
  for (let i = 0; i < 4; i++) {
    const [x0, y0, v0] = cell[i];
    const [x1, y1, v1] = cell[(i + 1) % 4];
    if (v0 <= level) polygon.push([x0, y0]);
    if (v0 <= level !== v1 <= level) {
      const t = (level - v0) / (v1 - v0);
      const crossing: [number, number] = [x0 + t * (x1 - x0), y0 + t * (y1 - y0)];
      polygon.push(crossing);
      line.push(crossing);
    }
  }
  return { polygon, line };
}

export function renderSurface({ a, b, losses, path, xLabel, yLabel }: SurfaceDrawing): string {
  const columns = a.length;
  const rows = b.length;
  const f = frame({
    title: 'Loss in the plane of two eigenvectors',
    xLabel,
    yLabel,
    x: [a[0], a[columns - 1]],
    y: [b[0], b[rows - 1]],
    yScale: 'linear',
    tight: true,
  });
  const { levels, logarithmic } = contourLevels(losses);
  // Interpolation on the scale that the levels are even in.
  const scale = (value: number): number => (logarithmic ? Math.log(value) : value);
  const values = losses.map((loss) => (Number.isFinite(loss) ? scale(loss) : Infinity));
  const out: string[] = [
    `<rect x="${f.left}" y="${f.top}" width="${f.right - f.left}" height="${f.bottom - f.top}" style="fill:${tone(levels.length - 1)}"/>`,
  ];
  const lines: string[] = [];
  for (let k = levels.length - 2; k >= 0; k--) {
    const level = scale(levels[k]);
    const shapes: string[] = [];
    for (let j = 0; j + 1 < rows; j++) {
      const [y0, y1] = [f.py(b[j]), f.py(b[j + 1])];
      let from = -1;
      const flush = (to: number): void => {
        if (from >= 0)
          shapes.push(
            `M${place(f.px(a[from]))} ${place(y0)}H${place(f.px(a[to]))}V${place(y1)}H${place(f.px(a[from]))}Z`,
          );
        from = -1;
      };
      for (let i = 0; i + 1 < columns; i++) {
        const [x0, x1] = [f.px(a[i]), f.px(a[i + 1])];
        const at = j * columns + i;
        const cell: Corner[] = [
          [x0, y0, values[at]],
          [x1, y0, values[at + 1]],
          [x1, y1, values[at + columns + 1]],
          [x0, y1, values[at + columns]],
        ];
        const inside = cell.filter(([, , value]) => value <= level).length;
        if (inside === 4) {
          // Whole cells of a row make one rectangle.
          if (from < 0) from = i;
          continue;
        }
        flush(i);
        if (inside === 0) continue;
        const { polygon, line } = clip(cell, level);
        shapes.push(`M${polygon.map(([x, y]) => `${place(x)} ${place(y)}`).join('L')}Z`);
        for (let s = 0; s + 1 < line.length; s += 2)
          lines.push(`M${place(line[s][0])} ${place(line[s][1])}L${place(line[s + 1][0])} ${place(line[s + 1][1])}`);
      }
      flush(columns - 1);
    }
    // The stroke covers the seams between neighbouring cells.
    if (shapes.length > 0)
      out.push(`<path d="${shapes.join('')}" style="fill:${tone(k)};stroke:${tone(k)};stroke-width:.8"/>`);
  }
  out.push(`<path class="isoline" d="${lines.join('')}"/>`);
  out.push(`<g clip-path="inset(0)">${pathMarks(path, f.px, f.py, f)}</g>`);
  const [x, y] = [place(f.px(0)), place(f.py(0))];
  out.push(
    `<path d="M${x} ${y}m-6 0h12m-6 -6v12" style="stroke:var(--ink);stroke-width:1.6;fill:none"><title>the point analysed</title></path>`,
  );
  return f.figure(out.join('')) + scaleBar(levels, losses, logarithmic);
}

function pathMarks(
  path: SurfaceDrawing['path'],
  px: (v: number) => number,
  py: (v: number) => number,
  box: { left: number; right: number; top: number; bottom: number },
): string {
  if (path.length < 2) return '';
  const seen = path
    .map((p) => ({ ...p, x: px(p.a), y: py(p.b) }))
    .filter((p) => p.x >= box.left && p.x <= box.right && p.y >= box.top && p.y <= box.bottom);
  if (seen.length < 2) return '';
  const line = `<path class="path" d="${seen.map((p, i) => `${i === 0 ? 'M' : 'L'}${place(p.x)} ${place(p.y)}`).join('')}"><title>training path</title></path>`;
  const stride = Math.ceil(seen.length / 120);
  const dots = seen
    .filter((_, i) => i === 0 || i === seen.length - 1 || i % stride === 0)
    .map(
      (p, i) =>
        `<circle cx="${place(p.x)}" cy="${place(p.y)}" r="${i === 0 ? 4 : 1.7}" style="fill:var(--path)"><title>${escapeHtml(`step ${p.step}: loss ${p.loss.toPrecision(4)}`)}</title></circle>`,
    );
  return line + dots.join('');
}

/** Low losses strong, high ones pale. */
function tone(k: number): string {
  const share = 1 - k / (levelsWanted - 1);
  return share > 0.5
    ? `color-mix(in oklab,var(--h3) ${Math.round((share - 0.5) * 200)}%,var(--h2))`
    : `color-mix(in oklab,var(--h2) ${Math.round(share * 200)}%,var(--h1))`;
}

function scaleBar(levels: readonly number[], losses: readonly number[], logarithmic: boolean): string {
  const low = Math.min(...losses.filter((loss) => Number.isFinite(loss)));
  const label = (value: number): string =>
    Math.abs(value) >= 1e-2 && Math.abs(value) < 1e4
      ? String(Number(value.toPrecision(3)))
      : value.toExponential(1).replace('e+', 'e');
  const cells = levels
    .map((level, k) => `<span style="background:${tone(k)}" title="to ${label(level)}"></span>`)
    .join('');
  return `<div class="scale"><span>${label(low)}</span><div>${cells}</div><span>${label(levels[levels.length - 1])}</span><em>loss${logarithmic ? ', logarithmic' : ''}</em></div>`;
}
