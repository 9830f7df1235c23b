/**
 * Stage of an affine or residual layer in closed form: the parameter count drops out.
 *
 *     S = X Z~ + W Y',   Y = d * S (+ Y' when residual),   Z~ = layer input, with a row of ones for the bias
 *
 * A layer's parameters act on the states only through X Z~. With Z~ = U R^T (U: (fanIn+1) x q with
 * orthonormal columns, R: N x q, q = min(N, fanIn + 1)) each unit's step splits into q coordinates
 * xi_i = U^T X_i, the controls, and a complement eta_i that only meets eps and the cross term
 * sum_i X_i . (Y' delta_i) of the Hessian. The complement has the pivot eps and is eliminated first:
 *
 *     Phi  = D P D + diag(c)                                        (n x n, n = N h)
 *     Gx   = eps I + (I (x) R)^T Phi (I (x) R)                      (h q x h q)
 *     a    = (I (x) R)^T (Phi (W (x) I) + D P residual) + U_jk delta_in
 *     P'   = (W (x) I)^T Phi (W (x) I) + residual terms - a^T Gx^-1 a - (delta delta^T) (x) (I - U U^T) / eps
 *
 *   N >= fanIn + 1: U = I, R = Z~^T, no complement, nothing is divided by eps ("parameter side")
 *   N <  fanIn + 1: U, R by Householder QR of Z~, which also serves rank-deficient inputs ("sample side")
 *
 * Flops, with n' = N inputs: 2 n^2 q + 2 n q (hq) + 2 n n' h... + (hq)^3/3 + (hq)^2 n' + hq n'^2; see cost.ts.
 * The Kronecker factors I (x) R and W (x) I are never formed: as n = (unit, sample) with the sample fastest,
 * X (W (x) I) is one gemm on X seen as (m N) x h, and X (I (x) R) a strided batch with a shared factor.
 */
import { kernels, Lower, No, Right, Yes, type Real } from '../native/index.js';
import { SymmetricFactor } from '../linalg/symmetric-factor.js';
import { affineInverse } from './affine-inverse.js';
import type { Arena } from './arena.js';
import { inputBasis } from './input-basis.js';
import type { StagePoint } from './stage-point.js';
import type { FactorTotals, FactorWorkspace, InverseBlockTarget, SolveWorkspace, Stage } from './stage.js';

export class AffineStage implements Stage {
  readonly rows: number;
  readonly previousRows: number;
  readonly controls: number;
  readonly scratch: readonly [number, number];
  readonly solveScratch: readonly [number, number];

  private readonly point: StagePoint;
  private readonly params: Real;
  private readonly samples: number;
  private readonly first: boolean;
  private readonly gaussNewton: boolean;
  private readonly fan: number;
  private readonly q: number;
  /** null on the parameter side */
  private readonly basis: Real | null;
  /** I - U_w U_w^T on the weight rows, inputs x inputs; only where it is needed */
  private complement: Real | null = null;
  private readonly r: Real;
  private readonly gx: SymmetricFactor;
  private readonly half: Real;
  private eps = 0;

  /** @param arena for what is kept, in the precision of the factor */
  constructor(
    point: StagePoint,
    params: Real,
    samples: number,
    first: boolean,
    gaussNewton: boolean,
    private readonly arena: Arena,
  ) {
    const { layer } = point;
    this.point = point;
    this.params = params;
    this.samples = samples;
    this.first = first;
    this.gaussNewton = gaussNewton;
    this.fan = layer.inputs + (layer.bias ? 1 : 0);
    this.q = Math.min(samples, this.fan);
    this.rows = samples * layer.units;
    this.previousRows = first ? 0 : samples * layer.inputs;
    this.controls = layer.units * this.q;
    this.basis = this.q < this.fan ? arena.take(this.fan * this.q) : null;
    this.r = arena.take(samples * this.q);
    this.gx = new SymmetricFactor(
      this.controls,
      arena.take(this.controls * this.controls),
      0,
      arena.take(this.controls),
    );
    this.half = arena.take(this.controls * this.previousRows);
    this.scratch = [
      Math.max(this.controls * this.rows, layer.residual ? this.rows * this.rows : 0),
      Math.max(this.rows * this.q, this.rows * this.previousRows, layer.residual ? this.rows * this.rows : 0),
    ];
    this.solveScratch = [
      Math.max(this.controls, layer.inputs * layer.units),
      Math.max(this.controls, layer.inputs * layer.units),
    ];
  }

