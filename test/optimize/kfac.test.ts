import { expect } from 'chai';
import { Network } from '../../ts/derivatives/network.js';
import { DeepHessianError } from '../../ts/errors.js';
import { cg } from '../../ts/linalg/cg.js';
import { fromFunction } from '../../ts/linalg/linear-operator.js';
import type { LayerSpec } from '../../ts/network/layers.js';
import { BackpropagatedRows } from '../../ts/optimize/backpropagated-rows.js';
import { createEkfac } from '../../ts/optimize/ekfac.js';
import { createKfac, type KfacOptions } from '../../ts/optimize/kfac.js';
import { kroneckerInverse, KroneckerFactors, KroneckerInverse } from '../../ts/optimize/kronecker.js';
import { Random } from '../../ts/random.js';
import { maximumError, problem, randomBatch, type TargetKind } from '../helpers/problems.js';
import { tanhLayer } from '../helpers/smooth-layers.js';
import { denseSolve, norm, relativeError } from '../linalg/helpers.js';
import { smallProblem } from './first-order-problem.js';

/** A dense network on random data, with a prepared batch. */
function setting(options: {
  kind?: TargetKind;
  layers?: LayerSpec[];
  samples?: number;
  weighted?: boolean;
  l2?: number;
  inputs?: number;
}) {
  const { network, params, data } = problem({ samples: 9, ...options });
  return { network, params, batch: network.batch(data) };
}

/** sum over rows of z~ z~^T (x) d d^T, layer blocks of G in the parameters' own order. */
function blocksFromRows(
  network: Network,
  params: Float64Array,
  batch: ReturnType<Network['batch']>,
  memory?: number,
): Float64Array {
  const P = network.parameterCount;
  const G = new Float64Array(P * P);
  const point = network.linearize(params, batch);
  new BackpropagatedRows(network, memory).run(point, 'exact', null, (layer, d, rows, start, count) => {
    const { inputs, units, weightOffset, biasOffset } = layer.layer;
    const indices: number[] = [];
    const row = new Float64Array(P);
    for (let r = 0; r < rows; r++) {
      const n = start + (r % count);
      indices.length = 0;
      for (let j = 0; j < units; j++) {
        for (let i = 0; i < inputs; i++) {
          row[weightOffset + j * inputs + i] = d[r + j * rows] * layer.input[i * batch.samples + n];
          indices.push(weightOffset + j * inputs + i);
        }
        if (biasOffset >= 0) {
          row[biasOffset + j] = d[r + j * rows];
          indices.push(biasOffset + j);
        }
      }
      for (const i of indices) for (const j of indices) G[i + j * P] += row[i] * row[j];
    }
  });
  return G;
}

describe('backpropagated rows', () => {
  for (const kind of ['classes', 'soft', 'mse', 'binary'] as const) {
    it(`${kind}: the diagonal blocks of the Gauss-Newton matrix`, () => {
      const { network, params, batch } = setting({ kind, weighted: true });
      const dense = network.linearize(params, batch).denseGaussNewton();
      const P = network.parameterCount;
      const rows = blocksFromRows(network, params, batch);
      for (const { parameterOffset: o, parameterCount: p } of network.layers) {
        for (let j = o; j < o + p; j++) {
          // sums of a few products of numbers of size one
          const want = dense.subarray(j * P + o, j * P + o + p);
          expect(maximumError(rows.subarray(j * P + o, j * P + o + p), want)).below(1e-12);
        }
      }
    });
  }

  it('chunks of samples add up to the whole', () => {
    const { network, params, batch } = setting({ weighted: true, samples: 23 });
    const whole = blocksFromRows(network, params, batch);
    // room for one sample (2 rows of 4), for two, and for all but one
    for (const memory of [1, 17, 8 * 22]) {
      // the same products, summed in another order
      expect(maximumError(blocksFromRows(network, params, batch, memory), whole)).below(1e-14);
    }
  });

  it('sampled scores have the output Hessian as second moment', () => {
    for (const kind of ['classes', 'mse', 'binary'] as const) {
      const { network, params, batch } = setting({
        kind,
        samples: 2,
        layers: [{ type: 'dense', units: 3, activation: 'identity' }],
      });
      const point = network.linearize(params, batch);
      const rows = new BackpropagatedRows(network);
      const moment = new Float64Array(2 * 9);
      const draws = 20000;
      const random = new Random(3);
      for (let t = 0; t < draws; t++) {
        rows.run(point, 'sampled', random, (_layer, d, count) => {
          for (let n = 0; n < 2; n++)
            for (let i = 0; i < 3; i++)
              for (let j = 0; j < 3; j++) moment[n * 9 + 3 * i + j] += (d[n + i * count] * d[n + j * count]) / draws;
        });
      }
      for (let n = 0; n < 2; n++) {
        for (let j = 0; j < 3; j++) {
          const unit = new Float64Array(6);
          unit[j * 2 + n] = 1;
          const column = new Float64Array(6);
          point.applyOutputHessian(unit, column);
          // entries are at most 0.4; their Monte-Carlo deviation is below 0.4 sqrt(2 / 20000) = 0.004
          for (let i = 0; i < 3; i++) expect(moment[n * 9 + 3 * i + j]).closeTo(column[i * 2 + n], 0.02);
        }
      }
    }
  });
});

