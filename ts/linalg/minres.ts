/**
 * MINRES (Paige & Saunders 1975), preconditioned, for symmetric A, definite or not, singular or not.
 *
 * The Lanczos process with M^-1 builds T_k; Givens rotations factor it on the fly, and x_k minimises the residual in
 * the norm of M^-1 over the Krylov space (in the 2-norm without a preconditioner). Stopping rules after Choi, Paige &
 * Saunders 2011 (section 4): the residual, and for singular inconsistent systems ||A r|| / (||A|| ||r||).
 *
 * Negative curvature shows before the run ends (Liu & Roosta 2022, "MINRES: from negative curvature detection to
 * monotonicity properties", lemma 3.1): with c the last cosine and gammaBar the current diagonal before its rotation,
 *
 *     r_{k-1}^T M^-1 A M^-1 r_{k-1} = - phi_{k-1}^2 c_{k-1} gammaBar_k,
 *
 * so d = M^-1 r_{k-1} has d^T A d <= 0 as soon as c_{k-1} gammaBar_k >= 0. If that never happens, A is positive
 * definite on the whole Krylov space.
 */
import { checkBoolean, checkOneOf } from '../checks.js';
import type { LinearOperator } from './linear-operator.js';
import { history, nonNegative, prepare, type SolverOptions, trueResidual } from './solver-options.js';
import type { IterationStatus, NegativeCurvature, SolveResult } from './status.js';
import { axpy, dot, epsilon, norm, scale } from './vectors.js';

export interface MinresOptions extends SolverOptions {
  /** 'report' (default): note the first direction and go on; 'stop': end there; 'ignore': do not look */
  onNegativeCurvature?: 'report' | 'stop' | 'ignore';
  /**
   * 'least-squares' when ||A r|| <= leastSquaresTolerance ||A|| ||r|| and going on only makes x longer, not the
   * residual smaller; default 1e-7 (MINRES loses half of its digits on inconsistent systems, Choi et al. 2011)
   */
  leastSquaresTolerance?: number;
  /** refuse (RangeError) an operator whose products are not symmetric, at the cost of two products; default false */
  checkSymmetry?: boolean;
}

export interface MinresResult extends SolveResult {
  /** the first direction d with d^T A d <= 0 that was met, or null */
  readonly negativeCurvature: NegativeCurvature | null;
  /** estimate (from below) of ||A||, or of ||M^-1/2 A M^-1/2|| with a preconditioner */
  readonly operatorNorm: number;
  /** ||A r|| / (operatorNorm ||r||), the least-squares measure, of x ('least-squares') or when last seen */
  readonly leastSquaresResidual: number;
}

/**
 * Solves A x = b for symmetric A, or min ||b - A x|| when there is no solution.
 *
 * On a singular consistent system started from 0 the solution is the one of least norm; on an inconsistent one it is a
 * least-squares solution. `residuals` is ||r_k|| / ||b|| in the 2-norm, also with a preconditioner (where only the
 * norm of M^-1 falls monotonically).
 *
 * @param a symmetric operator, n x n
 * @param b length n, finite
 * @param options `preconditioner` must be symmetric and positive definite (an approximation of |A|^-1)
 * @throws TypeError or RangeError for shapes, a non-symmetric operator or preconditioner, or an indefinite
 *   preconditioner
 *
 * @example
 * const { x, status, negativeCurvature } = minres(shifted(hessian, 1e-3), gradient);
 */
