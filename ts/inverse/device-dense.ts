/**
 * The dense route on a device: M is written out on the host, goes to the device once, and is factored there for every shift,
 * by Cholesky or, where M + eps I is not positive definite, by Bunch-Kaufman. Two P x P matrices of device memory.
 */
import type { Linearization } from '../derivatives/index.js';
import type { DeviceBuffer, DeviceKernels } from '../device/index.js';
import { Lower } from '../native/index.js';
import { Mover } from './device-mover.js';
import type { MatrixKind, RawFactor } from './raw-factor.js';
import type { FactorTotals } from './stage.js';

/** Factor of M + eps I written out whole, in the memory of a device. */
export class DeviceDenseFactor implements RawFactor {
  readonly totals: FactorTotals = { positive: 0, negative: 0, zero: 0, logAbsDet: 0, pivotRatio: 1 };
  private readonly P: number;
  private readonly mover: Mover;
  private readonly facts = new Float64Array(6);
  private readonly diagonal: Float64Array;
  private readonly buffers: DeviceBuffer[] = [];
  private readonly base: DeviceBuffer;
  private readonly matrix: DeviceBuffer;
  private readonly pivots: DeviceBuffer;
  private readonly vector: DeviceBuffer;
  private definite = true;

  /**
   * @param single in single precision, to be refined in double
   * @throws DeepHessianError 'out-of-memory' when the device cannot hold it; nothing stays allocated then
   */
  constructor(
    private readonly device: DeviceKernels,
    point: Linearization,
    matrix: MatrixKind,
    single = false,
  ) {
    const P = (this.P = point.network.parameterCount);
    const mover = (this.mover = new Mover(device, single));
    this.diagonal = new Float64Array(P);
    const allocate = (type: 'float64' | 'float32' | 'int32', length: number): DeviceBuffer => {
      const buffer = device.allocate(type, length);
      this.buffers.push(buffer);
      return buffer;
    };
    try {
      this.base = allocate(mover.type, P * P);
      this.matrix = allocate(mover.type, P * P);
      this.pivots = allocate('int32', P);
      this.vector = allocate(mover.type, P);
      const dense = matrix === 'hessian' ? point.denseHessian() : point.denseGaussNewton();
      for (let j = 0; j < P; j++) {
        for (let i = j + 1; i < P; i++) dense[j * P + i] = 0.5 * (dense[j * P + i] + dense[i * P + j]);
        // By columns: a copy of the whole in another precision would need as much memory again.
        mover.upload(dense, this.base, j * P, j * P, P);
      }
    } catch (error) {
      this.dispose();
      throw error;
    }
  }

  /** Bytes of device memory that the factor of P parameters will hold, workspaces of the libraries apart. */
  static estimateBytes(parameters: number, single = false): number {
    return (single ? 4 : 8) * (2 * parameters ** 2 + parameters) + 4 * parameters;
  }

  get bytes(): number {
    return this.diagonal.byteLength;
  }

  private load(damping: number): void {
    const { device, P } = this;
    device.copy(P * P, this.base, 0, this.matrix, 0);
    device.addDiagonal(P, damping, this.matrix, 0, P);
  }

  factor(damping: number): boolean {
    const { device, P, totals, facts, diagonal } = this;
    this.load(damping);
    this.definite = device.potrf(Lower, P, this.matrix, 0, P) === 0;
    if (this.definite) {
      device.diagonal(P, this.matrix, 0, P, this.vector, 0);
      this.mover.download(this.vector, diagonal);
      let log = 0;
      let smallest = Infinity;
      let largest = 0;
      for (const pivot of diagonal) {
        log += Math.log(pivot);
        smallest = Math.min(smallest, pivot);
        largest = Math.max(largest, pivot);
      }
      Object.assign(totals, {
        positive: P,
        negative: 0,
        zero: 0,
        logAbsDet: 2 * log,
        pivotRatio: (largest / smallest) ** 2,
      });
      return true;
    }
    this.load(damping);
    const info = device.sytrf(Lower, P, this.matrix, 0, P, this.pivots, 0);
    device.sytrfInertia(Lower, P, this.matrix, 0, P, this.pivots, 0, facts);
    const [positive, negative, zero, logAbsDet, smallest, largest] = facts;
    Object.assign(totals, { positive, negative, zero, logAbsDet, pivotRatio: largest / smallest });
    return info === 0 && zero === 0;
  }

  solve(g: Float64Array, x: Float64Array, m: number): void {
    const { device, P, mover } = this;
    for (let c = 0; c < m; c++) {
      mover.upload(g, this.vector, 0, c * P, P);
      if (this.definite) device.potrs(Lower, P, 1, this.matrix, 0, P, this.vector, 0, P);
      else device.sytrs(Lower, P, 1, this.matrix, 0, P, this.pivots, 0, this.vector, 0, P);
      mover.download(this.vector, x, 0, c * P, P);
    }
  }

  /** Gives the device's memory back. */
  dispose(): void {
    for (const buffer of this.buffers) buffer.dispose();
  }
}
