/**
 * Pixels to network inputs: grey, smaller by area averages, normalised.
 *
 * Images come as planes: [samples, channels, height, width] of uint8, row-major (CIFAR's own order); inputs keep that
 * order, so a sample is all of its first channel, then the second, ..
 */
import { checkBoolean, checkInteger, checkOneOf, failRange } from '../checks.js';
import { checkFits } from './bytes.js';
import { checkOptions } from './options.js';

/** Images before they are made inputs. */
export interface PixelPlanes {
  samples: number;
  channels: number;
  height: number;
  width: number;
  /** [samples, channels, height, width]. */
  pixels: Uint8Array;
}

/** How pixels become inputs. */
export interface ImageOptions {
  /** Height and width of the inputs, at most those of the images. Default: as they are. */
  imageSize?: number;
  /** One channel 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601) instead of three. Default false. */
  grey?: boolean;
  /**
   * 'unit' (default): pixel / 255, in [0, 1].
   * 'standardised': ((pixel / 255) - mean_c) / deviation_c with mean and standard deviation of channel c over all
   * pixels of all training images (after grey and resizing); the test set is treated with the training set's figures.
   */
  normalise?: 'unit' | 'standardised';
  /** For 'standardised': use these instead of fitting them, one number a channel (as kept with a model). */
  channels?: { mean: readonly number[]; deviation: readonly number[] };
}

/** Images as inputs of a network. */
export interface ImageInputs {
  /** Inputs of every set, [samples, channels * height * width]. */
  sets: Float64Array[];
  /** Of a sample. */
  shape: { height: number; width: number; channels: number };
  /** The figures applied for 'standardised'. */
  channels: { mean: number[]; deviation: number[] } | null;
}

/**
 * Weights of an area average from `from` to `to` pixels: output j covers [j, j + 1) * from / to, and a pixel counts
 * with the length of it that is covered, divided by from / to. Rows sum to 1. For from = 2 to it is the mean of pairs.
 *
 * @returns for output j the pixels first[j] .. first[j] + span - 1 with weights[j * span ..]
 */
export function areaWeights(from: number, to: number): { first: Int32Array; span: number; weights: Float64Array } {
  checkInteger('areaWeights', 'from', from, 1);
  checkInteger('areaWeights', 'to', to, 1, from);
  const ratio = from / to;
  const span = from % to === 0 ? ratio : Math.ceil(ratio) + 1;
  const first = new Int32Array(to);
  const weights = new Float64Array(to * span);
  for (let j = 0; j < to; j++) {
    // Start and end as exact fractions over `to`: j from / to and (j + 1) from / to.
    const begin = j * from;
    const end = begin + from;
    first[j] = Math.floor(begin / to);
    for (let t = 0; t < span; t++) {
      const pixel = (first[j] + t) * to;
      const covered = Math.min(end, pixel + to) - Math.max(begin, pixel);
      if (covered > 0) weights[j * span + t] = covered / from;
    }
  }
  return { first, span, weights };
}

/**
 * Area average of one plane, rows and columns one after the other (the weights are a product).
 *
 * @param source [height, width]
 * @param out [toHeight, toWidth], at `offset`
 */
export function areaAverage(
  source: ArrayLike<number>,
  height: number,
  width: number,
  out: Float64Array,
  offset: number,
  toHeight: number,
  toWidth: number,
): void {
  const down = areaWeights(height, toHeight);
  const across = areaWeights(width, toWidth);
  averagePlane(source, 0, height, width, out, offset, toHeight, toWidth, down, across, new Float64Array(width));
}

type Weights = ReturnType<typeof areaWeights>;

function averagePlane(
  source: ArrayLike<number>,
  from: number,
  height: number,
  width: number,
  out: Float64Array,
  offset: number,
  toHeight: number,
  toWidth: number,
  down: Weights,
  across: Weights,
  row: Float64Array,
): void {
  for (let i = 0; i < toHeight; i++) {
    row.fill(0);
    for (let t = 0; t < down.span; t++) {
      const y = down.first[i] + t;
      const w = down.weights[i * down.span + t];
      if (w === 0 || y >= height) continue;
      for (let x = 0; x < width; x++) row[x] += w * source[from + y * width + x];
    }
    for (let j = 0; j < toWidth; j++) {
      let sum = 0;
      for (let t = 0; t < across.span; t++) {
        const w = across.weights[j * across.span + t];
        if (w !== 0) sum += w * row[across.first[j] + t];
      }
      out[offset + i * toWidth + j] = sum;
    }
  }
}

export const imageOptionNames = ['imageSize', 'grey', 'normalise', 'channels'] as const;

/** Checks {@link ImageOptions} (without the sizes of the images). */
export function checkImageOptions(operation: string, options: ImageOptions): void {
  checkOptions(operation, options, imageOptionNames);
  if (options.imageSize !== undefined) checkInteger(operation, 'imageSize', options.imageSize, 1, 4096);
  if (options.grey !== undefined) checkBoolean(operation, 'grey', options.grey);
  if (options.normalise !== undefined) {
    checkOneOf(operation, 'normalise', options.normalise, ['unit', 'standardised'] as const);
  }
}

