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
    expect(() => model.predictRows([{ x: 1 }])).to.throw(/trained on 'spirals', not on a table/);
  });

  it('predicts rows by column name, texts and gaps included: the figures are those of the run', async () => {
    const random = new Random(9);
    const rows = Array.from({ length: 60 }, (_, n) => {
      const size = n % 10 === 3 ? null : random.normal();
      const colour = n % 12 === 5 ? null : ['red', 'green', 'yes'][n % 3];
      return {
        size,
        colour,
        code: String(n % 2),
        out: (size ?? 0) + (colour === 'red' ? 2 : 0) + 0.1 * random.normal(),
      };
    });
    const lines = rows.map(({ size, colour, code, out }) => `${size ?? ''},${colour ?? 'NA'},${code},${out}`);
    writeFileSync(at('rows.csv'), `size,colour,code,out\n${lines.join('\n')}\n`);
    const settings = { data: 'csv', file: at('rows.csv'), missing: 'mean', categorical: 'code', steps: 10 };
    const end = await endOf({ ...settings, 'num-layers': 2, 'hidden-dim': 4, seed: 1 }, 'rows');
    const model = TrainedModel.open(at('rows'));
    expect(model.valueNames).to.deep.equal(['out']);
    expect(model.table?.inputs.map(({ categories }) => categories)).to.deep.equal([
      null,
      ['green', 'red', 'yes'],
      ['0', '1'],
    ]);
    const predicted = model.predictRows(rows);
    const squares = rows.reduce((sum, { out }, n) => sum + (out - predicted[n].values.out) ** 2, 0);
    // Sixty squares of numbers of size one, in other units than those of the evaluation.
    expect(Math.sqrt(squares / 60)).to.be.closeTo(end.sets.train.rmse, 1e-13);
    expect(predicted[0]).to.include({ class: null, probability: null });
    expect(model.predictRows([])).to.deep.equal([]);
    const row = { size: 1, colour: 'red', code: 1 };
    const one = model.predictRows([row]);
    expect(model.predictRows([{ more: 'x', code: '1', colour: ' red ', size: '1.0' }])).to.deep.equal(one);
    expect(model.predictRows([{ ...row, size: NaN }])).to.deep.equal(model.predictRows([{ ...row, size: undefined }]));
    const bad = (change: object, message: RegExp, error: typeof RangeError | typeof TypeError = RangeError): void => {
      expect(() => model.predictRows([row, { ...row, ...change }])).to.throw(error, message);
    };
    bad(
      { colour: 'blue' },
      /one of the categories trained on \(green, red, yes\) for rows\[1\]\['colour'\], received "blue"/,
    );
    bad({ colour: true }, /rows\[1\]\['colour'\], received true/);
    bad({ size: 'big' }, /a number for rows\[1\]\['size'\], received "big"/);
    bad({ size: Infinity }, /a number for rows\[1\]\['size'\], received Infinity/);
    bad({ size: {} }, /a text or a number for rows\[1\]\['size'\]/, TypeError);
    bad({ size: () => 1 }, /a text or a number/, TypeError);
    expect(() => model.predictRows([{ size: 1, code: 0 }])).to.throw(
      RangeError,
      /rows\[0\]\['colour'\], received undefined/,
    );
    // What objects inherit is no cell.
    expect(() => model.predictRows([Object.create(row) as typeof row])).to.throw(RangeError, /rows\[0\]\['size'\]/);
    expect(() => model.predictRows([null as never])).to.throw(TypeError, /rows\[0\]/);
    expect(() => model.predictRows(row as never)).to.throw(TypeError, /an array of objects/);
    expect(() => model.predictRows([{ ...row, size: null }], { missing: 'error' })).to.throw(RangeError, /an?.* value/);
    expect(() => model.predictRows([row], { missing: 'drop' as never })).to.throw(RangeError, /missing/);
    expect(() => model.predictRows([row], { gaps: 1 } as never)).to.throw(RangeError, /gaps/);
  });

  it('names a folder without a checkpoint', () => {
    expect(() => TrainedModel.open(at('nowhere'))).to.throw(/nowhere/);
  });
});
