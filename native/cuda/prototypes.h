// The CUDA entry points that are used, declared by hand: no CUDA header is needed to build, and nothing of CUDA is
// linked. They are looked up by name at run time (libraries.h).
//
// Types are those of NVIDIA's C interface with every opaque handle a void*, every enumeration an int and a driver
// address a pointer: the same in registers. verify_prototypes.cc compares this file with the headers where they are
// installed. Names and signatures are the same in CUDA 12 and 13.
#pragma once
#include <cstddef>
#include <cstdint>

namespace deep_hessian {
namespace cuda {

using Handle = void*;
using Stream = void*;
using Event = void*;
using Module = void*;
using Function = void*;
using Program = void*;

// Values of the enumerations, fixed by the binary interface.
constexpr int kHostToDevice = 1, kDeviceToHost = 2, kDeviceToDevice = 3;  // cudaMemcpyKind
constexpr int kMultiprocessors = 16, kCapabilityMajor = 75, kCapabilityMinor = 76;  // CUdevice_attribute
constexpr int kFloat32 = 0, kFloat64 = 1;                                   // cudaDataType
constexpr int kMajor = 0, kMinor = 1, kPatch = 2;                           // libraryPropertyType
constexpr int kDefaultMath = 0, kTf32Math = 3;                              // cublasMath_t
constexpr unsigned kStreamNonBlocking = 1, kEventDisableTiming = 2;
// cublasOperation_t N, T = 0, 1; cublasFillMode_t lower, upper = 0, 1; cublasSideMode_t left, right = 0, 1;
// cublasDiagType_t non-unit, unit = 0, 1; cusolverEigMode_t no vectors, vectors = 0, 1: the kernels' own flags.

// Driver: libcuda.so.1, part of the graphics driver.
#define DEEP_HESSIAN_CUDA_DRIVER(X)                                      \
  X(int, cuInit, (unsigned))                                             \
  X(int, cuDriverGetVersion, (int*))                                     \
  X(int, cuDeviceGetCount, (int*))                                       \
  X(int, cuDeviceGet, (int*, int))                                       \
  X(int, cuDeviceGetName, (char*, int, int))                             \
  X(int, cuDeviceTotalMem_v2, (std::size_t*, int))                       \
  X(int, cuDeviceGetAttribute, (int*, int, int))                         \
  X(int, cuGetErrorName, (int, const char**))                            \
  X(int, cuModuleLoadData, (Module*, const void*))                       \
  X(int, cuModuleUnload, (Module))                                       \
  X(int, cuModuleGetFunction, (Function*, Module, const char*))          \
  X(int, cuLaunchKernel,                                                 \
    (Function, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, Stream, void**, void**))

// Runtime: libcudart.
#define DEEP_HESSIAN_CUDA_RUNTIME(X)                                     \
  X(int, cudaRuntimeGetVersion, (int*))                                  \
  X(int, cudaSetDevice, (int))                                           \
  X(int, cudaMalloc, (void**, std::size_t))                              \
  X(int, cudaFree, (void*))                                              \
  X(int, cudaMemGetInfo, (std::size_t*, std::size_t*))                   \
  X(int, cudaMemcpyAsync, (void*, const void*, std::size_t, int, Stream)) \
  X(int, cudaMemsetAsync, (void*, int, std::size_t, Stream))             \
  X(int, cudaStreamCreateWithFlags, (Stream*, unsigned))                 \
  X(int, cudaStreamDestroy, (Stream))                                    \
  X(int, cudaStreamSynchronize, (Stream))                                \
  X(int, cudaStreamWaitEvent, (Stream, Event, unsigned))                 \
  X(int, cudaEventCreateWithFlags, (Event*, unsigned))                   \
  X(int, cudaEventRecord, (Event, Stream))                               \
  X(int, cudaEventDestroy, (Event))                                      \
  X(int, cudaDeviceSynchronize, ())                                      \
  X(int, cudaGetLastError, ())                                           \
  X(const char*, cudaGetErrorName, (int))

// One function of cuBLAS for each of the two element types, P the letter and T the type.
#define DEEP_HESSIAN_CUBLAS_TYPED(X, P, T)                                                                           \
  X(int, cublas##P##gemm_v2,                                                                                         \
    (Handle, int, int, int, int, int, const T*, const T*, int, const T*, int, const T*, T*, int))                    \
  X(int, cublas##P##gemmStridedBatched,                                                                              \
    (Handle, int, int, int, int, int, const T*, const T*, int, long long, const T*, int, long long, const T*, T*,    \
     int, long long, int))                                                                                           \
  X(int, cublas##P##gemv_v2, (Handle, int, int, int, const T*, const T*, int, const T*, int, const T*, T*, int))     \
  X(int, cublas##P##syrk_v2, (Handle, int, int, int, int, const T*, const T*, int, const T*, T*, int))               \
  X(int, cublas##P##symm_v2, (Handle, int, int, int, int, const T*, const T*, int, const T*, int, const T*, T*, int)) \
  X(int, cublas##P##trsm_v2, (Handle, int, int, int, int, int, int, const T*, const T*, int, T*, int))               \
  X(int, cublas##P##trsmBatched,                                                                                     \
    (Handle, int, int, int, int, int, int, const T*, const T* const*, int, T* const*, int, int))                     \
  X(int, cublas##P##getrfBatched, (Handle, int, T* const*, int, int*, int*, int))                                    \
  X(int, cublas##P##getrsBatched,                                                                                    \
    (Handle, int, int, int, const T* const*, int, const int*, T* const*, int, int*, int))                            \
  X(int, cublas##P##axpy_v2, (Handle, int, const T*, const T*, int, T*, int))                                        \
  X(int, cublas##P##dot_v2, (Handle, int, const T*, int, const T*, int, T*))                                         \
  X(int, cublas##P##nrm2_v2, (Handle, int, const T*, int, T*))

#define DEEP_HESSIAN_CUBLAS(X)                      \
  X(int, cublasCreate_v2, (Handle*))                \
  X(int, cublasDestroy_v2, (Handle))                \
  X(int, cublasSetStream_v2, (Handle, Stream))      \
  X(int, cublasSetMathMode, (Handle, int))          \
  X(int, cublasGetProperty, (int, int*))            \
  DEEP_HESSIAN_CUBLAS_TYPED(X, D, double)           \
  DEEP_HESSIAN_CUBLAS_TYPED(X, S, float)

#define DEEP_HESSIAN_CUSOLVER_TYPED(X, P, T)                                                                         \
  X(int, cusolverDn##P##potrf_bufferSize, (Handle, int, int, T*, int, int*))                                         \
  X(int, cusolverDn##P##potrf, (Handle, int, int, T*, int, T*, int, int*))                                           \
  X(int, cusolverDn##P##potrs, (Handle, int, int, int, const T*, int, T*, int, int*))                                \
  X(int, cusolverDn##P##potrfBatched, (Handle, int, int, T**, int, int*, int))                                       \
  X(int, cusolverDn##P##sytrf_bufferSize, (Handle, int, T*, int, int*))                                              \
  X(int, cusolverDn##P##sytrf, (Handle, int, int, T*, int, int*, T*, int, int*))                                     \
  X(int, cusolverDn##P##getrf_bufferSize, (Handle, int, int, T*, int, int*))                                         \
  X(int, cusolverDn##P##getrf, (Handle, int, int, T*, int, T*, int*, int*))                                          \
  X(int, cusolverDn##P##getrs, (Handle, int, int, int, const T*, int, const int*, T*, int, int*))                    \
  X(int, cusolverDn##P##syevd_bufferSize, (Handle, int, int, int, const T*, int, const T*, int*))                    \
  X(int, cusolverDn##P##syevd, (Handle, int, int, int, T*, int, T*, T*, int, int*))

#define DEEP_HESSIAN_CUSOLVER(X)                                                                                     \
  X(int, cusolverDnCreate, (Handle*))                                                                                \
  X(int, cusolverDnDestroy, (Handle))                                                                                \
  X(int, cusolverDnSetStream, (Handle, Stream))                                                                      \
  X(int, cusolverGetProperty, (int, int*))                                                                           \
  X(int, cusolverDnXsytrs_bufferSize,                                                                                \
    (Handle, int, std::int64_t, std::int64_t, int, const void*, std::int64_t, const std::int64_t*, int, void*,       \
     std::int64_t, std::size_t*, std::size_t*))                                                                      \
  X(int, cusolverDnXsytrs,                                                                                           \
    (Handle, int, std::int64_t, std::int64_t, int, const void*, std::int64_t, const std::int64_t*, int, void*,       \
     std::int64_t, void*, std::size_t, void*, std::size_t, int*))                                                    \
  DEEP_HESSIAN_CUSOLVER_TYPED(X, D, double)                                                                          \
  DEEP_HESSIAN_CUSOLVER_TYPED(X, S, float)

#define DEEP_HESSIAN_NVRTC(X)                                                                                        \
  X(int, nvrtcVersion, (int*, int*))                                                                                 \
  X(int, nvrtcGetNumSupportedArchs, (int*))                                                                          \
  X(int, nvrtcGetSupportedArchs, (int*))                                                                             \
  X(int, nvrtcCreateProgram, (Program*, const char*, const char*, int, const char* const*, const char* const*))      \
  X(int, nvrtcDestroyProgram, (Program*))                                                                            \
  X(int, nvrtcCompileProgram, (Program, int, const char* const*))                                                    \
  X(int, nvrtcGetProgramLogSize, (Program, std::size_t*))                                                            \
  X(int, nvrtcGetProgramLog, (Program, char*))                                                                       \
  X(int, nvrtcGetPTXSize, (Program, std::size_t*))                                                                   \
  X(int, nvrtcGetPTX, (Program, char*))                                                                              \
  X(int, nvrtcGetCUBINSize, (Program, std::size_t*))                                                                 \
  X(int, nvrtcGetCUBIN, (Program, char*))

#define DEEP_HESSIAN_CUDA_POINTER(result, name, parameters) result(*name) parameters = nullptr;

// Null where a library or a symbol is missing.
struct Api {
  DEEP_HESSIAN_CUDA_DRIVER(DEEP_HESSIAN_CUDA_POINTER)
  DEEP_HESSIAN_CUDA_RUNTIME(DEEP_HESSIAN_CUDA_POINTER)
  DEEP_HESSIAN_CUBLAS(DEEP_HESSIAN_CUDA_POINTER)
  DEEP_HESSIAN_CUSOLVER(DEEP_HESSIAN_CUDA_POINTER)
  DEEP_HESSIAN_NVRTC(DEEP_HESSIAN_CUDA_POINTER)
};

}  // namespace cuda
}  // namespace deep_hessian
