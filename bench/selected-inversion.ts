/**
 * Selected inversion: what each route keeps of (H + eps I)^-1 as eps falls, against an eigen-decomposition, and what it costs.
 *
 * 24-24x5-3 (tanh, squares), N = 10, P = 3,075: indefinite, every layer with fewer samples than inputs, where the recursion loses
 * most. And the seconds alone at 768-24x7-10, N = 64, P = 22,306, where no dense matrix is at hand.
 */
import { selectedInverse, SpectrumSlicer, type SelectedInversionOptions } from '../ts/curvature/index.js';
import { Network, type Linearization } from '../ts/derivatives/index.js';
import { DeepHessianError } from '../ts/errors.js';
import { kernels, Lower, Yes } from '../ts/native/index.js';
import type { LayerSpec } from '../ts/network/index.js';
import { Random } from '../ts/random.js';
import { deepNetwork, heading, randomBatch } from './harness.js';

/** Larger than any error: takes a route as it is. */
const anything = 1e300;

export function selectedInversion(): void {
  heading('Selected inversion: seconds, and the largest error of diagonal and blocks relative to the largest entry');
  const point = regressionPoint(24, 24, 6, 10);
  const { norm } = new SpectrumSlicer(point);
  const exact = oracle(point);
  for (const relative of [1e-3, 1e-6, 1e-8, 1e-10]) {
    const damping = relative * norm;
    const expected = exact(damping);
    for (const method of ['affine', 'dense', 'solves'] as const) {
      const measure = (tolerance: number): string => {
        const start = performance.now();
        const result = selectedInverse(point, { damping, method, tolerance, blocks: true });
        const seconds = (performance.now() - start) / 1e3;
        const error = difference(point, result.blocks!, expected);
        return `${seconds.toFixed(2)} s, error ${error.toExponential(0)}, reported ${result.error.toExponential(0)}`;
      };
      const tolerances = method === 'solves' ? [1e-8, 1e-6, 1e-4] : [anything];
      const asked = tolerances.find((tolerance) =>
        meets(() => selectedInverse(point, { damping, method, tolerance })),
      )!;
      console.log(`  P = 3,075, eps = ${relative.toExponential(0)} |H|, ${method.padEnd(6)} ${measure(asked)}`);
    }
  }
  const large = deepNetwork(8, 24, 768, 10);
  const at = large.linearize(large.initialize({ seed: 1 }), randomBatch(64, 768, 10));
  const scale = new SpectrumSlicer(at).norm;
  for (const relative of [1e-6, 1e-8]) {
    for (const [method, tolerance] of [
      ['affine', anything],
      ['solves', 1e-7],
    ] as const) {
      const options: SelectedInversionOptions = { damping: relative * scale, method, tolerance };
      const start = performance.now();
      const { error } = selectedInverse(at, options);
      const seconds = (performance.now() - start) / 1e3;
      console.log(
        `  P = 22,306, eps = ${relative.toExponential(0)} |H|, ${method.padEnd(6)} ${seconds.toFixed(1)} s, reported ${error.toExponential(0)}`,
      );
    }
  }
}

function regressionPoint(inputs: number, hidden: number, layers: number, samples: number): Linearization {
  const specs: LayerSpec[] = [];
  for (let l = 1; l < layers; l++) specs.push({ type: 'dense', units: hidden, activation: 'tanh' });
  specs.push({ type: 'dense', units: 3, activation: 'identity' });
  const network = new Network({ inputs, loss: 'mse', layers: specs });
  const random = new Random(5);
  const params = network.initialize({ seed: 2 });
  for (let i = 0; i < params.length; i++) params[i] += 0.05 * random.normal();
  return network.linearize(params, {
    inputs: random.normals(new Float64Array(samples * inputs)),
    targets: random.normals(new Float64Array(samples * 3)),
  });
}

/** (H + eps I)^-1 = V diag(1 / (lambda + eps)) V^T for any eps. */
function oracle(point: Linearization): (eps: number) => Float64Array {
  const P = point.network.parameterCount;
  const v = point.denseHessian();
  const w = new Float64Array(P);
  kernels.syevd(Yes, Lower, P, v, 0, P, w, 0);
  return (eps) => {
    const scaled = v.slice();
    for (let j = 0; j < P; j++) for (let i = j * P; i < (j + 1) * P; i++) scaled[i] /= w[j] + eps;
    const inverse = new Float64Array(P * P);
    kernels.gemm(0, Yes, P, P, P, 1, scaled, 0, P, v, 0, P, 0, inverse, 0, P);
    return inverse;
  };
}

function meets(work: () => unknown): boolean {
  try {
    work();
    return true;
  } catch (error) {
    if (error instanceof DeepHessianError && error.code === 'tolerance-missed') return false;
    throw error;
  }
}

function difference(point: Linearization, blocks: Float64Array[], expected: Float64Array): number {
  const { parameterCount: P, layers } = point.network;
  let error = 0;
  let size = 0;
  for (const value of expected) size = Math.max(size, Math.abs(value));
  for (const [l, { parameterOffset: o, parameterCount: p }] of layers.entries()) {
    for (let j = 0; j < p; j++)
      for (let i = 0; i < p; i++)
        error = Math.max(error, Math.abs(blocks[l][j * p + i] - expected[(o + j) * P + o + i]));
  }
  return error / size;
}
