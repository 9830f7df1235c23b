import { expect } from 'chai';
import { Network, type Linearization } from '../../ts/derivatives/index.js';
import { createHostDevice } from '../../ts/device/index.js';
import { instrument } from '../../ts/device/instrumented.js';
import { DeepHessianError } from '../../ts/errors.js';
import type { SmoothLayer } from '../../ts/network/index.js';
import { createNewton, type NewtonReport } from '../../ts/optimize/newton.js';
import { trustRegionStep, type TrustRegionStepOptions } from '../../ts/optimize/trust-region-step.js';
import { trustRegionStatuses } from '../../ts/optimize/trust-region.js';
import { Random } from '../../ts/random.js';
import { describeShape, randomPoint, shapes } from '../inverse/helpers.js';
import { dot, multiply, norm } from '../linalg/helpers.js';
import { reference } from './trust-region-reference.js';

/** A loss of three parameters with gradient g and Hessian H at zero: (f - 0)^2 for f = 1 + g^T p / 2 + p^T B p / 2. */
function quadratic(g: number[], h: number[][]): Linearization {
  // 2 f grad f = g and 2 grad f grad f^T + 2 f B = H at f = 1
  const b = h.map((row, i) => row.map((entry, j) => 0.5 * (entry - 0.5 * g[i] * g[j])));
  const layer: SmoothLayer = {
    name: 'quadratic',
    inputs: 1,
    units: 1,
    parameterCount: 3,
    forward: (p, _z, out) => {
      out[0] = 1;
      for (let i = 0; i < 3; i++) {
        out[0] += 0.5 * g[i] * p[i];
        for (let j = 0; j < 3; j++) out[0] += 0.5 * b[i][j] * p[i] * p[j];
      }
    },
    jacobians: (p, _z, dp, dz) => {
      for (let i = 0; i < 3; i++) dp[i] = 0.5 * g[i] + dot(b[i], p);
      dz.fill(0);
    },
    contractions: (_p, _z, adjoint, hxx, hxz, hzz) => {
      hxx.set(b.flat().map((entry) => adjoint[0] * entry));
      hxz.fill(0);
      hzz.fill(0);
    },
  };
  const network = new Network({ inputs: 1, loss: 'mse', layers: [{ type: 'custom', layer }] });
  return network.linearize(new Float64Array(3), { inputs: Float64Array.of(1), targets: [0] });
}

/** inputs - 4 tanh - outputs with all weights zero: a saddle in the weights, whose gradient is in the output's biases alone. */
function zeroWeights(outputBias: number): Linearization {
  const network = new Network({
    inputs: 3,
    loss: 'mse',
    layers: [
      { type: 'dense', units: 4, activation: 'tanh' },
      { type: 'dense', units: 1, activation: 'identity' },
    ],
  });
  const random = new Random(5);
  const inputs = random.normals(new Float64Array(8 * 3));
  const targets = random.normals(new Float64Array(8));
  const mean = targets.reduce((sum, value) => sum + value / 8, 0);
  const params = new Float64Array(network.parameterCount);
  params[params.length - 1] = outputBias + mean;
  return network.linearize(params, { inputs, targets });
}

