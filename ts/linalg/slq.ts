/**
 * Stochastic Lanczos quadrature (Golub & Meurant 2010; Ubaru, Chen & Saad 2017): spectral density, traces of functions
 * and log-determinants of a symmetric operator from a few hundred products.
 *
 * For a random unit vector v with E[v v^T] = I / n,   tr f(A) = n E[v^T f(A) v],   and k Lanczos steps from v give
 *
 *     v^T f(A) v = sum_j tau_j^2 f(theta_j) + quadrature error      (T_k y_j = theta_j y_j,  tau_j = first entry of y_j)
 *
 * the Gauss quadrature of the measure that v sees, exact for polynomials of degree 2 k - 1. Two errors are kept apart:
 * the sampling error, from the spread over the probes, and the quadrature error, estimated by the change from about
 * three quarters of the steps to all of them. Error bars are their sum.
 */
import { checkInteger, checkKeys, checkPositive, failRange, failType } from '../checks.js';
import { kernels, Lower, Yes } from '../native/index.js';
import { Random } from '../random.js';
import { RunningMean } from './confidence.js';
import { checkSquare, type LinearOperator } from './linear-operator.js';
import { orthogonalise } from './orthogonalise.js';
import type { Estimate, IterationReport, IterationStatus, OnIteration } from './status.js';
import { epsilon, norm, scale } from './vectors.js';
import { Workspace } from './workspace.js';

export interface SlqOptions {
  /** random vectors; default 20 */
  probes?: number;
  /** Lanczos steps for each; default min(n, 80) */
  steps?: number;
  /** 'rademacher' (default): entries +-1, less variance; 'normal': Gaussian, nothing assumed of the basis */
  distribution?: 'rademacher' | 'normal';
  /** default 0 */
  seed?: number;
  /** called after every probe with its number and the relative standard error of tr A^2 so far */
  onIteration?: OnIteration;
  workspace?: Workspace;
}

/** Gauss quadrature of one probe: nodes and weights of all its steps, and of about three quarters of them. */
interface Quadrature {
  nodes: Float64Array;
  weights: Float64Array;
  shortNodes: Float64Array;
  shortWeights: Float64Array;
}

/** A density on a grid. */
export interface SpectralDensity {
  /** where it is evaluated */
  readonly grid: Float64Array;
  /** eigenvalues per unit length over n (integrates to 1), smoothed by a Gaussian of standard deviation `width` */
  readonly density: Float64Array;
  /** standard error of `density` over the probes */
  readonly standardError: Float64Array;
  readonly width: number;
}

/** An {@link Estimate} whose `errorBar` adds the estimated quadrature error to the sampling error. */
export interface QuadratureEstimate extends Estimate {
  readonly quadratureError: number;
}

/** What the probes have seen of the spectrum; every question after that is free of products. */
export class SpectralEstimate implements IterationReport {
  readonly status: IterationStatus;
  /** probes done */
  readonly iterations: number;
  readonly products: number;
  /** relative standard error of tr A^2 after each probe (entry 0 and 1: 1) */
  readonly residuals: Float64Array;
  /** rows of the operator */
  readonly size: number;
  /** smallest Ritz value met: an upper bound of the smallest eigenvalue */
  readonly lowest: number;
  /** largest Ritz value met: a lower bound of the largest eigenvalue */
  readonly highest: number;
  private readonly probes: readonly Quadrature[];

  /** Built by {@link stochasticLanczosQuadrature}. */
  constructor(size: number, probes: readonly Quadrature[], report: IterationReport) {
    this.size = size;
    this.probes = probes;
    this.status = report.status;
    this.iterations = report.iterations;
    this.products = report.products;
    this.residuals = report.residuals;
    let lowest = Infinity;
    let highest = -Infinity;
    for (const { nodes } of probes) {
      lowest = Math.min(lowest, nodes[0]);
      highest = Math.max(highest, nodes[nodes.length - 1]);
    }
    this.lowest = lowest;
    this.highest = highest;
  }

