/** Line charts of the examples as SVG files, drawn by Vega-Lite without a browser. */
import * as vega from 'vega';
import { compile, type TopLevelSpec } from 'vega-lite';
import { writeFileAtomic } from '../ts/data/atomic.js';

/** One line of a chart: points [x, y]; dashed where it says so. */
export interface Line {
  name: string;
  points: readonly (readonly [number, number])[];
  dashed?: boolean;
}

export interface Chart {
  title: string;
  x: string;
  y: string;
  xScale?: 'linear' | 'log';
  yScale?: 'linear' | 'log';
}

/** The chart as SVG text. Points that a logarithmic axis cannot show (<= 0) and values that are not finite are left out. */
export async function drawLines(lines: readonly Line[], chart: Chart): Promise<string> {
  const { title, x, y, xScale = 'linear', yScale = 'log' } = chart;
  const shows = ([a, b]: readonly [number, number]): boolean =>
    Number.isFinite(a) && Number.isFinite(b) && (xScale === 'linear' || a > 0) && (yScale === 'linear' || b > 0);
  const values = lines.flatMap(({ name, points, dashed }) =>
    // Three digits are finer than a pixel and keep the files small and the same from run to run.
    points.filter(shows).map(([a, b]) => ({ x: rounded(a), y: rounded(b), name, style: dashed ? 'dashed' : 'solid' })),
  );
  const names = lines.map((line) => line.name);
  const spec: TopLevelSpec = {
    width: 520,
    height: 320,
    background: 'white',
    padding: 8,
    title: { text: title, fontSize: 13, anchor: 'start' },
    data: { values },
    mark: { type: 'line', strokeWidth: 2, clip: true },
    encoding: {
      x: { field: 'x', type: 'quantitative', title: x, scale: { type: xScale, nice: false } },
      y: {
        field: 'y',
        type: 'quantitative',
        title: y,
        scale: { type: yScale },
        axis: { format: yScale === 'log' ? '.0e' : '', tickCount: 8 },
      },
      color: { field: 'name', type: 'nominal', title: null, sort: names },
      strokeDash: {
        field: 'style',
        type: 'nominal',
        legend: null,
        scale: { domain: ['solid', 'dashed'], range: [[1, 0], [6, 4]] }, // prettier-ignore
      },
      order: { field: 'x', type: 'quantitative' },
    },
  };
  const view = new vega.View(vega.parse(compile(spec).spec), { renderer: 'none' });
  try {
    return `${await view.toSVG()}\n`;
  } finally {
    view.finalize();
  }
}

/** Draws the chart into a file. */
export async function writeLines(path: string, lines: readonly Line[], chart: Chart): Promise<void> {
  await writeFileAtomic(path, await drawLines(lines, chart));
}

const rounded = (value: number): number => Number(value.toPrecision(3));
