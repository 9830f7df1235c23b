import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import type { AnalysisRecord } from '../../ts/analysis/analysis-report.js';
import { openSubject } from '../../ts/analysis/subject.js';
import { readSafetensors, writeSafetensors } from '../../ts/data/safetensors.js';
import { Network } from '../../ts/derivatives/index.js';
import { readCheckpoint } from '../../ts/train/checkpoint.js';
import { tensorNames } from '../../ts/train/weights.js';
import { temporaryFolder } from '../train/helpers.js';
import { commandLine } from './helpers.js';

const small = ['--points', '60', '--num-layers', '4', '--hidden-dim', '8', '--residual'];
const latest = (run: string): string => join(run, 'checkpoints', 'latest.checkpoint');
const paramsOf = (run: string): number[] => [...readCheckpoint(latest(run)).state.params];

describe('deep-hessian export', () => {
  const folder = temporaryFolder();
  const at = (name: string): string => join(folder.path(), name);

  it('brings parameters out and back in with the same bits', async () => {
    expect((await commandLine('train', ...small, '--steps', '6', '--quiet', '--out', at('run'))).code).to.equal(0);
    const { code, out } = await commandLine('export', at('run'), '--out', at('w.safetensors'));
    expect(code).to.equal(0);
    expect(out).to.match(/8 tensors, 186 parameters \(F64\) of step 6/);
    const { tensors } = await readSafetensors(at('w.safetensors'));
    expect([...tensors.keys()].slice(0, 3)).to.deep.equal(['layers.0.weight', 'layers.0.bias', 'layers.1.weight']);
    expect(tensors.get('layers.0.weight')?.shape).to.deep.equal([8, 2]);
    const again = ['train', ...small, '--steps', '0', '--init-from', at('w.safetensors'), '--quiet', '--out'];
    expect((await commandLine(...again, at('again'))).code).to.equal(0);
    expect(paramsOf(at('again'))).to.deep.equal(paramsOf(at('run')));
    // A run goes on without the file that it started from.
    rmSync(at('w.safetensors'));
    expect((await commandLine('train', '--resume', at('again'), '--steps', '2', '--quiet')).code).to.equal(0);
    expect(readFileSync(join(at('again'), 'config.json'), 'utf8')).to.contain('init-from');
  });

  it('gives weights whose curvature analyze and approximate look at', async () => {
    const file = at('looked-at.safetensors');
    expect((await commandLine('export', at('run'), '--out', file)).code).to.equal(0);
    const { state, network } = readCheckpoint(latest(at('run')));
    const net = Network.fromJSON(network);
    const parts = ['--parts', 'structure', '--json', '--out', at('analysis')];
    const analysis = await commandLine('analyze', ...small, '--init-from', file, ...parts);
    expect(analysis.err).to.equal('');
    const { title, result } = JSON.parse(analysis.out) as AnalysisRecord;
    expect(title).to.contain(`with the weights of ${file}`);
    expect(result.subject.origin).to.deep.equal({ kind: 'weights', file });
    const { train } = await openSubject('test', { given: {}, path: at('run') });
    const { loss } = net.evaluate(state.params, net.batch({ inputs: train.inputs, targets: train.labels! }));
    expect(result.subject.loss).to.be.closeTo(loss, 1e-14 * Math.max(1, loss));
    const told = await commandLine(
      'approximate',
      ...small,
      '--init-from',
      file,
      '--methods',
      'exact',
      '--out',
      at('a'),
    );
    expect(told.err).to.contain(`with the weights of ${file}`);
    expect((await commandLine('analyze', ...small, '--init-from', at('no.safetensors'))).code).to.equal(1);
  });

  it('writes and reads float32 under the names of an nn.Sequential', async () => {
    const file = at('torch.safetensors');
    const flags = ['--dtype', 'F32', '--prefix', '', '--step', '2'];
    expect((await commandLine('export', at('run'), '--out', file, ...flags)).code).to.equal(0);
    const { tensors } = await readSafetensors(file);
    expect([...tensors.keys()].filter((name) => name.endsWith('weight'))).to.deep.equal([
      '0.weight',
      '2.weight',
      '4.weight',
      '6.weight',
    ]);
    const args = ['train', ...small, '--steps', '0', '--init-from', file, '--quiet', '--out', at('f32')];
    expect((await commandLine(...args)).code).to.equal(0);
    expect(paramsOf(at('f32'))).to.deep.equal(paramsOf(at('run')).map(Math.fround));
  });

  it('finds prefix and spacing, and says which tensor does not fit', async () => {
    const one = { shape: [1], data: Float64Array.of(1) };
    const names = (...list: string[]): unknown => tensorNames(new Map(list.map((name) => [name, one])));
    expect(names('model.net.0.weight', 'model.net.0.bias', 'model.net.3.weight')).to.deep.equal({
      prefix: 'model.net.',
      step: 3,
    });
    expect(names('a.0.weight', 'b.1.weight')).to.equal(null);
    expect(names('a.1.weight', 'a.2.weight')).to.equal(null);
    const file = at('wrong.safetensors');
    await writeSafetensors(file, new Map([['0.weight', { shape: [3, 2], data: new Float64Array(6) }]]));
    const args = ['train', ...small, '--steps', '1', '--init-from', file, '--quiet', '--out', at('none')];
    const { code, err } = await commandLine(...args);
    expect(code).to.equal(1);
    expect(err).to.match(/wrong\.safetensors: .*'0\.weight' of shape \[8, 2\], found \[3, 2\]/);
  });
});
