/**
 * The analysis as one self-contained HTML page, light and dark, without network or script. It shows nothing that is not in the
 * embedded JSON: figures of tables go through one formatter, drawings take the arrays as they are.
 */
import { formatBytes } from '../inverse/index.js';
import { Network } from '../derivatives/network.js';
import type { Environment } from '../train/environment.js';
import { definitions, environmentTable, figure, page, table } from '../train/report.js';
import { escapeHtml, renderChart, renderLegend, type Series } from '../train/svg-chart.js';
import { analysisStyle } from './analysis-style.js';
import type { AnalysisPart, AnalysisResult, Eigenpair, Part } from './analyze.js';
import { renderMagnitudes, renderSpectrum } from './svg-spectrum.js';
import { renderSparsity, sparsityLegend } from './svg-sparsity.js';
import { renderSurface } from './svg-surface.js';

/** An analysis with what it was made on. */
export interface AnalysisRecord {
  /** what is analysed, for people */
  title: string;
  /** what {@link analyze} returned */
  result: AnalysisResult;
  /** `network.toJSON()` */
  network: unknown;
  /** the settings by flag that it was made with, shown as they are */
  settings: Record<string, unknown>;
  /** machine and software that it was made on */
  environment: Environment;
}

/** Rows shown of a table by layer; the rest is folded away. */
const shownLayers = 40;

/** The analysis as one self-contained HTML page, the record embedded as JSON; returns the text of the page. */
export function renderAnalysis(record: AnalysisRecord): string {
  const { result, settings, environment } = record;
  const { subject, cost } = result;
  const body = [
    overview(result),
    section('Critical point', result.critical, criticalSection),
    spectrumSection(result),
    section('Layers', result.layers, (value) => layersSection(value, result)),
    section('Inverse', result.inverse, (value) => inverseSection(value, result)),
    section('Loss surface', result.surface, surfaceSection),
    section('Structure of the system', result.structure, (value) => structureSection(value, record)),
    costSection(result),
    `<section><h2>Configuration</h2>${definitions(settings)}</section>`,
    `<section><h2>Environment</h2>${environmentTable(environment)}</section>`,
  ].join('\n');
  const subtitle =
    `${capital(record.title)}. ${figure(subject.network.parameters)} parameters, ${figure(subject.samples)} samples; ` +
    `${figure(cost.factorizations)} factorizations in ${figure(cost.seconds, 3)} seconds.`;
  return page('Curvature of a network', subtitle, body, record, analysisStyle);
}

const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

/** A value of any size; a missing one is infinite. */
function number(value: number | null, digits = 4): string {
  return value === null ? '∞' : figure(value, digits);
}

function failed(part: { code: string; message: string }): string {
  return `<p class="failed">Not available: ${escapeHtml(part.message)} [${escapeHtml(part.code)}]</p>`;
}

function section<T>(title: string, part: Part<T> | undefined, content: (value: T) => string): string {
  if (part === undefined) return '';
  return `<section><h2>${title}</h2>${part.done ? content(part.value) : failed(part)}</section>`;
}

/** A sentence on what kind of point this is. */
export function verdict(result: AnalysisResult): string {
  const { critical } = result;
  if (critical?.done !== true) return 'The kind of critical point is not known.';
  const { kind, negative, degenerate, gradientNorm, gradientTolerance, tolerance } = critical.value;
  const directions = `${negative} negative and ${degenerate} flat direction${degenerate === 1 ? '' : 's'} (up to ${figure(tolerance, 2)})`;
  if (kind === 'not-critical') {
    return `Not a critical point: the gradient is ${figure(gradientNorm, 3)}, above ${figure(gradientTolerance, 2)}. Curvature here: ${directions}.`;
  }
  if (kind === 'saddle') return `A saddle of index ${negative}: ${directions}.`;
  if (kind === 'minimum') return 'A strict local minimum: every direction curves upwards.';
  if (kind === 'maximum') return 'A strict local maximum: every direction curves downwards.';
  return `A degenerate critical point: no direction decides at second order; ${directions}.`;
}

