/** Gradient and Hessian-vector product of a 30 x 16 network at N = 64, against PyTorch's eager mode where it is installed. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { deepNetwork, heading, randomBatch, time, verdict } from './harness.js';
import { findTorch, noTorch } from './python.js';

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
  const gradients: number[] = [];
  const products: number[] = [];
  for (let k = 0; k < 400; k++) {
    gradients.push(time(1, () => void network.lossAndGradient(params, batch, g)).best);
    products.push(time(1, () => void point.hessianProduct(g, out)).best);
  }
  const middle = (values: number[]): number => values.sort((a, b) => a - b)[values.length >> 1];
  const ms = middle(gradients);
  const product = middle(products);
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
  const { stdout } = spawnSync(torch.python, [script, '30', '16', '768', '10', '64', '1', '3'], { encoding: 'utf8' });
  const [version, median, best] = stdout.trim().split(' ');
  const again = middle(
    Array.from({ length: 400 }, () => time(1, () => void network.lossAndGradient(params, batch, g)).best),
  );
  console.log(
    `PyTorch ${version} eager, 1 thread: median ${median} ms, best ${best} ms; ours before and after: ${ms.toFixed(3)}, ${again.toFixed(3)} ms`,
  );
  verdict(
    `gradient no slower than PyTorch eager (${(Number(median) / Math.max(ms, again)).toFixed(1)} times as fast)`,
    Math.max(ms, again) <= Number(median),
  );
}
