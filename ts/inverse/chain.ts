/**
 * The block factorization of H + eps I (or G + eps I) along the layers: Riccati recursion backwards,
 * then, for each right-hand side, one sweep backwards and one forwards. See stage.ts for the recursion.
 *
 * Time and memory are linear in depth. The factor depends on (network point, eps) only.
 */
import type { AffinePoint, Linearization } from '../derivatives/index.js';
import type { Real } from '../native/index.js';
import { AffineStage } from './affine-stage.js';
import { Arena } from './arena.js';
import { allocate, type StagePoint } from './stage-point.js';
import { GeneralStage } from './general-stage.js';
import { outputBlocks } from './output-blocks.js';
import type { MatrixKind, RawFactor } from './raw-factor.js';
import type { FactorTotals, FactorWorkspace, SolveWorkspace, Stage } from './stage.js';

interface ChainWorkspace extends SolveWorkspace {
  state: Real;
  stateNext: Real;
  y: Real;
  /** right-hand sides and solutions in single precision; empty in double */
  g: Real;
  x: Real;
}

/** Factor of M + eps I by recursion over the layers (routes 'affine' and 'block'). */
export class ChainFactor implements RawFactor {
  /** Inertia and log-determinant of the last factorization. */
  readonly totals: FactorTotals = { positive: 0, negative: 0, zero: 0, logAbsDet: 0, pivotRatio: 1 };
  private readonly stages: Stage[] = [];
  private readonly eps: Float64Array;
  private readonly stateSize: number;
  private workspace: FactorWorkspace | null = null;
  private solveWorkspace: ChainWorkspace | null = null;

  /**
   * @param general treat every layer by its dense derivative blocks, affine ones too
   * @param single factor in float32; right-hand sides and solutions stay float64 outside
   */
  constructor(
    private readonly point: Linearization,
    matrix: MatrixKind,
    general: boolean,
    private readonly single = false,
  ) {
    const gaussNewton = matrix === 'gauss-newton';
    const { layers, samples } = point;
    const params = single ? Float32Array.from(point.params) : point.params;
    const arena = new Arena(single);
    let states = samples * point.network.outputs;
    for (let l = 0; l < layers.length; l++) {
      const layer = layers[l];
      const stage =
        general || layer.kind === 'custom'
          ? new GeneralStage(point, l, gaussNewton, single)
          : new AffineStage(inPrecision(layer, single), params, samples, l === 0, gaussNewton, arena);
      stage.prepare();
      this.stages.push(stage);
      states = Math.max(states, stage.rows, stage.previousRows);
    }
    this.stateSize = states;
    this.eps = new Float64Array(layers.length);
  }

  /** Bytes held between solves, the workspaces included. */
  get bytes(): number {
    let total = 0;
    for (const stage of this.stages) total += stage.bytes;
    if (this.workspace) {
      const { p, pNext, t1, t2 } = this.workspace;
      total += p.byteLength + pNext.byteLength + t1.byteLength + t2.byteLength;
    }
    if (this.solveWorkspace) {
      const { s1, c1, c2, state, stateNext, y, g, x } = this.solveWorkspace;
      total +=
        s1.byteLength +
        c1.byteLength +
        c2.byteLength +
        state.byteLength +
        stateNext.byteLength +
        y.byteLength +
        g.byteLength +
        x.byteLength;
    }
    return total;
  }

  /** Factors with `damping` added to each layer's L2. @returns false when a pivot block is exactly singular */
  factor(damping: number): boolean {
    const { point, stages, totals, stateSize } = this;
    totals.positive = totals.negative = totals.zero = totals.logAbsDet = 0;
    totals.pivotRatio = 1;
    let t1 = 0;
    let t2 = 0;
    for (const { scratch } of stages) {
      t1 = Math.max(t1, scratch[0]);
      t2 = Math.max(t2, scratch[1]);
    }
    const w = (this.workspace ??= {
      p: allocate(this.single, stateSize * stateSize),
      pNext: allocate(this.single, stateSize * stateSize),
      t1: allocate(this.single, t1),
      t2: allocate(this.single, t2),
    });
    outputCostToGo(point, w.p);
    let regular = true;
    for (let l = stages.length - 1; l >= 0; l--) {
      this.eps[l] = damping + point.network.l2[l];
      if (!stages[l].factor(this.eps[l], w, totals)) {
        regular = false;
        break;
      }
      const t = w.p;
      w.p = w.pNext;
      w.pNext = t;
    }
    return regular;
  }

