/**
 * Factor once, solve many: exact (M + eps I)^-1 for M = H or G at one point of a network.
 *
 * Every solve is refined on the exact matrix-vector product (Pearlmutter 1994) and reports its true residual:
 * block elimination without pivoting between blocks loses digits when M + eps I is indefinite and eps small, and
 * iterative refinement wins them back (Skeel 1980). Where refinement stalls, GMRES preconditioned by the factor
 * takes over, then a dense factor if it fits; what still misses the tolerance is said, never hidden.
 */
import {
  checkFinite,
  checkInteger,
  checkKeys,
  checkObject,
  checkOneOf,
  checkPositive,
  firstNonFinite,
  failRange,
  failType,
  checkAllFinite,
} from '../checks.js';
import { deviceNames, type DeviceKernels, type DeviceName } from '../device/index.js';
import { DeepHessianError } from '../errors.js';
import type { Linearization } from '../derivatives/index.js';
import { gmres } from '../linalg/gmres.js';
import { fromFunction } from '../linalg/linear-operator.js';
import type { Inertia } from '../linalg/symmetric-factor.js';
import { kernels } from '../native/index.js';
import { Random } from '../random.js';
import { ChainFactor } from './chain.js';
import { chooseMethod, estimateCosts, type CostEstimate, type Method } from './cost.js';
import { DenseFactor } from './dense.js';
import { deviceRoute } from './device-route.js';
import { JacobianRows } from './jacobian-rows.js';
import { availableMemory, requireMemory } from './memory.js';
import type { MatrixKind, RawFactor } from './raw-factor.js';
import { SampleSpaceFactor } from './sample-space.js';
import { solveStatuses, type ManySolution, type Solution, type SolveRoute, type SolveStatus } from './status.js';

/** Options of {@link factor}. */
export interface FactorOptions {
  /** 'hessian' (default): the exact Hessian H. 'gauss-newton': G = J^T Q J, positive semidefinite. */
  matrix?: MatrixKind;
  /** eps > 0 in (M + eps I) x = g; L2 of the network is part of M and comes on top. */
  damping: number;
  /** Route, default 'auto': the cheapest by the cost model that fits the memory. */
  method?: Method | 'auto';
  /** 'float64' (default) or 'mixed': factor in float32, refine in float64 to the same tolerance. */
  precision?: 'float64' | 'mixed';
  /** Relative residual that every solve must reach, default 1e-10. */
  tolerance?: number;
  /** Most refinement steps before the fallbacks, default 10. */
  maxRefinements?: number;
  /** When the tolerance is missed: 'throw' (default; the error carries the solution) or 'return' it with its status. */
  onFailure?: 'throw' | 'return';
  /** Bytes that the factor may take, default what the process has available. */
  memoryLimit?: number;
  /**
   * Where the factorization is done, default 'cpu'. 'cuda': on an NVIDIA card; without one a DeepHessianError
   * 'device-unavailable'. 'auto': on a card where that is modelled to be faster, else on the CPU; {@link Factor.reason} says
   * which and why. Or an open device.
   */
  device?: DeviceName | DeviceKernels;
}

const optionNames = [
  'matrix',
  'damping',
  'method',
  'precision',
  'tolerance',
  'maxRefinements',
  'onFailure',
  'memoryLimit',
  'device',
];
const matrixKinds: readonly MatrixKind[] = ['hessian', 'gauss-newton'];
const methodNames: readonly (Method | 'auto')[] = ['auto', 'block', 'affine', 'sample-space', 'dense'];

/** Largest order for which the dense route serves as a last resort inside a solve. */
const denseFallbackOrder = 3000;
/** Perturbation of a factor from which a dense one gives the log-determinant. */
const logPerturbation = 1e-6;

