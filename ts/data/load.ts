/**
 * One door to all data: a name and options to training and test set.
 */
import { stat } from 'node:fs/promises';
import { checkFinite, checkInteger, checkOneOf, failRange, failType } from '../checks.js';
import { DeepHessianError } from '../errors.js';
import { Random } from '../random.js';
import { readCifar10 } from './cifar10.js';
import { readCsv, type CsvOptions, type CsvSchema } from './csv.js';
import { split, subset, type Dataset } from './dataset.js';
import { friedman, sinc, spirals, teacher } from './generated.js';
import { readMnist } from './idx.js';
import { readImageFolders, type BrokenImage, type ImageFolderOptions } from './image-folder.js';
import type { ImageInputs, ImageOptions } from './images.js';
import { mackeyGlass } from './mackey-glass.js';
import { readNpyDataset, type NpyDatasetOptions } from './npy-dataset.js';
import { checkOptions } from './options.js';
import { standardise, type Standardisation } from './standardise.js';

/** Data that are made from a seed. */
export const generatedNames = [
  'spirals',
  'sinc',
  'friedman1',
  'friedman2',
  'friedman3',
  'teacher',
  'mackey-glass',
] as const;
/** Data that are read from a folder (`dataDir`). */
export const folderNames = ['cifar10', 'mnist', 'images'] as const;
/** Data that are read from a file (`file`); `npy` also from a folder. */
export const fileNames = ['csv', 'npy'] as const;
/** All data that {@link loadDataset} knows, by name. */
export const dataNames = [...generatedNames, ...folderNames, ...fileNames] as const;
/** Name of data that {@link loadDataset} knows. */
export type DataName = (typeof dataNames)[number];

/** Options of {@link loadDataset}, the same as the flags of the command line. */
export interface LoadOptions {
  /** Which data. */
  data: DataName;
  /** Folder of `cifar10`, `mnist` and `images`; of `npy` too, instead of `file`. */
  dataDir?: string;
  /** File of `csv`, or of `npy`: an .npz archive, or a .npy file of inputs (the targets' then in `npy.targetsFile`). */
  file?: string;
  /** CSV: a second file as test set, read with the first one's columns and categories. */
  testFile?: string;
  /** Images: height and width of the inputs. Default: as they are; 64 for `images`, whose sizes differ. */
  imageSize?: number;
  /** Images: one grey channel. Default false. */
  grey?: boolean;
  /** Images: {@link ImageOptions.normalise}. Default 'unit'. */
  normalise?: ImageOptions['normalise'];
  /**
   * At most this many samples of each set. Of generated data, `csv` and `npy`, whose order may mean something, drawn by the seed, in
   * their order (read whole for it: which are drawn depends on how many there are); of `images` spread evenly over the sorted files;
   * of `cifar10` and `mnist`, which are shuffled, the first ones. Default: all.
   */
  limit?: number;
  /** Generated data: points. Default: that of the generator. */
  points?: number;
  /** Generated data: noise. Default: that of the generator. */
  noise?: number;
  /** Spirals: turns. */
  turns?: number;
  /** Teacher network: inputs, hidden widths, outputs. */
  widths?: readonly number[];
  /** Seed of generated data, of the choice under `limit` and of the split. Default 0. */
  seed?: number;
  /** CSV: how to read it. */
  csv?: Omit<CsvOptions, 'schema' | 'limit'>;
  /** .npy and .npz: names and kind of the targets. */
  npy?: Omit<NpyDatasetOptions, 'limit'>;
  /** Image folders: cutting, broken files, decoding. */
  images?: Pick<ImageFolderOptions, 'fit' | 'broken' | 'concurrency' | 'maxPixels'>;
  /** Split off this fraction (< 1) or count as test set, where the data have none. Default 0: no test set then. */
  testFraction?: number;
  /**
   * 'inputs': zero mean and unit deviation by the training set's figures; 'all': regression values too; 'none'.
   * Default 'inputs' for `csv` and `npy`, else 'none'.
   */
  standardise?: 'none' | 'inputs' | 'all';
}

/** What {@link loadDataset} returns. */
export interface LoadedData {
  /** The training set. */
  train: Dataset;
  /** The test set; null where the data have none and none was split off. */
  test: Dataset | null;
  /** What was subtracted and divided by; to be kept with a model. */
  standardisation: { inputs: Standardisation; values: Standardisation | null } | null;
  /** How the CSV file was read; to be kept with a model. */
  schema: CsvSchema | null;
  /** For normalise: 'standardised' images: the figures of the channels, to be kept with a model. */
  channels: ImageInputs['channels'];
  /** Image files that were left out because they do not decode. */
  broken: BrokenImage[];
}

const operation = 'loadDataset';

/**
 * Loads a data set by name.
 *
 * @throws RangeError or TypeError for options that are unknown or do not belong to the data, DeepHessianError 'io' for
 * a missing folder or file (saying what was looked for), 'bad-file' for content that is not what it should be
 * @example
 * const { train, test } = await loadDataset({ data: 'cifar10', dataDir: '../shared/data/cifar10', imageSize: 16 });
 */
