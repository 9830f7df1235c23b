/** What a stage reads of its layer, and its arrays, in the precision of the factor: float64, or float32 in mixed precision. */
import type { AffinePoint } from '../derivatives/index.js';
import type { Real } from '../native/index.js';

/** The arrays of an {@link AffinePoint} in the precision of the factor. */
export interface StagePoint {
  readonly layer: AffinePoint['layer'];
  readonly input: Real;
  readonly slope: Real;
  readonly curvature: Real;
  readonly delta: Real;
  readonly linear: boolean;
}

/** `length` zeros in the precision of the factor. */
export function allocate(single: boolean, length: number): Real {
  return single ? new Float32Array(length) : new Float64Array(length);
}
