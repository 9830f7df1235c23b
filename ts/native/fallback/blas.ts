/**
 * Dense products and triangular solves on column-major blocks, unchecked: the callers check. Inner loops run down
 * columns (axpy or dot form), four columns of the left factor at a time; dot products are summed in float64, results
 * are rounded to the storage when they are written.
 */
import type { Flag, Real } from '../kernels.js';

let columnScratch = new Float64Array(256);

/** A scratch vector of at least n entries, shared by the kernels of this file (none of them nests). */
function scratch(n: number): Float64Array {
  if (columnScratch.length < n) columnScratch = new Float64Array(2 * n);
  return columnScratch;
}

function scaleColumn(n: number, beta: number, y: Real, yo: number): void {
  if (beta === 0) y.fill(0, yo, yo + n);
  else if (beta !== 1) for (let i = 0; i < n; i++) y[yo + i] *= beta;
}

/** y[0..m) += A[0..m, 0..k) x, A with columns ld apart, x contiguous in float64. */
function addColumns(m: number, k: number, a: Real, ao: number, ld: number, x: Float64Array, y: Real, yo: number): void {
  let p = 0;
  for (; p + 4 <= k; p += 4) {
    const x0 = x[p],
      x1 = x[p + 1],
      x2 = x[p + 2],
      x3 = x[p + 3];
    const a0 = ao + p * ld,
      a1 = a0 + ld,
      a2 = a1 + ld,
      a3 = a2 + ld;
    for (let i = 0; i < m; i++) y[yo + i] += a[a0 + i] * x0 + a[a1 + i] * x1 + a[a2 + i] * x2 + a[a3 + i] * x3;
  }
  for (; p < k; p++) {
    const x0 = x[p],
      a0 = ao + p * ld;
    for (let i = 0; i < m; i++) y[yo + i] += a[a0 + i] * x0;
  }
}

/** sum_i a[ao + i] b[bo + i] */
export function dotCore(n: number, a: Real, ao: number, b: Real, bo: number): number {
  let s0 = 0,
    s1 = 0,
    s2 = 0,
    s3 = 0,
    i = 0;
  for (; i + 4 <= n; i += 4) {
    s0 += a[ao + i] * b[bo + i];
    s1 += a[ao + i + 1] * b[bo + i + 1];
    s2 += a[ao + i + 2] * b[bo + i + 2];
    s3 += a[ao + i + 3] * b[bo + i + 3];
  }
  for (; i < n; i++) s0 += a[ao + i] * b[bo + i];
  return s0 + s1 + (s2 + s3);
}

/** y += alpha x */
export function axpyCore(n: number, alpha: number, x: Real, xo: number, y: Real, yo: number): void {
  for (let i = 0; i < n; i++) y[yo + i] += alpha * x[xo + i];
}

/** Euclidean norm, scaled by the largest entry so that squares neither overflow nor vanish. */
export function nrm2Core(n: number, x: Real, xo: number): number {
  let largest = 0;
  for (let i = 0; i < n; i++) {
    const value = Math.abs(x[xo + i]);
    if (value !== value) return NaN;
    if (value > largest) largest = value;
  }
  if (largest === 0 || largest === Infinity) return largest;
  // A power of two scales exactly.
  const scale = 2 ** Math.floor(Math.log2(largest));
  let sum = 0;
  for (let i = 0; i < n; i++) {
    const q = x[xo + i] / scale;
    sum += q * q;
  }
  return scale * Math.sqrt(sum);
}

/** C := alpha op(A) op(B) + beta C, op(A) m x k, op(B) k x n. */
export function gemmCore(
  transA: Flag,
  transB: Flag,
  m: number,
  n: number,
  k: number,
  alpha: number,
  a: Real,
  ao: number,
  lda: number,
  b: Real,
  bo: number,
  ldb: number,
  beta: number,
  c: Real,
  co: number,
  ldc: number,
): void {
  if (m === 0 || n === 0) return;
  const column = scratch(k);
  for (let j = 0; j < n; j++) {
    const cj = co + j * ldc;
    scaleColumn(m, beta, c, cj);
    if (alpha === 0 || k === 0) continue;
    if (transB) for (let p = 0; p < k; p++) column[p] = alpha * b[bo + j + p * ldb];
    else for (let p = 0; p < k; p++) column[p] = alpha * b[bo + p + j * ldb];
    if (!transA) addColumns(m, k, a, ao, lda, column, c, cj);
    else for (let i = 0; i < m; i++) c[cj + i] += dotCore(k, a, ao + i * lda, column, 0);
  }
}

