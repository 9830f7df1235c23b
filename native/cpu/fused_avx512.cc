// The fused kernels for AVX-512 (x86-64-v4).
#include "cpu/fused_prelude.h"

#ifdef DEEP_HESSIAN_X86
// Everything after this line is compiled for the set; the standard headers above are not, so that no function
// shared with other files needs it.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512dq,avx512vl,avx512bw,avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512dq,avx512vl,avx512bw,avx2,fma,prefer-vector-width=512")
#endif
#define FUSED_NAME "avx512"
#define FUSED_TABLE kFusedAvx512
#define FUSED_BYTES 64
#define FUSED_PANEL 4
#define FUSED_ROWS 8
namespace deep_hessian {
namespace {
#include "cpu/fused_body.h"
}  // namespace
FUSED_DEFINE_TABLE
}  // namespace deep_hessian
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
