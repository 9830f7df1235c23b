import { expect } from 'chai';
import { Network } from '../../ts/derivatives/network.js';
import { bfgsCore, createBfgs } from '../../ts/optimize/bfgs.js';
import { createLbfgs, LimitedMemoryInverse, lbfgsCore } from '../../ts/optimize/lbfgs.js';
import { cubicMinimum, lineSearchStatuses, strongWolfe, type LineFunction } from '../../ts/optimize/line-search.js';
import type { Objective } from '../../ts/optimize/quasi-newton.js';
import { Random } from '../../ts/random.js';
import {
  denseSolve,
  dot,
  geometric,
  multiply,
  norm,
  normals,
  relativeError,
  symmetricWith,
} from '../linalg/helpers.js';

/** phi and phi' as a line, counting its evaluations. */
function lineOf(phi: (t: number) => number, derivative: (t: number) => number): LineFunction & { steps: number[] } {
  const line = {
    slope: 0,
    steps: [] as number[],
    evaluate(t: number): number {
      line.steps.push(t);
      line.slope = derivative(t);
      return phi(t);
    },
  };
  return line;
}

describe('strong Wolfe line search', () => {
  // Functions of More & Thuente 1994 (tables I to III) and friends, each with its derivative.
  const beta = 0.004;
  const functions: [string, (t: number) => number, (t: number) => number][] = [
    ['(5.1)', (t) => -t / (t * t + 2), (t) => (t * t - 2) / (t * t + 2) ** 2],
    ['(5.2)', (t) => (t + beta) ** 5 - 2 * (t + beta) ** 4, (t) => 5 * (t + beta) ** 4 - 8 * (t + beta) ** 3],
    ['quadratic', (t) => (t - 3) ** 2, (t) => 2 * (t - 3)],
    ['quartic', (t) => (t - 1) ** 4 - t, (t) => 4 * (t - 1) ** 3 - 1],
    ['exponential', (t) => Math.exp(t) - 4 * t, (t) => Math.exp(t) - 4],
    [
      'oscillating',
      (t) => t * t - 2 * t + 0.3 * Math.sin(7 * t) * t,
      (t) => 2 * t - 2 + 0.3 * Math.sin(7 * t) + 2.1 * t * Math.cos(7 * t),
    ],
    [
      'logarithm with a wall at 2',
      (t) => (t < 2 ? -t - 0.1 * Math.log(2 - t) : Infinity),
      (t) => (t < 2 ? -1 + 0.1 / (2 - t) : NaN),
    ],
    ['NaN beyond 0.5', (t) => (t < 0.5 ? (t - 0.3) ** 2 : NaN), (t) => (t < 0.5 ? 2 * (t - 0.3) : NaN)],
  ];
  for (const [name, phi, derivative] of functions) {
    it(`${name}: both conditions from any first step, last evaluation at the step`, () => {
      for (const c2 of [0.9, 0.1]) {
        for (const initialStep of [1e-3, 0.1, 1, 10, 1e3]) {
          const line = lineOf(phi, derivative);
          const c1 = 1e-3;
          const result = strongWolfe(line, phi(0), derivative(0), { c1, c2, initialStep, maxEvaluations: 40 });
          expect(result.status).equal('wolfe');
          const { step } = result;
          expect(step).above(0);
          expect(phi(step)).at.most(phi(0) + c1 * step * derivative(0));
          expect(Math.abs(derivative(step))).at.most(c2 * Math.abs(derivative(0)));
          expect(result.value).equal(phi(step));
          expect(result.slope).equal(derivative(step));
          expect(line.steps[line.steps.length - 1]).equal(step);
          expect(result.evaluations).equal(line.steps.length);
        }
      }
    });
  }

  it('says what it could not do', () => {
    const falling = strongWolfe(
      lineOf(
        (t) => -t,
        () => -1,
      ),
      0,
      -1,
      { maximumStep: 100 },
    );
    expect(falling).include({ status: 'maximum-step', step: 100, value: -100 });
    expect(
      strongWolfe(
        lineOf(
          (t) => t,
          () => 1,
        ),
        0,
        1,
      ),
    ).include({ status: 'not-descent', step: 0 });
    // A slope that lies: the function only rises.
    expect(
      strongWolfe(
        lineOf(
          (t) => t,
          () => 1,
        ),
        0,
        -1,
      ),
    ).include({ status: 'no-decrease', step: 0, value: 0 });
    const short = lineOf(
      (t) => (t - 100) ** 2,
      (t) => 2 * (t - 100),
    );
    const result = strongWolfe(short, 1e4, -200, { maxEvaluations: 2, c2: 0.01, initialStep: 1e-3 });
    expect(result.status).equal('sufficient-decrease');
    expect(short.steps[short.steps.length - 1]).equal(result.step);
    expect(result.value).below(1e4);
    for (const sentence of Object.values(lineSearchStatuses)) expect(sentence).match(/\.$/);
  });

  it('accepts by derivatives where the values are rounding', () => {
    const big = 1e10; // values of phi around 1e10: changes of 1e-7 are lost
    const line = lineOf(
      (t) => big + 1e-8 * (t - 1) ** 2,
      (t) => 2e-8 * (t - 1),
    );
    const result = strongWolfe(line, big + 1e-8, -2e-8, { c2: 0.1, initialStep: 0.3 });
    expect(result.status).equal('approximate-wolfe');
    expect(result.step).closeTo(1, 0.1);
  });

  it('refuses wrong arguments', () => {
    const line = lineOf(
      (t) => t * t,
      (t) => 2 * t,
    );
    expect(() => strongWolfe(line, 0, -1, { c1: 0.9, c2: 0.1 })).throw(RangeError, /c1 < c2/);
    expect(() => strongWolfe(line, NaN, -1)).throw(RangeError, /value0/);
    expect(() => strongWolfe(line, 0, -1, { initialStep: 0 })).throw(RangeError, /initialStep/);
    expect(() => strongWolfe({} as LineFunction, 0, -1)).throw(TypeError, /line.evaluate/);
  });

  it('the cubic through values and slopes of a cubic has its minimum', () => {
    const f = (t: number): number => t ** 3 - 3 * t;
    const d = (t: number): number => 3 * t * t - 3;
    expect(cubicMinimum(0.2, f(0.2), d(0.2), 1.7, f(1.7), d(1.7))).closeTo(1, 1e-14);
    expect(cubicMinimum(1.7, f(1.7), d(1.7), 0.2, f(0.2), d(0.2))).closeTo(1, 1e-14);
  });
});

