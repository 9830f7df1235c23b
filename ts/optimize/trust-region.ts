/**
 * The trust-region subproblem, solved exactly (More & Sorensen 1983; Conn, Gould & Toint 2000, algorithm 7.3.6):
 *
 *     minimise  m(s) = g^T s + 1/2 s^T H s   over  |s| <= radius
 *
 * s solves it if and only if for some lambda >= 0
 *
 *     (H + lambda I) s = -g,   H + lambda I positive semidefinite,   lambda (radius - |s|) = 0.
 *
 * The search for lambda. A factorization of H + lambda I gives its number of negative eigenvalues, which is the certificate:
 * no negative one means lambda >= -lambda_1, the leftmost eigenvalue. There 1/|s(lambda)| - 1/radius is nearly linear, and
 * Newton's method on it,
 *
 *     lambda := lambda + |s|^2 / (s^T (H + lambda I)^-1 s) * (|s| - radius) / radius,
 *
 * is safeguarded by an interval [low, high]: an indefinite factor or |s| > radius raises low, a definite one with |s| < radius
 * lowers high, and every Rayleigh quotient rho proves -lambda_1 >= -rho.
 *
 * The hard case. When g has (next to) no part along the leftmost eigenvector u, |s(lambda)| stays below the radius for every
 * lambda > -lambda_1. Then u comes from inverse iteration on the same factor, tau u fills s up to the boundary, and
 *
 *     tau^2 u^T (H + lambda I) u <= kappa (s^T (H + lambda I) s + lambda radius^2)
 *
 * proves that m(s + tau u) is within the fraction kappa of the least value (Conn, Gould & Toint 2000, lemma 7.3.5). At g = 0
 * the same rule gives a step of length radius along u: a saddle is left by its negative curvature.
 *
 * The first lambda comes from the subproblem in a Krylov subspace (Gould, Lucidi, Roma & Toint 1999), whose start mixes g with a
 * random vector so that the hard case cannot hide; products are cheap beside a factorization.
 */
import { checkFinite, checkInteger, checkNonNegative, checkPositive, checkVector, firstNonFinite } from '../checks.js';
import type { Linearization } from '../derivatives/index.js';
import { DeepHessianError } from '../errors.js';
import { factorShifted, type Factor, type FactorOptions } from '../inverse/factor.js';
import { SymmetricFactor } from '../linalg/symmetric-factor.js';
import { kernels } from '../native/index.js';
import { Random } from '../random.js';
import { KrylovSubspace } from './krylov-subspace.js';

/** What the solver asks of a symmetric matrix H: products, and factorizations of H + shift I for any shift. */
export interface ShiftedOperator {
  /** P */
  readonly size: number;
  /** out := H v */
  product(v: Float64Array, out: Float64Array): void;
  /** Factors H + shift I. Returns its number of negative eigenvalues, or null where it is singular to working precision. */
  factor(shift: number): number | null;
  /** out := (H + shift I)^-1 v with the shift factored last. */
  solve(v: Float64Array, out: Float64Array): void;
}

/** A dense symmetric matrix (n x n, both triangles), by Cholesky or Bunch-Kaufman. */
export class DenseShiftedOperator implements ShiftedOperator {
  private readonly held: SymmetricFactor;

  constructor(
    readonly size: number,
    private readonly matrix: Float64Array,
  ) {
    checkVector('DenseShiftedOperator', 'matrix', matrix, size * size);
    this.held = new SymmetricFactor(size);
  }

  product(v: Float64Array, out: Float64Array): void {
    kernels.symm(0, 0, this.size, 1, 1, this.matrix, 0, this.size, v, 0, this.size, 0, out, 0, this.size);
  }

  factor(shift: number): number | null {
    const { size: n, held, matrix } = this;
    held.matrix.set(matrix);
    for (let i = 0; i < n; i++) held.matrix[i * (n + 1)] += shift;
    return held.factor() && held.smallestPivot > 1e-16 * held.largestPivot ? held.negative : null;
  }

