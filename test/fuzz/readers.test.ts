/**
 * Every file reader on broken files: it returns something sound or throws one error of the library that names the
 * file. No crash, no hang, no allocation out of proportion to the file.
 *
 * Seeds are fixed; DEEP_HESSIAN_FUZZ_RUNS=5000 and DEEP_HESSIAN_FUZZ_SEED look further.
 */
import { expect } from 'chai';
import fc from 'fast-check';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { readCifar10Files } from '../../ts/data/cifar10.js';
import { readCsv } from '../../ts/data/csv.js';
import { readGolden } from '../../ts/data/golden.js';
import { readIdx } from '../../ts/data/idx.js';
import { readIndices } from '../../ts/data/indices.js';
import { encodeNpy, readNpy } from '../../ts/data/npy.js';
import { readNpz, writeNpz } from '../../ts/data/npz.js';
import { readSafetensors, writeSafetensors } from '../../ts/data/safetensors.js';
import { Network } from '../../ts/derivatives/network.js';
import { DeepHessianError } from '../../ts/errors.js';
import { encodeCheckpoint, readCheckpoint } from '../../ts/train/checkpoint.js';
import { checkSettings, readConfigFile, resolveSettings } from '../../ts/train/config.js';
import { readMetrics } from '../../ts/train/run-folder.js';
import { apply, edits, largestAllocation } from './mutations.js';

const numRuns = Number(process.env.DEEP_HESSIAN_FUZZ_RUNS ?? 150);
const seed = Number(process.env.DEEP_HESSIAN_FUZZ_SEED ?? 1);

/** A reader and how it may refuse a file. */
interface Subject {
  file: string;
  sound: () => Buffer | Promise<Buffer>;
  read: (path: string) => unknown;
  /** repairs what guards the content, so that edits get behind it */
  seal?: (bytes: Buffer) => Buffer;
  /** highest ratio of memory to file: gzip unpacks 1032 : 1 */
  ratio?: number;
  /** configurations are arguments: misuse is a TypeError or RangeError */
  misuse?: boolean;
}

let folder = '';
const numbers = Float64Array.from({ length: 24 }, (_, i) => Math.sin(i));

function idx(): Buffer {
  const header = Buffer.from([0, 0, 8, 3, 0, 0, 0, 4, 0, 0, 0, 3, 0, 0, 0, 2]);
  return Buffer.concat([header, Buffer.from(Array.from({ length: 24 }, (_, i) => i))]);
}

function checkpoint(): Buffer {
  const network = new Network({ inputs: 2, loss: 'mse', layers: [{ type: 'dense', units: 2, activation: 'tanh' }] });
  const counters = {
    step: 3,
    epoch: 3,
    seconds: 0.5,
    samples: 9,
    accepted: 3,
    rejected: 0,
    loss: 0.25,
    smoothedLoss: Number.NaN,
  };
  const bytes = encodeCheckpoint({
    config: { data: 'spirals', 'num-layers': 2 },
    network: JSON.parse(JSON.stringify(network.toJSON())) as unknown,
    state: {
      counters,
      params: numbers.slice(0, 6),
      optimizer: { scalars: { t: 3, name: 'adam' }, vectors: { m: numbers.slice(6, 12) } },
      source: { kind: 'fixed' },
    },
  });
  return Buffer.from(bytes);
}

/** The checksum of a checkpoint made right again. */
function sealCheckpoint(bytes: Buffer): Buffer {
  const content = bytes.subarray(0, Math.max(0, bytes.length - 32));
  return Buffer.concat([content, createHash('sha256').update(content).digest()]);
}

async function written(name: string, write: (path: string) => Promise<unknown>): Promise<Buffer> {
  const path = join(folder, name);
  await write(path);
  return readFileSync(path);
}

const goldenPath = (name: string): string => fileURLToPath(new URL(`../golden/${name}`, import.meta.url));

