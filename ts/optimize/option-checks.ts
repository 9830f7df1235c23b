/**
 * What the optimizers check alike: options by known names with their defaults, bounds of the damping, shares and gain ratios, the
 * device.
 */
import { checkKeys, checkNonNegative, checkObject, checkOneOf, checkPositive, describe, failRange } from '../checks.js';
import { chooseDevice, deviceNames, type DeviceKernels, type DeviceName } from '../device/index.js';

/** What an option is called: `options.rate` by programs, `--lr` on the command line. */
export type OptionNames = (option: string) => string;

/** An option that does not go with the others, or with the network. The registry, which knows the flags, says it again in these. */
export class OptionError extends RangeError {
  constructor(
    operation: string,
    /** the message behind the operation */
    readonly sentence: (nameOf: OptionNames) => string,
  ) {
    super(`${operation}: ${sentence((option) => `options.${option}`)}`);
    this.name = 'RangeError';
  }
}

/**
 * Refuses an option as it stands beside others, in the message form of `checks.ts`.
 *
 * @param expected what would have been right, where `nameOf` gives the names of the others
 * @throws OptionError
 */
export function failOption(
  operation: string,
  option: string,
  expected: (nameOf: OptionNames) => string,
  received: unknown,
): never {
  throw new OptionError(
    operation,
    (nameOf) => `expected ${expected(nameOf)} for ${nameOf(option)}, received ${describe(received)}`,
  );
}

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
    failOption(
      operation,
      'minimumDamping',
      (nameOf) => `a number <= ${nameOf('maximumDamping')} (${maximumDamping})`,
      minimumDamping,
    );
}

/** A number in [0, bound), as a share (bound 1) or the gain ratio of an accepted step (bound 1/4). */
export function checkBelow(operation: string, name: string, value: number, bound: number): void {
  checkNonNegative(operation, `options.${name}`, value);
  if (value >= bound) failRange(operation, `options.${name}`, `a number in [0, ${bound})`, value);
}

/**
 * A device by name, or an open one.
 *
 * @throws DeepHessianError 'device-unavailable' now, not at the first step, for a card that is not there
 */
export function checkDevice(operation: string, device: DeviceName | DeviceKernels): void {
  if (typeof device === 'object') return;
  checkOneOf(operation, 'options.device', device, deviceNames);
  if (device === 'cuda') chooseDevice(operation, device);
}
