/** Devices: memory and operations of a card, or of the CPU behind the same interface. */
export type { DeviceKernels, DeviceMemory, HostArray } from './device.js';
export { operationNames, type DeviceBuffer, type DeviceOperations, type ElementType } from './operations.js';
export { DeviceBuffers, type DeviceSlice } from './buffers.js';
export { hasRoom, shortage } from './room.js';
export { createHostDevice, type HostDeviceOptions } from './host.js';
export { openCudaDevice, type CudaDevice, type CudaDeviceOptions } from './cuda.js';
export { instrument, type DeviceCounters } from './instrumented.js';
export { cudaInfo, type CudaDeviceInfo, type CudaInfo, type CudaLibrary } from '../native/cuda.js';
export {
  chooseDevice,
  closeSharedCudaDevice,
  deviceNames,
  measureRates,
  modelSeconds,
  sharedCudaDevice,
  type ChosenDevice,
  type DeviceName,
  type DeviceRates,
  type DeviceWork,
} from './select.js';
