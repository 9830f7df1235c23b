/**
 * The report of a run or a comparison: one HTML page that needs nothing else (no network, no script), for light and
 * dark. The figures behind the curves lie in the page as JSON (`<script type="application/json" id="data">`) and are
 * those of the metrics file; every text that comes from outside is escaped.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { writeFileAtomic } from '../data/atomic.js';
import { readTextSync } from '../data/regular-file.js';
import { DeepHessianError } from '../errors.js';
import type { Comparison, MethodSummary } from './compare.js';
import type { Environment } from './environment.js';
import { pageStyle } from './report-style.js';
import { readMetrics } from './run-folder.js';
import { escapeHtml, renderChart, renderLegend, type Series } from './svg-chart.js';
import { renderPredictions, renderSpectrum } from './report-conclusion.js';
import { renderCurvature } from './report-curvature.js';
import type { EndRecord, EvaluationRecord, StepRecord } from './trainer.js';

/** 1.234e-7, 0.123, 12,345 */
export function figure(value: number | undefined, digits = 4): string {
  if (value === undefined || Number.isNaN(value)) return '-';
  if (!Number.isFinite(value)) return 'diverged';
  const size = Math.abs(value);
  if (value !== 0 && (size < 1e-2 || size >= 1e6)) return value.toExponential(digits - 1).replace('e+', 'e');
  if (Number.isInteger(value)) return value.toLocaleString('en-US');
  return String(Number(value.toPrecision(digits)));
}

/** JSON that cannot end the script element it lies in. */
export function embeddedJson(value: unknown): string {
  return JSON.stringify(value)
    .replace(/</g, '\\u003c')
    .replace(/\u2028/g, '\\u2028')
    .replace(/\u2029/g, '\\u2029');
}

/** A table; columns whose cells all begin like numbers are set to the right. `highlight` marks a row. */
export function table(header: readonly string[], rows: readonly (readonly string[])[], highlight = -1): string {
  const numeric = header.map((_, j) => rows.every((row) => /^[-+]?[\d.,]|^-$|^diverged$/.test(row[j])));
  const cell = (tag: string, text: string, j: number): string =>
    `<${tag}${numeric[j] ? ' class="number"' : ''}>${escapeHtml(text)}</${tag}>`;
  return (
    `<div class="scroll"><table><thead><tr>${header.map((text, j) => cell('th', text, j)).join('')}</tr></thead><tbody>` +
    rows
      .map(
        (row, i) =>
          `<tr${i === highlight ? ' class="best"' : ''}>${row.map((text, j) => cell('td', text, j)).join('')}</tr>`,
      )
      .join('') +
    '</tbody></table></div>'
  );
}

/** A list of names with values. */
export function definitions(values: Readonly<Record<string, unknown>>): string {
  const text = (value: unknown): string => (typeof value === 'string' ? value : (JSON.stringify(value) ?? ''));
  return `<dl>${Object.entries(values)
    .filter(([, value]) => value !== undefined && value !== null)
    .map(([name, value]) => `<div><dt>${escapeHtml(name)}</dt><dd>${escapeHtml(text(value))}</dd></div>`)
    .join('')}</dl>`;
}

/** Machine and software. */
export function environmentTable(environment: Environment): string {
  const { kernels } = environment;
  return definitions({
    'deep-hessian': environment.version,
    node: environment.node,
    platform: environment.platform,
    processor: `${environment.cpu}, ${environment.cores} cores`,
    memory: `${(environment.memory / 2 ** 30).toFixed(1)} GiB`,
    kernels: kernels.backend === 'openblas' ? kernels.version.split(' ').slice(0, 2).join(' ') : kernels.version,
    'core type': kernels.core,
    threads: kernels.threads,
    SIMD: kernels.simd,
  });
}

