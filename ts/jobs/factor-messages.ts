/** What the two sides of an asynchronous factor say to each other. */
import type { BatchData } from '../network/index.js';
import type { Batch } from '../network/batch.js';
import type { NetworkJSON } from '../network/network-json.js';
import type { CostEstimate, FactorOptions, ManySolution, Method, Solution } from '../inverse/index.js';
import type { Inertia } from '../linalg/symmetric-factor.js';
import type { ThreadError } from './thread-errors.js';

/** The argument of the thread's task, beside its port. */
export interface FactorTask extends Record<string, unknown> {
  network: NetworkJSON;
  params: Float64Array;
  batch: BatchData | Batch;
  options: FactorOptions;
  layerModules: readonly string[];
}

/** Facts of a factor, sent once it is there and after every `refactor`. */
export interface FactorFacts {
  method: Method;
  reason: string;
  estimate: CostEstimate;
  damping: number;
  bytes: number;
  loss: number;
  isRegular: boolean;
}

/** Requests by name: argument and answer. */
export interface FactorRequests {
  solve: [rhs: Float64Array, Solution];
  solveMany: [{ rhs: Float64Array; columns: number }, ManySolution];
  gradient: [null, Float64Array];
  refactor: [damping: number, FactorFacts];
  inertia: [null, Inertia];
  logAbsDet: [null, number];
}
export type FactorOperation = keyof FactorRequests;

export type FactorRequest = { id: number; operation: FactorOperation; argument: unknown } | { dispose: true };

/** Answers carry the request's id; id 0 is the factorization itself. */
export type FactorAnswer = { id: number; value: unknown } | { id: number; error: ThreadError };
