/**
 * Hessian-free optimization (Martens 2010; Martens & Sutskever 2011): truncated CG on the Gauss-Newton model.
 *
 *     minimise  phi(x) = grad^T x + 1/2 x^T B x,      B = G + lambda I + lambda mu S          (S: structural damping, off by default)
 *
 * by preconditioned CG from decay times the previous solution, stopped by relative progress (truncated-cg.ts). Then
 * back along the kept iterates while the true loss falls, a backtracking line search (Armijo, factor 0.8), and
 * Levenberg-Marquardt for lambda: rho = (loss change) / phi(x); lambda *= 2/3 when rho > 3/4, *= 3/2 when rho < 1/4.
 *
 * curvature 'hessian': MINRES on H + lambda I instead, ended at the first direction of non-positive curvature; up to
 * there its iterates are descent directions (Liu & Roosta 2022, "Newton-MR"), and if that direction is met at once it is followed itself.
 *
 * Products cost about two gradients each and no matrix is ever formed: for networks whose factors do not fit, and batches of thousands
 * of samples. Not where a factor is affordable (gauss-newton, newton: one factor replaces hundreds of products on deep narrow
 * networks), and not for small streaming batches (CG overfits the batch: keep lambda up, or use kfac).
 */
import { checkInteger, checkNonNegative, checkOneOf, checkPositive, failRange } from '../checks.js';
import type { Linearization, Network } from '../derivatives/index.js';
import type { DeviceKernels, DeviceName } from '../device/index.js';
import { fromFunction, type LinearOperator } from '../linalg/linear-operator.js';
import { minres } from '../linalg/minres.js';
import { Workspace } from '../linalg/workspace.js';
import { kernels } from '../native/index.js';
import type { Batch } from '../network/index.js';
import {
  createPreconditioner,
  preconditionerNames,
  type Preconditioner,
  type PreconditionerName,
} from './curvature-preconditioners.js';
import { nextPoint } from './next-point.js';
import { checkBelow, checkDampingBounds, checkDevice, failOption, settingsOf } from './option-checks.js';
import { stateNumber, stateVector, type Optimizer, type OptimizerState, type StepReport } from './optimizer.js';
import { StructuralDamping } from './structural-damping.js';
import { TruncatedCg } from './truncated-cg.js';

export const hessianFreeCurvatures = ['gauss-newton', 'hessian'] as const;
export type HessianFreeCurvature = (typeof hessianFreeCurvatures)[number];

/** Options of {@link createHessianFree}. */
export interface HessianFreeOptions {
  /** 'gauss-newton' (default): CG; 'hessian': MINRES */
  curvature?: HessianFreeCurvature;
  /** first lambda > 0, default 1 */
  damping?: number;
  /** bounds of lambda, defaults 1e-20 and 1e10 */
  minimumDamping?: number;
  /** upper bound of the damping */
  maximumDamping?: number;
  /** most products of one step, default 250 */
  maxIterations?: number;
  /** epsilon of the stop by relative progress, >= 0, default 5e-4 */
  progress?: number;
  /** stop at this relative residual too, >= 0, default 1e-10 (MINRES: at least 1e-2 unless given) */
  solveTolerance?: number;
  /** the previous solution times this starts CG, in [0, 1), default 0.95 */
  warmStart?: number;
  /** mu >= 0 of structural damping, default 0 */
  structural?: number;
  /** default 'diagonal'; only 'none' for 'hessian' and for custom layers */
  preconditioner?: PreconditionerName;
  /** exponent of diagonal preconditioners, in (0, 1], default 0.75 */
  exponent?: number;
  /** samples of the preconditioner 'sub-batch', default 32 */
  subBatch?: number;
  /** seed of the labels drawn for the preconditioner 'kfac', default 0 */
  seed?: number;
  /**
   * where passes and products are computed, default 'cpu'; 'cuda': on an NVIDIA card, 'auto': there where it is modelled to be
   * faster; or an open device
   */
  device?: DeviceName | DeviceKernels;
}

type Settings = Required<HessianFreeOptions>;

const defaults: Settings = {
  curvature: 'gauss-newton',
  damping: 1,
  minimumDamping: 1e-20,
  maximumDamping: 1e10,
  maxIterations: 250,
  progress: 5e-4,
  solveTolerance: 1e-10,
  warmStart: 0.95,
  structural: 0,
  preconditioner: 'diagonal',
  exponent: 0.75,
  subBatch: 32,
  seed: 0,
  device: 'cpu',
};

/** What one step did, beyond the fields of every optimizer. `damping` is lambda. */
export interface HessianFreeReport extends StepReport {
  /** products of the solver */
  products: number;
  /** why the solver ended */
  stop: string;
  /** the iterate taken after walking back, of `products` */
  iterate: number;
  /** factor of the line search */
  scale: number;
  gainRatio?: number;
}

