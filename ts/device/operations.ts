/**
 * The operations on device memory. Most are kernels of ts/native/kernels.ts, argument by argument, with a
 * {@link DeviceBuffer} in the place of every array: what is written there about storage, flags and status holds here.
 */
import type { Flag, Kernels, Real } from '../native/kernels.js';

/** Type of the numbers in a buffer. */
export type ElementType = 'float64' | 'float32' | 'int32';

/** Memory of a device. Belongs to the device that allocated it; lives until `dispose`. */
export interface DeviceBuffer {
  /** type of the numbers */
  readonly type: ElementType;
  /** numbers in it */
  readonly length: number;
  /** bytes in it */
  readonly bytes: number;
  /** Gives the memory back. A second call does nothing; any other use afterwards throws. */
  dispose(): void;
}

/** An argument of a kernel as the device takes it: arrays of reals and pivots become buffers, the rest stays. */
type OnDevice<T> = [Real] extends [T] ? DeviceBuffer | Extract<T, null> : [Int32Array] extends [T] ? DeviceBuffer : T;

type Lifted<F> = F extends (...args: infer A) => infer R ? (...args: { [K in keyof A]: OnDevice<A[K]> }) => R : never;

/** Kernels that exist on devices with the same arguments. */
// prettier-ignore
export const liftedNames = [
  'gemm', 'gemmBatch', 'gemv', 'syrk', 'symm', 'trsm', 'trsmBatch', 'dot', 'nrm2', 'axpy',
  'potrf', 'potrs', 'potrfBatch', 'potrsBatch', 'sytrf', 'sytrs', 'sytrfInertia',
  'getrf', 'getrs', 'getrfBatch', 'getrsBatch', 'syevd',
  'transpose', 'symmetrize', 'scaleSymmetric', 'scaleRows', 'activate', 'hadamard', 'columnSums',
] as const satisfies readonly (keyof Kernels)[];

export type LiftedName = (typeof liftedNames)[number];
type LiftedOperations = { [Name in LiftedName]: Lifted<Kernels[Name]> };

/* eslint-disable max-params -- as the kernels */
/** Operations that only devices have, or that take host arrays beside buffers. */
interface OwnOperations {
  /** As the kernel of this name; scale, widths, offsets and inner stay in host memory. */
  jacobianGram(
    samples: number,
    outputs: number,
    layers: number,
    shift: number,
    scale: Float64Array,
    widths: Int32Array,
    d: DeviceBuffer,
    dOffsets: Float64Array,
    gram: DeviceBuffer,
    gramOffsets: Float64Array,
    c: DeviceBuffer,
    cOffset: number,
    ldc: number,
    inner: Int32Array | null,
  ): void;
  /** y := x, n numbers, apart from one another. */
  copy(n: number, x: DeviceBuffer, xOffset: number, y: DeviceBuffer, yOffset: number): void;
  /** y := x of the other real type, rounded to the nearest: y first. */
  convert(n: number, y: DeviceBuffer, yOffset: number, x: DeviceBuffer, xOffset: number): void;
  /** x := value, n times. */
  fill(n: number, value: number, x: DeviceBuffer, xOffset: number): void;
  /** A := A + value I, n x n. */
  addDiagonal(n: number, value: number, a: DeviceBuffer, aOffset: number, lda: number): void;
  /** out := diagonal of A, n x n. */
  diagonal(n: number, a: DeviceBuffer, aOffset: number, lda: number, out: DeviceBuffer, outOffset: number): void;
  /**
   * X[(k,n), i] := X[(k,n), i] y[n, i] for rows (k, n) = k samples + n, k < repeats: what belongs to sample n repeats over k.
   * X is (repeats samples) x cols and y samples x cols, without gaps.
   */
  scaleTiled(
    samples: number,
    repeats: number,
    cols: number,
    x: DeviceBuffer,
    xOffset: number,
    y: DeviceBuffer,
    yOffset: number,
  ): void;
  /** out[n, i] := sum_k X[(k,n), i] r[(k,n)]; out is samples x cols. */
  foldTiled(
    samples: number,
    repeats: number,
    cols: number,
    x: DeviceBuffer,
    xOffset: number,
    r: DeviceBuffer,
    rOffset: number,
    out: DeviceBuffer,
    outOffset: number,
  ): void;
  /** out[(k,n)] := sum_i X[(k,n), i] y[n, i] (+ out[(k,n)] with accumulate). */
  dotTiled(
    accumulate: Flag,
    samples: number,
    repeats: number,
    cols: number,
    x: DeviceBuffer,
    xOffset: number,
    y: DeviceBuffer,
    yOffset: number,
    out: DeviceBuffer,
    outOffset: number,
  ): void;
  /**
   * out[(k,n), i colsY + j] := X[(k,n), i] y[n, j] for the samples n = start .. start + count - 1; row (k, n) of out is
   * k count + n - start. X is (repeats samples) x colsX, y samples x colsY.
   */
  rowKronecker(
    samples: number,
    start: number,
    count: number,
    repeats: number,
    colsX: number,
    x: DeviceBuffer,
    xOffset: number,
    colsY: number,
    y: DeviceBuffer,
    yOffset: number,
    out: DeviceBuffer,
    outOffset: number,
    ldout: number,
  ): void;
}
/* eslint-enable max-params */

/** Names of the operations that only devices have. */
// prettier-ignore
export const ownNames = [
  'jacobianGram', 'copy', 'convert', 'fill', 'addDiagonal', 'diagonal', 'scaleTiled', 'foldTiled', 'dotTiled', 'rowKronecker',
] as const satisfies readonly (keyof OwnOperations)[];

/** Every operation on device memory: the kernels that are lifted, and those that only devices have. */
export interface DeviceOperations extends LiftedOperations, OwnOperations {}

export type OperationName = keyof DeviceOperations;

/** All operations. */
export const operationNames: readonly OperationName[] = [...liftedNames, ...ownNames];
