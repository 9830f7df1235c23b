/**
 * Newton in an exact trust region from a saddle. All parameters are equal at the start, so the units of a hidden layer have equal
 * gradients for ever: gradient descent ends in a saddle, at the best network with one distinct unit a layer. Newton follows negative
 * curvature out of it, and its last iterates converge quadratically (L2 makes the Hessian at the minimum regular).
 */
import { createOptimizer } from '../../ts/optimize/registry.js';
import { Network } from '../../ts/derivatives/index.js';
import { friedman } from '../../ts/data/generated.js';
import { standardise } from '../../ts/data/standardise.js';
import { inertia } from '../../ts/curvature/index.js';
import { heading, verdict } from '../harness.js';
import type { BenchOptions } from './runs.js';

/** A multiple of the kernels' tiles: then rounding is the same in all units too, and the symmetry holds to the last bit. */
const hidden = 8;

function problem(seed: number): { network: Network; batch: ReturnType<Network['batch']> } {
  const { train } = standardise(friedman(1, { points: 200, features: 5, noise: 0, seed }), null, true);
  const network = new Network({
    inputs: 5,
    loss: 'mse',
    layers: [
      { type: 'dense', units: hidden, activation: 'tanh' },
      { type: 'dense', units: 1, activation: 'identity' },
    ],
    l2: 1e-4,
  });
  return { network, batch: network.batch({ inputs: train.inputs, targets: train.values as Float64Array }) };
}

/** Largest deviation between the units of the hidden layer: 0 while the symmetry holds. */
function asymmetry(params: Float64Array): number {
  let largest = 0;
  for (let i = 0; i < 5; i++) {
    for (let u = 1; u < hidden; u++) largest = Math.max(largest, Math.abs(params[u * 5 + i] - params[i]));
  }
  return largest;
}

interface Descent {
  losses: number[];
  gradients: number[];
  params: Float64Array;
  report: Record<string, unknown>[];
}

function descend(
  seed: number,
  optimizer: string,
  settings: Record<string, unknown>,
  steps: number,
  from?: Float64Array,
): Descent {
  const { network, batch } = problem(seed);
  const params = from?.slice() ?? new Float64Array(network.parameterCount).fill(0.3);
  const method = createOptimizer(optimizer, network, settings);
  const gradient = new Float64Array(params.length);
  const result: Descent = { losses: [], gradients: [], params, report: [] };
  const note = (): void => {
    result.losses.push(network.lossAndGradient(params, batch, gradient));
    result.gradients.push(Math.hypot(...gradient));
  };
  note();
  for (let k = 0; k < steps; k++) {
    const report = method.step(params, batch);
    note();
    result.report.push(report);
    if (!report.accepted || result.gradients[k + 1] < 1e-12) break;
  }
  method.dispose?.();
  return result;
}

/** Steps from the first gradient below 1e-4, after which none is above, to the first below 1e-12: digits that double need four. */
export function finalSteps(norms: readonly number[]): number {
  let from = norms.length;
  while (from > 0 && norms[from - 1] < 1e-4) from--;
  const to = norms.findIndex((norm, k) => k >= from && norm < 1e-12);
  return to < 0 ? Infinity : to - from;
}

export async function saddleSection(options: BenchOptions): Promise<void> {
  heading('5. From a saddle: all-equal initialisation, 5-8-1 tanh, Friedman 1, L2 1e-4');
  const steps = Math.max(200, Math.round(20000 * options.scale));
  for (let seed = 1; seed <= options.seeds; seed++) {
    const plain = descend(seed, 'sgd', { lr: 0.05, momentum: 0.9 }, steps);
    const { network, batch } = problem(seed);
    const index = inertia(network.linearize(plain.params, batch)).negative;
    const stuck = plain.losses.at(-1)!;
    const newton = descend(seed, 'newton', {}, 200);
    const left = newton.losses.findIndex((loss) => loss < 0.9 * stuck);
    const end = newton.losses.at(-1)!;
    const steps12 = finalSteps(newton.gradients);
    // The same from the saddle itself, where the gradient says nothing.
    const again = descend(seed, 'newton', {}, 200, plain.params);
    const leftAgain = again.losses.findIndex((loss) => loss < 0.9 * stuck);
    console.log(`  seed ${seed}`);
    console.log(
      `    gradient descent: loss ${stuck.toFixed(6)} after ${steps} steps, gradient ${plain.gradients.at(-1)!.toExponential(1)}, units differ by ${asymmetry(plain.params).toExponential(1)}, ${index} directions of negative curvature`,
    );
    console.log(
      `    newton from the start: below 90 % of that after ${left} steps, loss ${end.toFixed(6)} after ${newton.losses.length - 1}; from the saddle after ${leftAgain} steps, loss ${again.losses.at(-1)!.toFixed(6)}`,
    );
    const tail = newton.gradients.slice(-7).map((g) => g.toExponential(1));
    console.log(`    last gradients ${tail.join(' ')}`);
    verdict(
      `seed ${seed}: Newton leaves the saddle in a few steps (${leftAgain} from it, ${left} from the start), gradient descent does not`,
      left > 0 && left <= 20 && leftAgain > 0 && leftAgain <= 10 && index > 0 && asymmetry(plain.params) === 0,
    );
    verdict(
      `seed ${seed}: quadratic convergence at the end (gradient from 1e-4 to 1e-12 in ${steps12} steps)`,
      steps12 <= 4,
    );
  }
}
