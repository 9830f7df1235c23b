/** How the addon is found and loaded: search order, failures, worker threads, instruction sets. */
import { expect } from 'chai';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { DeepHessianError } from '../../ts/errors.js';
import { findAddon } from '../../ts/native/addon.js';
import { fallback } from '../../ts/native/fallback.js';
import { sourceHash } from '../../ts/native/sources.js';
import { addon, reason } from './implementations.js';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
const tsx = import.meta.resolve('tsx');

/** Runs TypeScript in a process of its own; standard output, and standard error in `errors`. */
function child(args: string[], env: Record<string, string>, cwd = root): { output: string; errors: string } {
  const errorFile = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'deep-hessian-')), 'stderr');
  const stderr = fs.openSync(errorFile, 'w');
  try {
    const inherited = { ...process.env };
    for (const name of Object.keys(inherited)) if (name.startsWith('DEEP_HESSIAN_')) delete inherited[name];
    const output = execFileSync(process.execPath, ['--import', tsx, ...args], {
      cwd,
      env: { ...inherited, ...env },
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', stderr],
    });
    return { output, errors: fs.readFileSync(errorFile, 'utf8') };
  } finally {
    fs.closeSync(stderr);
    fs.rmSync(path.dirname(errorFile), { recursive: true });
  }
}

