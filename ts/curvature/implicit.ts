/**
 * Implicit differentiation through a trained solution: how the validation loss depends on hyper-parameters.
 *
 *     x(h) = argmin F(x; h),    F = (1/N) sum_n w_n loss_n + sum_l h_l / 2 |x_l|^2,        V = validation loss at x(h)
 *     dV/dh = -dF'/dh^T H^-1 grad V        (implicit function theorem; Larsen et al. 1996; Bengio 2000)
 *
 * With v = (H + eps I)^-1 grad V, one solve for all hyper-parameters:
 *
 *     dV/dl2_l = -v_l . x_l                     dV/dw_n = -(1/N) v . g_n
 *
 * H contains the L2 terms; eps is an addition of the solver (0 where H is regular, as at a strict minimum) and no part of F.
 */
import { checkKeys } from '../checks.js';
import { Linearization } from '../derivatives/index.js';
import { checkLinearized } from '../inverse/factor.js';
import { kernels, No, Yes } from '../native/index.js';
import type { Batch, BatchData } from '../network/index.js';
import { batchFor, factorFor, inverseKeys, type InverseOptions } from './influence.js';
import { SampleGradients } from './sample-gradients.js';

/** Result of {@link hypergradient}. */
export interface Hypergradient {
  /** data loss on the validation set, without L2 */
  validationLoss: number;
  /** dV / d l2 of each layer, length L */
  l2: Float64Array;
  /** dV / d w_n of each training sample, length N (at the batch's weights, 1 without) */
  weights: Float64Array;
  /** |gradient of the training loss|: the formula supposes 0 */
  gradientNorm: number;
  /** relative residual of the solve */
  residual: number;
}

/**
 * Gradient of a validation loss with respect to the L2 coefficient of every layer and the weight of every training sample.
 *
 * @param point the training set at its minimum
 * @param validation validation data, raw or prepared
 * @param options `damping` 0 by default; `matrix: 'gauss-newton'` for the usual approximation
 * @throws as `factor` and its solves: with neither L2 nor damping, H of a network is singular as a rule
 *
 * @example
 * const { l2 } = hypergradient(point, validation);
 * logL2[0] -= rate * network.l2[0] * l2[0];   // a step in the logarithm keeps it positive
 */
export function hypergradient(
  point: Linearization,
  validation: Batch | BatchData,
  options: InverseOptions = {},
): Hypergradient {
  const operation = 'hypergradient';
  checkLinearized(operation, point);
  checkKeys(operation, 'options', options, inverseKeys);
  const { network, params, batch } = point;
  const P = network.parameterCount;
  const N = batch.samples;
  const tests = batchFor(operation, point, validation);
  const at = new Linearization(network, params, tests, null);
  // The gradient without the penalty's part, which is no part of V.
  const penalty = new Float64Array(P);
  network.addPenaltyProduct(params, penalty);
  const gradient = at.gradient.slice();
  kernels.axpy(P, -1, penalty, 0, gradient, 0);
  const factor = factorFor(point, options);
  try {
    const { x: v, residual } = factor.solve(gradient);
    const l2 = Float64Array.from(network.layers, ({ parameterOffset: o, parameterCount: p }) =>
      p === 0 ? 0 : -kernels.dot(p, v, o, params, o),
    );
    const weights = new Float64Array(N);
    const gradients = new SampleGradients(network, params, batch);
    const block = Math.min(64, N);
    const g = new Float64Array(P * block);
    for (let first = 0; first < N; first += block) {
      const count = Math.min(block, N - first);
      gradients.fill(first, count, g);
      kernels.gemm(Yes, No, count, 1, P, -1 / N, g, 0, P, v, 0, P, 0, weights, first, N);
    }
    return { validationLoss: at.dataLoss, l2, weights, gradientNorm: kernels.nrm2(P, point.gradient, 0), residual };
  } finally {
    factor.dispose();
  }
}
