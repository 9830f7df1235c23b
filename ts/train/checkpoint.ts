/**
 * Checkpoints: one binary file that holds everything a run needs to go on with the same bits.
 *
 *     offset 0    magic      8 bytes  "DHESSIAN"
 *            8    version    u32      1
 *           12    header     u32      length in bytes of the JSON that follows
 *           16    JSON header, UTF-8, padded with spaces so that the tensors start at a multiple of 8
 *                 tensors    float64, one after another as the header's directory says
 *                 checksum   32 bytes SHA-256 of everything before it
 *
 * All numbers little-endian. Writing goes to a temporary name, is fsynced and renamed: a reader sees
 * the old file or the new one. Reading checks sizes, checksum, directory and every number before
 * anything is handed out.
 */
import { createHash } from 'node:crypto';
import { closeSync, readSync } from 'node:fs';
import { checkObject, firstNonFinite } from '../checks.js';
import { DeepHessianError } from '../errors.js';
import { writeFileAtomic } from '../data/atomic.js';
import { openRegularSync } from '../data/regular-file.js';
import type { Counters, TrainerState } from './trainer.js';

const magic = 'DHESSIAN';
const version = 1;
const prefixBytes = 16;
const checksumBytes = 32;
const maximumHeader = 64 * 1024 * 1024;

/** What a checkpoint file holds: everything to go on with the same bits. */
export interface Checkpoint {
  /** the run's resolved configuration: plain JSON */
  config: Record<string, unknown>;
  /** `network.toJSON()` */
  network: unknown;
  /** Parameters, optimizer, source and counters. */
  state: TrainerState;
  /** further plain data, e.g. the standardisation of the inputs and class names */
  extra?: Record<string, unknown>;
}

interface TensorEntry {
  name: string;
  /** elements before this tensor */
  offset: number;
  length: number;
}

interface Header {
  format: 'deep-hessian checkpoint';
  config: Record<string, unknown>;
  network: unknown;
  counters: unknown;
  source: unknown;
  scalars: unknown;
  extra: unknown;
  tensors: TensorEntry[];
}

/** JSON has no NaN, infinities or negative zero; they are kept as { "$number": text }. */
function encodeNumbers(value: unknown): unknown {
  if (typeof value === 'number') {
    if (Object.is(value, -0)) return { $number: '-0' };
    return Number.isFinite(value) ? value : { $number: String(value) };
  }
  if (Array.isArray(value)) return value.map(encodeNumbers);
  if (ArrayBuffer.isView(value))
    throw new TypeError('writeCheckpoint: expected plain data in the header, received a typed array');
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, encodeNumbers(inner)]));
  }
  return value;
}

const specialNumbers: ReadonlyMap<unknown, number> = new Map<unknown, number>([
  ['-0', -0],
  ['NaN', Number.NaN],
  ['Infinity', Infinity],
  ['-Infinity', -Infinity],
]);

function decodeNumbers(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(decodeNumbers);
  if (typeof value === 'object' && value !== null) {
    const keys = Object.keys(value);
    if (keys.length === 1 && keys[0] === '$number') {
      const number = specialNumbers.get((value as { $number: unknown }).$number);
      if (number !== undefined) return number;
    }
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, decodeNumbers(inner)]));
  }
  return value;
}

/** The bytes of a checkpoint file. */
export function encodeCheckpoint(checkpoint: Checkpoint): Uint8Array {
  const { state } = checkpoint;
  const vectors: [string, Float64Array][] = [
    ['params', state.params],
    ...Object.entries(state.optimizer.vectors).map(([name, values]): [string, Float64Array] => [
      `optimizer.${name}`,
      values,
    ]),
  ];
  let elements = 0;
  const tensors = vectors.map(([name, values]) => {
    const entry: TensorEntry = { name, offset: elements, length: values.length };
    elements += values.length;
    return entry;
  });
  const header: Header = {
    format: 'deep-hessian checkpoint',
    config: checkpoint.config,
    network: checkpoint.network,
    counters: state.counters,
    source: state.source,
    scalars: state.optimizer.scalars,
    extra: checkpoint.extra ?? {},
    tensors,
  };
  const json = Buffer.from(JSON.stringify(encodeNumbers(header)), 'utf8');
  const headerBytes = Math.ceil(json.length / 8) * 8;
  const bytes = Buffer.alloc(prefixBytes + headerBytes + 8 * elements + checksumBytes, 0x20);
  bytes.write(magic, 0, 'latin1');
  bytes.writeUInt32LE(version, 8);
  bytes.writeUInt32LE(headerBytes, 12);
  json.copy(bytes, prefixBytes);
  let position = prefixBytes + headerBytes;
  for (const [, values] of vectors) {
    // Float64Array is in host order; every platform this package supports is little-endian.
    bytes.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), position);
    position += values.byteLength;
  }
  createHash('sha256').update(bytes.subarray(0, position)).digest().copy(bytes, position);
  return bytes;
}

