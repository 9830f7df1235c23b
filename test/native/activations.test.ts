/** The fused activation kernel against values computed with 80 digits, and its handling of blocks. */
import { expect } from 'chai';
import { activationCodes, type ActivationName, type Real } from '../../ts/native/kernels.js';
import { Random } from '../../ts/random.js';
import { activationValues } from './activation-values.js';
import { forEachKernelSet } from './implementations.js';

const names = Object.keys(activationCodes) as ActivationName[];

/** Zeros of the derivatives, where a few ulp relative cannot be had: [s of the zero, size of the terms that cancel]. */
const cancellations: Partial<Record<ActivationName, number>> = { gelu: 1, silu: 1 };

forEachKernelSet('activate', (kernels, type, epsilon) => {
  const run = (name: ActivationName, s: Real): { z: Real; d1: Real; d2: Real } => {
    const n = s.length,
      out = { z: new type(n), d1: new type(n), d2: new type(n) };
    kernels.activate(activationCodes[name], n, 1, s, 0, null, 0, null, 0, out.z, 0, out.d1, 0, out.d2, 0);
    return out;
  };
  const smallest = type === Float64Array ? 2 ** -1022 : 2 ** -126;

  for (const name of names) {
    it(`${name}: a few ulp over the whole range`, () => {
      // Only points that a Float32Array can hold exactly, or the reference belongs to another argument.
      const rows = activationValues[name].filter(([s]) => type === Float64Array || Math.fround(s) === s);
      expect(rows.length).to.be.greaterThan(10);
      const out = run(name, type.from(rows.map(([s]) => s)));
      rows.forEach(([s, value, slope, curvature], i) => {
        const check = (what: string, got: number, want: number, terms: number): void => {
          // 6 ulp of the value, or of the terms that cancel in it; below the normal range there are fewer digits.
          const tolerance = 6 * epsilon * Math.max(Math.abs(want), terms) + 4 * epsilon * smallest;
          expect(Math.abs(got - want), `${what} at ${s}: ${got} instead of ${want}`).to.be.at.most(tolerance);
        };
        const terms = cancellations[name] !== undefined && Math.abs(s) < 2 ? 1 : 0;
        check('value', out.z[i], want(value), 0);
        check('slope', out.d1[i], want(slope), terms);
        check('curvature', out.d2[i], want(curvature), terms);
      });
    });
  }
  const want = (value: number): number => (type === Float32Array ? Math.fround(value) : value);

  it('agrees with itself at dense arguments: derivatives are the differences of the values', () => {
    if (type !== Float64Array) return;
    const h = 1e-5;
    for (const name of names) {
      if (name === 'relu') continue;
      for (let s = -30; s < 30; s += 0.173) {
        const { z, d1, d2 } = run(name, type.of(s - h, s, s + h));
        // Truncation h^2 / 6 times a third derivative of size one, rounding epsilon * |z| / h.
        expect((z[2] - z[0]) / (2 * h), `${name}' at ${s}`).to.be.closeTo(d1[1], 2e-10 + (1e-15 * Math.abs(s)) / h);
        expect((d1[2] - d1[0]) / (2 * h), `${name}'' at ${s}`).to.be.closeTo(d2[1], 2e-10);
      }
    }
  });

  it('nothing overflows or turns into NaN for finite arguments', () => {
    const top = type === Float64Array ? Number.MAX_VALUE : 3.4028234663852886e38;
    const s = type.of(top, -top, 1e30, -1e30, 750, -750, 1e4, -1e4, smallest, -smallest, 0, -0);
    for (const name of names) {
      const { z, d1, d2 } = run(name, s.slice());
      for (const out of [z, d1, d2])
        expect(out.every(Number.isFinite), `${name}: ${Array.from(out).join(' ')}`).to.equal(true);
    }
  });

  it('NaN stays NaN', () => {
    for (const name of names) {
      const { z } = run(name, type.of(NaN, 1, NaN));
      expect([Number.isNaN(z[0]), Number.isNaN(z[1]), Number.isNaN(z[2])], name).to.deep.equal([true, false, true]);
    }
  });

  it('blocks of every shape: bias, residual, wanted outputs, margins', () => {
    const random = new Random(3);
    for (const [rows, cols] of [
      [0, 3],
      [3, 0],
      [1, 1],
      [1, 7],
      [5, 3],
      [8, 2],
      [63, 2],
      [64, 3],
      [67, 2],
      [300, 1],
    ]) {
      const n = rows * cols;
      for (const name of names)
        for (const mask of [0, 1, 2, 4, 7])
          for (const biased of [false, true])
            for (const residual of [false, true]) {
              const make = (length: number, offset: number): Real =>
                new type(length + offset + 2).map(() => random.normal());
              const s = make(n, 3),
                bias = make(cols, 1),
                rest = make(n, 2),
                z = make(n, 1),
                d1 = make(n, 4),
                d2 = make(n, 5);
              const before = { s: s.slice(), z: z.slice(), d1: d1.slice(), d2: d2.slice() };
              kernels.activate(
                activationCodes[name],
                rows,
                cols,
                s,
                3,
                biased ? bias : null,
                1,
                residual ? rest : null,
                2,
                mask & 1 ? z : null,
                1,
                mask & 2 ? d1 : null,
                4,
                mask & 4 ? d2 : null,
                5,
              );
              const single = before.s.slice(3, 3 + n).map((x, i) => (biased ? x + bias[1 + Math.floor(i / rows)] : x));
              const expected = run(name, single.slice());
              // The same arithmetic in another grouping: equal but for a contraction of the last operation.
              const compare = (got: Real, offset: number, old: Real, want: Real | null, what: string): void => {
                // One assertion per array: an assertion per element would take most of the time of this test.
                let outside = 0,
                  worst = 0;
                for (let p = 0; p < got.length; p++) {
                  if (want === null || p < offset || p >= offset + n) outside += Object.is(got[p], old[p]) ? 0 : 1;
                  else worst = Math.max(worst, Math.abs(got[p] - want[p - offset]) / (1 + Math.abs(want[p - offset])));
                }
                if (outside > 0 || !(worst <= 4 * epsilon))
                  expect.fail(`${name} ${what} ${[rows, cols, mask]}: ${outside} changes outside, error ${worst}`);
              };
              compare(s, 3, before.s, single, 's');
              compare(
                z,
                1,
                before.z,
                mask & 1 ? expected.z.map((x, i) => (residual ? rest[2 + i] + x : x)) : null,
                'z',
              );
              compare(d1, 4, before.d1, mask & 2 ? expected.d1 : null, 'd1');
              compare(d2, 5, before.d2, mask & 4 ? expected.d2 : null, 'd2');
            }
    }
  });
});
