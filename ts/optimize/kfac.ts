/**
 * K-FAC: natural gradient with a block-diagonal Kronecker-factored Fisher matrix (Martens & Grosse 2015, algorithm 2).
 *
 *     d       = -F~^-1 grad                         F~ = block diagonal of (A_l + pi gamma I) (x) (G_l + gamma / pi I)
 *     (alpha, mu) = argmin M(alpha d + mu previous),   M(x) = grad^T x + 1/2 x^T (G + lambda I) x       (section 6.4, 7)
 *     step    = alpha d + mu previous
 *
 * M uses the exact Gauss-Newton matrix G of the batch (L2 included): two tangent passes give the 2 x 2 system, so there is neither a
 * learning rate nor a momentum to tune. lambda follows Levenberg-Marquardt (section 6.5): every `adaptInterval` steps
 * rho = (loss after - loss before) / M(step) is measured on the same batch; lambda shrinks by dampingDecay^interval when rho > 3/4
 * and grows by its inverse when rho < 1/4. A measured step that raises the loss of its own batch is undone. A step of which M
 * promises more than the whole loss is measured in any case: losses are not negative, so there M has left its ground.
 *
 * rescaling 'clip' serves small batches and saves the tangent passes (Ba, Grosse & Martens 2017, section 5): a learning rate,
 * classical momentum, and the step length bounded by rate^2 grad^T F~^-1 grad <= klClip; lambda then stays what it was.
 *
 * Factors are running averages, taken every `factorInterval` steps and inverted every `inverseInterval` (both at each of the
 * first ten steps). gamma = sqrt(lambda + L2), or tuned apart by `adaptGamma` (section 6.6).
 *
 * For fixed and full batches as it stands. For streams use batches of several hundred samples, sampled rows, momentum off, adaptInterval 5,
 * dampingDecay 0.95 and a floor of about 0.001 under lambda (the train command does so): rho is measured on the batch that was just fitted,
 * and would let lambda fall too far. Not for the last digits of a fit (gauss-newton, newton), nor for custom layers (refused). The inverse
 * of the first layer costs inputs^3: for inputs far beyond a few thousand use adam or hessian-free.
 */
import { checkBoolean, checkInteger, checkNonNegative, checkOneOf, checkPositive, failRange } from '../checks.js';
import type { Linearization, Network } from '../derivatives/index.js';
import { kernels } from '../native/index.js';
import type { Batch } from '../network/index.js';
import type { FisherRows } from './backpropagated-rows.js';
import { KroneckerFactors, KroneckerInverse } from './kronecker.js';
import { nextPoint } from './next-point.js';
import { checkBelow, checkDampingBounds, failOption, settingsOf } from './option-checks.js';
import {
  stateCount,
  stateNumber,
  stateVector,
  type Optimizer,
  type OptimizerState,
  type StepReport,
} from './optimizer.js';
import { createSchedule, type Schedule, type ScheduleSpec } from './schedules.js';

export const rescalings = ['model', 'clip'] as const;
export type Rescaling = (typeof rescalings)[number];

