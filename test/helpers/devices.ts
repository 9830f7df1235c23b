/** The devices that suites run on: the CPU behind the interface, and a card where there is one. */
import { expect } from 'chai';
import { createHostDevice, cudaInfo, openCudaDevice, type DeviceKernels } from '../../ts/device/index.js';

const { available, reason } = cudaInfo();

/** Whether there is a card, and why not. */
export const card: { available: boolean; reason: string | null } = { available, reason };

/** Name and opener of each. */
export const devices: readonly [string, () => DeviceKernels][] = [
  ['CPU', () => createHostDevice()],
  ...(available ? [['CUDA', () => openCudaDevice()] as [string, () => DeviceKernels]] : []),
];

/** Whether it is the emulated card, which is two hundred times slower than any other device. */
export const emulated = (device: DeviceKernels): boolean => device.name === 'Emulated card';

/** Opens a device for the tests of a suite; every test gives back all memory that it takes there. */
export function useDevice(open: () => DeviceKernels, take: (device: DeviceKernels) => void): void {
  let device: DeviceKernels;
  before(() => take((device = open())));
  after(() => device.dispose());
  afterEach(() => expect(device.memory().buffers).to.equal(0));
}

/** A skipped test that says why there is no card; nothing where there is one. */
export function sayWithoutCard(title = 'CUDA'): void {
  if (available) return;
  it(title, function () {
    console.log(`      not tested: no usable GPU: ${reason}`);
    this.skip();
  });
}
