import { expect } from 'chai';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type DeepHessianError } from '../../ts/errors.js';
import { JobScheduler, TrainingJob, type JobState, type TrainingJobOptions } from '../../ts/jobs/index.js';
import { Random } from '../../ts/random.js';
import { readMetrics } from '../../ts/train/run-folder.js';
import { TrainingSession } from '../../ts/train/session.js';
import type { TrainEvent } from '../../ts/train/trainer.js';
import { rejection, small, stateOf, temporaryFolder, until } from './helpers.js';

describe('training job', function () {
  const folder = temporaryFolder();
  let scheduler: JobScheduler;
  before(() => {
    scheduler = new JobScheduler({ concurrency: 2 });
  });
  after(() => scheduler.close());

  const make = (name: string, config: Record<string, unknown>, options: TrainingJobOptions = {}): TrainingJob =>
    new TrainingJob({ ...small, ...config }, { folder: folder(name), scheduler, ...options });

  /** The same run in this thread, for comparison. */
  async function reference(name: string, config: Record<string, unknown>): Promise<Record<string, unknown>> {
    const session = await TrainingSession.start({ ...small, ...config }, folder(name));
    for await (const _ of session.run());
    return stateOf(folder(name));
  }

  it('yields the records of a run and leaves the same bits as a run in this thread', async () => {
    const config = { optimizer: 'gauss-newton', 'batch-size': 16, steps: 12 };
    const job = make('records', config);
    const states: JobState[] = [];
    job.on('state', (state) => states.push(state));
    expect(job.state).to.equal('new');
    const records: TrainEvent[] = [];
    for await (const record of job) records.push(record);
    const steps = records.flatMap((record) => (record.type === 'step' ? [record.step] : []));
    expect(steps).to.deep.equal(Array.from({ length: 12 }, (_, i) => i + 1));
    expect(records[0].type).to.equal('evaluation');
    expect(records.at(-1)).to.include({ type: 'end', reason: 'steps', step: 12 });
    expect(states).to.deep.equal(['queued', 'running', 'finished']);
    expect(await job.result()).to.deep.equal({ state: 'finished', end: records.at(-1), folder: folder('records') });
    expect([job.latest?.step, job.facts?.startStep, job.error]).to.deep.equal([12, 0, null]);
    expect(stateOf(folder('records'))).to.deep.equal(await reference('records-here', config));
    // Reading once more gives the end.
    const again: TrainEvent[] = [];
    for await (const record of job) again.push(record);
    expect(again).to.deep.equal([records.at(-1)]);
  });

  it('pauses into a checkpoint without thread or memory, and goes on with the same bits', async () => {
    const config = { steps: 4000 };
    const job = make('pause', config);
    const seen: number[] = [];
    const reading = (async () => {
      for await (const record of job) if (record.type === 'step') seen.push(record.step);
    })();
    for (const step of [20, 300]) {
      await until(() => (job.latest?.step ?? 0) >= step);
      await job.pause();
      expect([job.state, scheduler.running.length, scheduler.memory.free]).to.deep.equal([
        'paused',
        0,
        scheduler.memory.total,
      ]);
      expect(job.end).to.equal(null);
      const at = (stateOf(folder('pause')).counters as { step: number }).step;
      await new Promise((resolve) => setTimeout(resolve, 30));
      expect(job.latest!.step).to.be.at.most(at);
      job.resume();
    }
    await reading;
    expect((await job.result()).end?.reason).to.equal('steps');
    expect(seen).to.deep.equal([...new Set(seen)].sort((a, b) => a - b));
    expect(stateOf(folder('pause'))).to.deep.equal(await reference('pause-here', config));
  });

  it('is cancelled by its signal, before and while it runs, and can still be resumed', async () => {
    const early = new AbortController();
    early.abort();
    const never = make('never', { steps: 5 }, { signal: early.signal });
    expect(await never.result()).to.deep.equal({ state: 'aborted', end: null, folder: folder('never') });
    expect(existsSync(folder('never'))).to.equal(false);

    const controller = new AbortController();
    const job = make('cancelled', { steps: 1500 }, { signal: controller.signal });
    for await (const record of job) if (record.type === 'step' && record.step === 10) controller.abort();
    const { state, end } = await job.result();
    expect([state, end?.reason]).to.deep.equal(['aborted', 'aborted']);
    expect(end!.step).to.be.within(10, 1499);
    await job.resume().result();
    expect(stateOf(folder('cancelled'))).to.deep.equal(await reference('cancelled-here', { steps: 1500 }));
  });

  it('fails cleanly when its thread is killed at any moment, and resumes to the same bits', async () => {
    const config = { steps: 3000, 'batch-size': 16, 'checkpoint-every': 0.01 };
    const job = make('killed', config);
    const random = new Random(8);
    let failures = 0;
    job.on('failed', () => failures++);
    job.start();
    await until(() => job.state === 'running');
    for (let round = 0; round < 4 && job.state === 'running'; round++) {
      const before = job.latest?.step ?? 0;
      await until(() => (job.latest?.step ?? 0) !== before || job.state !== 'running');
      await new Promise((resolve) => setTimeout(resolve, random.integer(60)));
      if (job.state !== 'running') break;
      await scheduler.workers.terminateThreads();
      await until(() => job.state !== 'running');
      expect(job.state).to.equal('failed');
      expect((job.error as DeepHessianError).code).to.equal('worker-lost');
      expect(((await rejection(job.result())) as DeepHessianError).code).to.equal('worker-lost');
      job.resume();
      await until(() => job.state === 'running');
    }
    expect(failures).to.be.greaterThan(0);
    await job.result();
    expect(job.end?.step).to.equal(3000);
    expect(stateOf(folder('killed'))).to.deep.equal(
      await reference('killed-here', { ...config, 'checkpoint-every': 1000 }),
    );
    const steps = readMetrics(join(folder('killed'), 'metrics.jsonl')).flatMap((record) =>
      record.type === 'step' ? [record.step] : [],
    );
    expect(steps).to.deep.equal([...new Set(steps)].sort((a, b) => a - b));
    expect(scheduler.memory.free).to.equal(scheduler.memory.total);
  });

  it('is not lost when its thread ends before it has begun', async () => {
    const own = new JobScheduler({ concurrency: 1 });
    try {
      const job = new TrainingJob({ ...small, steps: 5 }, { folder: folder('early'), scheduler: own }).start();
      for (let round = 0; round < 3; round++) {
        await until(() => own.workers.threads > 0);
        await own.workers.terminateThreads();
      }
      expect((await job.result()).end?.step).to.equal(5);
    } finally {
      await own.close();
    }
  });

  it('starts again where a killed process left a folder without a checkpoint', async () => {
    mkdirSync(join(folder('empty'), 'checkpoints'), { recursive: true });
    writeFileSync(join(folder('empty'), 'config.json'), '{}');
    await make('empty', { steps: 3 }, { resume: true }).result();
    expect((stateOf(folder('empty')).counters as { step: number }).step).to.equal(3);
  });

  it('holds the training back for a reader that waits, and drops records for one that does not', async () => {
    const job = make('slow', { steps: 2000 });
    const slow = job.events({ buffer: 4 });
    await slow.next();
    await until(() => job.latest !== null);
    // Nothing more is read: the thread runs into the limit of records under way and stops there.
    let last = -1;
    while (last !== job.latest!.step) {
      last = job.latest!.step;
      await new Promise((resolve) => setTimeout(resolve, 400));
    }
    expect(last).to.be.below(100);
    expect(job.state).to.equal('running');
    // A second reader takes what it gets; then the slow one reads on.
    let read = 1;
    const lossy: TrainEvent[] = [];
    const quick = (async () => {
      for await (const record of job.events({ buffer: 2, whenFull: 'drop' })) {
        lossy.push(record);
        await until(() => read > 150); // behind by more than its buffer
      }
    })();
    await new Promise((resolve) => setImmediate(resolve));
    for await (const _ of slow) read++;
    await quick;
    expect(read).to.be.greaterThan(200);
    expect(lossy.length).to.be.within(2, read - 50);
    expect(lossy.at(-1)?.type).to.equal('end');
  });

  it('goes on when a loop is left', async () => {
    const job = make('left', { steps: 300 });
    for await (const record of job) if (record.type === 'step') break;
    expect(job.state).to.equal('running');
    expect((await job.result()).end?.step).to.equal(300);
  });

  it('reports misuse at once and failures of the run with their class, in loops and results', async () => {
    expect(() => make('x', { optimiser: 'adam' })).to.throw(
      RangeError,
      /unknown option 'optimiser', did you mean 'optimizer'/,
    );
    expect(() => make('x', { steps: -1 })).to.throw(RangeError);
    expect(() => new TrainingJob(small, { retries: 1 } as TrainingJobOptions)).to.throw(RangeError, /retries/);
    const missing = make('missing', { data: 'csv', file: folder('no.csv'), points: undefined });
    const caught = (await rejection(missing.result())) as DeepHessianError;
    expect([caught.code, missing.state]).to.deep.equal(['io', 'failed']);
    expect(((await rejection(missing.events().next())) as DeepHessianError).code).to.equal('io');
    const taken = make('taken', { steps: 2 });
    await taken.result();
    const second = (await rejection(make('taken', { steps: 2 }).result())) as DeepHessianError;
    expect(second.message).to.match(/holds a run already/);
    const other = await rejection(make('taken', { steps: 4, 'hidden-dim': 9 }, { resume: true }).result());
    expect(other)
      .to.be.instanceOf(RangeError)
      .with.property('message')
      .that.matches(/expected 8 for 'hidden-dim'/);
    const more = make('taken', { steps: 4 }, { resume: true });
    expect((await more.result()).end?.step).to.equal(4);
    expect(more.facts?.startStep).to.equal(2);
    const wild = make('wild', {
      data: 'friedman1',
      points: 50,
      'num-layers': 2,
      activation: 'identity',
      optimizer: 'sgd',
      lr: 1e8,
      steps: 500,
    });
    const diverged = (await rejection(wild.result())) as DeepHessianError;
    expect(diverged.code).to.equal('diverged');
    expect(existsSync(diverged.details.checkpoint as string)).to.equal(true);
  });
});
