/**
 * The Riccati recursion over the layers in the memory of a device: factor and solve as chain.ts does, for the exact Hessian and
 * for Gauss-Newton, with any shift. Mathematics: docs/theory/inverse.md; operations: device-affine-stage.ts and
 * device-general-stage.ts; what is held: device-chain-layout.ts.
 *
 * What travels. Once, when the factor is made: the output Hessian's K x K blocks, of a point that is not on the device the
 * parameters and each built-in layer's slopes, curvatures and deltas, and for each built-in layer R and U, from a QR on the host (4 fan q^2 flops where the samples are fewer than the fan-in,
 * against the (h q)^3 of the layer's factorization); for a layer by its derivative blocks these. In `factor`: one status a
 * layer, the diagonals of Cholesky factors, the pivots of Bunch-Kaufman factors. In `solve`: right-hand sides up, solutions
 * down. No matrix of the recursion does.
 */
import type { AffinePoint, Linearization } from '../derivatives/index.js';
import { DeviceBuffers, type DeviceBuffer, type DeviceKernels } from '../device/index.js';
import { DeepHessianError } from '../errors.js';
import type { NetworkModel } from '../network/index.js';
import { DeviceAffineStage } from './device-affine-stage.js';
import {
  deviceChainBytes,
  deviceChainLayout,
  deviceChainSolveLengths,
  largestDeviceBlock,
  type DeviceChainBufferName,
  type DeviceChainLayout,
  type DeviceChainSolveBufferName,
} from './device-chain-layout.js';
import { DeviceGeneralStage } from './device-general-stage.js';
import { Mover } from './device-mover.js';
import type { DeviceChainMemory, DeviceChainSolve, DeviceStage } from './device-stage.js';
import { outputBlocks } from './output-blocks.js';
import type { MatrixKind, RawFactor } from './raw-factor.js';
import type { FactorTotals } from './stage.js';

/** Most right-hand sides that pass through the factor at once. */
const mostColumns = 64;

/** Factor of M + eps I by recursion over the layers (routes 'affine' and 'block'), in the memory of a device. */
export class DeviceChainFactor implements RawFactor {
  /** Inertia and log-determinant of the last factorization. */
  readonly totals: FactorTotals = { positive: 0, negative: 0, zero: 0, logAbsDet: 0, pivotRatio: 1 };

  private readonly network: NetworkModel;
  private readonly samples: number;
  private readonly mover: Mover;
  private readonly layout: DeviceChainLayout;
  private readonly stages: DeviceStage[] = [];
  private readonly buffers: DeviceBuffers<DeviceChainBufferName>;
  private readonly pivots: DeviceBuffer | null = null;
  private solveBuffers: DeviceBuffers<DeviceChainSolveBufferName> | null = null;
  private columns = 0;
  private readonly diagonals: Float64Array;
  private disposed = false;

  /**
   * @param general every layer by its dense derivative blocks, built-in ones too
   * @param single in single precision, to be refined in double
   * @throws DeepHessianError 'out-of-memory' when the device cannot hold it, 'unsupported' for matrices of more than 2^31 - 1
   *   numbers; nothing stays allocated then
   */
  constructor(
    private readonly device: DeviceKernels,
    point: Linearization,
    matrix: MatrixKind,
    general: boolean,
    single = false,
  ) {
    const { network, samples } = point;
    this.network = network;
    this.samples = samples;
    this.mover = new Mover(device, single);
    this.layout = deviceChainLayout(network, samples, matrix, general);
    const { lengths, identities, controls, stages, largestBlock } = this.layout;
    if (largestBlock > largestDeviceBlock) {
      throw new DeepHessianError(
        'unsupported',
        `the recursion needs a matrix of ${largestBlock} numbers, but an operation of a device counts to ${largestDeviceBlock}; use fewer samples`,
        { numbers: largestBlock, limit: largestDeviceBlock },
      );
    }
    this.diagonals = new Float64Array(controls);
    this.buffers = new DeviceBuffers(device, this.mover.type, lengths);
    try {
      const pivots = (this.pivots = device.allocate('int32', controls));
      this.growSolve(1);
      const memory: DeviceChainMemory = {
        device,
        samples,
        parameterCount: network.parameterCount,
        gaussNewton: matrix === 'gauss-newton',
        pivots,
        identities,
        at: (name) => this.at(name),
      };
      device.fill(lengths.ones, 1, this.at('ones'), 0);
      device.fill(lengths.identities, 0, this.at('identities'), 0);
      for (const [order, at] of identities) device.addDiagonal(order, 1, this.at('identities'), at, order);
      const there = point.on(device);
      this.mover.take(there?.parameters ?? point.params, this.at('parameters'), 0, network.parameterCount);
      this.mover.upload(outputBlocks(point), this.at('outputBlocks'));
      for (const [l, plan] of stages.entries()) {
        if (plan.kind === 'general') {
          const stage = new DeviceGeneralStage(memory, plan);
          stage.upload(point, this.mover);
          this.stages.push(stage);
        } else {
          const here = point.layers[l] as AffinePoint;
          const stage = new DeviceAffineStage(memory, plan, here.linear);
          stage.upload(here, there?.layers[l] ?? here, this.mover);
          this.stages.push(stage);
        }
      }
    } catch (error) {
      this.dispose();
      throw error;
    }
  }

