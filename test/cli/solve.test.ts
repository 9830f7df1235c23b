import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { readGolden } from '../../ts/data/golden.js';
import { temporaryFolder } from '../train/helpers.js';
import { commandLine } from './helpers.js';

const caseFile = fileURLToPath(new URL('../golden/case02.json', import.meta.url));

describe('deep-hessian solve and info', () => {
  const folder = temporaryFolder();

  it('factors in single precision and refines to the same residual', async () => {
    const json = async (...flags: string[]): Promise<Record<string, unknown>> =>
      JSON.parse(
        (await commandLine('solve', '--case', caseFile, '--method', 'block', '--json', ...flags)).out,
      ) as Record<string, unknown>;
    const double = await json();
    const mixed = await json('--precision', 'mixed');
    expect(mixed.precision).to.equal('mixed');
    expect(mixed.residual).to.be.below(1e-10);
    // The determinant comes from the factor in single precision, so it differs, by no more than its rounding.
    expect(mixed.logAbsDet).to.not.equal(double.logAbsDet);
    expect(mixed.logAbsDet).to.be.closeTo(double.logAbsDet as number, 1e-4);
    const { code, err } = await commandLine('solve', '--case', caseFile, '--precision', 'half');
    expect(code).to.equal(2);
    expect(err).to.match(/float64.*mixed.*precision/);
  });

  for (const matrix of ['hessian', 'gauss-newton'] as const) {
    it(`solves a stored case with the ${matrix} and writes the solution`, async () => {
      const file = join(folder.path(), `${matrix}.npy`);
      const { code, out } = await commandLine(
        'solve',
        '--case',
        caseFile,
        '--matrix',
        matrix,
        '--eps',
        '0.1',
        '--out',
        file,
        '--json',
      );
      expect(code).to.equal(0);
      const result = JSON.parse(out) as Record<string, unknown>;
      expect(Object.keys(result)).to.have.members([
        'residual',
        'status',
        'method',
        'precision',
        'device',
        'inertia',
        'logAbsDet',
        'seconds',
      ]);
      expect(result.precision).to.equal('float64');
      expect(result.residual).to.be.below(1e-10);
      const golden = await readGolden(caseFile);
      const eigenvalues =
        golden.expected[matrix === 'hessian' ? 'hessian_eigenvalues' : 'gauss_newton_eigenvalues'].data;
      const negative = eigenvalues.filter((value) => value + 0.1 < 0).length;
      expect(result.inertia).to.deep.equal({ positive: golden.parameterCount - negative, negative, zero: 0 });
      // The logarithm of a product of 15 eigenvalues known to about 1e-15 each.
      expect(result.logAbsDet).to.be.closeTo(
        eigenvalues.reduce((sum, value) => sum + Math.log(Math.abs(value + 0.1)), 0),
        1e-9,
      );
      const bytes = readFileSync(file);
      expect(bytes.subarray(1, 6).toString('latin1')).to.equal('NUMPY');
      expect(bytes.toString('latin1', 10, 128))
        .to.contain("'<f8'")
        .and.to.contain('(15,)');
      const x = new Float64Array(
        bytes.buffer.slice(bytes.byteOffset + bytes.length - 8 * 15, bytes.byteOffset + bytes.length),
      );
      const row = golden.eps.indexOf(0.1) * 15;
      const expected = golden.expected[matrix === 'hessian' ? 'hessian_solve_g' : 'gauss_newton_solve_g'].data.subarray(
        row,
        row + 15,
      );
      // Condition number 1e2: 1e-10 leaves room for the residual tolerance of the solve.
      for (let i = 0; i < 15; i++) expect(x[i]).to.be.closeTo(expected[i], 1e-9);
    });
  }

  const misuse: [string[], RegExp, number][] = [
    [['--case', caseFile, '--eps', '0'], /finite number > 0 for --eps, received 0/, 2],
    [['--case', caseFile, '--eps', 'small'], /--eps, received "small"/, 2],
    [['--case', caseFile, '--matrix', 'fisher'], /'hessian', 'gauss-newton'/, 2],
    [['--case', caseFile, '--method', 'magic'], /'auto', 'block'/, 2],
    [[], /required option '--case/, 2],
    [['--case', 'missing.json'], /missing\.json/, 1],
  ];
  for (const [args, message, expected] of misuse) {
    it(`solve ${args.map((arg) => arg.split('/').pop()).join(' ')} exits with ${expected}`, async () => {
      const { code, err, out } = await commandLine('solve', ...args);
      expect([code, out]).to.deep.equal([expected, '']);
      expect(err).to.match(message);
    });
  }

  it('info says what is loaded', async () => {
    const { code, out } = await commandLine('info', '--json');
    expect(code).to.equal(0);
    const info = JSON.parse(out) as {
      node: string;
      kernels: { backend: string; threads: number };
      kernelsReason: string;
    };
    expect(info.node).to.equal(process.version);
    expect(info.kernels.backend).to.be.oneOf(['openblas', 'typescript']);
    expect(info.kernelsReason).to.match(/prebuilt|local build|DEEP_HESSIAN_BINARY|no binary/);
    const text = (await commandLine('info')).out;
    expect(text).to.contain(process.version);
    expect(text.split('\n').find((line) => line.startsWith('because'))).to.contain(info.kernelsReason);
  });

  it('has a version, and refuses an unknown command', async () => {
    expect((await commandLine('--version')).out).to.match(/^\d+\.\d+\.\d+\n$/);
    const unknown = await commandLine('fly');
    expect(unknown.code).to.equal(2);
    expect(unknown.err).to.match(/unknown command 'fly'/);
  });
});
