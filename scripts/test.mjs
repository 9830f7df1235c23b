/**
 * npm test: sets up what is missing, then runs mocha; arguments are passed on, so that
 * `npm test -- test/native/gemm.test.ts` and `npm test -- --grep pivots` work.
 */
import { foreground, main } from './lib/process.mjs';
import { setup } from './setup.mjs';

await main(async () => {
  await setup();
  return foreground(process.execPath, ['node_modules/mocha/bin/mocha.js', ...process.argv.slice(2)]);
});