const quadratic =
  (a: Float64Array, b: Float64Array): Objective =>
  (x, gradient) => {
    const ax = multiply(a, x);
    let value = 0;
    for (let i = 0; i < x.length; i++) {
      gradient[i] = ax[i] - b[i];
      value += x[i] * (0.5 * ax[i] - b[i]);
    }
    return value;
  };

/** sum_i 100 (x_{2i+1} - x_{2i}^2)^2 + (1 - x_{2i})^2; minimum 0 at ones. */
const rosenbrock: Objective = (x, gradient) => {
  let value = 0;
  for (let i = 0; i < x.length; i += 2) {
    const u = x[i + 1] - x[i] * x[i];
    const v = 1 - x[i];
    value += 100 * u * u + v * v;
    gradient[i] = -400 * u * x[i] - 2 * v;
    gradient[i + 1] = 200 * u;
  }
  return value;
};

const cores = { bfgs: bfgsCore, lbfgs: lbfgsCore } as const;

for (const name of ['bfgs', 'lbfgs'] as const) {
  const core = cores[name];
  describe(`${name} on plain objectives`, () => {
    it('Rosenbrock from (-1.2, 1), and in 20 variables', () => {
      for (const n of [2, 20]) {
        const x = Float64Array.from({ length: n }, (_, i) => (i % 2 === 0 ? -1.2 : 1));
        const method = core(n);
        let steps = 0;
        let evaluations = 0;
        for (; steps < 200; steps++) {
          const report = method.step(rosenbrock, x, 'rosenbrock');
          evaluations += report.evaluations;
          if (report.gradientNorm < 1e-9) break;
        }
        expect(steps).below(80); // BFGS takes about 35 steps from here (Nocedal & Wright 2006, table 6.1 has 34)
        expect(evaluations).below(3 * steps);
        for (const value of x) expect(value).closeTo(1, 1e-8);
      }
    });

    it('ill-conditioned quadratics to high precision', () => {
      const n = 25;
      const { a } = symmetricWith(geometric(n, 1e-3, 10), 3);
      const b = normals(n, 4);
      const x = new Float64Array(n);
      const method = core(n, name === 'lbfgs' ? { memory: 30 } : {});
      const objective = quadratic(a, b);
      let norm = 1;
      for (let k = 0; k < 300 && norm > 1e-10; k++) norm = method.step(objective, x, a).gradientNorm;
      expect(norm).at.most(1e-10);
      expect(relativeError(x, denseSolve(a, b))).below(1e-8); // gradient 1e-10 over the smallest eigenvalue 1e-3
    });

    it('never raises the loss, reports what it did, and reuses the last evaluation only when it may', () => {
      const x = Float64Array.of(-1.2, 1);
      let calls = 0;
      const counting: Objective = (p, g) => {
        calls++;
        return rosenbrock(p, g);
      };
      const method = core(2);
      let previous = Infinity;
      let evaluations = 0;
      for (let k = 0; k < 15; k++) {
        const before = x.slice();
        const report = method.step(counting, x, 'key');
        expect(report.loss).at.most(previous);
        expect(report.accepted).equal(true);
        expect(report.stepNorm).closeTo(norm(x.map((v, i) => v - before[i])), 1e-14);
        expect(report.loss).equal(rosenbrock(before, new Float64Array(2)));
        previous = report.loss;
        evaluations += report.evaluations;
      }
      expect(calls).equal(evaluations + 1);
      method.step(counting, x, 'another key');
      const before = calls;
      x[0] += 0.1; // moved from outside: must be evaluated again
      const report = method.step(counting, x, 'another key');
      expect(calls).equal(before + report.evaluations + 1);
    });

    it('negative curvature, walls and bad starts', () => {
      // Saddle-shaped well: x^4 / 4 - x^2 / 2 + y^2, start on the slope of negative curvature.
      const well: Objective = ([u, v], g) => {
        g[0] = u ** 3 - u;
        g[1] = 2 * v;
        return u ** 4 / 4 - (u * u) / 2 + v * v;
      };
      const x = Float64Array.of(0.01, 1);
      const method = core(2);
      for (let k = 0; k < 40; k++) method.step(well, x, well);
      expect(Math.abs(x[0])).closeTo(1, 1e-7);
      expect(x[1]).closeTo(0, 1e-7);
      // A barrier: not finite for x <= 0.
      const barrier: Objective = ([u], g) => {
        g[0] = u > 0 ? 1 - 1e-3 / u : NaN;
        return u > 0 ? u - 1e-3 * Math.log(u) : NaN;
      };
      const z = Float64Array.of(5);
      const inner = core(1);
      for (let k = 0; k < 40; k++) inner.step(barrier, z, barrier);
      expect(z[0]).closeTo(1e-3, 1e-8);
      const outside = Float64Array.of(-1);
      expect(core(1).step(barrier, outside)).include({ accepted: false, lineSearch: 'not-finite' });
      expect(outside[0]).equal(-1);
      expect(core(2).step(well, new Float64Array(2))).include({
        accepted: false,
        lineSearch: 'stationary',
        stepNorm: 0,
      });
      expect(() => core(2).step(well, new Float64Array(3))).throw(RangeError, /length 2/);
    });

    it('pairs without curvature are damped or skipped, and the model stays positive definite', () => {
      // One evaluation a search, steps of any size: curvature conditions often fail.
      const well: Objective = ([u, v], g) => {
        g[0] = u ** 3 - u;
        g[1] = 2 * v;
        return u ** 4 / 4 - (u * u) / 2 + v * v;
      };
      const seen = new Set<string>();
      for (const safeguard of ['damp', 'skip'] as const) {
        for (let seed = 0; seed < 20; seed++) {
          const x = new Random(seed).normals(new Float64Array(2));
          const method = core(2, { safeguard, maxEvaluations: 1, c2: 0.9999 });
          for (let k = 0; k < 12; k++) {
            const { update, loss } = method.step(well, x, well);
            seen.add(`${safeguard}: ${update}`);
            expect(loss).finite;
          }
        }
      }
      expect(seen.has('damp: damped')).equal(true);
      expect(seen.has('skip: skipped')).equal(true);
      expect(seen.has('skip: damped')).equal(false);
    });

    it('refuses wrong options', () => {
      expect(() => core(2, { c1: 1, c2: 0.5 })).throw(RangeError, /c1/);
      expect(() => core(2, { safeguard: 'hope' as never })).throw(RangeError, /'damp', 'skip'/);
      expect(() => core(2, { rate: 1 } as never)).throw(RangeError, /unknown option 'rate'/);
    });
  });
}

