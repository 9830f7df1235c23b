/**
 * Living in a server, with machine facts: `npm run bench:server`, or `npm run bench:server -- --jobs 1000 --seconds 5`.
 *
 *     delay        the event loop's delay while N jobs train: nothing else runs in this thread
 *     throughput   steps a second of k = 1..4 jobs together, against one, and what the main thread and V8's helpers take
 *     leak         memory over many short jobs, one after another in k threads
 *     kills        a job killed at random moments: the same bits at the end
 *
 */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { JobScheduler, TrainingJob } from '../ts/jobs/index.js';
import { Random } from '../ts/random.js';
import { readCheckpoint } from '../ts/train/checkpoint.js';
import { heading, printMachine, summarizeVerdicts, verdict } from './harness.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: 'string', default: '5' },
    jobs: { type: 'string', default: '200' },
    kills: { type: 'string', default: '20' },
  },
});
const seconds = Number(values.seconds);
const root = mkdtempSync(join(tmpdir(), 'deep-hessian-bench-'));
let made = 0;
const folder = (): string => join(root, `run-${made++}`);

/** A run as the command line's default: 30 layers of 16, second order, full batch. */
const standard = (more: Record<string, unknown>): Record<string, unknown> => ({
  data: 'spirals',
  points: 200,
  'num-layers': 30,
  'hidden-dim': 16,
  'evaluate-every': 1000,
  'checkpoint-every': 1000,
  ...more,
});
const quick = (more: Record<string, unknown>): Record<string, unknown> => ({
  ...standard({ 'num-layers': 4, 'hidden-dim': 8, points: 60, optimizer: 'adam' }),
  ...more,
});

/** Starts `count` jobs and waits until all of them have taken `steps` steps. */
async function startJobs(
  scheduler: JobScheduler,
  count: number,
  config: Record<string, unknown>,
  steps = 0,
): Promise<TrainingJob[]> {
  const jobs = Array.from({ length: count }, (_, seed) =>
    new TrainingJob({ seed, ...config }, { folder: folder(), scheduler, memory: 1 }).start(),
  );
  while (jobs.some((job) => job.latest === null || job.latest.step < steps)) {
    for (const job of jobs) if (job.error !== null) throw job.error;
    await sleep(10);
  }
  return jobs;
}

async function delay(): Promise<void> {
  heading('event-loop delay while jobs train');
  for (const count of [1, availableParallelism(), 10]) {
    const scheduler = new JobScheduler({ concurrency: count });
    await startJobs(scheduler, count, standard({ steps: 1e9 }));
    const histogram = monitorEventLoopDelay({ resolution: 1 });
    histogram.enable();
    await sleep(1000 * seconds);
    histogram.disable();
    const [mean, p50, p99, worst] = [
      histogram.mean,
      histogram.percentile(50),
      histogram.percentile(99),
      histogram.max,
    ].map((ns) => ns / 1e6 - 1);
    console.log(
      `  ${String(count).padStart(2)} jobs: mean ${mean.toFixed(2)} ms, median ${p50.toFixed(2)} ms, p99 ${p99.toFixed(2)} ms, worst ${worst.toFixed(1)} ms`,
    );
    verdict(`p99 of the delay under 20 ms with ${count} jobs`, p99 < 20);
    await scheduler.close();
  }
}

/** Processor milliseconds of every thread of this process so far, by its id; empty elsewhere than on Linux. */
function threadTimes(): Map<string, number> {
  const times = new Map<string, number>();
  if (!existsSync('/proc/self/task')) return times;
  for (const id of readdirSync('/proc/self/task')) {
    try {
      times.set(id, Number(readFileSync(`/proc/self/task/${id}/schedstat`, 'utf8').split(' ')[0]) / 1e6);
    } catch {
      // it has just ended
    }
  }
  return times;
}

interface Rate {
  /** steps a second of all jobs together */
  steps: number;
  /** processor seconds that this process took a second */
  processors: number;
  /** processor milliseconds a step: grows when jobs stand in each other's way, whatever else the machine does */
  cost: number;
  /** of that, the main thread; NaN where threads cannot be told apart */
  main: number;
  /** of that, V8's compiler and garbage collector and the file system: all threads but the main and the training ones */
  helpers: number;
}

/** Steps not measured: V8 compiles during the first seconds of a thread, in others, a tenth of all that is done. */
const warmUp = 300;
/** Steps after the measured ones: who is first goes on beside the others, and the spectrum at the end is not measured. */
const margin = 100;

/** `count` copies of one run together, each of `steps` steps: the same work a job, however many there are. */
async function rate(count: number, steps: number): Promise<Rate> {
  const scheduler = new JobScheduler({ concurrency: count });
  const jobs = await startJobs(scheduler, count, standard({ steps: warmUp + steps + margin, seed: 1 }), warmUp);
  const taken = (): number => jobs.reduce((sum, job) => sum + job.latest!.step, 0);
  const [start, before, used, threads] = [performance.now(), taken(), process.cpuUsage(), threadTimes()];
  while (jobs.some((job) => job.state === 'running' && job.latest!.step < warmUp + steps)) await sleep(20);
  const [elapsed, done, cpu] = [performance.now() - start, taken() - before, process.cpuUsage(used)];
  const spent = [...threadTimes()].map(([id, time]): [string, number] => [id, time - (threads.get(id) ?? 0)]);
  const others = spent.filter(([id]) => id !== String(process.pid)).map(([, time]) => time);
  const helpers = others.sort((a, b) => b - a).slice(count);
  await Promise.all(jobs.map((job) => job.result()));
  await scheduler.close();
  const busy = (cpu.user + cpu.system) / 1000;
  return {
    steps: (1000 * done) / elapsed,
    processors: busy / elapsed,
    cost: busy / done,
    main: (spent.find(([id]) => id === String(process.pid))?.[1] ?? NaN) / done,
    helpers: spent.length === 0 ? NaN : helpers.reduce((sum, time) => sum + time, 0) / done,
  };
}

