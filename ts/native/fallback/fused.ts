/**
 * Data movement and fused element-wise kernels on column-major blocks, unchecked: the callers check.
 */
import type { Flag, Real } from '../kernels.js';
import { axpyCore } from './blas.js';

/** B (n x m) := A^T, A m x n, in tiles of 32 x 32 so that both stay in cache. */
export function transposeCore(
  m: number,
  n: number,
  a: Real,
  ao: number,
  lda: number,
  b: Real,
  bo: number,
  ldb: number,
): void {
  const tile = 32;
  for (let jj = 0; jj < n; jj += tile) {
    const jEnd = Math.min(n, jj + tile);
    for (let ii = 0; ii < m; ii += tile) {
      const iEnd = Math.min(m, ii + tile);
      for (let j = jj; j < jEnd; j++) for (let i = ii; i < iEnd; i++) b[bo + j + i * ldb] = a[ao + i + j * lda];
    }
  }
}

/** Copies the stored triangle onto the other one. */
export function symmetrizeCore(uplo: Flag, n: number, a: Real, ao: number, lda: number): void {
  for (let j = 0; j < n; j++) {
    for (let i = j + 1; i < n; i++) {
      if (uplo) a[ao + i + j * lda] = a[ao + j + i * lda];
      else a[ao + j + i * lda] = a[ao + i + j * lda];
    }
  }
}

/** B := diag(d) A diag(d) + diag(c) */
export function scaleSymmetricCore(
  n: number,
  a: Real,
  ao: number,
  lda: number,
  d: Real | null,
  dOffset: number,
  c: Real | null,
  cOffset: number,
  b: Real,
  bo: number,
  ldb: number,
): void {
  for (let j = 0; j < n; j++) {
    const dj = d === null ? 1 : d[dOffset + j];
    if (d === null) for (let i = 0; i < n; i++) b[bo + i + j * ldb] = a[ao + i + j * lda];
    else for (let i = 0; i < n; i++) b[bo + i + j * ldb] = d[dOffset + i] * dj * a[ao + i + j * lda];
    if (c !== null) b[bo + j + j * ldb] += c[cOffset + j];
  }
}

/** B := diag(d) A (left) or A diag(d) (right), m x n */
export function scaleRowsCore(
  side: Flag,
  m: number,
  n: number,
  d: Real,
  dOffset: number,
  a: Real,
  ao: number,
  lda: number,
  b: Real,
  bo: number,
  ldb: number,
): void {
  for (let j = 0; j < n; j++) {
    if (side) {
      const t = d[dOffset + j];
      for (let i = 0; i < m; i++) b[bo + i + j * ldb] = t * a[ao + i + j * lda];
    } else {
      for (let i = 0; i < m; i++) b[bo + i + j * ldb] = d[dOffset + i] * a[ao + i + j * lda];
    }
  }
}

/** out := x * y or out += x * y */
export function hadamardCore(
  accumulate: Flag,
  n: number,
  x: Real,
  xo: number,
  y: Real,
  yo: number,
  out: Real,
  oo: number,
): void {
  if (accumulate) for (let i = 0; i < n; i++) out[oo + i] += x[xo + i] * y[yo + i];
  else for (let i = 0; i < n; i++) out[oo + i] = x[xo + i] * y[yo + i];
}

/** out[j] := sum_i A(i, j) (+ out[j]) */
export function columnSumsCore(
  accumulate: Flag,
  rows: number,
  cols: number,
  a: Real,
  ao: number,
  lda: number,
  out: Real,
  oo: number,
): void {
  for (let j = 0; j < cols; j++) {
    let sum = accumulate ? out[oo + j] : 0;
    const aj = ao + j * lda;
    for (let i = 0; i < rows; i++) sum += a[aj + i];
    out[oo + j] = sum;
  }
}

/**
 * Lower triangle of the sample-space Gauss-Newton matrix, column (j, m) by column:
 * C[(k,n),(j,m)] = shift [row = col] + sum_l scale[l] (sum_i D_l[i][k,n] D_l[i][j,m]) K_l[n,m]
 */
export function jacobianGramCore(
  samples: number,
  outputs: number,
  layers: number,
  shift: number,
  scale: Float64Array,
  widths: Int32Array,
  d: Real,
  dOffsets: Float64Array,
  gram: Real,
  gramOffsets: Float64Array,
  c: Real,
  co: number,
  ldc: number,
  inner: Int32Array | null,
): void {
  const rows = samples * outputs;
  const products = new Float64Array(rows),
    total = new Float64Array(rows),
    kernelColumn = new Float64Array(samples);
  for (let column = 0; column < rows; column++) {
    const m = column % samples;
    total.fill(0, column);
    for (let l = 0; l < layers; l++) {
      const base = dOffsets[l],
        factor = scale[l];
      // Column m of K_l, given or as Z_l Z_l[m, :]^T.
      if (inner === null) {
        for (let n = 0; n < samples; n++) kernelColumn[n] = gram[gramOffsets[l] + m * samples + n];
      } else {
        kernelColumn.fill(0);
        for (let j = 0, z = gramOffsets[l]; j < inner[l]; j++, z += samples) {
          axpyCore(samples, gram[z + m], gram, z, kernelColumn, 0);
        }
      }
      products.fill(0, column);
      for (let i = 0; i < widths[l]; i++) {
        const di = base + i * rows;
        axpyCore(rows - column, d[di + column], d, di + column, products, column);
      }
      for (let row = column; row < rows; row++) total[row] += factor * products[row] * kernelColumn[row % samples];
    }
    total[column] += shift;
    for (let row = column; row < rows; row++) c[co + row + column * ldc] = total[row];
  }
}

/** Kingma & Ba 2015, algorithm 1, with decoupled weight decay (Loshchilov & Hutter 2019). */
export function adamStepCore(
  n: number,
  params: Real,
  gradient: Real,
  m: Real,
  v: Real,
  rate: number,
  beta1: number,
  beta2: number,
  correction1: number,
  correction2: number,
  epsilon: number,
  weightDecay: number,
): void {
  for (let i = 0; i < n; i++) {
    const g = gradient[i];
    const first = beta1 * m[i] + (1 - beta1) * g,
      second = beta2 * v[i] + (1 - beta2) * g * g;
    m[i] = first;
    v[i] = second;
    params[i] -= rate * (first / correction1 / (Math.sqrt(second / correction2) + epsilon) + weightDecay * params[i]);
  }
}

/** v := momentum v + g (+ decay p); p -= rate (nesterov ? g + momentum v : v) */
export function sgdStepCore(
  n: number,
  params: Real,
  gradient: Real,
  velocity: Real,
  rate: number,
  momentum: number,
  nesterov: Flag,
  weightDecay: number,
): void {
  for (let i = 0; i < n; i++) {
    const g = gradient[i] + weightDecay * params[i];
    const v = momentum * velocity[i] + g;
    velocity[i] = v;
    params[i] -= rate * (nesterov ? g + momentum * v : v);
  }
}
