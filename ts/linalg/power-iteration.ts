/**
 * Power iteration and norm estimates.
 *
 *     v <- A v / ||A v||,   theta = v^T A v
 *
 * converges to the eigenvalue of largest modulus at the rate |lambda_2 / lambda_1| (Golub & Van Loan 2013, 7.3.1). For a
 * norm, growth ||A v|| is used instead of theta: it also converges when lambda and -lambda are both dominant, and it is
 * a lower bound of ||A|| at every step.
 */
import { checkInteger, checkKeys, checkPositive, checkVector } from '../checks.js';
import { Random } from '../random.js';
import { checkSquare, type LinearOperator } from './linear-operator.js';
import { history, nonNegative } from './solver-options.js';
import type { IterationReport, IterationStatus, OnIteration } from './status.js';
import { dot, norm, scale } from './vectors.js';
import { Workspace } from './workspace.js';

export interface PowerIterationOptions {
  /** stop when ||A v - theta v|| <= tolerance |theta|; default 1e-6 */
  tolerance?: number;
  /** default 1000 */
  maxIterations?: number;
  /** start vector, length n; default standard normal from `seed` */
  start?: Float64Array;
  /** default 0 */
  seed?: number;
  onIteration?: OnIteration;
  workspace?: Workspace;
}

export interface PowerIterationResult extends IterationReport {
  /** Rayleigh quotient of the last vector: for symmetric A the eigenvalue of largest modulus, with its sign */
  readonly eigenvalue: number;
  /** unit vector, length n */
  readonly vector: Float64Array;
  /** ||A v - eigenvalue v||: for symmetric A an eigenvalue lies within this distance */
  readonly residual: number;
}

/**
 * The dominant eigenpair of A by power iteration. `residuals` is ||A v - theta v|| / ||A v||.
 *
 * @param a square operator; the residual bound on the eigenvalue holds for symmetric ones
 * @throws TypeError or RangeError for wrong arguments
 */
export function powerIteration(a: LinearOperator, options: PowerIterationOptions = {}): PowerIterationResult {
  const operation = 'powerIteration';
  checkSquare(operation, 'operator', a);
  checkKeys(operation, 'options', options, ['tolerance', 'maxIterations', 'start', 'seed', 'onIteration', 'workspace']);
  const n = a.rows;
  const { maxIterations = 1000, start, seed = 0, onIteration, workspace = new Workspace() } = options;
  const tolerance = nonNegative(operation, 'tolerance', options.tolerance, 1e-6);
  checkInteger(operation, 'maxIterations', maxIterations, 1, 2 ** 31);
  if (start !== undefined) checkVector(operation, 'start', start, n);
  const residuals = new Float64Array(maxIterations + 1);
  const v = new Float64Array(n);
  const w = workspace.vector(0, n);
  if (start === undefined) new Random(seed).normals(v);
  else v.set(start);
  const length = norm(v);
  if (length === 0) v[0] = 1;
  else scale(1 / length, v);
  let iterations = 0;
  let products = 1;
  let status: IterationStatus = 'iteration-limit';
  a.apply(v, w);
  let theta = dot(v, w);
  let growth = norm(w);
  let residual = residualOf(w, v, theta, growth);
  residuals[0] = growth === 0 ? 0 : residual / growth;
  for (;;) {
    if (!Number.isFinite(growth)) {
      status = 'not-finite';
      break;
    }
    if (residual <= tolerance * Math.abs(theta) || growth === 0) {
      status = 'converged';
      break;
    }
    if (iterations >= maxIterations) break;
    for (let i = 0; i < n; i++) v[i] = w[i] / growth;
    a.apply(v, w);
    products++;
    iterations++;
    theta = dot(v, w);
    growth = norm(w);
    residual = residualOf(w, v, theta, growth);
    residuals[iterations] = residual / growth;
    if (onIteration?.(iterations, residuals[iterations]) === false) {
      status = 'stopped';
      break;
    }
  }
  return {
    status,
    iterations,
    products,
    residuals: history(residuals, iterations),
    eigenvalue: theta,
    vector: v,
    residual,
  };
}

/** ||w - theta v|| for w = A v, summed from the differences: ||w||^2 - theta^2 would cancel. */
function residualOf(w: Float64Array, v: Float64Array, theta: number, growth: number): number {
  if (!Number.isFinite(growth)) return growth;
  let sum = 0;
  for (let i = 0; i < w.length; i++) {
    const d = w[i] - theta * v[i];
    sum += d * d;
  }
  return Math.sqrt(sum);
}

export interface NormEstimateOptions {
  /** stop when the estimate grows by less than this relative amount; default 1e-3 */
  tolerance?: number;
  /** default 100 */
  maxIterations?: number;
  /** default 0 */
  seed?: number;
  workspace?: Workspace;
}

export interface NormEstimate extends IterationReport {
  /** a lower bound of the 2-norm of A, usually within a few percent */
  readonly norm: number;
}

/**
 * Estimates ||A||_2 for symmetric A by the growth ||A v|| along a power iteration from a random start. Always a lower
 * bound (up to rounding); multiply by a safety factor where an upper one is needed. `residuals` is the relative growth
 * of the estimate.
 */
export function estimateNorm(a: LinearOperator, options: NormEstimateOptions = {}): NormEstimate {
  const operation = 'estimateNorm';
  checkSquare(operation, 'operator', a, true);
  checkKeys(operation, 'options', options, ['tolerance', 'maxIterations', 'seed', 'workspace']);
  const { tolerance = 1e-3, maxIterations = 100, seed = 0, workspace = new Workspace() } = options;
  checkPositive(operation, 'tolerance', tolerance);
  checkInteger(operation, 'maxIterations', maxIterations, 1, 2 ** 31);
  const n = a.rows;
  let v = workspace.vector(0, n);
  let w = workspace.vector(1, n);
  new Random(seed).normals(v);
  scale(1 / norm(v), v);
  const residuals = new Float64Array(maxIterations + 1);
  residuals[0] = 1;
  let estimate = 0;
  let status: IterationStatus = 'iteration-limit';
  let iterations = 0;
  while (iterations < maxIterations) {
    a.apply(v, w);
    iterations++;
    const growth = norm(w);
    if (!Number.isFinite(growth)) {
      status = 'not-finite';
      break;
    }
    const gain = growth === 0 ? 0 : (growth - estimate) / growth;
    estimate = Math.max(estimate, growth);
    residuals[iterations] = Math.max(gain, 0);
    if (gain <= tolerance) {
      status = 'converged';
      break;
    }
    scale(1 / growth, w);
    const spare = v;
    v = w;
    w = spare;
  }
  return { status, iterations, products: iterations, residuals: history(residuals, iterations), norm: estimate };
}
