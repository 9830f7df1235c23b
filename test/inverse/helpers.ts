import { Network } from '../../ts/derivatives/index.js';
import type { Linearization } from '../../ts/derivatives/index.js';
import type { LayerSpec } from '../../ts/network/index.js';
import { Random } from '../../ts/random.js';

/** What a random test network looks like; every combination is run through every route. */
export interface Shape {
  loss: 'mse' | 'cross-entropy' | 'binary-cross-entropy';
  residual: boolean;
  bias: boolean;
  samples: number;
  l2: number | number[];
}

export const shapes: Shape[] = [];
for (const loss of ['mse', 'cross-entropy', 'binary-cross-entropy'] as const) {
  for (const residual of [false, true]) {
    for (const bias of [true, false]) {
      // fan-in is 4 or 5: fewer samples (with QR bases), about as many, and more samples than inputs
      for (const samples of [1, 3, 12]) {
        for (const l2 of [0, [0.01, 0.02, 0.03, 0.04]]) shapes.push({ loss, residual, bias, samples, l2 });
      }
    }
  }
}

export function describeShape({ loss, residual, bias, samples, l2 }: Shape): string {
  return `${loss}, ${residual ? 'residual' : 'plain'}, ${bias ? 'bias' : 'no bias'}, N = ${samples}, l2 = ${JSON.stringify(l2)}`;
}

/** A four-layer network with three activations at random parameters and data. */
export function randomPoint(shape: Shape, seed = 1): Linearization {
  const { loss, residual, bias, samples, l2 } = shape;
  const type = residual ? ('residual' as const) : ('dense' as const);
  const layers: LayerSpec[] = [
    { type: 'dense', units: 4, activation: 'tanh', bias },
    { type, units: 4, activation: 'sigmoid', bias },
    { type, units: 4, activation: 'softplus', bias },
    { type: 'dense', units: 3, activation: 'identity', bias },
  ];
  const network = new Network({ inputs: 5, loss, l2, layers });
  const random = new Random(seed);
  const params = random.normals(new Float64Array(network.parameterCount));
  const inputs = random.normals(new Float64Array(samples * 5));
  const targets =
    loss === 'cross-entropy'
      ? Int32Array.from({ length: samples }, () => random.integer(3))
      : Float64Array.from({ length: samples * 3 }, () => (loss === 'mse' ? random.normal() : random.integer(2)));
  return network.linearize(params, { inputs, targets });
}
