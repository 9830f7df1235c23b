import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { analysisParts, analyze, type AnalysisResult, type Part } from '../../ts/analysis/analyze.js';
import { augmentedStructure } from '../../ts/analysis/augmented-system.js';
import { layerTraces } from '../../ts/analysis/layer-curvature.js';
import { lossSurface, planeExtent } from '../../ts/analysis/loss-surface.js';
import { linearizeSubject, openSubject, type Subject } from '../../ts/analysis/subject.js';
import { walkTrainingPath } from '../../ts/analysis/training-path.js';
import { Network, type Linearization } from '../../ts/derivatives/index.js';
import { type DeepHessianError } from '../../ts/errors.js';
import { kernels, Lower, No } from '../../ts/native/index.js';
import { Random } from '../../ts/random.js';
import { TrainingSession } from '../../ts/train/session.js';
import { writeWeights } from '../../ts/train/weights.js';
import { runSession, small, temporaryFolder } from '../train/helpers.js';

function value<T>(part: Part<T> | undefined): T {
  if (part?.done !== true) throw new Error(`part not done: ${JSON.stringify(part)}`);
  return part.value;
}

/** Eigenvalues of M + shift I, ascending. */
function spectrum(matrix: Float64Array, P: number): Float64Array {
  const values = new Float64Array(P);
  kernels.syevd(No, Lower, P, matrix.slice(), 0, P, values, 0);
  return values;
}

