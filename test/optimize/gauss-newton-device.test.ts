/** Gauss-Newton with its solves on a device: the CPU's steps, through every control of the damping, and clean failures. */
import { expect } from 'chai';
import { createHostDevice, cudaInfo, instrument, openCudaDevice, type DeviceKernels } from '../../ts/device/index.js';
import { Network } from '../../ts/derivatives/index.js';
import { DeepHessianError } from '../../ts/errors.js';
import { createGaussNewton, type GaussNewtonOptions } from '../../ts/optimize/gauss-newton.js';
import { createOptimizer } from '../../ts/optimize/registry.js';
import { randomBatch } from '../helpers/problems.js';
import { tanhLayer } from '../helpers/smooth-layers.js';
import { Random } from '../../ts/random.js';

const network = new Network({
  inputs: 4,
  loss: 'cross-entropy',
  l2: 0.01,
  layers: [
    { type: 'dense', units: 5, activation: 'tanh' },
    { type: 'residual', units: 5, activation: 'silu' },
    { type: 'dense', units: 3, activation: 'identity' },
  ],
});
const start = network.initialize({ seed: 4 });
const batches = [12, 20].map((samples) => network.batch(randomBatch(new Random(samples), samples, 4, 3, 'classes')));

function train(options: GaussNewtonOptions, steps = 4): { params: Float64Array; losses: number[] } {
  const params = start.slice();
  const optimizer = createGaussNewton(network, options);
  const losses: number[] = [];
  try {
    // Two batch sizes in turn: the memory is sized anew.
    for (let k = 0; k < steps; k++) losses.push(optimizer.step(params, batches[k >> 1]).loss);
  } finally {
    optimizer.dispose?.();
  }
  return { params, losses };
}

const variants: GaussNewtonOptions[] = [
  {},
  { control: 'gain-ratio' },
  { momentum: 0.5, control: 'gain-ratio' },
  { geodesic: true },
];

describe('gauss-newton on a device', () => {
  const devices: [string, () => DeviceKernels][] = [['CPU', () => createHostDevice()]];
  const { available, reason } = cudaInfo();
  if (available) devices.push(['CUDA', () => openCudaDevice()]);
  else {
    it('CUDA', function () {
      console.log(`      not tested: no usable GPU: ${reason}`);
      this.skip();
    });
  }

  for (const [name, open] of devices) {
    it(`${name}: takes the steps of the CPU`, () => {
      for (const options of variants) {
        const device = open();
        const here = train(options);
        const there = train({ ...options, device });
        expect(device.memory().buffers).to.equal(0);
        device.dispose();
        // The same sums in another order; a few steps do not yet magnify that.
        for (let k = 0; k < here.losses.length; k++) expect(there.losses[k]).to.be.closeTo(here.losses[k], 1e-8);
        for (let i = 0; i < start.length; i++) expect(there.params[i]).to.be.closeTo(here.params[i], 1e-6);
        expect(here.losses[1]).to.be.below(here.losses[0]);
      }
    });
  }

  it('a device that fails at any call ends the step with its error, and holds nothing afterwards', () => {
    const whole = instrument(createHostDevice());
    train({ device: whole.device }, 3);
    for (let broken = 0; broken < whole.counters.total; broken += 3) {
      const { device, counters } = instrument(createHostDevice(), (name, index) => {
        if (index === broken) throw new DeepHessianError('device-lost', `lost at ${name}`);
      });
      expect(() => train({ device }, 3), `call ${broken}`)
        .to.throw(DeepHessianError, /^lost at /)
        .that.includes({ code: 'device-lost' });
      expect(counters.buffers).to.equal(0);
    }
  });

  it('a device that is too small is said with the figures', () => {
    const device = createHostDevice({ memoryLimit: 1000 });
    expect(() => train({ device }))
      .to.throw(DeepHessianError, /a batch of 12 samples needs .* but 1\.0 kB of CPU .* is free/)
      .that.includes({ code: 'out-of-memory' });
  });

  it('what a device cannot serve is refused when the optimizer is made', () => {
    const custom = new Network({ inputs: 3, loss: 'mse', layers: [{ type: 'custom', layer: tanhLayer(3, 2) }] });
    expect(() => createGaussNewton(custom, { device: createHostDevice() })).to.throw(DeepHessianError, /custom layers/);
    expect(() => createGaussNewton(network, { device: 'tpu' as 'cuda' })).to.throw(RangeError, /'cpu', 'cuda', 'auto'/);
    if (available) return;
    for (const make of [
      () => createGaussNewton(network, { device: 'cuda' }),
      () => createOptimizer('gauss-newton', network, {}, 'cuda'),
    ]) {
      expect(make)
        .to.throw(DeepHessianError, reason as string)
        .that.includes({ code: 'device-unavailable' });
    }
    expect(train({ device: 'auto' })).to.deep.equal(train({}));
  });
});
