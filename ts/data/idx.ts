/**
 * IDX files (LeCun, Cortes, Burges: the format of MNIST), plain or gzipped.
 *
 *     byte 0, 1   zero
 *     byte 2      type of an entry: 08 uint8, 09 int8, 0b int16, 0c int32, 0d float32, 0e float64
 *     byte 3      number of dimensions d
 *     4 d bytes   the dimensions, big-endian uint32
 *     data        big-endian, the last dimension fastest (row-major)
 */
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { checkInteger } from '../checks.js';
import { DeepHessianError } from '../errors.js';
import { badFile, ByteReader, checkFits, openBytes } from './bytes.js';
import { makeDataset, type Dataset } from './dataset.js';
import { imageDataset, type ImageInputs, type ImageOptions, type PixelPlanes } from './images.js';

const entryTypes: Record<number, { name: string; bytes: number }> = {
  0x08: { name: 'uint8', bytes: 1 },
  0x09: { name: 'int8', bytes: 1 },
  0x0b: { name: 'int16', bytes: 2 },
  0x0c: { name: 'int32', bytes: 4 },
  0x0d: { name: 'float32', bytes: 4 },
  0x0e: { name: 'float64', bytes: 8 },
};

export type IdxData = Uint8Array | Int8Array | Int16Array | Int32Array | Float32Array | Float64Array;

export interface IdxArray {
  shape: number[];
  /** Row-major. */
  data: IdxData;
}

export interface ReadIdxOptions {
  /** Read only this many entries of the first dimension. Default: all. */
  limit?: number;
  /** Refuse any other number of dimensions. */
  dimensions?: number;
}

/**
 * Reads one IDX file.
 *
 * The size that the header claims is checked against the size of the file before the data is allocated.
 *
 * @throws DeepHessianError 'bad-file' for a foreign, truncated or overlong file, 'io' for a missing one
 */
export async function readIdx(path: string, options: ReadIdxOptions = {}): Promise<IdxArray> {
  const { gzip, bound, chunks } = await openBytes(path);
  const reader = new ByteReader(path, chunks);
  try {
    const magic = await reader.fill(new Uint8Array(4), 'IDX magic number');
    const type = entryTypes[magic[2]];
    const dimensions = magic[3];
    if (magic[0] !== 0 || magic[1] !== 0 || type === undefined || dimensions < 1 || dimensions > 8) {
      const found = Buffer.from(magic).toString('hex');
      throw badFile(path, 'an IDX file (magic number 0000, type 08 to 0e, 1 to 8 dimensions)', `magic number ${found}`);
    }
    if (options.dimensions !== undefined && dimensions !== options.dimensions) {
      throw badFile(path, `an IDX file of ${options.dimensions} dimensions`, `one of ${dimensions}`);
    }
    const sizes = await reader.fill(new Uint8Array(4 * dimensions), 'IDX dimensions');
    const view = new DataView(sizes.buffer);
    const shape = Array.from({ length: dimensions }, (_, i) => view.getUint32(4 * i));
    const claimed = shape.reduce((a, b) => a * b, type.bytes);
    const rest = bound - reader.taken;
    const wanted = `${shape.join(' x ')} entries of ${type.name} (${claimed} bytes)`;
    if (claimed < 1) throw badFile(path, 'at least one entry', `dimensions ${shape.join(' x ')}`);
    if (gzip ? claimed > rest : claimed !== rest) {
      throw badFile(path, wanted, gzip ? `at most ${rest} bytes after unpacking` : `${rest} bytes of data`);
    }
    let read = claimed;
    if (options.limit !== undefined && options.limit < shape[0]) {
      checkInteger('readIdx', 'limit', options.limit, 1);
      read = (claimed / shape[0]) * options.limit;
      shape[0] = options.limit;
    }
    checkFits(path, read);
    const bytes = await reader.fill(new Uint8Array(read), 'data');
    if (read === claimed) await reader.end(wanted);
    const data = decode(bytes, magic[2]);
    if (data instanceof Float32Array || data instanceof Float64Array) {
      for (let i = 0; i < data.length; i++) {
        if (!Number.isFinite(data[i])) throw badFile(path, 'finite numbers', `${data[i]} at entry ${i}`);
      }
    }
    return { shape, data };
  } finally {
    await reader.close();
  }
}

