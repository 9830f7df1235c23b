/**
 * Does a predicted uncertainty deserve its name? Coverage of central intervals for regression, reliability for classification.
 */
import { checkInteger, checkVector, failRange, failType } from '../checks.js';

/** One line of a calibration table. */
export interface CoverageRow {
  /** nominal probability of the central interval */
  nominal: number;
  /** share of targets inside it */
  observed: number;
}

/** How often predicted intervals hold: see {@link regressionCalibration}. */
export interface RegressionCalibration {
  /** One row a nominal level. */
  rows: CoverageRow[];
  /** mean negative log density of the targets */
  negativeLogLikelihood: number;
  /** Root mean square error of the means, in units of the targets. */
  rootMeanSquareError: number;
  /** mean of (target - mean)^2 / variance: 1 when the variances are right on average */
  meanSquaredScore: number;
}

/** z with P(|Z| <= z) = nominal for a standard normal Z. */
const quantiles: [number, number][] = [
  [0.5, 0.6744897501960817],
  [0.68, 0.9944578832097532],
  [0.8, 1.2815515655446004],
  [0.9, 1.6448536269514722],
  [0.95, 1.959963984540054],
  [0.99, 2.5758293035489004],
];

/**
 * Coverage of the Gaussian central intervals of 50, 68, 80, 90, 95 and 99 %.
 *
 * @param mean predictions, any shape; `variance` and `targets` alike
 */
export function regressionCalibration(
  mean: Float64Array,
  variance: Float64Array,
  targets: Float64Array,
): RegressionCalibration {
  const operation = 'regressionCalibration';
  if (!(mean instanceof Float64Array)) failType(operation, 'mean', 'a Float64Array', mean);
  checkVector(operation, 'variance', variance, mean.length);
  checkVector(operation, 'targets', targets, mean.length);
  const count = mean.length;
  const inside = new Float64Array(quantiles.length);
  let likelihood = 0;
  let squares = 0;
  let scores = 0;
  for (let i = 0; i < count; i++) {
    if (!(variance[i] > 0)) failRange(operation, `variance[${i}]`, 'a finite number > 0', variance[i]);
    const error = targets[i] - mean[i];
    const score = (error * error) / variance[i];
    squares += error * error;
    scores += score;
    likelihood += 0.5 * (score + Math.log(2 * Math.PI * variance[i]));
    for (let q = 0; q < quantiles.length; q++) if (score <= quantiles[q][1] ** 2) inside[q]++;
  }
  return {
    rows: quantiles.map(([nominal], q) => ({ nominal, observed: inside[q] / count })),
    negativeLogLikelihood: likelihood / count,
    rootMeanSquareError: Math.sqrt(squares / count),
    meanSquaredScore: scores / count,
  };
}

/** One bin of a reliability diagram. */
export interface ReliabilityBin {
  /** Lower end of the confidences in this bin. */
  from: number;
  /** Upper end of the confidences in this bin. */
  to: number;
  /** Predictions in this bin. */
  count: number;
  /** mean confidence and share of right answers; NaN for an empty bin */
  confidence: number;
  /** share of right answers; NaN for an empty bin */
  accuracy: number;
}

/** Confidence against accuracy: see {@link classificationCalibration}. */
export interface ClassificationCalibration {
  /** Bins of equal width over the confidences. */
  bins: ReliabilityBin[];
  /** sum over bins of share * |accuracy - confidence| (Guo et al. 2017) */
  expectedCalibrationError: number;
  /** Mean -log probability of the right class, in nats. */
  negativeLogLikelihood: number;
  /** Share of right predictions. */
  accuracy: number;
}

/**
 * Reliability of class probabilities.
 *
 * @param probabilities row-major [samples, classes]
 * @param labels class indices [samples]
 * @param bins of equal width on the confidence, default 10
 */
export function classificationCalibration(
  probabilities: Float64Array,
  labels: ArrayLike<number>,
  bins = 10,
): ClassificationCalibration {
  const operation = 'classificationCalibration';
  checkInteger(operation, 'bins', bins, 1);
  if (!(probabilities instanceof Float64Array))
    failType(operation, 'probabilities', 'a Float64Array [samples, classes]', probabilities);
  const indices: boolean = Array.isArray(labels) || ArrayBuffer.isView(labels);
  if (!indices) failType(operation, 'labels', 'class indices [samples]', labels);
  const N = labels.length;
  const K = probabilities.length / N;
  if (N === 0 || !Number.isInteger(K))
    failRange(operation, 'probabilities', `a Float64Array [${N}, classes]`, probabilities);
  const table = Array.from({ length: bins }, () => ({ count: 0, confidence: 0, right: 0 }));
  let likelihood = 0;
  let right = 0;
  for (let n = 0; n < N; n++) {
    checkInteger(operation, `labels[${n}]`, labels[n], 0, K - 1);
    let best = 0;
    for (let k = 1; k < K; k++) if (probabilities[n * K + k] > probabilities[n * K + best]) best = k;
    const confidence = probabilities[n * K + best];
    const bin = table[Math.min(bins - 1, Math.floor(confidence * bins))];
    const correct = Number(best === labels[n]);
    bin.count++;
    bin.confidence += confidence;
    bin.right += correct;
    right += correct;
    likelihood -= Math.log(Math.max(probabilities[n * K + labels[n]], Number.MIN_VALUE));
  }
  let error = 0;
  for (const { confidence, right: hits } of table) error += Math.abs(hits - confidence) / N;
  return {
    bins: table.map(({ count, confidence, right: hits }, b) => ({
      from: b / bins,
      to: (b + 1) / bins,
      count,
      confidence: count === 0 ? NaN : confidence / count,
      accuracy: count === 0 ? NaN : hits / count,
    })),
    expectedCalibrationError: error,
    negativeLogLikelihood: likelihood / N,
    accuracy: right / N,
  };
}
