/**
 * Reader of the golden cases in test/golden: small dense networks with loss, gradient, dense Hessian and Gauss-Newton matrix
 * and their solves, made by automatic differentiation in float64. The format is described in test/golden/README.md.
 */
import { readFileSync } from 'node:fs';
import { Network } from '../../ts/derivatives/network.js';
import type { ActivationName } from '../../ts/network/index.js';

interface Metadata {
  name: string;
  dims: number[];
  batch: number;
  activation: ActivationName;
  loss: 'cross_entropy' | 'mse';
  bias: boolean;
  num_params: number;
  eps: number[];
  targets_int?: number[];
  hessian_num_negative_eigs: number;
  hessian_cond_per_eps: number[];
  gauss_newton_cond_per_eps: number[];
  bin: string;
  arrays: Record<string, { offset_bytes: number; shape: number[] }>;
}

export interface GoldenCase {
  readonly metadata: Metadata;
  readonly network: Network;
  readonly samples: number;
  readonly params: Float64Array;
  /** Row-major [N, inputs]. */
  readonly inputs: Float64Array;
  /** Class indices, or values row-major [N, K]. */
  readonly targets: Int32Array | Float64Array;
  /** Any array of the case by its name: 'grad', 'hessian', 'hvp_v', ... */
  array(name: string): Float64Array;
}

export const goldenNames = ['case01', 'case02', 'case03', 'case05', 'case06', 'case08', 'case09', 'case11'] as const;

/** Reads one case from test/golden. */
export function readGolden(name: string): GoldenCase {
  const folder = new URL('../golden/', import.meta.url);
  const metadata = JSON.parse(readFileSync(new URL(`${name}.json`, folder), 'utf8')) as Metadata;
  const bytes = readFileSync(new URL(metadata.bin, folder));
  const array = (key: string): Float64Array => {
    const { offset_bytes: offset, shape } = metadata.arrays[key];
    const values = new Float64Array(shape.reduce((product, size) => product * size, 1));
    for (let i = 0; i < values.length; i++) values[i] = bytes.readDoubleLE(offset + 8 * i);
    return values;
  };
  const { dims, activation, bias } = metadata;
  const last = dims.length - 1;
  const network = new Network({
    inputs: dims[0],
    loss: metadata.loss === 'cross_entropy' ? 'cross-entropy' : 'mse',
    layers: dims.slice(1).map((units, l) => ({
      type: 'dense' as const,
      units,
      activation: l + 1 === last ? ('identity' as const) : activation,
      bias,
    })),
  });
  const targets = metadata.loss === 'cross_entropy' ? Int32Array.from(metadata.targets_int!) : array('targets');
  return {
    metadata,
    network,
    samples: metadata.batch,
    params: array('params'),
    inputs: array('inputs'),
    targets,
    array,
  };
}

/** All cases. */
export function goldenCases(): GoldenCase[] {
  return goldenNames.map(readGolden);
}

/** |a - b| / |b| in the Euclidean norm (|a - b| where b is zero). */
export function relativeError(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let difference = 0;
  let size = 0;
  for (let i = 0; i < b.length; i++) {
    difference += (a[i] - b[i]) ** 2;
    size += b[i] ** 2;
  }
  return Math.sqrt(difference) / (size > 0 ? Math.sqrt(size) : 1);
}
