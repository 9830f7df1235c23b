/** Command-line flags made from the option tables, and back to settings keyed by flag. */
import { type Command, Option } from 'commander';
import { allOptimizerFlags, optimizerEntries } from '../optimize/registry.js';
import type { OptionSpec, OptionValue } from '../optimize/option-schema.js';
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

/** Options that set a setting: a command may have one of its own by the same name, as approximate has --matrix. */
const settingOptions = new WeakSet<Option>();

/** A default as help texts show it. */
function showValue(value: OptionValue): string {
  if (typeof value === 'boolean') return value ? 'on' : 'off';
  if (typeof value === 'object') return value.kind;
  const far = typeof value === 'number' && value !== 0 && (Math.abs(value) >= 1e5 || Math.abs(value) < 1e-3);
  return far ? value.toExponential().replace('e+', 'e') : String(value);
}

function addFlag(
  command: Command,
  spec: OptionSpec,
  group: string,
  note: { after?: string; defaults?: string } = {},
): void {
  const plain = spec.default !== undefined && spec.default !== false ? ` (default: ${showValue(spec.default)})` : '';
  const help = [
    spec.help + (note.after ?? ''),
    spec.type === 'choice' ? `: ${(spec.choices ?? []).join(', ')}` : '',
    note.defaults ?? plain,
  ].join('');
  const option = new Option(`--${spec.flag}${placeholders[spec.type]}`, help).helpGroup(`${group}:`);
  if (spec.type !== 'boolean') option.argParser((text: string) => parse(spec, text));
  settingOptions.add(option);
  command.addOption(option);
  if (spec.type !== 'boolean') return;
  // What is on, or may be, can be switched off; what is off only where a configuration file has switched it on, which is
  // not worth a line of help.
  const opposite = spec.flag.startsWith('no-') ? spec.flag.slice('no-'.length) : `no-${spec.flag}`;
  const off = new Option(`--${opposite}`, `switches --${spec.flag} off`).helpGroup(`${group}:`);
  command.addOption(off.hideHelp(spec.default === false));
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

/**
 * Note of an optimizer flag's defaults, which differ between the optimizers that share it and on streams of batches:
 * " (default: 1; damped-newton: 0.1; on streams kfac, ekfac: 0.1)". Empty where there is none.
 */
export function defaultNote(flag: string): string {
  const owners = optimizerEntries.flatMap(({ name, options }) =>
    options.filter((option) => option.flag === flag).map((option) => ({ name, option })),
  );
  const shown = owners[0].option.help;
  /** Texts and who has them, the most common first. */
  const groups = (text: (option: OptionSpec) => string | undefined): [string, string[]][] => {
    const names = new Map<string, string[]>();
    for (const { name, option } of owners) {
      const given = text(option);
      if (given !== undefined) names.set(given, [...(names.get(given) ?? []), name]);
    }
    return [...names].sort((a, b) => b[1].length - a[1].length);
  };
  // A default that depends on other options is in words, in the help text of the option; the first one's is shown as it is.
  const words = (help: string): string | undefined =>
    help === shown ? undefined : /\(([^()]*\bdefault\b[^()]*)\)/.exec(help)?.[1].replace(/default:? /, '');
  const usual = groups(({ default: value, help, streamDefault }) =>
    value === undefined ? words(help) : value === false && streamDefault === undefined ? undefined : showValue(value),
  );
  const streams = groups(({ streamDefault: value, default: other }) =>
    value === undefined || value === other ? undefined : showValue(value),
  );
  const own = usual.map(([text, names]) => (2 * names.length > owners.length ? text : `${names.join(', ')}: ${text}`));
  const onStreams = streams.map(([text, names]) =>
    names.length < owners.length ? `on streams ${names.join(', ')}: ${text}` : `on streams ${text}`,
  );
  if (own.length > 0) return ` (default: ${[...own, ...onStreams].join('; ')})`;
  return onStreams.length > 0 ? ` (${onStreams.join('; ')})` : '';
}

/** Adds the flags of data, network, training and run, and those of the optimizers. */
export function addRunFlags(command: Command, without: readonly string[] = []): void {
  for (const spec of runOptions) if (!without.includes(spec.flag)) addFlag(command, spec, spec.group);
  for (const { spec, optimizers } of allOptimizerFlags()) {
    const own = optimizers.length === optimizerEntries.length ? '' : ` [${optimizers.join(', ')}]`;
    addFlag(command, spec, 'Optimizer', { after: own, defaults: defaultNote(spec.flag) });
  }
}

/** The settings that were given on the command line, keyed by flag. */
export function givenSettings(command: Command): Record<string, unknown> {
  const settings: Record<string, unknown> = {};
  const specs: (OptionSpec | RunOption)[] = [...runOptions, ...allOptimizerFlags().map(({ spec }) => spec)];
  for (const { flag } of specs) {
    const option = command.options.find((candidate) => candidate.long === `--${flag}`);
    if (option === undefined || !settingOptions.has(option)) continue;
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
