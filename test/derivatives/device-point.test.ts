/**
 * Linearizations in the memory of a device against those of the host: values, gradients, products, every array that is
 * fetched; what travels, what is held, and clean failures. On the CPU behind the interface, and on a card where there is one.
 */
import { expect } from 'chai';
import { deviceLinearizationBytes, Network, type Linearization } from '../../ts/derivatives/index.js';
import { createHostDevice, instrument, type DeviceKernels } from '../../ts/device/index.js';
import { DeepHessianError } from '../../ts/errors.js';
import { activationCodes, type ActivationName } from '../../ts/native/kernels.js';
import type { BatchData, LayerSpec } from '../../ts/network/index.js';
import { Random } from '../../ts/random.js';
import { card, devices, emulated, sayWithoutCard, useDevice } from '../helpers/devices.js';
import { gatedLayer } from '../helpers/smooth-layers.js';

interface Problem {
  network: Network;
  params: Float64Array;
  other: Float64Array;
  data: BatchData;
}

/** Layers of every activation, residual and not (also the first), with and without bias, of one unit and of several. */
function problem(seed: number): Problem {
  const random = new Random(seed);
  const names = Object.keys(activationCodes) as ActivationName[];
  const loss = (['mse', 'cross-entropy', 'binary-cross-entropy'] as const)[seed % 3];
  const inputs = 1 + random.integer(5);
  const K = loss === 'cross-entropy' ? 2 + random.integer(3) : 1 + random.integer(3);
  const layers: LayerSpec[] = [];
  let width = inputs;
  for (let l = random.integer(5); l >= 0; l--) {
    const residual = random.integer(2) === 1;
    width = residual ? width : 1 + random.integer(6);
    const activation = names[random.integer(names.length)];
    layers.push({ type: residual ? 'residual' : 'dense', units: width, activation, bias: random.integer(3) > 0 });
  }
  layers.push({ type: 'dense', units: K, activation: 'identity', bias: random.integer(2) > 0 });
  const network = new Network({ inputs, loss, layers, l2: layers.map((_, l) => (l % 2) * 0.1) });
  const N = 1 + random.integer(9);
  const normals = (n: number): Float64Array => random.normals(new Float64Array(n));
  const targets =
    loss === 'cross-entropy'
      ? Int32Array.from({ length: N }, () => random.integer(K))
      : Float64Array.from({ length: N * K }, () => (loss === 'mse' ? random.normal() : random.integer(2)));
  const weights = Float64Array.from({ length: N }, () => 2 * random.uniform());
  const data = { inputs: normals(N * inputs), targets, ...(seed % 2 === 0 && { weights }) };
  return { network, params: normals(network.parameterCount), other: normals(network.parameterCount), data };
}

const problems = Array.from({ length: 36 }, (_, seed) => problem(seed));
/** All on a real device. */
const some = (device: DeviceKernels): Problem[] => (emulated(device) ? [10, 13, 24].map((i) => problems[i]) : problems);

function close(a: Float64Array, b: Float64Array, label: string): void {
  expect(a.length, label).to.equal(b.length);
  let [difference, size] = [0, 1e-300];
  for (let i = 0; i < a.length; i++) {
    difference = Math.max(difference, Math.abs(a[i] - b[i]));
    size = Math.max(size, Math.abs(b[i]));
  }
  expect(difference / size, label).to.be.below(1e-12);
}

