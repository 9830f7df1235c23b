/**
 * A run folder has one writer at a time: who works in it holds an exclusive lock on its file `run.lock`, which says who that is.
 *
 * The lock is the system's (flock): it ends with its process, killed or not, and with its worker thread, whose files Node closes. So
 * there are no stale ones: not of a killed process, nor of a container that was started again on the same volume, nor in a copy of the
 * folder. It holds between threads, processes and containers of one machine, and on NFS between hosts. Where there
 * are no locks (no native core, a file system without them) the folder is not guarded.
 */
import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  openSync,
  readFileSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { ioError } from '../data/atomic.js';
import { checkRegular } from '../data/regular-file.js';
import { DeepHessianError } from '../errors.js';
import { lockFile } from '../native/file-lock.js';

/** The file in a run folder. */
export const lockName = 'run.lock';

/** A claimed folder. */
export interface RunLock {
  /** Gives the folder free; a second call does nothing. */
  release(): void;
}

/**
 * Claims a folder until {@link RunLock.release} or the end of this thread.
 *
 * @throws DeepHessianError 'io' naming process and folder when somebody else holds it, or when the file cannot be written
 */
export function claimRun(folder: string): RunLock {
  const file = join(folder, lockName);
  for (;;) {
    let descriptor: number;
    try {
      // Not blocking: a named pipe would wait for its other end.
      descriptor = openSync(file, constants.O_RDWR | constants.O_CREAT | constants.O_NONBLOCK, 0o666);
    } catch (error) {
      throw ioError('locking', file, error);
    }
    try {
      checkRegular(file, fstatSync(descriptor), 'locking');
      if (lockFile(descriptor) === false) throw refusal(folder, file);
      // Whoever held it before may have removed the file since it was opened.
      if (!isStill(file, descriptor)) {
        closeSync(descriptor);
        continue;
      }
      ftruncateSync(descriptor, 0);
      writeSync(descriptor, `${JSON.stringify({ pid: process.pid, host: hostname() })}\n`, 0);
      return new HeldLock(file, descriptor);
    } catch (error) {
      closeSync(descriptor);
      throw error instanceof DeepHessianError ? error : ioError('locking', file, error);
    }
  }
}

class HeldLock implements RunLock {
  constructor(
    private readonly file: string,
    private descriptor: number,
  ) {}

  release(): void {
    const { file, descriptor } = this;
    if (descriptor < 0) return;
    this.descriptor = -1;
    try {
      // First the name: who opens the file after this makes a new one.
      if (isStill(file, descriptor)) unlinkSync(file);
    } catch {
      // A folder that cannot be written any more; the file says nothing without its lock.
    }
    closeSync(descriptor);
  }
}

/** Whether the open file is the one of that name. */
function isStill(file: string, descriptor: number): boolean {
  const named = statSync(file, { throwIfNoEntry: false, bigint: true });
  const open = fstatSync(descriptor, { bigint: true });
  return named?.ino === open.ino && named.dev === open.dev;
}

function refusal(folder: string, file: string): DeepHessianError {
  let owner: { pid?: unknown; host?: unknown } = {};
  try {
    owner = (JSON.parse(readFileSync(file, 'utf8')) as typeof owner | null) ?? {};
  } catch {
    // About to be written, or removed.
  }
  const { pid, host } = owner;
  const here = host === hostname();
  const who =
    typeof pid !== 'number'
      ? 'another process'
      : here && pid === process.pid
        ? `another run of this process (${pid})`
        : `process ${pid}${here ? '' : ` on host ${String(host)}`}`;
  return new DeepHessianError('io', `${folder}: ${who} is at work in the folder; wait for its end, or stop it`, {
    path: folder,
    lock: file,
    ...(typeof pid === 'number' ? { pid, host } : {}),
  });
}
