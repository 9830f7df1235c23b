import { expect } from 'chai';
import { kernels, No, Yes, type Flag } from '../../ts/native/index.js';
import { addBias, columnSums, hadamard, multiply } from '../../ts/network/small-blocks.js';
import { Random } from '../../ts/random.js';
import { maximumError } from '../helpers/problems.js';

/* Both sides add at most 40 products of normals: rounding of a few 1e-15. */
const tolerance = 1e-13;

describe('small blocks', () => {
  const random = new Random(5);
  const fresh = (n = 4000): Float64Array => random.normals(new Float64Array(n));

  it('products equal the kernel on both sides of the size limit, for every form, offset and beta', () => {
    const forms: [Flag, Flag, [number, number, number][]][] = [
      [
        No,
        No,
        [
          [1, 1, 1],
          [1, 7, 5],
          [1, 16, 16],
          [1, 17, 16],
          [2, 3, 4],
        ],
      ],
      [
        No,
        Yes,
        [
          [1, 7, 5],
          [1, 16, 16],
          [1, 40, 16],
          [3, 2, 2],
        ],
      ],
      [
        Yes,
        No,
        [
          [7, 5, 1],
          [16, 16, 1],
          [20, 16, 1],
          [4, 3, 2],
          [1, 4, 4],
        ],
      ],
    ];
    for (const [transA, transB, sizes] of forms) {
      for (const [m, n, k] of sizes) {
        for (const beta of [0, 1] as const) {
          const [a, b, c] = [fresh(), fresh(), fresh()];
          if (beta === 0) c.fill(NaN, 5, 5 + m);
          const expected = c.slice();
          const lda = (transA === No ? m : k) + 2;
          const ldb = (transB === No ? k : n) + 1;
          const ldc = m + 3;
          multiply(transA, transB, m, n, k, a, 3, lda, b, 4, ldb, beta, c, 5, ldc);
          kernels.gemm(transA, transB, m, n, k, 1, a, 3, lda, b, 4, ldb, beta, expected, 5, ldc);
          expect(maximumError(c, expected), `${transA}${transB} ${m} ${n} ${k} beta ${beta}`).to.be.below(tolerance);
        }
      }
    }
  });

  it('element-wise forms equal the kernels on both sides of the limit', () => {
    for (const [rows, cols] of [
      [1, 10],
      [8, 8],
      [13, 5],
      [30, 4],
    ]) {
      const n = rows * cols;
      for (const accumulate of [No, Yes] as const) {
        const [x, y, out] = [fresh(300), fresh(300), fresh(300)];
        const expected = out.slice();
        hadamard(accumulate, n, x, 1, y, 2, out, 3);
        kernels.hadamard(accumulate, n, x, 1, y, 2, expected, 3);
        expect(maximumError(out, expected)).to.be.below(tolerance);
        columnSums(accumulate, rows, cols, x, 1, out, 150);
        kernels.columnSums(accumulate, rows, cols, x, 1, rows, expected, 150);
        expect(maximumError(out, expected)).to.be.below(tolerance);
      }
      const block = fresh(300);
      const bias = fresh(50);
      const expected = block.map((value, i) =>
        i >= 2 && i < 2 + n ? value + bias[3 + Math.floor((i - 2) / rows)] : value,
      );
      addBias(rows, cols, block, 2, bias, 3);
      expect(Array.from(block)).to.deep.equal(Array.from(expected));
    }
  });
});
