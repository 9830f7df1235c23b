/** Dense oracles and hard points shared by the curvature tests. */
import { Network, type Linearization } from '../../ts/derivatives/index.js';
import { kernels, Lower, No } from '../../ts/native/index.js';
import type { LayerSpec } from '../../ts/network/index.js';
import { Random } from '../../ts/random.js';
import { randomPoint, shapes, type Shape } from '../inverse/helpers.js';

/** All eigenvalues, ascending. */
export function denseSpectrum(point: Linearization, matrix: 'hessian' | 'gauss-newton' = 'hessian'): Float64Array {
  const P = point.network.parameterCount;
  const a = matrix === 'hessian' ? point.denseHessian() : point.denseGaussNewton();
  const w = new Float64Array(P);
  kernels.syevd(No, Lower, P, a, 0, P, w, 0);
  return w;
}

/** (M + damping I)^-1 by LU with pivoting. */
export function denseInverse(point: Linearization, matrix: 'hessian' | 'gauss-newton', damping: number): Float64Array {
  const P = point.network.parameterCount;
  const a = matrix === 'hessian' ? point.denseHessian() : point.denseGaussNewton();
  const inverse = new Float64Array(P * P);
  for (let i = 0; i < P; i++) {
    a[i * (P + 1)] += damping;
    inverse[i * (P + 1)] = 1;
  }
  kernels.gesv(P, P, a, 0, P, new Int32Array(P), 0, inverse, 0, P);
  return inverse;
}

export function spectralNorm(w: Float64Array): number {
  return Math.max(Math.abs(w[0]), Math.abs(w[w.length - 1]));
}

/** A third of the shapes of the inverse's tests: every loss, residual or not, bias or not, N below, near and above the fan-in. */
export const someShapes: Shape[] = shapes.filter((_, i) => i % 3 === 0 || (shapes[i].samples === 12 && i % 5 === 0));
export { randomPoint };

/** A network of any layers at seeded parameters and data. */
export function pointOf(
  inputs: number,
  loss: 'mse' | 'cross-entropy',
  layers: LayerSpec[],
  samples: number,
  seed = 3,
  edit?: (params: Float64Array) => void,
): Linearization {
  const network = new Network({ inputs, loss, layers });
  const random = new Random(seed);
  const params = random.normals(new Float64Array(network.parameterCount));
  edit?.(params);
  const data = random.normals(new Float64Array(samples * inputs));
  const targets =
    loss === 'mse'
      ? random.normals(new Float64Array(samples * network.outputs))
      : Int32Array.from({ length: samples }, () => random.integer(network.outputs));
  return network.linearize(params, { inputs: data, targets });
}

const dense = (
  units: number,
  activation: 'tanh' | 'relu' | 'sigmoid' | 'softplus' | 'identity',
  bias = true,
): LayerSpec => ({
  type: 'dense',
  units,
  activation,
  bias,
});

/** Points at which something is degenerate, by name. */
export const hardPoints: [string, () => Linearization][] = [
  ['one layer', () => pointOf(3, 'cross-entropy', [dense(4, 'identity')], 5)],
  ['one layer, one sample', () => pointOf(6, 'mse', [dense(2, 'identity', false)], 1)],
  [
    'width one, 12 layers',
    () => pointOf(1, 'mse', [...Array.from({ length: 11 }, () => dense(1, 'tanh')), dense(1, 'identity')], 4),
  ],
  [
    'one sample, deep',
    () => pointOf(4, 'cross-entropy', [dense(4, 'tanh'), dense(4, 'tanh'), dense(4, 'tanh'), dense(3, 'identity')], 1),
  ],
  [
    'duplicate units (equal eigenvalues)',
    () =>
      pointOf(3, 'mse', [dense(4, 'tanh', false), dense(2, 'identity', false)], 6, 5, (x) => {
        // units 0..3 alike, with alike outgoing weights
        for (let u = 1; u < 4; u++) for (let i = 0; i < 3; i++) x[u * 3 + i] = x[i];
        for (let k = 0; k < 2; k++) for (let u = 1; u < 4; u++) x[12 + k * 4 + u] = x[12 + k * 4];
      }),
  ],
  [
    'dead ReLU layer',
    () =>
      pointOf(6, 'cross-entropy', [dense(4, 'relu'), dense(4, 'relu'), dense(3, 'identity')], 4, 4, (x) => {
        x.fill(-9, 24, 28);
      }),
  ],
  [
    'half-dead ReLU, N below the fan-in',
    () => pointOf(8, 'mse', [dense(6, 'relu'), dense(6, 'relu'), dense(1, 'identity')], 3),
  ],
  [
    'all parameters zero',
    () =>
      pointOf(3, 'cross-entropy', [dense(3, 'tanh'), dense(3, 'identity')], 5, 2, (x) => {
        x.fill(0);
      }),
  ],
];
