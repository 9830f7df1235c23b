/**
 * Whether a prebuilt binary belongs to the native sources of a checkout: its record holds a hash of those it was made
 * from. Never asked in an installed package.
 */
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';

/** What the addon is made of, relative to the root. */
const inputs = ['native', 'CMakeLists.txt'];

/** SHA-256 over target, names and contents, as scripts/prebuild.mjs has it; half a megabyte, in a few milliseconds. */
export function sourceHash(root: string): string {
  const hash = createHash('sha256').update(`${process.platform}-${process.arch}\0`);
  const add = (name: string): void => {
    const full = path.join(root, name);
    if (!fs.existsSync(full)) return;
    if (fs.statSync(full).isDirectory()) for (const entry of fs.readdirSync(full).sort()) add(`${name}/${entry}`);
    else hash.update(`${name}\0`).update(fs.readFileSync(full)).update('\0');
  };
  for (const name of inputs) add(name);
  return hash.digest('hex');
}

/** Whether the record beside `binary` names the sources under `root`; false without a readable record. */
export function madeFromPresentSources(root: string, binary: string): boolean {
  try {
    const record = JSON.parse(fs.readFileSync(path.join(path.dirname(binary), 'prebuild.json'), 'utf8')) as {
      sources?: unknown;
    } | null;
    return record?.sources === sourceHash(root);
  } catch {
    return false;
  }
}
