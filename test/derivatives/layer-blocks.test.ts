import { expect } from 'chai';
import { Network, checkLayer, type AffinePoint } from '../../ts/derivatives/index.js';
import type { LayerSpec } from '../../ts/network/index.js';
import { maximumError, problem } from '../helpers/problems.js';
import { gatedLayer, tanhLayer } from '../helpers/smooth-layers.js';

describe('layer blocks and custom layers', () => {
  const builtIn: LayerSpec[] = [
    { type: 'dense', units: 4, activation: 'tanh' },
    { type: 'residual', units: 4, activation: 'tanh' },
    { type: 'dense', units: 3, activation: 'tanh' },
  ];
  const custom: LayerSpec[] = [
    { type: 'custom', layer: tanhLayer(3, 4) },
    { type: 'custom', layer: tanhLayer(4, 4, true) },
    { type: 'custom', layer: tanhLayer(4, 3) },
  ];
  const { params, data, random } = problem({ layers: builtIn, kind: 'soft', weighted: true, l2: 0.1 });
  const affine = problem({ layers: builtIn, kind: 'soft', l2: 0.1 }).network;
  const general = problem({ layers: custom, kind: 'soft', l2: 0.1 }).network;
  const affinePoint = affine.linearize(params, data);
  const generalPoint = general.linearize(params, data);

  it('an affine layer and the same layer written as custom agree in everything', () => {
    expect(general.parameterCount).to.equal(affine.parameterCount);
    expect(generalPoint.loss).to.be.closeTo(affinePoint.loss, 1e-14);
    expect(maximumError(generalPoint.gradient, affinePoint.gradient)).to.be.below(1e-13);
    const v = random.normals(new Float64Array(params.length));
    expect(maximumError(generalPoint.hessianProduct(v), affinePoint.hessianProduct(v))).to.be.below(1e-13);
    expect(maximumError(generalPoint.gaussNewtonProduct(v), affinePoint.gaussNewtonProduct(v))).to.be.below(1e-13);
    expect(maximumError(generalPoint.denseHessian(), affinePoint.denseHessian())).to.be.below(1e-13);
    expect(maximumError(generalPoint.denseGaussNewton(), affinePoint.denseGaussNewton())).to.be.below(1e-13);
    expect(maximumError(general.forward(params, data.inputs), affine.forward(params, data.inputs))).to.be.below(1e-14);
    const gradient = new Float64Array(params.length);
    general.lossAndGradient(params, general.batch(data), gradient);
    expect(maximumError(gradient, affinePoint.gradient)).to.be.below(1e-13);
  });

  it('all five blocks of every affine layer equal those of its custom twin', () => {
    for (let l = 0; l < 3; l++) {
      const expected = generalPoint.layerBlocks(l);
      const blocks = affinePoint.layerBlocks(l);
      for (const name of ['dx', 'dz', 'hxx', 'hxz', 'hzz'] as const) {
        expect(blocks[name].length, `${name} of layer ${l}`).to.equal(expected[name].length);
        expect(maximumError(blocks[name], expected[name]), `${name} of layer ${l}`).to.be.below(1e-13);
      }
    }
  });

  it('a residual layer changes dz by the identity and nothing else', () => {
    const network = (type: 'dense' | 'residual'): Network =>
      new Network({ inputs: 3, loss: 'mse', layers: [{ type, units: 3, activation: 'gelu' }] });
    const x = network('dense').initialize({ seed: 4, biasScale: 1 });
    const inputs = random.normals(new Float64Array(6));
    const targets = random.normals(new Float64Array(6));
    const plain = network('dense').linearize(x, { inputs, targets });
    // The residual output is larger by z; so are these targets, which leaves the adjoint the same.
    const residual = network('residual').linearize(x, { inputs, targets: targets.map((t, i) => t + inputs[i]) });
    const a = plain.layerBlocks(0);
    const b = residual.layerBlocks(0);
    expect(
      maximumError(
        residual.outputs,
        plain.outputs.map((value, i) => value + inputs[i]),
      ),
    ).to.be.below(1e-15);
    for (const name of ['dx', 'hxx', 'hxz', 'hzz'] as const)
      expect(maximumError(b[name], a[name]), name).to.be.below(1e-14);
    const identity = a.dz.map((_, i) => (i % 9 === 0 || i % 9 === 4 || i % 9 === 8 ? 1 : 0));
    expect(
      maximumError(
        b.dz.map((value, i) => value - a.dz[i]),
        identity,
      ),
    ).to.be.below(1e-15);
    expect(maximumError(residual.gradient, plain.gradient)).to.be.below(1e-14);
  });

  it('states slope, curvature and delta as documented', () => {
    const [, point] = affinePoint.layers as AffinePoint[];
    const above = affinePoint.layers[2] as AffinePoint;
    const n = affinePoint.samples;
    // lambda_2 = delta_3 W_3, formed here by hand.
    for (let i = 0; i < 4; i++) {
      for (let s = 0; s < n; s++) {
        let lambda = 0;
        for (let u = 0; u < 3; u++) lambda += above.delta[u * n + s] * params[above.layer.weightOffset + u * 4 + i];
        const t = point.output[i * n + s] - point.input[i * n + s];
        expect(point.slope[i * n + s]).to.be.closeTo(1 - t * t, 1e-14);
        expect(point.delta[i * n + s]).to.be.closeTo((1 - t * t) * lambda, 1e-14);
        expect(point.curvature[i * n + s]).to.be.closeTo(-2 * t * (1 - t * t) * lambda, 1e-14);
      }
    }
    expect(above.input).to.equal(point.output);
  });

  describe('checkLayer', () => {
    it('passes correct layers and reports every block', () => {
      for (const layer of [tanhLayer(3, 4), tanhLayer(4, 4, true), gatedLayer(3, 2)]) {
        const report = checkLayer(layer, { seed: 3 });
        expect(report.complaints).to.deep.equal([]);
        expect(report.blocks.map((entry) => entry.block)).to.have.members(['dParams', 'dInput', 'hxx', 'hxz', 'hzz']);
        expect(report.passed, JSON.stringify(report)).to.equal(true);
        for (const entry of report.blocks) expect(entry.error).to.be.above(0).and.below(1e-9);
      }
    });

    it('finds one wrong entry in each block and names its place', () => {
      const wrong = (
        change: (blocks: Float64Array[]) => void,
        method: 'jacobians' | 'contractions',
      ): ReturnType<typeof checkLayer> => {
        const layer = gatedLayer(3, 2);
        const right: unknown = layer[method];
        const replaced = (...args: Float64Array[]): void => {
          Reflect.apply(right as (...values: Float64Array[]) => void, layer, args);
          change(args.slice(method === 'jacobians' ? 2 : 3));
        };
        return checkLayer({ ...layer, [method]: replaced }, { seed: 3 });
      };
      const failing = (report: ReturnType<typeof checkLayer>): string[] =>
        report.blocks.filter((entry) => !entry.passed).map((entry) => entry.block);
      // hxx is 12 x 12, hxz 12 x 3, hzz 3 x 3, dParams 2 x 12, dInput 2 x 3.
      const dParams = wrong(([block]) => (block[14] += 1e-3), 'jacobians');
      expect(failing(dParams)).to.include('dParams');
      expect(dParams.blocks.find((entry) => entry.block === 'dParams')).to.include({ row: 1, column: 2 });
      expect(failing(wrong(([, block]) => (block[4] *= 1.001), 'jacobians'))).to.include('dInput');
      expect(failing(wrong(([block]) => (block[0] += 1e-3), 'contractions'))).to.deep.equal(['hxx']);
      expect(failing(wrong(([, block]) => (block[7] -= 1e-3), 'contractions'))).to.deep.equal(['hxz']);
      expect(failing(wrong(([, , block]) => (block[4] = NaN), 'contractions'))).to.deep.equal(['hzz']);
      const skew = wrong(([block]) => (block[1] += 1e-3), 'contractions');
      expect(skew.complaints).to.deep.equal(['hxx is not symmetric']);
    });

    it('complains about arguments written to and results that change', () => {
      const layer = gatedLayer(3, 2);
      let calls = 0;
      const report = checkLayer({
        ...layer,
        forward(params, input, output) {
          layer.forward(params, input, output);
          output[0] += 1e-12 * calls++;
          input[0] = 0;
        },
      });
      expect(report.passed).to.equal(false);
      expect(report.complaints).to.have.members([
        'forward gives different results for the same arguments',
        'forward writes to its arguments',
      ]);
    });

    it('refuses what is not a layer', () => {
      expect(() => checkLayer({} as never)).to.throw(
        TypeError,
        'checkLayer: expected a string for layer.name, received undefined',
      );
      expect(() => checkLayer({ ...gatedLayer(2, 2), units: 0 })).to.throw(RangeError, 'layer.units');
      expect(() => checkLayer({ ...gatedLayer(2, 2), jacobians: undefined as never })).to.throw(
        TypeError,
        'layer.jacobians',
      );
      expect(() => checkLayer(gatedLayer(2, 2), { tolerance: 0 })).to.throw(RangeError, 'tolerance');
    });
  });
});
