import { expect } from 'chai';
import { Network, type Linearization } from '../../ts/derivatives/index.js';
import { factor, SampleSpaceFactor } from '../../ts/inverse/index.js';
import { JacobianRows } from '../../ts/inverse/jacobian-rows.js';
import { outputRows } from '../../ts/inverse/output-rows.js';
import { kernels, Left, No, Upper, Yes } from '../../ts/native/index.js';
import type { LayerSpec, LossName } from '../../ts/network/index.js';
import { Random } from '../../ts/random.js';
import { describeShape, randomPoint, shapes } from './helpers.js';

/** What forms are promised to: more is rounding that the factor should have seen. */
const promised = 1e-8;

/** The network at other inputs: those of the first training samples, then random ones. */
function elsewhere(point: Linearization, samples: number, trained: number, seed: number): Linearization {
  const { network } = point;
  const { inputs: F, outputs: K, loss } = network;
  const inputs = new Random(seed).normals(new Float64Array(samples * F));
  for (let n = 0; n < trained; n++)
    for (let i = 0; i < F; i++) inputs[n * F + i] = point.batch.inputs[i * point.samples + n];
  const targets = loss === 'cross-entropy' ? new Int32Array(samples) : new Float64Array(samples * K);
  return (network as Network).linearize(point.params, { inputs, targets });
}

/**
 * j^T (G + Lambda)^-1 j for the rows j of the Jacobian at another point by orthogonal triangularisation of [R^T J; Lambda^1/2]: the
 * condition number enters by its square root, so that this oracle has the digits that forms may lose.
 */
function oracle(point: Linearization, damping: number, at: Linearization, directions: Float64Array): Float64Array {
  const { network, samples: N } = point;
  const { parameterCount: P, outputs: K } = network;
  const rank = network.loss === 'cross-entropy' ? K - 1 : K;
  const rows = N * rank;
  const stacked = rows + P;
  const root = new Float64Array(rows * K);
  outputRows(network, point, root, 0);
  const J = point.outputJacobian();
  const A = new Float64Array(stacked * P);
  for (const { index, parameterOffset, parameterCount } of network.layers) {
    for (let p = parameterOffset; p < parameterOffset + parameterCount; p++) {
      A[rows + p + p * stacked] = Math.sqrt(damping + network.l2[index]);
      for (let r = 0; r < rows; r++)
        for (let j = 0; j < K; j++) A[r + p * stacked] += root[r + j * rows] * J[j * N + (r % N) + p * N * K];
    }
  }
  const R = new Float64Array(P * P);
  kernels.qr(stacked, P, A, 0, stacked, R, 0, P);
  const M = at.samples;
  const there = at.outputJacobian();
  const count = (directions.length / K) * M;
  const half = new Float64Array(P * count);
  for (let c = 0; c < count; c++)
    for (let j = 0; j < K; j++)
      for (let p = 0; p < P; p++)
        half[p + c * P] += directions[Math.floor(c / M) * K + j] * there[j * M + (c % M) + p * M * K];
  kernels.trsm(Left, Upper, Yes, No, P, count, 1, R, 0, P, half, 0, P);
  return Float64Array.from({ length: count }, (_, c) => kernels.dot(P, half, c * P, half, c * P));
}

/** Columns of the identity, or of I - 1/K. */
function directionsOf(K: number, centred: boolean): Float64Array {
  return Float64Array.from({ length: K * K }, (_, i) => Number(i % (K + 1) === 0) - (centred ? 1 / K : 0));
}

/** Forms by one side. */
function formsOf(
  point: Linearization,
  side: 'samples' | 'parameters',
  damping: number,
  at: Linearization,
  directions: Float64Array,
): Float64Array {
  const K = point.network.outputs;
  const f = new SampleSpaceFactor(point.network, point.samples, side);
  f.assemble(point);
  expect(f.factor(damping)).to.equal(true);
  const rows = new JacobianRows(point.network, at.samples, directions.length / K);
  for (let j = 0, o = rows.last; j < K; j++)
    for (let r = 0; r < rows.rows; r++, o++) rows.d[o] = directions[Math.floor(r / at.samples) * K + j];
  rows.backpropagate(at);
  return f.quadraticForms(rows);
}

