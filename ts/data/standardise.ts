/**
 * Standardisation: x -> (x - mean) / scale, column by column, fitted on the training part only.
 *
 * `scale` is the population standard deviation sqrt(sum (x - mean)^2 / N) (two passes, no cancellation). A constant
 * column has scale 1: it becomes zero everywhere, and what differs from it in other data stays finite.
 * The fitted figures go with the model, or its inputs mean nothing.
 */
import { checkVector, failRange } from '../checks.js';
import type { Dataset } from './dataset.js';

/** Mean and scale of every column. */
export interface Standardisation {
  /** Mean of every column. */
  mean: Float64Array;
  /** All > 0. */
  scale: Float64Array;
}

/**
 * Fits mean and scale of the columns of `values`.
 *
 * @param values [rows, columns], row-major, at least one row
 */
export function fitStandardisation(values: Float64Array, columns: number): Standardisation {
  const rows = values.length / columns;
  if (!Number.isInteger(rows) || rows < 1) {
    failRange('fitStandardisation', 'values', `at least one row of ${columns} columns`, values);
  }
  const mean = new Float64Array(columns);
  const scale = new Float64Array(columns);
  for (let n = 0; n < rows; n++) for (let i = 0; i < columns; i++) mean[i] += values[n * columns + i];
  for (let i = 0; i < columns; i++) mean[i] /= rows;
  // The sum's rounding error shows in the sum of the deviations, where it is large beside their own.
  const correction = new Float64Array(columns);
  for (let n = 0; n < rows; n++) {
    for (let i = 0; i < columns; i++) correction[i] += values[n * columns + i] - mean[i];
  }
  for (let i = 0; i < columns; i++) mean[i] += correction[i] / rows;
  for (let n = 0; n < rows; n++) {
    for (let i = 0; i < columns; i++) {
      const d = values[n * columns + i] - mean[i];
      scale[i] += d * d;
    }
  }
  for (let i = 0; i < columns; i++) {
    const deviation = Math.sqrt(scale[i] / rows);
    // A constant column's mean is only correct to rounding (about rows * 2^-53 relative), so its deviation may come
    // out as a tiny number instead of zero: dividing by that would blow rounding errors up to size one.
    const rounding = 4 * Number.EPSILON * Math.sqrt(rows) * Math.abs(mean[i]);
    scale[i] = deviation > rounding && Number.isFinite(deviation) ? deviation : 1;
  }
  return { mean, scale };
}

/**
 * (x - mean) / scale of every row.
 *
 * @param out the array to write to; `values` itself is allowed. Default: a new one.
 */
export function applyStandardisation(
  values: Float64Array,
  { mean, scale }: Standardisation,
  out: Float64Array = new Float64Array(values.length),
): Float64Array {
  const columns = checkStandardisation('applyStandardisation', values, mean, scale, out);
  for (let n = 0; n < values.length; n += columns) {
    for (let i = 0; i < columns; i++) out[n + i] = (values[n + i] - mean[i]) / scale[i];
  }
  return out;
}

/** x * scale + mean of every row: undoes {@link applyStandardisation}. */
export function undoStandardisation(
  values: Float64Array,
  { mean, scale }: Standardisation,
  out: Float64Array = new Float64Array(values.length),
): Float64Array {
  const columns = checkStandardisation('undoStandardisation', values, mean, scale, out);
  for (let n = 0; n < values.length; n += columns) {
    for (let i = 0; i < columns; i++) out[n + i] = values[n + i] * scale[i] + mean[i];
  }
  return out;
}

function checkStandardisation(
  operation: string,
  values: Float64Array,
  mean: Float64Array,
  scale: Float64Array,
  out: Float64Array,
): number {
  const columns = mean.length;
  checkVector(operation, 'mean', mean, columns);
  checkVector(operation, 'scale', scale, columns);
  for (let i = 0; i < columns; i++) if (!(scale[i] > 0)) failRange(operation, `scale[${i}]`, 'a number > 0', scale[i]);
  if (values.length % columns !== 0) failRange(operation, 'values', `rows of ${columns} columns`, values);
  if (out.length !== values.length) failRange(operation, 'out', `a Float64Array of length ${values.length}`, out);
  return columns;
}

/** Both parts standardised by the figures of the training part. */
export interface StandardisedPair {
  train: Dataset;
  test: Dataset | null;
  inputs: Standardisation;
  /** Of the values; `null` for class labels or where not asked for. */
  values: Standardisation | null;
}

/**
 * Standardises the inputs, and for regression the values too, of a training set and (with the same figures) a test set.
 *
 * @param values whether to standardise regression values as well. Default false.
 */
export function standardise(train: Dataset, test: Dataset | null, values = false): StandardisedPair {
  const inputs = fitStandardisation(train.inputs, train.features);
  const targets = values && train.values ? fitStandardisation(train.values, train.outputs) : null;
  const apply = (dataset: Dataset): Dataset => ({
    ...dataset,
    inputs: applyStandardisation(dataset.inputs, inputs),
    values: dataset.values && targets ? applyStandardisation(dataset.values, targets) : dataset.values,
  });
  return { train: apply(train), test: test && apply(test), inputs, values: targets };
}
