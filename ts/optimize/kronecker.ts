/**
 * Kronecker factors of the Gauss-Newton (= Fisher) matrix, layer by layer (Martens & Grosse 2015, section 3):
 *
 *     F_l = sum_n sum_k (z~_n z~_n^T) (x) (d_nk d_nk^T)   ~   A_l (x) G_l
 *     A_l = weighted mean of z~_n z~_n^T      (a x a, a = inputs, +1 with a bias: homogeneous coordinates)
 *     G_l = sum_n sum_k d_nk d_nk^T           (h x h; 1/N is in d)
 *
 * exact where z~ and d are independent, e.g. for one linear layer with a squared loss. For a V (a x h, bias in the last row)
 *
 *     (A (x) G)^-1 vec V = A^-1 V G^-1
 *
 * Running averages over batches: theta = min(1 - 1/k, decay) of the past, k the update's number (section 5).
 * Damping is factored (section 6.3), with gamma = sqrt(lambda + L2):
 *
 *     (A + pi gamma I) (x) (G + gamma / pi I),     pi = sqrt( (tr A / a) / (tr G / h) )
 *
 * Inverses are explicit (Cholesky, then potri), because each serves many products.
 *
 * The inputs of the first layer are data: their A does not move as the parameters do. It forgets more slowly (a longer average has
 * less noise, and of all factors this one has most to estimate), and once it is settled it is updated and inverted less often.
 * With 768 inputs that is a seventh of a step.
 */
import { checkKeys, checkObject, checkOneOf, checkPositive } from '../checks.js';
import type { Linearization } from '../derivatives/index.js';
import { DeepHessianError } from '../errors.js';
import { availableMemory, formatBytes } from '../inverse/index.js';
import { LinearOperator } from '../linalg/linear-operator.js';
import { Left, Lower, No, Right, Yes, kernels } from '../native/index.js';
import type { AffineLayer, NetworkModel } from '../network/index.js';
import { Random } from '../random.js';
import {
  BackpropagatedRows,
  checkAffine,
  fisherRows,
  type FisherRows,
  type RowVisitor,
} from './backpropagated-rows.js';

/** Place of one layer's factors in the flat arrays. */
export interface FactorPlace {
  readonly layer: AffineLayer;
  /** inputs, +1 with a bias */
  readonly a: number;
  readonly h: number;
  readonly aOffset: number;
  readonly gOffset: number;
}

/** Largest weight of the past in the first layer's A. */
const dataDecay = 0.99;
/** From so many updates on, the first layer's A takes every fourth. */
const settledUpdates = 20;
const settledInterval = 4;

/** Factors A and G of all layers, as running averages. */
export class KroneckerFactors {
  readonly places: readonly FactorPlace[];
  /** A_l one after the other, lower triangles valid */
  readonly a: Float64Array;
  readonly g: Float64Array;
  /** updates taken in */
  updates = 0;
  /** those of them that the first layer's A took */
  dataUpdates = 0;
  private readonly rows: BackpropagatedRows;
  private random: Random;
  private weighted = new Float64Array(0);
  private roots = new Float64Array(0);
  private ones = new Float64Array(0);

  /** @throws DeepHessianError 'unsupported' for custom layers, 'out-of-memory' with the figures */
  constructor(
    operation: string,
    readonly network: NetworkModel,
    private readonly kind: FisherRows,
    seed: number,
    private readonly decay: number,
  ) {
    checkAffine(operation, network);
    checkOneOf(operation, 'options.fisher', kind, fisherRows);
    let aOffset = 0;
    let gOffset = 0;
    this.places = network.layers.map((layer) => {
      const place = {
        layer: layer as AffineLayer,
        a: layer.inputs + ((layer as AffineLayer).bias ? 1 : 0),
        h: layer.units,
        aOffset,
        gOffset,
      };
      aOffset += place.a * place.a;
      gOffset += place.h * place.h;
      return place;
    });
    const bytes = 8 * 3 * (aOffset + gOffset);
    const available = availableMemory();
    if (bytes > available) {
      throw new DeepHessianError(
        'out-of-memory',
        `${operation}: the factors of these layers need ${formatBytes(bytes)} but ${formatBytes(available)} is available; use fewer inputs, or adam`,
        { bytes, available },
      );
    }
    this.a = new Float64Array(aOffset);
    this.g = new Float64Array(gOffset);
    this.rows = new BackpropagatedRows(network);
    this.random = new Random(seed);
  }

