/**
 * NumPy's .npy files: one array, versions 1 to 3, C and Fortran order, little and big endian.
 *
 *     6 bytes   93 'NUMPY'
 *     2 bytes   version (major, minor)
 *     2 or 4    length of the header (uint16 in version 1, uint32 in 2 and 3, little-endian)
 *     header    a Python dict: {'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), }, blanks, line feed
 *     data      without gaps
 *
 * Whatever is stored comes out as float64, row-major. Source: NumPy's numpy.lib.format documentation.
 */
import { endianness } from 'node:os';
import { checkInteger, failRange, failType, firstNonFinite } from '../checks.js';
import { DeepHessianError } from '../errors.js';
import { AtomicFile, ioError, writeFileAtomic } from './atomic.js';
import { badFile, checkFits } from './bytes.js';
import { openRegular } from './regular-file.js';

/** An array from a file. */
export interface NpyArray {
  /** Sizes of its dimensions. */
  shape: number[];
  /** NumPy's name of the stored type, such as '<f8'. */
  dtype: string;
  /** Row-major (C order), whatever the file's order. */
  data: Float64Array;
}

/** Options of {@link readNpy}. */
export interface ReadNpyOptions {
  /** Read only this many entries of the first dimension (C order only). Default: all. */
  limit?: number;
  /** Refuse NaN and infinities. Default true. */
  finite?: boolean;
}

interface Header {
  kind: 'b' | 'i' | 'u' | 'f';
  itemBytes: number;
  bigEndian: boolean;
  dtype: string;
  fortran: boolean;
  shape: number[];
  /** Offset of the data. */
  start: number;
}

const magic = Buffer.from('\x93NUMPY', 'latin1');
const longestHeader = 1 << 20;
const hostIsLittle = endianness() === 'LE';

/** Length of prefix and header together, from the first 12 bytes. */
function headerEnd(path: string, prefix: Uint8Array, bytes: number): { from: number; start: number } {
  if (prefix.length < 10 || !magic.equals(prefix.subarray(0, 6))) {
    throw badFile(
      path,
      "a .npy file (first bytes 93 'NUMPY')",
      `bytes ${Buffer.from(prefix.subarray(0, 6)).toString('hex')}`,
    );
  }
  const major = prefix[6];
  if (major < 1 || major > 3) throw badFile(path, 'a .npy file of version 1, 2 or 3', `version ${major}`);
  const view = new DataView(prefix.buffer, prefix.byteOffset, prefix.byteLength);
  if (major > 1 && prefix.length < 12) throw badFile(path, 'a .npy header', 'the end of the file');
  const from = major === 1 ? 10 : 12;
  const length = major === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  if (length > longestHeader || from + length > bytes) {
    throw badFile(path, `a header of at most ${Math.min(longestHeader, bytes - from)} bytes`, `one of ${length}`);
  }
  return { from, start: from + length };
}

const item = /\s*(?:'(\w+)'|"(\w+)")\s*:\s*(?:'([^']*)'|"([^"]*)"|(True|False)|\(([\d,\sL]*)\))\s*(,|(?=\}))/y;

