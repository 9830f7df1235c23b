/**
 * The package as a server without compiler and without BLAS gets it: what the tarball holds, what the prebuilt binary
 * asks of its system, and whether a folder with nothing but the installed tarball can solve, train and be compiled
 * against.
 *
 * The binary is made by `npm run native:prebuilt`, which takes a minute: tests that need it skip with a message where it
 * has not been made, unless DEEP_HESSIAN_PREBUILT=required.
 */
import { expect } from 'chai';
import { spawnSync, type SpawnSyncReturns } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const target = `${process.platform}-${process.arch}`;
const binary = join(root, 'prebuilds', target, 'deep_hessian.node');
const required = process.env.DEEP_HESSIAN_PREBUILT === 'required';

/** Bytes of the tarball that users download, with one prebuilt binary in it (3.2 MB of them) and with none. */
const tarballBound = (binaries: number): number => (1.5 + 4 * binaries) * 1e6;

/** What may be in the package: nothing else. */
const allowed = [
  /^package\.json$/,
  /^(README|CHANGELOG|LICENSE|THIRD_PARTY_NOTICES|CITATION)(\.md|\.cff)?$/,
  /^index\.(cjs|d\.cts)$/,
  /^dist\/[\w/-]+\.(js|d\.ts)(\.map)?$/,
  /^native\/[\w/-]+(\.\w+)?$/,
  /^(CMakeLists\.txt|binding\.gyp|scripts\/openblas-a\.cjs)$/,
  /^prebuilds\/(linux|darwin|win32)-(x64|arm64)(-musl)?\/(deep_hessian\.node|prebuild\.json)$/,
  /^share\/[\w/-]+\.(json|bin)$/,
];
/** What must be in it. */
const expected = ['package.json', 'LICENSE', 'THIRD_PARTY_NOTICES.md', 'index.cjs', 'index.d.cts'].concat([
  'dist/index.js',
  'dist/index.d.ts',
  'dist/cli/main.js',
  'native/sources.txt',
  'CMakeLists.txt',
]);

interface Packed {
  filename: string;
  size: number;
  unpackedSize: number;
  files: { path: string; size: number }[];
}

function npm(args: string[], cwd: string, env: NodeJS.ProcessEnv = process.env): SpawnSyncReturns<string> {
  return spawnSync('npm', args, { cwd, env, encoding: 'utf8', timeout: 240_000, shell: process.platform === 'win32' });
}

function pack(args: string[]): Packed {
  const { status, stdout, stderr } = npm(['pack', '--json', '--ignore-scripts', ...args], root);
  expect(status, stderr).to.equal(0);
  // npm 10 prints a list, npm 12 an object keyed by name.
  const parsed = JSON.parse(stdout) as Packed[] | Record<string, Packed>;
  return Object.values(parsed)[0];
}

/** Why there is no prebuilt binary of the sources as they are; '' when there is one. */
function unavailable(): string {
  const record = join(dirname(binary), 'prebuild.json');
  if (!existsSync(binary) || !existsSync(record)) return `prebuilds/${target}/ is not there (npm run native:prebuilt)`;
  const script = "import('./scripts/prebuild.mjs').then(({ sourceHash }) => process.stdout.write(sourceHash()))";
  const { status, stdout, stderr } = spawnSync(process.execPath, ['-e', script], { cwd: root, encoding: 'utf8' });
  expect(status, stderr).to.equal(0);
  const { sources } = JSON.parse(readFileSync(record, 'utf8')) as { sources: string };
  return sources === stdout ? '' : `prebuilds/${target}/ is made from other sources (npm run native:prebuilt)`;
}

/** Skips with a reason, or fails where the prebuilt binary is required. */
function skip(context: Mocha.Context, reason: string): void {
  if (required) throw new Error(reason);
  console.log(`      not tested: ${reason}`);
  context.skip();
}

describe('package contents', function () {
  let packed: Packed;

  before(function () {
    if (!existsSync(join(root, 'dist', 'index.js'))) skip(this, 'dist/ is not there (npm run build:ts)');
    packed = pack(['--dry-run']);
  });

  it('holds what users need and nothing else', () => {
    const paths = packed.files.map(({ path }) => path);
    expect(paths.filter((path) => !allowed.some((pattern) => pattern.test(path)))).to.deep.equal([]);
    expect(expected.filter((path) => !paths.includes(path))).to.deep.equal([]);
  });

  it('stays under its size', () => {
    const binaries = packed.files.filter(({ path }) => path.endsWith('.node')).length;
    console.log(
      `      ${(packed.size / 1e6).toFixed(2)} MB packed, ${(packed.unpackedSize / 1e6).toFixed(1)} MB unpacked, ${binaries} prebuilt binaries`,
    );
    expect(packed.size).to.be.below(tarballBound(binaries));
  });

  it('carries the licences of what is linked into the binaries', () => {
    const notices = readFileSync(join(root, 'THIRD_PARTY_NOTICES.md'), 'utf8');
    for (const name of ['OpenBLAS Project', 'University of Texas at Austin', 'University of Tennessee', 'libstdc++'])
      expect(notices).to.contain(name);
  });
});

