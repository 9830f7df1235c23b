import { expect } from 'chai';
import { Network } from '../../ts/derivatives/network.js';
import { carry, SampleSpaces } from '../../ts/optimize/damped-solvers.js';
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
  for (const name of ['gauss-newton', 'newton', 'damped-newton']) {
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
      /'saddle-free': unknown option 'precision' \(it belongs to: gauss-newton, newton, damped-newton\)/,
    );
    expect(() => createOptimizer('newton', network, { precision: 'half' })).to.throw(RangeError, /float64.*mixed/);
  });

  it('the solves of a mixed step are exact on both sides of what float32 resolves, with and without L2', () => {
    for (const l2 of [0, [0.01, 0.02, 0.03]]) {
      const { inputs: features, layers } = network;
      const specs = layers.map((layer) => ({
        type: 'dense' as const,
        units: layer.units,
        activation: layer.index === 2 ? ('identity' as const) : ('tanh' as const),
      }));
      const net = new Network({ inputs: features, loss: 'mse', layers: specs, l2 });
      const point = net.linearize(net.initialize({ seed: 2 }), batch);
      const P = net.parameterCount;
      const spaces = (precision: 'mixed' | 'float64'): SampleSpaces =>
        new SampleSpaces(net, { precision, device: 'cpu', maxStepSeconds: 60 });
      const [mixed, double] = [spaces('mixed').at(point), spaces('float64').at(point)];
      const phi = new Random(1).normals(new Float64Array(P));
      const [x, y, r] = [new Float64Array(P), new Float64Array(P), new Float64Array(P)];
      // |G| is about 1; then up again: float64 serves the dampings below which float32 has failed, and float32 those above.
      for (const eps of [1, 1e-3, 1e-8, 1e-12, 1e-2]) {
        expect(mixed.factor(eps)).to.equal(true);
        expect(double.factor(eps)).to.equal(true);
        for (const solver of [mixed, double]) {
          for (const g of [point.gradient, phi]) {
            x.set(g);
            if (g === phi) solver.solveAny(x);
            else solver.solve(x);
            point.gaussNewtonProduct(x, r);
            let [rest, size] = [0, 0];
            for (let i = 0; i < P; i++) {
              rest += (g[i] - r[i] - eps * x[i]) ** 2;
              size += g[i] ** 2;
            }
            // Refined to 1e-8; in float64 unrefined, 1e-16 |G| / eps.
            expect(Math.sqrt(rest / size), `eps ${eps}`).to.be.below(Math.max(1.1e-8, 1e-14 / eps));
          }
        }
        y.set(phi);
        x.set(phi);
        carry(mixed, point, phi, 0.5, x);
        carry(double, point, phi, 0.5, y);
        for (let i = 0; i < P; i++) expect(x[i]).to.be.closeTo(y[i], 1e-6 * Math.max(1, 1e-8 / eps));
      }
    }
  });

  it('mixed Gauss-Newton reaches what float64 reaches, far below the digits of float32', () => {
    const few = network.batch({ inputs: inputs.subarray(0, 30), targets: new Random(5).normals(new Float64Array(20)) });
    const end = (precision: 'mixed' | 'float64', samples: number): number => {
      const params = network.initialize({ seed: 2 });
      const optimizer = createGaussNewton(network, { precision });
      let least = Infinity;
      for (let k = 0; k < 60; k++) {
        // Another batch size in between: the memory is sized anew.
        if (k === 3 && samples > 0) optimizer.step(params, batch);
        else least = Math.min(least, optimizer.step(params, few).loss);
      }
      optimizer.dispose?.();
      return least;
    };
    for (const samples of [0, 1]) {
      expect(end('float64', samples)).to.be.below(1e-24);
      expect(end('mixed', samples)).to.be.below(1e-24);
    }
  });
});
