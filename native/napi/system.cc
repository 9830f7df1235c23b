// What is loaded, the thread count of the process, and the locks on files that Node does not have.
#include <napi.h>

#ifndef _WIN32
#include <sys/file.h>

#include <cerrno>
#endif

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

// An exclusive advisory lock (flock) on an open file, not waited for: 0 it is held, 1 somebody else holds one, 2 the platform or
// the file system has none; otherwise minus the system's error number.
int lockDescriptor(int descriptor) {
#ifdef _WIN32
  (void)descriptor;
  return 2;
#else
  while (flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
    const int error = errno;
    if (error == EINTR) continue;
    if (error == EWOULDBLOCK) return 1;
    return error == ENOLCK || error == ENOSYS || error == EOPNOTSUPP || error == EINVAL ? 2 : -error;
  }
  return 0;
#endif
}

napi_value lockFile(napi_env env, napi_callback_info info) {
  Args args(env, info, "lockFile");
  const int descriptor = args.integer("descriptor", 0);
  return args.ok() ? args.result(lockDescriptor(descriptor)) : nullptr;
}

}  // namespace

const std::vector<Export>& systemExports() {
  static const std::vector<Export> list = {{"info", info}, {"setThreads", setThreadsKernel}, {"lockFile", lockFile}};
  return list;
}

}  // namespace deep_hessian
