/**
 * The training loop: takes batches from a source, steps an optimizer, and yields what happened.
 *
 * The clock. `seconds` counts fetching the batch and the optimizer's step, nothing else: evaluation,
 * snapshots, reporting and the pauses given to the event loop stay outside, so methods that are
 * compared at equal time are compared on their own work.
 *
 * The loop never holds the event loop for longer than one step plus `yieldEvery` milliseconds.
 */
import { checkInteger, checkKeys, checkObject, checkPositive, checkVector, firstNonFinite } from '../checks.js';
import { DeepHessianError } from '../errors.js';
import type { Batch } from '../network/batch.js';
import type { Network } from '../derivatives/network.js';
import type { Optimizer, OptimizerState, StepReport } from '../optimize/optimizer.js';
import type { Conclusion } from './conclusion.js';
import type { CurvatureFigures } from './curvature-probe.js';
import type { BatchSource, SourceState } from './source.js';

/** When to stop; the first limit met ends the run. At least one must be given. */
export interface Budget {
  /** optimizer steps in all, counted from the start of the run (resumed runs go on counting) */
  steps?: number;
  /** passes over the data */
  epochs?: number;
  /** seconds on the optimizer's clock */
  seconds?: number;
  /** stop when the training loss is at or below this value (a stream: its smoothed loss) */
  targetLoss?: number;
}

/** How far a run has come. */
export interface Counters {
  /** Steps tried. */
  step: number;
  /** Whole passes over the data. */
  epoch: number;
  /** seconds on the optimizer's clock */
  seconds: number;
  /** samples seen */
  samples: number;
  /** Steps taken. */
  accepted: number;
  /** Steps that left the parameters as they were. */
  rejected: number;
  /** loss of the last step's batch, before that step */
  loss: number;
  /** mean of recent losses on a stream; equal to `loss` on a fixed batch */
  smoothedLoss: number;
}

/** Everything needed to go on with the same bits. */
export interface TrainerState {
  /** How far the run has come. */
  counters: Counters;
  /** Parameters, length P. */
  params: Float64Array;
  /** State of the optimizer. */
  optimizer: OptimizerState;
  /** Position of the batch source. */
  source: SourceState;
}

/** Figures of one evaluation, e.g. { loss: 0.1, accuracy: 0.97 }, by name of the set. */
export type Evaluations = Record<string, Record<string, number>>;

/** One line of the record: a step as it was seen, the loss before the step. */
export interface StepRecord {
  type: 'step';
  /** This step, from 1. */
  step: number;
  /** Whole passes over the data. */
  epoch: number;
  /** seconds on the optimizer's clock */
  seconds: number;
  /** Loss of the step's batch before the step. */
  loss: number;
  /** mean of recent losses on a stream; equal to `loss` on a fixed batch */
  smoothedLoss: number;
  /** Whether the parameters changed. */
  accepted: boolean;
  /** Steps taken so far. */
  acceptedSteps: number;
  /** Steps rejected so far. */
  rejectedSteps: number;
  /** Euclidean length of the step; 0 when rejected. */
  stepNorm: number;
  /** since the record before */
  samplesPerSecond: number;
  /** further figures of the optimizer: damping, rate, ... */
  figures: Record<string, number | boolean | string>;
}

/** Losses on whole sets. */
export interface EvaluationRecord {
  type: 'evaluation';
  /** Steps tried so far. */
  step: number;
  /** Whole passes over the data. */
  epoch: number;
  /** seconds on the optimizer's clock */
  seconds: number;
  /** Loss and accuracy by set. */
  sets: Evaluations;
  /** ends of the Hessian's spectrum and its inertia, where they were taken */
  curvature?: CurvatureFigures;
}

/**
 * Why a run ended: a budget ran out, the target was reached, it was aborted, or a fixed batch's steps are rejected at
 * the same damping ('stalled').
 */
export type StopReason = 'steps' | 'epochs' | 'seconds' | 'target-loss' | 'aborted' | 'stalled';

/** The last record of a run. */
export interface EndRecord {
  type: 'end';
  /** Why the run ended. */
  reason: StopReason;
  /** Steps tried. */
  step: number;
  /** Whole passes over the data. */
  epoch: number;
  /** seconds on the optimizer's clock */
  seconds: number;
  /** Steps taken. */
  acceptedSteps: number;
  /** Steps rejected. */
  rejectedSteps: number;
  /** training loss at the final parameters: of the fixed batch, or the smoothed loss of a stream */
  loss: number;
  /** Last evaluation, by set. */
  sets: Evaluations;
  /** ends of the Hessian's spectrum and its inertia at the end, where they are taken */
  curvature?: CurvatureFigures;
  /** predictions and spectrum at the end, where the run's session takes them */
  conclusion?: Conclusion;
}

