/** The device interface on the CPU reference, through the counting wrapper, and on a card where there is one. */
import { conformance } from './conformance.js';
import { createHostDevice, cudaInfo, instrument, openCudaDevice } from '../../ts/device/index.js';
import { fallback } from '../../ts/native/fallback.js';

conformance('CPU', () => createHostDevice());
conformance('plain TypeScript kernels', () => createHostDevice({ kernels: fallback }));
conformance('instrumented CPU', () => instrument(createHostDevice()).device);

const { available, reason } = cudaInfo();
if (available) conformance('CUDA', () => openCudaDevice());
else {
  describe('device: CUDA', () => {
    it('runs the same suite', function () {
      console.log(`      not tested: no usable GPU: ${reason}`);
      this.skip();
    });
  });
}
