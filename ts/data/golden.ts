/**
 * Golden cases: a network, a batch, and what an independent implementation found for them.
 *
 * `case.json` describes, `case.bin` holds little-endian float64 arrays one after the other (row-major, no header); the
 * json's `arrays` gives offset in bytes and shape of each. `params`, `inputs` and `targets` must be there, everything
 * else is compared with where present.
 */
import { dirname, isAbsolute, join, normalize, sep } from 'node:path';
import { badFile, checkFits, fileSize } from './bytes.js';
import { readRegular } from './regular-file.js';

/** A dense layer of the case's network. */
export interface GoldenLayer {
  type: 'dense';
  units: number;
  activation: GoldenActivation;
  bias: boolean;
}

export type GoldenActivation = (typeof activations)[number];
const activations = ['tanh', 'sigmoid', 'softplus', 'gelu', 'silu', 'sine', 'identity', 'relu'] as const;

/** Loss names of the format (underscores) and of the library. */
const losses = {
  cross_entropy: 'cross-entropy',
  mse: 'mse',
  binary_cross_entropy: 'binary-cross-entropy',
} as const;

export interface GoldenArray {
  shape: number[];
  /** Row-major. */
  data: Float64Array;
}

export interface GoldenCase {
  name: string;
  /** What `new Network(..)` takes. */
  network: { inputs: number; loss: (typeof losses)[keyof typeof losses]; layers: GoldenLayer[] };
  samples: number;
  outputs: number;
  parameterCount: number;
  /** Flat: layer by layer, weight row-major [out, in], then bias [out]. */
  params: Float64Array;
  /** [samples, inputs]. */
  inputs: Float64Array;
  /** Class indices [samples], or values [samples, outputs]. */
  targets: Int32Array | Float64Array;
  /** Dampings of the stored solves; row e of `hessian_solve_g` and `gauss_newton_solve_g` is for eps[e]. */
  eps: number[];
  /** The other arrays by the names of the format: outputs, loss, grad, v, hvp_v, hessian, hessian_solve_g, .. */
  expected: Record<string, GoldenArray>;
}

const largestJson = 64 * 2 ** 20;

/**
 * Reads and checks a golden case.
 *
 * @param path of the json file; the binary file is the one it names, in its folder or below
 * @throws DeepHessianError 'bad-file' naming the file and field, 'io' for a missing file
 */
export async function readGolden(path: string): Promise<GoldenCase> {
  const bytes = await readRegular(path, (size) => {
    if (size > largestJson) throw badFile(path, `at most ${largestJson} bytes of JSON`, 'more');
  });
  const text = bytes.toString('utf8');
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw badFile(path, 'JSON', (error as Error).message, error);
  }
  const fields = new Fields(path, json);
  const dims = fields.integers('dims', 1);
  if (dims.length < 2) throw badFile(path, "'dims' with inputs and outputs", `${dims.length} entries`);
  const samples = fields.integer('batch', 1);
  const bias = fields.boolean('bias');
  const loss = losses[fields.oneOf('loss', Object.keys(losses) as (keyof typeof losses)[])];
  const activation = fields.oneOf('activation', activations);
  const last = fields.has('output_activation') ? fields.oneOf('output_activation', activations) : 'identity';
  const layers = dims.slice(1).map((units, l): GoldenLayer => {
    return { type: 'dense', units, activation: l === dims.length - 2 ? last : activation, bias };
  });
  const parameterCount = layers.reduce((sum, { units }, l) => sum + units * (dims[l] + (bias ? 1 : 0)), 0);
  fields.same('num_layers', layers.length);
  fields.same('num_params', parameterCount);
  if (fields.has('dtype')) fields.oneOf('dtype', ['<f8']);
  if (fields.has('order')) fields.oneOf('order', ['C']);
  const inputs = dims[0];
  const outputs = dims[dims.length - 1];
  const eps = fields.has('eps') ? fields.numbers('eps') : [];

  const binary = fields.text('bin');
  const relative = normalize(binary);
  if (isAbsolute(relative) || relative.split(sep).includes('..')) {
    throw badFile(path, "'bin' to name a file in the same folder", `"${binary}"`);
  }
  const arrays = await readArrays(path, join(dirname(path), relative), fields);
  const want = (name: string, shape: number[]): Float64Array => {
    const array = arrays[name];
    if (!array) throw badFile(path, `array '${name}' of shape [${shape.join(', ')}]`, 'none');
    checkShape(path, name, array.shape, shape);
    return array.data;
  };
  const params = want('params', [parameterCount]);
  const batch = want('inputs', [samples, inputs]);
  const targets = readTargets(path, arrays, loss, samples, outputs);
  const optional: Record<string, number[]> = {
    outputs: [samples, outputs],
    loss: [1],
    grad: [parameterCount],
    v: [parameterCount],
    hvp_v: [parameterCount],
    hessian: [parameterCount, parameterCount],
    hessian_eigenvalues: [parameterCount],
    hessian_solve_g: [eps.length, parameterCount],
    gauss_newton: [parameterCount, parameterCount],
    gauss_newton_eigenvalues: [parameterCount],
    gauss_newton_solve_g: [eps.length, parameterCount],
  };
  const expected: Record<string, GoldenArray> = {};
  for (const [name, array] of Object.entries(arrays)) {
    if (name === 'params' || name === 'inputs' || name === 'targets') continue;
    if (optional[name]) checkShape(path, name, array.shape, optional[name]);
    expected[name] = array;
  }
  const name = fields.has('name') ? fields.text('name') : path.replace(/^.*[\\/]/, '').replace(/\.json$/, '');
  const network = { inputs, loss, layers };
  return { name, network, samples, outputs, parameterCount, params, inputs: batch, targets, eps, expected };
}

