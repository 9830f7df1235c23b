/**
 * Factor once, solve many, without blocking the calling thread: network, parameters and batch travel to a worker thread
 * once, the factor lives there, and right-hand sides and solutions move between the threads without being cloned.
 */
import { checkInteger, checkKeys, checkObject, checkPositive, checkVector, failRange, failType } from '../checks.js';
import { Linearization } from '../derivatives/linearization.js';
import { Network } from '../derivatives/network.js';
import { DeepHessianError } from '../errors.js';
import { availableMemory, chooseMethod, estimateCosts, type CostEstimate } from '../inverse/index.js';
import type { FactorOptions, ManySolution, Method, Solution } from '../inverse/index.js';
import type { Inertia } from '../linalg/symmetric-factor.js';
import type { Batch, BatchData, NetworkModel } from '../network/index.js';
import { networkToJSON, type NetworkJSON } from '../network/network-json.js';
import type { Transferable } from 'node:worker_threads';
import type { FactorAnswer, FactorFacts, FactorOperation, FactorRequests, FactorTask } from './factor-messages.js';
import { checkLayerModules } from './layer-modules.js';
import { aborted, MemoryBudget } from './memory-budget.js';
import { outgoing } from './shared-array.js';
import { unpackError } from './thread-errors.js';
import { WorkerPool, type Task } from './worker-pool.js';

/** A point of a network in parts that travel; a {@link Linearization} will do, too. */
export interface PointDescription {
  /** The network, or what its `toJSON` gave. */
  network: Network | NetworkJSON;
  /** P finite numbers. */
  params: Float64Array;
  /** Inputs, targets and weights as for `network.batch`, or a prepared batch. Arrays over shared memory are not copied. */
  batch: BatchData | Batch;
}

/** Options of {@link factorAsync}. */
export interface FactorAsyncOptions extends FactorOptions {
  /** Threads and memory to use; default: one {@link FactorPool} of the process. */
  pool?: FactorPool;
  /** Cancels waiting and factoring. The thread finishes the factorization under way and throws it away. */
  signal?: AbortSignal;
  /** Modules that register the network's custom layers, paths or file URLs; imported by the thread. */
  layerModules?: readonly string[];
}

/** Options of {@link FactorPool}. */
export interface FactorPoolOptions {
  /** Most threads, default the processors available. Each holds any number of factors and serves them in turn. */
  threads?: number;
  /** Bytes that all factors of the pool may hold together, default 0.8 of what is available. */
  memory?: number;
}

/** Threads for factors and the memory they may take together. */
export class FactorPool {
  /** @internal */
  readonly workers: WorkerPool;
  /** What the pool's factors may take together. */
  readonly memory: MemoryBudget;

  constructor(options: FactorPoolOptions = {}) {
    checkObject('FactorPool', 'options', options);
    checkKeys('FactorPool', 'options', options, ['threads', 'memory']);
    const { threads, memory } = options as FactorPoolOptions;
    this.workers = new WorkerPool({ ...(threads === undefined ? {} : { threads }), tasksPerThread: 4096 });
    this.memory = new MemoryBudget(memory);
  }

  /** Ends the threads. Factors that are still held fail with 'worker-lost' at their next use. */
  async close(): Promise<void> {
    await this.workers.close();
  }
}

let processPool: FactorPool | null = null;

interface Pending {
  resolve: (value: unknown) => void;
  reject: (error: Error) => void;
}

/** A factor that lives in a worker thread. Made by {@link factorAsync}. */
export class FactorHandle {
  /** P */
  readonly parameterCount: number;
  private facts: FactorFacts | null = null;
  private readonly pending = new Map<number, Pending>();
  private next = 1;
  private state: 'open' | 'disposed' | 'lost' = 'open';
  private loss_: Error | null = null;
  private readonly over: Promise<void>;

  /** @internal use {@link factorAsync} */
  constructor(
    parameterCount: number,
    private readonly task: Task,
    private readonly release: () => void,
  ) {
    this.parameterCount = parameterCount;
    task.port.on('message', (message: FactorAnswer) => {
      const waiting = this.pending.get(message.id);
      this.pending.delete(message.id);
      if ('error' in message) waiting?.reject(unpackError(message.error));
      else waiting?.resolve(message.value);
    });
    // The thread closes the port behind its last answer: by then all of them have come.
    const closed = new Promise<void>((resolve) => task.port.once('close', resolve));
    this.over = task.ended.then(() => closed);
    this.over.then(
      () => this.end('disposed', null),
      (error: Error) => this.end('lost', error),
    );
  }

