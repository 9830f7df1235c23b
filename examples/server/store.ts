/**
 * The server's jobs on disk: one folder a job, which is the job's run folder, with a job.json in it that says what was
 * asked for and how far it has come. After a restart, whatever was waiting or running is put in line again and goes on
 * from its checkpoint.
 *
 *     <root>/<id>/job.json        { id, config, priority, state, created, error? }
 *     <root>/<id>/checkpoints/..  written by the run
 */
import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { TrainingJob, type EndRecord, type JobScheduler, type JobState } from '../../ts/index.js';

/** What job.json holds. */
export interface JobRecord {
  id: string;
  config: Record<string, unknown>;
  priority: number;
  state: JobState;
  created: string;
  error?: string;
  end?: EndRecord;
}

/** Settings that name files of the server's machine: not for clients. */
const forbidden = ['data-dir', 'file', 'test-file', 'targets-file', 'threads', 'device'];

export class JobStore {
  private readonly records = new Map<string, JobRecord>();
  private readonly jobs = new Map<string, TrainingJob>();
  private closing = false;

  /**
   * Opens the folder and puts unfinished jobs in line again.
   *
   * @param mostWaiting jobs in line beyond which new ones are refused
   */
  constructor(
    private readonly root: string,
    private readonly scheduler: JobScheduler,
    private readonly mostWaiting = 1000,
  ) {
    mkdirSync(root, { recursive: true });
    const found = readdirSync(root, { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && existsSync(join(root, entry.name, 'job.json')))
      .map((entry) => JSON.parse(readFileSync(join(root, entry.name, 'job.json'), 'utf8')) as JobRecord)
      .sort((a, b) => a.created.localeCompare(b.created));
    for (const record of found) {
      this.records.set(record.id, record);
      if (['new', 'queued', 'running', 'paused'].includes(record.state)) {
        const job = this.attach(record, true);
        if (record.state === 'paused') void job.pause();
        else job.start();
      }
    }
  }

  /** @throws RangeError, TypeError for a configuration that cannot run; DeepHessianError 'out-of-memory' */
  add(config: Record<string, unknown>, priority: number): JobRecord {
    const named = forbidden.find((flag) => flag in config);
    if (named !== undefined) throw new RangeError(`the setting '${named}' is not for clients of this server`);
    if (this.scheduler.queued.length >= this.mostWaiting)
      throw new Busy(`${this.mostWaiting} jobs are waiting already`);
    const record: JobRecord = { id: randomUUID(), config, priority, state: 'new', created: new Date().toISOString() };
    const job = this.attach(record, true);
    try {
      mkdirSync(join(this.root, record.id));
      this.write(record);
      job.start();
    } catch (error) {
      this.forget(record.id);
      throw error;
    }
    this.records.set(record.id, record);
    return record;
  }

  list(): JobRecord[] {
    return [...this.records.values()];
  }

  get(id: string): { record: JobRecord; job: TrainingJob | null } | null {
    const record = this.records.get(id);
    return record === undefined ? null : { record, job: this.jobs.get(id) ?? null };
  }

  /** Cancels the job and removes its folder. */
  async remove(id: string): Promise<void> {
    await this.jobs.get(id)?.abort();
    this.forget(id);
  }

  /** Stops every job at a checkpoint, to go on when the folder is opened again. */
  async close(): Promise<void> {
    this.closing = true;
    await this.scheduler.close();
  }

  private attach(record: JobRecord, resume: boolean): TrainingJob {
    const { id, config, priority } = record;
    const job = new TrainingJob(config, { folder: join(this.root, id), priority, resume, scheduler: this.scheduler });
    this.jobs.set(id, job);
    job.on('state', (state) => {
      // What stops because the server stops is not stopped in the record.
      if (this.closing || !this.records.has(id)) return;
      record.state = state;
      delete record.error;
      if (job.error !== null) record.error = job.error.message;
      if (job.end !== null) record.end = job.end;
      this.write(record);
      if (state === 'finished' || state === 'aborted') this.jobs.delete(id);
    });
    return job;
  }

  private forget(id: string): void {
    this.records.delete(id);
    this.jobs.delete(id);
    rmSync(join(this.root, id), { recursive: true, force: true });
  }

  /** The old file or the new one, at every moment. */
  private write(record: JobRecord): void {
    const path = join(this.root, record.id, 'job.json');
    writeFileSync(`${path}.new`, `${JSON.stringify(record, null, 2)}\n`, { flush: true });
    renameSync(`${path}.new`, path);
  }
}

/** The server has enough to do. */
export class Busy extends Error {}
