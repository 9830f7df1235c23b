/**
 * A training run in a worker thread, in its own run folder.
 *
 *     queued -> running -> finished | aborted | failed
 *                 |  ^
 *                 v  |
 *                paused
 *
 * Pausing, cancelling, and losing the thread all end in the same place: a checkpoint in the run folder, from which
 * the job goes on with the same bits. A paused job therefore holds neither thread nor memory.
 */
import { EventEmitter } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import {
  checkBoolean,
  checkFinite,
  checkInteger,
  checkKeys,
  checkObject,
  checkOneOf,
  checkPositive,
  failType,
} from '../checks.js';
import { resolveSettings, type Settings } from '../train/config.js';
import type { EndRecord, EvaluationRecord, StepRecord, TrainEvent } from '../train/trainer.js';
import { EventQueue, type WhenFull } from './event-queue.js';
import { defaultScheduler, JobScheduler } from './job-scheduler.js';
import { estimateMemory, type MemoryEstimate } from './memory-estimate.js';
import { unpackError } from './thread-errors.js';
import type { RunFacts, TrainingMessage, TrainingTask } from './training-messages.js';
import type { Task, WorkerPool } from './worker-pool.js';

/** State of a {@link TrainingJob}. */
export type JobState = 'new' | 'queued' | 'running' | 'paused' | 'finished' | 'aborted' | 'failed';

/** Options of {@link TrainingJob}. */
export interface TrainingJobOptions {
  /** Run folder; default: a new one under runs/. */
  folder?: string;
  /**
   * Go on from the folder's checkpoint where it has one, default false: a folder that holds a run is then refused. A job fails
   * with 'io' while another run, of this process or another one, is at work in its folder.
   */
  resume?: boolean;
  /** Jobs of higher priority start earlier; equal ones in the order of `start`. Default 0. */
  priority?: number;
  /** Bytes counted against the scheduler's budget; default: an upper estimate from the settings. */
  memory?: number;
  /** Cancels the job. */
  signal?: AbortSignal;
  /** Who decides when it runs; default: one {@link JobScheduler} of the process. */
  scheduler?: JobScheduler;
}

/** Options of {@link TrainingJob.events}. */
export interface EventOptions {
  /** Records held for a slow reader, default 64. */
  buffer?: number;
  /**
   * When a reader's buffer is full: 'wait' (default) holds the training back until it has read; 'drop' leaves out the oldest step
   * records, never evaluations or the end.
   */
  whenFull?: WhenFull;
}

/** How a job ended. */
export interface JobResult {
  /** How the job ended. */
  state: 'finished' | 'aborted';
  /** the last record; null for a job that was cancelled before it ran */
  end: EndRecord | null;
  /** Its run folder. */
  folder: string;
}

interface JobEvents {
  state: [state: JobState];
  step: [record: StepRecord];
  evaluation: [record: EvaluationRecord];
  end: [record: EndRecord];
  failed: [error: Error];
}

/** Records under way between thread and job before the thread waits. */
const window = 32;

let count = 0;

/** runs/<data>-<optimizer>-<time>[-n], a name that is free */
function freeFolder(settings: Settings): string {
  const stamp = new Date().toISOString().replace(/[-:]/g, '').replace('T', '-').slice(0, 15);
  const base = join(
    'runs',
    `${settings.data as string}-${settings.optimizer as string}-${stamp}-${process.pid}-${++count}`,
  );
  let path = base;
  for (let n = 2; existsSync(path); n++) path = `${base}-${n}`;
  return path;
}

/**
 * A run with the settings of `deep-hessian train`, in a worker thread. It starts with `start()`, with the first record that a
 * loop asks for, or with `result()`.
 *
 * @example
 * const job = new TrainingJob({ 'data': 'spirals', 'num-layers': 8, 'steps': 200 }, { folder: 'runs/first' });
 * for await (const record of job) if (record.type === 'step') console.log(record.step, record.loss);
 */
export class TrainingJob extends EventEmitter<JobEvents> implements AsyncIterable<TrainEvent> {
  /** The resolved settings. */
  readonly config: Settings;
  /** The run folder. */
  readonly folder: string;
  /** Jobs of higher priority start earlier. */
  readonly priority: number;
  /** bytes counted against the scheduler's budget */
  readonly memory: number;
  /** what `memory` is made of; null where it was given */
  readonly estimate: MemoryEstimate | null;
  /** Who decides when the job runs. */
  readonly scheduler: JobScheduler;

  private current: JobState = 'new';
  private resumes: boolean;
  /** whether the folder held no run when this job's first thread was started: what is there since is this job's */
  private vacant = false;
  /** whether `resume` was called while the job was stopping */
  private again = false;
  /** the end of the present stay in a thread */
  private stay: Promise<void> = Promise.resolve();
  private readonly signal: AbortSignal | undefined;
  private readonly onSignal = (): void => void this.abort();
  private task: Task | null = null;
  private intent: 'pause' | 'abort' | null = null;
  private facts_: RunFacts | null = null;
  private lastStep: StepRecord | null = null;
  private lastEvaluation: EvaluationRecord | null = null;
  private end_: EndRecord | null = null;
  private error_: Error | null = null;
  private readonly queues = new Set<EventQueue<TrainEvent>>();
  /** records taken from the thread whose acknowledgement waits for a slow reader */
  private held = 0;