  /** State of the generator of sampled labels. */
  get randomState(): readonly number[] {
    return this.random.state;
  }

  set randomState(words: readonly number[]) {
    this.random = Random.from([words[0] | 0, words[1] | 0, words[2] | 0, words[3] | 0]);
  }

  /** Takes the statistics of one batch into the averages. `also` sees the same rows. */
  update(point: Linearization, also?: RowVisitor): void {
    this.updates++;
    const past = Math.min(1 - 1 / this.updates, this.decay);
    for (const place of this.places) {
      if (place.layer.index > 0) this.updateInputs(point, place, past);
      else if (this.decay === 0 || this.dataUpdates < settledUpdates || this.updates % settledInterval === 0) {
        const share = 1 / ++this.dataUpdates;
        this.updateInputs(point, place, this.decay === 0 ? 0 : Math.min(1 - share, Math.max(this.decay, dataDecay)));
      }
    }
    const { g, places } = this;
    if (past === 0) g.fill(0);
    else for (let i = 0; i < g.length; i++) g[i] *= past;
    this.rows.run(point, this.kind, this.random, (layer, d, rows, start, count) => {
      const { h, gOffset } = places[layer.layer.index];
      kernels.syrk(Lower, Yes, h, rows, 1 - past, d, 0, rows, 1, g, gOffset, h);
      also?.(layer, d, rows, start, count);
    });
  }

  /** A := past A + (1 - past) mean of z~ z~^T; the bias row holds the column means and 1. */
  private updateInputs(point: Linearization, place: FactorPlace, past: number): void {
    const { samples: N, batch } = point;
    const { layer, a, aOffset } = place;
    const { inputs } = layer;
    let z = point.layers[layer.index].input;
    let mass = N;
    if (batch.weights !== null) {
      if (this.weighted.length < N * inputs) this.weighted = new Float64Array(N * inputs);
      if (this.roots.length < N) this.roots = new Float64Array(N);
      mass = 0;
      for (let n = 0; n < N; n++) {
        mass += batch.weights[n];
        this.roots[n] = Math.sqrt(batch.weights[n]);
      }
      if (!(mass > 0)) mass = 1;
      kernels.scaleRows(Left, N, inputs, this.roots, 0, z, 0, N, this.weighted, 0, N);
      z = this.weighted;
    }
    const share = (1 - past) / mass;
    kernels.syrk(Lower, Yes, inputs, N, share, z, 0, N, past, this.a, aOffset, a);
    if (!layer.bias) return;
    const last = aOffset + inputs;
    let ones = this.roots;
    if (batch.weights === null) {
      if (this.ones.length < N) this.ones = new Float64Array(N).fill(1);
      ones = this.ones;
    }
    kernels.gemv(Yes, N, inputs, share, z, 0, N, ones, 0, 1, past, this.a, last, a);
    this.a[last + inputs * a] = 1;
  }
}

/** The share by which the first layer's A or its damping may have changed without a new inversion. */
const dataTolerance = 0.2;

/** Damped inverses of {@link KroneckerFactors}: a symmetric positive definite approximation of (F + lambda I)^-1. */
export class KroneckerInverse {
  readonly a: Float64Array;
  readonly g: Float64Array;
  /** the first layer's A at its last inversion: the updates it had taken, and its damping; 0: none yet */
  dataUpdates = 0;
  dataShift = 0;
  private readonly v: Float64Array;
  private readonly w: Float64Array;

  constructor(private readonly factors: KroneckerFactors) {
    this.a = new Float64Array(factors.a.length);
    this.g = new Float64Array(factors.g.length);
    const widest = factors.places.reduce((most, { a, h }) => Math.max(most, a * h), 0);
    this.v = new Float64Array(widest);
    this.w = new Float64Array(widest);
  }