/** A factorization of M + eps I at one point. Made by {@link factor}. */
export class Factor {
  /** The point factored at. */
  readonly point: Linearization;
  /** The matrix M: 'hessian' or 'gauss-newton'. */
  readonly matrix: MatrixKind;
  /** the route taken: 'block', 'affine', 'sample-space' or 'dense' */
  readonly method: Method;
  /** where the factorization was done */
  readonly device: 'cpu' | 'cuda';
  /** why this route: modelled time and memory, and those of the others */
  readonly reason: string;
  /** Modelled cost of the route. */
  readonly estimate: CostEstimate;
  /** Relative residual that every solve must reach. */
  readonly tolerance: number;
  /** Of the factor; solutions are refined in float64 either way. */
  readonly precision: 'float64' | 'mixed';

  private readonly raw: RawFactor;
  private readonly options: { maxRefinements: number; onFailure: 'throw' | 'return'; memoryLimit: number };
  private eps = 0;
  private regular = true;
  private overflowed = false;
  private disposed = false;
  private trust: ReturnType<Factor['certify']> | null = null;
  private fallback: DenseFactor | null = null;
  private readonly residualVector: Float64Array;
  private readonly correction: Float64Array;
  private readonly product: Float64Array;

  /** @internal use {@link factor} */
  constructor(point: Linearization, options: FactorOptions, shifted: boolean) {
    const { matrix = 'hessian', method = 'auto', precision = 'float64', tolerance = 1e-10 } = options;
    this.point = point;
    this.matrix = matrix;
    this.tolerance = tolerance;
    this.precision = precision;
    const memoryLimit = options.memoryLimit ?? availableMemory();
    this.options = {
      maxRefinements: options.maxRefinements ?? 10,
      onFailure: options.onFailure ?? 'throw',
      memoryLimit,
    };
    const { network, samples } = point;
    // Where the derivatives have overflowed, a singular pivot would be no explanation.
    const overflow = firstNonFinite(point.gradient);
    if (overflow >= 0) {
      const message = `factor: the loss at the point is ${point.loss} and its gradient not finite (entry ${overflow})`;
      throw new DeepHessianError('diverged', message, { loss: point.loss });
    }
    if (method === 'auto') {
      // A shift of either sign rules out the sample-space form, which rests on M + eps I > 0.
      const choice = chooseMethod(network, samples, matrix, memoryLimit, shifted ? ['sample-space'] : []);
      this.estimate = choice.estimate;
      this.reason = choice.reason;
    } else {
      this.estimate = estimateCosts(network, samples, matrix).find((e) => e.method === method)!;
      this.reason = `${method}: asked for`;
      if (this.estimate.unavailable !== null) {
        throw new DeepHessianError(
          'unsupported',
          `factor: method '${method}' cannot serve this network: ${this.estimate.unavailable}`,
          { method },
        );
      }
    }
    const single = precision === 'mixed';
    const { device } = options;
    const route =
      device === undefined || device === 'cpu'
        ? null
        : deviceRoute('factor', point, { matrix, method, device, single, shifted }, this.estimate);
    if (route !== null && route.raw !== null) {
      this.raw = route.raw;
      this.device = route.device.kind;
      this.estimate = route.estimate;
      this.reason = route.reason;
      this.method = route.estimate.method;
    } else {
      this.device = 'cpu';
      if (route !== null) this.reason += `; on the CPU: ${route.reason}`;
      this.method = this.estimate.method;
      requireMemory(
        'factor',
        this.estimate.bytes,
        memoryLimit,
        'use fewer samples, a narrower network or another method',
      );
      if (this.method === 'dense') this.raw = new DenseFactor(point, matrix, single);
      else if (this.method === 'sample-space') {
        const raw = new SampleSpaceFactor(network, samples, undefined, single);
        raw.assemble(point);
        this.raw = raw;
      } else this.raw = new ChainFactor(point, matrix, this.method === 'block', single);
    }
    const P = network.parameterCount;
    this.residualVector = new Float64Array(P);
    this.correction = new Float64Array(P);
    this.product = new Float64Array(P);
    try {
      this.run(options.damping);
    } catch (error) {
      // A device's memory is not collected.
      this.raw.dispose();
      throw error;
    }
  }

