/**
 * One linearization in the memory of a device: the two passes of layer-point.ts in operations on whole matrices. Notation is
 * there; N samples, K outputs.
 *
 * What travels. At a new point the parameters up (P), the outputs down, the loss's adjoint up (N K each) and the gradient down
 * (P); the batch's inputs once. Losses and the output Hessian are the host's, whose formulas keep every digit of a small
 * loss. Everything else stays, and the host's arrays of a layer are fetched when they are first read.
 */
import { DeviceBuffers, type DeviceBuffer, type DeviceKernels, type DeviceSlice } from '../device/index.js';
import { DeepHessianError } from '../errors.js';
import { No, Yes } from '../native/index.js';
import type { Batch } from '../network/batch.js';
import type { AffineLayer } from '../network/layers.js';
import { lossOfOutputs } from '../network/losses.js';
import type { NetworkModel } from '../network/network.js';
import { DeviceProduct, layerSizes, productLengths } from './device-products.js';
import type { AffinePoint, DeviceAffinePoint } from './layer-point.js';
import { createOutputHessian, fillOutputHessian, outputHessianLength, type OutputHessian } from './output-hessian.js';

type BufferName =
  'parameters' | 'gradient' | 'states' | 'slopes' | 'curvatures' | 'deltas' | 'scratch' | 'first' | 'second';

function lengths(network: NetworkModel, samples: number): Record<BufferName, number> {
  const { parameterCount: P, inputs } = network;
  const { units, widest } = layerSizes(network);
  const all = samples * units;
  return {
    parameters: P,
    gradient: P,
    // z_0 .. z_L, one behind the other
    states: samples * inputs + all,
    slopes: all,
    curvatures: all,
    deltas: all,
    scratch: samples * widest,
    first: samples * widest,
    second: samples * widest,
  };
}

/** Bytes of device memory that a linearization of `samples` samples will hold, products with one vector at a time included. */
export function deviceLinearizationBytes(network: NetworkModel, samples: number): number {
  const numbers = [lengths(network, samples), productLengths(network, samples, 1)].flatMap(Object.values<number>);
  return 8 * numbers.reduce((sum, length) => sum + length, 0);
}

/** An array of the host that is fetched from the device when it is first read. */
class Fetched {
  private array: Float64Array | null = null;
  private fresh = false;

  constructor(
    private readonly device: DeviceKernels,
    private readonly slice: DeviceSlice,
    private readonly length: number,
  ) {}

  get value(): Float64Array {
    this.array ??= new Float64Array(this.length);
    if (!this.fresh) this.device.download(this.slice.buffer, this.array, this.slice.offset);
    this.fresh = true;
    return this.array;
  }

  get bytes(): number {
    return this.array?.byteLength ?? 0;
  }

  expire(): void {
    this.fresh = false;
  }
}

/** An affine layer whose arrays are fetched one by one. */
class FetchedPoint implements AffinePoint {
  readonly kind = 'affine';
  readonly layer: AffineLayer;
  readonly linear: boolean;
  private readonly arrays: Record<'output' | 'slope' | 'curvature' | 'delta', Fetched>;

  constructor(
    device: DeviceKernels,
    there: DeviceAffinePoint,
    samples: number,
    private readonly inputOf: () => Float64Array,
  ) {
    this.layer = there.layer;
    this.linear = there.linear;
    const fetched = (slice: DeviceSlice): Fetched => new Fetched(device, slice, samples * there.layer.units);
    const { output, slope, curvature, delta } = there;
    this.arrays = {
      output: fetched(output),
      slope: fetched(slope),
      curvature: fetched(curvature),
      delta: fetched(delta),
    };
  }

  get input(): Float64Array {
    return this.inputOf();
  }
  get output(): Float64Array {
    return this.arrays.output.value;
  }
  get slope(): Float64Array {
    return this.arrays.slope.value;
  }
  get curvature(): Float64Array {
    return this.arrays.curvature.value;
  }
  get delta(): Float64Array {
    return this.arrays.delta.value;
  }
  get bytes(): number {
    return Object.values(this.arrays).reduce((sum, array) => sum + array.bytes, 0);
  }

