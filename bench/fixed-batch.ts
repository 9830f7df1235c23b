/**
 * Training on one fixed batch of 64 real images at equal time on the optimizer's clock: exact Gauss-Newton against SGD with
 * momentum and Adam at their best of four rates. The rates are tuned on the first seed with the full time for each; the
 * winner then runs on every seed. `seeds` and `scale` (of the time budgets) shorten a trial run.
 */
import { compare, type Contestant, type RunResult } from '../ts/train/compare.js';
import { dataFolder, heading, verdict } from './harness.js';

interface Job {
  layers: number;
  hidden: number;
  seconds: number;
  /** loss to reach and the seconds within which its median over the seeds must be reached; null: be ahead at the end */
  goal: { loss: number; seconds: number } | null;
}

const jobs: Job[] = [
  { layers: 8, hidden: 24, seconds: 6, goal: { loss: 1e-10, seconds: 3 } },
  { layers: 30, hidden: 16, seconds: 6, goal: { loss: 1e-10, seconds: 3 } },
  { layers: 100, hidden: 16, seconds: 25, goal: null },
];

function median(values: number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1];
}

async function run(base: Record<string, unknown>, contestants: Contestant[], seeds: number[]): Promise<RunResult[]> {
  const runs = compare(base, contestants, seeds);
  for (;;) {
    const next = await runs.next();
    if (next.done === true) return next.value.runs;
    const event = next.value;
    if (event.type === 'run' && event.event.type === 'end') {
      console.log(
        `    ${event.label}${event.rate === null ? '' : ` ${event.rate}`} seed ${event.seed}: ${event.event.loss.toExponential(2)} after ${event.event.step} steps, ${event.event.seconds.toFixed(1)} s`,
      );
    }
  }
}

function secondsTo(result: RunResult, loss: number): number {
  return result.curve.find((point) => point.loss <= loss)?.seconds ?? Infinity;
}

export async function fixedBatch(seedCount: number, scale: number): Promise<void> {
  heading('8. Fixed batch of 64 CIFAR-10 images (16 x 16 x 3), tanh, orthogonal initialisation with gain 1.1');
  const folder = dataFolder('cifar10');
  if (folder === null) {
    console.log('no CIFAR-10 data found (set DEEP_HESSIAN_DATA to the folder that holds cifar10/): left out');
    return;
  }
  const seeds = Array.from({ length: seedCount }, (_, i) => i + 1);
  for (const { layers, hidden, seconds, goal } of jobs) {
    const time = seconds * scale;
    console.log(`  ${layers} x ${hidden}, ${time} s a run, ${seeds.length} seeds`);
    const base = {
      data: 'cifar10',
      'data-dir': folder,
      'image-size': 16,
      'num-layers': layers,
      'hidden-dim': hidden,
      'batch-size': 64,
      'fixed-batch': true,
      'time-budget': time,
    };
    const tuning = await run(base, [{ optimizer: 'sgd', settings: { momentum: 0.9 } }, { optimizer: 'adam' }], [1]);
    const best = (name: string): RunResult =>
      tuning.filter((r) => r.optimizer === name).reduce((a, b) => (b.loss < a.loss ? b : a));
    const contestants: Contestant[] = ['sgd', 'adam'].map((name) => ({ optimizer: name, rates: [best(name).rate!] }));
    const rest = seeds.length > 1 ? await run(base, contestants, seeds.slice(1)) : [];
    const exact = await run({ ...base, 'target-loss': 1e-13 }, [{ optimizer: 'gauss-newton' }], seeds);
    const first = ['sgd', 'adam'].map((name) => ({
      name,
      rate: best(name).rate!,
      loss: median([best(name), ...rest.filter((r) => r.optimizer === name)].map((r) => r.loss)),
    }));
    const exactLoss = median(exact.map((r) => r.loss));
    for (const { name, rate, loss } of first)
      console.log(`  ${name.padEnd(14)} best rate ${rate}: median loss ${loss.toExponential(2)}`);
    console.log(
      `  gauss-newton   median loss ${exactLoss.toExponential(2)}, median ${median(exact.map((r) => r.seconds)).toFixed(2)} s to 1e-13`,
    );
    const rival = Math.min(...first.map((f) => f.loss));
    if (goal === null)
      verdict(
        `${layers} x ${hidden}: ahead of the best first-order run at ${time} s (${exactLoss.toExponential(1)} against ${rival.toExponential(1)})`,
        exactLoss < rival,
      );
    else {
      const reached = median(exact.map((r) => secondsTo(r, goal.loss)));
      verdict(
        `${layers} x ${hidden}: below ${goal.loss} in a median of ${goal.seconds} s (${reached.toFixed(2)} s; best first-order loss ${rival.toExponential(1)})`,
        reached <= goal.seconds,
      );
    }
  }
}

export async function spirals(seedCount: number, scale: number): Promise<void> {
  heading('   Default job: two spirals, 200 points, 30 x 16');
  const seeds = Array.from({ length: seedCount }, (_, i) => i + 1);
  const runs = await run({ 'time-budget': 8 * scale, 'target-loss': 1e-12 }, [{ optimizer: 'gauss-newton' }], seeds);
  const worst = Math.max(...runs.map((r) => r.loss));
  verdict(`below 1e-10 on every seed (worst ${worst.toExponential(1)})`, worst < 1e-10);
}