function overview(result: AnalysisResult): string {
  const { subject, critical, extremes, condition, inverse, damping } = result;
  const facts: [string, string][] = [
    [figure(subject.network.parameters), 'parameters'],
    [figure(subject.loss), 'loss'],
    [figure(subject.gradientNorm, 3), 'gradient norm'],
  ];
  if (critical?.done === true)
    facts.push(
      [figure(critical.value.negative), 'negative directions (index)'],
      [figure(critical.value.degenerate), 'flat directions'],
    );
  if (extremes?.done === true) {
    const { smallest, largest } = extremes.value;
    facts.push([figure(smallest[0].value), 'smallest eigenvalue']);
    if (largest.length > 0) facts.push([figure(largest[0].value), 'largest eigenvalue']);
  }
  if (condition?.done === true)
    facts.push([number(condition.value.condition, 3), `condition number of H + ${damping} I`]);
  if (inverse?.done === true)
    facts.push([
      figure(inverse.value.gaussNewtonEffectiveParameters, 4),
      `effective parameters at ${damping} (Gauss-Newton)`,
    ]);
  for (const [set, figures] of Object.entries(subject.sets)) {
    if (figures.accuracy !== undefined) facts.push([`${(100 * figures.accuracy).toFixed(2)}%`, `${set} accuracy`]);
    else if (figures.rmse !== undefined) facts.push([figure(figures.rmse, 3), `${set} root mean squared error`]);
    if (figures.r2 !== undefined) facts.push([figure(figures.r2), `${set} R²`]);
  }
  return `<section><p class="verdict">${escapeHtml(verdict(result))}</p><ul class="facts">${facts
    .map(([value, name]) => `<li><b>${escapeHtml(value)}</b><span>${escapeHtml(name)}</span></li>`)
    .join('')}</ul></section>`;
}

type Value<K extends AnalysisPart> = Extract<NonNullable<AnalysisResult[K]>, { done: true }>['value'];

function criticalSection(value: Value<'critical'>): string {
  const { profile, smallest } = value;
  const lines: Series[] = [
    {
      name: 'loss',
      colour: 0,
      points: profile.distances.map((t, i): [number, number] => [t, profile.losses[i] - value.loss]),
    },
    {
      name: 'second-order prediction',
      colour: 1,
      points: profile.distances.map((t, i): [number, number] => [t, profile.predictions[i] - value.loss]),
    },
  ];
  return [
    table(
      [
        'Kind',
        'Negative',
        'Flat',
        'Positive',
        'Flat means at most',
        'Gradient norm',
        'Smallest eigenvalue',
        'Certified between',
        'and',
      ],
      [
        [
          value.kind,
          figure(value.negative),
          figure(value.degenerate),
          figure(value.positive),
          figure(value.tolerance, 3),
          figure(value.gradientNorm),
          figure(smallest.value, 7),
          figure(smallest.lower, 7),
          figure(smallest.upper, 7),
        ],
      ],
    ),
    `<p class="note">The three numbers are counts of pivot signs of exact factorizations (Sylvester's law of inertia), not estimates: they
add up to all parameters.</p><div class="charts"><div>${renderLegend(lines)}`,
    renderChart(lines, {
      title: 'Loss along the most negative direction',
      xLabel: 'distance',
      yLabel: 'change of the loss',
      xScale: 'linear',
      yScale: 'linear',
    }),
    `</div><div><h3>The quadratic form against differences of the loss</h3>${table(
      ['Direction', 'v^T H v', 'Second difference'],
      value.quadraticForm.map((row) => [row.direction, figure(row.exact), figure(row.difference)]),
    )}</div></div>`,
  ].join('\n');
}

function eigenpairRows(pairs: readonly Eigenpair[]): string[][] {
  return pairs.map(({ index, value, lower, upper, residual }) => [
    String(index + 1),
    figure(value, 9),
    lower === null ? '-' : figure(lower, 9),
    upper === null ? '-' : figure(upper, 9),
    residual === null ? '-' : figure(residual, 2),
  ]);
}