export function minres(a: LinearOperator, b: Float64Array, options: MinresOptions = {}): MinresResult {
  const problem = prepare('minres', a, b, options, true, [
    'onNegativeCurvature',
    'leastSquaresTolerance',
    'checkSymmetry',
  ]);
  const { onNegativeCurvature = 'report', checkSymmetry = false } = options;
  checkOneOf('minres', 'onNegativeCurvature', onNegativeCurvature, ['report', 'stop', 'ignore']);
  checkBoolean('minres', 'checkSymmetry', checkSymmetry);
  const leastSquaresTolerance = nonNegative('minres', 'leastSquaresTolerance', options.leastSquaresTolerance, 1e-7);
  const { n, x, bNorm, target, maxIterations, preconditioner, onIteration, workspace, residuals } = problem;
  let negativeCurvature: NegativeCurvature | null = null;
  let operatorNorm = 0;
  let leastSquaresResidual = NaN;
  let iterations = 0;
  let products = 0;
  const finish = (status: IterationStatus, residual: number): MinresResult => ({
    x,
    status,
    iterations,
    products,
    residuals: history(residuals, iterations),
    residual,
    negativeCurvature,
    operatorNorm,
    leastSquaresResidual,
  });
  if (bNorm === 0) return finish('converged', 0);

  // Work vectors; `next`, `current`, `previous` are the unnormalised Lanczos vectors M v beta.
  let previous = workspace.vector(0, n);
  let current = workspace.vector(1, n);
  let next = workspace.vector(2, n);
  let w = workspace.vector(3, n);
  let w1 = workspace.vector(4, n);
  let w2 = workspace.vector(5, n);
  const r = workspace.vector(6, n);
  const v = workspace.vector(7, n);
  // The best least-squares candidate: an iterate whose residual is nearly orthogonal to the range of A.
  const candidate = workspace.vector(8, n);
  let candidateMeasure = Infinity;
  let candidateResidual = 0;
  let candidateLength = 0;
  let rNorm = bNorm;
  if (options.initial === undefined) r.set(b);
  else {
    rNorm = trueResidual(a, b, x, r);
    products++;
  }
  residuals[0] = rNorm / bNorm;
  if (rNorm <= target) return finish('converged', rNorm / bNorm);

  if (checkSymmetry) {
    // (A r)^T (A r) against r^T A (A r): equal for a symmetric operator (Paige & Saunders' own test).
    a.apply(r, next);
    a.apply(next, v);
    products += 2;
    const square = dot(next, next);
    if (Math.abs(square - dot(r, v)) > 1e-10 * (square + norm(r) * norm(v))) {
      throw new RangeError(
        'minres: expected a symmetric operator for operator, received one whose products are not symmetric',
      );
    }
  }

  const needResidual = preconditioner !== undefined;
  let status: IterationStatus = 'iteration-limit';
  let verified = false;
  let lastTrue = Infinity;
  let done = false;

  // Outer loop: one run of the Lanczos process; a second one only when the recursive residual lied.
  while (!done && iterations < maxIterations) {
    current.set(r);
    if (preconditioner === undefined) v.set(r);
    else preconditioner.apply(r, v);
    let beta = dot(current, v);
    if (!(beta > 0)) {
      status = Number.isFinite(beta) ? 'indefinite-preconditioner' : 'not-finite';
      break;
    }
    beta = Math.sqrt(beta);
    const beta1 = beta;
    let oldBeta = 0;
    let dbar = 0;
    let eps = 0;
    let phibar = beta;
    let cosine = -1;
    let sine = 0;
    previous.fill(0);
    w.fill(0);
    w1.fill(0);
    w2.fill(0);

    let first = true;
    for (;;) {
      if (iterations >= maxIterations) {
        done = true;
        break;
      }
      // Lanczos step: v = M^-1 (current) / beta holds the k-th vector; next = A v - alpha/beta current - beta/oldBeta previous.
      scale(1 / beta, v);
      a.apply(v, next);
      products++;
      if (!first) axpy(-beta / oldBeta, previous, next);
      const alpha = dot(v, next);
      axpy(-alpha / beta, current, next);
      const spare = previous;
      previous = current;
      current = next;
      next = spare;
      // The vector v is still needed for w; M^-1 current goes to `next` for now.
      if (preconditioner === undefined) next.set(current);
      else preconditioner.apply(current, next);
      oldBeta = beta;
      const betaSquare = dot(current, next);
      if (!Number.isFinite(betaSquare) || !Number.isFinite(alpha)) {
        status = 'not-finite';
        done = true;
        break;
      }
      if (betaSquare < 0) {
        // Rounding of an exhausted Krylov space is not a verdict on the preconditioner.
        if (-betaSquare > epsilon * operatorNorm * operatorNorm + epsilon * alpha * alpha) {
          status = 'indefinite-preconditioner';
          done = true;
          break;
        }
      }
      beta = Math.sqrt(Math.max(betaSquare, 0));
      operatorNorm = Math.max(operatorNorm, Math.hypot(first ? 0 : oldBeta, alpha, beta));

      // Rotate the new column of T_k.
      const oldEps = eps;
      const delta = cosine * dbar + sine * alpha;
      const gbar = sine * dbar - cosine * alpha;
      eps = sine * beta;
      dbar = -cosine * beta;
      iterations++;
      first = false;

      if (negativeCurvature === null && onNegativeCurvature !== 'ignore' && cosine * gbar >= 0) {
        // d = M^-1 r_{k-1}; its curvature is measured, not taken from the recurrence, so that the report is safe.
        const direction = preconditioner === undefined ? r.slice() : preconditioner.apply(r);
        const length = norm(direction);
        if (length > 0) {
          scale(1 / length, direction);
          const image = a.apply(direction);
          products++;
          const curvature = dot(direction, image);
          if (curvature <= 4 * epsilon * norm(image)) {
            negativeCurvature = { direction, curvature, iteration: iterations };
            if (onNegativeCurvature === 'stop') {
              residuals[iterations] = rNorm / bNorm;
              status = 'negative-curvature';
              done = true;
              break;
            }
          }
        }
      }

      // ||A r_{k-1}|| = phibar_{k-1} ||(gbar_k, dbar_{k+1})||: stop before a division by a vanishing gamma spoils x.
      const root = Math.hypot(gbar, dbar);
      const measure = operatorNorm === 0 ? 0 : root / operatorNorm;
      leastSquaresResidual = measure;
      if (measure <= Math.min(leastSquaresTolerance, 1e-13)) {
        residuals[iterations] = rNorm / bNorm;
        status = 'least-squares';
        candidateMeasure = Infinity;
        done = true;
        break;
      }
      if (measure <= leastSquaresTolerance && measure < candidateMeasure) {
        candidate.set(x);
        candidateMeasure = measure;
        candidateResidual = rNorm;
        candidateLength = norm(x);
      }
      const gamma = Math.max(Math.hypot(gbar, beta), epsilon * operatorNorm);
      cosine = gbar / gamma;
      sine = beta / gamma;
      const phi = cosine * phibar;
      phibar = sine * phibar;

      // w_k = (v_k - eps_k w_{k-2} - delta_k w_{k-1}) / gamma_k;  x += phi w.
      const oldest = w1;
      w1 = w2;
      w2 = w;
      w = oldest;
      const inverse = 1 / gamma;
      for (let i = 0; i < n; i++) {
        const value = (v[i] - oldEps * w1[i] - delta * w2[i]) * inverse;
        w[i] = value;
        x[i] += phi * value;
      }

      // r_k = s_k^2 r_{k-1} - phibar_k c_k (M v_{k+1}); without a preconditioner its norm is phibar.
      const exhausted = beta <= 8 * epsilon * operatorNorm;
      if (needResidual || (negativeCurvature === null && onNegativeCurvature !== 'ignore')) {
        const keep = sine * sine;
        const add = exhausted ? 0 : (-phibar * cosine) / beta;
        for (let i = 0; i < n; i++) r[i] = keep * r[i] + add * current[i];
      }
      rNorm = needResidual ? norm(r) : phibar;
      if (candidateMeasure < Infinity) {
        // A small eigenvalue being resolved lowers the residual; a zero one only lengthens x.
        if (rNorm < 0.9 * candidateResidual) candidateMeasure = Infinity;
        else if (norm(x) > 10 * candidateLength) {
          residuals[iterations] = rNorm / bNorm;
          done = true;
          break;
        }
      }

      let restart = false;
      if (rNorm <= target || exhausted || !(phibar > epsilon * beta1)) {
        rNorm = trueResidual(a, b, x, r);
        products++;
        if (rNorm <= target) {
          status = 'converged';
          verified = true;
        } else if (!(rNorm <= 0.5 * lastTrue)) {
          status = Number.isFinite(rNorm) ? 'stagnated' : 'not-finite';
          verified = true;
        } else restart = true;
        lastTrue = rNorm;
      }
      residuals[iterations] = rNorm / bNorm;
      const goOn = onIteration?.(iterations, rNorm / bNorm);
      if (verified) {
        done = true;
        break;
      }
      if (goOn === false) {
        status = 'stopped';
        done = true;
        break;
      }
      if (restart) break;
      v.set(next);
    }
  }
  if (!verified) {
    if (candidateMeasure < Infinity && (status === 'iteration-limit' || status === 'stagnated')) {
      x.set(candidate);
      leastSquaresResidual = candidateMeasure;
      status = 'least-squares';
    }
    rNorm = trueResidual(a, b, x, r);
    products++;
    if (status === 'least-squares' && rNorm <= target) status = 'converged';
  }
  return finish(status, rNorm / bNorm);
}
