import { expect } from 'chai';
import { createAdam, createAdamW, type AdamOptions } from '../../ts/optimize/adam.js';
import { smallProblem, runOptimizer } from './first-order-problem.js';

/** Both algorithms written out one number at a time. */
function reference(decoupled: boolean, options: AdamOptions, steps: number): Float64Array {
  const { network, params, batch } = smallProblem();
  const { rate = 1e-3, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weightDecay = decoupled ? 0.01 : 0 } = options;
  const gradient = new Float64Array(params.length);
  const m = new Float64Array(params.length);
  const v = new Float64Array(params.length);
  for (let t = 1; t <= steps; t++) {
    network.lossAndGradient(params, batch, gradient);
    for (let i = 0; i < params.length; i++) {
      const g = gradient[i] + (decoupled ? 0 : weightDecay * params[i]);
      m[i] = beta1 * m[i] + (1 - beta1) * g;
      v[i] = beta2 * v[i] + (1 - beta2) * g * g;
      const step = m[i] / (1 - beta1 ** t) / (Math.sqrt(v[i] / (1 - beta2 ** t)) + epsilon);
      params[i] -= rate * (step + (decoupled ? weightDecay * params[i] : 0));
    }
  }
  return params;
}

describe('adam and adamw', () => {
  const variants: AdamOptions[] = [
    { rate: 0.01 },
    { rate: 0.02, beta1: 0, beta2: 0.9 },
    { rate: 0.01, weightDecay: 0.2 },
    { rate: 0.01, epsilon: 0.1 },
  ];
  for (const decoupled of [false, true]) {
    for (const options of variants) {
      it(`${decoupled ? 'adamw' : 'adam'} follows its formulas with ${JSON.stringify(options)}`, () => {
        const { network, params, batch } = smallProblem();
        runOptimizer((decoupled ? createAdamW : createAdam)(network, options), params, batch, 30);
        const expected = reference(decoupled, options, 30);
        // Same formulas up to the order of a few roundings, over 30 steps of size 0.01.
        for (let i = 0; i < params.length; i++) expect(params[i]).to.be.closeTo(expected[i], 1e-10);
      });
    }
  }

  it('takes a first step of length rate in every coordinate whatever the scale of the gradient', () => {
    const { network, params, batch } = smallProblem();
    const before = params.slice();
    const gradient = new Float64Array(params.length);
    network.lossAndGradient(params, batch, gradient);
    createAdam(network, { rate: 0.01, epsilon: 1e-14 }).step(params, batch);
    for (let i = 0; i < params.length; i++)
      expect(before[i] - params[i]).to.be.closeTo(0.01 * Math.sign(gradient[i]), 1e-9);
  });

  it('reports a rate that follows the schedule', () => {
    const { network, params, batch } = smallProblem();
    const optimizer = createAdam(network, { rate: 0.1, schedule: { kind: 'step', every: 2, decay: 0.5 } });
    const rates = Array.from({ length: 5 }, () => optimizer.step(params, batch).rate);
    expect(rates).to.deep.equal([0.1, 0.1, 0.05, 0.05, 0.025]);
  });

  for (const [name, create] of [
    ['adam', createAdam],
    ['adamw', createAdamW],
  ] as const) {
    it(`${name} goes on with the same bits from a stored state`, () => {
      const { network, params, batch } = smallProblem();
      const first = create(network, { rate: 0.01 });
      runOptimizer(first, params, batch, 6);
      const second = create(network, { rate: 0.01 });
      second.restore(first.state());
      const copy = params.slice();
      runOptimizer(first, params, batch, 9);
      runOptimizer(second, copy, batch, 9);
      expect([...copy]).to.deep.equal([...params]);
    });
  }

  it('leaves a state alone that later steps change', () => {
    const { network, params, batch } = smallProblem();
    const optimizer = createAdam(network);
    runOptimizer(optimizer, params, batch, 2);
    const state = optimizer.state();
    const m = [...state.vectors.m];
    runOptimizer(optimizer, params, batch, 2);
    expect([...state.vectors.m]).to.deep.equal(m);
    expect(state.scalars.steps).to.equal(3); // runOptimizer looks at the loss with one step more
  });

  it('refuses wrong options by name', () => {
    const { network } = smallProblem();
    expect(() => createAdam(network, { rate: -1 })).to.throw(RangeError, 'options.rate');
    expect(() => createAdam(network, { beta1: 1 })).to.throw(RangeError, 'options.beta1');
    expect(() => createAdamW(network, { beta2: -0.1 })).to.throw(RangeError, 'options.beta2');
    expect(() => createAdam(network, { epsilon: 0 })).to.throw(RangeError, 'options.epsilon');
    expect(() => createAdam(network, { momentum: 0.9 } as AdamOptions)).to.throw(
      RangeError,
      "unknown option 'momentum'",
    );
  });
});