/** What a training loop yields. */
export type TrainEvent = StepRecord | EvaluationRecord | EndRecord;

/** Options of {@link Trainer}. */
export interface TrainerOptions {
  /** The network trained. */
  network: Network;
  /** starting parameters, length P; the trainer works on this array in place */
  params: Float64Array;
  /** Made for the same network. */
  optimizer: Optimizer;
  /** Where the batches come from. */
  source: BatchSource;
  /** When to stop. */
  budget: Budget;
  /** evaluates the parameters on named sets, at the start, at intervals and (`final`) at the end; off the clock */
  evaluate?: (params: Float64Array, final: boolean) => Evaluations | Promise<Evaluations>;
  /**
   * takes the spectrum with an evaluation, or returns null when it is not the time; off the clock. There are then evaluations
   * after 1, 2, 4, 8, ... steps too, for the spectrum changes most in the first ones.
   */
  curvature?: (params: Float64Array, final: boolean) => CurvatureFigures | null;
  /** seconds of clock between two evaluations, default: only at the end */
  evaluateEverySeconds?: number;
  /** steps between two evaluations */
  evaluateEverySteps?: number;
  /** cancels the run; it ends with reason 'aborted' after the step in progress */
  signal?: AbortSignal;
  /** most milliseconds between two pauses for the event loop, default 20 */
  yieldEvery?: number;
  /** a step event at least this often in seconds of wall time, beside the recorded steps; default: recorded steps only */
  heartbeat?: number;
}

const optionNames = [
  'network',
  'params',
  'optimizer',
  'source',
  'budget',
  'evaluate',
  'curvature',
  'evaluateEverySeconds',
  'evaluateEverySteps',
  'signal',
  'yieldEvery',
  'heartbeat',
] as const;

/** Checks a budget; the message names the field. */
export function checkBudget(operation: string, budget: Budget): void {
  checkObject(operation, 'budget', budget);
  const given = budget as Budget;
  checkKeys(operation, 'budget', given, ['steps', 'epochs', 'seconds', 'targetLoss']);
  if (given.steps !== undefined) checkInteger(operation, 'budget.steps', given.steps, 0);
  if (given.epochs !== undefined) checkPositive(operation, 'budget.epochs', given.epochs);
  if (given.seconds !== undefined) checkPositive(operation, 'budget.seconds', given.seconds);
  if (given.targetLoss !== undefined) checkPositive(operation, 'budget.targetLoss', given.targetLoss);
  if (given.steps === undefined && given.epochs === undefined && given.seconds === undefined) {
    throw new RangeError(`${operation}: expected at least one of steps, epochs, seconds for budget, received none`);
  }
}

/** Steps that enter the record: each of the first 200, then one in every half per cent. Depends on the step number alone. */
export function recordedStep(step: number): boolean {
  if (step <= 200) return true;
  const stride = Math.max(1, Math.floor(step / 200));
  // The stride is rounded down to a power of two so that the recorded steps of a resumed run are the same.
  return step % 2 ** Math.floor(Math.log2(stride)) === 0;
}

function isPowerOfTwo(n: number): boolean {
  return Number.isInteger(Math.log2(n));
}

/** Least milliseconds between two snapshots of the last good state, and least multiple of what the last one cost. */
const snapshotEvery = 250;
const snapshotShare = 50;

/**
 * A training run over one network, optimizer and source.
 *
 * @example
 * const trainer = new Trainer({ network, params, optimizer, source: fixedSource(batch), budget: { steps: 100 } });
 * for await (const event of trainer.run()) if (event.type === 'step') console.log(event.step, event.loss);
 */
export class Trainer {
  /** The parameters, length P, updated in place. */
  readonly params: Float64Array;
  /** How far the run has come. */
  readonly counters: Counters = {
    step: 0,
    epoch: 0,
    seconds: 0,
    samples: 0,
    accepted: 0,
    rejected: 0,
    loss: Number.NaN,
    smoothedLoss: Number.NaN,
  };
  private lastGood: TrainerState | null = null;

