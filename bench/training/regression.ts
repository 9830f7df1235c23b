/**
 * Full-batch regression without regularisation: training error at 20 s of exact Gauss-Newton against SGD with momentum and Adam
 * at their best of five rates, with the held-out error beside it. L-BFGS takes part as the method that others would try.
 */
import { heading, verdict } from '../harness.js';
import {
  bestFirstOrder,
  finalLoss,
  find,
  firstOrder,
  lossAt,
  medianScore,
  printTable,
  tournament,
  type BenchOptions,
  type Outcome,
} from './runs.js';
import { resolveSettings } from '../../ts/train/config.js';
import { loadProblem } from '../../ts/train/experiment.js';
import { irreducibleError, prepareTables } from './tables.js';

const nets: readonly [layers: number, hidden: number][] = [
  [3, 16],
  [20, 10],
  [60, 8],
];
const seconds = 20;

/** Below this the mean squared error of standardised targets is rounding. */
const floor = 1e-26;

const heldOut = (run: Outcome): number => (run.sets.test ?? run.sets.validation)?.rmse ?? NaN;

export async function regressionSection(options: BenchOptions): Promise<void> {
  heading('2. Full-batch regression, tanh, no regularisation: mean squared error of standardised targets');
  const { settings, remove } = await prepareTables();
  const time = seconds * options.scale;
  const ratios: { what: string; ratio: number }[] = [];
  try {
    for (const [name, table] of settings) {
      const least = irreducibleError((await loadProblem(resolveSettings({ ...table, seed: 1 }))).train);
      const shown =
        least > 1e-12
          ? `: rows with equal inputs and different values leave ${least.toExponential(3)} to any method`
          : '';
      console.log(`\n  ${name}${shown}`);
      for (const [layers, hidden] of nets) {
        const what = `${name}, ${layers} x ${hidden}`;
        if (!what.includes(options.only)) continue;
        console.log(`\n  ${what}, ${time} s a run, ${options.seeds} seeds`);
        const base = {
          ...table,
          'num-layers': layers + 1,
          'hidden-dim': hidden,
          'time-budget': time,
          'target-loss': floor,
        };
        const methods = [
          { label: 'gauss-newton', optimizer: 'gauss-newton' },
          { label: 'lbfgs', optimizer: 'lbfgs' },
          ...firstOrder,
        ];
        const results = await tournament(what, base, methods, options);
        printTable(results, [
          { title: `training error at ${time} s`, value: finalLoss },
          { title: `at ${time / 4} s`, value: (run) => lossAt(run, time / 4) },
          { title: 'held-out RMSE', value: heldOut, format: (value) => value.toPrecision(3) },
        ]);
        const rival = bestFirstOrder(results);
        const own = medianScore(find(results, 'gauss-newton')!);
        ratios.push({ what, ratio: rival.value / own });
        verdict(
          `${what}: training error below the best first-order run (${own.toExponential(1)} against ${rival.value.toExponential(1)} of ${rival.label})`,
          own < rival.value,
        );
      }
    }
    if (ratios.length > 0) {
      const lower = ratios.filter(({ ratio }) => ratio >= 3).length;
      verdict(`at least 3 times lower on most: ${lower} of ${ratios.length}`, 2 * lower > ratios.length);
    }
  } finally {
    remove();
  }
}
