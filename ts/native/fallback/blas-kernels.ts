/**
 * The BLAS kernels: arguments checked, then handed to the arithmetic in blas.ts.
 */
import { apart, flag, matrix, real, scalar, size, strided, vector } from './checks.js';
import { axpyCore, dotCore, gemvCore, nrm2Core, symmCore, trmmCore, trsmCore } from './blas.js';
import { multiply, rankUpdate, triangular } from './problems.js';
import type { Kernels } from '../kernels.js';

export const blasKernels: Pick<Kernels, 'gemm' | 'gemv' | 'syrk' | 'symm' | 'trsm' | 'trmm' | 'dot' | 'nrm2' | 'axpy'> =
  {
    gemm(transA, transB, m, n, k, alpha, a, aOffset, lda, b, bOffset, ldb, beta, c, cOffset, ldc) {
      multiply(
        'gemm',
        transA,
        transB,
        m,
        n,
        k,
        alpha,
        a,
        aOffset,
        lda,
        0,
        b,
        bOffset,
        ldb,
        0,
        beta,
        c,
        cOffset,
        ldc,
        0,
        1,
      );
    },

    gemv(trans, m, n, alpha, a, aOffset, lda, x, xOffset, incx, beta, y, yOffset, incy) {
      flag('gemv', 'trans', trans);
      size('gemv', 'm', m);
      size('gemv', 'n', n);
      scalar('gemv', 'alpha', alpha);
      scalar('gemv', 'beta', beta);
      real('gemv', 'a', a);
      real('gemv', 'x', x, a);
      real('gemv', 'y', y, a);
      const left = matrix('gemv', 'a', a, aOffset, m, n, lda);
      const input = strided('gemv', 'x', x, xOffset, trans ? m : n, incx);
      apart('gemv', strided('gemv', 'y', y, yOffset, trans ? n : m, incy), left, input);
      gemvCore(trans, m, n, alpha, a, aOffset, lda, x, xOffset, incx, beta, y, yOffset, incy);
    },

    syrk(uplo, trans, n, k, alpha, a, aOffset, lda, beta, c, cOffset, ldc) {
      rankUpdate('syrk', uplo, trans, n, k, alpha, a, aOffset, lda, 0, beta, c, cOffset, ldc, 0, 1);
    },

    symm(side, uplo, m, n, alpha, a, aOffset, lda, b, bOffset, ldb, beta, c, cOffset, ldc) {
      flag('symm', 'side', side);
      flag('symm', 'uplo', uplo);
      size('symm', 'm', m);
      size('symm', 'n', n);
      scalar('symm', 'alpha', alpha);
      scalar('symm', 'beta', beta);
      real('symm', 'a', a);
      real('symm', 'b', b, a);
      real('symm', 'c', c, a);
      const order = side ? n : m;
      const left = matrix('symm', 'a', a, aOffset, order, order, lda);
      const right = matrix('symm', 'b', b, bOffset, m, n, ldb);
      apart('symm', matrix('symm', 'c', c, cOffset, m, n, ldc), left, right);
      symmCore(side, uplo, m, n, alpha, a, aOffset, lda, b, bOffset, ldb, beta, c, cOffset, ldc);
    },

    trsm(side, uplo, trans, unitDiagonal, m, n, alpha, a, aOffset, lda, b, bOffset, ldb) {
      triangular(
        'trsm',
        trsmCore,
        side,
        uplo,
        trans,
        unitDiagonal,
        m,
        n,
        alpha,
        a,
        aOffset,
        lda,
        0,
        b,
        bOffset,
        ldb,
        0,
        1,
      );
    },

    trmm(side, uplo, trans, unitDiagonal, m, n, alpha, a, aOffset, lda, b, bOffset, ldb) {
      triangular(
        'trmm',
        trmmCore,
        side,
        uplo,
        trans,
        unitDiagonal,
        m,
        n,
        alpha,
        a,
        aOffset,
        lda,
        0,
        b,
        bOffset,
        ldb,
        0,
        1,
      );
    },

    dot(n, x, xOffset, y, yOffset) {
      size('dot', 'n', n);
      real('dot', 'x', x);
      real('dot', 'y', y, x);
      vector('dot', 'x', x, xOffset, n);
      vector('dot', 'y', y, yOffset, n);
      return dotCore(n, x, xOffset, y, yOffset);
    },

    nrm2(n, x, xOffset) {
      size('nrm2', 'n', n);
      real('nrm2', 'x', x);
      vector('nrm2', 'x', x, xOffset, n);
      return nrm2Core(n, x, xOffset);
    },

    axpy(n, alpha, x, xOffset, y, yOffset) {
      size('axpy', 'n', n);
      scalar('axpy', 'alpha', alpha);
      real('axpy', 'x', x);
      real('axpy', 'y', y, x);
      const input = vector('axpy', 'x', x, xOffset, n);
      apart('axpy', vector('axpy', 'y', y, yOffset, n), input);
      axpyCore(n, alpha, x, xOffset, y, yOffset);
    },
  };
