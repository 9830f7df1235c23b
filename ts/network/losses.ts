/**
 * Losses on the outputs s (logits), their first derivatives and the softmax probabilities.
 *
 * N samples, K outputs, sample weights w_n (1 without weights). Blocks are unit-major: s[k * count + n].
 *
 *   cross-entropy         (1/N)    sum_n w_n sum_k t_nk (logsumexp_j s_nj - s_nk)
 *   mse                   (1/(NK)) sum_n w_n sum_k (s_nk - t_nk)^2                       (no factor 1/2)
 *   binary-cross-entropy  (1/(NK)) sum_n w_n sum_k [ max(s, 0) - s t + log(1 + e^-|s|) ]
 *
 * The forms keep full relative accuracy at both ends: no overflow at |s| = 1e4, and a loss or a residual p - t far below
 * 1e-16 of the logits is not lost in 1 - p (a loss of 1e-13 still has a gradient good to rounding).
 */
import type { Batch } from './batch.js';

/** All losses, by name. */
export const lossNames = ['mse', 'cross-entropy', 'binary-cross-entropy'] as const;
/** Name of a loss: mean over all outputs, softmax over classes, or one logit an output. */
export type LossName = (typeof lossNames)[number];

/**
 * The loss of `count` samples of a batch starting at sample `first`, already divided by the whole batch's N (or N K), so
 * that parts of a batch add up. `outputs` is count x K. `adjoint`, where given, receives dLoss/ds (count x K);
 * `probabilities` the softmax (cross-entropy only). Both may be null.
 */
export function lossOfOutputs(
  loss: LossName,
  count: number,
  k: number,
  outputs: Float64Array,
  batch: Batch,
  first: number,
  adjoint: Float64Array | null,
  probabilities: Float64Array | null,
): number {
  if (loss === 'cross-entropy') {
    return batch.targets !== null
      ? hardCrossEntropy(count, k, outputs, batch.targets, batch, first, adjoint, probabilities)
      : softCrossEntropy(count, k, outputs, batch.targetValues!, batch, first, adjoint, probabilities);
  }
  return loss === 'mse'
    ? meanSquaredError(count, k, outputs, batch.targetValues!, batch, first, adjoint)
    : binaryCrossEntropy(count, k, outputs, batch.targetValues!, batch, first, adjoint);
}

function hardCrossEntropy(
  count: number,
  k: number,
  s: Float64Array,
  labels: Int32Array,
  batch: Batch,
  first: number,
  adjoint: Float64Array | null,
  probabilities: Float64Array | null,
): number {
  const { weights, samples } = batch;
  let sum = 0;
  for (let n = 0; n < count; n++) {
    const label = labels[first + n];
    const scale = (weights === null ? 1 : weights[first + n]) / samples;
    let top = s[n];
    for (let j = 1; j < k; j++) top = Math.max(top, s[j * count + n]);
    // `others` leaves the right class out: where it wins, the loss is log(1 + others) and its residual -others / total,
    // neither of which is formed by subtracting nearly equal numbers.
    let others = 0;
    for (let j = 0; j < k; j++) if (j !== label) others += Math.exp(s[j * count + n] - top);
    const gap = top - s[label * count + n];
    const own = Math.exp(-gap);
    const total = others + own;
    sum += scale * (gap === 0 ? Math.log1p(others) : gap + Math.log(total));
    if (adjoint === null && probabilities === null) continue;
    for (let j = 0; j < k; j++) {
      const p = j === label ? own / total : Math.exp(s[j * count + n] - top) / total;
      if (probabilities !== null) probabilities[j * count + n] = p;
      if (adjoint !== null) adjoint[j * count + n] = scale * (j === label ? -others / total : p);
    }
  }
  return sum;
}

