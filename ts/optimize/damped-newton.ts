/**
 * Damped Newton with a factor that is kept: gradient descent preconditioned by an exact inverse Hessian that is refreshed every
 * `frequency` batches and reused in between.
 *
 *     params := params - rate (M + eps I)^-1 grad,        M = H or G at an earlier point and batch
 *
 * Refresh. eps starts from max(damping, half of the last eps, the most negative Ritz value's modulus) and rises until the inertia of the
 * factor says that H + eps I is positive definite: without that the step would climb along negative curvature. The Ritz value comes from 30
 * products in a Krylov subspace, which cost little beside a factor. G needs no such search.
 *
 * Adaptive frequency. The model at the anchor promises a decrease of (rate - rate^2/2) grad^T (M + eps I)^-1 grad. With an old
 * factor a step that brings less than a quarter of it on its own batch is undone, the refresh comes early and the interval is halved; with
 * a fresh one less than a tenth is undone and eps quadrupled. A step that brings more than half again as much says that the curvature has
 * fallen: where eps is above its least value, the next step refreshes with a quarter of it. An interval that ends without trouble
 * grows by half. Without `adaptive` steps are taken unseen, at a fixed interval.
 *
 * For fixed batches and large, slowly changing ones, where a factor costs as much as many gradients. Not for small streaming batches (the
 * inverse Hessian of one batch is not that of the next), and newton or gauss-newton go further at every refresh.
 */
import {
  checkBoolean,
  checkInteger,
  checkObject,
  checkOneOf,
  checkPositive,
  failRange,
  failType,
  firstNonFinite,
} from '../checks.js';
import type { Linearization, Network } from '../derivatives/index.js';
import type { DeviceKernels, DeviceName } from '../device/index.js';
import { DeepHessianError } from '../errors.js';
import { factor, type Factor } from '../inverse/index.js';
import { kernels } from '../native/index.js';
import type { Batch } from '../network/index.js';
import { KrylovSubspace } from './krylov-subspace.js';
import { nextPoint } from './next-point.js';
import { checkDevice, failOption, settingsOf } from './option-checks.js';
import {
  stateCount,
  stateNumber,
  stateVector,
  type Optimizer,
  type OptimizerState,
  type StepReport,
} from './optimizer.js';
import { createSchedule, type Schedule, type ScheduleSpec } from './schedules.js';

export const dampedNewtonMatrices = ['hessian', 'gauss-newton'] as const;
export type DampedNewtonMatrix = (typeof dampedNewtonMatrices)[number];

/** Options of {@link createDampedNewton}. */
export interface DampedNewtonOptions {
  /** M, default 'hessian' */
  matrix?: DampedNewtonMatrix;
  /** steps between refreshes of the factor, default 10; the first interval where `adaptive` */
  frequency?: number;
  /** least eps > 0, default 0.1 */
  damping?: number;
  /** learning rate > 0, default 1 */
  rate?: number;
  /** schedule of the rate, default constant */
  schedule?: ScheduleSpec;
  /** judge every step by the loss of its batch, and fit the interval, default true */
  adaptive?: boolean;
  /** relative residual of the solves, default 1e-6 */
  solveTolerance?: number;
  /** trials of one step, default 12 */
  maxTrials?: number;
  /** of the factor, default 'float64'; 'mixed': in single precision, refined to `solveTolerance` in double */
  precision?: 'float64' | 'mixed';
  /**
   * where the factors are made, default 'cpu'; 'cuda': on an NVIDIA card, 'auto': there where it is modelled to be faster; or an
   * open device
   */
  device?: DeviceName | DeviceKernels;
}

type Settings = Required<Omit<DampedNewtonOptions, 'schedule'>> & { schedule?: ScheduleSpec };

const defaults: Settings = {
  matrix: 'hessian',
  frequency: 10,
  damping: 0.1,
  rate: 1,
  adaptive: true,
  solveTolerance: 1e-6,
  maxTrials: 12,
  precision: 'float64',
  device: 'cpu',
};

/** Largest eps that is tried before a point is given up. */
const maximumDamping = 1e12;

