import { spawn } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { DeepHessianError } from '../../ts/errors.js';
import { optimizerEntries } from '../../ts/optimize/registry.js';
import { Random } from '../../ts/random.js';
import { readCheckpoint } from '../../ts/train/checkpoint.js';
import { readMetrics } from '../../ts/train/run-folder.js';
import { TrainingSession } from '../../ts/train/session.js';
import type { EndRecord } from '../../ts/train/trainer.js';
import { runSession, small, temporaryFolder } from './helpers.js';

const checkpointOf = (folder: string): string => join(folder, 'checkpoints', 'latest.checkpoint');

/** Steps of the run so far. */
const stepsOf = (folder: string): number => readCheckpoint(checkpointOf(folder)).state.counters.step;

/** Everything in a checkpoint that a resumed run must reproduce bit for bit: all but times. */
function comparable(folder: string): Record<string, unknown> {
  const { state, network } = readCheckpoint(checkpointOf(folder));
  const { seconds: _, ...counters } = state.counters;
  const bits = (values: Float64Array): string =>
    Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString('hex');
  return {
    network,
    counters,
    source: state.source,
    params: bits(state.params),
    scalars: state.optimizer.scalars,
    vectors: Object.fromEntries(Object.entries(state.optimizer.vectors).map(([name, values]) => [name, bits(values)])),
  };
}

