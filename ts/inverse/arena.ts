/**
 * Arrays for the many small blocks of a factor, cut from few large ones. An array with memory of its own takes half a microsecond, and
 * the collector as much again when there are tens of thousands: in deep narrow networks more than the arithmetic.
 */
import type { Real } from '../native/index.js';
import { allocate } from './stage-point.js';

/** Numbers of the first large array, and most of one; each is twice as long as the one before. */
const [first, most] = [2 ** 9, 2 ** 16];
/** Blocks begin at multiples of so many numbers: a cache line of float64. */
const line = 8;

/** Zeroed arrays that are let go of together. */
export class Arena {
  private block: Real;
  private used = 0;

  /** @param single float32 */
  constructor(readonly single: boolean) {
    this.block = allocate(single, first);
  }

  /** An array of `length` zeros. */
  take(length: number): Real {
    // Large blocks gain nothing, and would leave the rest of a large array unused.
    if (length >= most / 4) return allocate(this.single, length);
    if (this.used + length > this.block.length) {
      this.block = allocate(this.single, Math.min(most, Math.max(2 * this.block.length, 4 * length)));
      this.used = 0;
    }
    const taken = this.block.subarray(this.used, this.used + length);
    this.used = Math.ceil((this.used + length) / line) * line;
    return taken;
  }
}
