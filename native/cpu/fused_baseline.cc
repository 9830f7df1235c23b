// The fused kernels for the least processor of the architecture: SSE2 on x86-64, NEON on arm64.
#include "cpu/fused_prelude.h"

#if defined(__aarch64__)
#define FUSED_NAME "neon"
#else
#define FUSED_NAME "baseline"
#endif
#define FUSED_TABLE kFusedBaseline
#define FUSED_BYTES 16
#define FUSED_PANEL 2
#define FUSED_ROWS 4
namespace deep_hessian {
namespace {
#include "cpu/fused_body.h"
}  // namespace
FUSED_DEFINE_TABLE
}  // namespace deep_hessian
