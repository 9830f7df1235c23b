/**
 * The mixed partial derivatives of one layer as dense blocks, the second ones contracted with the adjoint dLoss/dz_l.
 * N samples, p parameters, a inputs, h units. All blocks column-major; a state of N x h is counted unit-major (u * N + n).
 *
 *   dx   (N h) x p      d z_l / d x_l
 *   dz   N blocks h x a at n h a                d z_l / d z_{l-1}, sample by sample
 *   hxx  p x p          sum over samples
 *   hxz  p x (N a)      column i * N + n belongs to input i of sample n
 *   hzz  N blocks a x a at n a a
 *
 * For an affine layer, with z~ = (z, 1), c = curvature, u' = u means the same unit:
 *   dx[(u,n), (u,i)] = slope_nu z~_ni          dz_n = diag(slope_n) W (+ I in a residual layer)
 *   hxx[(u,i), (u,j)] = sum_n c_nu z~_ni z~_nj
 *   hxz[(u,i), (n,j)] = c_nu z~_ni W_uj + delta_nu [i = j]       hzz_n = W^T diag(c_n) W
 *
 * The L2 term is not part of them.
 */
import { CustomScratch } from '../network/custom-pass.js';
import type { AffinePoint, CustomPoint, LayerPoint } from './layer-point.js';
import { requireDoubles } from './memory.js';

/**
 * The mixed partial derivatives of one layer as dense blocks, column-major; second derivatives are contracted with
 * the adjoint.
 */
export interface LayerBlocks {
  /** Jacobian by the parameters, (N units) x p. */
  readonly dx: Float64Array;
  /** Jacobian by the input, one block units x inputs a sample. */
  readonly dz: Float64Array;
  /** Second derivative by parameters twice, p x p, without L2. */
  readonly hxx: Float64Array;
  /** Second derivative by parameters and input, p x (N inputs). */
  readonly hxz: Float64Array;
  /** Second derivative by the input twice, one block inputs x inputs a sample. */
  readonly hzz: Float64Array;
}

/** Doubles that the blocks of a layer take. */
export function layerBlocksSize(samples: number, parameterCount: number, inputs: number, units: number): number {
  const states = samples * units;
  const p = parameterCount;
  return states * p + states * inputs + p * p + p * samples * inputs + samples * inputs * inputs;
}

/** The blocks of one layer at a point. */
export function layerBlocks(point: LayerPoint, samples: number, params: Float64Array): LayerBlocks {
  const { parameterCount: p, inputs: a, units: h } = point.layer;
  const size = layerBlocksSize(samples, p, a, h);
  requireDoubles('Linearization.layerBlocks', `the dense blocks of layers[${point.layer.index}]`, size);
  const blocks = {
    dx: new Float64Array(samples * h * p),
    dz: new Float64Array(samples * h * a),
    hxx: new Float64Array(p * p),
    hxz: new Float64Array(p * samples * a),
    hzz: new Float64Array(samples * a * a),
  };
  if (point.kind === 'affine') affineBlocks(point, samples, params, blocks);
  else customBlocks(point, samples, params, blocks);
  return blocks;
}

function affineBlocks(point: AffinePoint, samples: number, params: Float64Array, blocks: LayerBlocks): void {
  const { layer, input, slope, curvature, delta } = point;
  const { inputs: a, units: h, parameterCount: p, weightOffset, bias, residual } = layer;
  const { dx, dz, hxx, hxz, hzz } = blocks;
  const states = samples * h;
  const extended = bias ? a + 1 : a;
  /** Place of (unit, input) in the layer's parameters; input a is the bias. */
  const place = (u: number, i: number): number => (i === a ? h * a + u : u * a + i);
  const z = (n: number, i: number): number => (i === a ? 1 : input[i * samples + n]);
  for (let n = 0; n < samples; n++) {
    for (let u = 0; u < h; u++) {
      const row = u * samples + n;
      const d = slope[row];
      const c = curvature[row];
      const w = weightOffset + u * a;
      for (let i = 0; i < extended; i++) {
        const q = place(u, i);
        dx[row + q * states] = d * z(n, i);
        for (let j = 0; j < extended; j++) hxx[q + place(u, j) * p] += c * z(n, i) * z(n, j);
        for (let j = 0; j < a; j++)
          hxz[q + (j * samples + n) * p] = c * z(n, i) * params[w + j] + (i === j ? delta[row] : 0);
      }
      for (let j = 0; j < a; j++) {
        dz[n * h * a + u + j * h] = d * params[w + j] + (residual && u === j ? 1 : 0);
        for (let i = 0; i < a; i++) hzz[n * a * a + i + j * a] += c * params[w + i] * params[w + j];
      }
    }
  }
}

function customBlocks(point: CustomPoint, samples: number, params: Float64Array, blocks: LayerBlocks): void {
  const { layer: resolved, input, adjoint } = point;
  const { inputs: a, units: h, parameterCount: p, layer } = resolved;
  const { dx, dz, hxx, hxz, hzz } = blocks;
  const states = samples * h;
  const scratch = new CustomScratch(resolved);
  const xx = new Float64Array(p * p);
  const xz = new Float64Array(p * a);
  const zz = new Float64Array(a * a);
  scratch.loadParameters(params);
  for (let n = 0; n < samples; n++) {
    scratch.loadInput(input, 0, samples, n);
    scratch.loadAdjoint(adjoint, samples, n);
    scratch.jacobians();
    xx.fill(0);
    xz.fill(0);
    zz.fill(0);
    layer.contractions(scratch.params, scratch.input, scratch.adjoint, xx, xz, zz);
    for (let u = 0; u < h; u++) {
      for (let q = 0; q < p; q++) dx[u * samples + n + q * states] = scratch.dParams[u * p + q];
      for (let i = 0; i < a; i++) dz[n * h * a + u + i * h] = scratch.dInput[u * a + i];
    }
    for (let i = 0; i < xx.length; i++) hxx[i] += xx[i];
    for (let q = 0; q < p; q++) for (let i = 0; i < a; i++) hxz[q + (i * samples + n) * p] = xz[q * a + i];
    hzz.set(zz, n * a * a);
  }
}
