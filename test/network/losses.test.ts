import { expect } from 'chai';
import { Network } from '../../ts/derivatives/index.js';
import type { BatchData, LossName } from '../../ts/network/index.js';

/** A network whose parameters are its outputs: one linear layer without bias, one sample with the input 1. */
function at(loss: LossName, outputs: number[], targets: BatchData['targets']): ReturnType<Network['linearize']> {
  const network = new Network({
    inputs: 1,
    loss,
    layers: [{ type: 'dense', units: outputs.length, activation: 'identity', bias: false }],
  });
  return network.linearize(Float64Array.from(outputs), { inputs: Float64Array.of(1), targets });
}

describe('losses', () => {
  it('cross-entropy: values by hand, hard and soft', () => {
    const s = [0.2, -0.5, 1.1];
    const total = s.reduce((sum, value) => sum + Math.exp(value), 0);
    const p = s.map((value) => Math.exp(value) / total);
    const hard = at('cross-entropy', s, [1]);
    expect(hard.loss).to.be.closeTo(-Math.log(p[1]), 1e-15);
    hard.gradient.forEach((value, k) => expect(value).to.be.closeTo(p[k] - (k === 1 ? 1 : 0), 1e-15));
    const t = [0.25, 0.5, 0.25];
    const soft = at('cross-entropy', s, Float64Array.from(t));
    expect(soft.loss).to.be.closeTo(-t.reduce((sum, value, k) => sum + value * Math.log(p[k]), 0), 1e-15);
    soft.gradient.forEach((value, k) => expect(value).to.be.closeTo(p[k] - t[k], 1e-15));
    const oneHot = at('cross-entropy', s, Float64Array.of(0, 1, 0));
    expect(oneHot.loss).to.be.closeTo(hard.loss, 1e-15);
  });

  it('cross-entropy at |s| = 1e4, both ways', () => {
    const wrong = at('cross-entropy', [1e4, -1e4], [1]);
    expect(wrong.loss).to.equal(2e4);
    expect(Array.from(wrong.gradient)).to.deep.equal([1, -1]);
    expect(Array.from(wrong.hessianProduct(Float64Array.of(1, 2)))).to.deep.equal([0, 0]);
    const right = at('cross-entropy', [1e4, -1e4], [0]);
    expect(right.loss).to.equal(0);
    expect(right.gradient.map(Math.abs)).to.deep.equal(Float64Array.of(0, 0));
    const soft = at('cross-entropy', [1e4, -1e4], Float64Array.of(0.5, 0.5));
    expect(soft.loss).to.equal(1e4);
    expect(Array.from(soft.gradient)).to.deep.equal([0.5, -0.5]);
  });

  it('cross-entropy keeps its relative accuracy far below 1e-16: log(1 + e^-50), its slope and its curvature', () => {
    const e = Math.exp(-50);
    const point = at('cross-entropy', [50, 0], [0]);
    expect(point.loss / e).to.be.closeTo(1, 1e-13);
    expect(point.gradient[0] / -e).to.be.closeTo(1, 1e-13);
    expect(point.gradient[1] / e).to.be.closeTo(1, 1e-13);
    const [first, second] = point.hessianProduct(Float64Array.of(1, 0));
    expect(first / e).to.be.closeTo(1, 1e-13);
    expect(second / -e).to.be.closeTo(1, 1e-13);
  });

  it('binary cross-entropy: values by hand, the ends, and small residuals', () => {
    const point = at('binary-cross-entropy', [0.3, -1], Float64Array.of(1, 0.25));
    const q = [1 / (1 + Math.exp(-0.3)), 1 / (1 + Math.exp(1))];
    expect(point.loss).to.be.closeTo(
      -0.5 * (Math.log(q[0]) + 0.25 * Math.log(q[1]) + 0.75 * Math.log(1 - q[1])),
      1e-15,
    );
    expect(point.gradient[0]).to.be.closeTo((q[0] - 1) / 2, 1e-15);
    expect(point.gradient[1]).to.be.closeTo((q[1] - 0.25) / 2, 1e-15);
    expect(point.hessianProduct(Float64Array.of(1, 0))[0]).to.be.closeTo((q[0] * (1 - q[0])) / 2, 1e-15);
    expect(at('binary-cross-entropy', [1e4], [0]).loss).to.equal(1e4);
    expect(at('binary-cross-entropy', [-1e4], [1]).gradient[0]).to.equal(-1);
    expect(at('binary-cross-entropy', [1e4], [1]).loss).to.equal(0);
    const small = at('binary-cross-entropy', [50], [1]);
    expect(small.loss / Math.exp(-50)).to.be.closeTo(1, 1e-13);
    expect(small.gradient[0] / -Math.exp(-50)).to.be.closeTo(1, 1e-13);
  });

  it('mean squared error has no factor 1/2 and averages over samples and outputs', () => {
    const point = at('mse', [1, 4], [0, 2]);
    expect(point.loss).to.equal((1 + 4) / 2);
    expect(Array.from(point.gradient)).to.deep.equal([1, 2]);
    expect(Array.from(point.hessianProduct(Float64Array.of(1, 3)))).to.deep.equal([1, 3]);
    expect(at('mse', [1e4], [-1e4]).loss).to.equal(4e8);
  });
});