/** Options of {@link createKfac} and of EK-FAC. */
export interface KfacOptions {
  /** first lambda > 0, default 1 */
  damping?: number;
  /** 'model' (default): step length and momentum from the exact quadratic model; 'clip': learning rate with a bounded step */
  rescaling?: Rescaling;
  /** rows of the Fisher factors: 'exact' (default), the expectation, at the price of K backward passes; 'sampled': labels drawn from the
   *  model, one pass, noisy where predictions are confident */
  fisher?: FisherRows;
  /** steps between updates of the factors, default 5 */
  factorInterval?: number;
  /** steps between inversions, default 20 */
  inverseInterval?: number;
  /** steps between adaptations of lambda; default 1, which measures (and can undo) every step */
  adaptInterval?: number;
  /** largest weight of the past in the running averages, in [0, 1), default 0.95 */
  decay?: number;
  /** momentum by the model, default true ('clip' has `momentumFactor` instead) */
  momentum?: boolean;
  /** 'clip': classical momentum in [0, 1), default 0.9 */
  momentumFactor?: number;
  /** 'clip': learning rate > 0, default 0.03 */
  rate?: number;
  /** 'clip': bound of rate^2 grad^T F~^-1 grad, default 1e-3 */
  klClip?: number;
  /** 'clip': schedule of the rate, default constant */
  schedule?: ScheduleSpec;
  /** tune gamma by the model at each inversion, at three times its price, default false ('model' only) */
  adaptGamma?: boolean;
  /** bounds of lambda, defaults 1e-20 and 1e10 */
  minimumDamping?: number;
  /** upper bound of the damping */
  maximumDamping?: number;
  /** factor on lambda per step after good steps, and its inverse after poor ones, in (0, 1), default 0.8 (fixed and full batches); 0.95 suits streams */
  dampingDecay?: number;
  /** seed of sampled labels, default 0 */
  seed?: number;
}

export type KfacSettings = Required<Omit<KfacOptions, 'schedule'>> & { schedule?: ScheduleSpec };

export const kfacDefaults: KfacSettings = {
  damping: 1,
  rescaling: 'model',
  fisher: 'exact',
  factorInterval: 5,
  inverseInterval: 20,
  adaptInterval: 1,
  decay: 0.95,
  momentum: true,
  momentumFactor: 0.9,
  rate: 0.03,
  klClip: 1e-3,
  adaptGamma: false,
  minimumDamping: 1e-20,
  maximumDamping: 1e10,
  dampingDecay: 0.8,
  seed: 0,
};

/** An approximation of (F + gamma^2 I)^-1 that learns from batches: K-FAC's or EK-FAC's. */
export interface CurvatureInverse {
  /** Takes the statistics of a batch in. */
  update(point: Linearization): void;
  /** Makes the inverse anew from the statistics. */
  refresh(damping: number): void;
  /** Whether a change of the damping needs {@link refresh} to take effect. */
  readonly fixedDamping: boolean;
  /** out := approximate (F + damping I)^-1 v */
  apply(v: Float64Array, damping: number, out: Float64Array): void;
  state(): OptimizerState;
  restore(operation: string, state: OptimizerState): void;
}

/** Steps at the start during which statistics and inverse are made at every step. */
const eagerSteps = 10;

/** The loop around a {@link CurvatureInverse}. */
export class NaturalGradient implements Optimizer {
  readonly releasesBatches = true;
  private lambda: number;
  private gamma2: number;
  private steps = 0;
  private readonly previous: Float64Array;
  private readonly direction: Float64Array;
  private readonly trial: Float64Array;
  private tangent = new Float64Array(0);
  private curved = new Float64Array(0);
  private tangentBefore = new Float64Array(0);
  private point: Linearization | null = null;
  private readonly schedule: Schedule;

  constructor(
    readonly name: string,
    private readonly network: Network,
    private readonly options: KfacSettings,
    private readonly inverse: CurvatureInverse,
  ) {
    const P = network.parameterCount;
    this.lambda = options.damping;
    this.gamma2 = options.damping;
    this.previous = new Float64Array(P);
    this.direction = new Float64Array(P);
    this.trial = new Float64Array(P);
    this.schedule = createSchedule(options.schedule);
  }

  step(params: Float64Array, batch: Batch): StepReport {
    const { network, options, inverse } = this;
    const point = (this.point = nextPoint(network, params, batch, this.point));
    const { loss, gradient } = point;
    const damping = this.lambda;
    if (!Number.isFinite(loss)) return { loss, accepted: false, stepNorm: 0, damping };
    const t = this.steps++;
    if (t < eagerSteps || t % options.factorInterval === 0) inverse.update(point);
    if (t < eagerSteps || t % options.inverseInterval === 0) this.refresh(point);
    inverse.apply(gradient, this.damping(), this.direction);
    return options.rescaling === 'model' ? this.byModel(params, point, t) : this.clipped(params, point, t);
  }

