import { expect } from 'chai';
import { compareAtSeed, countFailures, seedProblem } from '../../examples/seed-001/inverse-products.js';
import {
  batchParts,
  compareInverseProducts,
  inverseProductMethods,
  type InverseProduct,
  type InverseProductComparison,
} from '../../ts/analysis/inverse-products.js';
import { curvatureOperator } from '../../ts/curvature/index.js';
import { Network } from '../../ts/derivatives/index.js';
import { type DeepHessianError } from '../../ts/errors.js';
import { norm } from '../../ts/linalg/vectors.js';
import { Random } from '../../ts/random.js';
import { tanhLayer } from '../helpers/smooth-layers.js';

const row = (result: InverseProductComparison, method: string): InverseProduct =>
  result.methods.find((other) => other.method === method) as InverseProduct;

/** Weights wide enough for a mean squared error with several layers, 40 samples. */
function regression(l2 = 0): { network: Network; params: Float64Array; inputs: Float64Array; targets: Float64Array } {
  const network = new Network({
    inputs: 4,
    loss: 'mse',
    layers: [
      { type: 'dense', units: 6, activation: 'tanh' },
      { type: 'dense', units: 2, activation: 'identity' },
    ],
    l2,
  });
  const random = new Random(3);
  return {
    network,
    params: network.initialize({ seed: 2 }),
    inputs: random.normals(new Float64Array(40 * 4)),
    targets: random.normals(new Float64Array(40 * 2)),
  };
}

