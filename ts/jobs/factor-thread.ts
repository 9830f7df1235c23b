/** The thread's side of an asynchronous factor: builds it, answers requests one after another, frees it. */
import type { MessagePort } from 'node:worker_threads';
import { Network } from '../derivatives/network.js';
import { factor, type Factor } from '../inverse/index.js';
import type { FactorAnswer, FactorFacts, FactorRequest, FactorTask } from './factor-messages.js';
import { loadLayerModules } from './layer-modules.js';
import { incoming } from './shared-array.js';
import { packError } from './thread-errors.js';

/** Copies that belong to this thread; null entries stay null. */
function own(batch: FactorTask['batch']): FactorTask['batch'] {
  const entries = Object.entries(batch).map(([name, value]): [string, unknown] => [
    name,
    value instanceof Float64Array || value instanceof Int32Array ? incoming(value) : value,
  ]);
  return Object.fromEntries(entries) as unknown as FactorTask['batch'];
}

async function build({ network, params, batch, options, layerModules }: FactorTask): Promise<Factor> {
  await loadLayerModules(layerModules);
  const point = Network.fromJSON(network).linearize(incoming(params), own(batch));
  return factor(point, options);
}

const factsOf = (f: Factor): FactorFacts => ({
  method: f.method,
  reason: f.reason,
  estimate: f.estimate,
  damping: f.damping,
  bytes: f.bytes,
  loss: f.point.loss,
  isRegular: f.isRegular,
});

/** The answer of one request and the buffers that move with it. */
function answer(
  f: Factor,
  { operation, argument }: Exclude<FactorRequest, { dispose: true }>,
): [unknown, ArrayBuffer[]] {
  switch (operation) {
    case 'solve': {
      const solution = f.solve(incoming(argument as Float64Array));
      return [solution, [solution.x.buffer as ArrayBuffer]];
    }
    case 'solveMany': {
      const { rhs, columns } = argument as { rhs: Float64Array; columns: number };
      const solution = f.solveMany(incoming(rhs), columns);
      return [solution, [solution.x.buffer as ArrayBuffer, solution.residuals.buffer as ArrayBuffer]];
    }
    case 'gradient': {
      const gradient = f.point.gradient.slice();
      return [gradient, [gradient.buffer]];
    }
    case 'refactor':
      return [factsOf(f.refactor(argument as number)), []];
    case 'inertia':
      return [f.inertia, []];
    case 'logAbsDet':
      return [f.logAbsDet, []];
  }
}

/** The task: ends when the factor has been disposed of, or could not be made. */
export async function holdFactor(task: FactorTask & { port: MessagePort }): Promise<void> {
  const { port } = task;
  const say = (message: FactorAnswer, transfer: ArrayBuffer[] = []): void => port.postMessage(message, transfer);
  let f: Factor | null = null;
  const done = new Promise<void>((resolve) => {
    port.once('close', resolve);
    port.on('message', (request: FactorRequest) => {
      if ('dispose' in request) return resolve();
      try {
        const [value, transfer] = answer(f!, request);
        say({ id: request.id, value }, transfer);
      } catch (error) {
        say({ id: request.id, error: packError(error) });
      }
    });
  });
  try {
    f = await build(task);
    say({ id: 0, value: factsOf(f) });
    await done;
  } catch (error) {
    say({ id: 0, error: packError(error) });
  } finally {
    f?.dispose();
    port.close();
  }
}
