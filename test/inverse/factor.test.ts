import { expect } from 'chai';
import { DeepHessianError } from '../../ts/errors.js';
import { Network } from '../../ts/derivatives/index.js';
import {
  estimateFactor,
  factor,
  factorShifted,
  hessianInverseVectorProduct,
  type CostEstimate,
  type Method,
} from '../../ts/inverse/index.js';
import { kernels, Lower, No } from '../../ts/native/index.js';
import { Random } from '../../ts/random.js';
import { goldenNames, readGolden, relativeError } from '../helpers/golden.js';
import { gatedLayer } from '../helpers/smooth-layers.js';
import { describeShape, randomPoint, shapes } from './helpers.js';

function eigenvalues(matrix: Float64Array, n: number): Float64Array {
  const w = new Float64Array(n);
  expect(kernels.syevd(No, Lower, n, matrix.slice(), 0, n, w, 0)).to.equal(0);
  return w;
}

function logAbsDet(w: Float64Array, shift: number): number {
  return w.reduce((sum, value) => sum + Math.log(Math.abs(value + shift)), 0);
}

const matrices = ['hessian', 'gauss-newton'] as const;
const methods: Method[] = ['dense', 'affine', 'block', 'sample-space'];

describe('factor: golden cases', () => {
  for (const name of goldenNames) {
    const golden = readGolden(name);
    const point = golden.network.linearize(golden.params, { inputs: golden.inputs, targets: golden.targets });
    const P = golden.network.parameterCount;
    for (const matrix of matrices) {
      const prefix = matrix === 'hessian' ? 'hessian' : 'gauss_newton';
      const spectrum = golden.array(`${prefix}_eigenvalues`);
      const expected = golden.array(`${prefix}_solve_g`);
      const condition = golden.metadata[matrix === 'hessian' ? 'hessian_cond_per_eps' : 'gauss_newton_cond_per_eps'];
      for (const method of methods) {
        if (method === 'sample-space' && matrix === 'hessian') continue;
        it(`${name} ${matrix} by ${method}: residual, solution, inertia, log-determinant`, () => {
          golden.metadata.eps.forEach((damping, e) => {
            const f = factor(point, { matrix, damping, method });
            const { x, residual, status } = f.solve(golden.array('grad'));
            expect(status).to.equal('converged');
            expect(residual).to.be.at.most(1e-10);
            // A residual of 1e-10 bounds the forward error by the condition number times that.
            let error = 0;
            let size = 0;
            for (let i = 0; i < P; i++) {
              error += (x[i] - expected[e * P + i]) ** 2;
              size += expected[e * P + i] ** 2;
            }
            expect(Math.sqrt(error / size)).to.be.below(condition[e] * 1e-10 + 1e-12);
            const negative = spectrum.filter((value) => value + damping < 0).length;
            expect(f.inertia).to.deep.equal({ positive: P - negative, negative, zero: 0 });
            const log = logAbsDet(spectrum, damping);
            expect(Math.abs(f.logAbsDet - log)).to.be.below(1e-8 * Math.max(1, Math.abs(log)));
            f.dispose();
          });
        });
      }
    }
  }
});

describe('factor: every route against the dense spectrum', () => {
  for (const shape of shapes) {
    it(describeShape(shape), () => {
      const point = randomPoint(shape);
      const P = point.network.parameterCount;
      for (const matrix of matrices) {
        const w = eigenvalues(matrix === 'hessian' ? point.denseHessian() : point.denseGaussNewton(), P);
        for (const damping of [1e-3, 0.1, 1]) {
          const negative = w.filter((value) => value + damping < 0).length;
          const log = logAbsDet(w, damping);
          for (const method of methods) {
            for (const precision of ['float64', 'mixed'] as const) {
              if (method === 'sample-space' && (matrix === 'hessian' || precision === 'mixed')) continue;
              const f = factor(point, { matrix, damping, method, precision });
              const { residual, route } = f.solve(point.gradient);
              const what = `${matrix} ${method} ${precision} at ${damping}`;
              expect(residual, what).to.be.at.most(1e-10);
              if (precision === 'float64') expect(route, what).to.equal('refinement');
              expect(f.inertia.negative, what).to.equal(negative);
              // float32 pivots carry 6e-8 each; P of them sum up in the logarithm, amplified by the condition number.
              const tolerance = precision === 'mixed' ? 2e-3 : 1e-9;
              expect(Math.abs(f.logAbsDet - log), what).to.be.below(tolerance * Math.max(1, Math.abs(log)));
            }
          }
        }
      }
    });
  }
});

