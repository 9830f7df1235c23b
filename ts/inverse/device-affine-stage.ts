/**
 * One stage of the Riccati recursion on a device: the equations of affine-stage.ts in operations on whole matrices, none of
 * which leaves the device. Notation and the derivation of P', a and the complement are there.
 *
 * Where the CPU writes into entries, a device multiplies:
 *
 *     D R for all units      [d_i o r_j]                             row-wise Kronecker product of slope and R
 *     a[(i,k),(j,n)] += U[j,k] delta_i[n]                            (X o U^T) B by one batch over j, X B = delta^T, unit i
 *                                                                    repeated over k: X = I_h (x) 1, B = delta^T where h <= N,
 *                                                                    else X = delta^T (x) 1, B = I_N; exact products by 0 and 1
 *     (delta delta^T) (x) C  C[k,j] S[i,m]                           row-wise Kronecker product of C (x) 1_N and S
 *
 * A positive definite Gx = G G^T is used by halves, as on the CPU: the gain is G^-1 a and P' takes a rank-k update. Libraries
 * of a card offer no half of a Bunch-Kaufman factor; there the gain is K = Gx^-1 a, and
 *
 *     P' -= a^T K      r' += K^T b      X = Gx^-1 b - K Y'           (b = g - Dx^T r)
 */
import type { DeviceBuffer, DeviceKernels } from '../device/index.js';
import { Left, Lower, No, Right, Yes } from '../native/index.js';
import type { DeviceAffineBufferName, DeviceAffinePlan, DeviceAffineSolveBufferName } from './device-affine-layout.js';
import type { FactorTotals } from './stage.js';

/** Device memory that the stages work in. */
export interface DeviceAffineMemory {
  readonly device: DeviceKernels;
  readonly samples: number;
  readonly parameterCount: number;
  readonly gaussNewton: boolean;
  readonly pivots: DeviceBuffer;
  readonly identities: ReadonlyMap<number, number>;
  /** a buffer that lives as long as the factor */
  at(name: DeviceAffineBufferName): DeviceBuffer;
}

/** The buffers of a solve of `columns` right-hand sides. */
export interface DeviceAffineSolve {
  readonly columns: number;
  at(name: DeviceAffineSolveBufferName): DeviceBuffer;
}

/** Columns of P' that one product updates below its diagonal, when there is no symmetric update. */
const panel = (m: number): number => Math.max(256, Math.ceil(m / 8));

const facts = new Float64Array(6);

export class DeviceAffineStage {
  /** whether the last Gx was positive definite */
  definite = true;
  private eps = 0;

  constructor(
    private readonly memory: DeviceAffineMemory,
    private readonly plan: DeviceAffinePlan,
    private readonly linear: boolean,
  ) {}

  /** I - U U^T on the weight rows, which does not depend on eps. */
  prepare(): void {
    const { plan, memory } = this;
    const { device } = memory;
    const { complementAt: at, basisAt, q, layer } = plan;
    if (at < 0) return;
    const { inputs } = layer;
    const [complements, bases] = [memory.at('complements'), memory.at('bases')];
    device.fill(inputs * inputs, 0, complements, at);
    device.addDiagonal(inputs, 1, complements, at, inputs);
    device.gemm(Yes, No, inputs, inputs, q, -1, bases, basisAt, q, bases, basisAt, q, 1, complements, at, inputs);
  }

