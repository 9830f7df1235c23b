/**
 * A bounded queue between a producer and one `for await` loop.
 *
 * When it is full, either the producer is told to wait ('wait'), or the oldest entry that may be missed is dropped
 * ('drop').
 */

export type WhenFull = 'wait' | 'drop';

export class EventQueue<T> implements AsyncIterableIterator<T> {
  private readonly entries: T[] = [];
  /** Calls of `next` that no entry has met yet, in their order; there are no entries while there are any. */
  private readonly waiting: { resolve: (result: IteratorResult<T>) => void; reject: (error: Error) => void }[] = [];
  private ended: { error: Error | null } | null = null;
  private droppedCount = 0;

  /**
   * @param capacity entries held before the queue counts as full
   * @param mayMiss which entries may be dropped when full; the others are kept beyond the capacity
   * @param onFirst called once, when the loop asks for its first entry
   * @param onRoom called when the queue is no longer full, and when it has ended
   */
  constructor(
    private readonly capacity: number,
    private readonly whenFull: WhenFull,
    private readonly mayMiss: (entry: T) => boolean,
    private onFirst: (() => void) | null,
    private readonly onRoom: () => void,
  ) {}

  /** Whether the producer should wait. */
  get full(): boolean {
    return this.whenFull === 'wait' && this.ended === null && this.entries.length >= this.capacity;
  }

  /** Whether nothing more comes in. */
  get over(): boolean {
    return this.ended !== null;
  }

  /** Entries dropped so far. */
  get dropped(): number {
    return this.droppedCount;
  }

  push(entry: T): void {
    if (this.ended !== null) return;
    const first = this.waiting.shift();
    if (first !== undefined) return first.resolve({ value: entry, done: false });
    this.entries.push(entry);
    if (this.whenFull === 'drop' && this.entries.length > this.capacity) {
      const oldest = this.entries.findIndex(this.mayMiss);
      if (oldest >= 0) {
        this.entries.splice(oldest, 1);
        this.droppedCount++;
      }
    }
  }

  /** Ends the loop after the entries that are there, with an error where one is given. */
  end(error: Error | null = null): void {
    if (this.ended !== null) return;
    this.ended = { error };
    this.onFirst = null;
    for (const { resolve, reject } of this.waiting.splice(0)) {
      // The error is told once.
      const told = this.ended.error;
      this.ended.error = null;
      if (told === null) resolve({ value: undefined, done: true });
      else reject(told);
    }
    this.onRoom();
  }

  async next(): Promise<IteratorResult<T>> {
    if (this.onFirst !== null) {
      const begin = this.onFirst;
      this.onFirst = null;
      begin();
    }
    const wasFull = this.full;
    const entry = this.entries.shift();
    if (entry !== undefined) {
      if (wasFull && !this.full) this.onRoom();
      return { value: entry, done: false };
    }
    if (this.ended !== null) {
      const { error } = this.ended;
      this.ended.error = null;
      if (error !== null) throw error;
      return { value: undefined, done: true };
    }
    return new Promise((resolve, reject) => {
      this.waiting.push({ resolve, reject });
    });
  }

  /** What `break` does: the queue takes no more. */
  async return(): Promise<IteratorResult<T>> {
    this.entries.length = 0;
    this.end();
    return { value: undefined, done: true };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
