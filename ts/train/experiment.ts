/**
 * From resolved settings to the parts of a run: data, network, first parameters, source of batches, optimizer and
 * evaluator. The same settings and seed give the same parts, bit for bit.
 */
import type { Delimiter } from '../data/csv-records.js';
import { take, wholeBatch, fixedBatch, type Dataset } from '../data/dataset.js';
import { loadDataset, type DataName, type LoadedData, type LoadOptions } from '../data/load.js';
import { Network } from '../derivatives/network.js';
import { DeepHessianError } from '../errors.js';
import type { InitialisationName } from '../network/initialise.js';
import type { LayerSpec } from '../network/layers.js';
import type { LossName } from '../network/losses.js';
import type { ActivationName } from '../native/kernels.js';
import type { Optimizer } from '../optimize/optimizer.js';
import { buildOptimizer } from '../optimize/registry.js';
import { optimizerSettings, type Settings } from './config.js';
import { conclude, type Conclusion } from './conclusion.js';
import { CurvatureProbe } from './curvature-probe.js';
import { createEvaluator, networkTargets } from './evaluation.js';
import { imageSource, openImageStream, type ImageStream } from './image-stream.js';
import { fixedSource, sampledSource, type BatchSource } from './source.js';
import { trainingDevice, type TrainingDevice } from './training-device.js';
import type { Budget, Evaluations } from './trainer.js';
import { readWeights } from './weights.js';

/** The data of a run. */
export interface Problem {
  train: Dataset;
  /** held-out samples, by name: 'test', 'validation' */
  heldOut: Record<string, Dataset>;
  /** what was done to the inputs and values, to be kept with the model */
  standardisation: LoadedData['standardisation'];
  /** how a table was read */
  schema: LoadedData['schema'];
  /** figures of the channels of standardised images */
  channels: LoadedData['channels'];
  /** image files that were left out */
  broken: LoadedData['broken'];
  /** images that are decoded while the network trains; `train` and the held-out set are then (samples of) their parts */
  stream?: ImageStream;
}

/** The loader's request that the settings stand for. */
export function datasetRequest(settings: Settings): LoadOptions {
  const data = settings.data as DataName;
  const request: Record<string, unknown> = { data, seed: settings.seed, standardise: settings.standardise };
  const pass = (flag: string, name: string): void => {
    if (settings[flag] !== undefined) request[name] = settings[flag];
  };
  // resolveSettings has refused options that do not belong to the data, so what is there may be passed on.
  for (const [flag, name] of [
    ['limit', 'limit'],
    ['data-dir', 'dataDir'],
    ['image-size', 'imageSize'],
    ['grey', 'grey'],
    ['normalise', 'normalise'],
    ['file', 'file'],
    ['test-file', 'testFile'],
    ['points', 'points'],
    ['noise', 'noise'],
  ] as const)
    pass(flag, name);
  if ((settings.validation as number) > 0) request.testFraction = settings.validation;
  if (data === 'images') request.images = { fit: settings.fit, broken: settings.broken };
  if (data === 'npy') {
    request.npy = {
      task: settings.task,
      ...(settings['targets-file'] === undefined ? {} : { targetsFile: settings['targets-file'] }),
    };
  }
  if (data === 'csv') {
    const csv: Record<string, unknown> = { task: settings.task, missing: settings.missing };
    for (const flag of ['inputs', 'targets', 'exclude', 'categorical']) {
      if (settings[flag] !== undefined) csv[flag] = columnList(settings[flag] as string);
    }
    if (settings.header !== 'auto') csv.header = settings.header === 'yes';
    if (settings['skip-rows'] !== 0) csv.skipRows = settings['skip-rows'];
    if (settings.delimiter !== undefined) csv.delimiter = delimiters[settings.delimiter as string];
    request.csv = csv;
  }
  return request as unknown as LoadOptions;
}

/** Delimiters by the words of the flag. */
export const delimiters: Readonly<Record<string, Delimiter>> = {
  comma: ',',
  semicolon: ';',
  tab: '\t',
  bar: '|',
  blanks: 'blanks',
};

