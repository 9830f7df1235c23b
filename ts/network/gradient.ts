/**
 * Loss, gradient and outputs of a network, in a workspace that only ever grows: after the first call at a batch size
 * nothing is allocated.
 *
 * A large batch runs in parts of at most `partSamples`, so that the activations of one part stay near the processor and the
 * memory does not grow with the batch: 2 N sum(h) doubles for N samples and sum(h) units, N <= partSamples. The losses and
 * gradients of the parts add up to those of the batch (the average over all N is already in every term).
 */
import { kernels, No } from '../native/index.js';
import type { Batch } from './batch.js';
import { affineForward, affineInputAdjoint, affineParameterGradient } from './affine-pass.js';
import { CustomScratch, customBackward, customForward } from './custom-pass.js';
import type { Layer } from './layers.js';
import { countCorrect, lossOfOutputs, type LossName } from './losses.js';
import { copyBlock, hadamard } from './small-blocks.js';

/** Doubles that one part's activations may take (4 MB), and the least part worth a matrix product. */
const partDoubles = 1 << 19;
const leastPart = 64;

export class GradientWorkspace {
  private capacity = 0;
  private readonly partSamples: number;
  private readonly widest: number;
  private readonly outputs: Float64Array[] = [];
  private readonly slopes: (Float64Array | null)[] = [];
  private readonly customs: (CustomScratch | null)[];
  private firstInput = new Float64Array(0);
  private scratch = new Float64Array(0);
  private lambda = new Float64Array(0);
  private delta = new Float64Array(0);
  /** Right answers met by the last {@link evaluate}. */
  correct = 0;

  constructor(
    private readonly layers: readonly Layer[],
    private readonly loss: LossName,
  ) {
    let total = 0;
    let widest = 0;
    for (const layer of layers) {
      total += layer.units;
      widest = Math.max(widest, layer.units);
    }
    this.widest = widest;
    this.partSamples = Math.max(leastPart, Math.floor(partDoubles / (2 * total)));
    this.customs = layers.map((layer) => (layer.kind === 'custom' ? new CustomScratch(layer) : null));
  }

  /** Bytes held now. */
  get bytes(): number {
    let doubles = this.firstInput.length + this.scratch.length + this.lambda.length + this.delta.length;
    for (let l = 0; l < this.outputs.length; l++) doubles += this.outputs[l].length + (this.slopes[l]?.length ?? 0);
    return 8 * doubles;
  }

  /** Loss without the L2 term; `gradient` is overwritten by its gradient. */
  lossAndGradient(params: Float64Array, batch: Batch, gradient: Float64Array): number {
    const { layers } = this;
    const { samples } = batch;
    const part = this.prepare(samples);
    let sum = 0;
    for (let first = 0; first < samples; first += part) {
      const count = Math.min(part, samples - first);
      this.forward(params, batch.inputs, first, samples, count, true);
      const outputs = this.outputs[layers.length - 1];
      sum += lossOfOutputs(this.loss, count, layers[layers.length - 1].units, outputs, batch, first, this.lambda, null);
      this.backward(params, batch.inputs, first, samples, count, first === 0 ? 0 : 1, gradient);
    }
    return sum;
  }

  /** Loss without the L2 term; counts right answers in {@link correct}. */
  evaluate(params: Float64Array, batch: Batch): number {
    const { layers } = this;
    const { samples } = batch;
    const part = this.prepare(samples);
    const k = layers[layers.length - 1].units;
    let sum = 0;
    this.correct = 0;
    for (let first = 0; first < samples; first += part) {
      const count = Math.min(part, samples - first);
      this.forward(params, batch.inputs, first, samples, count, false);
      const outputs = this.outputs[layers.length - 1];
      sum += lossOfOutputs(this.loss, count, k, outputs, batch, first, null, null);
      this.correct += countCorrect(this.loss, count, k, outputs, batch, first);
    }
    return sum;
  }

