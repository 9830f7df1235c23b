/**
 * Selected inversion: diagonal, per-layer diagonal blocks and trace of (M + eps I)^-1 without the inverse.
 *
 * The layer recursion factors M + eps I; a second sweep, first layer to last, carries the covariance of the states forward and
 * reads off every layer's block (derivation in inverse/affine-inverse.ts). Time and memory are linear in depth: a few times one
 * factorization, instead of P solves. The result is checked against refined solves at some of its columns.
 *
 * It loses digits that no single solve loses: K S' K^T (inverse/affine-inverse.ts) is larger than the block which is left of it, by
 * (delta / eps)^2 where a layer has fewer samples than inputs (measured in docs/theory/inverse.md). There a dense inverse (small
 * networks) or refined solves with all P unit vectors, in groups, take its place.
 */
import { checkBoolean, checkFinite, checkInteger, checkKeys, checkOneOf, checkPositive, failType } from '../checks.js';
import type { Linearization } from '../derivatives/index.js';
import { DeepHessianError } from '../errors.js';
import { symmetrise } from '../inverse/affine-inverse.js';
import { checkLinearized } from '../inverse/factor.js';
import {
  availableMemory,
  ChainFactor,
  chooseMethod,
  estimateCosts,
  factorShifted,
  formatSeconds,
  requireMemory,
  type Factor,
  type MatrixKind,
} from '../inverse/index.js';
import { Lower, kernels } from '../native/index.js';
import { Random } from '../random.js';

/** Options of {@link selectedInverse}. */
export interface SelectedInversionOptions {
  /** eps, any finite number that leaves M + eps I regular; L2 is part of M */
  damping: number;
  /** 'hessian' (default) or 'gauss-newton' */
  matrix?: MatrixKind;
  /** also the p x p block of every layer; default false */
  blocks?: boolean;
  /**
   * Route, default 'auto': 'affine' or 'block' for the layer recursion, 'dense' for an explicit inverse, 'solves' for refined
   * solves with all P unit vectors. One that misses the tolerance is followed by 'dense' (up to 3,000 parameters), then 'solves'.
   */
  method?: 'auto' | 'affine' | 'block' | 'dense' | 'solves';
  /** columns that are compared with refined solves, default 24, spread over the layers */
  checks?: number;
  /** accepted {@link SelectedInverse.error}, default 1e-8 */
  tolerance?: number;
  /** Most seconds that solves may take which nobody asked for, default 300; foreseen from the first of their groups. */
  seconds?: number;
  /** Bytes that the work may take, default what the process has available. */
  memoryLimit?: number;
  /** seed of the choice of columns, default 0 */
  seed?: number;
  /** called after every group of solves with the columns done and P; returning false stops with DeepHessianError 'aborted' */
  onProgress?: (done: number, total: number) => boolean | void;
}

/** Diagonal, trace and blocks of an inverse. */
export interface SelectedInverse {
  /** diagonal of (M + eps I)^-1, length P */
  diagonal: Float64Array;
  /** per layer, column-major p x p in parameter order; null unless asked for */
  blocks: Float64Array[] | null;
  /** tr (M + eps I)^-1 */
  trace: number;
  /** its part from each layer */
  layerTraces: Float64Array;
  /**
   * Largest difference to a refined solve among the columns checked, relative to the column's largest entry. By 'solves': the
   * largest residual of all columns, which is their error relative to |(M + eps I)^-1|_2 at most.
   */
  error: number;
  /** 'affine', 'block', 'dense' or 'solves' */
  method: 'affine' | 'block' | 'dense' | 'solves';
}

type Route = SelectedInverse['method'];

const keys = [
  'damping',
  'matrix',
  'blocks',
  'method',
  'checks',
  'tolerance',
  'seconds',
  'memoryLimit',
  'seed',
  'onProgress',
];
/** Largest order for which an explicit inverse replaces a spoilt recursion. */
const denseOrder = 3000;
/** Most columns that are solved at once, and bytes that a group of them may take. */
const groupColumns = 64;
const groupBytes = 2 ** 28;

/**
 * Diagonal, layer blocks and trace of (M + eps I)^-1.
 *
 * In float64 no route is better than about 1e-16 |M| / |lambda|, lambda the eigenvalue of M + eps I nearest to zero, and the error
 * reported says so: at eps = 1e-10 |M| a tolerance of 1e-6 can be met, one of 1e-8 cannot.
 *
 * @throws TypeError or RangeError for misuse; DeepHessianError 'out-of-memory' before anything is allocated,
 *   'tolerance-missed' when no route meets the tolerance (`details.result` is the best), or P solves would take more than
 *   `seconds`; 'singular' when a pivot block is, 'aborted' by `onProgress`
 *
 * @example
 * const { diagonal, trace } = selectedInverse(point, { damping: 0.1 });
 */
