/**
 * One vocabulary for everything iterative in this folder: how a run can end, and what every result carries.
 *
 * A solver never throws because it did not converge: it returns its last iterate with a status that says why it
 * ended. Misuse (shapes, ranges, a non-symmetric operator where symmetry is needed) throws as everywhere else.
 */

/** Closed list of outcomes, each with the sentence that explains it. */
export const iterationStatuses = {
  converged: 'The residual, or the error bar of an estimate, is at or below the requested tolerance.',
  exact: 'The whole space was used up, so the answer is exact up to rounding.',
  'least-squares': 'The system has no solution: the residual is as small as it can be, orthogonal to the range.',
  sampled: 'All samples asked for were drawn; the error bar says how far the estimate can be trusted.',
  'iteration-limit': 'The iteration limit was reached before the tolerance; the last iterate is returned.',
  'negative-curvature': 'A direction of zero or negative curvature was met: the operator is not positive definite.',
  'indefinite-preconditioner': 'The preconditioner is not positive definite, which this method needs.',
  stagnated: 'Rounding, or a restart length too short, stopped progress above the tolerance.',
  breakdown: 'A division by zero ended the recurrence before the tolerance.',
  diverged: 'The iterates grow: the iteration matrix has an eigenvalue of modulus above one.',
  'not-finite': 'A product returned a value that is not finite.',
  stopped: 'The callback asked to stop.',
} as const;

/** How a run ended: a key of {@link iterationStatuses}. */
export type IterationStatus = keyof typeof iterationStatuses;

/** The sentence that belongs to a status. */
export function explain(status: IterationStatus): string {
  return iterationStatuses[status];
}

/**
 * Called after every iteration with its number (from 1) and the relative residual (or, for an estimator, the relative
 * error bar). Returning `false` stops the run with status `'stopped'`.
 */
export type OnIteration = (iteration: number, residual: number) => boolean | void;

/** What every run reports, whatever it computed. */
export interface IterationReport {
  /** how the run ended */
  readonly status: IterationStatus;
  /** iterations done */
  readonly iterations: number;
  /** products with the operator, checks and norm estimates included */
  readonly products: number;
  /** relative residual before the first iteration and after each one (documented per method) */
  readonly residuals: Float64Array;
}

/** What a linear solver returns. */
export interface SolveResult extends IterationReport {
  /** the last iterate, length n */
  readonly x: Float64Array;
  /** ||b - A x|| / ||b||, computed from its definition at the end (0 for b = 0) */
  readonly residual: number;
}

/** A direction d with d^T A d <= 0. */
export interface NegativeCurvature {
  /** unit vector, length n */
  readonly direction: Float64Array;
  /** d^T A d / d^T d, zero or negative (up to rounding for a singular operator) */
  readonly curvature: number;
  /** the iteration that met it, from 1 */
  readonly iteration: number;
}

/** A sampled number with its error bar. */
export interface Estimate {
  /** mean over the samples */
  readonly estimate: number;
  /** standard deviation of that mean; 0 when the estimate is exact, NaN for a single sample */
  readonly standardError: number;
  /** half-width of the 95 % interval: Student's t of the sample count times the standard error, plus any stated bias */
  readonly errorBar: number;
}
