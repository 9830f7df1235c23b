/**
 * Factors on a device against those on the CPU: the same solutions, nothing left in its memory, and an error at any of its
 * calls. On the CPU behind the device interface, and on a card where there is one.
 */
import { expect } from 'chai';
import { createHostDevice, instrument, type DeviceKernels } from '../../ts/device/index.js';
import type { Linearization, Network } from '../../ts/derivatives/index.js';
import { DeepHessianError } from '../../ts/errors.js';
import {
  DeviceSampleSpaceFactor,
  estimateFactor,
  factor,
  SampleSpaceFactor,
  type Factor,
} from '../../ts/inverse/index.js';
import { Random } from '../../ts/random.js';
import { card, devices, emulated, sayWithoutCard, useDevice } from '../helpers/devices.js';
import { describeShape, randomPoint, shapes } from './helpers.js';

function relative(a: Float64Array, b: Float64Array): number {
  let [difference, size] = [0, 0];
  for (let i = 0; i < a.length; i++) {
    difference = Math.max(difference, Math.abs(a[i] - b[i]));
    size = Math.max(size, Math.abs(b[i]));
  }
  return difference / size;
}

/** Every shape on a real device. */
const some = <T>(all: readonly T[], device: DeviceKernels, every: number): T[] =>
  all.filter((_, i) => i % (emulated(device) ? 9 * every : every) === 0);

const randomVector = (n: number, seed = 3): Float64Array => new Random(seed).normals(new Float64Array(n));

