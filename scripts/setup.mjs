/**
 * npm run setup: from a bare clone to a built package. Checks the tool chain, installs npm packages from the lock
 * file, builds the addon with cmake-js and the TypeScript; does nothing for parts whose inputs have not changed.
 * Plain Node without packages: it runs before node_modules exists.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { main, root, run, say } from './lib/process.mjs';
import { hashOf, readStamps, withLock, writeStamp } from './lib/stamp.mjs';
import { checkNode, ensureTools } from './lib/toolchain.mjs';

const platform = `${process.platform}-${process.arch}`;

/** The parts in build order: inputs, the file that shows that the part is there, what to do. */
const parts = [
  {
    name: 'packages',
    inputs: () => hashOf(['package-lock.json'], platform),
    product: 'node_modules/.package-lock.json',
    async make() {
      say('installing npm packages from the lock file');
      const npm = process.env.npm_execpath;
      const args = ['ci', '--include=dev', '--no-audit', '--no-fund'];
      const hint = 'Is the npm registry reachable?';
      if (npm?.endsWith('.js')) await run(process.execPath, [npm, ...args], { name: 'npm-ci', hint });
      else await run('npm', args, { name: 'npm-ci', hint });
    },
  },
  {
    name: 'addon',
    inputs: () => hashOf(['native', 'CMakeLists.txt'], platform),
    product: 'build/Release/deep_hessian.node',
    async make() {
      say('building the addon with cmake-js');
      await run(process.execPath, ['node_modules/cmake-js/bin/cmake-js', 'compile'], { name: 'cmake-js' });
    },
  },
  {
    name: 'typescript',
    inputs: () => hashOf(['ts', 'tsconfig.json', 'package-lock.json']),
    product: 'dist/cli/main.js',
    async make() {
      say('compiling the TypeScript');
      await run(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.json'], { name: 'tsc' });
    },
  },
];

function stale() {
  const stamps = readStamps();
  return parts.filter((part) => !existsSync(join(root, part.product)) || stamps[part.name] !== part.inputs());
}

/** Brings every part up to date. */
export async function setup() {
  checkNode();
  if (stale().length === 0) return;
  await withLock(async () => {
    const started = performance.now();
    // What another process built meanwhile is not built again.
    const todo = stale();
    // Before the long steps, so that a missing compiler is told at once.
    if (todo.some((part) => part.name === 'addon')) await ensureTools();
    for (const part of todo) {
      const inputs = part.inputs();
      await part.make();
      writeStamp(part.name, inputs);
    }
    say(`ready after ${((performance.now() - started) / 1000).toFixed(1)} s`);
  });
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) await main(setup);
