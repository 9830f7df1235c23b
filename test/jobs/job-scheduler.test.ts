import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect } from 'chai';
import { DeepHessianError } from '../../ts/errors.js';
import { estimateMemory, JobScheduler, TrainingJob } from '../../ts/jobs/index.js';
import { resolveSettings } from '../../ts/train/config.js';
import { small, stateOf, temporaryFolder, until } from './helpers.js';

describe('job scheduler', function () {
  const folder = temporaryFolder();

  it('runs at most k jobs, those of higher priority first', async () => {
    const scheduler = new JobScheduler({ concurrency: 1 });
    try {
      const order: string[] = [];
      let most = 0;
      const jobs = (
        [
          ['low', -1],
          ['first', 0],
          ['second', 0],
          ['high', 5],
        ] as const
      ).map(([name, priority]) => {
        const job = new TrainingJob({ ...small, steps: 5 }, { folder: folder(name), priority, scheduler });
        job.on('state', (state) => {
          if (state === 'running') order.push(name);
          most = Math.max(most, scheduler.running.length);
        });
        return job.start();
      });
      expect(jobs.map((job) => job.state)).to.deep.equal(['queued', 'queued', 'queued', 'queued']);
      await Promise.all(jobs.map((job) => job.result()));
      expect(order).to.deep.equal(['high', 'first', 'second', 'low']);
      expect(most).to.equal(1);
    } finally {
      await scheduler.close();
    }
  });

  it('lets a job wait for memory, lets nobody overtake it, and refuses with the numbers', async () => {
    const scheduler = new JobScheduler({ concurrency: 3, memory: 100e6 });
    try {
      const make = (name: string, memory: number): TrainingJob =>
        new TrainingJob(
          { ...small, steps: 100000, 'evaluate-every': 1000 },
          { folder: folder(name), memory, scheduler },
        );
      const a = make('a', 60e6).start();
      await until(() => a.state === 'running');
      const b = make('b', 70e6).start();
      const c = make('c', 10e6).start();
      await new Promise((resolve) => setTimeout(resolve, 50));
      expect([b.state, c.state, scheduler.memory.free]).to.deep.equal(['queued', 'queued', 40e6]);
      expect(scheduler.queued).to.deep.equal([b, c]);
      await a.abort();
      await until(() => b.state === 'running' && c.state === 'running');
      expect(scheduler.memory.free).to.equal(20e6);
      let refused: unknown;
      try {
        make('d', 101e6).start();
      } catch (error) {
        refused = error;
      }
      expect((refused as DeepHessianError).code).to.equal('out-of-memory');
      expect((refused as DeepHessianError).message).to.contain('needs 101.0 MB, the memory budget is 100.0 MB');
      await Promise.all([b.abort(), c.abort()]);
    } finally {
      await scheduler.close();
    }
  });

  it('refuses several BLAS threads beside other jobs', async () => {
    const [one, two] = [new JobScheduler({ concurrency: 1 }), new JobScheduler({ concurrency: 2 })];
    try {
      const job = (scheduler: JobScheduler, name: string): TrainingJob =>
        new TrainingJob({ ...small, steps: 2, threads: 2 }, { folder: folder(name), scheduler });
      expect(() => job(two, 'no').start()).to.throw(RangeError, /1 BLAS thread/);
      expect(job(two, 'no').state).to.equal('new');
      expect((await job(one, 'alone').result()).state).to.equal('finished');
    } finally {
      await Promise.all([one.close(), two.close()]);
    }
  });

  it('closes with every job paused in a checkpoint, from which another scheduler goes on', async () => {
    const first = new JobScheduler({ concurrency: 1 });
    const config = { ...small, steps: 100000 };
    const running = new TrainingJob(config, { folder: folder('running'), scheduler: first }).start();
    const waiting = new TrainingJob({ ...small, steps: 5 }, { folder: folder('waiting'), scheduler: first }).start();
    await until(() => running.latest !== null);
    await first.close();
    expect([running.state, waiting.state]).to.deep.equal(['paused', 'paused']);
    expect(() => running.resume()).to.throw(DeepHessianError, /closed/);
    const { step } = stateOf(folder('running')).counters as { step: number };
    expect(step).to.be.at.least(1);
    const second = new JobScheduler({ concurrency: 2 });
    try {
      const on = new TrainingJob(
        { ...config, steps: step + 5 },
        { folder: folder('running'), scheduler: second, resume: true },
      );
      expect((await on.result()).end?.step).to.equal(step + 5);
      expect(on.facts?.startStep).to.equal(step);
    } finally {
      await second.close();
    }
  });

  it('estimates memory from above: data, step and thread', () => {
    const of = (config: Record<string, unknown>) => estimateMemory(resolveSettings({ ...small, ...config }));
    const base = of({});
    expect(base.total).to.equal(base.data + base.step + base.thread);
    // 60 points of 2 inputs and 2 outputs, 8 bytes each, in three copies.
    expect(base.data).to.equal(60 * 4 * 8 * 3);
    expect(of({ points: 6000 }).data).to.equal(100 * base.data);
    // Of a table a limit keeps a part, for which all of it is read: 10,000 numbers in two forms.
    const file = join(folder('table'), 'numbers.csv');
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, '1,2,3,4\n'.repeat(2500));
    const table = of({ points: undefined, data: 'csv', file, limit: 10 });
    expect(table.data).to.be.at.least(2 * 8 * 10_000);
    expect(table.step).to.be.below(of({ points: undefined, data: 'csv', file }).step);
    expect(of({ 'hidden-dim': 64 }).step).to.be.greaterThan(base.step);
    expect(of({ optimizer: 'gauss-newton' }).step).to.be.greaterThan(base.step);
    // A dense inverse of P x P: 8 P^2 bytes at least, P = 2 * 100 + 100 + 100 * 100 + ... = 20502.
    expect(of({ optimizer: 'bfgs', 'hidden-dim': 100 }).step).to.be.greaterThan(8 * 20502 ** 2);
  });
});
