/** Gradient and Hessian-vector product of a 30 x 16 network at N = 64, against PyTorch, eager and compiled, where it is installed. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { deepNetwork, heading, randomBatch, time, verdict } from './harness.js';
import { findTorch, noTorch } from './python.js';

/** Milliseconds: median and best. */
type Times = [number, number];

/** What torch_gradient.py prints. */
interface Peer {
  version: string;
  gradient: Times;
  product?: Times | null;
  compiledGradient?: Times | null;
  compiledProduct?: Times | null;
}

/** Median milliseconds of `repeats` calls. */
const measured = (repeats: number, work: () => void): number => time(repeats, work).median;

export function gradient(): void {
  heading('5. Gradient and Hessian product: 768-16x29-10 tanh, N = 64, float64, one thread');
  const network = deepNetwork(30, 16, 768, 10);
  const params = network.initialize({ seed: 1, scheme: 'orthogonal', gain: 1.1 });
  const batch = network.batch(randomBatch(64, 768, 10));
  const g = new Float64Array(network.parameterCount);
  const out = new Float64Array(network.parameterCount);
  const point = network.linearize(params, batch);
  for (let k = 0; k < 300; k++) {
    network.lossAndGradient(params, batch, g);
    point.hessianProduct(g, out);
  }
  const loss = (): void => void network.lossAndGradient(params, batch, g);
  const multiply = (): void => void point.hessianProduct(g, out);
  const ms = measured(400, loss);
  const product = measured(400, multiply);
  console.log(
    `loss + gradient ${ms.toFixed(3)} ms, Hessian product ${product.toFixed(3)} ms, ratio ${(product / ms).toFixed(2)}`,
  );
  verdict(`Hessian product at most 2.5 gradients (${(product / ms).toFixed(2)})`, product <= 2.5 * ms);

  const script = fileURLToPath(new URL('peers/torch_gradient.py', import.meta.url));
  const torch = findTorch();
  if (torch === null) {
    console.log(`${noTorch}: comparison left out`);
    return;
  }
  const { status, stdout, stderr } = spawnSync(torch.python, [script, '30', '16', '768', '10', '64', '1', '3'], {
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`torch_gradient.py: ${stderr.trim().split('\n').at(-1)}`);
  const peer = JSON.parse(stdout) as Peer;
  // After the peer once more: the machine may have changed its pace.
  const again = { gradient: measured(400, loss), product: measured(400, multiply) };
  const mine = { gradient: Math.max(ms, again.gradient), product: Math.max(product, again.product) };
  console.log(`the same again: ${again.gradient.toFixed(3)} and ${again.product.toFixed(3)} ms`);
  const rows: [string, 'gradient' | 'product', Times | null | undefined][] = [
    ['gradient', 'gradient', peer.gradient],
    ['gradient compiled', 'gradient', peer.compiledGradient],
    ['Hessian product (torch.func)', 'product', peer.product],
    ['Hessian product compiled', 'product', peer.compiledProduct],
  ];
  for (const [label, ours, times] of rows) {
    if (!times) continue;
    const [median, best] = times;
    const name = `PyTorch ${peer.version} ${label}`;
    console.log(`${name}: median ${median.toFixed(3)} ms, best ${best.toFixed(3)} ms`);
    verdict(`no slower than ${name} (${(median / mine[ours]).toFixed(1)} times as fast)`, mine[ours] <= median);
  }
}