describe('batches', () => {
  const make = (loss: LossName, data: unknown): unknown =>
    new Network({ inputs: 2, loss, layers: [{ type: 'dense', units: 3, activation: 'identity' }] }).batch(
      data as BatchData,
    );
  const inputs = Float64Array.of(1, 2, 3, 4);
  const rows = Float64Array.of(0.2, 0.3, 0.5, 0, 1, 0);
  const table: [string, LossName, unknown, ErrorConstructor, string][] = [
    ['no object', 'mse', 5, TypeError, 'Network.batch: expected an object for batch, received 5'],
    [
      'unknown key',
      'mse',
      { inputs, targets: rows, weight: 1 },
      RangeError,
      "unknown option 'weight' in batch; allowed: inputs, targets, weights",
    ],
    [
      'inputs kind',
      'mse',
      { inputs: [1, 2], targets: rows },
      TypeError,
      'a Float64Array [samples, 2] for inputs, received array of length 2',
    ],
    [
      'empty',
      'mse',
      { inputs: new Float64Array(0), targets: [] },
      RangeError,
      'with at least one sample for inputs, received Float64Array of length 0',
    ],
    [
      'ragged',
      'mse',
      { inputs: new Float64Array(3), targets: [] },
      RangeError,
      'a length that is a multiple of 2 for inputs, received Float64Array of length 3',
    ],
    [
      'inputs finite',
      'mse',
      { inputs: Float64Array.of(1, NaN), targets: [] },
      RangeError,
      'a finite number for inputs[1], received NaN',
    ],
    [
      'no targets',
      'cross-entropy',
      { inputs },
      TypeError,
      '2 class indices (Int32Array or number[]) or a Float64Array [2, 3] for targets, received undefined',
    ],
    ['label count', 'cross-entropy', { inputs, targets: [1] }, RangeError, 'for targets, received array of length 1'],
    [
      'label high',
      'cross-entropy',
      { inputs, targets: [1, 3] },
      RangeError,
      'a class index from 0 to 2 for targets[1], received 3',
    ],
    [
      'label low',
      'cross-entropy',
      { inputs, targets: Int32Array.of(-1, 0) },
      RangeError,
      'for targets[0], received -1',
    ],
    ['label fraction', 'cross-entropy', { inputs, targets: [0.5, 0] }, RangeError, 'for targets[0], received 0.5'],
    [
      'soft length',
      'cross-entropy',
      { inputs, targets: new Float64Array(2) },
      RangeError,
      'a Float64Array [2, 3] for targets, received Float64Array of length 2',
    ],
    [
      'soft sum',
      'cross-entropy',
      { inputs, targets: Float64Array.of(0.2, 0.3, 0.5, 0, 1, 1e-5) },
      RangeError,
      'a sum of 1 within 1e-6 for targets (row 1), received 1.00001',
    ],
    [
      'soft sign',
      'cross-entropy',
      { inputs, targets: Float64Array.of(-0.1, 0.6, 0.5, 0, 1, 0) },
      RangeError,
      'a number >= 0 for targets[0], received -0.1',
    ],
    [
      'soft finite',
      'cross-entropy',
      { inputs, targets: Float64Array.of(NaN, 0.6, 0.4, 0, 1, 0) },
      RangeError,
      'a finite number for targets[0], received NaN',
    ],
    [
      'binary range',
      'binary-cross-entropy',
      { inputs, targets: [0, 1, 2, 0, 0, 0] },
      RangeError,
      'a number from 0 to 1 for targets[2], received 2',
    ],
    [
      'mse length',
      'mse',
      { inputs, targets: [1, 2] },
      RangeError,
      'a Float64Array [2, 3] for targets, received array of length 2',
    ],
    [
      'mse kind',
      'mse',
      { inputs, targets: 'abc' },
      TypeError,
      'a Float64Array [2, 3] for targets, received "abc" (string)',
    ],
    [
      'mse finite',
      'mse',
      { inputs, targets: Float64Array.of(1, 2, 3, 4, 5, Infinity) },
      RangeError,
      'for targets[5], received Infinity',
    ],
    [
      'weights kind',
      'cross-entropy',
      { inputs, targets: [0, 1], weights: [1, 1] },
      TypeError,
      'a Float64Array of 2 finite numbers >= 0 for weights',
    ],
    [
      'weights length',
      'cross-entropy',
      { inputs, targets: [0, 1], weights: new Float64Array(3) },
      RangeError,
      'for weights, received Float64Array of length 3',
    ],
    [
      'weights sign',
      'cross-entropy',
      { inputs, targets: [0, 1], weights: Float64Array.of(1, -2) },
      RangeError,
      'a finite number >= 0 for weights[1], received -2',
    ],
    [
      'weights finite',
      'cross-entropy',
      { inputs, targets: [0, 1], weights: Float64Array.of(NaN, 1) },
      RangeError,
      'for weights[0], received NaN',
    ],
  ];
  for (const [name, loss, data, kind, message] of table) {
    it(`refuses: ${name}`, () => {
      expect(() => make(loss, data)).to.throw(kind as never, message);
    });
  }

  it('transposes once and copies: later changes of the caller do not reach the batch', () => {
    const source = { inputs: inputs.slice(), targets: rows.slice(), weights: Float64Array.of(1, 2) };
    const batch = make('cross-entropy', source) as ReturnType<Network['batch']>;
    source.inputs.fill(0);
    source.targets.fill(0);
    source.weights.fill(0);
    expect(Array.from(batch.inputs)).to.deep.equal([1, 3, 2, 4]);
    expect(Array.from(batch.targetValues!)).to.deep.equal([0.2, 0, 0.3, 1, 0.5, 0]);
    expect(Array.from(batch.weights!)).to.deep.equal([1, 2]);
    expect(batch).to.include({ samples: 2, targets: null, loss: 'cross-entropy' });
  });
});
