// Compiled kernels kept between processes: compiling takes seconds, reading them back milliseconds.
//
// One file for each source, architecture and compiler version in DEEP_HESSIAN_CUDA_CACHE, default
// $XDG_CACHE_HOME/deep-hessian or ~/.cache/deep-hessian; 'none' switches it off. A file that is not whole is not used, and
// a folder that cannot be written to is no failure.
#pragma once
#include <string>

namespace deep_hessian {
namespace cuda {

std::string readCachedCode(const std::string& key);  // empty where there is none
void writeCachedCode(const std::string& key, const std::string& code);

}  // namespace cuda
}  // namespace deep_hessian
