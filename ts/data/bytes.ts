/**
 * Bytes of a file, unpacked when it is gzipped, with a bound on what unpacking may yield.
 *
 * Gzip is told by its first two bytes (1f 8b), not by the name. Deflate packs at most 1032 : 1 (RFC 1951: 258 bytes
 * from two bits), so a size that a header claims can be checked against the size of the file before anything is
 * allocated; and a stream that yields more than its bound is cut off at once.
 */
import { stat } from 'node:fs/promises';
import { freemem } from 'node:os';
import { createGunzip } from 'node:zlib';
import { DeepHessianError } from '../errors.js';
import { ioError } from './atomic.js';
import { checkRegular, openRegular } from './regular-file.js';

/** Highest ratio of unpacked to packed bytes that deflate can reach. */
export const highestDeflateRatio = 1032;

/** The error of a file that is not what it should be: names the file, what was expected and what was found. */
export function badFile(path: string, expected: string, found: string, cause?: unknown): DeepHessianError {
  return new DeepHessianError(
    'bad-file',
    `${path}: expected ${expected}, found ${found}`,
    { path, expected, found },
    cause === undefined ? undefined : { cause },
  );
}

/**
 * Refuses a job that does not fit in memory before anything is allocated for it.
 *
 * @param what the thing that needs it, for the message
 * @throws DeepHessianError 'out-of-memory' with both figures
 */
export function checkFits(what: string, bytes: number): void {
  // 0 or an absurdly large figure where no limit (of a container) is set.
  const limit = process.constrainedMemory();
  const left = limit > 0 ? Math.max(0, limit - process.memoryUsage.rss()) : Infinity;
  const available = Math.min(freemem(), left);
  if (bytes <= available) return;
  const gigabytes = (b: number): string => `${(b / 2 ** 30).toFixed(2)} GiB`;
  throw new DeepHessianError(
    'out-of-memory',
    `${what} needs ${gigabytes(bytes)} of memory, ${gigabytes(available)} are available; ` +
      'take fewer samples or smaller images',
    { bytes, available },
  );
}

/** Size of a regular file in bytes. @throws DeepHessianError 'io' when it is missing or no file */
export async function fileSize(path: string): Promise<number> {
  let info;
  try {
    info = await stat(path);
  } catch (error) {
    throw ioError('reading', path, error);
  }
  checkRegular(path, info);
  return info.size;
}

export interface OpenBytes {
  /** Whether the file is gzipped. */
  gzip: boolean;
  /** Bytes on disk. */
  fileBytes: number;
  /** No more bytes than this can come out. */
  bound: number;
  chunks: AsyncGenerator<Uint8Array, void, undefined>;
}

/**
 * Opens a file for reading in chunks.
 *
 * @param maxBytes refuse to yield more than this many unpacked bytes
 * @throws DeepHessianError 'io' (missing, unreadable), 'bad-file' (corrupt gzip, more than `maxBytes`)
 */
export async function openBytes(path: string, maxBytes = Number.MAX_SAFE_INTEGER): Promise<OpenBytes> {
  const { handle, size: fileBytes } = await openRegular(path);
  const magic = new Uint8Array(2);
  try {
    await handle.read(magic, 0, 2, 0);
  } catch (error) {
    throw ioError('reading', path, error);
  } finally {
    await handle.close();
  }
  const gzip = magic[0] === 0x1f && magic[1] === 0x8b;
  const bound = Math.min(maxBytes, gzip ? fileBytes * highestDeflateRatio : fileBytes);
  if (!gzip && fileBytes > maxBytes) throw badFile(path, `at most ${maxBytes} bytes`, `${fileBytes} bytes`);
  return { gzip, fileBytes, bound, chunks: readChunks(path, gzip, maxBytes) };
}

async function* readChunks(path: string, gzip: boolean, maxBytes: number): AsyncGenerator<Uint8Array, void, undefined> {
  const { handle } = await openRegular(path);
  const file = handle.createReadStream({ highWaterMark: 1 << 18 });
  let total = 0;
  const gunzip = gzip ? createGunzip({ chunkSize: 1 << 18 }) : null;
  if (gunzip) {
    file.on('error', (error) => gunzip.destroy(error));
    file.pipe(gunzip);
  }
  try {
    for await (const chunk of (gunzip ?? file) as AsyncIterable<Uint8Array>) {
      total += chunk.length;
      if (total > maxBytes) throw badFile(path, `at most ${maxBytes} bytes`, 'more after unpacking');
      yield chunk;
    }
  } catch (error) {
    const code = (error as { code?: unknown }).code;
    if (typeof code === 'string' && code.startsWith('Z_')) {
      throw badFile(path, 'a whole gzip file', `a corrupt or truncated one (${(error as Error).message})`, error);
    }
    throw ioError('reading', path, error);
  } finally {
    gunzip?.destroy();
    file.destroy();
  }
}

/** Takes bytes from chunks in pieces of asked sizes. */
export class ByteReader {
  private chunk: Uint8Array = new Uint8Array(0);
  private at = 0;
  /** Bytes taken so far. */
  taken = 0;

  constructor(
    private readonly path: string,
    private readonly chunks: AsyncGenerator<Uint8Array, void, undefined>,
  ) {}

  /**
   * Fills `out`.
   *
   * @param what the thing read, for the message
   * @throws DeepHessianError 'bad-file' when the file ends before that
   */
  async fill(out: Uint8Array, what: string): Promise<Uint8Array> {
    let filled = 0;
    while (filled < out.length) {
      if (this.at === this.chunk.length && !(await this.advance())) {
        throw badFile(this.path, `${out.length} bytes of ${what}`, `the end of the file after ${filled}`);
      }
      const count = Math.min(out.length - filled, this.chunk.length - this.at);
      out.set(this.chunk.subarray(this.at, this.at + count), filled);
      filled += count;
      this.at += count;
    }
    this.taken += filled;
    return out;
  }

  /** @throws DeepHessianError 'bad-file' when anything follows */
  async end(what: string): Promise<void> {
    if (this.at < this.chunk.length || (await this.advance())) {
      throw badFile(this.path, `the end of the file after ${this.taken} bytes (${what})`, 'more bytes');
    }
  }

  private async advance(): Promise<boolean> {
    do {
      const { value, done } = await this.chunks.next();
      if (done) return false;
      this.chunk = value;
      this.at = 0;
    } while (this.chunk.length === 0);
    return true;
  }

  /** Closes the file early. */
  async close(): Promise<void> {
    await this.chunks.return();
  }
}

/** All bytes of a file, unpacked when gzipped. */
export async function readBytes(path: string, maxBytes: number): Promise<Buffer> {
  const { chunks } = await openBytes(path, maxBytes);
  const parts: Uint8Array[] = [];
  for await (const chunk of chunks) parts.push(chunk);
  return Buffer.concat(parts);
}
