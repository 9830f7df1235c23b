/**
 * Several optimizers on one problem at equal time on the optimizer's clock, each from the same first parameters and on
 * the same batches. First-order methods run at every rate of a grid and are judged at the rate that came out best over
 * all seeds: their tuning costs them nothing here.
 */
import { describe, failRange } from '../checks.js';
import { DeepHessianError } from '../errors.js';
import { optimizerEntry } from '../optimize/registry.js';
import { kernels } from '../native/index.js';
import { checkSettings, optimizerSettings, resolveSettings, type Settings } from './config.js';
import { buildBudget, buildExperiment, loadProblem, type Problem } from './experiment.js';
import { Trainer, type EndRecord, type Evaluations, type StepRecord, type TrainEvent } from './trainer.js';

/** One method of a comparison. */
export interface Contestant {
  /** name in tables, default the optimizer's name */
  label?: string;
  /** Name in the registry of optimizers. */
  optimizer: string;
  /** options of the optimizer by flag, and `batch-size`, `full-batch`, `fixed-batch` */
  settings?: Record<string, unknown>;
  /** rates to try; default: the optimizer's own grid; none for an optimizer without a rate */
  rates?: readonly number[];
}

/** One point of a curve. */
export interface CurvePoint {
  step: number;
  seconds: number;
  loss: number;
  damping?: number;
}

/** One run. */
export interface RunResult {
  /** The contestant's label. */
  label: string;
  /** Name in the registry of optimizers. */
  optimizer: string;
  /** Rate that the run used; null where the method has none. */
  rate: number | null;
  /** Seed of parameters and batches. */
  seed: number;
  /** loss on the training objective at the end; Infinity when it diverged */
  loss: number;
  /** Steps tried. */
  steps: number;
  /** Steps taken. */
  accepted: number;
  /** Steps that left the parameters as they were. */
  rejected: number;
  /** seconds on the optimizer's clock */
  seconds: number;
  /** Why the run ended; 'diverged' where the loss ceased to be finite. */
  reason: EndRecord['reason'] | 'diverged';
  /** Last evaluation, by set. */
  sets: Evaluations;
  /** Loss over time. */
  curve: CurvePoint[];
}

/** A method's figures over the seeds, at its best rate. */
export interface MethodSummary {
  /** The contestant's label. */
  label: string;
  /** Name in the registry of optimizers. */
  optimizer: string;
  /** best rate by the median final loss, null where there is nothing to tune */
  rate: number | null;
  /** median, smallest and largest final loss over the seeds */
  loss: { median: number; minimum: number; maximum: number };
  /** median steps within the time */
  steps: number;
  /** median seconds of one step */
  secondsPerStep: number;
  /** medians of the last evaluation, by set and figure */
  sets: Evaluations;
  /** every rate tried, with its median final loss */
  rates: { rate: number; loss: number }[];
}

/** Result of {@link compare}: plain data, also written as JSON. */
export interface Comparison {
  /** The settings that all runs share. */
  settings: Settings;
  /** The seeds of the runs. */
  seeds: number[];
  /** network and data in words */
  problem: {
    data: string;
    samples: number;
    features: number;
    outputs: number;
    parameters: number;
    layers: number;
    batch: string;
  };
  /** One entry a contestant, over its seeds. */
  methods: MethodSummary[];
  /** Every run. */
  runs: RunResult[];
}

/** Progress of a comparison. */
export type CompareEvent =
  | { type: 'run'; index: number; total: number; label: string; rate: number | null; seed: number; event: TrainEvent }
  /** image files of a seed's data that were left out: before its first run, or (of a stream) after the one that met them */
  | { type: 'broken'; index: number; total: number; seed: number; files: Problem['broken'] }
  | {
      type: 'diverged';
      index: number;
      total: number;
      label: string;
      rate: number | null;
      seed: number;
      message: string;
    };