  /** @internal waits for the factorization */
  async ready(): Promise<void> {
    this.facts = (await new Promise<unknown>((resolve, reject) =>
      this.pending.set(0, { resolve, reject }),
    )) as FactorFacts;
  }

  /** the route taken */
  get method(): Method {
    return this.facts!.method;
  }
  /** why this route */
  get reason(): string {
    return this.facts!.reason;
  }
  /** Modelled cost of the route. */
  get estimate(): CostEstimate {
    return this.facts!.estimate;
  }
  /** eps of the present factorization */
  get damping(): number {
    return this.facts!.damping;
  }
  /** bytes that the factor holds in its thread */
  get bytes(): number {
    return this.facts!.bytes;
  }
  /** loss at the point */
  get loss(): number {
    return this.facts!.loss;
  }
  /** whether every pivot block was regular */
  get isRegular(): boolean {
    return this.facts!.isRegular;
  }

  /** Numbers of positive, negative and zero eigenvalues of M + eps I. Rejects as `Factor.inertia` throws. */
  get inertia(): Promise<Inertia> {
    return this.ask('inertia', null);
  }

  /** log|det(M + eps I)|. Rejects as `Factor.logAbsDet` throws. */
  get logAbsDet(): Promise<number> {
    return this.ask('logAbsDet', null);
  }

  /** The gradient of the loss at the point, length P, a copy. */
  gradient(): Promise<Float64Array> {
    return this.ask('gradient', null);
  }

  /**
   * x = (M + eps I)^-1 rhs. Requests of one factor are served in the order of the calls.
   *
   * @param rhs P finite numbers; copied, unless over shared memory, before this returns
   * @throws (rejects) as `Factor.solve`, and DeepHessianError 'worker-lost' when the thread has ended
   */
  async solve(rhs: Float64Array): Promise<Solution> {
    checkVector('solve', 'rhs', rhs, this.parameterCount);
    const transfer: Transferable[] = [];
    return this.ask('solve', outgoing(rhs, transfer), transfer);
  }

  /** Many right-hand sides at once: `rhs` holds `columns` columns of P numbers. See `Factor.solveMany`. */
  async solveMany(rhs: Float64Array, columns: number): Promise<ManySolution> {
    checkInteger('solveMany', 'columns', columns, 1);
    checkVector('solveMany', 'rhs', rhs, this.parameterCount * columns);
    const transfer: Transferable[] = [];
    return this.ask('solveMany', { rhs: outgoing(rhs, transfer), columns }, transfer);
  }

  /** Factors again with another eps > 0, reusing all that does not depend on it. */
  async refactor(damping: number): Promise<this> {
    checkPositive('refactor', 'damping', damping);
    this.facts = await this.ask('refactor', damping);
    return this;
  }

  /** Frees the factor and lets its thread go. A factor that is held keeps the process alive. */
  async dispose(): Promise<void> {
    if (this.state === 'open') {
      this.state = 'disposed';
      this.task.port.postMessage({ dispose: true });
    }
    await this.over.catch(() => undefined);
  }

  private ask<O extends FactorOperation>(
    operation: O,
    argument: FactorRequests[O][0],
    transfer: readonly Transferable[] = [],
  ): Promise<FactorRequests[O][1]> {
    if (this.state === 'lost') return Promise.reject(this.loss_!);
    if (this.state === 'disposed')
      return Promise.reject(new DeepHessianError('unsupported', `${operation}: the factor has been disposed`));
    const id = this.next++;
    const answer = new Promise<unknown>((resolve, reject) => this.pending.set(id, { resolve, reject }));
    this.task.port.postMessage({ id, operation, argument }, transfer);
    return answer as Promise<FactorRequests[O][1]>;
  }

  private end(state: 'disposed' | 'lost', error: Error | null): void {
    this.state = state;
    this.loss_ = error;
    const reason = error ?? new DeepHessianError('unsupported', 'the factor was disposed before it could answer');
    for (const { reject } of this.pending.values()) reject(reason);
    this.pending.clear();
    this.release();
  }
}

const ownOptions = ['pool', 'signal', 'layerModules'] as const;