class HessianFree implements Optimizer {
  readonly name = 'hessian-free';
  private lambda: number;
  private readonly solver: TruncatedCg;
  private readonly solution: Float64Array;
  private readonly step_: Float64Array;
  private readonly trial: Float64Array;
  private readonly downhill: Float64Array;
  private readonly preconditioner: Preconditioner | null;
  private readonly structural: StructuralDamping | null;
  private readonly workspace = new Workspace();
  private point: Linearization | null = null;

  constructor(
    private readonly network: Network,
    private readonly options: Settings,
  ) {
    const P = network.parameterCount;
    this.lambda = options.damping;
    this.solver = new TruncatedCg(P);
    this.solution = new Float64Array(P);
    this.step_ = new Float64Array(P);
    this.trial = new Float64Array(P);
    this.downhill = new Float64Array(P);
    this.preconditioner = createPreconditioner('createHessianFree', options.preconditioner, network, options);
    this.structural = options.structural > 0 ? new StructuralDamping('createHessianFree', network) : null;
  }

  step(params: Float64Array, batch: Batch): HessianFreeReport {
    const { network, options, downhill } = this;
    const point = (this.point = nextPoint(network, params, batch, this.point, options.device));
    const { loss, gradient } = point;
    const report: HessianFreeReport = {
      loss,
      accepted: false,
      stepNorm: 0,
      damping: this.lambda,
      products: 0,
      stop: 'not-finite',
      iterate: 0,
      scale: 0,
    };
    if (!Number.isFinite(loss)) return report;
    for (let i = 0; i < params.length; i++) downhill[i] = -gradient[i];
    const model = options.curvature === 'hessian' ? this.byMinres(point, report) : this.byCg(params, point, report);
    this.take(params, point, model, report);
    return report;
  }

  /** Leaves the step in `step_`; returns phi there. */
  private byCg(params: Float64Array, point: Linearization, report: HessianFreeReport): number {
    const { solver, options, solution, step_: x, preconditioner, structural, lambda, downhill } = this;
    preconditioner?.prepare(point);
    preconditioner?.damp(lambda);
    for (let i = 0; i < params.length; i++) solver.x[i] = options.warmStart * solution[i];
    const product = (v: Float64Array, out: Float64Array): void => {
      point.gaussNewtonProduct(v, out);
      kernels.axpy(v.length, lambda, v, 0, out, 0);
      structural?.accumulate(point, v, lambda * options.structural, out);
    };
    solver.run(product, downhill, preconditioner === null ? null : (v, out) => preconditioner.apply(v, out), {
      maxIterations: options.maxIterations,
      progress: options.progress,
      tolerance: options.solveTolerance,
    });
    solution.set(solver.x);
    // Back along the kept iterates, while the loss falls.
    let chosen = solver.kept.length - 1;
    let best = this.lossAt(params, solver.iterate(chosen), 1, point);
    for (let j = chosen - 1; j >= 0; j--) {
      const earlier = this.lossAt(params, solver.iterate(j), 1, point);
      if (earlier > best) break;
      best = earlier;
      chosen = j;
    }
    x.set(solver.iterate(chosen));
    report.products = solver.iterations;
    report.stop = solver.reason;
    report.iterate = solver.kept[chosen];
    return solver.keptModel[chosen];
  }

  private byMinres(point: Linearization, report: HessianFreeReport): number {
    const { options, step_: x, lambda, downhill, workspace, trial } = this;
    const P = x.length;
    const operator: LinearOperator = fromFunction(
      P,
      (v, out) => {
        point.hessianProduct(v, out);
        kernels.axpy(P, lambda, v, 0, out, 0);
      },
      { symmetric: true },
    );
    const result = minres(operator, downhill, {
      tolerance: options.solveTolerance,
      maxIterations: options.maxIterations,
      onNegativeCurvature: 'stop',
      workspace,
      out: x,
    });
    report.products = report.iterate = result.iterations;
    report.stop = result.status;
    let along = kernels.dot(P, x, 0, point.gradient, 0);
    if (result.negativeCurvature !== null && !(along < 0)) {
      // Met at the first product: the gradient's own direction. As long as a step of the damped model would be.
      const length = kernels.nrm2(P, downhill, 0) / lambda;
      const { direction } = result.negativeCurvature;
      const sign = kernels.dot(P, direction, 0, downhill, 0) < 0 ? -1 : 1;
      for (let i = 0; i < P; i++) x[i] = sign * length * direction[i];
      along = kernels.dot(P, x, 0, point.gradient, 0);
    }
    operator.apply(x, trial);
    return along + 0.5 * kernels.dot(P, x, 0, trial, 0);
  }

