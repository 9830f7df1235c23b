/**
 * A card as a device: the operations of the interface as calls of the addon, which runs them through cuBLAS, cuSOLVER and
 * kernels compiled for the card at hand. All arguments are checked there.
 */
import { checkInteger, failRange, failType } from '../checks.js';
import { DeepHessianError, type ErrorCode } from '../errors.js';
import {
  cudaCore,
  cudaInfo,
  type CudaCore,
  type CudaDeviceInfo,
  type CudaFailure,
  type DeviceMemory,
} from '../native/cuda.js';
import type { DeviceKernels, HostArray } from './device.js';
import {
  operationNames,
  type DeviceBuffer,
  type DeviceOperations,
  type ElementType,
  type OperationName,
} from './operations.js';
import { checkAllocation, checkTransfer } from './transfers.js';

const elementCodes: Record<ElementType, number> = { float64: 0, float32: 1, int32: 2 };

const errorKinds: Record<CudaFailure['kind'], ErrorCode> = {
  failed: 'device-failed',
  'out-of-memory': 'out-of-memory',
  lost: 'device-lost',
  unavailable: 'device-unavailable',
};

class CudaBuffer implements DeviceBuffer {
  disposed = false;

  constructor(
    readonly owner: CudaCard,
    readonly id: number,
    readonly type: ElementType,
    readonly length: number,
  ) {}

  get bytes(): number {
    return this.length * (this.type === 'float64' ? 8 : 4);
  }

  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    this.owner.release(this);
  }
}

/** Options of {@link openCudaDevice}. */
export interface CudaDeviceOptions {
  /** which card, default 0 */
  index?: number;
  /** float32 products may round their inputs to TF32 (10 bits of fraction), default false */
  tf32?: boolean;
}

class CudaCard implements Omit<DeviceKernels, OperationName> {
  readonly kind = 'cuda';
  readonly name: string;
  readonly facts: CudaDeviceInfo;
  private readonly core: CudaCore;
  private readonly id: number;
  private open = true;
  private failed = false;

  constructor(core: CudaCore, options: CudaDeviceOptions) {
    const { index = 0, tf32 = false } = options;
    checkInteger('openCudaDevice', 'index', index);
    this.core = core;
    this.id = this.guard('openCudaDevice', () => core.cudaOpen(index, tf32));
    this.facts = core.cudaInfo().devices[index];
    this.name = this.facts.name;
  }

  /** The operation as a call of the addon: numbers in the place of the buffers. */
  operation(name: OperationName): (...values: unknown[]) => unknown {
    const call = (this.core as unknown as Record<string, (...values: unknown[]) => unknown>)[`cuda_${name}`];
    return (...values) => {
      for (let i = 0; i < values.length; i++) {
        const value = values[i];
        if (value instanceof CudaBuffer) values[i] = this.handle(name, value);
        // Buffer 0 is null to the addon; null in the place of a host array stays one.
        else if (value === null && name !== 'jacobianGram') values[i] = 0;
      }
      return this.guard(name, () => call(this.id, ...values));
    };
  }

  /** Whether the card failed: it can be opened anew, with empty memory. */
  get lost(): boolean {
    return this.failed;
  }

  allocate(type: ElementType, length: number): DeviceBuffer {
    checkAllocation(type, length);
    const id = this.guard('allocate', () => this.core.cudaAllocate(this.id, elementCodes[type], length));
    return new CudaBuffer(this, id, type, length);
  }

  /** @internal */
  release(buffer: CudaBuffer): void {
    // A lost device has taken its memory with it.
    if (this.open && !this.failed) this.guard('dispose', () => this.core.cudaFree(this.id, buffer.id));
  }

  upload(array: HostArray, buffer: DeviceBuffer, bufferOffset = 0, arrayOffset = 0, count?: number): void {
    const id = this.handle('upload', buffer);
    const n = checkTransfer('upload', array, buffer, bufferOffset, arrayOffset, count);
    this.guard('upload', () => this.core.cudaUpload(this.id, id, bufferOffset, n, array, arrayOffset));
  }

  download(buffer: DeviceBuffer, array: HostArray, bufferOffset = 0, arrayOffset = 0, count?: number): void {
    const id = this.handle('download', buffer);
    const n = checkTransfer('download', array, buffer, bufferOffset, arrayOffset, count);
    this.guard('download', () => this.core.cudaDownload(this.id, id, bufferOffset, n, array, arrayOffset));
  }

  memory(): DeviceMemory {
    return this.guard('memory', () => this.core.cudaMemory(this.id));
  }

  useStream(index: number): void {
    checkInteger('useStream', 'stream', index, 0, 31);
    this.guard('useStream', () => this.core.cudaUseStream(this.id, index));
  }

  waitFor(index: number): void {
    checkInteger('waitFor', 'stream', index, 0, 31);
    this.guard('waitFor', () => this.core.cudaWaitFor(this.id, index));
  }

  synchronize(): void {
    this.guard('synchronize', () => this.core.cudaSynchronize(this.id));
  }

  dispose(): void {
    if (!this.open) return;
    this.open = false;
    this.core.cudaClose(this.id);
  }

  private handle(operation: string, buffer: DeviceBuffer): number {
    if (!(buffer instanceof CudaBuffer) || buffer.owner !== this) {
      failType(operation, 'buffer', 'a device buffer of this device', buffer);
    }
    if (buffer.disposed) failRange(operation, 'buffer', 'a device buffer in use', 'one that has been disposed');
    return buffer.id;
  }

  /** Runs a call of the addon and turns its failures into the library's errors. */
  private guard<T>(operation: string, call: () => T): T {
    if (!this.open) throw new DeepHessianError('unsupported', `${operation}: the device has been disposed`);
    try {
      return call();
    } catch (error) {
      if (!isFailure(error)) throw error;
      if (error.kind === 'lost') this.failed = true;
      throw translate(error, this.name);
    }
  }
}

function isFailure(error: unknown): error is CudaFailure {
  return error instanceof Error && (error as Partial<CudaFailure>).code === 'DEEP_HESSIAN_CUDA';
}

function translate(error: CudaFailure, name: string | undefined): DeepHessianError {
  const { kind, library, call, status, statusName, bytes, free, total } = error;
  const memory =
    kind === 'out-of-memory' && bytes !== undefined && bytes > 0
      ? `: needs ${bytes} bytes, ${free} of ${total} are free`
      : '';
  const where = name === undefined ? '' : ` on ${name}`;
  return new DeepHessianError(
    errorKinds[kind],
    `${error.message}${memory}${where}`,
    {
      library,
      call,
      status,
      statusName,
      ...(kind === 'out-of-memory' ? { bytes, free, total } : {}),
      ...(name === undefined ? {} : { device: name }),
    },
    { cause: error },
  );
}

/** An open card. */
export type CudaDevice = CudaCard & DeviceOperations;

/**
 * Opens a card. It holds its memory, streams and library handles until `dispose`.
 *
 * @throws DeepHessianError 'device-unavailable' with the reason where there is none
 */
export function openCudaDevice(options: CudaDeviceOptions = {}): CudaDevice {
  const core = cudaCore();
  const { available, reason } = cudaInfo();
  if (core === null || !available) {
    throw new DeepHessianError('device-unavailable', `openCudaDevice: no usable GPU: ${reason ?? 'unknown'}`, {
      reason,
    });
  }
  const card = new CudaCard(core, options);
  for (const name of operationNames) Object.defineProperty(card, name, { value: card.operation(name) });
  return card as CudaDevice;
}
