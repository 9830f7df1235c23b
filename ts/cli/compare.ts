/** `deep-hessian compare` and `deep-hessian start`: optimizers against each other at equal time, with a table and a report. */
import { type Command } from 'commander';
import { checkInteger } from '../checks.js';
import { makeFolder, writeFileAtomic } from '../data/atomic.js';
import { DeepHessianError } from '../errors.js';
import { optimizerNames } from '../optimize/registry.js';
import { compare, planComparison, type Comparison, type Contestant } from '../train/compare.js';
import { describeEnvironment } from '../train/environment.js';
import { buildBudget } from '../train/experiment.js';
import { renderComparison } from '../train/report.js';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { exitCodes } from './failure.js';
import { addRunFlags, collectSettings, optimizerHelp } from './flags.js';
import { catchInterrupts } from './interrupt.js';
import { Progress } from './progress.js';
import { formatCount, formatNumber, formatSeconds, formatTable, type Terminal } from './terminal.js';
import { freeRunFolder, reportBroken } from './train.js';

interface CompareFlags {
  optimizers?: string;
  seeds?: string;
  rates?: string[];
  set?: string[];
  out?: string;
  json?: boolean;
  quiet?: boolean;
}

const collect = (value: string, previous: string[] = []): string[] => [...previous, value];

const examples = `
Examples:
  deep-hessian start
  deep-hessian compare --optimizers gauss-newton,adam --seeds 5 --time-budget 10
  deep-hessian compare --data csv --file table.csv --optimizers gauss-newton,sgd,adam --rates adam=1e-2,1e-3 --set gauss-newton.damping=1
`;

export function addCompareCommands(program: Command, terminal: Terminal, setCode: (code: number) => void): void {
  for (const name of ['start', 'compare'] as const) {
    const command = program
      .command(name)
      .description(
        name === 'start'
          ? 'The default job: two spirals through 30 layers, exact second-order steps against tuned SGD and Adam at equal time.'
          : 'Run several optimizers on the same problem at equal time.',
      );
    addRunFlags(command, ['optimizer', 'use-hessian', 'seed', 'checkpoint-every', 'curvature-share', 'lr']);
    command
      .optionsGroup('Comparison:')
      .option('--optimizers <names>', 'names with commas between (default: gauss-newton,sgd,adam)')
      .option('--seeds <n or list>', 'number of seeds, or the seeds with commas between', '1')
      .option(
        '--rates <name=list>',
        'learning rates to try for an optimizer; the best one counts (repeatable)',
        collect,
      )
      .option('--set <name.flag=value>', 'option of one optimizer (repeatable)', collect)
      .optionsGroup('Run:')
      .option('--config <file>', 'settings from a JSON or YAML file, keys named like these flags; flags win')
      .option('--out <folder>', `folder of results and report (default: runs/${name}-<time>)`)
      .option('--json', 'one JSON record a line on standard output')
      .option('--quiet', 'no progress')
      .addHelpText('after', () => optimizerHelp() + examples)
      .action(async () => setCode(await runComparison(name, command, terminal)));
  }
}

/** "5" -> 1..5, "3,7" -> [3, 7] */
export function parseSeeds(text: string): number[] {
  // Number('') is 0, which would be a seed.
  const parts = text.split(',').map((part) => (part.trim() === '' ? NaN : Number(part)));
  for (const part of parts) checkInteger('compare', '--seeds', part, 0, 0xffffffff);
  if (parts.length > 1 || text.includes(',')) return [...new Set(parts)];
  checkInteger('compare', '--seeds', parts[0], 1, 1000);
  return Array.from({ length: parts[0] }, (_, i) => i + 1);
}

