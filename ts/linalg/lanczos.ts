/**
 * Extreme eigenpairs of a symmetric operator: Lanczos with full reorthogonalisation, thick restart (Wu & Simon 2000)
 * and locking.
 *
 *     A V_j = V_j T_j + beta v_{j+1} e_j^T,   T y = theta y   =>   || A V y - theta V y || = beta |y_j|
 *
 * V has at most `subspace` columns; when it is full, the Ritz vectors next to the wanted end(s) are kept and the
 * process goes on from the residual vector. T is taken from the Gram-Schmidt coefficients themselves, so the restart
 * needs no special formulas.
 *
 * Multiplicity. One Krylov space holds one vector of every eigenspace. When all wanted pairs have converged they are
 * locked, and a new random start, orthogonal to them, looks for anything that belongs further out: another copy of a
 * repeated eigenvalue, or one the first start had missed. That is repeated until nothing is found.
 *
 * Memory: n x (wanted + subspace + 1).
 */
import { checkBoolean, checkInteger, checkKeys, checkNonNegative, checkVector, failRange } from '../checks.js';
import { kernels, Lower, No, Yes } from '../native/index.js';
import { Random } from '../random.js';
import { checkSquare, type LinearOperator } from './linear-operator.js';
import { orthogonalise, randomOrthogonal } from './orthogonalise.js';
import type { IterationReport, IterationStatus, OnIteration } from './status.js';
import { epsilon, norm, scale } from './vectors.js';
import { Workspace } from './workspace.js';

export interface LanczosOptions {
  /** how many eigenvalues from the lower end; default 0 */
  smallest?: number;
  /** how many from the upper end; default 1 when `smallest` is 0 */
  largest?: number;
  /** ask for ||A v - theta v|| <= tolerance ||A||; default 1e-10 */
  tolerance?: number;
  /** columns of the basis before a restart; default min(n, max(40, 2 wanted + 20)) */
  subspace?: number;
  /** most Lanczos steps in all, at least the pairs wanted; default max(1000, 2 n) */
  maxIterations?: number;
  /** look for further copies and missed eigenvalues with new random starts; default true */
  verify?: boolean;
  /** start vector of the first run, length n; default standard normal from `seed` */
  start?: Float64Array;
  /** default 0 */
  seed?: number;
  /** called after every look at the Ritz values with the steps so far and the largest relative residual bound wanted */
  onIteration?: OnIteration;
  workspace?: Workspace;
}

export interface LanczosResult extends IterationReport {
  /** the `smallest` lowest and the `largest` highest eigenvalues, ascending; NaN where a run was stopped too early */
  readonly values: Float64Array;
  /** orthonormal eigenvectors, column-major n x wanted, in the order of `values` */
  readonly vectors: Float64Array;
  /** ||A v - theta v|| per pair, measured: an eigenvalue of A lies within this distance of theta */
  readonly bounds: Float64Array;
  /** no further copy or missed eigenvalue was found by the last random start (always true when the space was used up) */
  readonly verified: boolean;
  /** largest ||A v|| met: a lower bound of ||A|| */
  readonly operatorNorm: number;
}

/** What one run of the process leaves: its Ritz pairs, the wanted ones first in the basis columns from `locked` on. */
interface Sweep {
  status: IterationStatus;
  lower: number[];
  upper: number[];
  exhausted: boolean;
}

/**
 * The extreme eigenpairs of a symmetric operator. `residuals` has an entry for every look at the Ritz values: the
 * largest wanted residual bound over ||A||.
 *
 * @throws TypeError or RangeError for a non-symmetric operator, more pairs than n, or a subspace too small
 *
 * @example
 * const { values, bounds } = lanczos(hessian, { smallest: 1, largest: 3 });
 */
