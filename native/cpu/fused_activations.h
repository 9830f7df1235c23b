// Element-wise activations with their first two derivatives, branch-free on vectors of doubles. Part of
// fused_body.h.
//
// The aim is a few units in the last place, relative, wherever the function itself is well conditioned: act' of a
// saturated tanh is 4e / (1 + e)^2 with e = exp(-2|s|), never 1 - z^2. Floats go through doubles in blocks.

typedef double Vd __attribute__((vector_size(FUSED_BYTES)));
typedef std::int64_t Vi __attribute__((vector_size(FUSED_BYTES)));
typedef std::uint64_t Vu __attribute__((vector_size(FUSED_BYTES)));

FUSED_INLINE Vd splat(double x) { return Vd{} + x; }
FUSED_INLINE Vd magnitude(Vd x) { return (Vd)((Vi)x & INT64_MAX); }
FUSED_INLINE Vd withSignOf(Vd size, Vd sign) { return (Vd)(((Vi)size & INT64_MAX) | ((Vi)sign & INT64_MIN)); }

// Adding 1.5 * 2^52 rounds to an integer, which then stands in the low bits.
constexpr double kRound = 6755399441055744.0;

// e = exp(x + extra) and em = exp(x + extra) - 1 for x <= 0 and |extra| < 1e-4, both to about an ulp.
// x = k ln 2 + r, |r| <= ln 2 / 2; exp(r) - 1 = r + r^2 / 2! + .. + r^13 / 13! (the next term is below 2e-17 r).
FUSED_INLINE void expNegative(Vd x, Vd extra, Vd& e, Vd& em) {
  const Vd least = splat(-750.0);  // exp(-750) is 0 in double precision
  x = x < least ? least : x;
  const Vd t = x * 1.4426950408889634 + kRound;
  const Vd k = t - kRound;
  // ln 2 in two parts; the first has 21 zero bits behind, so that k times it is exact.
  const Vd r = ((x - k * 6.93147180369123816490e-01) - k * 1.90821492927058770002e-10) + extra;
  const Vd r2 = r * r, r4 = r2 * r2;
  const Vd p0 = (1.0 / 2 + r * (1.0 / 6)) + r2 * (1.0 / 24 + r * (1.0 / 120));
  const Vd p1 = (1.0 / 720 + r * (1.0 / 5040)) + r2 * (1.0 / 40320 + r * (1.0 / 362880));
  const Vd p2 = (1.0 / 3628800 + r * (1.0 / 39916800)) + r2 * (1.0 / 479001600 + r * (1.0 / 6227020800.0));
  const Vd q = r + r2 * (p0 + r4 * (p1 + r4 * p2));
  // 2^k = first * second, each a normal number, so that results below the normal range come out right.
  const Vu shifted = (Vu)((Vi)t - (Vi)splat(kRound)) + 2048u;  // k + 2048 > 0
  const Vu half = shifted >> 1;
  const Vd first = (Vd)((half - 1u) << 52), second = (Vd)((shifted - half - 1u) << 52);  // bias: 1023 = 1024 - 1
  const Vd scaled = first * q;
  e = (first + scaled) * second;
  em = second * scaled + (first * second - 1.0);
}

// log(1 + e) for 0 <= e <= 1: 2 atanh(w), w = e / (2 + e), or ln 2 + 2 atanh((e - 1) / (e + 3)) when e > sqrt(2) - 1.
FUSED_INLINE Vd log1pUnit(Vd e) {
  const auto high = e > splat(0.41421356237309503);
  const Vd w = (high ? e - 1.0 : e) / (high ? e + 3.0 : e + 2.0);
  const Vd u = w * w;  // <= 0.0295: eleven terms leave less than 1e-18
  Vd p = splat(1.0 / 23);
  p = p * u + 1.0 / 21;
  p = p * u + 1.0 / 19;
  p = p * u + 1.0 / 17;
  p = p * u + 1.0 / 15;
  p = p * u + 1.0 / 13;
  p = p * u + 1.0 / 11;
  p = p * u + 1.0 / 9;
  p = p * u + 1.0 / 7;
  p = p * u + 1.0 / 5;
  p = p * u + 1.0 / 3;
  const Vd w2 = w + w;
  return (high ? splat(0.69314718055994531) : Vd{}) + (w2 + w2 * (u * p));
}

