/**
 * L2 of every layer tuned by gradient descent on a validation loss, the gradient through the trained solution (implicit
 * differentiation), on the yacht data: 200 rows to train, 54 to validate, 54 never looked at.
 *
 *     node --import tsx examples/curvature/tune-l2.ts
 */
import { hypergradient } from '../../ts/curvature/index.js';
import { readCsv } from '../../ts/data/csv.js';
import { applyStandardisation, fitStandardisation } from '../../ts/data/standardise.js';
import { Network } from '../../ts/derivatives/index.js';
import { Random } from '../../ts/random.js';
import { commandLine } from '../command-line.js';
import { dataFolder, minimise, norm } from './digits.js';

commandLine({});
const { dataset } = await readCsv(`${dataFolder}/uci_yacht/data.txt`, { header: false, task: 'regression' });
const order = new Random(3).shuffle(Int32Array.from({ length: dataset.samples }, (_, i) => i));
const part = (from: number, to: number): { inputs: Float64Array; targets: Float64Array } => {
  const rows = Array.from(order.subarray(from, to));
  return {
    inputs: Float64Array.from(rows.flatMap((n) => [...dataset.inputs.subarray(n * 6, (n + 1) * 6)])),
    targets: Float64Array.from(rows.map((n) => dataset.values![n])),
  };
};
const [train, validation, test] = [part(0, 200), part(200, 254), part(254, 308)];
const [ofInputs, ofTargets] = [fitStandardisation(train.inputs, 6), fitStandardisation(train.targets, 1)];
for (const { inputs, targets } of [train, validation, test]) {
  applyStandardisation(inputs, ofInputs, inputs);
  applyStandardisation(targets, ofTargets, targets);
}

const model = (l2: number[]): Network =>
  new Network({
    inputs: 6,
    loss: 'mse',
    l2,
    layers: [
      { type: 'dense', units: 12, activation: 'tanh' },
      { type: 'residual', units: 12, activation: 'tanh' },
      { type: 'dense', units: 1, activation: 'identity' },
    ],
  });

let logL2 = [1e-2, 1e-2, 1e-2].map(Math.log);
let params = model([0, 0, 0]).initialize({ seed: 7 });
let step = 1;
let previous: number[] | null = null;
console.log(
  'round   L2 of layer 1, 2, 3                validation   test         gradient in log L2                 training gradient',
);
for (let round = 0; round < 24; round++) {
  const l2 = logL2.map(Math.exp);
  const network = model(l2);
  const point = minimise(network, params, network.batch(train), 1e-9, 60);
  params = point.params.slice();
  const { validationLoss, l2: gradient, gradientNorm } = hypergradient(point, validation);
  const slope = l2.map((value, l) => value * gradient[l]);
  const testLoss = network.linearize(params, test).dataLoss;
  console.log(
    `${String(round).padStart(5)}   ${l2.map((value) => value.toExponential(2)).join('  ')}   ${validationLoss.toExponential(3)}    ${testLoss.toExponential(3)}    ` +
      `${slope.map((value) => value.toExponential(2).padStart(9)).join('  ')}   ${gradientNorm.toExponential(1)}`,
  );
  // Normalised steps in the logarithm; half as long as soon as the direction turns back.
  const length = norm(slope);
  if (length === 0) break;
  const direction = slope.map((value) => value / length);
  if (previous !== null && direction.reduce((sum, value, l) => sum + value * previous![l], 0) < 0) step /= 2;
  previous = direction;
  logL2 = logL2.map((value, l) => value - step * direction[l]);
}
