/** The sections of a run's report on its last parameters: predictions on every set, and the spectrum of the Hessian. */
import type { ClassPredictions, Conclusion, EndSpectrum, ValuePredictions } from './conclusion.js';
import { escapeHtml, renderChart, renderLegend, type Series } from './svg-chart.js';

/** A confusion matrix: a row for every true class, shaded by the share of the row. */
export function renderConfusion(name: string, { classes, counts, samples }: ClassPredictions): string {
  const right = counts.reduce((sum, row, k) => sum + row[k], 0);
  const rows = counts.map((row, k) => {
    const total = row.reduce((a, b) => a + b, 0);
    const cells = row.map((count, j) => {
      const share = total === 0 ? 0 : count / total;
      const colour = j === k ? '--s2' : '--s1';
      const shade =
        count === 0
          ? ''
          : ` style="background:color-mix(in srgb,var(${colour}) ${(55 * share).toFixed(0)}%,transparent)"`;
      return `<td${j === k ? ' class="hit"' : ''}${shade}>${count}</td>`;
    });
    return `<tr><th scope="row">${escapeHtml(classes[k])}</th>${cells.join('')}</tr>`;
  });
  return (
    `<figure><figcaption>${escapeHtml(name)}: ${right.toLocaleString('en-US')} of ${samples.toLocaleString('en-US')} right</figcaption>` +
    `<div class="scroll"><table class="confusion"><thead><tr><th>true</th><th class="axis" colspan="${classes.length}">predicted</th></tr>` +
    `<tr><th></th>${classes.map((text) => `<th scope="col">${escapeHtml(text)}</th>`).join('')}</tr></thead>` +
    `<tbody>${rows.join('')}</tbody></table></div></figure>`
  );
}

/** Predicted against true values, and the residuals. */
function renderValues(name: string, { outputs, samples }: ValuePredictions): string {
  return outputs
    .map(({ name: output, points, r2 }) => {
      const of = points.length < samples ? ` (${points.length} of ${samples} samples)` : '';
      const determined = r2 === undefined || r2 === null ? '' : `, R² ${Number(r2.toPrecision(4))}`;
      return (
        renderChart([{ name: output, colour: 0, dots: true, points }], {
          title: `${name}: ${output}, predicted against true${of}${determined}`,
          xLabel: 'true',
          yLabel: 'predicted',
          xScale: 'linear',
          yScale: 'linear',
          diagonal: true,
        }) +
        renderChart(
          [{ name: output, colour: 1, dots: true, points: points.map(([x, y]): [number, number] => [x, y - x]) }],
          {
            title: `${name}: ${output}, residuals${of}`,
            xLabel: 'true',
            yLabel: 'predicted - true',
            xScale: 'linear',
            yScale: 'linear',
            fit: true,
          },
        )
      );
    })
    .join('');
}

/** The section of predictions; empty where there are none. */
export function renderPredictions(predictions: Conclusion['predictions']): string {
  const sets = Object.entries(predictions);
  if (sets.length === 0) return '';
  const parts = sets.map(([name, set]) =>
    set.kind === 'classes' ? renderConfusion(name, set) : renderValues(name, set),
  );
  return `<section><h2>Predictions at the end</h2><div class="charts">${parts.join('')}</div></section>`;
}

/** The section of the spectrum; empty where it was not computed. */
export function renderSpectrum(spectrum: EndSpectrum | null): string {
  if (spectrum === null) return '';
  const { values, negative, zero, positive, samples } = spectrum;
  // By size, the largest first; the sign is the colour.
  const order = [...values].sort((a, b) => Math.abs(b) - Math.abs(a));
  const part = (name: string, colour: number, sign: number): Series => ({
    name,
    colour,
    dots: true,
    points: order.flatMap((value, i): [number, number][] => (sign * value > 0 ? [[i + 1, Math.abs(value)]] : [])),
  });
  const series = [part('positive', 0, 1), part('negative (its size)', 4, -1)].filter((line) => line.points.length > 0);
  return (
    `<section><h2>Spectrum of the Hessian at the end</h2><p class="note">${positive} positive, ${negative} negative, ` +
    `${zero} zero within rounding; Hessian of the loss over ${samples} training samples.</p>${renderLegend(series)}<div class="charts">` +
    renderChart(series, {
      title: 'Eigenvalues by size',
      xLabel: 'rank by size',
      yLabel: 'size of the eigenvalue',
      xScale: 'linear',
      yScale: 'log',
    }) +
    '</div></section>'
  );
}
