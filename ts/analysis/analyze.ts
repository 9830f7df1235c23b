/**
 * Everything this library can say about a network at a point, as one plain object: what kind of critical point it is, its
 * spectrum by exact counts, curvature layer by layer, the inverse, the structure of the system that gives it, the loss around the
 * point with the way training took, and what all of it cost.
 *
 * Every part stands alone: one that fails (a count that rounding leaves open, memory that is not there) says so in its place.
 * All parts share one {@link SpectrumSlicer}, so that no matrix is factored twice at the same shift.
 */
import { checkInteger, checkKeys, checkOneOf, checkPositive } from '../checks.js';
import {
  conditionNumber,
  criticalPoint,
  eigenvalue,
  lossProfile,
  effectiveParameters,
  selectedInverse,
  spectralDensity,
  SpectrumSlicer,
  type CertifiedEigenvalue,
  type LossProfile,
} from '../curvature/index.js';
import type { Linearization } from '../derivatives/index.js';
import { DeepHessianError } from '../errors.js';
import { factorShifted } from '../inverse/index.js';
import { lanczos } from '../linalg/lanczos.js';
import { createEvaluator } from '../train/evaluation.js';
import { augmentedStructure, type AugmentedStructure } from './augmented-system.js';
import { layerNorms, layerTraces } from './layer-curvature.js';
import { lossSurface, planeCoordinates, planeExtent, type PathPoint } from './loss-surface.js';
import { linearizeSubject, type Subject } from './subject.js';
import type { MagnitudeBin } from './svg-spectrum.js';
import { pathModes, walkTrainingPath, type PathMode, type PathReport } from './training-path.js';

/** All parts of an analysis, in the order in which they run. */
export const analysisParts = [
  'critical',
  'extremes',
  'condition',
  'density',
  'magnitudes',
  'layers',
  'inverse',
  'structure',
  'surface',
] as const;
/** Name of a part of an analysis, one of {@link analysisParts}. */
export type AnalysisPart = (typeof analysisParts)[number];

/** Options of {@link analyze}. */
export interface AnalyzeOptions {
  /** eps of the inverse and the condition number; default: a thousandth of the largest |eigenvalue|, to one digit */
  damping?: number;
  /** parts to do, default all */
  parts?: readonly AnalysisPart[];
  /** eigenpairs at each end, default 3 */
  eigenpairs?: number;
  /** bins of the density, one factorization each; default 30 */
  bins?: number;
  /** probes of the Lanczos estimate, default 10 */
  probes?: number;
  /** grid points a side of the loss surface, default 41 */
  grid?: number;
  /** where the training path comes from, default 'auto' */
  path?: PathMode;
  /** seconds for running a training again, default 60 */
  pathSeconds?: number;
  /** of start vectors and random probes, default 0 */
  seed?: number;
  /** where the work is, from 0 to 1; returning false stops with DeepHessianError 'aborted' */
  onProgress?: (stage: string, fraction: number) => boolean | void;
}

/** A part that was done, or why it was not. */
export type Part<T> =
  { done: true; seconds: number; value: T } | { done: false; seconds: number; code: string; message: string };

/** An eigenvalue of the Hessian, L2 included, with what is certain about it. */
export interface Eigenpair {
  /** place in ascending order, from 0 */
  index: number;
  /** the eigenvalue, refined within the interval where there is one */
  value: number;
  /** certified interval; null where counts could not be made certain and the value is a Lanczos estimate */
  lower: number | null;
  /** upper end of that interval; null as for `lower` */
  upper: number | null;
  /** |H v - value v| of its unit eigenvector v; null where none was computed */
  residual: number | null;
}

/** The layer's sizes and figures. */
export interface LayerFigures {
  /** number of the layer, from 1 */
  layer: number;
  /** activation and sizes, like 'tanh 64-32'; for a custom layer its own name and sizes */
  name: string;
  /** parameters of the layer, p_l */
  parameters: number;
  /** Euclidean norm of the layer's part of the gradient */
  gradientNorm: number;
  /** Euclidean norm of the layer's parameters */
  parameterNorm: number;
  /** tr H_ll and tr G_ll with the half widths of their 95 % intervals (0: exact) */
  hessianTrace: number;
  /** half width of the 95 % interval of `hessianTrace`; 0: exact */
  hessianError: number;
  /** tr G_ll, L2 included */
  gaussNewtonTrace: number;
  /** half width of the 95 % interval of `gaussNewtonTrace`; 0: exact */
  gaussNewtonError: number;
}

