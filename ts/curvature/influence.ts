/**
 * Influence functions with an exact inverse: which training points raise or lower the loss at which test points.
 *
 * With x the minimum of the average training loss, raising the weight of sample i's loss by e moves it by (implicit function
 * theorem)  dx/de = -H^-1 g_i,  and the loss of test point j by
 *
 *     I(i, j) = -g_j^T (M + eps I)^-1 g_i                 (Koh & Liang 2017, equation 2; M = H, or G)
 *
 * Removing sample i is e = -w_i / N to first order: it changes the loss at j by -(w_i / N) I(i, j). Self-influence
 * g_i^T (M + eps I)^-1 g_i finds points that only they themselves support, mislabelled ones among them. Relative influence
 * divides by how far the point moves the parameters, |(M + eps I)^-1 g_i|, or the losses, sqrt(self-influence)
 * (Barshan, Brunet & Dziugaite 2020, equations 4 and 6), which keeps outliers from answering every question.
 *
 * One factorization serves all points; one refined solve per test point (plain influence) or per training point.
 */
import { checkBoolean, checkInteger, checkKeys, checkNonNegative, checkObject, checkOneOf } from '../checks.js';
import type { Linearization } from '../derivatives/index.js';
import { DeepHessianError } from '../errors.js';
import { checkLinearized } from '../inverse/factor.js';
import {
  availableMemory,
  factorShifted,
  factor as factorDamped,
  requireMemory,
  type Factor,
  type MatrixKind,
  type Method,
} from '../inverse/index.js';
import { kernels, No, Yes } from '../native/index.js';
import { checkBatch, prepareBatch, type Batch, type BatchData } from '../network/index.js';
import { SampleGradients } from './sample-gradients.js';

/** How to invert: shared by every question that solves with M + eps I. */
export interface InverseOptions {
  /** eps >= 0; default 0: L2 alone must make M regular */
  damping?: number;
  /** 'hessian' (default) or 'gauss-newton' */
  matrix?: MatrixKind;
  /** route of the factorization, default 'auto' */
  method?: Method | 'auto';
  /** relative residual of every solve, default 1e-10 */
  tolerance?: number;
  /** Bytes that a factor may take, default what the process has available. */
  memoryLimit?: number;
}

export const inverseKeys = ['damping', 'matrix', 'method', 'tolerance', 'memoryLimit'];

/** A factor for the options; eps = 0 is allowed, which `factor` itself is not. */
export function factorFor(point: Linearization, options: InverseOptions): Factor {
  const { damping = 0, matrix = 'hessian', method = 'auto', tolerance = 1e-10, memoryLimit } = options;
  checkNonNegative('factor', 'damping', damping);
  const common = { matrix, method, tolerance, ...(memoryLimit === undefined ? {} : { memoryLimit }) };
  return damping > 0 ? factorDamped(point, { ...common, damping }) : factorShifted(point, { ...common, shift: 0 });
}

/** All divisors of a row of influences, by name. */
export const relativeKinds = ['none', 'parameters', 'losses'] as const;
/**
 * What divides a row of influences: nothing, |(M + eps I)^-1 g_i| ('parameters') or sqrt(self-influence) ('losses').
 */
export type RelativeKind = (typeof relativeKinds)[number];

/** A block of finished rows. */
export interface InfluenceRows {
  /** training samples [first, first + count) */
  first: number;
  /** number of training samples in this block */
  count: number;
  /** row-major count x tests; valid until the next block only */
  values: Float64Array;
  /** self-influence of these samples, where it was computed on the way (`self`, or relative influence); else null */
  self: Float64Array | null;
  /** rows finished so far, these included, of how many */
  done: number;
  /** rows in all */
  total: number;
}

/** Options of {@link influence}. */
export interface InfluenceOptions extends InverseOptions {
  /** divide row i by |(M + eps I)^-1 g_i| ('parameters') or sqrt(self-influence) ('losses'); default 'none' */
  relative?: RelativeKind;
  /** training samples per block of rows, default 64 */
  block?: number;
  /** receives the rows block by block; returning false stops with DeepHessianError 'aborted' */
  onRows?: (rows: InfluenceRows) => boolean | void;
  /** keep the whole matrix in the result; default true without `onRows`, else false */
  keep?: boolean;
}

/** Result of {@link influence}. */
export interface InfluenceResult {
  /** I(i, j), row-major training x test, or null when it was only streamed */
  values: Float64Array | null;
  /** Number of training points. */
  training: number;
  /** Number of test points. */
  tests: number;
  /** largest relative residual of all solves */
  residual: number;
  /** whether M + eps I is positive definite, as influence functions suppose; null when rounding leaves it open */
  definite: boolean | null;
}

