/**
 * Orthonormal coordinates of an affine layer's input: Z~ = U R^T with Z~ ((fan-in [+ 1]) x N, a last row of ones for the bias).
 *
 *   N >= fan: U = I (none is stored), R = Z~^T                     ("parameter side")
 *   N <  fan: U (fan x q) and R (N x q), q = N, by Householder QR   ("sample side"), which also serves rank-deficient inputs
 */
import { kernels } from '../native/index.js';
import type { Real } from '../native/index.js';
import { allocate, type StagePoint } from './stage-point.js';

/** Fills R (N x q) and, where there is one, U (fan x q); both in the precision of the point. */
export function inputBasis(
  point: Pick<StagePoint, 'layer' | 'input'>,
  samples: number,
  basis: Real | null,
  r: Real,
): void {
  const { inputs, bias } = point.layer;
  const fan = inputs + (bias ? 1 : 0);
  const z = point.input;
  if (basis === null) {
    r.set(z.subarray(0, samples * inputs));
    if (bias) r.fill(1, samples * inputs, samples * fan);
    return;
  }
  // Z~ is fan x N: the transpose of the stored N x inputs block, with a last row of ones.
  const q = samples;
  kernels.transpose(samples, inputs, z, 0, samples, basis, 0, fan);
  if (bias) for (let n = 0; n < samples; n++) basis[n * fan + inputs] = 1;
  const upper = allocate(r instanceof Float32Array, q * q);
  kernels.qr(fan, q, basis, 0, fan, upper, 0, q);
  kernels.transpose(q, q, upper, 0, q, r, 0, q);
}
