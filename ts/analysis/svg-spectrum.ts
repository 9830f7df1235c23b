/** Drawings of spectra: exact counts per bin under the quadrature's estimate, and eigenvalues by magnitude. */
import { escapeHtml } from '../train/svg-chart.js';
import { frame, place } from './svg-frame.js';

export interface SpectrumDrawing {
  edges: readonly number[];
  counts: readonly number[];
  estimates: readonly number[];
  standardErrors: readonly number[];
  smooth: { grid: readonly number[]; density: readonly number[] };
  /** P */
  parameters: number;
}

/** Counts below this are not told apart from none on a logarithmic axis. */
const floor = 0.5;

/** Bars: exact numbers of eigenvalues per bin. Line: smoothed density of the quadrature. Whiskers: its count per bin, +-2 deviations. */
export function renderSpectrum({
  edges,
  counts,
  estimates,
  standardErrors,
  smooth,
  parameters,
}: SpectrumDrawing): string {
  const bins = counts.length;
  const f = frame({
    title: 'Spectral density: exact counts over the Lanczos estimate',
    xLabel: 'eigenvalue',
    yLabel: 'eigenvalues per bin',
    x: [edges[0], edges[bins]],
    y: [floor, Math.max(...counts, 1)],
    yScale: 'log',
    tight: true,
  });
  const base = f.py(floor);
  const out: string[] = [];
  for (let i = 0; i < bins; i++) {
    if (counts[i] <= 0) continue;
    const [x0, x1, y] = [f.px(edges[i]), f.px(edges[i + 1]), f.py(counts[i])];
    out.push(
      `<rect class="bar${edges[i + 1] <= 0 ? ' minus' : ''}" x="${place(x0 + 0.5)}" y="${place(y)}" width="${place(Math.max(0.8, x1 - x0 - 1))}" height="${place(base - y)}">` +
        `<title>${counts[i]} in [${edges[i].toPrecision(4)}, ${edges[i + 1].toPrecision(4)})</title></rect>`,
    );
  }
  const binWidth = (edges[bins] - edges[0]) / bins;
  const line = smooth.grid
    .map((x, i): [number, number] => [x, smooth.density[i] * parameters * binWidth])
    .filter(([x, y]) => x >= edges[0] && x <= edges[bins] && y >= floor);
  let previous = -Infinity;
  const gap = (3 * (edges[bins] - edges[0])) / Math.max(1, smooth.grid.length);
  const path = line
    .map(([x, y]) => {
      // Where the density falls below the axis the line is broken, not drawn across.
      const move = x - previous > gap;
      previous = x;
      return `${move ? 'M' : 'L'}${place(f.px(x))} ${place(Math.max(f.top, f.py(y)))}`;
    })
    .join('');
  if (path !== '')
    out.push(
      `<path class="line" style="stroke:var(--s1);stroke-width:1.5" d="${path}"><title>Lanczos estimate, smoothed</title></path>`,
    );
  for (let i = 0; i < bins; i++) {
    const high = estimates[i] + 2 * standardErrors[i];
    if (!(high >= floor)) continue;
    const x = place(f.px(0.5 * (edges[i] + edges[i + 1])));
    const low = Math.max(floor, estimates[i] - 2 * standardErrors[i]);
    out.push(
      `<line class="whisker" x1="${x}" x2="${x}" y1="${place(Math.max(f.top, f.py(high)))}" y2="${place(f.py(low))}"/>`,
    );
    if (estimates[i] >= floor)
      out.push(`<circle cx="${x}" cy="${place(f.py(estimates[i]))}" r="1.8" style="fill:var(--s1)"/>`);
  }
  return f.figure(out.join(''));
}

/** Eigenvalues counted between two bounds, [from, to). */
export interface MagnitudeBin {
  /** bounds of the eigenvalues counted; null: none */
  from: number | null;
  /** upper bound, itself not counted; null: none */
  to: number | null;
  /** eigenvalues in the bin, exact */
  count: number;
}

/** Eigenvalues by sign and power of ten. */
export function renderMagnitudes(bins: readonly MagnitudeBin[]): string {
  const most = Math.max(1, ...bins.map((bin) => bin.count));
  const ticks = bins
    .slice(1)
    .map((bin, i) => ({ at: i + 1, label: bins.length > 13 && i % 2 === 1 ? '' : edgeLabel(bin.from, '') }));
  const f = frame({
    title: 'Eigenvalues by sign and size, all counted',
    xLabel: 'eigenvalue',
    yLabel: 'number',
    x: [0, bins.length],
    y: [floor, most],
    yScale: 'log',
    tight: true,
    xTicks: ticks,
  });
  const base = f.py(floor);
  const out = bins.map((bin, i) => {
    if (bin.count <= 0) return '';
    const y = f.py(bin.count);
    const x = f.px(i);
    const width = f.px(i + 1) - x;
    const title = `${bin.count} in [${edgeLabel(bin.from, '-∞')}, ${edgeLabel(bin.to, '∞')})`;
    return (
      `<rect class="bar${bin.to !== null && bin.to <= 0 ? ' minus' : ''}" x="${place(x + 1)}" y="${place(y)}" width="${place(width - 2)}" height="${place(base - y)}"><title>${escapeHtml(title)}</title></rect>` +
      `<text class="tick" x="${place(x + width / 2)}" y="${place(y - 3)}" text-anchor="middle">${bin.count}</text>`
    );
  });
  return f.figure(out.join(''));
}

/** A bound in words; `none` where there is none. */
export function edgeLabel(value: number | null, none: string): string {
  if (value === null) return none;
  return value === 0 ? '0' : value.toExponential(0).replace('e+', 'e');
}