export function selectedInverse(point: Linearization, options: SelectedInversionOptions): SelectedInverse {
  const operation = 'selectedInverse';
  checkLinearized(operation, point);
  checkKeys(operation, 'options', options, keys);
  const {
    damping,
    matrix = 'hessian',
    blocks = false,
    method = 'auto',
    checks = 24,
    tolerance = 1e-8,
    seconds = 300,
    seed = 0,
    onProgress,
  } = options;
  checkFinite(operation, 'damping', damping);
  checkOneOf(operation, 'matrix', matrix, ['hessian', 'gauss-newton'] as const);
  checkBoolean(operation, 'blocks', blocks);
  checkOneOf(operation, 'method', method, ['auto', 'affine', 'block', 'dense', 'solves'] as const);
  checkInteger(operation, 'checks', checks, 0);
  checkPositive(operation, 'tolerance', tolerance);
  checkPositive(operation, 'seconds', seconds);
  checkInteger(operation, 'seed', seed, 0, 0xffffffff);
  if (onProgress !== undefined && typeof onProgress !== 'function')
    failType(operation, 'onProgress', 'a function', onProgress);
  const memoryLimit = options.memoryLimit ?? availableMemory();
  const { network, samples } = point;
  const P = network.parameterCount;
  const estimate =
    method === 'auto' || method === 'solves'
      ? chooseMethod(network, samples, matrix, memoryLimit, ['sample-space']).estimate
      : estimateCosts(network, samples, matrix).find((e) => e.method === method)!;
  const chosen = estimate.method as Exclude<Route, 'solves'>;
  if (estimate.unavailable !== null) {
    throw new DeepHessianError(
      'unsupported',
      `${operation}: method '${chosen}' cannot serve this network: ${estimate.unavailable}`,
      { method: chosen },
    );
  }
  const bytes = estimate.bytes + sweepBytes(point, blocks);
  requireMemory(
    operation,
    bytes,
    memoryLimit,
    blocks ? 'ask for the diagonal only, or use fewer samples' : 'use fewer samples or a narrower network',
  );

  const work = { point, matrix, damping, blocks, memoryLimit };
  let best: SelectedInverse | null = null;
  if (method !== 'solves') {
    const routes = [chosen];
    if (chosen !== 'dense' && P <= denseOrder && 24 * P * P <= memoryLimit) routes.push('dense');
    for (const route of routes) {
      const result = route === 'dense' ? byDenseInverse(work) : byRecursion(work, route);
      const factor = factorShifted(point, { matrix, shift: damping, method: route, memoryLimit, onFailure: 'return' });
      result.error = compare(factor, result, checks, seed);
      factor.dispose();
      if (result.error <= tolerance) return result;
      if (best === null || result.error < best.error) best = result;
    }
  }
  const solved = bySolves(work, chosen, tolerance, method === 'solves' ? Infinity : seconds, onProgress);
  if (typeof solved !== 'string') {
    if (solved.error <= tolerance) return solved;
    if (best === null || solved.error < best.error) best = solved;
  }
  const reached =
    best === null
      ? ''
      : `columns of the inverse ${best.method === 'solves' ? 'leave residuals of' : 'differ from refined solves by'} ${best.error.toExponential(1)}`;
  throw new DeepHessianError(
    'tolerance-missed',
    `${operation}: ${[reached, typeof solved === 'string' ? solved : ''].filter(Boolean).join(', and ')} ` +
      `(asked: ${tolerance.toExponential(1)}) at damping ${damping}; a larger damping or tolerance helps`,
    { error: best?.error ?? NaN, tolerance, damping, result: best },
  );
}

/** tr(M (M + eps I)^-1) = P - eps tr (M + eps I)^-1, whole and by layer. */
export interface EffectiveParameters {
  /** effective number of parameters */
  total: number;
  /** Its part from each layer. */
  layers: Float64Array;
  /** as in {@link SelectedInverse} */
  error: number;
}

/**
 * The effective number of parameters tr(M (M + eps I)^-1) (MacKay 1992, equation 4.8): directions with eigenvalues well above
 * eps count one, those well below zero. For an indefinite M it need not lie between 0 and P.
 *
 * @param options as for {@link selectedInverse}
 */
export function effectiveParameters(
  point: Linearization,
  options: Omit<SelectedInversionOptions, 'blocks'>,
): EffectiveParameters {
  const { trace, layerTraces, error } = selectedInverse(point, { ...options, blocks: false });
  const { layers, parameterCount } = point.network;
  return {
    total: parameterCount - options.damping * trace,
    layers: layerTraces.map((value, l) => layers[l].parameterCount - options.damping * value),
    error,
  };
}

