/**
 * One inverse product x = (M + eps I)^-1 v, M = H or G (P x P), by every means there is: the exact factor against conjugate
 * gradients, MINRES, the Neumann series and LiSSA, each measured against the same reference.
 *
 *     relative error     |x - x*| / |x*|          cosine     x^T x* / (|x| |x*|)
 *
 * x* comes from an eigen-decomposition of the dense matrix, refined on the exact product, where that fits (so the exact factor
 * is measured too, by another route); from the factor itself above. A product is one exact matrix-vector product over the
 * whole batch (Pearlmutter 1994); one over a part of the batch counts as that part.
 *
 * K-FAC approximates the matrix, not the solve: it costs no product, and its error is that of the approximation.
 * Conjugate gradients are run on through directions of negative curvature, as plain implementations do: on an indefinite
 * matrix they need not converge, and the table says where the first such direction was met.
 */
import {
  checkInteger,
  checkKeys,
  checkNonNegative,
  checkOneOf,
  checkPositive,
  checkVector,
  failRange,
} from '../checks.js';
import { curvatureOperator, inertia } from '../curvature/index.js';
import type { Linearization, Network } from '../derivatives/index.js';
import { DeepHessianError } from '../errors.js';
import { availableMemory, factorShifted, solveStatuses, type MatrixKind } from '../inverse/index.js';
import { cg } from '../linalg/cg.js';
import { type LinearOperator } from '../linalg/linear-operator.js';
import { lanczos } from '../linalg/lanczos.js';
import { lissa, type StochasticOperator } from '../linalg/lissa.js';
import { minres } from '../linalg/minres.js';
import { neumann } from '../linalg/neumann.js';
import { shifted } from '../linalg/operator-algebra.js';
import { explain, type IterationStatus, type NegativeCurvature, type SolveResult } from '../linalg/status.js';
import { axpy, dot, norm } from '../linalg/vectors.js';
import { kernels, Lower, No, Yes } from '../native/index.js';
import { KroneckerFactors, KroneckerInverse } from '../optimize/kronecker.js';

/** Ways to an inverse product, with what each one is. */
export const inverseProductMethods = {
  exact: 'factor along the layers, refined on the exact product',
  cg: 'conjugate gradients, run on through negative curvature',
  minres: 'minimum residual, made for symmetric indefinite matrices',
  neumann: 'Neumann series scaled by a norm estimate',
  'neumann-unscaled': 'Neumann series as it stands: sum of (I - A)^k v',
  lissa: 'Neumann series on random parts of the batch',
  kfac: 'Kronecker-factored Gauss-Newton matrix, one block a layer',
} as const;
/** Name of a way to an inverse product, a key of {@link inverseProductMethods}. */
export type InverseProductMethod = keyof typeof inverseProductMethods;

const methodNames = Object.keys(inverseProductMethods) as InverseProductMethod[];

/** A network at a point, with the rows that its loss averages over. */
export interface InverseProductProblem {
  /** the network; its P parameters are the order of the matrix */
  network: Network;
  /** the point, length P */
  params: Float64Array;
  /** row-major [N, inputs] */
  inputs: Float64Array;
  /** classes [N] for cross-entropy, else values row-major [N, outputs] */
  targets: Int32Array | Float64Array;
}

/** Options of {@link compareInverseProducts}. */
export interface InverseProductOptions {
  /** 'hessian' (default) or 'gauss-newton' */
  matrix?: MatrixKind;
  /** eps >= 0, default 0 */
  damping?: number;
  /** v, default the gradient */
  vector?: Float64Array;
  /** methods to run, default all */
  methods?: readonly InverseProductMethod[];
  /** most iterations of the iterative methods, and terms of the series; default 1000 */
  iterations?: number;
  /** relative residual at which they stop, default 1e-10 */
  tolerance?: number;
  /** where cg, minres and the series begin: at 0 (default) or at v */
  start?: 'zero' | 'vector';
  /** seconds after which an iterative method is stopped, default 60 */
  seconds?: number;
  /** chains of LiSSA, default 10 */
  repeats?: number;
  /** terms of a chain of LiSSA, default min(iterations, 1000) */
  depth?: number;
  /** of random parts and start vectors, default 0 */
  seed?: number;
  /** called before each method; returning false stops with DeepHessianError 'aborted' */
  onMethod?: (method: InverseProductMethod, done: number, total: number) => boolean | void;
}

