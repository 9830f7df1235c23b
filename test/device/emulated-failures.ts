/** Run by emulated.test.ts in a process with emulated CUDA libraries: failures at every call. */
import { expect } from 'chai';
import { openCudaDevice, type CudaDevice, type DeviceBuffer } from '../../ts/device/index.js';
import { DeepHessianError } from '../../ts/errors.js';

/** Lets the call that comes after `passed` others fail with `status`; `*` is any call. */
function fail(call: string, passed: number, status: number): void {
  process.env.EMULATED_CUDA_FAIL = `${call}:${passed}:${status}`;
}
const heal = (): void => void delete process.env.EMULATED_CUDA_FAIL;

function caught(work: () => void): DeepHessianError {
  try {
    work();
  } catch (error) {
    expect(error).to.be.instanceOf(DeepHessianError);
    return error as DeepHessianError;
  }
  return expect.fail('nothing was thrown');
}

/** Bytes of the card that are in use, asked with a device of its own. */
function used(): number {
  const device = openCudaDevice();
  const { free, total } = device.memory();
  device.dispose();
  return total - free;
}

/** One call of every kind of operation; the device and its buffers stay. */
function work(device: CudaDevice): void {
  const n = 6;
  const a = Float64Array.from({ length: n * n }, (_, i) => (i % (n + 1) === 0 ? 8 : 1 / (1 + (i % 5))));
  const matrix = device.allocate('float64', n * n);
  const copy = device.allocate('float64', n * n);
  const vector = device.allocate('float64', n);
  const pivots = device.allocate('int32', n);
  const refill = (): void => device.upload(a, matrix);
  refill();
  device.copy(n * n, matrix, 0, copy, 0);
  device.upload(a.subarray(0, n), vector);
  device.syrk(0, 0, n, n, 1, copy, 0, n, 0, matrix, 0, n);
  device.addDiagonal(n, 1, matrix, 0, n);
  device.potrf(0, n, matrix, 0, n);
  device.potrs(0, n, 1, matrix, 0, n, vector, 0, n);
  refill();
  device.symmetrize(0, n, matrix, 0, n);
  device.sytrf(0, n, matrix, 0, n, pivots, 0);
  device.sytrs(0, n, 1, matrix, 0, n, pivots, 0, vector, 0, n);
  device.sytrfInertia(0, n, matrix, 0, n, pivots, 0, new Float64Array(6));
  refill();
  device.getrf(n, n, matrix, 0, n, pivots, 0);
  device.getrs(0, n, 1, matrix, 0, n, pivots, 0, vector, 0, n);
  refill();
  device.potrfBatch(0, 2, matrix, 0, 2, 4, 3);
  device.potrsBatch(0, 2, 1, matrix, 0, 2, 4, vector, 0, 2, 2, 3);
  device.getrfBatch(2, 2, copy, 0, 2, 4, pivots, 0, 2, 3);
  device.syevd(1, 0, n, copy, 0, n, vector, 0);
  device.dot(n, vector, 0, matrix, 0);
  device.activate(1, n, 1, vector, 0, null, 0, null, 0, null, 0, null, 0, null, 0);
  const one = Float64Array.of(1);
  device.jacobianGram(
    2,
    3,
    1,
    1,
    one,
    Int32Array.of(1),
    vector,
    Float64Array.of(0),
    copy,
    Float64Array.of(0),
    matrix,
    0,
    n,
    null,
  );
  device.useStream(1);
  device.waitFor(0);
  device.gemm(0, 0, n, n, n, 1, matrix, 0, n, matrix, 0, n, 0, copy, 0, n);
  device.download(copy, new Float64Array(n * n));
  device.synchronize();
}

