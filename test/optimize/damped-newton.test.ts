import { expect } from 'chai';
import { Network } from '../../ts/derivatives/network.js';
import { factor } from '../../ts/inverse/factor.js';
import {
  createDampedNewton,
  type DampedNewtonOptions,
  type DampedNewtonReport,
} from '../../ts/optimize/damped-newton.js';
import { createSaddleFree, type SaddleFreeReport } from '../../ts/optimize/saddle-free.js';
import { createSgd } from '../../ts/optimize/sgd.js';
import { Random } from '../../ts/random.js';
import { problem, randomBatch } from '../helpers/problems.js';
import { norm, relativeError } from '../linalg/helpers.js';
import { smallProblem } from './first-order-problem.js';

/** A linear model with squared loss. */
function quadratic() {
  const network = new Network({
    inputs: 3,
    loss: 'mse',
    l2: 0.1,
    layers: [{ type: 'dense', units: 2, activation: 'identity' }],
  });
  const batch = network.batch(randomBatch(new Random(1), 12, 3, 2, 'mse'));
  return { network, batch, params: network.initialize({ seed: 1 }) };
}

/** sin on [-2.5, 2.5] by three tanh units without bias, a thousandth off the saddle at 0. */
function nearSaddle() {
  const network = new Network({
    inputs: 1,
    loss: 'mse',
    layers: [
      { type: 'dense', units: 3, activation: 'tanh', bias: false },
      { type: 'dense', units: 1, activation: 'identity', bias: false },
    ],
  });
  const inputs = Float64Array.from({ length: 11 }, (_, n) => (n - 5) / 2);
  const batch = network.batch({ inputs, targets: inputs.map(Math.sin) });
  const params = new Random(3).normals(new Float64Array(6)).map((value) => 1e-3 * value);
  return { network, batch, params };
}

