/**
 * Running the steps of the set-up: one line for each, its output in a log that is shown when it fails.
 */
import { spawn } from 'node:child_process';
import { createWriteStream, mkdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The repository. */
export const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
/** Stamps, logs and the lock of the set-up. */
export const stateFolder = join(root, '.setup');

/** A failure with a message for the person at the terminal; no stack is printed. */
export class SetupError extends Error {}

export function say(message) {
  process.stderr.write(`deep-hessian: ${message}\n`);
}

/** Runs a command, output to .setup/<name>.log; throws with the end of the log when it fails. */
export async function run(command, args, { name, env = process.env, cwd = root, hint = '' }) {
  mkdirSync(stateFolder, { recursive: true });
  const file = join(stateFolder, `${name}.log`);
  const log = createWriteStream(file);
  await new Promise((resolve, reject) => log.once('open', resolve).once('error', reject));
  const child = spawn(command, args, { cwd, env, stdio: ['ignore', log, log] });
  const outcome = await new Promise((resolve) => {
    child.once('error', (error) => resolve(error.code === 'ENOENT' ? 'not found on PATH' : error.message));
    child.once('exit', (code, signal) => resolve(code === 0 ? '' : signal ? `signal ${signal}` : `exit code ${code}`));
  });
  log.destroy();
  if (outcome === '') return;
  const tail = readFileSync(file, 'utf8').trimEnd().split('\n').slice(-40).join('\n');
  throw new SetupError(
    `"${[command, ...args].join(' ')}" failed (${outcome}).${hint ? ` ${hint}` : ''}\n${tail}\n(whole log: ${file})`,
  );
}

/**
 * Runs a program in the foreground, terminal attached, and resolves with its exit code. Ctrl-C reaches the child
 * through the terminal; this process waits for it. A termination signal is passed on.
 */
export async function foreground(command, args, { cwd = root, env = process.env } = {}) {
  const child = spawn(command, args, { cwd, env, stdio: 'inherit' });
  const pass = (signal) => child.kill(signal);
  const ignore = () => {};
  process.on('SIGINT', ignore);
  process.on('SIGTERM', pass);
  process.on('SIGHUP', pass);
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => resolve(signal ? 128 + (signal === 'SIGINT' ? 2 : 15) : (code ?? 1)));
  });
}

/** Runs a script's main function: a SetupError ends with its message and status 1. */
export async function main(body) {
  try {
    process.exitCode = (await body()) ?? 0;
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    say(error.message);
    process.exitCode = 1;
  }
}
