/**
 * The Mackey-Glass series (Mackey & Glass 1977, Science 197, eq. 4b) as a prediction task.
 *
 *     dx/dt = beta x(t - tau) / (1 + x(t - tau)^n) - gamma x(t)
 *
 * integrated by the classical Runge-Kutta method with a fixed step that divides tau. The delayed value at a step's
 * middle comes from cubic Hermite interpolation of the stored values and slopes (error of fourth order as well), so the
 * whole scheme is of order 4.
 */
import { checkInteger, checkNonNegative, checkPositive, failRange } from '../checks.js';
import { Random } from '../random.js';
import { makeDataset, type Dataset } from './dataset.js';
import { checkOptions } from './options.js';

export interface MackeyGlassSeriesOptions {
  /** Values to give, at t = 0, 1, 2, .. after the transient. */
  count: number;
  /** Default 17 (chaotic above about 16.8). */
  tau?: number;
  /** Default 0.2. */
  beta?: number;
  /** Default 0.1. */
  gamma?: number;
  /** Default 10. */
  exponent?: number;
  /** x(t) for t <= 0. Default 1.2. */
  history?: number;
  /** Time left out at the beginning. Default 0. */
  transient?: number;
  /** Steps a unit of time; tau times this must be an integer. Default 10. */
  stepsPerUnit?: number;
}

/** x at t = transient, transient + 1, .. */
export function mackeyGlassSeries(options: MackeyGlassSeriesOptions): Float64Array {
  const operation = 'mackeyGlassSeries';
  const names = ['count', 'tau', 'beta', 'gamma', 'exponent', 'history', 'transient', 'stepsPerUnit'];
  checkOptions(operation, options, names);
  const { count, tau = 17, beta = 0.2, gamma = 0.1, exponent = 10, history = 1.2 } = options;
  const { transient = 0, stepsPerUnit = 10 } = options;
  checkInteger(operation, 'count', count, 1, 1e7);
  for (const [name, value] of Object.entries({ tau, beta, gamma, exponent, history })) {
    checkPositive(operation, name, value);
  }
  checkInteger(operation, 'transient', transient, 0, 1e6);
  checkInteger(operation, 'stepsPerUnit', stepsPerUnit, 1, 1000);
  const lag = tau * stepsPerUnit;
  if (Math.abs(lag - Math.round(lag)) > 1e-9) failRange(operation, 'tau * stepsPerUnit', 'an integer', lag);
  const delay = Math.round(lag);
  const h = 1 / stepsPerUnit;
  const steps = (transient + count - 1) * stepsPerUnit;
  // x[i] and slope[i] at t = i h. The slope jumps at t = 0, from that of the constant history (0).
  const x = new Float64Array(steps + 1);
  const slope = new Float64Array(steps + 1);
  const rate = (now: number, delayed: number): number => (beta * delayed) / (1 + delayed ** exponent) - gamma * now;
  const at = (i: number): number => (i <= 0 ? history : x[i]);
  x[0] = history;
  for (let i = 0; i < steps; i++) {
    const j = i - delay;
    const before = at(j);
    const after = at(j + 1);
    // Hermite at the middle: (a + b) / 2 + h (a' - b') / 8.
    const middle = j < 0 ? history : (before + after) / 2 + (h * (slope[j] - slope[j + 1])) / 8;
    const k1 = rate(x[i], before);
    const k2 = rate(x[i] + (h / 2) * k1, middle);
    const k3 = rate(x[i] + (h / 2) * k2, middle);
    const k4 = rate(x[i] + h * k3, after);
    slope[i] = k1;
    x[i + 1] = x[i] + (h / 6) * (k1 + 2 * k2 + 2 * k3 + k4);
    // The slope at the new point is needed before its own step when the delay is one step.
    slope[i + 1] = rate(x[i + 1], at(i + 1 - delay));
  }
  const series = new Float64Array(count);
  for (let n = 0; n < count; n++) series[n] = x[(transient + n) * stepsPerUnit];
  return series;
}

export interface MackeyGlassOptions {
  /** Samples. Default 1000. */
  points?: number;
  /** Inputs x(t), x(t - spacing), .., this many. Default 4. */
  embedding?: number;
  /** Default 6. */
  spacing?: number;
  /** The value is x(t + horizon). Default 6. */
  horizon?: number;
  /** Default 17. */
  tau?: number;
  /** Standard deviation of the noise on the series. Default 0. */
  noise?: number;
  /** Draws the constant history from [0.9, 1.5] and the noise. Default 0. */
  seed?: number;
}

/** Predict x(t + horizon) from `embedding` earlier values; consecutive t, after a transient of 500. */
export function mackeyGlass(options: MackeyGlassOptions = {}): Dataset {
  const operation = 'mackeyGlass';
  checkOptions(operation, options, ['points', 'embedding', 'spacing', 'horizon', 'tau', 'noise', 'seed']);
  const { points = 1000, embedding = 4, spacing = 6, horizon = 6, tau = 17, noise = 0, seed = 0 } = options;
  checkInteger(operation, 'points', points, 1, 1e6);
  checkInteger(operation, 'embedding', embedding, 1, 1000);
  checkInteger(operation, 'spacing', spacing, 1, 1000);
  checkInteger(operation, 'horizon', horizon, 1, 10000);
  checkNonNegative(operation, 'noise', noise);
  const random = new Random(seed);
  const history = 0.9 + 0.6 * random.uniform();
  const reach = (embedding - 1) * spacing;
  const series = mackeyGlassSeries({ count: points + reach + horizon, tau, history, transient: 500 });
  if (noise > 0) for (let i = 0; i < series.length; i++) series[i] += noise * random.normal();
  const inputs = new Float64Array(points * embedding);
  const values = new Float64Array(points);
  for (let n = 0; n < points; n++) {
    const t = n + reach;
    for (let k = 0; k < embedding; k++) inputs[n * embedding + k] = series[t - k * spacing];
    values[n] = series[t + horizon];
  }
  const featureNames = Array.from({ length: embedding }, (_, k) => (k === 0 ? 'x(t)' : `x(t-${k * spacing})`));
  return makeDataset({
    name: 'Mackey-Glass',
    features: embedding,
    inputs,
    values,
    outputs: 1,
    featureNames,
    valueNames: [`x(t+${horizon})`],
  });
}
