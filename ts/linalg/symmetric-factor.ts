/**
 * Factorization of one symmetric n x n matrix, in place, with its inertia and log-determinant.
 *
 * Cholesky (potrf) when the matrix is positive definite, otherwise Bunch-Kaufman (sytrf). Both are
 * used through the same two halves. With A = G diag(I_s, -I_{n-s}) G^T,
 *
 *     half(B)           B := G^-1 B      (rows in the order: s positive pivots, then the negative)
 *     halfTransposed(B) B := G^-T B
 *     A^-1            = G^-T diag(I_s, -I) G^-1
 *
 * so a caller forms B^T A^-1 B by two rank-k updates and never needs A^-1.
 */
import { kernels, Left, Lower, No, Upper, Yes, type Real } from '../native/index.js';

/** Numbers of positive, negative and zero eigenvalues. */
export interface Inertia {
  positive: number;
  negative: number;
  zero: number;
}

const facts = new Float64Array(6);

export class SymmetricFactor {
  readonly n: number;
  private readonly a: Real;
  private readonly offset: number;
  private readonly diagonal: Real;
  private readonly pivots: Int32Array;
  private definite = true;

  /** Rows of a half-solved block that carry a plus sign: the first `positive`. */
  positive = 0;
  negative = 0;
  zero = 0;
  logAbsDet = 0;
  /** Smallest and largest modulus of the pivots (Cholesky: squared diagonal). Their ratio shows growth. */
  smallestPivot = 0;
  largestPivot = 0;

  /**
   * @param a storage of n x n numbers from `offset` (default float64), leading dimension n; it stays in use until the next factorization
   * @param diagonal storage of n numbers of the same type
   */
  constructor(
    n: number,
    a: Real = new Float64Array(n * n),
    offset = 0,
    diagonal: Real = a instanceof Float64Array ? new Float64Array(n) : new Float32Array(n),
  ) {
    this.n = n;
    this.a = a;
    this.offset = offset;
    this.diagonal = diagonal;
    this.pivots = new Int32Array(n);
  }

  get bytes(): number {
    return this.a.BYTES_PER_ELEMENT * this.n * (this.n + 1) + 4 * this.n;
  }

  get matrix(): Real {
    return this.a;
  }

  get isDefinite(): boolean {
    return this.definite;
  }

  /**
   * Factors the symmetric matrix now in the storage (both triangles filled).
   * @returns false when it is exactly singular; the halves then must not be used
   */
  factor(): boolean {
    const { n, a, offset, diagonal } = this;
    for (let i = 0, k = offset; i < n; i++, k += n + 1) diagonal[i] = a[k];
    // A non-positive diagonal entry rules Cholesky out before any work.
    let maybeDefinite = true;
    for (let i = 0; i < n; i++) if (!(diagonal[i] > 0)) maybeDefinite = false;
    if (maybeDefinite && kernels.potrf(Lower, n, a, offset, n) === 0) {
      this.definite = true;
      this.positive = n;
      this.negative = 0;
      this.zero = 0;
      let log = 0;
      let smallest = Infinity;
      let largest = 0;
      for (let i = 0, k = offset; i < n; i++, k += n + 1) {
        const pivot = a[k];
        log += Math.log(pivot);
        if (pivot < smallest) smallest = pivot;
        if (pivot > largest) largest = pivot;
      }
      this.logAbsDet = 2 * log;
      this.smallestPivot = smallest * smallest;
      this.largestPivot = largest * largest;
      return true;
    }
    if (maybeDefinite) {
      // potrf has overwritten part of the lower triangle; the upper one still holds the matrix.
      for (let i = 0, k = offset; i < n; i++, k += n + 1) a[k] = diagonal[i];
      kernels.symmetrize(Upper, n, a, offset, n);
    }
    this.definite = false;
    const info = kernels.sytrf(Lower, n, a, offset, n, this.pivots, 0);
    kernels.sytrfInertia(Lower, n, a, offset, n, this.pivots, 0, facts);
    this.positive = facts[0];
    this.negative = facts[1];
    this.zero = facts[2];
    this.logAbsDet = facts[3];
    this.smallestPivot = facts[4];
    this.largestPivot = facts[5];
    return info === 0 && this.zero === 0;
  }

  /** B (n x m, leading dimension n) := G^-1 B. */
  half(b: Real, bOffset: number, m: number): void {
    const { n, a, offset } = this;
    if (this.definite) kernels.trsm(Left, Lower, No, No, n, m, 1, a, offset, n, b, bOffset, n);
    else kernels.sytrfHalfSolve(n, m, a, offset, n, this.pivots, 0, b, bOffset, n);
  }

  /** B (n x m) := G^-T B. */
  halfTransposed(b: Real, bOffset: number, m: number): void {
    const { n, a, offset } = this;
    if (this.definite) kernels.trsm(Left, Lower, Yes, No, n, m, 1, a, offset, n, b, bOffset, n);
    else kernels.sytrfHalfSolveTransposed(n, m, a, offset, n, this.pivots, 0, b, bOffset, n);
  }

  /** B := diag(I_s, -I) B. */
  signs(b: Real, bOffset: number, m: number): void {
    if (this.definite) return;
    const { n, positive } = this;
    for (let j = 0; j < m; j++) {
      for (let i = bOffset + j * n + positive, end = bOffset + (j + 1) * n; i < end; i++) b[i] = -b[i];
    }
  }

  /** B (n x m) := A^-1 B. */
  solve(b: Real, bOffset: number, m: number): void {
    const { n, a, offset } = this;
    if (this.definite) kernels.potrs(Lower, n, m, a, offset, n, b, bOffset, n);
    else kernels.sytrs(Lower, n, m, a, offset, n, this.pivots, 0, b, bOffset, n);
  }

  /** One triangle (lower) of C := C - B^T A^-1 B for a half-solved B (n x m); C has leading dimension m. */
  subtractQuadratic(b: Real, bOffset: number, m: number, c: Real, cOffset: number): void {
    const { n, positive } = this;
    if (positive > 0) kernels.syrk(Lower, Yes, m, positive, -1, b, bOffset, n, 1, c, cOffset, m);
    if (positive < n) kernels.syrk(Lower, Yes, m, n - positive, 1, b, bOffset + positive, n, 1, c, cOffset, m);
  }
}
