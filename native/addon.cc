// The export table of the native core. Kernels keep no state of their own beyond per-thread scratch memory, so the
// addon may be loaded by any number of worker threads.
#include <napi.h>

#include <vector>

#include "cpu/fused.h"
#include "cpu/threads.h"
#include "napi/exports.h"

namespace {

Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  deep_hessian::initializeThreads();
  deep_hessian::fusedKernels();
  std::vector<napi_property_descriptor> properties;
  for (const auto* list : {&deep_hessian::systemExports(), &deep_hessian::blasExports(), &deep_hessian::lapackExports(),
                           &deep_hessian::batchExports(), &deep_hessian::fusedExports(), &deep_hessian::cudaExports()}) {
    for (const deep_hessian::Export& entry : *list) {
      properties.push_back({entry.name, nullptr, entry.callback, nullptr, nullptr, nullptr, napi_enumerable, nullptr});
    }
  }
  if (napi_define_properties(env, exports, properties.size(), properties.data()) != napi_ok) {
    Napi::Error::New(env, "deep_hessian: the export table could not be created").ThrowAsJavaScriptException();
  }
  return exports;
}

}  // namespace

NODE_API_MODULE(NODE_GYP_MODULE_NAME, initialize)
