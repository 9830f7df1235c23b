/** `deep-hessian predict`: what a trained network says of new data, as CSV or JSON lines. */
import { existsSync } from 'node:fs';
import { Option, type Command } from 'commander';
import { linearizeSubject, openSubject } from '../analysis/subject.js';
import { laplace, type LaplacePosterior } from '../curvature/index.js';
import { AtomicFile } from '../data/atomic.js';
import type { MissingPolicy } from '../data/table-rows.js';
import { DeepHessianError } from '../errors.js';
import { estimateFactor } from '../inverse/index.js';
import { kernels } from '../native/index.js';
import { delimiters } from '../train/experiment.js';
import { canBeUncertain, PredictionRun, type PredictedChunk, type PredictionRequest } from '../train/prediction.js';
import { predictionOf, TrainedModel } from '../train/trained-model.js';
import { wholeNumber } from './analysis-flags.js';
import { exitCodes } from './failure.js';
import { catchInterrupts } from './interrupt.js';
import { describeFigures } from './progress.js';
import { StageBar } from './stage-bar.js';
import { formatCount, formatNumber, formatSeconds, type Terminal } from './terminal.js';

const name = 'predict';

interface PredictFlags {
  file?: string[];
  dataDir?: string;
  targetsFile?: string;
  set?: 'train' | 'test';
  missing?: MissingPolicy;
  broken?: 'fail' | 'skip';
  delimiter?: string;
  skipRows?: string;
  keep?: string;
  evaluate: boolean;
  out?: string;
  probabilities?: boolean;
  uncertainty?: boolean;
  json?: boolean;
  quiet?: boolean;
  threads: string;
}

const examples = `
A line of the result for each row of the data, in its order; NA where a row was left out. The columns of a table are found by their names,
in any order; further ones are passed over. Where the targets are there, too, loss and accuracy or error go to standard error.

Examples:
  deep-hessian predict runs/prices --file new.csv --out predictions.csv
  deep-hessian predict runs/prices --file new.csv --keep id --missing mean --broken skip
  deep-hessian predict runs/iris --file flowers.tsv --delimiter tab --probabilities
  deep-hessian predict runs/prices --file new.csv --uncertainty
  deep-hessian predict runs/mnist --data-dir data/mnist --json
  deep-hessian predict runs/photos --file cat.jpg --file dog.png
  deep-hessian predict runs/photos --data-dir new-photos
`;

export function addPredictCommand(program: Command, terminal: Terminal, setCode: (code: number) => void): void {
  const choice = (flag: string, help: string, choices: readonly string[]): Option =>
    new Option(`${flag} <name>`, help).choices(choices);
  const command = program
    .command(name)
    .description('Use a trained network on new data: values in their own units, or classes.')
    .argument('<run>', 'run folder or checkpoint file')
    .option(
      '--file <file>',
      'a table like the one trained on, .npy or .npz inputs, or an image (repeat it for several)',
      (file: string, others: string[] | undefined) => [...(others ?? []), file],
    )
    .option('--data-dir <folder>', 'of images (with or without classes), CIFAR-10, MNIST or .npy files')
    .addOption(choice('--set', 'of data in parts (default: test where there is one)', ['test', 'train']))
    .option('--targets-file <file>', 'targets of a .npy file of inputs')
    .addOption(
      choice('--missing', 'tables: what an empty cell does; drop: its row is left out (default: as in training)', [
        'error',
        'drop',
        'mean',
      ]),
    )
    .addOption(
      choice(
        '--broken',
        'rows that cannot be read, as for an unknown category (default: fail), images that do not decode (default: as in training)',
        ['fail', 'skip'],
      ),
    )
    .addOption(
      choice('--delimiter', 'tables: what sets cells apart (default: as in training)', Object.keys(delimiters)),
    )
    .option('--skip-rows <n>', 'tables: lines to leave out before the first record (default: as in training)')
    .option('--keep <columns>', 'tables: columns to copy beside the predictions, names or numbers with commas between')
    .option('--no-evaluate', 'targets are not looked at')
    .option('--out <file>', 'the file to write (default: standard output)')
    .option('--probabilities', 'classes: the probability of every class, a column each')
    .option(
      '--uncertainty',
      'values: standard deviation of a new observation; classes: probabilities averaged over what the training data leave open ' +
        '(Laplace approximation; takes the training data, and a run with --l2)',
    )
    .option('--json', 'one JSON record a line, the last with the figures')
    .option('--quiet', 'no summary')
    .option('--threads <n>', 'BLAS threads', '1')
    .addHelpText('after', examples)
    .action(async (run: string) => setCode(await predict(command.opts<PredictFlags>(), run, terminal)));
}

function requestOf(flags: PredictFlags): PredictionRequest {
  const { file, dataDir, targetsFile, set, missing, broken, delimiter, skipRows, keep, evaluate } = flags;
  return {
    evaluate,
    ...(file === undefined ? {} : { files: file }),
    ...(dataDir === undefined ? {} : { dataDir }),
    ...(targetsFile === undefined ? {} : { targetsFile }),
    ...(set === undefined ? {} : { part: set }),
    ...(missing === undefined ? {} : { missing }),
    ...(broken === undefined ? {} : { broken }),
    ...(delimiter === undefined ? {} : { delimiter: delimiters[delimiter] }),
    ...(skipRows === undefined ? {} : { skipRows: wholeNumber(name, '--skip-rows', skipRows, 0) }),
    ...(keep === undefined ? {} : { keep: keep.split(',').map((part) => part.trim()) }),
  };
}

