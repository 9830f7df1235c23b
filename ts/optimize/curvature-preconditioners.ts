/**
 * Positive definite approximations of (G + lambda I)^-1 for the conjugate gradients of hessian-free.ts.
 *
 *     'diagonal'        (N sum_n g_n^2 + lambda + L2)^exponent, g_n the gradient of sample n (Martens 2010, section 4.7: 3/4)
 *     'exact-diagonal'  (diag G + lambda + L2)^exponent, from backpropagated rows of R^T J
 *     'kfac'            Kronecker factors, running averages over the steps (kronecker.ts)
 *     'sub-batch'       the exact (G_m + lambda I)^-1 of the first m samples, by one Cholesky factor in sample space
 */
import type { AffinePoint, Linearization, Network } from '../derivatives/index.js';
import { DeepHessianError } from '../errors.js';
import { SampleSpaceFactor } from '../inverse/index.js';
import { kernels, No, Yes } from '../native/index.js';
import type { Batch } from '../network/index.js';
import { BackpropagatedRows, checkAffine } from './backpropagated-rows.js';
import { factorState, restoreFactors } from './kfac.js';
import { KroneckerFactors, KroneckerInverse } from './kronecker.js';
import type { OptimizerState } from './optimizer.js';

export const preconditionerNames = ['none', 'diagonal', 'exact-diagonal', 'kfac', 'sub-batch'] as const;
export type PreconditionerName = (typeof preconditionerNames)[number];

export interface PreconditionerOptions {
  /** exponent of the diagonals, in (0, 1] */
  exponent: number;
  /** samples of the sub-batch */
  subBatch: number;
  /** seed of the labels drawn for the Kronecker factors */
  seed: number;
}

export interface Preconditioner {
  /** Makes it ready at a point: whatever does not depend on lambda. */
  prepare(point: Linearization): void;
  /** Sets lambda; called after {@link prepare}. */
  damp(lambda: number): void;
  /** out := M^-1 v */
  apply(v: Float64Array, out: Float64Array): void;
  state(): OptimizerState;
  restore(operation: string, state: OptimizerState): void;
}

const stateless = {
  state: (): OptimizerState => ({ scalars: {}, vectors: {} }),
  restore: (): void => {},
};

/** @returns null for 'none' */
export function createPreconditioner(
  operation: string,
  name: PreconditionerName,
  network: Network,
  options: PreconditionerOptions,
): Preconditioner | null {
  if (name === 'none') return null;
  checkAffine(`${operation} with preconditioner '${name}'`, network);
  if (name === 'kfac') return new KroneckerPreconditioner(operation, network, options.seed);
  if (name === 'sub-batch') return new SubBatchPreconditioner(network, options.subBatch);
  return new DiagonalPreconditioner(network, name === 'diagonal', options.exponent);
}

class DiagonalPreconditioner implements Preconditioner {
  readonly state = stateless.state;
  readonly restore = stateless.restore;
  private readonly diagonal: Float64Array;
  private readonly inverse: Float64Array;
  private readonly rows: BackpropagatedRows;
  private squares = new Float64Array(0);
  private sums = new Float64Array(0);

  constructor(
    private readonly network: Network,
    private readonly empirical: boolean,
    private readonly exponent: number,
  ) {
    this.diagonal = new Float64Array(network.parameterCount);
    this.inverse = new Float64Array(network.parameterCount);
    this.rows = new BackpropagatedRows(network);
  }

  prepare(point: Linearization): void {
    this.diagonal.fill(0);
    const N = point.samples;
    if (this.empirical) {
      // delta carries the 1/N of the average: N (g_n)^2 summed is the mean of squared gradients of single losses
      for (const layer of point.layers) {
        const { delta } = layer as AffinePoint;
        this.add(layer as AffinePoint, delta, N, 0, N, N);
      }
    } else
      this.rows.run(point, 'exact', null, (layer, d, rows, start, count) => this.add(layer, d, rows, start, count, 1));
  }

