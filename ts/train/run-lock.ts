/**
 * A run folder has one writer at a time, across processes: who works in it holds the file `run.lock`.
 *
 * The file appears whole (written under another name, then linked) and names its owner: process, host, and on Linux
 * the process's start time, the boot and the pid namespace, so that neither a killed process nor one that got its
 * number since holds the folder. A lock whose owner is dead is taken over. Two that find the same dead owner must not
 * both do so, nor may the slower one remove the lock of the faster: a lock is replaced only by the holder of a second
 * lock named by the token of the first, who then looks whether it is still there. That second lock is taken in the same way,
 * dead owners included.
 *
 * An owner that cannot be looked up, on another host or in another container, counts as alive.
 */
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  fstatSync,
  fsyncSync,
  linkSync,
  openSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  renameSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { threadId } from 'node:worker_threads';
import { ioError, temporaryName } from '../data/atomic.js';
import { openRegularSync } from '../data/regular-file.js';
import { DeepHessianError } from '../errors.js';

/** The lock in a run folder. */
export const lockName = 'run.lock';

/** What a lock file holds, as JSON. Linux's own facts are null elsewhere. */
interface Owner {
  pid: number;
  host: string;
  /** clock ticks from the boot to the start of the process */
  start: string | null;
  boot: string | null;
  /** the pid namespace: a number means another process in another one */
  namespace: string | null;
  /** worker thread, 0 for the main one */
  thread: number;
  /** 12 hexadecimal digits of this lock alone */
  token: string;
  /** inode of the lock file and real path of its folder: a copy of a run folder has neither */
  inode: string;
  folder: string;
}

/** Locks that this thread holds: folder by token. */
const held = new Map<string, string>();

/** A token for {@link claimRun}, from whoever is to release the lock when the claiming thread is lost. */
export function lockToken(): string {
  return randomBytes(6).toString('hex');
}

/**
 * Claims a folder for this thread until {@link releaseRun} or the end of the process.
 *
 * @returns the token of the lock
 * @throws DeepHessianError 'io' naming process and folder when somebody else holds it, or when it cannot be written
 */
export function claimRun(folder: string, token: string = lockToken()): string {
  take(folder, join(folder, lockName), token);
  if (held.size === 0) process.once('exit', releaseAll);
  held.set(token, folder);
  return token;
}

/** Gives a folder free if it is held with `token`, by this thread or one that is no more; harmless otherwise. */
export function releaseRun(folder: string, token: string): void {
  if (held.delete(token) && held.size === 0) process.off('exit', releaseAll);
  try {
    const file = join(folder, lockName);
    if (readLock(file)?.token === token) unlinkSync(file);
  } catch {
    // The folder is gone or cannot be written: no longer held by this thread, the lock counts as a dead one's.
  }
}

function releaseAll(): void {
  for (const [token, folder] of [...held]) releaseRun(folder, token);
}

/** Makes `file` this thread's lock. */
function take(folder: string, file: string, token: string): void {
  const own = temporaryName(join(folder, lockName));
  try {
    writeLock(own, folder, token);
    // Every other round has seen somebody come or go.
    for (let round = 0; round < 1000; round++) {
      if (place(own, file, folder, token)) return;
      const owner = readLock(file);
      if (owner === null) continue;
      refuseUnlessDead(owner, file, folder);
      const guard = join(folder, `.${lockName}.${owner.pid}-${owner.token}.partial`);
      take(folder, guard, lockToken());
      try {
        if (readLock(file)?.token === owner.token) {
          renameSync(own, file);
          return;
        }
      } finally {
        removeQuietly(guard);
      }
    }
    throw new Error('something that is no lock is in the way');
  } catch (error) {
    throw ioError('locking', file, error);
  } finally {
    removeQuietly(own);
  }
}

/** Gives the file written as `own` the name `file`; false where that is taken. */
function place(own: string, file: string, folder: string, token: string): boolean {
  try {
    linkSync(own, file);
    return true;
  } catch (error) {
    if (isCode(error, 'EEXIST')) return false;
    if (isCode(error, 'ENOENT', 'ENOSPC', 'EROFS', 'EACCES')) throw error;
  }
  // A file system without hard links: who reads before all is written takes the lock for an unknown owner's.
  try {
    writeLock(file, folder, token);
    return true;
  } catch (error) {
    if (isCode(error, 'EEXIST')) return false;
    throw error;
  }
}

function writeLock(path: string, folder: string, token: string): void {
  const descriptor = openSync(path, 'wx', 0o666);
  try {
    const inode = String(fstatSync(descriptor, { bigint: true }).ino);
    const owner: Owner = { ...thisProcess(), thread: threadId, token, inode, folder: realpathSync(folder) };
    writeFileSync(descriptor, `${JSON.stringify(owner)}\n`);
    fsyncSync(descriptor);
  } catch (error) {
    removeQuietly(path);
    throw error;
  } finally {
    closeSync(descriptor);
  }
}

