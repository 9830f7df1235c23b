/**
 * NumPy's .npz files: a zip archive of .npy files, stored or deflated.
 *
 * Read from the central directory at the end (sizes in the local headers may be left open), every claimed size checked
 * against the file, output bounded by it, CRC-32 compared. Source: PKWARE APPNOTE 6.3, sections 4.3 to 4.5.
 */
import { crc32, deflateRawSync, inflateRawSync } from 'node:zlib';
import { failRange } from '../checks.js';
import { DeepHessianError } from '../errors.js';
import { writeFileAtomic } from './atomic.js';
import { badFile, checkFits, highestDeflateRatio } from './bytes.js';
import { readRegular } from './regular-file.js';
import { decodeNpy, encodeNpy, type NpyArray, type NpyWritable } from './npy.js';

interface Member {
  name: string;
  deflated: boolean;
  crc: number;
  packed: number;
  size: number;
  local: number;
}

/**
 * Reads all arrays of an .npz file, by name without '.npy'. Members of other kinds are left out.
 *
 * @throws DeepHessianError 'bad-file' naming file and member, 'unsupported' (encrypted, other packing), 'io'
 */
export async function readNpz(path: string, options: { finite?: boolean } = {}): Promise<Map<string, NpyArray>> {
  const bytes = await readRegular(path, (size) => checkFits(path, size));
  const arrays = new Map<string, NpyArray>();
  const { members, directory } = readDirectory(path, bytes);
  const packed = members.reduce((sum, member) => sum + member.packed, 0);
  // Members that share their bytes are the trick of small archives that unpack without end.
  if (packed > directory) throw badFile(path, `members of at most ${directory} bytes together`, `${packed}`);
  for (const member of members) {
    if (!member.name.endsWith('.npy')) continue;
    const name = member.name.slice(0, -4);
    if (arrays.has(name)) throw badFile(path, 'different names', `'${name}' twice`);
    arrays.set(
      name,
      decodeNpy(`${path} (${member.name})`, unpack(path, bytes, member, directory), options.finite ?? true),
    );
  }
  return arrays;
}

function readDirectory(path: string, bytes: Buffer): { members: Member[]; directory: number } {
  // The end record is 22 bytes and a comment of at most 65535.
  let end = bytes.length - 22;
  const lowest = Math.max(0, end - 65535);
  while (end >= lowest && bytes.readUInt32LE(end) !== 0x06054b50) end--;
  if (end < lowest) throw badFile(path, 'a zip archive (.npz)', 'no end record of one');
  const entries = bytes.readUInt16LE(end + 10);
  const size = bytes.readUInt32LE(end + 12);
  const start = bytes.readUInt32LE(end + 16);
  if (entries === 0xffff || start === 0xffffffff) {
    throw new DeepHessianError('unsupported', `${path}: zip archives beyond 4 GiB or 65534 members cannot be read`, {
      path,
    });
  }
  if (start + size > end) throw badFile(path, 'a central directory inside the file', `offset ${start}, ${size} bytes`);
  const members: Member[] = [];
  let at = start;
  for (let m = 0; m < entries; m++) {
    if (at + 46 > start + size || bytes.readUInt32LE(at) !== 0x02014b50) {
      throw badFile(path, `${entries} members in the central directory`, `${m}`);
    }
    const flags = bytes.readUInt16LE(at + 8);
    const method = bytes.readUInt16LE(at + 10);
    const nameLength = bytes.readUInt16LE(at + 28);
    const extraLength = bytes.readUInt16LE(at + 30);
    const next = at + 46 + nameLength + extraLength + bytes.readUInt16LE(at + 32);
    if (next > start + size) throw badFile(path, 'a whole central directory', `member ${m} beyond its end`);
    const name = bytes.toString('utf8', at + 46, at + 46 + nameLength);
    if (flags & 1 || (method !== 0 && method !== 8)) {
      const what = flags & 1 ? 'encrypted' : `packed by method ${method}`;
      throw new DeepHessianError(
        'unsupported',
        `${path}: member '${name}' is ${what}; stored and deflated can be read`,
        {
          path,
          name,
        },
      );
    }
    const member: Member = {
      name,
      deflated: method === 8,
      crc: bytes.readUInt32LE(at + 16),
      packed: bytes.readUInt32LE(at + 20),
      size: bytes.readUInt32LE(at + 24),
      local: bytes.readUInt32LE(at + 42),
    };
    readWideSizes(path, bytes.subarray(at + 46 + nameLength, at + 46 + nameLength + extraLength), member);
    members.push(member);
    at = next;
  }
  return { members, directory: start };
}

