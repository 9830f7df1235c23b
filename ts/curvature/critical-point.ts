/**
 * What kind of critical point the parameters are at, decided by exact counts.
 *
 * With n-, n0, n+ the numbers of eigenvalues of the Hessian below -tau, within [-tau, tau] and above tau:
 *
 *     n- > 0 and n+ > 0       saddle of index n-      (whatever the flat directions do: the loss falls along one direction and
 *                                                      rises along another at second order)
 *     n- = n0 = 0             minimum (strict)        n+ = n0 = 0   maximum (strict)
 *     otherwise               degenerate: second derivatives cannot decide along the n0 flat directions
 *
 * Away from the critical set (gradient above its tolerance) the counts still stand, but the point is 'not-critical'. The second
 * derivative test is Sylvester's law of inertia on the quadratic form (docs/theory/critical-points.md).
 */
import { checkAllFinite, checkInteger, checkKeys, checkNonNegative, checkVector, failType } from '../checks.js';
import type { Linearization } from '../derivatives/index.js';
import { checkLinearized } from '../inverse/factor.js';
import { dot, norm } from '../linalg/vectors.js';
import { Random } from '../random.js';
import { eigenvalue } from './eigenvalues.js';
import { inertia, spectrumOptions } from './inertia.js';
import { slicerOf, type SpectrumOptions, spectrumKeys, type SpectrumSlicer } from './spectrum-slicer.js';

/** All kinds of a point, by name. */
export const criticalPointKinds = ['minimum', 'maximum', 'saddle', 'degenerate', 'not-critical'] as const;
/**
 * Kind of a point. 'not-critical': the gradient is not zero. 'degenerate': critical, with zero eigenvalues that leave
 * the kind open.
 */
export type CriticalPointKind = (typeof criticalPointKinds)[number];

/** Options of {@link criticalPoint}. */
export interface CriticalPointOptions extends Omit<SpectrumOptions, 'matrix'> {
  /** gradient norms up to this count as zero; default 1e-6 |H|: a step of 1e-6 along the steepest curvature makes that much */
  gradientTolerance?: number;
  /** tau: eigenvalues of at most this modulus count as zero; default as in {@link inertia} */
  tolerance?: number;
  /** random directions of the quadratic-form check, default 4 */
  directions?: number;
}

/** Loss along a direction from the point, with its second-order prediction. */
export interface LossProfile {
  /** signed distances from the point */
  distances: Float64Array;
  /** Loss at each of them. */
  losses: Float64Array;
  /** loss + t g^T v + t^2 / 2 v^T H v */
  predictions: Float64Array;
}

/** v^T H v by the exact product against second differences of the loss. */
export interface QuadraticFormCheck {
  /** 'most negative' for the eigenvector, else 'random' */
  direction: 'most negative' | 'random';
  /** v^T H v for the unit vector v */
  exact: number;
  /** (loss(x + t v) - 2 loss(x) + loss(x - t v)) / t^2 */
  difference: number;
  /** t */
  step: number;
}

/** What {@link criticalPoint} found. */
export interface CriticalPointReport {
  /** Kind of the point. */
  kind: CriticalPointKind;
  /** Loss at the point. */
  loss: number;
  /** Euclidean norm of the gradient. */
  gradientNorm: number;
  /** Largest norm that counts as critical. */
  gradientTolerance: number;
  /** number of negative directions: the index of the saddle */
  index: number;
  /** number of directions with |eigenvalue| <= tolerance */
  degenerate: number;
  /** Number of positive eigenvalues. */
  positive: number;
  /** tau */
  tolerance: number;
  /** the smallest eigenvalue with its certified bounds */
  smallest: { value: number; lower: number; upper: number };
  /** unit eigenvector of the smallest eigenvalue, length P */
  direction: Float64Array;
  /** |H v - lambda v| of that vector */
  residual: number;
  /** the loss along it, both ways */
  profile: LossProfile;
  /** The loss along eigenvectors against the quadratic form. */
  quadraticForm: QuadraticFormCheck[];
  /** Factorizations spent. */
  factorizations: number;
  /** Products with M spent. */
  products: number;
}

/**
 * Gradient norm, index, flat directions, the most negative direction and the loss along it.
 *
 * @param source a point, or a {@link SpectrumSlicer} of its Hessian
 * @throws DeepHessianError 'inertia-untrusted' when the counts are not certain at the tolerance
 *
 * @example
 * const { kind, index, degenerate, direction } = criticalPoint(point);
 */