/** Options of {@link influenceRows}. */
export interface InfluenceRowsOptions extends InverseOptions {
  /** what divides row i, default 'none' */
  relative?: RelativeKind;
  /** training samples per block of rows, default 64 */
  block?: number;
  /** self-influence as well, for one solve per training sample; default false */
  self?: boolean;
  /** only the first so many training samples; the matrix M is that of all; default all */
  rows?: number;
}

/**
 * The matrix of {@link influence} block by block, as a generator: between two blocks the caller may write, wait or stop.
 *
 * @returns the largest relative residual of the solves, and whether M + eps I is positive definite
 * @throws as {@link influence}
 */
export function* influenceRows(
  point: Linearization,
  test: Batch | BatchData,
  options: InfluenceRowsOptions = {},
): Generator<InfluenceRows, { residual: number; definite: boolean | null }> {
  const operation = 'influence';
  checkLinearized(operation, point);
  checkKeys(operation, 'options', options, [...inverseKeys, 'relative', 'block', 'self', 'rows']);
  const { relative = 'none', block = 64, self = false } = options;
  if (options.rows !== undefined) checkInteger(operation, 'rows', options.rows, 1);
  checkOneOf(operation, 'relative', relative, relativeKinds);
  checkInteger(operation, 'block', block, 1);
  checkBoolean(operation, 'self', self);
  const { network, params, batch: training } = point;
  const tests = batchFor(operation, point, test);
  const P = network.parameterCount;
  const N = Math.min(training.samples, options.rows ?? Infinity);
  const T = tests.samples;
  // Solves with the training gradients serve relative and self-influence too; else those with the test gradients do.
  const byTraining = relative !== 'none' || self;
  requireMemory(
    operation,
    8 * (P * T * (byTraining ? 1 : 2) + 2 * P * Math.min(block, N)),
    options.memoryLimit ?? availableMemory(),
    'ask for fewer test points at a time',
  );
  const factor = factorFor(point, options);
  try {
    const testGradients = new Float64Array(P * T);
    new SampleGradients(network, params, tests).fill(0, T, testGradients);
    let residual = 0;
    let solved = testGradients;
    if (!byTraining) {
      solved = new Float64Array(P * T);
      residual = solveBlocks(factor, testGradients, T, block, solved);
    }
    const gradients = new SampleGradients(network, params, training);
    const size = Math.min(block, N);
    const g = new Float64Array(P * size);
    const x = byTraining ? new Float64Array(P * size) : g;
    const rows = new Float64Array(T * size);
    const selves = new Float64Array(size);
    for (let first = 0; first < N; first += size) {
      const count = Math.min(size, N - first);
      gradients.fill(first, count, g);
      if (byTraining) residual = Math.max(residual, solveBlocks(factor, g.subarray(0, P * count), count, block, x));
      // Row-major count x T is column-major T x count: solved^T x.
      kernels.gemm(Yes, No, T, count, P, -1, solved, 0, P, x, 0, P, 0, rows, 0, T);
      for (let c = 0; byTraining && c < count; c++) {
        selves[c] = kernels.dot(P, g, c * P, x, c * P);
        if (relative === 'none') continue;
        const scale =
          relative === 'parameters'
            ? kernels.nrm2(P, x.subarray(c * P, (c + 1) * P), 0)
            : Math.sqrt(Math.abs(selves[c]));
        if (scale > 0) for (let j = 0; j < T; j++) rows[c * T + j] /= scale;
      }
      yield {
        first,
        count,
        values: rows.subarray(0, count * T),
        self: byTraining ? selves.subarray(0, count) : null,
        done: first + count,
        total: N,
      };
    }
    return { residual, definite: isDefinite(factor) };
  } finally {
    factor.dispose();
  }
}

/**
 * The training x test influence matrix.
 *
 * @param point the training set at its (nearly) stationary parameters
 * @param test test data, raw or prepared
 * @throws TypeError or RangeError for misuse; DeepHessianError as `factor` and its solves
 *
 * @example
 * const { values, tests } = influence(point, { inputs, targets }, { damping: 1e-3 });
 * const removal = -values[i * tests + j] / point.samples;   // predicted change of test loss j without sample i
 */
