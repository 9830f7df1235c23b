import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { readIndices } from '../../ts/data/indices.js';
import { expectFailure, sharedPath, temporaryFolder } from './helpers.js';

describe('row numbers of a split', () => {
  const folder = temporaryFolder();

  it('reads integers in any usual notation, refuses others and repeats', async () => {
    const path = folder.path('rows.txt');
    const read = (text: string): Promise<Int32Array> => {
      writeFileSync(path, text);
      return readIndices(path, 10);
    };
    expect([...(await read(' 3\n1.000e+00\n\n9, 0\n'))]).to.deep.equal([3, 1, 9, 0]);
    await expectFailure(read('1 10'), 'bad-file', /0 to 9 as entry 1, found "10"/);
    await expectFailure(read('1.5'), 'bad-file', /entry 0/);
    await expectFailure(read('one'), 'bad-file', /"one"/);
    await expectFailure(read('1 1'), 'bad-file', /1 twice/);
    await expectFailure(read(''), 'bad-file', /found none/);
  });

  it('reads the standard split of yacht: disjoint and complete', async function () {
    const path = sharedPath(this, 'data/uci_yacht');
    const train = await readIndices(join(path, 'index_train_0.txt'), 308);
    const test = await readIndices(join(path, 'index_test_0.txt'), 308);
    expect([train.length, test.length]).to.deep.equal([277, 31]);
    expect(new Set([...train, ...test]).size).to.equal(308);
  });
});