describe('trustRegionStep', () => {
  it('random networks: multiplier and least value of the eigendecomposition, for H and G', () => {
    const seen = new Set<string>();
    for (const shape of shapes) {
      const point = randomPoint(shape);
      const { gradient: g } = point;
      for (const matrix of ['hessian', 'gauss-newton'] as const) {
        const a = matrix === 'hessian' ? point.denseHessian() : point.denseGaussNewton();
        for (const radius of [0.01, 1, 30]) {
          const label = `${describeShape(shape)}, ${matrix}, radius ${radius}`;
          const { step, lambda, status, predicted, norm: length } = trustRegionStep(point, { radius, matrix });
          seen.add(status);
          expect(norm(step), label).closeTo(length, 1e-12 * radius);
          expect(length, label).at.most(radius * (1 + 1e-6));
          const value = dot(g, step) + 0.5 * dot(step, multiply(a, step));
          expect(predicted, label).closeTo(-value, 1e-10 * -value);
          // The least value over the ball changes by at most 2e-6 of itself for the 1e-6 of the radius that is allowed.
          const expected = reference(a, g, radius);
          expect(value, label).closeTo(expected.value, 2.1e-6 * -expected.value);
          // |s| within 1e-6 of the radius leaves lambda + (least eigenvalue) within 1e-6 of itself where g is along all
          // eigenvectors, and hardTolerance within the root of 1e-10.
          if (status !== 'interior') expect(lambda, label).closeTo(expected.lambda, 1e-4 * expected.lambda);
        }
      }
    }
    expect([...seen])
      .to.include.members(['interior', 'boundary'])
      .and.not.include('limit');
  });

  it('H = diag(0, -20, 0), g = (1, 0, -1), radius 1: the hard case with multiplier 20', () => {
    const h = [
      [0, 0, 0],
      [0, -20, 0],
      [0, 0, 0],
    ];
    const point = quadratic([1, 0, -1], h);
    expect([...point.gradient]).deep.equal([1, 0, -1]);
    expect([...point.denseHessian()]).deep.equal(h.flat());
    const { step, status, lambda, norm: length, predicted, leftmost } = trustRegionStep(point, { radius: 1 });
    expect(status).equal('hard-case');
    expect(lambda).closeTo(20, 1e-7);
    expect(leftmost).closeTo(-20, 1e-12);
    expect(length).closeTo(1, 1e-14);
    expect(step[0]).closeTo(-1 / 20, 1e-9);
    expect(step[2]).closeTo(1 / 20, 1e-9);
    expect(Math.abs(step[1])).closeTo(Math.sqrt(1 - 2 / 400), 1e-9);
    // -g^T s - s^T H s / 2
    expect(predicted).closeTo(1 / 10 + 10 * (1 - 2 / 400), 1e-8);
  });

  it('a hard case of a network: a gradient in the output bias alone, negative curvature in the weights', () => {
    const point = zeroWeights(0.01);
    const P = point.network.parameterCount;
    expect([...point.gradient.subarray(0, P - 1)].every((entry) => entry === 0)).equal(true);
    const { step, status, lambda, leftmost, predicted } = trustRegionStep(point, { radius: 0.5 });
    const expected = reference(point.denseHessian(), point.gradient, 0.5);
    expect(status).equal('hard-case');
    expect(lambda).closeTo(expected.lambda, 1e-8);
    expect(leftmost).closeTo(-expected.lambda, 1e-10);
    expect(predicted).closeTo(-expected.value, 1e-9);
    expect(norm(step)).closeTo(0.5, 1e-14);
    // (H + lambda I) s = -g in the bias: curvature 2 there
    expect(step[P - 1]).closeTo(-point.gradient[P - 1] / (2 + expected.lambda), 1e-9);
  });

  it('a vanishing gradient at a saddle: a step of length radius; at a minimum: none', () => {
    const saddle = zeroWeights(0);
    expect(norm(saddle.gradient)).below(1e-15);
    for (const gradient of [saddle.gradient, new Float64Array(saddle.gradient.length)]) {
      const { step, predicted, leftmost, status } = trustRegionStep(saddle, { radius: 0.3, gradient });
      expect(status).equal('hard-case');
      expect(norm(step)).closeTo(0.3, 1e-14);
      expect(predicted).closeTo(-0.5 * leftmost * 0.09, 1e-10);
    }
    const minimum = quadratic(
      [0, 0, 0],
      [
        [2, 1, 0],
        [1, 2, 0],
        [0, 0, 1],
      ],
    );
    const { step, status, index } = trustRegionStep(minimum, { radius: 0.3 });
    expect([norm(step), status, index]).deep.equal([0, 'interior', 0]);
  });

  it('another gradient, a least shift, and the index at that shift', () => {
    const point = randomPoint(shapes[0], 4);
    const P = point.network.parameterCount;
    const gradient = new Random(8).normals(new Float64Array(P));
    const minimumShift = 50;
    const { step, lambda, status, index } = trustRegionStep(point, { radius: 100, gradient, minimumShift });
    expect([lambda, status, index]).deep.equal([minimumShift, 'interior', 0]);
    const a = point.denseHessian();
    const residual = multiply(a, step).map((value, i) => value + minimumShift * step[i] + gradient[i]);
    expect(norm(residual)).below(1e-10 * norm(gradient));
  });

  it('on a device: the same step, and its memory is given back', () => {
    const point = randomPoint(shapes[0], 2);
    const { device, counters } = instrument(createHostDevice());
    const there = trustRegionStep(point, { radius: 1, device });
    const here = trustRegionStep(point, { radius: 1 });
    expect(counters.peak).above(0);
    expect([counters.buffers, counters.bytes]).deep.equal([0, 0]);
    // Steps of tolerance 1e-6 from the same start differ by rounding only.
    expect(norm(there.step.map((value, i) => value - here.step[i]))).below(1e-9);
    expect(there.lambda).closeTo(here.lambda, 1e-9 * here.lambda);
  });

  it('says when the factorizations ran out', () => {
    const {
      status,
      norm: length,
      predicted,
    } = trustRegionStep(randomPoint(shapes[0]), {
      radius: 1,
      tolerance: 1e-14,
      hardTolerance: 1e-15,
      maxFactorizations: 1,
    });
    expect(status).equal('limit');
    expect(trustRegionStatuses[status]).match(/limit/);
    expect(length).at.most(1 + 1e-12);
    expect(predicted).above(0);
  });

  it('refuses what is wrong by name', () => {
    const point = randomPoint(shapes[0]);
    const bad: [Partial<Record<keyof TrustRegionStepOptions | 'step', unknown>>, RegExp][] = [
      [{}, /finite number > 0 for options\.radius, received undefined/],
      [{ radius: 0 }, /options\.radius, received 0/],
      [{ radius: 1, matrix: 'fisher' }, /'hessian', 'gauss-newton' for options\.matrix/],
      [{ radius: 1, gradient: new Float64Array(2) }, /Float64Array of length \d+ for options\.gradient/],
      [{ radius: 1, gradient: [1, 2] }, /options\.gradient, received array/],
      [{ radius: 1, tolerance: 1 }, /options\.tolerance, received 1/],
      [{ radius: 1, hardTolerance: 0 }, /options\.hardTolerance, received 0/],
      [{ radius: 1, minimumShift: -1 }, /options\.minimumShift, received -1/],
      [{ radius: 1, maxFactorizations: 0 }, /options\.maxFactorizations/],
      [{ radius: 1, krylovSteps: 1 }, /options\.krylovSteps/],
      [{ radius: 1, solveTolerance: '1e-8' }, /options\.solveTolerance/],
      [{ radius: 1, seed: 0.5 }, /options\.seed/],
      [{ radius: 1, device: 'tpu' }, /options\.device/],
      [{ radius: 1, step: 2 }, /unknown option 'step'/],
    ];
    for (const [options, message] of bad)
      expect(() => trustRegionStep(point, options as TrustRegionStepOptions), JSON.stringify(options)).throw(message);
    expect(() => trustRegionStep({} as Linearization, { radius: 1 })).throw(TypeError, 'point');
  });

  it('says where derivatives have overflowed', () => {
    // loss (w^T x - t)^2: gradient 2 x (w^T x - t), second derivatives 2 x x^T, sums of which are Infinity - Infinity
    const at = (inputs: Float64Array, weight: number): Linearization => {
      const network = new Network({
        inputs: inputs.length,
        loss: 'mse',
        layers: [{ type: 'dense', units: 1, activation: 'identity' }],
      });
      const params = new Float64Array(network.parameterCount);
      params[0] = weight;
      return network.linearize(params, { inputs, targets: [1] });
    };
    const messages = [
      [1, /^trustRegionStep: the loss at the point is Infinity and its gradient is not finite$/],
      [0, /^trustRegionStep: the loss at the point is 1 and its second derivatives are not finite$/],
    ] as const;
    for (const inputs of [Float64Array.of(1e155), Float64Array.of(1e155, -1e155, 1e155), Float64Array.of(1e155, 1)]) {
      for (const [weight, message] of messages) {
        expect(() => trustRegionStep(at(inputs, weight), { radius: 1 }))
          .throw(DeepHessianError, message)
          .with.property('code', 'diverged');
      }
      const point = at(inputs, 0);
      const optimizer = createNewton(point.network as Network);
      const report = optimizer.step(new Float64Array(point.network.parameterCount), point.batch) as NewtonReport;
      expect([report.accepted, report.region]).deep.equal([false, 'not-finite']);
    }
  });
});
