/**
 * Neumann series with scaling: A^-1 b = alpha sum_k (I - alpha A)^k b, as the iteration
 *
 *     x_{k+1} = x_k + alpha (b - A x_k)          (Richardson)
 *
 * It converges if and only if |1 - alpha lambda| < 1 for every eigenvalue met by b: for symmetric positive definite A
 * and 0 < alpha < 2 / ||A||. A negative eigenvalue makes it diverge whatever alpha > 0 is. For symmetric A the residual
 * (I - alpha A)^k b of a convergent series never rises, so a rise is a proof of divergence, not a guess.
 */
import { checkPositive } from '../checks.js';
import type { LinearOperator } from './linear-operator.js';
import { estimateNorm } from './power-iteration.js';
import { history, prepare, type SolverOptions } from './solver-options.js';
import type { IterationStatus, SolveResult } from './status.js';
import { axpy, norm, subtractFrom } from './vectors.js';

export interface NeumannOptions extends Omit<SolverOptions, 'preconditioner'> {
  /** alpha; default 1 / (1.05 * estimated ||A||). Required for a non-symmetric operator */
  scale?: number;
  /**
   * status 'diverged' when the residual exceeds this multiple of the smallest one seen; default 2 for symmetric A
   * (where any rise means divergence), 1000 otherwise (transient growth is possible)
   */
  divergenceFactor?: number;
  /** seed of the norm estimate; default 0 */
  seed?: number;
}

export interface NeumannResult extends SolveResult {
  /** the alpha that was used */
  readonly scale: number;
}

/**
 * Solves A x = b by the scaled Neumann series. `residuals` is ||b - A x_k|| / ||b||, the true one (each iteration
 * computes it). `products` includes those of the norm estimate.
 *
 * @param a square operator; symmetric unless `scale` is given
 * @param b length n, finite
 * @throws TypeError or RangeError for wrong arguments
 */
export function neumann(a: LinearOperator, b: Float64Array, options: NeumannOptions = {}): NeumannResult {
  const problem = prepare('neumann', a, b, options, options.scale === undefined, ['scale', 'divergenceFactor', 'seed']);
  const { n, x, bNorm, target, maxIterations, onIteration, workspace, residuals } = problem;
  const { divergenceFactor = a.symmetric ? 2 : 1000, seed = 0 } = options;
  if (options.scale !== undefined) checkPositive('neumann', 'scale', options.scale);
  checkPositive('neumann', 'divergenceFactor', divergenceFactor);
  let iterations = 0;
  let products = 0;
  let alpha = options.scale ?? 1;
  const finish = (status: IterationStatus, residual: number): NeumannResult => ({
    x,
    status,
    iterations,
    products,
    residuals: history(residuals, iterations),
    residual,
    scale: alpha,
  });
  if (bNorm === 0) return finish('converged', 0);
  if (options.scale === undefined) {
    const estimate = estimateNorm(a, { seed, tolerance: 1e-3, workspace });
    products += estimate.products;
    if (estimate.status === 'not-finite') return finish('not-finite', NaN);
    // The estimate is from below; 5 % covers what it usually misses, and alpha ||A|| may reach 2 before harm is done.
    if (estimate.norm > 0) alpha = 1 / (1.05 * estimate.norm);
  }
  const r = workspace.vector(0, n);
  let rNorm = bNorm;
  let smallest = Infinity;
  let status: IterationStatus = 'iteration-limit';
  if (options.initial === undefined) r.set(b);
  else {
    a.apply(x, r);
    products++;
    subtractFrom(b, r);
    rNorm = norm(r);
  }
  residuals[0] = rNorm / bNorm;
  for (;;) {
    if (!Number.isFinite(rNorm)) {
      status = Number.isNaN(rNorm) ? 'not-finite' : 'diverged';
      break;
    }
    if (rNorm <= target) {
      status = 'converged';
      break;
    }
    smallest = Math.min(smallest, rNorm);
    if (rNorm > divergenceFactor * smallest) {
      status = 'diverged';
      break;
    }
    if (iterations >= maxIterations) break;
    axpy(alpha, r, x);
    a.apply(x, r);
    products++;
    subtractFrom(b, r);
    rNorm = norm(r);
    iterations++;
    residuals[iterations] = rNorm / bNorm;
    if (onIteration?.(iterations, rNorm / bNorm) === false) {
      status = rNorm <= target ? 'converged' : 'stopped';
      break;
    }
  }
  return finish(status, rNorm / bNorm);
}
