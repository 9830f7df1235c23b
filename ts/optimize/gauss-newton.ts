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
 * judges the step (Levenberg 1944; Marquardt 1963; More 1978). Two ways to control eps:
 *
 *   'search', the default of the cross-entropies: derivatives and Gram products do not depend on eps, so a further trial costs one Cholesky and
 *       one loss. eps walks by a constant factor, first down, else up, while the loss of the trial keeps falling, and the
 *       best trial is taken. On a 30 x 16 network this needs a seventh of the steps of the classical rule, at two to
 *       three trials a step. It minimises the batch's own loss greedily: for fixed and full batches.
 *
 *       Left to itself the walk up always finds an eps that lowers the loss, and on a plateau of a saturated network that is
 *       the way into a gorge: eps at 1e4, steps of 1e-4, for good. So the walk stops at the ceiling eps = loss / 2 and
 *       takes that step although the loss rises, as long as it rises by less than 30 % (`uphill`): like gradient descent at
 *       the edge of stability the iterates then leave regions too sharp for such steps (Lewkowycz et al. 2020; Cohen et
 *       al. 2021). The ceiling follows the loss because G does: its Q is p (1 - p). With squared errors the same choice is
 *       that of Yamashita & Fukushima (2001). Descent comes back where wandering does not pay: every 20 steps without a new
 *       least loss halve the allowance, so that the sequence converges as a monotone one does. A run that ends on the way up goes
 *       back to the parameters of the least loss (`settle`).
 *   'gain-ratio', the default of the squared error: one trial; accepted when rho > accept; eps falls at rho > 0.75,
 *       doubles at rho < 0.25, times four on a rejection. With geodesic acceleration. On least squares the search is too
 *       greedy: it runs into narrow valleys (airfoil, 20 x 10, 20 s: 2e-4 where this rule reaches 1e-27). For stochastic
 *       batches too.
 *
 * A rejected step leaves the parameters untouched. Momentum in the damped solve, right-hand side grad + eps mu phi with
 * the previous step phi (Goldshlager et al. 2024), serves stochastic batches. Geodesic acceleration (Transtrum & Sethna
 * 2012) adds the second-order term -1/2 (G + eps I)^-1 J^T Q f''(x, x), f'' by a difference of the outputs along the step,
 * when that lowers the loss: it costs a back-substitution and two forward passes, and helps on plateaus of saturated units.
 *
 * Use it for full or fixed batches and fits to high precision. Not for streaming small batches: an exact solve on a
 * small batch overfits that batch; there use K-FAC, Adam, or batches of many more samples than outputs of the last layer.
 */
import {
  checkBoolean,
  checkInteger,
  checkNonNegative,
  checkObject,
  checkOneOf,
  checkPositive,
  failRange,
  firstNonFinite,
} from '../checks.js';
import type { Linearization, Network } from '../derivatives/index.js';
import type { DeviceKernels, DeviceName } from '../device/index.js';
import { kernels } from '../native/index.js';
import type { Batch } from '../network/index.js';
import { carry, FactorSolver, SampleSpaces, type DampedSolver } from './damped-solvers.js';
import { nextPoint } from './next-point.js';
import { checkBelow, checkDampingBounds, checkDevice, settingsOf } from './option-checks.js';
import {
  stateCount,
  stateNumber,
  stateVector,
  type Optimizer,
  type OptimizerState,
  type StepReport,
} from './optimizer.js';

export const dampingControls = ['search', 'gain-ratio'] as const;
export type DampingControl = (typeof dampingControls)[number];

