/**
 * One trust-region step at a point of a network, for those who write their own method or study a point:
 *
 *     minimise  m(s) = g^T s + 1/2 s^T M s   over  |s| <= radius,   M = H or G,
 *
 * by trust-region.ts on the block factor of M + lambda I, so without a matrix of P x P. In double precision: the hard case needs
 * inertia certified for lambda next to an eigenvalue, which a factor in single precision cannot do.
 */
import {
  checkInteger,
  checkNonNegative,
  checkOneOf,
  checkPositive,
  checkVector,
  failRange,
  firstNonFinite,
} from '../checks.js';
import type { Linearization } from '../derivatives/index.js';
import type { DeviceKernels, DeviceName } from '../device/index.js';
import { DeepHessianError } from '../errors.js';
import { checkLinearized } from '../inverse/factor.js';
import type { MatrixKind } from '../inverse/index.js';
import { checkDevice, settingsOf } from './option-checks.js';
import { PointShiftedOperator, TrustRegionSolver, type TrustRegionSolution } from './trust-region.js';

/** Options of {@link trustRegionStep}. */
export interface TrustRegionStepOptions {
  /** longest step, > 0: the Euclidean norm over all parameters, in their units */
  radius: number;
  /** M: 'hessian' (default), the exact Hessian H, or 'gauss-newton', G = J^T Q J, positive semidefinite; L2 included */
  matrix?: MatrixKind;
  /** g, P finite numbers, default the gradient of the point; another one for a model whose slope comes from other samples */
  gradient?: Float64Array;
  /** accepted deviation of |s| from the radius, relative, in (0, 1), default 1e-6 */
  tolerance?: number;
  /**
   * fraction of the model's decrease that the hard case, or an interior step, may give away, in (0, 1), default 1e-10. There
   * lambda is that close to the eigenvalue -leftmost, so what falls below rounding ends as 'limit'.
   */
  hardTolerance?: number;
  /** least lambda, >= 0, default 0: M counts as M + minimumShift I */
  minimumShift?: number;
  /** most factorizations, default 60 */
  maxFactorizations?: number;
  /** products spent on a look at the spectrum before the first factorization, default 30 */
  krylovSteps?: number;
  /** relative residual of the solves, default 1e-10 */
  solveTolerance?: number;
  /**
   * where the factors are made, default 'cpu'; 'cuda': on an NVIDIA card, 'auto': there where it is modelled to be faster; or an
   * open device
   */
  device?: DeviceName | DeviceKernels;
  /** seed of the random part of the Krylov subspace's first vector, default 1 */
  seed?: number;
}

/** The solution of {@link trustRegionStep}. */
export interface TrustRegionStep extends TrustRegionSolution {
  /** s, length P */
  step: Float64Array;
}

type Settings = Required<Omit<TrustRegionStepOptions, 'radius' | 'gradient'>>;

const defaults: Settings = {
  matrix: 'hessian',
  tolerance: 1e-6,
  hardTolerance: 1e-10,
  minimumShift: 0,
  maxFactorizations: 60,
  krylovSteps: 30,
  solveTolerance: 1e-10,
  device: 'cpu',
  seed: 1,
};

/**
 * The minimiser of g^T s + 1/2 s^T M s over |s| <= radius, M the exact Hessian or the Gauss-Newton matrix, also where M is
 * indefinite or singular and in the hard case, where g has no part along the leftmost eigenvector (More & Sorensen, *Computing a
 * trust region step*, SIAM J. Sci. Stat. Comput. 4, 1983; Conn, Gould & Toint, *Trust-Region Methods*, 2000, algorithm 7.3.6).
 * The solution satisfies (M + lambda I) s = -g with M + lambda I positive semidefinite, which the inertia of the last factor
 * certifies; in the hard case a multiple of the leftmost eigenvector comes on top. At a saddle with g = 0 the step has length
 * radius along that eigenvector; at a minimum it is zero.
 *
 * @param point from `network.linearize(params, batch)`; nothing of it is changed
 * @param options `radius` is required; see {@link TrustRegionStepOptions}
 * @returns the step with its multiplier, status (a key of `trustRegionStatuses`) and the decrease that the model predicts. Where
 *   `status` is 'limit', it is the best step found, not the minimiser.
 * @throws TypeError or RangeError naming what is wrong; DeepHessianError 'diverged' at a point whose gradient or second
 *   derivatives are not finite, 'out-of-memory' with the figures, 'device-unavailable' for a card that is not there
 *
 * @example
 * const point = network.linearize(params, batch);
 * const { step, lambda, predicted } = trustRegionStep(point, { radius: 0.5 });
 * const trial = params.map((value, i) => value + step[i]);
 * const gain = (point.loss - network.evaluate(trial, batch).loss) / predicted;
 */
export function trustRegionStep(point: Linearization, options: TrustRegionStepOptions): TrustRegionStep {
  const operation = 'trustRegionStep';
  checkLinearized(operation, point);
  const settings = settingsOf<Settings & Pick<TrustRegionStepOptions, 'radius' | 'gradient'>>(
    operation,
    options,
    { ...defaults, radius: NaN },
    ['gradient'],
  );
  const { radius, matrix, minimumShift, maxFactorizations, krylovSteps, solveTolerance, device } = settings;
  checkPositive(operation, 'options.radius', options.radius);
  checkOneOf(operation, 'options.matrix', matrix, ['hessian', 'gauss-newton'] as const);
  for (const name of ['tolerance', 'hardTolerance'] as const) {
    checkPositive(operation, `options.${name}`, settings[name]);
    if (settings[name] >= 1)
      failRange(operation, `options.${name}`, 'a number from 0 to 1 (both exclusive)', settings[name]);
  }
  checkNonNegative(operation, 'options.minimumShift', minimumShift);
  checkInteger(operation, 'options.maxFactorizations', maxFactorizations, 1);
  checkInteger(operation, 'options.krylovSteps', krylovSteps, 2, 1000);
  checkPositive(operation, 'options.solveTolerance', solveTolerance);
  checkInteger(operation, 'options.seed', settings.seed);
  checkDevice(operation, device);
  const { parameterCount } = point.network;
  if (settings.gradient !== undefined) checkVector(operation, 'options.gradient', settings.gradient, parameterCount);
  const gradient = settings.gradient ?? point.gradient;
  const diverged = (what: string): DeepHessianError => {
    const message = `${operation}: the loss at the point is ${point.loss} and ${what} not finite`;
    return new DeepHessianError('diverged', message, { loss: point.loss });
  };
  if (firstNonFinite(gradient) >= 0) throw diverged('its gradient is');
  const { tolerance, hardTolerance, seed } = settings;
  const solver = new TrustRegionSolver(parameterCount, {
    tolerance,
    hardTolerance,
    minimumShift,
    maxFactorizations,
    krylovSteps,
    seed,
  });
  const operator = new PointShiftedOperator(point, { matrix, tolerance: solveTolerance, device });
  try {
    if (!solver.prepare(operator, gradient)) throw diverged('its second derivatives are');
    return { step: solver.step, ...solver.solve(operator, gradient, radius) };
  } finally {
    operator.dispose();
  }
}
