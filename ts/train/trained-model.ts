/**
 * A trained network with what was done to its data, as a checkpoint holds them: what a program needs to use the network on rows
 * as they are in the data, and to give results in the units of the data.
 *
 * Shapes: inputs row-major [N, features], results row-major [N, K].
 */
import { checkAllFinite, checkKeys, checkObject, checkOneOf, failRange, failType } from '../checks.js';
import { applyStandardisation, undoStandardisation, type Standardisation } from '../data/standardise.js';
import { RowEncoder, type CsvSchema } from '../data/table-rows.js';
import { Network } from '../derivatives/network.js';
import { DeepHessianError } from '../errors.js';
import type { OptionValue } from '../optimize/option-schema.js';
import { classProbabilities, predictClasses, predictedValue } from './evaluation.js';
import { findCheckpoint } from './run-folder.js';

/** The figures that a checkpoint keeps, or null. */
export function storedStandardisation(
  value: unknown,
): { inputs: Standardisation; values: Standardisation | null } | null {
  if (value === null || value === undefined) return null;
  const read = (part: unknown): Standardisation => {
    checkObject('checkpoint', 'standardisation', part);
    return { mean: Float64Array.from(part.mean as number[]), scale: Float64Array.from(part.scale as number[]) };
  };
  checkObject('checkpoint', 'standardisation', value);
  return { inputs: read(value.inputs), values: value.values === null ? null : read(value.values) };
}

/** How a table was read, as a checkpoint keeps it, or null. */
function storedTable(value: unknown): CsvSchema | null {
  if (value === null || value === undefined) return null;
  checkObject('checkpoint', 'schema', value);
  const schema = value as unknown as CsvSchema;
  for (const [name, columns] of [
    ['inputs', schema.inputs],
    ['targets', schema.targets],
  ] as const) {
    if (!Array.isArray(columns) || columns.length === 0)
      failType('checkpoint', `schema.${name}`, 'an array of columns', columns);
    for (const column of columns as readonly unknown[]) checkObject('checkpoint', `schema.${name}`, column);
  }
  return schema;
}

/** What a network says of one row. */
export interface Prediction {
  /** the most probable class; null for a regression */
  class: string | null;
  /** its probability (with loss 'mse' on classes: its output); null for a regression */
  probability: number | null;
  /** by name: of each target its value, in the units of the data, or of each class its probability */
  values: Record<string, number>;
}

/** What outputs of a network stand for, row by row. */
export interface Outcome {
  /** most probable classes [N]; null for a regression */
  classes: Int32Array | null;
  /** values in the units of the data, or probabilities of the classes, row-major [N, names] */
  values: Float64Array;
  /** standard deviation of a new observation about each value, where it was asked for */
  deviations?: Float64Array;
}

/**
 * A trained network that takes inputs as they are in the data. Images are the exception: their inputs are those of
 * {@link ImageFolder} with the model's {@link TrainedModel.channels}.
 *
 * @example
 * ```ts
 * const model = TrainedModel.open('runs/prices');
 * const [price] = model.predict(Float64Array.of(3, 120, 1985)); // one row
 * const [{ values }] = model.predictRows([{ rooms: 3, area: 120, year: 1985 }]); // values.price
 * ```
 */
export class TrainedModel {
  private constructor(
    /** the network */
    readonly network: Network,
    /** its parameters [P] */
    readonly params: Float64Array,
    /** steps of the training run so far */
    readonly step: number,
    /** names of the classes by index; null for a regression */
    readonly classes: readonly string[] | null,
    /** names of the inputs where the data had some, text columns spread out into one input a category */
    readonly featureNames: readonly string[] | null,
    /** mean and deviation of each column as trained on; null where nothing was standardised */
    readonly standardisation: { inputs: Standardisation; values: Standardisation | null } | null,
    /** mean and deviation of the channels of images; null for other data and for normalise 'unit' */
    readonly channels: { mean: number[]; deviation: number[] } | null,
    /** names of the values that a regression predicts; null for classes */
    readonly valueNames: readonly string[] | null,
    /** how the table was read: its columns, categories and means; null for other data */
    readonly table: CsvSchema | null,
    /** settings of the run by flag: which data, and how images were resized and normalised */
    readonly settings: Readonly<Record<string, OptionValue>>,
  ) {}

