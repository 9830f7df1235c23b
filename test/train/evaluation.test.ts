import { expect } from 'chai';
import { conclude, createEvaluator, makeDataset, Network, Random, type Dataset } from '../../ts/index.js';
import { EvaluationSum } from '../../ts/train/evaluation.js';
import { renderPredictions } from '../../ts/train/report-conclusion.js';

describe('coefficient of determination', () => {
  const random = new Random(3);
  const N = 30;
  const features = 2;
  const inputs = Float64Array.from({ length: N * features }, () => random.normal());
  const linear = (outputs: number, loss: 'mse' | 'binary-cross-entropy' = 'mse'): Network =>
    new Network({ inputs: features, loss, layers: [{ type: 'dense', units: outputs, activation: 'identity' }] });
  const set = (outputs: number, value: (n: number, k: number) => number): Dataset =>
    makeDataset({
      name: 'values',
      features,
      inputs,
      outputs,
      values: Float64Array.from({ length: N * outputs }, (_, i) => value(Math.floor(i / outputs), i % outputs)),
    });
  /** The textbook's two sums, with the mean taken first. */
  const reference = (network: Network, params: Float64Array, { values, outputs: K }: Dataset, k: number): number => {
    const column = (matrix: Float64Array): number[] => Array.from({ length: N }, (_, n) => matrix[n * K + k]);
    const truth = column(values as Float64Array);
    const predicted = column(network.forward(params, inputs));
    const mean = truth.reduce((sum, value) => sum + value / N, 0);
    const errors = truth.reduce((sum, value, n) => sum + (value - predicted[n]) ** 2, 0);
    return 1 - errors / truth.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  };

  it('is that of one output, whatever the chunks and the units', () => {
    const network = linear(1);
    const params = Float64Array.of(0.9, -1.8, 5.2);
    const data = set(1, (n) => inputs[2 * n] - 2 * inputs[2 * n + 1] + 5 + 0.1 * random.normal());
    const wanted = reference(network, params, data, 0);
    expect(wanted).to.be.within(0.9, 0.999);
    for (const options of [{}, { chunk: 7 }, { chunk: 1 }, { valueScale: Float64Array.of(250) }])
      expect(createEvaluator(network, data, options)(params).r2).to.be.closeTo(wanted, 1e-13);
    // Far from zero: 1e9 leaves a deviation of one some 7 digits, and a sum of squares of such values none.
    const far = set(1, (n) => inputs[2 * n] + 1e9);
    const there = Float64Array.of(0.9, 0, 1e9);
    expect(createEvaluator(network, far)(there).r2).to.be.closeTo(reference(network, there, far, 0), 1e-5);
    // The mean itself explains nothing, and what is worse than it less than nothing.
    const mean = (data.values as Float64Array).reduce((sum, value) => sum + value / N, 0);
    expect(createEvaluator(network, data)(Float64Array.of(0, 0, mean)).r2).to.be.closeTo(0, 1e-13);
    expect(createEvaluator(network, data)(Float64Array.of(-1, 2, 5)).r2).to.be.below(-1);
  });

  it('of several outputs is each its own, and the mean of those that have one', () => {
    const network = linear(3);
    const params = network.initialize({ seed: 1 });
    // The second does not differ, and 0.1 is no binary number.
    const data = set(3, (n, k) => (k === 1 ? 0.1 : 100 ** k * (inputs[2 * n] + random.normal())));
    const sum = new EvaluationSum(network);
    const outputs = network.forward(params, inputs);
    const batch = network.batch({ inputs, targets: data.values as Float64Array });
    expect(sum.determination()).to.equal(null);
    sum.add(params, batch, outputs, null, data.values);
    const [first, second, third] = sum.determination() as number[];
    expect(first).to.be.closeTo(reference(network, params, data, 0), 1e-12 * Math.abs(first));
    expect(second).to.equal(null);
    expect(third).to.be.closeTo(reference(network, params, data, 2), 1e-12);
    expect(sum.figures().r2).to.be.closeTo((first + third) / 2, 1e-12 * Math.abs(first));
    const { predictions } = conclude(network, params, { test: data })!;
    const shown = predictions.test as { outputs: { r2: number | null }[] };
    expect(shown.outputs.map(({ r2 }) => r2)).to.deep.equal([first, null, third]);
    const html = renderPredictions(predictions);
    expect(html).to.contain(`value 0, predicted against true, R² ${Number(first.toPrecision(4))}`);
    expect(html)
      .to.match(/value 1, predicted against true</)
      .and.to.not.match(/NaN|R² (null|-?Infinity)/);
  });

  it('is not there where there is none', () => {
    const figures = (network: Network, data: Dataset, params = network.initialize({ seed: 1 })): string[] =>
      Object.keys(createEvaluator(network, data)(params));
    expect(
      figures(
        linear(1),
        set(1, () => 0.1),
      ),
    ).to.deep.equal(['loss', 'rmse']);
    const one = { ...set(1, (n) => n), samples: 1, inputs: inputs.slice(0, 2), values: Float64Array.of(3) };
    expect(figures(linear(1), one)).to.deep.equal(['loss', 'rmse']);
    expect(
      figures(
        linear(2),
        set(2, (n) => n),
      ),
    ).to.deep.equal(['loss', 'rmse', 'r2']);
    // Not of probabilities, and not of overflow.
    expect(
      figures(
        linear(1, 'binary-cross-entropy'),
        set(1, (n) => n % 2),
      ),
    ).to.deep.equal(['loss', 'rmse']);
    expect(
      figures(
        linear(1),
        set(1, (n) => 1e200 * n),
      ),
    ).to.deep.equal(['loss', 'rmse']);
  });
});
