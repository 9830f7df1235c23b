/**
 * Layer specifications as a user writes them, and resolved layers with their place in the parameter vector.
 *
 * Affine layer: s = W z + b, z_out = act(s); a residual layer adds its input, z_out = z + act(W z + b), which changes
 * the Jacobian dz_out/dz by the identity and nothing else. Its parameters lie together in the flat vector: the weight
 * row-major [units, inputs], then the bias [units]. The weight is the same memory as a column-major inputs x units matrix.
 */
import { checkBoolean, checkInteger, checkKeys, checkObject, checkOneOf, failRange, failType } from '../checks.js';
import { activationCodes, type ActivationName } from '../native/kernels.js';
import { activationNames, isPiecewiseLinear } from './activations.js';
import { checkSmoothLayer, type SmoothLayer } from './smooth-layer.js';

/** An affine layer; 'residual' adds the layer's input to its output and needs units equal to inputs. */
export interface DenseSpec {
  /** 'dense': act(W z + b). 'residual': z + act(W z + b). */
  type: 'dense' | 'residual';
  /** Features out, >= 1. */
  units: number;
  /** Applied to every unit. */
  activation: ActivationName;
  /** Default true. */
  bias?: boolean;
}

/** A user's own layer. */
export interface CustomSpec {
  type: 'custom';
  /** The layer's values and derivatives. */
  layer: SmoothLayer;
}

/** What a network's `layers` option takes. */
export type LayerSpec = DenseSpec | CustomSpec;

/** A resolved affine layer. Offsets count elements of the parameter vector. */
export interface AffineLayer {
  readonly kind: 'affine';
  /** Place in the network, from 0. */
  readonly index: number;
  /** Whether the input is added to the output. */
  readonly residual: boolean;
  /** Features in. */
  readonly inputs: number;
  /** Features out. */
  readonly units: number;
  /** Applied to every unit. */
  readonly activation: ActivationName;
  /** Native code of the activation. */
  readonly code: number;
  /** Identity activation: slope 1, curvature 0. */
  readonly linear: boolean;
  /** act'' is zero everywhere: identity and ReLU. */
  readonly piecewiseLinear: boolean;
  /** Whether there is a bias. */
  readonly bias: boolean;
  /** First parameter of the layer. */
  readonly parameterOffset: number;
  /** First weight; the weights are row-major [units, inputs]. */
  readonly weightOffset: number;
  /** -1 without a bias. */
  readonly biasOffset: number;
  /** units * inputs, and units more with a bias. */
  readonly parameterCount: number;
}

/** A resolved custom layer. */
export interface CustomLayer {
  readonly kind: 'custom';
  /** Place in the network, from 0. */
  readonly index: number;
  /** The user's layer. */
  readonly layer: SmoothLayer;
  /** Features in. */
  readonly inputs: number;
  /** Features out. */
  readonly units: number;
  /** First parameter of the layer. */
  readonly parameterOffset: number;
  /** The layer's own number of parameters. */
  readonly parameterCount: number;
}

/** A layer of a network with its place in the parameter vector. */
export type Layer = AffineLayer | CustomLayer;

/** Checks the specifications and lays the parameters out, layer by layer. */
export function resolveLayers(operation: string, inputs: number, specs: unknown): readonly Layer[] {
  if (!Array.isArray(specs)) failType(operation, 'layers', 'an array of layer specifications', specs);
  if (specs.length === 0) failRange(operation, 'layers', 'at least one layer', specs);
  const layers: Layer[] = [];
  let width = inputs;
  let offset = 0;
  for (let index = 0; index < specs.length; index++) {
    const layer = resolveLayer(operation, `layers[${index}]`, specs[index], index, width, offset);
    layers.push(layer);
    width = layer.units;
    offset += layer.parameterCount;
  }
  return Object.freeze(layers);
}

function resolveLayer(
  operation: string,
  argument: string,
  spec: unknown,
  index: number,
  inputs: number,
  offset: number,
): Layer {
  checkObject(operation, argument, spec);
  const { type } = spec;
  checkOneOf(operation, `${argument}.type`, type, ['dense', 'residual', 'custom']);
  if (type === 'custom') {
    checkKeys(operation, argument, spec, ['type', 'layer']);
    const { layer } = spec;
    checkSmoothLayer(operation, `${argument}.layer`, layer);
    if (layer.inputs !== inputs)
      failRange(operation, `${argument}.layer.inputs`, `${inputs} (the width before it)`, layer.inputs);
    return Object.freeze({
      kind: 'custom',
      index,
      layer,
      inputs,
      units: layer.units,
      parameterOffset: offset,
      parameterCount: layer.parameterCount,
    });
  }
  checkKeys(operation, argument, spec, ['type', 'units', 'activation', 'bias']);
  const { units, activation, bias = true } = spec;
  checkInteger(operation, `${argument}.units`, units, 1);
  checkOneOf(operation, `${argument}.activation`, activation, activationNames);
  checkBoolean(operation, `${argument}.bias`, bias);
  const residual = type === 'residual';
  if (residual && units !== inputs) {
    failRange(operation, `${argument}.units`, `${inputs} (a residual layer keeps the width before it)`, units);
  }
  const weights = units * inputs;
  return Object.freeze({
    kind: 'affine',
    index,
    residual,
    inputs,
    units,
    activation,
    code: activationCodes[activation],
    linear: activation === 'identity',
    piecewiseLinear: isPiecewiseLinear(activation),
    bias,
    parameterOffset: offset,
    weightOffset: offset,
    biasOffset: bias ? offset + weights : -1,
    parameterCount: weights + (bias ? units : 0),
  });
}
