/**
 * The network's structure and values: layers, parameter layout, initialisation, outputs, loss and gradient. The public class
 * {@link Network} (derivatives/network.ts) extends it by everything second-order.
 *
 * P parameters in one flat Float64Array: layer by layer, weight row-major [units, inputs], then bias [units] (or the custom
 * layer's own parameters). N samples, K outputs.
 *
 *   loss(x) = average loss over the batch + sum_l l2_l / 2 |x_l|^2      x_l: all parameters of layer l, biases included
 */
import { checkInteger, checkKeys, checkNonNegative, checkObject, checkOneOf, failRange, failType } from '../checks.js';
import { kernels } from '../native/index.js';
import { type Batch, type BatchData, checkBatch, checkInputs, prepareBatch } from './batch.js';
import { checkLength, checkVectorFast } from './finite.js';
import { GradientWorkspace } from './gradient.js';
import { initialiseParameters, type InitialiseOptions } from './initialise.js';
import { type Layer, type LayerSpec, resolveLayers } from './layers.js';
import { lossNames, type LossName } from './losses.js';
import { networkToJSON, type NetworkJSON } from './network-json.js';

/** Options of {@link Network}. */
export interface NetworkOptions {
  /** Features of a sample, >= 1. */
  inputs: number;
  /** Name of the loss. */
  loss: LossName;
  /** At least one layer; the last one's outputs are what the loss reads (logits for both cross-entropies). */
  layers: readonly LayerSpec[];
  /** L2 coefficients >= 0: one for all layers or one per layer. Default 0. */
  l2?: number | readonly number[] | Float64Array;
}

/** What {@link NetworkModel.evaluate} returns. */
export interface Evaluation {
  /** dataLoss + penalty */
  loss: number;
  /** Average loss over the batch. */
  dataLoss: number;
  /** The L2 term. */
  penalty: number;
  /** Share of right answers (cross-entropy: by sample; binary cross-entropy: by output); null for mse. */
  accuracy: number | null;
}

/** The structure of a network: layers, loss, L2 and parameter layout. `Network` adds the derivatives. */
export class NetworkModel {
  /** Features of a sample. */
  readonly inputs: number;
  /** Outputs K of the last layer. */
  readonly outputs: number;
  /** Name of the loss. */
  readonly loss: LossName;
  /** The layers with their places in the parameter vector. */
  readonly layers: readonly Layer[];
  /** Total number of parameters P. */
  readonly parameterCount: number;
  /** L2 coefficient of each layer. */
  readonly l2: Float64Array;
  /** Indices of the custom layers. */
  readonly customLayers: readonly number[];
  private readonly penalised: boolean;
  private workspace: GradientWorkspace | null = null;

  /**
   * @throws TypeError or RangeError naming the option, what was expected and what was received.
   */
  constructor(options: NetworkOptions) {
    const operation = 'Network';
    checkObject(operation, 'options', options);
    checkKeys(operation, 'options', options, ['inputs', 'loss', 'layers', 'l2']);
    checkInteger(operation, 'inputs', options.inputs, 1);
    checkOneOf(operation, 'loss', options.loss, lossNames);
    this.inputs = options.inputs;
    this.loss = options.loss;
    this.layers = resolveLayers(operation, options.inputs, options.layers);
    const last = this.layers[this.layers.length - 1];
    this.outputs = last.units;
    if (this.loss === 'cross-entropy' && this.outputs < 2) {
      failRange(
        operation,
        `layers[${last.index}].units`,
        "at least 2 classes with the loss 'cross-entropy' (one output: 'binary-cross-entropy')",
        1,
      );
    }
    this.parameterCount = last.parameterOffset + last.parameterCount;
    this.customLayers = this.layers.filter((layer) => layer.kind === 'custom').map((layer) => layer.index);
    this.l2 = resolveL2(operation, options.l2, this.layers.length);
    this.penalised = this.l2.some((value) => value > 0);
  }

  /**
   * Initial parameters from a seed.
   *
   * @example
   * const params = net.initialize({ seed: 1, scheme: 'orthogonal', gain: 1.1 });
   */
  initialize(options: InitialiseOptions): Float64Array {
    return initialiseParameters('Network.initialize', this.layers, this.parameterCount, options);
  }

  /**
   * Checks a batch and brings it into the inner storage order, once for all later uses.
   *
   * @param spent an earlier batch of a stream that nothing looks at any more: its memory is used again where it has the size,
   *   which saves more time than the checks and the transposition take
   */
  batch(data: BatchData, spent?: Batch): Batch {
    return prepareBatch('Network.batch', this.inputs, this.outputs, this.loss, data, spent);
  }

