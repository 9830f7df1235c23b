/**
 * Argument checks of the TypeScript kernels: types, leading dimensions, bounds, overlap. They mirror the checks of
 * the C++ addon, so that one test suite holds for both.
 *
 * A `Block` is a strided batch of column-major matrices: item t starts at offset + t * stride and holds rows x cols
 * with leading dimension ld. A plain matrix has count 1.
 */
import { failRange, failType } from '../../checks.js';
import type { Real } from '../kernels.js';

export interface Block {
  readonly name: string;
  readonly array: Real | Int32Array;
  readonly offset: number;
  readonly rows: number;
  readonly cols: number;
  readonly ld: number;
  readonly stride: number;
  readonly count: number;
}

/** Stride and count of a batch; left out for a single item. */
export type Batch = [] | [stride: number, count: number];
export const single: [stride: number, count: number] = [0, 1];

/** A dimension: an integer from 0 to 2^31 - 1. */
export function size(operation: string, argument: string, value: number, min = 0): void {
  const expected = `an integer from ${min} to 2147483647`;
  if (typeof value !== 'number') failType(operation, argument, expected, value);
  if (!Number.isInteger(value) || value < min || value > 2147483647) failRange(operation, argument, expected, value);
}

/** A flag: 0 or 1. */
export function flag(operation: string, argument: string, value: number): void {
  if (typeof value !== 'number') failType(operation, argument, '0 or 1', value);
  if (value !== 0 && value !== 1) failRange(operation, argument, '0 or 1', value);
}

/** Any number; infinities and NaN pass through as in BLAS. */
export function scalar(operation: string, argument: string, value: number): void {
  if (typeof value !== 'number') failType(operation, argument, 'a number', value);
}

/** A Float64Array or Float32Array, of the kind of `like` where that is given. */
export function real(operation: string, argument: string, value: Real, like?: Real): void {
  if (!(value instanceof Float64Array) && !(value instanceof Float32Array)) {
    failType(operation, argument, 'a Float64Array or Float32Array', value);
  }
  if (like !== undefined && value.constructor !== like.constructor) {
    failType(operation, argument, `a ${like.constructor.name}`, value);
  }
}

/** An array of exactly the given kind. */
export function kind(
  operation: string,
  argument: string,
  value: unknown,
  constructor: new (length: number) => unknown,
): void {
  if (!(value instanceof constructor)) failType(operation, argument, `a ${constructor.name}`, value);
}

/** Checks one matrix (or `count` of them, `stride` apart) and describes it. */
export function matrix(
  operation: string,
  name: string,
  array: Real,
  offset: number,
  rows: number,
  cols: number,
  ld: number,
  ...batch: Batch
): Block {
  const [stride, count] = batch.length === 0 ? single : batch;
  checkOffset(operation, `${name}Offset`, offset);
  size(operation, `ld${name}`, ld, Math.max(1, rows));
  return within(operation, { name, array, offset, rows, cols, ld, stride, count });
}

/** Checks one contiguous vector of n entries (or `count` of them). */
export function vector(
  operation: string,
  name: string,
  array: Real | Int32Array,
  offset: number,
  n: number,
  ...batch: Batch
): Block {
  const [stride, count] = batch.length === 0 ? single : batch;
  checkOffset(operation, `${name}Offset`, offset);
  return within(operation, { name, array, offset, rows: n, cols: 1, ld: Math.max(1, n), stride, count });
}

/** Checks one vector of n entries, `increment` apart: a 1 x n matrix. */
export function strided(
  operation: string,
  name: string,
  array: Real,
  offset: number,
  n: number,
  increment: number,
): Block {
  checkOffset(operation, `${name}Offset`, offset);
  size(operation, `inc${name}`, increment, 1);
  return within(operation, { name, array, offset, rows: 1, cols: n, ld: increment, stride: 0, count: 1 });
}

function checkOffset(operation: string, argument: string, offset: number): void {
  const expected = 'an integer >= 0';
  if (typeof offset !== 'number') failType(operation, argument, expected, offset);
  if (!Number.isSafeInteger(offset) || offset < 0) failRange(operation, argument, expected, offset);
}

/** Number of entries from the first to the last entry of one item. */
function extent(block: Block): number {
  return block.rows === 0 || block.cols === 0 ? 0 : (block.cols - 1) * block.ld + block.rows;
}

