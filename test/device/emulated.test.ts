/**
 * The CUDA device against emulated CUDA libraries: the same suites as on a card, failures at every call, and what the
 * loader says of machines that lack something. Runs in child processes, which find the emulated libraries only.
 */
import { expect } from 'chai';
import { spawnSync } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { cudaCore, cudaInfo, type CudaInfo } from '../../ts/native/cuda.js';
import { kernels } from '../../ts/native/index.js';
import { buildEmulator, emulatedEnvironment, root } from './emulator/build.js';

describe('emulated CUDA', function () {
  let folder = '';

  before(async function () {
    const skip = (why: string): void => {
      console.log(`      not tested: ${why}`);
      this.skip();
    };
    if (kernels.info().backend !== 'openblas' || cudaCore() === null) return skip('the native core is not loaded');
    const built = await buildEmulator();
    if ('reason' in built) return skip(built.reason);
    folder = built.folder;
  });

  const environment = (more: Record<string, string> = {}): NodeJS.ProcessEnv => ({
    ...process.env,
    ...emulatedEnvironment(folder),
    DEEP_HESSIAN_BINARY: kernels.info().file as string,
    ...more,
  });

  /** Runs specs in a process of their own; how many tests passed. */
  function mocha(specs: string[], options: string[] = [], more: Record<string, string> = {}): number {
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      ['node_modules/mocha/bin/mocha.js', '--reporter', 'json', '--timeout', '60000', ...options, ...specs],
      { cwd: root, env: environment(more), encoding: 'utf8', maxBuffer: 2 ** 26 },
    );
    const start = stdout.indexOf('{\n  "stats"');
    expect(start, `${stdout}\n${stderr}`).to.be.at.least(0);
    const report = JSON.parse(stdout.slice(start)) as {
      stats: { passes: number; failures: number };
      failures: { fullTitle: string; err: { message: string } }[];
    };
    const failures = report.failures.map(({ fullTitle, err }) => `${fullTitle}: ${err.message}`);
    expect(failures, failures.join('\n')).to.deep.equal([]);
    expect(status, stderr).to.equal(0);
    return report.stats.passes;
  }

  it('passes the conformance suite', () => {
    expect(mocha(['test/device/conformance.test.ts'], ['--grep', 'device: CUDA'])).to.be.at.least(39);
  });

  it('linearizes as the CPU does', () => {
    expect(mocha(['test/derivatives/device-point.test.ts'], ['--grep', 'on a device CUDA'])).to.be.at.least(2);
  });

  it('factors and solves as the CPU does', () => {
    expect(mocha(['test/inverse/device.test.ts'], ['--grep', 'on a device CUDA'])).to.be.at.least(4);
  });

  it('factors and solves by the recursion over layers as the CPU does', () => {
    expect(mocha(['test/inverse/device-chain.test.ts'], ['--grep', 'on a device CUDA'])).to.be.at.least(12);
  });

  it('solves from the command line', () => {
    const args = ['solve', '--case', 'test/golden/case05.json', '--method', 'affine', '--device', 'cuda', '--json'];
    const { status, stdout, stderr } = spawnSync(process.execPath, ['--import', 'tsx', 'ts/cli/main.ts', ...args], {
      cwd: root,
      env: environment(),
      encoding: 'utf8',
    });
    expect(status, stderr).to.equal(0);
    const solved = JSON.parse(stdout) as Record<string, unknown>;
    expect(solved).to.include({ status: 'converged', method: 'affine', device: 'cuda', precision: 'float64' });
    expect(solved.residual).to.be.at.most(1e-10);
  });

  it('turns every failing call into an error with its figures, and leaks nothing', () => {
    expect(mocha(['test/device/emulated-failures.ts'])).to.be.at.least(5);
  });

  it('reports a lost device, then and later', () => {
    expect(mocha(['test/device/emulated-loss.ts'])).to.be.at.least(1);
  });

  it('takes the steps of optimizers that the CPU takes', () => {
    expect(mocha(['test/optimize/on-device.test.ts'], ['--grep', 'CUDA'])).to.be.at.least(10);
  });

  it('trains from the command line, and goes on on the CPU when the card is lost', () => {
    const out = mkdtempSync(join(tmpdir(), 'deep-hessian-cuda-'));
    const train = (args: string[], more: Record<string, string> = {}): [number | null, string] => {
      const { status, stderr } = spawnSync(process.execPath, ['--import', 'tsx', 'ts/cli/main.ts', 'train', ...args], {
        cwd: root,
        env: environment(more),
        encoding: 'utf8',
      });
      return [status, stderr];
    };
    const run = (name: string, ...args: string[]): string[] => [
      ...['--points', '20', '--num-layers', '3', '--hidden-dim', '4', '--steps', '3', '--device', 'cuda'],
      ...['--out', join(out, name), ...args],
    ];
    try {
      const [status, text] = train(run('whole'));
      expect(status, text).to.equal(0);
      expect(text).to.include('device: cuda (Emulated card)');
      const [lost, message] = train(run('lost'), { EMULATED_CUDA_FAIL: 'cudaStreamSynchronize:40:719' });
      expect(lost).to.equal(1);
      expect(message).to.match(/error: .*cudaStreamSynchronize returned .*\(719\).* \[device-lost\]/);
      const [resumed, rest] = train(['--resume', join(out, 'lost'), '--device', 'cpu']);
      expect(resumed, rest).to.equal(0);
      expect(rest).not.to.include('device:');
    } finally {
      rmSync(out, { recursive: true });
    }
  });

  // --- the loader ---------------------------------------------------------------------------------------------------------

  const info = (more: Record<string, string>, path = folder): CudaInfo => {
    const source = 'process.stdout.write(JSON.stringify(require(process.argv[1]).cudaInfo()))';
    const { status, stdout, stderr } = spawnSync(process.execPath, ['-e', source, kernels.info().file as string], {
      env: environment({ DEEP_HESSIAN_CUDA_PATH: path, ...more }),
      encoding: 'utf8',
    });
    expect(status, stderr).to.equal(0);
    return JSON.parse(stdout) as CudaInfo;
  };

  it('finds libraries and card', () => {
    const found = info({ EMULATED_CUDA_DEVICES: '2' });
    expect(found.available).to.equal(true);
    expect(found.reason).to.equal(null);
    expect(found.libraries.map(({ name, error }) => [name, error])).to.deep.equal(
      ['driver', 'runtime', 'cublas', 'cusolver', 'nvrtc'].map((name) => [name, null]),
    );
    expect(found.libraries.every(({ file }) => file?.startsWith(folder))).to.equal(true);
    expect(found.devices).to.have.length(2);
    expect(found.devices[1]).to.deep.equal({
      index: 1,
      name: 'Emulated card',
      memory: 2 ** 30,
      computeCapability: '9.0',
      multiprocessors: 2,
    });
  });

  it('says what the driver says', () => {
    expect(info({ EMULATED_CUDA_FAIL: 'cuInit:0:100' })).to.deep.include({
      available: false,
      reason: 'the NVIDIA driver reports CUDA_ERROR_NO_DEVICE (100)',
      devices: [],
    });
    expect(info({ EMULATED_CUDA_DEVICES: '0' })).to.deep.include({
      available: false,
      reason: 'the NVIDIA driver reports no device',
    });
  });

  it('takes no libraries that the driver is too old for', () => {
    expect(info({ EMULATED_CUDA_VERSION: '11080' }).reason).to.equal('the NVIDIA driver runs CUDA 11.8, older than 12');
    const { libraries } = info({ EMULATED_CUDA_VERSION: '12040' });
    for (const { file } of libraries.slice(1)) expect(file ?? '').not.to.include(folder);
  });

  it('finds the folders of Python packages and names what is missing', function () {
    if (cudaInfo().libraries.some(({ name, file }) => name === 'cusolver' && file !== null)) return this.skip();
    const packages = mkdtempSync(join(tmpdir(), 'deep-hessian-cuda-'));
    try {
      const place = (name: string, file: string): void => {
        mkdirSync(join(packages, 'nvidia', name, 'lib'), { recursive: true });
        symlinkSync(join(folder, 'libcuda.so.1'), join(packages, 'nvidia', name, 'lib', file));
      };
      symlinkSync(join(folder, 'libcuda.so.1'), join(packages, 'libcuda.so.1'));
      place('cuda_runtime', 'libcudart.so.13');
      place('cublas', 'libcublas.so.13');
      place('cuda_nvrtc', 'libnvrtc.so.13');
      const partly = info({}, packages);
      expect(partly.available).to.equal(false);
      expect(partly.reason).to.match(/^CUDA libraries are missing: cusolver: .*libcusolver\.so\.12/);
      place('cusolver', 'libcusolver.so.12');
      const whole = info({}, packages);
      expect(whole.reason).to.equal(null);
      expect(whole.libraries[3].file).to.equal(join(packages, 'nvidia/cusolver/lib/libcusolver.so.12'));
    } finally {
      rmSync(packages, { recursive: true });
    }
  });

  it('finds the packages of the python3 that PATH names, in a virtual environment, too', function () {
    if (cudaInfo().libraries.some(({ name, file }) => name === 'cusolver' && file !== null)) return this.skip();
    const place = mkdtempSync(join(tmpdir(), 'deep-hessian-cuda-'));
    try {
      const packages = join(place, 'venv/lib/python3.12/site-packages/nvidia/cu13/lib');
      for (const path of ['driver', 'links', 'elsewhere/bin', 'venv/bin', packages])
        mkdirSync(resolve(place, path), { recursive: true });
      const library = join(folder, 'libcuda.so.1');
      symlinkSync(library, join(place, 'driver/libcuda.so.1'));
      for (const name of ['libcudart.so.13', 'libcublas.so.13', 'libcusolver.so.12', 'libnvrtc.so.13'])
        symlinkSync(library, join(packages, name));
      // A name on PATH, the interpreter of the environment, and the one that made it.
      writeFileSync(join(place, 'elsewhere/bin/python3.12'), '#!/bin/sh\n', { mode: 0o755 });
      symlinkSync(join(place, 'elsewhere/bin/python3.12'), join(place, 'venv/bin/python3'));
      symlinkSync('../venv/bin/python3', join(place, 'links/python3'));
      const found = info({ PATH: `${join(place, 'none')}:${join(place, 'links')}` }, join(place, 'driver'));
      expect(found.reason).to.equal(null);
      expect(realpathSync(dirname(found.libraries[3].file as string))).to.equal(realpathSync(packages));
      const none = info({ PATH: join(place, 'none') }, join(place, 'driver'));
      expect(none.reason).to.match(/^CUDA libraries are missing: /);
    } finally {
      rmSync(place, { recursive: true });
    }
  });

  it('keeps compiled kernels, and does not trust a torn file', () => {
    const cache = mkdtempSync(join(tmpdir(), 'deep-hessian-cuda-'));
    try {
      const source = `
        const k = require(process.argv[1]), d = k.cudaOpen(0, false), b = k.cudaAllocate(d, 0, 3), out = new Float64Array(3);
        k.cuda_fill(d, 3, 2.5, b, 0);
        k.cudaDownload(d, b, 0, 3, out, 0);
        process.stdout.write(out.join());`;
      const run = (more: Record<string, string>): string => {
        const { status, stdout, stderr } = spawnSync(process.execPath, ['-e', source, kernels.info().file as string], {
          env: environment({ DEEP_HESSIAN_CUDA_CACHE: join(cache, 'below'), ...more }),
          encoding: 'utf8',
        });
        return status === 0 ? stdout : stderr;
      };
      expect(run({})).to.equal('2.5,2.5,2.5');
      const [file] = readdirSync(join(cache, 'below'));
      expect(readdirSync(join(cache, 'below'))).to.have.length(1);
      // Where the compiler does not work the kept code serves; torn, it does not.
      const broken = { EMULATED_CUDA_FAIL: 'nvrtcCompileProgram:0:6' };
      expect(run(broken)).to.equal('2.5,2.5,2.5');
      const bytes = readFileSync(join(cache, 'below', file));
      writeFileSync(join(cache, 'below', file), bytes.subarray(0, bytes.length - 1));
      expect(run(broken)).to.match(/nvrtcCompileProgram returned NVRTC_ERROR_COMPILATION \(6\).*error: injected/);
      bytes[bytes.length - 1] ^= 1;
      writeFileSync(join(cache, 'below', file), bytes);
      expect(run(broken)).to.match(/NVRTC_ERROR_COMPILATION/);
      expect(run({})).to.equal('2.5,2.5,2.5');
      // A compiler that does not know the card makes code for an older one, kept beside the other.
      expect(run({ EMULATED_NVRTC_ARCH: '86' })).to.equal('2.5,2.5,2.5');
      expect(readdirSync(join(cache, 'below'))).to.have.length(2);
    } finally {
      rmSync(cache, { recursive: true });
    }
  });
});
