/**
 * Stochastic estimates of traces and diagonals from products alone.
 *
 *   Hutchinson (1989):         tr A = E[z^T A z]  for E[z z^T] = I
 *   Hutch++ (Meyer, Musco, Musco & Woodruff 2021, algorithm 1): with Q = orth(A S), S random,
 *                              tr A = tr(Q^T A Q) + E[z^T (I - Q Q^T) A (I - Q Q^T) z]
 *                              exact on the leading part, Hutchinson on the rest: error 1/m instead of 1/sqrt(m)
 *   Diagonal (Bekas, Kokiopoulou & Saad 2007, eq. 3):   d = (sum_k z_k * A z_k) / (sum_k z_k * z_k)   entry by entry
 *
 * Shapes: probes travel in column-major blocks of up to 32 columns through `applyMany`.
 */
import { checkInteger, checkKeys, checkOneOf } from '../checks.js';
import { kernels, No, Yes } from '../native/index.js';
import { Random } from '../random.js';
import { RunningMean, studentT } from './confidence.js';
import { checkSquare, type LinearOperator } from './linear-operator.js';
import { fillProbe } from './slq.js';
import { nonNegative } from './solver-options.js';
import type { Estimate, IterationReport, IterationStatus, OnIteration } from './status.js';
import { Workspace } from './workspace.js';

/** Options of the sampling estimators. */
export interface SamplingOptions {
  /** most products with A; default 100 */
  samples?: number;
  /** stop as soon as the 95 % error bar is below tolerance * |estimate|; default 0: draw all samples */
  tolerance?: number;
  /** 'rademacher' (default) or 'normal' */
  distribution?: 'rademacher' | 'normal';
  /** default 0 */
  seed?: number;
  /** called after every block of products with the products so far and the relative error bar */
  onIteration?: OnIteration;
  workspace?: Workspace;
}

const samplingKeys = ['samples', 'tolerance', 'distribution', 'seed', 'onIteration', 'workspace'];

/** A trace with its error bar. */
export interface TraceResult extends Estimate, IterationReport {}

const blockSize = 32;

/** The checked options of one estimator. */
function sampling(
  operation: string,
  a: LinearOperator,
  options: SamplingOptions,
): Required<Omit<SamplingOptions, 'onIteration' | 'workspace'>> & {
  onIteration: OnIteration | undefined;
  workspace: Workspace;
  n: number;
} {
  checkSquare(operation, 'operator', a);
  checkKeys(operation, 'options', options, samplingKeys);
  const { samples = 100, distribution = 'rademacher', seed = 0, onIteration, workspace = new Workspace() } = options;
  checkInteger(operation, 'samples', samples, 1);
  checkOneOf(operation, 'distribution', distribution, ['rademacher', 'normal']);
  const tolerance = nonNegative(operation, 'tolerance', options.tolerance, 0);
  return { samples, distribution, seed, onIteration, workspace, tolerance, n: a.rows };
}

/** Error bar over |estimate|, 1 before there is one. */
function relativeBar(mean: RunningMean, offset: number): number {
  const bar = mean.errorBar;
  const estimate = Math.abs(mean.mean + offset);
  return Number.isNaN(bar) ? 1 : estimate === 0 ? bar : bar / estimate;
}

/**
 * Hutchinson's estimate of tr A. `residuals` is the relative error bar after every block of 32 products.
 *
 * @param a square operator, symmetric or not
 * @throws TypeError or RangeError for wrong arguments
 *
 * @example
 * const { estimate, errorBar } = hutchinsonTrace(inverse, { samples: 200 });
 */
