/** Jobs and their iterators used in every order: nothing hangs, nothing is taken over, counts stay right. */
import { expect } from 'chai';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type DeepHessianError } from '../../ts/errors.js';
import { EventQueue } from '../../ts/jobs/event-queue.js';
import { JobScheduler, TrainingJob, type JobState, type TrainingJobOptions } from '../../ts/jobs/index.js';
import { Random } from '../../ts/random.js';
import { recordedStep, type TrainEvent } from '../../ts/train/trainer.js';
import { rejection, small, stateOf, temporaryFolder, until } from './helpers.js';

describe('jobs under hostile use', function () {
  const folder = temporaryFolder();
  let scheduler: JobScheduler;
  before(() => {
    scheduler = new JobScheduler({ concurrency: 2 });
  });
  after(() => scheduler.close());

  const make = (name: string, config: Record<string, unknown>, options: TrainingJobOptions = {}): TrainingJob =>
    new TrainingJob({ ...small, ...config }, { folder: folder(name), scheduler, ...options });
  const idle = (): void => {
    const counts = [scheduler.running.length, scheduler.queued.length, scheduler.memory.free];
    expect(counts).to.deep.equal([0, 0, scheduler.memory.total]);
  };

  it('pause, resume and abort in any order, never awaited: the last word counts and the bits stay', async () => {
    const config = { steps: 2000, 'checkpoint-every': 1000 };
    await make('orders-reference', config).result();
    const wanted = stateOf(folder('orders-reference'));
    const random = new Random(5);
    for (let round = 0; round < 4; round++) {
      const job = make(`orders-${round}`, config).start();
      const calls: Promise<void>[] = [];
      for (let n = 0; n < 12; n++) {
        const action = random.integer(4);
        if (action === 0) calls.push(job.pause());
        else if (action === 1) calls.push(job.abort());
        else job.resume();
        if (random.integer(2) === 0) await new Promise((resolve) => setTimeout(resolve, random.integer(25)));
      }
      // Every call has an end, whatever came after it.
      await Promise.all(calls);
      job.resume();
      expect((await job.result()).end?.reason, `round ${round}`).to.equal('steps');
      expect(stateOf(folder(`orders-${round}`))).to.deep.equal(wanted);
    }
    idle();
  });

  it('resume takes back a pause that is under way, and a pause that resume', async () => {
    const job = make('taken-back', { steps: 100_000 });
    const states: JobState[] = [];
    job.on('state', (state) => states.push(state));
    job.start();
    await until(() => job.latest !== null);
    let pausing = job.pause();
    job.resume();
    await pausing;
    await until(() => job.state === 'running');
    expect(states).to.deep.equal(['queued', 'running', 'paused', 'queued', 'running']);
    pausing = job.pause();
    job.resume();
    await Promise.all([pausing, job.pause()]);
    expect(job.state).to.equal('paused');
    expect(states.slice(5)).to.deep.equal(['paused']);
    await job.abort();
    idle();
  });

  it('one that resumes at every failure is counted once', async () => {
    const job = make('again', { steps: 6000, 'checkpoint-every': 0.01 });
    let failures = 0;
    job.on('state', (state) => {
      if (state !== 'failed') return;
      failures++;
      job.resume();
    });
    job.start();
    for (let round = 0; round < 2; round++) {
      const before = job.latest?.step;
      await until(() => job.state === 'running' && job.latest !== null && job.latest.step !== before);
      await scheduler.workers.terminateThreads();
      await until(() => failures > round);
      expect(scheduler.running.length).to.be.at.most(1);
      await until(() => job.state === 'running');
      expect(scheduler.running.length).to.equal(1);
      expect(scheduler.memory.free).to.equal(scheduler.memory.total - job.memory);
    }
    expect((await job.result()).end?.step).to.equal(6000);
    idle();
  });

  it("a folder with somebody else's run stays refused, however often the job is resumed", async () => {
    await make('theirs', { steps: 3 }).result();
    const config = readFileSync(join(folder('theirs'), 'config.json'), 'utf8');
    const before = stateOf(folder('theirs'));
    const refused = make('theirs', { steps: 9 });
    for (let round = 0; round < 2; round++) {
      expect((await rejection(refused.result())).message).to.match(/holds a run already/);
      refused.resume();
    }
    await rejection(refused.result());
    // Neither does a pause before the start open it, nor a missing checkpoint.
    rmSync(join(folder('theirs'), 'checkpoints'), { recursive: true });
    const paused = make('theirs', { steps: 9 });
    await paused.pause();
    expect((await rejection(paused.resume().result())).message).to.match(/holds a run already/);
    expect(readFileSync(join(folder('theirs'), 'config.json'), 'utf8')).to.equal(config);
    expect(existsSync(join(folder('theirs'), 'checkpoints'))).to.equal(false);
    expect(before.counters).to.deep.include({ step: 3 });
  });

  it('a folder in which a job is training is refused to every other one, until that job has left', async () => {
    const first = make('shared', { steps: 100_000 }).start();
    await until(() => first.latest !== null);
    // The same folder by another path.
    const second = new TrainingJob(
      { ...small, steps: 100_000 },
      { folder: join(folder('shared'), '..', 'shared'), resume: true, scheduler },
    );
    for (let round = 0; round < 2; round++) {
      expect(((await rejection(second.result())) as DeepHessianError).message).to.match(
        /another run of this process .* is at work/,
      );
      expect((second.error as DeepHessianError).code).to.equal('io');
      second.resume();
    }
    await rejection(second.result());
    await first.pause();
    const steps = first.latest!.step;
    second.resume();
    await until(() => second.latest !== null && second.latest.step > steps);
    // Now it is the other one's.
    expect((await rejection(first.resume().result())).message).to.match(/another run of this process .* is at work/);
    await second.abort();
    const records = readFileSync(join(folder('shared'), 'metrics.jsonl'), 'utf8')
      .trim()
      .split('\n');
    const taken = records
      .map((line) => JSON.parse(line) as TrainEvent)
      .filter(({ type }) => type === 'step')
      .map(({ step }) => step);
    // Every step that belongs into the record, once and in order.
    expect(taken).to.deep.equal([...new Set(taken)].sort((a, b) => a - b));
    for (let step = 1; step <= taken.at(-1)!; step++) if (recordedStep(step)) expect(taken).to.include(step);
    idle();
  });

  it('a listener that throws when the job begins fails that job and no other', async () => {
    const job = make('throws', { steps: 5 });
    job.on('state', (state) => {
      if (state === 'running') throw new Error('listener');
    });
    expect((await rejection(job.result())).message).to.equal('listener');
    expect(existsSync(folder('throws'))).to.equal(false);
    // Nobody keeps its thread: as many jobs as threads run at once.
    const others = ['a', 'b'].map((name) => make(`throws-${name}`, { steps: 100_000 }).start());
    await until(() => others.every((other) => other.latest !== null));
    await Promise.all(others.map((other) => other.abort()));
    idle();
  });

  it('a listener that pauses when the job begins finds it paused', async () => {
    const job = make('at-once', { steps: 100_000 });
    job.once('state', () => job.once('state', () => void job.pause()));
    job.start();
    await until(() => job.state === 'paused');
    expect((stateOf(folder('at-once')).counters as { step: number }).step).to.be.below(100_000);
    await job.abort();
    idle();
  });

  it('a closed scheduler refuses a resume and leaves the job as it was', async () => {
    const own = new JobScheduler({ concurrency: 1 });
    const job = make('closed', { data: 'csv', file: folder('no.csv'), points: undefined }, { scheduler: own });
    const failure = await rejection(job.result());
    const running = make('closing', { steps: 100_000 }, { scheduler: own }).start();
    await until(() => running.latest !== null);
    const closing = own.close();
    running.resume();
    await closing;
    expect(running.state).to.equal('paused');
    expect(() => job.resume()).to.throw(/has been closed/);
    expect([job.state, job.error]).to.deep.equal(['failed', failure]);
    expect(((await rejection(job.result())) as DeepHessianError).code).to.equal('io');
  });

  it('a signal does not hold jobs that are over, and reaches those that were resumed', async () => {
    const controller = new AbortController();
    const held = new Set<unknown>();
    const { signal } = controller;
    const add = signal.addEventListener.bind(signal);
    const remove = signal.removeEventListener.bind(signal);
    signal.addEventListener = (...args: Parameters<typeof add>) => (held.add(args[1]), add(...args));
    signal.removeEventListener = (...args: Parameters<typeof remove>) => (held.delete(args[1]), remove(...args));
    const job = make('signal', { steps: 3 }, { signal });
    expect(held.size).to.equal(1);
    await job.result();
    expect(held.size).to.equal(0);
    const resumed = make('signal-resumed', { steps: 100_000 }, { signal }).start();
    await until(() => resumed.latest !== null);
    await resumed.abort();
    expect(held.size).to.equal(0);
    resumed.resume();
    await until(() => resumed.state === 'running');
    controller.abort();
    expect((await resumed.result()).state).to.equal('aborted');
    idle();
  });

  it('two loops see the same records; one that is left, or never begun, starts nothing and holds nothing up', async () => {
    const job = make('loops', { steps: 400 });
    const never = job.events();
    expect(await never.return!()).to.deep.equal({ value: undefined, done: true });
    expect(await never.next()).to.deep.equal({ value: undefined, done: true });
    expect(job.state).to.equal('new');
    const read = async (): Promise<TrainEvent[]> => {
      const records: TrainEvent[] = [];
      for await (const record of job.events({ buffer: 3 })) records.push(record);
      return records;
    };
    const left = (async () => {
      for await (const record of job.events({ buffer: 1 })) if (record.type === 'step' && record.step === 40) break;
    })();
    const [first, second] = await Promise.all([read(), read(), left]);
    expect(first).to.deep.equal(second);
    expect(first.at(-1)).to.include({ type: 'end', step: 400 });
    idle();
  });

  it('several requests at once to one loop are answered in their order, the failure once', async () => {
    const queue = new EventQueue<number>(
      4,
      'wait',
      () => false,
      null,
      () => undefined,
    );
    const asked = [queue.next(), queue.next(), queue.next(), queue.next()];
    queue.push(1);
    queue.push(2);
    queue.end(new Error('over'));
    expect(await asked[0]).to.deep.equal({ value: 1, done: false });
    expect(await asked[1]).to.deep.equal({ value: 2, done: false });
    expect((await rejection(asked[2])).message).to.equal('over');
    expect(await asked[3]).to.deep.equal({ value: undefined, done: true });
    expect(await queue.next()).to.deep.equal({ value: undefined, done: true });
  });
});