describe('prebuilt binary', function () {
  before(function () {
    const reason = unavailable();
    if (reason !== '') skip(this, reason);
  });

  it('needs no BLAS, no Fortran, no C++ library and an old glibc only', function () {
    if (process.platform !== 'linux') return skip(this, 'objdump is asked on Linux only');
    if (spawnSync('objdump', ['--version']).error) return skip(this, 'objdump is not there');
    const check = spawnSync(process.execPath, [join(root, 'scripts', 'prebuild.mjs'), '--check', binary], {
      encoding: 'utf8',
    });
    expect([check.status, check.status === 0 ? '' : check.stderr]).to.deep.equal([0, '']);
    expect(check.stderr).to.match(/glibc >= 2\.\d+/);
    const record = JSON.parse(readFileSync(join(dirname(binary), 'prebuild.json'), 'utf8')) as {
      glibc: string;
      libraries: string[];
    };
    expect(record.libraries.filter((name) => /blas|gfortran|quadmath|stdc\+\+/.test(name))).to.deep.equal([]);
    // What the documentation promises; Node 20 itself asks for 2.28.
    if (process.arch === 'x64') expect(Number(record.glibc.split('.')[1])).to.be.at.most(18);
  });

  it('refuses to be shipped when it asks for more', function () {
    if (process.platform !== 'linux' || spawnSync('objdump', ['--version']).error) return skip(this, 'no objdump');
    const local = join(root, 'build', 'Release', 'deep_hessian.node');
    if (!existsSync(local)) return skip(this, 'no local build to compare with');
    // The local build takes BLAS and C++ from the system: the check has to say so.
    const check = spawnSync(process.execPath, [join(root, 'scripts', 'prebuild.mjs'), '--check', local], {
      encoding: 'utf8',
    });
    expect(check.status).to.equal(1);
    expect(check.stderr).to.match(/cannot be shipped: it needs the library lib\w*blas/);
  });

  it('chooses its kernels by the processor it runs on', function () {
    if (process.arch !== 'x64') return skip(this, 'core types of x64');
    // The processor at hand can pretend to be an older one.
    const source = `
      const k = require(process.argv[1]), n = 40;
      const a = Float64Array.from({ length: n * n }, (_, i) => Math.sin(i * i)), c = new Float64Array(n * n);
      k.gemm(1, 0, n, n, n, 1, a, 0, n, a, 0, n, 0, c, 0, n);
      for (let i = 0; i < n; i++) c[i * n + i] += n;
      const info = k.potrf(0, n, c, 0, n);
      process.stdout.write(JSON.stringify([k.info().core, info, Array.from(c.subarray(0, n))]));`;
    const runs = ['Prescott', 'Nehalem', 'Sandybridge', 'Haswell'].map((core) => {
      const { status, stdout, stderr } = spawnSync(process.execPath, ['-e', source, binary], {
        encoding: 'utf8',
        env: { ...process.env, OPENBLAS_CORETYPE: core },
      });
      expect(status, stderr).to.equal(0);
      return JSON.parse(stdout) as [string, number, number[]];
    });
    const cores = runs.map(([core]) => core.toLowerCase());
    // A processor without AVX2 falls back from Haswell; the two old ones are always there.
    expect(new Set(cores).size).to.be.at.least(2);
    for (const [, info, column] of runs) {
      expect(info).to.equal(0);
      // 40 terms of size 1 below a diagonal near 60: a few rounding errors of 2^-52 each.
      column.forEach((value, i) => expect(value).to.be.closeTo(runs[0][2][i], 1e-13));
    }
  });
});

