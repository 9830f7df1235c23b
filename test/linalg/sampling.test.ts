import { expect } from 'chai';
import { RunningMean, studentT } from '../../ts/linalg/confidence.js';
import { diagonal, fromDense, fromFunction } from '../../ts/linalg/linear-operator.js';
import { lissa, type StochasticOperator } from '../../ts/linalg/lissa.js';
import { estimateDiagonal, hutchinsonTrace, hutchPlusPlus } from '../../ts/linalg/trace.js';
import { Random } from '../../ts/random.js';
import { denseSolve, geometric, multiply, norm, normals, relativeError, symmetricWith } from './helpers.js';

describe('confidence', () => {
  it('Student t: table, tail and limit', () => {
    expect(studentT(1)).closeTo(12.706, 1e-3);
    expect(studentT(10)).closeTo(2.228, 1e-3);
    expect(studentT(40)).closeTo(2.021, 1e-3);
    expect(studentT(1e6)).closeTo(1.96, 1e-4);
    expect(studentT(0)).NaN;
  });

  it('running mean equals the two-pass formulas', () => {
    const values = [3, 1, 4, 1, 5, 9, 2.5];
    const m = new RunningMean();
    for (const v of values) m.add(v);
    const mean = values.reduce((s, v) => s + v, 0) / 7;
    const variance = values.reduce((s, v) => s + (v - mean) ** 2, 0) / 6;
    expect(m.mean).closeTo(mean, 1e-14);
    expect(m.standardError).closeTo(Math.sqrt(variance / 7), 1e-14);
  });
});

