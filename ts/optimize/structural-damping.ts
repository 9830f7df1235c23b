/**
 * Structural damping (Martens & Sutskever 2011, section 3.2): a penalty on the change of the hidden activations,
 *
 *     S = 1/N sum over hidden layers l of J_l^T J_l,     J_l = d z_l / d parameters
 *
 * so that a step is shortened where hidden states would move far and the quadratic model ends. One product S v is a pass of tangents
 * up and a pass of adjoints down, about a Gauss-Newton product.
 */
import type { AffinePoint, Linearization } from '../derivatives/index.js';
import { kernels, No, Yes } from '../native/index.js';
import type { NetworkModel } from '../network/index.js';
import { checkAffine } from './backpropagated-rows.js';

export class StructuralDamping {
  private samples = 0;
  private readonly tangents: Float64Array[] = [];
  private first = new Float64Array(0);
  private second = new Float64Array(0);

  /** @throws DeepHessianError 'unsupported' for custom layers */
  constructor(
    operation: string,
    private readonly network: NetworkModel,
  ) {
    checkAffine(operation, network);
  }

  /** out += scale S v at a point; hidden layers are all but the last. */
  accumulate(point: Linearization, v: Float64Array, scale: number, out: Float64Array): void {
    const { samples: N, layers, params } = point;
    this.prepare(N);
    const { tangents } = this;
    const hidden = layers.length - 1;
    for (let l = 0; l < hidden; l++) {
      const { layer, input, slope, linear } = layers[l] as AffinePoint;
      const { inputs: a, units: h, weightOffset, biasOffset, residual } = layer;
      const y = tangents[l];
      kernels.gemm(No, No, N, h, a, 1, input, 0, N, v, weightOffset, a, 0, y, 0, N);
      if (l > 0) kernels.gemm(No, No, N, h, a, 1, tangents[l - 1], 0, N, params, weightOffset, a, 1, y, 0, N);
      if (biasOffset >= 0) {
        for (let i = 0, o = 0; i < h; i++) for (let n = 0; n < N; n++, o++) y[o] += v[biasOffset + i];
      }
      if (!linear) kernels.hadamard(No, N * h, slope, 0, y, 0, y, 0);
      if (residual && l > 0) kernels.axpy(N * h, 1, tangents[l - 1], 0, y, 0);
    }
    const share = scale / N;
    for (let l = hidden - 1; l >= 0; l--) {
      const { layer, input, slope, linear } = layers[l] as AffinePoint;
      const { inputs: a, units: h, weightOffset, biasOffset, residual } = layer;
      const { first: r, second: below } = this;
      const size = N * h;
      if (l === hidden - 1) r.fill(0, 0, size);
      kernels.axpy(size, share, tangents[l], 0, r, 0);
      const keep = residual && l > 0;
      if (keep) below.set(r.subarray(0, size));
      if (!linear) kernels.hadamard(No, size, slope, 0, r, 0, r, 0);
      kernels.gemm(Yes, No, a, h, N, 1, input, 0, N, r, 0, N, 1, out, weightOffset, a);
      if (biasOffset >= 0) kernels.columnSums(Yes, N, h, r, 0, N, out, biasOffset);
      if (l === 0) break;
      kernels.gemm(No, Yes, N, a, h, 1, r, 0, N, params, weightOffset, a, keep ? 1 : 0, below, 0, N);
      this.first = below;
      this.second = r;
    }
  }

  private prepare(samples: number): void {
    if (samples === this.samples) return;
    this.samples = samples;
    let widest = 0;
    for (const layer of this.network.layers) {
      this.tangents[layer.index] = new Float64Array(samples * layer.units);
      widest = Math.max(widest, layer.units, layer.index > 0 ? layer.inputs : 0);
    }
    this.first = new Float64Array(samples * widest);
    this.second = new Float64Array(samples * widest);
  }
}