/** What one step did, beyond the fields of every optimizer. */
export interface DampedNewtonReport extends StepReport {
  /** steps since the factor was made, 0: made at this step */
  age: number;
  /** steps between refreshes now */
  interval: number;
  rate: number;
  gainRatio?: number;
  trials: number;
}

class DampedNewton implements Optimizer {
  readonly name = 'damped-newton';
  private eps: number;
  private interval: number;
  private age = 0;
  /** the last step did much better than its model */
  private overdamped = false;
  private steps = 0;
  private held: Factor | null = null;
  private anchor: Linearization | null = null;
  /** with a device: the point of this step, and what takes the next one in its memory */
  private current: Linearization | null = null;
  private spare: Linearization | null = null;
  /** where a restored factor is to be made anew */
  private anchorParams: Float64Array | null = null;
  private anchorBatch: Batch | null = null;
  private readonly gradient: Float64Array;
  private readonly trial: Float64Array;
  private readonly krylov: KrylovSubspace | null;
  private readonly schedule: Schedule;

  constructor(
    private readonly network: Network,
    private readonly options: Settings,
  ) {
    this.eps = options.damping;
    this.interval = options.frequency;
    this.gradient = new Float64Array(network.parameterCount);
    this.trial = new Float64Array(network.parameterCount);
    this.krylov =
      options.matrix === 'hessian'
        ? new KrylovSubspace(network.parameterCount, Math.min(30, network.parameterCount))
        : null;
    this.schedule = createSchedule(options.schedule);
  }

  step(params: Float64Array, batch: Batch): DampedNewtonReport {
    const { options, gradient, trial } = this;
    const P = params.length;
    const loss = this.evaluate(params, batch);
    const rate = options.rate * this.schedule(this.steps);
    const report: DampedNewtonReport = {
      loss,
      accepted: false,
      stepNorm: 0,
      damping: this.eps,
      age: this.age,
      interval: this.interval,
      rate,
      trials: 0,
    };
    if (!Number.isFinite(loss)) return report;
    this.steps++;
    if (this.held === null && this.anchorParams !== null) this.rebuild();
    if (this.held === null || this.age >= this.interval || this.overdamped) {
      if (this.overdamped && this.age > 0) this.interval = Math.max(1, Math.floor(this.interval / 2));
      else if (this.held !== null && options.adaptive) {
        this.interval = Math.min(8 * options.frequency, Math.ceil(1.5 * this.interval));
      }
      this.refresh(params, batch);
    }
    const slack = 10 * Number.EPSILON * Math.abs(loss);
    while (report.trials < options.maxTrials) {
      report.trials++;
      report.damping = this.eps;
      report.age = this.age;
      report.interval = this.interval;
      const { x } = this.held!.solve(gradient);
      for (let i = 0; i < P; i++) trial[i] = params[i] - rate * x[i];
      const stepNorm = rate * kernels.nrm2(P, x, 0);
      if (options.adaptive) {
        const predicted = (rate - 0.5 * rate * rate) * kernels.dot(P, gradient, 0, x, 0);
        const after = this.lossAt(trial, batch);
        const rho = (loss - after + slack) / (Math.max(predicted, 0) + slack);
        report.gainRatio = Number.isFinite(rho) ? rho : -1;
        if (!(rho >= (this.age > 0 ? 0.25 : 0.1))) {
          if (this.age > 0) {
            this.interval = Math.max(1, Math.floor(this.interval / 2));
            this.refresh(params, batch);
          } else this.raise(4 * this.eps);
          continue;
        }
        this.overdamped = rho > 1.5 && this.eps > options.damping;
      } else if (!Number.isFinite(stepNorm)) return report;
      params.set(trial);
      report.accepted = true;
      report.stepNorm = stepNorm;
      this.age++;
      return report;
    }
    this.age++;
    return report;
  }

