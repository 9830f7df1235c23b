/**
 * Runs of the training benchmarks: methods at equal time on the optimizer's clock, each from the same first parameters and on
 * the same batches. A method with rates runs at every one of them on the first seed, with the full time each; the best one then
 * runs on the other seeds. That tuning costs it nothing.
 */
import { formatTable } from '../../ts/cli/terminal.js';
import { compare, median, type Contestant, type RunResult } from '../../ts/train/compare.js';
import { optimizerNames } from '../../ts/optimize/registry.js';
import type { TorchPeer } from './torch.js';

/** What the command line asks for. */
export interface BenchOptions {
  /** seeds 1 .. seeds */
  seeds: number;
  /** factor on every time budget */
  scale: number;
  /** PyTorch on the same problems, where it is installed */
  torch: TorchPeer | null;
  /** jobs whose name holds this text, '' for all */
  only: string;
}

export interface Method extends Contestant {
  label: string;
  /** leave it out without a word where the library does not have the optimizer */
  optional?: boolean;
  /** at most so many seeds, for a method that takes part for orientation */
  seeds?: number;
}

/** A method's runs at its best rate, one a seed. */
export interface MethodResult {
  label: string;
  rate: number | null;
  runs: Outcome[];
}

/** What the tables need of one run; PyTorch's have it too. */
export type Outcome = Pick<RunResult, 'seed' | 'loss' | 'steps' | 'seconds' | 'sets' | 'curve'> & {
  label: string;
  rate: number | null;
};

export type Score = (run: Outcome) => number;
export const finalLoss: Score = (run) => run.loss;

/** Five rates each for fixed and full batches; a note is printed where the best one lies at an end of the list. */
export const rates = { sgd: [0.3, 0.1, 0.03, 0.01, 0.003], adam: [3e-2, 1e-2, 3e-3, 1e-3, 3e-4] } as const;

/** Five rates each for streams, whose noise asks for lower ones. */
export const streamRates = { sgd: [0.1, 0.03, 0.01, 0.003, 0.001], adam: [1e-2, 3e-3, 1e-3, 3e-4, 1e-4] } as const;

/** SGD with momentum and Adam, tuned. */
export const firstOrder: readonly Method[] = [
  { label: 'sgd', optimizer: 'sgd', settings: { momentum: 0.9 }, rates: rates.sgd },
  { label: 'adam', optimizer: 'adam', rates: rates.adam },
];

export const seedList = (count: number): number[] => Array.from({ length: count }, (_, i) => i + 1);

/** All runs of a comparison, one printed line each. */
async function runAll(base: Record<string, unknown>, contestants: Contestant[], seeds: number[]): Promise<RunResult[]> {
  if (contestants.length === 0 || seeds.length === 0) return [];
  const runs = compare(base, contestants, seeds);
  for (;;) {
    const next = await runs.next();
    if (next.done === true) return next.value.runs;
    const event = next.value;
    if (event.type === 'run' && event.event.type === 'end') {
      const { loss, step, seconds, sets } = event.event;
      printRun({ label: event.label, rate: event.rate, seed: event.seed, loss, steps: step, seconds, sets });
    } else if (event.type === 'diverged') {
      console.log(`    ${event.label} ${event.rate ?? ''} seed ${event.seed}: diverged`);
    }
  }
}

export function printRun(run: Omit<Outcome, 'curve'>): void {
  const figures = Object.entries(run.sets)
    .flatMap(([set, values]) => Object.entries(values).map(([name, value]) => `${set} ${name} ${value.toPrecision(4)}`))
    .join(', ');
  console.log(
    `    ${run.label}${run.rate === null ? '' : ` ${run.rate}`} seed ${run.seed}: ${run.loss.toExponential(2)}, ${run.steps} steps, ${run.seconds.toFixed(1)} s${figures === '' ? '' : ` (${figures})`}`,
  );
}

