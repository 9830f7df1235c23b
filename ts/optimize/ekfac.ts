/**
 * EK-FAC: K-FAC with corrected eigenvalues (George, Laurent, Bouthillier, Ballas & Vincent 2018, algorithm 1).
 *
 *     A_l = U_A diag U_A^T,  G_l = U_G diag U_G^T          (Kronecker factors as in kronecker.ts)
 *     S_l[i, j] = sum_n sum_k (U_A^T z~_n)_i^2 (U_G^T d_nk)_j^2        second moments of the gradients in that basis
 *     (F_l + lambda I)^-1 V  ~  U_A [ (U_A^T V U_G) / (S_l + lambda + L2) ] U_G^T
 *
 * Among all matrices with this eigenbasis diag S is the nearest to F_l in the Frobenius norm, where K-FAC uses the product of the
 * factors' eigenvalues. Bases are made anew every `inverseInterval` steps, S starts there from the product and is a running average
 * taken with every update of the factors. A change of lambda takes effect at once, and needs no factored damping.
 *
 * Loop, options and step scaling are those of kfac.ts. Use it like kfac where the damping is small against the curvature or changes
 * fast; an eigendecomposition costs about ten times an inverse, so with a first layer of thousands of inputs kfac steps more often.
 */
import type { AffinePoint, Linearization, Network } from '../derivatives/index.js';
import { DeepHessianError } from '../errors.js';
import { kernels, Lower, No, Yes } from '../native/index.js';
import {
  factorState,
  kfacSettings,
  NaturalGradient,
  restoreFactors,
  type CurvatureInverse,
  type KfacOptions,
  type KfacSettings,
} from './kfac.js';
import { gatherLayer, KroneckerFactors, scatterLayer } from './kronecker.js';
import { stateCount, stateVector, type Optimizer, type OptimizerState } from './optimizer.js';

class EkfacInverse implements CurvatureInverse {
  readonly fixedDamping = false;
  private readonly factors: KroneckerFactors;
  private readonly decay: number;
  /** U_A and U_G of all layers, placed as the factors are */
  private readonly basisA: Float64Array;
  private readonly basisG: Float64Array;
  /** S_l (a x h), one after the other */
  private readonly scales: Float64Array;
  private readonly scaleOffsets: Float64Array;
  /** updates of S since the bases were made, the product of eigenvalues counted as the first; 0: no bases yet */
  private scaleUpdates = 0;
  /** the factors' update number at which the bases were made */
  private basisAt = 0;
  private readonly valuesA: Float64Array;
  private readonly valuesG: Float64Array;
  private readonly v: Float64Array;
  private readonly w: Float64Array;
  private z2 = new Float64Array(0);
  private d2 = new Float64Array(0);
  private sums = new Float64Array(0);
  private ones = new Float64Array(0);

  constructor(network: Network, options: KfacSettings) {
    this.factors = new KroneckerFactors('createEkfac', network, options.fisher, options.seed, options.decay);
    this.decay = options.decay;
    const { places, a, g } = this.factors;
    this.basisA = new Float64Array(a.length);
    this.basisG = new Float64Array(g.length);
    this.scaleOffsets = new Float64Array(places.length);
    let total = 0;
    let widest = 0;
    for (const [l, place] of places.entries()) {
      this.scaleOffsets[l] = total;
      total += place.a * place.h;
      widest = Math.max(widest, place.a * place.h);
    }
    this.scales = new Float64Array(total);
    this.v = new Float64Array(widest);
    this.w = new Float64Array(widest);
    this.valuesA = new Float64Array(places.reduce((most, place) => Math.max(most, place.a), 0));
    this.valuesG = new Float64Array(places.reduce((most, place) => Math.max(most, place.h), 0));
  }

  update(point: Linearization): void {
    if (this.scaleUpdates === 0) {
      this.factors.update(point);
      return;
    }
    this.scaleUpdates++;
    const past = Math.min(1 - 1 / this.scaleUpdates, this.decay);
    const { scales } = this;
    for (let i = 0; i < scales.length; i++) scales[i] *= past;
    this.factors.update(point, (layer, d, rows, start, count) => this.moments(layer, d, rows, start, count, 1 - past));
  }