/** The contestants that the flags name. */
export function parseContestants(names: string, rates: readonly string[], sets: readonly string[]): Contestant[] {
  const contestants = new Map<string, Contestant>();
  for (const name of names.split(',').map((part) => part.trim())) {
    if (contestants.has(name)) throw new RangeError(`compare: --optimizers names '${name}' twice`);
    contestants.set(name, { optimizer: name });
  }
  const find = (flag: string, text: string, name: string): Contestant => {
    const contestant = contestants.get(name);
    if (contestant === undefined) {
      throw new RangeError(
        `compare: expected the name of an optimizer that takes part (${[...contestants.keys()].join(', ')}) for ${flag}, received "${text}"`,
      );
    }
    return contestant;
  };
  for (const text of rates) {
    const match = /^([^=]+)=(.+)$/.exec(text);
    const list = match?.[2].split(',').map(Number) ?? [];
    if (match === null || list.some((rate) => !(rate > 0))) {
      throw new RangeError(`compare: expected NAME=RATE,RATE,... with rates > 0 for --rates, received "${text}"`);
    }
    find('--rates', text, match[1]).rates = list;
  }
  for (const text of sets) {
    const match = /^([^.=]+)\.([^=]+)=(.*)$/.exec(text);
    if (match === null) throw new RangeError(`compare: expected NAME.FLAG=VALUE for --set, received "${text}"`);
    const contestant = find('--set', text, match[1]);
    contestant.settings = { ...contestant.settings, [match[2]]: plainValue(match[3]) };
  }
  return [...contestants.values()];
}

function plainValue(text: string): unknown {
  if (text === 'true' || text === 'false') return text === 'true';
  return text.trim() !== '' && Number.isFinite(Number(text)) ? Number(text) : text;
}

async function runComparison(name: 'start' | 'compare', command: Command, terminal: Terminal): Promise<number> {
  const flags = command.opts<CompareFlags>();
  const given = await collectSettings(command);
  const names =
    flags.optimizers ?? ['gauss-newton', 'sgd', 'adam'].filter((known) => optimizerNames.includes(known)).join(',');
  const contestants = parseContestants(names, flags.rates ?? [], flags.set ?? []);
  const seeds = parseSeeds(flags.seeds ?? '1');
  const plan = planComparison(given, contestants, seeds);
  const out = flags.out ?? freeRunFolder(name);
  if (existsSync(join(out, 'results.json')) || existsSync(join(out, 'config.json'))) {
    throw new DeepHessianError('io', `${out}: the folder holds results already; choose another one`, { path: out });
  }
  const silent = flags.quiet === true || flags.json === true;
  if (!silent) {
    const total = plan.reduce((sum, run) => sum + ((run.settings['time-budget'] as number | undefined) ?? NaN), 0);
    terminal.err(
      `${plan.length} runs${Number.isFinite(total) ? `, about ${formatSeconds(total)} of training in all` : ''}\n`,
    );
  }
  const interrupt = catchInterrupts((signal) => terminal.err(`\n${signal}: stopping\n`));
  const progress = new Progress(terminal, silent);
  let result: Comparison | null = null;
  try {
    const runs = compare(given, contestants, seeds, interrupt.signal);
    let current = -1;
    for (;;) {
      const next = await runs.next();
      if (next.done === true) {
        result = next.value;
        break;
      }
      const event = next.value;
      if (event.type === 'broken') {
        // Named even where nothing else is: data that were left out change what the result means.
        if (flags.json === true) terminal.out(`${JSON.stringify(event)}\n`);
        reportBroken(terminal, event.files);
        continue;
      }
      const title =
        `[${event.index + 1}/${event.total}] ${event.label}${event.rate === null ? '' : ` rate ${formatNumber(event.rate, 2)}`}${seeds.length > 1 ? ` seed ${event.seed}` : ''}`.padEnd(
          30,
        );
      if (event.index !== current) {
        current = event.index;
        progress.begin(title);
      }
      if (flags.json === true) terminal.out(`${JSON.stringify(event)}\n`);
      if (event.type === 'run') {
        progress.update(title, event.event, buildBudget(plan[event.index].settings));
        if (event.event.type === 'end' && !silent) {
          progress.finish();
          if (!terminal.interactive)
            terminal.err(
              `${title} ${formatCount(event.event.step)} steps in ${formatSeconds(event.event.seconds)}, loss ${formatNumber(event.event.loss)}\n`,
            );
        }
      } else if (!silent) {
        progress.finish();
        terminal.err(`${title} diverged\n`);
      }
    }
  } catch (error) {
    progress.finish();
    const code = interrupt.code();
    if (error instanceof DeepHessianError && error.code === 'aborted' && code !== null) {
      terminal.err('interrupted: a comparison cut short compares nothing, so no results were written\n');
      return code;
    }
    throw error;
  } finally {
    progress.finish();
    interrupt.release();
  }

  makeFolder(out);
  const environment = describeEnvironment();
  const write = async (file: string, content: string): Promise<void> => writeFileAtomic(join(out, file), content);
  await write('config.json', `${JSON.stringify({ settings: given, contestants, seeds }, null, 2)}\n`);
  await write('environment.json', `${JSON.stringify(environment, null, 2)}\n`);
  await write('report.html', renderComparison(result, environment));
  await write('results.json', `${JSON.stringify(result)}\n`);
  if (flags.json === true)
    terminal.out(`${JSON.stringify({ type: 'result', methods: result.methods, folder: out })}\n`);
  else terminal.out(`\n${comparisonText(result)}\n\n`);
  if (!silent) terminal.err(`report:  ${join(out, 'report.html')}\nresults: ${join(out, 'results.json')}\n`);
  return exitCodes.success;
}