  constructor(private readonly options: TrainerOptions) {
    const operation = 'Trainer';
    checkObject(operation, 'options', options);
    checkKeys(operation, 'options', options, optionNames);
    const { network, params, budget } = this.options;
    checkVector(operation, 'params', params, network.parameterCount);
    checkBudget(operation, budget);
    this.params = params;
  }

  /** A copy of everything needed to go on with the same bits. */
  state(): TrainerState {
    return {
      counters: { ...this.counters },
      params: this.params.slice(),
      optimizer: this.options.optimizer.state(),
      source: this.options.source.state(),
    };
  }

  /** Takes a stored state over. */
  restore(state: TrainerState): void {
    checkVector('Trainer.restore', 'state.params', state.params, this.params.length);
    this.options.optimizer.restore(state.optimizer);
    this.options.source.restore(state.source);
    this.params.set(state.params);
    Object.assign(this.counters, state.counters);
  }

  /** The newest snapshot whose loss is known to be finite; after a divergence, the state to fall back on. */
  get lastGoodState(): TrainerState | null {
    return this.lastGood;
  }

  /**
   * Runs to the end of the budget, yielding records.
   *
   * @throws DeepHessianError 'diverged' when the loss stops being finite; the parameters are then put
   *   back to the last good state, which `lastGoodState` holds in full
   */
  async *run(): AsyncGenerator<TrainEvent, EndRecord> {
    const { source, signal, evaluate } = this.options;
    const {
      yieldEvery = 20,
      heartbeat = Infinity,
      evaluateEverySeconds = Infinity,
      evaluateEverySteps = Infinity,
    } = this.options;
    const counters = this.counters;
    let lastPause = performance.now();
    let nextSnapshot = -Infinity;
    let lastEvent = performance.now();
    let evaluatedAt = { step: counters.step, seconds: counters.seconds };
    let reason: StopReason | null = null;
    let stalled = 0;
    let seen = { samples: counters.samples, seconds: counters.seconds };
    let lastDamping: number | undefined;
    let spent: Batch | undefined;

    if (evaluate !== undefined && counters.step === 0) {
      const sets = await evaluate(this.params, false);
      yield { type: 'evaluation', step: 0, epoch: 0, seconds: 0, sets, ...this.curvature(false) };
    }
    for (;;) {
      reason = this.finished(signal);
      if (reason !== null) break;

      // A snapshot before the step is good once the step has found its loss finite.
      let pending: TrainerState | null = null;
      if (performance.now() > nextSnapshot) {
        const began = performance.now();
        pending = this.state();
        const ended = performance.now();
        nextSnapshot = ended + Math.max(snapshotEvery, snapshotShare * (ended - began));
      }

      const start = performance.now();
      const fetched = source.next(spent);
      const batch = fetched instanceof Promise ? await fetched : fetched;
      spent = this.options.optimizer.releasesBatches === true ? batch : undefined;
      const report = this.step(batch);
      const duration = (performance.now() - start) / 1000;

      if (!Number.isFinite(report.loss)) this.diverged(report);
      if (pending !== null && firstNonFinite(pending.params) < 0) this.lastGood = pending;

      counters.step++;
      counters.seconds += duration;
      counters.samples += batch.samples;
      counters.epoch = counters.step / source.stepsPerEpoch;
      if (report.accepted) counters.accepted++;
      else counters.rejected++;
      counters.loss = report.loss;
      counters.smoothedLoss = this.smooth(report.loss);

      // Rejected again and again with the damping at its ceiling: on a fixed batch no step that the method can
      // take lowers the loss in working precision.
      stalled = source.kind === 'fixed' && !report.accepted && report.damping === lastDamping ? stalled + 1 : 0;
      lastDamping = report.damping;

      const now = performance.now();
      if (recordedStep(counters.step) || (now - lastEvent) / 1000 >= heartbeat) {
        lastEvent = now;
        yield this.stepRecord(report, seen);
        seen = { samples: counters.samples, seconds: counters.seconds };
      }
      if (
        evaluate !== undefined &&
        (counters.seconds - evaluatedAt.seconds >= evaluateEverySeconds ||
          counters.step - evaluatedAt.step >= evaluateEverySteps ||
          (this.options.curvature !== undefined && isPowerOfTwo(counters.step)))
      ) {
        const sets = await evaluate(this.params, false);
        evaluatedAt = { step: counters.step, seconds: counters.seconds };
        const { step, epoch, seconds } = counters;
        yield { type: 'evaluation', step, epoch, seconds, sets, ...this.curvature(false) };
      }
      if (stalled >= 3) {
        reason = 'stalled';
        break;
      }
      if (now - lastPause > yieldEvery) {
        await new Promise<void>((resolve) => setImmediate(resolve));
        lastPause = performance.now();
      }
    }

    if (source.kind === 'fixed') this.options.optimizer.settle?.(this.params, await source.next());
    const sets = evaluate === undefined ? {} : await evaluate(this.params, true);
    const end: EndRecord = {
      type: 'end',
      reason,
      step: counters.step,
      epoch: counters.epoch,
      seconds: counters.seconds,
      acceptedSteps: counters.accepted,
      rejectedSteps: counters.rejected,
      loss: await this.finalLoss(),
      sets,
      // Who aborts a run wants it to leave.
      ...(reason === 'aborted' ? {} : this.curvature(true)),
    };
    yield end;
    return end;
  }

