// The CUDA C text of the element-wise kernels.
#pragma once

namespace deep_hessian {
namespace cuda {

extern const char* const kKernelSource;

}  // namespace cuda
}  // namespace deep_hessian
