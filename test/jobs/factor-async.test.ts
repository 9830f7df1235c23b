import { expect } from 'chai';
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Network } from '../../ts/derivatives/network.js';
import { DeepHessianError } from '../../ts/errors.js';
import { factor } from '../../ts/inverse/index.js';
import { factorAsync, FactorPool, shareArray } from '../../ts/jobs/index.js';
import { registerLayer } from '../../ts/network/index.js';
import { Random } from '../../ts/random.js';
import { gatedLayer } from '../helpers/smooth-layers.js';
import { rejection, temporaryFolder } from './helpers.js';

function problem(samples = 7) {
  const network = new Network({
    inputs: 3,
    loss: 'cross-entropy',
    layers: [
      { type: 'dense', units: 6, activation: 'tanh' },
      { type: 'residual', units: 6, activation: 'sigmoid' },
      { type: 'dense', units: 4, activation: 'identity' },
    ],
    l2: [0, 1e-3, 0],
  });
  const random = new Random(5);
  const inputs = random.normals(new Float64Array(3 * samples));
  const targets = Int32Array.from({ length: samples }, () => random.integer(4));
  const weights = Float64Array.from({ length: samples }, () => 0.5 + random.uniform());
  return { network, params: network.initialize({ seed: 2 }), batch: { inputs, targets, weights } };
}

