/**
 * Selected inversion through one affine layer: its diagonal block of (M + eps I)^-1, and the state covariance at its output.
 *
 * The recursion of stage.ts writes a layer's step as feedback of the state plus something independent of it,
 * x = w - K Y' with K = Gx^-1 a, and w has the "covariance" Gx^-1. With S' the covariance of the state Y',
 *
 *     [(M + eps I)^-1]_ll = Gx^-1 + K S' K^T
 *     S                   = F S' F^T + Dx Gx^-1 Dx^T,      F = Dz - Dx K      (closed loop),  S_0 = 0
 *
 * For a positive definite matrix this is the Gaussian with that precision (Rue & Held 2005, section 2.4; Erisman & Tinney 1975
 * for selected inversion of an LDL^T factor); all terms are rational in the matrix, so it holds for every regular one, S then
 * being symmetric but indefinite. In the coordinates of affine-stage.ts, with C = I - U U^T the complement's projector,
 *
 *     K_i    = U (Gx^-1 a)_i + C (delta_i (x) .) / eps         (unit i: fan x n')
 *     block  = (I (x) U) Gx^-1 (I (x) U)^T + I (x) C / eps + K S' K^T
 *     F      = D ((W (x) I) - (I (x) R) Gx^-1 a) (+ I when residual)
 *
 * Shapes: S' n' x n', S n x n, K p x n'. Flops 2 n n'^2 + 2 n^2 n' + 2 c n'^2 a layer, p^2 n' more for a whole block.
 */
import { kernels, Left, No, Yes } from '../native/index.js';
import type { SymmetricFactor } from '../linalg/symmetric-factor.js';
import type { StagePoint } from './stage-point.js';
import type { InverseBlockTarget } from './stage.js';

/** What an affine stage hands over; names as in affine-stage.ts, all in float64. */
export interface AffineInverseParts {
  point: StagePoint;
  params: Float64Array;
  samples: number;
  q: number;
  /** fan x q, or null on the parameter side */
  basis: Float64Array | null;
  r: Float64Array;
  gx: SymmetricFactor;
  /** G^-1 a, controls x n' */
  half: Float64Array;
  eps: number;
  gaussNewton: boolean;
}

/** Writes the layer's share of `target`; returns the state covariance at the layer's output when it is wanted. */
export function affineInverse(
  parts: AffineInverseParts,
  covariance: Float64Array,
  wantNext: boolean,
  target: InverseBlockTarget,
): Float64Array | null {
  const { point, samples: N, q, gx, half } = parts;
  const { units: h, inputs } = point.layer;
  const c = h * q;
  const previous = c === 0 ? 0 : half.length / c;
  // Gx^-1, c x c
  const inverse = new Float64Array(c * c);
  for (let i = 0; i < c; i++) inverse[i * (c + 1)] = 1;
  gx.solve(inverse, 0, c);
  // K1 = Gx^-1 a and T1 = K1 S', c x n'
  const gain = new Float64Array(c * previous);
  const gainCovariance = new Float64Array(c * previous);
  if (previous > 0) {
    gain.set(half);
    gx.signs(gain, 0, previous);
    gx.halfTransposed(gain, 0, previous);
    kernels.gemm(No, No, c, previous, previous, 1, gain, 0, c, covariance, 0, previous, 0, gainCovariance, 0, c);
  }
  if (parts.basis === null) parameterSide(parts, inverse, gain, gainCovariance, previous, target);
  else sampleSide(parts, parts.basis, inverse, gain, gainCovariance, covariance, previous, target);
  return wantNext ? nextCovariance(parts, inverse, gain, covariance, N * h, N * inputs, previous) : null;
}

/** Place of (unit i, row j of the layer's input with its row of ones) among the layer's own parameters. */
function place(point: StagePoint, i: number, j: number): number {
  const { inputs, weightOffset, biasOffset, parameterOffset } = point.layer;
  return (j < inputs ? weightOffset + i * inputs + j : biasOffset + i) - parameterOffset;
}

