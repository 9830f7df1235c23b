/** How a solve ended. A closed list; each entry is explained by one sentence. */
export const solveStatuses = {
  converged: 'The relative residual is at or below the tolerance.',
  stalled: 'Refinement, the Krylov fallback and (where it fits) the dense fallback all ended above the tolerance.',
  overflow:
    "Numbers left the range of the factor's precision: second derivatives at the point, or what the elimination makes of them.",
  singular: 'A pivot block is exactly zero: the shifted matrix, or a leading block of it, is singular.',
} as const;

/** How a solve ended: a key of {@link solveStatuses}. */
export type SolveStatus = keyof typeof solveStatuses;

/** Which means brought the residual down: the factor with refinement, GMRES around it, or a dense factor. */
export type SolveRoute = 'refinement' | 'krylov' | 'dense';

/** A solved right-hand side. */
export interface Solution {
  /** x with (M + eps I) x = g, length P */
  x: Float64Array;
  /** |(M + eps I) x - g| / |g|, computed with the exact matrix-vector product; 0 when g = 0 */
  residual: number;
  /** refinement steps and Krylov iterations spent */
  refinements: number;
  /** How the solve ended. */
  status: SolveStatus;
  /** What led to the solution: the factor, or a fallback. */
  route: SolveRoute;
}

/** m solved right-hand sides. `x` holds them as columns, P apart. */
export interface ManySolution {
  /** Solutions, P x m, one after another. */
  x: Float64Array;
  /** the largest relative residual of all columns */
  residual: number;
  /** True relative residual of each, length m. */
  residuals: Float64Array;
  /** Refinement steps spent. */
  refinements: number;
  /** How the solve ended: that of the worst right-hand side. */
  status: SolveStatus;
  /** What led to the solution: the factor, or a fallback. */
  route: SolveRoute;
}
