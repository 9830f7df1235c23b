/**
 * Exact eigenvalue counts of M (Hessian or Gauss-Newton matrix, P x P) by spectrum slicing.
 *
 *     #{ eigenvalues of M below s } = negative pivots of the block factor of M - s I         (Sylvester; Haynsworth 1968)
 *
 * (Parlett 1998, section 3.3; Grimes, Lewis & Simon 1994.) One factorization along the layers per shift, no eigenvalue
 * computed. A count is only passed on when the factor's own rounding is certified to be small against the eigenvalue nearest
 * to the shift (Factor.certify); where the layer recursion cannot promise that, a dense Bunch-Kaufman factor decides if the
 * network is small enough. Counts are kept, so that every later question starts from what is known.
 */
import { checkFinite, checkInteger, checkKeys, checkObject, checkOneOf, checkPositive } from '../checks.js';
import type { Linearization } from '../derivatives/index.js';
import { DeepHessianError } from '../errors.js';
import { checkLinearized } from '../inverse/factor.js';
import {
  availableMemory,
  factorShifted,
  methods,
  type Factor,
  type MatrixKind,
  type Method,
} from '../inverse/index.js';
import { lanczos } from '../linalg/lanczos.js';
import type { LinearOperator } from '../linalg/linear-operator.js';
import { kernels, Lower, No } from '../native/index.js';
import { curvatureOperator } from './operators.js';

/** Options that every question about the spectrum takes. */
export interface SpectrumOptions {
  /** 'hessian' (default) or 'gauss-newton' */
  matrix?: MatrixKind;
  /** route of the factorizations, default 'auto': by the cost model */
  method?: Exclude<Method, 'sample-space'> | 'auto';
  /** bytes that a factor may take, default what the process has available */
  memoryLimit?: number;
  /** seed of the random start vectors, default 0 */
  seed?: number;
}

export const spectrumKeys = ['matrix', 'method', 'memoryLimit', 'seed'];

/** How many eigenvalues lie below a shift. */
export interface EigenvalueBound {
  /** the shift s */
  readonly shift: number;
  /** number of eigenvalues below s */
  readonly below: number;
  /** whether rounding is certified not to have changed the count */
  readonly trusted: boolean;
  /** estimate of (eigenvalue nearest to s) - s */
  readonly nearest: number;
  /** the certificate in words */
  readonly reason: string;
}

/** Largest order for which a dense factor may decide what the layer recursion cannot. */
const denseOrder = 3000;

/** Counts of one matrix, kept for reuse. Every function of this folder makes one, or takes one that is already there. */
export class SpectrumSlicer {
  /** the point */
  readonly point: Linearization;
  /** the matrix M: 'hessian' or 'gauss-newton' */
  readonly matrix: MatrixKind;
  /** order P */
  readonly size: number;
  /** M as an operator */
  readonly operator: LinearOperator;
  /** seed of random start vectors */
  readonly seed: number;
  /** factorizations so far */
  factorizations = 0;
  /** products with M so far, those inside factors not counted */
  products = 0;

  private readonly options: SpectrumOptions;
  private readonly memoryLimit: number;
  private main: Factor | null = null;
  private dense: Factor | null = null;
  /** once the layer recursion has failed at some distance from zero it is not tried again closer to it */
  private hopelessWithin = 0;
  private extremes: { lowest: number; highest: number; norm: number } | null = null;
  private readonly known: EigenvalueBound[] = [];

  /** @throws TypeError or RangeError for wrong arguments */
  constructor(point: Linearization, options: SpectrumOptions = {}) {
    const operation = 'SpectrumSlicer';
    checkLinearized(operation, point);
    checkObject(operation, 'options', options);
    checkKeys(operation, 'options', options, spectrumKeys);
    const { matrix = 'hessian', seed = 0 } = options;
    checkOneOf(operation, 'matrix', matrix, ['hessian', 'gauss-newton'] as const);
    if (options.method !== undefined)
      checkOneOf(operation, 'method', options.method, ['auto', ...methods.filter((m) => m !== 'sample-space')]);
    if (options.memoryLimit !== undefined) checkPositive(operation, 'memoryLimit', options.memoryLimit);
    checkInteger(operation, 'seed', seed, 0, 0xffffffff);
    this.point = point;
    this.matrix = matrix;
    this.size = point.network.parameterCount;
    this.operator = curvatureOperator(point, matrix);
    this.options = options;
    this.memoryLimit = options.memoryLimit ?? availableMemory();
    this.seed = seed;
  }

  /** Lanczos estimate of |M|_2, a lower bound good to a per cent; 0 only for the zero matrix. */
  get norm(): number {
    return this.ends().norm;
  }

  /** Lanczos estimates of the extreme eigenvalues: no bounds, only first guesses. */
  ends(): { lowest: number; highest: number; norm: number } {
    if (this.extremes !== null) return this.extremes;
    const { size, operator, seed } = this;
    if (size < 3) {
      const { values, products } = lanczos(operator, { smallest: 1, largest: size - 1, seed, verify: false });
      this.products += products;
      const highest = values[values.length - 1];
      return (this.extremes = { lowest: values[0], highest, norm: Math.max(Math.abs(values[0]), Math.abs(highest)) });
    }
    const { values, products } = lanczos(operator, {
      smallest: 1,
      largest: 1,
      tolerance: 1e-3,
      verify: false,
      seed,
      maxIterations: Math.max(60, Math.min(300, 2 * size)),
    });
    this.products += products;
    const norm = Math.max(Math.abs(values[0]), Math.abs(values[1]));
    return (this.extremes = { lowest: values[0], highest: values[1], norm });
  }

