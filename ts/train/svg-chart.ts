/**
 * Line charts as inline SVG: logarithmic or linear axes, several series, no dependencies. Colours come from CSS
 * variables of the page (`--s0` .. `--s7`, `--grid`, `--ink-2`), so one drawing serves light and dark.
 */

/** One line. `points` are [x, y]; points that an axis cannot show (y <= 0 on a logarithmic one) are left out. */
export interface Series {
  name: string;
  points: readonly (readonly [number, number])[];
  /** index of the colour */
  colour: number;
  /** fainter, without an entry in the legend */
  faint?: boolean;
  /** one dot a point, not joined */
  dots?: boolean;
}

export interface ChartOptions {
  title: string;
  xLabel: string;
  yLabel: string;
  xScale: 'linear' | 'log';
  yScale: 'linear' | 'log';
  /** linear axes fit the data; otherwise they reach zero */
  fit?: boolean;
  /** draw the line y = x over the extent of the data, on linear axes that are then the same */
  diagonal?: boolean;
}

const width = 560;
const height = 340;
const margin = { left: 62, right: 16, top: 14, bottom: 44 };
const plotWidth = width - margin.left - margin.right;
const plotHeight = height - margin.top - margin.bottom;

/** Text made safe for HTML and XML, attributes included. */
export function escapeHtml(text: string): string {
  return text.replace(
    /[&<>"']/g,
    (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' })[c] as string,
  );
}

interface Axis {
  /** data value -> position in [0, 1] */
  place(value: number): number;
  ticks: { at: number; label: string }[];
}

/** 1e-7 as "1e-7", 0.5 as "0.5", 20000 as "20k". */
function tickLabel(value: number): string {
  if (value === 0) return '0';
  const size = Math.abs(value);
  if (size >= 1000 && size < 1e6) return `${Number((value / 1000).toPrecision(3))}k`;
  if (size >= 1e-2 && size < 1000) return String(Number(value.toPrecision(3)));
  return value.toExponential().replace('e+', 'e');
}

/** Powers of ten around the data, with at most eight labels; `tight` ends the axis at the data itself. */
export function logAxis(low: number, high: number, tight = false): Axis {
  let from = Math.log10(low);
  let to = Math.log10(high);
  let first = Math.floor(from + 1e-9);
  let last = Math.ceil(to - 1e-9);
  if (first === last) {
    first--;
    last++;
  }
  if (!tight || last - first < 2) {
    from = first;
    to = last;
  }
  const stride = Math.ceil((last - first) / 8);
  const ticks: Axis['ticks'] = [];
  for (let e = first; e <= last; e += stride) {
    const at = (e - from) / (to - from);
    if (at > -1e-9 && at < 1 + 1e-9)
      ticks.push({ at, label: e >= -2 && e <= 5 ? tickLabel(Number(`1e${e}`)) : `1e${e}` });
  }
  return { place: (value) => (Math.log10(value) - from) / (to - from), ticks };
}

/** Steps of 1, 2 or 5 times a power of ten, about six of them. */
export function linearAxis(low: number, high: number): Axis {
  const span = high > low ? high - low : Math.max(1, Math.abs(high));
  const raw = span / 6;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * ([1, 2, 5, 10].find((m) => m * power >= raw) as number);
  const from = Math.floor(low / step) * step;
  const to = Math.max(from + step, Math.ceil(high / step - 1e-9) * step);
  const ticks: Axis['ticks'] = [];
  for (let i = 0; from + i * step <= to + step / 2; i++) {
    ticks.push({ at: (i * step) / (to - from), label: tickLabel(Number((from + i * step).toPrecision(12))) });
  }
  return { place: (value) => (value - from) / (to - from), ticks };
}

function extent(values: Iterable<number>): [number, number] {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}

/** The chart as one `<figure>`; a sentence instead where there is nothing to draw. */
export function renderChart(series: readonly Series[], options: ChartOptions): string {
  const shows = ([x, y]: readonly [number, number]): boolean =>
    Number.isFinite(x) &&
    Number.isFinite(y) &&
    (options.xScale === 'linear' || x > 0) &&
    (options.yScale === 'linear' || y > 0);
  const lines = series
    .map((line) => ({ ...line, points: line.points.filter(shows) }))
    .filter((line) => line.points.length > 0);
  const caption = `<figcaption>${escapeHtml(options.title)}</figcaption>`;
  if (lines.length === 0) return `<figure>${caption}<p class="empty">No points to draw.</p></figure>`;
  let [x0, x1] = extent(lines.flatMap((line) => line.points.map((point) => point[0])));
  let [y0, y1] = extent(lines.flatMap((line) => line.points.map((point) => point[1])));
  if (options.diagonal === true) {
    x0 = y0 = Math.min(x0, y0);
    x1 = y1 = Math.max(x1, y1);
  }
  const zero = options.fit === true || options.diagonal === true ? Infinity : 0;
  const xAxis = options.xScale === 'log' ? logAxis(x0, x1, true) : linearAxis(Math.min(zero, x0), x1);
  const yAxis = options.yScale === 'log' ? logAxis(y0, y1) : linearAxis(Math.min(zero, y0), y1);
  const px = (value: number): string => (margin.left + plotWidth * xAxis.place(value)).toFixed(1);
  const py = (value: number): string => (margin.top + plotHeight * (1 - yAxis.place(value))).toFixed(1);

  const out: string[] = [];
  for (const { at, label } of yAxis.ticks) {
    const y = (margin.top + plotHeight * (1 - at)).toFixed(1);
    out.push(`<line class="grid" x1="${margin.left}" x2="${width - margin.right}" y1="${y}" y2="${y}"/>`);
    out.push(`<text class="tick" x="${margin.left - 8}" y="${y}" dy="0.32em" text-anchor="end">${label}</text>`);
  }
  for (const { at, label } of xAxis.ticks) {
    const x = (margin.left + plotWidth * at).toFixed(1);
    out.push(`<line class="grid" x1="${x}" x2="${x}" y1="${margin.top}" y2="${height - margin.bottom}"/>`);
    out.push(`<text class="tick" x="${x}" y="${height - margin.bottom + 16}" text-anchor="middle">${label}</text>`);
  }
  out.push(
    `<text class="label" x="${margin.left + plotWidth / 2}" y="${height - 8}" text-anchor="middle">${escapeHtml(options.xLabel)}</text>`,
  );
  out.push(
    `<text class="label" transform="translate(14 ${margin.top + plotHeight / 2}) rotate(-90)" text-anchor="middle">${escapeHtml(options.yLabel)}</text>`,
  );
  if (options.diagonal === true) {
    out.push(`<line class="diagonal" x1="${px(x0)}" y1="${py(x0)}" x2="${px(x1)}" y2="${py(x1)}"/>`);
  }
  // Faint lines first, so that they lie under the others.
  for (const line of [...lines].sort((a, b) => Number(b.faint ?? false) - Number(a.faint ?? false))) {
    if (line.dots === true) {
      // One path of points: round caps make them dots.
      const path = line.points.map(([x, y]) => `M${px(x)} ${py(y)}h0`).join('');
      out.push(
        `<path class="dots" style="stroke:var(--s${line.colour % 8})" d="${path}"><title>${escapeHtml(line.name)}</title></path>`,
      );
      continue;
    }
    const path = line.points.map(([x, y], i) => `${i === 0 ? 'M' : 'L'}${px(x)} ${py(y)}`).join('');
    const style = `class="line${line.faint === true ? ' faint' : ''}" style="stroke:var(--s${line.colour % 8})"`;
    out.push(`<path ${style} d="${path}"><title>${escapeHtml(line.name)}</title></path>`);
    if (line.points.length === 1 || line.faint !== true) {
      const [x, y] = line.points[line.points.length - 1];
      out.push(
        `<circle cx="${px(x)}" cy="${py(y)}" r="3" style="fill:var(--s${line.colour % 8})"><title>${escapeHtml(line.name)}: ${tickLabel(Number(y.toPrecision(3)))}</title></circle>`,
      );
    }
  }
  const names = `${options.title}: ${lines
    .filter((line) => line.faint !== true)
    .map((line) => line.name)
    .join(', ')}`;
  return `<figure>${caption}<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${escapeHtml(names)}">${out.join('')}</svg></figure>`;
}

/** The legend of the series that have one. */
export function renderLegend(series: readonly Series[]): string {
  const seen = new Set<string>();
  const items = series.filter((line) => line.faint !== true && !seen.has(line.name) && seen.add(line.name));
  return `<ul class="legend">${items.map((line) => `<li><span style="background:var(--s${line.colour % 8})"></span>${escapeHtml(line.name)}</li>`).join('')}</ul>`;
}
