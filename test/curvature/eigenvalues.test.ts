import { expect } from 'chai';
import {
  conditionNumber,
  eigenvalue,
  eigenvalues,
  inverseIteration,
  largestEigenvalue,
  smallestEigenvalue,
  spectralDensity,
  SpectrumSlicer,
} from '../../ts/curvature/index.js';
import { DeepHessianError } from '../../ts/errors.js';
import { factor } from '../../ts/inverse/index.js';
import { kernels, No, Yes } from '../../ts/native/index.js';
import type { LayerSpec } from '../../ts/network/index.js';
import { goldenNames, readGolden } from '../helpers/golden.js';
import { denseSpectrum, hardPoints, pointOf, randomPoint, someShapes, spectralNorm } from './helpers.js';

/** Value to 1e-8 of the largest, and the dense eigenvalue inside the certified interval (to the dense solver's own 1e-13). */
function compareEigenvalues(slicer: SpectrumSlicer, w: Float64Array, stride: number): void {
  const size = spectralNorm(w);
  for (let k = 0; k < w.length; k += stride) {
    const { index, value, lower, upper, first, last } = eigenvalue(slicer, k);
    expect(index).to.equal(k);
    expect(Math.abs(value - w[k]), `eigenvalue ${k}`).to.be.below(1e-8 * size);
    expect(lower - 1e-13 * size).to.be.at.most(w[k]);
    expect(upper + 1e-13 * size).to.be.at.least(w[k]);
    expect(upper - lower).to.be.below(1e-4 * size);
    expect(first <= k && k <= last, `cluster ${first}..${last} holds ${k}`).to.equal(true);
  }
}

describe('eigenvalue: every one, certified', () => {
  for (const name of goldenNames) {
    it(name, () => {
      const golden = readGolden(name);
      const point = golden.network.linearize(golden.params, { inputs: golden.inputs, targets: golden.targets });
      const w = golden.array('hessian_eigenvalues');
      compareEigenvalues(new SpectrumSlicer(point, { method: 'affine' }), w, w.length > 200 ? 7 : 1);
      const { values } = eigenvalues(point);
      const size = spectralNorm(w);
      for (let k = 0; k < w.length; k++) expect(Math.abs(values[k] - w[k])).to.be.below(1e-12 * size);
    });
  }

  it('random networks of all kinds', () => {
    for (const shape of someShapes.filter((_, i) => i % 4 === 0)) {
      const point = randomPoint(shape);
      compareEigenvalues(new SpectrumSlicer(point), denseSpectrum(point), 5);
      compareEigenvalues(
        new SpectrumSlicer(point, { matrix: 'gauss-newton' }),
        denseSpectrum(point, 'gauss-newton'),
        11,
      );
    }
  });

  for (const [name, make] of hardPoints) {
    it(`hard point: ${name}`, () => {
      const point = make();
      compareEigenvalues(new SpectrumSlicer(point), denseSpectrum(point), 4);
    });
  }

  it('a multiple eigenvalue comes with its whole cluster', () => {
    const [, make] = hardPoints.find(([name]) => name.startsWith('duplicate'))!;
    const point = make();
    const w = denseSpectrum(point);
    const size = spectralNorm(w);
    // four alike units: every direction that tells them apart and leaves their sum alone has the same curvature three times
    const triples = w.filter(
      (value, k) => k > 1 && Math.abs(value - w[k - 2]) < 1e-12 * size && Math.abs(value) > 1e-6 * size,
    );
    expect(triples.length).to.be.greaterThan(2);
    for (let k = 2; k < w.length; k++) {
      if (Math.abs(w[k] - w[k - 2]) > 1e-12 * size || Math.abs(w[k]) < 1e-6 * size) continue;
      const { first, last } = eigenvalue(point, k - 1);
      expect(first).to.be.at.most(k - 2);
      expect(last).to.be.at.least(k);
    }
  });
});