/** Options of {@link createGaussNewton} (Levenberg 1944; Marquardt 1963). */
export interface GaussNewtonOptions {
  /** first eps > 0, default 1 */
  damping?: number;
  /** how eps is controlled, default 'gain-ratio' for the loss 'mse', else 'search'; see the head of the file */
  control?: DampingControl;
  /** 'search': ratio of neighbouring trial values of eps, default 10 */
  searchFactor?: number;
  /** 'search': the share of the loss by which a step may raise it, default 0.3; 0: none. See the head of the file */
  uphill?: number;
  /** eps is multiplied by this after a step with rho > 0.75, default 0.3 for the loss 'mse', else 0.5 */
  decrease?: number;
  /** and by this after one with rho < 0.25, default 2; a rejected step multiplies it by its square */
  increase?: number;
  /** a step is accepted when rho exceeds this, default 1e-3 */
  accept?: number;
  /** lower bound of eps, > 0, default 1e-20 */
  minimumDamping?: number;
  /** upper bound of eps, >= minimumDamping, default 1e10 */
  maximumDamping?: number;
  /** trials of one step, default 12 */
  maxTrials?: number;
  /** mu in [0, 1): momentum in the damped solve, default 0 */
  momentum?: number;
  /** geodesic acceleration, default true for the loss 'mse' with the control 'gain-ratio', else false */
  geodesic?: boolean;
  /** a batch whose step is modelled to take longer is refused with the numbers, default 60 */
  maxStepSeconds?: number;
  /** of the solves, default 'float64'; 'mixed': factored in single precision and refined in double, where single suffices */
  precision?: 'float64' | 'mixed';
  /**
   * where the solve is done, default 'cpu'; 'cuda': on an NVIDIA card, 'auto': there where it is modelled to be faster; or an
   * open device
   */
  device?: DeviceName | DeviceKernels;
}

type Settings = Required<GaussNewtonOptions>;

/** What the loss does not decide. */
const defaults: Omit<Settings, 'control' | 'decrease' | 'geodesic'> = {
  damping: 1,
  searchFactor: 10,
  uphill: 0.3,
  increase: 2,
  accept: 1e-3,
  minimumDamping: 1e-20,
  maximumDamping: 1e10,
  maxTrials: 12,
  momentum: 0,
  maxStepSeconds: 60,
  precision: 'float64',
  device: 'cpu',
};

/** The defaults under a loss and, where it is given, a control. */
function defaultsFor(leastSquares: boolean, given: DampingControl | undefined): Settings {
  const control = given ?? (leastSquares ? 'gain-ratio' : 'search');
  const geodesic = leastSquares && control === 'gain-ratio';
  return { ...defaults, control, decrease: leastSquares ? 0.3 : 0.5, geodesic };
}

/** 'search': after so many steps without a new least loss the allowance of uphill steps is halved, down to the least worth having. */
const patience = 20;
const leastUphill = 0.01;
/** 'search': a loss below this share of the least one so far is a new least loss. */
const improvement = 0.99;

class GaussNewton implements Optimizer {
  readonly name = 'gauss-newton';
  readonly releasesBatches = true;
  private eps: number;
  /** 'search': least loss so far, steps since then, and what a step may raise the loss by, as a share of it */
  private least = Number.MAX_VALUE;
  private since = 0;
  private uphill: number;
  /** 'search': least loss from which a step led uphill, and the parameters there */
  private left: { loss: number; params: Float64Array } | null = null;
  /** where the next step goes on after a run was settled */
  private onward: Float64Array | null = null;
  private readonly previous: Float64Array;
  private readonly step_: Float64Array;
  private trial: Float64Array;
  private best: Float64Array;
  private readonly second: Float64Array;
  private readonly product: Float64Array;
  private point: Linearization | null = null;
  /** null with custom layers, which take the block factor */
  private readonly spaces: SampleSpaces | null;

  constructor(
    private readonly network: Network,
    private readonly options: Settings,
  ) {
    const P = network.parameterCount;
    this.eps = options.damping;
    this.uphill = options.uphill;
    this.previous = new Float64Array(P);
    this.step_ = new Float64Array(P);
    this.trial = new Float64Array(P);
    this.best = new Float64Array(P);
    this.second = new Float64Array(options.geodesic ? P : 0);
    this.product = new Float64Array(P);
    const affine = network.layers.every((layer) => layer.kind === 'affine');
    this.spaces = affine ? new SampleSpaces(network, options) : null;
  }