describe('factorAsync', function () {
  const folder = temporaryFolder();
  let pool: FactorPool;
  before(() => {
    pool = new FactorPool({ threads: 2 });
  });
  after(() => pool.close());

  it('gives what factor gives, bit for bit', async () => {
    const { network, params, batch } = problem();
    for (const matrix of ['hessian', 'gauss-newton'] as const) {
      const here = factor(network.linearize(params, batch), { matrix, damping: 0.3 });
      const there = await factorAsync({ network, params, batch }, { matrix, damping: 0.3, pool });
      const g = await there.gradient();
      expect(g).to.deep.equal(here.point.gradient);
      expect(await there.solve(g)).to.deep.equal(here.solve(g));
      expect(await there.inertia).to.deep.equal(here.inertia);
      expect(await there.logAbsDet).to.equal(here.logAbsDet);
      expect([there.method, there.damping, there.loss]).to.deep.equal([here.method, 0.3, here.point.loss]);
      expect(there.bytes).to.be.greaterThan(8 * g.length);
      const block = Float64Array.of(...g, ...g.map((value) => -2 * value));
      expect(await there.solveMany(block, 2)).to.deep.equal(here.solveMany(block, 2));
      expect((await there.refactor(2)).damping).to.equal(2);
      expect(await there.solve(g)).to.deep.equal(here.refactor(2).solve(g));
      await there.dispose();
    }
  });

  it('takes a linearization, a network as JSON, a prepared batch, and shared memory', async () => {
    const { network, params, batch } = problem();
    const here = factor(network.linearize(params, batch), { damping: 0.3 });
    const g = here.point.gradient.slice();
    const { x } = here.solve(g);
    const shared = {
      inputs: shareArray(batch.inputs),
      targets: shareArray(batch.targets),
      weights: shareArray(batch.weights),
    };
    const points = [
      here.point,
      { network: network.toJSON(), params, batch },
      { network, params, batch: network.batch(batch) },
      { network, params: shareArray(params), batch: shared },
    ];
    for (const point of points) {
      const there = await factorAsync(point, { damping: 0.3, pool });
      expect((await there.solve(g)).x).to.deep.equal(x);
      expect((await there.solve(shareArray(g))).x).to.deep.equal(x);
      await there.dispose();
    }
    // Neither copying nor moving to the thread has taken the caller's arrays away.
    expect([params.length, batch.inputs.length, g.length]).to.deep.equal([
      network.parameterCount,
      21,
      network.parameterCount,
    ]);
    expect(shared.inputs.buffer).to.be.instanceOf(SharedArrayBuffer);
  });

  it('holds several factors at a time and serves their requests in order, the calling thread free', async () => {
    const { network, params, batch } = problem();
    const dampings = [0.2, 0.4, 0.8, 1.6, 3.2];
    const handles = await Promise.all(
      dampings.map((damping) => factorAsync({ network, params, batch }, { damping, pool })),
    );
    expect(pool.workers.threads).to.be.at.most(2);
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    const g = await handles[0].gradient();
    const answers = await Promise.all(handles.flatMap((handle) => Array.from({ length: 50 }, () => handle.solve(g))));
    clearInterval(timer);
    const point = network.linearize(params, batch);
    dampings.forEach((damping, i) => {
      expect(answers[50 * i + 49].x).to.deep.equal(factor(point, { damping }).solve(g).x);
    });
    expect(turns).to.be.greaterThan(0);
    await Promise.all(handles.map((handle) => handle.dispose()));
    expect(pool.memory.free).to.equal(pool.memory.total);
  });

  it('rejects with the errors of factor, class, code and details', async () => {
    const { network, params, batch } = problem();
    const point = { network, params, batch };
    expect(await rejection(factorAsync(point, { damping: 0, pool }))).to.be.instanceOf(RangeError);
    expect((await rejection(factorAsync(point, { damping: 1, matrix: 'fisher' as 'hessian', pool }))).message).to.match(
      /^factor: expected one of/,
    );
    const bad = { inputs: batch.inputs, targets: batch.targets.map(() => 9) };
    expect((await rejection(factorAsync({ ...point, batch: bad }, { damping: 1, pool }))).message).to.match(
      /targets\[0\]/,
    );
    const unsupported = await rejection(factorAsync(point, { damping: 1, method: 'sample-space', pool }));
    expect(unsupported).to.be.instanceOf(DeepHessianError);
    expect((unsupported as DeepHessianError).code).to.equal('unsupported');
    const strict = await factorAsync(point, { damping: 1, tolerance: 1e-30, pool });
    const missed = (await rejection(
      strict.solve(new Float64Array(network.parameterCount).fill(1)),
    )) as DeepHessianError;
    expect(missed.code).to.equal('tolerance-missed');
    expect((missed.details.solution as { x: Float64Array }).x).to.have.length(network.parameterCount);
    expect(await rejection(strict.solve(new Float64Array(3)))).to.be.instanceOf(RangeError);
    await strict.dispose();
    expect((await rejection(strict.inertia)).message).to.match(/has been disposed/);
    expect(pool.memory.free).to.equal(pool.memory.total);
  });

  it('waits for memory that others hold, and refuses with the numbers what can never fit', async () => {
    const { network, params, batch } = problem();
    const point = { network, params, batch };
    const probe = new FactorPool({ threads: 1 });
    const first = await factorAsync(point, { damping: 1, pool: probe });
    const bytes = probe.memory.total - probe.memory.free;
    await first.dispose();
    await probe.close();
    const tight = new FactorPool({ threads: 1, memory: 1.5 * bytes });
    try {
      const a = await factorAsync(point, { damping: 1, pool: tight });
      let there = false;
      const b = factorAsync(point, { damping: 1, pool: tight }).then((handle) => {
        there = true;
        return handle;
      });
      const cancelled = new AbortController();
      const c = factorAsync(point, { damping: 1, pool: tight, signal: cancelled.signal });
      cancelled.abort();
      expect(((await rejection(c)) as DeepHessianError).code).to.equal('aborted');
      await a.gradient();
      expect(there).to.equal(false);
      await a.dispose();
      await (await b).dispose();
      const large = problem(3000);
      const refused = (await rejection(factorAsync(large, { damping: 1, pool: tight }))) as DeepHessianError;
      expect(refused.code).to.equal('out-of-memory');
      expect(refused.message).to.match(/needs [\d.]+ .?B, the memory budget is [\d.]+ .?B/);
      expect(refused.details.limit).to.equal(1.5 * bytes);
    } finally {
      await tight.close();
    }
  });

  it('imports modules of custom layers in the thread, and reports what such a layer throws', async () => {
    registerLayer('gated-sine', (data) =>
      gatedLayer(...(Object.values(data as { inputs: number; units: number }) as [number, number])),
    );
    const helpers = fileURLToPath(new URL('../helpers/smooth-layers.ts', import.meta.url));
    const library = fileURLToPath(new URL('../../ts/network/smooth-layer.ts', import.meta.url));
    const moduleText = (build: string): string =>
      `import { gatedLayer } from ${JSON.stringify(helpers)}; import { registerLayer } from ${JSON.stringify(library)};
       registerLayer('gated-sine', ({ inputs, units }) => ${build});`;
    const [good, broken] = [folder('good.mts'), folder('broken.mts')];
    writeFileSync(good, moduleText('gatedLayer(inputs, units)'));
    writeFileSync(
      broken,
      moduleText("({ ...gatedLayer(inputs, units), forward() { throw new Error('the layer broke'); } })"),
    );
    const layers = [
      { type: 'custom' as const, layer: gatedLayer(2, 3) },
      { type: 'dense' as const, units: 1, activation: 'identity' as const },
    ];
    const network = new Network({ inputs: 2, loss: 'mse', layers });
    const params = network.initialize({ seed: 4 });
    const batch = { inputs: Float64Array.of(0.1, 0.7, -0.4, 0.2), targets: Float64Array.of(1, -1) };
    const here = factor(network.linearize(params, batch), { damping: 0.5 });
    const there = await factorAsync({ network, params, batch }, { damping: 0.5, pool, layerModules: [good] });
    expect((await there.solve(here.point.gradient)).x).to.deep.equal(here.solve(here.point.gradient).x);
    await there.dispose();
    const failed = await rejection(
      factorAsync({ network, params, batch }, { damping: 0.5, pool, layerModules: [broken] }),
    );
    expect(failed.message).to.contain('the layer broke');
    const missing = new FactorPool({ threads: 1 });
    try {
      const unknown = (await rejection(
        factorAsync({ network, params, batch }, { damping: 0.5, pool: missing }),
      )) as DeepHessianError;
      expect(unknown.message).to.match(/'gated-sine', which is not registered/);
    } finally {
      await missing.close();
    }
  });

  it('fails cleanly when its thread ends, and the pool goes on', async () => {
    const { network, params, batch } = problem();
    const own = new FactorPool({ threads: 1 });
    try {
      const handle = await factorAsync({ network, params, batch }, { damping: 1, pool: own });
      const g = await handle.gradient();
      const answer = rejection(handle.solve(g));
      await own.workers.terminateThreads();
      // The answer may have been on its way already: then the next request fails.
      await Promise.race([answer, new Promise((resolve) => setTimeout(resolve, 200))]);
      expect(((await rejection(handle.solve(g))) as DeepHessianError).code).to.equal('worker-lost');
      await handle.dispose();
      expect(own.memory.free).to.equal(own.memory.total);
      const again = await factorAsync({ network, params, batch }, { damping: 1, pool: own });
      expect((await again.solve(g)).status).to.equal('converged');
      await again.dispose();
    } finally {
      await own.close();
    }
  });
});
