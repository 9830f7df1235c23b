// Scratch memory of the kernels: one set of growing buffers per thread, so that no kernel allocates in
// steady state and worker threads never share one.
#pragma once
#include <cstddef>

namespace deep_hessian {

// One slot per simultaneous use. A kernel may hold several slots, never the same one twice.
enum class Scratch : int { kLapack, kLapackInteger, kFactor, kColumn, kPermutation, kPivots, kPanel, kTile, kCount };

// At least `bytes` bytes, 64-byte aligned, valid until the next call for the same slot on this thread.
// Throws std::bad_alloc when the memory is not there; the border turns that into a JavaScript error.
void* scratchBytes(Scratch slot, std::size_t bytes);

template <class T>
T* scratch(Scratch slot, std::size_t count) {
  return static_cast<T*>(scratchBytes(slot, count * sizeof(T)));
}

}  // namespace deep_hessian