  /** What the inverse is damped with now. */
  private damping(): number {
    return this.options.adaptGamma ? this.gamma2 : this.lambda;
  }

  private refresh(point: Linearization): void {
    const { inverse, options, network } = this;
    if (!options.adaptGamma || options.rescaling === 'clip') {
      inverse.refresh(this.lambda);
      return;
    }
    // gamma^2 from three neighbours: the one whose step the model likes best (section 6.6).
    const factor = Math.pow(options.dampingDecay, options.inverseInterval);
    let best = this.gamma2;
    let least = Infinity;
    for (const candidate of [this.gamma2, this.gamma2 * factor, this.gamma2 / factor]) {
      const value = Math.min(options.maximumDamping, Math.max(options.minimumDamping, candidate));
      inverse.refresh(value);
      inverse.apply(point.gradient, value, this.direction);
      const model = this.fit(point, network.parameterCount).model;
      if (model < least) {
        least = model;
        best = value;
      }
    }
    this.gamma2 = best;
    inverse.refresh(best);
  }

  /** Coefficients of direction and previous step that minimise the exact model, and its value there. */
  private fit(point: Linearization, P: number): { alpha: number; mu: number; model: number } {
    const { network, direction: d, previous, lambda } = this;
    const size = point.samples * network.outputs;
    if (this.tangent.length !== size) {
      this.tangent = new Float64Array(size);
      this.curved = new Float64Array(size);
      this.tangentBefore = new Float64Array(size);
    }
    const { tangent, curved, tangentBefore } = this;
    const { gradient } = point;
    point.jacobianProduct(d, tangent);
    point.applyOutputHessian(tangent, curved);
    const dd = kernels.dot(size, tangent, 0, curved, 0) + lambda * kernels.dot(P, d, 0, d, 0) + this.penalty(d, d);
    const b1 = kernels.dot(P, gradient, 0, d, 0);
    // d points uphill here (F~^-1 grad): alpha comes out negative.
    const alone = { alpha: dd > 0 ? -b1 / dd : 0, mu: 0, model: dd > 0 ? (-0.5 * b1 * b1) / dd : 0 };
    if (!this.options.momentum || this.steps === 1) return alone;
    point.jacobianProduct(previous, tangentBefore);
    const dp =
      kernels.dot(size, tangentBefore, 0, curved, 0) +
      lambda * kernels.dot(P, d, 0, previous, 0) +
      this.penalty(d, previous);
    point.applyOutputHessian(tangentBefore, curved);
    const pp =
      kernels.dot(size, tangentBefore, 0, curved, 0) +
      lambda * kernels.dot(P, previous, 0, previous, 0) +
      this.penalty(previous, previous);
    const b2 = kernels.dot(P, gradient, 0, previous, 0);
    const determinant = dd * pp - dp * dp;
    // (nearly) parallel, or no previous step: one direction is enough
    if (!(determinant > 1e-12 * dd * pp)) return alone;
    const alpha = (dp * b2 - pp * b1) / determinant;
    const mu = (dp * b1 - dd * b2) / determinant;
    return { alpha, mu, model: 0.5 * (alpha * b1 + mu * b2) };
  }

  /** x^T (L2) y */
  private penalty(x: Float64Array, y: Float64Array): number {
    let sum = 0;
    for (const { index, parameterOffset: o, parameterCount: n } of this.network.layers) {
      const l2 = this.network.l2[index];
      if (l2 > 0) sum += l2 * kernels.dot(n, x, o, y, o);
    }
    return sum;
  }