  /** diagonal += scale sum over rows d^2 z~^2 */
  private add(point: AffinePoint, d: Float64Array, rows: number, start: number, count: number, scale: number): void {
    const { inputs: a, units: h, weightOffset, biasOffset } = point.layer;
    const N = point.input.length / a;
    if (this.squares.length < count * a) this.squares = new Float64Array(count * a);
    if (this.sums.length < count * h) this.sums = new Float64Array(count * h);
    const { squares, sums, diagonal } = this;
    for (let i = 0, o = 0; i < a; i++)
      for (let n = 0, z = i * N + start; n < count; n++, o++, z++) squares[o] = point.input[z] ** 2;
    sums.fill(0, 0, count * h);
    for (let j = 0, o = 0; j < h; j++) {
      for (let k = 0; k < rows; k += count) for (let n = 0; n < count; n++, o++) sums[j * count + n] += d[o] * d[o];
    }
    kernels.gemm(Yes, No, a, h, count, scale, squares, 0, count, sums, 0, count, 1, diagonal, weightOffset, a);
    if (biasOffset >= 0)
      for (let j = 0; j < h; j++)
        for (let n = 0; n < count; n++) diagonal[biasOffset + j] += scale * sums[j * count + n];
  }

  damp(lambda: number): void {
    for (const { index, parameterOffset: o, parameterCount: p } of this.network.layers) {
      const shift = lambda + this.network.l2[index];
      for (let i = o; i < o + p; i++) this.inverse[i] = (this.diagonal[i] + shift) ** -this.exponent;
    }
  }

  apply(v: Float64Array, out: Float64Array): void {
    kernels.hadamard(No, v.length, v, 0, this.inverse, 0, out, 0);
  }
}

class KroneckerPreconditioner implements Preconditioner {
  private readonly factors: KroneckerFactors;
  private readonly inverse: KroneckerInverse;

  constructor(operation: string, network: Network, seed: number) {
    this.factors = new KroneckerFactors(operation, network, 'sampled', seed, 0.95);
    this.inverse = new KroneckerInverse(this.factors);
  }

  prepare(point: Linearization): void {
    this.factors.update(point);
  }

  damp(lambda: number): void {
    this.inverse.invert(lambda);
  }

  apply(v: Float64Array, out: Float64Array): void {
    this.inverse.apply(v, out);
  }

  state(): OptimizerState {
    return factorState(this.factors);
  }

  restore(operation: string, state: OptimizerState): void {
    restoreFactors(operation, state, this.factors);
  }
}

class SubBatchPreconditioner implements Preconditioner {
  readonly state = stateless.state;
  readonly restore = stateless.restore;
  private space: SampleSpaceFactor | null = null;
  private point: Linearization | null = null;

  constructor(
    private readonly network: Network,
    private readonly samples: number,
  ) {}

  prepare(point: Linearization): void {
    const part = leadingSamples(point.batch, this.network, Math.min(this.samples, point.samples));
    this.point = this.network.linearize(point.params, part, this.point ? { reuse: this.point } : undefined);
    if (this.space === null || this.space.samples !== part.samples)
      this.space = new SampleSpaceFactor(this.network, part.samples);
    this.space.assemble(this.point);
  }

  damp(lambda: number): void {
    // Rounding may defeat Cholesky at a tiny lambda; a preconditioner may be damped more than its problem.
    for (let value = lambda, k = 0; !this.space!.factor(value); value *= 10, k++) {
      if (k === 20)
        throw new DeepHessianError('not-positive-definite', 'hessian-free: the sub-batch factor is not finite', {
          lambda,
        });
    }
  }

  apply(v: Float64Array, out: Float64Array): void {
    this.space!.solve(v, out, 1);
  }
}

/** The first m samples of a prepared batch, as a batch. */
export function leadingSamples(batch: Batch, network: Network, m: number): Batch {
  const { samples: N } = batch;
  if (m === N) return batch;
  const leading = (block: Float64Array, columns: number): Float64Array => {
    const part = new Float64Array(m * columns);
    for (let i = 0; i < columns; i++) part.set(block.subarray(i * N, i * N + m), i * m);
    return part;
  };
  return {
    samples: m,
    inputs: leading(batch.inputs, network.inputs),
    targets: batch.targets === null ? null : batch.targets.slice(0, m),
    targetValues: batch.targetValues === null ? null : leading(batch.targetValues, network.outputs),
    weights: batch.weights === null ? null : batch.weights.slice(0, m),
    ...(batch.loss === undefined ? {} : { loss: batch.loss }),
  };
}
