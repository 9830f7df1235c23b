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

/** Writes base-128 digits, lowest first, at `at`; returns where they end. */
function writeVarint(out: Uint8Array, at: number, value: number): number {
  let rest = value;
  while (rest >= 128) {
    out[at++] = (rest % 128) | 128;
    rest = Math.floor(rest / 128);
  }
  out[at++] = rest;
  return at;
}

function varintLength(value: number): number {
  let length = 1;
  for (let rest = value; rest >= 128; rest = Math.floor(rest / 128)) length++;
  return length;
}

/** Key of a field; all fields here have numbers below 16, whose key is one byte. */
const key = (field: number, type: number): number => field * 8 + type;

/** By tag: a `Value` inside its `Summary` up to the four bytes of its float. A run writes the same few again and again. */
const valueStarts = new Map<string, Uint8Array>();

function valueStart(tag: string): Uint8Array {
  let start = valueStarts.get(tag);
  if (start === undefined) {
    const text = Buffer.from(tag, 'utf8');
    const body = 1 + varintLength(text.length) + text.length + 5;
    start = Buffer.alloc(1 + varintLength(body) + body - 4);
    start[0] = key(1, bytesType);
    let at = writeVarint(start, 1, body);
    start[at++] = key(1, bytesType);
    at = writeVarint(start, at, text.length);
    start.set(text, at);
    start[at + text.length] = key(2, floatType);
    if (valueStarts.size >= 1024) valueStarts.clear();
    valueStarts.set(tag, start);
  }
  return start;
}

/** The bytes of one `Event` with scalar values. */
export function encodeScalars(wallTime: number, step: number, values: Readonly<Record<string, number>>): Uint8Array {
  let summary = 0;
  for (const tag of Object.keys(values)) summary += valueStart(tag).length + 4;
  const out = Buffer.allocUnsafe(11 + varintLength(step) + varintLength(summary) + summary);
  out[0] = key(1, doubleType);
  out.writeDoubleLE(wallTime, 1);
  out[9] = key(2, varintType);
  let at = writeVarint(out, 10, step);
  out[at++] = key(5, bytesType);
  at = writeVarint(out, at, summary);
  for (const tag of Object.keys(values)) {
    const start = valueStart(tag);
    out.set(start, at);
    at = out.writeFloatLE(values[tag], at + start.length);
  }
  return out;
}

/** The bytes of the `Event` that begins a file. */
function encodeFileVersion(wallTime: number): Uint8Array {
  const version = Buffer.from('brain.Event:2', 'latin1');
  const out = Buffer.alloc(11 + version.length);
  out[0] = key(1, doubleType);
  out.writeDoubleLE(wallTime, 1);
  out[9] = key(3, bytesType);
  out[10] = version.length;
  out.set(version, 11);
  return out;
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
    writeFileSync(this.file, frameRecord(encodeFileVersion(now / 1000)));
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
