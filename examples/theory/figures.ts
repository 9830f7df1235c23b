/**
 * The figures of docs/theory/critical-points.md: at the saddle where all parameters are zero, the loss along the most negative and the
 * most positive eigenvector beside its quadratic form, and the spectrum of the Hessian there and at a minimum.
 *
 *     node --import tsx examples/theory/figures.ts [folder]          default: docs/theory/figures
 */
import { fileURLToPath } from 'node:url';
import { join } from 'node:path';
import { eigenvalues, lossProfile } from '../../ts/curvature/index.js';
import { Network } from '../../ts/derivatives/index.js';
import { makeFolder } from '../../ts/data/atomic.js';
import { createNewton } from '../../ts/optimize/newton.js';
import { writeLines } from '../chart.js';
import { commandLine } from '../command-line.js';

const { positionals } = commandLine({ allowPositionals: true });
const folder = positionals[0] ?? fileURLToPath(new URL('../../docs/theory/figures', import.meta.url));
makeFolder(folder);

const network = new Network({
  inputs: 2,
  loss: 'mse',
  layers: [
    { type: 'dense', units: 3, activation: 'tanh' },
    { type: 'dense', units: 1, activation: 'identity' },
  ],
  l2: 0.003,
});
const inputs = Float64Array.of(0, 0, 0, 1, 1, 0, 1, 1, 0.5, 0.2, 0.2, 0.8);
const batch = network.batch({ inputs, targets: [0, 1, 1, 0, 0.6, 0.7] });
const P = network.parameterCount;

// All weights zero, the output at the mean of the targets up to its L2: a saddle.
const saddle = new Float64Array(P);
const mean = (0 + 1 + 1 + 0 + 0.6 + 0.7) / 6;
saddle[P - 1] = (2 * mean) / (2 + 0.003);
const point = network.linearize(saddle, batch);
const { values, vectors } = eigenvalues(point, { vectors: true });
const column = (k: number): Float64Array => vectors!.slice(k * P, (k + 1) * P);
const distances = Float64Array.from({ length: 61 }, (_, i) => (i - 30) / 60);
for (const [name, k] of [
  ['down', 0],
  ['up', P - 1],
] as const) {
  const profile = lossProfile(point, column(k), distances);
  const change = (of: Float64Array): (readonly [number, number])[] =>
    [...distances].map((t, i) => [t, of[i] - point.loss] as const);
  await writeLines(
    join(folder, `saddle-${name}.svg`),
    [
      { name: 'loss', points: change(profile.losses) },
      { name: 'quadratic', points: change(profile.predictions), dashed: true },
    ],
    {
      title: `Along the eigenvector of ${values[k].toPrecision(2)} at a saddle`,
      x: 'distance',
      y: 'change of the loss',
      yScale: 'linear',
    },
  );
}

const params = saddle.slice();
const newton = createNewton(network, {});
for (let k = 0; k < 200; k++) if (newton.step(params, batch).stepNorm === 0 && k > 20) break;
const minimum = eigenvalues(network.linearize(params, batch)).values;
await writeLines(
  join(folder, 'spectra.svg'),
  [
    { name: 'saddle', points: [...values].map((value, k) => [k + 1, value] as const) },
    { name: 'minimum', points: [...minimum].map((value, k) => [k + 1, value] as const) },
  ],
  { title: 'Eigenvalues of the Hessian', x: 'number', y: 'eigenvalue', yScale: 'linear' },
);
console.log(
  `saddle: ${[...values].filter((v) => v < 0).length} negative of ${P}, gradient ${Math.hypot(...point.gradient).toExponential(1)}`,
);
console.log(`minimum: smallest eigenvalue ${minimum[0].toExponential(2)}`);