describe('loading of the kernels', function () {
  const printInfo = [
    '--input-type=module',
    '-e',
    "import { kernels } from './ts/native/index.ts'; console.log(JSON.stringify(kernels.info()));",
  ];

  it('DEEP_HESSIAN_BINARY that does not load is an error with the file in it', () => {
    for (const [file, why] of [
      ['/nowhere/deep_hessian.node', 'Cannot find module'],
      [path.join(root, 'package.json'), 'not a kernel addon'],
    ]) {
      let caught: unknown;
      try {
        findAddon(file);
      } catch (error) {
        caught = error;
      }
      expect(caught).to.be.instanceOf(DeepHessianError);
      expect((caught as DeepHessianError).code).to.equal('native-unavailable');
      expect((caught as DeepHessianError).message)
        .to.include(file)
        .and.to.include(why);
    }
  });

  it('DEEP_HESSIAN_BINARY=none gives the TypeScript kernels without a warning', () => {
    const { output, errors } = child(printInfo, { DEEP_HESSIAN_BINARY: 'none' });
    expect((JSON.parse(output) as { backend: string }).backend).to.equal('typescript');
    expect(errors).not.to.match(/DEEP_HESSIAN_FALLBACK/);
  });

  it('without any binary there is one warning that says why', () => {
    const elsewhere = fs.mkdtempSync(path.join(os.tmpdir(), 'deep-hessian-'));
    try {
      fs.writeFileSync(path.join(elsewhere, 'package.json'), '{ "type": "module" }');
      fs.mkdirSync(path.join(elsewhere, 'ts'));
      for (const name of ['errors.ts', 'checks.ts', 'random.ts', 'native']) {
        fs.cpSync(path.join(root, 'ts', name), path.join(elsewhere, 'ts', name), { recursive: true });
      }
      const { output, errors } = child(printInfo, {}, elsewhere);
      expect((JSON.parse(output) as { backend: string }).backend).to.equal('typescript');
      expect(errors.match(/DEEP_HESSIAN_FALLBACK/g)).to.have.length(1);
      expect(errors).to.match(/no binary for \S+ and no local build/);
      // A file that is there but no addon is named with the loader's words.
      fs.mkdirSync(path.join(elsewhere, 'build/Release'), { recursive: true });
      fs.writeFileSync(path.join(elsewhere, 'build/Release/deep_hessian.node'), 'not a library');
      expect(child(printInfo, {}, elsewhere).errors).to.match(/deep_hessian\.node: .+/);
    } finally {
      fs.rmSync(elsewhere, { recursive: true });
    }
  });

  describe('order', () => {
    const target = `${process.platform}-${process.arch}`;
    let elsewhere: string;
    let prebuilt: string;
    let local: string;
    const place = (file: string): void => {
      fs.mkdirSync(path.dirname(file), { recursive: true });
      fs.copyFileSync(addon!.info().file!, file);
    };
    const recordSources = (sources: string): void =>
      fs.writeFileSync(path.join(path.dirname(prebuilt), 'prebuild.json'), JSON.stringify({ sources }));

    beforeEach(function () {
      if (addon === null) {
        console.log(`      not tested: ${reason}`);
        return this.skip();
      }
      elsewhere = fs.mkdtempSync(path.join(os.tmpdir(), 'deep-hessian-'));
      prebuilt = path.join(elsewhere, 'prebuilds', target, 'deep_hessian.node');
      local = path.join(elsewhere, 'build/Release/deep_hessian.node');
    });
    afterEach(() => fs.rmSync(elsewhere, { recursive: true, force: true }));

    it('an installed package takes its prebuilt binary before a local build, and either alone', () => {
      place(local);
      expect(findAddon('', elsewhere)).to.deep.include({
        file: local,
        reason: 'the local build: there is no prebuilt binary',
      });
      place(prebuilt);
      // Sources that were shipped, changed or missing, are not looked at.
      recordSources('0'.repeat(64));
      const both = findAddon('', elsewhere);
      expect(both).to.deep.include({ file: prebuilt, reason: 'the prebuilt binary' });
      expect(both.kernels?.info().file).to.equal(prebuilt);
      fs.rmSync(local);
      expect(findAddon('', elsewhere).file).to.equal(prebuilt);
      // What is named goes before everything.
      place(local);
      expect(findAddon(local, elsewhere)).to.deep.include({ file: local, reason: 'DEEP_HESSIAN_BINARY names it' });
    });

    it('a prebuilt binary that does not load gives way to a local build, which says so', () => {
      place(local);
      fs.mkdirSync(path.dirname(prebuilt), { recursive: true });
      fs.writeFileSync(prebuilt, 'not a library');
      const found = findAddon('', elsewhere);
      expect(found.file).to.equal(local);
      expect(found.reason).to.match(/^the local build; prebuilds.+deep_hessian\.node: .+/);
    });

    it('in a checkout, a prebuilt binary made from other sources comes after a local build', () => {
      fs.mkdirSync(path.join(elsewhere, 'scripts'));
      fs.writeFileSync(path.join(elsewhere, 'scripts/prebuild.mjs'), '');
      fs.mkdirSync(path.join(elsewhere, 'native/deep'), { recursive: true });
      fs.writeFileSync(path.join(elsewhere, 'native/deep/a.cc'), 'int a;');
      fs.writeFileSync(path.join(elsewhere, 'CMakeLists.txt'), 'project(a)');
      place(prebuilt);
      place(local);
      const stale = { file: local, reason: 'the local build: the prebuilt binary is made from other sources' };
      expect(findAddon('', elsewhere), 'no record').to.deep.include(stale);
      recordSources(sourceHash(elsewhere));
      expect(findAddon('', elsewhere), 'made from these').to.deep.include({
        file: prebuilt,
        reason: 'the prebuilt binary',
      });
      for (const [name, text] of [
        ['native/deep/a.cc', 'int b;'],
        ['native/deep/b.cc', ''],
        ['CMakeLists.txt', 'project(b)'],
      ]) {
        recordSources(sourceHash(elsewhere));
        fs.writeFileSync(path.join(elsewhere, name), text);
        expect(findAddon('', elsewhere), `changed ${name}`).to.deep.include(stale);
      }
      fs.rmSync(local);
      expect(findAddon('', elsewhere), 'nothing else there').to.deep.include({ file: prebuilt });
    });

    it('the hash of the sources is the one that scripts/prebuild.mjs records', () => {
      const script = "import('./scripts/prebuild.mjs').then(({ sourceHash }) => process.stdout.write(sourceHash()))";
      const stdout = execFileSync(process.execPath, ['-e', script], { cwd: root, encoding: 'utf8' });
      expect(sourceHash(root)).to.equal(stdout);
    });
  });

  describe('addon', () => {
    before(function () {
      if (addon !== null) return;
      console.log(`      not tested: ${reason}`);
      this.skip();
    });

    it('has every kernel of the fallback and says what it is', () => {
      if (addon === null) return;
      const kernelsOf = (object: object): string[] =>
        Object.keys(object)
          .filter((name) => !name.startsWith('cuda') && name !== 'lockFile')
          .sort();
      expect(kernelsOf(addon)).to.deep.equal(kernelsOf(fallback));
      const info = addon.info();
      expect(Object.keys(info).sort()).to.deep.equal(Object.keys(fallback.info()).sort());
      expect(info.backend).to.equal('openblas');
      expect(info.version).to.match(/OpenBLAS/);
      expect(info.core).to.match(/^\w+/);
      expect(info.simd).to.be.oneOf(['avx512', 'avx2', 'neon', 'baseline']);
      expect(info.maxThreads).to.be.at.least(1);
      expect(fs.existsSync(info.file ?? '')).to.equal(true);
    });

    it('setThreads reports the count in force', () => {
      if (addon === null) return;
      try {
        const two = addon.setThreads(2);
        expect(addon.info().threads).to.equal(two);
        expect(addon.setThreads(2 ** 30)).to.be.at.most(addon.info().maxThreads);
      } finally {
        expect(addon.setThreads(1)).to.equal(1);
      }
    });

    it('DEEP_HESSIAN_THREADS sets the count at load, one is the default', () => {
      const threads = (env: Record<string, string>): number =>
        (JSON.parse(child(printInfo, env).output) as { threads: number }).threads;
      expect(threads({ DEEP_HESSIAN_THREADS: '2' })).to.be.within(1, 2);
      expect(threads({ DEEP_HESSIAN_THREADS: 'many' })).to.equal(1);
      expect(threads({ OPENBLAS_NUM_THREADS: '2' })).to.equal(1);
    });

    it('loads and computes in several worker threads at once, one of them killed half-way', async () => {
      if (addon === null) return;
      const file = addon.info().file;
      const source = `
        const { parentPort, workerData } = require('node:worker_threads');
        const kernels = require(workerData.file);
        const n = 60, results = [];
        do {
          const a = new Float64Array(n * n), b = new Float64Array(n * 9), pivots = new Int32Array(n);
          for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) a[i + j * n] = Math.cos(i * j + i + j) + (i === j ? (i % 2 ? 9 : -9) : 0);
          b.fill(1);
          kernels.sytrf(0, n, a, 0, n, pivots, 0);
          kernels.sytrfHalfSolve(n, 9, a, 0, n, pivots, 0, b, 0, n);
          const z = new Float64Array(n * 9);
          kernels.activate(4, n, 9, b, 0, null, 0, null, 0, z, 0, null, 0, null, 0);
          results.push(kernels.nrm2(z.length, z, 0));
          if (results.length === 1) parentPort.postMessage('started');
        } while (workerData.forever || results.length < 50);
        parentPort.postMessage(results);
      `;
      const start = (forever: boolean): Worker => new Worker(source, { eval: true, workerData: { file, forever } });
      const endless = start(true);
      await new Promise((resolve) => endless.once('message', resolve));
      const workers = [start(false), start(false), start(false)].map(
        (worker) =>
          new Promise<number[]>((resolve, reject) => {
            worker.on('message', (message: number[] | string) => {
              if (typeof message !== 'string') resolve(message);
            });
            worker.once('error', reject);
          }),
      );
      await endless.terminate();
      const results = (await Promise.all(workers)).flat();
      expect(results).to.have.length(150);
      expect(new Set(results).size).to.equal(1);
      expect(results[0]).to.be.greaterThan(0);
    });

    for (const simd of ['avx2', 'baseline']) {
      it(`${simd} kernels agree with the TypeScript ones`, function () {
        if (process.arch !== 'x64') return this.skip();
        const { output } = child([path.join(root, 'test/native/simd-check.ts')], { DEEP_HESSIAN_SIMD: simd });
        const found = JSON.parse(output) as { simd: string; activationUlp: number; gramUlp: number };
        // A processor without AVX2 runs the baseline in both cases.
        expect(found.simd).to.be.oneOf([simd, 'baseline']);
        // Two implementations, each within a few units in the last place.
        expect(found.activationUlp).to.be.at.most(10);
        expect(found.gramUlp).to.be.at.most(16);
      });
    }
  });
});