/** Every method on every seed, tuned ones at the rate that was best on the first; PyTorch's likewise. */
export async function tournament(
  base: Record<string, unknown>,
  methods: readonly Method[],
  options: BenchOptions,
  score: Score = finalLoss,
): Promise<MethodResult[]> {
  const seeds = seedList(options.seeds);
  const known = methods.filter((method) => method.optional !== true || optimizerNames.includes(method.optimizer));
  const results: MethodResult[] = [];
  for (const method of known) {
    const { optional: _, seeds: most = seeds.length, ...contestant } = method;
    const first = await runAll(base, [contestant], [seeds[0]]);
    const best = first.reduce((a, b) => (score(b) < score(a) || Number.isNaN(score(a)) ? b : a));
    noteEdge(method.label, best.rate, method.rates);
    const fixed: Contestant = best.rate === null ? contestant : { ...contestant, rates: [best.rate] };
    const runs = [best, ...(await runAll(base, [fixed], seeds.slice(1, most)))];
    results.push({ label: method.label, rate: best.rate, runs });
    if (options.torch !== null && contestant.rates !== undefined && /^(sgd|adam)$/.test(method.label)) {
      // The same algorithm in slower steps: its best rate is ours or, for want of steps, the next higher.
      const at = method.rates!.indexOf(best.rate!);
      const tried = method.rates!.slice(Math.max(0, at - 1), at + 1);
      results.push(
        await torchRuns(
          options.torch,
          { ...base, ...contestant.settings },
          method.label,
          contestant,
          tried,
          seeds,
          score,
        ),
      );
    }
  }
  return results;
}

function noteEdge(label: string, rate: number | null, all: readonly number[] = []): void {
  if (rate === null || all.length < 3 || (rate !== all[0] && rate !== all.at(-1))) return;
  console.log(`    ${label}: the best rate, ${rate}, is an end of the list`);
}

/** PyTorch's namesake of a method, at the better of a few rates on the first seed. */
async function torchRuns(
  torch: TorchPeer,
  base: Record<string, unknown>,
  name: string,
  { optimizer }: Contestant,
  rates: readonly number[],
  seeds: readonly number[],
  score: Score,
): Promise<MethodResult> {
  const label = `torch ${name}`;
  const run = async (seed: number, lr: number): Promise<Outcome> => {
    const outcome = await torch.run({ ...base, optimizer, lr, seed }, label);
    printRun(outcome);
    return outcome;
  };
  const first: Outcome[] = [];
  for (const rate of rates) first.push(await run(seeds[0], rate));
  const best = first.reduce((a, b) => (score(b) < score(a) || Number.isNaN(score(a)) ? b : a));
  const runs = [best];
  for (const seed of seeds.slice(1)) runs.push(await run(seed, best.rate as number));
  return { label, rate: best.rate, runs };
}

export const scores = (result: MethodResult, score: Score = finalLoss): number[] => result.runs.map(score);
export const medianScore = (result: MethodResult, score: Score = finalLoss): number => median(scores(result, score));

/** The best median among SGD and Adam, ours and PyTorch's. */
export function bestFirstOrder(
  results: readonly MethodResult[],
  score: Score = finalLoss,
): { label: string; value: number } {
  return results
    .filter(({ label }) => /(^|\s)(sgd|adam)$/.test(label))
    .map((result) => ({ label: result.label, value: medianScore(result, score) }))
    .reduce((a, b) => (b.value < a.value ? b : a));
}

export function find(results: readonly MethodResult[], label: string): MethodResult | undefined {
  return results.find((result) => result.label === label);
}

/** A column of a table: a figure of every run, shown as median and spread. */
export interface Column {
  title: string;
  value: Score;
  format?: (value: number) => string;
}

const exponential = (value: number): string => (Number.isFinite(value) ? value.toExponential(1) : String(value));

/** Prints a table: a row a method, for every column the median and [smallest .. largest] over the seeds. */
export function printTable(results: readonly MethodResult[], columns: readonly Column[]): void {
  const header = ['method', 'rate', ...columns.flatMap(({ title }) => [title, 'spread']), 'steps', 'ms a step'];
  const rows = results.map((result) => [
    result.label,
    result.rate === null ? '-' : String(result.rate),
    ...columns.flatMap(({ value, format = exponential }) => {
      const values = result.runs.map(value);
      return [format(median(values)), `${format(Math.min(...values))} .. ${format(Math.max(...values))}`];
    }),
    String(Math.round(median(result.runs.map((run) => run.steps)))),
    median(result.runs.map((run) => (1000 * run.seconds) / Math.max(1, run.steps))).toPrecision(3),
  ]);
  console.log(`\n${formatTable(header, rows)}\n`);
}

/** Loss of a run at a time: the last recorded point not after it. */
export function lossAt(run: Outcome, seconds: number): number {
  let loss = run.curve.length > 0 ? run.curve[0].loss : Infinity;
  for (const point of run.curve) if (point.seconds <= seconds) loss = point.loss;
  return loss;
}

/** Seconds until a run was first at or below a loss; Infinity when it never was. */
export function secondsTo(run: Outcome, loss: number): number {
  const point = run.curve.find((candidate) => candidate.loss <= loss);
  if (point !== undefined) return point.seconds;
  return run.loss <= loss ? run.seconds : Infinity;
}

export { median };
