/**
 * A trained network with what was done to its data, as a checkpoint holds them: what a program needs to use the network on rows
 * as they are in the data, and to give results in the units of the data.
 *
 * Shapes: inputs row-major [N, features], results row-major [N, K].
 */
import { checkAllFinite, checkObject, failRange, failType } from '../checks.js';
import { applyStandardisation, undoStandardisation, type Standardisation } from '../data/standardise.js';
import { Network } from '../derivatives/network.js';
import { DeepHessianError } from '../errors.js';
import { predictClasses } from './evaluation.js';
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

/**
 * A trained network that takes inputs as they are in the data. Images are the exception: their inputs are those of
 * {@link ImageFolder} with the model's {@link TrainedModel.channels}.
 *
 * @example
 * ```ts
 * const model = TrainedModel.open('runs/prices');
 * const [price] = model.predict(Float64Array.of(3, 120, 1985)); // one row
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
    try {
      network = Network.fromJSON(checkpoint.network);
      standardisation = storedStandardisation(extra.standardisation);
    } catch (error) {
      const message = `${file}: its network cannot be built (${(error as Error).message})`;
      throw new DeepHessianError('bad-file', message, { path: file }, { cause: error });
    }
    if (params.length !== network.parameterCount) {
      const message = `${file}: expected ${network.parameterCount} parameters, found ${params.length}`;
      throw new DeepHessianError('bad-file', message, { path: file });
    }
    return new TrainedModel(
      network,
      params,
      counters.step,
      (extra.classes as string[] | null | undefined) ?? null,
      (extra.featureNames as string[] | null | undefined) ?? null,
      standardisation,
      (extra.channels as TrainedModel['channels'] | undefined) ?? null,
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
    const outputs = network.forward(
      params,
      standardisation === null ? inputs : applyStandardisation(inputs, standardisation.inputs),
    );
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
}
