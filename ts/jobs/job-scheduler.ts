/**
 * Which training jobs run when: at most k at a time, each with one BLAS thread, higher priority first, within a memory
 * budget.
 *
 * The first in line waits until it fits, and nobody overtakes it: a large job is not starved by a stream of small ones.
 */
import { availableParallelism } from 'node:os';
import { checkInteger, checkKeys, checkObject, failRange } from '../checks.js';
import { DeepHessianError } from '../errors.js';
import { MemoryBudget } from './memory-budget.js';
import type { TrainingJob } from './training-job.js';
import { WorkerPool } from './worker-pool.js';

/** Options of {@link JobScheduler}. */
export interface JobSchedulerOptions {
  /** Jobs at a time, default the processors available to this process. */
  concurrency?: number;
  /** Bytes that running jobs may take together, default 0.8 of what is available. */
  memory?: number;
  /** Milliseconds after which a thread without a job ends, default 10000. */
  idle?: number;
  /** Added to the nice value of the training threads (on Linux), so that the main thread is served first. Default 10; 0 to 19. */
  nice?: number;
}

/** Decides which jobs run: by priority, then by age, within a number of jobs and a memory budget. */
export class JobScheduler {
  /** Jobs at a time. */
  readonly concurrency: number;
  /** What running jobs may take together. */
  readonly memory: MemoryBudget;
  private readonly pool: WorkerPool;
  private readonly line: TrainingJob[] = [];
  private readonly active = new Set<TrainingJob>();
  private closed = false;

  constructor(options: JobSchedulerOptions = {}) {
    checkObject('JobScheduler', 'options', options);
    checkKeys('JobScheduler', 'options', options, ['concurrency', 'memory', 'idle', 'nice']);
    const { concurrency = availableParallelism(), memory, idle, nice = 10 } = options as JobSchedulerOptions;
    checkInteger('JobScheduler', 'concurrency', concurrency, 1, 1024);
    this.concurrency = concurrency;
    this.memory = new MemoryBudget(memory);
    this.pool = new WorkerPool({ threads: concurrency, nice, ...(idle === undefined ? {} : { idle }) });
  }

  /** Jobs that run. */
  get running(): readonly TrainingJob[] {
    return [...this.active];
  }

  /** Jobs in line, the next one first. */
  get queued(): readonly TrainingJob[] {
    return [...this.line];
  }

  /** @internal whether `close` has been called */
  get isClosed(): boolean {
    return this.closed;
  }

  /** @internal for tests of lost threads */
  get workers(): WorkerPool {
    return this.pool;
  }

  /**
   * Puts a job in line. Called by the job's own `start` and `resume`.
   *
   * @throws DeepHessianError 'out-of-memory' with the figures when the job exceeds the whole budget; RangeError when it asks
   *   for several BLAS threads beside other jobs
   */
  add(job: TrainingJob): void {
    const operation = 'JobScheduler.add';
    if (this.closed) throw new DeepHessianError('unsupported', `${operation}: the scheduler has been closed`);
    this.memory.refuseLarger(operation, job.memory);
    // The BLAS thread count belongs to the process: several threads each under several jobs collapse.
    if (this.concurrency > 1 && job.config.threads !== 1) {
      failRange(operation, 'threads', '1 BLAS thread for a job beside others', job.config.threads);
    }
    let place = this.line.length;
    while (place > 0 && this.line[place - 1].priority < job.priority) place--;
    this.line.splice(place, 0, job);
    job.become('queued');
    // After the caller's own turn: what is added together is ordered by priority before the first one starts.
    queueMicrotask(() => this.dispatch());
  }

  /** @internal takes a job out of the line */
  remove(job: TrainingJob): void {
    const place = this.line.indexOf(job);
    if (place >= 0) this.line.splice(place, 1);
    this.dispatch();
  }

  private dispatch(): void {
    while (this.line.length > 0 && this.active.size < this.concurrency && !this.closed) {
      const job = this.line[0];
      // Resumed by somebody who heard how it ended, before it has given back what it took: it is about to.
      if (this.active.has(job)) return;
      if (!this.memory.tryTake(job.memory)) return;
      this.line.shift();
      this.active.add(job);
      void job.execute(this.pool).finally(() => {
        this.active.delete(job);
        this.memory.release(job.memory);
        this.dispatch();
      });
    }
  }

  /** Pauses every running job, so that each leaves a checkpoint, empties the line (paused, too), and ends the threads. */
  async close(): Promise<void> {
    this.closed = true;
    await Promise.all([...this.line, ...this.active].map((job) => job.pause()));
    await this.pool.close();
  }
}

let shared: JobScheduler | null = null;

/** The scheduler of jobs that name none: as many at a time as processors. */
export function defaultScheduler(): JobScheduler {
  return (shared ??= new JobScheduler());
}
