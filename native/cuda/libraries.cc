#include "cuda/libraries.h"

#include <cstdlib>
#include <cstring>

#if defined(__linux__)
#include <dirent.h>
#include <dlfcn.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#endif

namespace deep_hessian {
namespace cuda {

std::string statusName(const Api& api, const char* library, int status) {
  struct Entry {
    int status;
    const char* name;
  };
  const auto lookUp = [&](const Entry* entries, std::size_t count) -> std::string {
    for (std::size_t i = 0; i < count; i++) {
      if (entries[i].status == status) return entries[i].name;
    }
    return "unknown status";
  };
  // cuBLAS names its codes only since 11.4 and cuSOLVER never does: both lists are part of the binary interface.
  static const Entry blas[] = {
      {1, "CUBLAS_STATUS_NOT_INITIALIZED"}, {3, "CUBLAS_STATUS_ALLOC_FAILED"},   {7, "CUBLAS_STATUS_INVALID_VALUE"},
      {8, "CUBLAS_STATUS_ARCH_MISMATCH"},   {11, "CUBLAS_STATUS_MAPPING_ERROR"}, {13, "CUBLAS_STATUS_EXECUTION_FAILED"},
      {14, "CUBLAS_STATUS_INTERNAL_ERROR"}, {15, "CUBLAS_STATUS_NOT_SUPPORTED"}, {16, "CUBLAS_STATUS_LICENSE_ERROR"}};
  static const Entry solver[] = {
      {1, "CUSOLVER_STATUS_NOT_INITIALIZED"}, {2, "CUSOLVER_STATUS_ALLOC_FAILED"},
      {3, "CUSOLVER_STATUS_INVALID_VALUE"},   {4, "CUSOLVER_STATUS_ARCH_MISMATCH"},
      {5, "CUSOLVER_STATUS_MAPPING_ERROR"},   {6, "CUSOLVER_STATUS_EXECUTION_FAILED"},
      {7, "CUSOLVER_STATUS_INTERNAL_ERROR"},  {8, "CUSOLVER_STATUS_MATRIX_TYPE_NOT_SUPPORTED"},
      {9, "CUSOLVER_STATUS_NOT_SUPPORTED"},   {31, "CUSOLVER_STATUS_INVALID_WORKSPACE"}};
  static const Entry compiler[] = {{1, "NVRTC_ERROR_OUT_OF_MEMORY"},
                                   {3, "NVRTC_ERROR_INVALID_INPUT"},
                                   {5, "NVRTC_ERROR_INVALID_OPTION"},
                                   {6, "NVRTC_ERROR_COMPILATION"},
                                   {7, "NVRTC_ERROR_BUILTIN_OPERATION_FAILURE"},
                                   {11, "NVRTC_ERROR_INTERNAL_ERROR"}};
  const char* name = nullptr;
  if (std::strcmp(library, "driver") == 0) {
    if (api.cuGetErrorName == nullptr || api.cuGetErrorName(status, &name) != 0) name = nullptr;
    return name ? name : "unknown status";
  }
  if (std::strcmp(library, "runtime") == 0) {
    name = api.cudaGetErrorName ? api.cudaGetErrorName(status) : nullptr;
    return name ? name : "unknown status";
  }
  if (std::strcmp(library, "cublas") == 0) return lookUp(blas, sizeof blas / sizeof *blas);
  if (std::strcmp(library, "cusolver") == 0) return lookUp(solver, sizeof solver / sizeof *solver);
  return lookUp(compiler, sizeof compiler / sizeof *compiler);
}

#if !defined(__linux__)

const Libraries& libraries() {
  static const Libraries none = [] {
    Libraries out;
    out.reason = "CUDA is looked for on Linux only";
    return out;
  }();
  return none;
}

#else

namespace {

using Names = std::vector<std::string>;

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

Names split(const std::string& text) {
  Names parts;
  for (std::size_t from = 0; from <= text.size();) {
    const std::size_t to = std::min(text.find(':', from), text.size());
    if (to > from) parts.push_back(text.substr(from, to - from));
    from = to + 1;
  }
  return parts;
}

// Names in a folder that begin with `prefix`, the last in the alphabet first: newer versions come before older ones.
Names entries(const std::string& folder, const std::string& prefix) {
  Names names;
  DIR* directory = opendir(folder.c_str());
  if (directory == nullptr) return names;
  while (const dirent* entry = readdir(directory)) {
    const std::string name = entry->d_name;
    if (name[0] != '.' && name.compare(0, prefix.size(), prefix) == 0) names.push_back(name);
  }
  closedir(directory);
  std::sort(names.rbegin(), names.rend());
  return names;
}

// <folder>/nvidia/*/lib: one package of Python a library in CUDA 12 (nvidia/cublas/lib), one for all in 13 (nvidia/cu13/lib).
void addPythonPackages(const std::string& folder, Names& out) {
  for (const std::string& name : entries(folder + "/nvidia", "")) out.push_back(folder + "/nvidia/" + name + "/lib");
}

// <prefix>/lib/python3*/{site,dist}-packages
void addPython(const std::string& prefix, Names& out) {
  if (prefix.empty()) return;
  for (const std::string& version : entries(prefix + "/lib", "python3")) {
    for (const char* packages : {"/site-packages", "/dist-packages"}) addPythonPackages(prefix + "/lib/" + version + packages, out);
  }
}

// The prefixes of the python3 that PATH names: of the link, which in a virtual environment leads out of it, and of where it leads.
void addPythonOnPath(Names& out) {
  for (const std::string& folder : split(environment("PATH"))) {
    std::string file = folder + "/python3";
    if (file[0] != '/' || access(file.c_str(), X_OK) != 0) continue;
    for (int links = 0; links < 8; ++links) {
      const std::string bin = file.substr(0, file.rfind('/'));
      addPython(bin.substr(0, bin.rfind('/')), out);
      char target[4096];
      const ssize_t length = readlink(file.c_str(), target, sizeof target);
      if (length <= 0 || length == static_cast<ssize_t>(sizeof target)) break;
      const std::string next(target, static_cast<std::size_t>(length));
      file = next[0] == '/' ? next : bin + "/" + next;
    }
    return;
  }
}

struct SearchPath {
  Names first, last;  // folders before and after the system's own search path
};

SearchPath searchPath() {
  SearchPath path;
  for (const std::string& folder : split(environment("DEEP_HESSIAN_CUDA_PATH"))) {
    path.first.push_back(folder);
    path.first.push_back(folder + "/lib64");
    path.first.push_back(folder + "/lib");
    addPythonPackages(folder, path.first);
  }
  for (const char* variable : {"CUDA_HOME", "CUDA_PATH"}) {
    const std::string home = environment(variable);
    if (!home.empty()) path.last.push_back(home + "/lib64");
  }
  for (const std::string& name : entries("/usr/local", "cuda")) path.last.push_back("/usr/local/" + name + "/lib64");
  path.last.push_back("/usr/lib/wsl/lib");
  addPython(environment("VIRTUAL_ENV"), path.last);
  addPython(environment("CONDA_PREFIX"), path.last);
  addPythonOnPath(path.last);
  const std::string home = environment("HOME");
  if (!home.empty()) addPython(home + "/.local", path.last);
  addPython("/usr/local", path.last);
  addPython("/usr", path.last);
  return path;
}

// The file that a loaded library came from, where the system's search path found it.
std::string mappedFile(const std::string& name) {
  std::string found;
  std::FILE* maps = std::fopen("/proc/self/maps", "r");
  if (maps == nullptr) return name;
  char line[4352];
  while (found.empty() && std::fgets(line, sizeof line, maps)) {
    const char* path = std::strchr(line, '/');
    if (path == nullptr) continue;
    std::string file = path;
    while (!file.empty() && file.back() == '\n') file.pop_back();
    const std::size_t slash = file.rfind('/');
    // The link libcublas.so.13 leads to libcublas.so.13.1.0.
    if (file.compare(slash + 1, name.size(), name) == 0) found = file;
  }
  std::fclose(maps);
  return found.empty() ? name : found;
}

struct Opened {
  void* handle = nullptr;
  std::string file, error;
};

Opened open(const SearchPath& path, const std::string& name) {
  Opened out;
  const auto attempt = [&](const std::string& file) {
    out.handle = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (out.handle) out.file = file;
    return out.handle != nullptr;
  };
  // A folder without the file is no news; a file that does not load is.
  const auto attemptIn = [&](const Names& folders) {
    for (const std::string& folder : folders) {
      const std::string file = folder + "/" + name;
      std::FILE* there = std::fopen(file.c_str(), "rb");
      if (there == nullptr) continue;
      std::fclose(there);
      if (attempt(file)) return true;
      const char* message = dlerror();
      if (out.error.empty() && message) out.error = message;
    }
    return false;
  };
  if (attemptIn(path.first)) return out;
  if (attempt(name)) {
    out.file = mappedFile(name);
    return out;
  }
  const char* message = dlerror();
  const std::string plain = message ? message : name + " does not load";
  if (attemptIn(path.last)) return out;
  if (out.error.empty()) out.error = plain;
  return out;
}

std::string dotted(int version) { return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10); }

// Fills the pointers of one library; the names that are missing, with blanks between.
#define RESOLVE(result, name, parameters)                                      \
  if (void* symbol = dlsym(handle, #name)) {                                   \
    *reinterpret_cast<void**>(&api.name) = symbol;                             \
  } else {                                                                     \
    missing += std::string(missing.empty() ? "" : " ") + #name;                \
  }
std::string resolveDriver(void* handle, Api& api) { std::string missing; DEEP_HESSIAN_CUDA_DRIVER(RESOLVE) return missing; }
std::string resolveRuntime(void* handle, Api& api) { std::string missing; DEEP_HESSIAN_CUDA_RUNTIME(RESOLVE) return missing; }
std::string resolveBlas(void* handle, Api& api) { std::string missing; DEEP_HESSIAN_CUBLAS(RESOLVE) return missing; }
std::string resolveSolver(void* handle, Api& api) { std::string missing; DEEP_HESSIAN_CUSOLVER(RESOLVE) return missing; }
std::string resolveCompiler(void* handle, Api& api) { std::string missing; DEEP_HESSIAN_NVRTC(RESOLVE) return missing; }
#undef RESOLVE

std::string property(int (*get)(int, int*)) {
  int parts[3];
  for (int k = 0; k < 3; k++) {
    if (get(k, &parts[k]) != 0) return "";
  }
  return std::to_string(parts[0]) + "." + std::to_string(parts[1]) + "." + std::to_string(parts[2]);
}

// One library of a toolkit: its name, the file names by major version of CUDA, and how it is asked for its version.
struct Part {
  const char* name;
  std::string (*resolve)(void*, Api&);
  std::string (*version)(const Api&);
  std::string (*soname)(int major);
};

const Part kParts[] = {
    {"runtime", resolveRuntime,
     [](const Api& api) {
       int version = 0;
       return api.cudaRuntimeGetVersion(&version) == 0 ? dotted(version) : std::string();
     },
     [](int major) { return "libcudart.so." + std::to_string(major); }},
    {"cublas", resolveBlas, [](const Api& api) { return property(api.cublasGetProperty); },
     [](int major) { return "libcublas.so." + std::to_string(major); }},
    // cuSOLVER counts one behind: .so.11 belongs to CUDA 12.
    {"cusolver", resolveSolver, [](const Api& api) { return property(api.cusolverGetProperty); },
     [](int major) { return "libcusolver.so." + std::to_string(major - 1); }},
    {"nvrtc", resolveCompiler,
     [](const Api& api) {
       int major = 0, minor = 0;
       return api.nvrtcVersion(&major, &minor) == 0 ? std::to_string(major) + "." + std::to_string(minor) : std::string();
     },
     [](int major) { return "libnvrtc.so." + std::to_string(major); }},
};

constexpr int kNewest = 13, kOldest = 12;

// The libraries of one major version. Complete or not, the handles stay open: CUDA libraries do not like being unloaded.
std::vector<Library> openToolkit(const SearchPath& path, int major, Api& api, bool& complete) {
  std::vector<Library> out;
  complete = true;
  // cuSOLVER and cuBLAS need these beside them. Where they lie in folders of their own the loader would not find them.
  const std::string number = std::to_string(major);
  open(path, "libnvJitLink.so." + number);
  open(path, "libcublasLt.so." + number);
  bool sparse = false;
  for (const Part& part : kParts) {
    if (std::strcmp(part.name, "cusolver") == 0 && !sparse) {
      sparse = true;
      open(path, "libcusparse.so.12");  // of CUDA 12 and 13
    }
    Library library{part.name, "", "", ""};
    const Opened opened = open(path, part.soname(major));
    if (opened.handle == nullptr) {
      library.error = opened.error;
    } else {
      library.file = opened.file;
      const std::string missing = part.resolve(opened.handle, api);
      if (missing.empty()) library.version = part.version(api);
      else library.error = "symbols are missing: " + missing;
      // NVRTC opens this file by its bare name at the first compilation, and finds it in no folder of its own.
      if (std::strcmp(part.name, "nvrtc") == 0 && !library.version.empty()) {
        const std::string builtins = "libnvrtc-builtins.so." + library.version;
        const std::string beside = library.file.substr(0, library.file.rfind('/') + 1) + builtins;
        if (dlopen(beside.c_str(), RTLD_NOW | RTLD_LOCAL) == nullptr) open(path, builtins);
      }
    }
    if (!library.error.empty()) complete = false;
    out.push_back(library);
  }
  return out;
}

std::string describeDriver(const Api& api, int status) {
  return statusName(api, "driver", status) + " (" + std::to_string(status) + ")";
}

// Asks the driver for its cards.
void readDevices(Libraries& out) {
  const Api& api = out.api;
  int status = api.cuInit(0), count = 0;
  if (status == 0) status = api.cuDeviceGetCount(&count);
  if (status != 0) {
    out.reason = "the NVIDIA driver reports " + describeDriver(api, status);
    return;
  }
  if (count == 0) out.reason = "the NVIDIA driver reports no device";
  for (int index = 0; index < count; index++) {
    DeviceFacts facts{index, "", 0, 0, 0, 0};
    int device = 0;
    char name[256] = "";
    std::size_t memory = 0;
    if ((status = api.cuDeviceGet(&device, index)) != 0 || (status = api.cuDeviceGetName(name, sizeof name, device)) != 0 ||
        (status = api.cuDeviceTotalMem_v2(&memory, device)) != 0 ||
        (status = api.cuDeviceGetAttribute(&facts.major, kCapabilityMajor, device)) != 0 ||
        (status = api.cuDeviceGetAttribute(&facts.minor, kCapabilityMinor, device)) != 0 ||
        (status = api.cuDeviceGetAttribute(&facts.multiprocessors, kMultiprocessors, device)) != 0) {
      out.reason = "device " + std::to_string(index) + " does not answer: " + describeDriver(api, status);
      return;
    }
    facts.name = name;
    facts.memory = static_cast<double>(memory);
    out.devices.push_back(facts);
  }
}

Libraries load() {
  Libraries out;
  if (environment("DEEP_HESSIAN_CUDA_PATH") == "none") {
    out.reason = "DEEP_HESSIAN_CUDA_PATH=none";
    return out;
  }
  const SearchPath path = searchPath();
  Library driver{"driver", "", "", ""};
  const Opened opened = open(path, "libcuda.so.1");
  int driverVersion = 0;
  if (opened.handle == nullptr) {
    driver.error = opened.error;
    out.reason = "no NVIDIA driver: " + opened.error;
  } else {
    driver.file = opened.file;
    const std::string missing = resolveDriver(opened.handle, out.api);
    if (!missing.empty()) {
      driver.error = "symbols are missing: " + missing;
      out.reason = "the NVIDIA driver " + opened.file + " is too old: " + driver.error;
    } else {
      if (out.api.cuDriverGetVersion(&driverVersion) == 0) driver.version = dotted(driverVersion);
      readDevices(out);
    }
  }
  out.found.push_back(driver);

  // The newest complete toolkit that the driver runs; else what the newest one with anything found lacks.
  std::vector<Library> best;
  int bestMajor = 0;
  bool complete = false;
  for (int major = kNewest; major >= kOldest && !complete; major--) {
    if (driverVersion > 0 && major > driverVersion / 1000) continue;
    Api api = out.api;
    std::vector<Library> found = openToolkit(path, major, api, complete);
    const bool any = std::any_of(found.begin(), found.end(), [](const Library& library) { return !library.file.empty(); });
    if (!complete && !best.empty() && !any) continue;
    if (complete || best.empty() || bestMajor == 0) {
      best = found;
      bestMajor = any ? major : 0;
    }
    if (complete) out.api = api;
  }
  out.found.insert(out.found.end(), best.begin(), best.end());
  if (!out.reason.empty()) return out;
  if (best.empty()) {
    out.reason = "the NVIDIA driver runs CUDA " + driver.version + ", older than " + std::to_string(kOldest);
    return out;
  }
  if (!complete) {
    std::string lacking;
    for (const Library& library : best) {
      if (!library.error.empty()) lacking += (lacking.empty() ? "" : "; ") + std::string(library.name) + ": " + library.error;
    }
    out.reason = "CUDA libraries are missing: " + lacking;
  }
  return out;
}

}  // namespace

const Libraries& libraries() {
  static const Libraries loaded = load();
  return loaded;
}

#endif

}  // namespace cuda
}  // namespace deep_hessian