/** What {@link analyze} returns: plain JSON. */
export interface AnalysisResult {
  /** what was analysed: sizes of the network, origin of its parameters, data, loss and norm of the gradient there */
  subject: {
    network: { inputs: number; outputs: number; layers: number; parameters: number; loss: string; l2: number[] };
    origin: Subject['origin'];
    data: string;
    choice: string;
    samples: number;
    loss: number;
    dataLoss: number;
    gradientNorm: number;
    /** loss and accuracy or error by set */
    sets: Record<string, Record<string, number>>;
  };
  /** eps of the inverse and the condition number, as given or chosen */
  damping: number;
  /**
   * kind of critical point: eigenvalues by sign (exact counts), and the loss along the direction of the smallest one
   */
  critical?: Part<{
    kind: string;
    loss: number;
    gradientNorm: number;
    gradientTolerance: number;
    negative: number;
    degenerate: number;
    positive: number;
    tolerance: number;
    smallest: { value: number; lower: number; upper: number };
    profile: { distances: number[]; losses: number[]; predictions: number[] };
    quadraticForm: { direction: string; exact: number; difference: number }[];
  }>;
  /** the spectral norm and the eigenpairs at both ends, outermost first */
  extremes?: Part<{ norm: number; smallest: Eigenpair[]; largest: Eigenpair[] }>;
  /** condition number of H + eps I from its extreme |eigenvalues|; null where it is not finite */
  condition?: Part<{ condition: number | null; largest: number; smallest: number; certifiedTo: number }>;
  /** spectral density: exact counts by bin, and beside them the Lanczos estimate with its standard errors */
  density?: Part<{
    edges: number[];
    counts: number[];
    below: number;
    above: number;
    estimates: number[];
    standardErrors: number[];
    smooth: { grid: number[]; density: number[] };
  }>;
  /** exact counts by sign and power of ten; `skipped`: bounds that rounding leaves open, left out */
  magnitudes?: Part<{ bins: MagnitudeBin[]; skipped: number }>;
  /** norms and traces layer by layer; `products`: Hessian and Gauss-Newton products spent on the traces */
  layers?: Part<{ exact: boolean; products: number; layers: LayerFigures[] }>;
  /**
   * tr (H + eps I)^-1 in all and by layer, log |det (H + eps I)|, and effective parameters P - eps tr (M + eps I)^-1
   */
  inverse?: Part<{
    method: string;
    trace: number;
    error: number;
    logAbsDet: number;
    layerTraces: number[];
    effectiveParameters: number;
    gaussNewtonEffectiveParameters: number;
    gaussNewtonEffectiveByLayer: number[];
  }>;
  /** the augmented system whose elimination gives the inverse */
  structure?: Part<AugmentedStructure>;
  /** losses on a plane through the point, [b index][a index], with the path of training seen in it */
  surface?: Part<{
    a: number[];
    b: number[];
    losses: number[];
    minimum: number;
    maximum: number;
    directions: [SurfaceDirection, SurfaceDirection];
    path: PathPoint[];
    pathReport: PathReport;
    /** share of |x_0 - x|^2 that lies in the plane, null without a path */
    inPlane: number | null;
  }>;
  /** what the analysis took */
  cost: {
    seconds: number;
    factorizations: number;
    products: number;
    /** largest resident memory of the process so far, bytes */
    peakMemory: number;
    /** bytes that the dense Hessian alone would take */
    denseHessian: number;
  };
}

/** An axis of the loss surface: a unit eigenvector of the Hessian, made orthogonal to the other axis. */
export interface SurfaceDirection {
  /** 'most positive', 'second most positive' or 'most negative' */
  name: string;
  /** eigenvalue of the Hessian that belongs to it */
  eigenvalue: number;
}

