import { expect } from 'chai';
import { effectiveParameters, selectedInverse } from '../../ts/curvature/index.js';
import { Network, type Linearization } from '../../ts/derivatives/index.js';
import { DeepHessianError } from '../../ts/errors.js';
import { factor } from '../../ts/inverse/index.js';
import { Random } from '../../ts/random.js';
import { gatedLayer, tanhLayer } from '../helpers/smooth-layers.js';
import { goldenNames, readGolden } from '../helpers/golden.js';
import { describeShape } from '../inverse/helpers.js';
import { denseInverse, denseSpectrum, hardPoints, randomPoint, someShapes } from './helpers.js';

/** Diagonal, blocks and traces to 1e-8 of the inverse's largest entry. */
function compareInverse(
  point: Linearization,
  matrix: 'hessian' | 'gauss-newton',
  damping: number,
  method: 'affine' | 'block' | 'dense',
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
  if (Math.abs(damping) >= 1e-2) expect(used).to.equal(method);
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
    expect(Math.abs(layerTraces[l] - part)).to.be.below(1e-8 * size * p);
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

  it('falls back to a dense inverse, or says so, where the recursion loses its digits', () => {
    const golden = readGolden('case11');
    const point = golden.network.linearize(golden.params, { inputs: golden.inputs, targets: golden.targets });
    // eps = 2e-7 |H|: the recursion keeps about four digits here
    const { method, error } = selectedInverse(point, { damping: 1e-6, blocks: true });
    expect(method).to.equal('dense');
    expect(error).to.be.below(1e-8);
    // without room for 24 P^2 bytes the loss is told, with the figures and the result
    expect(() =>
      selectedInverse(point, { damping: 1e-6, method: 'affine', blocks: true, memoryLimit: 2.2e6 }),
    ).to.throw(DeepHessianError, /differ from refined solves/);
  });

  it('names what is wrong, and foresees memory', () => {
    const point = randomPoint(someShapes[0]);
    expect(() => selectedInverse(point, { damping: NaN })).to.throw(RangeError, /damping/);
    expect(() => selectedInverse(point, {} as never)).to.throw(TypeError, /damping/);
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
