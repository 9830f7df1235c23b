/**
 * Equations that hold whatever the network: derivatives against differences, inverses against products, one route
 * against another, one thread against several, a run against its repetition. They need no stored numbers.
 */
import { Network } from '../derivatives/network.js';
import { factor, type MatrixKind, type Method } from '../inverse/index.js';
import { kernels } from '../native/index.js';
import type { LayerSpec, LossName } from '../network/index.js';
import { createOptimizer } from '../optimize/registry.js';
import { Random } from '../random.js';
import { relativeError, type Check } from './verdict.js';

/** Ten layers of nine units, twelve samples: deep enough for the recursion, small enough for a dense twin. */
function problem(loss: LossName, seed: number, depth = 10) {
  const random = new Random(seed);
  const layers: LayerSpec[] = [{ type: 'dense', units: 9, activation: 'tanh' }];
  for (let l = 2; l < depth; l++)
    layers.push({ type: l % 3 === 0 ? 'residual' : 'dense', units: 9, activation: l % 2 === 0 ? 'gelu' : 'softplus' });
  layers.push({ type: 'dense', units: 4, activation: 'identity' });
  const network = new Network({ inputs: 5, loss, layers, l2: 1e-3 });
  const inputs = random.normals(new Float64Array(12 * 5));
  const values = random.normals(new Float64Array(12 * 4));
  const targets =
    loss === 'cross-entropy'
      ? Int32Array.from({ length: 12 }, () => random.integer(4))
      : values.map((v) => 1 / (1 + Math.exp(-v)));
  const params = network.initialize({ seed, scheme: 'orthogonal', biasScale: 0.1 });
  return { network, params, batch: network.batch({ inputs, targets }), random };
}

const losses: readonly LossName[] = ['mse', 'cross-entropy', 'binary-cross-entropy'];
const identity = (name: string, bound: number, measure: () => number): Check => ({
  group: 'identities',
  name,
  bound,
  unit: 'relative',
  measure,
});

/** Fourth-order central difference along v: h^4 truncation and eps / h rounding, near 1e-11 together at this step. */
function difference(f: (t: number) => Float64Array): Float64Array {
  const h = 1e-3;
  const [a, b, c, d] = [f(h).slice(), f(-h).slice(), f(2 * h).slice(), f(-2 * h).slice()];
  return a.map((value, i) => (8 * (value - b[i]) - (c[i] - d[i])) / (12 * h));
}

/** A random direction of length one. */
function direction(random: Random, length: number): Float64Array {
  const v = random.normals(new Float64Array(length));
  const size = kernels.nrm2(length, v, 0);
  return v.map((value) => value / size);
}

const along = (x: Float64Array, v: Float64Array, t: number): Float64Array => x.map((value, i) => value + t * v[i]);

function derivativeChecks(loss: LossName): Check[] {
  return [
    identity(`gradient against differences of the loss, ${loss}`, 1e-8, () => {
      const { network, params, batch, random } = problem(loss, 1);
      const v = direction(random, params.length);
      const [slope] = difference((t) => Float64Array.of(network.evaluate(along(params, v, t), batch).loss));
      const { gradient } = network.linearize(params, batch);
      const product = gradient.reduce((sum, value, i) => sum + value * v[i], 0);
      return Math.abs(slope - product) / Math.abs(product);
    }),
    identity(`Hessian product against differences of the gradient, ${loss}`, 1e-8, () => {
      const { network, params, batch, random } = problem(loss, 2);
      const v = direction(random, params.length);
      const product = network.linearize(params, batch).hessianProduct(v);
      return relativeError(
        product,
        difference((t) => network.linearize(along(params, v, t), batch).gradient),
      );
    }),
  ];
}

function solveChecks(loss: LossName, matrix: MatrixKind): Check[] {
  const tried: Method[] =
    matrix === 'hessian' ? ['block', 'affine', 'dense'] : ['block', 'affine', 'sample-space', 'dense'];
  return tried.map((method) =>
    identity(`(M + eps I) x = g by products, ${matrix}, ${loss}, ${method}`, 1e-10, () => {
      const { network, params, batch } = problem(loss, 3);
      const point = network.linearize(params, batch);
      const f = factor(point, { matrix, damping: 0.05, method });
      const { x } = f.solve(point.gradient);
      const back = matrix === 'hessian' ? point.hessianProduct(x) : point.gaussNewtonProduct(x);
      f.dispose();
      return relativeError(along(back, x, 0.05), point.gradient);
    }),
  );
}

const mixedChecks = (): Check[] =>
  (['hessian', 'gauss-newton'] as const).map((matrix) =>
    identity(`float32 factor refined to float64, ${matrix}`, 1e-10, () => {
      const { network, params, batch } = problem('mse', 4);
      const point = network.linearize(params, batch);
      const f = factor(point, { matrix, damping: 0.1, precision: 'mixed', method: 'affine' });
      const { residual } = f.solve(point.gradient);
      f.dispose();
      return residual;
    }),
  );

const spectrumCheck = identity('inertia and log-determinant against eigenvalues', 1e-9, () => {
  const { network, params, batch } = problem('cross-entropy', 5);
  const point = network.linearize(params, batch);
  const P = params.length;
  const values = new Float64Array(P);
  const damping = 0.02;
  kernels.syevd(0, 0, P, point.denseHessian(), 0, P, values, 0);
  const f = factor(point, { damping });
  const negative = values.filter((value) => value + damping < 0).length;
  if (f.inertia.negative !== negative)
    throw new Error(`${f.inertia.negative} negative eigenvalues, expected ${negative}`);
  const expected = values.reduce((sum, value) => sum + Math.log(Math.abs(value + damping)), 0);
  const found = f.logAbsDet;
  f.dispose();
  return Math.abs(found - expected) / Math.abs(expected);
});

/** Bits that differ, as a count. */
function differentBits(a: Float64Array, b: Float64Array): number {
  let different = 0;
  for (let i = 0; i < a.length; i++) if (!Object.is(a[i], b[i])) different++;
  return different;
}

function train(name: string, steps: number): Float64Array {
  const { network, params, batch } = problem('mse', 6, 5);
  const optimizer = createOptimizer(name, network, {});
  for (let k = 0; k < steps; k++) optimizer.step(params, batch);
  optimizer.dispose?.();
  return params;
}

const repetition = (name: string): Check => ({
  group: 'identities',
  name: `twenty steps repeated with the same bits, ${name}`,
  bound: 0,
  unit: 'count',
  measure: () => differentBits(train(name, 20), train(name, 20)),
});

const threadCheck = identity('two BLAS threads against one', 1e-10, () => {
  const before = kernels.info().threads;
  const { network, params, batch } = problem('mse', 7);
  const solve = (threads: number): Float64Array => {
    kernels.setThreads(threads);
    const point = network.linearize(params, batch);
    const f = factor(point, { damping: 0.1, method: 'dense' });
    const { x } = f.solve(point.gradient);
    f.dispose();
    return x;
  };
  try {
    // The condition number is at most 1e3 here.
    return relativeError(solve(2), solve(1));
  } finally {
    kernels.setThreads(before);
  }
});

/** All of them. */
export function identityChecks(): Check[] {
  return [
    ...losses.flatMap(derivativeChecks),
    ...losses.flatMap((loss) => [...solveChecks(loss, 'hessian'), ...solveChecks(loss, 'gauss-newton')]),
    ...mixedChecks(),
    spectrumCheck,
    ...['gauss-newton', 'adam', 'lbfgs'].map(repetition),
    threadCheck,
  ];
}
