/**
 * The recursion over the layers on a device against the same recursion on the CPU and against dense matrices. On the CPU
 * behind the device interface, and on a card where there is one.
 */
import { expect } from 'chai';
import { createHostDevice, instrument, measureRates, modelSeconds, type DeviceKernels } from '../../ts/device/index.js';
import { Network, type Linearization } from '../../ts/derivatives/index.js';
import { DeepHessianError } from '../../ts/errors.js';
import {
  chainWork,
  ChainFactor,
  DenseFactor,
  DeviceChainFactor,
  estimateCosts,
  factor,
  factorShifted,
} from '../../ts/inverse/index.js';
import type { LayerSpec, SmoothLayer } from '../../ts/network/index.js';
import { Random } from '../../ts/random.js';
import { goldenCases, relativeError } from '../helpers/golden.js';
import { couplingLayer, gatedLayer } from '../helpers/smooth-layers.js';
import { devices, emulated, sayWithoutCard, useDevice } from '../helpers/devices.js';
import { describeShape, randomPoint, shapes } from './helpers.js';

const matrices = ['hessian', 'gauss-newton'] as const;

/** Everything on a real device. */
const some = <T>(all: readonly T[], device: DeviceKernels, every: number): T[] =>
  emulated(device) ? all.filter((_, i) => i % every === 0) : [...all];

const randomVector = (n: number, seed = 3): Float64Array => new Random(seed).normals(new Float64Array(n));

interface Case {
  name: string;
  inputs: number;
  samples: number;
  layers: LayerSpec[];
  loss: 'mse' | 'cross-entropy' | 'binary-cross-entropy';
}

const dense = (units: number, more: Partial<LayerSpec> = {}): LayerSpec =>
  ({ type: 'dense', units, activation: 'tanh', ...more }) as LayerSpec;
const identity = { activation: 'identity' } as const;
const residual = { type: 'residual' } as const;

const custom = (layer: SmoothLayer): LayerSpec => ({ type: 'custom', layer });

/** What the random shapes do not have. */
const cases: Case[] = [
  // fan-in above N in the first layer only, as with images; widths that change
  { name: 'wide first layer', inputs: 40, samples: 6, layers: [dense(3), dense(5), dense(4, identity)], loss: 'mse' },
  // more units than samples in the middle: the tiled deltas of the cross term
  {
    name: 'layers wider than the batch',
    inputs: 4,
    samples: 3,
    layers: [dense(9), dense(7, { activation: 'softplus' }), dense(8), dense(2, identity)],
    loss: 'cross-entropy',
  },
  {
    name: 'residual first layer',
    inputs: 4,
    samples: 5,
    layers: [dense(4, residual), dense(3, identity)],
    loss: 'mse',
  },
  {
    name: 'identity layers, plain and residual',
    inputs: 3,
    samples: 7,
    layers: [dense(4, identity), dense(4, { ...identity, ...residual }), dense(4), dense(2, identity)],
    loss: 'binary-cross-entropy',
  },
  {
    name: 'a residual layer on the sample side',
    inputs: 6,
    samples: 2,
    layers: [dense(5), dense(5, { ...residual, bias: false }), dense(5, residual), dense(3, identity)],
    loss: 'cross-entropy',
  },
  // act'' = 0 almost everywhere
  { name: 'relu', inputs: 3, samples: 9, layers: [dense(6, { activation: 'relu' }), dense(2, identity)], loss: 'mse' },
  {
    name: 'custom layers among built-in ones',
    inputs: 12,
    samples: 4,
    layers: [dense(3), custom(gatedLayer(3, 4)), dense(4, residual), custom(couplingLayer(4)), dense(2, identity)],
    loss: 'cross-entropy',
  },
  {
    name: 'custom layers only',
    inputs: 3,
    samples: 5,
    layers: [custom(gatedLayer(3, 4)), custom(couplingLayer(4))],
    loss: 'mse',
  },
  { name: 'one layer', inputs: 5, samples: 4, layers: [dense(3, identity)], loss: 'cross-entropy' },
  { name: 'one unit', inputs: 1, samples: 4, layers: [dense(1), dense(1), dense(1, identity)], loss: 'mse' },
];

function pointOf({ inputs, samples, layers, loss }: Case): Linearization {
  const network = new Network({ inputs, loss, layers });
  const random = new Random(11);
  const params = random.normals(new Float64Array(network.parameterCount));
  const x = random.normals(new Float64Array(samples * inputs));
  const K = network.outputs;
  const targets =
    loss === 'cross-entropy'
      ? Int32Array.from({ length: samples }, () => random.integer(K))
      : Float64Array.from({ length: samples * K }, () => (loss === 'mse' ? random.normal() : random.integer(2)));
  return network.linearize(params, { inputs: x, targets });
}

