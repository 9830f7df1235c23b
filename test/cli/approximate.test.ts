import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { type InverseProductRecord } from '../../ts/analysis/inverse-product-report.js';
import { figure } from '../../ts/train/report.js';
import { temporaryFolder } from '../train/helpers.js';
import { commandLine } from './helpers.js';

const points = fileURLToPath(new URL('../../examples/seed-001/points.csv', import.meta.url));
const seedProblem = [
  '--data',
  'csv',
  '--file',
  points,
  '--standardise',
  'none',
  '--num-layers',
  '2',
  '--hidden-dim',
  '5',
  '--activation',
  'sigmoid',
  '--init',
  'normal',
];

describe('deep-hessian approximate', () => {
  const folder = temporaryFolder();

  it('prints a table and writes a page and a file with the same figures', async () => {
    const out = join(folder.path(), 'seed');
    const result = await commandLine(
      'approximate',
      ...seedProblem,
      '--seed',
      '5',
      '--eps',
      '0',
      '--iterations',
      '40',
      '--start',
      'vector',
      '--out',
      out,
    );
    expect(result.code).to.equal(0);
    expect(result.out)
      .to.match(/^exact\s+converged/m)
      .and.to.match(/12 of 26 are negative/);
    const record = JSON.parse(readFileSync(join(out, 'results.json'), 'utf8')) as InverseProductRecord;
    const { methods } = record.comparison;
    const errors = Object.fromEntries(methods.map((row) => [row.method, row.relativeError]));
    // The example of the help text: conjugate gradients miss.
    expect(errors.cg).to.be.within(0.2, 2);
    expect(errors.exact).to.be.below(1e-12);
    const html = readFileSync(join(out, 'report.html'), 'utf8');
    const data = /<script type="application\/json" id="data">(.*?)<\/script>/s.exec(html) as RegExpExecArray;
    expect(JSON.parse(data[1])).to.deep.equal(record);
    for (const row of methods) expect(html).to.contain(`>${figure(row.relativeError, 3)}<`);
    expect(html).to.not.match(/https?:\/\/|<link|@import|url\(|src=/);
  });

  it('takes either matrix, though a training setting has the name of the flag', async () => {
    const matrices: string[] = [];
    for (const matrix of ['hessian', 'gauss-newton']) {
      const out = join(folder.path(), matrix);
      const { code, err } = await commandLine(
        'approximate',
        ...[...seedProblem, '--seed', '5', '--matrix', matrix, '--methods', 'exact', '--quiet', '--out', out],
      );
      expect(err).to.equal('');
      expect(code).to.equal(0);
      const { comparison } = JSON.parse(readFileSync(join(out, 'results.json'), 'utf8')) as InverseProductRecord;
      matrices.push(comparison.matrix);
    }
    expect(matrices).to.deep.equal(['hessian', 'gauss-newton']);
  });

  it('--json gives one object, and a used folder is refused before any work', async () => {
    const out = join(folder.path(), 'json');
    const args = [
      'approximate',
      '--points',
      '20',
      '--num-layers',
      '3',
      '--hidden-dim',
      '4',
      '--eps',
      '0.01',
      '--methods',
      'exact,minres',
      '--out',
      out,
    ];
    const first = await commandLine(...args, '--json');
    expect([first.code, first.err]).to.deep.equal([0, '']);
    const record = JSON.parse(first.out) as InverseProductRecord;
    expect(record.comparison.methods.map((row) => row.method)).to.deep.equal(['exact', 'minres']);
    expect(record.comparison.damping).to.equal(0.01);
    const again = await commandLine(...args);
    expect([again.code, again.out]).to.deep.equal([1, '']);
    expect(again.err).to.match(/holds results already/);
  });

  const misuse: [string[], RegExp, number][] = [
    [['--eps', '-1'], /number >= 0 for --eps, received "-1"/, 2],
    [['--eps', 'small'], /--eps, received "small"/, 2],
    [['--methods', 'exact,magic'], /'minres'.* for --methods, received "magic"/, 2],
    [['--iterations', '0'], /integer from 1 .*--iterations, received "0"/, 2],
    [['--num-layers', 'two'], /num-layers/, 2],
    [['missing.checkpoint'], /missing\.checkpoint/, 1],
    [['--data', 'csv', '--file', 'missing.csv'], /missing\.csv/, 1],
  ];
  for (const [args, message, expected] of misuse) {
    it(`${args.join(' ')} exits with ${expected}`, async () => {
      const { code, err, out } = await commandLine('approximate', ...args, '--out', join(folder.path(), 'never'));
      expect([code, out]).to.deep.equal([expected, '']);
      expect(err).to.match(message);
    });
  }
});
