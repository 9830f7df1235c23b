/**
 * Bunch-Kaufman factor of a symmetric indefinite n x n matrix, one triangle stored: A = L D L^T (lower) or U D U^T
 * (upper), L = P_1 L_1 P_2 L_2 ..., D block diagonal with 1 x 1 and 2 x 2 blocks (Bunch & Kaufman 1977, diagonal
 * pivoting with partial search, alpha = (1 + sqrt 17) / 8).
 *
 * Pivots as in LAPACK, 1-based: pivots[k] = p > 0 is a 1 x 1 block whose row was exchanged with row p - 1;
 * pivots[k] = pivots[k + 1] = -p is a 2 x 2 block whose second row (lower) or first row (upper) was exchanged with p - 1.
 */
import type { Flag, Real } from '../kernels.js';
import { axpyCore, dotCore } from './blas.js';
import { swapRows } from './lu.js';

const alpha = (1 + Math.sqrt(17)) / 8;

/** Factors in place. Returns 0, or the 1-based index of the first (lower) or last (upper) pivot that is exactly zero. */
export function sytrfCore(
  uplo: Flag,
  n: number,
  a: Real,
  ao: number,
  lda: number,
  pivots: Int32Array,
  po: number,
): number {
  // Both triangles are one algorithm: `upper` walks from the last row to the first. `at` is the stored place of (i, j).
  const direction = uplo ? -1 : 1;
  const end = uplo ? -1 : n;
  let info = 0;
  for (let k = uplo ? n - 1 : 0; k !== end;) {
    const ak = ao + k * lda;
    const diagonal = Math.abs(a[ak + k]);
    // Largest entry below (lower) or above (upper) the diagonal in column k.
    let imax = k,
      columnMax = 0;
    for (let i = uplo ? 0 : k + 1; i < (uplo ? k : n); i++) {
      if (Math.abs(a[ak + i]) > columnMax) {
        columnMax = Math.abs(a[ak + i]);
        imax = i;
      }
    }
    let p = k,
      width = 1;
    if (Math.max(diagonal, columnMax) === 0 || diagonal !== diagonal) {
      if (info === 0) info = k + 1;
      pivots[po + k] = k + 1;
      k += direction;
      continue;
    }
    if (diagonal < alpha * columnMax) {
      const rowMax = largestInRow(uplo, n, k, imax, a, ao, lda);
      if (diagonal >= alpha * columnMax * (columnMax / rowMax)) p = k;
      else if (Math.abs(a[ao + imax + imax * lda]) >= alpha * rowMax) p = imax;
      else {
        p = imax;
        width = 2;
      }
    }
    const kk = k + (width - 1) * direction;
    if (p !== kk) exchange(uplo, n, k, kk, p, width, a, ao, lda);
    if (width === 1) {
      eliminateOne(uplo, n, k, a, ao, lda);
      pivots[po + k] = p + 1;
    } else {
      eliminateTwo(uplo, n, k, a, ao, lda);
      pivots[po + k] = pivots[po + kk] = -(p + 1);
    }
    k += width * direction;
  }
  return info;
}

/** Largest off-diagonal entry of row imax within the matrix that is still to be factored. */
function largestInRow(uplo: Flag, n: number, k: number, imax: number, a: Real, ao: number, lda: number): number {
  let largest = 0;
  if (uplo) {
    for (let j = imax + 1; j <= k; j++) largest = Math.max(largest, Math.abs(a[ao + imax + j * lda]));
    for (let i = 0; i < imax; i++) largest = Math.max(largest, Math.abs(a[ao + i + imax * lda]));
  } else {
    for (let j = k; j < imax; j++) largest = Math.max(largest, Math.abs(a[ao + imax + j * lda]));
    for (let i = imax + 1; i < n; i++) largest = Math.max(largest, Math.abs(a[ao + i + imax * lda]));
  }
  return largest;
}

/** Symmetric exchange of rows and columns kk and p in the part still to be factored. */
function exchange(
  uplo: Flag,
  n: number,
  k: number,
  kk: number,
  p: number,
  width: number,
  a: Real,
  ao: number,
  lda: number,
): void {
  const swap = (x: number, y: number): void => {
    const t = a[x];
    a[x] = a[y];
    a[y] = t;
  };
  if (uplo) {
    for (let i = 0; i < p; i++) swap(ao + i + kk * lda, ao + i + p * lda);
    for (let i = p + 1; i < kk; i++) swap(ao + i + kk * lda, ao + p + i * lda);
  } else {
    for (let i = p + 1; i < n; i++) swap(ao + i + kk * lda, ao + i + p * lda);
    for (let i = kk + 1; i < p; i++) swap(ao + i + kk * lda, ao + p + i * lda);
  }
  swap(ao + kk + kk * lda, ao + p + p * lda);
  if (width === 2) swap(ao + kk + k * lda, ao + p + k * lda);
}

