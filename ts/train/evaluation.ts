/** Loss and accuracy of a network on a data set, in chunks so that memory stays bounded. */
import type { Dataset } from '../data/dataset.js';
import type { Batch } from '../network/batch.js';
import { sigmoid } from '../network/losses.js';
import type { Network } from '../derivatives/network.js';

/**
 * Figures of one evaluation: `loss`, and `accuracy` (classes) or `rmse` (values); for values by least squares `r2`, too, the
 * coefficient of determination, of several outputs the mean: of those whose values differ, and absent where none do.
 */
export type Evaluation = Record<string, number>;

/**
 * Class of every sample from the outputs of a network, row-major [samples, outputs]: the largest logit, or for
 * binary cross-entropy with one output the sign of the logit.
 */
export function predictClasses(outputs: Float64Array, width: number): Int32Array {
  const samples = outputs.length / width;
  const classes = new Int32Array(samples);
  for (let n = 0; n < samples; n++) {
    if (width === 1) {
      classes[n] = outputs[n] > 0 ? 1 : 0;
      continue;
    }
    let best = 0;
    for (let k = 1; k < width; k++) if (outputs[n * width + k] > outputs[n * width + best]) best = k;
    classes[n] = best;
  }
  return classes;
}

/** Fraction of samples whose predicted class is the label. */
export function accuracy(outputs: Float64Array, width: number, labels: ArrayLike<number>): number {
  const predicted = predictClasses(outputs, width);
  let right = 0;
  for (let n = 0; n < predicted.length; n++) if (predicted[n] === labels[n]) right++;
  return right / predicted.length;
}

/** The value that an output stands for: itself, or the probability of a logit with binary cross-entropy. */
export function predictedValue(network: Network, output: number): number {
  return network.loss === 'binary-cross-entropy' ? sigmoid(output) : output;
}

/**
 * Probabilities of the classes by the network's loss: softmax for cross-entropy, the logistic function of each output (of one output: of
 * the second class) for binary cross-entropy. Least squares on classes has none: its outputs estimate them as they are.
 *
 * @param outputs row-major [N, K]
 * @param classes their number C
 * @returns row-major [N, C]
 */
export function classProbabilities(network: Network, outputs: Float64Array, classes: number): Float64Array {
  const { loss, outputs: K } = network;
  const N = outputs.length / K;
  if (K === 1 && classes === 2 && loss === 'binary-cross-entropy') {
    const pairs = new Float64Array(2 * N);
    for (let n = 0; n < N; n++) [pairs[2 * n], pairs[2 * n + 1]] = [sigmoid(-outputs[n]), sigmoid(outputs[n])];
    return pairs;
  }
  if (loss === 'mse') return outputs;
  if (loss === 'binary-cross-entropy') return outputs.map(sigmoid);
  const p = new Float64Array(N * K);
  for (let at = 0; at < p.length; at += K) {
    let top = -Infinity;
    for (let k = at; k < at + K; k++) top = Math.max(top, outputs[k]);
    let total = 0;
    for (let k = at; k < at + K; k++) total += p[k] = Math.exp(outputs[k] - top);
    for (let k = at; k < at + K; k++) p[k] /= total;
  }
  return p;
}

/**
 * Coefficient of determination of each of K outputs: 1 - (sum of squared errors) / (sum of squares about the mean), the latter updated
 * value by value (Welford 1962). It is the same in all units.
 */
export class Determination {
  private samples = 0;
  private readonly errors: Float64Array;
  private readonly mean: Float64Array;
  private readonly spread: Float64Array;

  constructor(private readonly outputs: number) {
    this.errors = new Float64Array(outputs);
    this.mean = new Float64Array(outputs);
    this.spread = new Float64Array(outputs);
  }

  /**
   * @param predicted row-major [N, K]
   * @param values row-major [N, K]
   */
  add(predicted: Float64Array, values: Float64Array): void {
    const { outputs: K, errors, mean, spread } = this;
    for (let i = 0, k = 0; i < values.length; i++, k = k + 1 === K ? 0 : k + 1) {
      if (k === 0) this.samples++;
      errors[k] += (predicted[i] - values[i]) ** 2;
      const deviation = values[i] - mean[k];
      mean[k] += deviation / this.samples;
      spread[k] += deviation * (values[i] - mean[k]);
    }
  }

  /** Of each output; null where its values do not differ, or a sum is not finite. */
  figures(): (number | null)[] {
    return Array.from(this.errors, (errors, k) => {
      const r2 = 1 - errors / this.spread[k];
      return Number.isFinite(r2) ? r2 : null;
    });
  }
}

