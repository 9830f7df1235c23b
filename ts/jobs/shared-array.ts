/**
 * Arrays on their way to worker threads. An array over shared memory goes as it is; any other is copied once and the copy
 * moves, so that neither thread clones it and the caller's array stays usable.
 */
import type { Transferable } from 'node:worker_threads';

type Numbers = Float64Array | Int32Array;

/**
 * A copy of `values` over shared memory. A network's data held so travel to any number of worker threads without being
 * copied by the calling thread again.
 */
export function shareArray<T extends Numbers>(values: T): T {
  const memory = new SharedArrayBuffer(values.byteLength);
  const shared = values instanceof Int32Array ? new Int32Array(memory) : new Float64Array(memory);
  shared.set(values);
  return shared as T;
}

/** `values` for a message: itself when shared, else a copy whose buffer is added to `transfer`. */
export function outgoing<T extends Numbers>(values: T, transfer: Transferable[]): T {
  if (values.buffer instanceof SharedArrayBuffer) return values;
  const copy = values.slice() as T;
  transfer.push(copy.buffer as ArrayBuffer);
  return copy;
}

/** `values` out of a message as memory of this thread alone, which is what the kernels are handed. */
export function incoming<T extends Numbers>(values: T): T {
  return values.buffer instanceof SharedArrayBuffer ? (values.slice() as T) : values;
}