/** One row of the comparison. */
export interface InverseProduct {
  /** the way taken */
  method: InverseProductMethod;
  /** how it ended: a word of the iterative solvers, or of the exact solve */
  status: IterationStatus | 'stalled' | 'singular' | 'overflow' | 'applied' | 'failed';
  /** the same in a sentence */
  explanation: string;
  /** |x - x*| / |x*|; NaN for a method that failed */
  relativeError: number;
  /** x^T x* / (|x| |x*|), 0 for x = 0; NaN for a method that failed */
  cosine: number;
  /** |v - A x| / |v|, from its definition */
  residual: number;
  /** products over the whole batch; parts of it count as such */
  products: number;
  /** seconds of wall time, without those of measuring its errors */
  seconds: number;
  /** the iteration at which a direction of negative or zero curvature was met; null where none was or nobody looked */
  negativeCurvatureAt: number | null;
  /** [products, relative error] after every iteration */
  curve: [number, number][];
}

/** Result of {@link compareInverseProducts}: plain JSON. */
export interface InverseProductComparison {
  /** M, without the damping */
  matrix: MatrixKind;
  /** eps >= 0 in A = M + eps I */
  damping: number;
  /** order of the matrix, P */
  parameters: number;
  /** samples that the loss averages over, N */
  samples: number;
  /** most iterations and terms allowed */
  iterations: number;
  /** relative residual at which the iterative methods stop */
  tolerance: number;
  /** where cg, minres and the series began: at 0 or at v */
  start: 'zero' | 'vector';
  /** extreme eigenvalues of M + eps I, the number of negative ones, max |lambda| / min |lambda|; null: not known */
  spectrum: { lowest: number; highest: number; negative: number | null; condition: number | null };
  /** where x* comes from */
  reference: { from: 'eigen-decomposition' | 'factor'; residual: number; norm: number };
  /** one row a method, in the order in which they ran */
  methods: InverseProduct[];
}

const keys = [
  'matrix',
  'damping',
  'vector',
  'methods',
  'iterations',
  'tolerance',
  'start',
  'seconds',
  'repeats',
  'depth',
  'seed',
  'onMethod',
];

/** Largest order whose dense eigen-decomposition serves as reference: seconds on one core. */
const denseOrder = 1500;

/**
 * Runs every method on one problem.
 *
 * @throws TypeError or RangeError for wrong arguments; DeepHessianError of the exact solve when there is no reference at all
 *
 * @example
 * const { methods } = compareInverseProducts({ network, params, inputs, targets }, { iterations: 40 });
 * methods.find((row) => row.method === 'cg').cosine;
 */
