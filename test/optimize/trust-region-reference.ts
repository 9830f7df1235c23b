/** An oracle of the trust-region subproblem. */
import { kernels, Lower, Yes } from '../../ts/native/index.js';
import { dot, norm } from '../linalg/helpers.js';

/** Least model value and multiplier from a full eigendecomposition and bisection: no factorization, no Newton step. */
export function reference(a: Float64Array, g: Float64Array, radius: number): { value: number; lambda: number } {
  const n = g.length;
  const q = a.slice();
  const w = new Float64Array(n);
  kernels.syevd(Yes, Lower, n, q, 0, n, w, 0);
  const c = Float64Array.from({ length: n }, (_, i) => dot(q.subarray(i * n, (i + 1) * n), g));
  const length = (lambda: number): number => {
    let sum = 0;
    for (let i = 0; i < n; i++) if (c[i] !== 0) sum += (c[i] / (w[i] + lambda)) ** 2;
    return Math.sqrt(sum);
  };
  const least = Math.max(0, -w[0]);
  let low = least;
  let high = least + norm(g) / radius + 1;
  for (let k = 0; k < 300; k++) {
    const middle = 0.5 * (low + high);
    if (middle === low || middle === high) break;
    if (length(middle) > radius) low = middle;
    else high = middle;
  }
  const lambda = w[0] > 0 && length(0) <= radius ? 0 : high;
  let value = 0;
  let used = 0;
  for (let i = 0; i < n; i++) {
    const y = c[i] === 0 ? 0 : -c[i] / (w[i] + lambda);
    used += y * y;
    value += c[i] * y + 0.5 * w[i] * y * y;
  }
  // Hard case: what is missing to the boundary goes along the leftmost eigenvector.
  if (lambda > 0 && used < radius * radius) value += 0.5 * w[0] * (radius * radius - used);
  return { value, lambda };
}
