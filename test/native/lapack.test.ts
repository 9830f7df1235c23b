/** LAPACK kernels by what they promise: residuals, orthogonality, inertia against eigenvalues, both triangles. */
import { expect } from 'chai';
import type { Flag } from '../../ts/native/kernels.js';
import { Random } from '../../ts/random.js';
import { forEachKernelSet } from './implementations.js';
import { Block, Dense, identity } from './matrices.js';

const flags: readonly Flag[] = [0, 1];
const orders = [0, 1, 2, 5, 24, 70];

forEachKernelSet('lapack kernels', (kernels, type, epsilon) => {
  const random = new Random(5);
  const block = (rows: number, cols: number): Block =>
    new Block(rows, cols, type, random, random.integer(4), Math.max(1, rows) + random.integer(4), 3);
  // Backward stable: residuals of some units times the order, relative to the sizes of the factors.
  const tolerance = (n: number): number => 50 * (n + 2) * epsilon;

  /** Fills one triangle of a block with that of `matrix`, NaN where nothing may be read. */
  const store = (matrix: Dense, uplo: number): Block =>
    block(matrix.rows, matrix.rows).fill((i, j) => ((uplo ? i <= j : i >= j) ? matrix.get(i, j) : NaN));
  /** Values of the wanted type, so that a Float32Array stores them without change. */
  const rounded = (matrix: Dense): Dense => {
    matrix.data.set(type.from(matrix.data));
    return matrix;
  };
  const positive = (n: number): Dense => {
    const a = new Dense(n, n + 3, () => random.normal());
    return rounded(
      a
        .times(a.transposed)
        .scaled(1 / (n + 3))
        .plus(identity(n)),
    );
  };
  /** Symmetric indefinite, well conditioned, zero diagonal in places: forces 2 x 2 pivots. */
  const indefinite = (n: number): Dense => {
    const a = new Dense(n, n, () => random.normal());
    return rounded(
      new Dense(n, n, (i, j) =>
        i === j
          ? i % 3 === 0 && n > 1
            ? 0
            : i % 2
              ? 1
              : -2
          : Math.abs(i - j) === 1
            ? 3
            : (a.get(i, j) + a.get(j, i)) / (2 * n),
      ),
    );
  };
  const pivotArray = (n: number): { pivots: Int32Array; offset: number } => ({
    pivots: new Int32Array(n + 5).fill(-77),
    offset: 2,
  });
  const outside =
    (uplo: number) =>
    (i: number, j: number): boolean =>
      uplo ? i <= j : i >= j;

  it('potrf, potrs, potri', () => {
    for (const uplo of flags)
      for (const n of [...orders, 150])
        for (const nrhs of n > 100 ? [30] : [0, 1, 6, 30]) {
          const matrix = positive(n),
            a = store(matrix, uplo),
            untouched = a.copy(),
            b = block(n, nrhs),
            before = b.copy();
          expect(kernels.potrf(uplo, n, a.data, a.offset, a.ld)).to.equal(0);
          const l = uplo ? a.dense().triangle(1, 0).transposed : a.dense().triangle(0, 0);
          expect(l.times(l.transposed).distance(matrix)).to.be.at.most(tolerance(n) * (1 + matrix.largest));
          kernels.potrs(uplo, n, nrhs, a.data, a.offset, a.ld, b.data, b.offset, b.ld);
          expect(matrix.times(b.dense()).distance(before.dense()), `potrs ${[uplo, n, nrhs]}`).to.be.at.most(
            tolerance(n) * (1 + matrix.largest),
          );
          expect(b.firstChange(before)).to.equal(-1);
          expect(kernels.potri(uplo, n, a.data, a.offset, a.ld)).to.equal(0);
          expect(a.dense().symmetric(uplo).times(matrix).distance(identity(n))).to.be.at.most(
            tolerance(n) * (1 + matrix.largest),
          );
          expect(a.firstChange(untouched, outside(uplo))).to.equal(-1);
        }
  });

  it('potrf reports the first pivot that is not positive', () => {
    for (const uplo of flags) {
      const matrix = positive(9);
      matrix.set(6, 6, -1);
      const a = store(matrix, uplo);
      expect(kernels.potrf(uplo, 9, a.data, a.offset, a.ld)).to.equal(7);
    }
  });

  it('sytrf, sytrs, sytri', () => {
    for (const uplo of flags)
      for (const n of [...orders, 130])
        for (const nrhs of n > 100 ? [30] : [0, 1, 6, 30]) {
          const matrix = indefinite(n),
            a = store(matrix, uplo),
            untouched = a.copy(),
            b = block(n, nrhs),
            before = b.copy();
          const { pivots, offset } = pivotArray(n);
          expect(kernels.sytrf(uplo, n, a.data, a.offset, a.ld, pivots, offset)).to.equal(0);
          expect([pivots[0], pivots[1], pivots[n + 2]]).to.deep.equal([-77, -77, -77]);
          kernels.sytrs(uplo, n, nrhs, a.data, a.offset, a.ld, pivots, offset, b.data, b.offset, b.ld);
          const size = 1 + matrix.largest * b.dense().largest * n;
          expect(matrix.times(b.dense()).distance(before.dense()), `sytrs ${[uplo, n, nrhs]}`).to.be.at.most(
            tolerance(1) * size,
          );
          expect(b.firstChange(before)).to.equal(-1);
          expect(kernels.sytri(uplo, n, a.data, a.offset, a.ld, pivots, offset)).to.equal(0);
          const inverse = a.dense().symmetric(uplo);
          expect(inverse.times(matrix).distance(identity(n)), `sytri ${[uplo, n]}`).to.be.at.most(
            tolerance(n) * (1 + inverse.largest * matrix.largest),
          );
          expect(a.firstChange(untouched, outside(uplo))).to.equal(-1);
        }
  });

  it('sytrfInertia agrees with the eigenvalues', () => {
    for (const uplo of flags)
      for (const n of [1, 2, 5, 24, 70]) {
        const matrix = indefinite(n).plus(identity(n).scaled(0.125)),
          a = store(matrix, uplo),
          e = store(matrix, uplo),
          w = block(n, 1);
        const { pivots, offset } = pivotArray(n);
        kernels.sytrf(uplo, n, a.data, a.offset, a.ld, pivots, offset);
        const out = new Float64Array(6);
        kernels.sytrfInertia(uplo, n, a.data, a.offset, a.ld, pivots, offset, out);
        expect(kernels.syevd(0, uplo, n, e.data, e.offset, e.ld, w.data, w.offset)).to.equal(0);
        const values = Array.from(w.dense().data);
        expect([out[0], out[1], out[2]]).to.deep.equal([
          values.filter((x) => x > 0).length,
          values.filter((x) => x < 0).length,
          0,
        ]);
        const logarithm = values.reduce((sum, x) => sum + Math.log(Math.abs(x)), 0);
        const nearest = Math.min(...values.map(Math.abs));
        expect(out[3]).to.be.closeTo(logarithm, tolerance(n) * n * (1 + 5 / nearest));
        expect(out[4]).to.be.greaterThan(0).and.at.most(out[5]);
      }
  });

  it('sytrf at orders and leading dimensions that crowd the cache', () => {
    const n = 200,
      matrix = indefinite(n);
    for (const uplo of flags) {
      const a = new Block(n, n, type, random, 3, 256, 5).fill((i, j) =>
          (uplo ? i <= j : i >= j) ? matrix.get(i, j) : NaN,
        ),
        untouched = a.copy(),
        b = block(n, 2),
        before = b.copy();
      const { pivots, offset } = pivotArray(n);
      expect(kernels.sytrf(uplo, n, a.data, a.offset, a.ld, pivots, offset)).to.equal(0);
      expect(a.firstChange(untouched, outside(uplo))).to.equal(-1);
      kernels.sytrs(uplo, n, 2, a.data, a.offset, a.ld, pivots, offset, b.data, b.offset, b.ld);
      expect(matrix.times(b.dense()).distance(before.dense())).to.be.at.most(
        tolerance(1) * (1 + matrix.largest * b.dense().largest * n),
      );
    }
  });

  it('sytrfInertia of known and of degenerate pivots', () => {
    const out = new Float64Array(6);
    kernels.sytrfInertia(0, 3, type.of(2, 9, 9, 9, 0, 9, 9, 9, -8), 0, 3, Int32Array.of(1, 2, 3), 0, out);
    expect(Array.from(out)).to.deep.equal([1, 1, 1, -Infinity, 0, 8]);
    // [[1, 2], [2, 1]]: eigenvalues 3 and -1
    for (const uplo of flags) {
      kernels.sytrfInertia(
        uplo,
        2,
        type.of(1, 2, 2, 1),
        0,
        2,
        uplo ? Int32Array.of(-1, -1) : Int32Array.of(-2, -2),
        0,
        out,
      );
      expect([out[0], out[1], out[2]]).to.deep.equal([1, 1, 0]);
      expect(out[3]).to.be.closeTo(Math.log(3), 8 * epsilon);
      expect(out[4]).to.be.closeTo(1, 8 * epsilon);
      expect(out[5]).to.be.closeTo(3, 8 * epsilon);
    }
    kernels.sytrfInertia(0, 0, new type(0), 0, 1, new Int32Array(0), 0, out);
    expect(Array.from(out)).to.deep.equal([0, 0, 0, 0, Infinity, 0]);
  });

  it('the two half solves', () => {
    // Few right-hand sides go column by column, many through the unpacked factor.
    for (const n of [...orders, 130])
      for (const nrhs of [0, 1, 3, 7, 8, 20]) {
        const matrix = indefinite(n),
          a = store(matrix, 0),
          full = store(matrix, 0);
        const { pivots, offset } = pivotArray(n);
        kernels.sytrf(0, n, a.data, a.offset, a.ld, pivots, offset);
        const factor = a.copy(),
          b = block(n, nrhs),
          before = b.copy(),
          solved = before.copy();
        const positives = kernels.sytrfHalfSolve(
          n,
          nrhs,
          a.data,
          a.offset,
          a.ld,
          pivots,
          offset,
          b.data,
          b.offset,
          b.ld,
        );
        expect(a.firstChange(factor, () => false)).to.equal(-1);
        expect(b.firstChange(before)).to.equal(-1);
        const inertia = new Float64Array(6);
        kernels.sytrfInertia(0, n, a.data, a.offset, a.ld, pivots, offset, inertia);
        expect(positives).to.equal(inertia[0]);
        // B^T A^-1 B = B_new^T diag(I, -I) B_new
        kernels.sytrs(0, n, nrhs, a.data, a.offset, a.ld, pivots, offset, solved.data, solved.offset, solved.ld);
        const signed = new Dense(n, nrhs, (i, j) => (i < positives ? 1 : -1) * b.get(i, j));
        const expected = before.dense().transposed.times(solved.dense());
        const size = 1 + n * (b.dense().largest ** 2 + before.dense().largest * solved.dense().largest);
        expect(b.dense().transposed.times(signed).distance(expected), `half ${[n, nrhs]}`).to.be.at.most(
          tolerance(1) * size,
        );
        // A^-1 B = transposed half of diag(I, -I) half of B
        const x = b.copy().fill((i, j) => signed.get(i, j));
        expect(
          kernels.sytrfHalfSolveTransposed(n, nrhs, a.data, a.offset, a.ld, pivots, offset, x.data, x.offset, x.ld),
        ).to.equal(positives);
        expect(
          full.dense().symmetric(0).times(x.dense()).distance(before.dense()),
          `transposed ${[n, nrhs]}`,
        ).to.be.at.most(tolerance(1) * (1 + n * matrix.largest * x.dense().largest));
        expect(x.firstChange(b)).to.equal(-1);
      }
  });

  it('getrf, getrs, gesv', () => {
    for (const n of orders)
      for (const nrhs of [0, 1, 6, 30]) {
        const matrix = rounded(new Dense(n, n, (i, j) => random.normal() + (i === (j + 1) % n ? 5 : 0)));
        const a = block(n, n).fill((i, j) => matrix.get(i, j)),
          start = a.copy(),
          again = a.copy();
        const { pivots, offset } = pivotArray(n);
        expect(kernels.getrf(n, n, a.data, a.offset, a.ld, pivots, offset)).to.equal(0);
        expect(a.firstChange(start)).to.equal(-1);
        for (const trans of flags) {
          const b = block(n, nrhs),
            before = b.copy();
          kernels.getrs(trans, n, nrhs, a.data, a.offset, a.ld, pivots, offset, b.data, b.offset, b.ld);
          const product = (trans ? matrix.transposed : matrix).times(b.dense());
          expect(product.distance(before.dense()), `getrs ${[trans, n, nrhs]}`).to.be.at.most(
            tolerance(n) * (1 + matrix.largest * b.dense().largest),
          );
          expect(b.firstChange(before)).to.equal(-1);
        }
        const b = block(n, nrhs),
          before = b.copy(),
          other = pivotArray(n);
        expect(
          kernels.gesv(n, nrhs, again.data, again.offset, again.ld, other.pivots, other.offset, b.data, b.offset, b.ld),
        ).to.equal(0);
        expect(matrix.times(b.dense()).distance(before.dense())).to.be.at.most(
          tolerance(n) * (1 + matrix.largest * b.dense().largest),
        );
        expect(Array.from(other.pivots)).to.deep.equal(Array.from(pivots));
      }
  });

  it('getrf of rectangles, and of singular matrices', () => {
    for (const [m, n] of [
      [5, 3],
      [3, 5],
      [0, 4],
      [4, 0],
    ]) {
      const a = block(m, n),
        start = a.dense(),
        { pivots, offset } = pivotArray(Math.min(m, n));
      expect(kernels.getrf(m, n, a.data, a.offset, a.ld, pivots, offset)).to.equal(0);
      const k = Math.min(m, n);
      const l = new Dense(m, k, (i, j) => (i === j ? 1 : i > j ? a.get(i, j) : 0)),
        u = new Dense(k, n, (i, j) => (i <= j ? a.get(i, j) : 0));
      for (let i = 0; i < k; i++) {
        const p = pivots[offset + i] - 1;
        for (let j = 0; j < n; j++) {
          const t = start.get(i, j);
          start.set(i, j, start.get(p, j));
          start.set(p, j, t);
        }
      }
      expect(l.times(u).distance(start)).to.be.at.most(tolerance(5));
    }
    const singular = type.of(1, 2, 3, 0, 0, 0, 1, 0, 1),
      pivots = new Int32Array(3),
      b = type.of(1, 1, 1);
    expect(kernels.gesv(3, 1, singular, 0, 3, pivots, 0, b, 0, 3)).to.equal(2);
    expect(Array.from(b)).to.deep.equal([1, 1, 1]);
    const zero = new type(4);
    expect(kernels.sytrf(0, 2, zero, 0, 2, new Int32Array(2), 0)).to.equal(1);
  });

  it('syevd', () => {
    for (const uplo of flags)
      for (const n of orders) {
        const matrix = indefinite(n),
          a = store(matrix, uplo),
          only = store(matrix, uplo),
          w = block(n, 1),
          alone = block(n, 1),
          before = a.copy();
        expect(kernels.syevd(1, uplo, n, a.data, a.offset, a.ld, w.data, w.offset)).to.equal(0);
        const v = a.dense(),
          values = w.dense();
        expect(v.transposed.times(v).distance(identity(n))).to.be.at.most(tolerance(n));
        expect(
          matrix.times(v).distance(v.times(new Dense(n, n, (i, j) => (i === j ? values.get(i, 0) : 0)))),
        ).to.be.at.most(tolerance(n) * (1 + matrix.largest));
        for (let i = 1; i < n; i++) expect(values.get(i, 0)).to.be.at.least(values.get(i - 1, 0));
        expect(a.firstChange(before)).to.equal(-1);
        expect(kernels.syevd(0, uplo, n, only.data, only.offset, only.ld, alone.data, alone.offset)).to.equal(0);
        expect(alone.dense().distance(values)).to.be.at.most(tolerance(n) * (1 + matrix.largest));
      }
  });

  it('qr', () => {
    for (const [m, n] of [
      [0, 0],
      [3, 0],
      [1, 1],
      [4, 4],
      [9, 3],
      [80, 40],
    ]) {
      const a = block(m, n),
        before = a.copy(),
        r = block(n, n).fill(() => NaN),
        around = r.copy();
      kernels.qr(m, n, a.data, a.offset, a.ld, r.data, r.offset, r.ld);
      const q = a.dense(),
        triangle = r.dense();
      expect(q.transposed.times(q).distance(identity(n))).to.be.at.most(tolerance(m));
      expect(q.times(triangle).distance(before.dense())).to.be.at.most(tolerance(m) * 4);
      expect(triangle.distance(triangle.triangle(1, 0))).to.equal(0);
      expect(a.firstChange(before)).to.equal(-1);
      expect(r.firstChange(around)).to.equal(-1);
    }
  });
});
