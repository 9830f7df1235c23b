/** The thread's side of a training job: one session in its run folder, stopped by a message. */
import type { MessagePort } from 'node:worker_threads';
import { hasCheckpoint } from '../train/run-folder.js';
import { resumableFlags, TrainingSession } from '../train/session.js';
import { RecordSender } from './record-sender.js';
import { packError } from './thread-errors.js';
import type { TrainingCommand, TrainingMessage, TrainingTask } from './training-messages.js';

/** A new run, or the continuation of the one in the folder. */
async function openRun({ settings, folder, resume }: TrainingTask): Promise<TrainingSession> {
  if (!resume || !hasCheckpoint(folder)) return TrainingSession.start(settings, folder);
  const flags = resumableFlags as readonly string[];
  const changes = Object.fromEntries(Object.entries(settings).filter(([flag]) => flags.includes(flag)));
  const session = await TrainingSession.resume(folder, changes);
  for (const [flag, value] of Object.entries(settings)) {
    if (flags.includes(flag) || JSON.stringify(session.settings[flag]) === JSON.stringify(value)) continue;
    await session.close();
    throw new RangeError(
      `resume ${folder}: expected ${JSON.stringify(session.settings[flag]) ?? 'nothing'} for '${flag}', as the run was started, ` +
        `received ${JSON.stringify(value)}`,
    );
  }
  return session;
}

/** The task: ends when the run has ended, been stopped, or failed; a stopped run leaves a checkpoint. */
export async function runTraining(task: TrainingTask & { port: MessagePort }): Promise<void> {
  const { port, window } = task;
  const say = (message: TrainingMessage): void => port.postMessage(message);
  const records = new RecordSender((group) => say({ type: 'records', records: group }), Math.ceil(window / 2));
  const controller = new AbortController();
  let underWay = 0;
  let wake = (): void => undefined;
  // Nobody is left who would read the records.
  port.once('close', () => {
    controller.abort();
    wake();
  });
  port.on('message', (command: TrainingCommand) => {
    if ('stop' in command) controller.abort();
    else underWay -= command.taken;
    wake();
  });
  try {
    const session = await openRun(task);
    const { network, source } = session.experiment;
    say({
      type: 'started',
      facts: {
        startStep: session.startStep,
        parameters: network.parameterCount,
        samples: source.samples,
        warnings: session.warnings,
      },
    });
    for await (const record of session.run(controller.signal)) {
      records.add(record);
      underWay++;
      while (underWay >= window && !controller.signal.aborted) {
        records.send();
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
    records.send();
  } catch (error) {
    records.send();
    say({ type: 'failed', error: packError(error) });
  } finally {
    port.close();
  }
}
