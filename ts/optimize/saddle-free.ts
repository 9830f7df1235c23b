/**
 * Saddle-free Newton (Dauphin, Pascanu, Gulcehre, Cho, Ganguli & Bengio 2014, algorithm 1): steps by the absolute values of the
 * curvatures, so that a saddle repels instead of attracting.
 *
 *     x = (|H| + eps I)^-1 grad,      |H| = U diag |theta| U^T,      params := params - x
 *
 * Small networks (P <= denseOrder) take the whole eigendecomposition. Larger ones take the Krylov subspace of (H, grad),
 * `subspace` products: with H V = V Y diag(theta) Y^T there, V f(T) V^T grad is the Lanczos approximation of f(H) grad for
 * f(t) = 1 / (|t| + eps). It meets the extreme curvatures of both signs first, and grad lies in the subspace, so nothing of the
 * gradient is left to a complement.
 *
 * eps follows Levenberg-Marquardt: rho = (loss decrease) / (grad^T x - 1/2 x^T |H| x); halved when rho > 0.75, doubled when
 * rho < 0.25, fourfold on a rejected step, which is undone; a new eps needs no new products.
 *
 * For fixed batches with many saddles and few parameters, as a middle course between hessian-free and newton. Not at a saddle
 * whose gradient is exactly zero or exactly orthogonal to the negative curvature (newton leaves it), nor for small streaming batches.
 */
import { checkInteger, checkPositive } from '../checks.js';
import type { Linearization, Network } from '../derivatives/index.js';
import { DeepHessianError } from '../errors.js';
import { kernels, Lower, No, Yes } from '../native/index.js';
import type { Batch } from '../network/index.js';
import { KrylovSubspace } from './krylov-subspace.js';
import { nextPoint } from './next-point.js';
import { checkBelow, checkDampingBounds, settingsOf } from './option-checks.js';
import { stateNumber, type Optimizer, type OptimizerState, type StepReport } from './optimizer.js';

/** Options of {@link createSaddleFree}. */
export interface SaddleFreeOptions {
  /** first eps > 0, default 1 */
  damping?: number;
  /** bounds of eps, defaults 1e-20 and 1e10 */
  minimumDamping?: number;
  /** upper bound of the damping */
  maximumDamping?: number;
  /** products a step, default 40 */
  subspace?: number;
  /** networks of at most this many parameters use the dense eigendecomposition, >= 0, default 300 */
  denseOrder?: number;
  /** a step is taken when rho exceeds this, in [0, 0.25), default 1e-3 */
  accept?: number;
  /** trials of one step, default 12 */
  maxTrials?: number;
}

type Settings = Required<SaddleFreeOptions>;

const defaults: Settings = {
  damping: 1,
  minimumDamping: 1e-20,
  maximumDamping: 1e10,
  subspace: 40,
  denseOrder: 300,
  accept: 1e-3,
  maxTrials: 12,
};

/** What one step did, beyond the fields of every optimizer. `damping` is eps. */
export interface SaddleFreeReport extends StepReport {
  gainRatio?: number;
  trials: number;
  /** smallest and largest (Ritz) value of H before the step */
  leftmost: number;
  rightmost: number;
  /** negative (Ritz) values */
  negative: number;
}

/** H in the coordinates of eigenvectors or Ritz vectors. */
interface Spectrum {
  count: number;
  theta: Float64Array;
  /** coordinates of the gradient */
  along: Float64Array;
  combine(c: Float64Array, out: Float64Array): void;
}

class SaddleFree implements Optimizer {
  readonly name = 'saddle-free';
  private eps: number;
  private readonly dense: boolean;
  private readonly krylov: KrylovSubspace | null;
  private readonly theta: Float64Array;
  private readonly along: Float64Array;
  private readonly weights: Float64Array;
  private readonly step_: Float64Array;
  private readonly trial: Float64Array;
  private point: Linearization | null = null;

  constructor(
    private readonly network: Network,
    private readonly options: Settings,
  ) {
    const P = network.parameterCount;
    this.eps = options.damping;
    this.dense = P <= options.denseOrder;
    const count = this.dense ? P : Math.min(P, options.subspace);
    this.krylov = this.dense ? null : new KrylovSubspace(P, count);
    this.theta = new Float64Array(this.dense ? P : 0);
    this.along = new Float64Array(count);
    this.weights = new Float64Array(count);
    this.step_ = new Float64Array(P);
    this.trial = new Float64Array(P);
  }