  /**
   * From P at the output to P' at the input, with shift eps; P is overwritten. Counts and pivots go to `totals`, except the
   * diagonal of a Cholesky factor, which is left in 'diagonals'.
   * @returns false when Gx is exactly singular
   */
  factor(eps: number, p: DeviceBuffer, pNext: DeviceBuffer, totals: FactorTotals): boolean {
    const { plan, memory, linear } = this;
    const { device, samples: N, gaussNewton } = memory;
    const { layer, first, q, fan, rows: n, controls: c, blockAt, controlAt, rAt, stateAt } = plan;
    const { units: h, residual } = layer;
    const [blocks, r, slopes, t1] = [memory.at('blocks'), memory.at('r'), memory.at('slopes'), memory.at('t1')];
    this.eps = eps;
    // The residual branch still wants P itself.
    const keep = residual && !first;
    const phi = linear ? p : keep ? pNext : p;
    if (!linear) {
      const curvatures = gaussNewton ? null : memory.at('curvatures');
      device.scaleSymmetric(n, p, 0, n, slopes, stateAt, curvatures, gaussNewton ? 0 : stateAt, phi, 0, n);
    }
    // t1 = (I (x) R)^T Phi, Gx = eps I + t1 (I (x) R)
    device.gemmBatch(Yes, No, q, n, N, 1, r, rAt, N, 0, phi, 0, n, N, 0, t1, 0, c, q, h);
    this.pivotBlock();
    const rest = h * (fan - q);
    totals.positive += eps > 0 ? rest : 0;
    totals.negative += eps < 0 ? rest : 0;
    totals.logAbsDet += rest > 0 ? rest * Math.log(Math.abs(eps)) : 0;
    this.definite = device.potrf(Lower, c, blocks, blockAt, c) === 0;
    if (this.definite) {
      totals.positive += c;
      device.diagonal(c, blocks, blockAt, c, memory.at('diagonals'), controlAt);
    } else {
      this.pivotBlock();
      const info = device.sytrf(Lower, c, blocks, blockAt, c, memory.pivots, controlAt);
      device.sytrfInertia(Lower, c, blocks, blockAt, c, memory.pivots, controlAt, facts);
      totals.positive += facts[0];
      totals.negative += facts[1];
      totals.zero += facts[2];
      totals.logAbsDet += facts[3];
      totals.pivotRatio = Math.max(totals.pivotRatio, facts[5] / facts[4]);
      if (info !== 0 || facts[2] > 0) return false;
    }
    if (first) return true;
    this.fillGain(p);
    this.weighted(p, phi, pNext);
    this.eliminate(pNext);
    return true;
  }

  /** Lower triangle (and more) of Gx = eps I + t1 (I (x) R). */
  private pivotBlock(): void {
    const { plan, memory } = this;
    const { device, samples: N } = memory;
    const { q, controls: c, blockAt, rAt, layer } = plan;
    const [blocks, r, t1] = [memory.at('blocks'), memory.at('r'), memory.at('t1')];
    device.gemmBatch(No, No, c, q, N, 1, t1, 0, c, N * c, r, rAt, N, 0, 0, blocks, blockAt, c, q * c, layer.units);
    device.addDiagonal(c, this.eps, blocks, blockAt, c);
  }

  /** gain := a = t1 (W (x) I) (+ (I (x) R)^T D P when residual) + the cross term. */
  private fillGain(p: DeviceBuffer): void {
    const { plan, memory, linear } = this;
    const { device, samples: N, gaussNewton } = memory;
    const { q, rows: n, controls: c, gainAt, rAt, stateAt, layer } = plan;
    const { units: h, inputs, residual, weightOffset } = layer;
    const [gains, r, t1, t2, parameters] = [
      memory.at('gains'),
      memory.at('r'),
      memory.at('t1'),
      memory.at('t2'),
      memory.at('parameters'),
    ];
    if (residual) {
      if (!linear) device.rowKronecker(N, 0, N, 1, h, memory.at('slopes'), stateAt, q, r, rAt, t2, 0, N);
      const [left, at, stride] = linear ? [r, rAt, 0] : [t2, 0, N * q];
      device.gemmBatch(Yes, No, q, n, N, 1, left, at, N, stride, p, 0, n, N, 0, gains, gainAt, c, q, h);
    }
    const beta = residual ? 1 : 0;
    device.gemm(
      No,
      Yes,
      c * N,
      inputs,
      h,
      1,
      t1,
      0,
      c * N,
      parameters,
      weightOffset,
      inputs,
      beta,
      gains,
      gainAt,
      c * N,
    );
    if (!gaussNewton) this.addCrossTerm();
  }

