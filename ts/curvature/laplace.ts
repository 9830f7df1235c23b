/**
 * Laplace approximation: evidence, prior precisions and predictive uncertainty from the exact curvature at a trained solution.
 *
 * The training loss, times a scale s, is a negative log posterior: -log lik = s * data loss + constant, and the L2 term of layer l is
 * a Gaussian prior of precision alpha_l = s l2_l on each of its parameters, with
 *
 *     cross-entropy         s = N              binary cross-entropy   s = N K
 *     mean squared error    s = N K / (2 v)    for Gaussian noise of variance v
 *
 * With Lambda = s M, M = H or G with L2 (MacKay 1992; for networks Immer et al. 2021, Daxberger et al. 2021):
 *
 *     log Z     = log lik - sum_l alpha_l / 2 |x_l|^2 + sum_l p_l / 2 log alpha_l - 1/2 log det Lambda
 *     gamma_l   = p_l - alpha_l tr [Lambda^-1]_ll                effective parameters (selected inversion)
 *     alpha_l  := gamma_l / |x_l|^2,   v := sum of squares / (N K - sum gamma)                    (MacKay's fixed point)
 *     output    ~ N(f(x), J Lambda^-1 J^T)                       linearised prediction, + v I for a new observation
 *
 * All of it comes from one exact factor: log-determinant, blocks of the inverse, solves. Nothing is diagonal or Kronecker-factored.
 */
import { checkInteger, checkKeys, checkOneOf, checkPositive, failRange, failType } from '../checks.js';
import { Linearization, Network } from '../derivatives/index.js';
import { DeepHessianError } from '../errors.js';
import { checkLinearized } from '../inverse/factor.js';
import { factor as factorDamped, factorShifted, type Factor, type MatrixKind, type Method } from '../inverse/index.js';
import { kernels } from '../native/index.js';
import type { LayerSpec, NetworkModel } from '../network/index.js';
import { checkInputs } from '../network/batch.js';
import { sigmoid } from '../network/losses.js';
import { selectedInverse } from './selected-inversion.js';

/** Options of {@link laplace}. */
export interface LaplaceOptions {
  /** 'gauss-newton' (default): positive definite for every prior; 'hessian': exact curvature, definite at a strict minimum only */
  matrix?: MatrixKind;
  /** noise variance v of a regression; default: the mean squared residual */
  noiseVariance?: number;
  /** prior precisions alpha > 0, one or one per layer; default: what the L2 coefficients say */
  priorPrecision?: number | readonly number[] | Float64Array;
  /** Route of the factorizations, default 'auto': the cheapest that fits the memory. */
  method?: Method | 'auto';
  /** Bytes that a factor may take, default what the process has available. */
  memoryLimit?: number;
}

/**
 * Relative residual rho of the solves that is sought, and that is accepted: a prior is weak against the curvature of inputs that were
 * not standardised, and less than 1e-16 |M| |M^-1| is out of reach. Variances are b^T x + x^T (b - M x), whose error is below
 * rho^2 |b|^2 |M^-1|: of the second order.
 */
const [soughtResidual, acceptedResidual] = [1e-8, 1e-5];
/** Variances that are computed at a time. */
const blockColumns = 64;
const laplaceKeys = ['matrix', 'noiseVariance', 'priorPrecision', 'method', 'memoryLimit'];

/** A prediction with its uncertainty. */
export interface LaplacePrediction {
  /** outputs (logits, for classification) at the solution, row-major [N, K] */
  mean: Float64Array;
  /**
   * variance of each output from the parameters' uncertainty (epistemic), row-major [N, K]; for cross-entropy that of the centred
   * logits, since adding one number to all logits of a sample changes nothing and only the prior holds it
   */
  variance: Float64Array;
  /** regression: `variance` plus the noise variance; otherwise null */
  observationVariance: Float64Array | null;
  /**
   * classification: probabilities with the logits' uncertainty averaged in (MacKay 1992, equation 19: logit / sqrt(1 + pi/8
   * variance)), row-major [N, K]; otherwise null
   */
  probabilities: Float64Array | null;
}

