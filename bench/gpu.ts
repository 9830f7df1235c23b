/**
 * What a card does: rates of its dense operations against its own matrix product, block solves with the exact Hessian and
 * Gauss-Newton steps by size against the CPU path, the share of transfers, and the size from which the card is faster.
 *
 *     npx tsx bench/gpu.ts [rates] [hessian] [gauss-newton] [depth] [crossover] [torch]
 *
 * Without a usable GPU it says why and ends. `--device host --scale 0.1` runs the same code over the CPU behind the device
 * interface, to try the benchmark itself: its figures say nothing of a card.
 */
import { spawnSync } from 'node:child_process';
import { parseArgs } from 'node:util';
import { createHostDevice, cudaInfo, instrument, openCudaDevice, type DeviceKernels } from '../ts/device/index.js';
import {
  ChainFactor,
  DeviceChainFactor,
  DeviceSampleSpaceFactor,
  estimateCosts,
  formatBytes,
  SampleSpaceFactor,
  sampleSpaceSide,
} from '../ts/inverse/index.js';
import { deviceLinearizationBytes, type Network } from '../ts/derivatives/index.js';
import { deepNetwork, heading, printMachine, randomBatch } from './harness.js';
import { findTorch, noTorch } from './python.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { device: { type: 'string', default: 'cuda' }, scale: { type: 'string', default: '1' } },
});
const scale = Number(values.scale);
const peerTorch = findTorch();
const wanted = (name: string): boolean => positionals.length === 0 || positionals.includes(name);
const sized = (n: number): number => Math.max(16, Math.round(n * scale));

/** Median seconds of `repeats` runs after one to warm up, each waited for; `prepare` is not timed. */
function seconds(device: DeviceKernels, repeats: number, work: () => void, prepare: () => void = () => {}): number {
  const all: number[] = [];
  for (let i = 0; i <= repeats; i++) {
    prepare();
    device.synchronize();
    const start = performance.now();
    work();
    device.synchronize();
    if (i > 0) all.push((performance.now() - start) / 1000);
  }
  return all.sort((a, b) => a - b)[repeats >> 1];
}

const row = (...cells: (string | number)[]): void =>
  console.log(cells.map((cell) => String(cell).padStart(13)).join(' '));
const tera = (flops: number, s: number): string => (flops / s / 1e12).toFixed(3);
const milli = (s: number): string => (1000 * s).toPrecision(3);

/** Factor and solve of the orders of a block, N h, with the product's rate as yardstick. */
function rates(device: DeviceKernels): void {
  heading('Factor + solve by order: TFLOP/s in float64, and the share of the matrix product’s rate');
  row('order', 'gemm', 'potrf+s', 'share', 'sytrf+s', 'share', 'getrf+s', 'share', 'upload GB/s');
  for (const order of [512, 1024, 2048, 4096, 8192, 16384]) {
    const n = sized(order);
    const host = new Float64Array(n * n).fill(1 / n);
    for (let i = 0; i < n; i++) host[i * (n + 1)] = 4 + i / n;
    const [base, a, b] = [0, 1, 2].map(() => device.allocate('float64', n * n));
    const x = device.allocate('float64', n);
    const pivots = device.allocate('int32', n);
    try {
      const up = seconds(device, 1, () => device.upload(host, base));
      const fresh = (): void => {
        device.copy(n * n, base, 0, a, 0);
        device.fill(n, 1, x, 0);
      };
      const gemm = seconds(device, 3, () => device.gemm(0, 0, n, n, n, 1, base, 0, n, base, 0, n, 0, b, 0, n));
      const solves: (() => void)[] = [
        () => {
          device.potrf(0, n, a, 0, n);
          device.potrs(0, n, 1, a, 0, n, x, 0, n);
        },
        () => {
          device.sytrf(0, n, a, 0, n, pivots, 0);
          device.sytrs(0, n, 1, a, 0, n, pivots, 0, x, 0, n);
        },
        () => {
          device.getrf(n, n, a, 0, n, pivots, 0);
          device.getrs(0, n, 1, a, 0, n, pivots, 0, x, 0, n);
        },
      ];
      const product = (2 * n ** 3) / gemm;
      const cells = solves.flatMap((work, i) => {
        const flops = ((i === 2 ? 2 : 1) * n ** 3) / 3 + 2 * n * n;
        const s = seconds(device, 3, work, fresh);
        return [tera(flops, s), `${((100 * flops) / s / product).toFixed(0)} %`];
      });
      row(n, tera(2 * n ** 3, gemm), ...cells, ((8 * n * n) / up / 1e9).toFixed(1));
    } finally {
      for (const buffer of [base, a, b, x, pivots]) buffer.dispose();
    }
  }
}

