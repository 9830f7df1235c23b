/**
 * A trained network on new data, a chunk of rows at a time: rows of a table, arrays, images. They go through what was done to the
 * training data, and where they have targets the same figures come out as in an evaluation of the run.
 */
import { stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { LaplacePosterior, LaplacePrediction } from '../curvature/index.js';
import { applyStandardisation } from '../data/standardise.js';
import type { Delimiter } from '../data/csv-records.js';
import { noCifar10, readCifar10Part } from '../data/cifar10.js';
import { noMnist, readMnistPart } from '../data/idx.js';
import {
  ImageFolder,
  imageFileChunks,
  listImages,
  testFolders,
  type ImageFolderOptions,
} from '../data/image-folder.js';
import type { ImageOptions } from '../data/images.js';
import { noArrays, readNpyPart } from '../data/npy-dataset.js';
import type { NpyArray } from '../data/npy.js';
import { arrayChunks, imageChunks, type RowChunk } from '../data/row-chunks.js';
import { openTable, type MissingPolicy } from '../data/table-rows.js';
import { DeepHessianError } from '../errors.js';
import { EvaluationSum, evaluationChunk, networkTargets, type Evaluation } from './evaluation.js';
import { describeData, networkInputs, outcomes, type Outcome, type TrainedModel } from './trained-model.js';

/** The data that a model is to be used on, and how they are read. */
export interface PredictionRequest {
  /** A table, .npy inputs, an .npz archive, or image files. */
  files?: readonly string[];
  /** Folder of images, of CIFAR-10, MNIST or .npy files. */
  dataDir?: string;
  /** Targets of a .npy file. */
  targetsFile?: string;
  /** Of data in two parts. Default: the test set where there is one. */
  part?: 'train' | 'test';
  /** Tables: what an empty cell does. Default: as in training. */
  missing?: MissingPolicy;
  /** Rows of tables that cannot be read (default 'fail'), images that do not decode (default: as in training). */
  broken?: 'fail' | 'skip';
  /** Tables: default as in training. */
  delimiter?: Delimiter;
  /** Tables: lines before the first record. Default: as in training. */
  skipRows?: number;
  /** Tables: columns whose texts go with the predictions. */
  keep?: readonly string[];
  /** Whether targets are looked at where there are some. Default true. */
  evaluate?: boolean;
}

/** Predictions for consecutive rows. */
export interface PredictedChunk extends Pick<RowChunk, 'first' | 'rows' | 'kept' | 'keys' | 'left'> {
  /** what the network says of the rows kept */
  outcome: Outcome;
}

/** Data that have been opened. */
interface RowSource {
  /** for messages */
  name: string;
  /** names of the texts that go with the rows */
  keys: string[];
  /** columns of a table that are not used */
  ignored: string[];
  /** rows, where that is known before they have been read */
  total: number | null;
  chunks: Iterable<RowChunk> | AsyncIterable<RowChunk>;
}

/** A model on data, ready to go through them once. */
export class PredictionRun {
  /** rows gone through */
  rows = 0;
  /** rows left out */
  left = 0;
  private readonly sum: EvaluationSum;

  private constructor(
    readonly model: TrainedModel,
    private readonly source: RowSource,
    private readonly posterior: LaplacePosterior | null,
  ) {
    this.sum = new EvaluationSum(model.network, model.standardisation?.values?.scale);
  }

  /**
   * Opens the data.
   *
   * @param posterior of the parameters, for deviations of values or probabilities averaged over it; see {@link canBeUncertain}
   * @throws RangeError for data that do not belong to the model; DeepHessianError 'io' or 'bad-file' for files, 'unsupported' where the
   * checkpoint does not hold what is needed
   */
  static async open(
    model: TrainedModel,
    request: PredictionRequest,
    posterior: LaplacePosterior | null = null,
  ): Promise<PredictionRun> {
    return new PredictionRun(model, await openSource(model, request), posterior);
  }

  /** Name of the data. */
  get name(): string {
    return this.source.name;
  }

  /** Names of the texts that go with the rows. */
  get keys(): readonly string[] {
    return this.source.keys;
  }

  /** Columns of a table that are not used. */
  get ignored(): readonly string[] {
    return this.source.ignored;
  }

  /** Rows that had a target. */
  get evaluated(): number {
    return this.sum.samples;
  }

  /** Loss and accuracy or error over the rows that had a target; null without such rows. */
  figures(): Evaluation | null {
    return this.sum.samples === 0 ? null : this.sum.figures();
  }

  /** Coefficient of determination of each value by name, null where the targets do not differ; null where there is none. */
  determination(): Record<string, number | null> | null {
    const names = this.model.valueNames;
    const figures = this.sum.determination();
    if (names === null || figures === null) return null;
    return Object.fromEntries(names.map((name, k) => [name, figures[k]]));
  }

  /** Rows of the data; null for a table, whose rows are counted as they come. */
  get total(): number | null {
    return this.source.total;
  }

  /** The predictions in the order of the data. With a posterior, whose part takes its time, in pieces of some rows. */
  async *predict(): AsyncGenerator<PredictedChunk, void, undefined> {
    const { model, posterior, source } = this;
    const { inputs: F, outputs: K } = model.network;
    for await (const chunk of source.chunks) {
      const { inputs, outputs } = this.evaluate(chunk);
      // As many as the posterior solves for at once.
      const size = posterior === null ? chunk.rows : Math.max(1, Math.floor(64 / K));
      let before = 0;
      for (let from = 0; from < chunk.rows; from += size) {
        const piece = pieceOf(chunk, from, Math.min(from + size, chunk.rows));
        const until = before + piece.kept.length;
        const outcome = this.outcome(inputs.subarray(before * F, until * F), outputs.subarray(before * K, until * K));
        before = until;
        this.rows += piece.rows;
        this.left += piece.left.length;
        yield { ...piece, outcome };
      }
    }
  }

  /** Inputs and outputs of the network for the rows kept; those with a target enter the figures. */
  private evaluate(chunk: RowChunk): { inputs: Float64Array; outputs: Float64Array } {
    const { model, sum } = this;
    const { network, params } = model;
    if (chunk.kept.length === 0) return { inputs: chunk.inputs, outputs: new Float64Array(0) };
    const inputs = networkInputs(model, chunk.inputs);
    const outputs = network.forward(params, inputs);
    const { withTarget, labels } = chunk;
    if (withTarget.length > 0) {
      const scales = model.standardisation?.values ?? null;
      const values =
        chunk.values !== null && scales !== null ? applyStandardisation(chunk.values, scales) : chunk.values;
      const batch = network.batch({
        inputs: rowsOf(inputs, withTarget, network.inputs),
        targets: networkTargets(network, labels ?? (values as Float64Array)),
      });
      sum.add(params, batch, rowsOf(outputs, withTarget, network.outputs), labels, values);
    }
    return { inputs, outputs };
  }

  private outcome(inputs: Float64Array, outputs: Float64Array): Outcome {
    const { model, posterior } = this;
    if (outputs.length === 0)
      return { classes: model.classes === null ? null : new Int32Array(0), values: new Float64Array(0) };
    const outcome = outcomes(model, outputs);
    return posterior === null ? outcome : uncertain(model, outcome, posterior.predict(inputs));
  }
}

/** Rows `from` to `to` of a chunk, without what they hold. */
function pieceOf({ first, kept, keys, left }: RowChunk, from: number, to: number): Omit<PredictedChunk, 'outcome'> {
  const inside = (place: number): boolean => place >= from && place < to;
  return {
    first: first + from,
    rows: to - from,
    kept: kept.filter(inside).map((place) => place - from),
    keys: keys.slice(from, to),
    left: left.filter(({ place }) => inside(place)).map(({ place, reason }) => ({ place: place - from, reason })),
  };
}

/** Whether a Laplace posterior says something of the model's predictions: of values by least squares, and of classes by likelihoods. */
export function canBeUncertain({ network, classes }: TrainedModel): boolean {
  return (network.loss === 'mse') === (classes === null);
}

/** Predictions with the uncertainty of the parameters. The class stays that of the network. */
function uncertain(
  { network, standardisation }: TrainedModel,
  { classes, values }: Outcome,
  { observationVariance, probabilities }: LaplacePrediction,
): Outcome {
  const { outputs: K } = network;
  if (observationVariance !== null) {
    const scale = standardisation?.values?.scale ?? null;
    const deviations = observationVariance.map((variance, i) => Math.sqrt(variance) * (scale?.[i % K] ?? 1));
    return { classes, values, deviations };
  }
  const p = probabilities ?? values;
  // One output stands for the second of two classes.
  return {
    classes,
    values: p.length === values.length ? p : values.map((_, i) => (i % 2 === 1 ? p[i >> 1] : 1 - p[i >> 1])),
  };
}

/** Some rows of a matrix, ascending; the matrix itself where they are all. */
function rowsOf(matrix: Float64Array, rows: readonly number[], width: number): Float64Array {
  if (rows.length * width === matrix.length) return matrix;
  const part = new Float64Array(rows.length * width);
  for (const [n, row] of rows.entries()) part.set(matrix.subarray(row * width, (row + 1) * width), n * width);
  return part;
}

/** Bytes of inputs in a chunk, where rows are long. */
const chunkBytes = 64 * 2 ** 20;
const rowsAtATime = (features: number): number =>
  Math.max(1, Math.min(evaluationChunk, Math.floor(chunkBytes / (8 * features))));

const operation = 'predict';
const isArrays = (path: string): boolean => /\.np[yz]$/i.test(path);
const isImage = (path: string): boolean => /\.(jpe?g|png|webp)$/i.test(path);

async function openSource(model: TrainedModel, request: PredictionRequest): Promise<RowSource> {
  const { files = [], dataDir } = request;
  if ((files.length === 0) === (dataDir === undefined)) {
    throw new RangeError(
      `${operation}: expected either --file or --data-dir, received ${dataDir === undefined ? 'neither' : 'both'}`,
    );
  }
  const images = files.length > 0 && files.every(isImage);
  const kind = dataDir !== undefined ? 'folder' : images ? 'images' : isArrays(files[0]) ? 'arrays' : 'table';
  refuseStray(request, kind);
  if (files.length > 1 && !images) {
    throw new RangeError(`${operation}: expected one --file (several only of images), received ${files.length}`);
  }
  return {
    folder: () => openFolder(model, dataDir ?? '', request),
    images: () => openImages(model, files, request),
    arrays: () => openArrays(model, files[0], request),
    table: () => openRows(model, files[0], request),
  }[kind]();
}

/** Options that the data do not have are no options. */
function refuseStray(request: PredictionRequest, kind: 'folder' | 'images' | 'arrays' | 'table'): void {
  const own: [keyof PredictionRequest, string, readonly string[]][] = [
    ['missing', '--missing', ['table']],
    ['delimiter', '--delimiter', ['table']],
    ['skipRows', '--skip-rows', ['table']],
    ['keep', '--keep', ['table']],
    ['broken', '--broken', ['table', 'images', 'folder']],
    ['part', '--set', ['folder', 'arrays']],
    ['targetsFile', '--targets-file', ['arrays']],
  ];
  for (const [name, flag, kinds] of own) {
    if (request[name] === undefined || kinds.includes(kind)) continue;
    const what = { folder: 'a folder', images: 'image files', arrays: '.npy and .npz files', table: 'a table' }[kind];
    throw new RangeError(`${operation}: ${flag} does not belong to ${what}`);
  }
}

async function openRows(model: TrainedModel, path: string, request: PredictionRequest): Promise<RowSource> {
  const { table, settings, network } = model;
  if (table === null && settings.data === 'csv') throw lacking('how its table was read (schema)');
  if (table === null) {
    const images = settings.data === 'images' ? ' or images (.jpg, .jpeg, .png, .webp)' : '';
    throw new RangeError(
      `${operation}: expected .npy or .npz inputs [N, ${network.inputs}]${images} for a network trained on ${describeData(model)}, which has no ` +
        `columns, received ${path}`,
    );
  }
  const { missing = settings.missing as MissingPolicy | undefined, broken, delimiter, skipRows, keep } = request;
  const opened = await openTable(path, table, {
    targets: request.evaluate === false ? 'ignore' : 'use',
    chunk: rowsAtATime(network.inputs),
    ...(missing === undefined ? {} : { missing }),
    ...(broken === undefined ? {} : { broken }),
    ...(delimiter === undefined ? {} : { delimiter }),
    ...(skipRows === undefined ? {} : { skipRows }),
    ...(keep === undefined ? {} : { keep }),
  });
  checkFeatures(model, path, opened.features);
  return { name: basename(path), keys: opened.keys, ignored: opened.ignored, total: null, chunks: opened.chunks };
}

async function openArrays(model: TrainedModel, path: string, request: PredictionRequest): Promise<RowSource> {
  const { targetsFile, part } = request;
  const options = targetsFile === undefined ? {} : { targetsFile };
  const found =
    part === undefined
      ? ((await readNpyPart(path, 'test', options)) ?? (await readNpyPart(path, 'train', options)))
      : await readNpyPart(path, part, options);
  if (found === null) throw noArrays(path);
  const { inputs } = found;
  const samples = inputs.shape[0] ?? 1;
  checkFeatures(model, path, samples === 0 ? model.network.inputs : inputs.data.length / samples);
  const targets =
    request.evaluate === false || found.targets === null ? {} : arrayTargets(model, path, found.targets, samples);
  return {
    name: basename(path),
    keys: [],
    ignored: [],
    total: samples,
    chunks: arrayChunks(inputs.data, model.network.inputs, targets, rowsAtATime(model.network.inputs)),
  };
}

/** Targets of an array as the model's data had them. */
function arrayTargets(
  { classes, network }: TrainedModel,
  path: string,
  { data, shape }: NpyArray,
  samples: number,
): { labels: Int32Array } | { values: Float64Array } {
  const bad = (expected: string, found: string): DeepHessianError =>
    new DeepHessianError(
      'bad-file',
      `${path}: expected ${expected}, found ${found} (--no-evaluate leaves them alone)`,
      {
        path,
      },
    );
  const columns = classes === null ? network.outputs : 1;
  if (shape[0] !== samples || data.length !== samples * columns)
    throw bad(`targets of shape [${samples}${columns === 1 ? '' : `, ${columns}`}]`, `[${shape.join(', ')}]`);
  if (classes === null) return { values: data };
  for (let n = 0; n < samples; n++) {
    if (!Number.isInteger(data[n]) || data[n] < 0 || data[n] >= classes.length)
      throw bad(`class indices from 0 to ${classes.length - 1} for targets[${n}]`, String(data[n]));
  }
  return { labels: Int32Array.from(data) };
}

async function openFolder(model: TrainedModel, dataDir: string, request: PredictionRequest): Promise<RowSource> {
  const { data } = model.settings;
  const info = await stat(dataDir).catch(() => null);
  if (!info?.isDirectory()) {
    const what = info ? 'is not a folder' : 'does not exist';
    throw new DeepHessianError('io', `${operation}: the data folder ${dataDir} ${what}`, { dataDir });
  }
  if (data !== 'images' && request.broken !== undefined)
    throw new RangeError(`${operation}: --broken does not belong to ${describeData(model)}`);
  if (data === 'images') return openImageTree(model, dataDir, request);
  if (data === 'npy') return openArrays(model, dataDir, request);
  if (data !== 'cifar10' && data !== 'mnist') {
    throw new RangeError(
      `${operation}: expected --file (a network trained on ${describeData(model)} has no folder of data), received --data-dir ${dataDir}`,
    );
  }
  const read = data === 'cifar10' ? readCifar10Part : readMnistPart;
  let part = request.part ?? 'test';
  let planes = await read(dataDir, part);
  if (planes === null && request.part === undefined) planes = await read(dataDir, (part = 'train'));
  if (planes === null) throw data === 'cifar10' ? noCifar10(dataDir) : noMnist(dataDir, part);
  const options = imageOptions(model);
  const side = (from: number): number => options.imageSize ?? from;
  const channels = options.grey === true ? 1 : planes.channels;
  checkFeatures(model, dataDir, channels * side(planes.height) * side(planes.width));
  const labels = request.evaluate === false ? null : planes.labels;
  return {
    name: `${part} set of ${basename(dataDir)}`,
    keys: [],
    ignored: [],
    total: planes.samples,
    chunks: imageChunks({ ...planes, labels }, options, rowsAtATime(model.network.inputs)),
  };
}

/** A tree as in training, a folder of classes, or a folder of images without any. */
async function openImageTree(model: TrainedModel, dataDir: string, request: PredictionRequest): Promise<RowSource> {
  const isFolder = async (path: string): Promise<boolean> =>
    stat(path).then(
      (info) => info.isDirectory(),
      () => false,
    );
  let folder = dataDir;
  const { part } = request;
  if (await isFolder(join(dataDir, 'train'))) {
    if (part !== 'train') {
      for (const name of [...testFolders].reverse())
        if (await isFolder(join(dataDir, name))) folder = join(dataDir, name);
    }
    if (folder === dataDir && part === 'test') {
      const names = testFolders.join(', ');
      throw new DeepHessianError('io', `${dataDir}: no test set found; looked for folders named ${names}`, { dataDir });
    }
    if (folder === dataDir) folder = join(dataDir, 'train');
  } else if (part !== undefined) {
    throw new RangeError(`${operation}: expected a folder train beside others for --set, found none in ${dataDir}`);
  }
  const files = await listImages(folder);
  if (files.length > 0) return openImages(model, files, request, folder);
  const images = await ImageFolder.open(folder, { ...folderOptions(model, request), classes: model.classes ?? [] });
  return imageSourceOf(model, images, request.evaluate !== false, folder);
}

async function openImages(
  model: TrainedModel,
  files: readonly string[],
  request: PredictionRequest,
  name = files.length === 1 ? basename(files[0]) : 'images',
): Promise<RowSource> {
  if (model.settings.data !== 'images') {
    throw new RangeError(
      `${operation}: expected data like those trained on (${describeData(model)}), received image files`,
    );
  }
  const images = await ImageFolder.ofFiles(files, folderOptions(model, request));
  return imageSourceOf(model, images, false, name);
}

function imageSourceOf(model: TrainedModel, images: ImageFolder, labelled: boolean, name: string): RowSource {
  const { height, width, channels } = images.shape;
  checkFeatures(model, name, height * width * channels);
  const chunks = imageFileChunks(images, labelled, rowsAtATime(model.network.inputs));
  return { name, keys: ['file'], ignored: [], total: images.samples, chunks };
}

function folderOptions(model: TrainedModel, request: PredictionRequest): ImageFolderOptions {
  const { settings } = model;
  return {
    ...imageOptions(model),
    imageSize: (settings['image-size'] as number | undefined) ?? 64,
    fit: settings.fit as 'cover' | 'fill',
    broken: request.broken ?? (settings.broken as 'fail' | 'skip'),
  };
}

/** How the training images became inputs. */
function imageOptions({ settings, channels }: TrainedModel): ImageOptions {
  const { normalise, grey } = settings;
  if (normalise === 'standardised' && channels === null)
    throw lacking('mean and deviation of the channels of its images');
  return {
    ...(settings['image-size'] === undefined ? {} : { imageSize: settings['image-size'] as number }),
    grey: grey === true,
    normalise: normalise as 'unit' | 'standardised',
    ...(channels === null ? {} : { channels }),
  };
}

/** What an older version has not written. */
function lacking(what: string): DeepHessianError {
  return new DeepHessianError(
    'unsupported',
    `${operation}: the checkpoint does not hold ${what}: an older version wrote it. deep-hessian train --resume with the run's folder ` +
      'writes it anew, with the data trained on at hand',
  );
}

function checkFeatures({ network }: TrainedModel, what: string, features: number): void {
  if (features === network.inputs) return;
  throw new RangeError(`${operation}: expected rows of ${network.inputs} inputs, received ${features} in ${what}`);
}
