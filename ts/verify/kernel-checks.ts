/**
 * Every kernel of the loaded core against its plain TypeScript twin, or, where two right answers may differ (pivots,
 * signs of vectors), against the equation that defines it, evaluated by the twin in float64.
 *
 * Errors are in units of rounding: the largest difference of an entry over eps times the number of terms that went into
 * it, for operands of size one. A dot product of k terms has k roundings (Higham 2002, section 3.1), so a sound library stays
 * near 1 and far below the bounds; a broken kernel for a new processor is wrong by orders of magnitude.
 */
import { fallback } from '../native/fallback.js';
import type { Flag, Kernels, Real } from '../native/kernels.js';
import { activationCodes } from '../native/kernels.js';
import { Random } from '../random.js';
import { largestDifference, type Check } from './verdict.js';

type RealType = Float64ArrayConstructor | Float32ArrayConstructor;

/** Blocks for one check: column-major with offset 3 and two rows of margin, the same for kernel and twin. */
class Operands {
  readonly random = new Random(20);
  readonly epsilon: number;

  constructor(readonly type: RealType) {
    this.epsilon = type === Float64Array ? 2 ** -52 : 2 ** -23;
  }

  /** Numbers of size one. */
  numbers(length: number): Real {
    const values = new this.type(length);
    for (let i = 0; i < length; i++) values[i] = this.random.normal();
    return values;
  }

  /** A rows x cols block at offset 3 with leading dimension rows + 2. */
  block(rows: number, cols: number): Real {
    return this.numbers(3 + (rows + 2) * cols);
  }

  /** A symmetric n x n block; `shift` on its diagonal. */
  symmetric(n: number, shift: number): Real {
    const a = this.block(n, n);
    for (let j = 0; j < n; j++) {
      for (let i = 0; i < j; i++) a[3 + i + j * (n + 2)] = a[3 + j + i * (n + 2)];
      a[3 + j + j * (n + 2)] += shift;
    }
    return a;
  }
}

/** Doubles of a rows x cols block without margins. */
function dense(a: Real, rows: number, cols: number, offset = 3, ld = rows + 2): Float64Array {
  const out = new Float64Array(rows * cols);
  for (let j = 0; j < cols; j++) for (let i = 0; i < rows; i++) out[i + j * rows] = a[offset + i + j * ld];
  return out;
}

/** op(a) b in float64 by the twin. */
function multiply(trans: Flag, m: number, n: number, k: number, a: Float64Array, b: Float64Array): Float64Array {
  const c = new Float64Array(m * n);
  fallback.gemm(trans, 0, m, n, k, 1, a, 0, trans ? k : m, b, 0, k, 0, c, 0, m);
  return c;
}

/** What one kernel is asked to do; returns the error in units of rounding. */
type Measure = (k: Kernels, o: Operands) => number;

const n = 47;
const m = 33;
const ld = n + 2;
/** Order and number of small problems, `stride` numbers apart. */
const h = 9;
const count = 5;
const stride = 3 + (h + 2) * h;

/** The same call on the kernel and on its twin; `terms` roundings went into an entry. */
function twin(terms: number, call: (k: Kernels, o: Operands) => ArrayLike<number>): Measure {
  return (k, o) => {
    const expected = Array.from(call(fallback, new Operands(o.type)));
    return largestDifference(Array.from(call(k, o)), expected) / (terms * o.epsilon);
  };
}

/** An order-n system with m right-hand sides, solved by `solve`: |A x - b| over eps n |A| |x|, largest entries. */
function system(shift: number, solve: (k: Kernels, a: Real, b: Real, o: Operands) => void): Measure {
  return (k, o) => {
    const a = o.symmetric(n, shift);
    const b = o.block(n, m);
    const [matrix, right] = [dense(a, n, n), dense(b, n, m)];
    solve(k, a, b, o);
    const x = dense(b, n, m);
    const size = matrix.reduce((s, v) => Math.max(s, Math.abs(v)), 0) * x.reduce((s, v) => Math.max(s, Math.abs(v)), 1);
    return largestDifference(multiply(0, n, m, n, matrix, x), right) / (o.epsilon * n * size);
  };
}

