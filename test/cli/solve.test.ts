import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { linearizeSubject, openSubject, type Subject } from '../../ts/analysis/subject.js';
import { readGolden } from '../../ts/data/golden.js';
import { readNpy, writeNpy } from '../../ts/data/npy.js';
import { TrainingSession } from '../../ts/train/session.js';
import { readWeights } from '../../ts/train/weights.js';
import { eigenvaluesOf, multiply, normals, relativeError } from '../linalg/helpers.js';
import { runSession, temporaryFolder } from '../train/helpers.js';
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
        'point',
        'parameters',
        'rightHandSides',
        'matrix',
        'damping',
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

  describe('a run', () => {
    const run = (): string => join(folder.path(), 'run');
    const file = (name: string): string => join(folder.path(), name);

    before(async () => {
      const settings = { points: 60, 'num-layers': 3, 'hidden-dim': 4, l2: 0.02, steps: 20, seed: 2 };
      await runSession(await TrainingSession.start(settings, run()));
    });

    /** The point of the run, from its own parts, and the dense M + eps I. */
    async function dense(
      matrix: 'hessian' | 'gauss-newton',
      eps: number,
    ): Promise<{ subject: Subject; gradient: Float64Array; a: Float64Array }> {
      const subject = await openSubject('test', { path: run(), given: {} });
      const point = linearizeSubject(subject);
      const a = matrix === 'hessian' ? point.denseHessian() : point.denseGaussNewton();
      const P = point.gradient.length;
      for (let i = 0; i < P; i++) a[i * (P + 1)] += eps;
      return { subject, gradient: point.gradient, a };
    }

    for (const matrix of ['hessian', 'gauss-newton'] as const) {
      it(`solves with the ${matrix} and its gradient`, async () => {
        const out = file(`run-${matrix}.npy`);
        const result = await commandLine('solve', run(), '--matrix', matrix, '--eps', '0.03', '--out', out, '--json');
        expect([result.code, result.err]).to.deep.equal([0, '']);
        const record = JSON.parse(result.out) as Record<string, unknown>;
        const { gradient, a } = await dense(matrix, 0.03);
        const P = gradient.length;
        expect(record.point).to.match(/^a network of 3 layers after 20 steps on spirals.*, all 60 training samples$/);
        expect(record).to.include({ parameters: P, rightHandSides: 1, matrix, damping: 0.03, status: 'converged' });
        expect(record.residual).to.be.below(1e-10);
        const values = eigenvaluesOf(a);
        const negative = values.filter((value) => value < 0).length;
        expect(record.inertia).to.deep.equal({ positive: P - negative, negative, zero: 0 });
        // Sums of P logarithms of eigenvalues known to 1e-14 of the largest, of about 10, and at least 1e-3.
        expect(record.logAbsDet).to.be.closeTo(
          values.reduce((sum, value) => sum + Math.log(Math.abs(value)), 0),
          1e-8,
        );
        const { data, shape } = await readNpy(out);
        expect(shape).to.deep.equal([P]);
        expect(relativeError(multiply(a, data), gradient)).to.be.below(1e-9);
      });
    }

    it('solves for the rows of a file, and writes rows', async () => {
      const { gradient, a } = await dense('hessian', 0.03);
      const P = gradient.length;
      const rhs = normals(3 * P, 4);
      await writeNpy(file('rhs.npy'), rhs, [3, P]);
      const out = file('rows.npy');
      const flags = ['--eps', '0.03', '--rhs', file('rhs.npy')];
      const { code, out: text } = await commandLine('solve', run(), ...flags, '--out', out);
      expect(code).to.equal(0);
      expect(text)
        .to.match(/^point {7}a network of 3 layers/)
        .and.match(/^solutions {3}3$/m)
        .and.match(/^status {6}converged$/m)
        .and.match(/^inertia {5}\d+ positive, \d+ negative, 0 zero$/m);
      const { data, shape } = await readNpy(out);
      expect(shape).to.deep.equal([3, P]);
      for (let m = 0; m < 3; m++) {
        const row = data.slice(m * P, (m + 1) * P);
        expect(relativeError(multiply(a, row), rhs.slice(m * P, (m + 1) * P))).to.be.below(1e-9);
      }
      const tensors = await commandLine('solve', run(), ...flags, '--out', file('rows.safetensors'));
      expect(tensors.code).to.equal(2);
      expect(tensors.err).to.match(/expected a \.npy file for --out, as --rhs has 3 rows/);
    });

    it('writes the solution in the layout of the weights', async () => {
      const [npy, tensors] = [file('x.npy'), file('x.safetensors')];
      for (const out of [npy, tensors]) expect((await commandLine('solve', run(), '--out', out)).code).to.equal(0);
      const { subject } = await dense('hessian', 0.1);
      expect(await readWeights(tensors, subject.network)).to.deep.equal((await readNpy(npy)).data);
    });

    it('refuses right-hand sides that do not fit, with both sizes', async () => {
      const { gradient } = await dense('hessian', 0.1);
      const P = gradient.length;
      for (const shape of [[P + 1], [P, 2], [1, 1, P], [0, P]]) {
        const path = file(`bad-${shape.join('x')}.npy`);
        await writeNpy(path, new Float64Array(shape.reduce((a, b) => a * b)), shape);
        const { code, out, err } = await commandLine('solve', run(), '--rhs', path);
        expect([code, out]).to.deep.equal([2, '']);
        expect(err).to.contain(`expected an array of shape (${P}) or (m, ${P})`).and.contain(path);
        expect(err).to.contain(`received shape (${shape.join(', ')})`);
      }
      const none = await commandLine('solve', run(), '--rhs', file('none.npy'));
      expect(none.code).to.equal(1);
      expect(none.err).to.contain('none.npy');
    });

    it('takes a network by flags, and other samples', async () => {
      const flags = ['--num-layers', '2', '--hidden-dim', '3', '--points', '40', '--json'];
      const fresh = JSON.parse((await commandLine('solve', ...flags)).out) as Record<string, unknown>;
      expect(fresh.point).to.match(/^a network of 2 layers freshly initialised .* all 40 training samples$/);
      const fewer = JSON.parse((await commandLine('solve', run(), '--samples', '10', '--json')).out) as {
        point: string;
      };
      expect(fewer.point).to.contain('the first 10 of 60 training samples');
    });

    it('solves where the inertia is not certain, and says that', async () => {
      // Wide first layer on two features: more than 3,000 parameters, so no dense factor decides, and float32 resolves no 1e-9.
      const flags = [
        '--num-layers',
        '2',
        '--hidden-dim',
        '700',
        '--points',
        '40',
        '--eps',
        '1e-9',
        '--precision',
        'mixed',
      ];
      const { code, out, err } = await commandLine('solve', ...flags, '--tolerance', '1', '--json');
      expect(code).to.equal(0);
      expect(err).to.match(/^warning: inertia: .*not certain/);
      expect(JSON.parse(out)).to.include({ inertia: null, logAbsDet: null });
    });
  });

  const misuse: [string[], RegExp, number][] = [
    [['--case', caseFile, '--eps', '0'], /finite number > 0 for --eps, received "0"/, 2],
    [['--case', caseFile, '--eps', 'small'], /--eps, received "small"/, 2],
    [['--case', caseFile, '--matrix', 'fisher'], /'hessian', 'gauss-newton'/, 2],
    [['--case', caseFile, '--method', 'magic'], /'auto', 'block'/, 2],
    [['--case', caseFile, '--out', 'x.txt'], /'\.npy', '\.safetensors' for the ending of --out, received "\.txt"/, 2],
    [['--case', caseFile, '--samples', '3', '--data', 'digits'], /beside --case.*received --samples, --data/, 2],
    [['runs/none', '--case', caseFile], /beside --case.*received checkpoint runs\/none/, 2],
    [['runs/none'], /runs\/none/, 1],
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