  get bytes(): number {
    const { q, fan, samples, point } = this;
    const complement = this.needsComplement ? point.layer.inputs ** 2 : 0;
    return (
      this.gx.bytes +
      this.r.BYTES_PER_ELEMENT * (this.half.length + samples * q + (this.basis ? fan * q : 0) + complement)
    );
  }

  private get needsComplement(): boolean {
    return this.basis !== null && !this.first && !this.gaussNewton;
  }

  /** R and U from the layer's input; the complement's projector. */
  prepare(): void {
    const { point, samples, fan, q, r, basis } = this;
    const { inputs } = point.layer;
    inputBasis(point, samples, basis, r);
    if (basis === null || !this.needsComplement) return;
    const complement = (this.complement ??= this.arena.take(inputs * inputs));
    complement.fill(0);
    for (let j = 0; j < inputs; j++) complement[j * inputs + j] = 1;
    kernels.gemm(No, Yes, inputs, inputs, q, -1, basis, 0, fan, basis, 0, fan, 1, complement, 0, inputs);
  }

  factor(eps: number, w: FactorWorkspace, totals: FactorTotals): boolean {
    const { point, samples: N, q, r, controls, rows: n, previousRows: nPrevious, gx, half, gaussNewton } = this;
    const { units: h, inputs, residual, weightOffset } = point.layer;
    const { slope: d, curvature: c, linear } = point;
    const { p, t1, t2 } = w;
    this.eps = eps;

    // t1 = (I (x) R)^T D P   (controls x n), then t1 = (I (x) R)^T Phi = t1 D + (I (x) R)^T diag(c)
    if (linear) {
      kernels.gemmBatch(Yes, No, q, n, N, 1, r, 0, N, 0, p, 0, n, N, 0, t1, 0, controls, q, h);
    } else {
      for (let k = 0, o = 0; k < h; k++) {
        for (let j = 0; j < q; j++) for (let i = 0; i < N; i++, o++) t2[o] = d[k * N + i] * r[j * N + i];
      }
      kernels.gemmBatch(Yes, No, q, n, N, 1, t2, 0, N, N * q, p, 0, n, N, 0, t1, 0, controls, q, h);
    }
    // The residual branch needs R^T D P itself: a starts with it.
    if (residual && nPrevious > 0) half.set(t1.subarray(0, controls * n));
    if (!linear) {
      for (let k = 0; k < h; k++) {
        for (let i = 0; i < N; i++) {
          const column = (k * N + i) * controls;
          const scale = d[k * N + i];
          for (let row = column; row < column + controls; row++) t1[row] *= scale;
          if (!gaussNewton) {
            const curvature = c[k * N + i];
            for (let j = 0, row = column + k * q; j < q; j++, row++) t1[row] += r[j * N + i] * curvature;
          }
        }
      }
    }
    // Gx = eps I + t1 (I (x) R)
    const g = gx.matrix;
    kernels.gemmBatch(
      No,
      No,
      controls,
      q,
      N,
      1,
      t1,
      0,
      controls,
      N * controls,
      r,
      0,
      N,
      0,
      0,
      g,
      0,
      controls,
      q * controls,
      h,
    );
    for (let i = 0; i < controls; i++) g[i * (controls + 1)] += eps;
    kernels.symmetrize(Lower, controls, g, 0, controls);
    const regular = gx.factor();
    const rest = h * (this.fan - q);
    totals.positive += gx.positive + (eps > 0 ? rest : 0);
    totals.negative += gx.negative + (eps < 0 ? rest : 0);
    totals.zero += gx.zero;
    totals.logAbsDet += gx.logAbsDet + (rest > 0 ? rest * Math.log(Math.abs(eps)) : 0);
    totals.pivotRatio = Math.max(totals.pivotRatio, gx.largestPivot / gx.smallestPivot);
    if (!regular) return false;
    if (nPrevious === 0) return true;

    // a = t1 (W (x) I) (+ (I (x) R)^T D P when residual) + U_jk delta_in; then half-solved.
    const cN = controls * N;
    kernels.gemm(
      No,
      Yes,
      cN,
      inputs,
      h,
      1,
      t1,
      0,
      cN,
      this.params,
      weightOffset,
      inputs,
      residual ? 1 : 0,
      half,
      0,
      cN,
    );
    if (!gaussNewton) this.addCrossTerm(half);
    gx.half(half, 0, nPrevious);

    // P' = (W (x) I)^T Phi (W (x) I) + residual terms - a^T Gx^-1 a - (delta delta^T) (x) complement / eps
    const next = w.pNext;
    const nN = n * N;
    if (residual) {
      // t2 = P D (W (x) I) by columns of P: then P + t2 + t2^T + W^T Phi W
      kernels.scaleRows(Right, n, n, d, 0, p, 0, n, t1, 0, n);
      kernels.gemm(No, Yes, nN, inputs, h, 1, t1, 0, nN, this.params, weightOffset, inputs, 0, t2, 0, nN);
    }
    if (!linear) kernels.scaleSymmetric(n, p, 0, n, d, 0, gaussNewton ? null : c, 0, residual ? next : p, 0, n);
    if (residual) {
      // Phi is in `next`; W^T Phi W needs a target of its own.
      const phi = linear ? p : next;
      kernels.gemm(No, Yes, nN, inputs, h, 1, phi, 0, nN, this.params, weightOffset, inputs, 0, t1, 0, nN);
      this.leftWeights(t1, next, nPrevious);
      for (let j = 0; j < n; j++) {
        for (let i = j, o = j * n + j; i < n; i++, o++) next[o] += p[o] + t2[o] + t2[i * n + j];
      }
    } else {
      kernels.gemm(No, Yes, nN, inputs, h, 1, p, 0, nN, this.params, weightOffset, inputs, 0, t2, 0, nN);
      this.leftWeights(t2, next, nPrevious);
    }
    gx.subtractQuadratic(half, 0, nPrevious, next, 0);
    if (this.complement !== null) this.subtractComplement(next, t2);
    kernels.symmetrize(Lower, nPrevious, next, 0, nPrevious);
    return true;
  }

