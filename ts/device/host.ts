/**
 * The device interface over the CPU kernels: every buffer is a host array. It is the reference that the CUDA device is
 * compared with, and lets everything above the interface run and be tested where there is no card.
 *
 * A memory limit makes it run out of memory as a card would.
 */
import { checkInteger, failRange, failType } from '../checks.js';
import { DeepHessianError } from '../errors.js';
import type { DeviceMemory } from '../native/cuda.js';
import { kernels, type Flag, type Kernels, type Real } from '../native/index.js';
import { hostArray, type DeviceKernels, type HostArray } from './device.js';
import { liftedNames, type DeviceBuffer, type ElementType, type LiftedName } from './operations.js';
import { checkAllocation, checkTransfer } from './transfers.js';

class HostBuffer implements DeviceBuffer {
  constructor(
    readonly owner: HostDevice,
    readonly type: ElementType,
    readonly length: number,
    /** null after disposal */
    public data: HostArray | null,
  ) {}

  get bytes(): number {
    return this.length * (this.type === 'float64' ? 8 : 4);
  }

  dispose(): void {
    this.owner.release(this);
  }
}

/** Options of {@link createHostDevice}. */
export interface HostDeviceOptions {
  /** bytes that the buffers may take together, default no limit */
  memoryLimit?: number;
  /** the kernels to work with, default those of the process */
  kernels?: Kernels;
}

/* eslint-disable max-params -- as the kernels */
class HostDevice implements Omit<DeviceKernels, LiftedName> {
  readonly kind = 'cpu';
  readonly name: string;
  private readonly limit: number;
  private readonly kernels: Kernels;
  private readonly held = new Set<HostBuffer>();
  private bytes = 0;
  private open = true;

  constructor(options: HostDeviceOptions) {
    this.kernels = options.kernels ?? kernels;
    this.limit = options.memoryLimit ?? Infinity;
    const { backend, core } = this.kernels.info();
    this.name = backend === 'openblas' ? `CPU (OpenBLAS, ${core})` : 'CPU (plain TypeScript)';
  }

  /** The operation of a kernel: arrays in the place of the buffers. */
  lift(name: LiftedName): (...values: unknown[]) => unknown {
    const kernel = this.kernels[name] as (...values: unknown[]) => unknown;
    return (...values) =>
      kernel(
        ...values.map((value) => {
          if (value instanceof HostBuffer) return this.array(name, value);
          // Only sytrfInertia writes to host memory.
          if (ArrayBuffer.isView(value) && name !== 'sytrfInertia') failType(name, 'buffer', 'a device buffer', value);
          return value;
        }),
      );
  }

  allocate(type: ElementType, length: number): DeviceBuffer {
    this.live('allocate');
    checkAllocation(type, length);
    const buffer = new HostBuffer(this, type, length, null);
    if (this.bytes + buffer.bytes > this.limit) {
      throw new DeepHessianError(
        'out-of-memory',
        `allocate: needs ${buffer.bytes} bytes but ${this.limit - this.bytes} of ${this.limit} are free on ${this.name}`,
        { bytes: buffer.bytes, free: this.limit - this.bytes, total: this.limit },
      );
    }
    buffer.data = hostArray(type, length);
    this.held.add(buffer);
    this.bytes += buffer.bytes;
    return buffer;
  }

  /** @internal */
  release(buffer: HostBuffer): void {
    if (!this.held.delete(buffer)) return;
    this.bytes -= buffer.bytes;
    buffer.data = null;
  }

  upload(array: HostArray, buffer: DeviceBuffer, bufferOffset = 0, arrayOffset = 0, count?: number): void {
    const data = this.array('upload', buffer);
    const n = checkTransfer('upload', array, buffer, bufferOffset, arrayOffset, count);
    data.set(array.subarray(arrayOffset, arrayOffset + n), bufferOffset);
  }

  download(buffer: DeviceBuffer, array: HostArray, bufferOffset = 0, arrayOffset = 0, count?: number): void {
    const data = this.array('download', buffer);
    const n = checkTransfer('download', array, buffer, bufferOffset, arrayOffset, count);
    array.set(data.subarray(bufferOffset, bufferOffset + n), arrayOffset);
  }

  memory(): DeviceMemory {
    this.live('memory');
    return {
      buffers: this.held.size,
      bytes: this.bytes,
      workspace: 0,
      free: this.limit - this.bytes,
      total: this.limit,
    };
  }

  // One stream: everything is done when the call returns.
  useStream(index: number): void {
    this.live('useStream');
    checkInteger('useStream', 'stream', index, 0, 31);
  }

  waitFor(index: number): void {
    this.live('waitFor');
    checkInteger('waitFor', 'stream', index, 0, 31);
  }

  synchronize(): void {
    this.live('synchronize');
  }

  dispose(): void {
    for (const buffer of this.held) buffer.data = null;
    this.held.clear();
    this.bytes = 0;
    this.open = false;
  }

  // --- operations that the kernels do not have ---------------------------------------------------------------------------