// Normal density and upper tail at a >= 0: phi = exp(-a^2/2) / sqrt(2 pi), tail = erfc(a / sqrt 2) / 2, both to a few
// ulp far into the tail. tail = exp(-a^2/2) G(t) / (1 + a), t = (a - 5) / (a + 5): the smooth function G on [-1, 1] is
// the Chebyshev expansion of degree 23 (the form of Shepherd & Laframboise 1981), truncation below 2e-17.
FUSED_INLINE void normalTail(Vd a, Vd& phi, Vd& tail) {
  const Vd most = splat(40.0);
  a = a > most ? most : a;
  // a^2 without rounding error: hi has 26 bits, so its square is exact; the rest goes to the exponent as `extra`.
  const Vd hi = (Vd)((Vi)a & ~((std::int64_t{1} << 27) - 1));
  Vd e, em;
  expNegative(-0.5 * (hi * hi), -0.5 * ((a + hi) * (a - hi)), e, em);
  const Vd inverse = 1.0 / ((a + 5.0) * (a + 1.0));
  const Vd t = (a - 5.0) * (a + 1.0) * inverse;
  const Vd t2 = t * t;
  Vd odd = splat(-3.815816262632953e-10), even = splat(-2.8220772290629865e-10);
  odd = odd * t2 + 4.4011596227599254e-09;
  even = even * t2 + 3.627373163401201e-09;
  odd = odd * t2 + -3.095201755804207e-08;
  even = even * t2 + -2.6286205089898754e-08;
  odd = odd * t2 + 1.9627809920091187e-07;
  even = even * t2 + 1.27878221820937e-07;
  odd = odd * t2 + -1.3074486019237587e-06;
  even = even * t2 + -7.034644683537101e-08;
  odd = odd * t2 + 9.05982468125664e-06;
  even = even * t2 + -9.896097759279782e-06;
  odd = odd * t2 + -5.36075811148722e-05;
  even = even * t2 + 0.00018233414511643843;
  odd = odd * t2 + 7.791597409338999e-06;
  even = even * t2 + -0.00167607234455447;
  odd = odd * t2 + 0.006522000667783896;
  even = even * t2 + -0.015170415402514863;
  odd = odd * t2 + 0.024536963243678652;
  even = even * t2 + -0.026401042966308307;
  odd = odd * t2 + 0.010002352385229382;
  even = even * t2 + 0.031030368425963708;
  odd = odd * t2 + -0.09155228183400904;
  even = even * t2 + 0.46151582985003775;
  phi = e * 0.3989422804014327;
  tail = e * ((even + t * odd) * ((a + 5.0) * inverse));
}

// Beyond this the three-part reduction below loses digits and the C library takes over.
constexpr double kSineLimit = 1e6;

// sin and cos for |s| <= kSineLimit: s = k pi/2 + r with pi/2 in three parts (the first two of 33 bits, so that k times
// them is exact), then the Taylor polynomials on |r| <= pi/4.
FUSED_INLINE void sineCosine(Vd s, Vd& sine, Vd& cosine) {
  const Vd t = s * 0.63661977236758134 + kRound;
  const Vd k = t - kRound;
  const Vd r = ((s - k * 1.57079632673412561417e+00) - k * 6.07710050630396597660e-11) - k * 2.02226624879595063154e-21;
  const Vd u = r * r;
  Vd p = splat(1.0 / 355687428096000.0);
  p = p * u + -1.0 / 1307674368000.0;
  p = p * u + 1.0 / 6227020800.0;
  p = p * u + -1.0 / 39916800;
  p = p * u + 1.0 / 362880;
  p = p * u + -1.0 / 5040;
  p = p * u + 1.0 / 120;
  p = p * u + -1.0 / 6;
  const Vd sin = r + r * (u * p);
  Vd c = splat(1.0 / 20922789888000.0);
  c = c * u + -1.0 / 87178291200.0;
  c = c * u + 1.0 / 479001600;
  c = c * u + -1.0 / 3628800;
  c = c * u + 1.0 / 40320;
  c = c * u + -1.0 / 720;
  c = c * u + 1.0 / 24;
  const Vd cos = 1.0 - u * (0.5 - u * c);
  const Vi quadrant = (Vi)t - (Vi)splat(kRound);
  const auto swap = (quadrant & 1) != 0;
  sine = (Vd)((Vi)(swap ? cos : sin) ^ ((quadrant & 2) << 62));
  cosine = (Vd)((Vi)(swap ? sin : cos) ^ (((quadrant + 1) & 2) << 62));
}

