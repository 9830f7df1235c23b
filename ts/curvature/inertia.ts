/**
 * Inertia of M + shift I and eigenvalue counts in an interval, exact or refused.
 *
 * An eigenvalue within `tolerance` of the shift counts as zero: the counts at shift - tolerance and shift + tolerance differ
 * by exactly their number. So a shift on a (multiple) eigenvalue is reported as that many zeros and never miscounted.
 */
import { checkFinite, checkKeys, checkNonNegative, failRange } from '../checks.js';
import type { Linearization } from '../derivatives/index.js';
import { DeepHessianError } from '../errors.js';
import { slicerOf, type SpectrumOptions, spectrumKeys, type SpectrumSlicer } from './spectrum-slicer.js';

/** Options of {@link inertia}. */
export interface InertiaOptions extends SpectrumOptions {
  /**
   * Eigenvalues of M + shift I of at most this modulus count as zero. Default 1e-10 |M|, widened by tens (at most to
   * 1e-3 |M|) until the counts on both sides are certain; the result says what it came to. A given one is never widened.
   */
  tolerance?: number;
}

/** Numbers of positive, negative and zero eigenvalues of M + shift I. */
export interface CertifiedInertia {
  /** Eigenvalues above the tolerance. */
  positive: number;
  /** Eigenvalues below minus the tolerance. */
  negative: number;
  /** Eigenvalues within the tolerance. */
  zero: number;
  /** eigenvalues of at most this modulus count as zero */
  tolerance: number;
  /** factorizations spent so far on this matrix */
  factorizations: number;
}

const relativeTolerance = 1e-10;
const widest = 1e-3;

/** Options of a question without those that it alone knows. */
export function spectrumOptions(options: SpectrumOptions): SpectrumOptions {
  const rest: SpectrumOptions = {};
  if (options.matrix !== undefined) rest.matrix = options.matrix;
  if (options.method !== undefined) rest.method = options.method;
  if (options.memoryLimit !== undefined) rest.memoryLimit = options.memoryLimit;
  if (options.seed !== undefined) rest.seed = options.seed;
  return rest;
}

/**
 * Inertia of M + shift I for M = H (default) or G, L2 included.
 *
 * @param source a point from `network.linearize`, or a {@link SpectrumSlicer} with what is already known
 * @param shift any finite number
 * @throws DeepHessianError 'inertia-untrusted' when rounding does not allow a certain answer at the tolerance
 *
 * @example
 * const { negative, zero } = inertia(point, 0);   // index of a critical point, and its flat directions
 */
export function inertia(
  source: Linearization | SpectrumSlicer,
  shift = 0,
  options: InertiaOptions = {},
): CertifiedInertia {
  checkFinite('inertia', 'shift', shift);
  checkKeys('inertia', 'options', options, [...spectrumKeys, 'tolerance']);
  if (options.tolerance !== undefined) checkNonNegative('inertia', 'tolerance', options.tolerance);
  const slicer = slicerOf(source, spectrumOptions(options));
  const centre = 0 - shift;
  let tolerance = options.tolerance ?? relativeTolerance * slicer.norm;
  const most = options.tolerance ?? Math.max(tolerance, widest * slicer.norm);
  // A zero matrix has no scale of its own.
  if (tolerance === 0) tolerance = 1e-30;
  const at = slicer.count(centre);
  // The distance is an estimate: believed only when it is clear.
  if (at.trusted && Math.abs(at.nearest) > 10 * tolerance) {
    return {
      positive: slicer.size - at.below,
      negative: at.below,
      zero: 0,
      tolerance,
      factorizations: slicer.factorizations,
    };
  }
  for (;;) {
    const below = slicer.count(centre - tolerance);
    const above = below.trusted ? slicer.count(centre + tolerance) : below;
    if (below.trusted && above.trusted) {
      return {
        positive: slicer.size - above.below,
        negative: below.below,
        zero: above.below - below.below,
        tolerance,
        factorizations: slicer.factorizations,
      };
    }
    const refused = below.trusted ? above : below;
    if (tolerance * 10 > most) {
      throw new DeepHessianError(
        'inertia-untrusted',
        `inertia: the signs at ${refused.shift} are not certain: ${refused.reason}`,
        {
          shift: -refused.shift,
          tolerance,
          nearest: refused.nearest,
        },
      );
    }
    tolerance *= 10;
  }
}

/**
 * The number of eigenvalues of M in [from, to), exact: two factorizations, no eigenvalue computed.
 *
 * Bounds of -Infinity and Infinity cost nothing. The bounds must not lie on an eigenvalue (to rounding): such a count is
 * refused, not guessed.
 *
 * @throws DeepHessianError 'inertia-untrusted' for a bound on an eigenvalue
 */
export function eigenvalueCount(
  source: Linearization | SpectrumSlicer,
  from: number,
  to: number,
  options: SpectrumOptions = {},
): number {
  checkKeys('eigenvalueCount', 'options', options, spectrumKeys);
  for (const [name, value] of [
    ['from', from],
    ['to', to],
  ] as const) {
    if (typeof value !== 'number' || Number.isNaN(value))
      failRange('eigenvalueCount', name, 'a number or an infinity', value);
  }
  if (to < from) failRange('eigenvalueCount', 'to', `a number >= from (${from})`, to);
  const slicer = slicerOf(source, options);
  const below = (shift: number): number =>
    shift === -Infinity ? 0 : shift === Infinity ? slicer.size : slicer.certainCount(shift);
  return to === from ? 0 : below(to) - below(from);
}