  private byModel(params: Float64Array, point: Linearization, t: number): StepReport {
    const { options, direction, previous, trial } = this;
    const P = params.length;
    const { loss } = point;
    const damping = this.lambda;
    const { alpha, mu, model } = this.fit(point, P);
    for (let i = 0; i < P; i++) {
      direction[i] = alpha * direction[i] + mu * previous[i];
      trial[i] = params[i] + direction[i];
    }
    const stepNorm = kernels.nrm2(P, direction, 0);
    const report: StepReport = { loss, accepted: true, stepNorm, damping, alpha: -alpha, momentum: mu };
    if (!Number.isFinite(stepNorm)) {
      this.grow(4);
      previous.fill(0);
      return { ...report, accepted: false, stepNorm: 0 };
    }
    if ((t + 1) % options.adaptInterval === 0 || -model > loss) {
      const after = this.network.evaluate(trial, point.batch).loss;
      const slack = 10 * Number.EPSILON * Math.abs(loss);
      const rho = model < 0 ? (loss - after + slack) / (slack - model) : 0;
      report.gainRatio = rho;
      const rate = Math.pow(options.dampingDecay, options.adaptInterval);
      if (rho > 0.75) this.lambda = Math.max(options.minimumDamping, this.lambda * rate);
      else if (!(rho >= 0.25)) this.grow(1 / rate);
      if (!(after <= loss + slack)) {
        // The model was wrong on its own batch: undo, and start the momentum afresh.
        this.grow(2);
        previous.fill(0);
        if (this.inverse.fixedDamping && !options.adaptGamma) this.inverse.refresh(this.lambda);
        return { ...report, accepted: false, stepNorm: 0 };
      }
    }
    params.set(trial);
    previous.set(direction);
    return report;
  }

  private grow(factor: number): void {
    this.lambda = Math.min(this.options.maximumDamping, this.lambda * factor);
  }

  private clipped(params: Float64Array, point: Linearization, t: number): StepReport {
    const { options, direction, previous } = this;
    const P = params.length;
    const rate = options.rate * this.schedule(t);
    const decrease = kernels.dot(P, point.gradient, 0, direction, 0);
    const scale = Math.min(1, Math.sqrt(options.klClip / Math.max(rate * rate * decrease, 1e-300)));
    let norm = 0;
    for (let i = 0; i < P; i++) {
      previous[i] = options.momentumFactor * previous[i] - rate * scale * direction[i];
      params[i] += previous[i];
      norm += previous[i] * previous[i];
    }
    return { loss: point.loss, accepted: true, stepNorm: Math.sqrt(norm), damping: this.lambda, rate: rate * scale };
  }

  state(): OptimizerState {
    const own = this.inverse.state();
    return {
      scalars: { ...own.scalars, lambda: this.lambda, gamma2: this.gamma2, steps: this.steps },
      vectors: { ...own.vectors, previous: this.previous.slice() },
    };
  }

  restore(state: OptimizerState): void {
    const operation = `${this.name}.restore`;
    const lambda = stateNumber(operation, state, 'lambda');
    const gamma2 = stateNumber(operation, state, 'gamma2');
    const steps = stateCount(operation, state, 'steps');
    checkPositive(operation, 'state.scalars.lambda', lambda);
    checkPositive(operation, 'state.scalars.gamma2', gamma2);
    stateVector(operation, state, 'previous', this.previous);
    this.inverse.restore(operation, state);
    this.lambda = lambda;
    this.gamma2 = gamma2;
    this.steps = steps;
  }

  dispose(): void {
    this.point = null;
  }
}

/** K-FAC's inverse: factored Tikhonov damping, explicit inverses. */
class KfacInverse implements CurvatureInverse {
  readonly fixedDamping = true;
  private readonly factors: KroneckerFactors;
  private readonly inverse: KroneckerInverse;

  constructor(network: Network, options: KfacSettings) {
    this.factors = new KroneckerFactors('createKfac', network, options.fisher, options.seed, options.decay);
    this.inverse = new KroneckerInverse(this.factors);
  }

  update(point: Linearization): void {
    this.factors.update(point);
  }

  refresh(damping: number): void {
    this.inverse.invert(damping);
  }

  apply(v: Float64Array, _damping: number, out: Float64Array): void {
    this.inverse.apply(v, out);
  }