  solve(v: Float64Array, out: Float64Array): void {
    out.set(v);
    this.held.solve(out, 0, 1);
  }
}

/** The exact Hessian (or G) at a point of a network, through the block factor; memory is taken at the first factorization. */
export class PointShiftedOperator implements ShiftedOperator {
  readonly size: number;
  /** the factorization, null before the first one */
  held: Factor | null = null;

  /** @param options of {@link factorShifted}; `tolerance`, the relative residual of the solves, is 1e-8 by default */
  constructor(
    private readonly point: Linearization,
    private readonly options: Pick<FactorOptions, 'tolerance' | 'matrix' | 'precision' | 'device'> = {},
  ) {
    this.size = point.network.parameterCount;
  }

  product(v: Float64Array, out: Float64Array): void {
    if (this.options.matrix === 'gauss-newton') this.point.gaussNewtonProduct(v, out);
    else this.point.hessianProduct(v, out);
  }

  factor(shift: number): number | null {
    if (this.held === null)
      this.held = factorShifted(this.point, { tolerance: 1e-8, ...this.options, shift, onFailure: 'return' });
    else this.held.refactorShifted(shift);
    if (!this.held.isRegular) return null;
    try {
      const { negative, zero } = this.held.inertia;
      return zero > 0 ? null : negative;
    } catch (error) {
      if (error instanceof DeepHessianError && error.code === 'inertia-untrusted') return null;
      throw error;
    }
  }

  solve(v: Float64Array, out: Float64Array): void {
    out.set(this.held!.solve(v).x);
  }

  dispose(): void {
    this.held?.dispose();
    this.held = null;
  }
}

/** How a trust-region subproblem ended, by status. */
export const trustRegionStatuses = {
  interior:
    'The Newton step lies inside the region, with the least lambda allowed or one so small that duality proves it enough.',
  boundary: 'The step lies on the boundary and solves the shifted system.',
  'hard-case': 'A multiple of the leftmost eigenvector was added to reach the boundary.',
  limit: 'The limit of factorizations was met; the step is the best one found.',
} as const;
/** A key of {@link trustRegionStatuses}. */
export type TrustRegionStatus = keyof typeof trustRegionStatuses;

export interface TrustRegionOptions {
  /** accepted deviation of |s| from the radius, relative, default 0.1: a step need not lie exactly on the boundary */
  tolerance?: number;
  /** accepted loss of model decrease in the hard case, relative, default 0.05 */
  hardTolerance?: number;
  /** least lambda, >= 0, default 0: the Hessian counts as H + minimumShift I */
  minimumShift?: number;
  /** most factorizations of one solve, default 40 */
  maxFactorizations?: number;
  /** columns of the Krylov subspace, default 30 */
  krylovSteps?: number;
  /** seed of its random part, default 1 */
  seed?: number;
}

/** Solution of a trust-region subproblem: what is known of the step s and the curvature around it. */
export interface TrustRegionSolution {
  /** how the search ended */
  status: TrustRegionStatus;
  /** the multiplier, >= 0: (H + lambda I) s = -g */
  lambda: number;
  /** |s| */
  norm: number;
  /** decrease of the model, m(0) - m(s) >= 0, in units of the loss */
  predicted: number;
  /** factorizations made */
  factorizations: number;
  /** negative eigenvalues of H + minimumShift I, where that shift was factored; else null */
  index: number | null;
  /** upper bound of the leftmost eigenvalue of H: the least Rayleigh quotient met */
  leftmost: number;
}

/** Solver with work arrays for problems of one size. */
export class TrustRegionSolver {
  /** the solution s of the last {@link solve} */
  readonly step: Float64Array;
  private readonly options: Required<TrustRegionOptions>;
  private readonly krylov: KrylovSubspace;
  private readonly eigenvector: Float64Array;
  private readonly work: Float64Array;
  private readonly image: Float64Array;
  private readonly start: Float64Array;
  private readonly noise: Float64Array;
  private readonly along: Float64Array;
  private leftmost = Infinity;
  private norm = 0;
  private index: number | null = null;

