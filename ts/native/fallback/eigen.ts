/**
 * Eigenvalues and eigenvectors of a symmetric n x n matrix: Householder tridiagonalization (Golub & Van Loan 2013,
 * algorithm 8.3.1), then implicit QL steps with Wilkinson's shift on the tridiagonal form (section 8.3.4), the
 * rotations applied to the columns of the accumulated orthogonal matrix.
 */
import type { Flag, Real } from '../kernels.js';
import { axpyCore, dotCore } from './blas.js';

/**
 * Ascending eigenvalues into w; with `vectors` A is overwritten by the eigenvectors. Returns 0, or the number of
 * eigenvalues that had not converged after 50 steps each (A and w are then left as they were).
 */
export function syevdCore(
  vectors: Flag,
  uplo: Flag,
  n: number,
  a: Real,
  ao: number,
  lda: number,
  w: Real,
  wo: number,
): number {
  const t = new Float64Array(n * n);
  let largest = 0;
  for (let j = 0; j < n; j++) {
    for (let i = uplo ? 0 : j; i < (uplo ? j + 1 : n); i++) {
      const value = a[ao + i + j * lda];
      t[i + j * n] = t[j + i * n] = value;
      largest = Math.max(largest, Math.abs(value));
    }
  }
  if (!Number.isFinite(largest)) return n;
  // An exact power of two brings the entries near one, so that products neither overflow nor vanish.
  const scale = largest === 0 ? 1 : 2 ** Math.floor(Math.log2(largest));
  for (let i = 0; i < t.length; i++) t[i] /= scale;

  const diagonal = new Float64Array(n),
    off = new Float64Array(n);
  tridiagonalize(n, t, diagonal, off, vectors);
  const failed = implicitQL(n, diagonal, off, t, vectors);
  if (failed > 0) return failed;

  const order = Array.from(diagonal.keys()).sort((i, j) => diagonal[i] - diagonal[j]);
  for (let j = 0; j < n; j++) {
    w[wo + j] = diagonal[order[j]] * scale;
    if (vectors) for (let i = 0; i < n; i++) a[ao + i + j * lda] = t[i + order[j] * n];
  }
  return 0;
}

/** t (full, symmetric) to tridiagonal form; off[k] couples k and k + 1. With `vectors` t becomes Q, else scratch. */
function tridiagonalize(n: number, t: Float64Array, diagonal: Float64Array, off: Float64Array, vectors: Flag): void {
  const tau = new Float64Array(n),
    p = new Float64Array(n);
  for (let k = 0; k < n - 1; k++) {
    const head = k + 1 + k * n,
      length = n - k - 1;
    const sum = dotCore(length - 1, t, head + 1, t, head + 1);
    const alpha = t[head];
    off[k] = alpha;
    tau[k] = 0;
    if (sum === 0) continue;
    // H = I - tau v v^T with v[0] = 1 sends the column to (beta, 0, ..., 0)
    const beta = alpha > 0 ? -Math.hypot(alpha, Math.sqrt(sum)) : Math.hypot(alpha, Math.sqrt(sum));
    tau[k] = (beta - alpha) / beta;
    for (let i = 1; i < length; i++) t[head + i] /= alpha - beta;
    t[head] = 1;
    off[k] = beta;
    // p = tau A v, w = p - (tau / 2) (p^T v) v, A := A - v w^T - w v^T
    p.fill(0, 0, length);
    for (let j = 0; j < length; j++) axpyCore(length, tau[k] * t[head + j], t, k + 1 + (k + 1 + j) * n, p, 0);
    axpyCore(length, -0.5 * tau[k] * dotCore(length, p, 0, t, head), t, head, p, 0);
    for (let j = 0; j < length; j++) {
      const column = k + 1 + (k + 1 + j) * n;
      axpyCore(length, -p[j], t, head, t, column);
      axpyCore(length, -t[head + j], p, 0, t, column);
    }
  }
  for (let i = 0; i < n; i++) diagonal[i] = t[i + i * n];
  if (!vectors) return;
  // Q = H_0 H_1 ... H_{n-2}, built from the last: column k + 1 onwards is touched by H_k only.
  const v = new Float64Array(n);
  for (let k = n - 2; k >= -1; k--) {
    const length = n - k - 1;
    if (k >= 0 && tau[k] !== 0) {
      for (let i = 0; i < length; i++) v[i] = t[k + 1 + i + k * n];
      for (let j = k + 2; j < n; j++) {
        const column = k + 1 + j * n;
        t[column] = 0;
        axpyCore(length, -tau[k] * dotCore(length, v, 0, t, column), v, 0, t, column);
      }
      for (let i = 0; i < length; i++) t[k + 1 + i + (k + 1) * n] = (i === 0 ? 1 : 0) - tau[k] * v[i];
    } else {
      // The leading row and column of the trailing block of Q are those of the identity.
      for (let j = k + 2; j < n; j++) t[k + 1 + j * n] = 0;
      for (let i = 0; i < length; i++) t[k + 1 + i + (k + 1) * n] = i === 0 ? 1 : 0;
    }
  }
}

/** Implicit QL on (diagonal, off), rotating the columns of q. Returns the number of eigenvalues not found. */
function implicitQL(n: number, d: Float64Array, e: Float64Array, q: Float64Array, vectors: Flag): number {
  // Off-diagonals below the rounding of the whole matrix are zero too: clusters at 0 would never deflate otherwise.
  let largest = 0;
  for (let i = 0; i < n; i++) largest = Math.max(largest, Math.abs(d[i]), Math.abs(e[i] ?? 0));
  const floor = Number.EPSILON * 0.5 * largest;
  for (let l = 0; l < n; l++) {
    for (let iteration = 0; ; iteration++) {
      let m = l;
      while (
        m < n - 1 &&
        Math.abs(e[m]) > Math.max(floor, Number.EPSILON * 0.5 * (Math.abs(d[m]) + Math.abs(d[m + 1])))
      )
        m++;
      if (m === l) break;
      if (iteration === 50) return n - l;
      // Wilkinson's shift: the eigenvalue of the leading 2 x 2 block nearer to d[l]
      const half = (d[l + 1] - d[l]) / 2 / e[l];
      let g = d[m] - d[l] + e[l] / (half + (half >= 0 ? 1 : -1) * Math.hypot(half, 1));
      let s = 1,
        c = 1,
        shift = 0,
        i = m - 1;
      for (; i >= l; i--) {
        const f = s * e[i],
          b = c * e[i];
        const r = Math.hypot(f, g);
        e[i + 1] = r;
        if (r === 0) {
          d[i + 1] -= shift;
          e[m] = 0;
          break;
        }
        s = f / r;
        c = g / r;
        const left = d[i + 1] - shift;
        const right = (d[i] - left) * s + 2 * c * b;
        shift = s * right;
        d[i + 1] = left + shift;
        g = c * right - b;
        if (vectors) {
          for (let k = i * n, end = k + n; k < end; k++) {
            const x = q[k],
              y = q[k + n];
            q[k + n] = s * x + c * y;
            q[k] = c * x - s * y;
          }
        }
      }
      if (i >= l) continue;
      d[l] -= shift;
      e[l] = g;
      e[m] = 0;
    }
  }
  return 0;
}
