/**
 * npm run native:prebuilt: the binary that the package ships for this platform. Builds the addon with OpenBLAS linked
 * statically into build-release/ (build/ is left alone), strips it, checks what it needs of the system it will run on,
 * tries it, and only then puts it into prebuilds/<platform>-<arch>/ with a record of the checks in prebuild.json.
 *
 * `--check <file>` checks a binary that is there already. `OPENBLAS_DIR` names the folder of libopenblas.a.
 *
 * The npm script is not called prebuild:native: npm would run that before build:native.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join, relative } from 'node:path';
import { pathToFileURL } from 'node:url';
import { gzipSync } from 'node:zlib';
import { main, root, run, say, SetupError } from './lib/process.mjs';
import { hashOf } from './lib/stamp.mjs';
import { checkNode, ensureTools, onPath } from './lib/toolchain.mjs';

export const target = `${process.platform}-${process.arch}`;
export const prebuiltFolder = join(root, 'prebuilds', target);
export const prebuiltFile = join(prebuiltFolder, 'deep_hessian.node');

/**
 * The oldest glibc that the binary may ask for. On x64 native/glibc_compat.c binds every function to its oldest
 * version: what remains is aligned_alloc (2.16) and thread-local destructors (2.18). Elsewhere the bound is that of
 * Node 20's own binaries, 2.28.
 */
export const glibcBound = process.arch === 'x64' ? '2.18' : '2.28';
/** Largest binary and largest gzipped binary, bytes: a build that forgot to strip or to drop CPU kernels is refused. */
export const sizeBound = { file: 14 * 2 ** 20, gzipped: 5 * 2 ** 20 };

/** Libraries that every system with Node has. */
const allowedLibraries = {
  linux: /^(libc\.so\.6|libm\.so\.6|libgcc_s\.so\.1|libpthread\.so\.0|libdl\.so\.2|ld-linux[-\w]*\.so\.\d)$/,
  darwin: /^(\/usr\/lib\/lib(System|c\+\+)[.\w]*\.dylib|@rpath\/deep_hessian\.node)$/,
};

const exported = ['napi_register_module_v1', 'node_api_module_get_api_version_v1'];

function output(command, args) {
  const { status, stdout, error } = spawnSync(command, args, { encoding: 'utf8', maxBuffer: 2 ** 27 });
  if (error || status !== 0)
    throw new SetupError(`"${[command, ...args].join(' ')}" failed: ${error?.message ?? `status ${status}`}`);
  return stdout;
}

const newer = (a, b) => {
  const [x, y] = [a, b].map((version) => version.split('.').map(Number));
  for (let i = 0; i < Math.max(x.length, y.length); i++)
    if ((x[i] ?? 0) !== (y[i] ?? 0)) return (x[i] ?? 0) > (y[i] ?? 0);
  return false;
};

/** What an ELF file asks of its system: libraries, highest glibc version and the function that wants it, exports. */
export function inspectElf(file) {
  const libraries = [...output('objdump', ['-p', file]).matchAll(/NEEDED\s+(\S+)/g)].map((match) => match[1]);
  const symbols = output('objdump', ['-T', file]).split('\n');
  let glibc = { version: '0', symbol: '' };
  for (const line of symbols) {
    const match = /\(?GLIBC_([\d.]+)\)?\s+(\S+)$/.exec(line);
    if (match && newer(match[1], glibc.version)) glibc = { version: match[1], symbol: match[2] };
  }
  const defined = symbols.filter((line) => /^[0-9a-f]+\s+g/.test(line)).map((line) => line.trim().split(/\s+/).at(-1));
  const cxx = symbols.filter((line) => /GLIBCXX_|CXXABI_/.test(line)).length;
  return { libraries, glibc, exports: defined.sort(), cxx };
}

/** Everything that is wrong with a binary, as sentences; none when it can be shipped. */
export function findFaults(file) {
  const faults = [];
  let facts = {};
  if (process.platform === 'linux') {
    facts = inspectElf(file);
    for (const name of facts.libraries)
      if (!allowedLibraries.linux.test(name)) faults.push(`it needs the library ${name}`);
    if (newer(facts.glibc.version, glibcBound))
      faults.push(`it needs glibc ${facts.glibc.version} (${facts.glibc.symbol}), more than ${glibcBound}`);
    if (facts.cxx > 0) faults.push(`it takes ${facts.cxx} symbols from the system's libstdc++`);
    if (facts.exports.join() !== exported.join()) faults.push(`it exports ${facts.exports.join(', ')}`);
  } else if (process.platform === 'darwin') {
    facts.libraries = output('otool', ['-L', file])
      .split('\n')
      .slice(1)
      .map((line) => line.trim().split(' ')[0])
      .filter(Boolean);
    for (const name of facts.libraries)
      if (!allowedLibraries.darwin.test(name) && !name.endsWith('deep_hessian.node'))
        faults.push(`it needs the library ${name}`);
  }
  const bytes = statSync(file).size;
  const gzipped = gzipSync(readFileSync(file), { level: 9 }).length;
  if (bytes > sizeBound.file) faults.push(`it has ${bytes} bytes, more than ${sizeBound.file}`);
  if (gzipped > sizeBound.gzipped) faults.push(`it has ${gzipped} bytes gzipped, more than ${sizeBound.gzipped}`);
  return { faults, facts: { ...facts, bytes, gzipped } };
}