  /** out (nPrevious x m) := (W (x) I)^T x for x (n x m): per column (N x h)(h x inputs). */
  private leftWeights(x: Real, out: Real, m: number, xOffset = 0, outOffset = 0, beta = 0): void {
    const { samples: N, point, params, rows: n } = this;
    const { units: h, inputs, weightOffset } = point.layer;
    if (N === 1) {
      kernels.gemm(No, No, inputs, m, h, 1, params, weightOffset, inputs, x, xOffset, h, beta, out, outOffset, inputs);
    } else {
      kernels.gemmBatch(
        No,
        Yes,
        N,
        inputs,
        h,
        1,
        x,
        xOffset,
        N,
        n,
        params,
        weightOffset,
        inputs,
        0,
        beta,
        out,
        outOffset,
        N,
        N * inputs,
        m,
      );
    }
  }

  /** a[(i,k),(j,n)] += U[j,k] delta_i[n]; on the parameter side U is the identity. */
  private addCrossTerm(a: Real): void {
    const { samples: N, q, fan, controls, basis, point } = this;
    const { units: h, inputs } = point.layer;
    const { delta } = point;
    for (let j = 0; j < inputs; j++) {
      for (let n = 0; n < N; n++) {
        const column = (j * N + n) * controls;
        if (basis === null) {
          for (let i = 0; i < h; i++) a[column + i * q + j] += delta[i * N + n];
        } else {
          for (let i = 0; i < h; i++) {
            const value = delta[i * N + n];
            for (let k = 0; k < q; k++) a[column + i * q + k] += basis[k * fan + j] * value;
          }
        }
      }
    }
  }

  /** Lower triangle of P' -= (delta delta^T) (x) (I - U U^T) / eps. */
  private subtractComplement(out: Real, scratch: Real): void {
    const { samples: N, point, previousRows: n, complement } = this;
    const { units: h, inputs } = point.layer;
    kernels.gemm(No, Yes, N, N, h, 1 / this.eps, point.delta, 0, N, point.delta, 0, N, 0, scratch, 0, N);
    for (let j = 0; j < inputs; j++) {
      for (let m = 0; m < N; m++) {
        const column = (j * N + m) * n;
        for (let k = j; k < inputs; k++) {
          const weight = complement![j * inputs + k];
          if (weight === 0) continue;
          for (let i = 0, o = column + k * N, s = m * N; i < N; i++, o++, s++) out[o] -= weight * scratch[s];
        }
      }
    }
  }

