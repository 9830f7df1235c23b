// Compares prototypes.h with NVIDIA's headers, argument by argument: the same count, and in each place the same kind
// (pointer, integer, floating) and size. Not part of the build, which has no CUDA headers; where they are installed:
//
//   g++ -std=c++17 -fsyntax-only -Inative -I<folders with cuda.h, cublas_v2.h, cusolverDn.h, nvrtc.h>
//       native/cuda/verify_prototypes.cc
#include <cublas_v2.h>
#include <cuda.h>
#include <cuda_runtime_api.h>
#include <cusolverDn.h>
#include <nvrtc.h>

#include <type_traits>

#include "cuda/prototypes.h"

namespace {

// 0: pointer, 1: integer or enumeration, 2: floating, 3: other.
template <class T>
constexpr int kind = std::is_pointer<T>::value                              ? 0
                     : std::is_integral<T>::value || std::is_enum<T>::value ? 1
                     : std::is_floating_point<T>::value                     ? 2
                                                                            : 3;

template <class A, class B>
constexpr bool same = kind<A> == kind<B> && kind<A> != 3 && sizeof(A) == sizeof(B);

template <class A, class B>
struct Match : std::false_type {};
template <class R, class... A, class S, class... B>
struct Match<R (*)(A...), S (*)(B...)> {
  static constexpr bool value = [] {
    if constexpr (sizeof...(A) == sizeof...(B)) return same<R, S> && (same<A, B> && ...);
    return false;
  }();
};

// cublasSgetrfBatched and others take arrays of pointers, which decay; noexcept would be part of the type.
#define VERIFY(result, name, parameters) \
  static_assert(Match<decltype(deep_hessian::cuda::Api::name), decltype(&::name)>::value, #name);
DEEP_HESSIAN_CUDA_DRIVER(VERIFY)
DEEP_HESSIAN_CUDA_RUNTIME(VERIFY)
DEEP_HESSIAN_CUBLAS(VERIFY)
DEEP_HESSIAN_CUSOLVER(VERIFY)
DEEP_HESSIAN_NVRTC(VERIFY)

namespace own = deep_hessian::cuda;
static_assert(own::kHostToDevice == cudaMemcpyHostToDevice && own::kDeviceToHost == cudaMemcpyDeviceToHost &&
                  own::kDeviceToDevice == cudaMemcpyDeviceToDevice, "copy kinds");
static_assert(own::kMultiprocessors == CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT &&
                  own::kCapabilityMajor == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR &&
                  own::kCapabilityMinor == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, "attributes");
static_assert(own::kFloat32 == CUDA_R_32F && own::kFloat64 == CUDA_R_64F, "data types");
static_assert(own::kMajor == MAJOR_VERSION && own::kMinor == MINOR_VERSION && own::kPatch == PATCH_LEVEL, "version");
static_assert(own::kDefaultMath == CUBLAS_DEFAULT_MATH && own::kTf32Math == CUBLAS_TF32_TENSOR_OP_MATH, "math modes");
static_assert(own::kStreamNonBlocking == cudaStreamNonBlocking && own::kEventDisableTiming == cudaEventDisableTiming, "flags");
static_assert(CUBLAS_OP_N == 0 && CUBLAS_OP_T == 1 && CUBLAS_FILL_MODE_LOWER == 0 && CUBLAS_FILL_MODE_UPPER == 1 &&
                  CUBLAS_SIDE_LEFT == 0 && CUBLAS_SIDE_RIGHT == 1 && CUBLAS_DIAG_NON_UNIT == 0 && CUBLAS_DIAG_UNIT == 1 &&
                  CUSOLVER_EIG_MODE_NOVECTOR == 0 && CUSOLVER_EIG_MODE_VECTOR == 1, "flags of the kernels");

}  // namespace
