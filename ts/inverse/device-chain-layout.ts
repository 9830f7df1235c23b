/**
 * What the Riccati recursion holds in the memory of a device, and where: a few long buffers with one place a layer in each.
 *
 * With N samples, h units, n = N h, m = N inputs (0 for the first layer) and c controls, a layer holds
 *
 *     pivot block      c x c     Gx, factored                 gain     c x m     G^-1 a, or Gx^-1 a where Gx is indefinite
 *
 * a built-in layer besides, with fan = inputs (+ 1 with a bias), q = min(N, fan) and c = h q,
 *
 *     basis            q x fan   U^T (I on the parameter side) r       N x q     Z~ = U R^T
 *     slope, curvature, delta    N x h each
 *
 * and a layer by its derivative blocks, with c its number of parameters,
 *
 *     Dx   n x c       Dz   n x m       and for the Hessian  Hxx  c x c,  Hxz  c x m,  Hzz  m x m
 *
 * All layers share the cost-to-go at a stage's output and input and two scratch blocks.
 */
import type { AffineLayer, Layer, NetworkModel } from '../network/index.js';
import type { MatrixKind } from './raw-factor.js';

/** Sizes of one stage and its places in the buffers that every kind of stage uses. */
export interface DeviceStagePlan {
  readonly layer: Layer;
  readonly first: boolean;
  /** N units, N inputs (0 for the first layer), order of Gx */
  readonly rows: number;
  readonly previousRows: number;
  readonly controls: number;
  readonly blockAt: number;
  readonly gainAt: number;
  /** of the controls: pivots, diagonal, half-solved right-hand sides */
  readonly controlAt: number;
}

/** A stage in closed form. */
export interface DeviceAffinePlan extends DeviceStagePlan {
  readonly kind: 'affine';
  readonly layer: AffineLayer;
  readonly fan: number;
  readonly q: number;
  /** whether the layer's inputs span less than its fan-in: U is not I, and there is a complement */
  readonly sampleSide: boolean;
  readonly basisAt: number;
  readonly rAt: number;
  /** of slope, curvature and delta */
  readonly stateAt: number;
  /** I - U U^T on the weight rows; -1 where it is not needed */
  readonly complementAt: number;
}

/** A stage by the layer's derivative blocks. */
export interface DeviceGeneralPlan extends DeviceStagePlan {
  readonly kind: 'general';
  readonly dxAt: number;
  readonly dzAt: number;
  readonly hxxAt: number;
  readonly hxzAt: number;
  readonly hzzAt: number;
}

/** The plan of a whole network. */
export interface DeviceChainLayout {
  readonly stages: readonly (DeviceAffinePlan | DeviceGeneralPlan)[];
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
  readonly lengths: Readonly<Record<DeviceChainBufferName, number>>;
}

/** Buffers of reals that a factor holds, besides those that grow with the number of right-hand sides. */
// prettier-ignore
const bufferNames = [
  'parameters', 'blocks', 'gains', 'bases', 'r', 'slopes', 'curvatures', 'deltas', 'complements', 'identities', 'ones',
  'outputBlocks', 'diagonals', 'p', 'pNext', 't1', 't2', 'gram', 'dx', 'dz', 'hxx', 'hxz', 'hzz',
] as const;
export type DeviceChainBufferName = (typeof bufferNames)[number];

type Lengths = Record<DeviceChainBufferName, number>;

/** Most numbers that one operation of a device counts. */
export const largestDeviceBlock = 2 ** 31 - 1;

