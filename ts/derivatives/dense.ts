/**
 * Dense matrices of a linearization, the slow and plain twins of every fast path. P parameters, N samples, K outputs.
 *
 *   J  (N K) x P, column-major, row k * N + n: derivative of output k of sample n
 *   G = J^T Q J           (plus L2)
 *   H = [H e_1 .. H e_P]  (plus L2), made symmetric by averaging with its transpose
 */
import { kernels, No, Yes } from '../native/index.js';
import { CustomScratch } from '../network/custom-pass.js';
import type { LayerPoint } from './layer-point.js';
import { allocate } from './memory.js';
import { multiplyOutputHessian, type OutputHessian } from './output-hessian.js';
import type { NetworkModel } from '../network/network.js';

/** Columns formed by one product call. */
const columnsAtOnce = 32;

/** H from products with unit vectors: P x P, symmetric, so row-major and column-major agree. */
export function denseFromProducts(
  operation: string,
  p: number,
  products: (v: Float64Array, m: number, out: Float64Array) => void,
): Float64Array {
  const matrix = allocate(operation, `a dense ${p} x ${p} matrix`, p * p);
  const width = Math.min(columnsAtOnce, p);
  const v = new Float64Array(p * width);
  for (let first = 0; first < p; first += width) {
    const m = Math.min(width, p - first);
    for (let j = 0; j < m; j++) v[j * p + first + j] = 1;
    products(m === width ? v : v.subarray(0, m * p), m, matrix.subarray(first * p, (first + m) * p));
    for (let j = 0; j < m; j++) v[j * p + first + j] = 0;
  }
  for (let j = 0; j < p; j++) {
    for (let i = 0; i < j; i++) {
      const mean = 0.5 * (matrix[i + j * p] + matrix[j + i * p]);
      matrix[i + j * p] = mean;
      matrix[j + i * p] = mean;
    }
  }
  return matrix;
}

/** J by one backward pass per output, all samples at once. */
export function outputJacobian(
  operation: string,
  network: NetworkModel,
  points: readonly LayerPoint[],
  params: Float64Array,
): Float64Array {
  const { outputs: k, parameterCount: p, layers } = network;
  const samples = points[points.length - 1].output.length / k;
  const rows = samples * k;
  const jacobian = allocate(operation, `the Jacobian, ${rows} x ${p},`, rows * p);
  const widest = layers.reduce((most, layer) => Math.max(most, layer.units), 0);
  let lambda = new Float64Array(samples * widest);
  let next = new Float64Array(samples * widest);
  for (let output = 0; output < k; output++) {
    lambda.fill(0);
    lambda.fill(1, output * samples, (output + 1) * samples);
    for (let l = points.length - 1; l >= 0; l--) {
      jacobianRows(points[l], samples, params, output * samples, rows, jacobian, lambda, next);
      const held = lambda;
      lambda = next;
      next = held;
    }
  }
  return jacobian;
}

/** The rows of one output in one layer's columns, and d output / dz_{l-1} into `next`. */
function jacobianRows(
  point: LayerPoint,
  samples: number,
  params: Float64Array,
  row: number,
  rows: number,
  jacobian: Float64Array,
  lambda: Float64Array,
  next: Float64Array,
): void {
  const { inputs: a, units: h } = point.layer;
  const below = point.layer.index > 0;
  if (point.kind === 'custom') {
    const scratch = new CustomScratch(point.layer);
    const { parameterCount: q, parameterOffset } = point.layer;
    scratch.loadParameters(params);
    for (let n = 0; n < samples; n++) {
      scratch.loadInput(point.input, 0, samples, n);
      scratch.loadAdjoint(lambda, samples, n);
      scratch.jacobians();
      for (let j = 0; j < q; j++) {
        let sum = 0;
        for (let u = 0; u < h; u++) sum += scratch.adjoint[u] * scratch.dParams[u * q + j];
        jacobian[row + n + (parameterOffset + j) * rows] = sum;
      }
      if (!below) continue;
      for (let i = 0; i < a; i++) {
        let sum = 0;
        for (let u = 0; u < h; u++) sum += scratch.adjoint[u] * scratch.dInput[u * a + i];
        next[i * samples + n] = sum;
      }
    }
    return;
  }
  const { weightOffset, biasOffset, residual } = point.layer;
  if (below) next.fill(0, 0, samples * a);
  for (let u = 0; u < h; u++) {
    for (let n = 0; n < samples; n++) {
      const d = lambda[u * samples + n] * point.slope[u * samples + n];
      for (let i = 0; i < a; i++) {
        jacobian[row + n + (weightOffset + u * a + i) * rows] = d * point.input[i * samples + n];
        if (below) next[i * samples + n] += d * params[weightOffset + u * a + i];
      }
      if (biasOffset >= 0) jacobian[row + n + (biasOffset + u) * rows] = d;
      if (below && residual) next[u * samples + n] += lambda[u * samples + n];
    }
  }
}

/** G = J^T Q J without the L2 term. */
export function denseGaussNewton(
  operation: string,
  network: NetworkModel,
  points: readonly LayerPoint[],
  params: Float64Array,
  q: OutputHessian,
): Float64Array {
  const { outputs: k, parameterCount: p } = network;
  const jacobian = outputJacobian(operation, network, points, params);
  const rows = jacobian.length / p;
  const curved = allocate(operation, 'a second Jacobian', rows * p);
  for (let j = 0; j < p; j++) multiplyOutputHessian(q, rows / k, k, jacobian, j * rows, curved, j * rows);
  const matrix = allocate(operation, `a dense ${p} x ${p} matrix`, p * p);
  kernels.gemm(Yes, No, p, p, rows, 1, jacobian, 0, rows, curved, 0, rows, 0, matrix, 0, p);
  for (let j = 0; j < p; j++) {
    for (let i = 0; i < j; i++) {
      const mean = 0.5 * (matrix[i + j * p] + matrix[j + i * p]);
      matrix[i + j * p] = mean;
      matrix[j + i * p] = mean;
    }
  }
  return matrix;
}