export function influence(
  point: Linearization,
  test: Batch | BatchData,
  options: InfluenceOptions = {},
): InfluenceResult {
  const operation = 'influence';
  checkLinearized(operation, point);
  checkKeys(operation, 'options', options, [...inverseKeys, 'relative', 'block', 'onRows', 'keep']);
  const { onRows, keep = onRows === undefined, ...rest } = options;
  checkBoolean(operation, 'keep', keep);
  const tests = batchFor(operation, point, test);
  const [N, T] = [point.samples, tests.samples];
  if (keep) {
    requireMemory(operation, 8 * N * T, options.memoryLimit ?? availableMemory(), 'stream with keep: false');
  }
  const values = keep ? new Float64Array(N * T) : null;
  const blocks = influenceRows(point, tests, rest);
  for (;;) {
    const next = blocks.next();
    if (next.done === true) return { values, training: N, tests: T, ...next.value };
    const { first, done } = next.value;
    values?.set(next.value.values, first * T);
    if (onRows?.(next.value) === false && done < N) {
      blocks.return({ residual: NaN, definite: null });
      throw new DeepHessianError('aborted', `${operation}: stopped by its caller after ${done} of ${N} rows`, { done });
    }
  }
}

/** Result of {@link selfInfluence}. */
export interface SelfInfluenceResult {
  /** g_i^T (M + eps I)^-1 g_i, length N; large: a point that the others contradict */
  values: Float64Array;
  /** |(M + eps I)^-1 g_i|, length N */
  parameterNorms: Float64Array;
  /** largest relative residual of all solves */
  residual: number;
  /** whether M + eps I is positive definite; null when rounding leaves it open */
  definite: boolean | null;
}

/**
 * Self-influence of every training point: what removing a point does to its own loss, times N / w_i, to first order.
 *
 * @example
 * const { values } = selfInfluence(point, { damping: 1e-3 });   // the most suspicious labels have the largest values
 */
export function selfInfluence(
  point: Linearization,
  options: InverseOptions & { block?: number; onProgress?: (done: number, total: number) => boolean | void } = {},
): SelfInfluenceResult {
  const operation = 'selfInfluence';
  checkLinearized(operation, point);
  checkKeys(operation, 'options', options, [...inverseKeys, 'block', 'onProgress']);
  const { block = 64, onProgress } = options;
  checkInteger(operation, 'block', block, 1);
  const { network, params, batch } = point;
  const P = network.parameterCount;
  const N = batch.samples;
  const factor = factorFor(point, options);
  try {
    const gradients = new SampleGradients(network, params, batch);
    const size = Math.min(block, N);
    const g = new Float64Array(P * size);
    const x = new Float64Array(P * size);
    const values = new Float64Array(N);
    const parameterNorms = new Float64Array(N);
    let residual = 0;
    for (let first = 0; first < N; first += size) {
      const count = Math.min(size, N - first);
      gradients.fill(first, count, g);
      residual = Math.max(residual, solveBlocks(factor, g.subarray(0, P * count), count, size, x));
      for (let c = 0; c < count; c++) {
        values[first + c] = kernels.dot(P, g, c * P, x, c * P);
        parameterNorms[first + c] = kernels.nrm2(P, x.subarray(c * P, (c + 1) * P), 0);
      }
      if (onProgress?.(first + count, N) === false && first + count < N) {
        throw new DeepHessianError('aborted', `${operation}: stopped by its caller`, { done: first + count });
      }
    }
    return { values, parameterNorms, residual, definite: isDefinite(factor) };
  } finally {
    factor.dispose();
  }
}

/** x := (M + eps I)^-1 g for `columns` columns, `block` at a time; returns the largest relative residual. */
function solveBlocks(factor: Factor, g: Float64Array, columns: number, block: number, x: Float64Array): number {
  const P = factor.point.network.parameterCount;
  let residual = 0;
  for (let first = 0; first < columns; first += block) {
    const count = Math.min(block, columns - first);
    const solution = factor.solveMany(g.slice(first * P, (first + count) * P), count);
    x.set(solution.x, first * P);
    residual = Math.max(residual, solution.residual);
  }
  return residual;
}

function isDefinite(factor: Factor): boolean | null {
  try {
    return factor.inertia.negative === 0;
  } catch (error) {
    if (error instanceof DeepHessianError && error.code === 'inertia-untrusted') return null;
    throw error;
  }
}

/** A prepared batch of a network, from either form. */
export function batchFor(operation: string, point: Linearization, data: Batch | BatchData): Batch {
  checkObject(operation, 'batch', data);
  const { network } = point;
  if ('samples' in data) {
    checkBatch(operation, data as Batch, network.inputs, network.outputs, network.loss);
    return data as Batch;
  }
  return prepareBatch(operation, network.inputs, network.outputs, network.loss, data);
}
