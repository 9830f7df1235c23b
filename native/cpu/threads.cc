#include "cpu/threads.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <mutex>

#include "cpu/blas.h"

namespace deep_hessian {
namespace {

std::atomic<int> current{1};
std::once_flag once;

}  // namespace

int maxThreads() {
  static const int limit = [] {
    const char* found = std::strstr(openblas_get_config(), "MAX_THREADS=");
    const int parsed = found ? std::atoi(found + std::strlen("MAX_THREADS=")) : 1;
    return parsed > 0 ? parsed : 1;
  }();
  return limit;
}

int setThreads(int threads) {
  openblas_set_num_threads(std::clamp(threads, 1, maxThreads()));
  current = openblas_get_num_threads();
  return current;
}

int threadsInForce() { return current; }

void initializeThreads() {
  std::call_once(once, [] {
    const char* text = std::getenv("DEEP_HESSIAN_THREADS");
    const int wanted = text ? std::atoi(text) : 1;
    setThreads(wanted > 0 ? wanted : 1);
  });
}

}  // namespace deep_hessian
