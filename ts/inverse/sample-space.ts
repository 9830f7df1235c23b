/**
 * Gauss-Newton in sample space: exact (G + Lambda)^-1 g with a Cholesky factor of order N K instead of P.
 *
 * G = J^T Q J with Q = R R^T block diagonal over the samples. With B = R^T J (one row per sample and
 * output) the push-through identity gives
 *
 *     (B^T B + eps I)^-1 g     = (g - B^T (eps I + B B^T)^-1 B g) / eps
 *     (B^T B + eps I)^-1 B^T v = B^T (eps I + B B^T)^-1 v                       (no cancellation, no division by eps)
 *
 * (Woodbury; Ren & Goldfarb 2019; Guzman-Cordero et al. 2025.) The second form serves the loss gradient itself, since
 * grad = J^T u with u = dLoss/doutputs in the range of R: that is the Gauss-Newton training step.
 *
 * B B^T needs no Jacobian: with D_l the rows backpropagated to the pre-activations of layer l, D_L = R^T,
 *
 *     B B^T = sum_l (D_l D_l^T) o (Z~_l Z~_l^T)          (Hadamard; Z~_l the layer's input with its bias row)
 *
 * Rows are ordered (k, n) = k N + n, so the Hadamard factor of each N x N block (k, j) is one contiguous Gram matrix.
 * R: for mean squared error and binary cross-entropy diag(sqrt q); for softmax the K x (K-1) Cholesky factor of
 * diag(p) - p p^T in closed form (Tanabe & Sagae 1992), all of whose entries are products and quotients of sums of
 * probabilities: accurate when p is one-hot to 1e-16.
 *
 * When P < N K the same rows are multiplied out the other way, B^T B, P x P.
 */
import { firstNonFinite } from '../checks.js';
import type { AffinePoint, Linearization } from '../derivatives/index.js';
import { kernels, Left, Lower, No, Yes, type Real } from '../native/index.js';
import type { Batch, NetworkModel } from '../network/index.js';
import { JacobianRows } from './jacobian-rows.js';
import { generalGradient, outputResidual, outputRows } from './output-rows.js';
import type { RawFactor } from './raw-factor.js';
import { allocate } from './stage-point.js';
import { sampleSpaceBytes, sampleSpaceLayout, sampleSpaceOutputs } from './cost.js';
import type { FactorTotals } from './stage.js';

/** Relative error up to which quadratic forms are taken from half-solves. */
const formTolerance = 1e-8;
/** Rows that are half-solved at a time. */
const formColumns = 128;
/** Rounding in a form of terms of such a size; see {@link SampleSpaceFactor.quadraticForms}. */
const formRounding = (size: number, square: number): number =>
  8 * Number.EPSILON * (Math.sqrt(size) + Math.sqrt(square)) ** 2;

/** Factor of G + eps I in sample space: order N K' instead of P, or P where that is the cheaper side. */
export class SampleSpaceFactor implements RawFactor {
  /** Inertia and log-determinant of the last factorization. */
  readonly totals: FactorTotals = { positive: 0, negative: 0, zero: 0, logAbsDet: 0, pivotRatio: 1 };
  /** rows = N K' of B; K' = K - 1 for softmax */
  readonly rows: number;
  /** the order of the factored matrix: rows or P, whichever is the cheaper job */
  readonly order: number;
  /** which matrix is factored: of order rows or of order P */
  readonly side: 'samples' | 'parameters';

  private readonly network: NetworkModel;
  /** number of samples N */
  readonly samples: number;
  private readonly outputs: number;
  /** B by layers */
  private readonly b: JacobianRows;
  private readonly gramByTiles: boolean;
  private readonly chunk: number;
  private readonly grams: Real;
  private readonly gramOffsets: Float64Array;
  /** of which K_1 is */
  private gramBatch: Batch | null = null;
  private readonly scale: Float64Array;
  /** B B^T (or B^T B) without shift (none on the sample side where L2 differs by layer); the factor, and the diagonal of what it factors */
  private readonly gram: Real;
  private readonly lower: Real;
  private readonly diagonal: Real;
  private readonly uniform: boolean;
  /** that of the factored matrix, and no eigenvalue of it is below */
  private shift = 0;
  private readonly output: Float64Array;
  private readonly rowVector: Float64Array;
  /** in single precision: a vector that goes through the factor; else empty */
  private readonly rounded: Float32Array;
  private point!: Linearization;

