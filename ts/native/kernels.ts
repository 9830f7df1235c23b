/**
 * The closed list of dense kernels. Two implementations satisfy it: the C++ addon over OpenBLAS and
 * the plain TypeScript fallback, which is also the oracle of the kernel tests.
 *
 * Storage. Matrices are column-major in a typed array `a`, first element at `aOffset`, leading
 * dimension `lda`: element (i, j) is `a[aOffset + i + j * lda]`. All arrays of one call have one
 * type, Float64Array or Float32Array. Pivot arrays are Int32Array with LAPACK's 1-based contents.
 *
 * Checks. Every implementation checks types, bounds, leading dimensions and that an output does not
 * overlap an input, before any work: a wrong call throws TypeError or RangeError and changes nothing.
 *
 * Status. Factorizations return LAPACK's `info`: 0, or i > 0 when pivot i is zero (sytrf, getrf) or
 * not positive (potrf). They do not throw for it.
 */

export type Real = Float64Array | Float32Array;

/** Transpose flags, triangles and sides are small integers: cheap to pass across the border. */
export const No = 0, Yes = 1;
export const Lower = 0, Upper = 1;
export const Left = 0, Right = 1;
export type Flag = 0 | 1;

/** Activation codes of {@link Kernels.activate}. The order is part of the native ABI. */
export const activationCodes = {
  identity: 0, tanh: 1, sigmoid: 2, softplus: 3, gelu: 4, silu: 5, sine: 6, relu: 7,
} as const;
/** Name of a built-in activation. */
export type ActivationName = keyof typeof activationCodes;

/** What is loaded and how fast it may be. */
export interface KernelInfo {
  /** 'openblas' or 'typescript' */
  backend: 'openblas' | 'typescript';
  /** BLAS version and build string, or a sentence for the fallback */
  version: string;
  /** OpenBLAS core type chosen at run time, e.g. 'Zen', 'SkylakeX' */
  core: string;
  /** BLAS threads now in use */
  threads: number;
  /** most BLAS threads this build supports */
  maxThreads: number;
  /** SIMD set used by the fused kernels: 'avx512', 'avx2', 'neon', 'baseline' or 'none' */
  simd: string;
  /** the file that was loaded, or null */
  file: string | null;
}

/* eslint-disable max-params -- BLAS signatures */
/**
 * Dense kernels on column-major float64 or float32 arrays, as in BLAS and LAPACK (Anderson et al. 1999, LAPACK Users'
 * Guide): every matrix is an array, an offset and a leading dimension, in elements. Misuse throws TypeError or
 * RangeError; numerical failure is the returned info (> 0), never an exception.
 */
export interface Kernels {
  /** What was loaded: see {@link KernelInfo}. */
  info(): KernelInfo;
  /** Sets the BLAS thread count of the process (>= 1); returns the count now in force. */
  setThreads(threads: number): number;

  // --- BLAS ---------------------------------------------------------------------------------------
  /** C := alpha op(A) op(B) + beta C;  op(A) is m x k, op(B) k x n. beta = 0 overwrites (NaN in C is ignored). */
  gemm(transA: Flag, transB: Flag, m: number, n: number, k: number, alpha: number,
    a: Real, aOffset: number, lda: number, b: Real, bOffset: number, ldb: number,
    beta: number, c: Real, cOffset: number, ldc: number): void;
  /** y := alpha op(A) x + beta y;  A is m x n. Increments >= 1. */
  gemv(trans: Flag, m: number, n: number, alpha: number, a: Real, aOffset: number, lda: number,
    x: Real, xOffset: number, incx: number, beta: number, y: Real, yOffset: number, incy: number): void;
  /** One triangle of C := alpha A A^T + beta C (trans = No, A n x k) or alpha A^T A + beta C (Yes, A k x n). */
  syrk(uplo: Flag, trans: Flag, n: number, k: number, alpha: number, a: Real, aOffset: number, lda: number,
    beta: number, c: Real, cOffset: number, ldc: number): void;
  /** C := alpha A B + beta C (Left) or alpha B A + beta C (Right); A symmetric, one triangle read; C m x n. */
  symm(side: Flag, uplo: Flag, m: number, n: number, alpha: number, a: Real, aOffset: number, lda: number,
    b: Real, bOffset: number, ldb: number, beta: number, c: Real, cOffset: number, ldc: number): void;
  /** B := alpha op(A)^-1 B (Left) or alpha B op(A)^-1 (Right); A triangular; B m x n. */
  trsm(side: Flag, uplo: Flag, trans: Flag, unitDiagonal: Flag, m: number, n: number, alpha: number,
    a: Real, aOffset: number, lda: number, b: Real, bOffset: number, ldb: number): void;
  /** B := alpha op(A) B (Left) or alpha B op(A) (Right); A triangular; B m x n. */
  trmm(side: Flag, uplo: Flag, trans: Flag, unitDiagonal: Flag, m: number, n: number, alpha: number,
    a: Real, aOffset: number, lda: number, b: Real, bOffset: number, ldb: number): void;
  /** x^T y over n elements. */
  dot(n: number, x: Real, xOffset: number, y: Real, yOffset: number): number;
  /** Euclidean norm, safe against overflow. */
  nrm2(n: number, x: Real, xOffset: number): number;
  /** y := alpha x + y */
  axpy(n: number, alpha: number, x: Real, xOffset: number, y: Real, yOffset: number): void;

