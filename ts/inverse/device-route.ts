/**
 * Which routes exist on a device, what they cost there, and the factor that serves a job on one.
 *
 * All do. What a route takes from the network's own code, sample by sample, is computed by the host: a custom layer's
 * derivatives, and the matrix of the dense route.
 */
import type { Linearization } from '../derivatives/index.js';
import { chooseDevice, shortage, type DeviceKernels, type DeviceName, type DeviceWork } from '../device/index.js';
import { DeepHessianError } from '../errors.js';
import {
  basisSeconds,
  derivativeBlockSeconds,
  estimateCosts,
  sampleSpaceSide,
  type CostEstimate,
  type Method,
} from './cost.js';
import { deviceChainLayout, largestDeviceBlock } from './device-chain-layout.js';
import { DeviceChainFactor } from './device-chain.js';
import { DeviceDenseFactor } from './device-dense.js';
import { DeviceSampleSpaceFactor } from './device-sample-space.js';
import type { MatrixKind, RawFactor } from './raw-factor.js';

/**
 * What a factorization and one solve in sample space consist of.
 *
 * @param resident of a point that is in the memory of the device
 */
export function sampleSpaceWork(network: Linearization['network'], samples: number, resident = false): DeviceWork {
  const { side, flops } = sampleSpaceSide(network, samples);
  const P = network.parameterCount;
  const rows = samples * network.outputs;
  const order = side === 'samples' ? rows : P;
  let point = P;
  for (const { units, inputs } of network.layers) point += samples * (units + inputs);
  return {
    products: flops - order ** 3 / 3,
    order,
    calls: 12 * network.layers.length + 10,
    transferred: 8 * (2 * P + rows * network.outputs + (resident ? 0 : point)),
  };
}

function denseWork(network: Linearization['network'], estimate: CostEstimate): DeviceWork {
  const P = network.parameterCount;
  // M is written out by the host: everything of the CPU's estimate but the factorization.
  const host = (estimate.seconds * (estimate.flops - P ** 3 / 3)) / estimate.flops;
  return { products: 0, order: P, calls: P + 10, transferred: 8 * P * P, host };
}

/**
 * What a factorization and one solve by the recursion consist of. For the Hessian every pivot block is taken as indefinite,
 * as in the CPU's model: a device then solves with Bunch-Kaufman factors and updates P' by products, in panels.
 *
 * @param estimate of the CPU, for 'affine' or 'block'
 */
export function chainWork(
  network: Linearization['network'],
  samples: number,
  matrix: MatrixKind,
  estimate: CostEstimate,
): DeviceWork {
  const { stages, lengths, controls } = deviceChainLayout(network, samples, matrix, estimate.method === 'block');
  const indefinite = matrix === 'hessian';
  let products = estimate.flops;
  let host = 0;
  // Of the derivative blocks only those that are block diagonal over the samples travel as less than they are.
  let held = lengths.bases + lengths.r + lengths.slopes + lengths.curvatures + lengths.deltas + lengths.outputBlocks;
  held += lengths.dx + lengths.hxx + lengths.hxz + (lengths.dz + lengths.hzz) / samples;
  for (const plan of stages) {
    const { first, controls: c, previousRows: m } = plan;
    products -= c ** 3 / 3;
    if (indefinite) products += c * c * m + (c * m * m) / 8;
    host +=
      plan.kind === 'affine' ? basisSeconds(plan.layer, samples) : derivativeBlockSeconds(plan.layer, first, samples);
  }
  const P = network.parameterCount;
  return {
    products,
    order: stages.map(({ controls: c }) => c),
    indefinite,
    calls: 45 * stages.length + 20,
    transferred: 8 * (3 * P + held + controls),
    host,
  };
}

/** Whether the operations of a device can count the numbers in every matrix of the recursion. */
function countable(network: Linearization['network'], samples: number, matrix: MatrixKind, general: boolean): boolean {
  return deviceChainLayout(network, samples, matrix, general).largestBlock <= largestDeviceBlock;
}