  /**
   * tr f(A).
   *
   * @param f finite on the spectrum (it is called at Ritz values, which lie between the extreme eigenvalues)
   * @throws RangeError when f is not finite at a Ritz value
   */
  traceOf(f: (lambda: number) => number): QuadratureEstimate {
    if (typeof f !== 'function') failType('traceOf', 'f', 'a function', f);
    const full = new RunningMean();
    const short = new RunningMean();
    for (const probe of this.probes) {
      full.add(this.size * integrate(f, probe.nodes, probe.weights));
      short.add(this.size * integrate(f, probe.shortNodes, probe.shortWeights));
    }
    const quadratureError = Math.abs(full.mean - short.mean);
    return {
      estimate: full.mean,
      standardError: full.standardError,
      errorBar: full.errorBar + quadratureError,
      quadratureError,
    };
  }

  /** tr A. */
  trace(): QuadratureEstimate {
    return this.traceOf((lambda) => lambda);
  }

  /**
   * log |det A|. For a positive definite A the quadrature converges geometrically; for an indefinite one the
   * logarithm is singular inside the interval and the error bar only indicative.
   *
   * @throws RangeError when a Ritz value is exactly 0
   */
  logAbsDet(): QuadratureEstimate {
    return this.traceOf((lambda) => Math.log(Math.abs(lambda)));
  }

  /** Number of eigenvalues below `threshold` (a step function: the quadrature error is only indicative). */
  countBelow(threshold: number): QuadratureEstimate {
    return this.traceOf((lambda) => (lambda < threshold ? 1 : 0));
  }

  /**
   * The spectral density, smoothed.
   *
   * @param options.points grid points from a little below the lowest to a little above the highest Ritz value;
   *   default 400
   * @param options.width standard deviation of the Gaussian; default 1/100 of the spectrum's width
   * @param options.grid an own grid instead
   */
  density(options: { points?: number; width?: number; grid?: Float64Array } = {}): SpectralDensity {
    checkKeys('density', 'options', options, ['points', 'width', 'grid']);
    const { points = 400 } = options;
    checkInteger('density', 'points', points, 2);
    const span = this.highest - this.lowest || Math.max(Math.abs(this.highest), 1);
    const { width = span / 100 } = options;
    checkPositive('density', 'width', width);
    let grid = options.grid;
    if (grid === undefined) {
      grid = new Float64Array(points);
      const from = this.lowest - 4 * width;
      const step = (this.highest + 4 * width - from) / (points - 1);
      for (let i = 0; i < points; i++) grid[i] = from + i * step;
    } else if (!(grid instanceof Float64Array)) failType('density', 'grid', 'a Float64Array', grid);
    const density = new Float64Array(grid.length);
    const standardError = new Float64Array(grid.length);
    const factor = 1 / (width * Math.sqrt(2 * Math.PI));
    for (let i = 0; i < grid.length; i++) {
      const mean = new RunningMean();
      for (const { nodes, weights } of this.probes) {
        let value = 0;
        for (let j = 0; j < nodes.length; j++) {
          const t = (grid[i] - nodes[j]) / width;
          value += weights[j] * Math.exp(-0.5 * t * t);
        }
        mean.add(factor * value);
      }
      density[i] = mean.mean;
      standardError[i] = mean.standardError;
    }
    return { grid, density, standardError, width };
  }
}

function integrate(f: (lambda: number) => number, nodes: Float64Array, weights: Float64Array): number {
  let value = 0;
  for (let j = 0; j < nodes.length; j++) {
    const y = f(nodes[j]);
    if (!Number.isFinite(y)) failRange('traceOf', `f(${nodes[j]})`, 'a finite number', y);
    value += weights[j] * y;
  }
  return value;
}

/**
 * Draws the probes and runs Lanczos (with full reorthogonalisation) from each.
 *
 * @param a symmetric operator
 * @throws TypeError or RangeError for wrong arguments
 *
 * @example
 * const spectrum = stochasticLanczosQuadrature(shifted(gaussNewton, 1e-2), { probes: 30 });
 * const { estimate, errorBar } = spectrum.logAbsDet();
 */
