/** `deep-hessian influence`: which training samples matter for which test samples. */
import { existsSync } from 'node:fs';
import { extname } from 'node:path';
import type { Command } from 'commander';
import {
  matrixFormat,
  writeInfluence,
  type InfluenceSummary,
  type RankedSample,
} from '../analysis/influence-matrix.js';
import { subjectSettings } from '../analysis/subject.js';
import { relativeKinds } from '../curvature/index.js';
import { writeFileAtomic } from '../data/atomic.js';
import type { Dataset } from '../data/dataset.js';
import { DeepHessianError } from '../errors.js';
import { describeEnvironment } from '../train/environment.js';
import { addSubjectFlags, decimal, describeSubject, oneOf, subjectOf, wholeNumber } from './analysis-flags.js';
import { exitCodes } from './failure.js';
import { catchInterrupts } from './interrupt.js';
import { StageBar } from './stage-bar.js';
import { formatCount, formatNumber, formatSeconds, formatTable, type Terminal } from './terminal.js';

const name = 'influence';

interface InfluenceFlags {
  out: string;
  trainLimit?: string;
  testLimit?: string;
  on?: string;
  matrix: string;
  eps?: string;
  relative: string;
  top: string;
  json?: boolean;
  quiet?: boolean;
}

const examples = `
The matrix has a row for each training sample and a column for each test sample: what raising the weight of the one does to the
loss of the other (negative: it helps). Beside it a JSON file with the same name holds the rankings: self-influence, which finds
mislabelled samples, and the samples that help or harm most.

Examples:
  deep-hessian influence runs/mnist-gauss-newton-20260101-120000 --out influence.npy --train-limit 1000 --test-limit 100
  deep-hessian influence runs/table --out influence.csv --on train --eps 1e-3
`;

export function addInfluenceCommand(program: Command, terminal: Terminal, setCode: (code: number) => void): void {
  const command = program
    .command(name)
    .description('Write the influence of training samples on test samples, exact inverse included.')
    .argument('<checkpoint>', 'checkpoint file or run folder');
  addSubjectFlags(command);
  command
    .requiredOption('--out <file>', 'the matrix: .npy or .csv; the summary goes beside it as .json')
    .option('--train-limit <n>', 'rows: the first so many training samples (default: all that the loss averages over)')
    .option('--test-limit <n>', 'columns: the first so many test samples (default: all)')
    .option('--on <set>', 'the set of the columns: test, validation or train (default: the one there is)')
    .option('--matrix <name>', 'hessian or gauss-newton', 'hessian')
    .option(
      '--eps <number>',
      'damping, >= 0 (default: 0 with L2 on every layer, else a thousandth of the largest |eigenvalue|)',
    )
    .option(
      '--relative <kind>',
      `${relativeKinds.join(', ')}: divide rows by how far the sample moves the parameters or the losses`,
      'none',
    )
    .option('--top <n>', 'entries of each list', '20')
    .option('--json', 'the summary as one JSON object on standard output')
    .option('--quiet', 'no progress')
    .addHelpText('after', examples)
    .action(async (path: string) => setCode(await runInfluence(command, path, terminal)));
}

