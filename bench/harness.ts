/** What the benchmarks share: machine facts, timing, tables, verdicts, the networks of docs and papers, real images. */
import { existsSync, readFileSync } from 'node:fs';
import os from 'node:os';
import { Network } from '../ts/derivatives/index.js';
import { kernels } from '../ts/native/index.js';
import type { LayerSpec } from '../ts/network/index.js';
import { Random } from '../ts/random.js';

/** Prints what the figures below were measured on. */
export function printMachine(): void {
  const { version, core, threads, simd } = kernels.info();
  const cpus = os.cpus();
  console.log(
    `machine   ${cpus[0]?.model.trim() ?? 'unknown'}, ${cpus.length} cores, ${(os.totalmem() / 2 ** 30).toFixed(0)} GiB, ${os.type()} ${os.release()}`,
  );
  console.log(
    `runtime   Node ${process.version}; ${version}, core ${core}, ${threads} BLAS thread(s), fused kernels ${simd}`,
  );
  console.log(
    `load      ${os.loadavg()[0].toFixed(2)} (figures taken while other work runs are too slow: compare ratios)`,
  );
}

/** Milliseconds of the fastest and the median of `repeats` calls. */
export function time(repeats: number, work: () => void): { best: number; median: number } {
  const samples: number[] = [];
  for (let k = 0; k < repeats; k++) {
    const start = performance.now();
    work();
    samples.push(performance.now() - start);
  }
  samples.sort((a, b) => a - b);
  return { best: samples[0], median: samples[repeats >> 1] };
}

/** GFLOP/s of a square dgemm of order n: the yardstick of dense work on this machine, now. */
export function dgemmRate(n: number, repeats = 3): number {
  const a = new Random(1).normals(new Float64Array(n * n));
  const c = new Float64Array(n * n);
  const { best } = time(repeats, () => kernels.gemm(0, 0, n, n, n, 1, a, 0, n, a, 0, n, 0, c, 0, n));
  return (2 * n ** 3) / best / 1e6;
}

const verdicts: { what: string; met: boolean }[] = [];

/** Records and prints whether a target is met. */
export function verdict(what: string, met: boolean): void {
  verdicts.push({ what, met });
  console.log(`  ${met ? 'met   ' : 'MISSED'}  ${what}`);
}

/** Prints the count of met targets and sets the exit code to 1 when one was missed. */
export function summarizeVerdicts(): void {
  const missed = verdicts.filter((v) => !v.met);
  console.log(`\n${verdicts.length - missed.length} of ${verdicts.length} targets met`);
  for (const { what } of missed) console.log(`  missed: ${what}`);
  if (missed.length > 0) process.exitCode = 1;
}

export function heading(text: string): void {
  console.log(`\n${text}\n${'-'.repeat(text.length)}`);
}

/** `layers` weight matrices, hidden width `hidden`, tanh, cross-entropy. */
export function deepNetwork(layers: number, hidden: number, inputs: number, outputs: number, bias = true): Network {
  const specs: LayerSpec[] = [];
  for (let l = 0; l < layers - 1; l++) specs.push({ type: 'dense', units: hidden, activation: 'tanh', bias });
  specs.push({ type: 'dense', units: outputs, activation: 'identity', bias });
  return new Network({ inputs, loss: 'cross-entropy', layers: specs });
}

/** Random inputs and classes. */
export function randomBatch(
  samples: number,
  inputs: number,
  classes: number,
  seed = 1,
): { inputs: Float64Array; targets: Int32Array } {
  const random = new Random(seed);
  return {
    inputs: random.normals(new Float64Array(samples * inputs)),
    targets: Int32Array.from({ length: samples }, () => random.integer(classes)),
  };
}

/** Folder of real data, or null: benchmarks on it are then left out with a message. */
export function dataFolder(name: string): string | null {
  const folder = process.env.DEEP_HESSIAN_DATA ?? new URL('../../shared/data', import.meta.url).pathname;
  return existsSync(`${folder}/${name}`) ? `${folder}/${name}` : null;
}

export function readText(path: string): string {
  return readFileSync(path, 'utf8');
}
