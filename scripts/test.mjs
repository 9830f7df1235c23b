/**
 * npm test: sets up what is missing, then runs mocha; arguments are passed on, so that
 * `npm test -- test/native/gemm.test.ts` and `npm test -- --grep pivots` work.
 */
import { foreground, main } from './lib/process.mjs';
import { setup } from './setup.mjs';

await main(async () => {
  await setup();
  const args = process.argv.slice(2);
  const chosen = args.some((arg) => arg === '-R' || arg.startsWith('--reporter'));
  const reporter = chosen ? [] : ['--reporter', 'scripts/lib/summary-reporter.mjs'];
  return foreground(process.execPath, ['node_modules/mocha/bin/mocha.js', ...reporter, ...args]);
});