/**
 * A Gauss-Newton step with one trial, on the device and on the CPU (null where it would take too long): the point (both passes), the
 * solve (assemble, factor, step), the trial's loss. TFLOP/s are of the solve.
 */
function step(
  device: DeviceKernels,
  network: Network,
  samples: number,
  cpuLimit = 20,
): { card: number; cpu: number | null } {
  const batch = network.batch(randomBatch(samples, network.inputs, network.outputs));
  const params = network.initialize({ seed: 1, scheme: 'orthogonal', gain: 1.1 });
  const x = new Float64Array(network.parameterCount);
  const { device: counted, counters } = instrument(device);
  const need = DeviceSampleSpaceFactor.estimateBytes(network, samples) + deviceLinearizationBytes(network, samples);
  const { free } = device.memory();
  if (need > free) {
    row(samples, `  not run: needs ${formatBytes(need)}, ${formatBytes(free)} are free`);
    return { card: NaN, cpu: null };
  }
  let point = network.linearize(params, batch, { device: counted });
  const there = new DeviceSampleSpaceFactor(counted, network, samples);
  const solve = (f: DeviceSampleSpaceFactor | SampleSpaceFactor): void => {
    f.assemble(point);
    f.factor(0.1);
    f.step(x);
  };
  /** Seconds of point, solve and trial. */
  const parts = (
    repeats: number,
    on: DeviceKernels | 'cpu',
    f: DeviceSampleSpaceFactor | SampleSpaceFactor,
  ): number[] =>
    [
      () => void (point = network.linearize(params, batch, { device: on, reuse: point })),
      () => solve(f),
      () => void point.lossAt(params),
    ].map((work) => seconds(device, repeats, work));
  try {
    const before = counters.uploaded + counters.downloaded;
    const card = parts(3, counted, there);
    const travelled = (counters.uploaded + counters.downloaded - before) / 4;
    // The same transfers alone.
    const spare = device.allocate('float64', Math.ceil(travelled / 8));
    const host = new Float64Array(Math.ceil(travelled / 8));
    const transfer = seconds(device, 3, () => device.upload(host, spare));
    spare.dispose();
    const { flops, seconds: modelled, side } = sampleSpaceSide(network, samples);
    let cpu: number[] | null = null;
    if (modelled < cpuLimit) {
      point.dispose();
      point = network.linearize(params, batch);
      cpu = parts(1, 'cpu', new SampleSpaceFactor(network, samples));
    }
    const whole = (all: number[]): number => all.reduce((sum, one) => sum + one, 0);
    row(
      samples,
      there.order,
      side,
      network.parameterCount,
      ...card.map(milli),
      ...(cpu?.map(milli) ?? ['-', '-', '-']),
      cpu === null ? '-' : `${(whole(cpu) / whole(card)).toFixed(2)}x`,
      tera(flops, card[1]),
      `${((100 * transfer) / whole(card)).toFixed(0)} %`,
      `${(need / 2 ** 30).toFixed(2)} GiB`,
    );
    return { card: whole(card), cpu: cpu === null ? null : whole(cpu) };
  } finally {
    point.dispose();
    there.dispose();
  }
}

