/**
 * BFGS with a dense inverse (Nocedal & Wright 2006, algorithm 6.1). H is P x P, symmetric positive definite:
 *
 *     rho = 1 / s^T y
 *     H := (I - rho s y^T) H (I - rho y s^T) + rho s s^T
 *        = H - rho (s (Hy)^T + (Hy) s^T) + rho (1 + rho y^T H y) s s^T        (eq. 6.17, multiplied out)
 *
 * started from H = (s^T y / y^T y) I of the first pair (eq. 6.20). P^2 memory and about 6 P^2 flops a step: for small
 * networks and full batches, where it ends superlinearly. Larger ones: L-BFGS.
 */
import { checkInteger, checkKeys, checkObject } from '../checks.js';
import type { Network } from '../derivatives/network.js';
import { kernels, Left, Lower, No, Yes } from '../native/index.js';
import { failOption } from './option-checks.js';
import { stateCount, stateVector, type Optimizer, type OptimizerState } from './optimizer.js';
import {
  type InverseHessianModel,
  QuasiNewton,
  quasiNewtonKeys,
  QuasiNewtonOptimizer,
  type QuasiNewtonOptions,
} from './quasi-newton.js';

/** Options of {@link createBfgs} (Nocedal and Wright 2006, chapter 6). */
export interface BfgsOptions extends QuasiNewtonOptions {
  /** refuse more parameters than this, for H needs 8 P^2 bytes; default 8192 (512 MiB) */
  maximumParameters?: number;
}

/** H as a full matrix of which the lower triangle is read. */
export class DenseInverse implements InverseHessianModel {
  updates = 0;
  private readonly inverse: Float64Array;
  private readonly pair: Float64Array; // n x 2: s, H y
  private readonly weights: Float64Array; // n x 2: the columns that multiply them
  private readonly hy: Float64Array;

  /** @param size P */
  constructor(private readonly size: number) {
    this.inverse = new Float64Array(size * size);
    this.pair = new Float64Array(2 * size);
    this.weights = new Float64Array(2 * size);
    this.hy = new Float64Array(size);
  }

  apply(gradient: Float64Array, out: Float64Array): void {
    const n = this.size;
    if (this.updates === 0) out.set(gradient);
    else kernels.symm(Left, Lower, n, 1, 1, this.inverse, 0, n, gradient, 0, n, 0, out, 0, n);
  }

  update(s: Float64Array, y: Float64Array, sy: number): void {
    const { size: n, inverse, pair, weights, hy } = this;
    if (this.updates === 0) {
      const gamma = sy / kernels.dot(n, y, 0, y, 0);
      inverse.fill(0);
      for (let i = 0; i < n; i++) inverse[i * (n + 1)] = gamma;
    }
    kernels.symm(Left, Lower, n, 1, 1, inverse, 0, n, y, 0, n, 0, hy, 0, n);
    const rho = 1 / sy;
    const both = rho * (1 + rho * kernels.dot(n, y, 0, hy, 0));
    pair.set(s);
    pair.set(hy, n);
    for (let i = 0; i < n; i++) {
      weights[i] = both * s[i] - rho * hy[i];
      weights[n + i] = -rho * s[i];
    }
    kernels.gemm(No, Yes, n, n, 2, 1, weights, 0, n, pair, 0, n, 1, inverse, 0, n);
    this.updates++;
  }

  reset(): void {
    this.updates = 0;
  }

  state(): OptimizerState {
    return { scalars: { updates: this.updates }, vectors: { inverse: this.inverse.slice() } };
  }

  restore(state: OptimizerState): void {
    const operation = 'bfgs.restore';
    const updates = stateCount(operation, state, 'updates');
    stateVector(operation, state, 'inverse', this.inverse);
    this.updates = updates;
  }
}

/** BFGS on a plain objective of `size` variables: call `step(objective, x)`. */
export function bfgsCore(size: number, options: BfgsOptions = {}, operation = 'bfgsCore'): QuasiNewton {
  checkObject(operation, 'options', options);
  const given = options as BfgsOptions;
  checkKeys(operation, 'options', given, [...quasiNewtonKeys, 'maximumParameters']);
  checkInteger(operation, 'size', size, 1);
  const { maximumParameters = 8192 } = given;
  checkInteger(operation, 'options.maximumParameters', maximumParameters, 1);
  if (size > maximumParameters) {
    const gigabytes = ((8 * size * size) / 2 ** 30).toFixed(1);
    failOption(
      operation,
      'maximumParameters',
      () => `at least ${size}, the number of parameters (the dense inverse then needs ${gigabytes} GiB; or use lbfgs)`,
      maximumParameters,
    );
  }
  return new QuasiNewton(operation, size, new DenseInverse(size), given);
}

/**
 * BFGS with a dense inverse for `network`: strong Wolfe line search, no learning rate.
 *
 * @throws TypeError or RangeError naming the option that is wrong, RangeError for more than `maximumParameters`
 * @example
 * const optimizer = createBfgs(network);
 * for (let k = 0; k < 100; k++) optimizer.step(params, batch);
 */
export function createBfgs(network: Network, options: BfgsOptions = {}): Optimizer {
  return new QuasiNewtonOptimizer('bfgs', network, bfgsCore(network.parameterCount, options, 'createBfgs'));
}