/** A Laplace posterior at one point. Made by {@link laplace}. */
export class LaplacePosterior {
  /** The solution. */
  readonly point: Linearization;
  /** The curvature used. */
  readonly matrix: MatrixKind;
  /** s */
  readonly scale: number;
  /** v; 1 for classification, where it has no part */
  readonly noiseVariance: number;
  /** alpha of each layer */
  readonly priorPrecision: Float64Array;
  /** log lik at the solution, all constants included */
  readonly logLikelihood: number;
  /** log prior density at the solution */
  readonly logPrior: number;
  /** log det Lambda */
  readonly logDeterminant: number;
  /** log Z, natural logarithm */
  readonly logEvidence: number;
  /** |x_l|^2 */
  readonly layerNorms: Float64Array;
  private readonly factor: Factor;
  private readonly options: LaplaceOptions;
  private gammas: Float64Array | null = null;
  private outputPoint: Linearization | null = null;

  /** @internal use {@link laplace} */
  constructor(point: Linearization, options: LaplaceOptions) {
    const { matrix = 'gauss-newton' } = options;
    this.matrix = matrix;
    this.options = options;
    const { network } = point;
    const regression = network.loss === 'mse';
    const NK = point.samples * network.outputs;
    const residual = point.dataLoss;
    this.noiseVariance = regression ? (options.noiseVariance ?? residual) : 1;
    if (!(this.noiseVariance > 0))
      failRange('laplace', 'noiseVariance', 'a finite number > 0 (the fit is exact: give it)', this.noiseVariance);
    this.scale = regression ? NK / (2 * this.noiseVariance) : network.loss === 'cross-entropy' ? point.samples : NK;
    const alpha = precisions(options.priorPrecision, network, this.scale);
    this.priorPrecision = alpha;
    // The same data term under this prior: its own network, so that M carries l2 = alpha / s.
    const l2 = alpha.map((value) => value / this.scale);
    this.point = network.l2.every((value, l) => value === l2[l])
      ? point
      : new Linearization(withL2(network, l2), point.params, point.batch, null);
    this.layerNorms = Float64Array.from(network.layers, ({ parameterOffset: o, parameterCount: p }) =>
      p === 0 ? 0 : kernels.dot(p, point.params, o, point.params, o),
    );
    this.logLikelihood =
      -this.scale * residual - (regression ? 0.5 * NK * Math.log(2 * Math.PI * this.noiseVariance) : 0);
    let logPrior = 0;
    let evidencePrior = 0;
    for (const [l, { parameterCount: p }] of network.layers.entries()) {
      const part = 0.5 * (p * Math.log(alpha[l]) - alpha[l] * this.layerNorms[l]);
      evidencePrior += part;
      logPrior += part - 0.5 * p * Math.log(2 * Math.PI);
    }
    this.logPrior = logPrior;
    this.factor = posteriorFactor(this.point, matrix, options);
    let definite: boolean;
    try {
      definite = this.factor.inertia.positive === network.parameterCount;
      this.logDeterminant = this.factor.logAbsDet + network.parameterCount * Math.log(this.scale);
    } catch (error) {
      this.factor.dispose();
      throw error;
    }
    if (!definite) {
      this.factor.dispose();
      throw new DeepHessianError(
        'not-positive-definite',
        "laplace: the Hessian with its prior is not positive definite here; use matrix: 'gauss-newton', or train to a minimum",
      );
    }
    this.logEvidence = this.logLikelihood + evidencePrior - 0.5 * this.logDeterminant;
  }

  /** gamma_l = p_l - alpha_l tr [Lambda^-1]_ll of each layer, by selected inversion (computed once). */
  get effectiveParameters(): Float64Array {
    if (this.gammas !== null) return this.gammas;
    const { point, matrix, options } = this;
    const { network } = point;
    // Prior precisions need no eight digits, and weak priors leave no more: 1e-16 |M| |M^-1|.
    const { layerTraces } = selectedInverse(point, {
      damping: 0,
      matrix,
      tolerance: 1e-5,
      ...(options.memoryLimit === undefined ? {} : { memoryLimit: options.memoryLimit }),
    });
    // alpha_l tr Lambda^-1 = (alpha_l / s) tr M^-1 = l2_l tr M^-1
    return (this.gammas = layerTraces.map((trace, l) => network.layers[l].parameterCount - network.l2[l] * trace));
  }

