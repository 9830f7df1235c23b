/**
 * Column-major blocks with margins for the kernel tests: every block sits at an offset, with a leading dimension
 * larger than its rows, in an array of random numbers, so that reads and writes outside of it show.
 */
import type { Random } from '../../ts/random.js';
import type { Real } from '../../ts/native/kernels.js';

export type RealConstructor = Float64ArrayConstructor | Float32ArrayConstructor;

/** A rows x cols block: element (i, j) is data[offset + i + j * ld]. */
export class Block {
  readonly data: Real;

  constructor(
    readonly rows: number,
    readonly cols: number,
    type: RealConstructor,
    random: Random,
    readonly offset = 0,
    readonly ld = Math.max(1, rows),
    margin = 0,
  ) {
    this.data = new type(offset + Math.max(0, cols) * ld + margin);
    for (let i = 0; i < this.data.length; i++) this.data[i] = random.normal();
  }

  get(i: number, j: number): number {
    return this.data[this.offset + i + j * this.ld];
  }

  set(i: number, j: number, value: number): void {
    this.data[this.offset + i + j * this.ld] = value;
  }

  fill(value: (i: number, j: number) => number): this {
    for (let j = 0; j < this.cols; j++) for (let i = 0; i < this.rows; i++) this.set(i, j, value(i, j));
    return this;
  }

  /** The values of the block alone. */
  dense(): Dense {
    const out = new Dense(this.rows, this.cols);
    for (let j = 0; j < this.cols; j++) for (let i = 0; i < this.rows; i++) out.set(i, j, this.get(i, j));
    return out;
  }

  copy(): Block {
    const out = Object.create(Block.prototype) as { -readonly [K in keyof Block]: Block[K] };
    return Object.assign(out, this, { data: this.data.slice() });
  }

  /** Index of the first element outside of the kept positions that differs from `before`, or -1. */
  firstChange(before: Block, mayChange: (i: number, j: number) => boolean = () => true): number {
    for (let p = 0; p < this.data.length; p++) {
      const q = p - this.offset,
        j = Math.floor(q / this.ld),
        i = q - j * this.ld;
      const inside = q >= 0 && i < this.rows && j < this.cols;
      if (inside && mayChange(i, j)) continue;
      if (!Object.is(this.data[p], before.data[p])) return p;
    }
    return -1;
  }
}

/** A plain column-major matrix of doubles, for naive formulas. */
export class Dense {
  readonly data: Float64Array;

  constructor(
    readonly rows: number,
    readonly cols: number,
    value: (i: number, j: number) => number = () => 0,
  ) {
    this.data = new Float64Array(rows * cols);
    for (let j = 0; j < cols; j++) for (let i = 0; i < rows; i++) this.set(i, j, value(i, j));
  }

  get(i: number, j: number): number {
    return this.data[i + j * this.rows];
  }

  set(i: number, j: number, value: number): void {
    this.data[i + j * this.rows] = value;
  }

  get transposed(): Dense {
    return new Dense(this.cols, this.rows, (i, j) => this.get(j, i));
  }

  times(other: Dense): Dense {
    if (this.cols !== other.rows) throw new Error('shapes do not fit');
    return new Dense(this.rows, other.cols, (i, j) => {
      let sum = 0;
      for (let k = 0; k < this.cols; k++) sum += this.get(i, k) * other.get(k, j);
      return sum;
    });
  }

  scaled(alpha: number): Dense {
    return new Dense(this.rows, this.cols, (i, j) => alpha * this.get(i, j));
  }

  plus(other: Dense): Dense {
    return new Dense(this.rows, this.cols, (i, j) => this.get(i, j) + other.get(i, j));
  }

  /** The symmetric matrix of which one triangle is stored. */
  symmetric(upper: number): Dense {
    return new Dense(this.rows, this.rows, (i, j) =>
      upper ? this.get(Math.min(i, j), Math.max(i, j)) : this.get(Math.max(i, j), Math.min(i, j)),
    );
  }

  /** The triangular matrix in the stored triangle. */
  triangle(upper: number, unit: number): Dense {
    return new Dense(this.rows, this.rows, (i, j) =>
      i === j && unit ? 1 : (upper ? i <= j : i >= j) ? this.get(i, j) : 0,
    );
  }

  get largest(): number {
    let out = 0;
    for (const value of this.data) out = Math.max(out, Math.abs(value));
    return out;
  }

  distance(other: Dense): number {
    let out = 0;
    for (let p = 0; p < this.data.length; p++) {
      const difference = Math.abs(this.data[p] - other.data[p]);
      if (!(difference <= out)) out = difference; // NaN counts as a distance
    }
    return out;
  }
}

export const identity = (n: number): Dense => new Dense(n, n, (i, j) => (i === j ? 1 : 0));
