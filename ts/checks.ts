/**
 * Argument checks with one message form:
 *
 *     <operation>: expected <what> for <argument>, received <value>
 *
 * Wrong kinds are `TypeError`s, wrong values and shapes `RangeError`s.
 */

/** A short, safe description of any received value. */
export function describe(value: unknown): string {
  if (value === null) return 'null';
  if (typeof value === 'string')
    return value.length > 60 ? `"${value.slice(0, 57)}..." (string)` : `"${value}" (string)`;
  if (typeof value === 'number') return Object.is(value, -0) ? '-0' : String(value);
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value === 'boolean' || value === undefined) return String(value);
  if (typeof value === 'function') return `function ${value.name || '(anonymous)'}`;
  if (ArrayBuffer.isView(value)) {
    const length = (value as unknown as { length?: number }).length;
    return `${value.constructor.name}${length === undefined ? '' : ` of length ${length}`}`;
  }
  if (Array.isArray(value)) return `array of length ${value.length}`;
  return `an instance of ${value.constructor?.name ?? 'Object'}`;
}

/** Throws the `TypeError` of the message form above. */
export function failType(operation: string, argument: string, expected: string, received: unknown): never {
  throw new TypeError(`${operation}: expected ${expected} for ${argument}, received ${describe(received)}`);
}

/** Throws the `RangeError` of the message form above. */
export function failRange(operation: string, argument: string, expected: string, received: unknown): never {
  throw new RangeError(`${operation}: expected ${expected} for ${argument}, received ${describe(received)}`);
}

export function checkObject(
  operation: string,
  argument: string,
  value: unknown,
): asserts value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || ArrayBuffer.isView(value)) {
    failType(operation, argument, 'an object', value);
  }
}

export function checkBoolean(operation: string, argument: string, value: unknown): asserts value is boolean {
  if (typeof value !== 'boolean') failType(operation, argument, 'true or false', value);
}

/** An integer in [min, max]. */
export function checkInteger(
  operation: string,
  argument: string,
  value: unknown,
  min = 0,
  max = Number.MAX_SAFE_INTEGER,
): asserts value is number {
  const expected = max === Number.MAX_SAFE_INTEGER ? `an integer >= ${min}` : `an integer from ${min} to ${max}`;
  if (typeof value !== 'number') failType(operation, argument, expected, value);
  if (!Number.isInteger(value) || value < min || value > max) failRange(operation, argument, expected, value);
}

/** A finite number. */
export function checkFinite(operation: string, argument: string, value: unknown): asserts value is number {
  if (typeof value !== 'number') failType(operation, argument, 'a finite number', value);
  if (!Number.isFinite(value)) failRange(operation, argument, 'a finite number', value);
}

/** A finite number > 0. */
export function checkPositive(operation: string, argument: string, value: unknown): asserts value is number {
  if (typeof value !== 'number') failType(operation, argument, 'a finite number > 0', value);
  if (!Number.isFinite(value) || value <= 0) failRange(operation, argument, 'a finite number > 0', value);
}

/** A finite number >= 0. */
export function checkNonNegative(operation: string, argument: string, value: unknown): asserts value is number {
  if (typeof value !== 'number') failType(operation, argument, 'a finite number >= 0', value);
  if (!Number.isFinite(value) || value < 0) failRange(operation, argument, 'a finite number >= 0', value);
}

/** One of a closed list of strings. */
export function checkOneOf<T extends string>(
  operation: string,
  argument: string,
  value: unknown,
  allowed: readonly T[],
): asserts value is T {
  const expected = `one of ${allowed.map((a) => `'${a}'`).join(', ')}`;
  if (typeof value !== 'string') failType(operation, argument, expected, value);
  if (!(allowed as readonly string[]).includes(value)) failRange(operation, argument, expected, value);
}

/** A Float64Array of exactly `length` finite numbers. */
export function checkVector(
  operation: string,
  argument: string,
  value: unknown,
  length: number,
): asserts value is Float64Array {
  if (!(value instanceof Float64Array)) failType(operation, argument, `a Float64Array of length ${length}`, value);
  if (value.length !== length) failRange(operation, argument, `a Float64Array of length ${length}`, value);
  checkAllFinite(operation, argument, value);
}

/** Index of the first entry that is not finite, or -1. */
export function firstNonFinite(values: ArrayLike<number>): number {
  // x - x is 0 for finite x and NaN otherwise: one branch for the whole array in the common case.
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i] - values[i];
  if (sum === 0) return -1;
  for (let i = 0; i < values.length; i++) if (!Number.isFinite(values[i])) return i;
  return -1;
}

/** Every entry finite; the message names the first that is not. */
export function checkAllFinite(operation: string, argument: string, values: ArrayLike<number>): void {
  const i = firstNonFinite(values);
  if (i >= 0) failRange(operation, `${argument}[${i}]`, 'a finite number', values[i]);
}

/** An object with only known keys; the message names the unknown one and lists those allowed. */
export function checkKeys(operation: string, argument: string, value: unknown, allowed: readonly string[]): void {
  checkObject(operation, argument, value);
  for (const key of Object.keys(value)) {
    if (!allowed.includes(key)) {
      throw new RangeError(`${operation}: unknown option '${key}' in ${argument}; allowed: ${allowed.join(', ')}`);
    }
  }
}