  /** The loss, with its gradient in `gradient`; with a device as a point there, which may become the anchor. */
  private evaluate(params: Float64Array, batch: Batch): number {
    const { network, gradient, options } = this;
    if (options.device === 'cpu') return network.lossAndGradient(params, batch, gradient);
    this.current = this.spare = nextPoint(network, params, batch, this.spare, options.device);
    gradient.set(this.current.gradient);
    return this.current.loss;
  }

  /** A factor at (params, batch) of this step, positive definite. */
  private refresh(params: Float64Array, batch: Batch): void {
    this.held?.dispose();
    this.held = null;
    // The last anchor's memory takes the next point.
    if (this.current === null) this.anchor = nextPoint(this.network, params, batch, this.anchor);
    else if (this.current === this.spare) [this.anchor, this.spare] = [this.spare, this.anchor];
    this.make(Math.max(this.options.damping, (this.overdamped ? 0.25 : 0.5) * this.eps, this.negativeCurvature()));
    this.age = 0;
    this.overdamped = false;
  }

  /** A shift that makes H definite as far as a Krylov subspace around the gradient sees; 0 for G. */
  private negativeCurvature(): number {
    const { anchor, krylov } = this;
    if (krylov === null || anchor === null) return 0;
    const start = this.trial;
    for (let i = 0; i < start.length; i++) start[i] = this.gradient[i];
    if (!(kernels.nrm2(start.length, start, 0) > 0)) start.fill(1);
    krylov.build((v, out) => void anchor.hessianProduct(v, out), start);
    const lowest = krylov.theta[0];
    return lowest < 0 ? -1.05 * lowest + krylov.residual(0) : 0;
  }

  private make(eps: number): void {
    const { matrix, solveTolerance: tolerance, precision, device } = this.options;
    this.eps = eps;
    this.held = factor(this.anchor!, { matrix, damping: eps, tolerance, precision, device, onFailure: 'return' });
    if (!this.positiveDefinite()) this.raise(4 * eps);
  }

  /** The restored factor: same point, same eps, so the same bits. */
  private rebuild(): void {
    const { network, options } = this;
    this.anchor = nextPoint(network, this.anchorParams!, this.anchorBatch!, this.anchor, options.device);
    this.make(this.eps);
    this.anchorParams = this.anchorBatch = null;
  }

  /** Factors with eps and above until positive definite. */
  private raise(eps: number): void {
    for (this.eps = eps; ; this.eps *= 4) {
      if (this.eps > maximumDamping) {
        throw new DeepHessianError(
          'not-positive-definite',
          `damped-newton: no damping up to ${maximumDamping} makes the matrix positive definite`,
          {
            damping: this.eps,
          },
        );
      }
      this.held!.refactor(this.eps);
      if (this.positiveDefinite()) return;
    }
  }

  private positiveDefinite(): boolean {
    const held = this.held!;
    if (!held.isRegular) return false;
    if (this.options.matrix === 'gauss-newton') return true;
    try {
      const { negative, zero } = held.inertia;
      return negative === 0 && zero === 0;
    } catch (error) {
      if (error instanceof DeepHessianError && error.code === 'inertia-untrusted') return false;
      throw error;
    }
  }

  private lossAt(params: Float64Array, batch: Batch): number {
    if (this.current !== null) return this.current.lossAt(params);
    return firstNonFinite(params) < 0 ? this.network.evaluate(params, batch).loss : Infinity;
  }

  /** The factor is stored as the point and batch it was made at. */
  state(): OptimizerState {
    const scalars: OptimizerState['scalars'] = {
      eps: this.eps,
      interval: this.interval,
      age: this.age,
      steps: this.steps,
      overdamped: this.overdamped,
    };
    const vectors: OptimizerState['vectors'] = {};
    const params = this.anchorParams ?? this.anchor?.params;
    const batch = this.anchorBatch ?? this.anchor?.batch;
    if (params !== undefined && batch !== undefined && (this.held !== null || this.anchorParams !== null)) {
      vectors.anchor = params.slice();
      vectors.inputs = batch.inputs.slice();
      if (batch.targets !== null) vectors.classes = Float64Array.from(batch.targets);
      if (batch.targetValues !== null) vectors.targetValues = batch.targetValues.slice();
      if (batch.weights !== null) vectors.weights = batch.weights.slice();
    }
    return { scalars, vectors };
  }

