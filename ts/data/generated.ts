/**
 * Data sets made from a seed: the same options give the same bits.
 *
 * Two interleaved spirals (after Lang & Witbrock 1988), sinc, Friedman's three functions (Friedman 1991), a random
 * teacher network. The Mackey-Glass series has its own file.
 */
import { checkFinite, checkInteger, checkNonNegative, checkPositive, failRange } from '../checks.js';
import { Random } from '../random.js';
import { makeDataset, type Dataset } from './dataset.js';
import { checkOptions } from './options.js';

export interface SpiralsOptions {
  /** Points of both spirals together. Default 200. */
  points?: number;
  /** Turns of each spiral. Default 1.5. */
  turns?: number;
  /** Standard deviation of the normal noise on both coordinates; the outer radius is 1. Default 0.02. */
  noise?: number;
  /** Default 0. */
  seed?: number;
}

/**
 * Two interleaved spirals: 2 inputs, 2 classes, points n = 0, 1, .. alternating between them.
 *
 *     r = 0.1 + 0.9 t,   phi = 2 pi turns t + pi class,   x = (r cos phi, r sin phi) + noise * normal
 *
 * with t spread evenly over [0, 1] (both ends included).
 */
export function spirals(options: SpiralsOptions = {}): Dataset {
  const operation = 'spirals';
  checkOptions(operation, options, ['points', 'turns', 'noise', 'seed']);
  const { points = 200, turns = 1.5, noise = 0.02, seed = 0 } = options;
  checkInteger(operation, 'points', points, 2, 1e8);
  checkPositive(operation, 'turns', turns);
  checkNonNegative(operation, 'noise', noise);
  const random = new Random(seed);
  const inputs = new Float64Array(2 * points);
  const labels = new Int32Array(points);
  for (let n = 0; n < points; n++) {
    const label = n % 2;
    const onThisArm = Math.ceil((points - label) / 2);
    const t = onThisArm > 1 ? (n >> 1) / (onThisArm - 1) : 0;
    const r = 0.1 + 0.9 * t;
    const phi = 2 * Math.PI * turns * t + Math.PI * label;
    inputs[2 * n] = r * Math.cos(phi) + noise * random.normal();
    inputs[2 * n + 1] = r * Math.sin(phi) + noise * random.normal();
    labels[n] = label;
  }
  return makeDataset({
    name: 'spirals',
    features: 2,
    inputs,
    labels,
    classes: ['first spiral', 'second spiral'],
    featureNames: ['x', 'y'],
  });
}

export interface SincOptions {
  /** Default 200. */
  points?: number;
  /** Inputs lie in [-range, range]. Default 10. */
  range?: number;
  /** Standard deviation of the noise on the value. Default 0. */
  noise?: number;
  /** 'even': both ends included; 'random': uniform. Default 'even'. */
  spacing?: 'even' | 'random';
  seed?: number;
}

/** One input x, one value sin(x) / x (1 at x = 0). */
export function sinc(options: SincOptions = {}): Dataset {
  const operation = 'sinc';
  checkOptions(operation, options, ['points', 'range', 'noise', 'spacing', 'seed']);
  const { points = 200, range = 10, noise = 0, spacing = 'even', seed = 0 } = options;
  checkInteger(operation, 'points', points, 2, 1e8);
  checkPositive(operation, 'range', range);
  checkNonNegative(operation, 'noise', noise);
  if (spacing !== 'even' && spacing !== 'random') failRange(operation, 'spacing', `'even' or 'random'`, spacing);
  const random = new Random(seed);
  const inputs = new Float64Array(points);
  const values = new Float64Array(points);
  for (let n = 0; n < points; n++) {
    const u = spacing === 'even' ? n / (points - 1) : random.uniform();
    const x = range * (2 * u - 1);
    inputs[n] = x;
    values[n] = (x === 0 ? 1 : Math.sin(x) / x) + (noise > 0 ? noise * random.normal() : 0);
  }
  return makeDataset({
    name: 'sinc',
    features: 1,
    inputs,
    values,
    outputs: 1,
    featureNames: ['x'],
    valueNames: ['sin(x)/x'],
  });
}

export interface FriedmanOptions {
  /** Default 500. */
  points?: number;
  /** Standard deviation of the noise on the value. Default: 1 for Friedman 1, 0 for 2 and 3. */
  noise?: number;
  /** Inputs of Friedman 1, of which the first five matter. Default 10, at least 5. */
  features?: number;
  seed?: number;
}

/**
 * Friedman 1, 2 or 3 (Friedman 1991, Multivariate adaptive regression splines, sections 4.3 and 4.4).
 *
 *     1:  10 sin(pi x1 x2) + 20 (x3 - 1/2)^2 + 10 x4 + 5 x5,             x in [0, 1]^features
 *     2:  sqrt(x1^2 + (x2 x3 - 1/(x2 x4))^2),      x1 in [0, 100], x2 in [40 pi, 560 pi], x3 in [0, 1], x4 in [1, 11]
 *     3:  atan((x2 x3 - 1/(x2 x4)) / x1),          the same ranges
 */