export function stochasticLanczosQuadrature(a: LinearOperator, options: SlqOptions = {}): SpectralEstimate {
  const operation = 'stochasticLanczosQuadrature';
  checkSquare(operation, 'operator', a, true);
  checkKeys(operation, 'options', options, ['probes', 'steps', 'distribution', 'seed', 'onIteration', 'workspace']);
  const n = a.rows;
  const { probes = 20, steps = Math.min(n, 80), distribution = 'rademacher', seed = 0, onIteration } = options;
  const { workspace = new Workspace() } = options;
  checkInteger(operation, 'probes', probes, 1);
  checkInteger(operation, 'steps', steps, 1);
  const most = Math.min(steps, n);
  const random = new Random(seed);
  const basis = workspace.vector(0, n * most);
  const w = workspace.vector(1, n);
  const h = workspace.vector(2, most);
  const work = workspace.vector(3, most);
  const alpha = workspace.vector(4, most);
  const beta = workspace.vector(5, most);
  const dense = workspace.vector(6, most * most);
  const views: Float64Array[] = [];
  for (let j = 0; j < most; j++) views.push(basis.subarray(j * n, (j + 1) * n));

  const quadratures: Quadrature[] = [];
  const residuals = new Float64Array(probes + 1).fill(1);
  const squareTrace = new RunningMean();
  let products = 0;
  let status: IterationStatus = 'sampled';
  let done = 0;
  while (done < probes) {
    fillProbe(w, distribution, random);
    scale(1 / norm(w), w);
    let k = 0;
    let ended = false;
    while (k < most) {
      views[k].set(w);
      a.apply(views[k], w);
      products++;
      const length = norm(w);
      if (!Number.isFinite(length)) {
        status = 'not-finite';
        break;
      }
      orthogonalise(n, k + 1, basis, w, h, 0, work);
      alpha[k] = h[k];
      beta[k] = norm(w);
      k++;
      // An invariant space: the quadrature is exact for every function.
      if (k === n || beta[k - 1] <= 8 * epsilon * length) {
        ended = true;
        break;
      }
      scale(1 / beta[k - 1], w);
    }
    if (status === 'not-finite') break;
    const [nodes, weights] = gaussQuadrature(k, alpha, beta, dense, most);
    const shorter = ended ? k : Math.max(1, k - Math.ceil(k / 4));
    const [shortNodes, shortWeights] = ended ? [nodes, weights] : gaussQuadrature(shorter, alpha, beta, dense, most);
    quadratures.push({ nodes, weights, shortNodes, shortWeights });
    let second = 0;
    for (let j = 0; j < k; j++) second += weights[j] * nodes[j] * nodes[j];
    squareTrace.add(second);
    done++;
    if (done > 1) residuals[done] = squareTrace.mean === 0 ? 0 : squareTrace.standardError / squareTrace.mean;
    if (onIteration?.(done, residuals[done]) === false && done < probes) {
      status = 'stopped';
      break;
    }
  }
  return new SpectralEstimate(n, quadratures, {
    status,
    iterations: done,
    products,
    residuals: residuals.slice(0, done + 1),
  });
}

/** Entries +-1, or standard normals. */
export function fillProbe(out: Float64Array, distribution: 'rademacher' | 'normal', random: Random): void {
  if (distribution === 'normal') {
    random.normals(out);
    return;
  }
  if (distribution !== 'rademacher') failRange('probe', 'distribution', "'rademacher' or 'normal'", distribution);
  let bits = 0;
  for (let i = 0; i < out.length; i++) {
    if ((i & 31) === 0) bits = random.bits();
    out[i] = (bits & 1) === 1 ? 1 : -1;
    bits >>>= 1;
  }
}

/** Nodes and squared first entries of the eigenvectors of the leading k x k tridiagonal matrix (Golub & Welsch 1969). */
function gaussQuadrature(
  k: number,
  alpha: Float64Array,
  beta: Float64Array,
  dense: Float64Array,
  ld: number,
): [Float64Array, Float64Array] {
  for (let c = 0; c < k; c++) {
    for (let i = 0; i < k; i++) dense[i + c * ld] = 0;
    dense[c + c * ld] = alpha[c];
    if (c + 1 < k) dense[c + 1 + c * ld] = beta[c];
  }
  const nodes = new Float64Array(k);
  const weights = new Float64Array(k);
  kernels.syevd(Yes, Lower, k, dense, 0, ld, nodes, 0);
  for (let c = 0; c < k; c++) weights[c] = dense[c * ld] ** 2;
  return [nodes, weights];
}
