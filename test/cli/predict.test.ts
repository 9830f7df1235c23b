import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { parse } from 'csv-parse/sync';
import sharp from 'sharp';
import { readCsv } from '../../ts/data/csv.js';
import { writeNpy } from '../../ts/data/npy.js';
import { writeNpz } from '../../ts/data/npz.js';
import { Random } from '../../ts/random.js';
import { readCheckpoint, writeCheckpoint } from '../../ts/train/checkpoint.js';
import { readMetrics } from '../../ts/train/run-folder.js';
import { TrainedModel } from '../../ts/train/trained-model.js';
import type { EndRecord } from '../../ts/train/trainer.js';
import { sharedPath } from '../data/helpers.js';
import { temporaryFolder } from '../train/helpers.js';
import { commandLine, jsonLines, type Outcome } from './helpers.js';

const small = ['--num-layers', '3', '--hidden-dim', '6', '--steps', '8', '--quiet'];
const rowsOf = (csv: string): string[][] =>
  csv
    .trimEnd()
    .split('\n')
    .map((line) => line.split(','));

describe('deep-hessian predict', () => {
  const folder = temporaryFolder();
  const at = (name: string): string => join(folder.path(), name);
  const put = (name: string, text: string): string => {
    writeFileSync(at(name), text);
    return at(name);
  };
  const train = async (name: string, ...args: string[]): Promise<EndRecord['sets']> => {
    const { code, err } = await commandLine('train', ...args, ...small, '--out', at(name));
    expect(code, err).to.equal(0);
    const records = readMetrics(join(at(name), 'metrics.jsonl'));
    return (records[records.length - 1] as EndRecord).sets;
  };
  const predict = (run: string, ...args: string[]): Promise<Outcome> => commandLine('predict', at(run), ...args);
  /** The last record of --json. */
  const end = async (run: string, ...args: string[]): Promise<Record<string, unknown>> => {
    const { code, out, err } = await predict(run, ...args, '--json');
    expect(code, err).to.equal(0);
    const records = jsonLines(out);
    return records[records.length - 1];
  };
  /** An error, with nothing on standard output but perhaps a header. */
  const refused = async (code: number, message: RegExp, run: string, ...args: string[]): Promise<void> => {
    const outcome = await predict(run, ...args);
    expect(outcome.err).to.match(message);
    expect(outcome.code).to.equal(code);
  };

  /** Homes with a text column and gaps, more rows than an evaluation takes at a time, each row unlike the others. */
  const homes = (): string => {
    const random = new Random(7);
    const rows = Array.from({ length: 1500 }, (_, n) => {
      const kind = n % 3;
      const area = 20 + 100 * random.uniform();
      const price = 1000 * (2 + kind) * area + 500 * random.normal();
      const text = [area, ['flat', 'house', 'old barn'][kind]];
      if (n % 50 === 7) text[n % 2] = 'NA';
      return [n, ...text, price].join(',');
    });
    return `id,area,kind,price\n${rows.join('\n')}\n`;
  };

  describe('on tables', () => {
    let sets: EndRecord['sets'];
    before(async () => {
      put('homes.csv', homes());
      sets = await train('homes', '--data', 'csv', '--file', at('homes.csv'), '--exclude', 'id', '--missing', 'mean');
    });

    it("gives the figures of the run's last evaluation, bit for bit, on the data trained on", async () => {
      const { figures, rows, evaluated, left } = await end('homes', '--file', at('homes.csv'));
      expect(figures).to.deep.equal(sets.train);
      expect([rows, evaluated, left]).to.deep.equal([1500, 1500, 0]);
      const { out, err } = await predict('homes', '--file', at('homes.csv'), '--keep', 'id,price');
      const [header, ...lines] = rowsOf(out);
      expect(header).to.deep.equal(['id', 'price', 'price (predicted)']);
      expect(lines.map(([id]) => Number(id))).to.deep.equal(Array.from({ length: 1500 }, (_, n) => n));
      const squares = lines.reduce((sum, [, price, predicted]) => sum + (Number(price) - Number(predicted)) ** 2, 0);
      // Prices are near 10^5, in other units than those of the evaluation: rounding of some 1e-16 a row.
      expect(Math.sqrt(squares / 1500)).to.be.closeTo(sets.train.rmse, 1e-10 * sets.train.rmse);
      expect(sets.train.rmse).to.be.below(60000); // the deviation of the prices is about 95,000
      const prices = lines.map(([, price]) => Number(price));
      const mean = prices.reduce((sum, price) => sum + price / 1500, 0);
      const spread = prices.reduce((sum, price) => sum + (price - mean) ** 2, 0);
      expect(sets.train.r2).to.be.closeTo(1 - squares / spread, 1e-12);
      expect(err).to.match(/^homes\.csv: 1,500 rows; loss [\d.e-]+, rmse [\d.]+, r2 0\.[\d]+\n$/);
    });

    it('finds columns by name, in any order, without targets, among others; in a .tsv, quoted, gzipped or not', async () => {
      const header = 'note\tkind\tid\tarea';
      const file = put('new.tsv', `${header}\n"a\tb"\told barn\t1\t50\nx\tflat\t2\t70.5\n`);
      const { out, err, code } = await predict('homes', '--file', file, '--delimiter', 'tab');
      expect(code, err).to.equal(0);
      expect(err).to.equal('columns passed over: note, id\nnew.tsv: 2 rows\n');
      const model = TrainedModel.open(at('homes'));
      const wanted = model.predictRows([
        { kind: 'old barn', area: 50 },
        { area: '70.5', kind: 'flat' },
      ]);
      expect(out).to.equal(`price\n${wanted.map(({ values }) => `${values.price}\n`).join('')}`);
      // The same rows in the units of the network: one input a category, in the order of featureNames.
      expect(model.featureNames).to.deep.equal(['area', 'kind=flat', 'kind=house', 'kind=old barn']);
      const direct = model.predict(Float64Array.of(50, 0, 0, 1, 70.5, 1, 0, 0));
      expect(wanted.map(({ values }) => values.price)).to.deep.equal([...direct]);
    });

    it('evaluates the rows that have a target, and none if so asked', async () => {
      const lines = homes().split('\n').slice(0, 31);
      const blank = lines.map((line, n) => (n > 0 && n % 3 === 0 ? line.replace(/,[^,]*$/, ',') : line));
      const some = await end('homes', '--file', put('some.csv', blank.join('\n')));
      const kept = await end(
        'homes',
        '--file',
        put('kept.csv', lines.filter((_, n) => n === 0 || n % 3 > 0).join('\n')),
      );
      expect([some.rows, some.evaluated, some.left]).to.deep.equal([30, 20, 0]);
      // Products of 30 rows and of 20 may round differently.
      const [has, wanted] = [some.figures, kept.figures] as Record<string, number>[];
      for (const name of ['loss', 'rmse']) expect(has[name], name).to.be.closeTo(wanted[name], 1e-12 * wanted[name]);
      const none = await end('homes', '--file', put('odd.csv', 'area,kind,price\n50,flat,ask\n'), '--no-evaluate');
      expect(none).to.deep.equal({ type: 'end', rows: 1, left: 0, evaluated: 0, figures: null });
      await refused(
        1,
        /odd\.csv, line 2, column 3 \('price'\): expected a number, found "ask"/,
        'homes',
        '--file',
        at('odd.csv'),
      );
    });

    it('names row and column of what it cannot take, or leaves the row out in its place', async () => {
      const file = put(
        'bad.csv',
        'kind,area\nflat,50\ncastle,50\nflat,wide\nflat,1e999\nflat\n=cmd(),5\n__proto__,5\nhouse,\nflat,60\n',
      );
      await refused(
        1,
        /bad\.csv, line 3, column 1 \('kind'\): .*flat, house, old barn.* found "castle"/,
        'homes',
        '--file',
        file,
      );
      const { out, err, code } = await predict('homes', '--file', file, '--broken', 'skip', '--missing', 'drop');
      expect(code).to.equal(0);
      const lines = rowsOf(out);
      expect(lines.length).to.equal(10);
      expect(lines.map(([cell]) => cell === 'NA')).to.deep.equal([
        false,
        false,
        true,
        true,
        true,
        true,
        true,
        true,
        true,
        false,
      ]);
      expect(err).to.match(/line 4, column 2 \('area'\): expected a number, found "wide"/);
      expect(err).to.match(/line 5, column 2 \('area'\): expected a finite number, found "1e999"/);
      expect(err).to.match(/line 6: expected 2 columns, found 1/);
      expect(err).to.match(/line 8, column 1 \('kind'\)/);
      expect(err).to.match(/line 9: 'area' is empty/);
      expect(err).to.match(/bad\.csv: 9 rows, 7 left out\n$/);
      // The rows beside them are what they are alone.
      const alone = await predict('homes', '--file', put('good.csv', 'area,kind\n50,flat\n60,flat\n'));
      expect(rowsOf(alone.out).slice(1)).to.deep.equal([lines[1], lines[9]]);
      const records = jsonLines((await predict('homes', '--file', file, '--broken', 'skip', '--json')).out);
      expect(records[1]).to.include({ type: 'prediction', row: 1 });
      expect(records[1].left).to.match(/line 3.*castle/);
      // Without --missing a gap is filled, as in training.
      expect(records[7]).to.have.property('values');
      expect(records[9]).to.include({ type: 'end', rows: 9, left: 6 });
    });

    it('refuses files that lack columns or content, and options that do not belong together', async () => {
      const missing = put('missing.csv', 'id,kind\n1,flat\n');
      await refused(1, /missing\.csv, line 1: expected the column 'area', found id, kind/, 'homes', '--file', missing);
      await refused(
        1,
        /one column 'kind', found more than one/,
        'homes',
        '--file',
        put('twice.csv', 'kind,area,kind\na,1,b\n'),
      );
      await refused(
        1,
        /the columns 'area', 'kind', found area;kind \(--delimiter/,
        'homes',
        '--file',
        put('semi.csv', 'area;kind\n1;flat\n'),
      );
      await refused(1, /at least one record, found none/, 'homes', '--file', put('empty.csv', ''));
      await refused(
        1,
        /text in UTF-8/,
        'homes',
        '--file',
        (writeFileSync(at('bytes.csv'), Buffer.from([0xff, 0xfe, 0x00])), at('bytes.csv')),
      );
      await refused(1, /nowhere\.csv/, 'homes', '--file', at('nowhere.csv'));
      await refused(2, /either --file or --data-dir, received neither/, 'homes');
      await refused(2, /either --file or --data-dir, received both/, 'homes', '--file', missing, '--data-dir', at(''));
      await refused(2, /no folder of data/, 'homes', '--data-dir', at(''));
      await refused(2, /one --file .*received 2/, 'homes', '--file', missing, '--file', missing);
      await refused(2, /--probabilities belongs to classes/, 'homes', '--file', at('homes.csv'), '--probabilities');
      await refused(
        2,
        /--targets-file does not belong to a table/,
        'homes',
        '--file',
        missing,
        '--targets-file',
        'x.npy',
      );
      await refused(
        2,
        /columns among area, kind for keep/,
        'homes',
        '--file',
        put('ok.csv', 'area,kind\n1,flat\n'),
        '--keep',
        'id',
      );
      await refused(2, /Allowed choices/, 'homes', '--file', missing, '--missing', 'zero');
      expect((await predict('homes', '--file', put('none.csv', 'kind,area\n'))).out).to.equal('price\n');
    });

    it('writes the file as a whole or not at all, and never over another one', async () => {
      const out = at('predictions.csv');
      const { code, out: text } = await predict('homes', '--file', at('homes.csv'), '--out', out);
      expect(code).to.equal(0);
      expect(text).to.equal('');
      const written = readFileSync(out, 'utf8');
      expect(written).to.equal((await predict('homes', '--file', at('homes.csv'))).out);
      await refused(1, /predictions\.csv: the file is there already/, 'homes', '--file', at('homes.csv'), '--out', out);
      expect(readFileSync(out, 'utf8')).to.equal(written);
      await refused(1, /castle/, 'homes', '--file', at('bad.csv'), '--out', at('half.csv'));
      expect(existsSync(at('half.csv'))).to.equal(false);
      expect(readdirSync(folder.path()).filter((name) => name.includes('partial'))).to.deep.equal([]);
    });

    it('gives the share of the variance that is explained for each of several targets, where they differ', async () => {
      const rows = Array.from({ length: 40 }, (_, n) => [n, (n * 7) % 11, 3 * n, (n * n) % 13]);
      const text = (cells: number[][]): string => `a,b,up,down\n${cells.map((row) => row.join(',')).join('\n')}\n`;
      const file = put('two-targets.csv', text(rows));
      const sets2 = await train('two-targets', '--data', 'csv', '--file', file, '--targets', 'up,down');
      const { figures, r2 } = (await end('two-targets', '--file', file)) as Record<string, Record<string, number>>;
      expect(figures).to.deep.equal(sets2.train);
      expect(Object.keys(r2)).to.deep.equal(['up', 'down']);
      expect(figures.r2).to.be.closeTo((r2.up + r2.down) / 2, 1e-15);
      const flat = put('flat.csv', text(rows.map(([a, b, up]) => [a, b, up, 4.7])));
      const { err } = await predict('two-targets', '--file', flat);
      expect(err).to.match(/^flat\.csv: 40 rows; loss \S+, rmse \S+, r2 (\S+) \(up \1, down -\)\n$/);
      const one = await end('two-targets', '--file', put('one-row.csv', text(rows.slice(0, 1))));
      expect(one.figures).to.have.keys('loss', 'rmse');
      expect(one.r2).to.deep.equal({ up: null, down: null });
    });

    it('writes titles, keys and classes that hold whatever a cell can hold, as RFC 4180 says', async () => {
      const hostile = [
        'a,b',
        'say "no"',
        '"',
        '""',
        'two\nlines',
        'cr\ralone',
        ' padded ',
        '\ttab',
        'x;y|z',
        "=cmd|' /C'!A0",
        'é\u2028ü',
      ];
      // Quotes by another hand: every cell, always.
      const quoted = (rows: (string | number)[][]): string =>
        rows.map((row) => row.map((cell) => `"${String(cell).replaceAll('"', '""')}"`).join(',')).join('\r\n');
      const random = new Random(21);
      const rows = hostile.flatMap((kind, k) => [0, 1, 2].map(() => [kind, k + 0.1 * random.normal()]));
      const [key, value, target] = ['key,\n"of" row', 'va"l\nue', 'kin,d "of"\nthing'];
      const file = put('hostile.csv', quoted([[key, value, target], ...rows.map(([kind, x]) => [kind, x, kind])]));
      const named = ['--delimiter', 'comma', '--header', 'yes', '--inputs', '1', '--targets', '2'];
      await train('hostile', '--data', 'csv', '--file', file, ...named);
      const { classes } = TrainedModel.open(at('hostile'));
      expect(classes).to.have.members(hostile);
      const { out, err, code } = await predict('hostile', '--file', file, '--keep', '0,2', '--probabilities');
      expect(code, err).to.equal(0);
      const read = parse(out, { record_delimiter: '\n' });
      const titles = [key, target, 'class', 'probability', ...classes!.map((name) => `probability=${name}`)];
      expect(read[0]).to.deep.equal(titles);
      expect(read.slice(1).map(([kept, truth]) => [kept, truth])).to.deep.equal(rows.map(([kind]) => [kind, kind]));
      const predicted = jsonLines((await predict('hostile', '--file', file, '--json')).out).slice(0, -1);
      expect(read.slice(1).map((cells) => cells[2])).to.deep.equal(predicted.map((record) => record.class));
      // More than one class: otherwise the last line would say little.
      expect(new Set(predicted.map((record) => record.class)).size).to.be.above(2);
      // The reader takes it as it was.
      const again = await readCsv(put('again.csv', out), { header: true, inputs: [3], targets: [1] });
      expect(again.dataset.classes).to.deep.equal(classes);
    });

    it('gives no title twice, whatever is kept', async () => {
      const twice = put('again-predicted.csv', 'area,kind,price,price (predicted)\n50,flat,1,2\n');
      const { out } = await predict('homes', '--file', twice, '--keep', 'price,price (predicted)', '--no-evaluate');
      expect(rowsOf(out)[0]).to.deep.equal(['price', 'price (predicted)', 'price (predicted) (predicted)']);
    });

    it('says what an older checkpoint lacks', async () => {
      const checkpoint = readCheckpoint(join(at('homes'), 'checkpoints', 'latest.checkpoint'));
      const { schema: _, ...extra } = checkpoint.extra as Record<string, unknown>;
      await writeCheckpoint(at('old.checkpoint'), { ...checkpoint, extra });
      await refused(1, /does not hold how its table was read.*--resume/, 'old.checkpoint', '--file', at('homes.csv'));
      await writeCheckpoint(at('odd.checkpoint'), { ...checkpoint, extra: { ...extra, schema: { inputs: 3 } } });
      await refused(1, /odd\.checkpoint: .*schema\.inputs/, 'odd.checkpoint', '--file', at('homes.csv'));
      // Rows as arrays need no names.
      await writeNpy(at('rows.npy'), Float64Array.of(50, 0, 0, 1), [1, 4]);
      const [, [price]] = rowsOf((await predict('old.checkpoint', '--file', at('rows.npy'))).out);
      expect(Number(price)).to.equal(TrainedModel.open(at('homes')).predict(Float64Array.of(50, 0, 0, 1))[0]);
    });
  });

  describe('on classes', () => {
    const points = (names: readonly string[], count: number, seed: number): string => {
      const random = new Random(seed);
      const rows = Array.from({ length: count }, (_, n) => {
        const k = n % names.length;
        return `${Math.cos(2 * k) + 0.5 * random.normal()},${Math.sin(2 * k) + 0.5 * random.normal()},"${names[k].replaceAll('"', '""')}"`;
      });
      return `x,y,kind\n${rows.join('\n')}\n`;
    };

    it('gives class and probabilities, with names as they are, and the accuracy of training and test set', async () => {
      const names = ['a "quoted", one', 'b', '__proto__'];
      put('train.csv', points(names, 90, 1));
      put('test.csv', points(names, 60, 2));
      const data = ['--data', 'csv', '--file', at('train.csv'), '--test-file', at('test.csv')];
      const sets = await train('kinds', ...data);
      for (const set of ['train', 'test']) {
        expect((await end('kinds', '--file', at(`${set}.csv`))).figures, set).to.deep.equal(sets[set]);
      }
      const model = TrainedModel.open(at('kinds'));
      expect(model.classes).to.deep.equal(['__proto__', 'a "quoted", one', 'b']);
      const { out } = await predict('kinds', '--file', put('p.csv', 'y,x\n0,1\n'), '--probabilities');
      const [line] = model.predictRows([{ x: 1, y: 0 }]);
      const p = Object.values(line.values);
      expect(p.reduce((sum, value) => sum + value)).to.be.closeTo(1, 1e-15);
      // Softmax written out another way.
      const z = model.predict(Float64Array.of(1, 0));
      for (const [k, value] of p.entries()) {
        expect(value).to.be.closeTo(1 / z.reduce((sum, other) => sum + Math.exp(other - z[k]), 0), 1e-14);
      }
      expect(out).to.equal(
        'class,probability,probability=__proto__,"probability=a ""quoted"", one",probability=b\n' +
          `"a ""quoted"", one",${p[1]},${p.join(',')}\n`,
      );
      const [record] = jsonLines((await predict('kinds', '--file', at('p.csv'), '--probabilities', '--json')).out);
      expect(record).to.deep.include({ class: 'a "quoted", one', probability: p[1] });
      expect(Object.keys(record.values as object)).to.deep.equal(model.classes);
    });

    it('knows one output for two classes, and outputs that are no probabilities', async () => {
      put('two.csv', points(['no', 'yes'], 40, 3));
      for (const loss of ['binary-cross-entropy', 'mse']) {
        const sets = await train(loss, '--data', 'csv', '--file', at('two.csv'), '--loss', loss);
        expect((await end(loss, '--file', at('two.csv'))).figures, loss).to.deep.equal(sets.train);
        const { out } = await predict(loss, '--file', at('two.csv'), '--probabilities');
        const word = loss === 'mse' ? 'output' : 'probability';
        const [header, ...lines] = rowsOf(out);
        expect(header).to.deep.equal(['class', word, `${word}=no`, `${word}=yes`]);
        for (const [kind, chosen, no, yes] of lines) {
          expect(Number(chosen)).to.equal(Math.max(Number(no), Number(yes)));
          expect(kind).to.equal(Number(no) > Number(yes) ? 'no' : 'yes');
        }
      }
    });

    it('takes a table without a header by its places, without the targets too', async () => {
      const text = points(['u', 'v'], 30, 4).split('\n').slice(1).join('\n');
      put('bare.csv', text);
      const sets = await train('bare', '--data', 'csv', '--file', at('bare.csv'));
      expect((await end('bare', '--file', at('bare.csv'))).figures).to.deep.equal(sets.train);
      const short = put('short.csv', text.replace(/,"[uv]"/g, ''));
      const without = await predict('bare', '--file', short);
      expect(without.out).to.equal((await predict('bare', '--file', at('bare.csv'))).out);
      await refused(
        1,
        /expected 3 columns, or 2 without the targets \(there is no header\), found 1/,
        'bare',
        '--file',
        put('one.csv', '1\n'),
      );
    });
  });

  it('gives the deviations of Bayesian linear regression for a network of one layer', async () => {
    const random = new Random(8);
    const N = 40;
    const rows = Array.from({ length: N }, () => {
      const x = random.normal();
      return [x, 3 * x - 1 + 0.5 * random.normal()];
    });
    put('line.csv', `x,y\n${rows.map((row) => row.join(',')).join('\n')}\n`);
    const data = ['--data', 'csv', '--file', at('line.csv'), '--l2', '0.01', '--num-layers', '1', '--steps', '20'];
    const fit = async (run: string, standardise: string): Promise<string[][]> => {
      const { code, err } = await commandLine(
        ...['train', ...data, '--standardise', standardise, '--quiet', '--out', at(run)],
      );
      expect(code, err).to.equal(0);
      const outcome = await predict(run, '--file', put('x.csv', 'x\n-2\n0.5\n30\n'), '--uncertainty');
      expect(outcome.err).to.match(
        /^uncertainty: .* all 40 training samples.*; its factor takes some [\d.]+\w+ and [\d.e-]+ MiB\n/,
      );
      return rowsOf(outcome.out);
    };
    const [header, ...lines] = await fit('line', 'none');
    expect(header).to.deep.equal(['y', 'y (deviation)']);
    // Mean squared error + l2/2 |w|^2 for y = w x + b: Lambda = A / v + alpha I with A = sum (x, 1)(x, 1)^T, alpha = N l2 / (2 v).
    const { params } = TrainedModel.open(at('line'));
    const sum = (f: (x: number, y: number) => number): number => rows.reduce((total, [x, y]) => total + f(x, y), 0);
    const v = sum((x, y) => (params[0] * x + params[1] - y) ** 2) / N;
    const alpha = (N * 0.01) / (2 * v);
    const [a, b, d] = [sum((x) => x * x) / v + alpha, sum((x) => x) / v, N / v + alpha];
    for (const [n, x] of [-2, 0.5, 30].entries()) {
      const variance = v + (x * (d * x - b) + (a - b * x)) / (a * d - b * b);
      // The factor's solves are refined to 1e-10.
      expect(Number(lines[n][1])).to.be.closeTo(Math.sqrt(variance), 1e-9 * Math.sqrt(variance));
      expect(Number(lines[n][0])).to.be.closeTo(params[0] * x + params[1], 1e-12 * Math.abs(x));
    }
    // In other units inside, and under another prior: the noise is 0.5, told from 40 rows to within some 11 %.
    const [, [, deviation]] = await fit('scaled', 'all');
    expect(Number(deviation)).to.be.within(0.35, 0.65);
    const [record] = jsonLines((await predict('scaled', '--file', at('x.csv'), '--uncertainty', '--json')).out);
    expect(record.deviations).to.deep.equal({ y: Number(deviation) });
  });

  it('goes through deviations in pieces, each row in its place, and shows how far it is', async () => {
    const random = new Random(11);
    const x = Float64Array.from({ length: 150 }, () => random.normal());
    await writeNpz(at('wave.npz'), {
      x: { data: x, shape: [150, 1] },
      y: { data: x.map((value) => Math.sin(2 * value) + 0.1 * random.normal()), shape: [150] },
    });
    put('wave.csv', `x,y\n${[...x].map((value) => `${value},${Math.sin(2 * value)}`).join('\n')}\n`);
    const settings = ['--l2', '1e-3', '--validation', '0'];
    await train('wave-npz', '--data', 'npy', '--file', at('wave.npz'), ...settings);
    await train('wave-csv', '--data', 'csv', '--file', at('wave.csv'), '--missing', 'drop', ...settings);
    const given = [...x].map((value, n) => (n % 30 === 5 ? '' : String(value)));
    const deviations = async (cells: readonly string[]): Promise<string[][]> => {
      const file = put('given.csv', `x,note\n${cells.map((cell) => `${cell},n\n`).join('')}`);
      const { out, err, code } = await predict('wave-csv', '--file', file, '--uncertainty', '--keep', 'x', '--quiet');
      expect(code, err).to.equal(0);
      return rowsOf(out).slice(1);
    };
    const there = await deviations(given);
    const back = (await deviations([...given].reverse())).reverse();
    expect(there.map(([cell]) => cell)).to.deep.equal(given);
    for (const [n, [cell, value, deviation]] of there.entries()) {
      expect(back[n].slice(0, 2)).to.deep.equal([cell, value]);
      if (cell === '') expect([value, deviation, ...back[n]]).to.deep.equal(['NA', 'NA', '', 'NA', 'NA']);
      // Of solves refined to 1e-10, here beside other columns.
      else expect(Number(back[n][2])).to.be.closeTo(Number(deviation), 1e-8 * Number(deviation));
    }
    // With a line due at every look.
    const now = performance.now.bind(performance);
    let ahead = 0;
    performance.now = () => now() + (ahead += 5000);
    try {
      const lines = async (run: string, file: string): Promise<string[]> =>
        (await predict(run, '--file', at(file), '--uncertainty', '--out', at(`${file}.out`))).err
          .split('\n')
          .slice(1, -1);
      const [first, second, last, end] = await lines('wave-npz', 'wave.npz');
      expect(first).to.match(/^predict 43% \| 64 of 150 rows, [\d.]+ a second, [\d.ms]+ left$/);
      expect(second).to.match(/^predict 85% \| 128 of 150 rows, [\d.]+ a second, [\d.ms]+ left$/);
      expect(last).to.match(/^predict 100% \| 150 of 150 rows, [\d.]+ a second, 0\.0s left$/);
      expect(end).to.match(/^wave\.npz: 150 rows; loss/);
      const table = await lines('wave-csv', 'wave.csv');
      expect(table[0]).to.match(/^predict \| 64 rows, [\d.]+ a second$/);
      expect(table).to.have.length(4);
    } finally {
      performance.now = now;
    }
  });

  it('averages the probabilities of classes over what the data leave open', async () => {
    const random = new Random(9);
    const rows = Array.from({ length: 60 }, (_, n) => [(n % 2) + random.normal(), random.normal(), n % 2 ? 'b' : 'a']);
    put('blur.csv', `x,y,kind\n${rows.map((row) => row.join(',')).join('\n')}\n`);
    put('far.csv', 'x,y\n0.5,0\n9,9\n-9,4\n');
    for (const loss of ['cross-entropy', 'binary-cross-entropy']) {
      await train(`sure-${loss}`, '--data', 'csv', '--file', at('blur.csv'), '--loss', loss, '--l2', '1e-2');
      const run = [`sure-${loss}`, '--file', at('far.csv'), '--probabilities'] as const;
      const plain = rowsOf((await predict(...run)).out).slice(1);
      const averaged = rowsOf((await predict(...run, '--uncertainty')).out).slice(1);
      for (const [n, [kind, p, none, one]] of averaged.entries()) {
        expect(kind).to.equal(plain[n][0]);
        expect(Number(none) + Number(one)).to.be.closeTo(1, 1e-15);
        expect(Number(p)).to.equal(Math.max(Number(none), Number(one)));
        // Nearer to one half, and strictly so.
        expect(Number(p)).to.be.within(0.5, Number(plain[n][1]) - 1e-6);
      }
    }
    await train('least', '--data', 'csv', '--file', at('blur.csv'), '--loss', 'mse', '--l2', '1e-2');
    await refused(2, /--uncertainty belongs to values/, 'least', '--file', at('far.csv'), '--uncertainty');
    await train('bare-l2', '--data', 'csv', '--file', at('blur.csv'));
    await refused(
      2,
      /--uncertainty takes a network trained with --l2/,
      'bare-l2',
      '--file',
      at('far.csv'),
      '--uncertainty',
    );
  });

  it('takes arrays: the test part of an archive where there is one, inputs alone, a folder', async () => {
    const random = new Random(5);
    const x = Float64Array.from({ length: 40 }, () => random.normal());
    const y = Int32Array.from({ length: 20 }, (_, n) => Number(x[2 * n] > x[2 * n + 1]));
    const [first, last] = [x.slice(0, 24), x.slice(24)];
    await writeNpz(at('d.npz'), {
      x_train: { data: first, shape: [12, 2] },
      y_train: { data: y.slice(0, 12), shape: [12] },
      x_test: { data: last, shape: [8, 2] },
      y_test: { data: y.slice(12), shape: [8] },
    });
    const sets = await train('arrays', '--data', 'npy', '--file', at('d.npz'));
    expect((await end('arrays', '--file', at('d.npz'))).figures).to.deep.equal(sets.test);
    expect((await end('arrays', '--file', at('d.npz'), '--set', 'train')).figures).to.deep.equal(sets.train);
    await writeNpy(at('x.npy'), last, [8, 2]);
    await writeNpy(at('y.npy'), y.slice(12), [8]);
    expect((await end('arrays', '--file', at('x.npy'))).figures).to.equal(null);
    expect((await end('arrays', '--file', at('x.npy'), '--targets-file', at('y.npy'))).figures).to.deep.equal(
      sets.test,
    );
    mkdirSync(at('npy'));
    copyFileSync(at('x.npy'), at('npy/inputs.npy'));
    expect((await end('arrays', '--data-dir', at('npy'))).rows).to.equal(8);
    await refused(2, /no columns, received .*homes\.csv/, 'arrays', '--file', put('homes.csv', homes()));
    await writeNpy(at('wide.npy'), new Float64Array(6), [2, 3]);
    await refused(2, /rows of 2 inputs, received 3 in .*wide\.npy/, 'arrays', '--file', at('wide.npy'));
    await writeNpy(at('y.npy'), Int32Array.from([0, 1, 0, 1, 0, 1, 0, 9]), [8]);
    await refused(
      1,
      /class indices from 0 to 1 .*found 9/,
      'arrays',
      '--file',
      at('x.npy'),
      '--targets-file',
      at('y.npy'),
    );
    await refused(1, /no inputs found; looked for/, 'arrays', '--data-dir', at('arrays'));
  });

  it('decodes images as in training: a tree, a folder of classes, a folder without, single files', async () => {
    const random = new Random(6);
    const paint = async (path: string, red: number): Promise<void> => {
      const channel = (mean: number): number => Math.round(Math.min(255, Math.max(0, mean + 30 * random.normal())));
      const background = { r: channel(red), g: channel(100), b: channel(255 - red) };
      writeFileSync(
        at(path),
        await sharp({ create: { width: 9, height: 7, channels: 3, background } })
          .png()
          .toBuffer(),
      );
    };
    for (const part of ['train', 'val']) {
      for (const [name, red] of [
        ['blue', 60],
        ['red', 200],
      ] as const) {
        mkdirSync(at(`photos/${part}/${name}`), { recursive: true });
        for (let n = 0; n < 8; n++) await paint(`photos/${part}/${name}/${n}.png`, red);
      }
    }
    const data = ['--data', 'images', '--data-dir', at('photos'), '--image-size', '3', '--batch-size', '8'];
    const sets = await train('images', ...data, '--optimizer', 'adam');
    expect((await end('images', '--data-dir', at('photos'))).figures).to.deep.equal(sets.test);
    expect((await end('images', '--data-dir', at('photos'), '--set', 'train')).figures).to.deep.equal(sets.train);
    expect((await end('images', '--data-dir', at('photos/val'))).figures).to.deep.equal(sets.test);
    const known = rowsOf((await predict('images', '--data-dir', at('photos/val'))).out);
    expect(known[0]).to.deep.equal(['file', 'class', 'probability']);
    mkdirSync(at('loose'));
    copyFileSync(at('photos/val/red/3.png'), at('loose/b.png'));
    copyFileSync(at('photos/val/blue/5.png'), at('loose/a.png'));
    const [blue, red] = [known[6], known[12]];
    const agree = (line: string[], file: string, [, name, p]: string[]): void => {
      expect(line.slice(0, 2)).to.deep.equal([at(file), name]);
      // Products of 16 rows and of two may round differently.
      expect(Number(line[2])).to.be.closeTo(Number(p), 1e-12);
    };
    const loose = rowsOf((await predict('images', '--data-dir', at('loose'))).out);
    expect(loose.length).to.equal(3);
    agree(loose[1], 'loose/a.png', blue);
    agree(loose[2], 'loose/b.png', red);
    put('loose/broken.jpg', 'no image');
    const files = ['--file', at('loose/a.png'), '--file', at('loose/broken.jpg'), '--file', at('loose/b.png')];
    const three = await predict('images', ...files);
    const lines = rowsOf(three.out);
    expect(lines.length).to.equal(4);
    agree(lines[1], 'loose/a.png', blue);
    expect(lines[2]).to.deep.equal([at('loose/broken.jpg'), 'NA', 'NA']);
    agree(lines[3], 'loose/b.png', red);
    expect(three.err).to.match(/left out .*broken\.jpg/);
    await refused(1, /broken\.jpg: expected an image/, 'images', ...files, '--broken', 'fail');
    mkdirSync(at('others/green'), { recursive: true });
    await refused(1, /expected one of the classes blue, red, found 'green'/, 'images', '--data-dir', at('others'));
    await refused(2, /--missing does not belong to a folder/, 'images', '--data-dir', at('loose'), '--missing', 'drop');
    const checkpoint = readCheckpoint(join(at('images'), 'checkpoints', 'latest.checkpoint'));
    await writeCheckpoint(at('old-images.checkpoint'), {
      ...checkpoint,
      extra: { ...checkpoint.extra, channels: null },
    });
    await refused(
      1,
      /does not hold mean and deviation of the channels/,
      'old-images.checkpoint',
      '--data-dir',
      at('loose'),
    );
  });

  it('evaluates the test images of MNIST and CIFAR-10 by the figures of the training images', async function () {
    for (const data of ['mnist', 'cifar10']) {
      const dataDir = sharedPath(this, `data/${data}`);
      const size = ['--image-size', '4', '--batch-size', '500', '--optimizer', 'adam'];
      const sets = await train(data, '--data', data, '--data-dir', dataDir, ...size);
      expect((await end(data, '--data-dir', dataDir)).figures, data).to.deep.equal(sets.test);
    }
    await refused(1, /no CIFAR-10 files found/, 'cifar10', '--data-dir', sharedPath(this, 'data/mnist'));
  });

  it('takes rows of numbers for generated data', async () => {
    await train('spirals', '--points', '60');
    await writeNpy(at('s.npy'), Float64Array.of(0.1, 0.2, -0.4, 0.3), [2, 2]);
    const { out } = await predict('spirals', '--file', at('s.npy'));
    expect(out).to.match(/^class,probability\n(.+,0\.\d+\n){2}$/);
    await refused(2, /trained on 'spirals', which has no columns/, 'spirals', '--file', put('s.csv', 'x,y\n1,2\n'));
  });
});
