import { expect } from 'chai';
import { Network } from '../../ts/derivatives/network.js';
import { createGaussNewton } from '../../ts/optimize/gauss-newton.js';
import { createOptimizer } from '../../ts/optimize/registry.js';
import { Random } from '../../ts/random.js';

// Three layers of 6: parameters few enough beside 60 samples of 2 outputs.
const network = new Network({
  inputs: 3,
  loss: 'mse',
  layers: [
    { type: 'dense', units: 6, activation: 'tanh' },
    { type: 'dense', units: 6, activation: 'tanh' },
    { type: 'dense', units: 2, activation: 'identity' },
  ],
});
const inputs = new Random(3).normals(new Float64Array(180));
const batch = network.batch({
  inputs,
  targets: Float64Array.from({ length: 120 }, (_, i) => Math.sin(inputs[3 * (i >> 1) + (i & 1)])),
});

function losses(name: string, settings: Record<string, string>): number[] {
  const params = network.initialize({ seed: 2 });
  const optimizer = createOptimizer(name, network, settings);
  const seen = Array.from({ length: 25 }, () => optimizer.step(params, batch).loss);
  optimizer.dispose?.();
  return seen;
}

describe('precision of the factors', () => {
  for (const name of ['newton', 'damped-newton']) {
    it(`mixed takes other roundings to the same place: ${name}`, () => {
      const double = losses(name, { precision: 'float64' });
      const mixed = losses(name, { precision: 'mixed' });
      expect(mixed).to.not.deep.equal(double);
      expect(mixed[24]).to.be.below(0.05 * mixed[0]);
      expect(losses(name, {})).to.deep.equal(double);
    });
  }

  it('is refused by optimizers without a factor, with the list of their options, and by other names', () => {
    expect(() => createOptimizer('adam', network, { precision: 'mixed' })).to.throw(RangeError, /precision/);
    // It has no factor whose precision could be chosen; those that have are named.
    expect(() => createOptimizer('saddle-free', network, { precision: 'mixed' })).to.throw(
      RangeError,
      /'saddle-free': unknown option --precision \(it belongs to: newton, damped-newton\)/,
    );
    expect(() => createOptimizer('newton', network, { precision: 'half' })).to.throw(RangeError, /float64.*mixed/);
    // Not silently without effect: this network is served in the sample space.
    expect(() => createGaussNewton(network, { precision: 'mixed' })).to.throw(RangeError, /sample space.*precision/);
  });
});
