import { expect } from 'chai';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eigenvalues } from '../../ts/curvature/eigenvalues.js';
import { SpectrumSlicer } from '../../ts/curvature/spectrum-slicer.js';
import { makeDataset } from '../../ts/data/dataset.js';
import { loadDataset } from '../../ts/data/load.js';
import { Network } from '../../ts/derivatives/network.js';
import { Random } from '../../ts/random.js';
import { CurvatureProbe, probeSize } from '../../ts/train/curvature-probe.js';
import { renderCurvature } from '../../ts/train/report-curvature.js';
import { readMetrics } from '../../ts/train/run-folder.js';
import { TrainingSession } from '../../ts/train/session.js';
import type { EndRecord, EvaluationRecord } from '../../ts/train/trainer.js';

const net = (hidden: number, layers: number, inputs = 1): Network =>
  new Network({
    inputs,
    loss: 'mse',
    layers: [
      ...Array.from({ length: layers - 1 }, () => ({ type: 'dense', units: hidden, activation: 'tanh' }) as const),
      { type: 'dense', units: 1, activation: 'identity' },
    ],
  });

describe('spectrum along training', () => {
  let root: string;
  before(() => (root = mkdtempSync(join(tmpdir(), 'deep-hessian-probe-'))));
  after(() => rmSync(root, { recursive: true, force: true }));

  it('gives the ends and the inertia of the Hessian of the training loss', async () => {
    const network = net(6, 4);
    const { train } = await loadDataset({ data: 'sinc', points: 30, standardise: 'none' });
    const params = network.initialize({ seed: 1, scheme: 'orthogonal', gain: 1.1 });
    const taken = CurvatureProbe.make(network, train, 0.1)!.take(params, false)!;
    const { values } = eigenvalues(
      network.linearize(params, { inputs: train.inputs, targets: train.values as Float64Array }),
    );
    const norm = Math.max(-values[0], values[values.length - 1]);
    expect(taken.samples).to.equal(30);
    // Lanczos stops at 1e-3 of the norm.
    expect(taken.smallest).to.be.closeTo(values[0], 1e-2 * norm);
    expect(taken.largest).to.be.closeTo(values[values.length - 1], 1e-2 * norm);
    expect(taken.tolerance).to.be.closeTo(1e-6 * norm, 1e-8 * norm);
    expect(taken.negative).to.equal(values.filter((value) => value < -taken.tolerance).length);
    expect(taken.positive).to.equal(values.filter((value) => value > taken.tolerance).length);
    expect(taken.zero).to.equal(values.length - taken.negative! - taken.positive!);
    expect(taken.negative).to.be.above(0);
  });

  it('has no end on the other side of zero than the counts: near a fit the smallest eigenvalue is all but zero', () => {
    const samples = 20;
    const inputs = new Random(1).normals(new Float64Array(3 * samples));
    const kinds = { negative: 0, zero: 0 };
    let moved = 0;
    for (const scale of [1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7]) {
      const network = net(8, 3, 3);
      const params = network.initialize({ seed: 2 });
      // The network's own outputs and a little noise: H is a positive semidefinite matrix and a perturbation of that size.
      const { outputs } = network.linearize(params, { inputs, targets: new Float64Array(samples) });
      const noise = new Random(3).normals(new Float64Array(samples));
      const values = outputs.map((value, i) => value + scale * noise[i]);
      const train = makeDataset({ name: 'own outputs', features: 3, inputs, values, outputs: 1 });
      const point = network.linearize(params, { inputs, targets: values });
      const slicer = new SpectrumSlicer(point);
      const spectrum = slicer.denseValues();
      const { smallest, largest, tolerance, negative, zero, positive } = CurvatureProbe.make(network, train, 1)!.take(
        params,
        true,
      )!;
      const dense = [spectrum.filter((x) => x < -tolerance).length, spectrum.filter((x) => x > tolerance).length];
      expect([negative, positive]).to.deep.equal(dense);
      if (negative! > 0) expect(smallest).to.be.at.most(-tolerance);
      else expect(smallest).to.be.within(-tolerance, tolerance);
      // Never further from the truth than Lanczos itself.
      expect(Math.abs(smallest - spectrum[0])).to.be.at.most(Math.abs(slicer.ends().lowest - spectrum[0]));
      expect(largest).to.be.closeTo(spectrum[spectrum.length - 1], 1e-2 * largest);
      kinds[negative! > 0 ? 'negative' : 'zero']++;
      expect(zero).to.be.above(0);
      if (smallest !== slicer.ends().lowest) moved++;
    }
    expect(kinds.negative).to.be.above(0);
    expect(kinds.zero).to.be.above(0);
    expect(moved).to.be.above(2);
  });

  it('keeps to its share, but never leaves out the end', async () => {
    const network = net(6, 4);
    const { train } = await loadDataset({ data: 'sinc', points: 30, standardise: 'none' });
    const params = network.initialize({ seed: 1 });
    expect(CurvatureProbe.make(network, train, 0)).to.equal(null);
    const probe = CurvatureProbe.make(network, train, 1e-9)!;
    const began = performance.now();
    let taken = 0;
    // Half a second is free; after that a share of 1e-9 leaves no room.
    while (performance.now() - began < 1500) {
      if (probe.take(params, false) !== null) taken++;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    // Times grow by a tenth from probe to probe: 5 ms to 1500 ms in at most 60 steps.
    expect(taken).to.be.within(1, 62);
    expect(probe.take(params, true)).to.not.equal(null);
    expect(
      probe.take(
        params.map(() => NaN),
        true,
      ),
    ).to.equal(null);
  });

  it('takes fewer samples of larger networks, and none of those that are too large', () => {
    expect(probeSize(net(6, 4), 30).samples).to.equal(30);
    const deep = probeSize(net(16, 30), 200);
    expect(deep.samples).to.be.within(1, 100);
    expect(deep.bytes).to.be.within(1e5, 64e6);
    expect(probeSize(net(600, 30), 200)).to.deep.equal({ samples: 0, bytes: 0 });
  });

  it('stands in metrics and report of a run, more closely spaced at its start, and changes no step', async () => {
    const run = async (name: string, share: number): Promise<{ path: string; loss: number }> => {
      const path = join(root, name);
      const config = {
        data: 'sinc',
        points: 20,
        'num-layers': 3,
        'hidden-dim': 5,
        steps: 20,
        'curvature-share': share,
      };
      const session = await TrainingSession.start(config, path);
      let loss = NaN;
      for await (const event of session.run()) if (event.type === 'end') ({ loss } = event);
      return { path, loss };
    };
    const [withProbe, without] = [await run('with', 1), await run('without', 0)];
    expect(withProbe.loss).to.equal(without.loss);
    const records = (path: string): (EvaluationRecord | EndRecord)[] =>
      readMetrics(join(path, 'metrics.jsonl')).filter((record) => record.type !== 'step');
    expect(records(without.path).every((record) => record.curvature === undefined)).to.equal(true);
    const taken = records(withProbe.path).filter((record) => record.curvature !== undefined);
    expect(taken[0].step).to.equal(0);
    expect(taken.at(-1)!.step).to.equal(20);
    for (const { step } of taken) expect([0, 1, 2, 4, 8, 16, 20]).to.include(step);
    const html = renderCurvature(records(withProbe.path));
    expect(html).to.contain('Inertia, Hessian over 20 training samples').and.contain('Ends of the spectrum');
    expect(renderCurvature(records(without.path))).to.equal('');
    expect(JSON.parse(readFileSync(join(withProbe.path, 'config.json'), 'utf8'))).to.include({ 'curvature-share': 1 });
  });
});