/** "age, 3" -> ['age', '3']: a text of digits is a name where there is one of that name, else an index. */
function columnList(text: string): string[] {
  return text.split(',').map((part) => part.trim());
}

/** Reads or makes the data that the settings name. */
export async function loadProblem(settings: Settings): Promise<Problem> {
  if (settings.stream === true) return loadStream(settings);
  const { train, test, standardisation, schema, channels, broken } = await loadDataset(datasetRequest(settings)).catch(
    (error: unknown) => {
      if (settings.data !== 'images' || !(error instanceof DeepHessianError) || error.code !== 'out-of-memory')
        throw error;
      const message = `${error.message}; --stream decodes the images while the network trains`;
      throw new DeepHessianError('out-of-memory', message, error.details, { cause: error });
    },
  );
  // A part that was split off for want of a test set is not called one.
  const heldOut: Record<string, Dataset> =
    test === null ? {} : { [test.name.endsWith('(validation)') ? 'validation' : 'test']: test };
  return { train, heldOut, standardisation, schema, channels, broken };
}

/** Opens the image folder of the settings, to be decoded while the network trains. */
async function loadStream(settings: Settings): Promise<Problem> {
  const { dataDir, imageSize = 64, limit, grey, normalise, images } = datasetRequest(settings);
  const stream = await openImageStream(dataDir as string, {
    imageSize,
    ...(limit === undefined ? {} : { limit }),
    ...(grey === undefined ? {} : { grey }),
    ...(normalise === undefined ? {} : { normalise }),
    ...images,
  });
  const { train, test, testSamples, broken } = stream;
  return {
    train,
    // A sample is not called the set that it was taken from.
    heldOut: test === null ? {} : { [test.samples < testSamples ? 'test sample' : 'test']: test },
    standardisation: null,
    schema: null,
    channels: stream.channels,
    broken,
    stream,
  };
}

/** What the training samples in memory are called: of a stream they are a sample. */
export function trainingName({ train, stream }: Problem): string {
  return stream !== undefined && train.samples < stream.folder.samples ? 'train sample' : 'train';
}

/** The network of the settings, for this data: `num-layers` weight matrices, the output layer included. */
export function buildNetwork(settings: Settings, train: Dataset): Network {
  const activation = settings.activation as ActivationName;
  const bias = settings['no-bias'] !== true;
  const units = settings['hidden-dim'] as number;
  const loss = (settings.loss as LossName | undefined) ?? (train.labels === null ? 'mse' : 'cross-entropy');
  if (loss === 'cross-entropy' && train.labels === null) {
    throw new RangeError(
      `train: expected a loss for values (mse or binary-cross-entropy) for --loss, received ${loss} with data '${train.name}'`,
    );
  }
  const outputs = loss === 'binary-cross-entropy' && train.labels !== null && train.outputs === 2 ? 1 : train.outputs;
  const layers: LayerSpec[] = [];
  for (let l = 0; l < (settings['num-layers'] as number) - 1; l++) {
    // The first layer changes the width, so it cannot be residual (unless the widths agree).
    const square = l > 0 || train.features === units;
    layers.push({ type: settings.residual === true && square ? 'residual' : 'dense', units, activation, bias });
  }
  layers.push({ type: 'dense', units: outputs, activation: 'identity', bias });
  return new Network({ inputs: train.features, loss, layers, l2: settings.l2 as number });
}

/** The first parameters. */
export function initialParameters(settings: Settings, network: Network): Float64Array {
  return network.initialize({
    seed: settings.seed as number,
    scheme: settings.init as InitialisationName,
    gain: settings.gain as number,
  });
}

/** The parameters that a run starts from: those of a file, or those of an initialisation. */
export async function firstParameters(settings: Settings, network: Network): Promise<Float64Array> {
  const file = settings['init-from'] as string | undefined;
  return file === undefined ? initialParameters(settings, network) : readWeights(file, network);
}

/** The samples that a fixed batch holds, or all training samples. */
export function trainingSamples(settings: Settings, train: Dataset): Dataset {
  if (settings['fixed-batch'] !== true) return train;
  const size = Math.min(settings['batch-size'] as number, train.samples);
  const batch = fixedBatch(train, size);
  return {
    ...train,
    samples: size,
    inputs: batch.inputs,
    labels: batch.targets instanceof Int32Array ? batch.targets : null,
    values: batch.targets instanceof Float64Array ? batch.targets : null,
  };
}