describe('factor: object', () => {
  const point = randomPoint(shapes[4]);
  const P = point.network.parameterCount;

  it('solves many right-hand sides as it solves each', () => {
    const rhs = new Random(5).normals(new Float64Array(3 * P));
    for (const method of ['affine', 'block', 'dense'] as const) {
      const f = factor(point, { damping: 0.1, method });
      const many = f.solveMany(rhs, 3);
      expect(many.residual).to.be.at.most(1e-10);
      for (let c = 0; c < 3; c++) {
        const one = f.solve(rhs.slice(c * P, (c + 1) * P));
        let error = 0;
        for (let i = 0; i < P; i++) error = Math.max(error, Math.abs(one.x[i] - many.x[c * P + i]));
        expect(error).to.be.below(1e-7);
      }
    }
  });

  it('inverts: H (H^-1 g) = g and the inverse is symmetric', () => {
    const f = factor(point, { damping: 0.05 });
    const random = new Random(9);
    const u = random.normals(new Float64Array(P));
    const v = random.normals(new Float64Array(P));
    const a = f.solve(u).x;
    const b = f.solve(v).x;
    const left = kernels.dot(P, a, 0, v, 0);
    const right = kernels.dot(P, b, 0, u, 0);
    expect(Math.abs(left - right)).to.be.below(1e-8 * Math.abs(left));
  });

  it('refactor gives what a fresh factor gives, to the bit', () => {
    for (const method of ['affine', 'block', 'dense'] as const) {
      const f = factor(point, { damping: 1, method });
      f.solve(point.gradient);
      f.refactor(0.02);
      const fresh = factor(point, { damping: 0.02, method });
      expect(f.damping).to.equal(0.02);
      expect([...f.solve(point.gradient).x]).to.deep.equal([...fresh.solve(point.gradient).x]);
      expect(f.logAbsDet).to.equal(fresh.logAbsDet);
    }
    const gn = factor(point, { matrix: 'gauss-newton', damping: 1, method: 'sample-space' });
    const fresh = factor(point, { matrix: 'gauss-newton', damping: 0.02, method: 'sample-space' });
    expect([...gn.refactor(0.02).solve(point.gradient).x]).to.deep.equal([...fresh.solve(point.gradient).x]);
  });

  it('takes shifts of either sign for counting eigenvalues', () => {
    const w = eigenvalues(point.denseHessian(), P);
    for (const method of ['affine', 'block', 'dense'] as const) {
      for (let k = 3; k < P; k += 17) {
        if (w[k] - w[k - 1] < 1e-6) continue;
        const sigma = 0.5 * (w[k - 1] + w[k]);
        const f = factorShifted(point, { shift: -sigma, method });
        expect(f.inertia.negative, `${method}, below eigenvalue ${k}`).to.equal(k);
      }
    }
  });

  it('foresees cost and memory, and chooses the cheapest route that fits', () => {
    const all = estimateFactor(point, 'gauss-newton');
    expect(all.map((e) => e.method)).to.have.members(['block', 'affine', 'sample-space', 'dense']);
    const f = factor(point, { matrix: 'gauss-newton', damping: 1 });
    const cheapest = all.filter((e) => e.unavailable === null).sort((a, b) => a.seconds - b.seconds)[0];
    expect(f.method).to.equal(cheapest.method);
    expect(f.reason).to.contain(cheapest.method);
  });

  it('reports the bytes that it holds', () => {
    for (const shape of shapes.filter((_, i) => i % 5 === 0)) {
      const p = randomPoint(shape);
      for (const method of ['affine', 'block', 'dense'] as const) {
        const f = factor(p, { damping: 0.1, method });
        const estimated = estimateFactor(p).find((e) => e.method === method)!.bytes;
        expect(f.bytes).to.be.within(0.5 * estimated, 2 * estimated + 30 * p.network.parameterCount);
      }
    }
  });

  it('serves networks with custom layers by the recursion, built-in layers in closed form or all by their blocks', () => {
    const scale = {
      name: 'squash',
      inputs: 3,
      units: 3,
      parameterCount: 3,
      forward: (p: Float64Array, z: Float64Array, out: Float64Array): void => {
        for (let i = 0; i < 3; i++) out[i] = Math.sin(p[i] * z[i]);
      },
      jacobians: (p: Float64Array, z: Float64Array, dp: Float64Array, dz: Float64Array): void => {
        dp.fill(0);
        dz.fill(0);
        for (let i = 0; i < 3; i++) {
          dp[i * 3 + i] = z[i] * Math.cos(p[i] * z[i]);
          dz[i * 3 + i] = p[i] * Math.cos(p[i] * z[i]);
        }
      },
      contractions: (
        p: Float64Array,
        z: Float64Array,
        a: Float64Array,
        hxx: Float64Array,
        hxz: Float64Array,
        hzz: Float64Array,
      ): void => {
        hxx.fill(0);
        hxz.fill(0);
        hzz.fill(0);
        for (let i = 0; i < 3; i++) {
          const s = p[i] * z[i];
          hxx[i * 4] = -a[i] * z[i] * z[i] * Math.sin(s);
          hzz[i * 4] = -a[i] * p[i] * p[i] * Math.sin(s);
          hxz[i * 4] = a[i] * (Math.cos(s) - s * Math.sin(s));
        }
      },
    };
    const network = new Network({
      inputs: 2,
      loss: 'mse',
      layers: [
        { type: 'dense', units: 3, activation: 'tanh' },
        { type: 'custom', layer: scale },
        { type: 'dense', units: 2, activation: 'identity' },
      ],
    });
    const random = new Random(2);
    const p = network.linearize(random.normals(new Float64Array(network.parameterCount)), {
      inputs: random.normals(new Float64Array(8)),
      targets: random.normals(new Float64Array(8)),
    });
    const w = eigenvalues(p.denseHessian(), network.parameterCount);
    for (const damping of [1e-3, 0.1]) {
      const f = factor(p, { damping });
      expect(f.method).to.be.oneOf(['affine', 'block', 'dense']);
      for (const method of ['affine', 'block'] as const) {
        const chain = factor(p, { damping, method });
        expect(chain.solve(p.gradient).residual).to.be.at.most(1e-10);
        expect(chain.inertia.negative).to.equal(w.filter((value) => value + damping < 0).length);
      }
    }
    const only = new Network({ inputs: 3, loss: 'mse', layers: [{ type: 'custom', layer: scale }] });
    const q = only.linearize(random.normals(new Float64Array(3)), {
      inputs: random.normals(new Float64Array(6)),
      targets: random.normals(new Float64Array(6)),
    });
    expect(() => factor(q, { damping: 1, method: 'affine' })).to.throw(
      DeepHessianError,
      /every layer is a custom layer/,
    );
  });

  it('a custom layer among wide built-in ones costs what its own blocks cost', () => {
    const network = new Network({
      inputs: 300,
      loss: 'mse',
      layers: [
        { type: 'dense', units: 12, activation: 'tanh' },
        { type: 'custom', layer: gatedLayer(12, 3) },
        { type: 'residual', units: 3, activation: 'tanh' },
        { type: 'dense', units: 2, activation: 'identity' },
      ],
    });
    const random = new Random(4);
    const params = random.normals(new Float64Array(network.parameterCount));
    for (let i = 0; i < params.length; i++) params[i] *= 0.2;
    const p = network.linearize(params, {
      inputs: random.normals(new Float64Array(300 * 4)),
      targets: random.normals(new Float64Array(8)),
    });
    const [block, affine] = ['block', 'affine'].map(
      (name) => estimateFactor(p).find(({ method }) => method === name) as CostEstimate,
    );
    // 3612 parameters in the first layer by blocks; 12 states for each of 4 samples in closed form.
    expect(block.flops).to.be.greaterThan(1000 * affine.flops);
    const f = factor(p, { damping: 0.2 });
    expect(f.method).to.equal('affine');
    const { x, residual } = f.solve(p.gradient);
    expect(residual).to.be.at.most(1e-10);
    const dense = factor(p, { damping: 0.2, method: 'dense' });
    expect(relativeError(x, dense.solve(p.gradient).x)).to.be.below(1e-6);
    expect(f.inertia).to.deep.equal(dense.inertia);
    expect(f.logAbsDet).to.be.closeTo(dense.logAbsDet, 1e-7 * network.parameterCount);
  });

  it('mixed precision serves right-hand sides far outside the range of float32, by every route', () => {
    for (const method of methods) {
      const f = factor(point, { matrix: 'gauss-newton', damping: 0.1, method, precision: 'mixed' });
      const { x: whole } = f.solve(point.gradient);
      for (const scale of [1e-200, 1e-60, 1e60, 1e200]) {
        const { x, residual, route } = f.solve(point.gradient.map((value) => scale * value));
        expect([route, residual <= 1e-10], `${method}, ${scale}`).to.deep.equal(['refinement', true]);
        expect(
          relativeError(
            x.map((value) => value / scale),
            whole,
          ),
        ).to.be.below(1e-8);
      }
      const two = new Float64Array(2 * P);
      two.set(point.gradient);
      for (let i = 0; i < P; i++) two[P + i] = 1e-90 * point.gradient[i];
      expect(f.solveMany(two, 2).residual).to.be.at.most(1e-10);
    }
  });

  it("the entry point with the paper's name solves", () => {
    const { x, residual } = hessianInverseVectorProduct(point, point.gradient);
    expect(residual).to.be.at.most(1e-10);
    expect(x).to.have.length(P);
  });

  it('the entry point checks its arguments by their names, before it factors', () => {
    const solve = (g: unknown, at: unknown = point): void => {
      // A limit that no factorization can keep: whoever begins one gets another error.
      hessianInverseVectorProduct(at as typeof point, g as Float64Array, { memoryLimit: 1 });
    };
    const call = 'hessianInverseVectorProduct: expected';
    expect(() => solve(point.gradient)).to.throw(DeepHessianError);
    expect(() => solve(new Float64Array(3))).to.throw(RangeError, `${call} a Float64Array of length ${P} for g`);
    expect(() => solve([1, 2])).to.throw(TypeError, `${call} a Float64Array of length ${P} for g`);
    expect(() => solve(new Float64Array(P).fill(NaN))).to.throw(RangeError, `${call} a finite number for g[0]`);
    expect(() => solve(point.gradient, {})).to.throw(TypeError, `${call} a Linearization`);
  });
});

