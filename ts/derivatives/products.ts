/**
 * Exact Hessian products (Pearlmutter 1994) and Gauss-Newton products (Schraudolph 2002) of the data loss, for m vectors at once.
 *
 * Matrix form, unit-major: Z (N x a) the layer's input, X and x_b the vector's weight (a x h) and bias, Y tangent of Z_out.
 *
 *   forward    S_l = Z X + Y_{l-1} W + 1 x_b^T          Y_l = slope * S_l (+ Y_{l-1} in a residual layer),  Y_0 = 0
 *   output     R_L = Q Y_L
 *   backward   T_l = slope * R_l + curvature * S_l
 *              (H x)_l = Z^T T_l + Y_{l-1}^T delta_l,  bias: column sums of T_l
 *              R_{l-1} = T_l W^T + delta_l X^T (+ R_l in a residual layer)
 *
 * Dropping the delta and curvature terms gives the Gauss-Newton product. A custom layer offers the same three lines through its
 * dense blocks: Y = Dx x + Dz Y, (H x)_l = Dx^T R + Hxx x + Hxz Y, R = Dz^T R + Hxz^T x + Hzz Y.
 *
 * Vectors are the columns of P x m matrices; m tangents of one layer lie one after the other, N x h each. The matrix products of
 * the m vectors go out as one strided batch.
 */
import { kernels, No, Yes, type Flag } from '../native/index.js';
import type { NetworkModel } from '../network/network.js';
import { addBias, columnSums, copyBlock, hadamard, multiply as multiplyOne } from '../network/small-blocks.js';
import type { LayerBlocks } from './layer-blocks.js';
import type { AffinePoint, CustomPoint, LayerPoint } from './layer-point.js';
import { multiplyOutputHessian, type OutputHessian } from './output-hessian.js';
import { productWorkspace, type ProductWorkspace } from './product-workspace.js';

/** What the products read of a linearization. */
export interface ProductPoint {
  readonly network: NetworkModel;
  readonly samples: number;
  readonly params: Float64Array;
  readonly layers: readonly LayerPoint[];
  readonly outputHessian: OutputHessian;
  customBlocks(index: number): LayerBlocks;
}

/** One product call: H V or G V (P x m, column-major) without the L2 term. */
export class Product {
  private readonly samples: number;
  private readonly p: number;
  private readonly workspace: ProductWorkspace;

  constructor(private readonly point: ProductPoint) {
    this.samples = point.samples;
    this.p = point.network.parameterCount;
    this.workspace = productWorkspace(point.network);
  }

  /** out := H v (or G v with gaussNewton); v and out are P x m column-major and do not overlap. */
  run(v: Float64Array, m: number, out: Float64Array, gaussNewton: boolean): void {
    const { point, samples, workspace } = this;
    const k = point.network.outputs;
    this.tangents(v, m);
    const top = workspace.tangents[point.layers.length - 1];
    for (let j = 0; j < m; j++) {
      const o = j * samples * k;
      multiplyOutputHessian(point.outputHessian, samples, k, top, o, workspace.first, o);
    }
    this.adjoints(v, m, out, gaussNewton);
  }

  /** out := J v, unit-major N x K. */
  jacobian(v: Float64Array, out: Float64Array): void {
    this.tangents(v, 1);
    copyBlock(out.length, this.workspace.tangents[this.point.layers.length - 1], 0, out, 0);
  }

  /** out := J^T w for w unit-major N x K. */
  jacobianTransposed(w: Float64Array, out: Float64Array): void {
    this.workspace.prepare(this.samples);
    copyBlock(w.length, w, 0, this.workspace.first, 0);
    this.adjoints(out, 1, out, true);
  }

  private tangents(v: Float64Array, m: number): void {
    const { layers } = this.point;
    this.workspace.prepare(this.samples * m);
    for (let l = 0; l < layers.length; l++) {
      const layer = layers[l];
      if (layer.kind === 'affine') this.affineTangent(layer, l, v, m);
      else this.customTangent(layer, l, v, m);
    }
  }

  /** Reads R_L from `first`. The Gauss-Newton form does not read v. */
  private adjoints(v: Float64Array, m: number, out: Float64Array, gaussNewton: boolean): void {
    const { layers } = this.point;
    for (let l = layers.length - 1; l >= 0; l--) {
      const layer = layers[l];
      if (layer.kind === 'affine') this.affineAdjoint(layer, l, v, m, out, gaussNewton);
      else this.customAdjoint(layer, l, v, m, out, gaussNewton);
    }
  }

  private affineTangent(point: AffinePoint, l: number, v: Float64Array, m: number): void {
    const { samples: n, p, workspace } = this;
    const { input, slope, layer } = point;
    const { inputs: a, units: h, weightOffset, biasOffset } = layer;
    const s = workspace.states[l];
    const y = workspace.tangents[l];
    const below = l > 0 ? workspace.tangents[l - 1] : null;
    const size = n * h;
    multiply(m, No, No, n, h, a, input, 0, n, 0, v, weightOffset, a, p, 0, s, 0, n, size);
    if (below !== null) {
      multiply(m, No, No, n, h, a, below, 0, n, n * a, this.point.params, weightOffset, a, 0, 1, s, 0, n, size);
    }
    if (biasOffset >= 0) {
      for (let j = 0; j < m; j++) {
        addBias(n, h, s, j * size, v, j * p + biasOffset);
      }
    }
    if (!layer.linear) for (let j = 0; j < m; j++) hadamard(No, size, slope, 0, s, j * size, y, j * size);
    else if (s !== y) copyBlock(m * size, s, 0, y, 0);
    if (layer.residual && below !== null) kernels.axpy(m * size, 1, below, 0, y, 0);
  }

