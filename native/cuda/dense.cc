#include "cuda/dense.h"

#include <algorithm>

#include "cpu/symmetric_indefinite.h"

namespace deep_hessian {
namespace cuda {
namespace {

// The double or single precision entry point of a pair, and a checked call of it.
#define TYPED(prefix, suffix)                                  \
  ([&] {                                                       \
    if constexpr (sizeof(T) == 8) return device.api().prefix##D##suffix; \
    else return device.api().prefix##S##suffix;                \
  }())
#define BLAS(suffix, ...) device.check("cublas", "cublas" #suffix, TYPED(cublas, suffix)(device.blas(), __VA_ARGS__))
#define SOLVER(suffix, ...) device.check("cusolver", "cusolverDn" #suffix, TYPED(cusolverDn, suffix)(device.solver(), __VA_ARGS__))

// Addresses of the items of a batch, in device memory.
template <class T>
T** addresses(Device& device, Slot slot, const View& a, int count) {
  T** out = static_cast<T**>(device.workspace(slot, sizeof(T*) * static_cast<std::size_t>(count)));
  device.launch<T>(Kernel::kAddresses, device.grid(count), static_cast<long long>(count), a.as<T>(),
                   static_cast<long long>(a.stride), out);
  return out;
}

int* infoSpace(Device& device, int count = 1) {
  return static_cast<int*>(device.workspace(Slot::kInfo, sizeof(int) * static_cast<std::size_t>(count)));
}

// Info of a factorization: negative values are wrong arguments, which the border should have refused.
int readInfo(Device& device, const int* info, const char* call, int count = 1) {
  int first = 0;
  for (const int value : device.readInts(info, count)) {
    if (value < 0) {
      throw Failure{Failure::kFailed, "cusolver", call, "argument " + std::to_string(-value) + " is wrong", value, "", 0, 0, 0};
    }
    if (first == 0) first = value;
  }
  return first;
}

View itemOf(const View& view, std::int64_t i, std::size_t size) {
  View out = view;
  out.data = static_cast<char*>(view.data) + i * view.stride * static_cast<std::int64_t>(size);
  return out;
}

}  // namespace

template <class T>
void Dense<T>::gemm(Device& device, int transA, int transB, int m, int n, int k, double alpha, const View& a, const View& b,
                    double beta, const View& c) {
  if (m == 0 || n == 0) return;
  const T one = static_cast<T>(alpha), other = static_cast<T>(beta);
  BLAS(gemm_v2, transA, transB, m, n, k, &one, a.as<T>(), a.ld, b.as<T>(), b.ld, &other, c.as<T>(), c.ld);
}

template <class T>
void Dense<T>::gemmBatch(Device& device, int transA, int transB, int m, int n, int k, double alpha, const View& a,
                         const View& b, double beta, const View& c, int count) {
  if (m == 0 || n == 0 || count == 0) return;
  const T one = static_cast<T>(alpha), other = static_cast<T>(beta);
  BLAS(gemmStridedBatched, transA, transB, m, n, k, &one, a.as<T>(), a.ld, a.stride, b.as<T>(), b.ld, b.stride, &other,
       c.as<T>(), c.ld, c.stride, count);
}

template <class T>
void Dense<T>::gemv(Device& device, int trans, int m, int n, double alpha, const View& a, const View& x, int incx, double beta,
                    const View& y, int incy) {
  const int outputs = trans ? n : m, inner = trans ? m : n;
  if (outputs == 0) return;
  const T one = static_cast<T>(alpha), other = static_cast<T>(beta);
  if (inner == 0) {
    // gemv returns at once here and leaves y unscaled; y^T := beta y^T + x^T op(A)^T is a gemm that does not.
    BLAS(gemm_v2, 0, trans ? 0 : 1, 1, outputs, 0, &one, x.as<T>(), incx, a.as<T>(), a.ld, &other, y.as<T>(), incy);
    return;
  }
  BLAS(gemv_v2, trans, m, n, &one, a.as<T>(), a.ld, x.as<T>(), incx, &other, y.as<T>(), incy);
}

template <class T>
void Dense<T>::syrk(Device& device, int upper, int trans, int n, int k, double alpha, const View& a, double beta, const View& c) {
  if (n == 0) return;
  const T one = static_cast<T>(alpha), other = static_cast<T>(beta);
  BLAS(syrk_v2, upper, trans, n, k, &one, a.as<T>(), a.ld, &other, c.as<T>(), c.ld);
}

template <class T>
void Dense<T>::symm(Device& device, int right, int upper, int m, int n, double alpha, const View& a, const View& b, double beta,
                    const View& c) {
  if (m == 0 || n == 0) return;
  const T one = static_cast<T>(alpha), other = static_cast<T>(beta);
  BLAS(symm_v2, right, upper, m, n, &one, a.as<T>(), a.ld, b.as<T>(), b.ld, &other, c.as<T>(), c.ld);
}

template <class T>
void Dense<T>::trsm(Device& device, int right, int upper, int trans, int unit, int m, int n, double alpha, const View& a,
                    const View& b) {
  if (m == 0 || n == 0) return;
  const T one = static_cast<T>(alpha);
  BLAS(trsm_v2, right, upper, trans, unit, m, n, &one, a.as<T>(), a.ld, b.as<T>(), b.ld);
}

template <class T>
void Dense<T>::trsmBatch(Device& device, int right, int upper, int trans, int unit, int m, int n, double alpha, const View& a,
                         const View& b, int count) {
  if (m == 0 || n == 0 || count == 0) return;
  const T one = static_cast<T>(alpha);
  T* const* left = addresses<T>(device, Slot::kPointersA, a, count);
  T* const* sides = addresses<T>(device, Slot::kPointersB, b, count);
  BLAS(trsmBatched, right, upper, trans, unit, m, n, &one, left, a.ld, sides, b.ld, count);
}

template <class T>
void Dense<T>::axpy(Device& device, int n, double alpha, const View& x, const View& y) {
  if (n == 0) return;
  const T factor = static_cast<T>(alpha);
  BLAS(axpy_v2, n, &factor, x.as<T>(), 1, y.as<T>(), 1);
}

template <class T>
double Dense<T>::dot(Device& device, int n, const View& x, const View& y) {
  T result = 0;
  if (n > 0) BLAS(dot_v2, n, x.as<T>(), 1, y.as<T>(), 1, &result);
  return static_cast<double>(result);
}

template <class T>
double Dense<T>::nrm2(Device& device, int n, const View& x) {
  T result = 0;
  if (n > 0) BLAS(nrm2_v2, n, x.as<T>(), 1, &result);
  return static_cast<double>(result);
}

template <class T>
int Dense<T>::potrf(Device& device, int upper, int n, const View& a) {
  if (n == 0) return 0;
  int size = 0;
  SOLVER(potrf_bufferSize, upper, n, a.as<T>(), a.ld, &size);
  T* work = static_cast<T*>(device.workspace(Slot::kSolver, sizeof(T) * static_cast<std::size_t>(size)));
  int* info = infoSpace(device);
  SOLVER(potrf, upper, n, a.as<T>(), a.ld, work, size, info);
  return readInfo(device, info, "potrf");
}

template <class T>
void Dense<T>::potrs(Device& device, int upper, int n, int nrhs, const View& a, const View& b) {
  if (n == 0 || nrhs == 0) return;
  SOLVER(potrs, upper, n, nrhs, a.as<T>(), a.ld, b.as<T>(), b.ld, infoSpace(device));
}

template <class T>
int Dense<T>::sytrf(Device& device, int upper, int n, const View& a, int* pivots) {
  if (n == 0) return 0;
  int size = 0;
  SOLVER(sytrf_bufferSize, n, a.as<T>(), a.ld, &size);
  T* work = static_cast<T*>(device.workspace(Slot::kSolver, sizeof(T) * static_cast<std::size_t>(size)));
  int* info = infoSpace(device);
  SOLVER(sytrf, upper, n, a.as<T>(), a.ld, pivots, work, size, info);
  return readInfo(device, info, "sytrf");
}

template <class T>
void Dense<T>::sytrs(Device& device, int upper, int n, int nrhs, const View& a, const int* pivots, const View& b) {
  if (n == 0 || nrhs == 0) return;
  // sytrf writes 32-bit pivots, Xsytrs reads 64-bit ones.
  long long* wide = static_cast<long long*>(device.workspace(Slot::kPivots, sizeof(long long) * static_cast<std::size_t>(n)));
  device.launch<T>(Kernel::kWiden, device.grid(n), static_cast<long long>(n), pivots, wide);
  const std::int64_t* p = reinterpret_cast<const std::int64_t*>(wide);
  constexpr int type = ElementOf<T>::dataType;
  std::size_t onDevice = 0, onHost = 0;
  DEEP_HESSIAN_CUDA_CALL(device, "cusolver", cusolverDnXsytrs_bufferSize, device.solver(), upper, n, nrhs, type, a.data, a.ld, p,
                         type, b.data, b.ld, &onDevice, &onHost);
  void* work = device.workspace(Slot::kSolver, onDevice);
  void* hostWork = device.hostWorkspace(onHost);
  int* info = infoSpace(device);
  DEEP_HESSIAN_CUDA_CALL(device, "cusolver", cusolverDnXsytrs, device.solver(), upper, n, nrhs, type, a.data, a.ld, p, type,
                         b.data, b.ld, work, onDevice, hostWork, onHost, info);
  readInfo(device, info, "Xsytrs");
}

template <class T>
void Dense<T>::sytrfInertia(Device& device, int upper, int n, const View& a, const int* pivots, double* out) {
  std::vector<T> band(2 * static_cast<std::size_t>(n));
  if (n > 0) {
    T* space = static_cast<T*>(device.workspace(Slot::kBand, sizeof(T) * band.size()));
    device.launch<T>(Kernel::kBand, device.grid(n), upper, static_cast<long long>(n), a.as<const T>(),
                     static_cast<long long>(a.ld), space);
    device.readBytes(space, band.data(), sizeof(T) * band.size());
  }
  const std::vector<int> p = device.readInts(pivots, n);
  // With leading dimension 1 the address i + j of entry (i, j) is 2 i on the diagonal and 2 i + 1 beside it: the band is
  // the matrix, as far as it is read.
  deep_hessian::sytrfInertia(upper, n, band.data(), 1, p.data(), out);
}

template <class T>
int Dense<T>::getrf(Device& device, int m, int n, const View& a, int* pivots) {
  if (m == 0 || n == 0) return 0;
  int size = 0;
  SOLVER(getrf_bufferSize, m, n, a.as<T>(), a.ld, &size);
  T* work = static_cast<T*>(device.workspace(Slot::kSolver, sizeof(T) * static_cast<std::size_t>(size)));
  int* info = infoSpace(device);
  SOLVER(getrf, m, n, a.as<T>(), a.ld, work, pivots, info);
  return readInfo(device, info, "getrf");
}

template <class T>
void Dense<T>::getrs(Device& device, int trans, int n, int nrhs, const View& a, const int* pivots, const View& b) {
  if (n == 0 || nrhs == 0) return;
  SOLVER(getrs, trans, n, nrhs, a.as<T>(), a.ld, pivots, b.as<T>(), b.ld, infoSpace(device));
}

template <class T>
int Dense<T>::syevd(Device& device, int vectors, int upper, int n, const View& a, const View& w) {
  if (n == 0) return 0;
  int size = 0;
  SOLVER(syevd_bufferSize, vectors, upper, n, a.as<T>(), a.ld, w.as<T>(), &size);
  T* work = static_cast<T*>(device.workspace(Slot::kSolver, sizeof(T) * static_cast<std::size_t>(size)));
  int* info = infoSpace(device);
  SOLVER(syevd, vectors, upper, n, a.as<T>(), a.ld, w.as<T>(), work, size, info);
  return readInfo(device, info, "syevd");
}

template <class T>
int Dense<T>::potrfBatch(Device& device, int upper, int n, const View& a, int count) {
  if (n == 0 || count == 0) return 0;
  T** items = addresses<T>(device, Slot::kPointersA, a, count);
  int* info = infoSpace(device, count);
  SOLVER(potrfBatched, upper, n, items, a.ld, info, count);
  return readInfo(device, info, "potrfBatched", count);
}

template <class T>
void Dense<T>::potrsBatch(Device& device, int upper, int n, int nrhs, const View& a, const View& b, int count) {
  if (n == 0 || nrhs == 0 || count == 0) return;
  // cuSOLVER's batched potrs takes one right-hand side only. A = L L^T or U^T U.
  trsmBatch(device, 0, upper, upper ? 1 : 0, 0, n, nrhs, 1, a, b, count);
  trsmBatch(device, 0, upper, upper ? 0 : 1, 0, n, nrhs, 1, a, b, count);
}

template <class T>
int Dense<T>::getrfBatch(Device& device, int m, int n, const View& a, int* pivots, std::int64_t stridePivots, int count) {
  if (m == 0 || n == 0 || count == 0) return 0;
  // cuBLAS has it for square matrices with the pivots behind one another.
  if (m != n || (stridePivots != n && count > 1)) {
    int first = 0;
    for (int i = 0; i < count; i++) {
      const int info = getrf(device, m, n, itemOf(a, i, sizeof(T)), pivots + i * stridePivots);
      if (first == 0) first = info;
    }
    return first;
  }
  T* const* items = addresses<T>(device, Slot::kPointersA, a, count);
  int* info = infoSpace(device, count);
  BLAS(getrfBatched, n, items, a.ld, pivots, info, count);
  return readInfo(device, info, "getrfBatched", count);
}

template <class T>
void Dense<T>::getrsBatch(Device& device, int trans, int n, int nrhs, const View& a, const int* pivots,
                          std::int64_t stridePivots, const View& b, int count) {
  if (n == 0 || nrhs == 0 || count == 0) return;
  if (stridePivots != n && count > 1) {
    for (int i = 0; i < count; i++) {
      getrs(device, trans, n, nrhs, itemOf(a, i, sizeof(T)), pivots + i * stridePivots, itemOf(b, i, sizeof(T)));
    }
    return;
  }
  T* const* items = addresses<T>(device, Slot::kPointersA, a, count);
  T* const* sides = addresses<T>(device, Slot::kPointersB, b, count);
  int wrong = 0;  // in host memory, about the arguments only
  BLAS(getrsBatched, trans, n, nrhs, items, a.ld, pivots, sides, b.ld, &wrong, count);
}

template struct Dense<double>;
template struct Dense<float>;

}  // namespace cuda
}  // namespace deep_hessian
