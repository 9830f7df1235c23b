/** Memory that a job on a device will need, looked at before anything is allocated. */
import { DeepHessianError } from '../errors.js';
import { formatBytes } from '../units.js';
import type { DeviceKernels } from './device.js';

/** What there is too little of, in words. */
export function shortage(device: DeviceKernels, bytes: number, free: number): string {
  return `needs ${formatBytes(bytes)} but ${formatBytes(free)} of ${device.name} is free`;
}

/**
 * Whether `bytes` are free.
 *
 * @param what e.g. 'factor: a batch of 64 samples', the subject of the error
 * @param optional whether there is another way, so that too little is no error
 * @throws DeepHessianError 'out-of-memory' with `bytes` and `free`
 */
export function hasRoom(device: DeviceKernels, bytes: number, what: string, optional: boolean): boolean {
  const { free } = device.memory();
  if (bytes <= free) return true;
  if (optional) return false;
  throw new DeepHessianError(
    'out-of-memory',
    `${what} ${shortage(device, bytes, free)}; use fewer samples or the CPU`,
    { bytes, free },
  );
}