/** A := A - c c^T / d, c := c / d for the column c of a 1 x 1 pivot d. */
function eliminateOne(uplo: Flag, n: number, k: number, a: Real, ao: number, lda: number): void {
  const ak = ao + k * lda,
    r = 1 / a[ak + k];
  const from = uplo ? 0 : k + 1,
    to = uplo ? k : n;
  for (let j = from; j < to; j++) {
    const t = -r * a[ak + j];
    if (t === 0) continue;
    if (uplo) axpyCore(j + 1, t, a, ak, a, ao + j * lda);
    else axpyCore(n - j, t, a, ak + j, a, ao + j + j * lda);
  }
  for (let i = from; i < to; i++) a[ak + i] *= r;
}

/** The same for a 2 x 2 pivot in columns k and k + 1 (lower) or k - 1 and k (upper). */
function eliminateTwo(uplo: Flag, n: number, k: number, a: Real, ao: number, lda: number): void {
  const other = uplo ? k - 1 : k + 1;
  const ak = ao + k * lda,
    ax = ao + other * lda;
  const d21 = a[ak + other],
    d11 = a[ax + other] / d21,
    d22 = a[ak + k] / d21;
  const d = 1 / (d11 * d22 - 1) / d21;
  const count = uplo ? k - 1 : n - k - 2;
  for (let step = 0; step < count; step++) {
    const j = uplo ? k - 2 - step : k + 2 + step,
      aj = ao + j * lda;
    // (wk, wx) = D^-1 (a_jk, a_jx): row j of the new columns of L
    const wk = d * (d11 * a[ak + j] - a[ax + j]);
    const wx = d * (d22 * a[ax + j] - a[ak + j]);
    for (let i = uplo ? 0 : j; i < (uplo ? j + 1 : n); i++) a[aj + i] -= a[ak + i] * wk + a[ax + i] * wx;
    a[ak + j] = wk;
    a[ax + j] = wx;
  }
}

/** B := L^-1 P B, the first half of a solve, in elimination order. */
function forward(
  uplo: Flag,
  n: number,
  nrhs: number,
  a: Real,
  ao: number,
  lda: number,
  pivots: Int32Array,
  po: number,
  b: Real,
  bo: number,
  ldb: number,
): void {
  const direction = uplo ? -1 : 1,
    end = uplo ? -1 : n;
  for (let k = uplo ? n - 1 : 0; k !== end;) {
    const pivot = pivots[po + k];
    const width = pivot > 0 ? 1 : 2,
      last = k + (width - 1) * direction;
    const p = Math.abs(pivot) - 1;
    if (p !== last) swapRows(nrhs, b, bo, ldb, last, p);
    const from = uplo ? 0 : last + 1,
      count = uplo ? last : n - 1 - last;
    for (let j = 0; j < nrhs; j++) {
      const bj = bo + j * ldb;
      for (let c = k; ; c += direction) {
        if (b[bj + c] !== 0) axpyCore(count, -b[bj + c], a, ao + c * lda + from, b, bj + from);
        if (c === last) break;
      }
    }
    k = last + direction;
  }
}

/** B := P^T L^-T B, the last half of a solve. */
function backward(
  uplo: Flag,
  n: number,
  nrhs: number,
  a: Real,
  ao: number,
  lda: number,
  pivots: Int32Array,
  po: number,
  b: Real,
  bo: number,
  ldb: number,
): void {
  const direction = uplo ? 1 : -1,
    end = uplo ? n : -1;
  for (let k = uplo ? 0 : n - 1; k !== end;) {
    // k is the block's last row in elimination order, `first` its first.
    const pivot = pivots[po + k];
    const width = pivot > 0 ? 1 : 2,
      first = k + (width - 1) * direction;
    const from = uplo ? 0 : k + 1,
      count = uplo ? k : n - 1 - k;
    for (let j = 0; j < nrhs; j++) {
      const bj = bo + j * ldb;
      for (let c = k; ; c += direction) {
        b[bj + c] -= dotCore(count, a, ao + c * lda + from, b, bj + from);
        if (c === first) break;
      }
    }
    const p = Math.abs(pivot) - 1;
    if (p !== k) swapRows(nrhs, b, bo, ldb, k, p);
    k = first + direction;
  }
}

