/** Run folders under several processes: one writer at a time, and none that is dead. */
import { expect } from 'chai';
import { spawn, type ChildProcess } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { DeepHessianError } from '../../ts/errors.js';
import { kernels } from '../../ts/native/index.js';
import { TrainedModel } from '../../ts/train/trained-model.js';
import { readCheckpoint } from '../../ts/train/checkpoint.js';
import { readMetrics } from '../../ts/train/run-folder.js';
import { claimRun, lockName, type RunLock } from '../../ts/train/run-lock.js';
import { TrainingSession } from '../../ts/train/session.js';
import { recordedStep } from '../../ts/train/trainer.js';
import { runSession, small, temporaryFolder } from './helpers.js';

interface Answer {
  held?: boolean;
  code?: string;
  message?: string;
}

/** A process that claims and releases on request. */
class Claimant {
  private readonly answers: AsyncIterator<string>;

  private constructor(readonly child: ChildProcess) {
    this.answers = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  }

  static async start(): Promise<Claimant> {
    const script = fileURLToPath(new URL('./claims.ts', import.meta.url));
    const claimant = new Claimant(
      spawn(process.execPath, ['--import', 'tsx', script], { stdio: ['pipe', 'pipe', 'inherit'] }),
    );
    await claimant.answer();
    return claimant;
  }

  async answer(): Promise<Answer> {
    const { value, done } = await this.answers.next();
    if (done === true) throw new Error('the process has ended');
    return JSON.parse(value) as Answer;
  }

  ask(action: 'claim' | 'release', folder: string): Promise<Answer> {
    this.child.stdin!.write(`${JSON.stringify({ action, folder })}\n`);
    return this.answer();
  }

  async kill(): Promise<void> {
    const ended = new Promise<void>((resolve) => this.child.once('exit', () => resolve()));
    this.child.kill('SIGKILL');
    await ended;
  }
}

