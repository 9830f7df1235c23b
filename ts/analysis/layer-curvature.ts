/**
 * Curvature layer by layer: gradient norms, traces of the diagonal blocks of M = H or G, and of (M + eps I)^-1.
 *
 *     tr M_ll       exact by P products with unit vectors where that is affordable, else estimated:
 *                   E[z_l^T (M z)_l] = tr M_ll for random signs z     (Hutchinson 1989; off-diagonal blocks cancel in the mean)
 *     tr [(M + eps I)^-1]_ll     exact by selected inversion
 */
import { checkInteger, checkKeys, checkOneOf } from '../checks.js';
import type { Linearization } from '../derivatives/index.js';
import { checkLinearized } from '../inverse/factor.js';
import type { MatrixKind } from '../inverse/index.js';
import { RunningMean } from '../linalg/confidence.js';
import { kernels } from '../native/index.js';
import { Random } from '../random.js';

/** Largest order whose traces are computed exactly: P products. */
const exactOrder = 2000;
/** Columns of one block of products. */
const width = 32;

/** Result of {@link layerTraces}: one entry a layer, L2 included. */
export interface LayerTraces {
  /** tr M_ll of every layer */
  traces: Float64Array;
  /** half widths of their 95 % intervals; 0 where exact */
  errorBars: Float64Array;
  /** whether the traces are exact: P products with unit vectors instead of random probes */
  exact: boolean;
  /** matrix-vector products spent */
  products: number;
}

/**
 * Traces of the diagonal blocks of H or G, L2 included.
 *
 * @param options `probes`: random vectors of the estimate, default 64; `exactOrder`: up to this many parameters the traces are exact
 */
export function layerTraces(
  point: Linearization,
  options: { matrix?: MatrixKind; probes?: number; exactOrder?: number; seed?: number } = {},
): LayerTraces {
  checkLinearized('layerTraces', point);
  checkKeys('layerTraces', 'options', options, ['matrix', 'probes', 'exactOrder', 'seed']);
  const { matrix = 'hessian', probes = 64, seed = 0 } = options;
  const limit = options.exactOrder ?? exactOrder;
  checkOneOf('layerTraces', 'matrix', matrix, ['hessian', 'gauss-newton'] as const);
  checkInteger('layerTraces', 'probes', probes, 2);
  checkInteger('layerTraces', 'exactOrder', limit, 0);
  const { network } = point;
  const P = network.parameterCount;
  const L = network.layers.length;
  const exact = P <= limit;
  const count = exact ? P : probes;
  const block = Math.min(width, count);
  const z = new Float64Array(P * block);
  const product = new Float64Array(P * block);
  const random = new Random(seed);
  const sums = new Float64Array(L);
  const means = Array.from({ length: L }, () => new RunningMean());
  for (let first = 0; first < count; first += block) {
    const columns = Math.min(block, count - first);
    const from = z.subarray(0, P * columns);
    const to = product.subarray(0, P * columns);
    if (exact) {
      from.fill(0);
      for (let c = 0; c < columns; c++) from[c * P + first + c] = 1;
    } else for (let i = 0; i < from.length; i++) from[i] = random.bits() & 1 ? 1 : -1;
    if (matrix === 'hessian') point.hessianProducts(from, columns, to);
    else point.gaussNewtonProducts(from, columns, to);
    for (let c = 0; c < columns; c++) {
      for (const [l, { parameterOffset, parameterCount }] of network.layers.entries()) {
        const at = c * P + parameterOffset;
        const value = kernels.dot(parameterCount, from, at, to, at);
        sums[l] += value;
        means[l].add(value);
      }
    }
  }
  if (exact) return { traces: sums, errorBars: new Float64Array(L), exact, products: count };
  return {
    traces: Float64Array.from(means, ({ mean }) => mean),
    errorBars: Float64Array.from(means, ({ errorBar }) => errorBar),
    exact,
    products: count,
  };
}

/** Norms of the gradient's and the parameters' parts, layer by layer. */
export function layerNorms(point: Linearization): { gradient: Float64Array; parameters: Float64Array } {
  const { network, gradient, params } = point;
  const part = (v: Float64Array): Float64Array =>
    Float64Array.from(network.layers, ({ parameterOffset: o, parameterCount: p }) =>
      p === 0 ? 0 : Math.sqrt(kernels.dot(p, v, o, v, o)),
    );
  return { gradient: part(gradient), parameters: part(params) };
}
