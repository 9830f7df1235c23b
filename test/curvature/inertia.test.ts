import { expect } from 'chai';
import { eigenvalueCount, inertia, SpectrumSlicer } from '../../ts/curvature/index.js';
import { Network } from '../../ts/derivatives/index.js';
import { DeepHessianError } from '../../ts/errors.js';
import { goldenNames, readGolden } from '../helpers/golden.js';
import { describeShape } from '../inverse/helpers.js';
import { denseSpectrum, hardPoints, randomPoint, someShapes, spectralNorm } from './helpers.js';

/**
 * Counts at shifts midway between all neighbouring eigenvalues. Below gaps of 1e-9 |M| the dense eigenvalues themselves are only
 * good to about n u |M| = 1e-13 |M|, still enough to tell sides, but a refusal is a right answer there.
 */
function compareCounts(slicer: SpectrumSlicer, w: Float64Array): void {
  const size = spectralNorm(w);
  for (let k = 1; k < w.length; k++) {
    const gap = w[k] - w[k - 1];
    const bound = slicer.count(0.5 * (w[k] + w[k - 1]));
    if (gap >= 1e-9 * size) {
      expect(bound.trusted, `below eigenvalue ${k}, gap ${gap}: ${bound.reason}`).to.equal(true);
      expect(bound.below, `below eigenvalue ${k}`).to.equal(k);
    } else if (gap > 1e-12 * size && bound.trusted) expect(bound.below).to.equal(k);
  }
}

describe('inertia: counts against the dense spectrum', () => {
  for (const name of goldenNames) {
    it(name, () => {
      const golden = readGolden(name);
      const point = golden.network.linearize(golden.params, { inputs: golden.inputs, targets: golden.targets });
      const w = golden.array('hessian_eigenvalues');
      compareCounts(new SpectrumSlicer(point, { method: 'affine' }), w);
      // hundreds of dense factorizations: only where they are cheap without a native core too
      if (w.length <= 210) compareCounts(new SpectrumSlicer(point, { method: 'dense' }), w);
      compareCounts(
        new SpectrumSlicer(point, { matrix: 'gauss-newton', method: 'affine' }),
        golden.array('gauss_newton_eigenvalues'),
      );
      // the reference says how many eigenvalues are negative beyond its own rounding
      const size = spectralNorm(w);
      const tolerance = 1e-9 * size;
      const { negative, zero, positive } = inertia(point, 0, { tolerance });
      expect(negative).to.equal(w.filter((value) => value < -tolerance).length);
      expect(positive).to.equal(w.filter((value) => value > tolerance).length);
      expect(zero).to.equal(w.length - negative - positive);
    });
  }

  for (const shape of someShapes) {
    it(describeShape(shape), () => {
      const point = randomPoint(shape);
      compareCounts(new SpectrumSlicer(point, { method: 'affine' }), denseSpectrum(point));
    });
  }

  it('the general block route and the Gauss-Newton matrix', () => {
    for (const shape of someShapes.filter((_, i) => i % 6 === 0)) {
      const point = randomPoint(shape);
      compareCounts(new SpectrumSlicer(point, { method: 'block' }), denseSpectrum(point));
      compareCounts(
        new SpectrumSlicer(point, { method: 'affine', matrix: 'gauss-newton' }),
        denseSpectrum(point, 'gauss-newton'),
      );
    }
  });
});

describe('inertia: hard points', () => {
  for (const [name, make] of hardPoints) {
    it(name, () => {
      const point = make();
      const w = denseSpectrum(point);
      const size = spectralNorm(w);
      for (const method of ['affine', 'auto'] as const) {
        const slicer = new SpectrumSlicer(point, { method });
        compareCounts(slicer, w);
        // a shift on every eigenvalue in turn: it is reported as zero, with its whole cluster, and nothing is lost
        for (let k = 0; k < w.length; k += 1 + Math.floor(w.length / 15)) {
          const { negative, zero, positive, tolerance } = inertia(slicer, -w[k], { tolerance: 1e-9 * size });
          expect(negative + zero + positive).to.equal(w.length);
          expect(tolerance).to.equal(1e-9 * size);
          const inside = w.filter((value) => Math.abs(value - w[k]) <= tolerance).length;
          expect(zero, `eigenvalue ${k} = ${w[k]}`).to.equal(inside);
          expect(negative).to.equal(w.filter((value) => value < w[k] - tolerance).length);
        }
      }
    });
  }

  it('tells degenerate directions from negative ones when N is far below the fan-in', () => {
    // one sample: every unit has a weight vector of 4 or 5 numbers of which only one direction meets it
    const [, make] = hardPoints[3];
    const point = make();
    const w = denseSpectrum(point);
    const size = spectralNorm(w);
    const { negative, zero } = inertia(point, 0);
    expect(zero).to.equal(w.filter((value) => Math.abs(value) < 1e-10 * size).length);
    expect(zero).to.be.greaterThan(10);
    expect(negative).to.equal(w.filter((value) => value < -1e-10 * size).length);
  });

  it('a matrix of zeros has nothing but zeros', () => {
    // a bilinear loss at its degenerate point: inputs, outputs and targets all zero
    const network = new Network({
      inputs: 2,
      loss: 'mse',
      layers: [
        { type: 'dense', units: 2, activation: 'identity', bias: false },
        { type: 'dense', units: 1, activation: 'identity', bias: false },
      ],
    });
    const point = network.linearize(new Float64Array(6), { inputs: new Float64Array(4), targets: [0, 0] });
    const { negative, zero, positive } = inertia(point, 0);
    expect([negative, zero, positive]).to.deep.equal([0, 6, 0]);
  });
});

describe('eigenvalueCount', () => {
  const point = randomPoint(someShapes[4]);
  const w = denseSpectrum(point);

  it('counts intervals, infinite ends included', () => {
    const slicer = new SpectrumSlicer(point);
    const a = 0.5 * (w[10] + w[11]);
    const b = 0.5 * (w[60] + w[61]);
    expect(eigenvalueCount(slicer, a, b)).to.equal(50);
    expect(eigenvalueCount(slicer, -Infinity, a)).to.equal(11);
    expect(eigenvalueCount(slicer, b, Infinity)).to.equal(w.length - 61);
    expect(eigenvalueCount(slicer, -Infinity, Infinity)).to.equal(w.length);
    expect(eigenvalueCount(slicer, a, a)).to.equal(0);
    expect(slicer.factorizations).to.be.at.most(4);
  });

  it('refuses a bound on an eigenvalue rather than guessing', () => {
    expect(() => eigenvalueCount(point, -Infinity, w[20])).to.throw(DeepHessianError, /cannot be counted/);
  });

  it('names what is wrong', () => {
    expect(() => eigenvalueCount(point, 1, 0)).to.throw(RangeError, /for to/);
    expect(() => eigenvalueCount(point, NaN, 0)).to.throw(RangeError, /for from/);
    expect(() => eigenvalueCount({} as never, 0, 1)).to.throw(TypeError, /point/);
    expect(() => inertia(point, Infinity)).to.throw(RangeError, /shift/);
    expect(() => inertia(point, 0, { tolerance: -1 })).to.throw(RangeError, /tolerance/);
    expect(() => inertia(point, 0, { tolerence: 1 } as never)).to.throw(RangeError, /unknown option 'tolerence'/);
    expect(() => new SpectrumSlicer(point, { method: 'sample-space' as never })).to.throw(RangeError, /method/);
  });
});
