/**
 * Initial parameters from a seed. For a weight of `units` rows by `inputs` columns and a gain g:
 *
 *   orthogonal  g Q, Q the orthonormal factor of a normal matrix with the signs of R's diagonal moved into it, which makes Q
 *               uniform (Mezzadri 2007, section 5; Saxe, McClelland & Ganguli 2014). Rectangular weights are semi-orthogonal:
 *               orthonormal rows for units <= inputs, orthonormal columns otherwise.
 *   xavier      uniform on +- g sqrt(6 / (inputs + units))   (Glorot & Bengio 2010, eq. 16)
 *   he          normal, standard deviation g sqrt(2 / inputs)   (He et al. 2015, eq. 10)
 *   normal      normal, standard deviation g / sqrt(inputs)     (LeCun et al. 1998, section 4.6)
 *
 * Biases are zero unless `biasScale` is given: then normal with that standard deviation.
 */
import {
  checkInteger,
  checkKeys,
  checkNonNegative,
  checkObject,
  checkOneOf,
  checkPositive,
  checkVector,
} from '../checks.js';
import { DeepHessianError } from '../errors.js';
import { kernels } from '../native/index.js';
import { Random } from '../random.js';
import type { AffineLayer, CustomLayer, Layer } from './layers.js';

/** All schemes, by name. */
export const initialisationNames = ['orthogonal', 'xavier', 'he', 'normal'] as const;
/** Scheme of {@link InitialiseOptions}. */
export type InitialisationName = (typeof initialisationNames)[number];

/** Options of `Network.initialize`. */
export interface InitialiseOptions {
  /** An integer from 0 to 2^32 - 1: the same seed gives the same parameters. */
  seed: number;
  /** Default 'orthogonal', which keeps the scale of a signal through many layers. */
  scheme?: InitialisationName;
  /** Factor on every weight, > 0, default 1. About 1.1 suits deep tanh networks. */
  gain?: number;
  /** Standard deviation of the biases, >= 0, default 0. */
  biasScale?: number;
}

/** Networks may be larger than what an array or the memory holds, to be estimated; their parameters may not. */
function allocate(operation: string, parameterCount: number): Float64Array {
  try {
    return new Float64Array(parameterCount);
  } catch (cause) {
    const gigabytes = (8e-9 * parameterCount).toFixed(2);
    const message = `${operation}: ${parameterCount} parameters take ${gigabytes} GB, which cannot be allocated`;
    throw new DeepHessianError('out-of-memory', message, { bytes: 8 * parameterCount }, { cause });
  }
}

/** Fills a new parameter vector of `parameterCount` entries. */
export function initialiseParameters(
  operation: string,
  layers: readonly Layer[],
  parameterCount: number,
  options: unknown,
): Float64Array {
  checkObject(operation, 'options', options);
  checkKeys(operation, 'options', options, ['seed', 'scheme', 'gain', 'biasScale']);
  const { seed, scheme = 'orthogonal', gain = 1, biasScale = 0 } = options;
  checkInteger(operation, 'seed', seed, 0, 0xffffffff);
  checkOneOf(operation, 'scheme', scheme, initialisationNames);
  checkPositive(operation, 'gain', gain);
  checkNonNegative(operation, 'biasScale', biasScale);
  const random = new Random(seed);
  const params = allocate(operation, parameterCount);
  for (const layer of layers) {
    if (layer.kind === 'custom') {
      customParameters(operation, layer, random, params);
      continue;
    }
    affineWeights(layer, scheme, gain, random, params);
    if (layer.bias && biasScale > 0) {
      for (let i = 0; i < layer.units; i++) params[layer.biasOffset + i] = biasScale * random.normal();
    }
  }
  return params;
}

function affineWeights(
  layer: AffineLayer,
  scheme: InitialisationName,
  gain: number,
  random: Random,
  params: Float64Array,
): void {
  const { inputs, units, weightOffset } = layer;
  const count = inputs * units;
  if (scheme === 'orthogonal') {
    orthogonalWeights(inputs, units, gain, random, params, weightOffset);
  } else if (scheme === 'xavier') {
    const bound = gain * Math.sqrt(6 / (inputs + units));
    for (let i = 0; i < count; i++) params[weightOffset + i] = bound * (2 * random.uniform() - 1);
  } else {
    const deviation = gain * Math.sqrt((scheme === 'he' ? 2 : 1) / inputs);
    for (let i = 0; i < count; i++) params[weightOffset + i] = deviation * random.normal();
  }
}

/** Writes gain * (semi-)orthogonal as column-major inputs x units, which is the weight row-major [units, inputs]. */
function orthogonalWeights(
  inputs: number,
  units: number,
  gain: number,
  random: Random,
  params: Float64Array,
  offset: number,
): void {
  const tall = Math.max(inputs, units);
  const thin = Math.min(inputs, units);
  const q = random.normals(new Float64Array(tall * thin));
  const r = new Float64Array(thin * thin);
  kernels.qr(tall, thin, q, 0, tall, r, 0, thin);
  for (let j = 0; j < thin; j++) {
    const factor = r[j + j * thin] < 0 ? -gain : gain;
    for (let i = 0; i < tall; i++) q[i + j * tall] *= factor;
  }
  if (inputs >= units) params.set(q, offset);
  else kernels.transpose(tall, thin, q, 0, tall, params, offset, thin);
}

function customParameters(operation: string, resolved: CustomLayer, random: Random, params: Float64Array): void {
  const { layer, parameterCount, parameterOffset, index } = resolved;
  if (layer.initialize !== undefined) {
    const values = layer.initialize(random);
    checkVector(operation, `layers[${index}].layer.initialize() (${layer.name})`, values, parameterCount);
    params.set(values, parameterOffset);
    return;
  }
  const deviation = 1 / Math.sqrt(layer.inputs);
  for (let i = 0; i < parameterCount; i++) params[parameterOffset + i] = deviation * random.normal();
}