  /**
   * Reads a run folder (its latest checkpoint) or a checkpoint file.
   *
   * @throws DeepHessianError 'io' when there is none, 'bad-file' when it is damaged
   */
  static open(path: string): TrainedModel {
    const { checkpoint, file } = findCheckpoint(path);
    const { params, counters } = checkpoint.state;
    const extra = checkpoint.extra ?? {};
    let network: Network;
    let standardisation: ReturnType<typeof storedStandardisation>;
    let table: CsvSchema | null;
    try {
      network = Network.fromJSON(checkpoint.network);
      standardisation = storedStandardisation(extra.standardisation);
      table = storedTable(extra.schema);
    } catch (error) {
      const message = `${file}: its network cannot be built (${(error as Error).message})`;
      throw new DeepHessianError('bad-file', message, { path: file }, { cause: error });
    }
    if (params.length !== network.parameterCount) {
      const message = `${file}: expected ${network.parameterCount} parameters, found ${params.length}`;
      throw new DeepHessianError('bad-file', message, { path: file });
    }
    const classes = (extra.classes as string[] | null | undefined) ?? null;
    const { outputs: K } = network;
    const unnamed = Array.from({ length: K }, (_, k) => (K === 1 ? 'value' : `value ${k}`));
    return new TrainedModel(
      network,
      params,
      counters.step,
      classes ?? (network.loss === 'cross-entropy' ? unnamed.map((_, k) => String(k)) : null),
      (extra.featureNames as string[] | null | undefined) ?? null,
      standardisation,
      (extra.channels as TrainedModel['channels'] | undefined) ?? null,
      classes !== null || network.loss === 'cross-entropy'
        ? null
        : ((extra.valueNames as string[] | null | undefined) ?? unnamed),
      table,
      checkpoint.config as Record<string, OptionValue>,
    );
  }

  /**
   * Outputs of the network: values in the units of the data, or logits of classes.
   *
   * @param inputs [N, features] as in the data
   * @returns [N, K]
   * @throws TypeError or RangeError for inputs that are no whole rows of finite numbers
   */
  predict(inputs: Float64Array): Float64Array {
    const { network, params, standardisation } = this;
    if (!(inputs instanceof Float64Array))
      failType('TrainedModel.predict', 'inputs', `a Float64Array [N, ${network.inputs}]`, inputs);
    checkAllFinite('TrainedModel.predict', 'inputs', inputs);
    const outputs = network.forward(params, networkInputs(this, inputs));
    const values = standardisation?.values ?? null;
    return values === null ? outputs : undoStandardisation(outputs, values);
  }

  /**
   * The most probable class of each sample.
   *
   * @param inputs [N, features] as in the data
   * @returns class indices [N], of {@link TrainedModel.classes}
   * @throws as {@link TrainedModel.predict}; RangeError for a regression
   */
  classify(inputs: Float64Array): Int32Array {
    if (this.network.loss === 'mse' && this.classes === null)
      failRange('TrainedModel.classify', 'model', 'a classifier', "a regression (loss 'mse')");
    return predictClasses(this.predict(inputs), this.network.outputs);
  }

