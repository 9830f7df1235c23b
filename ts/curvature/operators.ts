/**
 * The curvature matrices of a network as linear operators, P x P, at one point.
 *
 *     Hessian         H                        exact second derivative of the loss
 *     Gauss-Newton    G = J^T Q J              Q = d2 loss / d outputs2
 *     Fisher          F = 1/N sum_n w_n E_y[ J_n^T u u^T J_n ],  y from the model's own predictive distribution
 *     empirical       the same with the observed targets instead of the expectation
 *
 * Likelihoods behind the losses: softmax for cross-entropy; a Gaussian of variance K/2 per output for the mean squared error,
 * Bernoulli for binary cross-entropy, both averaged over the K outputs as the losses are. They are canonical, so F = G exactly
 * (Martens 2020, section 9); u is scaled so that this holds, with w_n the sample weights. Every operator includes the L2 term.
 * The empirical Fisher matrix is no approximation of F away from a perfect fit (Kunstner, Balles & Hennig 2019).
 */
import { checkInteger, checkKeys, checkOneOf, failType } from '../checks.js';
import type { Linearization } from '../derivatives/index.js';
import { checkLinearized } from '../inverse/factor.js';
import { Factor } from '../inverse/index.js';
import { LinearOperator } from '../linalg/linear-operator.js';
import { sigmoid } from '../network/losses.js';
import { Random } from '../random.js';

/**
 * H as an operator; every product is exact (Pearlmutter 1994) and costs about two gradients.
 *
 * @example
 * const { values } = lanczos(hessianOperator(point), { smallest: 1 });
 */
export function hessianOperator(point: Linearization): LinearOperator {
  checkLinearized('hessianOperator', point);
  return new LinearOperator({
    rows: point.network.parameterCount,
    symmetric: true,
    name: 'Hessian',
    apply: (x, out) => {
      point.hessianProduct(x, out);
    },
    applyMany: (x, m, out) => {
      if (m > 0) point.hessianProducts(x, m, out);
    },
    toDense: (out) => out.set(point.denseHessian()),
  });
}

/** G as an operator (Schraudolph 2002): positive semidefinite. */
export function gaussNewtonOperator(point: Linearization): LinearOperator {
  checkLinearized('gaussNewtonOperator', point);
  return new LinearOperator({
    rows: point.network.parameterCount,
    symmetric: true,
    definiteness: 'positive-semidefinite',
    name: 'Gauss-Newton',
    apply: (x, out) => {
      point.gaussNewtonProduct(x, out);
    },
    applyMany: (x, m, out) => {
      if (m > 0) point.gaussNewtonProducts(x, m, out);
    },
    toDense: (out) => out.set(point.denseGaussNewton()),
  });
}

/** H or G by name. */
export function curvatureOperator(point: Linearization, matrix: 'hessian' | 'gauss-newton'): LinearOperator {
  return matrix === 'hessian' ? hessianOperator(point) : gaussNewtonOperator(point);
}

/** All Fisher matrices, by name. */
export const fisherKinds = ['exact', 'monte-carlo', 'empirical'] as const;
/** Which Fisher matrix: see {@link FisherOptions}. */
export type FisherKind = (typeof fisherKinds)[number];

/** Options of {@link fisherOperator}. */
export interface FisherOptions {
  /** 'exact' (default): the expectation in closed form, which is G. 'monte-carlo': sampled labels. 'empirical': observed ones. */
  kind?: FisherKind;
  /** label draws per sample for 'monte-carlo', default 1 */
  draws?: number;
  /** seed of the labels, default 0: the operator is one fixed matrix */
  seed?: number;
}

/**
 * The Fisher information matrix as an operator, positive semidefinite.
 *
 * 'monte-carlo' draws labels from the model once, when the operator is made; its expectation over seeds is F.
 */
