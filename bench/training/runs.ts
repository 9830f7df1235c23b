/**
 * Runs of the training benchmarks: methods at equal time on the optimizer's clock, each from the same first parameters and on
 * the same batches. A method with rates runs at every one of them on the first seed, with the full time each; the best one then
 * runs on the other seeds. That tuning costs it nothing.
 */
import { formatTable } from '../../ts/cli/terminal.js';
import { compareOn, median, planComparison, type Contestant, type RunResult } from '../../ts/train/compare.js';
import type { Problem as Data } from '../../ts/train/experiment.js';
import { optimizerNames } from '../../ts/optimize/registry.js';
import type { RunKey, RunRecord } from './record.js';
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
  /** finished runs, or null to run everything anew */
  record: RunRecord | null;
}

export interface Method extends Contestant {
  label: string;
  /** leave it out without a word where the library does not have the optimizer */
  optional?: boolean;
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

const seedList = (count: number): number[] => Array.from({ length: count }, (_, i) => i + 1);

/** One run of a problem, its first parameters and batches given by the seed. */
interface Problem {
  /** name of the problem */
  job: string;
  /** its settings */
  base: Record<string, unknown>;
  options: BenchOptions;
  /** its data, read once a seed */
  data: Map<number, Data>;
}

/** The run of the key: from the record where that holds it, otherwise measured now. Prints a line. */
async function recorded(
  { options, base, job }: Problem,
  of: Omit<RunKey, 'job' | 'budget'>,
  measure: () => Promise<Outcome>,
): Promise<Outcome> {
  const key = { ...of, job, budget: base['time-budget'] as number };
  let run = options.record?.find(key);
  if (run === undefined) {
    run = await measure();
    options.record?.add(key, run);
  }
  printRun(run);
  return run;
}

/** A contestant at all its rates on the given seeds. */
async function runAll(problem: Problem, contestant: Contestant, seeds: readonly number[]): Promise<Outcome[]> {
  const runs: Outcome[] = [];
  for (const { label, rate, seed } of planComparison(problem.base, [contestant], seeds)) {
    const one = rate === null ? contestant : { ...contestant, rates: [rate] };
    runs.push(await recorded(problem, { label, rate, seed }, () => runOne(problem, one, seed)));
  }
  return runs;
}

async function runOne({ data, base }: Problem, contestant: Contestant, seed: number): Promise<Outcome> {
  const running = compareOn(data, base, [contestant], [seed]);
  for (;;) {
    const next = await running.next();
    if (next.done === true) return next.value.runs[0];
  }
}

function printRun(run: Outcome): void {
  const figures = Object.entries(run.sets)
    .flatMap(([set, values]) => Object.entries(values).map(([name, value]) => `${set} ${name} ${value.toPrecision(4)}`))
    .join(', ');
  const what = `    ${run.label}${run.rate === null ? '' : ` ${run.rate}`} seed ${run.seed}: `;
  const shown = figures === '' ? '' : ` (${figures})`;
  const loss = run.loss === Infinity ? 'diverged' : run.loss.toExponential(2);
  console.log(`${what}${loss}, ${run.steps} steps, ${run.seconds.toFixed(1)} s${shown}`);
}

/** Every method on every seed, tuned ones at the rate that was best on the first; PyTorch's likewise. */
export async function tournament(
  job: string,
  base: Record<string, unknown>,
  methods: readonly Method[],
  options: BenchOptions,
  score: Score = finalLoss,
): Promise<MethodResult[]> {
  const problem: Problem = { job, base, options, data: new Map() };
  const seeds = seedList(options.seeds);
  const known = methods.filter((method) => method.optional !== true || optimizerNames.includes(method.optimizer));
  const results: MethodResult[] = [];
  for (const method of known) {
    const { optional: _, ...contestant } = method;
    const first = await runAll(problem, contestant, [seeds[0]]);
    const best = bestOf(first, score);
    noteEdge(method.label, best.rate, method.rates);
    const fixed: Contestant = best.rate === null ? contestant : { ...contestant, rates: [best.rate] };
    const runs = [best, ...(await runAll(problem, fixed, seeds.slice(1)))];
    results.push({ label: method.label, rate: best.rate, runs });
    if (options.torch !== null && contestant.rates !== undefined && /^(sgd|adam)$/.test(method.label)) {
      // The same algorithm in slower steps: its best rate is ours or, for want of steps, the next higher.
      const at = method.rates!.indexOf(best.rate!);
      const tried = method.rates!.slice(Math.max(0, at - 1), at + 1);
      results.push(await torchRuns(options.torch, problem, contestant, tried, seeds, score));
    }
  }
  return results;
}

const bestOf = (runs: readonly Outcome[], score: Score): Outcome =>
  runs.reduce((a, b) => (score(b) < score(a) || Number.isNaN(score(a)) ? b : a));

function noteEdge(label: string, rate: number | null, all: readonly number[] = []): void {
  if (rate === null || all.length < 3 || (rate !== all[0] && rate !== all.at(-1))) return;
  console.log(`    ${label}: the best rate, ${rate}, is an end of the list`);
}

/** PyTorch's namesake of a method, at the better of a few rates on the first seed. */
async function torchRuns(
  torch: TorchPeer,
  problem: Problem,
  { optimizer, settings }: Contestant,
  rates: readonly number[],
  seeds: readonly number[],
  score: Score,
): Promise<MethodResult> {
  const label = `torch ${optimizer}`;
  const run = (seed: number, lr: number): Promise<Outcome> =>
    recorded(problem, { label, rate: lr, seed }, () =>
      torch.run({ ...problem.base, ...settings, optimizer, lr, seed }, label, problem.data.get(seed)),
    );
  const first: Outcome[] = [];
  for (const rate of rates) first.push(await run(seeds[0], rate));
  const best = bestOf(first, score);
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
