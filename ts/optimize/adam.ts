/**
 * Adam (Kingma & Ba 2015, algorithm 1) and AdamW (Loshchilov & Hutter 2019, algorithm 2).
 *
 *     m := beta1 m + (1 - beta1) g          v := beta2 v + (1 - beta2) g^2
 *     p := p - rate ( (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon)  [+ weightDecay p] )
 *
 * Adam adds weightDecay p to the gradient (an L2 term), AdamW decays the parameters beside the
 * adaptive step (the bracket). The first thing to try on streaming data. Not for high precision:
 * with a constant rate it settles in a cloud around the minimum whose size is set by the rate.
 */
import { checkKeys, checkNonNegative, checkObject, checkPositive, failRange } from '../checks.js';
import { kernels } from '../native/index.js';
import type { Network } from '../derivatives/network.js';
import type { Batch } from '../network/batch.js';
import { clipByNorm } from './clipping.js';
import { stateCount, stateVector, type Optimizer, type OptimizerState, type StepReport } from './optimizer.js';
import { createSchedule, type Schedule, type ScheduleSpec } from './schedules.js';

/** Options of {@link createAdam} and {@link createAdamW} (Kingma and Ba 2015; Loshchilov and Hutter 2019). */
export interface AdamOptions {
  /** base learning rate > 0, default 1e-3 */
  rate?: number;
  /** decay of the mean of the gradient, in [0, 1), default 0.9 */
  beta1?: number;
  /** decay of the mean of its square, in [0, 1), default 0.999 */
  beta2?: number;
  /** term that keeps the denominator from zero, > 0, default 1e-8 */
  epsilon?: number;
  /** weight decay >= 0; default 0 for Adam (added to the gradient), 0.01 for AdamW (decoupled) */
  weightDecay?: number;
  /** clip the gradient to this Euclidean norm; default: no clipping */
  clipNorm?: number;
  /** learning-rate schedule, default constant */
  schedule?: ScheduleSpec;
}

type Settings = Required<Omit<AdamOptions, 'clipNorm' | 'schedule'>> & AdamOptions;

class Adam implements Optimizer {
  readonly releasesBatches = true;
  private readonly gradient: Float64Array;
  private readonly m: Float64Array;
  private readonly v: Float64Array;
  private readonly before: Float64Array;
  private readonly schedule: Schedule;
  private steps = 0;

  constructor(
    readonly name: 'adam' | 'adamw',
    private readonly network: Network,
    private readonly options: Settings,
  ) {
    const n = network.parameterCount;
    this.gradient = new Float64Array(n);
    this.m = new Float64Array(n);
    this.v = new Float64Array(n);
    this.before = new Float64Array(n);
    this.schedule = createSchedule(options.schedule);
  }

  step(params: Float64Array, batch: Batch): StepReport {
    const { rate: base, beta1, beta2, epsilon, weightDecay, clipNorm } = this.options;
    const n = params.length;
    const loss = this.network.lossAndGradient(params, batch, this.gradient);
    const rate = base * this.schedule(this.steps);
    if (!Number.isFinite(loss)) return { loss, accepted: false, stepNorm: 0, rate };
    const decoupled = this.name === 'adamw';
    if (!decoupled && weightDecay > 0) kernels.axpy(n, weightDecay, params, 0, this.gradient, 0);
    if (clipNorm !== undefined) clipByNorm(this.gradient, clipNorm);
    this.before.set(params);
    const t = ++this.steps;
    kernels.adamStep(
      n,
      params,
      this.gradient,
      this.m,
      this.v,
      rate,
      beta1,
      beta2,
      1 - Math.pow(beta1, t),
      1 - Math.pow(beta2, t),
      epsilon,
      decoupled ? weightDecay : 0,
    );
    kernels.axpy(n, -1, params, 0, this.before, 0);
    return { loss, accepted: true, stepNorm: Math.sqrt(kernels.dot(n, this.before, 0, this.before, 0)), rate };
  }

  state(): OptimizerState {
    return { scalars: { steps: this.steps }, vectors: { m: this.m.slice(), v: this.v.slice() } };
  }

  restore(state: OptimizerState): void {
    const operation = `${this.name}.restore`;
    const steps = stateCount(operation, state, 'steps');
    stateVector(operation, state, 'm', this.m);
    stateVector(operation, state, 'v', this.v);
    this.steps = steps;
  }
}

function create(operation: string, name: 'adam' | 'adamw', network: Network, options: AdamOptions): Optimizer {
  checkObject(operation, 'options', options);
  const given = options as AdamOptions;
  checkKeys(operation, 'options', given, ['rate', 'beta1', 'beta2', 'epsilon', 'weightDecay', 'clipNorm', 'schedule']);
  const { rate = 1e-3, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, clipNorm, schedule } = given;
  const { weightDecay = name === 'adamw' ? 0.01 : 0 } = given;
  checkPositive(operation, 'options.rate', rate);
  for (const [key, beta] of [
    ['beta1', beta1],
    ['beta2', beta2],
  ] as const) {
    checkNonNegative(operation, `options.${key}`, beta);
    if (beta >= 1) failRange(operation, `options.${key}`, 'a number in [0, 1)', beta);
  }
  checkPositive(operation, 'options.epsilon', epsilon);
  checkNonNegative(operation, 'options.weightDecay', weightDecay);
  if (clipNorm !== undefined) checkPositive(operation, 'options.clipNorm', clipNorm);
  return new Adam(name, network, { rate, beta1, beta2, epsilon, weightDecay, clipNorm, schedule });
}

/**
 * Adam for `network`; weight decay acts through the gradient.
 *
 * @throws TypeError or RangeError naming the option that is wrong
 * @example
 * const optimizer = createAdam(network, { rate: 1e-3 });
 * const { loss } = optimizer.step(params, batch);
 */
export function createAdam(network: Network, options: AdamOptions = {}): Optimizer {
  return create('createAdam', 'adam', network, options);
}

/**
 * AdamW for `network`; weight decay is decoupled from the adaptive step.
 *
 * @throws TypeError or RangeError naming the option that is wrong
 */
export function createAdamW(network: Network, options: AdamOptions = {}): Optimizer {
  return create('createAdamW', 'adamw', network, options);
}
