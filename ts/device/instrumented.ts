/**
 * Any device with a count of everything that passes: calls by name, memory taken and given back, bytes that travel. A hook
 * before every call lets tests break it at any point.
 */
import type { DeviceKernels, HostArray } from './device.js';
import { operationNames, type DeviceBuffer, type ElementType } from './operations.js';

/** What has passed through an instrumented device. */
export interface DeviceCounters {
  /** calls of each operation, transfers and allocations included */
  calls: Record<string, number>;
  /** all calls together */
  total: number;
  /** bytes from the host to the device, and back */
  uploaded: number;
  downloaded: number;
  /** buffers allocated and not yet disposed, and their bytes */
  buffers: number;
  bytes: number;
  /** most bytes held at once */
  peak: number;
}

class CountedBuffer implements DeviceBuffer {
  private disposed = false;

  constructor(
    readonly inner: DeviceBuffer,
    private readonly counters: DeviceCounters,
  ) {
    counters.buffers++;
    counters.bytes += inner.bytes;
    counters.peak = Math.max(counters.peak, counters.bytes);
  }

  get type(): ElementType {
    return this.inner.type;
  }
  get length(): number {
    return this.inner.length;
  }
  get bytes(): number {
    return this.inner.bytes;
  }

  dispose(): void {
    if (!this.disposed) {
      this.disposed = true;
      this.counters.buffers--;
      this.counters.bytes -= this.inner.bytes;
    }
    this.inner.dispose();
  }
}

/**
 * Wraps a device.
 *
 * @param before called with the name of every call and how many there were before; what it throws is the call's error
 */
export function instrument(
  device: DeviceKernels,
  before: (name: string, index: number) => void = () => {},
): { device: DeviceKernels; counters: DeviceCounters } {
  const counters: DeviceCounters = {
    calls: {},
    total: 0,
    uploaded: 0,
    downloaded: 0,
    buffers: 0,
    bytes: 0,
    peak: 0,
  };
  const count = (name: string): void => {
    before(name, counters.total);
    counters.total++;
    counters.calls[name] = (counters.calls[name] ?? 0) + 1;
  };
  const inner = (value: DeviceBuffer): DeviceBuffer => (value instanceof CountedBuffer ? value.inner : value);
  const travelling = (array: HostArray, arrayOffset: number, n?: number): number =>
    (n ?? array.length - arrayOffset) * array.BYTES_PER_ELEMENT;

  const wrapped: Record<string, unknown> = {
    kind: device.kind,
    name: device.name,
    allocate(type: ElementType, length: number): DeviceBuffer {
      count('allocate');
      return new CountedBuffer(device.allocate(type, length), counters);
    },
    upload(array: HostArray, buffer: DeviceBuffer, bufferOffset = 0, arrayOffset = 0, n?: number): void {
      count('upload');
      device.upload(array, inner(buffer), bufferOffset, arrayOffset, n);
      counters.uploaded += travelling(array, arrayOffset, n);
    },
    download(buffer: DeviceBuffer, array: HostArray, bufferOffset = 0, arrayOffset = 0, n?: number): void {
      count('download');
      device.download(inner(buffer), array, bufferOffset, arrayOffset, n);
      counters.downloaded += travelling(array, arrayOffset, n);
    },
    memory: () => device.memory(),
    useStream: (index: number) => device.useStream(index),
    waitFor: (index: number) => device.waitFor(index),
    synchronize: () => device.synchronize(),
    dispose: () => device.dispose(),
  };
  for (const name of operationNames) {
    const operation = device[name] as (...values: unknown[]) => unknown;
    wrapped[name] = (...values: unknown[]): unknown => {
      count(name);
      return operation.apply(
        device,
        values.map((value) => (value instanceof CountedBuffer ? value.inner : value)),
      );
    };
  }
  return { device: wrapped as unknown as DeviceKernels, counters };
}
