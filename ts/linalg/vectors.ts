/** Whole-vector operations of the iterative methods, by name, over the dense kernels. All vectors have one length. */
import { kernels } from '../native/index.js';

/** Unit roundoff times two: the spacing of doubles at 1. */
export const epsilon = Number.EPSILON;

/** x^T y */
export function dot(x: Float64Array, y: Float64Array): number {
  return kernels.dot(x.length, x, 0, y, 0);
}

/** Euclidean norm, safe against overflow. */
export function norm(x: Float64Array): number {
  return kernels.nrm2(x.length, x, 0);
}

/** y := alpha x + y */
export function axpy(alpha: number, x: Float64Array, y: Float64Array): void {
  kernels.axpy(x.length, alpha, x, 0, y, 0);
}

/** y := x + beta y */
export function xpby(x: Float64Array, beta: number, y: Float64Array): void {
  for (let i = 0; i < y.length; i++) y[i] = x[i] + beta * y[i];
}

/** x := alpha x */
export function scale(alpha: number, x: Float64Array): void {
  for (let i = 0; i < x.length; i++) x[i] *= alpha;
}

/** out := b - out */
export function subtractFrom(b: Float64Array, out: Float64Array): void {
  for (let i = 0; i < out.length; i++) out[i] = b[i] - out[i];
}
