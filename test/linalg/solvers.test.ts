import { expect } from 'chai';
import { cg } from '../../ts/linalg/cg.js';
import { gmres } from '../../ts/linalg/gmres.js';
import { diagonal, fromDense, fromFunction, inverseOf, type LinearOperator } from '../../ts/linalg/linear-operator.js';
import { minres } from '../../ts/linalg/minres.js';
import { neumann } from '../../ts/linalg/neumann.js';
import { iterationStatuses, explain, type SolveResult } from '../../ts/linalg/status.js';
import { Workspace } from '../../ts/linalg/workspace.js';
import { denseSolve, dot, geometric, multiply, norm, normals, relativeError, symmetricWith } from './helpers.js';

const spd = (n: number, condition: number, seed: number): Float64Array =>
  symmetricWith(geometric(n, 1 / condition, 1), seed).a;
const mixedSigns = (n: number, condition: number): Float64Array =>
  geometric(n, 1 / condition, 1).map((v, i) => (i % 3 === 0 ? -v : v));

type Solve = (a: LinearOperator, b: Float64Array, options?: object) => SolveResult;
const solvers: Record<string, Solve> = { cg, minres, gmres, neumann };

/** Every solver's residual must be the residual: recomputed here in plain loops. */
function checkHonest(result: SolveResult, a: Float64Array, b: Float64Array): void {
  const r = multiply(a, result.x).map((v, i) => b[i] - v);
  // Rounding of one product: n eps ||A|| ||x||.
  expect(Math.abs(result.residual - norm(r) / norm(b))).below(1e-13 * (1 + norm(result.x) / norm(b)));
  expect(result.residuals.length).equal(result.iterations + 1);
  expect(result.status in iterationStatuses).equal(true);
  expect(explain(result.status)).match(/\.$/);
}

