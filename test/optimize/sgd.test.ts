import { expect } from 'chai';
import { Network } from '../../ts/derivatives/network.js';
import { createSgd, type SgdOptions } from '../../ts/optimize/sgd.js';
import { smallProblem, runOptimizer } from './first-order-problem.js';

/** The update written out one number at a time from the formulas, as a second opinion on the native kernel. */
function reference(options: SgdOptions, steps: number): Float64Array {
  const { network, params, batch } = smallProblem();
  const { rate = 0.01, momentum = 0.9, nesterov = false, weightDecay = 0 } = options;
  const gradient = new Float64Array(params.length);
  const velocity = new Float64Array(params.length);
  for (let t = 0; t < steps; t++) {
    network.lossAndGradient(params, batch, gradient);
    for (let i = 0; i < params.length; i++) {
      const g = gradient[i] + weightDecay * params[i];
      velocity[i] = momentum * velocity[i] + g;
      params[i] -= rate * (nesterov ? g + momentum * velocity[i] : velocity[i]);
    }
  }
  return params;
}

describe('sgd', () => {
  const variants: SgdOptions[] = [
    { rate: 0.1, momentum: 0 },
    { rate: 0.05, momentum: 0.9 },
    { rate: 0.05, momentum: 0.9, nesterov: true },
    { rate: 0.05, momentum: 0.5, weightDecay: 0.1 },
  ];
  for (const options of variants) {
    it(`follows its formulas with ${JSON.stringify(options)}`, () => {
      const { network, params, batch } = smallProblem();
      runOptimizer(createSgd(network, options), params, batch, 25);
      const expected = reference(options, 25);
      // Same formula, possibly with fused multiply-add: rounding only, over 25 steps.
      for (let i = 0; i < params.length; i++) expect(params[i]).to.be.closeTo(expected[i], 1e-12);
    });
  }

  it('reports the loss before the step and the length of the step', () => {
    const { network, params, batch } = smallProblem();
    const before = params.slice();
    const optimizer = createSgd(network, { rate: 0.1, momentum: 0 });
    const { loss } = network.evaluate(params, batch);
    const report = optimizer.step(params, batch);
    // Two summation orders of the same loss.
    expect(report.loss).to.be.closeTo(loss, 1e-14);
    expect(report.stepNorm).to.be.closeTo(Math.hypot(...params.map((p, i) => p - before[i])), 1e-14);
  });

  it('clips the gradient to the norm asked for', () => {
    const { network, params, batch } = smallProblem();
    const report = createSgd(network, { rate: 1, momentum: 0, clipNorm: 1e-3 }).step(params, batch);
    expect(report.stepNorm).to.be.closeTo(1e-3, 1e-15);
  });

  it('goes on with the same bits from a stored state', () => {
    const a = smallProblem();
    const first = createSgd(a.network, { rate: 0.05, schedule: { kind: 'step', every: 3 } });
    runOptimizer(first, a.params, a.batch, 7);
    const second = createSgd(a.network, { rate: 0.05, schedule: { kind: 'step', every: 3 } });
    second.restore(first.state());
    const params = a.params.slice();
    runOptimizer(first, a.params, a.batch, 8);
    runOptimizer(second, params, a.batch, 8);
    expect([...params]).to.deep.equal([...a.params]);
  });

  it('minimises a least-squares problem to rounding', () => {
    const network = new Network({
      inputs: 2,
      loss: 'mse',
      layers: [{ type: 'dense', units: 1, activation: 'identity' }],
    });
    // y = 3 x1 - 2 x2 + 1 is realisable, so the minimum is 0.
    const batch = network.batch({
      inputs: Float64Array.of(1, 0, 0, 1, 1, 1, -1, 2),
      targets: Float64Array.of(4, -1, 2, -6),
    });
    const params = new Float64Array(3);
    const last = runOptimizer(createSgd(network, { rate: 0.05, momentum: 0.9 }), params, batch, 600);
    // The condition number of this Hessian is about 10: 600 steps shrink the error by far more than 1e-12.
    expect(last).to.be.below(1e-20);
    [3, -2, 1].forEach((value, i) => expect(params[i]).to.be.closeTo(value, 1e-9));
  });

  it('refuses wrong options by name', () => {
    const { network } = smallProblem();
    expect(() => createSgd(network, { rate: 0 })).to.throw(RangeError, 'options.rate');
    expect(() => createSgd(network, { momentum: 1 })).to.throw(RangeError, 'options.momentum');
    expect(() => createSgd(network, { weightDecay: -1 })).to.throw(RangeError, 'options.weightDecay');
    expect(() => createSgd(network, { clipNorm: Number.NaN })).to.throw(RangeError, 'options.clipNorm');
    expect(() => createSgd(network, { nesterov: true, momentum: 0 })).to.throw(RangeError, 'nesterov');
    expect(() => createSgd(network, { learningRate: 1 } as SgdOptions)).to.throw(
      RangeError,
      "unknown option 'learningRate'",
    );
  });

  it('refuses a state that is not its own', () => {
    const { network } = smallProblem();
    const optimizer = createSgd(network);
    expect(() => optimizer.restore({ scalars: {}, vectors: {} })).to.throw(TypeError, 'state.scalars.steps');
    expect(() => optimizer.restore({ scalars: { steps: 1 }, vectors: { velocity: new Float64Array(3) } })).to.throw(
      RangeError,
      'velocity',
    );
  });
});