/** Largest relative error of what has been given; how many were not. */
function compare(forms: Float64Array, expected: Float64Array): { error: number; missing: number } {
  let [error, missing] = [0, 0];
  expect(forms).to.have.length(expected.length);
  for (const [i, value] of expected.entries()) {
    if (Number.isNaN(forms[i])) missing++;
    else if (forms[i] !== value) error = Math.max(error, Math.abs(forms[i] - value) / value);
  }
  return { error, missing };
}

function pointOf(
  inputs: number,
  loss: LossName,
  layers: LayerSpec[],
  samples: number,
  edit?: (params: Float64Array) => void,
): Linearization {
  const network = new Network({ inputs, loss, layers });
  const random = new Random(6);
  const params = random.normals(new Float64Array(network.parameterCount));
  edit?.(params);
  const K = network.outputs;
  return network.linearize(params, {
    inputs: random.normals(new Float64Array(samples * inputs)),
    targets:
      loss === 'cross-entropy'
        ? Int32Array.from({ length: samples }, () => random.integer(K))
        : Float64Array.from({ length: samples * K }, () => random.uniform()),
  });
}

describe('quadratic forms of the rows of a Jacobian', () => {
  for (const side of ['samples', 'parameters'] as const) {
    it(`equal those of an orthogonal factorization, ${side} side: every loss and shape, also at training samples`, () => {
      for (const [i, shape] of shapes.entries()) {
        const point = randomPoint(shape, i + 1);
        const at = elsewhere(point, 5, Math.min(2, shape.samples), i);
        const directions = directionsOf(3, shape.loss === 'cross-entropy');
        for (const damping of [0.3, 1e-3]) {
          const forms = formsOf(point, side, damping, at, directions);
          const { error, missing } = compare(forms, oracle(point, damping, at, directions));
          const label = `${describeShape(shape)}, ${damping}`;
          expect(missing, label).to.equal(0);
          // With these dampings some 1e6 of the digits go at most.
          expect(error, label).to.be.below(1e-10);
        }
      }
    });

    it(`are right or absent where rounding eats them, ${side} side`, () => {
      let [given, missing] = [0, 0];
      for (const [i, shape] of shapes.entries()) {
        const point = randomPoint(shape, i + 1);
        const at = elsewhere(point, 8, Math.min(4, shape.samples), i);
        const directions = directionsOf(3, false);
        for (const damping of [1e-5, 1e-8]) {
          const forms = formsOf(point, side, damping, at, directions);
          const found = compare(forms, oracle(point, damping, at, directions));
          expect(found.error, `${describeShape(shape)}, ${damping}`).to.be.below(promised);
          missing += found.missing;
          given += forms.length - found.missing;
        }
      }
      expect(missing).to.be.greaterThan(20);
      expect(given).to.be.greaterThan(4 * missing);
    });
  }

  it('are absent where two samples differ by little more than the prior lets through', () => {
    // Rows 1000 a +- b / 1000: products of 1e6, rounded by 1e-10, beside a curvature along b of the prior's 1e-6.
    let missing = 0;
    for (let seed = 1; seed <= 10; seed++) {
      const random = new Random(seed);
      const [a, b] = [random.normals(new Float64Array(5)), random.normals(new Float64Array(5))];
      const near = (sign: number): number[] => [...a].map((value, i) => 1000 * value + (sign * b[i]) / 1000);
      const network = new Network({
        inputs: 5,
        loss: 'mse',
        l2: [1e-6],
        layers: [{ type: 'dense', units: 1, activation: 'identity', bias: false }],
      });
      const targets = new Float64Array(2);
      const point = network.linearize(b, { inputs: Float64Array.from([...near(1), ...near(-1)]), targets });
      const at = network.linearize(b, { inputs: Float64Array.from([...b, ...near(1)]), targets });
      const expected = oracle(point, 1e-12, at, Float64Array.of(1));
      for (const side of ['samples', 'parameters'] as const) {
        const found = compare(formsOf(point, side, 1e-12, at, Float64Array.of(1)), expected);
        expect(found.error, `${side}, ${seed}`).to.be.below(promised);
        missing += found.missing;
      }
    }
    expect(missing).to.be.greaterThan(20);
  });

  it('one sample, one output, one layer without bias; saturated outputs and units; more rows than go at a time', () => {
    const dense = (units: number, activation: 'tanh' | 'identity', bias = true): LayerSpec => ({
      type: 'dense',
      units,
      activation,
      bias,
    });
    const large = (params: Float64Array): void => params.forEach((value, i) => (params[i] = 300 * value));
    const points: [string, Linearization, number][] = [
      ['one of each', pointOf(1, 'mse', [dense(1, 'identity', false)], 1), 3],
      ['one output', pointOf(3, 'binary-cross-entropy', [dense(4, 'tanh'), dense(1, 'identity')], 9), 3],
      ['certain classes', pointOf(3, 'cross-entropy', [dense(3, 'tanh'), dense(4, 'identity')], 6, large), 3],
      ['certain answers', pointOf(3, 'binary-cross-entropy', [dense(3, 'tanh'), dense(2, 'identity')], 6, large), 3],
      ['slope at the end', pointOf(3, 'mse', [dense(3, 'tanh'), dense(2, 'tanh')], 6), 3],
      ['many', pointOf(3, 'cross-entropy', [dense(4, 'tanh'), dense(3, 'identity')], 10), 100],
      ['many of many', pointOf(2, 'mse', [dense(3, 'tanh'), dense(150, 'identity', false)], 2), 2],
    ];
    for (const [label, point, rows] of points) {
      const at = elsewhere(point, rows, 1, 5);
      const directions = directionsOf(point.network.outputs, point.network.loss === 'cross-entropy');
      const expected = oracle(point, 0.05, at, directions);
      expect(Math.max(...expected), label).to.be.greaterThan(0);
      for (const side of ['samples', 'parameters'] as const) {
        const found = compare(formsOf(point, side, 0.05, at, directions), expected);
        expect(found.missing, `${label}, ${side}`).to.equal(0);
        expect(found.error, `${label}, ${side}`).to.be.below(1e-9);
      }
    }
  });

  it('a factor of this route has them for its present damping, another none', () => {
    const point = randomPoint({ loss: 'mse', residual: true, bias: true, samples: 6, l2: [0.1, 0.2, 0.3, 0.4] });
    const at = elsewhere(point, 4, 0, 2);
    // Fewer directions than outputs, of any length.
    const directions = new Random(8).normals(new Float64Array(2 * 3));
    const options = { matrix: 'gauss-newton', method: 'sample-space', damping: 0.5 } as const;
    const f = factor(point, options);
    for (const damping of [0.5, 0.02]) {
      const forms = f.refactor(damping).quadraticForms(at, directions);
      expect(compare(forms!, oracle(point, damping, at, directions)).error).to.be.below(1e-12);
      const rhs = at.jacobianTransposedProduct(
        Float64Array.from({ length: 12 }, (_, i) => Number(i % 4 === 1) * directions[3 + Math.floor(i / 4)]),
      );
      const { x } = f.solve(rhs);
      expect(forms![4 + 1]).to.be.closeTo(kernels.dot(x.length, x, 0, rhs, 0), 1e-9 * forms![5]);
    }
    for (const other of [{ ...options, precision: 'mixed' }, { ...options, method: 'affine' }, { damping: 9 }] as const)
      expect(factor(point, other).quadraticForms(at, directions)).to.equal(null);
  });
});
