/** What a check found. */

/** One check: a routine, its error in a unit that makes errors comparable, and the bound that it must keep. */
export interface Verdict {
  /** 'kernels', 'golden', 'identities' */
  group: string;
  /** e.g. 'gemm float64', 'case05 hessian eps=0.001' */
  name: string;
  /** the largest error met; NaN where nothing could be computed */
  error: number;
  /** the error that is accepted */
  bound: number;
  /** what 1 means: 'eps' (units of rounding, scaled as the check says) or 'relative' */
  unit: 'eps' | 'relative' | 'count';
  /** Whether the error is within the bound. */
  passed: boolean;
  /** why a check failed outside its figures, or what it compared */
  note?: string;
}

/** A check to be run. `measure` returns the error. */
export interface Check {
  group: string;
  name: string;
  bound: number;
  unit: Verdict['unit'];
  measure: () => number | Promise<number>;
}

/** Runs one check; what it throws is its failure. An error that is not a number fails. */
export async function judge({ group, name, bound, unit, measure }: Check): Promise<Verdict> {
  try {
    const error = await measure();
    return { group, name, error, bound, unit, passed: error <= bound };
  } catch (failure) {
    const note = failure instanceof Error ? failure.message : String(failure);
    return { group, name, error: Number.NaN, bound, unit, passed: false, note };
  }
}

/** Largest |a - b|; Infinity where one is not a number and the other is. */
export function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Infinity;
  let largest = 0;
  for (let i = 0; i < a.length; i++) {
    if (Object.is(a[i], b[i])) continue;
    const difference = Math.abs(a[i] - b[i]);
    largest = Number.isNaN(difference) ? Infinity : Math.max(largest, difference);
  }
  return largest;
}

/** |a - b| / |b| in the Euclidean norm; |a| where b is zero. */
export function relativeError(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Infinity;
  let difference = 0;
  let size = 0;
  for (let i = 0; i < b.length; i++) {
    difference += (a[i] - b[i]) ** 2;
    size += b[i] ** 2;
  }
  return size > 0 ? Math.sqrt(difference / size) : Math.sqrt(difference);
}
