/**
 * Image folders laid out as ImageNet's: `<class>/<file>.jpg`, one folder a class.
 *
 * Every file is decoded by sharp (libvips): turned upright by its EXIF orientation, converted to sRGB (grey and CMYK
 * files by their profiles), flattened on white where it is transparent, resized, and checked to be size x size x 3
 * bytes. A sample is stored channel by channel (C, H, W). A file that does not decode to its end is named, and skipped
 * or fatal as asked; no half image ever becomes a sample.
 */
import type { Dirent } from 'node:fs';
import { readdir, realpath, stat } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join, relative, sep } from 'node:path';
import type { Sharp, SharpOptions } from 'sharp';
import { checkInteger, checkOneOf, failRange } from '../checks.js';
import { DeepHessianError } from '../errors.js';
import { ioError } from './atomic.js';
import type { BatchSampler, BatchSamplerState } from './batch-sampler.js';
import { checkFits } from './bytes.js';
import { makeDataset, type DataBatch, type Dataset } from './dataset.js';
import { imageDataset, type ImageInputs, type ImageOptions, type PixelPlanes } from './images.js';
import { checkOptions } from './options.js';
import type { RowChunk } from './row-chunks.js';

/** How the files of an image folder become samples. */
export interface ImageFolderOptions extends Omit<ImageOptions, 'imageSize'> {
  /** Height and width of the inputs. */
  imageSize: number;
  /** 'cover' (default): the shorter side becomes `imageSize`, the middle is cut out; 'fill': squeezed to fit. */
  fit?: 'cover' | 'fill';
  /** A file that cannot be decoded is recorded and left out ('skip', default), or an error ('fail'). */
  broken?: 'skip' | 'fail';
  /** Files decoded at the same time. Default: the processor's cores, at most 8. */
  concurrency?: number;
  /** Class names, in the order of their indices (those of the training folder). Default: the folders, sorted. */
  classes?: readonly string[];
  /** At most this many files, spread evenly over the sorted list. Default: all. */
  limit?: number;
  /** Refuse images of more pixels than this. Default 10^8. */
  maxPixels?: number;
}

/** A file that could not be made a sample, and why. */
export interface BrokenImage {
  /** of the file */
  path: string;
  /** what the decoder said */
  reason: string;
}

/** A batch of decoded images. */
export interface ImageBatch extends DataBatch {
  /** class indices [samples] */
  targets: Int32Array;
  /** Rows of the folder's list that are in the batch; broken ones are left out. */
  indices: Int32Array;
  /** The sampler's state after this batch: stored in a checkpoint, it resumes with the next one. */
  state: BatchSamplerState;
}

const extensions = /\.(jpe?g|png|webp)$/i;
const optionNames = [
  'imageSize',
  'fit',
  'broken',
  'concurrency',
  'classes',
  'limit',
  'maxPixels',
  'grey',
  'normalise',
  'channels',
] as const;

type SharpFunction = (input: string, options: SharpOptions) => Sharp;

async function loadSharp(): Promise<SharpFunction> {
  try {
    return (await import('sharp')).default;
  } catch (error) {
    throw new DeepHessianError(
      'unsupported',
      `image folders need the package sharp, which cannot be loaded: ${(error as Error).message}`,
      {},
      { cause: error },
    );
  }
}

/** A folder of images: its list in memory, its pixels decoded on demand. */
export class ImageFolder {
  /** Files that turned out broken so far, in the order of the list once all have been decoded. */
  readonly broken: BrokenImage[] = [];
  private readonly isBroken: Uint8Array;

  private constructor(
    /** the folder as given to `open` */
    readonly folder: string,
    /** of every file in the list, sorted by class, then by name */
    readonly paths: readonly string[],
    /** class index of every file */
    readonly labels: Int32Array,
    /** class names by index */
    readonly classes: string[],
    private readonly options: ImageFolderOptions,
    private readonly sharp: SharpFunction,
  ) {
    this.isBroken = new Uint8Array(paths.length);
  }