function parameterSide(
  parts: AffineInverseParts,
  inverse: Float64Array,
  gain: Float64Array,
  gainCovariance: Float64Array,
  previous: number,
  target: InverseBlockTarget,
): void {
  const { point, q } = parts;
  const { units: h } = point.layer;
  const c = h * q;
  const { diagonal, block } = target;
  for (let i = 0; i < h; i++) {
    for (let j = 0; j < q; j++) {
      const row = i * q + j;
      let value = inverse[row * (c + 1)];
      for (let m = 0, o = row; m < previous; m++, o += c) value += gain[o] * gainCovariance[o];
      diagonal[place(point, i, j)] = value;
    }
  }
  if (block === null) return;
  if (previous > 0) kernels.gemm(No, Yes, c, c, previous, 1, gainCovariance, 0, c, gain, 0, c, 1, inverse, 0, c);
  permute(point, inverse, h, q, block);
  // `inverse` serves the state covariance next: take the second term off again.
  if (previous > 0) kernels.gemm(No, Yes, c, c, previous, -1, gainCovariance, 0, c, gain, 0, c, 1, inverse, 0, c);
}

/** From (unit, row) order to the parameter order of the layer, symmetrised. */
function permute(point: StagePoint, from: Float64Array, h: number, fan: number, to: Float64Array): void {
  const p = h * fan;
  const places = new Int32Array(p);
  for (let i = 0; i < h; i++) for (let j = 0; j < fan; j++) places[i * fan + j] = place(point, i, j);
  for (let column = 0; column < p; column++) {
    for (let row = 0; row < p; row++) {
      to[places[column] * p + places[row]] = 0.5 * (from[column * p + row] + from[row * p + column]);
    }
  }
}

function sampleSide(
  parts: AffineInverseParts,
  basis: Float64Array,
  inverse: Float64Array,
  gain: Float64Array,
  gainCovariance: Float64Array,
  covariance: Float64Array,
  previous: number,
  target: InverseBlockTarget,
): void {
  const { point, samples: N, q, eps, gaussNewton } = parts;
  const { units: h, inputs, bias } = point.layer;
  const fan = inputs + (bias ? 1 : 0);
  const c = h * q;
  const p = h * fan;
  const { diagonal, block } = target;
  const cross = previous > 0 && !gaussNewton;
  // C = I - U U^T
  const complement = new Float64Array(fan * fan);
  for (let j = 0; j < fan; j++) complement[j * (fan + 1)] = 1;
  kernels.gemm(No, Yes, fan, fan, q, -1, basis, 0, fan, basis, 0, fan, 1, complement, 0, fan);
  // One unit at a time for the diagonal; all units' K and T side by side for a whole block.
  const stack = block === null ? fan : p;
  const k = new Float64Array(stack * previous);
  const t = new Float64Array(stack * previous);
  const weighted = new Float64Array(cross ? inputs * previous : 0);
  const left = new Float64Array(fan * q);
  for (let i = 0; i < h; i++) {
    const at = block === null ? 0 : i * fan;
    if (previous > 0) {
      kernels.gemm(No, No, fan, previous, q, 1, basis, 0, fan, gain, i * q, c, 0, k, at, stack);
      kernels.gemm(No, No, fan, previous, q, 1, basis, 0, fan, gainCovariance, i * q, c, 0, t, at, stack);
      if (cross) {
        for (let j = 0; j < inputs; j++) {
          for (let n = 0; n < N; n++) {
            const scale = point.delta[i * N + n] / eps;
            const column = (j * N + n) * stack + at;
            for (let row = 0; row < fan; row++) k[column + row] += scale * complement[j * fan + row];
          }
        }
        // (delta_i (x) I) S', inputs x n': S' seen as N x (inputs n')
        kernels.gemv(Yes, N, inputs * previous, 1 / eps, covariance, 0, N, point.delta, i * N, 1, 0, weighted, 0, 1);
        kernels.gemm(No, No, fan, previous, inputs, 1, complement, 0, fan, weighted, 0, inputs, 1, t, at, stack);
      }
    }
    // U (Gx^-1)_ii U^T
    kernels.gemm(No, No, fan, q, q, 1, basis, 0, fan, inverse, i * q * (c + 1), c, 0, left, 0, fan);
    for (let row = 0; row < fan; row++) {
      let value = complement[row * (fan + 1)] / eps;
      for (let j = 0, o = row; j < q; j++, o += fan) value += left[o] * basis[o];
      for (let m = 0, o = at + row; m < previous; m++, o += stack) value += k[o] * t[o];
      diagonal[place(point, i, row)] = value;
    }
  }
  if (block === null) return;
  const full = new Float64Array(p * p);
  if (previous > 0) kernels.gemm(No, Yes, p, p, previous, 1, t, 0, p, k, 0, p, 0, full, 0, p);
  for (let j = 0; j < h; j++) {
    for (let i = 0; i < h; i++) {
      kernels.gemm(No, No, fan, q, q, 1, basis, 0, fan, inverse, i * q + j * q * c, c, 0, left, 0, fan);
      kernels.gemm(No, Yes, fan, fan, q, 1, left, 0, fan, basis, 0, fan, 1, full, i * fan + j * fan * p, p);
      if (i !== j) continue;
      for (let column = 0; column < fan; column++) {
        for (let row = 0; row < fan; row++)
          full[(j * fan + column) * p + i * fan + row] += complement[column * fan + row] / eps;
      }
    }
  }
  permute(point, full, h, fan, block);
}