for (const [name, solve] of Object.entries(solvers)) {
  describe(name, () => {
    const n = 30;
    const a = spd(n, 50, 1);
    const b = normals(n, 2);

    it('solves positive definite systems to the tolerance and reports honestly', () => {
      const exact = denseSolve(a, b);
      for (const tolerance of [1e-3, 1e-6, 1e-10]) {
        const result = solve(fromDense(a), b, { tolerance, maxIterations: 3000 });
        expect(result.status).equal('converged');
        expect(result.residual).at.most(tolerance);
        expect(relativeError(result.x, exact)).below(50 * tolerance * 1.01); // condition number times residual
        checkHonest(result, a, b);
      }
    });

    it('n = 1, zero right-hand side, a starting point, an exact starting point', () => {
      const one = solve(fromDense(Float64Array.of(4)), Float64Array.of(2));
      expect(one.status).equal('converged');
      expect(one.x[0]).closeTo(0.5, 1e-10);
      const zero = solve(fromDense(a), new Float64Array(n), { initial: b });
      expect(zero).include({ status: 'converged', iterations: 0, residual: 0 });
      expect(norm(zero.x)).equal(0);
      const exact = denseSolve(a, b);
      const warm = solve(fromDense(a), b, { initial: exact, tolerance: 1e-8 });
      expect(warm).include({ status: 'converged', iterations: 0 });
      const nearly = exact.map((v, i) => v + 1e-4 * Math.sin(i));
      const some = solve(fromDense(a), b, { initial: nearly, tolerance: 1e-8, maxIterations: 2000 });
      expect(some.status).equal('converged');
      expect(relativeError(some.x, exact)).below(1e-6);
    });

    it('gives the same bits twice, with and without a workspace and an own out', () => {
      const workspace = new Workspace();
      const first = solve(fromDense(a), b, { maxIterations: 17 });
      const out = new Float64Array(n);
      solve(
        fromDense(a),
        b.map((v) => 2 * v),
        { maxIterations: 9, workspace },
      );
      const second = solve(fromDense(a), b, { maxIterations: 17, workspace, out });
      expect(second.x).equal(out);
      expect(second.x).deep.equal(first.x);
      expect(second.residuals).deep.equal(first.residuals);
      const bytes = workspace.bytes;
      solve(fromDense(a), b, { maxIterations: 17, workspace });
      expect(workspace.bytes).equal(bytes);
    });

    it('stops at the limit, at the callback and at a product that is not finite', () => {
      const limited = solve(fromDense(a), b, { maxIterations: 3 });
      expect(limited).include({ status: 'iteration-limit', iterations: 3 });
      checkHonest(limited, a, b);
      const seen: number[] = [];
      const stopped = solve(fromDense(a), b, { onIteration: (k: number) => (seen.push(k), k < 4) });
      expect(stopped).include({ status: 'stopped', iterations: 4 });
      expect(seen).deep.equal([1, 2, 3, 4]);
      let calls = 0;
      const breaking = fromFunction(n, (x, out) => out.set(calls++ < 3 ? multiply(a, x) : x.map(() => NaN)), {
        symmetric: true,
      });
      expect(solve(breaking, b, name === 'neumann' ? { scale: 0.5 } : {}).status).equal('not-finite');
      const always = fromFunction(n, (_x, out) => out.fill(NaN), { symmetric: true });
      expect(solve(always, b).status).equal('not-finite');
    });

    it('counts its products', () => {
      let calls = 0;
      const counting = fromFunction(
        n,
        (x, out) => {
          calls++;
          out.set(multiply(a, x));
        },
        { symmetric: true },
      );
      expect(solve(counting, b, { tolerance: 1e-6 }).products).equal(calls);
    });

    it('refuses wrong arguments', () => {
      expect(() => solve(fromDense(a), new Float64Array(n - 1))).throw(RangeError, /for b/);
      expect(() => solve(fromDense(a), new Float64Array(n).fill(NaN))).throw(RangeError, /b\[0\]/);
      expect(() => solve(fromDense(a), b, { tolerance: -1 })).throw(RangeError, /tolerance/);
      expect(() => solve(fromDense(a), b, { tolerence: 1 })).throw(RangeError, /unknown option 'tolerence'/);
      expect(() => solve(a as unknown as LinearOperator, b)).throw(TypeError, /LinearOperator/);
      expect(() => solve(fromDense(normals(6, 1), { rows: 3, columns: 2 }), b)).throw(RangeError, /square/);
    });
  });
}

describe('symmetric solvers', () => {
  const n = 25;
  const a = fromDense(spd(n, 10, 3));
  const b = normals(n, 4);
  const skew = fromDense(normals(n * n, 5));

  for (const name of ['cg', 'minres']) {
    it(`${name} refuses a non-symmetric operator, and a non-symmetric or indefinite preconditioner`, () => {
      expect(() => solvers[name](skew, b)).throw(RangeError, /symmetric operator for operator/);
      expect(() => solvers[name](a, b, { preconditioner: skew })).throw(
        RangeError,
        /symmetric operator for preconditioner/,
      );
      const indefinite = diagonal(Float64Array.from({ length: n }, (_, i) => (i === 3 ? -1 : 1)));
      expect(() => solvers[name](a, b, { preconditioner: indefinite })).throw(RangeError, /positive definite/);
      const hidden = fromFunction(n, (x, out) => out.set(x.map((v) => -v)), { symmetric: true });
      expect(solvers[name](a, b, { preconditioner: hidden }).status).equal('indefinite-preconditioner');
    });
  }

  it('minres can check symmetry by products', () => {
    const liar = fromFunction(n, (x, out) => skew.apply(x, out), { symmetric: true });
    expect(() => minres(liar, b, { checkSymmetry: true })).throw(RangeError, /not symmetric/);
    expect(minres(a, b, { checkSymmetry: true }).status).equal('converged');
  });
});

