/**
 * A number of bytes shared by jobs: who does not fit now waits in line, who can never fit is refused with the numbers.
 */
import { checkNonNegative, checkPositive } from '../checks.js';
import { DeepHessianError } from '../errors.js';
import { availableMemory, formatBytes } from '../inverse/index.js';

/** Share of the memory available at the start that jobs may take together. */
const defaultShare = 0.8;

interface Waiter {
  bytes: number;
  grant: () => void;
}

/** Bytes shared by many: requests that do not fit wait, those that never can are refused. */
export class MemoryBudget {
  /** Bytes in all. */
  readonly total: number;
  private taken = 0;
  private readonly line: Waiter[] = [];

  /** @param total bytes; default: 0.8 of what the process may still take */
  constructor(total: number = Math.floor(defaultShare * availableMemory())) {
    checkPositive('MemoryBudget', 'total', total);
    this.total = total;
  }

  /** Bytes not taken at the moment. */
  get free(): number {
    return this.total - this.taken;
  }

  /**
   * Refuses what the whole budget could not hold.
   *
   * @throws DeepHessianError 'out-of-memory' for a request that no waiting can satisfy
   */
  refuseLarger(operation: string, bytes: number): void {
    checkNonNegative(operation, 'memory', bytes);
    if (bytes <= this.total) return;
    throw new DeepHessianError(
      'out-of-memory',
      `${operation}: needs ${formatBytes(bytes)}, the memory budget is ${formatBytes(this.total)}`,
      { bytes, limit: this.total },
    );
  }

  /** Takes `bytes` if they are free and nobody waits; says whether it did. */
  tryTake(bytes: number): boolean {
    if (this.line.length > 0 || bytes > this.free) return false;
    this.taken += bytes;
    return true;
  }

  /**
   * Takes `bytes`, after those who came earlier.
   *
   * @throws DeepHessianError 'out-of-memory' when they exceed the whole budget, 'aborted' when `signal` fires first
   */
  async take(operation: string, bytes: number, signal?: AbortSignal): Promise<void> {
    this.refuseLarger(operation, bytes);
    if (signal?.aborted) throw aborted(operation);
    if (this.tryTake(bytes)) return;
    await new Promise<void>((resolve, reject) => {
      const onAbort = (): void => {
        this.line.splice(this.line.indexOf(waiter), 1);
        reject(aborted(operation));
        this.serve();
      };
      const waiter = {
        bytes,
        grant: () => {
          signal?.removeEventListener('abort', onAbort);
          resolve();
        },
      };
      this.line.push(waiter);
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  }

  /** Gives bytes back. */
  release(bytes: number): void {
    this.taken -= bytes;
    this.serve();
  }

  private serve(): void {
    while (this.line.length > 0 && this.line[0].bytes <= this.free) {
      const first = this.line.shift()!;
      this.taken += first.bytes;
      first.grant();
    }
  }
}

/** The failure of an operation that its caller has cancelled. */
export function aborted(operation: string, details: Record<string, unknown> = {}): DeepHessianError {
  return new DeepHessianError('aborted', `${operation}: cancelled by its caller`, details);
}
