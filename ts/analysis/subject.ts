/**
 * What an analysis looks at: a network at a point and the samples its loss averages over. Either a checkpoint (or the run folder
 * that holds one) with the data it was trained on or with other data, or a network that the settings describe, freshly
 * initialised or with the weights of a file.
 *
 * Other data go through what was done to the training data: the columns and categories of its table, its means and deviations.
 */
import { checkInteger } from '../checks.js';
import { take, type Dataset } from '../data/dataset.js';
import { loadDataset, type LoadOptions } from '../data/load.js';
import { applyStandardisation, type Standardisation } from '../data/standardise.js';
import { Network } from '../derivatives/network.js';
import type { Linearization } from '../derivatives/index.js';
import { DeepHessianError } from '../errors.js';
import type { Checkpoint } from '../train/checkpoint.js';
import { checkSettings, resolveSettings, runOptions, type Settings } from '../train/config.js';
import { networkTargets } from '../train/evaluation.js';
import { buildNetwork, datasetRequest, firstParameters, trainingSamples } from '../train/experiment.js';
import { findCheckpoint } from '../train/run-folder.js';
import { storedStandardisation } from '../train/trained-model.js';

/** Where the parameters come from. */
export type Origin =
  | { kind: 'checkpoint'; file: string; folder: string; step: number; optimizerSeconds: number }
  | { kind: 'weights'; file: string }
  | { kind: 'initialisation'; scheme: string; seed: number };

/** What is analysed: a network at a point, with the samples of its loss; made by {@link openSubject}. */
export interface Subject {
  /** the network, P parameters */
  network: Network;
  /** the point, length P */
  params: Float64Array;
  /** where the parameters come from */
  origin: Origin;
  /** the samples that the loss averages over */
  train: Dataset;
  /** how they were chosen, for people */
  choice: string;
  /** held-out samples by name */
  heldOut: Record<string, Dataset>;
  /** the settings that data and network come from */
  settings: Settings;
  /** whether the data are those that the checkpoint was trained on */
  ownData: boolean;
  /** standardisation of the values, to give errors in their own units */
  valueScale: Float64Array | null;
  /** the checkpoint read; null for a freshly initialised network, and for one from a file of weights */
  checkpoint: Checkpoint | null;
}

/** What {@link openSubject} is to open. */
export interface SubjectRequest {
  /** checkpoint file or run folder; without it the network is freshly initialised, or has the weights of `init-from` */
  path?: string;
  /** settings by flag, those of training */
  given: Record<string, unknown>;
  /** at most this many training samples; default: those of a full or fixed batch, else 1000 */
  samples?: number;
}

/** Samples of a run on a stream of batches, where nothing else is said. */
const streamSamples = 1000;

const dataFlags = new Set(runOptions.filter((spec) => spec.group === 'Data').map((spec) => spec.flag));
/** Data flags that choose batches, not data. */
const batchFlags = ['batch-size', 'fixed-batch', 'full-batch'];

/** What each of them takes away from a stored run, for the two exclude each other. */
const excludedBatches: Readonly<Record<string, readonly string[]>> = {
  'batch-size': ['full-batch'],
  'fixed-batch': ['full-batch'],
  'full-batch': ['batch-size', 'fixed-batch'],
};

/**
 * Reads the checkpoint (where one is named) and the data, and sees that they fit.
 *
 * @param operation name for messages
 * @throws RangeError for settings that do not fit, with the sizes of both sides; DeepHessianError 'io' or 'bad-file' for files
 */
