import { expect } from 'chai';
import { Network } from '../../ts/derivatives/index.js';
import { DeepHessianError } from '../../ts/errors.js';
import { activationNames, registerLayer, type LayerSpec, type NetworkOptions } from '../../ts/network/index.js';
import { maximumError, problem, randomBatch } from '../helpers/problems.js';
import { gatedLayer } from '../helpers/smooth-layers.js';
import type { Random } from '../../ts/random.js';

const dense = (units: number): LayerSpec => ({ type: 'dense', units, activation: 'tanh' });

describe('Network', () => {
  it('lays parameters out layer by layer, weight then bias', () => {
    const network = new Network({
      inputs: 9,
      loss: 'cross-entropy',
      layers: [
        { type: 'dense', units: 12, activation: 'tanh', bias: true },
        { type: 'residual', units: 12, activation: 'silu', bias: false },
        { type: 'custom', layer: gatedLayer(12, 2) },
        { type: 'dense', units: 10, activation: 'identity' },
      ],
      l2: [1, 2, 3, 4],
    });
    expect(network.parameterCount).to.equal(120 + 144 + 48 + 30);
    expect(network.outputs).to.equal(10);
    expect(Array.from(network.l2)).to.deep.equal([1, 2, 3, 4]);
    expect(network.customLayers).to.deep.equal([2]);
    const [first, second, third, last] = network.layers;
    expect(first).to.include({
      kind: 'affine',
      residual: false,
      weightOffset: 0,
      biasOffset: 108,
      parameterCount: 120,
      linear: false,
    });
    expect(second).to.include({ residual: true, weightOffset: 120, biasOffset: -1, parameterCount: 144 });
    expect(third).to.include({ kind: 'custom', parameterOffset: 264, parameterCount: 48 });
    expect(last).to.include({ weightOffset: 312, biasOffset: 332, linear: true, inputs: 2, units: 10 });
  });

  it('computes act(W z + b) for every activation as its formula says', () => {
    // erf by its series, exact to rounding for |x| <= 2.
    const erf = (x: number): number => {
      let term = x;
      let sum = x;
      for (let n = 1; n < 60; n++) {
        term *= (-x * x) / n;
        sum += term / (2 * n + 1);
      }
      return (2 / Math.sqrt(Math.PI)) * sum;
    };
    const formulas = {
      identity: (s: number) => s,
      tanh: Math.tanh,
      sigmoid: (s: number) => 1 / (1 + Math.exp(-s)),
      softplus: (s: number) => Math.log(1 + Math.exp(s)),
      gelu: (s: number) => 0.5 * s * (1 + erf(s / Math.SQRT2)),
      silu: (s: number) => s / (1 + Math.exp(-s)),
      sine: Math.sin,
      relu: (s: number) => Math.max(s, 0),
    };
    const inputs = Float64Array.of(0.3, -1.2, 0.9, 0.4);
    for (const activation of activationNames) {
      const network = new Network({ inputs: 2, loss: 'mse', layers: [{ type: 'dense', units: 3, activation }] });
      const params = network.initialize({ seed: 2, biasScale: 0.5 });
      const outputs = network.forward(params, inputs);
      for (let n = 0; n < 2; n++) {
        for (let u = 0; u < 3; u++) {
          const s = params[6 + u] + params[2 * u] * inputs[2 * n] + params[2 * u + 1] * inputs[2 * n + 1];
          expect(outputs[3 * n + u], activation).to.be.closeTo(formulas[activation](s), 1e-14);
        }
      }
    }
  });

  it('accuracy: by sample for classes and soft targets, by output for binary targets, none for mse', () => {
    const layers: LayerSpec[] = [{ type: 'dense', units: 2, activation: 'identity', bias: false }];
    const inputs = Float64Array.of(1, 0, 0, 1, 2, 1);
    const params = Float64Array.of(1, 0, 0, 1);
    const make = (loss: NetworkOptions['loss'], targets: number[] | Float64Array): number | null => {
      const network = new Network({ inputs: 2, loss, layers });
      return network.evaluate(params, network.batch({ inputs, targets })).accuracy;
    };
    expect(make('cross-entropy', [0, 1, 1])).to.equal(2 / 3);
    expect(make('cross-entropy', Float64Array.of(0.8, 0.2, 0.9, 0.1, 1, 0))).to.equal(2 / 3);
    expect(make('binary-cross-entropy', [1, 0, 1, 1, 1, 0])).to.equal(4 / 6);
    expect(make('mse', [1, 0, 1, 1, 1, 0])).to.equal(null);
  });

  it('one workspace serves interleaved batches of different sizes without a trace', () => {
    const { network, params, random } = problem({ weighted: true });
    const batches = [3, 7, 1, 7, 3].map((n) => network.batch(randomBatch(random, n, 3, 3, 'classes', true)));
    const once = batches.map((batch) => {
      const gradient = new Float64Array(params.length);
      return {
        loss: new Network({ inputs: 3, loss: 'cross-entropy', layers: specs(network) }).lossAndGradient(
          params,
          batch,
          gradient,
        ),
        gradient,
      };
    });
    const gradient = new Float64Array(params.length);
    for (let round = 0; round < 2; round++) {
      batches.forEach((batch, i) => {
        gradient.fill(NaN);
        expect(network.lossAndGradient(params, batch, gradient)).to.equal(once[i].loss);
        expect(Array.from(gradient)).to.deep.equal(Array.from(once[i].gradient));
        expect(network.evaluate(params, batch).loss).to.equal(once[i].loss);
      });
    }
  });

  it('allocates no arrays after the first call at a batch size', () => {
    const { network, params, random } = problem({ activation: 'gelu' });
    const batch = network.batch(randomBatch(random, 500, 3, 3, 'classes'));
    const gradient = new Float64Array(params.length);
    for (let i = 0; i < 3; i++) network.lossAndGradient(params, batch, gradient);
    const before = process.memoryUsage().arrayBuffers;
    for (let i = 0; i < 50; i++) network.lossAndGradient(params, batch, gradient);
    // A single N x 4 block is 16,000 bytes; memory only falls here if the collector frees what earlier tests left.
    expect(process.memoryUsage().arrayBuffers - before).to.be.below(16000);
  });

  it('a batch taken in parts gives the loss, gradient and outputs of the whole', () => {
    const layers: LayerSpec[] = [
      { type: 'residual', units: 3, activation: 'tanh' },
      { type: 'custom', layer: gatedLayer(3, 3) },
      ...Array.from({ length: 40 }, (): LayerSpec => ({ type: 'residual', units: 100, activation: 'sine' })),
    ];
    layers.splice(2, 0, dense(100));
    layers.push({ type: 'dense', units: 3, activation: 'identity' });
    // 4109 units: parts of 64 samples; 150 samples make three, of 50 each.
    const { network, params, random } = problem({ layers, seed: 3 });
    // Tame weights: 40 residual sine layers of full size would amplify rounding, which is not the question here.
    params.forEach((value, i) => (params[i] = 0.3 * value));
    const data = randomBatch(random, 150, 3, 3, 'soft', true);
    const gradient = new Float64Array(params.length);
    const batch = network.batch(data);
    const loss = network.lossAndGradient(params, batch, gradient);
    const point = network.linearize(params, batch);
    expect(loss).to.be.closeTo(point.loss, 1e-12 * point.loss);
    expect(maximumError(gradient, point.gradient)).to.be.below(1e-11);
    expect(maximumError(network.forward(params, data.inputs), point.outputs)).to.be.below(1e-12);
    expect(network.evaluate(params, batch).loss).to.equal(loss);
  });

  describe('JSON', () => {
    it('round trip through text keeps the structure and the values', () => {
      registerLayer('gated-sine', (data) => {
        const { inputs, units } = data as { inputs: number; units: number };
        return gatedLayer(inputs, units);
      });
      const layers: LayerSpec[] = [
        dense(4),
        { type: 'residual', units: 4, activation: 'relu', bias: false },
        { type: 'custom', layer: gatedLayer(4, 3) },
      ];
      const { network, params, data } = problem({ layers, l2: [0.1, 0, 0.3] });
      const copy = Network.fromJSON(JSON.parse(JSON.stringify(network)));
      expect(copy).to.be.instanceOf(Network);
      expect(copy.toJSON()).to.deep.equal(network.toJSON());
      expect(copy.linearize(params, data).loss).to.equal(network.linearize(params, data).loss);
      expect(Array.from(copy.initialize({ seed: 5 }))).to.deep.equal(Array.from(network.initialize({ seed: 5 })));
    });

    it('refuses custom layers that are not registered, and foreign data', () => {
      const layer = { ...gatedLayer(3, 2), name: 'nobody knows' };
      const network = new Network({ inputs: 3, loss: 'mse', layers: [{ type: 'custom', layer }] });
      expect(() => network.toJSON())
        .to.throw(DeepHessianError, "'nobody knows', which is not registered")
        .with.property('code', 'unsupported');
      expect(() => Network.fromJSON(null)).to.throw(TypeError, 'an object for json');
      expect(() => Network.fromJSON({ format: 'other' })).to.throw(RangeError, 'json.format');
      expect(() =>
        Network.fromJSON({ ...new Network({ inputs: 1, loss: 'mse', layers: [dense(1)] }).toJSON(), version: 2 }),
      ).to.throw(RangeError, 'json.version');
      expect(() => Network.fromJSON({ ...network, format: 'deep-hessian-network', version: 1 })).to.throw(
        RangeError,
        'unknown option',
      );
      const absent = {
        format: 'deep-hessian-network',
        version: 1,
        inputs: 3,
        loss: 'mse',
        layers: [{ type: 'custom', name: 'absent', data: null }],
        l2: [0],
      };
      expect(() => Network.fromJSON(absent)).to.throw(DeepHessianError, "call registerLayer('absent', factory)");
      expect(() => registerLayer('', () => layer)).to.throw(RangeError, 'name');
      expect(() => registerLayer('x', 5 as never)).to.throw(TypeError, 'factory');
    });
  });

  describe('refuses bad structure with one clear message', () => {
    const good: NetworkOptions = { inputs: 3, loss: 'cross-entropy', layers: [dense(4), dense(2)] };
    const table: [string, Partial<Record<keyof NetworkOptions | 'x', unknown>>, ErrorConstructor, string][] = [
      ['inputs 0', { inputs: 0 }, RangeError, 'Network: expected an integer >= 1 for inputs, received 0'],
      ['inputs text', { inputs: '3' }, TypeError, 'an integer >= 1 for inputs, received "3" (string)'],
      [
        'loss',
        { loss: 'hinge' },
        RangeError,
        "expected one of 'mse', 'cross-entropy', 'binary-cross-entropy' for loss, received \"hinge\"",
      ],
      ['no layers', { layers: [] }, RangeError, 'at least one layer for layers, received array of length 0'],
      ['layers', { layers: 3 }, TypeError, 'an array of layer specifications for layers, received 3'],
      ['null layer', { layers: [null] }, TypeError, 'an object for layers[0], received null'],
      ['type', { layers: [{ type: 'conv' }] }, RangeError, "one of 'dense', 'residual', 'custom' for layers[0].type"],
      ['units', { layers: [dense(2), dense(0)] }, RangeError, 'an integer >= 1 for layers[1].units, received 0'],
      [
        'activation',
        { layers: [{ type: 'dense', units: 2, activation: 'swish' }] },
        RangeError,
        'for layers[0].activation, received "swish"',
      ],
      [
        'bias',
        { layers: [{ type: 'dense', units: 2, activation: 'tanh', bias: 1 }] },
        TypeError,
        'true or false for layers[0].bias, received 1',
      ],
      ['key', { layers: [{ ...dense(2), unit: 2 }] }, RangeError, "unknown option 'unit' in layers[0]"],
      [
        'residual',
        { layers: [{ type: 'residual', units: 4, activation: 'tanh' }] },
        RangeError,
        '3 (a residual layer keeps the width before it) for layers[0].units, received 4',
      ],
      [
        'custom width',
        { layers: [{ type: 'custom', layer: gatedLayer(2, 2) }] },
        RangeError,
        '3 (the width before it) for layers[0].layer.inputs, received 2',
      ],
      [
        'custom',
        { layers: [{ type: 'custom', layer: {} }] },
        TypeError,
        'a string for layers[0].layer.name, received undefined',
      ],
      ['one class', { layers: [dense(1)] }, RangeError, "at least 2 classes with the loss 'cross-entropy'"],
      ['l2 negative', { l2: -1 }, RangeError, 'a finite number >= 0 for l2, received -1'],
      ['l2 length', { l2: [1] }, RangeError, '2 numbers, one per layer for l2, received array of length 1'],
      ['l2 entry', { l2: [1, NaN] }, RangeError, 'for l2[1], received NaN'],
      ['l2 kind', { l2: 'big' }, TypeError, 'a number or one number per layer for l2'],
      ['unknown', { x: 1 }, RangeError, "Network: unknown option 'x' in options"],
    ];
    for (const [name, change, kind, message] of table) {
      it(name, () => {
        expect(() => new Network({ ...good, ...change } as NetworkOptions)).to.throw(kind as never, message);
      });
    }
  });

  it('refuses bad parameters, gradients and inputs', () => {
    const { network, params, data } = problem({});
    const batch = network.batch(data);
    const p = params.length;
    expect(() => network.forward(params, new Float64Array(0))).to.throw(
      RangeError,
      'a Float64Array [samples, 3] with at least one sample for inputs',
    );
    expect(() => network.forward(params, new Float64Array(4))).to.throw(
      RangeError,
      'a length that is a multiple of 3 for inputs, received Float64Array of length 4',
    );
    expect(() => network.forward(params, Float64Array.of(1, Infinity, 2))).to.throw(
      RangeError,
      'a finite number for inputs[1], received Infinity',
    );
    expect(() => network.evaluate(new Float64Array(p + 1), batch)).to.throw(
      RangeError,
      `Network.evaluate: expected a Float64Array of length ${p} for params`,
    );
    expect(() => network.lossAndGradient(params, batch, new Float64Array(1))).to.throw(RangeError, 'for gradient');
    expect(() => network.lossAndGradient(params, batch, params)).to.throw(
      RangeError,
      'an array other than params for gradient',
    );
    expect(() => network.evaluate(params, null as never)).to.throw(
      TypeError,
      'Network.evaluate: expected an object for batch, received null',
    );
    expect(() => network.evaluate(params, data as never)).to.throw(TypeError, 'a prepared batch for batch');
    expect(() => network.evaluate(params, { ...batch, weights: new Float64Array(1) })).to.throw(
      RangeError,
      'for batch.weights',
    );
    const broken = params.slice();
    broken[p - 1] = -Infinity;
    expect(() => network.lossAndGradient(broken, batch, new Float64Array(p))).to.throw(
      RangeError,
      `params[${p - 1}], received -Infinity`,
    );
    // Finite parameters whose squares overflow are still finite.
    const huge = new Float64Array(p).fill(1e200);
    expect(() => network.forward(huge, data.inputs)).to.not.throw();
  });
});

