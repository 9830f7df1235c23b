/**
 * What the Riccati recursion holds in the memory of a device, and where: a few long buffers with one place a layer in each.
 *
 * With N samples, h units, fan = inputs (+ 1 with a bias), q = min(N, fan), n = N h, m = N inputs (0 for the first layer) and
 * c = h q controls, a layer holds
 *
 *     pivot block      c x c     Gx, factored                 gain     c x m     G^-1 a, or Gx^-1 a where Gx is indefinite
 *     basis            q x fan   U^T (I on the parameter side) r       N x q     Z~ = U R^T
 *     slope, curvature, delta    N x h each
 *
 * and all layers share the cost-to-go at a stage's output and input and two scratch blocks.
 */
import { DeepHessianError } from '../errors.js';
import type { AffineLayer, NetworkModel } from '../network/index.js';
import type { MatrixKind } from './raw-factor.js';

/** Sizes of one stage and its places in the buffers. */
export interface DeviceAffinePlan {
  readonly layer: AffineLayer;
  readonly first: boolean;
  readonly fan: number;
  readonly q: number;
  /** whether the layer's inputs span less than its fan-in: U is not I, and there is a complement */
  readonly sampleSide: boolean;
  /** N units, N inputs (0 for the first layer), h q */
  readonly rows: number;
  readonly previousRows: number;
  readonly controls: number;
  readonly blockAt: number;
  readonly gainAt: number;
  readonly basisAt: number;
  readonly rAt: number;
  /** of slope, curvature and delta */
  readonly stateAt: number;
  /** of the controls: pivots, diagonal, half-solved right-hand sides */
  readonly controlAt: number;
  /** I - U U^T on the weight rows; -1 where it is not needed */
  readonly complementAt: number;
}

/** The plan of a whole network. */
export interface DeviceAffineLayout {
  readonly stages: readonly DeviceAffinePlan[];
  /** largest number of states at any layer */
  readonly states: number;
  /** controls of all layers together */
  readonly controls: number;
  /** orders of the identities that are held, each with its place */
  readonly identities: ReadonlyMap<number, number>;
  /** most of inputs h over the layers with a complement */
  readonly widest: number;
  /** numbers in the largest matrix that an operation meets */
  readonly largestBlock: number;
  /** numbers in every buffer that lives as long as the factor */
  readonly lengths: Readonly<Record<DeviceAffineBufferName, number>>;
}

/** Buffers of reals that a factor holds, besides those that grow with the number of right-hand sides. */
export type DeviceAffineBufferName =
  | 'parameters'
  | 'blocks'
  | 'gains'
  | 'bases'
  | 'r'
  | 'slopes'
  | 'curvatures'
  | 'deltas'
  | 'complements'
  | 'identities'
  | 'ones'
  | 'outputBlocks'
  | 'diagonals'
  | 'p'
  | 'pNext'
  | 't1'
  | 't2'
  | 'gram';

/** Most numbers that one operation of a device counts. */
export const largestDeviceBlock = 2 ** 31 - 1;

/** @throws DeepHessianError 'unsupported' for custom layers */
export function deviceAffineLayout(network: NetworkModel, samples: number, matrix: MatrixKind): DeviceAffineLayout {
  const N = samples;
  const stages: DeviceAffinePlan[] = [];
  const lengths: Record<DeviceAffineBufferName, number> = {
    parameters: network.parameterCount,
    blocks: 0,
    gains: 0,
    bases: 0,
    r: 0,
    slopes: 0,
    curvatures: 0,
    deltas: 0,
    complements: 0,
    identities: 0,
    ones: N,
    outputBlocks: N * network.outputs ** 2,
    diagonals: 0,
    p: 0,
    pNext: 0,
    t1: 0,
    t2: 0,
    gram: 0,
  };
  const identities = new Map<number, number>();
  const identity = (order: number): void => {
    if (identities.has(order)) return;
    identities.set(order, lengths.identities);
    lengths.identities += order * order;
  };
  identity(N);
  let states = N * network.outputs;
  let widest = 0;
  let block = states * states;
  for (const [l, layer] of network.layers.entries()) {
    if (layer.kind !== 'affine') {
      throw new DeepHessianError('unsupported', `affine: layer ${l} is a custom layer; use method 'block' on the CPU`);
    }
    const { units: h, inputs, bias, residual } = layer;
    const first = l === 0;
    const fan = inputs + (bias ? 1 : 0);
    const q = Math.min(N, fan);
    const sampleSide = q < fan;
    const [n, m, c] = [N * h, first ? 0 : N * inputs, h * q];
    const complement = sampleSide && !first && matrix === 'hessian';
    stages.push({
      layer,
      first,
      fan,
      q,
      sampleSide,
      rows: n,
      previousRows: m,
      controls: c,
      blockAt: lengths.blocks,
      gainAt: lengths.gains,
      basisAt: lengths.bases,
      rAt: lengths.r,
      stateAt: lengths.slopes,
      controlAt: lengths.diagonals,
      complementAt: complement ? lengths.complements : -1,
    });
    lengths.blocks += c * c;
    lengths.gains += c * m;
    lengths.bases += q * fan;
    lengths.r += N * q;
    lengths.slopes += n;
    lengths.diagonals += c;
    lengths.ones = Math.max(lengths.ones, q);
    // Scratch; each term is one use in device-affine-stage.ts. c n also covers the tiled deltas.
    lengths.t1 = Math.max(lengths.t1, c * n, residual && !first ? n * n : 0, complement ? m * inputs : 0);
    lengths.t2 = Math.max(lengths.t2, n * m);
    if (!first && matrix === 'hessian' && h <= N) identity(h);
    if (!first && matrix === 'hessian') lengths.t1 = Math.max(lengths.t1, c * Math.min(h, N) + h * N);
    if (complement) {
      lengths.complements += inputs * inputs;
      lengths.gram = N * N;
      widest = Math.max(widest, inputs * h);
    }
    states = Math.max(states, n, m);
    block = Math.max(block, c * n, n * n, c * m, n * m, c * c);
  }
  lengths.curvatures = lengths.deltas = matrix === 'hessian' ? lengths.slopes : 0;
  lengths.p = lengths.pNext = states * states;
  return { stages, states, controls: lengths.diagonals, identities, widest, largestBlock: block, lengths };
}

/** Numbers in the buffers of a solve of `columns` right-hand sides. */
export function deviceAffineSolveLengths(
  network: NetworkModel,
  layout: DeviceAffineLayout,
  columns: number,
): Record<DeviceAffineSolveBufferName, number> {
  const P = network.parameterCount;
  const { states, controls, widest } = layout;
  return {
    g: P * columns,
    x: P * columns,
    y: controls * columns,
    state: states * columns,
    stateNext: states * columns,
    scaled: states * columns,
    rest: widest * columns,
  };
}

/** Buffers of a solve. */
export type DeviceAffineSolveBufferName = 'g' | 'x' | 'y' | 'state' | 'stateNext' | 'scaled' | 'rest';

/** Bytes of device memory for a factor and one right-hand side, workspaces of the libraries apart. */
export function deviceAffineBytes(network: NetworkModel, samples: number, matrix: MatrixKind, single: boolean): number {
  const layout = deviceAffineLayout(network, samples, matrix);
  const sum = (lengths: Record<string, number>): number => Object.values(lengths).reduce((a, b) => a + b, 0);
  const reals = sum(layout.lengths) + sum(deviceAffineSolveLengths(network, layout, 1));
  return (single ? 4 : 8) * reals + 4 * layout.controls;
}
