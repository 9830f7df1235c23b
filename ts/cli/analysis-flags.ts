/** What the commands that look at a network have in common: flags of its data, numbers, the way from question to report. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { makeFolder, writeFileAtomic } from '../data/atomic.js';
import { DeepHessianError } from '../errors.js';
import { kernels } from '../native/index.js';
import { openSubject, type Subject } from '../analysis/subject.js';
import { addFlagGroups, collectSettings } from './flags.js';
import { StageBar } from './stage-bar.js';
import { formatCount, type Terminal } from './terminal.js';
import { freeRunFolder } from './train.js';

/** Flags of data and network, of the seed and the threads, and of a configuration file. */
export function addSubjectFlags(command: Command): void {
  addFlagGroups(command, ['Data', 'Network'], ['seed', 'threads']);
  command
    .optionsGroup('Analysis:')
    .option(
      '--samples <n>',
      'training samples that the loss averages over (default: the full or fixed batch, else 1000)',
    )
    .option('--config <file>', 'settings from a JSON or YAML file, keys named like these flags; flags win');
}

/** The subject that the command line names; images that were left out are said. */
export async function subjectOf(command: Command, path: string | undefined): Promise<Subject> {
  const operation = command.name();
  const { samples } = command.opts<{ samples?: string }>();
  const given = await collectSettings(command);
  const count = samples === undefined ? {} : { samples: wholeNumber(operation, '--samples', samples, 1) };
  const subject = await openSubject(operation, { given, ...(path === undefined ? {} : { path }), ...count });
  kernels.setThreads((given.threads as number | undefined) ?? 1);
  return subject;
}

/** "network of 4 layers, 226 parameters at step 30 of runs/x on spirals, all 200 training samples" */
export function describeSubject({ network, origin, train, choice }: Subject): string {
  let at: string;
  if (origin.kind === 'checkpoint') at = `after ${origin.step} steps`;
  else if (origin.kind === 'weights') at = `with the weights of ${origin.file}`;
  else at = `freshly initialised (${origin.scheme}, seed ${origin.seed})`;
  return `a network of ${network.layers.length} layers ${at} on ${train.name}, ${choice}`;
}

/** A decimal number from a flag. */
export function decimal(
  operation: string,
  flag: string,
  text: string,
  { above, minimum }: { above?: number; minimum?: number } = {},
): number {
  const value = text.trim() === '' ? NaN : Number(text);
  const low = above !== undefined ? `> ${above}` : minimum !== undefined ? `>= ${minimum}` : '';
  if (
    !Number.isFinite(value) ||
    (above !== undefined && value <= above) ||
    (minimum !== undefined && value < minimum)
  ) {
    throw new RangeError(
      `${operation}: expected a finite number${low === '' ? '' : ` ${low}`} for ${flag}, received "${text}"`,
    );
  }
  return value;
}

/** A whole number from a flag. */
export function wholeNumber(operation: string, flag: string, text: string, minimum: number, maximum = 1e9): number {
  const value = text.trim() === '' ? NaN : Number(text);
  if (!Number.isInteger(value) || value < minimum || value > maximum) {
    throw new RangeError(
      `${operation}: expected an integer from ${minimum} to ${maximum} for ${flag}, received "${text}"`,
    );
  }
  return value;
}

/** One of a list of words from a flag. */
export function oneOf<T extends string>(operation: string, flag: string, text: string, allowed: readonly T[]): T {
  if (!(allowed as readonly string[]).includes(text)) {
    throw new RangeError(
      `${operation}: expected one of ${allowed.map((word) => `'${word}'`).join(', ')} for ${flag}, received "${text}"`,
    );
  }
  return text as T;
}

/** Flags of where the results go and what is printed, for commands that end in {@link reportOnSubject}. */
export function addResultFlags(command: Command): void {
  command
    .option('--out <folder>', `results and report (default: runs/${command.name()}-<time>)`)
    .option('--json', 'the result as one JSON object on standard output')
    .option('--quiet', 'no progress');
}

/** Tells a progress bar where the work is. */
type OnProgress = (stage: string, fraction: number) => void;

/**
 * Asks a question of the subject that the command line names, with progress, and leaves report.html and results.json in a
 * folder. Standard output has the record with --json, else its text.
 */
export async function reportOnSubject<R>(
  command: Command,
  path: string | undefined,
  terminal: Terminal,
  question: {
    ask(subject: Subject, onProgress: OnProgress): R | Promise<R>;
    text(record: R): string;
    html(record: R): string;
  },
): Promise<void> {
  const { out, json = false, quiet = false } = command.opts<{ out?: string; json?: boolean; quiet?: boolean }>();
  const folder = checkResultFolder(out ?? freeRunFolder(command.name()));
  const silent = quiet || json;
  const subject = await subjectOf(command, path);
  if (!silent) terminal.err(`${describeSubject(subject)}; ${formatCount(subject.network.parameterCount)} parameters\n`);
  const bar = new StageBar(terminal, command.name(), silent);
  let record: R;
  try {
    record = await question.ask(subject, (stage, fraction) => bar.update(stage, fraction));
  } finally {
    bar.finish();
  }
  const html = question.html(record);
  terminal.out(`${json ? JSON.stringify(record) : question.text(record)}\n`);
  await writeResults(folder, html, record, terminal, silent);
}

/** Refuses a folder that holds results already, before any work is done. */
function checkResultFolder(folder: string): string {
  for (const name of ['results.json', 'config.json']) {
    if (existsSync(join(folder, name))) {
      throw new DeepHessianError('io', `${folder}: the folder holds results already; choose another one`, {
        path: folder,
      });
    }
  }
  return folder;
}

/** Writes report.html and results.json, and says where. */
async function writeResults(
  folder: string,
  html: string,
  results: unknown,
  terminal: Terminal,
  quiet: boolean,
): Promise<void> {
  makeFolder(folder);
  const report = join(folder, 'report.html');
  const file = join(folder, 'results.json');
  await writeFileAtomic(report, html);
  await writeFileAtomic(file, `${JSON.stringify(results)}\n`);
  if (!quiet) terminal.err(`report:  ${report}\nresults: ${file}\n`);
}