  /** eps of the present factorization. */
  get damping(): number {
    return this.eps;
  }

  /** Bytes held by the factor and its workspaces. */
  get bytes(): number {
    return this.raw.bytes + 24 * this.point.network.parameterCount + (this.fallback?.bytes ?? 0);
  }

  /**
   * Factors again with another eps, reusing all that does not depend on it (derivatives, bases, Gram and
   * Jacobian products, workspaces).
   * @param damping eps > 0
   */
  refactor(damping: number): this {
    this.live('refactor');
    checkPositive('refactor', 'damping', damping);
    return this.run(damping);
  }

  /** @internal any finite shift, for spectrum slicing */
  refactorShifted(shift: number): this {
    this.live('refactor');
    return this.run(shift);
  }

  private run(damping: number): this {
    this.eps = damping;
    this.trust = null;
    this.fallback = null;
    this.regular = this.raw.factor(damping);
    // A zero pivot makes the logarithm -Infinity; Infinity and NaN come from pivots that are no numbers.
    const { logAbsDet } = this.raw.totals;
    this.overflowed = Number.isNaN(logAbsDet) || logAbsDet === Infinity;
    return this;
  }

  /** Whether every pivot block was regular. An irregular factor still solves through its fallbacks. */
  get isRegular(): boolean {
    return this.regular;
  }

  /**
   * Numbers of positive, negative and zero eigenvalues of M + eps I, exact by Haynsworth additivity.
   * @throws DeepHessianError 'inertia-untrusted' when rounding in the factor is too large for the signs to be certain
   */
  get inertia(): Inertia {
    this.live('inertia');
    const trust = this.certify();
    if (!trust.trusted) {
      const dense = this.denseFallback();
      if (dense === null || !denseTrusted(dense)) {
        throw new DeepHessianError('inertia-untrusted', `inertia: ${trust.reason}`, {
          damping: this.eps,
          pivotRatio: this.raw.totals.pivotRatio,
        });
      }
      const { positive, negative, zero } = dense.totals;
      return { positive, negative, zero };
    }
    const { positive, negative, zero } = this.raw.totals;
    return { positive, negative, zero };
  }

  /**
   * log|det(M + eps I)|. Its error is a small multiple of the perturbation that {@link certify} names, which grows as eps falls
   * below |M|. Above 1e-6 (float64) a dense factor decides where it fits, up to 3,000 parameters.
   *
   * @throws as {@link inertia}
   */
  get logAbsDet(): number {
    this.live('logAbsDet');
    const { trusted, reason, perturbation } = this.certify();
    if (trusted && (perturbation < logPerturbation || this.precision === 'mixed')) return this.raw.totals.logAbsDet;
    const dense = this.denseFallback();
    if (dense !== null && denseTrusted(dense)) return dense.totals.logAbsDet;
    if (!trusted) throw new DeepHessianError('inertia-untrusted', `logAbsDet: ${reason}`, { damping: this.eps });
    return this.raw.totals.logAbsDet;
  }

