/** Matrices with known spectra for the tests of this folder. All dense matrices are column-major. */
import { Random } from '../../ts/random.js';
import { kernels, Lower, No, Yes } from '../../ts/native/index.js';

/** Random orthogonal n x n matrix: Q of a Gaussian matrix. */
export function orthogonalMatrix(n: number, random: Random): Float64Array {
  const q = random.normals(new Float64Array(n * n));
  kernels.qr(n, n, q, 0, n, new Float64Array(n * n), 0, n);
  return q;
}

/** Q diag(eigenvalues) Q^T for a random Q, exactly symmetric. */
export function symmetricWith(eigenvalues: ArrayLike<number>, seed: number): { a: Float64Array; q: Float64Array } {
  const n = eigenvalues.length;
  const q = orthogonalMatrix(n, new Random(seed));
  const scaledQ = q.slice();
  for (let j = 0; j < n; j++) for (let i = 0; i < n; i++) scaledQ[i + j * n] *= eigenvalues[j];
  const a = new Float64Array(n * n);
  kernels.gemm(No, Yes, n, n, n, 1, scaledQ, 0, n, q, 0, n, 0, a, 0, n);
  for (let j = 0; j < n; j++) {
    for (let i = 0; i < j; i++) {
      const mean = 0.5 * (a[i + j * n] + a[j + i * n]);
      a[i + j * n] = mean;
      a[j + i * n] = mean;
    }
  }
  return { a, q };
}

export function normals(n: number, seed: number): Float64Array {
  return new Random(seed).normals(new Float64Array(n));
}

/** y = A x in plain loops: independent of the operators under test. */
export function multiply(a: Float64Array, x: Float64Array): Float64Array {
  const n = x.length;
  const y = new Float64Array(a.length / n);
  for (let j = 0; j < n; j++) for (let i = 0; i < y.length; i++) y[i] += a[i + j * y.length] * x[j];
  return y;
}

/** Dense solve by elimination with pivoting. */
export function denseSolve(a: Float64Array, b: Float64Array): Float64Array {
  const n = b.length;
  const x = b.slice();
  if (kernels.gesv(n, 1, a.slice(), 0, n, new Int32Array(n), 0, x, 0, n) !== 0) throw new Error('singular test matrix');
  return x;
}

/** Eigenvalues ascending. */
export function eigenvaluesOf(a: Float64Array): Float64Array {
  const n = Math.round(Math.sqrt(a.length));
  const w = new Float64Array(n);
  kernels.syevd(No, Lower, n, a.slice(), 0, n, w, 0);
  return w;
}

export function norm(x: ArrayLike<number>): number {
  let s = 0;
  for (let i = 0; i < x.length; i++) s += x[i] * x[i];
  return Math.sqrt(s);
}

export function dot(x: ArrayLike<number>, y: ArrayLike<number>): number {
  let s = 0;
  for (let i = 0; i < x.length; i++) s += x[i] * y[i];
  return s;
}

/** ||x - y|| / ||y|| */
export function relativeError(x: Float64Array, y: Float64Array): number {
  return norm(x.map((v, i) => v - y[i])) / norm(y);
}

/** n values from `low` to `high`, geometrically. */
export function geometric(n: number, low: number, high: number): Float64Array {
  return Float64Array.from({ length: n }, (_, i) => (n === 1 ? low : low * (high / low) ** (i / (n - 1))));
}
