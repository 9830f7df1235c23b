import { expect } from 'chai';
import {
  classificationCalibration,
  laplace,
  regressionCalibration,
  tuneEvidence,
  withL2,
} from '../../ts/curvature/index.js';
import { Linearization, Network } from '../../ts/derivatives/index.js';
import { DeepHessianError } from '../../ts/errors.js';
import { factor } from '../../ts/inverse/index.js';
import { kernels, Lower, No, Yes } from '../../ts/native/index.js';
import { createNewton } from '../../ts/optimize/newton.js';
import { Random } from '../../ts/random.js';
import { maximumError, problem } from '../helpers/problems.js';
import { denseInverse, denseSpectrum } from './helpers.js';

/** Bayesian linear regression with everything in closed form: t = X w + noise, w ~ N(0, 1 / alpha), X with a column of ones. */
function linearRegression(
  alpha: number,
  noise: number,
): {
  X: Float64Array;
  targets: Float64Array;
  network: Network;
  params: Float64Array;
  inputs: Float64Array;
  N: number;
  p: number;
} {
  const random = new Random(21);
  const [N, d] = [20, 3];
  const p = d + 1;
  const inputs = random.normals(new Float64Array(N * d));
  const targets = new Float64Array(N);
  const X = new Float64Array(N * p); // column-major
  for (let n = 0; n < N; n++) {
    for (let j = 0; j < d; j++) X[j * N + n] = inputs[n * d + j];
    X[d * N + n] = 1;
    targets[n] = 0.8 * inputs[n * d] - 0.5 * inputs[n * d + 1] + 0.3 + 0.4 * random.normal();
  }
  // maximum a posteriori: (X'X / v + alpha I) w = X't / v
  const A = new Float64Array(p * p);
  kernels.gemm(Yes, No, p, p, N, 1 / noise, X, 0, N, X, 0, N, 0, A, 0, p);
  for (let i = 0; i < p; i++) A[i * (p + 1)] += alpha;
  const params = new Float64Array(p);
  kernels.gemv(Yes, N, p, 1 / noise, X, 0, N, targets, 0, 1, 0, params, 0, 1);
  kernels.potrf(Lower, p, A, 0, p);
  kernels.potrs(Lower, p, 1, A, 0, p, params, 0, p);
  const network = new Network({
    inputs: d,
    loss: 'mse',
    layers: [{ type: 'dense', units: 1, activation: 'identity' }],
  });
  return { X, targets, network, params, inputs, N, p };
}

/** log N(t; 0, v I + X X' / alpha): the evidence without any approximation. */
function exactEvidence(X: Float64Array, targets: Float64Array, alpha: number, noise: number): number {
  const N = targets.length;
  const p = X.length / N;
  const C = new Float64Array(N * N);
  kernels.gemm(No, Yes, N, N, p, 1 / alpha, X, 0, N, X, 0, N, 0, C, 0, N);
  for (let i = 0; i < N; i++) C[i * (N + 1)] += noise;
  const solved = targets.slice();
  kernels.potrf(Lower, N, C, 0, N);
  let log = 0;
  for (let i = 0; i < N; i++) log += 2 * Math.log(C[i * (N + 1)]);
  kernels.potrs(Lower, N, 1, C, 0, N, solved, 0, N);
  return -0.5 * (kernels.dot(N, targets, 0, solved, 0) + log + N * Math.log(2 * Math.PI));
}

