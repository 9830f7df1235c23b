// The fused kernels: element-wise activation, the sample-space Gram matrix and the vector loops around them.
//
// Their source (fused_body.h and the files it includes) is compiled once per instruction set; the table of the
// best set that this processor has is chosen at load. BLAS dispatches by itself.
#pragma once
#include <cstddef>
#include <cstdint>

namespace deep_hessian {

// Order of ts/native/kernels.ts, activationCodes.
enum Activation : int { kIdentity, kTanh, kSigmoid, kSoftplus, kGelu, kSilu, kSine, kRelu, kActivationCount };

// The arguments of jacobianGram (shapes in ts/native/kernels.ts); d[l] and gram[l] point at layer l.
template <class T>
struct JacobianGram {
  int samples, outputs, layers;
  double shift;
  const double* scale;
  const std::int32_t* widths;
  const T* d;
  const double* dOffsets;
  const std::int32_t* inner;  // null: gram[l] is N x N; else gram[l] is Z_l, N x inner[l], with K_l = Z_l Z_l^T
  const T* gram;
  std::ptrdiff_t gramLength;  // of the whole array
  const double* gramOffsets;
  T* c;
  std::ptrdiff_t ldc;
};

template <class T>
struct FusedTable {
  void (*activate)(int code, std::ptrdiff_t rows, std::ptrdiff_t cols, T* s, const T* bias, const T* residual, T* z, T* d1, T* d2);
  // The tiles first, first + step, ... of the lower triangle.
  void (*jacobianGramTiles)(const JacobianGram<T>& problem, int first, int step);
  double (*dot)(std::ptrdiff_t n, const T* x, const T* y);
  double (*nrm2)(std::ptrdiff_t n, const T* x);
  void (*axpy)(std::ptrdiff_t n, T alpha, const T* x, T* y);
  void (*hadamard)(int accumulate, std::ptrdiff_t n, const T* x, const T* y, T* out);
  void (*columnSums)(int accumulate, std::ptrdiff_t rows, std::ptrdiff_t cols, const T* a, std::ptrdiff_t lda, T* out);
  void (*scaleRows)(int right, std::ptrdiff_t m, std::ptrdiff_t n, const T* d, const T* a, std::ptrdiff_t lda, T* b, std::ptrdiff_t ldb);
  void (*scaleSymmetric)(std::ptrdiff_t n, const T* a, std::ptrdiff_t lda, const T* d, const T* c, T* b, std::ptrdiff_t ldb);
  void (*adamStep)(std::ptrdiff_t n, T* params, const T* gradient, T* m, T* v, T rate, T beta1, T beta2, T correction1, T correction2, T epsilon, T decay);
  void (*sgdStep)(std::ptrdiff_t n, T* params, const T* gradient, T* velocity, T rate, T momentum, int nesterov, T decay);
  // X (order x count, element (i, j) at i * rowStep + j * columnStep) := T^-1 X, T(i, k) at i * rowStride + k * colStride
  // lower triangular. Strides may be negative.
  void (*triangularSolve)(std::ptrdiff_t order, std::ptrdiff_t count, int unit, const T* t, std::ptrdiff_t rowStride, std::ptrdiff_t colStride,
                          T* x, std::ptrdiff_t rowStep, std::ptrdiff_t columnStep);
};

struct FusedKernels {
  const char* name;  // as reported by info().simd
  FusedTable<double> doubles;
  FusedTable<float> floats;
};

// Chosen once per process. DEEP_HESSIAN_SIMD=baseline|avx2|avx512 lowers the choice, for tests.
const FusedKernels& fusedKernels();

template <class T>
const FusedTable<T>& fused();
template <>
inline const FusedTable<double>& fused<double>() { return fusedKernels().doubles; }
template <>
inline const FusedTable<float>& fused<float>() { return fusedKernels().floats; }

// Runs all tiles, on as many threads as setThreads put in force. Each tile is computed whole by one thread in
// the order of the layers, so the result does not depend on their number.
template <class T>
void jacobianGram(const JacobianGram<T>& problem);

// Data movement, no arithmetic: one version for all instruction sets.
template <class T>
void transpose(std::ptrdiff_t m, std::ptrdiff_t n, const T* a, std::ptrdiff_t lda, T* b, std::ptrdiff_t ldb);
template <class T>
void symmetrize(int upper, std::ptrdiff_t n, T* a, std::ptrdiff_t lda);

extern const FusedKernels kFusedBaseline;
#if defined(__x86_64__) && defined(__GNUC__)
#define DEEP_HESSIAN_X86 1
extern const FusedKernels kFusedAvx2;
extern const FusedKernels kFusedAvx512;
#endif

}  // namespace deep_hessian