function softCrossEntropy(
  count: number,
  k: number,
  s: Float64Array,
  targets: Float64Array,
  batch: Batch,
  first: number,
  adjoint: Float64Array | null,
  probabilities: Float64Array | null,
): number {
  const { weights, samples } = batch;
  let sum = 0;
  for (let n = 0; n < count; n++) {
    const scale = (weights === null ? 1 : weights[first + n]) / samples;
    let top = s[n];
    for (let j = 1; j < k; j++) top = Math.max(top, s[j * count + n]);
    let total = 0;
    for (let j = 0; j < k; j++) total += Math.exp(s[j * count + n] - top);
    const logTotal = Math.log(total);
    let mass = 0;
    let own = 0;
    for (let j = 0; j < k; j++) {
      const t = targets[j * samples + first + n];
      mass += t;
      own += t * (top - s[j * count + n] + logTotal);
    }
    sum += scale * own;
    if (adjoint === null && probabilities === null) continue;
    for (let j = 0; j < k; j++) {
      const p = Math.exp(s[j * count + n] - top) / total;
      if (probabilities !== null) probabilities[j * count + n] = p;
      // The row's mass is 1 up to the accepted tolerance; keeping it makes this the derivative of the sum above.
      if (adjoint !== null) adjoint[j * count + n] = scale * (mass * p - targets[j * samples + first + n]);
    }
  }
  return sum;
}

function meanSquaredError(
  count: number,
  k: number,
  s: Float64Array,
  targets: Float64Array,
  batch: Batch,
  first: number,
  adjoint: Float64Array | null,
): number {
  const { weights, samples } = batch;
  const mean = 1 / (samples * k);
  let sum = 0;
  for (let j = 0; j < k; j++) {
    for (let n = 0; n < count; n++) {
      const scale = weights === null ? mean : mean * weights[first + n];
      const error = s[j * count + n] - targets[j * samples + first + n];
      sum += scale * error * error;
      if (adjoint !== null) adjoint[j * count + n] = 2 * scale * error;
    }
  }
  return sum;
}

function binaryCrossEntropy(
  count: number,
  k: number,
  s: Float64Array,
  targets: Float64Array,
  batch: Batch,
  first: number,
  adjoint: Float64Array | null,
): number {
  const { weights, samples } = batch;
  const mean = 1 / (samples * k);
  let sum = 0;
  for (let j = 0; j < k; j++) {
    for (let n = 0; n < count; n++) {
      const scale = weights === null ? mean : mean * weights[first + n];
      const x = s[j * count + n];
      const t = targets[j * samples + first + n];
      const tail = Math.exp(-Math.abs(x));
      sum += scale * ((x > 0 ? x * (1 - t) : -x * t) + Math.log1p(tail));
      // sigmoid(x) - t = (1 - t) sigmoid(x) - t sigmoid(-x): no cancellation where the prediction is right.
      const large = 1 / (1 + tail);
      const small = tail * large;
      if (adjoint !== null)
        adjoint[j * count + n] = scale * ((1 - t) * (x > 0 ? large : small) - t * (x > 0 ? small : large));
    }
  }
  return sum;
}

/**
 * The share of right answers among `count` samples from `first`, as a count: cross-entropy compares the largest output with
 * the class (or the largest soft target), binary cross-entropy the sign of each output with target > 1/2. Zero for mse.
 */
export function countCorrect(
  loss: LossName,
  count: number,
  k: number,
  s: Float64Array,
  batch: Batch,
  first: number,
): number {
  const { targets, targetValues, samples } = batch;
  let correct = 0;
  if (loss === 'cross-entropy') {
    for (let n = 0; n < count; n++) {
      let best = 0;
      for (let j = 1; j < k; j++) if (s[j * count + n] > s[best * count + n]) best = j;
      let label = 0;
      if (targets !== null) label = targets[first + n];
      else
        for (let j = 1; j < k; j++)
          if (targetValues![j * samples + first + n] > targetValues![label * samples + first + n]) label = j;
      if (best === label) correct++;
    }
  } else if (loss === 'binary-cross-entropy') {
    for (let j = 0; j < k; j++) {
      for (let n = 0; n < count; n++) {
        if (s[j * count + n] > 0 === targetValues![j * samples + first + n] > 0.5) correct++;
      }
    }
  }
  return correct;
}

/** 1 / (1 + e^-x), without overflow. */
export function sigmoid(x: number): number {
  const tail = Math.exp(-Math.abs(x));
  return x >= 0 ? 1 / (1 + tail) : tail / (1 + tail);
}
