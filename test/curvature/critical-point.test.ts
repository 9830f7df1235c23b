import { expect } from 'chai';
import { criticalPoint, lossProfile } from '../../ts/curvature/index.js';
import { Network, type Linearization } from '../../ts/derivatives/index.js';
import type { SmoothLayer } from '../../ts/network/index.js';
import { kernels, Lower } from '../../ts/native/index.js';
import { Random } from '../../ts/random.js';
import { denseSpectrum, pointOf, randomPoint, someShapes } from './helpers.js';

/** A layer that ignores its input: output f(p) of `parameterCount` parameters, with its derivatives. */
function formula(
  parameterCount: number,
  value: (p: Float64Array) => number,
  gradient: (p: Float64Array) => number[],
  hessian: (p: Float64Array) => number[][],
): SmoothLayer {
  return {
    name: 'formula',
    inputs: 1,
    units: 1,
    parameterCount,
    forward: (p, _z, out) => {
      out[0] = value(p);
    },
    jacobians: (p, _z, dp, dz) => {
      dp.set(gradient(p));
      dz.fill(0);
    },
    contractions: (p, _z, adjoint, hxx, hxz, hzz) => {
      hxx.set(
        hessian(p)
          .flat()
          .map((entry) => adjoint[0] * entry),
      );
      hxz.fill(0);
      hzz.fill(0);
    },
  };
}

/** (f(p) - target)^2 at p. */
function pointOfFormula(layer: SmoothLayer, target: number, p: number[]): Linearization {
  const network = new Network({ inputs: 1, loss: 'mse', layers: [{ type: 'custom', layer }] });
  return network.linearize(Float64Array.from(p), { inputs: Float64Array.of(1), targets: [target] });
}

const square = formula(
  2,
  (p) => p[0] ** 2 + p[1] ** 2,
  (p) => [2 * p[0], 2 * p[1]],
  () => [
    [2, 0],
    [0, 2],
  ],
);
const hyperbola = formula(
  2,
  (p) => p[0] ** 2 - p[1] ** 2,
  (p) => [2 * p[0], -2 * p[1]],
  () => [
    [2, 0],
    [0, -2],
  ],
);

describe('criticalPoint: known functions', () => {
  it('a strict maximum: (p^2 + q^2 - 1)^2 at the origin, H = -4 I', () => {
    const { kind, index, degenerate, positive, smallest, gradientNorm } = criticalPoint(
      pointOfFormula(square, 1, [0, 0]),
    );
    expect({ kind, index, degenerate, positive, gradientNorm }).to.deep.equal({
      kind: 'maximum',
      index: 2,
      degenerate: 0,
      positive: 0,
      gradientNorm: 0,
    });
    expect(smallest.value).to.be.closeTo(-4, 1e-12);
  });

  it('a strict minimum: the same with target -1, H = 4 I', () => {
    const report = criticalPoint(pointOfFormula(square, -1, [0, 0]));
    expect(report.kind).to.equal('minimum');
    expect(report.smallest.value).to.be.closeTo(4, 1e-12);
  });

  it('a saddle: (p^2 - q^2 + 1)^2 at the origin, H = diag(4, -4)', () => {
    const { kind, index, direction, profile, quadraticForm } = criticalPoint(pointOfFormula(hyperbola, -1, [0, 0]));
    expect(kind).to.equal('saddle');
    expect(index).to.equal(1);
    expect(Math.abs(direction[1])).to.be.closeTo(1, 1e-12);
    // (1 - t^2)^2 along q
    profile.distances.forEach((t, i) => {
      expect(profile.losses[i]).to.be.closeTo((1 - t * t) ** 2, 1e-12);
      expect(profile.predictions[i]).to.be.closeTo(1 - 2 * t * t, 1e-12);
    });
    expect(quadraticForm[0].exact).to.be.closeTo(-4, 1e-12);
  });

  it('degenerate: (p^2 + q^2)^2 at the origin, H = 0', () => {
    const { kind, index, degenerate } = criticalPoint(pointOfFormula(square, 0, [0, 0]));
    expect({ kind, index, degenerate }).to.deep.equal({ kind: 'degenerate', index: 0, degenerate: 2 });
  });

  it('on the circle of minima one direction is flat: degenerate, not a strict minimum', () => {
    const { kind, index, degenerate, positive } = criticalPoint(pointOfFormula(square, 1, [0.6, 0.8]));
    expect({ kind, index, degenerate, positive }).to.deep.equal({
      kind: 'degenerate',
      index: 0,
      degenerate: 1,
      positive: 1,
    });
  });

  it('off the critical set it says so, and the direction points downhill', () => {
    const point = pointOfFormula(hyperbola, -1, [0.3, 0.2]);
    const { kind, direction } = criticalPoint(point);
    expect(kind).to.equal('not-critical');
    expect(direction[0] * point.gradient[0] + direction[1] * point.gradient[1]).to.be.at.most(0);
  });
});

