#include "core/workspace.h"

#include <cstdlib>
#include <new>

namespace deep_hessian {
namespace {

constexpr std::size_t kAlignment = 64;

struct Buffers {
  void* data[static_cast<int>(Scratch::kCount)] = {};
  std::size_t bytes[static_cast<int>(Scratch::kCount)] = {};
  ~Buffers() {
    for (void* p : data) std::free(p);
  }
};

thread_local Buffers buffers;

}  // namespace

void* scratchBytes(Scratch slot, std::size_t bytes) {
  const int i = static_cast<int>(slot);
  if (buffers.bytes[i] < bytes || buffers.data[i] == nullptr) {
    std::free(buffers.data[i]);
    buffers.data[i] = nullptr;
    buffers.bytes[i] = 0;
    // A quarter more than asked, so that slowly growing problems do not allocate every time.
    const std::size_t rounded = (bytes + bytes / 4 + kAlignment) / kAlignment * kAlignment;
    buffers.data[i] = std::aligned_alloc(kAlignment, rounded);
    if (buffers.data[i] == nullptr) throw std::bad_alloc();
    buffers.bytes[i] = rounded;
  }
  return buffers.data[i];
}

}  // namespace deep_hessian