const subjects: Record<string, Subject> = {
  'golden, its JSON': {
    file: 'case02.json',
    sound: () => readFileSync(goldenPath('case02.json')),
    read: (path) => {
      writeFileSync(join(folder, 'case02.bin'), readFileSync(goldenPath('case02.bin')));
      return readGolden(path);
    },
  },
  'golden, its arrays': {
    file: 'case02.bin',
    sound: () => readFileSync(goldenPath('case02.bin')),
    read: () => {
      writeFileSync(join(folder, 'case02.json'), readFileSync(goldenPath('case02.json')));
      return readGolden(join(folder, 'case02.json'));
    },
  },
  IDX: { file: 'a-idx3-ubyte', sound: idx, read: (path) => readIdx(path) },
  'IDX in gzip': { file: 'a-idx3-ubyte.gz', sound: () => gzipSync(idx()), read: (path) => readIdx(path), ratio: 1100 },
  'CIFAR-10': {
    file: 'data_batch_1.bin',
    sound: () => Buffer.concat([0, 1, 2].flatMap((label) => [Buffer.from([label]), Buffer.alloc(3072, 7)])),
    read: (path) => readCifar10Files([path]),
  },
  npy: { file: 'a.npy', sound: () => encodeNpy(numbers, [4, 6]), read: (path) => readNpy(path) },
  npz: {
    file: 'a.npz',
    sound: () =>
      written('sound.npz', (path) =>
        writeNpz(path, { a: { data: numbers, shape: [4, 6] }, b: { data: numbers, shape: [24] } }),
      ),
    read: (path) => readNpz(path),
    ratio: 1100,
  },
  safetensors: {
    file: 'a.safetensors',
    sound: () =>
      written('sound.safetensors', (path) =>
        writeSafetensors(
          path,
          new Map([
            ['a', { data: numbers, shape: [4, 6] }],
            ['b', { data: numbers, shape: [24] }],
          ]),
        ),
      ),
    read: (path) => readSafetensors(path),
  },
  checkpoint: { file: 'a.checkpoint', sound: checkpoint, read: (path) => readCheckpoint(path) },
  'checkpoint behind its checksum': {
    file: 'a.checkpoint',
    sound: checkpoint,
    read: (path) => readCheckpoint(path),
    seal: sealCheckpoint,
  },
  csv: {
    file: 'a.csv',
    sound: () => Buffer.from('x,y,kind,value\n1,2,red,3.5\n-1e-3,4,"blue, dark",2\n5,6,red,-1\n7,8,green,0\n'),
    read: (path) => readCsv(path),
    ratio: 400,
    // Which columns are inputs is an argument.
    misuse: true,
  },
  'row numbers': { file: 'a.txt', sound: () => Buffer.from('0\n2\n1\n5\n'), read: (path) => readIndices(path, 8) },
  metrics: {
    file: 'metrics.jsonl',
    sound: () =>
      Buffer.from(
        '{"type":"step","step":1,"loss":2}\n{"type":"evaluation","step":1,"sets":{}}\n{"type":"end","step":1}\n',
      ),
    read: (path) => readMetrics(path),
  },
  'configuration in JSON': {
    file: 'run.json',
    sound: () =>
      Buffer.from(
        '{"data":"spirals","points":100,"num-layers":3,"optimizer":"adam","lr":0.01,"steps":20,"full-batch":true}',
      ),
    read: async (path) => resolveSettings(checkSettings('test', await readConfigFile(path))),
    misuse: true,
  },
  'configuration in YAML': {
    file: 'run.yaml',
    sound: () =>
      Buffer.from(
        'data: spirals\npoints: 100\nnum-layers: 3\noptimizer: adam\nlr: 0.01\nschedule: cosine:100+warmup:10\nsteps: 20\n',
      ),
    read: async (path) => resolveSettings(checkSettings('test', await readConfigFile(path))),
    misuse: true,
  },
};

/** Why an error is not the one clear error that a broken file should give; '' when it is. */
function complaint(error: unknown, { misuse = false }: Subject): string {
  if (error instanceof DeepHessianError) {
    if (!['bad-file', 'io', 'out-of-memory', 'unsupported'].includes(error.code))
      return `the code ${error.code}: ${error.message}`;
    return error.message.length > 4000 ? `a message of ${error.message.length} characters` : '';
  }
  const own =
    (error instanceof TypeError || error instanceof RangeError) && /: (expected|unknown|--)/.test(error.message);
  if (misuse && (own || (error instanceof RangeError && !/Invalid|out of range|Maximum/.test(error.message))))
    return '';
  return `${(error as Error).constructor.name}: ${(error as Error).message}`;
}