  expire(): void {
    for (const array of Object.values(this.arrays)) array.expire();
  }
}

/** All arrays of one linearization on a device, made once for (network, N) and handed on with `reuse`. Affine layers only. */
export class DevicePointStore {
  readonly params: Float64Array;
  readonly gradient: Float64Array;
  /** For the host: every array is fetched when it is first read. */
  readonly points: readonly FetchedPoint[];
  /** On the device. */
  readonly layers: readonly DeviceAffinePoint[];
  readonly outputHessian: OutputHessian;
  /** z_L, unit-major N x K. */
  readonly outputs: Float64Array;
  private readonly buffers: DeviceBuffers<BufferName>;
  private readonly adjoint: Float64Array;
  /** whose inputs are on the device */
  private batch: Batch | null = null;
  private engine: DeviceProduct | null = null;

  /** @throws DeepHessianError 'out-of-memory' when the device cannot hold it; nothing stays allocated then */
  constructor(
    readonly device: DeviceKernels,
    readonly network: NetworkModel,
    readonly samples: number,
  ) {
    const { loss, outputs: K, parameterCount: P, customLayers } = network;
    if (customLayers.length > 0)
      throw new DeepHessianError('unsupported', `layer ${customLayers[0]} is a custom layer, which the host computes`);
    const sizes = lengths(network, samples);
    const buffers = (this.buffers = new DeviceBuffers(device, 'float64', sizes));
    this.params = new Float64Array(P);
    this.gradient = new Float64Array(P);
    this.outputs = new Float64Array(samples * K);
    this.adjoint = new Float64Array(samples * K);
    this.outputHessian = createOutputHessian(loss, samples, K);
    const layers: DeviceAffinePoint[] = [];
    const points: FetchedPoint[] = [];
    let inputAt = 0;
    let outputAt = samples * network.inputs;
    let unitAt = 0;
    for (const [l, layer] of (network.layers as readonly AffineLayer[]).entries()) {
      const at = (name: BufferName, offset: number): DeviceSlice => ({ buffer: buffers.at(name), offset });
      const point: DeviceAffinePoint = {
        kind: 'affine',
        layer,
        linear: layer.linear,
        input: at('states', inputAt),
        output: at('states', outputAt),
        slope: at('slopes', unitAt),
        curvature: at('curvatures', unitAt),
        delta: at('deltas', unitAt),
      };
      layers.push(point);
      points.push(
        new FetchedPoint(device, point, samples, () => (l === 0 ? this.batch!.inputs : this.points[l - 1].output)),
      );
      inputAt = outputAt;
      outputAt += samples * layer.units;
      unitAt += samples * layer.units;
    }
    this.layers = layers;
    this.points = points;
    try {
      // As on the host: a linear layer has slope one, a piecewise linear one curvature zero.
      device.fill(sizes.slopes, 1, buffers.at('slopes'), 0);
      device.fill(sizes.curvatures, 0, buffers.at('curvatures'), 0);
    } catch (error) {
      this.dispose();
      throw error;
    }
  }

  /** Bytes of host memory now. */
  get bytes(): number {
    const doubles = 2 * this.params.length + 2 * this.outputs.length + outputHessianLength(this.outputHessian);
    return 8 * doubles + this.points.reduce((sum, point) => sum + point.bytes, 0);
  }

  /** The parameters on the device. */
  get parameters(): DeviceSlice {
    return { buffer: this.buffers.at('parameters'), offset: 0 };
  }

  /** What multiplies with J, G and H. */
  get product(): DeviceProduct {
    return (this.engine ??= new DeviceProduct(this));
  }