  /**
   * Whether the signs of this factor's pivots can be trusted, and why (not): `nearest` is the eigenvalue found nearest to zero,
   * `perturbation` the rounding in the factor relative to it. Signs are trusted below 0.1.
   */
  certify(): { trusted: boolean; reason: string; nearest: number; perturbation: number } {
    this.live('certify');
    if (this.trust !== null) return this.trust;
    if (!this.regular || this.overflowed) {
      return (this.trust = {
        trusted: false,
        reason: this.overflowed ? solveStatuses.overflow : 'a pivot block is exactly singular',
        nearest: 0,
        perturbation: Infinity,
      });
    }
    // The computed factor is that of M + eps I + E. Its pivot signs are those of M + eps I if |E| is below the
    // eigenvalue nearest to zero. Inverse iteration on the factor finds that eigenvector v, and the residual of
    // its unrefined solve, |(M + eps I) w - v| / |v| = |E w| / |v|, measures |E v| against |lambda|.
    const P = this.point.network.parameterCount;
    const v = this.residualVector;
    const w = this.correction;
    const random = new Random(0x5eed);
    random.normals(v);
    let norm = kernels.nrm2(P, v, 0);
    for (let i = 0; i < P; i++) v[i] /= norm;
    let ratio = 0;
    let nearest = 0;
    for (let k = 0; k < 4; k++) {
      this.applyFactor(v, w, 1);
      // A shift of exactly zero leaves a layer's unused directions without any pivot: the solve divides by it.
      if (!Number.isFinite(kernels.nrm2(P, w, 0))) {
        ratio = Infinity;
        break;
      }
      this.apply(w, this.product);
      let difference = 0;
      let along = 0;
      for (let i = 0; i < P; i++) {
        difference += (this.product[i] - v[i]) ** 2;
        along += w[i] * this.product[i];
      }
      norm = kernels.nrm2(P, w, 0);
      ratio = Math.max(ratio, Math.sqrt(difference));
      nearest = along / (norm * norm);
      if (!(norm > 0) || !Number.isFinite(norm) || !Number.isFinite(ratio)) break;
      for (let i = 0; i < P; i++) v[i] = w[i] / norm;
    }
    const trusted = ratio < 0.1;
    const reason = trusted
      ? `rounding in the factor is ${ratio.toExponential(1)} of the eigenvalue nearest to zero`
      : `rounding in the factor is ${ratio.toExponential(1)} of the eigenvalue nearest to zero (about ${nearest.toExponential(1)}), so the signs of the pivots are not certain`;
    return (this.trust = { trusted, reason, nearest, perturbation: ratio });
  }

  /** out := (M + eps I) x by the exact product. */
  apply(x: Float64Array, out: Float64Array): void {
    if (this.matrix === 'hessian') this.point.hessianProduct(x, out);
    else this.point.gaussNewtonProduct(x, out);
    if (this.eps !== 0) kernels.axpy(x.length, this.eps, x, 0, out, 0);
  }

  /**
   * x = (M + eps I)^-1 rhs.
   *
   * @param rhs P finite numbers
   * @returns x with its true relative residual, the refinements spent and a status
   * @throws DeepHessianError 'tolerance-missed' with `details.solution` when the tolerance is missed (see `onFailure`)
   */
  solve(rhs: Float64Array): Solution {
    this.live('solve');
    const P = this.point.network.parameterCount;
    if (!(rhs instanceof Float64Array)) failType('solve', 'rhs', `a Float64Array of length ${P}`, rhs);
    if (rhs.length !== P) failRange('solve', 'rhs', `a Float64Array of length ${P}`, rhs);
    checkAllFinite('solve', 'rhs', rhs);
    const x = new Float64Array(P);
    if (this.regular) this.applyFactor(rhs, x, 1);
    return this.finish(this.refine(rhs, x));
  }

  /**
   * Many right-hand sides at once: `rhs` holds m columns of P numbers. The factor is passed once over all of them.
   * @returns as {@link solve}; `residual` is the largest of the columns
   */
  solveMany(rhs: Float64Array, columns: number): ManySolution {
    this.live('solveMany');
    const P = this.point.network.parameterCount;
    checkInteger('solveMany', 'columns', columns, 1);
    if (!(rhs instanceof Float64Array)) failType('solveMany', 'rhs', `a Float64Array of length ${P * columns}`, rhs);
    if (rhs.length !== P * columns) failRange('solveMany', 'rhs', `a Float64Array of length ${P * columns}`, rhs);
    checkAllFinite('solveMany', 'rhs', rhs);
    const x = new Float64Array(P * columns);
    if (this.regular) this.applyFactor(rhs, x, columns);
    const residuals = new Float64Array(columns);
    let refinements = 0;
    let status: SolveStatus = 'converged';
    let route: SolveRoute = 'refinement';
    for (let c = 0; c < columns; c++) {
      const column = this.refine(rhs.subarray(c * P, (c + 1) * P), x.subarray(c * P, (c + 1) * P));
      residuals[c] = column.residual;
      refinements += column.refinements;
      if (column.status !== 'converged') status = column.status;
      if (column.route !== 'refinement') route = column.route;
    }
    return this.finish({
      x,
      residual: residuals.reduce((a, b) => Math.max(a, b), 0),
      residuals,
      refinements,
      status,
      route,
    });
  }