  restore(state: OptimizerState): void {
    const operation = 'damped-newton.restore';
    const eps = stateNumber(operation, state, 'eps');
    checkPositive(operation, 'state.scalars.eps', eps);
    const interval = stateCount(operation, state, 'interval');
    const age = stateCount(operation, state, 'age');
    const steps = stateCount(operation, state, 'steps');
    const { overdamped } = state.scalars;
    checkBoolean(operation, 'state.scalars.overdamped', overdamped);
    checkObject(operation, 'state.vectors', state.vectors);
    let anchorParams: Float64Array | null = null;
    let anchorBatch: Batch | null = null;
    if (state.vectors.anchor !== undefined) {
      anchorParams = new Float64Array(this.network.parameterCount);
      stateVector(operation, state, 'anchor', anchorParams);
      anchorBatch = this.storedBatch(operation, state);
    }
    this.held?.dispose();
    this.held = null;
    this.eps = eps;
    this.interval = interval;
    this.age = age;
    this.steps = steps;
    this.overdamped = overdamped;
    this.anchorParams = anchorParams;
    this.anchorBatch = anchorBatch;
  }

  private storedBatch(operation: string, state: OptimizerState): Batch {
    const { inputs, outputs, loss } = this.network;
    const stored = (name: string, columns: number, rows: number | null): Float64Array => {
      const value: unknown = state.vectors[name];
      const expected = `a Float64Array of ${rows ?? 'any number of'} rows of ${columns}`;
      if (!(value instanceof Float64Array)) failType(operation, `state.vectors.${name}`, expected, value);
      if (value.length === 0 || value.length % columns !== 0 || (rows !== null && value.length !== rows * columns)) {
        failRange(operation, `state.vectors.${name}`, expected, value);
      }
      const copy = new Float64Array(value.length);
      stateVector(operation, state, name, copy);
      return copy;
    };
    const all = stored('inputs', inputs, null);
    const samples = all.length / inputs;
    const { classes, targetValues, weights } = state.vectors;
    return {
      samples,
      inputs: all,
      targets: classes === undefined ? null : Int32Array.from(stored('classes', 1, samples)),
      targetValues: targetValues === undefined ? null : stored('targetValues', outputs, samples),
      weights: weights === undefined ? null : stored('weights', 1, samples),
      loss,
    };
  }

  dispose(): void {
    this.held?.dispose();
    this.held = null;
    this.anchor?.dispose();
    this.spare?.dispose();
    this.anchor = this.current = this.spare = null;
  }
}

/**
 * Damped Newton with a kept factor. See the head of damped-newton.ts for the method, and when not to use it.
 *
 * @throws TypeError or RangeError naming the option that is wrong
 * @example
 * const optimizer = createDampedNewton(network, { frequency: 10, damping: 0.1 });
 */
export function createDampedNewton(network: Network, options: DampedNewtonOptions = {}): Optimizer {
  const operation = 'createDampedNewton';
  const settings = settingsOf<Settings>(operation, options, defaults, ['schedule']);
  checkOneOf(operation, 'options.precision', settings.precision, ['float64', 'mixed'] as const);
  checkDevice(operation, settings.device);
  checkOneOf(operation, 'options.matrix', settings.matrix, dampedNewtonMatrices);
  for (const name of ['damping', 'rate', 'solveTolerance'] as const)
    checkPositive(operation, `options.${name}`, settings[name]);
  if (settings.adaptive && settings.rate >= 2) {
    failOption(
      operation,
      'rate',
      (nameOf) => `a number below 2 with ${nameOf('adaptive')} (the quadratic model rises from there)`,
      settings.rate,
    );
  }
  checkInteger(operation, 'options.frequency', settings.frequency, 1);
  checkInteger(operation, 'options.maxTrials', settings.maxTrials, 1, 1000);
  checkBoolean(operation, 'options.adaptive', settings.adaptive);
  return new DampedNewton(network, settings);
}