async function predict(flags: PredictFlags, path: string, terminal: Terminal): Promise<number> {
  const { out, json = false, quiet = false, probabilities = false } = flags;
  if (out !== undefined && existsSync(out))
    throw new DeepHessianError('io', `${out}: the file is there already; choose another name`, { path: out });
  const threads = wholeNumber(name, '--threads', flags.threads, 1, 1024);
  const request = requestOf(flags);
  const model = TrainedModel.open(path);
  if (probabilities && model.classes === null)
    throw new RangeError(`${name}: --probabilities belongs to classes, ${path} predicts values`);
  kernels.setThreads(threads);
  const posterior = flags.uncertainty === true ? await posteriorOf(model, path, quiet || json ? null : terminal) : null;
  try {
    return await write(flags, await PredictionRun.open(model, request, posterior), terminal);
  } finally {
    posterior?.dispose();
  }
}

/** The Laplace posterior of a run at its parameters, on the samples it was trained on. */
async function posteriorOf(model: TrainedModel, path: string, terminal: Terminal | null): Promise<LaplacePosterior> {
  const { network, settings } = model;
  if (!canBeUncertain(model))
    throw new RangeError(`${name}: --uncertainty belongs to values with loss mse and to classes with another one`);
  if (network.l2.some((value, l) => !(value > 0) && network.layers[l].parameterCount > 0))
    throw new RangeError(
      `${name}: --uncertainty takes a network trained with --l2, which is the prior of its parameters`,
    );
  // All that the loss averaged over: fewer would leave more open than the training did.
  const samples = settings['fixed-batch'] === true ? {} : { samples: Number.MAX_SAFE_INTEGER };
  const subject = await openSubject(name, { path, given: {}, ...samples });
  const [route] = estimateFactor({ network, samples: subject.train.samples }, 'gauss-newton')
    .filter(({ unavailable }) => unavailable === null)
    .sort((a, b) => a.seconds - b.seconds);
  terminal?.err(
    `uncertainty: Laplace approximation on ${subject.choice}, which supposes a minimum of the loss; ` +
      `its factor takes some ${formatSeconds(Math.max(1e-3, route.seconds))} and ${formatNumber(route.bytes / 2 ** 20)} MiB\n`,
  );
  return laplace(linearizeSubject(subject));
}

/** Goes through the data and writes what comes out. */
async function write(flags: PredictFlags, run: PredictionRun, terminal: Terminal): Promise<number> {
  const { out, json = false, quiet = false } = flags;
  const file = out === undefined ? null : await AtomicFile.create(out);
  // Without deviations the predictions come faster than anyone reads figures.
  const bar = new StageBar(terminal, name, quiet || json || flags.uncertainty !== true, true);
  const begun = performance.now();
  const interrupt = catchInterrupts((signal) => {
    bar.finish();
    terminal.err(`${signal}: stopping${out === undefined ? '' : ', nothing is kept'}\n`);
  });
  const put = async (text: string): Promise<void> => {
    if (file !== null) return file.write(text);
    // Standard output may be the same screen.
    bar.finish();
    terminal.out(text);
  };
  try {
    if (!json) await put(csvLine(header(run, flags)));
    let warned = 0;
    for await (const chunk of run.predict()) {
      for (const { reason } of chunk.left.slice(0, Math.max(0, mostWarnings - warned))) {
        bar.finish();
        terminal.err(`warning: left out ${reason}\n`);
      }
      warned += chunk.left.length;
      await put((json ? jsonLines : csvLines)(run, chunk, flags));
      const { rows, total } = run;
      bar.update(describePace(rows, total, (performance.now() - begun) / 1000), total === null ? null : rows / total);
      // What waits to be read (an interrupt) gets its turn.
      await new Promise((resolve) => setImmediate(resolve));
      const code = interrupt.code();
      if (code !== null) {
        await file?.discard();
        return code;
      }
    }
    bar.finish();
    if (warned > mostWarnings) terminal.err(`warning: left out ${formatCount(warned - mostWarnings)} more\n`);
    const figures = run.figures();
    if (json) {
      const { rows, left, evaluated } = run;
      const r2 = separately(run);
      await put(`${JSON.stringify({ type: 'end', rows, left, evaluated, figures, ...(r2 === null ? {} : { r2 }) })}\n`);
    }
    await file?.commit();
    if (!quiet && !json) terminal.err(summary(run));
  } catch (error) {
    await file?.discard();
    throw error;
  } finally {
    bar.finish();
    interrupt.release();
  }
  return exitCodes.success;
}