async function throughput(): Promise<void> {
  heading('steps a second of k jobs together');
  const steps = Math.round(100 * seconds);
  // One job is measured before and after the others: the machine's own drift shows.
  const rates: [number, Rate][] = [];
  for (const k of [1, 2, 3, 4, 1]) rates.push([k, await rate(k, steps)]);
  const one = (rates[0][1].steps + rates[4][1].steps) / 2;
  const cost = Math.min(rates[0][1].cost, rates[4][1].cost);
  for (const [k, { steps, processors, cost: own, main, helpers }] of rates) {
    console.log(
      `  k = ${k}: ${steps.toFixed(1)} steps/s, ${(steps / one).toFixed(2)} times one; ` +
        `${processors.toFixed(2)} processors, ${own.toFixed(2)} ms of processor time a step (${(own / cost).toFixed(2)}), ` +
        `${main.toFixed(3)} ms of it the main thread, ${helpers.toFixed(3)} ms helper threads`,
    );
  }
  if (availableParallelism() >= 2) {
    verdict('two jobs do at least 1.8 times the work of one', rates[1][1].steps >= 1.8 * one);
    verdict(
      'a step of two jobs takes at most 1.11 times the processor time of a step of one',
      rates[1][1].cost <= 1.11 * cost,
    );
  }
}

async function leak(): Promise<void> {
  const count = Number(values.jobs);
  heading(`memory over ${count} jobs`);
  const scheduler = new JobScheduler({ concurrency: availableParallelism() });
  const sizes: number[] = [];
  const start = performance.now();
  for (let done = 0; done < count; done += 20) {
    const jobs = Array.from(
      { length: 20 },
      (_, seed) => new TrainingJob(quick({ steps: 20, seed }), { folder: folder(), scheduler, memory: 1 }),
    );
    await Promise.all(jobs.map((job) => job.result()));
    for (const job of jobs) rmSync(job.folder, { recursive: true });
    globalThis.gc?.();
    sizes.push(process.memoryUsage().rss / 2 ** 20);
  }
  const each = (performance.now() - start) / count;
  // The first third fills caches and heaps.
  const settled = sizes.slice(Math.floor(sizes.length / 3));
  const half = Math.floor(settled.length / 2);
  const mean = (list: number[]): number => list.reduce((a, b) => a + b, 0) / Math.max(1, list.length);
  const [early, late] = [mean(settled.slice(0, half)), mean(settled.slice(half))];
  console.log(
    `  ${each.toFixed(1)} ms a job; resident ${sizes.map((size) => size.toFixed(0)).join(' ')} MiB (every 20 jobs)`,
  );
  console.log(`  ${early.toFixed(1)} MiB, later ${late.toFixed(1)} MiB`);
  verdict('resident memory flat within 5 %', late < 1.05 * early);
  await scheduler.close();
}

async function kills(): Promise<void> {
  const count = Number(values.kills);
  heading(`a job killed at ${count} random moments`);
  const scheduler = new JobScheduler({ concurrency: 1 });
  const random = new Random(3);
  const config = quick({ 'batch-size': 16, 'checkpoint-every': 0.02, steps: 1500 * count });
  const bits = (path: string): string => {
    const { params, optimizer, counters } = readCheckpoint(join(path, 'checkpoints', 'latest.checkpoint')).state;
    const vectors = [params, ...Object.values(optimizer.vectors)].map((v) =>
      Buffer.from(v.buffer, v.byteOffset, v.byteLength).toString('hex'),
    );
    return `${counters.step} ${vectors.join(' ')}`;
  };
  const job = new TrainingJob(config, { folder: folder(), scheduler, memory: 1 }).start();
  // A function: the state changes behind the compiler's back.
  const state = (): string => job.state;
  let killed = 0;
  while (killed < count && state() !== 'finished') {
    const before = job.latest?.step;
    while (state() !== 'finished' && job.latest?.step === before) await sleep(5);
    await sleep(random.integer(100));
    if (state() !== 'running') continue;
    await scheduler.workers.terminateThreads();
    while (state() === 'running') await sleep(1);
    if (state() !== 'failed') continue;
    killed++;
    job.resume();
  }
  await job.result();
  const whole = new TrainingJob({ ...config, 'checkpoint-every': 1000 }, { folder: folder(), scheduler, memory: 1 });
  await whole.result();
  verdict(
    `the same bits after ${killed} of ${count} kills as without`,
    killed === count && bits(job.folder) === bits(whole.folder),
  );
  await scheduler.close();
}

const sections: Record<string, () => Promise<void>> = { delay, throughput, leak, kills };
for (const name of positionals) {
  if (!(name in sections)) {
    console.error(`bench: unknown section '${name}'; there are: ${Object.keys(sections).join(', ')}`);
    process.exit(2);
  }
}
printMachine();
try {
  for (const [name, section] of Object.entries(sections))
    if (positionals.length === 0 || positionals.includes(name)) await section();
} finally {
  rmSync(root, { recursive: true, force: true });
}
summarizeVerdicts();
