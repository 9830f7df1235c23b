/** Sample means and their 95 % intervals. */

/** Student's t, two-sided 95 % points, for 1 to 30 degrees of freedom (standard table, e.g. Abramowitz & Stegun 26.10). */
const studentT95 = [
  12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.16, 2.145, 2.131, 2.12, 2.11,
  2.101, 2.093, 2.086, 2.08, 2.074, 2.069, 2.064, 2.06, 2.056, 2.052, 2.048, 2.045, 2.042,
];

/** The multiple of the standard error that makes a two-sided 95 % interval; `freedom` >= 1, NaN for 0. */
export function studentT(freedom: number): number {
  if (freedom < 1) return NaN;
  if (freedom <= 30) return studentT95[freedom - 1];
  // Expansion in 1 / freedom (Abramowitz & Stegun 26.7.5), correct to 1e-4 from here on.
  const z = 1.959964;
  return z + (z ** 3 + z) / (4 * freedom) + (5 * z ** 5 + 16 * z ** 3 + 3 * z) / (96 * freedom * freedom);
}

/** Running mean and variance (Welford 1962). */
export class RunningMean {
  count = 0;
  mean = 0;
  private squares = 0;

  add(value: number): void {
    this.count++;
    const difference = value - this.mean;
    this.mean += difference / this.count;
    this.squares += difference * (value - this.mean);
  }

  /** Standard deviation of the mean; NaN below two samples. */
  get standardError(): number {
    return this.count < 2 ? NaN : Math.sqrt(this.squares / (this.count - 1) / this.count);
  }

  /** Half-width of the 95 % interval; NaN below two samples. */
  get errorBar(): number {
    return studentT(this.count - 1) * this.standardError;
  }
}