describe('trace estimators', () => {
  const n = 100;
  const eigenvalues = geometric(n, 1e-3, 10);
  const { a } = symmetricWith(eigenvalues, 7001); // a seed of its own: equal seeds would make probes of eigenvectors
  const trace = eigenvalues.reduce((s, v) => s + v, 0);
  const operator = fromDense(a);

  for (const [name, estimator] of [
    ['Hutchinson', hutchinsonTrace],
    ['Hutch++', hutchPlusPlus],
  ] as const) {
    for (const distribution of ['rademacher', 'normal'] as const) {
      it(`${name} (${distribution}) lies within its error bar in repeated runs`, () => {
        let inside = 0;
        let square = 0;
        for (let seed = 0; seed < 60; seed++) {
          const r = estimator(operator, { samples: 45, seed, distribution });
          expect(r.status).equal('sampled');
          expect(r.products).equal(45);
          if (Math.abs(r.estimate - trace) <= r.errorBar) inside++;
          square += ((r.estimate - trace) / r.standardError) ** 2 / 60;
        }
        // 95 % intervals: fewer than 50 of 60 has probability 5e-4.
        expect(inside).at.least(50);
        expect(square).within(0.5, 2);
      });
    }
  }

  it('Hutch++ is much sharper than Hutchinson on a decaying spectrum, exact at low rank and with enough products', () => {
    const decaying = fromDense(
      symmetricWith(
        Float64Array.from({ length: n }, (_, i) => 1 / (i + 1) ** 2),
        9001,
      ).a,
    );
    const plain = hutchinsonTrace(decaying, { samples: 60 });
    const sharp = hutchPlusPlus(decaying, { samples: 60 });
    expect(sharp.standardError).below(plain.standardError / 10);
    const low = symmetricWith(
      Float64Array.from({ length: n }, (_, i) => (i < 5 ? i + 1 : 0)),
      3,
    ).a;
    expect(hutchPlusPlus(fromDense(low), { samples: 30 }).estimate).closeTo(15, 1e-10);
    const all = hutchPlusPlus(operator, { samples: n });
    expect(all).include({ status: 'exact', errorBar: 0 });
    expect(all.estimate).closeTo(trace, 1e-10);
    expect(hutchPlusPlus(fromDense(Float64Array.of(7)), { samples: 1 }).estimate).equal(7);
  });

  it('Hutchinson with signs is exact for diagonal operators; stops at its tolerance or the callback', () => {
    const d = Float64Array.from({ length: 10 }, (_, i) => i);
    expect(hutchinsonTrace(diagonal(d), { samples: 3 }).estimate).closeTo(45, 1e-12);
    const r = hutchinsonTrace(operator, { samples: 100000, tolerance: 0.05 });
    expect(r.status).equal('converged');
    expect(r.errorBar).at.most(0.05 * r.estimate);
    expect(r.products).below(100000);
    expect(hutchinsonTrace(operator, { samples: 100, onIteration: () => false })).include({
      status: 'stopped',
      products: 32,
    });
    expect(hutchinsonTrace(operator, { samples: 1 }).standardError).NaN;
    const broken = fromFunction(5, (_x, out) => out.fill(NaN));
    expect(hutchinsonTrace(broken).status).equal('not-finite');
  });

  it('same bits twice; other seeds give other numbers; block width does not change the probes', () => {
    const first = hutchinsonTrace(operator, { samples: 40, seed: 5 });
    expect(hutchinsonTrace(operator, { samples: 40, seed: 5 })).deep.equal(first);
    expect(hutchinsonTrace(operator, { samples: 40, seed: 6 }).estimate).not.equal(first.estimate);
    expect(hutchPlusPlus(operator, { seed: 5 })).deep.equal(hutchPlusPlus(operator, { seed: 5 }));
  });

  it('the diagonal lies within its error bars entry by entry', () => {
    for (const distribution of ['rademacher', 'normal'] as const) {
      let inside = 0;
      let count = 0;
      for (let seed = 0; seed < 20; seed++) {
        const r = estimateDiagonal(operator, { samples: 64, seed, distribution });
        for (let i = 0; i < n; i++) {
          count++;
          if (Math.abs(r.diagonal[i] - a[i * (n + 1)]) <= r.errorBars[i]) inside++;
        }
      }
      // 2000 entries, 95 % each (correlated within a run; ratio estimators with normal probes are a little skewed).
      expect(inside / count).within(0.92, 0.99);
    }
    const d = Float64Array.of(1, -2, 3);
    expect(Array.from(estimateDiagonal(diagonal(d), { samples: 2 }).diagonal)).deep.equal([1, -2, 3]);
    expect(estimateDiagonal(operator, { samples: 100000, tolerance: 0.2 }).status).equal('converged');
  });

  it('refuses wrong arguments', () => {
    expect(() => hutchinsonTrace(operator, { samples: 0 })).throw(RangeError, /samples/);
    expect(() => hutchPlusPlus(operator, { samples: 2 })).throw(RangeError, /samples/);
    expect(() => estimateDiagonal(operator, { seeds: 1 } as never)).throw(RangeError, /unknown option/);
    expect(() => hutchinsonTrace(fromDense(normals(6, 1), { rows: 3, columns: 2 }))).throw(RangeError, /square/);
  });
});

