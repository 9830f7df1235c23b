/**
 * Which parts of the set-up are up to date: a hash of each part's inputs, kept in .setup/stamp.json, and a lock so that
 * two commands started together do not build into each other.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root, say, SetupError, stateFolder } from './process.mjs';

const stampFile = join(stateFolder, 'stamp.json');
const lockFolder = join(stateFolder, 'lock');

/** Hash of files and folders (relative to the repository), and of `extra` strings. */
export function hashOf(paths, ...extra) {
  const hash = createHash('sha256');
  for (const text of extra) hash.update(`${text}\0`);
  const add = (path) => {
    const full = join(root, path);
    if (!existsSync(full)) return;
    if (statSync(full).isDirectory()) for (const name of readdirSync(full).sort()) add(`${path}/${name}`);
    else hash.update(`${path}\0`).update(readFileSync(full)).update('\0');
  };
  for (const path of paths) add(path);
  return hash.digest('hex');
}

export function readStamps() {
  try {
    return JSON.parse(readFileSync(stampFile, 'utf8'));
  } catch {
    return {};
  }
}

export function writeStamp(part, value) {
  mkdirSync(stateFolder, { recursive: true });
  const temporary = `${stampFile}.${process.pid}`;
  writeFileSync(temporary, `${JSON.stringify({ ...readStamps(), [part]: value }, null, 2)}\n`);
  renameSync(temporary, stampFile);
}

function alive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

function lockOwner() {
  try {
    return Number(readFileSync(join(lockFolder, 'pid'), 'utf8'));
  } catch {
    return 0;
  }
}

/** Runs `body` while no other set-up of this checkout runs; a lock whose owner is gone is taken over. */
export async function withLock(body) {
  mkdirSync(stateFolder, { recursive: true });
  const deadline = Date.now() + 20 * 60 * 1000;
  let ownerless = 0;
  for (let told = false; ;) {
    try {
      mkdirSync(lockFolder);
      break;
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
    }
    const owner = lockOwner();
    // Between the folder and the pid file there is a moment without owner; a second is ample.
    ownerless = owner === 0 ? ownerless + 1 : 0;
    if ((owner !== 0 && !alive(owner)) || ownerless > 10) {
      rmSync(lockFolder, { recursive: true, force: true });
      ownerless = 0;
      continue;
    }
    if (!told) say(`waiting for the set-up of process ${owner} to end`);
    told = true;
    if (Date.now() > deadline) throw new SetupError(`process ${owner} still holds ${lockFolder} after 20 minutes.`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  try {
    writeFileSync(join(lockFolder, 'pid'), String(process.pid));
    return await body();
  } finally {
    rmSync(lockFolder, { recursive: true, force: true });
  }
}