describe('conjugate gradients', () => {
  it('needs as many iterations as there are distinct eigenvalues', () => {
    const { a } = symmetricWith([1, 1, 1, 1, 5, 5, 5, 9, 9, 9, 9, 9], 6);
    const result = cg(fromDense(a), normals(12, 7));
    expect(result).include({ status: 'converged', iterations: 3 });
    expect(result.negativeCurvature).equal(null);
  });

  it('reports negative curvature on an indefinite operator: d^T A d < 0, measured here', () => {
    for (let seed = 1; seed <= 8; seed++) {
      const n = 20;
      const { a } = symmetricWith(mixedSigns(n, 100), seed);
      const result = cg(fromDense(a), normals(n, seed + 50));
      expect(result.status).equal('negative-curvature');
      const { direction, curvature } = result.negativeCurvature!;
      expect(norm(direction)).closeTo(1, 1e-12);
      expect(dot(direction, multiply(a, direction)))
        .closeTo(curvature, 1e-12)
        .and.below(0);
    }
  });

  it('goes on over negative curvature when told so', () => {
    const { a } = symmetricWith(mixedSigns(20, 10), 3);
    const result = cg(fromDense(a), normals(20, 4), { onNegativeCurvature: 'continue' });
    expect(result.negativeCurvature).not.equal(null);
    checkHonest(result, a, normals(20, 4));
  });

  it('reports zero curvature of a singular inconsistent system, and solves a consistent one', () => {
    const { a } = symmetricWith([0, 0, 1, 2, 3, 4], 5);
    expect(cg(fromDense(a), multiply(a, normals(6, 8))).status).equal('converged');
    const flat = cg(fromDense(new Float64Array(36)), normals(6, 8));
    expect(flat).include({ status: 'negative-curvature' });
    expect(flat.negativeCurvature!.curvature).equal(0);
    expect(cg(fromDense(a), normals(6, 8)).status).not.equal('converged');
  });

  it('an exact inverse as preconditioner converges at once; a diagonal one helps', () => {
    const n = 60;
    const scales = geometric(n, 1, 1000);
    const { a: core } = symmetricWith(geometric(n, 1, 4), 9);
    const a = core.map((v, k) => v * scales[k % n] * scales[Math.floor(k / n)]); // badly scaled rows and columns
    for (let i = 0; i < n; i++) for (let j = 0; j < i; j++) a[i + j * n] = a[j + i * n];
    const b = normals(n, 10);
    const plain = cg(fromDense(a), b, { maxIterations: 5000, tolerance: 1e-8 });
    const jacobi = diagonal(Float64Array.from({ length: n }, (_, i) => 1 / a[i * (n + 1)]));
    const scaledRun = cg(fromDense(a), b, { preconditioner: jacobi, tolerance: 1e-8 });
    expect(scaledRun.status).equal('converged');
    expect(scaledRun.iterations)
      .below(40)
      .and.below(plain.iterations / 4);
    const exact = inverseOf({ solve: (rhs) => denseSolve(a, rhs) }, n, { definiteness: 'positive-definite' });
    // Twice: the recursive residual of the first step may miss 1e-8 by rounding at this condition number.
    expect(cg(fromDense(a), b, { preconditioner: exact, tolerance: 1e-8 }).iterations).at.most(2);
  });

  it('says stagnated where rounding forbids the tolerance', () => {
    const a = spd(30, 1e6, 11);
    const result = cg(fromDense(a), normals(30, 12), { tolerance: 1e-17, maxIterations: 5000 });
    expect(result.status).equal('stagnated');
    checkHonest(result, a, normals(30, 12));
  });
});

