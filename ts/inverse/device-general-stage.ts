/**
 * A stage on a device from the layer's dense derivative blocks: the equations of general-stage.ts.
 *
 * The host computes the blocks, a custom layer's own code among it. Dz and Hzz are block diagonal over the samples: only their
 * N small blocks travel, and the device spreads them out. X[(k,n), i] goes to out[(k,n), (i,m)] = X[(k,n), i] [n = m], the
 * row-wise Kronecker product with the identity.
 */
import type { Linearization } from '../derivatives/index.js';
import type { DeviceBuffer } from '../device/index.js';
import { No, Yes } from '../native/index.js';
import type { DeviceChainBufferName, DeviceGeneralPlan } from './device-chain-layout.js';
import type { Mover } from './device-mover.js';
import { DeviceStage, type DeviceChainMemory, type DeviceChainSolve } from './device-stage.js';
import type { FactorTotals } from './stage.js';

export class DeviceGeneralStage extends DeviceStage {
  constructor(
    memory: DeviceChainMemory,
    override readonly plan: DeviceGeneralPlan,
  ) {
    super(memory, plan);
  }

  /** The layer's blocks at the point, to the device. Uses p. */
  upload(point: Linearization, mover: Mover): void {
    const { memory, plan } = this;
    const { gaussNewton, at } = memory;
    const { first, layer, dxAt, dzAt, hxxAt, hxzAt, hzzAt } = plan;
    const { dx, dz, hxx, hxz, hzz } = point.layerBlocks(layer.index);
    mover.upload(dx, at('dx'), dxAt);
    if (!gaussNewton) mover.upload(hxx, at('hxx'), hxxAt);
    if (first) return;
    this.spread(dz, layer.units, 'dz', dzAt, mover);
    if (gaussNewton) return;
    mover.upload(hxz, at('hxz'), hxzAt);
    this.spread(hzz, layer.inputs, 'hzz', hzzAt, mover);
  }

  /** out ((N units) x (N inputs)) := the block-diagonal matrix of N blocks units x inputs. */
  private spread(blocks: Float64Array, units: number, name: DeviceChainBufferName, at: number, mover: Mover): void {
    const { memory, plan } = this;
    const { device, samples: N, identities } = memory;
    const { inputs } = plan.layer;
    const rows = N * units;
    const x = new Float64Array(rows * inputs);
    for (let n = 0; n < N; n++) {
      for (let i = 0; i < inputs; i++) {
        for (let k = 0; k < units; k++) x[i * rows + k * N + n] = blocks[(n * inputs + i) * units + k];
      }
    }
    const compact = memory.at('p');
    mover.upload(x, compact);
    const identityAt = identities.get(N) as number;
    // prettier-ignore
    device.rowKronecker(N, 0, N, units, inputs, compact, 0, N, memory.at('identities'), identityAt, memory.at(name), at, rows);
  }

  factor(eps: number, p: DeviceBuffer, pNext: DeviceBuffer, totals: FactorTotals): boolean {
    const { memory, plan } = this;
    const { device, gaussNewton, at } = memory;
    const { first, rows: n, previousRows: m, controls: c, gainAt, dxAt, dzAt, hxzAt, hzzAt } = plan;
    const [dx, dz, gains, t1, t2] = [at('dx'), at('dz'), at('gains'), at('t1'), at('t2')];
    this.eps = eps;
    if (c > 0) {
      // t1 = Dx^T P
      device.gemm(Yes, No, c, n, n, 1, dx, dxAt, n, p, 0, n, 0, t1, 0, c);
      if (!this.factorPivotBlock(totals)) return false;
    }
    if (first) return true;
    // P' = Hzz + Dz^T P Dz - a^T Gx^-1 a,  a = Hxz + t1 Dz
    const start = (from: DeviceChainBufferName, fromAt: number, size: number, to: DeviceBuffer, toAt: number): void =>
      gaussNewton ? device.fill(size, 0, to, toAt) : device.copy(size, at(from), fromAt, to, toAt);
    device.gemm(No, No, n, m, n, 1, p, 0, n, dz, dzAt, n, 0, t2, 0, n);
    start('hzz', hzzAt, m * m, pNext, 0);
    device.gemm(Yes, No, m, m, n, 1, dz, dzAt, n, t2, 0, n, 1, pNext, 0, m);
    if (c > 0) {
      start('hxz', hxzAt, c * m, gains, gainAt);
      device.gemm(No, No, c, m, n, 1, t1, 0, c, dz, dzAt, n, 1, gains, gainAt, c);
    }
    this.eliminate(pNext);
    return true;
  }

  /** Gx = Hxx + eps I + t1 Dx. */
  protected fillPivotBlock(): void {
    const { memory, plan, eps } = this;
    const { device, gaussNewton, at } = memory;
    const { rows: n, controls: c, blockAt, dxAt, hxxAt } = plan;
    const blocks = at('blocks');
    if (!gaussNewton) device.copy(c * c, at('hxx'), hxxAt, blocks, blockAt);
    device.gemm(No, No, c, c, n, 1, at('t1'), 0, c, at('dx'), dxAt, n, gaussNewton ? 0 : 1, blocks, blockAt, c);
    device.addDiagonal(c, eps, blocks, blockAt, c);
  }

  backward(r: DeviceBuffer, rNext: DeviceBuffer, yAt: number, w: DeviceChainSolve): void {
    const { memory, plan } = this;
    const { device, parameterCount: P, at } = memory;
    const { first, layer, rows: n, previousRows: m, controls: c, dxAt, dzAt } = plan;
    const { columns } = w;
    const [g, y] = [w.at('g'), w.at('y')];
    // r' = Dz^T r + a^T Gx^-1 b,  b = g - Dx^T r
    if (!first) device.gemm(Yes, No, m, columns, n, 1, at('dz'), dzAt, n, r, 0, n, 0, rNext, 0, m);
    if (c === 0) return;
    for (let i = 0; i < columns; i++) device.copy(c, g, i * P + layer.parameterOffset, y, yAt + i * c);
    device.gemm(Yes, No, c, columns, n, -1, at('dx'), dxAt, n, r, 0, n, 1, y, yAt, c);
    this.backwardControl(rNext, yAt, w);
  }

  forward(state: DeviceBuffer, stateNext: DeviceBuffer, yAt: number, w: DeviceChainSolve): void {
    const { memory, plan } = this;
    const { device, parameterCount: P, at } = memory;
    const { first, layer, rows: n, previousRows: m, controls: c, dxAt, dzAt } = plan;
    const { columns } = w;
    const [x, y] = [w.at('x'), w.at('y')];
    if (c > 0) this.forwardControl(state, yAt, w);
    // Y = Dz Y' + Dx X
    if (first) device.fill(n * columns, 0, stateNext, 0);
    else device.gemm(No, No, n, columns, m, 1, at('dz'), dzAt, n, state, 0, m, 0, stateNext, 0, n);
    if (c === 0) return;
    device.gemm(No, No, n, columns, c, 1, at('dx'), dxAt, n, y, yAt, c, 1, stateNext, 0, n);
    for (let i = 0; i < columns; i++) device.copy(c, y, yAt + i * c, x, i * P + layer.parameterOffset);
  }
}
