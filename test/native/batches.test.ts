/** Strided batches do the same, to the bit, as one call per item. */
import { expect } from 'chai';
import type { Flag, Real } from '../../ts/native/kernels.js';
import { Random } from '../../ts/random.js';
import { forEachKernelSet } from './implementations.js';

const flags: readonly Flag[] = [0, 1];

forEachKernelSet('batch kernels', (kernels, type) => {
  const random = new Random(21);
  const filled = (length: number): Real => new type(length).map(() => random.normal());
  const count = 4;

  /** Items one after another with a gap, interleaved row-wise in a taller matrix, or all the same. */
  const layouts = (rows: number, cols: number): { ld: number; stride: number }[] => [
    { ld: rows + 1, stride: (rows + 1) * cols + 2 },
    { ld: rows * count, stride: rows },
  ];
  const make = (cols: number, { ld, stride }: { ld: number; stride: number }): Real =>
    filled(3 + ld * cols + stride * count);

  it('gemmBatch', () => {
    const m = 4,
      n = 3,
      k = 5;
    for (const ta of flags)
      for (const tb of flags)
        for (const layout of [0, 1])
          for (const shared of [false, true]) {
            const sizeA = ta ? [k, m] : [m, k],
              sizeB = tb ? [n, k] : [k, n];
            const la = layouts(sizeA[0], sizeA[1])[layout],
              lb = layouts(sizeB[0], sizeB[1])[layout],
              lc = layouts(m, n)[layout];
            if (shared) la.stride = 0;
            const a = make(sizeA[1], la),
              b = make(sizeB[1], lb),
              c = make(n, lc),
              expected = c.slice();
            kernels.gemmBatch(
              ta,
              tb,
              m,
              n,
              k,
              0.5,
              a,
              1,
              la.ld,
              la.stride,
              b,
              2,
              lb.ld,
              lb.stride,
              -1,
              c,
              3,
              lc.ld,
              lc.stride,
              count,
            );
            for (let i = 0; i < count; i++) {
              kernels.gemm(
                ta,
                tb,
                m,
                n,
                k,
                0.5,
                a,
                1 + i * la.stride,
                la.ld,
                b,
                2 + i * lb.stride,
                lb.ld,
                -1,
                expected,
                3 + i * lc.stride,
                lc.ld,
              );
            }
            expect(c).to.deep.equal(expected);
          }
  });

  it('syrkBatch', () => {
    const n = 4,
      k = 3;
    for (const uplo of flags)
      for (const trans of flags)
        for (const layout of [0, 1]) {
          const [rows, cols] = trans ? [k, n] : [n, k],
            la = layouts(rows, cols)[layout],
            lc = layouts(n, n)[layout];
          const a = make(cols, la),
            c = make(n, lc),
            expected = c.slice();
          kernels.syrkBatch(uplo, trans, n, k, 2, a, 0, la.ld, la.stride, 0.5, c, 1, lc.ld, lc.stride, count);
          for (let i = 0; i < count; i++)
            kernels.syrk(uplo, trans, n, k, 2, a, i * la.stride, la.ld, 0.5, expected, 1 + i * lc.stride, lc.ld);
          expect(c).to.deep.equal(expected);
        }
  });

  it('trsmBatch', () => {
    const m = 4,
      n = 3;
    for (const side of flags)
      for (const uplo of flags)
        for (const trans of flags)
          for (const unit of flags)
            for (const layout of [0, 1]) {
              const order = side ? n : m,
                la = layouts(order, order)[layout],
                lb = layouts(m, n)[layout];
              const a = make(order, la).map((x) => x + 4),
                b = make(n, lb),
                expected = b.slice();
              kernels.trsmBatch(
                side,
                uplo,
                trans,
                unit,
                m,
                n,
                1.5,
                a,
                1,
                la.ld,
                la.stride,
                b,
                0,
                lb.ld,
                lb.stride,
                count,
              );
              for (let i = 0; i < count; i++)
                kernels.trsm(
                  side,
                  uplo,
                  trans,
                  unit,
                  m,
                  n,
                  1.5,
                  a,
                  1 + i * la.stride,
                  la.ld,
                  expected,
                  i * lb.stride,
                  lb.ld,
                );
              expect(b).to.deep.equal(expected);
            }
  });

  it('factor and solve batches', () => {
    const n = 5,
      nrhs = 3;
    for (const uplo of flags)
      for (const layout of [0, 1]) {
        const la = layouts(n, n)[layout],
          lb = layouts(n, nrhs)[layout];
        const indefinite = make(n, la),
          definite = indefinite.slice();
        for (let i = 0; i < count; i++) for (let j = 0; j < n; j++) definite[2 + i * la.stride + j * (la.ld + 1)] = 9;
        const rhs = make(nrhs, lb);

        const c = definite.slice(),
          cOne = definite.slice(),
          x = rhs.slice(),
          xOne = rhs.slice();
        expect(kernels.potrfBatch(uplo, n, c, 2, la.ld, la.stride, count)).to.equal(0);
        kernels.potrsBatch(uplo, n, nrhs, c, 2, la.ld, la.stride, x, 1, lb.ld, lb.stride, count);
        for (let i = 0; i < count; i++) {
          kernels.potrf(uplo, n, cOne, 2 + i * la.stride, la.ld);
          kernels.potrs(uplo, n, nrhs, cOne, 2 + i * la.stride, la.ld, xOne, 1 + i * lb.stride, lb.ld);
        }
        expect([c, x]).to.deep.equal([cOne, xOne]);

        const pivots = new Int32Array(count * (n + 2)),
          pivotsOne = pivots.slice();
        const s = indefinite.slice(),
          sOne = indefinite.slice(),
          y = rhs.slice(),
          yOne = rhs.slice();
        expect(kernels.sytrfBatch(uplo, n, s, 2, la.ld, la.stride, pivots, 1, n + 2, count)).to.equal(0);
        kernels.sytrsBatch(uplo, n, nrhs, s, 2, la.ld, la.stride, pivots, 1, n + 2, y, 1, lb.ld, lb.stride, count);
        for (let i = 0; i < count; i++) {
          kernels.sytrf(uplo, n, sOne, 2 + i * la.stride, la.ld, pivotsOne, 1 + i * (n + 2));
          kernels.sytrs(
            uplo,
            n,
            nrhs,
            sOne,
            2 + i * la.stride,
            la.ld,
            pivotsOne,
            1 + i * (n + 2),
            yOne,
            1 + i * lb.stride,
            lb.ld,
          );
        }
        expect([s, pivots, y]).to.deep.equal([sOne, pivotsOne, yOne]);

        const g = indefinite.slice(),
          gOne = indefinite.slice(),
          z = rhs.slice(),
          zOne = rhs.slice();
        expect(kernels.getrfBatch(n, n, g, 2, la.ld, la.stride, pivots, 1, n + 2, count)).to.equal(0);
        kernels.getrsBatch(uplo, n, nrhs, g, 2, la.ld, la.stride, pivots, 1, n + 2, z, 1, lb.ld, lb.stride, count);
        for (let i = 0; i < count; i++) {
          kernels.getrf(n, n, gOne, 2 + i * la.stride, la.ld, pivotsOne, 1 + i * (n + 2));
          kernels.getrs(
            uplo,
            n,
            nrhs,
            gOne,
            2 + i * la.stride,
            la.ld,
            pivotsOne,
            1 + i * (n + 2),
            zOne,
            1 + i * lb.stride,
            lb.ld,
          );
        }
        expect([g, pivots, z]).to.deep.equal([gOne, pivotsOne, zOne]);
      }
  });

  it('one shared factor solves for every item', () => {
    const n = 3,
      a = type.of(4, 1, 1, 1, 5, 1, 1, 1, 6),
      b = filled(n * count),
      pivots = new Int32Array(n),
      expected = b.slice();
    kernels.sytrf(0, n, a, 0, n, pivots, 0);
    kernels.sytrsBatch(0, n, 1, a, 0, n, 0, pivots, 0, 0, b, 0, n, n, count);
    for (let i = 0; i < count; i++) kernels.sytrs(0, n, 1, a, 0, n, pivots, 0, expected, i * n, n);
    expect(b).to.deep.equal(expected);
  });

  it('the first failing item is reported, and all are processed', () => {
    // diag(1, 1), diag(1, -1), diag(-1, 1), diag(4, 4)
    const a = type.of(1, 0, 0, 1, 1, 0, 0, -1, -1, 0, 0, 1, 4, 0, 0, 4);
    expect(kernels.potrfBatch(0, 2, a, 0, 2, 4, 4)).to.equal(2);
    expect(Array.from(a.subarray(12))).to.deep.equal([2, 0, 0, 2]);
    const g = type.of(1, 0, 0, 0, 3, 0, 0, 2),
      pivots = new Int32Array(4);
    expect(kernels.getrfBatch(2, 2, g, 0, 2, 4, pivots, 0, 2, 2)).to.equal(2);
    expect(Array.from(pivots)).to.deep.equal([1, 2, 1, 2]);
  });

  it('outputs whose items overlap are refused', () => {
    const a = filled(40),
      c = filled(40),
      before = c.slice();
    const call = (stride: number, ld: number) => () =>
      kernels.gemmBatch(0, 0, 2, 2, 2, 1, a, 0, 2, 0, a, 0, 2, 0, 0, c, 0, ld, stride, 3);
    expect(call(0, 2)).to.throw(RangeError, /^gemmBatch: expected .* for .*c.*, received /i);
    expect(call(3, 2)).to.throw(RangeError, /^gemmBatch: expected .* for .*c.*, received /i);
    expect(call(1, 6)).to.throw(RangeError, /^gemmBatch: expected .* for .*c.*, received /i);
    expect(c).to.deep.equal(before);
    expect(call(2, 6)).not.to.throw();
  });
});
