/**
 * A network's structure as plain JSON data and back. Parameters are not part of it.
 */
import { checkKeys, checkObject, failRange } from '../checks.js';
import { DeepHessianError } from '../errors.js';
import type { DenseSpec, Layer, LayerSpec } from './layers.js';
import type { NetworkModel, NetworkOptions } from './network.js';
import { registeredLayer } from './smooth-layer.js';

const format = 'deep-hessian-network';
const version = 1;

/** A custom layer in JSON: the name it is registered under, and its own data. */
export interface CustomJSON {
  type: 'custom';
  /** Name under which the layer was registered. */
  name: string;
  /** The layer's own plain data. */
  data: unknown;
}

/** A network as plain JSON, without parameters. */
export interface NetworkJSON {
  format: typeof format;
  version: typeof version;
  /** Features of a sample. */
  inputs: number;
  /** Name of the loss. */
  loss: string;
  /** One entry a layer. */
  layers: (DenseSpec | CustomJSON)[];
  /** L2 coefficient of each layer. */
  l2: number[];
}

/**
 * @throws DeepHessianError 'unsupported' for a custom layer that is not registered.
 */
export function networkToJSON(network: NetworkModel): NetworkJSON {
  return {
    format,
    version,
    inputs: network.inputs,
    loss: network.loss,
    layers: network.layers.map(layerToJSON),
    l2: Array.from(network.l2),
  };
}

function layerToJSON(layer: Layer): DenseSpec | CustomJSON {
  if (layer.kind === 'affine') {
    return {
      type: layer.residual ? 'residual' : 'dense',
      units: layer.units,
      activation: layer.activation,
      bias: layer.bias,
    };
  }
  const { name } = layer.layer;
  requireFactory('Network.toJSON', layer.index, name);
  return { type: 'custom', name, data: layer.layer.toJSON?.() ?? null };
}

/** The constructor options in `json`; their values are checked by the constructor. */
export function networkOptionsFromJSON(json: unknown): NetworkOptions {
  const operation = 'Network.fromJSON';
  checkObject(operation, 'json', json);
  if (json.format !== format) failRange(operation, 'json.format', `'${format}'`, json.format);
  if (json.version !== version) failRange(operation, 'json.version', String(version), json.version);
  checkKeys(operation, 'json', json, ['format', 'version', 'inputs', 'loss', 'layers', 'l2']);
  const layers = Array.isArray(json.layers) ? json.layers.map(layerFromJSON) : json.layers;
  return { inputs: json.inputs, loss: json.loss, layers, l2: json.l2 } as NetworkOptions;
}

function layerFromJSON(value: unknown, index: number): LayerSpec {
  const operation = 'Network.fromJSON';
  checkObject(operation, `layers[${index}]`, value);
  if (value.type !== 'custom') return value as unknown as DenseSpec;
  checkKeys(operation, `layers[${index}]`, value, ['type', 'name', 'data']);
  const name = String(value.name);
  return { type: 'custom', layer: requireFactory(operation, index, name)(value.data) };
}

function requireFactory(
  operation: string,
  index: number,
  name: string,
): NonNullable<ReturnType<typeof registeredLayer>> {
  const factory = registeredLayer(name);
  if (factory === undefined) {
    throw new DeepHessianError(
      'unsupported',
      `${operation}: layers[${index}] is the custom layer '${name}', which is not registered; call registerLayer('${name}', factory) first`,
      { layer: index, name },
    );
  }
  return factory;
}