async function runInfluence(command: Command, path: string, terminal: Terminal): Promise<number> {
  const flags = command.opts<InfluenceFlags>();
  const { out } = flags;
  matrixFormat(name, out);
  const summaryFile = `${out.slice(0, -extname(out).length)}.json`;
  for (const file of [out, summaryFile]) {
    if (existsSync(file))
      throw new DeepHessianError('io', `${file}: the file is there already; choose another name`, { path: file });
  }
  const options = {
    out,
    matrix: oneOf(name, '--matrix', flags.matrix, ['hessian', 'gauss-newton'] as const),
    relative: oneOf(name, '--relative', flags.relative, relativeKinds),
    top: wholeNumber(name, '--top', flags.top, 0),
    ...(flags.trainLimit === undefined ? {} : { trainLimit: wholeNumber(name, '--train-limit', flags.trainLimit, 1) }),
    ...(flags.testLimit === undefined ? {} : { testLimit: wholeNumber(name, '--test-limit', flags.testLimit, 1) }),
    ...(flags.eps === undefined ? {} : { damping: decimal(name, '--eps', flags.eps, { minimum: 0 }) }),
  };
  const silent = flags.quiet === true || flags.json === true;
  const subject = await subjectOf(command, path);
  const sets: Record<string, Dataset> = { ...subject.heldOut, train: subject.train };
  const chosen = flags.on ?? Object.keys(subject.heldOut)[0];
  if (chosen === undefined || !(chosen in sets)) {
    throw new RangeError(
      `${name}: expected one of ${Object.keys(sets)
        .map((set) => `'${set}'`)
        .join(', ')} for --on, received ${chosen === undefined ? 'none' : `"${chosen}"`}` +
        (Object.keys(subject.heldOut).length === 0 ? ' (no samples are held out here)' : ''),
    );
  }
  if (!silent)
    terminal.err(
      `${describeSubject(subject)}; ${formatCount(subject.network.parameterCount)} parameters; on ${chosen}\n`,
    );
  const bar = new StageBar(terminal, name, silent);
  const interrupt = catchInterrupts((signal) => terminal.err(`\n${signal}: stopping, nothing is kept\n`));
  let summary: InfluenceSummary;
  try {
    bar.update('factorization', 0);
    summary = await writeInfluence(subject, sets[chosen], {
      ...options,
      onProgress: (done, total) => {
        bar.update(`${formatCount(done)} of ${formatCount(total)} rows`, done / total);
        return !interrupt.signal.aborted;
      },
    });
  } catch (error) {
    const code = interrupt.code();
    if (error instanceof DeepHessianError && error.code === 'aborted' && code !== null) return code;
    throw error;
  } finally {
    bar.finish();
    interrupt.release();
  }
  const record = {
    subject: describeSubject(subject),
    on: chosen,
    summary,
    settings: subjectSettings(subject),
    environment: describeEnvironment(),
  };
  await writeFileAtomic(summaryFile, `${JSON.stringify(record)}\n`);
  for (const warning of summary.warnings) terminal.err(`warning: ${warning}\n`);
  if (flags.json === true) terminal.out(`${JSON.stringify(record)}\n`);
  else terminal.out(`${influenceText(summary)}\n`);
  if (!silent) terminal.err(`matrix:  ${out}\nsummary: ${summaryFile}\n`);
  return exitCodes.success;
}

/** The lists, for a terminal. */
export function influenceText(summary: InfluenceSummary, shown = 10): string {
  const classes = summary.suspicious[0]?.label !== undefined;
  const list = (title: string, what: string, samples: readonly RankedSample[]): string[] => {
    if (samples.length === 0) return [];
    const header = ['row', what, ...(classes ? ['label', 'predicted'] : [])];
    const rows = samples
      .slice(0, shown)
      .map(({ index, value, label, predicted }) => [
        String(index),
        formatNumber(value, 4),
        ...(classes ? [label ?? '', predicted ?? ''] : []),
      ]);
    return [`${title}\n${formatTable(header, rows)}`];
  };
  return [
    `${formatCount(summary.rows)} x ${formatCount(summary.columns)} influences in ${formatSeconds(summary.seconds)}, ${summary.matrix} at damping ${summary.damping}, ` +
      `largest residual of a solve ${formatNumber(summary.residual, 2)}`,
    ...list('Most suspicious (self-influence):', 'self-influence', summary.suspicious),
    ...list('Most harmful (leaving the sample out lowers the mean test loss):', 'change', summary.harmful),
    ...list('Most helpful (leaving the sample out raises the mean test loss):', 'change', summary.helpful),
  ].join('\n\n');
}
