import { expect } from 'chai';
import { diagonal, fromDense, fromFunction } from '../../ts/linalg/linear-operator.js';
import { lanczos } from '../../ts/linalg/lanczos.js';
import { shifted } from '../../ts/linalg/operator-algebra.js';
import { estimateNorm, powerIteration } from '../../ts/linalg/power-iteration.js';
import { stochasticLanczosQuadrature } from '../../ts/linalg/slq.js';
import { Workspace } from '../../ts/linalg/workspace.js';
import { dot, eigenvaluesOf, geometric, multiply, norm, normals, symmetricWith } from './helpers.js';

describe('power iteration and norm estimate', () => {
  it('finds the dominant eigenpair with its sign and an honest residual', () => {
    for (const eigenvalues of [[1, 2, 3, 10], [1, 2, 3, -10], [4]]) {
      const { a } = symmetricWith(eigenvalues, 3);
      const result = powerIteration(fromDense(a), { tolerance: 1e-10 });
      expect(result.status).equal('converged');
      expect(result.eigenvalue).closeTo(eigenvalues[eigenvalues.length - 1], 1e-8);
      const image = multiply(a, result.vector);
      expect(norm(image.map((v, i) => v - result.eigenvalue * result.vector[i]))).closeTo(result.residual, 1e-12);
    }
    expect(powerIteration(fromDense(new Float64Array(4))).status).equal('converged');
    expect(powerIteration(diagonal(Float64Array.of(1, 0.999)), { maxIterations: 3 }).status).equal('iteration-limit');
  });

  it('the norm estimate is a lower bound and close, also for a pair +-lambda', () => {
    for (let seed = 1; seed <= 10; seed++) {
      const eigenvalues = geometric(50, 0.01, 5).map((v, i) => (i === 48 ? -5 : v));
      const { norm: estimate, products } = estimateNorm(fromDense(symmetricWith(eigenvalues, 1000 + seed).a), { seed });
      expect(estimate).within(4.8, 5 * (1 + 1e-12));
      expect(products).below(60);
    }
    expect(estimateNorm(fromDense(new Float64Array(4))).norm).equal(0);
  });
});

