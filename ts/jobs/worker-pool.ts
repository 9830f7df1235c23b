/**
 * A bounded pool of worker threads (piscina) whose tasks talk to their caller through a port while they run.
 *
 * Threads are started when they are needed, end after `idle` milliseconds without work and never keep the process alive
 * while they have none. A thread that ends under a task fails that task and no other.
 */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { MessageChannel, type MessagePort, type Transferable } from 'node:worker_threads';
import { Piscina } from 'piscina';
import { checkInteger, checkNonNegative } from '../checks.js';
import { DeepHessianError } from '../errors.js';

/**
 * The thread's module, dist/jobs/worker.js; or, where the sources run directly under tsx, ts/jobs/worker.ts with tsx
 * registered in the thread, which a thread does not take over from its parent.
 */
function workerModule(): { filename: string; execArgv?: string[] } {
  const compiled = fileURLToPath(new URL('./worker.js', import.meta.url));
  if (existsSync(compiled)) return { filename: compiled };
  const tsx = pathToFileURL(
    createRequire(import.meta.url)
      .resolve('tsx/esm/api')
      .replace(/cjs$/, 'mjs'),
  ).href;
  const register = `data:text/javascript,import { register } from ${JSON.stringify(tsx)}; register();`;
  return { filename: fileURLToPath(new URL('./worker.ts', import.meta.url)), execArgv: ['--import', register] };
}

export interface WorkerPoolOptions {
  /** Most threads, default the processors available to this process. */
  threads?: number;
  /** Tasks that one thread may hold at a time, default 1. */
  tasksPerThread?: number;
  /** Milliseconds after which a thread without work ends, default 10000. */
  idle?: number;
  /** Added to the threads' nice value on Linux, so that the main thread goes first. Default 0; 0 to 19. */
  nice?: number;
}

/** Threads that may end before they are ready, one after another, before the pool gives up. */
const mostFailedStarts = 20;

/** A task under way. */
export interface Task {
  /** This side of the channel. */
  port: MessagePort;
  /** Resolves when the task has returned; rejects with 'worker-lost' when its thread has ended. */
  ended: Promise<void>;
}

export class WorkerPool {
  private readonly pool: Piscina;
  private closed = false;
  private failedStarts = 0;
  private readonly onBroken = new Set<(error: Error) => void>();

  constructor(options: WorkerPoolOptions = {}) {
    const { threads = availableParallelism(), tasksPerThread = 1, idle = 10_000, nice = 0 } = options;
    checkInteger('WorkerPool', 'threads', threads, 1, 1024);
    checkInteger('WorkerPool', 'tasksPerThread', tasksPerThread, 1);
    checkNonNegative('WorkerPool', 'idle', idle);
    checkInteger('WorkerPool', 'nice', nice, 0, 19);
    this.pool = new Piscina({
      ...workerModule(),
      minThreads: 0,
      maxThreads: threads,
      concurrentTasksPerWorker: tasksPerThread,
      idleTimeout: idle,
      // Tasks wait for messages: a thread must never sleep in Atomics.wait between them.
      atomics: 'disabled',
      recordTiming: false,
      // Elsewhere than on Linux the value belongs to the process, not to the thread.
      niceIncrement: process.platform === 'linux' ? nice : 0,
    });
    // A thread that fails outside any task, for example because its module does not load: nothing would ever run.
    this.pool.on('error', (error: Error) => this.breakDown(error));
    // A thread that ends before it has taken a task leaves that task in the pool's line, with nobody to take it.
    this.pool.on('workerCreate', () => {
      this.failedStarts = 0;
    });
    this.pool.on('workerDestroy', () => setImmediate(() => this.replaceThread()));
  }

  /** Starts another thread where tasks wait, by a task that does nothing. */
  private replaceThread(): void {
    if (this.closed || this.pool.queueSize === 0) return;
    if (++this.failedStarts > mostFailedStarts)
      this.breakDown(new Error(`${mostFailedStarts} threads in a row ended before they were ready`));
    else this.pool.run(null, { name: 'nothing' }).catch(() => undefined);
  }

  private breakDown(error: Error): void {
    for (const fail of this.onBroken) fail(error);
  }

  /** Threads alive at the moment. */
  get threads(): number {
    return this.pool.threads.length;
  }

  /** @internal for tests of lost threads: ends every thread of the pool at once */
  async terminateThreads(): Promise<void> {
    await Promise.all(this.pool.threads.map((thread) => thread.terminate()));
  }

  /**
   * Starts the task called `name` of the worker module.
   *
   * @param data its argument, to which `port` is added
   * @param transfer buffers that move to the thread
   */
  start(name: string, data: Record<string, unknown>, transfer: readonly Transferable[] = []): Task {
    if (this.closed) throw new DeepHessianError('unsupported', 'WorkerPool: the pool has been closed');
    const { port1, port2 } = new MessageChannel();
    const ended = new Promise<void>((resolve, reject) => {
      const fail = (error: unknown): void => {
        this.onBroken.delete(fail);
        port1.close();
        reject(lost(error));
      };
      this.onBroken.add(fail);
      this.pool.run({ ...data, port: port2 }, { name, transferList: [...transfer, port2] as never[] }).then(() => {
        this.onBroken.delete(fail);
        resolve();
      }, fail);
    });
    // Whoever cares awaits it; a failure that came through the port first is not reported twice.
    ended.catch(() => undefined);
    return { port: port1, ended };
  }

  /** Ends all threads; tasks under way fail with 'worker-lost'. */
  async close(): Promise<void> {
    this.closed = true;
    await this.pool.destroy();
  }
}

function lost(cause: unknown): DeepHessianError {
  const { message, code } = cause as { message?: string; code?: string };
  if (code === 'ERR_WORKER_OUT_OF_MEMORY')
    return new DeepHessianError('out-of-memory', 'the worker thread reached its memory limit', {}, { cause });
  return new DeepHessianError(
    'worker-lost',
    `the worker thread ended under its task (${message ?? String(cause)})`,
    {},
    { cause },
  );
}
