/**
 * A Krylov subspace of a symmetric operator A with its projection, kept in arrays that are made once.
 *
 *     V = orthonormal basis of span{v, A v, ..., A^(m-1) v}  (P x m),   T = V^T A V = Y diag(theta) Y^T,
 *     | A V y - theta V y | = beta |y_m|                              (Lanczos 1950; Paige 1971)
 *
 * with every new vector orthogonalised twice against all earlier ones (the basis is short, so that costs little, and Ritz
 * values have no ghosts). For optimizers, which want the shape of the curvature around one vector a step; converged
 * eigenpairs with bounds are the business of lanczos.ts.
 */
import { kernels, Lower, No, Yes } from '../native/index.js';

/** Below this fraction of |A v| what is left after orthogonalisation is rounding: the space is invariant. */
const exhausted = 1e-12;

export class KrylovSubspace {
  /** columns of the basis after {@link build} */
  columns = 0;
  /** Ritz values, ascending, the first `columns` entries */
  readonly theta: Float64Array;
  /** V, P x steps column-major */
  readonly basis: Float64Array;
  /** Y, columns x columns column-major with leading dimension `steps` */
  private readonly y: Float64Array;
  private readonly coefficients: Float64Array;
  private readonly views: Float64Array[] = [];
  private readonly image: Float64Array;
  private beta = 0;

  /** @param size P; @param steps most columns m */
  constructor(
    readonly size: number,
    readonly steps: number,
  ) {
    this.theta = new Float64Array(steps);
    this.basis = new Float64Array(size * steps);
    this.y = new Float64Array(steps * steps);
    this.coefficients = new Float64Array(steps);
    this.image = new Float64Array(size);
    for (let j = 0; j < steps; j++) this.views.push(this.basis.subarray(j * size, (j + 1) * size));
  }

  get bytes(): number {
    return this.basis.byteLength + this.y.byteLength + this.image.byteLength;
  }

  /**
   * Builds the subspace from `start` (length P, not zero).
   * @param product writes A v into its second argument
   * @returns products made
   */
  build(product: (v: Float64Array, out: Float64Array) => void, start: Float64Array): number {
    const { size: n, steps: m, basis, views, image, y, coefficients: h } = this;
    const length = kernels.nrm2(n, start, 0);
    for (let i = 0; i < n; i++) basis[i] = start[i] / length;
    y.fill(0);
    let j = 0;
    for (;;) {
      product(views[j], image);
      const scale = kernels.nrm2(n, image, 0);
      kernels.gemv(Yes, n, j + 1, 1, basis, 0, n, image, 0, 1, 0, h, 0, 1);
      // T is filled from the projections themselves, symmetrically: exact also when rounding spoils the three-term form.
      for (let i = 0; i <= j; i++) y[i * m + j] = y[j * m + i] = h[i];
      kernels.gemv(No, n, j + 1, -1, basis, 0, n, h, 0, 1, 1, image, 0, 1);
      kernels.gemv(Yes, n, j + 1, 1, basis, 0, n, image, 0, 1, 0, h, 0, 1);
      kernels.gemv(No, n, j + 1, -1, basis, 0, n, h, 0, 1, 1, image, 0, 1);
      this.beta = kernels.nrm2(n, image, 0);
      j++;
      if (!(this.beta > exhausted * scale)) this.beta = 0;
      if (this.beta === 0 || j === m || j === n) break;
      const next = views[j];
      for (let i = 0; i < n; i++) next[i] = image[i] / this.beta;
    }
    this.columns = j;
    kernels.syevd(Yes, Lower, j, y, 0, m, this.theta, 0);
    return j;
  }

  /** | A w - theta_i w | of the Ritz vector w: an eigenvalue of A lies within this distance of theta_i. */
  residual(i: number): number {
    return this.beta * Math.abs(this.y[i * this.steps + this.columns - 1]);
  }

  /** out := Ritz vector i, of length 1. */
  ritzVector(i: number, out: Float64Array): void {
    kernels.gemv(No, this.size, this.columns, 1, this.basis, 0, this.size, this.y, i * this.steps, 1, 0, out, 0, 1);
  }

  /** out (columns) := Y^T V^T v, the coordinates of v along the Ritz vectors. */
  coordinates(v: Float64Array, out: Float64Array): void {
    const { size: n, columns: m, steps, coefficients: h } = this;
    kernels.gemv(Yes, n, m, 1, this.basis, 0, n, v, 0, 1, 0, h, 0, 1);
    kernels.gemv(Yes, m, m, 1, this.y, 0, steps, h, 0, 1, 0, out, 0, 1);
  }

  /** out := V Y c, the vector of coordinates c along the Ritz vectors. */
  combine(c: Float64Array, out: Float64Array): void {
    const { size: n, columns: m, steps, coefficients: h } = this;
    kernels.gemv(No, m, m, 1, this.y, 0, steps, c, 0, 1, 0, h, 0, 1);
    kernels.gemv(No, n, m, 1, this.basis, 0, n, h, 0, 1, 0, out, 0, 1);
  }
}
