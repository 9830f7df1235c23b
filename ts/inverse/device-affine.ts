/**
 * The Riccati recursion over affine layers in the memory of a device: factor and solve as chain.ts does with affine-stage.ts,
 * for the exact Hessian and for Gauss-Newton, with any shift. Mathematics: docs/theory/inverse.md; operations:
 * device-affine-stage.ts; what is held: device-affine-layout.ts.
 *
 * What travels. Once, when the factor is made: parameters, slopes, curvatures, deltas, the output Hessian's K x K blocks, and
 * for each layer R and U, from a QR on the host (4 fan q^2 flops where the samples are fewer than the fan-in, against the
 * (h q)^3 of the layer's factorization). In `factor`: one status a layer, the diagonals of Cholesky factors, the pivots of
 * Bunch-Kaufman factors. In `solve`: right-hand sides up, solutions down. No matrix of the recursion does.
 */
import type { AffinePoint, Linearization } from '../derivatives/index.js';
import type { DeviceBuffer, DeviceKernels } from '../device/index.js';
import { DeepHessianError } from '../errors.js';
import { kernels } from '../native/index.js';
import type { NetworkModel } from '../network/index.js';
import { DeviceAffineStage, type DeviceAffineMemory, type DeviceAffineSolve } from './device-affine-stage.js';
import {
  deviceAffineBytes,
  deviceAffineLayout,
  deviceAffineSolveLengths,
  largestDeviceBlock,
  type DeviceAffineBufferName,
  type DeviceAffineLayout,
  type DeviceAffineSolveBufferName,
} from './device-affine-layout.js';
import { Mover } from './device-mover.js';
import { inputBasis } from './input-basis.js';
import { outputBlocks } from './output-blocks.js';
import type { MatrixKind, RawFactor } from './raw-factor.js';
import type { FactorTotals } from './stage.js';

/** Most right-hand sides that pass through the factor at once. */
const mostColumns = 64;

type SolveBuffers = Map<DeviceAffineSolveBufferName, DeviceBuffer>;

/** Factor of M + eps I by recursion over affine layers, in the memory of a device. */
export class DeviceAffineFactor implements RawFactor {
  /** Inertia and log-determinant of the last factorization. */
  readonly totals: FactorTotals = { positive: 0, negative: 0, zero: 0, logAbsDet: 0, pivotRatio: 1 };

  private readonly network: NetworkModel;
  private readonly samples: number;
  private readonly mover: Mover;
  private readonly layout: DeviceAffineLayout;
  private readonly stages: DeviceAffineStage[] = [];
  private readonly buffers = new Map<DeviceAffineBufferName, DeviceBuffer>();
  private readonly pivots: DeviceBuffer | null = null;
  private solveBuffers: SolveBuffers = new Map();
  private columns = 0;
  private readonly diagonals: Float64Array;
  private scaled = new Float64Array(0);
  private disposed = false;

