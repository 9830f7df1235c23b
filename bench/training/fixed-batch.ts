/**
 * One fixed batch of 64 CIFAR-10 images (16 x 16 x 3), tanh, cross-entropy: exact Gauss-Newton against SGD with momentum and
 * Adam at their best of five rates. First with orthogonal initialisation of gain 1.1, then with plain normal initialisation of
 * gain 1, whose deep networks saturate and make plateaus: there geodesic acceleration and trust-region Newton take part too.
 */
import { dataFolder, heading, verdict } from '../harness.js';
import {
  bestFirstOrder,
  finalLoss,
  find,
  firstOrder,
  lossAt,
  median,
  medianScore,
  printTable,
  rates,
  secondsTo,
  tournament,
  type BenchOptions,
  type Column,
  type Method,
} from './runs.js';

interface Job {
  layers: number;
  hidden: number;
  seconds: number;
  /** times that the best first-order loss must be higher; 1: be ahead */
  factor: number;
}

const jobs: readonly Job[] = [
  { layers: 8, hidden: 24, seconds: 10, factor: 1000 },
  { layers: 30, hidden: 16, seconds: 10, factor: 1000 },
  { layers: 60, hidden: 16, seconds: 25, factor: 1 },
  { layers: 100, hidden: 16, seconds: 25, factor: 1 },
];

/** Where runs stop: logits apart by 46. The loss is computed from those differences, without cancellation. */
const floor = 1e-20;

const schemes: readonly { init: string; gain: number; methods: readonly Method[] }[] = [
  {
    init: 'orthogonal',
    gain: 1.1,
    methods: [{ label: 'gauss-newton', optimizer: 'gauss-newton' }, ...firstOrder],
  },
  {
    init: 'normal',
    gain: 1,
    methods: [
      { label: 'gauss-newton', optimizer: 'gauss-newton' },
      { label: 'gauss-newton, geodesic', optimizer: 'gauss-newton', settings: { geodesic: true } },
      { label: 'newton', optimizer: 'newton', optional: true },
      ...firstOrder.map((method) =>
        // On the plateaus of 100 layers Adam's best rate lies below the list.
        method.label === 'adam' ? { ...method, rates: [...rates.adam, 1e-4] } : method,
      ),
    ],
  },
];

export async function fixedBatchSection(options: BenchOptions): Promise<void> {
  heading('1. Fixed batch of 64 CIFAR-10 images');
  const folder = dataFolder('cifar10');
  if (folder === null) {
    console.log('no CIFAR-10 data found (set DEEP_HESSIAN_DATA to the folder that holds cifar10/): left out');
    return;
  }
  for (const { init, gain, methods } of schemes) {
    for (const { layers, hidden, seconds, factor } of jobs) {
      const time = seconds * options.scale;
      const what = `${layers} x ${hidden}, ${init}`;
      if (!what.includes(options.only)) continue;
      console.log(`\n  ${what} initialisation of gain ${gain}, ${time} s a run, ${options.seeds} seeds`);
      const base = {
        data: 'cifar10',
        'data-dir': folder,
        'image-size': 16,
        'num-layers': layers,
        'hidden-dim': hidden,
        init,
        gain,
        'batch-size': 64,
        'fixed-batch': true,
        'time-budget': time,
        'target-loss': floor,
      };
      const results = await tournament(what, base, methods, options);
      const columns: Column[] = [
        { title: `loss at ${time} s`, value: finalLoss },
        { title: `at ${time / 4} s`, value: (run) => lossAt(run, time / 4) },
        { title: 's to 1e-6', value: (run) => secondsTo(run, 1e-6), format: (value) => value.toFixed(2) },
      ];
      printTable(results, columns);
      const rival = bestFirstOrder(results);
      const own = medianScore(find(results, 'gauss-newton')!);
      const ratio = rival.value / own;
      const figures = `${own.toExponential(1)} against ${rival.value.toExponential(1)} of ${rival.label}, ratio ${ratio.toExponential(1)}`;
      if (init === 'orthogonal') {
        const aim = factor === 1 ? 'ahead of' : `${factor} times below`;
        verdict(`${what}: ${aim} the best first-order run at ${time} s (${figures})`, ratio > factor);
        continue;
      }
      // Plain normal initialisation is reported, not aimed at: what the plateaus cost, and what helps.
      for (const result of results.filter((r) => !/(sgd|adam)$/.test(r.label))) {
        const reached = result.runs.filter((run) => run.loss < 1e-6).length;
        console.log(
          `  ${result.label}: ${reached} of ${result.runs.length} seeds below 1e-6, median ${median(result.runs.map(finalLoss)).toExponential(1)} (best first-order ${rival.value.toExponential(1)})`,
        );
      }
    }
  }
}
