// The one thread count of the process. OpenBLAS keeps its own per process, shared by all worker threads;
// the fused kernels follow it.
#pragma once

namespace deep_hessian {

// At load: DEEP_HESSIAN_THREADS when it is a positive integer, else 1. With two BLAS threads and several callers
// OpenBLAS collapses, so more than one is a decision of whoever knows that there is a single caller.
void initializeThreads();
int setThreads(int threads);
int threadsInForce();
int maxThreads();

}  // namespace deep_hessian
