/**
 * Limited-memory BFGS (Nocedal 1980; Nocedal & Wright 2006, algorithms 7.4 and 7.5): the inverse Hessian is kept as the
 * last m pairs (s, y) and applied by the two-loop recursion, from H0 = gamma I with gamma = s^T y / y^T y of the newest
 * pair (eq. 7.20). 4 m P flops and 2 m vectors of length P.
 *
 * The tool for full batches when P is too large for second-order matrices. Not for streams of small batches: a line
 * search fits every batch by itself.
 */
import { checkInteger, checkKeys, checkObject, failRange } from '../checks.js';
import type { Network } from '../derivatives/network.js';
import { kernels } from '../native/index.js';
import { stateCount, stateVector, type Optimizer, type OptimizerState } from './optimizer.js';
import {
  type InverseHessianModel,
  QuasiNewton,
  quasiNewtonKeys,
  QuasiNewtonOptimizer,
  type QuasiNewtonOptions,
} from './quasi-newton.js';

/** Options of {@link createLbfgs} (Liu and Nocedal 1989). */
export interface LbfgsOptions extends QuasiNewtonOptions {
  /** pairs kept, >= 1; default 10 */
  memory?: number;
}

/** The two-loop recursion over a ring of pairs. */
export class LimitedMemoryInverse implements InverseHessianModel {
  updates = 0;
  private readonly s: Float64Array; // memory x n, a pair a row
  private readonly y: Float64Array;
  private readonly rho: Float64Array; // 1 / s^T y
  private readonly alpha: Float64Array;
  private gamma = 1;

  /** @param size P, @param memory pairs kept */
  constructor(
    private readonly size: number,
    private readonly memory: number,
  ) {
    this.s = new Float64Array(size * memory);
    this.y = new Float64Array(size * memory);
    this.rho = new Float64Array(memory);
    this.alpha = new Float64Array(memory);
  }

  apply(gradient: Float64Array, out: Float64Array): void {
    const { size: n, memory, s, y, rho, alpha } = this;
    out.set(gradient);
    const kept = Math.min(this.updates, memory);
    for (let k = 1; k <= kept; k++) {
      const slot = (this.updates - k) % memory;
      alpha[slot] = rho[slot] * kernels.dot(n, s, slot * n, out, 0);
      kernels.axpy(n, -alpha[slot], y, slot * n, out, 0);
    }
    if (kept > 0) for (let i = 0; i < n; i++) out[i] *= this.gamma;
    for (let k = kept; k >= 1; k--) {
      const slot = (this.updates - k) % memory;
      const beta = rho[slot] * kernels.dot(n, y, slot * n, out, 0);
      kernels.axpy(n, alpha[slot] - beta, s, slot * n, out, 0);
    }
  }

  update(s: Float64Array, y: Float64Array, sy: number): void {
    const slot = this.updates % this.memory;
    this.s.set(s, slot * this.size);
    this.y.set(y, slot * this.size);
    this.rho[slot] = 1 / sy;
    this.gamma = sy / kernels.dot(this.size, y, 0, y, 0);
    this.updates++;
  }

  reset(): void {
    this.updates = 0;
    this.gamma = 1;
  }

  state(): OptimizerState {
    return {
      scalars: { updates: this.updates, gamma: this.gamma },
      vectors: { s: this.s.slice(), y: this.y.slice(), rho: this.rho.slice() },
    };
  }

  restore(state: OptimizerState): void {
    const operation = 'lbfgs.restore';
    const updates = stateCount(operation, state, 'updates');
    const gamma = state.scalars.gamma;
    if (typeof gamma !== 'number' || !(gamma > 0) || !Number.isFinite(gamma)) {
      failRange(operation, 'state.scalars.gamma', 'a finite number > 0', gamma);
    }
    stateVector(operation, state, 's', this.s);
    stateVector(operation, state, 'y', this.y);
    stateVector(operation, state, 'rho', this.rho);
    this.updates = updates;
    this.gamma = gamma;
  }
}

/** L-BFGS on a plain objective of `size` variables: call `step(objective, x)`. */
export function lbfgsCore(size: number, options: LbfgsOptions = {}, operation = 'lbfgsCore'): QuasiNewton {
  checkObject(operation, 'options', options);
  const given = options as LbfgsOptions;
  checkKeys(operation, 'options', given, [...quasiNewtonKeys, 'memory']);
  checkInteger(operation, 'size', size, 1);
  const { memory = 10 } = given;
  checkInteger(operation, 'options.memory', memory, 1, 10000);
  return new QuasiNewton(operation, size, new LimitedMemoryInverse(size, memory), given);
}

/**
 * L-BFGS for `network`: memory 10, strong Wolfe line search, no learning rate.
 *
 * @throws TypeError or RangeError naming the option that is wrong
 * @example
 * const optimizer = createLbfgs(network, { memory: 20 });
 * for (let k = 0; k < 100; k++) optimizer.step(params, batch);
 */
export function createLbfgs(network: Network, options: LbfgsOptions = {}): Optimizer {
  return new QuasiNewtonOptimizer('lbfgs', network, lbfgsCore(network.parameterCount, options, 'createLbfgs'));
}