describe('factors on a device', () => {
  sayWithoutCard();

  for (const [name, open] of devices) {
    describe(name, () => {
      let device: DeviceKernels;
      useDevice(open, (opened) => (device = opened));

      it('sample space: steps, solves and determinants of every shape are those of the CPU', () => {
        for (const shape of some(shapes, device, 1)) {
          const point = randomPoint(shape);
          const P = point.network.parameterCount;
          for (const side of ['samples', 'parameters'] as const) {
            const there = new DeviceSampleSpaceFactor(device, point.network, point.samples, false, side);
            const here = new SampleSpaceFactor(point.network, point.samples, side);
            there.assemble(point);
            here.assemble(point);
            const [a, b] = [new Float64Array(2 * P), new Float64Array(2 * P)];
            for (const damping of [0.3, 0.02]) {
              expect(there.factor(damping)).to.equal(here.factor(damping));
              const label = `${describeShape(shape)}, ${side}, damping ${damping}`;
              there.step(a.subarray(0, P));
              here.step(b.subarray(0, P));
              // The same operations in another order, at a condition of |G| / damping below 1e4.
              expect(relative(a.subarray(0, P), b.subarray(0, P)), `step: ${label}`).to.be.below(1e-10);
              const g = randomVector(2 * P);
              there.solve(g, a, 2);
              here.solve(g, b, 2);
              expect(relative(a, b), `solve: ${label}`).to.be.below(1e-10);
              expect(there.totals.logAbsDet, label).to.be.closeTo(here.totals.logAbsDet, 1e-9 * P);
              expect(there.totals.positive).to.equal(P);
            }
            there.dispose();
            expect(() => there.factor(1)).to.throw(DeepHessianError, /disposed/);
          }
        }
      });

      it('a new point of the same network uses the same memory', () => {
        const [first, second] = [randomPoint(shapes[0], 1), randomPoint(shapes[0], 2)];
        const there = new DeviceSampleSpaceFactor(device, first.network, first.samples);
        const { buffers, bytes } = device.memory();
        expect(there.deviceBytes).to.equal(bytes);
        expect(DeviceSampleSpaceFactor.estimateBytes(first.network, first.samples)).to.equal(bytes);
        const x = new Float64Array(first.network.parameterCount);
        for (const point of [first, second, first]) {
          there.assemble(point);
          there.factor(0.1);
          there.step(x);
          const here = new SampleSpaceFactor(point.network, point.samples);
          here.assemble(point);
          here.factor(0.1);
          const y = new Float64Array(x.length);
          here.step(y);
          expect(relative(x, y)).to.be.below(1e-10);
        }
        expect(device.memory()).to.include({ buffers, bytes });
        there.dispose();
      });

      it('a point in its memory is factored where it is, with the results of one on the host', () => {
        const { device: counted, counters } = instrument(device);
        for (const shape of some(shapes, device, 5)) {
          const here = randomPoint(shape);
          const { network, samples, params, batch } = here;
          const point = (network as Network).linearize(params, batch, { device: counted });
          const P = network.parameterCount;
          for (const precision of ['float64', 'mixed'] as const) {
            for (const method of ['sample-space', 'affine', 'dense'] as const) {
              const matrix = method === 'sample-space' ? 'gauss-newton' : 'hessian';
              const damping = matrix === 'hessian' ? 0.7 : 0.3;
              const label = `${describeShape(shape)}, ${method}, ${precision}`;
              const options = { matrix, damping, method, precision } as const;
              const [f, reference] = [point, here].map((each) => factor(each, { ...options, device: counted }));
              const [x, y] = [f, reference].map((each) => each.solve(here.gradient));
              expect(x.status, label).to.equal('converged');
              expect(relative(x.x, y.x), label).to.be.below(1e-9);
              expect(f.inertia, label).to.deep.equal(reference.inertia);
              f.dispose();
              reference.dispose();
            }
          }
          const raw = new DeviceSampleSpaceFactor(counted, network, samples);
          counters.uploaded = 0;
          raw.assemble(point);
          // R^T alone
          expect(counters.uploaded).to.equal(8 * raw.rows * network.outputs);
          raw.assemble(here);
          expect(counters.uploaded).to.be.greaterThan(8 * (raw.rows * network.outputs + P));
          raw.dispose();
          point.dispose();
        }
      });

      it('factor() with a device: exact solves for both matrices, inertia, and a tighter precision than the factor’s', () => {
        for (const shape of some(shapes, device, 5)) {
          const point = randomPoint(shape);
          for (const matrix of ['hessian', 'gauss-newton'] as const)
            for (const precision of ['float64', 'mixed'] as const) {
              const damping = 0.7;
              const here = factor(point, { matrix, damping, method: 'dense' });
              const there = factor(point, { matrix, damping, device, precision });
              const label = `${describeShape(shape)}, ${matrix}, ${precision}`;
              expect(['affine', 'dense', 'sample-space'], label).to.include(there.method);
              expect(there.device).to.equal(device.kind);
              expect(there.reason).to.include(device.name);
              const { x, residual, status } = there.solve(point.gradient);
              expect(status, label).to.equal('converged');
              expect(residual).to.be.at.most(1e-10);
              expect(relative(x, here.solve(point.gradient).x), label).to.be.below(1e-7);
              expect(there.inertia, label).to.deep.equal(here.inertia);
              const tolerance = precision === 'mixed' ? 1e-4 : 1e-8;
              expect(there.logAbsDet).to.be.closeTo(here.logAbsDet, tolerance * x.length);
              there.refactor(2);
              expect(there.solve(point.gradient).residual).to.be.at.most(1e-10);
              there.dispose();
              here.dispose();
            }
        }
      });
    });
  }

  describe('whatever fails', () => {
    let point: Linearization;
    before(() => (point = randomPoint(shapes[3])));

    /** Everything that a factor does, on a device that may fail. */
    const job = (device: DeviceKernels, matrix: 'hessian' | 'gauss-newton'): void => {
      const f = factor(point, { matrix, damping: 0.2, device });
      try {
        f.solve(point.gradient);
        f.refactor(0.4);
        f.solveMany(randomVector(2 * point.network.parameterCount), 2);
      } finally {
        f.dispose();
      }
    };

    for (const matrix of ['hessian', 'gauss-newton'] as const) {
      it(`${matrix}: an error at any call of the device is the one that is seen, and nothing stays allocated`, () => {
        const whole = instrument(createHostDevice());
        job(whole.device, matrix);
        expect(whole.counters.buffers).to.equal(0);
        expect(whole.counters.total).to.be.greaterThan(20);
        for (let broken = 0; broken < whole.counters.total; broken++) {
          const { device, counters } = instrument(createHostDevice(), (name, index) => {
            if (index === broken) throw new DeepHessianError('device-lost', `${name} was the last call`);
          });
          expect(() => job(device, matrix), `call ${broken}`).to.throw(DeepHessianError, /was the last call$/);
          expect(counters.buffers, `buffers after call ${broken}`).to.equal(0);
        }
      });
    }

    it('a device that is too small is refused with the figures before anything is allocated', () => {
      const needed = DeviceSampleSpaceFactor.estimateBytes(point.network, point.samples);
      const { device, counters } = instrument(createHostDevice({ memoryLimit: needed - 1 }));
      const thrown = (work: () => void): DeepHessianError => {
        try {
          work();
        } catch (error) {
          return error as DeepHessianError;
        }
        return expect.fail('nothing was thrown');
      };
      const asked = { matrix: 'gauss-newton', method: 'sample-space', damping: 1, device } as const;
      const { code, details } = thrown(() => factor(point, asked));
      expect(code).to.equal('out-of-memory');
      expect(details).to.deep.equal({ bytes: needed, free: needed - 1 });
      expect(counters.calls.allocate ?? 0).to.equal(0);
      const enough = createHostDevice({ memoryLimit: needed });
      factor(point, { ...asked, device: enough }).dispose();
      expect(enough.memory().buffers).to.equal(0);
      // The factor itself, made without asking first.
      const small = createHostDevice({ memoryLimit: needed - 1 });
      expect(thrown(() => new DeviceSampleSpaceFactor(small, point.network, point.samples)).code).to.equal(
        'out-of-memory',
      );
      expect(small.memory().buffers).to.equal(0);
    });

    it('the matrix does not travel', () => {
      const wide = randomPoint({ ...shapes[3], samples: 40 });
      const { device, counters } = instrument(createHostDevice());
      const f = factor(wide, { matrix: 'gauss-newton', method: 'sample-space', damping: 1, device });
      const { uploaded, downloaded } = counters;
      f.refactor(0.1);
      // One diagonal and no more.
      expect(counters.uploaded - uploaded).to.equal(0);
      expect(counters.downloaded - downloaded).to.equal(
        8 * (f as unknown as { raw: DeviceSampleSpaceFactor }).raw.order,
      );
      f.dispose();
    });

    it('every method that serves the network on the CPU does so there, and a mistaken device is named', () => {
      for (const matrix of ['hessian', 'gauss-newton'] as const) {
        for (const { method, unavailable } of estimateFactor(point, matrix)) {
          const device = createHostDevice();
          const make = (): Factor => factor(point, { matrix, damping: 1, method, device });
          if (unavailable !== null) {
            expect(make).to.throw(DeepHessianError, unavailable).that.includes({ code: 'unsupported' });
            continue;
          }
          const f = make();
          expect([f.method, f.solve(point.gradient).status], `${method}, ${matrix}`).to.deep.equal([
            method,
            'converged',
          ]);
          f.dispose();
        }
      }
      expect(() => factor(point, { damping: 1, device: 'tpu' as 'cuda' })).to.throw(
        RangeError,
        /'cpu', 'cuda', 'auto'/,
      );
    });

    it("device 'cuda' without a card is an error with the reason, 'auto' falls back and says so", function () {
      if (card.available) return this.skip();
      expect(() => factor(point, { damping: 1, device: 'cuda' }))
        .to.throw(DeepHessianError, card.reason as string)
        .that.includes({ code: 'device-unavailable' });
      const f = factor(point, { damping: 1, device: 'auto' });
      expect(f.device).to.equal('cpu');
      expect(f.reason).to.include('on the CPU: no usable GPU: ').and.to.include(card.reason);
      const plain = factor(point, { damping: 1 });
      expect(f.method).to.equal(plain.method);
      expect(f.solve(point.gradient).x).to.deep.equal(plain.solve(point.gradient).x);
    });
  });
});
