/** Wrong calls throw with the common message form and change nothing; right ones run. */
import { expect } from 'chai';
import type { Kernels } from '../../ts/native/kernels.js';
import { fallback } from '../../ts/native/fallback.js';
import { validCall, wrongValues, type Argument, type KernelName } from './calls.js';
import { forEachKernelSet } from './implementations.js';

const names = (Object.keys(fallback) as (keyof Kernels)[]).filter((name): name is KernelName => name !== 'info');

forEachKernelSet('calls', (kernels, type) => {
  const other = type === Float64Array ? Float32Array : Float64Array;
  const invoke = (name: KernelName, values: unknown[]): unknown =>
    (kernels[name] as (...values: unknown[]) => unknown)(...values);
  const snapshot = (call: Argument[]): unknown[] =>
    call.map(({ value }) =>
      ArrayBuffer.isView(value) && !(value instanceof DataView) ? (value as Float64Array).slice() : value,
    );

  for (const name of names) {
    it(name, () => {
      const valid = validCall(name, type);
      expect(
        () =>
          invoke(
            name,
            valid.map(({ value }) => value),
          ),
        'the valid call',
      ).not.to.throw();

      const reals = valid.filter(({ kind }) => kind === 'array').length;
      const form = new RegExp(`^${name}: expected .+ for .+, received .+`);
      for (let position = 0; position < valid.length; position++) {
        for (const wrong of wrongValues(valid[position], type)) {
          // A kernel with one real array takes its type from it.
          if (reals === 1 && wrong instanceof other) continue;
          const call = validCall(name, type);
          call[position].value = wrong;
          const before = snapshot(call);
          const right = typeof wrong === 'number' && typeof valid[position].value === 'number';
          const shortArray = ArrayBuffer.isView(wrong) && wrong.constructor === valid[position].value?.constructor;
          const described = `argument ${position} (${valid[position].kind}) = ${ArrayBuffer.isView(wrong) ? wrong.constructor.name : String(wrong)}`;
          let caught: unknown = null;
          try {
            invoke(
              name,
              call.map(({ value }) => value),
            );
          } catch (error) {
            caught = error;
          }
          expect(caught, described).to.be.instanceOf(right || shortArray ? RangeError : TypeError);
          expect((caught as Error).message, described).to.match(form);
          expect(snapshot(call), `${described} changed something`).to.deep.equal(before);
        }
      }
      expect(() => invoke(name, [])).to.throw(TypeError, form);
    });
  }

  it('null stands for arrays that are not wanted', () => {
    const call = validCall('activate', type).map(({ kind, value }) => (kind === 'nullable' ? null : value));
    expect(() => invoke('activate', call)).not.to.throw();
  });

  it('outputs must stand apart from inputs', () => {
    const a = new type(64).fill(1),
      pivots = Int32Array.of(1, 2, 3, 4);
    const before = a.slice();
    const refused = (name: KernelName, ...values: unknown[]): void => {
      expect(() => invoke(name, values), name).to.throw(
        RangeError,
        new RegExp(`^${name}: expected .+ for .+, received .+`),
      );
    };
    refused('gemm', 0, 0, 2, 2, 2, 1, a, 0, 2, a, 10, 2, 0, a, 0, 2);
    refused('gemm', 0, 0, 2, 2, 2, 1, a, 10, 2, a, 0, 2, 0, a, 3, 2);
    refused('gemv', 0, 2, 2, 1, a, 0, 2, a, 10, 1, 0, a, 11, 1);
    refused('syrk', 0, 0, 2, 2, 1, a, 0, 2, 0, a, 1, 2);
    refused('trsm', 0, 0, 0, 0, 2, 2, 1, a, 0, 4, a, 5, 4);
    refused('axpy', 4, 1, a, 0, a, 3);
    refused('potrs', 0, 2, 2, a, 0, 2, a, 2, 2);
    refused('sytrs', 0, 4, 1, a, 0, 4, pivots, 0, a, 15, 4);
    refused('syevd', 1, 0, 2, a, 0, 2, a, 3);
    refused('qr', 2, 2, a, 0, 2, a, 3, 2);
    refused('transpose', 2, 2, a, 0, 2, a, 0, 2);
    refused('scaleRows', 0, 2, 2, a, 20, a, 0, 2, a, 1, 2);
    refused('scaleRows', 0, 2, 2, a, 20, a, 0, 2, a, 0, 3);
    refused('hadamard', 0, 4, a, 0, a, 10, a, 1);
    refused('columnSums', 0, 2, 2, a, 0, 2, a, 3);
    refused('activate', 1, 2, 2, a, 0, null, 0, null, 0, a, 2, null, 0, null, 0);
    refused('activate', 1, 2, 2, a, 0, null, 0, null, 0, a, 8, a, 11, null, 0);
    refused(
      'jacobianGram',
      2,
      1,
      1,
      1,
      Float64Array.of(1),
      Int32Array.of(1),
      a,
      Float64Array.of(0),
      a,
      Float64Array.of(4),
      a,
      7,
      2,
      null,
    );
    // Another view of the same memory is the same memory.
    refused('axpy', 4, 1, new type(a.buffer, 0, 8), 0, new type(a.buffer, 2 * type.BYTES_PER_ELEMENT, 8), 0);
    expect(a).to.deep.equal(before);
    // Side by side, and interleaved, is apart.
    expect(() => invoke('gemm', [0, 0, 2, 2, 2, 1, a, 0, 6, a, 2, 6, 0, a, 4, 6])).not.to.throw();
    expect(() => invoke('axpy', [4, 1, a, 0, a, 4])).not.to.throw();
  });

  it('pivots that no factorization writes are refused', () => {
    const a = new type(9).fill(1),
      b = new type(3).fill(1),
      out = new Float64Array(6);
    for (const pivots of [
      [0, 2, 3],
      [4, 2, 3],
      [1, 2, -3],
      [-1, 2, 3],
      [-2, -3, 3],
      [1, -5, -5],
      [-2147483648, -2147483648, 3],
    ]) {
      const wrong = Int32Array.from(pivots);
      const form = (name: string): RegExp => new RegExp(`^${name}: expected .+ for pivots\\[\\d\\], received .+`);
      expect(() => kernels.sytrs(0, 3, 1, a, 0, 3, wrong, 0, b, 0, 3), String(pivots)).to.throw(
        RangeError,
        form('sytrs'),
      );
      expect(() => kernels.sytri(0, 3, a, 0, 3, wrong, 0), String(pivots)).to.throw(RangeError, form('sytri'));
      expect(() => kernels.sytrfInertia(0, 3, a, 0, 3, wrong, 0, out), String(pivots)).to.throw(
        RangeError,
        form('sytrfInertia'),
      );
      expect(() => kernels.sytrfHalfSolve(3, 1, a, 0, 3, wrong, 0, b, 0, 3), String(pivots)).to.throw(
        RangeError,
        form('sytrfHalfSolve'),
      );
      expect(() => kernels.getrs(0, 3, 1, a, 0, 3, wrong, 0, b, 0, 3), String(pivots)).to.throw(
        RangeError,
        form('getrs'),
      );
    }
    expect([a.every((x) => x === 1), b.every((x) => x === 1)]).to.deep.equal([true, true]);
  });

  it('a detached array is refused', () => {
    const memory = new ArrayBuffer(16 * type.BYTES_PER_ELEMENT);
    const a = new type(memory),
      b = new type(16);
    structuredClone(memory, { transfer: [memory] });
    expect(() => kernels.gemm(0, 0, 4, 4, 4, 1, b, 0, 4, a, 0, 4, 0, new type(16), 0, 4)).to.throw(
      RangeError,
      /^gemm: expected .+ for b, received .+ of length 0$/,
    );
  });

  it('shared memory works like any other', () => {
    const shared = (values: number[]): Float64Array | Float32Array => {
      const memory = new SharedArrayBuffer(values.length * type.BYTES_PER_ELEMENT);
      const out = type === Float64Array ? new Float64Array(memory) : new Float32Array(memory);
      out.set(values);
      return out;
    };
    const c = shared([0, 0, 0, 0]);
    kernels.gemm(0, 0, 2, 2, 2, 1, shared([1, 2, 3, 4]), 0, 2, shared([1, 0, 0, 1]), 0, 2, 0, c, 0, 2);
    expect(Array.from(c)).to.deep.equal([1, 2, 3, 4]);
  });
});
