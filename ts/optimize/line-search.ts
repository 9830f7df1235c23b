/**
 * Line search for the strong Wolfe conditions (Nocedal & Wright 2006, algorithms 3.5 and 3.6): a step alpha along a
 * descent direction with, for phi(alpha) = f(x + alpha p),
 *
 *     phi(alpha) <= phi(0) + c1 alpha phi'(0)          |phi'(alpha)| <= c2 |phi'(0)|
 *
 * Trial points come from cubic interpolation (eq. 3.59) with safeguards; values that are not finite count as "too far".
 * Where phi no longer changes by more than rounding, the first condition cannot be read off the values any more, and
 * its derivative form (2 c1 - 1) phi'(0) >= phi'(alpha) decides (Hager & Zhang 2005, eq. 4.1): without it no method
 * gets below the square root of the machine precision.
 */
import { checkFinite, checkInteger, checkKeys, checkPositive, failRange, failType } from '../checks.js';

/** Closed list of outcomes, each with the sentence that explains it. */
export const lineSearchStatuses = {
  wolfe: 'Both strong Wolfe conditions hold.',
  'approximate-wolfe': 'The conditions hold in their derivative form; the values differ by rounding only.',
  'sufficient-decrease': 'The evaluations ran out; the best point found decreases the function sufficiently.',
  'maximum-step': 'The function still falls at the longest step allowed.',
  'no-decrease': 'No step with a sufficient decrease was found; the step is 0.',
  'not-descent': 'The slope at 0 is not negative; the step is 0.',
} as const;

export type LineSearchStatus = keyof typeof lineSearchStatuses;

/** A function of one step length: `evaluate` returns phi(step) and leaves phi'(step) in `slope`. */
export interface LineFunction {
  evaluate(step: number): number;
  slope: number;
}

export interface LineSearchOptions {
  /** sufficient decrease, in (0, c2); default 1e-4 */
  c1?: number;
  /** curvature, in (c1, 1); default 0.9 */
  c2?: number;
  /** most evaluations; default 25 */
  maxEvaluations?: number;
  /** first trial step > 0; default 1 */
  initialStep?: number;
  /** longest step; default 1e10 */
  maximumStep?: number;
}

export interface LineSearchResult {
  readonly status: LineSearchStatus;
  /** the step; 0 where none was found */
  readonly step: number;
  /** phi(step) */
  readonly value: number;
  /** phi'(step) */
  readonly slope: number;
  readonly evaluations: number;
}

/**
 * Relative change of phi below which values are taken for rounding: sums of many terms that partly cancel carry some
 * thousand units of it (Hager & Zhang work with 1e-6).
 */
const flat = 1e-12;

/**
 * Searches along phi from phi(0) = `value0` and phi'(0) = `slope0`.
 *
 * When the returned step is not 0, the last call of `line.evaluate` was at that step, so that gradients and other
 * things kept by the caller belong to it.
 *
 * @throws TypeError or RangeError for wrong arguments
 */