  /** The next step of MacKay's fixed point for the prior precisions, and for the noise of a regression. */
  macKayUpdate(): { priorPrecision: Float64Array; noiseVariance: number } {
    const { point, layerNorms, noiseVariance } = this;
    const gammas = this.effectiveParameters;
    const priorPrecision = this.priorPrecision.map((alpha, l) => {
      const { parameterCount: p } = point.network.layers[l];
      // A layer that the data do not determine at all has gamma = 0: its precision grows by a bounded factor instead.
      return p === 0 || layerNorms[l] === 0
        ? alpha
        : Math.min(Math.max(gammas[l] / layerNorms[l], alpha / 100), alpha * 100);
    });
    if (point.network.loss !== 'mse') return { priorPrecision, noiseVariance };
    const NK = point.samples * point.network.outputs;
    const free = NK - gammas.reduce((sum, value) => sum + value, 0);
    return { priorPrecision, noiseVariance: (point.dataLoss * NK) / Math.max(free, 1e-3 * NK) };
  }

  /**
   * Linearised predictive distribution at new inputs. With matrix 'gauss-newton' and without custom layers a variance takes a half-solve of
   * order N K or P, whichever is less, its relative error below 1e-8; where rounding would be more, and otherwise, a refined solve.
   *
   * @param inputs row-major [samples, inputs]
   * @throws TypeError or RangeError for wrong inputs; DeepHessianError 'tolerance-missed' where the prior is so weak that solves fail
   */
  predict(inputs: Float64Array): LaplacePrediction {
    const operation = 'LaplacePosterior.predict';
    const { point, noiseVariance } = this;
    const { network, params } = point;
    const { outputs: K, inputs: F } = network;
    const N = checkInputs(operation, inputs, F);
    const mean = network.forward(params, inputs);
    const variance = new Float64Array(N * K);
    const size = Math.max(1, Math.floor(blockColumns / K));
    for (let from = 0; from < N; from += size) {
      const to = Math.min(from + size, N);
      this.variances(inputs.subarray(from * F, to * F), variance.subarray(from * K, to * K));
    }
    if (network.loss === 'mse') {
      return {
        mean,
        variance,
        observationVariance: variance.map((value) => value + noiseVariance),
        probabilities: null,
      };
    }
    return {
      mean,
      variance,
      observationVariance: null,
      probabilities: averagedProbabilities(network.loss === 'cross-entropy', mean, variance, N, K),
    };
  }

  /** Variances of the outputs at some inputs, row-major: from half-solves where the factor has them and they have the digits, else by solves. */
  private variances(inputs: Float64Array, out: Float64Array): void {
    const { point, scale, factor } = this;
    const K = point.network.outputs;
    const rows = out.length / K;
    const forms = factor.method === 'sample-space' ? factor.quadraticForms(this.at(inputs), this.directions()) : null;
    const left: number[] = [];
    for (let i = 0; i < out.length; i++) {
      out[i] = forms === null ? NaN : forms[(i % K) * rows + Math.floor(i / K)] / scale;
      if (Number.isNaN(out[i])) left.push(i);
    }
    for (let first = 0; first < left.length; first += blockColumns)
      this.solveVariances(inputs, left.slice(first, first + blockColumns), out);
  }

  /** The variances of some outputs, at these places in `out`, by refined solves. */
  private solveVariances(inputs: Float64Array, places: readonly number[], out: Float64Array): void {
    const { scale, factor } = this;
    const { inputs: F, outputs: K, parameterCount: P } = this.point.network;
    const rhs = new Float64Array(P * places.length);
    const image = new Float64Array(P);
    const directions = this.directions();
    let at: Linearization | null = null;
    let row = -1;
    for (const [c, place] of places.entries()) {
      const n = Math.floor(place / K);
      const k = place % K;
      if (at === null || n !== row) at = this.at(inputs.subarray(n * F, (n + 1) * F));
      row = n;
      at.jacobianTransposedProduct(directions.slice(k * K, (k + 1) * K), rhs.subarray(c * P, (c + 1) * P));
    }
    const { x, residual } = factor.solveMany(rhs, places.length);
    if (!(residual <= acceptedResidual)) {
      throw new DeepHessianError(
        'tolerance-missed',
        `LaplacePosterior.predict: solves leave a relative residual of ${residual.toExponential(1)}, above ${acceptedResidual}; ` +
          'a stronger prior helps, and inputs of unit size',
        { residual, tolerance: acceptedResidual },
      );
    }
    for (const [c, place] of places.entries()) {
      const column = c * P;
      factor.apply(x.subarray(column, column + P), image);
      out[place] = (2 * kernels.dot(P, x, column, rhs, column) - kernels.dot(P, x, column, image, 0)) / scale;
    }
  }

