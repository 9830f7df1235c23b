/** Every example program runs to its end and prints what it is about. The server has a test of its own, test/jobs/server.test.ts. */
import { expect } from 'chai';
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const data = process.env.DEEP_HESSIAN_DATA ?? join(root, '..', 'shared', 'data');

interface Program {
  file: string;
  args?: string[];
  /** file under the data folder without which the program cannot run */
  needs?: string;
  /** what its output must hold */
  says: RegExp[];
}

const programs: Program[] = [
  { file: 'theory/critical-points.ts', says: [/saddle/, /starts that ended at no root: \d+/] },
  {
    file: 'theory/figures.ts',
    args: [join(tmpdir(), `deep-hessian-figures-${process.pid}`)],
    says: [/3 negative of 13/, /smallest eigenvalue \d/],
  },
  { file: 'seed-001/inverse-products.ts', args: ['15', '40'], says: [/exact 0/, /MINRES/] },
  {
    file: 'curvature/influence.ts',
    args: ['quick'],
    needs: 'digits/digits.csv.gz',
    says: [/rank correlation -?[01]\.\d{3}/, /by self-influence finds/],
  },
  {
    file: 'curvature/evidence.ts',
    args: ['quick'],
    needs: 'uci_yacht/data.txt',
    says: [/log evidence -?\d/, /tuned .* \d+\.\d %/],
  },
  { file: 'curvature/tune-l2.ts', needs: 'uci_yacht/data.txt', says: [/gradient in log L2/] },
];
/** Modules that others import, and programs with tests of their own in this folder or test/jobs. */
const elsewhere = [
  'chart.ts',
  'command-line.ts',
  'curvature/digits.ts',
  'server/app.ts',
  'server/main.ts',
  'server/store.ts',
];

/** Command lines that are refused: in one line, before any work. */
const refused: [file: string, args: string[], message: RegExp][] = [
  ['seed-000/hessian-descent.ts', ['--rate', '1'], /Unknown option '--rate'; flags: --out$/],
  [
    'seed-001/inverse-products.ts',
    ['15', 'many'],
    /expected an integer >= 1 for iterations, received "many" \(string\)$/,
  ],
  ['seed-002/quasi-newton.ts', ['--seed'], /Option '--seed <value>' argument missing; flags: --seed, --steps, /],
  ['seed-004/hessian-preconditioned.ts', ['--seconds', '0'], /expected a finite number > 0 for --seconds, received 0$/],
  ['theory/critical-points.ts', ['x'], /Unexpected argument 'x'; it has no flags$/],
  [
    'curvature/influence.ts',
    ['small'],
    /expected one of 'large', 'quick' for the argument, received "small" \(string\)$/,
  ],
  ['server/main.ts', ['--port', '70000'], /expected an integer from 0 to 65535 for --port, received 70000$/],
];

function examples(folder = ''): string[] {
  return readdirSync(join(root, 'examples', folder), { withFileTypes: true }).flatMap((entry) => {
    const path = folder === '' ? entry.name : `${folder}/${entry.name}`;
    if (entry.isDirectory()) return examples(path);
    return entry.name.endsWith('.ts') ? [path] : [];
  });
}

describe('example programs', function () {
  // A program takes two to five seconds of its own, several times that on a machine that is busy.

  it('are all run by a test', () => {
    const tested = (file: string): boolean =>
      elsewhere.includes(file) ||
      programs.some((program) => program.file === file) ||
      existsSync(join(root, 'test', 'examples', `${dirname(file)}.test.ts`));
    expect(examples().filter((file) => !tested(file))).to.deep.equal([]);
  });

  for (const { file, args = [], needs, says } of programs) {
    it([file, ...args].join(' '), function () {
      if (needs !== undefined && !existsSync(join(data, needs))) {
        console.log(`      no ${needs} in the data folder`);
        this.skip();
      }
      const { status, stdout, stderr } = spawnSync(
        process.execPath,
        ['--import', 'tsx', join('examples', file), ...args],
        { cwd: root, encoding: 'utf8', timeout: 110_000, env: { ...process.env, DEEP_HESSIAN_DATA: data } },
      );
      expect(status, stderr).to.equal(0);
      for (const pattern of says) expect(stdout).to.match(pattern);
      expect(stdout).not.to.match(/\b(?:NaN|undefined)\b/);
    });
  }

  for (const [file, args, message] of refused) {
    it(`${[file, ...args].join(' ')}: refused in one line`, () => {
      const { status, stdout, stderr } = spawnSync(
        process.execPath,
        ['--import', 'tsx', join('examples', file), ...args],
        { cwd: root, encoding: 'utf8', timeout: 110_000 },
      );
      expect(stderr).to.match(/^error: .+\n$/);
      expect(stderr.trimEnd()).to.match(message);
      expect(stdout).to.equal('');
      expect(status).to.equal(2);
    });
  }

  it('curvature/tune-l2.ts without its data: one line', () => {
    const { status, stderr } = spawnSync(
      process.execPath,
      ['--import', 'tsx', join('examples', 'curvature/tune-l2.ts')],
      {
        cwd: root,
        encoding: 'utf8',
        timeout: 110_000,
        env: { ...process.env, DEEP_HESSIAN_DATA: join(tmpdir(), 'no-such-folder') },
      },
    );
    expect(stderr).to.match(/^error: .*no-such-folder.*\n$/);
    expect(status).to.equal(1);
  });
});