/** Where the batches come from: one fixed batch, the full set, or a shuffled stream. */
export function buildSource(
  settings: Settings,
  network: Network,
  train: Dataset,
  stream: ImageStream | undefined = undefined,
): BatchSource {
  if (stream !== undefined) {
    const { folder } = stream;
    const size = Math.min(settings['batch-size'] as number, folder.samples);
    return imageSource(network, folder, { batchSize: size, seed: settings.seed as number });
  }
  if (settings['fixed-batch'] === true || settings['full-batch'] === true) {
    const whole = wholeBatch(train);
    return fixedSource(network.batch({ inputs: whole.inputs, targets: networkTargets(network, whole.targets) }));
  }
  const batchSize = Math.min(settings['batch-size'] as number, train.samples);
  return sampledSource(network, train, { batchSize, seed: settings.seed as number, dropLast: true });
}

/** Samples used in evaluations while a run goes on; the last one takes them all. */
const sampledEvaluation = 2000;

/** Loss and accuracy (or root mean squared error) on the training samples and every held-out set. */
export function buildEvaluator(
  network: Network,
  train: Dataset,
  problem: Problem,
): (params: Float64Array, final: boolean) => Evaluations {
  const valueScale = problem.standardisation?.values?.scale;
  const options = valueScale === undefined ? {} : { valueScale };
  const sets = Object.entries({ [trainingName(problem)]: train, ...problem.heldOut }).map(([name, dataset]) => {
    const part = dataset.samples > sampledEvaluation ? take(dataset, sampledEvaluation) : dataset;
    const quick = createEvaluator(network, part, options);
    return { name, quick, whole: part === dataset ? quick : null, dataset };
  });
  return (params, final) => {
    const figures: Evaluations = {};
    for (const { name, quick, whole, dataset } of sets) {
      // The evaluator of the whole set is made when it is needed: it holds a second copy of the inputs.
      figures[name] = (final ? (whole ?? createEvaluator(network, dataset, options)) : quick)(params);
    }
    return figures;
  };
}

/** The limits of the run. */
export function buildBudget(settings: Settings): Budget {
  const budget: Budget = {};
  if (settings.steps !== undefined) budget.steps = settings.steps as number;
  if (settings.epochs !== undefined) budget.epochs = settings.epochs as number;
  if (settings['time-budget'] !== undefined) budget.seconds = settings['time-budget'] as number;
  if (settings['target-loss'] !== undefined) budget.targetLoss = settings['target-loss'] as number;
  return budget;
}

/** The parts of one run. */
export interface Experiment {
  network: Network;
  params: Float64Array;
  optimizer: Optimizer;
  source: BatchSource;
  evaluate: (params: Float64Array, final: boolean) => Evaluations;
  /** makes what takes the spectrum along a run; null where it is not wanted or not affordable */
  curvatureProbe: () => CurvatureProbe | null;
  /** predictions on every set and the spectrum, for the end of a run */
  conclude: (params: Float64Array) => Conclusion | null;
  problem: Problem;
  /** where the optimizer works, and why */
  device: TrainingDevice;
}

/** All parts of a run from its settings; `problem` may be shared between runs. */
export async function buildExperiment(settings: Settings, problem?: Problem): Promise<Experiment> {
  const device = trainingDevice(settings);
  const data = problem ?? (await loadProblem(settings));
  const network = buildNetwork(settings, data.train);
  const train = trainingSamples(settings, data.train);
  return {
    network,
    params: await firstParameters(settings, network),
    optimizer: buildOptimizer(settings.optimizer as string, network, optimizerSettings(settings), device.device),
    source: buildSource(settings, network, train, data.stream),
    evaluate: buildEvaluator(network, train, data),
    curvatureProbe: () => CurvatureProbe.make(network, train, settings['curvature-share'] as number),
    conclude: (params) =>
      conclude(network, params, { [trainingName(data)]: train, ...data.heldOut }, data.standardisation?.values ?? null),
    problem: data,
    device,
  };
}
