/** Small runs and temporary folders for the tests of training. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TrainingSession } from '../../ts/train/session.js';
import type { TrainEvent } from '../../ts/train/trainer.js';

/** A folder for the tests of one suite, removed after them. */
export function temporaryFolder(): { path: () => string } {
  let path = '';
  before(() => {
    path = mkdtempSync(join(tmpdir(), 'deep-hessian-'));
  });
  after(() => rmSync(path, { recursive: true, force: true }));
  return { path: () => path };
}

/** A run that takes milliseconds: 60 points, 4 layers of 8. */
export const small: Record<string, unknown> = { points: 60, 'num-layers': 4, 'hidden-dim': 8, seed: 3 };

/** Runs a session to its end, or until `stop` says so; returns its records. */
export async function runSession(
  session: TrainingSession,
  stop?: (event: TrainEvent) => boolean,
): Promise<TrainEvent[]> {
  const controller = new AbortController();
  const events: TrainEvent[] = [];
  for await (const event of session.run(controller.signal)) {
    events.push(event);
    if (stop?.(event) === true) controller.abort();
  }
  return events;
}
