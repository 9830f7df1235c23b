/** What the optimizers check alike: options by known names with their defaults, bounds of the damping, shares and gain ratios. */
import { checkKeys, checkNonNegative, checkObject, checkPositive, failRange } from '../checks.js';

/**
 * The options that were given over the defaults; an option that is undefined counts as not given.
 *
 * @param optional names without a default
 * @throws TypeError or RangeError for what is no object, or has other keys
 */
export function settingsOf<S extends object>(
  operation: string,
  options: { [K in keyof S]?: S[K] | undefined },
  defaults: S,
  optional: readonly (keyof S & string)[] = [],
): S {
  checkObject(operation, 'options', options);
  checkKeys(operation, 'options', options, [...Object.keys(defaults), ...optional]);
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as Partial<S>;
  return { ...defaults, ...given };
}

/** A damping that starts at `damping` and moves between two bounds, all > 0. */
export function checkDampingBounds(
  operation: string,
  settings: { damping: number; minimumDamping: number; maximumDamping: number },
): void {
  for (const name of ['damping', 'minimumDamping', 'maximumDamping'] as const)
    checkPositive(operation, `options.${name}`, settings[name]);
  const { minimumDamping, maximumDamping } = settings;
  if (minimumDamping > maximumDamping)
    failRange(operation, 'options.minimumDamping', `a number <= maximumDamping (${maximumDamping})`, minimumDamping);
}

/** A number in [0, bound), as a share (bound 1) or the gain ratio of an accepted step (bound 1/4). */
export function checkBelow(operation: string, name: string, value: number, bound: number): void {
  checkNonNegative(operation, `options.${name}`, value);
  if (value >= bound) failRange(operation, `options.${name}`, `a number in [0, ${bound})`, value);
}