  /** gain[(i,k),(j,n)] += U[j,k] delta_i[n]; see the head of this file. Uses t1 and t2. */
  private addCrossTerm(): void {
    const { plan, memory } = this;
    const { device, samples: N } = memory;
    const { q, controls: c, gainAt, basisAt, stateAt, layer } = plan;
    const { units: h, inputs } = layer;
    const [gains, deltas, identities, ones, t1, t2] = [
      memory.at('gains'),
      memory.at('deltas'),
      memory.at('identities'),
      memory.at('ones'),
      memory.at('t1'),
      memory.at('t2'),
    ];
    const byUnits = h <= N;
    const width = byUnits ? h : N;
    const identityAt = memory.identities.get(width) as number;
    // t1 (c x width) := X, each entry q times over
    const from = byUnits ? identities : t1;
    const fromAt = byUnits ? identityAt : c * width;
    if (!byUnits) device.transpose(N, h, deltas, stateAt, N, t1, fromAt, h);
    device.gemm(No, No, q, h * width, 1, 1, ones, 0, q, from, fromAt, 1, 0, t1, 0, q);
    // t2 (c x (width inputs)): column (w, j) is X_w o (U^T)_j
    device.rowKronecker(q, 0, q, h, width, t1, 0, inputs, memory.at('bases'), basisAt, t2, 0, c);
    const [right, rightAt] = byUnits ? [deltas, stateAt] : [identities, identityAt];
    // prettier-ignore
    device.gemmBatch(No, Yes, c, N, width, 1, t2, 0, c * inputs, c, right, rightAt, N, 0, 1, gains, gainAt, c, c * N, inputs);
  }

  /** next := (W (x) I)^T Phi (W (x) I) + residual terms - (delta delta^T) (x) C / eps; Phi may be in next. Uses t1 and t2. */
  private weighted(p: DeviceBuffer, phi: DeviceBuffer, next: DeviceBuffer): void {
    const { plan, memory, linear } = this;
    const { device, samples: N } = memory;
    const { rows: n, previousRows: m, stateAt, complementAt, layer } = plan;
    const { units: h, inputs, residual, weightOffset } = layer;
    const [t1, t2, parameters] = [memory.at('t1'), memory.at('t2'), memory.at('parameters')];
    const times = (x: DeviceBuffer): void =>
      device.gemm(No, Yes, n * N, inputs, h, 1, x, 0, n * N, parameters, weightOffset, inputs, 0, t2, 0, n * N);
    times(phi);
    if (complementAt >= 0) {
      const gram = memory.at('gram');
      const deltas = memory.at('deltas');
      device.gemm(No, Yes, N, N, h, -1 / this.eps, deltas, stateAt, N, deltas, stateAt, N, 0, gram, 0, N);
      // t1 (m x inputs) := C (x) 1_N
      // prettier-ignore
      device.gemm(No, No, N, inputs * inputs, 1, 1, memory.at('ones'), 0, N, memory.at('complements'), complementAt, 1, 0, t1, 0, N);
      device.rowKronecker(N, 0, N, inputs, inputs, t1, 0, N, gram, 0, next, 0, m);
    }
    this.leftWeights(t2, next, m, complementAt >= 0 ? 1 : 0);
    if (!residual) return;
    // P + P D (W (x) I) + its transpose
    if (linear) times(p);
    else {
      device.scaleRows(Right, n, n, memory.at('slopes'), stateAt, p, 0, n, t1, 0, n);
      times(t1);
    }
    device.axpy(n * n, 1, p, 0, next, 0);
    device.axpy(n * n, 1, t2, 0, next, 0);
    device.transpose(n, n, t2, 0, n, t1, 0, n);
    device.axpy(n * n, 1, t1, 0, next, 0);
  }

