import { expect } from 'chai';
import { Network } from '../../ts/derivatives/index.js';
import { kroneckerOperator } from '../../ts/optimize/kronecker.js';
import { Random } from '../../ts/random.js';
import { relativeError } from '../helpers/golden.js';

describe('Kronecker-factored operator', () => {
  it('is the Gauss-Newton matrix for one sample and one layer, with its L2', () => {
    for (const loss of ['mse', 'cross-entropy'] as const) {
      const network = new Network({
        inputs: 4,
        loss,
        l2: 0.03,
        layers: [{ type: 'dense', units: 3, activation: 'identity' }],
      });
      const random = new Random(2);
      const inputs = random.normals(new Float64Array(4));
      const targets = loss === 'mse' ? random.normals(new Float64Array(3)) : [1];
      const point = network.linearize(random.normals(new Float64Array(network.parameterCount)), { inputs, targets });
      // two factors and their product: a few roundings
      expect(relativeError(kroneckerOperator(point).toDense(), point.denseGaussNewton())).to.be.below(1e-13);
    }
  });

  it('is symmetric, positive semidefinite and block diagonal over the layers', () => {
    const network = new Network({
      inputs: 3,
      loss: 'mse',
      layers: [
        { type: 'dense', units: 4, activation: 'tanh' },
        { type: 'dense', units: 2, activation: 'identity', bias: false },
      ],
    });
    const random = new Random(7);
    const P = network.parameterCount;
    const point = network.linearize(random.normals(new Float64Array(P)), {
      inputs: random.normals(new Float64Array(15)),
      targets: random.normals(new Float64Array(10)),
    });
    const dense = kroneckerOperator(point).toDense();
    const first = network.layers[0].parameterCount;
    for (let i = 0; i < P; i++) {
      expect(dense[i * (P + 1)]).to.be.at.least(0);
      for (let j = 0; j < i; j++) {
        expect(Math.abs(dense[i * P + j] - dense[j * P + i])).to.be.below(1e-14);
        if (j < first && i >= first) expect(dense[i * P + j]).to.equal(0);
      }
    }
  });
});
