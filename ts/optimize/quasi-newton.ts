/**
 * The common core of BFGS and L-BFGS: direction, strong Wolfe line search, curvature pair, update. {@link QuasiNewton}
 * knows an objective function and a model of the inverse Hessian; {@link QuasiNewtonOptimizer} puts a network behind it.
 *
 *     p = -H g,   x += alpha p,   s = alpha p,   y = g_new - g,   H := update(H, s, y)
 *
 * Both gradients of a pair are of one objective (one batch), so that y is curvature and not sampling noise.
 *
 * Safeguard. Wolfe steps have s^T y > 0; a search that ended early may not. Then either the pair is skipped, or
 * y is pulled towards B s (Powell 1978; Nocedal & Wright 2006, procedure 18.2):
 *
 *     r = theta y + (1 - theta) B s   with theta such that s^T r = 0.2 s^T B s   when s^T y < 0.2 s^T B s
 *
 * As s = -alpha H g, the product B s = -alpha g is free.
 */
import { checkInteger, checkOneOf, checkPositive, failRange, failType } from '../checks.js';
import type { Network } from '../derivatives/network.js';
import { kernels } from '../native/index.js';
import type { Batch } from '../network/batch.js';
import { strongWolfe, type LineFunction, type LineSearchResult } from './line-search.js';
import { failOption } from './option-checks.js';
import type { Optimizer, OptimizerState, StepReport } from './optimizer.js';

/** Writes the gradient at x and returns the value. Both may be not finite where x is too far out. */
export type Objective = (x: Float64Array, gradient: Float64Array) => number;

/** A positive definite model H of the inverse Hessian. */
export interface InverseHessianModel {
  /** pairs taken in since the last reset */
  readonly updates: number;
  /** out := H g */
  apply(gradient: Float64Array, out: Float64Array): void;
  /** Takes a pair with s^T y > 0 in. */
  update(s: Float64Array, y: Float64Array, sy: number): void;
  /** Forgets everything: H = I. */
  reset(): void;
  state(): OptimizerState;
  restore(state: OptimizerState): void;
}

export const safeguards = ['damp', 'skip'] as const;

/** Options of both methods. */
export interface QuasiNewtonOptions {
  /** first trial step of the very first search, as a length: it is divided by the gradient's norm; default 1 */
  initialStep?: number;
  /** sufficient decrease constant; default 1e-4 */
  c1?: number;
  /** curvature constant; default 0.9 */
  c2?: number;
  /** most evaluations of loss and gradient in a search; default 25 */
  maxEvaluations?: number;
  /** what to do with a pair of too little curvature; default 'damp' */
  safeguard?: (typeof safeguards)[number];
}

export const quasiNewtonKeys = ['initialStep', 'c1', 'c2', 'maxEvaluations', 'safeguard'];

/** What one step did, beyond the fields of every optimizer. */
export interface QuasiNewtonReport extends StepReport {
  /** norm of the gradient before the step */
  gradientNorm: number;
  /** step length along the direction */
  step: number;
  /** evaluations of the line search */
  evaluations: number;
  /** key of `lineSearchStatuses`, 'stationary' for a zero gradient, 'not-finite' for a loss that is not finite */
  lineSearch: string;
  /** 'updated', 'damped', 'skipped' or 'none' */
  update: string;
}

/** The line x + step * direction of an objective, with everything of the last point kept. */
class Line implements LineFunction {
  slope = 0;
  objective: Objective = () => NaN;
  origin: Float64Array;
  readonly point: Float64Array;
  readonly gradient: Float64Array;
  readonly direction: Float64Array;

  constructor(size: number) {
    this.origin = new Float64Array(0);
    this.point = new Float64Array(size);
    this.gradient = new Float64Array(size);
    this.direction = new Float64Array(size);
  }

  evaluate(step: number): number {
    const { origin, point, direction } = this;
    let check = 0;
    for (let i = 0; i < point.length; i++) {
      const value = origin[i] + step * direction[i];
      check += value - value;
      point[i] = value;
    }
    this.slope = NaN;
    if (check !== 0) return Infinity; // overflow: the objective must not see it
    const value = this.objective(point, this.gradient);
    this.slope = kernels.dot(point.length, this.gradient, 0, direction, 0);
    return value;
  }
}

export class QuasiNewton {
  private readonly size: number;
  private readonly line: Line;
  private readonly gradient: Float64Array;
  private readonly s: Float64Array;
  private readonly y: Float64Array;
  private readonly options: Required<QuasiNewtonOptions>;
  /** The point at which `gradient` and `value` are known for `knownKey`, to save an evaluation a step. */
  private readonly known: Float64Array;
  private knownKey: unknown = undefined;
  private value = NaN;

  /** @throws TypeError or RangeError naming the option that is wrong */
  constructor(
    operation: string,
    size: number,
    private readonly model: InverseHessianModel,
    options: QuasiNewtonOptions,
  ) {
    const { initialStep = 1, c1 = 1e-4, c2 = 0.9, maxEvaluations = 25, safeguard = 'damp' } = options;
    checkPositive(operation, 'options.initialStep', initialStep);
    checkPositive(operation, 'options.c1', c1);
    checkPositive(operation, 'options.c2', c2);
    if (c1 >= c2 || c2 >= 1)
      failOption(operation, 'c1', (nameOf) => `a number below ${nameOf('c2')} (${c2}), which is below 1`, c1);
    checkInteger(operation, 'options.maxEvaluations', maxEvaluations, 1);
    checkOneOf(operation, 'options.safeguard', safeguard, safeguards);
    this.options = { initialStep, c1, c2, maxEvaluations, safeguard };
    this.size = size;
    this.line = new Line(size);
    this.gradient = new Float64Array(size);
    this.s = new Float64Array(size);
    this.y = new Float64Array(size);
    this.known = new Float64Array(size);
  }