/** Largest working set of the forward sweep beside the factor, and the blocks that are kept. */
function sweepBytes(point: Linearization, blocks: boolean): number {
  const { network, samples: N } = point;
  let widest = 0;
  let kept = 0;
  for (const [l, { inputs, units, parameterCount: p }] of network.layers.entries()) {
    const m = l === 0 ? 0 : N * inputs;
    const n = N * units;
    const c = Math.min(p, N * units);
    widest = Math.max(
      widest,
      m * m + n * n + 2 * n * m + 2 * c * m + c * c + n * c + (blocks ? 2 * p * m + p * p : 2 * (inputs + 1) * m),
    );
    kept += blocks ? p * p : p;
  }
  return 8 * (widest + kept);
}

function empty(point: Linearization, blocks: boolean, method: Route): SelectedInverse {
  const { network } = point;
  return {
    diagonal: new Float64Array(network.parameterCount),
    blocks: blocks ? [] : null,
    trace: 0,
    layerTraces: new Float64Array(network.layers.length),
    error: NaN,
    method,
  };
}

/** What every route is given. */
interface Work {
  point: Linearization;
  matrix: MatrixKind;
  damping: number;
  blocks: boolean;
  memoryLimit: number;
}

function byRecursion({ point, matrix, damping, blocks }: Work, method: 'affine' | 'block'): SelectedInverse {
  const result = empty(point, blocks, method);
  const chain = new ChainFactor(point, matrix, method === 'block');
  if (!chain.factor(damping)) {
    chain.dispose();
    result.diagonal.fill(NaN);
    return result;
  }
  chain.releaseWorkspace();
  chain.inverse(blocks, (l, diagonal, block) => {
    result.diagonal.set(diagonal, point.network.layers[l].parameterOffset);
    if (block !== null) result.blocks!.push(block);
  });
  chain.dispose();
  return sumUp(point, result);
}

function byDenseInverse({ point, matrix, damping, blocks }: Work): SelectedInverse {
  const result = empty(point, blocks, 'dense');
  const { parameterCount: P, layers } = point.network;
  const a = matrix === 'hessian' ? point.denseHessian() : point.denseGaussNewton();
  for (let i = 0; i < P; i++) a[i * (P + 1)] += damping;
  const pivots = new Int32Array(P);
  const info = kernels.sytrf(Lower, P, a, 0, P, pivots, 0) || kernels.sytri(Lower, P, a, 0, P, pivots, 0);
  if (info !== 0)
    throw new DeepHessianError('singular', `selectedInverse: the matrix is singular at damping ${damping}`, {
      damping,
    });
  kernels.symmetrize(Lower, P, a, 0, P);
  for (let i = 0; i < P; i++) result.diagonal[i] = a[i * (P + 1)];
  if (blocks) {
    for (const { parameterOffset: o, parameterCount: p } of layers) {
      const block = new Float64Array(p * p);
      for (let j = 0; j < p; j++) block.set(a.subarray((o + j) * P + o, (o + j) * P + o + p), j * p);
      result.blocks!.push(block);
    }
  }
  return sumUp(point, result);
}

/**
 * Column by column, a group of unit vectors at a time; given up after the first when it misses the tolerance, or when all of them
 * would take longer than `seconds`. A group's vectors are spread over all layers, so that it speaks for the others.
 *
 * @returns the result, or why there is none
 */