describe('LiSSA', () => {
  // A = mean of `count` positive definite samples, as a least-squares model with a ridge has.
  const n = 8;
  const count = 50;
  const random = new Random(3);
  const rows = Array.from({ length: count }, () => random.normals(new Float64Array(n)).map((v) => v / Math.sqrt(n)));
  const ridge = 0.3;
  const stochastic: StochasticOperator = {
    size: n,
    count,
    apply: (index, x, out) => {
      const row = rows[index];
      let s = 0;
      for (let i = 0; i < n; i++) s += row[i] * x[i];
      for (let i = 0; i < n; i++) out[i] = s * row[i] + ridge * x[i];
    },
  };
  const mean = new Float64Array(n * n);
  for (const row of rows)
    for (let j = 0; j < n; j++) for (let i = 0; i < n; i++) mean[i + j * n] += (row[i] * row[j]) / count;
  for (let i = 0; i < n; i++) mean[i * (n + 1)] += ridge;
  const b = normals(n, 4);
  const scale = 4;

  it('its mean is the truncated series within the error bars, at any depth', () => {
    for (const depth of [3, 20]) {
      // sum_{k <= depth} (I - A / c)^k b / c
      const series = new Float64Array(n);
      let term = b.slice();
      for (let k = 0; k <= depth; k++) {
        for (let i = 0; i < n; i++) series[i] += term[i] / scale;
        const image = multiply(mean, term);
        term = term.map((v, i) => v - image[i] / scale);
      }
      let inside = 0;
      let square = 0;
      for (let seed = 0; seed < 25; seed++) {
        const r = lissa(stochastic, b, { depth, repeats: 40, scale, seed });
        expect(r.status).equal('sampled');
        for (let i = 0; i < n; i++) {
          const error = (r.x[i] - series[i]) / r.standardError[i];
          if (Math.abs(error) <= studentT(39)) inside++;
          square += (error * error) / (25 * n);
        }
      }
      expect(inside / (25 * n)).above(0.9); // 95 % each, 200 entries
      expect(square).within(0.6, 1.6);
    }
  });

  it('approaches the solution with depth and repeats, and its residuals are true ones when the mean is given', () => {
    const exact = denseSolve(mean, b);
    const r = lissa(stochastic, b, { depth: 300, repeats: 400, scale, mean: fromDense(mean) });
    const standard = norm(r.standardError);
    expect(norm(r.x.map((v, i) => v - exact[i]))).below(4 * standard);
    expect(relativeError(r.x, exact)).below(0.05);
    const residual = multiply(mean, r.x).map((v, i) => b[i] - v);
    expect(r.residual).closeTo(norm(residual) / norm(b), 1e-12);
    expect(r.residuals.length).equal(401);
    // Larger batches: less noise at the same depth.
    expect(norm(lissa(stochastic, b, { depth: 100, repeats: 20, batch: 10, scale }).standardError)).below(
      norm(lissa(stochastic, b, { depth: 100, repeats: 20, scale }).standardError) / 2,
    );
  });

  it('chooses a scale by itself; damping shifts the answer', () => {
    const shift = mean.map((v, k) => v + (k % (n + 1) === 0 ? 2 : 0));
    const r = lissa(stochastic, b, { depth: 200, repeats: 100, damping: 2 });
    expect(r.status).equal('sampled');
    expect(relativeError(r.x, denseSolve(shift, b))).below(0.05);
  });

  it('reports divergence on indefinite samples and too small a scale', () => {
    const indefinite: StochasticOperator = {
      size: n,
      count,
      apply: (_i, x, out) => out.set(x.map((v, i) => (i === 0 ? -v : v))),
    };
    expect(lissa(indefinite, b, { depth: 2000 })).include({ status: 'diverged', iterations: 0 });
    expect(lissa(stochastic, b, { depth: 2000, scale: 0.01 }).status).equal('diverged');
  });

  it('same bits twice; zero right-hand side; one chain has no error bar; seeds instead of samples', () => {
    const options = { depth: 30, repeats: 5, scale, seed: 9 };
    expect(lissa(stochastic, b, options)).deep.equal(lissa(stochastic, b, options));
    expect(lissa(stochastic, b, { ...options, seed: 10 }).x).not.deep.equal(lissa(stochastic, b, options).x);
    expect(lissa(stochastic, new Float64Array(n))).include({ status: 'converged', products: 0 });
    expect(lissa(stochastic, b, { ...options, repeats: 1 }).standardError[0]).NaN;
    expect(lissa(stochastic, b, { ...options, onIteration: (k) => k < 2 })).include({
      status: 'stopped',
      iterations: 2,
    });
    let largest = 0;
    const seeded: StochasticOperator = {
      size: n,
      apply: (seed, x, out) => {
        largest = Math.max(largest, seed);
        stochastic.apply(seed % count, x, out);
      },
    };
    expect(lissa(seeded, b, options).status).equal('sampled');
    expect(largest).above(2 ** 31);
  });

  it('refuses wrong arguments', () => {
    expect(() => lissa(stochastic, new Float64Array(3))).throw(RangeError, /for b/);
    expect(() => lissa(stochastic, b, { depth: 0 })).throw(RangeError, /depth/);
    expect(() => lissa({ size: 3 } as StochasticOperator, b)).throw(TypeError, /operator.apply/);
  });
});