const stepHeader = (): void =>
  // prettier-ignore
  row('samples', 'order', 'side', 'parameters', 'card: point', 'solve', 'trial ms', 'CPU: point', 'solve', 'trial ms', 'CPU/card', 'TFLOP/s', 'transfer', 'memory');

/** Networks and batches of the Gauss-Newton step: up to N K = 20,000. */
const solves = [
  { inputs: 768, layers: 8, hidden: 24, samples: [64, 128, 256, 512, 1024] },
  { inputs: 3072, layers: 8, hidden: 24, samples: [256, 1024] },
  { inputs: 768, layers: 4, hidden: 256, samples: [250, 500, 1000, 2000] },
];

function gaussNewton(device: DeviceKernels): void {
  for (const { inputs, layers, hidden, samples } of solves) {
    heading(`Gauss-Newton step, ${inputs}-${hidden}x${layers - 1}-10`);
    stepHeader();
    const network = deepNetwork(layers, hidden, inputs, 10);
    for (const n of samples) step(device, network, sized(n));
  }
}

/** Operations a second of a matrix product of order 4,096 in float64. */
function productRate(device: DeviceKernels): number {
  const n = sized(4096);
  const [a, b] = [0, 1].map(() => device.allocate('float64', n * n));
  try {
    device.fill(n * n, 1 / n, a, 0);
    return (2 * n ** 3) / seconds(device, 3, () => device.gemm(0, 0, n, n, n, 1, a, 0, n, a, 0, n, 0, b, 0, n));
  } finally {
    a.dispose();
    b.dispose();
  }
}

/**
 * What a stage does with its pivot block: by Cholesky (factor, half-solve, symmetric update) and by Bunch-Kaufman (factor, whole
 * solve), with as many right-hand sides as rows.
 */
function pivotBlocks(device: DeviceKernels): void {
  heading('Pivot blocks by order, as many right-hand sides as rows: TFLOP/s in float64');
  row('order', 'potrf', 'trsm', 'syrk', 'sytrf', 'sytrs');
  for (const order of [512, 1024, 2048, 4096, 8192]) {
    const n = sized(order);
    const [base, a, b] = [0, 1, 2].map(() => device.allocate('float64', n * n));
    const pivots = device.allocate('int32', n);
    try {
      device.fill(n * n, 1 / n, base, 0);
      const definite = (): void => {
        device.copy(n * n, base, 0, a, 0);
        device.addDiagonal(n, 4, a, 0, n);
      };
      const indefinite = (): void => {
        device.copy(n * n, base, 0, a, 0);
        device.addDiagonal(n, -0.5, a, 0, n);
      };
      const fresh = (): void => device.copy(n * n, base, 0, b, 0);
      const potrf = seconds(device, 3, () => void device.potrf(0, n, a, 0, n), definite);
      const trsm = seconds(device, 3, () => device.trsm(0, 0, 0, 0, n, n, 1, a, 0, n, b, 0, n), fresh);
      const syrk = seconds(device, 3, () => device.syrk(0, 1, n, n, -1, b, 0, n, 1, a, 0, n));
      const sytrf = seconds(device, 3, () => void device.sytrf(0, n, a, 0, n, pivots, 0), indefinite);
      const sytrs = seconds(device, 3, () => device.sytrs(0, n, n, a, 0, n, pivots, 0, b, 0, n), fresh);
      const cube = n ** 3;
      row(
        n,
        ...[cube / 3 / potrf, cube / trsm, cube / syrk, cube / 3 / sytrf, (2 * cube) / sytrs].map((f) => tera(f, 1)),
      );
    } finally {
      for (const buffer of [base, a, b, pivots]) buffer.dispose();
    }
  }
}

