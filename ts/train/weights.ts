/**
 * Parameters of a network as safetensors files, in PyTorch's layout: `<prefix><number>.weight` [out, in] and
 * `<prefix><number>.bias` [out]. Written as `layers.0`, `layers.1`, ..; read under any such names, so that the file of an
 * nn.Sequential with activations between its layers ('0', '2', ..) or of a wrapped module ('model.net.0', ..) is understood.
 */
import type { Network } from '../derivatives/network.js';
import { DeepHessianError } from '../errors.js';
import {
  parametersToTensors,
  readSafetensors,
  tensorsToParameters,
  writeSafetensors,
  type LinearShape,
  type Tensor,
  type TensorNames,
} from '../data/safetensors.js';

/** The layers of a network as far as their tensors go. */
function linearShapes(operation: string, network: Network): LinearShape[] {
  return network.layers.map((layer, l) => {
    if (layer.kind === 'affine') return { inputs: layer.inputs, units: layer.units, bias: layer.bias };
    throw new DeepHessianError('unsupported', `${operation}: layer ${l} is a custom layer, which has no tensors`, {
      l,
    });
  });
}

/** What the weights alone do not say of the function: kinds of layers and activations, as the file's metadata has them. */
function functionOf(network: Network): { layers: string; activations: string } {
  const kinds = network.layers.map((layer) => (layer.kind === 'affine' && layer.residual ? 'residual' : 'dense'));
  const activations = network.layers.map((layer) => (layer.kind === 'affine' ? layer.activation : ''));
  return { layers: kinds.join(','), activations: activations.join(',') };
}

/** How the tensors of a file are named; null where the numbers are not evenly spaced from 0 under one prefix. */
export function tensorNames(tensors: ReadonlyMap<string, Tensor>): Required<TensorNames> | null {
  const numbers: number[] = [];
  let prefix: string | null = null;
  for (const name of tensors.keys()) {
    const match = /^(.*?)(\d+)\.(weight|bias)$/.exec(name);
    if (match === null || (prefix !== null && match[1] !== prefix)) return null;
    prefix = match[1];
    if (match[3] === 'weight') numbers.push(Number(match[2]));
  }
  if (prefix === null || numbers.length === 0) return null;
  numbers.sort((a, b) => a - b);
  const step = numbers.length > 1 ? numbers[1] - numbers[0] : 1;
  return step > 0 && numbers.every((number, l) => number === l * step) ? { prefix, step } : null;
}

/**
 * Writes the parameters [P] of a network as safetensors, in PyTorch's layout; atomically, never half a file.
 *
 * @param options dtype 'F64' (default, exact) or 'F32' (rounded; PyTorch's own); names of the tensors
 * (default `layers.0.weight`, `layers.0.bias`, ..; `{ prefix: '', step: 2 }` is an nn.Sequential with activations between)
 * @returns the tensors by name
 * @throws DeepHessianError 'unsupported' for custom layers, 'io' when the file cannot be written; RangeError for parameters of
 * another length, and for numbers that float32 cannot hold
 * @example
 * ```ts
 * await writeWeights('net.safetensors', net, params, { dtype: 'F32', prefix: '', step: 2 });
 * const back = await readWeights('net.safetensors', net);
 * ```
 */
export async function writeWeights(
  path: string,
  network: Network,
  params: Float64Array,
  options: TensorNames & { dtype?: 'F64' | 'F32' } = {},
): Promise<Map<string, Tensor>> {
  const { dtype = 'F64', ...names } = options;
  const tensors = parametersToTensors(linearShapes('writeWeights', network), params, names);
  await writeSafetensors(path, tensors, {
    dtype,
    metadata: { format: 'pt', ...functionOf(network), loss: network.loss },
  });
  return tensors;
}

/**
 * Reads the parameters [P] of a network from safetensors, whatever the tensors' prefix and spacing; every tensor must be
 * there, in its shape, and none may be left over. A file of {@link writeWeights} says of which layers and activations its
 * network is, and is refused for others; files of PyTorch do not say.
 *
 * @throws DeepHessianError 'io' or 'bad-file' naming file and tensor, 'unsupported' for custom layers
 */
export async function readWeights(path: string, network: Network): Promise<Float64Array> {
  const shapes = linearShapes('readWeights', network);
  const { tensors, metadata } = await readSafetensors(path);
  for (const [name, expected] of Object.entries(functionOf(network))) {
    const found = metadata[name];
    // A file of as many layers of other sizes has more to say: its tensors do.
    if (found === undefined || found === expected || found.split(',').length !== shapes.length) continue;
    const message = `${path}: expected weights of a network with ${name} ${expected}, found those of one with ${found}`;
    throw new DeepHessianError('bad-file', message, { path, expected, found });
  }
  try {
    return tensorsToParameters(shapes, tensors, tensorNames(tensors) ?? {});
  } catch (error) {
    if (!(error instanceof DeepHessianError)) throw error;
    throw new DeepHessianError(error.code, `${path}: ${error.message}`, { ...error.details, path }, { cause: error });
  }
}