function specs(network: Network): LayerSpec[] {
  return network.layers.map((layer) => {
    if (layer.kind === 'custom') return { type: 'custom', layer: layer.layer };
    const { units, activation, bias, residual } = layer;
    return { type: residual ? 'residual' : 'dense', units, activation, bias };
  });
}

describe('initialisation', () => {
  const shapes: [number, number][] = [
    [9, 4],
    [4, 4],
    [4, 9],
    [768, 16],
  ];

  it('orthogonal: orthonormal rows or columns times the gain, to rounding', () => {
    for (const [inputs, units] of shapes) {
      const network = new Network({ inputs, loss: 'mse', layers: [dense(units)] });
      const w = network.initialize({ seed: 3, scheme: 'orthogonal', gain: 1.1 });
      const thin = Math.min(inputs, units);
      const at = (r: number, i: number): number => (units <= inputs ? w[r * inputs + i] : w[i * inputs + r]);
      for (let r = 0; r < thin; r++) {
        for (let q = 0; q < thin; q++) {
          let sum = 0;
          for (let i = 0; i < Math.max(inputs, units); i++) sum += at(r, i) * at(q, i);
          expect(sum).to.be.closeTo(r === q ? 1.21 : 0, 1e-13);
        }
      }
      for (let i = 0; i < units; i++) expect(w[units * inputs + i]).to.equal(0);
    }
  });

  it('orthogonal: the sign fix makes the mean of Q zero', () => {
    // Without it Householder QR gives Q_11 <= 0 always. 60 draws of a sign: all equal has probability 2^-59.
    const network = new Network({ inputs: 4, loss: 'mse', layers: [dense(4)] });
    const signs = Array.from({ length: 60 }, (_, seed) => Math.sign(network.initialize({ seed })[0]));
    expect(new Set(signs).size).to.equal(2);
  });

  it('says with numbers that parameters cannot be allocated', () => {
    const network = new Network({ inputs: 1e6, loss: 'mse', layers: [dense(1e6)] });
    expect(() => network.initialize({ seed: 1 }))
      .to.throw(DeepHessianError, /initialize: 1000001000000 parameters take 8000.01 GB/)
      .with.property('code', 'out-of-memory');
  });

  it('xavier, he and normal have their stated spread', () => {
    const inputs = 300;
    const units = 100;
    const network = new Network({ inputs, loss: 'mse', layers: [dense(units)] });
    const spread = {
      xavier: Math.sqrt(2 / (inputs + units)),
      he: Math.sqrt(2 / inputs),
      normal: Math.sqrt(1 / inputs),
    };
    for (const scheme of ['xavier', 'he', 'normal'] as const) {
      const w = network.initialize({ seed: 1, scheme, gain: 2 }).subarray(0, inputs * units);
      const variance = w.reduce((sum, value) => sum + value * value, 0) / w.length;
      // 30,000 draws: the standard error of the deviation is at most 0.41 %; 2 % is five of them.
      expect(Math.sqrt(variance) / (2 * spread[scheme])).to.be.closeTo(1, 0.02);
      if (scheme === 'xavier') expect(Math.max(...w)).to.be.below(2 * Math.sqrt(6 / (inputs + units)));
    }
  });

  it('is a function of the seed; biases and custom layers are filled as stated', () => {
    const layers: LayerSpec[] = [
      dense(4),
      { type: 'custom', layer: gatedLayer(4, 2) },
      { type: 'custom', layer: { ...gatedLayer(2, 2), initialize: undefined } },
    ];
    const network = new Network({ inputs: 3, loss: 'mse', layers });
    const a = network.initialize({ seed: 8, biasScale: 0.5 });
    expect(Array.from(network.initialize({ seed: 8, biasScale: 0.5 }))).to.deep.equal(Array.from(a));
    expect(Array.from(network.initialize({ seed: 9, biasScale: 0.5 }))).to.not.deep.equal(Array.from(a));
    expect(a.every((value) => value !== 0)).to.equal(true);
    expect(Array.from(network.initialize({ seed: 8 }).subarray(12, 16))).to.deep.equal([0, 0, 0, 0]);
  });

  it('refuses bad options', () => {
    const network = new Network({ inputs: 3, loss: 'mse', layers: [dense(4)] });
    expect(() => network.initialize({} as never)).to.throw(
      TypeError,
      'Network.initialize: expected an integer from 0 to 4294967295 for seed, received undefined',
    );
    expect(() => network.initialize({ seed: -1 })).to.throw(RangeError, 'seed');
    expect(() => network.initialize({ seed: 1, scheme: 'zeros' as never })).to.throw(
      RangeError,
      "one of 'orthogonal', 'xavier', 'he', 'normal'",
    );
    expect(() => network.initialize({ seed: 1, gain: 0 })).to.throw(RangeError, 'a finite number > 0 for gain');
    expect(() => network.initialize({ seed: 1, biasScale: -1 })).to.throw(RangeError, 'biasScale');
    const layer = { ...gatedLayer(3, 2), initialize: (random: Random) => random.normals(new Float64Array(1)) };
    const custom = new Network({ inputs: 3, loss: 'mse', layers: [{ type: 'custom', layer }] });
    expect(() => custom.initialize({ seed: 1 })).to.throw(RangeError, 'layers[0].layer.initialize() (gated-sine)');
  });
});