  step(params: Float64Array, batch: Batch): StepReport {
    const { network } = this;
    if (this.onward !== null) params.set(this.onward);
    this.onward = null;
    const point = (this.point = this.spaces
      ? this.spaces.linearize(params, batch, this.point)
      : nextPoint(network, params, batch, this.point));
    if (!Number.isFinite(point.loss)) return { loss: point.loss, accepted: false, stepNorm: 0, damping: this.eps };
    const solver = this.spaces?.at(point) ?? new FactorSolver(point, this.options);
    try {
      return this.options.control === 'search'
        ? this.search(params, point, solver)
        : this.byGainRatio(params, point, solver);
    } finally {
      solver.dispose();
    }
  }

  /** One trial at `eps`: leaves params - x in `trial`. */
  private attempt(params: Float64Array, point: Linearization, solver: DampedSolver, eps: number): Trial {
    const { step_: x, trial, product, previous } = this;
    const P = params.length;
    // G + eps I that loses definiteness to rounding: eps is below what float64 resolves.
    if (!solver.factor(eps)) return { loss: Infinity, rho: -1 };
    solver.solve(x);
    const mu = this.options.momentum;
    // (G + eps I)^-1 (grad + eps mu phi) = x + mu (phi - (G + eps I)^-1 G phi), phi the previous (downhill) step
    if (mu > 0) carry(solver, point, previous, mu, x);
    // predicted decrease grad^T x - 1/2 x^T G x; an exact solve has G x = grad - eps x
    const along = kernels.dot(P, point.gradient, 0, x, 0);
    let curvature: number;
    if (mu > 0) {
      point.gaussNewtonProduct(x, product);
      curvature = kernels.dot(P, x, 0, product, 0);
    } else curvature = along - eps * kernels.dot(P, x, 0, x, 0);
    const predicted = along - 0.5 * curvature;
    trial.set(params);
    kernels.axpy(P, -1, x, 0, trial, 0);
    let loss = point.lossAt(trial);
    if (this.options.geodesic && Number.isFinite(loss)) loss = this.accelerate(params, point, solver, loss);
    return { loss, rho: predicted > 0 ? (point.loss - loss) / predicted : -1 };
  }

  /** Walks eps by a constant factor while the trial's loss falls; takes the best trial, or a bounded step uphill. */
  private search(params: Float64Array, point: Linearization, solver: DampedSolver): StepReport {
    const { options } = this;
    const { searchFactor: f, maxTrials, minimumDamping, maximumDamping } = options;
    const { loss } = point;
    const uphill = this.allowance(loss);
    const ceiling = uphill > 0 ? Math.min(maximumDamping, Math.max(minimumDamping, 0.5 * loss)) : maximumDamping;
    const begun = Math.min(this.eps, ceiling);
    let trials = 0;
    let eps = begun;
    let last: Trial = { loss, rho: -1 };
    let best = last;
    let bestEps = eps;
    const consider = (value: number): boolean => {
      trials++;
      last = this.attempt(params, point, solver, value);
      if (!(last.loss < best.loss)) return false;
      best = last;
      bestEps = value;
      const held = this.best;
      this.best = this.trial;
      this.trial = held;
      return true;
    };
    while (trials < maxTrials && !consider(eps) && eps < maximumDamping) {
      if (uphill > 0 && eps >= ceiling && last.loss < (1 + uphill) * loss) {
        this.eps = eps;
        if (!(this.left !== null && this.left.loss <= loss)) this.left = { loss, params: params.slice() };
        return this.take(params, this.trial, loss, eps, last.rho, trials);
      }
      // The ceiling is not stepped over: a trial there comes before any above.
      eps = Math.min(eps < ceiling ? ceiling : maximumDamping, eps * f * f);
    }
    if (best.loss < loss) {
      const start = bestEps;
      // The gain ratio saves trials that cannot win: a model that was poor at eps is worse below, one that was good at
      // eps has nothing to gain above.
      const first = best.rho;
      if (first > 0.3) {
        while (trials < maxTrials && bestEps > minimumDamping && consider(Math.max(minimumDamping, bestEps / f)));
      }
      if (bestEps === start && eps === begun && first < 0.9) {
        while (trials < maxTrials && bestEps < ceiling && consider(Math.min(ceiling, bestEps * f)));
      }
      this.eps = bestEps;
      return this.take(params, this.best, loss, bestEps, best.rho, trials);
    }
    this.eps = eps;
    return { loss, accepted: false, stepNorm: 0, damping: eps, trials };
  }