  /**
   * Predictions for rows of the table trained on, as they are in it: text columns as their texts, numbers as numbers or texts.
   *
   * @param rows one object a row, by column name ('column0', 'column1', .. for a table without a header); further keys are
   * passed over, and the target is not looked at. null, undefined, NaN and what counts as empty in a table are missing cells
   * @param options missing: what these do; 'mean' takes the mean of the training rows (of text the shares of its categories);
   * default 'mean' where the run was trained with it, else 'error'
   * @returns one prediction a row
   * @throws RangeError naming row and column for a column that is not there, a missing cell, a text that is no number or no category
   * trained on; TypeError for other kinds of cells; DeepHessianError 'unsupported' for a model that was not trained on a table
   */
  predictRows(
    rows: readonly Readonly<Record<string, string | number | boolean | null | undefined>>[],
    options: { missing?: 'error' | 'mean' } = {},
  ): Prediction[] {
    const operation = 'TrainedModel.predictRows';
    checkObject(operation, 'options', options);
    checkKeys(operation, 'options', options, ['missing']);
    const missing = options.missing ?? (this.settings.missing === 'mean' ? 'mean' : 'error');
    checkOneOf(operation, 'missing', missing, ['error', 'mean'] as const);
    if (!Array.isArray(rows)) failType(operation, 'rows', 'an array of objects', rows);
    if (this.table === null) {
      const message = `${operation}: the model was trained on ${describeData(this)}, not on a table; predict takes its inputs`;
      throw new DeepHessianError('unsupported', message);
    }
    const encoder = new RowEncoder(this.table, missing);
    const { features } = encoder;
    const inputs = new Float64Array(rows.length * features);
    for (const [n, row] of rows.entries()) {
      checkObject(operation, `rows[${n}]`, row);
      const where = (name: string): string => `rows[${n}]['${name}']`;
      encoder.inputs(
        ({ name }) => {
          if (!Object.hasOwn(row, name)) failRange(operation, where(name), 'a value', undefined);
          const value = row[name] ?? '';
          if (typeof value === 'string') return value.trim();
          if (typeof value === 'number' || typeof value === 'boolean') return String(value);
          return failType(operation, where(name), 'a text or a number', value);
        },
        inputs,
        n * features,
        ({ name }, expected) => failRange(operation, where(name), expected, row[name]),
      );
    }
    if (rows.length === 0) return [];
    const outcome = outcomes(this, this.network.forward(this.params, networkInputs(this, inputs)));
    return Array.from(rows.keys(), (n) => predictionOf(this, outcome, n));
  }
}

/** Inputs [N, features] as in the data, as the network takes them. */
export function networkInputs({ standardisation }: TrainedModel, inputs: Float64Array): Float64Array {
  return standardisation === null ? inputs : applyStandardisation(inputs, standardisation.inputs);
}

/** What the model was trained on, in a word. */
export function describeData({ settings }: TrainedModel): string {
  return typeof settings.data === 'string' ? `'${settings.data}'` : 'data of a program';
}

/**
 * What outputs of a model's network stand for.
 *
 * @param outputs [N, K] in the network's own units
 */
export function outcomes(model: TrainedModel, outputs: Float64Array): Outcome {
  const { network, standardisation, classes } = model;
  if (classes !== null) {
    const chosen = classes.length === 1 ? new Int32Array(outputs.length) : predictClasses(outputs, network.outputs);
    return { classes: chosen, values: classProbabilities(network, outputs, classes.length) };
  }
  const values = network.loss === 'mse' ? outputs : outputs.map((output) => predictedValue(network, output));
  const scales = standardisation?.values ?? null;
  return { classes: null, values: scales === null ? values : undoStandardisation(values, scales) };
}

/** Row `n` of what a model says. */
export function predictionOf(
  { classes, valueNames }: Pick<TrainedModel, 'classes' | 'valueNames'>,
  outcome: Outcome,
  n: number,
): Prediction {
  const names = classes ?? valueNames ?? [];
  const values = outcome.values.subarray(n * names.length, (n + 1) * names.length);
  const chosen = outcome.classes?.[n];
  return {
    class: chosen === undefined ? null : (classes?.[chosen] ?? String(chosen)),
    probability: chosen === undefined ? null : values[chosen],
    // Not by assignment: a class may be called __proto__.
    values: Object.fromEntries(names.map((name, k) => [name, values[k]])),
  };
}
