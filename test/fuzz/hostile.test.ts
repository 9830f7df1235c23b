/** Files made to do harm: sizes beyond the file, bombs, names that lead elsewhere, things that are no files. */
import { expect } from 'chai';
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { readGolden } from '../../ts/data/golden.js';
import { readIdx } from '../../ts/data/idx.js';
import { encodeNpy, readNpy } from '../../ts/data/npy.js';
import { readNpz, writeNpz } from '../../ts/data/npz.js';
import { readSafetensors } from '../../ts/data/safetensors.js';
import { DeepHessianError } from '../../ts/errors.js';
import { readCheckpoint } from '../../ts/train/checkpoint.js';
import { largestAllocation } from './mutations.js';

const golden = fileURLToPath(new URL('../golden/', import.meta.url));

describe('hostile files', function () {
  let folder = '';
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'deep-hessian-hostile-'));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  /** The reader refuses the file with one of the codes, allocating less than `bound` bytes at once. */
  async function refuses(read: () => unknown, codes: readonly string[], bound = 2 ** 20): Promise<string> {
    let caught: unknown;
    const largest = await largestAllocation(async () => {
      try {
        await read();
      } catch (error) {
        caught = error;
      }
    });
    expect(caught, String(caught)).to.be.instanceOf(DeepHessianError);
    expect((caught as DeepHessianError).code).to.be.oneOf([...codes]);
    expect(largest).to.be.at.most(bound);
    return (caught as DeepHessianError).message;
  }

  function save(name: string, content: string | Uint8Array): string {
    const path = join(folder, name);
    writeFileSync(path, content);
    return path;
  }

  it('that claim more than they hold are refused before anything is allocated', async () => {
    const npy = (shape: string): Buffer => {
      const header = `{'descr': '<f8', 'fortran_order': False, 'shape': ${shape}, }`.padEnd(117) + '\n';
      return Buffer.concat([Buffer.from('\x93NUMPY\x01\x00\x76\x00', 'latin1'), Buffer.from(header), Buffer.alloc(16)]);
    };
    for (const shape of [
      '(1000000000000,)',
      '(4294967296, 4294967296)',
      '(9007199254740993,)',
      '(99999999999999999999999,)',
      '(-1,)',
    ])
      await refuses(() => readNpy(save('a.npy', npy(shape))), ['bad-file', 'out-of-memory']);

    const idx = Buffer.from([0, 0, 14, 3, ...Array<number>(12).fill(255), 1, 2, 3]);
    await refuses(() => readIdx(save('a.idx', idx)), ['bad-file', 'out-of-memory']);
    await refuses(() => readIdx(save('a.idx.gz', gzipSync(idx))), ['bad-file', 'out-of-memory']);

    const tensors = (header: unknown, length?: bigint): Buffer => {
      const text = Buffer.from(JSON.stringify(header));
      const size = Buffer.alloc(8);
      size.writeBigUInt64LE(length ?? BigInt(text.length));
      return Buffer.concat([size, text, Buffer.alloc(16)]);
    };
    const entry = (shape: number[], end: number): unknown => ({ a: { dtype: 'F64', shape, data_offsets: [0, end] } });
    for (const content of [
      tensors(entry([2 ** 40], 8 * 2 ** 40)),
      tensors(entry([2 ** 31, 2 ** 31, 2 ** 31], 16)),
      tensors(entry([2], 2 ** 60)),
      tensors(entry([2], 16), 2n ** 63n),
      tensors(entry([2], 16), 2n ** 40n),
      tensors({
        a: { dtype: 'F64', shape: [2], data_offsets: [0, 16] },
        b: { dtype: 'F64', shape: [2], data_offsets: [8, 16] },
      }),
    ])
      await refuses(() => readSafetensors(save('a.safetensors', content)), ['bad-file', 'out-of-memory']);

    const head = Buffer.alloc(64);
    head.write('DHESSIAN', 'latin1');
    head.writeUInt32LE(1, 8);
    head.writeUInt32LE(0xffff_fff8, 12);
    await refuses(() => readCheckpoint(save('a.checkpoint', head)), ['bad-file']);

    const json = JSON.parse(readFileSync(join(golden, 'case02.json'), 'utf8')) as {
      arrays: Record<string, { shape: number[] }>;
      batch: number;
    };
    writeFileSync(join(folder, 'case02.bin'), readFileSync(join(golden, 'case02.bin')));
    json.arrays.inputs.shape = [2 ** 26, 2 ** 26];
    await refuses(() => readGolden(save('case02.json', JSON.stringify(json))), ['bad-file']);
  });

  it('that unpack to more than they claim are cut off', async () => {
    // 64 MiB of zeros in 64 kB, where the header speaks of 24 bytes.
    const bomb = gzipSync(
      Buffer.concat([Buffer.from([0, 0, 8, 3, 0, 0, 0, 4, 0, 0, 0, 3, 0, 0, 0, 2]), Buffer.alloc(2 ** 26)]),
    );
    const path = save('bomb.idx.gz', bomb);
    await refuses(() => readIdx(path), ['bad-file']);
    // An archive whose entry claims 16 bytes and holds 16 MiB.
    const npz = join(folder, 'bomb.npz');
    await writeNpz(npz, { a: new Float64Array(2 ** 21) });
    const bytes = readFileSync(npz);
    const directory = bytes.lastIndexOf(Buffer.from('PK\x01\x02', 'latin1'));
    bytes.writeUInt32LE(16, directory + 24);
    await refuses(() => readNpz(save('bomb.npz', bytes)), ['bad-file', 'unsupported']);
  });

  it('whose names lead elsewhere write and read nothing there', async () => {
    const npz = join(folder, 'slip.npz');
    await writeNpz(npz, { aaaaaaaaaaaaescaped: Float64Array.of(1) });
    const text = readFileSync(npz).toString('latin1').replaceAll('aaaaaaaaaaaaescaped', '../../../../escaped');
    const before = readdirSync(folder).length;
    try {
      const arrays = await readNpz(save('slip.npz', Buffer.from(text, 'latin1')));
      expect([...arrays.values()].every(({ data }) => data.length === 1)).to.equal(true);
    } catch (error) {
      expect(error).to.be.instanceOf(DeepHessianError);
    }
    expect(readdirSync(folder).length).to.equal(before);
    expect(existsSync(join(folder, '..', '..', 'escaped'))).to.equal(false);

    const json = JSON.parse(readFileSync(join(golden, 'case02.json'), 'utf8')) as Record<string, unknown>;
    for (const bin of ['../case02.bin', '/etc/passwd', 'a/../../case02.bin', ''])
      await refuses(() => readGolden(save('slip.json', JSON.stringify({ ...json, bin }))), ['bad-file', 'io']);
    const polluted = '{"__proto__": {"polluted": 1}, "dims": [1, 1]}';
    await refuses(() => readGolden(save('proto.json', polluted)), ['bad-file']);
    expect(({} as { polluted?: number }).polluted).to.equal(undefined);
  });

  it('that are no files, or loops of links, are refused at once', async () => {
    mkdirSync(join(folder, 'dir.npy'));
    symlinkSync(join(folder, 'loop.npy'), join(folder, 'loop.npy'));
    const paths = [join(folder, 'dir.npy'), join(folder, 'loop.npy'), join(folder, 'missing.npy')];
    if (process.platform !== 'win32') {
      // A pipe that nobody writes into would keep its reader waiting for ever.
      execFileSync('mkfifo', [join(folder, 'pipe.npy')]);
      paths.push(join(folder, 'pipe.npy'), '/dev/zero');
    }
    for (const path of paths)
      for (const read of [readNpy, readNpz, readSafetensors, readIdx, readGolden])
        await refuses(() => read(path), ['io']);
    for (const path of paths.slice(0, 3)) await refuses(() => readCheckpoint(path), ['io', 'bad-file']);
  });

  it('full of NaN and infinities are refused where numbers must be finite', async () => {
    const values = Float64Array.of(1, Number.NaN, Infinity);
    expect(await refuses(() => readNpy(save('nan.npy', encodeNpy(values))), ['bad-file'])).to.contain('finite');
    const bytes = readFileSync(join(golden, 'case02.bin'));
    bytes.writeDoubleLE(Number.NaN, 0);
    writeFileSync(join(folder, 'case02.bin'), bytes);
    writeFileSync(join(folder, 'case02.json'), readFileSync(join(golden, 'case02.json')));
    expect(await refuses(() => readGolden(join(folder, 'case02.json')), ['bad-file'])).to.contain('finite');
  });
});
