/** Looking for CUDA: absence in all its forms is an answer, never an error, and costs nothing before it is asked for. */
import { expect } from 'chai';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cudaCore, cudaInfo, type CudaInfo } from '../../ts/native/cuda.js';
import { kernels } from '../../ts/native/index.js';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..');

/** Runs TypeScript in a process of its own and returns what it prints as JSON. */
function child<T>(source: string, env: Record<string, string> = {}): T {
  const text = execFileSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', source], {
    cwd: root,
    env: { ...process.env, ...env },
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  return JSON.parse(text) as T;
}

const printInfo = "import { cudaInfo } from './ts/native/cuda.ts'; process.stdout.write(JSON.stringify(cudaInfo()));";

describe('looking for CUDA', function () {
  before(function () {
    if (process.env.DEEP_HESSIAN_BINARY === 'none' || kernels.info().backend !== 'openblas' || cudaCore() === null) {
      console.log('      not tested: the native core is not loaded, or older than these tests');
      this.skip();
    }
  });

  it('says what was found, or why nothing can be used', () => {
    const info = cudaInfo();
    expect(info.available).to.equal(info.reason === null);
    expect(info.reason).not.to.equal('');
    if (info.available) expect(info.devices).not.to.be.empty;
    if (process.platform !== 'linux') return;
    expect(info.libraries.map(({ name }) => name)).to.include('driver');
    for (const { file, version, error } of info.libraries) {
      // Found with its version, or missing with the reason.
      expect(error === null).to.equal(file !== null && version !== null && version !== '');
      if (error !== null) expect(error).to.match(/\S/);
    }
    for (const { name, memory, computeCapability, multiprocessors } of info.devices) {
      expect(name).to.match(/\S/);
      expect(computeCapability).to.match(/^\d+\.\d$/);
      expect(memory).to.be.greaterThan(2 ** 20);
      expect(multiprocessors).to.be.greaterThan(0);
    }
  });

  it('gives the same answer again', () => expect(cudaInfo()).to.deep.equal(cudaInfo()));

  it('loads nothing of CUDA before it is asked', function () {
    if (process.platform !== 'linux') return this.skip();
    const maps = child<string[]>(`
      import { readFileSync } from 'node:fs';
      import { kernels } from './ts/index.ts';
      const a = Float64Array.of(4, 1, 1, 4);
      kernels.potrf(0, 2, a, 0, 2);
      const files = readFileSync('/proc/self/maps', 'utf8').split('\\n').map((line) => line.split(' ').at(-1));
      process.stdout.write(JSON.stringify([...new Set(files)].filter((file) => /libcuda|cublas|cusolver|nvrtc/.test(file))));`);
    expect(maps).to.deep.equal([]);
  });

  it('DEEP_HESSIAN_CUDA_PATH=none switches it off', () => {
    const info = child<CudaInfo>(printInfo, { DEEP_HESSIAN_CUDA_PATH: 'none' });
    expect(info.available).to.equal(false);
    if (process.platform !== 'linux') return;
    expect(info).to.deep.equal({ available: false, reason: 'DEEP_HESSIAN_CUDA_PATH=none', libraries: [], devices: [] });
  });

  it('a file that is no library is named with the reason', function () {
    if (process.platform !== 'linux') return this.skip();
    const folder = mkdtempSync(join(tmpdir(), 'deep-hessian-cuda-'));
    try {
      writeFileSync(join(folder, 'libcuda.so.1'), 'not a library');
      const info = child<CudaInfo>(printInfo, { DEEP_HESSIAN_CUDA_PATH: folder });
      const driver = info.libraries.find(({ name }) => name === 'driver');
      // Where there is a driver the search goes on to it.
      if (driver?.file) return;
      expect(driver?.error).to.include(join(folder, 'libcuda.so.1'));
      expect(info.available).to.equal(false);
      expect(info.reason)
        .to.match(/^no NVIDIA driver: /)
        .and.to.include(folder);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('opening without a card fails with the reason', function () {
    const { available, reason } = cudaInfo();
    if (available) return this.skip();
    expect(() => cudaCore()?.cudaOpen(0, false))
      .to.throw(reason as string)
      .that.includes({ code: 'DEEP_HESSIAN_CUDA', kind: 'unavailable' });
  });

  it('calls with a device that is not open are refused', () => {
    const core = cudaCore() as unknown as Record<string, (...values: unknown[]) => unknown>;
    for (const name of Object.keys(core).filter((key) => key.startsWith('cuda_') || key === 'cudaAllocate')) {
      expect(() => core[name](12345), name).to.throw(RangeError, /expected an open device for device, received 12345$/);
      expect(() => core[name](), name).to.throw(TypeError, /expected an integer .* for device, received undefined$/);
    }
  });
});

describe('looking for CUDA without the native core', () => {
  it('says so', () => {
    const info = child<CudaInfo>(printInfo, { DEEP_HESSIAN_BINARY: 'none' });
    expect(info).to.deep.equal({ available: false, reason: 'native core not loaded', libraries: [], devices: [] });
  });
});
