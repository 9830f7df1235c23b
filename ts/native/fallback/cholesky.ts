/**
 * Cholesky factor of a symmetric positive definite n x n matrix, one triangle stored:
 * A = L L^T (lower) or U^T U (upper). Left-looking, column by column (Golub & Van Loan 2013, section 4.2.5).
 */
import type { Flag, Real } from '../kernels.js';
import { axpyCore, dotCore, trsmCore } from './blas.js';

/** Factors in place. Returns 0, or the 1-based index of the first pivot that is not positive. */
export function potrfCore(uplo: Flag, n: number, a: Real, ao: number, lda: number): number {
  for (let j = 0; j < n; j++) {
    const aj = ao + j * lda;
    if (uplo) {
      for (let i = 0; i < j; i++) a[aj + i] = (a[aj + i] - dotCore(i, a, ao + i * lda, a, aj)) / a[ao + i + i * lda];
      a[aj + j] -= dotCore(j, a, aj, a, aj);
    } else {
      for (let k = 0; k < j; k++) axpyCore(n - j, -a[ao + j + k * lda], a, ao + j + k * lda, a, aj + j);
    }
    const pivot = a[aj + j];
    if (!(pivot > 0)) return j + 1;
    const root = Math.sqrt(pivot);
    a[aj + j] = root;
    if (!uplo) for (let i = j + 1; i < n; i++) a[aj + i] /= root;
  }
  return 0;
}

/** B := A^-1 B from the factor. */
export function potrsCore(
  uplo: Flag,
  n: number,
  nrhs: number,
  a: Real,
  ao: number,
  lda: number,
  b: Real,
  bo: number,
  ldb: number,
): void {
  trsmCore(0, uplo, uplo ? 1 : 0, 0, n, nrhs, 1, a, ao, lda, b, bo, ldb);
  trsmCore(0, uplo, uplo ? 0 : 1, 0, n, nrhs, 1, a, ao, lda, b, bo, ldb);
}

/** One triangle of A^-1 = W^T W, W = L^-1, in place of the factor. Returns i > 0 when diagonal entry i is zero. */
export function potriCore(uplo: Flag, n: number, a: Real, ao: number, lda: number): number {
  for (let i = 0; i < n; i++) if (a[ao + i + i * lda] === 0) return i + 1;
  const l = new Float64Array(n * n),
    w = new Float64Array(n * n);
  for (let j = 0; j < n; j++) {
    for (let i = j; i < n; i++) l[i + j * n] = uplo ? a[ao + j + i * lda] : a[ao + i + j * lda];
    w[j + j * n] = 1;
  }
  trsmCore(0, 0, 0, 0, n, n, 1, l, 0, n, w, 0, n);
  for (let j = 0; j < n; j++) {
    for (let i = j; i < n; i++) {
      a[uplo ? ao + j + i * lda : ao + i + j * lda] = dotCore(n - i, w, i + i * n, w, i + j * n);
    }
  }
  return 0;
}