export async function openSubject(operation: string, { path, given, samples }: SubjectRequest): Promise<Subject> {
  if (samples !== undefined) checkInteger(operation, '--samples', samples, 1);
  if (path === undefined) return fresh(operation, given, samples);
  const { checkpoint, file, folder } = findCheckpoint(path);
  for (const flag of Object.keys(given)) {
    if (!dataFlags.has(flag) && flag !== 'threads' && flag !== 'seed') {
      throw new RangeError(`${operation}: --${flag} cannot change the network of a checkpoint (${path})`);
    }
  }
  const stored = checkSettings(`${operation} ${path}`, checkpoint.config);
  if (stored.data === undefined && given.data === undefined) {
    throw new RangeError(`${operation}: expected --data (${path} does not say what it was trained on), received none`);
  }
  const foreign = given.data !== undefined && given.data !== stored.data;
  const ownData = !Object.keys(given).some(
    (flag) => dataFlags.has(flag) && !batchFlags.includes(flag) && given[flag] !== stored[flag],
  );
  const replaced = Object.keys(given).flatMap((flag) => (given[flag] === false ? [] : (excludedBatches[flag] ?? [])));
  const kept = Object.fromEntries(
    Object.entries(stored).filter(([flag]) => (!foreign || !dataFlags.has(flag)) && !replaced.includes(flag)),
  );
  const settings = resolveSettings({ ...kept, ...given }, operation);
  const { train, heldOut, valueScale } = await loadSamples(settings, ownData ? null : checkpoint, given);
  const network = networkOf(checkpoint, path);
  checkFit(operation, network, train, path);
  for (const dataset of Object.values(heldOut)) checkFit(operation, network, dataset, path);
  const { step, seconds } = checkpoint.state.counters;
  return {
    network,
    params: checkpoint.state.params,
    origin: { kind: 'checkpoint', file, folder, step, optimizerSeconds: seconds },
    ...chooseSamples(settings, train, samples),
    heldOut,
    settings,
    ownData,
    valueScale,
    checkpoint,
  };
}

async function fresh(operation: string, given: Record<string, unknown>, samples: number | undefined): Promise<Subject> {
  const settings = resolveSettings(given, operation);
  const { train, heldOut, valueScale } = await loadSamples(settings, null, given);
  const network = buildNetwork(settings, train);
  const file = settings['init-from'] as string | undefined;
  return {
    network,
    params: await firstParameters(settings, network),
    origin:
      file === undefined
        ? { kind: 'initialisation', scheme: settings.init as string, seed: settings.seed as number }
        : { kind: 'weights', file },
    ...chooseSamples(settings, train, samples),
    heldOut,
    settings,
    ownData: true,
    valueScale,
    checkpoint: null,
  };
}

function networkOf(checkpoint: Checkpoint, path: string): Network {
  let network: Network;
  try {
    network = Network.fromJSON(checkpoint.network);
  } catch (error) {
    throw new DeepHessianError(
      'bad-file',
      `${path}: its network cannot be built (${(error as Error).message})`,
      { path },
      { cause: error },
    );
  }
  const { params } = checkpoint.state;
  if (params.length !== network.parameterCount) {
    throw new DeepHessianError(
      'bad-file',
      `${path}: expected ${network.parameterCount} parameters for its network, received ${params.length}`,
      { path },
    );
  }
  return network;
}

interface Samples {
  train: Dataset;
  heldOut: Record<string, Dataset>;
  valueScale: Float64Array | null;
}

/** The data of the settings; with a checkpoint they are read and scaled as its training data were. */
async function loadSamples(
  settings: Settings,
  checkpoint: Checkpoint | null,
  given: Record<string, unknown>,
): Promise<Samples> {
  const request = datasetRequest(settings);
  const extra = checkpoint?.extra ?? {};
  const own =
    checkpoint !== null && given.standardise === undefined ? storedStandardisation(extra.standardisation) : null;
  if (own !== null) request.standardise = 'none';
  if (checkpoint !== null && settings.data === 'csv' && extra.schema !== null && extra.schema !== undefined) {
    const { missing } = request.csv ?? {};
    request.csv = { schema: extra.schema, ...(missing === undefined ? {} : { missing }) } as NonNullable<
      LoadOptions['csv']
    >;
  }
  const loaded = await loadDataset(request);
  const through = (dataset: Dataset): Dataset => (own === null ? dataset : scaled(dataset, own));
  const { test } = loaded;
  const heldOut: Record<string, Dataset> =
    test === null ? {} : { [test.name.endsWith('(validation)') ? 'validation' : 'test']: through(test) };
  const values = own === null ? loaded.standardisation?.values : own.values;
  return { train: through(loaded.train), heldOut, valueScale: values?.scale ?? null };
}

