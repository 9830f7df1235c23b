// The emulated cuBLAS and cuSOLVER over the BLAS and LAPACK of the host. Arguments are checked as the libraries document
// it, work space is overwritten to its last byte, and scalars are read at the call.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <vector>

#include "runtime.h"

using emulator::at;
using emulator::enqueue;
using emulator::Stream;

extern "C" {
#define FORTRAN(T, p)                                                                                                       \
  void p##gemm_(const char*, const char*, const int*, const int*, const int*, const T*, const T*, const int*, const T*,     \
                const int*, const T*, T*, const int*);                                                                      \
  void p##gemv_(const char*, const int*, const int*, const T*, const T*, const int*, const T*, const int*, const T*, T*,    \
                const int*);                                                                                                \
  void p##syrk_(const char*, const char*, const int*, const int*, const T*, const T*, const int*, const T*, T*, const int*); \
  void p##symm_(const char*, const char*, const int*, const int*, const T*, const T*, const int*, const T*, const int*,     \
                const T*, T*, const int*);                                                                                  \
  void p##trsm_(const char*, const char*, const char*, const char*, const int*, const int*, const T*, const T*, const int*, \
                T*, const int*);                                                                                            \
  void p##potrf_(const char*, const int*, T*, const int*, int*);                                                            \
  void p##potrs_(const char*, const int*, const int*, const T*, const int*, T*, const int*, int*);                          \
  void p##sytrf_(const char*, const int*, T*, const int*, int*, T*, const int*, int*);                                      \
  void p##sytrs_(const char*, const int*, const int*, const T*, const int*, const int*, T*, const int*, int*);              \
  void p##getrf_(const int*, const int*, T*, const int*, int*, int*);                                                       \
  void p##getrs_(const char*, const int*, const int*, const T*, const int*, const int*, T*, const int*, int*);              \
  void p##syevd_(const char*, const char*, const int*, T*, const int*, T*, T*, const int*, int*, const int*, int*);
FORTRAN(double, d)
FORTRAN(float, s)
}

namespace {

struct Handle {
  Stream* stream = nullptr;
};

Stream* streamOf(void* handle) { return static_cast<Handle*>(handle)->stream; }

// Elements of a column-major block.
std::size_t extent(std::int64_t rows, std::int64_t cols, std::int64_t ld) {
  return rows == 0 || cols == 0 ? 0 : static_cast<std::size_t>((cols - 1) * ld + rows);
}
char op(int t) { return t ? 'T' : 'N'; }
char fill(int u) { return u ? 'U' : 'L'; }
char side(int s) { return s ? 'R' : 'L'; }
char unit(int d) { return d ? 'U' : 'N'; }
bool flags(std::initializer_list<int> values) {
  return std::all_of(values.begin(), values.end(), [](int v) { return v == 0 || v == 1; });
}
bool sizes(std::initializer_list<int> values) {
  return std::all_of(values.begin(), values.end(), [](int v) { return v >= 0; });
}
bool ld(int given, int rows) { return given >= std::max(1, rows); }

template <class T>
void spoil(T* work, std::size_t count) {
  std::fill(work, work + count, std::numeric_limits<T>::quiet_NaN());
}

constexpr int kBlasInvalid = 7, kSolverInvalid = 3;

}  // namespace

