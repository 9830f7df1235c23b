/**
 * Speed of the dense kernels in this process: GFLOP/s of the BLAS, LAPACK and fused kernels by size, nanoseconds an
 * element of the activations, and the cost of one call across the border. One thread unless DEEP_HESSIAN_THREADS says
 * otherwise. Run: npx tsx bench/kernels.ts [words to select sections]
 */
import os from 'node:os';
import { activationCodes, kernels, type ActivationName, type Real } from '../ts/native/index.js';
import { Random } from '../ts/random.js';

const random = new Random(1);
const chosen = process.argv.slice(2);
const wanted = (section: string): boolean => chosen.length === 0 || chosen.some((word) => section.includes(word));

/** Best seconds of one run: a run is repeated for at least `budget` seconds, `prepare` is not timed. */
function best(run: () => void, prepare: () => void = () => {}, budget = 0.12): number {
  let least = Infinity;
  let spent = 0;
  for (let i = 0; spent < budget || i < 3; i++) {
    prepare();
    const start = performance.now();
    run();
    const seconds = (performance.now() - start) / 1000;
    spent += seconds;
    least = Math.min(least, seconds);
  }
  return least;
}

/** As `best`, for runs too short for the clock. */
function bestOfMany(run: () => void, times: number): number {
  return (
    best(() => {
      for (let i = 0; i < times; i++) run();
    }) / times
  );
}

function matrix(n: number, type: Float64ArrayConstructor | Float32ArrayConstructor, shift: number): Real {
  const a = new type(n * n);
  for (let j = 0; j < n; j++)
    for (let i = 0; i <= j; i++) a[i + j * n] = a[j + i * n] = random.normal() + (i === j ? shift : 0);
  return a;
}

const row = (name: string, cells: readonly string[]): void =>
  console.log(`${name.padEnd(22)}${cells.map((cell) => cell.padStart(9)).join('')}`);
const gigaflops = (flops: number, seconds: number): string => (flops / seconds / 1e9).toFixed(1);

function dense(): void {
  const sizes = [8, 16, 32, 64, 128, 256, 512, 1024];
  for (const type of [Float64Array, Float32Array] as const) {
    console.log(`\nGFLOP/s, ${type.name}`);
    row('n', sizes.map(String));
    const kernelsBySize: [string, (n: number) => string][] = [
      [
        'gemm',
        (n) => {
          const a = matrix(n, type, 0),
            c = new type(n * n);
          return gigaflops(
            2 * n ** 3,
            repeat(n, () => kernels.gemm(0, 0, n, n, n, 1, a, 0, n, a, 0, n, 0, c, 0, n)),
          );
        },
      ],
      [
        'gemmBatch (64 items)',
        (n) => {
          if (n > 64) return '';
          const a = new type(64 * n * n).fill(1),
            c = new type(64 * n * n);
          const run = (): void =>
            kernels.gemmBatch(0, 0, n, n, n, 1, a, 0, n, n * n, a, 0, n, n * n, 0, c, 0, n, n * n, 64);
          return gigaflops(128 * n ** 3, repeat(4 * n, run));
        },
      ],
      [
        'syrk',
        (n) => {
          const a = matrix(n, type, 0),
            c = new type(n * n);
          return gigaflops(
            n ** 3,
            repeat(n, () => kernels.syrk(0, 0, n, n, 1, a, 0, n, 0, c, 0, n)),
          );
        },
      ],
      [
        'trsm',
        (n) => {
          const a = matrix(n, type, 4 * n),
            b = matrix(n, type, 0);
          return gigaflops(
            n ** 3,
            repeat(n, () => kernels.trsm(0, 0, 0, 0, n, n, 1, a, 0, n, b, 0, n)),
          );
        },
      ],
      ['potrf', (n) => factor(n, type, 4 * n, n ** 3 / 3, (a) => kernels.potrf(0, n, a, 0, n))],
      [
        'sytrf',
        (n) => {
          const pivots = new Int32Array(n);
          return factor(n, type, 0, n ** 3 / 3, (a) => kernels.sytrf(0, n, a, 0, n, pivots, 0));
        },
      ],
      [
        'getrf',
        (n) => {
          const pivots = new Int32Array(n);
          return factor(n, type, 0, (2 * n ** 3) / 3, (a) => kernels.getrf(n, n, a, 0, n, pivots, 0));
        },
      ],
      ['syevd (4/3 n^3)', (n) => (n > 512 ? '' : factorWith(n, type, (a, w) => kernels.syevd(1, 0, n, a, 0, n, w, 0)))],
    ];
    for (const [name, measure] of kernelsBySize) row(name, sizes.map(measure));
  }
}

