// The kernels as JavaScript functions: name and raw callback. Each file of wrappers lists its own; addon.cc joins
// the lists.
#pragma once
#include <node_api.h>

#include <vector>

namespace deep_hessian {

struct Export {
  const char* name;
  napi_callback callback;
};

const std::vector<Export>& blasExports();
const std::vector<Export>& lapackExports();
const std::vector<Export>& batchExports();
const std::vector<Export>& fusedExports();
const std::vector<Export>& systemExports();
const std::vector<Export>& cudaExports();

}  // namespace deep_hessian
