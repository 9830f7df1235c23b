/**
 * BFGS and L-BFGS against gradient descent and Newton on a network, with condition numbers.
 *
 *     node --import tsx examples/seed-002/quasi-newton.ts [--seed 1] [--steps 30000] [--out examples/seed-002] [--skip-cost]
 *
 * The problem: a 10-8-1 tanh network, 97 parameters, on 200 points of Friedman's first function with noise of deviation 1, mean
 * squared error, L2 of 1e-3, full batch. All methods start from the same parameters. It prints the tables of README.md and draws
 * gradients.svg (norm of the gradient by step) and condition.svg (condition number of the Hessian along the way).
 *
 * A second part measures what a step costs as the network deepens from 2 to 128 layers of 8: gradient, BFGS, L-BFGS, a dense
 * Newton step and the library's, which is linear in the depth.
 */
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import {
  conditionNumber,
  createOptimizer,
  factor,
  inertia,
  kernels,
  loadDataset,
  Network,
  type LayerSpec,
  type Optimizer,
} from '../../ts/index.js';
import { writeLines } from '../chart.js';
import { commandLine, integer } from '../command-line.js';

const l2 = 1e-3;

/** The network, its batch and the first parameters. */
export async function problem(seed: number): Promise<{
  network: Network;
  batch: ReturnType<Network['batch']>;
  start: Float64Array;
}> {
  const { train } = await loadDataset({ data: 'friedman1', points: 200, noise: 1, seed, standardise: 'all' });
  const network = new Network({
    inputs: 10,
    loss: 'mse',
    layers: [
      { type: 'dense', units: 8, activation: 'tanh' },
      { type: 'dense', units: 1, activation: 'identity' },
    ],
    l2,
  });
  const batch = network.batch({ inputs: train.inputs, targets: train.values as Float64Array });
  return { network, batch, start: network.initialize({ seed }) };
}

/** The Hessian at a point of the way. */
export interface Curvature {
  step: number;
  /** largest over smallest modulus of the eigenvalues */
  condition: number;
  /** negative eigenvalues */
  index: number;
}

export interface Run {
  method: string;
  rate: number | null;
  losses: number[];
  /** norm of the gradient before every step and at the end */
  gradients: number[];
  /** evaluations of loss and gradient up to the same steps */
  evaluations: number[];
  milliseconds: number;
  params: Float64Array;
  curvature: Curvature[];
  optimizer: Optimizer;
}

/** Steps at which the curvature is measured: 0, 1, 2, 4, 8, ... and the last. */
const measured = (step: number): boolean => (step & (step - 1)) === 0;

/** Runs one method until its gradient is below `tolerance`, a step is refused, or `steps` are done. */
export async function descend(
  seed: number,
  method: string,
  settings: Record<string, unknown>,
  steps: number,
  { tolerance = 1e-11, curvature = true }: { tolerance?: number; curvature?: boolean } = {},
): Promise<Run> {
  const { network, batch, start: params } = await problem(seed);
  const optimizer = createOptimizer(method, network, settings);
  const gradient = new Float64Array(params.length);
  const rate = typeof settings.lr === 'number' ? settings.lr : null;
  const run: Run = {
    method,
    rate,
    losses: [],
    gradients: [],
    evaluations: [],
    milliseconds: 0,
    params,
    curvature: [],
    optimizer,
  };
  let evaluations = 0;
  for (let step = 0; ; step++) {
    run.losses.push(network.lossAndGradient(params, batch, gradient));
    run.gradients.push(kernels.nrm2(params.length, gradient, 0));
    run.evaluations.push(evaluations);
    const norm = run.gradients[step];
    let last = step === steps || norm < tolerance || !Number.isFinite(norm);
    const look = (): void => {
      if (!curvature || !Number.isFinite(norm) || run.curvature.at(-1)?.step === step) return;
      const point = network.linearize(params, batch);
      run.curvature.push({ step, condition: conditionNumber(point, 0).condition, index: inertia(point).negative });
    };
    if (measured(step)) look();
    if (!last) {
      const begin = performance.now();
      const report = optimizer.step(params, batch);
      run.milliseconds += performance.now() - begin;
      evaluations += typeof report.evaluations === 'number' ? report.evaluations : 1;
      // A refused step leaves the parameters as they were, and will be refused again.
      last = !report.accepted;
    }
    if (last) look();
    if (last) return run;
  }
}

/** Gradient descent at the rate that reaches the smallest gradient. */
export async function tunedDescent(seed: number, steps: number, momentum: number): Promise<Run> {
  let best: { rate: number; gradient: number } | null = null;
  for (const rate of [0.5, 0.2, 0.13, 0.1, 0.05]) {
    const run = await descend(seed, 'sgd', { lr: rate, momentum }, steps, { curvature: false });
    const gradient = run.gradients.at(-1) as number;
    if (Number.isFinite(gradient) && (best === null || gradient < best.gradient)) best = { rate, gradient };
  }
  return descend(seed, 'sgd', { lr: best?.rate ?? 0.05, momentum }, steps);
}