  private affineAdjoint(
    point: AffinePoint,
    l: number,
    v: Float64Array,
    m: number,
    out: Float64Array,
    gaussNewton: boolean,
  ): void {
    const { samples: n, p, workspace } = this;
    const { input, slope, curvature, delta, layer } = point;
    const { inputs: a, units: h, weightOffset, biasOffset } = layer;
    const size = n * h;
    const below = l > 0 ? workspace.tangents[l - 1] : null;
    if (!layer.linear) {
      const s = workspace.states[l];
      const { first, second } = workspace;
      const curved = !gaussNewton && !layer.piecewiseLinear;
      for (let j = 0; j < m; j++) {
        hadamard(No, size, slope, 0, first, j * size, second, j * size);
        if (curved) hadamard(Yes, size, curvature, 0, s, j * size, second, j * size);
      }
    } else if (layer.residual) {
      copyBlock(m * size, workspace.first, 0, workspace.second, 0);
    } else {
      const held = workspace.first;
      workspace.first = workspace.second;
      workspace.second = held;
    }
    const { first: r, second: t } = workspace;
    multiply(m, Yes, No, a, h, n, input, 0, n, 0, t, 0, n, size, 0, out, weightOffset, a, p);
    if (biasOffset >= 0) {
      for (let j = 0; j < m; j++) columnSums(No, n, h, t, j * size, out, j * p + biasOffset);
    }
    if (below === null) return;
    const sizeBelow = n * a;
    if (!gaussNewton) multiply(m, Yes, No, a, h, n, below, 0, n, sizeBelow, delta, 0, n, 0, 1, out, weightOffset, a, p);
    const keep = layer.residual ? 1 : 0;
    multiply(m, No, Yes, n, a, h, t, 0, n, size, this.point.params, weightOffset, a, 0, keep, r, 0, n, sizeBelow);
    if (!gaussNewton) multiply(m, No, Yes, n, a, h, delta, 0, n, 0, v, weightOffset, a, p, 1, r, 0, n, sizeBelow);
  }

  private customTangent(point: CustomPoint, l: number, v: Float64Array, m: number): void {
    const { samples: n, p, workspace } = this;
    const { inputs: a, units: h, parameterCount: q, parameterOffset } = point.layer;
    const { dx, dz } = this.point.customBlocks(l);
    const y = workspace.tangents[l];
    const size = n * h;
    if (q > 0) kernels.gemm(No, No, size, m, q, 1, dx, 0, size, v, parameterOffset, p, 0, y, 0, size);
    else y.fill(0, 0, m * size);
    if (l === 0) return;
    const below = workspace.tangents[l - 1];
    for (let j = 0; j < m; j++) {
      for (let i = 0; i < n; i++) {
        kernels.gemv(No, h, a, 1, dz, i * h * a, h, below, j * n * a + i, n, 1, y, j * size + i, n);
      }
    }
  }

  private customAdjoint(
    point: CustomPoint,
    l: number,
    v: Float64Array,
    m: number,
    out: Float64Array,
    gaussNewton: boolean,
  ): void {
    const { samples: n, p, workspace } = this;
    const { inputs: a, units: h, parameterCount: q, parameterOffset } = point.layer;
    const { dx, dz, hxx, hxz, hzz } = this.point.customBlocks(l);
    const size = n * h;
    const sizeBelow = n * a;
    const { first: r, second: t } = workspace;
    const below = l > 0 ? workspace.tangents[l - 1] : null;
    if (q > 0) {
      kernels.gemm(Yes, No, q, m, size, 1, dx, 0, size, r, 0, size, 0, out, parameterOffset, p);
      if (!gaussNewton) {
        kernels.gemm(No, No, q, m, q, 1, hxx, 0, q, v, parameterOffset, p, 1, out, parameterOffset, p);
        if (below !== null)
          kernels.gemm(No, No, q, m, sizeBelow, 1, hxz, 0, q, below, 0, sizeBelow, 1, out, parameterOffset, p);
      }
    }
    if (below === null) return;
    if (q > 0 && !gaussNewton) {
      kernels.gemm(Yes, No, sizeBelow, m, q, 1, hxz, 0, q, v, parameterOffset, p, 0, t, 0, sizeBelow);
    } else {
      t.fill(0, 0, m * sizeBelow);
    }
    for (let j = 0; j < m; j++) {
      for (let i = 0; i < n; i++) {
        kernels.gemv(Yes, h, a, 1, dz, i * h * a, h, r, j * size + i, n, 1, t, j * sizeBelow + i, n);
        if (!gaussNewton)
          kernels.gemv(No, a, a, 1, hzz, i * a * a, a, below, j * sizeBelow + i, n, 1, t, j * sizeBelow + i, n);
      }
    }
    workspace.first = t;
    workspace.second = r;
  }
}

/** `count` products C_j := op(A_j) op(B_j) + beta C_j; a stride of 0 shares a factor. One product takes the plain call. */
function multiply(
  count: number,
  transA: Flag,
  transB: Flag,
  m: number,
  n: number,
  k: number,
  a: Float64Array,
  ao: number,
  lda: number,
  strideA: number,
  b: Float64Array,
  bo: number,
  ldb: number,
  strideB: number,
  beta: 0 | 1,
  c: Float64Array,
  co: number,
  ldc: number,
  strideC: number,
): void {
  if (count === 1) multiplyOne(transA, transB, m, n, k, a, ao, lda, b, bo, ldb, beta, c, co, ldc);
  else
    kernels.gemmBatch(
      transA,
      transB,
      m,
      n,
      k,
      1,
      a,
      ao,
      lda,
      strideA,
      b,
      bo,
      ldb,
      strideB,
      beta,
      c,
      co,
      ldc,
      strideC,
      count,
    );
}