  /** What of the outputs the variances are of, K columns: the outputs themselves, or the centred logits. */
  private directions(): Float64Array {
    const { loss, outputs: K } = this.point.network;
    const directions = new Float64Array(K * K).fill(loss === 'cross-entropy' ? -1 / K : 0);
    for (let k = 0; k < K; k++) directions[k * (K + 1)] += 1;
    return directions;
  }

  /** The network linearized at other inputs; targets play no part in a Jacobian. */
  private at(inputs: Float64Array): Linearization {
    const { network, params } = this.point;
    const { inputs: F } = network;
    const samples = inputs.length / F;
    const columns = new Float64Array(inputs.length);
    kernels.transpose(F, samples, inputs, 0, F, columns, 0, samples);
    const batch = {
      samples,
      inputs: columns,
      weights: null,
      targets: network.loss === 'cross-entropy' ? new Int32Array(samples) : null,
      targetValues: network.loss === 'cross-entropy' ? null : new Float64Array(samples * network.outputs),
    };
    return (this.outputPoint = new Linearization(network, params, batch, this.outputPoint));
  }

  /** Frees the factor. */
  dispose(): void {
    this.factor.dispose();
  }
}

/**
 * The Laplace approximation of the posterior around a trained solution.
 *
 * @param point the training set at its minimum
 * @throws RangeError without any prior (L2 or `priorPrecision`); DeepHessianError 'not-positive-definite' with matrix 'hessian' away
 *   from a minimum, 'unsupported' for a batch with sample weights, which have no likelihood
 *
 * @example
 * const posterior = laplace(point);
 * posterior.logEvidence;
 * const { mean, observationVariance } = posterior.predict(inputs);
 */
export function laplace(point: Linearization, options: LaplaceOptions = {}): LaplacePosterior {
  checkLinearized('laplace', point);
  checkKeys('laplace', 'options', options, laplaceKeys);
  if (options.matrix !== undefined)
    checkOneOf('laplace', 'matrix', options.matrix, ['hessian', 'gauss-newton'] as const);
  if (options.noiseVariance !== undefined) checkPositive('laplace', 'noiseVariance', options.noiseVariance);
  if (point.batch.weights !== null) {
    throw new DeepHessianError('unsupported', 'laplace: sample weights have no likelihood; repeat samples instead');
  }
  return new LaplacePosterior(point, options);
}

/** Options of {@link tuneEvidence}. */
export interface EvidenceOptions extends LaplaceOptions {
  /** rounds of updates, default 10 */
  rounds?: number;
  /**
   * Trains `params` further under the network's new L2, in place, before the next round (the approximation supposes a minimum).
   * Default: the parameters stay where they are.
   */
  retrain?: (network: Network, params: Float64Array) => void;
  /** called after every round; returning false ends the search there */
  onRound?: (round: number, posterior: LaplacePosterior) => boolean | void;
}

/**
 * Tunes the prior precision of every layer (and the noise of a regression) by the evidence: MacKay's updates, the best round kept.
 *
 * @returns the posterior of the round with the largest log evidence, and the evidence of all
 */
export function tuneEvidence(
  point: Linearization,
  options: EvidenceOptions = {},
): { posterior: LaplacePosterior; logEvidences: Float64Array } {
  const operation = 'tuneEvidence';
  checkLinearized(operation, point);
  const { rounds = 10, retrain, onRound, ...rest } = options;
  checkInteger(operation, 'rounds', rounds, 1);
  if (retrain !== undefined && typeof retrain !== 'function') failType(operation, 'retrain', 'a function', retrain);
  let best = laplace(point, rest);
  let current = best;
  const logEvidences = [best.logEvidence];
  for (let round = 0; round < rounds; round++) {
    if (onRound?.(round, current) === false) break;
    const { priorPrecision, noiseVariance } = current.macKayUpdate();
    const regression = point.network.loss === 'mse';
    let next = current.point;
    if (retrain !== undefined) {
      const scale = regression ? (point.samples * point.network.outputs) / (2 * noiseVariance) : current.scale;
      const network = withL2(
        point.network,
        priorPrecision.map((value) => value / scale),
      );
      const params = current.point.params.slice();
      retrain(network, params);
      next = new Linearization(network, params, point.batch, null);
    }
    if (current !== best) current.dispose();
    current = laplace(next, { ...rest, priorPrecision, ...(regression ? { noiseVariance } : {}) });
    logEvidences.push(current.logEvidence);
    if (current.logEvidence > best.logEvidence) {
      best.dispose();
      best = current;
    }
  }
  if (current !== best) current.dispose();
  return { posterior: best, logEvidences: Float64Array.from(logEvidences) };
}