describe('analyze', function () {
  const folder = temporaryFolder();
  let subject: Subject;
  let point: Linearization;
  let result: AnalysisResult;
  let eigenvalues: Float64Array;
  let P: number;
  const stages: [string, number][] = [];

  before(async () => {
    const path = join(folder.path(), 'run');
    await runSession(await TrainingSession.start({ ...small, steps: 25, l2: 1e-3 }, path));
    subject = await openSubject('analyze', { path, given: {} });
    point = linearizeSubject(subject);
    P = subject.network.parameterCount;
    eigenvalues = spectrum(point.denseHessian(), P);
    result = await analyze(subject, {
      damping: 0.01,
      bins: 12,
      grid: 9,
      onProgress: (stage, fraction) => void stages.push([stage, fraction]),
    });
  });

  it('does every part, and its progress only rises', () => {
    for (const part of analysisParts) expect(result[part]?.done, part).to.equal(true);
    for (let i = 1; i < stages.length; i++) expect(stages[i][1]).to.be.at.least(stages[i - 1][1] - 1e-12);
    expect(stages[stages.length - 1][1]).to.be.within(0.95, 1);
    expect(result.subject.loss).to.equal(point.loss);
    expect(result.subject.sets.train.accuracy).to.be.within(0, 1);
  });

  it('has the eigenvalues of the dense Hessian between its certified bounds', () => {
    const { smallest, largest } = value(result.extremes);
    const scale = Math.abs(eigenvalues[P - 1]);
    for (const pair of [...smallest, ...largest]) {
      expect(pair.value).to.be.closeTo(eigenvalues[pair.index], 1e-8 * scale);
      expect(pair.lower).to.be.at.most(eigenvalues[pair.index] + 1e-13 * scale);
      expect(pair.upper).to.be.at.least(eigenvalues[pair.index] - 1e-13 * scale);
    }
    expect(largest[0].index).to.equal(P - 1);
    expect(smallest[0].index).to.equal(0);
  });

  it('counts exactly: index, bins and magnitudes', () => {
    const between = (from: number, to: number): number => eigenvalues.filter((x) => x >= from && x < to).length;
    const critical = value(result.critical);
    expect(critical.negative).to.equal(eigenvalues.filter((x) => x < -critical.tolerance).length);
    expect(critical.negative + critical.degenerate + critical.positive).to.equal(P);
    const { edges, counts } = value(result.density);
    counts.forEach((count, i) => expect(count).to.equal(between(edges[i], edges[i + 1])));
    const { bins } = value(result.magnitudes);
    for (const bin of bins) expect(bin.count).to.equal(between(bin.from ?? -Infinity, bin.to ?? Infinity));
    expect(bins.reduce((sum, bin) => sum + bin.count, 0)).to.equal(P);
    expect(bins.length).to.be.above(8);
  });

  it('condition, determinant and traces are those of the dense matrix', () => {
    const shifted = eigenvalues.map((x) => x + 0.01);
    const sizes = shifted.map(Math.abs).sort();
    expect(value(result.condition).condition).to.be.closeTo(sizes[P - 1] / sizes[0], 1e-5 * (sizes[P - 1] / sizes[0]));
    const inverse = value(result.inverse);
    expect(inverse.logAbsDet).to.be.closeTo(
      shifted.reduce((sum, x) => sum + Math.log(Math.abs(x)), 0),
      1e-6,
    );
    const trace = shifted.reduce((sum, x) => sum + 1 / x, 0);
    expect(inverse.trace).to.be.closeTo(trace, 1e-7 * Math.abs(trace));
    expect(inverse.effectiveParameters).to.be.closeTo(P - 0.01 * trace, 1e-7 * P);
    expect(inverse.layerTraces.reduce((sum, x) => sum + x, 0)).to.be.closeTo(inverse.trace, 1e-9 * Math.abs(trace));
    expect(inverse.gaussNewtonEffectiveParameters).to.be.within(0, P);
    const h = point.denseHessian();
    const g = point.denseGaussNewton();
    value(result.layers).layers.forEach((layer, l) => {
      const { parameterOffset, parameterCount } = subject.network.layers[l];
      let [hessian, gaussNewton] = [0, 0];
      for (let i = parameterOffset; i < parameterOffset + parameterCount; i++) {
        hessian += h[i * P + i];
        gaussNewton += g[i * P + i];
      }
      expect(layer.hessianTrace).to.be.closeTo(hessian, 1e-10);
      expect(layer.gaussNewtonTrace).to.be.closeTo(gaussNewton, 1e-10);
    });
  });

  it('estimated traces lie within their intervals', () => {
    expect(() => layerTraces(point, { matrix: 'Hessian' as never })).to.throw(RangeError, /matrix/);
    expect(() => layerTraces({} as never)).to.throw(TypeError, /point/);
    const exact = layerTraces(point);
    const estimated = layerTraces(point, { exactOrder: 0, probes: 200, seed: 5 });
    expect([exact.exact, estimated.exact]).to.deep.equal([true, false]);
    // 95 % intervals of four layers at one fixed seed; twice the interval is passed by chance once in ten thousand.
    estimated.traces.forEach((trace, l) => {
      expect(estimated.errorBars[l]).to.be.above(0);
      expect(Math.abs(trace - exact.traces[l])).to.be.below(2 * estimated.errorBars[l]);
    });
  });

  it('repeats the training run bit for bit, and its path ends at the point with its loss', () => {
    const { path, pathReport, a, b, losses, inPlane } = value(result.surface);
    expect(pathReport.reproduced).to.equal(true);
    expect(path[0].step).to.equal(0);
    const last = path[path.length - 1];
    expect(last.step).to.equal(25);
    expect(Math.hypot(last.a, last.b)).to.equal(0);
    expect(last.loss).to.be.closeTo(result.subject.loss, 1e-12);
    expect(path[0].loss).to.be.above(last.loss);
    expect(inPlane).to.be.within(0, 1);
    // The plane holds the whole path.
    for (const p of path) {
      expect(p.a).to.be.within(a[0], a[a.length - 1]);
      expect(p.b).to.be.within(b[0], b[b.length - 1]);
    }
    expect(losses).to.have.length(81);
  });

  it('takes the path from stored checkpoints on request', async () => {
    const steps: number[] = [];
    const report = await walkTrainingPath(subject, 'stored', 1, (step) => void steps.push(step));
    expect(report.source).to.equal('stored');
    expect(steps).to.deep.equal([0, 25]);
  });

  it('begins the path of a run from a file of weights with these, as long as the file is there', async () => {
    const [weights, path] = [join(folder.path(), 'first.safetensors'), join(folder.path(), 'from-file')];
    await writeWeights(weights, subject.network, subject.params);
    await runSession(await TrainingSession.start({ ...small, steps: 3, 'init-from': weights }, path));
    const opened = await openSubject('analyze', { path, given: {} });
    const visited = async (): Promise<Map<number, number[]>> => {
      const seen = new Map<number, number[]>();
      await walkTrainingPath(opened, 'stored', 1, (step, params) => void seen.set(step, [...params]));
      return seen;
    };
    const whole = await visited();
    expect(whole.get(0)).to.deep.equal([...subject.params]);
    rmSync(weights);
    expect([...(await visited()).keys()]).to.deep.equal([...whole.keys()].filter((step) => step > 0));
  });

  it('surfaces are losses at the places they name', () => {
    const random = new Random(1);
    const [u, v] = [random.normals(new Float64Array(P)), random.normals(new Float64Array(P))];
    const unit = (x: Float64Array): void => {
      const length = Math.sqrt(x.reduce((sum, y) => sum + y * y, 0));
      x.forEach((y, i) => (x[i] = y / length));
    };
    unit(u);
    const along = u.reduce((sum, x, i) => sum + x * v[i], 0);
    v.forEach((x, i) => (v[i] = x - along * u[i]));
    unit(v);
    const s = lossSurface(point, u, v, { extent: [0.5, 0.2], centre: [0.1, -0.1], grid: 5 });
    expect([s.a[0], s.a[4], s.b[0], s.b[4]]).to.deep.equal([-0.4, 0.6, -0.30000000000000004, 0.1]);
    const params = point.params.map((x, i) => x + s.a[3] * u[i] + s.b[1] * v[i]);
    expect(s.losses[1 * 5 + 3]).to.equal(subject.network.evaluate(params, point.batch).loss);
    expect(() => lossSurface(point, u, u, { extent: [1, 1] })).to.throw(RangeError, /orthonormal/);
    const { extent, centre } = planeExtent(1, [2, 8], [{ step: 0, a: 3, b: 0, loss: 1 }]);
    expect(centre).to.deep.equal([1, 0]);
    expect(extent[0]).to.be.closeTo(0.55 * 4, 1e-12);
  });

  it('knows the structure of the augmented system: nonzeros counted on the real blocks', () => {
    const network = new Network({
      inputs: 3,
      loss: 'cross-entropy',
      layers: [
        { type: 'dense', units: 4, activation: 'tanh' },
        { type: 'residual', units: 4, activation: 'tanh', bias: false },
        { type: 'dense', units: 2, activation: 'identity' },
      ],
    });
    const random = new Random(2);
    const N = 5;
    const at = network.linearize(network.initialize({ seed: 3, biasScale: 0.5 }), {
      inputs: random.normals(new Float64Array(N * 3)),
      targets: [0, 1, 1, 0, 1],
    });
    const nonzero = (values: ArrayLike<number>): number => Array.from(values).filter((x) => x !== 0).length;
    // States: -I in (lambda, y) of all layers, twice; Q of the last.
    let expected = 2 * N * (4 + 4 + 2) + N * 4;
    network.layers.forEach((layer, l) => {
      const { dx, dz, hxx, hxz, hzz } = at.layerBlocks(l);
      const p = layer.parameterCount;
      let offDiagonal = 0;
      for (let i = 0; i < p; i++) for (let j = 0; j < p; j++) if (i !== j && hxx[j * p + i] !== 0) offDiagonal++;
      expected += p + offDiagonal + 2 * nonzero(dx);
      if (l > 0) expected += 2 * nonzero(hxz) + nonzero(hzz) + 2 * nonzero(dz);
    });
    const structure = augmentedStructure(network, N);
    expect(structure.nonzeros).to.equal(expected);
    expect(structure.order).to.equal(network.parameterCount + 2 * N * 10);
    const [byKind, byLayer] = structure.orderings;
    expect(byLayer.bandwidth).to.be.below(byKind.bandwidth);
    // Block tridiagonal by layer: nothing beyond two neighbouring layers.
    const layerSize = (l: number): number =>
      structure.sizes[`x${l}`] + structure.sizes[`y${l}`] + structure.sizes[`lambda${l}`];
    expect(byLayer.bandwidth).to.be.below(Math.max(layerSize(1) + layerSize(2), layerSize(2) + layerSize(3)));
  });

  it('a part that fails says so, and the others are there', async () => {
    // One weight: no plane, and no second eigenvalue.
    const one = await openSubject('analyze', { given: { data: 'sinc', points: 10, 'num-layers': 1, 'no-bias': true } });
    const partial = await analyze(one, { damping: 0.1, bins: 3 });
    expect(partial.surface).to.include({ done: false, code: 'unsupported' });
    expect(partial.surface?.done === false && partial.surface.message).to.match(/two parameters/);
    for (const part of analysisParts.filter((name) => name !== 'surface'))
      expect(partial[part]?.done, part).to.equal(true);
    const { smallest, largest } = value(partial.extremes);
    expect([smallest.length, largest.length]).to.deep.equal([1, 0]);
    const only = await analyze(one, { parts: ['structure'] });
    expect([only.structure?.done, only.critical]).to.deep.equal([true, undefined]);
  });

  it('can be stopped, and refuses wrong options', async () => {
    const fails = async (options: object): Promise<unknown> =>
      analyze(subject, options).then(
        () => null,
        (error: unknown) => error,
      );
    const stopped = await fails({ onProgress: (stage: string) => stage !== 'spectral density' });
    expect((stopped as DeepHessianError).code).to.equal('aborted');
    for (const [options, message] of [
      [{ damping: 0 }, /damping/],
      [{ parts: ['magic'] }, /parts/],
      [{ bins: 0 }, /bins/],
      [{ grid: 1 }, /grid/],
      [{ path: 'x' }, /path/],
      [{ foo: 1 }, /foo/],
    ] as const) {
      const error = await fails(options);
      expect(error).to.be.instanceOf(RangeError);
      expect((error as Error).message).to.match(message);
    }
  });
});
