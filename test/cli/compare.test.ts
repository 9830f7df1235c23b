import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { parseContestants, parseSeeds } from '../../ts/cli/compare.js';
import { formatNumber, formatSeconds, formatTable } from '../../ts/cli/terminal.js';
import { temporaryFolder } from '../train/helpers.js';
import { commandLine, jsonLines } from './helpers.js';

const small = ['--points', '60', '--num-layers', '4', '--hidden-dim', '8'];

describe('deep-hessian start and compare', () => {
  const folder = temporaryFolder();

  it('start runs the three methods, prints a table and writes results and report', async function () {
    this.timeout(30000);
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
