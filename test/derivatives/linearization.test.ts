import { expect } from 'chai';
import { DeepHessianError } from '../../ts/errors.js';
import type { LayerSpec } from '../../ts/network/index.js';
import { Random } from '../../ts/random.js';
import { dot, maximumError, problem, randomBatch, targetKinds, times } from '../helpers/problems.js';
import { gatedLayer } from '../helpers/smooth-layers.js';

const mixedLayers: LayerSpec[] = [
  { type: 'residual', units: 3, activation: 'sine' },
  { type: 'dense', units: 5, activation: 'gelu' },
  { type: 'residual', units: 5, activation: 'identity' },
  { type: 'custom', layer: gatedLayer(5, 4) },
  { type: 'residual', units: 4, activation: 'relu', bias: false },
  { type: 'dense', units: 3, activation: 'sigmoid' },
];

describe('Linearization', () => {
  for (const kind of targetKinds) {
    it(`${kind}: symmetric, equal to its dense form, also through custom, linear residual and activated last layers`, () => {
      const { network, params, data, random } = problem({
        kind,
        layers: mixedLayers,
        weighted: true,
        l2: 0.05,
        samples: 4,
      });
      const point = network.linearize(params, data);
      const v = random.normals(new Float64Array(params.length));
      const w = random.normals(new Float64Array(params.length));
      const hv = point.hessianProduct(v);
      const hw = point.hessianProduct(w);
      // Both sides are sums of P products of size |v||H||w|: 1e-12 of that is P eps with room.
      const scale = Math.sqrt(dot(v, v) * dot(hw, hw));
      expect(Math.abs(dot(w, hv) - dot(v, hw))).to.be.below(1e-12 * scale);
      expect(maximumError(hv, times(point.denseHessian(), v))).to.be.below(1e-12);
      expect(maximumError(point.gaussNewtonProduct(v), times(point.denseGaussNewton(), v))).to.be.below(1e-12);
      expect(maximumError(point.hessianProduct(v), hv)).to.equal(0);
    });
  }

  it('several columns at once equal single products', () => {
    const { network, params, data, random } = problem({ layers: mixedLayers, l2: 0.1 });
    const point = network.linearize(params, data);
    const p = params.length;
    const v = random.normals(new Float64Array(3 * p));
    const hessian = point.hessianProducts(v, 3);
    const gaussNewton = point.gaussNewtonProducts(v, 3);
    for (let j = 0; j < 3; j++) {
      const column = v.slice(j * p, (j + 1) * p);
      // The batched product may add in another order: rounding of sums of a few tens of terms.
      expect(maximumError(hessian.slice(j * p, (j + 1) * p), point.hessianProduct(column))).to.be.below(1e-13);
      expect(maximumError(gaussNewton.slice(j * p, (j + 1) * p), point.gaussNewtonProduct(column))).to.be.below(1e-13);
    }
  });

  it('is the average over the batch of the true Hessians of its samples', () => {
    const { network, params, data } = problem({ kind: 'classes', samples: 3 });
    const whole = network.linearize(params, data);
    const targets = data.targets as Int32Array;
    const mean = { loss: 0, gradient: new Float64Array(params.length), hessian: new Float64Array(params.length ** 2) };
    for (let n = 0; n < 3; n++) {
      const one = network.linearize(params, {
        inputs: data.inputs.slice(3 * n, 3 * n + 3),
        targets: targets.slice(n, n + 1),
      });
      mean.loss += one.loss / 3;
      one.gradient.forEach((value, i) => (mean.gradient[i] += value / 3));
      one.denseHessian().forEach((value, i) => (mean.hessian[i] += value / 3));
    }
    expect(whole.loss).to.be.closeTo(mean.loss, 1e-14);
    expect(maximumError(whole.gradient, mean.gradient)).to.be.below(1e-13);
    expect(maximumError(whole.denseHessian(), mean.hessian)).to.be.below(1e-13);
  });

  it('sample weights multiply samples; L2 adds l2_l to the diagonal of layer l', () => {
    const plain = problem({ kind: 'mse', samples: 3 });
    const { params, data } = plain;
    const weighted = plain.network.linearize(params, { ...data, weights: Float64Array.of(0, 3, 0) });
    const values = data.targets as Float64Array;
    const alone = plain.network.linearize(params, { inputs: data.inputs.slice(3, 6), targets: values.slice(3, 6) });
    expect(weighted.loss).to.be.closeTo(alone.loss, 1e-14);
    expect(maximumError(weighted.denseHessian(), alone.denseHessian())).to.be.below(1e-13);

    const l2 = [0.5, 0.25, 2];
    const penalised = problem({ kind: 'mse', samples: 3, l2 }).network;
    const difference = penalised.linearize(params, data).denseHessian();
    plain.network
      .linearize(params, data)
      .denseHessian()
      .forEach((value, i) => (difference[i] -= value));
    const expected = new Float64Array(difference.length);
    for (const layer of penalised.layers) {
      for (let i = 0; i < layer.parameterCount; i++)
        expected[(layer.parameterOffset + i) * (params.length + 1)] = l2[layer.index];
    }
    expect(maximumError(difference, expected)).to.be.below(1e-14);
  });

  it('a linear model with mean squared error has H = G', () => {
    const layers: LayerSpec[] = [{ type: 'dense', units: 3, activation: 'identity' }];
    const { network, params, data } = problem({ kind: 'mse', layers, samples: 5 });
    const point = network.linearize(params, data);
    expect(maximumError(point.denseHessian(), point.denseGaussNewton())).to.be.below(1e-14);
  });

  it('keeps its own parameters and owns its arrays: two points of one network do not disturb each other', () => {
    const { network, params, data, random } = problem({});
    const v = random.normals(new Float64Array(params.length));
    const first = network.linearize(params, data);
    const before = [first.gradient.slice(), first.hessianProduct(v), first.outputs.slice()];
    const start = params.slice();
    params.fill(0.1);
    const other = randomBatch(new Random(99), 5, 3, 3, 'classes');
    const second = network.linearize(params, other);
    second.hessianProduct(v);
    network.lossAndGradient(params, network.batch(other), new Float64Array(params.length));
    expect(Array.from(first.params)).to.deep.equal(Array.from(start));
    expect(Array.from(first.gradient)).to.deep.equal(Array.from(before[0]));
    expect(Array.from(first.hessianProduct(v))).to.deep.equal(Array.from(before[1]));
    expect(Array.from(first.outputs)).to.deep.equal(Array.from(before[2]));
  });

  it('reuse takes the arrays over, gives the same bits, and refuses any use of the old point', () => {
    const { network, params, data, random } = problem({ layers: mixedLayers, kind: 'soft' });
    const v = random.normals(new Float64Array(params.length));
    const moved = params.map((value) => value + 0.1);
    const other = randomBatch(random, 3, 3, 3, 'soft');
    const fresh = network.linearize(moved, other);
    const old = network.linearize(params, data);
    const { gradient } = old;
    old.hessianProduct(v);
    const reused = network.linearize(moved, other, { reuse: old });
    expect(reused.gradient).to.equal(gradient);
    expect(Array.from(reused.gradient)).to.deep.equal(Array.from(fresh.gradient));
    expect(Array.from(reused.hessianProduct(v))).to.deep.equal(Array.from(fresh.hessianProduct(v)));
    expect(Array.from(reused.outputs)).to.deep.equal(Array.from(fresh.outputs));
    expect(() => old.gradient).to.throw(DeepHessianError, /taken over/);
    expect(() => old.hessianProduct(v)).to.throw(DeepHessianError, /taken over/);
    // Another number of samples: nothing to take over, the old point stays alive.
    const smaller = network.linearize(params, randomBatch(random, 2, 3, 3, 'soft'), { reuse: reused });
    expect(smaller.samples).to.equal(2);
    expect(reused.gradient.length).to.equal(params.length);
  });

  it('a prepared and a raw batch give the same bits; the outputs agree with forward', () => {
    const { network, params, data } = problem({ kind: 'binary', weighted: true });
    const raw = network.linearize(params, data);
    const prepared = network.linearize(params, network.batch(data));
    expect(Array.from(prepared.gradient)).to.deep.equal(Array.from(raw.gradient));
    expect(maximumError(raw.outputs, network.forward(params, data.inputs))).to.be.below(1e-15);
  });

  it('runs N = 1 through 600 layers', () => {
    const layers: LayerSpec[] = Array.from({ length: 600 }, () => ({ type: 'dense', units: 4, activation: 'tanh' }));
    const { network, params, data, random } = problem({ layers, inputs: 4, samples: 1 });
    const point = network.linearize(params, data);
    const v = random.normals(new Float64Array(params.length));
    const w = random.normals(new Float64Array(params.length));
    const hw = point.hessianProduct(w);
    const bound = 1e-12 * Math.sqrt(dot(v, v) * dot(hw, hw));
    expect(Math.abs(dot(w, point.hessianProduct(v)) - dot(v, hw))).to.be.below(bound);
    expect(dot(hw, hw)).to.be.above(0);
  });

  it('stays finite at |s| = 1e4 in every loss', () => {
    for (const kind of targetKinds) {
      const { network, params, data, random } = problem({ kind, activation: 'softplus' });
      params.forEach((value, i) => (params[i] = value * 1e4));
      const point = network.linearize(params, data);
      const v = random.normals(new Float64Array(params.length));
      expect(Math.max(...point.outputs.map(Math.abs)), kind).to.be.above(1e4);
      expect(Number.isFinite(point.loss), kind).to.equal(true);
      expect(point.gradient.every(Number.isFinite), kind).to.equal(true);
      expect(point.hessianProduct(v).every(Number.isFinite), kind).to.equal(true);
    }
  });

  it('refuses bad arguments by name, expectation and value', () => {
    const { network, params, data } = problem({});
    const point = network.linearize(params, data);
    const p = params.length;
    const bad = params.slice();
    bad[5] = NaN;
    expect(() => network.linearize(params.slice(1), data)).to.throw(
      RangeError,
      `Network.linearize: expected a Float64Array of length ${p} for params, received Float64Array of length ${p - 1}`,
    );
    expect(() => network.linearize(bad, data)).to.throw(
      RangeError,
      'expected a finite number for params[5], received NaN',
    );
    expect(() => network.linearize([] as never, data)).to.throw(TypeError, 'for params, received array of length 0');
    expect(() => network.linearize(params, null as never)).to.throw(TypeError, 'an object for batch, received null');
    expect(() => network.linearize(params, data, { reuse: {} as never })).to.throw(
      TypeError,
      'a Linearization for options.reuse',
    );
    expect(() => network.linearize(params, data, { again: 1 } as never)).to.throw(RangeError, "unknown option 'again'");
    const foreign = problem({ kind: 'mse' });
    expect(() => network.linearize(params, foreign.network.batch(foreign.data))).to.throw(
      RangeError,
      `a batch prepared for the loss 'cross-entropy' for batch, received "mse"`,
    );
    expect(() => network.linearize(params, { ...network.batch(data), samples: 2 })).to.throw(
      RangeError,
      'batch.inputs',
    );
    expect(() => point.hessianProduct(new Float64Array(p - 1))).to.throw(RangeError, `length ${p} for v`);
    expect(() => point.hessianProduct(bad)).to.throw(RangeError, 'v[5]');
    expect(() => point.hessianProduct(params, new Float64Array(1))).to.throw(RangeError, `length ${p} for out`);
    expect(() => point.hessianProduct(params, params)).to.throw(RangeError, 'an array other than v for out');
    expect(() => point.hessianProducts(params, 0)).to.throw(RangeError, 'an integer >= 1 for m, received 0');
    expect(() => point.layerBlocks(3)).to.throw(RangeError, 'a layer index from 0 to 2 for index, received 3');
    expect(() => point.applyOutputHessian(new Float64Array(1), new Float64Array(9))).to.throw(RangeError, 'for s');
  });

  it('refuses a dense matrix that cannot fit, with the figures', () => {
    const { network, params, data } = problem({
      inputs: 1000,
      samples: 1,
      layers: [
        { type: 'dense', units: 2000, activation: 'tanh' },
        { type: 'dense', units: 2, activation: 'identity' },
      ],
    });
    const point = network.linearize(params, data);
    expect(() => point.denseGaussNewton())
      .to.throw(DeepHessianError)
      .with.property('code', 'out-of-memory');
    expect(() => point.layerBlocks(0)).to.throw(DeepHessianError, /the dense blocks of layers\[0\] needs/);
    expect(() => point.denseHessian())
      .to.throw(DeepHessianError, /needs 32\d{3}\.\d\d GB/)
      .with.property('code', 'out-of-memory');
  });
});
