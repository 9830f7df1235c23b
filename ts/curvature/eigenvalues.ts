/**
 * Single eigenvalues of M with a certified interval, and the complete spectrum of small networks.
 *
 * eigenvalue(k): a first guess (Lanczos at the ends, the dense spectrum of a small network, quadrature inside), then
 * bisection on exact counts until few eigenvalues separate a shift s from the wanted one, then the spectral transformation:
 * Lanczos on (M - s I)^-1, whose extreme eigenvalues 1 / (lambda - s) are the neighbours of s (Ericsson & Ruhe 1980). The count
 * at s says which neighbour is number k. Its Rayleigh quotient v^T M v is certified by two more counts:
 *
 *     #(below value - t) <= k < #(below value + t)      =>      value - t <= lambda_k < value + t
 */
import { checkBoolean, checkInteger, checkKeys, checkOneOf, checkPositive, checkVector, failType } from '../checks.js';
import { type Linearization } from '../derivatives/index.js';
import { DeepHessianError } from '../errors.js';
import { checkLinearized } from '../inverse/factor.js';
import { availableMemory, Factor, requireMemory, type MatrixKind } from '../inverse/index.js';
import { lanczos } from '../linalg/lanczos.js';
import { LinearOperator } from '../linalg/linear-operator.js';
import { stochasticLanczosQuadrature } from '../linalg/slq.js';
import { axpy, dot, norm, scale } from '../linalg/vectors.js';
import { kernels, Lower, No, Yes } from '../native/index.js';
import { Random } from '../random.js';
import { spectrumOptions } from './inertia.js';
import {
  slicerOf,
  type EigenvalueBound,
  type SpectrumOptions,
  spectrumKeys,
  type SpectrumSlicer,
} from './spectrum-slicer.js';

/** Options of {@link eigenvalue} and its kin. */
export interface EigenvalueOptions extends SpectrumOptions {
  /** half width of the certified interval; default between 1e-10 |M| and 1e-8 |M|, 1e-8 |lambda| where that lies between */
  tolerance?: number;
  /** also the eigenvector; default false */
  vector?: boolean;
}

/** An eigenvalue that is known to lie in [lower, upper]. */
export interface CertifiedEigenvalue {
  /** its place in ascending order, from 0 */
  index: number;
  /** the estimate */
  value: number;
  /** certified lower bound */
  lower: number;
  /** certified upper bound */
  upper: number;
  /** places in ascending order of the first and the last eigenvalue in the interval: more than one is a cluster */
  first: number;
  /** place of the last eigenvalue in the interval */
  last: number;
  /** unit eigenvector of length P, when asked for; some vector of the eigenspace for a repeated eigenvalue */
  vector: Float64Array | null;
  /** |M v - value v|, null without a vector */
  residual: number | null;
  /** factorizations and products with M spent so far on this matrix */
  factorizations: number;
  /** products with M spent so far on this matrix */
  products: number;
}

/** Networks up to this order take their first guesses from the dense spectrum. */
const denseGuessOrder = 500;
/** Neighbours that the spectral transformation computes at most. */
const reach = 12;

/**
 * Eigenvalue number `index` in ascending order, with a certified interval.
 *
 * @param source a point, or a {@link SpectrumSlicer} with what is already known
 * @param index 0 for the smallest, P - 1 for the largest
 * @throws DeepHessianError 'inertia-untrusted' when rounding does not allow a certain interval; 'no-convergence' when the
 *   search ends without one
 *
 * @example
 * const { value, lower, upper } = eigenvalue(point, 0);
 */
export function eigenvalue(
  source: Linearization | SpectrumSlicer,
  index: number,
  options: EigenvalueOptions = {},
): CertifiedEigenvalue {
  const operation = 'eigenvalue';
  checkKeys(operation, 'options', options, [...spectrumKeys, 'tolerance', 'vector']);
  const slicer = slicerOf(source, spectrumOptions(options));
  checkInteger(operation, 'index', index, 0, slicer.size - 1);
  if (options.tolerance !== undefined) checkPositive(operation, 'tolerance', options.tolerance);
  if (options.vector !== undefined) checkBoolean(operation, 'vector', options.vector);
  return new EigenvalueSearch(slicer, index, options.tolerance).run(options.vector ?? false);
}

