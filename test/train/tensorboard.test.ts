import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { readMetrics } from '../../ts/train/run-folder.js';
import { TrainingSession } from '../../ts/train/session.js';
import { crc32c, encodeScalars, EventWriter, frameRecord } from '../../ts/train/tensorboard.js';
import { runSession, small, temporaryFolder } from './helpers.js';

interface Field {
  field: number;
  type: number;
  value: number | Buffer;
}

/** A protobuf reader written from the wire format, so that writer and reader share nothing. */
function fields(bytes: Buffer): Field[] {
  const found: Field[] = [];
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at++];
      value += (byte & 127) * 2 ** shift;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const key = varint();
    const type = key % 8;
    let value: number | Buffer;
    if (type === 0) value = varint();
    else if (type === 1) {
      value = bytes.readDoubleLE(at);
      at += 8;
    } else if (type === 5) {
      value = bytes.readFloatLE(at);
      at += 4;
    } else {
      const length = varint();
      value = bytes.subarray(at, at + length);
      at += length;
    }
    found.push({ field: Math.floor(key / 8), type, value });
  }
  return found;
}

/** Unframes and checks every record: lengths and both checksums. */
function records(bytes: Buffer): Buffer[] {
  const unmask = (masked: number): number => {
    const rotated = (masked - 0xa282ead8) >>> 0;
    return ((rotated >>> 17) | (rotated << 15)) >>> 0;
  };
  const found: Buffer[] = [];
  let at = 0;
  while (at < bytes.length) {
    const length = Number(bytes.readBigUInt64LE(at));
    expect(unmask(bytes.readUInt32LE(at + 8))).to.equal(crc32c(bytes.subarray(at, at + 8)));
    const data = bytes.subarray(at + 12, at + 12 + length);
    expect(unmask(bytes.readUInt32LE(at + 12 + length))).to.equal(crc32c(data));
    found.push(data);
    at += 16 + length;
  }
  expect(at).to.equal(bytes.length);
  return found;
}

describe('TensorBoard events', () => {
  const folder = temporaryFolder();

  it('computes the CRC-32C of known texts', () => {
    // RFC 3720, appendix B.4, and the usual check value.
    expect(crc32c(Buffer.from('123456789'))).to.equal(0xe3069283);
    expect(crc32c(Buffer.alloc(32))).to.equal(0x8a9136aa);
    expect(crc32c(Buffer.alloc(32, 0xff))).to.equal(0x62a8ab43);
  });

  it('frames a record with known bytes', () => {
    // Length 1 as u64, its masked checksum, the byte, its masked checksum.
    const record = Buffer.from(frameRecord(Buffer.from([0x61])));
    expect(record.length).to.equal(17);
    expect(records(record)[0].toString()).to.equal('a');
  });

  it('encodes one scalar byte for byte', () => {
    // Event { wall_time: 1, step: 300, summary { value { tag: "a", simple_value: 0.5 } } }
    const expected =
      '09' + '000000000000f03f' + '10' + 'ac02' + '2a' + '0a' + '0a' + '08' + '0a0161' + '15' + '0000003f';
    expect(Buffer.from(encodeScalars(1, 300, { a: 0.5 })).toString('hex')).to.equal(expected);
  });

  it('encodes long tags, several values and large steps, twice alike', () => {
    const values = { ['ü/'.repeat(90)]: 1.5, ['x'.repeat(119)]: -2, a: 0.25 };
    for (const step of [0, 127, 128, 2 ** 40 + 5]) {
      const event = fields(Buffer.from(encodeScalars(12.25, step, values)));
      expect(event.slice(0, 2)).to.deep.equal([
        { field: 1, type: 1, value: 12.25 },
        { field: 2, type: 0, value: step },
      ]);
      expect(event).to.have.length(3);
      const found = fields(event[2].value as Buffer).map(({ field, value }) => {
        const [tag, number, ...rest] = fields(value as Buffer);
        expect([field, tag.field, number.field, number.type, rest.length]).to.deep.equal([1, 1, 2, 5, 0]);
        return [(tag.value as Buffer).toString('utf8'), number.value];
      });
      expect(found).to.deep.equal(Object.entries(values));
    }
  });

  it('holds the figures of a run, one value a tag and step', async () => {
    const path = join(folder.path(), 'run');
    await runSession(await TrainingSession.start({ ...small, steps: 6, validation: 0.2 }, path));
    const [file] = readdirSync(path).filter((name) => name.startsWith('events.out'));
    const found = new Map<string, number>();
    for (const record of records(readFileSync(join(path, file))).slice(1)) {
      const event = fields(record);
      const step = event.find(({ field }) => field === 2)?.value ?? 0;
      for (const { value } of fields(event.find(({ field }) => field === 5)?.value as Buffer)) {
        const [tag, number] = fields(value as Buffer);
        const key = `${(tag.value as Buffer).toString()} ${String(step)}`;
        expect(found.get(key) ?? number.value, key).to.equal(number.value);
        found.set(key, number.value as number);
      }
    }
    for (const event of readMetrics(join(path, 'metrics.jsonl'))) {
      const figures =
        event.type === 'step'
          ? { 'step/loss': event.loss, 'step/norm': event.stepNorm }
          : { 'train/loss': event.sets.train.loss, 'validation/accuracy': event.sets.validation.accuracy };
      for (const [tag, value] of Object.entries(figures))
        expect(found.get(`${tag} ${event.step}`), `${tag} ${event.step}`).to.equal(Math.fround(value));
    }
  });

  it('writes a file that reads back', () => {
    const writer = new EventWriter(folder.path(), 1_700_000_000_000);
    writer.scalars(5, { 'train/loss': 0.25, 'train/accuracy': 1 }, 1_700_000_001_000);
    writer.scalars(2 ** 40, { 'train/loss': 1e-12 }, 1_700_000_002_000);
    writer.scalars(7, { 'train/loss': Number.NaN });
    writer.flush();
    expect(writer.file).to.match(/events\.out\.tfevents\.1700000000\./);
    const [first, second, third, ...rest] = records(readFileSync(writer.file)).map(fields);
    expect(rest).to.have.length(0);
    expect(first.find((f) => f.field === 3)?.value.toString()).to.equal('brain.Event:2');
    expect(second.slice(0, 2).map((f) => f.value)).to.deep.equal([1_700_000_001, 5]);
    const values = fields(second[2].value as Buffer).map((f) => fields(f.value as Buffer));
    expect(values.map(([tag, value]) => [tag.value.toString(), value.value])).to.deep.equal([
      ['train/loss', 0.25],
      ['train/accuracy', 1],
    ]);
    expect(third[1].value).to.equal(2 ** 40);
  });
});
