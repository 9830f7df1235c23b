// Memory, streams and failures of the emulated card. Shared by the parts of the emulator.
//
// Strict where a real card is: device addresses cannot be dereferenced by the host; work is queued and runs when somebody
// waits for it, streams in no order but that of events; memory ends in a page without access and starts out as NaN; a
// call can be told to fail by the environment variable EMULATED_CUDA_FAIL=<call>:<how many times it succeeds>:<status>.
#pragma once
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>

namespace emulator {

struct Stream {
  std::deque<std::function<void()>> queue;
  std::uint64_t queued = 0, done = 0;
};

struct Event {
  Stream* stream = nullptr;
  std::uint64_t position = 0;
};

// Added to addresses that the host sees: beyond any address it could use.
constexpr std::uintptr_t kTag = std::uintptr_t{1} << 56;

void enqueue(Stream* stream, std::function<void()> work);
void drain(Stream* stream, std::uint64_t position);
void drainAll();

// The status that a call returns without doing anything, 0 to go on. Fatal statuses of the runtime stay.
int injected(const char* call);

// The host's view of `bytes` of device memory; ends the process with a message when they do not lie in one allocation.
void* inside(const void* address, std::size_t bytes, const char* call);
template <class T>
T* at(const T* address, std::size_t count, const char* call) {
  return static_cast<T*>(inside(address, count * sizeof(T), call));
}

[[noreturn]] void die(const char* call, const char* what);

}  // namespace emulator

#define EMULATED extern "C" __attribute__((visibility("default")))
#define MAY_FAIL(call)                                                \
  do {                                                                \
    if (const int status = emulator::injected(#call)) return status; \
  } while (0)