  step(params: Float64Array, batch: Batch): SaddleFreeReport {
    const { network, options, step_: x, trial, weights } = this;
    const P = params.length;
    const point = (this.point = nextPoint(network, params, batch, this.point));
    const { loss, gradient } = point;
    const report: SaddleFreeReport = {
      loss,
      accepted: false,
      stepNorm: 0,
      damping: this.eps,
      trials: 0,
      leftmost: NaN,
      rightmost: NaN,
      negative: 0,
    };
    if (!Number.isFinite(loss) || !(kernels.nrm2(P, gradient, 0) > 0)) return report;
    const { count, theta, along, combine } = this.dense ? this.eigen(point) : this.ritz(point);
    report.leftmost = theta[0];
    report.rightmost = theta[count - 1];
    while (report.negative < count && theta[report.negative] < 0) report.negative++;
    const slack = 10 * Number.EPSILON * Math.abs(loss);
    while (report.trials < options.maxTrials) {
      report.trials++;
      const eps = (report.damping = this.eps);
      let predicted = 0;
      for (let i = 0; i < count; i++) {
        const size = Math.abs(theta[i]);
        weights[i] = along[i] / (size + eps);
        predicted += weights[i] * along[i] - 0.5 * size * weights[i] * weights[i];
      }
      combine(weights, x);
      for (let i = 0; i < P; i++) trial[i] = params[i] - x[i];
      const after = point.lossAt(trial);
      const rho = (loss - after + slack) / (predicted + slack);
      report.gainRatio = Number.isFinite(rho) ? rho : -1;
      if (rho > options.accept && after <= loss + slack) {
        if (rho > 0.75) this.eps = Math.max(options.minimumDamping, 0.5 * eps);
        else if (rho < 0.25) this.eps = Math.min(options.maximumDamping, 2 * eps);
        params.set(trial);
        report.accepted = true;
        report.stepNorm = kernels.nrm2(P, x, 0);
        return report;
      }
      this.eps = Math.min(options.maximumDamping, 4 * eps);
    }
    return report;
  }

  private ritz(point: Linearization): Spectrum {
    const krylov = this.krylov!;
    krylov.build((v, out) => void point.hessianProduct(v, out), point.gradient);
    krylov.coordinates(point.gradient, this.along);
    return {
      count: krylov.columns,
      theta: krylov.theta,
      along: this.along,
      combine: (c, out) => krylov.combine(c, out),
    };
  }

  private eigen(point: Linearization): Spectrum {
    const { theta, along } = this;
    const P = theta.length;
    const vectors = point.denseHessian();
    if (kernels.syevd(Yes, Lower, P, vectors, 0, P, theta, 0) !== 0) {
      throw new DeepHessianError(
        'no-convergence',
        'saddle-free: the eigendecomposition of the Hessian did not converge',
        { order: P },
      );
    }
    kernels.gemv(Yes, P, P, 1, vectors, 0, P, point.gradient, 0, 1, 0, along, 0, 1);
    return {
      count: P,
      theta,
      along,
      combine: (c, out) => kernels.gemv(No, P, P, 1, vectors, 0, P, c, 0, 1, 0, out, 0, 1),
    };
  }

  state(): OptimizerState {
    return { scalars: { damping: this.eps }, vectors: {} };
  }

  restore(state: OptimizerState): void {
    const damping = stateNumber('saddle-free.restore', state, 'damping');
    checkPositive('saddle-free.restore', 'state.scalars.damping', damping);
    this.eps = damping;
  }

  dispose(): void {
    this.point = null;
  }
}

/**
 * Saddle-free Newton. See the head of saddle-free.ts for the method, and when not to use it.
 *
 * @throws TypeError or RangeError naming the option that is wrong
 * @example
 * const optimizer = createSaddleFree(network, { subspace: 40 });
 * const { loss, leftmost, negative } = optimizer.step(params, batch);
 */
export function createSaddleFree(network: Network, options: SaddleFreeOptions = {}): Optimizer {
  const operation = 'createSaddleFree';
  const settings = settingsOf<Settings>(operation, options, defaults);
  checkDampingBounds(operation, settings);
  checkInteger(operation, 'options.subspace', settings.subspace, 2, 10000);
  checkInteger(operation, 'options.denseOrder', settings.denseOrder, 0, 20000);
  checkBelow(operation, 'accept', settings.accept, 0.25);
  checkInteger(operation, 'options.maxTrials', settings.maxTrials, 1, 1000);
  return new SaddleFree(network, settings);
}
