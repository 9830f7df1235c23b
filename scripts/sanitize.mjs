/**
 * npm run sanitize: the native core under AddressSanitizer and UndefinedBehaviorSanitizer (the kernel tests and the
 * numerical suite), and the numerical suite's kernels under valgrind. Linux with GCC or Clang; nothing in build/ changes.
 *
 *     npm run sanitize               both
 *     npm run sanitize -- asan
 *     npm run sanitize -- valgrind
 *
 * Everything is built and run in build-asan/: a copy of the sources with its own addon. Array buffers come from malloc, so a
 * kernel that leaves a typed array by one element is caught.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { main, root, run, say, SetupError } from './lib/process.mjs';
import { checkNode, ensureTools, onPath } from './lib/toolchain.mjs';

const folder = join(root, 'build-asan');
const checkout = join(folder, 'checkout');

/** A copy of what runs, with links to what does not change. The addon is searched beside the sources. */
function copySources() {
  rmSync(checkout, { recursive: true, force: true });
  mkdirSync(join(checkout, 'build'), { recursive: true });
  const parts = ['native', 'ts', 'test', 'share', 'scripts', 'CMakeLists.txt', 'package.json', 'tsconfig.json'];
  for (const name of parts) cpSync(join(root, name), join(checkout, name), { recursive: true });
  symlinkSync(join(root, 'node_modules'), join(checkout, 'node_modules'), 'dir');
}

/** Builds the addon with the given flags into <folder>/<name> and returns the file. */
async function build(name, flags) {
  const target = join(folder, name);
  const joined = flags.join(' ');
  const settings = [
    '-DCMAKE_BUILD_TYPE=RelWithDebInfo',
    `-DCMAKE_CXX_FLAGS=${joined}`,
    `-DCMAKE_C_FLAGS=${joined}`,
    `-DCMAKE_SHARED_LINKER_FLAGS=${joined}`,
  ];
  say(`building the addon with ${joined}`);
  await run('cmake', ['-S', checkout, '-B', target, ...settings], { name: `sanitize-${name}-cmake` });
  await run('cmake', ['--build', target, '--parallel', '2'], { name: `sanitize-${name}` });
  return join(target, 'Release', 'deep_hessian.node');
}

function place(file) {
  const to = join(checkout, 'build', 'Release');
  mkdirSync(to, { recursive: true });
  cpSync(file, join(to, 'deep_hessian.node'));
}

function libraryPath(name) {
  const compiler = ['g++', 'c++', 'clang++'].find(onPath);
  const { stdout } = spawnSync(compiler, [`-print-file-name=${name}`], { encoding: 'utf8' });
  const path = stdout.trim();
  if (!path.includes('/') || !existsSync(path))
    throw new SetupError(`${compiler} has no ${name}: the sanitizers need it.`);
  return path;
}

async function asan() {
  const file = await build('asan', [
    '-fsanitize=address,undefined',
    '-fno-sanitize-recover=undefined',
    '-fno-omit-frame-pointer',
    '-g',
  ]);
  place(file);
  const env = {
    ...process.env,
    LD_PRELOAD: [libraryPath('libasan.so'), libraryPath('libubsan.so')].join(' '),
    // Node keeps memory to its end on purpose; leaks of the core are looked for by valgrind.
    ASAN_OPTIONS: 'detect_leaks=0:abort_on_error=0:exitcode=86',
    UBSAN_OPTIONS: 'print_stacktrace=1:halt_on_error=1:exitcode=86',
  };
  delete env.DEEP_HESSIAN_BINARY;
  const self = [
    '-e',
    `const { findAddon } = await import('./ts/native/addon.ts'); const found = findAddon();
     if (found.kernels === null) throw new Error(found.reason);`,
  ];
  await run(process.execPath, ['--import', 'tsx', '--input-type=module', ...self], {
    name: 'asan-loads',
    cwd: checkout,
    env,
  });
  await provesItself(env);
  const mocha = [
    'node_modules/mocha/bin/mocha.js',
    '--no-config',
    '--node-option',
    'import=tsx',
    '--timeout',
    '600000',
  ];
  say('kernel tests under AddressSanitizer and UndefinedBehaviorSanitizer');
  await run(process.execPath, [...mocha, '--recursive', '--extension', 'ts', 'test/native'], {
    name: 'asan-tests',
    cwd: checkout,
    env,
  });
  say('numerical suite under AddressSanitizer and UndefinedBehaviorSanitizer');
  await run(process.execPath, ['--import', 'tsx', 'ts/cli/main.ts', 'verify'], {
    name: 'asan-verify',
    cwd: checkout,
    env,
  });
  say('no fault found by AddressSanitizer and UndefinedBehaviorSanitizer');
}

/** A sanitizer that sees nothing proves nothing: a read behind an array's end must be caught. */
async function provesItself(env) {
  const source = join(folder, 'overrun.cc');
  const { writeFileSync } = await import('node:fs');
  writeFileSync(
    source,
    '#include <cstdlib>\nint main(int n, char**) { char* p = (char*)std::malloc(8); return p[7 + n]; }\n',
  );
  const program = join(folder, 'overrun');
  await run(['g++', 'c++', 'clang++'].find(onPath), ['-fsanitize=address', '-g', '-o', program, source], {
    name: 'asan-overrun',
  });
  const { status, stderr } = spawnSync(program, [], { env: { ...env, LD_PRELOAD: '' }, encoding: 'utf8' });
  if (status !== 86 || !/heap-buffer-overflow/.test(stderr))
    throw new SetupError('AddressSanitizer does not catch an overrun on this machine.');
}

async function valgrind() {
  if (!onPath('valgrind')) throw new SetupError('valgrind is not on PATH (Debian package valgrind).');
  place(await build('debug', ['-g', '-fno-omit-frame-pointer']));
  say('kernels of the numerical suite under valgrind');
  const log = join(folder, 'valgrind.log');
  rmSync(log, { force: true });
  const env = {
    ...process.env,
    // Instruction sets that valgrind knows.
    OPENBLAS_CORETYPE: 'Haswell',
    DEEP_HESSIAN_SIMD: 'avx2',
  };
  delete env.DEEP_HESSIAN_BINARY;
  const tool = [
    '--leak-check=full',
    '--show-leak-kinds=definite',
    '--num-callers=40',
    `--log-file=${log}`,
    '--error-limit=no',
  ];
  const program = [
    process.execPath,
    '--jitless',
    '--single-threaded',
    '--import',
    'tsx',
    'ts/cli/main.ts',
    'verify',
    '--only',
    'kernels',
  ];
  await run('valgrind', [...tool, ...program], { name: 'valgrind', cwd: checkout, env });
  // The JavaScript engine has reports of its own; those with a frame of the core count.
  const blocks = readFileSync(log, 'utf8').split(/\n==\d+== \n/);
  const own = blocks.filter((block) => /deep_hessian/.test(block) && /at 0x|by 0x/.test(block));
  if (own.length > 0)
    throw new SetupError(`valgrind found ${own.length} faults in the core:\n${own.slice(0, 5).join('\n\n')}`);
  say('no fault in the core found by valgrind');
}

await main(async () => {
  if (process.platform !== 'linux') throw new SetupError('the sanitizers are set up for Linux.');
  checkNode();
  await ensureTools();
  const [wanted = 'all'] = process.argv.slice(2);
  if (!['all', 'asan', 'valgrind'].includes(wanted))
    throw new SetupError(`expected asan or valgrind, received ${wanted}.`);
  mkdirSync(folder, { recursive: true });
  copySources();
  if (wanted !== 'valgrind') await asan();
  if (wanted !== 'asan') await valgrind();
});
