import { expect } from 'chai';
import { hypergradient, influence, SampleGradients, selfInfluence } from '../../ts/curvature/index.js';
import { Network, type Linearization } from '../../ts/derivatives/index.js';
import { DeepHessianError } from '../../ts/errors.js';
import { kernels } from '../../ts/native/index.js';
import type { BatchData } from '../../ts/network/index.js';
import { createNewton } from '../../ts/optimize/newton.js';
import { Random } from '../../ts/random.js';
import { maximumError, problem } from '../helpers/problems.js';
import { denseInverse } from './helpers.js';

/** Newton steps until the gradient is at rounding: a minimum, not just a small loss. */
function minimise(network: Network, start: Float64Array, data: BatchData): Linearization {
  const batch = network.batch(data);
  const params = start.slice();
  const optimizer = createNewton(network);
  for (let step = 0; step < 300; step++) {
    const point = network.linearize(params, batch);
    if (kernels.nrm2(params.length, point.gradient, 0) < 1e-12) return point;
    optimizer.step(params, batch);
  }
  const point = network.linearize(params, batch);
  expect(kernels.nrm2(params.length, point.gradient, 0)).to.be.below(1e-9);
  return point;
}

/** A linear regression with its least-squares solution. */
function linearModel(): {
  network: Network;
  point: Linearization;
  data: { inputs: Float64Array; targets: Float64Array };
  random: Random;
} {
  const random = new Random(8);
  const [N, d] = [15, 4];
  const inputs = random.normals(new Float64Array(N * d));
  const targets = random.normals(new Float64Array(N));
  const network = new Network({
    inputs: d,
    loss: 'mse',
    layers: [{ type: 'dense', units: 1, activation: 'identity' }],
  });
  return {
    network,
    point: minimise(network, new Float64Array(d + 1), { inputs, targets }),
    data: { inputs, targets },
    random,
  };
}

/** Rows of a row-major table without row i. */
function without(rows: Float64Array, width: number, i: number): Float64Array {
  return Float64Array.from([...rows.subarray(0, i * width), ...rows.subarray((i + 1) * width)]);
}

describe('SampleGradients', () => {
  it('average, weighted, to the gradient without L2', () => {
    for (const kind of ['classes', 'soft', 'mse', 'binary'] as const) {
      const { network, params, data } = problem({ kind, weighted: true, samples: 6, l2: 0.1 });
      const point = network.linearize(params, data);
      const P = network.parameterCount;
      const g = new Float64Array(P * 6);
      new SampleGradients(network, params, point.batch).fill(0, 6, g);
      const sum = new Float64Array(P);
      for (let n = 0; n < 6; n++) for (let i = 0; i < P; i++) sum[i] += (data.weights![n] / 6) * g[n * P + i];
      const penalty = new Float64Array(P);
      network.addPenaltyProduct(params, penalty);
      expect(
        maximumError(
          sum,
          point.gradient.map((value, i) => value - penalty[i]),
        ),
      ).to.be.below(1e-12);
    }
  });
});

describe('influence: closed form of a linear model', () => {
  const { network, point, data, random } = linearModel();
  const N = 15;

  it('leave-one-out of least squares: influence / (1 - leverage) is the exact change, for every pair', () => {
    // Sherman & Morrison: x_(-i) - x = -(X'X)^-1 x_i e_i / (1 - h_i); with H = 2 X'X / N the first-order change is that without 1 - h_i.
    const tests = { inputs: random.normals(new Float64Array(6 * 4)), targets: random.normals(new Float64Array(6)) };
    const { values, definite, residual } = influence(point, tests);
    const self = selfInfluence(point).values;
    expect(definite).to.equal(true);
    expect(residual).to.be.below(1e-10);
    const testGradients = new Float64Array(5 * 6);
    new SampleGradients(network, point.params, network.batch(tests)).fill(0, 6, testGradients);
    for (let i = 0; i < N; i++) {
      const rest = minimise(network, point.params, {
        inputs: without(data.inputs, 4, i),
        targets: without(data.targets, 1, i),
      });
      const error = point.outputs[i] - data.targets[i];
      // self-influence = g' H^-1 g = 4 e^2 x'(2 X'X / N)^-1 x = 2 N e^2 h
      const leverage = self[i] / (2 * N * error * error);
      expect(leverage).to.be.within(0, 1);
      for (let j = 0; j < 6; j++) {
        let change = 0;
        for (let k = 0; k < 5; k++) change += testGradients[j * 5 + k] * (rest.params[k] - point.params[k]);
        const predicted = -values![i * 6 + j] / N / (1 - leverage);
        expect(Math.abs(predicted - change)).to.be.below(1e-9 * Math.max(1, Math.abs(change)));
      }
    }
  });

  it('leave-one-out residuals: e_i / (1 - h_i)', () => {
    const self = selfInfluence(point).values;
    for (const i of [0, 7, 14]) {
      const rest = minimise(network, point.params, {
        inputs: without(data.inputs, 4, i),
        targets: without(data.targets, 1, i),
      });
      const left = network.forward(rest.params, data.inputs.slice(i * 4, i * 4 + 4))[0] - data.targets[i];
      const error = point.outputs[i] - data.targets[i];
      expect(left).to.be.closeTo(error / (1 - self[i] / (2 * N * error * error)), 1e-9);
    }
  });
});

