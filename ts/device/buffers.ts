/** The named buffers of one job on a device: allocated together, given back together. */
import { DeepHessianError } from '../errors.js';
import type { DeviceKernels } from './device.js';
import type { DeviceBuffer, ElementType } from './operations.js';

/** A place in a buffer. */
export interface DeviceSlice {
  /** the buffer */
  readonly buffer: DeviceBuffer;
  /** numbers before it */
  readonly offset: number;
}

/** Buffers by name. */
export class DeviceBuffers<Name extends string> {
  private readonly held = new Map<Name, DeviceBuffer>();
  /** bytes of all */
  readonly bytes: number;

  /**
   * @param lengths numbers in each
   * @throws DeepHessianError 'out-of-memory' when the device cannot hold them; nothing stays allocated then
   */
  constructor(device: DeviceKernels, type: ElementType, lengths: Record<Name, number>) {
    let bytes = 0;
    try {
      for (const [name, length] of Object.entries(lengths) as [Name, number][]) {
        const buffer = device.allocate(type, length);
        this.held.set(name, buffer);
        bytes += buffer.bytes;
      }
    } catch (error) {
      this.dispose();
      throw error;
    }
    this.bytes = bytes;
  }

  /** The buffer of that name. @throws DeepHessianError 'unsupported' after {@link dispose} */
  at(name: Name): DeviceBuffer {
    const buffer = this.held.get(name);
    if (buffer === undefined)
      throw new DeepHessianError('unsupported', `the memory on the device (${name}) has been disposed`);
    return buffer;
  }

  /** Gives the memory back. A second call does nothing. */
  dispose(): void {
    for (const buffer of this.held.values()) buffer.dispose();
    this.held.clear();
  }
}