/** "1,024 of 4,096 rows, 33 a second, 1m33s left" */
function describePace(rows: number, total: number | null, seconds: number): string {
  const pace = rows / Math.max(seconds, 1e-9);
  return (
    `${formatCount(rows)}${total === null ? '' : ` of ${formatCount(total)}`} rows, ${formatNumber(pace, 2)} a second` +
    (total === null ? '' : `, ${formatSeconds((total - rows) / pace)} left`)
  );
}

/** Rows left out that are named. */
const mostWarnings = 10;

/** Titles of the columns. */
function header({ model, keys }: PredictionRun, { probabilities, uncertainty }: PredictFlags): string[] {
  const { classes, valueNames } = model;
  const own =
    classes === null
      ? [
          ...(valueNames ?? []),
          ...(uncertainty === true ? (valueNames ?? []).map((text) => `${text} (deviation)`) : []),
        ]
      : [
          'class',
          likelihood(model),
          ...(probabilities === true ? classes.map((text) => `${likelihood(model)}=${text}`) : []),
        ];
  // A target that was kept stands beside its prediction, and so may one of an earlier table of predictions: no title twice.
  const titles = [...keys];
  for (let title of own) {
    while (titles.includes(title)) title += ' (predicted)';
    titles.push(title);
  }
  return titles;
}

/** Least squares on classes has outputs, no probabilities. */
const likelihood = ({ network }: TrainedModel): string => (network.loss === 'mse' ? 'output' : 'probability');

/** A line of CSV (RFC 4180). */
function csvLine(cells: readonly (string | number)[]): string {
  const quoted = cells.map((cell) =>
    typeof cell === 'string' && /[",\r\n]|^\s|\s$/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : String(cell),
  );
  return `${quoted.join(',')}\n`;
}

function csvLines(
  run: PredictionRun,
  { rows, kept, keys: texts, outcome }: PredictedChunk,
  flags: PredictFlags,
): string {
  const { model } = run;
  const { classes, values, deviations } = outcome;
  const names = model.classes ?? model.valueNames ?? [];
  const width = names.length;
  const absent = new Array<string>(header(run, flags).length - run.keys.length).fill('NA');
  const lines: string[] = [];
  let n = 0;
  for (let place = 0; place < rows; place++) {
    const cells: (string | number)[] = [...(texts[place] ?? [])];
    if (kept[n] !== place) cells.push(...absent);
    else {
      const own = values.subarray(n * width, (n + 1) * width);
      if (classes !== null) cells.push(model.classes?.[classes[n]] ?? String(classes[n]), own[classes[n]]);
      if (classes === null || flags.probabilities === true) cells.push(...own);
      if (deviations !== undefined) cells.push(...deviations.subarray(n * width, (n + 1) * width));
      n++;
    }
    lines.push(csvLine(cells));
  }
  return lines.join('');
}

function jsonLines(
  { model, keys }: PredictionRun,
  { first, rows, kept, keys: texts, left, outcome }: PredictedChunk,
  { probabilities }: PredictFlags,
): string {
  const { deviations } = outcome;
  const names = model.valueNames ?? [];
  const reasons = new Map(left.map(({ place, reason }) => [place, reason]));
  const lines: string[] = [];
  let n = 0;
  for (let place = 0; place < rows; place++) {
    const record: Record<string, unknown> = { type: 'prediction', row: first + place };
    if (keys.length > 0) record.keys = Object.fromEntries(keys.map((key, k) => [key, texts[place][k]]));
    if (kept[n] !== place) record.left = reasons.get(place) ?? 'left out';
    else {
      const { class: chosen, probability, values } = predictionOf(model, outcome, n);
      if (chosen === null) record.values = values;
      else Object.assign(record, { class: chosen, [likelihood(model)]: probability });
      if (chosen !== null && probabilities === true) record.values = values;
      if (deviations !== undefined)
        record.deviations = Object.fromEntries(names.map((text, k) => [text, deviations[n * names.length + k]]));
      n++;
    }
    lines.push(`${JSON.stringify(record)}\n`);
  }
  return lines.join('');
}

/** Coefficients of determination by name where there are several; one stands among the figures. */
function separately(run: PredictionRun): Record<string, number | null> | null {
  const r2 = run.determination();
  return r2 !== null && Object.keys(r2).length > 1 ? r2 : null;
}

function summary(run: PredictionRun): string {
  const figures = run.figures();
  const r2 = Object.entries(separately(run) ?? {}).map(
    ([title, value]) => `${title} ${value === null ? '-' : formatNumber(value, 4)}`,
  );
  const each = r2.length === 0 ? '' : ` (${r2.slice(0, 10).join(', ')}${r2.length > 10 ? ', ..' : ''})`;
  const some = run.evaluated < run.rows ? ` over the ${formatCount(run.evaluated)} with a target` : '';
  return (
    (run.ignored.length > 0
      ? `columns passed over: ${run.ignored.slice(0, 20).join(', ')}${run.ignored.length > 20 ? ', ..' : ''}\n`
      : '') +
    `${run.name}: ${formatCount(run.rows)} row${run.rows === 1 ? '' : 's'}` +
    (run.left > 0 ? `, ${formatCount(run.left)} left out` : '') +
    (figures === null ? '' : `; ${describeFigures(figures)}${each}${some}`) +
    '\n'
  );
}
