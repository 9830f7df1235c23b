#include "cpu/fused.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <system_error>
#include <thread>
#include <vector>

#include "cpu/threads.h"

namespace deep_hessian {
namespace {

const FusedKernels& choose() {
#ifdef DEEP_HESSIAN_X86
  const char* wanted = std::getenv("DEEP_HESSIAN_SIMD");
  const auto allowed = [&](const char* name) { return wanted == nullptr || std::strcmp(wanted, name) == 0; };
  __builtin_cpu_init();
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw");
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (avx512 && avx2 && allowed("avx512")) return kFusedAvx512;
  if (avx2 && (allowed("avx2") || allowed("avx512"))) return kFusedAvx2;
#endif
  return kFusedBaseline;
}

}  // namespace

const FusedKernels& fusedKernels() {
  static const FusedKernels& chosen = choose();
  return chosen;
}

template <class T>
void jacobianGram(const JacobianGram<T>& problem) {
  const auto tiles = fused<T>().jacobianGramTiles;
  // A thread is worth starting from about a millisecond of work, 3e7 flops.
  double flops = 0;
  const double order = static_cast<double>(problem.samples) * problem.outputs;
  for (int l = 0; l < problem.layers; l++) flops += order * order * problem.widths[l];
  const int threads = std::max(1, std::min(threadsInForce(), static_cast<int>(std::min(flops / 3e7, 1e3))));
  std::vector<std::thread> others;
  int started = 1;
  if (threads > 1) {
    others.reserve(threads - 1);
    for (; started < threads; started++) {
      try {
        others.emplace_back([&problem, tiles, started, threads] { tiles(problem, started, threads); });
      } catch (const std::system_error&) {
        break;  // no more threads to be had: this one does their tiles
      }
    }
  }
  tiles(problem, 0, threads);
  for (int t = started; t < threads; t++) tiles(problem, t, threads);
  for (std::thread& other : others) other.join();
}

template <class T>
void transpose(std::ptrdiff_t m, std::ptrdiff_t n, const T* a, std::ptrdiff_t lda, T* b, std::ptrdiff_t ldb) {
  constexpr std::ptrdiff_t kBlock = 16;  // 16 x 16: two sets of sixteen cache lines or two
  for (std::ptrdiff_t j0 = 0; j0 < n; j0 += kBlock) {
    const std::ptrdiff_t j1 = std::min(n, j0 + kBlock);
    for (std::ptrdiff_t i0 = 0; i0 < m; i0 += kBlock) {
      const std::ptrdiff_t i1 = std::min(m, i0 + kBlock);
      for (std::ptrdiff_t i = i0; i < i1; i++) {
        for (std::ptrdiff_t j = j0; j < j1; j++) b[j + i * ldb] = a[i + j * lda];
      }
    }
  }
}

template <class T>
void symmetrize(int upper, std::ptrdiff_t n, T* a, std::ptrdiff_t lda) {
  constexpr std::ptrdiff_t kBlock = 16;
  for (std::ptrdiff_t j0 = 0; j0 < n; j0 += kBlock) {
    const std::ptrdiff_t j1 = std::min(n, j0 + kBlock);
    for (std::ptrdiff_t i0 = j0; i0 < n; i0 += kBlock) {
      const std::ptrdiff_t i1 = std::min(n, i0 + kBlock);
      for (std::ptrdiff_t j = j0; j < j1; j++) {
        for (std::ptrdiff_t i = std::max(i0, j + 1); i < i1; i++) {
          if (upper) a[i + j * lda] = a[j + i * lda];
          else a[j + i * lda] = a[i + j * lda];
        }
      }
    }
  }
}

#define INSTANTIATE(T)                                                                                     \
  template void jacobianGram(const JacobianGram<T>&);                                                      \
  template void transpose(std::ptrdiff_t, std::ptrdiff_t, const T*, std::ptrdiff_t, T*, std::ptrdiff_t);   \
  template void symmetrize(int, std::ptrdiff_t, T*, std::ptrdiff_t);
INSTANTIATE(double)
INSTANTIATE(float)
#undef INSTANTIATE

}  // namespace deep_hessian