export function lanczos(a: LinearOperator, options: LanczosOptions = {}): LanczosResult {
  const operation = 'lanczos';
  checkSquare(operation, 'operator', a, true);
  checkKeys(operation, 'options', options, [
    'smallest',
    'largest',
    'tolerance',
    'subspace',
    'maxIterations',
    'verify',
    'start',
    'seed',
    'onIteration',
    'workspace',
  ]);
  const n = a.rows;
  const { smallest = 0, largest = smallest === 0 ? 1 : 0, tolerance = 1e-10, verify = true, start, seed = 0 } = options;
  const { maxIterations = Math.max(1000, 2 * n), onIteration, workspace = new Workspace() } = options;
  checkInteger(operation, 'smallest', smallest, 0, n);
  checkInteger(operation, 'largest', largest, 0, n);
  const wanted = smallest + largest;
  if (wanted < 1 || wanted > n) failRange(operation, 'smallest + largest', `an integer from 1 to ${n}`, wanted);
  checkNonNegative(operation, 'tolerance', tolerance);
  checkInteger(operation, 'maxIterations', maxIterations, wanted, 2 ** 31);
  checkBoolean(operation, 'verify', verify);
  if (start !== undefined) checkVector(operation, 'start', start, n);
  const least = Math.min(n, wanted + 2);
  const { subspace = Math.min(n, Math.max(40, 2 * wanted + 20)) } = options;
  checkInteger(operation, 'subspace', subspace, least, n);

  const run = new LanczosRun(
    a,
    n,
    wanted,
    subspace,
    tolerance,
    maxIterations,
    new Random(seed),
    onIteration,
    workspace,
  );
  const first = run.sweep(0, smallest, largest, start, null);
  let status = first.status;
  const values = new Float64Array(wanted).fill(NaN);
  for (let i = 0; i < first.lower.length; i++) values[i] = first.lower[i];
  for (let i = 0; i < first.upper.length; i++) values[smallest + i] = first.upper[i];
  let verified = first.exhausted;
  if (status === 'converged' && first.exhausted) status = 'exact';

  while (status === 'converged' && verify && !verified && run.steps < maxIterations) {
    // Only values clearly beyond the innermost locked ones count: copies of those change nothing.
    const margin = 10 * Math.max(tolerance, epsilon) * run.operatorNorm;
    const lowerEdge = smallest > 0 ? indexOfExtreme(values, 0, smallest, 1) : -1;
    const upperEdge = largest > 0 ? indexOfExtreme(values, smallest, wanted, -1) : -1;
    const fence = {
      lower: lowerEdge < 0 ? -Infinity : values[lowerEdge] - margin,
      upper: upperEdge < 0 ? Infinity : values[upperEdge] + margin,
    };
    const next = run.sweep(wanted, smallest > 0 ? 1 : 0, largest > 0 ? 1 : 0, undefined, fence);
    if (next.status !== 'converged') {
      if (next.status !== 'iteration-limit') status = next.status;
      break;
    }
    let found = false;
    if (next.lower.length > 0 && next.lower[0] < fence.lower) {
      run.copyColumn(wanted, lowerEdge);
      values[lowerEdge] = next.lower[0];
      found = true;
    }
    if (next.upper.length > 0 && next.upper[0] > fence.upper) {
      run.copyColumn(wanted + next.lower.length, upperEdge);
      values[upperEdge] = next.upper[0];
      found = true;
    }
    verified = !found;
  }
  return run.result(status, values, smallest, verified);
}

/** Index in [from, to) of the largest (sign 1) or smallest (sign -1) value. */
function indexOfExtreme(values: Float64Array, from: number, to: number, sign: number): number {
  let best = from;
  for (let i = from + 1; i < to; i++) if (sign * values[i] > sign * values[best]) best = i;
  return best;
}

/** The state of one call: basis, projected matrix, counters. */
class LanczosRun {
  steps = 0;
  products = 0;
  operatorNorm = 0;
  private readonly basis: Float64Array;
  private readonly views: Float64Array[] = [];
  private readonly w: Float64Array;
  private readonly projected: Float64Array; // subspace x subspace, column-major
  private readonly ritz: Float64Array; // eigenvectors of the projected matrix
  private readonly theta: Float64Array;
  private readonly h: Float64Array;
  private readonly work: Float64Array;
  private readonly select: Float64Array; // subspace x kept columns of `ritz`
  private readonly block: Float64Array; // rowBlock x kept
  private readonly rowBlock = 256;
  private readonly residuals: number[] = [];

  constructor(
    private readonly a: LinearOperator,
    private readonly n: number,
    private readonly wanted: number,
    private readonly subspace: number,
    private readonly tolerance: number,
    private readonly maxSteps: number,
    private readonly random: Random,
    private readonly onIteration: OnIteration | undefined,
    workspace: Workspace,
  ) {
    const columns = wanted + subspace;
    this.basis = workspace.vector(0, n * columns);
    for (let j = 0; j < columns; j++) this.views.push(this.basis.subarray(j * n, (j + 1) * n));
    this.w = workspace.vector(1, n);
    this.projected = workspace.vector(2, subspace * subspace);
    this.ritz = workspace.vector(3, subspace * subspace);
    this.theta = workspace.vector(4, subspace);
    this.h = workspace.vector(5, columns);
    this.work = workspace.vector(6, columns);
    this.select = workspace.vector(7, subspace * subspace);
    this.block = workspace.vector(8, this.rowBlock * subspace);
  }