describe('laplace: Bayesian linear regression, where it is exact', () => {
  it('inputs of the order of 1,000: a prior 1e10 times as weak as the data', () => {
    // One sample and no bias: Lambda = alpha I + x1 x1' / v, so a variance is |part across x1|^2 / alpha + |part along|^2 / (alpha + |x1|^2 / v).
    const [d, alpha, noise] = [6, 1e-2, 1e-2];
    for (let seed = 1; seed <= 5; seed++) {
      const random = new Random(seed);
      const inputs = random.normals(new Float64Array(d)).map((value) => 1000 * value);
      const network = new Network({
        inputs: d,
        loss: 'mse',
        layers: [{ type: 'dense', units: 1, activation: 'identity', bias: false }],
      });
      const point = network.linearize(random.normals(new Float64Array(d)), { inputs, targets: Float64Array.of(3) });
      const square = kernels.dot(d, inputs, 0, inputs, 0);
      for (const matrix of ['gauss-newton', 'hessian'] as const) {
        const posterior = laplace(point, { priorPrecision: alpha, noiseVariance: noise, matrix });
        const fresh = random.normals(new Float64Array(d));
        const { variance } = posterior.predict(Float64Array.of(...inputs, ...fresh));
        const along = kernels.dot(d, inputs, 0, fresh, 0) / square;
        const across = fresh.map((value, i) => value - along * inputs[i]);
        const expected = [
          square / (alpha + square / noise),
          kernels.dot(d, across, 0, across, 0) / alpha + (along * along * square) / (alpha + square / noise),
        ];
        // Residuals of 1e-6, which is what rounding leaves here, count squared.
        for (const [n, value] of expected.entries()) expect(variance[n]).to.be.closeTo(value, 1e-10 * value);
        // 1 - alpha / (alpha + |x1|^2 / v); each of six entries of the inverse is good to 1e-5 of the largest
        expect(posterior.effectiveParameters[0]).to.be.closeTo(1, 6e-5);
        posterior.dispose();
      }
    }
  });

  for (const [alpha, noise] of [
    [0.5, 0.2],
    [4, 0.1],
    [0.01, 1],
  ]) {
    it(`alpha = ${alpha}, v = ${noise}: evidence, effective parameters, predictive variance`, () => {
      const { X, targets, network, params, inputs, N, p } = linearRegression(alpha, noise);
      const point = network.linearize(params, { inputs, targets });
      for (const matrix of ['gauss-newton', 'hessian'] as const) {
        const posterior = laplace(point, { priorPrecision: alpha, noiseVariance: noise, matrix });
        expect(posterior.logEvidence).to.be.closeTo(exactEvidence(X, targets, alpha, noise), 1e-9);
        // gamma = sum lambda / (lambda + alpha) over the eigenvalues of X'X / v
        const A = new Float64Array(p * p);
        kernels.gemm(Yes, No, p, p, N, 1 / noise, X, 0, N, X, 0, N, 0, A, 0, p);
        const w = new Float64Array(p);
        kernels.syevd(No, Lower, p, A.slice(), 0, p, w, 0);
        expect(posterior.effectiveParameters[0]).to.be.closeTo(
          w.reduce((sum, value) => sum + value / (value + alpha), 0),
          1e-9,
        );
        // x' Lambda^-1 x at new inputs
        for (let i = 0; i < p; i++) A[i * (p + 1)] += alpha;
        kernels.potrf(Lower, p, A, 0, p);
        const fresh = new Random(4).normals(new Float64Array(5 * 3));
        const { mean, variance, observationVariance, probabilities } = posterior.predict(fresh);
        expect(probabilities).to.equal(null);
        for (let n = 0; n < 5; n++) {
          const x = Float64Array.of(...fresh.subarray(n * 3, n * 3 + 3), 1);
          const solved = x.slice();
          kernels.potrs(Lower, p, 1, A, 0, p, solved, 0, p);
          const expected = kernels.dot(p, x, 0, solved, 0);
          expect(variance[n]).to.be.closeTo(expected, 1e-9 * expected);
          expect(observationVariance![n]).to.be.closeTo(expected + noise, 1e-9);
          expect(mean[n]).to.be.closeTo(kernels.dot(p, x, 0, params, 0), 1e-12);
        }
        posterior.dispose();
      }
    });
  }

  it("MacKay's fixed point is the maximum of the exact evidence", () => {
    const { X, targets, network, inputs, N, p } = linearRegression(1, 0.2);
    const start = network.linearize(new Float64Array(p), { inputs, targets });
    const { posterior, logEvidences } = tuneEvidence(start, {
      priorPrecision: 1,
      noiseVariance: 0.2,
      rounds: 60,
      retrain: (other, params) => {
        // the exact minimum under the new penalty
        const at = new Linearization(other, params, start.batch, null);
        const H = at.denseHessian();
        const step = at.gradient.slice();
        kernels.potrf(Lower, p, H, 0, p);
        kernels.potrs(Lower, p, 1, H, 0, p, step, 0, p);
        for (let i = 0; i < p; i++) params[i] -= step[i];
      },
    });
    const [alpha, noise] = [posterior.priorPrecision[0], posterior.noiseVariance];
    const best = exactEvidence(X, targets, alpha, noise);
    expect(posterior.logEvidence).to.be.closeTo(best, 1e-6);
    for (const [a, v] of [
      [1.05, 1],
      [0.95, 1],
      [1, 1.05],
      [1, 0.95],
    ])
      expect(exactEvidence(X, targets, alpha * a, noise * v)).to.be.below(best);
    expect(logEvidences[logEvidences.length - 1]).to.be.greaterThan(logEvidences[1]);
    expect(N).to.equal(20);
  });
});

