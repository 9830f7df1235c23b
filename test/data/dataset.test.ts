import { expect } from 'chai';
import fc from 'fast-check';
import { BatchSampler } from '../../ts/data/batch-sampler.js';
import { fixedBatch, gather, makeDataset, split, subset, take, type Dataset } from '../../ts/data/dataset.js';
import {
  applyStandardisation,
  fitStandardisation,
  standardise,
  undoStandardisation,
} from '../../ts/data/standardise.js';
import { Random } from '../../ts/random.js';

/** Row n is (n, -n, 0.5); label n % 3. */
function numbered(samples: number): Dataset {
  const inputs = new Float64Array(samples * 3);
  const labels = new Int32Array(samples);
  for (let n = 0; n < samples; n++) {
    inputs.set([n, -n, 0.5], n * 3);
    labels[n] = n % 3;
  }
  return makeDataset({ name: 'numbered', features: 3, inputs, labels, classes: ['a', 'b', 'c'] });
}

describe('dataset', () => {
  it('refuses arrays that do not fit, labels out of range and numbers that are not finite, with their place', () => {
    const base = { name: 'x', features: 2, inputs: Float64Array.of(1, 2, 3, 4) };
    expect(() => makeDataset({ ...base, labels: Int32Array.of(0) })).to.throw(RangeError, /length 2 for labels/);
    expect(() => makeDataset({ ...base, labels: Int32Array.of(0, 2), classes: ['a', 'b'] })).to.throw(
      RangeError,
      /0 to 1 for labels\[1\], received 2/,
    );
    expect(() => makeDataset({ ...base, labels: Int32Array.of(0, -1) })).to.throw(RangeError, /labels\[1\]/);
    expect(() => makeDataset({ ...base, values: Float64Array.of(0, NaN) })).to.throw(
      RangeError,
      /values\[row 1, column 0\].*NaN/,
    );
    expect(() =>
      makeDataset({ ...base, inputs: Float64Array.of(1, 2, 3, Infinity), labels: new Int32Array(2) }),
    ).to.throw(RangeError, /inputs\[row 1, column 1\].*Infinity/);
    expect(() => makeDataset({ ...base, inputs: new Float64Array(3), labels: new Int32Array(2) })).to.throw(RangeError);
    expect(() => makeDataset({ ...base, inputs: new Float64Array(0), labels: new Int32Array(0) })).to.throw(RangeError);
    expect(() => makeDataset(base)).to.throw(TypeError, /labels or values/);
  });

  it('take and subset give the rows asked for', () => {
    const set = numbered(10);
    const some = subset(set, [7, 2, 7]);
    expect([...some.inputs]).to.deep.equal([7, -7, 0.5, 2, -2, 0.5, 7, -7, 0.5]);
    expect([...(some.labels ?? [])]).to.deep.equal([1, 2, 1]);
    expect(() => subset(set, [10])).to.throw(RangeError, /0 to 9 for indices\[0\]/);
    expect([...take(set, 2).inputs]).to.deep.equal([0, -0, 0.5, 1, -1, 0.5]);
    expect(take(set, 99).samples).to.equal(10);
  });

  it('gathers regression values and reuses the batch', () => {
    const set = makeDataset({
      name: 'r',
      features: 1,
      inputs: Float64Array.of(1, 2, 3),
      values: Float64Array.of(1, 10, 2, 20, 3, 30),
      outputs: 2,
    });
    const batch = gather(set, [2, 0]);
    expect([...batch.targets]).to.deep.equal([3, 30, 1, 10]);
    const again = gather(set, [1, 1], batch);
    expect(again).to.equal(batch);
    expect([...batch.inputs]).to.deep.equal([2, 2]);
  });

  it('a fixed batch is the first rows, or a seeded draw without replacement', () => {
    const set = numbered(20);
    expect([...fixedBatch(set, 2).inputs]).to.deep.equal([0, -0, 0.5, 1, -1, 0.5]);
    const drawn = fixedBatch(set, 20, 3);
    const firsts = Array.from({ length: 20 }, (_, n) => drawn.inputs[3 * n]);
    expect(firsts).not.to.deep.equal([...firsts].sort((a, b) => a - b));
    expect(new Set(firsts).size).to.equal(20);
    expect(() => fixedBatch(set, 21)).to.throw(RangeError, /1 to 20 for size/);
  });

  it('split: a partition of exactly the asked sizes, stratified to within one sample a class', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 2, max: 80 }),
        fc.nat(1000),
        fc.double({ min: 0.05, max: 0.95, noNaN: true }),
        (N, seed, f) => {
          const size = Math.round(f * N);
          fc.pre(size >= 1 && size < N);
          const set = numbered(N);
          const { train, validation } = split(set, { validation: f, seed });
          expect(validation.samples).to.equal(size);
          const rows = (s: Dataset): number[] => Array.from({ length: s.samples }, (_, n) => s.inputs[3 * n]);
          const all = [...rows(train), ...rows(validation)].sort((a, b) => a - b);
          expect(all).to.deep.equal(Array.from({ length: N }, (_, n) => n));
          for (let k = 0; k < 3; k++) {
            const count = (s: Dataset): number => Array.from(s.labels ?? []).filter((l) => l === k).length;
            expect(Math.abs(count(validation) - (count(set) * size) / N)).to.be.below(1);
          }
        },
      ),
      { numRuns: 50, seed: 1 },
    );
    const rows = (seed: number): string => String([...split(numbered(30), { seed, validation: 10 }).validation.inputs]);
    expect(rows(1)).to.equal(rows(1));
    expect(rows(1)).not.to.equal(rows(2));
    expect(() => split(numbered(5), { validation: 5 })).to.throw(RangeError, /validation/);
    expect(() => split(numbered(5), { validation: 0 })).to.throw(RangeError, /validation/);
    expect(() => split(numbered(5), { fraction: 0.5 } as never)).to.throw(RangeError, /unknown option 'fraction'/);
  });
});