/** Loads the binary in a fresh process and lets it solve a 3 x 3 system; returns its description of itself. */
function tryBinary(file) {
  const source = `
    const k = require(process.argv[1]);
    const a = Float64Array.of(4, 1, 0, 1, 4, 1, 0, 1, 4), b = Float64Array.of(6, 12, 14);
    if (k.potrf(0, 3, a, 0, 3) !== 0) throw new Error('potrf failed');
    k.potrs(0, 3, 1, a, 0, 3, b, 0, 3);
    if (![1, 2, 3].every((x, i) => Math.abs(b[i] - x) < 1e-14)) throw new Error('potrs is wrong: ' + b);
    process.stdout.write(JSON.stringify(k.info()));`;
  const { status, stdout, stderr } = spawnSync(process.execPath, ['-e', source, file], { encoding: 'utf8' });
  if (status !== 0) throw new SetupError(`the binary does not work here:\n${stderr}`);
  return JSON.parse(stdout);
}

/** Hash of all that the binary is made of. */
export const sourceHash = () => hashOf(['native', 'CMakeLists.txt'], target);

async function build() {
  checkNode();
  await ensureTools();
  const folder = join(root, 'build-release');
  const cmake = join(root, 'node_modules', 'cmake-js', 'bin', 'cmake-js');
  const flags = ['--CDDEEP_HESSIAN_BLAS=static', '--CDDEEP_HESSIAN_PORTABLE=ON'];
  if (process.env.OPENBLAS_DIR) flags.push(`--CDOPENBLAS_DIR=${process.env.OPENBLAS_DIR}`);
  // OpenBLAS before 0.3.29 multiplies triangles well by itself.
  if (process.env.DEEP_HESSIAN_GEMMTR) flags.push('--CDDEEP_HESSIAN_GEMMTR=ON');
  say(`building the addon with OpenBLAS inside, into ${relative(root, folder)}/`);
  await run(process.execPath, [cmake, 'compile', '-O', folder, ...flags], { name: 'native-prebuilt' });
  return join(folder, 'Release', 'deep_hessian.node');
}

function strip(file) {
  if (process.platform === 'linux') output('strip', ['--strip-unneeded', file]);
  else if (process.platform === 'darwin' && onPath('strip')) output('strip', ['-x', file]);
}

async function prebuild() {
  const checked = process.argv.indexOf('--check');
  if (checked > 0) {
    const file = process.argv[checked + 1] ?? prebuiltFile;
    const { faults, facts } = findFaults(file);
    if (faults.length > 0) throw new SetupError(`${file} cannot be shipped: ${faults.join('; ')}.`);
    say(describe(file, facts, tryBinary(file)));
    return;
  }
  const sources = sourceHash();
  const built = await build();
  if (!existsSync(built)) throw new SetupError(`cmake-js ended without ${built}.`);
  mkdirSync(prebuiltFolder, { recursive: true });
  // A name that nobody loads, until everything is known to be right.
  const candidate = join(prebuiltFolder, `candidate-${process.pid}.node`);
  try {
    copyFileSync(built, candidate);
    strip(candidate);
    chmodSync(candidate, 0o644);
    const { faults, facts } = findFaults(candidate);
    if (faults.length > 0) throw new SetupError(`the binary cannot be shipped: ${faults.join('; ')}.`);
    const info = tryBinary(candidate);
    const sha256 = createHash('sha256').update(readFileSync(candidate)).digest('hex');
    const record = {
      target,
      openblas: info.version,
      ...(facts.glibc ? { glibc: facts.glibc.version } : {}),
      libraries: facts.libraries ?? [],
      bytes: facts.bytes,
      gzipped: facts.gzipped,
      sha256,
      sources,
    };
    renameSync(candidate, prebuiltFile);
    writeFileSync(join(prebuiltFolder, 'prebuild.json'), `${JSON.stringify(record, null, 2)}\n`);
    say(describe(prebuiltFile, facts, info));
  } finally {
    rmSync(candidate, { force: true });
  }
}

function describe(file, facts, info) {
  const size = (bytes) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
  const glibc = facts.glibc ? `, glibc >= ${facts.glibc.version} (${facts.glibc.symbol})` : '';
  return `${relative(root, file)}: ${size(facts.bytes)}, ${size(facts.gzipped)} gzipped${glibc}, needs ${(facts.libraries ?? []).join(' ')}; ${info.version}, core ${info.core}`;
}

// Imported by `node -e`, there is no script.
if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) await main(prebuild);
