/**
 * Safetensors files, and a network's parameters in them as PyTorch's nn.Linear has them.
 *
 *     8 bytes   length n of the header, little-endian uint64
 *     n bytes   JSON: { "name": { "dtype": "F64", "shape": [out, in], "data_offsets": [begin, end] }, ..,
 *               "__metadata__": { text: text } }, padded with blanks
 *     data      little-endian, row-major; offsets count from here, without gaps or overlap
 *
 * Source: the format's own description (Hugging Face, safetensors).
 */
import { checkInteger, checkOneOf, checkVector, failRange, failType } from '../checks.js';
import { DeepHessianError } from '../errors.js';
import { ioError, writeFileAtomic } from './atomic.js';
import { badFile, checkFits } from './bytes.js';
import { openRegular } from './regular-file.js';

/** A tensor of a safetensors file. */
export interface Tensor {
  /** Sizes of its dimensions. */
  shape: number[];
  /** Row-major. */
  data: Float64Array;
}

/** What a safetensors file holds. */
export interface SafetensorsFile {
  /** By name, in the order of the header. */
  tensors: Map<string, Tensor>;
  /** The file's `__metadata__`; empty where it has none. */
  metadata: Record<string, string>;
}

/** The bound that the reference implementation puts on the header. */
const longestHeader = 100_000_000;
const itemBytes: Record<string, number> = { F64: 8, F32: 4 };

/**
 * Reads a safetensors file of F64 and F32 tensors; everything comes out as float64.
 *
 * @throws DeepHessianError 'bad-file' naming the file and tensor, 'unsupported' for another type, 'io'
 */
export async function readSafetensors(path: string): Promise<SafetensorsFile> {
  const { handle, size: bytes } = await openRegular(path);
  try {
    if (bytes < 10) throw badFile(path, 'a safetensors file (8 bytes of length, a JSON header)', `${bytes} bytes`);
    const read = async (size: number, position: number): Promise<Buffer> => {
      const out = Buffer.alloc(size);
      for (let at = 0; at < size;) {
        const { bytesRead } = await handle.read(out, at, size - at, position + at);
        if (bytesRead === 0) throw badFile(path, `${bytes} bytes`, `the end of the file at ${position + at}`);
        at += bytesRead;
      }
      return out;
    };
    const length = Number((await read(8, 0)).readBigUInt64LE());
    if (length < 2 || length > longestHeader || length > bytes - 8) {
      throw badFile(path, `a header of 2 to ${Math.min(longestHeader, bytes - 8)} bytes`, `one of ${length}`);
    }
    const { entries, metadata } = parseHeader(path, await read(length, 8), bytes - 8 - length);
    const tensors = new Map<string, Tensor>();
    checkFits(
      path,
      entries.reduce((sum, { shape }) => sum + 8 * product(shape), 0),
    );
    for (const { name, dtype, shape, begin, end } of entries) {
      const raw = await read(end - begin, 8 + length + begin);
      const data = new Float64Array(product(shape));
      for (let i = 0; i < data.length; i++) {
        data[i] = dtype === 'F64' ? raw.readDoubleLE(8 * i) : raw.readFloatLE(4 * i);
        if (!Number.isFinite(data[i])) throw badFile(path, `finite numbers in '${name}'`, `${data[i]} at entry ${i}`);
      }
      tensors.set(name, { shape, data });
    }
    return { tensors, metadata };
  } catch (error) {
    throw ioError('reading', path, error);
  } finally {
    await handle.close();
  }
}

interface Entry {
  name: string;
  dtype: string;
  shape: number[];
  begin: number;
  end: number;
}

