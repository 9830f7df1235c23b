/** What the two sides of a training job say to each other. */
import type { TrainEvent } from '../train/trainer.js';
import type { ThreadError } from './thread-errors.js';

/** The argument of the thread's task, beside its port. */
export interface TrainingTask extends Record<string, unknown> {
  settings: Record<string, unknown>;
  folder: string;
  /** go on from the folder's checkpoint where it has one */
  resume: boolean;
  /** records that may be under way before the thread waits for their acknowledgement */
  window: number;
}

/** Facts of a run that has been prepared. */
export interface RunFacts {
  /** steps done before this session */
  startStep: number;
  parameters: number;
  samples: number;
  /** what a resumed run should be told, one sentence each: that its data have changed since the checkpoint */
  warnings: readonly string[];
}

export type TrainingCommand = { stop: true } | { taken: number };

export type TrainingMessage =
  | { type: 'started'; facts: RunFacts }
  | { type: 'records'; records: TrainEvent[] }
  | { type: 'failed'; error: ThreadError };