function spectrumSection({ extremes, density, magnitudes, condition, damping, subject }: AnalysisResult): string {
  const parts = [extremes, density, magnitudes, condition].filter((part) => part !== undefined);
  if (parts.length === 0) return '';
  const out: string[] = ['<section><h2>Spectrum</h2><div class="charts">'];
  if (density?.done === true) out.push(renderSpectrum({ ...density.value, parameters: subject.network.parameters }));
  if (magnitudes?.done === true) out.push(renderMagnitudes(magnitudes.value.bins));
  out.push('</div>');
  if (density?.done === true) {
    out.push(`<p class="note">Bars: exact numbers, two factorizations of H - sI each. Line and dots: stochastic Lanczos quadrature with its
standard error twice. ${density.value.below + density.value.above === 0 ? 'The bins hold the whole spectrum.' : `Outside the bins: ${density.value.below} below, ${density.value.above} above.`}</p>`);
  }
  if (magnitudes?.done === true && magnitudes.value.skipped > 0) {
    out.push(
      `<p class="note">Bounds close to zero that were left out, because rounding does not let the count there be certain: ${magnitudes.value.skipped}.</p>`,
    );
  }
  for (const part of [density, magnitudes]) if (part !== undefined && !part.done) out.push(failed(part));
  if (extremes?.done === true) {
    const { smallest, largest } = extremes.value;
    out.push(
      `<h3>Extreme eigenvalues</h3>${table(['Place', 'Eigenvalue', 'Certified between', 'and', 'Residual'], [...eigenpairRows(largest), ...eigenpairRows([...smallest].reverse())])}`,
      `<p class="note">Places in ascending order, of ${figure(subject.network.parameters)}. Both bounds are certified by exact counts on either side.</p>`,
    );
  } else if (extremes !== undefined) out.push(failed(extremes));
  if (condition?.done === true) {
    const { condition: value, largest, smallest, certifiedTo } = condition.value;
    out.push(
      `<h3>Condition of H + ${damping} I</h3>${table(['Condition number', 'Largest |eigenvalue|', 'Smallest |eigenvalue|', 'Certified to'], [[number(value), figure(largest), figure(smallest), figure(certifiedTo, 1)]])}`,
    );
  } else if (condition !== undefined) out.push(failed(condition));
  return `${out.join('\n')}</section>`;
}