  backward(g: Real, gStride: number, r: Real, rNext: Real, y: Real, yOffset: number, w: SolveWorkspace): void {
    const { samples: N, point, q, fan, basis, controls, rows: n, previousRows: nPrevious, gx } = this;
    const { units: h, inputs, residual, weightOffset, biasOffset } = point.layer;
    const m = w.columns;
    // b = U^T g - (I (x) R)^T D r, unit i at i q
    for (let column = 0; column < m; column++) {
      const at = yOffset + column * controls;
      const from = column * gStride;
      if (basis === null) {
        for (let i = 0; i < h; i++) {
          const row = at + i * q;
          const source = from + weightOffset + i * inputs;
          for (let k = 0; k < inputs; k++) y[row + k] = g[source + k];
          if (biasOffset >= 0) y[row + inputs] = g[from + biasOffset + i];
        }
      } else {
        kernels.gemm(Yes, No, q, h, inputs, 1, basis, 0, fan, g, from + weightOffset, inputs, 0, y, at, q);
        if (biasOffset >= 0) {
          for (let i = 0; i < h; i++) {
            const value = g[from + biasOffset + i];
            for (let k = 0; k < q; k++) y[at + i * q + k] += basis[k * fan + inputs] * value;
          }
        }
      }
    }
    const dr = w.s1;
    this.scaleBySlope(r, dr, m);
    kernels.gemm(Yes, No, q, h * m, N, -1, this.r, 0, N, dr, 0, N, 1, y, yOffset, q);
    gx.half(y, yOffset, m);
    if (nPrevious === 0) return;
    // r' = W^T D r (+ r) + a^T Gx^-1 b + (I - U U^T) g delta / eps
    this.leftWeights(dr, rNext, m);
    if (residual) for (let i = 0; i < n * m; i++) rNext[i] += r[i];
    gx.signs(y, yOffset, m);
    if (m === 1) kernels.gemv(Yes, controls, nPrevious, 1, this.half, 0, controls, y, yOffset, 1, 1, rNext, 0, 1);
    else
      kernels.gemm(
        Yes,
        No,
        nPrevious,
        m,
        controls,
        1,
        this.half,
        0,
        controls,
        y,
        yOffset,
        controls,
        1,
        rNext,
        0,
        nPrevious,
      );
    gx.signs(y, yOffset, m);
    if (!this.needsComplement) return;
    for (let column = 0; column < m; column++) {
      // c1 = (I - U_w U^T) g, inputs x h; rNext (N x inputs) += delta (N x h) c1^T / eps
      const from = column * gStride;
      const rest = w.c1;
      this.project(g, from + weightOffset, biasOffset < 0 ? null : g, from + biasOffset, rest, w.c2);
      kernels.gemm(
        No,
        Yes,
        N,
        inputs,
        h,
        1 / this.eps,
        point.delta,
        0,
        N,
        rest,
        0,
        inputs,
        1,
        rNext,
        column * nPrevious,
        N,
      );
    }
  }

  /** out (inputs x h) := weight rows of (I - U U^T) [weights; bias]; uses `coordinates` (q x h). */
  private project(
    weights: Real,
    weightsOffset: number,
    bias: Real | null,
    biasOffset: number,
    out: Real,
    coordinates: Real,
  ): void {
    const { point, q, fan, basis } = this;
    const { units: h, inputs } = point.layer;
    kernels.gemm(Yes, No, q, h, inputs, 1, basis!, 0, fan, weights, weightsOffset, inputs, 0, coordinates, 0, q);
    if (bias !== null) {
      for (let i = 0; i < h; i++) {
        for (let k = 0; k < q; k++) coordinates[i * q + k] += basis![k * fan + inputs] * bias[biasOffset + i];
      }
    }
    for (let i = 0; i < inputs * h; i++) out[i] = weights[weightsOffset + i];
    kernels.gemm(No, No, inputs, h, q, -1, basis!, 0, fan, coordinates, 0, q, 1, out, 0, inputs);
  }

  /** out := D x for x (n x m). */
  private scaleBySlope(x: Real, out: Real, m: number): void {
    const { rows: n, point } = this;
    if (point.linear) {
      for (let i = 0; i < n * m; i++) out[i] = x[i];
      return;
    }
    const d = point.slope;
    for (let column = 0, o = 0; column < m; column++) for (let i = 0; i < n; i++, o++) out[o] = d[i] * x[o];
  }

