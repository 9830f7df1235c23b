/**
 * Names that lead to a pipe, a device or a folder: every reader refuses them at once, naming the path. A reader that waits for a
 * pipe's writer waits for ever and cannot be stopped from its own thread, so the readers run in a process of their own
 * that has a time limit.
 */
import { expect } from 'chai';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { DeepHessianError } from '../../ts/errors.js';
import { openRegular, openRegularSync, readRegular, readTextSync } from '../../ts/data/regular-file.js';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
const tsx = import.meta.resolve('tsx');

/** Ample for loading the library on a busy machine; waiting for a pipe has no end. */
const limit = 80_000;

/** Runs a module in a process of its own, killed at the limit; the lines it prints. */
function linesOf(source: string): string[] {
  const args = ['--import', tsx, '--input-type=module', '-e', source];
  const { stdout, stderr, error } = spawnSync(process.execPath, args, {
    cwd: root,
    encoding: 'utf8',
    timeout: limit,
    killSignal: 'SIGKILL',
  });
  const lines = stdout.split('\n').filter((line) => line !== '');
  expect(error, `after ${lines.at(-1) ?? 'nothing'}: ${stderr}`).to.equal(undefined);
  return lines;
}

describe('files that are not regular', function () {
  let folder: string;
  let pipe: string;

  before(function () {
    if (process.platform === 'win32') {
      console.log('      not tested: there is no mkfifo on Windows');
      return this.skip();
    }
    folder = fs.mkdtempSync(path.join(os.tmpdir(), 'deep-hessian-'));
    pipe = makePipe('pipe');
  });
  after(() => {
    if (folder !== undefined) fs.rmSync(folder, { recursive: true });
  });

  function makePipe(name: string): string {
    const file = path.join(folder, name);
    fs.mkdirSync(path.dirname(file), { recursive: true });
    const { status, stderr } = spawnSync('mkfifo', [file], { encoding: 'utf8' });
    expect(status, stderr).to.equal(0);
    return file;
  }

  it('readers of the library refuse a pipe at once', () => {
    const config = makePipe('config.json');
    const run = path.join(folder, 'run');
    makePipe('run/checkpoints/latest.checkpoint');
    const metrics = makePipe('run/metrics.jsonl');
    makePipe('cifar/data_batch_1.bin');
    makePipe('cifar/test_batch.bin');
    const readers: [name: string, module: string, call: string, named: string][] = [
      ['checkpoint', 'train/checkpoint', `readCheckpoint(${quote(pipe)})`, pipe],
      ['run folder', 'train/run-folder', `findCheckpoint(${quote(run)})`, 'latest.checkpoint'],
      ['metrics', 'train/run-folder', `readMetrics(${quote(metrics)})`, metrics],
      ['new run', 'train/run-folder', `RunFolder.create(${quote(run)}, {})`, metrics],
      ['configuration', 'train/config', `readConfigFile(${quote(config)})`, config],
      ['report', 'train/report', `writeRunReport(${quote(folder)})`, config],
      ['safetensors', 'data/safetensors', `readSafetensors(${quote(pipe)})`, pipe],
      ['layer module', 'jobs/layer-modules', `loadLayerModules([${quote(pipe)}])`, pipe],
      ['npy', 'data/npy', `readNpy(${quote(pipe)})`, pipe],
      ['npz', 'data/npz', `readNpz(${quote(pipe)})`, pipe],
      ['csv', 'data/csv', `readCsv(${quote(pipe)}, {})`, pipe],
      ['idx', 'data/idx', `readIdx(${quote(pipe)})`, pipe],
      ['indices', 'data/indices', `readIndices(${quote(pipe)}, 10)`, pipe],
      ['golden', 'data/golden', `readGolden(${quote(pipe)})`, pipe],
      ['cifar10', 'data/cifar10', `readCifar10(${quote(path.join(folder, 'cifar'))})`, 'data_batch_1.bin'],
      [
        'cifar10 batch',
        'data/cifar10',
        `readCifar10Files([${quote(path.join(folder, 'cifar/test_batch.bin'))}])`,
        'test_batch.bin',
      ],
    ];
    const source = readers.map(
      ([name, module, call]) => `{
        console.log(${quote(`${name}?`)});
        const m = await import('./ts/${module}.ts');
        const { code, message } = await (async () => m.${call})().then(() => ({}), (error) => error);
        console.log(JSON.stringify([${quote(name)}, code, message]));
      }`,
    );
    const found = linesOf(source.join('\n'))
      .filter((line) => line.startsWith('['))
      .map((line) => JSON.parse(line) as [string, string, string]);
    expect(found.map(([name]) => name)).to.deep.equal(readers.map(([name]) => name));
    for (const [i, [name, code, message]] of found.entries()) {
      expect([name, code, message]).to.deep.equal([name, 'io', message]);
      expect(message).to.include(readers[i][3]).and.to.include('it is a named pipe, not a regular file');
    }
  });

  it('the command line ends with one line that names the pipe', () => {
    const yaml = makePipe('settings.yaml');
    const other = makePipe('other.csv');
    const weights = makePipe('weights.safetensors');
    const checkpoint = makePipe(path.join('stopped', 'checkpoints', 'latest.checkpoint'));
    const commands: [string[], string][] = [
      [['train', '--config', yaml], yaml],
      [['train', '--resume', path.join(folder, 'stopped')], checkpoint],
      [['train', '--data', 'csv', '--file', other], other],
      [['train', '--init-from', weights, '--out', path.join(folder, 'never')], weights],
      [['solve', '--case', pipe], pipe],
      [['verify', '--only', 'identities', '--compare', pipe], pipe],
    ];
    const source = `
      const { commandLine } = await import('./test/cli/helpers.ts');
      for (const args of ${JSON.stringify(commands.map(([args]) => args))})
        console.log(JSON.stringify(await commandLine(...args)));`;
    const outcomes = linesOf(source).map((line) => JSON.parse(line) as { code: number; err: string });
    expect(outcomes).to.have.length(commands.length);
    for (const [i, [args, named]] of commands.entries()) {
      const { code, err } = outcomes[i];
      expect([code, err.trimEnd().split('\n').length], `${args.join(' ')}: ${err}`).to.deep.equal([1, 1]);
      expect(err).to.include(named).and.to.include('named pipe');
    }
  });

  it('folders and devices are refused, and every descriptor is closed', async () => {
    const before = fs.existsSync('/proc/self/fd') ? fs.readdirSync('/proc/self/fd').length : 0;
    for (const [name, kind] of [
      [folder, 'a folder'],
      ['/dev/zero', 'a device'],
      [pipe, 'a named pipe'],
    ]) {
      const wanted = `reading ${name} failed: it is ${kind}, not a regular file`;
      expect(() => openRegularSync(name)).to.throw(DeepHessianError, wanted);
      expect(() => readTextSync(name)).to.throw(DeepHessianError, wanted);
      // Only the process's own descriptors may be pipes.
      expect(() => readTextSync(name, { piped: true })).to.throw(DeepHessianError, wanted);
      for (const opening of [openRegular(name), readRegular(name)]) {
        const error = await opening.then(
          () => null,
          (reason: unknown) => reason as DeepHessianError,
        );
        expect(error).to.be.instanceOf(DeepHessianError);
        expect(error).to.include({ code: 'io', message: wanted });
        expect(error!.details).to.deep.equal({ path: name, kind });
      }
    }
    if (before > 0) expect(fs.readdirSync('/proc/self/fd').length).to.equal(before);
  });

  it('regular files are read whole, through links, empty ones too', async () => {
    const file = path.join(folder, 'text');
    const text = 'é'.repeat(100_000);
    fs.writeFileSync(file, text);
    fs.symlinkSync(file, `${file}-link`);
    fs.writeFileSync(`${file}-empty`, '');
    expect(readTextSync(`${file}-link`)).to.equal(text);
    expect((await readRegular(`${file}-link`)).toString('utf8')).to.equal(text);
    expect(readTextSync(`${file}-empty`)).to.equal('');
    expect((await readRegular(`${file}-empty`)).length).to.equal(0);
    const refuse = (size: number): never => {
      throw new RangeError(String(size));
    };
    const refused = await readRegular(file, refuse).catch((error: unknown) => error as Error);
    expect(refused).to.be.instanceOf(RangeError).with.property('message', '200000');
  });

  it('a text may come through standard input where that is said', () => {
    const text = 'a,b\n'.repeat(50_000);
    const file = path.join(folder, 'piped');
    fs.writeFileSync(file, text);
    const source = `
      const { readTextSync } = await import('./ts/data/regular-file.ts');
      console.log(readTextSync('/dev/stdin', { piped: true }).length);`;
    // A child's standard input would be a socket; a shell makes a pipe.
    const command = 'cat "$1" | "$2" --import "$3" --input-type=module -e "$4"';
    const { stdout, stderr } = spawnSync('sh', ['-c', command, 'sh', file, process.execPath, tsx, source], {
      cwd: root,
      encoding: 'utf8',
      timeout: limit,
    });
    expect(stdout.trim(), stderr).to.equal(String(text.length));
  });
});

const quote = (text: string): string => JSON.stringify(text);
