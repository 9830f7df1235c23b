/**
 * What comes into the real buffers of a factor and leaves them: float64 arrays of the host, or float64 numbers that are on the
 * device already. Rounds where the buffers are single.
 */
import type { DeviceBuffer, DeviceKernels, DeviceSlice } from '../device/index.js';

export class Mover {
  readonly type: 'float64' | 'float32';
  private spare = new Float32Array(0);

  constructor(
    private readonly device: DeviceKernels,
    private readonly single: boolean,
  ) {
    this.type = single ? 'float32' : 'float64';
  }

  private space(count: number): Float32Array {
    if (this.spare.length < count) this.spare = new Float32Array(count);
    return this.spare;
  }

  /** buffer[bufferOffset + i] := array[arrayOffset + i], i < count (default: to the end of the array). */
  upload(
    array: Float64Array,
    buffer: DeviceBuffer,
    bufferOffset = 0,
    arrayOffset = 0,
    count = array.length - arrayOffset,
  ): void {
    if (!this.single) {
      this.device.upload(array, buffer, bufferOffset, arrayOffset, count);
      return;
    }
    const spare = this.space(count);
    spare.set(array.subarray(arrayOffset, arrayOffset + count));
    this.device.upload(spare, buffer, bufferOffset, 0, count);
  }

  /** buffer[bufferOffset + i] := the number i of `source`, i < count, from where it is. */
  take(source: Float64Array | DeviceSlice, buffer: DeviceBuffer, bufferOffset: number, count: number): void {
    const { device, single } = this;
    if (source instanceof Float64Array) this.upload(source, buffer, bufferOffset, 0, count);
    else if (single) device.convert(count, buffer, bufferOffset, source.buffer, source.offset);
    else device.copy(count, source.buffer, source.offset, buffer, bufferOffset);
  }

  /** array[arrayOffset + i] := buffer[bufferOffset + i], i < count (default: to the end of the array). */
  download(
    buffer: DeviceBuffer,
    array: Float64Array,
    bufferOffset = 0,
    arrayOffset = 0,
    count = array.length - arrayOffset,
  ): void {
    if (!this.single) {
      this.device.download(buffer, array, bufferOffset, arrayOffset, count);
      return;
    }
    const spare = this.space(count);
    this.device.download(buffer, spare, bufferOffset, 0, count);
    array.set(spare.subarray(0, count), arrayOffset);
  }
}