describe('factor: hard and hostile input', () => {
  const point = randomPoint(shapes[4]);
  const P = point.network.parameterCount;

  it('names the argument, what was expected and what came', () => {
    expect(() => factor(point, { damping: 0 })).to.throw(
      RangeError,
      'factor: expected a finite number > 0 for damping, received 0',
    );
    expect(() => factor(point, { damping: -1 })).to.throw(RangeError, /damping/);
    expect(() => factor(point, { damping: NaN })).to.throw(RangeError, /damping/);
    expect(() => factor(point, { damping: '1' as unknown as number })).to.throw(TypeError, /damping/);
    expect(() => factor(point, { damping: 1, method: 'magic' as Method })).to.throw(RangeError, /'affine'/);
    expect(() => factor(point, { damping: 1, matrx: 'hessian' } as never)).to.throw(
      RangeError,
      /unknown option 'matrx'/,
    );
    expect(() => factor({} as never, { damping: 1 })).to.throw(TypeError, /point/);
    expect(() => factor(point, { damping: 1, method: 'sample-space' })).to.throw(DeepHessianError, /gauss-newton/);
    const f = factor(point, { damping: 1 });
    expect(() => f.solve(new Float64Array(3))).to.throw(RangeError, /rhs/);
    expect(() => f.solve([1, 2] as never)).to.throw(TypeError, /rhs/);
    const bad = new Float64Array(P);
    bad[3] = NaN;
    expect(() => f.solve(bad)).to.throw(RangeError, /rhs\[3\]/);
    f.dispose();
    expect(() => f.solve(new Float64Array(P))).to.throw(DeepHessianError, /disposed/);
    expect(() => f.certify()).to.throw(DeepHessianError, /certify: the factor has been disposed/);
  });

  it('says that a point is out of range instead of calling its matrix singular', () => {
    const layers = [1, 2].map(() => ({ type: 'dense', units: 2, activation: 'identity' }) as const);
    const network = new Network({ inputs: 2, loss: 'mse', layers });
    const params = new Float64Array(network.parameterCount).fill(1e200);
    const beyond = network.linearize(params, { inputs: Float64Array.of(1, 2), targets: Float64Array.of(0, 1) });
    for (const matrix of matrices) {
      expect(() => factor(beyond, { matrix, damping: 1 }))
        .to.throw(DeepHessianError, /the loss at the point is (Infinity|NaN) and its gradient not finite/)
        .with.property('code', 'diverged');
    }
  });

  it('says where second derivatives or their elimination overflow, instead of calling the matrix singular', () => {
    const dense = (units: number, activation: 'tanh' | 'identity') => ({ type: 'dense', units, activation }) as const;
    const random = new Random(7);
    const numbers = (count: number, size: number): Float64Array =>
      random.normals(new Float64Array(count)).map((value) => size * value);
    // Loss |W x + b - t|^2 at W = b = 0: the gradient is of the size of x, second derivatives are of the size of x^2.
    const flat = new Network({ inputs: 3, loss: 'mse', layers: [dense(2, 'identity')] });
    for (const size of [1e160, 1e300]) {
      const steep = flat.linearize(new Float64Array(8), { inputs: numbers(15, size), targets: numbers(10, 1) });
      expect(steep.gradient.every(Number.isFinite)).to.equal(true);
      expect(steep.denseHessian().every(Number.isFinite)).to.equal(false);
      for (const method of methods) {
        for (const precision of ['float64', 'mixed'] as const) {
          const options = { damping: 0.1, method, precision, matrix: 'gauss-newton' } as const;
          expect(() => factor(steep, options).solve(steep.gradient))
            .to.throw(DeepHessianError, /Numbers left the range .* Bring inputs and targets to unit size/)
            .with.property('code', 'tolerance-missed');
          const f = factor(steep, { ...options, onFailure: 'return' });
          expect(f.solve(steep.gradient).status).to.equal('overflow');
          expect(() => f.inertia).to.throw(DeepHessianError, /inertia: Numbers left the range/);
          expect(() => f.logAbsDet).to.throw(DeepHessianError, /logAbsDet: Numbers left the range/);
        }
      }
    }
    // Residuals of 1e200 in the mixed derivatives of two layers are finite, their squares over the first pivot are not. With more
    // than 3,000 parameters no dense factor steps in.
    const wide = new Network({ inputs: 3, loss: 'mse', layers: [dense(700, 'tanh'), dense(2, 'identity')] });
    const far = wide.linearize(numbers(wide.parameterCount, 0.1), {
      inputs: numbers(6, 1),
      targets: numbers(4, 1e200),
    });
    const f = factor(far, { damping: 0.1, method: 'affine', onFailure: 'return' });
    const product = new Float64Array(wide.parameterCount);
    far.hessianProduct(new Float64Array(wide.parameterCount).fill(1), product);
    expect(product.every(Number.isFinite)).to.equal(true);
    const { status, x } = f.solve(far.gradient);
    expect(status).to.equal('overflow');
    expect(x.every(Number.isFinite)).to.equal(true);
    expect(() => f.inertia).to.throw(DeepHessianError, /Numbers left the range/);
  });

  it('a damping that overflows what it divides is solved by a fallback or refused, never an argument error', () => {
    const few = randomPoint(shapes[0]);
    for (const method of methods) {
      for (const damping of [5e-324, 1e-300, 1e-160]) {
        const f = factor(few, { matrix: 'gauss-newton', damping, method, onFailure: 'return' });
        const { x, residual, status } = f.solve(few.gradient);
        expect(x.every(Number.isFinite)).to.equal(true);
        expect(status).to.be.oneOf(['converged', 'singular', 'stalled']);
        if (status === 'converged') expect(residual).to.be.at.most(1e-10);
        // N = 1: G has a null space, whose eigenvalues are the damping, far below rounding.
        expect(() => f.inertia)
          .to.throw(DeepHessianError)
          .with.property('code', 'inertia-untrusted');
      }
    }
  });

  it('a log-determinant is not taken from a factor whose signs alone are certain', () => {
    let doubtful = 0;
    for (let seed = 1; seed <= 60; seed++) {
      const at = randomPoint(shapes[seed % shapes.length], seed);
      const w = eigenvalues(at.denseHessian(), at.network.parameterCount);
      for (const method of ['affine', 'block'] as const) {
        const f = factor(at, { damping: 1e-7, method });
        const { trusted, perturbation } = f.certify();
        if (!trusted) continue;
        if (perturbation > 1e-4) doubtful++;
        // The dense twin: u |H| / eps = 1e-16 * 10 / 1e-7 for each eigenvalue near zero, with room for a hundred of them.
        expect(Math.abs(f.logAbsDet - logAbsDet(w, 1e-7)), `seed ${seed}, ${method}`).to.be.below(2e-6);
      }
    }
    expect(doubtful).to.be.greaterThan(5);
  });

  it('says with numbers that a job does not fit', () => {
    try {
      factor(point, { damping: 1, memoryLimit: 100 });
      expect.fail('should not fit');
    } catch (error) {
      expect(error).to.be.instanceOf(DeepHessianError);
      expect((error as DeepHessianError).code).to.equal('out-of-memory');
      expect((error as DeepHessianError).message).to.match(/needs .*B but 100 B is available/);
    }
  });

  it('a zero right-hand side has the zero solution', () => {
    const { x, residual, status } = factor(point, { damping: 1 }).solve(new Float64Array(P));
    expect(status).to.equal('converged');
    expect(residual).to.equal(0);
    expect(x.every((value) => value === 0)).to.equal(true);
  });

  it('never returns a silent wrong answer at an unreachable tolerance', () => {
    const f = factor(point, { damping: 1e-3, tolerance: 1e-30 });
    expect(() => f.solve(point.gradient)).to.throw(DeepHessianError, /relative residual/);
    const g = factor(point, { damping: 1e-3, tolerance: 1e-30, onFailure: 'return' });
    const { status, residual } = g.solve(point.gradient);
    expect(status).to.equal('stalled');
    expect(residual).to.be.greaterThan(1e-30);
  });

  it('refuses inertia, with the reason, at a shift that is an eigenvalue', () => {
    const w = eigenvalues(point.denseHessian(), P);
    const f = factorShifted(point, { shift: -w[5], method: 'affine' });
    expect(() => f.inertia).to.throw(DeepHessianError, /not certain|singular/);
  });

  it('a zero shift on a singular Hessian is told or solved, never an argument error', () => {
    // N = 1 on five inputs: a null space, and a sample side that divides by the shift.
    const p = randomPoint(shapes[0]);
    const f = factorShifted(p, { shift: 0, method: 'affine', onFailure: 'return' });
    const { status, residual } = f.solve(p.gradient);
    expect(status).to.be.oneOf(['converged', 'singular', 'stalled']);
    if (status === 'converged') expect(residual).to.be.at.most(1e-10);
  });

  it('serves dead ReLU layers, duplicated samples and zero inputs', () => {
    const network = new Network({
      inputs: 6,
      loss: 'cross-entropy',
      layers: [
        { type: 'dense', units: 4, activation: 'relu' },
        { type: 'dense', units: 4, activation: 'relu' },
        { type: 'dense', units: 3, activation: 'identity' },
      ],
    });
    const random = new Random(4);
    const params = random.normals(new Float64Array(network.parameterCount));
    params.fill(-5, 24, 28);
    const row = random.normals(new Float64Array(6));
    for (const inputs of [new Float64Array(24), Float64Array.from([...row, ...row, ...row, ...row])]) {
      const p = network.linearize(params, { inputs, targets: [0, 1, 2, 0] });
      const w = eigenvalues(p.denseHessian(), network.parameterCount);
      const f = factor(p, { damping: 0.01, method: 'affine' });
      expect(f.solve(p.gradient).residual).to.be.at.most(1e-10);
      expect(f.inertia.negative).to.equal(w.filter((value) => value + 0.01 < 0).length);
    }
  });
});
