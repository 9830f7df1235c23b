/**
 * One affine layer forward and backward, in unit-major matrix form (N samples, fan-in a, h units):
 *
 *   S = Z W + 1 b^T            N x h     one gemm (W column-major a x h) and one fused activation
 *   Z_out = act(S) (+ Z)
 *   Delta = act'(S) * Lambda   N x h     Lambda = dLoss/dZ_out
 *   dW = Z^T Delta  (a x h),  db = column sums of Delta,  dLoss/dZ = Delta W^T (+ Lambda)
 *
 * The input Z may be a window of a larger block: offset `zo`, leading dimension `ldz`.
 */
import { kernels, No, Yes } from '../native/index.js';
import type { AffineLayer } from './layers.js';
import { addBias, columnSums, multiply } from './small-blocks.js';

/**
 * Z_out into `out`, act' into `slope` and act'' into `second` where wanted. `scratch` holds N x h. For a linear layer `slope`
 * and `second` are left alone. A residual layer needs a contiguous input (ldz = samples).
 */
export function affineForward(
  layer: AffineLayer,
  samples: number,
  params: Float64Array,
  z: Float64Array,
  zo: number,
  ldz: number,
  scratch: Float64Array,
  out: Float64Array,
  slope: Float64Array | null,
  second: Float64Array | null,
): void {
  const { inputs, units, code, linear, residual, biasOffset } = layer;
  const bias = biasOffset < 0 ? null : params;
  const b = biasOffset < 0 ? 0 : biasOffset;
  if (linear && !residual) {
    multiply(No, No, samples, units, inputs, z, zo, ldz, params, layer.weightOffset, inputs, 0, out, 0, samples);
    if (bias !== null) addBias(samples, units, out, 0, bias, b);
    return;
  }
  multiply(No, No, samples, units, inputs, z, zo, ldz, params, layer.weightOffset, inputs, 0, scratch, 0, samples);
  kernels.activate(
    code,
    samples,
    units,
    scratch,
    0,
    bias,
    b,
    residual ? z : null,
    residual ? zo : 0,
    out,
    0,
    linear ? null : slope,
    0,
    linear ? null : second,
    0,
  );
}

/** dW and db of the layer into `gradient` (beta 0 overwrites, 1 adds). */
export function affineParameterGradient(
  layer: AffineLayer,
  samples: number,
  z: Float64Array,
  zo: number,
  ldz: number,
  delta: Float64Array,
  beta: 0 | 1,
  gradient: Float64Array,
): void {
  const { inputs, units, weightOffset, biasOffset } = layer;
  multiply(Yes, No, inputs, units, samples, z, zo, ldz, delta, 0, samples, beta, gradient, weightOffset, inputs);
  if (biasOffset >= 0) columnSums(beta, samples, units, delta, 0, gradient, biasOffset);
}

/** target := Delta W^T + beta target, N x a. A residual layer calls it with Lambda already in `target` and beta 1. */
export function affineInputAdjoint(
  layer: AffineLayer,
  samples: number,
  params: Float64Array,
  delta: Float64Array,
  beta: 0 | 1,
  target: Float64Array,
): void {
  const { inputs, units, weightOffset } = layer;
  multiply(No, Yes, samples, inputs, units, delta, 0, samples, params, weightOffset, inputs, beta, target, 0, samples);
}