describe('eigenvalue: wrong first guesses', () => {
  it('cost factorizations, never the answer', () => {
    const point = randomPoint(someShapes[5]);
    const w = denseSpectrum(point);
    const size = spectralNorm(w);
    for (const shift of [-0.3, -1e-3, 1e-3, 0.3]) {
      const slicer = new SpectrumSlicer(point);
      slicer.denseValues = () => w.map((value) => value + shift * size);
      compareEigenvalues(slicer, w, 6);
    }
    // its neighbour's value, which passes every test but the count
    for (const step of [-1, 1]) {
      const slicer = new SpectrumSlicer(point);
      slicer.denseValues = () => w.map((value, k) => w[k + step] ?? value);
      compareEigenvalues(slicer, w, 6);
    }
  });
});

describe('eigenvalue: networks too large for dense first guesses', () => {
  const wide: LayerSpec[] = [
    { type: 'dense', units: 14, activation: 'tanh' },
    { type: 'residual', units: 14, activation: 'sigmoid' },
    { type: 'dense', units: 14, activation: 'softplus' },
    { type: 'dense', units: 4, activation: 'identity' },
  ];
  for (const samples of [5, 24]) {
    it(`P = 620, N = ${samples}: ends by Lanczos, inner ones by slicing and inverse Lanczos`, function () {
      const point = pointOf(10, 'cross-entropy', wide, samples);
      expect(point.network.parameterCount).to.be.greaterThan(500);
      const w = denseSpectrum(point);
      const size = spectralNorm(w);
      const P = w.length;
      const slicer = new SpectrumSlicer(point);
      for (const k of [0, 1, 3, 17, 60, 200, P - 30, P - 2, P - 1]) {
        const { value, lower, upper, first, last } = eigenvalue(slicer, k);
        expect(Math.abs(value - w[k]), `eigenvalue ${k}`).to.be.below(1e-8 * size);
        expect(lower <= w[k] + 1e-13 * size && w[k] - 1e-13 * size <= upper).to.equal(true);
        expect(first <= k && k <= last).to.equal(true);
      }
      // in the null space too, where one interval holds many
      const middle = w.findIndex((value) => value > -1e-12 * size);
      if (Math.abs(w[middle + 5]) < 1e-12 * size) {
        const zero = eigenvalue(slicer, middle + 5);
        expect(Math.abs(zero.value)).to.be.below(1e-8 * size);
        expect(zero.last - zero.first).to.be.greaterThan(10);
      }
    });
  }
});

describe('eigenvectors', () => {
  it('have small residuals and the right quotient', () => {
    for (const shape of someShapes.filter((_, i) => i % 7 === 0)) {
      const point = randomPoint(shape);
      const w = denseSpectrum(point);
      const size = spectralNorm(w);
      const slicer = new SpectrumSlicer(point);
      for (const k of [0, 3, w.length - 1]) {
        const { vector, residual, value } = eigenvalue(slicer, k, { vector: true });
        const product = point.hessianProduct(vector!);
        for (let i = 0; i < product.length; i++) product[i] -= value * vector![i];
        expect(kernels.nrm2(product.length, product, 0)).to.be.below(1e-9 * size);
        expect(residual).to.be.below(1e-9 * size);
        expect(Math.abs(kernels.nrm2(vector!.length, vector!, 0) - 1)).to.be.below(1e-14);
      }
    }
  });

  it('the complete set is orthonormal and diagonalises H', () => {
    const point = randomPoint(someShapes[7]);
    const P = point.network.parameterCount;
    const { values, vectors } = eigenvalues(point, { vectors: true });
    const gram = new Float64Array(P * P);
    kernels.gemm(Yes, No, P, P, P, 1, vectors!, 0, P, vectors!, 0, P, 0, gram, 0, P);
    const hv = new Float64Array(P * P);
    kernels.gemm(No, No, P, P, P, 1, point.denseHessian(), 0, P, vectors!, 0, P, 0, hv, 0, P);
    for (let j = 0; j < P; j++) {
      for (let i = 0; i < P; i++) {
        expect(Math.abs(gram[j * P + i] - Number(i === j))).to.be.below(1e-13);
        expect(Math.abs(hv[j * P + i] - values[j] * vectors![j * P + i])).to.be.below(1e-12 * spectralNorm(values));
      }
    }
  });

  it('smallest and largest are the ends', () => {
    const point = randomPoint(someShapes[3]);
    const w = denseSpectrum(point);
    expect(smallestEigenvalue(point).value).to.be.closeTo(w[0], 1e-9 * spectralNorm(w));
    expect(largestEigenvalue(point).value).to.be.closeTo(w[w.length - 1], 1e-9 * spectralNorm(w));
  });

  it('says what does not fit, and what is wrong', () => {
    const point = randomPoint(someShapes[0]);
    expect(() => eigenvalues(point, { memoryLimit: 1000 })).to.throw(
      DeepHessianError,
      /eigenvalues: needs .* but 1.0 kB/,
    );
    expect(() => eigenvalue(point, -1)).to.throw(RangeError, /index/);
    expect(() => eigenvalue(point, point.network.parameterCount)).to.throw(RangeError, /index/);
    expect(() => eigenvalue(point, 0, { tolerance: 0 })).to.throw(RangeError, /tolerance/);
    // A matrix of another name used to be G.
    expect(() => eigenvalues(point, { matrix: 'Hessian' as never })).to.throw(RangeError, /matrix/);
    expect(() => eigenvalues(point, { vectors: 1 as never })).to.throw(TypeError, /vectors/);
    expect(() => inverseIteration({} as never, null, 0, 3)).to.throw(TypeError, /a Factor/);
    const held = factor(point, { damping: 1 });
    expect(() => inverseIteration(held, new Float64Array(2), 0, 3)).to.throw(RangeError, /start/);
    expect(() => inverseIteration(held, null, 0, 0)).to.throw(RangeError, /steps/);
  });
});

