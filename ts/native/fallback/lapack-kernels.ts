/**
 * The LAPACK kernels: arguments checked, then handed to one file for each factorization.
 */
import { apart, flag, kind, matrix, real, size, vector } from './checks.js';
import { failRange } from '../../checks.js';
import {
  halfSolveCore,
  halfSolveTransposedCore,
  sytrfCore,
  sytrfInertiaCore,
  sytriCore,
  sytrsCore,
} from './bunch-kaufman.js';
import { potrfCore, potriCore, potrsCore } from './cholesky.js';
import { syevdCore } from './eigen.js';
import { getrfCore, getrsCore } from './lu.js';
import { qrCore } from './qr.js';
import { checkPivots, square, rightSides } from './problems.js';
import type { Kernels } from '../kernels.js';

export const lapackKernels: Pick<
  Kernels,
  | 'potrf'
  | 'potrs'
  | 'potri'
  | 'sytrf'
  | 'sytrs'
  | 'sytri'
  | 'sytrfInertia'
  | 'sytrfHalfSolve'
  | 'sytrfHalfSolveTransposed'
  | 'getrf'
  | 'getrs'
  | 'gesv'
  | 'syevd'
  | 'qr'
> = {
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
};
