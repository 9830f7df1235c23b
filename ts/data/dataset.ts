/**
 * A data set in memory: inputs [N, features] row-major, beside them class labels [N] or values [N, outputs] or both.
 *
 * Every reader of this folder returns a {@link Dataset} that {@link makeDataset} has checked, so whoever takes one
 * may rely on its shapes, on labels in range and on finite numbers.
 */
import { checkBoolean, checkFinite, checkInteger, failRange, failType, firstNonFinite } from '../checks.js';
import { Random } from '../random.js';
import { checkOptions } from './options.js';

/** Samples with their targets. Arrays are row-major, one sample a row. */
export interface Dataset {
  /** A short name for tables and reports. */
  name: string;
  /** N, the number of samples. */
  samples: number;
  /** The number of inputs of a sample. */
  features: number;
  /** [N, features], row-major, finite. */
  inputs: Float64Array;
  /** Class index of every sample, 0 .. classes - 1; `null` where the targets are values. */
  labels: Int32Array | null;
  /** Names of the classes; `null` where the targets are values. */
  classes: string[] | null;
  /** [N, outputs], row-major, finite; `null` where the targets are classes. */
  values: Float64Array | null;
  /** Outputs that a network for this set has: the number of classes, or of values a sample. */
  outputs: number;
  /** Names of the values, one an output. */
  valueNames?: string[];
  /** Names of the inputs, one a feature. */
  featureNames?: string[];
  /** For images: a sample is stored channel by channel, each row-major (C, H, W). */
  shape?: { height: number; width: number; channels: number };
}

/** One batch as a network takes it. */
export interface DataBatch {
  /** Number of samples N. */
  samples: number;
  /** [samples, features], row-major. */
  inputs: Float64Array;
  /** Class indices [samples], or values [samples, outputs] row-major. */
  targets: Int32Array | Float64Array;
}

/** What {@link makeDataset} takes: a data set whose sizes follow from its arrays. */
export interface DatasetParts {
  /** Name for messages and reports. */
  name: string;
  /** Features of a sample. */
  features: number;
  /** [samples, features], row-major, finite. */
  inputs: Float64Array;
  /** Class index of every sample; this or `values` is given. */
  labels?: Int32Array | null;
  /** Class names, by index. */
  classes?: string[] | null;
  /** [samples, outputs], row-major, finite; this or `labels` is given. */
  values?: Float64Array | null;
  /** Values a sample, where there are `values`. */
  outputs?: number;
  /** Names of the values. */
  valueNames?: string[];
  /** Names of the features. */
  featureNames?: string[];
  /** For images: a sample is stored channel by channel, each row-major (C, H, W). */
  shape?: { height: number; width: number; channels: number };
}

/**
 * Makes a data set from its arrays and checks every contract of {@link Dataset}.
 *
 * @param parts `labels` with `classes`, or `values` with `outputs` (default 1)
 * @throws RangeError when a length does not fit, a label is out of range or a number is not finite
 * @example
 * makeDataset({ name: 'xor', features: 2, inputs: Float64Array.of(0, 0, 0, 1, 1, 0, 1, 1),
 *   labels: Int32Array.of(0, 1, 1, 0), classes: ['even', 'odd'] });
 */
export function makeDataset(parts: DatasetParts): Dataset {
  const operation = 'dataset';
  const { name, features, inputs } = parts;
  checkInteger(operation, 'features', features, 1);
  if (!(inputs instanceof Float64Array)) failType(operation, 'inputs', 'a Float64Array', inputs);
  if (inputs.length === 0 || inputs.length % features !== 0) {
    failRange(operation, 'inputs', `at least one sample of ${features} features`, inputs);
  }
  const samples = inputs.length / features;
  checkFiniteRows(operation, 'inputs', inputs, features);
  const labels = parts.labels ?? null;
  const values = parts.values ?? null;
  let classes = parts.classes ?? null;
  if (labels === null && values === null) failType(operation, 'labels', 'labels or values', labels);
  let outputs = parts.outputs ?? 0;
  if (labels !== null) {
    if (!(labels instanceof Int32Array)) failType(operation, 'labels', `an Int32Array of length ${samples}`, labels);
    if (labels.length !== samples) failRange(operation, 'labels', `an Int32Array of length ${samples}`, labels);
    let highest = 0;
    for (let n = 0; n < samples; n++) if (labels[n] > highest) highest = labels[n];
    classes ??= Array.from({ length: highest + 1 }, (_, k) => String(k));
    for (let n = 0; n < samples; n++) {
      if (labels[n] < 0 || labels[n] >= classes.length) {
        failRange(operation, `labels[${n}]`, `a class index from 0 to ${classes.length - 1}`, labels[n]);
      }
    }
    if (values === null) outputs = classes.length;
  }
  if (values !== null) {
    if (!(values instanceof Float64Array)) failType(operation, 'values', 'a Float64Array', values);
    if (outputs === 0) outputs = values.length / samples;
    if (!Number.isInteger(outputs) || outputs < 1 || values.length !== samples * outputs) {
      failRange(operation, 'values', `${samples} rows of ${parts.outputs ?? 'equally many'} values`, values);
    }
    checkFiniteRows(operation, 'values', values, outputs);
  }
  if (parts.featureNames && parts.featureNames.length !== features) {
    failRange(operation, 'featureNames', `${features} names`, parts.featureNames);
  }
  if (parts.valueNames && values !== null && parts.valueNames.length !== outputs) {
    failRange(operation, 'valueNames', `${outputs} names`, parts.valueNames);
  }
  const shape = parts.shape;
  if (shape && shape.height * shape.width * shape.channels !== features) {
    failRange(operation, 'shape', `height * width * channels = ${features}`, shape);
  }
  return {
    name,
    samples,
    features,
    inputs,
    labels,
    classes,
    values,
    outputs,
    ...(parts.valueNames ? { valueNames: parts.valueNames } : {}),
    ...(parts.featureNames ? { featureNames: parts.featureNames } : {}),
    ...(shape ? { shape } : {}),
  };
}

