import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import type { InfluenceSummary } from '../../ts/analysis/influence-matrix.js';
import { readCsv } from '../../ts/data/csv.js';
import { readNpy } from '../../ts/data/npy.js';
import { Random } from '../../ts/random.js';
import { TrainingSession } from '../../ts/train/session.js';
import { runSession, temporaryFolder } from '../train/helpers.js';
import { commandLine } from './helpers.js';

const digits = '../shared/data/digits/digits.csv.gz';

describe('deep-hessian influence', function () {
  const folder = temporaryFolder();
  const run = (): string => join(folder.path(), 'run');

  before(async () => {
    const settings = { points: 60, 'num-layers': 2, 'hidden-dim': 4, l2: 0.02, validation: 0.25, steps: 40, seed: 2 };
    await runSession(await TrainingSession.start(settings, run()));
  });

  it('writes the matrix and a summary, and prints the lists', async () => {
    const out = join(folder.path(), 'influence.npy');
    const result = await commandLine(
      'influence',
      run(),
      '--out',
      out,
      '--train-limit',
      '20',
      '--test-limit',
      '6',
      '--top',
      '4',
    );
    expect(result.code).to.equal(0);
    expect(result.out)
      .to.match(/^20 x 6 influences/)
      .and.to.match(/Most suspicious/)
      .and.to.match(/Most harmful/);
    const { data, shape } = await readNpy(out);
    expect(shape).to.deep.equal([20, 6]);
    const { summary, on } = JSON.parse(readFileSync(join(folder.path(), 'influence.json'), 'utf8')) as {
      summary: InfluenceSummary;
      on: string;
    };
    expect(on).to.equal('validation');
    expect(summary.suspicious).to.have.length(4);
    summary.meanInfluence.forEach((mean, i) => {
      const row = Array.from(data.subarray(6 * i, 6 * i + 6), Number);
      expect(mean).to.be.closeTo(
        row.reduce((sum, x) => sum + x / 6, 0),
        1e-14 + 1e-12 * Math.abs(mean),
      );
    });
    const again = await commandLine('influence', run(), '--out', out);
    expect([again.code, again.out]).to.deep.equal([1, '']);
    expect(again.err).to.match(/influence\.npy: the file is there already/);
  });

  it('--json is one object; the training set can be its own test set', async () => {
    const out = join(folder.path(), 'own.csv');
    const result = await commandLine(
      'influence',
      run(),
      '--out',
      out,
      '--on',
      'train',
      '--test-limit',
      '2',
      '--eps',
      '0.1',
      '--json',
    );
    expect(result.code).to.equal(0);
    const { summary } = JSON.parse(result.out) as { summary: InfluenceSummary };
    expect([summary.rows, summary.columns, summary.damping]).to.deep.equal([45, 2, 0.1]);
    // A sample's influence on itself is its self-influence, with the other sign.
    const first = readFileSync(out, 'utf8').split('\n')[1].split(',').map(Number);
    expect(first[1]).to.be.closeTo(-summary.selfInfluence[0], 1e-9 * Math.abs(first[1]));
  });

  const misuse: [string[], RegExp, number][] = [
    [['--out', 'matrix.txt'], /\.npy or \.csv/, 2],
    [[], /required option '--out/, 2],
    [['--out', 'm.npy', '--on', 'test'], /'validation', 'train' for --on, received "test"/, 2],
    [['--out', 'm.npy', '--train-limit', '0'], /--train-limit, received "0"/, 2],
    [['--out', 'm.npy', '--eps', '-1'], />= 0 for --eps/, 2],
    [['--out', 'm.npy', '--relative', 'very'], /--relative, received "very"/, 2],
    [['--out', 'm.npy', '--data', 'friedman1'], /expected data of 2 inputs and 2 classes/, 2],
    [['--out', 'no/such/folder/m.npy'], /no\/such\/folder/, 1],
  ];
  for (const [args, message, expected] of misuse) {
    it(`${args.join(' ')} exits with ${expected}`, async () => {
      const { code, err, out } = await commandLine('influence', run(), ...args);
      expect([code, out]).to.deep.equal([expected, '']);
      expect(err).to.match(message);
      expect(existsSync('m.npy')).to.equal(false);
    });
  }

  it('names a missing checkpoint, and the sets there are', async () => {
    const missing = await commandLine('influence', 'missing', '--out', 'm.npy');
    expect(missing.code).to.equal(1);
    expect(missing.err).to.match(/missing/);
  });

  it('finds flipped labels of digits far better than chance', async function () {
    if (!existsSync(digits)) {
      console.log(`      skipped: ${digits} is not there`);
      this.skip();
    }
    const N = 200;
    const { dataset } = await readCsv(digits, { task: 'classification' });
    const random = new Random(4);
    const flipped = new Set<number>();
    while (flipped.size < N / 10) flipped.add(random.integer(N));
    const labels = (dataset.labels as Int32Array).slice(0, N);
    for (const i of flipped) labels[i] = (labels[i] + 1 + random.integer(9)) % 10;
    const table = join(folder.path(), 'digits.csv');
    const line = (n: number): string =>
      `${Array.from(dataset.inputs.subarray(64 * n, 64 * n + 64), (pixel) => pixel / 16).join(',')},${labels[n]}`;
    writeFileSync(table, `${Array.from({ length: N }, (_, n) => line(n)).join('\n')}\n`);
    const path = join(folder.path(), 'digits');
    const settings = {
      data: 'csv',
      file: table,
      task: 'classification',
      standardise: 'none',
      'num-layers': 2,
      'hidden-dim': 6,
      l2: 1e-2,
      steps: 40,
      seed: 1,
    };
    await runSession(await TrainingSession.start(settings, path));
    const result = await commandLine(
      'influence',
      path,
      '--out',
      join(folder.path(), 'digits.npy'),
      '--on',
      'train',
      '--test-limit',
      '1',
      '--top',
      String(N / 5),
      '--json',
    );
    expect(result.code).to.equal(0);
    const { summary } = JSON.parse(result.out) as { summary: InfluenceSummary };
    const found = summary.suspicious.filter(({ index }) => flipped.has(index)).length;
    // A fifth of the samples: chance finds 4 of the 20.
    expect(found).to.be.at.least(14);
  });
});