/** The smallest eigenvalue: {@link eigenvalue} number 0. */
export function smallestEigenvalue(
  source: Linearization | SpectrumSlicer,
  options: EigenvalueOptions = {},
): CertifiedEigenvalue {
  return eigenvalue(source, 0, options);
}

/** The largest eigenvalue: {@link eigenvalue} number P - 1. */
export function largestEigenvalue(
  source: Linearization | SpectrumSlicer,
  options: EigenvalueOptions = {},
): CertifiedEigenvalue {
  const slicer = slicerOf(source, spectrumOptions(options));
  return eigenvalue(slicer, slicer.size - 1, options);
}

interface Guess {
  value: number;
  vector: Float64Array | null;
}

class EigenvalueSearch {
  constructor(
    private readonly slicer: SpectrumSlicer,
    private readonly index: number,
    private readonly tolerance: number | undefined,
  ) {}

  run(wantVector: boolean): CertifiedEigenvalue {
    const { slicer, index } = this;
    if (slicer.norm === 0) return this.zeroMatrix(wantVector);
    let best = this.firstGuess();
    let found = best === null ? null : this.certify(best);
    if (found === null) {
      this.encloses();
      let estimate: number | null = this.quadratureGuess();
      for (let step = 0; found === null; step++) {
        if (step === 200) {
          throw new DeepHessianError(
            'no-convergence',
            `eigenvalue: number ${index} was not isolated in ${step} steps`,
            { index },
          );
        }
        const lower = slicer.bracket(index).lower!;
        const upper = slicer.bracket(index).upper!;
        if (upper.shift - lower.shift <= 2 * this.width(0.5 * (lower.shift + upper.shift))) {
          best = { value: 0.5 * (lower.shift + upper.shift), vector: null };
          found = { lower, upper };
          break;
        }
        let shift = 0.5 * (lower.shift + upper.shift);
        if (estimate !== null && estimate > lower.shift && estimate < upper.shift) shift = estimate;
        estimate = null;
        const bound = slicer.count(shift);
        best = this.neighbour(bound);
        found = best === null ? null : this.certify(best);
        // Inside the wanted cluster, or next to another eigenvalue: what the factor saw nearest to the shift is worth a look.
        if (
          found === null &&
          Number.isFinite(bound.nearest) &&
          Math.abs(bound.nearest) < 0.1 * (upper.shift - lower.shift)
        ) {
          best = { value: shift + bound.nearest, vector: null };
          found = this.certify(best);
        }
        if (found === null && !bound.trusted) this.sidestep(shift, upper.shift - lower.shift);
      }
    }
    return this.finish(best!, found.lower, found.upper, wantVector);
  }

  /** Half width of the interval for a value. */
  private width(value: number): number {
    const { norm: size } = this.slicer;
    return this.tolerance ?? Math.min(1e-8 * size, Math.max(1e-10 * size, 1e-8 * Math.abs(value)));
  }

  /** Counts on both sides of a guess; null when the eigenvalue is not the wanted one or a count is not certain. */
  private certify(guess: Guess): { lower: EigenvalueBound; upper: EigenvalueBound } | null {
    const { slicer, index, tolerance } = this;
    const { lower, upper } = slicer.bracket(index);
    const { value } = guess;
    let t = this.width(value);
    if ((lower !== null && value + t <= lower.shift) || (upper !== null && value - t >= upper.shift)) return null;
    // An interval that cannot be certified is widened, unless its width was asked for.
    const most = tolerance ?? Math.max(t, 1e-5 * slicer.norm);
    for (; t <= most; t *= 10) {
      const under = slicer.count(value - t);
      if (!under.trusted) continue;
      if (under.below > index) return null;
      const over = slicer.count(value + t);
      if (!over.trusted) continue;
      return over.below > index ? { lower: under, upper: over } : null;
    }
    return null;
  }

  private firstGuess(): Guess | null {
    const { slicer, index } = this;
    const { size, operator, seed } = slicer;
    if (size <= denseGuessOrder) return { value: slicer.denseValues()[index], vector: null };
    const wanted = Math.min(index, size - 1 - index) + 1;
    if (wanted > reach) return null;
    const atLower = index < size / 2;
    const { values, vectors, products } = lanczos(operator, {
      smallest: atLower ? wanted : 0,
      largest: atLower ? 0 : wanted,
      tolerance: 1e-8,
      verify: false,
      seed,
      subspace: Math.min(size, 60 + 2 * wanted),
      maxIterations: 1500,
    });
    slicer.products += products;
    const place = atLower ? wanted - 1 : 0;
    if (!Number.isFinite(values[place])) return null;
    return { value: values[place], vector: vectors.slice(place * size, (place + 1) * size) };
  }

