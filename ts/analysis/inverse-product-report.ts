/** The comparison of inverse products as one self-contained HTML page; every figure in it is one of the embedded JSON. */
import type { Environment } from '../train/environment.js';
import { definitions, environmentTable, figure, page, table } from '../train/report.js';
import { escapeHtml, renderChart, renderLegend, type Series } from '../train/svg-chart.js';
import { analysisStyle } from './analysis-style.js';
import { inverseProductMethods, type InverseProductComparison } from './inverse-products.js';

/** A comparison with what it was made on. */
export interface InverseProductRecord {
  /** what is compared on, for people */
  subject: string;
  /** what {@link compareInverseProducts} returned */
  comparison: InverseProductComparison;
  /** the settings by flag that it was made with, shown as they are */
  settings: Record<string, unknown>;
  /** machine and software that it was made on */
  environment: Environment;
}

/** "H" or "(G + 0.1 I)". */
export function matrixName({ matrix, damping }: Pick<InverseProductComparison, 'matrix' | 'damping'>): string {
  const letter = matrix === 'hessian' ? 'H' : 'G';
  return damping === 0 ? letter : `(${letter} + ${damping} I)`;
}

/** What the spectrum says about the methods, in one sentence. */
export function spectrumSentence(comparison: InverseProductComparison): string {
  const { lowest, highest, negative, condition } = comparison.spectrum;
  const signs =
    negative === null
      ? ''
      : negative === 0
        ? '; positive definite: every method may converge'
        : `; ${negative} of ${comparison.parameters} are negative: indefinite, so conjugate gradients and the series have no guarantee`;
  return (
    `Eigenvalues of ${matrixName(comparison)} from ${figure(lowest, 3)} to ${figure(highest, 3)}` +
    (condition === null ? '' : `, condition number ${figure(condition, 3)}`) +
    signs
  );
}

/** The page. */
export function renderInverseProducts(record: InverseProductRecord): string {
  const { comparison, subject, settings, environment } = record;
  const { methods, reference, iterations, start } = comparison;
  const finite = methods.filter((row) => Number.isFinite(row.relativeError));
  const best = methods.findIndex(
    (row) => row.relativeError === Math.min(...finite.map((other) => other.relativeError)),
  );
  const rows = methods.map((row) => [
    row.method,
    row.status,
    figure(row.relativeError, 3),
    figure(row.cosine, 4),
    figure(row.residual, 3),
    figure(row.products, 4),
    milliseconds(row.seconds),
    row.negativeCurvatureAt === null ? '-' : String(row.negativeCurvatureAt),
  ]);
  const header = [
    'Method',
    'Ended',
    'Relative error',
    'Cosine',
    'Residual',
    'Products',
    'Time',
    'Negative curvature at',
  ];
  const lines: Series[] = methods.map((row, colour) => ({
    name: row.method,
    colour,
    points: row.curve.map(([products, error]): [number, number] => [Math.max(products, 1), error]),
  }));
  const times: Series[] = methods.map((row, colour) => ({
    name: row.method,
    colour,
    points: [[row.seconds, row.relativeError]],
  }));
  const body = [
    `<section><h2>Result</h2>${table(header, rows, best)}`,
    `<p class="note">${escapeHtml(spectrumSentence(comparison))}. Reference: ${
      reference.from === 'factor'
        ? 'the exact factor, refined'
        : 'eigen-decomposition of the dense matrix, refined on the exact product'
    } (residual ${figure(reference.residual, 2)}). A product is one exact matrix-vector product over the whole batch; those over a part of
it count as that part. Iterations: at most ${figure(iterations)}, begun at ${start === 'zero' ? '0' : 'the right-hand side'}.</p></section>`,
    `<section><h2>Error</h2>${renderLegend(lines)}<div class="charts">`,
    renderChart(lines, {
      title: 'Error against products',
      xLabel: 'products with the matrix',
      yLabel: 'relative error',
      xScale: 'log',
      yScale: 'log',
    }),
    renderChart(times, {
      title: 'Error against time',
      xLabel: 'seconds',
      yLabel: 'relative error',
      xScale: 'log',
      yScale: 'log',
    }),
    '</div></section>',
    `<section class="prose"><h2>How each method ended</h2>${table(
      ['Method', 'What it is', 'How it ended'],
      methods.map((row) => [row.method, inverseProductMethods[row.method], row.explanation]),
    )}</section>`,
    `<section><h2>Configuration</h2>${definitions(settings)}</section>`,
    `<section><h2>Environment</h2>${environmentTable(environment)}</section>`,
  ].join('\n');
  const subtitle = `x = ${matrixName(comparison)}⁻¹ g for ${subject}: ${figure(comparison.parameters)} parameters, ${figure(comparison.samples)} samples.`;
  return page('Inverse products, exact and approximate', subtitle, body, record, analysisStyle);
}

function milliseconds(seconds: number): string {
  return `${figure(1000 * seconds, 3)} ms`;
}