describe('Lanczos', () => {
  const check = (
    a: Float64Array,
    smallest: number,
    largest: number,
    options: object = {},
  ): ReturnType<typeof lanczos> => {
    const n = Math.round(Math.sqrt(a.length));
    const exact = eigenvaluesOf(a);
    const scale = Math.max(Math.abs(exact[0]), Math.abs(exact[n - 1]));
    const result = lanczos(fromDense(a), { smallest, largest, ...options });
    expect(result.status).oneOf(['converged', 'exact']);
    expect(result.verified).equal(true);
    for (let k = 0; k < smallest + largest; k++) {
      const index = k < smallest ? k : n - smallest - largest + k;
      // The residual bounds the eigenvalue error; 1e-13 for the rounding of both sides.
      expect(Math.abs(result.values[k] - exact[index])).at.most(result.bounds[k] + 1e-13 * scale);
      expect(result.bounds[k]).below(1.01e-10 * scale + 1e-13);
      const v = result.vectors.slice(k * n, (k + 1) * n);
      expect(norm(multiply(a, v).map((u, i) => u - result.values[k] * v[i]))).closeTo(result.bounds[k], 1e-13 * scale);
      for (let j = 0; j <= k; j++) {
        const w = result.vectors.slice(j * n, (j + 1) * n);
        expect(dot(v, w)).closeTo(j === k ? 1 : 0, 1e-8); // locked vectors are eigenvectors to 1e-10
      }
    }
    return result;
  };

  it('both ends of random, clustered and repeated spectra, with their multiplicities', () => {
    const spectra: Record<string, Float64Array> = {
      spread: Float64Array.from({ length: 80 }, (_, i) => Math.cos(i)),
      clustered: Float64Array.from({ length: 80 }, (_, i) => (i < 40 ? 1 + 1e-7 * i : 5 + i)),
      'repeated ends': Float64Array.from({ length: 80 }, (_, i) =>
        i < 3 ? -2 : i < 6 ? -1.5 : i > 76 ? 7 : (3 * i) / 80,
      ),
      'low rank': Float64Array.from({ length: 80 }, (_, i) => (i < 3 ? i + 1 : 0)),
      negative: Float64Array.from({ length: 80 }, (_, i) => -1 - i),
    };
    for (const eigenvalues of Object.values(spectra)) {
      const { a } = symmetricWith(eigenvalues, 4);
      check(a, 0, 1);
      check(a, 1, 0);
      check(a, 4, 5);
    }
  });

  it('restarts in a small subspace', () => {
    const { a } = symmetricWith(
      Float64Array.from({ length: 120 }, (_, i) => i * i),
      5,
    );
    const result = check(a, 2, 2, { subspace: 12, maxIterations: 20000 });
    expect(result.iterations).above(12);
  });

  it('small and special operators: n = 1, 2, zero, identity, all pairs', () => {
    expect(check(Float64Array.of(-3), 1, 0).values[0]).equal(-3);
    check(symmetricWith([1, 2], 1).a, 1, 1);
    check(new Float64Array(25), 2, 2);
    check(symmetricWith(new Float64Array(50).fill(3), 2).a, 2, 3);
    const all = check(symmetricWith([1, 1, 2, 2, 2, 7], 2).a, 3, 3);
    expect(all.status).equal('exact');
  });

  it('a start vector without the wanted direction is found out', () => {
    const n = 60;
    const d = Float64Array.from({ length: n }, (_, i) => i);
    const start = normals(n, 3);
    start[n - 1] = 0;
    const result = lanczos(diagonal(d), { largest: 1, start });
    expect(result.values[0]).closeTo(n - 1, 1e-9);
    const unverified = lanczos(diagonal(d), { largest: 1, start, verify: false, subspace: 20 });
    expect(unverified.verified).equal(false);
  });

  it('large and sparse: repeated extreme eigenvalues of a diagonal of 3000', () => {
    const n = 3000;
    const d = Float64Array.from({ length: n }, (_, i) => (i < 3 ? -2 : i > n - 3 ? 7 : (3 * i) / n));
    const result = lanczos(diagonal(d), { smallest: 3, largest: 3 });
    expect(result.verified).equal(true);
    for (const [k, value] of [-2, -2, -2, (3 * (n - 3)) / n, 7, 7].entries()) {
      expect(result.values[k]).closeTo(value, 1e-8);
    }
  });

  it('same bits twice, also with a reused workspace; stops at the limit, the callback and NaN', () => {
    const { a } = symmetricWith(
      Float64Array.from({ length: 70 }, (_, i) => Math.sin(i) * i),
      6,
    );
    const workspace = new Workspace();
    const options = { smallest: 2, largest: 2, subspace: 15, workspace };
    const first = lanczos(fromDense(a), options);
    const second = lanczos(fromDense(a), options);
    expect(second.values).deep.equal(first.values);
    expect(second.vectors).deep.equal(first.vectors);
    expect(second.residuals).deep.equal(first.residuals);
    let calls = 0;
    const counting = fromFunction(
      70,
      (x, out) => {
        calls++;
        out.set(multiply(a, x));
      },
      { symmetric: true },
    );
    expect(lanczos(counting, options).products).equal(calls);
    const limited = lanczos(fromDense(a), { ...options, maxIterations: 16 });
    expect(limited).include({ status: 'iteration-limit', iterations: 16, verified: false });
    expect(lanczos(fromDense(a), { ...options, onIteration: () => false }).status).equal('stopped');
    const broken = fromFunction(70, (_x, out) => out.fill(NaN), { symmetric: true });
    expect(lanczos(broken, options).status).equal('not-finite');
  });

  it('refuses wrong arguments', () => {
    const a = fromDense(symmetricWith([1, 2, 3], 1).a);
    expect(() => lanczos(fromDense(normals(9, 1)))).throw(RangeError, /symmetric/);
    expect(() => lanczos(a, { smallest: 2, largest: 2 })).throw(RangeError, /smallest \+ largest/);
    expect(() => lanczos(a, { largest: 1, subspace: 2 })).throw(RangeError, /subspace/);
    expect(() => lanczos(a, { count: 2 } as never)).throw(RangeError, /unknown option 'count'/);
  });
});

