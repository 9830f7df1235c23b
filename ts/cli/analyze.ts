/** `deep-hessian analyze`: curvature of a trained or fresh network as a report and JSON. */
import type { Command } from 'commander';
import { analysisParts, analyze, type AnalysisPart, type AnalysisResult } from '../analysis/analyze.js';
import { renderAnalysis, verdict, type AnalysisRecord } from '../analysis/analysis-report.js';
import { subjectSettings } from '../analysis/subject.js';
import { pathModes } from '../analysis/training-path.js';
import { formatBytes } from '../inverse/index.js';
import { describeEnvironment } from '../train/environment.js';
import {
  addResultFlags,
  addSubjectFlags,
  decimal,
  describeSubject,
  oneOf,
  reportOnSubject,
  wholeNumber,
} from './analysis-flags.js';
import { formatCount, formatNumber, formatSeconds, formatTable, type Terminal } from './terminal.js';

const name = 'analyze';

interface AnalyzeFlags {
  eps?: string;
  parts?: string;
  precision: string;
  eigenpairs: string;
  bins: string;
  probes: string;
  grid: string;
  path: string;
  pathSeconds: string;
}

const examples = `
Parts: ${analysisParts.join(', ')}

Time grows with --bins and --eigenpairs (one factorization each, some for an eigenvalue) and with --samples and --grid.

Examples:
  deep-hessian analyze runs/spirals-gauss-newton-20260101-120000
  deep-hessian analyze model.checkpoint --data csv --file other.csv --samples 200 --bins 20
  deep-hessian analyze --num-layers 10 --hidden-dim 8 --init xavier --parts critical,extremes --json
`;

export function addAnalyzeCommand(program: Command, terminal: Terminal): void {
  const command = program
    .command(name)
    .description('Report the curvature of a network: critical point, spectrum, layers, inverse, loss surface.')
    .argument('[checkpoint]', 'checkpoint file or run folder; without it, a network by flags: fresh, or --init-from');
  addSubjectFlags(command);
  command
    .option(
      '--eps <number>',
      'damping of inverse and condition number, > 0 (default: a thousandth of the largest |eigenvalue|)',
    )
    .option('--parts <names>', 'parts to do, with commas between (default: all)')
    .option(
      '--precision <name>',
      'of the factors: float64 only, for counts near zero are not certain in single',
      'float64',
    )
    .option('--eigenpairs <n>', 'extreme eigenpairs at each end', '3')
    .option('--bins <n>', 'bins of the spectral density', '30')
    .option('--probes <n>', 'probes of the Lanczos estimate', '10')
    .option('--grid <n>', 'points a side of the loss surface', '41')
    .option(
      '--path <source>',
      'training path: auto, replay (run the steps again), stored (checkpoints of the run), none',
      'auto',
    )
    .option('--path-seconds <number>', 'most time for running the steps again', '60');
  addResultFlags(command);
  command.addHelpText('after', examples).action(async (path?: string) => runAnalysis(command, path, terminal));
}

async function runAnalysis(command: Command, path: string | undefined, terminal: Terminal): Promise<void> {
  const flags = command.opts<AnalyzeFlags>();
  if (flags.precision !== 'float64') {
    throw new RangeError(
      `${name}: expected float64 for --precision, received "${flags.precision}": eigenvalues near zero cannot be counted with ` +
        'certainty in single precision. mixed is for solve, and for train with the optimizers newton and damped-newton',
    );
  }
  const options = {
    ...(flags.eps === undefined ? {} : { damping: decimal(name, '--eps', flags.eps, { above: 0 }) }),
    ...(flags.parts === undefined
      ? {}
      : {
          parts: flags.parts.split(',').map((text): AnalysisPart => oneOf(name, '--parts', text.trim(), analysisParts)),
        }),
    eigenpairs: wholeNumber(name, '--eigenpairs', flags.eigenpairs, 1, 1000),
    bins: wholeNumber(name, '--bins', flags.bins, 1, 10000),
    probes: wholeNumber(name, '--probes', flags.probes, 2, 10000),
    grid: wholeNumber(name, '--grid', flags.grid, 3, 401),
    path: oneOf(name, '--path', flags.path, pathModes),
    pathSeconds: decimal(name, '--path-seconds', flags.pathSeconds, { above: 0 }),
  };
  await reportOnSubject<AnalysisRecord>(command, path, terminal, {
    ask: async (subject, onProgress) => ({
      title: describeSubject(subject),
      result: await analyze(subject, { ...options, seed: subject.settings.seed as number, onProgress }),
      network: JSON.parse(JSON.stringify(subject.network.toJSON())) as unknown,
      settings: subjectSettings(subject),
      environment: describeEnvironment(),
    }),
    text: ({ result }) => analysisText(result),
    html: renderAnalysis,
  });
}

/** The figures that fit on a terminal. */
export function analysisText(result: AnalysisResult): string {
  const { subject, critical, extremes, condition, inverse, damping, cost } = result;
  const rows: [string, string][] = [
    ['loss', formatNumber(subject.loss, 6)],
    ['gradient norm', formatNumber(subject.gradientNorm)],
  ];
  if (critical?.done === true) {
    const { negative, degenerate, positive } = critical.value;
    rows.push([
      'directions',
      `${formatCount(negative)} negative, ${formatCount(degenerate)} flat, ${formatCount(positive)} positive`,
    ]);
  }
  if (extremes?.done === true) {
    for (const [label, pairs] of [
      ['largest', extremes.value.largest],
      ['smallest', extremes.value.smallest],
    ] as const) {
      rows.push([`${label} eigenvalues`, pairs.map((pair) => formatNumber(pair.value, 6)).join(', ')]);
    }
  }
  if (condition?.done === true)
    rows.push([`condition at ${damping}`, formatNumber(condition.value.condition ?? Infinity)]);
  if (inverse?.done === true) {
    rows.push([
      'effective parameters',
      `${formatNumber(inverse.value.gaussNewtonEffectiveParameters, 4)} of ${formatCount(subject.network.parameters)}`,
    ]);
    rows.push(['log |det|', formatNumber(inverse.value.logAbsDet, 8)]);
  }
  rows.push([
    'cost',
    `${formatCount(cost.factorizations)} factorizations, ${formatSeconds(cost.seconds)}, ${formatBytes(cost.peakMemory)}`,
  ]);
  const failures = analysisParts.flatMap((part) => {
    const outcome = result[part];
    return outcome === undefined || outcome.done ? [] : [`${part}: ${outcome.message}`];
  });
  return [verdict(result), formatTable(['', ''], rows).split('\n').slice(2).join('\n'), ...failures].join('\n\n');
}