  /**
   * Lists a folder. Only `.jpg`, `.jpeg`, `.png` and `.webp` files directly in a class folder count; names that begin
   * with a dot are left out.
   *
   * @throws DeepHessianError 'io' when the folder is missing or holds no image (saying what was looked for), 'bad-file'
   * for a link that leads out of the folder; RangeError for wrong options
   */
  static async open(folder: string, options: ImageFolderOptions): Promise<ImageFolder> {
    checkFolderOptions(options);
    const root = await realpath(folder).catch((error: unknown) => {
      throw ioError('reading folder', folder, error);
    });
    const found = await classFolders(folder, root);
    const classes = options.classes ? [...options.classes] : found;
    let paths: string[] = [];
    let labels: number[] = [];
    for (const name of found) {
      const label = classes.indexOf(name);
      if (label < 0) {
        const known = classes.slice(0, 10).join(', ');
        throw new DeepHessianError(
          'bad-file',
          `${join(folder, name)}: expected one of the classes ${known}, found '${name}'`,
          {
            folder,
            name,
          },
        );
      }
      for (const path of await imageFiles(join(folder, name), root)) {
        paths.push(path);
        labels.push(label);
      }
    }
    if (paths.length === 0) {
      throw new DeepHessianError(
        'io',
        `${folder}: no images found; looked for <class>/*.jpg, .jpeg, .png and .webp in ${found.length} class folders`,
        { folder },
      );
    }
    if (options.limit !== undefined && options.limit < paths.length) {
      const step = paths.length / options.limit;
      const kept = Array.from({ length: options.limit }, (_, i) => Math.floor(i * step));
      paths = kept.map((i) => paths[i]);
      labels = kept.map((i) => labels[i]);
    }
    return new ImageFolder(folder, paths, Int32Array.from(labels), classes, options, await loadSharp());
  }

  /**
   * A list of files of one's own choosing, without classes: for {@link ImageFolder.read}.
   *
   * @throws RangeError for wrong options, DeepHessianError 'unsupported' without the package sharp
   */
  static async ofFiles(paths: readonly string[], options: ImageFolderOptions): Promise<ImageFolder> {
    checkFolderOptions(options);
    // -1: what is made into a data set by mistake is refused there.
    return new ImageFolder('images', [...paths], new Int32Array(paths.length).fill(-1), [], options, await loadSharp());
  }

  /** Files in the list, broken ones included. */
  get samples(): number {
    return this.paths.length;
  }

  /** Of a sample. */
  get shape(): ImageInputs['shape'] {
    const size = this.options.imageSize;
    return { height: size, width: size, channels: this.options.grey ? 1 : 3 };
  }

  /**
   * Decodes everything into memory.
   *
   * @throws DeepHessianError 'bad-file' when a file is broken and `broken` is 'fail', or all of them are; 'out-of-memory'
   */
  async load(): Promise<{ dataset: Dataset; broken: BrokenImage[]; channels: ImageInputs['channels'] }> {
    const { height, width, channels } = this.shape;
    checkFits(this.folder, this.samples * height * width * (3 + 8 * channels));
    const { planes, indices } = await this.decode(Int32Array.from(this.paths.keys()));
    if (indices.length === 0) {
      const first = this.broken[0];
      throw new DeepHessianError(
        'bad-file',
        `${this.folder}: none of ${this.samples} images could be decoded; first ${first.path}: ${first.reason}`,
      );
    }
    const { grey, normalise, channels: figures } = this.options;
    const made = imageDataset([planes], {
      ...(grey === undefined ? {} : { grey }),
      ...(normalise === undefined ? {} : { normalise }),
      ...(figures === undefined ? {} : { channels: figures }),
    });
    const dataset = makeDataset({
      name: this.folder.replace(/[\\/]+$/, '').replace(/^.*[\\/]/, ''),
      features: height * width * channels,
      inputs: made.sets[0],
      labels: Int32Array.from(indices, (n) => this.labels[n]),
      classes: this.classes,
      shape: this.shape,
    });
    const order = new Map(this.paths.map((path, n) => [path, n]));
    this.broken.sort((a, b) => (order.get(a.path) ?? 0) - (order.get(b.path) ?? 0));
    return { dataset, broken: [...this.broken], channels: made.channels };
  }

