/**
 * npm run pack:gpu: what it takes to test and measure on a machine that has an NVIDIA driver and CUDA's libraries, but neither Node
 * nor a network: Node itself, the prebuilt binary, the command line, the benchmark and the device suites in one archive.
 *
 *     npm run pack:gpu                    # build/deep-hessian-gpu.tar.xz
 *     tar xf deep-hessian-gpu.tar.xz && deep-hessian-gpu/run test && deep-hessian-gpu/run bench rates hessian
 */
import { build } from 'esbuild';
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { main, root, run, say } from './lib/process.mjs';
import { prebuiltFile } from './prebuild.mjs';

const name = 'deep-hessian-gpu';
const target = join(root, 'build', name);
const archive = `${target}.tar.xz`;

/** Specs that run on a card where there is one. */
const suites = [
  'test/device/conformance.test.ts',
  'test/derivatives/device-point.test.ts',
  'test/inverse/device.test.ts',
  'test/inverse/device-chain.test.ts',
  'test/optimize/on-device.test.ts',
];

/** Large packages that only drawing and images need: not in the archive. */
const absent = ['sharp', 'vega', 'vega-lite'];

const runner = `#!/bin/sh
# Tests and measures deep-hessian on this machine's GPU.
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
export DEEP_HESSIAN_BINARY="\${DEEP_HESSIAN_BINARY-$here/deep_hessian.node}"
command=$1
[ $# -gt 0 ] && shift
case $command in
  test) exec "$here/node" "$here/node_modules/mocha/bin/mocha.js" --no-config --timeout 600000 "$@" ${suites.map((file) => `"$here/${file.replace(/\.ts$/, '.mjs')}"`).join(' ')} ;;
  bench) exec "$here/node" "$here/bench/gpu.mjs" "$@" ;;
  cli) exec "$here/node" "$here/ts/cli/main.mjs" "$@" ;;
  *) echo "usage: run test [mocha options] | run bench [sections] | run cli info | run cli train --device cuda ..." >&2; exit 2 ;;
esac
`;

/** A package and what it needs, from node_modules. */
function copyPackage(packageName, from = root, seen = new Set()) {
  let folder = from;
  while (!existsSync(join(folder, 'node_modules', packageName))) folder = dirname(folder);
  const source = join(folder, 'node_modules', packageName);
  if (seen.has(source)) return;
  seen.add(source);
  cpSync(source, join(target, source.slice(root.length)), { recursive: true, dereference: true });
  const { dependencies = {} } = JSON.parse(readFileSync(join(source, 'package.json'), 'utf8'));
  for (const dependency of Object.keys(dependencies)) copyPackage(dependency, source, seen);
}

await main(async () => {
  say('building the binary');
  await run(process.execPath, ['scripts/prebuild.mjs'], { name: 'prebuild' });
  rmSync(target, { recursive: true, force: true });
  mkdirSync(target, { recursive: true });
  say('bundling');
  await build({
    entryPoints: [...suites, 'bench/gpu.ts', 'ts/cli/main.ts'],
    absWorkingDir: root,
    outdir: target,
    outbase: root,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    external: absent,
    // Bundled CommonJS packages ask for `require`.
    banner: {
      js: "import { createRequire as bundleRequire } from 'node:module'; const require = bundleRequire(import.meta.url);",
    },
    logLevel: 'error',
  });
  copyPackage('mocha');
  cpSync(join(root, 'test/golden'), join(target, 'test/golden'), { recursive: true });
  cpSync(join(root, 'bench/peers'), join(target, 'bench/peers'), { recursive: true });
  for (const file of ['package.json', 'LICENSE', 'THIRD_PARTY_NOTICES.md'])
    cpSync(join(root, file), join(target, file));
  cpSync(prebuiltFile, join(target, 'deep_hessian.node'));
  cpSync(process.execPath, join(target, 'node'));
  writeFileSync(join(target, 'run'), runner, { mode: 0o755 });
  say('compressing');
  await run('tar', ['-C', join(root, 'build'), '-cf', archive, '--use-compress-program=xz -T0 -6', name], {
    name: 'pack-gpu',
  });
  rmSync(target, { recursive: true });
  say(`${archive}: ${(statSync(archive).size / 2 ** 20).toFixed(1)} MiB`);
});
