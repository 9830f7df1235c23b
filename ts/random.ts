/**
 * Seeded pseudo-random numbers: xoshiro128** (Blackman & Vigna 2021) seeded by splitmix32.
 * The state is four 32-bit words, so a checkpoint can store and restore it exactly.
 */
import { checkInteger } from './checks.js';

/** The four 32-bit words of a generator. */
export type RandomState = readonly [number, number, number, number];

/**
 * Seeded pseudo-random numbers, the same on every machine: xoshiro128** (Blackman and Vigna 2021) seeded by
 * splitmix32.
 */
export class Random {
  private a = 0;
  private b = 0;
  private c = 0;
  private d = 0;

  /** @param seed an integer from 0 to 2^32 - 1 */
  constructor(seed: number) {
    checkInteger('Random', 'seed', seed, 0, 0xffffffff);
    let s = seed | 0;
    const next = (): number => {
      s = (s + 0x9e3779b9) | 0;
      let t = s ^ (s >>> 16);
      t = Math.imul(t, 0x21f0aaad);
      t ^= t >>> 15;
      t = Math.imul(t, 0x735a2d97);
      return (t ^ (t >>> 15)) | 0;
    };
    this.a = next();
    this.b = next();
    this.c = next();
    this.d = next();
  }

  /** A generator that continues from a stored state. */
  static from(state: RandomState): Random {
    const r = new Random(0);
    [r.a, r.b, r.c, r.d] = state;
    return r;
  }

  /** The state now; {@link Random.from} goes on from it. */
  get state(): RandomState {
    return [this.a, this.b, this.c, this.d];
  }

  /** The next 32 random bits, unsigned. */
  bits(): number {
    const m = Math.imul(this.b, 5);
    const result = Math.imul((m << 7) | (m >>> 25), 9) >>> 0;
    const t = this.b << 9;
    this.c ^= this.a;
    this.d ^= this.b;
    this.b ^= this.c;
    this.a ^= this.d;
    this.c ^= t;
    this.d = (this.d << 11) | (this.d >>> 21);
    return result;
  }

  /** Uniform in [0, 1), 53 bits. */
  uniform(): number {
    return ((this.bits() >>> 5) * 67108864 + (this.bits() >>> 6)) / 9007199254740992;
  }

  /** Uniform integer in [0, n), without modulo bias. */
  integer(n: number): number {
    const limit = 4294967296 - (4294967296 % n);
    let x = this.bits();
    while (x >= limit) x = this.bits();
    return x % n;
  }

  /** Standard normal (Box & Muller 1958, one of the pair: no hidden state to store). */
  normal(): number {
    const u = 1 - this.uniform();
    return Math.sqrt(-2 * Math.log(u)) * Math.cos(2 * Math.PI * this.uniform());
  }

  /** Fills `out` with standard normals. */
  normals(out: Float64Array): Float64Array {
    for (let i = 0; i < out.length; i++) out[i] = this.normal();
    return out;
  }

  /** Fisher-Yates shuffle, in place. */
  shuffle<T extends Int32Array | Uint32Array | unknown[]>(values: T): T {
    for (let i = values.length - 1; i > 0; i--) {
      const j = this.integer(i + 1);
      const t = values[i];
      values[i] = values[j];
      values[j] = t;
    }
    return values;
  }
}
