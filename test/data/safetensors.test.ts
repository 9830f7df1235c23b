import { readFileSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import fc from 'fast-check';
import {
  parametersToTensors,
  readSafetensors,
  tensorsToParameters,
  writeSafetensors,
  type Tensor,
} from '../../ts/data/safetensors.js';
import { expectFailure, expectMisuse, temporaryFolder } from './helpers.js';

function bytesOf(header: unknown, data: Uint8Array = new Uint8Array(0), length?: bigint): Buffer {
  const text = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(length ?? BigInt(text.length));
  return Buffer.concat([prefix, text, data]);
}

const layers = [
  { inputs: 2, units: 3, bias: true },
  { inputs: 3, units: 1, bias: false },
];

describe('safetensors', () => {
  const folder = temporaryFolder();
  let count = 0;
  const file = (content: Uint8Array): string => {
    const path = folder.path(`f${count++}.safetensors`);
    writeFileSync(path, content);
    return path;
  };

  it("parameters travel in the names and shapes of PyTorch's nn.Linear, and back", async () => {
    const parameters = Float64Array.from({ length: 12 }, (_, i) => Math.sqrt(i));
    const tensors = parametersToTensors(layers, parameters);
    expect([...tensors].map(([name, { shape }]) => [name, shape])).to.deep.equal([
      ['layers.0.weight', [3, 2]],
      ['layers.0.bias', [3]],
      ['layers.1.weight', [1, 3]],
    ]);
    const path = folder.path('model.safetensors');
    await writeSafetensors(path, tensors, { metadata: { format: 'pt' } });
    const back = await readSafetensors(path);
    expect(back.metadata).to.deep.equal({ format: 'pt' });
    expect([...tensorsToParameters(layers, back.tensors)]).to.deep.equal([...parameters]);
    // The data begins at a multiple of 8, as the format's writers do it.
    expect(Number(readFileSync(path).readBigUInt64LE()) % 8).to.equal(0);
    await writeSafetensors(path, tensors, { dtype: 'F32' });
    const rounded = tensorsToParameters(layers, (await readSafetensors(path)).tensors);
    expect([...rounded]).to.deep.equal([...parameters].map(Math.fround));
    const sequential = parametersToTensors(layers, parameters, { prefix: '', step: 2 });
    expect([...sequential.keys()]).to.deep.equal(['0.weight', '0.bias', '2.weight']);
  });

  it('reads a hand-made file: byte order, order of entries in the header, scalars', async () => {
    const data = Buffer.alloc(20);
    data.writeDoubleLE(1.5, 0);
    data.writeFloatLE(0.25, 8);
    data.writeDoubleLE(-2, 12);
    const header = {
      last: { dtype: 'F64', shape: [], data_offsets: [12, 20] },
      first: { dtype: 'F64', shape: [1, 1], data_offsets: [0, 8] },
      middle: { dtype: 'F32', shape: [1], data_offsets: [8, 12] },
    };
    const { tensors } = await readSafetensors(file(bytesOf(header, data)));
    expect(tensors.get('first')).to.deep.equal({ shape: [1, 1], data: Float64Array.of(1.5) });
    expect(tensors.get('middle')?.data[0]).to.equal(0.25);
    expect(tensors.get('last')).to.deep.equal({ shape: [], data: Float64Array.of(-2) });
  });

  it('refuses lengths, gaps, overlaps and shapes that do not fit', async () => {
    const refused = async (content: Uint8Array, message: RegExp): Promise<void> =>
      expectFailure(readSafetensors(file(content)), 'bad-file', message);
    const one = (begin: number, end: number, shape = [1]): unknown => ({
      dtype: 'F64',
      shape,
      data_offsets: [begin, end],
    });
    const data = new Uint8Array(16);
    await refused(new Uint8Array(4), /safetensors file.*4 bytes/);
    await refused(bytesOf('{}', data, 1n << 60n), /header of 2 to 18 bytes/);
    await refused(bytesOf('{}', data, 0xffffffffffffffffn), /header of/);
    await refused(bytesOf('{"a"', data), /JSON header/);
    await refused(bytesOf('[1]', data), /an object/);
    await refused(bytesOf({ a: one(0, 8) }, data), /8 bytes of data, found 16/);
    await refused(bytesOf({ a: one(8, 16) }, data), /'a' to begin at offset 0/);
    await refused(bytesOf({ a: one(0, 8), b: one(0, 8) }, data), /'b' to begin at offset 8/);
    await refused(bytesOf({ a: one(0, 16) }, data), /8 bytes for 'a'/);
    await refused(bytesOf({ a: one(0, 8, [1e9, 1e9]) }, data), /bytes for 'a'/);
    await refused(bytesOf({ a: one(16, 0, [-2]) }, data), /dtype, shape and data_offsets for 'a'/);
    await refused(bytesOf({ a: { dtype: 'F64' } }, data), /data_offsets for 'a'/);
    await refused(bytesOf({ a: 3 }, data), /an object for 'a'/);
    await refused(bytesOf({ __metadata__: { a: 1 } }), /__metadata__/);
    const nan = new Uint8Array(Float64Array.of(0, NaN).buffer);
    await refused(bytesOf({ a: one(0, 16, [2]) }, nan), /finite numbers in 'a', found NaN at entry 1/);
    const half = { a: { dtype: 'BF16', shape: [1], data_offsets: [0, 2] } };
    await expectFailure(readSafetensors(file(bytesOf(half, new Uint8Array(2)))), 'unsupported', /BF16/);
  });

  it('refuses to write what cannot be read, and parameters of another network', async () => {
    const write = (tensor: Tensor, dtype: 'F32' | 'F64' = 'F64'): Promise<void> =>
      writeSafetensors(folder.path('x'), new Map([['a', tensor]]), { dtype });
    await expectMisuse(write({ shape: [2], data: new Float64Array(3) }), RangeError, /length 2/);
    await expectMisuse(write({ shape: [1], data: Float64Array.of(NaN) }), RangeError, /finite/);
    await expectMisuse(write({ shape: [1], data: Float64Array.of(1e300) }, 'F32'), RangeError, /float32/);
    const tensors = parametersToTensors(layers, new Float64Array(12));
    expect(() => parametersToTensors(layers, new Float64Array(11))).to.throw(RangeError, /length 12/);
    const other = [{ inputs: 2, units: 4, bias: true }, layers[1]];
    expect(() => tensorsToParameters(other, tensors)).to.throw(/'layers\.0\.weight' of shape \[4, 2\], found \[3, 2\]/);
    expect(() => tensorsToParameters([...layers, layers[1]], tensors)).to.throw(/'layers\.2\.weight'/);
    expect(() => tensorsToParameters([layers[0]], tensors)).to.throw(/'layers\.1\.weight' besides/);
  });

  it('never breaks in another way on bytes that were changed at random', async () => {
    const path = folder.path('seed.safetensors');
    await writeSafetensors(path, parametersToTensors(layers, new Float64Array(12)));
    const bytes = readFileSync(path);
    await fc.assert(
      fc.asyncProperty(fc.nat(bytes.length - 1), fc.nat(255), async (at, value) => {
        const copy = Buffer.from(bytes);
        copy[at] = value;
        const error = await readSafetensors(file(copy)).then(
          () => null,
          (e: unknown) => e as Error,
        );
        if (error) expect(error.name, error.stack).to.equal('DeepHessianError');
      }),
      { numRuns: 200, seed: 6 },
    );
  });
});