/** JSON values that a field does not expect. */
const strange = [
  null,
  -1,
  0,
  1.5,
  1e9,
  2 ** 53,
  -0,
  '',
  'text',
  '__proto__',
  true,
  [],
  {},
  [[]],
  { type: 'dense' },
] as unknown[];

/** `value` with the part at a random path replaced, taken out or doubled. */
function disturb(value: unknown, steps: readonly number[], choice: number): unknown {
  if (steps.length === 0 || typeof value !== 'object' || value === null) return strange[choice % strange.length];
  const [first, ...rest] = steps;
  if (Array.isArray(value)) {
    const list = [...(value as unknown[])];
    const at = first % (list.length + 1);
    if (choice % 7 === 0) list.splice(at, 1);
    else list[at] = disturb(list[at], rest, choice);
    return list;
  }
  const keys = [...Object.keys(value), 'extra'];
  const key = keys[first % keys.length];
  const copy: Record<string, unknown> = { ...value };
  if (choice % 7 === 0) delete copy[key];
  else copy[key] = disturb(copy[key], rest, choice);
  return copy;
}

describe('fuzzed readers', function () {
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'deep-hessian-fuzz-'));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  for (const [name, subject] of Object.entries(subjects)) {
    it(name, async () => {
      const sound = await subject.sound();
      const path = join(folder, subject.file);
      writeFileSync(path, sound);
      await subject.read(path);
      let refused = 0;
      const attempt = async (bytes: Buffer): Promise<void> => {
        writeFileSync(path, bytes);
        const start = performance.now();
        const largest = await largestAllocation(async () => {
          try {
            await subject.read(path);
          } catch (error) {
            refused++;
            const found = complaint(error, subject);
            if (found !== '') throw new Error(`the reader threw ${found}`, { cause: error });
          }
        });
        const bound = (subject.ratio ?? 64) * bytes.length + 2 ** 20;
        if (largest > bound) throw new Error(`${largest} bytes were allocated for a file of ${bytes.length}`);
        if (performance.now() - start > 5000) throw new Error(`it took ${performance.now() - start} ms`);
      };
      const seal = subject.seal ?? ((bytes: Buffer) => bytes);
      await fc.assert(
        fc.asyncProperty(edits, async (list) => attempt(seal(apply(sound, list)))),
        { numRuns, seed },
      );
      await fc.assert(
        fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), async (bytes) => attempt(seal(Buffer.from(bytes)))),
        { numRuns: Math.ceil(numRuns / 5), seed },
      );
      // Every length of a truncated file, where it is short.
      if (sound.length < 400)
        for (let length = 0; length < sound.length; length++) await attempt(sound.subarray(0, length));
      expect(refused, 'files that were refused').to.be.greaterThan(numRuns / 10);
    });
  }

  it('network in JSON: built, or refused as misuse', () => {
    const sound = new Network({
      inputs: 3,
      loss: 'mse',
      layers: [
        { type: 'dense', units: 2, activation: 'gelu' },
        { type: 'residual', units: 2, activation: 'tanh' },
      ],
    }).toJSON();
    let refused = 0;
    const steps = fc.array(fc.nat(20), { minLength: 0, maxLength: 3 });
    fc.assert(
      fc.property(steps, fc.nat(1000), (path, choice) => {
        const json = disturb(JSON.parse(JSON.stringify(sound)), path, choice);
        try {
          Network.fromJSON(json);
        } catch (error) {
          refused++;
          const found = complaint(error, { ...subjects.npy, misuse: true });
          if (found !== '') throw new Error(`Network.fromJSON threw ${found}`, { cause: error });
        }
      }),
      { numRuns: 5 * numRuns, seed },
    );
    expect(refused).to.be.greaterThan(numRuns);
  });
});
