/**
 * LiSSA (Agarwal, Bullins & Hazan 2016, algorithm 1): the Neumann series with a fresh random sample of the operator at
 * every term,
 *
 *     u_0 = b,   u_j = b + (I - A_j / c) u_{j-1},   j = 1..depth;      x = mean over `repeats` chains of u_depth / c
 *
 * With independent draws E[A_j] = A the mean is exactly the truncated series (1/c) sum_{k<=depth} (I - A/c)^k b: the
 * standard error covers the sampling, `truncation` the rest. It needs 0 <= A_j <= c for (nearly) all samples; then
 * ||u_j|| <= (j + 1) ||b||, and a chain that leaves this bound far behind is reported as diverged.
 */
import { checkFinite, checkInteger, checkKeys, checkObject, checkPositive, checkVector, failType } from '../checks.js';
import { Random } from '../random.js';
import { checkSquare, fromFunction, type LinearOperator } from './linear-operator.js';
import { estimateNorm } from './power-iteration.js';
import type { IterationReport, IterationStatus, OnIteration } from './status.js';
import { norm } from './vectors.js';
import { Workspace } from './workspace.js';

/** A random symmetric operator: draw number `index` is a fixed operator, and the mean over all indices is A. */
export interface StochasticOperator {
  /** rows and columns */
  readonly size: number;
  /** indices are uniform in [0, count): the samples of a data set, or 2^32 seeds (the default) */
  readonly count?: number;
  /** Writes A_index x into `out`. The same index gives the same operator. */
  apply(index: number, x: Float64Array, out: Float64Array): void;
}

export interface LissaOptions {
  /** terms of each chain; default 1000 */
  depth?: number;
  /** independent chains, averaged; default 10 */
  repeats?: number;
  /** draws averaged for each term; default 1 */
  batch?: number;
  /** c; default 1.5 times the largest norm estimated on 8 samples */
  scale?: number;
  /** added to every sample, so that the answer is (A + damping I)^-1 b; default 0 */
  damping?: number;
  /** default 0 */
  seed?: number;
  /** the exact mean operator (damping not included): then residuals are true ones, at a product a chain */
  mean?: LinearOperator;
  /** 'diverged' when ||u_j|| exceeds this multiple of (j + 1) ||b||; default 10 */
  divergenceFactor?: number;
  /** called after every chain */
  onIteration?: OnIteration;
  workspace?: Workspace;
}

export interface LissaResult extends IterationReport {
  /** mean of the chains, length n */
  readonly x: Float64Array;
  /** standard error of each entry over the chains (NaN for one chain) */
  readonly standardError: Float64Array;
  /** largest ||u_depth - u_{depth-1}|| / ||u_depth|| of the chains: sampling noise plus what the truncation leaves */
  readonly truncation: number;
  /** ||b - A x|| / ||b|| where `mean` was given, otherwise NaN */
  readonly residual: number;
  /** the c that was used */
  readonly scale: number;
}

/**
 * Estimates (A + damping I)^-1 b from random samples of A.
 *
 * `residuals` has an entry per chain (entry 0 is 1): the true relative residual of the mean so far with `mean`,
 * otherwise the relative change of the mean. `iterations` counts chains, `products` single-sample products.
 *
 * @throws TypeError or RangeError for wrong arguments
 */
