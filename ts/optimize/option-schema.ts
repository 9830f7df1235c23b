/**
 * Options described as data: one table gives the command-line flags, the keys of configuration files, their
 * checks and the help texts.
 */
import { checkBoolean, checkOneOf, failRange, failType } from '../checks.js';
import { makeSchedule, readSchedule, type ScheduleSpec } from './schedules.js';

/** Any value that an option can have. */
export type OptionValue = number | boolean | string | ScheduleSpec;

/** One option. */
export interface OptionSpec {
  /** name in the options object of the library */
  name: string;
  /** command-line flag without the dashes, and key in configuration files */
  flag: string;
  /** Kind of the value. */
  type: 'number' | 'integer' | 'boolean' | 'choice' | 'string' | 'schedule';
  /** default as shown in help; undefined: off, or decided by other options */
  default?: OptionValue;
  /** default of a training run on a stream of batches, where it is another one */
  streamDefault?: OptionValue;
  /** smallest value allowed */
  minimum?: number;
  /** values must be greater than this */
  above?: number;
  /** largest value allowed */
  maximum?: number;
  /** values must be less than this */
  below?: number;
  /** values allowed, for type 'choice' */
  choices?: readonly string[];
  /** another option, by flag, and the values with which this one has an effect; with others it is refused */
  needs?: { flag: string; values: readonly OptionValue[] };
  /** default that depends on the network, where `default` is not given */
  defaultFor?: (network: { loss: string }) => OptionValue;
  /** one line for help texts */
  help: string;
}

/** "a number > 0", "an integer from 1 to 10", ... */
export function describeOption(spec: OptionSpec): string {
  switch (spec.type) {
    case 'boolean':
      return 'true or false';
    case 'choice':
      return `one of ${(spec.choices ?? []).join(', ')}`;
    case 'schedule':
      return 'a schedule';
    case 'string':
      return 'text';
    default: {
      const bounds: string[] = [];
      if (spec.above !== undefined) bounds.push(`> ${spec.above}`);
      if (spec.minimum !== undefined) bounds.push(`>= ${spec.minimum}`);
      if (spec.below !== undefined) bounds.push(`< ${spec.below}`);
      if (spec.maximum !== undefined) bounds.push(`<= ${spec.maximum}`);
      return `${spec.type === 'integer' ? 'an integer' : 'a number'}${bounds.length > 0 ? ` ${bounds.join(' and ')}` : ''}`;
    }
  }
}

/** A schedule as text or as an object. */
function checkSchedule(operation: string, argument: string, value: unknown): ScheduleSpec {
  if (typeof value === 'string') return readSchedule(operation, argument, value);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    failType(operation, argument, "a schedule (text like 'cosine:1000', or an object)", value);
  }
  makeSchedule(operation, argument, value as ScheduleSpec);
  return value as ScheduleSpec;
}

/** What messages call an option: `--lr` on the command line, `'lr'` where settings are an object's keys. */
export type FlagWords = (flag: string) => string;
export const asFlag: FlagWords = (flag) => `--${flag}`;
export const asKey: FlagWords = (flag) => `'${flag}'`;

/**
 * Checks one value against its schema and returns it in the form that the optimizer takes (a schedule's short text
 * form becomes its description).
 */
export function checkOption(operation: string, spec: OptionSpec, value: unknown, wordFor = asFlag): OptionValue {
  const argument = wordFor(spec.flag);
  switch (spec.type) {
    case 'boolean':
      checkBoolean(operation, argument, value);
      return value;
    case 'choice':
      checkOneOf(operation, argument, value, spec.choices ?? []);
      return value;
    case 'string':
      if (typeof value !== 'string') failType(operation, argument, 'text', value);
      if (value === '') failRange(operation, argument, 'text that is not empty', value);
      return value;
    case 'schedule':
      return checkSchedule(operation, argument, value);
    default: {
      if (typeof value !== 'number') failType(operation, argument, describeOption(spec), value);
      const within =
        (spec.type === 'integer' ? Number.isSafeInteger(value) : Number.isFinite(value)) &&
        (spec.above === undefined || value > spec.above) &&
        (spec.minimum === undefined || value >= spec.minimum) &&
        (spec.below === undefined || value < spec.below) &&
        (spec.maximum === undefined || value <= spec.maximum);
      if (!within) failRange(operation, argument, describeOption(spec), value);
      return value;
    }
  }
}