describe('installed from the tarball', function () {
  this.timeout(300_000);
  let folder = '';
  let environment: NodeJS.ProcessEnv = {};
  /** Command and arguments that hide the system's BLAS from what follows. */
  let hidden: string[] = [];

  before(function () {
    const reason = unavailable();
    if (reason !== '') return skip(this, reason);
    if (!existsSync(join(root, 'dist', 'index.js'))) return skip(this, 'dist/ is not there (npm run build:ts)');
    folder = mkdtempSync(join(tmpdir(), 'deep-hessian-installed-'));
    const { filename } = pack(['--pack-destination', folder]);
    // A path with node alone: no compiler, no cmake, no python.
    const bin = join(folder, 'bin');
    mkdirSync(bin);
    symlinkSync(process.execPath, join(bin, 'node'));
    environment = { PATH: bin, HOME: folder };
    const app = join(folder, 'app');
    mkdirSync(join(app, 'node_modules'), { recursive: true });
    writeFileSync(join(app, 'package.json'), '{ "name": "app", "private": true }\n');
    if (process.env.CI) install(app, filename, bin);
    else unpack(app, filename);
    hidden = hideBlas();
  });

  after(() => {
    if (folder !== '') rmSync(folder, { recursive: true, force: true });
  });

  /** As a user does it. */
  function install(app: string, filename: string, bin: string): void {
    const npmPath = spawnSync('sh', ['-c', 'command -v npm'], { encoding: 'utf8' }).stdout.trim();
    symlinkSync(npmPath, join(bin, 'npm'));
    const keep = Object.fromEntries(
      Object.entries(process.env).filter(([name]) => /^npm_config_|proxy$|CERT/i.test(name)),
    );
    const args = ['install', '--no-audit', '--no-fund', join(folder, filename)];
    const { status, stderr } = npm(args, app, { ...keep, ...environment, HOME: process.env.HOME });
    expect(status, stderr).to.equal(0);
  }

  /** The same files without the registry: the tarball unpacked, its dependencies linked from here. */
  function unpack(app: string, filename: string): void {
    const own = join(app, 'node_modules', 'deep-hessian');
    mkdirSync(own);
    const { status, stderr } = spawnSync('tar', ['-xzf', join(folder, filename), '-C', own, '--strip-components=1'], {
      encoding: 'utf8',
    });
    expect(status, stderr).to.equal(0);
    const { dependencies } = JSON.parse(readFileSync(join(own, 'package.json'), 'utf8')) as {
      dependencies: Record<string, string>;
    };
    for (const name of Object.keys(dependencies)) {
      const place = join(app, 'node_modules', name);
      mkdirSync(dirname(place), { recursive: true });
      symlinkSync(join(root, 'node_modules', name), place, 'dir');
    }
  }

  /** A mount name space of its own in which OpenBLAS' folder is empty, where that is allowed. */
  function hideBlas(): string[] {
    if (process.platform !== 'linux' || process.getuid?.() !== 0) return [];
    const libraries = ['/usr/lib/x86_64-linux-gnu', '/usr/lib/aarch64-linux-gnu'].flatMap((path) => [
      path,
      join(path, 'openblas-pthread'),
    ]);
    const mounts = libraries
      .filter((path) => existsSync(path))
      .flatMap((path) =>
        readdirSync(path)
          .filter((name) => /^lib(openblas|blas|lapack|gfortran|quadmath)[\w.-]*\.so/.test(name))
          .map((name) => `mount --bind /dev/null ${join(path, name)} || exit 3`),
      );
    const script = [...mounts, 'exec "$@"'].join('\n');
    const command = ['unshare', '-m', 'sh', '-c', script, 'sh'];
    const { status } = spawnSync(command[0], [...command.slice(1), 'true']);
    return status === 0 ? command : [];
  }

  function node(
    args: string[],
    more: NodeJS.ProcessEnv = {},
  ): { status: number | null; stdout: string; stderr: string } {
    const [command, ...rest] = [...hidden, process.execPath, ...args];
    // `unshare` and `mount` are found by the test, what they start is not.
    const env = { ...environment, ...more, ...(hidden.length > 0 ? { PATH: process.env.PATH } : {}) };
    const inner =
      hidden.length > 0
        ? [...hidden.slice(1), '/usr/bin/env', `PATH=${environment.PATH}`, process.execPath, ...args]
        : rest;
    const { status, stdout, stderr } = spawnSync(command, inner, {
      cwd: join(folder, 'app'),
      env,
      encoding: 'utf8',
      timeout: 120_000,
    });
    return { status, stdout, stderr };
  }

  const use = `
    const net = new Network({ inputs: 2, loss: 'mse', layers: [
      { type: 'dense', units: 3, activation: 'tanh' }, { type: 'dense', units: 1, activation: 'identity' }] });
    const params = net.initialize({ seed: 1 });
    const point = net.linearize(params, { inputs: new Float64Array([0.5, -0.25]), targets: new Float64Array([1]) });
    const f = factor(point, { matrix: 'hessian', damping: 0.5 });
    const { x, residual, status } = f.solve(point.gradient);
    const { backend, file } = kernels.info();
    const loaded = require('node:fs').existsSync('/proc/self/maps') ? require('node:fs').readFileSync('/proc/self/maps', 'utf8') : '';
    console.log(JSON.stringify({ length: x.length, residual, status, backend, file, foreign: /libopenblas|libgfortran|libblas/.test(loaded) }));`;

  function checkSolve({ status, stdout, stderr }: ReturnType<typeof node>): void {
    expect(stderr).not.to.match(/DEEP_HESSIAN_FALLBACK|Error/);
    expect(status).to.equal(0);
    const result = JSON.parse(stdout) as {
      length: number;
      residual: number;
      status: string;
      backend: string;
      file: string;
      foreign: boolean;
    };
    expect(result.length).to.equal(13);
    expect(result.residual).to.be.below(1e-10);
    expect([result.status, result.backend, result.foreign]).to.deep.equal(['converged', 'openblas', false]);
    expect(result.file).to.contain(`prebuilds/${target}/`);
  }

  it('solves when imported and when required', () => {
    const app = join(folder, 'app');
    writeFileSync(
      join(app, 'a.mjs'),
      `import { createRequire } from 'node:module'; import { Network, factor, kernels } from 'deep-hessian'; const require = createRequire(import.meta.url);${use}`,
    );
    writeFileSync(join(app, 'a.cjs'), `const { Network, factor, kernels } = require('deep-hessian');${use}`);
    checkSolve(node(['a.mjs']));
    checkSolve(node(['a.cjs']));
    if (hidden.length === 0)
      console.log('      the BLAS of the system was not hidden (needs root and mount name spaces)');
  });

  it('trains by its command', () => {
    const command = join('node_modules', 'deep-hessian', 'dist', 'cli', 'main.js');
    const run = node([
      command,
      'train',
      '--points',
      '60',
      '--num-layers',
      '4',
      '--hidden-dim',
      '8',
      '--steps',
      '5',
      '--out',
      'run',
      '--quiet',
    ]);
    expect([run.status, run.status === 0 ? '' : run.stderr]).to.deep.equal([0, '']);
    const app = join(folder, 'app');
    const records = readFileSync(join(app, 'run', 'metrics.jsonl'), 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { type: string; step: number; loss?: number });
    const steps = records.filter(({ type }) => type === 'step');
    expect(steps.map(({ step }) => step)).to.deep.equal([1, 2, 3, 4, 5]);
    expect(steps[4].loss).to.be.below(steps[0].loss!);
  });

  it('compiles into users of both module systems', () => {
    const app = join(folder, 'app');
    const source = `import { Network, factor, type Solution } from 'deep-hessian';
      export function solve(inputs: Float64Array, targets: Float64Array): Solution {
        const net = new Network({ inputs: 2, loss: 'mse', layers: [{ type: 'dense', units: 1, activation: 'identity' }] });
        const point = net.linearize(net.initialize({ seed: 1 }), { inputs, targets });
        // @ts-expect-error damping is required
        factor(point, { matrix: 'hessian' });
        return factor(point, { damping: 1 }).solve(point.gradient);
      }\n`;
    for (const name of ['use.mts', 'use.cts']) writeFileSync(join(app, name), source);
    const compiler = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
    const flags = [
      '--noEmit',
      '--strict',
      '--skipLibCheck',
      '--module',
      'nodenext',
      '--target',
      'es2022',
      '--types',
      'node',
    ];
    const types = ['--typeRoots', join(root, 'node_modules', '@types')];
    const { status, stdout } = node([compiler, ...flags, ...types, 'use.mts', 'use.cts']);
    expect([status, stdout]).to.deep.equal([0, '']);
  });

  it('falls back to TypeScript with one warning where no binary fits, and without one when asked to', () => {
    const none = node(['a.mjs'], { DEEP_HESSIAN_BINARY: 'none' });
    expect(JSON.parse(none.stdout)).to.include({ backend: 'typescript', file: null, status: 'converged' });
    expect(none.stderr).not.to.contain('DEEP_HESSIAN_FALLBACK');
    const prebuilds = join(folder, 'app', 'node_modules', 'deep-hessian', 'prebuilds');
    rmSync(prebuilds, { recursive: true });
    const missing = node(['a.mjs']);
    expect(JSON.parse(missing.stdout)).to.include({ backend: 'typescript', file: null, status: 'converged' });
    expect(missing.stderr.match(/DEEP_HESSIAN_FALLBACK/g)).to.have.length(1);
  });
});
