/** Run by the test of kill -9: starts a run, or goes on with it, and says when it is under way. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { TrainingSession } from '../../ts/train/session.js';

const [path, settings] = process.argv.slice(2);
const session = existsSync(join(path, 'checkpoints', 'latest.checkpoint'))
  ? await TrainingSession.resume(path)
  : await TrainingSession.start(JSON.parse(settings) as Record<string, unknown>, path);
let said = false;
for await (const event of session.run()) {
  if (!said && event.type === 'step') {
    said = true;
    process.stdout.write('running\n');
  }
}
