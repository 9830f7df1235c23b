/**
 * One small valid call of every kernel, argument by argument with its kind, and for each kind values that must be
 * refused. The tests of wrong calls run over this table, so a new kernel has to be added here.
 */
import type { Kernels, Real } from '../../ts/native/kernels.js';
import type { RealConstructor } from './matrices.js';

export type ArgumentKind =
  | 'flag'
  | 'size'
  | 'scalar'
  | 'array'
  | 'nullable'
  | 'pivots'
  | 'int32'
  | 'int32OrNull'
  | 'float64'
  | 'offset'
  | 'ld'
  | 'increment'
  | 'stride'
  | 'count'
  | 'code'
  | 'threads';

export interface Argument {
  kind: ArgumentKind;
  value: unknown;
}

export type KernelName = Exclude<keyof Kernels, 'info'>;

const n = 4,
  k = 3,
  count = 2,
  size = n * n;

/** Valid arguments of `name`; arrays are new in every call. */
export function validCall(name: KernelName, type: RealConstructor): Argument[] {
  const random = (length: number): Real => new type(length).map((_, i) => 1 + Math.sin(i * i + length) / 4);
  // Diagonally dominant, so that every factorization goes through and every array serves as its own factor.
  const square = (items = 1): Real => {
    const out = new type(size * items);
    for (let t = 0; t < items; t++)
      for (let i = 0; i < n; i++)
        for (let j = 0; j < n; j++) out[t * size + i + j * n] = i === j ? 5 : 0.5 / (1 + i + j);
    return out;
  };
  const flag = (value = 0): Argument => ({ kind: 'flag', value });
  const dimension = (value = n): Argument => ({ kind: 'size', value });
  const scalar = (value = 0.5): Argument => ({ kind: 'scalar', value });
  const offset = (): Argument => ({ kind: 'offset', value: 0 });
  const ld = (value = n): Argument => ({ kind: 'ld', value });
  const matrix = (array: Real = square(), rows = n): Argument[] => [
    { kind: 'array', value: array },
    offset(),
    ld(rows),
  ];
  const vector = (length = n): Argument[] => [{ kind: 'array', value: random(length) }, offset()];
  const nullable = (length = n): Argument[] => [{ kind: 'nullable', value: random(length) }, offset()];
  const strided = (): Argument[] => [...vector(), { kind: 'increment', value: 1 }];
  const alone = (array: Real = random(n)): Argument => ({ kind: 'array', value: array });
  const pivots = (items = 1): Argument[] => [
    { kind: 'pivots', value: Int32Array.from({ length: n * items }, (_, i) => (i % n) + 1) },
    offset(),
  ];
  const stride = (value = size): Argument => ({ kind: 'stride', value });
  const matrices = (): Argument[] => [...matrix(square(count)), stride()];
  const pivotBatch = (): Argument[] => [...pivots(count), stride(n)];
  const items = (): Argument => ({ kind: 'count', value: count });

  const calls: Record<KernelName, () => Argument[]> = {
    setThreads: () => [{ kind: 'threads', value: 1 }],
    gemm: () => [
      flag(),
      flag(1),
      dimension(),
      dimension(),
      dimension(),
      scalar(),
      ...matrix(),
      ...matrix(),
      scalar(),
      ...matrix(),
    ],
    gemv: () => [flag(), dimension(), dimension(), scalar(), ...matrix(), ...strided(), scalar(), ...strided()],
    syrk: () => [flag(), flag(), dimension(), dimension(), scalar(), ...matrix(), scalar(), ...matrix()],
    symm: () => [flag(), flag(), dimension(), dimension(), scalar(), ...matrix(), ...matrix(), scalar(), ...matrix()],
    trsm: () => [flag(), flag(), flag(), flag(), dimension(), dimension(), scalar(), ...matrix(), ...matrix()],
    trmm: () => [flag(), flag(), flag(), flag(), dimension(), dimension(), scalar(), ...matrix(), ...matrix()],
    dot: () => [dimension(), ...vector(), ...vector()],
    nrm2: () => [dimension(), ...vector()],
    axpy: () => [dimension(), scalar(), ...vector(), ...vector()],
    potrf: () => [flag(), dimension(), ...matrix()],
    potrs: () => [flag(), dimension(), dimension(), ...matrix(), ...matrix()],
    potri: () => [flag(), dimension(), ...matrix()],
    sytrf: () => [flag(), dimension(), ...matrix(), ...pivots()],
    sytrs: () => [flag(), dimension(), dimension(), ...matrix(), ...pivots(), ...matrix()],
    sytri: () => [flag(), dimension(), ...matrix(), ...pivots()],
    sytrfInertia: () => [
      flag(),
      dimension(),
      ...matrix(),
      ...pivots(),
      { kind: 'float64', value: new Float64Array(6) },
    ],
    sytrfHalfSolve: () => [dimension(), dimension(), ...matrix(), ...pivots(), ...matrix()],
    sytrfHalfSolveTransposed: () => [dimension(), dimension(), ...matrix(), ...pivots(), ...matrix()],
    getrf: () => [dimension(), dimension(), ...matrix(), ...pivots()],
    getrs: () => [flag(), dimension(), dimension(), ...matrix(), ...pivots(), ...matrix()],
    gesv: () => [dimension(), dimension(), ...matrix(), ...pivots(), ...matrix()],
    syevd: () => [flag(1), flag(), dimension(), ...matrix(), ...vector()],
    qr: () => [dimension(), dimension(), ...matrix(), ...matrix()],
    gemmBatch: () => [
      flag(),
      flag(),
      dimension(),
      dimension(),
      dimension(),
      scalar(),
      ...matrices(),
      ...matrices(),
      scalar(),
      ...matrices(),
      items(),
    ],
    syrkBatch: () => [
      flag(),
      flag(),
      dimension(),
      dimension(),
      scalar(),
      ...matrices(),
      scalar(),
      ...matrices(),
      items(),
    ],
    trsmBatch: () => [
      flag(),
      flag(),
      flag(),
      flag(),
      dimension(),
      dimension(),
      scalar(),
      ...matrices(),
      ...matrices(),
      items(),
    ],
    potrfBatch: () => [flag(), dimension(), ...matrices(), items()],
    potrsBatch: () => [flag(), dimension(), dimension(), ...matrices(), ...matrices(), items()],
    sytrfBatch: () => [flag(), dimension(), ...matrices(), ...pivotBatch(), items()],
    sytrsBatch: () => [flag(), dimension(), dimension(), ...matrices(), ...pivotBatch(), ...matrices(), items()],
    getrfBatch: () => [dimension(), dimension(), ...matrices(), ...pivotBatch(), items()],
    getrsBatch: () => [flag(), dimension(), dimension(), ...matrices(), ...pivotBatch(), ...matrices(), items()],
    transpose: () => [dimension(), dimension(), ...matrix(), ...matrix()],
    symmetrize: () => [flag(), dimension(), ...matrix()],
    scaleSymmetric: () => [dimension(), ...matrix(), ...nullable(), ...nullable(), ...matrix()],
    scaleRows: () => [flag(), dimension(), dimension(), ...vector(), ...matrix(), ...matrix()],
    activate: () => [
      { kind: 'code', value: 1 },
      dimension(),
      dimension(k),
      ...vector(n * k),
      ...nullable(k),
      ...nullable(n * k),
      ...nullable(n * k),
      ...nullable(n * k),
      ...nullable(n * k),
    ],
    hadamard: () => [flag(), dimension(), ...vector(), ...vector(), ...vector()],
    columnSums: () => [flag(), dimension(), dimension(), ...matrix(), ...vector()],
    jacobianGram: () => [
      dimension(2),
      dimension(2),
      dimension(2),
      scalar(),
      { kind: 'float64', value: Float64Array.of(1, 2) },
      { kind: 'int32', value: Int32Array.of(2, 1) },
      alone(random(12)),
      { kind: 'float64', value: Float64Array.of(0, 8) },
      alone(random(8)),
      { kind: 'float64', value: Float64Array.of(0, 4) },
      ...matrix(),
      { kind: 'int32OrNull', value: Int32Array.of(2, 2) },
    ],
    adamStep: () => [dimension(), alone(), alone(), alone(), alone(), ...Array.from({ length: 7 }, () => scalar())],
    sgdStep: () => [dimension(), alone(), alone(), alone(), scalar(), scalar(), flag(), scalar()],
  };
  return calls[name]();
}

