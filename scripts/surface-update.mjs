/** npm run surface:update: writes test/public-surface.json, the public surface that test/public-surface.test.ts compares with. */
import { spawnSync } from 'node:child_process';

const { status } = spawnSync(process.execPath, ['node_modules/mocha/bin/mocha.js', 'test/public-surface.test.ts'], {
  stdio: 'inherit',
  env: { ...process.env, DEEP_HESSIAN_SURFACE: 'update' },
});
process.exitCode = status ?? 1;