describe('laplace: networks', () => {
  for (const kind of ['mse', 'classes', 'binary'] as const) {
    it(`${kind}: log-determinant, effective parameters and variances equal the dense ones`, () => {
      const { network, params, data, random } = problem({ kind, samples: 12, l2: [0.01, 0.03, 0.02] });
      const point = network.linearize(params, data);
      const P = network.parameterCount;
      const posterior = laplace(point);
      const K = network.outputs;
      const scale = kind === 'classes' ? 12 : kind === 'binary' ? 12 * K : (12 * K) / (2 * point.dataLoss);
      expect(posterior.scale).to.be.closeTo(scale, 1e-12 * scale);
      const w = denseSpectrum(point, 'gauss-newton');
      const expected = w.reduce((sum, value) => sum + Math.log(scale * value), 0);
      expect(posterior.logDeterminant).to.be.closeTo(expected, 1e-8 * Math.abs(expected));
      const inverse = denseInverse(point, 'gauss-newton', 0);
      for (const { index, parameterOffset: o, parameterCount: p } of network.layers) {
        let trace = 0;
        for (let i = o; i < o + p; i++) trace += inverse[i * (P + 1)];
        expect(posterior.effectiveParameters[index]).to.be.closeTo(p - network.l2[index] * trace, 1e-7);
      }
      const fresh = random.normals(new Float64Array(3 * 3));
      const { variance, probabilities, observationVariance } = posterior.predict(fresh);
      const at = network.linearize(params, {
        inputs: fresh,
        targets: kind === 'classes' ? [0, 1, 2] : new Float64Array(9),
      });
      for (let n = 0; n < 3; n++) {
        for (let k = 0; k < K; k++) {
          const u = new Float64Array(9);
          for (let j = 0; j < K; j++) u[j * 3 + n] = Number(j === k) - (kind === 'classes' ? 1 / K : 0);
          const j = at.jacobianTransposedProduct(u);
          const solved = new Float64Array(P);
          kernels.gemv(No, P, P, 1, inverse, 0, P, j, 0, 1, 0, solved, 0, 1);
          const value = kernels.dot(P, solved, 0, j, 0) / scale;
          expect(variance[n * K + k]).to.be.closeTo(value, 1e-6 * value);
        }
        if (kind === 'classes')
          expect(probabilities!.subarray(n * K, (n + 1) * K).reduce((a, b) => a + b, 0)).to.be.closeTo(1, 1e-14);
      }
      if (kind === 'mse') expect(observationVariance![0]).to.be.closeTo(variance[0] + point.dataLoss, 1e-12);
      else {
        // averaging over logits can only lower the confidence of a two-sided decision
        const plain = at.outputs.map((value) => 1 / (1 + Math.exp(-value)));
        if (kind === 'binary')
          plain.forEach((value, i) =>
            expect(Math.abs(probabilities![i] - 0.5)).to.be.at.most(Math.abs(value - 0.5) + 1e-15),
          );
      }
    });
  }

  for (const kind of ['mse', 'classes', 'binary'] as const) {
    for (const bias of [true, false]) {
      it(`${kind}${bias ? '' : ', no bias'}: variances by half-solves are those of solves, for more inputs than go at a time`, () => {
        const { network, params, data, random } = problem({ kind, bias, samples: 15, seed: 5 });
        const point = network.linearize(params, data);
        const fresh = random.normals(new Float64Array(50 * 3));
        fresh.set(data.inputs.subarray(0, 15), 60);
        for (const priorPrecision of [0.3, [0.5, 2, 0.1]]) {
          const [fast, slow] = (['sample-space', 'affine'] as const).map((method) => {
            const posterior = laplace(point, { priorPrecision, method });
            const prediction = posterior.predict(fresh);
            // An input's variances do not depend on its neighbours.
            const alone = posterior.predict(fresh.slice(141, 144));
            expect(maximumError(alone.variance, prediction.variance.subarray(141, 144))).to.be.below(1e-8);
            posterior.dispose();
            return prediction;
          });
          for (const [i, value] of slow.variance.entries())
            expect(fast.variance[i], `${i}`).to.be.closeTo(value, 1e-8 * value);
        }
      });
    }
  }

  it('takes solves where half-solves lose their digits, each variance in its place', () => {
    const { network, params, data, random } = problem({ kind: 'mse', samples: 9, seed: 4 });
    const point = network.linearize(params, data);
    const inputs = random.normals(new Float64Array(40 * 3));
    for (let n = 0; n < 9; n++) inputs.set(data.inputs.subarray(3 * n, 3 * n + 3), 12 * n);
    const [noiseVariance, priorPrecision] = [0.1, 1e-6];
    const [mixed, slow] = (['sample-space', 'affine'] as const).map((method) =>
      laplace(point, { noiseVariance, priorPrecision, method }),
    );
    // What the data determine nearly alone is absent, the rest there.
    const at = network.linearize(params, { inputs, targets: new Float64Array(120) });
    const damping = priorPrecision / mixed.scale;
    const f = factor(point, { matrix: 'gauss-newton', method: 'sample-space', damping });
    const absent = f
      .quadraticForms(at, Float64Array.of(1, 0, 0, 0, 1, 0, 0, 0, 1))!
      .filter((form) => Number.isNaN(form));
    expect(absent.length).to.be.within(9, 60);
    const expected = slow.predict(inputs).variance;
    // Solves by another factor, of a matrix of condition 1e8: rounding of its products is seen beside half-solves' 1e-8.
    for (const [i, value] of mixed.predict(inputs).variance.entries())
      expect(value).to.be.closeTo(expected[i], 1e-6 * expected[i]);
  });

  it('tuning by evidence with retraining raises the evidence and tells layers apart', function () {
    const { network, params, data } = problem({ kind: 'mse', samples: 24, l2: 0.05, seed: 3 });
    const batch = network.batch(data);
    const train = (other: Network, x: Float64Array): void => {
      const newton = createNewton(other);
      for (let step = 0; step < 60; step++) newton.step(x, batch);
    };
    train(network, params);
    const start = network.linearize(params, batch);
    const rounds: number[] = [];
    const { posterior, logEvidences } = tuneEvidence(start, {
      rounds: 6,
      retrain: train,
      onRound: (round) => {
        rounds.push(round);
      },
    });
    expect(rounds).to.deep.equal([0, 1, 2, 3, 4, 5]);
    expect(posterior.logEvidence).to.equal(Math.max(...logEvidences));
    expect(posterior.logEvidence).to.be.greaterThan(logEvidences[0] + 1);
    expect(new Set(posterior.priorPrecision).size).to.equal(3);
  });

  it('names what is wrong', () => {
    const { network, params, data } = problem({ kind: 'mse' });
    const point = network.linearize(params, data);
    expect(() => laplace(point)).to.throw(RangeError, /priorPrecision/);
    expect(() => laplace(point, { priorPrecision: [1, 2] })).to.throw(RangeError, /3 numbers/);
    expect(() => laplace(point, { priorPrecision: null as never })).to.throw(TypeError, /3 numbers/);
    expect(() => laplace(point, null as never)).to.throw(TypeError, /an object for options/);
    expect(() => regressionCalibration([1] as never, Float64Array.of(1), Float64Array.of(1))).to.throw(
      TypeError,
      /mean/,
    );
    expect(() => classificationCalibration(undefined as never, [0])).to.throw(TypeError, /probabilities/);
    expect(() => classificationCalibration(Float64Array.of(1, 0), undefined as never)).to.throw(TypeError, /labels/);
    expect(() => laplace(point, { priorPrecision: -1 })).to.throw(RangeError, /priorPrecision\[0\]/);
    expect(() => laplace(point, { priorPrecision: 1, noiseVariance: 0 })).to.throw(RangeError, /noiseVariance/);
    const weighted = problem({ kind: 'mse', weighted: true });
    expect(() => laplace(weighted.network.linearize(weighted.params, weighted.data), { priorPrecision: 1 })).to.throw(
      DeepHessianError,
      /weights/,
    );
    // an indefinite Hessian is refused, not inverted
    expect(() => laplace(point, { matrix: 'hessian', priorPrecision: 1e-3 })).to.throw(
      DeepHessianError,
      /not positive definite/,
    );
  });

  it('withL2 keeps the network and replaces the coefficients', () => {
    const { network, params, data } = problem({ l2: 0.3 });
    const other = withL2(network, Float64Array.of(1, 2, 3));
    expect([...other.l2]).to.deep.equal([1, 2, 3]);
    expect(other.parameterCount).to.equal(network.parameterCount);
    expect(other.evaluate(params, network.batch(data)).dataLoss).to.equal(network.linearize(params, data).dataLoss);
  });
});

