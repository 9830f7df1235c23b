/** Gradient clipping by the global norm (Pascanu, Mikolov & Bengio 2013, algorithm 1). */
import { checkPositive } from '../checks.js';
import { kernels } from '../native/index.js';

/**
 * Scales `gradient` (length P) in place so that its Euclidean norm is at most `maximum`.
 *
 * @returns the norm before clipping
 * @throws TypeError or RangeError when `maximum` is not a finite number > 0
 */
export function clipByNorm(gradient: Float64Array, maximum: number): number {
  checkPositive('clipByNorm', 'maximum', maximum);
  const norm = kernels.nrm2(gradient.length, gradient, 0);
  if (norm > maximum && Number.isFinite(norm)) {
    const factor = maximum / norm;
    for (let i = 0; i < gradient.length; i++) gradient[i] *= factor;
  }
  return norm;
}