const repeat = (n: number, run: () => void): number => (n <= 64 ? bestOfMany(run, Math.ceil(2e5 / n ** 2)) : best(run));

function factor(
  n: number,
  type: Float64ArrayConstructor | Float32ArrayConstructor,
  shift: number,
  flops: number,
  run: (a: Real) => void,
): string {
  // Small orders in a row of copies: one is too short for the clock.
  const items = Math.max(1, Math.ceil(4e4 / n ** 2));
  const source = matrix(n, type, shift);
  const copies = Array.from({ length: items }, () => source.slice());
  const seconds = best(
    () => {
      for (const a of copies) run(a);
    },
    () => {
      for (const a of copies) a.set(source);
    },
  );
  return gigaflops(flops * items, seconds);
}

function factorWith(
  n: number,
  type: Float64ArrayConstructor | Float32ArrayConstructor,
  run: (a: Real, w: Real) => void,
): string {
  const w = new type(n);
  return factor(n, type, 0, (4 / 3) * n ** 3, (a) => run(a, w));
}

/** The half solve of the stage factors: dtrsm flops, n^2 nrhs. */
function halfSolves(): void {
  console.log('\nsytrfHalfSolve, Float64Array');
  row('n x nrhs', ['ms', 'GFLOP/s']);
  for (const [n, nrhs] of [
    [64, 64],
    [200, 200],
    [600, 1],
    [600, 8],
    [600, 64],
    [600, 1536],
    [1536, 1536],
  ]) {
    const a = matrix(n, Float64Array, 0),
      pivots = new Int32Array(n),
      source = new Float64Array(n * nrhs).map(() => random.normal()),
      b = source.slice();
    kernels.sytrf(0, n, a, 0, n, pivots, 0);
    const seconds = best(
      () => void kernels.sytrfHalfSolve(n, nrhs, a, 0, n, pivots, 0, b, 0, n),
      () => void b.set(source),
    );
    row(`${n} x ${nrhs}`, [(seconds * 1e3).toFixed(3), gigaflops(n * n * nrhs, seconds)]);
  }
}

function activations(): void {
  const n = 64 * 24;
  for (const type of [Float64Array, Float32Array] as const) {
    console.log(`\nactivate, ns an element, ${type.name}, 64 x 24`);
    row('', ['value', '+ slope', '+ curv.']);
    for (const name of Object.keys(activationCodes) as ActivationName[]) {
      const s = new type(n).map(() => random.normal()),
        bias = new type(24),
        out = [0, 1, 2].map(() => new type(n));
      const cells = [1, 2, 3].map((outputs) => {
        const run = (): void =>
          kernels.activate(
            activationCodes[name], 64, 24, s, 0, bias, 0, null, 0, out[0], 0,
            outputs > 1 ? out[1] : null, 0, outputs > 2 ? out[2] : null, 0,
          ); // prettier-ignore
        return ((bestOfMany(run, 200) / n) * 1e9).toFixed(2);
      });
      row(name, cells);
    }
  }
}

function sampleSpace(): void {
  console.log('\njacobianGram (2 h flops for each entry of the lower triangle and layer)');
  row('N x K, layers x h', ['ms', 'GFLOP/s', 'ms f32', 'GFLOP/s']);
  for (const [samples, outputs, layers, width] of [
    [64, 10, 30, 16],
    [64, 10, 8, 24],
    [64, 9, 100, 16],
    [8, 10, 30, 16],
    [100, 10, 30, 16],
    [200, 1, 30, 16],
    [1350, 1, 20, 10],
  ]) {
    const order = samples * outputs,
      cells: string[] = [];
    for (const type of [Float64Array, Float32Array] as const) {
      const d = new type(order * width * layers).map(() => random.normal()),
        gram = new type(samples * samples * layers).map(() => random.normal()),
        c = new type(order * order);
      const scale = new Float64Array(layers).fill(1),
        widths = new Int32Array(layers).fill(width),
        dOffsets = scale.map((_, l) => l * order * width),
        gramOffsets = scale.map((_, l) => l * samples * samples);
      const seconds = best(
        () =>
          kernels.jacobianGram(
            samples,
            outputs,
            layers,
            1,
            scale,
            widths,
            d,
            dOffsets,
            gram,
            gramOffsets,
            c,
            0,
            order,
            null,
          ),
        undefined,
        0.3,
      );
      cells.push((seconds * 1e3).toFixed(2), gigaflops(layers * width * order * (order + 1), seconds));
    }
    row(`${samples} x ${outputs}, ${layers} x ${width}`, cells);
  }
}