  // --- LAPACK -------------------------------------------------------------------------------------
  /**
   * Cholesky A = L L^T (Lower) or U^T U (Upper) in place; returns 0, or the order of the first leading minor that is
   * not positive definite.
   */
  potrf(uplo: Flag, n: number, a: Real, aOffset: number, lda: number): number;
  /** B (n x nrhs) := A^-1 B with a potrf factor. */
  potrs(uplo: Flag, n: number, nrhs: number, a: Real, aOffset: number, lda: number, b: Real, bOffset: number, ldb: number): void;
  /**
   * One triangle of A^-1 from a potrf factor, in place; returns 0, or the index (from 1) of a zero diagonal element.
   */
  potri(uplo: Flag, n: number, a: Real, aOffset: number, lda: number): number;
  /** Bunch-Kaufman P A P^T = L D L^T. */
  sytrf(uplo: Flag, n: number, a: Real, aOffset: number, lda: number, pivots: Int32Array, pivotsOffset: number): number;
  /** B (n x nrhs) := A^-1 B with a sytrf factor. */
  sytrs(uplo: Flag, n: number, nrhs: number, a: Real, aOffset: number, lda: number, pivots: Int32Array, pivotsOffset: number,
    b: Real, bOffset: number, ldb: number): void;
  /** One triangle of A^-1 from a sytrf factor, in place; returns 0, or the index (from 1) of a zero pivot. */
  sytri(uplo: Flag, n: number, a: Real, aOffset: number, lda: number, pivots: Int32Array, pivotsOffset: number): number;
  /**
   * Reads D of a sytrf factor. Fills out[0..4] = (positive, negative, zero eigenvalue counts, log|det|,
   * smallest |eigenvalue of a pivot block|, largest), so out needs 6 places.
   */
  sytrfInertia(uplo: Flag, n: number, a: Real, aOffset: number, lda: number, pivots: Int32Array, pivotsOffset: number,
    out: Float64Array): void;
  /**
   * Half solve with a lower sytrf factor: B (n x nrhs) := |D|^-1/2 Q^T L^-1 P B, where D = Q diag(+-) Q^T, rows with
   * positive pivots first (in pivot order), then the negative. Returns the number of positive rows s, so that
   * B_old^T A^-1 B_old = B_new[0..s)^T B_new[0..s) - B_new[s..n)^T B_new[s..n).
   */
  sytrfHalfSolve(n: number, nrhs: number, a: Real, aOffset: number, lda: number, pivots: Int32Array, pivotsOffset: number,
    b: Real, bOffset: number, ldb: number): number;
  /**
   * The transposed half: B := P^T L^-T Q |D|^-1/2 B for B whose rows are in the order that sytrfHalfSolve leaves.
   * A^-1 = (transposed half) diag(I_s, -I) (half).
   */
  sytrfHalfSolveTransposed(n: number, nrhs: number, a: Real, aOffset: number, lda: number, pivots: Int32Array, pivotsOffset: number,
    b: Real, bOffset: number, ldb: number): number;
  /**
   * P A = L U of m x n in place with partial pivoting; pivots[i] from 1. Returns 0, or the index (from 1) of the
   * first zero pivot.
   */
  getrf(m: number, n: number, a: Real, aOffset: number, lda: number, pivots: Int32Array, pivotsOffset: number): number;
  /** B (n x nrhs) := op(A)^-1 B with a getrf factor. */
  getrs(trans: Flag, n: number, nrhs: number, a: Real, aOffset: number, lda: number, pivots: Int32Array, pivotsOffset: number,
    b: Real, bOffset: number, ldb: number): void;
  /** B (n x nrhs) := A^-1 B; A is overwritten by its getrf factor. Returns info as getrf does. */
  gesv(n: number, nrhs: number, a: Real, aOffset: number, lda: number, pivots: Int32Array, pivotsOffset: number,
    b: Real, bOffset: number, ldb: number): number;
  /** Eigenvalues ascending into w; with vectors = Yes, A is overwritten by orthonormal eigenvectors (columns). */
  syevd(vectors: Flag, uplo: Flag, n: number, a: Real, aOffset: number, lda: number, w: Real, wOffset: number): number;
  /** Householder QR of m x n, m >= n: on return A holds the orthonormal Q (m x n), R the upper triangle (n x n, zeros below). */
  qr(m: number, n: number, a: Real, aOffset: number, lda: number, r: Real, rOffset: number, ldr: number): void;

