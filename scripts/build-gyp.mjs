/**
 * npm run build:gyp: builds the addon a second way, with node-gyp from binding.gyp, into build-gyp/ beside the
 * cmake-js build. Node's headers are taken from this machine (see `nodeHeaders`), so nothing is downloaded.
 */
import { copyFileSync, existsSync, mkdirSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { main, root, run, say, SetupError } from './lib/process.mjs';
import { ensureTools, nodeHeaders, onPath } from './lib/toolchain.mjs';

await main(async () => {
  await ensureTools();
  if (!onPath('python3')) throw new SetupError('node-gyp needs python3 (Debian package python3).');
  const folder = join(root, 'build-gyp');
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder);
  // node-gyp always builds into ./build; a folder of links keeps it away from the other build.
  for (const name of ['native', 'scripts', 'node_modules']) symlinkSync(join('..', name), join(folder, name));
  for (const name of ['binding.gyp', 'package.json']) copyFileSync(join(root, name), join(folder, name));
  const headers = nodeHeaders();
  if (headers === null) say('no Node headers on this machine (npm_config_nodedir names them): node-gyp downloads them');
  say('building the addon with node-gyp');
  const args = [
    'node_modules/node-gyp/bin/node-gyp.js',
    'rebuild',
    ...(headers === null ? [] : [`--nodedir=${headers}`]),
  ];
  await run(process.execPath, args, { name: 'node-gyp', cwd: folder });
  const addon = join(folder, 'build', 'Release', 'deep_hessian.node');
  if (!existsSync(addon)) throw new SetupError(`node-gyp ended without ${addon}.`);
  say(`built ${addon}`);
});
