/**
 * A network linearized at (parameters, batch): loss, gradient, exact products with the Hessian and the Gauss-Newton matrix, and
 * what every layer contributes. N samples, P parameters, K outputs.
 *
 * The Hessian is that of the average loss over the batch, for any N, plus the L2 term's diagonal.
 */
import { failRange, firstNonFinite } from '../checks.js';
import type { DeviceKernels } from '../device/index.js';
import { DeepHessianError } from '../errors.js';
import { kernels } from '../native/index.js';
import type { Batch } from '../network/batch.js';
import { checkLength, checkVectorFast } from '../network/finite.js';
import type { NetworkModel } from '../network/network.js';
import { lossOfOutputs } from '../network/losses.js';
import { denseFromProducts, denseGaussNewton, outputJacobian } from './dense.js';
import { DevicePointStore } from './device-point.js';
import type { DeviceProduct } from './device-products.js';
import { layerBlocks, type LayerBlocks } from './layer-blocks.js';
import { type LayerPoint, PointStore } from './layer-point.js';
import { multiplyOutputHessian, type OutputHessian } from './output-hessian.js';
import { Product } from './products.js';

/**
 * A network at one point of its parameters and one batch: loss, gradient and products with H and G. Made by
 * `Network.linearize`.
 */
export class Linearization {
  /** The network. */
  readonly network: NetworkModel;
  /** The batch. */
  readonly batch: Batch;
  /** N */
  readonly samples: number;
  /** dataLoss + penalty */
  readonly loss: number;
  /** Average loss over the batch. */
  readonly dataLoss: number;
  /** The L2 term. */
  readonly penalty: number;
  /** Where its arrays are: 'cuda' in the memory of a card, and fetched when they are first read. */
  readonly device: 'cpu' | 'cuda';
  private store: PointStore | DevicePointStore | null;
  private disposed = false;
  private product: Product | null = null;
  private blocks: (LayerBlocks | null)[] | null = null;
  private rowMajorOutputs: Float64Array | null = null;

  /**
   * Use `network.linearize(params, batch)`. `params` and `batch` have been checked.
   * @internal
   */
  constructor(
    network: NetworkModel,
    params: Float64Array,
    batch: Batch,
    reuse: Linearization | null,
    device: DeviceKernels | null = null,
  ) {
    const { samples } = batch;
    const taken = reuse?.fits(network, samples, device) === true ? reuse.store : null;
    if (taken !== null) reuse!.store = null;
    const make = (): PointStore | DevicePointStore =>
      device === null ? new PointStore(network, samples) : new DevicePointStore(device, network, samples);
    const store = taken ?? make();
    this.network = network;
    this.batch = batch;
    this.samples = samples;
    this.device = device?.kind ?? 'cpu';
    try {
      this.dataLoss = store.fill(params, batch);
    } catch (error) {
      store.dispose();
      throw error;
    }
    this.penalty = network.penalty(params);
    this.loss = this.dataLoss + this.penalty;
    network.addPenaltyProduct(params, store.gradient);
    this.store = store;
  }

  /** A copy of the parameters, length P. */
  get params(): Float64Array {
    return this.held().params;
  }

  /** Gradient of the loss, L2 term included, length P. It belongs to this object. */
  get gradient(): Float64Array {
    return this.held().gradient;
  }

  /** What each layer keeps: its input and output, slopes, curvatures and adjoints (see {@link LayerPoint}). */
  get layers(): readonly LayerPoint[] {
    return this.held().points;
  }

  /** Q = d2 dataLoss / d outputs2, with sample weights and the average in it. */
  get outputHessian(): OutputHessian {
    return this.held().outputHessian;
  }

  /** Outputs (logits) row-major [N, K]. */
  get outputs(): Float64Array {
    if (this.rowMajorOutputs === null) {
      const k = this.network.outputs;
      this.rowMajorOutputs = new Float64Array(this.samples * k);
      kernels.transpose(this.samples, k, this.unitMajorOutputs, 0, this.samples, this.rowMajorOutputs, 0, k);
    }
    return this.rowMajorOutputs;
  }

  /**
   * Outputs (logits) unit-major N x K. It belongs to this object.
   * @internal
   */
  get unitMajorOutputs(): Float64Array {
    return this.held().outputs;
  }