describe('inverse products', () => {
  it('on a 3-5-1 network: 40 iterations of conjugate gradients miss, MINRES comes close, the exact solve is exact', () => {
    const result = compareAtSeed(15, 40);
    expect(result.parameters).to.equal(26);
    expect(result.spectrum.negative).to.equal(13);
    const cg = row(result, 'cg');
    expect(cg.status).to.equal('iteration-limit');
    expect(cg.negativeCurvatureAt).to.equal(2);
    // The figures of the documentation; rounding is amplified by an erratic iteration, so not to many digits.
    expect(cg.relativeError).to.be.within(0.5, 1.5);
    expect(cg.cosine).to.be.within(0.5, 0.85);
    expect(row(result, 'minres').relativeError).to.be.below(0.05);
    expect(row(result, 'minres').cosine).to.be.above(0.999);
    // Condition 2.6e3 times a residual of 1e-10 at most, in fact of 1e-15.
    expect(row(result, 'exact').relativeError).to.be.below(1e-12);
    expect(row(result, 'neumann').status).to.equal('diverged');
    expect(row(result, 'neumann-unscaled').status).to.equal('diverged');
  });

  it('conjugate gradients get worse on the way, MINRES converges with a few iterations more', () => {
    const errors = [26, 40].map(
      (iterations) => row(compareAtSeed(15, iterations, { methods: ['cg'] }), 'cg').relativeError,
    );
    expect(errors[1]).to.be.above(2 * errors[0]);
    const minres = row(compareAtSeed(15, 60, { methods: ['minres'] }), 'minres');
    expect(minres.status).to.equal('converged');
    expect(minres.relativeError).to.be.below(1e-8); // residual 1e-10 times condition 2.6e3, with room
  });

  it('the exact solve fails at no seed, conjugate gradients at many', () => {
    expect(countFailures('exact', 20, 40, 1e-9)).to.equal(0);
    expect(countFailures('cg', 20, 40, 0.1)).to.be.within(4, 14);
  });

  it('at a damping that makes the matrix definite every method converges to the same vector', () => {
    // Smallest eigenvalue -0.54.
    const result = compareAtSeed(15, 3000, { damping: 1, tolerance: 1e-9, start: 'zero', repeats: 200, depth: 200 });
    expect(result.spectrum.negative).to.equal(0);
    for (const method of ['exact', 'cg', 'minres', 'neumann']) {
      expect(row(result, method).status, method).to.equal('converged');
      expect(row(result, method).relativeError, method).to.be.below(1e-8);
    }
    expect(row(result, 'cg').negativeCurvatureAt).to.equal(null);
    // 1 - alpha lambda > -1 fails without a scale: the largest eigenvalue is above 2.
    expect(row(result, 'neumann-unscaled').status).to.equal('diverged');
    // LiSSA samples: far from exact, but on its way.
    expect(row(result, 'lissa').status).to.equal('sampled');
    expect(row(result, 'lissa').cosine).to.be.above(0.97);
  });

  it('the parts of the batch that LiSSA draws average to the whole exactly', () => {
    // 40 samples in 32 parts: parts of one and of two, so the weights matter.
    const problem = regression(0.01);
    const { network, params, inputs, targets } = problem;
    const P = network.parameterCount;
    const v = new Random(4).normals(new Float64Array(P));
    for (const matrix of ['hessian', 'gauss-newton'] as const) {
      const { operator, parts } = batchParts(problem, matrix);
      expect(parts).to.equal(32);
      const mean = new Float64Array(P);
      const out = new Float64Array(P);
      for (let c = 0; c < parts; c++) {
        operator.apply(c, v, out);
        for (let i = 0; i < P; i++) mean[i] += out[i] / parts;
      }
      const whole = curvatureOperator(network.linearize(params, { inputs, targets }), matrix);
      whole.apply(v, out);
      for (let i = 0; i < P; i++) mean[i] -= out[i];
      // Sums of 32 terms in another order.
      expect(norm(mean) / norm(out)).to.be.below(1e-13);
    }
  });

  it('a method that cannot serve a network is a line of the table', () => {
    const network = new Network({
      inputs: 2,
      loss: 'mse',
      layers: [
        { type: 'custom', layer: tanhLayer(2, 3) },
        { type: 'dense', units: 1, activation: 'identity' },
      ],
    });
    const random = new Random(5);
    const result = compareInverseProducts(
      {
        network,
        params: network.initialize({ seed: 1 }),
        inputs: random.normals(new Float64Array(12)),
        targets: random.normals(new Float64Array(6)),
      },
      { damping: 0.1, methods: ['exact', 'kfac'] },
    );
    expect(row(result, 'exact').relativeError).to.be.below(1e-10);
    expect(row(result, 'kfac').status).to.equal('failed');
    expect(row(result, 'kfac').explanation).to.match(/custom/);
  });

  it('curves end where the rows do, and count products', () => {
    const result = compareInverseProducts(regression(), { damping: 0.1, iterations: 15 });
    for (const method of ['cg', 'minres', 'neumann']) {
      const { curve, relativeError } = row(result, method);
      expect(curve[curve.length - 1][1], method).to.be.closeTo(relativeError, 1e-9 * relativeError);
      curve.forEach(([products], i) => expect(products).to.equal(i + 1));
    }
    expect(result.methods.map((other) => other.method)).to.deep.equal(Object.keys(inverseProductMethods));
    for (const { residual, seconds } of result.methods) {
      expect(residual).to.be.at.least(0);
      expect(seconds).to.be.above(0);
    }
  });

  it('takes its own vector, and measures against an independent reference', () => {
    const problem = regression();
    const vector = new Random(9).normals(new Float64Array(problem.network.parameterCount));
    const result = compareInverseProducts(problem, { damping: 0.05, vector, methods: ['exact'] });
    expect(result.reference.from).to.equal('eigen-decomposition');
    expect(result.reference.residual).to.be.below(1e-12);
    const point = problem.network.linearize(problem.params, { inputs: problem.inputs, targets: problem.targets });
    const h = point.denseHessian();
    // Trace of the matrix by its extreme eigenvalues' bounds: a crude but independent look at the spectrum.
    const P = vector.length;
    let trace = 0;
    for (let i = 0; i < P; i++) trace += h[i * P + i] + 0.05;
    expect(trace).to.be.within(P * result.spectrum.lowest, P * result.spectrum.highest);
    expect(norm(vector) / result.spectrum.highest).to.be.at.most(result.reference.norm * (1 + 1e-12));
  });

  it('refuses a singular matrix, a zero vector and wrong options', () => {
    const problem = seedProblem(1);
    // An input that is always 0: its weights have no influence, and H has five zero rows.
    const inputs = problem.inputs.map((value, i) => (i % 3 === 0 ? 0 : value));
    expect(() => compareInverseProducts({ ...problem, inputs }, {}))
      .to.throw(/singular at damping 0.*damping > 0 helps/)
      .with.property('code', 'singular' satisfies DeepHessianError['code']);
    expect(() => compareInverseProducts(problem, { vector: new Float64Array(26) })).to.throw(
      RangeError,
      /vector other than 0/,
    );
    expect(() => compareInverseProducts(problem, { damping: -1 })).to.throw(RangeError, /damping/);
    expect(() => compareInverseProducts(problem, { iterations: 0 })).to.throw(RangeError, /iterations/);
    expect(() => compareInverseProducts(problem, { methods: ['magic' as never] })).to.throw(
      RangeError,
      /'exact', 'cg'/,
    );
    expect(() => compareInverseProducts(problem, { foo: 1 } as never)).to.throw(/foo/);
    expect(() => compareInverseProducts(problem, { onMethod: () => false }))
      .to.throw()
      .with.property('code', 'aborted');
  });
});