  /**
   * Inverts the factors as they are now. @param lambda damping > 0; L2 of the network comes on top
   * @throws DeepHessianError 'not-positive-definite' when a factor is not finite
   */
  invert(lambda: number): void {
    checkPositive('KroneckerInverse.invert', 'lambda', lambda);
    const { factors, a: inverseA, g: inverseG } = this;
    for (const { layer, a, h, aOffset, gOffset } of factors.places) {
      const gamma = Math.sqrt(lambda + factors.network.l2[layer.index]);
      const pi = traceRatio(factors.a, aOffset, a, factors.g, gOffset, h);
      if (layer.index > 0 || this.dataDue(gamma * pi)) invertBlock(factors.a, aOffset, a, gamma * pi, inverseA);
      invertBlock(factors.g, gOffset, h, gamma / pi, inverseG);
    }
  }

  /** Whether the first layer's A or its damping has changed by enough since its last inversion to be worth another. */
  private dataDue(shift: number): boolean {
    const { dataUpdates } = this.factors;
    const same = this.dataUpdates > 0 && Math.abs(Math.log(shift / this.dataShift)) < dataTolerance;
    // An average of k updates changes by about 1/k with the next one; of those that forget, no more than the last hundred count.
    if (same && dataUpdates - this.dataUpdates < dataTolerance * Math.min(this.dataUpdates, 100)) return false;
    this.dataUpdates = dataUpdates;
    this.dataShift = shift;
    return true;
  }

  /** out := approximate (F + lambda I)^-1 v, both of length P; `out` may be `v`. */
  apply(v: Float64Array, out: Float64Array): void {
    const { factors, a: inverseA, g: inverseG, v: matrix, w } = this;
    for (const place of factors.places) {
      const { a, h, aOffset, gOffset } = place;
      gatherLayer(place, v, matrix);
      kernels.gemm(No, No, a, h, a, 1, inverseA, aOffset, a, matrix, 0, a, 0, w, 0, a);
      kernels.gemm(No, No, a, h, h, 1, w, 0, a, inverseG, gOffset, h, 0, matrix, 0, a);
      scatterLayer(place, matrix, out);
    }
  }
}

/** Options of {@link kroneckerInverse}. */
export interface KroneckerInverseOptions {
  /** lambda > 0; L2 of the network comes on top */
  damping: number;
  /** rows of the factors, default 'exact' */
  fisher?: FisherRows;
  /** seed of the labels of 'sampled' rows, default 0 */
  seed?: number;
}

/**
 * K-FAC's approximation of (G + lambda I)^-1 at one point, as a symmetric positive definite operator: a preconditioner for cg, minres and
 * gmres, or a cheap inverse to compare with the exact one.
 *
 * @throws DeepHessianError 'unsupported' for custom layers
 * @example
 * const { x } = cg(shifted(gaussNewtonOperator(point), 0.1), point.gradient, {
 *   preconditioner: kroneckerInverse(point, { damping: 0.1 }),
 * });
 */
export function kroneckerInverse(point: Linearization, options: KroneckerInverseOptions): LinearOperator {
  const operation = 'kroneckerInverse';
  checkObject(operation, 'options', options);
  checkKeys(operation, 'options', options, ['damping', 'fisher', 'seed']);
  const { damping, fisher = 'exact', seed = 0 } = options;
  checkPositive(operation, 'options.damping', damping);
  const factors = new KroneckerFactors(operation, point.network, fisher, seed, 0);
  factors.update(point);
  const inverse = new KroneckerInverse(factors);
  inverse.invert(damping);
  return new LinearOperator({
    rows: point.network.parameterCount,
    symmetric: true,
    definiteness: 'positive-definite',
    name: 'Kronecker-factored inverse',
    apply: (v, out) => inverse.apply(v, out),
  });
}

/** Options of {@link kroneckerOperator}. */
export interface KroneckerOperatorOptions {
  /** rows of the factors, default 'exact' */
  fisher?: FisherRows;
  /** seed of the labels of 'sampled' rows, default 0 */
  seed?: number;
}

/**
 * K-FAC's approximation of the Gauss-Newton matrix at one point, block diagonal over the layers: A_l (x) G_l + L2, P x P. Exact for
 * one sample and one layer. Its damped inverse (with factored damping) is {@link kroneckerInverse}.
 *
 * @throws DeepHessianError 'unsupported' for custom layers
 */
