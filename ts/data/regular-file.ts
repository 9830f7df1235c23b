/**
 * Opening files that somebody named. A named pipe under such a name would hold the process until a writer comes, and a
 * device may never end: only regular files are read, and that is asked of what has been opened, not of the name before.
 *
 * A text that may as well be piped can be taken from the process's own descriptors, /dev/stdin or /dev/fd/3 (what a
 * shell's <(..) gives): these have their writer already.
 */
import { closeSync, constants, fstatSync, openSync, readSync, type Stats } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { DeepHessianError } from '../errors.js';
import { ioError } from './atomic.js';

/** With O_NONBLOCK a pipe without writer opens at once; for regular files it says nothing. Windows has no such flag. */
const flags = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0);

/** The process's own open files. */
const ownDescriptor = /^\/(dev\/(stdin|fd\/\d+)|proc\/self\/fd\/\d+)$/;

/** Most bytes taken from a pipe, whose size is not known before. */
const mostPiped = 256 * 2 ** 20;

function kindOf(info: Stats): string {
  if (info.isDirectory()) return 'a folder';
  if (info.isFIFO()) return 'a named pipe';
  if (info.isSocket()) return 'a socket';
  return 'a device';
}

/** @throws DeepHessianError 'io' when `info` is not that of a regular file */
export function checkRegular(path: string, info: Stats, action = 'reading'): void {
  if (info.isFile()) return;
  const kind = kindOf(info);
  throw new DeepHessianError('io', `${action} ${path} failed: it is ${kind}, not a regular file`, { path, kind });
}

/**
 * Opens a regular file for reading; the caller closes it.
 *
 * @returns the descriptor and the size in bytes
 * @throws DeepHessianError 'io' when it is missing, unreadable or not a regular file
 */
export function openRegularSync(path: string): { descriptor: number; size: number } {
  let descriptor: number | null = null;
  try {
    descriptor = openSync(path, flags);
    const info = fstatSync(descriptor);
    checkRegular(path, info);
    return { descriptor, size: info.size };
  } catch (error) {
    if (descriptor !== null) closeSync(descriptor);
    throw ioError('reading', path, error);
  }
}

/** {@link openRegularSync} for callers that may wait. */
export async function openRegular(path: string): Promise<{ handle: FileHandle; size: number }> {
  let handle: FileHandle | null = null;
  try {
    handle = await open(path, flags);
    const info = await handle.stat();
    checkRegular(path, info);
    return { handle, size: info.size };
  } catch (error) {
    await handle?.close();
    throw ioError('reading', path, error);
  }
}

/**
 * All bytes of a regular file.
 *
 * @param check called with the size before anything is read; throws for a file that is too large
 * @throws DeepHessianError 'io' when it is missing, unreadable or not a regular file
 */
export async function readRegular(path: string, check?: (size: number) => void): Promise<Buffer> {
  const { handle, size } = await openRegular(path);
  try {
    check?.(size);
    return await handle.readFile();
  } catch (error) {
    throw ioError('reading', path, error);
  } finally {
    await handle.close();
  }
}

/**
 * All of a text file (UTF-8).
 *
 * @param options piped: whether /dev/stdin and /dev/fd/<n> may be pipes; default false
 * @throws DeepHessianError 'io' when it is missing, unreadable or not a regular file
 */
export function readTextSync(path: string, { piped = false }: { piped?: boolean } = {}): string {
  let descriptor: number | null = null;
  try {
    const own = piped && ownDescriptor.test(path);
    if (own) descriptor = openSync(path, 'r');
    else ({ descriptor } = openRegularSync(path));
    const parts: Buffer[] = [];
    let total = 0;
    for (;;) {
      const part = Buffer.allocUnsafe(1 << 16);
      const count = readSync(descriptor, part, 0, part.length, null);
      if (count === 0) break;
      parts.push(part.subarray(0, count));
      total += count;
      if (own && total > mostPiped) throw new Error(`more than ${mostPiped} bytes came`);
    }
    return Buffer.concat(parts, total).toString('utf8');
  } catch (error) {
    throw ioError('reading', path, error);
  } finally {
    if (descriptor !== null) closeSync(descriptor);
  }
}
