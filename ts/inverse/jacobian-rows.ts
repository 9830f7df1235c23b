/**
 * Rows u^T J of a Jacobian for directions u of its outputs, layer by layer, none written out. N samples, K' directions.
 *
 * Row (k, n) = k N + n is in layer l the outer product of D_l[(k, n), :], backpropagated to the pre-activations, with Z~_l[n, :], the
 * layer's input with the one of its bias. Products of the rows at two points are therefore Hadamard products of small Gram matrices,
 *
 *     J_a Lambda^-1 J_b^T = sum_l 1/lambda_l (D_l D'_l^T) o (Z~_l Z~'_l^T)          (the second repeated for every pair of directions)
 */
import type { AffinePoint, Linearization } from '../derivatives/index.js';
import { DeepHessianError } from '../errors.js';
import { kernels, Left, No, Yes, type Real } from '../native/index.js';
import type { Batch, NetworkModel } from '../network/index.js';
import { allocate } from './stage-point.js';

export class JacobianRows {
  /** N K' */
  readonly rows: number;
  /** D_l, rows x units, of every layer, and where each begins */
  readonly d: Real;
  readonly dOffsets: Float64Array;
  readonly units: Int32Array;
  /** Z~_l, N x (inputs + bias), of every layer, and where each begins */
  readonly z: Real;
  readonly zOffsets: Float64Array;
  readonly zWidths: Int32Array;
  /** in single precision the parameters, else empty */
  private readonly params: Float32Array;
  /** whose inputs Z~_1 holds: a batch that comes again is not copied again */
  private batch: Batch | null = null;

  /** @param single keep D_l and Z~_l in float32 */
  constructor(
    private readonly network: NetworkModel,
    readonly samples: number,
    readonly directions: number,
    private readonly single = false,
  ) {
    const { layers } = network;
    this.rows = samples * directions;
    this.units = Int32Array.from(layers, (layer) => layer.units);
    this.zWidths = new Int32Array(layers.length);
    this.dOffsets = new Float64Array(layers.length);
    this.zOffsets = new Float64Array(layers.length);
    let [d, z] = [0, 0];
    for (const [l, layer] of layers.entries()) {
      if (layer.kind !== 'affine') {
        throw new DeepHessianError('unsupported', `sample-space: layer ${l} is a custom layer; use method 'block'`);
      }
      this.zWidths[l] = layer.inputs + (layer.bias ? 1 : 0);
      this.dOffsets[l] = d;
      this.zOffsets[l] = z;
      d += this.rows * layer.units;
      z += samples * this.zWidths[l];
    }
    this.d = allocate(single, d);
    this.z = allocate(single, z);
    this.params = new Float32Array(single ? network.parameterCount : 0);
  }

  /** Bytes of its arrays. */
  get bytes(): number {
    return [this.d, this.z, this.params].reduce((sum, { byteLength }) => sum + byteLength, 0);
  }

  /** Where the last layer's rows begin in `d`: there {@link backpropagate} takes the directions, rows x K. */
  get last(): number {
    return this.dOffsets[this.dOffsets.length - 1];
  }

  /** From the directions, which it finds at {@link last}, the rows at every layer of a point of the same network and batch size. */
  backpropagate(point: Linearization): void {
    const { network, samples: N, directions, rows, d, dOffsets, z, zOffsets } = this;
    if (this.single) this.params.set(point.params);
    const params = this.single ? this.params : point.params;
    for (let l = network.layers.length - 1; l >= 0; l--) {
      const layerPoint = point.layers[l] as AffinePoint;
      const { units: h, inputs, residual, bias, weightOffset } = layerPoint.layer;
      const here = dOffsets[l];
      // rows at z_l are in place; those at z_{l-1} start with the residual branch, which skips the slope
      const below = l === 0 ? -1 : dOffsets[l - 1];
      if (l > 0 && residual) d.copyWithin(below, here, here + rows * h);
      if (!layerPoint.linear) scaleTiled(d, here, layerPoint.slope, N, directions, h);
      if (l > 0) {
        const beta = residual ? 1 : 0;
        kernels.gemm(No, Yes, rows, inputs, h, 1, d, here, rows, params, weightOffset, inputs, beta, d, below, rows);
      }
      if (l === 0 && point.batch === this.batch) continue;
      const zAt = zOffsets[l];
      z.set(layerPoint.input.subarray(0, N * inputs), zAt);
      if (bias) z.fill(1, zAt + N * inputs, zAt + N * (inputs + 1));
    }
    this.batch = point.batch;
  }

