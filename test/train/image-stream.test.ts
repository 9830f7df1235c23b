import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import sharp from 'sharp';
import { readCheckpoint } from '../../ts/train/checkpoint.js';
import { createOptimizer, imageSource, Network, openImageStream, Trainer } from '../../ts/index.js';
import { readMetrics } from '../../ts/train/run-folder.js';
import { TrainingSession } from '../../ts/train/session.js';
import type { EndRecord } from '../../ts/train/trainer.js';
import { runSession, temporaryFolder } from './helpers.js';

const photos = fileURLToPath(new URL('../../../shared/data/photos', import.meta.url));

describe('image stream', () => {
  const folder = temporaryFolder();
  const tree = (): string => join(folder.path(), 'images');
  const settings = (): Record<string, unknown> => ({
    data: 'images',
    'data-dir': tree(),
    stream: true,
    'image-size': 4,
    'batch-size': 5,
    'num-layers': 2,
    'hidden-dim': 6,
    optimizer: 'adam',
    lr: 0.03,
    seed: 4,
  });
  const checkpointOf = (path: string): ReturnType<typeof readCheckpoint> =>
    readCheckpoint(join(path, 'checkpoints', 'latest.checkpoint'));

  before(async () => {
    for (const [part, count] of [
      ['train', 13],
      ['val', 4],
    ] as const) {
      for (const [k, name] of ['dark', 'light'].entries()) {
        mkdirSync(join(tree(), part, name), { recursive: true });
        for (let i = 0; i < count; i++) {
          const level = (k === 0 ? 20 : 140) + 7 * i;
          const background = { r: level, g: 255 - level, b: (level + 11 * i) % 255 };
          const image = sharp({ create: { width: 9, height: 7, channels: 3, background } });
          writeFileSync(join(tree(), part, name, `${i}.png`), await image.png().toBuffer());
        }
      }
    }
    // One file of the 27 does not decode.
    writeFileSync(join(tree(), 'train', 'light', 'broken.png'), Buffer.from('not an image'));
  });

  it('learns, names the broken file, and evaluates what it can hold', async () => {
    const path = join(folder.path(), 'run');
    const session = await TrainingSession.start({ ...settings(), epochs: 30 }, path);
    const { problem, source } = session.experiment;
    expect(source.samples).to.equal(27);
    expect(source.stepsPerEpoch).to.equal(5);
    const events = await runSession(session);
    const end = events[events.length - 1] as EndRecord;
    expect(end.step).to.equal(150);
    expect(end.sets.test.accuracy).to.equal(1);
    expect(problem.broken.map((file) => file.path)).to.deep.equal([join(tree(), 'train', 'light', 'broken.png')]);
    expect(problem.stream?.folder.broken).to.have.length(1);
    expect(checkpointOf(path).extra?.channels).to.have.keys('mean', 'deviation');
  });

  it('goes on with the same bits, whatever had been decoded ahead', async () => {
    const whole = join(folder.path(), 'whole');
    await runSession(await TrainingSession.start({ ...settings(), steps: 23 }, whole));
    const parts = join(folder.path(), 'parts');
    await runSession(
      await TrainingSession.start({ ...settings(), steps: 23 }, parts),
      (event) => event.type === 'step' && event.step === 8,
    );
    expect(checkpointOf(parts).state.counters.step).to.equal(8);
    await runSession(await TrainingSession.resume(parts));
    const [a, b] = [checkpointOf(whole).state, checkpointOf(parts).state];
    expect(b.source).to.deep.equal(a.source);
    expect([...b.params]).to.deep.equal([...a.params]);
    const losses = (run: string): number[] =>
      readMetrics(join(run, 'metrics.jsonl')).flatMap((event) => (event.type === 'step' ? [event.loss] : []));
    expect(losses(parts)).to.deep.equal(losses(whole));
  });

  it('holds no more than a sample of each part', async () => {
    const stream = await openImageStream(tree(), { imageSize: 4, normalise: 'standardised' }, 6);
    expect(stream.folder.samples).to.equal(27);
    expect(stream.train.samples).to.be.at.most(6);
    expect(stream.test?.samples).to.equal(6);
    expect(stream.testSamples).to.equal(8);
    expect(new Set(stream.train.labels)).to.deep.equal(new Set([0, 1]));
  });

  it('feeds a trainer from a program, and goes on where a stored position says', async () => {
    const images = await openImageStream(tree(), { imageSize: 4 });
    const network = new Network({
      inputs: images.train.features,
      loss: 'cross-entropy',
      layers: [{ type: 'dense', units: 2, activation: 'identity' }],
    });
    const source = imageSource(network, images.folder, { batchSize: 5, seed: 3, prefetch: 1 });
    const params = network.initialize({ seed: 1 });
    const optimizer = createOptimizer('adam', network, { lr: 0.05 });
    const trainer = new Trainer({ network, params, optimizer, source, budget: { epochs: 2 } });
    for await (const event of trainer.run()) if (event.type === 'end') expect(event.step).to.equal(10);
    const position = source.state();
    const following = await source.next();
    await source.dispose?.();
    const other = imageSource(network, images.folder, { batchSize: 5, seed: 3, prefetch: 4 });
    other.restore(position);
    const same = await other.next();
    await other.dispose?.();
    expect([...same.inputs]).to.deep.equal([...following.inputs]);
    expect([...same.targets!]).to.deep.equal([...following.targets!]);
    expect(() => imageSource(network, images.folder, { batchSize: 64, seed: 3 })).to.throw(
      RangeError,
      'imageSource: expected an integer from 1 to 27, the number of images in the folder, for batchSize, received 64',
    );
  });

  it('refuses what needs the whole set in memory', async () => {
    for (const [more, message] of [
      [{ 'full-batch': true }, /--stream and --full-batch exclude each other/],
      [{ 'fixed-batch': true }, /--stream and --fixed-batch exclude each other/],
      [{ validation: 0.2 }, /val or test/],
      [{ data: 'mnist' }, /--stream does not belong to --data mnist/],
    ] as const) {
      let caught: unknown;
      await TrainingSession.start({ ...settings(), ...more }, join(folder.path(), 'none')).catch((error: unknown) => {
        caught = error;
      });
      expect((caught as Error).message).to.match(message);
    }
  });

  it('trains on photographs', async function () {
    if (!existsSync(photos)) {
      console.warn('      no photographs found: skipped');
      return this.skip();
    }
    const path = join(folder.path(), 'photos');
    const session = await TrainingSession.start(
      { ...settings(), 'data-dir': photos, 'image-size': 8, 'batch-size': 4, steps: 4 },
      path,
    );
    const { source, problem } = session.experiment;
    expect(source.samples).to.equal(8);
    expect(problem.train.classes).to.have.length(7);
    const events = await runSession(session);
    expect((events[events.length - 1] as EndRecord).step).to.equal(4);
    expect(problem.stream?.folder.broken).to.deep.equal([]);
  });
});
