import { checkKeys, checkObject } from '../checks.js';

/** An options object with known keys only (does not narrow its type, unlike the checks it is made of). */
export function checkOptions(operation: string, options: object, allowed: readonly string[]): void {
  const value: unknown = options;
  checkObject(operation, 'options', value);
  checkKeys(operation, 'options', value, allowed);
}