  /** Bytes of host memory held by this object, without blocks computed on demand. */
  get bytes(): number {
    return this.held().bytes;
  }

  /**
   * Loss on the same batch at other parameters, where this point is computed. The point stays as it is.
   *
   * @param params length P; not finite: the loss is Infinity
   */
  lossAt(params: Float64Array): number {
    const { network, batch, samples } = this;
    checkLength('Linearization.lossAt', 'params', params, network.parameterCount);
    const store = this.held();
    if (firstNonFinite(params) >= 0) return Infinity;
    if (store instanceof PointStore) return network.evaluate(params, batch).loss;
    const outputs = new Float64Array(samples * network.outputs);
    store.outputsAt(params, outputs);
    const dataLoss = lossOfOutputs(network.loss, samples, network.outputs, outputs, batch, 0, null, null);
    return dataLoss + network.penalty(params);
  }

  /**
   * Outputs on the same batch at other parameters (length P, finite), unit-major N x K. The point stays as it is.
   * @internal
   */
  outputsAt(params: Float64Array): Float64Array {
    const { network, batch, samples } = this;
    checkVectorFast('Linearization.outputsAt', 'params', params, network.parameterCount);
    const store = this.held();
    const outputs = new Float64Array(samples * network.outputs);
    if (store instanceof DevicePointStore) store.outputsAt(params, outputs);
    else {
      const rows = network.batchOutputs(params, batch);
      kernels.transpose(network.outputs, samples, rows, 0, network.outputs, outputs, 0, samples);
    }
    return outputs;
  }

  /**
   * Parameters and layers as they are in the memory of `device`, for work there; null where this point is not.
   * @internal
   */
  on(device: DeviceKernels): Pick<DevicePointStore, 'parameters' | 'layers'> | null {
    const store = this.held();
    return store instanceof DevicePointStore && store.device === device ? store : null;
  }

  /**
   * Whether its arrays can serve another point of the network with so many samples, on a device (null: the host).
   * @internal
   */
  fits(network: NetworkModel, samples: number, device: DeviceKernels | null): boolean {
    const { store } = this;
    return store !== null && store.network === network && store.samples === samples && store.device === device;
  }

  /** Gives the memory of a device back; without one nothing is held outside the JavaScript heap. Any later use throws. */
  dispose(): void {
    this.store?.dispose();
    this.store = null;
    this.disposed = true;
  }

  /**
   * H v, exact (Pearlmutter 1994), for about the cost of two gradients. `v` and `out` have length P and are different arrays.
   *
   * @returns `out`, or a new array without it
   */
  hessianProduct(v: Float64Array, out?: Float64Array): Float64Array {
    return this.multiply('Linearization.hessianProduct', v, 1, out, false);
  }

  /** G v with the Gauss-Newton matrix G = J^T Q J + L2 (Schraudolph 2002), arguments as in {@link hessianProduct}. */
  gaussNewtonProduct(v: Float64Array, out?: Float64Array): Float64Array {
    return this.multiply('Linearization.gaussNewtonProduct', v, 1, out, true);
  }

  /** H V for the m columns of V (P x m, column-major), for less than m single products where layers are small. */
  hessianProducts(v: Float64Array, m: number, out?: Float64Array): Float64Array {
    return this.multiply('Linearization.hessianProducts', v, m, out, false);
  }

  /** G V, arguments as in {@link hessianProducts}. */
  gaussNewtonProducts(v: Float64Array, m: number, out?: Float64Array): Float64Array {
    return this.multiply('Linearization.gaussNewtonProducts', v, m, out, true);
  }

  /** J v, the tangent of the outputs, unit-major N x K; without any loss or L2 part. */
  jacobianProduct(v: Float64Array, out?: Float64Array): Float64Array {
    const operation = 'Linearization.jacobianProduct';
    const size = this.samples * this.network.outputs;
    checkVectorFast(operation, 'v', v, this.network.parameterCount);
    if (out === undefined) out = new Float64Array(size);
    else checkLength(operation, 'out', out, size);
    this.prepared().jacobian(v, out);
    return out;
  }

  /** J^T w for w unit-major N x K, length P; without any loss or L2 part. */
  jacobianTransposedProduct(w: Float64Array, out?: Float64Array): Float64Array {
    const operation = 'Linearization.jacobianTransposedProduct';
    checkVectorFast(operation, 'w', w, this.samples * this.network.outputs);
    if (out === undefined) out = new Float64Array(this.network.parameterCount);
    else checkLength(operation, 'out', out, this.network.parameterCount);
    this.prepared().jacobianTransposed(w, out);
    return out;
  }