/** B := D^-1 B */
function blockDiagonalSolve(
  uplo: Flag,
  n: number,
  nrhs: number,
  a: Real,
  ao: number,
  lda: number,
  pivots: Int32Array,
  po: number,
  b: Real,
  bo: number,
  ldb: number,
): void {
  for (let k = 0; k < n; k++) {
    const dk = a[ao + k + k * lda];
    if (pivots[po + k] > 0) {
      for (let j = 0; j < nrhs; j++) b[bo + k + j * ldb] /= dk;
      continue;
    }
    // Divided by the off-diagonal entry, which the pivot rule makes the largest: no overflow.
    const c = uplo ? a[ao + k + (k + 1) * lda] : a[ao + k + 1 + k * lda];
    const d1 = dk / c,
      d2 = a[ao + k + 1 + (k + 1) * lda] / c,
      denominator = d1 * d2 - 1;
    for (let j = 0; j < nrhs; j++) {
      const at = bo + k + j * ldb;
      const b1 = b[at] / c,
        b2 = b[at + 1] / c;
      b[at] = (d2 * b1 - b2) / denominator;
      b[at + 1] = (d1 * b2 - b1) / denominator;
    }
    k++;
  }
}

/** B := A^-1 B from the factor. */
export function sytrsCore(
  uplo: Flag,
  n: number,
  nrhs: number,
  a: Real,
  ao: number,
  lda: number,
  pivots: Int32Array,
  po: number,
  b: Real,
  bo: number,
  ldb: number,
): void {
  forward(uplo, n, nrhs, a, ao, lda, pivots, po, b, bo, ldb);
  blockDiagonalSolve(uplo, n, nrhs, a, ao, lda, pivots, po, b, bo, ldb);
  backward(uplo, n, nrhs, a, ao, lda, pivots, po, b, bo, ldb);
}

/** One triangle of A^-1 in place of the factor. Returns i > 0 when 1 x 1 pivot i is zero. */
export function sytriCore(
  uplo: Flag,
  n: number,
  a: Real,
  ao: number,
  lda: number,
  pivots: Int32Array,
  po: number,
): number {
  for (let step = 0; step < n; step++) {
    const i = uplo ? n - 1 - step : step;
    if (pivots[po + i] > 0 && a[ao + i + i * lda] === 0) return i + 1;
  }
  const x = new Float64Array(n * n);
  for (let i = 0; i < n; i++) x[i + i * n] = 1;
  sytrsCore(uplo, n, n, a, ao, lda, pivots, po, x, 0, n);
  for (let j = 0; j < n; j++) {
    for (let i = uplo ? 0 : j; i < (uplo ? j + 1 : n); i++) a[ao + i + j * lda] = x[i + j * n];
  }
  return 0;
}

/** Eigenvalues (larger first) and the unit eigenvector (cos, sin) of the larger, of [[a, b], [b, c]]. */
function eigenTwo(a: number, b: number, c: number): { larger: number; smaller: number; cos: number; sin: number } {
  const half = a / 2 - c / 2,
    mean = a / 2 + c / 2,
    radius = Math.hypot(half, b);
  // The eigenvalue away from zero by a sum, the other by the determinant: neither cancels.
  const far = mean >= 0 ? mean + radius : mean - radius;
  const near = far === 0 ? 0 : (a / far) * c - (b / far) * b;
  const larger = mean >= 0 ? far : near,
    smaller = mean >= 0 ? near : far;
  // Of the two forms of the vector take the one without cancellation.
  const x = half >= 0 ? half + radius : b,
    y = half >= 0 ? b : radius - half;
  const norm = Math.hypot(x, y);
  return norm === 0 ? { larger, smaller, cos: 1, sin: 0 } : { larger, smaller, cos: x / norm, sin: y / norm };
}

