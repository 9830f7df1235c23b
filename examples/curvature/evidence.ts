/**
 * Regression with error bars: prior precision of every layer and noise tuned by the evidence, then how often the predicted
 * intervals hold on data not trained on (yacht and energy, 5 folds, everything in units of the training targets' deviation).
 *
 *     node --import tsx examples/curvature/evidence.ts [quick]
 *
 * quick: the first fold of yacht with two rounds of updates, to see that it runs.
 */
import {
  laplace,
  regressionCalibration,
  tuneEvidence,
  type LaplacePosterior,
  type RegressionCalibration,
} from '../../ts/curvature/index.js';
import { readCsv } from '../../ts/data/csv.js';
import { applyStandardisation, fitStandardisation } from '../../ts/data/standardise.js';
import { Network } from '../../ts/derivatives/index.js';
import { Random } from '../../ts/random.js';
import { optionalWord } from '../command-line.js';
import { dataFolder, minimise } from './digits.js';

const quick = optionalWord(['quick']) === 'quick';

function model(inputs: number, l2: number): Network {
  return new Network({
    inputs,
    loss: 'mse',
    l2,
    layers: [
      { type: 'dense', units: 12, activation: 'tanh' },
      { type: 'residual', units: 12, activation: 'tanh' },
      { type: 'dense', units: 1, activation: 'identity' },
    ],
  });
}

function take(rows: Float64Array, width: number, indices: Int32Array): Float64Array {
  const out = new Float64Array(indices.length * width);
  indices.forEach((n, i) => out.set(rows.subarray(n * width, (n + 1) * width), i * width));
  return out;
}

interface Pool {
  mean: number[];
  variance: number[];
  targets: number[];
}

async function study(name: string, inputs: number[], target: number): Promise<void> {
  const { dataset } = await readCsv(`${dataFolder}/uci_${name}/data.txt`, {
    header: false,
    inputs,
    targets: [target],
    task: 'regression',
  });
  const width = inputs.length;
  const order = new Random(1).shuffle(Int32Array.from({ length: dataset.samples }, (_, i) => i));
  const pools: Record<'fixed' | 'tuned' | 'noise only', Pool> = {
    fixed: { mean: [], variance: [], targets: [] },
    tuned: { mean: [], variance: [], targets: [] },
    'noise only': { mean: [], variance: [], targets: [] },
  };
  console.log(`\n${name}: ${dataset.samples} rows, ${width} inputs`);
  for (let fold = 0; fold < (quick ? 1 : 5); fold++) {
    const test = order.filter((_, i) => i % 5 === fold);
    const train = order.filter((_, i) => i % 5 !== fold);
    const [x, t] = [take(dataset.inputs, width, train), take(dataset.values!, 1, train)];
    const [xTest, tTest] = [take(dataset.inputs, width, test), take(dataset.values!, 1, test)];
    const [ofInputs, ofTargets] = [fitStandardisation(x, width), fitStandardisation(t, 1)];
    for (const values of [x, xTest]) applyStandardisation(values, ofInputs, values);
    for (const values of [t, tTest]) applyStandardisation(values, ofTargets, values);
    const start = model(width, 1e-3);
    const batch = start.batch({ inputs: x, targets: t });
    const point = minimise(start, start.initialize({ seed: 7 }), batch, 1e-7, 10);
    const fixed = laplace(point);
    const { posterior, logEvidences } = tuneEvidence(point, {
      rounds: quick ? 2 : 8,
      retrain: (network, params) => {
        params.set(minimise(network, params, batch, 1e-6, 5).params);
      },
    });
    const record = (pool: Pool, of: LaplacePosterior, epistemic: boolean): void => {
      const { mean, observationVariance } = of.predict(xTest);
      pool.mean.push(...mean);
      pool.variance.push(...(epistemic ? observationVariance! : mean.map(() => of.noiseVariance)));
      pool.targets.push(...tTest);
    };
    record(pools.fixed, fixed, true);
    record(pools.tuned, posterior, true);
    record(pools['noise only'], posterior, false);
    const gamma = posterior.effectiveParameters;
    console.log(
      `   fold ${fold}: log evidence ${logEvidences[0].toFixed(1)} -> ${posterior.logEvidence.toFixed(1)}; prior precisions ` +
        `${Array.from(posterior.priorPrecision, (value) => value.toPrecision(3)).join(', ')}; effective parameters ` +
        `${Array.from(gamma, (value) => value.toFixed(1)).join(', ')} of ${start.layers.map((layer) => layer.parameterCount).join(', ')}; noise ${Math.sqrt(posterior.noiseVariance).toFixed(4)}`,
    );
    fixed.dispose();
    posterior.dispose();
  }
  const tables = Object.entries(pools).map(([label, { mean, variance, targets }]): [string, RegressionCalibration] => [
    label,
    regressionCalibration(Float64Array.from(mean), Float64Array.from(variance), Float64Array.from(targets)),
  ]);
  console.log(
    `   nominal        ${tables[0][1].rows.map(({ nominal }) => `${(100 * nominal).toFixed(0)} %`.padStart(7)).join('')}   RMSE     -log lik  mean squared score`,
  );
  for (const [label, { rows, rootMeanSquareError, negativeLogLikelihood, meanSquaredScore }] of tables) {
    console.log(
      `   ${label.padEnd(12)}   ${rows.map(({ observed }) => `${(100 * observed).toFixed(1)} %`.padStart(7)).join('')}   ${rootMeanSquareError.toFixed(4)}   ` +
        `${negativeLogLikelihood.toFixed(3).padStart(7)}   ${meanSquaredScore.toFixed(2)}`,
    );
  }
}

await study('yacht', [0, 1, 2, 3, 4, 5], 6);
if (!quick) await study('energy', [0, 1, 2, 3, 4, 5, 6, 7], 8);
