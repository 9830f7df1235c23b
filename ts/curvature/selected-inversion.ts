/**
 * Selected inversion: diagonal, per-layer diagonal blocks and trace of (M + eps I)^-1 without the inverse.
 *
 * The layer recursion factors M + eps I; a second sweep, first layer to last, carries the covariance of the states forward and
 * reads off every layer's block (derivation in inverse/affine-inverse.ts). Time and memory are linear in depth: a few times one
 * factorization, instead of P solves. The result is checked against refined solves at some of its columns, and replaced
 * by a dense inverse (small networks) when rounding has spoilt it.
 */
import { checkBoolean, checkFinite, checkInteger, checkKeys, checkOneOf, checkPositive } from '../checks.js';
import type { Linearization } from '../derivatives/index.js';
import { DeepHessianError } from '../errors.js';
import { checkLinearized } from '../inverse/factor.js';
import {
  availableMemory,
  ChainFactor,
  chooseMethod,
  estimateCosts,
  factorShifted,
  formatBytes,
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
  /** route, default 'auto': 'affine' or 'block' for the layer recursion, 'dense' for an explicit inverse */
  method?: 'auto' | 'affine' | 'block' | 'dense';
  /** columns that are compared with refined solves, default 4 */
  checks?: number;
  /** accepted difference of those columns, relative to their largest entry; default 1e-8 */
  tolerance?: number;
  /** Bytes that the work may take, default what the process has available. */
  memoryLimit?: number;
  /** seed of the choice of columns, default 0 */
  seed?: number;
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
  /** largest relative difference to a refined solve among the columns checked */
  error: number;
  /** 'affine', 'block' or 'dense' */
  method: 'affine' | 'block' | 'dense';
}

const keys = ['damping', 'matrix', 'blocks', 'method', 'checks', 'tolerance', 'memoryLimit', 'seed'];
/** Largest order for which an explicit inverse replaces a spoilt recursion. */
const denseOrder = 3000;

/**
 * Diagonal, layer blocks and trace of (M + eps I)^-1.
 *
 * @throws TypeError or RangeError for misuse; DeepHessianError 'out-of-memory' before anything is allocated,
 *   'tolerance-missed' when the columns checked disagree and no dense inverse fits, 'singular' when a pivot block is
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
    checks = 4,
    tolerance = 1e-8,
    seed = 0,
  } = options;
  checkFinite(operation, 'damping', damping);
  checkOneOf(operation, 'matrix', matrix, ['hessian', 'gauss-newton'] as const);
  checkBoolean(operation, 'blocks', blocks);
  checkOneOf(operation, 'method', method, ['auto', 'affine', 'block', 'dense'] as const);
  checkInteger(operation, 'checks', checks, 0);
  checkPositive(operation, 'tolerance', tolerance);
  checkInteger(operation, 'seed', seed, 0, 0xffffffff);
  const memoryLimit = options.memoryLimit ?? availableMemory();
  const { network, samples } = point;
  const chosen =
    method === 'auto'
      ? (chooseMethod(network, samples, matrix, memoryLimit, ['sample-space']).estimate.method as
          'affine' | 'block' | 'dense')
      : method;
  const estimate = estimateCosts(network, samples, matrix).find((e) => e.method === chosen)!;
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

  const common = { matrix, shift: damping, memoryLimit, onFailure: 'return' as const };
  let result = chosen === 'dense' ? null : byRecursion(point, matrix, damping, blocks, chosen);
  if (result !== null) {
    const factor = factorShifted(point, { ...common, method: chosen });
    result.error = compare(factor, result, checks, seed);
    factor.dispose();
    if (result.error <= tolerance) return result;
    const P = network.parameterCount;
    if (P > denseOrder || 24 * P * P > memoryLimit) {
      throw new DeepHessianError(
        'tolerance-missed',
        `${operation}: columns of the inverse differ from refined solves by ${result.error.toExponential(1)} (asked: ${tolerance.toExponential(1)}) ` +
          `at damping ${damping}; a larger damping helps, and a dense inverse needs ${formatBytes(24 * P * P)}`,
        { error: result.error, tolerance, damping, result },
      );
    }
  }
  result = byDenseInverse(point, matrix, damping, blocks);
  const factor = factorShifted(point, { ...common, method: 'dense' });
  result.error = compare(factor, result, checks, seed);
  factor.dispose();
  if (result.error > tolerance) {
    throw new DeepHessianError(
      'tolerance-missed',
      `${operation}: columns of the dense inverse differ from refined solves by ${result.error.toExponential(1)}`,
      {
        error: result.error,
        tolerance,
        damping,
        result,
      },
    );
  }
  return result;
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

function empty(point: Linearization, blocks: boolean, method: SelectedInverse['method']): SelectedInverse {
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

function byRecursion(
  point: Linearization,
  matrix: MatrixKind,
  damping: number,
  blocks: boolean,
  method: 'affine' | 'block',
): SelectedInverse {
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

function byDenseInverse(point: Linearization, matrix: MatrixKind, damping: number, blocks: boolean): SelectedInverse {
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

function sumUp(point: Linearization, result: SelectedInverse): SelectedInverse {
  for (const [l, { parameterOffset: o, parameterCount: p }] of point.network.layers.entries()) {
    let sum = 0;
    for (let i = o; i < o + p; i++) sum += result.diagonal[i];
    result.layerTraces[l] = sum;
    result.trace += sum;
  }
  return result;
}

/** Differences to refined solves at `checks` columns: the largest diagonal entry's and random ones. */
function compare(factor: Factor, result: SelectedInverse, checks: number, seed: number): number {
  const { network } = factor.point;
  const P = network.parameterCount;
  if (result.diagonal.some((value) => !Number.isFinite(value))) return Infinity;
  const random = new Random(seed);
  const unit = new Float64Array(P);
  const rest = new Float64Array(P);
  let error = 0;
  let largest = 0;
  for (let i = 1; i < P; i++) if (Math.abs(result.diagonal[i]) > Math.abs(result.diagonal[largest])) largest = i;
  for (let c = 0; c < checks; c++) {
    const i = c === 0 ? largest : random.integer(P);
    unit[i] = 1;
    const { x, status, residual } = factor.solve(unit);
    if (status !== 'converged') error = Math.max(error, residual);
    // One more correction: a residual of 1e-10 alone bounds the error only by the condition number times that.
    factor.apply(x, rest);
    for (let j = 0; j < P; j++) rest[j] = unit[j] - rest[j];
    const { x: correction } = factor.solve(rest);
    for (let j = 0; j < P; j++) x[j] += correction[j];
    unit[i] = 0;
    let size = 0;
    for (let j = 0; j < P; j++) size = Math.max(size, Math.abs(x[j]));
    error = Math.max(error, Math.abs(x[i] - result.diagonal[i]) / size);
    if (result.blocks === null) continue;
    const layer = network.layers.findIndex((l) => i < l.parameterOffset + l.parameterCount);
    const { parameterOffset: o, parameterCount: p } = network.layers[layer];
    for (let j = 0; j < p; j++)
      error = Math.max(error, Math.abs(x[o + j] - result.blocks[layer][(i - o) * p + j]) / size);
  }
  return error;
}
