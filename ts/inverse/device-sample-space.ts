/**
 * Gauss-Newton in sample space on a device: as sample-space.ts, with the rows D_l, the Gram matrices, the factorization and
 * the products with B and B^T in the memory of the device. Mathematics and notation are there.
 *
 * What travels. In {@link DeviceSampleSpaceFactor.assemble}: R^T, and of a point that is not on the device the parameters (P)
 * and the layers' inputs and slopes. In
 * `factor`: one status and the diagonal. In a solve: its right-hand side and solution (P), for a training step only R^+ u
 * (rows) and the step (P). The matrix never does.
 *
 * The Gram product is formed anew for every damping instead of being kept: that is rows^2 sum h operations against the
 * rows^3 / 3 of the factorization, and half of the memory.
 */
import type { AffinePoint, Linearization } from '../derivatives/index.js';
import { DeviceBuffers, type DeviceBuffer, type DeviceKernels, type DeviceSlice } from '../device/index.js';
import { DeepHessianError } from '../errors.js';
import { Lower, No, Yes } from '../native/index.js';
import type { NetworkModel } from '../network/index.js';
import { sampleSpaceOutputs, sampleSpaceSide } from './cost.js';
import { Mover } from './device-mover.js';
import { generalGradient, outputResidual, outputRows } from './output-rows.js';
import type { RawFactor } from './raw-factor.js';
import type { FactorTotals } from './stage.js';

/** Bytes of the rows of the Jacobian that are multiplied out at a time on the parameter side. */
const chunkBytes = 2 ** 28;
/** Bytes up to which the Gram matrices of all layers are stored; beyond it they are formed tile by tile. */
const gramBytes = 2 ** 31;

interface Layout {
  rows: number;
  outputs: number;
  side: 'samples' | 'parameters';
  order: number;
  /** numbers in the buffers */
  d: number;
  z: number;
  slopes: number;
  grams: number;
  widest: number;
  chunk: number;
}

function layout(network: NetworkModel, samples: number, side?: 'samples' | 'parameters'): Layout {
  const outputs = sampleSpaceOutputs(network);
  const rows = samples * outputs;
  const P = network.parameterCount;
  const chosen = side ?? sampleSpaceSide(network, samples).side;
  let d = 0;
  let z = 0;
  let slopes = 0;
  let widest = 0;
  for (const [l, layer] of network.layers.entries()) {
    if (layer.kind !== 'affine') {
      throw new DeepHessianError('unsupported', `sample-space: layer ${l} is a custom layer; use method 'block'`);
    }
    d += rows * layer.units;
    z += samples * (layer.inputs + 1);
    slopes += samples * layer.units;
    widest = Math.max(widest, layer.units);
  }
  // With one row a sample every tile of K_l is used once: nothing is gained by storing it.
  const all = network.layers.length * samples * samples;
  const grams = chosen === 'samples' && outputs > 1 && 8 * all <= gramBytes ? all : 0;
  const chunk = Math.max(1, Math.min(samples, Math.floor(chunkBytes / (8 * outputs * P))));
  const order = chosen === 'samples' ? rows : P;
  return { rows, outputs, side: chosen, order, d, z, slopes, grams, widest, chunk };
}

type BufferName =
  'parameters' | 'd' | 'z' | 'slopes' | 'grams' | 'matrix' | 'product' | 'jacobian' | 'rowVector' | 'vector' | 'folded';

/** Numbers of device memory by buffer. */
function sizes(network: NetworkModel, samples: number, l: Layout): Record<BufferName, number> {
  const P = network.parameterCount;
  return {
    parameters: P,
    d: l.d,
    z: l.z,
    slopes: l.slopes,
    grams: l.grams,
    matrix: l.order * l.order,
    // On the parameter side B^T B is kept beside the factor: multiplying it out anew would cost rows P^2.
    product: l.side === 'parameters' ? P * P : 0,
    jacobian: l.side === 'parameters' ? l.chunk * l.outputs * P : 0,
    rowVector: Math.max(l.rows, P),
    vector: P,
    folded: samples * l.widest,
  };
}

/** Factor of G + eps I in sample space, in the memory of a device. */
export class DeviceSampleSpaceFactor implements RawFactor {
  readonly totals: FactorTotals = { positive: 0, negative: 0, zero: 0, logAbsDet: 0, pivotRatio: 1 };
  /** rows N K' of B; K' = K - 1 for softmax */
  readonly rows: number;
  /** order of the factored matrix: rows or P */
  readonly order: number;
  /** which of B B^T and B^T B is factored */
  readonly side: 'samples' | 'parameters';
  /** N */
  readonly samples: number;
  /** bytes of device memory held */
  readonly deviceBytes: number;