describe('influence: networks', () => {
  const { network, params, data, random } = problem({ kind: 'classes', samples: 20, l2: 0.02, weighted: true });
  const point = minimise(network, params, data);
  const P = network.parameterCount;
  const tests = { inputs: random.normals(new Float64Array(5 * 3)), targets: [0, 1, 2, 1, 0] };
  const testPoint = network.batch(tests);
  const G = new Float64Array(P * 20);
  new SampleGradients(network, point.params, point.batch).fill(0, 20, G);
  const T = new Float64Array(P * 5);
  new SampleGradients(network, point.params, testPoint).fill(0, 5, T);

  for (const matrix of ['hessian', 'gauss-newton'] as const) {
    it(`${matrix}: plain and relative influence equal those of the dense inverse`, () => {
      const damping = 0.05;
      const inverse = denseInverse(point, matrix, damping);
      const x = Array.from({ length: 20 }, (_, i) => {
        const column = new Float64Array(P);
        kernels.gemv(0, P, P, 1, inverse, 0, P, G, i * P, 1, 0, column, 0, 1);
        return column;
      });
      const plain = influence(point, tests, { matrix, damping }).values!;
      const byParameters = influence(point, tests, { matrix, damping, relative: 'parameters' }).values!;
      const byLosses = influence(point, tests, { matrix, damping, relative: 'losses', block: 7 }).values!;
      const self = selfInfluence(point, { matrix, damping, block: 6 });
      const expected = new Float64Array(100);
      const expectedByParameters = new Float64Array(100);
      const expectedByLosses = new Float64Array(100);
      for (let i = 0; i < 20; i++) {
        const own = kernels.dot(P, x[i], 0, G, i * P);
        const length = kernels.nrm2(P, x[i], 0);
        expect(self.values[i]).to.be.closeTo(own, 1e-7 * Math.abs(own));
        expect(self.parameterNorms[i]).to.be.closeTo(length, 1e-7 * length);
        for (let j = 0; j < 5; j++) {
          expected[i * 5 + j] = -kernels.dot(P, x[i], 0, T, j * P);
          expectedByParameters[i * 5 + j] = expected[i * 5 + j] / length;
          expectedByLosses[i * 5 + j] = expected[i * 5 + j] / Math.sqrt(own);
        }
      }
      expect(maximumError(plain, expected)).to.be.below(1e-6);
      expect(maximumError(byParameters, expectedByParameters)).to.be.below(1e-6);
      expect(maximumError(byLosses, expectedByLosses)).to.be.below(1e-6);
    });
  }

  it('streams the same rows in blocks', () => {
    const whole = influence(point, tests, { damping: 0.1 }).values!;
    const rows: number[] = [];
    const seen: number[] = [];
    const result = influence(point, testPoint, {
      damping: 0.1,
      block: 6,
      onRows: ({ first, count, values, done, total }) => {
        expect(values.length).to.equal(count * 5);
        expect(total).to.equal(20);
        seen.push(first, done);
        rows.push(...values);
      },
    });
    expect(result.values).to.equal(null);
    expect(seen).to.deep.equal([0, 6, 6, 12, 12, 18, 18, 20]);
    expect(maximumError(rows, whole)).to.be.below(1e-13);
    expect(() => influence(point, tests, { damping: 0.1, block: 6, onRows: () => false })).to.throw(
      DeepHessianError,
      /stopped by its caller after 6 of 20/,
    );
  });

  it('predicts real retraining to first order: weights changed by a small step', () => {
    const { values } = influence(point, tests);
    // dV_j / dw_i = I(i, j) / N, by central differences of retrained optima
    for (const i of [2, 11]) {
      const h = 1e-4;
      const losses = [h, -h].map((step) => {
        const weights = data.weights!.slice();
        weights[i] += step;
        const { params: moved } = minimise(network, point.params, { ...data, weights });
        return Array.from(
          { length: 5 },
          (_, j) =>
            network.linearize(moved, { inputs: tests.inputs.slice(j * 3, j * 3 + 3), targets: [tests.targets[j]] })
              .dataLoss,
        );
      });
      for (let j = 0; j < 5; j++) {
        const difference = (losses[0][j] - losses[1][j]) / (2 * h);
        // h^2 truncation and 1e-9 / h of the optima's own accuracy
        expect(values![i * 5 + j] / 20).to.be.closeTo(difference, 2e-6);
      }
    }
  });

  it('names what is wrong and foresees memory', () => {
    expect(() => influence(point, tests, { damping: -1 })).to.throw(RangeError, /damping/);
    expect(() => influence(point, tests, { relative: 'both' as never })).to.throw(RangeError, /relative/);
    expect(() => influence(point, { inputs: new Float64Array(4), targets: [0] })).to.throw(RangeError, /inputs/);
    expect(() => influence(point, null as never)).to.throw(TypeError, /batch/);
    expect(() => influence(point, tests, { memoryLimit: 1000 })).to.throw(
      DeepHessianError,
      /influence: needs .* but 1.0 kB/,
    );
    expect(() => selfInfluence(point, { block: 0 })).to.throw(RangeError, /block/);
  });
});

