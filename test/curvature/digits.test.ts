/** Influence functions on real digits; skipped where the data are not there. */
import { existsSync } from 'node:fs';
import { expect } from 'chai';
import { dataFolder, digits, minimise, norm, polish, rankCorrelation } from '../../examples/curvature/digits.js';
import { influence, selfInfluence } from '../../ts/curvature/index.js';
import { Network } from '../../ts/derivatives/index.js';
import { Random } from '../../ts/random.js';

const file = `${dataFolder}/digits/digits.csv.gz`;

function network(hidden: number, l2: number): Network {
  return new Network({
    inputs: 64,
    loss: 'cross-entropy',
    l2,
    layers: [
      { type: 'dense', units: hidden, activation: 'tanh' },
      { type: 'dense', units: 10, activation: 'identity' },
    ],
  });
}

describe('influence on digits', function () {
  before(function () {
    if (existsSync(file)) return;
    console.log(`      skipped: ${file} is not there`);
    this.skip();
  });

  it('agrees with real leave-one-out retraining (rank correlation over all pairs)', async () => {
    const N = 100;
    const { train, test } = await digits(N, 12, 1);
    // L2 strong enough that removing one point of a hundred is a small change: first order is what is tested
    const net = network(6, 2e-2);
    const point = minimise(
      net,
      net.initialize({ seed: 1 }),
      net.batch({ inputs: train.inputs, targets: train.labels }),
      1e-9,
    );
    expect(norm(point.gradient)).to.be.below(1e-9);
    const { values, definite, residual } = influence(point, { inputs: test.inputs, targets: test.labels });
    expect(definite).to.equal(true);
    expect(residual).to.be.below(1e-10);
    const losses = (params: Float64Array): number[] =>
      Array.from(
        test.labels,
        (label, j) =>
          net.linearize(params, { inputs: test.inputs.slice(j * 64, (j + 1) * 64), targets: [label] }).dataLoss,
      );
    const before = losses(point.params);
    const predicted: number[] = [];
    const actual: number[] = [];
    for (let i = 0; i < N; i += 12) {
      const weights = new Float64Array(N).fill(1);
      weights[i] = 0;
      const rest = polish(
        net,
        point.params.slice(),
        net.batch({ inputs: train.inputs, targets: train.labels, weights }),
        1e-8,
      );
      losses(rest.params).forEach((loss, j) => {
        actual.push(loss - before[j]);
        predicted.push(-values![i * 12 + j] / N);
      });
    }
    // first order in 1/N: curvature of the path is left out, so no perfect agreement
    const agreement = rankCorrelation(predicted, actual);
    expect(agreement).to.be.greaterThan(0.9);
  });

  it('finds flipped labels far better than chance', async () => {
    const N = 200;
    const { train } = await digits(N, 1, 3);
    const random = new Random(4);
    const flipped = new Set<number>();
    while (flipped.size < N / 10) flipped.add(random.integer(N));
    for (const i of flipped) train.labels[i] = (train.labels[i] + 1 + random.integer(9)) % 10;
    const net = network(6, 1e-2);
    const point = minimise(
      net,
      net.initialize({ seed: 2 }),
      net.batch({ inputs: train.inputs, targets: train.labels }),
      1e-7,
    );
    const { values } = selfInfluence(point);
    const first = Array.from(values, (_, i) => i)
      .sort((a, b) => values[b] - values[a])
      .slice(0, N / 5);
    // a fifth of the points: chance finds 20 % of the flipped ones
    expect(first.filter((i) => flipped.has(i)).length / flipped.size).to.be.greaterThan(0.7);
  });
});