export function kroneckerOperator(point: Linearization, options: KroneckerOperatorOptions = {}): LinearOperator {
  const operation = 'kroneckerOperator';
  const given: unknown = options;
  checkObject(operation, 'options', given);
  checkKeys(operation, 'options', given, ['fisher', 'seed']);
  const { fisher = 'exact', seed = 0 } = options;
  const { network } = point;
  const factors = new KroneckerFactors(operation, network, fisher, seed, 0);
  factors.update(point);
  const widest = factors.places.reduce((most, { a, h }) => Math.max(most, a * h), 0);
  const matrix = new Float64Array(widest);
  const half = new Float64Array(widest);
  return new LinearOperator({
    rows: network.parameterCount,
    symmetric: true,
    definiteness: 'positive-semidefinite',
    name: 'Kronecker-factored Gauss-Newton',
    apply: (v, out) => {
      for (const place of factors.places) {
        const { a, h, aOffset, gOffset } = place;
        gatherLayer(place, v, matrix);
        kernels.symm(Left, Lower, a, h, 1, factors.a, aOffset, a, matrix, 0, a, 0, half, 0, a);
        kernels.symm(Right, Lower, a, h, 1, factors.g, gOffset, h, half, 0, a, 0, matrix, 0, a);
        scatterLayer(place, matrix, out);
      }
      network.addPenaltyProduct(v, out);
    },
  });
}

/** pi of the factored damping; 1 where a factor vanishes. */
export function traceRatio(
  a: Float64Array,
  aOffset: number,
  n: number,
  g: Float64Array,
  gOffset: number,
  h: number,
): number {
  let traceA = 0;
  let traceG = 0;
  for (let i = 0; i < n; i++) traceA += a[aOffset + i * (n + 1)];
  for (let i = 0; i < h; i++) traceG += g[gOffset + i * (h + 1)];
  const pi = Math.sqrt(traceA / n / (traceG / h));
  return pi > 0 && pi < Infinity ? pi : 1;
}

/**
 * inverse := (M + shift I)^-1 for an n x n block M of which the lower triangle is read. Where the shift drowns in the rounding of
 * M, a factor of low rank can lose definiteness: the shift then grows tenfold until Cholesky succeeds.
 */
function invertBlock(m: Float64Array, offset: number, n: number, shift: number, inverse: Float64Array): void {
  let trace = 0;
  for (let i = 0; i < n; i++) trace += m[offset + i * (n + 1)];
  for (let extra = shift; ; extra = Math.max(10 * extra, (1e-15 * trace) / n)) {
    for (let i = offset; i < offset + n * n; i++) inverse[i] = m[i];
    for (let i = 0; i < n; i++) inverse[offset + i * (n + 1)] += extra;
    if (kernels.potrf(Lower, n, inverse, offset, n) === 0) break;
    if (!(extra < 1e3 * trace)) {
      throw new DeepHessianError('not-positive-definite', `kfac: a Kronecker factor of order ${n} is not finite`, {
        order: n,
        trace,
      });
    }
  }
  kernels.potri(Lower, n, inverse, offset, n);
  kernels.symmetrize(Lower, n, inverse, offset, n);
}

/** The layer's part of a parameter vector as an a x h matrix, bias in the last row. */
export function gatherLayer({ layer, a, h }: FactorPlace, v: Float64Array, matrix: Float64Array): void {
  const { inputs, weightOffset, biasOffset } = layer;
  for (let j = 0; j < h; j++) {
    const from = weightOffset + j * inputs;
    const to = j * a;
    for (let i = 0; i < inputs; i++) matrix[to + i] = v[from + i];
    if (biasOffset >= 0) matrix[to + inputs] = v[biasOffset + j];
  }
}

/** The way back of {@link gatherLayer}. */
export function scatterLayer({ layer, a, h }: FactorPlace, matrix: Float64Array, v: Float64Array): void {
  const { inputs, weightOffset, biasOffset } = layer;
  for (let j = 0; j < h; j++) {
    const to = weightOffset + j * inputs;
    const from = j * a;
    for (let i = 0; i < inputs; i++) v[to + i] = matrix[from + i];
    if (biasOffset >= 0) v[biasOffset + j] = matrix[from + inputs];
  }
}
