/**
 * Stochastic gradient descent with heavy-ball or Nesterov momentum.
 *
 *     v := momentum v + g + weightDecay p
 *     p := p - rate v                              (Polyak 1964)
 *     p := p - rate (g + momentum v)               (Nesterov, in the form of Sutskever et al. 2013, section 2)
 *
 * The default when a step is cheap, data stream, and the network is shallow. Not for ill-conditioned
 * problems to high precision: the error shrinks like (1 - 1/sqrt(condition number)) a step at best.
 */
import { checkBoolean, checkKeys, checkNonNegative, checkObject, checkPositive, failRange } from '../checks.js';
import { kernels, No, Yes } from '../native/index.js';
import type { Network } from '../derivatives/network.js';
import type { Batch } from '../network/batch.js';
import { clipByNorm } from './clipping.js';
import { failOption } from './option-checks.js';
import { stateCount, stateVector, type Optimizer, type OptimizerState, type StepReport } from './optimizer.js';
import { createSchedule, type Schedule, type ScheduleSpec } from './schedules.js';

/** Options of {@link createSgd} (Polyak 1964; Sutskever et al. 2013). */
export interface SgdOptions {
  /** base learning rate > 0, default 0.01 */
  rate?: number;
  /** momentum in [0, 1), default 0.9 */
  momentum?: number;
  /** Nesterov's form, default false */
  nesterov?: boolean;
  /** weight decay >= 0 added to the gradient as weightDecay * p, default 0 */
  weightDecay?: number;
  /** clip the gradient to this Euclidean norm; default: no clipping */
  clipNorm?: number;
  /** learning-rate schedule, default constant */
  schedule?: ScheduleSpec;
}

class Sgd implements Optimizer {
  readonly name = 'sgd';
  readonly releasesBatches = true;
  private readonly gradient: Float64Array;
  private readonly velocity: Float64Array;
  private readonly before: Float64Array;
  private readonly schedule: Schedule;
  private steps = 0;

  constructor(
    private readonly network: Network,
    private readonly options: Required<Omit<SgdOptions, 'clipNorm' | 'schedule'>> & SgdOptions,
  ) {
    const n = network.parameterCount;
    this.gradient = new Float64Array(n);
    this.velocity = new Float64Array(n);
    this.before = new Float64Array(n);
    this.schedule = createSchedule(options.schedule);
  }

  step(params: Float64Array, batch: Batch): StepReport {
    const { rate: base, momentum, nesterov, weightDecay, clipNorm } = this.options;
    const n = params.length;
    const loss = this.network.lossAndGradient(params, batch, this.gradient);
    const rate = base * this.schedule(this.steps);
    if (!Number.isFinite(loss)) return { loss, accepted: false, stepNorm: 0, rate };
    if (clipNorm !== undefined) clipByNorm(this.gradient, clipNorm);
    this.before.set(params);
    kernels.sgdStep(n, params, this.gradient, this.velocity, rate, momentum, nesterov ? Yes : No, weightDecay);
    this.steps++;
    kernels.axpy(n, -1, params, 0, this.before, 0);
    return { loss, accepted: true, stepNorm: Math.sqrt(kernels.dot(n, this.before, 0, this.before, 0)), rate };
  }

  state(): OptimizerState {
    return { scalars: { steps: this.steps }, vectors: { velocity: this.velocity.slice() } };
  }

  restore(state: OptimizerState): void {
    const steps = stateCount('sgd.restore', state, 'steps');
    stateVector('sgd.restore', state, 'velocity', this.velocity);
    this.steps = steps;
  }
}

/**
 * SGD with momentum for `network`.
 *
 * @throws TypeError or RangeError naming the option that is wrong
 * @example
 * const optimizer = createSgd(network, { rate: 0.1, momentum: 0.9 });
 * const { loss } = optimizer.step(params, batch);
 */
export function createSgd(network: Network, options: SgdOptions = {}): Optimizer {
  const operation = 'createSgd';
  checkObject(operation, 'options', options);
  const given = options as SgdOptions;
  checkKeys(operation, 'options', given, ['rate', 'momentum', 'nesterov', 'weightDecay', 'clipNorm', 'schedule']);
  const { rate = 0.01, momentum = 0.9, nesterov = false, weightDecay = 0, clipNorm, schedule } = given;
  checkPositive(operation, 'options.rate', rate);
  checkNonNegative(operation, 'options.momentum', momentum);
  if (momentum >= 1) failRange(operation, 'options.momentum', 'a number in [0, 1)', momentum);
  checkBoolean(operation, 'options.nesterov', nesterov);
  if (nesterov && momentum === 0)
    failOption(operation, 'momentum', (nameOf) => `a momentum > 0 (${nameOf('nesterov')} needs one)`, momentum);
  checkNonNegative(operation, 'options.weightDecay', weightDecay);
  if (clipNorm !== undefined) checkPositive(operation, 'options.clipNorm', clipNorm);
  return new Sgd(network, { rate, momentum, nesterov, weightDecay, clipNorm, schedule });
}