function parseHeader(
  path: string,
  header: Buffer,
  dataBytes: number,
): { entries: Entry[]; metadata: Record<string, string> } {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(header));
  } catch (error) {
    throw badFile(path, 'a JSON header', (error as Error).message, error);
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json))
    throw badFile(path, 'an object as header', typeof json);
  const entries: Entry[] = [];
  let metadata: Record<string, string> = {};
  for (const [name, value] of Object.entries(json as Record<string, unknown>)) {
    if (typeof value !== 'object' || value === null)
      throw badFile(path, `an object for '${name}'`, JSON.stringify(value));
    if (name === '__metadata__') {
      if (Object.values(value).some((text) => typeof text !== 'string'))
        throw badFile(path, 'texts in __metadata__', 'others');
      metadata = { ...(value as Record<string, string>) };
      continue;
    }
    const { dtype, shape, data_offsets: offsets } = value as Record<string, unknown>;
    const sizes = (list: unknown): list is number[] =>
      Array.isArray(list) && list.every((size) => Number.isSafeInteger(size) && (size as number) >= 0);
    if (typeof dtype !== 'string' || !sizes(shape) || !sizes(offsets) || offsets.length !== 2) {
      throw badFile(path, `dtype, shape and data_offsets for '${name}'`, JSON.stringify(value).slice(0, 100));
    }
    if (itemBytes[dtype] === undefined) {
      throw new DeepHessianError(
        'unsupported',
        `${path}: tensor '${name}' is of type ${dtype}; F64 and F32 can be read`,
        {
          path,
          name,
          dtype,
        },
      );
    }
    const [begin, end] = offsets;
    const wanted = product(shape) * itemBytes[dtype];
    if (end - begin !== wanted) {
      throw badFile(
        path,
        `${wanted} bytes for '${name}' (${dtype}, [${shape.join(', ')}])`,
        `offsets ${begin} to ${end}`,
      );
    }
    entries.push({ name, dtype, shape, begin, end });
  }
  // In the order of the data they must follow one another exactly and fill it.
  entries.sort((a, b) => a.begin - b.begin || a.end - b.end);
  let at = 0;
  for (const { name, begin, end } of entries) {
    if (begin !== at) throw badFile(path, `'${name}' to begin at offset ${at} (no gaps, no overlap)`, `${begin}`);
    at = end;
  }
  if (at !== dataBytes) throw badFile(path, `${at} bytes of data`, `${dataBytes}`);
  return { entries, metadata };
}

function product(shape: readonly number[]): number {
  return shape.reduce((a, b) => a * b, 1);
}

/**
 * Writes tensors in the order of the map, atomically.
 *
 * @param options dtype 'F64' (default, exact) or 'F32' (rounded; PyTorch's default type); metadata: texts
 * @throws RangeError for a shape that does not fit or a number that float32 cannot hold
 */
export async function writeSafetensors(
  path: string,
  tensors: ReadonlyMap<string, Tensor>,
  options: { dtype?: 'F64' | 'F32'; metadata?: Record<string, string> } = {},
): Promise<void> {
  const operation = 'writeSafetensors';
  const { dtype = 'F64', metadata } = options;
  checkOneOf(operation, 'dtype', dtype, ['F64', 'F32'] as const);
  const header: Record<string, unknown> = metadata ? { __metadata__: metadata } : {};
  const parts: Buffer[] = [];
  let at = 0;
  for (const [name, { shape, data }] of tensors) {
    if (name === '__metadata__' || name === '__proto__') failRange(operation, 'tensors', 'other names', name);
    checkVector(operation, `tensor '${name}'`, data, product(shape));
    const part = Buffer.alloc(data.length * itemBytes[dtype]);
    for (let i = 0; i < data.length; i++) {
      if (dtype === 'F64') part.writeDoubleLE(data[i], 8 * i);
      else if (Number.isFinite(Math.fround(data[i]))) part.writeFloatLE(data[i], 4 * i);
      else failRange(operation, `tensor '${name}'[${i}]`, 'a number that float32 can hold', data[i]);
    }
    header[name] = { dtype, shape, data_offsets: [at, at + part.length] };
    at += part.length;
    parts.push(part);
  }
  const text = Buffer.from(JSON.stringify(header), 'utf8');
  const padded = Buffer.alloc(Math.ceil(text.length / 8) * 8, ' ');
  text.copy(padded);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  await writeFileAtomic(path, [length, padded, ...parts]);
}