const keys = ['damping', 'parts', 'eigenpairs', 'bins', 'probes', 'grid', 'path', 'pathSeconds', 'seed', 'onProgress'];
/** Rough shares of the work, for the progress bar. */
const weights: Record<AnalysisPart, number> = {
  critical: 8,
  extremes: 15,
  condition: 8,
  density: 30,
  magnitudes: 12,
  layers: 5,
  inverse: 7,
  structure: 1,
  surface: 14,
};

/**
 * Analyses a network at a point.
 *
 * @throws TypeError or RangeError for wrong options; DeepHessianError 'aborted' when the callback says so
 *
 * @example
 * const result = await analyze(await openSubject('analyze', { path: 'runs/x', given: {} }));
 */
export async function analyze(subject: Subject, options: AnalyzeOptions = {}): Promise<AnalysisResult> {
  const operation = 'analyze';
  checkKeys(operation, 'options', options, keys);
  const {
    parts = analysisParts,
    eigenpairs = 3,
    bins = 30,
    probes = 10,
    grid = 41,
    path = 'auto',
    pathSeconds = 60,
    seed = 0,
    onProgress,
  } = options;
  if (options.damping !== undefined) checkPositive(operation, 'damping', options.damping);
  for (const part of parts) checkOneOf(operation, 'parts', part, analysisParts);
  checkInteger(operation, 'eigenpairs', eigenpairs, 1, 1000);
  checkInteger(operation, 'bins', bins, 1, 10000);
  checkInteger(operation, 'probes', probes, 2, 10000);
  checkInteger(operation, 'grid', grid, 3, 401);
  checkOneOf(operation, 'path', path, pathModes);
  checkPositive(operation, 'pathSeconds', pathSeconds);
  const began = performance.now();
  const total = parts.reduce((sum, part) => sum + weights[part], 1);
  let behind = 0;
  const report = (stage: string, share: number, fraction: number): void => {
    if (onProgress?.(stage, (behind + share * fraction) / total) === false)
      throw new DeepHessianError('aborted', `${operation}: stopped by its caller`);
  };
  report('linearizing', 1, 0);
  const point = linearizeSubject(subject);
  const slicer = new SpectrumSlicer(point, { seed });
  const damping = options.damping ?? defaultDamping(slicer.norm);
  const extra = { products: 0, factorizations: 0 };
  behind = 1;

  const run = async <T>(
    part: AnalysisPart,
    stage: string,
    work: (progress: (fraction: number) => void) => T | Promise<T>,
  ): Promise<Part<T> | undefined> => {
    if (!parts.includes(part)) return undefined;
    const start = performance.now();
    report(stage, weights[part], 0);
    const seconds = (): number => (performance.now() - start) / 1000;
    try {
      const value = await work((fraction) => report(stage, weights[part], fraction));
      return { done: true, seconds: seconds(), value };
    } catch (error) {
      if (!(error instanceof DeepHessianError) || error.code === 'aborted') throw error;
      return { done: false, seconds: seconds(), code: error.code, message: error.message };
    } finally {
      behind += weights[part];
    }
  };

  try {
    const critical = await run('critical', 'kind of critical point', () => criticalFigures(slicer));
    const extremes = await run('extremes', 'extreme eigenvalues', (progress) =>
      extremeFigures(slicer, eigenpairs, progress),
    );
    const condition = await run('condition', 'condition number', () => {
      const { condition: value, ...rest } = conditionNumber(slicer, damping);
      return { condition: Number.isFinite(value) ? value : null, ...rest };
    });
    const density = await run('density', 'spectral density', (progress) =>
      densityFigures(slicer, bins, probes, progress),
    );
    const magnitudes = await run('magnitudes', 'eigenvalues by magnitude', (progress) =>
      magnitudeFigures(slicer, progress),
    );
    const layers = await run('layers', 'curvature by layer', () => layerFigures(point, seed, extra));
    const inverse = await run('inverse', 'inverse', (progress) => inverseFigures(point, damping, extra, progress));
    const structure = await run('structure', 'structure', () => augmentedStructure(point.network, point.samples));
    const surface = await run('surface', 'loss surface', (progress) =>
      surfaceFigures(subject, slicer, grid, path, pathSeconds, progress),
    );
    report('figures', 0, 0);
    return {
      subject: subjectFigures(subject, point),
      damping,
      ...definedOnly({ critical, extremes, condition, density, magnitudes, layers, inverse, structure, surface }),
      cost: {
        seconds: (performance.now() - began) / 1000,
        factorizations: slicer.factorizations + extra.factorizations,
        products: slicer.products + extra.products,
        peakMemory: process.resourceUsage().maxRSS * 1024,
        denseHessian: 8 * slicer.size ** 2,
      },
    };
  } finally {
    slicer.dispose();
  }
}

