import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import fc from 'fast-check';
import { decodeNpy, encodeNpy, NpyRowWriter, readNpy, writeNpy } from '../../ts/data/npy.js';
import { readNpz, writeNpz } from '../../ts/data/npz.js';
import { expectFailure, expectMisuse, temporaryFolder } from './helpers.js';

/** np.save of np.asfortranarray(np.arange(6, dtype='>f4').reshape(2, 3)), NumPy 2.4. */
const fortranBigEndian = Buffer.from(
  'k05VTVBZAQB2AHsnZGVzY3InOiAnPmY0JywgJ2ZvcnRyYW5fb3JkZXInOiBUcnVlLCAnc2hhcGUnOiAoMiwgMyksIH0gICAgICAgICAgICAgIC' +
    'AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIAoAAAAAQEAAAD+AAABAgAAAQAAAAECgAAA=',
  'base64',
);
/** np.savez_compressed(x=np.arange(3.), y=np.array([[1, 2]], dtype='i8')), NumPy 2.4. */
const archive = Buffer.from(
  'UEsDBC0AAAAIAAAAIQAkIeEr//////////8FABQAeC5ucHkBABAAmAAAAAAAAABMAAAAAAAAAJvsF+obEMnIUMZQrZ6SWpxcpG6loG6TZqGuo6Cell9UUpSY' +
    'F59flJIKEndLzClOBYoXZyQWpAL5GsY6mjoKtQoUAC4GFPDBHspwAABQSwMELQAAAAgAAAAhAMm8aNb//////////wUAFAB5Lm5weQEAEACQAAAAAAAAAEwA' +
    'AAAAAAAAm+wX6hsQychQxlCtnpJanFykbqWgbpNpoa6joJ6WX1RSlJgXn1+UkgoSd0vMKU4FihdnJBakAvkahjoKRpo6CrUKZAMuRgYIYILSAFBLAQItAy0A' +
    'AAAIAAAAIQAkIeErTAAAAJgAAAAFAAAAAAAAAAAAAACAAQAAAAB4Lm5weVBLAQItAy0AAAAIAAAAIQDJvGjWTAAAAJAAAAAFAAAAAAAAAAAAAACAAYMAAAB5' +
    'Lm5weVBLBQYAAAAAAgACAGYAAAAGAQAAAAA=',
  'base64',
);

/** A .npy file with any header text. */
function withHeader(dict: string, data: Uint8Array = new Uint8Array(0), version = 1): Buffer {
  const text = `${dict}\n`;
  const prefix = Buffer.alloc(version === 1 ? 10 : 12);
  prefix.write('\x93NUMPY', 'latin1');
  prefix[6] = version;
  if (version === 1) prefix.writeUInt16LE(text.length, 8);
  else prefix.writeUInt32LE(text.length, 8);
  return Buffer.concat([prefix, Buffer.from(text, 'latin1'), data]);
}

