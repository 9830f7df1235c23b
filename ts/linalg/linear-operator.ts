/**
 * Linear operators: y = A x for a matrix that need not exist as numbers in memory.
 *
 * Shapes. A is rows x columns. One vector is a Float64Array of length `columns`; m vectors are the columns of a
 * column-major columns x m block (vector j at j * columns), the results those of a rows x m block. `toDense` is
 * column-major rows x columns.
 *
 * Tags. `symmetric` and `definiteness` are promises of whoever builds the operator. Solvers rely on `symmetric`; they
 * take `definiteness` as a hint, watch it at run time and report what they meet.
 */
import { checkInteger, checkKeys, checkObject, checkOneOf, failRange, failType } from '../checks.js';
import { kernels, No } from '../native/index.js';

/**
 * What is known of the sign of x^T A x: 'positive-definite' (> 0), 'positive-semidefinite' (>= 0), 'indefinite'
 * (negative for some x), 'unknown'.
 */
export const definitenesses = ['positive-definite', 'positive-semidefinite', 'indefinite', 'unknown'] as const;
export type Definiteness = (typeof definitenesses)[number];

/** What defines an operator. */
export interface OperatorDefinition {
  /** rows, and columns unless given */
  rows: number;
  columns?: number;
  /** A = A^T; default false */
  symmetric?: boolean;
  /** default 'unknown' */
  definiteness?: Definiteness;
  /** for messages and reports; default 'operator' */
  name?: string;
  /** Writes A x into `out` (every entry). Must not keep or change `x`. */
  apply(x: Float64Array, out: Float64Array): void;
  /** Writes A X for m vectors; default: `apply` column by column. */
  applyMany?(x: Float64Array, vectors: number, out: Float64Array): void;
  /** Writes column-major A; default: products with the unit vectors. */
  toDense?(out: Float64Array): void;
}

const definitionKeys = ['rows', 'columns', 'symmetric', 'definiteness', 'name', 'apply', 'applyMany', 'toDense'];

/** Do two views share memory? */
function overlap(a: Float64Array, b: Float64Array): boolean {
  return (
    a.buffer === b.buffer && a.byteOffset < b.byteOffset + b.byteLength && b.byteOffset < a.byteOffset + a.byteLength
  );
}

/**
 * A linear operator.
 *
 * @example
 * const A = new LinearOperator({ rows: n, symmetric: true, apply: (x, out) => hessianProduct(x, out) });
 * const { x, status } = minres(shifted(A, 1e-3), b);
 */
export class LinearOperator {
  readonly rows: number;
  readonly columns: number;
  readonly symmetric: boolean;
  readonly definiteness: Definiteness;
  readonly name: string;
  private readonly definition: OperatorDefinition;

  /** @throws TypeError or RangeError for a wrong definition, or `symmetric` with rows unequal columns */
  constructor(definition: OperatorDefinition) {
    const operation = 'LinearOperator';
    checkObject(operation, 'definition', definition);
    const { rows, columns = rows, symmetric = false, definiteness = 'unknown', name = 'operator' } = definition;
    checkKeys(operation, 'definition', definition, definitionKeys);
    checkInteger(operation, 'rows', rows, 1);
    checkInteger(operation, 'columns', columns, 1);
    checkOneOf(operation, 'definiteness', definiteness, definitenesses);
    if (typeof definition.apply !== 'function') failType(operation, 'apply', 'a function', definition.apply);
    if (symmetric && rows !== columns) failRange(operation, 'columns', `${rows} for a symmetric operator`, columns);
    this.rows = rows;
    this.columns = columns;
    this.symmetric = symmetric;
    this.definiteness = definiteness;
    this.name = name;
    this.definition = definition;
  }

  /** One line for messages: name, shape, tags. */
  describe(): string {
    return `${this.name}, ${this.rows} x ${this.columns}, ${this.symmetric ? 'symmetric' : 'not symmetric'}, ${this.definiteness}`;
  }

  /**
   * y = A x.
   *
   * @param x length `columns`
   * @param out length `rows`, not sharing memory with `x`; default: a new array
   */
  apply(x: Float64Array, out: Float64Array = new Float64Array(this.rows)): Float64Array {
    this.checkShapes('apply', x, 1, out);
    this.definition.apply(x, out);
    return out;
  }