describe('conditionNumber', () => {
  it('equals that of the dense spectrum, definite or not', () => {
    for (const shape of someShapes.filter((_, i) => i % 6 === 0)) {
      const point = randomPoint(shape);
      const w = denseSpectrum(point);
      for (const damping of [0.01, 1, 20]) {
        const moduli = w.map((value) => Math.abs(value + damping));
        const expected = Math.max(...moduli) / Math.min(...moduli);
        const { condition, certifiedTo } = conditionNumber(point, damping);
        expect(condition / expected).to.be.closeTo(1, 1e-6);
        expect(certifiedTo).to.be.at.most(1e-2);
      }
    }
  });

  it('is infinite for a singular matrix', () => {
    const [, make] = hardPoints[1];
    expect(conditionNumber(make(), 0).condition).to.equal(Infinity);
  });
});

describe('spectralDensity', () => {
  it('has the exact counts, edges on eigenvalues included', () => {
    for (const shape of someShapes.filter((_, i) => i % 8 === 0)) {
      const point = randomPoint(shape);
      const w = denseSpectrum(point);
      const size = spectralNorm(w);
      // an odd number of bins over a symmetric interval has no edge at 0; an even one does, on the null space
      for (const bins of [10, 15]) {
        const { edges, counts, below, above, estimates, standardErrors } = spectralDensity(point, {
          bins,
          from: -1.1 * size,
          to: 1.1 * size,
          probes: 40,
        });
        expect(below).to.equal(0);
        expect(above).to.equal(0);
        expect(counts.reduce((a, b) => a + b, 0)).to.equal(w.length);
        for (let i = 0; i < bins; i++) {
          const inside = w.filter((value) => value >= edges[i] && value < edges[i + 1]).length;
          const doubtful = w.some(
            (value) => Math.min(Math.abs(value - edges[i]), Math.abs(value - edges[i + 1])) < 1e-12 * size,
          );
          if (!doubtful) expect(counts[i], `bin ${i}`).to.equal(inside);
          // P is below the quadrature's steps, so only sampling error is left: six standard errors and a rounding count
          expect(Math.abs(estimates[i] - counts[i])).to.be.below(
            6 * standardErrors[i] + 0.51 + (doubtful ? w.length : 0),
          );
        }
      }
    }
  });

  it('can be stopped, and names wrong options', () => {
    const point = randomPoint(someShapes[0]);
    expect(() => spectralDensity(point, { onProgress: () => false })).to.throw(DeepHessianError, /stopped/);
    expect(() => spectralDensity(point, { bins: 0 })).to.throw(RangeError, /bins/);
    expect(() => spectralDensity(point, { edges: null as never })).to.throw(TypeError, /a Float64Array for edges/);
    expect(() => spectralDensity(point, { edges: Float64Array.of(1, 1) })).to.throw(RangeError, /edges\[1\]/);
    expect(() => spectralDensity(point, { from: 1, to: 0 })).to.throw(RangeError, /for to/);
  });
});