describe('.npy', () => {
  const folder = temporaryFolder();
  let count = 0;
  const file = (content: Uint8Array, extension = 'npy'): string => {
    const path = folder.path(`a${count++}.${extension}`);
    writeFileSync(path, content);
    return path;
  };

  it("reads NumPy's own bytes, in Fortran order and big endian", async () => {
    const { shape, dtype, data } = await readNpy(file(fortranBigEndian));
    expect(shape).to.deep.equal([2, 3]);
    expect(dtype).to.equal('>f4');
    expect([...data]).to.deep.equal([0, 1, 2, 3, 4, 5]);
  });

  it('reads every type, version and byte order', async () => {
    const cases: [string, Buffer, number[]][] = [
      ['|b1', Buffer.from([0, 1, 2]), [0, 1, 1]],
      ['?', Buffer.from([1]), [1]],
      ['|i1', Buffer.from([0xff]), [-1]],
      ['|u1', Buffer.from([0xff]), [255]],
      ['<i2', Buffer.from([0xfe, 0xff]), [-2]],
      ['>u2', Buffer.from([1, 0]), [256]],
      ['<i4', Buffer.from([0xff, 0xff, 0xff, 0xff]), [-1]],
      ['>u4', Buffer.from([0xff, 0xff, 0xff, 0xff]), [4294967295]],
      ['<i8', Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), [-1]],
      ['>i8', Buffer.from([0, 0, 0, 1, 0, 0, 0, 0]), [4294967296]],
      // 1.5, the smallest subnormal, -2.
      ['<f2', Buffer.from([0x00, 0x3e, 0x01, 0x00, 0x00, 0xc0]), [1.5, 2 ** -24, -2]],
      ['>f4', Buffer.from([0x3f, 0xc0, 0, 0]), [1.5]],
      ['>f8', Buffer.from([0x3f, 0xf8, 0, 0, 0, 0, 0, 0]), [1.5]],
    ];
    for (const [descr, bytes, values] of cases) {
      const header = `{"shape": (${values.length},), 'fortran_order': False, 'descr': '${descr}'}`;
      for (const version of [1, 2, 3]) {
        expect([...(await readNpy(file(withHeader(header, bytes, version)))).data], descr).to.deep.equal(values);
      }
    }
    const scalar = withHeader(`{'descr': '<f8', 'fortran_order': False, 'shape': (), }`, new Uint8Array(8));
    expect((await readNpy(file(scalar))).shape).to.deep.equal([]);
  });

  it('what is written comes back, whatever the shape', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 4 }), { maxLength: 4 }), fc.nat(), async (shape, seed) => {
        const data = Float64Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(i + seed));
        const path = folder.path('round.npy');
        await writeNpy(path, data, shape);
        expect(readFileSync(path).length % 64).to.equal((data.length * 8) % 64);
        const back = await readNpy(path);
        expect(back.shape).to.deep.equal(shape);
        expect([...back.data]).to.deep.equal([...data]);
      }),
      { numRuns: 30, seed: 4 },
    );
    const singles = decodeNpy('x', encodeNpy(Float32Array.of(0.1, 2)));
    expect([singles.dtype, ...singles.data]).to.deep.equal(['<f4', Math.fround(0.1), 2]);
    expect([...decodeNpy('x', encodeNpy(Int32Array.of(-7))).data]).to.deep.equal([-7]);
    expect([...decodeNpy('x', encodeNpy(Uint8Array.of(200))).data]).to.deep.equal([200]);
    await expectMisuse(writeNpy(folder.path('x'), new Float64Array(5), [2, 3]), RangeError, /shape.*\[2, 3\]/);
  });

  it('limit reads the first rows', async () => {
    const path = folder.path('limit.npy');
    await writeNpy(path, Float64Array.of(1, 2, 3, 4, 5, 6), [3, 2]);
    const { shape, data } = await readNpy(path, { limit: 2 });
    expect([shape, [...data]]).to.deep.equal([
      [2, 2],
      [1, 2, 3, 4],
    ]);
  });

  it('limit is checked as an argument, not reported as a failure of the file', async () => {
    const path = folder.path('limit0.npy');
    await writeNpy(path, Float64Array.of(1, 2));
    await expectMisuse(readNpy(path, { limit: 0 }), RangeError, /integer >= 1 for limit, received 0/);
    await expectMisuse(readNpy(file(fortranBigEndian), { limit: 1 }), RangeError, /Fortran/);
  });

  it('refuses foreign, truncated and lying files by name', async () => {
    const dict = (shape: string, descr = '<f8'): string =>
      `{'descr': '${descr}', 'fortran_order': False, 'shape': ${shape}}`;
    const refused = async (content: Uint8Array, message: RegExp): Promise<void> =>
      expectFailure(readNpy(file(content)), 'bad-file', message);
    await refused(Buffer.alloc(0), /a\d+\.npy: expected a \.npy file/);
    await refused(Buffer.from('PK\x03\x04 something else'), /found bytes 504b0304/);
    await refused(fortranBigEndian.subarray(0, 60), /header of at most/);
    await refused(fortranBigEndian.subarray(0, 140), /24 bytes of data .*found 12/);
    await refused(Buffer.concat([fortranBigEndian, Buffer.alloc(1)]), /24 bytes.*found 25/);
    await refused(withHeader(dict('(1000000, 1000000, 1000000, 1000)')), /found 0/);
    await refused(withHeader(dict('(99999999999999999999,)')), /2\^53/);
    await refused(withHeader(dict('(-1,)')), /header with/);
    await refused(withHeader(dict('(1.5,)')), /header with/);
    await refused(
      withHeader(`{'descr': '<f8', 'shape': (1,)}`, new Uint8Array(8)),
      /'descr', 'fortran_order' and 'shape'/,
    );
    await refused(withHeader(`{'descr': '<f8', 'fortran_order': False, 'shape': (1,), 'x': '1'}`), /header with/);
    await refused(withHeader(`__import__('os')`), /a dict/);
    await refused(Buffer.concat([Buffer.from('\x93NUMPY\x04\x00', 'latin1'), Buffer.alloc(40)]), /version 4/);
    await refused(
      withHeader(dict('(2,)'), new Uint8Array(Float64Array.of(1, NaN).buffer)),
      /finite numbers, found NaN at entry 1/,
    );
    await refused(withHeader(dict('(1,)', '<i8'), Buffer.from([0, 0, 0, 0, 0, 0, 0, 0x7f])), /below 2\^53.*entry 0/);
    await expectFailure(readNpy(file(withHeader(dict('(1,)', '|O')))), 'unsupported', /type '\|O'/);
    await expectFailure(readNpy(file(withHeader(dict('(1,)', '<c16')))), 'unsupported', /<c16/);
    const structured = withHeader(`{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }`);
    await expectFailure(readNpy(file(structured)), 'unsupported', /structured/);
    await expectFailure(readNpy(folder.path('absent.npy')), 'io', /absent/);
    const open = withHeader(dict('(1,)'), new Uint8Array(Float64Array.of(Infinity).buffer));
    expect((await readNpy(file(open), { finite: false })).data[0]).to.equal(Infinity);
  });

  it('the row writer streams rows, and leaves nothing when given up', async () => {
    const path = folder.path('rows.npy');
    const writer = await NpyRowWriter.create(path, 3);
    await writer.append(Float64Array.of(1, 2, 3));
    await writer.append(Float64Array.of(4, 5, 6, 7, 8, 9));
    await expectMisuse(writer.append(new Float64Array(2)), RangeError, /rows of 3 columns/);
    expect(writer.rows).to.equal(3);
    expect(readdirSync(folder.path())).not.to.include('rows.npy');
    await writer.close();
    const { shape, data } = await readNpy(path);
    expect(shape).to.deep.equal([3, 3]);
    expect([...data]).to.deep.equal([1, 2, 3, 4, 5, 6, 7, 8, 9]);
    const other = await NpyRowWriter.create(folder.path('given-up.npy'), 1);
    await other.append(Float64Array.of(1));
    await other.discard();
    expect(readdirSync(folder.path()).filter((name) => name.includes('given-up'))).to.deep.equal([]);
  });

  describe('.npz', () => {
    it("reads NumPy's own archive", async () => {
      const arrays = await readNpz(file(archive, 'npz'));
      expect([...arrays.keys()]).to.deep.equal(['x', 'y']);
      expect([...(arrays.get('x')?.data ?? [])]).to.deep.equal([0, 1, 2]);
      expect(arrays.get('y')?.shape).to.deep.equal([1, 2]);
      expect([...(arrays.get('y')?.data ?? [])]).to.deep.equal([1, 2]);
    });

    it('what is written comes back, stored and deflated, the same bytes each time', async () => {
      for (const compress of [true, false]) {
        const path = folder.path('round.npz');
        const arrays = { weights: { data: Float64Array.of(1, 2, 3, 4), shape: [2, 2] }, labels: Int32Array.of(3, 1) };
        await writeNpz(path, arrays, compress);
        const bytes = readFileSync(path);
        await writeNpz(path, arrays, compress);
        expect(readFileSync(path).equals(bytes)).to.equal(true);
        const back = await readNpz(path);
        expect(back.get('weights')?.shape).to.deep.equal([2, 2]);
        expect([...(back.get('weights')?.data ?? [])]).to.deep.equal([1, 2, 3, 4]);
        expect([...(back.get('labels')?.data ?? [])]).to.deep.equal([3, 1]);
      }
      await expectMisuse(writeNpz(folder.path('x'), { '../x': Float64Array.of(1) }), RangeError, /plain names/);
    });

    it('refuses truncated, corrupt and lying archives', async () => {
      const central = archive.indexOf(Buffer.from([0x50, 0x4b, 1, 2]));
      const change = (at: number, ...bytes: number[]): Buffer => {
        const copy = Buffer.from(archive);
        copy.set(bytes, at);
        return copy;
      };
      const refused = async (content: Uint8Array, message: RegExp): Promise<void> =>
        expectFailure(readNpz(file(content, 'npz')), 'bad-file', message);
      await refused(archive.subarray(0, archive.length - 30), /zip archive/);
      await refused(Buffer.from('not an archive'), /zip archive/);
      await refused(change(central + 16, 0, 0, 0, 0), /x\.npy\): expected CRC-32 0/);
      await refused(change(60, 0xff, 0xff, 0xff), /x\.npy\)/);
      // A size of 4 GB claimed for 76 bytes, and one that is too small by one byte.
      await refused(change(central + 24, 0xf0, 0xff, 0xff, 0xff), /at most 78432 bytes unpacked/);
      await refused(change(central + 24, 0x97), /x\.npy\)/);
      await refused(change(central + 20, 0xff, 0xff), /inside the archive|members of at most/);
      await refused(change(central + 42, 0xff, 0xff), /local header/);
      await refused(change(archive.length - 6, 0xff, 0xff), /central directory/);
      await refused(change(archive.length - 12, 9), /9 members/);
      await expectFailure(readNpz(file(change(central + 8, 1), 'npz')), 'unsupported', /encrypted/);
      await expectFailure(readNpz(file(change(central + 10, 14), 'npz')), 'unsupported', /method 14/);
    });

    it('never breaks in another way on bytes that were changed at random', async () => {
      await fc.assert(
        fc.asyncProperty(fc.nat(archive.length - 1), fc.nat(255), async (at, value) => {
          const copy = Buffer.from(archive);
          copy[at] = value;
          const path = file(copy, 'npz');
          const error = await readNpz(path).then(
            () => null,
            (e: unknown) => e as Error,
          );
          if (error) expect(error.name, error.stack).to.equal('DeepHessianError');
        }),
        { numRuns: 200, seed: 5 },
      );
    });
  });
});
