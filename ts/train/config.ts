/**
 * The configuration of a training run: one table of options (flag name, type, range, default, help) from which the
 * command line, configuration files (JSON or YAML, keys named like the flags) and their checks all come. Options of
 * the optimizer come from the optimizers' own table.
 *
 * A configuration is a flat object keyed by flag. Resolving fills the defaults, some of which depend on other options.
 */
import { extname } from 'node:path';
import { checkObject } from '../checks.js';
import { dataNames, fileNames, folderNames, generatedNames } from '../data/load.js';
import { readTextSync } from '../data/regular-file.js';
import { deviceNames } from '../device/index.js';
import { DeepHessianError } from '../errors.js';
import { activationCodes } from '../native/kernels.js';
import { checkOption, type OptionSpec, type OptionValue } from '../optimize/option-schema.js';
import {
  allOptimizerFlags,
  hasEffect,
  optimizerEntries,
  optimizerEntry,
  optimizerNames,
  resolveOptimizerSettings,
} from '../optimize/registry.js';

/** An option of the run, under a heading of the help text. */
export interface RunOption extends OptionSpec {
  group: 'Data' | 'Network' | 'Training' | 'Run';
  /** the data sets that the option belongs to; undefined: all */
  data?: readonly string[];
}

/** Values by flag. */
export type Settings = Record<string, OptionValue>;

/** Data sets of images. */
const imageNames: readonly string[] = folderNames;

const option = (
  group: RunOption['group'],
  flag: string,
  type: OptionSpec['type'],
  help: string,
  more: Partial<RunOption> = {},
): RunOption => ({
  group,
  flag,
  name: flag,
  type,
  help,
  ...more,
});

/** The optimizer that reuses its Hessian for several batches, where there is one. */
const preconditioned = optimizerEntries.find((entry) =>
  entry.options.some((spec) => spec.flag === 'hessian-freq'),
)?.name;

