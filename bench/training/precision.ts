/**
 * Fits to high precision: a realisable teacher network (tanh, 4-8-1, no noise, 200 samples) to a mean squared error of 1e-20, sinc
 * (200 points on [-10, 10]) to 1e-10, each within 30 s, where Adam at its best rate stops near 1e-6. Newton and L-BFGS take
 * part on one seed.
 */
import { heading, verdict } from '../harness.js';
import {
  finalLoss,
  find,
  median,
  medianScore,
  printTable,
  rates,
  secondsTo,
  tournament,
  type BenchOptions,
} from './runs.js';

const seconds = 30;

const jobs = [
  {
    what: 'teacher network',
    goal: 1e-20,
    settings: { data: 'teacher', points: 200, 'num-layers': 2, 'hidden-dim': 16 },
  },
  {
    what: 'sinc',
    goal: 1e-10,
    settings: { data: 'sinc', points: 200, 'num-layers': 3, 'hidden-dim': 16, standardise: 'inputs' },
  },
] as const;

export async function precisionSection(options: BenchOptions): Promise<void> {
  heading('4. Fits to high precision');
  for (const { what, goal, settings } of jobs) {
    const time = seconds * options.scale;
    console.log(`\n  ${what}: mean squared error of ${goal} within ${time} s, ${options.seeds} seeds`);
    const results = await tournament(
      what,
      { ...settings, 'time-budget': time, 'target-loss': goal },
      [
        { label: 'gauss-newton', optimizer: 'gauss-newton' },
        { label: 'newton', optimizer: 'newton', optional: true },
        { label: 'lbfgs', optimizer: 'lbfgs' },
        { label: 'adam', optimizer: 'adam', rates: rates.adam },
      ],
      options,
    );
    printTable(results, [
      { title: 'error', value: finalLoss },
      { title: `s to ${goal}`, value: (run) => secondsTo(run, goal), format: (value) => value.toFixed(2) },
    ]);
    const runs = find(results, 'gauss-newton')!.runs;
    const times = runs.map((run) => secondsTo(run, goal));
    const reached = times.filter((t) => t <= time).length;
    const figures = `${reached} of ${runs.length} seeds, median ${median(times).toFixed(2)} s; Adam ${medianScore(find(results, 'adam')!).toExponential(1)}`;
    verdict(`${what} to ${goal} on every seed (${figures})`, reached === runs.length);
  }
}