/** A^-1 from one triangle: |A A^-1 - I| over eps n |A| |A^-1|. */
function inverse(shift: number, invert: (k: Kernels, a: Real) => void): Measure {
  return (k, o) => {
    const a = o.symmetric(n, shift);
    const matrix = dense(a, n, n);
    invert(k, a);
    fallback.symmetrize(0, n, a, 3, ld);
    const x = dense(a, n, n);
    const identity = new Float64Array(n * n);
    for (let i = 0; i < n; i++) identity[i + i * n] = 1;
    const size = matrix.reduce((s, v) => Math.max(s, Math.abs(v)), 0) * x.reduce((s, v) => Math.max(s, Math.abs(v)), 0);
    return largestDifference(multiply(0, n, n, n, matrix, x), identity) / (o.epsilon * n * Math.max(1, size));
  };
}

/** Positive definite: the diagonal outweighs the n entries of size one. */
const definite = 4 * n;
const indefinite = 0;

/** A batch of 5 gives what five calls give. */
function batch(
  call: (k: Kernels, o: Operands) => ArrayLike<number>,
  one: (k: Kernels, o: Operands) => ArrayLike<number>,
): Measure {
  return (k, o) =>
    largestDifference(Array.from(call(k, o)), Array.from(one(k, new Operands(o.type)))) / (10 * o.epsilon);
}