  private readonly network: NetworkModel;
  private readonly device: DeviceKernels;
  private readonly mover: Mover;
  private readonly plan: Layout;
  private readonly buffers: DeviceBuffers<BufferName>;
  private readonly dOffsets: Float64Array;
  private readonly zOffsets: Float64Array;
  private readonly slopeOffsets: Float64Array;
  private readonly gramOffsets: Float64Array;
  private readonly widths: Int32Array;
  private readonly zWidths: Int32Array;
  private readonly scale: Float64Array;
  private readonly uniform: boolean;
  private readonly outputFactor: Float64Array;
  private readonly output: Float64Array;
  private readonly rowVector: Float64Array;
  private readonly diagonal: Float64Array;
  private shift = 0;
  private point!: Linearization;

  /**
   * @param single in single precision, to be refined in double
   * @param side which of B B^T and B^T B to factor; default the cheaper one
   * @throws DeepHessianError 'out-of-memory' when the device cannot hold it; nothing stays allocated then
   */
  constructor(
    device: DeviceKernels,
    network: NetworkModel,
    samples: number,
    single = false,
    side?: 'samples' | 'parameters',
  ) {
    const plan = layout(network, samples, side);
    this.device = device;
    this.mover = new Mover(device, single);
    this.network = network;
    this.samples = samples;
    this.plan = plan;
    this.rows = plan.rows;
    this.order = plan.order;
    this.side = plan.side;
    const L = network.layers.length;
    this.dOffsets = new Float64Array(L);
    this.zOffsets = new Float64Array(L);
    this.slopeOffsets = new Float64Array(L);
    this.gramOffsets = Float64Array.from({ length: L }, (_, l) => l * samples * samples);
    this.widths = new Int32Array(L);
    this.zWidths = new Int32Array(L);
    this.scale = new Float64Array(L).fill(1);
    let [d, z, slope] = [0, 0, 0];
    for (const [l, layer] of network.layers.entries()) {
      this.dOffsets[l] = d;
      this.zOffsets[l] = z;
      this.slopeOffsets[l] = slope;
      this.widths[l] = layer.units;
      // The column of ones stands behind the inputs of every layer; only those with a bias use it.
      this.zWidths[l] = layer.inputs + (layer.kind === 'affine' && layer.bias ? 1 : 0);
      d += plan.rows * layer.units;
      z += samples * (layer.inputs + 1);
      slope += samples * layer.units;
    }
    this.uniform = network.l2.every((value) => value === network.l2[0]);
    this.outputFactor = new Float64Array(plan.rows * network.outputs);
    this.output = new Float64Array(samples * network.outputs);
    this.rowVector = new Float64Array(plan.rows);
    this.diagonal = new Float64Array(plan.order);
    this.buffers = new DeviceBuffers(device, this.mover.type, sizes(network, samples, plan));
    this.deviceBytes = this.buffers.bytes;
    try {
      this.eachLayer((_layer, l) => device.fill(samples, 1, this.at('z'), this.onesOffset(l)));
    } catch (error) {
      this.dispose();
      throw error;
    }
  }

  /** Bytes of device memory that a factor for `samples` samples will hold, workspaces of the libraries apart. */
  static estimateBytes(network: NetworkModel, samples: number, single = false): number {
    const numbers = Object.values(sizes(network, samples, layout(network, samples)));
    return (single ? 4 : 8) * numbers.reduce((a, b) => a + b, 0);
  }

  /** Bytes of host memory. */
  get bytes(): number {
    const arrays = [this.outputFactor, this.output, this.rowVector, this.diagonal];
    return arrays.reduce((sum, array) => sum + array.byteLength, 0);
  }

  private at(name: BufferName): DeviceBuffer {
    return this.buffers.at(name);
  }

  private onesOffset(l: number): number {
    return this.zOffsets[l] + this.samples * this.network.layers[l].inputs;
  }

  private eachLayer(work: (layer: AffinePoint['layer'], l: number) => void): void {
    for (const [l, layer] of this.network.layers.entries()) if (layer.kind === 'affine') work(layer, l);
  }

