/** Command lines of the examples. What is wrong with one is said in one line, with the exit codes of `deep-hessian`. */
import { basename } from 'node:path';
import { parseArgs, type ParseArgsConfig } from 'node:util';
import { checkInteger, checkOneOf, checkPositive } from '../ts/checks.js';
import { exitCodes } from '../ts/cli/failure.js';
import { DeepHessianError } from '../ts/errors.js';

const program = basename(process.argv[1] ?? '');

/**
 * The command line as `parseArgs` of Node reads it. From then on misuse, failures that the library foresees and those of
 * the system (a port that is taken) end the program with their message; other errors keep their stack.
 */
export function commandLine<T extends ParseArgsConfig>(config: T): ReturnType<typeof parseArgs<T>> {
  process.on('uncaughtException', (error: NodeJS.ErrnoException) => {
    const misuse = error instanceof TypeError || error instanceof RangeError;
    const foreseen = misuse || error instanceof DeepHessianError || error.syscall !== undefined;
    console.error(foreseen ? `error: ${error.message}` : error);
    process.exit(misuse ? exitCodes.misuse : exitCodes.failure);
  });
  try {
    return parseArgs(config);
  } catch (error) {
    // Its second sentence is about arguments that begin with a dash.
    const [what] = (error as Error).message.split('. ');
    const flags = Object.keys(config.options ?? {}).map((flag) => `--${flag}`);
    throw new RangeError(
      `${program}: ${what}; ${flags.length > 0 ? `flags: ${flags.join(', ')}` : 'it has no flags'}`,
      {
        cause: error,
      },
    );
  }
}

/** The number in a text, or the text itself, which the checks below then name. */
function numeric(text: string): unknown {
  return text.trim() === '' || Number.isNaN(Number(text)) ? text : Number(text);
}

/** The integer from `min` to `max` that a flag or argument gives. */
export function integer(argument: string, text: string, min = 0, max?: number): number {
  const value = numeric(text);
  checkInteger(program, argument, value, min, max);
  return value;
}

/** The number > 0 that a flag or argument gives. */
export function positive(argument: string, text: string): number {
  const value = numeric(text);
  checkPositive(program, argument, value);
  return value;
}

/** The word, one of those allowed, that may be given as the only argument. */
export function optionalWord<T extends string>(allowed: readonly T[]): T | undefined {
  const { positionals } = commandLine({ allowPositionals: true });
  if (positionals.length === 0) return undefined;
  const word = positionals.join(' ');
  checkOneOf(program, 'the argument', word, allowed);
  return word;
}
