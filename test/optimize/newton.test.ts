import { expect } from 'chai';
import { Network } from '../../ts/derivatives/network.js';
import { createNewton, type NewtonReport } from '../../ts/optimize/newton.js';
import { createSgd } from '../../ts/optimize/sgd.js';
import { Random } from '../../ts/random.js';
import { norm } from '../linalg/helpers.js';
import { smallProblem } from './first-order-problem.js';

function regression(seed: number, units = 4, l2 = 0, samples = 24) {
  const network = new Network({
    inputs: 2,
    loss: 'mse',
    l2,
    layers: [
      { type: 'dense', units, activation: 'tanh' },
      { type: 'dense', units: 1, activation: 'identity' },
    ],
  });
  const inputs = new Random(seed).normals(new Float64Array(2 * samples));
  const targets = new Float64Array(samples);
  for (let n = 0; n < samples; n++) targets[n] = Math.sin(2 * inputs[2 * n]) - 0.5 * inputs[2 * n + 1];
  return { network, batch: network.batch({ inputs, targets }) };
}

describe('newton', () => {
  it('a quadratic loss is solved by one step', () => {
    const network = new Network({
      inputs: 3,
      loss: 'mse',
      l2: 0.01,
      layers: [{ type: 'dense', units: 2, activation: 'identity' }],
    });
    const random = new Random(1);
    const batch = network.batch({
      inputs: random.normals(new Float64Array(30)),
      targets: random.normals(new Float64Array(20)),
    });
    const params = network.initialize({ seed: 1 });
    const optimizer = createNewton(network, { radius: 100 });
    const report = optimizer.step(params, batch) as NewtonReport;
    expect(report).include({ accepted: true, region: 'interior', trials: 1 });
    const { gradient } = network.linearize(params, batch);
    // the lambda that duality allows is 0.025 g^T s / radius^2 = 1e-6, and it contracts the gradient by lambda / 0.01
    expect(norm(gradient)).below(1e-3 * report.gradientNorm);
    optimizer.step(params, batch);
    expect(norm(network.linearize(params, batch).gradient)).below(1e-12);
  });

  it('leaves a saddle whose gradient vanishes by negative curvature, where gradient descent stays for ever', () => {
    const { network, batch } = regression(3, 5);
    // All parameters 0 except the last bias, which fits the mean: every derivative vanishes.
    const saddle = new Float64Array(network.parameterCount);
    const mean = batch.targetValues!.reduce((sum, value) => sum + value, 0) / batch.samples;
    saddle[saddle.length - 1] = mean;
    const { loss: saddleLoss, gradient } = network.linearize(saddle, batch);
    expect(norm(gradient)).below(1e-15);

    const descended = saddle.slice();
    const sgd = createSgd(network, { rate: 0.1, momentum: 0.9 });
    for (let t = 0; t < 200; t++) sgd.step(descended, batch);
    expect(network.evaluate(descended, batch).loss).closeTo(saddleLoss, 1e-12);

    const params = saddle.slice();
    const optimizer = createNewton(network);
    const first = optimizer.step(params, batch) as NewtonReport;
    expect(first.region).equal('hard-case');
    expect(first.leftmost).below(-1e-3);
    expect(first.accepted).equal(true);
    for (let t = 0; t < 5; t++) optimizer.step(params, batch);
    expect(network.evaluate(params, batch).loss).below(0.6 * saddleLoss);
  });

  it('leaves the all-equal initialisation, where units stay copies of each other under gradient descent', () => {
    const { network, batch } = regression(4, 4);
    const equal = new Float64Array(network.parameterCount).fill(0.3);
    const spread = (params: Float64Array): number => {
      let most = 0;
      for (let i = 1; i < 4; i++)
        for (let j = 0; j < 2; j++) most = Math.max(most, Math.abs(params[2 * i + j] - params[j]));
      return most;
    };
    const descended = equal.slice();
    const sgd = createSgd(network, { rate: 0.1, momentum: 0.9 });
    for (let t = 0; t < 2000; t++) sgd.step(descended, batch);
    expect(spread(descended)).below(1e-9);

    const params = equal.slice();
    const optimizer = createNewton(network);
    for (let t = 0; t < 30; t++) optimizer.step(params, batch);
    expect(spread(params)).above(0.1);
    expect(network.evaluate(params, batch).loss).below(0.1 * network.evaluate(descended, batch).loss);
  });

  it('converges quadratically to a minimum, with index 0 there', () => {
    const { network, batch } = regression(5, 3, 1e-2);
    const params = network.initialize({ seed: 2 });
    const optimizer = createNewton(network, { inertia: true });
    const norms: number[] = [];
    let report: NewtonReport | null = null;
    for (let t = 0; t < 60; t++) {
      report = optimizer.step(params, batch) as NewtonReport;
      norms.push(report.gradientNorm);
      if (report.gradientNorm < 1e-14) break;
    }
    expect(report!.index).equal(0);
    expect(report!.leftmost).above(0);
    const last = norms.length - 1;
    expect(norms[last]).below(1e-13);
    // |g_{k+1}| <= C |g_k|^2: between the last steps above rounding the exponent is near 2
    const from = norms.findIndex((value) => value < 1e-3);
    expect(from).above(0);
    expect(last - from).at.most(3);
    for (let k = from; k < last; k++) expect(norms[k + 1]).at.most(Math.max(200 * norms[k] ** 2, 1e-13));
  });

  it('the loss falls with every accepted step; a rejected step is undone', () => {
    const { network, batch } = regression(6, 6);
    const params = network.initialize({ seed: 3, gain: 3 });
    const optimizer = createNewton(network, { radius: 500, maxTrials: 1 });
    let loss = Infinity;
    let rejected = 0;
    for (let t = 0; t < 40; t++) {
      const before = params.slice();
      const report = optimizer.step(params, batch) as NewtonReport;
      // equality up to 10 ulp is allowed at the end (see the slack in rho)
      expect(report.loss).at.most(loss * (1 + 1e-14));
      loss = report.loss;
      if (!report.accepted) {
        rejected++;
        expect([...params]).deep.equal([...before]);
        expect(report.stepNorm).equal(0);
      } else expect(Math.abs(report.stepNorm / norm(params.map((v, i) => v - before[i])) - 1)).below(1e-6);
    }
    expect(rejected).above(0);
  });

  it('resumes with the same bits', () => {
    const { network, params, batch } = smallProblem();
    const optimizer = createNewton(network);
    for (let t = 0; t < 3; t++) optimizer.step(params, batch);
    const state = structuredClone(optimizer.state());
    const resumed = params.slice();
    const other = createNewton(network);
    other.restore(state);
    for (let t = 0; t < 4; t++) {
      const a = optimizer.step(params, batch);
      const b = other.step(resumed, batch);
      expect(b).deep.equal(a);
    }
    expect([...resumed]).deep.equal([...params]);
  });

  it('classes: learns a small batch, and reports the index when asked', () => {
    const { network, params, batch } = smallProblem();
    const optimizer = createNewton(network, { inertia: true });
    const first = optimizer.step(params, batch) as NewtonReport;
    expect(first.index).a('number');
    for (let t = 0; t < 12; t++) optimizer.step(params, batch);
    expect(network.evaluate(params, batch).loss).below(0.1 * first.loss);
  });

  it('refuses hostile options', () => {
    const { network, params, batch } = smallProblem();
    for (const [options, message] of [
      [{ radius: 0 }, 'radius'],
      [{ radius: 10, maximumRadius: 5 }, 'radius'],
      [{ accept: 0.5 }, 'accept'],
      [{ boundaryTolerance: 1 }, 'boundaryTolerance'],
      [{ maxTrials: 0 }, 'maxTrials'],
      [{ krylovSteps: 1.5 }, 'krylovSteps'],
      [{ rate: 1 }, "unknown option 'rate'"],
    ] as const) {
      expect(() => createNewton(network, options as object)).throw(RangeError, message);
    }
    expect(() => createNewton(network, { inertia: 1 as unknown as boolean })).throw(TypeError, 'inertia');
    const optimizer = createNewton(network);
    expect(() => optimizer.restore({ scalars: {}, vectors: {} })).throw(TypeError, 'radius');
    expect(() => optimizer.restore({ scalars: { radius: -1 }, vectors: {} })).throw(RangeError, 'radius');
    expect(() => optimizer.step(new Float64Array(3), batch)).throw(RangeError);
    expect(optimizer.step(params, batch).accepted).equal(true);
  });
});