  /** Rows D_l of every layer, and what else does not depend on the damping, at a new point of the same batch size. */
  assemble(point: Linearization): void {
    this.point = point;
    const { device, mover, network, samples: N, rows, plan, dOffsets, zOffsets, slopeOffsets } = this;
    const d = this.at('d');
    const z = this.at('z');
    const slopes = this.at('slopes');
    const parameters = this.at('parameters');
    const L = network.layers.length;
    const there = point.on(device);
    const layers: readonly AffinePoint<Float64Array | DeviceSlice>[] =
      there?.layers ?? (point.layers as readonly AffinePoint[]);
    mover.take(there?.parameters ?? point.params, parameters, 0, network.parameterCount);
    outputRows(network, point, this.outputFactor, 0);
    mover.upload(this.outputFactor, d, dOffsets[L - 1]);
    for (let l = L - 1; l >= 0; l--) {
      const { layer, input, slope, linear } = layers[l];
      const { units: h, inputs, residual, weightOffset } = layer;
      mover.take(input, z, zOffsets[l], N * inputs);
      // Rows at z_l are in place; those at z_{l-1} start with the residual branch, which skips the slope.
      if (l > 0 && residual) device.copy(rows * h, d, dOffsets[l], d, dOffsets[l - 1]);
      if (!linear) {
        mover.take(slope, slopes, slopeOffsets[l], N * h);
        device.scaleTiled(N, plan.outputs, h, d, dOffsets[l], slopes, slopeOffsets[l]);
      }
      if (l > 0) {
        const beta = residual ? 1 : 0;
        // prettier-ignore
        device.gemm(No, Yes, rows, inputs, h, 1, d, dOffsets[l], rows, parameters, weightOffset, inputs, beta, d, dOffsets[l - 1], rows);
      }
    }
    if (this.side === 'parameters') this.multiplyParameters();
    else if (plan.grams > 0) {
      const grams = this.at('grams');
      for (let l = 0; l < L; l++) {
        device.syrk(Lower, No, N, this.zWidths[l], 1, z, zOffsets[l], N, 0, grams, this.gramOffsets[l], N);
        device.symmetrize(Lower, N, grams, this.gramOffsets[l], N);
      }
    }
  }

  /** Lower triangle of the matrix := shift I + sum_l scale_l (D_l D_l^T) o (Z~_l Z~_l^T). */
  private multiplyRows(shift: number): void {
    const { device, samples, plan, widths, scale, dOffsets, zOffsets, gramOffsets, zWidths, rows } = this;
    const stored = plan.grams > 0;
    device.jacobianGram(
      samples,
      plan.outputs,
      widths.length,
      shift,
      scale,
      widths,
      this.at('d'),
      dOffsets,
      this.at(stored ? 'grams' : 'z'),
      stored ? gramOffsets : zOffsets,
      this.at('matrix'),
      0,
      rows,
      stored ? null : zWidths,
    );
  }

  /** Lower triangle of the product := B^T B by chunks of samples: rows of B for layer l are D[(k,n), i] Z~[n, j]. */
  private multiplyParameters(): void {
    const { device, samples: N, plan, dOffsets, zOffsets, order: P } = this;
    const [d, z, b, product] = [this.at('d'), this.at('z'), this.at('jacobian'), this.at('product')];
    for (let start = 0; start < N; start += plan.chunk) {
      const count = Math.min(plan.chunk, N - start);
      const ld = count * plan.outputs;
      this.eachLayer(({ units: h, inputs, weightOffset, biasOffset }, l) => {
        // prettier-ignore
        device.rowKronecker(N, start, count, plan.outputs, h, d, dOffsets[l], inputs, z, zOffsets[l], b, weightOffset * ld, ld);
        if (biasOffset >= 0) {
          // prettier-ignore
          device.rowKronecker(N, start, count, plan.outputs, h, d, dOffsets[l], 1, z, this.onesOffset(l), b, biasOffset * ld, ld);
        }
      });
      device.syrk(Lower, Yes, P, ld, 1, b, 0, ld, start === 0 ? 0 : 1, product, 0, P);
    }
  }

  factor(damping: number): boolean {
    const { device, mover, network, order, totals, diagonal } = this;
    const matrix = this.at('matrix');
    const P = network.parameterCount;
    const l2 = network.l2;
    let base = 0;
    this.shift = damping + l2[0];
    if (this.side === 'parameters') {
      device.copy(P * P, this.at('product'), 0, matrix, 0);
      for (const [l, { parameterOffset, parameterCount }] of network.layers.entries()) {
        if (parameterCount > 0)
          device.addDiagonal(parameterCount, damping + l2[l], matrix, parameterOffset * (P + 1), P);
      }
    } else if (this.uniform) {
      this.multiplyRows(this.shift);
      base = (P - order) * Math.log(this.shift);
    } else {
      for (const [l, layer] of network.layers.entries()) {
        this.scale[l] = 1 / (damping + l2[l]);
        base += layer.parameterCount * Math.log(damping + l2[l]);
      }
      this.shift = 1;
      this.multiplyRows(1);
    }
    // Positive definite by construction; rounding at shift << |G| u may still defeat Cholesky.
    if (device.potrf(Lower, order, matrix, 0, order) !== 0) return false;
    device.diagonal(order, matrix, 0, order, this.at('rowVector'), 0);
    mover.download(this.at('rowVector'), diagonal, 0, 0, order);
    let log = 0;
    let smallest = Infinity;
    let largest = 0;
    for (const pivot of diagonal) {
      log += Math.log(pivot);
      smallest = Math.min(smallest, pivot);
      largest = Math.max(largest, pivot);
    }
    totals.positive = P;
    totals.negative = totals.zero = 0;
    totals.logAbsDet = base + 2 * log;
    totals.pivotRatio = (largest / smallest) ** 2;
    return true;
  }

