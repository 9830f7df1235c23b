import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { dataNames, generatedNames, loadDataset, type LoadOptions } from '../../ts/data/load.js';
import { writeNpy } from '../../ts/data/npy.js';
import { writeNpz } from '../../ts/data/npz.js';
import { expectFailure, expectMisuse, sharedPath, temporaryFolder } from './helpers.js';

describe('loadDataset', () => {
  const folder = temporaryFolder();

  it('makes every generated set, of the size asked for, the same from the same seed', async () => {
    for (const data of generatedNames) {
      const options = { data, points: 30, seed: 5, testFraction: 0.2 } as LoadOptions;
      const { train, test } = await loadDataset(options);
      expect([train.samples, test?.samples], data).to.deep.equal([24, 6]);
      expect([...(await loadDataset(options)).train.inputs]).to.deep.equal([...train.inputs]);
    }
  });

  it('refuses unknown names, options of other data, missing folders and files', async () => {
    await expectMisuse(loadDataset({ data: 'cifar100' as never }), RangeError, new RegExp(dataNames.join(".*'")));
    await expectMisuse(loadDataset({ data: 'spirals', dataDir: 'x' }), RangeError, /unknown option 'dataDir'.*turns/);
    await expectMisuse(loadDataset({ data: 'mnist', file: 'x' }), RangeError, /unknown option 'file'/);
    await expectMisuse(loadDataset({ data: 'mnist' }), TypeError, /the folder of the mnist files for dataDir/);
    await expectMisuse(loadDataset({ data: 'csv' }), TypeError, /the csv file for file/);
    await expectMisuse(loadDataset(undefined as never), TypeError, /options/);
    for (const data of ['mnist', 'cifar10', 'images'] as const) {
      await expectFailure(loadDataset({ data, dataDir: folder.path('none') }), 'io', /none does not exist/);
      mkdirSync(folder.path(`empty-${data}`));
      await expectFailure(loadDataset({ data, dataDir: folder.path(`empty-${data}`) }), 'io', /looked for/);
    }
    await expectFailure(loadDataset({ data: 'csv', file: folder.path('none.csv') }), 'io', /none\.csv/);
    await expectFailure(loadDataset({ data: 'npy', file: folder.path('none.npz') }), 'io', /none\.npz/);
  });

  it('CSV: standardised inputs by the training figures, values when asked, test file with the same categories', async () => {
    const train = folder.path('train.csv');
    const test = folder.path('test.csv');
    writeFileSync(train, 'x,c,y\n0,u,10\n2,v,30\n');
    writeFileSync(test, 'x,c,y\n4,u,50\n');
    const plain = await loadDataset({ data: 'csv', file: train, testFile: test, standardise: 'none' });
    expect([...plain.train.inputs]).to.deep.equal([0, 1, 0, 2, 0, 1]);
    expect([...(plain.test?.inputs ?? [])]).to.deep.equal([4, 1, 0]);
    expect(plain.standardisation).to.equal(null);
    const scaled = await loadDataset({ data: 'csv', file: train, testFile: test, standardise: 'all' });
    expect([...scaled.train.inputs]).to.deep.equal([-1, 1, -1, 1, -1, 1]);
    expect([...(scaled.test?.inputs ?? [])]).to.deep.equal([3, 1, -1]);
    expect([...(scaled.test?.values ?? [])]).to.deep.equal([3]);
    expect(scaled.standardisation?.values?.mean[0]).to.equal(20);
    expect(scaled.schema?.inputs[1].categories).to.deep.equal(['u', 'v']);
    const inputsOnly = await loadDataset({ data: 'csv', file: train });
    expect([...(inputsOnly.train.values ?? [])]).to.deep.equal([10, 30]);
    expect(inputsOnly.train.inputs[0]).to.equal(-1);
  });

  it('npy: an archive, a folder and a pair of files', async () => {
    const inputs = { data: Float64Array.of(1, 2, 3, 4, 5, 6, 7, 8), shape: [2, 2, 2] };
    const archive = folder.path('set.npz');
    await writeNpz(archive, {
      x_train: inputs,
      y_train: Int32Array.of(0, 2),
      x_test: inputs,
      y_test: Int32Array.of(1, 3),
    });
    const { train, test } = await loadDataset({ data: 'npy', file: archive, standardise: 'none' });
    expect([train.features, train.outputs, test?.outputs]).to.deep.equal([4, 4, 4]);
    expect([...(train.labels ?? [])]).to.deep.equal([0, 2]);
    const one = await loadDataset({ data: 'npy', file: archive, limit: 1 });
    expect([one.train.samples, one.test?.samples]).to.deep.equal([1, 1]);
    const dir = folder.path('arrays');
    mkdirSync(dir);
    await writeNpy(join(dir, 'inputs.npy'), inputs.data, [4, 2]);
    await expectFailure(loadDataset({ data: 'npy', dataDir: dir }), 'io', /no targets found; looked for.*targets, y/);
    await writeNpy(join(dir, 'targets.npy'), Float64Array.of(1, 2, 3, 4));
    const values = await loadDataset({ data: 'npy', dataDir: dir, standardise: 'none' });
    expect([...(values.train.values ?? [])]).to.deep.equal([1, 2, 3, 4]);
    const pair = {
      data: 'npy',
      file: join(dir, 'inputs.npy'),
      npy: { targetsFile: join(dir, 'targets.npy') },
    } as const;
    expect((await loadDataset({ ...pair, npy: { ...pair.npy, task: 'classification' } })).train.outputs).to.equal(5);
    await expectMisuse(loadDataset({ data: 'npy', file: pair.file }), RangeError, /targetsFile/);
    await expectMisuse(
      loadDataset({ data: 'npy', dataDir: dir, npy: pair.npy }),
      RangeError,
      /nothing beside an archive or a folder.*targetsFile/,
    );
    await writeNpy(join(dir, 'targets.npy'), Float64Array.of(1, 2, 3));
    await expectFailure(loadDataset(pair), 'bad-file', /targets of shape \[4, K\].*\[3\]/);
  });

  it('a limit leaves sorted tables and arrays their classes, in their order; the seed draws', async () => {
    const rows = Array.from({ length: 90 }, (_, n) => ({ x: n, name: ['a', 'b', 'c'][Math.floor(n / 30)] }));
    const file = folder.path('sorted.csv');
    writeFileSync(file, rows.map(({ x, name }) => `${x},${name}\n`).join(''));
    const archive = folder.path('sorted.npz');
    await writeNpz(archive, {
      x_train: { data: Float64Array.from(rows, ({ x }) => x), shape: [90, 1] },
      y_train: Int32Array.from(rows, ({ x }) => Math.floor(x / 30)),
    });
    for (const source of [
      { data: 'csv', file, testFile: file },
      { data: 'npy', file: archive },
    ] as const) {
      const load = (seed: number, limit = 30): ReturnType<typeof loadDataset> =>
        loadDataset({ ...source, limit, seed, standardise: 'none' });
      const { train, test } = await load(1);
      const inputs = [...train.inputs];
      expect([train.samples, train.classes?.length]).to.deep.equal([30, 3]);
      expect(inputs).to.deep.equal([...new Set(inputs)].sort((a, b) => a - b));
      expect([...(train.labels ?? [])]).to.deep.equal(inputs.map((x) => Math.floor(x / 30)));
      expect(new Set(train.labels)).to.have.property('size', 3);
      if (test !== null) expect([...test.inputs]).to.deep.equal(inputs);
      expect([...(await load(1)).train.inputs]).to.deep.equal(inputs);
      expect([...(await load(2)).train.inputs]).to.not.deep.equal(inputs);
      expect((await load(1, 200)).train.samples).to.equal(90);
      await expectMisuse(load(1, 0), RangeError, /integer >= 1 for limit, received 0/);
    }
  });

  it('reads real folders', async function () {
    const cifar10 = sharedPath(this, 'data/cifar10');
    const { train, test } = await loadDataset({ data: 'cifar10', dataDir: cifar10, imageSize: 16, limit: 64 });
    expect([train.samples, train.features, train.outputs, test?.samples]).to.deep.equal([64, 768, 10, 64]);
    const photos = await loadDataset({
      data: 'images',
      dataDir: sharedPath(this, 'data/photos'),
      imageSize: 8,
      limit: 2,
    });
    expect([photos.train.samples, photos.train.features]).to.deep.equal([2, 192]);
  });
});