export function hutchinsonTrace(a: LinearOperator, options: SamplingOptions = {}): TraceResult {
  const { n, samples, distribution, seed, tolerance, onIteration, workspace } = sampling('hutchinsonTrace', a, options);
  const random = new Random(seed);
  const width = Math.min(blockSize, samples);
  const z = workspace.vector(0, n * width);
  const az = workspace.vector(1, n * width);
  const mean = new RunningMean();
  const residuals = new Float64Array(Math.ceil(samples / width) + 1);
  residuals[0] = 1;
  let status: IterationStatus = 'sampled';
  let blocks = 0;
  while (mean.count < samples) {
    const count = Math.min(width, samples - mean.count);
    const block = count === width ? z : z.subarray(0, n * count);
    fillProbe(block, distribution, random);
    a.applyMany(block, count, count === width ? az : az.subarray(0, n * count));
    for (let j = 0; j < count; j++) mean.add(kernels.dot(n, z, j * n, az, j * n));
    blocks++;
    residuals[blocks] = relativeBar(mean, 0);
    const goOn = onIteration?.(mean.count, residuals[blocks]);
    if (!Number.isFinite(mean.mean)) {
      status = 'not-finite';
      break;
    }
    if (tolerance > 0 && mean.errorBar <= tolerance * Math.abs(mean.mean)) {
      status = 'converged';
      break;
    }
    if (goOn === false) {
      status = 'stopped';
      break;
    }
  }
  return {
    estimate: mean.mean,
    standardError: mean.standardError,
    errorBar: mean.errorBar,
    status,
    iterations: mean.count,
    products: mean.count,
    residuals: residuals.slice(0, blocks + 1),
  };
}

export interface HutchPlusPlusResult extends TraceResult {
  /** tr(Q^T A Q), the part that is exact */
  readonly captured: number;
  /** columns of Q */
  readonly rank: number;
}

/**
 * Hutch++ estimate of tr A from `samples` products: a third builds Q, a third gives tr(Q^T A Q), a third samples the
 * rest. With enough products for all n columns (samples >= n) the trace is simply computed, status 'exact'.
 *
 * The error bar is that of the sampled rest (the captured part has none). `tolerance` is not used by this method.
 * `residuals` is the relative error bar before and after the sampling.
 *
 * @param a square operator; the gain over Hutchinson is for (nearly) semidefinite ones with a decaying spectrum
 * @throws TypeError or RangeError for wrong arguments; `samples` must be at least 6
 */
export function hutchPlusPlus(
  a: LinearOperator,
  options: Omit<SamplingOptions, 'tolerance'> = {},
): HutchPlusPlusResult {
  const operation = 'hutchPlusPlus';
  const { n, samples, distribution, seed, onIteration, workspace } = sampling(operation, a, options);
  checkInteger(operation, 'samples', samples, Math.min(6, n));
  if (samples >= n) {
    let trace = 0;
    const dense = a.toDense();
    for (let i = 0; i < n; i++) trace += dense[i + i * n];
    onIteration?.(n, 0);
    return {
      estimate: trace,
      standardError: 0,
      errorBar: 0,
      status: Number.isFinite(trace) ? 'exact' : 'not-finite',
      iterations: n,
      products: n,
      residuals: Float64Array.of(1, 0),
      captured: trace,
      rank: n,
    };
  }
  const rank = Math.floor(samples / 3);
  const rest = samples - 2 * rank;
  const random = new Random(seed);
  const width = Math.max(rank, rest);
  const q = workspace.vector(0, n * rank);
  const z = workspace.vector(1, n * width);
  const az = workspace.vector(2, n * width);
  const small = workspace.vector(3, rank * width);
  const zRank = z.subarray(0, n * rank);
  const azRank = az.subarray(0, n * rank);

  fillProbe(zRank, distribution, random);
  a.applyMany(zRank, rank, q);
  kernels.qr(n, rank, q, 0, n, small, 0, rank);
  a.applyMany(q, rank, azRank);
  let captured = 0;
  for (let j = 0; j < rank; j++) captured += kernels.dot(n, q, j * n, az, j * n);

  const zRest = z.subarray(0, n * rest);
  const azRest = az.subarray(0, n * rest);
  fillProbe(zRest, distribution, random);
  // z := (I - Q Q^T) z; the projection on the left side is the same vector, so one suffices.
  kernels.gemm(Yes, No, rank, rest, n, 1, q, 0, n, z, 0, n, 0, small, 0, rank);
  kernels.gemm(No, No, n, rest, rank, -1, q, 0, n, small, 0, rank, 1, z, 0, n);
  a.applyMany(zRest, rest, azRest);
  const mean = new RunningMean();
  for (let j = 0; j < rest; j++) mean.add(kernels.dot(n, z, j * n, az, j * n));
  const residual = relativeBar(mean, captured);
  onIteration?.(samples, residual);
  const estimate = captured + mean.mean;
  return {
    estimate,
    standardError: mean.standardError,
    errorBar: mean.errorBar,
    status: Number.isFinite(estimate) ? 'sampled' : 'not-finite',
    iterations: samples,
    products: 2 * rank + rest,
    residuals: Float64Array.of(1, residual),
    captured,
    rank,
  };
}

