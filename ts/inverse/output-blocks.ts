/**
 * The output Hessian Q = d2 loss / d outputs2, which couples the outputs of a sample with one another only: one K x K block a
 * sample, held together as an (N K) x K matrix V, V[k N + n, j] = Q[(k, n), (j, n)].
 */
import type { Linearization } from '../derivatives/index.js';

/** V, column-major, for the loss at this point. */
export function outputBlocks(point: Pick<Linearization, 'outputHessian' | 'samples' | 'network'>): Float64Array {
  const N = point.samples;
  const K = point.network.outputs;
  const n = N * K;
  const blocks = new Float64Array(n * K);
  const q = point.outputHessian;
  if (q.kind === 'diagonal') {
    for (let k = 0; k < K; k++) for (let s = 0; s < N; s++) blocks[k * (n + N) + s] = q.q[k * N + s];
    return blocks;
  }
  for (let s = 0; s < N; s++) {
    const scale = q.scale[s];
    for (let j = 0; j < K; j++) {
      const pj = q.p[j * N + s];
      for (let k = 0; k < K; k++) {
        // p_j (1 - p_j) by the sum of the others: no cancellation when p_j is close to 1.
        let value = -pj * q.p[k * N + s];
        if (j === k) {
          let others = 0;
          for (let i = 0; i < K; i++) if (i !== j) others += q.p[i * N + s];
          value = pj * others;
        }
        blocks[j * n + k * N + s] = scale * value;
      }
    }
  }
  return blocks;
}
