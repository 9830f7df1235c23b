/**
 * The Gauss-Newton solve in sample space (assemble, factor, step), in both precisions, against the same algorithm in PyTorch's own
 * operations where it is installed.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { SampleSpaceFactor, sampleSpaceSide } from '../ts/inverse/index.js';
import { deepNetwork, dgemmRate, heading, randomBatch, time, verdict } from './harness.js';
import { findTorch, noTorch } from './python.js';

const layers = 30;
const hidden = 16;

export function gaussNewton(): void {
  heading(`6. Gauss-Newton solve: 768-${hidden}x${layers - 1}-10, float64 and float32 factors, one thread`);
  const network = deepNetwork(layers, hidden, 768, 10);
  const params = network.initialize({ seed: 1, scheme: 'orthogonal', gain: 1.1 });
  const x = new Float64Array(network.parameterCount);
  const sizes = [64, 128, 256];
  const rate = dgemmRate(1000);
  const ours: number[] = [];
  for (const samples of sizes) {
    const point = network.linearize(params, randomBatch(samples, 768, 10));
    const [double, single] = [false, true].map((precision) => {
      const space = new SampleSpaceFactor(network, samples, 'samples', precision);
      const work = (): void => {
        space.assemble(point);
        space.factor(0.1);
        space.step(x);
      };
      work();
      return time(Math.max(3, Math.round(1000 / samples)), work).median;
    });
    ours.push(double);
    const gflops = sampleSpaceSide(network, samples).flops / double / 1e6;
    console.log(
      `N = ${samples}, order ${9 * samples}: ${double.toFixed(1)} ms (${gflops.toFixed(0)} GFLOP/s, DGEMM ${rate.toFixed(0)}), ` +
        `in float32 ${single.toFixed(1)} ms`,
    );
  }
  const torch = findTorch();
  if (torch === null) {
    console.log(`${noTorch}: comparison left out`);
    return;
  }
  const script = fileURLToPath(new URL('peers/torch_gauss_newton.py', import.meta.url));
  const cases = sizes.map((samples) => [layers, hidden, 768, 10, samples].join());
  const { stdout } = spawnSync(torch.python, [script, 'cpu', ...cases], { encoding: 'utf8' });
  const theirs = stdout
    .trim()
    .split('\n')
    .slice(1)
    .map((line) => Number(line.split(' ')[1]));
  for (const [i, samples] of sizes.entries()) {
    const ratio = theirs[i] / ours[i];
    verdict(
      `N = ${samples}: no slower than PyTorch ${torch.version} eager, ${theirs[i].toFixed(1)} ms (${ratio.toFixed(1)} times as fast)`,
      ratio >= 1,
    );
  }
}