describe('MINRES', () => {
  it('solves indefinite systems, its residual never rising, and reports negative curvature early', () => {
    for (let seed = 1; seed <= 6; seed++) {
      const n = 40;
      const { a } = symmetricWith(mixedSigns(n, 100), seed);
      const b = normals(n, seed + 20);
      const result = minres(fromDense(a), b, { maxIterations: 1000 });
      expect(result.status).equal('converged');
      expect(relativeError(result.x, denseSolve(a, b))).below(1e-7);
      checkHonest(result, a, b);
      for (let k = 1; k < result.iterations; k++)
        expect(result.residuals[k]).at.most(result.residuals[k - 1] * (1 + 1e-12));
      const { direction, curvature, iteration } = result.negativeCurvature!;
      expect(dot(direction, multiply(a, direction)))
        .closeTo(curvature, 1e-12)
        .and.below(0);
      expect(iteration).below(result.iterations);
    }
  });

  it('finds no negative curvature where there is none, and stops at it when asked', () => {
    expect(minres(fromDense(spd(30, 100, 2)), normals(30, 3)).negativeCurvature).equal(null);
    const { a } = symmetricWith(mixedSigns(30, 100), 2);
    const result = minres(fromDense(a), normals(30, 3), { onNegativeCurvature: 'stop' });
    expect(result.status).equal('negative-curvature');
    expect(dot(result.negativeCurvature!.direction, multiply(a, result.negativeCurvature!.direction))).below(0);
    expect(minres(fromDense(a), normals(30, 3), { onNegativeCurvature: 'ignore' }).negativeCurvature).equal(null);
  });

  it('a single negative eigenvalue hidden in the right-hand side is found by the end', () => {
    const n = 20;
    const { a, q } = symmetricWith(
      geometric(n, 0.1, 1).map((v, i) => (i === 0 ? -0.1 : v)),
      9,
    );
    const b = normals(n, 10);
    const along = dot(q.subarray(0, n), b);
    for (let i = 0; i < n; i++) b[i] -= (1 - 1e-3) * along * q[i];
    const result = minres(fromDense(a), b);
    expect(result.status).equal('converged');
    expect(result.negativeCurvature!.curvature).below(0);
  });

  it('gives the least-norm solution of a singular consistent system', () => {
    for (let seed = 1; seed <= 5; seed++) {
      const n = 30;
      const eigenvalues = geometric(n, 0.05, 2).map((v, i) => (i < 4 ? 0 : i % 2 === 0 ? v : -v));
      const { a, q } = symmetricWith(eigenvalues, seed);
      const y = normals(n, seed + 30);
      const b = multiply(a, y);
      const result = minres(fromDense(a), b, { maxIterations: 500 });
      expect(result.status).equal('converged');
      for (let k = 0; k < 4; k++) expect(Math.abs(dot(q.subarray(k * n, (k + 1) * n), result.x))).below(1e-8);
    }
  });

  it('recognises singular inconsistent systems and returns a least-squares solution', () => {
    for (let seed = 1; seed <= 5; seed++) {
      for (const n of [8, 30]) {
        const kernel = Math.max(1, Math.floor(n / 8));
        const eigenvalues = geometric(n, 0.05, 2).map((v, i) => (i < kernel ? 0 : i % 2 === 0 ? v : -v));
        const { a, q } = symmetricWith(eigenvalues, seed);
        const b = normals(n, seed + 30);
        const result = minres(fromDense(a), b, { maxIterations: 1000 });
        expect(result.status).equal('least-squares');
        let best = 0;
        for (let k = 0; k < kernel; k++) best += dot(q.subarray(k * n, (k + 1) * n), b) ** 2;
        expect(result.residual).closeTo(Math.sqrt(best) / norm(b), 1e-9); // the part of b outside the range
        expect(result.leastSquaresResidual).below(1e-7);
      }
    }
    expect(minres(fromDense(new Float64Array(9)), Float64Array.of(1, 2, 3)).status).equal('least-squares');
  });

  it('does not take a tiny eigenvalue for a zero one', () => {
    const n = 20;
    const { a } = symmetricWith(
      geometric(n, 0.1, 1).map((v, i) => (i === 0 ? 1e-7 : v)),
      4,
    );
    const result = minres(fromDense(a), normals(n, 5), { tolerance: 1e-8, maxIterations: 2000 });
    expect(result.status).equal('converged');
  });

  it('preconditioned, equals the plain method on the transformed system', () => {
    const n = 30;
    const { a } = symmetricWith(mixedSigns(n, 20), 7);
    const b = normals(n, 8);
    // M^-1 = diag(s)^2: iterates of MINRES(A, M) are diag(s) times those of MINRES(S A S, S b).
    const s = geometric(n, 0.5, 2);
    const transformed = a.map((v, k) => v * s[k % n] * s[Math.floor(k / n)]);
    for (let i = 0; i < n; i++) for (let j = 0; j < i; j++) transformed[i + j * n] = transformed[j + i * n];
    for (const maxIterations of [1, 2, 5, 11]) {
      const direct = minres(fromDense(a), b, { preconditioner: diagonal(s.map((v) => v * v)), maxIterations });
      const plain = minres(
        fromDense(transformed),
        b.map((v, i) => v * s[i]),
        { maxIterations },
      );
      expect(
        relativeError(
          direct.x,
          plain.x.map((v, i) => v * s[i]),
        ),
      ).below(1e-10);
    }
    const full = minres(fromDense(a), b, { preconditioner: diagonal(s.map((v) => v * v)), maxIterations: 500 });
    expect(full.status).equal('converged');
    checkHonest(full, a, b);
    expect(dot(full.negativeCurvature!.direction, multiply(a, full.negativeCurvature!.direction))).below(0);
  });

  it('estimates the norm of the operator from below', () => {
    const { operatorNorm } = minres(fromDense(symmetricWith(mixedSigns(40, 10), 3).a), normals(40, 4));
    expect(operatorNorm).within(0.7, 1 + 1e-12);
  });
});