/**
 * Makes inputs of several sets of images; figures for 'standardised' come from the first set (the training set).
 *
 * @throws RangeError when `imageSize` is larger than the images (area averages only shrink)
 */
export function imageDataset(sets: readonly PixelPlanes[], options: ImageOptions = {}): ImageInputs {
  const operation = 'images';
  checkImageOptions(operation, options);
  const { height, width, channels } = sets[0];
  for (const set of sets) {
    if (set.height !== height || set.width !== width || set.channels !== channels) {
      failRange(operation, 'images', `${channels} x ${height} x ${width} pixels in every set`, [
        set.channels,
        set.height,
        set.width,
      ]);
    }
  }
  const size = options.imageSize;
  if (size !== undefined && (size > height || size > width)) {
    failRange(operation, 'imageSize', `an integer from 1 to ${Math.min(height, width)} (images only shrink)`, size);
  }
  const shape = {
    height: size ?? height,
    width: size ?? width,
    channels: options.grey ? 1 : channels,
  };
  const features = shape.height * shape.width * shape.channels;
  checkFits(
    'the images as network inputs',
    sets.reduce((sum, set) => sum + set.samples * features * 8, 0),
  );
  const inputs = sets.map((set) => toInputs(set, shape));
  if (options.normalise !== 'standardised') return { sets: inputs, shape, channels: null };
  const figures = options.channels
    ? { mean: [...options.channels.mean], deviation: [...options.channels.deviation] }
    : channelFigures(inputs[0], shape);
  if (figures.mean.length !== shape.channels || figures.deviation.length !== shape.channels) {
    failRange(operation, 'channels', `mean and deviation of ${shape.channels} channels`, figures.mean);
  }
  for (const set of inputs) standardiseChannels(set, shape, figures);
  return { sets: inputs, shape, channels: figures };
}

/** [samples, C, H, W] in [0, 1]: grey first (it is linear, so the order with averaging does not matter), then smaller. */
function toInputs(set: PixelPlanes, shape: ImageInputs['shape']): Float64Array {
  const { samples, channels, height, width, pixels } = set;
  const plane = height * width;
  const outPlane = shape.height * shape.width;
  const out = new Float64Array(samples * outPlane * shape.channels);
  const resize = shape.height !== height || shape.width !== width;
  const down = areaWeights(height, shape.height);
  const across = areaWeights(width, shape.width);
  const row = new Float64Array(width);
  const mixed = new Float64Array(plane);
  const mixGrey = shape.channels < channels;
  for (let n = 0; n < samples; n++) {
    for (let c = 0; c < shape.channels; c++) {
      let source: ArrayLike<number> = pixels;
      let from = (n * channels + c) * plane;
      if (mixGrey) {
        const base = n * channels * plane;
        for (let i = 0; i < plane; i++) {
          mixed[i] = 0.299 * pixels[base + i] + 0.587 * pixels[base + plane + i] + 0.114 * pixels[base + 2 * plane + i];
        }
        source = mixed;
        from = 0;
      }
      const at = (n * shape.channels + c) * outPlane;
      if (resize) {
        averagePlane(source, from, height, width, out, at, shape.height, shape.width, down, across, row);
      } else {
        for (let i = 0; i < plane; i++) out[at + i] = source[from + i];
      }
    }
  }
  for (let i = 0; i < out.length; i++) out[i] /= 255;
  return out;
}

/** Mean and population standard deviation of every channel; a constant channel has deviation 1. */
export function channelFigures(
  inputs: Float64Array,
  shape: ImageInputs['shape'],
): { mean: number[]; deviation: number[] } {
  const plane = shape.height * shape.width;
  const samples = inputs.length / (plane * shape.channels);
  const mean: number[] = [];
  const deviation: number[] = [];
  for (let c = 0; c < shape.channels; c++) {
    let sum = 0;
    for (let n = 0; n < samples; n++) {
      const at = (n * shape.channels + c) * plane;
      for (let i = 0; i < plane; i++) sum += inputs[at + i];
    }
    const m = sum / (samples * plane);
    let squares = 0;
    for (let n = 0; n < samples; n++) {
      const at = (n * shape.channels + c) * plane;
      for (let i = 0; i < plane; i++) squares += (inputs[at + i] - m) ** 2;
    }
    const d = Math.sqrt(squares / (samples * plane));
    mean.push(m);
    deviation.push(d > 1e-12 ? d : 1);
  }
  return { mean, deviation };
}

/** (x - mean_c) / deviation_c, in place. */
export function standardiseChannels(
  inputs: Float64Array,
  shape: ImageInputs['shape'],
  { mean, deviation }: { mean: readonly number[]; deviation: readonly number[] },
): void {
  const plane = shape.height * shape.width;
  for (let at = 0, c = 0; at < inputs.length; at += plane, c = (c + 1) % shape.channels) {
    for (let i = at; i < at + plane; i++) inputs[i] = (inputs[i] - mean[c]) / deviation[c];
  }
}
