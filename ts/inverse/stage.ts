/**
 * A stage of the Riccati recursion: one layer of the network.
 *
 * The Newton system of a network is a linear-quadratic control problem in which the layers are the
 * stages, the tangent activations Y_l (n_l = N h_l numbers) the states and the parameter steps X_l
 * the controls. With the quadratic cost-to-go 1/2 Y^T P Y + r^T Y at the layer's output, minimising
 * over the layer's own step X gives the cost-to-go at its input:
 *
 *     Y      = Dx X + Dz Y'                                       (Y' = the layer's input tangent)
 *     Gx     = Hxx + eps I + Dx^T P Dx                            (symmetric, factored)
 *     a      = Hxz + Dx^T P Dz
 *     P'     = Hzz + Dz^T P Dz - a^T Gx^-1 a
 *     r'     = Dz^T r + a^T Gx^-1 (g - Dx^T r)
 *     X      = Gx^-1 (g - Dx^T r - a Y')
 *
 * (Bellman recursion; as block elimination of the augmented system of Rahimi 2026, section 5.1, it
 * eliminates x_l and Lambda_l together. The triple (E, F, V) of that elimination satisfies
 * P' = V + F^T (P^-1 + E)^-1 F; here neither E nor P^-1 is formed.) Because the recursion is a block
 * LDL^T of H + eps I, its inertia and log-determinant are sums over the stages:
 * neg(H + eps I) = sum_l neg(Gx_l), log|det(H + eps I)| = sum_l log|det Gx_l| (Haynsworth 1968).
 */

import type { Real } from '../native/index.js';

/** Running totals of a factorization. */
export interface FactorTotals {
  /** Number of positive eigenvalues. */
  positive: number;
  /** Number of negative eigenvalues. */
  negative: number;
  /** Number of exactly zero pivots. */
  zero: number;
  /** log of the modulus of the determinant. */
  logAbsDet: number;
  /** largest ratio, over the stages, of the largest pivot to the smallest: a warning of cancellation */
  pivotRatio: number;
}

/** Scratch arrays that all stages of a chain share while factoring. */
export interface FactorWorkspace {
  /** cost-to-go at the stage's output on entry, at its input on exit: n x n, both triangles */
  p: Real;
  pNext: Real;
  t1: Real;
  t2: Real;
}

/** Scratch arrays that all stages share while solving `columns` right-hand sides. */
export interface SolveWorkspace {
  columns: number;
  /** state-sized (largest n times columns) */
  s1: Real;
  /** control- or parameter-sized (largest of all stages times columns) */
  c1: Real;
  c2: Real;
}

/** Where selected inversion writes one layer's share of the inverse; p is the layer's parameter count. */
export interface InverseBlockTarget {
  /** diagonal entries, length p */
  diagonal: Float64Array;
  /** the whole diagonal block, p x p, or null when only its diagonal is wanted */
  block: Float64Array | null;
}

/** What one layer offers to the recursion. `states` are unit-major: unit i, sample n at i N + n. */
export interface Stage {
  /** states at the layer's output (N units) and at its input (N inputs; 0 for the first layer) */
  readonly rows: number;
  readonly previousRows: number;
  /** order of Gx */
  readonly controls: number;
  /** bytes held by this stage for the life of the factor */
  readonly bytes: number;

  /** doubles wanted in `t1` and `t2` of the factor workspace */
  readonly scratch: readonly [number, number];
  /** doubles per right-hand side wanted in `c1` and `c2` of the solve workspace */
  readonly solveScratch: readonly [number, number];

  /** Everything that does not depend on eps; called once. */
  prepare(): void;
  /**
   * From P at the output, P' at the input (into w.pNext; untouched for the first layer), with shift
   * eps on this layer's parameters.
   * @returns false when Gx is exactly singular
   */
  factor(eps: number, w: FactorWorkspace, totals: FactorTotals): boolean;
  /**
   * Backward half of a solve: r (rows x m) at the output to rNext (previousRows x m) at the input; `g` (P x m)
   * holds the right-hand sides, `y` (controls x m) keeps the half-solved control for the forward half.
   */
  backward(g: Real, gStride: number, r: Real, rNext: Real, y: Real, yOffset: number, w: SolveWorkspace): void;
  /** Forward half: state (previousRows x m) to stateNext (rows x m), and this layer's part of x (P x m). */
  forward(
    g: Real,
    gStride: number,
    state: Real,
    stateNext: Real,
    y: Real,
    yOffset: number,
    x: Real,
    w: SolveWorkspace,
  ): void;
  /**
   * Selected inversion, first layer to last, after {@link factor} in float64: from the state covariance at the input
   * (previousRows x previousRows) to the layer's block of the inverse and, when wanted, the covariance at the output
   * (rows x rows). See affine-inverse.ts.
   */
  inverse(covariance: Float64Array, wantNext: boolean, target: InverseBlockTarget): Float64Array | null;
}