/** The same network with other L2 coefficients. */
export function withL2(network: NetworkModel, l2: Float64Array): Network {
  const layers: LayerSpec[] = network.layers.map((layer) =>
    layer.kind === 'custom'
      ? { type: 'custom', layer: layer.layer }
      : {
          type: layer.residual ? 'residual' : 'dense',
          units: layer.units,
          activation: layer.activation,
          bias: layer.bias,
        },
  );
  return new Network({ inputs: network.inputs, loss: network.loss, layers, l2 });
}

function precisions(given: LaplaceOptions['priorPrecision'], network: NetworkModel, scale: number): Float64Array {
  const L = network.layers.length;
  if (given === undefined) {
    for (const [l, value] of network.l2.entries()) {
      if (!(value > 0) && network.layers[l].parameterCount > 0) {
        failRange('laplace', 'priorPrecision', `numbers > 0 (the network has no L2 on layer ${l})`, given);
      }
    }
    return network.l2.map((value) => Math.max(value, Number.MIN_VALUE) * scale);
  }
  if (typeof given !== 'number' && !(given instanceof Float64Array) && !Array.isArray(given))
    failType('laplace', 'priorPrecision', `a number or ${L} numbers, one per layer`, given);
  const alpha = typeof given === 'number' ? new Float64Array(L).fill(given) : Float64Array.from(given);
  if (alpha.length !== L) failRange('laplace', 'priorPrecision', `a number or ${L} numbers, one per layer`, given);
  for (let l = 0; l < L; l++) checkPositive('laplace', `priorPrecision[${l}]`, alpha[l]);
  return alpha;
}

/**
 * The factor of M = data curvature + diag(l2). G goes by the definite routes: its smallest l2 becomes their damping, the rest
 * stays in the network.
 */
function posteriorFactor(point: Linearization, matrix: MatrixKind, options: LaplaceOptions): Factor {
  const common = {
    matrix,
    tolerance: soughtResidual,
    onFailure: 'return' as const,
    ...(options.method === undefined ? {} : { method: options.method }),
    ...(options.memoryLimit === undefined ? {} : { memoryLimit: options.memoryLimit }),
  };
  if (matrix === 'hessian') return factorShifted(point, { ...common, shift: 0 });
  const { network } = point;
  const least = network.l2.reduce((a, b) => Math.min(a, b), Infinity);
  const split = new Linearization(
    withL2(
      network,
      network.l2.map((value) => value - least),
    ),
    point.params,
    point.batch,
    null,
  );
  return factorDamped(split, { ...common, damping: least });
}

function averagedProbabilities(
  softmax: boolean,
  mean: Float64Array,
  variance: Float64Array,
  N: number,
  K: number,
): Float64Array {
  const p = new Float64Array(N * K);
  for (let n = 0; n < N; n++) {
    let centre = 0;
    if (softmax) for (let k = 0; k < K; k++) centre += mean[n * K + k] / K;
    let top = -Infinity;
    for (let k = 0; k < K; k++) {
      const i = n * K + k;
      p[i] = (mean[i] - centre) / Math.sqrt(1 + (Math.PI / 8) * variance[i]);
      top = Math.max(top, p[i]);
    }
    let total = 0;
    for (let k = 0; k < K; k++) {
      const i = n * K + k;
      p[i] = softmax ? Math.exp(p[i] - top) : sigmoid(p[i]);
      total += p[i];
    }
    if (softmax) for (let k = 0; k < K; k++) p[n * K + k] /= total;
  }
  return p;
}