function checkShape(path: string, name: string, found: readonly number[], wanted: readonly number[]): void {
  if (found.length !== wanted.length || found.some((size, i) => size !== wanted[i])) {
    throw badFile(path, `shape [${wanted.join(', ')}] of array '${name}'`, `[${found.join(', ')}]`);
  }
}

function readTargets(
  path: string,
  arrays: Record<string, GoldenArray>,
  loss: string,
  samples: number,
  outputs: number,
): Int32Array | Float64Array {
  const array = arrays.targets;
  if (!array) throw badFile(path, "array 'targets'", 'none');
  const { shape, data } = array;
  if (loss !== 'cross-entropy' || shape.length === 2) {
    checkShape(path, 'targets', shape, [samples, outputs]);
    return data;
  }
  checkShape(path, 'targets', shape, [samples]);
  return Int32Array.from(data, (label, n) => {
    if (!Number.isInteger(label) || label < 0 || label >= outputs) {
      throw badFile(path, `a class index from 0 to ${outputs - 1} for targets[${n}]`, String(label));
    }
    return label;
  });
}

/** All arrays of the binary file; their place in it is checked before anything is allocated. */
async function readArrays(path: string, binary: string, fields: Fields): Promise<Record<string, GoldenArray>> {
  const bytes = await fileSize(binary);
  if (fields.has('bin_bytes')) {
    const claimed = fields.integer('bin_bytes', 0);
    if (claimed !== bytes) throw badFile(binary, `${claimed} bytes ('bin_bytes' of ${path})`, `${bytes}`);
  }
  const table = fields.object('arrays');
  const places = Object.entries(table).map(([name, entry]) => {
    const place = new Fields(path, entry, `arrays.${name}.`);
    const offset = place.integer('offset_bytes', 0);
    const shape = place.integers('shape', 1);
    const size = shape.reduce((a, b) => a * b, 8);
    if (offset % 8 !== 0 || offset + size > bytes) {
      const wanted = `array '${name}' (${size} bytes at a multiple of 8) inside the ${bytes} bytes of ${binary}`;
      throw badFile(path, wanted, `offset ${offset}`);
    }
    return { name, offset, shape, size };
  });
  checkFits(binary, bytes + places.reduce((sum, { size }) => sum + size, 0));
  const content = await readRegular(binary);
  if (content.length < bytes) throw badFile(binary, `${bytes} bytes`, `${content.length}`);
  const result: Record<string, GoldenArray> = {};
  for (const { name, offset, shape, size } of places) {
    const data = new Float64Array(size / 8);
    for (let i = 0; i < data.length; i++) {
      data[i] = content.readDoubleLE(offset + 8 * i);
      if (!Number.isFinite(data[i]))
        throw badFile(binary, `finite numbers in array '${name}'`, `${data[i]} at entry ${i}`);
    }
    result[name] = { shape, data };
  }
  return result;
}

/** Typed access to the fields of a JSON object; every refusal names file and field. */
class Fields {
  private readonly fields: Record<string, unknown>;

  constructor(
    private readonly path: string,
    value: unknown,
    private readonly prefix = '',
  ) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw badFile(
        path,
        `an object${prefix && ` for '${prefix.slice(0, -1)}'`}`,
        JSON.stringify(value)?.slice(0, 40) ?? 'nothing',
      );
    }
    this.fields = value as Record<string, unknown>;
  }

  has(name: string): boolean {
    return Object.hasOwn(this.fields, name) && this.fields[name] !== undefined;
  }

  private get(name: string): unknown {
    return Object.hasOwn(this.fields, name) ? this.fields[name] : undefined;
  }

  private fail(name: string, expected: string): never {
    const found = JSON.stringify(this.get(name))?.slice(0, 60) ?? 'nothing';
    throw badFile(this.path, `${expected} for '${this.prefix}${name}'`, found);
  }

  integer(name: string, min: number): number {
    const value = this.get(name);
    if (!Number.isSafeInteger(value) || (value as number) < min) this.fail(name, `an integer >= ${min}`);
    return value as number;
  }

  integers(name: string, min: number): number[] {
    const value = this.get(name);
    if (!Array.isArray(value) || value.length === 0 || value.some((x) => !Number.isSafeInteger(x) || x < min)) {
      this.fail(name, `a list of integers >= ${min}`);
    }
    return value as number[];
  }

  numbers(name: string): number[] {
    const value = this.get(name);
    if (!Array.isArray(value) || value.some((x) => typeof x !== 'number')) this.fail(name, 'a list of numbers');
    return value as number[];
  }

  text(name: string): string {
    const value = this.get(name);
    if (typeof value !== 'string' || value === '') this.fail(name, 'a text');
    return value;
  }

  boolean(name: string): boolean {
    const value = this.get(name);
    if (typeof value !== 'boolean') this.fail(name, 'true or false');
    return value;
  }

  object(name: string): Record<string, unknown> {
    const value = this.get(name);
    if (typeof value !== 'object' || value === null || Array.isArray(value)) this.fail(name, 'an object');
    return value as Record<string, unknown>;
  }

  oneOf<T extends string>(name: string, allowed: readonly T[]): T {
    const value = this.get(name);
    if (!(allowed as readonly unknown[]).includes(value)) this.fail(name, `one of ${allowed.join(', ')}`);
    return value as T;
  }

  /** The field, where present, says what follows from the others. */
  same(name: string, value: number): void {
    if (this.has(name) && this.get(name) !== value) this.fail(name, String(value));
  }
}