  /** Writes rows first .. end - 1 out: out, (end - first) x P. */
  writeOut(first: number, end: number, out: Real): void {
    const { network, samples: N, rows, d, dOffsets, z, zOffsets } = this;
    const ld = end - first;
    for (const [l, layer] of network.layers.entries()) {
      if (layer.kind !== 'affine') continue;
      const { units: h, inputs, weightOffset, biasOffset } = layer;
      for (let i = 0; i < h; i++) {
        const dAt = dOffsets[l] + i * rows;
        for (let j = 0; j <= inputs; j++) {
          if (j === inputs && biasOffset < 0) break;
          const zAt = zOffsets[l] + j * N;
          let o = (j < inputs ? weightOffset + i * inputs + j : biasOffset + i) * ld;
          for (let r = first, n = first % N; r < end; r++, o++) {
            out[o] = d[dAt + r] * z[zAt + n];
            if (++n === N) n = 0;
          }
        }
      }
    }
  }

  /** out (rows x (end - first)) := sum_l scale_l J_l J'_l^T with rows first .. end - 1 of another point of the network. */
  products(other: JacobianRows, first: number, end: number, scale: Float64Array, out: Real): void {
    const { single, samples: N, directions, rows, units } = this;
    const { samples: M } = other;
    const count = end - first;
    const dd = allocate(single, rows * count);
    const zz = allocate(single, N * M);
    out.fill(0, 0, rows * count);
    for (let l = 0; l < units.length; l++) {
      const [dAt, zAt] = [this.dOffsets[l], this.zOffsets[l]];
      const [dOther, zOther] = [other.dOffsets[l] + first, other.zOffsets[l]];
      kernels.gemm(
        ...([No, Yes, rows, count, units[l], scale[l], this.d, dAt, rows] as const),
        ...([other.d, dOther, other.rows, 0, dd, 0, rows] as const),
      );
      kernels.gemm(
        ...([No, Yes, N, M, this.zWidths[l], 1, this.z, zAt, N] as const),
        ...([other.z, zOther, M, 0, zz, 0, N] as const),
      );
      for (let c = 0, o = 0; c < count; c++) {
        const column = ((first + c) % M) * N;
        for (let k = 0; k < directions; k++) for (let n = column; n < column + N; n++, o++) out[o] += dd[o] * zz[n];
      }
    }
  }

  /** out[row] := sum_l scale_l |row in layer l|^2, for every row. */
  squares(scale: Float64Array, out: Float64Array): void {
    const { samples: N, rows, units, zWidths, d, dOffsets, z, zOffsets } = this;
    const [dd, zz] = [new Float64Array(rows), new Float64Array(N)];
    out.fill(0, 0, rows);
    for (let l = 0; l < units.length; l++) {
      addSquares(d, dOffsets[l], units[l], dd);
      addSquares(z, zOffsets[l], zWidths[l], zz);
      for (let r = 0; r < rows; r++) out[r] += scale[l] * dd[r] * zz[r % N];
    }
  }
}

/** out[i] := the squares in row i of a matrix of so many columns. */
function addSquares(a: Real, offset: number, columns: number, out: Float64Array): void {
  const rows = out.length;
  out.fill(0);
  for (let j = 0, o = offset; j < columns; j++) for (let i = 0; i < rows; i++, o++) out[i] += a[o] * a[o];
}

/** Entries of a unit's rows from which a call of a kernel beats a loop. */
const worthCalling = 128;

/** x[(k,n), i] *= slope[n, i]: the slope of unit i repeats over the directions k. */
function scaleTiled(x: Real, offset: number, slope: Float64Array, N: number, repeats: number, units: number): void {
  if (x instanceof Float64Array && N * repeats >= worthCalling) {
    for (let i = 0, o = offset; i < units; i++, o += N * repeats)
      kernels.scaleRows(Left, N, repeats, slope, i * N, x, o, N, x, o, N);
    return;
  }
  for (let i = 0, o = offset; i < units; i++) {
    for (let k = 0; k < repeats; k++) for (let n = 0, s = i * N; n < N; n++, o++, s++) x[o] *= slope[s];
  }
}