function definedOnly<T extends object>(parts: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(parts).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}

/** A thousandth of the norm, to one digit; 1e-3 for a zero matrix. */
function defaultDamping(norm: number): number {
  return norm > 0 ? Number((1e-3 * norm).toPrecision(1)) : 1e-3;
}

function subjectFigures(subject: Subject, point: Linearization): AnalysisResult['subject'] {
  const { network, origin, train, choice, params, heldOut, valueScale } = subject;
  const scale = valueScale === null ? {} : { valueScale };
  const sets = Object.entries({ train, ...heldOut }).map(([name, dataset]) => [
    name,
    createEvaluator(network, dataset, scale)(params),
  ]);
  return {
    network: {
      inputs: network.inputs,
      outputs: network.outputs,
      layers: network.layers.length,
      parameters: network.parameterCount,
      loss: network.loss,
      l2: [...network.l2],
    },
    origin,
    data: train.name,
    choice,
    samples: point.samples,
    loss: point.loss,
    dataLoss: point.dataLoss,
    gradientNorm: Math.sqrt(point.gradient.reduce((sum, value) => sum + value * value, 0)),
    sets: Object.fromEntries(sets) as Record<string, Record<string, number>>,
  };
}

function criticalFigures(slicer: SpectrumSlicer): PartValue<'critical'> {
  const r = criticalPoint(slicer);
  const profile = lossProfile(slicer.point, r.direction, profileDistances(r.profile, r.loss));
  return {
    kind: r.kind,
    loss: r.loss,
    gradientNorm: r.gradientNorm,
    gradientTolerance: r.gradientTolerance,
    negative: r.index,
    degenerate: r.degenerate,
    positive: r.positive,
    tolerance: r.tolerance,
    smallest: r.smallest,
    profile: {
      distances: [...profile.distances],
      losses: [...profile.losses],
      predictions: [...profile.predictions],
    },
    quadraticForm: r.quadraticForm.map(({ direction, exact, difference }) => ({ direction, exact, difference })),
  };
}

/** Even steps as far as the second-order prediction is good to a half, and as far again: where the two part can be seen. */
function profileDistances({ distances, losses, predictions }: LossProfile, loss: number): Float64Array {
  let reach = distances.reduce((least, t) => (t > 0 ? Math.min(least, t) : least), Infinity);
  for (const [i, t] of distances.entries()) {
    const mirror = distances.length - 1 - i;
    const change = Math.max(Math.abs(predictions[i] - loss), Math.abs(predictions[mirror] - loss));
    const off = Math.max(Math.abs(losses[i] - predictions[i]), Math.abs(losses[mirror] - predictions[mirror]));
    if (t > reach && off <= 0.5 * change) reach = t;
  }
  const half = 20;
  return Float64Array.from({ length: 2 * half + 1 }, (_, i) => (2 * reach * (i - half)) / half);
}

type PartValue<K extends AnalysisPart> = Extract<NonNullable<AnalysisResult[K]>, { done: true }>['value'];

function extremeFigures(
  slicer: SpectrumSlicer,
  eigenpairs: number,
  progress: (fraction: number) => void,
): PartValue<'extremes'> {
  const P = slicer.size;
  const low = Math.min(eigenpairs, P);
  const high = Math.min(eigenpairs, P - low);
  const indices = [
    ...Array.from({ length: low }, (_, i) => i),
    ...Array.from({ length: high }, (_, i) => P - high + i),
  ];
  const pairs = indices.map((index, i): Eigenpair => {
    progress(i / indices.length);
    const { value, lower, upper, residual } = eigenvalue(slicer, index, { vector: true });
    return { index, value, lower, upper, residual };
  });
  return { norm: slicer.norm, smallest: pairs.slice(0, low), largest: pairs.slice(low).reverse() };
}

