/**
 * Flop and memory model of the four routes, and the choice between them.
 *
 * Flops are leading-order counts of the kernels that each route calls; seconds come from rates by kind
 * of work, measured on one core (bench/methods.ts prints model against measurement). Bytes are what
 * the factor object and its workspaces hold.
 */
import type { AffineLayer, Layer, NetworkModel } from '../network/index.js';
import { formatBytes, formatSeconds } from '../units.js';
import type { MatrixKind } from './raw-factor.js';

/**
 * Routes of a factorization: 'affine' (built-in layers by their closed form, custom ones by their derivative blocks), 'block'
 * (all layers by their derivative blocks), 'sample-space' (Gauss-Newton without custom layers), 'dense' (small P).
 */
export type Method = 'block' | 'affine' | 'sample-space' | 'dense';
/** All routes, by name. */
export const methods: readonly Method[] = ['block', 'affine', 'sample-space', 'dense'];

/** Cost of factoring once and solving once by one route. */
export interface CostEstimate {
  /** The route. */
  method: Method;
  /** floating-point operations of the factorization */
  flops: number;
  /** modelled seconds on one core */
  seconds: number;
  /** bytes held while factoring and solving */
  bytes: number;
  /** null when the route can serve the network, else the reason why not */
  unavailable: string | null;
}

/** GFLOP/s on one core by kind of work, and fixed costs; relative sizes decide, not absolute ones. */
const rate = { gemm: 40e9, small: 8e9, cholesky: 25e9, indefinite: 14e9, product: 18e9, bytes: 6e9 };
const callSeconds = 0.5e-6;

function factorSeconds(n: number, definite: boolean): number {
  // Small factorizations run far below the asymptotic rate: n / (n + 150) fits the measured curve.
  return (n ** 3 / 3 / (definite ? rate.cholesky : rate.indefinite)) * ((n + 150) / n) + callSeconds;
}

function gemmSeconds(flops: number, smallest: number): number {
  return flops / (rate.gemm * (smallest / (smallest + 6))) + callSeconds;
}

/** Outputs that a row of the sample-space factor needs: K - 1 for softmax, whose Q has rank K - 1. */
export function sampleSpaceOutputs(network: NetworkModel): number {
  return network.loss === 'cross-entropy' ? network.outputs - 1 : network.outputs;
}

/** Modelled seconds of the QR factorization of a layer's inputs, where the samples are fewer than the fan-in. */
export function basisSeconds(layer: AffineLayer, N: number): number {
  const fan = layer.inputs + (layer.bias ? 1 : 0);
  return N < fan ? (4 * fan * N * N) / rate.small : 0;
}

/** What one stage of the recursion costs: to factor, to hold, and as scratch in the two arrays that all stages share. */
interface StageCost {
  flops: number;
  seconds: number;
  bytes: number;
  controls: number;
  scratch: [number, number];
}

/** A stage of affine-stage.ts. */
function affineStage(layer: AffineLayer, first: boolean, N: number, matrix: MatrixKind): StageCost {
  const { units: h, inputs, residual, bias } = layer;
  const fan = inputs + (bias ? 1 : 0);
  const q = Math.min(N, fan);
  const n = N * h;
  const m = first ? 0 : N * inputs;
  const c = h * q;
  const project = 2 * n * n * q + 2 * c * n * q;
  let flops = project + c ** 3 / 3;
  let seconds = gemmSeconds(project, Math.min(q, N)) + factorSeconds(c, matrix === 'gauss-newton') + 6 * callSeconds;
  seconds += (8 * (2 * c * n + 3 * c * c)) / rate.bytes;
  if (m > 0) {
    const weights = 2 * c * n * inputs + 2 * n * n * inputs + 2 * n * m * inputs;
    const update = c * c * m + c * m * m;
    flops += weights + update;
    seconds += gemmSeconds(weights, Math.min(h, inputs)) + gemmSeconds(update, c) + 6 * callSeconds;
    seconds += (8 * (4 * n * n + 3 * m * m)) / rate.bytes;
  }
  let bytes = 8 * (c * c + c * m + N * q) + 12 * c;
  if (q < fan) {
    const qr = 4 * fan * q * q;
    flops += qr;
    seconds += basisSeconds(layer, N);
    bytes += 8 * (fan * q + (m > 0 && matrix === 'hessian' ? inputs * inputs : 0));
  }
  const square = residual ? n * n : 0;
  return { flops, seconds, bytes, controls: c, scratch: [Math.max(c * n, square), Math.max(n * q, n * m, square)] };
}

/** Modelled seconds of a layer's dense derivative blocks, written out and put in their places. */
export function derivativeBlockSeconds(layer: Layer, first: boolean, N: number): number {
  const { parameterCount: p, units, inputs } = layer;
  const n = N * units;
  const m = first ? 0 : N * inputs;
  return (8 * (n * p + p * p + n * m + p * m + m * m)) / rate.small;
}