/** The device's factor and both references at one shift: inertia, determinant, and the solution of two right-hand sides. */
function compare(
  device: DeviceKernels,
  point: Linearization,
  general: boolean,
  label: string,
  shifts: number[],
  single = false,
): void {
  const P = point.network.parameterCount;
  for (const matrix of matrices) {
    const there = new DeviceChainFactor(device, point, matrix, general, single);
    const here = new ChainFactor(point, matrix, general, single);
    const whole = new DenseFactor(point, matrix, false);
    for (const shift of shifts) {
      const where = `${label}, ${general ? 'block' : 'affine'}, ${matrix}, shift ${shift}`;
      expect(there.factor(shift), where).to.equal(true);
      expect(here.factor(shift)).to.equal(true);
      whole.factor(shift);
      const { positive, negative, zero, logAbsDet } = there.totals;
      expect({ positive, negative, zero }, where).to.deep.equal({
        positive: whole.totals.positive,
        negative: whole.totals.negative,
        zero: 0,
      });
      expect(logAbsDet, where).to.be.closeTo(whole.totals.logAbsDet, (single ? 1e-3 : 1e-8) * P);
      const g = randomVector(2 * P);
      const [x, y, z] = [new Float64Array(2 * P), new Float64Array(2 * P), new Float64Array(2 * P)];
      there.solve(g, x, 2);
      here.solve(g, y, 2);
      whole.solve(g, z, 2);
      // The same equations in another order of summation, at conditions up to 1e5: 2^-53 and 2^-24 times that, and room.
      expect(relativeError(x, y), `against the recursion: ${where}`).to.be.below(single ? 0.05 : 1e-9);
      expect(relativeError(x, z), `against the dense matrix: ${where}`).to.be.below(single ? 0.05 : 1e-9);
    }
    there.dispose();
  }
}