/** Samples that are evaluated at a time. */
export const evaluationChunk = 1024;

/** Figures over samples that come in chunks: the same chunks give the same bits. */
export class EvaluationSum {
  /** samples so far */
  samples = 0;
  private readonly losses: number[] = [];
  private right = 0;
  private squares = 0;
  private classes = false;
  private readonly determined: Determination | null;

  /** @param valueScale of the values, to give errors in their own units */
  constructor(
    private readonly network: Network,
    private readonly valueScale?: Float64Array,
  ) {
    this.determined = network.loss === 'mse' ? new Determination(network.outputs) : null;
  }

  /**
   * Adds a chunk.
   *
   * @param outputs of the network at `batch`, [samples, K]
   * @param labels [samples], or null for `values` [samples, K]
   */
  add(
    params: Float64Array,
    batch: Batch,
    outputs: Float64Array,
    labels: Int32Array | null,
    values: Float64Array | null,
  ): void {
    const { network, valueScale } = this;
    const K = network.outputs;
    this.classes = labels !== null;
    this.samples += batch.samples;
    this.losses.push(network.evaluate(params, batch).loss * batch.samples);
    if (labels !== null) this.right += accuracy(outputs, K, labels) * batch.samples;
    else if (values !== null) {
      for (let i = 0; i < outputs.length; i++) {
        const d =
          (predictedValue(network, outputs[i]) - values[i]) * (valueScale === undefined ? 1 : valueScale[i % K]);
        this.squares += d * d;
      }
      this.determined?.add(outputs, values);
    }
  }

  /** Coefficient of determination of each output, null where its values do not differ; null where it is none of values by least squares. */
  determination(): (number | null)[] | null {
    return this.classes || this.samples === 0 ? null : (this.determined?.figures() ?? null);
  }

  /** Loss, and accuracy or the errors of values, of all samples so far. */
  figures(): Evaluation {
    const { samples, network } = this;
    const figures: Evaluation = { loss: this.losses.reduce((sum, loss) => sum + loss / samples, 0) };
    if (this.classes) figures.accuracy = this.right / samples;
    else figures.rmse = Math.sqrt(this.squares / (samples * network.outputs));
    const determined = this.determination()?.filter((value) => value !== null) ?? [];
    if (determined.length > 0) figures.r2 = determined.reduce((sum, value) => sum + value / determined.length, 0);
    return figures;
  }
}

/**
 * An evaluator of one data set, its batches prepared once. Returns the mean loss over the set, and for class labels
 * the accuracy, for values the root mean squared error (in the units of the targets times `valueScale`; of the
 * probabilities with binary cross-entropy) and with least squares the coefficient of determination.
 *
 * @param chunk samples at a time, default 1024
 */
export function createEvaluator(
  network: Network,
  dataset: Pick<Dataset, 'samples' | 'features' | 'inputs' | 'labels' | 'values' | 'outputs'>,
  { chunk = evaluationChunk, valueScale }: { chunk?: number; valueScale?: Float64Array } = {},
): (params: Float64Array) => Evaluation {
  const { samples, features, labels, values, outputs } = dataset;
  const parts: { inputs: Float64Array; batch: Batch; labels: Int32Array | null; values: Float64Array | null }[] = [];
  for (let from = 0; from < samples; from += chunk) {
    const to = Math.min(from + chunk, samples);
    const inputs = dataset.inputs.subarray(from * features, to * features);
    const part = {
      labels: labels?.subarray(from, to) ?? null,
      values: values?.subarray(from * outputs, to * outputs) ?? null,
    };
    const targets = networkTargets(network, part.labels ?? (part.values as Float64Array));
    parts.push({ inputs, batch: network.batch({ inputs, targets }), ...part });
  }
  return (params) => {
    const sum = new EvaluationSum(network, valueScale);
    for (const part of parts) {
      sum.add(params, part.batch, network.forward(params, part.inputs), part.labels, part.values);
    }
    return sum.figures();
  };
}

/** The targets of a data set in the form that the network's loss takes: 0 / 1 as numbers for binary cross-entropy. */
export function networkTargets(network: Network, targets: Int32Array | Float64Array): Int32Array | Float64Array {
  if (!(targets instanceof Int32Array) || network.loss === 'cross-entropy') return targets;
  if (network.loss === 'binary-cross-entropy' && network.outputs === 1) return Float64Array.from(targets);
  // One-hot rows: least squares (or independent sigmoids) on classes.
  const rows = new Float64Array(targets.length * network.outputs);
  for (let n = 0; n < targets.length; n++) rows[n * network.outputs + targets[n]] = 1;
  return rows;
}