/** First step whose gradient is at or below a norm, or -1. */
export function stepsTo(run: Run, norm: number): number {
  return run.gradients.findIndex((value) => value <= norm);
}

/** Smallest and largest eigenvalue of H at the end, by a dense decomposition. */
export function extremes(run: Run, network: Network, batch: ReturnType<Network['batch']>): [number, number] {
  const n = run.params.length;
  const hessian = network.linearize(run.params, batch).denseHessian();
  const values = new Float64Array(n);
  kernels.syevd(0, 0, n, hessian, 0, n, values, 0);
  return [values[0], values[n - 1]];
}

/** |B H - I|_F / sqrt(P) of the inverse B that BFGS has built, and the condition number of B. */
export function inverseQuality(
  run: Run,
  network: Network,
  batch: ReturnType<Network['batch']>,
): { error: number; condition: number } {
  const n = run.params.length;
  const hessian = network.linearize(run.params, batch).denseHessian();
  const inverse = run.optimizer.state().vectors.inverse.slice();
  // The lower triangle is the one that BFGS keeps; element (row i, column j) lies at j n + i.
  for (let j = 0; j < n; j++) for (let i = 0; i < j; i++) inverse[j * n + i] = inverse[i * n + j];
  const product = new Float64Array(n * n);
  kernels.gemm(0, 0, n, n, n, 1, inverse, 0, n, hessian, 0, n, 0, product, 0, n);
  let sum = 0;
  for (let j = 0; j < n; j++) for (let i = 0; i < n; i++) sum += (product[j * n + i] - (i === j ? 1 : 0)) ** 2;
  const values = new Float64Array(n);
  kernels.syevd(0, 0, n, inverse, 0, n, values, 0);
  return { error: Math.sqrt(sum / n), condition: values[n - 1] / values[0] };
}

/** Milliseconds of one step in networks of growing depth; null where a method is left out for its size. */
export interface StepCost {
  layers: number;
  parameters: number;
  gradient: number;
  lbfgs: number;
  bfgs: number | null;
  dense: number | null;
  exact: number;
}

/** Median milliseconds of a few calls. */
function time(repeats: number, work: () => void): number {
  const samples = Array.from({ length: repeats }, () => {
    const begin = performance.now();
    work();
    return performance.now() - begin;
  });
  return samples.sort((a, b) => a - b)[repeats >> 1];
}

export function stepCosts(depths: readonly number[] = [2, 8, 32, 128]): StepCost[] {
  return depths.map((depth) => {
    const layers: LayerSpec[] = [];
    for (let l = 0; l < depth - 1; l++) layers.push({ type: 'dense', units: 8, activation: 'tanh' });
    layers.push({ type: 'dense', units: 1, activation: 'identity' });
    const network = new Network({ inputs: 8, loss: 'mse', layers });
    const n = network.parameterCount;
    const samples = 16;
    const batch = network.batch({
      inputs: Float64Array.from({ length: samples * 8 }, (_, i) => Math.sin(3 * i)),
      targets: Float64Array.from({ length: samples }, (_, i) => Math.cos(i)),
    });
    const params = network.initialize({ seed: 1, scheme: 'orthogonal', gain: 1.1 });
    const gradient = new Float64Array(n);
    const optimizerStep = (name: string): number => {
      const optimizer = createOptimizer(name, network);
      const moving = params.slice();
      for (let k = 0; k < 12; k++) optimizer.step(moving, batch);
      return time(15, () => void optimizer.step(moving, batch));
    };
    const point = network.linearize(params, batch);
    const damping = 0.1;
    const dense = (): void => {
      const matrix = point.denseHessian();
      for (let i = 0; i < n; i++) matrix[i * (n + 1)] += damping;
      const pivots = new Int32Array(n);
      kernels.sytrf(0, n, matrix, 0, n, pivots, 0);
    };
    const exact = (): void => {
      const inverse = factor(network.linearize(params, batch), { damping, method: 'affine' });
      inverse.solve(point.gradient);
      inverse.dispose();
    };
    return {
      layers: depth,
      parameters: n,
      gradient: time(31, () => void network.lossAndGradient(params, batch, gradient)),
      lbfgs: optimizerStep('lbfgs'),
      bfgs: n <= 2500 ? optimizerStep('bfgs') : null,
      dense: n <= 2500 ? time(3, dense) : null,
      exact: time(7, exact),
    };
  });
}

