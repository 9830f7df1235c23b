/**
 * The package as others get it: both kinds of import, types for both, a lock file and manifest that install anywhere.
 */
import { expect } from 'chai';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const read = (path: string): string => readFileSync(join(root, path), 'utf8');

interface Manifest {
  scripts: Record<string, string>;
  bin: Record<string, string>;
  engines: { node: string };
  peerDependencies: Record<string, string>;
  gypfile: boolean;
  binary: { napi_versions: number[] };
  files: string[];
}
interface Locked {
  resolved?: string;
  dev?: boolean;
  engines?: { node?: string };
}

/** Runs a program in `cwd` and returns its status and output. */
function run(command: string, args: string[], cwd: string) {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd, encoding: 'utf8', timeout: 60_000 });
  return { status, stdout, stderr };
}

describe('package', () => {
  const manifest = JSON.parse(read('package.json')) as Manifest;
  const lock = JSON.parse(read('package-lock.json')) as { packages: Record<string, Locked> };

  it('runs nothing at install time', () => {
    const hooks = ['preinstall', 'install', 'postinstall', 'prepare', 'preprepare', 'postprepare', 'prebuild'];
    expect(Object.keys(manifest.scripts).filter((name) => hooks.includes(name))).to.deep.equal([]);
    // Otherwise npm compiles on the user's machine because binding.gyp is in the tarball.
    expect(manifest.gypfile).to.equal(false);
    // Otherwise cmake-js downloads headers.
    expect(manifest.binary.napi_versions).to.deep.equal([8]);
  });

  it('names no registry in the lock file', () => {
    const resolved = Object.entries(lock.packages).filter(([, entry]) => entry.resolved !== undefined);
    expect(resolved.map(([name]) => name)).to.deep.equal([]);
    expect(read('package-lock.json')).not.to.contain('.tgz');
  });

  it('locks packages that accept Node 20.19', () => {
    // Every alternative of an engine range that names 20 or a lower floor accepts 20.19; a range of 21 and up alone does not.
    const accepts = (range: string): boolean =>
      range.split('||').some((part) => {
        const floor = /(\^|>=|~|=)?\s*v?(\d+)(?:\.(\d+|x))?/.exec(part.trim());
        if (floor === null) return part.trim() === '*' || part.trim() === '';
        const [, operator, major, minor] = floor;
        if (Number(major) === 20) return minor === undefined || minor === 'x' || Number(minor) <= 19;
        return Number(major) < 20 && operator === '>=';
      });
    expect(accepts('>=22'), 'the check itself').to.equal(false);
    expect(accepts('^20.19.0 || >=22')).to.equal(true);
    const refused = Object.entries(lock.packages).filter(([, entry]) => !accepts(entry.engines?.node ?? '*'));
    expect(refused.map(([name, entry]) => `${name}: ${entry.engines?.node}`)).to.deep.equal([]);
    expect(manifest.engines.node).to.equal('>=20.19');
  });

  it('gives both builds of the addon one source list', () => {
    const sources = read('native/sources.txt').trim().split(/\s+/);
    for (const file of sources) expect(existsSync(join(root, file)), file).to.equal(true);
    expect(read('CMakeLists.txt')).to.contain('native/sources.txt');
    expect(read('binding.gyp')).to.contain('native/sources.txt');
  });

  describe('as a dependency', () => {
    let folder = '';

    before(function () {
      if (!existsSync(join(root, 'dist', 'index.js'))) this.skip();
      folder = mkdtempSync(join(tmpdir(), 'deep-hessian-consumer-'));
      mkdirSync(join(folder, 'node_modules'));
      symlinkSync(root, join(folder, 'node_modules', 'deep-hessian'), 'dir');
      writeFileSync(join(folder, 'package.json'), '{}');
    });

    after(() => {
      if (folder !== '') rmSync(folder, { recursive: true, force: true });
    });

    const use = `
      const net = new Network({ inputs: 2, loss: 'mse', layers: [
        { type: 'dense', units: 3, activation: 'tanh' }, { type: 'dense', units: 1, activation: 'identity' }] });
      const params = net.initialize({ seed: 1 });
      const point = net.linearize(params, { inputs: new Float64Array([0.5, -0.25]), targets: new Float64Array([1]) });
      const f = factor(point, { matrix: 'gauss-newton', damping: 0.1 });
      const { x, residual, status } = f.solve(point.gradient);
      f.dispose();`;

    it('is imported by ES modules', () => {
      writeFileSync(
        join(folder, 'a.mjs'),
        `import { Network, factor } from 'deep-hessian';${use}console.log(x.length, residual < 1e-10, typeof status);`,
      );
      const { status, stdout, stderr } = run(process.execPath, ['a.mjs'], folder);
      expect(stderr).not.to.match(/Error/);
      expect([status, stdout.trim()]).to.deep.equal([0, '13 true string']);
    });

    it('is required by CommonJS, the same library', () => {
      writeFileSync(
        join(folder, 'a.cjs'),
        `const { Network, factor } = require('deep-hessian');${use}
        import('deep-hessian').then((m) => console.log(x.length, residual < 1e-10, m.Network === Network));`,
      );
      const { status, stdout, stderr } = run(process.execPath, ['a.cjs'], folder);
      expect(stderr).not.to.match(/Error/);
      expect([status, stdout.trim()]).to.deep.equal([0, '13 true true']);
    });

    it('has types for both', function () {
      const right = `${use}\nexport const result: [Float64Array, number] = [x, residual];\nexport const said: string = status;\n`;
      const wrong = "// @ts-expect-error an unknown loss\nnew Network({ inputs: 2, loss: 'nonsense', layers: [] });\n";
      for (const name of ['types.mts', 'types.cts']) {
        writeFileSync(join(folder, name), `import { Network, factor } from 'deep-hessian';${right}${wrong}`);
      }
      const compiler = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
      // The declarations themselves are checked, too: with Node's types, the optional peer, they are complete.
      expect(Object.keys(manifest.peerDependencies)).to.deep.equal(['@types/node']);
      const peers = ['--types', 'node', '--typeRoots', join(root, 'node_modules', '@types')];
      const flags = ['--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2022', ...peers];
      const { status, stdout } = run(process.execPath, [compiler, ...flags, 'types.mts', 'types.cts'], folder);
      expect([status, stdout]).to.deep.equal([0, '']);
    });

    it('offers its command', () => {
      const { status, stdout } = run(process.execPath, [join(root, manifest.bin['deep-hessian']), '--version'], folder);
      expect([status, stdout.trim()]).to.deep.equal([
        0,
        (JSON.parse(read('package.json')) as { version: string }).version,
      ]);
    });
  });
});
