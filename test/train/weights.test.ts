import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { Network, readSafetensors, readWeights, writeSafetensors, writeWeights } from '../../ts/index.js';
import { temporaryFolder } from './helpers.js';

/** The error that a promise is rejected with. */
async function rejection(promise: Promise<unknown>): Promise<Error & { code?: string }> {
  try {
    await promise;
  } catch (error) {
    return error as Error;
  }
  throw new Error('expected a rejection');
}

describe('weights as safetensors', () => {
  const folder = temporaryFolder();
  const network = new Network({
    inputs: 3,
    loss: 'mse',
    layers: [
      { type: 'dense', units: 4, activation: 'tanh' },
      { type: 'residual', units: 4, activation: 'tanh', bias: false },
      { type: 'dense', units: 2, activation: 'identity' },
    ],
  });
  const params = network.initialize({ seed: 3 });
  params.set([0.5, -0.25], params.length - 2); // the last bias, which starts at zero

  it('come back with the same bits, whatever the names', async () => {
    for (const [i, names] of [{}, { prefix: '', step: 2 }, { prefix: 'model.net.', step: 3 }].entries()) {
      const path = join(folder.path(), `${i}.safetensors`);
      const tensors = await writeWeights(path, network, params, names);
      expect(tensors.size).to.equal(5);
      expect([...(await readWeights(path, network))]).to.deep.equal([...params]);
    }
  });

  it("are in PyTorch's layout, with the layers in the metadata", async () => {
    const path = join(folder.path(), 'layout.safetensors');
    await writeWeights(path, network, params);
    const { tensors, metadata } = await readSafetensors(path);
    expect([...tensors].map(([name, { shape }]) => [name, [...shape]])).to.have.deep.members([
      ['layers.0.weight', [4, 3]],
      ['layers.0.bias', [4]],
      ['layers.1.weight', [4, 4]],
      ['layers.2.weight', [2, 4]],
      ['layers.2.bias', [2]],
    ]);
    expect([...(tensors.get('layers.2.bias')?.data ?? [])]).to.deep.equal([0.5, -0.25]);
    expect(metadata).to.include({ layers: 'dense,residual,dense', activations: 'tanh,tanh,identity', loss: 'mse' });
  });

  it('are refused by a network of the same sizes that computes something else, if the file knows', async () => {
    const path = join(folder.path(), 'function.safetensors');
    const tensors = await writeWeights(path, network, params);
    const like = (activation: 'sine' | 'tanh', type: 'dense' | 'residual', loss: 'mse' | 'cross-entropy'): Network =>
      new Network({
        inputs: 3,
        loss,
        layers: [
          { type: 'dense', units: 4, activation },
          { type, units: 4, activation: 'tanh', bias: false },
          { type: 'dense', units: 2, activation: 'identity' },
        ],
      });
    const other = await rejection(readWeights(path, like('sine', 'residual', 'mse')));
    expect(other.code).to.equal('bad-file');
    expect(other.message).to.match(/activations sine,tanh,identity, found those of one with tanh,tanh,identity/);
    expect((await rejection(readWeights(path, like('tanh', 'dense', 'mse')))).message).to.match(
      /layers dense,dense,dense/,
    );
    // Another loss is another task for the same function.
    expect([...(await readWeights(path, like('tanh', 'residual', 'cross-entropy')))]).to.deep.equal([...params]);
    await writeSafetensors(path, tensors);
    expect([...(await readWeights(path, like('sine', 'dense', 'mse')))]).to.deep.equal([...params]);
  });

  it('are rounded to float32 on request, and never to infinity', async () => {
    const path = join(folder.path(), 'single.safetensors');
    await writeWeights(path, network, params, { dtype: 'F32' });
    expect([...(await readWeights(path, network))]).to.deep.equal([...Float32Array.from(params)]);
    const large = params.slice();
    large[7] = 1e300;
    const none = join(folder.path(), 'large.safetensors');
    expect((await rejection(writeWeights(none, network, large, { dtype: 'F32' }))).message).to.match(/float32/);
    expect(existsSync(none)).to.equal(false);
  });

  it('refuse what is missing, left over or of another shape, naming file and tensor', async () => {
    const path = join(folder.path(), 'whole.safetensors');
    const whole = await writeWeights(path, network, params);
    const other = join(folder.path(), 'other.safetensors');
    const read = async (change: (tensors: typeof whole) => void): Promise<Error & { code?: string }> => {
      const tensors = new Map(whole);
      change(tensors);
      await writeSafetensors(other, tensors);
      return rejection(readWeights(other, network));
    };
    for (const [error, named] of [
      [await read((tensors) => tensors.delete('layers.2.bias')), 'layers.2.bias'],
      [await read((tensors) => tensors.set('layers.3.bias', { shape: [1], data: new Float64Array(1) })), 'layers.3'],
      [await read((tensors) => tensors.set('layers.1.weight', { shape: [16], data: new Float64Array(16) })), '4, 4'],
    ] as const) {
      expect(error.code).to.equal('bad-file');
      expect(error.message).to.include(other).and.to.include(named);
    }
    writeFileSync(other, 'no tensors');
    expect((await rejection(readWeights(other, network))).code).to.equal('bad-file');
  });
});
