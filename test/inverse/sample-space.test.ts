import { expect } from 'chai';
import { estimateCosts, SampleSpaceFactor } from '../../ts/inverse/index.js';
import { sampleSpaceBytes, sampleSpaceLayout } from '../../ts/inverse/cost.js';
import { Network } from '../../ts/derivatives/index.js';
import type { Linearization } from '../../ts/derivatives/index.js';
import { Random } from '../../ts/random.js';
import { describeShape, randomPoint, shapes } from './helpers.js';

/** Bytes of every typed array that an object holds, itself or in an object of its own; the point's are not its own. */
function heldBytes(object: object, seen = new Set<object>()): number {
  let bytes = 0;
  for (const [name, value] of Object.entries(object) as [string, unknown][]) {
    if (typeof value !== 'object' || value === null || ['network', 'point', 'outputFactorPoint'].includes(name))
      continue;
    if (seen.has(value)) continue;
    seen.add(value);
    bytes += ArrayBuffer.isView(value) ? value.byteLength : heldBytes(value, seen);
  }
  return bytes;
}

/** A classifier or a regression of a given size at random parameters. */
function pointOf(
  loss: 'mse' | 'cross-entropy',
  samples: number,
  widths: number[],
  lastActivation = 'identity',
): Linearization {
  const [inputs, ...units] = widths;
  const last = units.length - 1;
  const network = new Network({
    inputs,
    loss,
    layers: units.map((count, l) => ({
      type: 'dense',
      units: count,
      activation: l === last ? (lastActivation as 'identity') : 'tanh',
    })),
  });
  const random = new Random(1);
  const K = units[last];
  return network.linearize(network.initialize({ seed: 1 }), {
    inputs: random.normals(new Float64Array(samples * inputs)),
    targets:
      loss === 'cross-entropy'
        ? Int32Array.from({ length: samples }, () => random.integer(K))
        : random.normals(new Float64Array(samples * K)),
  });
}

describe('memory of the sample-space route', () => {
  /** Works through everything that allocates, then compares. */
  function check(point: Linearization, side: 'samples' | 'parameters', label: string): void {
    const { network, samples } = point;
    const factor = new SampleSpaceFactor(network, samples, side);
    factor.assemble(point);
    expect(factor.factor(0.5), label).to.equal(true);
    const x = new Float64Array(network.parameterCount);
    factor.solve(point.gradient, x, 1);
    factor.step(x);
    factor.applyRows(x, new Float64Array(factor.rows));
    const held = heldBytes(factor);
    const { sizes } = sampleSpaceLayout(network, samples, side);
    // Covered, and not by much: half a number of pivots and small fields apart, the parts are the arrays.
    const foreseen = sampleSpaceBytes(network, samples, side) - 8 * sizes.passing;
    expect(foreseen, label).to.be.within(held, held + 100);
    // The factor's own figure leaves out only the offsets and widths of the layers.
    expect(factor.bytes, label).to.be.within(held - 40 * network.layers.length - 100, held);
  }

  it('is foreseen to the last array, for every shape, on both sides', () => {
    for (const shape of shapes)
      for (const side of ['samples', 'parameters'] as const)
        check(randomPoint(shape), side, describeShape(shape) + side);
  });

  it('counts the inputs of a wide first layer, stored Gram matrices, and the rows of outputs with a slope', () => {
    // Both were missing in one of two earlier models: 128 x 3000 inputs are six times the other arrays together.
    const wide = pointOf('mse', 128, [3000, 2, 1]);
    check(wide, 'samples', 'wide');
    expect(sampleSpaceLayout(wide.network, 128, 'samples')).to.include({ gramByTiles: true });
    const stored = pointOf('cross-entropy', 40, [6, 4, 4, 4, 4, 4, 3]);
    check(stored, 'samples', 'stored');
    expect(sampleSpaceLayout(stored.network, 40, 'samples').sizes.grams).to.equal(6 * 40 * 40);
    check(pointOf('mse', 20, [4, 5, 3], 'tanh'), 'samples', 'slope');
  });

  it('is one figure for the choice of a route and for the factor', () => {
    for (const point of [pointOf('mse', 30, [50, 8, 2]), pointOf('cross-entropy', 200, [3, 4, 3])]) {
      const { network, samples } = point;
      const model = estimateCosts(network, samples, 'gauss-newton').find(({ method }) => method === 'sample-space')!;
      expect(SampleSpaceFactor.estimateBytes(network, samples)).to.equal(model.bytes);
      expect(model.bytes).to.be.at.least(heldBytes(new SampleSpaceFactor(network, samples)));
    }
  });

  it('bounds the rows that are multiplied out at a time', () => {
    const { network } = pointOf('mse', 2, [100, 30, 10]);
    const { chunk, sizes } = sampleSpaceLayout(network, 5000, 'parameters');
    expect(chunk).to.be.within(1, 4999);
    expect(sizes.passing).to.be.at.most(2 ** 22);
    // A sample whose rows alone are more: one at a time.
    expect(sampleSpaceLayout({ ...network, outputs: 2 ** 22 } as Network, 3, 'parameters').chunk).to.equal(1);
  });
});
