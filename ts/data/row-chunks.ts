/**
 * Rows of a source, some at a time: what a network is used on, where a data set in memory is what it is trained on. Targets may be
 * there or not, and rows that cannot be used keep their place, so that results stand beside the rows that they belong to.
 */
import type { ImageInputs, ImageOptions, PixelPlanes } from './images.js';
import { imageDataset } from './images.js';

/** Consecutive rows of a source; F features, K values a target. */
export interface RowChunk {
  /** Rows of the source before these. */
  first: number;
  /** Rows of the source in the chunk, those left out included. */
  rows: number;
  /** Place in the chunk of each of the n rows of `inputs`, ascending. */
  kept: readonly number[];
  /** [n, F], row-major, finite. */
  inputs: Float64Array;
  /** The m rows of `inputs` that have a target, ascending. */
  withTarget: readonly number[];
  /** Class indices [m]; null where the source has none. */
  labels: Int32Array | null;
  /** [m, K], row-major, finite; null where the source has none. */
  values: Float64Array | null;
  /** Texts that go with each row of the chunk (an identifier, a file); none for rows that cannot be told apart. */
  keys: readonly (readonly string[])[];
  /** Rows that were left out: their place in the chunk, and why. */
  left: readonly { place: number; reason: string }[];
}

/** 0, 1, .., n - 1. */
const upTo = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

/** A chunk in which nothing is left out, with targets for all rows or for none. */
export function wholeChunk(
  first: number,
  rows: number,
  inputs: Float64Array,
  { labels = null, values = null }: { labels?: Int32Array | null; values?: Float64Array | null } = {},
): RowChunk {
  const kept = upTo(rows);
  const withTarget = labels !== null || values !== null ? kept : [];
  return { first, rows, kept, inputs, withTarget, labels, values, keys: [], left: [] };
}

/**
 * Arrays in memory, `size` rows at a time (views, not copies).
 *
 * @param inputs [N, features]
 * @param targets labels [N] or values [N, outputs]
 */
export function* arrayChunks(
  inputs: Float64Array,
  features: number,
  targets: { labels?: Int32Array | null; values?: Float64Array | null },
  size: number,
): Generator<RowChunk> {
  const samples = inputs.length / features;
  const { labels = null, values = null } = targets;
  const outputs = values === null ? 0 : values.length / samples;
  for (let from = 0; from < samples; from += size) {
    const to = Math.min(from + size, samples);
    yield wholeChunk(from, to - from, inputs.subarray(from * features, to * features), {
      labels: labels?.subarray(from, to) ?? null,
      values: values?.subarray(from * outputs, to * outputs) ?? null,
    });
  }
}

/**
 * Pixels in memory, made inputs `size` images at a time.
 *
 * @param options `channels` with normalise 'standardised': the figures of the training images
 */
export function* imageChunks(
  planes: PixelPlanes & { labels: Int32Array | null },
  options: ImageOptions,
  size: number,
): Generator<RowChunk> {
  const { samples, channels, height, width, pixels, labels } = planes;
  const bytes = channels * height * width;
  for (let from = 0; from < samples; from += size) {
    const to = Math.min(from + size, samples);
    const part = { samples: to - from, channels, height, width, pixels: pixels.subarray(from * bytes, to * bytes) };
    const { sets }: ImageInputs = imageDataset([part], options);
    yield wholeChunk(from, to - from, sets[0], { labels: labels?.subarray(from, to) ?? null });
  }
}
