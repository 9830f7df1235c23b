/**
 * Training on an image folder that does not fit into memory: files are decoded while the network trains, a batch ahead.
 * What is held at any time is the list of files, `prefetch` + 1 batches, and a bounded sample of each part that stands for
 * it in evaluations and gives the figures of the channels.
 */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { failRange } from '../checks.js';
import { BatchSampler, type BatchSamplerState } from '../data/batch-sampler.js';
import type { Dataset } from '../data/dataset.js';
import {
  ImageFolder,
  testFolders,
  type BrokenImage,
  type ImageBatch,
  type ImageFolderOptions,
} from '../data/image-folder.js';
import type { ImageInputs } from '../data/images.js';
import type { Network } from '../derivatives/network.js';
import { DeepHessianError } from '../errors.js';
import { networkTargets } from './evaluation.js';
import { checkSourceKind, type BatchSource } from './source.js';

/** Most images of a part that are held for evaluations. */
export const streamSample = 1000;

/** An opened tree of images, and samples of its parts in memory. */
export interface ImageStream {
  /** the training files, decoded on demand */
  folder: ImageFolder;
  /** an even choice of the training files, at most `streamSample` */
  train: Dataset;
  /** the same of the test part, where there is one */
  test: Dataset | null;
  /** files in the test part */
  testSamples: number;
  /** mean and deviation of each channel of the held training images; null unless `normalise` is 'standardised' */
  channels: ImageInputs['channels'];
  /** broken files among the samples */
  broken: BrokenImage[];
}

/**
 * Opens `folder` (a tree `train/<class>/..` with val, validation or test beside it, or the classes themselves): lists its
 * files and decodes the samples that stand for its parts. 'standardised' takes its figures from the training sample.
 *
 * @param sample most images of a part held in memory; default 1000
 * @throws as {@link ImageFolder.open} and {@link ImageFolder.load}
 */
export async function openImageStream(
  folder: string,
  options: ImageFolderOptions,
  sample = streamSample,
): Promise<ImageStream> {
  const isFolder = async (path: string): Promise<boolean> =>
    stat(path).then(
      (info) => info.isDirectory(),
      () => false,
    );
  const split = await isFolder(join(folder, 'train'));
  const root = split ? join(folder, 'train') : folder;
  const bounded = (limit: number | undefined): number => Math.min(limit ?? Infinity, sample);
  const part = await (await ImageFolder.open(root, { ...options, limit: bounded(options.limit) })).load();
  const channels = part.channels === null ? {} : { channels: part.channels };
  const opened = await ImageFolder.open(root, { ...options, ...channels });
  const broken = part.broken;
  let test: Dataset | null = null;
  let testSamples = 0;
  for (const name of split ? testFolders : []) {
    const path = join(folder, name);
    if (!(await isFolder(path))) continue;
    const held = { ...options, ...channels, classes: opened.classes };
    testSamples = (await ImageFolder.open(path, held)).samples;
    const loaded = await (await ImageFolder.open(path, { ...held, limit: bounded(options.limit) })).load();
    test = loaded.dataset;
    broken.push(...loaded.broken);
    break;
  }
  return { folder: opened, train: part.dataset, test, testSamples, channels: part.channels, broken };
}

/**
 * A source of shuffled batches of a folder, decoded ahead. Its position is that after the last batch handed out, whatever
 * has been decoded since: a resumed run sees the batches of an uninterrupted one.
 *
 * @param options batchSize: images a step, the last batch of an epoch left out where it is smaller; seed: of the order;
 * prefetch: batches decoded ahead, default 2
 * @throws RangeError for wrong options; `next` rejects with DeepHessianError 'bad-file' as {@link ImageFolder.batches} does
 * @example
 * ```ts
 * const images = await openImageStream('photos', { imageSize: 32, normalise: 'standardised' });
 * const net = new Network({ inputs: images.train.features, loss: 'cross-entropy', layers });
 * const source = imageSource(net, images.folder, { batchSize: 256, seed: 1 });
 * const trainer = new Trainer({ network: net, params, optimizer, source, budget: { epochs: 2 } });
 * ```
 */
export function imageSource(
  network: Network,
  folder: ImageFolder,
  options: { batchSize: number; seed: number; prefetch?: number },
): BatchSource {
  const { batchSize, seed, prefetch = 2 } = options;
  // The sampler's own message would speak of a class that the caller has not met.
  if (typeof batchSize === 'number' && batchSize > folder.samples) {
    const expected = `an integer from 1 to ${folder.samples}, the number of images in the folder,`;
    failRange('imageSource', 'batchSize', expected, batchSize);
  }
  const createSampler = (): BatchSampler => new BatchSampler(folder.samples, { batchSize, seed, dropLast: true });
  const sampler = createSampler();
  let position: BatchSamplerState = sampler.state();
  let running: { batches: AsyncGenerator<ImageBatch, void, undefined>; controller: AbortController } | null = null;
  const stop = async (): Promise<void> => {
    const held = running;
    running = null;
    held?.controller.abort();
    await held?.batches.return();
  };
  return {
    kind: 'stream',
    samples: folder.samples,
    stepsPerEpoch: sampler.batchesPerEpoch,
    next: async (spent) => {
      if (running === null) {
        const ahead = createSampler();
        ahead.restore(position);
        const controller = new AbortController();
        running = { batches: folder.batches(ahead, { prefetch, signal: controller.signal }), controller };
      }
      const { value } = await running.batches.next();
      if (!value) throw new DeepHessianError('aborted', 'the image stream has been closed');
      position = value.state;
      return network.batch({ inputs: value.inputs, targets: networkTargets(network, value.targets) }, spent);
    },
    state: () => ({ kind: 'images', ...position }),
    restore: (state) => {
      checkSourceKind(state, 'images');
      const { kind: _, ...stored } = state;
      void stop();
      sampler.restore(stored as unknown as BatchSamplerState); // refuses what is not a position of this folder
      position = stored as unknown as BatchSamplerState;
    },
    dispose: stop,
  };
}