describe('inverse models', () => {
  it('with memory for all pairs, L-BFGS applies the matrix of the BFGS formula', () => {
    const n = 6;
    const { a } = symmetricWith(geometric(n, 1, 10), 5);
    const memory = 4;
    const model = new LimitedMemoryInverse(n, memory);
    const pairs: [Float64Array, Float64Array][] = [];
    for (let k = 0; k < 7; k++) {
      const s = normals(n, 20 + k);
      const y = multiply(a, s);
      pairs.push([s, y]);
      model.update(s, y, dot(s, y));
    }
    // The oracle: H0 = gamma I, then eq. 6.17 with the last four pairs, in plain dense arithmetic.
    const [ls, ly] = pairs[6];
    let h = new Float64Array(n * n);
    for (let i = 0; i < n; i++) h[i * (n + 1)] = dot(ls, ly) / dot(ly, ly);
    for (const [s, y] of pairs.slice(-memory)) {
      const rho = 1 / dot(s, y);
      const v = Float64Array.from(
        { length: n * n },
        (_, k) => (k % (n + 1) === 0 ? 1 : 0) - rho * y[k % n] * s[Math.floor(k / n)],
      );
      const hv = new Float64Array(n * n);
      for (let j = 0; j < n; j++) hv.set(multiply(h, v.slice(j * n, (j + 1) * n)), j * n);
      const next = new Float64Array(n * n);
      for (let j = 0; j < n; j++) {
        for (let i = 0; i < n; i++)
          next[i + j * n] = dot(v.slice(i * n, (i + 1) * n), hv.slice(j * n, (j + 1) * n)) + rho * s[i] * s[j];
      }
      h = next;
    }
    const g = normals(n, 50);
    const out = new Float64Array(n);
    model.apply(g, out);
    expect(relativeError(out, multiply(h, g))).below(1e-13);
  });

  it('dense BFGS on a quadratic with exact pairs along n directions becomes the inverse', () => {
    const n = 5;
    const { a, q } = symmetricWith([1, 2, 3, 4, 5], 6);
    const method = bfgsCore(n);
    // Conjugate (here: eigen-) directions: hereditary secant conditions hold for all of them (N&W theorem 6.4).
    const state = method.state();
    expect(state.scalars.updates).equal(0);
    const x = multiply(q, Float64Array.of(1, 1, 1, 1, 1));
    const b = new Float64Array(n);
    for (let k = 0; k < 40; k++) if (!method.step(quadratic(a, b), x, b).accepted) break;
    const h = method.state().vectors.inverse;
    // Inexact searches do not end finitely, but the matrix has come close to A^-1 where the steps have been.
    const g = multiply(a, normals(n, 3));
    const hg = new Float64Array(n);
    for (let j = 0; j < n; j++) for (let i = 0; i < n; i++) hg[i] += (i >= j ? h[i + j * n] : h[j + i * n]) * g[j];
    expect(relativeError(hg, denseSolve(a, g))).below(0.05);
  });
});

