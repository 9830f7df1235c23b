/**
 * Householder QR of an m x n matrix, m >= n (Golub & Van Loan 2013, algorithm 5.2.1), with LAPACK's signs: the
 * diagonal entry of R is minus the sign of the entry it replaces.
 */
import type { Real } from '../kernels.js';
import { axpyCore, dotCore, nrm2Core } from './blas.js';

/** A (m x n) := Q with orthonormal columns, R (n x n, column-major) := the upper triangle, zeros below. */
export function qrCore(m: number, n: number, a: Real, ao: number, lda: number, r: Real, ro: number, ldr: number): void {
  const tau = new Float64Array(n);
  for (let k = 0; k < n; k++) {
    const head = ao + k + k * lda,
      length = m - k;
    const alpha = a[head],
      tail = nrm2Core(length - 1, a, head + 1);
    let beta = alpha;
    if (tail !== 0) {
      beta = alpha > 0 || Object.is(alpha, 0) ? -Math.hypot(alpha, tail) : Math.hypot(alpha, tail);
      tau[k] = (beta - alpha) / beta;
      for (let i = 1; i < length; i++) a[head + i] /= alpha - beta;
      a[head] = 1;
      for (let j = k + 1; j < n; j++) {
        const column = ao + k + j * lda;
        axpyCore(length, -tau[k] * dotCore(length, a, head, a, column), a, head, a, column);
      }
    }
    for (let i = 0; i < k; i++) r[ro + i + k * ldr] = a[ao + i + k * lda];
    r[ro + k + k * ldr] = beta;
    for (let i = k + 1; i < n; i++) r[ro + i + k * ldr] = 0;
  }
  // Q = H_0 ... H_{n-1} applied to the first n columns of the identity, from the last.
  for (let k = n - 1; k >= 0; k--) {
    const head = ao + k + k * lda,
      length = m - k;
    for (let j = k + 1; j < n; j++) {
      const column = ao + k + j * lda;
      a[column] = 0;
      if (tau[k] !== 0) axpyCore(length, -tau[k] * dotCore(length, a, head, a, column), a, head, a, column);
    }
    for (let i = 1; i < length; i++) a[head + i] = tau[k] === 0 ? 0 : -tau[k] * a[head + i];
    a[head] = 1 - tau[k];
  }
}
