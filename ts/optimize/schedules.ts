/**
 * Learning-rate schedules: a factor on the base rate as a function of the step number t = 0, 1, 2, ...
 *
 *     constant   1
 *     step       decay^floor(t / every)
 *     cosine     minimum + (1 - minimum) (1 + cos(pi min(t, total) / total)) / 2     (Loshchilov & Hutter 2017, eq. 5)
 *     warm-up    any of these times min(1, (t + 1) / warmup)                          (Goyal et al. 2017, section 2.2)
 *
 * A schedule depends on the step number alone, so a resumed run needs nothing but its counter.
 */
import { checkInteger, checkKeys, checkObject, checkOneOf, checkPositive, failRange } from '../checks.js';

/** A description of a schedule that can be written to a file. */
export interface ScheduleSpec {
  /** form of the schedule */
  kind: 'constant' | 'step' | 'cosine';
  /** steps of linear warm-up, default 0 (for every kind) */
  warmup?: number;
  /** kind 'step': steps between two decays */
  every?: number;
  /** kind 'step': factor at each decay, in (0, 1], default 0.1 */
  decay?: number;
  /** kind 'cosine': step at which the minimum is reached */
  total?: number;
  /** kind 'cosine': fraction of the base rate at the end, in [0, 1], default 0 */
  minimum?: number;
}

/** Factor on the base rate at step t (0-based). */
export type Schedule = (step: number) => number;

const kinds = ['constant', 'step', 'cosine'] as const;

/**
 * Builds a schedule.
 *
 * @throws TypeError or RangeError naming the field that is wrong
 * @example
 * const schedule = createSchedule({ kind: 'cosine', total: 1000, warmup: 50 });
 * const rate = 0.1 * schedule(step);
 */
export function createSchedule(spec: ScheduleSpec = { kind: 'constant' }): Schedule {
  return makeSchedule('createSchedule', 'schedule', spec);
}

/** {@link createSchedule} for whoever calls the schedule `argument`. */
export function makeSchedule(operation: string, argument: string, spec: ScheduleSpec): Schedule {
  checkObject(operation, argument, spec);
  const kind: string = (spec as ScheduleSpec).kind;
  checkOneOf(operation, `${argument}.kind`, kind, kinds);
  const { warmup = 0, every, decay = 0.1, total, minimum = 0 } = spec as ScheduleSpec;
  checkInteger(operation, `${argument}.warmup`, warmup, 0);
  const warm: Schedule = warmup === 0 ? () => 1 : (t) => Math.min(1, (t + 1) / warmup);
  switch (kind) {
    case 'constant':
      checkKeys(operation, argument, spec, ['kind', 'warmup']);
      return warm;
    case 'step':
      checkKeys(operation, argument, spec, ['kind', 'warmup', 'every', 'decay']);
      checkInteger(operation, `${argument}.every`, every, 1);
      checkPositive(operation, `${argument}.decay`, decay);
      if (decay > 1) failRange(operation, `${argument}.decay`, 'a number in (0, 1]', decay);
      return (t) => warm(t) * Math.pow(decay, Math.floor(t / every));
    case 'cosine':
      checkKeys(operation, argument, spec, ['kind', 'warmup', 'total', 'minimum']);
      checkInteger(operation, `${argument}.total`, total, 1);
      if (typeof minimum !== 'number' || !(minimum >= 0 && minimum <= 1)) {
        failRange(operation, `${argument}.minimum`, 'a number in [0, 1]', minimum);
      }
      return (t) => warm(t) * (minimum + (1 - minimum) * 0.5 * (1 + Math.cos((Math.PI * Math.min(t, total)) / total)));
  }
}

/**
 * Reads the short text form of the command line:
 *
 *     constant | step:EVERY[,DECAY] | cosine:TOTAL[,MINIMUM]      each with an optional +warmup:STEPS
 *
 * @example
 * parseSchedule('cosine:5000,0.01+warmup:200'); // { kind: 'cosine', total: 5000, minimum: 0.01, warmup: 200 }
 */
export function parseSchedule(text: string): ScheduleSpec {
  return readSchedule('parseSchedule', 'schedule', text);
}

/** {@link parseSchedule} for whoever calls the schedule `argument`. */
export function readSchedule(operation: string, argument: string, text: string): ScheduleSpec {
  const form = "'constant', 'step:EVERY[,DECAY]' or 'cosine:TOTAL[,MINIMUM]', each with an optional '+warmup:STEPS'";
  const [main, ...extras] = String(text).trim().split('+');
  const [kind, list = ''] = main.split(':');
  const numbers = list === '' ? [] : list.split(',').map((part) => (part.trim() === '' ? NaN : Number(part)));
  if (!(kinds as readonly string[]).includes(kind) || numbers.some((x) => !Number.isFinite(x)) || numbers.length > 2) {
    failRange(operation, argument, form, text);
  }
  if (kind === 'constant' ? numbers.length > 0 : numbers.length === 0) failRange(operation, argument, form, text);
  const spec: ScheduleSpec = { kind: kind as ScheduleSpec['kind'] };
  if (kind === 'step') {
    spec.every = numbers[0];
    if (numbers.length > 1) spec.decay = numbers[1];
  } else if (kind === 'cosine') {
    spec.total = numbers[0];
    if (numbers.length > 1) spec.minimum = numbers[1];
  }
  if (extras.length > 1) failRange(operation, argument, form, text);
  if (extras.length === 1) {
    const match = /^warmup:(\d+)$/.exec(extras[0].trim());
    if (match === null) failRange(operation, argument, form, text);
    spec.warmup = Number(match[1]);
  }
  makeSchedule(operation, argument, spec);
  return spec;
}