describe('resume', () => {
  const folder = temporaryFolder();

  it('refuses a checkpoint outside a run folder, whose surroundings it would write over', async () => {
    const path = join(folder.path(), 'moved');
    await runSession(await TrainingSession.start({ ...small, steps: 3 }, path));
    const copy = join(folder.path(), 'elsewhere', 'best.checkpoint');
    mkdirSync(join(folder.path(), 'elsewhere'));
    copyFileSync(checkpointOf(path), copy);
    const error = await TrainingSession.resume(copy, { steps: 5 }).catch((caught: unknown) => caught as Error);
    expect(error).to.be.instanceOf(DeepHessianError);
    expect((error as Error).message).to.match(
      /best\.checkpoint: expected a checkpoint in the folder checkpoints\/ of a run/,
    );
    expect(existsSync(join(folder.path(), 'config.json'))).to.equal(false);
  });

  it('keeps a time budget that was given beside another limit, and replaces one that was the only limit', async () => {
    for (const [limits, kept] of [
      [{ steps: 3, 'time-budget': 60 }, 60],
      [{ steps: undefined, 'time-budget': 0.001 }, undefined],
    ] as const) {
      const path = join(folder.path(), `limits-${String(kept)}`);
      await runSession(await TrainingSession.start({ ...small, ...limits }, path));
      const session = await TrainingSession.resume(path, { steps: stepsOf(path) + 2 });
      expect(session.settings['time-budget']).to.equal(kept);
      await runSession(session);
    }
  });

  const kinds = [
    ...optimizerEntries.map((entry) => ({ name: entry.name, optimizer: entry.name })),
    { name: 'gauss-newton in mixed precision', optimizer: 'gauss-newton', precision: 'mixed' },
  ];
  for (const { name, ...choice } of kinds) {
    for (const batch of ['full', 'stream'] as const) {
      it(`goes on with the same bits: ${name}, ${batch}`, async () => {
        const settings = {
          ...small,
          ...choice,
          steps: 24,
          ...(batch === 'stream' ? { 'batch-size': 16 } : {}),
        };
        const whole = join(folder.path(), `whole-${name}-${batch}`);
        await runSession(await TrainingSession.start(settings, whole));
        const parts = join(folder.path(), `parts-${name}-${batch}`);
        await runSession(
          await TrainingSession.start(settings, parts),
          (event) => event.type === 'step' && event.step === 7,
        );
        expect(readCheckpoint(checkpointOf(parts)).state.counters.step).to.equal(7);
        await runSession(await TrainingSession.resume(parts), (event) => event.type === 'step' && event.step === 15);
        await runSession(await TrainingSession.resume(checkpointOf(parts)));
        expect(comparable(parts)).to.deep.equal(comparable(whole));
        // The record, too, is that of one run: every step once.
        const losses = (path: string): [number, number][] =>
          readMetrics(join(path, 'metrics.jsonl')).flatMap((event): [number, number][] =>
            event.type === 'step' ? [[event.step, event.loss]] : [],
          );
        expect(losses(parts)).to.deep.equal(losses(whole));
      });
    }
  }

  it('ends at the least loss where steps led uphill, and goes on from where it was with the same bits', async () => {
    // Deep, with plain normal initialisation: on a plateau.
    const settings = { ...small, 'num-layers': 40, init: 'normal', optimizer: 'gauss-newton', 'curvature-share': 0 };
    const whole = join(folder.path(), 'uphill-whole');
    const parts = join(folder.path(), 'uphill-parts');
    let settled = 0;
    const stops = [3, 6, 10, 15, 21, 28];
    for (const [i, steps] of stops.entries()) {
      const events = await runSession(
        i === 0
          ? await TrainingSession.start({ ...settings, steps }, parts)
          : await TrainingSession.resume(parts, { steps }),
      );
      const { loss } = events.at(-1) as EndRecord;
      const losses = readMetrics(join(parts, 'metrics.jsonl')).flatMap((e) => (e.type === 'step' ? [e.loss] : []));
      expect(losses).to.have.length(steps);
      // rounding: losses of a step and of an evaluation come by two ways
      expect(loss).to.be.at.most(Math.min(...losses) * (1 + 1e-12));
      if ('onward' in readCheckpoint(checkpointOf(parts)).state.optimizer.vectors) settled++;
    }
    expect(settled).to.be.at.least(1);
    await runSession(await TrainingSession.start({ ...settings, steps: stops.at(-1) }, whole));
    expect(comparable(parts)).to.deep.equal(comparable(whole));
  });

  it('takes a larger budget and nothing else that changes the run', async () => {
    const path = join(folder.path(), 'budget');
    await runSession(await TrainingSession.start({ ...small, steps: 5 }, path));
    await runSession(await TrainingSession.resume(path, { steps: 9 }));
    expect(readCheckpoint(checkpointOf(path)).state.counters.step).to.equal(9);
    let message = '';
    try {
      await TrainingSession.resume(path, { 'hidden-dim': 9 });
    } catch (error) {
      message = (error as Error).message;
    }
    expect(message).to.match(/--hidden-dim cannot change in a resumed run; allowed: --steps/);
  });

  it('refuses a folder that holds a run already, a folder without a checkpoint, and a damaged checkpoint', async () => {
    const path = join(folder.path(), 'taken');
    await runSession(await TrainingSession.start({ ...small, steps: 2 }, path));
    const failures: unknown[] = [];
    const attempt = async (job: () => Promise<unknown>): Promise<void> => {
      try {
        await job();
      } catch (error) {
        failures.push(error);
      }
    };
    await attempt(() => TrainingSession.start({ ...small, steps: 2 }, path));
    const empty = join(folder.path(), 'empty');
    mkdirSync(empty);
    await attempt(() => TrainingSession.resume(empty));
    const damaged = join(folder.path(), 'damaged');
    mkdirSync(join(damaged, 'checkpoints'), { recursive: true });
    const bytes = readFileSync(checkpointOf(path));
    bytes[bytes.length >> 1] ^= 1;
    writeFileSync(checkpointOf(damaged), bytes);
    await attempt(() => TrainingSession.resume(damaged));
    expect(failures.map((error) => (error as DeepHessianError).message)).to.have.length(3);
    expect((failures[0] as Error).message).to.match(/holds a run already/);
    expect((failures[1] as Error).message).to.match(/no checkpoint to resume from/);
    expect((failures[2] as Error).message).to.match(/checksum/);
  });

  it('starts anew in the folder of a run that was killed before its first checkpoint', async () => {
    const path = join(folder.path(), 'barely');
    await (await TrainingSession.start({ ...small, steps: 2 }, path)).close();
    const error = await TrainingSession.resume(path).catch((caught: unknown) => caught as Error);
    expect((error as Error).message).to.match(/ended before its first checkpoint; start it anew/);
    await runSession(await TrainingSession.start({ ...small, steps: 3 }, path));
    expect(stepsOf(path)).to.equal(3);
  });

  it('keeps the last good state of a run that diverges', async () => {
    const path = join(folder.path(), 'diverged');
    const session = await TrainingSession.start(
      {
        data: 'friedman1',
        points: 50,
        'num-layers': 2,
        'hidden-dim': 4,
        activation: 'identity',
        optimizer: 'sgd',
        lr: 1e8,
        steps: 500,
      },
      path,
    );
    let caught: unknown;
    try {
      await runSession(session);
    } catch (error) {
      caught = error;
    }
    expect(caught).to.be.instanceOf(DeepHessianError);
    expect((caught as DeepHessianError).code).to.equal('diverged');
    const kept = (caught as DeepHessianError).details.checkpoint as string;
    expect((caught as DeepHessianError).message).to.contain(kept);
    expect(readCheckpoint(kept).state.counters.step).to.be.at.least(0);
  });

  for (const optimizer of ['adam', 'gauss-newton']) {
    it(`loses nothing but the last steps to kill -9, at any moment: ${optimizer}`, async function () {
      const script = fileURLToPath(new URL('./killed-run.ts', import.meta.url));
      // Without the spectrum along the run: the moments to be hit are those of steps and checkpoints.
      const timing = { steps: 100000, 'checkpoint-every': 0.01, 'curvature-share': 0 };
      const settings = { ...small, optimizer, 'batch-size': 16, ...timing };
      const random = new Random(11);
      const path = join(folder.path(), `killed-${optimizer}`);
      let resumed = 0;
      for (let round = 0; round < 2; round++) {
        const child = spawn(process.execPath, ['--import', 'tsx', script, path, JSON.stringify(settings)], {
          stdio: ['ignore', 'pipe', 'inherit'],
        });
        const exit = new Promise<void>((resolve) => child.on('exit', () => resolve()));
        await new Promise<void>((resolve, reject) => {
          child.stdout.once('data', () => resolve());
          child.once('exit', () => reject(new Error('the run ended before it could be killed')));
        });
        await new Promise((resolve) => setTimeout(resolve, 40 + random.integer(250)));
        child.kill('SIGKILL');
        await exit;
        if (existsSync(checkpointOf(path))) {
          // Whole and sound, whatever the moment.
          const { state } = readCheckpoint(checkpointOf(path));
          expect(state.counters.step).to.be.at.least(resumed);
          resumed = state.counters.step;
        }
      }
      expect(resumed).to.be.at.least(1);
      // Bring an uninterrupted run to a step somewhat further on, and the killed one too: the same bits.
      const target = resumed + 50;
      await runSession(await TrainingSession.resume(path, { steps: target }));
      const whole = join(folder.path(), `not-killed-${optimizer}`);
      await runSession(await TrainingSession.start({ ...settings, steps: target, 'checkpoint-every': 1000 }, whole));
      expect(comparable(path)).to.deep.equal(comparable(whole));
      // Nothing half-written is left behind.
      expect(readdirSync(join(path, 'checkpoints'))).to.deep.equal(['latest.checkpoint']);
      const steps = readMetrics(join(path, 'metrics.jsonl')).flatMap((event) =>
        event.type === 'step' ? [event.step] : [],
      );
      expect(steps).to.deep.equal([...new Set(steps)].sort((a, b) => a - b));
    });
  }

  it('drops a last line of the metrics that was cut off, and names any other bad line', () => {
    const path = join(folder.path(), 'metrics.jsonl');
    const line = '{"type":"step","step":1}\n';
    writeFileSync(path, `${line}{"type":"st`);
    expect(readMetrics(path)).to.have.length(1);
    writeFileSync(path, `${line}nonsense\n${line}`);
    expect(() => readMetrics(path)).to.throw(DeepHessianError, /line 2/);
  });
});