  /**
   * Decodes some files of the list.
   *
   * @param rows places in the list
   * @returns inputs [n, features] of those that decode, and `indices` [n], their places in the list; the others are then in `broken`
   * @throws DeepHessianError 'bad-file' when a file is broken and `broken` is 'fail', 'aborted' by the signal; RangeError for a row outside
   * the list, and for normalise 'standardised' without `channels`, which a part of the files cannot give
   */
  async read(rows: Int32Array, signal?: AbortSignal): Promise<{ inputs: Float64Array; indices: Int32Array }> {
    const operation = 'ImageFolder.read';
    for (const row of rows) checkInteger(operation, 'rows', row, 0, this.samples - 1);
    const options = this.partOptions(operation);
    const { planes, indices } = await this.decode(rows, signal);
    const inputs = indices.length === 0 ? new Float64Array(0) : imageDataset([planes], options).sets[0];
    return { inputs, indices };
  }

  /** How a part of the files becomes inputs. */
  private partOptions(operation: string): ImageOptions {
    const { grey, normalise, channels } = this.options;
    if (normalise === 'standardised' && !channels) {
      failRange(operation, 'channels', `mean and deviation of the channels for normalise: 'standardised'`, channels);
    }
    return {
      ...(grey === undefined ? {} : { grey }),
      ...(normalise === undefined ? {} : { normalise }),
      ...(channels === undefined ? {} : { channels }),
    };
  }

  /**
   * Decodes batch after batch while the caller works on the last one, for ever (stop with `break` or the signal).
   *
   * At most `prefetch` + 1 batches are in memory. Batches are the sampler's, in its order, without files that are broken;
   * a batch with nothing left is passed over. 'standardised' needs `channels` here: a stream cannot fit them first.
   *
   * @param options prefetch: batches decoded ahead, default 1; signal: stops with DeepHessianError 'aborted'
   */
  async *batches(
    sampler: BatchSampler,
    options: { prefetch?: number; signal?: AbortSignal } = {},
  ): AsyncGenerator<ImageBatch, void, undefined> {
    const operation = 'ImageFolder.batches';
    const { prefetch = 1, signal } = options;
    checkInteger(operation, 'prefetch', prefetch, 0, 64);
    if (sampler.samples !== this.samples)
      failRange(operation, 'sampler', `a sampler over ${this.samples}`, sampler.samples);
    const image = this.partOptions(operation);
    const one = async (rows: Int32Array, state: BatchSamplerState): Promise<ImageBatch | null> => {
      const { planes, indices } = await this.decode(rows, signal);
      if (indices.length === 0) return null;
      return {
        samples: indices.length,
        inputs: imageDataset([planes], image).sets[0],
        targets: Int32Array.from(indices, (n) => this.labels[n]),
        indices,
        state,
      };
    };
    const ahead: Promise<ImageBatch | null>[] = [];
    const start = (): void => {
      const rows = sampler.next();
      const batch = one(rows, sampler.state());
      // Nobody waits for it yet; its failure is seen when its turn comes.
      batch.catch(() => undefined);
      ahead.push(batch);
    };
    try {
      for (;;) {
        if (signal?.aborted) throw new DeepHessianError('aborted', 'decoding images was cancelled');
        while (ahead.length < prefetch + 1) start();
        const batch = await ahead[0];
        void ahead.shift();
        if (batch) yield batch;
        else if (this.broken.length === this.samples) {
          throw new DeepHessianError('bad-file', `${this.folder}: none of ${this.samples} images could be decoded`);
        }
      }
    } finally {
      await Promise.allSettled(ahead);
    }
  }

