/**
 * Shared by the examples of this folder: the 8 x 8 digits (1,797 samples, 64 inputs) and training to a stationary point.
 * The file is looked for in ../shared/data/digits, or where DEEP_HESSIAN_DATA says.
 */
import { readCsv } from '../../ts/data/csv.js';
import type { Linearization, Network } from '../../ts/derivatives/index.js';
import type { Batch } from '../../ts/network/index.js';
import { createLbfgs } from '../../ts/optimize/lbfgs.js';
import { createNewton } from '../../ts/optimize/newton.js';
import { Random } from '../../ts/random.js';

export const dataFolder = process.env.DEEP_HESSIAN_DATA ?? '../shared/data';

export interface Digits {
  /** row-major [samples, 64], pixels in [0, 1] */
  inputs: Float64Array;
  labels: Int32Array;
}

/** `train` and `test` digits drawn without replacement. */
export async function digits(train: number, test: number, seed: number): Promise<{ train: Digits; test: Digits }> {
  const { dataset } = await readCsv(`${dataFolder}/digits/digits.csv.gz`, { task: 'classification' });
  const order = new Random(seed).shuffle(Int32Array.from({ length: dataset.samples }, (_, i) => i));
  const pick = (rows: Int32Array): Digits => ({
    inputs: Float64Array.from(
      Array.from(rows, (n) => Array.from(dataset.inputs.subarray(n * 64, (n + 1) * 64), (pixel) => pixel / 16)).flat(),
    ),
    labels: Int32Array.from(rows, (n) => dataset.labels![n]),
  });
  return { train: pick(order.subarray(0, train)), test: pick(order.subarray(train, train + test)) };
}

export function norm(v: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < v.length; i++) sum += v[i] * v[i];
  return Math.sqrt(sum);
}

/** L-BFGS, then (for networks small enough) Newton, until the gradient is below the tolerance. */
export function minimise(
  network: Network,
  params: Float64Array,
  batch: Batch,
  tolerance: number,
  newtonSteps = 40,
): Linearization {
  const gradient = new Float64Array(params.length);
  const lbfgs = createLbfgs(network, { memory: 30 });
  for (let step = 0; step < 4000; step++) {
    network.lossAndGradient(params, batch, gradient);
    if (norm(gradient) < Math.max(tolerance, newtonSteps > 0 ? 1e-4 : 0)) break;
    if (!lbfgs.step(params, batch).accepted) break;
  }
  return polish(network, params, batch, tolerance, newtonSteps);
}

/** Newton from where the parameters are: a warm start is not left for another minimum by a long first step. */
export function polish(
  network: Network,
  params: Float64Array,
  batch: Batch,
  tolerance: number,
  steps = 60,
): Linearization {
  const gradient = new Float64Array(params.length);
  const newton = createNewton(network, { radius: 0.3 });
  for (let step = 0; step < steps; step++) {
    network.lossAndGradient(params, batch, gradient);
    if (norm(gradient) < tolerance) break;
    newton.step(params, batch);
  }
  return network.linearize(params, batch);
}

/** Ranks with ties at their mean. */
function ranks(values: ArrayLike<number>): Float64Array {
  const order = Array.from(values, (_, i) => i).sort((a, b) => values[a] - values[b]);
  const rank = new Float64Array(values.length);
  for (let i = 0; i < order.length;) {
    let j = i;
    while (j + 1 < order.length && values[order[j + 1]] === values[order[i]]) j++;
    for (let k = i; k <= j; k++) rank[order[k]] = (i + j) / 2;
    i = j + 1;
  }
  return rank;
}

export function correlation(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const n = a.length;
  let [meanA, meanB] = [0, 0];
  for (let i = 0; i < n; i++) {
    meanA += a[i] / n;
    meanB += b[i] / n;
  }
  let [ab, aa, bb] = [0, 0, 0];
  for (let i = 0; i < n; i++) {
    ab += (a[i] - meanA) * (b[i] - meanB);
    aa += (a[i] - meanA) ** 2;
    bb += (b[i] - meanB) ** 2;
  }
  return ab / Math.sqrt(aa * bb);
}

/** Spearman's rank correlation. */
export function rankCorrelation(a: ArrayLike<number>, b: ArrayLike<number>): number {
  return correlation(ranks(a), ranks(b));
}
