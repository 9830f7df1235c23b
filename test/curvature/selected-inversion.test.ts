import { expect } from 'chai';
import { effectiveParameters, selectedInverse } from '../../ts/curvature/index.js';
import { Network, type Linearization } from '../../ts/derivatives/index.js';
import { DeepHessianError } from '../../ts/errors.js';
import { factor } from '../../ts/inverse/index.js';
import type { LayerSpec, SmoothLayer } from '../../ts/network/index.js';
import { Random } from '../../ts/random.js';
import { gatedLayer, tanhLayer } from '../helpers/smooth-layers.js';
import { goldenNames, readGolden } from '../helpers/golden.js';
import { describeShape } from '../inverse/helpers.js';
import { denseInverse, denseSpectrum, hardPoints, pointOf, randomPoint, someShapes, spectralNorm } from './helpers.js';

/** Diagonal, blocks and traces to 1e-8 of the inverse's largest entry. */
function compareInverse(
  point: Linearization,
  matrix: 'hessian' | 'gauss-newton',
  damping: number,
  method: 'affine' | 'block' | 'dense' | 'solves',
): void {
  const { parameterCount: P, layers } = point.network;
  const expected = denseInverse(point, matrix, damping);
  const size = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const {
    diagonal,
    blocks,
    trace,
    layerTraces,
    method: used,
  } = selectedInverse(point, { matrix, damping, method, blocks: true });
  // The recursion itself, not the dense rescue behind it: that may only be needed where eps is small against |M|.
  const norm = spectralNorm(denseSpectrum(point, matrix));
  if (Math.abs(damping) >= Math.max(1e-2, 1e-4 * norm)) expect(used).to.equal(method);
  let error = 0;
  let sum = 0;
  for (const [l, { parameterOffset: o, parameterCount: p }] of layers.entries()) {
    let part = 0;
    for (let j = 0; j < p; j++) {
      part += expected[(o + j) * (P + 1)];
      error = Math.max(error, Math.abs(diagonal[o + j] - expected[(o + j) * (P + 1)]));
      for (let i = 0; i < p; i++)
        error = Math.max(error, Math.abs(blocks![l][j * p + i] - expected[(o + j) * P + o + i]));
    }
    sum += part;
    expect(Math.abs(layerTraces[l] - part)).to.be.at.most(1e-8 * size * p);
  }
  expect(error / size).to.be.below(1e-8);
  expect(Math.abs(trace - sum)).to.be.below(1e-8 * size * P);
}