  /** @throws TypeError or RangeError naming the option that is wrong */
  constructor(
    readonly size: number,
    options: TrustRegionOptions = {},
  ) {
    const operation = 'TrustRegionSolver';
    checkInteger(operation, 'size', size, 1);
    const { tolerance = 0.1, hardTolerance = 0.05, minimumShift = 0, maxFactorizations = 40, seed = 1 } = options;
    const krylovSteps = Math.min(size, options.krylovSteps ?? 30);
    checkPositive(operation, 'options.tolerance', tolerance);
    checkPositive(operation, 'options.hardTolerance', hardTolerance);
    checkNonNegative(operation, 'options.minimumShift', minimumShift);
    checkInteger(operation, 'options.maxFactorizations', maxFactorizations, 1);
    checkInteger(operation, 'options.krylovSteps', krylovSteps, 1);
    this.options = { tolerance, hardTolerance, minimumShift, maxFactorizations, krylovSteps, seed };
    this.krylov = new KrylovSubspace(size, krylovSteps);
    this.step = new Float64Array(size);
    this.eigenvector = new Float64Array(size);
    this.work = new Float64Array(size);
    this.image = new Float64Array(size);
    this.start = new Float64Array(size);
    this.along = new Float64Array(krylovSteps);
    this.noise = new Random(seed).normals(new Float64Array(size));
    const length = kernels.nrm2(size, this.noise, 0);
    for (let i = 0; i < size; i++) this.noise[i] /= length;
  }

  /** The approximate leftmost eigenvector: of length 1, refined by every factorization. */
  get leftmostVector(): Float64Array {
    return this.eigenvector;
  }

  /**
   * Looks at the curvature around (H, g): to be called once before the solves at a point, for any radius.
   * @returns whether the products with H are finite numbers; else there is nothing to solve
   */
  prepare(operator: ShiftedOperator, g: Float64Array): boolean {
    const { size: n, krylov, start, noise, eigenvector } = this;
    checkVector('TrustRegionSolver.prepare', 'g', g, n);
    const gNorm = kernels.nrm2(n, g, 0);
    const share = gNorm > 0 ? 0.3 : 1;
    for (let i = 0; i < n; i++) start[i] = (gNorm > 0 ? g[i] / gNorm : 0) + share * noise[i];
    krylov.build((v, out) => operator.product(v, out), start);
    krylov.ritzVector(0, eigenvector);
    this.leftmost = krylov.theta[0];
    this.index = null;
    return normalise(eigenvector) && firstNonFinite(krylov.theta.subarray(0, krylov.columns)) < 0;
  }