EMULATED int cublasCreate_v2(void** handle) {
  MAY_FAIL(cublasCreate_v2);
  *handle = new Handle();
  return 0;
}
EMULATED int cublasDestroy_v2(void* handle) {
  delete static_cast<Handle*>(handle);
  return 0;
}
EMULATED int cublasSetStream_v2(void* handle, void* stream) {
  MAY_FAIL(cublasSetStream_v2);
  static_cast<Handle*>(handle)->stream = static_cast<Stream*>(stream);
  return 0;
}
EMULATED int cublasSetMathMode(void*, int mode) { return mode == 0 || mode == 3 ? 0 : kBlasInvalid; }
EMULATED int cublasGetProperty(int part, int* value) {
  *value = part == 0 ? 13 : 0;
  return 0;
}
EMULATED int cusolverDnCreate(void** handle) {
  MAY_FAIL(cusolverDnCreate);
  *handle = new Handle();
  return 0;
}
EMULATED int cusolverDnDestroy(void* handle) {
  delete static_cast<Handle*>(handle);
  return 0;
}
EMULATED int cusolverDnSetStream(void* handle, void* stream) {
  MAY_FAIL(cusolverDnSetStream);
  static_cast<Handle*>(handle)->stream = static_cast<Stream*>(stream);
  return 0;
}
EMULATED int cusolverGetProperty(int part, int* value) {
  *value = part == 0 ? 12 : 0;
  return 0;
}

