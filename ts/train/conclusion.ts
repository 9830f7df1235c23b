/**
 * What the report says of a finished run beyond its losses: where the predictions on each set went (confusion matrix, or
 * predicted against true values), and the spectrum of the Hessian at the last parameters of a small network.
 *
 * Part of the end record, so that the metrics file and the report hold the same figures.
 */
import { firstNonFinite } from '../checks.js';
import { eigenvalues } from '../curvature/eigenvalues.js';
import { evenChoice, type Dataset } from '../data/dataset.js';
import type { Network } from '../derivatives/network.js';
import { Determination, networkTargets, predictClasses, predictedValue } from './evaluation.js';

/** Where the predictions of a classifier went. */
export interface ClassPredictions {
  kind: 'classes';
  /** in the set */
  samples: number;
  /** names by index */
  classes: string[];
  /** counts[true class][predicted class] */
  counts: number[][];
}

/** Predicted and true values of one output, in the units of the data. */
export interface ValuePredictions {
  kind: 'values';
  /** samples in the set, of which the points are an even choice */
  samples: number;
  /**
   * of at most four outputs, at most 500 points each; `r2` with least squares: the coefficient of determination over all samples,
   * null where the values do not differ
   */
  outputs: { name: string; points: [truth: number, predicted: number][]; r2?: number | null }[];
}

/** The spectrum of the Hessian of the training loss. */
export interface EndSpectrum {
  /** training samples that the Hessian is of */
  samples: number;
  /** all P eigenvalues, ascending */
  values: number[];
  /** below the bound of `zero` */
  negative: number;
  /** within rounding of zero: |lambda| <= P * 2^-52 * max |lambda| */
  zero: number;
  /** above it */
  positive: number;
}

/** Predictions and spectrum at the end of a run, as in {@link EndRecord} and the report. */
export interface Conclusion {
  /** by the name of the set; sets of more than 50 classes are left out */
  predictions: Record<string, ClassPredictions | ValuePredictions>;
  /** null above 2000 parameters, too many for a dense spectrum */
  spectrum: EndSpectrum | null;
}

/** Most classes of a confusion matrix, outputs of a scatter plot, and points of one. */
export const confusionLimit = 50;
const outputLimit = 4;
const pointLimit = 500;
/** Largest network whose whole spectrum is computed. */
export const spectrumOrder = 2000;
/** Bound of P^2 N, to which the work of the dense Hessian is proportional: about two seconds at its largest. */
const spectrumWork = 1e9;

/** Mean and deviation that the values were standardised by. */
interface ValueScale {
  mean: Float64Array;
  scale: Float64Array;
}

/** Counts or points of the predictions on one set; null for more classes than a page can show. */
export function predictions(
  network: Network,
  params: Float64Array,
  set: Dataset,
  values: ValueScale | null = null,
): ClassPredictions | ValuePredictions | null {
  const { samples, features, labels } = set;
  const chunk = 1024;
  if (labels !== null) {
    const classes = set.classes ?? Array.from({ length: network.outputs }, (_, k) => String(k));
    if (classes.length > confusionLimit) return null;
    const counts = classes.map(() => new Array<number>(classes.length).fill(0));
    for (let from = 0; from < samples; from += chunk) {
      const to = Math.min(from + chunk, samples);
      const outputs = network.forward(params, set.inputs.subarray(from * features, to * features));
      const predicted = predictClasses(outputs, network.outputs);
      for (let n = from; n < to; n++) counts[labels[n]][predicted[n - from]]++;
    }
    return { kind: 'classes', samples, classes, counts };
  }
  const K = set.outputs;
  const truth = set.values as Float64Array;
  const kept = Math.min(samples, pointLimit);
  const outputs: ValuePredictions['outputs'] = Array.from({ length: Math.min(K, outputLimit) }, (_, k) => ({
    name: set.valueNames?.[k] ?? (K === 1 ? 'value' : `value ${k}`),
    points: [],
  }));
  const determined = new Determination(K);
  let i = 0;
  for (let from = 0; from < samples; from += chunk) {
    const to = Math.min(from + chunk, samples);
    const predicted = network.forward(params, set.inputs.subarray(from * features, to * features));
    determined.add(predicted, truth.subarray(from * K, to * K));
    for (; i < kept; i++) {
      const n = Math.floor((i * samples) / kept);
      if (n >= to) break;
      for (const [k, { points }] of outputs.entries()) {
        const scale = values?.scale[k] ?? 1;
        const mean = values?.mean[k] ?? 0;
        points.push([
          truth[n * K + k] * scale + mean,
          predictedValue(network, predicted[(n - from) * K + k]) * scale + mean,
        ]);
      }
    }
  }
  if (network.loss === 'mse') {
    const r2 = determined.figures();
    for (const [k, output] of outputs.entries()) output.r2 = r2[k];
  }
  return { kind: 'values', samples, outputs };
}

/** The spectrum at the parameters, over all training samples or an even choice of as many as the work allows; null above 2000 parameters. */
export function endSpectrum(network: Network, params: Float64Array, train: Dataset): EndSpectrum | null {
  const P = network.parameterCount;
  if (P > spectrumOrder) return null;
  const samples = Math.min(train.samples, Math.max(100, Math.floor(spectrumWork / P ** 2)));
  const { inputs, targets } = evenChoice(train, samples);
  const { values } = eigenvalues(network.linearize(params, { inputs, targets: networkTargets(network, targets) }));
  // Weyl: rounding moves an eigenvalue by a small multiple of the norm.
  const bound = P * Number.EPSILON * Math.max(Math.abs(values[0]), Math.abs(values[P - 1]));
  let negative = 0;
  let zero = 0;
  for (const value of values) {
    if (value < -bound) negative++;
    else if (value <= bound) zero++;
  }
  return { samples, values: Array.from(values), negative, zero, positive: P - negative - zero };
}

/**
 * Where the predictions on each set went, and the spectrum of the Hessian of a small network on the first set.
 *
 * @param params [P]
 * @param sets by name, that of training first, whose Hessian the spectrum is of: over all its samples, or an even choice of
 * as many as about two seconds allow
 * @param values mean and deviation that values were standardised by, to give points in the units of the data; default none
 * @returns null where the parameters are not finite
 * @throws RangeError where a set does not fit the network
 */
export function conclude(
  network: Network,
  params: Float64Array,
  sets: Readonly<Record<string, Dataset>>,
  values: ValueScale | null = null,
): Conclusion | null {
  if (firstNonFinite(params) >= 0) return null;
  const [trained] = Object.values(sets);
  const shown: Conclusion['predictions'] = {};
  for (const [name, set] of Object.entries(sets)) {
    const figures = predictions(network, params, set, values);
    if (figures !== null) shown[name] = figures;
  }
  return { predictions: shown, spectrum: trained === undefined ? null : endSpectrum(network, params, trained) };
}
