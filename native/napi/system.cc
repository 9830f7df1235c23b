// What is loaded, and the thread count of the process.
#include <napi.h>

#include "cpu/blas.h"
#include "cpu/fused.h"
#include "cpu/threads.h"
#include "napi/arguments.h"
#include "napi/exports.h"

namespace deep_hessian {
namespace {

napi_value info(napi_env rawEnv, napi_callback_info) {
  const Napi::Env env(rawEnv);
  Napi::Object out = Napi::Object::New(env);
  out.Set("backend", "openblas");
  out.Set("version", openblas_get_config());
  out.Set("core", openblas_get_corename());
  out.Set("threads", threadsInForce());
  out.Set("maxThreads", maxThreads());
  out.Set("simd", fusedKernels().name);
  out.Set("file", env.Null());
  return out;
}

napi_value setThreadsKernel(napi_env env, napi_callback_info info) {
  Args args(env, info, "setThreads");
  const int threads = args.integer("threads", 1);
  return args.ok() ? args.result(setThreads(threads)) : nullptr;
}

}  // namespace

const std::vector<Export>& systemExports() {
  static const std::vector<Export> list = {{"info", info}, {"setThreads", setThreadsKernel}};
  return list;
}

}  // namespace deep_hessian