/** Everything that a linearization offers. */
function compare(there: Linearization, here: Linearization, { network, other }: Problem, label: string): void {
  const P = network.parameterCount;
  const random = new Random(7);
  const normals = (n: number): Float64Array => random.normals(new Float64Array(n));
  expect(there.loss, label).to.be.closeTo(here.loss, 1e-13 * (1 + Math.abs(here.loss)));
  expect(there.dataLoss).to.be.closeTo(here.dataLoss, 1e-13 * (1 + Math.abs(here.loss)));
  expect(there.penalty).to.equal(here.penalty);
  expect(there.params).to.deep.equal(here.params);
  close(there.gradient, here.gradient, `gradient: ${label}`);
  close(there.outputs, here.outputs, `outputs: ${label}`);
  close(there.outputsAt(other), here.outputsAt(other), `outputs elsewhere: ${label}`);
  const [lossThere, lossHere] = [there.lossAt(other), here.lossAt(other)];
  expect(lossThere, `loss elsewhere: ${label}`).to.be.closeTo(lossHere, 1e-12 * (1 + Math.abs(lossHere)));
  // More vectors than pass at once.
  for (const m of [1, 3, 35]) {
    const v = normals(P * m);
    close(there.hessianProducts(v, m), here.hessianProducts(v, m), `H V, ${m} columns: ${label}`);
    close(there.gaussNewtonProducts(v, m), here.gaussNewtonProducts(v, m), `G V, ${m} columns: ${label}`);
  }
  const v = normals(P);
  close(there.jacobianProduct(v), here.jacobianProduct(v), `J v: ${label}`);
  const w = normals(here.samples * network.outputs);
  close(there.jacobianTransposedProduct(w), here.jacobianTransposedProduct(w), `J^T w: ${label}`);
  close(there.denseHessian(), here.denseHessian(), `H: ${label}`);
  close(there.denseGaussNewton(), here.denseGaussNewton(), `G: ${label}`);
  for (const [l, point] of there.layers.entries()) {
    const reference = here.layers[l];
    if (point.kind !== 'affine' || reference.kind !== 'affine') throw new Error('affine layers only');
    for (const name of ['input', 'output', 'slope', 'curvature', 'delta'] as const) {
      close(point[name], reference[name], `${name} of layer ${l}: ${label}`);
    }
  }
}