/** Writes a checkpoint atomically: the file at `path` is the old one or the new one, never a part. */
export async function writeCheckpoint(path: string, checkpoint: Checkpoint): Promise<void> {
  await writeFileAtomic(path, encodeCheckpoint(checkpoint));
}

function bad(path: string, why: string): never {
  throw new DeepHessianError('bad-file', `${path}: not a usable checkpoint: ${why}`, { path });
}

/**
 * Reads and checks a checkpoint.
 *
 * @throws DeepHessianError 'io' when the file cannot be read, 'bad-file' when it is not a whole, sound checkpoint
 */
export function readCheckpoint(path: string): Checkpoint {
  const bytes = readWhole(path);
  return decodeCheckpoint(bytes, path);
}

function readWhole(path: string): Buffer {
  const { descriptor: file, size } = openRegularSync(path);
  try {
    const start = Buffer.alloc(Math.min(size, prefixBytes));
    readSync(file, start, 0, start.length, 0);
    // The magic is looked at before the rest is read, so that a huge foreign file costs nothing.
    if (size < prefixBytes || start.toString('latin1', 0, 8) !== magic) {
      bad(
        path,
        size < prefixBytes
          ? `expected at least ${prefixBytes} bytes, received ${size}`
          : `expected it to begin with '${magic}'`,
      );
    }
    const bytes = Buffer.alloc(size);
    let done = 0;
    while (done < size) {
      const count = readSync(file, bytes, done, Math.min(size - done, 1 << 30), done);
      if (count === 0) bad(path, `expected ${size} bytes, received ${done}`);
      done += count;
    }
    return bytes;
  } catch (error) {
    if (error instanceof DeepHessianError) throw error;
    throw new DeepHessianError(
      'io',
      `${path}: cannot read the checkpoint (${(error as Error).message})`,
      { path },
      { cause: error },
    );
  } finally {
    closeSync(file);
  }
}

/** Checks and decodes the bytes of a checkpoint; `path` is used in messages only. */
export function decodeCheckpoint(bytes: Buffer, path = 'checkpoint'): Checkpoint {
  if (bytes.length < prefixBytes + checksumBytes) {
    bad(path, `expected at least ${prefixBytes + checksumBytes} bytes, received ${bytes.length}`);
  }
  if (bytes.toString('latin1', 0, 8) !== magic) bad(path, `expected it to begin with '${magic}'`);
  const found = bytes.readUInt32LE(8);
  if (found !== version) bad(path, `expected format version ${version}, received ${found}`);
  const headerBytes = bytes.readUInt32LE(12);
  const tensorStart = prefixBytes + headerBytes;
  if (headerBytes > maximumHeader || headerBytes % 8 !== 0 || tensorStart + checksumBytes > bytes.length) {
    bad(path, `expected a header that fits in ${bytes.length} bytes, received a header length of ${headerBytes}`);
  }
  const end = bytes.length - checksumBytes;
  const checksum = createHash('sha256').update(bytes.subarray(0, end)).digest();
  if (!checksum.equals(bytes.subarray(end)))
    bad(path, 'its checksum does not match its content (truncated or damaged)');

  const header = parseHeader(bytes.toString('utf8', prefixBytes, tensorStart), path);
  const tensors = readTensors(header.tensors, bytes, tensorStart, end, path);
  const params = tensors.get('params');
  if (params === undefined) bad(path, "expected a tensor named 'params'");
  const vectors: Record<string, Float64Array> = {};
  for (const [name, values] of tensors)
    if (name.startsWith('optimizer.')) vectors[name.slice('optimizer.'.length)] = values;

  return {
    config: record(header.config, 'config', path),
    network: header.network,
    extra: record(header.extra, 'extra', path),
    state: {
      counters: readCounters(header.counters, path),
      params,
      optimizer: { scalars: readScalars(header.scalars, path), vectors },
      source: record(header.source, 'source', path),
    },
  };
}