function densityFigures(
  slicer: SpectrumSlicer,
  bins: number,
  probes: number,
  progress: (fraction: number) => void,
): PartValue<'density'> {
  const d = spectralDensity(slicer, { bins, probes, onProgress: (done, total) => progress(done / total) });
  return {
    edges: [...d.edges],
    counts: [...d.counts],
    below: d.below,
    above: d.above,
    estimates: [...d.estimates],
    standardErrors: [...d.standardErrors],
    smooth: { grid: [...d.smooth.grid], density: [...d.smooth.density] },
  };
}

/** Powers of ten below |H| down to which eigenvalues are told apart. */
const decades = 7;

/** Counts between +-10^-k, k whole; a bound that cannot be certain is left out, and its neighbours' counts are one. */
function magnitudeFigures(slicer: SpectrumSlicer, progress: (fraction: number) => void): PartValue<'magnitudes'> {
  const top = Math.floor(Math.log10(slicer.norm || 1));
  const sizes = Array.from({ length: decades }, (_, k) => Number(`1e${top - k}`));
  const shifts = [...sizes.map((size) => -size), ...[...sizes].reverse()];
  const known: { shift: number; below: number }[] = [];
  for (const [i, shift] of shifts.entries()) {
    progress(i / shifts.length);
    const bound = slicer.count(shift);
    if (bound.trusted) known.push({ shift, below: bound.below });
  }
  const edges = [{ shift: null, below: 0 }, ...known, { shift: null, below: slicer.size }];
  const bins = edges
    .slice(1)
    .map((edge, i) => ({ from: edges[i].shift, to: edge.shift, count: edge.below - edges[i].below }));
  return { bins, skipped: shifts.length - known.length };
}

function layerFigures(point: Linearization, seed: number, extra: { products: number }): PartValue<'layers'> {
  const hessian = layerTraces(point, { seed });
  const gaussNewton = layerTraces(point, { seed, matrix: 'gauss-newton' });
  extra.products += hessian.products + gaussNewton.products;
  const norms = layerNorms(point);
  return {
    exact: hessian.exact,
    products: hessian.products + gaussNewton.products,
    layers: point.network.layers.map((layer, l) => ({
      layer: l + 1,
      name: layerName(layer),
      parameters: layer.parameterCount,
      gradientNorm: norms.gradient[l],
      parameterNorm: norms.parameters[l],
      hessianTrace: hessian.traces[l],
      hessianError: hessian.errorBars[l],
      gaussNewtonTrace: gaussNewton.traces[l],
      gaussNewtonError: gaussNewton.errorBars[l],
    })),
  };
}

function layerName(layer: Linearization['network']['layers'][number]): string {
  if (layer.kind === 'custom') return `${layer.layer.name} ${layer.inputs}-${layer.units}`;
  return `${layer.residual ? 'residual ' : ''}${layer.activation} ${layer.inputs}-${layer.units}`;
}

function inverseFigures(
  point: Linearization,
  damping: number,
  extra: { factorizations: number },
  progress: (fraction: number) => void,
): PartValue<'inverse'> {
  const {
    trace,
    layerTraces: traces,
    error,
    method,
  } = selectedInverse(point, { damping, onProgress: (done, all) => progress((0.5 * done) / all) });
  const f = factorShifted(point, { shift: damping });
  let logAbsDet: number;
  try {
    ({ logAbsDet } = f);
  } finally {
    f.dispose();
  }
  const gaussNewton = effectiveParameters(point, {
    damping,
    matrix: 'gauss-newton',
    onProgress: (done, all) => progress(0.5 + (0.5 * done) / all),
  });
  // The recursion and its check, both for H and G, and the determinant's.
  extra.factorizations += 5;
  return {
    method,
    trace,
    error,
    logAbsDet,
    layerTraces: [...traces],
    effectiveParameters: point.network.parameterCount - damping * trace,
    gaussNewtonEffectiveParameters: gaussNewton.total,
    gaussNewtonEffectiveByLayer: [...gaussNewton.layers],
  };
}

