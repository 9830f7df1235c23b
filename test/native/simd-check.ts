/**
 * Run as its own process by loading.test.ts, with DEEP_HESSIAN_SIMD set: compares the fused kernels of that instruction
 * set with the TypeScript ones and prints what it found.
 */
import { fallback } from '../../ts/native/fallback.js';
import { activationCodes, kernels, type Kernels } from '../../ts/native/index.js';
import { Random } from '../../ts/random.js';
import { gramProblem } from './gram-problem.js';
import { Block } from './matrices.js';

const random = new Random(17);
let activation = 0;
for (const code of Object.values(activationCodes)) {
  const n = 501;
  const s = new Float64Array(n).map((_, i) => random.normal() * 10 ** ((i % 9) - 5));
  const run = (which: Kernels): Float64Array[] => {
    const out = [0, 1, 2].map(() => new Float64Array(n));
    which.activate(code, n, 1, s.slice(), 0, null, 0, null, 0, out[0], 0, out[1], 0, out[2], 0);
    return out;
  };
  const here = run(kernels),
    there = run(fallback);
  for (let o = 0; o < 3; o++) {
    for (let i = 0; i < n; i++) {
      // Relative, with terms of size one where silu and gelu cancel.
      const size = Math.max(Math.abs(there[o][i]), Math.abs(s[i]) < 2 ? 1 : 1e-290);
      activation = Math.max(activation, Math.abs(here[o][i] - there[o][i]) / size);
    }
  }
}

let gram = 0;
for (const [samples, outputs, widths] of [
  [64, 2, [7, 3]],
  [9, 4, [5]],
  [70, 1, [3, 3]],
] as const) {
  for (const type of [Float64Array, Float32Array] as const) {
    const { order, expected, magnitude, run } = gramProblem(samples, outputs, widths, type, random);
    const c = new Block(order, order, type, random, 1, order + 1, 2);
    run(kernels, c);
    const unit = type === Float64Array ? 2 ** -52 : 2 ** -23;
    for (let j = 0; j < order; j++) {
      for (let i = j; i < order; i++) {
        gram = Math.max(gram, Math.abs(c.get(i, j) - expected.get(i, j)) / (magnitude.get(i, j) * unit));
      }
    }
  }
}
console.log(JSON.stringify({ simd: kernels.info().simd, activationUlp: activation / 2 ** -52, gramUlp: gram }));
