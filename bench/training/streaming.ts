/**
 * Streams of shuffled batches on MNIST (14 x 14) and CIFAR-10 (16 x 16 x 3): all methods at equal time, the loss over the whole
 * training set and the accuracy on the test set at the end. The gradient methods take batches of 128. The curvature of a batch says
 * more of the data the larger the batch is, so K-FAC takes 512 and Hessian-free 1024; the cost of an exact factor grows with the
 * cube of batch times classes, so those methods take less. Newton in a trust region, minutes a step here, is for full and fixed
 * batches.
 */
import { optimizerNames } from '../../ts/optimize/registry.js';
import { dataFolder, heading, verdict } from '../harness.js';
import {
  bestFirstOrder,
  find,
  medianScore,
  printTable,
  streamRates,
  tournament,
  type BenchOptions,
  type Method,
  type Outcome,
} from './runs.js';

const seconds = 30;

const methods: readonly Method[] = [
  { label: 'sgd', optimizer: 'sgd', settings: { momentum: 0.9, 'batch-size': 128 }, rates: streamRates.sgd },
  { label: 'adam', optimizer: 'adam', settings: { 'batch-size': 128 }, rates: streamRates.adam },
  { label: 'gauss-newton, batch 128', optimizer: 'gauss-newton', settings: { 'batch-size': 128 } },
  {
    label: 'gauss-newton, momentum',
    optimizer: 'gauss-newton',
    settings: { 'batch-size': 128, momentum: 0.9 },
  },
  { label: 'gauss-newton, batch 512', optimizer: 'gauss-newton', settings: { 'batch-size': 512 } },
  { label: 'kfac', optimizer: 'kfac', settings: { 'batch-size': 512 }, optional: true },
  { label: 'ekfac', optimizer: 'ekfac', settings: { 'batch-size': 512 }, optional: true },
  { label: 'hessian-free', optimizer: 'hessian-free', settings: { 'batch-size': 1024 }, optional: true },
  { label: 'damped-newton', optimizer: 'damped-newton', settings: { 'batch-size': 64 }, optional: true },
  { label: 'saddle-free', optimizer: 'saddle-free', settings: { 'batch-size': 256 }, optional: true },
  { label: 'lbfgs, batch 1024', optimizer: 'lbfgs', settings: { 'batch-size': 1024 } },
];

interface Job {
  data: 'mnist' | 'cifar10';
  imageSize: number;
  layers: number;
  hidden: number;
}

const deep: readonly Job[] = [
  { data: 'mnist', imageSize: 14, layers: 30, hidden: 16 },
  { data: 'cifar10', imageSize: 16, layers: 30, hidden: 16 },
];
const shallow: readonly Job[] = [
  { data: 'mnist', imageSize: 14, layers: 4, hidden: 32 },
  { data: 'cifar10', imageSize: 16, layers: 4, hidden: 32 },
];

const trainLoss = (run: Outcome): number => {
  const loss = run.sets.train?.loss ?? Infinity;
  return Number.isNaN(loss) ? Infinity : loss;
};
const testAccuracy = (run: Outcome): number => run.sets.test?.accuracy ?? NaN;

/** 30 layers of 16. */
export async function streamingSection(options: BenchOptions): Promise<void> {
  heading('3. Streams of batches, 30 layers: loss over the training set at equal time');
  await streams(deep, options);
}

/** 4 layers of 32, where curvature has least to offer: reported, not aimed at. */
export async function shallowSection(options: BenchOptions): Promise<void> {
  heading('3b. Streams of batches, 4 layers: loss over the training set at equal time');
  await streams(shallow, options);
}

async function streams(jobs: readonly Job[], options: BenchOptions): Promise<void> {
  const left = methods.filter((method) => !optimizerNames.includes(method.optimizer));
  if (left.length > 0) console.log(`not in the library: ${left.map((method) => method.label).join(', ')}`);
  for (const { data, imageSize, layers, hidden } of jobs) {
    const what = `${data}, ${layers} x ${hidden}`;
    if (!what.includes(options.only)) continue;
    const folder = dataFolder(data);
    if (folder === null) {
      console.log(`no ${data} data found (set DEEP_HESSIAN_DATA to the folder that holds it): left out`);
      continue;
    }
    const time = seconds * options.scale;
    console.log(`\n  ${data}, ${layers} layers of ${hidden}, tanh, ${time} s a run, ${options.seeds} seeds`);
    const base = {
      data,
      'data-dir': folder,
      'image-size': imageSize,
      'num-layers': layers,
      'hidden-dim': hidden,
      'time-budget': time,
      // Evaluations stand off the clock, but a large set makes them the greater part of the wall time.
      'evaluate-every': time,
    };
    const results = await tournament(what, base, methods, options, trainLoss);
    results.sort((a, b) => medianScore(a, trainLoss) - medianScore(b, trainLoss));
    printTable(results, [
      { title: 'training loss', value: trainLoss, format: (value) => value.toPrecision(3) },
      { title: 'test accuracy', value: testAccuracy, format: (value) => `${(100 * value).toFixed(1)}%` },
    ]);
    const rival = bestFirstOrder(results, trainLoss);
    const candidates = results.filter(({ label }) => /^(kfac|ekfac|gauss-newton)/.test(label));
    const own = candidates.reduce((a, b) => (medianScore(b, trainLoss) < medianScore(a, trainLoss) ? b : a));
    const figures = `${own.label} ${medianScore(own, trainLoss).toPrecision(3)} against ${rival.value.toPrecision(3)} of ${rival.label}`;
    if (layers === 30) {
      const adam = medianScore(find(results, 'adam')!, trainLoss);
      verdict(
        `${data}, 30 layers: K-FAC or large-batch Gauss-Newton at or ahead of tuned Adam (${figures})`,
        medianScore(own, trainLoss) <= adam,
      );
    } else console.log(`  ${figures}`);
  }
}