/** A point's parts, checked as far as this thread needs them. */
function partsOf(point: unknown): {
  model: NetworkModel;
  network: NetworkJSON;
  params: Float64Array;
  batch: Batch | BatchData;
} {
  const operation = 'factorAsync';
  if (point instanceof Linearization) {
    const { network: model, params, batch } = point;
    return { model, network: networkToJSON(model), params, batch };
  }
  checkObject(operation, 'point', point);
  checkKeys(operation, 'point', point, ['network', 'params', 'batch']);
  const { network, params, batch } = point;
  const model = network instanceof Network ? network : Network.fromJSON(network);
  checkVector(operation, 'point.params', params, model.parameterCount);
  checkObject(operation, 'point.batch', batch);
  if (!(batch.inputs instanceof Float64Array))
    failType(operation, 'point.batch.inputs', 'a Float64Array', batch.inputs);
  return { model, network: networkToJSON(model), params, batch: batch as unknown as Batch | BatchData };
}

/** Bytes of a linearization: input, slope, curvature and adjoints of every layer, and vectors of length P. */
function pointBytes(model: NetworkModel, samples: number): number {
  let width = model.inputs;
  for (const { inputs, units } of model.layers) width += inputs + 4 * units;
  return 8 * (width * samples + 8 * model.parameterCount);
}

/**
 * {@link factor} in a worker thread.
 *
 * @param point a {@link Linearization}, or network, parameters and batch; they travel once
 * @param options `damping` is required; those of {@link factor}, and {@link FactorAsyncOptions}
 * @returns a handle; `dispose()` it when done
 * @throws (rejects) as {@link factor}; 'out-of-memory' when the factor exceeds the pool's budget (one that only has to
 *   wait for others waits); 'aborted' when `signal` fires; 'worker-lost' when the thread ends
 *
 * @example
 * const f = await factorAsync({ network, params, batch: { inputs, targets } }, { damping: 0.1 });
 * const { x } = await f.solve(await f.gradient());
 * await f.dispose();
 */
export async function factorAsync(
  point: PointDescription | Linearization,
  options: FactorAsyncOptions,
): Promise<FactorHandle> {
  const operation = 'factorAsync';
  checkObject(operation, 'options', options);
  const {
    pool = (processPool ??= new FactorPool()),
    signal,
    layerModules = [],
    ...factorOptions
  } = options as FactorAsyncOptions;
  if (!(pool instanceof FactorPool)) failType(operation, 'pool', 'a FactorPool', pool);
  checkLayerModules(operation, layerModules);
  checkPositive(operation, 'damping', factorOptions.damping);
  for (const name of ownOptions) if (name in factorOptions) failRange(operation, name, 'no such option', name);
  const { model, network, params, batch } = partsOf(point);

  const { matrix = 'hessian', method = 'auto' } = factorOptions;
  const samples = 'samples' in batch ? batch.samples : batch.inputs.length / model.inputs;
  const room = pointBytes(model, samples);
  // What the factor may take is settled here, so that the thread chooses the same route.
  const limit = factorOptions.memoryLimit ?? Math.min(availableMemory(), Math.max(1, pool.memory.total - room));
  const estimate =
    method === 'auto'
      ? chooseMethod(model, samples, matrix, limit).estimate
      : estimateCosts(model, samples, matrix).find((candidate) => candidate.method === method);
  const bytes = room + (estimate?.bytes ?? 0);
  await pool.memory.take(operation, bytes, signal);

  const transfer: Transferable[] = [];
  const travelling = Object.fromEntries(
    Object.entries(batch).map(([name, value]): [string, unknown] => [
      name,
      value instanceof Float64Array || value instanceof Int32Array ? outgoing(value, transfer) : value,
    ]),
  ) as unknown as FactorTask['batch'];
  const task: FactorTask = {
    network,
    params: outgoing(params, transfer),
    batch: travelling,
    options: { ...factorOptions, memoryLimit: limit },
    layerModules,
  };
  let handle: FactorHandle;
  try {
    handle = new FactorHandle(model.parameterCount, pool.workers.start('holdFactor', task, transfer), () =>
      pool.memory.release(bytes),
    );
  } catch (error) {
    pool.memory.release(bytes);
    throw error;
  }
  const onAbort = new Promise<never>((_, reject) => {
    signal?.addEventListener('abort', () => reject(aborted(operation)), { once: true });
  });
  onAbort.catch(() => undefined);
  try {
    await Promise.race([handle.ready(), onAbort]);
  } catch (error) {
    void handle.dispose();
    throw error;
  }
  return handle;
}
