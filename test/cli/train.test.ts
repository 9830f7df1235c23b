import { spawn } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { readCheckpoint } from '../../ts/train/checkpoint.js';
import { readMetrics } from '../../ts/train/run-folder.js';
import type { ValuePredictions } from '../../ts/train/conclusion.js';
import type { EndRecord } from '../../ts/train/trainer.js';
import { temporaryFolder } from '../train/helpers.js';
import { commandLine, jsonLines } from './helpers.js';

const small = ['--points', '60', '--num-layers', '4', '--hidden-dim', '8'];

const main = fileURLToPath(new URL('../../ts/cli/main.ts', import.meta.url));

describe('deep-hessian train', () => {
  const folder = temporaryFolder();

  it('trains, prints one line, and leaves a whole run folder', async () => {
    const out = join(folder.path(), 'run');
    const { code, out: text, err } = await commandLine('train', ...small, '--steps', '30', '--out', out);
    expect(err).to.match(/spirals: 60 samples of 2 \| 4 layers, 186 parameters \| gauss-newton/);
    expect(code).to.equal(0);
    expect(text).to.match(/^all steps done: 30 steps in .*, loss \S+; train loss \S+, accuracy \d+\.\d\d%\n$/);
    expect(
      readdirSync(out)
        .map((name) => name.replace(/tfevents.*/, 'tfevents'))
        .sort(),
    ).to.deep.equal([
      'checkpoints',
      'config.json',
      'environment.json',
      'events.out.tfevents',
      'metrics.jsonl',
      'report.html',
    ]);
    expect(readdirSync(join(out, 'checkpoints'))).to.deep.equal(['latest.checkpoint']);
    expect(JSON.parse(readFileSync(join(out, 'config.json'), 'utf8'))).to.include({
      'num-layers': 4,
      seed: 1,
      optimizer: 'gauss-newton',
    });
  });

  it('prints the records as JSON lines, the same as in the metrics file, and nothing else', async () => {
    const out = join(folder.path(), 'json');
    const { code, out: text, err } = await commandLine('train', ...small, '--steps', '8', '--json', '--out', out);
    expect([code, err]).to.deep.equal([0, '']);
    expect(jsonLines(text)).to.deep.equal(JSON.parse(JSON.stringify(readMetrics(join(out, 'metrics.jsonl')))));
  });

  it('says a divergence in the records, too', async () => {
    const out = join(folder.path(), 'diverged');
    const problem = ['--data', 'friedman1', '--points', '50', '--num-layers', '2', '--activation', 'identity'];
    const method = ['--optimizer', 'sgd', '--lr', '1e8', '--steps', '500'];
    const { code, out: text, err } = await commandLine('train', ...problem, ...method, '--json', '--out', out);
    expect(code).to.equal(1);
    const last = jsonLines(text).at(-1)!;
    expect(last.type).to.equal('diverged');
    expect(last.message).to.match(/^training diverged: the loss was (NaN|Infinity) at step \d+ with optimizer 'sgd'/);
    expect(err).to.contain(last.message);
    expect(last.checkpoint).to.equal(join(out, 'checkpoints', 'last-good.checkpoint'));
    expect(existsSync(last.checkpoint as string)).to.equal(true);
  });

  it('goes on with data that have been moved, and warns of data that have been changed', async () => {
    const table = (value: number): string =>
      `a,b,y\n${Array.from({ length: 20 }, (_, i) => `${i / 7},${(i * i) % 11},${i === 3 ? value : i}`).join('\n')}\n`;
    const [first, moved] = ['first.csv', 'moved.csv'].map((name) => join(folder.path(), name));
    writeFileSync(first, table(3));
    const out = join(folder.path(), 'moved-data');
    const start = ['--data', 'csv', '--file', first, '--num-layers', '2', '--hidden-dim', '4', '--steps', '3'];
    expect((await commandLine('train', ...start, '--out', out)).code).to.equal(0);
    rmSync(first);
    writeFileSync(moved, table(3));
    const again = await commandLine('train', '--resume', out, '--file', moved, '--steps', '6');
    expect(again.code).to.equal(0);
    expect(again.err).not.to.contain('warning');
    writeFileSync(moved, table(4));
    const changed = await commandLine('train', '--resume', out, '--steps', '9');
    expect(changed.code).to.equal(0);
    expect(changed.err).to.match(
      /warning: the training data are not those of the checkpoint \(20 x 2, .*; then 20 x 2, /,
    );
  });

  it('finds data that were named from another directory, there or, where they are no more, from this one', async () => {
    const [first, second] = ['here', 'there'].map((name) => join(folder.path(), name));
    for (const path of [first, second]) mkdirSync(path);
    const table = Array.from({ length: 20 }, (_, i) => `${i / 7},${(i * i) % 11},${i}\n`).join('');
    writeFileSync(join(first, 'table.csv'), table);
    const before = process.cwd();
    try {
      process.chdir(first);
      const start = ['--data', 'csv', '--file', 'table.csv', '--num-layers', '2', '--hidden-dim', '4', '--steps', '3'];
      expect((await commandLine('train', ...start, '--out', 'run')).code).to.equal(0);
      const fileOf = (path: string): unknown =>
        (JSON.parse(readFileSync(join(path, 'config.json'), 'utf8')) as Record<string, unknown>).file;
      cpSync('run', join(second, 'run'), { recursive: true });
      process.chdir(second);
      const run = join('..', 'here', 'run');
      const analysis = ['--parts', 'critical', '--quiet', '--out', 'analysis'];
      const analyzed = await commandLine('analyze', run, ...analysis);
      expect(analyzed.code, analyzed.err).to.equal(0);
      const there = await commandLine('train', '--resume', run, '--steps', '6');
      expect([there.code, there.err.includes('warning')], there.err).to.deep.equal([0, false]);
      expect(fileOf(run)).to.equal(join(realpathSync(first), 'table.csv'));
      // A tree that was moved as a whole.
      renameSync(join(first, 'table.csv'), join(second, 'table.csv'));
      const moved = await commandLine('train', '--resume', 'run', '--steps', '6');
      expect([moved.code, moved.err.includes('warning')], moved.err).to.deep.equal([0, false]);
      expect(fileOf('run')).to.equal('table.csv');
    } finally {
      process.chdir(before);
    }
  });

  it('lets the command line win over the configuration file', async () => {
    const config = join(folder.path(), 'run.yaml');
    writeFileSync(
      config,
      'points: 60\nnum-layers: 4\nhidden-dim: 8\nsteps: 5\noptimizer: adam\nlr: 0.01\nresidual: true\n',
    );
    const out = join(folder.path(), 'config');
    expect(
      (await commandLine('train', '--config', config, '--lr', '0.02', '--no-bias', '--quiet', '--out', out)).code,
    ).to.equal(0);
    const settings = JSON.parse(readFileSync(join(out, 'config.json'), 'utf8')) as Record<string, unknown>;
    expect(settings).to.include({ lr: 0.02, optimizer: 'adam', residual: true, 'no-bias': true, steps: 5 });
  });

  it('lets the command line switch off what the configuration file has switched on', async () => {
    const config = join(folder.path(), 'on.json');
    const out = join(folder.path(), 'off');
    const on = { optimizer: 'gauss-newton', residual: true, 'no-bias': true, 'full-batch': true, geodesic: true };
    writeFileSync(config, JSON.stringify({ ...on, points: 40, 'num-layers': 2, 'hidden-dim': 4, steps: 1 }));
    const flags = ['--no-residual', '--bias', '--no-full-batch', '--no-geodesic'];
    const { code, err } = await commandLine('train', '--config', config, ...flags, '--quiet', '--out', out);
    expect(code, err).to.equal(0);
    const settings = JSON.parse(readFileSync(join(out, 'config.json'), 'utf8')) as Record<string, unknown>;
    expect(settings).to.include({ residual: false, 'no-bias': false, 'full-batch': false, geodesic: false });
    expect((await commandLine('train', '--help')).out).to.not.include('--no-residual');
  });

  it('refuses a fraction to hold out where there is a test set, which would not be heeded', async () => {
    const file = join(folder.path(), 'four.csv');
    writeFileSync(file, 'a,y\n1,2\n2,3\n3,5\n4,7\n');
    const out = join(folder.path(), 'never');
    const data = ['--data', 'csv', '--file', file, '--test-file', file, '--validation', '0.5'];
    const { code, err } = await commandLine('train', ...data, '--out', out);
    expect(code).to.equal(2);
    expect(err).to.match(/nothing for data with a test set of their own for testFraction \(--validation\)/);
    expect(existsSync(out)).to.equal(false);
  });

  it('reads a table as the flags say', async () => {
    const file = join(folder.path(), 'sizes.csv');
    // A first line that is no header, names that are numbers, bars between the cells.
    writeFileSync(file, '3|of|4\n2019|2020|kind|y\n1|5|1|2\n2|6|2|3\n3|7|1|5\n');
    const out = join(folder.path(), 'sizes');
    const how = ['--skip-rows', '1', '--header', 'yes', '--delimiter', 'bar', '--categorical', 'kind'];
    const net = ['--inputs', '2019,kind', '--num-layers', '1', '--steps', '2', '--quiet', '--out', out];
    const { code, err } = await commandLine('train', '--data', 'csv', '--file', file, ...how, ...net);
    expect(code, err).to.equal(0);
    const { extra } = readCheckpoint(join(out, 'checkpoints', 'latest.checkpoint'));
    expect(extra?.featureNames).to.deep.equal(['2019', 'kind=1', 'kind=2']);
  });

  it('measures the error of probabilities, not of logits, with binary cross-entropy', async () => {
    const file = join(folder.path(), 'binary.csv');
    writeFileSync(file, 'a,y\n1,0\n2,0\n3,1\n4,1\n');
    const out = join(folder.path(), 'binary');
    const net = ['--num-layers', '1', '--loss', 'binary-cross-entropy', '--steps', '30'];
    const { code, err } = await commandLine('train', '--data', 'csv', '--file', file, ...net, '--json', '--out', out);
    expect(code, err).to.equal(0);
    const end = readMetrics(join(out, 'metrics.jsonl')).at(-1) as EndRecord;
    expect(end.sets.train.rmse).to.be.within(0, 0.1);
    const { points } = (end.conclusion?.predictions.train as ValuePredictions).outputs[0];
    for (const [truth, predicted] of points) expect(predicted).to.be.closeTo(truth, 0.1);
  });

  it('trains on a CSV file and keeps the standardisation in the checkpoint', async () => {
    const file = join(folder.path(), 'table.csv');
    const rows = Array.from({ length: 30 }, (_, i) => `${i},${(i * 7) % 11},${3 * i + 100}`);
    writeFileSync(file, `a,b,y\n${rows.join('\n')}\n`);
    const out = join(folder.path(), 'csv');
    const { code, out: text } = await commandLine(
      'train',
      '--data',
      'csv',
      '--file',
      file,
      '--targets',
      'y',
      '--validation',
      '0.2',
      '--num-layers',
      '2',
      '--hidden-dim',
      '4',
      '--steps',
      '40',
      '--out',
      out,
    );
    expect(code).to.equal(0);
    expect(text).to.match(/validation loss \S+, rmse \S+, r2 \S+/);
    const { extra } = readCheckpoint(join(out, 'checkpoints', 'latest.checkpoint'));
    expect(extra?.featureNames).to.deep.equal(['a', 'b']);
    expect((extra?.standardisation as { inputs: { mean: number[] } }).inputs.mean).to.have.length(2);
  });

  const misuse: [string[], RegExp][] = [
    [['--bogus'], /unknown option '--bogus'/],
    [['--steps', 'many'], /expected an integer .* for --steps, received "many" \(string\)/],
    [['--steps', '0x10'], /--steps, received "0x10"/],
    [['--num-layers', '0'], /--num-layers, received 0/],
    [['--optimizer', 'sgd', '--damping', '1'], /--damping \(it belongs to: gauss-newton/],
    [['--optimizer', 'newtonian'], /expected one of 'gauss-newton'/],
    [['--data', 'csv'], /expected --file/],
    [['--schedule', 'cosine', '--optimizer', 'adam'], /schedule/],
    [['--config', 'settings.toml'], /reading settings\.toml failed|\.json, \.yaml or \.yml/],
    [['extra'], /too many arguments/],
  ];
  for (const [args, message] of misuse) {
    it(`refuses ${args.join(' ')} and writes nothing`, async () => {
      const out = join(folder.path(), 'never');
      const { code, err, out: text } = await commandLine('train', ...args, '--out', out);
      expect(err).to.match(message);
      expect(err.trimEnd().split('\n').length).to.be.at.most(2);
      expect(text).to.equal('');
      expect(code).to.equal(args[0] === '--config' ? 1 : 2);
      expect(existsSync(out)).to.equal(false);
    });
  }

  it('reports a failure that is no misuse with code 1', async () => {
    const missing = await commandLine(
      'train',
      '--data',
      'mnist',
      '--data-dir',
      join(folder.path(), 'nowhere'),
      '--out',
      join(folder.path(), 'x'),
    );
    expect(missing.code).to.equal(1);
    expect(missing.err).to.match(/^error: .*nowhere does not exist \[io\]\n$/);
    expect(existsSync(join(folder.path(), 'x'))).to.equal(false);
    expect((await commandLine('train', '--resume', join(folder.path(), 'nowhere'))).code).to.equal(1);
  });

  it('prints help with examples and every flag of every optimizer', async () => {
    const { code, out } = await commandLine('train', '--help');
    expect(code).to.equal(0);
    for (const text of ['--num-layers', '--damping', '--momentum', '--schedule', '--resume', 'Examples:', 'not for:'])
      expect(out).to.contain(text);
  });

  const signals = [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const;

  for (const [signal, expected] of signals) {
    it(`${signal} while the data are read says so, leaves nothing, and exits with ${expected}`, async function () {
      const file = join(folder.path(), 'table.csv');
      writeFileSync(file, '1,2\n3,4\n');
      // A disk that does not answer.
      const silentDisk = `import { syncBuiltinESMExports } from 'node:module'; import files from 'node:fs/promises';
        const { open } = files;
        files.open = (path, ...rest) => {
          if (path !== ${JSON.stringify(file)}) return open(path, ...rest);
          process.stdout.write('reading');
          return new Promise((resolve) => setTimeout(resolve, 1e9));
        };
        syncBuiltinESMExports();`;
      const imports = ['--import', `data:text/javascript,${encodeURIComponent(silentDisk)}`, '--import', 'tsx', main];
      /** Sends the signal to a run that reads, while `meanwhile` is looked at. */
      const stop = async (args: readonly string[], meanwhile: () => void): Promise<void> => {
        const child = spawn(process.execPath, [...imports, 'train', ...args]);
        let err = '';
        child.stderr.on('data', (data: Buffer) => {
          err += data.toString();
        });
        const exit = new Promise<number | null>((resolve) => child.on('close', (code) => resolve(code)));
        await new Promise<void>((resolve) => child.stdout.once('data', () => resolve()));
        meanwhile();
        child.kill(signal);
        expect(await exit).to.equal(expected);
        expect(err).to.equal(`\n${signal}: stopped while the data were read; nothing was trained, nothing written\n`);
      };
      const given = ['--data', 'csv', '--file', file];
      const out = join(folder.path(), `no-${signal}`);
      await stop([...given, '--out', out], () => expect(existsSync(out)).to.equal(false));
      expect(existsSync(out)).to.equal(false);
      // A run that is resumed is claimed before its data are read.
      expect((await commandLine('train', ...given, '--steps', '1', '--quiet', '--out', out)).code).to.equal(0);
      const before = readdirSync(out);
      await stop(['--resume', out, '--steps', '2'], () =>
        expect(readdirSync(out)).to.have.members([...before, 'run.lock']),
      );
      expect(readdirSync(out)).to.deep.equal(before);
    });

    it(`${signal} leaves a checkpoint, says how to go on, and exits with ${expected}`, async function () {
      const out = join(folder.path(), signal);
      const child = spawn(process.execPath, [
        '--import',
        'tsx',
        main,
        'train',
        ...small,
        '--steps',
        '10000000',
        '--time-budget',
        '60',
        '--optimizer',
        'adam',
        '--json',
        '--out',
        out,
      ]);
      let err = '';
      child.stderr.on('data', (data: Buffer) => {
        err += data.toString();
      });
      const exit = new Promise<number | null>((resolve) => child.on('exit', (code) => resolve(code)));
      await new Promise<void>((resolve) => child.stdout.once('data', () => resolve()));
      child.stdout.resume();
      child.kill(signal);
      expect(await exit).to.equal(expected);
      expect(err).to.match(
        new RegExp(
          `interrupted at step [\\d,]+; checkpoint written\\. Go on with:\\n  deep-hessian train --resume ${out}`,
        ),
      );
      const { step } = readCheckpoint(join(out, 'checkpoints', 'latest.checkpoint')).state.counters;
      const resumed = await commandLine('train', '--resume', out, '--steps', String(step + 5), '--quiet');
      expect(resumed.code).to.equal(0);
      expect(resumed.out).to.match(new RegExp(`${(step + 5).toLocaleString('en-US')} steps`));
    });
  }
});
