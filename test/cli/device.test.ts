/** `--device` of train and solve, and the GPU in info. What needs a card runs against emulated libraries elsewhere. */
import { expect } from 'chai';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cudaInfo, type CudaInfo } from '../../ts/device/index.js';
import { describeGpu } from '../../ts/cli/info.js';
import { commandLine } from './helpers.js';

const golden = join(dirname(fileURLToPath(import.meta.url)), '..', 'golden', 'case02.json');

describe('command line: devices', function () {
  const { available, reason } = cudaInfo();
  let folder: string;
  before(() => (folder = mkdtempSync(join(tmpdir(), 'deep-hessian-device-'))));
  after(() => rmSync(folder, { recursive: true }));
  const run = (...args: string[]): ReturnType<typeof commandLine> =>
    commandLine('train', '--points', '30', '--num-layers', '3', '--steps', '1', ...args);

  it('info names the card, or says why there is none', async () => {
    const { code, out } = await commandLine('info');
    expect(code).to.equal(0);
    if (available) expect(out).to.match(/^GPU 0 +\S.* GiB, compute capability \d/m);
    else expect(out).to.include(`not used: ${reason}`).and.to.match(/^GPU /m);
    const json = JSON.parse((await commandLine('info', '--json')).out) as { gpu: CudaInfo };
    expect(json.gpu).to.deep.equal(cudaInfo());
  });

  it('info writes what it was told', () => {
    const lines = describeGpu({
      available: false,
      reason: 'CUDA libraries are missing: nvrtc: not found',
      libraries: [
        { name: 'driver', file: '/lib/libcuda.so.1', version: '13.0', error: null },
        { name: 'nvrtc', file: null, version: null, error: 'not found' },
      ],
      devices: [{ index: 0, name: 'Card', memory: 80 * 2 ** 30, computeCapability: '8.0', multiprocessors: 108 }],
    });
    expect(lines).to.deep.equal([
      ['GPU 0', 'Card, 80.0 GiB, compute capability 8.0'],
      ['GPU', 'not used: CUDA libraries are missing: nvrtc: not found'],
      ['CUDA', 'driver 13.0 (/lib/libcuda.so.1)'],
    ]);
  });

  it('train --device cuda without a card is one clear line and exit code 1, and writes nothing', async function () {
    if (available) return this.skip();
    const out = join(folder, 'cuda');
    const { code, err } = await run('--device', 'cuda', '--out', out);
    expect(code).to.equal(1);
    expect(err).to.match(
      /^error: train: device 'cuda' was asked for, but there is no usable GPU: .* \[device-unavailable\]\n$/,
    );
    expect(err).to.include(reason);
    expect(existsSync(out)).to.equal(false);
  });

  it('train --device auto without a card says that the CPU does it, and why', async function () {
    if (available) return this.skip();
    const out = join(folder, 'auto');
    const { code, err } = await run('--device', 'auto', '--out', out);
    expect(code).to.equal(0);
    expect(err).to.include(`device: cpu (no usable GPU: ${reason})`);
    expect(JSON.parse(readFileSync(join(out, 'config.json'), 'utf8'))).to.include({ device: 'auto' });
    // The device is no part of the result: a run may go on elsewhere.
    const resumed = await commandLine('train', '--resume', out, '--steps', '2', '--device', 'cpu');
    expect(resumed.err).not.to.include('device:');
    expect(resumed.code).to.equal(0);
  });

  it('an optimizer that works on the CPU only says so', async () => {
    const asked = await run('--device', 'cuda', '--optimizer', 'adam', '--out', join(folder, 'adam'));
    expect(asked.code).to.equal(1);
    expect(asked.err).to.match(
      /optimizer 'adam' runs on the CPU only \(on a GPU: gauss-newton, newton, damped-newton, hessian-free\) \[unsupported\]/,
    );
    const auto = await run('--device', 'auto', '--optimizer', 'adam', '--out', join(folder, 'adam'));
    expect(auto.code).to.equal(0);
    expect(auto.err).to.include("device: cpu (optimizer 'adam' runs on the CPU only");
  });

  it('a device that there is not is misuse', async () => {
    const { code, err } = await run('--device', 'tpu', '--out', join(folder, 'tpu'));
    expect(code).to.equal(2);
    expect(err).to.match(/expected one of 'cpu', 'cuda', 'auto' for --device, received "tpu"/);
  });

  it('solve --device', async function () {
    const { code, out } = await commandLine('solve', '--case', golden, '--eps', '0.1', '--device', 'auto', '--json');
    expect(code).to.equal(0);
    const result = JSON.parse(out) as { device: string; residual: number };
    expect(result.residual).to.be.at.most(1e-10);
    expect(['cpu', 'cuda']).to.include(result.device);
    if (available) return;
    expect(result.device).to.equal('cpu');
    const asked = await commandLine('solve', '--case', golden, '--eps', '0.1', '--device', 'cuda');
    expect(asked.code).to.equal(1);
    expect(asked.err).to.match(/\[device-unavailable\]/);
  });
});
