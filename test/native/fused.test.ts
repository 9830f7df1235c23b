/** Data movement, the sample-space Gram matrix and the optimizer steps against their formulas. */
import { expect } from 'chai';
import type { Flag, Real } from '../../ts/native/kernels.js';
import { Random } from '../../ts/random.js';
import { gramProblem } from './gram-problem.js';
import { forEachKernelSet } from './implementations.js';
import { Block, Dense } from './matrices.js';

const flags: readonly Flag[] = [0, 1];
const shapes = [
  [0, 3],
  [3, 0],
  [1, 1],
  [2, 5],
  [16, 16],
  [33, 47],
  // beyond a tile of 64, with whole blocks and without
  [70, 131],
  [192, 64],
] as const;

forEachKernelSet('fused kernels', (kernels, type, epsilon) => {
  const random = new Random(8);
  const block = (rows: number, cols: number): Block =>
    new Block(rows, cols, type, random, random.integer(4), Math.max(1, rows) + random.integer(4), 3);

  it('transpose', () => {
    for (const [m, n] of shapes) {
      const a = block(m, n),
        b = block(n, m),
        before = b.copy();
      kernels.transpose(m, n, a.data, a.offset, a.ld, b.data, b.offset, b.ld);
      expect(b.dense()).to.deep.equal(a.dense().transposed);
      expect(b.firstChange(before)).to.equal(-1);
    }
  });

  it('symmetrize', () => {
    for (const uplo of flags)
      for (const n of [0, 1, 5, 16, 37, 64, 131, 200]) {
        const a = block(n, n),
          before = a.copy();
        kernels.symmetrize(uplo, n, a.data, a.offset, a.ld);
        expect(a.dense()).to.deep.equal(before.dense().symmetric(uplo));
        expect(a.firstChange(before, (i, j) => (uplo ? i > j : i < j))).to.equal(-1);
      }
  });

  it('scaleSymmetric, into another array and in place', () => {
    for (const n of [0, 1, 5, 37])
      for (const scaled of [false, true])
        for (const shifted of [false, true])
          for (const inPlace of [false, true]) {
            const a = block(n, n),
              d = block(n, 1),
              c = block(n, 1),
              b = inPlace ? a : block(n, n),
              source = a.dense(),
              before = b.copy();
            kernels.scaleSymmetric(
              n,
              a.data,
              a.offset,
              a.ld,
              scaled ? d.data : null,
              d.offset,
              shifted ? c.data : null,
              c.offset,
              b.data,
              b.offset,
              b.ld,
            );
            const expected = new Dense(
              n,
              n,
              (i, j) =>
                (scaled ? d.get(i, 0) * d.get(j, 0) : 1) * source.get(i, j) + (shifted && i === j ? c.get(i, 0) : 0),
            );
            expect(b.dense().distance(expected)).to.be.at.most(4 * epsilon * (1 + expected.largest + source.largest));
            expect(b.firstChange(before)).to.equal(-1);
          }
  });

  it('scaleRows, both sides, into another array and in place', () => {
    for (const side of flags)
      for (const [m, n] of shapes)
        for (const inPlace of [false, true]) {
          const a = block(m, n),
            d = block(side ? n : m, 1),
            b = inPlace ? a : block(m, n),
            source = a.dense(),
            before = b.copy();
          kernels.scaleRows(side, m, n, d.data, d.offset, a.data, a.offset, a.ld, b.data, b.offset, b.ld);
          const expected = new Dense(m, n, (i, j) => source.get(i, j) * d.get(side ? j : i, 0));
          expect(b.dense().distance(expected)).to.be.at.most(epsilon * expected.largest);
          expect(b.firstChange(before)).to.equal(-1);
        }
  });

  it('hadamard, also onto one of its factors', () => {
    for (const accumulate of flags)
      for (const n of [0, 1, 7, 64, 101])
        for (const onto of ['new', 'x', 'y', 'both']) {
          const x = block(n, 1),
            y = onto === 'both' ? x : block(n, 1),
            out = onto === 'new' ? block(n, 1) : onto === 'y' ? y : x;
          const before = out.copy(),
            left = x.dense(),
            right = y.dense();
          kernels.hadamard(accumulate, n, x.data, x.offset, y.data, y.offset, out.data, out.offset);
          const expected = new Dense(
            n,
            1,
            (i) => left.get(i, 0) * right.get(i, 0) + (accumulate ? before.get(i, 0) : 0),
          );
          expect(out.dense().distance(expected)).to.be.at.most(2 * epsilon * (1 + left.largest * right.largest));
          expect(out.firstChange(before)).to.equal(-1);
        }
  });

  it('columnSums', () => {
    for (const accumulate of flags)
      for (const [m, n] of [...shapes, [1000, 2] as const]) {
        const a = block(m, n),
          out = block(n, 1),
          before = out.copy();
        kernels.columnSums(accumulate, m, n, a.data, a.offset, a.ld, out.data, out.offset);
        const expected = new Dense(n, 1, (j) => {
          let sum = accumulate ? before.get(j, 0) : 0;
          for (let i = 0; i < m; i++) sum += a.get(i, j);
          return sum;
        });
        expect(out.dense().distance(expected)).to.be.at.most(epsilon * (8 + m));
        expect(out.firstChange(before)).to.equal(-1);
      }
  });

  it('jacobianGram: lower triangle, any number of samples, outputs and widths', () => {
    // Below and beyond tiles of at most 192, by samples and across outputs; with and without whole vectors; no layer, width 0.
    const cases: [number, number, number[], number[]?][] = [
      // Gram matrices given by their factors
      [3, 2, [4, 1], [2, 3]],
      [64, 2, [16, 10], [5, 17]],
      [67, 3, [5, 6], [8, 1]],
      [130, 1, [2, 3], [4, 0]],
      [260, 1, [3, 2], [5, 2]],
      [200, 2, [3], [4]],
      [1, 1, [1]],
      [1, 3, [2, 1]],
      [3, 2, []],
      [2, 4, [0, 3]],
      [8, 10, [5, 4]],
      [5, 13, [3, 2, 1]],
      [31, 3, [4]],
      [25, 11, [3, 2]],
      [400, 1, [2]],
      [32, 3, [7, 2]],
      [40, 2, [3]],
      [64, 2, [16, 10, 3]],
      [67, 2, [5, 6]],
      [100, 1, [9]],
      [130, 1, [2, 3]],
      [260, 1, [3, 2]],
    ];
    for (const [samples, outputs, widths, inner] of cases) {
      const { order, expected, magnitude, run } = gramProblem(samples, outputs, widths, type, random, inner ?? null);
      const c = block(order, order),
        before = c.copy();
      run(kernels, c);
      let worst = 0;
      for (let j = 0; j < order; j++)
        for (let i = j; i < order; i++) {
          worst = Math.max(worst, Math.abs(c.get(i, j) - expected.get(i, j)) / Math.max(magnitude.get(i, j), 1e-30));
        }
      // A handful of roundings per term of the sum of absolute values.
      expect(worst, `${samples} x ${outputs}, widths ${widths}`).to.be.at.most(16 * epsilon);
      expect(
        c.firstChange(before, (i, j) => i >= j),
        `${samples} x ${outputs}`,
      ).to.equal(-1);
    }
  });

  it('jacobianGram does not depend on the thread count', () => {
    if (kernels.info().backend === 'typescript') return; // one thread only
    // 480 rows, 6 layers of 48: 66 million operations, enough work for a second thread.
    const { order, run } = gramProblem(
      96,
      5,
      Array.from({ length: 6 }, () => 48),
      type,
      random,
    );
    const one = block(order, order),
      two = one.copy();
    kernels.setThreads(1);
    run(kernels, one);
    try {
      expect(kernels.setThreads(2)).to.be.at.least(1);
      run(kernels, two);
    } finally {
      kernels.setThreads(1);
    }
    expect(two.data).to.deep.equal(one.data);
  });

  it('adamStep and sgdStep', () => {
    for (const n of [0, 1, 7, 100]) {
      const make = (): Real => new type(n + 2).map(() => random.normal());
      const params = make(),
        gradient = make(),
        m = make(),
        v = make().map(Math.abs),
        start = { params: params.slice(), m: m.slice(), v: v.slice() };
      kernels.adamStep(n, params, gradient, m, v, 0.01, 0.9, 0.999, 0.19, 0.002, 1e-3, 0.1);
      for (let i = 0; i < n + 2; i++) {
        const first = i < n ? 0.9 * start.m[i] + 0.1 * gradient[i] : start.m[i],
          second = i < n ? 0.999 * start.v[i] + 0.001 * gradient[i] ** 2 : start.v[i];
        const step = 0.01 * (first / 0.19 / (Math.sqrt(second / 0.002) + 1e-3) + 0.1 * start.params[i]);
        expect(m[i]).to.be.closeTo(first, 8 * epsilon);
        expect(v[i]).to.be.closeTo(second, 8 * epsilon * (1 + second));
        expect(params[i]).to.be.closeTo(
          start.params[i] - (i < n ? step : 0),
          16 * epsilon * (1 + Math.abs(start.params[i])),
        );
      }
      for (const nesterov of flags) {
        const p = make(),
          velocity = make(),
          oldP = p.slice(),
          oldV = velocity.slice();
        kernels.sgdStep(n, p, gradient, velocity, 0.1, 0.8, nesterov, 0.05);
        for (let i = 0; i < n + 2; i++) {
          const g = gradient[i] + 0.05 * oldP[i],
            next = i < n ? 0.8 * oldV[i] + g : oldV[i];
          expect(velocity[i]).to.be.closeTo(next, 16 * epsilon * (1 + Math.abs(next)));
          expect(p[i]).to.be.closeTo(
            oldP[i] - (i < n ? 0.1 * (nesterov ? g + 0.8 * next : next) : 0),
            16 * epsilon * (1 + Math.abs(oldP[i])),
          );
        }
      }
    }
  });
});
