import { expect } from 'chai';
import { goldenCases, relativeError } from '../helpers/golden.js';

/* Reference values come from another program in float64; both sides round. 1e-12 leaves room for depth 12 and conditioning of
 * the sums, and is far below any wrong term. */
describe('golden cases', () => {
  for (const golden of goldenCases()) {
    const { metadata, network, params, inputs, targets, array } = golden;
    describe(`${metadata.name}: ${metadata.dims.join('-')}, N = ${metadata.batch}, ${metadata.activation}, ${metadata.loss}`, () => {
      const point = network.linearize(params, { inputs, targets });

      it('has the stated number of parameters', () => {
        expect(network.parameterCount).to.equal(metadata.num_params);
      });

      it('outputs and loss to 1e-12', () => {
        expect(relativeError(network.forward(params, inputs), array('outputs'))).to.be.below(1e-12);
        expect(relativeError(point.outputs, array('outputs'))).to.be.below(1e-12);
        expect(relativeError([point.loss], array('loss'))).to.be.below(1e-12);
      });

      it('gradient to 1e-12, by both routes', () => {
        expect(relativeError(point.gradient, array('grad'))).to.be.below(1e-12);
        const gradient = new Float64Array(params.length).fill(NaN);
        const loss = network.lossAndGradient(params, network.batch({ inputs, targets }), gradient);
        expect(relativeError([loss], array('loss'))).to.be.below(1e-12);
        expect(relativeError(gradient, array('grad'))).to.be.below(1e-12);
      });

      it('Hessian product to 1e-12', () => {
        expect(relativeError(point.hessianProduct(array('v')), array('hvp_v'))).to.be.below(1e-12);
      });

      it('dense Hessian and Gauss-Newton matrix to 1e-11', () => {
        expect(relativeError(point.denseHessian(), array('hessian'))).to.be.below(1e-11);
        expect(relativeError(point.denseGaussNewton(), array('gauss_newton'))).to.be.below(1e-11);
      });
    });
  }
});