async function surfaceFigures(
  subject: Subject,
  slicer: SpectrumSlicer,
  grid: number,
  mode: PathMode,
  limit: number,
  progress: (fraction: number) => void,
): Promise<PartValue<'surface'>> {
  const { point, size } = slicer;
  if (size < 2) throw new DeepHessianError('unsupported', 'a surface needs two parameters');
  const { first, second } = surfaceDirections(slicer);
  const see = planeCoordinates(point, first.vector, second.vector);
  const path: PathPoint[] = [];
  let inPlane: number | null = null;
  const pathReport = await walkTrainingPath(
    subject,
    mode,
    limit,
    (step, params) => {
      const { a, b, distance } = see(params);
      if (path.length === 0 && distance > 0) inPlane = (a * a + b * b) / distance ** 2;
      path.push({ step, a, b, loss: point.network.evaluate(params, point.batch).loss });
    },
    (fraction) => progress(0.5 * fraction),
  );
  const plane = planeExtent(point.loss, [first.value, second.value], path);
  const s = lossSurface(point, first.vector, second.vector, {
    ...plane,
    grid,
    onProgress: (done, all) => progress(0.5 + (0.5 * done) / all),
  });
  return {
    a: [...s.a],
    b: [...s.b],
    losses: [...s.losses],
    minimum: s.minimum,
    maximum: s.maximum,
    directions: [
      { name: first.name, eigenvalue: first.value },
      { name: second.name, eigenvalue: second.value },
    ],
    path,
    pathReport,
    inPlane,
  };
}

interface Direction {
  name: string;
  value: number;
  vector: Float64Array;
}

/** The most positive direction with the most negative one where there is one that matters, else with the second most positive one. */
function surfaceDirections(slicer: SpectrumSlicer): { first: Direction; second: Direction } {
  const { size: P, norm, operator, seed } = slicer;
  const pair = (index: number, found: Pick<CertifiedEigenvalue, 'value' | 'vector'>): Direction => ({
    name: index === 0 ? 'most negative' : index === P - 1 ? 'most positive' : 'second most positive',
    value: found.value,
    vector: found.vector!,
  });
  let low: Direction;
  let top: Direction;
  let next: Direction;
  try {
    top = pair(P - 1, eigenvalue(slicer, P - 1, { vector: true }));
    low = pair(0, eigenvalue(slicer, 0, { vector: true }));
    next = P > 2 && low.value >= -1e-4 * norm ? pair(P - 2, eigenvalue(slicer, P - 2, { vector: true })) : low;
  } catch (error) {
    if (!(error instanceof DeepHessianError)) throw error;
    // A plane needs no certificate.
    const { values, vectors } = lanczos(operator, {
      smallest: 1,
      largest: Math.min(2, P - 1),
      tolerance: 1e-4,
      verify: false,
      seed,
    });
    const column = (i: number): Float64Array => vectors.slice(i * P, (i + 1) * P);
    const last = values.length - 1;
    top = pair(P - 1, { value: values[last], vector: column(last) });
    low = pair(0, { value: values[0], vector: column(0) });
    next =
      last > 1 && low.value >= -1e-4 * norm ? pair(P - 2, { value: values[last - 1], vector: column(last - 1) }) : low;
  }
  orthogonalise(next.vector, top.vector);
  return { first: top, second: next };
}

/** v := v - (u^T v) u, to unit length: vectors of one eigenspace need not be orthogonal. */
function orthogonalise(v: Float64Array, u: Float64Array): void {
  for (let round = 0; round < 2; round++) {
    let along = 0;
    for (let i = 0; i < v.length; i++) along += u[i] * v[i];
    let length = 0;
    for (let i = 0; i < v.length; i++) {
      v[i] -= along * u[i];
      length += v[i] * v[i];
    }
    const scale = 1 / Math.sqrt(length || 1);
    for (let i = 0; i < v.length; i++) v[i] *= scale;
  }
}
