/**
 * Every kernel of {@link Kernels} in plain TypeScript: the package works with it where no addon loads, and the kernel
 * tests take it as oracle. This file checks arguments and hands them to the arithmetic in fallback/.
 */
import { apart, flag, kind, matrix, real, scalar, size, vector } from './fallback/checks.js';
import { failRange } from '../checks.js';
import { activateCore } from './fallback/activations.js';
import { axpyCore, dotCore, gemmCore, gemvCore, nrm2Core, symmCore, syrkCore, trmmCore, trsmCore } from './fallback/blas.js';
import {
  halfSolveCore,
  halfSolveTransposedCore,
  sytrfCore,
  sytrfInertiaCore,
  sytriCore,
  sytrsCore,
} from './fallback/bunch-kaufman.js';
import { potrfCore, potriCore, potrsCore } from './fallback/cholesky.js';
import { syevdCore } from './fallback/eigen.js';
import {
  adamStepCore,
  columnSumsCore,
  hadamardCore,
  jacobianGramCore,
  scaleRowsCore,
  scaleSymmetricCore,
  sgdStepCore,
  symmetrizeCore,
  transposeCore,
} from './fallback/fused.js';
import { getrfCore, getrsCore } from './fallback/lu.js';
import { qrCore } from './fallback/qr.js';
import { activationCodes, type Flag, type Kernels, type Real } from './kernels.js';

/** Checks the pivots of a factor: in range, so that a foreign array cannot send a row exchange out of bounds. */
function checkPivots(operation: string, n: number, pivots: Int32Array, offset: number, paired: boolean, stride = 0, count = 1): void {
  kind(operation, 'pivots', pivots, Int32Array);
  vector(operation, 'pivots', pivots, offset, n, 1, stride, count);
  for (let t = 0; t < count; t++) {
    const start = offset + t * stride;
    for (let i = 0; i < n; i++) {
      const p = pivots[start + i];
      const inRange = p !== 0 && Math.abs(p) <= n && (p > 0 || paired);
      const matched = p > 0 || (i + 1 < n && pivots[start + i + 1] === p);
      if (!inRange || !matched) failRange(operation, `pivots[${start + i}]`, `a pivot of a factor of order ${n}`, p);
      if (p < 0) i++;
    }
  }
}

function multiply(
  operation: string, transA: Flag, transB: Flag, m: number, n: number, k: number, alpha: number,
  a: Real, aOffset: number, lda: number, strideA: number, b: Real, bOffset: number, ldb: number, strideB: number,
  beta: number, c: Real, cOffset: number, ldc: number, strideC: number, count: number,
): void {
  flag(operation, 'transA', transA);
  flag(operation, 'transB', transB);
  size(operation, 'm', m);
  size(operation, 'n', n);
  size(operation, 'k', k);
  size(operation, 'count', count);
  scalar(operation, 'alpha', alpha);
  scalar(operation, 'beta', beta);
  real(operation, 'a', a);
  real(operation, 'b', b, a);
  real(operation, 'c', c, a);
  const left = matrix(operation, 'a', a, aOffset, transA ? k : m, transA ? m : k, lda, strideA, count);
  const right = matrix(operation, 'b', b, bOffset, transB ? n : k, transB ? k : n, ldb, strideB, count);
  apart(operation, matrix(operation, 'c', c, cOffset, m, n, ldc, strideC, count), left, right);
  for (let t = 0; t < count; t++) {
    gemmCore(transA, transB, m, n, k, alpha, a, aOffset + t * strideA, lda, b, bOffset + t * strideB, ldb, beta, c, cOffset + t * strideC, ldc);
  }
}