export async function loadDataset(options: LoadOptions): Promise<LoadedData> {
  const { data } = options ?? failType(operation, 'options', 'an object', options);
  checkOneOf(operation, 'data', data, dataNames);
  checkOptions(operation, options, allowedFor(data));
  if (options.standardise !== undefined) {
    checkOneOf(operation, 'standardise', options.standardise, ['none', 'inputs', 'all'] as const);
  }
  const { limit, seed = 0 } = options;
  if (limit !== undefined) checkInteger(operation, 'limit', limit, 1);
  const testFraction = options.testFraction ?? 0;
  checkFinite(operation, 'testFraction', testFraction);
  if (testFraction < 0) failRange(operation, 'testFraction', 'a number >= 0', testFraction);
  const loaded = await read(options);
  let { train, test } = loaded;
  if (limit !== undefined && !isFolder(data)) {
    train = choose(train, limit, seed);
    test &&= choose(test, limit, seed);
  }
  const rest = { schema: loaded.schema ?? null, channels: loaded.channels ?? null, broken: loaded.broken ?? [] };
  if (test && testFraction > 0) {
    failRange(operation, 'testFraction (--validation)', 'nothing for data with a test set of their own', testFraction);
  }
  if (!test && testFraction > 0) {
    const parts = split(train, { validation: testFraction, seed });
    train = parts.train;
    test = parts.validation;
  }
  const how = options.standardise ?? (isFile(data) ? 'inputs' : 'none');
  if (how === 'none') return { train, test, standardisation: null, ...rest };
  const done = standardise(train, test, how === 'all');
  return { train: done.train, test: done.test, standardisation: { inputs: done.inputs, values: done.values }, ...rest };
}

/** `count` rows drawn without replacement, in their order. A table may be sorted, by its classes for one. */
function choose(dataset: Dataset, count: number, seed: number): Dataset {
  if (count >= dataset.samples) return dataset;
  const rows = new Random(seed).shuffle(Int32Array.from({ length: dataset.samples }, (_, n) => n));
  return subset(dataset, rows.subarray(0, count).sort());
}

const isFile = (data: DataName): boolean => (fileNames as readonly string[]).includes(data);
const isFolder = (data: DataName): boolean => (folderNames as readonly string[]).includes(data);

function allowedFor(data: DataName): string[] {
  const common = ['data', 'limit', 'seed', 'testFraction', 'standardise'];
  if (data === 'images') return [...common, 'dataDir', 'imageSize', 'grey', 'normalise', 'images'];
  if (isFolder(data)) return [...common, 'dataDir', 'imageSize', 'grey', 'normalise'];
  if (data === 'npy') return [...common, 'file', 'dataDir', 'npy'];
  if (isFile(data)) return [...common, 'file', 'testFile', 'csv'];
  if (data === 'spirals') return [...common, 'points', 'noise', 'turns'];
  if (data === 'teacher') return [...common, 'points', 'noise', 'widths'];
  return [...common, 'points', 'noise'];
}

interface Read {
  train: Dataset;
  test: Dataset | null;
  schema?: CsvSchema;
  channels?: ImageInputs['channels'];
  broken?: BrokenImage[];
}

async function read(options: LoadOptions): Promise<Read> {
  const { data } = options;
  if (isFolder(data)) return readFolder(options);
  if (data === 'npy') return readNpyFiles(options);
  if (isFile(data)) return readFile(options);
  const { seed = 0, points, noise, turns, widths } = options;
  const size = { seed, ...(points === undefined ? {} : { points }), ...(noise === undefined ? {} : { noise }) };
  let train: Dataset;
  switch (data) {
    case 'spirals':
      train = spirals({ ...size, ...(turns === undefined ? {} : { turns }) });
      break;
    case 'sinc':
      train = sinc(size);
      break;
    case 'teacher':
      train = teacher({ ...size, ...(widths === undefined ? {} : { widths }) });
      break;
    case 'mackey-glass':
      train = mackeyGlass(size);
      break;
    default:
      train = friedman(Number(data.slice(-1)) as 1 | 2 | 3, size);
  }
  return { train, test: null };
}

async function readFolder(options: LoadOptions): Promise<Read> {
  const { data, limit, imageSize, grey, normalise } = options;
  const dataDir = await dataFolder(options);
  const image = {
    ...(limit === undefined ? {} : { limit }),
    ...(imageSize === undefined ? {} : { imageSize }),
    ...(grey === undefined ? {} : { grey }),
    ...(normalise === undefined ? {} : { normalise }),
  };
  if (data === 'images') return readImageFolders(dataDir, { imageSize: 64, ...image, ...options.images });
  const sets = data === 'cifar10' ? await readCifar10(dataDir, image) : await readMnist(dataDir, image);
  return sets;
}

/** The folder given, which must be there. */
async function dataFolder({ data, dataDir }: LoadOptions): Promise<string> {
  if (typeof dataDir !== 'string' || dataDir === '') {
    failType(operation, 'dataDir', `the folder of the ${data} files`, dataDir);
  }
  const info = await stat(dataDir).catch(() => null);
  if (!info?.isDirectory()) {
    const what = info ? 'is not a folder' : 'does not exist';
    throw new DeepHessianError('io', `${operation}: the data folder ${dataDir} ${what}`, { dataDir });
  }
  return dataDir;
}

async function readNpyFiles(options: LoadOptions): Promise<Read> {
  const { file, npy = {} } = options;
  if (file !== undefined && options.dataDir !== undefined) {
    failRange(operation, 'dataDir', 'nothing beside file', options.dataDir);
  }
  const path = file ?? (await dataFolder(options));
  return readNpyDataset(path, npy);
}

async function readFile(options: LoadOptions): Promise<Read> {
  const { data, file, testFile, csv = {} } = options;
  if (typeof file !== 'string' || file === '') failType(operation, 'file', `the ${data} file`, file);
  const { dataset, schema } = await readCsv(file, csv);
  const { missing, missingValues, comment, maxBytes } = csv;
  const again = {
    ...(missing === undefined ? {} : { missing }),
    ...(missingValues === undefined ? {} : { missingValues }),
    ...(comment === undefined ? {} : { comment }),
    ...(maxBytes === undefined ? {} : { maxBytes }),
  };
  const test = testFile === undefined ? null : (await readCsv(testFile, { ...again, schema })).dataset;
  return { train: dataset, test, schema };
}
