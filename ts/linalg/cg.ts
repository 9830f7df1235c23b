/**
 * Conjugate gradients (Hestenes & Stiefel 1952), preconditioned, for symmetric positive definite A.
 *
 *     alpha = r^T z / p^T A p,   x += alpha p,   r -= alpha A p,   z = M^-1 r,   p = z + (r^T z)_new / (r^T z)_old p
 *
 * The recurrence needs p^T A p > 0. Where it meets p^T A p <= 0 the operator is not positive definite: p is reported as
 * a direction of negative curvature, and the run stops there or, on request, goes on without any guarantee.
 *
 * The recursive residual drifts from the true one; when it claims convergence the true residual is computed, and the
 * recurrence restarted from it as long as that helps.
 */
import { checkOneOf } from '../checks.js';
import type { LinearOperator } from './linear-operator.js';
import { history, prepare, type SolverOptions, trueResidual } from './solver-options.js';
import type { IterationStatus, NegativeCurvature, SolveResult } from './status.js';
import { axpy, dot, epsilon, norm, scale, xpby } from './vectors.js';

export interface CgOptions extends SolverOptions {
  /**
   * 'stop' (default) ends the run at the first direction of zero or negative curvature; 'continue' goes on with the
   * recurrence, which then may or may not converge (what plain CG on an indefinite Hessian does).
   */
  onNegativeCurvature?: 'stop' | 'continue';
}

export interface CgResult extends SolveResult {
  /** the first direction p with p^T A p <= 0 that was met, or null */
  readonly negativeCurvature: NegativeCurvature | null;
}

/**
 * Solves A x = b for symmetric positive definite A.
 *
 * `residuals` is ||r_k|| / ||b|| (2-norm, also with a preconditioner).
 *
 * @param a symmetric operator, n x n
 * @param b length n, finite
 * @param options `preconditioner` must be symmetric and positive definite (an approximation of A^-1)
 * @throws TypeError or RangeError for shapes, a non-symmetric operator or preconditioner, or an indefinite
 *   preconditioner
 *
 * @example
 * const { x, status, negativeCurvature } = cg(shifted(hessian, 0.1), gradient, { tolerance: 1e-8 });
 */
export function cg(a: LinearOperator, b: Float64Array, options: CgOptions = {}): CgResult {
  const problem = prepare('cg', a, b, options, true, ['onNegativeCurvature']);
  const { onNegativeCurvature = 'stop' } = options;
  checkOneOf('cg', 'onNegativeCurvature', onNegativeCurvature, ['stop', 'continue']);
  const { n, x, bNorm, target, maxIterations, preconditioner, onIteration, workspace, residuals } = problem;
  let negativeCurvature: NegativeCurvature | null = null;
  let iterations = 0;
  let products = 0;
  const finish = (status: IterationStatus, residual: number): CgResult => ({
    x,
    status,
    iterations,
    products,
    residuals: history(residuals, iterations),
    residual,
    negativeCurvature,
  });
  if (bNorm === 0) return finish('converged', 0);

  const r = workspace.vector(0, n);
  const p = workspace.vector(1, n);
  const q = workspace.vector(2, n);
  const z = preconditioner === undefined ? r : workspace.vector(3, n);
  let rNorm = bNorm;
  if (options.initial === undefined) r.set(b);
  else {
    rNorm = trueResidual(a, b, x, r);
    products++;
  }
  residuals[0] = rNorm / bNorm;
  if (rNorm <= target) return finish('converged', rNorm / bNorm);

  let status: IterationStatus = 'iteration-limit';
  let lastTrue = Infinity;
  let verified = false;
  let restart = true;
  let rho = 0;
  while (iterations < maxIterations) {
    if (preconditioner !== undefined) preconditioner.apply(r, z);
    const rhoNew = dot(r, z);
    if (!(rhoNew > 0)) {
      status = Number.isFinite(rhoNew)
        ? rhoNew === 0 && preconditioner === undefined
          ? 'stagnated'
          : 'indefinite-preconditioner'
        : 'not-finite';
      break;
    }
    if (restart) p.set(z);
    else xpby(z, rhoNew / rho, p);
    rho = rhoNew;
    restart = false;

    a.apply(p, q);
    products++;
    const curvature = dot(p, q);
    if (!Number.isFinite(curvature)) {
      status = 'not-finite';
      break;
    }
    const pNorm = norm(p);
    // Below this p^T A p is rounding; a positive definite A reaches it only at a condition number of about 1 / eps^2.
    const floor = 4 * epsilon * pNorm * norm(q);
    iterations++;
    if (curvature <= floor) {
      if (negativeCurvature === null) {
        const direction = p.slice();
        scale(1 / pNorm, direction);
        negativeCurvature = { direction, curvature: curvature / pNorm / pNorm, iteration: iterations };
      }
      const zero = Math.abs(curvature) <= floor;
      if (onNegativeCurvature === 'stop' || zero) {
        residuals[iterations] = rNorm / bNorm;
        status = onNegativeCurvature === 'stop' ? 'negative-curvature' : 'breakdown';
        break;
      }
    }
    const alpha = rho / curvature;
    axpy(alpha, p, x);
    axpy(-alpha, q, r);
    rNorm = norm(r);
    if (!Number.isFinite(rNorm)) {
      residuals[iterations] = rNorm / bNorm;
      status = 'not-finite';
      break;
    }
    if (rNorm <= target) {
      rNorm = trueResidual(a, b, x, r);
      products++;
      verified = rNorm <= target || rNorm > 0.5 * lastTrue;
      lastTrue = rNorm;
      restart = true;
    }
    residuals[iterations] = rNorm / bNorm;
    const goOn = onIteration?.(iterations, rNorm / bNorm);
    if (verified) {
      status = rNorm <= target ? 'converged' : 'stagnated';
      break;
    }
    if (goOn === false) {
      status = 'stopped';
      break;
    }
  }
  if (!verified) {
    rNorm = trueResidual(a, b, x, r);
    products++;
  }
  return finish(status, rNorm / bNorm);
}