describe('failures of CUDA calls', () => {
  beforeEach(heal);
  afterEach(heal);

  it('the work itself goes through and leaves nothing behind', () => {
    const device = openCudaDevice();
    work(device);
    device.dispose();
    expect(used()).to.equal(0);
  });

  it('a failure of any call is an error that names it', () => {
    const names = new Set<string>();
    for (let passed = 0; ; passed++) {
      // Not a status of any special meaning, in any of the libraries.
      fail('*', passed, 9);
      let device: CudaDevice | null = null;
      let failed: DeepHessianError | null = null;
      try {
        device = openCudaDevice();
        work(device);
      } catch (error) {
        expect(error, `call ${passed}`).to.be.instanceOf(DeepHessianError);
        failed = error as DeepHessianError;
      }
      heal();
      device?.dispose();
      expect(used(), `after call ${passed}`).to.equal(0);
      if (failed === null) break;
      expect(failed.code, failed.message).to.equal('device-failed');
      expect(failed.details.status).to.equal(9);
      expect(failed.message).to.include(failed.details.call).and.to.match(/\(9\)/);
      names.add(failed.details.call as string);
    }
    // Every library was reached.
    for (const call of [
      'cudaMalloc',
      'cudaMemcpyAsync',
      'cudaStreamSynchronize',
      'cuLaunchKernel',
      'cusolverDnCreate',
      'cudaStreamWaitEvent',
    ]) {
      expect([...names], call).to.include(call);
    }
    expect(names.size).to.be.at.least(20);
  });

  it('memory that runs out at any allocation is out-of-memory with the figures', () => {
    let codes = 0;
    for (let passed = 0; ; passed++) {
      fail('cudaMalloc', passed, 2);
      let device: CudaDevice | null = null;
      let failed: DeepHessianError | null = null;
      try {
        device = openCudaDevice();
        work(device);
      } catch (error) {
        failed = error as DeepHessianError;
      }
      heal();
      device?.dispose();
      expect(used()).to.equal(0);
      if (failed === null) break;
      codes++;
      expect(failed.code).to.equal('out-of-memory');
      expect(failed.details.bytes).to.be.greaterThan(0);
      expect(failed.details.total).to.equal(2 ** 30);
      expect(failed.message).to.match(/needs \d+ bytes, \d+ of 1073741824 are free on Emulated card/);
    }
    // Four buffers and the workspaces.
    expect(codes).to.be.greaterThan(6);
  });

  it('a device that is too small refuses, and goes on with what fits', () => {
    process.env.EMULATED_CUDA_MEMORY = '100000';
    try {
      const device = openCudaDevice();
      const held = device.allocate('float64', 1000);
      const { code, details } = caught(() => device.allocate('float64', 12000));
      expect(code).to.equal('out-of-memory');
      expect(details).to.include({ bytes: 96000, total: 100000, free: 92000 });
      const fits = device.allocate('float64', 11000);
      expect(device.memory()).to.include({ buffers: 2, bytes: 96000 });
      fits.dispose();
      held.dispose();
      expect(device.memory()).to.include({ buffers: 0, bytes: 0, free: 100000 });
      device.dispose();
    } finally {
      delete process.env.EMULATED_CUDA_MEMORY;
    }
  });

  it('after a failed operation the device works on', () => {
    const device = openCudaDevice();
    const buffer = device.allocate('float64', 4);
    device.upload(Float64Array.of(4, 1, 1, 4), buffer);
    fail('cusolverDnDpotrf', 0, 6);
    const { code, details } = caught(() => void device.potrf(0, 2, buffer, 0, 2));
    expect(code).to.equal('device-failed');
    expect(details).to.include({ library: 'cusolver', status: 6, statusName: 'CUSOLVER_STATUS_EXECUTION_FAILED' });
    heal();
    expect(device.potrf(0, 2, buffer, 0, 2)).to.equal(0);
    const out = new Float64Array(4);
    device.download(buffer, out);
    expect(out[0]).to.equal(2);
    device.dispose();
    expect(used()).to.equal(0);
  });

  it('memory of a device that is closed or collected is given back', () => {
    const device = openCudaDevice();
    const buffers: DeviceBuffer[] = [1, 2, 3].map((n) => device.allocate('float64', 1000 * n));
    buffers[1].dispose();
    device.dispose();
    expect(used()).to.equal(0);
    expect(() => buffers[0].dispose()).not.to.throw();
    expect(() => device.fill(1, 0, buffers[0], 0)).to.throw(/disposed/);
  });
});