  /** Both passes at (params, batch); returns the data loss. The gradient is that of the data loss. */
  fill(params: Float64Array, batch: Batch): number {
    const { device, network, samples, layers, outputs, outputHessian: q, adjoint, buffers } = this;
    for (const point of this.points) point.expire();
    this.params.set(params);
    const parameters = buffers.at('parameters');
    const states = buffers.at('states');
    device.upload(params, parameters);
    if (batch !== this.batch) {
      this.batch = null;
      device.upload(batch.inputs, states);
      this.batch = batch;
    }
    for (const { layer, input, output, slope, curvature } of layers) {
      // act'' waits in `curvature` for the adjoint of the backward pass.
      this.forward(layer, parameters, input, output, slope, layer.piecewiseLinear ? null : curvature);
    }
    device.download(states, outputs, layers[layers.length - 1].output.offset);
    const { loss, outputs: K } = network;
    const dataLoss = lossOfOutputs(loss, samples, K, outputs, batch, 0, adjoint, q.kind === 'softmax' ? q.p : null);
    fillOutputHessian(q, loss, K, outputs, batch);
    this.backward(parameters, states);
    device.download(buffers.at('gradient'), this.gradient);
    return dataLoss;
  }

  /** Outputs of the same batch at other parameters, unit-major N x K, into `out`. The point stays as it is. */
  outputsAt(params: Float64Array, out: Float64Array): void {
    const { device, layers, buffers } = this;
    // Where the gradient was: it has been fetched.
    const parameters = buffers.at('gradient');
    device.upload(params, parameters);
    let input = layers[0].input;
    let output: DeviceSlice = { buffer: buffers.at('first'), offset: 0 };
    let spare: DeviceSlice = { buffer: buffers.at('second'), offset: 0 };
    for (const { layer } of layers) {
      this.forward(layer, parameters, input, output, null, null);
      input = output;
      [output, spare] = [spare, output];
    }
    device.download(input.buffer, out, 0, 0, out.length);
  }

  private forward(
    layer: AffineLayer,
    parameters: DeviceBuffer,
    input: DeviceSlice,
    output: DeviceSlice,
    slope: DeviceSlice | null,
    second: DeviceSlice | null,
  ): void {
    const { device, samples: N } = this;
    const { inputs: a, units: h, code, linear, residual, weightOffset, biasOffset } = layer;
    const scratch = this.buffers.at('scratch');
    const { buffer: z, offset: zo } = input;
    const bias = biasOffset < 0 ? null : parameters;
    const b = Math.max(0, biasOffset);
    const [derivative, curve] = linear ? [null, null] : [slope, second];
    device.gemm(No, No, N, h, a, 1, z, zo, N, parameters, weightOffset, a, 0, scratch, 0, N);
    device.activate(
      code,
      N,
      h,
      scratch,
      0,
      bias,
      b,
      residual ? z : null,
      residual ? zo : 0,
      output.buffer,
      output.offset,
      derivative?.buffer ?? null,
      derivative?.offset ?? 0,
      curve?.buffer ?? null,
      curve?.offset ?? 0,
    );
  }

  /** The adjoints of all layers and the gradient, from dLoss/dz_L in `adjoint`. */
  private backward(parameters: DeviceBuffer, states: DeviceBuffer): void {
    const { device, samples: N, layers, buffers } = this;
    const lambda = buffers.at('first');
    const gradient = buffers.at('gradient');
    const [slopes, curvatures, deltas] = [buffers.at('slopes'), buffers.at('curvatures'), buffers.at('deltas')];
    device.upload(this.adjoint, lambda);
    for (let l = layers.length - 1; l >= 0; l--) {
      const { layer, input, slope } = layers[l];
      const { inputs: a, units: h, weightOffset, biasOffset, linear, piecewiseLinear, residual } = layer;
      const size = N * h;
      const at = slope.offset;
      if (linear) device.copy(size, lambda, 0, deltas, at);
      else {
        device.hadamard(No, size, lambda, 0, slopes, at, deltas, at);
        if (!piecewiseLinear) device.hadamard(No, size, lambda, 0, curvatures, at, curvatures, at);
      }
      device.gemm(Yes, No, a, h, N, 1, states, input.offset, N, deltas, at, N, 0, gradient, weightOffset, a);
      if (biasOffset >= 0) device.columnSums(No, N, h, deltas, at, N, gradient, biasOffset);
      if (l > 0) {
        const keep = residual ? 1 : 0;
        device.gemm(No, Yes, N, a, h, 1, deltas, at, N, parameters, weightOffset, a, keep, lambda, 0, N);
      }
    }
  }

  /** Gives the device's memory back. */
  dispose(): void {
    this.engine?.dispose();
    this.engine = null;
    this.buffers.dispose();
  }
}
