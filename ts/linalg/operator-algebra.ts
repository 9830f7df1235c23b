/**
 * Operators made of operators: shifts, multiples, sums, products. Tags follow the algebra where it decides them.
 *
 * Each operator owns the work vectors it needs, allocated at its first use, so it must not be applied from within its
 * own `apply`.
 */
import { checkFinite, checkKeys, failRange, failType } from '../checks.js';
import { checkSquare, type Definiteness, LinearOperator, type OperatorTags } from './linear-operator.js';
import { axpy, scale } from './vectors.js';

const nonNegativeTags: readonly Definiteness[] = ['positive-definite', 'positive-semidefinite'];

/** A + sigma I. For sigma > 0 a positive (semi)definite A becomes positive definite. */
export function shifted(a: LinearOperator, sigma: number): LinearOperator {
  checkSquare('shifted', 'a', a);
  checkFinite('shifted', 'sigma', sigma);
  let definiteness: Definiteness = 'unknown';
  if (sigma === 0) definiteness = a.definiteness;
  else if (sigma > 0 && nonNegativeTags.includes(a.definiteness)) definiteness = 'positive-definite';
  return new LinearOperator({
    rows: a.rows,
    symmetric: a.symmetric,
    definiteness,
    name: `${a.name} + ${sigma} I`,
    apply: (x, out) => {
      a.apply(x, out);
      axpy(sigma, x, out);
    },
    applyMany: (x, m, out) => {
      a.applyMany(x, m, out);
      axpy(sigma, x, out);
    },
  });
}

/** factor * A. */
export function scaled(a: LinearOperator, factor: number): LinearOperator {
  if (!(a instanceof LinearOperator)) failType('scaled', 'a', 'a LinearOperator', a);
  checkFinite('scaled', 'factor', factor);
  let definiteness: Definiteness = 'unknown';
  if (factor > 0) definiteness = a.definiteness;
  else if (factor === 0) definiteness = 'positive-semidefinite';
  else if (a.definiteness === 'positive-definite') definiteness = 'indefinite';
  return new LinearOperator({
    rows: a.rows,
    columns: a.columns,
    symmetric: a.symmetric,
    definiteness,
    name: `${factor} ${a.name}`,
    apply: (x, out) => {
      a.apply(x, out);
      scale(factor, out);
    },
    applyMany: (x, m, out) => {
      a.applyMany(x, m, out);
      scale(factor, out);
    },
  });
}

/** A + B + ... of equal shapes. */
export function sum(...terms: LinearOperator[]): LinearOperator {
  if (terms.length === 0) failRange('sum', 'terms', 'at least one operator', terms);
  const first = terms[0];
  let symmetric = true;
  let semidefinite = true;
  let definite = false;
  for (const term of terms) {
    if (!(term instanceof LinearOperator)) failType('sum', 'terms', 'LinearOperators', term);
    if (term.rows !== first.rows || term.columns !== first.columns) {
      failRange('sum', 'terms', `operators of shape ${first.rows} x ${first.columns}`, term.describe());
    }
    symmetric &&= term.symmetric;
    semidefinite &&= nonNegativeTags.includes(term.definiteness);
    definite ||= term.definiteness === 'positive-definite';
  }
  let work = new Float64Array(0);
  const grow = (length: number): Float64Array => {
    if (work.length < length) work = new Float64Array(length);
    return work.length === length ? work : work.subarray(0, length);
  };
  return new LinearOperator({
    rows: first.rows,
    columns: first.columns,
    symmetric,
    definiteness: !semidefinite ? 'unknown' : definite ? 'positive-definite' : 'positive-semidefinite',
    name: terms.map((term) => term.name).join(' + '),
    apply: (x, out) => {
      first.apply(x, out);
      for (let t = 1; t < terms.length; t++) axpy(1, terms[t].apply(x, grow(out.length)), out);
    },
    applyMany: (x, m, out) => {
      first.applyMany(x, m, out);
      for (let t = 1; t < terms.length; t++) axpy(1, terms[t].applyMany(x, m, grow(out.length)), out);
    },
  });
}

/**
 * The product A B ... (the last factor acts first).
 *
 * A product of symmetric operators is in general not symmetric: pass `symmetric: true` where it is (A B A, or operators
 * that commute).
 */
export function product(factors: readonly LinearOperator[], tags: OperatorTags = {}): LinearOperator {
  const given: unknown = factors;
  if (!Array.isArray(given)) failType('product', 'factors', 'an array of LinearOperators', given);
  if (factors.length === 0) failRange('product', 'factors', 'at least one operator', factors);
  checkKeys('product', 'tags', tags, ['symmetric', 'definiteness', 'name']);
  const list: LinearOperator[] = [...factors];
  for (const factor of list) {
    if (!(factor instanceof LinearOperator)) failType('product', 'factors', 'LinearOperators', factor);
  }
  for (let f = 1; f < list.length; f++) {
    if (list[f - 1].columns !== list[f].rows) {
      failRange('product', `factors[${f}]`, `an operator with ${list[f - 1].columns} rows`, list[f].describe());
    }
  }
  // One work array for the result of every factor but the leftmost, grown to the largest block seen.
  const work: Float64Array[] = list.map(() => new Float64Array(0));
  const run = (x: Float64Array, m: number, out: Float64Array): void => {
    let input = x;
    for (let f = list.length - 1; f >= 0; f--) {
      const length = list[f].rows * m;
      if (f > 0 && work[f].length !== length) work[f] = new Float64Array(length);
      input = list[f].applyMany(input, m, f === 0 ? out : work[f]);
    }
  };
  return new LinearOperator({
    rows: list[0].rows,
    columns: list[list.length - 1].columns,
    symmetric: list.length === 1 && list[0].symmetric,
    definiteness: list.length === 1 ? list[0].definiteness : 'unknown',
    name: list.map((factor) => factor.name).join(' * '),
    ...tags,
    apply: (x, out) => run(x, 1, out),
    applyMany: run,
  });
}