  /**
   * One step from x, in place.
   *
   * @param key identifies the objective: when it is the same as in the last step and x is where that step ended, its
   *   last evaluation is reused. `undefined`: never
   */
  step(objective: Objective, x: Float64Array, key: unknown = undefined): QuasiNewtonReport {
    const { size: n, line, gradient, model } = this;
    if (!(x instanceof Float64Array)) failType('step', 'x', `a Float64Array of length ${n}`, x);
    if (x.length !== n) failRange('step', 'x', `a Float64Array of length ${n}`, x);
    if (key === undefined || key !== this.knownKey || !sameNumbers(x, this.known)) {
      this.value = objective(x, gradient);
    }
    this.knownKey = undefined;
    const loss = this.value;
    const gradientNorm = kernels.nrm2(n, gradient, 0);
    const rejected = (lineSearch: string, evaluations = 0): QuasiNewtonReport => ({
      loss,
      accepted: false,
      stepNorm: 0,
      gradientNorm,
      step: 0,
      evaluations,
      lineSearch,
      update: 'none',
    });
    if (!Number.isFinite(loss) || !Number.isFinite(gradientNorm)) return rejected('not-finite');
    if (gradientNorm === 0) return rejected('stationary');
    line.objective = objective;
    line.origin = x;

    let evaluations = 0;
    let result: LineSearchResult;
    for (;;) {
      model.apply(gradient, line.direction);
      negate(line.direction);
      let slope = kernels.dot(n, gradient, 0, line.direction, 0);
      // H is positive definite up to rounding; when rounding wins, or the numbers overflow, start it afresh.
      if (model.updates > 0 && !(slope < -1e-14 * gradientNorm * kernels.nrm2(n, line.direction, 0))) {
        model.reset();
        continue;
      }
      const fresh = model.updates === 0;
      if (fresh) slope = -gradientNorm * gradientNorm;
      const { initialStep, c1, c2, maxEvaluations } = this.options;
      const first = fresh ? initialStep / gradientNorm : 1;
      if (!Number.isFinite(slope) || !Number.isFinite(first) || first === 0) return rejected('not-finite', evaluations);
      result = strongWolfe(line, loss, slope, { c1, c2, maxEvaluations, initialStep: first });
      evaluations += result.evaluations;
      if (result.step > 0) break;
      // A search that failed along a model's direction gets a second chance along the gradient.
      if (fresh) return rejected(result.status, evaluations);
      model.reset();
    }

    const { s, y } = this;
    for (let i = 0; i < n; i++) {
      s[i] = line.point[i] - x[i];
      y[i] = line.gradient[i] - gradient[i];
    }
    const update = this.takePair(result.step, result.status === 'wolfe' || result.status === 'approximate-wolfe');
    x.set(line.point);
    this.known.set(x);
    gradient.set(line.gradient);
    this.value = result.value;
    this.knownKey = key;
    return {
      loss,
      accepted: true,
      stepNorm: kernels.nrm2(n, s, 0),
      gradientNorm,
      step: result.step,
      evaluations,
      lineSearch: result.status,
      update,
    };
  }

  private takePair(step: number, wolfe: boolean): string {
    const { size: n, s, y, gradient, model } = this;
    let sy = kernels.dot(n, s, 0, y, 0);
    let outcome = 'updated';
    // Under the Wolfe conditions s^T y > 0 holds, and a pair far below the model is news, not noise. A model without
    // pairs says nothing of the size of B either.
    if (this.options.safeguard === 'damp' && !wolfe && model.updates > 0) {
      const sBs = -step * kernels.dot(n, s, 0, gradient, 0);
      if (sy < 0.2 * sBs) {
        const theta = (0.8 * sBs) / (sBs - sy);
        for (let i = 0; i < n; i++) y[i] = theta * y[i] - (1 - theta) * step * gradient[i];
        sy = kernels.dot(n, s, 0, y, 0);
        outcome = 'damped';
      }
    }
    const bound = 1e-12 * kernels.nrm2(n, s, 0) * kernels.nrm2(n, y, 0);
    if (!(sy > bound) || !Number.isFinite(1 / sy)) {
      // The same model would lead to the same search again.
      if (!wolfe) model.reset();
      return 'skipped';
    }
    model.update(s, y, sy);
    return outcome;
  }

  state(): OptimizerState {
    return this.model.state();
  }

  restore(state: OptimizerState): void {
    this.model.restore(state);
    this.knownKey = undefined;
  }
}

/** A quasi-Newton core as an {@link Optimizer} of a network. */
export class QuasiNewtonOptimizer implements Optimizer {
  private batch: Batch | null = null;
  private readonly objective: Objective;

  constructor(
    readonly name: string,
    network: Network,
    private readonly core: QuasiNewton,
  ) {
    this.objective = (x, gradient) => network.lossAndGradient(x, this.batch as Batch, gradient);
  }

  step(params: Float64Array, batch: Batch): QuasiNewtonReport {
    this.batch = batch;
    return this.core.step(this.objective, params, batch);
  }

  state(): OptimizerState {
    return this.core.state();
  }

  restore(state: OptimizerState): void {
    this.core.restore(state);
  }
}

function negate(x: Float64Array): void {
  for (let i = 0; i < x.length; i++) x[i] = -x[i];
}

function sameNumbers(a: Float64Array, b: Float64Array): boolean {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