  /**
   * j^T (M + eps I)^-1 j for the rows j = J_n^T u of another point's Jacobian: every sample n and direction u, at u N + n. Without solves of
   * length P: for blocks of rows hundreds of times faster. NaN where that loses digits; null where the route has no such form.
   *
   * @param directions of the outputs, K x any number, column-major
   * @internal
   */
  quadraticForms(at: Linearization, directions: Float64Array): Float64Array | null {
    this.live('quadraticForms');
    const { raw, regular, precision } = this;
    if (!(raw instanceof SampleSpaceFactor) || !regular || precision !== 'float64') return null;
    const K = at.network.outputs;
    const rows = new JacobianRows(at.network, at.samples, directions.length / K);
    for (let k = 0, o = rows.last; k < K; k++) {
      for (let u = k; u < directions.length; u += K, o += at.samples) rows.d.fill(directions[u], o, o + at.samples);
    }
    rows.backpropagate(at);
    return raw.quadraticForms(rows);
  }

  /**
   * x (P x columns) := the factor's solution, unrefined. A factor in float32 is given right-hand sides of unit size, so that
   * neither tiny nor huge residuals leave its range.
   */
  private applyFactor(b: Float64Array, x: Float64Array, columns: number): void {
    if (this.precision === 'float64') {
      this.raw.solve(b, x, columns);
      return;
    }
    const P = this.point.network.parameterCount;
    const scaled = b.slice();
    const sizes = new Float64Array(columns);
    for (let c = 0, o = 0; c < columns; c++) {
      let size = 0;
      for (let i = c * P; i < (c + 1) * P; i++) size = Math.max(size, Math.abs(b[i]));
      sizes[c] = size;
      if (size > 0) for (; o < (c + 1) * P; o++) scaled[o] /= size;
      else o += P;
    }
    this.raw.solve(scaled, x, columns);
    for (let c = 0, o = 0; c < columns; c++) for (; o < (c + 1) * P; o++) x[o] *= sizes[c];
  }

  private finish<T extends Solution | ManySolution>(solution: T): T {
    if (solution.status !== 'converged' && this.options.onFailure === 'throw') {
      const advice = solution.status === 'overflow' ? 'Bring inputs and targets to unit size' : 'Use a larger damping';
      throw new DeepHessianError(
        'tolerance-missed',
        `solve: relative residual ${solution.residual.toExponential(2)} above the tolerance ${this.tolerance.toExponential(1)} ` +
          `at damping ${this.eps}; ${solveStatuses[solution.status]} ${advice}, or onFailure: 'return'.`,
        { solution, residual: solution.residual, tolerance: this.tolerance, damping: this.eps },
      );
    }
    return solution;
  }