describe('the recursion over the layers on a device', () => {
  sayWithoutCard();

  for (const [name, open] of devices) {
    describe(name, () => {
      let device: DeviceKernels;
      useDevice(open, (opened) => (device = opened));

      it('solutions, inertia and determinants of every shape are those of the CPU and of the dense matrix', () => {
        for (const shape of some(shapes, device, 17)) {
          for (const general of [false, true]) {
            compare(
              device,
              randomPoint(shape),
              general,
              describeShape(shape),
              emulated(device) ? [-0.05] : [0.7, -0.05],
            );
          }
        }
      });

      for (const item of cases) {
        it(`${item.name}: the same`, () => {
          for (const general of [false, true]) compare(device, pointOf(item), general, item.name, [0.5, -0.13]);
        });
      }

      it('in single precision, to its digits', () => {
        for (const shape of some(shapes, device, 36).filter((_, i) => i % 7 === 0)) {
          for (const general of [false, true]) {
            compare(device, randomPoint(shape), general, describeShape(shape), [2], true);
          }
        }
      });

      it('golden cases: the solutions of automatic differentiation, in both precisions', () => {
        for (const golden of some(goldenCases(), device, 5)) {
          const { network, params, inputs, targets, metadata } = golden;
          const point = network.linearize(params, { inputs, targets });
          for (const precision of ['float64', 'mixed'] as const) {
            const label = `${metadata.name}, ${precision}`;
            for (const [i, eps] of metadata.eps.entries()) {
              const f = factor(point, { damping: eps, method: 'affine', device, precision });
              expect([f.method, f.device], label).to.deep.equal(['affine', device.kind]);
              const { residual: rest, status, x } = f.solve(golden.array('grad'));
              expect(status, label).to.equal('converged');
              expect(rest, label).to.be.at.most(1e-10);
              const condition = metadata.hessian_cond_per_eps[i];
              const dense = factor(point, { damping: eps, method: 'dense' });
              // Both residuals are at most 1e-10.
              expect(relativeError(x, dense.solve(golden.array('grad')).x), label).to.be.below(2e-10 * condition);
              expect(f.inertia, label).to.deep.equal(dense.inertia);
              f.dispose();
              dense.dispose();
            }
          }
        }
      });

      it('the unrefined residual of a definite system is at the size of rounding', () => {
        const point = pointOf(cases[1]);
        const P = point.network.parameterCount;
        const there = new DeviceChainFactor(device, point, 'gauss-newton', false);
        there.factor(0.5);
        const g = randomVector(P);
        const [x, back] = [new Float64Array(P), new Float64Array(P)];
        there.solve(g, x, 1);
        point.gaussNewtonProduct(x, back);
        for (let i = 0; i < P; i++) back[i] += 0.5 * x[i];
        expect(relativeError(back, g)).to.be.below(1e-12);
        there.dispose();
      });

      it('many right-hand sides at once are those one by one', () => {
        const point = randomPoint(shapes[5]);
        const P = point.network.parameterCount;
        const there = new DeviceChainFactor(device, point, 'hessian', false);
        there.factor(0.4);
        const m = emulated(device) ? 3 : 70;
        const g = randomVector(P * m);
        const x = new Float64Array(P * m);
        there.solve(g, x, m);
        const one = new Float64Array(P);
        for (const c of [0, 1, m - 1]) {
          there.solve(g.subarray(c * P, (c + 1) * P), one, 1);
          expect(relativeError(x.subarray(c * P, (c + 1) * P), one), `column ${c}`).to.be.below(1e-10);
        }
        there.dispose();
      });

      it('any shift through factorShifted: counts on both sides of an eigenvalue', () => {
        const point = randomPoint(shapes[4]);
        for (const shift of [-0.3, 0.02]) {
          const f = factorShifted(point, { shift, method: 'affine', device });
          const dense = factorShifted(point, { shift, method: 'dense' });
          expect(f.device).to.equal(device.kind);
          expect(f.inertia).to.deep.equal(dense.inertia);
          f.dispose();
          dense.dispose();
        }
      });
    });
  }

  it('holds what was foreseen, and is refused with the figures before anything is allocated', () => {
    const kinds = matrices.flatMap((matrix) =>
      [false, true].flatMap((general) => [false, true].map((single) => ({ matrix, general, single }))),
    );
    for (const { matrix, general, single } of kinds) {
      for (const point of [randomPoint(shapes[0]), randomPoint(shapes[4]), ...cases.map(pointOf)]) {
        const { network, samples } = point;
        const bytes = DeviceChainFactor.estimateBytes(network, samples, matrix, general, single);
        const exact = createHostDevice({ memoryLimit: bytes });
        const f = new DeviceChainFactor(exact, point, matrix, general, single);
        expect(exact.memory().bytes).to.equal(bytes);
        f.factor(0.5);
        const P = network.parameterCount;
        f.solve(randomVector(P), new Float64Array(P), 1);
        // No memory for a second right-hand side: one after the other.
        const [x, y] = [new Float64Array(2 * P), new Float64Array(2 * P)];
        f.solve(randomVector(2 * P), x, 2);
        const roomy = createHostDevice();
        const other = new DeviceChainFactor(roomy, point, matrix, general, single);
        other.factor(0.5);
        other.solve(randomVector(2 * P), y, 2);
        expect(relativeError(x, y)).to.be.below(single ? 1e-2 : 1e-9);
        expect(exact.memory().bytes).to.equal(bytes);
        f.dispose();
        f.dispose();
        other.dispose();
        expect(exact.memory().buffers + roomy.memory().buffers).to.equal(0);
        expect(() => f.factor(1)).to.throw(DeepHessianError, /disposed/);
        expect(() => f.solve(x, y, 1)).to.throw(DeepHessianError, /disposed/);
      }
    }
    const point = pointOf(cases[0]);
    const bytes = DeviceChainFactor.estimateBytes(point.network, point.samples, 'hessian', false);
    const { device, counters } = instrument(createHostDevice({ memoryLimit: bytes - 1 }));
    expect(() => factor(point, { damping: 1, method: 'affine', device }))
      .to.throw(DeepHessianError, /needs .* is free; use fewer samples or the CPU/)
      .that.deep.includes({ code: 'out-of-memory', details: { bytes, free: bytes - 1 } });
    expect(counters.calls.allocate ?? 0).to.equal(0);
    const small = createHostDevice({ memoryLimit: bytes - 1 });
    expect(() => new DeviceChainFactor(small, point, 'hessian', false)).to.throw(DeepHessianError, /allocate: needs/);
    expect(small.memory().buffers).to.equal(0);
  });

  it('what an operation cannot count is refused before anything is allocated', () => {
    const network = new Network({ inputs: 2, loss: 'mse', layers: [dense(40), dense(40), dense(2, identity)] });
    const { device, counters } = instrument(createHostDevice());
    const point = { network, samples: 2000 } as unknown as Linearization;
    expect(() => new DeviceChainFactor(device, point, 'hessian', false))
      .to.throw(
        DeepHessianError,
        /needs a matrix of 6400000000 numbers, but an operation of a device counts to 2147483647/,
      )
      .that.includes({ code: 'unsupported' });
    expect(counters.total).to.equal(0);
  });

  it('no matrix travels: status, pivots and one diagonal a factorization, a vector each way a solve', () => {
    for (const matrix of matrices) {
      const point = randomPoint(shapes[4]);
      const P = point.network.parameterCount;
      const { device, counters } = instrument(createHostDevice());
      const f = new DeviceChainFactor(device, point, matrix, false);
      const held = counters.bytes;
      const controls = point.network.layers.reduce(
        (sum, { units, inputs }) => sum + units * Math.min(12, inputs + 1),
        0,
      );
      let { uploaded, downloaded } = counters;
      f.factor(0.1);
      expect(counters.uploaded).to.equal(uploaded);
      // One diagonal entry a control.
      expect(counters.downloaded - downloaded).to.equal(8 * controls);
      expect(held).to.be.greaterThan(50 * (counters.downloaded - downloaded));
      const { calls, buffers } = counters;
      const allocations = calls.allocate;
      ({ uploaded, downloaded } = counters);
      f.solve(randomVector(P), new Float64Array(P), 1);
      expect([counters.uploaded - uploaded, counters.downloaded - downloaded]).to.deep.equal([8 * P, 8 * P]);
      f.factor(0.2);
      f.solve(randomVector(P), new Float64Array(P), 1);
      expect([counters.calls.allocate, counters.buffers], 'workspace is used again').to.deep.equal([
        allocations,
        buffers,
      ]);
      f.dispose();
      expect(counters.buffers).to.equal(0);
    }
  });

  it('the work model counts calls and transfers as they are', () => {
    for (const item of cases) {
      for (const [matrix, general] of [
        ['hessian', false],
        ['gauss-newton', false],
        ['hessian', true],
      ] as const) {
        const point = pointOf(item);
        const { network, samples } = point;
        const { device, counters } = instrument(createHostDevice());
        const f = new DeviceChainFactor(device, point, matrix, general);
        f.factor(-0.1);
        const P = network.parameterCount;
        f.solve(randomVector(P), new Float64Array(P), 1);
        f.dispose();
        const name = general ? 'block' : 'affine';
        const estimate = estimateCosts(network, samples, matrix).find(({ method }) => method === name)!;
        const work = chainWork(network, samples, matrix, estimate);
        expect(work.calls / counters.total, item.name).to.be.within(0.6, 2.5);
        const travelled = counters.uploaded + counters.downloaded;
        expect(work.transferred, item.name).to.be.within(0.9 * travelled, 3 * travelled);
        expect(work.order).to.have.length(network.layers.length);
        expect(work.products).to.be.greaterThan(0);
      }
    }
  });

  it('the model adds the factorizations of all stages, twice where they may be indefinite', () => {
    const rates = { products: 1e12, factor: 1e9, indefinite: 5e8, factorOrder: 10, call: 1e-3, transfer: 1e6 };
    const work = { products: 2e12, order: [10, 5, 20, 0], calls: 7, transferred: 3e6 };
    // 1000/3 at 1e9, 125/3 at half of it, 8000/3 at 1e9
    const definite = (1000 + 250 + 8000) / 3e9;
    expect(modelSeconds(work, rates)).to.be.closeTo(2 + 0.007 + 3 + definite, 1e-12);
    expect(modelSeconds({ ...work, indefinite: true }, rates)).to.be.closeTo(2 + 0.007 + 3 + 3 * definite, 1e-12);
    expect(modelSeconds({ ...work, order: 20, host: 1 }, rates)).to.be.closeTo(6.007 + 8000 / 3e9, 1e-12);
    const { indefinite, factor: rate, factorOrder } = measureRates(createHostDevice(), 64);
    expect(indefinite).to.be.greaterThan(0);
    expect(rate).to.be.greaterThan(0);
    expect(factorOrder).to.equal(64);
  });

  describe('whatever fails', () => {
    for (const matrix of matrices) {
      for (const item of [
        cases[1],
        cases[4],
        cases.find(({ name }) => name === 'custom layers among built-in ones')!,
      ]) {
        it(`${item.name}, ${matrix}: an error at any call is the one that is seen, and nothing stays allocated`, () => {
          const point = pointOf(item);
          const P = point.network.parameterCount;
          const job = (device: DeviceKernels): void => {
            const f = factorShifted(point, { matrix, shift: -0.2, method: 'affine', device, onFailure: 'return' });
            try {
              f.solve(point.gradient);
              f.refactorShifted(0.4);
              f.solveMany(randomVector(2 * P), 2);
            } finally {
              f.dispose();
            }
          };
          const whole = instrument(createHostDevice());
          job(whole.device);
          expect(whole.counters.buffers).to.equal(0);
          expect(whole.counters.total).to.be.greaterThan(150);
          for (let broken = 0; broken < whole.counters.total; broken++) {
            const { device, counters } = instrument(createHostDevice(), (call, index) => {
              if (index === broken) throw new DeepHessianError('device-lost', `${call} was the last call`);
            });
            expect(() => job(device), `call ${broken}`).to.throw(DeepHessianError, /was the last call$/);
            expect(counters.buffers, `buffers after call ${broken}`).to.equal(0);
          }
        });
      }
    }
  });
});