/** Sizes that are all ones stand in the zip64 extra field (id 1), in this order, 8 bytes each. */
function readWideSizes(path: string, extra: Buffer, member: Member): void {
  if (member.size !== 0xffffffff && member.packed !== 0xffffffff && member.local !== 0xffffffff) return;
  for (let at = 0; at + 4 <= extra.length;) {
    const length = extra.readUInt16LE(at + 2);
    if (extra.readUInt16LE(at) === 1) {
      let from = at + 4;
      for (const key of ['size', 'packed', 'local'] as const) {
        if (member[key] !== 0xffffffff) continue;
        if (from + 8 > Math.min(at + 4 + length, extra.length)) break;
        member[key] = Number(extra.readBigUInt64LE(from));
        from += 8;
      }
      return;
    }
    at += 4 + length;
  }
  throw badFile(path, `sizes of member '${member.name}'`, 'none');
}

function unpack(path: string, bytes: Buffer, member: Member, directory: number): Uint8Array {
  const { name, local, packed, size } = member;
  const where = `${path} (${name})`;
  if (local + 30 > directory || bytes.readUInt32LE(local) !== 0x04034b50) {
    throw badFile(where, 'a local header', `none at offset ${local}`);
  }
  const start = local + 30 + bytes.readUInt16LE(local + 26) + bytes.readUInt16LE(local + 28);
  if (start + packed > directory) throw badFile(where, `${packed} bytes inside the archive`, `offset ${start}`);
  const raw = bytes.subarray(start, start + packed);
  let content: Uint8Array = raw;
  if (member.deflated) {
    if (size > packed * highestDeflateRatio) {
      throw badFile(where, `at most ${packed * highestDeflateRatio} bytes unpacked`, `a claim of ${size}`);
    }
    checkFits(where, size);
    try {
      content = size === 0 ? new Uint8Array(0) : inflateRawSync(raw, { maxOutputLength: size });
    } catch (error) {
      throw badFile(where, `${size} deflated bytes`, (error as Error).message, error);
    }
  }
  if (content.length !== size) throw badFile(where, `${size} bytes`, `${content.length}`);
  const crc = crc32(content);
  if (crc !== member.crc) throw badFile(where, `CRC-32 ${member.crc.toString(16)}`, crc.toString(16));
  return content;
}

/** What {@link writeNpz} takes for one array: values, and a shape where it is not one-dimensional. */
export type NpzEntry = NpyWritable | { data: NpyWritable; shape: readonly number[] };

/**
 * Writes arrays to an .npz file, atomically. The same arrays give the same bytes (times are left at 1980).
 *
 * @param compress deflate the members. Default true.
 */
export async function writeNpz(path: string, arrays: Record<string, NpzEntry>, compress = true): Promise<void> {
  const parts: Uint8Array[] = [];
  const directory: Uint8Array[] = [];
  let offset = 0;
  for (const [key, entry] of Object.entries(arrays)) {
    if (key === '' || key.includes('/') || key.includes('\\')) failRange('writeNpz', 'arrays', 'plain names', key);
    const content = ArrayBuffer.isView(entry) ? encodeNpy(entry) : encodeNpy(entry.data, entry.shape);
    const packed = compress ? deflateRawSync(content) : content;
    const name = Buffer.from(`${key}.npy`, 'utf8');
    if (offset + packed.length > 0xfffffffe) {
      throw new DeepHessianError(
        'unsupported',
        `writing ${path}: an .npz file beyond 4 GiB; write .npy files instead`,
        { path },
      );
    }
    // Version 2.0, flag 11 (UTF-8 names), method, time 0 and date 1980-01-01, CRC, sizes, lengths of name and extra.
    const common = Buffer.alloc(26);
    common.writeUInt16LE(20, 0);
    common.writeUInt16LE(0x0800, 2);
    common.writeUInt16LE(compress ? 8 : 0, 4);
    common.writeUInt16LE(0x0021, 8);
    common.writeUInt32LE(crc32(content), 10);
    common.writeUInt32LE(packed.length, 14);
    common.writeUInt32LE(content.length, 18);
    common.writeUInt16LE(name.length, 22);
    const central = Buffer.alloc(14);
    central.writeUInt32LE(offset, 10);
    parts.push(signature(0x04034b50), common, name, packed);
    directory.push(signature(0x02014b50), Buffer.from([20, 0]), common, central, name);
    offset += 30 + name.length + packed.length;
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0);
  const end = Buffer.alloc(18);
  end.writeUInt16LE(Object.keys(arrays).length, 4);
  end.writeUInt16LE(Object.keys(arrays).length, 6);
  end.writeUInt32LE(size, 8);
  end.writeUInt32LE(offset, 12);
  await writeFileAtomic(path, [...parts, ...directory, signature(0x06054b50), end]);
}

function signature(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}