const blockHeader = (): void =>
  // prettier-ignore
  row('samples', 'largest', 'precision', 'eps', 'negative', 'make ms', 'factor ms', 'solve ms', 'CPU f+s ms', 'CPU/card', 'TFLOP/s', 'of gemm', 'transfer', 'residual', 'memory');

/**
 * The exact Hessian's recursion: making (basis on the host, upload), factoring, and one unrefined solve with its residual.
 * `largest` is the largest order of a stage, N h. TFLOP/s count the operations of a definite factorization. The CPU's time is
 * of factor + solve, where it is modelled below `cpuLimit` seconds. `negative` counts eigenvalues of H + eps I: stages that
 * have one go through Bunch-Kaufman.
 */
function block(
  device: DeviceKernels,
  network: Network,
  samples: number,
  eps: number,
  single: boolean,
  product: number,
  cpuLimit = 20,
): void {
  const precision = single ? 'float32' : 'float64';
  const largest = samples * Math.max(...network.layers.map(({ units }) => units));
  const bytes = DeviceChainFactor.estimateBytes(network, samples, 'hessian', false, single);
  const { free } = device.memory();
  const need = bytes + deviceLinearizationBytes(network, samples);
  if (need > free) {
    row(samples, largest, precision, eps, `  not run: needs ${formatBytes(need)}, ${formatBytes(free)} are free`);
    return;
  }
  const { device: counted, counters } = instrument(device);
  const point = network.linearize(
    network.initialize({ seed: 1, scheme: 'orthogonal', gain: 1.1 }),
    randomBatch(samples, network.inputs, network.outputs),
    { device: counted },
  );
  const P = network.parameterCount;
  const x = new Float64Array(P);
  let there: DeviceChainFactor | null = null;
  try {
    const make = seconds(
      device,
      1,
      () => void (there = new DeviceChainFactor(counted, point, 'hessian', false, single)),
      () => there?.dispose(),
    );
    const f = there as unknown as DeviceChainFactor;
    const factoring = seconds(device, 3, () => void f.factor(eps));
    const { negative } = f.totals;
    const before = counters.uploaded + counters.downloaded;
    const solving = seconds(device, 3, () => f.solve(point.gradient, x, 1));
    const travelled = (counters.uploaded + counters.downloaded - before) / 4;
    const rest = new Float64Array(P);
    point.hessianProduct(x, rest);
    let [missing, size] = [0, 0];
    for (let i = 0; i < P; i++) {
      missing += (point.gradient[i] - rest[i] - eps * x[i]) ** 2;
      size += point.gradient[i] ** 2;
    }
    // What a solve sends alone; a factorization receives only its pivots.
    const spare = device.allocate('float64', Math.ceil(travelled / 8));
    const host = new Float64Array(Math.ceil(travelled / 8));
    const transfer = seconds(device, 3, () => device.upload(host, spare));
    spare.dispose();
    const estimate = estimateCosts(network, samples, 'hessian').find(({ method }) => method === 'affine');
    if (estimate === undefined) throw new Error('the model has no route of this name');
    let cpu: number | null = null;
    if (estimate.seconds < cpuLimit && !single) {
      const here = new ChainFactor(point, 'hessian', false);
      cpu = seconds(device, 1, () => {
        here.factor(eps);
        here.solve(point.gradient, x, 1);
      });
      here.dispose();
    }
    row(
      samples,
      largest,
      precision,
      eps,
      negative,
      milli(make),
      milli(factoring),
      milli(solving),
      cpu === null ? '-' : milli(cpu),
      cpu === null ? '-' : `${(cpu / (factoring + solving)).toFixed(2)}x`,
      tera(estimate.flops, factoring),
      `${((100 * estimate.flops) / factoring / product).toFixed(0)} %`,
      `${((100 * transfer) / (factoring + solving)).toFixed(0)} %`,
      Math.sqrt(missing / size).toExponential(1),
      `${(need / 2 ** 30).toFixed(2)} GiB`,
    );
  } finally {
    (there as DeviceChainFactor | null)?.dispose();
    point.dispose();
  }
}

