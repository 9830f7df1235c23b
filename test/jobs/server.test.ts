/** The example server over HTTP: jobs, streams, refusals, and restarts by signal and by kill -9. */
import { expect } from 'chai';
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { small, stateOf, temporaryFolder, until } from './helpers.js';

const main = fileURLToPath(new URL('../../examples/server/main.ts', import.meta.url));

interface Server {
  url: string;
  process: ChildProcess;
  output: () => string;
}

interface JobView {
  id: string;
  state: string;
  error?: string;
  code?: string;
  latest?: { step: number } | null;
  end?: { step: number; reason: string };
}

/** Every process that was started, also one that never listened. */
const children: ChildProcess[] = [];

async function startServer(folder: string, more: string[] = []): Promise<Server> {
  const child = spawn(process.execPath, [
    '--import',
    'tsx',
    main,
    '--port',
    '0',
    '--folder',
    folder,
    '--jobs',
    '2',
    ...more,
  ]);
  children.push(child);
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (text += chunk.toString()));
  await until(() => text.includes('listening on') || child.exitCode !== null);
  const url = /http:\/\/\S+\d/.exec(text)?.[0];
  if (url === undefined) throw new Error(`the server did not start:\n${text}`);
  return { url, process: child, output: () => text };
}

async function stop(child: ChildProcess, signal: NodeJS.Signals): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
  const exit = new Promise<number | null>((resolve) => child.once('exit', resolve));
  child.kill(signal);
  return exit;
}

/** One request, bounded in time. */
async function ask(
  server: Server,
  method: string,
  path: string,
  body?: unknown,
): Promise<{ status: number; job: JobView }> {
  const response = await fetch(server.url + path, {
    method,
    signal: AbortSignal.timeout(60_000),
    ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
  });
  const text = await response.text();
  return { status: response.status, job: (text === '' ? {} : JSON.parse(text)) as JobView };
}

/** The events of a job until `last` of them, or until the server ends the stream. */
async function listen(
  server: Server,
  id: string,
  last: (event: string) => boolean,
): Promise<[string, { step?: number }][]> {
  const signal = AbortSignal.timeout(60_000);
  const response = await fetch(`${server.url}/jobs/${id}/events`, { signal });
  expect(response.headers.get('content-type')).to.match(/^text\/event-stream/);
  const events: [string, { step?: number }][] = [];
  let rest = '';
  const decoder = new TextDecoder();
  for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
    rest += decoder.decode(chunk, { stream: true });
    const blocks = rest.split('\n\n');
    rest = blocks.pop()!;
    for (const block of blocks) {
      const [, event, data] = /^event: (\w+)\ndata: (.*)$/.exec(block) ?? [];
      if (event === undefined) continue;
      events.push([event, JSON.parse(data) as { step?: number }]);
      if (last(event)) {
        return events;
      }
    }
  }
  return events;
}

describe('example server', function () {
  const folder = temporaryFolder();
  let server: Server;
  afterEach(async () => {
    for (const child of children.splice(0)) await stop(child, 'SIGKILL');
  });

  const create = async (config: Record<string, unknown>): Promise<string> => {
    const { status, job } = await ask(server, 'POST', '/jobs', { config: { ...small, ...config } });
    expect(status, JSON.stringify(job)).to.equal(201);
    return job.id;
  };
  const stateIs = async (id: string, state: string): Promise<JobView> => {
    for (let n = 0; n < 2400; n++) {
      const { job } = await ask(server, 'GET', `/jobs/${id}`);
      if (job.state === state) return job;
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
    throw new Error(`job ${id} did not become ${state}`);
  };

  it('takes jobs, streams their records, and cancels them', async () => {
    server = await startServer(folder('a'));
    const id = await create({ steps: 150 });
    const events = await listen(server, id, () => false);
    expect(events[0][0]).to.equal('state');
    expect(events.at(-1)![0]).to.be.oneOf(['end', 'state']);
    const steps = events.filter(([event]) => event === 'step').map(([, { step }]) => step!);
    expect(steps.at(-1)).to.equal(150);
    expect((await stateIs(id, 'finished')).end).to.include({ step: 150, reason: 'steps' });
    // A job that is over has a stream, too: its end.
    expect((await listen(server, id, () => false)).map(([event]) => event)).to.deep.equal(['state', 'end']);

    const endless = await create({ 'time-budget': 600 });
    await listen(server, endless, (event) => event === 'step');
    expect((await ask(server, 'POST', `/jobs/${endless}/pause`)).job.state).to.equal('paused');
    expect((await ask(server, 'POST', `/jobs/${endless}/resume`)).status).to.equal(200);
    await stateIs(endless, 'running');
    expect((await ask(server, 'DELETE', `/jobs/${endless}`)).status).to.equal(204);
    expect((await ask(server, 'GET', `/jobs/${endless}`)).status).to.equal(404);
    expect(existsSync(folder('a', endless))).to.equal(false);
  });

  it('refuses what cannot run, with a reason', async () => {
    server = await startServer(folder('b'), ['--memory', '60e6']);
    const post = async (config: unknown): Promise<[number, string]> => {
      const { status, job } = await ask(server, 'POST', '/jobs', { config });
      return [status, job.error ?? ''];
    };
    expect(await post({ optimiser: 'adam' })).to.satisfy(
      ([status, error]: [number, string]) => status === 400 && error.includes("'optimiser'"),
    );
    expect((await post('text'))[0]).to.equal(400);
    expect((await post({ data: 'csv', file: '/etc/passwd' }))[0]).to.equal(400);
    const [status, message] = await post({ points: 1e6 });
    expect(status).to.equal(413);
    expect(message).to.match(/needs [\d.]+ .B, the memory budget is 60.0 MB/);
    const raw = await fetch(`${server.url}/jobs`, {
      method: 'POST',
      body: '{',
      headers: { 'content-type': 'application/json' },
    });
    expect(raw.status).to.equal(400);
    const large = await fetch(`${server.url}/jobs`, {
      method: 'POST',
      body: JSON.stringify({ config: { data: 'x'.repeat(1e5) } }),
      headers: { 'content-type': 'application/json' },
    });
    expect(large.status).to.equal(413);
    const list = await fetch(`${server.url}/jobs`);
    expect(await list.json()).to.deep.equal([]);
  });

  it('goes on with its jobs after SIGTERM and after kill -9', async () => {
    server = await startServer(folder('c'));
    const config = { steps: 3_000, 'batch-size': 16, 'checkpoint-every': 0.05 };
    const ids = [await create(config), await create({ ...config, seed: 4 }), await create({ ...config, seed: 5 })];
    await listen(server, ids[0], (event) => event === 'step');
    expect(await stop(server.process, 'SIGTERM')).to.equal(0);
    expect(server.output()).to.contain('every job is at a checkpoint');
    const stopped = (stateOf(folder('c', ids[0])).counters as { step: number }).step;
    expect(stopped).to.be.within(1, 2_999);

    server = await startServer(folder('c'));
    await listen(server, ids[0], (event) => event === 'step');
    await stop(server.process, 'SIGKILL');
    expect((stateOf(folder('c', ids[0])).counters as { step: number }).step).to.be.at.least(stopped);

    server = await startServer(folder('c'));
    for (const id of ids) expect((await stateIs(id, 'finished')).end).to.include({ step: 3_000, reason: 'steps' });
    // The same run without any interruption.
    const whole = await create(config);
    await stateIs(whole, 'finished');
    expect(stateOf(folder('c', ids[0]))).to.deep.equal(stateOf(folder('c', whole)));
  });
});
