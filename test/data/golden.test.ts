import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { readGolden } from '../../ts/data/golden.js';
import { expectFailure, sharedPath, temporaryFolder } from './helpers.js';

/** A case of one layer, 2 inputs, 2 outputs, 1 sample. */
function smallCase(): { json: Record<string, unknown>; data: number[] } {
  return {
    json: {
      num_layers: 1,
      dims: [2, 2],
      batch: 1,
      activation: 'tanh',
      loss: 'cross_entropy',
      bias: true,
      num_params: 6,
      eps: [0.1],
      bin: 'c.bin',
      bin_bytes: 72,
      arrays: {
        params: { offset_bytes: 0, shape: [6] },
        inputs: { offset_bytes: 48, shape: [1, 2] },
        targets: { offset_bytes: 64, shape: [1] },
      },
    },
    data: [1, 2, 3, 4, 5, 6, 7, 8, 1],
  };
}

describe('golden cases', () => {
  const folder = temporaryFolder();
  let count = 0;
  const write = (change: (made: ReturnType<typeof smallCase>) => void = () => undefined): string => {
    const made = smallCase();
    change(made);
    const path = folder.path(`case${count++}`);
    mkdirSync(path);
    writeFileSync(join(path, 'c.json'), JSON.stringify(made.json));
    writeFileSync(join(path, 'c.bin'), Float64Array.from(made.data));
    return join(path, 'c.json');
  };

  it('reads network, batch and parameters', async () => {
    const made = await readGolden(write());
    expect(made.network).to.deep.equal({
      inputs: 2,
      loss: 'cross-entropy',
      layers: [{ type: 'dense', units: 2, activation: 'identity', bias: true }],
    });
    expect(made.name).to.equal('c');
    expect([...made.params]).to.deep.equal([1, 2, 3, 4, 5, 6]);
    expect([...made.inputs]).to.deep.equal([7, 8]);
    expect(made.targets).to.be.instanceOf(Int32Array);
    expect([...made.targets]).to.deep.equal([1]);
  });

  it('names the field of what is wrong', async () => {
    const set =
      (name: string, value: unknown) =>
      (made: ReturnType<typeof smallCase>): void => {
        made.json[name] = value;
      };
    const refused = async (change: (made: ReturnType<typeof smallCase>) => void, message: RegExp): Promise<void> =>
      expectFailure(readGolden(write(change)), 'bad-file', message);
    await refused(set('dims', [2]), /'dims'/);
    await refused(set('dims', [2, 1e12]), /num_params/);
    await refused(set('dims', 'x'), /list of integers.*'dims'.*"x"/);
    await refused(set('loss', 'hinge'), /'loss'.*hinge/);
    await refused(set('activation', 'step'), /'activation'.*step/);
    await refused(set('num_params', 7), /6 for 'num_params', found 7/);
    await refused(set('bias', 1), /true or false for 'bias'/);
    await refused(set('bin', '../c.bin'), /same folder/);
    await refused(set('bin', '/etc/passwd'), /same folder/);
    await refused(set('bin_bytes', 80), /80 bytes.*found 72/);
    await refused(set('eps', ['a']), /'eps'/);
    await refused(set('arrays', { params: { offset_bytes: 8, shape: [1e15] } }), /array 'params'.*inside the 72 bytes/);
    await refused(set('arrays', { params: { offset_bytes: 4, shape: [6] } }), /multiple of 8/);
    await refused(
      set('arrays', { params: { offset_bytes: 0, shape: [5] } }),
      /shape \[6\] of array 'params', found \[5\]/,
    );
    await refused(set('arrays', { params: { offset_bytes: 0, shape: [6] } }), /array 'inputs'.*found none/);
    await refused((made) => (made.data[8] = 2), /class index from 0 to 1 for targets\[0\], found 2/);
    await refused((made) => (made.data[8] = 0.5), /class index.*found 0.5/);
    await refused(
      (made) => (made.data[3] = NaN),
      /c\.bin: expected finite numbers in array 'params', found NaN at entry 3/,
    );
    await refused((made) => made.data.pop(), /found 64/);
    const text = folder.path('text.json');
    writeFileSync(text, '{"dims": [2,');
    await expectFailure(readGolden(text), 'bad-file', /text\.json: expected JSON/);
    writeFileSync(text, '[]');
    await expectFailure(readGolden(text), 'bad-file', /an object/);
    await expectFailure(readGolden(folder.path('absent.json')), 'io', /absent\.json/);
  });

  it('reads the shared cases', async function () {
    const path = sharedPath(this, 'golden');
    const five = await readGolden(join(path, 'case05.json'));
    expect([five.parameterCount, five.samples, five.outputs]).to.deep.equal([400, 8, 10]);
    expect(five.eps).to.deep.equal([1e-3, 0.1, 1]);
    expect(five.expected.hessian_solve_g.shape).to.deep.equal([3, 400]);
    expect(five.network.layers.map(({ activation }) => activation)).to.deep.equal(['tanh', 'tanh', 'tanh', 'identity']);
    // The stored eigenvalues sum to the stored Hessian's trace (400 terms of size 1 and rounding).
    const { hessian, hessian_eigenvalues: eigenvalues } = five.expected;
    let trace = 0;
    for (let i = 0; i < 400; i++) trace += hessian.data[i * 401];
    expect(eigenvalues.data.reduce((a, b) => a + b, 0)).to.be.closeTo(trace, 1e-12);
    const six = await readGolden(join(path, 'case06.json'));
    expect(six.network.loss).to.equal('mse');
    expect(six.targets).to.be.instanceOf(Float64Array);
    expect(six.targets.length).to.equal(96);
  });
});
