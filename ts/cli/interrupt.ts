/** SIGINT and SIGTERM as an AbortSignal: the first asks the run to stop after its step, the second ends the process. */
import { exitCodes } from './failure.js';

export interface Interrupt {
  signal: AbortSignal;
  /** exit code of the signal that came, or null */
  code(): number | null;
  /** takes the handlers away again */
  release(): void;
}

/** @param onFirst is told the name of the first signal, and its exit code for whoever has nothing to finish */
export function catchInterrupts(onFirst: (name: string, code: number) => void): Interrupt {
  const controller = new AbortController();
  let code: number | null = null;
  const handle = (name: NodeJS.Signals): void => {
    const own = name === 'SIGINT' ? exitCodes.interrupted : exitCodes.terminated;
    // Two signals: the user does not want to wait for the checkpoint.
    if (code !== null) process.exit(own);
    code = own;
    onFirst(name, own);
    controller.abort();
  };
  process.on('SIGINT', handle);
  process.on('SIGTERM', handle);
  return {
    signal: controller.signal,
    code: () => code,
    release: () => {
      process.off('SIGINT', handle);
      process.off('SIGTERM', handle);
    },
  };
}
