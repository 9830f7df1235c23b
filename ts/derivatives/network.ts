/**
 * The public network: structure and values from {@link NetworkModel}, second derivatives through {@link Network.linearize}.
 * It lives here because derivatives build on the network and not the other way round.
 */
import { checkKeys, checkObject, failType } from '../checks.js';
import { chooseDevice, hasRoom, type DeviceKernels, type DeviceName, type DeviceWork } from '../device/index.js';
import type { Batch, BatchData } from '../network/batch.js';
import { checkBatch, prepareBatch } from '../network/batch.js';
import { NetworkModel } from '../network/network.js';
import { networkOptionsFromJSON } from '../network/network-json.js';
import { deviceLinearizationBytes } from './device-point.js';
import { Linearization } from './linearization.js';

/** What both passes over the layers consist of on a device. */
function linearizationWork(network: NetworkModel, samples: number): DeviceWork {
  const { parameterCount: P, outputs, layers } = network;
  return {
    // S = Z W, Z^T Delta and Delta W^T, 2 N flops a weight each
    products: 6 * samples * P,
    order: [],
    calls: 8 * layers.length + 5,
    transferred: 8 * (2 * P + 2 * samples * outputs),
  };
}

/** Options of `Network.linearize`. */
export interface LinearizeOptions {
  /**
   * A linearization no longer needed: when it is of the same network and number of samples, its arrays are taken over and
   * nothing large is allocated. It throws at any later use. Otherwise it is left alone.
   */
  reuse?: Linearization;
  /**
   * where the passes and products are computed, default 'cpu'; 'cuda': on an NVIDIA card, 'auto': there where it is modelled to
   * be faster; or an open device. Networks with custom layers are computed by the host, whose code these are. Memory of a
   * device is given back by `dispose` of the linearization.
   */
  device?: DeviceName | DeviceKernels;
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
   * @throws TypeError or RangeError naming the argument, what was expected and what was received; DeepHessianError
   *   'device-unavailable', 'out-of-memory'
   */
  linearize(params: Float64Array, batch: Batch | BatchData, options: LinearizeOptions = {}): Linearization {
    const operation = 'Network.linearize';
    this.checkParameters(operation, params);
    checkObject(operation, 'batch', batch);
    checkObject(operation, 'options', options);
    checkKeys(operation, 'options', options, ['reuse', 'device']);
    const { reuse, device } = options;
    if (reuse !== undefined && !(reuse instanceof Linearization))
      failType(operation, 'options.reuse', 'a Linearization', reuse);
    let prepared: Batch;
    if ('samples' in batch) {
      prepared = batch as Batch;
      checkBatch(operation, prepared, this.inputs, this.outputs, this.loss);
    } else {
      prepared = prepareBatch(operation, this.inputs, this.outputs, this.loss, batch);
    }
    return new Linearization(
      this,
      params,
      prepared,
      reuse ?? null,
      this.place(device as LinearizeOptions['device'], prepared.samples, reuse),
    );
  }

  /** The device of a linearization; null: the host. */
  private place(
    wanted: LinearizeOptions['device'],
    samples: number,
    reuse: Linearization | undefined,
  ): DeviceKernels | null {
    if (wanted === undefined || wanted === 'cpu') return null;
    const operation = 'Network.linearize';
    const { device } = chooseDevice(operation, wanted, linearizationWork(this, samples));
    if (device === null || this.customLayers.length > 0) return null;
    if (reuse?.fits(this, samples, device) === true) return device;
    const bytes = deviceLinearizationBytes(this, samples);
    return hasRoom(device, bytes, `${operation}: a batch of ${samples} samples`, wanted === 'auto') ? device : null;
  }

  /** The network that {@link NetworkModel.toJSON} described. */
  static fromJSON(json: unknown): Network {
    return new Network(networkOptionsFromJSON(json));
  }
}
