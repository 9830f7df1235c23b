/**
 * Q = d2 dataLoss / d outputs2, block diagonal over the samples (K x K each; N samples, K outputs; unit-major N x K arrays):
 *
 *   mse                   diag q,  q_nk = 2 w_n / (N K)
 *   binary-cross-entropy  diag q,  q_nk = w_n sigmoid(s) sigmoid(-s) / (N K)
 *   cross-entropy         scale_n (diag p_n - p_n p_n^T),  scale_n = w_n / N  (times the mass of a soft target row)
 */
import { kernels, No } from '../native/index.js';
import type { Batch } from '../network/batch.js';
import type { LossName } from '../network/losses.js';

/** Second derivative of a loss that treats outputs one by one. */
export interface DiagonalOutputHessian {
  readonly kind: 'diagonal';
  /** Unit-major N x K. */
  readonly q: Float64Array;
}

/** Second derivative of softmax cross-entropy: scale_n (diag(p_n) - p_n p_n^T). */
export interface SoftmaxOutputHessian {
  readonly kind: 'softmax';
  /** Softmax probabilities, unit-major N x K. */
  readonly p: Float64Array;
  /** Sample scales, length N. */
  readonly scale: Float64Array;
}

/** Second derivative of the loss by the outputs, sample by sample. */
export type OutputHessian = DiagonalOutputHessian | SoftmaxOutputHessian;

/** Arrays of the right form for a loss, to be filled by {@link fillOutputHessian}. */
export function createOutputHessian(loss: LossName, samples: number, k: number): OutputHessian {
  return loss === 'cross-entropy'
    ? { kind: 'softmax', p: new Float64Array(samples * k), scale: new Float64Array(samples) }
    : { kind: 'diagonal', q: new Float64Array(samples * k) };
}

/** Numbers that it holds. */
export function outputHessianLength(q: OutputHessian): number {
  return q.kind === 'diagonal' ? q.q.length : q.p.length + q.scale.length;
}

/** Fills Q at `outputs` (unit-major N x K). The probabilities of a softmax form come from the loss and are left alone. */
export function fillOutputHessian(
  hessian: OutputHessian,
  loss: LossName,
  k: number,
  outputs: Float64Array,
  batch: Batch,
): void {
  const { samples, weights, targetValues } = batch;
  if (hessian.kind === 'softmax') {
    for (let n = 0; n < samples; n++) {
      let mass = 1;
      if (targetValues !== null) {
        mass = 0;
        for (let j = 0; j < k; j++) mass += targetValues[j * samples + n];
      }
      hessian.scale[n] = (mass * (weights === null ? 1 : weights[n])) / samples;
    }
    return;
  }
  const { q } = hessian;
  const mean = 1 / (samples * k);
  for (let j = 0; j < k; j++) {
    for (let n = 0; n < samples; n++) {
      const scale = weights === null ? mean : mean * weights[n];
      if (loss === 'mse') {
        q[j * samples + n] = 2 * scale;
      } else {
        const tail = Math.exp(-Math.abs(outputs[j * samples + n]));
        q[j * samples + n] = (scale * tail) / ((1 + tail) * (1 + tail));
      }
    }
  }
}

/** out := Q s, unit-major N x K blocks at the given offsets; `out` may be `s` at the same offset. */
export function multiplyOutputHessian(
  hessian: OutputHessian,
  samples: number,
  k: number,
  s: Float64Array,
  so: number,
  out: Float64Array,
  oo: number,
): void {
  if (hessian.kind === 'diagonal') {
    kernels.hadamard(No, samples * k, hessian.q, 0, s, so, out, oo);
    return;
  }
  const { p, scale } = hessian;
  for (let n = 0; n < samples; n++) {
    let top = 0;
    for (let j = 1; j < k; j++) if (p[j * samples + n] > p[top * samples + n]) top = j;
    // Measured from the likeliest class the mean sum_j p_j s_j has no large terms that cancel once p_top is near 1.
    const origin = s[so + top * samples + n];
    let mean = 0;
    for (let j = 0; j < k; j++) mean += p[j * samples + n] * (s[so + j * samples + n] - origin);
    for (let j = 0; j < k; j++) {
      const i = j * samples + n;
      out[oo + i] = scale[n] * p[i] * (s[so + i] - origin - mean);
    }
  }
}