  /**
   * @param single in single precision, to be refined in double
   * @throws DeepHessianError 'out-of-memory' when the device cannot hold it, 'unsupported' for custom layers and for
   *   matrices of more than 2^31 - 1 numbers; nothing stays allocated then
   */
  constructor(
    private readonly device: DeviceKernels,
    point: Linearization,
    matrix: MatrixKind,
    private readonly single = false,
  ) {
    const { network, samples } = point;
    this.network = network;
    this.samples = samples;
    this.mover = new Mover(device, single);
    this.layout = deviceAffineLayout(network, samples, matrix);
    const { lengths, identities, controls, stages, largestBlock } = this.layout;
    if (largestBlock > largestDeviceBlock) {
      throw new DeepHessianError(
        'unsupported',
        `affine: needs a matrix of ${largestBlock} numbers, but an operation of a device counts to ${largestDeviceBlock}; use fewer samples`,
        { numbers: largestBlock, limit: largestDeviceBlock },
      );
    }
    this.diagonals = new Float64Array(controls);
    try {
      for (const [name, length] of Object.entries(lengths) as [DeviceAffineBufferName, number][]) {
        this.buffers.set(name, device.allocate(this.mover.type, length));
      }
      const pivots = (this.pivots = device.allocate('int32', controls));
      this.growSolve(1);
      const memory: DeviceAffineMemory = {
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
      for (const [l, plan] of stages.entries()) {
        const stage = new DeviceAffineStage(memory, plan, (point.layers[l] as AffinePoint).linear);
        this.stages.push(stage);
      }
      this.upload(point, matrix);
      for (const stage of this.stages) stage.prepare();
    } catch (error) {
      this.dispose();
      throw error;
    }
  }

  /** Bytes of device memory that a factor and one right-hand side will hold, workspaces of the libraries apart. */
  static estimateBytes(network: NetworkModel, samples: number, matrix: MatrixKind, single = false): number {
    return deviceAffineBytes(network, samples, matrix, single);
  }

  /** Bytes of host memory. */
  get bytes(): number {
    return this.diagonals.byteLength + this.scaled.byteLength;
  }

  private at(name: DeviceAffineBufferName): DeviceBuffer {
    const buffer = this.buffers.get(name);
    if (buffer === undefined) throw new DeepHessianError('unsupported', 'affine: the factor has been disposed');
    return buffer;
  }

  /** Everything of the point that the recursion reads. */
  private upload(point: Linearization, matrix: MatrixKind): void {
    const { device, mover, samples: N, layout } = this;
    mover.upload(point.params, this.at('parameters'));
    mover.upload(outputBlocks(point), this.at('outputBlocks'));
    for (const [l, plan] of layout.stages.entries()) {
      const layerPoint = point.layers[l] as AffinePoint;
      const { slope, curvature, delta, linear } = layerPoint;
      const { q, fan, sampleSide, basisAt, rAt, stateAt, rows } = plan;
      const basis = sampleSide ? new Float64Array(fan * q) : null;
      const r = new Float64Array(N * q);
      inputBasis(layerPoint, N, basis, r);
      mover.upload(r, this.at('r'), rAt);
      if (basis === null) {
        device.fill(q * q, 0, this.at('bases'), basisAt);
        device.addDiagonal(q, 1, this.at('bases'), basisAt, q);
      } else {
        const transposed = new Float64Array(fan * q);
        kernels.transpose(fan, q, basis, 0, fan, transposed, 0, q);
        mover.upload(transposed, this.at('bases'), basisAt);
      }
      if (!linear) mover.upload(slope, this.at('slopes'), stateAt, 0, rows);
      if (matrix !== 'hessian') continue;
      if (!linear) mover.upload(curvature, this.at('curvatures'), stateAt, 0, rows);
      mover.upload(delta, this.at('deltas'), stateAt, 0, rows);
    }
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
      if (!this.single) {
        this.sweep(right, part, columns);
        continue;
      }
      // Scaled to unit size, so that neither tiny nor huge residuals leave the range of float32.
      let largest = 0;
      for (let i = 0; i < right.length; i++) largest = Math.max(largest, Math.abs(right[i]));
      if (largest === 0) {
        part.fill(0);
        continue;
      }
      if (this.scaled.length < right.length) this.scaled = new Float64Array(right.length);
      for (let i = 0; i < right.length; i++) this.scaled[i] = right[i] / largest;
      this.sweep(this.scaled, part, columns);
      for (let i = 0; i < part.length; i++) part[i] *= largest;
    }
  }

  /** One pass backwards over the layers and one forwards. */
  private sweep(g: Float64Array, x: Float64Array, columns: number): void {
    const { device, mover, stages, layout, solveBuffers } = this;
    const P = this.network.parameterCount;
    const at = (name: DeviceAffineSolveBufferName): DeviceBuffer => solveBuffers.get(name) as DeviceBuffer;
    const w: DeviceAffineSolve = { columns, at };
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
    const fresh: SolveBuffers = new Map();
    try {
      const lengths = deviceAffineSolveLengths(network, layout, columns);
      for (const [name, length] of Object.entries(lengths) as [DeviceAffineSolveBufferName, number][]) {
        fresh.set(name, device.allocate(mover.type, length));
      }
    } catch (error) {
      for (const buffer of fresh.values()) buffer.dispose();
      throw error;
    }
    for (const buffer of this.solveBuffers.values()) buffer.dispose();
    this.solveBuffers = fresh;
    this.columns = columns;
  }

  /** Gives the device's memory back. */
  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    for (const buffer of this.buffers.values()) buffer.dispose();
    for (const buffer of this.solveBuffers.values()) buffer.dispose();
    this.pivots?.dispose();
    this.buffers.clear();
    this.solveBuffers.clear();
    this.stages.length = 0;
  }
}