describe('kronecker factors', () => {
  it('one linear layer with squared loss: the exact (G + lambda I)^-1 where the damping is split evenly', () => {
    for (const weighted of [false, true]) {
      const { network, params, batch } = setting({
        kind: 'mse',
        samples: 12,
        weighted,
        layers: [{ type: 'dense', units: 3, activation: 'identity' }],
      });
      const point = network.linearize(params, batch);
      const factors = new KroneckerFactors('test', network, 'exact', 0, 0.95);
      factors.update(point);
      const inverse = new KroneckerInverse(factors);
      const P = network.parameterCount;
      const v = new Random(2).normals(new Float64Array(P));
      const out = new Float64Array(P);
      // G's output factor is c I, so A (x) G is exact; a damping of 1e-9 of it is below its effect on an inverse of condition 1e2
      inverse.invert(1e-18);
      inverse.apply(v, out);
      const exact = denseSolve(point.denseGaussNewton(), v);
      expect(relativeError(out, exact)).below(1e-7);
    }
  });

  it('running averages: the mean of the first updates, then exponential', () => {
    const { network, params, batch } = setting({ kind: 'mse', samples: 4 });
    const other = network.batch(randomBatch(new Random(4), 6, network.inputs, network.outputs, 'mse'));
    const separate = [batch, other].map((b) => {
      const factors = new KroneckerFactors('test', network, 'exact', 0, 0.7);
      factors.update(network.linearize(params, b));
      return { a: factors.a.slice(), g: factors.g.slice() };
    });
    const both = new KroneckerFactors('test', network, 'exact', 0, 0.7);
    both.update(network.linearize(params, batch));
    both.update(network.linearize(params, other));
    for (const name of ['a', 'g'] as const) {
      const mean = separate[0][name].map((value, i) => 0.5 * (value + separate[1][name][i]));
      expect(maximumError(both[name], mean)).below(1e-14);
    }
    both.update(network.linearize(params, other));
    both.update(network.linearize(params, other));
    // weights of the first batch: 1/2 (k = 2), 1 - 1/3 (k = 3), then min(1 - 1/4, 0.7) = 0.7
    const w = (0.5 * 2 * 0.7) / 3;
    // the first layer's inputs are data: the plain mean, up to a weight of the past of 0.99
    const data = both.places[1].aOffset;
    const expected = separate[0].a.map((value, i) => {
      const weight = i < data ? 1 / 4 : w;
      return weight * value + (1 - weight) * separate[1].a[i];
    });
    expect(maximumError(both.a, expected)).below(1e-13);
  });

  it("the first layer's input factor settles: updated and inverted less often, the others as before", () => {
    const { network, params, batch } = setting({ kind: 'mse', samples: 4 });
    const point = network.linearize(params, batch);
    const factors = new KroneckerFactors('test', network, 'exact', 0, 0.95);
    for (let k = 0; k < 40; k++) factors.update(point);
    expect(factors.dataUpdates).to.equal(25); // the first twenty, then every fourth
    const inverse = new KroneckerInverse(factors);
    const data = factors.places[1].aOffset;
    const parts = (): [string, string] => [inverse.a.slice(0, data).join(), inverse.a.slice(data).join()];
    inverse.invert(0.1);
    const [first, rest] = parts();
    inverse.invert(0.12); // a damping of its root is 10 % more
    const [firstLittle, restLittle] = parts();
    expect(firstLittle).to.equal(first);
    expect(restLittle).not.to.equal(rest);
    inverse.invert(0.2); // and 41 %
    const [firstMuch] = parts();
    expect(firstMuch).not.to.equal(first);
    for (let k = 0; k < 24; k++) factors.update(network.linearize(params, batch));
    inverse.invert(0.2);
    expect(inverse.dataUpdates, 'after a fifth more updates').to.equal(31);
  });

  it('factored damping: the inverse of (A + pi gamma I) (x) (G + gamma / pi I), symmetric positive definite', () => {
    const { network, params, batch } = setting({ l2: 0.01 });
    const factors = new KroneckerFactors('test', network, 'exact', 0, 0.95);
    factors.update(network.linearize(params, batch));
    const inverse = new KroneckerInverse(factors);
    inverse.invert(0.1);
    const P = network.parameterCount;
    const random = new Random(3);
    const [u, v] = [random.normals(new Float64Array(P)), random.normals(new Float64Array(P))];
    const [mu, mv] = [new Float64Array(P), new Float64Array(P)];
    inverse.apply(u, mu);
    inverse.apply(v, mv);
    const dot = (x: Float64Array, y: Float64Array): number => x.reduce((sum, value, i) => sum + value * y[i], 0);
    expect(dot(u, mv)).closeTo(dot(v, mu), 1e-12 * norm(u) * norm(mv));
    expect(dot(u, mu)).above(0);
    // The product of the two damped factors contains lambda + L2 = 0.11 itself, so no eigenvalue of the inverse exceeds 1 / 0.11.
    expect(norm(mu)).at.most(norm(u) / 0.11);
  });
});

