/**
 * Where a trainer gets its batches: one batch for ever (a fixed batch, or the full training set), or
 * a stream of shuffled batches. A source knows its position and can store and restore it, so that a
 * resumed run sees the batches that an uninterrupted one would have seen.
 */
import { checkObject, failRange } from '../checks.js';
import { BatchSampler, type BatchSamplerOptions, type BatchSamplerState } from '../data/batch-sampler.js';
import { gather, type DataBatch, type Dataset } from '../data/dataset.js';
import type { Batch } from '../network/batch.js';
import type { Network } from '../derivatives/network.js';
import { networkTargets } from './evaluation.js';

/** The position of a source, as plain data. */
export type SourceState = Record<string, unknown>;

/** Where a training loop takes its batches from. */
export interface BatchSource {
  /** 'fixed': every step sees the same batch, so its loss is the objective itself; 'stream': batches change */
  readonly kind: 'fixed' | 'stream';
  /** samples in one pass over the data */
  readonly samples: number;
  /** steps in one pass */
  readonly stepsPerEpoch: number;
  /** The batch of the next step. @param spent an earlier one that nothing looks at any more: its memory may be used again */
  next(spent?: Batch): Batch | Promise<Batch>;
  /** Position after the batches handed out so far. */
  state(): SourceState;
  /** Goes on from what `state` returned: the same batches follow. */
  restore(state: SourceState): void;
  /** Lets go of what the source holds; it is not used afterwards. */
  dispose?(): void | Promise<void>;
}

/** A source that hands out one batch for ever. */
export function fixedSource(batch: Batch): BatchSource {
  return {
    kind: 'fixed',
    samples: batch.samples,
    stepsPerEpoch: 1,
    next: () => batch,
    state: () => ({ kind: 'fixed' }),
    restore: (state) => checkSourceKind(state, 'fixed'),
  };
}

/** Refuses the stored position of another kind of source. */
export function checkSourceKind(state: SourceState, kind: string): void {
  checkObject('source.restore', 'state', state);
  if (state.kind !== kind)
    failRange('source.restore', 'state.kind', `'${kind}' (the kind of this run's data)`, state.kind);
}

/** A source of shuffled batches of `dataset`: one permutation of the samples an epoch, drawn from the seed. */
export function sampledSource(network: Network, dataset: Dataset, options: BatchSamplerOptions): BatchSource {
  const sampler = new BatchSampler(dataset.samples, options);
  let buffer: DataBatch | undefined;
  return {
    kind: 'stream',
    samples: dataset.samples,
    stepsPerEpoch: sampler.batchesPerEpoch,
    next: (spent) => {
      buffer = gather(dataset, sampler.next(), buffer);
      return network.batch({ inputs: buffer.inputs, targets: networkTargets(network, buffer.targets) }, spent);
    },
    state: () => ({ kind: 'stream', ...sampler.state() }),
    restore: (state) => {
      checkSourceKind(state, 'stream');
      const { kind: _, ...position } = state;
      sampler.restore(position as unknown as BatchSamplerState);
    },
  };
}
