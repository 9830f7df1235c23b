/**
 * Work vectors that outlive one call. A solver asks for vectors by number; the same numbers give the same arrays
 * in the next call of the same sizes, so repeated solves allocate nothing but what they return.
 *
 * One workspace serves one run at a time: a solver inside a preconditioner needs a workspace of its own.
 */
export class Workspace {
  private readonly vectors: Float64Array[] = [];

  /** Work vector number `slot`, exactly `length` long, contents unspecified. */
  vector(slot: number, length: number): Float64Array {
    const held = this.vectors[slot];
    if (held !== undefined && held.length === length) return held;
    const fresh = new Float64Array(length);
    this.vectors[slot] = fresh;
    return fresh;
  }

  /** Bytes held now. */
  get bytes(): number {
    let sum = 0;
    for (const v of this.vectors) if (v !== undefined) sum += v.byteLength;
    return sum;
  }
}