describe('kroneckerInverse', () => {
  it('preconditions CG on G + lambda I where inputs are of very different size', () => {
    const { network, params, data } = problem({
      samples: 40,
      kind: 'mse',
      layers: [{ type: 'dense', units: 3, activation: 'softplus' }],
    });
    for (let i = 0; i < data.inputs.length; i++) data.inputs[i] *= [0.01, 1, 30][i % 3];
    const point = network.linearize(params, data);
    const operator = fromFunction(
      network.parameterCount,
      (v, out) => {
        point.gaussNewtonProduct(v, out);
        for (let i = 0; i < v.length; i++) out[i] += 1e-4 * v[i];
      },
      { symmetric: true, definiteness: 'positive-definite' },
    );
    const plain = cg(operator, point.gradient, { tolerance: 1e-8 });
    const preconditioner = kroneckerInverse(point, { damping: 1e-4 });
    const better = cg(operator, point.gradient, { tolerance: 1e-8, preconditioner });
    expect(better.status).equal('converged');
    expect(better.iterations).below(0.7 * plain.iterations);
    expect(relativeError(better.x, plain.x)).below(1e-3);
    expect(() => kroneckerInverse(point, { damping: 0 })).throw(RangeError, 'damping');
  });
});

const makers = [
  ['kfac', createKfac],
  ['ekfac', createEkfac],
] as const;