  /** Improves x in place until the residual meets the tolerance; see the head of this file. */
  private refine(g: Float64Array, x: Float64Array): Solution {
    const P = g.length;
    const norm = kernels.nrm2(P, g, 0);
    if (norm === 0) {
      x.fill(0);
      return { x, residual: 0, refinements: 0, status: 'converged', route: 'refinement' };
    }
    const r = this.residualVector;
    const best = this.correction;
    let residual = this.regular ? this.residual(g, x, r) / norm : Infinity;
    let refinements = 0;
    while (residual > this.tolerance && refinements < this.options.maxRefinements && Number.isFinite(residual)) {
      this.applyFactor(r, best, 1);
      if (firstNonFinite(best) >= 0) break;
      kernels.axpy(P, 1, best, 0, x, 0);
      refinements++;
      const next = this.residual(g, x, r) / norm;
      if (!(next < residual)) {
        // worse: take the step back
        kernels.axpy(P, -1, best, 0, x, 0);
        this.residual(g, x, r);
        break;
      }
      const slow = next > 0.5 * residual;
      residual = next;
      if (slow) break;
    }
    if (residual <= this.tolerance) return { x, residual, refinements, status: 'converged', route: 'refinement' };
    return this.rescue(g, x, norm, residual, refinements);
  }

  /** GMRES around the factor, then a dense factor where it fits. */
  private rescue(g: Float64Array, x: Float64Array, norm: number, residual: number, refinements: number): Solution {
    const P = g.length;
    const r = this.residualVector;
    let route: SolveRoute = 'refinement';
    if (!Number.isFinite(residual)) {
      x.fill(0);
      residual = 1;
    }
    if (this.regular && !this.overflowed) {
      const operator = fromFunction(P, (v, out) => this.apply(v, out), { symmetric: true, definiteness: 'unknown' });
      const rest = new Float64Array(P);
      this.residual(g, x, rest);
      const krylov = gmres(operator, rest, {
        tolerance: (0.5 * this.tolerance) / residual,
        maxIterations: Math.min(60, 2 * P),
        restart: 30,
        // A factor that overflows on some vector is no preconditioner there: the vector itself stands in.
        preconditioner: fromFunction(
          P,
          (v, out) => {
            this.applyFactor(v, out, 1);
            if (!Number.isFinite(kernels.nrm2(P, out, 0))) out.set(v);
          },
          { symmetric: true, definiteness: 'unknown' },
        ),
      });
      refinements += krylov.iterations;
      kernels.axpy(P, 1, krylov.x, 0, x, 0);
      const next = this.residual(g, x, r) / norm;
      if (next < residual) {
        residual = next;
        route = 'krylov';
      } else kernels.axpy(P, -1, krylov.x, 0, x, 0);
      if (residual <= this.tolerance) return { x, residual, refinements, status: 'converged', route };
    }
    const dense = this.denseFallback();
    if (dense !== null && dense.totals.zero === 0) {
      const trial = new Float64Array(P);
      dense.solve(g, trial, 1);
      let next = this.residual(g, trial, r) / norm;
      for (let k = 0; k < 3 && next > this.tolerance && Number.isFinite(next); k++) {
        dense.solve(r, this.correction, 1);
        kernels.axpy(P, 1, this.correction, 0, trial, 0);
        refinements++;
        next = this.residual(g, trial, r) / norm;
      }
      if (next < residual) {
        x.set(trial);
        residual = next;
        route = 'dense';
      }
    }
    let status: SolveStatus = this.regular ? 'stalled' : 'singular';
    if (residual <= this.tolerance) status = 'converged';
    else if (this.overflowed) status = 'overflow';
    return { x, residual, refinements, status, route };
  }

  private denseFallback(): DenseFactor | null {
    if (this.fallback !== null) return this.fallback;
    const P = this.point.network.parameterCount;
    if (
      P > denseFallbackOrder ||
      (this.method === 'dense' && this.precision === 'float64') ||
      20 * P * P > this.options.memoryLimit
    )
      return null;
    const dense = new DenseFactor(this.point, this.matrix, false);
    dense.factor(this.eps);
    return (this.fallback = dense);
  }

  /** r := g - (M + eps I) x; returns |r|. */
  private residual(g: Float64Array, x: Float64Array, r: Float64Array): number {
    // A factor that overflowed leaves x without a number to judge: the fallbacks take over.
    if (firstNonFinite(x) >= 0) return Infinity;
    this.apply(x, r);
    for (let i = 0; i < r.length; i++) r[i] = g[i] - r[i];
    return kernels.nrm2(r.length, r, 0);
  }

