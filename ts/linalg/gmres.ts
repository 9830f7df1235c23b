/**
 * Restarted flexible GMRES (Saad & Schultz 1986; Saad 1993) for any square A, with a right preconditioner of any kind:
 * indefinite, non-symmetric, or changing from one application to the next (an inner solver).
 *
 *     z_j = M_j^-1 v_j,   A Z_m = V_{m+1} Hbar_m,   y = argmin || beta e_1 - Hbar_m y ||,   x += Z_m y
 *
 * Orthogonalisation is classical Gram-Schmidt done twice (two matrix-vector products each, orthogonal to rounding);
 * Givens rotations keep the least-squares problem triangular and its residual known at every step.
 * Memory: restart + 1 vectors, and as many again with a preconditioner.
 */
import { checkInteger, firstNonFinite } from '../checks.js';
import type { LinearOperator } from './linear-operator.js';
import { orthogonalise } from './orthogonalise.js';
import { history, prepare, type SolverOptions, trueResidual } from './solver-options.js';
import type { IterationStatus, SolveResult } from './status.js';
import { axpy, epsilon, norm, scale } from './vectors.js';

export interface GmresOptions extends SolverOptions {
  /** vectors of the Krylov basis before a restart; default min(n, 50) */
  restart?: number;
}

/**
 * Solves A x = b for square A.
 *
 * `residuals` is ||r_k|| / ||b||, which never rises within a cycle. Status 'stagnated' means that a whole cycle
 * gained nothing; 'breakdown' that the Krylov space was used up and A is singular on it.
 *
 * @param a square operator, n x n, symmetric or not
 * @param b length n, finite
 * @param options `preconditioner`: any approximation of A^-1
 * @throws TypeError or RangeError for shapes and ranges
 */
export function gmres(a: LinearOperator, b: Float64Array, options: GmresOptions = {}): SolveResult {
  const problem = prepare('gmres', a, b, options, false, ['restart']);
  const { n, x, bNorm, target, maxIterations, preconditioner, onIteration, workspace, residuals } = problem;
  const { restart = Math.min(n, 50) } = options;
  checkInteger('gmres', 'restart', restart, 1);
  const m = Math.min(restart, n);
  let iterations = 0;
  let products = 0;
  const finish = (status: IterationStatus, residual: number): SolveResult => ({
    x,
    status,
    iterations,
    products,
    residuals: history(residuals, iterations),
    residual,
  });
  if (bNorm === 0) return finish('converged', 0);

  const r = workspace.vector(0, n);
  const basis = workspace.vector(1, n * (m + 1));
  const corrections = preconditioner === undefined ? basis : workspace.vector(2, n * m);
  const hessenberg = workspace.vector(3, (m + 1) * m); // column-major, rotated in place into R
  const rhs = workspace.vector(4, m + 1);
  const cosines = workspace.vector(5, m);
  const sines = workspace.vector(6, m);
  const second = workspace.vector(7, m + 1);
  const y = workspace.vector(8, m);
  const base = workspace.vector(9, n);
  const columns: Float64Array[] = [];
  const preconditioned: Float64Array[] = [];
  for (let j = 0; j <= m; j++) columns.push(basis.subarray(j * n, (j + 1) * n));
  for (let j = 0; j < m; j++) preconditioned.push(corrections.subarray(j * n, (j + 1) * n));
  const ld = m + 1;

  let rNorm = bNorm;
  if (options.initial === undefined) r.set(b);
  else {
    rNorm = trueResidual(a, b, x, r);
    products++;
  }
  residuals[0] = rNorm / bNorm;
  if (rNorm <= target) return finish('converged', rNorm / bNorm);

  let status: IterationStatus = 'iteration-limit';
  let done = false;
  while (!done && iterations < maxIterations) {
    const cycleStart = rNorm;
    const cycleIteration = iterations;
    columns[0].set(r);
    scale(1 / rNorm, columns[0]);
    rhs.fill(0);
    rhs[0] = rNorm;
    let k = 0;
    let exhausted = false;
    while (k < m && iterations < maxIterations) {
      if (preconditioner !== undefined) preconditioner.apply(columns[k], preconditioned[k]);
      const w = columns[k + 1];
      iterations++;
      // A preconditioner near a singular matrix overflows, and so does 1 / |r| of a residual that has all but underflowed.
      let before = Infinity;
      if (firstNonFinite(preconditioned[k]) < 0) {
        a.apply(preconditioned[k], w);
        products++;
        before = norm(w);
      }
      if (!Number.isFinite(before)) {
        residuals[iterations] = before;
        status = 'not-finite';
        done = true;
        break;
      }
      const h = k * ld;
      orthogonalise(n, k + 1, basis, w, hessenberg, h, second);
      const below = norm(w);
      exhausted = below <= 8 * epsilon * before || before === 0;
      if (!exhausted) scale(1 / below, w);

      // The rotations so far, then the one that clears the subdiagonal.
      for (let i = 0; i < k; i++) {
        const upper = hessenberg[h + i];
        const lower = hessenberg[h + i + 1];
        hessenberg[h + i] = cosines[i] * upper + sines[i] * lower;
        hessenberg[h + i + 1] = -sines[i] * upper + cosines[i] * lower;
      }
      const corner = exhausted ? 0 : below;
      const radius = Math.hypot(hessenberg[h + k], corner);
      // A vanishing column: A Z is singular on the space reached; the column is left out of the solution.
      const singular = radius <= 8 * epsilon * before || radius === 0;
      if (singular) {
        residuals[iterations] = rNorm / bNorm;
        status = 'breakdown';
        done = true;
        break;
      }
      cosines[k] = hessenberg[h + k] / radius;
      sines[k] = corner / radius;
      hessenberg[h + k] = radius;
      rhs[k + 1] = -sines[k] * rhs[k];
      rhs[k] *= cosines[k];
      rNorm = Math.abs(rhs[k + 1]);
      k++;
      residuals[iterations] = rNorm / bNorm;
      const goOn = onIteration?.(iterations, rNorm / bNorm);
      if (goOn === false) {
        status = 'stopped';
        done = true;
        break;
      }
      if (rNorm <= target || exhausted) break;
    }

    // x += Z y with R y = rhs. If the true residual disowns the recursive one, the basis ran past what A can resolve:
    // drop columns until both agree.
    base.set(x);
    let used = k;
    for (;;) {
      for (let i = used - 1; i >= 0; i--) {
        let value = rhs[i];
        for (let j = i + 1; j < used; j++) value -= hessenberg[i + j * ld] * y[j];
        y[i] = value / hessenberg[i + i * ld];
      }
      for (let j = 0; j < used; j++) axpy(y[j], preconditioned[j], x);
      rNorm = Infinity;
      if (firstNonFinite(x) < 0) {
        rNorm = trueResidual(a, b, x, r);
        products++;
      }
      const claimed = residuals[cycleIteration + used] * bNorm;
      if (used === 0 || rNorm <= target || rNorm <= Math.max(2 * claimed, 1e-8 * cycleStart)) break;
      used--;
      x.set(base);
      if (!done) status = cycleIteration === 0 ? 'breakdown' : 'stagnated';
      done = true;
    }
    if (rNorm <= target) {
      status = 'converged';
      break;
    }
    if (!Number.isFinite(rNorm)) {
      status = 'not-finite';
      break;
    }
    if (!done && rNorm >= (1 - 1e-6) * cycleStart && (k === m || exhausted)) {
      status = exhausted ? 'breakdown' : 'stagnated';
      break;
    }
  }
  return finish(status, rNorm / bNorm);
}