/** Refuses the first number that is not finite, naming its row and column. */
function checkFiniteRows(operation: string, argument: string, values: Float64Array, columns: number): void {
  const i = firstNonFinite(values);
  if (i < 0) return;
  failRange(
    operation,
    `${argument}[row ${Math.floor(i / columns)}, column ${i % columns}]`,
    'a finite number',
    values[i],
  );
}

/**
 * The rows `indices` of a data set, in that order, as a new one (arrays are copied; indices may repeat).
 *
 * @throws RangeError for an index outside 0 .. samples - 1 or no index at all
 */
export function subset(dataset: Dataset, indices: ArrayLike<number>, name = dataset.name): Dataset {
  const { features } = dataset;
  const count = indices.length;
  if (count < 1) failRange('subset', 'indices', 'at least one index', indices);
  const inputs = new Float64Array(count * features);
  const labels = dataset.labels ? new Int32Array(count) : null;
  const width = dataset.values ? dataset.outputs : 0;
  const values = dataset.values ? new Float64Array(count * width) : null;
  for (let n = 0; n < count; n++) {
    const source = indices[n];
    if (!Number.isInteger(source) || source < 0 || source >= dataset.samples) {
      failRange('subset', `indices[${n}]`, `an integer from 0 to ${dataset.samples - 1}`, source);
    }
    for (let i = 0; i < features; i++) inputs[n * features + i] = dataset.inputs[source * features + i];
    if (labels && dataset.labels) labels[n] = dataset.labels[source];
    if (values && dataset.values) {
      for (let k = 0; k < width; k++) values[n * width + k] = dataset.values[source * width + k];
    }
  }
  return { ...dataset, name, samples: count, inputs, labels, values };
}

/** The first `count` samples (all of them when there are fewer). The arrays are views, not copies. */
export function take(dataset: Dataset, count: number): Dataset {
  checkInteger('take', 'count', count, 1);
  if (count >= dataset.samples) return dataset;
  return {
    ...dataset,
    samples: count,
    inputs: dataset.inputs.subarray(0, count * dataset.features),
    labels: dataset.labels ? dataset.labels.subarray(0, count) : null,
    values: dataset.values ? dataset.values.subarray(0, count * dataset.outputs) : null,
  };
}

/** `count` samples spread evenly over the set, at most all of them, as a batch. */
export function evenChoice(dataset: Dataset, count: number): DataBatch {
  const { samples } = dataset;
  const kept = Math.min(count, samples);
  return gather(
    dataset,
    Int32Array.from({ length: kept }, (_, i) => Math.floor((i * samples) / kept)),
  );
}

/** From so many features on a row is copied as a block: five times as fast at 768, slower below some 16 for the view it makes. */
const blockCopy = 32;

/**
 * Copies the rows `indices` into a batch.
 *
 * @param into a batch of the same size from an earlier call, overwritten in place (no allocation)
 */