/** y := alpha op(A) x + beta y, A m x n. */
export function gemvCore(
  trans: Flag,
  m: number,
  n: number,
  alpha: number,
  a: Real,
  ao: number,
  lda: number,
  x: Real,
  xo: number,
  incx: number,
  beta: number,
  y: Real,
  yo: number,
  incy: number,
): void {
  const rows = trans ? n : m,
    inner = trans ? m : n;
  for (let i = 0; i < rows; i++) {
    const at = yo + i * incy;
    if (beta === 0) y[at] = 0;
    else if (beta !== 1) y[at] *= beta;
  }
  if (alpha === 0 || inner === 0) return;
  if (trans) {
    const column = scratch(m);
    for (let p = 0; p < m; p++) column[p] = alpha * x[xo + p * incx];
    for (let j = 0; j < n; j++) y[yo + j * incy] += dotCore(m, a, ao + j * lda, column, 0);
  } else if (incy === 1) {
    const column = scratch(n);
    for (let p = 0; p < n; p++) column[p] = alpha * x[xo + p * incx];
    addColumns(m, n, a, ao, lda, column, y, yo);
  } else {
    for (let j = 0; j < n; j++) {
      const t = alpha * x[xo + j * incx],
        aj = ao + j * lda;
      for (let i = 0; i < m; i++) y[yo + i * incy] += a[aj + i] * t;
    }
  }
}

/** One triangle of C := alpha A A^T + beta C, or alpha A^T A + beta C with trans. */
export function syrkCore(
  uplo: Flag,
  trans: Flag,
  n: number,
  k: number,
  alpha: number,
  a: Real,
  ao: number,
  lda: number,
  beta: number,
  c: Real,
  co: number,
  ldc: number,
): void {
  const column = scratch(k);
  for (let j = 0; j < n; j++) {
    const from = uplo ? 0 : j,
      length = uplo ? j + 1 : n - j;
    const cj = co + from + j * ldc;
    scaleColumn(length, beta, c, cj);
    if (alpha === 0 || k === 0) continue;
    if (!trans) {
      for (let p = 0; p < k; p++) column[p] = alpha * a[ao + j + p * lda];
      addColumns(length, k, a, ao + from, lda, column, c, cj);
    } else {
      for (let i = 0; i < length; i++) c[cj + i] += alpha * dotCore(k, a, ao + (from + i) * lda, a, ao + j * lda);
    }
  }
}

/** C := alpha A B + beta C (left) or alpha B A + beta C (right), A symmetric with one triangle stored, C m x n. */
export function symmCore(
  side: Flag,
  uplo: Flag,
  m: number,
  n: number,
  alpha: number,
  a: Real,
  ao: number,
  lda: number,
  b: Real,
  bo: number,
  ldb: number,
  beta: number,
  c: Real,
  co: number,
  ldc: number,
): void {
  const order = side ? n : m;
  const full = new Float64Array(order * order);
  for (let j = 0; j < order; j++) {
    for (let i = uplo ? 0 : j; i < (uplo ? j + 1 : order); i++) {
      full[i + j * order] = full[j + i * order] = a[ao + i + j * lda];
    }
  }
  if (side) gemmCore(0, 0, m, n, n, alpha, b, bo, ldb, full, 0, order, beta, c, co, ldc);
  else gemmCore(0, 0, m, n, m, alpha, full, 0, order, b, bo, ldb, beta, c, co, ldc);
}

function scaleBlock(m: number, n: number, alpha: number, b: Real, bo: number, ldb: number): void {
  if (alpha !== 1) for (let j = 0; j < n; j++) scaleColumn(m, alpha, b, bo + j * ldb);
}