/** The middle of the sorted values; the mean of the two middle ones for an even count. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (sorted.length === 0) return Number.NaN;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** Settings that a comparison takes from elsewhere, or has no use for. */
const notShared: Readonly<Record<string, string>> = {
  optimizer: 'the contestants name them',
  'use-hessian': "the contestant 'damped-newton' is this",
  seed: 'a comparison has a list of seeds',
  'checkpoint-every': 'a comparison keeps no checkpoints',
  'curvature-share': 'a comparison takes no spectrum along the runs',
};

/** Settings other than those of the optimizer that a contestant may have of its own: what is compared is solving the same problem. */
const ownRunSettings: readonly string[] = ['batch-size', 'full-batch', 'fixed-batch'];

/**
 * What a comparison will run: every contestant at every rate and seed.
 *
 * @throws RangeError for a setting that no contestant would heed, and for one that would give a contestant another
 * problem than the others have
 */
export function planComparison(
  base: Record<string, unknown>,
  contestants: readonly Contestant[],
  seeds: readonly number[],
): { label: string; rate: number | null; seed: number; settings: Settings }[] {
  if (contestants.length === 0) failRange('compare', 'optimizers', 'at least one optimizer', contestants);
  const plan: { label: string; rate: number | null; seed: number; settings: Settings }[] = [];
  const labels = new Set<string>();
  const common = checkSettings('compare', base);
  for (const [flag, why] of Object.entries(notShared)) {
    if (common[flag] !== undefined) {
      throw new RangeError(
        `compare: --${flag} does not belong to a comparison (${why}), received ${describe(common[flag])}`,
      );
    }
  }
  const entries = contestants.map(({ optimizer }) => optimizerEntry(optimizer));
  for (const flag of Object.keys(optimizerSettings(common))) {
    if (entries.some(({ options }) => options.some((option) => option.flag === flag))) continue;
    throw new RangeError(
      `compare: none of the optimizers compared (${entries.map(({ name }) => name).join(', ')}) has the option --${flag}`,
    );
  }
  for (const [index, contestant] of contestants.entries()) {
    const entry = entries[index];
    const label = contestant.label ?? contestant.optimizer;
    if (labels.has(label)) failRange('compare', 'optimizers', `different labels`, label);
    labels.add(label);
    const own = { ...contestant.settings };
    for (const flag of Object.keys(own)) {
      if (ownRunSettings.includes(flag) || entry.options.some((option) => option.flag === flag)) continue;
      if (flag in optimizerSettings({ [flag]: true })) continue; // of another optimizer: refused below, with the list
      throw new RangeError(
        `compare: expected options of the optimizer (or ${ownRunSettings.map((name) => `--${name}`).join(', ')}) for '${label}', ` +
          `received --${flag}: the methods compared share the problem and its limits`,
      );
    }
    if (own.lr !== undefined && contestant.rates !== undefined) {
      throw new RangeError(`compare: rates to try and --lr exclude each other for '${label}', received both`);
    }
    const tunable = entry.options.some((option) => option.flag === 'lr') && (own.lr ?? common.lr) === undefined;
    const rates: readonly (number | null)[] =
      contestant.rates ?? (tunable && entry.rateGrid.length > 0 ? entry.rateGrid : [null]);
    // Settings for all methods reach those that know them: a comparison with --damping concerns the damped methods only.
    const shared = Object.fromEntries(
      Object.entries(optimizerSettings(common)).filter(([flag]) => entry.options.some((o) => o.flag === flag)),
    );
    const run = Object.fromEntries(Object.entries(common).filter(([flag]) => !(flag in optimizerSettings(common))));
    for (const rate of rates) {
      for (const seed of seeds) {
        const settings = resolveSettings(
          {
            ...run,
            ...shared,
            ...own,
            ...(rate === null ? {} : { lr: rate }),
            optimizer: contestant.optimizer,
            seed,
          },
          'compare',
        );
        plan.push({ label, rate: rate ?? (typeof settings.lr === 'number' ? settings.lr : null), seed, settings });
      }
    }
  }
  return plan;
}