export function gather(dataset: Dataset, indices: ArrayLike<number>, into?: DataBatch): DataBatch {
  const { features } = dataset;
  const count = indices.length;
  const width = dataset.labels ? 1 : dataset.outputs;
  const source = dataset.labels ?? dataset.values;
  if (source === null) failType('gather', 'dataset', 'a data set with labels or values', dataset);
  let batch = into;
  if (!batch || batch.samples !== count) {
    batch = {
      samples: count,
      inputs: new Float64Array(count * features),
      targets: dataset.labels ? new Int32Array(count) : new Float64Array(count * width),
    };
  }
  const { inputs, targets } = batch;
  for (let n = 0; n < count; n++) {
    const from = indices[n] * features;
    const to = n * features;
    if (features >= blockCopy) inputs.set(dataset.inputs.subarray(from, from + features), to);
    else for (let i = 0; i < features; i++) inputs[to + i] = dataset.inputs[from + i];
    for (let k = 0; k < width; k++) targets[n * width + k] = source[indices[n] * width + k];
  }
  return batch;
}

/** The whole set as one batch (views of its arrays; class labels are taken where there are both). */
export function wholeBatch(dataset: Dataset): DataBatch {
  const targets = dataset.labels ?? dataset.values;
  if (targets === null) failType('wholeBatch', 'dataset', 'a data set with labels or values', dataset);
  return { samples: dataset.samples, inputs: dataset.inputs, targets };
}

/**
 * One batch to be kept for a whole run.
 *
 * @param size samples in it, at most those of the set
 * @param seed draws the rows without replacement from this seed; without it the first `size` rows are taken
 */
export function fixedBatch(dataset: Dataset, size: number, seed?: number): DataBatch {
  checkInteger('fixedBatch', 'size', size, 1, dataset.samples);
  if (seed === undefined) return wholeBatch(take(dataset, size));
  const order = new Random(seed).shuffle(ascending(dataset.samples));
  return gather(dataset, order.subarray(0, size));
}

/** Options of {@link split}. */
export interface SplitOptions {
  /** Samples of the validation part: a fraction in (0, 1), or a count >= 1. Default 0.1. */
  validation?: number;
  /** Seed of the shuffle. Default 0. */
  seed?: number;
  /** Keep the classes' shares equal in both parts. Default: true for class labels. */
  stratify?: boolean;
}

/**
 * Splits a set at random into training and validation part, both in the order of the original rows.
 *
 * Stratified: of every class the same fraction goes to validation, rounded by largest remainder so that the parts
 * have exactly the asked sizes.
 *
 * @throws RangeError when a part would be empty
 */
export function split(dataset: Dataset, options: SplitOptions = {}): { train: Dataset; validation: Dataset } {
  const operation = 'split';
  checkOptions(operation, options, ['validation', 'seed', 'stratify']);
  const asked = options.validation ?? 0.1;
  checkFinite(operation, 'validation', asked);
  const N = dataset.samples;
  const size = asked < 1 ? Math.round(asked * N) : asked;
  if (asked <= 0 || !Number.isInteger(size) || size < 1 || size >= N) {
    failRange(operation, 'validation', `a fraction or count that leaves both parts of ${N} samples non-empty`, asked);
  }
  const random = new Random(options.seed ?? 0);
  const stratify = options.stratify ?? dataset.labels !== null;
  checkBoolean(operation, 'stratify', stratify);
  const chosen = new Uint8Array(N);
  if (stratify) {
    if (!dataset.labels || !dataset.classes) failRange(operation, 'stratify', 'false for a set without labels', true);
    const members: number[][] = dataset.classes.map(() => []);
    for (let n = 0; n < N; n++) members[dataset.labels[n]].push(n);
    const quota = members.map((rows) => (rows.length * size) / N);
    const counts = quota.map((q) => Math.floor(q));
    let rest = size - counts.reduce((a, b) => a + b, 0);
    const byRemainder = quota.map((q, k) => ({ k, remainder: q - counts[k] }));
    byRemainder.sort((a, b) => b.remainder - a.remainder || a.k - b.k);
    for (const { k } of byRemainder) {
      if (rest === 0) break;
      counts[k]++;
      rest--;
    }
    members.forEach((rows, k) => {
      random.shuffle(rows);
      for (let i = 0; i < counts[k]; i++) chosen[rows[i]] = 1;
    });
  } else {
    const order = random.shuffle(ascending(N));
    for (let i = 0; i < size; i++) chosen[order[i]] = 1;
  }
  const train: number[] = [];
  const validation: number[] = [];
  for (let n = 0; n < N; n++) (chosen[n] ? validation : train).push(n);
  return {
    train: subset(dataset, train, `${dataset.name} (train)`),
    validation: subset(dataset, validation, `${dataset.name} (validation)`),
  };
}

/** 0, 1, .., n - 1. */
export function ascending(n: number): Int32Array {
  const order = new Int32Array(n);
  for (let i = 0; i < n; i++) order[i] = i;
  return order;
}