describe('standardisation', () => {
  it('gives mean 0 and deviation 1, sends constant columns to 0, and is undone', () => {
    const random = new Random(1);
    const N = 500;
    const values = new Float64Array(N * 3);
    for (let n = 0; n < N; n++) values.set([1e6 + random.normal(), 0.1, -3 + 1e-3 * random.normal()], 3 * n);
    const figures = fitStandardisation(values, 3);
    expect(figures.scale[1]).to.equal(1);
    const z = applyStandardisation(values, figures);
    for (const c of [0, 2]) {
      let mean = 0;
      let squares = 0;
      for (let n = 0; n < N; n++) mean += z[3 * n + c] / N;
      for (let n = 0; n < N; n++) squares += z[3 * n + c] ** 2 / N;
      // Rounding of the data around 1e6 is 1e-10 of its deviation.
      expect(mean).to.be.closeTo(0, 1e-9);
      expect(squares).to.be.closeTo(1, 1e-8);
    }
    for (let n = 0; n < N; n++) expect(Math.abs(z[3 * n + 1])).to.be.below(1e-13);
    const back = undoStandardisation(z, figures);
    for (let i = 0; i < back.length; i++) expect(back[i]).to.be.closeTo(values[i], 1e-9);
  });

  it('treats the test set with the training figures', () => {
    const make = (x: number[], y: number[]): Dataset =>
      makeDataset({ name: 'x', features: 1, inputs: Float64Array.from(x), values: Float64Array.from(y), outputs: 1 });
    const { train, test, values } = standardise(make([0, 2], [10, 30]), make([5], [40]), true);
    expect([...train.inputs]).to.deep.equal([-1, 1]);
    expect([...(test?.inputs ?? [])]).to.deep.equal([4]);
    expect([...(test?.values ?? [])]).to.deep.equal([2]);
    expect(values?.mean[0]).to.equal(20);
    expect(() =>
      applyStandardisation(new Float64Array(3), { mean: new Float64Array(2), scale: new Float64Array(2) }),
    ).to.throw(RangeError, /scale\[0\]/);
  });
});

describe('BatchSampler', () => {
  it('an epoch gives every sample once; dropLast leaves out the short batch', () => {
    const whole = new BatchSampler(10, { batchSize: 4, seed: 1 });
    const seen: number[] = [];
    const sizes: number[] = [];
    while (whole.epoch === 0) {
      const batch = whole.next();
      sizes.push(batch.length);
      seen.push(...batch);
    }
    expect(sizes).to.deep.equal([4, 4, 2]);
    expect(seen).not.to.deep.equal([...seen].sort((a, b) => a - b));
    expect(seen.sort((a, b) => a - b)).to.deep.equal([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    const dropping = new BatchSampler(10, { batchSize: 4, seed: 1, dropLast: true });
    dropping.next();
    dropping.next();
    expect(dropping.epoch).to.equal(1);
    expect(dropping.batchesPerEpoch).to.equal(2);
    const inOrder = new BatchSampler(5, { batchSize: 2, shuffle: false });
    expect([...inOrder.next(), ...inOrder.next(), ...inOrder.next(), ...inOrder.next()]).to.deep.equal([
      0, 1, 2, 3, 4, 0, 1,
    ]);
  });

  it('epochs differ from each other, seeds differ from each other', () => {
    const sampler = new BatchSampler(50, { batchSize: 50, seed: 1 });
    const first = String(sampler.next());
    expect(String(sampler.next())).not.to.equal(first);
    expect(String(new BatchSampler(50, { batchSize: 50, seed: 2 }).next())).not.to.equal(first);
  });

  it('goes on with the same batches from a state stored as JSON, at any moment', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 40 }),
        fc.integer({ min: 1, max: 40 }),
        fc.integer({ min: 0, max: 30 }),
        fc.boolean(),
        (samples, size, steps, dropLast) => {
          const options = { batchSize: Math.min(size, samples), seed: 7, dropLast };
          const one = new BatchSampler(samples, options);
          for (let i = 0; i < steps; i++) one.next();
          const state = JSON.stringify(one.state());
          const two = new BatchSampler(samples, { ...options, seed: 99 });
          for (let i = 0; i < steps % 3; i++) two.next();
          two.restore(JSON.parse(state));
          for (let i = 0; i < 20; i++) {
            expect([...two.next()]).to.deep.equal([...one.next()]);
            expect(two.epoch).to.equal(one.epoch);
          }
        },
      ),
      { numRuns: 60, seed: 2 },
    );
  });

  it('refuses the state of other data and nonsense', () => {
    const sampler = new BatchSampler(10, { batchSize: 2 });
    const state = sampler.state();
    expect(() => sampler.restore({ ...state, samples: 11 })).to.throw(RangeError, /10 for state\.samples, received 11/);
    expect(() => sampler.restore({ ...state, position: 10 })).to.throw(RangeError, /position/);
    expect(() => sampler.restore({ ...state, random: [1, 2] as never })).to.throw(RangeError, /random/);
    expect(() => new BatchSampler(10, { batchSize: 11 })).to.throw(RangeError, /1 to 10 for batchSize/);
  });
});