  /**
   * @param config settings by the names of the command line's flags, e.g. { 'num-layers': 8, 'optimizer': 'adam' }
   * @throws TypeError or RangeError for settings that `deep-hessian train` would refuse
   */
  constructor(config: Record<string, unknown>, options: TrainingJobOptions = {}) {
    super();
    const operation = 'TrainingJob';
    checkObject(operation, 'options', options);
    checkKeys(operation, 'options', options, ['folder', 'resume', 'priority', 'memory', 'signal', 'scheduler']);
    const {
      folder,
      resume = false,
      priority = 0,
      memory,
      signal,
      scheduler = defaultScheduler(),
    } = options as TrainingJobOptions;
    if (folder !== undefined && (typeof folder !== 'string' || folder === ''))
      failType(operation, 'folder', 'a path', folder);
    checkBoolean(operation, 'resume', resume);
    checkFinite(operation, 'priority', priority);
    if (memory !== undefined) checkPositive(operation, 'memory', memory);
    if (!(scheduler instanceof JobScheduler)) failType(operation, 'scheduler', 'a JobScheduler', scheduler);
    this.config = resolveSettings(config);
    this.folder = folder ?? freeFolder(this.config);
    this.resumes = resume;
    this.priority = priority;
    this.estimate = memory === undefined ? estimateMemory(this.config) : null;
    this.memory = memory ?? this.estimate!.total;
    this.scheduler = scheduler;
    this.signal = signal;
    if (signal?.aborted) this.current = 'aborted';
    else signal?.addEventListener('abort', this.onSignal);
  }

  /** The state now. */
  get state(): JobState {
    return this.current;
  }
  /** facts of the run once it has been prepared */
  get facts(): Readonly<RunFacts> | null {
    return this.facts_;
  }
  /** the newest step record of this object's lifetime */
  get latest(): StepRecord | null {
    return this.lastStep;
  }
  /** The newest evaluation; null before the first. */
  get latestEvaluation(): EvaluationRecord | null {
    return this.lastEvaluation;
  }
  /** the last record of a job that has finished or been cancelled */
  get end(): EndRecord | null {
    return this.end_;
  }
  /** why the job failed */
  get error(): Error | null {
    return this.error_;
  }

  /**
   * Puts the job in its scheduler's line; nothing happens when it is there, running or over.
   *
   * @throws DeepHessianError 'out-of-memory' with the figures when it can never fit the scheduler's budget
   */
  start(): this {
    if (this.current === 'new') this.enqueue();
    return this;
  }

  /** Stops after the step in progress and writes a checkpoint; thread and memory are free then. Resolves when so. */
  async pause(): Promise<void> {
    if (this.current === 'new' || this.current === 'queued') {
      this.scheduler.remove(this);
      this.become('paused');
    } else if (this.current === 'running') await this.stop('pause');
  }

  /**
   * Puts a job that is paused, cancelled or failed in line again, or one that is being stopped as soon as it has; it goes
   * on from its checkpoint.
   */
  resume(): this {
    if (this.current === 'running') this.again = this.intent !== null;
    else if (this.current === 'paused' || this.current === 'aborted' || this.current === 'failed') {
      // A folder that held somebody else's run is refused again.
      this.resumes ||= this.vacant;
      const { error_: error, end_: end } = this;
      this.error_ = null;
      this.end_ = null;
      try {
        this.enqueue();
      } catch (refusal) {
        this.error_ = error;
        this.end_ = end;
        throw refusal;
      }
    }
    return this;
  }

  /** Cancels: a running job stops after the step in progress and writes a checkpoint. Resolves when so. */
  async abort(): Promise<void> {
    if (this.current === 'running') return this.stop('abort');
    if (this.current === 'new' || this.current === 'queued' || this.current === 'paused') {
      this.scheduler.remove(this);
      this.become('aborted');
      this.endQueues(null);
    }
  }

  /**
   * How the job ended; starts it where needed. A paused job is waited for.
   *
   * @throws (rejects) the job's error
   */
  async result(): Promise<JobResult> {
    this.start();
    while (!['finished', 'aborted', 'failed'].includes(this.current)) {
      await new Promise<void>((resolve) => this.once('state', () => resolve()));
    }
    if (this.current === 'failed') throw this.error_!;
    return { state: this.current as JobResult['state'], end: this.end_, folder: this.folder };
  }

