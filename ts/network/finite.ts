/** Finite checks cheap enough for every call: one kernel pass, the slow search only where that pass overflows. */
import { checkAllFinite, failRange, failType } from '../checks.js';
import { kernels } from '../native/index.js';

/** Every entry finite, or a RangeError that names the first that is not. */
export function checkFiniteFast(operation: string, argument: string, values: Float64Array): void {
  // x . x is finite only when every entry is; a large finite vector may overflow it and then takes the exact search.
  if (!(kernels.dot(values.length, values, 0, values, 0) < Infinity)) checkAllFinite(operation, argument, values);
}

/** A Float64Array of exactly `length` entries, not searched for values that are not finite. */
export function checkLength(
  operation: string,
  argument: string,
  value: unknown,
  length: number,
): asserts value is Float64Array {
  if (!(value instanceof Float64Array)) failType(operation, argument, `a Float64Array of length ${length}`, value);
  if (value.length !== length) failRange(operation, argument, `a Float64Array of length ${length}`, value);
}

/** A Float64Array of exactly `length` finite numbers. */
export function checkVectorFast(
  operation: string,
  argument: string,
  value: unknown,
  length: number,
): asserts value is Float64Array {
  checkLength(operation, argument, value, length);
  checkFiniteFast(operation, argument, value);
}