function scaled(
  dataset: Dataset,
  { inputs, values }: { inputs: Standardisation; values: Standardisation | null },
): Dataset {
  // Columns that do not fit are left to the check of the sizes, which names both sides.
  const fits = inputs.mean.length === dataset.features;
  const fit = values !== null && dataset.values !== null && values.mean.length === dataset.outputs;
  return {
    ...dataset,
    inputs: fits ? applyStandardisation(dataset.inputs, inputs) : dataset.inputs,
    values: fit ? applyStandardisation(dataset.values as Float64Array, values) : dataset.values,
  };
}

/** Refuses data whose sizes are not those of the network. */
export function checkFit(operation: string, network: Network, dataset: Dataset, path: string): void {
  const targets =
    dataset.labels !== null
      ? `${dataset.outputs} classes`
      : `${dataset.outputs} value${dataset.outputs === 1 ? '' : 's'}`;
  const wanted =
    network.loss === 'cross-entropy'
      ? `${network.outputs} classes`
      : `${network.outputs} output${network.outputs === 1 ? '' : 's'}`;
  const binary = network.loss === 'binary-cross-entropy' && network.outputs === 1 && dataset.outputs === 2;
  const kind = network.loss !== 'cross-entropy' || dataset.labels !== null;
  // A part of a data set may lack a class.
  const width =
    dataset.labels !== null ? dataset.outputs <= network.outputs || binary : dataset.outputs === network.outputs;
  if (dataset.features === network.inputs && kind && width) return;
  throw new RangeError(
    `${operation}: expected data of ${network.inputs} inputs and ${wanted} for the network of ${path} (${network.loss}), ` +
      `received '${dataset.name}' of ${dataset.features} inputs and ${targets}`,
  );
}

function chooseSamples(
  settings: Settings,
  all: Dataset,
  samples: number | undefined,
): { train: Dataset; choice: string } {
  if (samples !== undefined && samples < all.samples) {
    return { train: take(all, samples), choice: `the first ${samples} of ${all.samples} training samples` };
  }
  if (samples !== undefined) return { train: all, choice: `all ${all.samples} training samples` };
  if (settings['fixed-batch'] === true) {
    const train = trainingSamples(settings, all);
    return { train, choice: `the fixed batch of ${train.samples} samples` };
  }
  if (settings['full-batch'] === true || all.samples <= streamSamples)
    return { train: all, choice: `all ${all.samples} training samples` };
  return { train: take(all, streamSamples), choice: `the first ${streamSamples} of ${all.samples} training samples` };
}

/** The settings that say what is looked at: data, network, seed. */
export function subjectSettings({ settings }: Subject): Settings {
  const names = new Set(
    runOptions.filter((spec) => spec.group === 'Data' || spec.group === 'Network').map((spec) => spec.flag),
  );
  return Object.fromEntries(Object.entries(settings).filter(([flag]) => names.has(flag) || flag === 'seed'));
}

/** Loss, gradient and second derivatives of the subject on its samples. */
export function linearizeSubject({ network, params, train }: Subject): Linearization {
  return network.linearize(params, { inputs: train.inputs, targets: subjectTargets(network, train) });
}

/** Targets of a data set as the network's loss takes them. */
export function subjectTargets(network: Network, dataset: Dataset): Int32Array | Float64Array {
  return networkTargets(network, dataset.labels ?? (dataset.values as Float64Array));
}
