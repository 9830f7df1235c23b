import { expect } from 'chai';
import { createHostDevice } from '../../ts/device/index.js';
import { DeviceSampleSpaceFactor, estimateCosts, factor, SampleSpaceFactor } from '../../ts/inverse/index.js';
import { sampleSpaceBytes, sampleSpaceLayout } from '../../ts/inverse/cost.js';
import { Network } from '../../ts/derivatives/index.js';
import type { Linearization } from '../../ts/derivatives/index.js';
import type { LayerSpec } from '../../ts/network/index.js';
import { Random } from '../../ts/random.js';
import { outputRows } from '../../ts/inverse/output-rows.js';
import { relativeError } from '../helpers/golden.js';
import { describeShape, randomPoint, shapes } from './helpers.js';

/** Bytes of every typed array that an object holds, itself or in an object of its own; the point's and the batch's are not its own. */
function heldBytes(object: object, seen = new Set<object>()): number {
  let bytes = 0;
  for (const [name, value] of Object.entries(object) as [string, unknown][]) {
    if (
      typeof value !== 'object' ||
      value === null ||
      ['network', 'point', 'outputFactorPoint', 'batch', 'gramBatch'].includes(name)
    )
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
  function check(point: Linearization, side: 'samples' | 'parameters', label: string, single = false): void {
    const { network, samples } = point;
    const f = new SampleSpaceFactor(network, samples, side, single);
    f.assemble(point);
    expect(f.factor(0.5), label).to.equal(true);
    const x = new Float64Array(network.parameterCount);
    f.solve(point.gradient, x, 1);
    f.step(x);
    f.applyRows(x, new Float64Array(f.rows));
    const held = heldBytes(f);
    const { sizes } = sampleSpaceLayout(network, samples, side, single);
    // Covered, and not by much: half a number of pivots and small fields apart, the parts are the arrays.
    const foreseen = sampleSpaceBytes(network, samples, side, single) - 8 * sizes.passing;
    expect(foreseen, label).to.be.within(held, held + 100);
    // The factor's own figure leaves out only the offsets and widths of the layers.
    expect(f.bytes, label).to.be.within(held - 40 * network.layers.length - 100, held);
  }

  it('is foreseen to the last array, for every shape, on both sides', () => {
    for (const shape of shapes)
      for (const side of ['samples', 'parameters'] as const)
        for (const single of [false, true]) check(randomPoint(shape), side, describeShape(shape) + side, single);
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

describe('sample space from point to point', () => {
  it('is that of a new factor, whether a batch comes again or another one, before or after a factorization', () => {
    const layers: LayerSpec[] = [
      { type: 'dense', units: 4, activation: 'tanh' },
      { type: 'residual', units: 4, activation: 'silu' },
      { type: 'dense', units: 3, activation: 'identity' },
    ];
    for (const l2 of [0, [0.1, 0.2, 0.3]]) {
      const net = new Network({ inputs: 5, loss: 'cross-entropy', layers, l2 });
      const random = new Random(5);
      const batches = [1, 2].map(() =>
        net.batch({
          inputs: random.normals(new Float64Array(8 * 5)),
          targets: Int32Array.from({ length: 8 }, () => random.integer(3)),
        }),
      );
      const held = new SampleSpaceFactor(net, 8, 'samples');
      const [x, y] = [0, 1].map(() => new Float64Array(net.parameterCount));
      // Where factor is false the point is passed over, as after a trial whose loss is not finite.
      for (const [b, factored] of [
        [0, false],
        [0, true],
        [0, true],
        [1, true],
        [0, true],
        [1, false],
        [1, true],
      ] as const) {
        const params = random.normals(new Float64Array(net.parameterCount));
        const point = net.linearize(params, batches[b]);
        held.assemble(point);
        if (!factored) continue;
        const fresh = new SampleSpaceFactor(net, 8, 'samples');
        fresh.assemble(point);
        for (const [f, out] of [
          [held, x],
          [fresh, y],
        ] as const) {
          expect(f.factor(0.1)).to.equal(true);
          f.step(out);
        }
        expect(x).to.deep.equal(y);
      }
    }
  });
});

describe('sample space in single precision', () => {
  it('solves to the digits of float32, on both sides', () => {
    for (const [i, shape] of shapes.entries()) {
      const point = randomPoint(shape, i + 1);
      const P = point.network.parameterCount;
      for (const side of ['samples', 'parameters'] as const) {
        const [double, single] = [false, true].map((precision) => {
          const f = new SampleSpaceFactor(point.network, point.samples, side, precision);
          f.assemble(point);
          expect(f.factor(0.5)).to.equal(true);
          return f;
        });
        const g = new Random(i).normals(new Float64Array(2 * P));
        const [x, y] = [new Float64Array(2 * P), new Float64Array(2 * P)];
        double.solve(g, x, 2);
        single.solve(g, y, 2);
        for (const c of [0, P]) {
          // Conditions up to 1e3: 2^-24 times that. Less than 1e-12 would be no float32.
          const label = `${describeShape(shape)}, ${side}`;
          expect(relativeError(y.subarray(c, c + P), x.subarray(c, c + P)), label).to.be.within(1e-12, 1e-4);
        }
        double.step(x.subarray(0, P));
        single.step(y.subarray(0, P));
        expect(relativeError(y.subarray(0, P), x.subarray(0, P))).to.be.below(1e-4);
        expect(single.totals.logAbsDet).to.be.closeTo(double.totals.logAbsDet, 1e-5 * P);
      }
    }
  });

  it('factors of mixed precision refine to the tolerance, and hold half the memory', () => {
    const point = pointOf('cross-entropy', 60, [6, 5, 5, 4]);
    const options = { matrix: 'gauss-newton', method: 'sample-space', damping: 0.05 } as const;
    const [double, mixed] = (['float64', 'mixed'] as const).map((precision) =>
      factor(point, { ...options, precision }),
    );
    const [x, y] = [double.solve(point.gradient), mixed.solve(point.gradient)];
    expect(y.status).to.equal('converged');
    expect(y.refinements).to.be.greaterThan(x.refinements);
    expect(y.residual).to.be.at.most(1e-10);
    expect(relativeError(y.x, x.x)).to.be.below(1e-8);
    expect(mixed.bytes).to.be.below(0.6 * double.bytes);
  });
});

describe('the square root of the softmax Hessian', () => {
  /** One layer whose logits are its biases: R^T of one sample, K - 1 rows and K columns, column-major. */
  function rootOf(logits: number[]): { point: Linearization; rows: Float64Array } {
    const K = logits.length;
    const layers = [{ type: 'dense', units: K, activation: 'identity' }] as const;
    const network = new Network({ inputs: 1, loss: 'cross-entropy', layers });
    const params = Float64Array.from([...logits.map(() => 0), ...logits]);
    const point = network.linearize(params, { inputs: Float64Array.of(1), targets: [0] });
    const rows = new Float64Array((K - 1) * K);
    outputRows(network, point, rows, 0);
    return { point, rows };
  }

  for (const logits of [
    [0.3, -1, 2, 0],
    [0, -40, -80, -38],
    // Probabilities whose products are zero: 1e-174 and 1e-217, with the large one first, between and last.
    [0, -400, -500],
    [-400, 0, -500],
    [-400, -500, 0],
    [0, -400, -400, -401],
    // ... and that are zero themselves.
    [0, -800, -900],
    [-800, -900, 0, -10],
  ]) {
    it(`R R^T = diag(p) - p p^T at logits ${logits.join(', ')}`, () => {
      const K = logits.length;
      const { point, rows } = rootOf(logits);
      expect(rows.every(Number.isFinite)).to.equal(true);
      const top = Math.max(...logits);
      const weights = logits.map((logit) => Math.exp(logit - top));
      const total = weights.reduce((a, b) => a + b);
      const p = weights.map((weight) => weight / total);
      // 1 - p as the sum of the others, without cancellation.
      const diagonal = p.map((value, i) => value * p.reduce((sum, other, k) => (k === i ? sum : sum + other), 0));
      for (let i = 0; i < K; i++) {
        for (let j = 0; j < K; j++) {
          let entry = 0;
          for (let k = 0; k < K - 1; k++) entry += rows[k + i * (K - 1)] * rows[k + j * (K - 1)];
          const expected = i === j ? diagonal[i] : -p[i] * p[j];
          // Rounding of K products of entries of rows i and j, whose norms are the roots of the diagonal.
          const rounding = 1e-14 * Math.sqrt(diagonal[i]) * Math.sqrt(diagonal[j]);
          expect(Math.abs(entry - expected), `${i}, ${j}`).to.be.at.most(rounding + 1e-300);
        }
      }
      const f = new SampleSpaceFactor(point.network, 1);
      f.assemble(point);
      expect(f.factor(1e-3)).to.equal(true);
      const x = new Float64Array(2 * K);
      f.step(x);
      const image = point.gaussNewtonProduct(x);
      for (let i = 0; i < x.length; i++) expect(image[i] + 1e-3 * x[i]).to.be.closeTo(point.gradient[i], 1e-13);
    });
  }

  it('a step takes gradients along where the curvature has underflowed, for both classifications and with L2', () => {
    const random = new Random(7);
    for (const loss of ['cross-entropy', 'binary-cross-entropy'] as const) {
      for (const l2 of [0, 0.01, [0.01, 0.02]]) {
        const network = new Network({
          inputs: 2,
          loss,
          l2,
          layers: [
            { type: 'dense', units: 6, activation: 'tanh' },
            { type: 'dense', units: 3, activation: 'identity' },
          ],
        });
        const params = random.normals(new Float64Array(network.parameterCount));
        // Biases of the outputs: the second class has probability zero throughout, and is the target of two samples.
        params.set([0, -900, -3], network.parameterCount - 3);
        const targets = loss === 'cross-entropy' ? [1, 0, 2, 1] : [0, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 0];
        const point = network.linearize(params, { inputs: random.normals(new Float64Array(8)), targets });
        for (const f of [
          new SampleSpaceFactor(network, 4, 'samples'),
          new DeviceSampleSpaceFactor(createHostDevice(), network, 4, false, 'samples'),
        ]) {
          f.assemble(point);
          const x = new Float64Array(params.length);
          for (const damping of [1, 1e-4]) {
            expect(f.factor(damping)).to.equal(true);
            f.step(x);
            const image = point.gaussNewtonProduct(x);
            for (let i = 0; i < x.length; i++)
              expect(image[i] + damping * x[i], `${loss}, ${damping}`).to.be.closeTo(point.gradient[i], 1e-9);
          }
          f.dispose();
        }
      }
    }
  });
});