  /** Bytes of device memory that a factor and one right-hand side will hold, workspaces of the libraries apart. */
  static estimateBytes(
    network: NetworkModel,
    samples: number,
    matrix: MatrixKind,
    general: boolean,
    single = false,
  ): number {
    return deviceChainBytes(network, samples, matrix, general, single);
  }

  /** Bytes of host memory. */
  get bytes(): number {
    return this.diagonals.byteLength;
  }

  private at(name: DeviceChainBufferName): DeviceBuffer {
    return this.buffers.at(name);
  }

  factor(damping: number): boolean {
    const { device, network, samples: N, stages, layout, totals } = this;
    totals.positive = totals.negative = totals.zero = totals.logAbsDet = 0;
    totals.pivotRatio = 1;
    let p = this.at('p');
    let pNext = this.at('pNext');
    // P_L = Q: (k, n) couples with (j, n) only
    const K = network.outputs;
    // prettier-ignore
    device.rowKronecker(N, 0, N, K, K, this.at('outputBlocks'), 0, N, this.at('identities'), layout.identities.get(N) as number, p, 0, N * K);
    for (let l = stages.length - 1; l >= 0; l--) {
      if (!stages[l].factor(damping + network.l2[l], p, pNext, totals)) return false;
      [p, pNext] = [pNext, p];
    }
    this.readDiagonals();
    return true;
  }

  /** Determinant and pivots of the stages that Cholesky served. */
  private readDiagonals(): void {
    const { stages, layout, totals, diagonals } = this;
    if (!stages.some(({ definite }) => definite)) return;
    this.mover.download(this.at('diagonals'), diagonals);
    for (const [l, { definite }] of stages.entries()) {
      if (!definite) continue;
      const { controlAt, controls } = layout.stages[l];
      let log = 0;
      let smallest = Infinity;
      let largest = 0;
      for (let i = controlAt; i < controlAt + controls; i++) {
        const pivot = diagonals[i];
        log += Math.log(pivot);
        smallest = Math.min(smallest, pivot);
        largest = Math.max(largest, pivot);
      }
      totals.logAbsDet += 2 * log;
      totals.pivotRatio = Math.max(totals.pivotRatio, (largest / smallest) ** 2);
    }
  }

  solve(g: Float64Array, x: Float64Array, m: number): void {
    const P = this.network.parameterCount;
    this.at('p');
    const width = this.prepareSolve(Math.min(m, mostColumns));
    for (let c = 0; c < m; c += width) {
      const columns = Math.min(width, m - c);
      const part = x.subarray(c * P, (c + columns) * P);
      const right = g.subarray(c * P, (c + columns) * P);
      this.sweep(right, part, columns);
    }
  }

  /** One pass backwards over the layers and one forwards. */
  private sweep(g: Float64Array, x: Float64Array, columns: number): void {
    const { device, mover, stages, layout } = this;
    const P = this.network.parameterCount;
    const at = (name: DeviceChainSolveBufferName): DeviceBuffer => this.solveBuffers!.at(name);
    const w: DeviceChainSolve = { columns, at };
    mover.upload(g, at('g'), 0, 0, P * columns);
    device.fill(P * columns, 0, at('x'), 0);
    let r = at('state');
    let rNext = at('stateNext');
    const last = layout.stages.length - 1;
    device.fill(layout.stages[last].rows * columns, 0, r, 0);
    for (let l = last; l >= 0; l--) {
      stages[l].backward(r, rNext, layout.stages[l].controlAt * columns, w);
      [r, rNext] = [rNext, r];
    }
    for (let l = 0; l <= last; l++) {
      stages[l].forward(r, rNext, layout.stages[l].controlAt * columns, w);
      [r, rNext] = [rNext, r];
    }
    mover.download(at('x'), x, 0, 0, P * columns);
  }

  /** Memory for up to `wanted` right-hand sides; fewer, as there is memory for already, where the device has no more. */
  private prepareSolve(wanted: number): number {
    if (this.columns >= wanted) return this.columns;
    try {
      this.growSolve(wanted);
    } catch (error) {
      if (!(error instanceof DeepHessianError && error.code === 'out-of-memory')) throw error;
    }
    return this.columns;
  }

  /** Allocates the buffers of a solve of `columns` right-hand sides in the place of smaller ones. */
  private growSolve(columns: number): void {
    const { device, network, layout, mover } = this;
    const fresh = new DeviceBuffers(device, mover.type, deviceChainSolveLengths(network, layout, columns));
    this.solveBuffers?.dispose();
    this.solveBuffers = fresh;
    this.columns = columns;
  }

  /** Gives the device's memory back. */
  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    this.buffers.dispose();
    this.solveBuffers?.dispose();
    this.pivots?.dispose();
    this.stages.length = 0;
  }
}
