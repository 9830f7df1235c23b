/**
 * The dense route: form H or G, P x P, and factor it. O(P^3) time, 8 P^2 bytes. The slow twin of every
 * other route, and the fastest one when the samples outnumber the parameters.
 */
import type { Linearization } from '../derivatives/index.js';
import { SymmetricFactor } from '../linalg/symmetric-factor.js';
import type { MatrixKind, RawFactor } from './raw-factor.js';
import type { FactorTotals } from './stage.js';

/** Factor of M + eps I written out whole, P x P: the oracle, and the last resort of small problems. */
export class DenseFactor implements RawFactor {
  /** Inertia and log-determinant of the last factorization. */
  readonly totals: FactorTotals = { positive: 0, negative: 0, zero: 0, logAbsDet: 0, pivotRatio: 1 };
  /** H or G with L2, lower triangle packed by columns: kept so that a new shift needs no new derivatives */
  private readonly packed: Float64Array;
  private readonly gx: SymmetricFactor;
  private readonly P: number;

  constructor(
    point: Linearization,
    matrix: MatrixKind,
    private readonly single = false,
  ) {
    const P = (this.P = point.network.parameterCount);
    const dense = matrix === 'hessian' ? point.denseHessian() : point.denseGaussNewton();
    this.packed = new Float64Array((P * (P + 1)) / 2);
    for (let j = 0, o = 0; j < P; j++)
      for (let i = j; i < P; i++, o++) this.packed[o] = 0.5 * (dense[j * P + i] + dense[i * P + j]);
    this.gx = new SymmetricFactor(P, single ? new Float32Array(P * P) : dense);
  }

  get bytes(): number {
    return this.gx.bytes + this.packed.byteLength;
  }

  factor(damping: number): boolean {
    const { P, packed, gx, totals } = this;
    const a = gx.matrix;
    for (let j = 0, o = 0; j < P; j++) {
      for (let i = j; i < P; i++, o++) a[j * P + i] = a[i * P + j] = packed[o];
      a[j * (P + 1)] += damping;
    }
    const regular = gx.factor();
    totals.positive = gx.positive;
    totals.negative = gx.negative;
    totals.zero = gx.zero;
    totals.logAbsDet = gx.logAbsDet;
    totals.pivotRatio = gx.largestPivot / gx.smallestPivot;
    return regular;
  }

  solve(g: Float64Array, x: Float64Array, m: number): void {
    if (!this.single) {
      if (x !== g) x.set(g.subarray(0, this.P * m));
      this.gx.solve(x, 0, m);
      return;
    }
    const b = Float32Array.from(g.subarray(0, this.P * m));
    this.gx.solve(b, 0, m);
    x.set(b);
  }

  /** Nothing to let go of. */
  dispose(): void {}
}
