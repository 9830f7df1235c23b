/**
 * A training server:
 *
 *     node --import tsx examples/server/main.ts --port 8080 --folder jobs --jobs 2
 *
 * Stopped by SIGINT or SIGTERM it leaves every job at a checkpoint; killed, it loses the steps since the last one. In both
 * cases the next start goes on with them.
 */
import type { AddressInfo } from 'node:net';
import { JobScheduler } from '../../ts/index.js';
import { commandLine, integer, positive } from '../command-line.js';
import { createApp } from './app.js';
import { JobStore } from './store.js';

const { values } = commandLine({
  options: {
    port: { type: 'string', default: '8080' },
    host: { type: 'string', default: '127.0.0.1' },
    folder: { type: 'string', default: 'jobs' },
    jobs: { type: 'string' },
    memory: { type: 'string' },
  },
});
const port = integer('--port', values.port, 0, 65535);
const scheduler = new JobScheduler({
  ...(values.jobs === undefined ? {} : { concurrency: integer('--jobs', values.jobs, 1, 1024) }),
  ...(values.memory === undefined ? {} : { memory: positive('--memory', values.memory) }),
});
const store = new JobStore(values.folder, scheduler);
const server = createApp(store, scheduler).listen(port, values.host, () => {
  const { address, port: given } = server.address() as AddressInfo;
  console.log(`listening on http://${address}:${given}, ${scheduler.concurrency} jobs at a time`);
});

let stopping = false;
async function stop(): Promise<void> {
  if (stopping) return;
  stopping = true;
  server.close();
  await store.close();
  server.closeAllConnections();
  console.log('stopped; every job is at a checkpoint');
}
process.on('SIGINT', () => void stop());
process.on('SIGTERM', () => void stop());