  state(): OptimizerState {
    const { factors, inverse } = this;
    const { scalars, vectors } = factorState(factors);
    const { dataUpdates: inverseAt, dataShift: inverseShift } = inverse;
    return {
      scalars: { ...scalars, inverseAt, inverseShift },
      vectors: { ...vectors, inverseA: inverse.a.slice(), inverseG: inverse.g.slice() },
    };
  }

  restore(operation: string, state: OptimizerState): void {
    const inverseAt = stateCount(operation, state, 'inverseAt');
    const inverseShift = stateNumber(operation, state, 'inverseShift');
    checkNonNegative(operation, 'state.scalars.inverseShift', inverseShift);
    stateVector(operation, state, 'inverseA', this.inverse.a);
    stateVector(operation, state, 'inverseG', this.inverse.g);
    restoreFactors(operation, state, this.factors);
    this.inverse.dataUpdates = inverseAt;
    this.inverse.dataShift = inverseShift;
  }
}

/** What the running averages need to go on with the same bits. */
export function factorState(factors: KroneckerFactors): OptimizerState {
  return {
    scalars: { updates: factors.updates, dataUpdates: factors.dataUpdates },
    vectors: {
      factorsA: factors.a.slice(),
      factorsG: factors.g.slice(),
      random: Float64Array.from(factors.randomState),
    },
  };
}

export function restoreFactors(operation: string, state: OptimizerState, factors: KroneckerFactors): void {
  const updates = stateCount(operation, state, 'updates');
  const dataUpdates = stateCount(operation, state, 'dataUpdates');
  const random = new Float64Array(4);
  stateVector(operation, state, 'random', random);
  stateVector(operation, state, 'factorsA', factors.a);
  stateVector(operation, state, 'factorsG', factors.g);
  factors.updates = updates;
  factors.dataUpdates = dataUpdates;
  factors.randomState = [...random];
}

/** Checks options of K-FAC and EK-FAC; fills the defaults in. */
export function kfacSettings(operation: string, options: KfacOptions): KfacSettings {
  const settings = settingsOf<KfacSettings>(operation, options, kfacDefaults, ['schedule']);
  checkDampingBounds(operation, settings);
  for (const name of ['rate', 'klClip', 'dampingDecay'] as const)
    checkPositive(operation, `options.${name}`, settings[name]);
  checkOneOf(operation, 'options.rescaling', settings.rescaling, rescalings);
  for (const name of ['factorInterval', 'inverseInterval', 'adaptInterval'] as const) {
    checkInteger(operation, `options.${name}`, settings[name], 1);
  }
  for (const name of ['decay', 'momentumFactor'] as const) checkBelow(operation, name, settings[name], 1);
  if (settings.dampingDecay >= 1) {
    failRange(operation, 'options.dampingDecay', 'a number from 0 to 1 (exclusive)', settings.dampingDecay);
  }
  checkBoolean(operation, 'options.momentum', settings.momentum);
  checkBoolean(operation, 'options.adaptGamma', settings.adaptGamma);
  checkInteger(operation, 'options.seed', settings.seed, 0, 0xffffffff);
  const clipOnly = ['rate', 'klClip', 'momentumFactor', 'schedule'] as const;
  for (const name of clipOnly) {
    if (settings.rescaling === 'model' && options[name] !== undefined) {
      failOption(
        operation,
        name,
        (nameOf) => `no value with ${nameOf('rescaling')} 'model' (it belongs to 'clip')`,
        options[name],
      );
    }
  }
  return settings;
}

/**
 * K-FAC for a network of affine layers. See the head of kfac.ts for the method, and when not to use it.
 *
 * @throws TypeError or RangeError naming the option that is wrong; DeepHessianError 'unsupported' for custom layers
 * @example
 * const optimizer = createKfac(network);                                   // no rate: the exact model scales the step
 * const small = createKfac(network, { rescaling: 'clip', rate: 0.03 });    // small batches
 */
export function createKfac(network: Network, options: KfacOptions = {}): Optimizer {
  const settings = kfacSettings('createKfac', options);
  return new NaturalGradient('kfac', network, settings, new KfacInverse(network, settings));
}