for (const [name, create] of makers) {
  describe(name, () => {
    it('one linear layer with squared loss: the first step is a Gauss-Newton step', () => {
      const { network, params, batch } = setting({
        kind: 'mse',
        samples: 20,
        layers: [{ type: 'dense', units: 3, activation: 'identity' }],
      });
      const optimizer = create(network, { fisher: 'exact', damping: 1e-12, adaptInterval: 1 });
      optimizer.step(params, batch);
      expect(norm(network.linearize(params, batch).gradient)).below(1e-5);
    });

    it('the loss of a fixed batch falls with every measured step', () => {
      const { network, params, batch } = smallProblem();
      const optimizer = create(network, { adaptInterval: 1, inverseInterval: 3, factorInterval: 2, dampingDecay: 0.8 });
      let loss = Infinity;
      for (let t = 0; t < 60; t++) {
        const report = optimizer.step(params, batch);
        expect(report.loss).at.most(loss * (1 + 1e-13));
        loss = report.loss;
      }
      expect(loss).below(1e-4);
    });

    it('learns from a stream of batches, in both ways of scaling the step', () => {
      const truth = problem({ samples: 1, kind: 'mse', seed: 12 });
      const { network } = truth;
      const random = new Random(5);
      const next = () => {
        const inputs = random.normals(new Float64Array(64 * network.inputs));
        return network.batch({ inputs, targets: network.forward(truth.params, inputs) });
      };
      const test = next();
      const variants: KfacOptions[] = [{}, { rescaling: 'clip', rate: 0.1, damping: 1e-2, klClip: 1e-2 }];
      for (const options of variants) {
        const params = network.initialize({ seed: 1 });
        const before = network.evaluate(params, test).loss;
        const optimizer = create(network, { ...options, factorInterval: 1, inverseInterval: 5 });
        for (let t = 0; t < 150; t++) optimizer.step(params, next());
        expect(network.evaluate(params, test).loss).below(0.05 * before);
      }
    });

    it('resumes with the same bits, in the middle of an interval', () => {
      for (const options of [{}, { fisher: 'exact', adaptGamma: true }, { rescaling: 'clip' }] as KfacOptions[]) {
        const { network, params, batch } = smallProblem();
        const settings = { ...options, factorInterval: 4, inverseInterval: 7, adaptInterval: 3 };
        const optimizer = create(network, settings);
        for (let t = 0; t < 17; t++) optimizer.step(params, batch);
        const state = structuredClone(optimizer.state());
        const resumed = params.slice();
        const other = create(network, settings);
        other.restore(state);
        for (let t = 0; t < 12; t++) expect(other.step(resumed, batch)).deep.equal(optimizer.step(params, batch));
        expect([...resumed]).deep.equal([...params]);
      }
    });

    it('a residual network with weights and L2 trains; batches may change their size', () => {
      const { network, params, data } = problem({ weighted: true, l2: 1e-3, samples: 20 });
      const batch = network.batch(data);
      const part = network.batch({
        inputs: data.inputs.slice(0, 12 * network.inputs),
        targets: data.targets.slice(0, 12),
        weights: data.weights!.slice(0, 12),
      });
      const optimizer = create(network, { adaptInterval: 1 });
      const before = network.evaluate(params, batch).loss;
      for (let t = 0; t < 60; t++) optimizer.step(params, t % 5 === 4 ? part : batch);
      expect(network.evaluate(params, batch).loss).below(0.7 * before);
    });

    it('refuses custom layers by name of what would work', () => {
      const network = new Network({
        inputs: 3,
        loss: 'mse',
        layers: [
          { type: 'custom', layer: tanhLayer(3, 2) },
          { type: 'dense', units: 1, activation: 'identity' },
        ],
      });
      expect(() => create(network)).throw(DeepHessianError, 'custom layer');
    });

    it('refuses hostile options and states', () => {
      const { network } = smallProblem();
      for (const [options, message] of [
        [{ damping: 0 }, 'damping'],
        [{ factorInterval: 0 }, 'factorInterval'],
        [{ decay: 1 }, 'decay'],
        [{ fisher: 'empirical' }, 'fisher'],
        [{ rescaling: 'none' }, 'rescaling'],
        [{ minimumDamping: 2, maximumDamping: 1 }, 'minimumDamping'],
        [{ lr: 1 }, "unknown option 'lr'"],
      ] as const) {
        expect(() => create(network, options as object), message).throw(RangeError, message);
      }
      expect(() => create(network, { rate: 0.1 })).throw(RangeError, 'rate');
      const optimizer = create(network);
      const state = optimizer.state();
      expect(() => optimizer.restore({ ...state, scalars: { ...state.scalars, lambda: -1 } })).throw(
        RangeError,
        'lambda',
      );
      expect(() => optimizer.restore({ ...state, vectors: {} })).throw(TypeError);
    });
  });
}
