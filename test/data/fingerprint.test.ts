import { expect } from 'chai';
import { makeDataset, type Dataset } from '../../ts/data/dataset.js';
import { fingerprint } from '../../ts/data/fingerprint.js';

function small(inputs: number[], labels: number[]): Dataset {
  return makeDataset({
    name: 'small',
    features: inputs.length / 2,
    inputs: Float64Array.from(inputs),
    labels: Int32Array.from(labels),
    classes: ['a', 'b'],
  });
}

describe('fingerprint', () => {
  it('is a function of the contents: sizes, inputs and targets, not of the name or the place in memory', () => {
    const mark = fingerprint(small([1, 2, 3, 4], [0, 1]));
    expect(mark).to.match(/^2 x 2, [0-9a-f]{8}$/);
    const held = Float64Array.from([9, 1, 2, 3, 4]);
    expect(fingerprint({ ...small([1, 2, 3, 4], [0, 1]), name: 'other', inputs: held.subarray(1) })).to.equal(mark);
    expect(fingerprint(small([1, 2, 3, 5], [0, 1]))).not.to.equal(mark);
    expect(fingerprint(small([1, 2, 4, 3], [0, 1]))).not.to.equal(mark);
    expect(fingerprint(small([1, 2, 3, 4], [1, 1]))).not.to.equal(mark);
    expect(fingerprint(small([1, 2, 3, 4 + 1e-15], [0, 1]))).not.to.equal(mark);
  });

  it('is CRC-32', () => {
    const inputs = new Float64Array(Uint8Array.from(Buffer.from('1234567812345678')).buffer);
    const labels = new Int32Array(2);
    const data = { ...small([0, 0], [0, 0]), inputs, labels };
    expect(fingerprint(data)).to.equal(
      '2 x 1, ' + crc32Of([...Buffer.from('1234567812345678'), 0, 0, 0, 0, 0, 0, 0, 0]),
    );
  });
});

/** CRC-32 bit by bit (polynomial edb88320 reflected). */
function crc32Of(bytes: readonly number[]): string {
  let sum = 0xffffffff;
  for (const byte of bytes) {
    sum ^= byte;
    for (let k = 0; k < 8; k++) sum = sum & 1 ? (sum >>> 1) ^ 0xedb88320 : sum >>> 1;
  }
  return ((sum ^ 0xffffffff) >>> 0).toString(16).padStart(8, '0');
}