  jacobianGram(
    samples: number,
    outputs: number,
    layers: number,
    shift: number,
    scale: Float64Array,
    widths: Int32Array,
    d: DeviceBuffer,
    dOffsets: Float64Array,
    gram: DeviceBuffer,
    gramOffsets: Float64Array,
    c: DeviceBuffer,
    cOffset: number,
    ldc: number,
    inner: Int32Array | null,
  ): void {
    const [dData, gramData, cData] = [d, gram, c].map((buffer) => this.real('jacobianGram', buffer));
    this.kernels.jacobianGram(
      samples,
      outputs,
      layers,
      shift,
      scale,
      widths,
      dData,
      dOffsets,
      gramData,
      gramOffsets,
      cData,
      cOffset,
      ldc,
      inner,
    );
  }

  copy(n: number, x: DeviceBuffer, xOffset: number, y: DeviceBuffer, yOffset: number): void {
    const from = this.part('copy', 'x', x, xOffset, n);
    const to = this.part('copy', 'y', y, yOffset, n, from);
    this.apart('copy', 'y', to, 'x', from);
    to.set(from);
  }

  convert(n: number, y: DeviceBuffer, yOffset: number, x: DeviceBuffer, xOffset: number): void {
    const to = this.part('convert', 'y', y, yOffset, n);
    if (x.type === y.type) {
      failType('convert', 'x', `a device buffer of ${y.type === 'float64' ? 'float32' : 'float64'}`, x.type);
    }
    to.set(this.part('convert', 'x', x, xOffset, n));
  }

  fill(n: number, value: number, x: DeviceBuffer, xOffset: number): void {
    this.part('fill', 'x', x, xOffset, n).fill(value);
  }

  addDiagonal(n: number, value: number, a: DeviceBuffer, aOffset: number, lda: number): void {
    const data = this.square('addDiagonal', a, aOffset, n, lda);
    for (let i = 0; i < n; i++) data[i * (lda + 1)] += value;
  }

  diagonal(n: number, a: DeviceBuffer, aOffset: number, lda: number, out: DeviceBuffer, outOffset: number): void {
    const data = this.square('diagonal', a, aOffset, n, lda);
    const to = this.part('diagonal', 'out', out, outOffset, n, data);
    this.apart('diagonal', 'out', to, 'a', data);
    for (let i = 0; i < n; i++) to[i] = data[i * (lda + 1)];
  }

  scaleTiled(
    samples: number,
    repeats: number,
    cols: number,
    x: DeviceBuffer,
    xOffset: number,
    y: DeviceBuffer,
    yOffset: number,
  ): void {
    this.sizes('scaleTiled', { samples, repeats, cols });
    const xs = this.part('scaleTiled', 'x', x, xOffset, samples * repeats * cols);
    const ys = this.part('scaleTiled', 'y', y, yOffset, samples * cols, xs);
    this.apart('scaleTiled', 'x', xs, 'y', ys);
    for (let j = 0, o = 0; j < cols; j++) {
      for (let k = 0; k < repeats; k++) for (let n = 0; n < samples; n++, o++) xs[o] *= ys[j * samples + n];
    }
  }

  foldTiled(
    samples: number,
    repeats: number,
    cols: number,
    x: DeviceBuffer,
    xOffset: number,
    r: DeviceBuffer,
    rOffset: number,
    out: DeviceBuffer,
    outOffset: number,
  ): void {
    this.sizes('foldTiled', { samples, repeats, cols });
    const rows = samples * repeats;
    const xs = this.part('foldTiled', 'x', x, xOffset, rows * cols);
    const rs = this.part('foldTiled', 'r', r, rOffset, rows, xs);
    const to = this.part('foldTiled', 'out', out, outOffset, samples * cols, xs);
    this.apart('foldTiled', 'out', to, 'x', xs);
    this.apart('foldTiled', 'out', to, 'r', rs);
    to.fill(0);
    for (let j = 0, o = 0; j < cols; j++) {
      for (let k = 0; k < repeats; k++) {
        for (let n = 0; n < samples; n++, o++) to[j * samples + n] += xs[o] * rs[k * samples + n];
      }
    }
  }

  dotTiled(
    accumulate: Flag,
    samples: number,
    repeats: number,
    cols: number,
    x: DeviceBuffer,
    xOffset: number,
    y: DeviceBuffer,
    yOffset: number,
    out: DeviceBuffer,
    outOffset: number,
  ): void {
    this.sizes('dotTiled', { samples, repeats, cols });
    const rows = samples * repeats;
    const xs = this.part('dotTiled', 'x', x, xOffset, rows * cols);
    const ys = this.part('dotTiled', 'y', y, yOffset, samples * cols, xs);
    const to = this.part('dotTiled', 'out', out, outOffset, rows, xs);
    this.apart('dotTiled', 'out', to, 'x', xs);
    this.apart('dotTiled', 'out', to, 'y', ys);
    if (accumulate === 0) to.fill(0);
    for (let j = 0, o = 0; j < cols; j++) {
      for (let k = 0; k < repeats; k++) {
        for (let n = 0; n < samples; n++, o++) to[k * samples + n] += xs[o] * ys[j * samples + n];
      }
    }
  }

