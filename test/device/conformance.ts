/**
 * What every device must do, run over the CPU reference and, where there is one, a card. The oracle is the plain
 * TypeScript kernels on host copies of the same numbers; factorizations are judged by what they solve.
 */
import { expect } from 'chai';
import type { DeviceBuffer, DeviceKernels, DeviceOperations, ElementType } from '../../ts/device/index.js';
import { elementTypeOf, type HostArray } from '../../ts/device/device.js';
import { activationCodes, type Flag, type Real } from '../../ts/native/kernels.js';
import { fallback } from '../../ts/native/fallback.js';
import { Random } from '../../ts/random.js';
import { activationValues } from '../native/activation-values.js';

type RealType = 'float64' | 'float32';
/** Both have the same methods, which a union of the two types cannot express. */
const constructors = { float64: Float64Array, float32: Float32Array } as unknown as Record<
  RealType,
  Float64ArrayConstructor
>;
const flags: readonly Flag[] = [0, 1];

/** An argument in host memory that goes to the device for the call and comes back after it. */
class Moved {
  constructor(readonly array: HostArray) {}
}

export function conformance(title: string, open: () => DeviceKernels): void {
  describe(`device: ${title}`, () => {
    let device: DeviceKernels;
    const random = new Random(11);
    before(() => (device = open()));
    after(() => device.dispose());
    afterEach(() => expect(device.memory().buffers, 'buffers left behind').to.equal(0));

    const put = (array: HostArray): DeviceBuffer => {
      const buffer = device.allocate(elementTypeOf(array), array.length);
      device.upload(array, buffer);
      return buffer;
    };

    /** Runs `name` with every Moved argument in device memory, then copies these back. */
    const run = (name: keyof DeviceOperations, ...values: unknown[]): unknown => {
      const moved = new Map<Moved, DeviceBuffer>();
      for (const value of values) if (value instanceof Moved && !moved.has(value)) moved.set(value, put(value.array));
      try {
        const operation = device[name] as (...values: unknown[]) => unknown;
        const result = operation.apply(
          device,
          values.map((value) => (value instanceof Moved ? moved.get(value) : value)),
        );
        for (const [value, buffer] of moved) device.download(buffer, value.array);
        return result;
      } finally {
        for (const buffer of moved.values()) buffer.dispose();
      }
    };

    /** Runs a kernel on the device and in plain TypeScript; every array must come out the same within `units` roundings. */
    const compare = (
      name: keyof DeviceOperations & keyof typeof fallback,
      units: number,
      ...values: unknown[]
    ): void => {
      const oracle = values.map((value) => (value instanceof Moved ? value.array.slice() : value));
      // An argument used twice is one array.
      for (const [i, value] of values.entries()) {
        const first = values.indexOf(value);
        if (value instanceof Moved && first < i) oracle[i] = oracle[first];
      }
      const expected = (fallback[name] as (...values: unknown[]) => unknown)(...oracle);
      const result = run(name, ...values);
      const epsilon = values.some((value) => value instanceof Moved && value.array instanceof Float32Array)
        ? 2 ** -23
        : 2 ** -52;
      if (typeof expected === 'number')
        expect(result).to.be.closeTo(expected, units * epsilon * Math.max(1, Math.abs(expected)));
      for (const [i, value] of values.entries()) {
        if (!(value instanceof Moved)) continue;
        const wanted = oracle[i] as HostArray;
        for (let k = 0; k < wanted.length; k++) {
          if (Object.is(wanted[k], value.array[k]) || wanted[k] === value.array[k]) continue;
          const off = Math.abs(wanted[k] - value.array[k]);
          if (!(off <= units * epsilon * Math.max(1, Math.abs(wanted[k])))) {
            expect.fail(`${name}: argument ${i}, entry ${k}: ${value.array[k]} instead of ${wanted[k]}`);
          }
        }
      }
    };

    const real = (type: RealType, length: number): Moved =>
      new Moved(constructors[type].from({ length }, () => random.normal()));
    const offset = (): number => random.integer(4);
    const ld = (rows: number): number => Math.max(1, rows) + random.integer(3);
    /** buffer, offset, ld of a random block */
    const block = (type: RealType, rows: number, cols: number): [Moved, number, number] => {
      const [o, l] = [offset(), ld(rows)];
      return [real(type, o + l * Math.max(cols, 1) + 2), o, l];
    };
    const vector = (type: RealType, n: number): [Moved, number] => {
      const o = offset();
      return [real(type, o + n + 2), o];
    };
    const shapes: [number, number, number][] = [
      [1, 1, 1],
      [5, 3, 4],
      [33, 70, 9],
      [4, 5, 0],
      [0, 3, 2],
    ];

    // --- memory ---------------------------------------------------------------------------------------------------------

    it('keeps what is uploaded, by parts too', () => {
      for (const type of ['float64', 'float32', 'int32'] as const satisfies readonly ElementType[]) {
        const make = type === 'int32' ? (Int32Array as unknown as Float64ArrayConstructor) : constructors[type];
        const source = make.from({ length: 100 }, (_, i) => i - 50);
        const buffer = device.allocate(type, 100);
        expect([buffer.type, buffer.length, buffer.bytes]).to.deep.equal([type, 100, source.byteLength]);
        device.upload(source, buffer);
        device.upload(make.of(7, 8, 9), buffer, 10, 1);
        device.upload(make.of(7, 8, 9), buffer, 20, 0, 1);
        const back = new make(100);
        device.download(buffer, back);
        const expected = source.slice();
        expected[10] = 8;
        expected[11] = 9;
        expected[20] = 7;
        expect(back).to.deep.equal(expected);
        const part = new make(5);
        device.download(buffer, part, 9, 1, 3);
        expect([...part]).to.deep.equal([0, expected[9], 8, 9, 0]);
        buffer.dispose();
      }
    });

    it('counts its buffers', () => {
      const before = device.memory();
      expect(before.buffers).to.equal(0);
      const [a, b] = [device.allocate('float64', 1000), device.allocate('int32', 10)];
      expect(device.memory()).to.include({ buffers: 2, bytes: 8040, total: before.total });
      a.dispose();
      a.dispose();
      expect(device.memory()).to.include({ buffers: 1, bytes: 40 });
      b.dispose();
      expect(device.memory()).to.include({ buffers: 0, bytes: 0 });
    });

    it('refuses wrong calls and changes nothing', () => {
      const a = put(Float64Array.of(1, 2, 3, 4));
      const gone = device.allocate('float64', 4);
      const single = put(Float32Array.of(1, 2, 3, 4));
      const pivots = put(Int32Array.of(1, 2));
      gone.dispose();
      const refused = (kind: typeof TypeError | typeof RangeError, call: () => unknown, message: RegExp): void => {
        expect(call).to.throw(kind, message);
      };
      refused(RangeError, () => device.allocate('float64', -1), /expected an integer >= 0|expected an integer from 0/);
      refused(RangeError, () => device.allocate('float16' as 'float64', 1), /for type/);
      refused(RangeError, () => device.upload(new Float64Array(5), a), /at least 5 elements/);
      refused(TypeError, () => device.upload(new Float32Array(4), a), /host array of float64/);
      refused(RangeError, () => device.download(a, new Float64Array(4), 1), /at least 5 elements/);
      refused(RangeError, () => device.download(gone, new Float64Array(4)), /in use/);
      refused(RangeError, () => device.fill(4, 0, gone, 0), /in use/);
      refused(RangeError, () => device.fill(5, 0, a, 0), /at least 5|expected/);
      refused(RangeError, () => device.fill(4, 0, a, 1), /at least 5|expected/);
      refused(RangeError, () => device.potrf(0, 2, a, 1, 2), /expected/);
      refused(RangeError, () => device.potrf(0, 2, a, 0, 1), /expected/);
      refused(RangeError, () => device.potrf(2 as 0, 2, a, 0, 2), /expected/);
      refused(RangeError, () => device.gemm(0, 0, 1, 1, 1, 1, a, 0, 1, a, 1, 1, 0, a, 0, 1), /apart/);
      refused(RangeError, () => device.copy(2, a, 0, a, 1), /apart/);
      refused(TypeError, () => device.axpy(2, 1, a, 0, single, 0), /expected/);
      refused(TypeError, () => device.potrf(0, 1, pivots, 0, 1), /expected/);
      refused(TypeError, () => device.sytrf(0, 2, a, 0, 2, a, 0), /expected/);
      refused(TypeError, () => device.potrf(0, 2, new Float64Array(4) as unknown as DeviceBuffer, 0, 2), /expected/);
      refused(TypeError, () => device.convert(2, a, 0, a, 2), /float32/);
      const back = new Float64Array(4);
      device.download(a, back);
      expect([...back]).to.deep.equal([1, 2, 3, 4]);
      for (const buffer of [a, single, pivots]) buffer.dispose();
    });

    it('another device’s buffers are refused', () => {
      const other = open();
      const theirs = other.allocate('float64', 4);
      expect(() => device.fill(1, 0, theirs, 0)).to.throw(TypeError, /of this device/);
      expect(() => device.download(theirs, new Float64Array(4))).to.throw(TypeError, /of this device/);
      other.dispose();
      expect(() => other.allocate('float64', 1)).to.throw(/has been disposed/);
    });

    it('streams run on, and wait for one another when told', () => {
      const a = put(Float64Array.of(1, 2, 3));
      const b = device.allocate('float64', 3);
      device.useStream(1);
      device.fill(3, 5, b, 0);
      device.useStream(0);
      device.waitFor(1);
      device.axpy(3, 2, b, 0, a, 0);
      device.synchronize();
      const back = new Float64Array(3);
      device.download(a, back);
      expect([...back]).to.deep.equal([11, 12, 13]);
      expect(() => device.useStream(99)).to.throw(RangeError);
      a.dispose();
      b.dispose();
    });

    for (const type of ['float64', 'float32'] as const) {
      describe(type, () => {
        const epsilon = type === 'float64' ? 2 ** -52 : 2 ** -23;

        // --- BLAS: sums of at most 70 products of numbers of size one, so some tens of units ---------------------------------
        it('gemm, gemv', () => {
          for (const [m, n, k] of shapes)
            for (const ta of flags)
              for (const tb of flags)
                for (const beta of [0, -0.5]) {
                  const a = block(type, ta ? k : m, ta ? m : k),
                    b = block(type, tb ? n : k, tb ? k : n),
                    c = block(type, m, n);
                  if (beta === 0) c[0].array.fill(NaN);
                  compare('gemm', 100, ta, tb, m, n, k, 1.5, ...a, ...b, beta, ...c);
                }
          for (const [m, n] of shapes)
            for (const t of flags) {
              compare(
                'gemv',
                100,
                t,
                m,
                n,
                0.7,
                ...block(type, m, n),
                ...vector(type, 3 * (t ? m : n)),
                2,
                0.5,
                ...vector(type, 3 * (t ? n : m)),
                3,
              );
            }
        });

        it('gemmBatch', () => {
          for (const count of [1, 7])
            for (const shared of [false, true]) {
              const [m, n, k] = [4, 3, 6];
              const strideA = shared ? 0 : 30;
              compare(
                'gemmBatch',
                100,
                0,
                1,
                m,
                n,
                k,
                1,
                real(type, 300),
                1,
                5,
                strideA,
                real(type, 300),
                2,
                4,
                31,
                0.5,
                real(type, 300),
                3,
                4,
                20,
                count,
              );
            }
        });

        it('syrk, symm, trsm, trsmBatch', () => {
          for (const uplo of flags)
            for (const trans of flags)
              for (const [n, k] of [
                [1, 1],
                [6, 4],
                [40, 11],
                [3, 0],
                [0, 2],
              ]) {
                compare(
                  'syrk',
                  100,
                  uplo,
                  trans,
                  n,
                  k,
                  -1,
                  ...block(type, trans ? k : n, trans ? n : k),
                  2,
                  ...block(type, n, n),
                );
                const side = trans;
                compare(
                  'symm',
                  100,
                  side,
                  uplo,
                  n,
                  k,
                  0.5,
                  ...block(type, side ? k : n, side ? k : n),
                  ...block(type, n, k),
                  1,
                  ...block(type, n, k),
                );
                for (const unit of flags) {
                  const order = side ? k : n;
                  const a = block(type, order, order);
                  // Well conditioned: small beside the diagonal.
                  a[0].array.forEach((value, i) => (a[0].array[i] = value / (2 * order)));
                  for (let i = 0; i < order; i++) a[0].array[a[1] + i * (a[2] + 1)] = 1 + i / (order + 1);
                  compare('trsm', 1000, side, uplo, trans, unit, n, k, 2, ...a, ...block(type, n, k));
                }
              }
          const a = real(type, 100);
          a.array.forEach((_, i) => (a.array[i] = i % 6 === 0 ? 2 : 0.1));
          compare('trsmBatch', 1000, 0, 0, 1, 0, 5, 3, 1, a, 0, 5, 30, real(type, 100), 1, 6, 20, 3);
        });

        it('dot, nrm2, axpy', () => {
          for (const n of [0, 1, 100, 1000]) {
            compare('dot', 200, n, ...vector(type, n), ...vector(type, n));
            compare('nrm2', 50, n, ...vector(type, n));
            compare('axpy', 10, n, 1.25, ...vector(type, n), ...vector(type, n));
          }
        });

        // --- factorizations -----------------------------------------------------------------------------------------------------
        /** Symmetric n x n with eigenvalues of both signs (or positive), full storage. */
        const symmetric = (n: number, definite: boolean): Real => {
          const g = Float64Array.from({ length: n * (n + 2) }, () => random.normal());
          const a = new constructors[type](n * n);
          for (let i = 0; i < n; i++)
            for (let j = 0; j <= i; j++) {
              let sum = 0;
              if (definite) for (let k = 0; k < n + 2; k++) sum += g[i + k * n] * g[j + k * n];
              else sum = g[i + j * n] * Math.sqrt(n);
              a[i + j * n] = a[j + i * n] = sum / n + (i === j ? (definite ? 1 : i % 2 ? 2 : -2) : 0);
            }
          return a;
        };
        /** max |A x - b| / (|A| |x|) for full A and m columns */
        const residual = (n: number, m: number, a: Real, x: Real, b: Real, transposed = false): number => {
          let worst = 0;
          let scale = 0;
          for (let c = 0; c < m; c++)
            for (let i = 0; i < n; i++) {
              let sum = -b[c * n + i];
              for (let k = 0; k < n; k++) {
                const entry = transposed ? a[i * n + k] : a[i + k * n];
                sum += entry * x[c * n + k];
                scale = Math.max(scale, Math.abs(entry) * Math.abs(x[c * n + k]));
              }
              worst = Math.max(worst, Math.abs(sum));
            }
          return worst / Math.max(scale, 1e-300);
        };
        const solveTolerance = (n: number): number => 20 * (n + 2) * epsilon;
        const orders = [1, 2, 7, 45];

        it('potrf, potrs', () => {
          for (const uplo of flags)
            for (const n of orders) {
              const a = symmetric(n, true);
              const factor = new Moved(a.slice());
              expect(run('potrf', uplo, n, factor, 0, n)).to.equal(0);
              const b = real(type, 3 * n),
                x = new Moved(b.array.slice());
              run('potrs', uplo, n, 3, factor, 0, n, x, 0, n);
              expect(residual(n, 3, a, x.array as Real, b.array as Real)).to.be.at.most(solveTolerance(n));
            }
        });

        it('potrf says which minor is not positive', () => {
          for (const uplo of flags) {
            const a = new Moved(constructors[type].of(1, 0, 0, 0, -2, 0, 0, 0, 3));
            expect(run('potrf', uplo, 3, a, 0, 3)).to.equal(2);
          }
          expect(run('potrf', 0, 0, new Moved(new constructors[type](1)), 0, 1)).to.equal(0);
        });

        it('sytrf, sytrs, sytrfInertia', () => {
          for (const uplo of flags)
            for (const n of orders) {
              const a = symmetric(n, false);
              // A zero diagonal forces 2 x 2 pivots.
              if (n > 2) a[0] = a[n + 1] = 0;
              const factor = put(a),
                pivots = device.allocate('int32', n);
              expect(device.sytrf(uplo, n, factor, 0, n, pivots, 0)).to.equal(0);
              const b = constructors[type].from({ length: 2 * n }, () => random.normal());
              const rhs = put(b);
              device.sytrs(uplo, n, 2, factor, 0, n, pivots, 0, rhs, 0, n);
              const x = new constructors[type](2 * n);
              device.download(rhs, x);
              // Bunch-Kaufman bounds its growth less tightly than Cholesky.
              expect(residual(n, 2, a, x, b)).to.be.at.most(20 * solveTolerance(n));
              const facts = new Float64Array(6),
                w = new constructors[type](n);
              device.sytrfInertia(uplo, n, factor, 0, n, pivots, 0, facts);
              fallback.syevd(0, 0, n, a.slice(), 0, n, w, 0);
              expect([...facts.subarray(0, 3)]).to.deep.equal([
                w.filter((v) => v > 0).length,
                w.filter((v) => v < 0).length,
                0,
              ]);
              const log = w.reduce((sum, v) => sum + Math.log(Math.abs(v)), 0);
              expect(facts[3]).to.be.closeTo(log, 1e5 * n * epsilon);
              for (const buffer of [factor, pivots, rhs]) buffer.dispose();
            }
        });

        it('getrf, getrs and their batches', () => {
          for (const n of orders)
            for (const trans of flags) {
              const a = constructors[type].from({ length: n * n }, () => random.normal());
              const factor = put(a),
                pivots = device.allocate('int32', n);
              expect(device.getrf(n, n, factor, 0, n, pivots, 0)).to.equal(0);
              const b = constructors[type].from({ length: n }, () => random.normal());
              const rhs = put(b),
                x = new constructors[type](n);
              device.getrs(trans, n, 1, factor, 0, n, pivots, 0, rhs, 0, n);
              device.download(rhs, x);
              expect(residual(n, 1, a, x, b, trans === 1)).to.be.at.most(20 * solveTolerance(n));
              for (const buffer of [factor, pivots, rhs]) buffer.dispose();
            }
          const [n, count] = [5, 4];
          for (const stridePivots of [n, n + 2]) {
            const a = constructors[type].from({ length: 30 * count }, () => random.normal());
            const b = constructors[type].from({ length: 12 * count }, () => random.normal());
            const factor = put(a),
              rhs = put(b),
              pivots = device.allocate('int32', stridePivots * count);
            expect(device.getrfBatch(n, n, factor, 0, n, 30, pivots, 0, stridePivots, count)).to.equal(0);
            device.getrsBatch(0, n, 2, factor, 0, n, 30, pivots, 0, stridePivots, rhs, 0, n, 12, count);
            const x = b.slice();
            device.download(rhs, x);
            for (let i = 0; i < count; i++) {
              const [ai, xi, bi] = [a.subarray(30 * i), x.subarray(12 * i, 12 * i + 2 * n), b.subarray(12 * i)];
              expect(residual(n, 2, ai, xi, bi), `item ${i}`).to.be.at.most(100 * solveTolerance(n));
            }
            for (const buffer of [factor, rhs, pivots]) buffer.dispose();
          }
          expect(
            run('getrf', 2, 2, new Moved(constructors[type].of(0, 0, 1, 1)), 0, 2, new Moved(new Int32Array(2)), 0),
          ).to.equal(1);
        });

        it('potrfBatch, potrsBatch', () => {
          const [n, m, count] = [6, 2, 5];
          for (const uplo of flags) {
            const a = new constructors[type](40 * count);
            for (let i = 0; i < count; i++) a.set(symmetric(n, true), 40 * i);
            const b = constructors[type].from({ length: 15 * count }, () => random.normal());
            const factor = new Moved(a.slice()),
              x = new Moved(b.slice());
            const fb = put(factor.array),
              xb = put(x.array);
            expect(device.potrfBatch(uplo, n, fb, 0, n, 40, count)).to.equal(0);
            device.potrsBatch(uplo, n, m, fb, 0, n, 40, xb, 0, n, 15, count);
            device.download(xb, x.array);
            for (let i = 0; i < count; i++) {
              const part = (x.array as Real).subarray(15 * i, 15 * i + n * m);
              expect(residual(n, m, a.subarray(40 * i), part, b.subarray(15 * i)), `item ${i}`).to.be.at.most(
                solveTolerance(n),
              );
            }
            a[40 + 0] = -1;
            device.upload(a, fb);
            expect(device.potrfBatch(uplo, n, fb, 0, n, 40, count)).to.equal(1);
            fb.dispose();
            xb.dispose();
          }
        });

        it('syevd', () => {
          for (const uplo of flags)
            for (const n of orders) {
              const a = symmetric(n, false);
              const w = new constructors[type](n);
              fallback.syevd(0, 0, n, a.slice(), 0, n, w, 0);
              const vectors = new Moved(a.slice()),
                values = new Moved(new constructors[type](n + 1));
              expect(run('syevd', 1, uplo, n, vectors, 0, n, values, 1)).to.equal(0);
              const tolerance = 50 * n * epsilon * 4;
              for (let i = 0; i < n; i++) expect(values.array[i + 1]).to.be.closeTo(w[i], tolerance);
              // A V = V diag(w)
              for (let c = 0; c < n; c++)
                for (let i = 0; i < n; i++) {
                  let sum = -values.array[c + 1] * vectors.array[i + c * n];
                  for (let k = 0; k < n; k++) sum += a[i + k * n] * vectors.array[k + c * n];
                  expect(Math.abs(sum)).to.be.at.most(tolerance);
                }
              const only = new Moved(new constructors[type](n));
              run('syevd', 0, uplo, n, new Moved(a.slice()), 0, n, only, 0);
              for (let i = 0; i < n; i++) expect(only.array[i]).to.be.closeTo(w[i], tolerance);
            }
        });

        // --- element-wise ---------------------------------------------------------------------------------------------------------
        it('transpose, symmetrize', () => {
          for (const [m, n] of [
            [1, 1],
            [5, 3],
            [32, 64],
            [70, 33],
            [0, 4],
          ]) {
            compare('transpose', 0, m, n, ...block(type, m, n), ...block(type, n, m));
            for (const uplo of flags) compare('symmetrize', 0, uplo, m, ...block(type, m, m));
          }
        });

        it('scaleSymmetric, scaleRows, hadamard, columnSums', () => {
          for (const n of [1, 5, 67]) {
            for (const d of flags)
              for (const c of flags) {
                const a = block(type, n, n);
                const scales = d ? vector(type, n) : [null, 0];
                const shift = c ? vector(type, n) : [null, 0];
                compare('scaleSymmetric', 4, n, ...a, ...scales, ...shift, ...block(type, n, n));
                compare('scaleSymmetric', 4, n, ...a, ...scales, ...shift, ...a);
              }
            for (const side of flags) {
              const a = block(type, n, 4);
              compare('scaleRows', 2, side, n, 4, ...vector(type, side ? 4 : n), ...a, ...block(type, n, 4));
              compare('scaleRows', 2, side, n, 4, ...vector(type, side ? 4 : n), ...a, ...a);
            }
            for (const accumulate of flags) {
              const x = vector(type, n);
              compare('hadamard', 4, accumulate, n, ...x, ...vector(type, n), ...vector(type, n));
              compare('hadamard', 4, 0, n, ...x, ...vector(type, n), ...x);
              compare('columnSums', 100, accumulate, 10 * n, 3, ...block(type, 10 * n, 3), ...vector(type, 3));
            }
          }
        });

        it('activate: values to a few ulp over the whole range', () => {
          for (const [name, code] of Object.entries(activationCodes)) {
            const rows = activationValues[name as keyof typeof activationValues].filter(
              ([s]) => type === 'float64' || Math.fround(s) === s,
            );
            const s = new Moved(constructors[type].from(rows.map(([value]) => value)));
            const [z, d1, d2] = [0, 1, 2].map(() => new Moved(new constructors[type](rows.length)));
            run('activate', code, rows.length, 1, s, 0, null, 0, null, 0, z, 0, d1, 0, d2, 0);
            rows.forEach(([at, ...wanted], i) =>
              [z, d1, d2].forEach((out, part) => {
                const value = constructors[type].of(wanted[part])[0];
                // A few ulp; near the end of the range the last bits of a subnormal number. The zero of gelu'' and silu'' is
                // not at a number, so an absolute allowance of an ulp of the largest value is made.
                const allowed =
                  16 * epsilon * Math.abs(value) + (part > 0 ? 2 * epsilon : 0) + (type === 'float64' ? 1e-307 : 1e-37);
                expect(
                  Math.abs(out.array[i] - value),
                  `${name}, part ${part}, at ${at}: ${out.array[i]}, not ${value}`,
                ).to.be.at.most(allowed);
              }),
            );
          }
        });

        it('activate: bias, residual and what is not wanted', () => {
          for (const code of Object.values(activationCodes))
            for (const rows of [3, 70]) {
              const n = rows * 4;
              const s = vector(type, n),
                bias = vector(type, 4),
                residual_ = vector(type, n);
              compare(
                'activate',
                20,
                code,
                rows,
                4,
                ...s,
                ...bias,
                ...residual_,
                ...vector(type, n),
                ...vector(type, n),
                ...vector(type, n),
              );
              compare('activate', 20, code, rows, 4, ...s, null, 0, null, 0, ...vector(type, n), null, 0, null, 0);
              compare('activate', 20, code, rows, 4, ...s, ...bias, null, 0, null, 0, ...vector(type, n), null, 0);
            }
        });

        it('jacobianGram, from Gram matrices and from their factors', () => {
          for (const [samples, outputs, widths, inner] of [
            [3, 2, [4, 1], [5, 2]],
            [70, 1, [9, 17, 3], [20, 9, 1]],
            [23, 3, [16, 5], [33, 16]],
            [130, 1, [2], [3]],
          ] as const) {
            const order = samples * outputs;
            const layers = widths.length;
            const dOffsets = new Float64Array(layers),
              gramOffsets = new Float64Array(layers),
              zOffsets = new Float64Array(layers);
            let dAt = 1,
              gAt = 2,
              zAt = 1;
            widths.forEach((h, l) => {
              dOffsets[l] = dAt;
              gramOffsets[l] = gAt;
              zOffsets[l] = zAt;
              dAt += order * h;
              gAt += samples * samples;
              zAt += samples * inner[l];
            });
            const d = real(type, dAt),
              z = real(type, zAt),
              grams = new Moved(new constructors[type](gAt));
            widths.forEach((_, l) => {
              fallback.syrk(
                0,
                0,
                samples,
                inner[l],
                1,
                z.array as Real,
                zOffsets[l],
                samples,
                0,
                grams.array as Real,
                gramOffsets[l],
                samples,
              );
              fallback.symmetrize(0, samples, grams.array as Real, gramOffsets[l], samples);
            });
            const scale = Float64Array.from(widths, (_, l) => 1 / (l + 1)),
              sizes = Int32Array.from(widths);
            const ldc = order + 1;
            const units = 40 * Math.max(...widths) * Math.max(...inner);
            compare(
              'jacobianGram',
              units,
              samples,
              outputs,
              layers,
              0.75,
              scale,
              sizes,
              d,
              dOffsets,
              grams,
              gramOffsets,
              real(type, ldc * order + 2),
              2,
              ldc,
              null,
            );
            compare(
              'jacobianGram',
              units,
              samples,
              outputs,
              layers,
              0.75,
              scale,
              sizes,
              d,
              dOffsets,
              z,
              zOffsets,
              real(type, ldc * order + 2),
              2,
              ldc,
              Int32Array.from(inner),
            );
          }
        });

        it('copy, fill, convert, addDiagonal, diagonal', () => {
          const x = real(type, 50),
            y = real(type, 50),
            before = y.array.slice();
          run('copy', 20, x, 3, y, 7);
          expect([...y.array]).to.deep.equal([
            ...before.subarray(0, 7),
            ...x.array.subarray(3, 23),
            ...before.subarray(27),
          ]);
          run('fill', 5, 0.5, y, 1);
          expect([...y.array.subarray(0, 7)]).to.deep.equal([before[0], 0.5, 0.5, 0.5, 0.5, 0.5, before[6]]);
          const other = type === 'float64' ? 'float32' : 'float64';
          const converted = new Moved(new constructors[other](12));
          run('convert', 10, converted, 1, x, 2);
          expect([...converted.array]).to.deep.equal([0, ...constructors[other].from(x.array.subarray(2, 12)), 0]);
          const a = real(type, 40),
            was = a.array.slice();
          run('addDiagonal', 5, 2, a, 1, 6);
          a.array.forEach((value, i) => {
            const add = i >= 1 && (i - 1) % 7 === 0 && (i - 1) / 7 < 5 ? 2 : 0;
            expect(value).to.equal(constructors[type].of(was[i] + add)[0]);
          });
          const out = new Moved(new constructors[type](6));
          run('diagonal', 5, a, 1, 6, out, 1);
          expect([...out.array]).to.deep.equal([0, 1, 8, 15, 22, 29].map((at, i) => (i === 0 ? 0 : a.array[at])));
        });

        it('scaleTiled, foldTiled, dotTiled, rowKronecker against their formulas', () => {
          for (const [N, R, h, c] of [
            [1, 1, 1, 1],
            [7, 3, 4, 2],
            [70, 2, 5, 3],
          ]) {
            const rows = N * R;
            const x = real(type, rows * h),
              y = real(type, N * h),
              r = real(type, rows);
            const at = (k: number, n: number, i: number): number => x.array[k * N + n + i * rows];
            const close = (value: number, wanted: number): void => {
              expect(value).to.be.closeTo(wanted, 20 * (R + h) * epsilon * Math.max(1, Math.abs(wanted)));
            };
            const scaled = new Moved(x.array.slice()),
              folded = real(type, N * h),
              dots = real(type, rows),
              sums = real(type, rows),
              start = sums.array.slice();
            run('scaleTiled', N, R, h, scaled, 0, y, 0);
            run('foldTiled', N, R, h, x, 0, r, 0, folded, 0);
            run('dotTiled', 0, N, R, h, x, 0, y, 0, dots, 0);
            run('dotTiled', 1, N, R, h, x, 0, y, 0, sums, 0);
            for (let n = 0; n < N; n++) {
              for (let i = 0; i < h; i++) {
                let fold = 0;
                for (let k = 0; k < R; k++) {
                  close(scaled.array[k * N + n + i * rows], at(k, n, i) * y.array[n + i * N]);
                  fold += at(k, n, i) * r.array[k * N + n];
                }
                close(folded.array[n + i * N], fold);
              }
              for (let k = 0; k < R; k++) {
                let dot = 0;
                for (let i = 0; i < h; i++) dot += at(k, n, i) * y.array[n + i * N];
                close(dots.array[k * N + n], dot);
                close(sums.array[k * N + n], dot + start[k * N + n]);
              }
            }
            const from = N > 1 ? 2 : 0,
              count = N - from - (N > 5 ? 1 : 0),
              ldout = count * R + 1;
            const w = real(type, N * c),
              out = real(type, ldout * h * c + 1),
              untouched = out.array.slice();
            run('rowKronecker', N, from, count, R, h, x, 0, c, w, 0, out, 1, ldout);
            const written = new Set<number>();
            for (let i = 0; i < h; i++)
              for (let j = 0; j < c; j++)
                for (let k = 0; k < R; k++)
                  for (let n = 0; n < count; n++) {
                    const place = 1 + k * count + n + (i * c + j) * ldout;
                    written.add(place);
                    close(out.array[place], at(k, from + n, i) * w.array[from + n + j * N]);
                  }
            out.array.forEach((value, i) => written.has(i) || expect(value).to.equal(untouched[i]));
          }
        });
      });
    }
  });
}
