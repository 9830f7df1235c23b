/**
 * Kernels on random calls: shapes, offsets, leading dimensions and strides right and wrong, operands in one array or in
 * two, special values. Addon and TypeScript twin must agree: both refuse with a TypeError or RangeError that names the kernel,
 * nothing changed, or both find the same result, nothing changed outside of it.
 */
import { expect } from 'chai';
import fc from 'fast-check';
import type { Kernels, Real } from '../../ts/native/kernels.js';
import { fallback } from '../../ts/native/fallback.js';
import { addon, reason } from '../native/implementations.js';

const numRuns = Number(process.env.DEEP_HESSIAN_FUZZ_RUNS ?? 400);
const seed = Number(process.env.DEEP_HESSIAN_FUZZ_SEED ?? 1);

/** Kinds of parameters in the order of a kernel's signature; 'matrix' stands for array, offset, ld, and so on. */
type Kind = 'flag' | 'size' | 'scalar' | 'matrix' | 'matrices' | 'vector' | 'strided' | 'count' | 'pivots';

const signatures: Partial<Record<keyof Kernels, Kind[]>> = {
  gemm: ['flag', 'flag', 'size', 'size', 'size', 'scalar', 'matrix', 'matrix', 'scalar', 'matrix'],
  gemv: ['flag', 'size', 'size', 'scalar', 'matrix', 'strided', 'scalar', 'strided'],
  syrk: ['flag', 'flag', 'size', 'size', 'scalar', 'matrix', 'scalar', 'matrix'],
  symm: ['flag', 'flag', 'size', 'size', 'scalar', 'matrix', 'matrix', 'scalar', 'matrix'],
  trmm: ['flag', 'flag', 'flag', 'flag', 'size', 'size', 'scalar', 'matrix', 'matrix'],
  dot: ['size', 'vector', 'vector'],
  nrm2: ['size', 'vector'],
  axpy: ['size', 'scalar', 'vector', 'vector'],
  gemmBatch: ['flag', 'flag', 'size', 'size', 'size', 'scalar', 'matrices', 'matrices', 'scalar', 'matrices', 'count'],
  syrkBatch: ['flag', 'flag', 'size', 'size', 'scalar', 'matrices', 'scalar', 'matrices', 'count'],
  transpose: ['size', 'size', 'matrix', 'matrix'],
  symmetrize: ['flag', 'size', 'matrix'],
  scaleSymmetric: ['size', 'matrix', 'vector', 'vector', 'matrix'],
  scaleRows: ['flag', 'size', 'size', 'vector', 'matrix', 'matrix'],
  hadamard: ['flag', 'size', 'vector', 'vector', 'vector'],
  columnSums: ['flag', 'size', 'size', 'matrix', 'vector'],
};

/** A parameter: a plain number, or the number of an array. */
type Part = { value: unknown } | { array: number };

const flag = fc.constantFrom<Part>({ value: 0 }, { value: 1 });
const rarely = (usual: fc.Arbitrary<number>, odd: readonly unknown[]): fc.Arbitrary<Part> =>
  fc
    .oneof({ weight: 24, arbitrary: usual }, { weight: 1, arbitrary: fc.constantFrom(...odd) })
    .map((value): Part => ({ value }));
const size = rarely(fc.integer({ min: 0, max: 5 }), [-1, 1.5, 2 ** 31, Number.NaN, '3', undefined]);
const scalar = rarely(fc.constantFrom(0, 1, -0.5, 2), [Number.NaN, Infinity, '1']);
const offset = rarely(fc.integer({ min: 0, max: 120 }), [-1, 0.5, 1e9, 2 ** 53]);
const ld = rarely(fc.integer({ min: 4, max: 9 }), [0, -1, 1, 2 ** 31]);
const step = rarely(fc.integer({ min: 1, max: 3 }), [0, -1]);
const stride = rarely(fc.constantFrom(0, 25, 40, 50), [-1, 2 ** 40]);
const array = fc.constantFrom<Part>({ array: 0 }, { array: 1 }, { array: 2 });

const kinds: Record<Kind, fc.Arbitrary<Part[]>> = {
  flag: fc.tuple(flag),
  size: fc.tuple(size),
  scalar: fc.tuple(scalar),
  count: fc.tuple(size),
  matrix: fc.tuple(array, offset, ld),
  matrices: fc.tuple(array, offset, ld, stride),
  vector: fc.tuple(array, offset),
  strided: fc.tuple(array, offset, step),
  pivots: fc.tuple(array, offset),
};

/** What memory holds: mostly numbers of size one, in one array with special values among them. */
function memory(special: boolean): Real[] {
  return [0, 1, 2].map((which) => {
    const values = Float64Array.from({ length: 260 }, (_, i) => Math.sin(1 + i + 300 * which));
    if (special)
      for (let i = 7; i < 260; i += 31)
        values[i] = [Number.NaN, Infinity, -Infinity, -0, 5e-324, 1e308][((i - 7) / 31) % 6];
    return values;
  });
}

