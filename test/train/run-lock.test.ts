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
import { TrainedModel } from '../../ts/train/trained-model.js';
import { readCheckpoint } from '../../ts/train/checkpoint.js';
import { readMetrics } from '../../ts/train/run-folder.js';
import { claimRun, lockName, releaseRun } from '../../ts/train/run-lock.js';
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
  const lockOf = (path: string): Record<string, unknown> =>
    JSON.parse(readFileSync(join(path, lockName), 'utf8')) as Record<string, unknown>;
  /** Changes a lock in place: what a process of other circumstances would have left. */
  const alter = (path: string, changes: Record<string, unknown>): void =>
    writeFileSync(join(path, lockName), JSON.stringify({ ...lockOf(path), ...changes }));
  const refusal = (path: string): DeepHessianError => {
    let token = '';
    try {
      token = claimRun(path);
    } catch (error) {
      expect(error).to.be.instanceOf(DeepHessianError);
      expect((error as DeepHessianError).code).to.equal('io');
      return error as DeepHessianError;
    }
    releaseRun(path, token);
    throw new Error('expected a refusal');
  };
  /** Claims and releases: nothing of either is left. */
  const passes = (path: string): void => {
    releaseRun(path, claimRun(path));
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
    const token = claimRun(path);
    expect(refusal(path).message).to.match(/another run of this process/);
    const answer = await other.ask('claim', path);
    expect(answer).to.include({ held: false, code: 'io' });
    expect(answer.message).to.contain(`process ${process.pid} is at work`);
    // A token that is not the lock's releases nothing.
    releaseRun(path, '0123456789ab');
    expect(existsSync(join(path, lockName))).to.equal(true);
    releaseRun(path, token);
    expect(await other.ask('claim', path)).to.deep.equal({ held: true });
    await other.kill();
    expect(existsSync(join(path, lockName))).to.equal(true);
    passes(path);
  });

  it('of several that find a dead owner at once, exactly one takes over', async () => {
    const many = await Promise.all([start(), start(), start(), start()]);
    const dead = await start();
    const stale = make('stale');
    await dead.ask('claim', stale);
    await dead.kill();
    for (let round = 0; round < 40; round++) {
      const path = make(`race-${round}`);
      // As good as the real one: neither inode nor path make a lock that was rewritten in its place.
      writeFileSync(join(path, lockName), JSON.stringify({ ...lockOf(stale), folder: path }));
      const answers = await Promise.all(many.map((claimant) => claimant.ask('claim', path)));
      expect(answers.filter(({ held }) => held).length, JSON.stringify(answers)).to.equal(1);
      for (const { held, code } of answers) if (!held) expect(code).to.equal('io');
      const winner = many[answers.findIndex(({ held }) => held)];
      expect(lockOf(path).pid).to.equal(winner.child.pid);
      await winner.ask('release', path);
      expect(readdirSync(path)).to.deep.equal([]);
    }
  });

  it('is taken over where one that was taking over was killed itself', async () => {
    const path = make('chain');
    const dead = await start();
    await dead.ask('claim', path);
    await dead.kill();
    const second = await start();
    const elsewhere = make('elsewhere');
    await second.ask('claim', elsewhere);
    // The lock of the second is that by which it would replace the first's.
    const { pid, token } = lockOf(path) as { pid: number; token: string };
    const guard = join(path, `.${lockName}.${pid}-${token}.partial`);
    writeFileSync(guard, JSON.stringify({ ...lockOf(elsewhere), folder: path }));
    expect(refusal(path).details.pid).to.equal(second.child.pid);
    expect(lockOf(path).token).to.equal(token);
    await second.kill();
    passes(path);
  });

  it('does not hold for a process that got the number of its owner, nor for a boot that is over', function () {
    const path = make('reused');
    if (process.platform !== 'linux') return this.skip();
    // A number that is in use, by a process that began at another time.
    for (const changes of [{ pid: process.ppid, start: '1' }, { start: '1' }, { boot: 'before', pid: process.ppid }]) {
      const token = claimRun(path);
      expect(lockOf(path).start).to.match(/^\d+$/);
      alter(path, { ...changes, token: 'aaaaaaaaaaaa' });
      passes(path);
      releaseRun(path, token);
    }
  });

  it('of another host or pid namespace is refused, with what to do', () => {
    for (const [changes, words] of [
      [{ host: 'elsewhere.example' }, /process \d+ on host elsewhere\.example claimed .* remove .*run\.lock$/],
      [{ namespace: 'pid:[1]' }, /in another container or pid namespace claimed .* remove .*run\.lock$/],
    ] as const) {
      if ('namespace' in changes && process.platform !== 'linux') continue;
      const path = make(`other-${Object.keys(changes)[0]}`);
      claimRun(path);
      alter(path, { ...changes, pid: 2 ** 22 + 1 });
      const before = readFileSync(join(path, lockName), 'utf8');
      expect(refusal(path).message).to.match(words);
      expect(readFileSync(join(path, lockName), 'utf8')).to.equal(before);
      rmSync(join(path, lockName));
      passes(path);
    }
  });

  it('that cannot be read is refused, with what to do', () => {
    const path = make('unreadable');
    for (const text of ['', '{"pid":', 'null', '{"pid":0}']) {
      writeFileSync(join(path, lockName), text);
      expect(refusal(path).message).to.match(/run\.lock: not a lock that can be read .* remove it when/);
    }
  });

  it('does not come along with a copy of the folder, but with the folder itself', async () => {
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

  it('that could not be removed does not hold this thread itself', () => {
    const path = make('kept');
    const token = claimRun(path);
    renameSync(path, `${path}-away`);
    releaseRun(path, token);
    renameSync(`${path}-away`, path);
    expect(existsSync(join(path, lockName))).to.equal(true);
    passes(path);
  });

  it('holds against another thread of the process', async () => {
    const path = make('threads');
    const token = claimRun(path);
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
    releaseRun(path, token);
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
    expect(lockOf(path).pid).to.equal(child.pid);
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
