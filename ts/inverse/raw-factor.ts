/** The factorizations behind {@link factor}: one factor step, many unrefined solves. */
import type { FactorTotals } from './stage.js';

/** 'hessian': the exact Hessian H. 'gauss-newton': G = J^T Q J. */
export type MatrixKind = 'hessian' | 'gauss-newton';

/** What every route offers to the refined solver in factor.ts. */
export interface RawFactor {
  /** Inertia and log-determinant of the last factorization. */
  readonly totals: FactorTotals;
  /** bytes held now */
  readonly bytes: number;
  /** Factors M + damping I (L2 added per layer). @returns false when exactly singular */
  factor(damping: number): boolean;
  /** x (P x m) := (M + damping I)^-1 g, unrefined */
  solve(g: Float64Array, x: Float64Array, m: number): void;
  /** Lets go of what the factor holds; it is not used afterwards. */
  dispose(): void;
}