  /** Certified counts that enclose the whole spectrum. */
  private encloses(): void {
    const { slicer, index } = this;
    const { lowest, highest, norm: size } = slicer.ends();
    let margin = 0.05 * size;
    for (let t = 0; t < 60 && slicer.bracket(index).lower === null; t++, margin *= 2) slicer.count(lowest - margin);
    margin = 0.05 * size;
    for (let t = 0; t < 60 && slicer.bracket(index).upper === null; t++, margin *= 2) slicer.count(highest + margin);
    const { lower, upper } = slicer.bracket(index);
    if (lower === null || upper === null) {
      throw new DeepHessianError('inertia-untrusted', 'eigenvalue: no shift outside the spectrum could be counted', {
        index,
      });
    }
  }

  /** Where quadrature sees a share index / P of the spectrum below. */
  private quadratureGuess(): number {
    const { slicer, index } = this;
    const estimate = stochasticLanczosQuadrature(slicer.operator, {
      probes: 4,
      steps: Math.min(slicer.size, 60),
      seed: slicer.seed,
    });
    slicer.products += estimate.products;
    let from = estimate.lowest;
    let to = estimate.highest;
    for (let step = 0; step < 40; step++) {
      const middle = 0.5 * (from + to);
      if (estimate.countBelow(middle).estimate <= index) from = middle;
      else to = middle;
    }
    return 0.5 * (from + to);
  }

  /** Eigenvalue `index` as a neighbour of a counted shift, by Lanczos on the inverse; null when it is too far. */
  private neighbour(bound: EigenvalueBound): Guess | null {
    const { slicer, index } = this;
    const { factor, size } = slicer;
    if (!bound.trusted || factor === null || factor.damping !== -bound.shift) return null;
    const above = index >= bound.below;
    const distance = above ? index - bound.below + 1 : bound.below - index;
    if (distance > Math.min(reach, size)) return null;
    const inverse = new LinearOperator({
      rows: size,
      symmetric: true,
      name: 'inverse',
      apply: (x, out) => out.set(factor.solve(x).x),
    });
    const { values, vectors, bounds, products } = lanczos(inverse, {
      largest: above ? distance : 0,
      smallest: above ? 0 : distance,
      tolerance: 1e-8,
      verify: false,
      seed: slicer.seed,
      maxIterations: 400,
    });
    slicer.products += products;
    // Largest 1 / (lambda - s): nearest above. The wanted one is the innermost of those computed.
    const place = above ? 0 : distance - 1;
    const theta = values[place];
    if (!Number.isFinite(theta) || theta === 0 || theta > 0 !== above || !(bounds[place] < 1e-3 * Math.abs(theta)))
      return null;
    const vector = vectors.slice(place * size, (place + 1) * size);
    return { value: this.rayleigh(vector).value, vector };
  }

  /** A count close to a shift that sits on an eigenvalue. */
  private sidestep(shift: number, span: number): void {
    const { slicer } = this;
    for (let step = Math.max(2 * this.width(shift), 1e-6 * span); step < 0.25 * span; step *= 10) {
      if (slicer.count(shift + step).trusted) return;
      if (slicer.count(shift - step).trusted) return;
    }
    throw new DeepHessianError('inertia-untrusted', `eigenvalue: no count near ${shift} is certain`, {
      index: this.index,
      shift,
    });
  }

  private rayleigh(v: Float64Array): { value: number; residual: number } {
    const { slicer } = this;
    const product = slicer.operator.apply(v);
    slicer.products++;
    const value = dot(v, product);
    axpy(-value, v, product);
    return { value, residual: norm(product) };
  }

