/** The command line as a whole. */
import { Command } from 'commander';
import { packageVersion } from '../train/environment.js';
import { addAnalyzeCommand } from './analyze.js';
import { addApproximateCommand } from './approximate.js';
import { addCompareCommands } from './compare.js';
import { addExportCommand } from './export.js';
import { exitCodes, reportFailure } from './failure.js';
import { addInfluenceCommand } from './influence.js';
import { addInfoCommand } from './info.js';
import { addPredictCommand } from './predict.js';
import { addSolveCommand } from './solve.js';
import type { Terminal } from './terminal.js';
import { addTrainCommand } from './train.js';
import { addVerifyCommand } from './verify.js';

/**
 * Runs one command line (without `node` and the script) and returns the exit code: 0 success, 1 failure, 2 misuse,
 * 130 and 143 after SIGINT and SIGTERM.
 */
export async function runCommandLine(args: readonly string[], terminal: Terminal): Promise<number> {
  let code: number = exitCodes.success;
  const setCode = (value: number): void => {
    code = value;
  };
  const program = new Command('deep-hessian')
    .description('Exact second-order training and curvature of deep networks.')
    .version(packageVersion(), '-V, --version')
    .option('--debug', 'print the stack of an error');
  // Before the commands are made: they take these over.
  program
    .exitOverride()
    .configureOutput({ writeOut: terminal.out, writeErr: terminal.err })
    .showHelpAfterError('(run with --help for the options)');
  addTrainCommand(program, terminal, setCode);
  addPredictCommand(program, terminal, setCode);
  addCompareCommands(program, terminal, setCode);
  addExportCommand(program, terminal);
  addSolveCommand(program, terminal);
  addAnalyzeCommand(program, terminal);
  addApproximateCommand(program, terminal);
  addInfluenceCommand(program, terminal, setCode);
  addInfoCommand(program, terminal);
  addVerifyCommand(program, terminal, setCode);
  const debug = args.includes('--debug');
  try {
    await program.parseAsync(
      args.filter((arg) => arg !== '--debug'),
      { from: 'user' },
    );
    return code;
  } catch (error) {
    return reportFailure(error, terminal, debug);
  }
}