const notNumbers = [undefined, null, '4', true, {}, 4n];
const notDimensions = [...notNumbers, -1, 1.5, NaN, Infinity, 2 ** 31];

/** Values that must be refused in place of `argument`, with the error they must give. */
export function wrongValues({ kind, value }: Argument, type: RealConstructor): unknown[] {
  const other = type === Float64Array ? Float32Array : Float64Array;
  switch (kind) {
    case 'flag':
      return [...notNumbers, 2, -1, 0.5, NaN];
    case 'scalar':
      return notNumbers;
    // A dimension beyond the arrays is as wrong as one that is none.
    case 'size':
      return [...notDimensions, 1000];
    case 'count':
      return [...notDimensions, 1000, 2 ** 31 - 1];
    case 'code':
      return [...notDimensions, 8];
    case 'threads':
      return [...notNumbers, 0, -1, 1.5, NaN];
    case 'offset':
      return [...notNumbers, -1, 1.5, NaN, 1e6, 2 ** 53, Infinity];
    case 'ld':
      return [...notDimensions, 0, (value as number) - 1, 1000];
    case 'increment':
      return [...notDimensions, 0, 1000];
    case 'stride':
      return [...notNumbers, -1, 1.5, NaN, 1e6, 2 ** 60];
    case 'array':
      return [
        undefined,
        null,
        [1, 2, 3],
        'x',
        5,
        {},
        new DataView(new ArrayBuffer(800)),
        new other(100),
        new Int32Array(100),
        new type(0),
      ];
    case 'nullable':
      return [undefined, [1, 2, 3], 'x', 5, {}, new other(100), new Int32Array(100), new type(0)];
    case 'int32OrNull':
      return [undefined, [1, 2, 3], 5, new Float64Array(100), new Uint32Array(100), new Int32Array(0)];
    case 'pivots':
    case 'int32':
      return [undefined, null, [1, 2, 3], 5, new Float64Array(100), new Uint32Array(100), new Int32Array(0)];
    case 'float64':
      return [undefined, null, [1, 2, 3], 5, new Float32Array(100), new Float64Array(0)];
    default:
      return kind satisfies never;
  }
}