#define EMULATED_BLAS(P, T, p)                                                                                              \
  EMULATED int cublas##P##gemm_v2(void* h, int ta, int tb, int m, int n, int k, const T* alpha, const T* a, int lda,        \
                                  const T* b, int ldb, const T* beta, T* c, int ldc) {                                      \
    MAY_FAIL(cublas##P##gemm_v2);                                                                                           \
    if (!flags({ta, tb}) || !sizes({m, n, k}) || !ld(lda, ta ? k : m) || !ld(ldb, tb ? n : k) || !ld(ldc, m)) return kBlasInvalid; \
    const T x = *alpha, y = *beta;                                                                                          \
    T *A = at(a, extent(ta ? k : m, ta ? m : k, lda), "gemm"), *B = at(b, extent(tb ? n : k, tb ? k : n, ldb), "gemm"),     \
      *C = at(c, extent(m, n, ldc), "gemm");                                                                                \
    enqueue(streamOf(h), [=] {                                                                                              \
      const char ca = op(ta), cb = op(tb);                                                                                  \
      p##gemm_(&ca, &cb, &m, &n, &k, &x, A, &lda, B, &ldb, &y, C, &ldc);                                                    \
    });                                                                                                                     \
    return 0;                                                                                                               \
  }                                                                                                                         \
  EMULATED int cublas##P##gemmStridedBatched(void* h, int ta, int tb, int m, int n, int k, const T* alpha, const T* a,      \
                                             int lda, long long sa, const T* b, int ldb, long long sb, const T* beta, T* c, \
                                             int ldc, long long sc, int count) {                                            \
    MAY_FAIL(cublas##P##gemmStridedBatched);                                                                                \
    for (int i = 0; i < count; i++) {                                                                                       \
      const int status = cublas##P##gemm_v2(h, ta, tb, m, n, k, alpha, a + i * sa, lda, b + i * sb, ldb, beta, c + i * sc, ldc); \
      if (status) return status;                                                                                            \
    }                                                                                                                       \
    return 0;                                                                                                               \
  }                                                                                                                         \
  EMULATED int cublas##P##gemv_v2(void* h, int t, int m, int n, const T* alpha, const T* a, int lda, const T* x, int incx,  \
                                  const T* beta, T* y, int incy) {                                                          \
    MAY_FAIL(cublas##P##gemv_v2);                                                                                           \
    if (!flags({t}) || !sizes({m, n}) || !ld(lda, m) || incx == 0 || incy == 0) return kBlasInvalid;                        \
    if (m == 0 || n == 0) return 0;                                                                                         \
    const T f = *alpha, g = *beta;                                                                                          \
    T *A = at(a, extent(m, n, lda), "gemv"), *X = at(x, extent(1, t ? m : n, incx), "gemv"),                                \
      *Y = at(y, extent(1, t ? n : m, incy), "gemv");                                                                       \
    enqueue(streamOf(h), [=] {                                                                                              \
      const char c = op(t);                                                                                                 \
      p##gemv_(&c, &m, &n, &f, A, &lda, X, &incx, &g, Y, &incy);                                                            \
    });                                                                                                                     \
    return 0;                                                                                                               \
  }                                                                                                                         \
  EMULATED int cublas##P##syrk_v2(void* h, int u, int t, int n, int k, const T* alpha, const T* a, int lda, const T* beta,  \
                                  T* c, int ldc) {                                                                          \
    MAY_FAIL(cublas##P##syrk_v2);                                                                                           \
    if (!flags({u, t}) || !sizes({n, k}) || !ld(lda, t ? k : n) || !ld(ldc, n)) return kBlasInvalid;                        \
    const T f = *alpha, g = *beta;                                                                                          \
    T *A = at(a, extent(t ? k : n, t ? n : k, lda), "syrk"), *C = at(c, extent(n, n, ldc), "syrk");                         \
    enqueue(streamOf(h), [=] {                                                                                              \
      const char cu = fill(u), ct = op(t);                                                                                  \
      p##syrk_(&cu, &ct, &n, &k, &f, A, &lda, &g, C, &ldc);                                                                 \
    });                                                                                                                     \
    return 0;                                                                                                               \
  }                                                                                                                         \
  EMULATED int cublas##P##symm_v2(void* h, int s, int u, int m, int n, const T* alpha, const T* a, int lda, const T* b,     \
                                  int ldb, const T* beta, T* c, int ldc) {                                                  \
    MAY_FAIL(cublas##P##symm_v2);                                                                                           \
    const int q = s ? n : m;                                                                                                \
    if (!flags({s, u}) || !sizes({m, n}) || !ld(lda, q) || !ld(ldb, m) || !ld(ldc, m)) return kBlasInvalid;                 \
    const T f = *alpha, g = *beta;                                                                                          \
    T *A = at(a, extent(q, q, lda), "symm"), *B = at(b, extent(m, n, ldb), "symm"), *C = at(c, extent(m, n, ldc), "symm");  \
    enqueue(streamOf(h), [=] {                                                                                              \
      const char cs = side(s), cu = fill(u);                                                                                \
      p##symm_(&cs, &cu, &m, &n, &f, A, &lda, B, &ldb, &g, C, &ldc);                                                        \
    });                                                                                                                     \
    return 0;                                                                                                               \
  }                                                                                                                         \
  EMULATED int cublas##P##trsm_v2(void* h, int s, int u, int t, int d, int m, int n, const T* alpha, const T* a, int lda,   \
                                  T* b, int ldb) {                                                                          \
    MAY_FAIL(cublas##P##trsm_v2);                                                                                           \
    const int q = s ? n : m;                                                                                                \
    if (!flags({s, u, t, d}) || !sizes({m, n}) || !ld(lda, q) || !ld(ldb, m)) return kBlasInvalid;                          \
    const T f = *alpha;                                                                                                     \
    T *A = at(a, extent(q, q, lda), "trsm"), *B = at(b, extent(m, n, ldb), "trsm");                                         \
    enqueue(streamOf(h), [=] {                                                                                              \
      const char cs = side(s), cu = fill(u), ct = op(t), cd = unit(d);                                                      \
      p##trsm_(&cs, &cu, &ct, &cd, &m, &n, &f, A, &lda, B, &ldb);                                                           \
    });                                                                                                                     \
    return 0;                                                                                                               \
  }                                                                                                                         \
  EMULATED int cublas##P##trsmBatched(void* h, int s, int u, int t, int d, int m, int n, const T* alpha, const T* const* a, \
                                      int lda, T* const* b, int ldb, int count) {                                           \
    MAY_FAIL(cublas##P##trsmBatched);                                                                                       \
    const int q = s ? n : m;                                                                                                \
    if (!flags({s, u, t, d}) || !sizes({m, n, count}) || !ld(lda, q) || !ld(ldb, m)) return kBlasInvalid;                   \
    const T f = *alpha;                                                                                                     \
    auto A = at(a, count, "trsmBatched");                                                                                   \
    auto B = at(b, count, "trsmBatched");                                                                                   \
    enqueue(streamOf(h), [=] {                                                                                              \
      const char cs = side(s), cu = fill(u), ct = op(t), cd = unit(d);                                                      \
      for (int i = 0; i < count; i++) {                                                                                     \
        p##trsm_(&cs, &cu, &ct, &cd, &m, &n, &f, at(A[i], extent(q, q, lda), "trsmBatched"), &lda,                          \
                 at(B[i], extent(m, n, ldb), "trsmBatched"), &ldb);                                                         \
      }                                                                                                                     \
    });                                                                                                                     \
    return 0;                                                                                                               \
  }                                                                                                                         \
  EMULATED int cublas##P##getrfBatched(void* h, int n, T* const* a, int lda, int* pivots, int* info, int count) {           \
    MAY_FAIL(cublas##P##getrfBatched);                                                                                      \
    if (!sizes({n, count}) || !ld(lda, n)) return kBlasInvalid;                                                             \
    auto A = at(a, count, "getrfBatched");                                                                                  \
    int *p_ = at(pivots, static_cast<std::size_t>(n) * count, "getrfBatched"), *q = at(info, count, "getrfBatched");        \
    enqueue(streamOf(h), [=] {                                                                                              \
      for (int i = 0; i < count; i++) p##getrf_(&n, &n, at(A[i], extent(n, n, lda), "getrfBatched"), &lda, p_ + i * n, q + i); \
    });                                                                                                                     \
    return 0;                                                                                                               \
  }                                                                                                                         \
  EMULATED int cublas##P##getrsBatched(void* h, int t, int n, int m, const T* const* a, int lda, const int* pivots,         \
                                       T* const* b, int ldb, int* info, int count) {                                        \
    MAY_FAIL(cublas##P##getrsBatched);                                                                                      \
    *info = 0; /* host memory */                                                                                            \
    if (!flags({t}) || !sizes({n, m, count}) || !ld(lda, n) || !ld(ldb, n)) return kBlasInvalid;                            \
    auto A = at(a, count, "getrsBatched");                                                                                  \
    auto B = at(b, count, "getrsBatched");                                                                                  \
    const int* p_ = at(pivots, static_cast<std::size_t>(n) * count, "getrsBatched");                                        \
    enqueue(streamOf(h), [=] {                                                                                              \
      const char c = op(t);                                                                                                 \
      int ignored;                                                                                                          \
      for (int i = 0; i < count; i++) {                                                                                     \
        p##getrs_(&c, &n, &m, at(A[i], extent(n, n, lda), "getrsBatched"), &lda, p_ + i * n,                                \
                  at(B[i], extent(n, m, ldb), "getrsBatched"), &ldb, &ignored);                                             \
      }                                                                                                                     \
    });                                                                                                                     \
    return 0;                                                                                                               \
  }                                                                                                                         \
  EMULATED int cublas##P##axpy_v2(void* h, int n, const T* alpha, const T* x, int incx, T* y, int incy) {                   \
    MAY_FAIL(cublas##P##axpy_v2);                                                                                           \
    if (incx != 1 || incy != 1) return kBlasInvalid;                                                                        \
    const T f = *alpha;                                                                                                     \
    T *X = at(x, n, "axpy"), *Y = at(y, n, "axpy");                                                                         \
    enqueue(streamOf(h), [=] {                                                                                              \
      for (int i = 0; i < n; i++) Y[i] += f * X[i];                                                                         \
    });                                                                                                                     \
    return 0;                                                                                                               \
  }                                                                                                                         \
  EMULATED int cublas##P##dot_v2(void* h, int n, const T* x, int, const T* y, int, T* result) {                             \
    MAY_FAIL(cublas##P##dot_v2);                                                                                            \
    T *X = at(x, n, "dot"), *Y = at(y, n, "dot");                                                                           \
    emulator::drain(streamOf(h), streamOf(h)->queued);                                                                      \
    double sum = 0;                                                                                                         \
    for (int i = 0; i < n; i++) sum += static_cast<double>(X[i]) * Y[i];                                                    \
    *result = static_cast<T>(sum);                                                                                          \
    return 0;                                                                                                               \
  }                                                                                                                         \
  EMULATED int cublas##P##nrm2_v2(void* h, int n, const T* x, int, T* result) {                                             \
    MAY_FAIL(cublas##P##nrm2_v2);                                                                                           \
    T* X = at(x, n, "nrm2");                                                                                                \
    emulator::drain(streamOf(h), streamOf(h)->queued);                                                                      \
    double sum = 0;                                                                                                         \
    for (int i = 0; i < n; i++) sum += static_cast<double>(X[i]) * X[i];                                                    \
    *result = static_cast<T>(std::sqrt(sum));                                                                               \
    return 0;                                                                                                               \
  }
