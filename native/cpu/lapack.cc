#include "cpu/lapack.h"

#include <algorithm>

#include "core/types.h"
#include "core/workspace.h"
#include "cpu/blas.h"

namespace deep_hessian {
namespace {

// Panel width of the blocked Bunch-Kaufman. LAPACK's query asks for 64 columns; narrower panels leave less of the work
// in the unblocked part and are up to 1.7 times as fast for the orders that matter here (measured, bench/kernels.ts).
int sytrfPanel(int n) {
  if (n <= 512) return 16;
  if (n <= 1000) return 24;
  return 32;
}

// With a leading dimension that is a multiple of 128 elements the entries of a row fall into a few cache sets, and the
// row operations of the factorization miss: 13 instead of 23 GFLOP/s at order 512. Such a matrix is factored in a copy.
constexpr int kCopyFrom = 192;
bool badLeadingDimension(int n, int lda) { return n >= kCopyFrom && lda % 128 == 0; }

// Copies one triangle, diagonal included.
template <class T>
void copyTriangle(int upper, int n, const T* from, std::ptrdiff_t fromLd, T* to, std::ptrdiff_t toLd) {
  for (int j = 0; j < n; j++) {
    const int first = upper ? 0 : j, last = upper ? j + 1 : n;
    std::copy_n(from + at(first, j, fromLd), last - first, to + at(first, j, toLd));
  }
}

}  // namespace

template <class T>
int sytrf(int upper, int n, T* a, int lda, int* pivots) {
  if (n == 0) return 0;
  const int lwork = n * sytrfPanel(n);
  T* work = scratch<T>(Scratch::kLapack, lwork);
  if (!badLeadingDimension(n, lda)) return blas::sytrf(uploCode(upper), n, a, lda, pivots, work, lwork);
  const int ld = n / 16 * 16 + 24;  // an odd number of cache lines
  T* copy = scratch<T>(Scratch::kFactor, static_cast<std::size_t>(ld) * n);
  copyTriangle(upper, n, a, lda, copy, ld);
  const int info = blas::sytrf(uploCode(upper), n, copy, ld, pivots, work, lwork);
  copyTriangle(upper, n, copy, ld, a, lda);
  return info;
}

template <class T>
int sytri(int upper, int n, T* a, int lda, const int* pivots) {
  if (n == 0) return 0;
  constexpr int kBlock = 32;
  if (n <= 2 * kBlock) return blas::sytri(uploCode(upper), n, a, lda, pivots, scratch<T>(Scratch::kLapack, n));
  const std::size_t work = static_cast<std::size_t>(n + kBlock + 1) * (kBlock + 3);
  return blas::sytri2x(uploCode(upper), n, a, lda, pivots, scratch<T>(Scratch::kLapack, work), kBlock);
}

template <class T>
int syevd(int vectors, int upper, int n, T* a, int lda, T* w) {
  if (n == 0) return 0;
  const std::size_t order = static_cast<std::size_t>(n);
  const std::size_t least = vectors ? 1 + 6 * order + 2 * order * order : 2 * order + 1;
  const std::size_t wanted = std::max(least, 2 * order + 64 * order);
  const int lwork = static_cast<int>(std::min<std::size_t>(wanted, INT32_MAX));
  const int liwork = vectors ? 3 + 5 * n : 1;
  T* work = scratch<T>(Scratch::kLapack, lwork);
  int* iwork = scratch<int>(Scratch::kLapackInteger, liwork);
  return blas::syevd(vectors ? 'V' : 'N', uploCode(upper), n, a, lda, w, work, lwork, iwork, liwork);
}

template <class T>
void qr(int m, int n, T* a, int lda, T* r, int ldr) {
  if (n == 0) return;
  const int lwork = 64 * n;
  T* work = scratch<T>(Scratch::kLapack, static_cast<std::size_t>(lwork) + n);
  T* tau = work + lwork;
  blas::geqrf(m, n, a, lda, tau, work, lwork);
  for (int j = 0; j < n; j++) {
    std::copy_n(a + at(0, j, lda), j + 1, r + at(0, j, ldr));
    std::fill_n(r + at(j + 1, j, ldr), n - j - 1, T(0));
  }
  blas::orgqr(m, n, n, a, lda, tau, work, lwork);
}

#define INSTANTIATE(T)                                 \
  template int sytrf(int, int, T*, int, int*);         \
  template int sytri(int, int, T*, int, const int*);   \
  template int syevd(int, int, int, T*, int, T*);      \
  template void qr(int, int, T*, int, T*, int);
INSTANTIATE(double)
INSTANTIATE(float)
#undef INSTANTIATE

}  // namespace deep_hessian