/** S = F S' F^T + D (I (x) R) Gx^-1 (I (x) R)^T D, n x n. */
function nextCovariance(
  parts: AffineInverseParts,
  inverse: Float64Array,
  gain: Float64Array,
  covariance: Float64Array,
  n: number,
  nPrevious: number,
  previous: number,
): Float64Array {
  const { point, params, samples: N, q, r } = parts;
  const { units: h, inputs, residual, weightOffset } = point.layer;
  const slope = point.slope as Float64Array;
  const c = h * q;
  const next = new Float64Array(n * n);
  // (I (x) R) Gx^-1, n x c, then times (I (x) R)^T
  const spread = new Float64Array(n * c);
  kernels.gemmBatch(No, No, N, c, q, 1, r, 0, N, 0, inverse, 0, c, q, 0, spread, 0, n, N, h);
  kernels.gemmBatch(No, Yes, n, N, q, 1, spread, 0, n, n * q, r, 0, N, 0, 0, next, 0, n, n * N, h);
  if (!point.linear) kernels.scaleSymmetric(n, next, 0, n, slope, 0, null, 0, next, 0, n);
  if (previous > 0) {
    const loop = new Float64Array(n * nPrevious);
    kernels.gemmBatch(No, No, N, nPrevious, q, -1, r, 0, N, 0, gain, 0, c, q, 0, loop, 0, n, N, h);
    for (let j = 0; j < inputs; j++) {
      for (let s = 0; s < N; s++) {
        const column = (j * N + s) * n;
        for (let i = 0; i < h; i++) loop[column + i * N + s] += params[weightOffset + i * inputs + j];
      }
    }
    if (!point.linear) kernels.scaleRows(Left, n, nPrevious, slope, 0, loop, 0, n, loop, 0, n);
    if (residual) for (let i = 0; i < n; i++) loop[i * (n + 1)] += 1;
    const product = new Float64Array(n * nPrevious);
    kernels.gemm(No, No, n, nPrevious, nPrevious, 1, loop, 0, n, covariance, 0, nPrevious, 0, product, 0, n);
    kernels.gemm(No, Yes, n, n, nPrevious, 1, product, 0, n, loop, 0, n, 1, next, 0, n);
  }
  symmetrise(next, n);
  return next;
}

/** A := (A + A^T) / 2: rounding must not feed an antisymmetric part back into the recursion. */
export function symmetrise(a: Float64Array, n: number): void {
  for (let j = 0; j < n; j++) {
    for (let i = j + 1; i < n; i++) {
      const mean = 0.5 * (a[j * n + i] + a[i * n + j]);
      a[j * n + i] = mean;
      a[i * n + j] = mean;
    }
  }
}