  /** Frees the factor's memory; later calls throw. */
  dispose(): void {
    this.disposed = true;
    this.raw.dispose();
    this.fallback = null;
  }

  private live(operation: string): void {
    if (this.disposed) throw new DeepHessianError('unsupported', `${operation}: the factor has been disposed`);
  }
}

/** A dense Bunch-Kaufman factor is backward stable: its signs hold while no pivot drowns in rounding. */
function denseTrusted(dense: DenseFactor): boolean {
  return dense.totals.zero === 0 && dense.totals.pivotRatio < 1e14;
}

/** Of whichever copy of the library: what counts is that it has the products. */
export function checkLinearized(operation: string, point: unknown): asserts point is Linearization {
  if (typeof point !== 'object' || point === null || typeof (point as Linearization).hessianProduct !== 'function') {
    failType(operation, 'point', 'a Linearization (from network.linearize)', point);
  }
}

function checkOptions(operation: string, point: unknown, options: unknown): asserts options is FactorOptions {
  checkLinearized(operation, point);
  checkObject(operation, 'options', options);
  checkKeys(operation, 'options', options, optionNames);
  if (options.matrix !== undefined) checkOneOf(operation, 'matrix', options.matrix, matrixKinds);
  if (options.method !== undefined) checkOneOf(operation, 'method', options.method, methodNames);
  if (options.precision !== undefined)
    checkOneOf(operation, 'precision', options.precision, ['float64', 'mixed'] as const);
  if (options.tolerance !== undefined) checkPositive(operation, 'tolerance', options.tolerance);
  if (options.maxRefinements !== undefined) checkInteger(operation, 'maxRefinements', options.maxRefinements, 0, 1000);
  if (options.onFailure !== undefined)
    checkOneOf(operation, 'onFailure', options.onFailure, ['throw', 'return'] as const);
  if (options.memoryLimit !== undefined) checkPositive(operation, 'memoryLimit', options.memoryLimit);
  if (options.device !== undefined && typeof options.device !== 'object') {
    checkOneOf(operation, 'device', options.device, deviceNames);
  }
}

/**
 * Factors M + eps I at a point of a network, for M the exact Hessian or the Gauss-Newton matrix, in time and memory
 * linear in depth.
 *
 * @param point from `network.linearize(params, batch)`
 * @param options `damping` (eps > 0) is required; see {@link FactorOptions}
 * @throws TypeError, RangeError for misuse; DeepHessianError 'out-of-memory' with the figures before anything is allocated,
 *   'diverged' at a point whose gradient is not finite
 *
 * @example
 * const f = factor(point, { matrix: 'hessian', damping: 0.1 });
 * const { x, residual, status } = f.solve(point.gradient);
 * f.inertia; f.logAbsDet; f.method; f.reason;
 * f.dispose();
 */
export function factor(point: Linearization, options: FactorOptions): Factor {
  checkOptions('factor', point, options);
  checkPositive('factor', 'damping', options.damping);
  return new Factor(point, options, false);
}

/**
 * As {@link factor} with any finite shift, also negative or zero: M + shift I. For counting eigenvalues.
 * @internal
 */
export function factorShifted(
  point: Linearization,
  options: Omit<FactorOptions, 'damping'> & { shift: number },
): Factor {
  const { shift, ...rest } = options;
  checkFinite('factorShifted', 'shift', shift);
  checkOptions('factorShifted', point, { ...rest, damping: 1 });
  return new Factor(point, { ...rest, damping: shift }, true);
}

/** Modelled flops, seconds and bytes of every route, before anything is allocated. */
export function estimateFactor(
  point: { network: Linearization['network']; samples: number },
  matrix: MatrixKind = 'hessian',
): CostEstimate[] {
  return estimateCosts(point.network, point.samples, matrix);
}
