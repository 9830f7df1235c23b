import { expect } from 'chai';
import { Network } from '../../ts/derivatives/network.js';
import { DeepHessianError } from '../../ts/errors.js';
import { factor } from '../../ts/inverse/factor.js';
import {
  createPreconditioner,
  leadingSamples,
  preconditionerNames,
} from '../../ts/optimize/curvature-preconditioners.js';
import { createHessianFree, type HessianFreeOptions, type HessianFreeReport } from '../../ts/optimize/hessian-free.js';
import { StructuralDamping } from '../../ts/optimize/structural-damping.js';
import { TruncatedCg } from '../../ts/optimize/truncated-cg.js';
import { Random } from '../../ts/random.js';
import { maximumError, problem, randomBatch } from '../helpers/problems.js';
import { tanhLayer } from '../helpers/smooth-layers.js';
import {
  denseSolve,
  dot,
  geometric,
  multiply,
  norm,
  normals,
  relativeError,
  symmetricWith,
} from '../linalg/helpers.js';
import { smallProblem } from './first-order-problem.js';

describe('truncated CG', () => {
  const size = 30;
  const { a } = symmetricWith(geometric(size, 1e-2, 10), 4);
  const b = normals(size, 5);
  const product = (v: Float64Array, out: Float64Array): void => void out.set(multiply(a, v));

  it('with enough iterations: the solution; the model value is phi', () => {
    const cg = new TruncatedCg(size);
    cg.run(product, b, null, { maxIterations: 400, progress: 0, tolerance: 1e-13 });
    expect(cg.reason).equal('tolerance');
    // residual 1e-13 times the condition number 1e3
    expect(relativeError(cg.x, denseSolve(a, b))).below(1e-9);
    for (let j = 0; j < cg.kept.length; j++) {
      const x = cg.iterate(j);
      const phi = 0.5 * dot(x, multiply(a, x)) - dot(b, x);
      expect(cg.keptModel[j]).closeTo(phi, 1e-9 * Math.abs(phi));
      if (j > 0) expect(cg.keptModel[j]).below(cg.keptModel[j - 1] + 1e-12);
    }
    expect(cg.kept[cg.kept.length - 1]).equal(cg.iterations);
  });

  it('a perfect preconditioner ends it after one iteration; the start is used', () => {
    const cg = new TruncatedCg(size);
    cg.run(product, b, (v, out) => out.set(denseSolve(a, v)), { maxIterations: 50, progress: 0, tolerance: 1e-9 });
    expect(cg.iterations).equal(1);
    cg.run(product, b, null, { maxIterations: 50, progress: 0, tolerance: 1e-9 });
    expect(cg.iterations).equal(0);
    expect(cg.residual).below(1e-9);
  });

  it('stops by progress before the residual is small', () => {
    const cg = new TruncatedCg(size);
    cg.run(product, b, null, { maxIterations: 400, progress: 5e-3, tolerance: 1e-13 });
    expect(cg.reason).equal('progress');
    expect(cg.iterations).within(11, 60);
    expect(cg.residual).above(1e-13);
  });

  it('reports curvature that is not positive, and keeps what it had', () => {
    const cg = new TruncatedCg(2);
    cg.run((v, out) => out.set([v[0], -v[1]]), Float64Array.of(1, 2), null, {
      maxIterations: 9,
      progress: 0,
      tolerance: 0,
    });
    expect(cg.reason).equal('negative-curvature');
    expect([...cg.x]).deep.equal([0, 0]);
  });
});

describe('structural damping', () => {
  it('is the mean over samples of the hidden Jacobians, J^T J, by differences of the activations', () => {
    const { network, params, data } = problem({ samples: 5 });
    const batch = network.batch(data);
    const point = network.linearize(params, batch);
    const hidden = point.layers.slice(0, -1).map((layer) => layer.layer.units);
    const P = network.parameterCount;
    const width = hidden.reduce((sum, units) => sum + units, 0) * 5;
    const activations = (x: Float64Array): Float64Array => {
      const out = new Float64Array(width);
      let o = 0;
      for (const layer of network.linearize(x, batch).layers.slice(0, -1)) {
        out.set(layer.output, o);
        o += layer.output.length;
      }
      return out;
    };
    const random = new Random(1);
    const [u, v] = [random.normals(new Float64Array(P)), random.normals(new Float64Array(P))];
    const along = (w: Float64Array): Float64Array => {
      const h = 1e-5;
      const up = activations(params.map((value, i) => value + h * w[i]));
      const down = activations(params.map((value, i) => value - h * w[i]));
      return up.map((value, i) => (value - down[i]) / (2 * h));
    };
    const out = new Float64Array(P).fill(1);
    new StructuralDamping('test', network).accumulate(point, v, 3, out);
    const expected = (3 * dot(along(u), along(v))) / 5;
    // central differences: h^2 = 1e-10 of truncation, 1e-16 / h = 1e-11 of rounding, times sums of size 100
    expect(
      dot(
        u,
        out.map((value) => value - 1),
      ),
    ).closeTo(expected, 1e-7 * norm(u) * norm(v));
  });
});