  /** The share of the loss by which a step may raise it now, 0 for none. */
  private allowance(loss: number): number {
    if (loss < improvement * this.least) {
      this.least = loss;
      this.since = 0;
      this.uphill = this.options.uphill;
    } else if (++this.since === patience) {
      this.since = 0;
      this.uphill /= 2;
    }
    return this.uphill >= leastUphill ? this.uphill : 0;
  }

  private byGainRatio(params: Float64Array, point: Linearization, solver: DampedSolver): StepReport {
    const { accept, maxTrials, minimumDamping, maximumDamping, decrease, increase } = this.options;
    const { loss } = point;
    let rho = NaN;
    let damping = this.eps;
    for (let trials = 1; trials <= maxTrials; trials++) {
      damping = this.eps;
      const result = this.attempt(params, point, solver, damping);
      rho = result.rho;
      if (Number.isFinite(result.loss) && rho > accept) {
        if (rho > 0.75) this.eps = Math.max(minimumDamping, damping * decrease);
        else if (rho < 0.25) this.eps = Math.min(maximumDamping, damping * increase);
        return this.take(params, this.trial, loss, damping, rho, trials);
      }
      this.eps = Math.min(maximumDamping, this.eps * increase * increase);
    }
    return { loss, accepted: false, stepNorm: 0, damping, gainRatio: rho, trials: maxTrials };
  }

  private take(
    params: Float64Array,
    chosen: Float64Array,
    loss: number,
    damping: number,
    rho: number,
    trials: number,
  ): StepReport {
    return { loss, accepted: true, stepNorm: moveTo(params, chosen, this.previous), damping, gainRatio: rho, trials };
  }

  /** Tries the second-order term on top of `trial`; keeps it when the loss is lower. Returns the loss kept. */
  private accelerate(params: Float64Array, point: Linearization, solver: DampedSolver, loss: number): number {
    const { step_: x, second } = this;
    const P = params.length;
    // f(params - h x) = f - h J x + h^2/2 f''(x, x) + ...; h = 0.1 balances truncation against rounding (Transtrum & Sethna)
    const h = 0.1;
    for (let i = 0; i < P; i++) second[i] = params[i] - h * x[i];
    const shifted = point.outputsAt(second);
    const directional = point.jacobianProduct(x);
    const base = point.unitMajorOutputs;
    for (let o = 0; o < base.length; o++) directional[o] = (2 / h) * ((shifted[o] - base[o]) / h + directional[o]);
    point.applyOutputHessian(directional, directional);
    point.jacobianTransposedProduct(directional, second);
    solver.solveAny(second);
    for (let i = 0; i < P; i++) second[i] = this.trial[i] - 0.5 * second[i];
    const accelerated = point.lossAt(second);
    if (!(accelerated < loss)) return loss;
    this.trial.set(second);
    return accelerated;
  }

  settle(params: Float64Array, batch: Batch): void {
    if (this.left === null || this.onward !== null) return;
    if (firstNonFinite(params) < 0 && this.network.evaluate(params, batch).loss <= this.left.loss) return;
    this.onward = params.slice();
    params.set(this.left.params);
  }

