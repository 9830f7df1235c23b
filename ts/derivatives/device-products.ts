/**
 * Products with J, G and H in the memory of a device: the equations of products.ts, vectors up and products down, tangents
 * and adjoints there. What the output Hessian does to N K numbers a vector is the host's.
 */
import { DeviceBuffers, type DeviceBuffer } from '../device/index.js';
import { activationCodes, No, Yes } from '../native/index.js';
import type { NetworkModel } from '../network/network.js';
import type { DevicePointStore } from './device-point.js';
import type { DeviceAffinePoint } from './layer-point.js';
import { multiplyOutputHessian } from './output-hessian.js';

type BufferName = 'vectors' | 'products' | 'tangents' | 'preactivations' | 'first' | 'second';

/** Most vectors that pass at once. */
const mostColumns = 32;
/** Numbers up to which more vectors pass at once: 256 MB of tangents. */
const tangentNumbers = 2 ** 25;

/** Units of all layers, and of the widest. */
export function layerSizes({ layers }: NetworkModel): { units: number; widest: number } {
  return {
    units: layers.reduce((sum, layer) => sum + layer.units, 0),
    widest: layers.reduce((most, layer) => Math.max(most, layer.units), 0),
  };
}

/** Numbers of device memory for products with m vectors at a time. */
export function productLengths(network: NetworkModel, samples: number, m: number): Record<BufferName, number> {
  const { parameterCount: P } = network;
  const { units, widest } = layerSizes(network);
  return {
    vectors: P * m,
    products: P * m,
    tangents: samples * units * m,
    preactivations: samples * units * m,
    first: samples * widest * m,
    second: samples * widest * m,
  };
}

/** Multiplies with the derivatives at the point that a store holds at the time. */
export class DeviceProduct {
  private buffers: DeviceBuffers<BufferName> | null = null;
  private columns = 0;
  private top = new Float64Array(0);

  constructor(private readonly store: DevicePointStore) {}

  /** out := H v (or G v with gaussNewton); v and out are P x m column-major and do not overlap. */
  run(v: Float64Array, m: number, out: Float64Array, gaussNewton: boolean): void {
    const { network, samples } = this.store;
    const P = network.parameterCount;
    const most = Math.floor(tangentNumbers / productLengths(network, samples, 1).tangents);
    const width = Math.max(1, Math.min(m, mostColumns, most));
    for (let c = 0; c < m; c += width) {
      const columns = Math.min(width, m - c);
      const part = (all: Float64Array): Float64Array => all.subarray(c * P, (c + columns) * P);
      this.multiply(part(v), columns, part(out), gaussNewton);
    }
  }

  /** out := J v, unit-major N x K. */
  jacobian(v: Float64Array, out: Float64Array): void {
    this.tangents(v, 1);
    this.fetchTop(1, out);
  }

  /** out := J^T w for w unit-major N x K. */
  jacobianTransposed(w: Float64Array, out: Float64Array): void {
    const { device } = this.store;
    this.prepare(1);
    device.upload(w, this.at('first'));
    this.adjoints(1, true);
    device.download(this.at('products'), out);
  }

  /** Gives the device's memory back. */
  dispose(): void {
    this.buffers?.dispose();
    this.buffers = null;
    this.columns = 0;
  }

  private at(name: BufferName): DeviceBuffer {
    return this.buffers!.at(name);
  }

  private prepare(m: number): void {
    if (m <= this.columns) return;
    const { device, network, samples: N } = this.store;
    this.dispose();
    this.buffers = new DeviceBuffers(device, 'float64', productLengths(network, N, m));
    this.columns = m;
    this.top = new Float64Array(N * network.outputs * m);
  }

  private multiply(v: Float64Array, m: number, out: Float64Array, gaussNewton: boolean): void {
    const { device, samples: N, network, outputHessian } = this.store;
    const K = network.outputs;
    this.tangents(v, m);
    const { top } = this;
    this.fetchTop(m, top);
    for (let j = 0; j < m; j++) multiplyOutputHessian(outputHessian, N, K, top, j * N * K, top, j * N * K);
    device.upload(top, this.at('first'), 0, 0, N * K * m);
    this.adjoints(m, gaussNewton);
    device.download(this.at('products'), out, 0, 0, out.length);
  }

  /** The tangents of the outputs. */
  private fetchTop(m: number, out: Float64Array): void {
    const { device, layers, samples: N, network } = this.store;
    const { offset } = layers[layers.length - 1].slope;
    device.download(this.at('tangents'), out, m * offset, 0, N * network.outputs * m);
  }