  /**
   * Runs until the `lower` lowest and `upper` highest eigenpairs of A on the complement of the first `locked` columns
   * have converged, and leaves their vectors in the columns from `locked` on (lower ascending, then upper ascending).
   *
   * With a `fence` (a verification), a run may also end when it is clear to three digits that the extreme Ritz values
   * lie inside the fence.
   */
  sweep(
    locked: number,
    lower: number,
    upper: number,
    start: Float64Array | undefined,
    fence: { lower: number; upper: number } | null,
  ): Sweep {
    const { a, n, w, basis, views, projected, subspace, h, work } = this;
    const room = Math.min(subspace, n - locked);
    if (room === 0) return { status: 'converged', lower: [], upper: [], exhausted: true };
    projected.fill(0);
    let j = 0;
    if (start !== undefined && norm(start) > 0) {
      w.set(start);
      orthogonalise(n, locked, basis, w, h, 0, work);
      const length = norm(w);
      if (length > 0) scale(1 / length, w);
      else randomOrthogonal(n, locked, basis, w, this.random, h, work);
    } else randomOrthogonal(n, locked, basis, w, this.random, h, work);

    for (;;) {
      // One step: the new basis vector, its product, its coefficients.
      const v = views[locked + j];
      v.set(w);
      a.apply(v, w);
      this.products++;
      this.steps++;
      const length = norm(w);
      if (!Number.isFinite(length)) return { status: 'not-finite', lower: [], upper: [], exhausted: false };
      this.operatorNorm = Math.max(this.operatorNorm, length);
      orthogonalise(n, locked + j + 1, basis, w, h, 0, work);
      for (let i = 0; i <= j; i++) {
        projected[i + j * subspace] = h[locked + i];
        projected[j + i * subspace] = h[locked + i];
      }
      j++;
      let beta = norm(w);
      const exhausted = locked + j === n;
      const invariant = exhausted || beta <= 4 * epsilon * this.operatorNorm;
      if (invariant) beta = 0;
      const full = j === room;
      const limit = this.steps >= this.maxSteps;
      if (full || invariant || limit || (j >= lower + upper + 2 && j % 8 === 0)) {
        this.rayleighRitz(j);
        const haveLower = Math.min(lower, j);
        const haveUpper = Math.min(upper, j - haveLower);
        const { worst, decided } = this.inspect(j, haveLower, haveUpper, beta, fence);
        this.residuals.push(this.operatorNorm === 0 ? 0 : worst / this.operatorNorm);
        const goOn = this.onIteration?.(this.steps, this.residuals[this.residuals.length - 1]);
        const complete = haveLower === lower && haveUpper === upper;
        const done = exhausted || (complete && (worst <= this.tolerance * this.operatorNorm || decided));
        if (done || limit || goOn === false) {
          const values = this.extract(locked, j, haveLower, haveUpper);
          const status: IterationStatus = done ? 'converged' : goOn === false ? 'stopped' : 'iteration-limit';
          return { status, ...values, exhausted: exhausted && locked === 0 };
        }
        if (full) {
          // Keep the Ritz vectors next to the wanted ends, and about half of the room to grow in.
          const spare = Math.floor((room - lower - upper) / 2);
          const extraLower = lower === 0 ? 0 : upper === 0 ? spare : Math.floor(spare / 2);
          const extraUpper = upper === 0 ? 0 : spare - extraLower;
          this.compress(locked, j, haveLower + extraLower, haveUpper + extraUpper);
          j = haveLower + extraLower + haveUpper + extraUpper;
        }
      }
      if (beta === 0) randomOrthogonal(n, locked + j, basis, w, this.random, h, work);
      else scale(1 / beta, w);
    }
  }

  /** Column `from` of the basis over column `to`. */
  copyColumn(from: number, to: number): void {
    this.views[to].set(this.views[from]);
  }