describe('linearizations on a device', () => {
  sayWithoutCard();

  for (const [name, open] of devices) {
    describe(name, () => {
      let device: DeviceKernels;
      useDevice(open, (opened) => (device = opened));

      it('are those of the host: values, derivatives, products and the arrays of every layer', () => {
        for (const [i, each] of some(device).entries()) {
          const { network, params, data } = each;
          const there = network.linearize(params, data, { device });
          expect(there.device).to.equal(device.kind);
          compare(there, network.linearize(params, data), each, `problem ${i}`);
          there.dispose();
          expect(() => there.gradient).to.throw(DeepHessianError, /disposed/);
        }
      });

      it('hand their memory on, and fetch anew what was fetched before', () => {
        for (const each of some(device).slice(0, emulated(device) ? 1 : 8)) {
          const { network, params, other, data } = each;
          const batch = network.batch(data);
          const first = network.linearize(params, batch, { device });
          compare(first, network.linearize(params, batch), each, 'first');
          const { buffers, bytes } = device.memory();
          const second = network.linearize(other, batch, { device, reuse: first });
          expect(() => first.loss && first.gradient).to.throw(DeepHessianError, /taken over/);
          compare(second, network.linearize(other, batch), each, 'second');
          expect(device.memory()).to.include({ buffers, bytes });
          // A linearization of the host does not take it over, and the other way round.
          const host = network.linearize(params, batch, { reuse: second });
          expect(second.gradient.length).to.equal(params.length);
          network.linearize(params, batch, { device, reuse: host }).dispose();
          expect(host.gradient.length).to.equal(params.length);
          second.dispose();
          second.dispose();
        }
      });
    });
  }

  it('send the parameters and the outputs, the inputs once a batch, and what is fetched once', () => {
    const { network, params, other, data } = problems[16];
    const batch = network.batch(data);
    const { device, counters } = instrument(createHostDevice());
    const N = batch.samples;
    const P = network.parameterCount;
    const K = network.outputs;
    let point = network.linearize(params, batch, { device });
    expect(counters.uploaded).to.equal(8 * (batch.inputs.length + P + N * K));
    expect(counters.downloaded).to.equal(8 * (P + N * K));
    expect(counters.bytes).to.be.below(deviceLinearizationBytes(network, N));
    counters.uploaded = counters.downloaded = 0;
    point = network.linearize(other, batch, { device, reuse: point });
    expect(counters.uploaded).to.equal(8 * (P + N * K));
    counters.uploaded = counters.downloaded = 0;
    point.lossAt(params);
    expect([counters.uploaded, counters.downloaded]).to.deep.equal([8 * P, 8 * N * K]);
    counters.uploaded = counters.downloaded = 0;
    point.hessianProduct(params);
    expect([counters.uploaded, counters.downloaded]).to.deep.equal([8 * (P + N * K), 8 * (P + N * K)]);
    expect(counters.bytes).to.equal(deviceLinearizationBytes(network, N));
    counters.downloaded = 0;
    const layer = point.layers[0];
    const bytes = 8 * N * layer.layer.units;
    expect(layer.output).to.equal(layer.output);
    expect(counters.downloaded).to.equal(bytes);
    // Other inputs of the same size.
    const inputs = data.inputs.map((value) => -value);
    point = network.linearize(other, { ...data, inputs }, { device, reuse: point });
    expect(point.loss).to.be.closeTo(network.linearize(other, { ...data, inputs }).loss, 1e-12);
    point.dispose();
    expect(counters.buffers).to.equal(0);
  });

  it('losses far below one and far above keep their digits', () => {
    const network = new Network({
      inputs: 1,
      loss: 'cross-entropy',
      layers: [{ type: 'dense', units: 2, activation: 'identity' }],
    });
    const device = createHostDevice();
    const data = { inputs: Float64Array.of(1), targets: Int32Array.of(0) };
    for (const scale of [1, 30, 300, -1e4]) {
      const params = Float64Array.of(scale, -scale, 0, 0);
      const there = network.linearize(params, data, { device });
      expect(there.loss).to.equal(network.linearize(params, data).loss);
      expect(there.lossAt(params)).to.equal(there.loss);
      there.dispose();
    }
    const point = network.linearize(new Float64Array(4), data, { device });
    expect(point.lossAt(Float64Array.of(1, NaN, 0, 0))).to.equal(Infinity);
    expect(() => point.lossAt(new Float64Array(3))).to.throw(RangeError, /params.*4/);
    point.dispose();
  });

  it('a call that fails is an error, and nothing stays allocated', () => {
    const { network, params, other, data } = problems[16];
    const batch = network.batch(data);
    const work = (device: DeviceKernels): void => {
      let point = network.linearize(params, batch, { device });
      try {
        point = network.linearize(other, batch, { device, reuse: point });
        point.lossAt(params);
        point.hessianProduct(params);
        point.hessianProducts(new Float64Array(2 * params.length).fill(1), 2);
        void (point.layers[0].input.length + point.layers[1].input.length);
      } finally {
        point.dispose();
      }
    };
    const whole = instrument(createHostDevice());
    work(whole.device);
    for (let broken = 0; broken < whole.counters.total; broken++) {
      const { device, counters } = instrument(createHostDevice(), (call, index) => {
        if (index === broken) throw new DeepHessianError('device-lost', `lost at ${call}`);
      });
      expect(() => work(device), `call ${broken}`).to.throw(DeepHessianError, /^lost at /);
      expect(counters.buffers, `buffers after call ${broken}`).to.equal(0);
    }
  });

  it('a device that is not there is refused; custom layers are computed by the host', () => {
    const { network, params, data } = problems[0];
    expect(() => network.linearize(params, data, { device: 'tpu' as 'cuda' })).to.throw(RangeError, /'cpu', 'cuda'/);
    const custom = new Network({
      inputs: 2,
      loss: 'mse',
      layers: [{ type: 'custom', layer: gatedLayer(2, 1) }],
    });
    const device = createHostDevice();
    const start = custom.initialize({ seed: 1 });
    const batch = { inputs: Float64Array.of(1, 2), targets: Float64Array.of(3) };
    expect(custom.linearize(start, batch, { device }).on(device)).to.equal(null);
    expect(device.memory().buffers).to.equal(0);
    if (card.available) return;
    expect(() => network.linearize(params, data, { device: 'cuda' }))
      .to.throw(DeepHessianError, card.reason as string)
      .that.includes({ code: 'device-unavailable' });
    expect(network.linearize(params, data, { device: 'auto' }).device).to.equal('cpu');
  });
});
