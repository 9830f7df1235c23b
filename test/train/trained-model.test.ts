import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { loadDataset, Random, TrainedModel, TrainingSession, type EndRecord } from '../../ts/index.js';
import { runSession, small, temporaryFolder } from './helpers.js';

describe('trained model', () => {
  const folder = temporaryFolder();
  const at = (name: string): string => join(folder.path(), name);
  const endOf = async (settings: Record<string, unknown>, name: string): Promise<EndRecord> => {
    const events = await runSession(await TrainingSession.start(settings, at(name)));
    return events[events.length - 1] as EndRecord;
  };

  it('predicts rows of a table in its own units: the errors are those of the run', async () => {
    const random = new Random(4);
    const rows = Array.from({ length: 50 }, () => {
      const [area, year] = [100 * random.uniform() + 20, 1950 + 70 * random.uniform()];
      return [area, year, 2000 * area + 50 * (year - 1950) + 300 * random.normal()];
    });
    writeFileSync(at('homes.csv'), `area,year,price\n${rows.map((row) => row.join(',')).join('\n')}\n`);
    const network = { 'num-layers': 2, 'hidden-dim': 4, seed: 1 };
    const end = await endOf({ data: 'csv', file: at('homes.csv'), ...network, steps: 10 }, 'homes');
    const model = TrainedModel.open(at('homes'));
    expect(model.step).to.equal(10);
    expect(model.classes).to.equal(null);
    expect(model.featureNames).to.deep.equal(['area', 'year']);
    const predicted = model.predict(Float64Array.from(rows.flatMap(([area, year]) => [area, year])));
    const squares = rows.reduce((sum, [, , price], n) => sum + (price - predicted[n]) ** 2, 0);
    // Prices are near 10^5: undoing the standardisation rounds at 1e-11, and the mean of squares is a sum of 50.
    expect(Math.sqrt(squares / 50)).to.be.closeTo(end.sets.train.rmse, 1e-9 * end.sets.train.rmse);
    expect(end.sets.train.rmse).to.be.below(5000); // against a deviation of about 60,000: it has learned something
    expect(() => model.classify(new Float64Array(2))).to.throw(RangeError, /a classifier/);
    for (const [inputs, error] of [
      [[1, 2], TypeError],
      [new Float64Array(3), RangeError],
      [Float64Array.of(1, NaN), RangeError],
    ] as const)
      expect(() => model.predict(inputs as Float64Array)).to.throw(error);
  });

  it('classifies: the accuracy is that of the run', async () => {
    const end = await endOf({ ...small, steps: 12 }, 'spirals');
    const model = TrainedModel.open(join(at('spirals'), 'checkpoints', 'latest.checkpoint'));
    const { train } = await loadDataset({ data: 'spirals', points: 60, seed: 3 });
    const classes = model.classify(train.inputs);
    const right = classes.reduce((sum, k, n) => sum + Number(k === train.labels![n]), 0);
    expect(right / 60).to.be.closeTo(end.sets.train.accuracy, 1e-15);
    expect(model.classes).to.deep.equal(train.classes);
    expect(model.standardisation).to.equal(null);
  });

  it('names a folder without a checkpoint', () => {
    expect(() => TrainedModel.open(at('nowhere'))).to.throw(/nowhere/);
  });
});