/** The final table, with what has to be known to read it. */
export function comparisonText(result: Comparison): string {
  const { problem, methods, seeds } = result;
  const several = seeds.length > 1;
  const best = Math.min(...methods.map((method) => method.loss.median));
  // By name in the table; names of sets have blanks of their own ('train sample').
  const figureNames = new Map(
    methods.flatMap((method) =>
      Object.entries(method.sets).flatMap(([set, figures]) =>
        Object.keys(figures)
          .filter((figure) => figure !== 'loss')
          .map((figure): [string, [string, string]] => [`${set} ${figure}`, [set, figure]]),
      ),
    ),
  );
  const rows = methods.map((method) => [
    method.label,
    method.rate === null ? '-' : formatNumber(method.rate, 2),
    formatNumber(method.loss.median),
    ...(several ? [`${formatNumber(method.loss.minimum, 2)} .. ${formatNumber(method.loss.maximum, 2)}`] : []),
    method.loss.median === best ? '1' : formatNumber(method.loss.median / best, 2),
    formatCount(method.steps),
    `${formatNumber(1000 * method.secondsPerStep)} ms`,
    ...[...figureNames.values()].map(([set, figure]) => {
      const value = method.sets[set]?.[figure];
      if (value === undefined) return '-';
      return figure === 'accuracy' ? `${(100 * value).toFixed(1)}%` : formatNumber(value);
    }),
  ]);
  const header = [
    'method',
    'rate',
    several ? 'median loss' : 'loss',
    ...(several ? ['range'] : []),
    'times best',
    'steps',
    'per step',
    ...figureNames.keys(),
  ];
  const seconds = result.settings['time-budget'];
  const tuned = methods.filter((method) => method.rates.length > 1);
  const notes = [
    `${problem.data}: ${formatCount(problem.samples)} samples, ${problem.batch}; ${problem.layers} layers, ${formatCount(problem.parameters)} parameters` +
      (typeof seconds === 'number' ? `; ${formatNumber(seconds)} s of optimizer time a run` : '') +
      (several ? `; ${seeds.length} seeds` : ''),
  ];
  if (tuned.length > 0) {
    notes.push(
      `${tuned.map((method) => method.label).join(' and ')}: the best of ${tuned.map((method) => method.rates.length).join(' and ')} rates, ` +
        'each with the full time; the time spent on the other rates is not counted against them',
    );
  }
  return `${formatTable(header, rows)}\n\n${notes.join('\n')}`;
}