  /** out := Q s for unit-major N x K blocks; `out` may be `s`. */
  applyOutputHessian(s: Float64Array, out: Float64Array): void {
    const size = this.samples * this.network.outputs;
    checkLength('Linearization.applyOutputHessian', 's', s, size);
    checkLength('Linearization.applyOutputHessian', 'out', out, size);
    multiplyOutputHessian(this.outputHessian, this.samples, this.network.outputs, s, 0, out, 0);
  }

  /**
   * H as a dense symmetric P x P matrix, from P products: an oracle for small networks.
   *
   * @throws DeepHessianError 'out-of-memory' with the figures, before anything is allocated
   */
  denseHessian(): Float64Array {
    const operation = 'Linearization.denseHessian';
    return denseFromProducts(operation, this.network.parameterCount, (v, m, out) => {
      this.multiply(operation, v, m, out, false);
    });
  }

  /** G as a dense symmetric P x P matrix from the explicit Jacobian; errors as {@link denseHessian}. */
  denseGaussNewton(): Float64Array {
    const operation = 'Linearization.denseGaussNewton';
    const { network } = this;
    const { points, params, outputHessian } = this.held();
    const matrix = denseGaussNewton(operation, network, points, params, outputHessian);
    for (const { index, parameterOffset, parameterCount } of network.layers) {
      for (let i = parameterOffset; i < parameterOffset + parameterCount; i++)
        matrix[i + i * network.parameterCount] += network.l2[index];
    }
    return matrix;
  }

  /** J = d outputs / d parameters, (N K) x P column-major, row k * N + n; errors as {@link denseHessian}. */
  outputJacobian(): Float64Array {
    const { points, params } = this.held();
    return outputJacobian('Linearization.outputJacobian', this.network, points, params);
  }

  /**
   * The mixed partial derivatives of layer `index` as dense blocks, computed anew at each call (see {@link LayerBlocks}).
   * They do not include the L2 term.
   */
  layerBlocks(index: number): LayerBlocks {
    const { points, params } = this.held();
    if (!Number.isInteger(index) || index < 0 || index >= points.length) {
      failRange('Linearization.layerBlocks', 'index', `a layer index from 0 to ${points.length - 1}`, index);
    }
    return layerBlocks(points[index], this.samples, params);
  }

  /**
   * The blocks of a custom layer, kept after the first call: its products go through them.
   * @internal
   */
  customBlocks(index: number): LayerBlocks {
    this.blocks ??= [];
    return (this.blocks[index] ??= this.layerBlocks(index));
  }

  private multiply(
    operation: string,
    v: Float64Array,
    m: number,
    out: Float64Array | undefined,
    gaussNewton: boolean,
  ): Float64Array {
    const { network } = this;
    if (!Number.isInteger(m) || m < 1) failRange(operation, 'm', 'an integer >= 1', m);
    const p = network.parameterCount;
    checkVectorFast(operation, 'v', v, p * m);
    if (out === undefined) out = new Float64Array(p * m);
    else checkLength(operation, 'out', out, p * m);
    if (out === v) failRange(operation, 'out', 'an array other than v', out);
    this.prepared().run(v, m, out, gaussNewton);
    if (m === 1) {
      network.addPenaltyProduct(v, out);
    } else {
      for (let j = 0; j < m; j++)
        network.addPenaltyProduct(v.subarray(j * p, (j + 1) * p), out.subarray(j * p, (j + 1) * p));
    }
    return out;
  }

  /** The product engine, with custom blocks at hand: they call the user's code, before the shared workspace is in use. */
  private prepared(): Product | DeviceProduct {
    const store = this.held();
    if (store instanceof DevicePointStore) return store.product;
    for (const index of this.network.customLayers) this.customBlocks(index);
    this.product ??= new Product(this);
    return this.product;
  }

  private held(): PointStore | DevicePointStore {
    if (this.store === null) {
      throw new DeepHessianError(
        'unsupported',
        `Linearization: its arrays were ${this.disposed ? 'disposed' : 'taken over by a later linearize with { reuse }'}`,
      );
    }
    return this.store;
  }
}
