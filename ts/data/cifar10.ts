/**
 * CIFAR-10, binary version (Krizhevsky 2009): records of 3073 bytes, 1 label, then 1024 red, 1024 green, 1024 blue
 * pixels, each 32 x 32 row-major. A file may hold any number of whole records, so a prefix of the official 10,000 reads
 * the same way. A sample keeps that order: (channel, row, column).
 */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { checkInteger } from '../checks.js';
import { DeepHessianError } from '../errors.js';
import { ioError } from './atomic.js';
import { badFile, checkFits, fileSize } from './bytes.js';
import { openRegular, readRegular } from './regular-file.js';
import { makeDataset, type Dataset } from './dataset.js';
import { imageDataset, type ImageInputs, type ImageOptions, type PixelPlanes } from './images.js';

const recordBytes = 3073;
const pixelBytes = 3072;

const officialClasses = ['airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck'];

export interface Cifar10Options extends ImageOptions {
  /** At most this many training and test samples (the first ones). Default: all. */
  limit?: number;
}

/** Pixels and labels of one set. */
export interface LabelledPlanes extends PixelPlanes {
  labels: Int32Array;
}

/**
 * Reads batch files one after the other.
 *
 * @param paths files of records
 * @param limit stop after this many records. Default: all.
 * @throws DeepHessianError 'bad-file' for a length that is no multiple of 3073 or a label above 9, 'io' when missing
 */
export async function readCifar10Files(paths: readonly string[], limit = Infinity): Promise<LabelledPlanes> {
  const counts: number[] = [];
  let samples = 0;
  for (const path of paths) {
    const bytes = await fileSize(path);
    if (bytes === 0 || bytes % recordBytes !== 0) {
      throw badFile(path, `whole CIFAR-10 records of ${recordBytes} bytes`, `${bytes} bytes`);
    }
    const count = Math.min(bytes / recordBytes, limit - samples);
    counts.push(count);
    samples += count;
  }
  checkFits('CIFAR-10', samples * recordBytes);
  const pixels = new Uint8Array(samples * pixelBytes);
  const labels = new Int32Array(samples);
  const block = new Uint8Array(512 * recordBytes);
  let n = 0;
  for (let f = 0; f < paths.length; f++) {
    if (counts[f] === 0) continue;
    const path = paths[f];
    const { handle } = await openRegular(path);
    try {
      for (let record = 0; record < counts[f];) {
        const wanted = Math.min(512, counts[f] - record) * recordBytes;
        let filled = 0;
        while (filled < wanted) {
          const { bytesRead } = await handle.read(block, filled, wanted - filled, record * recordBytes + filled);
          if (bytesRead === 0) throw badFile(path, `${counts[f]} records`, `the end of the file in record ${record}`);
          filled += bytesRead;
        }
        for (let at = 0; at < wanted; at += recordBytes, record++, n++) {
          if (block[at] > 9) throw badFile(path, 'a label from 0 to 9', `${block[at]} in record ${record}`);
          labels[n] = block[at];
          pixels.set(block.subarray(at + 1, at + recordBytes), n * pixelBytes);
        }
      }
    } finally {
      await handle.close();
    }
  }
  return { samples, channels: 3, height: 32, width: 32, pixels, labels };
}

/** Class names from `batches.meta.txt` (one a line), the official ones where it is absent. */
async function readClassNames(folder: string): Promise<string[]> {
  const path = join(folder, 'batches.meta.txt');
  let text: string;
  try {
    const bytes = await readRegular(path, (size) => {
      if (size > 4096) throw badFile(path, 'ten short class names', 'more than 4096 bytes');
    });
    text = bytes.toString('utf8');
  } catch (error) {
    if (error instanceof DeepHessianError && error.code === 'io') return [...officialClasses];
    throw error;
  }
  const names = text
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== '');
  if (names.length !== 10 || new Set(names).size !== 10) {
    throw badFile(path, 'ten different class names, one a line', `${names.length} lines`);
  }
  return names;
}

/** Files of each part of a folder. */
const patterns = {
  train: /^(data_batch_\d+)(\.first\d+)?\.bin$/,
  test: /^(test_batch)(\.first\d+)?\.bin$/,
} as const;

/**
 * Pixels and labels of one part of a folder as {@link readCifar10} takes it; null where its files are not there.
 *
 * @throws DeepHessianError 'io' when the folder is missing
 */
export async function readCifar10Part(
  folder: string,
  part: 'train' | 'test',
  limit?: number,
): Promise<LabelledPlanes | null> {
  const names = await readdir(folder).catch((error: unknown) => {
    throw ioError('reading folder', folder, error);
  });
  const paths = choose(folder, names, patterns[part]);
  return paths.length === 0 ? null : readCifar10Files(paths, limit);
}

/** The error of a folder without the files of a part. */
export function noCifar10(folder: string): DeepHessianError {
  return new DeepHessianError(
    'io',
    `${folder}: no CIFAR-10 files found; looked for data_batch_*.bin, data_batch_*.firstNNNN.bin and ` +
      'test_batch*.bin (the binary version, unpacked)',
    { folder },
  );
}

/**
 * Reads a folder of CIFAR-10 batches: `data_batch_1.bin` .. `data_batch_5.bin` and `test_batch.bin`, whole, or prefixes
 * of them named like `data_batch_1.first4000.bin` (where both are there the whole file is taken). The test set may be
 * missing.
 *
 * @throws DeepHessianError 'io' when the folder is missing or holds no batch, saying what was looked for
 */
export async function readCifar10(
  folder: string,
  options: Cifar10Options = {},
): Promise<{ train: Dataset; test: Dataset | null; channels: ImageInputs['channels'] }> {
  const { limit, ...image } = options;
  if (limit !== undefined) checkInteger('readCifar10', 'limit', limit, 1);
  const train = await readCifar10Part(folder, 'train', limit);
  if (train === null) throw noCifar10(folder);
  const classes = await readClassNames(folder);
  const test = await readCifar10Part(folder, 'test', limit);
  const planes = test === null ? [train] : [train, test];
  const { sets, shape, channels } = imageDataset(planes, image);
  const made = sets.map((inputs, i) =>
    makeDataset({
      name: `CIFAR-10 (${i === 0 ? 'train' : 'test'})`,
      features: shape.height * shape.width * shape.channels,
      inputs,
      labels: planes[i].labels,
      classes,
      shape,
    }),
  );
  return { train: made[0], test: made[1] ?? null, channels };
}

/** Paths by batch number; of one batch the whole file before a prefix, the longest prefix before a shorter one. */
function choose(folder: string, names: readonly string[], pattern: RegExp): string[] {
  const best = new Map<string, { name: string; length: number }>();
  for (const name of names) {
    const match = pattern.exec(name);
    if (!match) continue;
    const length = match[2] ? Number(match[2].slice('.first'.length)) : Infinity;
    const known = best.get(match[1]);
    if (!known || length > known.length) best.set(match[1], { name, length });
  }
  return [...best.entries()]
    .sort(([a], [b]) => a.localeCompare(b, 'en', { numeric: true }))
    .map(([, { name }]) => join(folder, name));
}
