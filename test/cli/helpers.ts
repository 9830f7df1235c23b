/** Command lines run in this process, with what they print caught. */
import { runCommandLine } from '../../ts/cli/program.js';

export interface Outcome {
  code: number;
  out: string;
  err: string;
}

export async function commandLine(...args: string[]): Promise<Outcome> {
  const outcome: Outcome = { code: -1, out: '', err: '' };
  outcome.code = await runCommandLine(args, {
    out: (text) => void (outcome.out += text),
    err: (text) => void (outcome.err += text),
    interactive: false,
    stream: process.stderr,
  });
  return outcome;
}

/** The records of `--json` output. */
export function jsonLines(text: string): Record<string, unknown>[] {
  return text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}