/** Reads the dict of the header: exactly the three known keys, each of its own kind. */
function parseHeader(path: string, text: string, start: number): Header {
  const fail = (expected: string): never => {
    throw badFile(path, `a .npy header with ${expected}`, JSON.stringify(text.trim().slice(0, 120)));
  };
  if (!text.startsWith('{') || !text.trimEnd().endsWith('}')) fail('a dict');
  if (/'descr'\s*:\s*\[/.test(text)) {
    throw new DeepHessianError('unsupported', `${path}: structured .npy arrays cannot be read`, { path });
  }
  const fields = new Map<string, string | boolean | number[]>();
  item.lastIndex = 1;
  const end = text.lastIndexOf('}');
  while (item.lastIndex < end && text.slice(item.lastIndex, end).trim() !== '') {
    const match = item.exec(text);
    if (!match) return fail("'descr', 'fortran_order' and 'shape'");
    const key = match[1] ?? match[2];
    const tuple = match[6]?.replace(/L/g, '').split(',');
    if (tuple && tuple[tuple.length - 1].trim() === '') tuple.pop();
    if (tuple?.some((size) => !/^\s*\d+\s*$/.test(size))) fail('a tuple of sizes');
    fields.set(key, tuple ? tuple.map(Number) : match[5] ? match[5] === 'True' : (match[3] ?? match[4]));
  }
  const descr = fields.get('descr');
  const fortran = fields.get('fortran_order');
  const shape = fields.get('shape');
  if (typeof descr !== 'string' || typeof fortran !== 'boolean' || !Array.isArray(shape) || fields.size !== 3) {
    return fail("'descr', 'fortran_order' and 'shape'");
  }
  const type = /^([<>|=]?)(?:(\?)|([biuf])([1248]))$/.exec(descr);
  const kind = type?.[2] ? 'b' : (type?.[3] as Header['kind'] | undefined);
  const itemBytes = type?.[2] ? 1 : Number(type?.[4]);
  const known = { b: [1], i: [1, 2, 4, 8], u: [1, 2, 4, 8], f: [2, 4, 8] };
  if (!type || !kind || !known[kind].includes(itemBytes)) {
    throw new DeepHessianError(
      'unsupported',
      `${path}: .npy arrays of type '${descr}' cannot be read; those of booleans, integers and float16 to float64 can`,
      { path, descr },
    );
  }
  if (shape.some((size) => !Number.isSafeInteger(size))) fail('sizes below 2^53');
  const bigEndian = type[1] === '>' || (type[1] === '=' && !hostIsLittle);
  return { kind, itemBytes, bigEndian, dtype: descr, fortran, shape, start };
}

/** float16 bits to their value (IEEE 754-2008 binary16). */
function half(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? 2 ** (exponent - 25) * (1024 + fraction) : 2 ** -24 * fraction);
}

/** Entries from `bytes` to out[at ..]. */
function decode(path: string, header: Header, bytes: Uint8Array, out: Float64Array, at: number): void {
  const { kind, itemBytes, bigEndian } = header;
  const little = !bigEndian;
  const count = bytes.length / itemBytes;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (kind === 'f' && itemBytes === 8 && little && hostIsLittle) {
    new Uint8Array(out.buffer, out.byteOffset + 8 * at, bytes.length).set(bytes);
  } else if (kind === 'f') {
    for (let i = 0; i < count; i++) {
      if (itemBytes === 8) out[at + i] = view.getFloat64(8 * i, little);
      else if (itemBytes === 4) out[at + i] = view.getFloat32(4 * i, little);
      else out[at + i] = half(view.getUint16(2 * i, little));
    }
  } else if (itemBytes === 1) {
    for (let i = 0; i < count; i++) out[at + i] = kind === 'i' ? view.getInt8(i) : bytes[i];
    if (kind === 'b') for (let i = at; i < at + count; i++) out[i] = out[i] === 0 ? 0 : 1;
  } else if (itemBytes < 8) {
    for (let i = 0; i < count; i++) {
      if (itemBytes === 2) out[at + i] = kind === 'i' ? view.getInt16(2 * i, little) : view.getUint16(2 * i, little);
      else out[at + i] = kind === 'i' ? view.getInt32(4 * i, little) : view.getUint32(4 * i, little);
    }
  } else {
    for (let i = 0; i < count; i++) {
      const value = Number(kind === 'i' ? view.getBigInt64(8 * i, little) : view.getBigUint64(8 * i, little));
      if (!Number.isSafeInteger(value)) throw badFile(path, 'integers below 2^53', `${value} at entry ${at + i}`);
      out[at + i] = value;
    }
  }
}

/** Fortran order (first index fastest) to C order (last index fastest). */
function fromFortran(data: Float64Array, shape: readonly number[]): Float64Array {
  const out = new Float64Array(data.length);
  const index = new Array<number>(shape.length).fill(0);
  const stride: number[] = [];
  for (let d = 0, s = 1; d < shape.length; d++) {
    stride.push(s);
    s *= shape[d];
  }
  let from = 0;
  for (let to = 0; to < out.length; to++) {
    out[to] = data[from];
    for (let d = shape.length - 1; d >= 0; d--) {
      from += stride[d];
      if (++index[d] < shape[d]) break;
      from -= stride[d] * shape[d];
      index[d] = 0;
    }
  }
  return out;
}

