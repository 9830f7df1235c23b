/**
 * LU factor of an m x n matrix with partial pivoting, P A = L U (Golub & Van Loan 2013, algorithm 3.4.1), with
 * LAPACK's 1-based pivots: row i was exchanged with row pivots[i] - 1.
 */
import type { Flag, Real } from '../kernels.js';
import { axpyCore, trsmCore } from './blas.js';

/** Factors in place. Returns 0, or the 1-based index of the first zero pivot. */
export function getrfCore(
  m: number,
  n: number,
  a: Real,
  ao: number,
  lda: number,
  pivots: Int32Array,
  po: number,
): number {
  let info = 0;
  const steps = Math.min(m, n);
  for (let k = 0; k < steps; k++) {
    const ak = ao + k * lda;
    let p = k;
    for (let i = k + 1; i < m; i++) if (Math.abs(a[ak + i]) > Math.abs(a[ak + p])) p = i;
    pivots[po + k] = p + 1;
    if (a[ak + p] === 0) {
      if (info === 0) info = k + 1;
      continue;
    }
    if (p !== k) swapRows(n, a, ao, lda, k, p);
    const pivot = a[ak + k];
    for (let i = k + 1; i < m; i++) a[ak + i] /= pivot;
    for (let j = k + 1; j < n; j++) {
      const t = a[ao + k + j * lda];
      if (t !== 0) axpyCore(m - k - 1, -t, a, ak + k + 1, a, ao + j * lda + k + 1);
    }
  }
  return info;
}

/** Exchanges rows i and k of a block with n columns. */
export function swapRows(n: number, a: Real, ao: number, lda: number, i: number, k: number): void {
  for (let j = 0; j < n; j++) {
    const t = a[ao + i + j * lda];
    a[ao + i + j * lda] = a[ao + k + j * lda];
    a[ao + k + j * lda] = t;
  }
}

/** B := op(A)^-1 B from the factor. */
export function getrsCore(
  trans: Flag,
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
  if (!trans) {
    for (let i = 0; i < n; i++) if (pivots[po + i] !== i + 1) swapRows(nrhs, b, bo, ldb, i, pivots[po + i] - 1);
    trsmCore(0, 0, 0, 1, n, nrhs, 1, a, ao, lda, b, bo, ldb);
    trsmCore(0, 1, 0, 0, n, nrhs, 1, a, ao, lda, b, bo, ldb);
  } else {
    trsmCore(0, 1, 1, 0, n, nrhs, 1, a, ao, lda, b, bo, ldb);
    trsmCore(0, 0, 1, 1, n, nrhs, 1, a, ao, lda, b, bo, ldb);
    for (let i = n - 1; i >= 0; i--) if (pivots[po + i] !== i + 1) swapRows(nrhs, b, bo, ldb, i, pivots[po + i] - 1);
  }
}
