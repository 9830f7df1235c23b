/**
 * Gram-Schmidt against a stored orthonormal basis: classical, done twice (Giraud, Langou & Rozloznik 2005: twice is
 * enough), so that it costs four matrix-vector products whatever the number of columns.
 *
 * Shapes: `basis` holds columns of length n contiguously (column-major, leading dimension n).
 */
import { kernels, No, Yes } from '../native/index.js';
import type { Random } from '../random.js';
import { norm, scale } from './vectors.js';

/**
 * w := (I - Q Q^T) w for the first `columns` columns Q of `basis`.
 *
 * @param coefficients receives Q^T w (of the incoming w) in places [offset, offset + columns)
 * @param work at least `columns` long
 */
export function orthogonalise(
  n: number,
  columns: number,
  basis: Float64Array,
  w: Float64Array,
  coefficients: Float64Array,
  offset: number,
  work: Float64Array,
): void {
  if (columns === 0) return;
  kernels.gemv(Yes, n, columns, 1, basis, 0, n, w, 0, 1, 0, coefficients, offset, 1);
  kernels.gemv(No, n, columns, -1, basis, 0, n, coefficients, offset, 1, 1, w, 0, 1);
  kernels.gemv(Yes, n, columns, 1, basis, 0, n, w, 0, 1, 0, work, 0, 1);
  kernels.gemv(No, n, columns, -1, basis, 0, n, work, 0, 1, 1, w, 0, 1);
  for (let i = 0; i < columns; i++) coefficients[offset + i] += work[i];
}

/** Fills w with a random unit vector orthogonal to the first `columns` < n columns of `basis`. */
export function randomOrthogonal(
  n: number,
  columns: number,
  basis: Float64Array,
  w: Float64Array,
  random: Random,
  work: Float64Array,
  work2: Float64Array,
): void {
  for (let attempt = 0; ; attempt++) {
    random.normals(w);
    scale(1 / norm(w), w);
    orthogonalise(n, columns, basis, w, work, 0, work2);
    const length = norm(w);
    // A tiny remainder is rounding, not direction; with columns < n a few draws always find a healthy one.
    if (length > 1e-8 || attempt >= 20) {
      scale(1 / length, w);
      orthogonalise(n, columns, basis, w, work, 0, work2);
      scale(1 / norm(w), w);
      return;
    }
  }
}
