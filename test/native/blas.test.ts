/** BLAS kernels against the three-loop definition, over flags, shapes, offsets and leading dimensions. */
import { expect } from 'chai';
import type { Flag } from '../../ts/native/kernels.js';
import { Random } from '../../ts/random.js';
import { forEachKernelSet } from './implementations.js';
import { Block, Dense } from './matrices.js';

const flags: readonly Flag[] = [0, 1];
// Degenerate, odd, and beyond the register tiles of the fast paths.
const shapes = [
  [0, 3, 2],
  [3, 0, 2],
  [4, 5, 0],
  [1, 1, 1],
  [3, 4, 5],
  [7, 2, 9],
  [33, 17, 40],
] as const;
// Whole and broken panels of right-hand sides, and orders that are halved.
const triangles = [
  [13, 50],
  [50, 13],
  [230, 9],
  [9, 230],
] as const;
const scalars = [
  [1, 0],
  [-0.7, 1],
  [0.3, -1.5],
  [0, 2],
  [0, 0],
] as const;
const op = (a: Dense, transposed: number): Dense => (transposed ? a.transposed : a);

forEachKernelSet('blas kernels', (kernels, type, epsilon) => {
  const random = new Random(11);
  const block = (rows: number, cols: number): Block =>
    new Block(rows, cols, type, random, random.integer(4), Math.max(1, rows) + random.integer(4), 3);
  // A sum of k products of numbers of size one: k roundings, with room for the order of summation and for entries of 3 or 4.
  const tolerance = (k: number): number => 20 * (k + 4) * epsilon;

  it('gemm', () => {
    for (const ta of flags)
      for (const tb of flags)
        for (const [m, n, k] of shapes)
          for (const [alpha, beta] of scalars) {
            const a = ta ? block(k, m) : block(m, k),
              b = tb ? block(n, k) : block(k, n),
              c = block(m, n),
              before = c.copy();
            kernels.gemm(
              ta,
              tb,
              m,
              n,
              k,
              alpha,
              a.data,
              a.offset,
              a.ld,
              b.data,
              b.offset,
              b.ld,
              beta,
              c.data,
              c.offset,
              c.ld,
            );
            const expected = op(a.dense(), ta).times(op(b.dense(), tb)).scaled(alpha).plus(before.dense().scaled(beta));
            expect(c.dense().distance(expected), `${[ta, tb, m, n, k, alpha, beta]}`).to.be.at.most(tolerance(k));
            expect(c.firstChange(before)).to.equal(-1);
          }
  });

  it('gemm with beta = 0 ignores what C held', () => {
    for (const [m, n, k] of [
      [3, 4, 5],
      [3, 4, 0],
      [40, 40, 40],
    ]) {
      const a = block(m, k),
        b = block(k, n),
        c = block(m, n).fill(() => NaN);
      kernels.gemm(0, 0, m, n, k, 1, a.data, a.offset, a.ld, b.data, b.offset, b.ld, 0, c.data, c.offset, c.ld);
      expect(c.dense().distance(a.dense().times(b.dense()))).to.be.at.most(tolerance(k));
    }
  });

  it('gemm carries NaN and Infinity of its inputs', () => {
    const a = block(2, 2).fill((i, j) => (i === 0 && j === 1 ? NaN : 1)),
      b = block(2, 2).fill((i) => (i === 0 ? Infinity : 1)),
      c = block(2, 2);
    kernels.gemm(0, 0, 2, 2, 2, 1, a.data, a.offset, a.ld, b.data, b.offset, b.ld, 0, c.data, c.offset, c.ld);
    expect(c.get(0, 0)).to.be.NaN;
    expect(c.get(1, 0)).to.equal(Infinity);
  });

  it('gemv', () => {
    for (const trans of flags)
      for (const [m, n] of shapes)
        for (const [alpha, beta] of scalars)
          for (const inc of [1, 3]) {
            const a = block(m, n),
              inputs = trans ? m : n,
              outputs = trans ? n : m;
            // A vector with an increment is a row of a matrix with that leading dimension.
            const x = new Block(1, inputs, type, random, 2, inc, 1),
              y = new Block(1, outputs, type, random, 1, inc, 2),
              before = y.copy();
            kernels.gemv(
              trans,
              m,
              n,
              alpha,
              a.data,
              a.offset,
              a.ld,
              x.data,
              x.offset,
              inc,
              beta,
              y.data,
              y.offset,
              inc,
            );
            const expected = op(a.dense(), trans)
              .times(x.dense().transposed)
              .scaled(alpha)
              .plus(before.dense().transposed.scaled(beta));
            expect(y.dense().transposed.distance(expected), `${[trans, m, n, alpha, beta, inc]}`).to.be.at.most(
              tolerance(inputs),
            );
            expect(y.firstChange(before)).to.equal(-1);
          }
  });

  it('gemv with beta = 0 ignores what y held', () => {
    for (const n of [0, 5]) {
      const a = block(4, n),
        x = block(n, 1),
        y = block(4, 1).fill(() => NaN);
      kernels.gemv(0, 4, n, 1, a.data, a.offset, a.ld, x.data, x.offset, 1, 0, y.data, y.offset, 1);
      expect(y.dense().distance(a.dense().times(x.dense()))).to.be.at.most(tolerance(n));
    }
  });

  it('syrk writes one triangle', () => {
    for (const uplo of flags)
      for (const trans of flags)
        for (const [n, , k] of shapes)
          for (const [alpha, beta] of scalars) {
            const a = trans ? block(k, n) : block(n, k),
              c = block(n, n);
            if (beta === 0) c.fill((i, j) => ((uplo ? i <= j : i >= j) ? NaN : 1));
            const before = c.copy();
            kernels.syrk(uplo, trans, n, k, alpha, a.data, a.offset, a.ld, beta, c.data, c.offset, c.ld);
            const full = op(a.dense(), trans);
            const old = beta === 0 ? new Dense(n, n) : before.dense().scaled(beta);
            const expected = full.times(full.transposed).scaled(alpha).plus(old).triangle(uplo, 0);
            expect(c.dense().triangle(uplo, 0).distance(expected), `${[uplo, trans, n, k, alpha, beta]}`).to.be.at.most(
              tolerance(k),
            );
            expect(c.firstChange(before, (i, j) => (uplo ? i <= j : i >= j))).to.equal(-1);
          }
  });

  it('symm reads one triangle', () => {
    for (const side of flags)
      for (const uplo of flags)
        for (const [m, n] of shapes)
          for (const [alpha, beta] of scalars) {
            const order = side ? n : m;
            const a = block(order, order),
              b = block(m, n),
              c = block(m, n),
              before = c.copy();
            const whole = a.dense().symmetric(uplo);
            a.fill((i, j) => ((uplo ? i <= j : i >= j) ? a.get(i, j) : NaN));
            kernels.symm(
              side,
              uplo,
              m,
              n,
              alpha,
              a.data,
              a.offset,
              a.ld,
              b.data,
              b.offset,
              b.ld,
              beta,
              c.data,
              c.offset,
              c.ld,
            );
            const product = side ? b.dense().times(whole) : whole.times(b.dense());
            expect(c.dense().distance(product.scaled(alpha).plus(before.dense().scaled(beta)))).to.be.at.most(
              tolerance(order),
            );
            expect(c.firstChange(before)).to.equal(-1);
          }
  });

  it('trsm and trmm are inverse to one another and read one triangle', () => {
    for (const side of flags)
      for (const uplo of flags)
        for (const trans of flags)
          for (const unit of flags)
            for (const [m, n] of [...shapes, ...triangles]) {
              const order = side ? n : m;
              // A dominant diagonal keeps the triangle well conditioned; NaN stands where nothing may be read.
              const a = block(order, order).fill((i, j) =>
                i === j ? (unit ? NaN : 3 + Math.cos(i)) : (uplo ? i < j : i > j) ? random.normal() / order : NaN,
              );
              const triangle = op(a.dense().triangle(uplo, unit), trans);
              const b = block(m, n),
                before = b.copy();
              kernels.trmm(side, uplo, trans, unit, m, n, -0.5, a.data, a.offset, a.ld, b.data, b.offset, b.ld);
              const product = side ? before.dense().times(triangle) : triangle.times(before.dense());
              expect(b.dense().distance(product.scaled(-0.5)), `${[side, uplo, trans, unit, m, n]}`).to.be.at.most(
                tolerance(order),
              );
              expect(b.firstChange(before)).to.equal(-1);
              kernels.trsm(side, uplo, trans, unit, m, n, -2, a.data, a.offset, a.ld, b.data, b.offset, b.ld);
              expect(b.dense().distance(before.dense())).to.be.at.most(3 * tolerance(order));
              expect(b.firstChange(before)).to.equal(-1);
            }
  });

  it('sub-blocks of one array may be input and output', () => {
    // L11 and A21 of a blocked factorization: interleaved in memory, disjoint as blocks.
    const n = 7,
      whole = block(n, n).fill((i, j) => (i === j ? 4 : 1 / (1 + i + 2 * j))),
      before = whole.copy();
    const below = whole.offset + 3;
    kernels.trsm(1, 0, 1, 0, n - 3, 3, 1, whole.data, whole.offset, whole.ld, whole.data, below, whole.ld);
    const l = new Dense(3, 3, (i, j) => before.get(i, j)).triangle(0, 0);
    const x = new Dense(n - 3, 3, (i, j) => whole.get(3 + i, j)),
      b = new Dense(n - 3, 3, (i, j) => before.get(3 + i, j));
    expect(x.times(l.transposed).distance(b)).to.be.at.most(tolerance(3));
    expect(whole.firstChange(before, (i, j) => i >= 3 && j < 3)).to.equal(-1);
  });

  it('dot, axpy', () => {
    for (const n of [0, 1, 5, 31, 64, 100]) {
      const x = block(n, 1),
        y = block(n, 1),
        before = y.copy();
      const expected = x.dense().transposed.times(y.dense()).get(0, 0);
      expect(kernels.dot(n, x.data, x.offset, y.data, y.offset)).to.be.closeTo(expected, tolerance(n));
      expect(kernels.dot(n, x.data, x.offset, x.data, x.offset)).to.be.closeTo(
        x.dense().transposed.times(x.dense()).get(0, 0),
        tolerance(n),
      );
      kernels.axpy(n, -1.25, x.data, x.offset, y.data, y.offset);
      expect(y.dense().distance(x.dense().scaled(-1.25).plus(before.dense()))).to.be.at.most(8 * epsilon);
      expect(y.firstChange(before)).to.equal(-1);
    }
  });

  it('nrm2 neither overflows nor vanishes', () => {
    const large = type === Float64Array ? 1.5e308 : 3e38,
      tiny = type === Float64Array ? 4e-310 : 3e-42;
    const norm = (values: number[]): number => kernels.nrm2(values.length, type.from(values), 0);
    expect(norm([])).to.equal(0);
    expect(norm([0, 0])).to.equal(0);
    expect(norm([3, -4])).to.be.closeTo(5, 10 * epsilon);
    expect(norm([0.6 * large, 0.8 * large]) / large).to.be.closeTo(1, 10 * epsilon);
    // Subnormal inputs carry few digits themselves: compare with what was stored.
    const stored = type.of(3 * tiny, 4 * tiny);
    expect(norm([3 * tiny, 4 * tiny]) / (Math.hypot(stored[0] / tiny, stored[1] / tiny) * tiny)).to.be.closeTo(1, 1e-6);
    expect(norm([1, Infinity])).to.equal(Infinity);
    expect(norm([1, NaN])).to.be.NaN;
    const x = block(77, 1);
    expect(kernels.nrm2(77, x.data, x.offset)).to.be.closeTo(
      Math.sqrt(x.dense().transposed.times(x.dense()).get(0, 0)),
      tolerance(4),
    );
  });
});