  /** Outputs row-major [samples, K] of unit-major inputs, into `result`. */
  outputsOf(params: Float64Array, inputs: Float64Array, samples: number, result: Float64Array): void {
    const { layers } = this;
    const part = this.prepare(samples);
    const k = layers[layers.length - 1].units;
    for (let first = 0; first < samples; first += part) {
      const count = Math.min(part, samples - first);
      this.forward(params, inputs, first, samples, count, false);
      kernels.transpose(count, k, this.outputs[layers.length - 1], 0, count, result, first * k, k);
    }
  }

  /** Grows the arrays and returns the samples of one part; parts are even, so that the last is not a sliver. */
  private prepare(samples: number): number {
    const parts = Math.ceil(samples / this.partSamples);
    const part = Math.ceil(samples / parts);
    if (part > this.capacity) {
      const { layers, widest } = this;
      const [head] = layers;
      for (let l = 0; l < layers.length; l++) {
        const layer = layers[l];
        this.outputs[l] = new Float64Array(part * layer.units);
        this.slopes[l] = layer.kind === 'affine' && !layer.linear ? new Float64Array(part * layer.units) : null;
      }
      if (head.kind === 'affine' && head.residual) this.firstInput = new Float64Array(part * head.inputs);
      this.scratch = new Float64Array(part * widest);
      this.lambda = new Float64Array(part * widest);
      this.delta = new Float64Array(part * widest);
      this.capacity = part;
    }
    return part;
  }

  private forward(
    params: Float64Array,
    inputs: Float64Array,
    first: number,
    samples: number,
    count: number,
    slopes: boolean,
  ): void {
    const { layers, outputs, scratch } = this;
    let z = inputs;
    let zo = first;
    let ldz = samples;
    const [head] = layers;
    if (head.kind === 'affine' && head.residual && count < samples) {
      // The fused residual addition reads a contiguous block.
      for (let i = 0; i < head.inputs; i++) {
        for (let n = 0; n < count; n++) this.firstInput[i * count + n] = inputs[i * samples + first + n];
      }
      z = this.firstInput;
      zo = 0;
      ldz = count;
    }
    for (let l = 0; l < layers.length; l++) {
      const layer = layers[l];
      if (layer.kind === 'affine') {
        affineForward(layer, count, params, z, zo, ldz, scratch, outputs[l], slopes ? this.slopes[l] : null, null);
      } else {
        customForward(this.customs[l]!, count, params, z, zo, ldz, outputs[l]);
      }
      z = outputs[l];
      zo = 0;
      ldz = count;
    }
  }

  /** Reads dLoss/dZ_L from `lambda`. */
  private backward(
    params: Float64Array,
    inputs: Float64Array,
    first: number,
    samples: number,
    count: number,
    beta: 0 | 1,
    gradient: Float64Array,
  ): void {
    const { layers, outputs } = this;
    for (let l = layers.length - 1; l >= 0; l--) {
      const layer = layers[l];
      const z = l === 0 ? inputs : outputs[l - 1];
      const zo = l === 0 ? first : 0;
      const ldz = l === 0 ? samples : count;
      if (layer.kind === 'custom') {
        customBackward(
          this.customs[l]!,
          count,
          params,
          z,
          zo,
          ldz,
          this.lambda,
          beta,
          gradient,
          l === 0 ? null : this.delta,
        );
        this.swap();
        continue;
      }
      const size = count * layer.units;
      if (!layer.linear) hadamard(No, size, this.lambda, 0, this.slopes[l]!, 0, this.delta, 0);
      else if (layer.residual) copyBlock(size, this.lambda, 0, this.delta, 0);
      else this.swap();
      affineParameterGradient(layer, count, z, zo, ldz, this.delta, beta, gradient);
      // A residual layer passes Lambda on besides Delta W^T: the product is added to it in place.
      if (l > 0) affineInputAdjoint(layer, count, params, this.delta, layer.residual ? 1 : 0, this.lambda);
    }
  }

  private swap(): void {
    const held = this.lambda;
    this.lambda = this.delta;
    this.delta = held;
  }
}
