/** The charts of a run's report on the Hessian along the way: ends of its spectrum and its inertia. */
import { renderChart, renderLegend, type Series } from './svg-chart.js';
import type { EndRecord, EvaluationRecord } from './trainer.js';

/** Two charts, or nothing where the run took no spectrum. */
export function renderCurvature(records: readonly (EvaluationRecord | EndRecord)[]): string {
  const taken = records.flatMap(({ step, curvature }) => (curvature === undefined ? [] : [{ step, ...curvature }]));
  if (taken.length === 0) return '';
  const { samples } = taken[0];
  const of = `Hessian over ${samples.toLocaleString('en-US')} training sample${samples === 1 ? '' : 's'}`;
  const line = (
    name: string,
    colour: number,
    value: (figures: (typeof taken)[number]) => number | undefined,
  ): Series => ({
    name,
    colour,
    points: taken.flatMap((figures): [number, number][] => {
      const y = value(figures);
      return y === undefined ? [] : [[figures.step + 1, y]];
    }),
  });
  // On a logarithmic axis only what is above zero has a place.
  const above = (x: number): number | undefined => (x > 0 ? x : undefined);
  const ends = [
    line('largest eigenvalue', 0, ({ largest }) => above(largest)),
    line('minus the smallest, where it is negative', 1, ({ smallest }) => above(-smallest)),
  ];
  const counts = [
    line('negative eigenvalues (the index)', 1, ({ negative }) => negative),
    line('positive eigenvalues', 0, ({ positive }) => positive),
    line('within 1e-6 of the largest modulus of zero', 2, ({ zero }) => zero),
  ];
  const chart = (series: Series[], title: string, yLabel: string, yScale: 'linear' | 'log'): string => {
    const drawn = series.filter(({ points }) => points.length > 0);
    if (drawn.length === 0) return '';
    return `<div>${renderLegend(drawn)}${renderChart(drawn, { title, xLabel: 'steps + 1', yLabel, xScale: 'log', yScale })}</div>`;
  };
  return (
    chart(ends, `Ends of the spectrum, ${of}`, 'eigenvalue', 'log') +
    chart(counts, `Inertia, ${of}`, 'eigenvalues', 'linear')
  );
}