describe('damped newton', () => {
  it('a quadratic: one step takes the loss to that of (H + eps I)^-1 grad, and the factor serves the next steps', () => {
    const { network, batch, params } = quadratic();
    const point = network.linearize(params, batch);
    const exact = factor(point, { damping: 1e-6 }).solve(point.gradient).x;
    const start = params.slice();
    const optimizer = createDampedNewton(network, { damping: 1e-6, frequency: 5 });
    const report = optimizer.step(params, batch) as DampedNewtonReport;
    expect(
      relativeError(
        params.map((value, i) => start[i] - value),
        exact,
      ),
    ).below(1e-9);
    expect(report).include({ accepted: true, age: 0, trials: 1, damping: 1e-6 });
    // eps / L2 = 1e-5 of the gradient is left
    expect(norm(network.linearize(params, batch).gradient)).below(1e-4 * norm(point.gradient));
    expect((optimizer.step(params, batch) as DampedNewtonReport).age).equal(1);
  });

  it('known answer: mean of (params - target)^2 over a 5 x 5 matrix', () => {
    // H = 2/25 I. With eps = 2/25 and rate 0.2 a step multiplies the distance by 0.9: 30 steps by 0.9^60 in the loss.
    const network = new Network({
      inputs: 5,
      loss: 'mse',
      layers: [{ type: 'dense', units: 5, activation: 'identity', bias: false }],
    });
    const inputs = new Float64Array(25);
    for (let i = 0; i < 5; i++) inputs[6 * i] = 1;
    const batch = network.batch({ inputs, targets: new Random(2).normals(new Float64Array(25)) });
    const params = new Float64Array(25);
    const before = network.evaluate(params, batch).loss;
    const optimizer = createDampedNewton(network, { damping: 2 / 25, rate: 0.2, frequency: 7, adaptive: false });
    for (let t = 0; t < 30; t++) optimizer.step(params, batch);
    expect(network.evaluate(params, batch).loss / before).closeTo(0.9 ** 60, 1e-12);
  });

  it('raises eps until the inertia is positive definite, and then goes down', () => {
    const { network, batch, params } = nearSaddle();
    const index = factor(network.linearize(params, batch), { damping: 1e-3 }).inertia.negative;
    expect(index).above(0);
    const optimizer = createDampedNewton(network, { damping: 1e-3 });
    const report = optimizer.step(params.slice(), batch) as DampedNewtonReport;
    expect(factor(network.linearize(params, batch), { damping: report.damping! }).inertia.negative).equal(0);
    let loss = Infinity;
    for (let t = 0; t < 60; t++) {
      const { loss: now } = optimizer.step(params, batch);
      expect(now).at.most(loss * (1 + 1e-13));
      loss = now;
    }
    expect(loss).below(0.02);
  });

  it('adaptive: an old factor that misleads is made anew and the interval halved; trouble-free intervals grow', () => {
    const { network, params, batch } = smallProblem();
    const optimizer = createDampedNewton(network, { damping: 1e-2, frequency: 40 });
    const intervals = new Set<number>();
    let early = 0;
    let previous: DampedNewtonReport | null = null;
    for (let t = 0; t < 120; t++) {
      const report = optimizer.step(params, batch) as DampedNewtonReport;
      if (previous !== null && report.age === 0 && previous.age + 1 < previous.interval) early++;
      intervals.add(report.interval);
      previous = report;
    }
    expect(early).above(0);
    expect(Math.min(...intervals)).below(40);
    expect(network.evaluate(params, batch).loss).below(1e-3);
    const calm = quadratic();
    const long = createDampedNewton(calm.network, { damping: 10, frequency: 2 });
    let last = 0;
    for (let t = 0; t < 12; t++) last = (long.step(calm.params, calm.batch) as DampedNewtonReport).interval;
    expect(last).above(2);
  });

  it('ahead of gradient descent for the same number of steps', () => {
    const own = smallProblem();
    const sgd = smallProblem();
    const optimizer = createDampedNewton(own.network, { matrix: 'gauss-newton', damping: 1e-5 });
    const descent = createSgd(sgd.network, { rate: 0.3, momentum: 0.9 });
    for (let t = 0; t < 50; t++) {
      optimizer.step(own.params, own.batch);
      descent.step(sgd.params, sgd.batch);
    }
    expect(own.network.evaluate(own.params, own.batch).loss).below(
      0.1 * sgd.network.evaluate(sgd.params, sgd.batch).loss,
    );
  });

  it('resumes with the same bits in the middle of an interval, the factor made anew from its point and batch', () => {
    const variants: DampedNewtonOptions[] = [
      { frequency: 6 },
      { matrix: 'gauss-newton', frequency: 4, damping: 1 },
      { adaptive: false, damping: 5, rate: 0.5 },
    ];
    for (const options of variants) {
      for (const kind of ['classes', 'mse'] as const) {
        const { network, params, data, random } = problem({ samples: 8, kind, weighted: true });
        const batches = [
          network.batch(data),
          network.batch(randomBatch(random, 5, network.inputs, network.outputs, kind)),
        ];
        const optimizer = createDampedNewton(network, options);
        for (let t = 0; t < 8; t++) optimizer.step(params, batches[t % 2]);
        const state = structuredClone(optimizer.state());
        const resumed = params.slice();
        const other = createDampedNewton(network, options);
        other.restore(state);
        expect(other.state()).deep.equal(state);
        for (let t = 0; t < 7; t++)
          expect(other.step(resumed, batches[t % 2])).deep.equal(optimizer.step(params, batches[t % 2]));
        expect([...resumed]).deep.equal([...params]);
      }
    }
  });

  it('refuses hostile options and states', () => {
    const { network } = smallProblem();
    for (const [options, message] of [
      [{ damping: 0 }, 'damping'],
      [{ frequency: 0 }, 'frequency'],
      [{ rate: 2 }, 'rate'],
      [{ matrix: 'fisher' }, 'matrix'],
      [{ maxTrials: 0 }, 'maxTrials'],
      [{ hessian: true }, "unknown option 'hessian'"],
    ] as const) {
      expect(() => createDampedNewton(network, options as object), message).throw(RangeError, message);
    }
    const optimizer = createDampedNewton(network);
    const scalars = { eps: 1, interval: 3, age: 1, steps: 2, overdamped: false };
    expect(() => optimizer.restore({ scalars: { ...scalars, eps: 0 }, vectors: {} })).throw(RangeError, 'eps');
    const anchor = new Float64Array(network.parameterCount);
    expect(() => optimizer.restore({ scalars, vectors: { anchor } })).throw(TypeError, 'inputs');
    expect(() => optimizer.restore({ scalars, vectors: { anchor, inputs: new Float64Array(5) } })).throw(
      RangeError,
      'inputs',
    );
  });
});