// act(s), act'(s), act''(s).
template <int Code>
FUSED_INLINE void evaluate(Vd s, Vd& z, Vd& d1, Vd& d2) {
  if constexpr (Code == kIdentity) {
    z = s;
    d1 = splat(1.0);
    d2 = Vd{};
  } else if constexpr (Code == kRelu) {
    z = s <= Vd{} ? Vd{} : s;  // a NaN stays one
    d1 = s > Vd{} ? splat(1.0) : Vd{};
    d2 = Vd{};
  } else if constexpr (Code == kTanh) {
    Vd e, em;
    expNegative(-2.0 * magnitude(s), Vd{}, e, em);
    const Vd inverse = 1.0 / (2.0 + em);
    z = withSignOf(em * inverse, s);
    d1 = 4.0 * e * (inverse * inverse);
    d2 = -2.0 * z * d1;
  } else if constexpr (Code == kSigmoid || Code == kSoftplus || Code == kSilu) {
    Vd e, em;
    expNegative(-magnitude(s), Vd{}, e, em);
    const Vd inverse = 1.0 / (2.0 + em), small = e * inverse;  // sigmoid(|s|), sigmoid(-|s|)
    const auto negative = s < Vd{};
    const Vd sigmoid = negative ? small : inverse;
    const Vd slope = small * inverse;
    const Vd flip = withSignOf(em * inverse, -s);  // 1 - 2 sigmoid(s) = -tanh(s/2), without cancellation
    if constexpr (Code == kSigmoid) {
      z = sigmoid;
      d1 = slope;
      d2 = slope * flip;
    } else if constexpr (Code == kSoftplus) {
      z = (s > Vd{} ? s : Vd{}) + log1pUnit(e);
      z = s == s ? z : s;
      d1 = sigmoid;
      d2 = slope;
    } else {
      const Vd other = negative ? inverse : small;  // 1 - sigmoid(s)
      z = s * sigmoid;
      d1 = sigmoid * (1.0 + s * other);
      d2 = slope * (2.0 + s * flip);
    }
  } else if constexpr (Code == kGelu) {
    Vd phi, tail;
    normalTail(magnitude(s), phi, tail);
    const Vd distribution = s < Vd{} ? tail : 1.0 - tail;
    z = s * distribution;
    d1 = distribution + s * phi;
    // phi is 0 from |s| = 39 on, where s^2 may overflow.
    const Vd bounded = magnitude(s) > splat(1e3) ? splat(1e3) : s;
    d2 = phi * (2.0 - bounded * bounded);
  } else {
    sineCosine(s, z, d1);
    d2 = -z;
  }
}

template <int Code>
FUSED_INLINE void evaluateSafely(Vd s, Vd& z, Vd& d1, Vd& d2) {
  evaluate<Code>(s, z, d1, d2);
  if constexpr (Code == kSine) {
    const Vd size = magnitude(s);
    bool within = true;
    for (int i = 0; i < Lanes<double>::kCount; i++) within &= size[i] <= kSineLimit;
    if (!within) {
      for (int i = 0; i < Lanes<double>::kCount; i++) {
        if (size[i] <= kSineLimit) continue;
        z[i] = ::sin(s[i]);
        d1[i] = ::cos(s[i]);
        d2[i] = -z[i];
      }
    }
  }
}

