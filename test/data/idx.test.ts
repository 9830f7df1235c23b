import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect } from 'chai';
import { readIdx, readMnist } from '../../ts/data/idx.js';
import { expectFailure, sharedPath, temporaryFolder } from './helpers.js';

/** IDX bytes of uint8 data. */
function idx(shape: number[], data: ArrayLike<number>, type = 8): Buffer {
  const header = Buffer.alloc(4 + 4 * shape.length);
  header[2] = type;
  header[3] = shape.length;
  shape.forEach((size, i) => header.writeUInt32BE(size, 4 + 4 * i));
  return Buffer.concat([header, Uint8Array.from(data)]);
}

describe('IDX', () => {
  const folder = temporaryFolder();
  let count = 0;
  const file = (content: Uint8Array): string => {
    const path = folder.path(`f${count++}`);
    writeFileSync(path, content);
    return path;
  };

  it('reads plain and gzipped files and every type', async () => {
    const bytes = idx([2, 3], [1, 2, 3, 4, 5, 6]);
    for (const path of [file(bytes), file(gzipSync(bytes))]) {
      const { shape, data } = await readIdx(path);
      expect(shape).to.deep.equal([2, 3]);
      expect([...data]).to.deep.equal([1, 2, 3, 4, 5, 6]);
      expect([...(await readIdx(path, { limit: 1 })).data]).to.deep.equal([1, 2, 3]);
    }
    const doubles = Buffer.alloc(16);
    doubles.writeDoubleBE(1.5, 0);
    doubles.writeDoubleBE(-2, 8);
    expect([...(await readIdx(file(idx([2], doubles, 0x0e)))).data]).to.deep.equal([1.5, -2]);
    const singles = Buffer.alloc(4);
    singles.writeFloatBE(0.25, 0);
    expect([...(await readIdx(file(idx([1], singles, 0x0d)))).data]).to.deep.equal([0.25]);
    expect([...(await readIdx(file(idx([2], [0xff, 0xfe, 1, 0], 0x0b)))).data]).to.deep.equal([-2, 256]);
    expect([...(await readIdx(file(idx([1], [0xff, 0xff, 0xff, 0xff], 0x0c)))).data]).to.deep.equal([-1]);
    expect([...(await readIdx(file(idx([1], [0xff], 0x09)))).data]).to.deep.equal([-1]);
  });

  it('refuses foreign, truncated, overlong and lying files by name', async () => {
    await expectFailure(readIdx(file(Buffer.from('hello, world'))), 'bad-file', /IDX.*magic number 68656c6c/);
    await expectFailure(readIdx(file(Buffer.from([0, 0]))), 'bad-file', /magic number, found the end/);
    await expectFailure(readIdx(file(Buffer.alloc(0))), 'bad-file', /magic/);
    await expectFailure(readIdx(file(Buffer.from([0, 0, 8, 2, 0, 0]))), 'bad-file', /dimensions/);
    const whole = idx([2, 3], [1, 2, 3, 4, 5, 6]);
    await expectFailure(readIdx(file(whole.subarray(0, 15))), 'bad-file', /2 x 3 entries.*3 bytes of data/);
    await expectFailure(readIdx(file(Buffer.concat([whole, Buffer.alloc(1)]))), 'bad-file', /found 7 bytes/);
    await expectFailure(readIdx(file(gzipSync(whole.subarray(0, 15)))), 'bad-file', /the end of the file after 3/);
    await expectFailure(readIdx(file(gzipSync(Buffer.concat([whole, whole])))), 'bad-file', /more bytes/);
    await expectFailure(readIdx(file(gzipSync(whole).subarray(0, 20))), 'bad-file', /gzip|end of the file/);
    // 2^32 x 2^32 x .. claimed by a file of a few bytes: refused before allocation.
    const huge = idx([0xffffffff, 0xffffffff, 0xffffffff], [1]);
    await expectFailure(readIdx(file(huge)), 'bad-file', /4294967295 x/);
    await expectFailure(readIdx(file(gzipSync(huge))), 'bad-file', /4294967295 x/);
    await expectFailure(readIdx(file(idx([0, 3], []))), 'bad-file', /at least one entry/);
    await expectFailure(readIdx(file(idx([4], [1, 2, 3, 4])), { dimensions: 3 }), 'bad-file', /3 dimensions.*1/);
    const nan = Buffer.alloc(8);
    nan.writeDoubleBE(NaN, 0);
    await expectFailure(readIdx(file(idx([1], nan, 0x0e))), 'bad-file', /finite.*entry 0/);
  });

  it('pairs images and labels of a folder', async () => {
    const at = folder.path('pair');
    mkdirSync(at);
    await expectFailure(readMnist(at), 'io', /no MNIST files found; looked for.*train-images-idx3-ubyte\.gz/);
    writeFileSync(join(at, 'train-images-idx3-ubyte'), idx([2, 2, 2], [0, 51, 102, 153, 255, 0, 0, 255]));
    await expectFailure(readMnist(at), 'io', /train images and labels/);
    writeFileSync(join(at, 'train-labels-idx1-ubyte.gz'), gzipSync(idx([2], [7, 3])));
    const { train, test } = await readMnist(at);
    expect(test).to.equal(null);
    expect([...train.inputs]).to.deep.equal([0, 0.2, 0.4, 0.6, 1, 0, 0, 1]);
    expect([...(train.labels ?? [])]).to.deep.equal([7, 3]);
    expect(train.outputs).to.equal(10);
    const small = await readMnist(at, { imageSize: 1 });
    // 0.3 up to the rounding of three additions.
    expect(small.train.inputs[0]).to.be.closeTo(0.3, 1e-15);
    writeFileSync(join(at, 't10k-images-idx3-ubyte'), idx([1, 2, 2], [1, 2, 3, 4]));
    writeFileSync(join(at, 't10k-labels-idx1-ubyte'), idx([2], [1, 2]));
    await expectFailure(readMnist(at), 'bad-file', /t10k-labels.*1 labels.*found 2/);
  });

  it('reads MNIST', async function () {
    const path = sharedPath(this, 'data/mnist');
    const labels = await readIdx(join(path, 'train-labels-idx1-ubyte.gz'));
    expect(labels.shape).to.deep.equal([60000]);
    const mean = Array.from(labels.data).reduce((a, b) => a + b, 0) / 60000;
    expect(mean).to.be.closeTo(4.454, 5e-4);
    const { train, test } = await readMnist(path, { limit: 1000, imageSize: 14 });
    expect([train.samples, train.features, test?.samples]).to.deep.equal([1000, 196, 1000]);
    expect([...(train.labels ?? [])].slice(0, 5)).to.deep.equal([5, 0, 4, 1, 9]);
  });
});
