// The CUDA libraries of this machine, looked for at run time and loaded once per process, when first asked for.
#pragma once
#include <string>
#include <vector>

#include "cuda/prototypes.h"

namespace deep_hessian {
namespace cuda {

struct Library {
  const char* name;     // 'driver', 'runtime', 'cublas', 'cusolver', 'nvrtc'
  std::string file;     // the file that was loaded, empty where none was
  std::string version;  // as the library says it, empty where it did not
  std::string error;    // why it is not usable, empty where it is
};

struct DeviceFacts {
  int index;
  std::string name;
  double memory;  // bytes
  int major, minor, multiprocessors;
};

struct Libraries {
  Api api;
  std::vector<Library> found;
  std::vector<DeviceFacts> devices;
  std::string reason;  // why CUDA cannot be used; empty where it can
  bool usable() const { return reason.empty(); }
};

// Loads the libraries at the first call. Thread-safe. Where they are looked for, for each of them in turn:
//   the folders in DEEP_HESSIAN_CUDA_PATH (':' between; 'none' switches CUDA off), the system's own search path,
//   CUDA_HOME and CUDA_PATH, /usr/local/cuda*, and nvidia/*/lib of Python's site-packages.
// All four libraries come from one major version of CUDA, the newest that the driver runs and that is complete.
const Libraries& libraries();

// Name of a status code of 'driver', 'runtime', 'cublas', 'cusolver' or 'nvrtc', e.g. "cudaErrorMemoryAllocation".
std::string statusName(const Api& api, const char* library, int status);

}  // namespace cuda
}  // namespace deep_hessian
