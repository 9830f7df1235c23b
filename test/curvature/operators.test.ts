import { expect } from 'chai';
import {
  fisherOperator,
  gaussNewtonOperator,
  hessianOperator,
  inertia,
  inverseOperator,
} from '../../ts/curvature/index.js';
import { Linearization, Network } from '../../ts/derivatives/index.js';
import { factor } from '../../ts/inverse/index.js';
import { minres } from '../../ts/linalg/minres.js';
import { shifted } from '../../ts/linalg/operator-algebra.js';
import { Random } from '../../ts/random.js';
import { maximumError, problem, targetKinds } from '../helpers/problems.js';
import { randomPoint, someShapes } from './helpers.js';

describe('curvature operators', () => {
  it('take the point of another copy of the library, as factor does', () => {
    const point = randomPoint(someShapes[9]);
    const prototype = Object.create(
      Object.prototype,
      Object.getOwnPropertyDescriptors(Linearization.prototype),
    ) as object;
    const foreign = Object.create(prototype, Object.getOwnPropertyDescriptors(point)) as Linearization;
    expect(foreign).to.not.be.instanceOf(Linearization);
    const x = new Random(3).normals(new Float64Array(point.network.parameterCount));
    expect(hessianOperator(foreign).apply(x)).to.deep.equal(hessianOperator(point).apply(x));
    expect(inertia(foreign, 0.1)).to.deep.equal(inertia(point, 0.1));
    const { inertia: signs } = factor(foreign, { damping: 0.1 });
    expect(signs.negative).to.equal(inertia(point, 0.1).negative);
  });

  it('Hessian and Gauss-Newton equal their dense matrices, one vector or many', () => {
    for (const shape of someShapes.filter((_, i) => i % 6 === 0)) {
      const point = randomPoint(shape);
      const P = point.network.parameterCount;
      for (const [operator, dense] of [
        [hessianOperator(point), point.denseHessian()],
        [gaussNewtonOperator(point), point.denseGaussNewton()],
      ] as const) {
        expect(operator.symmetric).to.equal(true);
        expect(maximumError(operator.toDense(), dense)).to.be.below(1e-13);
        const x = new Random(1).normals(new Float64Array(3 * P));
        const many = operator.applyMany(x, 3);
        for (let c = 0; c < 3; c++) {
          const one = operator.apply(x.slice(c * P, (c + 1) * P));
          expect(maximumError(many.subarray(c * P, (c + 1) * P), one)).to.be.below(1e-12);
        }
      }
    }
  });

  it('the inverse of a factor undoes the shifted operator, and preconditions', () => {
    const point = randomPoint(someShapes[9]);
    const P = point.network.parameterCount;
    const inverse = inverseOperator(factor(point, { damping: 0.2 }));
    const b = new Random(2).normals(new Float64Array(P));
    const back = shifted(hessianOperator(point), 0.2).apply(inverse.apply(b));
    expect(maximumError(back, b)).to.be.below(1e-9);
    const two = inverse.applyMany(Float64Array.of(...b, ...b), 2);
    expect(maximumError(two.subarray(P), inverse.apply(b))).to.be.below(1e-9);
    // a definite preconditioner: the exact inverse of G + eps I
    const preconditioner = inverseOperator(factor(point, { damping: 0.2, matrix: 'gauss-newton' }));
    expect(preconditioner.definiteness).to.equal('positive-definite');
    const run = minres(shifted(gaussNewtonOperator(point), 0.2), b, { preconditioner, tolerance: 1e-10 });
    expect(run.iterations).to.be.at.most(3);
  });
});

describe('Fisher operators', () => {
  for (const kind of targetKinds) {
    for (const weighted of [false, true]) {
      it(`${kind}${weighted ? ', weighted' : ''}: exact is G; sampled labels average to it`, () => {
        const { network, params, data } = problem({ kind, weighted, l2: 0.01, samples: 4 });
        const point = network.linearize(params, data);
        const G = point.denseGaussNewton();
        expect(maximumError(fisherOperator(point).toDense(), G)).to.be.below(1e-12);
        // 3000 draws: entries scatter by 1/sqrt(3000) of the largest single product, a few per cent of the largest entry
        const draws = 3000;
        const sampled = fisherOperator(point, { kind: 'monte-carlo', draws, seed: 4 }).toDense();
        expect(maximumError(sampled, G)).to.be.below(0.12);
        expect(maximumError(sampled, G)).to.be.greaterThan(1e-6);
        const again = fisherOperator(point, { kind: 'monte-carlo', draws: 2, seed: 4 });
        const v = new Random(3).normals(new Float64Array(network.parameterCount));
        expect([...again.apply(v)]).to.deep.equal([
          ...fisherOperator(point, { kind: 'monte-carlo', draws: 2, seed: 4 }).apply(v),
        ]);
      });
    }
  }

  it('empirical: the average of outer products of single-sample gradients', () => {
    for (const kind of ['mse', 'classes'] as const) {
      const { network, params, data } = problem({ kind, weighted: true, samples: 5 });
      const point = network.linearize(params, data);
      const P = network.parameterCount;
      const expected = new Float64Array(P * P);
      for (let n = 0; n < 5; n++) {
        const K = network.outputs;
        const inputs = data.inputs.slice(n * 3, (n + 1) * 3);
        const targets =
          kind === 'classes' ? [data.targets[n]] : Float64Array.from(data.targets).slice(n * K, (n + 1) * K);
        const g = network.linearize(params, { inputs, targets }).gradient;
        for (let j = 0; j < P; j++)
          for (let i = 0; i < P; i++) expected[j * P + i] += (data.weights![n] / 5) * g[i] * g[j];
      }
      expect(maximumError(fisherOperator(point, { kind: 'empirical' }).toDense(), expected)).to.be.below(1e-12);
    }
  });

  it('names what is wrong', () => {
    const { network, params, data } = problem();
    const point = network.linearize(params, data);
    expect(() => fisherOperator(point, { kind: 'true' as never })).to.throw(RangeError, /kind/);
    expect(() => fisherOperator(point, { draws: 0 })).to.throw(RangeError, /draws/);
    expect(() =>
      hessianOperator(
        new Network({ inputs: 1, loss: 'mse', layers: [{ type: 'dense', units: 1, activation: 'tanh' }] }) as never,
      ),
    ).to.throw(TypeError, /point/);
    expect(() => inverseOperator({} as never)).to.throw(TypeError, /factor/);
  });
});
