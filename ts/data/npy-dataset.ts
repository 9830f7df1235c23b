/**
 * Data sets from NumPy files: an .npz archive, a pair of .npy files, or a folder of them.
 *
 * Inputs [N, ..] become rows of all their further entries (an image stack [N, C, H, W] is flattened in that order);
 * targets are class indices [N] of an integer type, or values [N] or [N, K] of a floating type.
 */
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { checkOneOf, failRange } from '../checks.js';
import { DeepHessianError } from '../errors.js';
import { badFile } from './bytes.js';
import { makeDataset, type Dataset } from './dataset.js';
import { readNpy, type NpyArray } from './npy.js';
import { readNpz } from './npz.js';
import { checkOptions } from './options.js';

export interface NpyDatasetOptions {
  /** For a .npy file of inputs: the file of the targets. */
  targetsFile?: string;
  /** Names of the arrays of an archive, or of the files (without .npy) of a folder, instead of the usual ones. */
  names?: { inputs?: string; targets?: string; testInputs?: string; testTargets?: string };
  /** 'auto' (default): classification for targets of an integer or boolean type in one column, else regression. */
  task?: 'auto' | 'classification' | 'regression';
  /** At most this many samples of each set, the first ones. Default: all. */
  limit?: number;
}

const usual = {
  inputs: ['x_train', 'X_train', 'train_x', 'train_inputs', 'inputs', 'x', 'X', 'data'],
  targets: ['y_train', 'Y_train', 'train_y', 'train_targets', 'targets', 'y', 'Y', 'labels', 'target'],
  testInputs: ['x_test', 'X_test', 'test_x', 'test_inputs'],
  testTargets: ['y_test', 'Y_test', 'test_y', 'test_targets'],
} as const;
type Role = keyof typeof usual;

const operation = 'readNpyDataset';

/**
 * Reads an .npz archive or a folder of .npy files with arrays named x_train, y_train, x_test, y_test or inputs, targets
 * and the like (test arrays may be missing), or one .npy file of inputs beside `targetsFile`.
 *
 * @throws DeepHessianError 'io' when nothing is found, saying which names were looked for; 'bad-file'
 */
export async function readNpyDataset(
  path: string,
  options: NpyDatasetOptions = {},
): Promise<{ train: Dataset; test: Dataset | null }> {
  checkOptions(operation, options, ['targetsFile', 'names', 'task', 'limit']);
  checkOneOf(operation, 'task', options.task ?? 'auto', ['auto', 'classification', 'regression'] as const);
  if (/\.npy$/i.test(path) && options.targetsFile === undefined) {
    failRange(operation, 'targetsFile', 'the .npy file of the targets beside one of inputs', undefined);
  }
  const get = await opener(path, options);
  const inputs = await get('inputs');
  const targets = await get('targets');
  const lookedFor = (role: Role): string => (options.names?.[role] ? [options.names[role]] : usual[role]).join(', ');
  if (!inputs || !targets) {
    const role = inputs ? 'targets' : 'inputs';
    throw new DeepHessianError('io', `${path}: no ${role} found; looked for arrays named ${lookedFor(role)}`, { path });
  }
  const testInputs = await get('testInputs');
  const testTargets = await get('testTargets');
  if (!testInputs !== !testTargets) {
    throw badFile(path, 'both inputs and targets of the test set', testInputs ? 'inputs only' : 'targets only');
  }
  const whole = /^[|<>=]?[biu?]/.test(targets.dtype) && targets.data.length === targets.shape[0];
  const task =
    options.task === undefined || options.task === 'auto' ? (whole ? 'classification' : 'regression') : options.task;
  let highest = 0;
  if (task === 'classification') {
    for (const part of [targets, testTargets]) highest = Math.max(highest, part ? highestLabel(path, part) : 0);
  }
  const name = path.replace(/[\\/]+$/, '').replace(/^.*[\\/]/, '');
  const make = (part: string, x: NpyArray, y: NpyArray): Dataset => {
    const samples = x.shape[0] ?? 0;
    if (samples < 1 || x.data.length < 1)
      throw badFile(path, `inputs with at least one sample (${part})`, `[${x.shape.join(', ')}]`);
    const columns = y.data.length / samples;
    if (y.shape[0] !== samples || (task === 'classification' && columns !== 1)) {
      const wanted = task === 'classification' ? `[${samples}]` : `[${samples}, K]`;
      throw badFile(path, `targets of shape ${wanted} (${part})`, `[${y.shape.join(', ')}]`);
    }
    const targetParts =
      task === 'classification'
        ? { labels: Int32Array.from(y.data), classes: Array.from({ length: highest + 1 }, (_, k) => String(k)) }
        : { values: y.data, outputs: columns };
    return makeDataset({
      name: `${name} (${part})`,
      features: x.data.length / samples,
      inputs: x.data,
      ...targetParts,
    });
  };
  const train = make('train', inputs, targets);
  const test = testInputs && testTargets ? make('test', testInputs, testTargets) : null;
  if (test && test.features !== train.features) {
    throw badFile(path, `${train.features} features in the test set`, `${test.features}`);
  }
  return { train, test };
}