describe('selectedInverse against the dense inverse', () => {
  for (const name of goldenNames) {
    it(name, () => {
      const golden = readGolden(name);
      const point = golden.network.linearize(golden.params, { inputs: golden.inputs, targets: golden.targets });
      for (const damping of golden.metadata.eps) {
        compareInverse(point, 'hessian', damping, 'affine');
        compareInverse(point, 'gauss-newton', damping, 'affine');
      }
    });
  }

  for (const shape of someShapes) {
    it(describeShape(shape), () => {
      const point = randomPoint(shape);
      // -0.013 lies inside the spectrum: an indefinite matrix with most pivots of the complement negative
      for (const damping of [0.02, 1, -0.013]) {
        compareInverse(point, 'hessian', damping, 'affine');
        compareInverse(point, 'gauss-newton', damping, 'affine');
      }
      compareInverse(point, 'hessian', 0.05, 'block');
      compareInverse(point, 'hessian', 0.05, 'dense');
      for (const matrix of ['hessian', 'gauss-newton'] as const) compareInverse(point, matrix, 0.05, 'solves');
    });
  }

  for (const [name, make] of hardPoints) {
    it(`hard point: ${name}`, () => {
      for (const method of ['affine', 'block'] as const) compareInverse(make(), 'hessian', 0.03, method);
    });
  }

  it('custom layers', () => {
    const network = new Network({
      inputs: 3,
      loss: 'mse',
      layers: [
        { type: 'custom', layer: gatedLayer(3, 4) },
        { type: 'dense', units: 4, activation: 'tanh' },
        { type: 'custom', layer: tanhLayer(4, 4, true) },
        { type: 'dense', units: 2, activation: 'identity' },
      ],
    });
    const random = new Random(3);
    const point = network.linearize(random.normals(new Float64Array(network.parameterCount)), {
      inputs: random.normals(new Float64Array(15)),
      targets: random.normals(new Float64Array(10)),
    });
    for (const method of ['affine', 'block'] as const) compareInverse(point, 'hessian', 0.1, method);
  });

  it('custom layers without parameters', () => {
    const squares = (width: number): SmoothLayer => ({
      name: 'squares',
      inputs: width,
      units: width,
      parameterCount: 0,
      forward: (_params, z, out) => z.forEach((value, i) => (out[i] = 0.5 * value * value)),
      jacobians: (_params, z, _dParams, dInput) => z.forEach((value, i) => (dInput[i * width + i] = value)),
      contractions: (_params, _z, adjoint, _hxx, _hxz, hzz) =>
        adjoint.forEach((value, i) => (hzz[i * width + i] = value)),
    });
    const layers: LayerSpec[] = [
      { type: 'custom', layer: squares(3) },
      { type: 'dense', units: 4, activation: 'tanh' },
      { type: 'custom', layer: squares(4) },
      { type: 'dense', units: 2, activation: 'identity' },
    ];
    const point = pointOf(3, 'mse', layers, 5);
    for (const method of ['affine', 'block', 'solves'] as const) compareInverse(point, 'hessian', 0.1, method);
  });

  it('log-determinant of the same factor to 1e-8', () => {
    for (const shape of someShapes.filter((_, i) => i % 5 === 0)) {
      const point = randomPoint(shape);
      const w = denseSpectrum(point);
      const expected = w.reduce((sum, value) => sum + Math.log(Math.abs(value + 0.02)), 0);
      expect(factor(point, { damping: 0.02, method: 'affine' }).logAbsDet).to.be.closeTo(
        expected,
        1e-8 * Math.abs(expected),
      );
    }
  });

  it('the columns checked see what the last layers have lost', () => {
    for (let seed = 1; seed <= 6; seed++) {
      const layers = ['tanh', 'tanh', 'tanh', 'tanh', 'identity'].map(
        (activation, l) => ({ type: 'dense', units: l < 4 ? 9 : 3, activation }) as LayerSpec,
      );
      const point = pointOf(9, 'mse', layers, 6, seed);
      const P = point.network.parameterCount;
      const damping = 1e-7 * spectralNorm(denseSpectrum(point));
      const { diagonal, error } = selectedInverse(point, { damping, method: 'affine', tolerance: 1e300 });
      const expected = denseInverse(point, 'hessian', damping);
      let worst = 0;
      for (let i = 0; i < P; i++) {
        const size = expected.subarray(i * P, (i + 1) * P).reduce((most, value) => Math.max(most, Math.abs(value)), 0);
        worst = Math.max(worst, Math.abs(diagonal[i] - expected[i * (P + 1)]) / size);
      }
      expect(worst).to.be.above(1e-8);
      // 24 of 423 columns: the worst of all is a few times the worst of these.
      expect(error).to.be.within(worst / 100, 2 * worst);
    }
  });

  describe('where the recursion loses its digits', () => {
    const golden = readGolden('case11');
    const point = golden.network.linearize(golden.params, { inputs: golden.inputs, targets: golden.targets });
    const P = point.network.parameterCount;
    // eps = 2e-7 |H|: the recursion keeps about four digits here
    const damping = 1e-6;
    // no room for the 24 P^2 bytes of a dense inverse
    const small = { damping, method: 'affine', blocks: true, memoryLimit: 2.2e6 } as const;

    it('a small network has a dense inverse', () => {
      const { method, error } = selectedInverse(point, { damping, blocks: true });
      expect(method).to.equal('dense');
      expect(error).to.be.below(1e-8);
    });

    it('solves with all unit vectors take its place, to the digits that they report', () => {
      const done: number[] = [];
      const result = selectedInverse(point, {
        ...small,
        onProgress: (columns, total) => {
          expect(total).to.equal(P);
          done.push(columns);
        },
      });
      expect(result.method).to.equal('solves');
      expect(result.error).to.be.within(1e-16, 1e-8);
      expect(done.at(-1)).to.equal(P);
      expect(done).to.have.length.above(1);
      const expected = denseInverse(point, 'hessian', damping);
      // |A^-1|_2 <= |A^-1|_F, relative to which a column's error is at most its residual; the oracle's own is about 1e-16 / 2e-7.
      const bound = 1e-8 * Math.sqrt(expected.reduce((sum, value) => sum + value * value, 0));
      for (const [l, { parameterOffset: o, parameterCount: p }] of point.network.layers.entries()) {
        for (let j = 0; j < p; j++) {
          expect(Math.abs(result.diagonal[o + j] - expected[(o + j) * (P + 1)])).to.be.below(bound);
          for (let i = 0; i < p; i++)
            expect(Math.abs(result.blocks![l][j * p + i] - expected[(o + j) * P + o + i])).to.be.below(bound);
        }
      }
    });

    it('solves that nobody asked for keep to their seconds, others to their caller', () => {
      expect(() => selectedInverse(point, { ...small, seconds: 1e-9 }))
        .to.throw(
          DeepHessianError,
          /differ from refined solves by .*would take about .*ask for them with method: 'solves'/,
        )
        .with.nested.property('details.result.method', 'affine');
      const asked = selectedInverse(point, { ...small, method: 'solves', seconds: 1e-9 });
      expect(asked.method).to.equal('solves');
      expect(() => selectedInverse(point, { ...small, onProgress: () => false })).to.throw(
        DeepHessianError,
        /stopped by its caller/,
      );
    });

    it('a tolerance beyond float64 is missed with the best result', () => {
      try {
        selectedInverse(point, { damping, tolerance: 1e-15 });
        expect.fail('no error');
      } catch (error) {
        expect(error).to.be.instanceOf(DeepHessianError).with.property('code', 'tolerance-missed');
        const { details, message } = error as DeepHessianError & { details: { result: { method: string } } };
        expect(message).to.match(
          /differ from refined solves by .*, and refined solves with unit vectors leave residuals of/,
        );
        expect(details.result.method).to.equal('dense');
      }
    });
  });

  it('names what is wrong, and foresees memory', () => {
    const point = randomPoint(someShapes[0]);
    expect(() => selectedInverse(point, { damping: NaN })).to.throw(RangeError, /damping/);
    expect(() => selectedInverse(point, {} as never)).to.throw(TypeError, /damping/);
    expect(() => selectedInverse(point, undefined as never)).to.throw(TypeError, /an object for options/);
    expect(() => selectedInverse(point, { damping: 1, onProgress: true as never })).to.throw(TypeError, /onProgress/);
    expect(() => selectedInverse(point, { damping: 1, method: 'sample-space' as never })).to.throw(
      RangeError,
      /method/,
    );
    expect(() => selectedInverse(point, { damping: 1, memoryLimit: 1000 })).to.throw(
      DeepHessianError,
      /needs .* but 1.0 kB/,
    );
  });
});

describe('effectiveParameters', () => {
  it('equals the sum of lambda / (lambda + eps), layer parts adding up', () => {
    for (const shape of someShapes.filter((_, i) => i % 5 === 0)) {
      const point = randomPoint(shape);
      for (const matrix of ['hessian', 'gauss-newton'] as const) {
        const w = denseSpectrum(point, matrix);
        const damping = 0.3;
        const expected = w.reduce((sum, value) => sum + value / (value + damping), 0);
        const { total, layers } = effectiveParameters(point, { matrix, damping });
        const scale = w.reduce((sum, value) => sum + Math.abs(value / (value + damping)), 0);
        expect(Math.abs(total - expected)).to.be.below(1e-8 * scale);
        expect(Math.abs(layers.reduce((a, b) => a + b, 0) - total)).to.be.below(1e-9 * scale);
      }
    }
  });
});
