/**
 * The CUDA side of the addon: what there is on this machine, and the raw calls behind ts/device/cuda.ts. Nothing of
 * CUDA is loaded before {@link cudaInfo} or a device is asked for.
 */
import { kernels } from './index.js';

/** One library that CUDA work needs. */
export interface CudaLibrary {
  /** which of them */
  name: 'driver' | 'runtime' | 'cublas' | 'cusolver' | 'nvrtc';
  /** the file that was loaded, null where none was */
  file: string | null;
  /** as the library says it */
  version: string | null;
  /** why it is not usable, null where it is */
  error: string | null;
}

/** One card, as the driver describes it. */
export interface CudaDeviceInfo {
  /** what `openCudaDevice` takes */
  index: number;
  /** e.g. 'NVIDIA H200' */
  name: string;
  /** bytes of device memory */
  memory: number;
  /** e.g. '9.0' */
  computeCapability: string;
  /** number of streaming multiprocessors */
  multiprocessors: number;
}

/** What was found of CUDA. */
export interface CudaInfo {
  /** whether a device can be opened */
  available: boolean;
  /** why not, null when available */
  reason: string | null;
  /** the driver and the libraries, found or not */
  libraries: CudaLibrary[];
  /** the cards that the driver knows */
  devices: CudaDeviceInfo[];
}

/** Memory of an open device, bytes (and the number of buffers). */
export interface DeviceMemory {
  /** buffers in use */
  buffers: number;
  /** bytes in them */
  bytes: number;
  /** bytes of workspaces, kept for reuse */
  workspace: number;
  /** bytes that the device has free, of all processes */
  free: number;
  /** bytes of the device */
  total: number;
}

/** Raw calls of the addon. Devices and buffers are numbers; every operation is `cuda_<name>(device, ...)`. */
export interface CudaCore {
  cudaInfo(): CudaInfo;
  /** @returns the number of the opened device */
  cudaOpen(index: number, tf32: boolean): number;
  cudaClose(device: number): void;
  /** @param element 0 float64, 1 float32, 2 int32; @returns the number of the buffer */
  cudaAllocate(device: number, element: number, length: number): number;
  cudaFree(device: number, buffer: number): void;
  cudaMemory(device: number): DeviceMemory;
  cudaUpload(
    device: number,
    buffer: number,
    offset: number,
    count: number,
    array: ArrayBufferView,
    arrayOffset: number,
  ): void;
  cudaDownload(
    device: number,
    buffer: number,
    offset: number,
    count: number,
    array: ArrayBufferView,
    arrayOffset: number,
  ): void;
  cudaUseStream(device: number, stream: number): void;
  cudaWaitFor(device: number, stream: number): void;
  cudaSynchronize(device: number): void;
}

/** The figures on an error that the CUDA calls throw. */
export interface CudaFailure extends Error {
  code: 'DEEP_HESSIAN_CUDA';
  kind: 'failed' | 'out-of-memory' | 'lost' | 'unavailable';
  library: string;
  call: string;
  status: number;
  statusName: string;
  bytes?: number;
  free?: number;
  total?: number;
}

/** The addon's CUDA calls, or null where the addon is not loaded or older than they are. */
export function cudaCore(): CudaCore | null {
  const addon = kernels as typeof kernels & Partial<CudaCore>;
  return typeof addon.cudaOpen === 'function' && typeof addon.cudaInfo === 'function'
    ? (addon as unknown as CudaCore)
    : null;
}

/**
 * Looks for the CUDA libraries and cards of this machine; the first call loads what it finds. The folders in the
 * environment variable `DEEP_HESSIAN_CUDA_PATH` (`:` between) come first; `none` switches CUDA off.
 *
 * @example
 * const { available, reason, devices } = cudaInfo();
 * console.log(available ? devices[0].name : reason);
 */
export function cudaInfo(): CudaInfo {
  const core = cudaCore();
  if (core !== null) return core.cudaInfo();
  const reason =
    kernels.info().backend === 'typescript' ? 'native core not loaded' : 'the native core was built without CUDA calls';
  return { available: false, reason, libraries: [], devices: [] };
}
