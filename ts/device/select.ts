/**
 * Which device serves a job: the one asked for, or, with 'auto', the card where it is modelled to be faster.
 *
 * The model knows no card. Both sides are measured once, when 'auto' first meets a card: rate of matrix products and of
 * Cholesky factorizations, seconds of a small call, bytes a second to the card. Near the crossover the choice can so differ
 * from run to run; ask for a device by name where every bit must repeat.
 */
import { checkOneOf } from '../checks.js';
import { DeepHessianError } from '../errors.js';
import { cudaInfo } from '../native/cuda.js';
import { openCudaDevice, type CudaDevice } from './cuda.js';
import type { DeviceKernels } from './device.js';
import { createHostDevice } from './host.js';

/** 'cpu': the kernels of the process. 'cuda': an NVIDIA card, or an error. 'auto': the card where there is one and it pays. */
export const deviceNames = ['cpu', 'cuda', 'auto'] as const;
/** A name in {@link deviceNames}. */
export type DeviceName = (typeof deviceNames)[number];

/** What a job consists of, for the model. */
export interface DeviceWork {
  /** floating-point operations in matrix products and the like */
  products: number;
  /** order of the factorization, or the orders of all; n^3 / 3 operations each */
  order: number | readonly number[];
  /** the matrices may be indefinite: Cholesky is tried and Bunch-Kaufman follows, default false */
  indefinite?: boolean;
  /** calls of kernels */
  calls: number;
  /** bytes between host and card */
  transferred: number;
  /** seconds of what stays on the host, default 0 */
  host?: number;
}

/** Measured speeds of one device. */
export interface DeviceRates {
  /** operations a second of a matrix product */
  products: number;
  /** operations a second of a Cholesky factorization of order `factorOrder` */
  factor: number;
  /** operations a second of a Bunch-Kaufman factorization of that order, counted as n^3 / 3 */
  indefinite: number;
  /** order at which the factorizations were measured */
  factorOrder: number;
  /** seconds of a call on next to nothing, its result waited for */
  call: number;
  /** bytes a second to the device and back; Infinity where nothing travels */
  transfer: number;
}

/** The outcome of {@link chooseDevice}. */
export interface ChosenDevice {
  /** null: the CPU kernels, as without any device */
  device: DeviceKernels | null;
  /** its kind */
  name: 'cpu' | 'cuda';
  /** why, in words */
  reason: string;
}

let shared: CudaDevice | null = null;

/** The process's card, opened when first asked for and anew after it was lost. @throws as {@link openCudaDevice} */
export function sharedCudaDevice(): CudaDevice {
  if (shared?.lost === true) {
    shared.dispose();
    shared = null;
  }
  return (shared ??= openCudaDevice());
}

/** Closes the process's card; its buffers end with it. The next use of device 'cuda' opens it again. */
export function closeSharedCudaDevice(): void {
  shared?.dispose();
  shared = null;
}

/** Seconds of the fastest of `repeats` runs, each waited for. */
function fastest(device: DeviceKernels, repeats: number, work: () => void): number {
  let least = Infinity;
  for (let i = 0; i < repeats; i++) {
    const start = performance.now();
    work();
    device.synchronize();
    least = Math.min(least, (performance.now() - start) / 1000);
  }
  // The clock has a grain of microseconds.
  return Math.max(least, 1e-7);
}

/**
 * Measures a device with products, a Cholesky and a Bunch-Kaufman factorization of order `order`.
 * @param order large enough for its asymptotic rate; a card wants some thousands
 */