  /** Whether a dense factor may stand in for the layer recursion. */
  get denseAllowed(): boolean {
    return this.size <= denseOrder && 20 * this.size ** 2 <= this.memoryLimit;
  }

  /** The factor of M - s I that decided the latest count, for solves: valid until the next count. */
  get factor(): Factor | null {
    return this.deciding;
  }
  private deciding: Factor | null = null;

  /** The number of eigenvalues below `shift`, with its certificate. */
  count(shift: number): EigenvalueBound {
    checkFinite('count', 'shift', shift);
    const again = this.known.find((bound) => bound.shift === shift);
    if (again !== undefined) return again;
    const { point, matrix } = this;
    // In double precision: of a factor in single precision rounding exceeds the eigenvalues near zero, where nearly every
    // question is asked, so that no count would be certified.
    const common = {
      matrix,
      precision: 'float64' as const,
      tolerance: 1e-8,
      maxRefinements: 4,
      onFailure: 'return' as const,
      memoryLimit: this.memoryLimit,
    };
    let certificate = { trusted: false, reason: 'not tried', nearest: NaN };
    const hopeless = this.denseAllowed && Math.abs(shift) <= this.hopelessWithin;
    if (!hopeless) {
      if (this.main === null)
        this.main = factorShifted(point, { ...common, method: this.options.method ?? 'auto', shift: -shift });
      else this.main.refactorShifted(-shift);
      this.factorizations++;
      this.deciding = this.main;
      certificate = this.main.certify();
    }
    if (!certificate.trusted && this.main?.method !== 'dense' && this.denseAllowed) {
      if (this.dense === null) this.dense = factorShifted(point, { ...common, method: 'dense', shift: -shift });
      else this.dense.refactorShifted(-shift);
      this.factorizations++;
      this.deciding = this.dense;
      certificate = this.dense.certify();
      // The layer recursion divides by the shift: where it fails it need not be tried closer to zero.
      if (certificate.trusted) this.hopelessWithin = Math.max(this.hopelessWithin, Math.abs(shift));
    }
    const { trusted, reason, nearest } = certificate;
    const bound = { shift, below: trusted ? this.deciding!.inertia.negative : NaN, trusted, nearest, reason };
    this.known.push(bound);
    return bound;
  }

  /** A factor of M - s I for solves; at the latest counted shift it is already there. */
  factorAt(shift: number): Factor {
    if (this.deciding !== null && this.deciding.damping === -shift) return this.deciding;
    const place = this.known.findIndex((bound) => bound.shift === shift);
    if (place >= 0) this.known.splice(place, 1);
    this.count(shift);
    return this.deciding!;
  }

  private spectrum: Float64Array | null = null;
  /** The dense spectrum, ascending: first guesses for small networks. */
  denseValues(): Float64Array {
    if (this.spectrum !== null) return this.spectrum;
    const { size, operator } = this;
    const a = operator.toDense();
    const values = new Float64Array(size);
    kernels.syevd(No, Lower, size, a, 0, size, values, 0);
    return (this.spectrum = values);
  }

  /** As {@link count}. @throws DeepHessianError 'inertia-untrusted' when the count is not certain */
  certainCount(shift: number): number {
    const { trusted, below, reason, nearest } = this.count(shift);
    if (!trusted) {
      throw new DeepHessianError(
        'inertia-untrusted',
        `count: eigenvalues below ${shift} cannot be counted: ${reason}`,
        { shift, nearest },
      );
    }
    return below;
  }

  /** All certified counts so far, by ascending shift. */
  get bounds(): readonly EigenvalueBound[] {
    return this.known.filter((bound) => bound.trusted).sort((a, b) => a.shift - b.shift);
  }

  /** The tightest certified counts around eigenvalue `index`: lower.below <= index < upper.below. */
  bracket(index: number): { lower: EigenvalueBound | null; upper: EigenvalueBound | null } {
    let lower: EigenvalueBound | null = null;
    let upper: EigenvalueBound | null = null;
    for (const bound of this.known) {
      if (!bound.trusted) continue;
      if (bound.below <= index) {
        if (lower === null || bound.shift > lower.shift) lower = bound;
      } else if (upper === null || bound.shift < upper.shift) upper = bound;
    }
    return { lower, upper };
  }

  /** Frees the factors; counts stay known. */
  dispose(): void {
    this.main?.dispose();
    this.dense?.dispose();
    this.main = null;
    this.dense = null;
    this.deciding = null;
  }
}

/** The slicer that was given, or a new one for a point. */
export function slicerOf(source: Linearization | SpectrumSlicer, options: SpectrumOptions): SpectrumSlicer {
  return source instanceof SpectrumSlicer ? source : new SpectrumSlicer(source, options);
}