  rowKronecker(
    samples: number,
    start: number,
    count: number,
    repeats: number,
    colsX: number,
    x: DeviceBuffer,
    xOffset: number,
    colsY: number,
    y: DeviceBuffer,
    yOffset: number,
    out: DeviceBuffer,
    outOffset: number,
    ldout: number,
  ): void {
    this.sizes('rowKronecker', { samples, start, count, repeats, colsX, colsY });
    if (start + count > samples) failRange('rowKronecker', 'count', `an integer from 0 to ${samples - start}`, count);
    const rows = count * repeats;
    const cols = colsX * colsY;
    if (!(ldout >= Math.max(1, rows))) failRange('rowKronecker', 'ldout', `an integer >= ${Math.max(1, rows)}`, ldout);
    const xs = this.part('rowKronecker', 'x', x, xOffset, samples * repeats * colsX);
    const ys = this.part('rowKronecker', 'y', y, yOffset, samples * colsY, xs);
    const extent = rows === 0 || cols === 0 ? 0 : (cols - 1) * ldout + rows;
    const to = this.part('rowKronecker', 'out', out, outOffset, extent, xs);
    this.apart('rowKronecker', 'out', to, 'x', xs);
    this.apart('rowKronecker', 'out', to, 'y', ys);
    for (let i = 0; i < colsX; i++) {
      for (let j = 0; j < colsY; j++) {
        for (let k = 0, o = (i * colsY + j) * ldout; k < repeats; k++) {
          const xAt = (i * repeats + k) * samples + start;
          const yAt = j * samples + start;
          for (let n = 0; n < count; n++, o++) to[o] = xs[xAt + n] * ys[yAt + n];
        }
      }
    }
  }

  // --- checks --------------------------------------------------------------------------------------------------------------

  private live(operation: string): void {
    if (!this.open) throw new DeepHessianError('unsupported', `${operation}: the device has been disposed`);
  }

  /** The array behind a buffer of this device. */
  private array(operation: string, buffer: DeviceBuffer): HostArray {
    this.live(operation);
    if (!(buffer instanceof HostBuffer) || buffer.owner !== this) {
      failType(operation, 'buffer', 'a device buffer of this device', buffer);
    }
    if (buffer.data === null) {
      failRange(operation, 'buffer', 'a device buffer in use', 'one that has been disposed');
    }
    return buffer.data;
  }

  private real(operation: string, buffer: DeviceBuffer): Real {
    const data = this.array(operation, buffer);
    if (data instanceof Int32Array) failType(operation, 'buffer', 'a float64 or float32 device buffer', buffer.type);
    return data;
  }

  /** n numbers of a real buffer from `offset`, of the same type as `like`. */
  private part(operation: string, name: string, buffer: DeviceBuffer, offset: number, n: number, like?: Real): Real {
    const data = this.real(operation, buffer);
    checkInteger(operation, 'n', n);
    checkInteger(operation, `${name}Offset`, offset);
    if (offset + n > data.length) failRange(operation, name, `at least ${offset + n} elements`, data);
    if (like !== undefined && like.constructor !== data.constructor) {
      failType(operation, name, `a device buffer of the type of the others`, data);
    }
    return data.subarray(offset, offset + n);
  }

  private square(operation: string, a: DeviceBuffer, offset: number, n: number, lda: number): Real {
    checkInteger(operation, 'n', n);
    checkInteger(operation, 'lda', lda, Math.max(1, n));
    return this.part(operation, 'a', a, offset, n === 0 ? 0 : (n - 1) * lda + n);
  }

  private sizes(operation: string, values: Record<string, number>): void {
    for (const [name, value] of Object.entries(values)) checkInteger(operation, name, value);
  }

  private apart(operation: string, name: string, output: Real, otherName: string, other: Real): void {
    if (output.buffer !== other.buffer || output.length === 0 || other.length === 0) return;
    if (output.byteOffset + output.byteLength <= other.byteOffset) return;
    if (other.byteOffset + other.byteLength <= output.byteOffset) return;
    failRange(operation, name, `memory apart from ${otherName}`, 'an overlapping region');
  }
}
/* eslint-enable max-params */

/**
 * The CPU as a device: the reference implementation of the interface.
 *
 * @example
 * const device = createHostDevice({ memoryLimit: 2 ** 30 });
 * const a = device.allocate('float64', 4);
 * device.upload(Float64Array.of(4, 1, 1, 4), a);
 * device.potrf(0, 2, a, 0, 2);
 */
export function createHostDevice(options: HostDeviceOptions = {}): DeviceKernels {
  const device = new HostDevice(options);
  for (const name of liftedNames) Object.defineProperty(device, name, { value: device.lift(name) });
  return device as unknown as DeviceKernels;
}