  forward(
    g: Real,
    gStride: number,
    state: Real,
    stateNext: Real,
    y: Real,
    yOffset: number,
    x: Real,
    w: SolveWorkspace,
  ): void {
    const { samples: N, point, q, fan, basis, controls, rows: n, previousRows: nPrevious, gx, gaussNewton } = this;
    const { units: h, inputs, residual, weightOffset, biasOffset } = point.layer;
    const m = w.columns;
    // xi = G^-T S (G^-1 b - (G^-1 a) Y')
    if (nPrevious > 0) {
      if (m === 1) kernels.gemv(No, controls, nPrevious, -1, this.half, 0, controls, state, 0, 1, 1, y, yOffset, 1);
      else
        kernels.gemm(
          No,
          No,
          controls,
          m,
          nPrevious,
          -1,
          this.half,
          0,
          controls,
          state,
          0,
          nPrevious,
          1,
          y,
          yOffset,
          controls,
        );
    }
    gx.signs(y, yOffset, m);
    gx.halfTransposed(y, yOffset, m);
    // Y = D (R xi + W Y') (+ Y')
    kernels.gemm(No, No, N, h * m, q, 1, this.r, 0, N, y, yOffset, q, 0, stateNext, 0, N);
    if (nPrevious > 0) {
      if (N === 1) {
        kernels.gemm(Yes, No, h, m, inputs, 1, this.params, weightOffset, inputs, state, 0, inputs, 1, stateNext, 0, h);
      } else {
        kernels.gemmBatch(
          No,
          No,
          N,
          h,
          inputs,
          1,
          state,
          0,
          N,
          nPrevious,
          this.params,
          weightOffset,
          inputs,
          0,
          1,
          stateNext,
          0,
          N,
          n,
          m,
        );
      }
    }
    this.scaleBySlope(stateNext, stateNext, m);
    if (residual && nPrevious > 0) for (let i = 0; i < n * m; i++) stateNext[i] += state[i];

    for (let column = 0; column < m; column++) {
      const at = yOffset + column * controls;
      const to = column * gStride;
      if (basis === null) {
        for (let i = 0; i < h; i++) {
          const row = at + i * q;
          const target = to + weightOffset + i * inputs;
          for (let k = 0; k < inputs; k++) x[target + k] = y[row + k];
          if (biasOffset >= 0) x[to + biasOffset + i] = y[row + inputs];
        }
        continue;
      }
      // X = U xi + (I - U U^T)(g - Y' delta) / eps = t + U (xi - U^T t),  t = (g - Y' delta) / eps
      const inverse = 1 / this.eps;
      const weights = to + weightOffset;
      for (let i = 0; i < inputs * h; i++) x[weights + i] = g[weights + i] * inverse;
      if (nPrevious > 0 && !gaussNewton) {
        kernels.gemm(
          Yes,
          No,
          inputs,
          h,
          N,
          -inverse,
          state,
          column * nPrevious,
          N,
          point.delta,
          0,
          N,
          1,
          x,
          weights,
          inputs,
        );
      }
      const coordinates = w.c1;
      for (let i = 0; i < controls; i++) coordinates[i] = y[at + i];
      kernels.gemm(Yes, No, q, h, inputs, -1, basis, 0, fan, x, weights, inputs, 1, coordinates, 0, q);
      if (biasOffset >= 0) {
        const bias = to + biasOffset;
        for (let i = 0; i < h; i++) {
          x[bias + i] = g[bias + i] * inverse;
          for (let k = 0; k < q; k++) coordinates[i * q + k] -= basis[k * fan + inputs] * x[bias + i];
        }
        for (let i = 0; i < h; i++) {
          let sum = 0;
          for (let k = 0; k < q; k++) sum += basis[k * fan + inputs] * coordinates[i * q + k];
          x[bias + i] += sum;
        }
      }
      kernels.gemm(No, No, inputs, h, q, 1, basis, 0, fan, coordinates, 0, q, 1, x, weights, inputs);
    }
  }

  inverse(covariance: Float64Array, wantNext: boolean, target: InverseBlockTarget): Float64Array | null {
    const { point, samples, q, gx, eps, gaussNewton } = this;
    return affineInverse(
      {
        point,
        samples,
        q,
        gx,
        eps,
        gaussNewton,
        params: this.params as Float64Array,
        basis: this.basis as Float64Array | null,
        r: this.r as Float64Array,
        half: this.half as Float64Array,
      },
      covariance,
      wantNext,
      target,
    );
  }
}
