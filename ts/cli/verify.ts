/** `deep-hessian verify`: the numerical regression suite on this machine. */
import { existsSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Option, type Command } from 'commander';
import { ioError, writeFileAtomicSync } from '../data/atomic.js';
import { readTextSync } from '../data/regular-file.js';
import { DeepHessianError } from '../errors.js';
import { findDrift, verificationGroups, verify } from '../verify/index.js';
import type { Drift, Verdict, VerificationGroup, VerificationReport } from '../verify/index.js';
import { exitCodes } from './failure.js';
import { catchInterrupts } from './interrupt.js';
import { formatNumber, formatTable, type Terminal } from './terminal.js';

/** The record of the release, carried in the package. */
const releaseRecord = join(
  dirname(fileURLToPath(import.meta.url)),
  '..',
  '..',
  'share',
  'verification',
  'release.json',
);

interface VerifyFlags {
  only?: string;
  json?: boolean;
  verbose?: boolean;
  out?: string;
  compare?: string;
}

export function addVerifyCommand(program: Command, terminal: Terminal, setCode: (code: number) => void): void {
  const command = program
    .command('verify')
    .description('Check the numerics of this machine: kernels, carried cases, identities; a verdict each.')
    .addOption(new Option('--only <group>', 'one group of checks').choices(verificationGroups))
    .option('--json', 'the report as one JSON object')
    .option('--verbose', 'a line for every check of the carried cases, too')
    .option('--out <file.json>', 'keep the report')
    .option('--compare <file.json>', 'show what changed since an earlier report; "release" is the one of this release')
    .addHelpText(
      'after',
      '\nThe exit code is 1 when a check fails.\n\nExamples:\n  deep-hessian verify\n  deep-hessian verify --out before.json\n  deep-hessian verify --compare before.json\n',
    )
    .action(async () => setCode(await run(command.opts<VerifyFlags>(), terminal)));
}

async function run(flags: VerifyFlags, terminal: Terminal): Promise<number> {
  // An unreadable file is told before the work, not after it.
  const earlier =
    flags.compare === undefined ? null : readReport(flags.compare === 'release' ? releaseRecord : flags.compare);
  const interrupt = catchInterrupts((name) => terminal.err(`${name}: stopping\n`));
  let report: VerificationReport;
  try {
    report = await verify({
      signal: interrupt.signal,
      ...(flags.only === undefined ? {} : { groups: [flags.only as VerificationGroup] }),
    });
  } finally {
    interrupt.release();
  }
  const code = interrupt.code();
  if (code !== null) return code;
  const drift = earlier === null ? null : findDrift(restrict(earlier, flags.only), report);
  if (flags.out !== undefined) writeFileAtomicSync(flags.out, recordText(report));
  if (flags.json === true) terminal.out(`${JSON.stringify({ ...report, ...(drift === null ? {} : { drift }) })}\n`);
  else terminal.out(reportText(report, flags.verbose === true, drift));
  return report.passed ? exitCodes.success : exitCodes.failure;
}

function restrict(report: VerificationReport, only: string | undefined): VerificationReport {
  if (only === undefined) return report;
  return { ...report, verdicts: report.verdicts.filter(({ group }) => group === only) };
}

/** Reads a report that `--out` has written. */
function readReport(path: string): VerificationReport {
  if (!existsSync(path)) throw new DeepHessianError('io', `verify: the report ${path} is not there`, { path });
  let value: Partial<VerificationReport> | null;
  try {
    value = JSON.parse(readTextSync(path, { piped: true })) as Partial<VerificationReport> | null;
  } catch (error) {
    if (error instanceof SyntaxError)
      throw new DeepHessianError('bad-file', `${path}: not JSON (${error.message})`, { path });
    throw ioError('reading', path, error);
  }
  const sound =
    value?.format === 'deep-hessian-verification' &&
    Array.isArray(value.verdicts) &&
    value.verdicts.every(
      (verdict: Verdict | null) => typeof verdict?.name === 'string' && typeof verdict.group === 'string',
    );
  if (!sound) throw new DeepHessianError('bad-file', `${path}: not a report of deep-hessian verify`, { path });
  const verdicts = value!.verdicts!.map((verdict) => ({ ...verdict, error: verdict.error ?? Number.NaN }));
  return { ...value, verdicts } as VerificationReport;
}