function decode(bytes: Uint8Array, type: number): IdxData {
  const { buffer } = bytes;
  if (type === 0x08) return bytes;
  if (type === 0x09) return new Int8Array(buffer);
  const view = Buffer.from(buffer as ArrayBuffer);
  if (type === 0x0b) {
    view.swap16();
    return new Int16Array(buffer);
  }
  if (type === 0x0e) {
    view.swap64();
    return new Float64Array(buffer);
  }
  view.swap32();
  return type === 0x0c ? new Int32Array(buffer) : new Float32Array(buffer);
}

export interface MnistOptions extends ImageOptions {
  /** At most this many training and test samples (the first ones). Default: all. */
  limit?: number;
}

/**
 * Reads a folder in MNIST's layout: `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, and the same with `t10k-` for
 * the test set, each plain or with `.gz` (also with `.idx3-ubyte`). The test set may be missing.
 *
 * Class names are '0', '1', .., at least ten of them. Pixels as in {@link ImageOptions}.
 */
export async function readMnist(
  folder: string,
  options: MnistOptions = {},
): Promise<{ train: Dataset; test: Dataset | null; channels: ImageInputs['channels'] }> {
  const { limit, ...image } = options;
  const trainPlanes = await readMnistPart(folder, 'train', limit);
  if (!trainPlanes) throw noMnist(folder, 'train');
  const testPlanes = await readMnistPart(folder, 'test', limit);
  const highest = (labels: Int32Array): number => labels.reduce((a, b) => Math.max(a, b), 0);
  const count = Math.max(10, highest(trainPlanes.labels) + 1, testPlanes ? highest(testPlanes.labels) + 1 : 0);
  const classes = Array.from({ length: count }, (_, k) => String(k));
  const { sets, shape, channels } = imageDataset(testPlanes ? [trainPlanes, testPlanes] : [trainPlanes], image);
  const make = (part: string, planes: PixelPlanes & { labels: Int32Array }, inputs: Float64Array): Dataset =>
    makeDataset({
      name: `MNIST (${part})`,
      features: shape.height * shape.width * shape.channels,
      inputs,
      labels: planes.labels,
      classes,
      shape,
    });
  return {
    train: make('train', trainPlanes, sets[0]),
    test: testPlanes && make('test', testPlanes, sets[1]),
    channels,
  };
}

/** What the files of each part begin with. */
const prefixes = { train: 'train', test: 't10k' } as const;

function candidates(prefix: string, kind: 'images' | 'labels'): string[] {
  const dimensions = kind === 'images' ? 3 : 1;
  const names = [`${prefix}-${kind}-idx${dimensions}-ubyte`, `${prefix}-${kind}.idx${dimensions}-ubyte`];
  return names.flatMap((name) => [name, `${name}.gz`]);
}

async function find(folder: string, names: readonly string[]): Promise<string | null> {
  for (const name of names) {
    const path = join(folder, name);
    const found = await access(path).then(
      () => true,
      () => false,
    );
    if (found) return path;
  }
  return null;
}

/** The error of a folder without the files of a part. */
export function noMnist(folder: string, part: 'train' | 'test'): DeepHessianError {
  const prefix = prefixes[part];
  const names = [...candidates(prefix, 'images'), ...candidates(prefix, 'labels')];
  return new DeepHessianError(
    'io',
    `${folder}: no MNIST files found; looked for ${prefix} images and labels as ${names.join(', ')}`,
    { folder, names },
  );
}

/** Pixels and labels of one part of a folder as {@link readMnist} takes it; null where its files are not there. */
export async function readMnistPart(
  folder: string,
  part: 'train' | 'test',
  limit?: number,
): Promise<(PixelPlanes & { labels: Int32Array }) | null> {
  const prefix = prefixes[part];
  const imagePath = await find(folder, candidates(prefix, 'images'));
  const labelPath = await find(folder, candidates(prefix, 'labels'));
  if (!imagePath && !labelPath) return null;
  if (!imagePath || !labelPath) throw noMnist(folder, part);
  const images = await readIdx(imagePath, { limit, dimensions: 3 });
  const labels = await readIdx(labelPath, { limit, dimensions: 1 });
  if (!(images.data instanceof Uint8Array)) throw badFile(imagePath, 'images of uint8', images.data.constructor.name);
  if (!(labels.data instanceof Uint8Array)) throw badFile(labelPath, 'labels of uint8', labels.data.constructor.name);
  const [samples, height, width] = images.shape;
  if (labels.shape[0] !== samples) {
    throw badFile(labelPath, `${samples} labels for the images of ${imagePath}`, String(labels.shape[0]));
  }
  return { samples, channels: 1, height, width, pixels: images.data, labels: Int32Array.from(labels.data) };
}
