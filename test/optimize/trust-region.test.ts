import { expect } from 'chai';
import { DenseShiftedOperator, TrustRegionSolver, trustRegionStatuses } from '../../ts/optimize/trust-region.js';
import { dot, geometric, multiply, norm, normals, symmetricWith } from '../linalg/helpers.js';
import { reference } from './trust-region-reference.js';

const exact = { tolerance: 1e-11, hardTolerance: 1e-11, maxFactorizations: 100 };

function solve(a: Float64Array, g: Float64Array, radius: number, options = exact) {
  const operator = new DenseShiftedOperator(g.length, a);
  const solver = new TrustRegionSolver(g.length, options);
  solver.prepare(operator, g);
  const solution = solver.solve(operator, g, radius);
  return { ...solution, step: solver.step.slice() };
}

function diagonalMatrix(values: readonly number[]): Float64Array {
  const n = values.length;
  const a = new Float64Array(n * n);
  for (let i = 0; i < n; i++) a[i * (n + 1)] = values[i];
  return a;
}

function modelValue(a: Float64Array, g: Float64Array, s: Float64Array): number {
  return dot(g, s) + 0.5 * dot(s, multiply(a, s));
}

describe('trust region', () => {
  it('H = diag(0, -20, 0), g = (1, 0, -1), radius 1: the hard case with multiplier 20', () => {
    const a = diagonalMatrix([0, -20, 0]);
    const g = Float64Array.of(1, 0, -1);
    const { status, lambda, step, norm: length, predicted } = solve(a, g, 1);
    expect(status).equal('hard-case');
    // hardTolerance 1e-11 leaves lambda - 20 below 1e-11 * (lambda + ...) / tau^2
    expect(lambda).closeTo(20, 1e-8);
    expect(length).closeTo(1, 1e-14);
    expect(step[0]).closeTo(-1 / 20, 1e-9);
    expect(step[2]).closeTo(1 / 20, 1e-9);
    expect(Math.abs(step[1])).closeTo(Math.sqrt(1 - 2 / 400), 1e-9);
    expect(predicted).closeTo(-modelValue(a, g, step), 1e-13);
  });

  it('g = 0, H = -I: a step of length radius', () => {
    for (const radius of [1e-3, 1, 40]) {
      const { step, status, lambda, predicted } = solve(diagonalMatrix([-1, -1, -1, -1]), new Float64Array(4), radius);
      expect(status).equal('hard-case');
      expect(norm(step)).closeTo(radius, 1e-14 * radius);
      expect(lambda).closeTo(1, 1e-9);
      expect(predicted).closeTo(0.5 * radius * radius, 1e-12 * radius * radius);
    }
  });

  it('g = 0 at a saddle: along the most negative eigenvector, never along another one', () => {
    const { a, q } = symmetricWith([-3, -2.9, -1, 0, 0.5, 4, 9, 11], 5);
    const { step } = solve(a, new Float64Array(8), 2);
    // hardTolerance bounds the loss of model value: 0.1/2 tau^2 of the other eigenvector <= 1e-11 * 3 * radius^2
    expect(Math.abs(dot(step, q.subarray(0, 8)))).closeTo(2, 1e-9);
  });

  it('g = 0 at a minimum: no step', () => {
    const { step, status, index } = solve(diagonalMatrix([1, 2, 3]), new Float64Array(3), 1);
    expect([...step]).deep.equal([0, 0, 0].map((zero) => -zero));
    expect(status).equal('interior');
    expect(index).equal(0);
  });

  it('positive definite and far from the boundary: the Newton step', () => {
    const { a } = symmetricWith(geometric(12, 1e-2, 10), 3);
    const g = normals(12, 4);
    const { step, status, lambda, factorizations } = solve(a, g, 1e4);
    expect(status).equal('interior');
    // hardTolerance 1e-11 times g^T s over radius^2 = 1e8 allows this much
    expect(lambda).below(1e-16);
    expect(factorizations).equal(1);
    // Cholesky's backward error times the condition number of 1e3
    const residual = multiply(a, step).map((value, i) => value + g[i]);
    expect(norm(residual) / norm(g)).below(1e-12);
  });

  it('singular and semidefinite: no excursion along the null space', () => {
    const { a, q } = symmetricWith([0, 0, 0, 0, 1, 2, 3, 4], 9);
    const g = new Float64Array(8);
    for (let j = 4; j < 8; j++) for (let i = 0; i < 8; i++) g[i] += 1e-4 * q[j * 8 + i];
    const { step, status, predicted } = solve(a, g, 10, { ...exact, hardTolerance: 0.05 });
    expect(status).equal('interior');
    // |H^+ g| = 1e-4 sqrt(1 + 1/4 + 1/9 + 1/16)
    expect(norm(step)).closeTo(1e-4 * Math.sqrt(1 + 1 / 4 + 1 / 9 + 1 / 16), 1e-9);
    expect(predicted).closeTo(-reference(a, g, 10).value, 0.05 * 1e-8);
  });

  it('random indefinite, definite and near-hard problems: the least value of the eigendecomposition', () => {
    const shapes: [string, number[]][] = [
      ['indefinite', [-5, -1, -0.1, 0, 0.3, 1, 2, 8, 20, 100]],
      ['definite', [0.01, 0.1, 0.3, 0.5, 1, 2, 4, 8, 20, 100]],
      ['repeated leftmost', [-5, -5, -5, 0, 0.3, 1, 2, 8, 20, 100]],
      ['singular', [0, 0, 0, 0.1, 0.3, 1, 2, 8, 20, 100]],
      ['negative definite', [-100, -20, -8, -4, -2, -1, -0.5, -0.3, -0.2, -0.1]],
      ['tiny negative', [-1e-6, 0.1, 0.2, 0.3, 0.4, 1, 2, 8, 20, 100]],
    ];
    for (const [name, values] of shapes) {
      for (const radius of [1e-2, 1, 30]) {
        // 1: generic; the others take (nearly) all of g's part along the leftmost eigenvector away
        for (const share of [1, 1e-3, 1e-6, 1e-9, 1e-12, 0]) {
          const { a, q } = symmetricWith(values, 11);
          const g = normals(10, 7);
          const u = q.subarray(0, 10);
          const part = dot(g, u);
          for (let i = 0; i < 10; i++) g[i] -= (1 - share) * part * u[i];
          const expected = reference(a, g, radius);
          const { step, status, lambda, norm: length } = solve(a, g, radius);
          const label = `${name}, radius ${radius}, share ${share}: ${status}`;
          expect(status, label).not.equal('limit');
          expect(length, label).at.most(radius * (1 + 1e-10));
          expect(norm(step), label).closeTo(length, 1e-12 * radius);
          // More-Sorensen: within hardTolerance and the boundary tolerance of the optimum; rounding of the model value is
          // 1e-16 |H| radius^2 and sets the absolute floor
          const value = modelValue(a, g, step);
          const slack = 1e-9 * Math.abs(expected.value) + 1e-13 * 100 * radius * radius;
          expect(value, label).at.most(expected.value + slack);
          expect(value, label).at.least(expected.value - slack);
          expect(lambda, label).closeTo(expected.lambda, 1e-5 * (1 + expected.lambda));
        }
      }
    }
  });

  it('the loose tolerances of training keep nine tenths of the decrease, in few factorizations', () => {
    let most = 0;
    for (let seed = 1; seed <= 40; seed++) {
      const values = Array.from({ length: 60 }, (_, i) => (i < 8 ? -1 / (i + 1) : 1e-3 * 1.2 ** i));
      const { a } = symmetricWith(values, seed);
      const g = normals(60, seed + 100);
      const radius = 10 ** ((seed % 5) - 3);
      const {
        predicted,
        status,
        factorizations,
        norm: length,
      } = solve(a, g, radius, { ...exact, tolerance: 0.1, hardTolerance: 0.05 });
      const expected = reference(a, g, radius);
      expect(status).not.equal('limit');
      expect(length).at.most(1.1 * radius);
      // a step at 0.9 of the radius keeps at least 0.9 of a concave decrease; hardTolerance takes 0.05 more
      expect(predicted).above(0.85 * -expected.value);
      most = Math.max(most, factorizations);
    }
    expect(most).at.most(6);
  });

  it('goes on at the same point with a smaller radius', () => {
    const { a } = symmetricWith([-4, -1, 0.1, 1, 3, 9], 2);
    const g = normals(6, 3);
    const operator = new DenseShiftedOperator(6, a);
    const solver = new TrustRegionSolver(6, exact);
    solver.prepare(operator, g);
    for (const radius of [8, 2, 0.5, 0.1]) {
      const { predicted } = solver.solve(operator, g, radius);
      const expected = reference(a, g, radius);
      expect(predicted).closeTo(-expected.value, 1e-9 * -expected.value);
    }
  });

  it('a step is found, and the limit said, when factorizations run out', () => {
    const { a } = symmetricWith([-4, -1, 0.1, 1, 3, 9], 2);
    const {
      status,
      norm: length,
      predicted,
    } = solve(a, normals(6, 3), 0.3, { tolerance: 1e-14, hardTolerance: 1e-14, maxFactorizations: 1 });
    expect(status).equal('limit');
    expect(length).at.most(0.3 * (1 + 1e-12));
    expect(predicted).above(0);
    expect(Object.keys(trustRegionStatuses)).include(status);
  });

  it('refuses hostile input', () => {
    expect(() => new TrustRegionSolver(0)).throw(RangeError, 'size');
    expect(() => new TrustRegionSolver(3, { tolerance: -1 })).throw(RangeError, 'tolerance');
    expect(() => new TrustRegionSolver(3, { minimumShift: NaN })).throw(RangeError, 'minimumShift');
    expect(() => new DenseShiftedOperator(2, new Float64Array(3))).throw(RangeError, 'matrix');
    const operator = new DenseShiftedOperator(2, Float64Array.of(1, 0, 0, 1));
    const solver = new TrustRegionSolver(2);
    expect(() => solver.solve(operator, new Float64Array(2), 1)).throw(RangeError, 'prepare');
    solver.prepare(operator, new Float64Array(2));
    expect(() => solver.solve(operator, new Float64Array(2), 0)).throw(RangeError, 'radius');
    expect(() => solver.prepare(operator, Float64Array.of(NaN, 0))).throw(RangeError, 'g[0]');
  });
});