/** @param general every layer by its derivative blocks, built-in ones too */
export function deviceChainLayout(
  network: NetworkModel,
  samples: number,
  matrix: MatrixKind,
  general: boolean,
): DeviceChainLayout {
  const N = samples;
  const stages: (DeviceAffinePlan | DeviceGeneralPlan)[] = [];
  const lengths = Object.fromEntries(bufferNames.map((name) => [name, 0])) as Lengths;
  lengths.parameters = network.parameterCount;
  lengths.ones = N;
  lengths.outputBlocks = N * network.outputs ** 2;
  const identities = new Map<number, number>();
  const identity = (order: number): void => {
    if (identities.has(order)) return;
    identities.set(order, lengths.identities);
    lengths.identities += order * order;
  };
  identity(N);
  let states = N * network.outputs;
  let widest = 0;
  let largestBlock = states * states;
  for (const [l, layer] of network.layers.entries()) {
    const first = l === 0;
    const [n, m] = [N * layer.units, first ? 0 : N * layer.inputs];
    const places = { first, rows: n, previousRows: m };
    let c: number;
    if (general || layer.kind === 'custom') {
      c = layer.parameterCount;
      stages.push({
        kind: 'general',
        layer,
        ...places,
        controls: c,
        ...controlPlaces(lengths),
        ...blockPlaces(lengths),
      });
      addBlocks(lengths, n, m, c, matrix);
    } else {
      const { units: h, inputs, bias, residual } = layer;
      const fan = inputs + (bias ? 1 : 0);
      const q = Math.min(N, fan);
      const sampleSide = q < fan;
      c = h * q;
      const complement = sampleSide && !first && matrix === 'hessian';
      stages.push({
        kind: 'affine',
        layer,
        ...places,
        fan,
        q,
        sampleSide,
        controls: c,
        ...controlPlaces(lengths),
        basisAt: lengths.bases,
        rAt: lengths.r,
        stateAt: lengths.slopes,
        complementAt: complement ? lengths.complements : -1,
      });
      lengths.bases += q * fan;
      lengths.r += N * q;
      lengths.slopes += n;
      lengths.ones = Math.max(lengths.ones, q);
      // Scratch; each term is one use in device-affine-stage.ts. c n also covers the tiled deltas.
      lengths.t1 = Math.max(lengths.t1, residual && !first ? n * n : 0, complement ? m * inputs : 0);
      if (!first && matrix === 'hessian' && h <= N) identity(h);
      if (!first && matrix === 'hessian') lengths.t1 = Math.max(lengths.t1, c * Math.min(h, N) + h * N);
      if (complement) {
        lengths.complements += inputs * inputs;
        lengths.gram = N * N;
        widest = Math.max(widest, inputs * h);
      }
    }
    lengths.blocks += c * c;
    lengths.gains += c * m;
    lengths.diagonals += c;
    lengths.t1 = Math.max(lengths.t1, c * n);
    lengths.t2 = Math.max(lengths.t2, n * m, c * m);
    states = Math.max(states, n, m);
    largestBlock = Math.max(largestBlock, c * n, n * n, c * m, n * m, c * c);
  }
  lengths.curvatures = lengths.deltas = matrix === 'hessian' ? lengths.slopes : 0;
  lengths.p = lengths.pNext = states * states;
  return { stages, states, controls: lengths.diagonals, identities, widest, largestBlock, lengths };
}

/** Where the next stage's pivot block, gain and controls begin. */
function controlPlaces(lengths: Lengths): Pick<DeviceStagePlan, 'blockAt' | 'gainAt' | 'controlAt'> {
  return { blockAt: lengths.blocks, gainAt: lengths.gains, controlAt: lengths.diagonals };
}

/** Where the next layer's derivative blocks begin. */
function blockPlaces(lengths: Lengths): Pick<DeviceGeneralPlan, 'dxAt' | 'dzAt' | 'hxxAt' | 'hxzAt' | 'hzzAt'> {
  return {
    dxAt: lengths.dx,
    dzAt: lengths.dz,
    hxxAt: lengths.hxx,
    hxzAt: lengths.hxz,
    hzzAt: lengths.hzz,
  };
}

function addBlocks(lengths: Lengths, n: number, m: number, c: number, matrix: MatrixKind): void {
  lengths.dx += n * c;
  lengths.dz += n * m;
  if (matrix === 'gauss-newton') return;
  lengths.hxx += c * c;
  lengths.hxz += c * m;
  lengths.hzz += m * m;
}

/** Numbers in the buffers of a solve of `columns` right-hand sides. */
export function deviceChainSolveLengths(
  network: NetworkModel,
  layout: DeviceChainLayout,
  columns: number,
): Record<DeviceChainSolveBufferName, number> {
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
export type DeviceChainSolveBufferName = 'g' | 'x' | 'y' | 'state' | 'stateNext' | 'scaled' | 'rest';

/** Bytes of device memory for a factor and one right-hand side, workspaces of the libraries apart. */
export function deviceChainBytes(
  network: NetworkModel,
  samples: number,
  matrix: MatrixKind,
  general: boolean,
  single: boolean,
): number {
  const layout = deviceChainLayout(network, samples, matrix, general);
  const sum = (lengths: Record<string, number>): number => Object.values(lengths).reduce((a, b) => a + b, 0);
  const reals = sum(layout.lengths) + sum(deviceChainSolveLengths(network, layout, 1));
  return (single ? 4 : 8) * reals + 4 * layout.controls;
}