export function compareInverseProducts(
  problem: InverseProductProblem,
  options: InverseProductOptions = {},
): InverseProductComparison {
  const operation = 'compareInverseProducts';
  checkKeys(operation, 'options', options, keys);
  const { matrix = 'hessian', damping = 0, iterations = 1000, tolerance = 1e-10, start = 'zero', seed = 0 } = options;
  const { methods = methodNames, seconds = 60, repeats = 10, depth = Math.min(iterations, 1000), onMethod } = options;
  checkOneOf(operation, 'matrix', matrix, ['hessian', 'gauss-newton'] as const);
  checkNonNegative(operation, 'damping', damping);
  checkInteger(operation, 'iterations', iterations, 1, 1e7);
  checkPositive(operation, 'tolerance', tolerance);
  checkOneOf(operation, 'start', start, ['zero', 'vector'] as const);
  checkPositive(operation, 'seconds', seconds);
  checkInteger(operation, 'repeats', repeats, 1);
  checkInteger(operation, 'depth', depth, 1);
  checkInteger(operation, 'seed', seed, 0, 0xffffffff);
  for (const method of methods) checkOneOf(operation, 'methods', method, methodNames);
  const { network, params, inputs, targets } = problem;
  const point = network.linearize(params, { inputs, targets });
  const P = network.parameterCount;
  const v = options.vector ?? point.gradient.slice();
  checkVector(operation, 'vector', v, P);
  if (norm(v) === 0) failRange(operation, 'vector', 'a vector other than 0 (the gradient vanishes here)', v);

  const a = shifted(curvatureOperator(point, matrix), damping);
  const reference = referenceSolution(point, a, v, matrix, damping, seed);
  const x = new Float64Array(P);
  const initial = start === 'vector' ? { initial: v } : {};
  const rows: InverseProduct[] = [];
  for (const [done, method] of methods.entries()) {
    if (onMethod?.(method, done, methods.length) === false) {
      throw new DeepHessianError('aborted', `${operation}: stopped by its caller`, { done });
    }
    const watch = new ErrorWatch(reference.x, seconds);
    // The starting point costs a product where it is not 0.
    const first = start === 'vector' ? 1 : 0;
    const onIteration = (k: number): boolean => watch.note(k + first, x);
    const common = { maxIterations: iterations, tolerance, out: x, onIteration, ...initial };
    let row: Outcome;
    try {
      if (method === 'exact') row = exactRow(point, v, x, matrix, damping);
      else if (method === 'lissa') row = lissaRow(problem, a, v, x, watch, { matrix, damping, repeats, depth, seed });
      else if (method === 'kfac') row = kfacRow(point, a, v, x, damping, reference.spectrum.highest);
      else if (method === 'cg') row = krylovRow(cg(a, v, { ...common, onNegativeCurvature: 'continue' }));
      else if (method === 'minres') row = krylovRow(minres(a, v, common));
      else {
        const scale = method === 'neumann' ? {} : { scale: 1 };
        row = krylovRow(neumann(a, v, { ...common, ...scale, seed }));
      }
    } catch (error) {
      // A method that cannot serve this network is a line of the table, not the end of it.
      if (!(error instanceof DeepHessianError)) throw error;
      x.fill(NaN);
      row = { status: 'failed', residual: NaN, products: 0, explanation: error.message };
    }
    const took = watch.seconds();
    rows.push({
      method,
      status: row.status,
      explanation:
        row.explanation ??
        `${explain(row.status as IterationStatus)}${row.status === 'stopped' ? ` (${seconds} s were up)` : ''}`,
      relativeError: relativeError(x, reference.x),
      cosine: cosine(x, reference.x),
      residual: row.residual,
      products: row.products,
      seconds: took,
      negativeCurvatureAt: row.negativeCurvatureAt ?? null,
      curve: thinned(watch.curve.length === 0 ? [[row.products, relativeError(x, reference.x)]] : watch.curve),
    });
  }
  return {
    matrix,
    damping,
    parameters: P,
    samples: point.samples,
    iterations,
    tolerance,
    start,
    spectrum: reference.spectrum,
    reference: { from: reference.from, residual: reference.residual, norm: norm(reference.x) },
    methods: rows,
  };
}

/** What a method says of itself. */
interface Outcome {
  status: InverseProduct['status'];
  residual: number;
  products: number;
  negativeCurvatureAt?: number | null;
  /** instead of the sentence that belongs to the status */
  explanation?: string;
}

function krylovRow(result: SolveResult & { negativeCurvature?: NegativeCurvature | null }): Outcome {
  const { status, residual, products, negativeCurvature } = result;
  return { status, residual, products, negativeCurvatureAt: negativeCurvature?.iteration ?? null };
}

/** Errors of the iterates as they come; its own time is taken off the clock. */
class ErrorWatch {
  readonly curve: [number, number][] = [];
  private readonly start = performance.now();
  private own = 0;

  constructor(
    private readonly reference: Float64Array,
    private readonly limit: number,
  ) {}

  /** false once the time is up */
  note(products: number, x: Float64Array): boolean {
    const begin = performance.now();
    this.curve.push([products, relativeError(x, this.reference)]);
    this.own += performance.now() - begin;
    return this.seconds() < this.limit;
  }

  seconds(): number {
    return (performance.now() - this.start - this.own) / 1000;
  }
}

interface Reference {
  x: Float64Array;
  from: 'eigen-decomposition' | 'factor';
  residual: number;
  spectrum: InverseProductComparison['spectrum'];
}