  /** x := (G + Lambda)^-1 g for any g. */
  solve(g: Float64Array, x: Float64Array, m: number): void {
    const { device, mover, network, order } = this;
    const P = network.parameterCount;
    const matrix = this.at('matrix');
    const vector = this.at('vector');
    const rowVector = this.at('rowVector');
    for (let c = 0; c < m; c++) {
      const column = g.slice(c * P, (c + 1) * P);
      if (this.side === 'parameters') {
        mover.upload(column, vector);
        device.potrs(Lower, order, 1, matrix, 0, order, vector, 0, order);
        mover.download(vector, x, 0, c * P, P);
        continue;
      }
      this.divide(column);
      mover.upload(column, vector);
      this.applyRows();
      device.potrs(Lower, order, 1, matrix, 0, order, rowVector, 0, order);
      this.applyRowsTransposed();
      const back = new Float64Array(P);
      mover.download(vector, back);
      // With a uniform shift eps I + B B^T has absorbed the second division.
      if (!this.uniform) this.divide(back);
      for (let i = 0; i < P; i++) x[c * P + i] = column[i] - back[i];
    }
  }

  /** v := Lambda^-1 v */
  private divide(v: Float64Array): void {
    if (this.uniform) {
      const inverse = 1 / this.shift;
      for (let i = 0; i < v.length; i++) v[i] *= inverse;
      return;
    }
    for (const [l, { parameterOffset, parameterCount }] of this.network.layers.entries()) {
      for (let i = parameterOffset; i < parameterOffset + parameterCount; i++) v[i] *= this.scale[l];
    }
  }

  /** rows := B v = sum_l of the rows' dot products D_l . (Z~_l V_l), v in the buffer 'vector', rows into 'rowVector'. */
  private applyRows(): void {
    const { device, samples: N, plan, dOffsets, zOffsets } = this;
    const [d, z, v, product, rows] = [
      this.at('d'),
      this.at('z'),
      this.at('vector'),
      this.at('folded'),
      this.at('rowVector'),
    ];
    this.eachLayer(({ units: h, inputs, weightOffset, biasOffset }, l) => {
      device.gemm(No, No, N, h, inputs, 1, z, zOffsets[l], N, v, weightOffset, Math.max(1, inputs), 0, product, 0, N);
      if (biasOffset >= 0)
        device.gemm(No, No, N, h, 1, 1, z, this.onesOffset(l), N, v, biasOffset, 1, 1, product, 0, N);
      device.dotTiled(l === 0 ? 0 : 1, N, plan.outputs, h, d, dOffsets[l], product, 0, rows, 0);
    });
  }

  /** v := B^T rows: for each layer Z~_l^T (sum_k D_l[(k, n)] rows[(k, n)]), rows in 'rowVector', v into 'vector'. */
  private applyRowsTransposed(): void {
    const { device, samples: N, plan, dOffsets, zOffsets } = this;
    const [d, z, v, folded, rows] = [
      this.at('d'),
      this.at('z'),
      this.at('vector'),
      this.at('folded'),
      this.at('rowVector'),
    ];
    this.eachLayer(({ units: h, inputs, weightOffset, biasOffset }, l) => {
      device.foldTiled(N, plan.outputs, h, d, dOffsets[l], rows, 0, folded, 0);
      device.gemm(Yes, No, inputs, h, N, 1, z, zOffsets[l], N, folded, 0, N, 0, v, weightOffset, Math.max(1, inputs));
      if (biasOffset >= 0) device.columnSums(0, N, h, folded, 0, N, v, biasOffset);
    });
  }

  /** The Gauss-Newton step (G + Lambda)^-1 grad; see SampleSpaceFactor.step. Call after {@link factor}. */
  step(x: Float64Array): void {
    const { device, mover, point, network, rowVector, order } = this;
    const P = network.parameterCount;
    if (this.side === 'parameters') {
      this.solve(point.gradient, x, 1);
      return;
    }
    const rows = this.at('rowVector');
    const partly = outputResidual(network, point, this.outputFactor, this.output, rowVector);
    const rest = generalGradient(network, point, partly ? this.output : null);
    mover.upload(rowVector, rows);
    device.potrs(Lower, order, 1, this.at('matrix'), 0, order, rows, 0, order);
    this.applyRowsTransposed();
    mover.download(this.at('vector'), x, 0, 0, P);
    if (!this.uniform) this.divide(x);
    if (rest === null) return;
    const more = new Float64Array(P);
    this.solve(rest, more, 1);
    for (let i = 0; i < P; i++) x[i] += more[i];
  }

  /** Gives the device's memory back. */
  dispose(): void {
    this.buffers.dispose();
  }
}