describe('hypergradient against differences of retrained optima', () => {
  for (const kind of ['mse', 'classes'] as const) {
    it(`${kind}: L2 of every layer, and sample weights`, function () {
      const base = problem({ kind, samples: 14, l2: [0.02, 0.03, 0.015], weighted: true, seed: 12 });
      const { network, params, data, random } = base;
      const K = network.outputs;
      const validation: BatchData = {
        inputs: random.normals(new Float64Array(8 * 3)),
        targets:
          kind === 'mse'
            ? random.normals(new Float64Array(8 * K))
            : Int32Array.from({ length: 8 }, () => random.integer(K)),
      };
      const point = minimise(network, params, data);
      const { l2, weights, validationLoss, gradientNorm, residual } = hypergradient(point, validation);
      expect(gradientNorm).to.be.below(1e-10);
      expect(residual).to.be.below(1e-10);
      expect(validationLoss).to.equal(network.linearize(point.params, validation).dataLoss);
      const retrained = (penalties: number[], sampleWeights: Float64Array): number => {
        const other = new Network({
          inputs: 3,
          loss: network.loss,
          l2: penalties,
          layers: [
            { type: 'dense', units: 4, activation: 'tanh' },
            { type: 'residual', units: 4, activation: 'tanh' },
            { type: 'dense', units: 3, activation: 'identity' },
          ],
        });
        return other.linearize(minimise(other, point.params, { ...data, weights: sampleWeights }).params, validation)
          .dataLoss;
      };
      // central differences: truncation (h / l2)^2 relative, rounding 1e-12 / h
      for (let l = 0; l < 3; l++) {
        const h = 1e-3 * network.l2[l];
        const [up, down] = [h, -h].map((step) =>
          retrained(
            Array.from(network.l2, (value, k) => value + (k === l ? step : 0)),
            data.weights!,
          ),
        );
        expect(l2[l]).to.be.closeTo((up - down) / (2 * h), 1e-5 * Math.max(1, Math.abs(l2[l])));
      }
      for (const n of [0, 9]) {
        const h = 1e-4;
        const [up, down] = [h, -h].map((step) =>
          retrained(
            Array.from(network.l2),
            data.weights!.map((value, k) => value + (k === n ? step : 0)),
          ),
        );
        expect(weights[n]).to.be.closeTo((up - down) / (2 * h), 1e-6);
      }
    });
  }

  it('names what is wrong', () => {
    const { network, params, data } = problem();
    const point = network.linearize(params, data);
    expect(() => hypergradient(point, data, { damping: '1' as never })).to.throw(TypeError, /damping/);
    expect(() => hypergradient(point, data, { rate: 1 } as never)).to.throw(RangeError, /unknown option 'rate'/);
  });
});
