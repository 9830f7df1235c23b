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
 */
import type { AffinePoint } from '../derivatives/index.js';
import type { DeviceBuffer, DeviceSlice } from '../device/index.js';
import { kernels, Left, No, Right, Yes } from '../native/index.js';
import type { DeviceAffinePlan } from './device-chain-layout.js';
import type { Mover } from './device-mover.js';
import { inputBasis } from './input-basis.js';
import { DeviceStage, type DeviceChainMemory, type DeviceChainSolve } from './device-stage.js';
import type { FactorTotals } from './stage.js';

export class DeviceAffineStage extends DeviceStage {
  /** @param linear whether the layer's activation is the identity */
  constructor(
    memory: DeviceChainMemory,
    override readonly plan: DeviceAffinePlan,
    private readonly linear: boolean,
  ) {
    super(memory, plan);
  }

  /**
   * What the recursion reads of the layer at its point, to the device, and I - U U^T on the weight rows there.
   *
   * @param here the layer on the host, which makes the basis of its inputs
   * @param point the layer where its arrays are
   */
  upload(here: AffinePoint, point: AffinePoint<Float64Array | DeviceSlice>, mover: Mover): void {
    const { plan, memory, linear } = this;
    const { device, samples: N, gaussNewton, at } = memory;
    const { layer, rows, q, fan, sampleSide, basisAt, rAt, stateAt, complementAt } = plan;
    const bases = at('bases');
    const basis = sampleSide ? new Float64Array(fan * q) : null;
    const r = new Float64Array(N * q);
    inputBasis(here, N, basis, r);
    mover.upload(r, at('r'), rAt);
    if (basis === null) {
      device.fill(q * q, 0, bases, basisAt);
      device.addDiagonal(q, 1, bases, basisAt, q);
    } else {
      const transposed = new Float64Array(fan * q);
      kernels.transpose(fan, q, basis, 0, fan, transposed, 0, q);
      mover.upload(transposed, bases, basisAt);
    }
    if (!linear) mover.take(point.slope, at('slopes'), stateAt, rows);
    if (gaussNewton) return;
    if (!linear) mover.take(point.curvature, at('curvatures'), stateAt, rows);
    mover.take(point.delta, at('deltas'), stateAt, rows);
    if (complementAt < 0) return;
    const { inputs } = layer;
    const complements = at('complements');
    device.fill(inputs * inputs, 0, complements, complementAt);
    device.addDiagonal(inputs, 1, complements, complementAt, inputs);
    // prettier-ignore
    device.gemm(Yes, No, inputs, inputs, q, -1, bases, basisAt, q, bases, basisAt, q, 1, complements, complementAt, inputs);
  }

  factor(eps: number, p: DeviceBuffer, pNext: DeviceBuffer, totals: FactorTotals): boolean {
    const { plan, memory, linear } = this;
    const { device, samples: N, gaussNewton } = memory;
    const { layer, first, q, fan, rows: n, controls: c, rAt, stateAt } = plan;
    const { units: h, residual } = layer;
    const [r, slopes, t1] = [memory.at('r'), memory.at('slopes'), memory.at('t1')];
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
    const rest = h * (fan - q);
    totals.positive += eps > 0 ? rest : 0;
    totals.negative += eps < 0 ? rest : 0;
    totals.logAbsDet += rest > 0 ? rest * Math.log(Math.abs(eps)) : 0;
    if (!this.factorPivotBlock(totals)) return false;
    if (first) return true;
    this.fillGain(p);
    this.weighted(p, phi, pNext);
    this.eliminate(pNext);
    return true;
  }

  /** Gx = eps I + t1 (I (x) R). */
  protected fillPivotBlock(): void {
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

  backward(r: DeviceBuffer, rNext: DeviceBuffer, yAt: number, w: DeviceChainSolve): void {
    const { plan, memory, linear } = this;
    const { device, samples: N, parameterCount: P } = memory;
    const { first, q, rows: n, previousRows: m, controls: c, basisAt, rAt, stateAt, complementAt } = plan;
    const { units: h, inputs, residual, weightOffset } = plan.layer;
    const { columns } = w;
    const [y, g] = [w.at('y'), w.at('g')];
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
    this.backwardControl(rNext, yAt, w);
  }

  forward(state: DeviceBuffer, stateNext: DeviceBuffer, yAt: number, w: DeviceChainSolve): void {
    const { plan, memory, linear } = this;
    const { device, samples: N, parameterCount: P, gaussNewton } = memory;
    const { first, q, rows: n, previousRows: m, controls: c, basisAt, rAt, stateAt, sampleSide } = plan;
    const { units: h, inputs, residual, weightOffset, biasOffset, parameterOffset, parameterCount } = plan.layer;
    const { columns } = w;
    const [parameters, bases, y, x] = [memory.at('parameters'), memory.at('bases'), w.at('y'), w.at('x')];
    this.forwardControl(state, yAt, w);
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
