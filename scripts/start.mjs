/**
 * npm start: sets up what is missing, then runs the command-line program; arguments are passed on.
 */
import { foreground, main } from './lib/process.mjs';
import { setup } from './setup.mjs';

await main(async () => {
  await setup();
  return foreground(process.execPath, ['dist/cli/main.js', 'start', ...process.argv.slice(2)]);
});
