/**
 * The activations act(s) with their first and second derivatives, element by element, each to a few ulp and without
 * overflow for any finite s. u = exp(-|s|) (or exp(-2|s|)) never overflows, and no formula subtracts nearby numbers
 * except where the derivative itself crosses zero.
 */
import type { Real } from '../kernels.js';

/**
 * Chebyshev coefficients in t = (x - 3.75) / (x + 3.75) of (1 + 2x) exp(x^2) erfc(x), x >= 0 (the form of Shepherd &
 * Laframboise 1981), computed with 60 digits; the first term left out is 5e-18.
 */
const erfcSeries = [
  1.1775789345674017541, -0.0045900545806464773309, -0.084249133366517915584, 0.059209939998191890498,
  -0.026658668435305752277, 0.0090749976707052650939, -0.0024131635404176081909, 0.00049077583652580863229,
  -0.000069169733025012063671, 4.1390279860730101675e-6, 7.7403830661984906686e-7, -2.1886401049234395661e-7,
  1.0764999465670910377e-8, 4.5219598112182868979e-9, -7.7544002088311511065e-10, -6.3180883408866844944e-11,
  2.8687950109306698981e-11, 1.945586854577734723e-13, -9.6546967484334389059e-13, 3.2525481481487398415e-14,
  3.3478119482868053878e-14, -1.8645628804193131015e-15, -1.2507950530688647085e-15, 7.418235256624043463e-17,
  5.0681489047961113168e-17, -2.2370566594359995974e-18,
];

/** exp(-s^2 / 2) without the rounding error of s^2: s = h + (s - h) with h of 24 bits, whose square is exact. */
function gaussian(s: number): number {
  const h = Math.fround(s);
  return Math.exp((-h * h) / 2) * Math.exp((-(s - h) * (s + h)) / 2);
}

/** The distribution Phi(s) of the standard normal, from its density's kernel `g` = exp(-s^2 / 2). */
function normalDistribution(s: number, g: number): number {
  const x = Math.abs(s) * Math.SQRT1_2;
  const t = (x - 3.75) / (x + 3.75);
  // Clenshaw recurrence
  let b1 = 0,
    b2 = 0;
  for (let k = erfcSeries.length - 1; k > 0; k--) {
    const b0 = 2 * t * b1 - b2 + erfcSeries[k];
    b2 = b1;
    b1 = b0;
  }
  const tail = (0.5 * g * (t * b1 - b2 + erfcSeries[0])) / (1 + 2 * x);
  return s > 0 ? 1 - tail : tail;
}

/** Writes (act, act', act'') of one s into out[0..2]. */
export type Activation = (s: number, out: Float64Array) => void;

const identity: Activation = (s, out) => {
  out[0] = s;
  out[1] = 1;
  out[2] = 0;
};

const tanh: Activation = (s, out) => {
  const u = Math.exp(-2 * Math.abs(s)),
    t = Math.tanh(s);
  const slope = (4 * u) / ((1 + u) * (1 + u)); // sech^2
  out[0] = t;
  out[1] = slope;
  out[2] = -2 * t * slope;
};

const sigmoid: Activation = (s, out) => {
  const u = Math.exp(-Math.abs(s));
  const slope = u / ((1 + u) * (1 + u));
  out[0] = s >= 0 ? 1 / (1 + u) : u / (1 + u);
  out[1] = slope;
  out[2] = -slope * Math.tanh(s / 2); // 1 - 2 sigmoid(s) = -tanh(s / 2)
};

const softplus: Activation = (s, out) => {
  const u = Math.exp(-Math.abs(s));
  out[0] = Math.max(s, 0) + Math.log1p(u);
  out[1] = s >= 0 ? 1 / (1 + u) : u / (1 + u);
  out[2] = u / ((1 + u) * (1 + u));
};

/** s Phi(s) with the normal distribution Phi (Hendrycks & Gimpel 2016), not the tanh approximation. */
const gelu: Activation = (s, out) => {
  const far = Math.abs(s) > 40; // the density is below the smallest number
  const g = far ? 0 : gaussian(s);
  const density = g / Math.sqrt(2 * Math.PI);
  const cumulative = far ? (s > 0 ? 1 : 0) : normalDistribution(s, g);
  out[0] = s * cumulative;
  out[1] = far ? cumulative : cumulative + s * density;
  out[2] = far ? 0 : density * (2 - s * s);
};

const silu: Activation = (s, out) => {
  const u = Math.exp(-Math.abs(s));
  const p = s >= 0 ? 1 / (1 + u) : u / (1 + u),
    q = s >= 0 ? u / (1 + u) : 1 / (1 + u);
  out[0] = s * p;
  out[1] = p * (1 + s * q);
  out[2] = p * q * (2 - s * Math.tanh(s / 2));
};

const sine: Activation = (s, out) => {
  const value = Math.sin(s);
  out[0] = value;
  out[1] = Math.cos(s);
  out[2] = -value;
};

/** max(s, 0); slope 0 at the kink and second derivative 0 everywhere by convention. */
const relu: Activation = (s, out) => {
  out[0] = Math.max(s, 0);
  out[1] = s > 0 ? 1 : 0;
  out[2] = 0;
};

/** Indexed by the codes of `activationCodes`. */
const activations: readonly Activation[] = [identity, tanh, sigmoid, softplus, gelu, silu, sine, relu];

/** Unchecked form of the kernel `activate`. */
export function activateCore(
  code: number,
  rows: number,
  cols: number,
  s: Real,
  so: number,
  bias: Real | null,
  biasOffset: number,
  residual: Real | null,
  ro: number,
  z: Real | null,
  zo: number,
  d1: Real | null,
  o1: number,
  d2: Real | null,
  o2: number,
): void {
  const act = activations[code];
  const out = new Float64Array(3);
  for (let j = 0; j < cols; j++) {
    const shift = bias === null ? 0 : bias[biasOffset + j];
    for (let i = j * rows; i < (j + 1) * rows; i++) {
      if (bias !== null) s[so + i] += shift;
      act(s[so + i], out);
      if (z !== null) z[zo + i] = residual === null ? out[0] : residual[ro + i] + out[0];
      if (d1 !== null) d1[o1 + i] = out[1];
      if (d2 !== null) d2[o2 + i] = out[2];
    }
  }
}