/** out = (positive, negative, zero counts, log|det|, smallest, largest |eigenvalue of a pivot block|). */
export function sytrfInertiaCore(
  uplo: Flag,
  n: number,
  a: Real,
  ao: number,
  lda: number,
  pivots: Int32Array,
  po: number,
  out: Float64Array,
): void {
  let positive = 0,
    negative = 0,
    zero = 0,
    logDeterminant = 0,
    smallest = Infinity,
    largest = 0;
  const count = (value: number): void => {
    if (value > 0) positive++;
    else if (value < 0) negative++;
    else zero++;
    const size = Math.abs(value);
    logDeterminant += Math.log(size);
    smallest = Math.min(smallest, size);
    largest = Math.max(largest, size);
  };
  for (let k = 0; k < n; k++) {
    const d = a[ao + k + k * lda];
    if (pivots[po + k] > 0) count(d);
    else {
      const off = uplo ? a[ao + k + (k + 1) * lda] : a[ao + k + 1 + k * lda];
      const pair = eigenTwo(d, off, a[ao + k + 1 + (k + 1) * lda]);
      count(pair.larger);
      count(pair.smaller);
      k++;
    }
  }
  out[0] = positive;
  out[1] = negative;
  out[2] = zero;
  out[3] = logDeterminant;
  out[4] = smallest;
  out[5] = largest;
}

/**
 * The spectral form of D, D = Q diag(values) Q^T: for each row in pivot order its eigenvalue and, for the first row of
 * a 2 x 2 block, the rotation; `place` is the row's place with positive values first.
 */
function spectralPivots(n: number, a: Real, ao: number, lda: number, pivots: Int32Array, po: number) {
  const values = new Float64Array(n),
    cos = new Float64Array(n),
    sin = new Float64Array(n);
  const place = new Int32Array(n);
  for (let k = 0; k < n; k++) {
    const d = a[ao + k + k * lda];
    if (pivots[po + k] > 0) {
      values[k] = d;
      cos[k] = 1;
      continue;
    }
    const pair = eigenTwo(d, a[ao + k + 1 + k * lda], a[ao + k + 1 + (k + 1) * lda]);
    values[k] = pair.larger;
    values[k + 1] = pair.smaller;
    cos[k] = pair.cos;
    sin[k] = pair.sin;
    k++;
  }
  let positive = 0;
  for (let k = 0; k < n; k++) if (values[k] > 0) place[k] = positive++;
  for (let k = 0, next = positive; k < n; k++) if (!(values[k] > 0)) place[k] = next++;
  return { values, cos, sin, place, positive };
}

/** B := |D|^-1/2 Q^T L^-1 P B, rows of positive pivots first; lower factor. Returns their number. */
export function halfSolveCore(
  n: number,
  nrhs: number,
  a: Real,
  ao: number,
  lda: number,
  pivots: Int32Array,
  po: number,
  b: Real,
  bo: number,
  ldb: number,
): number {
  const { values, cos, sin, place, positive } = spectralPivots(n, a, ao, lda, pivots, po);
  forward(0, n, nrhs, a, ao, lda, pivots, po, b, bo, ldb);
  const column = new Float64Array(n);
  for (let j = 0; j < nrhs; j++) {
    const bj = bo + j * ldb;
    for (let k = 0; k < n; k++) {
      if (pivots[po + k] > 0) {
        column[place[k]] = b[bj + k] / Math.sqrt(Math.abs(values[k]));
        continue;
      }
      const x = b[bj + k],
        y = b[bj + k + 1];
      column[place[k]] = (cos[k] * x + sin[k] * y) / Math.sqrt(Math.abs(values[k]));
      column[place[k + 1]] = (cos[k] * y - sin[k] * x) / Math.sqrt(Math.abs(values[k + 1]));
      k++;
    }
    for (let i = 0; i < n; i++) b[bj + i] = column[i];
  }
  return positive;
}

/** B := P^T L^-T Q |D|^-1/2 B for rows in the order that halfSolveCore leaves; lower factor. */
export function halfSolveTransposedCore(
  n: number,
  nrhs: number,
  a: Real,
  ao: number,
  lda: number,
  pivots: Int32Array,
  po: number,
  b: Real,
  bo: number,
  ldb: number,
): number {
  const { values, cos, sin, place, positive } = spectralPivots(n, a, ao, lda, pivots, po);
  const column = new Float64Array(n);
  for (let j = 0; j < nrhs; j++) {
    const bj = bo + j * ldb;
    for (let k = 0; k < n; k++) {
      const x = b[bj + place[k]] / Math.sqrt(Math.abs(values[k]));
      if (pivots[po + k] > 0) {
        column[k] = x;
        continue;
      }
      const y = b[bj + place[k + 1]] / Math.sqrt(Math.abs(values[k + 1]));
      column[k] = cos[k] * x - sin[k] * y;
      column[k + 1] = sin[k] * x + cos[k] * y;
      k++;
    }
    for (let i = 0; i < n; i++) b[bj + i] = column[i];
  }
  backward(0, n, nrhs, a, ao, lda, pivots, po, b, bo, ldb);
  return positive;
}
