/** The optimizers with their solves on a device: the CPU's steps, by every control of the damping, and clean failures. */
import { expect } from 'chai';
import { createHostDevice, instrument, type DeviceKernels } from '../../ts/device/index.js';
import { Network } from '../../ts/derivatives/index.js';
import { DeepHessianError } from '../../ts/errors.js';
import { createDampedNewton } from '../../ts/optimize/damped-newton.js';
import { createGaussNewton } from '../../ts/optimize/gauss-newton.js';
import { createHessianFree } from '../../ts/optimize/hessian-free.js';
import { createNewton } from '../../ts/optimize/newton.js';
import type { Optimizer } from '../../ts/optimize/optimizer.js';
import { createOptimizer, optimizerEntries } from '../../ts/optimize/registry.js';
import { card, devices, sayWithoutCard } from '../helpers/devices.js';
import { randomBatch } from '../helpers/problems.js';
import { gatedLayer } from '../helpers/smooth-layers.js';
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
const mixed = new Network({
  inputs: 4,
  loss: 'cross-entropy',
  l2: 0.01,
  layers: [
    { type: 'dense', units: 5, activation: 'tanh' },
    { type: 'custom', layer: gatedLayer(5, 3) },
  ],
});
const batches = [12, 20].map((samples) => network.batch(randomBatch(new Random(samples), samples, 4, 3, 'classes')));

type Make = (device?: DeviceKernels | 'cpu' | 'cuda' | 'auto') => Optimizer;

function train(net: Network, make: () => Optimizer, steps = 4): { params: Float64Array; losses: number[] } {
  const params = net.initialize({ seed: 4 });
  const optimizer = make();
  const losses: number[] = [];
  try {
    // Two batch sizes in turn: the memory is sized anew.
    for (let k = 0; k < steps; k++) losses.push(optimizer.step(params, batches[k >> 1]).loss);
  } finally {
    optimizer.dispose?.();
  }
  return { params, losses };
}

const variants: [string, Network, Make][] = [
  ['gauss-newton', network, (device) => createGaussNewton(network, { device })],
  ['gauss-newton, gain ratio', network, (device) => createGaussNewton(network, { control: 'gain-ratio', device })],
  [
    'gauss-newton, momentum',
    network,
    (device) => createGaussNewton(network, { momentum: 0.5, control: 'gain-ratio', device }),
  ],
  ['gauss-newton, geodesic', network, (device) => createGaussNewton(network, { geodesic: true, device })],
  ['gauss-newton, mixed precision', network, (device) => createGaussNewton(network, { precision: 'mixed', device })],
  ['gauss-newton, custom layers', mixed, (device) => createGaussNewton(mixed, { device })],
  ['newton', network, (device) => createNewton(network, { inertia: true, device })],
  ['newton, custom layers, mixed precision', mixed, (device) => createNewton(mixed, { precision: 'mixed', device })],
  ['hessian-free', network, (device) => createHessianFree(network, { preconditioner: 'kfac', device })],
  [
    'hessian-free, MINRES on the Hessian',
    network,
    (device) => createHessianFree(network, { curvature: 'hessian', device }),
  ],
  ['hessian-free, custom layers', mixed, (device) => createHessianFree(mixed, { device })],
  ['damped-newton', network, (device) => createDampedNewton(network, { frequency: 2, device })],
  [
    'damped-newton, Gauss-Newton matrix',
    network,
    (device) => createDampedNewton(network, { matrix: 'gauss-newton', device }),
  ],
];

describe('optimizers on a device', () => {
  sayWithoutCard();

  for (const [name, open] of devices) {
    for (const [label, net, make] of variants) {
      it(`${name}, ${label}: takes the steps of the CPU`, () => {
        const { device, counters } = instrument(open());
        const here = train(net, () => make());
        const there = train(net, () => make(device));
        // Hessian-free has nothing to factor; the host computes what custom layers do.
        const work = label.startsWith('hessian-free') ? counters.calls.gemmBatch : counters.calls.potrf;
        if (label !== 'hessian-free, custom layers') expect(work).to.be.greaterThan(0);
        expect(device.memory().buffers).to.equal(0);
        device.dispose();
        // The same sums in another order; a few steps do not yet magnify that. Newton solves to 1e-8, damped Newton to 1e-6.
        const tolerance = label.includes('damped') ? 1e-4 : 1e-6;
        for (let k = 0; k < here.losses.length; k++) {
          expect(there.losses[k]).to.be.closeTo(here.losses[k], 0.01 * tolerance);
        }
        for (let i = 0; i < here.params.length; i++) expect(there.params[i]).to.be.closeTo(here.params[i], tolerance);
        expect(here.losses[1]).to.be.below(here.losses[0]);
      });
    }
  }

  for (const [label, net, make] of [0, 3, 4, 5, 6, 8, 11].map((i) => variants[i])) {
    it(`${label}: a device that fails at any call ends the step with its error, and holds nothing afterwards`, () => {
      const whole = instrument(createHostDevice());
      train(net, () => make(whole.device), 3);
      const stride = Math.max(3, Math.ceil(whole.counters.total / 200));
      for (let broken = 0; broken < whole.counters.total; broken += stride) {
        const { device, counters } = instrument(createHostDevice(), (name, index) => {
          if (index === broken) throw new DeepHessianError('device-lost', `lost at ${name}`);
        });
        expect(() => train(net, () => make(device), 3), `call ${broken}`)
          .to.throw(DeepHessianError, /^lost at /)
          .that.includes({ code: 'device-lost' });
        expect(counters.buffers, `buffers after call ${broken}`).to.equal(0);
      }
    });
  }

  it('a device that is too small is said with the figures', () => {
    const device = createHostDevice({ memoryLimit: 1000 });
    const [first, newton] = [variants[0][2], variants[6][2]];
    expect(() => train(network, () => first(device)))
      .to.throw(DeepHessianError, /a batch of 12 samples needs .* but 1\.0 kB of CPU .* is free/)
      .that.includes({ code: 'out-of-memory' });
    expect(() => train(network, () => newton(device)))
      .to.throw(DeepHessianError, /needs .* but 1\.0 kB of CPU .* is free/)
      .that.includes({ code: 'out-of-memory' });
  });

  it('what is not there is refused when the optimizer is made', () => {
    for (const [label, , make] of variants) {
      expect(() => make('tpu' as 'cuda'), label).to.throw(RangeError, /'cpu', 'cuda', 'auto'/);
    }
    if (card.available) return;
    for (const [label, , make] of variants) {
      expect(() => make('cuda'), label)
        .to.throw(DeepHessianError, card.reason as string)
        .that.includes({ code: 'device-unavailable' });
    }
    for (const { name } of optimizerEntries.filter(({ onDevice }) => onDevice === true)) {
      expect(() => createOptimizer(name, network, {}, 'cuda'), name)
        .to.throw(DeepHessianError)
        .that.includes({ code: 'device-unavailable' });
    }
    for (const [label, net, make] of variants) {
      expect(
        train(net, () => make('auto')),
        label,
      ).to.deep.equal(train(net, () => make()));
    }
  });
});