EMULATED_BLAS(D, double, d)
EMULATED_BLAS(S, float, s)

#define EMULATED_SOLVER(P, T, p)                                                                                            \
  EMULATED int cusolverDn##P##potrf_bufferSize(void*, int u, int n, T*, int lda, int* size) {                               \
    MAY_FAIL(cusolverDn##P##potrf_bufferSize);                                                                              \
    if (!flags({u}) || n < 0 || !ld(lda, n)) return kSolverInvalid;                                                         \
    *size = 3 * n + 7;                                                                                                      \
    return 0;                                                                                                               \
  }                                                                                                                         \
  EMULATED int cusolverDn##P##potrf(void* h, int u, int n, T* a, int lda, T* work, int size, int* info) {                   \
    MAY_FAIL(cusolverDn##P##potrf);                                                                                         \
    if (!flags({u}) || n < 0 || !ld(lda, n) || size < 3 * n + 7) return kSolverInvalid;                                     \
    T *A = at(a, extent(n, n, lda), "potrf"), *W = at(work, size, "potrf");                                                 \
    int* i = at(info, 1, "potrf");                                                                                          \
    enqueue(streamOf(h), [=] {                                                                                              \
      spoil(W, size);                                                                                                       \
      const char c = fill(u);                                                                                               \
      p##potrf_(&c, &n, A, &lda, i);                                                                                        \
    });                                                                                                                     \
    return 0;                                                                                                               \
  }                                                                                                                         \
  EMULATED int cusolverDn##P##potrs(void* h, int u, int n, int m, const T* a, int lda, T* b, int ldb, int* info) {          \
    MAY_FAIL(cusolverDn##P##potrs);                                                                                         \
    if (!flags({u}) || !sizes({n, m}) || !ld(lda, n) || !ld(ldb, n)) return kSolverInvalid;                                 \
    T *A = at(a, extent(n, n, lda), "potrs"), *B = at(b, extent(n, m, ldb), "potrs");                                       \
    int* i = at(info, 1, "potrs");                                                                                          \
    enqueue(streamOf(h), [=] {                                                                                              \
      const char c = fill(u);                                                                                               \
      p##potrs_(&c, &n, &m, A, &lda, B, &ldb, i);                                                                           \
    });                                                                                                                     \
    return 0;                                                                                                               \
  }                                                                                                                         \
  EMULATED int cusolverDn##P##potrfBatched(void* h, int u, int n, T** a, int lda, int* info, int count) {                   \
    MAY_FAIL(cusolverDn##P##potrfBatched);                                                                                  \
    if (!flags({u}) || !sizes({n, count}) || !ld(lda, n)) return kSolverInvalid;                                            \
    T** A = at(a, count, "potrfBatched");                                                                                   \
    int* i = at(info, count, "potrfBatched");                                                                               \
    enqueue(streamOf(h), [=] {                                                                                              \
      const char c = fill(u);                                                                                               \
      for (int k = 0; k < count; k++) p##potrf_(&c, &n, at(A[k], extent(n, n, lda), "potrfBatched"), &lda, i + k);          \
    });                                                                                                                     \
    return 0;                                                                                                               \
  }                                                                                                                         \
  EMULATED int cusolverDn##P##sytrf_bufferSize(void*, int n, T*, int lda, int* size) {                                      \
    MAY_FAIL(cusolverDn##P##sytrf_bufferSize);                                                                              \
    if (n < 0 || !ld(lda, n)) return kSolverInvalid;                                                                        \
    *size = 64 * n + 1;                                                                                                     \
    return 0;                                                                                                               \
  }                                                                                                                         \
  EMULATED int cusolverDn##P##sytrf(void* h, int u, int n, T* a, int lda, int* pivots, T* work, int size, int* info) {      \
    MAY_FAIL(cusolverDn##P##sytrf);                                                                                         \
    if (!flags({u}) || n < 0 || !ld(lda, n) || size < 64 * n + 1) return kSolverInvalid;                                    \
    T *A = at(a, extent(n, n, lda), "sytrf"), *W = at(work, size, "sytrf");                                                 \
    int *q = at(pivots, n, "sytrf"), *i = at(info, 1, "sytrf");                                                             \
    enqueue(streamOf(h), [=] {                                                                                              \
      spoil(W, size);                                                                                                       \
      const char c = fill(u);                                                                                               \
      p##sytrf_(&c, &n, A, &lda, q, W, &size, i);                                                                           \
    });                                                                                                                     \
    return 0;                                                                                                               \
  }                                                                                                                         \
  EMULATED int cusolverDn##P##getrf_bufferSize(void*, int m, int n, T*, int lda, int* size) {                               \
    MAY_FAIL(cusolverDn##P##getrf_bufferSize);                                                                              \
    if (!sizes({m, n}) || !ld(lda, m)) return kSolverInvalid;                                                               \
    *size = m + n + 5;                                                                                                      \
    return 0;                                                                                                               \
  }                                                                                                                         \
  EMULATED int cusolverDn##P##getrf(void* h, int m, int n, T* a, int lda, T* work, int* pivots, int* info) {                \
    MAY_FAIL(cusolverDn##P##getrf);                                                                                         \
    if (!sizes({m, n}) || !ld(lda, m)) return kSolverInvalid;                                                               \
    T *A = at(a, extent(m, n, lda), "getrf"), *W = at(work, m + n + 5, "getrf");                                            \
    int *q = at(pivots, std::min(m, n), "getrf"), *i = at(info, 1, "getrf");                                                \
    enqueue(streamOf(h), [=] {                                                                                              \
      spoil(W, m + n + 5);                                                                                                  \
      p##getrf_(&m, &n, A, &lda, q, i);                                                                                     \
    });                                                                                                                     \
    return 0;                                                                                                               \
  }                                                                                                                         \
  EMULATED int cusolverDn##P##getrs(void* h, int t, int n, int m, const T* a, int lda, const int* pivots, T* b, int ldb,    \
                                    int* info) {                                                                            \
    MAY_FAIL(cusolverDn##P##getrs);                                                                                         \
    if (!flags({t}) || !sizes({n, m}) || !ld(lda, n) || !ld(ldb, n)) return kSolverInvalid;                                 \
    T *A = at(a, extent(n, n, lda), "getrs"), *B = at(b, extent(n, m, ldb), "getrs");                                       \
    int *q = at(pivots, n, "getrs"), *i = at(info, 1, "getrs");                                                             \
    enqueue(streamOf(h), [=] {                                                                                              \
      const char c = op(t);                                                                                                 \
      p##getrs_(&c, &n, &m, A, &lda, q, B, &ldb, i);                                                                        \
    });                                                                                                                     \
    return 0;                                                                                                               \
  }                                                                                                                         \
  EMULATED int cusolverDn##P##syevd_bufferSize(void*, int v, int u, int n, const T*, int lda, const T*, int* size) {        \
    MAY_FAIL(cusolverDn##P##syevd_bufferSize);                                                                              \
    if (!flags({v, u}) || n < 0 || !ld(lda, n)) return kSolverInvalid;                                                      \
    *size = 1 + 6 * n + 2 * n * n;                                                                                          \
    return 0;                                                                                                               \
  }                                                                                                                         \
  EMULATED int cusolverDn##P##syevd(void* h, int v, int u, int n, T* a, int lda, T* w, T* work, int size, int* info) {      \
    MAY_FAIL(cusolverDn##P##syevd);                                                                                         \
    if (!flags({v, u}) || n < 0 || !ld(lda, n) || size < 1 + 6 * n + 2 * n * n) return kSolverInvalid;                      \
    T *A = at(a, extent(n, n, lda), "syevd"), *X = at(w, n, "syevd"), *W = at(work, size, "syevd");                         \
    int* i = at(info, 1, "syevd");                                                                                          \
    enqueue(streamOf(h), [=] {                                                                                              \
      spoil(W, size);                                                                                                       \
      const char cv = v ? 'V' : 'N', cu = fill(u);                                                                          \
      std::vector<int> integers(3 + 5 * n);                                                                                 \
      const int count = static_cast<int>(integers.size());                                                                  \
      p##syevd_(&cv, &cu, &n, A, &lda, X, W, &size, integers.data(), &count, i);                                            \
    });                                                                                                                     \
    return 0;                                                                                                               \
  }
EMULATED_SOLVER(D, double, d)
EMULATED_SOLVER(S, float, s)

EMULATED int cusolverDnXsytrs_bufferSize(void*, int u, std::int64_t n, std::int64_t m, int ta, const void*, std::int64_t lda,
                                         const std::int64_t*, int tb, void*, std::int64_t ldb, std::size_t* onDevice,
                                         std::size_t* onHost) {
  MAY_FAIL(cusolverDnXsytrs_bufferSize);
  if (!flags({u}) || n < 0 || m < 0 || lda < std::max<std::int64_t>(1, n) || ldb < std::max<std::int64_t>(1, n) || ta != tb || ta < 0 || ta > 1)
    return kSolverInvalid;
  *onDevice = 8 * n + 3;
  *onHost = 24;
  return 0;
}
EMULATED int cusolverDnXsytrs(void* h, int u, std::int64_t n, std::int64_t m, int type, const void* a, std::int64_t lda,
                              const std::int64_t* pivots, int, void* b, std::int64_t ldb, void* work, std::size_t onDevice,
                              void* hostWork, std::size_t onHost, int* info) {
  MAY_FAIL(cusolverDnXsytrs);
  if (onDevice < static_cast<std::size_t>(8 * n + 3) || onHost < 24 || hostWork == nullptr) return kSolverInvalid;
  char* W = at(static_cast<char*>(work), onDevice, "Xsytrs");
  const std::int64_t* q = at(pivots, n, "Xsytrs");
  int* i = at(info, 1, "Xsytrs");
  const std::size_t size = type == 1 ? 8 : 4;
  void *A = emulator::inside(a, extent(n, n, lda) * size, "Xsytrs"), *B = emulator::inside(b, extent(n, m, ldb) * size, "Xsytrs");
  enqueue(static_cast<Handle*>(h)->stream, [=] {
    std::memset(W, 0xff, onDevice);
    std::memset(hostWork, 0xff, onHost);
    std::vector<int> narrow(q, q + n);
    const char c = fill(u);
    const int in = static_cast<int>(n), im = static_cast<int>(m), ia = static_cast<int>(lda), ib = static_cast<int>(ldb);
    if (type == 1) dsytrs_(&c, &in, &im, static_cast<double*>(A), &ia, narrow.data(), static_cast<double*>(B), &ib, i);
    else ssytrs_(&c, &in, &im, static_cast<float*>(A), &ia, narrow.data(), static_cast<float*>(B), &ib, i);
  });
  return 0;
}
