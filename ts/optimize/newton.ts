/**
 * Newton's method with the exact Hessian in an exact trust region.
 *
 *     s = argmin  grad^T s + 1/2 s^T H s   over |s| <= radius          (trust-region.ts, on the block factor of H + lambda I)
 *     rho = (loss(params) - loss(params + s)) / (m(0) - m(s))
 *
 * The radius doubles when rho > 0.75 and the step lies on the boundary; it shrinks to a quarter of the step when rho < 0.25; the
 * step is taken when rho > accept (Conn, Gould & Toint 2000, algorithm 6.1.1). A rejected step is undone and the next trial
 * factors the same derivatives with a larger lambda. Inertia certifies H + lambda I > 0 for every step; at a saddle, also one whose
 * gradient vanishes, the step follows the most negative curvature to the boundary. Near a minimum with H > 0 steps are full
 * Newton steps and convergence is quadratic.
 *
 * Losses that differ by rounding say nothing of the model: numerator and denominator of rho carry 10 ulp of the loss (Conn,
 * Gould & Toint 2000, section 17.4.2).
 *
 * For full and fixed batches: saddles, plateaus with symmetry, convergence to high precision, points whose second-order
 * conditions matter. Not for streams (the Hessian of a small batch is not that of the data), and not the fastest way down on
 * large residual-free problems, where gauss-newton has cheaper factors and needs no negative curvature. Cost of a step: one or two
 * factorizations of H + lambda I.
 */
import { checkBoolean, checkInteger, checkNonNegative, checkOneOf, checkPositive, failRange } from '../checks.js';
import type { Linearization, Network } from '../derivatives/index.js';
import type { DeviceKernels, DeviceName } from '../device/index.js';
import { kernels } from '../native/index.js';
import type { Batch } from '../network/index.js';
import { nextPoint } from './next-point.js';
import { checkBelow, checkDevice, failOption, settingsOf } from './option-checks.js';
import { stateNumber, type Optimizer, type OptimizerState, type StepReport } from './optimizer.js';
import { PointShiftedOperator, TrustRegionSolver, type TrustRegionSolution } from './trust-region.js';

/** Options of {@link createNewton}. */
export interface NewtonOptions {
  /** first radius, default 1 (Euclidean norm of the step) */
  radius?: number;
  /** largest radius, default 1000 */
  maximumRadius?: number;
  /** a step is taken when rho exceeds this, in [0, 0.25), default 1e-4 */
  accept?: number;
  /** accepted deviation of the step from the radius, relative, default 0.1 */
  boundaryTolerance?: number;
  /** least lambda, >= 0, default 1e-12 */
  minimumDamping?: number;
  /** trials of one step before it is given up as rejected, default 10 */
  maxTrials?: number;
  /** products spent on a look at the spectrum before the first factorization, default 30 */
  krylovSteps?: number;
  /** relative residual of the solves, default 1e-8 */
  solveTolerance?: number;
  /** report the index of every point, at the price of a further factorization where it is not known anyway; default false */
  inertia?: boolean;
  /** of the factors, default 'float64'; 'mixed': in single precision, refined to `solveTolerance` in double */
  precision?: 'float64' | 'mixed';
  /**
   * where the factors are made, default 'cpu'; 'cuda': on an NVIDIA card, 'auto': there where it is modelled to be faster; or an
   * open device
   */
  device?: DeviceName | DeviceKernels;
}

type Settings = Required<NewtonOptions>;

const defaults: Settings = {
  radius: 1,
  maximumRadius: 1000,
  accept: 1e-4,
  boundaryTolerance: 0.1,
  minimumDamping: 1e-12,
  maxTrials: 10,
  krylovSteps: 30,
  solveTolerance: 1e-8,
  inertia: false,
  precision: 'float64',
  device: 'cpu',
};

/** What one step did, beyond the fields of every optimizer. `damping` is lambda. */
export interface NewtonReport extends StepReport {
  /** radius after the step */
  radius: number;
  gradientNorm: number;
  /** key of `trustRegionStatuses`, or 'minimum': nothing to gain in working precision */
  region: string;
  /** (actual decrease) / (decrease of the model) */
  gainRatio?: number;
  trials: number;
  factorizations: number;
  /** upper bound of the leftmost eigenvalue of H before the step, close to it where negative curvature was followed */
  leftmost: number;
  /** negative eigenvalues of H + minimumDamping I before the step, where known (see `inertia`) */
  index?: number;
}

class Newton implements Optimizer {
  readonly name = 'newton';
  private radius: number;
  private readonly solver: TrustRegionSolver;
  private readonly trial: Float64Array;
  private point: Linearization | null = null;

  constructor(
    private readonly network: Network,
    private readonly options: Settings,
  ) {
    const P = network.parameterCount;
    this.radius = options.radius;
    this.solver = new TrustRegionSolver(P, {
      tolerance: options.boundaryTolerance,
      minimumShift: options.minimumDamping,
      krylovSteps: options.krylovSteps,
    });
    this.trial = new Float64Array(P);
  }