  /**
   * @param side which of B B^T and B^T B to factor; default the cheaper one
   * @param single factor in float32; right-hand sides, solutions and R stay float64
   */
  constructor(
    network: NetworkModel,
    samples: number,
    side?: 'samples' | 'parameters',
    private readonly single = false,
  ) {
    const K = network.outputs;
    this.network = network;
    this.samples = samples;
    this.outputs = sampleSpaceOutputs(network);
    const layout = sampleSpaceLayout(network, samples, side, single);
    const { rows, order, sizes } = layout;
    this.rows = rows;
    this.side = layout.side;
    this.order = order;
    this.chunk = layout.chunk;
    const L = network.layers.length;
    this.scale = new Float64Array(L).fill(1);
    this.b = new JacobianRows(network, samples, this.outputs, single);
    this.gramOffsets = Float64Array.from({ length: L }, (_, l) => l * samples * samples);
    this.gramByTiles = layout.gramByTiles;
    this.grams = allocate(single, sizes.grams);
    this.uniform = network.l2.every((value) => value === network.l2[0]);
    this.lower = allocate(single, order * order);
    this.diagonal = allocate(single, order);
    this.gram = allocate(single, sizes.product);
    this.rounded = allocate(single, sizes.rounded) as Float32Array;
    this.output = new Float64Array(samples * K);
    this.rowVector = new Float64Array(Math.max(rows, 1));
  }

  /** Bytes that a factor for `samples` samples will hold. */
  static estimateBytes(network: NetworkModel, samples: number, single = false): number {
    return sampleSpaceBytes(network, samples, undefined, single);
  }

  get bytes(): number {
    const { grams, gram, lower, diagonal, output, rowVector, rounded } = this;
    const arrays = [grams, gram, lower, diagonal, output, rowVector, rounded];
    return this.b.bytes + arrays.reduce((sum, a) => sum + a.byteLength, this.outputFactor?.byteLength ?? 0);
  }

  /** Rows D_l of every layer and the product matrix at a new point of the same network and batch size. */
  assemble(point: Linearization): void {
    this.point = point;
    this.outputRows(this.b.d, this.b.last);
    this.b.backpropagate(point);
    if (this.side === 'parameters') this.assembleParameterSide();
    else if (this.uniform) this.assembleSampleSide();
  }

  private assembleSampleSide(): void {
    this.multiplyRows(0, this.gram);
  }

  /** Lower triangle of out := shift I + sum_l scale_l (D_l D_l^T) o (Z~_l Z~_l^T). */
  private multiplyRows(shift: number, out: Real): void {
    const { samples: N, outputs, scale, rows, grams, gramOffsets } = this;
    const { units: widths, d, dOffsets, z, zOffsets, zWidths } = this.b;
    if (this.gramByTiles) {
      kernels.jacobianGram(
        N,
        outputs,
        widths.length,
        shift,
        scale,
        widths,
        d,
        dOffsets,
        z,
        zOffsets,
        out,
        0,
        rows,
        zWidths,
      );
      return;
    }
    // The first layer's inputs are the batch's: a batch that comes again has the same K_1.
    for (let l = this.point.batch === this.gramBatch ? 1 : 0; l < widths.length; l++) {
      kernels.syrk(Lower, No, N, zWidths[l], 1, z, zOffsets[l], N, 0, grams, gramOffsets[l], N);
      kernels.symmetrize(Lower, N, grams, gramOffsets[l], N);
    }
    this.gramBatch = this.point.batch;
    kernels.jacobianGram(
      N,
      outputs,
      widths.length,
      shift,
      scale,
      widths,
      d,
      dOffsets,
      grams,
      gramOffsets,
      out,
      0,
      rows,
      null,
    );
  }

  /** B^T B by chunks of rows. */
  private assembleParameterSide(): void {
    const { outputs, rows, gram, order: P, chunk } = this;
    const most = chunk * outputs;
    const b = allocate(this.single, most * P);
    gram.fill(0);
    for (let first = 0; first < rows; first += most) {
      const end = Math.min(first + most, rows);
      this.b.writeOut(first, end, b);
      kernels.syrk(Lower, Yes, P, end - first, 1, b, 0, end - first, 1, gram, 0, P);
    }
  }

  /** D_L = R^T per sample, rows (k, n), columns the K outputs. */
  private outputRows(out: Real, offset: number): void {
    outputRows(this.network, this.point, out, offset);
  }

