/**
 * Checks that several kernels share, and the kernels whose single and batched forms are one loop.
 */
import { apart, type Batch, flag, kind, matrix, real, scalar, single, size, vector } from './checks.js';
import { failRange } from '../../checks.js';
import { gemmCore, syrkCore, type trsmCore } from './blas.js';
import type { Flag, Real } from '../kernels.js';

/** Checks the pivots of a factor: in range, so that a foreign array cannot send a row exchange out of bounds. */
export function checkPivots(
  operation: string,
  n: number,
  pivots: Int32Array,
  offset: number,
  paired: boolean,
  ...batch: Batch
): void {
  const [stride, count] = batch.length === 0 ? single : batch;
  kind(operation, 'pivots', pivots, Int32Array);
  vector(operation, 'pivots', pivots, offset, n, stride, count);
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

export function multiply(
  operation: string,
  transA: Flag,
  transB: Flag,
  m: number,
  n: number,
  k: number,
  alpha: number,
  a: Real,
  aOffset: number,
  lda: number,
  strideA: number,
  b: Real,
  bOffset: number,
  ldb: number,
  strideB: number,
  beta: number,
  c: Real,
  cOffset: number,
  ldc: number,
  strideC: number,
  count: number,
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
    gemmCore(
      transA,
      transB,
      m,
      n,
      k,
      alpha,
      a,
      aOffset + t * strideA,
      lda,
      b,
      bOffset + t * strideB,
      ldb,
      beta,
      c,
      cOffset + t * strideC,
      ldc,
    );
  }
}

export function rankUpdate(
  operation: string,
  uplo: Flag,
  trans: Flag,
  n: number,
  k: number,
  alpha: number,
  a: Real,
  aOffset: number,
  lda: number,
  strideA: number,
  beta: number,
  c: Real,
  cOffset: number,
  ldc: number,
  strideC: number,
  count: number,
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

export function triangular(
  operation: string,
  core: typeof trsmCore,
  side: Flag,
  uplo: Flag,
  trans: Flag,
  unitDiagonal: Flag,
  m: number,
  n: number,
  alpha: number,
  a: Real,
  aOffset: number,
  lda: number,
  strideA: number,
  b: Real,
  bOffset: number,
  ldb: number,
  strideB: number,
  count: number,
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
export function square(
  operation: string,
  uplo: Flag,
  n: number,
  a: Real,
  aOffset: number,
  lda: number,
  ...items: [] | [strideA: number, count: number]
) {
  flag(operation, 'uplo', uplo);
  size(operation, 'n', n);
  if (items.length > 0) size(operation, 'count', items[1] as number);
  real(operation, 'a', a);
  return matrix(operation, 'a', a, aOffset, n, n, lda, ...items);
}

/** The right-hand sides of a solve with the n x n factor a. */
export function rightSides(
  operation: string,
  n: number,
  nrhs: number,
  a: Real,
  aOffset: number,
  lda: number,
  strideA: number,
  b: Real,
  bOffset: number,
  ldb: number,
  strideB: number,
  count: number,
): void {
  size(operation, 'n', n);
  size(operation, 'nrhs', nrhs);
  size(operation, 'count', count);
  real(operation, 'a', a);
  real(operation, 'b', b, a);
  const factor = matrix(operation, 'a', a, aOffset, n, n, lda, strideA, count);
  apart(operation, matrix(operation, 'b', b, bOffset, n, nrhs, ldb, strideB, count), factor);
}
