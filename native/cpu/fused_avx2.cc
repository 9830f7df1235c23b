// The fused kernels for AVX2 with FMA (x86-64-v3).
#include "cpu/fused_prelude.h"

#ifdef DEEP_HESSIAN_X86
// Everything after this line is compiled for the set; the standard headers above are not, so that no function
// shared with other files needs it.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif
#define FUSED_NAME "avx2"
#define FUSED_TABLE kFusedAvx2
#define FUSED_BYTES 32
#define FUSED_PANEL 3
#define FUSED_ROWS 4
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
