/** Foreseeing out-of-memory: what a job needs against what the process may still take. */
import os from 'node:os';
import { DeepHessianError } from '../errors.js';
import { formatBytes } from '../units.js';

/** Bytes that this process may still take: the container's or the machine's limit, whichever is lower. */
export function availableMemory(): number {
  const available = (process as { availableMemory?: () => number }).availableMemory?.();
  return available && available > 0 ? available : os.freemem();
}

/** Throws 'out-of-memory' with the figures when `bytes` exceed `limit`. */
export function requireMemory(operation: string, bytes: number, limit: number, advice: string): void {
  if (bytes <= limit) return;
  throw new DeepHessianError(
    'out-of-memory',
    `${operation}: needs ${formatBytes(bytes)} but ${formatBytes(limit)} is available; ${advice}`,
    { bytes, limit },
  );
}
