// The element-wise kernels compiled for one architecture.
#pragma once
#include <memory>
#include <string>

#include "cuda/libraries.h"

namespace deep_hessian {
namespace cuda {

// Machine code (or PTX where the compiler does not know the card yet) of kKernelSource for compute capability
// major.minor. Compiled once per process and architecture. Throws Failure.
std::shared_ptr<const std::string> compiledKernels(const Api& api, int major, int minor);

}  // namespace cuda
}  // namespace deep_hessian