  /**
   * Leaves the minimiser over |s| <= radius in {@link step}. Call {@link prepare} first; after a rejected step the next solve at
   * the same point with a smaller radius goes on with all that is known.
   */
  solve(operator: ShiftedOperator, g: Float64Array, radius: number): TrustRegionSolution {
    checkPositive('TrustRegionSolver.solve', 'radius', radius);
    checkFinite('TrustRegionSolver.solve', 'leftmost (call prepare first)', this.leftmost);
    const { size: n, step: s, work, krylov } = this;
    const { tolerance, minimumShift: floor, maxFactorizations } = this.options;
    const gNorm = kernels.nrm2(n, g, 0);
    const top = krylov.columns - 1;
    const spread = Math.max(Math.abs(krylov.theta[0]), Math.abs(krylov.theta[top]), Number.MIN_VALUE);
    let low = Math.max(floor, -this.leftmost);
    let high = Infinity;
    let lambda = this.projectedMultiplier(g, radius);
    let raise = Math.max(1e-4 * spread, 1e-12 * (gNorm / radius), 1e-300);
    let floorTried = false;
    let usable = false;
    let factorizations = 0;
    // Under a Ritz value without its error bar the first factor would be indefinite: add part of the bar.
    if (this.leftmost < 0) lambda = Math.max(lambda, low + 0.5 * Math.min(krylov.residual(0), 0.1 * spread));
    const between = (): number => {
      if (high === Infinity) {
        const next = Math.max(low, lambda) + raise;
        raise *= 8;
        return next;
      }
      return Math.max(Math.sqrt(low * high), low + 0.01 * (high - low));
    };
    while (factorizations < maxFactorizations) {
      lambda = Math.max(lambda, floor);
      const negative = operator.factor(lambda);
      factorizations++;
      if (lambda === floor) {
        floorTried = true;
        if (negative !== null) this.index = negative;
      }
      if (negative !== 0) {
        low = Math.max(low, lambda);
        if (negative !== null) {
          this.improveEigenvector(operator, 2);
          low = Math.max(low, -this.leftmost);
        }
        lambda = between();
        continue;
      }
      operator.solve(g, s);
      for (let i = 0; i < n; i++) s[i] = -s[i];
      this.norm = kernels.nrm2(n, s, 0);
      if (!Number.isFinite(this.norm)) {
        low = Math.max(low, lambda);
        lambda = between();
        continue;
      }
      if (lambda === floor && this.norm <= radius * (1 + tolerance)) {
        return this.finish('interior', operator, g, lambda, factorizations);
      }
      if (Math.abs(this.norm - radius) <= tolerance * radius) {
        return this.finish('boundary', operator, g, lambda, factorizations);
      }
      usable = true;
      const inside = this.norm < radius;
      if (inside) {
        high = lambda;
        if (this.nearlyOptimal(g, lambda, radius)) return this.finish('interior', operator, g, lambda, factorizations);
        // Where H seems definite the hard case is out of question, and low = floor already.
        if (low > floor || this.leftmost < 0 || gNorm === 0) {
          this.improveEigenvector(operator, 2);
          low = Math.max(low, -this.leftmost);
          if (this.fillUp(g, lambda, radius)) return this.finish('hard-case', operator, g, lambda, factorizations);
        }
      } else low = Math.max(low, lambda);
      let next = floor;
      if (gNorm > 0) {
        operator.solve(s, work);
        const slope = kernels.dot(n, s, 0, work, 0);
        next = lambda + ((this.norm * this.norm) / slope) * ((this.norm - radius) / radius);
      }
      if (inside && next <= floor && low <= floor && !floorTried) lambda = floor;
      else if (next > low && next < high && Number.isFinite(next)) lambda = next;
      else lambda = between();
    }
    return this.limit(operator, g, lambda, usable, radius, factorizations);
  }

  /** The best that can be said when the limit is met: the last definite factor, its step cut to the region. */
  private limit(
    operator: ShiftedOperator,
    g: Float64Array,
    lambda: number,
    usable: boolean,
    radius: number,
    factorizations: number,
  ): TrustRegionSolution {
    const { size: n, step: s } = this;
    // Without a definite factor: the steepest descent direction, which the gain ratio then judges.
    if (!usable) for (let i = 0; i < n; i++) s[i] = -g[i];
    this.norm = kernels.nrm2(n, s, 0);
    if (this.norm > radius || !usable) {
      const shrink = this.norm > 0 ? radius / this.norm : 0;
      for (let i = 0; i < n; i++) s[i] *= shrink;
      this.norm *= shrink;
    }
    return this.finish('limit', operator, g, lambda, factorizations);
  }

  /** m(0) - m(s) from a product, and the report. */
  private finish(
    status: TrustRegionStatus,
    operator: ShiftedOperator,
    g: Float64Array,
    lambda: number,
    factorizations: number,
  ): TrustRegionSolution {
    const { size: n, step: s, image } = this;
    operator.product(s, image);
    const predicted = -kernels.dot(n, g, 0, s, 0) - 0.5 * kernels.dot(n, s, 0, image, 0);
    return { status, lambda, norm: this.norm, predicted, factorizations, index: this.index, leftmost: this.leftmost };
  }