/** A dense layer, as far as its parameters go. */
export interface LinearShape {
  /** Features in. */
  inputs: number;
  /** Features out. */
  units: number;
  /** Whether there is a bias. */
  bias: boolean;
}

/** How tensors are named: layer l is `${prefix}${l * step}`. */
export interface TensorNames {
  /** Default 'layers.'; '' for a bare nn.Sequential. */
  prefix?: string;
  /** Default 1; 2 for an nn.Sequential that has an activation after each layer. */
  step?: number;
}

interface Place {
  name: string;
  shape: number[];
  offset: number;
}

function places(
  operation: string,
  layers: readonly LinearShape[],
  names: TensorNames,
): { list: Place[]; count: number } {
  const { prefix = 'layers.', step = 1 } = names;
  checkInteger(operation, 'step', step, 1);
  if (typeof prefix !== 'string') failType(operation, 'prefix', 'a text', prefix);
  const list: Place[] = [];
  let offset = 0;
  layers.forEach(({ inputs, units, bias }, l) => {
    checkInteger(operation, `layers[${l}].inputs`, inputs, 1);
    checkInteger(operation, `layers[${l}].units`, units, 1);
    list.push({ name: `${prefix}${l * step}.weight`, shape: [units, inputs], offset });
    offset += units * inputs;
    if (!bias) return;
    list.push({ name: `${prefix}${l * step}.bias`, shape: [units], offset });
    offset += units;
  });
  return { list, count: offset };
}

/**
 * A network's flat parameters as tensors `layers.0.weight` [out, in], `layers.0.bias` [out], .. : what
 * `load_state_dict` of a PyTorch module with an nn.ModuleList or nn.Sequential `layers` of nn.Linear takes.
 *
 * @param parameters flat: layer by layer, weight row-major [out, in], then bias [out]
 */
export function parametersToTensors(
  layers: readonly LinearShape[],
  parameters: Float64Array,
  names: TensorNames = {},
): Map<string, Tensor> {
  const { list, count } = places('parametersToTensors', layers, names);
  checkVector('parametersToTensors', 'parameters', parameters, count);
  return new Map(
    list.map(({ name, shape, offset }) => [name, { shape, data: parameters.slice(offset, offset + product(shape)) }]),
  );
}

/**
 * The way back: every tensor of the layers must be there with its shape, and no other.
 *
 * @throws DeepHessianError 'bad-file' naming the tensor
 */
export function tensorsToParameters(
  layers: readonly LinearShape[],
  tensors: ReadonlyMap<string, Tensor>,
  names: TensorNames = {},
): Float64Array {
  const { list, count } = places('tensorsToParameters', layers, names);
  const parameters = new Float64Array(count);
  const fail = (expected: string, found: string): never => {
    throw new DeepHessianError('bad-file', `tensors of the network: expected ${expected}, found ${found}`, {
      expected,
      found,
    });
  };
  for (const { name, shape, offset } of list) {
    const tensor = tensors.get(name);
    if (!tensor) return fail(`'${name}' [${shape.join(', ')}]`, `only ${[...tensors.keys()].slice(0, 10).join(', ')}`);
    if (tensor.shape.length !== shape.length || tensor.shape.some((size, d) => size !== shape[d])) {
      fail(`'${name}' of shape [${shape.join(', ')}]`, `[${tensor.shape.join(', ')}]`);
    }
    parameters.set(tensor.data, offset);
  }
  const known = new Set(list.map(({ name }) => name));
  for (const name of tensors.keys()) if (!known.has(name)) fail(`${list.length} tensors`, `'${name}' besides`);
  return parameters;
}
