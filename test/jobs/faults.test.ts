/**
 * What breaks under a running job: a full disk, a folder that cannot be written, a folder that goes away. The job fails with
 * one clear error, its last checkpoint stays whole, and it goes on once the cause is gone.
 */
import { expect } from 'chai';
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DeepHessianError } from '../../ts/errors.js';
import { JobScheduler, TrainingJob } from '../../ts/jobs/index.js';
import { readMetrics } from '../../ts/train/run-folder.js';
import { rejection, small, stateOf, temporaryFolder, until } from './helpers.js';

/** A small file system of its own at `path`, or false where that is not allowed. */
function mountSmall(path: string, options: string): boolean {
  mkdirSync(path, { recursive: true });
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return false;
  return spawnSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', path]).status === 0;
}

describe('faults under a job', function () {
  const mounted: string[] = [];
  let scheduler: JobScheduler;
  // Before the folder's own hook, which removes it.
  after(async () => {
    await scheduler.close();
    for (const path of mounted) spawnSync('umount', [path]);
  });
  const folder = temporaryFolder();
  before(() => {
    scheduler = new JobScheduler({ concurrency: 1 });
  });

  it('a full disk: the error says so, the checkpoint is whole, and the run goes on when there is room', async function () {
    const disk = folder('disk');
    if (!mountSmall(disk, 'size=2m')) {
      console.log('      not tested: mounting a small disk needs root');
      return this.skip();
    }
    mounted.push(disk);
    const config = { ...small, steps: 30_000, 'checkpoint-every': 0.01 };
    const job = new TrainingJob(config, { folder: join(disk, 'run'), scheduler }).start();
    await until(() => (job.latest?.step ?? 0) > 50);
    // Everything that is left, and no byte more.
    const filler = join(disk, 'filler');
    for (let size = 2 ** 20; size >= 64; size /= 2) {
      try {
        for (let n = 0; n < 4; n++) writeFileSync(filler, Buffer.alloc(size), { flag: 'a' });
      } catch {
        // as full as that
      }
    }
    const failure = (await rejection(job.result())) as DeepHessianError;
    expect(failure).to.be.instanceOf(DeepHessianError);
    expect(failure.code).to.equal('io');
    expect(failure.message).to.match(/ENOSPC|no space left/);
    expect(job.state).to.equal('failed');
    const { step } = stateOf(join(disk, 'run')).counters as { step: number };
    expect(step).to.be.within(0, 29_999);
    rmSync(filler);
    const going = new TrainingJob(
      { ...config, steps: step + 20 },
      { folder: join(disk, 'run'), scheduler, resume: true },
    );
    expect((await going.result()).end?.step).to.equal(step + 20);
    // Nothing half-written is left.
    expect(readdirSync(join(disk, 'run', 'checkpoints'))).to.deep.equal(['latest.checkpoint']);
    const records = readMetrics(join(disk, 'run', 'metrics.jsonl'));
    expect(records.at(-1)).to.include({ type: 'end', step: step + 20 });
  });

  it('a folder that cannot be written: refused before any step', async function () {
    const closed = folder('closed');
    if (mountSmall(closed, 'size=1m')) {
      mounted.push(closed);
      spawnSync('mount', ['-o', 'remount,ro', closed]);
    } else {
      chmodSync(closed, 0o555);
      if (process.getuid?.() === 0) return this.skip();
    }
    const job = new TrainingJob({ ...small, steps: 5 }, { folder: join(closed, 'run'), scheduler });
    const failure = (await rejection(job.result())) as DeepHessianError;
    expect(failure.code).to.equal('io');
    expect(failure.message).to.match(/EROFS|EACCES|read-only|denied/);
    expect([job.latest, scheduler.memory.free]).to.deep.equal([null, scheduler.memory.total]);
  });

  it('a run folder that is taken away: one error, and the scheduler goes on', async () => {
    const path = folder('gone');
    const job = new TrainingJob(
      { ...small, steps: 100_000, 'checkpoint-every': 0.01 },
      { folder: path, scheduler },
    ).start();
    await until(() => (job.latest?.step ?? 0) > 20);
    // In one move: a folder that is written to while its files are removed one by one may not go away.
    renameSync(path, `${path}-taken`);
    const failure = (await rejection(job.result())) as DeepHessianError;
    expect(failure.code).to.equal('io');
    const next = new TrainingJob({ ...small, steps: 3 }, { folder: folder('next'), scheduler });
    expect((await next.result()).end?.step).to.equal(3);
  });
});
