#include "cuda/compile.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <vector>

#include "cuda/code_cache.h"
#include "cuda/device.h"
#include "cuda/kernels_source.h"

namespace deep_hessian {
namespace cuda {
namespace {

void check(const Api& api, const char* call, int status, const std::string& detail = "") {
  if (status == 0) return;
  throw Failure{Failure::kFailed, "nvrtc", call, statusName(api, "nvrtc", status), status, detail, 0, 0, 0};
}

// The architecture to compile for: the card's own where NVRTC knows it (machine code, nothing left to the driver), else
// the newest older one as PTX, which the driver translates.
std::string target(const Api& api, int capability, bool& machineCode) {
  int count = 0;
  check(api, "nvrtcGetNumSupportedArchs", api.nvrtcGetNumSupportedArchs(&count));
  std::vector<int> known(std::max(count, 1));
  if (count > 0) check(api, "nvrtcGetSupportedArchs", api.nvrtcGetSupportedArchs(known.data()));
  known.resize(std::max(count, 0));
  machineCode = std::find(known.begin(), known.end(), capability) != known.end();
  if (machineCode) return "--gpu-architecture=sm_" + std::to_string(capability);
  int best = 0;
  for (const int arch : known) {
    if (arch <= capability) best = std::max(best, arch);
  }
  if (best == 0) {
    throw Failure{Failure::kUnavailable, "nvrtc", "nvrtcGetSupportedArchs", "", 0,
                  "this NVRTC compiles for no card as old as compute capability " + std::to_string(capability / 10) + "." +
                      std::to_string(capability % 10),
                  0, 0, 0};
  }
  return "--gpu-architecture=compute_" + std::to_string(best);
}

std::string compile(const Api& api, int capability) {
  bool machineCode = false;
  const std::string architecture = target(api, capability, machineCode);
  int compilerMajor = 0, compilerMinor = 0;
  check(api, "nvrtcVersion", api.nvrtcVersion(&compilerMajor, &compilerMinor));
  const std::string key = architecture + " " + std::to_string(compilerMajor) + "." + std::to_string(compilerMinor) + "\n" + kKernelSource;
  std::string code = readCachedCode(key);
  if (!code.empty()) return code;
  Program program = nullptr;
  check(api, "nvrtcCreateProgram",
        api.nvrtcCreateProgram(&program, kKernelSource, "deep_hessian.cu", 0, nullptr, nullptr));
  struct Guard {
    const Api& api;
    Program* program;
    ~Guard() { api.nvrtcDestroyProgram(program); }
  } guard{api, &program};
  // Products and sums may be fused, as on the CPU.
  const char* options[] = {architecture.c_str(), "--std=c++17", "--fmad=true"};
  const int status = api.nvrtcCompileProgram(program, 3, options);
  if (status != 0) {
    std::size_t size = 0;
    std::string log;
    if (api.nvrtcGetProgramLogSize(program, &size) == 0 && size > 1) {
      log.resize(size);
      if (api.nvrtcGetProgramLog(program, &log[0]) != 0) log.clear();
      while (!log.empty() && (log.back() == '\0' || log.back() == '\n')) log.pop_back();
    }
    check(api, "nvrtcCompileProgram", status, architecture + ": " + log.substr(0, 2000));
  }
  std::size_t size = 0;
  if (machineCode) {
    check(api, "nvrtcGetCUBINSize", api.nvrtcGetCUBINSize(program, &size));
    code.resize(size);
    check(api, "nvrtcGetCUBIN", api.nvrtcGetCUBIN(program, &code[0]));
  } else {
    check(api, "nvrtcGetPTXSize", api.nvrtcGetPTXSize(program, &size));
    code.resize(size);
    check(api, "nvrtcGetPTX", api.nvrtcGetPTX(program, &code[0]));
  }
  writeCachedCode(key, code);
  return code;
}

}  // namespace

std::shared_ptr<const std::string> compiledKernels(const Api& api, int major, int minor) {
  static std::mutex mutex;
  static std::map<int, std::shared_ptr<const std::string>> done;
  const int capability = 10 * major + minor;
  const std::lock_guard<std::mutex> lock(mutex);
  std::shared_ptr<const std::string>& code = done[capability];
  if (!code) code = std::make_shared<const std::string>(compile(api, capability));
  return code;
}

}  // namespace cuda
}  // namespace deep_hessian
