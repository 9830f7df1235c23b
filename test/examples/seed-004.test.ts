import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { contestants, defaults, run } from '../../examples/seed-004/hessian-preconditioned.js';
import { buildExperiment } from '../../ts/train/experiment.js';
import { resolveSettings } from '../../ts/train/config.js';

const data = fileURLToPath(new URL('../../../shared/data/', import.meta.url));

function needs(context: Mocha.Context, folder: string): string {
  if (!existsSync(data + folder)) {
    console.log(`      skipped: ../shared/data/${folder} is not there`);
    context.skip();
  }
  return data + folder;
}

describe('example seed-004: plain and Hessian-preconditioned descent', () => {
  it('runs all methods on CIFAR-10 from the same start, and the preconditioned one descends', async function () {
    const dataDir = needs(this, 'cifar10');
    const result = await run({ ...defaults, dataDir, seconds: 0.15, batchSize: 8, layers: 4, hidden: 8 });
    expect(result.methods.map((method) => method.label)).to.deep.equal(contestants(10).map((c) => c.label));
    for (const { runs, methods } of [result]) {
      for (const each of runs) expect(each.curve[0].loss, each.label).to.be.closeTo(runs[0].curve[0].loss, 1e-12);
      for (const method of methods) expect(method.loss.median, method.label).to.be.below(runs[0].curve[0].loss);
    }
  });

  it('--use-hessian --hessian-freq are the flags of the preconditioned descent', () => {
    const settings = resolveSettings({ 'use-hessian': true, 'hessian-freq': 5, lr: 0.1 });
    expect(settings).to.include({ optimizer: 'damped-newton', 'hessian-freq': 5, lr: 0.1 });
  });

  it('trains on a folder tree like that of ImageNet', async function () {
    const dataDir = needs(this, 'photos');
    const settings = resolveSettings({
      data: 'images', 'data-dir': dataDir, 'image-size': 16, 'batch-size': 4, epochs: 2, lr: 0.5, 'hidden-dim': 8,
      'num-layers': 4, 'use-hessian': true, 'hessian-freq': 2, device: 'cpu',
    }); // prettier-ignore
    const { network, params, optimizer, source, problem } = await buildExperiment(settings);
    expect(problem.train.samples).to.equal(8);
    expect(problem.train.outputs).to.equal(7);
    const before = params.slice();
    const report = optimizer.step(params, await source.next());
    expect(Number.isFinite(report.loss)).to.equal(true);
    expect(report.accepted).to.equal(true);
    expect([...params]).to.not.deep.equal([...before]);
    expect(network.inputs).to.equal(3 * 16 * 16);
    optimizer.dispose?.();
    await source.dispose?.();
  });
});