/**
 * Inputs [N, ..] of one part of what {@link readNpyDataset} takes, with targets [N, ..] where there are some; of a .npy file alone
 * its inputs. Null where the part is not there.
 */
export async function readNpyPart(
  path: string,
  part: 'train' | 'test',
  options: Pick<NpyDatasetOptions, 'targetsFile'> = {},
): Promise<{ inputs: NpyArray; targets: NpyArray | null } | null> {
  const get = await opener(path, options);
  const inputs = await get(part === 'test' ? 'testInputs' : 'inputs');
  return inputs && { inputs, targets: await get(part === 'test' ? 'testTargets' : 'targets') };
}

/** The error of arrays that are not there. */
export function noArrays(path: string): DeepHessianError {
  const names = [...usual.testInputs, ...usual.inputs].join(', ');
  return new DeepHessianError('io', `${path}: no inputs found; looked for arrays named ${names}`, { path });
}

/** How to get the array of a role: from an archive, a folder or a pair of files. */
async function opener(path: string, options: NpyDatasetOptions): Promise<(role: Role) => Promise<NpyArray | null>> {
  const candidates = (role: Role): readonly string[] => {
    const named = options.names?.[role];
    return named === undefined ? usual[role] : [named];
  };
  const bound = options.limit === undefined ? {} : { limit: options.limit };
  if (options.targetsFile !== undefined && !/\.npy$/i.test(path)) {
    failRange(
      operation,
      'targetsFile',
      'nothing beside an archive or a folder, which hold the targets',
      options.targetsFile,
    );
  }
  if (/\.npz$/i.test(path)) {
    const arrays = await readNpz(path);
    return (role) => {
      const found = candidates(role).find((name) => arrays.has(name));
      const array = found === undefined ? undefined : arrays.get(found);
      return Promise.resolve(array ? first(array, options.limit) : null);
    };
  }
  if (/\.npy$/i.test(path)) {
    const files: Partial<Record<Role, string | undefined>> = { inputs: path, targets: options.targetsFile };
    return async (role) => {
      const file = files[role];
      return file === undefined ? null : readNpy(file, bound);
    };
  }
  return async (role) => {
    for (const name of candidates(role)) {
      const file = join(path, `${name}.npy`);
      const there = await access(file).then(
        () => true,
        () => false,
      );
      if (there) return readNpy(file, bound);
    }
    return null;
  };
}

function first(array: NpyArray, limit: number | undefined): NpyArray {
  const [samples, ...rest] = array.shape;
  if (limit === undefined || samples === undefined || limit >= samples) return array;
  const width = array.data.length / samples;
  return { ...array, shape: [limit, ...rest], data: array.data.subarray(0, limit * width) };
}

/** Bound on class indices: more are no classes but numbers. */
const mostClasses = 1e6;

function highestLabel(path: string, { data }: NpyArray): number {
  let highest = 0;
  for (let n = 0; n < data.length; n++) {
    if (!Number.isInteger(data[n]) || data[n] < 0 || data[n] > mostClasses) {
      throw badFile(path, `class indices from 0 to ${mostClasses} for targets[${n}]`, String(data[n]));
    }
    if (data[n] > highest) highest = data[n];
  }
  return highest;
}
