/** The frame that the drawings of this folder share: axes with ticks and labels, and the way from data to places. */
import { escapeHtml, linearAxis, logAxis } from '../train/svg-chart.js';

export interface FrameOptions {
  title: string;
  xLabel: string;
  yLabel: string;
  x: readonly [number, number];
  y: readonly [number, number];
  yScale: 'linear' | 'log';
  /** axes end at the data instead of at the next tick */
  tight?: boolean;
  /** ticks of the x axis by hand */
  xTicks?: readonly { at: number; label: string }[];
}

export interface Frame {
  px(value: number): number;
  py(value: number): number;
  left: number;
  right: number;
  top: number;
  bottom: number;
  /** the figure around what is drawn */
  figure(drawing: string): string;
}

const width = 560;
const height = 340;
const margin = { left: 62, right: 16, top: 14, bottom: 44 };

type Axis = ReturnType<typeof linearAxis>;

/** An axis that ends at the data, with the ticks of the round one inside it. */
function tightAxis(low: number, high: number): Axis {
  const span = high - low || 1;
  const round = linearAxis(low, high);
  const ends: [number, number] = [round.place(low), round.place(high)];
  const place = (value: number): number => (value - low) / span;
  const ticks = round.ticks
    .map(({ at, label }) => ({ at: (at - ends[0]) / (ends[1] - ends[0] || 1), label }))
    .filter(({ at }) => at > -1e-9 && at < 1 + 1e-9);
  return { place, ticks };
}

/** A logarithmic axis from `low` to a little above `high`, with ticks at powers of ten. */
function tightLogAxis(low: number, high: number): Axis {
  const from = Math.log10(low);
  const to = Math.max(Math.log10(high) + 0.15, from + 1);
  const ticks: Axis['ticks'] = [];
  const stride = Math.ceil((to - from) / 8);
  for (let e = Math.ceil(from - 1e-9); e <= to; e += stride) {
    ticks.push({ at: (e - from) / (to - from), label: e >= -2 && e <= 5 ? String(Number(`1e${e}`)) : `1e${e}` });
  }
  return { place: (value) => (Math.log10(value) - from) / (to - from), ticks };
}

export function frame(options: FrameOptions): Frame {
  const right = width - margin.right;
  const bottom = height - margin.bottom;
  const xAxis = options.tight === true ? tightAxis(...options.x) : linearAxis(...options.x);
  const yAxis =
    options.yScale === 'log'
      ? options.tight === true
        ? tightLogAxis(...options.y)
        : logAxis(...options.y)
      : options.tight === true
        ? tightAxis(...options.y)
        : linearAxis(...options.y);
  const px = (value: number): number => margin.left + (right - margin.left) * xAxis.place(value);
  const py = (value: number): number => bottom - (bottom - margin.top) * yAxis.place(value);
  const out: string[] = [];
  for (const { at, label } of yAxis.ticks) {
    const y = (bottom - (bottom - margin.top) * at).toFixed(1);
    out.push(`<line class="grid" x1="${margin.left}" x2="${right}" y1="${y}" y2="${y}"/>`);
    out.push(`<text class="tick" x="${margin.left - 8}" y="${y}" dy="0.32em" text-anchor="end">${label}</text>`);
  }
  const xTicks = options.xTicks?.map(({ at, label }) => ({ at: xAxis.place(at), label })) ?? xAxis.ticks;
  for (const { at, label } of xTicks) {
    const x = (margin.left + (right - margin.left) * at).toFixed(1);
    out.push(`<line class="grid" x1="${x}" x2="${x}" y1="${margin.top}" y2="${bottom}"/>`);
    out.push(`<text class="tick" x="${x}" y="${bottom + 16}" text-anchor="middle">${escapeHtml(label)}</text>`);
  }
  out.push(
    `<text class="label" x="${(margin.left + right) / 2}" y="${height - 8}" text-anchor="middle">${escapeHtml(options.xLabel)}</text>`,
  );
  out.push(
    `<text class="label" transform="translate(14 ${(margin.top + bottom) / 2}) rotate(-90)" text-anchor="middle">${escapeHtml(options.yLabel)}</text>`,
  );
  const title = escapeHtml(options.title);
  return {
    px,
    py,
    left: margin.left,
    right,
    top: margin.top,
    bottom,
    figure: (drawing) =>
      `<figure><figcaption>${title}</figcaption><svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${title}">${out.join('')}${drawing}</svg></figure>`,
  };
}

/** A coordinate in an SVG path. */
export function place(value: number): string {
  return String(Math.round(value * 10) / 10);
}