function count(shape: readonly number[]): number {
  return shape.reduce((a, b) => a * b, 1);
}

function checkSize(path: string, header: Header, bytes: number): void {
  const claimed = count(header.shape) * header.itemBytes;
  if (claimed !== bytes - header.start) {
    const wanted = `${claimed} bytes of data (shape [${header.shape.join(', ')}], type ${header.dtype})`;
    throw badFile(path, wanted, `${bytes - header.start}`);
  }
}

function finish(path: string, header: Header, shape: number[], data: Float64Array, finite: boolean): NpyArray {
  const result = header.fortran && shape.length > 1 ? fromFortran(data, shape) : data;
  if (finite) {
    const i = firstNonFinite(result);
    if (i >= 0) throw badFile(path, 'finite numbers', `${result[i]} at entry ${i} of shape [${shape.join(', ')}]`);
  }
  return { shape, dtype: header.dtype, data: result };
}

/**
 * Decodes a .npy file that is in memory.
 *
 * @param path its name, for messages
 */
export function decodeNpy(path: string, bytes: Uint8Array, finite = true): NpyArray {
  const { from, start } = headerEnd(path, bytes.subarray(0, 12), bytes.length);
  const header = parseHeader(path, Buffer.from(bytes.subarray(from, start)).toString('latin1'), start);
  checkSize(path, header, bytes.length);
  checkFits(path, count(header.shape) * 8);
  const data = new Float64Array(count(header.shape));
  decode(path, header, bytes.subarray(start), data, 0);
  return finish(path, header, header.shape, data, finite);
}

/**
 * Reads a .npy file in pieces of 4 MB.
 *
 * @throws DeepHessianError 'bad-file' (foreign, truncated, overlong, non-finite numbers), 'unsupported' (objects,
 * structures, complex numbers), 'io'
 */
export async function readNpy(path: string, options: ReadNpyOptions = {}): Promise<NpyArray> {
  const { handle, size: bytes } = await openRegular(path);
  try {
    const read = async (out: Uint8Array, position: number): Promise<Uint8Array> => {
      for (let at = 0; at < out.length;) {
        const { bytesRead } = await handle.read(out, at, out.length - at, position + at);
        if (bytesRead === 0) throw badFile(path, `${bytes} bytes`, `the end of the file at ${position + at}`);
        at += bytesRead;
      }
      return out;
    };
    const prefix = await read(new Uint8Array(Math.min(12, bytes)), 0);
    const { from, start } = headerEnd(path, prefix, bytes);
    const text = Buffer.from(await read(new Uint8Array(start - from), from)).toString('latin1');
    const header = parseHeader(path, text, start);
    checkSize(path, header, bytes);
    const shape = [...header.shape];
    if (options.limit !== undefined && shape.length > 0 && options.limit < shape[0]) {
      checkInteger('readNpy', 'limit', options.limit, 1);
      if (header.fortran && shape.length > 1)
        failRange('readNpy', 'limit', 'none for an array in Fortran order', options.limit);
      shape[0] = options.limit;
    }
    const entries = count(shape);
    checkFits(path, entries * 8 * (header.fortran ? 2 : 1));
    const data = new Float64Array(entries);
    const block = new Uint8Array(Math.min(1 << 22, Math.max(8, entries * header.itemBytes)));
    const perBlock = Math.floor(block.length / header.itemBytes);
    for (let at = 0; at < entries; at += perBlock) {
      const size = Math.min(perBlock, entries - at) * header.itemBytes;
      decode(path, header, await read(block.subarray(0, size), start + at * header.itemBytes), data, at);
    }
    return finish(path, header, shape, data, options.finite ?? true);
  } catch (error) {
    throw ioError('reading', path, error);
  } finally {
    await handle.close();
  }
}

/** Arrays that can be written, each as its own type. */
export type NpyWritable = Float64Array | Float32Array | Int32Array | Uint8Array;