export function lissa(operator: StochasticOperator, b: Float64Array, options: LissaOptions = {}): LissaResult {
  const operation = 'lissa';
  checkObject(operation, 'operator', operator);
  checkInteger(operation, 'operator.size', operator.size, 1);
  if (typeof operator.apply !== 'function') failType(operation, 'operator.apply', 'a function', operator.apply);
  const n = operator.size;
  const count = operator.count ?? 2 ** 32;
  checkInteger(operation, 'operator.count', count, 1, 2 ** 32);
  checkVector(operation, 'b', b, n);
  checkKeys(operation, 'options', options, [
    'depth',
    'repeats',
    'batch',
    'scale',
    'damping',
    'seed',
    'mean',
    'divergenceFactor',
    'onIteration',
    'workspace',
  ]);
  const { depth = 1000, repeats = 10, batch = 1, damping = 0, seed = 0, mean, divergenceFactor = 10 } = options;
  const { onIteration, workspace = new Workspace() } = options;
  checkInteger(operation, 'depth', depth, 1);
  checkInteger(operation, 'repeats', repeats, 1);
  checkInteger(operation, 'batch', batch, 1);
  checkFinite(operation, 'damping', damping);
  checkPositive(operation, 'divergenceFactor', divergenceFactor);
  if (options.scale !== undefined) checkPositive(operation, 'scale', options.scale);
  if (mean !== undefined) checkSquare(operation, 'mean', mean);

  const random = new Random(seed);
  const x = new Float64Array(n);
  const squares = new Float64Array(n);
  const residuals = new Float64Array(repeats + 1);
  residuals[0] = 1;
  const bNorm = norm(b);
  let products = 0;
  let truncation = 0;
  let residual = mean === undefined ? NaN : 1;
  let chains = 0;
  let status: IterationStatus = 'sampled';
  let c = options.scale ?? 1;
  const draw = (): number => (count === 2 ** 32 ? random.bits() : random.integer(count));

  if (options.scale === undefined && bNorm > 0) {
    let largest = 0;
    for (let s = 0; s < 8; s++) {
      const index = draw();
      const sample = fromFunction(n, (v, out) => operator.apply(index, v, out), { symmetric: true });
      const estimate = estimateNorm(sample, { maxIterations: 20, tolerance: 1e-2, seed: s });
      products += estimate.products;
      largest = Math.max(largest, estimate.norm);
    }
    // Single samples differ; 1.5 leaves room for larger ones than the eight that were looked at.
    if (largest + damping > 0) c = 1.5 * (largest + Math.max(damping, 0));
  }

  const u = workspace.vector(0, n);
  const product = workspace.vector(1, n);
  const accumulated = batch === 1 ? product : workspace.vector(2, n);
  if (bNorm === 0) status = 'converged';
  while (bNorm > 0 && chains < repeats) {
    u.set(b);
    let change = 0;
    let length = bNorm;
    for (let j = 1; j <= depth; j++) {
      operator.apply(draw(), u, accumulated);
      products++;
      for (let s = 1; s < batch; s++) {
        operator.apply(draw(), u, product);
        products++;
        for (let i = 0; i < n; i++) accumulated[i] += product[i];
      }
      const shrink = 1 / (c * batch);
      const keep = 1 - damping / c;
      change = 0;
      length = 0;
      for (let i = 0; i < n; i++) {
        const value = b[i] + keep * u[i] - shrink * accumulated[i];
        const difference = value - u[i];
        change += difference * difference;
        length += value * value;
        u[i] = value;
      }
      length = Math.sqrt(length);
      if (!(length <= divergenceFactor * (j + 1) * bNorm)) {
        status = 'diverged';
        break;
      }
    }
    if (status === 'diverged') {
      // The diverging iterate is what the caller gets when there is nothing better.
      if (chains === 0) for (let i = 0; i < n; i++) x[i] = u[i] / c;
      break;
    }
    chains++;
    truncation = Math.max(truncation, Math.sqrt(change) / length);
    let moved = 0;
    let size = 0;
    for (let i = 0; i < n; i++) {
      const value = u[i] / c;
      const difference = value - x[i];
      const step = difference / chains;
      x[i] += step;
      squares[i] += difference * (value - x[i]);
      moved += step * step;
      size += x[i] * x[i];
    }
    residuals[chains] = size === 0 ? 0 : Math.sqrt(moved / size);
    if (mean !== undefined) {
      mean.apply(x, product);
      products++;
      let sum = 0;
      for (let i = 0; i < n; i++) {
        const d = b[i] - product[i] - damping * x[i];
        sum += d * d;
      }
      residual = Math.sqrt(sum) / bNorm;
      residuals[chains] = residual;
    }
    if (onIteration?.(chains, residuals[chains]) === false && chains < repeats) {
      status = 'stopped';
      break;
    }
  }
  const standardError = new Float64Array(n);
  for (let i = 0; i < n; i++) standardError[i] = chains < 2 ? NaN : Math.sqrt(squares[i] / (chains - 1) / chains);
  if (bNorm === 0) {
    standardError.fill(0);
    residual = 0;
  }
  return {
    x,
    status,
    iterations: chains,
    products,
    residuals: residuals.slice(0, chains + 1),
    standardError,
    truncation,
    residual,
    scale: c,
  };
}