/** B := alpha op(A)^-1 B (left) or alpha B op(A)^-1 (right), A triangular, B m x n. */
export function trsmCore(
  side: Flag,
  uplo: Flag,
  trans: Flag,
  unit: Flag,
  m: number,
  n: number,
  alpha: number,
  a: Real,
  ao: number,
  lda: number,
  b: Real,
  bo: number,
  ldb: number,
): void {
  scaleBlock(m, n, alpha, b, bo, ldb);
  if (alpha === 0) return;
  // The substitution runs forward when op(A) is lower (left) or upper (right).
  const lower = (uplo === 0) !== (trans === 1);
  if (side) {
    const forward = !lower;
    const column = scratch(n);
    for (let step = 0; step < n; step++) {
      const j = forward ? step : n - 1 - step,
        bj = bo + j * ldb;
      const from = forward ? 0 : j + 1,
        count = forward ? j : n - 1 - j;
      // X_j = (B_j - sum_k X_k op(A)[k, j]) / a_jj over the columns already solved
      for (let k = 0; k < count; k++) column[k] = trans ? -a[ao + j + (from + k) * lda] : -a[ao + from + k + j * lda];
      addColumns(m, count, b, bo + from * ldb, ldb, column, b, bj);
      if (!unit) {
        const d = a[ao + j + j * lda];
        for (let i = 0; i < m; i++) b[bj + i] /= d;
      }
    }
    return;
  }
  for (let j = 0; j < n; j++) {
    const bj = bo + j * ldb;
    for (let step = 0; step < m; step++) {
      const i = lower ? step : m - 1 - step,
        ai = ao + i * lda;
      if (trans) {
        const from = lower ? 0 : i + 1,
          count = lower ? i : m - 1 - i;
        const t = b[bj + i] - dotCore(count, a, ai + from, b, bj + from);
        b[bj + i] = unit ? t : t / a[ai + i];
      } else {
        if (!unit) b[bj + i] /= a[ai + i];
        const t = b[bj + i];
        if (t === 0) continue;
        const from = lower ? i + 1 : 0,
          count = lower ? m - 1 - i : i;
        axpyCore(count, -t, a, ai + from, b, bj + from);
      }
    }
  }
}

/** B := alpha op(A) B (left) or alpha B op(A) (right), A triangular, B m x n. */
export function trmmCore(
  side: Flag,
  uplo: Flag,
  trans: Flag,
  unit: Flag,
  m: number,
  n: number,
  alpha: number,
  a: Real,
  ao: number,
  lda: number,
  b: Real,
  bo: number,
  ldb: number,
): void {
  scaleBlock(m, n, alpha, b, bo, ldb);
  if (alpha === 0) return;
  const lower = (uplo === 0) !== (trans === 1);
  if (side) {
    // B_j := sum_k B_k op(A)[k, j]: columns not yet overwritten are those with k > j (lower) or k < j (upper)
    const column = scratch(n);
    for (let step = 0; step < n; step++) {
      const j = lower ? step : n - 1 - step,
        bj = bo + j * ldb;
      const from = lower ? j + 1 : 0,
        count = lower ? n - 1 - j : j;
      if (!unit) scaleColumnKeepingNaN(m, a[ao + j + j * lda], b, bj);
      for (let k = 0; k < count; k++) column[k] = trans ? a[ao + j + (from + k) * lda] : a[ao + from + k + j * lda];
      addColumns(m, count, b, bo + from * ldb, ldb, column, b, bj);
    }
    return;
  }
  for (let j = 0; j < n; j++) {
    const bj = bo + j * ldb;
    for (let step = 0; step < m; step++) {
      if (trans) {
        const i = lower ? m - 1 - step : step,
          ai = ao + i * lda;
        const from = lower ? 0 : i + 1,
          count = lower ? i : m - 1 - i;
        b[bj + i] = (unit ? b[bj + i] : b[bj + i] * a[ai + i]) + dotCore(count, a, ai + from, b, bj + from);
      } else {
        const k = lower ? m - 1 - step : step,
          ak = ao + k * lda;
        const t = b[bj + k];
        const from = lower ? k + 1 : 0,
          count = lower ? m - 1 - k : k;
        axpyCore(count, t, a, ak + from, b, bj + from);
        if (!unit) b[bj + k] = t * a[ak + k];
      }
    }
  }
}

function scaleColumnKeepingNaN(n: number, factor: number, y: Real, yo: number): void {
  for (let i = 0; i < n; i++) y[yo + i] *= factor;
}