  /** Y_l and S_l of every layer, m blocks N x h one after the other, at m times the layer's place among the slopes. */
  private tangents(v: Float64Array, m: number): void {
    this.prepare(m);
    const { device, layers, samples: N, network, parameters } = this.store;
    const P = network.parameterCount;
    const [vectors, s, y] = [this.at('vectors'), this.at('preactivations'), this.at('tangents')];
    device.upload(v, vectors, 0, 0, P * m);
    for (const [l, { layer, input, slope }] of layers.entries()) {
      const { inputs: a, units: h, weightOffset, biasOffset, linear, residual } = layer;
      const size = N * h;
      const at = m * slope.offset;
      // prettier-ignore
      device.gemmBatch(No, No, N, h, a, 1, input.buffer, input.offset, N, 0, vectors, weightOffset, a, P, 0, s, at, N, size, m);
      const below = l > 0 ? m * layers[l - 1].slope.offset : -1;
      if (below >= 0) {
        // prettier-ignore
        device.gemmBatch(No, No, N, h, a, 1, y, below, N, N * a, parameters.buffer, weightOffset, a, 0, 1, s, at, N, size, m);
      }
      for (let j = 0; j < m; j++) {
        const own = at + j * size;
        if (biasOffset >= 0) this.addBias(h, s, own, vectors, j * P + biasOffset);
        if (!linear) device.hadamard(No, size, slope.buffer, slope.offset, s, own, y, own);
      }
      if (linear) device.copy(m * size, s, at, y, at);
      if (residual && below >= 0) device.axpy(m * size, 1, y, below, y, at);
    }
  }

  /** s := s + 1 b^T, N x h. */
  private addBias(h: number, s: DeviceBuffer, at: number, b: DeviceBuffer, bo: number): void {
    const { device, samples: N } = this.store;
    device.activate(activationCodes.identity, N, h, s, at, b, bo, null, 0, null, 0, null, 0, null, 0);
  }

  /** Reads R_L from `first`, writes `products`. The Gauss-Newton form does not read the vectors. */
  private adjoints(m: number, gaussNewton: boolean): void {
    const { layers } = this.store;
    let r = this.at('first');
    let t = this.at('second');
    for (let l = layers.length - 1; l >= 0; l--) {
      const below = l > 0 ? layers[l - 1] : null;
      if (this.adjoint(layers[l], below, m, gaussNewton, r, t)) [r, t] = [t, r];
    }
  }

  /** One layer: T_l from R_l into `t`, the product's part, R_{l-1} into `r`. @returns whether R_{l-1} went to `t` instead */
  private adjoint(
    point: DeviceAffinePoint,
    below: DeviceAffinePoint | null,
    m: number,
    gaussNewton: boolean,
    r: DeviceBuffer,
    t: DeviceBuffer,
  ): boolean {
    const { device, samples: N, network, parameters } = this.store;
    const { layer, input, slope, curvature, delta } = point;
    const { inputs: a, units: h, weightOffset, biasOffset, linear, piecewiseLinear, residual } = layer;
    const P = network.parameterCount;
    const size = N * h;
    const [vectors, products, s, y] = [
      this.at('vectors'),
      this.at('products'),
      this.at('preactivations'),
      this.at('tangents'),
    ];
    // A linear layer has T = R; where it is residual R is still wanted below.
    const own = linear && !residual ? r : t;
    if (!linear) {
      for (let j = 0; j < m; j++) {
        device.hadamard(No, size, slope.buffer, slope.offset, r, j * size, t, j * size);
        if (gaussNewton || piecewiseLinear) continue;
        const at = m * slope.offset + j * size;
        device.hadamard(Yes, size, curvature.buffer, curvature.offset, s, at, t, j * size);
      }
    } else if (residual) device.copy(m * size, r, 0, t, 0);
    // prettier-ignore
    device.gemmBatch(Yes, No, a, h, N, 1, input.buffer, input.offset, N, 0, own, 0, N, size, 0, products, weightOffset, a, P, m);
    if (biasOffset >= 0) {
      for (let j = 0; j < m; j++) device.columnSums(No, N, h, own, j * size, N, products, j * P + biasOffset);
    }
    if (below === null) return false;
    const sizeBelow = N * a;
    const next = own === r ? t : r;
    if (!gaussNewton) {
      const at = m * below.slope.offset;
      // prettier-ignore
      device.gemmBatch(Yes, No, a, h, N, 1, y, at, N, sizeBelow, delta.buffer, delta.offset, N, 0, 1, products, weightOffset, a, P, m);
    }
    // prettier-ignore
    device.gemmBatch(No, Yes, N, a, h, 1, own, 0, N, size, parameters.buffer, weightOffset, a, 0, residual ? 1 : 0, next, 0, N, sizeBelow, m);
    if (!gaussNewton) {
      // prettier-ignore
      device.gemmBatch(No, Yes, N, a, h, 1, delta.buffer, delta.offset, N, 0, vectors, weightOffset, a, P, 1, next, 0, N, sizeBelow, m);
    }
    return next === t;
  }
}
