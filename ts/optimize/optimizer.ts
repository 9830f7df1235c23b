/**
 * The interface that every optimizer satisfies. Parameters are one flat Float64Array of length P,
 * updated in place; a batch is what `Network.batch` returns.
 */
import { checkObject, checkVector, failRange, failType } from '../checks.js';
import type { Network } from '../derivatives/network.js';
import type { Batch } from '../network/batch.js';

/** What one step did. Optimizers add figures of their own, which travel into the metrics. */
export interface StepReport {
  /** loss of the batch before the step */
  loss: number;
  /** whether the parameters were changed; a rejected step leaves them exactly as they were */
  accepted: boolean;
  /** Euclidean norm of the change of the parameters */
  stepNorm: number;
  /** damping that the step used, where the method has one */
  damping?: number;
  [figure: string]: number | boolean | string | undefined;
}

/** Everything an optimizer needs to go on with the same bits: plain scalars and vectors by name. */
export interface OptimizerState {
  /** Numbers, words and switches by name. */
  scalars: Record<string, number | string | boolean>;
  /** Vectors by name. */
  vectors: Record<string, Float64Array>;
}

/** A method that changes parameters step by step. */
export interface Optimizer {
  /** the name in the registry, e.g. 'gauss-newton' */
  readonly name: string;
  /** true: a step looks at its own batch only, never at an earlier one, whose memory may then serve the next. Default false. */
  readonly releasesBatches?: boolean;
  /** One step on `batch`; `params` is updated in place (left untouched when the step is rejected). */
  step(params: Float64Array, batch: Batch): StepReport;
  /**
   * At the end of a run on one batch: moves `params` to the best parameters met, for methods that leave them on the way. The
   * next step, if there is one, goes on from where the run was, with the same bits.
   */
  settle?(params: Float64Array, batch: Batch): void;
  /** A snapshot: vectors are copies. */
  state(): OptimizerState;
  /** Takes a snapshot of `state()` over. Throws RangeError or TypeError when it does not fit this optimizer. */
  restore(state: OptimizerState): void;
  /** Frees what the optimizer holds outside the JavaScript heap. */
  dispose?(): void;
}

/** A function that makes an optimizer for a network. */
export type OptimizerFactory<Options = Record<string, unknown>> = (network: Network, options?: Options) => Optimizer;

/** The number `name` of a stored state. */
export function stateNumber(operation: string, state: OptimizerState, name: string): number {
  checkObject(operation, 'state.scalars', state.scalars);
  const value = Object.hasOwn(state.scalars, name) ? state.scalars[name] : undefined;
  if (typeof value !== 'number') failType(operation, `state.scalars.${name}`, 'a number', value);
  return value;
}

/** A step counter of a stored state: a non-negative integer. */
export function stateCount(operation: string, state: OptimizerState, name: string): number {
  const value = stateNumber(operation, state, name);
  if (!Number.isInteger(value) || value < 0) failRange(operation, `state.scalars.${name}`, 'an integer >= 0', value);
  return value;
}

/** Copies the vector `name` of a stored state into `into`; the lengths must agree. */
export function stateVector(operation: string, state: OptimizerState, name: string, into: Float64Array): void {
  checkObject(operation, 'state.vectors', state.vectors);
  const value: unknown = Object.hasOwn(state.vectors, name) ? state.vectors[name] : undefined;
  checkVector(operation, `state.vectors.${name}`, value, into.length);
  into.set(value);
}
