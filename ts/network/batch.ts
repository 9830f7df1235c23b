/**
 * A prepared batch: checked once, transposed once into the storage order of all inner work.
 *
 * Unit-major: a block of h features by N samples is a column-major N x h matrix, element (n, i) at i * N + n. The caller's
 * arrays are row-major [samples, features], element (n, i) at n * h + i.
 */
import { checkKeys, checkObject, failRange, failType } from '../checks.js';
import { kernels } from '../native/index.js';
import { checkFiniteFast } from './finite.js';
import type { LossName } from './losses.js';

/** Largest accepted distance of a soft target row's sum from 1: room for rows computed in float32. */
const rowSumTolerance = 1e-6;

/** What a caller hands over. */
export interface BatchData {
  /** Row-major [samples, inputs]. */
  inputs: Float64Array;
  /**
   * Cross-entropy: class indices [samples] (Int32Array or number[]) or soft targets row-major [samples, outputs] (Float64Array,
   * rows >= 0 that sum to 1). Other losses: values [samples, outputs] in any of the three; binary cross-entropy takes [0, 1].
   */
  targets: Int32Array | readonly number[] | Float64Array;
  /** Sample weights [samples], finite and >= 0; weight n multiplies the loss of sample n, the average stays over all samples. */
  weights?: Float64Array;
}

/** A batch in unit-major order. Its arrays belong to it and are not to be changed. */
export interface Batch {
  /** Number of samples N. */
  readonly samples: number;
  /** Unit-major, samples x inputs. */
  readonly inputs: Float64Array;
  /** Class indices, or null. */
  readonly targets: Int32Array | null;
  /** Unit-major, samples x outputs, or null. */
  readonly targetValues: Float64Array | null;
  /** Sample weights w_n >= 0, length N; null where all are one. */
  readonly weights: Float64Array | null;
  /** The loss whose rules the targets were checked by. */
  readonly loss?: LossName;
}

/**
 * Checks and prepares a batch for a network of these sizes.
 *
 * @param spent a batch that nobody looks at any more: its array of inputs is overwritten where it has the size
 */
export function prepareBatch(
  operation: string,
  inputs: number,
  outputs: number,
  loss: LossName,
  data: unknown,
  spent?: Batch,
): Batch {
  checkObject(operation, 'batch', data);
  checkKeys(operation, 'batch', data, ['inputs', 'targets', 'weights']);
  const samples = checkInputs(operation, data.inputs, inputs);
  const source = data.inputs as Float64Array;
  // A fresh array of megabytes a step costs several times the transposition: its pages are mapped, zeroed and given back.
  const held = spent?.inputs;
  const unitMajor =
    held instanceof Float64Array && held.length === source.length && held !== source
      ? held
      : new Float64Array(source.length);
  kernels.transpose(inputs, samples, source, 0, inputs, unitMajor, 0, samples);
  const weights =
    data.weights === undefined || data.weights === null ? null : checkWeights(operation, data.weights, samples);
  if (loss === 'cross-entropy' && !(data.targets instanceof Float64Array)) {
    return {
      samples,
      inputs: unitMajor,
      targets: classIndices(operation, data.targets, samples, outputs),
      targetValues: null,
      weights,
      loss,
    };
  }
  const values = targetRows(operation, data.targets, samples, outputs, loss);
  const targetValues = new Float64Array(values.length);
  kernels.transpose(outputs, samples, values, 0, outputs, targetValues, 0, samples);
  return { samples, inputs: unitMajor, targets: null, targetValues, weights, loss };
}

/** Checks row-major inputs and returns the number of samples. */
export function checkInputs(operation: string, value: unknown, inputs: number): number {
  const expected = `a Float64Array [samples, ${inputs}]`;
  if (!(value instanceof Float64Array)) failType(operation, 'inputs', expected, value);
  if (value.length === 0) failRange(operation, 'inputs', `${expected} with at least one sample`, value);
  if (value.length % inputs !== 0)
    failRange(operation, 'inputs', `${expected}, a length that is a multiple of ${inputs}`, value);
  checkFiniteFast(operation, 'inputs', value);
  return value.length / inputs;
}

