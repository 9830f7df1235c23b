/**
 * The square root R of the output Hessian Q = R R^T, sample by sample, and what divides by it.
 *
 * Mean squared error and binary cross-entropy: R = diag(sqrt q). Softmax: the K x (K-1) Cholesky factor of
 * diag(p) - p p^T in closed form (Tanabe & Sagae 1992), all of whose entries are products and quotients of sums of
 * probabilities: accurate when p is one-hot to the smallest number. With t_k = p_k + ... + p_{K-1}
 *
 *     R_kk = sqrt(p_k t_{k+1} / t_k)        R_jk = -R_kk p_j / t_{k+1}   for j > k
 *
 * Rows are ordered (k, n) = k N + n: R^T is (K' N) x K, column-major.
 */
import type { Linearization } from '../derivatives/index.js';
import { lossOfOutputs } from '../network/losses.js';
import type { Real } from '../native/index.js';
import type { NetworkModel } from '../network/index.js';
import { sampleSpaceOutputs } from './cost.js';

/** Products of probabilities above this have all their digits. */
const leastProduct = 1e-290;

/** Writes R^T of samples start .. start + count - 1, rows (k, n), columns the K outputs, at `offset`. */
export function outputRows(
  network: NetworkModel,
  point: Linearization,
  out: Real,
  offset: number,
  start = 0,
  count = point.samples,
): void {
  const N = point.samples;
  const K = network.outputs;
  const outputs = sampleSpaceOutputs(network);
  const rows = count * outputs;
  const q = point.outputHessian;
  out.fill(0, offset, offset + rows * K);
  if (q.kind === 'diagonal') {
    for (let k = 0; k < K; k++) {
      for (let n = 0; n < count; n++) out[offset + k * rows + k * count + n] = Math.sqrt(q.q[k * N + start + n]);
    }
    return;
  }
  for (let n = 0; n < count; n++) {
    const at = start + n;
    const scale = Math.sqrt(q.scale[at]);
    // tail[k] = p_k + ... + p_{K-1}, summed from the end: every term positive
    let tailNext = q.p[(K - 1) * N + at];
    for (let k = outputs - 1; k >= 0; k--) {
      const p = q.p[k * N + at];
      const tail = p + tailNext;
      const row = offset + k * count + n;
      // Products of probabilities lose their digits at the end of the range of numbers; there quotients, each at most one, serve.
      const safe = p * tailNext > leastProduct && tail * tailNext > leastProduct;
      const some = tailNext > 0;
      const root = scale * (safe ? Math.sqrt((p * tailNext) / tail) : some ? Math.sqrt(p * (tailNext / tail)) : 0);
      const factor = safe ? scale * Math.sqrt(p / (tail * tailNext)) : some ? root / tailNext : 0;
      out[row + k * rows] = root;
      for (let j = k + 1; j < K; j++) out[row + j * rows] = -q.p[j * N + at] * factor;
      tailNext = tail;
    }
  }
}

/**
 * rows := R^+ u with u = dLoss/doutputs: R rows = u exactly, as u lies in the range of R, except where probabilities have
 * underflowed to zero. A sample that is wrong by 745 in the logits has a gradient there, but no curvature.
 *
 * @param last R^T, as {@link outputRows} writes it
 * @param u space for N K numbers, overwritten by what R does not reach, u - R rows
 * @returns whether that is anything
 */
export function outputResidual(
  network: NetworkModel,
  point: Linearization,
  last: Float64Array,
  u: Float64Array,
  rows: Float64Array,
): boolean {
  const N = point.samples;
  const K = network.outputs;
  const outputs = sampleSpaceOutputs(network);
  const count = N * outputs;
  let rest = false;
  lossOfOutputs(network.loss, N, K, point.unitMajorOutputs, point.batch, 0, u, null);
  if (point.outputHessian.kind === 'diagonal') {
    for (let i = 0; i < count; i++) {
      const root = last[i + Math.floor(i / N) * count];
      rows[i] = root > 0 ? u[i] / root : 0;
      if (root > 0) u[i] = 0;
      else rest ||= u[i] !== 0;
    }
    return rest;
  }
  // R is lower triangular per sample (K x (K-1)): forward substitution, R[j, k] = last[(k, n), j].
  for (let n = 0; n < N; n++) {
    let reached = true;
    let size = 0;
    for (let k = 0; k < outputs; k++) {
      size = Math.max(size, Math.abs(u[k * N + n]));
      let value = u[k * N + n];
      for (let i = 0; i < k; i++) value -= last[i * N + n + k * count] * rows[i * N + n];
      const root = last[k * N + n + k * count];
      rows[k * N + n] = root > 0 ? value / root : 0;
      reached &&= root > 0;
    }
    for (let j = 0; j < K; j++) {
      let value = u[j * N + n];
      if (!reached)
        for (let k = 0; k <= Math.min(j, outputs - 1); k++) value -= last[k * N + n + j * count] * rows[k * N + n];
      // Rounding is nothing that R does not reach.
      u[j * N + n] = reached || Math.abs(value) <= 1e-12 * size ? 0 : value;
      rest ||= u[j * N + n] !== 0;
    }
  }
  return rest;
}

/**
 * What a step by {@link outputResidual} leaves of the gradient, to go the general way: J^T of the part that R does not reach, and the
 * penalty's gradient. Null where that is nothing.
 *
 * @param unreached u - R rows [N K], null where R reaches all of u
 */
export function generalGradient(
  network: NetworkModel,
  point: Linearization,
  unreached: Float64Array | null,
): Float64Array | null {
  const penalised = network.l2.some((value) => value !== 0);
  if (unreached === null && !penalised) return null;
  const gradient = new Float64Array(network.parameterCount);
  if (unreached !== null) point.jacobianTransposedProduct(unreached, gradient);
  if (penalised) network.addPenaltyProduct(point.params, gradient);
  return gradient;
}