  /** next -= a^T Gx^-1 a, symmetric; the gain becomes G^-1 a, or Gx^-1 a. Uses t2. */
  private eliminate(next: DeviceBuffer): void {
    const { plan, memory } = this;
    const { device } = memory;
    const { previousRows: m, controls: c, blockAt, gainAt, controlAt } = plan;
    const [blocks, gains] = [memory.at('blocks'), memory.at('gains')];
    if (this.definite) {
      device.trsm(Left, Lower, No, No, c, m, 1, blocks, blockAt, c, gains, gainAt, c);
      device.syrk(Lower, Yes, m, c, -1, gains, gainAt, c, 1, next, 0, m);
    } else {
      const a = memory.at('t2');
      device.copy(c * m, gains, gainAt, a, 0);
      device.sytrs(Lower, c, m, blocks, blockAt, c, memory.pivots, controlAt, gains, gainAt, c);
      const width = panel(m);
      for (let j = 0; j < m; j += width) {
        const columns = Math.min(width, m - j);
        // prettier-ignore
        device.gemm(Yes, No, m - j, columns, c, -1, a, j * c, c, gains, gainAt + j * c, c, 1, next, j * (m + 1), m);
      }
    }
    device.symmetrize(Lower, m, next, 0, m);
  }

  /** out (m x columns) := (W (x) I)^T x + beta out for x (n x columns). */
  private leftWeights(x: DeviceBuffer, out: DeviceBuffer, columns: number, beta: number): void {
    const { device, samples: N } = this.memory;
    const { rows: n, previousRows: m, layer } = this.plan;
    const { units: h, inputs, weightOffset } = layer;
    const parameters = this.memory.at('parameters');
    // prettier-ignore
    device.gemmBatch(No, Yes, N, inputs, h, 1, x, 0, N, n, parameters, weightOffset, inputs, 0, beta, out, 0, N, m, columns);
  }

  /** y := y + alpha U^T v over the layer's part of v, a vector of parameters a column. */
  private coordinates(
    alpha: number,
    v: DeviceBuffer,
    beta: number,
    y: DeviceBuffer,
    yAt: number,
    columns: number,
  ): void {
    const { device, parameterCount: P } = this.memory;
    const { q, controls: c, basisAt, layer } = this.plan;
    const { units: h, inputs, weightOffset, biasOffset } = layer;
    const bases = this.memory.at('bases');
    // prettier-ignore
    device.gemmBatch(No, No, q, h, inputs, alpha, bases, basisAt, q, 0, v, weightOffset, inputs, P, beta, y, yAt, q, c, columns);
    if (biasOffset < 0) return;
    // prettier-ignore
    device.gemmBatch(No, No, q, h, 1, alpha, bases, basisAt + inputs * q, q, 0, v, biasOffset, 1, P, 1, y, yAt, q, c, columns);
  }

  /** Backward half of a solve: r at the output to rNext at the input; b or its half to y. */
  backward(r: DeviceBuffer, rNext: DeviceBuffer, yAt: number, w: DeviceAffineSolve): void {
    const { plan, memory, linear } = this;
    const { device, samples: N, parameterCount: P } = memory;
    const {
      first,
      q,
      rows: n,
      previousRows: m,
      controls: c,
      blockAt,
      gainAt,
      basisAt,
      rAt,
      stateAt,
      complementAt,
    } = plan;
    const { units: h, inputs, residual, weightOffset } = plan.layer;
    const { columns } = w;
    const [blocks, gains, y, g] = [memory.at('blocks'), memory.at('gains'), w.at('y'), w.at('g')];
    this.coordinates(1, g, 0, y, yAt, columns);
    let dr = r;
    if (!linear) {
      dr = w.at('scaled');
      device.scaleRows(Left, n, columns, memory.at('slopes'), stateAt, r, 0, n, dr, 0, n);
    }
    if (!first) {
      // r' = W^T D r (+ r) + (I - U U^T) g delta / eps + ...
      this.leftWeights(dr, rNext, columns, 0);
      if (residual) device.axpy(n * columns, 1, r, 0, rNext, 0);
    }
    if (complementAt >= 0) {
      const [rest, bases] = [w.at('rest'), memory.at('bases')];
      const size = inputs * h;
      for (let i = 0; i < columns; i++) device.copy(size, g, i * P + weightOffset, rest, i * size);
      // prettier-ignore
      device.gemmBatch(Yes, No, inputs, h, q, -1, bases, basisAt, q, 0, y, yAt, q, c, 1, rest, 0, inputs, size, columns);
      // prettier-ignore
      device.gemmBatch(No, Yes, N, inputs, h, 1 / this.eps, memory.at('deltas'), stateAt, N, 0, rest, 0, inputs, size, 1, rNext, 0, N, m, columns);
    }
    // b = U^T g - (I (x) R)^T D r
    device.gemm(Yes, No, q, h * columns, N, -1, memory.at('r'), rAt, N, dr, 0, N, 1, y, yAt, q);
    if (this.definite) device.trsm(Left, Lower, No, No, c, columns, 1, blocks, blockAt, c, y, yAt, c);
    if (!first) device.gemm(Yes, No, m, columns, c, 1, gains, gainAt, c, y, yAt, c, 1, rNext, 0, m);
    if (!this.definite) device.sytrs(Lower, c, columns, blocks, blockAt, c, memory.pivots, plan.controlAt, y, yAt, c);
  }