interface Outcome {
  thrown: string | null;
  result: unknown;
  arrays: Real[];
}

function call(kernels: Kernels, name: keyof Kernels, parts: readonly Part[], special: boolean): Outcome {
  const arrays = memory(special);
  const args = parts.map((part) => ('array' in part ? arrays[part.array] : part.value));
  try {
    return { thrown: null, result: (kernels[name] as (...list: unknown[]) => unknown)(...args), arrays };
  } catch (error) {
    return { thrown: `${(error as Error).constructor.name}: ${(error as Error).message}`, result: undefined, arrays };
  }
}

const close = (a: number, b: number): boolean =>
  Object.is(a, b) ||
  a === b ||
  (Number.isNaN(a) && Number.isNaN(b)) ||
  Math.abs(a - b) <= 1e-13 * Math.max(1, Math.abs(a), Math.abs(b));

/** What the addon wrote is what the twin writes when every operand has an array of its own. */
function checkApart(name: keyof Kernels, parts: readonly Part[], special: boolean, native: Outcome): void {
  const before = memory(special);
  const args = parts.map((part) => ('array' in part ? before[part.array].slice() : part.value));
  (fallback[name] as (...list: unknown[]) => unknown)(...args);
  if (special) return;
  parts.forEach((part, k) => {
    if (!('array' in part)) return;
    const own = args[k] as Real;
    for (let i = 0; i < own.length; i++) {
      if (!Object.is(own[i], before[part.array][i])) expect(close(native.arrays[part.array][i], own[i])).to.equal(true);
    }
  });
}

describe('kernels on random calls', function () {
  before(function () {
    if (addon !== null) return;
    console.log(`      not tested: ${reason}`);
    this.skip();
  });

  for (const [name, signature] of Object.entries(signatures) as [keyof Kernels, Kind[]][]) {
    it(name, () => {
      let worked = 0;
      let refused = 0;
      const parts = fc.tuple(...signature.map((kind) => kinds[kind])).map((list) => list.flat());
      fc.assert(
        fc.property(parts, fc.boolean(), (list, special) => {
          const [native, twin] = [call(addon!, name, list, special), call(fallback, name, list, special)];
          if (native.thrown !== null && twin.thrown === null) {
            // Of an operand without elements the addon still checks the place, the twin does not.
            expect(native.thrown).to.match(/expected at least \d+ elements|[oO]ffset/);
            expect(native.arrays).to.deep.equal(memory(special));
            return;
          }
          if (native.thrown === null && twin.thrown !== null) {
            // The addon knows interleaved blocks apart that the twin refuses by their ranges: as if they lay in arrays of
            // their own.
            expect(twin.thrown).to.match(/overlap/);
            checkApart(name, list, special, native);
            return;
          }
          if (native.thrown !== null) {
            refused++;
            for (const { thrown } of [native, twin])
              expect(thrown).to.match(new RegExp(`^(TypeError|RangeError): ${name}: expected `));
            // A refused call changes nothing.
            expect(native.arrays).to.deep.equal(memory(special));
            expect(twin.arrays).to.deep.equal(memory(special));
            return;
          }
          worked++;
          if (typeof twin.result === 'number' && !special)
            expect(close(native.result as number, twin.result)).to.equal(true);
          // Libraries multiply zeros with what lies beside them, so one NaN spreads further in one than in the other; that no
          // call crashes, and that both take the same calls, holds for special values, too.
          const finite = list.every((part) => 'array' in part || Number.isFinite(part.value));
          if (special || !finite) return;
          native.arrays.forEach((values, which) => {
            // Equal everywhere: what the twin leaves alone, the addon leaves alone.
            const expected = twin.arrays[which];
            for (let i = 0; i < values.length; i++) {
              if (!close(values[i], expected[i]))
                throw new Error(`array ${which}[${i}] is ${values[i]}, expected ${expected[i]}`);
            }
          });
        }),
        { numRuns, seed },
      );
      expect(worked, 'calls that worked').to.be.greaterThan(numRuns / 20);
      expect(refused, 'calls that were refused').to.be.greaterThan(numRuns / 20);
    });
  }

  it('beta = 0 ignores what the output held, NaN included', () => {
    const n = 4;
    const a = Float64Array.from({ length: 16 }, (_, i) => i);
    for (const kernels of [addon!, fallback]) {
      const c = new Float64Array(16).fill(Number.NaN);
      kernels.gemm(0, 0, n, n, n, 1, a, 0, n, a, 0, n, 0, c, 0, n);
      expect(c.every(Number.isFinite)).to.equal(true);
    }
  });
});
