import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { Network } from '../../ts/derivatives/network.js';
import { DeepHessianError } from '../../ts/errors.js';
import { buildOptimizer, createOptimizer, optimizerEntries } from '../../ts/optimize/registry.js';
import { nearest, readConfigFile, resolveSettings, runOptions } from '../../ts/train/config.js';
import { TrainingSession } from '../../ts/train/session.js';
import { temporaryFolder } from './helpers.js';

describe('configuration of a run', () => {
  const folder = temporaryFolder();

  it('fills defaults, some of which depend on others', () => {
    const settings = resolveSettings({});
    expect(settings).to.include({
      data: 'spirals',
      'num-layers': 30,
      'hidden-dim': 16,
      activation: 'tanh',
      init: 'orthogonal',
      gain: 1.1,
      'full-batch': true,
      'time-budget': 8,
    });
    expect(settings).to.not.have.property('batch-size');
    expect(resolveSettings({ activation: 'relu', init: 'he', steps: 3 }))
      .to.include({ gain: 1, steps: 3 })
      .and.not.have.property('time-budget');
    expect(resolveSettings({ 'batch-size': 10 })).to.include({ 'full-batch': false, 'batch-size': 10 });
    expect(resolveSettings({ data: 'csv', file: 'x.csv' })).to.include({ standardise: 'all', task: 'auto' });
  });

  it('is stable: resolving what it resolved changes nothing', () => {
    for (const given of [
      {},
      { 'batch-size': 8, optimizer: 'adam', lr: 0.1 },
      { data: 'mnist', 'data-dir': 'x', 'fixed-batch': true },
    ]) {
      const settings = resolveSettings(given);
      expect(resolveSettings(settings)).to.deep.equal(settings);
    }
  });

  it('controls the damping of Gauss-Newton by the gain ratio on a stream of batches, unless told otherwise', () => {
    const stream = { 'batch-size': 32, optimizer: 'gauss-newton' };
    expect(resolveSettings(stream)).to.include({ 'damping-control': 'gain-ratio', geodesic: false });
    expect(resolveSettings({ ...stream, 'damping-control': 'search' })).to.include({ 'damping-control': 'search' });
    expect(resolveSettings({ ...stream, 'fixed-batch': true })).to.not.have.property('damping-control');
    expect(resolveSettings({ optimizer: 'gauss-newton' })).to.not.have.property('damping-control');
    expect(resolveSettings({ ...stream, optimizer: 'adam' })).to.not.have.property('damping-control');
    const resolved = resolveSettings(stream);
    expect(resolveSettings(resolved)).to.deep.equal(resolved);
  });

  it('chooses the method that suits the batches where none is given', () => {
    const mnist = { data: 'mnist', 'data-dir': '/x' };
    expect(resolveSettings({})).to.include({ optimizer: 'gauss-newton', 'full-batch': true });
    expect(resolveSettings({ 'fixed-batch': true })).to.include({ optimizer: 'gauss-newton', 'batch-size': 64 });
    expect(resolveSettings(mnist)).to.include({ optimizer: 'kfac', 'batch-size': 512 });
    expect(resolveSettings({ ...mnist, 'batch-size': 64 })).to.include({ optimizer: 'adam', 'batch-size': 64 });
    expect(resolveSettings({ ...mnist, 'batch-size': 64, lr: 0.1 })).to.include({ optimizer: 'adam', lr: 0.1 });
    expect(resolveSettings({ ...mnist, 'batch-size': 256 })).to.include({ optimizer: 'kfac' });
    expect(resolveSettings({ ...mnist, optimizer: 'sgd' })).to.include({ optimizer: 'sgd', 'batch-size': 64 });
    expect(resolveSettings({ ...mnist, 'use-hessian': true })).to.include({
      optimizer: 'damped-newton',
      'batch-size': 64,
    });
    expect(resolveSettings({ ...mnist, 'full-batch': true })).to.include({ optimizer: 'gauss-newton' });
    const resolved = resolveSettings(mnist);
    expect(resolveSettings(resolved)).to.deep.equal(resolved);
  });

  const wrong: [Record<string, unknown>, string | RegExp][] = [
    [{ 'num-layer': 3 }, "unknown option 'num-layer', did you mean 'num-layers'?"],
    [{ 'num-layers': 0 }, '--num-layers'],
    [{ 'num-layers': 2.5 }, 'an integer'],
    [{ data: 'imagenet' }, "one of 'spirals'"],
    [{ optimizer: 'adagrad' }, "one of 'gauss-newton', 'sgd', 'adam', 'adamw'"],
    [{ optimizer: 'sgd', damping: 1 }, /--damping \(it belongs to: gauss-newton.*\); allowed: --lr/],
    [{ optimizer: 'adam', lr: -1 }, 'expected a number > 0 for --lr, received -1'],
    [{ optimizer: 'adam', beta1: 1 }, 'a number >= 0 and < 1'],
    [{ optimizer: 'adam', schedule: 'sometimes' }, "'constant', 'step:EVERY"],
    [{ 'fixed-batch': true, 'full-batch': true }, 'exclude each other'],
    [{ 'full-batch': true, 'batch-size': 8 }, '--full-batch and --batch-size exclude each other'],
    [{ steps: 2.5 }, 'expected an integer >= 0 for --steps, received 2.5'],
    [{ steps: Infinity }, 'expected an integer >= 0 for --steps'],
    [{ 'time-budget': NaN }, 'expected a number > 0 for --time-budget'],
    [{ optimizer: 'adam', schedule: 'cosine' }, /optimizer 'adam': expected .* for --schedule, received "cosine"/],
    [{ optimizer: 'adam', schedule: { kind: 'cosine' } }, /an integer >= 1 for --schedule\.total/],
    [{ optimizer: 'adam', schedule: ['cosine', 10] }, /expected a schedule .* for --schedule, received array/],
    [{ out: 'runs/a' }, /'out' is given on the command line \(--out\)/],
    [{ a: 1 }, /unknown option 'a'; allowed/],
    // Options that the others leave without an effect.
    [
      { optimizer: 'gauss-newton', 'damping-control': 'gain-ratio', 'search-factor': 3 },
      /'gauss-newton': --search-factor has an effect with --damping-control search only/,
    ],
    [{ 'damping-control': 'search', 'damping-increase': 3 }, /--damping-control gain-ratio only/],
    [{ 'batch-size': 8, optimizer: 'gauss-newton', 'search-factor': 3 }, /--search-factor has an effect/],
    [{ optimizer: 'newton', 'krylov-steps': 5000 }, '<= 1000 for --krylov-steps'],
    [{ optimizer: 'kfac', 'fisher-seed': 3 }, /--fisher-seed has an effect with --fisher sampled only/],
    [{ optimizer: 'kfac', rescaling: 'clip', 'adapt-gamma': true }, /--rescaling model only/],
    [{ optimizer: 'hessian-free', preconditioner: 'none', 'sub-batch': 8 }, /--preconditioner sub-batch only/],
    [{ data: 'mnist' }, 'expected --data-dir'],
    [{ data: 'csv' }, 'expected --file'],
    [{ 'image-size': 4 }, '--image-size does not belong to --data spirals; it belongs to: cifar10'],
    [{ seed: -1 }, '--seed'],
    [{ 'time-budget': '8' }, '"8" (string)'],
    [{ residual: 1 }, 'true or false'],
  ];
  for (const [settings, message] of wrong) {
    it(`refuses ${JSON.stringify(settings)}`, () => {
      expect(() => resolveSettings(settings)).to.throw(Error, message);
    });
  }

  it('reads JSON and YAML with the same names', async () => {
    const json = join(folder.path(), 'a.json');
    const yaml = join(folder.path(), 'a.yaml');
    writeFileSync(json, '{ "num-layers": 4, "lr": 0.1, "residual": true }');
    writeFileSync(yaml, 'num-layers: 4 # layers\nlr: 0.1\nresidual: true\n');
    expect(await readConfigFile(json)).to.deep.equal(await readConfigFile(yaml));
  });

  it('reads a configuration file that begins with a byte order mark', async () => {
    for (const [name, text] of [
      ['c.json', '{ "lr": 0.1 }'],
      ['c.yaml', 'lr: 0.1\n'],
    ]) {
      writeFileSync(join(folder.path(), name), `\uFEFF${text}`);
      expect(await readConfigFile(join(folder.path(), name))).to.deep.equal({ lr: 0.1 });
    }
  });

  it('fills defaults of streams where they have an effect, and knows its own result again', () => {
    const stream = { 'batch-size': 300 };
    const kfac = resolveSettings({ ...stream, optimizer: 'kfac', 'fisher-seed': 3 });
    expect(kfac).to.include({ fisher: 'sampled', 'adapt-interval': 5, 'model-momentum': false });
    const clip = resolveSettings({ ...stream, optimizer: 'kfac', rescaling: 'clip', lr: 0.1 });
    expect(clip).to.not.have.any.keys('adapt-interval', 'model-momentum', 'damping-decay');
    const search = resolveSettings({ ...stream, optimizer: 'gauss-newton', 'damping-control': 'search' });
    expect(search).to.not.have.property('damping-decrease');
    for (const settings of [kfac, clip, search]) expect(resolveSettings(settings)).to.deep.equal(settings);
  });

  it('refuses an initialisation beside a file of parameters', async () => {
    for (const more of [{ init: 'he' }, { gain: 2 }]) {
      const given = { 'init-from': 'net.safetensors', ...more };
      const error = await TrainingSession.start(given, join(folder.path(), 'run')).catch((e: unknown) => e as Error);
      expect(error).to.be.instanceOf(RangeError);
      expect((error as Error).message).to.match(/--init-from and --(init|gain) exclude each other/);
    }
  });

  it('refuses what has no effect with the loss of the network, in the words of the flags', () => {
    const network = (loss: 'mse' | 'cross-entropy'): Network =>
      new Network({ inputs: 2, loss, layers: [{ type: 'dense', units: 2, activation: 'identity' }] });
    const make = (name: string, settings: Record<string, unknown>, loss: 'mse' | 'cross-entropy' = 'mse'): unknown =>
      buildOptimizer(name, network(loss), settings, 'cpu');
    expect(() => make('gauss-newton', { 'search-factor': 3 })).to.throw(RangeError, /--damping-control search only/);
    expect(() => make('gauss-newton', { 'search-factor': 3 }, 'cross-entropy')).to.not.throw();
    expect(() => make('hessian-free', { 'sub-batch': 3 })).to.throw(RangeError, /--preconditioner sub-batch only/);
    expect(() => make('lbfgs', { 'wolfe-c1': 0.95 })).to.throw(
      RangeError,
      /^optimizer 'lbfgs': expected a number below --wolfe-c2 \(0\.9\), .* for --wolfe-c1, received 0\.95/,
    );
    expect(() => make('kfac', { lr: 0.1 })).to.throw(
      RangeError,
      /^optimizer 'kfac': expected no value with --rescaling 'model' .* for --lr, received 0\.1/,
    );
    expect(() => make('gauss-newton', { 'minimum-damping': 10, 'maximum-damping': 1 })).to.throw(
      RangeError,
      /^optimizer 'gauss-newton': expected a number <= --maximum-damping \(1\) for --minimum-damping, received 10/,
    );
    for (const [name, settings, message] of [
      ['sgd', { nesterov: true, momentum: 0 }, '(--nesterov needs one) for --momentum, received 0'],
      [
        'newton',
        { radius: 9, 'maximum-radius': 1 },
        'expected a number <= --maximum-radius (1) for --radius, received 9',
      ],
      ['damped-newton', { lr: 3 }, 'below 2 with --adaptive-freq (the quadratic model rises from there) for --lr'],
      ['hessian-free', { 'hf-curvature': 'hessian', 'warm-start': 0.5 }, "no value with --hf-curvature 'hessian'"],
      ['bfgs', { 'max-parameters': 5 }, /^optimizer 'bfgs': expected at least 6, .* for --max-parameters, received 5$/],
    ] as const) {
      expect(() => make(name, settings), name).to.throw(RangeError, message);
    }
    // Programs give keys, and are told of keys.
    for (const [name, settings, message] of [
      ['gauss-newton', { 'search-factor': 3 }, "'search-factor' has an effect with 'damping-control' search only"],
      ['adam', { '--lr': 1 }, "optimizer 'adam': unknown option '--lr'; allowed: 'lr', "],
      ['adam', { lr: 'fast' }, /^optimizer 'adam': expected a number > 0 for 'lr', received "fast"/],
      ['adam', { schedule: 'cosine' }, /^optimizer 'adam': expected .* for 'schedule', received "cosine"/],
      ['kfac', { lr: 0.1 }, /^optimizer 'kfac': expected no value with 'rescaling' 'model' .* for 'lr', received 0\.1/],
      ['sgd', { nesterov: true, momentum: 0 }, "('nesterov' needs one) for 'momentum', received 0"],
    ] as const) {
      expect(() => createOptimizer(name, network('mse'), settings), name).to.throw(message);
    }
  });

  it('leaves targets that are probabilities as they are', () => {
    const table = { data: 'csv', file: 'a.csv' };
    expect(resolveSettings(table).standardise).to.equal('all');
    expect(resolveSettings({ ...table, loss: 'binary-cross-entropy' }).standardise).to.equal('inputs');
  });

  it('says what is wrong with a configuration file', async () => {
    const failure = async (name: string, text: string): Promise<Error> => {
      const path = join(folder.path(), name);
      writeFileSync(path, text);
      try {
        await readConfigFile(path);
      } catch (error) {
        return error as Error;
      }
      throw new Error('no error');
    };
    expect((await failure('b.json', '{ "lr": 0.1')).message).to.match(/b\.json: not valid JSON/);
    expect((await failure('b.yaml', 'a: [1')).message).to.match(/^[^\n]*b\.yaml: not valid YAML[^\n]*$/);
    expect(await failure('b.yaml', '- 1\n- 2\n')).to.be.instanceOf(TypeError);
    expect((await failure('b.txt', 'lr: 1')).message).to.match(/\.json, \.yaml or \.yml/);
    let missing: unknown;
    await readConfigFile(join(folder.path(), 'missing.json')).catch((error: unknown) => {
      missing = error;
    });
    expect(missing).to.be.instanceOf(DeepHessianError);
  });

  it('finds the nearest word, if any is near', () => {
    expect(nearest('optimiser', ['optimizer', 'lr'])).to.equal('optimizer');
    expect(nearest('xyzzy', ['optimizer', 'seed'])).to.equal(null);
  });

  it('has no flag twice, and options that agree where optimizers share one', () => {
    const flags = runOptions.map((option) => option.flag);
    expect(new Set(flags).size).to.equal(flags.length);
    for (const entry of optimizerEntries) {
      for (const option of entry.options) {
        expect(flags, option.flag).to.not.include(option.flag);
        for (const other of optimizerEntries) {
          const same = other.options.find((candidate) => candidate.flag === option.flag);
          // The command line reads a flag by its type before it knows the optimizer.
          if (same !== undefined) expect(same.type, option.flag).to.equal(option.type);
        }
      }
    }
  });

  it('every optimizer can be made with its documented defaults and steps', () => {
    const network = new Network({
      inputs: 2,
      loss: 'mse',
      layers: [
        { type: 'dense', units: 3, activation: 'tanh' },
        { type: 'dense', units: 1, activation: 'identity' },
      ],
    });
    const batch = network.batch({ inputs: Float64Array.of(1, 2, 3, 4), targets: Float64Array.of(1, 0) });
    for (const entry of optimizerEntries) {
      expect(entry.source).to.match(/\d{4}/);
      expect(entry.whenNotToUse.length).to.be.above(10);
      const defaults = Object.fromEntries(
        entry.options.filter((option) => option.default !== undefined).map((option) => [option.flag, option.default]),
      );
      const params = network.initialize({ seed: 1 });
      const byDefault = params.slice();
      const explicit = createOptimizer(entry.name, network, defaults);
      const implicit = createOptimizer(entry.name, network);
      for (let t = 0; t < 3; t++) {
        explicit.step(params, batch);
        implicit.step(byDefault, batch);
      }
      // The defaults that the table shows are those that the optimizer has.
      expect([...params], entry.name).to.deep.equal([...byDefault]);
      explicit.dispose?.();
      implicit.dispose?.();
    }
  });
});
