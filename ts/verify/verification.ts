/**
 * The numerical regression suite on the machine at hand: every kernel, the carried cases, and identities, each with its
 * error. A report can be kept and compared with an earlier one: a new BLAS, processor or release shows as drift.
 */
import { checkKeys, checkObject, checkOneOf, failType } from '../checks.js';
import { kernels } from '../native/index.js';
import { describeEnvironment, type Environment } from '../train/environment.js';
import { goldenChecks } from './golden-checks.js';
import { identityChecks } from './identity-checks.js';
import { kernelChecks } from './kernel-checks.js';
import { judge, type Verdict } from './verdict.js';

/** All groups of checks, by name. */
export const verificationGroups = ['kernels', 'golden', 'identities'] as const;
/** Group of checks: kernels against twins, carried golden cases, mathematical identities. */
export type VerificationGroup = (typeof verificationGroups)[number];

/** Options of {@link verify}. */
export interface VerifyOptions {
  /** Default: all. */
  groups?: readonly VerificationGroup[];
  /** Called after every check. */
  onVerdict?: (verdict: Verdict) => void;
  /** Ends the suite after the check in progress; the report then holds what was found. */
  signal?: AbortSignal;
}

/** Result of {@link verify}: plain data, also written as JSON. */
export interface VerificationReport {
  format: 'deep-hessian-verification';
  version: 1;
  /** Machine and software. */
  environment: Environment;
  /** whether every check passed */
  passed: boolean;
  /** Checks that failed. */
  failures: number;
  /** Seconds that the suite took. */
  seconds: number;
  /** One entry a check. */
  verdicts: Verdict[];
}

/** How a check changed between two reports. */
export interface Drift {
  /** Group of the check. */
  group: string;
  /** Name of the check. */
  name: string;
  /** error in the older report; NaN for a check that it lacks */
  before: number;
  /** error in the newer report; NaN for a check that it lacks */
  now: number;
}

/**
 * Runs the suite: under a minute on one core.
 *
 * @example
 * const { passed, verdicts } = await verify();
 */
export async function verify(options: VerifyOptions = {}): Promise<VerificationReport> {
  const operation = 'verify';
  checkObject(operation, 'options', options);
  checkKeys(operation, 'options', options, ['groups', 'onVerdict', 'signal']);
  const { groups = verificationGroups, onVerdict, signal } = options as VerifyOptions;
  if (!Array.isArray(groups)) failType(operation, 'groups', 'a list of groups', groups);
  for (const group of groups) checkOneOf(operation, 'groups', group, verificationGroups);
  const start = performance.now();
  const verdicts: Verdict[] = [];
  for (const group of groups as readonly VerificationGroup[]) {
    const checks =
      group === 'kernels' ? kernelChecks(kernels) : group === 'golden' ? await goldenChecks() : identityChecks();
    for (const check of checks) {
      if (signal?.aborted) break;
      const verdict = await judge(check);
      verdicts.push(verdict);
      onVerdict?.(verdict);
      // Lets signals and timers through.
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
  }
  const failures = verdicts.filter(({ passed }) => !passed).length;
  return {
    format: 'deep-hessian-verification',
    version: 1,
    environment: describeEnvironment(),
    passed: failures === 0 && !signal?.aborted,
    failures,
    seconds: (performance.now() - start) / 1000,
    verdicts,
  };
}

/** Errors below this many units or this relative error, or a hundredth of their bound, are noise: they are no drift. */
const noise = { eps: 2, relative: 1e-13, count: 0 };

/**
 * What changed between two reports: checks that are in one only, that changed their verdict, or whose error changed by more
 * than a factor.
 *
 * @param factor default 10
 */
export function findDrift(before: VerificationReport, now: VerificationReport, factor = 10): Drift[] {
  const key = ({ group, name }: { group: string; name: string }): string => `${group}/${name}`;
  const earlier = new Map(before.verdicts.map((verdict) => [key(verdict), verdict]));
  const drifts: Drift[] = [];
  for (const verdict of now.verdicts) {
    const { group, name, unit, error, bound, passed } = verdict;
    const old = earlier.get(key(verdict));
    earlier.delete(key(verdict));
    const floor = Math.max(noise[unit], bound / 100);
    const [a, b] = [Math.max(old?.error ?? Number.NaN, floor), Math.max(error, floor)];
    const steady = a === b || (b <= factor * a && a <= factor * b);
    if (old === undefined || !steady || old.passed !== passed)
      drifts.push({ group, name, before: old?.error ?? Number.NaN, now: error });
  }
  for (const { group, name, error } of earlier.values()) drifts.push({ group, name, before: error, now: Number.NaN });
  return drifts;
}
