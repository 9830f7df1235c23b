/** Run by emulated.test.ts in a process with emulated CUDA libraries: the card fails for good. */
import { expect } from 'chai';
import { openCudaDevice } from '../../ts/device/index.js';
import { DeepHessianError } from '../../ts/errors.js';

describe('a device that is lost', () => {
  it('says so at the call that noticed and at every later one', () => {
    const device = openCudaDevice();
    const buffer = device.allocate('float64', 4);
    device.upload(Float64Array.of(4, 1, 1, 4), buffer);
    expect(device.lost).to.equal(false);
    // The kernel ran into an illegal address; cuSOLVER knows only that it did not work.
    process.env.EMULATED_CUDA_FAIL = 'cudaStreamSynchronize:0:700';
    for (let i = 0; i < 3; i++) {
      let error: unknown;
      try {
        device.potrf(0, 2, buffer, 0, 2);
      } catch (thrown) {
        error = thrown;
      }
      expect(error).to.be.instanceOf(DeepHessianError);
      const { code, details, message } = error as DeepHessianError;
      expect(code).to.equal('device-lost');
      expect(details).to.include({ call: 'cudaStreamSynchronize', status: 700, statusName: 'cudaErrorIllegalAddress' });
      expect(message).to.include('cudaErrorIllegalAddress (700)').and.to.include('Emulated card');
    }
    expect(device.lost).to.equal(true);
    expect(() => buffer.dispose()).not.to.throw();
    expect(() => device.dispose()).not.to.throw();
  });
});
