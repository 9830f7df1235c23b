/** Small seeded problems and finite differences shared by the derivative tests. */
import { Network } from '../../ts/derivatives/network.js';
import type { ActivationName, BatchData, LayerSpec, LossName } from '../../ts/network/index.js';
import { Random } from '../../ts/random.js';

export type TargetKind = 'mse' | 'classes' | 'soft' | 'binary';
export const targetKinds: readonly TargetKind[] = ['mse', 'classes', 'soft', 'binary'];

export function lossOf(kind: TargetKind): LossName {
  if (kind === 'mse') return 'mse';
  return kind === 'binary' ? 'binary-cross-entropy' : 'cross-entropy';
}

/** Random data: inputs normal, targets of the kind, weights in [0.2, 1.7) when asked. */
export function randomBatch(
  random: Random,
  samples: number,
  inputs: number,
  outputs: number,
  kind: TargetKind,
  weighted = false,
): BatchData {
  const data: BatchData = { inputs: random.normals(new Float64Array(samples * inputs)), targets: [] };
  if (kind === 'classes') {
    data.targets = Int32Array.from({ length: samples }, () => random.integer(outputs));
  } else {
    const rows = new Float64Array(samples * outputs).map(() => (kind === 'mse' ? random.normal() : random.uniform()));
    if (kind === 'soft') {
      for (let n = 0; n < samples; n++) {
        const row = rows.subarray(n * outputs, (n + 1) * outputs);
        const sum = row.reduce((total, value) => total + value, 0);
        row.forEach((value, k) => (row[k] = value / sum));
      }
    }
    data.targets = rows;
  }
  if (weighted) data.weights = new Float64Array(samples).map(() => 0.2 + 1.5 * random.uniform());
  return data;
}

export interface ProblemOptions {
  activation?: ActivationName;
  kind?: TargetKind;
  bias?: boolean;
  weighted?: boolean;
  l2?: number | number[];
  samples?: number;
  layers?: LayerSpec[];
  inputs?: number;
  seed?: number;
}

export interface Problem {
  network: Network;
  params: Float64Array;
  data: BatchData;
  random: Random;
}

/** 3 - 4 - 4 (residual) - 3 unless layers are given; biases away from zero. */
export function problem(options: ProblemOptions = {}): Problem {
  const {
    activation = 'tanh',
    kind = 'classes',
    bias = true,
    weighted = false,
    l2 = 0,
    samples = 3,
    inputs = 3,
    seed = 7,
  } = options;
  const layers: LayerSpec[] = options.layers ?? [
    { type: 'dense', units: 4, activation, bias },
    { type: 'residual', units: 4, activation, bias },
    { type: 'dense', units: 3, activation: 'identity', bias },
  ];
  const network = new Network({ inputs, loss: lossOf(kind), layers, l2 });
  const random = new Random(seed);
  const params = network.initialize({ seed, scheme: 'normal', gain: 1.2, biasScale: 0.5 });
  return { network, params, data: randomBatch(random, samples, inputs, network.outputs, kind, weighted), random };
}

/**
 * Fourth-order central difference of f along v: error h^4 / 30 |f^(5)| plus 1.5 eps |f| / h, both near 1e-12 at this step for
 * functions of size one.
 */
export function directionalDifference(
  f: (x: Float64Array) => Float64Array,
  x: Float64Array,
  v: ArrayLike<number>,
  h = Number.EPSILON ** 0.2,
): Float64Array {
  const at = (t: number): Float64Array => f(x.map((value, i) => value + t * v[i])).slice();
  const [p1, m1, p2, m2] = [at(h), at(-h), at(2 * h), at(-2 * h)];
  return p1.map((value, i) => (8 * (value - m1[i]) - (p2[i] - m2[i])) / (12 * h));
}

/** Gradient of a scalar function by differences along every axis. */
export function differenceGradient(f: (x: Float64Array) => number, x: Float64Array): Float64Array {
  return x.map((_, i) => directionalDifference((y) => Float64Array.of(f(y)), x, unit(x.length, i))[0]);
}

export function unit(n: number, i: number): Float64Array {
  const e = new Float64Array(n);
  e[i] = 1;
  return e;
}

export function dot(a: Float64Array, b: Float64Array): number {
  return a.reduce((sum, value, i) => sum + value * b[i], 0);
}

/** A v for a dense n x n matrix. */
export function times(matrix: Float64Array, v: Float64Array): Float64Array {
  return v.map((_, i) => dot(matrix.subarray(i * v.length, (i + 1) * v.length), v));
}

/** Largest |a - b| over the largest |b| (or over 1 when b is zero). */
export function maximumError(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let difference = 0;
  let size = 0;
  for (let i = 0; i < b.length; i++) {
    const distance = Math.abs(a[i] - b[i]);
    difference = Number.isNaN(distance) ? Infinity : Math.max(difference, distance);
    size = Math.max(size, Math.abs(b[i]));
  }
  return difference / (size || 1);
}