  /** Decodes rows of the list, several at a time; broken ones are left out of the result. */
  private async decode(rows: Int32Array, signal?: AbortSignal): Promise<{ planes: PixelPlanes; indices: Int32Array }> {
    const { imageSize: size } = this.options;
    const bytes = 3 * size * size;
    const pixels = new Uint8Array(rows.length * bytes);
    const good = new Uint8Array(rows.length);
    let next = 0;
    const work = async (): Promise<void> => {
      while (next < rows.length) {
        if (signal?.aborted) throw new DeepHessianError('aborted', 'decoding images was cancelled');
        const i = next++;
        if (this.isBroken[rows[i]]) continue;
        const interleaved = await this.decodeOne(rows[i]).catch((error: unknown) => {
          next = rows.length;
          throw error;
        });
        if (!interleaved) continue;
        // H, W, C to C, H, W.
        const plane = size * size;
        for (let p = 0; p < plane; p++) {
          for (let c = 0; c < 3; c++) pixels[i * bytes + c * plane + p] = interleaved[3 * p + c];
        }
        good[i] = 1;
      }
    };
    const workers = this.options.concurrency ?? Math.min(8, availableParallelism());
    await Promise.all(Array.from({ length: Math.min(workers, rows.length) }, work));
    let kept = 0;
    const indices = new Int32Array(good.reduce((a, b) => a + b, 0));
    for (let i = 0; i < rows.length; i++) {
      if (!good[i]) continue;
      if (kept !== i) pixels.copyWithin(kept * bytes, i * bytes, (i + 1) * bytes);
      indices[kept++] = rows[i];
    }
    const planes = { samples: kept, channels: 3, height: size, width: size, pixels: pixels.subarray(0, kept * bytes) };
    return { planes, indices };
  }

  /** [size, size, 3] bytes of one file, or `null` when it is broken and that is allowed. */
  private async decodeOne(row: number): Promise<Uint8Array | null> {
    const { imageSize: size, fit = 'cover', broken = 'skip', maxPixels = 1e8 } = this.options;
    const path = this.paths[row];
    try {
      const { data, info } = await this.sharp(path, {
        failOn: 'warning',
        limitInputPixels: maxPixels,
        sequentialRead: true,
      })
        .autoOrient()
        .flatten({ background: '#ffffff' })
        .resize(size, size, { fit, kernel: 'lanczos3' })
        .toColourspace('srgb')
        .raw({ depth: 'uchar' })
        .toBuffer({ resolveWithObject: true });
      if (info.width !== size || info.height !== size || data.length !== 3 * size * size || info.channels !== 3) {
        throw new Error(
          `decoded to ${info.width} x ${info.height} x ${info.channels} instead of ${size} x ${size} x 3`,
        );
      }
      return data;
    } catch (error) {
      const reason = (error as Error).message.trim();
      if (broken === 'fail') {
        throw new DeepHessianError(
          'bad-file',
          `${path}: expected an image that decodes to its end, found: ${reason}`,
          { path },
          { cause: error },
        );
      }
      if (!this.isBroken[row]) {
        this.isBroken[row] = 1;
        this.broken.push({ path, reason });
      }
      return null;
    }
  }
}

function checkFolderOptions(options: ImageFolderOptions): void {
  const operation = 'ImageFolder';
  checkOptions(operation, options, optionNames);
  checkInteger(operation, 'imageSize', options.imageSize, 1, 4096);
  if (options.concurrency !== undefined) checkInteger(operation, 'concurrency', options.concurrency, 1, 64);
  if (options.limit !== undefined) checkInteger(operation, 'limit', options.limit, 1);
  if (options.maxPixels !== undefined) checkInteger(operation, 'maxPixels', options.maxPixels, 1);
  checkOneOf(operation, 'fit', options.fit ?? 'cover', ['cover', 'fill'] as const);
  checkOneOf(operation, 'broken', options.broken ?? 'skip', ['skip', 'fail'] as const);
  checkOneOf(operation, 'normalise', options.normalise ?? 'unit', ['unit', 'standardised'] as const);
}

/** Image files directly in a folder, sorted; links must stay inside it. None where it holds folders: those are classes. */
export async function listImages(folder: string): Promise<string[]> {
  const root = await realpath(folder).catch((error: unknown) => {
    throw ioError('reading folder', folder, error);
  });
  return (await classFolders(folder, root)).length > 0 ? [] : imageFiles(folder, root);
}

/**
 * Files of a list, decoded `size` at a time; broken ones are left out, their reasons beside them. The keys are the paths.
 *
 * @param labelled whether the folder's classes are targets
 */
