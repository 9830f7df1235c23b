/** Large arrays with the shortage foreseen: nothing is allocated when the process could not hold it. */
import { freemem } from 'node:os';
import { DeepHessianError } from '../errors.js';

/** Requests below this many bytes are not worth asking the system about. */
const worthAsking = 1 << 25;

function refuse(operation: string, what: string, bytes: number, available: number): never {
  const gigabytes = (value: number): string => `${(value / 1e9).toFixed(2)} GB`;
  throw new DeepHessianError(
    'out-of-memory',
    `${operation}: ${what} needs ${gigabytes(bytes)}, ${gigabytes(available)} are available`,
    { bytes, available },
  );
}

/** Bytes that this process may still take. */
function availableBytes(): number {
  const available = (process as { availableMemory?: () => number }).availableMemory?.();
  return available !== undefined && available > 0 ? available : freemem();
}

/** Refuses a job of `doubles` numbers that does not fit, with the figures. */
export function requireDoubles(operation: string, what: string, doubles: number): void {
  const bytes = 8 * doubles;
  if (bytes < worthAsking) return;
  const available = availableBytes();
  if (bytes > available) refuse(operation, what, bytes, available);
}

/** A zeroed array of `doubles`, or DeepHessianError 'out-of-memory' before anything is allocated. */
export function allocate(operation: string, what: string, doubles: number): Float64Array {
  requireDoubles(operation, what, doubles);
  try {
    return new Float64Array(doubles);
  } catch {
    return refuse(operation, what, 8 * doubles, availableBytes());
  }
}