describe('saddle-free newton', () => {
  it('exact for small networks: (|H| + eps I)^-1 grad from the eigenvectors', () => {
    const { network, batch, params } = nearSaddle();
    const point = network.linearize(params, batch);
    const start = params.slice();
    const report = createSaddleFree(network, { damping: 0.5 }).step(params, batch) as SaddleFreeReport;
    expect(report.leftmost).below(0);
    expect(report.negative).above(0);
    // |H| x + eps x = grad, with |H| = (H^2)^1/2: apply (|H| + eps I) by the eigenvalues of H in the plane of the test: H itself
    // is symmetric, so H^2 x has the same eigenvectors; check the residual through H^2: (|H|)^2 = H^2.
    const x = params.map((value, i) => start[i] - value);
    const rest = point.gradient.map((value, i) => value - report.damping! * x[i]); // |H| x
    const twice = point.hessianProduct(point.hessianProduct(x)); // |H| |H| x
    const again = point.hessianProduct(point.hessianProduct(rest)); // |H|^3 x
    // |H|^2 (|H| x) = |H| (|H|^2 x): compare through norms in the quadratic form, x^T |H|^3 x
    const left = x.reduce((sum, value, i) => sum + value * again[i], 0);
    const right = rest.reduce((sum, value, i) => sum + value * twice[i], 0);
    expect(left).closeTo(right, 1e-12 * Math.abs(right));
    expect(rest.reduce((sum, value, i) => sum + value * x[i], 0)).above(0);
    expect(norm(rest)).closeTo(Math.sqrt(x.reduce((sum, value, i) => sum + value * twice[i], 0)), 1e-12 * norm(rest));
  });

  it('the Krylov subspace of full size is exact too', () => {
    const { network, params, batch } = smallProblem();
    const other = params.slice();
    const exact = createSaddleFree(network, { damping: 0.3, denseOrder: 300 });
    const krylov = createSaddleFree(network, { damping: 0.3, denseOrder: 0, subspace: network.parameterCount });
    exact.step(params, batch);
    krylov.step(other, batch);
    expect(relativeError(other, params)).below(1e-9);
  });

  it('leaves the neighbourhood of a saddle; the loss falls with every accepted step', () => {
    for (const denseOrder of [0, 300]) {
      const { network, batch, params } = nearSaddle();
      const optimizer = createSaddleFree(network, { denseOrder, damping: 0.1, subspace: 4 });
      let loss = Infinity;
      for (let t = 0; t < 60; t++) {
        const { loss: now } = optimizer.step(params, batch);
        expect(now).at.most(loss * (1 + 1e-13));
        loss = now;
      }
      expect(loss).below(0.02);
    }
  });

  it('resumes with the same bits; a stationary point is reported, not left', () => {
    const { network, params, batch } = smallProblem();
    const optimizer = createSaddleFree(network, { denseOrder: 0, subspace: 10 });
    for (let t = 0; t < 4; t++) optimizer.step(params, batch);
    const state = structuredClone(optimizer.state());
    const resumed = params.slice();
    const other = createSaddleFree(network, { denseOrder: 0, subspace: 10 });
    other.restore(state);
    for (let t = 0; t < 4; t++) expect(other.step(resumed, batch)).deep.equal(optimizer.step(params, batch));
    expect([...resumed]).deep.equal([...params]);
    const saddle = nearSaddle();
    const zero = new Float64Array(6);
    expect(createSaddleFree(saddle.network).step(zero, saddle.batch)).include({ accepted: false, stepNorm: 0 });
  });

  it('refuses hostile options', () => {
    const { network } = smallProblem();
    for (const [options, message] of [
      [{ damping: -1 }, 'damping'],
      [{ subspace: 1 }, 'subspace'],
      [{ denseOrder: -1 }, 'denseOrder'],
      [{ accept: 0.3 }, 'accept'],
      [{ minimumDamping: 2, maximumDamping: 1 }, 'minimumDamping'],
      [{ rate: 1 }, "unknown option 'rate'"],
    ] as const) {
      expect(() => createSaddleFree(network, options as object), message).throw(RangeError, message);
    }
    expect(() => createSaddleFree(network).restore({ scalars: { damping: 0 }, vectors: {} })).throw(
      RangeError,
      'damping',
    );
  });
});
