import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import sharp from 'sharp';
import { parseContestants, parseSeeds } from '../../ts/cli/compare.js';
import { formatNumber, formatSeconds, formatTable } from '../../ts/cli/terminal.js';
import { kernels } from '../../ts/native/index.js';
import { temporaryFolder } from '../train/helpers.js';
import { commandLine, jsonLines } from './helpers.js';

const small = ['--points', '60', '--num-layers', '4', '--hidden-dim', '8'];

describe('deep-hessian start and compare', () => {
  const folder = temporaryFolder();

  it('start runs the three methods, prints a table and writes results and report', async function () {
    const out = join(folder.path(), 'start');
    const { code, out: text, err } = await commandLine('start', ...small, '--time-budget', '0.1', '--out', out);
    expect(code).to.equal(0);
    expect(err).to.match(/9 runs/);
    for (const line of [/^method +rate +loss/m, /^gauss-newton +- /m, /^sgd +\S+ /m, /^adam +\S+ /m])
      expect(text).to.match(line);
    // What the reader has to know: the baselines were tuned for free.
    expect(text).to.match(/best of 4 and 4 rates.*not counted against them/s);
    expect(readdirSync(out).sort()).to.deep.equal(['config.json', 'environment.json', 'report.html', 'results.json']);
    const results = JSON.parse(readFileSync(join(out, 'results.json'), 'utf8')) as {
      methods: { label: string; rates: unknown[] }[];
      runs: unknown[];
    };
    expect(results.methods.map((method) => method.label)).to.deep.equal(['gauss-newton', 'sgd', 'adam']);
    expect(results.runs).to.have.length(9);
  });

  it('compare takes optimizers, rates, options and seeds', async () => {
    const out = join(folder.path(), 'compare');
    const { code, out: text } = await commandLine(
      'compare',
      ...small,
      '--steps',
      '5',
      '--optimizers',
      'adam,sgd',
      '--rates',
      'adam=1e-2,1e-3',
      '--set',
      'sgd.lr=0.1',
      '--set',
      'sgd.nesterov=true',
      '--seeds',
      '2',
      '--json',
      '--out',
      out,
    );
    expect(code).to.equal(0);
    const lines = jsonLines(text);
    expect(lines[lines.length - 1]).to.include({ type: 'result', folder: out });
    const { runs } = JSON.parse(readFileSync(join(out, 'results.json'), 'utf8')) as {
      runs: { label: string; rate: number; seed: number; steps: number }[];
    };
    expect(runs.map(({ label, rate, seed, steps }) => [label, rate, seed, steps])).to.deep.equal([
      ['adam', 0.01, 1, 5],
      ['adam', 0.01, 2, 5],
      ['adam', 0.001, 1, 5],
      ['adam', 0.001, 2, 5],
      ['sgd', 0.1, 1, 5],
      ['sgd', 0.1, 2, 5],
    ]);
  });

  const misuse: [string[], RegExp][] = [
    [['--optimizers', 'adam,foo'], /one of 'gauss-newton'/],
    [['--optimizers', 'adam,adam'], /names 'adam' twice/],
    [['--optimizers', 'adam', '--rates', 'sgd=0.1'], /takes part \(adam\)/],
    [['--optimizers', 'adam', '--rates', 'adam=fast'], /rates > 0/],
    [['--optimizers', 'adam', '--set', 'adam.damping=1'], /--damping/],
    [['--seeds', '0'], /--seeds/],
    [['--seeds', 'x'], /--seeds/],
    [['--seeds', '5,'], /--seeds/],
    // Nothing that is given goes unheeded, and nobody gets another problem than the others.
    [['--optimizers', 'sgd,adam', '--damping', '5'], /none of the optimizers compared \(sgd, adam\).*--damping/],
    [['--optimizers', 'adam', '--set', 'adam.hidden-dim=3'], /--hidden-dim: the methods compared share the problem/],
    [['--optimizers', 'adam', '--set', 'adam.time-budget=3'], /--time-budget/],
    [['--optimizers', 'adam', '--set', 'adam.lr=3', '--rates', 'adam=1'], /rates to try and --lr exclude each other/],
    [['--curvature-share', '0.5'], /unknown option '--curvature-share'/],
    [['--use-hessian'], /unknown option '--use-hessian'/],
    [['--optimizers', 'adam', '--hidden-dim', '0'], /^error: compare: .*--hidden-dim/],
    [['--seed', '3'], /unknown option '--seed'/],
  ];
  for (const [args, message] of misuse) {
    it(`refuses ${args.join(' ')} and writes nothing`, async () => {
      const out = join(folder.path(), 'never');
      const { code, err } = await commandLine('compare', ...small, ...args, '--out', out);
      expect(code).to.equal(2);
      expect(err).to.match(message);
      expect(existsSync(out)).to.equal(false);
    });
  }

  it('heeds the rate of a configuration file and refuses what a comparison takes from elsewhere', async () => {
    const config = join(folder.path(), 'run.json');
    writeFileSync(config, JSON.stringify({ lr: 0.5, steps: 2 }));
    const out = join(folder.path(), 'rate');
    const args = ['compare', ...small, '--config', config, '--optimizers', 'adam', '--quiet', '--out', out];
    expect((await commandLine(...args)).code).to.equal(0);
    const { runs } = JSON.parse(readFileSync(join(out, 'results.json'), 'utf8')) as { runs: { rate: number }[] };
    expect(runs.map(({ rate }) => rate)).to.deep.equal([0.5]);
    for (const given of [{ optimizer: 'adam' }, { seed: 3 }, { 'checkpoint-every': 3 }]) {
      writeFileSync(config, JSON.stringify(given));
      const { code, err } = await commandLine(...args);
      expect(code).to.equal(2);
      expect(err).to.match(new RegExp(`--${Object.keys(given)[0]} does not belong to a comparison`));
    }
  });

  it('uses as many threads as asked', async () => {
    const before = kernels.setThreads(1);
    try {
      const out = join(folder.path(), 'threads');
      const args = ['--steps', '1', '--optimizers', 'gauss-newton', '--quiet', '--out', out];
      expect((await commandLine('compare', ...small, '--threads', '2', ...args)).code).to.equal(0);
      expect(kernels.info().threads).to.equal(2);
    } finally {
      kernels.setThreads(before);
    }
  });

  it('names image files that were left out, and shows figures of sets of two words', async function () {
    const images = join(folder.path(), 'images');
    for (const name of ['a', 'b']) {
      mkdirSync(join(images, name), { recursive: true });
      for (const shade of [20, 200]) {
        const pixels = Buffer.alloc(4 * 4 * 3, shade + (name === 'a' ? 30 : 0));
        await sharp(pixels, { raw: { width: 4, height: 4, channels: 3 } }).toFile(join(images, name, `${shade}.png`));
      }
    }
    writeFileSync(join(images, 'b', 'broken.png'), 'no image');
    for (const stream of [[], ['--stream']]) {
      const out = join(folder.path(), `images${stream.length}`);
      const {
        code,
        out: text,
        err,
      } = await commandLine(
        ...['compare', '--data', 'images', '--data-dir', images, '--image-size', '4', ...stream],
        ...['--num-layers', '2', '--hidden-dim', '4', '--optimizers', 'adam', '--rates', 'adam=0.1'],
        ...['--steps', '2', '--quiet', '--out', out],
      );
      expect(code, err).to.equal(0);
      expect(err).to.match(/^warning: left out .*broken\.png: /);
      expect(err.match(/broken\.png/g)).to.have.length(1);
      expect(text).to.match(/accuracy\n.*\n.* \d+\.\d%\n/);
    }
  });

  it('does not write over earlier results', async () => {
    const out = join(folder.path(), 'twice');
    const args = ['compare', ...small, '--steps', '2', '--optimizers', 'gauss-newton', '--quiet', '--out', out];
    expect((await commandLine(...args)).code).to.equal(0);
    const again = await commandLine(...args);
    expect(again.code).to.equal(1);
    expect(again.err).to.match(/holds results already/);
  });

  it('reads seeds and contestants', () => {
    expect(parseSeeds('3')).to.deep.equal([1, 2, 3]);
    expect(parseSeeds('7,9')).to.deep.equal([7, 9]);
    expect(parseContestants('sgd,adam', ['sgd=0.1'], ['adam.beta1=0.8'])).to.deep.equal([
      { optimizer: 'sgd', rates: [0.1] },
      { optimizer: 'adam', settings: { beta1: 0.8 } },
    ]);
  });

  it('formats numbers, times and tables', () => {
    expect([0, 0.5, 1.23456e-7, 123456, Infinity, NaN].map((value) => formatNumber(value))).to.deep.equal([
      '0',
      '0.5',
      '1.23e-7',
      '1.23e5',
      'inf',
      '-',
    ]);
    expect([1.234, 42, 75, 3700].map(formatSeconds)).to.deep.equal(['1.2s', '42s', '1m15s', '1h01m']);
    expect(
      formatTable(
        ['a', 'n'],
        [
          ['x', '1'],
          ['long', '10'],
        ],
      ),
    ).to.equal('a       n\n----   --\nx       1\nlong   10');
  });
});