  state(): OptimizerState {
    const { eps: damping, least, since, uphill, left, onward } = this;
    const floor = this.spaces?.floor ?? 0;
    return {
      scalars: { damping, least, since, uphill, ...(left && { leftLoss: left.loss }), ...(floor > 0 && { floor }) },
      vectors: {
        previous: this.previous.slice(),
        ...(left && { left: left.params.slice() }),
        ...(onward && { onward: onward.slice() }),
      },
    };
  }

  restore(state: OptimizerState): void {
    const damping = stateNumber('gauss-newton.restore', state, 'damping');
    checkPositive('gauss-newton.restore', 'damping', damping);
    const least = stateNumber('gauss-newton.restore', state, 'least');
    const since = stateCount('gauss-newton.restore', state, 'since');
    const uphill = stateNumber('gauss-newton.restore', state, 'uphill');
    checkNonNegative('gauss-newton.restore', 'uphill', uphill);
    stateVector('gauss-newton.restore', state, 'previous', this.previous);
    // Runs that never went uphill have neither, and those of earlier versions.
    const optional = (name: string): Float64Array | null => {
      if (!Object.hasOwn(state.vectors, name)) return null;
      const vector = new Float64Array(this.previous.length);
      stateVector('gauss-newton.restore', state, name, vector);
      return vector;
    };
    const left = optional('left');
    this.left = left && { loss: stateNumber('gauss-newton.restore', state, 'leftLoss'), params: left };
    this.onward = optional('onward');
    const floor = Object.hasOwn(state.scalars, 'floor') ? stateNumber('gauss-newton.restore', state, 'floor') : 0;
    checkNonNegative('gauss-newton.restore', 'floor', floor);
    if (this.spaces !== null) this.spaces.floor = floor;
    this.eps = damping;
    this.least = least;
    this.since = since;
    this.uphill = uphill;
  }

  dispose(): void {
    this.spaces?.dispose();
    this.point?.dispose();
    this.point = null;
  }
}

/**
 * params := chosen, downhill := the negative of that step; returns its Euclidean length.
 *
 * A function of arrays alone, like every loop over the parameters here: in a method with calls around it, V8 can leave
 * such a loop unoptimized for good (it kept throwing away the code it had made for the loop), which was some 4 % of a step.
 */
function moveTo(params: Float64Array, chosen: Float64Array, downhill: Float64Array): number {
  let squares = 0;
  for (let i = 0; i < params.length; i++) {
    const change = chosen[i] - params[i];
    squares += change * change;
    downhill[i] = -change;
    params[i] = chosen[i];
  }
  return Math.sqrt(squares);
}

interface Trial {
  loss: number;
  rho: number;
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
  const { control } = options as GaussNewtonOptions;
  const settings = settingsOf(operation, options, defaultsFor(network.loss === 'mse', control));
  checkOneOf(operation, 'control', settings.control, dampingControls);
  checkOneOf(operation, 'precision', settings.precision, ['float64', 'mixed'] as const);
  checkDampingBounds(operation, settings);
  for (const name of ['maxStepSeconds', 'searchFactor', 'decrease', 'increase'] as const) {
    checkPositive(operation, name, settings[name]);
  }
  checkNonNegative(operation, 'accept', settings.accept);
  checkNonNegative(operation, 'uphill', settings.uphill);
  checkBelow(operation, 'momentum', settings.momentum, 1);
  checkInteger(operation, 'maxTrials', settings.maxTrials, 1, 1000);
  checkBoolean(operation, 'geodesic', settings.geodesic);
  if (settings.decrease >= 1) failRange(operation, 'decrease', 'a number from 0 to 1 (exclusive)', settings.decrease);
  if (settings.searchFactor <= 1) failRange(operation, 'searchFactor', 'a number > 1', settings.searchFactor);
  if (settings.increase <= 1) failRange(operation, 'increase', 'a number > 1', settings.increase);
  checkDevice(operation, settings.device);
  return new GaussNewton(network, settings);
}