describe('calibration tables', () => {
  it('regression: right variances cover at their nominal rates, wrong ones do not', () => {
    const random = new Random(9);
    const n = 20000;
    const variance = new Float64Array(n).map(() => 0.1 + random.uniform());
    const targets = variance.map((value) => Math.sqrt(value) * random.normal());
    const { rows, meanSquaredScore, rootMeanSquareError, negativeLogLikelihood } = regressionCalibration(
      new Float64Array(n),
      variance,
      targets,
    );
    // binomial standard deviation at most 0.5 / sqrt(20000) = 0.0035; four of them
    for (const { nominal, observed } of rows) expect(observed).to.be.closeTo(nominal, 0.0142);
    expect(meanSquaredScore).to.be.closeTo(1, 0.05);
    expect(rootMeanSquareError).to.be.closeTo(Math.sqrt(0.6), 0.02);
    const half = regressionCalibration(
      new Float64Array(n),
      variance.map((value) => value / 4),
      targets,
    );
    expect(half.rows[4].observed).to.be.below(0.75);
    expect(half.negativeLogLikelihood).to.be.greaterThan(negativeLogLikelihood);
    expect(() => regressionCalibration(new Float64Array(2), new Float64Array(2), new Float64Array(2))).to.throw(
      RangeError,
      /variance\[0\]/,
    );
  });

  it('classification: bins, expected calibration error, likelihood', () => {
    // four samples at confidence 0.75, three of them right; one at 0.55, wrong
    const probabilities = Float64Array.of(0.75, 0.25, 0.75, 0.25, 0.75, 0.25, 0.25, 0.75, 0.45, 0.55);
    const { bins, expectedCalibrationError, accuracy, negativeLogLikelihood } = classificationCalibration(
      probabilities,
      [0, 0, 1, 1, 0],
      10,
    );
    expect(bins[7].count).to.equal(4);
    expect(bins[7].accuracy).to.equal(0.75);
    expect(bins[5].confidence).to.be.closeTo(0.55, 1e-15);
    expect(expectedCalibrationError).to.be.closeTo(0.55 / 5, 1e-15);
    expect(accuracy).to.equal(0.6);
    expect(negativeLogLikelihood).to.be.closeTo(-(3 * Math.log(0.75) + Math.log(0.25) + Math.log(0.45)) / 5, 1e-15);
    expect(() => classificationCalibration(probabilities, [0, 0, 2, 1, 0])).to.throw(RangeError, /labels\[2\]/);
  });
});