describe('curvature preconditioners', () => {
  const { network, params, data } = problem({ samples: 9, weighted: true, l2: 0.01 });
  const batch = network.batch(data);
  const point = network.linearize(params, batch);
  const P = network.parameterCount;
  const options = { exponent: 0.75, subBatch: 9, seed: 1 };

  it('every one is symmetric and positive definite', () => {
    const random = new Random(2);
    const [u, v, mu, mv] = Array.from({ length: 4 }, () => random.normals(new Float64Array(P)));
    for (const name of preconditionerNames) {
      const made = createPreconditioner('test', name, network, options);
      if (made === null) {
        expect(name).equal('none');
        continue;
      }
      made.prepare(point);
      made.damp(0.1);
      made.apply(u, mu);
      made.apply(v, mv);
      expect(dot(u, mv), name).closeTo(dot(v, mu), 1e-11 * norm(u) * norm(mv));
      expect(dot(u, mu), name).above(0);
    }
  });

  it('sub-batch of all samples: the exact inverse', () => {
    const made = createPreconditioner('test', 'sub-batch', network, options)!;
    made.prepare(point);
    made.damp(0.1);
    const out = new Float64Array(P);
    made.apply(point.gradient, out);
    const exact = factor(point, { matrix: 'gauss-newton', damping: 0.1 }).solve(point.gradient).x;
    expect(relativeError(out, exact)).below(1e-10);
  });

  it('exact-diagonal: the diagonal of G', () => {
    const made = createPreconditioner('test', 'exact-diagonal', network, { ...options, exponent: 1 })!;
    made.prepare(point);
    made.damp(0.1);
    const out = new Float64Array(P);
    made.apply(new Float64Array(P).fill(1), out);
    const G = point.denseGaussNewton();
    const expected = Float64Array.from({ length: P }, (_, i) => 1 / (G[i * (P + 1)] + 0.1));
    expect(maximumError(out, expected)).below(1e-12);
  });

  it('diagonal: the mean of squared gradients of single samples', () => {
    const plain = problem({ samples: 6 });
    const whole = plain.network.linearize(plain.params, plain.data);
    const made = createPreconditioner('test', 'diagonal', plain.network, { ...options, exponent: 1 })!;
    made.prepare(whole);
    made.damp(0.1);
    const n = plain.network.parameterCount;
    const out = new Float64Array(n);
    made.apply(new Float64Array(n).fill(1), out);
    const squares = new Float64Array(n);
    for (let s = 0; s < 6; s++) {
      const one = plain.network.linearize(plain.params, {
        inputs: plain.data.inputs.slice(3 * s, 3 * s + 3),
        targets: plain.data.targets.slice(s, s + 1) as Int32Array,
      });
      for (let i = 0; i < n; i++) squares[i] += one.gradient[i] ** 2 / 6;
    }
    expect(
      maximumError(
        out,
        squares.map((value) => 1 / (value + 0.1)),
      ),
    ).below(1e-12);
  });

  it('leading samples of a batch are the batch of the leading samples', () => {
    const part = leadingSamples(batch, network, 4);
    const direct = network.batch({
      inputs: data.inputs.slice(0, 4 * network.inputs),
      targets: data.targets.slice(0, 4),
      weights: data.weights!.slice(0, 4),
    });
    expect(part).deep.equal(direct);
  });
});