const measures: Record<string, Measure> = {
  gemm: (k, o) => {
    const errors = ([0, 1] as Flag[]).flatMap((ta) =>
      ([0, 1] as Flag[]).map((tb) => {
        const call = twin(n, (kernel, p) => {
          const [a, b, c] = [p.block(ta ? n : m, ta ? m : n), p.block(tb ? h : n, tb ? n : h), p.block(m, h)];
          kernel.gemm(ta, tb, m, h, n, 1.5, a, 3, (ta ? n : m) + 2, b, 3, (tb ? h : n) + 2, -0.5, c, 3, m + 2);
          return c;
        });
        return call(k, new Operands(o.type));
      }),
    );
    return Math.max(...errors);
  },
  gemv: twin(n, (k, o) => {
    const [a, x, y] = [o.block(m, n), o.numbers(3 * n), o.numbers(2 * m)];
    k.gemv(0, m, n, -1.5, a, 3, m + 2, x, 1, 3, 0.5, y, 0, 2);
    return y;
  }),
  syrk: twin(n, (k, o) => {
    const [a, c] = [o.block(m, n), o.block(m, m)];
    k.syrk(0, 0, m, n, 1.5, a, 3, m + 2, 0.5, c, 3, m + 2);
    k.syrk(1, 0, m, n, 1, a, 3, m + 2, 1, c, 3, m + 2);
    return c;
  }),
  symm: twin(n, (k, o) => {
    const [a, b, c] = [o.block(n, n), o.block(n, m), o.block(n, m)];
    k.symm(0, 0, n, m, 1.5, a, 3, ld, b, 3, ld, 0.5, c, 3, ld);
    return c;
  }),
  trsm: twin(n, (k, o) => {
    // A dominant diagonal keeps the solution of size one.
    const [a, b] = [o.symmetric(n, definite), o.block(n, m)];
    k.trsm(0, 0, 0, 0, n, m, definite, a, 3, ld, b, 3, ld);
    return b;
  }),
  trmm: twin(n, (k, o) => {
    const [a, b] = [o.block(n, n), o.block(n, m)];
    k.trmm(0, 1, 1, 0, n, m, 1, a, 3, ld, b, 3, ld);
    return b;
  }),
  dot: twin(1000, (k, o) => [k.dot(1000, o.numbers(1001), 1, o.numbers(1000), 0)]),
  nrm2: twin(1000, (k, o) => [k.nrm2(1000, o.numbers(1001), 1)]),
  axpy: twin(2, (k, o) => {
    const [x, y] = [o.numbers(1001), o.numbers(1000)];
    k.axpy(1000, 0.7, x, 1, y, 0);
    return y;
  }),
  'potrf, potrs': system(definite, (k, a, b) => {
    if (k.potrf(0, n, a, 3, ld) !== 0) throw new Error('potrf found a positive definite matrix not to be one');
    k.potrs(0, n, m, a, 3, ld, b, 3, ld);
  }),
  potri: inverse(definite, (k, a) => {
    k.potrf(0, n, a, 3, ld);
    k.potri(0, n, a, 3, ld);
  }),
  'sytrf, sytrs': system(indefinite, (k, a, b) => {
    const pivots = new Int32Array(n);
    k.sytrf(0, n, a, 3, ld, pivots, 0);
    k.sytrs(0, n, m, a, 3, ld, pivots, 0, b, 3, ld);
  }),
  sytri: inverse(indefinite, (k, a) => {
    const pivots = new Int32Array(n);
    k.sytrf(0, n, a, 3, ld, pivots, 0);
    k.sytri(0, n, a, 3, ld, pivots, 0);
  }),
  sytrfInertia: (k, o) => {
    const a = o.symmetric(n, indefinite);
    const values = new Float64Array(n);
    const copy = dense(a, n, n);
    fallback.syevd(0, 0, n, copy, 0, n, values, 0);
    const pivots = new Int32Array(n);
    const out = new Float64Array(6);
    k.sytrf(0, n, a, 3, ld, pivots, 0);
    k.sytrfInertia(0, n, a, 3, ld, pivots, 0, out);
    const positive = values.filter((value) => value > 0).length;
    if (out[0] !== positive || out[1] !== n - positive || out[2] !== 0)
      throw new Error(`counted ${out.slice(0, 3).join(', ')} eigenvalues, expected ${positive}, ${n - positive}, 0`);
    const logDeterminant = values.reduce((sum, value) => sum + Math.log(Math.abs(value)), 0);
    // The extreme pivots belong to this factor: the twin reads them from the same one.
    const read = new Float64Array(6);
    fallback.sytrfInertia(0, n, a, 3, ld, pivots, 0, read);
    const extremes = largestDifference([out[4] / read[4], out[5] / read[5]], [1, 1]);
    return Math.max(Math.abs(out[3] - logDeterminant) / (n * n), extremes) / o.epsilon;
  },
  sytrfHalfSolve: system(indefinite, (k, a, b) => {
    const pivots = new Int32Array(n);
    k.sytrf(0, n, a, 3, ld, pivots, 0);
    const positive = k.sytrfHalfSolve(n, m, a, 3, ld, pivots, 0, b, 3, ld);
    for (let j = 0; j < m; j++) for (let i = positive; i < n; i++) b[3 + i + j * ld] *= -1;
    k.sytrfHalfSolveTransposed(n, m, a, 3, ld, pivots, 0, b, 3, ld);
  }),
  'getrf, getrs': system(indefinite, (k, a, b) => {
    const pivots = new Int32Array(n);
    k.getrf(n, n, a, 3, ld, pivots, 0);
    k.getrs(0, n, m, a, 3, ld, pivots, 0, b, 3, ld);
  }),
  gesv: system(indefinite, (k, a, b) => void k.gesv(n, m, a, 3, ld, new Int32Array(n), 0, b, 3, ld)),
  syevd: (k, o) => {
    const a = o.symmetric(n, indefinite);
    const matrix = dense(a, n, n);
    const w = o.numbers(n);
    k.syevd(1, 0, n, a, 3, ld, w, 0);
    const v = dense(a, n, n);
    const scaled = v.map((value, i) => value * w[Math.floor(i / n)]);
    const identity = new Float64Array(n * n);
    for (let i = 0; i < n; i++) identity[i + i * n] = 1;
    const residual = largestDifference(multiply(0, n, n, n, matrix, v), scaled);
    return Math.max(residual, largestDifference(multiply(1, n, n, n, v, v), identity)) / (o.epsilon * n);
  },
  qr: (k, o) => {
    const [a, r] = [o.block(n, m), o.block(m, m)];
    const matrix = dense(a, n, m);
    k.qr(n, m, a, 3, ld, r, 3, m + 2);
    const [q, upper] = [dense(a, n, m), dense(r, m, m)];
    const identity = new Float64Array(m * m);
    for (let i = 0; i < m; i++) identity[i + i * m] = 1;
    const back = largestDifference(multiply(0, n, m, m, q, upper), matrix);
    return Math.max(back, largestDifference(multiply(1, m, m, n, q, q), identity)) / (o.epsilon * n);
  },
  gemmBatch: batch(
    (k, o) => {
      const [a, b, c] = [o.numbers(count * stride), o.numbers(count * stride), o.numbers(count * stride)];
      k.gemmBatch(0, 1, h, h, h, 1, a, 3, h + 2, stride, b, 3, h + 2, 0, 0.5, c, 3, h + 2, stride, count);
      return c;
    },
    (k, o) => {
      const [a, b, c] = [o.numbers(count * stride), o.numbers(count * stride), o.numbers(count * stride)];
      for (let i = 0; i < count; i++)
        k.gemm(0, 1, h, h, h, 1, a, 3 + i * stride, h + 2, b, 3, h + 2, 0.5, c, 3 + i * stride, h + 2);
      return c;
    },
  ),
  syrkBatch: batch(
    (k, o) => {
      const [a, c] = [o.numbers(count * stride), o.numbers(count * stride)];
      k.syrkBatch(0, 0, h, h, 1, a, 3, h + 2, stride, 0.5, c, 3, h + 2, stride, count);
      return c;
    },
    (k, o) => {
      const [a, c] = [o.numbers(count * stride), o.numbers(count * stride)];
      for (let i = 0; i < count; i++) k.syrk(0, 0, h, h, 1, a, 3 + i * stride, h + 2, 0.5, c, 3 + i * stride, h + 2);
      return c;
    },
  ),
};