  /** Forward half: state at the input to stateNext at the output, and this layer's part of x, which holds zeros there. */
  forward(state: DeviceBuffer, stateNext: DeviceBuffer, yAt: number, w: DeviceAffineSolve): void {
    const { plan, memory, linear } = this;
    const { device, samples: N, parameterCount: P, gaussNewton } = memory;
    const {
      first,
      q,
      rows: n,
      previousRows: m,
      controls: c,
      blockAt,
      gainAt,
      basisAt,
      rAt,
      stateAt,
      sampleSide,
    } = plan;
    const { units: h, inputs, residual, weightOffset, biasOffset, parameterOffset, parameterCount } = plan.layer;
    const { columns } = w;
    const [parameters, bases, y, x] = [memory.at('parameters'), memory.at('bases'), w.at('y'), w.at('x')];
    if (!first) device.gemm(No, No, c, columns, m, -1, memory.at('gains'), gainAt, c, state, 0, m, 1, y, yAt, c);
    if (this.definite) device.trsm(Left, Lower, Yes, No, c, columns, 1, memory.at('blocks'), blockAt, c, y, yAt, c);
    // Y = D (R xi + W Y') (+ Y')
    device.gemm(No, No, N, h * columns, q, 1, memory.at('r'), rAt, N, y, yAt, q, 0, stateNext, 0, N);
    if (!first) {
      // prettier-ignore
      device.gemmBatch(No, No, N, h, inputs, 1, state, 0, N, m, parameters, weightOffset, inputs, 0, 1, stateNext, 0, N, n, columns);
    }
    if (!linear) device.scaleRows(Left, n, columns, memory.at('slopes'), stateAt, stateNext, 0, n, stateNext, 0, n);
    if (residual && !first) device.axpy(n * columns, 1, state, 0, stateNext, 0);
    // X = U xi + (I - U U^T) t = t + U (xi - U^T t),  t = (g - Y' delta) / eps; no t on the parameter side
    if (sampleSide) {
      const g = w.at('g');
      const inverse = 1 / this.eps;
      for (let i = 0; i < columns; i++) {
        device.axpy(parameterCount, inverse, g, i * P + parameterOffset, x, i * P + parameterOffset);
      }
      if (!first && !gaussNewton) {
        // prettier-ignore
        device.gemmBatch(Yes, No, inputs, h, N, -inverse, state, 0, N, m, memory.at('deltas'), stateAt, N, 0, 1, x, weightOffset, inputs, P, columns);
      }
      this.coordinates(-1, x, 1, y, yAt, columns);
    }
    // prettier-ignore
    device.gemmBatch(Yes, No, inputs, h, q, 1, bases, basisAt, q, 0, y, yAt, q, c, 1, x, weightOffset, inputs, P, columns);
    if (biasOffset < 0) return;
    // prettier-ignore
    device.gemmBatch(Yes, No, 1, h, q, 1, bases, basisAt + inputs * q, q, 0, y, yAt, q, c, 1, x, biasOffset, 1, P, columns);
  }
}
