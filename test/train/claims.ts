/** Run by the tests of the lock: claims the folders named on standard input, one a line, and says how that went. */
import { createInterface } from 'node:readline';
import { claimRun, type RunLock } from '../../ts/train/run-lock.js';

const say = (answer: Record<string, unknown>): boolean => process.stdout.write(`${JSON.stringify(answer)}\n`);
say({ ready: process.pid });
let claim: RunLock | null = null;
for await (const line of createInterface({ input: process.stdin })) {
  const { action, folder } = JSON.parse(line) as { action: 'claim' | 'release'; folder: string };
  try {
    if (action === 'claim') claim = claimRun(folder);
    else {
      claim?.release();
      claim = null;
    }
    say({ held: claim !== null });
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    say({ held: false, code, message });
  }
}
