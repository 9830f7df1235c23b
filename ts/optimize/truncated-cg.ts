/**
 * Conjugate gradients cut short by the progress of the quadratic model (Martens 2010, section 4.4), with some iterates kept.
 *
 *     minimise phi(x) = 1/2 x^T B x - b^T x,   B symmetric positive definite
 *     stop at i when  i > k,  phi(x_i) < 0  and  (phi(x_i) - phi(x_{i-k})) / phi(x_i) < k epsilon,   k = max(10, 0.1 i)
 *
 * phi costs nothing: phi(x) = -1/2 x^T (b + r). Iterates at i = ceil(1.3^j) are kept, because the model is trusted less far out
 * than CG goes: the caller walks back along them while the true loss falls (section 4.6). All arrays are made once.
 */
import { kernels } from '../native/index.js';

export interface TruncatedCgOptions {
  /** most iterations */
  maxIterations: number;
  /** epsilon of the relative progress; 0: until the residual is rounding */
  progress: number;
  /** also stop at |r| <= tolerance |b| */
  tolerance: number;
}

/** Why a run ended. */
export type TruncatedCgReason = 'progress' | 'tolerance' | 'iterations' | 'negative-curvature';

export class TruncatedCg {
  /** the last iterate */
  readonly x: Float64Array;
  iterations = 0;
  /** |b - B x| / |b| by the recurrence */
  residual = 0;
  reason: TruncatedCgReason = 'iterations';
  /** iterates kept, the last one included: numbers of their iterations, and phi there */
  readonly kept: number[] = [];
  readonly keptModel: number[] = [];
  private readonly slots: Float64Array[] = [];
  private readonly r: Float64Array;
  private readonly p: Float64Array;
  private readonly q: Float64Array;
  private readonly z: Float64Array;
  private models: Float64Array;

  constructor(readonly size: number) {
    this.x = new Float64Array(size);
    this.r = new Float64Array(size);
    this.p = new Float64Array(size);
    this.q = new Float64Array(size);
    this.z = new Float64Array(size);
    this.models = new Float64Array(0);
  }

  /** Kept iterate number j, in the order of {@link kept}. */
  iterate(j: number): Float64Array {
    return this.slots[j];
  }

  /**
   * Runs from the iterate now in {@link x}.
   * @param product out := B v
   * @param precondition out := M^-1 v, positive definite, or null
   */
  run(
    product: (v: Float64Array, out: Float64Array) => void,
    b: Float64Array,
    precondition: ((v: Float64Array, out: Float64Array) => void) | null,
    options: TruncatedCgOptions,
  ): void {
    const { size: n, x, r, p, q } = this;
    const { maxIterations, progress, tolerance } = options;
    const z = precondition === null ? r : this.z;
    if (this.models.length < maxIterations + 1) this.models = new Float64Array(maxIterations + 1);
    const { models } = this;
    this.kept.length = 0;
    this.keptModel.length = 0;
    this.reason = 'iterations';
    product(x, r);
    for (let i = 0; i < n; i++) r[i] = b[i] - r[i];
    const bNorm = kernels.nrm2(n, b, 0) || 1;
    models[0] = -0.5 * (kernels.dot(n, x, 0, b, 0) + kernels.dot(n, x, 0, r, 0));
    let rho = 0;
    let nextKept = 1;
    let i = 0;
    this.residual = kernels.nrm2(n, r, 0) / bNorm;
    while (i < maxIterations) {
      if (this.residual <= tolerance || this.residual === 0) {
        this.reason = 'tolerance';
        break;
      }
      precondition?.(r, z);
      const rhoNew = kernels.dot(n, r, 0, z, 0);
      const beta = i === 0 ? 0 : rhoNew / rho;
      rho = rhoNew;
      for (let j = 0; j < n; j++) p[j] = z[j] + beta * p[j];
      product(p, q);
      const curvature = kernels.dot(n, p, 0, q, 0);
      if (!(curvature > 0) || !(rho > 0)) {
        this.reason = 'negative-curvature';
        break;
      }
      const alpha = rho / curvature;
      kernels.axpy(n, alpha, p, 0, x, 0);
      kernels.axpy(n, -alpha, q, 0, r, 0);
      i++;
      const phi = -0.5 * (kernels.dot(n, x, 0, b, 0) + kernels.dot(n, x, 0, r, 0));
      models[i] = phi;
      this.residual = kernels.nrm2(n, r, 0) / bNorm;
      if (i >= nextKept) {
        this.keep(i, phi);
        nextKept = Math.max(i + 1, Math.ceil(1.3 * nextKept));
      }
      const k = Math.max(10, Math.ceil(0.1 * i));
      if (i > k && phi < 0 && (phi - models[i - k]) / phi < k * progress) {
        this.reason = 'progress';
        break;
      }
    }
    this.iterations = i;
    if (this.kept.length === 0 || this.kept[this.kept.length - 1] !== i) this.keep(i, models[i]);
  }

  private keep(i: number, phi: number): void {
    const j = this.kept.length;
    if (this.slots.length === j) this.slots.push(new Float64Array(this.size));
    this.slots[j].set(this.x);
    this.kept.push(i);
    this.keptModel.push(phi);
  }
}
