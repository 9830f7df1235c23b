// Vector loops around the dense kernels, written plainly: the compiler vectorises them. Part of fused_body.h.

// Sixteen partial sums in a fixed order; double precision throughout, also for floats.
template <class T>
static double dot(std::ptrdiff_t n, const T* x, const T* y) {
  constexpr int kSums = 32;
  double sums[kSums] = {};
  std::ptrdiff_t i = 0;
  for (; i + kSums <= n; i += kSums) {
    for (int s = 0; s < kSums; s++) sums[s] += static_cast<double>(x[i + s]) * static_cast<double>(y[i + s]);
  }
  for (int s = 0; i < n; i++, s++) sums[s] += static_cast<double>(x[i]) * static_cast<double>(y[i]);
  for (int half = kSums / 2; half > 0; half /= 2) {
    for (int s = 0; s < half; s++) sums[s] += sums[s + half];
  }
  return sums[0];
}

// The plain sum of squares, unless it over- or underflowed: then scaled by the largest entry.
template <class T>
static double nrm2(std::ptrdiff_t n, const T* x) {
  const double square = dot(n, x, x);
  if ((square > 1e-270 && square < 1e300) || square != square) return __builtin_sqrt(square);
  double largest = 0;
  for (std::ptrdiff_t i = 0; i < n; i++) {
    const double size = __builtin_fabs(static_cast<double>(x[i]));
    if (size > largest) largest = size;
  }
  if (largest == 0 || largest > 1.7976931348623157e308) return largest;
  // By powers of two, in two steps: the reciprocal of the smallest numbers is not representable.
  const double scale = largest < 1 ? 0x1p+900 : 0x1p-537;
  double sum = 0;
  for (std::ptrdiff_t i = 0; i < n; i++) {
    const double scaled = static_cast<double>(x[i]) * scale;
    sum += scaled * scaled;
  }
  return __builtin_sqrt(sum) / scale;
}

template <class T>
static void axpy(std::ptrdiff_t n, T alpha, const T* __restrict x, T* __restrict y) {
  for (std::ptrdiff_t i = 0; i < n; i++) y[i] += alpha * x[i];
}

template <class T>
static void hadamard(int accumulate, std::ptrdiff_t n, const T* x, const T* y, T* out) {
  // `out` may be x or y: element by element, so no restrict; the loop is safe to vectorise for equal pointers.
  if (accumulate) {
#pragma GCC ivdep
    for (std::ptrdiff_t i = 0; i < n; i++) out[i] += x[i] * y[i];
  } else {
#pragma GCC ivdep
    for (std::ptrdiff_t i = 0; i < n; i++) out[i] = x[i] * y[i];
  }
}

template <class T>
static void columnSums(int accumulate, std::ptrdiff_t rows, std::ptrdiff_t cols, const T* a, std::ptrdiff_t lda, T* out) {
  constexpr int kSums = 16;
  for (std::ptrdiff_t j = 0; j < cols; j++, a += lda) {
    double sums[kSums] = {};
    std::ptrdiff_t i = 0;
    for (; i + kSums <= rows; i += kSums) {
      for (int s = 0; s < kSums; s++) sums[s] += a[i + s];
    }
    for (int s = 0; i < rows; i++, s++) sums[s] += a[i];
    for (int half = kSums / 2; half > 0; half /= 2) {
      for (int s = 0; s < half; s++) sums[s] += sums[s + half];
    }
    out[j] = static_cast<T>(accumulate ? out[j] + sums[0] : sums[0]);
  }
}

template <class T>
static void scaleRows(int right, std::ptrdiff_t m, std::ptrdiff_t n, const T* d, const T* a, std::ptrdiff_t lda, T* b, std::ptrdiff_t ldb) {
  for (std::ptrdiff_t j = 0; j < n; j++, a += lda, b += ldb) {
    if (right) {
      const T factor = d[j];
#pragma GCC ivdep
      for (std::ptrdiff_t i = 0; i < m; i++) b[i] = a[i] * factor;
    } else {
#pragma GCC ivdep
      for (std::ptrdiff_t i = 0; i < m; i++) b[i] = d[i] * a[i];
    }
  }
}

template <class T>
static void scaleSymmetric(std::ptrdiff_t n, const T* a, std::ptrdiff_t lda, const T* d, const T* c, T* b, std::ptrdiff_t ldb) {
  for (std::ptrdiff_t j = 0; j < n; j++, a += lda, b += ldb) {
    if (d) {
      const T factor = d[j];
#pragma GCC ivdep
      for (std::ptrdiff_t i = 0; i < n; i++) b[i] = (d[i] * factor) * a[i];  // symmetric to the last bit
    } else if (a != b) {
      __builtin_memcpy(b, a, static_cast<std::size_t>(n) * sizeof(T));
    }
    if (c) b[j] += c[j];
  }
}

template <class T>
static void adamStep(std::ptrdiff_t n, T* __restrict params, const T* __restrict gradient, T* __restrict m, T* __restrict v,
                     T rate, T beta1, T beta2, T correction1, T correction2, T epsilon, T decay) {
  const T keep = 1 - rate * decay, inverse1 = 1 / correction1, inverse2 = 1 / correction2;
  for (std::ptrdiff_t i = 0; i < n; i++) {
    const T g = gradient[i];
    m[i] = beta1 * m[i] + (1 - beta1) * g;
    v[i] = beta2 * v[i] + (1 - beta2) * (g * g);
    params[i] = params[i] * keep - rate * (m[i] * inverse1) / (__builtin_sqrt(v[i] * inverse2) + epsilon);
  }
}

template <class T>
static void sgdStep(std::ptrdiff_t n, T* __restrict params, const T* __restrict gradient, T* __restrict velocity,
                    T rate, T momentum, int nesterov, T decay) {
  if (nesterov) {
    for (std::ptrdiff_t i = 0; i < n; i++) {
      const T g = gradient[i] + decay * params[i];
      velocity[i] = momentum * velocity[i] + g;
      params[i] -= rate * (g + momentum * velocity[i]);
    }
  } else {
    for (std::ptrdiff_t i = 0; i < n; i++) {
      const T g = gradient[i] + decay * params[i];
      velocity[i] = momentum * velocity[i] + g;
      params[i] -= rate * velocity[i];
    }
  }
}
