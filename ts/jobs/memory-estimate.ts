/**
 * What a training job will hold, from its settings alone: nothing is read but file sizes. An upper estimate: a job that
 * is admitted by it fits, at the price of admitting fewer.
 */
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { estimateCosts } from '../inverse/index.js';
import { Network } from '../derivatives/network.js';
import type { ActivationName } from '../native/kernels.js';
import type { LayerSpec } from '../network/index.js';
import type { Settings } from '../train/config.js';
import { probeSize } from '../train/curvature-probe.js';

/** Bytes by purpose. */
export interface MemoryEstimate {
  /** Bytes in all. */
  total: number;
  /** samples in memory, with the copies that evaluation and batches make */
  data: number;
  /** derivatives and factors of one step, and the optimizer's vectors */
  step: number;
  /** a thread with its JavaScript heap and the library's code */
  thread: number;
}

/** A worker thread that has loaded the library and trained a small network, measured: 32 MB; rounded up. */
const threadBytes = 48e6;

/** Bytes of a file, or of all files below a folder; 0 for what is not there, which loading will report. */
function diskBytes(path: string, depth = 4): number {
  try {
    const info = statSync(path);
    if (info.isFile()) return info.size;
    if (!info.isDirectory() || depth === 0) return 0;
    return readdirSync(path).reduce((sum, name) => sum + diskBytes(join(path, name), depth - 1), 0);
  } catch {
    return 0;
  }
}

/** Inputs and outputs of generated data. */
const generatedShape: Record<string, [features: number, outputs: number, points: number]> = {
  spirals: [2, 2, 200],
  sinc: [1, 1, 200],
  friedman1: [10, 1, 500],
  friedman2: [4, 1, 500],
  friedman3: [4, 1, 500],
  teacher: [10, 1, 1000],
  'mackey-glass': [10, 1, 2000],
};

interface Shape {
  samples: number;
  /** samples in memory while they are read, where that is all of which a limit keeps some */
  read?: number;
  features: number;
  outputs: number;
}

/** Sizes of the data, from above. */
function dataShape(settings: Settings): Shape {
  const data = settings.data as string;
  const limit = (settings.limit as number | undefined) ?? Infinity;
  if (Object.hasOwn(generatedShape, data)) {
    const [features, outputs, points] = generatedShape[data];
    return { samples: Math.min(limit, (settings.points as number | undefined) ?? points), features, outputs };
  }
  const channels = settings.grey === true ? 1 : 3;
  const bytes = diskBytes((settings.file ?? settings['data-dir']) as string);
  if (data === 'cifar10' || data === 'mnist') {
    const own = data === 'cifar10' ? 32 : 28;
    const side = (settings['image-size'] as number | undefined) ?? own;
    const features = (data === 'mnist' ? 1 : channels) * side * side;
    // Every pixel is a byte on disk, packed by at most 5 in the .gz files of MNIST.
    const stored = data === 'cifar10' ? bytes / 3073 : (5 * bytes) / 784;
    return { samples: Math.ceil(Math.min(2 * limit, stored)), features, outputs: 10 };
  }
  if (data === 'images') {
    const side = (settings['image-size'] as number | undefined) ?? 64;
    // An image takes a kilobyte at least.
    return { samples: Math.ceil(Math.min(2 * limit, bytes / 1e3)), features: channels * side * side, outputs: 100 };
  }
  // A table of numbers: two characters a number at least in text, eight bytes (or one, packed or narrow) in binary files.
  const numbers = data === 'csv' ? bytes / 2 : bytes;
  const features = 100;
  const read = Math.ceil(numbers / features) || 1;
  return { samples: Math.min(limit, read), read, features, outputs: 10 };
}

function networkOf(settings: Settings, { features, outputs }: Shape): Network {
  const layers: LayerSpec[] = [];
  const activation = settings.activation as ActivationName;
  for (let l = 0; l < (settings['num-layers'] as number) - 1; l++)
    layers.push({ type: 'dense', units: settings['hidden-dim'] as number, activation });
  layers.push({ type: 'dense', units: outputs, activation: 'identity' });
  return new Network({ inputs: features, loss: outputs > 1 ? 'cross-entropy' : 'mse', layers });
}

/** Dense P x P matrices, or a fixed number of vectors of length P. */
function optimizerBytes(name: string, network: Network, batch: number): number {
  const P = network.parameterCount;
  const vectors = 8 * 40 * P;
  if (name === 'bfgs') return vectors + 8 * P * P;
  if (['sgd', 'adam', 'adamw', 'lbfgs'].includes(name)) return vectors;
  // Second-order methods factor one of two matrices; which one is the cost model's choice.
  const usable = estimateCosts(network, batch, name === 'gauss-newton' ? 'gauss-newton' : 'hessian').filter(
    (estimate) => estimate.unavailable === null,
  );
  const fastest = usable.reduce((a, b) => (b.seconds < a.seconds ? b : a));
  return vectors + fastest.bytes;
}

/** Bytes that a job with these resolved settings will hold. */
export function estimateMemory(settings: Settings): MemoryEstimate {
  const shape = dataShape(settings);
  const network = networkOf(settings, shape);
  const { samples, read = samples, features, outputs } = shape;
  const fullBatch = settings['full-batch'] === true;
  const batch = fullBatch ? samples : Math.min(samples, (settings['batch-size'] as number | undefined) ?? 64);
  // The samples as read, transposed for the batch where it is all of them, and a part for evaluation.
  const copies = fullBatch ? 3 : 2;
  // A table is read into two forms.
  const data = 8 * Math.max(copies * samples, 2 * read) * (features + outputs);
  let width = features;
  for (const { inputs, units } of network.layers) width += inputs + 4 * units;
  const evaluated = Math.max(batch, Math.min(samples, 2000));
  const step = 8 * width * (batch + evaluated) + optimizerBytes(settings.optimizer as string, network, batch);
  const probe = (settings['curvature-share'] as number) > 0 ? probeSize(network, samples).bytes : 0;
  return { total: data + step + probe + threadBytes, data, step: step + probe, thread: threadBytes };
}