  /** The factoring workspace is only needed by the next `factor`; a finished factor may let it go. */
  releaseWorkspace(): void {
    this.workspace = null;
  }

  /** x (P x m) := (M + eps I)^-1 g, without refinement; columns at a stride of P. */
  solve(g: Float64Array, x: Float64Array, m: number): void {
    const P = this.point.network.parameterCount;
    const w = this.prepareSolve(m);
    if (!this.single) {
      this.sweep(g, x, m, w);
      return;
    }
    w.g.set(g.subarray(0, P * m));
    this.sweep(w.g, w.x, m, w);
    x.set(w.x.subarray(0, P * m));
  }

  private sweep(g: Real, x: Real, m: number, w: ChainWorkspace): void {
    const { stages } = this;
    const P = this.point.network.parameterCount;
    const { y } = w;
    let r = w.state;
    let rNext = w.stateNext;
    r.fill(0, 0, stages[stages.length - 1].rows * m);
    let offset = 0;
    for (let l = stages.length - 1; l >= 0; l--) {
      stages[l].backward(g, P, r, rNext, y, offset, w);
      offset += stages[l].controls * m;
      const t = r;
      r = rNext;
      rNext = t;
    }
    let state = r;
    let stateNext = rNext;
    for (let l = 0; l < stages.length; l++) {
      offset -= stages[l].controls * m;
      stages[l].forward(g, P, state, stateNext, y, offset, x, w);
      const t = state;
      state = stateNext;
      stateNext = t;
    }
  }

  private prepareSolve(m: number): ChainWorkspace {
    if (this.solveWorkspace && this.solveWorkspace.state.length >= this.stateSize * m) {
      this.solveWorkspace.columns = m;
      return this.solveWorkspace;
    }
    let controls = 0;
    let c1 = 1;
    let c2 = 1;
    for (const stage of this.stages) {
      controls += stage.controls;
      c1 = Math.max(c1, stage.solveScratch[0]);
      c2 = Math.max(c2, stage.solveScratch[1]);
    }
    const n = this.stateSize * m;
    const P = this.point.network.parameterCount;
    this.solveWorkspace = {
      columns: m,
      s1: allocate(this.single, n),
      c1: allocate(this.single, c1),
      c2: allocate(this.single, c2),
      state: allocate(this.single, n),
      stateNext: allocate(this.single, n),
      y: allocate(this.single, controls * m),
      g: allocate(this.single, this.single ? P * m : 0),
      x: allocate(this.single, this.single ? P * m : 0),
    };
    return this.solveWorkspace;
  }

  /**
   * Selected inversion: every layer's diagonal block of (M + eps I)^-1, first layer to last, after {@link factor} in float64.
   *
   * @param visit receives the layer, the diagonal (length p) and, with `blocks`, the p x p block; arrays are its own to keep
   */
  inverse(blocks: boolean, visit: (layer: number, diagonal: Float64Array, block: Float64Array | null) => void): void {
    const { stages, point } = this;
    let covariance: Float64Array | null = new Float64Array(0);
    for (let l = 0; l < stages.length; l++) {
      const { parameterCount: p } = point.network.layers[l];
      const target = { diagonal: new Float64Array(p), block: blocks ? new Float64Array(p * p) : null };
      covariance = stages[l].inverse(covariance!, l + 1 < stages.length, target);
      visit(l, target.diagonal, target.block);
    }
  }

  /** Lets go of the arrays; the factor is not used afterwards. */
  dispose(): void {
    this.stages.length = 0;
    this.workspace = null;
    this.solveWorkspace = null;
  }
}

/** P_L = Q, the output Hessian, dense in unit-major order: (k, n) couples with (j, n) only. */
function outputCostToGo(point: Linearization, p: Real): void {
  const N = point.samples;
  const K = point.network.outputs;
  const n = N * K;
  const blocks = outputBlocks(point);
  p.fill(0, 0, n * n);
  for (let j = 0; j < K; j++) {
    for (let k = 0; k < K; k++) {
      for (let s = 0; s < N; s++) p[(j * N + s) * n + k * N + s] = blocks[j * n + k * N + s];
    }
  }
}

function inPrecision(point: AffinePoint, single: boolean): StagePoint {
  if (!single) return point;
  const { layer, linear } = point;
  return {
    layer,
    linear,
    input: Float32Array.from(point.input),
    slope: Float32Array.from(point.slope),
    curvature: Float32Array.from(point.curvature),
    delta: Float32Array.from(point.delta),
  };
}