export function measureRates(device: DeviceKernels, order: number): DeviceRates {
  const n = order;
  const a = device.allocate('float64', n * n);
  const b = device.allocate('float64', n * n);
  const small = device.allocate('float64', 4);
  const pivots = device.allocate('int32', n);
  try {
    const ones = new Float64Array(n * n).fill(1 / n);
    const transferSeconds = fastest(device, 2, () => device.upload(ones, a));
    const product = fastest(device, 2, () => device.gemm(0, 1, n, n, n, 1, a, 0, n, a, 0, n, 0, b, 0, n));
    const factor = fastest(device, 2, () => {
      device.copy(n * n, a, 0, b, 0);
      device.addDiagonal(n, 1, b, 0, n);
      device.potrf(0, n, b, 0, n);
    });
    const indefinite = fastest(device, 2, () => {
      device.copy(n * n, a, 0, b, 0);
      device.addDiagonal(n, -1, b, 0, n);
      device.sytrf(0, n, b, 0, n, pivots, 0);
    });
    device.upload(Float64Array.of(1, 0, 0, 1), small);
    const call = fastest(device, 5, () => void device.nrm2(4, small, 0));
    return {
      products: (2 * n ** 3) / product,
      factor: n ** 3 / 3 / factor,
      indefinite: n ** 3 / 3 / indefinite,
      factorOrder: n,
      call,
      transfer: device.kind === 'cpu' ? Infinity : (8 * n * n) / transferSeconds,
    };
  } finally {
    for (const buffer of [a, b, small, pivots]) buffer.dispose();
  }
}

/** Modelled seconds of a job. Small factorizations run below the measured rate, in proportion to their order. */
export function modelSeconds(work: DeviceWork, rates: DeviceRates): number {
  const { products, order, indefinite = false, calls, transferred, host = 0 } = work;
  let factor = 0;
  for (const n of typeof order === 'number' ? [order] : order) {
    if (n === 0) continue;
    const share = Math.min(1, n / rates.factorOrder);
    factor += n ** 3 / 3 / (rates.factor * share);
    if (indefinite) factor += n ** 3 / 3 / (rates.indefinite * share);
  }
  return host + products / rates.products + factor + calls * rates.call + transferred / rates.transfer;
}

let measured: { device: CudaDevice; card: DeviceRates; host: DeviceRates } | null = null;

/**
 * Finds the device for a job.
 *
 * @param wanted a name, default 'cpu', or an open device, which is taken as it is
 * @param work what the job consists of; without it 'auto' takes the card where there is one
 * @param hostSeconds modelled seconds of the CPU for the same result, default by the same work at its measured rates
 * @throws DeepHessianError 'device-unavailable' with the reason, for 'cuda' without a usable card
 */
export function chooseDevice(
  operation: string,
  wanted: DeviceName | DeviceKernels | undefined,
  work?: DeviceWork,
  hostSeconds?: number,
): ChosenDevice {
  if (typeof wanted === 'object' && wanted !== null) return { device: wanted, name: wanted.kind, reason: 'given' };
  const name = wanted ?? 'cpu';
  checkOneOf(operation, 'device', name, deviceNames);
  if (name === 'cpu') return { device: null, name, reason: wanted === undefined ? 'the default' : 'asked for' };
  const { available, reason } = cudaInfo();
  if (name === 'cuda') {
    if (!available) {
      throw new DeepHessianError(
        'device-unavailable',
        `${operation}: device 'cuda' was asked for, but there is no usable GPU: ${reason}. Use 'cpu', or 'auto' to fall back to it.`,
        { device: name, reason },
      );
    }
    return { device: sharedCudaDevice(), name, reason: 'asked for' };
  }
  if (!available) return { device: null, name: 'cpu', reason: `no usable GPU: ${reason}` };
  let device: CudaDevice;
  try {
    device = sharedCudaDevice();
    if (work !== undefined && measured?.device !== device) {
      measured = {
        device,
        card: measureRates(device, 2048),
        host: measureRates(createHostDevice(), 384),
      };
    }
  } catch (error) {
    // A card that another process holds, say: 'auto' does without.
    if (!(error instanceof DeepHessianError)) throw error;
    return { device: null, name: 'cpu', reason: `no usable GPU: ${error.message}` };
  }
  if (work === undefined || measured === null) return { device, name: 'cuda', reason: `${device.name} is there` };
  const card = modelSeconds(work, measured.card);
  const host = hostSeconds ?? modelSeconds({ ...work, transferred: 0 }, measured.host);
  const figures = `modelled ${card.toExponential(1)} s on ${device.name}, ${host.toExponential(1)} s on the CPU`;
  return card < host ? { device, name: 'cuda', reason: figures } : { device: null, name: 'cpu', reason: figures };
}
