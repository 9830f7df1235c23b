/**
 * Spectral condition number of M + eps I: max |lambda + eps| / min |lambda + eps|.
 *
 * The largest modulus comes from the two ends of the spectrum, the smallest from Lanczos on (M + eps I)^-1; both are certified
 * by counts: no eigenvalue of M + eps I within the lower bound of the smallest modulus, none beyond the upper of the largest.
 */
import { checkFinite, checkKeys } from '../checks.js';
import type { Linearization } from '../derivatives/index.js';
import { lanczos } from '../linalg/lanczos.js';
import { LinearOperator } from '../linalg/linear-operator.js';
import { eigenvalue } from './eigenvalues.js';
import { inertia, spectrumOptions } from './inertia.js';
import { slicerOf, type SpectrumOptions, spectrumKeys, type SpectrumSlicer } from './spectrum-slicer.js';

/** Result of {@link conditionNumber}. */
export interface ConditionNumber {
  /** max |lambda + eps| / min |lambda + eps|; Infinity when M + eps I is singular to its tolerance */
  condition: number;
  /** max |lambda + eps| */
  largest: number;
  /** min |lambda + eps| */
  smallest: number;
  /** counts certify that smallest * (1 - this) <= min |lambda + eps| (the value itself is a Rayleigh quotient's) */
  certifiedTo: number;
}

/**
 * Spectral condition number of M + eps I.
 *
 * @param damping eps, any finite number
 * @throws DeepHessianError 'inertia-untrusted' when the counts are not certain
 */
export function conditionNumber(
  source: Linearization | SpectrumSlicer,
  damping: number,
  options: SpectrumOptions = {},
): ConditionNumber {
  checkFinite('conditionNumber', 'damping', damping);
  checkKeys('conditionNumber', 'options', options, spectrumKeys);
  const slicer = slicerOf(source, spectrumOptions(options));
  const { size, seed } = slicer;
  const low = eigenvalue(slicer, 0).value + damping;
  const high = eigenvalue(slicer, size - 1).value + damping;
  const largest = Math.max(Math.abs(low), Math.abs(high));
  const { zero, tolerance } = inertia(slicer, damping);
  if (zero > 0) return { condition: Infinity, largest, smallest: 0, certifiedTo: tolerance / (slicer.norm || 1) };
  let smallest: number;
  if (low > 0 || high < 0) smallest = Math.min(Math.abs(low), Math.abs(high));
  else {
    const factor = slicer.factorAt(-damping);
    const inverse = new LinearOperator({
      rows: size,
      symmetric: true,
      name: 'inverse',
      apply: (x, out) => out.set(factor.solve(x).x),
    });
    const { values, products } = lanczos(inverse, {
      smallest: size > 1 ? 1 : 0,
      largest: 1,
      tolerance: 1e-8,
      verify: false,
      seed,
      maxIterations: Math.max(2, Math.min(2 * size, 400)),
    });
    slicer.products += products;
    smallest = 1 / values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  }
  // No eigenvalue of M within smallest (1 - c) of -eps: the two counts agree.
  let certifiedTo = 1;
  for (const c of [1e-6, 1e-4, 1e-2]) {
    const below = slicer.count(-damping - smallest * (1 - c));
    const above = below.trusted ? slicer.count(-damping + smallest * (1 - c)) : below;
    if (below.trusted && above.trusted && below.below === above.below) {
      certifiedTo = c;
      break;
    }
  }
  return { condition: largest / smallest, largest, smallest, certifiedTo };
}