export async function* imageFileChunks(
  images: ImageFolder,
  labelled: boolean,
  size: number,
): AsyncGenerator<RowChunk, void, undefined> {
  for (let first = 0; first < images.samples; first += size) {
    const rows = Math.min(size, images.samples - first);
    const known = images.broken.length;
    const { inputs, indices } = await images.read(Int32Array.from({ length: rows }, (_, i) => first + i));
    const reasons = new Map(images.broken.slice(known).map(({ path, reason }) => [path, reason]));
    const paths = images.paths.slice(first, first + rows);
    const kept = Array.from(indices, (row) => row - first);
    const good = new Set(kept);
    yield {
      first,
      rows,
      kept,
      inputs,
      withTarget: labelled ? Array.from(kept.keys()) : [],
      labels: labelled ? Int32Array.from(indices, (row) => images.labels[row]) : null,
      values: null,
      keys: paths.map((path) => [path]),
      left: paths.flatMap((path, place) =>
        good.has(place) ? [] : [{ place, reason: `${path}: ${reasons.get(path) ?? 'does not decode'}` }],
      ),
    };
  }
}

/** Names of the folders in `folder`, sorted; links must stay inside `root`. */
async function classFolders(folder: string, root: string): Promise<string[]> {
  const names: string[] = [];
  for (const entry of await list(folder)) {
    if (entry.name.startsWith('.')) continue;
    if (entry.isSymbolicLink()) {
      const path = join(folder, entry.name);
      if ((await stat(await inside(path, root))).isDirectory()) names.push(entry.name);
    } else if (entry.isDirectory()) names.push(entry.name);
  }
  return names.sort();
}

async function imageFiles(folder: string, root: string): Promise<string[]> {
  const paths: string[] = [];
  for (const entry of await list(folder)) {
    if (entry.name.startsWith('.') || !extensions.test(entry.name)) continue;
    const path = join(folder, entry.name);
    if (entry.isSymbolicLink()) {
      const target = await inside(path, root, true);
      // A link that leads nowhere is a broken file like others: named, and skipped or fatal as asked.
      if (target === null || (await stat(target)).isFile()) paths.push(path);
    } else if (entry.isFile()) paths.push(path);
  }
  return paths.sort();
}

async function list(folder: string): Promise<Dirent[]> {
  try {
    return await readdir(folder, { withFileTypes: true });
  } catch (error) {
    throw ioError('reading folder', folder, error);
  }
}

/** Where a link leads, which must be below `root`; null where it leads nowhere and that is allowed. */
async function inside(path: string, root: string): Promise<string>;
async function inside(path: string, root: string, dangling: true): Promise<string | null>;
async function inside(path: string, root: string, dangling = false): Promise<string | null> {
  const target = await realpath(path).catch((error: unknown) => {
    const code = (error as NodeJS.ErrnoException).code;
    if (dangling && (code === 'ENOENT' || code === 'ELOOP')) return null;
    throw ioError('following link', path, error);
  });
  if (target === null) return null;
  const from = relative(root, target);
  if (from === '..' || from.startsWith(`..${sep}`) || from === target) {
    throw new DeepHessianError('bad-file', `${path}: expected links to stay inside ${root}, found one to ${target}`, {
      path,
      target,
    });
  }
  return target;
}

/** Folder names that count as test set beside `train`. */
export const testFolders = ['val', 'validation', 'test'] as const;

/**
 * Reads a tree `train/<class>/..` with, where there is one, `val/`, `validation/` or `test/` beside it (classes and channel
 * figures are those of the training part). A folder without `train/` is taken as the training part itself.
 *
 * @returns broken files of both parts by name
 */
export async function readImageFolders(
  folder: string,
  options: ImageFolderOptions,
): Promise<{ train: Dataset; test: Dataset | null; broken: BrokenImage[]; channels: ImageInputs['channels'] }> {
  const isFolder = async (path: string): Promise<boolean> =>
    stat(path).then(
      (info) => info.isDirectory(),
      () => false,
    );
  const split = await isFolder(join(folder, 'train'));
  const train = await (await ImageFolder.open(split ? join(folder, 'train') : folder, options)).load();
  let test: Dataset | null = null;
  const broken = train.broken;
  if (split) {
    for (const name of testFolders) {
      const path = join(folder, name);
      if (!(await isFolder(path))) continue;
      const channels = train.channels ? { channels: train.channels } : {};
      const part = await ImageFolder.open(path, { ...options, ...channels, classes: train.dataset.classes ?? [] });
      const loaded = await part.load();
      test = loaded.dataset;
      broken.push(...loaded.broken);
      break;
    }
  }
  return { train: train.dataset, test, broken, channels: train.channels };
}
