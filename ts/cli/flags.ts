/** Command-line flags made from the option tables, and back to settings keyed by flag. */
import { type Command, Option } from 'commander';
import { allOptimizerFlags, optimizerEntries } from '../optimize/registry.js';
import type { OptionSpec } from '../optimize/option-schema.js';
import { readConfigFile, runOptions, type RunOption } from '../train/config.js';

const placeholders: Record<OptionSpec['type'], string> = {
  number: ' <number>',
  integer: ' <n>',
  boolean: '',
  choice: ' <name>',
  string: ' <text>',
  schedule: ' <schedule>',
};

/** Text to number where the option is one; anything else goes on as text, and the check names it. */
function parse(spec: OptionSpec, text: string): string | number {
  if (spec.type !== 'number' && spec.type !== 'integer') return text;
  return /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(text.trim()) ? Number(text) : text;
}

function addFlag(command: Command, spec: OptionSpec, group: string, note = ''): void {
  const help = [
    spec.help + note,
    spec.type === 'choice' ? `: ${(spec.choices ?? []).join(', ')}` : '',
    spec.default !== undefined && spec.default !== false
      ? ` (default: ${typeof spec.default === 'object' ? spec.default.kind : spec.default})`
      : '',
  ].join('');
  const option = new Option(`--${spec.flag}${placeholders[spec.type]}`, help).helpGroup(`${group}:`);
  if (spec.type !== 'boolean') option.argParser((text: string) => parse(spec, text));
  command.addOption(option);
  // What is on, or may be, can be switched off.
  if (spec.type === 'boolean' && spec.default !== false && !spec.flag.startsWith('no-')) {
    command.addOption(new Option(`--no-${spec.flag}`, `switches --${spec.flag} off`).helpGroup(`${group}:`));
  }
}

/** Adds the flags of the groups named: of data and network, for commands that do not train. */
export function addFlagGroups(
  command: Command,
  groups: readonly RunOption['group'][],
  also: readonly string[] = [],
): void {
  for (const spec of runOptions) {
    if (groups.includes(spec.group) || also.includes(spec.flag)) addFlag(command, spec, spec.group);
  }
}

/** Adds the flags of data, network, training and run, and those of the optimizers. */
export function addRunFlags(command: Command, without: readonly string[] = []): void {
  for (const spec of runOptions) if (!without.includes(spec.flag)) addFlag(command, spec, spec.group);
  for (const { spec, optimizers } of allOptimizerFlags()) {
    const own = optimizers.length === optimizerEntries.length ? '' : ` [${optimizers.join(', ')}]`;
    const { default: value, ...rest } = spec;
    // Defaults differ between optimizers that share a flag.
    addFlag(
      command,
      (optimizers.length === 1 || spec.type === 'boolean') && value !== undefined ? { ...rest, default: value } : rest,
      'Optimizer',
      own,
    );
  }
}

/** The settings that were given on the command line, keyed by flag. */
export function givenSettings(command: Command): Record<string, unknown> {
  const settings: Record<string, unknown> = {};
  const specs: (OptionSpec | RunOption)[] = [...runOptions, ...allOptimizerFlags().map(({ spec }) => spec)];
  for (const { flag } of specs) {
    const option = command.options.find((candidate) => candidate.long === `--${flag}`);
    if (option === undefined) continue;
    const name = option.attributeName();
    if (command.getOptionValueSource(name) !== 'cli') continue;
    const value: unknown = command.getOptionValue(name);
    // commander stores --no-x as x = false; the setting is called no-x.
    settings[flag] = option.negate ? value === false : value;
  }
  return settings;
}

/** Settings of the configuration file (where --config names one) under those of the command line. */
export async function collectSettings(command: Command): Promise<Record<string, unknown>> {
  const { config } = command.opts<{ config?: string }>();
  return { ...(config === undefined ? {} : await readConfigFile(config)), ...givenSettings(command) };
}

/** The list of optimizers for help texts. */
export function optimizerHelp(): string {
  const lines = optimizerEntries.flatMap((entry) => [
    `  ${entry.name}: ${entry.description} (${entry.source})`,
    `      ${entry.options.map((option) => `--${option.flag}`).join(' ')}`,
    `      not for: ${entry.whenNotToUse}`,
  ]);
  return `\nOptimizers:\n${lines.join('\n')}\n`;
}