function rankUpdate(
  operation: string, uplo: Flag, trans: Flag, n: number, k: number, alpha: number,
  a: Real, aOffset: number, lda: number, strideA: number, beta: number,
  c: Real, cOffset: number, ldc: number, strideC: number, count: number,
): void {
  flag(operation, 'uplo', uplo);
  flag(operation, 'trans', trans);
  size(operation, 'n', n);
  size(operation, 'k', k);
  size(operation, 'count', count);
  scalar(operation, 'alpha', alpha);
  scalar(operation, 'beta', beta);
  real(operation, 'a', a);
  real(operation, 'c', c, a);
  const input = matrix(operation, 'a', a, aOffset, trans ? k : n, trans ? n : k, lda, strideA, count);
  apart(operation, matrix(operation, 'c', c, cOffset, n, n, ldc, strideC, count), input);
  for (let t = 0; t < count; t++) {
    syrkCore(uplo, trans, n, k, alpha, a, aOffset + t * strideA, lda, beta, c, cOffset + t * strideC, ldc);
  }
}

function triangular(
  operation: string, core: typeof trsmCore, side: Flag, uplo: Flag, trans: Flag, unitDiagonal: Flag, m: number, n: number, alpha: number,
  a: Real, aOffset: number, lda: number, strideA: number, b: Real, bOffset: number, ldb: number, strideB: number, count: number,
): void {
  flag(operation, 'side', side);
  flag(operation, 'uplo', uplo);
  flag(operation, 'trans', trans);
  flag(operation, 'unitDiagonal', unitDiagonal);
  size(operation, 'm', m);
  size(operation, 'n', n);
  size(operation, 'count', count);
  scalar(operation, 'alpha', alpha);
  real(operation, 'a', a);
  real(operation, 'b', b, a);
  const order = side ? n : m;
  const factor = matrix(operation, 'a', a, aOffset, order, order, lda, strideA, count);
  apart(operation, matrix(operation, 'b', b, bOffset, m, n, ldb, strideB, count), factor);
  for (let t = 0; t < count; t++) {
    core(side, uplo, trans, unitDiagonal, m, n, alpha, a, aOffset + t * strideA, lda, b, bOffset + t * strideB, ldb);
  }
}

/** The square matrix of a factorization that works in place. */
function square(operation: string, uplo: Flag, n: number, a: Real, aOffset: number, lda: number, strideA = 0, count = 1) {
  flag(operation, 'uplo', uplo);
  size(operation, 'n', n);
  size(operation, 'count', count);
  real(operation, 'a', a);
  return matrix(operation, 'a', a, aOffset, n, n, lda, strideA, count);
}

/** The right-hand sides of a solve with the n x n factor a. */
function rightSides(
  operation: string, n: number, nrhs: number, a: Real, aOffset: number, lda: number, strideA: number,
  b: Real, bOffset: number, ldb: number, strideB: number, count: number,
): void {
  size(operation, 'n', n);
  size(operation, 'nrhs', nrhs);
  size(operation, 'count', count);
  real(operation, 'a', a);
  real(operation, 'b', b, a);
  const factor = matrix(operation, 'a', a, aOffset, n, n, lda, strideA, count);
  apart(operation, matrix(operation, 'b', b, bOffset, n, nrhs, ldb, strideB, count), factor);
}

