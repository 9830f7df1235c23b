/**
 * TensorBoard event files: scalar summaries that TensorBoard shows while a run goes on.
 *
 * The file is a sequence of records (TFRecord framing):
 *
 *     u64 length | u32 masked crc32c(length) | data | u32 masked crc32c(data)        all little-endian
 *     masked(c) = rotate_right(c, 15) + 0xa282ead8
 *
 * and each record is one protobuf message `Event { 1: double wall_time, 2: int64 step, 3: string
 * file_version, 5: Summary { 1: Value { 1: string tag, 2: float simple_value } } }`. The first record
 * carries file_version "brain.Event:2".
 */
import { appendFileSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { makeFolder } from '../data/atomic.js';

/** CRC-32C (Castagnoli), reflected polynomial 0x82f63b78, one table entry for each byte value. */
const table = new Uint32Array(256);
for (let i = 0; i < 256; i++) {
  let c = i;
  for (let bit = 0; bit < 8; bit++) c = c & 1 ? (c >>> 1) ^ 0x82f63b78 : c >>> 1;
  table[i] = c >>> 0;
}

/** The CRC-32C of `bytes`: crc32c of "123456789" is 0xe3069283. */
export function crc32c(bytes: Uint8Array): number {
  let c = 0xffffffff;
  for (let i = 0; i < bytes.length; i++) c = table[(c ^ bytes[i]) & 0xff] ^ (c >>> 8);
  return (c ^ 0xffffffff) >>> 0;
}

function masked(bytes: Uint8Array): number {
  const c = crc32c(bytes);
  return (((c >>> 15) | (c << 17)) + 0xa282ead8) >>> 0;
}

/** One framed record around `data`. */
export function frameRecord(data: Uint8Array): Uint8Array {
  const record = Buffer.alloc(data.length + 16);
  record.writeBigUInt64LE(BigInt(data.length), 0);
  record.writeUInt32LE(masked(record.subarray(0, 8)), 8);
  record.set(data, 12);
  record.writeUInt32LE(masked(data), 12 + data.length);
  return record;
}

/** Protobuf wire types used here. */
const varintType = 0,
  doubleType = 1,
  bytesType = 2,
  floatType = 5;

function varint(value: number): Buffer {
  const out: number[] = [];
  let rest = value;
  while (rest >= 128) {
    out.push((rest % 128) | 128);
    rest = Math.floor(rest / 128);
  }
  out.push(rest);
  return Buffer.from(out);
}

const key = (field: number, type: number): Buffer => varint(field * 8 + type);

function doubleField(field: number, value: number): Buffer {
  const body = Buffer.alloc(8);
  body.writeDoubleLE(value);
  return Buffer.concat([key(field, doubleType), body]);
}

function floatField(field: number, value: number): Buffer {
  const body = Buffer.alloc(4);
  body.writeFloatLE(value);
  return Buffer.concat([key(field, floatType), body]);
}

function bytesField(field: number, body: Uint8Array): Buffer {
  return Buffer.concat([key(field, bytesType), varint(body.length), body]);
}

/** The bytes of one `Event` with scalar values. */
export function encodeScalars(wallTime: number, step: number, values: Readonly<Record<string, number>>): Uint8Array {
  const summary = Object.entries(values).map(([tag, value]) =>
    bytesField(1, Buffer.concat([bytesField(1, Buffer.from(tag, 'utf8')), floatField(2, value)])),
  );
  return Buffer.concat([
    doubleField(1, wallTime),
    key(2, varintType),
    varint(step),
    bytesField(5, Buffer.concat(summary)),
  ]);
}

let filesMade = 0;

/** Writes one event file into `folder`, flushed by `flush()` or every 64 KiB. */
export class EventWriter {
  readonly file: string;
  private pending: Uint8Array[] = [];
  private pendingBytes = 0;

  constructor(folder: string, now: number = Date.now()) {
    makeFolder(folder);
    this.file = join(
      folder,
      `events.out.tfevents.${Math.floor(now / 1000)}.${hostname()}.${process.pid}.${filesMade++}`,
    );
    const first = Buffer.concat([doubleField(1, now / 1000), bytesField(3, Buffer.from('brain.Event:2', 'latin1'))]);
    writeFileSync(this.file, frameRecord(first));
  }

  /** Adds scalar values at a step; values that are not finite are left out. */
  scalars(step: number, values: Readonly<Record<string, number>>, now: number = Date.now()): void {
    const finite: Record<string, number> = {};
    let count = 0;
    for (const [tag, value] of Object.entries(values)) {
      if (Number.isFinite(value)) {
        finite[tag] = value;
        count++;
      }
    }
    if (count === 0) return;
    const record = frameRecord(encodeScalars(now / 1000, step, finite));
    this.pending.push(record);
    this.pendingBytes += record.length;
    if (this.pendingBytes > 65536) this.flush();
  }

  flush(): void {
    if (this.pending.length === 0) return;
    appendFileSync(this.file, Buffer.concat(this.pending));
    this.pending = [];
    this.pendingBytes = 0;
  }
}