describe('hessian-free', () => {
  it('with enough iterations its solution is the exact Gauss-Newton step, and the last iterate of a linear model is taken', () => {
    const linear = new Network({
      inputs: 4,
      loss: 'mse',
      layers: [{ type: 'dense', units: 3, activation: 'identity' }],
    });
    const settings = [
      { ...smallProblem(), linear: false },
      {
        network: linear,
        batch: linear.batch(randomBatch(new Random(2), 20, 4, 3, 'mse')),
        params: linear.initialize({ seed: 1 }),
        linear: true,
      },
    ];
    for (const { network, batch, params: start, linear: isLinear } of settings) {
      const point = network.linearize(start, batch);
      const damping = 0.3;
      const exact = factor(point, { matrix: 'gauss-newton', damping }).solve(point.gradient).x;
      for (const preconditioner of preconditionerNames) {
        const own = start.slice();
        const optimizer = createHessianFree(network, {
          damping,
          progress: 0,
          solveTolerance: 1e-12,
          maxIterations: 400,
          preconditioner,
        });
        const report = optimizer.step(own, batch) as HessianFreeReport;
        expect(report).include({ accepted: true, stop: 'tolerance' });
        // residual 1e-12 times a condition number of 1e2
        expect(
          relativeError(
            optimizer.state().vectors.solution.map((value) => -value),
            exact,
          ),
          preconditioner,
        ).below(1e-9);
        // Without a preconditioner phi falls and |x| grows along CG, so a linear model's loss phi - lambda/2 |x|^2 falls too:
        // the walk back takes the last iterate, up to those whose losses differ by rounding.
        if (isLinear && preconditioner === 'none') {
          expect(
            relativeError(
              own.map((value, i) => start[i] - value),
              exact,
            ),
          ).below(1e-7);
        }
      }
    }
  });

  it('the loss of a fixed batch falls with every accepted step, whatever the curvature and the preconditioner', () => {
    const variants: HessianFreeOptions[] = [
      ...preconditionerNames.map((preconditioner) => ({ preconditioner, subBatch: 5 })),
      { structural: 0.3 },
      { curvature: 'hessian' },
    ];
    for (const options of variants) {
      const { network, params, batch } = smallProblem();
      const optimizer = createHessianFree(network, options);
      let loss = Infinity;
      for (let t = 0; t < 40; t++) {
        const report = optimizer.step(params, batch);
        expect(report.loss).at.most(loss * (1 + 1e-13));
        loss = report.loss;
      }
      expect(loss, JSON.stringify(options)).below(0.02);
    }
  });

  it('the Hessian: leaves a saddle region by negative curvature', () => {
    const network = new Network({
      inputs: 1,
      loss: 'mse',
      layers: [
        { type: 'dense', units: 3, activation: 'tanh', bias: false },
        { type: 'dense', units: 1, activation: 'identity', bias: false },
      ],
    });
    const inputs = Float64Array.from({ length: 11 }, (_, n) => (n - 5) / 2);
    const batch = network.batch({ inputs, targets: inputs.map(Math.sin) });
    // Near the saddle at 0.
    const params = new Random(3).normals(new Float64Array(6)).map((value) => 1e-3 * value);
    const before = network.evaluate(params, batch).loss;
    const optimizer = createHessianFree(network, { curvature: 'hessian', damping: 0.1 });
    let met = false;
    for (let t = 0; t < 30; t++)
      met = (optimizer.step(params, batch) as HessianFreeReport).stop === 'negative-curvature' || met;
    expect(met).equal(true);
    expect(network.evaluate(params, batch).loss).below(0.05 * before);
  });

  it('resumes with the same bits', () => {
    for (const options of [
      {},
      { preconditioner: 'kfac' },
      { curvature: 'hessian' },
      { structural: 0.1, preconditioner: 'sub-batch', subBatch: 4 },
    ] as HessianFreeOptions[]) {
      const { network, params, batch } = smallProblem();
      const optimizer = createHessianFree(network, options);
      for (let t = 0; t < 4; t++) optimizer.step(params, batch);
      const state = structuredClone(optimizer.state());
      const resumed = params.slice();
      const other = createHessianFree(network, options);
      other.restore(state);
      for (let t = 0; t < 4; t++) expect(other.step(resumed, batch)).deep.equal(optimizer.step(params, batch));
      expect([...resumed]).deep.equal([...params]);
    }
  });

  it('custom layers: plain CG by default; what needs affine layers is refused', () => {
    const network = new Network({
      inputs: 3,
      loss: 'mse',
      layers: [
        { type: 'custom', layer: tanhLayer(3, 4) },
        { type: 'dense', units: 2, activation: 'identity' },
      ],
    });
    const batch = network.batch(randomBatch(new Random(1), 6, 3, 2, 'mse'));
    const params = network.initialize({ seed: 1 });
    const optimizer = createHessianFree(network);
    const before = network.evaluate(params, batch).loss;
    for (let t = 0; t < 20; t++) optimizer.step(params, batch);
    expect(network.evaluate(params, batch).loss).below(0.2 * before);
    expect(() => createHessianFree(network, { preconditioner: 'kfac' })).throw(DeepHessianError, 'custom layer');
    expect(() => createHessianFree(network, { structural: 1 })).throw(DeepHessianError, 'custom layer');
  });

  it('streams: batches of other sizes', () => {
    const { network, params, data } = problem({ samples: 30 });
    const batch = network.batch(data);
    const optimizer = createHessianFree(network, { preconditioner: 'sub-batch', subBatch: 8 });
    const before = network.evaluate(params, batch).loss;
    for (let t = 0; t < 12; t++) optimizer.step(params, leadingSamples(batch, network, t % 2 === 0 ? 30 : 20));
    expect(network.evaluate(params, batch).loss).below(before);
  });

  it('refuses hostile options', () => {
    const { network } = smallProblem();
    for (const [options, message] of [
      [{ damping: 0 }, 'damping'],
      [{ warmStart: 1 }, 'warmStart'],
      [{ exponent: 2 }, 'exponent'],
      [{ maxIterations: 0 }, 'maxIterations'],
      [{ preconditioner: 'ilu' }, 'preconditioner'],
      [{ curvature: 'fisher' }, 'curvature'],
      [{ curvature: 'hessian', preconditioner: 'kfac' }, 'preconditioner'],
      [{ minimumDamping: 1, maximumDamping: 0.5 }, 'minimumDamping'],
      [{ momentum: 0.9 }, "unknown option 'momentum'"],
    ] as const) {
      expect(() => createHessianFree(network, options as object), message).throw(RangeError, message);
    }
    expect(() => createHessianFree(network, { curvature: 'hessian', structural: 1 })).throw(RangeError, 'structural');
    expect(() => createHessianFree(network).restore({ scalars: { lambda: 0 }, vectors: {} })).throw(
      RangeError,
      'lambda',
    );
  });
});