function referenceSolution(
  point: Linearization,
  a: LinearOperator,
  v: Float64Array,
  matrix: MatrixKind,
  damping: number,
  seed: number,
): Reference {
  const P = v.length;
  if (P > denseOrder) {
    const f = factorShifted(point, { matrix, shift: damping, tolerance: 1e-12, onFailure: 'return' });
    try {
      const { x, residual } = f.solve(v);
      if (!(residual < 1e-6)) {
        throw new DeepHessianError(
          'tolerance-missed',
          `compareInverseProducts: no reference: the exact solve ends at residual ${residual.toExponential(1)}; a damping > ${damping} helps`,
          { residual, damping },
        );
      }
      const ends = lanczos(curvatureOperator(point, matrix), {
        smallest: 1,
        largest: 1,
        tolerance: 1e-3,
        verify: false,
        seed,
      });
      let negative: number | null = null;
      try {
        negative = inertia(point, damping, { matrix }).negative;
      } catch (error) {
        if (!(error instanceof DeepHessianError) || error.code !== 'inertia-untrusted') throw error;
      }
      const [lowest, highest] = [ends.values[0] + damping, ends.values[1] + damping];
      return { x, from: 'factor', residual, spectrum: { lowest, highest, negative, condition: null } };
    } finally {
      f.dispose();
    }
  }
  const vectors = a.toDense();
  const values = new Float64Array(P);
  kernels.syevd(Yes, Lower, P, vectors, 0, P, values, 0);
  let smallest = Infinity;
  let largest = 0;
  let negative = 0;
  for (let i = 0; i < P; i++) {
    smallest = Math.min(smallest, Math.abs(values[i]));
    largest = Math.max(largest, Math.abs(values[i]));
    if (values[i] < 0) negative++;
  }
  if (smallest <= P * Number.EPSILON * largest) {
    throw new DeepHessianError(
      'singular',
      `compareInverseProducts: the matrix is singular at damping ${damping} (smallest |eigenvalue| ${smallest.toExponential(1)} of ` +
        `${largest.toExponential(1)}), so there is no inverse product to compare with; a damping > ${damping} helps`,
      { damping, smallest, largest },
    );
  }
  const x = new Float64Array(P);
  const r = v.slice();
  const w = new Float64Array(P);
  let residual = Infinity;
  // x += V diag(1 / lambda) V^T r: the decomposition solves, the exact product refines.
  for (let step = 0; step < 4; step++) {
    kernels.gemv(Yes, P, P, 1, vectors, 0, P, r, 0, 1, 0, w, 0, 1);
    for (let i = 0; i < P; i++) w[i] /= values[i];
    kernels.gemv(No, P, P, 1, vectors, 0, P, w, 0, 1, 1, x, 0, 1);
    a.apply(x, r);
    for (let i = 0; i < P; i++) r[i] = v[i] - r[i];
    const next = norm(r) / norm(v);
    if (!(next < residual)) break;
    residual = next;
  }
  return {
    x,
    from: 'eigen-decomposition',
    residual,
    spectrum: { lowest: values[0], highest: values[P - 1], negative, condition: largest / smallest },
  };
}

function exactRow(
  point: Linearization,
  v: Float64Array,
  x: Float64Array,
  matrix: MatrixKind,
  damping: number,
): Outcome {
  // Without damping a layer's own block is singular, and only the whole matrix can be factored.
  const dense = damping === 0 && 24 * v.length ** 2 <= availableMemory();
  const f = factorShifted(point, {
    matrix,
    shift: damping,
    onFailure: 'return',
    ...(dense ? { method: 'dense' as const } : {}),
  });
  try {
    const solution = f.solve(v);
    x.set(solution.x);
    const { status, residual, refinements } = solution;
    // One product to look at the residual, and one for each refinement.
    return { status, residual, products: refinements + 1, explanation: solveStatuses[status] };
  } finally {
    f.dispose();
  }
}

/** Most parts that the batch is cut into for LiSSA. */
const mostParts = 32;