/** Least of the points kept in a curve of a run in results and reports. */
const curvePoints = 400;

/**
 * Runs a comparison, yielding progress; the return value of the generator is the result.
 *
 * @throws DeepHessianError 'aborted' when cancelled: a comparison cut short compares nothing
 */
export function compare(
  base: Record<string, unknown>,
  contestants: readonly Contestant[],
  seeds: readonly number[] = [1],
  signal?: AbortSignal,
): AsyncGenerator<CompareEvent, Comparison> {
  return compareOn(new Map(), base, contestants, seeds, signal);
}

/** {@link compare} on data that an earlier comparison of the same base has read: by seed, and what is read now is added. */
export async function* compareOn(
  problems: Map<number, Problem>,
  base: Record<string, unknown>,
  contestants: readonly Contestant[],
  seeds: readonly number[],
  signal?: AbortSignal,
): AsyncGenerator<CompareEvent, Comparison> {
  const plan = planComparison(base, contestants, seeds);
  kernels.setThreads(plan[0].settings.threads as number);
  const runs: RunResult[] = [];
  let described: Comparison['problem'] | null = null;
  // Methods may have batches of their own size.
  const batches = new Set<string>();
  const named = new Set<string>();
  const broken = (index: number, seed: number, files: Problem['broken']): CompareEvent => {
    for (const { path } of files) named.add(path);
    return { type: 'broken', index, total: plan.length, seed, files: [...files] };
  };

  for (const [index, { label, rate, seed, settings }] of plan.entries()) {
    let problem = problems.get(seed);
    if (problem === undefined) {
      problem = await loadProblem(settings);
      problems.set(seed, problem);
      if (problem.broken.length > 0) yield broken(index, seed, problem.broken);
    }
    await warmUp(settings, problem);
    const experiment = await buildExperiment(settings, problem);
    const { network, source } = experiment;
    described ??= {
      data: problem.train.name,
      samples: problem.train.samples,
      features: network.inputs,
      outputs: network.outputs,
      parameters: network.parameterCount,
      layers: network.layers.length,
      batch: '',
    };
    batches.add(
      settings['fixed-batch'] === true
        ? `one fixed batch of ${Math.min(settings['batch-size'] as number, source.samples)}`
        : settings['full-batch'] === true
          ? 'full batch'
          : `shuffled batches of ${Math.min(settings['batch-size'] as number, source.samples)}`,
    );
    described.batch = [...batches].join(' or ');
    const trainer = new Trainer({
      network,
      params: experiment.params,
      optimizer: experiment.optimizer,
      source,
      budget: buildBudget(settings),
      evaluate: experiment.evaluate,
      evaluateEverySeconds: settings['evaluate-every'] as number,
      heartbeat: 0.1,
      ...(signal === undefined ? {} : { signal }),
    });
    const result: RunResult = {
      label,
      optimizer: settings.optimizer as string,
      rate,
      seed,
      loss: Infinity,
      steps: 0,
      accepted: 0,
      rejected: 0,
      seconds: 0,
      reason: 'diverged',
      sets: {},
      curve: [],
    };
    try {
      for await (const event of trainer.run()) {
        yield { type: 'run', index, total: plan.length, label, rate, seed, event };
        if (event.type === 'step') result.curve.push(curvePoint(event));
        if (event.type === 'end') {
          if (event.reason === 'aborted') throw new DeepHessianError('aborted', 'the comparison was cancelled');
          finish(result, event);
        }
      }
    } catch (error) {
      if (!(error instanceof DeepHessianError && error.code === 'diverged')) throw error;
      result.steps = trainer.counters.step;
      result.seconds = trainer.counters.seconds;
      result.accepted = trainer.counters.accepted;
      result.rejected = trainer.counters.rejected;
      yield { type: 'diverged', index, total: plan.length, label, rate, seed, message: error.message };
    } finally {
      experiment.optimizer.dispose?.();
      await source.dispose?.();
    }
    result.curve = thin(result.curve, curvePoints);
    runs.push(result);
    // Of a stream, broken files turn up while the runs go on.
    const found = problem.stream?.folder.broken.filter(({ path }) => !named.has(path)) ?? [];
    if (found.length > 0) yield broken(index, seed, found);
  }
  return {
    settings: plan[0].settings,
    seeds: [...seeds],
    problem: described as Comparison['problem'],
    methods: summarize(runs),
    runs,
  };
}

