/** Factor and solve: a wide-input classifier against the DGEMM rate, growth with depth, and with the number of inputs. */
import os from 'node:os';
import { factor } from '../ts/inverse/index.js';
import { kernels } from '../ts/native/index.js';
import { deepNetwork, dgemmRate, heading, randomBatch, time, verdict } from './harness.js';

export function wideSolve(): void {
  heading('2. 768-24x7-10 tanh, N = 64, eps = 0.1: factor + solve of the exact Hessian');
  const network = deepNetwork(8, 24, 768, 10);
  const params = network.initialize({ seed: 1, scheme: 'orthogonal', gain: 1.1 });
  const point = network.linearize(params, randomBatch(64, 768, 10));
  const states = 64 * 24;
  for (const threads of [...new Set([1, Math.min(2, os.cpus().length)])]) {
    kernels.setThreads(threads);
    // Yardstick and job take turns, so that both see the machine in the same state; medians are compared.
    const rates: number[] = [];
    const seconds: number[] = [];
    let residual = 0;
    for (let k = 0; k < 5; k++) {
      rates.push(dgemmRate(states, 1));
      const start = performance.now();
      const f = factor(point, { damping: 0.1, method: 'affine' });
      residual = f.solve(point.gradient).residual;
      seconds.push((performance.now() - start) / 1e3);
      f.dispose();
    }
    rates.sort((a, b) => a - b);
    seconds.sort((a, b) => a - b);
    const dgemm = rates[2];
    const median = seconds[2];
    const achieved = (8 * states ** 3) / median / 1e9;
    console.log(
      `${threads} thread(s): median ${median.toFixed(3)} s (best ${seconds[0].toFixed(3)}), ${achieved.toFixed(1)} GFLOP/s at n^3 a stage, ` +
        `DGEMM ${dgemm.toFixed(1)}, ratio ${((100 * achieved) / dgemm).toFixed(0)} %, residual ${residual.toExponential(1)}, P = ${network.parameterCount}`,
    );
    if (threads === Math.min(2, os.cpus().length)) {
      verdict(
        `at least 50 % of the DGEMM rate at n^3 a stage (${((100 * achieved) / dgemm).toFixed(0)} %)`,
        achieved >= 0.5 * dgemm,
      );
      verdict(`under 1.5 s on 2 cores (${median.toFixed(2)} s)`, median < 1.5);
    }
  }
  kernels.setThreads(1);
}

export function depth(): void {
  heading('3. Depth: width 10, N = 1, eps = 0.1, factor + solve (peer at 512 layers: 23 s, 1255 MB)');
  console.log('layers   P        ms       growth  MB     growth  residual');
  let before: { ms: number; bytes: number } | null = null;
  let worst = 0;
  const at = new Map<number, number>();
  for (const layers of [128, 256, 512, 1024, 2048, 4096]) {
    const network = deepNetwork(layers, 10, 10, 10, false);
    const params = network.initialize({ seed: 1, scheme: 'orthogonal', gain: 1 });
    const point = network.linearize(params, randomBatch(1, 10, 10));
    let residual = 0;
    let bytes = 0;
    const run = (): void => {
      const f = factor(point, { damping: 0.1, method: 'affine' });
      residual = f.solve(point.gradient).residual;
      bytes = f.bytes;
      f.dispose();
    };
    run();
    // Shallow ones are over in milliseconds: more of them, so that the best is one without a pause.
    const { best, median } = time(Math.min(60, Math.max(9, Math.round(16384 / layers))), run);
    const growth = before === null ? 0 : best / before.ms;
    const memory = before === null ? 0 : bytes / before.bytes;
    worst = Math.max(worst, growth, memory);
    at.set(layers, median);
    console.log(
      `${String(layers).padEnd(8)} ${String(network.parameterCount).padEnd(8)} ${median.toFixed(1).padEnd(8)} ` +
        `${growth.toFixed(2).padEnd(7)} ${(bytes / 1e6).toFixed(1).padEnd(6)} ${memory.toFixed(2).padEnd(7)} ${residual.toExponential(1)}`,
    );
    before = { ms: best, bytes };
  }
  verdict(`512 layers under 60 ms (${at.get(512)!.toFixed(1)} ms)`, at.get(512)! < 60);
  verdict(`4096 layers under 0.5 s (${(at.get(4096)! / 1e3).toFixed(3)} s)`, at.get(4096)! < 500);
  verdict(`time and memory grow at most 2.2 times a doubling (worst ${worst.toFixed(2)})`, worst <= 2.2);
}

export function inputs(): void {
  heading('4. Inputs 768 -> 3072 at 24x7-10');
  let worst = 0;
  for (const samples of [8, 64]) {
    const points = [768, 3072].map((width) => {
      const network = deepNetwork(8, 24, width, 10);
      return network.linearize(
        network.initialize({ seed: 1, scheme: 'orthogonal', gain: 1.1 }),
        randomBatch(samples, width, 10),
      );
    });
    // In turns, so that a change of the machine's speed meets both alike.
    const best = [Infinity, Infinity];
    for (let k = 0; k < (samples === 8 ? 25 : 4); k++) {
      points.forEach((point, i) => {
        const { best: ms } = time(1, () => {
          const f = factor(point, { damping: 0.1, method: 'affine' });
          f.solve(point.gradient);
          f.dispose();
        });
        best[i] = Math.min(best[i], ms);
      });
    }
    const ratio = best[1] / best[0];
    worst = Math.max(worst, ratio);
    console.log(`N = ${samples}: ${best[0].toFixed(1)} ms -> ${best[1].toFixed(1)} ms, ratio ${ratio.toFixed(2)}`);
  }
  verdict(`at most 1.3 times the time (worst ${worst.toFixed(2)})`, worst <= 1.3);
}
