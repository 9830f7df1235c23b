/** Temporary folders, small configurations and comparisons of run folders for the tests of jobs. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readCheckpoint } from '../../ts/train/checkpoint.js';

/** A folder for one suite, removed after it. */
export function temporaryFolder(): (...names: string[]) => string {
  let path = '';
  before(() => {
    path = mkdtempSync(join(tmpdir(), 'deep-hessian-jobs-'));
  });
  after(() => rmSync(path, { recursive: true, force: true }));
  return (...names) => join(path, ...names);
}

/** A run whose steps take a fraction of a millisecond: 60 points, 4 layers of 8. */
export const small: Record<string, unknown> = {
  points: 60,
  'num-layers': 4,
  'hidden-dim': 8,
  seed: 3,
  optimizer: 'adam',
};

/** All of a run's newest checkpoint but times, which no two runs share. */
export function stateOf(folder: string): Record<string, unknown> {
  const { state, network } = readCheckpoint(join(folder, 'checkpoints', 'latest.checkpoint'));
  const { seconds: _, ...counters } = state.counters;
  const bits = (values: Float64Array): string =>
    Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString('hex');
  const vectors = Object.entries(state.optimizer.vectors).map(([name, values]): [string, string] => [
    name,
    bits(values),
  ]);
  return {
    network,
    counters,
    source: state.source,
    params: bits(state.params),
    scalars: state.optimizer.scalars,
    vectors,
  };
}

/** What a promise rejects with. */
export async function rejection(promise: Promise<unknown>): Promise<Error> {
  try {
    await promise;
  } catch (error) {
    return error as Error;
  }
  throw new Error('expected a rejection');
}

/** Waits until `condition` holds, asking every few milliseconds. */
export async function until(condition: () => boolean, milliseconds = 60_000): Promise<void> {
  const end = performance.now() + milliseconds;
  while (!condition()) {
    if (performance.now() > end) throw new Error('waited in vain');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