function lissaRow(
  problem: InverseProductProblem,
  a: LinearOperator,
  v: Float64Array,
  x: Float64Array,
  watch: ErrorWatch,
  {
    matrix,
    damping,
    repeats,
    depth,
    seed,
  }: { matrix: MatrixKind; damping: number; repeats: number; depth: number; seed: number },
): Outcome {
  const { operator, parts } = batchParts(problem, matrix);
  let scale: number | undefined;
  let products = 0;
  let chains = 0;
  let status: IterationStatus = 'sampled';
  x.fill(0);
  // Chain after chain with seeds of its own, so that the mean so far can be looked at.
  for (; chains < repeats;) {
    const run = lissa(operator, v, {
      depth,
      repeats: 1,
      damping,
      seed: seed + chains,
      ...(scale === undefined ? {} : { scale }),
    });
    ({ scale } = run);
    products += run.products / parts;
    if (run.status === 'diverged' || run.status === 'not-finite') {
      status = run.status;
      if (chains === 0) x.set(run.x);
      break;
    }
    chains++;
    for (let i = 0; i < x.length; i++) x[i] += (run.x[i] - x[i]) / chains;
    if (!watch.note(products, x) && chains < repeats) {
      status = 'stopped';
      break;
    }
  }
  const r = new Float64Array(x.length);
  a.apply(x, r);
  for (let i = 0; i < r.length; i++) r[i] = v[i] - r[i];
  return { status, residual: norm(r) / norm(v), products };
}

/** Damping of K-FAC where the problem has none, in parts of the largest eigenvalue: its factors may be singular. */
const kfacDamping = 1e-3;

function kfacRow(
  point: Linearization,
  a: LinearOperator,
  v: Float64Array,
  x: Float64Array,
  damping: number,
  highest: number,
): Outcome {
  const factors = new KroneckerFactors('compareInverseProducts', point.network, 'exact', 0, 0);
  factors.update(point);
  const inverse = new KroneckerInverse(factors);
  const lambda = damping > 0 ? damping : kfacDamping * highest;
  inverse.invert(lambda);
  inverse.apply(v, x);
  const r = new Float64Array(x.length);
  a.apply(x, r);
  for (let i = 0; i < r.length; i++) r[i] = v[i] - r[i];
  const note = damping > 0 ? '' : `, with a damping of ${lambda.toExponential(1)}, which it cannot do without`;
  return { status: 'applied', residual: norm(r) / norm(v), products: 0, explanation: `Applied once${note}.` };
}

/**
 * The curvature of random parts of the batch, whose mean is that of the whole batch exactly: part c of C gets the sample
 * weights N_c C / N, which undo its own average over N_c.
 * @internal
 */
export function batchParts(
  { network, params, inputs, targets }: InverseProductProblem,
  matrix: MatrixKind,
): { operator: StochasticOperator; parts: number } {
  const features = network.inputs;
  const N = inputs.length / features;
  const parts = Math.min(N, mostParts);
  const width = targets.length / N;
  const points = Array.from({ length: parts }, (_, c) => {
    const from = Math.floor((c * N) / parts);
    const to = Math.floor(((c + 1) * N) / parts);
    return network.linearize(params, {
      inputs: inputs.slice(from * features, to * features),
      targets: targets.slice(from * width, to * width),
      weights: new Float64Array(to - from).fill(((to - from) * parts) / N),
    });
  });
  const apply = (c: number, y: Float64Array, out: Float64Array): void => {
    if (matrix === 'hessian') points[c].hessianProduct(y, out);
    else points[c].gaussNewtonProduct(y, out);
  };
  return { operator: { size: network.parameterCount, count: parts, apply }, parts };
}

function relativeError(x: Float64Array, reference: Float64Array): number {
  const difference = x.slice();
  axpy(-1, reference, difference);
  return norm(difference) / norm(reference);
}

function cosine(x: Float64Array, reference: Float64Array): number {
  const length = norm(x);
  return length === 0 ? 0 : dot(x, reference) / (length * norm(reference));
}

/** At most 400 points of a curve, both ends among them. */
function thinned(curve: [number, number][]): [number, number][] {
  const most = 400;
  if (curve.length <= most) return curve;
  return Array.from({ length: most }, (_, i) => curve[Math.round((i * (curve.length - 1)) / (most - 1))]);
}
