/**
 * What the build needs from the machine: Node, a C++ compiler, make, CMake and OpenBLAS. Finds what is missing and,
 * on Debian or Ubuntu as root, installs it. Plain Node without packages: it runs before node_modules exists.
 */
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, readdirSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { run, SetupError, say } from './process.mjs';

const debianPackages = { cmake: 'cmake', compiler: 'g++', make: 'make', openblas: 'libopenblas-dev' };
const otherNames = 'CMake >= 3.18, a C++17 compiler, make and OpenBLAS with its development files';

/** Throws when this Node is older than the one `engines` names: 20.19, or 22.12 of the 22 line. */
export function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  const known = major > 22 || (major === 22 && minor >= 12) || (major === 20 && minor >= 19);
  if (!known)
    throw new SetupError(`Node ${process.versions.node} is too old: deep-hessian needs Node >= 20.19 (or >= 22.12).`);
}

/** Whether a program is on PATH. */
export function onPath(name) {
  const names = process.platform === 'win32' ? [`${name}.exe`, `${name}.cmd`] : [name];
  return (process.env.PATH ?? '').split(delimiter).some((folder) =>
    names.some((file) => {
      try {
        accessSync(join(folder, file), constants.X_OK);
        return true;
      } catch {
        return false;
      }
    }),
  );
}

function libraryFolders() {
  const folders = ['/usr/lib', '/usr/lib64', '/usr/local/lib', '/usr/local/lib64', '/opt/OpenBLAS/lib'];
  folders.push('/opt/homebrew/opt/openblas/lib', '/usr/local/opt/openblas/lib');
  if (process.env.OPENBLAS_DIR) folders.unshift(process.env.OPENBLAS_DIR, join(process.env.OPENBLAS_DIR, 'lib'));
  if (existsSync('/usr/lib')) {
    for (const name of readdirSync('/usr/lib')) {
      if (name.includes('-linux-gnu')) folders.push(join('/usr/lib', name), join('/usr/lib', name, 'openblas-pthread'));
    }
  }
  return folders;
}

/** The parts of the tool chain that are missing, by the names of `debianPackages`. */
export function missingTools() {
  const missing = [];
  if (!onPath('cmake')) missing.push('cmake');
  if (!['c++', 'g++', 'clang++'].some(onPath)) missing.push('compiler');
  if (!onPath('make') && !onPath('ninja')) missing.push('make');
  const libraries = ['libopenblas.so', 'libopenblas.dylib'];
  if (!libraryFolders().some((folder) => libraries.some((file) => existsSync(join(folder, file)))))
    missing.push('openblas');
  return missing;
}

/** Makes sure that the tool chain is there; installs what is missing where that is possible, or throws naming it. */
export async function ensureTools() {
  const missing = missingTools();
  if (missing.length === 0) return;
  const packages = missing.map((name) => debianPackages[name]);
  if (!onPath('apt-get')) throw new SetupError(`Building needs ${otherNames}; not found here: ${missing.join(', ')}.`);
  const line = `apt-get update && apt-get install -y ${packages.join(' ')}`;
  if (process.getuid?.() !== 0) {
    throw new SetupError(
      `Building needs the Debian packages ${packages.join(', ')}. Install them and start again:\n\n  sudo sh -c '${line}'\n`,
    );
  }
  await aptInstall(packages);
  const still = missingTools();
  if (still.length > 0) throw new SetupError(`After "${line}" these are still not found: ${still.join(', ')}.`);
}

/** Installs Debian packages as root. */
export async function aptInstall(packages) {
  say(`installing ${packages.join(' ')} with apt-get`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  await run('apt-get', ['update'], { name: 'apt-get-update', env });
  await run('apt-get', ['install', '-y', '--no-install-recommends', ...packages], { name: 'apt-get-install', env });
}

/**
 * A folder with include/node/common.gypi for node-gyp, so that it downloads nothing: npm_config_nodedir, else the
 * prefix of the running Node, else Debian's and Homebrew's. Null when there is none (node-gyp then downloads headers).
 */
export function nodeHeaders() {
  const candidates = [
    process.env.npm_config_nodedir,
    join(process.execPath, '..', '..'),
    '/usr',
    '/usr/local',
    '/opt/homebrew',
  ];
  return candidates.find((folder) => folder && existsSync(join(folder, 'include', 'node', 'common.gypi'))) ?? null;
}

/** Whether a command runs and ends with status 0. */
export function works(command, args) {
  return spawnSync(command, args, { stdio: 'ignore' }).status === 0;
}
