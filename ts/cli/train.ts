/** `deep-hessian train`: one run, with a run folder, checkpoints and a report. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Command } from 'commander';
import { failRange } from '../checks.js';
import type { BrokenImage } from '../data/image-folder.js';
import { DeepHessianError } from '../errors.js';
import { resolveSettings } from '../train/config.js';
import { buildBudget } from '../train/experiment.js';
import { writeRunReport } from '../train/report.js';
import { TrainingSession } from '../train/session.js';
import type { EndRecord } from '../train/trainer.js';
import { exitCodes } from './failure.js';
import { addRunFlags, collectSettings, givenSettings, optimizerHelp } from './flags.js';
import { catchInterrupts, type Interrupt } from './interrupt.js';
import { describeEnd, Progress } from './progress.js';
import { formatCount, type Terminal } from './terminal.js';

/** A folder name that is free: runs/<what>-<time>[-n]. */
export function freeRunFolder(what: string, now: Date = new Date()): string {
  const stamp = now.toISOString().replace(/[-:]/g, '').replace('T', '-').slice(0, 15);
  const base = join('runs', `${what}-${stamp}`);
  let path = base;
  for (let n = 2; existsSync(path); n++) path = `${base}-${n}`;
  return path;
}

const examples = `
Examples:
  deep-hessian train
  deep-hessian train --data cifar10 --data-dir data/cifar10 --image-size 16 --num-layers 30 --hidden-dim 16 --batch-size 64 --fixed-batch
  deep-hessian train --data csv --file table.csv --targets price --num-layers 3 --steps 200 --target-loss 1e-6
  deep-hessian train --data mnist --data-dir data/mnist --optimizer adam --lr 1e-3 --epochs 3 --schedule cosine:2800+warmup:100
  deep-hessian train --config run.yaml --seed 2
  deep-hessian train --resume runs/spirals-gauss-newton-20260101-120000 --time-budget 60
`;

/** Names image files that were left out: the first ten, and how many more. */
export function reportBroken(terminal: Terminal, files: readonly BrokenImage[]): void {
  for (const { path, reason } of files.slice(0, 10)) terminal.err(`warning: left out ${path}: ${reason}\n`);
  if (files.length > 10) terminal.err(`warning: left out ${files.length - 10} more image files that do not decode\n`);
}

interface TrainFlags {
  out?: string;
  resume?: string;
  json?: boolean;
  quiet?: boolean;
}

export function addTrainCommand(program: Command, terminal: Terminal, setCode: (code: number) => void): void {
  const command = program.command('train').description('Train a network.');
  addRunFlags(command);
  command
    .optionsGroup('Run:')
    .option('--config <file>', 'settings from a JSON or YAML file, keys named like these flags; flags win')
    .option('--out <folder>', 'run folder (default: runs/<data>-<optimizer>-<time>)')
    .option('--resume <path>', 'go on from a run folder or checkpoint')
    .option('--json', 'one JSON record a line on standard output')
    .option('--quiet', 'no progress')
    .addHelpText('after', () => optimizerHelp() + examples)
    .action(async () => setCode(await train(command, terminal)));
}

async function train(command: Command, terminal: Terminal): Promise<number> {
  const { out, resume, json = false, quiet = false } = command.opts<TrainFlags>();
  if (out?.trim() === '') failRange('train', '--out', 'the name of a folder', out);
  let prepare: () => Promise<TrainingSession>;
  if (resume !== undefined) {
    if (out !== undefined) throw new RangeError('train: --out cannot change in a resumed run');
    if (command.opts<{ config?: string }>().config !== undefined)
      throw new RangeError('train: --config and --resume exclude each other');
    prepare = () => TrainingSession.resume(resume, givenSettings(command));
  } else {
    const settings = await collectSettings(command);
    const { data, optimizer } = resolveSettings(settings);
    const name = `${data as string}-${optimizer as string}`;
    prepare = () => TrainingSession.start(settings, out ?? freeRunFolder(name));
  }
  // One handler for both phases: a signal on its way while one takes the place of another would be lost.
  let prepared = false;
  const interrupt = catchInterrupts((name, code) => {
    terminal.err(
      prepared
        ? `\n${name}: stopping after this step, writing a checkpoint ...\n`
        : `\n${name}: stopped while the data were read; nothing was trained, nothing written\n`,
    );
    // Data are read as a whole, and the run folder is written to in one go after that.
    if (!prepared) process.exit(code);
  });
  try {
    const session = await prepare();
    prepared = true;
    return await trainIn(session, interrupt, { json, quiet }, terminal);
  } finally {
    interrupt.release();
  }
}

/** Trains to the end of the session's budget or to an interrupt; returns the exit code. */
async function trainIn(
  session: TrainingSession,
  interrupt: Interrupt,
  { json, quiet }: { json: boolean; quiet: boolean },
  terminal: Terminal,
): Promise<number> {
  const { settings, experiment, folder } = session;
  const { network, problem } = experiment;
  const silent = quiet || json;
  // Named even where nothing else is: data that were left out change what the result means.
  reportBroken(terminal, problem.broken);
  for (const warning of session.warnings) terminal.err(`warning: ${warning}\n`);
  if (!silent) {
    terminal.err(
      `${problem.train.name}: ${formatCount(problem.stream?.folder.samples ?? problem.train.samples)} samples of ${network.inputs} | ${network.layers.length} layers, ` +
        `${formatCount(network.parameterCount)} parameters | ${settings.optimizer as string} | ${folder.path}` +
        (session.startStep > 0 ? ` | from step ${formatCount(session.startStep)}` : '') +
        '\n',
    );
  }
  const { device, reason } = experiment.device;
  if (reason !== null && !quiet) terminal.err(`device: ${device} (${reason})\n`);
  const progress = new Progress(terminal, silent);
  const budget = buildBudget(settings);
  const title = settings.optimizer as string;
  let end: EndRecord | null = null;
  try {
    progress.begin(title);
    for await (const event of session.run(interrupt.signal)) {
      if (json) terminal.out(`${JSON.stringify(event)}\n`);
      progress.update(title, event, budget);
      if (event.type === 'end') end = event;
    }
  } catch (error) {
    // Who reads the records learns of it there, too; the message and the exit code are the same as without --json.
    if (json && error instanceof DeepHessianError && error.code === 'diverged') {
      const { message, details } = error;
      terminal.out(`${JSON.stringify({ type: 'diverged', message, ...details })}\n`);
    }
    throw error;
  } finally {
    progress.finish();
  }
  // Of a stream, broken files turn up while the run goes on.
  const named = new Set(problem.broken.map(({ path }) => path));
  reportBroken(terminal, problem.stream?.folder.broken.filter(({ path }) => !named.has(path)) ?? []);
  if (end === null) return exitCodes.failure;
  const code = interrupt.code();
  if (end.reason === 'aborted' && code !== null) {
    terminal.err(
      `interrupted at step ${formatCount(end.step)}; checkpoint written. Go on with:\n  deep-hessian train --resume ${folder.path}\n`,
    );
    return code;
  }
  const report = await writeRunReport(folder.path);
  if (!json) terminal.out(`${describeEnd(end)}\n`);
  if (!silent) terminal.err(`report: ${report}\n`);
  return exitCodes.success;
}