describe('stochastic Lanczos quadrature', () => {
  const n = 120;
  const eigenvalues = geometric(n, 0.01, 10);
  const { a } = symmetricWith(eigenvalues, 7001);
  const operator = fromDense(a);
  const sum = (f: (x: number) => number): number => eigenvalues.reduce((s, v) => s + f(v), 0);

  /** Counts the runs of 40 seeds whose interval holds the truth, and the mean square of (error / standard error). */
  function coverage(
    run: (seed: number) => { estimate: number; errorBar: number; standardError: number },
    truth: number,
  ) {
    let inside = 0;
    let square = 0;
    for (let seed = 0; seed < 40; seed++) {
      const { estimate, errorBar, standardError } = run(seed);
      if (Math.abs(estimate - truth) <= errorBar) inside++;
      square += ((estimate - truth) / standardError) ** 2 / 40;
    }
    return { inside, square };
  }

  it('log-determinant, trace and trace of a function lie within their error bars', () => {
    const runs = Array.from({ length: 40 }, (_, seed) =>
      stochasticLanczosQuadrature(operator, { probes: 12, steps: 40, seed }),
    );
    for (const [truth, ask] of [
      [sum(Math.log), (s: (typeof runs)[number]) => s.logAbsDet()],
      [sum((v) => v), (s: (typeof runs)[number]) => s.trace()],
      [sum((v) => v / (v + 0.1)), (s: (typeof runs)[number]) => s.traceOf((v) => v / (v + 0.1))],
    ] as const) {
      const { inside, square } = coverage((seed) => ask(runs[seed]), truth);
      // 95 % intervals: fewer than 33 of 40 has probability 1e-4; the mean square is about 11 / 9 for 12 probes.
      expect(inside).at.least(33);
      expect(square).within(0.5, 2.5);
    }
  });

  it('is exact for a multiple of the identity, whatever the probe', () => {
    const s = stochasticLanczosQuadrature(fromDense(symmetricWith(new Float64Array(9).fill(3), 1).a), { probes: 3 });
    expect(s.logAbsDet().estimate).closeTo(9 * Math.log(3), 1e-12);
    expect(s.trace().errorBar).closeTo(0, 1e-11);
    expect(stochasticLanczosQuadrature(fromDense(Float64Array.of(5)), { probes: 2 }).trace().estimate).closeTo(
      5,
      1e-14,
    );
  });

  it('the density integrates to one and follows the exact smoothed one', () => {
    const width = 0.3;
    const exact = (t: number): number =>
      sum((v) => Math.exp(-0.5 * ((t - v) / width) ** 2)) / (n * width * Math.sqrt(2 * Math.PI));
    let inside = 0;
    let points = 0;
    for (let seed = 0; seed < 12; seed++) {
      const run = stochasticLanczosQuadrature(operator, { probes: 20, steps: 60, seed });
      const { grid, density, standardError } = run.density({ width, points: 300 });
      let integral = 0;
      for (let i = 0; i < grid.length; i++) {
        integral += density[i] * (grid[1] - grid[0]);
        points++;
        if (Math.abs(density[i] - exact(grid[i])) <= 2.09 * standardError[i] + 1e-6) inside++; // t of 20 probes, 95 %
      }
      expect(integral).closeTo(1, 1e-4); // the grid ends 4 widths outside: 6e-5 of the last Gaussian is cut off
    }
    // 95 % each; neighbouring points go together, so 12 runs are about 12 x 30 independent ones: 0.9 is 4 deviations.
    expect(inside / points).above(0.9);
    const s = stochasticLanczosQuadrature(operator, { probes: 2, steps: 60, seed: 3 });
    expect(s.lowest).least(eigenvalues[0] - 1e-12);
    expect(s.highest).most(eigenvalues[n - 1] + 1e-12);
  });

  it('counts eigenvalues below a threshold in a gap', () => {
    const split = symmetricWith(
      Float64Array.from({ length: 100 }, (_, i) => (i < 30 ? -1 - i / 30 : 1 + i / 100)),
      8001,
    ).a;
    const { inside } = coverage(
      (seed) => stochasticLanczosQuadrature(fromDense(split), { probes: 10, steps: 30, seed }).countBelow(0),
      30,
    );
    expect(inside).at.least(33);
  });

  it('same bits twice, counts products, stops, refuses', () => {
    let calls = 0;
    const counting = fromFunction(
      n,
      (x, out) => {
        calls++;
        out.set(multiply(a, x));
      },
      { symmetric: true },
    );
    const first = stochasticLanczosQuadrature(counting, { probes: 3, steps: 20 });
    expect(first.products).equal(calls).and.equal(60);
    expect(stochasticLanczosQuadrature(counting, { probes: 3, steps: 20 }).logAbsDet()).deep.equal(first.logAbsDet());
    const stopped = stochasticLanczosQuadrature(operator, { probes: 9, onIteration: (k) => k < 4 });
    expect(stopped).include({ status: 'stopped', iterations: 4 });
    expect(() => stochasticLanczosQuadrature(fromDense(normals(9, 1)))).throw(RangeError, /symmetric/);
    expect(() => stochasticLanczosQuadrature(operator, { distribution: 'uniform' as never })).throw(RangeError);
    const singular = stochasticLanczosQuadrature(fromDense(new Float64Array(9)), { probes: 2 });
    expect(() => singular.logAbsDet()).throw(RangeError, /finite/);
    expect(stochasticLanczosQuadrature(shifted(operator, 1), { probes: 2, steps: 5 }).lowest).above(1);
  });
});
