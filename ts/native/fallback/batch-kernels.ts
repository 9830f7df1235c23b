/**
 * The strided batches: `count` problems of one shape, one after the other.
 */
import { apart, flag, kind, matrix, real, size, vector } from './checks.js';
import { trsmCore } from './blas.js';
import { sytrfCore, sytrsCore } from './bunch-kaufman.js';
import { potrfCore, potrsCore } from './cholesky.js';
import { getrfCore, getrsCore } from './lu.js';
import { checkPivots, multiply, rankUpdate, triangular, square, rightSides } from './problems.js';
import type { Kernels } from '../kernels.js';

/** Factors all matrices of a batch; the first code that is not 0, for one that fails does not stop the others. */
function firstFailure(count: number, factor: (t: number) => number): number {
  let first = 0;
  for (let t = 0; t < count; t++) {
    const info = factor(t);
    if (first === 0) first = info;
  }
  return first;
}

export const batchKernels: Pick<
  Kernels,
  | 'gemmBatch'
  | 'syrkBatch'
  | 'trsmBatch'
  | 'potrfBatch'
  | 'potrsBatch'
  | 'sytrfBatch'
  | 'sytrsBatch'
  | 'getrfBatch'
  | 'getrsBatch'
> = {
  gemmBatch(
    transA,
    transB,
    m,
    n,
    k,
    alpha,
    a,
    aOffset,
    lda,
    strideA,
    b,
    bOffset,
    ldb,
    strideB,
    beta,
    c,
    cOffset,
    ldc,
    strideC,
    count,
  ) {
    multiply(
      'gemmBatch',
      transA,
      transB,
      m,
      n,
      k,
      alpha,
      a,
      aOffset,
      lda,
      strideA,
      b,
      bOffset,
      ldb,
      strideB,
      beta,
      c,
      cOffset,
      ldc,
      strideC,
      count,
    );
  },

  syrkBatch(uplo, trans, n, k, alpha, a, aOffset, lda, strideA, beta, c, cOffset, ldc, strideC, count) {
    rankUpdate('syrkBatch', uplo, trans, n, k, alpha, a, aOffset, lda, strideA, beta, c, cOffset, ldc, strideC, count);
  },

  trsmBatch(side, uplo, trans, unitDiagonal, m, n, alpha, a, aOffset, lda, strideA, b, bOffset, ldb, strideB, count) {
    triangular(
      'trsmBatch',
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
      strideA,
      b,
      bOffset,
      ldb,
      strideB,
      count,
    );
  },

  potrfBatch(uplo, n, a, aOffset, lda, strideA, count) {
    apart('potrfBatch', square('potrfBatch', uplo, n, a, aOffset, lda, strideA, count));
    return firstFailure(count, (t) => potrfCore(uplo, n, a, aOffset + t * strideA, lda));
  },

  potrsBatch(uplo, n, nrhs, a, aOffset, lda, strideA, b, bOffset, ldb, strideB, count) {
    flag('potrsBatch', 'uplo', uplo);
    rightSides('potrsBatch', n, nrhs, a, aOffset, lda, strideA, b, bOffset, ldb, strideB, count);
    for (let t = 0; t < count; t++)
      potrsCore(uplo, n, nrhs, a, aOffset + t * strideA, lda, b, bOffset + t * strideB, ldb);
  },

  sytrfBatch(uplo, n, a, aOffset, lda, strideA, pivots, pivotsOffset, stridePivots, count) {
    const block = square('sytrfBatch', uplo, n, a, aOffset, lda, strideA, count);
    kind('sytrfBatch', 'pivots', pivots, Int32Array);
    const exchanges = vector('sytrfBatch', 'pivots', pivots, pivotsOffset, n, stridePivots, count);
    apart('sytrfBatch', block);
    apart('sytrfBatch', exchanges, block);
    return firstFailure(count, (t) =>
      sytrfCore(uplo, n, a, aOffset + t * strideA, lda, pivots, pivotsOffset + t * stridePivots),
    );
  },

  sytrsBatch(
    uplo,
    n,
    nrhs,
    a,
    aOffset,
    lda,
    strideA,
    pivots,
    pivotsOffset,
    stridePivots,
    b,
    bOffset,
    ldb,
    strideB,
    count,
  ) {
    flag('sytrsBatch', 'uplo', uplo);
    rightSides('sytrsBatch', n, nrhs, a, aOffset, lda, strideA, b, bOffset, ldb, strideB, count);
    checkPivots('sytrsBatch', n, pivots, pivotsOffset, true, stridePivots, count);
    for (let t = 0; t < count; t++) {
      sytrsCore(
        uplo,
        n,
        nrhs,
        a,
        aOffset + t * strideA,
        lda,
        pivots,
        pivotsOffset + t * stridePivots,
        b,
        bOffset + t * strideB,
        ldb,
      );
    }
  },

  getrfBatch(m, n, a, aOffset, lda, strideA, pivots, pivotsOffset, stridePivots, count) {
    size('getrfBatch', 'm', m);
    size('getrfBatch', 'n', n);
    size('getrfBatch', 'count', count);
    real('getrfBatch', 'a', a);
    const block = matrix('getrfBatch', 'a', a, aOffset, m, n, lda, strideA, count);
    kind('getrfBatch', 'pivots', pivots, Int32Array);
    const exchanges = vector('getrfBatch', 'pivots', pivots, pivotsOffset, Math.min(m, n), stridePivots, count);
    apart('getrfBatch', block);
    apart('getrfBatch', exchanges, block);
    return firstFailure(count, (t) =>
      getrfCore(m, n, a, aOffset + t * strideA, lda, pivots, pivotsOffset + t * stridePivots),
    );
  },

  getrsBatch(
    trans,
    n,
    nrhs,
    a,
    aOffset,
    lda,
    strideA,
    pivots,
    pivotsOffset,
    stridePivots,
    b,
    bOffset,
    ldb,
    strideB,
    count,
  ) {
    flag('getrsBatch', 'trans', trans);
    rightSides('getrsBatch', n, nrhs, a, aOffset, lda, strideA, b, bOffset, ldb, strideB, count);
    checkPivots('getrsBatch', n, pivots, pivotsOffset, false, stridePivots, count);
    for (let t = 0; t < count; t++) {
      getrsCore(
        trans,
        n,
        nrhs,
        a,
        aOffset + t * strideA,
        lda,
        pivots,
        pivotsOffset + t * stridePivots,
        b,
        bOffset + t * strideB,
        ldb,
      );
    }
  },
};
