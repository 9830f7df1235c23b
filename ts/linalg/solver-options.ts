/** Options that all Krylov solvers share, checked once, and the small state that runs through their loops. */
import { checkInteger, checkKeys, checkNonNegative, checkObject, checkVector, failRange, failType } from '../checks.js';
import { checkSquare, type LinearOperator } from './linear-operator.js';
import type { OnIteration } from './status.js';
import { norm, subtractFrom } from './vectors.js';
import { Workspace } from './workspace.js';

/** Options of every linear solver in this folder. */
export interface SolverOptions {
  /** ask for ||b - A x|| <= tolerance ||b||; default 1e-10 */
  tolerance?: number;
  /** or ||b - A x|| <= absoluteTolerance, whichever is larger; default 0 */
  absoluteTolerance?: number;
  /** most iterations (products with A inside the recurrence); default max(200, 4 n) */
  maxIterations?: number;
  /** starting point, length n; default 0 */
  initial?: Float64Array;
  /** an approximation of A^-1 as an operator, for example `inverseOf(factor, n)`; default none */
  preconditioner?: LinearOperator;
  /** called after every iteration; `false` stops */
  onIteration?: OnIteration;
  /** work vectors to reuse between calls; default: fresh ones */
  workspace?: Workspace;
  /** where to leave x, length n; default: a new array */
  out?: Float64Array;
}

const solverKeys = [
  'tolerance',
  'absoluteTolerance',
  'maxIterations',
  'initial',
  'preconditioner',
  'onIteration',
  'workspace',
  'out',
];

/** A checked problem A x = b, ready to iterate on. */
export interface Problem {
  readonly n: number;
  readonly x: Float64Array;
  readonly bNorm: number;
  /** absolute residual norm to reach */
  readonly target: number;
  readonly maxIterations: number;
  readonly preconditioner: LinearOperator | undefined;
  readonly onIteration: OnIteration | undefined;
  readonly workspace: Workspace;
  /** history buffer, maxIterations + 1 long */
  readonly residuals: Float64Array;
}

/**
 * Checks the arguments of a solver.
 *
 * @param symmetric whether the method needs a symmetric operator and a symmetric, not indefinite, preconditioner
 * @param extraKeys option names of the method itself
 */
export function prepare(
  operation: string,
  a: LinearOperator,
  b: Float64Array,
  options: SolverOptions,
  symmetric: boolean,
  extraKeys: readonly string[] = [],
): Problem {
  checkSquare(operation, 'operator', a, symmetric);
  const n = a.rows;
  checkVector(operation, 'b', b, n);
  const given: unknown = options;
  checkObject(operation, 'options', given);
  checkKeys(operation, 'options', options, [...solverKeys, ...extraKeys]);
  const { tolerance = 1e-10, absoluteTolerance = 0, maxIterations = Math.max(200, 4 * n), initial, out } = options;
  const { preconditioner, onIteration, workspace = new Workspace() } = options;
  checkNonNegative(operation, 'tolerance', tolerance);
  checkNonNegative(operation, 'absoluteTolerance', absoluteTolerance);
  checkInteger(operation, 'maxIterations', maxIterations, 0, 2 ** 31);
  if (initial !== undefined) checkVector(operation, 'initial', initial, n);
  if (out !== undefined) {
    if (!(out instanceof Float64Array)) failType(operation, 'out', `a Float64Array of length ${n}`, out);
    if (out.length !== n) failRange(operation, 'out', `a Float64Array of length ${n}`, out);
    if (out === b) failRange(operation, 'out', 'an array other than b', out);
  }
  if (preconditioner !== undefined) {
    checkSquare(operation, 'preconditioner', preconditioner, symmetric);
    if (preconditioner.rows !== n) {
      failRange(operation, 'preconditioner', `an operator of size ${n}`, preconditioner.describe());
    }
    if (symmetric && preconditioner.definiteness === 'indefinite') {
      failRange(operation, 'preconditioner', 'a positive definite operator', preconditioner.describe());
    }
  }
  if (onIteration !== undefined && typeof onIteration !== 'function') {
    failType(operation, 'onIteration', 'a function', onIteration);
  }
  if (!(workspace instanceof Workspace)) failType(operation, 'workspace', 'a Workspace', workspace);
  const x = out ?? new Float64Array(n);
  if (initial === undefined) x.fill(0);
  else if (initial !== x) x.set(initial);
  const bNorm = norm(b);
  if (bNorm === 0) x.fill(0);
  return {
    n,
    x,
    bNorm,
    target: Math.max(tolerance * bNorm, absoluteTolerance),
    maxIterations,
    preconditioner,
    onIteration,
    workspace,
    residuals: new Float64Array(maxIterations + 1),
  };
}

/** r := b - A x from its definition; returns its norm. */
export function trueResidual(a: LinearOperator, b: Float64Array, x: Float64Array, r: Float64Array): number {
  a.apply(x, r);
  subtractFrom(b, r);
  return norm(r);
}

/** The used part of a history, in an array of its own. */
export function history(residuals: Float64Array, iterations: number): Float64Array {
  return residuals.slice(0, iterations + 1);
}

/** A checked number >= 0, or its default. */
export function nonNegative(operation: string, argument: string, value: number | undefined, fallback: number): number {
  if (value === undefined) return fallback;
  checkNonNegative(operation, argument, value);
  return value;
}
