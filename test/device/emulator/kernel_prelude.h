// What CUDA C needs to be compiled as C++ and run on the host: the blocks one after another, the threads of a block as
// coroutines that change places at every barrier. Put before the text of the kernels by compiler.cc.
#pragma once
#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#define __global__
#define __device__ static
#define __shared__ static
#define __launch_bounds__(n)

struct Dim {
  unsigned x, y;
};
static Dim threadIdx, blockIdx, blockDim, gridDim;

static ucontext_t emulatedScheduler;
static std::vector<ucontext_t> emulatedThreads;
static std::vector<std::vector<char>> emulatedStacks;
static std::vector<bool> emulatedDone;
static int emulatedCurrent = -1;
static const std::function<void()>* emulatedBody;

static void __syncthreads() {
  if (emulatedCurrent >= 0) swapcontext(&emulatedThreads[emulatedCurrent], &emulatedScheduler);
}
static void emulatedEntry() {
  (*emulatedBody)();
  emulatedDone[emulatedCurrent] = true;
}

// 5 ulp on the card; long double keeps the tail here.
static double normcdf(double x) { return (double)(0.5L * erfcl(-(long double)x / sqrtl(2.0L))); }

static void emulatedBlock(const std::function<void()>& body, unsigned bx, unsigned by, bool barriers) {
  const int count = (int)(bx * by);
  if (!barriers) {
    emulatedCurrent = -1;
    for (int t = 0; t < count; t++) {
      threadIdx = {t % bx, t / bx};
      body();
    }
    return;
  }
  emulatedBody = &body;
  emulatedThreads.assign(count, ucontext_t());
  emulatedStacks.resize(count);
  emulatedDone.assign(count, false);
  for (int t = 0; t < count; t++) {
    emulatedStacks[t].resize(32768);
    getcontext(&emulatedThreads[t]);
    emulatedThreads[t].uc_stack.ss_sp = emulatedStacks[t].data();
    emulatedThreads[t].uc_stack.ss_size = emulatedStacks[t].size();
    emulatedThreads[t].uc_link = &emulatedScheduler;
    makecontext(&emulatedThreads[t], emulatedEntry, 0);
  }
  for (bool alive = true; alive;) {
    alive = false;
    // From barrier to barrier, the last thread first.
    for (int t = count - 1; t >= 0; t--) {
      if (emulatedDone[t]) continue;
      emulatedCurrent = t;
      threadIdx = {t % bx, t / bx};
      swapcontext(&emulatedScheduler, &emulatedThreads[t]);
      alive |= !emulatedDone[t];
    }
  }
  emulatedCurrent = -1;
}

// An argument as the kernel takes it; addresses lose the tag that keeps the host from using them.
template <class A>
static A emulatedArgument(void* at) {
  A value = *static_cast<A*>(at);
  if constexpr (std::is_pointer<A>::value) {
    const auto tag = std::uintptr_t{1} << 56;
    auto place = reinterpret_cast<std::uintptr_t>(value);
    if (place >= tag) value = reinterpret_cast<A>(place - tag);
    else if (place != 0) __builtin_trap();  // an address of the host
  }
  return value;
}

using EmulatedLaunch = std::function<void(unsigned, unsigned, unsigned, unsigned)>;

template <class... A, std::size_t... I>
static EmulatedLaunch* emulatedBind(void (*kernel)(A...), void** at, bool barriers, std::index_sequence<I...>) {
  const std::function<void()> body = [kernel, values = std::make_tuple(emulatedArgument<A>(at[I])...)] { std::apply(kernel, values); };
  return new EmulatedLaunch([body, barriers](unsigned gx, unsigned gy, unsigned bx, unsigned by) {
    blockDim = {bx, by};
    gridDim = {gx, gy};
    for (unsigned y = 0; y < gy; y++) {
      for (unsigned x = 0; x < gx; x++) {
        blockIdx = {x, y};
        emulatedBlock(body, bx, by, barriers);
      }
    }
  });
}
template <class... A>
static EmulatedLaunch* emulatedBind(void (*kernel)(A...), void** at, bool barriers) {
  return emulatedBind(kernel, at, barriers, std::index_sequence_for<A...>());
}
