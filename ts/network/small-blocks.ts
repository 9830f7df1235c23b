/**
 * The four element-cheap kernels of the layer passes, with a plain loop where the block is so small that the call across the
 * border (0.2 to 0.4 us) costs more than the work. Deep narrow networks at N = 1 spend nearly all their time there.
 *
 * Signatures and results are those of `kernels`; the choice depends on the sizes only, so the bits are reproducible.
 */
import { activationCodes, kernels, No, Yes, type Flag } from '../native/index.js';

/** Entries up to which a loop over a block beats the call. */
const smallBlock = 64;
/** Multiplications up to which a loop for a product with a single sample beats the call. */
const smallProduct = 256;

/** C := op(A) op(B) + beta C, beta 0 or 1. */
export function multiply(
  transA: Flag,
  transB: Flag,
  m: number,
  n: number,
  k: number,
  a: Float64Array,
  ao: number,
  lda: number,
  b: Float64Array,
  bo: number,
  ldb: number,
  beta: 0 | 1,
  c: Float64Array,
  co: number,
  ldc: number,
): void {
  if (m * n * k <= smallProduct) {
    if (m === 1 && transA === No) {
      if (transB === No) rowTimes(n, k, a, ao, lda, b, bo, ldb, beta, c, co, ldc);
      else rowTimesTransposed(n, k, a, ao, lda, b, bo, ldb, beta, c, co, ldc);
      return;
    }
    if (k === 1 && transA === Yes && transB === No) {
      outer(m, n, a, ao, lda, b, bo, ldb, beta, c, co, ldc);
      return;
    }
  }
  kernels.gemm(transA, transB, m, n, k, 1, a, ao, lda, b, bo, ldb, beta, c, co, ldc);
}

/** c_j := sum_q a_q B(q, j) + beta c_j */
function rowTimes(
  n: number,
  k: number,
  a: Float64Array,
  ao: number,
  lda: number,
  b: Float64Array,
  bo: number,
  ldb: number,
  beta: 0 | 1,
  c: Float64Array,
  co: number,
  ldc: number,
): void {
  // Two sums side by side: one alone would wait for every addition before the next.
  let j = 0;
  for (; j + 1 < n; j += 2) {
    let first = beta === 0 ? 0 : c[co + j * ldc];
    let second = beta === 0 ? 0 : c[co + (j + 1) * ldc];
    for (let q = 0, i = ao, e = bo + j * ldb; q < k; q++, i += lda, e++) {
      first += a[i] * b[e];
      second += a[i] * b[e + ldb];
    }
    c[co + j * ldc] = first;
    c[co + (j + 1) * ldc] = second;
  }
  if (j < n) {
    let sum = beta === 0 ? 0 : c[co + j * ldc];
    for (let q = 0, i = ao, e = bo + j * ldb; q < k; q++, i += lda, e++) sum += a[i] * b[e];
    c[co + j * ldc] = sum;
  }
}

/** c_j := sum_q a_q B(j, q) + beta c_j */
function rowTimesTransposed(
  n: number,
  k: number,
  a: Float64Array,
  ao: number,
  lda: number,
  b: Float64Array,
  bo: number,
  ldb: number,
  beta: 0 | 1,
  c: Float64Array,
  co: number,
  ldc: number,
): void {
  if (beta === 0) for (let j = 0; j < n; j++) c[co + j * ldc] = 0;
  for (let q = 0; q < k; q++) {
    const factor = a[ao + q * lda];
    for (let j = 0, i = co, e = bo + q * ldb; j < n; j++, i += ldc, e++) c[i] += factor * b[e];
  }
}

/** C(i, j) := a_i b_j + beta C(i, j); a_i at stride lda (A is 1 x m), b_j at stride ldb. */
function outer(
  m: number,
  n: number,
  a: Float64Array,
  ao: number,
  lda: number,
  b: Float64Array,
  bo: number,
  ldb: number,
  beta: 0 | 1,
  c: Float64Array,
  co: number,
  ldc: number,
): void {
  for (let j = 0; j < n; j++) {
    const factor = b[bo + j * ldb];
    const column = co + j * ldc;
    if (beta === 0) for (let i = 0, e = ao; i < m; i++, e += lda) c[column + i] = a[e] * factor;
    else for (let i = 0, e = ao; i < m; i++, e += lda) c[column + i] += a[e] * factor;
  }
}

/** out := x * y (accumulate = No) or out += x * y. */
export function hadamard(
  accumulate: Flag,
  n: number,
  x: Float64Array,
  xo: number,
  y: Float64Array,
  yo: number,
  out: Float64Array,
  oo: number,
): void {
  if (n > smallBlock) kernels.hadamard(accumulate, n, x, xo, y, yo, out, oo);
  else if (accumulate === No) for (let i = 0; i < n; i++) out[oo + i] = x[xo + i] * y[yo + i];
  else for (let i = 0; i < n; i++) out[oo + i] += x[xo + i] * y[yo + i];
}

/** out_j := sum_i A(i, j) (+ out_j with accumulate) of a contiguous rows x cols block. */
export function columnSums(
  accumulate: Flag,
  rows: number,
  cols: number,
  a: Float64Array,
  ao: number,
  out: Float64Array,
  oo: number,
): void {
  if (rows * cols > smallBlock) {
    kernels.columnSums(accumulate, rows, cols, a, ao, rows, out, oo);
    return;
  }
  for (let j = 0, e = ao; j < cols; j++) {
    let sum = accumulate === No ? 0 : out[oo + j];
    for (let i = 0; i < rows; i++, e++) sum += a[e];
    out[oo + j] = sum;
  }
}

/** A(:, j) += bias_j for a contiguous rows x cols block. */
export function addBias(
  rows: number,
  cols: number,
  a: Float64Array,
  ao: number,
  bias: Float64Array,
  biasOffset: number,
): void {
  if (rows * cols > smallBlock) {
    kernels.activate(activationCodes.identity, rows, cols, a, ao, bias, biasOffset, null, 0, null, 0, null, 0, null, 0);
    return;
  }
  for (let j = 0, e = ao; j < cols; j++) {
    const b = bias[biasOffset + j];
    for (let i = 0; i < rows; i++, e++) a[e] += b;
  }
}

/** to := from, `count` entries. */
export function copyBlock(
  count: number,
  from: Float64Array,
  fromOffset: number,
  to: Float64Array,
  toOffset: number,
): void {
  for (let i = 0; i < count; i++) to[toOffset + i] = from[fromOffset + i];
}
