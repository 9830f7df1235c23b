/** From any thrown value to one clear line and an exit code. */
import { CommanderError } from 'commander';
import { DeepHessianError } from '../errors.js';
import type { Terminal } from './terminal.js';

/** Exit codes of the command line. */
export const exitCodes = { success: 0, failure: 1, misuse: 2, interrupted: 130, terminated: 143 } as const;

/** Prints what went wrong (with the stack where `debug`) and returns the exit code. */
export function reportFailure(error: unknown, terminal: Terminal, debug: boolean): number {
  // Commander has printed its own message; help and version are no failures.
  if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.success : exitCodes.misuse;
  const misuse = error instanceof TypeError || error instanceof RangeError;
  const known = misuse || error instanceof DeepHessianError;
  const message = error instanceof Error ? error.message : String(error);
  const code = error instanceof DeepHessianError ? ` [${error.code}]` : '';
  terminal.err(`error: ${known ? '' : 'unexpected: '}${message}${code}\n`);
  if (debug && error instanceof Error) terminal.err(`${error.stack ?? ''}\n`);
  else if (!known) terminal.err('run again with --debug for the stack\n');
  return misuse ? exitCodes.misuse : exitCodes.failure;
}