  /** Line search, damping, and the step itself. */
  private take(params: Float64Array, point: Linearization, model: number, report: HessianFreeReport): void {
    const { options, step_: x, trial, solution } = this;
    const P = params.length;
    const { loss } = point;
    const slope = kernels.dot(P, x, 0, point.gradient, 0);
    const slack = 10 * Number.EPSILON * Math.abs(loss);
    const full = this.lossAt(params, x, 1, point);
    const rho = model < 0 ? (loss - full + slack) / (slack - model) : -1;
    report.gainRatio = Number.isFinite(rho) ? rho : -1;
    if (rho > 0.75) this.lambda = Math.max(options.minimumDamping, (this.lambda * 2) / 3);
    else if (!(rho >= 0.25)) this.lambda = Math.min(options.maximumDamping, this.lambda * 1.5);
    let scale = 1;
    let after = full;
    for (let k = 0; k < 60 && !(after <= loss + slack + 1e-2 * scale * Math.min(slope, 0)); k++) {
      scale *= 0.8;
      after = this.lossAt(params, x, scale, point);
    }
    if (!(after <= loss + slack) || !(slope < 0)) {
      // No descent in working precision: forget the direction that led here.
      solution.fill(0);
      if (rho > 0.25) this.lambda = Math.min(options.maximumDamping, this.lambda * 1.5);
      return;
    }
    params.set(trial);
    report.accepted = true;
    report.scale = scale;
    report.stepNorm = scale * kernels.nrm2(P, x, 0);
  }

  /** Loss at params + scale x, which stays in `trial`. */
  private lossAt(params: Float64Array, x: Float64Array, scale: number, point: Linearization): number {
    const { trial } = this;
    for (let i = 0; i < params.length; i++) trial[i] = params[i] + scale * x[i];
    return point.lossAt(trial);
  }

  state(): OptimizerState {
    const own = this.preconditioner?.state() ?? { scalars: {}, vectors: {} };
    return {
      scalars: { ...own.scalars, lambda: this.lambda },
      vectors: { ...own.vectors, solution: this.solution.slice() },
    };
  }

  restore(state: OptimizerState): void {
    const operation = 'hessian-free.restore';
    const lambda = stateNumber(operation, state, 'lambda');
    checkPositive(operation, 'state.scalars.lambda', lambda);
    stateVector(operation, state, 'solution', this.solution);
    this.preconditioner?.restore(operation, state);
    this.lambda = lambda;
  }

  dispose(): void {
    this.point?.dispose();
    this.point = null;
  }
}

/**
 * Hessian-free optimization. See the head of hessian-free.ts for the method, and when not to use it.
 *
 * @throws TypeError or RangeError naming the option that is wrong; DeepHessianError 'unsupported' for custom layers with a
 *   preconditioner or structural damping
 * @example
 * const optimizer = createHessianFree(network, { preconditioner: 'kfac' });
 * const { loss, products, gainRatio } = optimizer.step(params, batch);
 */
export function createHessianFree(network: Network, options: HessianFreeOptions = {}): Optimizer {
  const operation = 'createHessianFree';
  const settings = settingsOf<Settings>(operation, options, defaults);
  checkOneOf(operation, 'options.curvature', settings.curvature, hessianFreeCurvatures);
  checkOneOf(operation, 'options.preconditioner', settings.preconditioner, preconditionerNames);
  checkDampingBounds(operation, settings);
  checkDevice(operation, settings.device);
  checkPositive(operation, 'options.exponent', settings.exponent);
  for (const name of ['progress', 'solveTolerance', 'structural'] as const) {
    checkNonNegative(operation, `options.${name}`, settings[name]);
  }
  checkInteger(operation, 'options.maxIterations', settings.maxIterations, 1);
  checkInteger(operation, 'options.subBatch', settings.subBatch, 1);
  checkInteger(operation, 'options.seed', settings.seed, 0, 0xffffffff);
  checkBelow(operation, 'warmStart', settings.warmStart, 1);
  if (settings.exponent > 1) failRange(operation, 'options.exponent', 'a number in (0, 1]', settings.exponent);
  if (settings.curvature === 'hessian') {
    if (options.preconditioner !== undefined && options.preconditioner !== 'none') {
      failOption(
        operation,
        'preconditioner',
        (nameOf) => `'none' with ${nameOf('curvature')} 'hessian'`,
        options.preconditioner,
      );
    }
    for (const name of ['structural', 'warmStart', 'progress'] as const) {
      if (options[name] !== undefined && options[name] !== 0) {
        failOption(
          operation,
          name,
          (nameOf) => `no value with ${nameOf('curvature')} 'hessian' (it belongs to 'gauss-newton')`,
          options[name],
        );
      }
    }
    settings.preconditioner = 'none';
    settings.solveTolerance = options.solveTolerance ?? 1e-2;
  } else if (options.preconditioner === undefined && network.layers.some((layer) => layer.kind === 'custom')) {
    settings.preconditioner = 'none';
  }
  return new HessianFree(network, settings);
}