/** A stage of general-stage.ts. */
function generalStage(layer: Layer, first: boolean, N: number, matrix: MatrixKind): StageCost {
  const p = layer.parameterCount;
  const n = N * layer.units;
  const m = first ? 0 : N * layer.inputs;
  const work = 2 * p * n * n + 2 * p * p * n + 2 * n * n * m + 2 * n * m * m + 2 * p * n * m + p * p * m + p * m * m;
  const factor = factorSeconds(Math.max(1, p), matrix === 'gauss-newton');
  const seconds = gemmSeconds(work, Math.min(p || 1, n)) + factor + 20 * callSeconds;
  return {
    flops: work + p ** 3 / 3,
    seconds: seconds + derivativeBlockSeconds(layer, first, N),
    bytes: 8 * (2 * p * p + 2 * p * m + n * p + n * m + m * m) + 12 * p,
    controls: p,
    scratch: [p * n, n * m],
  };
}

/** The recursion over the layers (chain.ts). */
function chain(method: 'block' | 'affine', network: NetworkModel, N: number, matrix: MatrixKind): CostEstimate {
  let [flops, seconds, bytes, controls, t1, t2] = [0, 0, 0, 0, 0, 0];
  let states = N * network.outputs;
  for (const [l, layer] of network.layers.entries()) {
    const stage =
      method === 'block' || layer.kind === 'custom'
        ? generalStage(layer, l === 0, N, matrix)
        : affineStage(layer, l === 0, N, matrix);
    flops += stage.flops;
    seconds += stage.seconds;
    bytes += stage.bytes;
    controls += stage.controls;
    t1 = Math.max(t1, stage.scratch[0]);
    t2 = Math.max(t2, stage.scratch[1]);
    states = Math.max(states, N * layer.units, l === 0 ? 0 : N * layer.inputs);
  }
  bytes += 8 * (2 * states * states + t1 + t2 + 3 * states + controls);
  const closed = method === 'block' || network.layers.some(({ kind }) => kind === 'affine');
  return { method, flops, seconds, bytes, unavailable: closed ? null : 'every layer is a custom layer' };
}

/**
 * Which of B B^T (rows x rows) and B^T B (P x P) is cheaper to form and factor, in flops, and how many; see sample-space.ts.
 */
export function sampleSpaceSide(
  network: NetworkModel,
  samples: number,
): { side: 'samples' | 'parameters'; flops: number; seconds: number } {
  const rows = samples * sampleSpaceOutputs(network);
  const P = network.parameterCount;
  let gram = 0;
  for (const layer of network.layers)
    gram += rows * rows * layer.units + samples * samples * layer.inputs + 2 * rows * layer.units * layer.inputs;
  const bySamples = gram + rows ** 3 / 3;
  const byParameters = rows * P * P + P ** 3 / 3;
  const onSamples = gemmSeconds(gram, 16) + factorSeconds(rows, true) + (16 * rows * rows) / rate.bytes;
  const onParameters = gemmSeconds(rows * P * P, 64) + factorSeconds(P, true) + (16 * rows * P) / rate.bytes;
  return onSamples <= onParameters
    ? { side: 'samples', flops: bySamples, seconds: onSamples }
    : { side: 'parameters', flops: byParameters, seconds: onParameters };
}

/** Rows of the Jacobian that are multiplied out at a time on the parameter side, in numbers: bounds its memory. */
const chunkNumbers = 2 ** 22;

/**
 * Whether K_l = Z~_l Z~_l^T is formed inside the kernel, tile by tile. With one row a sample each tile of K_l is used once,
 * so nothing is done twice; with more, storing all K_l saves work while they are small.
 */
function formsGramByTiles(network: NetworkModel, samples: number): boolean {
  if (samples < 128) return false;
  return sampleSpaceOutputs(network) === 1 || network.layers.length * samples * samples > 2 ** 24;
}

/** Everything that the sample-space route holds, in numbers; {@link sampleSpaceLayout}. */
export interface SampleSpaceLayout {
  side: 'samples' | 'parameters';
  /** N K', K' = {@link sampleSpaceOutputs} */
  rows: number;
  /** of the factored matrix: rows or P */
  order: number;
  /** samples whose rows are multiplied out at a time on the parameter side */
  chunk: number;
  gramByTiles: boolean;
  sizes: {
    /** D_l of every layer, rows x units */
    rowsOfLayers: number;
    /** Z~_l of every layer, N x (inputs + bias) */
    inputsOfLayers: number;
    /** K_l of every layer, N x N, where they are stored */
    grams: number;
    /** B B^T or B^T B, kept for other dampings; none where dampings differ by layer, which scales the summands */
    product: number;
    /** its factor, and its diagonal */
    factor: number;
    /** R^T in float64, where D_L does not hold it: after the last layer's slope has been multiplied in, and in float32 */
    outputFactor: number;
    /** in float32: the parameters, and a vector on its way through the factor */
    parameters: number;
    rounded: number;
    /** one vector of outputs, one of rows, offsets and widths of the layers */
    vectors: number;
    /** for the length of a call: the chunk of B while B^T B is formed, two vectors [P] in a solve */
    passing: number;
  };
}

