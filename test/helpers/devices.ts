/** The devices that suites run on: the CPU behind the interface, and a card where there is one. */
import { createHostDevice, cudaInfo, openCudaDevice, type DeviceKernels } from '../../ts/device/index.js';

const { available, reason } = cudaInfo();

/** Whether there is a card, and why not. */
export const card: { available: boolean; reason: string | null } = { available, reason };

/** Name and opener of each. */
export const devices: readonly [string, () => DeviceKernels][] = [
  ['CPU', () => createHostDevice()],
  ...(available ? [['CUDA', () => openCudaDevice()] as [string, () => DeviceKernels]] : []),
];

/** A skipped test that says why there is no card; nothing where there is one. */
export function sayWithoutCard(title = 'CUDA'): void {
  if (available) return;
  it(title, function () {
    console.log(`      not tested: no usable GPU: ${reason}`);
    this.skip();
  });
}