  step(params: Float64Array, batch: Batch): NewtonReport {
    const { network, solver, options } = this;
    const point = (this.point = nextPoint(network, params, batch, this.point, options.device));
    const gradientNorm = kernels.nrm2(params.length, point.gradient, 0);
    const report: NewtonReport = {
      loss: point.loss,
      accepted: false,
      stepNorm: 0,
      damping: 0,
      radius: this.radius,
      gradientNorm,
      region: 'minimum',
      trials: 0,
      factorizations: 0,
      leftmost: NaN,
    };
    if (!Number.isFinite(point.loss) || !Number.isFinite(gradientNorm)) return { ...report, region: 'not-finite' };
    const { solveTolerance: tolerance, precision, device } = options;
    const operator = new PointShiftedOperator(point, { tolerance, precision, device });
    try {
      if (!solver.prepare(operator, point.gradient)) return { ...report, region: 'not-finite' };
      this.search(params, point, operator, report);
      if (options.inertia && report.index === undefined) {
        const index = operator.factor(options.minimumDamping);
        report.factorizations++;
        if (index !== null) report.index = index;
      }
    } finally {
      operator.dispose();
    }
    report.radius = this.radius;
    return report;
  }

  /** Trials with a shrinking radius until one is taken. */
  private search(
    params: Float64Array,
    point: Linearization,
    operator: PointShiftedOperator,
    report: NewtonReport,
  ): void {
    const { solver, options, trial } = this;
    const P = params.length;
    const { loss, gradient } = point;
    const slack = 10 * Number.EPSILON * Math.abs(loss);
    for (let trials = 1; trials <= options.maxTrials; trials++) {
      const solution: TrustRegionSolution = solver.solve(operator, gradient, this.radius);
      report.trials = trials;
      report.damping = solution.lambda;
      report.region = solution.status;
      report.factorizations += solution.factorizations;
      report.leftmost = solution.leftmost;
      if (solution.index !== null) report.index = solution.index;
      // Not even the model promises a decrease: a minimum of it, in working precision.
      if (!(solution.predicted > 0)) {
        report.region = 'minimum';
        return;
      }
      for (let i = 0; i < P; i++) trial[i] = params[i] + solver.step[i];
      const after = point.lossAt(trial);
      const rho = (loss - after + slack) / (solution.predicted + slack);
      report.gainRatio = rho;
      if (!(rho >= 0.25)) this.radius = Math.max(0.25 * solution.norm, Number.MIN_VALUE);
      else if (rho > 0.75 && solution.status !== 'interior') {
        this.radius = Math.min(options.maximumRadius, Math.max(this.radius, 2 * solution.norm));
      }
      if (Number.isFinite(after) && rho > options.accept) {
        params.set(trial);
        report.accepted = true;
        report.stepNorm = solution.norm;
        return;
      }
    }
  }

  state(): OptimizerState {
    return { scalars: { radius: this.radius }, vectors: {} };
  }

  restore(state: OptimizerState): void {
    const radius = stateNumber('newton.restore', state, 'radius');
    checkPositive('newton.restore', 'state.scalars.radius', radius);
    this.radius = radius;
  }

  dispose(): void {
    this.point?.dispose();
    this.point = null;
  }
}

/**
 * Trust-region Newton with the exact Hessian. See the head of newton.ts for the method, and when not to use it.
 *
 * @throws TypeError or RangeError naming the option that is wrong
 * @example
 * const optimizer = createNewton(network, { radius: 1 });
 * const { loss, damping, leftmost, region } = optimizer.step(params, batch);
 */
export function createNewton(network: Network, options: NewtonOptions = {}): Optimizer {
  const operation = 'createNewton';
  const settings = settingsOf<Settings>(operation, options, defaults);
  for (const name of ['radius', 'maximumRadius', 'boundaryTolerance', 'solveTolerance'] as const) {
    checkPositive(operation, `options.${name}`, settings[name]);
  }
  checkBelow(operation, 'accept', settings.accept, 0.25);
  if (settings.boundaryTolerance >= 1) {
    failRange(operation, 'options.boundaryTolerance', 'a number from 0 to 1 (exclusive)', settings.boundaryTolerance);
  }
  checkNonNegative(operation, 'options.minimumDamping', settings.minimumDamping);
  checkInteger(operation, 'options.maxTrials', settings.maxTrials, 1, 1000);
  checkInteger(operation, 'options.krylovSteps', settings.krylovSteps, 2, 1000);
  checkBoolean(operation, 'options.inertia', settings.inertia);
  checkOneOf(operation, 'options.precision', settings.precision, ['float64', 'mixed'] as const);
  checkDevice(operation, settings.device);
  if (settings.radius > settings.maximumRadius) {
    const { radius, maximumRadius } = settings;
    failOption(operation, 'radius', (nameOf) => `a number <= ${nameOf('maximumRadius')} (${maximumRadius})`, radius);
  }
  return new Newton(network, settings);
}
