/**
 * Gradient descent against Hessian descent on the smallest problem there is,
 *
 *     min mean((params - target)^2)        params, target: 5 x 5, drawn uniformly from [0, 1)
 *
 * at a rate of 0.1, by three routes: the gradient alone; the Hessian written out by hand, column by column, and solved by
 * elimination; the library. H = 2/25 I, so a gradient step multiplies the loss by (1 - 0.1 * 2/25)^2 = 0.992^2 and a Hessian step
 * by (1 - 0.1)^2 = 0.9^2. From 0.1446 that is 0.0893 and 0.0003 after 30 steps.
 *
 *     node --import tsx examples/seed-000/hessian-descent.ts [--out losses.svg]
 */
import { fileURLToPath, pathToFileURL } from 'node:url';
import { factor, Network, Random } from '../../ts/index.js';
import { writeLines } from '../chart.js';
import { commandLine } from '../command-line.js';

const side = 5;
const size = side * side;
export const rate = 0.1;

/** The first seed whose uniform matrices have the documented first loss, 0.1446 in print. */
export const defaultSeed = 290;

/** Two 5 x 5 matrices, row-major. */
export function problem(seed = defaultSeed): { start: Float64Array; target: Float64Array } {
  const random = new Random(seed);
  const uniform = (): Float64Array => Float64Array.from({ length: size }, () => random.uniform());
  return { start: uniform(), target: uniform() };
}

function loss(params: Float64Array, target: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < size; i++) sum += (params[i] - target[i]) ** 2;
  return sum / size;
}

function gradient(params: Float64Array, target: Float64Array): Float64Array {
  return params.map((p, i) => (2 / size) * (p - target[i]));
}

/** Losses before every step and after the last. */
export type Losses = number[];

/** params := params - rate * direction(params), `steps` times. */
function descend(
  seed: number,
  steps: number,
  direction: (params: Float64Array, target: Float64Array) => Float64Array,
): Losses {
  const { start: params, target } = problem(seed);
  const losses = [loss(params, target)];
  for (let k = 0; k < steps; k++) {
    const d = direction(params, target);
    for (let i = 0; i < size; i++) params[i] -= rate * d[i];
    losses.push(loss(params, target));
  }
  return losses;
}

/** First derivatives only. */
export function gradientDescent(steps: number, seed = defaultSeed): Losses {
  return descend(seed, steps, gradient);
}

/** H by hand: column j is the change of the gradient along the j-th coordinate, exact because the gradient is linear. */
export function manualHessian(params: Float64Array, target: Float64Array): Float64Array[] {
  const here = gradient(params, target);
  return Array.from({ length: size }, (_, j) => {
    const moved = params.slice();
    moved[j] += 1;
    return gradient(moved, target).map((g, i) => g - here[i]);
  });
}

/** x with H x = g by Gaussian elimination with row exchanges; H is given by its rows. */
function solve(rows: Float64Array[], g: Float64Array): Float64Array {
  const a = rows.map((row, i) => [...row, g[i]]);
  for (let k = 0; k < size; k++) {
    let pivot = k;
    for (let i = k + 1; i < size; i++) if (Math.abs(a[i][k]) > Math.abs(a[pivot][k])) pivot = i;
    [a[k], a[pivot]] = [a[pivot], a[k]];
    for (let i = k + 1; i < size; i++) {
      const f = a[i][k] / a[k][k];
      for (let j = k; j <= size; j++) a[i][j] -= f * a[k][j];
    }
  }
  const x = new Float64Array(size);
  for (let i = size - 1; i >= 0; i--) {
    let sum = a[i][size];
    for (let j = i + 1; j < size; j++) sum -= a[i][j] * x[j];
    x[i] = sum / a[i][i];
  }
  return x;
}

/** The Hessian by hand, inverted by hand. It is symmetric, so its columns serve as rows. */
export function manualHessianDescent(steps: number, seed = defaultSeed): Losses {
  return descend(seed, steps, (params, target) => solve(manualHessian(params, target), gradient(params, target)));
}

/**
 * The problem as a network: one linear layer without bias, whose weight is the matrix. Sample i is the i-th unit vector, so
 * that its outputs are column i of the weight and its targets column i of the target.
 */
export function asNetwork(target: Float64Array): { network: Network; batch: ReturnType<Network['batch']> } {
  const network = new Network({
    inputs: side,
    loss: 'mse',
    layers: [{ type: 'dense', units: side, activation: 'identity', bias: false }],
  });
  const inputs = new Float64Array(size);
  const targets = new Float64Array(size);
  for (let i = 0; i < side; i++) {
    inputs[i * side + i] = 1;
    for (let o = 0; o < side; o++) targets[i * side + o] = target[o * side + i];
  }
  return { network, batch: network.batch({ inputs, targets }) };
}

/** (H + eps I)^-1 g from the library; eps = 1e-9 is part of every such system and changes nothing in print here. */
export function libraryHessianDescent(steps: number, seed = defaultSeed): Losses {
  const { network, batch } = asNetwork(problem(seed).target);
  return descend(seed, steps, (params) => {
    const point = network.linearize(params, batch);
    const inverse = factor(point, { damping: 1e-9 });
    const { x } = inverse.solve(point.gradient);
    inverse.dispose();
    return x;
  });
}

/** The documented table: loss at first, after 30 steps (the last one that the original prints) and after all 40. */
export function table(steps = 40): { method: string; losses: Losses; improvement: number }[] {
  return [
    { method: 'gradient descent', losses: gradientDescent(steps) },
    { method: 'Hessian descent, by hand', losses: manualHessianDescent(steps) },
    { method: 'Hessian descent, library', losses: libraryHessianDescent(steps) },
  ].map((row) => ({ ...row, improvement: 1 - row.losses[30] / row.losses[0] }));
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const { values } = commandLine({ options: { out: { type: 'string' } } });
  const path = values.out ?? fileURLToPath(new URL('losses.svg', import.meta.url));
  const rows = table();
  console.log('method                        loss at 0   after 30   after 40   better at 30');
  for (const { method, losses, improvement } of rows) {
    const figures = [losses[0], losses[30], losses[40]].map((value) => value.toFixed(4).padStart(9)).join('  ');
    console.log(`${method.padEnd(28)}  ${figures}   ${(100 * improvement).toFixed(1)} %`);
  }
  const gap = Math.max(...rows[1].losses.map((value, k) => Math.abs(value - rows[2].losses[k])));
  console.log(`largest difference between the two Hessian routes: ${gap.toExponential(1)}`);
  await writeLines(
    path,
    rows.map(({ method, losses }, i) => ({
      name: method,
      points: losses.map((value, k) => [k, value] as const),
      dashed: i === 2,
    })),
    { title: 'mean((params - target)²), 5 x 5, rate 0.1', x: 'step', y: 'loss', yScale: 'log' },
  );
  console.log(`plot: ${path}`);
}