/** Options of a run other than those of the optimizer. */
export const runOptions: readonly RunOption[] = [
  option('Data', 'data', 'choice', 'what to train on', { choices: dataNames, default: 'spirals' }),
  option('Data', 'data-dir', 'string', 'folder of the data', { data: [...imageNames, 'npy'] }),
  option('Data', 'file', 'string', 'file of the data: a table, or .npz, or .npy with --targets-file', {
    data: ['csv', 'npy'],
  }),
  option('Data', 'test-file', 'string', 'csv: file of the test set, read like the first', { data: ['csv'] }),
  option('Data', 'targets-file', 'string', 'npy: file of the targets for a .npy file of inputs', { data: ['npy'] }),
  option(
    'Data',
    'targets',
    'string',
    'csv: columns to predict, names or numbers from 0 with commas between (default: the last)',
    { data: ['csv'] },
  ),
  option('Data', 'inputs', 'string', 'csv: columns to predict from (default: all others)', { data: ['csv'] }),
  option('Data', 'exclude', 'string', 'csv: columns to leave out', { data: ['csv'] }),
  option('Data', 'categorical', 'string', 'csv: columns that are categories although they hold numbers', {
    data: ['csv'],
  }),
  option('Data', 'header', 'choice', 'csv: whether the first record holds names; auto: yes when it holds no number', {
    choices: ['auto', 'yes', 'no'],
    default: 'auto',
    data: ['csv'],
  }),
  option('Data', 'skip-rows', 'integer', 'csv: lines to leave out before the first record', {
    minimum: 0,
    default: 0,
    data: ['csv'],
  }),
  option(
    'Data',
    'delimiter',
    'choice',
    'csv: what sets the cells of a record apart (default: as the first one tells)',
    {
      choices: ['comma', 'semicolon', 'tab', 'bar', 'blanks'],
      data: ['csv'],
    },
  ),
  option('Data', 'task', 'choice', 'csv, npy: what the target is', {
    choices: ['auto', 'classification', 'regression'],
    default: 'auto',
    data: ['csv', 'npy'],
  }),
  option('Data', 'missing', 'choice', 'csv: what an empty cell does', {
    choices: ['error', 'drop', 'mean'],
    default: 'error',
    data: ['csv'],
  }),
  option('Data', 'points', 'integer', 'generated data: number of samples (default: the own number of the set)', {
    minimum: 2,
    maximum: 1e8,
    data: generatedNames,
  }),
  option('Data', 'noise', 'number', 'generated data: deviation of the noise (default: the own one of the set)', {
    minimum: 0,
    data: generatedNames,
  }),
  option(
    'Data',
    'limit',
    'integer',
    'use at most this many samples of each set: drawn by the seed; of image folders, spread over the files; of cifar10 and mnist, which are shuffled, the first (default: all)',
    { minimum: 1 },
  ),
  option(
    'Data',
    'image-size',
    'integer',
    'images: resize to this many pixels a side (default: 64 for images, else as they are)',
    {
      minimum: 1,
      maximum: 4096,
      data: imageNames,
    },
  ),
  option('Data', 'grey', 'boolean', 'images: one grey channel', { default: false, data: imageNames }),
  option('Data', 'normalise', 'choice', 'images: pixels in [0, 1], or mean 0 and deviation 1 by channel', {
    choices: ['unit', 'standardised'],
    default: 'standardised',
    data: imageNames,
  }),
  option('Data', 'fit', 'choice', 'images: cut to a square, or squeezed', {
    choices: ['cover', 'fill'],
    default: 'cover',
    data: ['images'],
  }),
  option('Data', 'broken', 'choice', 'images: files that do not decode', {
    choices: ['skip', 'fail'],
    default: 'skip',
    data: ['images'],
  }),
  option('Data', 'stream', 'boolean', 'images: decoded while the network trains, for folders larger than the memory', {
    default: false,
    data: ['images'],
  }),
  option('Data', 'validation', 'number', 'fraction (or count) held out where the data has no test set', {
    minimum: 0,
    default: 0,
  }),
  option(
    'Data',
    'standardise',
    'choice',
    'shift and scale the columns to mean 0 and deviation 1 (default: for csv and npy all, or inputs with binary-cross-entropy; else none)',
    { choices: ['none', 'inputs', 'all'] },
  ),
  option('Data', 'batch-size', 'integer', 'samples a step (default: 64; 512 on a stream without --optimizer)', {
    minimum: 1,
  }),
  option('Data', 'fixed-batch', 'boolean', 'every step sees the same first batch', { default: false }),
  option('Data', 'full-batch', 'boolean', 'every step sees all training samples (default for generated data and csv)'),

  option('Network', 'num-layers', 'integer', 'weight matrices, the output layer included', {
    minimum: 1,
    maximum: 100000,
    default: 30,
  }),
  option('Network', 'hidden-dim', 'integer', 'units of a hidden layer', { minimum: 1, maximum: 1000000, default: 16 }),
  option('Network', 'activation', 'choice', 'of the hidden layers', {
    choices: Object.keys(activationCodes),
    default: 'tanh',
  }),
  option('Network', 'residual', 'boolean', 'residual hidden layers after the first: z + act(W z + b)', {
    default: false,
  }),
  option('Network', 'no-bias', 'boolean', 'layers without bias', { default: false }),
  option('Network', 'init', 'choice', 'initialisation', {
    choices: ['orthogonal', 'xavier', 'he', 'normal'],
    default: 'orthogonal',
  }),
  option('Network', 'gain', 'number', 'factor on the initial weights (default: 1.1 for orthogonal with tanh, else 1)', {
    above: 0,
  }),
  option('Network', 'init-from', 'string', 'first parameters from a safetensors file, in place of --init'),
  option('Network', 'loss', 'choice', 'default: cross-entropy for classes, mse for values', {
    choices: ['mse', 'cross-entropy', 'binary-cross-entropy'],
  }),
  option('Network', 'l2', 'number', 'adds l2/2 times the sum of squared parameters to the loss', {
    minimum: 0,
    default: 0,
  }),

  option(
    'Training',
    'optimizer',
    'choice',
    'see below (default: gauss-newton; on a stream kfac, or adam for batches under 256)',
    { choices: optimizerNames },
  ),
  ...(preconditioned === undefined
    ? []
    : [option('Training', 'use-hessian', 'boolean', `the same as --optimizer ${preconditioned}`, { default: false })]),
  option('Training', 'epochs', 'number', 'stop after this many passes over the data', { above: 0 }),
  option('Training', 'steps', 'integer', 'stop after this many steps', { minimum: 0 }),
  option(
    'Training',
    'time-budget',
    'number',
    'stop after this many seconds of optimizer time (default 8 without another limit)',
    { above: 0 },
  ),
  option('Training', 'target-loss', 'number', 'stop at this training loss', { above: 0 }),
  option('Training', 'seed', 'integer', 'of data, initialisation and shuffling', {
    minimum: 0,
    maximum: 0xffffffff,
    default: 1,
  }),

  option('Run', 'threads', 'integer', 'BLAS threads', { minimum: 1, maximum: 1024, default: 1 }),
  option(
    'Run',
    'device',
    'choice',
    'cpu; cuda: an NVIDIA GPU, or an error; auto: the GPU where there is one and it pays',
    {
      choices: deviceNames,
      default: 'cpu',
    },
  ),
  option('Run', 'evaluate-every', 'number', 'seconds of optimizer time between evaluations', {
    above: 0,
    default: 0.5,
  }),
  option(
    'Run',
    'curvature-share',
    'number',
    'at most this share of the time for spectrum and inertia of the Hessian along the run, off the clock; 0: none',
    { minimum: 0, maximum: 1, default: 0.1 },
  ),
  option('Run', 'checkpoint-every', 'number', 'seconds between checkpoints', { above: 0, default: 30 }),
];

