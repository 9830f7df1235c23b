/**
 * The public network: structure and values from {@link NetworkModel}, second derivatives through {@link Network.linearize}.
 * It lives here because derivatives build on the network and not the other way round.
 */
import { checkKeys, checkObject, failType } from '../checks.js';
import type { Batch, BatchData } from '../network/batch.js';
import { checkBatch, prepareBatch } from '../network/batch.js';
import { NetworkModel } from '../network/network.js';
import { networkOptionsFromJSON } from '../network/network-json.js';
import { Linearization } from './linearization.js';

/** Options of `Network.linearize`. */
export interface LinearizeOptions {
  /**
   * A linearization no longer needed: when it is of the same network and number of samples, its arrays are taken over and
   * nothing large is allocated. It throws at any later use. Otherwise it is left alone.
   */
  reuse?: Linearization;
}

/**
 * A chain of layers with a loss.
 *
 * @example
 * const net = new Network({ inputs: 9, loss: 'cross-entropy', layers: [
 *   { type: 'dense', units: 12, activation: 'tanh' },
 *   { type: 'residual', units: 12, activation: 'tanh' },
 *   { type: 'dense', units: 10, activation: 'identity' } ] });
 * const params = net.initialize({ seed: 1 });
 * const point = net.linearize(params, { inputs, targets });
 * point.loss; point.gradient; point.hessianProduct(point.gradient);
 */
export class Network extends NetworkModel {
  /**
   * Loss, gradient and everything second-order at `params` for a batch (prepared by {@link NetworkModel.batch}, or raw arrays).
   *
   * @param params length P, finite
   * @throws TypeError or RangeError naming the argument, what was expected and what was received
   */
  linearize(params: Float64Array, batch: Batch | BatchData, options: LinearizeOptions = {}): Linearization {
    const operation = 'Network.linearize';
    this.checkParameters(operation, params);
    checkObject(operation, 'batch', batch);
    checkObject(operation, 'options', options);
    checkKeys(operation, 'options', options, ['reuse']);
    const { reuse } = options;
    if (reuse !== undefined && !(reuse instanceof Linearization))
      failType(operation, 'options.reuse', 'a Linearization', reuse);
    let prepared: Batch;
    if ('samples' in batch) {
      prepared = batch as Batch;
      checkBatch(operation, prepared, this.inputs, this.outputs, this.loss);
    } else {
      prepared = prepareBatch(operation, this.inputs, this.outputs, this.loss, batch);
    }
    return new Linearization(this, params, prepared, reuse ?? null);
  }

  /** The network that {@link NetworkModel.toJSON} described. */
  static fromJSON(json: unknown): Network {
    return new Network(networkOptionsFromJSON(json));
  }
}