function descrOf(data: NpyWritable): string {
  const order = hostIsLittle ? '<' : '>';
  if (data instanceof Float64Array) return `${order}f8`;
  if (data instanceof Float32Array) return `${order}f4`;
  if (data instanceof Int32Array) return `${order}i4`;
  if (data instanceof Uint8Array) return '|u1';
  return failType('writeNpy', 'data', 'a Float64Array, Float32Array, Int32Array or Uint8Array', data);
}

/** Prefix and header, together a multiple of 64 bytes (as NumPy pads them) and at least `least`. */
function encodeHeader(descr: string, shape: readonly number[], least = 0): Buffer {
  const tuple = shape.length === 1 ? `${shape[0]},` : shape.join(', ');
  const dict = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${tuple}), }`;
  const total = Math.max(least, Math.ceil((10 + dict.length + 1) / 64) * 64);
  const bytes = Buffer.alloc(total, ' ');
  magic.copy(bytes);
  bytes[6] = 1;
  bytes[7] = 0;
  bytes.writeUInt16LE(total - 10, 8);
  bytes.write(dict, 10, 'latin1');
  bytes[total - 1] = 0x0a;
  return bytes;
}

/** The bytes of a .npy file (version 1.0, C order). @param shape default: one dimension */
export function encodeNpy(data: NpyWritable, shape: readonly number[] = [data.length]): Buffer {
  if (count(shape) !== data.length) {
    failRange('writeNpy', 'shape', `sizes with product ${data.length}`, `[${shape.join(', ')}]`);
  }
  return Buffer.concat([
    encodeHeader(descrOf(data), shape),
    new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
  ]);
}

/**
 * Writes an array, row-major, atomically.
 *
 * @param shape default: one dimension
 * @throws RangeError when the shape does not fit, DeepHessianError 'io'
 */
export async function writeNpy(
  path: string,
  data: NpyWritable,
  shape: readonly number[] = [data.length],
): Promise<void> {
  if (count(shape) !== data.length) {
    failRange('writeNpy', 'shape', `sizes with product ${data.length}`, `[${shape.join(', ')}]`);
  }
  await writeFileAtomic(path, [encodeHeader(descrOf(data), shape), data]);
}

/**
 * Writes a float64 matrix row by row, without ever holding it: the number of rows is put into the header at the end, and
 * the file takes its name only then.
 *
 * @example
 * const writer = await NpyRowWriter.create('influence.npy', 500);
 * try {
 *   for (const rows of blocks) await writer.append(rows);
 *   await writer.close();
 * } catch (error) {
 *   await writer.discard();
 *   throw error;
 * }
 */
export class NpyRowWriter {
  private written = 0;
  private static readonly headerBytes = 128;

  private constructor(
    readonly columns: number,
    private readonly file: AtomicFile,
  ) {}

  static async create(path: string, columns: number): Promise<NpyRowWriter> {
    checkInteger('NpyRowWriter', 'columns', columns, 1);
    const file = await AtomicFile.create(path);
    const writer = new NpyRowWriter(columns, file);
    try {
      await file.write(writer.header());
    } catch (error) {
      await file.discard();
      throw error;
    }
    return writer;
  }

  /** Rows appended so far. */
  get rows(): number {
    return this.written;
  }

  /** Appends whole rows, row-major. */
  async append(rows: Float64Array): Promise<void> {
    if (rows.length % this.columns !== 0)
      failRange('NpyRowWriter.append', 'rows', `rows of ${this.columns} columns`, rows);
    await this.file.write(rows);
    this.written += rows.length / this.columns;
  }

  /** Completes the header and gives the file its name. */
  async close(): Promise<void> {
    await this.file.writeAt(this.header(), 0);
    await this.file.commit();
  }

  /** Removes what was written; harmless after {@link NpyRowWriter.close}. */
  async discard(): Promise<void> {
    await this.file.discard();
  }

  private header(): Buffer {
    return encodeHeader(descrOf(new Float64Array(0)), [this.written, this.columns], NpyRowWriter.headerBytes);
  }
}
