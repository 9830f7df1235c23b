/**
 * The routes.
 *
 *     POST   /jobs               { "config": { "data": "spirals", "steps": 500 }, "priority": 0 } -> 201 and the job
 *     GET    /jobs               all jobs
 *     GET    /jobs/:id           one job with its newest records
 *     GET    /jobs/:id/events    its records as server-sent events: state, step, evaluation, end, failed
 *     POST   /jobs/:id/pause     stops it at a checkpoint
 *     POST   /jobs/:id/resume    goes on from there, also after a failure
 *     DELETE /jobs/:id           cancels it and removes its folder
 *     GET    /health             { "running": 1, "queued": 0, "memoryFree": 123 }
 */
import { once } from 'node:events';
import express, { type Express, type NextFunction, type Request, type Response } from 'express';
import { DeepHessianError, type JobScheduler, type TrainEvent, type TrainingJob } from '../../ts/index.js';
import { Busy, type JobRecord, type JobStore } from './store.js';

/** What clients see of a job. */
function view(record: JobRecord, job: TrainingJob | null): Record<string, unknown> {
  const { id, state, priority, created, config, error, end } = record;
  const live = job === null ? {} : { latest: job.latest, evaluation: job.latestEvaluation, memory: job.memory };
  return {
    id,
    state,
    priority,
    created,
    config,
    ...(error === undefined ? {} : { error }),
    ...(end ? { end } : {}),
    ...live,
  };
}

/** From what went wrong to a status: the caller's fault, too large, too busy, or ours. */
function statusOf(error: unknown): number {
  if (error instanceof Busy) return 503;
  if (error instanceof DeepHessianError) return error.code === 'out-of-memory' ? 413 : 409;
  if (error instanceof TypeError || error instanceof RangeError) return 400;
  const { status } = error as { status?: unknown };
  return typeof status === 'number' ? status : 500;
}

/** Sends the records of a job as they come, in step with what the client reads. */
async function sendEvents(response: Response, record: JobRecord, job: TrainingJob | null): Promise<void> {
  response.writeHead(200, {
    'Content-Type': 'text/event-stream',
    'Cache-Control': 'no-store',
    'X-Accel-Buffering': 'no',
  });
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  const send = async (event: string, data: unknown): Promise<void> => {
    if (gone.signal.aborted) return;
    if (!response.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`))
      await once(response, 'drain', { signal: gone.signal }).catch(() => undefined);
  };
  await send('state', { state: record.state });
  if (job === null) {
    if (record.end !== undefined) await send('end', record.end);
    response.end();
    return;
  }
  const onState = (state: string): void => void send('state', { state });
  job.on('state', onState);
  // Proxies close connections on which nothing comes.
  const pulse = setInterval(() => response.write(': alive\n\n'), 15_000);
  // A client that reads slowly misses steps; it never holds the training back.
  const records = job.events({ buffer: 256, whenFull: 'drop' });
  const leave = (): void => void records.return?.();
  gone.signal.addEventListener('abort', leave);
  try {
    for await (const entry of records as AsyncIterable<TrainEvent>) await send(entry.type, entry);
  } catch (error) {
    await send('failed', { message: (error as Error).message });
  } finally {
    clearInterval(pulse);
    job.off('state', onState);
    response.end();
  }
}

export function createApp(store: JobStore, scheduler: JobScheduler): Express {
  const app = express();
  app.disable('x-powered-by');
  app.use(express.json({ limit: '64kb' }));

  const withJob =
    (handle: (response: Response, record: JobRecord, job: TrainingJob | null) => unknown) =>
    async (request: Request, response: Response): Promise<void> => {
      const found = store.get(request.params.id as string);
      if (found === null) response.status(404).json({ error: 'no such job' });
      else await handle(response, found.record, found.job);
    };

  app.post('/jobs', (request, response) => {
    const { config = {}, priority = 0 } = (request.body ?? {}) as {
      config?: Record<string, unknown>;
      priority?: number;
    };
    if (typeof config !== 'object' || config === null || Array.isArray(config))
      throw new TypeError('config must be an object');
    const record = store.add(config, priority);
    response
      .status(201)
      .location(`/jobs/${record.id}`)
      .json(view(record, store.get(record.id)?.job ?? null));
  });
  app.get('/jobs', (_, response) => void response.json(store.list().map((record) => view(record, null))));
  app.get(
    '/jobs/:id',
    withJob((response, record, job) => response.json(view(record, job))),
  );
  app.get('/jobs/:id/events', withJob(sendEvents));
  app.post(
    '/jobs/:id/pause',
    withJob(async (response, record, job) => {
      await job?.pause();
      response.json(view(record, job));
    }),
  );
  app.post(
    '/jobs/:id/resume',
    withJob((response, record, job) => {
      job?.resume();
      response.json(view(record, job));
    }),
  );
  app.delete(
    '/jobs/:id',
    withJob(async (response, record) => {
      await store.remove(record.id);
      response.status(204).end();
    }),
  );
  app.get('/health', (_, response) => {
    const { running, queued, memory } = scheduler;
    response.json({ running: running.length, queued: queued.length, memoryFree: memory.free });
  });
  app.use((error: unknown, _request: Request, response: Response, next: NextFunction) => {
    if (response.headersSent) return next(error);
    const status = statusOf(error);
    const details = error instanceof DeepHessianError ? { code: error.code, details: error.details } : {};
    response.status(status).json({ error: status === 500 ? 'internal error' : (error as Error).message, ...details });
  });
  return app;
}