  private curvature(final: boolean): { curvature?: CurvatureFigures } {
    const curvature = this.options.curvature?.(this.params, final) ?? null;
    return curvature === null ? {} : { curvature };
  }

  /** One step; parameters that are no longer finite, which the network refuses, count as a loss that is not. */
  private step(batch: Batch): StepReport {
    try {
      return this.options.optimizer.step(this.params, batch);
    } catch (error) {
      if (firstNonFinite(this.params) >= 0) return { loss: Number.NaN, accepted: false, stepNorm: 0 };
      throw error;
    }
  }

  private finished(signal: AbortSignal | undefined): StopReason | null {
    const { budget, source } = this.options;
    const { step, seconds, smoothedLoss, loss } = this.counters;
    if (signal?.aborted) return 'aborted';
    if (budget.targetLoss !== undefined && (source.kind === 'fixed' ? loss : smoothedLoss) <= budget.targetLoss)
      return 'target-loss';
    if (budget.steps !== undefined && step >= budget.steps) return 'steps';
    if (budget.epochs !== undefined && step >= Math.ceil(budget.epochs * source.stepsPerEpoch)) return 'epochs';
    if (budget.seconds !== undefined && seconds >= budget.seconds) return 'seconds';
    return null;
  }

  /** Exponential mean over about 50 steps on a stream; on a fixed batch the loss itself. */
  private smooth(loss: number): number {
    const { source } = this.options;
    if (source.kind === 'fixed') return loss;
    const { smoothedLoss, step } = this.counters;
    if (!Number.isFinite(smoothedLoss)) return loss;
    return smoothedLoss + (loss - smoothedLoss) / Math.min(step, 50);
  }

  private stepRecord(report: StepReport, seen: { samples: number; seconds: number }): StepRecord {
    const { counters } = this;
    const { loss, accepted, stepNorm, ...rest } = report;
    const figures: Record<string, number | boolean | string> = {};
    for (const [key, value] of Object.entries(rest)) if (value !== undefined) figures[key] = value;
    return {
      type: 'step',
      step: counters.step,
      epoch: counters.epoch,
      seconds: counters.seconds,
      loss,
      smoothedLoss: counters.smoothedLoss,
      accepted,
      acceptedSteps: counters.accepted,
      rejectedSteps: counters.rejected,
      stepNorm,
      samplesPerSecond: (counters.samples - seen.samples) / Math.max(counters.seconds - seen.seconds, 1e-9),
      figures,
    };
  }

  private async finalLoss(): Promise<number> {
    const { network, source } = this.options;
    if (source.kind !== 'fixed') return this.counters.smoothedLoss;
    return network.evaluate(this.params, await source.next()).loss;
  }

  private diverged(report: StepReport): never {
    const { step, seconds } = this.counters;
    const good = this.lastGood;
    if (good !== null) this.params.set(good.params);
    throw new DeepHessianError(
      'diverged',
      `training diverged: the loss was ${report.loss} at step ${step + 1} with optimizer '${this.options.optimizer.name}' ` +
        `(last finite loss ${this.counters.loss}); ` +
        (good === null
          ? 'no earlier state is known to be good'
          : `the state before step ${good.counters.step + 1} is kept`) +
        '; a smaller learning rate, more damping or gradient clipping may help',
      {
        loss: report.loss,
        step: step + 1,
        seconds,
        optimizer: this.options.optimizer.name,
        goodStep: good?.counters.step ?? null,
      },
    );
  }
}
