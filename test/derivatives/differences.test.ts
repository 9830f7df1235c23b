import { expect } from 'chai';
import { activationNames } from '../../ts/network/index.js';
import {
  differenceGradient,
  directionalDifference,
  maximumError,
  problem,
  targetKinds,
  times,
} from '../helpers/problems.js';

/* The oracle is a fourth-order difference, good to about 1e-11 of the function's scale; 1e-8 is a thousand times that and far
 * below any wrong or missing term. */
const tolerance = 1e-8;

describe('first and second derivatives against finite differences', () => {
  for (const activation of activationNames) {
    for (const kind of targetKinds) {
      it(`${activation}, ${kind}: gradient and Hessian product, with and without bias, weights and L2`, () => {
        for (const bias of [true, false]) {
          for (const weighted of [true, false]) {
            const l2 = weighted ? [0.3, 0, 0.07] : 0;
            const { network, params, data, random } = problem({ activation, kind, bias, weighted, l2 });
            const batch = network.batch(data);
            const gradient = new Float64Array(params.length);
            const loss = network.lossAndGradient(params, batch, gradient);
            const point = network.linearize(params, batch);
            expect(point.loss).to.be.closeTo(loss, 1e-14);
            expect(network.evaluate(params, batch).loss).to.be.closeTo(loss, 1e-14);
            expect(maximumError(point.gradient, gradient)).to.be.below(1e-13);

            const expected = differenceGradient((x) => network.evaluate(x, batch).loss, params);
            expect(maximumError(gradient, expected)).to.be.below(tolerance);

            const v = random.normals(new Float64Array(params.length));
            const gradientAt = (x: Float64Array): Float64Array => {
              network.lossAndGradient(x, batch, gradient);
              return gradient;
            };
            const product = directionalDifference(gradientAt, params, v, 2e-4);
            expect(maximumError(point.hessianProduct(v), product)).to.be.below(tolerance);
          }
        }
      });
    }
  }

  it('the output Jacobian and its two products', () => {
    const { network, params, data, random } = problem({ kind: 'mse', l2: 0.4 });
    const point = network.linearize(params, data);
    const v = random.normals(new Float64Array(params.length));
    const rows = point.samples * network.outputs;
    const rowMajor = directionalDifference((x) => network.forward(x, data.inputs), params, v);
    const product = point.jacobianProduct(v);
    for (let n = 0; n < point.samples; n++) {
      for (let k = 0; k < network.outputs; k++) {
        expect(product[k * point.samples + n]).to.be.closeTo(rowMajor[n * network.outputs + k], tolerance);
      }
    }
    const jacobian = point.outputJacobian();
    const byMatrix = new Float64Array(rows);
    for (let j = 0; j < v.length; j++) for (let i = 0; i < rows; i++) byMatrix[i] += jacobian[i + j * rows] * v[j];
    expect(maximumError(product, byMatrix)).to.be.below(1e-13);
    const w = random.normals(new Float64Array(rows));
    const transposed = v.map((_, j) => w.reduce((sum, value, i) => sum + value * jacobian[i + j * rows], 0));
    expect(maximumError(point.jacobianTransposedProduct(w), transposed)).to.be.below(1e-13);
  });

  it('Gauss-Newton product: J^T Q J v + L2 v, against its dense form', () => {
    for (const kind of targetKinds) {
      const { network, params, data, random } = problem({ kind, weighted: true, l2: 0.2, activation: 'softplus' });
      const point = network.linearize(params, data);
      const v = random.normals(new Float64Array(params.length));
      expect(maximumError(point.gaussNewtonProduct(v), times(point.denseGaussNewton(), v)), kind).to.be.below(1e-12);
    }
  });

  it('Q is the Hessian of the loss in the outputs, also for soft targets that sum to 1 only nearly', () => {
    for (const kind of targetKinds) {
      // One linear layer without bias on one-hot inputs: the parameters are the outputs.
      const { network, params, data } = problem({
        kind,
        weighted: true,
        samples: 1,
        inputs: 1,
        layers: [{ type: 'dense', units: 3, activation: 'identity', bias: false }],
      });
      data.inputs[0] = 1;
      if (kind === 'soft') (data.targets as Float64Array)[1] += 9e-7;
      const point = network.linearize(params, data);
      for (let i = 0; i < 3; i++) {
        const e = new Float64Array(3);
        e[i] = 1;
        const out = new Float64Array(3);
        point.applyOutputHessian(e, out);
        const expected = directionalDifference((x) => network.linearize(x, data).gradient, params, e);
        expect(maximumError(out, expected), kind).to.be.below(1e-10);
        expect(maximumError(point.hessianProduct(e), out), kind).to.be.below(1e-13);
      }
    }
  });
});