function bySolves(
  { point, matrix, damping, blocks, memoryLimit }: Work,
  method: Exclude<Route, 'solves'>,
  tolerance: number,
  seconds: number,
  onProgress: SelectedInversionOptions['onProgress'],
): SelectedInverse | string {
  const result = empty(point, blocks, 'solves');
  const { parameterCount: P, layers } = point.network;
  if (blocks) for (const { parameterCount: p } of layers) result.blocks!.push(new Float64Array(p * p));
  const factor = factorShifted(point, { matrix, shift: damping, method, memoryLimit, tolerance, onFailure: 'return' });
  try {
    // Right-hand sides, solutions, controls, and four arrays of states.
    const states = Math.max(...layers.map(({ inputs, units }) => point.samples * Math.max(inputs, units)));
    const most = Math.min(groupColumns, Math.floor(Math.min(groupBytes, memoryLimit / 4) / (8 * (3 * P + 4 * states))));
    const groups = Math.ceil(P / Math.max(1, most));
    const began = performance.now();
    result.error = 0;
    for (let group = 0, done = 0; group < groups; group++) {
      const columns = Math.ceil((P - group) / groups);
      const units = new Float64Array(P * columns);
      for (let c = 0; c < columns; c++) units[c * P + group + c * groups] = 1;
      const { x, residual } = factor.solveMany(units, columns);
      if (group === 0 && !(residual <= tolerance)) {
        return `refined solves with unit vectors leave residuals of ${residual.toExponential(1)}`;
      }
      result.error = Math.max(result.error, residual);
      for (let c = 0; c < columns; c++) {
        const i = group + c * groups;
        result.diagonal[i] = x[c * P + i];
        if (!blocks) continue;
        const l = layers.findIndex(({ parameterOffset: o, parameterCount: p }) => i < o + p);
        const { parameterOffset: o, parameterCount: p } = layers[l];
        result.blocks![l].set(x.subarray(c * P + o, c * P + o + p), (i - o) * p);
      }
      done += columns;
      const foreseen = ((performance.now() - began) / 1e3 / done) * P;
      if (group === 0 && foreseen > seconds) {
        return (
          `refined solves for all ${P} columns would take about ${formatSeconds(foreseen)}, more than ${formatSeconds(seconds)}: ` +
          "ask for them with method: 'solves', or by `seconds`"
        );
      }
      if (onProgress?.(done, P) === false && done < P)
        throw new DeepHessianError('aborted', 'selectedInverse: stopped by its caller', { done });
    }
  } finally {
    factor.dispose();
  }
  for (const [l, { parameterCount: p }] of layers.entries()) if (blocks) symmetrise(result.blocks![l], p);
  return sumUp(point, result);
}

function sumUp(point: Linearization, result: SelectedInverse): SelectedInverse {
  for (const [l, { parameterOffset: o, parameterCount: p }] of point.network.layers.entries()) {
    let sum = 0;
    for (let i = o; i < o + p; i++) sum += result.diagonal[i];
    result.layerTraces[l] = sum;
    result.trace += sum;
  }
  return result;
}

/**
 * Differences to refined solves at `checks` columns, from the last layer to the first: the recursion's error grows on its way to
 * the last. Of each layer the column of the largest diagonal entry, then random ones.
 */
function compare(factor: Factor, result: SelectedInverse, checks: number, seed: number): number {
  const { layers, parameterCount: P } = factor.point.network;
  if (result.diagonal.some((value) => !Number.isFinite(value))) return Infinity;
  if (checks === 0) return 0;
  const random = new Random(seed);
  const visited = new Set<number>();
  const held = layers.filter(({ parameterCount }) => parameterCount > 0);
  const places = Array.from({ length: checks }, (_, c): [layer: number, column: number] => {
    const {
      index: l,
      parameterOffset: o,
      parameterCount: p,
    } = held[held.length - 1 - Math.floor((c * held.length) / checks)];
    if (visited.has(l)) return [l, o + random.integer(p)];
    visited.add(l);
    let largest = o;
    for (let i = o; i < o + p; i++) if (Math.abs(result.diagonal[i]) > Math.abs(result.diagonal[largest])) largest = i;
    return [l, largest];
  });
  // Right-hand sides, solutions, their corrections, and what the solves hold meanwhile.
  const most = Math.max(1, Math.floor(groupBytes / (48 * P)));
  let error = 0;
  for (let first = 0; first < checks; first += most)
    error = Math.max(error, differences(factor, result, places.slice(first, first + most)));
  return error;
}

function differences(factor: Factor, result: SelectedInverse, places: [layer: number, column: number][]): number {
  const { layers, parameterCount: P } = factor.point.network;
  const rest = new Float64Array(P * places.length);
  for (const [c, [, i]] of places.entries()) rest[c * P + i] = 1;
  const { x, status, residual } = factor.solveMany(rest, places.length);
  // One more correction: a residual of 1e-10 alone bounds the error only by the condition number times that.
  const product = new Float64Array(P);
  for (let c = 0; c < places.length; c++) {
    factor.apply(x.subarray(c * P, (c + 1) * P), product);
    for (let j = 0; j < P; j++) rest[c * P + j] -= product[j];
  }
  const { x: correction } = factor.solveMany(rest, places.length);
  let error = status === 'converged' ? 0 : residual;
  for (const [c, [l, i]] of places.entries()) {
    let size = 0;
    for (let j = c * P; j < (c + 1) * P; j++) size = Math.max(size, Math.abs((x[j] += correction[j])));
    error = Math.max(error, Math.abs(x[c * P + i] - result.diagonal[i]) / size);
    if (result.blocks === null) continue;
    const { parameterOffset: o, parameterCount: p } = layers[l];
    for (let j = 0; j < p; j++)
      error = Math.max(error, Math.abs(x[c * P + o + j] - result.blocks[l][(i - o) * p + j]) / size);
  }
  return error;
}