/** The factors by recursion. */
const isChain = (method: Method): boolean => method === 'affine' || method === 'block';

export interface DeviceRouteOptions {
  matrix: MatrixKind;
  method: Method | 'auto';
  device: DeviceName | DeviceKernels;
  single: boolean;
  /** any shift, so that M + shift I may be indefinite */
  shifted: boolean;
}

/** A factor on a device, or why the CPU serves the job (never with device 'cuda', which is an error then). */
export type DeviceRoute =
  { raw: RawFactor; device: DeviceKernels; estimate: CostEstimate; reason: string } | { raw: null; reason: string };

/**
 * Finds and makes the factor on a device.
 *
 * @param cpu what the CPU would take
 * @throws DeepHessianError 'device-unavailable', 'unsupported' where no route exists there, 'out-of-memory'
 */
export function deviceRoute(
  operation: string,
  point: Linearization,
  options: DeviceRouteOptions,
  cpu: CostEstimate,
): DeviceRoute {
  const { matrix, method, single, shifted } = options;
  const { network, samples } = point;
  const wanted = options.device;
  const refuse = (reason: string): DeviceRoute => {
    if (wanted !== 'auto') throw new DeepHessianError('unsupported', `${operation}: ${reason}`, { method });
    return { raw: null, reason };
  };
  // Whether there is a device at all comes first.
  const there = chooseDevice(operation, wanted);
  if (there.device === null) return { raw: null, reason: there.reason };
  const usable = estimateCosts(network, samples, matrix)
    .filter(({ unavailable }) => unavailable === null)
    .filter(({ method: m }) => !isChain(m) || countable(network, samples, matrix, m === 'block'))
    .filter(({ method: m }) => (method === 'auto' ? !(shifted && m === 'sample-space') : m === method))
    .sort((a, b) => a.flops - b.flops);
  if (usable.length === 0) return refuse(`no route on a device serves this network and matrix: '${matrix}'`);
  const free = there.device.memory().free;
  const bytesOf = (m: Method): number => {
    if (isChain(m)) return DeviceChainFactor.estimateBytes(network, samples, matrix, m === 'block', single);
    return m === 'dense'
      ? DeviceDenseFactor.estimateBytes(network.parameterCount, single)
      : DeviceSampleSpaceFactor.estimateBytes(network, samples, single);
  };
  const estimate = usable.find(({ method: m }) => bytesOf(m) <= free);
  if (estimate === undefined) {
    const bytes = bytesOf(usable[0].method);
    const reason = shortage(there.device, bytes, free);
    if (wanted === 'auto') return { raw: null, reason };
    throw new DeepHessianError('out-of-memory', `${operation}: ${reason}; use fewer samples or the CPU`, {
      bytes,
      free,
    });
  }
  const work = ((): DeviceWork => {
    if (isChain(estimate.method)) return chainWork(network, samples, matrix, estimate);
    return estimate.method === 'dense'
      ? denseWork(network, estimate)
      : sampleSpaceWork(network, samples, point.on(there.device) !== null);
  })();
  const chosen = chooseDevice(operation, wanted, work, cpu.seconds);
  if (chosen.device === null) return { raw: null, reason: chosen.reason };
  const reason = `${estimate.method} on ${chosen.device.name}: ${chosen.reason}`;
  const bytes = bytesOf(estimate.method);
  const made = { ...estimate, bytes };
  const done = { device: chosen.device, estimate: made, reason };
  if (isChain(estimate.method)) {
    const general = estimate.method === 'block';
    return { raw: new DeviceChainFactor(chosen.device, point, matrix, general, single), ...done };
  }
  if (estimate.method === 'dense') return { raw: new DeviceDenseFactor(chosen.device, point, matrix, single), ...done };
  const raw = new DeviceSampleSpaceFactor(chosen.device, network, samples, single);
  try {
    raw.assemble(point);
  } catch (error) {
    raw.dispose();
    throw error;
  }
  return { raw, ...done };
}
