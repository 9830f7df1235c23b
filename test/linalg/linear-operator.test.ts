import { expect } from 'chai';
import {
  diagonal,
  fromDense,
  fromFunction,
  identity,
  inverseOf,
  LinearOperator,
} from '../../ts/linalg/linear-operator.js';
import { product, scaled, shifted, sum } from '../../ts/linalg/operator-algebra.js';
import { denseSolve, multiply, normals, relativeError, symmetricWith } from './helpers.js';

const n = 7;
const { a } = symmetricWith([-3, -1, 0.5, 1, 2, 4, 9], 5);
const { a: b } = symmetricWith([1, 1, 2, 3, 5, 8, 13], 6);
const general = normals(5 * 3, 7); // 5 x 3

/** Entry-wise combination of dense matrices. */
const combine = (x: Float64Array, y: Float64Array, f: (u: number, v: number) => number): Float64Array =>
  x.map((u, i) => f(u, y[i]));
const eye = (size: number): Float64Array => {
  const out = new Float64Array(size * size);
  for (let i = 0; i < size; i++) out[i * (size + 1)] = 1;
  return out;
};
const multiplyMany = (x: Float64Array, rows: number, inner: number, y: Float64Array): Float64Array => {
  const columns = y.length / inner;
  const out = new Float64Array(rows * columns);
  for (let j = 0; j < columns; j++) out.set(multiply(x, y.slice(j * inner, (j + 1) * inner)), j * rows);
  return out;
};

describe('linear operators', () => {
  const A = fromDense(a);
  const B = fromDense(b, { definiteness: 'positive-definite' });
  const d = Float64Array.of(1, 2, 3, 4, 5, 6, 7);

  // One table: every operator with the dense matrix it must equal.
  const table: [string, LinearOperator, Float64Array][] = [
    ['dense', A, a],
    ['rectangular', fromDense(general, { rows: 5, columns: 3 }), general],
    ['function', fromFunction(n, (x, out) => out.set(multiply(a, x)), { symmetric: true }), a],
    ['shifted', shifted(A, 0.25), combine(a, eye(n), (u, v) => u + 0.25 * v)],
    ['scaled', scaled(A, -2), a.map((u) => -2 * u)],
    [
      'sum',
      sum(A, B, identity(n)),
      combine(
        combine(a, b, (u, v) => u + v),
        eye(n),
        (u, v) => u + v,
      ),
    ],
    ['product', product([A, B]), multiplyMany(a, n, n, b)],
    ['triple product', product([A, B, A], { symmetric: true }), multiplyMany(a, n, n, multiplyMany(b, n, n, a))],
    ['product of shapes', product([fromDense(general, { rows: 5, columns: 3 }), identity(3)]), general],
    ['identity', identity(n), eye(n)],
    ['diagonal', diagonal(d), combine(eye(n), eye(n), (u) => u).map((u, i) => (u === 0 ? 0 : d[i % n]))],
    [
      'inverse',
      inverseOf({ solve: (rhs) => ({ x: denseSolve(a, rhs) }) }, n),
      multiplyMany(
        eye(n),
        n,
        n,
        Float64Array.from({ length: n }, (_, j) => j).reduce(
          (all, j) => {
            all.set(denseSolve(a, eye(n).slice(j * n, (j + 1) * n)), j * n);
            return all;
          },
          new Float64Array(n * n),
        ),
      ),
    ],
  ];

  for (const [name, operator, dense] of table) {
    it(`${name}: one vector, many vectors and toDense agree with the matrix`, () => {
      const { rows, columns } = operator;
      const m = 4;
      const x = normals(columns * m, 11);
      // 1e-13: a handful of roundings of numbers of size 10^2.
      expect(relativeError(operator.apply(x.slice(0, columns)), multiply(dense, x.slice(0, columns)))).below(1e-13);
      const many = operator.applyMany(x, m);
      for (let j = 0; j < m; j++) {
        const expected = multiply(dense, x.slice(j * columns, (j + 1) * columns));
        expect(relativeError(many.slice(j * rows, (j + 1) * rows), expected)).below(1e-13);
      }
      expect(relativeError(operator.toDense(), dense)).below(1e-13);
      expect(operator.apply(x.slice(0, columns))).deep.equal(operator.apply(x.slice(0, columns)));
    });
  }

  it('an inverse solves many right-hand sides at once where its solver can', () => {
    const calls: number[] = [];
    const solver = {
      solve: (rhs: Float64Array) => denseSolve(a, rhs),
      solveMany: (rhs: Float64Array, columns: number) => {
        calls.push(columns);
        const x = new Float64Array(n * columns);
        for (let j = 0; j < columns; j++) x.set(denseSolve(a, rhs.slice(j * n, (j + 1) * n)), j * n);
        return { x };
      },
    };
    const rhs = normals(3 * n, 12);
    expect(inverseOf(solver, n).applyMany(rhs, 3)).deep.equal(inverseOf({ solve: solver.solve }, n).applyMany(rhs, 3));
    expect(calls).deep.equal([3]);
  });

  it('takes tags from the algebra', () => {
    const semi = diagonal(Float64Array.of(0, 1, 2, 3, 4, 5, 6));
    expect(A.symmetric).equal(true);
    expect(fromDense(normals(9, 1)).symmetric).equal(false);
    expect(semi.definiteness).equal('positive-semidefinite');
    expect(shifted(semi, 1).definiteness).equal('positive-definite');
    expect(shifted(B, -1).definiteness).equal('unknown');
    expect(scaled(B, 3).definiteness).equal('positive-definite');
    expect(scaled(B, -3).definiteness).equal('indefinite');
    expect(sum(B, semi).definiteness).equal('positive-definite');
    expect(sum(semi, semi).definiteness).equal('positive-semidefinite');
    expect(sum(A, B).definiteness).equal('unknown');
    expect(product([A, B]).symmetric).equal(false);
    expect(diagonal(Float64Array.of(-1, 2)).definiteness).equal('indefinite');
  });

  it('works at size one and with no vectors', () => {
    const one = fromDense(Float64Array.of(3));
    expect(one.apply(Float64Array.of(2))).deep.equal(Float64Array.of(6));
    expect(one.applyMany(new Float64Array(0), 0)).deep.equal(new Float64Array(0));
  });

  it('refuses wrong shapes, shared memory and false claims by name', () => {
    expect(() => A.apply(new Float64Array(6))).throw(
      RangeError,
      /dense.apply: expected a Float64Array of length 7 for x/,
    );
    expect(() => A.apply([1] as unknown as Float64Array)).throw(TypeError, /for x, received array/);
    expect(() => A.apply(new Float64Array(7), new Float64Array(8))).throw(RangeError, /for out/);
    const x = new Float64Array(7);
    expect(() => A.apply(x, x)).throw(RangeError, /not shared/);
    expect(() => fromDense(normals(9, 1), { symmetric: true })).throw(RangeError, /symmetric matrix/);
    expect(() => fromDense(new Float64Array(5))).throw(RangeError);
    expect(() => sum(A, identity(3))).throw(RangeError, /shape 7 x 7/);
    expect(() => product([A, identity(3)])).throw(RangeError, /7 rows/);
    expect(() => shifted(fromDense(general, { rows: 5, columns: 3 }), 1)).throw(RangeError, /square/);
    expect(() => new LinearOperator({ rows: 2, columns: 3, symmetric: true, apply: () => undefined })).throw(
      RangeError,
    );
    expect(() => new LinearOperator({ rows: 2, wrong: 1 } as never)).throw(RangeError, /unknown option 'wrong'/);
  });
});