async function main(): Promise<void> {
  const { values: flags } = commandLine({
    options: {
      seed: { type: 'string', default: '1' },
      steps: { type: 'string', default: '30000' },
      out: { type: 'string', default: fileURLToPath(new URL('.', import.meta.url)) },
      'skip-cost': { type: 'boolean', default: false },
    },
  });
  const seed = integer('--seed', flags.seed, 0, 0xffffffff);
  const steps = integer('--steps', flags.steps, 1);
  const { network, batch } = await problem(seed);
  const runs: [string, Run][] = [
    ['gradient descent', await tunedDescent(seed, steps, 0)],
    ['with momentum 0.9', await tunedDescent(seed, steps, 0.9)],
    ['L-BFGS, 10 pairs', await descend(seed, 'lbfgs', {}, steps)],
    ['BFGS', await descend(seed, 'bfgs', {}, steps)],
    ['Newton, trust region', await descend(seed, 'newton', {}, Math.min(steps, 500))],
  ];
  console.log(`${network.parameterCount} parameters, seed ${seed}\n`);
  console.log(
    '| method | steps to 1e-4 | to 1e-6 | to 1e-10 | gradients computed | ms a step | loss | last gradient | index | condition number |',
  );
  console.log('|---|---|---|---|---|---|---|---|---|---|');
  for (const [name, run] of runs) {
    const end = run.curvature.at(-1) as Curvature;
    const to = [1e-4, 1e-6, 1e-10].map((norm) => {
      const found = stepsTo(run, norm);
      return found < 0 ? '-' : String(found);
    });
    const done = run.gradients.length - 1;
    console.log(
      `| ${name}${run.rate === null ? '' : `, rate ${run.rate}`} | ${to.join(' | ')} | ${run.evaluations.at(-1)} | ${(run.milliseconds / done).toPrecision(2)} | ` +
        `${(run.losses.at(-1) as number).toFixed(6)} | ${(run.gradients.at(-1) as number).toExponential(1)} | ${end.index} | ${end.condition.toExponential(1)} |`,
    );
  }
  console.log(
    '\n| method | condition number at step 0 | 1 | 4 | 16 | 64 | end | largest index |\n|---|---|---|---|---|---|---|---|',
  );
  for (const [name, run] of runs) {
    const at = [0, 1, 4, 16, 64].map(
      (step) => run.curvature.find((c) => c.step === step)?.condition.toExponential(1) ?? '-',
    );
    console.log(
      `| ${name} | ${at.join(' | ')} | ${(run.curvature.at(-1) as Curvature).condition.toExponential(1)} | ${Math.max(...run.curvature.map((c) => c.index))} |`,
    );
  }
  const bfgs = runs[3][1];
  const [least, largest] = extremes(bfgs, network, batch);
  const { error, condition } = inverseQuality(bfgs, network, batch);
  console.log(`\nat BFGS' minimum: eigenvalues of H from ${least.toPrecision(3)} to ${largest.toPrecision(3)}`);
  console.log(
    `BFGS' inverse: |B H - I| / sqrt(P) = ${error.toPrecision(2)}, condition number ${condition.toExponential(1)}`,
  );
  const kappa = largest / least;
  console.log(
    `gradient descent at its best rate 2/(l1 + lP) needs ${((Math.LN10 * kappa) / 2).toFixed(0)} steps a digit at condition number ${kappa.toExponential(1)}`,
  );
  const plain = runs[0][1];
  const tail = Math.min(plain.gradients.length - 1, 2000);
  const digits = Math.log10((plain.gradients.at(-1 - tail) as number) / (plain.gradients.at(-1) as number));
  console.log(
    `gradient descent over its last ${tail} steps: ${digits > 0 ? (tail / digits).toFixed(0) : 'no'} steps a digit\n`,
  );

  const thin = (points: (readonly [number, number])[]): (readonly [number, number])[] =>
    points.filter(
      ([x], i) =>
        i < 100 ||
        i === points.length - 1 ||
        Math.floor(40 * Math.log10(x)) !== Math.floor(40 * Math.log10(points[i - 1][0])),
    );
  await writeLines(
    join(flags.out, 'gradients.svg'),
    runs.map(([name, run]) => ({ name, points: thin(run.gradients.map((g, k) => [k + 1, g] as const)) })),
    { title: 'norm of the gradient', x: 'step + 1', y: 'norm', xScale: 'log' },
  );
  await writeLines(
    join(flags.out, 'condition.svg'),
    runs.map(([name, run]) => ({ name, points: run.curvature.map((c) => [c.step + 1, c.condition] as const) })),
    { title: 'condition number of the Hessian', x: 'step + 1', y: 'largest / smallest modulus', xScale: 'log' },
  );
  for (const [, run] of runs) run.optimizer.dispose?.();
  if (flags['skip-cost']) return;
  console.log(
    '| layers of 8 | parameters | gradient | L-BFGS step | BFGS step | dense Hessian and factor | library: (H + eps I)⁻¹ g |\n|---|---|---|---|---|---|---|',
  );
  const ms = (value: number | null): string => (value === null ? '-' : `${value.toPrecision(2)} ms`);
  for (const cost of stepCosts()) {
    console.log(
      `| ${cost.layers} | ${cost.parameters} | ${ms(cost.gradient)} | ${ms(cost.lbfgs)} | ${ms(cost.bfgs)} | ${ms(cost.dense)} | ${ms(cost.exact)} |`,
    );
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await main();
