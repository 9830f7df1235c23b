/**
 * The folder of a run:
 *
 *     config.json         the resolved configuration
 *     environment.json    machine and software
 *     metrics.jsonl       one record a line: 'step', 'evaluation', 'end'
 *     checkpoints/        latest.checkpoint (and last-good.checkpoint after a divergence)
 *     events.out.tfevents.*   the same figures for TensorBoard
 *     report.html
 *     run.lock            while a process is at work in the folder (run-lock.ts)
 *
 * Metrics are appended in whole lines. A process that is killed can leave a part of a last line, or lines
 * later than the last checkpoint; `resumeMetrics` takes both away.
 */
import { appendFileSync, existsSync, readdirSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { DeepHessianError } from '../errors.js';
import { ioError, makeFolder, removeLeftovers, writeFileAtomic, writeFileAtomicSync } from '../data/atomic.js';
import { checkRegular, readTextSync } from '../data/regular-file.js';
import { describeEnvironment } from './environment.js';
import { claimRun, type RunLock } from './run-lock.js';
import { EventWriter } from './tensorboard.js';
import { readCheckpoint, writeCheckpoint, type Checkpoint } from './checkpoint.js';
import type { EndRecord, EvaluationRecord, StepRecord, TrainEvent } from './trainer.js';

/** Folder of the checkpoints in a run folder, and the newest of them. */
export const checkpointFolder = 'checkpoints';
export const checkpointName = 'latest.checkpoint';
/** The records of a run, in its folder. */
const metricsName = 'metrics.jsonl';

/** Whether a run folder holds something to go on from. */
export function hasCheckpoint(path: string): boolean {
  return existsSync(join(path, checkpointFolder, checkpointName));
}

/** @throws DeepHessianError 'io' for a folder that holds a run */
function refuseRun(path: string): void {
  if (existsSync(join(path, 'config.json')) && !endedEarly(path)) {
    throw new DeepHessianError('io', `${path}: the folder holds a run already; choose another one, or resume it`, {
      path,
    });
  }
}

/** Whether the run of a folder was killed before its first checkpoint: it has left nothing to keep. */
function endedEarly(path: string): boolean {
  return !hasCheckpoint(path) && !existsSync(join(path, metricsName));
}

/** The folder of a run that is under way: claimed from its making to {@link RunFolder.release}. */
export class RunFolder {
  private lines: string[] = [];
  private events: EventWriter | null = null;
  private lastFlush = 0;

  private constructor(
    readonly path: string,
    private readonly lock: RunLock,
  ) {}

  /**
   * Makes a new run folder.
   *
   * @throws DeepHessianError 'io' when the folder holds a run already, somebody is at work there, or it cannot be made
   */
  static create(path: string, config: Record<string, unknown>): RunFolder {
    refuseRun(path);
    makeFolder(path);
    const folder = RunFolder.claim(path);
    try {
      // Somebody may have come and gone before the folder was claimed.
      refuseRun(path);
      makeFolder(join(path, checkpointFolder));
      // Records are appended to what is there, which must take them without a reader.
      if (existsSync(folder.metricsFile)) checkRegular(folder.metricsFile, statSync(folder.metricsFile), 'writing');
      folder.writeJson('config.json', config);
      folder.writeJson('environment.json', describeEnvironment());
      return folder;
    } catch (error) {
      folder.release();
      throw error;
    }
  }

  /**
   * Claims the folder of an earlier run; nothing else is written before {@link RunFolder.goOn}.
   *
   * @throws DeepHessianError 'io' when somebody is at work there
   */
  static claim(path: string): RunFolder {
    return new RunFolder(path, claimRun(path));
  }

  /** Makes a claimed folder ready to go on after `step` with these settings; later records are dropped. */
  goOn(step: number, config: Record<string, unknown>): void {
    removeLeftovers(this.path);
    removeLeftovers(join(this.path, checkpointFolder), 0);
    this.writeJson('environment.json', describeEnvironment());
    this.resumeMetrics(step);
    this.writeJson('config.json', config);
  }

  /** Leaves the folder to whoever comes next. */
  release(): void {
    this.lock.release();
  }

  get metricsFile(): string {
    return join(this.path, metricsName);
  }

  get checkpointFile(): string {
    return join(this.path, checkpointFolder, checkpointName);
  }

  writeJson(name: string, value: unknown): void {
    writeFileAtomicSync(join(this.path, name), `${JSON.stringify(value, null, 2)}\n`);
  }

  /** Adds a record to the metrics and to the TensorBoard file; on the disk within a second. */
  record(event: TrainEvent): void {
    this.lines.push(JSON.stringify(event));
    this.events ??= new EventWriter(this.path);
    this.events.scalars(event.step, scalarsOf(event));
    if (performance.now() - this.lastFlush > 1000) this.flush();
  }

  /** Brings everything recorded to the disk. */
  flush(): void {
    this.lastFlush = performance.now();
    if (this.lines.length > 0) {
      try {
        appendFileSync(this.metricsFile, `${this.lines.join('\n')}\n`);
      } catch (error) {
        throw ioError('writing', this.metricsFile, error);
      }
      this.lines = [];
    }
    this.events?.flush();
  }

  /** Writes the checkpoint after the metrics, so that a checkpoint never runs ahead of its record. */
  async checkpoint(checkpoint: Checkpoint, name = checkpointName): Promise<string> {
    this.flush();
    const path = join(this.path, checkpointFolder, name);
    await writeCheckpoint(path, checkpoint);
    return path;
  }

  async write(name: string, text: string): Promise<string> {
    const path = join(this.path, name);
    await writeFileAtomic(path, text);
    return path;
  }

  private resumeMetrics(step: number): void {
    if (!existsSync(this.metricsFile)) return;
    const kept = readMetrics(this.metricsFile).filter((event) => event.type !== 'end' && event.step <= step);
    writeFileAtomicSync(this.metricsFile, kept.map((event) => `${JSON.stringify(event)}\n`).join(''));
  }
}

function scalarsOf(event: TrainEvent): Record<string, number> {
  const values: Record<string, number> = { 'time/optimizer_seconds': event.seconds };
  if (event.type === 'step') {
    // Not 'train/..': that is the evaluation on the training set, which may be of the same step.
    values['step/loss'] = event.loss;
    values['step/norm'] = event.stepNorm;
    values['step/samples_per_second'] = event.samplesPerSecond;
    for (const [name, value] of Object.entries(event.figures))
      if (typeof value === 'number') values[`optimizer/${name}`] = value;
  } else {
    for (const [set, figures] of Object.entries(event.sets)) {
      for (const [name, value] of Object.entries(figures)) values[`${set}/${name}`] = value;
    }
    if (event.curvature !== undefined) {
      for (const [name, value] of Object.entries(event.curvature)) values[`curvature/${name}`] = value as number;
    }
  }
  return values;
}

/**
 * Reads a metrics file. A last line that was cut off by a killed process is left out; any other line that is not a
 * record is an error.
 *
 * @throws DeepHessianError 'io' or 'bad-file', naming the line
 */
export function readMetrics(path: string): (StepRecord | EvaluationRecord | EndRecord)[] {
  const lines = readTextSync(path).split('\n');
  // A whole file ends in a line break: what follows the last one is empty or was cut off.
  lines.pop();
  return lines.map((line, i) => {
    try {
      const value = JSON.parse(line) as TrainEvent;
      if (!['step', 'evaluation', 'end'].includes(value.type) || !Number.isInteger(value.step))
        throw new Error('not a record');
      return value;
    } catch (error) {
      throw new DeepHessianError(
        'bad-file',
        `${path}: line ${i + 1} is not a record of a run (${(error as Error).message})`,
        { path },
      );
    }
  });
}

/**
 * The checkpoint that `--resume` means: a checkpoint file itself, or the latest one of a run folder.
 *
 * @returns its file, and the run folder it belongs to
 */
export function locateCheckpoint(path: string): { file: string; folder: string } {
  let isFolder: boolean;
  try {
    isFolder = statSync(path).isDirectory();
  } catch (error) {
    throw ioError('opening', path, error);
  }
  if (!isFolder) return { file: path, folder: join(path, '..', '..') };
  const file = join(path, checkpointFolder, checkpointName);
  if (!hasCheckpoint(path)) {
    const inside = existsSync(join(path, checkpointFolder))
      ? readdirSync(join(path, checkpointFolder)).join(', ') || 'nothing'
      : 'no such folder';
    if (existsSync(join(path, 'config.json')) && endedEarly(path)) {
      throw new DeepHessianError(
        'io',
        `${path}: the run ended before its first checkpoint; start it anew with the same folder`,
        { path },
      );
    }
    throw new DeepHessianError('io', `${path}: no checkpoint to resume from (checkpoints/: ${inside})`, { path });
  }
  return { file, folder: path };
}

/** Reads a checkpoint; relative paths in its configuration are made those of the run's directory. */
export function readRunCheckpoint(file: string): Checkpoint {
  return located(readCheckpoint(file));
}

/** The checkpoint that {@link locateCheckpoint} finds. */
export function findCheckpoint(path: string): { checkpoint: Checkpoint; file: string; folder: string } {
  const found = locateCheckpoint(path);
  return { ...found, checkpoint: readRunCheckpoint(found.file) };
}

/** Settings that name what data are read from. */
const dataPaths = ['data-dir', 'file', 'test-file', 'targets-file'] as const;

/** The checkpoint with its data where the run found them: a relative path, unless nothing is there any more, is one from the run's directory. */
function located(checkpoint: Checkpoint): Checkpoint {
  const directory = checkpoint.extra?.directory;
  if (typeof directory !== 'string' || directory === process.cwd()) return checkpoint;
  const config = { ...checkpoint.config };
  for (const flag of dataPaths) {
    const path = config[flag];
    if (typeof path === 'string' && existsSync(resolve(directory, path))) config[flag] = resolve(directory, path);
  }
  return { ...checkpoint, config };
}
