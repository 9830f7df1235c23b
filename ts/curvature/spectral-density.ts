/**
 * The distribution of all P eigenvalues of M: exact counts per bin (spectrum slicing) beside the estimate that products alone
 * give (stochastic Lanczos quadrature; Ghorbani, Krishnan & Xiao 2019), whose error becomes visible.
 */
import { checkFinite, checkInteger, checkKeys, failRange, failType } from '../checks.js';
import type { Linearization } from '../derivatives/index.js';
import { DeepHessianError } from '../errors.js';
import { stochasticLanczosQuadrature } from '../linalg/slq.js';
import { spectrumOptions } from './inertia.js';
import { slicerOf, type SpectrumOptions, spectrumKeys, type SpectrumSlicer } from './spectrum-slicer.js';

/** Options of {@link spectralDensity}. */
export interface SpectralDensityOptions extends SpectrumOptions {
  /** number of bins of equal width, default 30: one factorization each */
  bins?: number;
  /** the interval, default a little more than the spectrum */
  from?: number;
  /** upper end of the interval */
  to?: number;
  /** own bin edges, ascending, instead of `bins`, `from` and `to` */
  edges?: Float64Array;
  /** probes and steps of the quadrature, default 10 and 60 */
  probes?: number;
  /** Lanczos steps of one probe, default 60 */
  steps?: number;
  /** called after every counted edge; returning false stops with DeepHessianError 'aborted' */
  onProgress?: (done: number, total: number) => boolean | void;
}

/** Result of {@link spectralDensity}. */
export interface SpectralDensityResult {
  /** bins + 1 edges; one on an eigenvalue has been moved by up to a thousandth of its bin */
  edges: Float64Array;
  /** exact number of eigenvalues in [edges[i], edges[i + 1]) */
  counts: Float64Array;
  /** exact number below the first edge, and from the last edge on */
  below: number;
  /** exact number from the last edge on */
  above: number;
  /** the quadrature's number per bin, with its standard error over the probes */
  estimates: Float64Array;
  /** standard errors of `estimates` */
  standardErrors: Float64Array;
  /** the quadrature's smoothed density: eigenvalues per unit length over P, on its own grid */
  smooth: { grid: Float64Array; density: Float64Array; standardError: Float64Array; width: number };
  /** factorizations spent */
  factorizations: number;
}

const densityKeys = [...spectrumKeys, 'bins', 'from', 'to', 'edges', 'probes', 'steps', 'onProgress'];

/**
 * Exact eigenvalue counts per bin beside the Lanczos density.
 *
 * @throws DeepHessianError 'inertia-untrusted' when no count near an edge is certain
 *
 * @example
 * const { edges, counts, estimates } = spectralDensity(point, { bins: 40 });
 */
export function spectralDensity(
  source: Linearization | SpectrumSlicer,
  options: SpectralDensityOptions = {},
): SpectralDensityResult {
  const operation = 'spectralDensity';
  checkKeys(operation, 'options', options, densityKeys);
  const { bins = 30, probes = 10, onProgress } = options;
  checkInteger(operation, 'bins', bins, 1);
  const slicer = slicerOf(source, spectrumOptions(options));
  const { steps = Math.min(slicer.size, 60) } = options;
  const { lowest, highest, norm } = slicer.ends();
  const margin = 0.01 * (highest - lowest) + 1e-3 * norm + (norm === 0 ? 1 : 0);
  const { from = lowest - margin, to = highest + margin } = options;
  checkFinite(operation, 'from', from);
  checkFinite(operation, 'to', to);
  if (to <= from) failRange(operation, 'to', `a number > from (${from})`, to);
  if (options.edges !== undefined && !(options.edges instanceof Float64Array))
    failType(operation, 'edges', 'a Float64Array', options.edges);
  const edges = options.edges === undefined ? new Float64Array(bins + 1) : options.edges.slice();
  if (options.edges === undefined) for (let i = 0; i <= bins; i++) edges[i] = from + (i * (to - from)) / bins;
  else {
    if (edges.length < 2) failRange(operation, 'edges', 'at least two ascending numbers', edges);
    for (let i = 1; i < edges.length; i++)
      if (!(edges[i] > edges[i - 1])) failRange(operation, `edges[${i}]`, 'an edge above the one before it', edges[i]);
  }
  const cumulative = new Float64Array(edges.length);
  for (let i = 0; i < edges.length; i++) {
    const span = i === 0 ? edges[1] - edges[0] : edges[i] - edges[i - 1];
    cumulative[i] = countNear(slicer, edges, i, span);
    if (onProgress?.(i + 1, edges.length) === false) {
      throw new DeepHessianError('aborted', `${operation}: stopped by its caller`, { edges: i + 1 });
    }
  }
  const counts = new Float64Array(edges.length - 1);
  const estimates = new Float64Array(counts.length);
  const standardErrors = new Float64Array(counts.length);
  const quadrature = stochasticLanczosQuadrature(slicer.operator, { probes, steps, seed: slicer.seed });
  slicer.products += quadrature.products;
  for (let i = 0; i < counts.length; i++) {
    counts[i] = cumulative[i + 1] - cumulative[i];
    const estimate = quadrature.traceOf((lambda) => Number(lambda >= edges[i] && lambda < edges[i + 1]));
    estimates[i] = estimate.estimate;
    standardErrors[i] = estimate.standardError;
  }
  return {
    edges,
    counts,
    below: cumulative[0],
    above: slicer.size - cumulative[edges.length - 1],
    estimates,
    standardErrors,
    smooth: quadrature.density(),
    factorizations: slicer.factorizations,
  };
}

/** The count at edge i, which is moved a little when it sits on an eigenvalue. */
function countNear(slicer: SpectrumSlicer, edges: Float64Array, i: number, span: number): number {
  const edge = edges[i];
  for (const step of [0, 1e-8, -1e-8, 1e-6, -1e-6, 1e-4, -1e-4, 1e-3, -1e-3]) {
    const bound = slicer.count(edge + step * span);
    if (!bound.trusted) continue;
    edges[i] = bound.shift;
    return bound.below;
  }
  return slicer.certainCount(edge);
}