describe('GMRES', () => {
  const n = 30;
  const skew = normals(n * n, 5).map((v, k) => v / Math.sqrt(n) + (k % (n + 1) === 0 ? 2 : 0));

  it('solves non-symmetric systems, restarted or not', () => {
    const b = normals(n, 6);
    const exact = denseSolve(skew, b);
    for (const restart of [5, 12, n]) {
      const result = gmres(fromDense(skew), b, { restart, maxIterations: 1000 });
      expect(result.status).equal('converged');
      expect(relativeError(result.x, exact)).below(1e-8);
      checkHonest(result, skew, b);
    }
  });

  it('takes an indefinite preconditioner, and one that changes from call to call', () => {
    const { a } = symmetricWith(mixedSigns(n, 1000), 8);
    const b = normals(n, 9);
    const rough = a.map((v, k) => v + (k % (n + 1) === 0 ? 1e-4 : 0));
    const inverse = inverseOf({ solve: (rhs) => denseSolve(rough, rhs) }, n, { definiteness: 'indefinite' });
    const result = gmres(fromDense(a), b, { preconditioner: inverse });
    expect(result.status).equal('converged');
    expect(result.iterations).below(20);
    let call = 0;
    const changing = fromFunction(n, (x, out) => {
      call++;
      inverse.apply(x, out);
      for (let i = 0; i < n; i++) out[i] *= 1 + (call % 3);
    });
    const flexible = gmres(fromDense(a), b, { preconditioner: changing });
    expect(flexible.status).equal('converged');
    checkHonest(flexible, a, b);
  });

  it('reports stagnation and breakdown instead of going on', () => {
    // The cyclic shift makes no progress before step n: GMRES(5) can not move at all.
    const shift = new Float64Array(n * n);
    for (let i = 0; i < n; i++) shift[((i + 1) % n) + i * n] = 1;
    const e = new Float64Array(n);
    e[0] = 1;
    expect(gmres(fromDense(shift), e, { restart: 5 })).include({ status: 'stagnated', iterations: 5 });
    expect(gmres(fromDense(shift), e, { restart: n })).include({ status: 'converged', iterations: n });
    const { a, q } = symmetricWith([0, 1, 2, 3, 4, 5], 3);
    const b = normals(6, 4);
    const broken = gmres(fromDense(a), b);
    expect(broken.status).oneOf(['breakdown', 'stagnated']);
    expect(broken.residual).closeTo(Math.abs(dot(q.subarray(0, 6), b)) / norm(b), 1e-8); // never worse than least squares
  });
});