  /** Sorted values with vectors and measured residuals. */
  result(status: IterationStatus, values: Float64Array, smallest: number, verified: boolean): LanczosResult {
    const { a, n, w, views, wanted } = this;
    const order = Array.from(values, (_value, i) => i);
    order.sort((p, q) => (p < smallest === q < smallest ? values[p] - values[q] : p - q));
    const sorted = new Float64Array(wanted);
    const vectors = new Float64Array(n * wanted);
    const bounds = new Float64Array(wanted);
    for (let k = 0; k < wanted; k++) {
      const v = views[order[k]];
      sorted[k] = values[order[k]];
      bounds[k] = NaN;
      // Stopped before there was a pair: NaN, and a zero vector.
      if (Number.isNaN(sorted[k])) continue;
      vectors.set(v, k * n);
      a.apply(v, w);
      this.products++;
      let sum = 0;
      for (let i = 0; i < n; i++) {
        const d = w[i] - sorted[k] * v[i];
        sum += d * d;
      }
      bounds[k] = Math.sqrt(sum);
    }
    return {
      status,
      iterations: this.steps,
      products: this.products,
      residuals: Float64Array.from(this.residuals),
      values: sorted,
      vectors,
      bounds,
      verified,
      operatorNorm: this.operatorNorm,
    };
  }

  /** Eigenpairs of the leading j x j block of the projected matrix, ascending. */
  private rayleighRitz(j: number): void {
    const { projected, ritz, subspace } = this;
    for (let c = 0; c < j; c++) {
      for (let i = 0; i < j; i++) ritz[i + c * subspace] = projected[i + c * subspace];
    }
    kernels.syevd(Yes, Lower, j, ritz, 0, subspace, this.theta, 0);
  }

  /** The largest residual bound of the wanted Ritz pairs, and whether a fence has been decided. */
  private inspect(
    j: number,
    lower: number,
    upper: number,
    beta: number,
    fence: { lower: number; upper: number } | null,
  ): { worst: number; decided: boolean } {
    const { ritz, theta, subspace, operatorNorm } = this;
    let worst = 0;
    let decided = fence !== null;
    for (let k = 0; k < lower + upper; k++) {
      const i = k < lower ? k : j - upper + (k - lower);
      const bound = beta * Math.abs(ritz[j - 1 + i * subspace]);
      worst = Math.max(worst, bound);
      const inside = fence !== null && (k < lower ? theta[i] - bound > fence.lower : theta[i] + bound < fence.upper);
      if (!inside || bound > 1e-3 * operatorNorm) decided = false;
    }
    return { worst, decided };
  }

  /** Wanted Ritz vectors into the columns from `locked` on; returns their values. */
  private extract(locked: number, j: number, lower: number, upper: number): { lower: number[]; upper: number[] } {
    this.rotate(locked, j, lower, upper);
    const values = { lower: [] as number[], upper: [] as number[] };
    for (let k = 0; k < lower; k++) values.lower.push(this.theta[k]);
    for (let k = 0; k < upper; k++) values.upper.push(this.theta[j - upper + k]);
    return values;
  }

  /** Thick restart: the basis shrinks to the kept Ritz vectors, the projected matrix to their values. */
  private compress(locked: number, j: number, lower: number, upper: number): void {
    this.rotate(locked, j, lower, upper);
    const { projected, theta, subspace } = this;
    projected.fill(0);
    for (let k = 0; k < lower + upper; k++) {
      projected[k + k * subspace] = theta[k < lower ? k : j - upper + (k - lower)];
    }
  }

  /** basis[:, locked..] := basis[:, locked..locked+j) * (selected Ritz vectors), in blocks of rows, in place. */
  private rotate(locked: number, j: number, lower: number, upper: number): void {
    const { n, basis, ritz, select, block, rowBlock, subspace } = this;
    const kept = lower + upper;
    for (let k = 0; k < kept; k++) {
      const i = k < lower ? k : j - upper + (k - lower);
      for (let r = 0; r < j; r++) select[r + k * subspace] = ritz[r + i * subspace];
    }
    for (let first = 0; first < n; first += rowBlock) {
      const rows = Math.min(rowBlock, n - first);
      kernels.gemm(No, No, rows, kept, j, 1, basis, locked * n + first, n, select, 0, subspace, 0, block, 0, rowBlock);
      for (let k = 0; k < kept; k++) {
        const to = (locked + k) * n + first;
        const from = k * rowBlock;
        for (let r = 0; r < rows; r++) basis[to + r] = block[from + r];
      }
    }
  }
}
