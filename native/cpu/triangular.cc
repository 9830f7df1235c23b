#include "cpu/triangular.h"

#include <algorithm>

#include "core/types.h"
#include "cpu/blas.h"
#include "cpu/fused.h"
#include "cpu/threads.h"

namespace deep_hessian {
namespace {

// Below this order a triangle is solved by one kernel, above it is halved: gemm does most of the work.
constexpr int kSolveOrder = 192;
// Below this order OpenBLAS factors without our recursion.
constexpr int kFactorOrder = 64;
// With one or two right-hand sides the solve is bound by reading the triangle, and vectors would be mostly empty.
constexpr int kFewSides = 2;
// OpenBLAS' own threads serve larger problems.
constexpr double kThreadedFlops = 2e7;

int firstHalf(int n) { return (n / 2 + 7) / 8 * 8; }

template <class T>
void recurse(int right, int upper, int trans, int unit, int m, int n, const T* a, int lda, T* b, int ldb) {
  const int order = right ? n : m, count = right ? m : n;
  if (order <= kSolveOrder) {
    // T X = B with T = op(A), or with transposed sides T = op(A)^T; T(i, k) is A(i, k) or A(k, i).
    const bool plain = right ? trans : !trans;
    std::ptrdiff_t rowStride = plain ? 1 : lda, colStride = plain ? lda : 1;
    std::ptrdiff_t rowStep = right ? ldb : 1;
    const std::ptrdiff_t columnStep = right ? 1 : ldb;
    if (static_cast<bool>(upper) == plain) {  // T is upper triangular: solve from its end
      a += (order - 1) * (rowStride + colStride);
      b += (order - 1) * rowStep;
      rowStride = -rowStride;
      colStride = -colStride;
      rowStep = -rowStep;
    }
    fused<T>().triangularSolve(order, count, unit, a, rowStride, colStride, b, rowStep, columnStep);
    return;
  }
  const int n1 = firstHalf(order), n2 = order - n1;
  const T* a22 = a + at(n1, n1, lda);
  const T* off = upper ? a + at(0, n1, lda) : a + at(n1, 0, lda);
  T* b2 = right ? b + at(0, n1, ldb) : b + n1;
  const char op = transCode(trans);
  // op(A) is lower triangular when A is and is not transposed, or neither: then the first half comes first on the
  // left side and last on the right side.
  const bool lower = (upper != 0) == (trans != 0);
  if (lower != (right != 0)) {
    if (!right) {
      recurse(right, upper, trans, unit, n1, n, a, lda, b, ldb);
      blas::gemm(op, 'N', n2, n, n1, T(-1), off, lda, b, ldb, T(1), b2, ldb);
      recurse(right, upper, trans, unit, n2, n, a22, lda, b2, ldb);
    } else {
      recurse(right, upper, trans, unit, m, n1, a, lda, b, ldb);
      blas::gemm('N', op, m, n2, n1, T(-1), b, ldb, off, lda, T(1), b2, ldb);
      recurse(right, upper, trans, unit, m, n2, a22, lda, b2, ldb);
    }
  } else {
    if (!right) {
      recurse(right, upper, trans, unit, n2, n, a22, lda, b2, ldb);
      blas::gemm(op, 'N', n1, n, n2, T(-1), off, lda, b2, ldb, T(1), b, ldb);
      recurse(right, upper, trans, unit, n1, n, a, lda, b, ldb);
    } else {
      recurse(right, upper, trans, unit, m, n2, a22, lda, b2, ldb);
      blas::gemm('N', op, m, n1, n2, T(-1), b2, ldb, off, lda, T(1), b, ldb);
      recurse(right, upper, trans, unit, m, n1, a, lda, b, ldb);
    }
  }
}

}  // namespace

template <class T>
void solveTriangular(int right, int upper, int trans, int unit, int m, int n, T alpha, const T* a, int lda, T* b, int ldb) {
  if (m == 0 || n == 0) return;
  const double order = right ? n : m, count = right ? m : n;
  if (alpha == 0 || count <= kFewSides || (threadsInForce() > 1 && order * order * count > kThreadedFlops)) {
    blas::trsm(sideCode(right), uploCode(upper), transCode(trans), diagCode(unit), m, n, alpha, a, lda, b, ldb);
    return;
  }
  if (alpha != 1) {
    for (int j = 0; j < n; j++) {
      T* column = b + at(0, j, ldb);
      for (int i = 0; i < m; i++) column[i] *= alpha;
    }
  }
  recurse(right, upper, trans, unit, m, n, a, lda, b, ldb);
}

template <class T>
int cholesky(int upper, int n, T* a, int lda) {
  if (n <= kFactorOrder || (threadsInForce() > 1 && n > 256)) return n == 0 ? 0 : blas::potrf(uploCode(upper), n, a, lda);
  const int n1 = firstHalf(n), n2 = n - n1;
  int info = cholesky(upper, n1, a, lda);
  if (info != 0) return info;
  T* a22 = a + at(n1, n1, lda);
  if (upper) {
    T* a12 = a + at(0, n1, lda);
    recurse<T>(kLeft, 1, 1, 0, n1, n2, a, lda, a12, lda);
    blas::syrk('U', 'T', n2, n1, T(-1), a12, lda, T(1), a22, lda);
  } else {
    T* a21 = a + n1;
    recurse<T>(kRight, 0, 1, 0, n2, n1, a, lda, a21, lda);
    blas::syrk('L', 'N', n2, n1, T(-1), a21, lda, T(1), a22, lda);
  }
  info = cholesky(upper, n2, a22, lda);
  return info == 0 ? 0 : info + n1;
}

template <class T>
void choleskySolve(int upper, int n, int nrhs, const T* a, int lda, T* b, int ldb) {
  // A = U^T U or L L^T
  solveTriangular(kLeft, upper, upper ? 1 : 0, 0, n, nrhs, T(1), a, lda, b, ldb);
  solveTriangular(kLeft, upper, upper ? 0 : 1, 0, n, nrhs, T(1), a, lda, b, ldb);
}

template <class T>
void luSolve(int trans, int n, int nrhs, const T* a, int lda, const int* pivots, T* b, int ldb) {
  const auto exchange = [&](bool backwards) {
    for (int j = 0; j < nrhs; j++) {
      T* x = b + at(0, j, ldb);
      if (backwards) for (int i = n - 1; i >= 0; i--) std::swap(x[i], x[pivots[i] - 1]);
      else for (int i = 0; i < n; i++) std::swap(x[i], x[pivots[i] - 1]);
    }
  };
  if (trans) {  // A^T = U^T L^T P
    solveTriangular(kLeft, 1, 1, 0, n, nrhs, T(1), a, lda, b, ldb);
    solveTriangular(kLeft, 0, 1, 1, n, nrhs, T(1), a, lda, b, ldb);
    exchange(true);
  } else {
    exchange(false);
    solveTriangular(kLeft, 0, 0, 1, n, nrhs, T(1), a, lda, b, ldb);
    solveTriangular(kLeft, 1, 0, 0, n, nrhs, T(1), a, lda, b, ldb);
  }
}

#define INSTANTIATE(T)                                                                            \
  template void solveTriangular(int, int, int, int, int, int, T, const T*, int, T*, int);         \
  template int cholesky(int, int, T*, int);                                                       \
  template void choleskySolve(int, int, int, const T*, int, T*, int);                             \
  template void luSolve(int, int, int, const T*, int, const int*, T*, int);
INSTANTIATE(double)
INSTANTIATE(float)
#undef INSTANTIATE

}  // namespace deep_hessian