describe('GMRES on numbers that overflow', () => {
  /** As products of a network: a vector that is not finite is refused. */
  const strict = (scale: number): LinearOperator =>
    fromFunction(
      4,
      (x, out) => {
        if (!x.every(Number.isFinite)) throw new RangeError('not finite');
        for (let i = 0; i < 4; i++) out[i] = scale * (i + 1) * x[i];
      },
      { symmetric: true, definiteness: 'unknown' },
    );
  const b = Float64Array.of(1, -2, 3, 1);

  it('a preconditioner that overflows ends it without a product', () => {
    const preconditioner = fromFunction(4, (_x, out) => out.fill(Infinity), {
      symmetric: true,
      definiteness: 'unknown',
    });
    const { status, x, residual } = gmres(strict(1), b, { preconditioner });
    expect(status).to.equal('not-finite');
    expect([...x]).to.deep.equal([0, 0, 0, 0]);
    expect(residual).to.equal(1);
  });

  it('so does a residual whose reciprocal overflows', () => {
    const tiny = b.map((value) => 1e-310 * value);
    const { status, x } = gmres(strict(1), tiny);
    expect(status).to.equal('not-finite');
    expect(x.every(Number.isFinite)).to.equal(true);
  });

  it('a solution beyond the largest number is dropped', () => {
    const { status, x, residual } = gmres(
      strict(1e-200),
      b.map((value) => 1e200 * value),
    );
    expect(status).to.not.equal('converged');
    expect(x.every(Number.isFinite)).to.equal(true);
    expect(residual).to.be.at.most(1);
  });
});

describe('Neumann series', () => {
  it('diverges on an indefinite operator, and says so after few products', () => {
    const { a } = symmetricWith(mixedSigns(20, 10), 5);
    const result = neumann(fromDense(a), normals(20, 6), { maxIterations: 10000 });
    expect(result.status).equal('diverged');
    expect(result.iterations).below(200);
  });

  it('diverges for a scale beyond 2 / ||A||, converges just below', () => {
    const { a } = symmetricWith(geometric(20, 0.5, 1), 5);
    const b = normals(20, 6);
    expect(neumann(fromDense(a), b, { scale: 2.05, maxIterations: 5000 }).status).equal('diverged');
    expect(neumann(fromDense(a), b, { scale: 1.9, maxIterations: 5000 }).status).equal('converged');
  });

  it('is the truncated series: k iterations are k + 1 terms', () => {
    const { a } = symmetricWith(geometric(10, 0.5, 1), 5);
    const b = normals(10, 6);
    const alpha = 0.7;
    const sum = new Float64Array(10);
    let term = b.map((v) => alpha * v);
    for (let k = 0; k < 6; k++) {
      for (let i = 0; i < 10; i++) sum[i] += term[i];
      const image = multiply(a, term);
      term = term.map((v, i) => v - alpha * image[i]);
    }
    expect(relativeError(neumann(fromDense(a), b, { scale: alpha, maxIterations: 6 }).x, sum)).below(1e-13);
  });

  it('needs a scale for non-symmetric operators', () => {
    const a = fromDense(Float64Array.of(1, 0.2, 0, 1));
    expect(() => neumann(a, Float64Array.of(1, 1))).throw(RangeError, /symmetric/);
    expect(neumann(a, Float64Array.of(1, 1), { scale: 0.9 }).status).equal('converged');
  });
});