/** A few steps thrown away, so that no method pays for the compilation of code that the next one finds compiled. */
async function warmUp(settings: Settings, problem: Problem): Promise<void> {
  const { network, params, optimizer, source } = await buildExperiment(settings, problem);
  const budget = { steps: 20, seconds: 0.1 };
  const trainer = new Trainer({ network, params, optimizer, source, budget });
  try {
    for await (const event of trainer.run()) void event;
  } catch (error) {
    if (!(error instanceof DeepHessianError && error.code === 'diverged')) throw error;
  } finally {
    optimizer.dispose?.();
    await source.dispose?.();
  }
}

function curvePoint(event: StepRecord): CurvePoint {
  const point: CurvePoint = { step: event.step, seconds: event.seconds, loss: event.smoothedLoss };
  if (typeof event.figures.damping === 'number') point.damping = event.figures.damping;
  return point;
}

function finish(result: RunResult, end: EndRecord): void {
  result.loss = Number.isFinite(end.loss) ? end.loss : Infinity;
  result.steps = end.step;
  result.accepted = end.acceptedSteps;
  result.rejected = end.rejectedSteps;
  result.seconds = end.seconds;
  result.reason = end.reason;
  result.sets = end.sets;
  result.curve.push({ step: end.step, seconds: end.seconds, loss: end.loss });
}

/** At most `most` points, evenly spread in index, the last one included. */
export function thin<T>(points: readonly T[], most: number): T[] {
  if (points.length <= most) return [...points];
  const kept: T[] = [];
  for (let i = 0; i < most; i++) kept.push(points[Math.round((i * (points.length - 1)) / (most - 1))]);
  return kept;
}

/** Medians over seeds, and the best rate of each method, from all runs. */
export function summarize(runs: readonly RunResult[]): MethodSummary[] {
  const labels = [...new Set(runs.map((run) => run.label))];
  return labels.map((label) => {
    const own = runs.filter((run) => run.label === label);
    const byRate = [...new Set(own.map((run) => run.rate))].map((rate) => {
      const group = own.filter((run) => run.rate === rate);
      return { rate, group, loss: median(group.map((run) => run.loss)) };
    });
    const best = byRate.reduce((a, b) => (b.loss < a.loss ? b : a));
    const losses = best.group.map((run) => run.loss);
    const steps = median(best.group.map((run) => run.steps));
    const sets: Evaluations = {};
    for (const name of Object.keys(best.group[0].sets)) {
      sets[name] = {};
      for (const figure of Object.keys(best.group[0].sets[name])) {
        // Of the runs that have it: values that do not differ have no R².
        sets[name][figure] = median(best.group.flatMap((run) => run.sets[name]?.[figure] ?? []));
      }
    }
    return {
      label,
      optimizer: best.group[0].optimizer,
      rate: best.rate,
      loss: { median: best.loss, minimum: Math.min(...losses), maximum: Math.max(...losses) },
      steps,
      secondsPerStep: median(best.group.map((run) => run.seconds / Math.max(1, run.steps))),
      sets,
      rates: byRate.filter((entry) => entry.rate !== null).map(({ rate, loss }) => ({ rate: rate as number, loss })),
    };
  });
}