  // --- strided batches: `count` problems, item i at offset + i * stride; a stride of 0 shares an input -------
  /** gemm over a batch. */
  gemmBatch(transA: Flag, transB: Flag, m: number, n: number, k: number, alpha: number,
    a: Real, aOffset: number, lda: number, strideA: number, b: Real, bOffset: number, ldb: number, strideB: number,
    beta: number, c: Real, cOffset: number, ldc: number, strideC: number, count: number): void;
  /** syrk over a batch. */
  syrkBatch(uplo: Flag, trans: Flag, n: number, k: number, alpha: number, a: Real, aOffset: number, lda: number, strideA: number,
    beta: number, c: Real, cOffset: number, ldc: number, strideC: number, count: number): void;
  /** trsm over a batch. */
  trsmBatch(side: Flag, uplo: Flag, trans: Flag, unitDiagonal: Flag, m: number, n: number, alpha: number,
    a: Real, aOffset: number, lda: number, strideA: number, b: Real, bOffset: number, ldb: number, strideB: number, count: number): void;
  /** The first non-zero info of the batch is returned, all items are processed. */
  potrfBatch(uplo: Flag, n: number, a: Real, aOffset: number, lda: number, strideA: number, count: number): number;
  /** potrs over a batch. */
  potrsBatch(uplo: Flag, n: number, nrhs: number, a: Real, aOffset: number, lda: number, strideA: number,
    b: Real, bOffset: number, ldb: number, strideB: number, count: number): void;
  /** sytrf over a batch; returns the first non-zero info, all items are processed. */
  sytrfBatch(uplo: Flag, n: number, a: Real, aOffset: number, lda: number, strideA: number,
    pivots: Int32Array, pivotsOffset: number, stridePivots: number, count: number): number;
  /** sytrs over a batch. */
  sytrsBatch(uplo: Flag, n: number, nrhs: number, a: Real, aOffset: number, lda: number, strideA: number,
    pivots: Int32Array, pivotsOffset: number, stridePivots: number, b: Real, bOffset: number, ldb: number, strideB: number, count: number): void;
  /** getrf over a batch; returns the first non-zero info, all items are processed. */
  getrfBatch(m: number, n: number, a: Real, aOffset: number, lda: number, strideA: number,
    pivots: Int32Array, pivotsOffset: number, stridePivots: number, count: number): number;
  /** getrs over a batch. */
  getrsBatch(trans: Flag, n: number, nrhs: number, a: Real, aOffset: number, lda: number, strideA: number,
    pivots: Int32Array, pivotsOffset: number, stridePivots: number, b: Real, bOffset: number, ldb: number, strideB: number, count: number): void;