/** Systems of order h solved as a batch: the largest residual of all. */
function batchSystems(shift: number, solve: (k: Kernels, a: Real, b: Real) => void): Measure {
  return (k, o) => {
    const a = o.numbers(count * stride);
    const b = o.numbers(count * stride);
    for (let i = 0; i < count; i++) a.set(o.symmetric(h, shift), i * stride);
    const problems = Array.from({ length: count }, (_, i) => [
      dense(a.subarray(i * stride), h, h),
      dense(b.subarray(i * stride), h, h),
    ]);
    solve(k, a, b);
    let worst = 0;
    problems.forEach(([matrix, right], i) => {
      const x = dense(b.subarray(i * stride), h, h);
      const size =
        matrix.reduce((s, v) => Math.max(s, Math.abs(v)), 0) * x.reduce((s, v) => Math.max(s, Math.abs(v)), 1);
      worst = Math.max(worst, largestDifference(multiply(0, h, h, h, matrix, x), right) / (o.epsilon * h * size));
    });
    return worst;
  };
}

Object.assign(measures, {
  trsmBatch: batchSystems(4 * h, (k, a, b) => {
    // A = L L^T by one batch call, two triangular solves by two more.
    k.potrfBatch(0, h, a, 3, h + 2, stride, count);
    k.trsmBatch(0, 0, 0, 0, h, h, 1, a, 3, h + 2, stride, b, 3, h + 2, stride, count);
    k.trsmBatch(0, 0, 1, 0, h, h, 1, a, 3, h + 2, stride, b, 3, h + 2, stride, count);
  }),
  'potrfBatch, potrsBatch': batchSystems(4 * h, (k, a, b) => {
    k.potrfBatch(0, h, a, 3, h + 2, stride, count);
    k.potrsBatch(0, h, h, a, 3, h + 2, stride, b, 3, h + 2, stride, count);
  }),
  'sytrfBatch, sytrsBatch': batchSystems(indefinite, (k, a, b) => {
    const pivots = new Int32Array(count * h);
    k.sytrfBatch(0, h, a, 3, h + 2, stride, pivots, 0, h, count);
    k.sytrsBatch(0, h, h, a, 3, h + 2, stride, pivots, 0, h, b, 3, h + 2, stride, count);
  }),
  'getrfBatch, getrsBatch': batchSystems(indefinite, (k, a, b) => {
    const pivots = new Int32Array(count * h);
    k.getrfBatch(h, h, a, 3, h + 2, stride, pivots, 0, h, count);
    k.getrsBatch(0, h, h, a, 3, h + 2, stride, pivots, 0, h, b, 3, h + 2, stride, count);
  }),
  transpose: twin(1, (k, o) => {
    const [a, b] = [o.block(n, m), o.block(m, n)];
    k.transpose(n, m, a, 3, ld, b, 3, m + 2);
    return b;
  }),
  symmetrize: twin(1, (k, o) => {
    const a = o.block(n, n);
    k.symmetrize(0, n, a, 3, ld);
    return a;
  }),
  scaleSymmetric: twin(4, (k, o) => {
    const [a, d, c, b] = [o.block(n, n), o.numbers(n), o.numbers(n), o.block(n, n)];
    k.scaleSymmetric(n, a, 3, ld, d, 0, c, 0, b, 3, ld);
    return b;
  }),
  scaleRows: twin(2, (k, o) => {
    const [d, a, b] = [o.numbers(n), o.block(n, m), o.block(n, m)];
    k.scaleRows(0, n, m, d, 0, a, 3, ld, b, 3, ld);
    return b;
  }),
  hadamard: twin(2, (k, o) => {
    const [x, y, out] = [o.numbers(1000), o.numbers(1000), o.numbers(1000)];
    k.hadamard(1, 1000, x, 0, y, 0, out, 0);
    return out;
  }),
  columnSums: twin(n, (k, o) => {
    const [a, out] = [o.block(n, m), o.numbers(m)];
    k.columnSums(1, n, m, a, 3, ld, out, 0);
    return out;
  }),
  jacobianGram: twin(4 * 7 * 8, (k, o) => {
    const [samples, outputs, widths] = [8, 3, Int32Array.of(5, 7, 3)];
    const order = samples * outputs;
    const d = o.numbers(order * 15);
    const gram = o.numbers(3 * samples * samples);
    const c = o.numbers(order * order);
    const offsets = Float64Array.of(0, order * 5, order * 12);
    const grams = Float64Array.of(0, samples * samples, 2 * samples * samples);
    k.jacobianGram(
      samples,
      outputs,
      3,
      0.5,
      Float64Array.of(1, 0.5, 2),
      widths,
      d,
      offsets,
      gram,
      grams,
      c,
      0,
      order,
      null,
    );
    return c;
  }),
  adamStep: twin(8, (k, o) => {
    const [p, g, first] = [o.numbers(1000), o.numbers(1000), o.numbers(1000)];
    const second = o.numbers(1000).map(Math.abs);
    k.adamStep(1000, p, g, first, second, 0.01, 0.9, 0.999, 0.5, 0.2, 1e-8, 0.1);
    return [...p, ...first, ...second];
  }),
  sgdStep: twin(4, (k, o) => {
    const [p, g, v] = [o.numbers(1000), o.numbers(1000), o.numbers(1000)];
    k.sgdStep(1000, p, g, v, 0.01, 0.9, 1, 0.1);
    return [...p, ...v];
  }),
});
for (const [name, code] of Object.entries(activationCodes)) {
  // Values and both derivatives over the whole range; each is a few elementary functions of size one.
  measures[`activate ${name}`] = twin(4, (k, o) => {
    const [rows, cols] = [97, 11];
    const size = rows * cols;
    const s = o.numbers(size).map((value, i) => value * 10 ** ((i % 5) - 3));
    const [bias, z, d1, d2] = [o.numbers(cols), o.numbers(size), o.numbers(size), o.numbers(size)];
    k.activate(code, rows, cols, s, 0, bias, 0, null, 0, z, 0, d1, 0, d2, 0);
    return [...z.map((value) => value / Math.max(1, Math.abs(value))), ...d1, ...d2];
  });
}

/** Units of rounding that are accepted; the largest on sound libraries is 11. */
const common = 40;

/** The checks of all kernels in both precisions. */
export function kernelChecks(kernels: Kernels): Check[] {
  return Object.entries(measures).flatMap(([name, measure]) =>
    ([Float64Array, Float32Array] as const).map((type): Check => ({
      group: 'kernels',
      name: `${name} ${type === Float64Array ? 'float64' : 'float32'}`,
      bound: common,
      unit: 'eps',
      measure: () => measure(kernels, new Operands(type)),
    })),
  );
}