function parseHeader(text: string, path: string): Header {
  let parsed: unknown;
  try {
    parsed = decodeNumbers(
      JSON.parse(text, (key, value: unknown) => {
        if (key === '__proto__' || key === 'constructor' || key === 'prototype')
          throw new Error(`forbidden key '${key}'`);
        return value;
      }),
    );
  } catch (error) {
    bad(path, `its header is not valid JSON (${(error as Error).message})`);
  }
  const header = record(parsed, 'header', path);
  if (header.format !== 'deep-hessian checkpoint') bad(path, `expected format 'deep-hessian checkpoint' in its header`);
  return header as unknown as Header;
}

function record(value: unknown, name: string, path: string): Record<string, unknown> {
  try {
    checkObject('readCheckpoint', name, value);
  } catch (error) {
    bad(path, (error as Error).message);
  }
  return value;
}

function readTensors(
  directory: unknown,
  bytes: Buffer,
  start: number,
  end: number,
  path: string,
): Map<string, Float64Array> {
  if (!Array.isArray(directory)) bad(path, 'expected a list of tensors in its header');
  const available = (end - start) / 8;
  const tensors = new Map<string, Float64Array>();
  let expected = 0;
  for (const item of directory as unknown[]) {
    const { name, offset, length } = record(item, 'tensor', path);
    if (typeof name !== 'string' || !/^(params|optimizer\.[A-Za-z0-9_.-]+)$/.test(name) || tensors.has(name)) {
      bad(path, `unexpected tensor name ${JSON.stringify(name)}`);
    }
    // Tensors lie one after another without gaps, so one comparison bounds them all.
    if (
      typeof length !== 'number' ||
      !Number.isInteger(length) ||
      length < 0 ||
      offset !== expected ||
      expected + length > available
    ) {
      bad(
        path,
        `tensor '${name}' does not fit the file (offset ${String(offset)}, length ${String(length)}, ${available} elements stored)`,
      );
    }
    const copy = new Uint8Array(8 * length);
    copy.set(bytes.subarray(start + 8 * expected, start + 8 * (expected + length)));
    const values = new Float64Array(copy.buffer);
    const index = firstNonFinite(values);
    if (index >= 0) bad(path, `expected finite numbers in tensor '${name}', received ${values[index]} at ${index}`);
    tensors.set(name, values);
    expected += length;
  }
  if (expected !== available) bad(path, `expected ${expected} stored numbers, received ${available}`);
  return tensors;
}

const countNames = ['step', 'samples', 'accepted', 'rejected'] as const;
const amountNames = ['epoch', 'seconds'] as const;

function readCounters(value: unknown, path: string): Counters {
  const counters = record(value, 'counters', path);
  for (const name of [...countNames, ...amountNames]) {
    const entry = counters[name];
    const sound = typeof entry === 'number' && entry >= 0 && Number.isFinite(entry);
    if (!sound || ((countNames as readonly string[]).includes(name) && !Number.isInteger(entry))) {
      bad(path, `expected a count >= 0 for counters.${name}, received ${String(entry)}`);
    }
  }
  for (const name of ['loss', 'smoothedLoss'] as const) {
    if (typeof counters[name] !== 'number')
      bad(path, `expected a number for counters.${name}, received ${String(counters[name])}`);
  }
  return counters as unknown as Counters;
}

function readScalars(value: unknown, path: string): Record<string, number | string | boolean> {
  const scalars = record(value, 'scalars', path);
  for (const [name, entry] of Object.entries(scalars)) {
    if (typeof entry !== 'number' && typeof entry !== 'string' && typeof entry !== 'boolean') {
      bad(path, `expected a number, text or flag for optimizer scalar '${name}'`);
    }
  }
  return scalars as Record<string, number | string | boolean>;
}