  /**
   * Y = A X for `vectors` columns at once.
   *
   * @param x column-major columns x vectors
   * @param out column-major rows x vectors, not sharing memory with `x`; default: a new array
   */
  applyMany(x: Float64Array, vectors: number, out?: Float64Array): Float64Array {
    checkInteger(`${this.name}.applyMany`, 'vectors', vectors, 0);
    const y = out ?? new Float64Array(this.rows * vectors);
    this.checkShapes('applyMany', x, vectors, y);
    if (this.definition.applyMany !== undefined) {
      this.definition.applyMany(x, vectors, y);
      return y;
    }
    const { rows, columns } = this;
    for (let j = 0; j < vectors; j++) {
      this.definition.apply(x.subarray(j * columns, (j + 1) * columns), y.subarray(j * rows, (j + 1) * rows));
    }
    return y;
  }

  /** The matrix, column-major rows x columns, by products with the unit vectors unless the operator knows better. */
  toDense(): Float64Array {
    const { rows, columns } = this;
    const out = new Float64Array(rows * columns);
    if (this.definition.toDense !== undefined) {
      this.definition.toDense(out);
      return out;
    }
    // Blocks of unit vectors: applyMany is worth its matrix products, and memory stays at a few columns.
    const block = Math.min(columns, 64);
    const units = new Float64Array(columns * block);
    for (let first = 0; first < columns; first += block) {
      const count = Math.min(block, columns - first);
      for (let j = 0; j < count; j++) units[j * columns + first + j] = 1;
      const slice = out.subarray(first * rows, (first + count) * rows);
      this.applyMany(units.subarray(0, columns * count), count, slice);
      for (let j = 0; j < count; j++) units[j * columns + first + j] = 0;
    }
    return out;
  }

  private checkShapes(method: string, x: Float64Array, vectors: number, out: Float64Array): void {
    const needX = this.columns * vectors;
    const needOut = this.rows * vectors;
    if (!(x instanceof Float64Array)) failType(`${this.name}.${method}`, 'x', `a Float64Array of length ${needX}`, x);
    if (!(out instanceof Float64Array)) {
      failType(`${this.name}.${method}`, 'out', `a Float64Array of length ${needOut}`, out);
    }
    if (x.length !== needX) failRange(`${this.name}.${method}`, 'x', `a Float64Array of length ${needX}`, x);
    if (out.length !== needOut) failRange(`${this.name}.${method}`, 'out', `a Float64Array of length ${needOut}`, out);
    if (overlap(x, out)) failRange(`${this.name}.${method}`, 'out', 'memory not shared with x', out);
  }
}

/** Refuses anything that is not a square operator; with `symmetric`, also one not tagged so. */
export function checkSquare(
  operation: string,
  argument: string,
  a: unknown,
  symmetric = false,
): asserts a is LinearOperator {
  if (!(a instanceof LinearOperator)) failType(operation, argument, 'a LinearOperator', a);
  if (a.rows !== a.columns) failRange(operation, argument, 'a square operator', a.describe());
  if (symmetric && !a.symmetric) failRange(operation, argument, 'a symmetric operator', a.describe());
}

/** Options of the constructors below. */
export interface OperatorTags {
  symmetric?: boolean;
  definiteness?: Definiteness;
  name?: string;
}

/**
 * The operator of a dense column-major matrix, which is held, not copied.
 *
 * `symmetric` defaults to what the numbers say (exact equality of both triangles). When it is claimed, the two
 * triangles must agree to 1e-10 of the largest entry.
 *
 * @param a column-major rows x columns
 * @throws RangeError for a wrong length or a false claim of symmetry
 */