/** The whole page; `data` goes in as JSON, `style` after the common style sheet. */
export function page(title: string, subtitle: string, body: string, data: unknown, style = ''): string {
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escapeHtml(title)}</title>
<style>${pageStyle}${style}</style>
</head>
<body>
<main>
<header><h1>${escapeHtml(title)}</h1><p>${escapeHtml(subtitle)}</p></header>
${body}
</main>
<script type="application/json" id="data">${embeddedJson(data)}</script>
</body>
</html>
`;
}

/** Figures of evaluations beside the loss, as "set figure". */
function figureNames(sets: readonly Record<string, Record<string, number>>[]): [string, string][] {
  const names = new Map<string, [string, string]>();
  for (const figures of sets) {
    for (const [set, values] of Object.entries(figures)) {
      for (const name of Object.keys(values))
        if (!(set === 'train' && name === 'loss')) names.set(`${set} ${name}`, [set, name]);
    }
  }
  return [...names.values()];
}

const shown = (name: string, value: number | undefined): string =>
  name === 'accuracy' && value !== undefined ? `${(100 * value).toFixed(2)}%` : figure(value, 3);

/** The report of a comparison. */
export function renderComparison(result: Comparison, environment: Environment): string {
  const { methods, runs, problem, seeds } = result;
  const series = (x: 'step' | 'seconds'): Series[] =>
    methods.flatMap((method, colour) => {
      const own = runs.filter((run) => run.label === method.label);
      return own.map((run) => {
        const best = run.rate === method.rate;
        const first = best && run.seed === seeds[0];
        return {
          name: first
            ? methodName(method)
            : `${method.label}, ${run.rate === null ? '' : `rate ${figure(run.rate, 2)}, `}seed ${run.seed}`,
          colour,
          faint: !first,
          // A step before the first one has no place on a logarithmic axis: steps count from 1 here.
          points: run.curve.map((point): [number, number] => [x === 'step' ? point.step : point.seconds, point.loss]),
        };
      });
    });
  const damping: Series[] = methods.flatMap((method, colour) => {
    const run = runs.find((candidate) => candidate.label === method.label && candidate.rate === method.rate);
    const points = (run?.curve ?? []).filter((point) => point.damping !== undefined);
    return points.length === 0
      ? []
      : [{ name: method.label, colour, points: points.map((p): [number, number] => [p.step, p.damping as number]) }];
  });
  const names = figureNames(methods.map((method) => method.sets));
  const best = methods.reduce((a, b, i) => (b.loss.median < methods[a].loss.median ? i : a), 0);
  const seconds = result.settings['time-budget'];
  const rows = methods.map((method) => [
    method.label,
    method.rate === null ? '-' : figure(method.rate, 2),
    figure(method.loss.median),
    ...(seeds.length > 1 ? [`${figure(method.loss.minimum, 2)} to ${figure(method.loss.maximum, 2)}`] : []),
    figure(method.loss.median / methods[best].loss.median, 3),
    figure(method.steps),
    `${figure(1000 * method.secondsPerStep, 3)} ms`,
    ...names.map(([set, name]) => shown(name, method.sets[set]?.[name])),
  ]);
  const header = [
    'Method',
    'Rate',
    seeds.length > 1 ? 'Median loss' : 'Final loss',
    ...(seeds.length > 1 ? ['Range'] : []),
    'Times the best',
    'Steps',
    'Per step',
    ...names.map(([set, name]) => `${set} ${name}`),
  ];
  const tuned = methods.filter((method) => method.rates.length > 1);
  const body = [
    `<section><h2>Result</h2>${table(header, rows, best)}`,
    tuned.length === 0
      ? ''
      : `<p class="note">${escapeHtml(tuned.map((method) => method.label).join(' and '))}: shown at the best of several learning rates, each of
