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

namespace {

// A block of one cache line by one. Both arrays are touched line by line, each line once: where columns lie a multiple of
// 4 KB apart, all lines of a block compete for the same few places of the first-level cache.
template <class T>
constexpr std::ptrdiff_t kLine = 64 / sizeof(T);
// Blocks of a tile are next to one another in few pages.
constexpr std::ptrdiff_t kTile = 64;

// B := A^T, rows x cols of A.
template <class T>
void transposeBlock(std::ptrdiff_t rows, std::ptrdiff_t cols, const T* a, std::ptrdiff_t lda, T* b, std::ptrdiff_t ldb) {
  constexpr std::ptrdiff_t L = kLine<T>;
  if (rows == L && cols == L) {
    T held[L * L];
    for (std::ptrdiff_t j = 0; j < L; j++) std::copy_n(a + j * lda, L, held + j * L);
    for (std::ptrdiff_t i = 0; i < L; i++) {
      for (std::ptrdiff_t j = 0; j < L; j++) b[j + i * ldb] = held[i + j * L];
    }
    return;
  }
  for (std::ptrdiff_t i = 0; i < rows; i++) {
    for (std::ptrdiff_t j = 0; j < cols; j++) b[j + i * ldb] = a[i + j * lda];
  }
}

// Calls work(i, rows, j, cols) for the blocks of an m x n matrix, with `lower` for those on the diagonal and below.
template <class T, class Work>
void eachBlock(std::ptrdiff_t m, std::ptrdiff_t n, bool lower, Work work) {
  constexpr std::ptrdiff_t L = kLine<T>;
  for (std::ptrdiff_t jTile = 0; jTile < n; jTile += kTile) {
    for (std::ptrdiff_t iTile = lower ? jTile : 0; iTile < m; iTile += kTile) {
      for (std::ptrdiff_t j = jTile; j < std::min(n, jTile + kTile); j += L) {
        for (std::ptrdiff_t i = lower ? std::max(iTile, j) : iTile; i < std::min(m, iTile + kTile); i += L) {
          work(i, std::min(L, m - i), j, std::min(L, n - j));
        }
      }
    }
  }
}

}  // namespace

template <class T>
void transpose(std::ptrdiff_t m, std::ptrdiff_t n, const T* a, std::ptrdiff_t lda, T* b, std::ptrdiff_t ldb) {
  eachBlock<T>(m, n, false, [&](std::ptrdiff_t i, std::ptrdiff_t rows, std::ptrdiff_t j, std::ptrdiff_t cols) {
    transposeBlock(rows, cols, a + i + j * lda, lda, b + j + i * ldb, ldb);
  });
}

template <class T>
void symmetrize(int upper, std::ptrdiff_t n, T* a, std::ptrdiff_t lda) {
  eachBlock<T>(n, n, true, [&](std::ptrdiff_t i, std::ptrdiff_t rows, std::ptrdiff_t j, std::ptrdiff_t cols) {
    T* below = a + i + j * lda;
    T* above = a + j + i * lda;
    if (i != j) {
      if (upper) transposeBlock(cols, rows, above, lda, below, lda);
      else transposeBlock(rows, cols, below, lda, above, lda);
      return;
    }
    for (std::ptrdiff_t c = 0; c < cols; c++) {
      for (std::ptrdiff_t r = c + 1; r < rows; r++) {
        T& lowerEntry = below[r + c * lda];
        T& upperEntry = below[c + r * lda];
        if (upper) lowerEntry = upperEntry;
        else upperEntry = lowerEntry;
      }
    }
  });
}

#define INSTANTIATE(T)                                                                                     \
  template void jacobianGram(const JacobianGram<T>&);                                                      \
  template void transpose(std::ptrdiff_t, std::ptrdiff_t, const T*, std::ptrdiff_t, T*, std::ptrdiff_t);   \
  template void symmetrize(int, std::ptrdiff_t, T*, std::ptrdiff_t);
INSTANTIATE(double)
INSTANTIATE(float)
#undef INSTANTIATE

}  // namespace deep_hessian
