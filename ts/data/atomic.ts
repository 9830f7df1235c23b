/**
 * Files that are whole or not there at all.
 *
 * Data goes to a temporary name in the target's own folder (a rename is atomic only within one file system), is
 * flushed to the disk, renamed over the target, and the folder is flushed so that the new name survives a power cut.
 */
import { randomBytes } from 'node:crypto';
import {
  existsSync,
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { open, rename, unlink, type FileHandle } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { DeepHessianError } from '../errors.js';

const suffix = '.partial';

function temporaryName(path: string): string {
  return join(dirname(path), `.${basename(path)}.${process.pid}-${randomBytes(6).toString('hex')}${suffix}`);
}

/** A DeepHessianError 'io' that says what was done to which file; the library's own errors and misuse pass through. */
export function ioError(action: string, path: string, cause: unknown): Error {
  if (cause instanceof DeepHessianError) return cause;
  if ((cause instanceof TypeError || cause instanceof RangeError) && !('code' in cause)) return cause;
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new DeepHessianError('io', `${action} ${path} failed: ${reason}`, { path }, { cause });
}

/** Some file systems refuse to flush a folder; the rename stands all the same. */
function syncFolder(path: string): void {
  let descriptor: number;
  try {
    descriptor = openSync(dirname(path), 'r');
  } catch {
    return;
  }
  try {
    fsyncSync(descriptor);
  } catch {
    // see above
  } finally {
    closeSync(descriptor);
  }
}

/**
 * Writes a file so that at every moment, kill -9 included, either the old or the new content is there, complete.
 *
 * @param data text (UTF-8) or bytes, or several of them one after the other
 * @throws DeepHessianError 'io' naming the file; nothing is left behind then
 */
export function writeFileAtomicSync(
  path: string,
  data: string | ArrayBufferView | readonly (string | ArrayBufferView)[],
): void {
  const temporary = temporaryName(path);
  let descriptor = -1;
  try {
    descriptor = openSync(temporary, 'wx', 0o666);
    const parts = Array.isArray(data) ? (data as readonly (string | ArrayBufferView)[]) : [data as string];
    for (const part of parts) {
      const bytes = toBytes(part);
      for (let at = 0; at < bytes.length;) at += writeSync(descriptor, bytes, at, bytes.length - at);
    }
    fsyncSync(descriptor);
    closeSync(descriptor);
    descriptor = -1;
    renameSync(temporary, path);
  } catch (error) {
    if (descriptor >= 0) closeSync(descriptor);
    removeQuietly(temporary);
    throw ioError('writing', path, error);
  }
  syncFolder(path);
}

/** {@link writeFileAtomicSync} without blocking. */
export async function writeFileAtomic(
  path: string,
  data: string | ArrayBufferView | readonly (string | ArrayBufferView)[],
): Promise<void> {
  const file = await AtomicFile.create(path);
  try {
    const parts = Array.isArray(data) ? (data as readonly (string | ArrayBufferView)[]) : [data as string];
    for (const part of parts) await file.write(part);
    await file.commit();
  } catch (error) {
    await file.discard();
    throw error;
  }
}

/**
 * A file written piece by piece that takes its name only on {@link AtomicFile.commit}.
 *
 * @example
 * const file = await AtomicFile.create('big.bin');
 * try { await file.write(bytes); await file.commit(); } catch (error) { await file.discard(); throw error; }
 */
export class AtomicFile {
  private handle: FileHandle | null;
  private position = 0;

  private constructor(
    readonly path: string,
    private readonly temporary: string,
    handle: FileHandle,
  ) {
    this.handle = handle;
  }

  static async create(path: string): Promise<AtomicFile> {
    const temporary = temporaryName(path);
    try {
      return new AtomicFile(path, temporary, await open(temporary, 'wx', 0o666));
    } catch (error) {
      throw ioError('writing', path, error);
    }
  }

  /** Bytes appended so far. */
  get bytes(): number {
    return this.position;
  }

  /** Appends. Calls must not overlap. */
  async write(data: string | ArrayBufferView): Promise<void> {
    const bytes = toBytes(data);
    await this.writeAt(bytes, this.position);
    this.position += bytes.length;
  }

  /** Overwrites what was written before at a byte offset (a header, once the sizes are known). */
  async writeAt(data: string | ArrayBufferView, offset: number): Promise<void> {
    const bytes = toBytes(data);
    if (!this.handle) throw new DeepHessianError('io', `writing ${this.path} failed: the file is closed`);
    try {
      for (let at = 0; at < bytes.length;) {
        at += (await this.handle.write(bytes, at, bytes.length - at, offset + at)).bytesWritten;
      }
    } catch (error) {
      throw ioError('writing', this.path, error);
    }
  }

  /** Flushes, closes and gives the file its name. */
  async commit(): Promise<void> {
    if (!this.handle) throw new DeepHessianError('io', `writing ${this.path} failed: the file is closed`);
    try {
      await this.handle.sync();
      await this.handle.close();
      this.handle = null;
      await rename(this.temporary, this.path);
    } catch (error) {
      throw ioError('writing', this.path, error);
    }
    syncFolder(this.path);
  }

  /** Closes and removes the temporary file; harmless after {@link AtomicFile.commit}. */
  async discard(): Promise<void> {
    const handle = this.handle;
    this.handle = null;
    await handle?.close().catch(() => undefined);
    await unlink(this.temporary).catch(() => undefined);
  }
}

/** Makes a folder and its parents. @throws DeepHessianError 'io' */
export function makeFolder(path: string): void {
  try {
    // Not mkdirSync's own `recursive`: where the parent exists and mkdir still answers ENOENT (/proc), it never returns.
    const missing: string[] = [];
    for (let at = resolve(path); !existsSync(at); at = dirname(at)) missing.push(at);
    for (const folder of missing.reverse()) {
      try {
        mkdirSync(folder);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      }
    }
    if (!statSync(path).isDirectory()) throw new Error('a file of that name is in the way');
  } catch (error) {
    throw ioError('making folder', path, error);
  }
}

/**
 * Removes what killed processes left in `folder`: temporary files of this module that are older than `age` (ms).
 *
 * @returns how many were removed
 */
export function removeLeftovers(folder: string, age = 3600_000): number {
  let removed = 0;
  for (const name of readdirSync(folder)) {
    if (!name.startsWith('.') || !/\.\d+-[0-9a-f]{12}\.partial$/.test(name)) continue;
    const path = join(folder, name);
    try {
      if (Date.now() - statSync(path).mtimeMs < age) continue;
      unlinkSync(path);
      removed++;
    } catch {
      // gone meanwhile, or not ours to remove
    }
  }
  return removed;
}

function toBytes(data: string | ArrayBufferView): Uint8Array {
  return typeof data === 'string'
    ? Buffer.from(data, 'utf8')
    : new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

function removeQuietly(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // never made
  }
}
