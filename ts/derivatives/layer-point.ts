/**
 * What a linearization keeps of every layer, and the two passes that fill it. N samples; all blocks unit-major.
 *
 *   s_l = W_l z_{l-1} + b_l,  lambda_l = dLoss/dz_l
 *   slope = act'(s_l),  delta = dLoss/ds_l = slope * lambda_l,  curvature = act''(s_l) * lambda_l     (element-wise)
 *
 * Loss means the data loss: the L2 term enters only the totals. Memory: 4 N h doubles for an affine layer of h units.
 */
import type { DeviceSlice } from '../device/index.js';
import { No } from '../native/index.js';
import { affineForward, affineInputAdjoint, affineParameterGradient } from '../network/affine-pass.js';
import type { Batch } from '../network/batch.js';
import { CustomScratch, customBackward, customForward } from '../network/custom-pass.js';
import type { AffineLayer, CustomLayer } from '../network/layers.js';
import { lossOfOutputs } from '../network/losses.js';
import type { NetworkModel } from '../network/network.js';
import { copyBlock, hadamard } from '../network/small-blocks.js';
import { requireDoubles } from './memory.js';
import { createOutputHessian, fillOutputHessian, outputHessianLength, type OutputHessian } from './output-hessian.js';
import { productWorkspace } from './product-workspace.js';

/**
 * An affine layer at one point: what derivatives need of it. Arrays are unit-major; inside the library also places in the memory of
 * a device.
 */
export interface AffinePoint<A = Float64Array> {
  readonly kind: 'affine';
  /** The layer. */
  readonly layer: AffineLayer;
  /** z_{l-1}, N x inputs. */
  readonly input: A;
  /** z_l, N x units. */
  readonly output: A;
  /** act'(s), N x units; ones for a linear layer. */
  readonly slope: A;
  /** act''(s) * dLoss/dz_l, N x units; zeros for a piecewise linear activation. */
  readonly curvature: A;
  /** dLoss/ds_l, N x units. */
  readonly delta: A;
  /** Identity activation. */
  readonly linear: boolean;
}

/** A custom layer at one point. Arrays are unit-major. */
export interface CustomPoint {
  readonly kind: 'custom';
  /** The layer. */
  readonly layer: CustomLayer;
  /** z_{l-1}, N x inputs. */
  readonly input: Float64Array;
  /** z_l, N x units. */
  readonly output: Float64Array;
  /** dLoss/dz_l, N x units. */
  readonly adjoint: Float64Array;
}

/** A layer at one point. */
export type LayerPoint = AffinePoint | CustomPoint;

/** An affine layer at one point, its arrays in the memory of a device. */
export type DeviceAffinePoint = AffinePoint<DeviceSlice>;

/** All arrays of one linearization, made once for (network, N) and handed on with `reuse`. */
export class PointStore {
  /** In the host's memory. */
  readonly device = null;
  readonly params: Float64Array;
  readonly gradient: Float64Array;
  readonly points: LayerPoint[];
  readonly outputHessian: OutputHessian;
  private readonly customs: (CustomScratch | null)[];

  constructor(
    readonly network: NetworkModel,
    readonly samples: number,
  ) {
    const { layers, parameterCount, loss, outputs } = network;
    const states = layers.reduce((sum, layer) => sum + layer.units, 0);
    requireDoubles(
      'Network.linearize',
      `a linearization of ${samples} samples`,
      2 * parameterCount + 4 * samples * states,
    );
    this.params = new Float64Array(parameterCount);
    this.gradient = new Float64Array(parameterCount);
    this.outputHessian = createOutputHessian(loss, samples, outputs);
    this.customs = layers.map((layer) => (layer.kind === 'custom' ? new CustomScratch(layer) : null));
    this.points = [];
    let input = new Float64Array(0);
    for (const layer of layers) {
      const size = samples * layer.units;
      const output = new Float64Array(size);
      if (layer.kind === 'custom') {
        this.points.push({ kind: 'custom', layer, input, output, adjoint: new Float64Array(size) });
      } else {
        const slope = new Float64Array(size);
        if (layer.linear) slope.fill(1);
        this.points.push({
          kind: 'affine',
          layer,
          input,
          output,
          slope,
          curvature: new Float64Array(size),
          delta: new Float64Array(size),
          linear: layer.linear,
        });
      }
      input = output;
    }
  }

  /** Bytes of all arrays. */
  get bytes(): number {
    let doubles = 2 * this.params.length;
    for (const point of this.points) doubles += point.output.length * (point.kind === 'affine' ? 4 : 2);
    return 8 * (doubles + outputHessianLength(this.outputHessian));
  }

  /** z_L, unit-major N x K. */
  get outputs(): Float64Array {
    return this.points[this.points.length - 1].output;
  }

  /** Runs both passes at (params, batch): fills every array and returns the data loss. The gradient is that of the data loss. */
  fill(params: Float64Array, batch: Batch): number {
    const { network, points, samples } = this;
    const workspace = productWorkspace(network);
    workspace.prepareScratch(samples);
    const { first: scratch, second: lambda } = workspace;
    this.params.set(params);
    (points[0] as { input: Float64Array }).input = batch.inputs;
    for (const point of points) {
      if (point.kind === 'custom') {
        customForward(this.customs[point.layer.index]!, samples, params, point.input, 0, samples, point.output);
      } else {
        // act'' waits in `curvature` for the adjoint of the backward pass.
        const second = point.layer.piecewiseLinear ? null : point.curvature;
        affineForward(
          point.layer,
          samples,
          params,
          point.input,
          0,
          samples,
          scratch,
          point.output,
          point.slope,
          second,
        );
      }
    }
    const { outputs: k, loss } = network;
    const { output } = points[points.length - 1];
    const q = this.outputHessian;
    const dataLoss = lossOfOutputs(loss, samples, k, output, batch, 0, lambda, q.kind === 'softmax' ? q.p : null);
    fillOutputHessian(q, loss, k, output, batch);
    this.backward(lambda);
    return dataLoss;
  }

  /** Nothing outside the JavaScript heap is held. */
  dispose(): void {}

  /** Reads dLoss/dz_L from `lambda`, which it then uses for every layer below. */
  private backward(lambda: Float64Array): void {
    const { points, params, gradient, samples } = this;
    for (let l = points.length - 1; l >= 0; l--) {
      const point = points[l];
      const size = point.output.length;
      if (point.kind === 'custom') {
        copyBlock(size, lambda, 0, point.adjoint, 0);
        const scratch = this.customs[l]!;
        customBackward(
          scratch,
          samples,
          params,
          point.input,
          0,
          samples,
          point.adjoint,
          0,
          gradient,
          l === 0 ? null : lambda,
        );
        continue;
      }
      const { layer, delta, curvature } = point;
      if (layer.linear) {
        copyBlock(size, lambda, 0, delta, 0);
      } else {
        hadamard(No, size, lambda, 0, point.slope, 0, delta, 0);
        if (!layer.piecewiseLinear) hadamard(No, size, lambda, 0, curvature, 0, curvature, 0);
      }
      affineParameterGradient(layer, samples, point.input, 0, samples, delta, 0, gradient);
      if (l > 0) affineInputAdjoint(layer, samples, params, delta, layer.residual ? 1 : 0, lambda);
    }
  }
}