/** The plain TypeScript kernels. */
export const fallback: Kernels = {
  info() {
    return {
      backend: 'typescript',
      version: `plain TypeScript kernels on ${process.release.name} ${process.version}`,
      core: 'none',
      threads: 1,
      maxThreads: 1,
      simd: 'none',
      file: null,
    };
  },

  setThreads(threads) {
    size('setThreads', 'threads', threads, 1);
    return 1;
  },

  // --- BLAS ---------------------------------------------------------------------------------------

  gemm(transA, transB, m, n, k, alpha, a, aOffset, lda, b, bOffset, ldb, beta, c, cOffset, ldc) {
    multiply('gemm', transA, transB, m, n, k, alpha, a, aOffset, lda, 0, b, bOffset, ldb, 0, beta, c, cOffset, ldc, 0, 1);
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
    const input = vector('gemv', 'x', x, xOffset, trans ? m : n, incx);
    apart('gemv', vector('gemv', 'y', y, yOffset, trans ? n : m, incy), left, input);
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
    triangular('trsm', trsmCore, side, uplo, trans, unitDiagonal, m, n, alpha, a, aOffset, lda, 0, b, bOffset, ldb, 0, 1);
  },

  trmm(side, uplo, trans, unitDiagonal, m, n, alpha, a, aOffset, lda, b, bOffset, ldb) {
    triangular('trmm', trmmCore, side, uplo, trans, unitDiagonal, m, n, alpha, a, aOffset, lda, 0, b, bOffset, ldb, 0, 1);
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

  // --- LAPACK -------------------------------------------------------------------------------------

  potrf(uplo, n, a, aOffset, lda) {
    square('potrf', uplo, n, a, aOffset, lda);
    return potrfCore(uplo, n, a, aOffset, lda);
  },

  potrs(uplo, n, nrhs, a, aOffset, lda, b, bOffset, ldb) {
    flag('potrs', 'uplo', uplo);
    rightSides('potrs', n, nrhs, a, aOffset, lda, 0, b, bOffset, ldb, 0, 1);
    potrsCore(uplo, n, nrhs, a, aOffset, lda, b, bOffset, ldb);
  },

  potri(uplo, n, a, aOffset, lda) {
    square('potri', uplo, n, a, aOffset, lda);
    return potriCore(uplo, n, a, aOffset, lda);
  },

  sytrf(uplo, n, a, aOffset, lda, pivots, pivotsOffset) {
    const block = square('sytrf', uplo, n, a, aOffset, lda);
    kind('sytrf', 'pivots', pivots, Int32Array);
    apart('sytrf', block, vector('sytrf', 'pivots', pivots, pivotsOffset, n));
    return sytrfCore(uplo, n, a, aOffset, lda, pivots, pivotsOffset);
  },

  sytrs(uplo, n, nrhs, a, aOffset, lda, pivots, pivotsOffset, b, bOffset, ldb) {
    flag('sytrs', 'uplo', uplo);
    rightSides('sytrs', n, nrhs, a, aOffset, lda, 0, b, bOffset, ldb, 0, 1);
    checkPivots('sytrs', n, pivots, pivotsOffset, true);
    sytrsCore(uplo, n, nrhs, a, aOffset, lda, pivots, pivotsOffset, b, bOffset, ldb);
  },

  sytri(uplo, n, a, aOffset, lda, pivots, pivotsOffset) {
    square('sytri', uplo, n, a, aOffset, lda);
    checkPivots('sytri', n, pivots, pivotsOffset, true);
    return sytriCore(uplo, n, a, aOffset, lda, pivots, pivotsOffset);
  },

  sytrfInertia(uplo, n, a, aOffset, lda, pivots, pivotsOffset, out) {
    square('sytrfInertia', uplo, n, a, aOffset, lda);
    checkPivots('sytrfInertia', n, pivots, pivotsOffset, true);
    kind('sytrfInertia', 'out', out, Float64Array);
    vector('sytrfInertia', 'out', out, 0, 6);
    sytrfInertiaCore(uplo, n, a, aOffset, lda, pivots, pivotsOffset, out);
  },

  sytrfHalfSolve(n, nrhs, a, aOffset, lda, pivots, pivotsOffset, b, bOffset, ldb) {
    rightSides('sytrfHalfSolve', n, nrhs, a, aOffset, lda, 0, b, bOffset, ldb, 0, 1);
    checkPivots('sytrfHalfSolve', n, pivots, pivotsOffset, true);
    return halfSolveCore(n, nrhs, a, aOffset, lda, pivots, pivotsOffset, b, bOffset, ldb);
  },

  sytrfHalfSolveTransposed(n, nrhs, a, aOffset, lda, pivots, pivotsOffset, b, bOffset, ldb) {
    rightSides('sytrfHalfSolveTransposed', n, nrhs, a, aOffset, lda, 0, b, bOffset, ldb, 0, 1);
    checkPivots('sytrfHalfSolveTransposed', n, pivots, pivotsOffset, true);
    return halfSolveTransposedCore(n, nrhs, a, aOffset, lda, pivots, pivotsOffset, b, bOffset, ldb);
  },

  getrf(m, n, a, aOffset, lda, pivots, pivotsOffset) {
    size('getrf', 'm', m);
    size('getrf', 'n', n);
    real('getrf', 'a', a);
    const block = matrix('getrf', 'a', a, aOffset, m, n, lda);
    kind('getrf', 'pivots', pivots, Int32Array);
    apart('getrf', block, vector('getrf', 'pivots', pivots, pivotsOffset, Math.min(m, n)));
    return getrfCore(m, n, a, aOffset, lda, pivots, pivotsOffset);
  },

  getrs(trans, n, nrhs, a, aOffset, lda, pivots, pivotsOffset, b, bOffset, ldb) {
    flag('getrs', 'trans', trans);
    rightSides('getrs', n, nrhs, a, aOffset, lda, 0, b, bOffset, ldb, 0, 1);
    checkPivots('getrs', n, pivots, pivotsOffset, false);
    getrsCore(trans, n, nrhs, a, aOffset, lda, pivots, pivotsOffset, b, bOffset, ldb);
  },

  gesv(n, nrhs, a, aOffset, lda, pivots, pivotsOffset, b, bOffset, ldb) {
    rightSides('gesv', n, nrhs, a, aOffset, lda, 0, b, bOffset, ldb, 0, 1);
    kind('gesv', 'pivots', pivots, Int32Array);
    const exchanges = vector('gesv', 'pivots', pivots, pivotsOffset, n);
    apart('gesv', exchanges, matrix('gesv', 'a', a, aOffset, n, n, lda), matrix('gesv', 'b', b, bOffset, n, nrhs, ldb));
    const info = getrfCore(n, n, a, aOffset, lda, pivots, pivotsOffset);
    if (info === 0) getrsCore(0, n, nrhs, a, aOffset, lda, pivots, pivotsOffset, b, bOffset, ldb);
    return info;
  },

  syevd(vectors, uplo, n, a, aOffset, lda, w, wOffset) {
    flag('syevd', 'vectors', vectors);
    const block = square('syevd', uplo, n, a, aOffset, lda);
    real('syevd', 'w', w, a);
    apart('syevd', vector('syevd', 'w', w, wOffset, n), block);
    return syevdCore(vectors, uplo, n, a, aOffset, lda, w, wOffset);
  },

  qr(m, n, a, aOffset, lda, r, rOffset, ldr) {
    size('qr', 'm', m);
    size('qr', 'n', n);
    if (m < n) failRange('qr', 'm', `an integer >= n = ${n}`, m);
    real('qr', 'a', a);
    real('qr', 'r', r, a);
    const block = matrix('qr', 'a', a, aOffset, m, n, lda);
    apart('qr', matrix('qr', 'r', r, rOffset, n, n, ldr), block);
    qrCore(m, n, a, aOffset, lda, r, rOffset, ldr);
  },

  // --- strided batches ------------------------------------------------------------------------------

  gemmBatch(transA, transB, m, n, k, alpha, a, aOffset, lda, strideA, b, bOffset, ldb, strideB, beta, c, cOffset, ldc, strideC, count) {
    multiply('gemmBatch', transA, transB, m, n, k, alpha, a, aOffset, lda, strideA, b, bOffset, ldb, strideB, beta, c, cOffset, ldc, strideC, count);
  },

  syrkBatch(uplo, trans, n, k, alpha, a, aOffset, lda, strideA, beta, c, cOffset, ldc, strideC, count) {
    rankUpdate('syrkBatch', uplo, trans, n, k, alpha, a, aOffset, lda, strideA, beta, c, cOffset, ldc, strideC, count);
  },

  trsmBatch(side, uplo, trans, unitDiagonal, m, n, alpha, a, aOffset, lda, strideA, b, bOffset, ldb, strideB, count) {
    triangular('trsmBatch', trsmCore, side, uplo, trans, unitDiagonal, m, n, alpha, a, aOffset, lda, strideA, b, bOffset, ldb, strideB, count);
  },

  potrfBatch(uplo, n, a, aOffset, lda, strideA, count) {
    apart('potrfBatch', square('potrfBatch', uplo, n, a, aOffset, lda, strideA, count));
    let first = 0;
    for (let t = 0; t < count; t++) {
      const info = potrfCore(uplo, n, a, aOffset + t * strideA, lda);
      if (first === 0) first = info;
    }
    return first;
  },

  potrsBatch(uplo, n, nrhs, a, aOffset, lda, strideA, b, bOffset, ldb, strideB, count) {
    flag('potrsBatch', 'uplo', uplo);
    rightSides('potrsBatch', n, nrhs, a, aOffset, lda, strideA, b, bOffset, ldb, strideB, count);
    for (let t = 0; t < count; t++) potrsCore(uplo, n, nrhs, a, aOffset + t * strideA, lda, b, bOffset + t * strideB, ldb);
  },

  sytrfBatch(uplo, n, a, aOffset, lda, strideA, pivots, pivotsOffset, stridePivots, count) {
    const block = square('sytrfBatch', uplo, n, a, aOffset, lda, strideA, count);
    kind('sytrfBatch', 'pivots', pivots, Int32Array);
    const exchanges = vector('sytrfBatch', 'pivots', pivots, pivotsOffset, n, 1, stridePivots, count);
    apart('sytrfBatch', block);
    apart('sytrfBatch', exchanges, block);
    let first = 0;
    for (let t = 0; t < count; t++) {
      const info = sytrfCore(uplo, n, a, aOffset + t * strideA, lda, pivots, pivotsOffset + t * stridePivots);
      if (first === 0) first = info;
    }
    return first;
  },

  sytrsBatch(uplo, n, nrhs, a, aOffset, lda, strideA, pivots, pivotsOffset, stridePivots, b, bOffset, ldb, strideB, count) {
    flag('sytrsBatch', 'uplo', uplo);
    rightSides('sytrsBatch', n, nrhs, a, aOffset, lda, strideA, b, bOffset, ldb, strideB, count);
    checkPivots('sytrsBatch', n, pivots, pivotsOffset, true, stridePivots, count);
    for (let t = 0; t < count; t++) {
      sytrsCore(uplo, n, nrhs, a, aOffset + t * strideA, lda, pivots, pivotsOffset + t * stridePivots, b, bOffset + t * strideB, ldb);
    }
  },

  getrfBatch(m, n, a, aOffset, lda, strideA, pivots, pivotsOffset, stridePivots, count) {
    size('getrfBatch', 'm', m);
    size('getrfBatch', 'n', n);
    size('getrfBatch', 'count', count);
    real('getrfBatch', 'a', a);
    const block = matrix('getrfBatch', 'a', a, aOffset, m, n, lda, strideA, count);
    kind('getrfBatch', 'pivots', pivots, Int32Array);
    const exchanges = vector('getrfBatch', 'pivots', pivots, pivotsOffset, Math.min(m, n), 1, stridePivots, count);
    apart('getrfBatch', block);
    apart('getrfBatch', exchanges, block);
    let first = 0;
    for (let t = 0; t < count; t++) {
      const info = getrfCore(m, n, a, aOffset + t * strideA, lda, pivots, pivotsOffset + t * stridePivots);
      if (first === 0) first = info;
    }
    return first;
  },

  getrsBatch(trans, n, nrhs, a, aOffset, lda, strideA, pivots, pivotsOffset, stridePivots, b, bOffset, ldb, strideB, count) {
    flag('getrsBatch', 'trans', trans);
    rightSides('getrsBatch', n, nrhs, a, aOffset, lda, strideA, b, bOffset, ldb, strideB, count);
    checkPivots('getrsBatch', n, pivots, pivotsOffset, false, stridePivots, count);
    for (let t = 0; t < count; t++) {
      getrsCore(trans, n, nrhs, a, aOffset + t * strideA, lda, pivots, pivotsOffset + t * stridePivots, b, bOffset + t * strideB, ldb);
    }
  },

  // --- fused and data-movement kernels ---------------------------------------------------------------

  transpose(m, n, a, aOffset, lda, b, bOffset, ldb) {
    size('transpose', 'm', m);
    size('transpose', 'n', n);
    real('transpose', 'a', a);
    real('transpose', 'b', b, a);
    const input = matrix('transpose', 'a', a, aOffset, m, n, lda);
    apart('transpose', matrix('transpose', 'b', b, bOffset, n, m, ldb), input);
    transposeCore(m, n, a, aOffset, lda, b, bOffset, ldb);
  },

  symmetrize(uplo, n, a, aOffset, lda) {
    square('symmetrize', uplo, n, a, aOffset, lda);
    symmetrizeCore(uplo, n, a, aOffset, lda);
  },

  scaleSymmetric(n, a, aOffset, lda, d, dOffset, c, cOffset, b, bOffset, ldb) {
    const operation = 'scaleSymmetric';
    size(operation, 'n', n);
    real(operation, 'a', a);
    if (d !== null) real(operation, 'd', d, a);
    if (c !== null) real(operation, 'c', c, a);
    real(operation, 'b', b, a);
    const input = matrix(operation, 'a', a, aOffset, n, n, lda);
    const scale = d === null ? null : vector(operation, 'd', d, dOffset, n);
    const shift = c === null ? null : vector(operation, 'c', c, cOffset, n);
    const inPlace = a === b && aOffset === bOffset && lda === ldb;
    apart(operation, matrix(operation, 'b', b, bOffset, n, n, ldb), inPlace ? null : input, scale, shift);
    scaleSymmetricCore(n, a, aOffset, lda, d, dOffset, c, cOffset, b, bOffset, ldb);
  },

  scaleRows(side, m, n, d, dOffset, a, aOffset, lda, b, bOffset, ldb) {
    const operation = 'scaleRows';
    flag(operation, 'side', side);
    size(operation, 'm', m);
    size(operation, 'n', n);
    real(operation, 'a', a);
    real(operation, 'd', d, a);
    real(operation, 'b', b, a);
    const input = matrix(operation, 'a', a, aOffset, m, n, lda);
    const scale = vector(operation, 'd', d, dOffset, side ? n : m);
    const inPlace = a === b && aOffset === bOffset && lda === ldb;
    apart(operation, matrix(operation, 'b', b, bOffset, m, n, ldb), inPlace ? null : input, scale);
    scaleRowsCore(side, m, n, d, dOffset, a, aOffset, lda, b, bOffset, ldb);
  },

  activate(code, rows, cols, s, sOffset, bias, biasOffset, residual, residualOffset, z, zOffset, d1, d1Offset, d2, d2Offset) {
    const operation = 'activate';
    const last = Object.keys(activationCodes).length - 1;
    size(operation, 'code', code);
    if (code > last) failRange(operation, 'code', `an integer from 0 to ${last}`, code);
    size(operation, 'rows', rows);
    size(operation, 'cols', cols);
    const n = rows * cols;
    real(operation, 's', s);
    const block = (name: string, array: Real | null, offset: number, length: number) => {
      if (array === null) return null;
      real(operation, name, array, s);
      return vector(operation, name, array, offset, length);
    };
    const state = vector(operation, 's', s, sOffset, n);
    const inputs = [block('bias', bias, biasOffset, cols), block('residual', residual, residualOffset, n)];
    const outputs = [block('z', z, zOffset, n), block('d1', d1, d1Offset, n), block('d2', d2, d2Offset, n)];
    apart(operation, state, ...inputs);
    outputs.forEach((output, i) => {
      if (output !== null) apart(operation, output, state, ...inputs, ...outputs.slice(i + 1));
    });
    activateCore(code, rows, cols, s, sOffset, bias, biasOffset, residual, residualOffset, z, zOffset, d1, d1Offset, d2, d2Offset);
  },

  hadamard(accumulate, n, x, xOffset, y, yOffset, out, outOffset) {
    const operation = 'hadamard';
    flag(operation, 'accumulate', accumulate);
    size(operation, 'n', n);
    real(operation, 'x', x);
    real(operation, 'y', y, x);
    real(operation, 'out', out, x);
    const left = vector(operation, 'x', x, xOffset, n);
    const right = vector(operation, 'y', y, yOffset, n);
    const output = vector(operation, 'out', out, outOffset, n);
    apart(operation, output, out === x && outOffset === xOffset ? null : left, out === y && outOffset === yOffset ? null : right);
    hadamardCore(accumulate, n, x, xOffset, y, yOffset, out, outOffset);
  },

  columnSums(accumulate, rows, cols, a, aOffset, lda, out, outOffset) {
    const operation = 'columnSums';
    flag(operation, 'accumulate', accumulate);
    size(operation, 'rows', rows);
    size(operation, 'cols', cols);
    real(operation, 'a', a);
    real(operation, 'out', out, a);
    const input = matrix(operation, 'a', a, aOffset, rows, cols, lda);
    apart(operation, vector(operation, 'out', out, outOffset, cols), input);
    columnSumsCore(accumulate, rows, cols, a, aOffset, lda, out, outOffset);
  },

  jacobianGram(samples, outputs, layers, shift, scale, widths, d, dOffsets, gram, gramOffsets, c, cOffset, ldc) {
    const operation = 'jacobianGram';
    size(operation, 'samples', samples);
    size(operation, 'outputs', outputs);
    size(operation, 'layers', layers);
    scalar(operation, 'shift', shift);
    kind(operation, 'scale', scale, Float64Array);
    kind(operation, 'widths', widths, Int32Array);
    kind(operation, 'dOffsets', dOffsets, Float64Array);
    kind(operation, 'gramOffsets', gramOffsets, Float64Array);
    real(operation, 'd', d);
    real(operation, 'gram', gram, d);
    real(operation, 'c', c, d);
    vector(operation, 'scale', scale, 0, layers);
    vector(operation, 'widths', widths, 0, layers);
    vector(operation, 'dOffsets', dOffsets, 0, layers);
    vector(operation, 'gramOffsets', gramOffsets, 0, layers);
    const rows = samples * outputs;
    const output = matrix(operation, 'c', c, cOffset, rows, rows, ldc);
    for (let l = 0; l < layers; l++) {
      size(operation, `widths[${l}]`, widths[l]);
      apart(operation, output, matrix(operation, 'd', d, dOffsets[l], rows, widths[l], Math.max(1, rows)));
      apart(operation, output, matrix(operation, 'gram', gram, gramOffsets[l], samples, samples, Math.max(1, samples)));
    }
    jacobianGramCore(samples, outputs, layers, shift, scale, widths, d, dOffsets, gram, gramOffsets, c, cOffset, ldc);
  },

  adamStep(n, params, gradient, m, v, rate, beta1, beta2, correction1, correction2, epsilon, weightDecay) {
    const operation = 'adamStep';
    size(operation, 'n', n);
    const scalars = { rate, beta1, beta2, correction1, correction2, epsilon, weightDecay };
    for (const [name, value] of Object.entries(scalars)) scalar(operation, name, value);
    real(operation, 'params', params);
    real(operation, 'gradient', gradient, params);
    real(operation, 'm', m, params);
    real(operation, 'v', v, params);
    const g = vector(operation, 'gradient', gradient, 0, n);
    const p = vector(operation, 'params', params, 0, n);
    const first = vector(operation, 'm', m, 0, n);
    const second = vector(operation, 'v', v, 0, n);
    apart(operation, p, g, first, second);
    apart(operation, first, g, second);
    apart(operation, second, g);
    adamStepCore(n, params, gradient, m, v, rate, beta1, beta2, correction1, correction2, epsilon, weightDecay);
  },

  sgdStep(n, params, gradient, velocity, rate, momentum, nesterov, weightDecay) {
    const operation = 'sgdStep';
    size(operation, 'n', n);
    for (const [name, value] of Object.entries({ rate, momentum, weightDecay })) scalar(operation, name, value);
    flag(operation, 'nesterov', nesterov);
    real(operation, 'params', params);
    real(operation, 'gradient', gradient, params);
    real(operation, 'velocity', velocity, params);
    const g = vector(operation, 'gradient', gradient, 0, n);
    const p = vector(operation, 'params', params, 0, n);
    const v = vector(operation, 'velocity', velocity, 0, n);
    apart(operation, p, g, v);
    apart(operation, v, g);
    sgdStepCore(n, params, gradient, velocity, rate, momentum, nesterov, weightDecay);
  },
};
