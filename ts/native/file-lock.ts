/**
 * Exclusive advisory locks on open files (flock), which Node does not have. The system gives a lock free with its file
 * description: when it is closed, or its process ends, however that ends.
 */
import { kernels } from './index.js';

interface Locks {
  /** 0: held; 1: somebody else's; 2: there are no locks here; below: minus an error number */
  lockFile(descriptor: number): number;
}

/**
 * Locks an open file without waiting for it.
 *
 * @returns whether the lock is held now; null where there are no locks: without the native core, or on file systems that have none
 * @throws Error with the system's error number
 */
export function lockFile(descriptor: number): boolean | null {
  const { lockFile: lock } = kernels as unknown as Partial<Locks>;
  const answer = lock === undefined ? 2 : lock(descriptor);
  if (answer < 0) throw Object.assign(new Error(`flock failed (error ${-answer})`), { errno: -answer });
  return answer === 2 ? null : answer === 0;
}