describe('quasi-Newton training of networks', () => {
  const makers = { bfgs: createBfgs, lbfgs: createLbfgs } as const;
  const network = new Network({
    inputs: 3,
    loss: 'mse',
    layers: [
      { type: 'dense', units: 6, activation: 'tanh' },
      { type: 'dense', units: 2, activation: 'identity' },
    ],
    l2: 3e-3,
  });
  const inputs = normals(40 * 3, 1);
  const targets = new Float64Array(80);
  for (let n = 0; n < 40; n++) {
    targets[2 * n] = Math.sin(inputs[3 * n]) + inputs[3 * n + 1];
    targets[2 * n + 1] = inputs[3 * n + 1] * inputs[3 * n + 2];
  }
  const batch = network.batch({ inputs, targets });

  for (const name of ['bfgs', 'lbfgs'] as const) {
    it(`${name} reaches a stationary point`, () => {
      const optimizer = makers[name](network);
      expect(optimizer.name).equal(name);
      const params = network.initialize({ seed: 3 });
      const start = network.evaluate(params, batch).loss;
      let report = optimizer.step(params, batch);
      for (let k = 0; k < 800 && (report.gradientNorm as number) > 1e-7; k++) report = optimizer.step(params, batch);
      expect(report.gradientNorm).below(1e-7);
      expect(report.loss).below(start / 10);
    });

    it(`${name} goes on with the same bits from a stored state, also over changing batches`, () => {
      const other = network.batch({ inputs: inputs.slice(0, 60), targets: targets.slice(0, 40) });
      const schedule = [
        batch,
        batch,
        other,
        other,
        batch,
        batch,
        other,
        batch,
        batch,
        batch,
        other,
        batch,
        batch,
        batch,
      ];
      const one = makers[name](network);
      const straight = network.initialize({ seed: 4 });
      const reports = schedule.map((b) => one.step(straight, b));
      const first = makers[name](network);
      const params = network.initialize({ seed: 4 });
      schedule.slice(0, 8).forEach((b) => first.step(params, b));
      const snapshot = first.state();
      first.step(params.slice(), batch); // a snapshot is not touched by going on
      const second = makers[name](network);
      second.restore(snapshot);
      const rest = schedule.slice(8).map((b) => second.step(params, b));
      expect(params).deep.equal(straight);
      expect(rest).deep.equal(reports.slice(8));
      expect(second.state()).deep.equal(one.state());
    });

    it(`${name} refuses a state that does not fit`, () => {
      const optimizer = makers[name](network);
      expect(() => optimizer.restore({ scalars: {}, vectors: {} })).throw(TypeError, /updates/);
      const state = optimizer.state();
      const [key] = Object.keys(state.vectors);
      expect(() => optimizer.restore({ ...state, vectors: { ...state.vectors, [key]: new Float64Array(1) } })).throw(
        RangeError,
      );
    });
  }

  it('dense BFGS refuses networks that are too large, with the figure', () => {
    expect(() => createBfgs(network, { maximumParameters: 10 })).throw(
      RangeError,
      /at least .*use lbfgs\) for options.maximumParameters, received 10/,
    );
  });
});