  factor(damping: number): boolean {
    const { network, lower: a, diagonal, gram, order, totals } = this;
    const P = network.parameterCount;
    const l2 = network.l2;
    this.shift = damping + l2[0];
    let base = 0;
    if (this.side === 'parameters') {
      a.set(gram);
      this.shift = damping + Math.min(...l2);
      for (const [l, layer] of network.layers.entries()) {
        for (let i = layer.parameterOffset; i < layer.parameterOffset + layer.parameterCount; i++)
          a[i * (P + 1)] += damping + l2[l];
      }
    } else if (this.uniform) {
      a.set(gram);
      for (let i = 0; i < order; i++) a[i * (order + 1)] += this.shift;
      base = (P - order) * Math.log(this.shift);
    } else {
      for (const [l, layer] of network.layers.entries()) {
        this.scale[l] = 1 / (damping + l2[l]);
        base += layer.parameterCount * Math.log(damping + l2[l]);
      }
      this.shift = 1;
      this.multiplyRows(1, a);
    }
    for (let i = 0; i < order; i++) diagonal[i] = a[i * (order + 1)];
    // Positive definite by construction; rounding at shift << |G| u may still defeat Cholesky.
    const definite = kernels.potrf(Lower, order, a, 0, order) === 0;
    if (!definite) return false;
    let log = 0;
    let smallest = Infinity;
    let largest = 0;
    for (let i = 0; i < order; i++) {
      const pivot = a[i * (order + 1)];
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
    const P = this.network.parameterCount;
    if (this.side === 'parameters') {
      if (x !== g) x.set(g.subarray(0, P * m));
      this.solveFactored(x, m);
      return;
    }
    const column = new Float64Array(P);
    const back = new Float64Array(P);
    for (let c = 0; c < m; c++) {
      for (let i = 0; i < P; i++) column[i] = g[c * P + i];
      this.divide(column);
      let finite = firstNonFinite(column) < 0;
      if (finite) {
        this.applyRows(column, this.rowVector);
        this.solveFactored(this.rowVector, 1);
        finite = firstNonFinite(this.rowVector) < 0;
      }
      // A division by next to nothing overflows: no solution, which the caller sees, instead of a refusal by the products.
      if (!finite) {
        x.fill(NaN, c * P, (c + 1) * P);
        continue;
      }
      this.applyRowsTransposed(this.rowVector, back);
      // With a uniform shift eps I + B B^T has absorbed the second division.
      if (!this.uniform) this.divide(back);
      for (let i = 0; i < P; i++) x[c * P + i] = column[i] - back[i];
    }
  }

  /** v (order x m) := (the factored matrix)^-1 v. */
  private solveFactored(v: Float64Array, m: number): void {
    const { order, lower, rounded } = this;
    if (!this.single) {
      kernels.potrs(Lower, order, m, lower, 0, order, v, 0, order);
      return;
    }
    for (let at = 0; at < order * m; at += order) {
      for (let i = 0; i < order; i++) rounded[i] = v[at + i];
      kernels.potrs(Lower, order, 1, lower, 0, order, rounded, 0, order);
      for (let i = 0; i < order; i++) v[at + i] = rounded[i];
    }
  }

  /** v := Lambda^-1 v */
  private divide(v: Float64Array): void {
    const { network } = this;
    if (this.uniform) {
      const inverse = 1 / this.shift;
      for (let i = 0; i < v.length; i++) v[i] *= inverse;
      return;
    }
    for (const [l, layer] of network.layers.entries()) {
      const end = layer.parameterOffset + layer.parameterCount;
      for (let i = layer.parameterOffset; i < end; i++) v[i] *= this.scale[l];
    }
  }

  /** rows := B v = R^T J v */
  applyRows(v: Float64Array, rows: Float64Array): void {
    const { samples: N, outputs, rows: count, point, network, output } = this;
    const K = network.outputs;
    point.jacobianProduct(v, output);
    const last = this.lastRows();
    for (let k = 0; k < outputs; k++) {
      for (let n = 0; n < N; n++) {
        let sum = 0;
        for (let j = k; j < K; j++) sum += last[k * N + n + j * count] * output[j * N + n];
        rows[k * N + n] = sum;
      }
    }
  }

  /** g := B^T rows = J^T R rows */
  applyRowsTransposed(rows: Float64Array, g: Float64Array): void {
    const { samples: N, outputs, rows: count, point, network, output } = this;
    const K = network.outputs;
    const last = this.lastRows();
    for (let j = 0; j < K; j++) {
      for (let n = 0; n < N; n++) {
        let sum = 0;
        for (let k = 0; k <= Math.min(j, outputs - 1); k++) sum += last[k * N + n + j * count] * rows[k * N + n];
        output[j * N + n] = sum;
      }
    }
    point.jacobianTransposedProduct(output, g);
  }

  /**
   * The Gauss-Newton step x = (G + Lambda)^-1 grad for the data loss's own gradient, grad = J^T u with u = dLoss/doutputs:
   * x = Lambda^-1 B^T M^-1 R^+ u on the sample side, which neither divides by the shift nor cancels; the penalty's gradient, and that
   * of samples whose probabilities have underflowed, goes the general way. Call after {@link factor}.
   */
  step(x: Float64Array): void {
    const { point, network, rowVector } = this;
    const P = network.parameterCount;
    if (this.side === 'parameters') {
      this.solve(point.gradient, x, 1);
      return;
    }
    const partly = outputResidual(network, point, this.lastRows(), this.output, rowVector);
    const rest = generalGradient(network, point, partly ? this.output : null);
    this.solveFactored(rowVector, 1);
    this.applyRowsTransposed(rowVector, x);
    if (!this.uniform) this.divide(x);
    if (rest === null) return;
    const more = new Float64Array(P);
    this.solve(rest, more, 1);
    for (let i = 0; i < P; i++) x[i] += more[i];
  }

  private outputFactor: Float64Array | null = null;
  private outputFactorPoint: Linearization | null = null;
  /** R^T itself, in double precision: D_L before the last layer's slope was applied. */
  private lastRows(): Float64Array {
    const { d, last } = this.b;
    const L = this.network.layers.length;
    if (d instanceof Float64Array && (this.point.layers[L - 1] as AffinePoint).linear) return d.subarray(last);
    this.outputFactor ??= new Float64Array(this.rows * this.network.outputs);
    if (this.outputFactorPoint !== this.point) {
      this.outputRows(this.outputFactor, 0);
      this.outputFactorPoint = this.point;
    }
    return this.outputFactor;
  }

  /**
   * j^T (G + Lambda)^-1 j for rows j of the Jacobian at other inputs, from half-solves, unrefined. NaN where rounding may be more than
   * {@link formTolerance} of it.
   *
   *     sample side      (|j|^2 - |L^-1 B j|^2) / eps      with L L^T = eps I + B B^T, or L2 that differs by layer as weights
   *     parameter side   |L^-1 j|^2                         with L L^T = B^T B + Lambda
   *
   * On the sample side what the data determine cancels. Rounding perturbs |j|^2, B j and the matrix A = L L^T by that of their entries,
   * which Cauchy-Schwarz bounds by the diagonals: with y = A^-1 B j and the square S = sum_i A_ii y_i^2 the form errs by a small multiple
   * of u (|j| + sqrt S)^2; on the parameter side, with y = A^-1 j, of u (|L^-1 j| + sqrt S)^2. S <= max A_ii |L^-1 B j|^2 / eps
   * often suffices and spares the other half of the solve.
   *
   * @internal
   */
  quadraticForms(at: JacobianRows): Float64Array {
    const { side, order, lower, diagonal, scale, uniform, shift } = this;
    const samples = side === 'samples';
    const forms = new Float64Array(at.rows);
    const squares = new Float64Array(samples ? at.rows : 0);
    if (samples) at.squares(scale, squares);
    const most = Math.min(at.rows, formColumns);
    const block = new Float64Array(order * most);
    const rows = new Float64Array(samples ? 0 : order * most);
    let largest = 0;
    for (let i = 0; i < order; i++) largest = Math.max(largest, diagonal[i]);
    for (let first = 0; first < at.rows; first += most) {
      const end = Math.min(first + most, at.rows);
      const count = end - first;
      if (samples) this.b.products(at, first, end, scale, block);
      else {
        at.writeOut(first, end, rows);
        kernels.transpose(count, order, rows, 0, count, block, 0, order);
      }
      kernels.trsm(Left, Lower, No, No, order, count, 1, lower, 0, order, block, 0, order);
      const rounding = new Float64Array(count);
      let enough = true;
      for (let c = 0; c < count; c++) {
        const half = kernels.dot(order, block, c * order, block, c * order);
        const size = samples ? squares[first + c] : half;
        forms[first + c] = samples ? size - half : half;
        rounding[c] = formRounding(size, (largest / shift) * half);
        enough &&= rounding[c] <= formTolerance * forms[first + c];
      }
      if (!enough) {
        kernels.trsm(Left, Lower, Yes, No, order, count, 1, lower, 0, order, block, 0, order);
        for (let c = 0; c < count; c++) {
          let sum = 0;
          for (let i = 0, o = c * order; i < order; i++, o++) sum += diagonal[i] * block[o] * block[o];
          rounding[c] = formRounding(samples ? squares[first + c] : forms[first + c], sum);
        }
      }
      for (let c = 0; c < count; c++) {
        // Not so for numbers that have overflowed.
        const right = rounding[c] <= formTolerance * forms[first + c];
        forms[first + c] = right ? forms[first + c] / (samples && uniform ? shift : 1) : NaN;
      }
    }
    return forms;
  }

  /** Nothing to let go of. */
  dispose(): void {}
}
