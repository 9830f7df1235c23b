import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { DeepHessianError } from '../../ts/errors.js';
import { Random } from '../../ts/random.js';
import {
  decodeCheckpoint,
  encodeCheckpoint,
  readCheckpoint,
  writeCheckpoint,
  type Checkpoint,
} from '../../ts/train/checkpoint.js';
import { temporaryFolder } from './helpers.js';

function sample(): Checkpoint {
  const random = new Random(1);
  return {
    config: { data: 'spirals', lr: 0.1, note: 'ü "quoted"' },
    network: { inputs: 2, layers: [] },
    extra: { classes: ['a', 'b'] },
    state: {
      counters: {
        step: 7,
        epoch: 0.5,
        seconds: 1.25,
        samples: 70,
        accepted: 6,
        rejected: 1,
        loss: 0.1,
        smoothedLoss: 0.2,
      },
      params: random.normals(new Float64Array(11)),
      optimizer: {
        scalars: { steps: 7, damping: 1e-300, mode: 'x', warm: true, best: Infinity, last: -0 },
        vectors: { m: random.normals(new Float64Array(5)), v: new Float64Array(0) },
      },
      source: { kind: 'stream', epoch: 1, random: [1, -2, 3, 4] },
    },
  };
}

/** The bytes with another header text, its length and checksum put right. */
function withHeader(bytes: Buffer, change: (header: string) => string): Buffer {
  const length = bytes.readUInt32LE(12);
  const json = Buffer.from(change(bytes.toString('utf8', 16, 16 + length)));
  const padded = Buffer.alloc(Math.ceil(json.length / 8) * 8, 0x20);
  json.copy(padded);
  const head = Buffer.from(bytes.subarray(0, 16));
  head.writeUInt32LE(padded.length, 12);
  return resealed(Buffer.concat([head, padded, bytes.subarray(16 + length)]));
}

function resealed(bytes: Buffer): Buffer {
  const end = bytes.length - 32;
  createHash('sha256').update(bytes.subarray(0, end)).digest().copy(bytes, end);
  return bytes;
}

function expectBad(bytes: Buffer, message: RegExp): void {
  let caught: unknown;
  try {
    decodeCheckpoint(bytes);
  } catch (error) {
    caught = error;
  }
  expect(caught).to.be.instanceOf(DeepHessianError);
  expect((caught as DeepHessianError).code).to.equal('bad-file');
  expect((caught as DeepHessianError).message).to.match(message);
}

describe('checkpoint', () => {
  const folder = temporaryFolder();
  const bytes = (): Buffer => Buffer.from(encodeCheckpoint(sample()));

  it('comes back from a file exactly as it went in', async () => {
    const path = join(folder.path(), 'a.checkpoint');
    await writeCheckpoint(path, sample());
    const read = readCheckpoint(path);
    expect(read).to.deep.equal(sample());
    // deep.equal takes 0 and -0 for different numbers, but say it: the sign of zero survives.
    expect(Object.is(read.state.optimizer.scalars.last, -0)).to.equal(true);
    expect(readFileSync(path).subarray(0, 8).toString()).to.equal('DHESSIAN');
  });

  it('refuses every truncation', () => {
    const whole = bytes();
    for (let length = 0; length < whole.length; length += 13)
      expectBad(whole.subarray(0, length), /not a usable checkpoint/);
  });

  it('refuses a change of any byte', () => {
    const whole = bytes();
    const random = new Random(2);
    for (let trial = 0; trial < 200; trial++) {
      const damaged = Buffer.from(whole);
      damaged[random.integer(damaged.length)] ^= 1 << random.integer(8);
      expectBad(damaged, /not a usable checkpoint/);
    }
  });

  it('refuses a foreign file, another version, and trailing bytes', () => {
    expectBad(Buffer.alloc(200, 65), /begin with 'DHESSIAN'/);
    const other = bytes();
    other.writeUInt32LE(9, 8);
    expectBad(resealed(other), /format version 1, received 9/);
    expectBad(resealed(Buffer.concat([bytes(), Buffer.alloc(8)])), /checksum|stored numbers/);
    const long = bytes();
    long.writeUInt32LE(0xfffffff8, 12);
    expectBad(long, /header/);
  });

  it('refuses headers that lie, even with a right checksum', () => {
    expectBad(
      withHeader(bytes(), (h) => h.slice(0, 40)),
      /not valid JSON/,
    );
    expectBad(
      withHeader(bytes(), (h) => h.replace('"offset":11', '"offset":10')),
      /does not fit/,
    );
    expectBad(
      withHeader(bytes(), (h) => h.replace('"length":11', '"length":1e15')),
      /does not fit/,
    );
    expectBad(
      withHeader(bytes(), (h) => h.replace('"length":11', '"length":-1')),
      /does not fit/,
    );
    expectBad(
      withHeader(bytes(), (h) => h.replace('"name":"params"', '"name":"optimizer.m"')),
      /tensor name/,
    );
    expectBad(
      withHeader(bytes(), (h) => h.replace('"name":"params"', '"name":"optimizer.p"')),
      /named 'params'/,
    );
    expectBad(
      withHeader(bytes(), (h) => h.replace('"step":7', '"step":-7')),
      /counters.step/,
    );
    expectBad(
      withHeader(bytes(), (h) => h.replace('"epoch":0.5', '"epoch":null')),
      /counters.epoch/,
    );
    expectBad(
      withHeader(bytes(), (h) => h.replace('"mode":"x"', '"mode":["x"]')),
      /scalar 'mode'/,
    );
  });

  it('does not let a header reach the prototypes of objects', () => {
    expectBad(
      withHeader(bytes(), (h) => h.replace('"note"', '"__proto__":{"polluted":1},"note"')),
      /forbidden key '__proto__'/,
    );
    expectBad(
      withHeader(bytes(), (h) => h.replace('"note"', '"constructor":{"prototype":{"polluted":1}},"note"')),
      /forbidden key/,
    );
    expect(({} as Record<string, unknown>).polluted).to.equal(undefined);
    const read = decodeCheckpoint(withHeader(bytes(), (h) => h.replace('optimizer.m', 'optimizer.toString')));
    expect(read.state.optimizer.vectors.toString).to.be.instanceOf(Float64Array);
  });

  it('refuses numbers that are not finite', () => {
    const bad = bytes();
    const start = 16 + bad.readUInt32LE(12);
    bad.writeDoubleLE(Number.NaN, start + 8);
    expectBad(resealed(bad), /finite numbers in tensor 'params', received NaN at 1/);
  });

  it('says which file cannot be read', () => {
    expect(() => readCheckpoint(join(folder.path(), 'missing'))).to.throw(
      DeepHessianError,
      /reading .*missing failed: ENOENT/,
    );
    const path = join(folder.path(), 'short');
    writeFileSync(path, 'x');
    expect(() => readCheckpoint(path)).to.throw(DeepHessianError, /short: not a usable checkpoint/);
  });
});