/** The lock of that name, with whether it is the file that its owner wrote; null where there is none. */
function readLock(file: string): (Owner & { copied: boolean }) | null {
  let descriptor: number;
  try {
    ({ descriptor } = openRegularSync(file));
  } catch (error) {
    if (isCode((error as Error).cause, 'ENOENT')) return null;
    throw error;
  }
  try {
    const inode = String(fstatSync(descriptor, { bigint: true }).ino);
    const owner = JSON.parse(readFileSync(descriptor, 'utf8')) as Owner;
    const { pid, host, token } = owner;
    if (!Number.isInteger(pid) || pid < 1 || typeof host !== 'string' || !/^[0-9a-f]{12}$/.test(token))
      throw new Error('it names no process');
    // Either alone may change under a lock: a folder is moved, a network file system numbers its files anew.
    return { ...owner, copied: owner.inode !== inode && owner.folder !== realpathSync(dirname(file)) };
  } catch (error) {
    if (error instanceof Error && 'code' in error) throw ioError('reading', file, error);
    throw new DeepHessianError(
      'io',
      `${file}: not a lock that can be read (${(error as Error).message}); remove it when nobody is training in the folder`,
      { path: file },
      { cause: error },
    );
  } finally {
    closeSync(descriptor);
  }
}

/** @throws DeepHessianError 'io' unless the owner of a lock is certainly no more */
function refuseUnlessDead(owner: Owner & { copied: boolean }, file: string, folder: string): void {
  const { pid, host } = owner;
  const here = thisProcess();
  const differ = (name: 'start' | 'boot' | 'namespace'): boolean =>
    typeof owner[name] === 'string' && here[name] !== null && owner[name] !== here[name];
  if (owner.copied) return;
  const refuse = (reason: string): never => {
    throw new DeepHessianError('io', `${folder}: ${reason}`, { path: folder, pid, host, lock: file });
  };
  // The same name after another boot is the same machine, started again.
  if (host === here.host && differ('boot')) return;
  if (host !== here.host || differ('namespace')) {
    const where = host === here.host ? 'in another container or pid namespace' : `on host ${host}`;
    refuse(
      `process ${pid} ${where} claimed the folder, and whether it still runs cannot be told from ${here.host}; ` +
        `when it does not, remove ${file}`,
    );
  }
  if (pid === process.pid && !differ('start')) {
    if (owner.thread === threadId && !held.has(owner.token)) return;
    refuse(`another run of this process (${pid}) is at work in the folder`);
  }
  if (isAlive(pid, owner.start)) refuse(`process ${pid} is at work in the folder; wait for its end, or stop it`);
}

/** Whether a process of this host runs, and is the one that started then. */
function isAlive(pid: number, start: string | null): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    // Anything but 'no such process', such as a lack of rights, speaks of a process that is there.
    if (isCode(error, 'ESRCH')) return false;
  }
  const found = processState(pid);
  if (found === null) return true;
  // Killed, and not yet asked after by its parent.
  if (found.state === 'Z' || found.state === 'X') return false;
  return typeof start !== 'string' || found.start === start;
}

/** State and start time of a process from Linux's /proc; null where there is no such thing. */
function processState(pid: number): { state: string; start: string } | null {
  // In a new pid namespace /proc may still be that of the old one.
  if (fact(() => readlinkSync('/proc/self')) !== String(process.pid)) return null;
  const text = fact(() => readFileSync(`/proc/${pid}/stat`, 'latin1'));
  // The second field, the name in parentheses, may hold anything: fields are counted from its end.
  const fields = text?.slice(text.lastIndexOf(')') + 2).split(' ');
  return fields === undefined || fields.length < 20 ? null : { state: fields[0], start: fields[19] };
}

function thisProcess(): Pick<Owner, 'pid' | 'host' | 'start' | 'boot' | 'namespace'> {
  const linux = process.platform === 'linux';
  return {
    pid: process.pid,
    host: hostname(),
    start: linux ? (processState(process.pid)?.start ?? null) : null,
    boot: linux ? fact(() => readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()) : null,
    namespace: linux ? fact(() => readlinkSync('/proc/self/ns/pid')) : null,
  };
}

function fact(read: () => string): string | null {
  try {
    return read();
  } catch {
    return null;
  }
}

function isCode(error: unknown, ...codes: string[]): boolean {
  return codes.includes((error as NodeJS.ErrnoException | undefined)?.code ?? '');
}

function removeQuietly(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // taken over by a rename, or never made
  }
}