export function strongWolfe(
  line: LineFunction,
  value0: number,
  slope0: number,
  options: LineSearchOptions = {},
): LineSearchResult {
  const operation = 'strongWolfe';
  checkKeys(operation, 'options', options, ['c1', 'c2', 'maxEvaluations', 'initialStep', 'maximumStep']);
  const { c1 = 1e-4, c2 = 0.9, maxEvaluations = 25, initialStep = 1, maximumStep = 1e10 } = options;
  if (typeof line.evaluate !== 'function') failType(operation, 'line.evaluate', 'a function', line.evaluate);
  checkFinite(operation, 'value0', value0);
  checkFinite(operation, 'slope0', slope0);
  checkPositive(operation, 'c1', c1);
  checkPositive(operation, 'c2', c2);
  if (c1 >= c2 || c2 >= 1) failRange(operation, 'c1, c2', '0 < c1 < c2 < 1', `${c1}, ${c2}`);
  checkInteger(operation, 'maxEvaluations', maxEvaluations, 1);
  checkPositive(operation, 'initialStep', initialStep);
  checkPositive(operation, 'maximumStep', maximumStep);
  if (!(slope0 < 0)) return { status: 'not-descent', step: 0, value: value0, slope: slope0, evaluations: 0 };

  let evaluations = 0;
  let lastStep = 0;
  let slope = slope0;
  const evaluate = (step: number): number => {
    evaluations++;
    lastStep = step;
    const value = line.evaluate(step);
    slope = line.slope;
    // A slope that is not finite makes the point as useless as an infinite value.
    return Number.isFinite(value) && Number.isFinite(slope) ? value : Infinity;
  };
  const isFlat = (value: number): boolean => Math.abs(value - value0) <= flat * Math.abs(value0);
  // Equal up to rounding is no rise: then the sign of the slope tells the sides apart.
  const rises = (value: number, reference: number): boolean => value - reference > flat * Math.abs(reference);
  const decreases = (step: number, value: number, slopeThere: number): boolean =>
    value <= value0 + c1 * step * slope0 || (isFlat(value) && slopeThere <= (2 * c1 - 1) * slope0);
  const accepted = (step: number, value: number): LineSearchResult => ({
    status: isFlat(value) ? 'approximate-wolfe' : 'wolfe',
    step,
    value,
    slope,
    evaluations,
  });
  /** Ends without both conditions at the best point known, evaluated again if it was not the last one. */
  const settle = (step: number, value: number, slopeThere: number): LineSearchResult => {
    if (step === 0 || value >= value0)
      return { status: 'no-decrease', step: 0, value: value0, slope: slope0, evaluations };
    if (lastStep !== step) {
      evaluate(step);
      slopeThere = slope;
    }
    return { status: 'sufficient-decrease', step, value, slope: slopeThere, evaluations };
  };

  /** Algorithm 3.6. `lo` has the lowest value so far among points with a sufficient decrease; the minimum lies towards `hi`. */
  const zoom = (
    lo: number,
    loValue: number,
    loSlope: number,
    hi: number,
    hiValue: number,
    hiSlope: number,
  ): LineSearchResult => {
    while (evaluations < maxEvaluations) {
      const width = hi - lo;
      if (Math.abs(width) <= 1e-15 * Math.max(Math.abs(lo), Math.abs(hi))) break;
      let step = Number.isFinite(hiValue) ? cubicMinimum(lo, loValue, loSlope, hi, hiValue, hiSlope) : lo + 0.1 * width;
      // Stay a tenth of the interval away from both ends; also catches a cubic without a minimum (NaN).
      const inside = (step - lo) / width;
      if (!(inside >= 0.1)) step = lo + (Number.isNaN(inside) ? 0.5 : 0.1) * width;
      else if (inside > 0.9) step = lo + 0.9 * width;
      const value = evaluate(step);
      if (!Number.isFinite(value) || !decreases(step, value, slope) || rises(value, loValue)) {
        hi = step;
        hiValue = value;
        hiSlope = slope;
      } else {
        if (Math.abs(slope) <= -c2 * slope0) return accepted(step, value);
        if (slope * (hi - lo) >= 0) {
          hi = lo;
          hiValue = loValue;
          hiSlope = loSlope;
        }
        lo = step;
        loValue = value;
        loSlope = slope;
      }
    }
    return settle(lo, loValue, loSlope);
  };

  // Algorithm 3.5: go out until an interval holds a point with both conditions.
  let previous = 0;
  let previousValue = value0;
  let previousSlope = slope0;
  let step = Math.min(initialStep, maximumStep);
  let bound = maximumStep;
  while (evaluations < maxEvaluations) {
    const value = evaluate(step);
    if (!Number.isFinite(value)) {
      // Too far: come back by a factor of ten and never go there again.
      bound = step;
      step = previous + 0.1 * (step - previous);
      if (step === previous) break;
      continue;
    }
    if (!decreases(step, value, slope) || (previous > 0 && rises(value, previousValue))) {
      return zoom(previous, previousValue, previousSlope, step, value, slope);
    }
    if (Math.abs(slope) <= -c2 * slope0) return accepted(step, value);
    if (slope >= 0) return zoom(step, value, slope, previous, previousValue, previousSlope);
    if (step >= maximumStep) return { status: 'maximum-step', step, value, slope, evaluations };
    // Extrapolate by the cubic, between twice and ten times the step; half-way to a bound that is known to be too far.
    const cubic = cubicMinimum(previous, previousValue, previousSlope, step, value, slope);
    let next = cubic > step ? Math.min(Math.max(cubic, 2 * step), 10 * step) : 10 * step;
    if (next >= bound) next = bound === maximumStep ? maximumStep : 0.5 * (step + bound);
    previous = step;
    previousValue = value;
    previousSlope = slope;
    step = next;
  }
  return settle(previous, previousValue, previousSlope);
}

/** Minimiser of the cubic through two values and slopes (Nocedal & Wright 2006, eq. 3.59); NaN where there is none. */
export function cubicMinimum(a: number, fa: number, ga: number, b: number, fb: number, gb: number): number {
  const d1 = ga + gb - (3 * (fa - fb)) / (a - b);
  const root = d1 * d1 - ga * gb;
  if (!(root >= 0)) return NaN;
  const d2 = Math.sign(b - a) * Math.sqrt(root);
  return b - ((b - a) * (gb + d2 - d1)) / (gb - ga + 2 * d2);
}
