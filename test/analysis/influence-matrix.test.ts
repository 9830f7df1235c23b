import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { writeInfluence, type InfluenceSummary } from '../../ts/analysis/influence-matrix.js';
import { linearizeSubject, openSubject, subjectTargets, type Subject } from '../../ts/analysis/subject.js';
import { readNpy } from '../../ts/data/npy.js';
import { take } from '../../ts/data/dataset.js';
import { type DeepHessianError } from '../../ts/errors.js';
import { kernels } from '../../ts/native/index.js';
import { TrainingSession } from '../../ts/train/session.js';
import { runSession, temporaryFolder } from '../train/helpers.js';

describe('influence matrix', () => {
  const folder = temporaryFolder();
  let subject: Subject;
  let summary: InfluenceSummary;
  /** -g_j^T H^-1 g_i by a dense solve, [train][test] */
  let expected: number[][];
  let expectedSelf: number[];

  before(async () => {
    const path = join(folder.path(), 'run');
    const settings = { points: 40, 'num-layers': 2, 'hidden-dim': 4, l2: 0.02, validation: 10, steps: 60, seed: 2 };
    await runSession(await TrainingSession.start(settings, path));
    subject = await openSubject('influence', { path, given: {} });
    const { network, params, train, heldOut } = subject;
    const P = network.parameterCount;
    const N = train.samples;
    const h = linearizeSubject(subject).denseHessian();
    const pivots = new Int32Array(P);
    kernels.getrf(P, P, h, 0, P, pivots, 0);
    const bare = new Float64Array(P);
    network.addPenaltyProduct(params, bare);
    const gradientOf = (set: typeof train, n: number): Float64Array => {
      const inputs = set.inputs.slice(n * set.features, (n + 1) * set.features);
      const targets = subjectTargets(network, set).slice(n, n + 1);
      return network.linearize(params, { inputs, targets }).gradient.map((value, i) => value - bare[i]);
    };
    const { validation } = heldOut;
    const tests = Array.from({ length: validation.samples }, (_, j) => gradientOf(validation, j));
    const dot = (x: Float64Array, y: Float64Array): number => x.reduce((sum, value, i) => sum + value * y[i], 0);
    expected = [];
    expectedSelf = [];
    for (let n = 0; n < N; n++) {
      const g = gradientOf(train, n);
      const x = g.slice();
      kernels.getrs(0, P, 1, h, 0, P, pivots, 0, x, 0, P);
      expected.push(tests.map((t) => -dot(t, x)));
      expectedSelf.push(dot(g, x));
    }
    summary = await writeInfluence(subject, validation, { out: join(folder.path(), 'whole.npy'), block: 7 });
  });

  it('is the one of a dense solve, in the file and in the means', async () => {
    const { data, shape } = await readNpy(join(folder.path(), 'whole.npy'));
    expect(shape).to.deep.equal([30, 10]);
    expect([summary.rows, summary.columns, summary.samples, summary.damping]).to.deep.equal([30, 10, 30, 0]);
    const largest = Math.max(...expected.flat().map(Math.abs));
    expected.forEach((row, i) => {
      row.forEach((value, j) => expect(Number(data[i * 10 + j])).to.be.closeTo(value, 1e-8 * largest));
      expect(summary.meanInfluence[i]).to.be.closeTo(
        row.reduce((sum, x) => sum + x / 10, 0),
        1e-8 * largest,
      );
      expect(summary.selfInfluence[i]).to.be.closeTo(expectedSelf[i], 1e-8 * Math.max(...expectedSelf.map(Math.abs)));
    });
    expect(summary.residual).to.be.below(1e-10);
  });

  it('ranks by it', () => {
    const order = expectedSelf.map((_, i) => i).sort((a, b) => expectedSelf[b] - expectedSelf[a]);
    expect(summary.suspicious.map(({ index }) => index)).to.deep.equal(order.slice(0, 20));
    // Leaving a sample out is to lower its weight from 1 / N to 0.
    const removal = expected.map((row) => -row.reduce((sum, x) => sum + x / 10, 0) / 30);
    const [best, worst] = [Math.max(...removal), Math.min(...removal)];
    expect(summary.helpful[0].index).to.equal(removal.indexOf(best));
    expect(summary.helpful[0].value).to.be.closeTo(best, 1e-8 * Math.abs(best));
    expect(summary.harmful[0].index).to.equal(removal.indexOf(worst));
    expect(summary.suspicious[0].label).to.be.oneOf(subject.train.classes as string[]);
  });

  it('takes fewer rows and columns; the Hessian stays that of all samples; CSV and .npy agree', async () => {
    const out = join(folder.path(), 'part.csv');
    const part = await writeInfluence(subject, subject.heldOut.validation, {
      out,
      trainLimit: 5,
      testLimit: 3,
      top: 2,
    });
    expect([part.rows, part.columns, part.samples, part.suspicious.length]).to.deep.equal([5, 3, 30, 2]);
    const lines = readFileSync(out, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => line.split(','));
    expect(lines[0]).to.deep.equal(['train', '0', '1', '2']);
    const whole = await readNpy(join(folder.path(), 'whole.npy'));
    lines.slice(1).forEach((cells, i) => {
      expect(cells[0]).to.equal(String(i));
      cells.slice(1).forEach((cell, j) => expect(Number(cell)).to.be.closeTo(Number(whole.data[i * 10 + j]), 1e-9));
    });
  });

  it('says when the point is no minimum', async () => {
    const fresh = await openSubject('influence', { given: { points: 30, 'num-layers': 3, 'hidden-dim': 4 } });
    const out = join(folder.path(), 'fresh.npy');
    const result = await writeInfluence(fresh, take(fresh.train, 4), { out });
    // Without L2 a damping is chosen.
    expect(result.damping).to.be.above(0);
    expect(result.warnings.join())
      .to.match(/not positive definite.*longer training/)
      .and.to.match(/gradient of the training loss/);
  });

  it('leaves no file when it is stopped, and refuses wrong options before any work', async () => {
    const { validation } = subject.heldOut;
    const out = join(folder.path(), 'never.npy');
    const fails = async (options: object): Promise<Error> =>
      writeInfluence(subject, validation, { out, ...options }).then(
        () => {
          throw new Error('it went through');
        },
        (error: Error) => error,
      );
    const stopped = await fails({ block: 4, onProgress: (done: number) => done < 8 });
    expect((stopped as DeepHessianError).code).to.equal('aborted');
    expect(existsSync(out)).to.equal(false);
    expect(readdirSync(folder.path()).filter((name) => name.includes('never'))).to.deep.equal([]);
    expect((await fails({ out: join(folder.path(), 'matrix.txt') })).message).to.match(/\.npy or \.csv/);
    expect((await fails({ trainLimit: 0 })).message).to.match(/trainLimit/);
    expect((await fails({ relative: 'much' })).message).to.match(/relative/);
    expect(((await fails({ out: join(folder.path(), 'no', 'folder.npy') })) as DeepHessianError).code).to.equal('io');
  });
});