export interface DiagonalResult extends IterationReport {
  /** estimated diagonal, length n */
  readonly diagonal: Float64Array;
  /** standard error of each entry (NaN for a single sample) */
  readonly standardError: Float64Array;
  /** half-width of the 95 % interval of each entry */
  readonly errorBars: Float64Array;
}

/**
 * Estimates the diagonal of A (Bekas, Kokiopoulou & Saad 2007). With Rademacher probes, entry i has variance
 * sum_{j != i} A_ij^2 per sample, so strongly diagonal operators converge fast.
 *
 * `tolerance` asks for ||errorBars|| <= tolerance ||diagonal||; `residuals` is that ratio after every block.
 *
 * @throws TypeError or RangeError for wrong arguments
 */
export function estimateDiagonal(a: LinearOperator, options: SamplingOptions = {}): DiagonalResult {
  const { n, samples, distribution, seed, tolerance, onIteration, workspace } = sampling(
    'estimateDiagonal',
    a,
    options,
  );
  const random = new Random(seed);
  const width = Math.min(blockSize, samples);
  const z = workspace.vector(0, n * width);
  const az = workspace.vector(1, n * width);
  // Sums over the samples of z^2 (y), z Az (d), and for the variance of the ratio: (z Az)^2, z^3 Az, z^4.
  const y = workspace.vector(2, n).fill(0);
  const d = workspace.vector(3, n).fill(0);
  const dd = workspace.vector(4, n).fill(0);
  const dy = workspace.vector(5, n).fill(0);
  const yy = workspace.vector(6, n).fill(0);
  const diagonal = new Float64Array(n);
  const standardError = new Float64Array(n);
  const errorBars = new Float64Array(n);
  const residuals = new Float64Array(Math.ceil(samples / width) + 1);
  residuals[0] = 1;
  let status: IterationStatus = 'sampled';
  let done = 0;
  let blocks = 0;
  while (done < samples) {
    const count = Math.min(width, samples - done);
    const block = count === width ? z : z.subarray(0, n * count);
    fillProbe(block, distribution, random);
    a.applyMany(block, count, count === width ? az : az.subarray(0, n * count));
    for (let j = 0; j < count; j++) {
      for (let i = 0; i < n; i++) {
        const probe = z[i + j * n];
        const value = probe * az[i + j * n];
        const square = probe * probe;
        y[i] += square;
        d[i] += value;
        dd[i] += value * value;
        dy[i] += value * square;
        yy[i] += square * square;
      }
    }
    done += count;
    blocks++;
    // Variance of a ratio estimator: sum (z Az - d z^2)^2 / (count - 1) / count / mean(z^2)^2.
    const t = studentT(done - 1);
    let barSquare = 0;
    let square = 0;
    for (let i = 0; i < n; i++) {
      const ratio = d[i] / y[i];
      const spread = Math.max(0, dd[i] - 2 * ratio * dy[i] + ratio * ratio * yy[i]);
      const meanSquare = y[i] / done;
      const error = done < 2 ? NaN : Math.sqrt(spread / (done - 1) / done) / meanSquare;
      diagonal[i] = ratio;
      standardError[i] = error;
      errorBars[i] = t * error;
      barSquare += errorBars[i] * errorBars[i];
      square += ratio * ratio;
    }
    residuals[blocks] = Number.isNaN(barSquare)
      ? 1
      : square === 0
        ? Math.sqrt(barSquare)
        : Math.sqrt(barSquare / square);
    const goOn = onIteration?.(done, residuals[blocks]);
    if (!Number.isFinite(square)) {
      status = 'not-finite';
      break;
    }
    if (tolerance > 0 && barSquare <= tolerance * tolerance * square) {
      status = 'converged';
      break;
    }
    if (goOn === false) {
      status = 'stopped';
      break;
    }
  }
  return {
    diagonal,
    standardError,
    errorBars,
    status,
    iterations: done,
    products: done,
    residuals: residuals.slice(0, blocks + 1),
  };
}
