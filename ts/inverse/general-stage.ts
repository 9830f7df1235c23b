/**
 * Stage of a layer of any kind, from its dense derivative blocks: the general block route.
 *
 *     Gx = Hxx + eps I + Dx^T P Dx      (p x p)
 *     a  = Hxz + Dx^T P Dz              (p x n')
 *     P' = Hzz + Dz^T P Dz - a^T Gx^-1 a
 *
 * Cost O(max(p, n)^3) time and O(max(p, n)^2) memory a layer (Rahimi 2026, section 5.1). Affine layers
 * have the closed form of affine-stage.ts, in which p does not appear; this one is its dense twin.
 */
import type { Linearization } from '../derivatives/index.js';
import { kernels, Lower, No, Yes, type Real } from '../native/index.js';
import { SymmetricFactor } from '../linalg/symmetric-factor.js';
import { allocate } from './stage-point.js';
import { symmetrise } from './affine-inverse.js';
import type { FactorTotals, FactorWorkspace, InverseBlockTarget, SolveWorkspace, Stage } from './stage.js';

export class GeneralStage implements Stage {
  readonly rows: number;
  readonly previousRows: number;
  readonly controls: number;
  readonly scratch: readonly [number, number];
  readonly solveScratch: readonly [number, number];

  private readonly parameterOffset: number;
  private readonly gx: SymmetricFactor;
  /** Dx: n x p, Dz: n x n', Hxx: p x p, Hxz: p x n', Hzz: n' x n' (lower triangle and upper) */
  private dx!: Real;
  private dz!: Real;
  private hxx!: Real | null;
  private hxz!: Real | null;
  private hzz!: Real | null;
  private readonly half: Real;

  constructor(
    private readonly point: Linearization,
    private readonly index: number,
    private readonly gaussNewton: boolean,
    private readonly single: boolean,
  ) {
    const layer = point.network.layers[index];
    const N = point.samples;
    this.rows = N * layer.units;
    this.previousRows = index === 0 ? 0 : N * layer.inputs;
    this.controls = layer.parameterCount;
    this.parameterOffset = layer.parameterOffset;
    this.gx = new SymmetricFactor(this.controls, allocate(this.single, this.controls ** 2));
    this.half = allocate(this.single, this.controls * this.previousRows);
    this.scratch = [this.controls * this.rows, this.rows * this.previousRows];
    this.solveScratch = [1, 1];
  }

  get bytes(): number {
    const { rows: n, previousRows: m, controls: p } = this;
    const second = this.gaussNewton ? 0 : p * p + p * m + m * m;
    return this.gx.bytes + this.half.BYTES_PER_ELEMENT * (this.half.length + n * p + n * m + second);
  }

  private cast(a: Float64Array): Real {
    return this.single ? Float32Array.from(a) : a;
  }

  prepare(): void {
    const { point, index, rows: n, previousRows: nPrevious } = this;
    const layer = point.network.layers[index];
    const { units: h, inputs } = layer;
    const N = point.samples;
    const blocks = point.layerBlocks(index);
    this.dx = this.cast(blocks.dx);
    this.dz = allocate(this.single, n * nPrevious);
    const second = !this.gaussNewton;
    this.hxx = second ? this.cast(blocks.hxx) : null;
    this.hxz = second && nPrevious > 0 ? this.cast(blocks.hxz) : null;
    this.hzz = second && nPrevious > 0 ? allocate(this.single, nPrevious * nPrevious) : null;
    if (nPrevious === 0) return;
    for (let s = 0; s < N; s++) {
      for (let j = 0; j < inputs; j++) {
        const column = j * N + s;
        for (let i = 0; i < h; i++) this.dz[column * n + i * N + s] = blocks.dz[s * h * inputs + j * h + i];
        if (this.hzz === null) continue;
        for (let k = 0; k < inputs; k++) {
          this.hzz[column * nPrevious + k * N + s] = blocks.hzz[s * inputs * inputs + j * inputs + k];
        }
      }
    }
  }

  factor(eps: number, w: FactorWorkspace, totals: FactorTotals): boolean {
    const { rows: n, previousRows: nPrevious, controls: p, gx, half, dx, dz } = this;
    const { t1, t2 } = w;
    if (p > 0) {
      // t1 = Dx^T P (p x n); Gx = Hxx + eps I + t1 Dx
      kernels.gemm(Yes, No, p, n, n, 1, dx, 0, n, w.p, 0, n, 0, t1, 0, p);
      const g = gx.matrix;
      if (this.hxx !== null) g.set(this.hxx.subarray(0, p * p));
      else g.fill(0);
      kernels.gemm(No, No, p, p, n, 1, t1, 0, p, dx, 0, n, 1, g, 0, p);
      for (let i = 0; i < p; i++) g[i * (p + 1)] += eps;
      kernels.symmetrize(Lower, p, g, 0, p);
      const regular = gx.factor();
      totals.positive += gx.positive;
      totals.negative += gx.negative;
      totals.zero += gx.zero;
      totals.logAbsDet += gx.logAbsDet;
      totals.pivotRatio = Math.max(totals.pivotRatio, gx.largestPivot / gx.smallestPivot);
      if (!regular) return false;
    }
    if (nPrevious === 0) return true;
    const next = w.pNext;
    kernels.gemm(No, No, n, nPrevious, n, 1, w.p, 0, n, dz, 0, n, 0, t2, 0, n);
    if (this.hzz !== null) next.set(this.hzz.subarray(0, nPrevious * nPrevious));
    else next.fill(0, 0, nPrevious * nPrevious);
    kernels.gemm(Yes, No, nPrevious, nPrevious, n, 1, dz, 0, n, t2, 0, n, 1, next, 0, nPrevious);
    if (p > 0) {
      if (this.hxz !== null) half.set(this.hxz.subarray(0, p * nPrevious));
      else half.fill(0);
      kernels.gemm(No, No, p, nPrevious, n, 1, t1, 0, p, dz, 0, n, 1, half, 0, p);
      gx.half(half, 0, nPrevious);
      gx.subtractQuadratic(half, 0, nPrevious, next, 0);
    }
    kernels.symmetrize(Lower, nPrevious, next, 0, nPrevious);
    return true;
  }

