/**
 * A training run with its folder: metrics while it goes on, checkpoints at intervals, at the end and when cancelled, and
 * the way back from a checkpoint.
 */
import { basename, dirname, resolve } from 'node:path';
import { fingerprint } from '../data/fingerprint.js';
import { DeepHessianError } from '../errors.js';
import { kernels } from '../native/index.js';
import { describe } from '../checks.js';
import { checkSettings, resolveSettings, type Settings } from './config.js';
import { buildBudget, buildExperiment, type Experiment } from './experiment.js';
import { checkpointFolder, checkpointName, locateCheckpoint, readRunCheckpoint, RunFolder } from './run-folder.js';
import { Trainer, type EndRecord, type TrainEvent, type TrainerState } from './trainer.js';
import type { Checkpoint } from './checkpoint.js';

/** Settings that a resumed run may change: its limits, the machine's part in it, and where the data lie by now. */
export const resumableFlags = [
  'steps',
  'epochs',
  'time-budget',
  'target-loss',
  'threads',
  'device',
  'evaluate-every',
  'checkpoint-every',
  'data-dir',
  'file',
  'test-file',
  'targets-file',
] as const;

/**
 * A run with its folder: settings, data, optimizer, checkpoints and records. Made by `TrainingSession.start` or
 * `resume`. The folder is this session's, and closed to other runs of this and other processes, until `run` has ended;
 * a session that is not run is given up with `close`.
 */
export class TrainingSession {
  private lastCheckpoint = performance.now();
  private readonly mark: string;
  private phase: 'ready' | 'running' | 'over' = 'ready';
  /** What whoever started the session should be told, one sentence each. */
  readonly warnings: readonly string[];

  private constructor(
    /** The resolved settings. */
    readonly settings: Settings,
    /** Data, network, optimizer and source. */
    readonly experiment: Experiment,
    /** The run folder. */
    readonly folder: RunFolder,
    private readonly stored: TrainerState | null,
    /** the mark of the training data at the checkpoint, where there is one */
    before?: unknown,
  ) {
    this.mark = fingerprint(experiment.problem.train);
    // Not refused: images that another version of the decoder gives may differ in a last bit.
    this.warnings =
      typeof before === 'string' && before !== this.mark
        ? [
            `the training data are not those of the checkpoint (${this.mark}; then ${before}): the run goes on, ` +
              'but not as it would have without the interruption',
          ]
        : [];
  }

  /**
   * Prepares a new run. Nothing is written before settings and data have been found good.
   *
   * @param path the run folder, which must not hold a run
   * @throws DeepHessianError 'io' when the folder holds a run, or another one is at work in it
   */
  static async start(given: Record<string, unknown>, path: string): Promise<TrainingSession> {
    const settings = resolveSettings(given);
    for (const flag of ['init', 'gain'] as const) {
      if (given['init-from'] !== undefined && given[flag] !== undefined)
        throw new RangeError(`train: --init-from and --${flag} exclude each other: the parameters come from the file`);
    }
    kernels.setThreads(settings.threads as number);
    const experiment = await buildExperiment(settings);
    return new TrainingSession(settings, experiment, RunFolder.create(path, settings), null);
  }

  /**
   * Goes on from a run folder or checkpoint file.
   *
   * @param changes new limits of the run; other settings cannot change
   * @throws DeepHessianError 'io' when there is no checkpoint, or another run is at work in the folder
   */
  static async resume(path: string, changes: Record<string, unknown> = {}): Promise<TrainingSession> {
    const { file, folder } = locateCheckpoint(path);
    // Records and settings of the run are written around the checkpoint: not around one that lies somewhere else.
    if (basename(dirname(resolve(file))) !== checkpointFolder) {
      throw new DeepHessianError(
        'io',
        `${path}: expected a checkpoint in the folder ${checkpointFolder}/ of a run; to go on from a copy, ` +
          `put it into a folder of its own as RUN/${checkpointFolder}/${checkpointName} and resume RUN`,
        { path },
      );
    }
    for (const flag of Object.keys(changes)) {
      if (!(resumableFlags as readonly string[]).includes(flag)) {
        throw new RangeError(
          `resume: --${flag} cannot change in a resumed run; allowed: ${resumableFlags.map((f) => `--${f}`).join(', ')}`,
        );
      }
    }
    // Before the checkpoint is read: whoever holds the folder may be writing a newer one.
    const run = RunFolder.claim(folder);
    // A process that ends while it reads data leaves no claim behind. Once it trains this would be too early: a checkpoint may be
    // on its way to the disk, and whoever comes next must not begin before it is there.
    const leave = (): void => run.release();
    process.once('exit', leave);
    try {
      return await TrainingSession.goOn(path, readRunCheckpoint(file), changes, run);
    } catch (error) {
      run.release();
      throw error;
    } finally {
      process.off('exit', leave);
    }
  }

