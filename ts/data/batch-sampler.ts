/**
 * Shuffled batches without replacement, the same from the same seed, resumable to the same batches.
 *
 * Every epoch is one Fisher-Yates permutation of 0 .. N - 1, drawn from the identity with the generator as the last
 * epoch left it. The generator's state at the start of the epoch, the epoch and the position therefore determine
 * everything that follows; they are all that a checkpoint has to hold (about 60 bytes, whatever N).
 */
import { checkBoolean, checkInteger, checkObject, failRange } from '../checks.js';
import { Random, type RandomState } from '../random.js';
import { ascending } from './dataset.js';
import { checkOptions } from './options.js';

/** Options of {@link BatchSampler}. */
export interface BatchSamplerOptions {
  /** Samples a batch, from 1 to the number of samples. */
  batchSize: number;
  /** Default 0. */
  seed?: number;
  /** Leave out a last batch of an epoch that is not full. Default false. */
  dropLast?: boolean;
  /** Default true; false goes through the samples in their order. */
  shuffle?: boolean;
}

/** Plain JSON data. */
export interface BatchSamplerState {
  /** Samples in the data. */
  samples: number;
  /** Samples a batch. */
  batchSize: number;
  /** Whether a last batch that is not full is left out. */
  dropLast: boolean;
  /** Whether every epoch has its own order. */
  shuffle: boolean;
  /** Whole passes completed. */
  epoch: number;
  /** Samples of this epoch already given out. */
  position: number;
  /** The generator when this epoch began. */
  random: RandomState;
}

/**
 * Gives out batches of sample indices for ever.
 *
 * @example
 * const sampler = new BatchSampler(train.samples, { batchSize: 64, seed: 1 });
 * let batch;
 * while (sampler.epoch < 10) batch = gather(train, sampler.next(), batch);
 */
export class BatchSampler {
  /** Samples in the data. */
  readonly samples: number;
  /** Samples a batch. */
  readonly batchSize: number;
  /** Whether a last batch that is not full is left out. */
  readonly dropLast: boolean;
  /** Whether every epoch has its own order. */
  readonly shuffle: boolean;
  /** Whole passes completed. */
  epoch = 0;
  private position = 0;
  private random: Random;
  private start: RandomState;
  private readonly order: Int32Array;

  constructor(samples: number, options: BatchSamplerOptions) {
    const operation = 'BatchSampler';
    checkInteger(operation, 'samples', samples, 1, 0x7fffffff);
    checkOptions(operation, options, ['batchSize', 'seed', 'dropLast', 'shuffle']);
    checkInteger(operation, 'batchSize', options.batchSize, 1, samples);
    this.samples = samples;
    this.batchSize = options.batchSize;
    this.dropLast = options.dropLast ?? false;
    this.shuffle = options.shuffle ?? true;
    checkBoolean(operation, 'dropLast', this.dropLast);
    checkBoolean(operation, 'shuffle', this.shuffle);
    this.random = new Random(options.seed ?? 0);
    this.start = this.random.state;
    this.order = ascending(samples);
    this.permute();
  }

  /** Batches of an epoch. */
  get batchesPerEpoch(): number {
    return this.dropLast ? Math.floor(this.samples / this.batchSize) : Math.ceil(this.samples / this.batchSize);
  }

  /** Samples of this epoch already given out. */
  get epochPosition(): number {
    return this.position;
  }

  /**
   * The indices of the next batch. `epoch` counts up as soon as an epoch's last batch is given out.
   *
   * @returns a new array, `batchSize` long but for a last batch when `dropLast` is false
   */
  next(): Int32Array {
    const end = Math.min(this.position + this.batchSize, this.samples);
    const batch = this.order.slice(this.position, end);
    this.position = end;
    const left = this.samples - end;
    if (left === 0 || (this.dropLast && left < this.batchSize)) {
      this.epoch++;
      this.position = 0;
      this.start = this.random.state;
      this.permute();
    }
    return batch;
  }

  private permute(): void {
    if (!this.shuffle) return;
    for (let i = 0; i < this.samples; i++) this.order[i] = i;
    this.random.shuffle(this.order);
  }

  /** Everything needed to go on from here with the same batches. */
  state(): BatchSamplerState {
    const { samples, batchSize, dropLast, shuffle, epoch, position, start } = this;
    return { samples, batchSize, dropLast, shuffle, epoch, position, random: start };
  }

  /** @throws RangeError when the state is of a sampler over other samples or with other batches */
  /**
   * Goes on from a state.
   *
   * @throws RangeError for one of other data or options
   */
  restore(state: BatchSamplerState): void {
    const operation = 'BatchSampler.restore';
    checkObject(operation, 'state', state);
    for (const key of ['samples', 'batchSize', 'dropLast', 'shuffle'] as const) {
      if (state[key] !== this[key]) failRange(operation, `state.${key}`, String(this[key]), state[key]);
    }
    checkInteger(operation, 'state.epoch', state.epoch);
    checkInteger(operation, 'state.position', state.position, 0, this.samples - 1);
    if (!Array.isArray(state.random) || state.random.length !== 4) {
      failRange(operation, 'state.random', 'four 32-bit integers', state.random);
    }
    for (let i = 0; i < 4; i++) {
      checkInteger(operation, `state.random[${i}]`, state.random[i], -0x80000000, 0xffffffff);
    }
    this.epoch = state.epoch;
    this.position = state.position;
    this.start = [...state.random] as unknown as RandomState;
    this.random = Random.from(this.start);
    this.permute();
  }
}