  backward(g: Real, gStride: number, r: Real, rNext: Real, y: Real, yOffset: number, w: SolveWorkspace): void {
    const { rows: n, previousRows: nPrevious, controls: p, gx, dx, dz, parameterOffset } = this;
    const m = w.columns;
    if (p > 0) {
      for (let column = 0; column < m; column++) {
        const from = column * gStride + parameterOffset;
        for (let i = 0; i < p; i++) y[yOffset + column * p + i] = g[from + i];
      }
      kernels.gemm(Yes, No, p, m, n, -1, dx, 0, n, r, 0, n, 1, y, yOffset, p);
      gx.half(y, yOffset, m);
    }
    if (nPrevious === 0) return;
    kernels.gemm(Yes, No, nPrevious, m, n, 1, dz, 0, n, r, 0, n, 0, rNext, 0, nPrevious);
    if (p === 0) return;
    gx.signs(y, yOffset, m);
    kernels.gemm(Yes, No, nPrevious, m, p, 1, this.half, 0, p, y, yOffset, p, 1, rNext, 0, nPrevious);
    gx.signs(y, yOffset, m);
  }

  forward(
    _g: Real,
    gStride: number,
    state: Real,
    stateNext: Real,
    y: Real,
    yOffset: number,
    x: Real,
    w: SolveWorkspace,
  ): void {
    const { rows: n, previousRows: nPrevious, controls: p, gx, dx, dz, parameterOffset } = this;
    const m = w.columns;
    if (nPrevious > 0) kernels.gemm(No, No, n, m, nPrevious, 1, dz, 0, n, state, 0, nPrevious, 0, stateNext, 0, n);
    else stateNext.fill(0, 0, n * m);
    if (p === 0) return;
    if (nPrevious > 0)
      kernels.gemm(No, No, p, m, nPrevious, -1, this.half, 0, p, state, 0, nPrevious, 1, y, yOffset, p);
    gx.signs(y, yOffset, m);
    gx.halfTransposed(y, yOffset, m);
    kernels.gemm(No, No, n, m, p, 1, dx, 0, n, y, yOffset, p, 1, stateNext, 0, n);
    for (let column = 0; column < m; column++) {
      const to = column * gStride + parameterOffset;
      for (let i = 0; i < p; i++) x[to + i] = y[yOffset + column * p + i];
    }
  }

  /** The plain form of affine-inverse.ts: block = Gx^-1 + K S' K^T, S = F S' F^T + Dx Gx^-1 Dx^T, F = Dz - Dx K. */
  inverse(covariance: Float64Array, wantNext: boolean, target: InverseBlockTarget): Float64Array | null {
    const { rows: n, previousRows: m, controls: p, gx } = this;
    const dx = this.dx as Float64Array;
    const inverse = new Float64Array(p * p);
    const gain = new Float64Array(p * m);
    if (p > 0) {
      for (let i = 0; i < p; i++) inverse[i * (p + 1)] = 1;
      gx.solve(inverse, 0, p);
      const block = (target.block ?? new Float64Array(p * p)).fill(0);
      block.set(inverse);
      if (m > 0) {
        gain.set(this.half);
        gx.signs(gain, 0, m);
        gx.halfTransposed(gain, 0, m);
        const product = new Float64Array(p * m);
        kernels.gemm(No, No, p, m, m, 1, gain, 0, p, covariance, 0, m, 0, product, 0, p);
        kernels.gemm(No, Yes, p, p, m, 1, product, 0, p, gain, 0, p, 1, block, 0, p);
      }
      symmetrise(block, p);
      for (let i = 0; i < p; i++) target.diagonal[i] = block[i * (p + 1)];
    }
    if (!wantNext) return null;
    const next = new Float64Array(n * n);
    if (p > 0) {
      const spread = new Float64Array(n * p);
      kernels.gemm(No, No, n, p, p, 1, dx, 0, n, inverse, 0, p, 0, spread, 0, n);
      kernels.gemm(No, Yes, n, n, p, 1, spread, 0, n, dx, 0, n, 0, next, 0, n);
    }
    if (m > 0) {
      const loop = Float64Array.from(this.dz as Float64Array);
      if (p > 0) kernels.gemm(No, No, n, m, p, -1, dx, 0, n, gain, 0, p, 1, loop, 0, n);
      const product = new Float64Array(n * m);
      kernels.gemm(No, No, n, m, m, 1, loop, 0, n, covariance, 0, m, 0, product, 0, n);
      kernels.gemm(No, Yes, n, n, m, 1, product, 0, n, loop, 0, n, 1, next, 0, n);
    }
    symmetrise(next, n);
    return next;
  }
}