  /**
   * The records from now on, to the end of the job; a pause does not end it. Leaving the loop leaves the job running.
   * The job's failure is thrown.
   */
  events(options: EventOptions = {}): AsyncIterableIterator<TrainEvent> {
    const operation = 'TrainingJob.events';
    checkObject(operation, 'options', options);
    checkKeys(operation, 'options', options, ['buffer', 'whenFull']);
    const { buffer = 64, whenFull = 'wait' } = options as EventOptions;
    checkInteger(operation, 'buffer', buffer, 1);
    checkOneOf(operation, 'whenFull', whenFull, ['wait', 'drop'] as const);
    const over = (): boolean => ['finished', 'aborted', 'failed'].includes(this.current);
    const queue: EventQueue<TrainEvent> = new EventQueue<TrainEvent>(
      buffer,
      whenFull,
      (record) => record.type === 'step',
      () => {
        if (over()) {
          if (this.end_ !== null) queue.push(this.end_);
          queue.end(this.error_);
          return;
        }
        this.queues.add(queue);
        this.start();
      },
      () => {
        if (queue.over) this.queues.delete(queue);
        this.acknowledge();
      },
    );
    return queue;
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<TrainEvent> {
    return this.events();
  }

  /** @internal called by the scheduler: runs in a thread of `pool`; resolves when it holds neither thread nor memory */
  async execute(pool: WorkerPool): Promise<void> {
    this.intent = null;
    this.again = false;
    this.held = 0;
    let leave = (): void => undefined;
    this.stay = new Promise((resolve) => {
      leave = resolve;
    });
    const task: TrainingTask = { settings: this.config, folder: this.folder, resume: this.resumes, window };
    let failure: Error | null = null;
    let end: EndRecord | null = null;
    try {
      this.become('running');
      if (!this.resumes) this.vacant = !existsSync(join(this.folder, 'config.json'));
      const running = pool.start('runTraining', task);
      this.task = running;
      // Who heard of the new state may have asked for a stop already.
      if (this.intent !== null) running.port.postMessage({ stop: true });
      running.port.on('message', (message: TrainingMessage) => {
        if (message.type === 'started') {
          this.facts_ = message.facts;
          // From here on the folder holds this job's run.
          this.resumes = true;
        } else if (message.type === 'failed') {
          failure = unpackError(message.error);
          // Refused: a run that has come into the folder meanwhile is somebody else's.
          this.vacant = false;
        } else {
          for (const record of message.records) {
            // The end of a session that was only paused is no end of the job: known when it has left.
            if (record.type === 'end') end = record;
            else this.publish(record);
          }
          this.held += message.records.length;
          this.acknowledge();
        }
      });
      // The thread closes the port behind its last message, so that all of them have come by then.
      const closed = new Promise<void>((resolve) => running.port.once('close', resolve));
      await running.ended;
      await closed;
    } catch (error) {
      failure ??= error as Error;
    } finally {
      this.task = null;
    }
    try {
      this.settle(failure, end);
    } finally {
      leave();
    }
  }

  private settle(failure: Error | null, end: EndRecord | null): void {
    if (failure !== null) {
      this.error_ = failure;
      this.become('failed');
      this.emit('failed', failure);
      this.endQueues(failure);
    } else if (end?.reason === 'aborted' && (this.intent === 'pause' || this.again)) {
      this.become('paused');
      // A scheduler that is closing leaves the job paused.
      if (this.again && this.current === 'paused' && !this.scheduler.isClosed) this.resume();
    } else {
      this.end_ = end;
      if (end !== null) this.publish(end);
      this.become(end?.reason === 'aborted' ? 'aborted' : 'finished');
      this.endQueues(null);
    }
  }

  private publish(record: TrainEvent): void {
    for (const queue of this.queues) queue.push(record);
    if (record.type === 'step') {
      this.lastStep = record;
      this.emit('step', record);
    } else if (record.type === 'evaluation') {
      this.lastEvaluation = record;
      this.emit('evaluation', record);
    } else this.emit('end', record);
  }

  /** Tells the thread how many records have been taken, unless a reader is full. */
  private acknowledge(): void {
    if (this.task === null || this.held === 0) return;
    for (const queue of this.queues) if (queue.full) return;
    this.task.port.postMessage({ taken: this.held });
    this.held = 0;
  }

  private endQueues(error: Error | null): void {
    for (const queue of [...this.queues]) {
      this.queues.delete(queue);
      queue.end(error);
    }
  }

  private async stop(intent: 'pause' | 'abort'): Promise<void> {
    // Cancelling outranks pausing, unless the job was to go on in between.
    if (this.intent !== 'abort' || this.again) this.intent = intent;
    this.again = false;
    this.task?.port.postMessage({ stop: true });
    await this.stay;
  }

  private enqueue(): void {
    this.scheduler.add(this);
    if (this.signal?.aborted === false) this.signal.addEventListener('abort', this.onSignal);
  }

  /** @internal */
  become(state: JobState): void {
    this.current = state;
    // A signal that outlives its jobs, such as that of a server's end, does not hold them.
    if (state === 'finished' || state === 'aborted' || state === 'failed')
      this.signal?.removeEventListener('abort', this.onSignal);
    this.emit('state', state);
  }
}