  // --- fused and data-movement kernels -----------------------------------------------------------------
  /** B (n x m) := A^T, A m x n; cache-blocked. */
  transpose(m: number, n: number, a: Real, aOffset: number, lda: number, b: Real, bOffset: number, ldb: number): void;
  /** Copies the stored triangle `uplo` onto the other one. */
  symmetrize(uplo: Flag, n: number, a: Real, aOffset: number, lda: number): void;
  /** B := diag(d) A diag(d) + diag(c), all n x n (full storage). A and B may be the same array and offset. d or c may be null (ones, zeros). */
  scaleSymmetric(n: number, a: Real, aOffset: number, lda: number, d: Real | null, dOffset: number, c: Real | null, cOffset: number,
    b: Real, bOffset: number, ldb: number): void;
  /** B := diag(d) A (Left) or A diag(d) (Right); m x n. A and B may be the same. */
  scaleRows(side: Flag, m: number, n: number, d: Real, dOffset: number, a: Real, aOffset: number, lda: number, b: Real, bOffset: number, ldb: number): void;
  /**
   * Element-wise activation of a rows x cols block held contiguously (column-major, ld = rows):
   * s := s + bias[col] (bias null: no bias), z := act(s), d1 := act'(s), d2 := act''(s).
   * z, d1, d2 may each be null (not wanted). With `residual` (same shape, or null): z := residual + act(s).
   * s is overwritten with the biased pre-activation. Accurate to a few ulp, no overflow for any finite s.
   */
  activate(code: number, rows: number, cols: number, s: Real, sOffset: number, bias: Real | null, biasOffset: number,
    residual: Real | null, residualOffset: number, z: Real | null, zOffset: number, d1: Real | null, d1Offset: number, d2: Real | null, d2Offset: number): void;
  /** out := x * y element-wise (accumulate = No) or out += x * y (Yes). out may equal x or y. */
  hadamard(accumulate: Flag, n: number, x: Real, xOffset: number, y: Real, yOffset: number, out: Real, outOffset: number): void;
  /** out[j] := sum_i A(i, j) (+ out[j] with accumulate); A rows x cols with leading dimension lda. */
  columnSums(accumulate: Flag, rows: number, cols: number, a: Real, aOffset: number, lda: number, out: Real, outOffset: number): void;
  /**
   * The sample-space Gauss-Newton matrix (algorithms of docs/theory, "Sample space"), lower triangle:
   *   C[(k,n),(j,m)] = shift [row = col] + sum_l scale[l] (sum_i D_l[i][k,n] D_l[i][j,m]) * K_l[n, m]
   * row index k * N + n (k = 0..outputs-1). For each layer l: `d` holds at dOffsets[l] the (outputs*N) x h_l matrix of
   * backpropagated rows (column-major, ld = outputs * N), `gram` at gramOffsets[l] the full N x N Gram of its inputs
   * (with the bias row when there is one). With `inner`, `gram` holds instead at gramOffsets[l] the inputs themselves,
   * Z_l, N x inner[l] (column-major, ld N), and K_l = Z_l Z_l^T is formed tile by tile: no N x N matrix is stored.
   * One tile of C stays in the cache while all layers run through it.
   * Any summation of layers is in order l = 0.., so the result does not depend on the thread count.
   */
  jacobianGram(samples: number, outputs: number, layers: number, shift: number, scale: Float64Array, widths: Int32Array,
    d: Real, dOffsets: Float64Array, gram: Real, gramOffsets: Float64Array, c: Real, cOffset: number, ldc: number,
    inner: Int32Array | null): void;
  /** Adam update (Kingma & Ba 2015), in place: decoupled weight decay, bias corrections passed in. */
  adamStep(n: number, params: Real, gradient: Real, m: Real, v: Real, rate: number, beta1: number, beta2: number,
    correction1: number, correction2: number, epsilon: number, weightDecay: number): void;
  /** Momentum SGD, in place: v := momentum v + g (+ decay p); p -= rate (nesterov ? g + momentum v : v). */
  sgdStep(n: number, params: Real, gradient: Real, velocity: Real, rate: number, momentum: number, nesterov: Flag, weightDecay: number): void;
}
/* eslint-enable max-params */