export function fromDense(
  a: Float64Array,
  options: OperatorTags & { rows?: number; columns?: number } = {},
): LinearOperator {
  const operation = 'fromDense';
  if (!(a instanceof Float64Array)) failType(operation, 'a', 'a Float64Array', a);
  checkKeys(operation, 'options', options, ['rows', 'columns', 'symmetric', 'definiteness', 'name']);
  const rows = options.rows ?? Math.round(Math.sqrt(a.length));
  checkInteger(operation, 'rows', rows, 1);
  const columns = options.columns ?? rows;
  checkInteger(operation, 'columns', columns, 1);
  if (a.length !== rows * columns) {
    failRange(operation, 'a', `a Float64Array of length ${rows} x ${columns} = ${rows * columns}`, a);
  }
  let largest = 0;
  let asymmetry = rows === columns ? 0 : Infinity;
  if (rows === columns) {
    for (let j = 0; j < columns; j++) {
      for (let i = 0; i <= j; i++) {
        const u = a[i + j * rows];
        largest = Math.max(largest, Math.abs(u));
        asymmetry = Math.max(asymmetry, Math.abs(u - a[j + i * rows]));
      }
    }
  }
  const symmetric = options.symmetric ?? asymmetry === 0;
  if (symmetric && !(asymmetry <= 1e-10 * largest)) {
    failRange(operation, 'a', 'a symmetric matrix', `largest difference of its triangles ${asymmetry}`);
  }
  return new LinearOperator({
    rows,
    columns,
    symmetric,
    definiteness: options.definiteness ?? 'unknown',
    name: options.name ?? 'dense',
    apply: (x, out) => kernels.gemv(No, rows, columns, 1, a, 0, rows, x, 0, 1, 0, out, 0, 1),
    applyMany: (x, m, out) => {
      if (m > 0) kernels.gemm(No, No, rows, m, columns, 1, a, 0, rows, x, 0, columns, 0, out, 0, rows);
    },
    toDense: (out) => out.set(a),
  });
}

/** A square operator from a function that writes A x into `out`. */
export function fromFunction(
  size: number,
  apply: (x: Float64Array, out: Float64Array) => void,
  tags: OperatorTags = {},
): LinearOperator {
  checkKeys('fromFunction', 'tags', tags, ['symmetric', 'definiteness', 'name']);
  return new LinearOperator({ rows: size, apply, name: 'function', ...tags });
}

/** The operator diag(d); `d` is held, not copied. */
export function diagonal(d: Float64Array): LinearOperator {
  if (!(d instanceof Float64Array)) failType('diagonal', 'd', 'a Float64Array', d);
  const n = d.length;
  let smallest = Infinity;
  for (let i = 0; i < n; i++) smallest = Math.min(smallest, d[i]);
  return new LinearOperator({
    rows: n,
    symmetric: true,
    definiteness: smallest > 0 ? 'positive-definite' : smallest === 0 ? 'positive-semidefinite' : 'indefinite',
    name: 'diagonal',
    apply: (x, out) => {
      for (let i = 0; i < n; i++) out[i] = d[i] * x[i];
    },
  });
}

/** The identity of a size. */
export function identity(size: number): LinearOperator {
  return new LinearOperator({
    rows: size,
    symmetric: true,
    definiteness: 'positive-definite',
    name: 'identity',
    apply: (x, out) => out.set(x),
    applyMany: (x, _m, out) => out.set(x),
  });
}

/** Anything that solves A x = b: a factorization, or a closure over an iterative solver. */
export interface Solver {
  solve(b: Float64Array): Float64Array | { readonly x: Float64Array };
  /** m right-hand sides, column-major; used for `applyMany` where present */
  solveMany?(b: Float64Array, columns: number): Float64Array | { readonly x: Float64Array };
}

/**
 * The operator A^-1 of anything with `solve`: the form in which a factorization becomes a preconditioner.
 *
 * @param solver its `solve(b)` returns x, or an object with `x`
 * @param size rows of A
 * @param tags `symmetric` defaults to true
 */
export function inverseOf(solver: Solver, size: number, tags: OperatorTags = {}): LinearOperator {
  checkObject('inverseOf', 'solver', solver);
  if (typeof solver.solve !== 'function') failType('inverseOf', 'solver.solve', 'a function', solver.solve);
  checkKeys('inverseOf', 'tags', tags, ['symmetric', 'definiteness', 'name']);
  return new LinearOperator({
    rows: size,
    symmetric: true,
    name: 'inverse',
    ...tags,
    apply: (b, out) => {
      const solution = solver.solve(b);
      out.set(solution instanceof Float64Array ? solution : solution.x);
    },
    applyMany: (b, m, out) => {
      if (solver.solveMany !== undefined && m > 0) {
        const solution = solver.solveMany(b, m);
        out.set(solution instanceof Float64Array ? solution : solution.x);
        return;
      }
      for (let j = 0; j < m; j++) {
        const solution = solver.solve(b.subarray(j * size, (j + 1) * size));
        out.set(solution instanceof Float64Array ? solution : solution.x, j * size);
      }
    },
  });
}