export function fisherOperator(point: Linearization, options: FisherOptions = {}): LinearOperator {
  const operation = 'fisherOperator';
  checkLinearized(operation, point);
  checkKeys(operation, 'options', options, ['kind', 'draws', 'seed']);
  const { kind = 'exact', draws = 1, seed = 0 } = options;
  checkOneOf(operation, 'kind', kind, fisherKinds);
  checkInteger(operation, 'draws', draws, 1);
  if (kind === 'exact') return gaussNewtonOperator(point);
  const scores = kind === 'empirical' ? [observedScores(point)] : sampledScores(point, draws, new Random(seed));
  const { samples: N, network } = point;
  const K = network.outputs;
  const tangent = new Float64Array(N * K);
  const weighted = new Float64Array(N * K);
  return new LinearOperator({
    rows: network.parameterCount,
    symmetric: true,
    definiteness: 'positive-semidefinite',
    name: kind === 'empirical' ? 'empirical Fisher' : 'Monte-Carlo Fisher',
    apply: (x, out) => {
      point.jacobianProduct(x, tangent);
      weighted.fill(0);
      for (const u of scores) {
        for (let n = 0; n < N; n++) {
          let along = 0;
          for (let k = 0; k < K; k++) along += u[k * N + n] * tangent[k * N + n];
          for (let k = 0; k < K; k++) weighted[k * N + n] += along * u[k * N + n];
        }
      }
      point.jacobianTransposedProduct(weighted, out);
      network.addPenaltyProduct(x, out);
    },
  });
}

/** (M + eps I)^-1 of a factor as an operator: products are refined solves. It serves as a preconditioner too. */
export function inverseOperator(factor: Factor): LinearOperator {
  if (!(factor instanceof Factor)) failType('inverseOperator', 'factor', 'a Factor (from factor(point, ...))', factor);
  return new LinearOperator({
    rows: factor.point.network.parameterCount,
    symmetric: true,
    definiteness: factor.matrix === 'gauss-newton' && factor.damping > 0 ? 'positive-definite' : 'unknown',
    name: `(${factor.matrix === 'hessian' ? 'Hessian' : 'Gauss-Newton'} + ${factor.damping} I)^-1`,
    apply: (x, out) => out.set(factor.solve(x).x),
    applyMany: (x, m, out) => {
      if (m > 0) out.set(factor.solveMany(x, m).x);
    },
  });
}

/** Scale of sample n's score: with it sum_n E[u_n u_n^T] is the whole output Hessian Q. */
function scoreScale(point: Linearization, n: number): number {
  const { network, samples, batch } = point;
  const weight = batch.weights === null ? 1 : batch.weights[n];
  return Math.sqrt(weight / (network.loss === 'cross-entropy' ? samples : samples * network.outputs));
}

/** Scores of the targets given with the batch, unit-major N x K. */
function observedScores(point: Linearization): Float64Array {
  const { samples: N, network, batch } = point;
  const K = network.outputs;
  const { output } = point.layers[point.layers.length - 1];
  const u = new Float64Array(N * K);
  const q = point.outputHessian;
  for (let n = 0; n < N; n++) {
    const scale = scoreScale(point, n);
    for (let k = 0; k < K; k++) {
      const i = k * N + n;
      if (q.kind === 'softmax') {
        const target = batch.targets === null ? batch.targetValues![i] : Number(batch.targets[n] === k);
        u[i] = scale * (q.p[i] - target);
      } else if (network.loss === 'mse') u[i] = (2 / Math.sqrt(K)) * scale * (output[i] - batch.targetValues![i]);
      else u[i] = scale * (sigmoid(output[i]) - batch.targetValues![i]);
    }
  }
  return u;
}

/** Scores of labels drawn from the model; divided so that the draws' products add up to their mean. */
function sampledScores(point: Linearization, draws: number, random: Random): Float64Array[] {
  const { samples: N, network } = point;
  const K = network.outputs;
  const { output } = point.layers[point.layers.length - 1];
  const q = point.outputHessian;
  const all: Float64Array[] = [];
  for (let d = 0; d < draws; d++) {
    const u = new Float64Array(N * K);
    for (let n = 0; n < N; n++) {
      const scale = scoreScale(point, n) / Math.sqrt(draws);
      if (q.kind === 'softmax') {
        let rest = random.uniform();
        let label = 0;
        while (label < K - 1 && rest >= q.p[label * N + n]) rest -= q.p[label++ * N + n];
        for (let k = 0; k < K; k++) u[k * N + n] = scale * (q.p[k * N + n] - Number(k === label));
        continue;
      }
      for (let k = 0; k < K; k++) {
        const i = k * N + n;
        if (network.loss === 'mse') u[i] = -scale * Math.SQRT2 * random.normal();
        else {
          const p = sigmoid(output[i]);
          u[i] = scale * (p - Number(random.uniform() < p));
        }
      }
    }
    all.push(u);
  }
  return all;
}