function hessian(device: DeviceKernels): void {
  const product = productRate(device);
  console.log(`\n  matrix product of order ${sized(4096)} in float64: ${(product / 1e12).toFixed(3)} TFLOP/s`);
  pivotBlocks(device);
  heading('Exact Hessian, 768-24x7-10: block factorization and solve');
  blockHeader();
  const network = deepNetwork(8, 24, 768, 10);
  for (const samples of [64, 128, 256, 512, 1024]) {
    for (const eps of [0.1, 0.001]) block(device, network, sized(samples), eps, false, product);
    block(device, network, sized(samples), 0.1, true, product);
  }
  heading('Exact Hessian, 1,000 layers of width 64');
  blockHeader();
  const deep = deepNetwork(sized(1000), 64, 64, 10);
  for (const samples of [8, 16, 32, 64]) block(device, deep, samples, 0.1, false, product);
}

function depth(device: DeviceKernels): void {
  heading('Gauss-Newton step, 1,000 layers of width 64');
  stepHeader();
  const network = deepNetwork(sized(1000), 64, 64, 10);
  for (const samples of [8, 32, 128]) step(device, network, samples);
}

function crossover(device: DeviceKernels): void {
  heading('Crossover, 64-32x4-10: the first size at which the card is faster');
  stepHeader();
  const network = deepNetwork(5, 32, 64, 10);
  let first: number | null = null;
  for (const samples of [4, 8, 16, 32, 64, 128, 256]) {
    const { card, cpu } = step(device, network, samples);
    if (first === null && cpu !== null && card < cpu) first = samples;
  }
  console.log(first === null ? '  the CPU is faster at all of these' : `  the card is faster from N = ${first} on`);
}

/** What a Python program beside this one prints, or why it prints nothing. */
function peer(script: string, args: string[]): string {
  if (peerTorch === null) return noTorch;
  const path = new URL(`peers/${script}`, import.meta.url).pathname;
  const { status, stdout, stderr } = spawnSync(peerTorch.python, [path, ...args], { encoding: 'utf8' });
  return status === 0 ? stdout.trimEnd() : (stderr.trim().split('\n').at(-1) ?? 'no answer');
}

function torch(device: DeviceKernels): void {
  const where = device.kind === 'cuda' ? 'cuda' : 'cpu';
  if (where === 'cuda') {
    heading('PyTorch on the same card: factor + solve by order');
    console.log(peer('torch_factor.py', []));
  }
  heading('Gauss-Newton solve in PyTorch, the same algorithm in its own operations: samples, ms');
  for (const { inputs, layers, hidden, samples } of solves) {
    console.log(`${inputs}-${hidden}x${layers - 1}-10`);
    console.log(
      peer('torch_gauss_newton.py', [where, ...samples.map((n) => [layers, hidden, inputs, 10, sized(n)].join())]),
    );
  }
}

const { available, reason } = cudaInfo();
if (values.device === 'cuda' && !available) {
  console.log(`bench/gpu: not measured, no usable GPU: ${reason}`);
} else {
  printMachine();
  const device = values.device === 'cuda' ? openCudaDevice() : createHostDevice();
  console.log(
    `device    ${device.name}${device.kind === 'cpu' ? ' (the reference behind the interface, not a card)' : ''}`,
  );
  for (const { name, version, file } of cudaInfo().libraries)
    if (file !== null) console.log(`library   ${name} ${version ?? ''}`);
  try {
    if (wanted('rates')) rates(device);
    if (wanted('hessian')) hessian(device);
    if (wanted('gauss-newton')) gaussNewton(device);
    if (wanted('depth')) depth(device);
    if (wanted('crossover')) crossover(device);
    if (wanted('torch')) torch(device);
  } finally {
    device.dispose();
  }
}