  /** Inverse iteration on the present factor from the eigenvector known so far; keeps the better Rayleigh quotient. */
  private improveEigenvector(operator: ShiftedOperator, iterations: number): void {
    const { size: n, eigenvector: u, work, image } = this;
    for (let k = 0; k < iterations; k++) {
      operator.solve(u, work);
      if (!normalise(work)) return;
      operator.product(work, image);
      const rho = kernels.dot(n, work, 0, image, 0);
      // An indefinite factor may pull towards another eigenvalue: only a lower quotient is progress.
      if (!(rho <= this.leftmost + 1e-15 * Math.abs(this.leftmost))) return;
      this.leftmost = Math.min(rho, this.leftmost);
      u.set(work);
    }
  }

  /**
   * Weak duality: for a definite H + lambda I no step in the region goes below -1/2 (s^T (H + lambda I) s + lambda radius^2), and
   * m(s) lies 1/2 lambda (radius^2 - |s|^2) above that. Where this is little, s needs neither a smaller lambda nor to reach the
   * boundary: a flat or singular H must not send the step along its null space.
   */
  private nearlyOptimal(g: Float64Array, lambda: number, radius: number): boolean {
    const quadratic = -kernels.dot(this.size, g, 0, this.step, 0);
    const bound = quadratic + lambda * radius * radius;
    return lambda * (radius * radius - this.norm * this.norm) <= this.options.hardTolerance * bound;
  }

  /** Adds tau u to s so that |s| = radius; false (and s as it was) where that costs too much of the model's decrease. */
  private fillUp(g: Float64Array, lambda: number, radius: number): boolean {
    const { size: n, step: s, eigenvector: u } = this;
    const su = kernels.dot(n, s, 0, u, 0);
    const rest = radius * radius - this.norm * this.norm;
    // the root of smaller modulus of tau^2 + 2 su tau = rest, without cancellation
    const tau = (rest / (Math.abs(su) + Math.sqrt(su * su + rest))) * (su < 0 ? -1 : 1);
    const quotient = Math.max(this.leftmost + lambda, 0);
    const quadratic = -kernels.dot(n, g, 0, s, 0);
    if (tau * tau * quotient > this.options.hardTolerance * (quadratic + lambda * radius * radius)) return false;
    kernels.axpy(n, tau, u, 0, s, 0);
    this.norm = kernels.nrm2(n, s, 0);
    return true;
  }

  /** The multiplier of the subproblem in the Krylov subspace, by bisection on a diagonal matrix. */
  private projectedMultiplier(g: Float64Array, radius: number): number {
    const { krylov, along } = this;
    const { minimumShift: floor } = this.options;
    krylov.coordinates(g, along);
    const { columns: m, theta } = krylov;
    const length = (lambda: number): number => {
      let sum = 0;
      for (let i = 0; i < m; i++) {
        const part = along[i] / (theta[i] + lambda);
        sum += part * part;
      }
      return Math.sqrt(sum);
    };
    let low = Math.max(floor, -theta[0]);
    // a hair above the leftmost Ritz value, which for a singular H is zero up to rounding
    if (low > floor || theta[0] <= 0) low += 1e-13 * Math.max(Math.abs(theta[0]), Math.abs(theta[m - 1]), 1e-300);
    if (length(low) <= radius) {
      // Any lambda whose duality gap is small serves as well as the least one, and factors more accurately. It falls with
      // |g|^2, so the convergence of Newton's method stays quadratic.
      let quadratic = 0;
      for (let i = 0; i < m; i++) quadratic += (along[i] * along[i]) / (theta[i] + low);
      return Math.max(low, (0.5 * this.options.hardTolerance * quadratic) / (radius * radius));
    }
    let high = low + kernels.nrm2(m, along, 0) / radius;
    for (let k = 0; k < 60 && high - low > 1e-3 * (high + theta[0]); k++) {
      const middle = 0.5 * (low + high);
      if (length(middle) > radius) low = middle;
      else high = middle;
    }
    return high;
  }
}

function normalise(v: Float64Array): boolean {
  const length = kernels.nrm2(v.length, v, 0);
  if (!(length > 0) || !Number.isFinite(length)) return false;
  for (let i = 0; i < v.length; i++) v[i] /= length;
  return true;
}
