/**
 * A device: memory that operations work on without it travelling to the host. Two implementations satisfy the interface,
 * one over the CPU kernels with host arrays behind the same handles (the reference), one over cuBLAS and cuSOLVER.
 *
 * Work is queued; `download`, operations that return a number, and `synchronize` wait for it. Errors are
 * {@link DeepHessianError}s: 'out-of-memory' with the figures, 'device-lost', 'device-failed' with library, call and status.
 */
import type { DeviceMemory } from '../native/cuda.js';
import type { DeviceBuffer, DeviceOperations, ElementType } from './operations.js';

export type { DeviceMemory } from '../native/cuda.js';

/** A host array that can be a buffer's contents. */
export type HostArray = Float64Array | Float32Array | Int32Array;

/** An open device: memory, transfers, streams and the operations of {@link DeviceOperations}. */
export interface DeviceKernels extends DeviceOperations {
  /** what is behind it */
  readonly kind: 'cpu' | 'cuda';
  /** e.g. 'NVIDIA H200', or the processor's BLAS */
  readonly name: string;
  /**
   * Memory for `length` numbers, not cleared.
   * @throws DeepHessianError 'out-of-memory' with `bytes`, `free` and `total`
   */
  allocate(type: ElementType, length: number): DeviceBuffer;
  /** buffer[bufferOffset + i] := array[arrayOffset + i] for i < count (default: to the end of the array). The types agree. */
  upload(array: HostArray, buffer: DeviceBuffer, bufferOffset?: number, arrayOffset?: number, count?: number): void;
  /** array[arrayOffset + i] := buffer[bufferOffset + i] for i < count (default: to the end of the array). The types agree. */
  download(buffer: DeviceBuffer, array: HostArray, bufferOffset?: number, arrayOffset?: number, count?: number): void;
  /** Memory in use and free. */
  memory(): DeviceMemory;
  /** Queues what follows on stream `index` (0 at first, up to 31). Streams run side by side. */
  useStream(index: number): void;
  /** What follows on the current stream waits for what is queued on stream `index` now. */
  waitFor(index: number): void;
  /** Waits for everything that is queued. */
  synchronize(): void;
  /** Frees all buffers and closes the device; any later use throws. */
  dispose(): void;
}

const arrayTypes = { float64: Float64Array, float32: Float32Array, int32: Int32Array } as const;

/** A new host array of a buffer's type. */
export function hostArray(type: ElementType, length: number): HostArray {
  return new arrayTypes[type](length);
}

/** The element type of a host array. */
export function elementTypeOf(array: HostArray): ElementType {
  return array instanceof Float64Array ? 'float64' : array instanceof Float32Array ? 'float32' : 'int32';
}
