/** Argument checks of allocations and transfers, the same for every device. */
import { checkInteger, checkOneOf, failRange, failType } from '../checks.js';
import { elementTypeOf, type HostArray } from './device.js';
import type { DeviceBuffer, ElementType } from './operations.js';

const elementTypes: readonly ElementType[] = ['float64', 'float32', 'int32'];

/** Most numbers in one buffer: positions are exact in a double. */
const longest = 2 ** 50;

export function checkAllocation(type: unknown, length: unknown): void {
  checkOneOf('allocate', 'type', type, elementTypes);
  checkInteger('allocate', 'length', length, 0, longest);
}

/** Checks a transfer and returns how many numbers travel. */
export function checkTransfer(
  operation: string,
  array: HostArray,
  buffer: DeviceBuffer,
  bufferOffset: number,
  arrayOffset: number,
  count: number | undefined,
): number {
  const known = array instanceof Float64Array || array instanceof Float32Array || array instanceof Int32Array;
  if (!known || elementTypeOf(array) !== buffer.type)
    failType(operation, 'array', `a host array of ${buffer.type}`, array);
  checkInteger(operation, 'bufferOffset', bufferOffset);
  checkInteger(operation, 'arrayOffset', arrayOffset, 0, array.length);
  const n = count ?? array.length - arrayOffset;
  checkInteger(operation, 'count', n);
  if (arrayOffset + n > array.length) failRange(operation, 'array', `at least ${arrayOffset + n} elements`, array);
  if (bufferOffset + n > buffer.length) {
    failRange(operation, 'buffer', `at least ${bufferOffset + n} elements`, `length ${buffer.length}`);
  }
  return n;
}
