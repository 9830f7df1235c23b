import { expect } from 'chai';
import { conclude, makeDataset, Network, Random, type Dataset } from '../../ts/index.js';

describe('conclusion of a run', () => {
  const random = new Random(5);
  const normals = (count: number): Float64Array => Float64Array.from({ length: count }, () => random.normal());

  it('counts every sample of a classifier under its true and predicted class', () => {
    const network = new Network({
      inputs: 3,
      loss: 'cross-entropy',
      layers: [{ type: 'dense', units: 3, activation: 'identity', bias: false }],
    });
    // The identity as weights: the predicted class is the largest input.
    const params = Float64Array.of(1, 0, 0, 0, 1, 0, 0, 0, 1);
    const set = (inputs: number[][], labels: number[]): Dataset =>
      makeDataset({
        name: 'points',
        features: 3,
        inputs: Float64Array.from(inputs.flat()),
        labels: Int32Array.from(labels),
        classes: ['a', 'b', 'c'],
      });
    const train = set([[1, 0, 0], [2, 1, 0], [0, 1, 0], [0, 0, 3], [0, 4, 1]], [0, 0, 1, 2, 2]); // prettier-ignore
    const test = set([[0, 0, 1]], [0]);
    const { predictions, spectrum } = conclude(network, params, { train, test })!;
    expect(predictions.train).to.deep.equal({
      kind: 'classes',
      samples: 5,
      classes: ['a', 'b', 'c'],
      counts: [
        [2, 0, 0],
        [0, 1, 0],
        [0, 1, 1],
      ],
    });
    expect((predictions.test as { counts: number[][] }).counts).to.deep.equal([
      [0, 0, 1],
      [0, 0, 0],
      [0, 0, 0],
    ]);
    // Softmax without bias is convex, and adding one vector to all three weight rows changes nothing: 3 zeros.
    expect(spectrum).to.include({ samples: 5, negative: 0, zero: 3, positive: 6 });
  });

  it('gives the eigenvalues of the dense Hessian, and values in the units of the data', () => {
    const network = new Network({
      inputs: 2,
      loss: 'mse',
      layers: [
        { type: 'dense', units: 3, activation: 'tanh' },
        { type: 'dense', units: 1, activation: 'identity' },
      ],
    });
    const params = network.initialize({ seed: 2 });
    const inputs = normals(40);
    const values = normals(20);
    const set = makeDataset({ name: 'values', features: 2, inputs, values, outputs: 1 });
    const scale = { mean: Float64Array.of(10), scale: Float64Array.of(2) };
    const { predictions, spectrum } = conclude(network, params, { training: set }, scale)!;
    const point = network.linearize(params, { inputs, targets: values });
    const H = point.denseHessian();
    const P = network.parameterCount;
    const eigenvalues = spectrum!.values;
    // Trace and squared norm of the matrix itself, to the rounding of sums of P and P^2 numbers.
    let trace = 0;
    for (let i = 0; i < P; i++) trace += H[i * (P + 1)];
    const squares = H.reduce((sum, h) => sum + h * h, 0);
    expect(eigenvalues.reduce((sum, value) => sum + value, 0)).to.be.closeTo(trace, 1e-12 * Math.sqrt(squares));
    expect(eigenvalues.reduce((sum, value) => sum + value ** 2, 0)).to.be.closeTo(squares, 1e-12 * squares);
    expect(spectrum!.negative + spectrum!.zero + spectrum!.positive).to.equal(P);
    expect(spectrum!.negative).to.equal(eigenvalues.filter((value) => value < -1e-12).length);
    const shown = predictions.training as { outputs: { points: [number, number][] }[] };
    const outputs = network.forward(params, inputs);
    for (let n = 0; n < 20; n++) {
      expect(shown.outputs[0].points[n][0]).to.equal(values[n] * 2 + 10);
      expect(shown.outputs[0].points[n][1]).to.be.closeTo(outputs[n] * 2 + 10, 1e-14 * 20);
    }
  });

  it('leaves out the spectrum of a large network, and everything at parameters that are not finite', () => {
    const network = new Network({
      inputs: 50,
      loss: 'mse',
      layers: [{ type: 'dense', units: 41, activation: 'identity', bias: false }],
    });
    const set = makeDataset({ name: 'values', features: 50, inputs: normals(50), values: normals(41), outputs: 41 });
    const params = network.initialize({ seed: 1 });
    expect(conclude(network, params, { set })!.spectrum).to.equal(null);
    params[3] = NaN;
    expect(conclude(network, params, { set })).to.equal(null);
  });
});
