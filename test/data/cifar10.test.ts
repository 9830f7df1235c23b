import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import fc from 'fast-check';
import { readCifar10 } from '../../ts/data/cifar10.js';
import { areaAverage, areaWeights } from '../../ts/data/images.js';
import { expectFailure, expectMisuse, sharedPath, temporaryFolder } from './helpers.js';

/** A record whose pixel (c, y, x) is (c * 50 + y + x + shift) & 255. */
function record(label: number, shift: number): Buffer {
  const bytes = Buffer.alloc(3073);
  bytes[0] = label;
  for (let c = 0; c < 3; c++) {
    for (let y = 0; y < 32; y++) {
      for (let x = 0; x < 32; x++) bytes[1 + c * 1024 + y * 32 + x] = (c * 50 + y + x + shift) & 255;
    }
  }
  return bytes;
}

describe('area averages', () => {
  it('weights sum to 1 over every output and count every pixel equally', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 40 }), (from, to) => {
        fc.pre(to <= from);
        const { first, span, weights } = areaWeights(from, to);
        const perPixel = new Float64Array(from);
        for (let j = 0; j < to; j++) {
          let sum = 0;
          for (let t = 0; t < span; t++) {
            const w = weights[j * span + t];
            sum += w;
            if (w > 0) perPixel[first[j] + t] += w;
          }
          expect(sum).to.be.closeTo(1, 1e-14);
        }
        for (const total of perPixel) expect(total).to.be.closeTo(to / from, 1e-14);
      }),
      { numRuns: 200, seed: 3 },
    );
  });

  it('2 x 2 boxes exactly, thirds by their area, and a plane stays itself at its own size', () => {
    const plane = [0, 4, 8, 12, 2, 6, 10, 14, 1, 1, 1, 1, 1, 1, 1, 1];
    const out = new Float64Array(4);
    areaAverage(plane, 4, 4, out, 0, 2, 2);
    expect([...out]).to.deep.equal([3, 11, 1, 1]);
    const row = new Float64Array(2);
    areaAverage([3, 6, 9], 1, 3, row, 0, 1, 2);
    expect([...row]).to.deep.equal([(3 + 3) / 1.5, (3 + 9) / 1.5]);
    const same = new Float64Array(16);
    areaAverage(plane, 4, 4, same, 0, 4, 4);
    expect([...same]).to.deep.equal(plane);
  });
});

describe('CIFAR-10', () => {
  const folder = temporaryFolder();
  const make = (name: string, files: Record<string, Uint8Array | string>): string => {
    const path = folder.path(name);
    mkdirSync(path);
    for (const [file, content] of Object.entries(files)) writeFileSync(join(path, file), content);
    return path;
  };

  it('reads batches in their order, whole files before prefixes, and class names', async () => {
    const path = make('order', {
      'data_batch_10.bin': record(9, 9),
      'data_batch_2.first1.bin': record(5, 5),
      'data_batch_2.bin': Buffer.concat([record(2, 2), record(3, 3)]),
      'data_batch_1.first3.bin': record(1, 1),
      'test_batch.first1.bin': record(8, 8),
      'batches.meta.txt': 'a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n\n',
      'readme.html': '',
    });
    const { train, test } = await readCifar10(path);
    expect([...(train.labels ?? [])]).to.deep.equal([1, 2, 3, 9]);
    expect(train.classes).to.deep.equal(['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j']);
    expect(test?.samples).to.equal(1);
    expect(train.shape).to.deep.equal({ height: 32, width: 32, channels: 3 });
    // Channel 2, row 3, column 4 of sample 1: (100 + 3 + 4 + 2) / 255.
    expect(train.inputs[3072 + 2 * 1024 + 3 * 32 + 4]).to.equal(109 / 255);
    expect([...((await readCifar10(path, { limit: 2 })).train.labels ?? [])]).to.deep.equal([1, 2]);
  });

  it('shrinks by boxes, mixes grey, standardises by channel', async () => {
    const path = make('shrink', { 'data_batch_1.bin': record(0, 0), 'test_batch.bin': record(1, 7) });
    const half = (await readCifar10(path, { imageSize: 16 })).train;
    // Mean of y + x over a 2 x 2 box at (2i, 2j) is 2i + 2j + 1.
    expect(half.inputs[256 + 3 * 16 + 5]).to.be.closeTo((50 + 6 + 10 + 1) / 255, 1e-15);
    const grey = (await readCifar10(path, { grey: true })).train;
    expect(grey.features).to.equal(1024);
    expect(grey.inputs[0]).to.be.closeTo((0.587 * 50 + 0.114 * 100) / 255, 1e-15);
    const { train, test } = await readCifar10(path, { normalise: 'standardised', imageSize: 8 });
    for (let c = 0; c < 3; c++) {
      const plane = train.inputs.subarray(c * 64, (c + 1) * 64);
      const mean = plane.reduce((a, b) => a + b, 0) / 64;
      const variance = plane.reduce((a, b) => a + (b - mean) ** 2, 0) / 64;
      expect(mean).to.be.closeTo(0, 1e-12);
      expect(variance).to.be.closeTo(1, 1e-12);
    }
    // The test image is 7 levels brighter; with the training figures that shift stays.
    expect((test?.inputs[0] ?? 0) - train.inputs[0]).to.be.above(0.1);
    await expectMisuse(readCifar10(path, { imageSize: 33 }), RangeError, /1 to 32.*imageSize.*33/);
    await expectMisuse(readCifar10(path, { normalise: 'x' as never }), RangeError, /normalise/);
  });

  it('refuses broken files and empty folders, saying what it looked for', async () => {
    const cut = make('cut', { 'data_batch_1.bin': record(0, 0).subarray(0, 3000) });
    await expectFailure(readCifar10(cut), 'bad-file', /data_batch_1\.bin.*3073.*3000 bytes/);
    const label = make('label', { 'data_batch_1.bin': Buffer.concat([record(0, 0), record(10, 0)]) });
    await expectFailure(readCifar10(label), 'bad-file', /label from 0 to 9, found 10 in record 1/);
    const empty = make('empty', { 'data_batch_1.bin': '' });
    await expectFailure(readCifar10(empty), 'bad-file', /found 0 bytes/);
    await expectFailure(readCifar10(make('none', {})), 'io', /looked for data_batch_\*\.bin/);
    await expectFailure(readCifar10(folder.path('absent')), 'io', /absent/);
    const names = make('names', { 'data_batch_1.bin': record(0, 0), 'batches.meta.txt': 'a\na\n' });
    await expectFailure(readCifar10(names), 'bad-file', /ten different class names/);
  });

  it('reads the real subset', async function () {
    const { train, test } = await readCifar10(sharedPath(this, 'data/cifar10'));
    expect([train.samples, train.features, test?.samples]).to.deep.equal([4000, 3072, 1000]);
    const perClass = new Array<number>(10).fill(0);
    for (const label of train.labels ?? []) perClass[label]++;
    expect(perClass).to.deep.equal([396, 366, 420, 384, 422, 393, 414, 385, 407, 413]);
    const bytes = (from: number): number[] =>
      [...train.inputs.subarray(from, from + 3)].map((x) => Math.round(x * 255));
    expect(bytes(0)).to.deep.equal([59, 43, 50]);
    expect(bytes(3069)).to.deep.equal([140, 84, 72]);
    expect(train.classes?.[0]).to.equal('airplane');
  });
});