  /** The session that goes on from `checkpoint` in its claimed folder. */
  private static async goOn(
    path: string,
    checkpoint: Checkpoint,
    changes: Record<string, unknown>,
    run: RunFolder,
  ): Promise<TrainingSession> {
    const merged: Settings = {
      ...checkSettings(`resume ${path}`, checkpoint.config),
      ...checkSettings('resume', changes),
    };
    // A time budget that was the only limit, as the default is, does not outlive a new one; given beside others it stays.
    const only = checkpoint.config.steps === undefined && checkpoint.config.epochs === undefined;
    if (only && (changes.steps !== undefined || changes.epochs !== undefined)) {
      if (changes['time-budget'] === undefined) delete merged['time-budget'];
    }
    const settings = resolveSettings(merged);
    kernels.setThreads(settings.threads as number);
    // The parameters come from the checkpoint: the file they once started from need not be there any more.
    const { 'init-from': _, ...parts } = settings;
    const experiment = await buildExperiment(parts);
    const { state } = checkpoint;
    const expected = JSON.stringify(experiment.network.toJSON());
    if (JSON.stringify(checkpoint.network) !== expected || state.params.length !== experiment.network.parameterCount) {
      throw new DeepHessianError(
        'bad-file',
        `${path}: the checkpoint's network is not the one its configuration and data give`,
        {
          path,
          parameters: describe(state.params),
          expected: experiment.network.parameterCount,
        },
      );
    }
    run.goOn(state.counters.step, settings);
    return new TrainingSession(settings, experiment, run, state, checkpoint.extra?.data);
  }

  /** Steps done before this session. */
  get startStep(): number {
    return this.stored?.counters.step ?? 0;
  }

  /**
   * Trains to the end of the budget, yielding every record after it has been noted down. A cancelled run leaves a
   * checkpoint, and so does a finished one (which a larger budget can resume). A session runs once.
   *
   * @throws DeepHessianError 'diverged'; the last good state is then in checkpoints/last-good.checkpoint
   */
  async *run(signal?: AbortSignal): AsyncGenerator<TrainEvent, EndRecord> {
    if (this.phase !== 'ready') {
      throw new DeepHessianError(
        'unsupported',
        `TrainingSession.run: a session runs once; go on with TrainingSession.resume('${this.folder.path}')`,
      );
    }
    this.phase = 'running';
    try {
      return yield* this.train(signal);
    } finally {
      await this.end();
    }
  }

  /** Gives up a session that is not run: its folder is free again. A session that runs, or has run, leaves by itself. */
  async close(): Promise<void> {
    if (this.phase === 'ready') await this.end();
  }

  private async end(): Promise<void> {
    this.phase = 'over';
    try {
      this.experiment.optimizer.dispose?.();
      await this.experiment.source.dispose?.();
    } finally {
      this.folder.release();
    }
  }

  private async *train(signal?: AbortSignal): AsyncGenerator<TrainEvent, EndRecord> {
    const { settings, experiment, folder } = this;
    const { network, params, optimizer, source, evaluate } = experiment;
    const probe = experiment.curvatureProbe();
    const trainer = new Trainer({
      network,
      params,
      optimizer,
      source,
      budget: buildBudget(settings),
      evaluate,
      ...(probe === null ? {} : { curvature: (at: Float64Array, final: boolean) => probe.take(at, final) }),
      evaluateEverySeconds: settings['evaluate-every'] as number,
      heartbeat: 0.1,
      ...(signal === undefined ? {} : { signal }),
    });
    if (this.stored !== null) trainer.restore(this.stored);
    // A run that is killed early can be resumed too.
    else await folder.checkpoint(this.checkpoint(trainer.state()));
    this.lastCheckpoint = performance.now();
    const every = 1000 * (settings['checkpoint-every'] as number);
    try {
      for await (const given of trainer.run()) {
        // Who interrupts a run wants it to leave: no spectrum then.
        const conclusion =
          given.type === 'end' && given.reason !== 'aborted' ? experiment.conclude(trainer.params) : null;
        const event: TrainEvent = conclusion === null ? given : { ...(given as EndRecord), conclusion };
        folder.record(event);
        if (event.type === 'end') {
          await folder.checkpoint(this.checkpoint(trainer.state()));
          yield event;
          return event;
        }
        yield event;
        if (performance.now() - this.lastCheckpoint > every) {
          await folder.checkpoint(this.checkpoint(trainer.state()));
          this.lastCheckpoint = performance.now();
        }
      }
      throw new Error('the trainer ended without an end record');
    } catch (error) {
      folder.flush();
      if (error instanceof DeepHessianError && error.code === 'diverged' && trainer.lastGoodState !== null) {
        const path = await folder.checkpoint(this.checkpoint(trainer.lastGoodState), 'last-good.checkpoint');
        throw new DeepHessianError(
          'diverged',
          `${error.message}; kept in ${path}`,
          { ...error.details, checkpoint: path },
          { cause: error },
        );
      }
      throw error;
    }
  }

  private checkpoint(state: TrainerState): Checkpoint {
    const { standardisation, train, schema, channels } = this.experiment.problem;
    return {
      config: this.settings,
      network: JSON.parse(JSON.stringify(this.experiment.network.toJSON())) as unknown,
      state,
      extra: {
        data: this.mark,
        directory: process.cwd(),
        classes: train.classes,
        featureNames: train.featureNames ?? null,
        valueNames: train.valueNames ?? null,
        schema,
        channels,
        standardisation:
          standardisation === null
            ? null
            : {
                inputs: plain(standardisation.inputs),
                values: standardisation.values === null ? null : plain(standardisation.values),
              },
      },
    };
  }
}

function plain({ mean, scale }: { mean: Float64Array; scale: Float64Array }): { mean: number[]; scale: number[] } {
  return { mean: [...mean], scale: [...scale] };
}