export function criticalPoint(
  source: Linearization | SpectrumSlicer,
  options: CriticalPointOptions = {},
): CriticalPointReport {
  const operation = 'criticalPoint';
  checkKeys(operation, 'options', options, [
    ...spectrumKeys.filter((key) => key !== 'matrix'),
    'gradientTolerance',
    'tolerance',
    'directions',
  ]);
  const { directions = 4 } = options;
  checkInteger(operation, 'directions', directions, 0, 1000);
  if (options.gradientTolerance !== undefined)
    checkNonNegative(operation, 'gradientTolerance', options.gradientTolerance);
  const slicer = slicerOf(source, spectrumOptions(options));
  const { point } = slicer;
  const gradientNorm = norm(point.gradient);
  const gradientTolerance = options.gradientTolerance ?? 1e-6 * slicer.norm;
  const counts = inertia(slicer, 0, options.tolerance === undefined ? {} : { tolerance: options.tolerance });
  const smallest = eigenvalue(slicer, 0, { vector: true });
  const direction = smallest.vector!;
  // Downhill first: at a point that is not critical the gradient tells the two signs apart.
  if (dot(direction, point.gradient) > 0) for (let i = 0; i < direction.length; i++) direction[i] = -direction[i];
  const checks = [quadraticFormCheck(point, direction, 'most negative')];
  const random = new Random(slicer.seed);
  for (let d = 0; d < directions; d++) {
    const v = random.normals(new Float64Array(slicer.size));
    const length = norm(v);
    for (let i = 0; i < v.length; i++) v[i] /= length;
    checks.push(quadraticFormCheck(point, v, 'random'));
  }
  const { negative, zero, positive } = counts;
  let kind: CriticalPointKind = 'degenerate';
  if (gradientNorm > gradientTolerance) kind = 'not-critical';
  else if (negative > 0 && positive > 0) kind = 'saddle';
  else if (zero === 0) kind = negative === 0 ? 'minimum' : 'maximum';
  return {
    kind,
    loss: point.loss,
    gradientNorm,
    gradientTolerance,
    index: negative,
    degenerate: zero,
    positive,
    tolerance: counts.tolerance,
    smallest: { value: smallest.value, lower: smallest.lower, upper: smallest.upper },
    direction,
    residual: smallest.residual!,
    profile: lossProfile(point, direction),
    quadraticForm: checks,
    factorizations: slicer.factorizations,
    products: slicer.products,
  };
}

/** Loss at params + t v, without second derivatives. */
function lossAlong(point: Linearization, v: Float64Array): (t: number) => number {
  const { network, params, batch } = point;
  const trial = new Float64Array(params.length);
  return (t) => {
    for (let i = 0; i < trial.length; i++) trial[i] = params[i] + t * v[i];
    return network.evaluate(trial, batch).loss;
  };
}

/**
 * The loss along a direction, both ways, beside its second-order prediction.
 *
 * @param distances signed multiples of `direction`; default 0 and +-(0.001 ... 1), 25 in all
 */
export function lossProfile(point: Linearization, direction: Float64Array, distances?: Float64Array): LossProfile {
  const operation = 'lossProfile';
  checkLinearized(operation, point);
  checkVector(operation, 'direction', direction, point.network.parameterCount);
  const at = distances ?? defaultDistances();
  if (!(at instanceof Float64Array)) failType(operation, 'distances', 'a Float64Array', at);
  checkAllFinite(operation, 'distances', at);
  const loss = lossAlong(point, direction);
  const slope = dot(point.gradient, direction);
  const curvature = dot(direction, point.hessianProduct(direction));
  const losses = new Float64Array(at.length);
  const predictions = new Float64Array(at.length);
  for (let i = 0; i < at.length; i++) {
    losses[i] = loss(at[i]);
    predictions[i] = point.loss + at[i] * slope + 0.5 * at[i] * at[i] * curvature;
  }
  return { distances: at, losses, predictions };
}

function defaultDistances(): Float64Array {
  const half = Array.from({ length: 12 }, (_, i) => 10 ** (-3 + (3 * i) / 11));
  return Float64Array.from([...half.map((t) => -t).reverse(), 0, ...half]);
}

function quadraticFormCheck(
  point: Linearization,
  v: Float64Array,
  direction: QuadraticFormCheck['direction'],
): QuadraticFormCheck {
  const loss = lossAlong(point, v);
  // Rounding u |loss| / t^2 and truncation t^2 / 12 times the fourth derivative balance near u^(1/4).
  const step = Number.EPSILON ** 0.25;
  const difference = (loss(step) - 2 * loss(0) + loss(-step)) / step ** 2;
  return { direction, exact: dot(v, point.hessianProduct(v)), difference, step };
}