  private finish(
    guess: Guess,
    lower: EigenvalueBound,
    upper: EigenvalueBound,
    wantVector: boolean,
  ): CertifiedEigenvalue {
    const { slicer, index } = this;
    let { value } = guess;
    let vector: Float64Array | null = null;
    let residual: number | null = null;
    if (wantVector) {
      vector = guess.vector;
      if (vector !== null) residual = this.rayleigh(vector).residual;
      if (vector === null || residual! > 1e-9 * slicer.norm) {
        // The deciding factor is that of the last count, next to the interval.
        const factor = slicer.factorAt(upper.shift);
        vector = inverseIteration(factor, vector, slicer.seed, Math.min(6, slicer.size + 1));
      }
      const quotient = this.rayleigh(vector);
      residual = quotient.residual;
      if (quotient.value >= lower.shift && quotient.value <= upper.shift) value = quotient.value;
    }
    return {
      index,
      value,
      lower: lower.shift,
      upper: upper.shift,
      first: lower.below,
      last: upper.below - 1,
      vector,
      residual,
      factorizations: slicer.factorizations,
      products: slicer.products,
    };
  }

  private zeroMatrix(wantVector: boolean): CertifiedEigenvalue {
    const { slicer, index } = this;
    const vector = wantVector ? new Float64Array(slicer.size) : null;
    if (vector !== null) vector[index] = 1;
    return {
      index,
      value: 0,
      lower: 0,
      upper: 0,
      first: 0,
      last: slicer.size - 1,
      vector,
      residual: wantVector ? 0 : null,
      factorizations: slicer.factorizations,
      products: slicer.products,
    };
  }
}

/**
 * Inverse iteration v := (M - s I)^-1 v, normalised: converges to the eigenvector nearest to the factor's shift at the rate of
 * the distances (Wielandt 1944; Ipsen 1997).
 *
 * @param start a first vector, or null for a random one
 */
export function inverseIteration(
  factor: Factor,
  start: Float64Array | null,
  seed: number,
  steps: number,
): Float64Array {
  const operation = 'inverseIteration';
  if (!(factor instanceof Factor)) failType(operation, 'factor', 'a Factor (from factor(point, ...))', factor);
  const size = factor.point.network.parameterCount;
  if (start !== null) checkVector(operation, 'start', start, size);
  checkInteger(operation, 'steps', steps, 1);
  const v = start === null ? new Random(seed).normals(new Float64Array(size)) : start.slice();
  scale(1 / norm(v), v);
  for (let step = 0; step < steps; step++) {
    const { x } = factor.solve(v);
    const length = norm(x);
    if (!(length > 0) || !Number.isFinite(length)) break;
    const sign = dot(x, v) < 0 ? -1 : 1;
    let change = 0;
    for (let i = 0; i < size; i++) {
      const next = (sign * x[i]) / length;
      change += (next - v[i]) ** 2;
      v[i] = next;
    }
    if (change < 1e-24) break;
  }
  return v;
}

/** All eigenvalues of a matrix, dense. */
export interface SpectrumResult {
  /** all P eigenvalues, ascending */
  values: Float64Array;
  /** orthonormal eigenvectors as columns, P x P, or null */
  vectors: Float64Array | null;
}

/**
 * The complete spectrum, dense (LAPACK syevd): O(P^3) time and 8 P^2 to 32 P^2 bytes, for small networks.
 *
 * @param options.vectors also the eigenvectors; default false
 * @throws DeepHessianError 'out-of-memory' with the figures before anything is allocated
 */
export function eigenvalues(
  point: Linearization,
  options: { matrix?: MatrixKind; vectors?: boolean; memoryLimit?: number } = {},
): SpectrumResult {
  checkLinearized('eigenvalues', point);
  checkKeys('eigenvalues', 'options', options, ['matrix', 'vectors', 'memoryLimit']);
  const { matrix = 'hessian', vectors = false, memoryLimit = availableMemory() } = options;
  checkOneOf('eigenvalues', 'matrix', matrix, ['hessian', 'gauss-newton'] as const);
  checkBoolean('eigenvalues', 'vectors', vectors);
  const P = point.network.parameterCount;
  // syevd with vectors works in 2 P^2 numbers beside the matrix.
  requireMemory(
    'eigenvalues',
    (vectors ? 32 : 16) * P * P,
    memoryLimit,
    'ask for counts or single eigenvalues instead: eigenvalueCount, eigenvalue',
  );
  const a = matrix === 'hessian' ? point.denseHessian() : point.denseGaussNewton();
  const values = new Float64Array(P);
  const info = kernels.syevd(vectors ? Yes : No, Lower, P, a, 0, P, values, 0);
  if (info !== 0)
    throw new DeepHessianError('no-convergence', `eigenvalues: the dense eigensolver stopped with info ${info}`, {
      info,
    });
  return { values, vectors: vectors ? a : null };
}