describe('the lock of a run folder', () => {
  before(function () {
    if (kernels.info().backend === 'openblas') return;
    console.log('      not tested: the native core, which has the locks, is not loaded');
    this.skip();
  });
  const folder = temporaryFolder();
  const claimants: Claimant[] = [];
  const start = async (): Promise<Claimant> => {
    const claimant = await Claimant.start();
    claimants.push(claimant);
    return claimant;
  };
  after(() => claimants.forEach(({ child }) => child.kill('SIGKILL')));

  const make = (name: string): string => {
    const path = join(folder.path(), name);
    mkdirSync(path);
    return path;
  };
  const refusal = (path: string): DeepHessianError => {
    let lock: RunLock;
    try {
      lock = claimRun(path);
    } catch (error) {
      expect(error).to.be.instanceOf(DeepHessianError);
      expect((error as DeepHessianError).code).to.equal('io');
      return error as DeepHessianError;
    }
    lock.release();
    throw new Error('expected a refusal');
  };
  /** Claims and releases: nothing of either is left. */
  const passes = (path: string): void => {
    claimRun(path).release();
    expect(readdirSync(path).filter((name) => name.includes(lockName))).to.deep.equal([]);
  };

  it('holds against another process, is not taken twice by its own, and falls when its owner releases it or is killed', async () => {
    const path = make('two');
    const other = await start();
    expect(await other.ask('claim', path)).to.deep.equal({ held: true });
    const error = refusal(path);
    expect(error.message).to.equal(
      `${path}: process ${other.child.pid} is at work in the folder; wait for its end, or stop it`,
    );
    expect(error.details).to.include({ path, pid: other.child.pid });
    await other.ask('release', path);
    expect(readdirSync(path)).to.deep.equal([]);
    const lock = claimRun(path);
    expect(refusal(path).message).to.match(/another run of this process/);
    const answer = await other.ask('claim', path);
    expect(answer).to.include({ held: false, code: 'io' });
    expect(answer.message).to.contain(`process ${process.pid} is at work`);
    lock.release();
    lock.release();
    expect(await other.ask('claim', path)).to.deep.equal({ held: true });
    await other.kill();
    expect(existsSync(join(path, lockName))).to.equal(true);
    passes(path);
  });

  it('of several that come at once, exactly one has it, after a dead one and while it is given free', async () => {
    const many = await Promise.all([start(), start(), start(), start()]);
    for (let round = 0; round < 40; round++) {
      const path = make(`race-${round}`);
      if (round % 2 === 0) {
        // A file that nobody holds, with whatever in it.
        writeFileSync(join(path, lockName), round % 4 === 0 ? '{"pid":1,"host":"elsewhere"}' : 'not JSON');
      } else await many[round % 4].ask('claim', path);
      const [releases, ...answers] = await Promise.all(
        many.map((_, i) => {
          const claimant = many[(i + round) % 4];
          return i === 0 && round % 2 === 1 ? claimant.ask('release', path) : claimant.ask('claim', path);
        }),
      );
      const held = [releases, ...answers].filter((answer) => answer.held);
      // Three may all come before the fourth lets go.
      expect(held.length, JSON.stringify(answers)).to.be.within(round % 2 === 0 ? 1 : 0, 1);
      await Promise.all(many.map((claimant) => claimant.ask('release', path)));
      passes(path);
    }
  });

  it('is of the folder, wherever that goes, and not of its copies', async () => {
    const path = make('original');
    const other = await start();
    await other.ask('claim', path);
    const copy = join(folder.path(), 'copy');
    cpSync(path, copy, { recursive: true });
    passes(copy);
    const moved = join(folder.path(), 'moved');
    renameSync(path, moved);
    expect(refusal(moved).details.pid).to.equal(other.child.pid);
  });

  it('whose file says nothing of its owner holds all the same', async () => {
    const path = make('silent');
    const other = await start();
    await other.ask('claim', path);
    for (const text of ['', '{"pid":', 'null']) {
      writeFileSync(join(path, lockName), text);
      expect(refusal(path).message).to.match(/: another process is at work in the folder/);
    }
    writeFileSync(join(path, lockName), '{"pid":12,"host":"elsewhere.example"}');
    expect(refusal(path).message).to.match(/: process 12 on host elsewhere\.example is at work/);
  });

  it('cannot be had where its file cannot be written', () => {
    const path = make('in-the-way');
    mkdirSync(join(path, lockName));
    expect(refusal(path).message).to.match(/^locking .*run\.lock failed: /);
  });

  it('whose file is gone is taken anew, and the first to hold it removes nothing', () => {
    const path = make('gone');
    const first = claimRun(path);
    rmSync(join(path, lockName));
    const second = claimRun(path);
    first.release();
    expect(refusal(path).message).to.match(/another run of this process/);
    second.release();
    passes(path);
  });

  it('holds against another thread of the process', async () => {
    const path = make('threads');
    const lock = claimRun(path);
    const tsx = pathToFileURL(
      createRequire(import.meta.url)
        .resolve('tsx/esm/api')
        .replace(/cjs$/, 'mjs'),
    ).href;
    const module = new URL('../../ts/train/run-lock.ts', import.meta.url).href;
    const claim = (): Promise<string> =>
      new Promise((resolve, reject) => {
        const text = `
          import { register } from ${JSON.stringify(tsx)};
          import { parentPort } from 'node:worker_threads';
          register();
          const { claimRun } = await import(${JSON.stringify(module)});
          try { claimRun(${JSON.stringify(path)}); parentPort.postMessage('claimed'); }
          catch (error) { parentPort.postMessage(error.message); }`;
        const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(text)}`));
        let answer = '';
        worker.on('message', (message: string) => (answer = message));
        worker.on('error', reject);
        worker.on('exit', () => resolve(answer));
      });
    expect(await claim()).to.match(/another run of this process/);
    lock.release();
    expect(await claim()).to.equal('claimed');
    // It went when its thread ended.
    passes(path);
  });

  it('a run that another process is at work in: refused before anything is written, read as ever, resumed after kill -9', async () => {
    const script = fileURLToPath(new URL('./killed-run.ts', import.meta.url));
    const path = join(folder.path(), 'run');
    const settings = { ...small, optimizer: 'adam', steps: 10_000_000, 'checkpoint-every': 0.01, 'curvature-share': 0 };
    const child = spawn(process.execPath, ['--import', 'tsx', script, path, JSON.stringify(settings)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const exit = new Promise<void>((resolve) => child.on('exit', () => resolve()));
    await new Promise<void>((resolve, reject) => {
      child.stdout.once('data', () => resolve());
      child.once('exit', () => reject(new Error('the run ended before it could be met')));
    });
    const config = readFileSync(join(path, 'config.json'), 'utf8');
    const failure = await TrainingSession.resume(path, { steps: 7 }).catch((caught: unknown) => caught);
    expect(failure).to.be.instanceOf(DeepHessianError);
    expect((failure as DeepHessianError).code).to.equal('io');
    expect((failure as Error).message).to.match(new RegExp(`run: process ${child.pid} is at work in the folder`));
    expect(readFileSync(join(path, 'config.json'), 'utf8')).to.equal(config);
    expect(JSON.parse(readFileSync(join(path, lockName), 'utf8'))).to.include({ pid: child.pid });
    expect(TrainedModel.open(path).network.inputs).to.be.at.least(1);
    child.kill('SIGKILL');
    await exit;
    expect(existsSync(join(path, lockName))).to.equal(true);
    const steps = readCheckpoint(join(path, 'checkpoints', 'latest.checkpoint')).state.counters.step + 3;
    await runSession(await TrainingSession.resume(path, { steps }));
    const records = readMetrics(join(path, 'metrics.jsonl'));
    const taken = records.flatMap((record) => (record.type === 'step' ? [record.step] : []));
    // Every step that belongs into the record, once and in order.
    expect(taken).to.deep.equal([...new Set(taken)].sort((a, b) => a - b));
    for (let step = 1; step <= steps; step++) if (recordedStep(step)) expect(taken).to.include(step);
    expect(readdirSync(path).filter((name) => name.includes(lockName))).to.deep.equal([]);
  });

  it('goes with its session: run, broken off, closed, or failed while it was prepared', async () => {
    const path = join(folder.path(), 'session');
    const locked = (): boolean => existsSync(join(path, lockName));
    const unused = await TrainingSession.start({ ...small, steps: 5 }, path);
    expect(locked()).to.equal(true);
    await unused.close();
    expect(locked()).to.equal(false);
    const first = await TrainingSession.start({ ...small, steps: 5 }, path);
    for await (const event of first.run()) {
      // Does nothing to a session that runs.
      await first.close();
      expect(locked()).to.equal(true);
      if (event.type === 'step') break;
    }
    expect(locked()).to.equal(false);
    let error: unknown = await runSession(first).catch((caught: unknown) => caught);
    expect((error as Error).message).to.match(/a session runs once; go on with TrainingSession\.resume/);
    error = await TrainingSession.resume(path, { steps: -1 }).catch((caught: unknown) => caught);
    expect(error).to.be.instanceOf(RangeError);
    expect(locked()).to.equal(false);
    await runSession(await TrainingSession.resume(path));
    expect(locked()).to.equal(false);
  });
});