const optionsByFlag: ReadonlyMap<string, OptionSpec> = new Map<string, OptionSpec>([
  ...allOptimizerFlags().map(({ spec }): [string, OptionSpec] => [spec.flag, spec]),
  ...runOptions.map((spec): [string, OptionSpec] => [spec.flag, spec]),
]);

const runFlags: ReadonlySet<string> = new Set(runOptions.map((spec) => spec.flag));

/** Flags that say what to do with a run, not what the run is. */
const commandLineOnly: readonly string[] = ['config', 'out', 'resume', 'json', 'quiet'];

/** Every flag that a configuration may hold. */
export const configFlags: readonly string[] = [...optionsByFlag.keys()];

/** The settings of the optimizer among all settings. */
export function optimizerSettings(settings: Settings): Settings {
  return Object.fromEntries(Object.entries(settings).filter(([flag]) => !runFlags.has(flag)));
}

/**
 * Checks every key of a configuration (unknown ones are named, with the nearest known one) and the values of the run's own
 * options; those of the optimizer are checked when the optimizer is resolved.
 */
export function checkSettings(operation: string, settings: Record<string, unknown>): Settings {
  checkObject(operation, 'configuration', settings);
  const checked: Settings = {};
  for (const [flag, value] of Object.entries(settings)) {
    if (value === undefined) continue;
    const spec = optionsByFlag.get(flag);
    if (spec === undefined && commandLineOnly.includes(flag)) {
      throw new RangeError(`${operation}: '${flag}' is given on the command line (--${flag}), not in a configuration`);
    }
    if (spec === undefined) {
      const near = nearest(flag, configFlags);
      throw new RangeError(
        `${operation}: unknown option '${flag}'${near === null ? '' : `, did you mean '${near}'?`}; allowed: ${configFlags.join(', ')}`,
      );
    }
    if (runFlags.has(flag)) checked[flag] = checkOption(operation, spec, value);
    // Optimizers that share a flag may allow different values: their own tables check it once the optimizer is known.
    else checked[flag] = value as OptionValue;
  }
  return checked;
}

/** The known word within two edits of `word` (fewer than it has letters), or null. */
export function nearest(word: string, known: readonly string[]): string | null {
  let best: string | null = null;
  let least = Math.min(3, word.length);
  for (const candidate of known) {
    const d = editDistance(word, candidate);
    if (d < least) {
      least = d;
      best = candidate;
    }
  }
  return best;
}

/** Levenshtein distance. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1));
    }
    row = next;
  }
  return row[b.length];
}

/** Data small enough that the full batch is the default. */
const smallData: readonly unknown[] = [...generatedNames, 'csv', 'npy'];

/**
 * Fills the defaults and checks what belongs together.
 *
 * @throws TypeError or RangeError naming the option
 */