describe('criticalPoint: networks', () => {
  it('a deep linear network at zero is a saddle: w2 w1 has H = [[0, c], [c, 0]]', () => {
    const network = new Network({
      inputs: 1,
      loss: 'mse',
      layers: [
        { type: 'dense', units: 1, activation: 'identity', bias: false },
        { type: 'dense', units: 1, activation: 'identity', bias: false },
      ],
    });
    // loss = mean (w2 w1 x - t)^2, so c = -2 mean(x t) = -2 (1 * 3 + 2 * 1) / 2 = -5
    const { kind, index, smallest } = criticalPoint(
      network.linearize(new Float64Array(2), { inputs: Float64Array.of(1, 2), targets: [3, 1] }),
    );
    expect(kind).to.equal('saddle');
    expect(index).to.equal(1);
    expect(smallest.value).to.be.closeTo(-5, 1e-12);
  });

  it('the least-squares solution of a linear model is a strict minimum', () => {
    const random = new Random(6);
    const [N, d] = [12, 3];
    const inputs = random.normals(new Float64Array(N * d));
    const targets = random.normals(new Float64Array(N));
    const network = new Network({
      inputs: d,
      loss: 'mse',
      layers: [{ type: 'dense', units: 1, activation: 'identity', bias: false }],
    });
    const zero = network.linearize(new Float64Array(d), { inputs, targets });
    // one Newton step from zero
    const H = zero.denseHessian();
    const x = zero.gradient.map((value) => -value);
    kernels.potrf(Lower, d, H, 0, d);
    kernels.potrs(Lower, d, 1, H, 0, d, x, 0, d);
    const { kind, gradientNorm } = criticalPoint(network.linearize(x, { inputs, targets }));
    expect(kind).to.equal('minimum');
    expect(gradientNorm).to.be.below(1e-14);
  });

  it('counts and the quadratic form agree with the dense spectrum and with differences of the loss', () => {
    for (const shape of someShapes.filter((_, i) => i % 7 === 0)) {
      const point = randomPoint(shape);
      const w = denseSpectrum(point);
      const { index, degenerate, positive, tolerance, smallest, direction, residual, quadraticForm } =
        criticalPoint(point);
      expect(index).to.equal(w.filter((value) => value < -tolerance).length);
      expect(degenerate).to.equal(w.filter((value) => Math.abs(value) <= tolerance).length);
      expect(index + degenerate + positive).to.equal(w.length);
      const size = Math.max(Math.abs(w[0]), Math.abs(w[w.length - 1]));
      expect(Math.abs(smallest.value - w[0])).to.be.below(1e-8 * size);
      expect(direction.length).to.equal(w.length);
      expect(residual).to.be.below(1e-8 * size);
      // differences: rounding u |loss| / t^2 = 1e-8 |loss|, truncation t^2 = 1.5e-8 of fourth derivatives (within 1e3)
      for (const { exact, difference } of quadraticForm)
        expect(Math.abs(exact - difference)).to.be.below(1e-5 * Math.max(1, size, point.loss));
    }
  });

  it('dead units give flat directions', () => {
    const point = pointOf(
      3,
      'mse',
      [
        { type: 'dense', units: 4, activation: 'relu' },
        { type: 'dense', units: 1, activation: 'identity' },
      ],
      6,
      1,
      (x) => {
        x.fill(-20, 12, 16); // biases: no unit ever fires
      },
    );
    const { degenerate, positive, index } = criticalPoint(point);
    // only the output bias has curvature
    expect([degenerate, positive, index]).to.deep.equal([20, 1, 0]);
  });

  it('profiles where it is asked to', () => {
    const point = randomPoint(someShapes[0]);
    const v = new Float64Array(point.network.parameterCount);
    v[0] = 1;
    const { losses, predictions } = lossProfile(point, v, Float64Array.of(0, 1e-4));
    expect(losses[0]).to.equal(point.loss);
    expect(losses[1]).to.be.closeTo(predictions[1], 1e-9);
  });

  it('names what is wrong', () => {
    const point = randomPoint(someShapes[0]);
    expect(() => criticalPoint(point, { directions: -1 })).to.throw(RangeError, /directions/);
    expect(() => criticalPoint(point, { matrix: 'hessian' } as never)).to.throw(RangeError, /unknown option 'matrix'/);
    expect(() => criticalPoint(point, { gradientTolerance: NaN })).to.throw(RangeError, /gradientTolerance/);
    expect(() => criticalPoint(point, null as never)).to.throw(
      TypeError,
      'expected an object for options, received null',
    );
    const direction = new Float64Array(point.network.parameterCount);
    expect(() => lossProfile({} as never, direction)).to.throw(TypeError, 'lossProfile: expected a Linearization');
    expect(() => lossProfile(point, new Float64Array(2))).to.throw(RangeError, /for direction/);
    expect(() => lossProfile(point, direction, [1] as never)).to.throw(TypeError, /for distances/);
    expect(() => lossProfile(point, direction, Float64Array.of(0, NaN))).to.throw(RangeError, /for distances\[1\]/);
  });
});
