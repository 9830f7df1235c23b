/**
 * Sends records in groups: a message wakes the thread that takes it, which for records of quick steps costs more than
 * all the rest of them.
 *
 * A step record waits while others follow it closely, at most `gather` milliseconds (and the step in progress, during
 * which no timer fires). Evaluations, the end, and records of slow steps go at once. The order is kept.
 */
import type { TrainEvent } from '../train/trainer.js';

/** Longest that a record waits for others, milliseconds. */
const gather = 40;
/** Records that are further apart than this, milliseconds, do not wait. */
const close = 25;

export class RecordSender {
  private waiting: TrainEvent[] = [];
  private timer: NodeJS.Timeout | undefined;
  private sentAt = -Infinity;
  private addedAt = -Infinity;

  /**
   * @param post takes a group
   * @param most records in a group
   * @param now the clock, milliseconds
   */
  constructor(
    private readonly post: (records: TrainEvent[]) => void,
    private readonly most: number,
    private readonly now: () => number = () => performance.now(),
  ) {}

  add(record: TrainEvent): void {
    const now = this.now();
    const follows = now - this.addedAt < close && now - this.sentAt < gather;
    this.addedAt = now;
    this.waiting.push(record);
    if (record.type !== 'step' || !follows || this.waiting.length >= this.most) this.send();
    else this.timer ??= setTimeout(() => this.send(), gather);
  }

  /** Sends what waits. */
  send(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    if (this.waiting.length === 0) return;
    const records = this.waiting;
    this.waiting = [];
    this.sentAt = this.now();
    this.post(records);
  }
}