  /** Outputs (logits) row-major [N, K] of inputs row-major [N, inputs]. */
  forward(params: Float64Array, inputs: Float64Array): Float64Array {
    this.checkParameters('Network.forward', params);
    const samples = checkInputs('Network.forward', inputs, this.inputs);
    const unitMajor = new Float64Array(inputs.length);
    kernels.transpose(this.inputs, samples, inputs, 0, this.inputs, unitMajor, 0, samples);
    const result = new Float64Array(samples * this.outputs);
    this.working().outputsOf(params, unitMajor, samples, result);
    return result;
  }

  /** Outputs (logits) row-major [N, K] of a prepared batch. */
  batchOutputs(params: Float64Array, batch: Batch): Float64Array {
    this.checkParameters('Network.batchOutputs', params);
    checkBatch('Network.batchOutputs', batch, this.inputs, this.outputs, this.loss);
    const result = new Float64Array(batch.samples * this.outputs);
    this.working().outputsOf(params, batch.inputs, batch.samples, result);
    return result;
  }

  /** Loss and accuracy on a prepared batch. A loss that overflows is returned as it is. */
  evaluate(params: Float64Array, batch: Batch): Evaluation {
    this.checkParameters('Network.evaluate', params);
    checkBatch('Network.evaluate', batch, this.inputs, this.outputs, this.loss);
    const working = this.working();
    const dataLoss = working.evaluate(params, batch);
    const penalty = this.penalty(params);
    const answers = this.loss === 'cross-entropy' ? batch.samples : batch.samples * this.outputs;
    return {
      loss: dataLoss + penalty,
      dataLoss,
      penalty,
      accuracy: this.loss === 'mse' ? null : working.correct / answers,
    };
  }

  /**
   * The loss, with its gradient written to `gradient` (length P). Nothing is allocated after the first call at a batch size.
   * A loss that overflows is returned as it is: the caller decides what a diverged step means.
   */
  lossAndGradient(params: Float64Array, batch: Batch, gradient: Float64Array): number {
    const operation = 'Network.lossAndGradient';
    this.checkParameters(operation, params);
    checkLength(operation, 'gradient', gradient, this.parameterCount);
    if (gradient === params) failRange(operation, 'gradient', 'an array other than params', gradient);
    checkBatch(operation, batch, this.inputs, this.outputs, this.loss);
    const dataLoss = this.working().lossAndGradient(params, batch, gradient);
    this.addPenaltyProduct(params, gradient);
    return dataLoss + this.penalty(params);
  }

  /** sum_l l2_l / 2 |x_l|^2 */
  penalty(params: Float64Array): number {
    if (!this.penalised) return 0;
    let sum = 0;
    for (const { index, parameterCount: n, parameterOffset: o } of this.layers) {
      if (this.l2[index] > 0) sum += 0.5 * this.l2[index] * kernels.dot(n, params, o, params, o);
    }
    return sum;
  }

  /** out_l += l2_l v_l: the penalty's gradient for v = params, its Hessian product for any v. */
  addPenaltyProduct(v: Float64Array, out: Float64Array): void {
    if (!this.penalised) return;
    for (const { index, parameterCount: n, parameterOffset: o } of this.layers) {
      if (this.l2[index] > 0) kernels.axpy(n, this.l2[index], v, o, out, o);
    }
  }

  /** Refuses parameters of another length or with entries that are not finite. */
  checkParameters(operation: string, params: unknown): asserts params is Float64Array {
    checkVectorFast(operation, 'params', params, this.parameterCount);
  }

  /** Plain data that describes the network (not its parameters); custom layers must be registered by name. */
  toJSON(): NetworkJSON {
    return networkToJSON(this);
  }

  private working(): GradientWorkspace {
    this.workspace ??= new GradientWorkspace(this.layers, this.loss);
    return this.workspace;
  }
}

function resolveL2(operation: string, value: unknown, layers: number): Float64Array {
  const l2 = new Float64Array(layers);
  if (value === undefined) return l2;
  if (typeof value === 'number') {
    checkNonNegative(operation, 'l2', value);
    return l2.fill(value);
  }
  if (!Array.isArray(value) && !(value instanceof Float64Array))
    failType(operation, 'l2', 'a number or one number per layer', value);
  if (value.length !== layers) failRange(operation, 'l2', `${layers} numbers, one per layer`, value);
  for (let l = 0; l < layers; l++) {
    checkNonNegative(operation, `l2[${l}]`, value[l]);
    l2[l] = value[l] as number;
  }
  return l2;
}