export function resolveSettings(given: Record<string, unknown>, operation = 'train'): Settings {
  const settings = checkSettings(operation, given);
  const resolved: Settings = {};
  const data = (settings.data ?? 'spirals') as string;
  for (const spec of runOptions) {
    if (spec.data !== undefined && !spec.data.includes(data)) {
      if (settings[spec.flag] === undefined) continue;
      throw new RangeError(
        `${operation}: --${spec.flag} does not belong to --data ${data}; it belongs to: ${spec.data.join(', ')}`,
      );
    }
    const value = settings[spec.flag] ?? spec.default;
    if (value !== undefined) resolved[spec.flag] = value;
  }
  for (const [flag, value] of Object.entries(optimizerSettings(settings))) resolved[flag] = value;

  if (settings['fixed-batch'] === true && settings['full-batch'] === true) {
    throw new RangeError(`${operation}: --fixed-batch and --full-batch exclude each other`);
  }
  if (settings.stream === true) {
    for (const flag of ['fixed-batch', 'full-batch'] as const) {
      if (settings[flag] === true) throw new RangeError(`${operation}: --stream and --${flag} exclude each other`);
    }
    if (settings.validation !== undefined && settings.validation !== 0)
      throw new RangeError(
        `${operation}: --stream takes its test set from a folder val or test, not from --validation`,
      );
    if (settings.standardise !== undefined && settings.standardise !== 'none')
      throw new RangeError(`${operation}: --stream excludes --standardise; --normalise standardised works by channel`);
  }
  if (settings['full-batch'] === true && settings['batch-size'] !== undefined) {
    throw new RangeError(`${operation}: --full-batch and --batch-size exclude each other`);
  }
  resolved['full-batch'] ??=
    settings['fixed-batch'] !== true && settings['batch-size'] === undefined && smallData.includes(data);
  chooseMethod(resolved);
  // Probabilities stay what they are.
  const probabilities = settings.loss === 'binary-cross-entropy';
  resolved.standardise ??= (fileNames as readonly string[]).includes(data)
    ? probabilities
      ? 'inputs'
      : 'all'
    : 'none';
  resolved.gain ??= resolved.init === 'orthogonal' && resolved.activation === 'tanh' ? 1.1 : 1;
  if (resolved.epochs === undefined && resolved.steps === undefined) resolved['time-budget'] ??= 8;
  if (imageNames.includes(data) && resolved['data-dir'] === undefined) {
    throw new RangeError(`${operation}: expected --data-dir with --data ${data}, received none`);
  }
  if (
    (fileNames as readonly string[]).includes(data) &&
    resolved.file === undefined &&
    resolved['data-dir'] === undefined
  ) {
    throw new RangeError(`${operation}: expected --file with --data ${data}, received none`);
  }
  if (resolved['use-hessian'] === true && preconditioned !== undefined) {
    if (settings.optimizer !== undefined && settings.optimizer !== preconditioned) {
      throw new RangeError(
        `${operation}: --use-hessian means --optimizer ${preconditioned}, received ${settings.optimizer as string}`,
      );
    }
    resolved.optimizer = preconditioned;
  }
  // The optimizer's own options are checked now, before any data is read.
  const entry = optimizerEntry(resolved.optimizer as string);
  const stream = resolved['fixed-batch'] !== true && resolved['full-batch'] !== true;
  const withDefaults: Settings = { ...resolved };
  for (const spec of stream ? entry.options : []) {
    if (spec.streamDefault !== undefined && hasEffect(entry, spec, withDefaults))
      withDefaults[spec.flag] ??= spec.streamDefault;
  }
  resolveOptimizerSettings(entry, optimizerSettings(withDefaults));
  return withDefaults;
}

/** K-FAC averages curvature over batches; one of fewer samples than this says too little of it, and Adam's cheap steps win. */
const curvatureBatch = 256;

/**
 * Fills optimizer and batch size where they are not given. An exact solve pays on a batch that stays: on a stream it fits every batch
 * by itself (docs/guides/choose-a-method.md has the figures).
 */
function chooseMethod(resolved: Settings): void {
  const stream = resolved['full-batch'] !== true && resolved['fixed-batch'] !== true;
  const chosen = resolved.optimizer === undefined && resolved['use-hessian'] !== true;
  if (!stream) resolved.optimizer ??= 'gauss-newton';
  // A full batch has no size.
  if (resolved['full-batch'] === true) delete resolved['batch-size'];
  else resolved['batch-size'] ??= stream && chosen ? 512 : 64;
  if (stream) resolved.optimizer ??= (resolved['batch-size'] as number) >= curvatureBatch ? 'kfac' : 'adam';
}

/** Reads a JSON or YAML configuration file, by its extension (.json, .yaml, .yml). */
export async function readConfigFile(path: string): Promise<Record<string, unknown>> {
  // Editors of some systems begin a file with a byte order mark.
  const text = readTextSync(path).replace(/^\uFEFF/, '');
  const extension = extname(path).toLowerCase();
  let value: unknown;
  try {
    if (extension === '.json') value = JSON.parse(text);
    else if (extension === '.yaml' || extension === '.yml')
      value = (await import('yaml')).parse(text, { logLevel: 'error' });
    else throw new RangeError(`configuration: expected a name ending in .json, .yaml or .yml, received ${path}`);
  } catch (error) {
    if (error instanceof RangeError) throw error;
    throw new DeepHessianError(
      'bad-file',
      // A parser's message may go on with a drawing of the place.
      `${path}: not valid ${extension.slice(1).toUpperCase()} (${(error as Error).message.split('\n')[0].replace(/:$/, '')})`,
      { path },
    );
  }
  checkObject(`configuration ${path}`, 'its content', value);
  return value;
}