/** Refuses an object that is not a prepared batch of this network. */
export function checkBatch(operation: string, batch: Batch, inputs: number, outputs: number, loss: LossName): void {
  checkObject(operation, 'batch', batch);
  const { samples } = batch;
  if (!(samples >= 1) || !(batch.inputs instanceof Float64Array))
    failType(operation, 'batch', 'a prepared batch', batch);
  if (batch.inputs.length !== samples * inputs) {
    failRange(
      operation,
      'batch.inputs',
      `a Float64Array [${inputs}, ${samples}] as prepared by network.batch`,
      batch.inputs,
    );
  }
  if (batch.weights !== null && batch.weights?.length !== samples) {
    failRange(operation, 'batch.weights', `null or a Float64Array of length ${samples}`, batch.weights);
  }
  if (batch.loss !== undefined && batch.loss !== loss) {
    failRange(operation, 'batch', `a batch prepared for the loss '${loss}'`, batch.loss);
  }
  if (batch.targets !== null) {
    if (loss !== 'cross-entropy' || batch.targets.length !== samples) {
      failRange(
        operation,
        'batch.targets',
        `targets prepared for the loss '${loss}' and ${samples} samples`,
        batch.targets,
      );
    }
  } else if (batch.targetValues === null || batch.targetValues.length !== samples * outputs) {
    failRange(
      operation,
      'batch.targetValues',
      `a Float64Array [${outputs}, ${samples}] as prepared by network.batch`,
      batch.targetValues,
    );
  }
}

function checkWeights(operation: string, value: unknown, samples: number): Float64Array {
  const expected = `a Float64Array of ${samples} finite numbers >= 0`;
  if (!(value instanceof Float64Array)) failType(operation, 'weights', expected, value);
  if (value.length !== samples) failRange(operation, 'weights', expected, value);
  for (let n = 0; n < samples; n++) {
    if (!(value[n] >= 0 && value[n] < Infinity))
      failRange(operation, `weights[${n}]`, 'a finite number >= 0', value[n]);
  }
  return value.slice();
}

function classIndices(operation: string, value: unknown, samples: number, outputs: number): Int32Array {
  const expected = `${samples} class indices (Int32Array or number[]) or a Float64Array [${samples}, ${outputs}]`;
  if (!(value instanceof Int32Array) && !Array.isArray(value)) failType(operation, 'targets', expected, value);
  if (value.length !== samples) failRange(operation, 'targets', expected, value);
  const targets = new Int32Array(samples);
  for (let n = 0; n < samples; n++) {
    const label: unknown = value[n];
    if (typeof label !== 'number' || !Number.isInteger(label) || label < 0 || label >= outputs) {
      failRange(operation, `targets[${n}]`, `a class index from 0 to ${outputs - 1}`, label);
    }
    targets[n] = label;
  }
  return targets;
}

function targetRows(operation: string, value: unknown, samples: number, outputs: number, loss: LossName): Float64Array {
  const expected = `a Float64Array [${samples}, ${outputs}]`;
  if (!(value instanceof Float64Array) && !(value instanceof Int32Array) && !Array.isArray(value)) {
    failType(operation, 'targets', expected, value);
  }
  if (value.length !== samples * outputs) failRange(operation, 'targets', expected, value);
  const rows = new Float64Array(value.length);
  for (let i = 0; i < rows.length; i++) {
    const entry: unknown = value[i];
    if (typeof entry !== 'number' || !Number.isFinite(entry))
      failRange(operation, `targets[${i}]`, 'a finite number', entry);
    if (loss === 'binary-cross-entropy' && (entry < 0 || entry > 1)) {
      failRange(operation, `targets[${i}]`, 'a number from 0 to 1', entry);
    }
    if (loss === 'cross-entropy' && entry < 0) failRange(operation, `targets[${i}]`, 'a number >= 0', entry);
    rows[i] = entry;
  }
  if (loss === 'cross-entropy') {
    for (let n = 0; n < samples; n++) {
      let sum = 0;
      for (let k = 0; k < outputs; k++) sum += rows[n * outputs + k];
      if (Math.abs(sum - 1) > rowSumTolerance)
        failRange(operation, `targets (row ${n})`, 'a sum of 1 within 1e-6', sum);
    }
  }
  return rows;
}