export function friedman(which: 1 | 2 | 3, options: FriedmanOptions = {}): Dataset {
  const operation = `friedman${which}`;
  checkInteger('friedman', 'which', which, 1, 3);
  checkOptions(operation, options, ['points', 'noise', 'seed', ...(which === 1 ? ['features'] : [])]);
  const { points = 500, noise = which === 1 ? 1 : 0, seed = 0 } = options;
  const features = which === 1 ? (options.features ?? 10) : 4;
  checkInteger(operation, 'points', points, 1, 1e8);
  checkNonNegative(operation, 'noise', noise);
  if (which === 1) checkInteger(operation, 'features', features, 5, 1e5);
  const random = new Random(seed);
  const inputs = new Float64Array(points * features);
  const values = new Float64Array(points);
  for (let n = 0; n < points; n++) {
    const x = inputs.subarray(n * features, (n + 1) * features);
    for (let i = 0; i < features; i++) x[i] = random.uniform();
    let y: number;
    if (which === 1) {
      y = 10 * Math.sin(Math.PI * x[0] * x[1]) + 20 * (x[2] - 0.5) ** 2 + 10 * x[3] + 5 * x[4];
    } else {
      x[0] *= 100;
      x[1] = 40 * Math.PI + 520 * Math.PI * x[1];
      x[3] = 1 + 10 * x[3];
      const reactance = x[1] * x[2] - 1 / (x[1] * x[3]);
      y = which === 2 ? Math.sqrt(x[0] * x[0] + reactance * reactance) : Math.atan2(reactance, x[0]);
    }
    values[n] = y + (noise > 0 ? noise * random.normal() : 0);
  }
  return makeDataset({ name: operation, features, inputs, values, outputs: 1, valueNames: ['y'] });
}

export interface TeacherOptions {
  /** Default 200. */
  points?: number;
  /** Inputs, hidden widths and outputs of the teacher. Default [4, 8, 1]. */
  widths?: readonly number[];
  /** Weights and biases are normal with standard deviation gain / sqrt(inputs of the layer). Default 1.5. */
  gain?: number;
  /** Standard deviation of the noise on the values. Default 0: a student of these widths can reach loss 0. */
  noise?: number;
  seed?: number;
}

/** A data set with the network that made it. */
export interface TeacherDataset extends Dataset {
  teacher: {
    widths: number[];
    /** Flat: layer by layer, weight row-major [out, in], then bias [out]. */
    parameters: Float64Array;
  };
}

/** Standard normal inputs, values from a random network: tanh hidden layers with bias, linear output layer. */
export function teacher(options: TeacherOptions = {}): TeacherDataset {
  const operation = 'teacher';
  checkOptions(operation, options, ['points', 'widths', 'gain', 'noise', 'seed']);
  const { points = 200, gain = 1.5, noise = 0, seed = 0 } = options;
  const widths = [...(options.widths ?? [4, 8, 1])];
  checkInteger(operation, 'points', points, 1, 1e8);
  checkFinite(operation, 'gain', gain);
  checkNonNegative(operation, 'noise', noise);
  if (widths.length < 2) failRange(operation, 'widths', 'at least inputs and outputs', widths);
  widths.forEach((width, i) => checkInteger(operation, `widths[${i}]`, width, 1, 1e5));
  const random = new Random(seed);
  const features = widths[0];
  const outputs = widths[widths.length - 1];
  let count = 0;
  for (let l = 1; l < widths.length; l++) count += widths[l] * (widths[l - 1] + 1);
  const parameters = new Float64Array(count);
  for (let l = 1, at = 0; l < widths.length; l++) {
    const size = widths[l] * (widths[l - 1] + 1);
    for (let i = 0; i < size; i++) parameters[at + i] = (gain / Math.sqrt(widths[l - 1])) * random.normal();
    at += size;
  }
  const inputs = random.normals(new Float64Array(points * features));
  const values = new Float64Array(points * outputs);
  let now = new Float64Array(Math.max(...widths));
  let next = new Float64Array(now.length);
  for (let n = 0; n < points; n++) {
    for (let i = 0; i < features; i++) now[i] = inputs[n * features + i];
    for (let l = 1, at = 0; l < widths.length; l++) {
      const fanIn = widths[l - 1];
      const units = widths[l];
      for (let o = 0; o < units; o++) {
        let s = parameters[at + units * fanIn + o];
        for (let i = 0; i < fanIn; i++) s += parameters[at + o * fanIn + i] * now[i];
        next[o] = l < widths.length - 1 ? Math.tanh(s) : s;
      }
      at += units * (fanIn + 1);
      [now, next] = [next, now];
    }
    for (let k = 0; k < outputs; k++) values[n * outputs + k] = now[k];
  }
  if (noise > 0) for (let i = 0; i < values.length; i++) values[i] += noise * random.normal();
  return {
    ...makeDataset({ name: 'teacher', features, inputs, values, outputs }),
    teacher: { widths, parameters },
  };
}