function within(operation: string, block: Block): Block {
  const { name, array, offset, stride, count } = block;
  if (typeof stride !== 'number') failType(operation, `stride${name}`, 'an integer >= 0', stride);
  if (!Number.isSafeInteger(stride) || stride < 0) failRange(operation, `stride${name}`, 'an integer >= 0', stride);
  const one = extent(block);
  if (one === 0 || count === 0) return block;
  const last = offset + (count - 1) * stride + one;
  if (last > array.length) {
    failRange(
      operation,
      name,
      `at least ${last} entries (offset ${offset}, ${block.rows} x ${block.cols}, ld ${block.ld}${count > 1 ? `, ${count} items` : ''})`,
      array,
    );
  }
  return block;
}

/** Throws when the output shares an entry with one of the inputs, or when the items of an output batch share one. */
export function apart(operation: string, output: Block, ...inputs: (Block | null)[]): void {
  if (output.count > 1 && extent(output) > 0 && !itemsApart(output)) {
    failRange(
      operation,
      `stride${output.name}`,
      `a stride that keeps the items of ${output.name} apart`,
      output.stride,
    );
  }
  for (const input of inputs) {
    if (input !== null && blocksMeet(output, input)) {
      throw new RangeError(
        `${operation}: expected a range apart from ${input.name} for ${output.name}, received overlapping ranges of one buffer`,
      );
    }
  }
}

function itemsApart(block: Block): boolean {
  if (block.stride >= extent(block)) return true;
  for (let t = 1; t < block.count && t * block.stride < extent(block); t++)
    if (rectanglesMeet(block, 0, block, t * block.stride)) return false;
  return true;
}

function blocksMeet(a: Block, b: Block): boolean {
  if (a.array.buffer !== b.array.buffer) return false;
  const lengthA = extent(a),
    lengthB = extent(b);
  if (lengthA === 0 || lengthB === 0 || a.count === 0 || b.count === 0) return false;
  const bytes = a.array.BYTES_PER_ELEMENT;
  const startA = a.array.byteOffset + a.offset * bytes;
  const startB = b.array.byteOffset + b.offset * b.array.BYTES_PER_ELEMENT;
  const endA = startA + ((a.count - 1) * a.stride + lengthA) * bytes;
  const endB = startB + ((b.count - 1) * b.stride + lengthB) * b.array.BYTES_PER_ELEMENT;
  if (endA <= startB || endB <= startA) return false;
  // The spans meet. Sub-blocks of one matrix, and items of one interleaved batch, may still be disjoint.
  if (a.array.BYTES_PER_ELEMENT !== b.array.BYTES_PER_ELEMENT || (startB - startA) % bytes !== 0) return true;
  const distance = (startB - startA) / bytes;
  if (a.count === 1 && b.count === 1) return rectanglesMeet(a, 0, b, distance);
  if (a.stride !== b.stride && a.count > 1 && b.count > 1) return true;
  const stride = a.count > 1 ? a.stride : b.stride;
  const from = a.count > 1 ? 1 - a.count : 0,
    to = b.count > 1 ? b.count - 1 : 0;
  for (let t = from; t <= to; t++) {
    const d = distance + t * stride;
    if (d < lengthA && -d < lengthB && rectanglesMeet(a, 0, b, d)) return true;
  }
  return false;
}

/** Whether rectangle a at `offsetA` and b at `offsetB` share an entry; exact for one leading dimension, else careful. */
function rectanglesMeet(a: Block, offsetA: number, b: Block, offsetB: number): boolean {
  const lengthA = extent(a),
    lengthB = extent(b);
  if (offsetA + lengthA <= offsetB || offsetB + lengthB <= offsetA) return false;
  // One column has no leading dimension of its own.
  const ld = a.cols === 1 ? b.ld : a.ld;
  if (a.cols > 1 && b.cols > 1 && a.ld !== b.ld) return true;
  if (a.rows > ld || b.rows > ld) return true;
  const [first, second, distance] = offsetA <= offsetB ? [a, b, offsetB - offsetA] : [b, a, offsetA - offsetB];
  const row = distance % ld,
    col = Math.floor(distance / ld);
  if (col < first.cols && row < first.rows) return true;
  // The part of `second` that runs past the foot of its column comes out at the head of the next one.
  return row + second.rows > ld && col + 1 < first.cols;
}