function loops(): void {
  console.log('\nvector kernels, Float64Array, GB/s read and written');
  const sizes = [1000, 20000, 2000000];
  row('n', sizes.map(String));
  const cells = (bytes: number, run: (n: number, x: Real[]) => void): string[] =>
    sizes.map((n) => {
      const x = [0, 1, 2, 3].map(() => new Float64Array(n).map(() => random.uniform()));
      return ((bytes * n) / bestOfMany(() => run(n, x), Math.ceil(2e5 / n)) / 1e9).toFixed(1);
    });
  row(
    'dot',
    cells(16, (n, [x, y]) => kernels.dot(n, x, 0, y, 0)),
  );
  row(
    'nrm2',
    cells(8, (n, [x]) => kernels.nrm2(n, x, 0)),
  );
  row(
    'axpy',
    cells(24, (n, [x, y]) => kernels.axpy(n, 1e-9, x, 0, y, 0)),
  );
  row(
    'hadamard',
    cells(24, (n, [x, y, z]) => kernels.hadamard(0, n, x, 0, y, 0, z, 0)),
  );
  row(
    'transpose',
    cells(16, (n, [x, y]) => kernels.transpose(1000, n / 1000, x, 0, 1000, y, 0, n / 1000)),
  );
  row(
    'adamStep',
    cells(56, (n, [p, g, m, v]) => kernels.adamStep(n, p, g, m, v, 1e-9, 0.9, 0.999, 0.5, 0.5, 1e-8, 0)),
  );
  row(
    'sgdStep',
    cells(40, (n, [p, g, v]) => kernels.sgdStep(n, p, g, v, 1e-9, 0.9, 0, 0)),
  );
}

function calls(): void {
  console.log('\none call, ns (1 x 1 problems: what the border costs)');
  const a = Float64Array.of(2),
    b = Float64Array.of(1),
    c = Float64Array.of(1),
    pivots = Int32Array.of(1);
  const cost = (run: () => void): string[] => [(bestOfMany(run, 20000) * 1e9).toFixed(0)];
  row(
    'gemm, 16 arguments',
    cost(() => kernels.gemm(0, 0, 1, 1, 1, 1, a, 0, 1, b, 0, 1, 0, c, 0, 1)),
  );
  row(
    'gemm of size zero',
    cost(() => kernels.gemm(0, 0, 0, 0, 0, 1, a, 0, 1, b, 0, 1, 0, c, 0, 1)),
  );
  row(
    'gemv',
    cost(() => kernels.gemv(0, 1, 1, 1, a, 0, 1, b, 0, 1, 0, c, 0, 1)),
  );
  row(
    'axpy',
    cost(() => kernels.axpy(1, 0, a, 0, b, 0)),
  );
  row(
    'dot',
    cost(() => kernels.dot(1, a, 0, b, 0)),
  );
  row(
    'sytrs',
    cost(() => kernels.sytrs(0, 1, 1, a, 0, 1, pivots, 0, c, 0, 1)),
  );
  row(
    'activate',
    cost(() => kernels.activate(1, 1, 1, a, 0, null, 0, null, 0, b, 0, null, 0, null, 0)),
  );
}

const info = kernels.info();
console.log(
  `${os.cpus()[0]?.model ?? 'unknown processor'}, ${os.availableParallelism()} cores, node ${process.version}`,
);
console.log(
  `${info.backend}: ${info.version}, core ${info.core}, ${info.threads} thread(s), fused kernels ${info.simd}`,
);
for (const [name, section] of Object.entries({ calls, dense, halfSolves, activations, sampleSpace, loops })) {
  if (wanted(name)) section();
}
