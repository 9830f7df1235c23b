/**
 * The way that training took to a checkpoint: from the checkpoints that lie in its run folder, or by running the same steps
 * again. A run is deterministic, so the second way gives the very parameters, and says so when its end is the checkpoint's, bit
 * for bit. Both begin at the initial parameters, which the configuration gives.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { DeepHessianError } from '../errors.js';
import { kernels } from '../native/index.js';
import { readCheckpoint, type Checkpoint } from '../train/checkpoint.js';
import { buildExperiment, firstParameters } from '../train/experiment.js';
import { resolveSettings } from '../train/config.js';
import { checkpointFolder } from '../train/run-folder.js';
import { Trainer } from '../train/trainer.js';
import type { Subject } from './subject.js';

/** All ways to come by a training path, by name. */
export const pathModes = ['auto', 'replay', 'stored', 'none'] as const;
/**
 * 'replay' runs the training again, 'stored' takes the checkpoints of its folder, 'auto' the first where it took at
 * most 30 s, 'none' neither.
 */
export type PathMode = (typeof pathModes)[number];

/** What became of the request. */
export interface PathReport {
  /** where the path came from */
  source: 'replayed' | 'stored' | 'none';
  /** replayed: whether its end is the checkpoint's parameters, bit for bit; else null */
  reproduced: boolean | null;
  /** the same in a sentence, with the reason where there is no path or an incomplete one */
  note: string;
}

/** Seconds of optimizer time up to which 'auto' runs a training again. */
const replaySeconds = 30;

/**
 * Hands the parameters of the path to `visit`, step by step; they are valid during the call only.
 *
 * @param mode 'auto': run again what took at most 30 s, else what is stored
 * @param limit seconds of wall time for running again
 */
export async function walkTrainingPath(
  subject: Subject,
  mode: PathMode,
  limit: number,
  visit: (step: number, params: Float64Array) => void,
  onProgress?: (fraction: number) => void,
): Promise<PathReport> {
  const { checkpoint, origin, network } = subject;
  if (mode === 'none' || checkpoint === null || origin.kind !== 'checkpoint')
    return { source: 'none', reproduced: null, note: 'no training run' };
  const { config, state } = checkpoint;
  let settings;
  try {
    settings = resolveSettings(config);
  } catch (error) {
    return {
      source: 'none',
      reproduced: null,
      note: `the checkpoint does not hold the configuration of a run (${(error as Error).message})`,
    };
  }
  const { step: steps, seconds } = state.counters;
  const repeat = mode === 'replay' || (mode === 'auto' && seconds <= replaySeconds);
  if (!repeat) {
    const points = storedCheckpoints(origin.folder, network.parameterCount).filter(
      (point) => point.state.counters.step <= steps,
    );
    // The file of weights that a run started from need not be there any more.
    const first = await firstParameters(settings, network).catch((error: unknown) => {
      if (!(error instanceof DeepHessianError)) throw error;
      return null;
    });
    if (first !== null) visit(0, first);
    for (const point of points) if (point.state.counters.step > 0) visit(point.state.counters.step, point.state.params);
    if (!points.some((point) => point.state.counters.step === steps)) visit(steps, state.params);
    return {
      source: 'stored',
      reproduced: null,
      note: `from ${first === null ? '' : 'the initial parameters and '}${points.length} stored checkpoints`,
    };
  }
  const threads = kernels.info().threads;
  kernels.setThreads(settings.threads as number);
  const began = performance.now();
  try {
    const { network: again, params, optimizer, source } = await buildExperiment(settings);
    try {
      visit(0, params);
      if (steps > 0) {
        const trainer = new Trainer({ network: again, params, optimizer, source, budget: { steps } });
        for await (const event of trainer.run()) {
          if (event.type === 'step') visit(event.step, params);
          onProgress?.(event.step / steps);
          if ((performance.now() - began) / 1000 > limit && event.step < steps) {
            return {
              source: 'replayed',
              reproduced: false,
              note: `${event.step} of ${steps} steps were run again in the ${limit} s given`,
            };
          }
        }
      }
      const reproduced = params.every((value, i) => Object.is(value, state.params[i]));
      visit(steps, reproduced ? params : state.params);
      const note = reproduced
        ? `the ${steps} steps were run again and end at the checkpoint, bit for bit`
        : `the ${steps} steps were run again and end elsewhere (other machine, threads or data); the last point is the checkpoint`;
      return { source: 'replayed', reproduced, note };
    } finally {
      optimizer.dispose?.();
      await source.dispose?.();
    }
  } catch (error) {
    if (!(error instanceof DeepHessianError || error instanceof RangeError || error instanceof TypeError)) throw error;
    return { source: 'none', reproduced: null, note: `the run cannot be repeated: ${error.message}` };
  } finally {
    kernels.setThreads(threads);
  }
}

/** Sound checkpoints of a run folder by step, one a step. */
function storedCheckpoints(folder: string, parameters: number): Checkpoint[] {
  const place = join(folder, checkpointFolder);
  let names: string[];
  try {
    names = readdirSync(place).filter((name) => name.endsWith('.checkpoint'));
  } catch {
    return [];
  }
  const found = new Map<number, Checkpoint>();
  for (const name of names) {
    try {
      const checkpoint = readCheckpoint(join(place, name));
      if (checkpoint.state.params.length === parameters) found.set(checkpoint.state.counters.step, checkpoint);
    } catch (error) {
      // A damaged neighbour is no reason to fail.
      if (!(error instanceof DeepHessianError)) throw error;
    }
  }
  return [...found.values()].sort((x, y) => x.state.counters.step - y.state.counters.step);
}