/** What a sample-space factor for N samples allocates: the factor itself (sample-space.ts) goes by these numbers. */
export function sampleSpaceLayout(
  network: NetworkModel,
  samples: number,
  side: 'samples' | 'parameters' = sampleSpaceSide(network, samples).side,
  single = false,
): SampleSpaceLayout {
  const rows = samples * sampleSpaceOutputs(network);
  const P = network.parameterCount;
  const order = side === 'samples' ? rows : P;
  const gramByTiles = formsGramByTiles(network, samples);
  let units = 0;
  let inputs = 0;
  for (const layer of network.layers) {
    units += layer.units;
    inputs += layer.inputs + (layer.kind === 'affine' && layer.bias ? 1 : 0);
  }
  const last = network.layers[network.layers.length - 1];
  const uniform = network.l2.every((value) => value === network.l2[0]);
  const chunk = Math.max(1, Math.min(samples, Math.floor(chunkNumbers / ((rows / samples) * P))));
  return {
    side,
    rows,
    order,
    chunk,
    gramByTiles,
    sizes: {
      rowsOfLayers: rows * units,
      inputsOfLayers: samples * inputs,
      grams: side === 'samples' && !gramByTiles ? network.layers.length * samples * samples : 0,
      product: side === 'parameters' || uniform ? order * order : 0,
      factor: order * (order + 1),
      outputFactor: !single && last.kind === 'affine' && last.linear ? 0 : rows * network.outputs,
      parameters: single ? P : 0,
      rounded: single ? order : 0,
      vectors: samples * network.outputs + rows + 5 * network.layers.length,
      passing: Math.max(2 * P, side === 'parameters' ? chunk * (rows / samples) * P : 0),
    },
  };
}

/** Bytes that a sample-space factor for N samples will hold, those that it needs for the length of a call included. */
export function sampleSpaceBytes(
  network: NetworkModel,
  samples: number,
  side?: 'samples' | 'parameters',
  single = false,
): number {
  const { outputFactor, vectors, passing, ...rest } = sampleSpaceLayout(network, samples, side, single).sizes;
  const inPrecision = Object.values(rest).reduce((sum, numbers) => sum + numbers, 0);
  return 8 * (outputFactor + vectors + passing) + (single ? 4 : 8) * inPrecision;
}

function sampleSpace(network: NetworkModel, N: number, matrix: MatrixKind): CostEstimate {
  const none = (reason: string): CostEstimate => ({
    method: 'sample-space',
    flops: 0,
    seconds: 0,
    bytes: 0,
    unavailable: reason,
  });
  if (matrix !== 'gauss-newton')
    return none("the Hessian has no sample-space form; it serves matrix: 'gauss-newton' only");
  const custom = network.layers.findIndex((layer) => layer.kind === 'custom');
  if (custom >= 0) return none(`layer ${custom} is a custom layer`);
  const { side, flops, seconds } = sampleSpaceSide(network, N);
  return { method: 'sample-space', flops, seconds, unavailable: null, bytes: sampleSpaceBytes(network, N, side) };
}

function dense(network: NetworkModel, N: number, matrix: MatrixKind): CostEstimate {
  const P = network.parameterCount;
  const form = matrix === 'hessian' ? 12 * N * P * P : 2 * N * network.outputs * P * P;
  const bytes = 8 * (P * P + (P * (P + 1)) / 2) + 12 * P;
  return {
    method: 'dense',
    flops: form + P ** 3 / 3,
    seconds: form / rate.product + factorSeconds(P, matrix === 'gauss-newton') + P * 5e-6,
    bytes,
    unavailable: P > 46340 ? 'a matrix of that order exceeds 32-bit indices' : null,
  };
}

/** The model of every route for a network with N samples, without allocating anything. */
export function estimateCosts(network: NetworkModel, samples: number, matrix: MatrixKind): CostEstimate[] {
  return [
    chain('block', network, samples, matrix),
    chain('affine', network, samples, matrix),
    sampleSpace(network, samples, matrix),
    dense(network, samples, matrix),
  ];
}

/** The cheapest route that serves the network and fits `memory` bytes, with the reason in words. */
export function chooseMethod(
  network: NetworkModel,
  samples: number,
  matrix: MatrixKind,
  memory: number,
  excluded: readonly Method[] = [],
): { estimate: CostEstimate; reason: string; all: CostEstimate[] } {
  const all = estimateCosts(network, samples, matrix);
  const usable = all
    .filter((e) => e.unavailable === null && !excluded.includes(e.method))
    .sort((a, b) => a.seconds - b.seconds);
  const fitting = usable.filter((e) => e.bytes <= memory);
  const best = fitting[0] ?? usable.reduce((a, b) => (b.bytes < a.bytes ? b : a));
  const others = usable
    .filter((e) => e !== best)
    .map((e) => `${e.method} ${formatSeconds(e.seconds)}, ${formatBytes(e.bytes)}`);
  const reason =
    `${best.method}: modelled ${formatSeconds(best.seconds)} and ${formatBytes(best.bytes)}` +
    (others.length > 0 ? ` (instead of ${others.join('; ')})` : '');
  return { estimate: best, reason, all };
}