/** The report as a file, a verdict a line, without the paths of this machine. */
function recordText({ environment, verdicts, ...rest }: VerificationReport): string {
  const { kernels } = environment;
  const file = kernels.file === null ? null : basename(kernels.file);
  // The system's name without its build, which says nothing of the numerics.
  const platform = environment.platform
    .split(' ')
    .filter((_, i) => i !== 1)
    .join(' ');
  const head = JSON.stringify(
    { ...rest, environment: { ...environment, platform, kernels: { ...kernels, file } } },
    null,
    2,
  );
  return `${head.slice(0, -2)},\n  "verdicts": [\n${verdicts.map((verdict) => `    ${JSON.stringify(verdict)}`).join(',\n')}\n  ]\n}\n`;
}

const said = (passed: boolean): string => (passed ? 'pass' : 'FAIL');
const unitNames = { eps: 'eps', relative: '', count: '' };
const amount = (value: number, unit: Verdict['unit']): string =>
  Number.isNaN(value) ? '-' : `${formatNumber(value, 2)}${unitNames[unit] === '' ? '' : ` ${unitNames[unit]}`}`;

/** One line a check; the checks of a carried case that pass share one, with the one nearest to its bound. */
function rowsOf(verdicts: readonly Verdict[], verbose: boolean): string[][] {
  const rows: string[][] = [];
  const cases = new Map<string, Verdict[]>();
  for (const verdict of verdicts) {
    const { group, name, error, bound, unit, passed } = verdict;
    if (group === 'golden' && passed && !verbose) {
      const [first] = name.split(' ');
      if (cases.has(first)) cases.get(first)!.push(verdict);
      else {
        cases.set(first, [verdict]);
        rows.push(['case', first]);
      }
    } else rows.push([said(passed), name, amount(error, unit), amount(bound, unit)]);
  }
  return rows.map((row) => {
    if (row[0] !== 'case') return row;
    const members = cases.get(row[1])!;
    const worst = members.reduce((a, b) => (b.error / b.bound > a.error / a.bound ? b : a));
    const label = `${row[1]}, ${members.length} checks, worst:${worst.name.slice(row[1].length)}`;
    return [said(true), label, amount(worst.error, worst.unit), amount(worst.bound, worst.unit)];
  });
}

function reportText(report: VerificationReport, verbose: boolean, drift: Drift[] | null): string {
  const { environment, verdicts, failures, seconds } = report;
  const { kernels } = environment;
  const parts = [
    `deep-hessian ${environment.version}, node ${environment.node}, ${environment.cpu}\n` +
      `${kernels.version}, core ${kernels.core}, SIMD ${kernels.simd}\n`,
  ];
  for (const group of verificationGroups) {
    const own = verdicts.filter((verdict) => verdict.group === group);
    if (own.length === 0) continue;
    parts.push(`\n${formatTable(['', group, 'error', 'bound'], rowsOf(own, verbose))}\n`);
    for (const { name, note } of own) if (note !== undefined) parts.push(`  ${name}: ${note}\n`);
  }
  if (kernels.backend === 'typescript')
    parts.push('\nThe native core is not loaded: its TypeScript twins were compared with themselves.\n');
  if (drift !== null) {
    const rows = drift.map(({ name, before, now }) => [name, formatNumber(before, 2), formatNumber(now, 2)]);
    parts.push(rows.length === 0 ? '\nno drift\n' : `\n${formatTable(['drift', 'before', 'now'], rows)}\n`);
  }
  parts.push(
    `\n${failures === 0 ? 'PASS' : 'FAIL'}: ${verdicts.length - failures} of ${verdicts.length} checks passed in ${seconds.toFixed(1)} s\n`,
  );
  return parts.join('');
}