function layersSection(value: Value<'layers'>, { inverse, damping }: AnalysisResult): string {
  const { layers, exact } = value;
  const inverted = inverse?.done === true ? inverse.value : null;
  const header = [
    'Layer',
    'Kind',
    'Parameters',
    'Gradient norm',
    'Parameter norm',
    'tr H',
    ...(exact ? [] : ['± 95 %']),
    'tr G',
    ...(exact ? [] : ['± 95 %']),
    ...(inverted === null ? [] : [`tr (H + ${damping} I)⁻¹`, 'Effective (G)']),
  ];
  const rows = layers.map((layer, l) => [
    String(layer.layer),
    layer.name,
    figure(layer.parameters),
    figure(layer.gradientNorm, 3),
    figure(layer.parameterNorm, 3),
    figure(layer.hessianTrace),
    ...(exact ? [] : [figure(layer.hessianError, 2)]),
    figure(layer.gaussNewtonTrace),
    ...(exact ? [] : [figure(layer.gaussNewtonError, 2)]),
    ...(inverted === null ? [] : [figure(inverted.layerTraces[l]), figure(inverted.gaussNewtonEffectiveByLayer[l])]),
  ]);
  const perParameter = (name: string, colour: number, of: (l: number) => number): Series => ({
    name,
    colour,
    points: layers.map((layer, l): [number, number] => [layer.layer, of(l) / Math.max(1, layer.parameters)]),
  });
  const gradients: Series[] = [
    {
      name: 'gradient norm',
      colour: 0,
      points: layers.map((layer): [number, number] => [layer.layer, layer.gradientNorm]),
    },
  ];
  const curvature = [
    perParameter('Hessian', 0, (l) => layers[l].hessianTrace),
    perParameter('Gauss-Newton', 1, (l) => layers[l].gaussNewtonTrace),
  ];
  const effective =
    inverted === null
      ? []
      : [
          perParameter(
            'share of its parameters that the data determine',
            2,
            (l) => inverted.gaussNewtonEffectiveByLayer[l],
          ),
        ];
  const variance = inverted === null ? [] : [perParameter('inverse', 3, (l) => inverted.layerTraces[l])];
  const chart = (series: Series[], title: string, yLabel: string, yScale: 'linear' | 'log'): string =>
    renderChart(series, { title, xLabel: 'layer', yLabel, xScale: 'linear', yScale });
  const tables =
    rows.length <= shownLayers
      ? table(header, rows)
      : `<details><summary>${rows.length} layers</summary>${table(header, rows)}</details>`;
  return [
    layers.length > 1
      ? `${renderLegend(curvature)}<div class="charts">${chart(curvature, 'Mean curvature of a parameter: trace of the block over its size', 'curvature', 'linear')}${chart(gradients, 'Gradient by layer', 'norm', 'log')}${
          effective.length > 0
            ? chart(effective, `Effective share of the parameters at ${damping}`, 'share', 'linear') +
              chart(variance, `Mean of the inverse's diagonal at ${damping}`, 'inverse curvature', 'linear')
            : ''
        }</div>`
      : '',
    tables,
    `<p class="note">Traces of the diagonal blocks of H and of the Gauss-Newton matrix G: ${
      exact ? 'exact' : 'Hutchinson estimates with 95 % intervals'
    }. Traces of the inverse: exact, by selected inversion.</p>`,
  ].join('\n');
}

function inverseSection(value: Value<'inverse'>, { damping, subject }: AnalysisResult): string {
  return (
    table(
      [
        `tr (H + ${damping} I)⁻¹`,
        `log |det (H + ${damping} I)|`,
        'Effective parameters, H',
        'Effective parameters, G',
        'Route',
        'Columns checked to',
      ],
      [
        [
          figure(value.trace, 7),
          figure(value.logAbsDet, 9),
          figure(value.effectiveParameters, 6),
          figure(value.gaussNewtonEffectiveParameters, 6),
          value.method,
          figure(value.error, 2),
        ],
      ],
    ) +
    `<p class="note">Effective number of parameters tr(M (M + ${damping} I)⁻¹) of ${figure(subject.network.parameters)} (MacKay 1992): directions
that the data determine against the damping. For an indefinite H it need not lie between 0 and their number; for G it does.</p>`
  );
}

function surfaceSection(value: Value<'surface'>): string {
  const { directions, path, pathReport, inPlane } = value;
  const label = (which: 0 | 1): string =>
    `along the ${directions[which].name} direction (${figure(directions[which].eigenvalue, 3)})`;
  const lines: Series[] = [
    { name: 'loss on the way', colour: 1, points: path.map((p): [number, number] => [p.step, p.loss]) },
  ];
  return (
    `<div class="charts${path.length > 1 ? '' : ' single'}"><div>${renderSurface({ a: value.a, b: value.b, losses: value.losses, path, xLabel: label(0), yLabel: label(1) })}</div>` +
    (path.length > 1
      ? `<div>${renderChart(lines, { title: 'Loss on the way here', xLabel: 'step', yLabel: 'loss', xScale: 'log', yScale: 'log' })}</div>`
      : '') +
    `</div><p class="note">Losses from ${figure(value.minimum)} to ${figure(value.maximum)} on a grid of ${value.a.length} by ${value.b.length}. ${
      path.length > 1
        ? `Path: ${escapeHtml(pathReport.note)}. It is seen in this plane, which holds ${inPlane === null ? '-' : figure(100 * inPlane, 2)} % of the squared way from the start; its points' own losses are on the right.`
        : `No training path: ${escapeHtml(pathReport.note)}.`
    }</p>`
  );
}

function structureSection(value: Value<'structure'>, { result, network }: AnalysisRecord): string {
  const model = hasCustomLayers(network) ? null : Network.fromJSON(network);
  const pictures =
    model === null
      ? ''
      : `<div class="charts">${value.orderings.map((ordering) => renderSparsity(value, ordering, model, result.subject.samples)).join('')}</div>`;
  return [
    table(
      ['Ordering', 'Unknowns', 'Nonzeros', 'Share of all entries', 'Bandwidth'],
      value.orderings.map((ordering) => [
        ordering.name,
        figure(value.order),
        figure(value.nonzeros),
        `${figure(100 * value.density, 3)} %`,
        figure(ordering.bandwidth),
      ]),
    ),
    `<p class="note">The symmetric system whose elimination gives (H + eps I)⁻¹, with the activations of all layers as unknowns beside the
parameters. Ordered layer by layer it is block tridiagonal, so its factorization is linear in the depth.</p>${sparsityLegend()}${pictures}`,
  ].join('\n');
}

function hasCustomLayers(json: unknown): boolean {
  return JSON.stringify(json).includes('"custom"');
}

function costSection(result: AnalysisResult): string {
  const { cost } = result;
  const rows = Object.entries(result)
    .filter(
      (entry): entry is [string, Part<unknown>] =>
        typeof entry[1] === 'object' && entry[1] !== null && 'done' in entry[1],
    )
    .map(([name, part]) => [name, part.done ? 'done' : part.code, `${figure(part.seconds, 3)} s`]);
  return (
    `<section><h2>Cost</h2><div class="charts"><div>${table(['Part', 'Outcome', 'Time'], rows)}</div><div>` +
    definitions({
      'time in all': `${figure(cost.seconds, 4)} s`,
      factorizations: figure(cost.factorizations),
      'products with the matrix': figure(cost.products),
      'largest memory of the process': formatBytes(cost.peakMemory),
      'a dense Hessian alone': formatBytes(cost.denseHessian),
    }) +
    '</div></div></section>'
  );
}
