/**
 * Influence functions on digits, three ways to look at them:
 *
 *   leave-one-out   predicted change of test losses without a training point, against real retraining (64-8-10 network, 250 points)
 *   mislabelled     10 % of the labels flipped: how many are found by self-influence (64-12-10 network, 600 points)
 *   large           1,000 x 100 influences of a network with 5,018 parameters (with the word 'large' as argument)
 *
 *     node --import tsx examples/curvature/influence.ts [large | quick]
 *
 * quick: the first two on fewer points, to see that they run.
 */
import { influence, selfInfluence } from '../../ts/curvature/index.js';
import { Network } from '../../ts/derivatives/index.js';
import { Random } from '../../ts/random.js';
import { optionalWord } from '../command-line.js';
import { correlation, digits, minimise, norm, polish, rankCorrelation } from './digits.js';

const word = optionalWord(['large', 'quick']);
const quick = word === 'quick';

function network(hidden: number[], l2: number): Network {
  return new Network({
    inputs: 64,
    loss: 'cross-entropy',
    l2,
    layers: [
      ...hidden.map((units) => ({ type: 'dense' as const, units, activation: 'tanh' as const })),
      { type: 'dense', units: 10, activation: 'identity' },
    ],
  });
}

const seconds = (since: number): string => `${((performance.now() - since) / 1e3).toFixed(1)} s`;

async function leaveOneOut(): Promise<void> {
  const N = quick ? 60 : 250;
  const { train, test } = await digits(N, 40, 1);
  const net = network([8], 1e-2);
  const batch = net.batch({ inputs: train.inputs, targets: train.labels });
  const point = minimise(net, net.initialize({ seed: 1 }), batch, 1e-10);
  console.log(
    `leave-one-out: ${net.parameterCount} parameters, ${N} points, gradient ${norm(point.gradient).toExponential(1)}`,
  );
  const testData = { inputs: test.inputs, targets: test.labels };
  const { values, definite } = influence(point, testData);
  const self = selfInfluence(point).values;
  console.log(`   Hessian definite: ${definite}`);
  const testLosses = (params: Float64Array): number[] =>
    Array.from(
      test.labels,
      (label, j) =>
        net.linearize(params, { inputs: test.inputs.slice(j * 64, (j + 1) * 64), targets: [label] }).dataLoss,
    );
  const before = testLosses(point.params);
  // the most self-influential ones and others at random
  const order = Array.from(self, (_, i) => i).sort((a, b) => self[b] - self[a]);
  const half = quick ? 3 : 15;
  const chosen = [...order.slice(0, half), ...new Random(2).shuffle(order.slice(half)).slice(0, half)];
  const predicted: number[] = [];
  const actual: number[] = [];
  const perPoint: number[] = [];
  for (const i of chosen) {
    const weights = new Float64Array(N).fill(1);
    weights[i] = 0; // the average stays over N, as the first-order formula supposes
    const rest = polish(
      net,
      point.params.slice(),
      net.batch({ inputs: train.inputs, targets: train.labels, weights }),
      1e-9,
    );
    const after = testLosses(rest.params);
    const guess = before.map((_, j) => -values![i * 40 + j] / N);
    const change = after.map((loss, j) => loss - before[j]);
    predicted.push(...guess);
    actual.push(...change);
    perPoint.push(rankCorrelation(guess, change));
  }
  console.log(
    `   ${chosen.length} points left out, ${predicted.length} pairs: rank correlation ${rankCorrelation(predicted, actual).toFixed(3)}, Pearson ${correlation(predicted, actual).toFixed(3)}`,
  );
  console.log(
    `   rank correlation over the test points of one left-out point: median ${perPoint.sort((a, b) => a - b)[Math.floor(perPoint.length / 2)].toFixed(3)}, worst ${perPoint[0].toFixed(3)}`,
  );
}

async function mislabelled(): Promise<void> {
  const N = quick ? 150 : 600;
  const { train } = await digits(N, 1, 3);
  const random = new Random(4);
  const flipped = new Set<number>();
  while (flipped.size < N / 10) flipped.add(random.integer(N));
  for (const i of flipped) train.labels[i] = (train.labels[i] + 1 + random.integer(9)) % 10;
  const net = network([12], 5e-3);
  const point = minimise(
    net,
    net.initialize({ seed: 2 }),
    net.batch({ inputs: train.inputs, targets: train.labels }),
    1e-8,
  );
  console.log(
    `mislabelled: ${net.parameterCount} parameters, ${N} points, ${flipped.size} labels flipped, gradient ${norm(point.gradient).toExponential(1)}`,
  );
  const { values, definite } = selfInfluence(point);
  console.log(`   Hessian definite: ${definite}`);
  const order = Array.from(values, (_, i) => i).sort((a, b) => values[b] - values[a]);
  for (const share of [0.05, 0.1, 0.15, 0.2, 0.3]) {
    const found = order.slice(0, Math.round(share * N)).filter((i) => flipped.has(i)).length;
    console.log(
      `   looking at the first ${(100 * share).toFixed(0).padStart(2)} % by self-influence finds ${((100 * found) / flipped.size).toFixed(0).padStart(3)} % (by chance ${(100 * share).toFixed(0)} %)`,
    );
  }
}

async function large(): Promise<void> {
  const { train, test } = await digits(1000, 100, 5);
  const net = network([48, 32], 1e-3);
  let start = performance.now();
  const point = minimise(
    net,
    net.initialize({ seed: 3 }),
    net.batch({ inputs: train.inputs, targets: train.labels }),
    1e-6,
    0,
  );
  console.log(
    `large: ${net.parameterCount} parameters, 1000 x 100, gradient ${norm(point.gradient).toExponential(1)} after ${seconds(start)}`,
  );
  start = performance.now();
  const { residual, definite } = influence(
    point,
    { inputs: test.inputs, targets: test.labels },
    {
      onRows: ({ done, total }) => {
        if (done === total || done % 512 === 0) console.log(`   ${done} of ${total} rows after ${seconds(start)}`);
      },
    },
  );
  console.log(
    `   Hessian definite: ${definite}, largest residual ${residual.toExponential(1)}, ${seconds(start)}, ${(process.resourceUsage().maxRSS / 1e6).toFixed(2)} GB`,
  );
}

if (word === 'large') await large();
else {
  await leaveOneOut();
  await mislabelled();
}