// One run of n elements. `residual`, `z`, `d1`, `d2` may be null.
template <int Code>
static void activateRun(std::ptrdiff_t n, double* s, double bias, const double* residual, double* z, double* d1, double* d2) {
  constexpr int W = Lanes<double>::kCount;
  Vd value, first, second;
  std::ptrdiff_t i = 0;
  for (; i + W <= n; i += W) {
    const Vd biased = load(s + i) + bias;
    store(s + i, biased);
    evaluateSafely<Code>(biased, value, first, second);
    if (z) store(z + i, residual ? load(residual + i) + value : value);
    if (d1) store(d1 + i, first);
    if (d2) store(d2 + i, second);
  }
  if (i < n) {
    const std::size_t bytes = static_cast<std::size_t>(n - i) * sizeof(double);
    Vd biased{};
    __builtin_memcpy(&biased, s + i, bytes);
    biased += bias;
    __builtin_memcpy(s + i, &biased, bytes);
    evaluateSafely<Code>(biased, value, first, second);
    if (residual) {
      Vd rest{};
      __builtin_memcpy(&rest, residual + i, bytes);
      value += rest;
    }
    if (z) __builtin_memcpy(z + i, &value, bytes);
    if (d1) __builtin_memcpy(d1 + i, &first, bytes);
    if (d2) __builtin_memcpy(d2 + i, &second, bytes);
  }
}

typedef void (*ActivateRun)(std::ptrdiff_t, double*, double, const double*, double*, double*, double*);
static const ActivateRun kActivateRuns[kActivationCount] = {
    activateRun<kIdentity>, activateRun<kTanh>, activateRun<kSigmoid>, activateRun<kSoftplus>,
    activateRun<kGelu>,     activateRun<kSilu>, activateRun<kSine>,    activateRun<kRelu>,
};

FUSED_INLINE void activateBlock(ActivateRun run, std::ptrdiff_t rows, std::ptrdiff_t cols, double* s, const double* bias,
                                const double* residual, double* z, double* d1, double* d2) {
  // Short columns would waste lanes at every end: there the bias gets its own pass and the block is one long run.
  constexpr std::ptrdiff_t kLongColumn = 64;
  if (bias == nullptr || rows < kLongColumn) {
    if (bias != nullptr) {
      for (std::ptrdiff_t j = 0; j < cols; j++) {
        for (std::ptrdiff_t i = 0; i < rows; i++) s[j * rows + i] += bias[j];
      }
    }
    // -0 is the neutral element of addition also for -0.
    return run(rows * cols, s, -0.0, residual, z, d1, d2);
  }
  for (std::ptrdiff_t j = 0; j < cols; j++) {
    const std::ptrdiff_t o = j * rows;
    run(rows, s + o, bias[j], residual ? residual + o : nullptr, z ? z + o : nullptr, d1 ? d1 + o : nullptr, d2 ? d2 + o : nullptr);
  }
}

template <class T>
static void activate(int code, std::ptrdiff_t rows, std::ptrdiff_t cols, T* s, const T* bias, const T* residual, T* z, T* d1, T* d2) {
  const ActivateRun run = kActivateRuns[code];
  if constexpr (sizeof(T) == sizeof(double)) {
    activateBlock(run, rows, cols, s, bias, residual, z, d1, d2);
  } else {
    constexpr std::ptrdiff_t kBlock = 256;
    double sBlock[kBlock], zBlock[kBlock], d1Block[kBlock], d2Block[kBlock];
    if (bias) {
      for (std::ptrdiff_t j = 0; j < cols; j++) {
        for (std::ptrdiff_t i = 0; i < rows; i++) s[j * rows + i] += bias[j];
      }
    }
    for (std::ptrdiff_t o = 0; o < rows * cols; o += kBlock) {
      const std::ptrdiff_t n = smaller(kBlock, rows * cols - o);
      for (std::ptrdiff_t i = 0; i < n; i++) sBlock[i] = s[o + i];
      run(n, sBlock, -0.0, nullptr, z ? zBlock : nullptr, d1 ? d1Block : nullptr, d2 ? d2Block : nullptr);
      if (z && residual) {
        for (std::ptrdiff_t i = 0; i < n; i++) z[o + i] = static_cast<float>(residual[o + i] + zBlock[i]);
      } else if (z) {
        for (std::ptrdiff_t i = 0; i < n; i++) z[o + i] = static_cast<float>(zBlock[i]);
      }
      if (d1) for (std::ptrdiff_t i = 0; i < n; i++) d1[o + i] = static_cast<float>(d1Block[i]);
      if (d2) for (std::ptrdiff_t i = 0; i < n; i++) d2[o + i] = static_cast<float>(d2Block[i]);
    }
  }
}