  /** S += share (Z~ U_A)^2^T (D U_G)^2, squares element by element, summed over the rows of a sample. */
  private moments(
    point: AffinePoint,
    d: Float64Array,
    rows: number,
    start: number,
    count: number,
    share: number,
  ): void {
    const { a, h, aOffset, gOffset, layer } = this.factors.places[point.layer.index];
    const { basisA, basisG } = this;
    const N = point.input.length / layer.inputs;
    if (this.z2.length < count * a) this.z2 = new Float64Array(count * a);
    if (this.d2.length < rows * h) this.d2 = new Float64Array(rows * h);
    if (this.sums.length < count * h) this.sums = new Float64Array(count * h);
    const { z2, d2, sums } = this;
    kernels.gemm(No, No, count, a, layer.inputs, 1, point.input, start, N, basisA, aOffset, a, 0, z2, 0, count);
    if (layer.bias) {
      if (this.ones.length < count) this.ones = new Float64Array(count).fill(1);
      kernels.gemm(No, No, count, a, 1, 1, this.ones, 0, count, basisA, aOffset + layer.inputs, a, 1, z2, 0, count);
    }
    for (let i = 0; i < count * a; i++) z2[i] *= z2[i];
    kernels.gemm(No, No, rows, h, h, 1, d, 0, rows, basisG, gOffset, h, 0, d2, 0, rows);
    sums.fill(0, 0, count * h);
    for (let j = 0, o = 0; j < h; j++) {
      for (let k = 0; k < rows; k += count) for (let n = 0; n < count; n++, o++) sums[j * count + n] += d2[o] * d2[o];
    }
    kernels.gemm(
      Yes,
      No,
      a,
      h,
      count,
      share,
      z2,
      0,
      count,
      sums,
      0,
      count,
      1,
      this.scales,
      this.scaleOffsets[layer.index],
      a,
    );
  }

  refresh(_damping: number): void {
    const { factors, basisA, basisG, valuesA, valuesG, scales, scaleOffsets } = this;
    if (this.basisAt === factors.updates) return;
    basisA.set(factors.a);
    basisG.set(factors.g);
    for (const { layer, a, h, aOffset, gOffset } of factors.places) {
      const failed =
        kernels.syevd(Yes, Lower, a, basisA, aOffset, a, valuesA, 0) +
        kernels.syevd(Yes, Lower, h, basisG, gOffset, h, valuesG, 0);
      if (failed !== 0) {
        throw new DeepHessianError(
          'no-convergence',
          `ekfac: no eigendecomposition of the factors of layer ${layer.index}`,
          { layer: layer.index },
        );
      }
      const to = scaleOffsets[layer.index];
      for (let j = 0; j < h; j++) {
        for (let i = 0; i < a; i++) scales[to + j * a + i] = Math.max(valuesA[i], 0) * Math.max(valuesG[j], 0);
      }
    }
    this.basisAt = factors.updates;
    this.scaleUpdates = 1;
  }

  apply(v: Float64Array, damping: number, out: Float64Array): void {
    const { factors, basisA, basisG, scales, scaleOffsets, v: matrix, w } = this;
    for (const place of factors.places) {
      const { layer, a, h, aOffset, gOffset } = place;
      const shift = damping + factors.network.l2[layer.index];
      gatherLayer(place, v, matrix);
      kernels.gemm(Yes, No, a, h, a, 1, basisA, aOffset, a, matrix, 0, a, 0, w, 0, a);
      kernels.gemm(No, No, a, h, h, 1, w, 0, a, basisG, gOffset, h, 0, matrix, 0, a);
      for (let i = 0, s = scaleOffsets[layer.index]; i < a * h; i++, s++) matrix[i] /= scales[s] + shift;
      kernels.gemm(No, No, a, h, a, 1, basisA, aOffset, a, matrix, 0, a, 0, w, 0, a);
      kernels.gemm(No, Yes, a, h, h, 1, w, 0, a, basisG, gOffset, h, 0, matrix, 0, a);
      scatterLayer(place, matrix, out);
    }
  }

  state(): OptimizerState {
    const { scalars, vectors } = factorState(this.factors);
    return {
      scalars: { ...scalars, scaleUpdates: this.scaleUpdates, basisAt: this.basisAt },
      vectors: { ...vectors, basisA: this.basisA.slice(), basisG: this.basisG.slice(), scales: this.scales.slice() },
    };
  }

  restore(operation: string, state: OptimizerState): void {
    const scaleUpdates = stateCount(operation, state, 'scaleUpdates');
    const basisAt = stateCount(operation, state, 'basisAt');
    stateVector(operation, state, 'basisA', this.basisA);
    stateVector(operation, state, 'basisG', this.basisG);
    stateVector(operation, state, 'scales', this.scales);
    restoreFactors(operation, state, this.factors);
    this.scaleUpdates = scaleUpdates;
    this.basisAt = basisAt;
  }
}

/**
 * EK-FAC for a network of affine layers; options as {@link createKfac}. See the head of ekfac.ts for the method.
 *
 * @throws TypeError or RangeError naming the option that is wrong; DeepHessianError 'unsupported' for custom layers
 * @example
 * const optimizer = createEkfac(network, { inverseInterval: 50 });
 */
export function createEkfac(network: Network, options: KfacOptions = {}): Optimizer {
  const settings = kfacSettings('createEkfac', options);
  return new NaturalGradient('ekfac', network, settings, new EkfacInverse(network, settings));
}
