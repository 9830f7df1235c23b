/** A small classification problem shared by the tests of first-order optimizers. */
import { Network } from '../../ts/derivatives/network.js';
import type { Batch } from '../../ts/network/batch.js';
import type { Optimizer } from '../../ts/optimize/optimizer.js';
import { Random } from '../../ts/random.js';

export function smallProblem(): { network: Network; params: Float64Array; batch: Batch } {
  const network = new Network({
    inputs: 4,
    loss: 'cross-entropy',
    layers: [
      { type: 'dense', units: 6, activation: 'tanh' },
      { type: 'dense', units: 3, activation: 'identity' },
    ],
  });
  const inputs = new Random(5).normals(new Float64Array(4 * 10));
  const batch = network.batch({ inputs, targets: Int32Array.from({ length: 10 }, (_, n) => n % 3) });
  return { network, params: network.initialize({ seed: 3 }), batch };
}

/** Takes steps and returns the loss after them. */
export function runOptimizer(optimizer: Optimizer, params: Float64Array, batch: Batch, steps: number): number {
  for (let t = 0; t < steps; t++) optimizer.step(params, batch);
  return optimizer.step(params.slice(), batch).loss;
}
