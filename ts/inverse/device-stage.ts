/**
 * What every stage of the Riccati recursion on a device does, whatever its layer: the pivot block's factorization, the update
 * of the cost-to-go, and the control's part of a solve. Equations of stage.ts in operations on whole matrices.
 *
 * A positive definite Gx = G G^T is used by halves, as on the CPU: the gain is G^-1 a and P' takes a rank-k update. Libraries
 * of a card offer no half of a Bunch-Kaufman factor; there the gain is K = Gx^-1 a, and
 *
 *     P' -= a^T K      r' += K^T b      X = Gx^-1 b - K Y'           (b = g - Dx^T r)
 */
import type { DeviceBuffer, DeviceKernels } from '../device/index.js';
import { Left, Lower, No, Yes } from '../native/index.js';
import type { DeviceChainBufferName, DeviceChainSolveBufferName, DeviceStagePlan } from './device-chain-layout.js';
import type { FactorTotals } from './stage.js';

/** Device memory that the stages work in. */
export interface DeviceChainMemory {
  readonly device: DeviceKernels;
  readonly samples: number;
  readonly parameterCount: number;
  readonly gaussNewton: boolean;
  readonly pivots: DeviceBuffer;
  /** orders of the identities in 'identities', each with its place */
  readonly identities: ReadonlyMap<number, number>;
  /** a buffer that lives as long as the factor */
  at(name: DeviceChainBufferName): DeviceBuffer;
}

/** The buffers of a solve of `columns` right-hand sides. */
export interface DeviceChainSolve {
  readonly columns: number;
  at(name: DeviceChainSolveBufferName): DeviceBuffer;
}

/** Columns of P' that one product updates below its diagonal, when there is no symmetric update. */
const panel = (m: number): number => Math.max(256, Math.ceil(m / 8));

const facts = new Float64Array(6);

export abstract class DeviceStage {
  /** whether the last Gx was positive definite */
  definite = true;
  protected eps = 0;

  constructor(
    protected readonly memory: DeviceChainMemory,
    readonly plan: DeviceStagePlan,
  ) {}

  /** Lower triangle (and more) of Gx, from what `factor` left in t1. */
  protected abstract fillPivotBlock(): void;

  /**
   * From P at the output to P' at the input, with shift eps; P is overwritten. Counts and pivots go to `totals`, except the
   * diagonal of a Cholesky factor, which is left in 'diagonals'.
   * @returns false when Gx is exactly singular
   */
  abstract factor(eps: number, p: DeviceBuffer, pNext: DeviceBuffer, totals: FactorTotals): boolean;

  /** Backward half of a solve: r at the output to rNext at the input; b or its half to y. */
  abstract backward(r: DeviceBuffer, rNext: DeviceBuffer, yAt: number, w: DeviceChainSolve): void;

  /** Forward half: state at the input to stateNext at the output, and this layer's part of x, which holds zeros there. */
  abstract forward(state: DeviceBuffer, stateNext: DeviceBuffer, yAt: number, w: DeviceChainSolve): void;

  /** Fills and factors Gx: by Cholesky, and from the beginning by Bunch-Kaufman where it is not positive definite. */
  protected factorPivotBlock(totals: FactorTotals): boolean {
    const { device, pivots, at } = this.memory;
    const { controls: c, blockAt, controlAt } = this.plan;
    const blocks = at('blocks');
    this.fillPivotBlock();
    this.definite = device.potrf(Lower, c, blocks, blockAt, c) === 0;
    if (this.definite) {
      totals.positive += c;
      device.diagonal(c, blocks, blockAt, c, at('diagonals'), controlAt);
      return true;
    }
    this.fillPivotBlock();
    const info = device.sytrf(Lower, c, blocks, blockAt, c, pivots, controlAt);
    device.sytrfInertia(Lower, c, blocks, blockAt, c, pivots, controlAt, facts);
    totals.positive += facts[0];
    totals.negative += facts[1];
    totals.zero += facts[2];
    totals.logAbsDet += facts[3];
    totals.pivotRatio = Math.max(totals.pivotRatio, facts[5] / facts[4]);
    return info === 0 && facts[2] === 0;
  }

  /** next -= a^T Gx^-1 a, symmetric; the gain, a before, becomes G^-1 a, or Gx^-1 a. Uses t2. */
  protected eliminate(next: DeviceBuffer): void {
    const { device, pivots, at } = this.memory;
    const { previousRows: m, controls: c, blockAt, gainAt, controlAt } = this.plan;
    const [blocks, gains] = [at('blocks'), at('gains')];
    if (c === 0) {
      // Nothing to eliminate: a custom layer without parameters.
    } else if (this.definite) {
      device.trsm(Left, Lower, No, No, c, m, 1, blocks, blockAt, c, gains, gainAt, c);
      device.syrk(Lower, Yes, m, c, -1, gains, gainAt, c, 1, next, 0, m);
    } else {
      const a = at('t2');
      device.copy(c * m, gains, gainAt, a, 0);
      device.sytrs(Lower, c, m, blocks, blockAt, c, pivots, controlAt, gains, gainAt, c);
      const width = panel(m);
      for (let j = 0; j < m; j += width) {
        const columns = Math.min(width, m - j);
        // prettier-ignore
        device.gemm(Yes, No, m - j, columns, c, -1, a, j * c, c, gains, gainAt + j * c, c, 1, next, j * (m + 1), m);
      }
    }
    device.symmetrize(Lower, m, next, 0, m);
  }

  /** y = b := its half or Gx^-1 b; rNext += a^T Gx^-1 b. */
  protected backwardControl(rNext: DeviceBuffer, yAt: number, w: DeviceChainSolve): void {
    const { device, pivots, at } = this.memory;
    const { first, previousRows: m, controls: c, blockAt, gainAt, controlAt } = this.plan;
    const { columns } = w;
    const [blocks, y] = [at('blocks'), w.at('y')];
    if (this.definite) device.trsm(Left, Lower, No, No, c, columns, 1, blocks, blockAt, c, y, yAt, c);
    if (!first) device.gemm(Yes, No, m, columns, c, 1, at('gains'), gainAt, c, y, yAt, c, 1, rNext, 0, m);
    if (!this.definite) device.sytrs(Lower, c, columns, blocks, blockAt, c, pivots, controlAt, y, yAt, c);
  }

  /** y := Gx^-1 (b - a Y'), the control, from what {@link backwardControl} left. */
  protected forwardControl(state: DeviceBuffer, yAt: number, w: DeviceChainSolve): void {
    const { device, at } = this.memory;
    const { first, previousRows: m, controls: c, blockAt, gainAt } = this.plan;
    const { columns } = w;
    const y = w.at('y');
    if (!first) device.gemm(No, No, c, columns, m, -1, at('gains'), gainAt, c, state, 0, m, 1, y, yAt, c);
    if (this.definite) device.trsm(Left, Lower, Yes, No, c, columns, 1, at('blocks'), blockAt, c, y, yAt, c);
  }
}