which had the full time; the time spent on the other rates is not counted. Faint lines are the other rates and seeds.</p>`,
    '</section>',
    `<section><h2>Curves</h2>${renderLegend(series('seconds'))}<div class="charts">`,
    renderChart(series('seconds'), {
      title: 'Loss against time',
      xLabel: 'seconds of optimizer time',
      yLabel: 'training loss',
      xScale: 'log',
      yScale: 'log',
    }),
    renderChart(series('step'), {
      title: 'Loss against steps',
      xLabel: 'steps',
      yLabel: 'training loss',
      xScale: 'log',
      yScale: 'log',
    }),
    damping.length === 0
      ? ''
      : renderChart(damping, { title: 'Damping', xLabel: 'steps', yLabel: 'damping', xScale: 'linear', yScale: 'log' }),
    '</div></section>',
    tuned.length === 0
      ? ''
      : `<section><h2>Learning rates tried</h2>${table(
          ['Method', 'Rate', 'Median final loss'],
          tuned.flatMap((method) =>
            method.rates.map(({ rate, loss }) => [method.label, figure(rate, 2), figure(loss)]),
          ),
        )}</section>`,
    `<section><h2>Every run</h2><details><summary>${runs.length} runs</summary>${table(
      ['Method', 'Rate', 'Seed', 'Final loss', 'Steps', 'Rejected', 'Seconds', 'Ended by'],
      runs.map((run) => [
        run.label,
        run.rate === null ? '-' : figure(run.rate, 2),
        String(run.seed),
        figure(run.loss),
        figure(run.steps),
        figure(run.rejected),
        figure(run.seconds, 3),
        run.reason,
      ]),
    )}</details></section>`,
    `<section><h2>Configuration</h2>${definitions(result.settings)}</section>`,
    `<section><h2>Environment</h2>${environmentTable(environment)}</section>`,
  ].join('\n');
  const subtitle =
    `${problem.data}: ${figure(problem.samples)} samples, ${problem.batch}. ${problem.layers} layers, ${figure(problem.parameters)} parameters.` +
    (typeof seconds === 'number' ? ` ${figure(seconds)} seconds of optimizer time a run.` : '') +
    (seeds.length > 1 ? ` ${seeds.length} seeds.` : '');
  return page('Optimizers at equal time', subtitle, body, result);
}

function methodName(method: MethodSummary): string {
  return method.rate === null ? method.label : `${method.label}, rate ${figure(method.rate, 2)}`;
}

/** What the report of one run shows. */
export interface RunRecord {
  config: Record<string, unknown>;
  environment: Environment;
  metrics: (StepRecord | EvaluationRecord | EndRecord)[];
}

/**
 * Gain ratios of the steps, cut off at -1 and 3: a model that predicts next to nothing makes ratios without bound,
 * which would flatten all others. The uncut figures are in the data of the page.
 */
function gainRatios(steps: readonly StepRecord[]): Series {
  return {
    name: 'Gain ratio (cut off at -1 and 3)',
    colour: 0,
    points: steps.flatMap((event): [number, number][] => {
      const value = event.figures.gainRatio;
      return typeof value === 'number' && !Number.isNaN(value) ? [[event.step, Math.max(-1, Math.min(3, value))]] : [];
    }),
  };
}

/** The report of one training run. */
export function renderRun({ config, environment, metrics }: RunRecord): string {
  const steps = metrics.filter((event): event is StepRecord => event.type === 'step');
  const ends = metrics.filter((event): event is EndRecord => event.type === 'end');
  const evaluations = metrics.filter((event): event is EvaluationRecord | EndRecord => event.type !== 'step');
  const end = ends.length > 0 ? ends[ends.length - 1] : null;
  const names = figureNames(evaluations.map((event) => event.sets));
  const loss = (x: 'step' | 'seconds'): Series[] => [
    {
      name: 'training loss',
      colour: 0,
      points: steps.map((event): [number, number] => [event[x], event.smoothedLoss]),
    },
    ...names
      .filter(([, name]) => name === 'loss')
      .map(([set, name], i): Series => ({
        name: `${set} loss`,
        colour: i + 1,
        points: evaluations.map((event): [number, number] => [event[x], event.sets[set]?.[name] ?? NaN]),
      })),
  ];
  const further = names
    // R² is the error again on another scale.
    .filter(([, name]) => name !== 'loss' && name !== 'r2')
    .map(([set, name], i): Series => ({
      name: `${set} ${name}`,
      colour: i,
      points: evaluations.map((event): [number, number] => [event.step, event.sets[set]?.[name] ?? NaN]),
    }));
  const figureSeries = (key: string, name: string, colour = 0): Series => ({
    name,
    colour,
    points: steps.flatMap((event): [number, number][] => {
      const value = event.figures[key];
      return typeof value === 'number' && Number.isFinite(value) ? [[event.step, value]] : [];
    }),
  });
  const figureChart = (series: Series, yScale: 'linear' | 'log'): string =>
    series.points.length === 0
      ? ''
      : renderChart([series], { title: series.name, xLabel: 'steps', yLabel: series.name, xScale: 'linear', yScale });
  const lengths: Series[] = [
    {
      name: 'step length',
      colour: 0,
      points: steps.filter((event) => event.accepted).map((event): [number, number] => [event.step, event.stepNorm]),
    },
  ];
  const rows: string[][] =
    end === null
      ? []
      : [
          [
            figure(end.loss),
            figure(end.step),
            figure(end.acceptedSteps),
            figure(end.rejectedSteps),
            `${figure(end.seconds, 3)} s`,
            ...names.map(([set, name]) => shown(name, end.sets[set]?.[name])),
            end.reason,
          ],
        ];
  const header = [
    'Final loss',
    'Steps',
    'Taken',
    'Rejected',
    'Time',
    ...names.map(([set, name]) => `${set} ${name}`),
    'Ended by',
  ];
  const body = [
    `<section><h2>Result</h2>${end === null ? '<p class="note">The run has not ended.</p>' : table(header, rows)}</section>`,
    `<section><h2>Curves</h2>${renderLegend(loss('step'))}<div class="charts">`,
    renderChart(loss('seconds'), {
      title: 'Loss against time',
      xLabel: 'seconds of optimizer time',
      yLabel: 'loss',
      xScale: 'log',
      yScale: 'log',
    }),
    renderChart(loss('step'), {
      title: 'Loss against steps',
      xLabel: 'steps',
      yLabel: 'loss',
      xScale: 'log',
      yScale: 'log',
    }),
    ...further.map((line) =>
      renderChart([line], {
        title: line.name,
        xLabel: 'steps',
        yLabel: line.name,
        xScale: 'linear',
        yScale: line.name.endsWith('rmse') ? 'log' : 'linear',
      }),
    ),
    figureChart(figureSeries('damping', 'Damping'), 'log'),
    figureChart(figureSeries('radius', 'Trust radius'), 'log'),
    figureChart(gainRatios(steps), 'linear'),
    figureChart(figureSeries('index', 'Negative eigenvalues of the Hessian'), 'linear'),
    renderCurvature(evaluations),
    renderChart(lengths, {
      title: 'Step length',
      xLabel: 'steps',
      yLabel: 'norm of the step',
      xScale: 'linear',
      yScale: 'log',
    }),
    '</div></section>',
    ...(end?.conclusion === undefined
      ? []
      : [renderPredictions(end.conclusion.predictions), renderSpectrum(end.conclusion.spectrum)]),
    `<section><h2>Configuration</h2>${definitions(config)}</section>`,
    `<section><h2>Environment</h2>${environmentTable(environment)}</section>`,
  ].join('\n');
  const subtitle =
    `${String(config.optimizer)} on ${String(config.data)}` +
    (end === null
      ? ''
      : `: loss ${figure(end.loss)} after ${figure(end.step)} steps in ${figure(end.seconds, 3)} seconds of optimizer time`);
  return page('Training run', subtitle, body, { config, metrics });
}

/** Writes report.html into a run folder from what lies in it; returns its path. */
export async function writeRunReport(folder: string): Promise<string> {
  const metricsFile = join(folder, 'metrics.jsonl');
  const record: RunRecord = {
    config: readJson(join(folder, 'config.json')) as Record<string, unknown>,
    environment: readJson(join(folder, 'environment.json')) as Environment,
    metrics: existsSync(metricsFile) ? readMetrics(metricsFile) : [],
  };
  const path = join(folder, 'report.html');
  await writeFileAtomic(path, renderRun(record));
  return path;
}

function readJson(path: string): unknown {
  const text = readTextSync(path);
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new DeepHessianError(
      'bad-file',
      `${path}: not valid JSON (${(error as Error).message})`,
      { path },
      { cause: error },
    );
  }
}
