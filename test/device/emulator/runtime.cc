// The emulated driver and runtime: one card with two multiprocessors.
#include "runtime.h"

#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <set>
#include <string>

namespace emulator {
namespace {

struct Allocation {
  std::size_t bytes, mapped;
  void* base;
};

std::map<std::uintptr_t, Allocation>& allocations() {
  static auto* all = new std::map<std::uintptr_t, Allocation>();
  return *all;
}
std::set<Stream*>& streams() {
  static auto* all = new std::set<Stream*>();
  return *all;
}
std::size_t used = 0;
int sticky = 0;

std::size_t capacity() {
  const char* text = std::getenv("EMULATED_CUDA_MEMORY");
  return text ? std::strtoull(text, nullptr, 10) : std::size_t{1} << 30;
}

bool isFatal(int status) { return status == 700 || status == 719; }

}  // namespace

void die(const char* call, const char* what) {
  std::fprintf(stderr, "CUDA emulator: %s: %s\n", call, what);
  std::abort();
}

void enqueue(Stream* stream, std::function<void()> work) {
  if (stream == nullptr || streams().count(stream) == 0) die("enqueue", "not a stream");
  stream->queue.push_back(std::move(work));
  stream->queued++;
}

void drain(Stream* stream, std::uint64_t position) {
  if (streams().count(stream) == 0) return;
  while (stream->done < position && !stream->queue.empty()) {
    const std::function<void()> work = std::move(stream->queue.front());
    stream->queue.pop_front();
    stream->done++;
    work();
  }
}

void drainAll() {
  // The last stream first: whoever needs an order has to ask for it.
  for (auto it = streams().rbegin(); it != streams().rend(); ++it) drain(*it, (*it)->queued);
}

int injected(const char* call) {
  if (sticky && std::strncmp(call, "cuda", 4) == 0 && std::strcmp(call, "cudaGetErrorName") != 0) return sticky;
  static std::string armed;
  static long left = 0;
  const char* text = std::getenv("EMULATED_CUDA_FAIL");
  if (text == nullptr || *text == '\0') {
    armed.clear();
    return 0;
  }
  const std::string wanted = text;
  const std::size_t first = wanted.find(':'), second = wanted.find(':', first + 1);
  if (wanted != armed) {
    armed = wanted;
    left = std::strtol(wanted.c_str() + first + 1, nullptr, 10);
  }
  const std::string name = wanted.substr(0, first);
  if (name != "*" && name != call) return 0;
  if (left-- != 0) return 0;
  const int status = std::atoi(wanted.c_str() + second + 1);
  if (std::strncmp(call, "cuda", 4) == 0 && isFatal(status)) sticky = status;
  return status;
}

void* inside(const void* address, std::size_t bytes, const char* call) {
  std::uintptr_t place = reinterpret_cast<std::uintptr_t>(address);
  if (place >= kTag) place -= kTag;
  auto after = allocations().upper_bound(place);
  if (after == allocations().begin()) {
    if (bytes == 0) return nullptr;
    die(call, "an address that is no device memory");
  }
  --after;
  if (place + bytes > after->first + after->second.bytes) die(call, "an access that leaves its allocation");
  return reinterpret_cast<void*>(place);
}

}  // namespace emulator

using namespace emulator;

EMULATED int cuInit(unsigned) {
  MAY_FAIL(cuInit);
  return 0;
}
EMULATED int cuDriverGetVersion(int* version) {
  const char* text = std::getenv("EMULATED_CUDA_VERSION");
  *version = text ? std::atoi(text) : 13000;
  return 0;
}
EMULATED int cuDeviceGetCount(int* count) {
  MAY_FAIL(cuDeviceGetCount);
  const char* text = std::getenv("EMULATED_CUDA_DEVICES");
  *count = text ? std::atoi(text) : 1;
  return 0;
}
EMULATED int cuDeviceGet(int* device, int index) {
  *device = index;
  return 0;
}
EMULATED int cuDeviceGetName(char* name, int length, int) {
  std::snprintf(name, length, "Emulated card");
  return 0;
}
EMULATED int cuDeviceTotalMem_v2(std::size_t* bytes, int) {
  *bytes = capacity();
  return 0;
}
EMULATED int cuDeviceGetAttribute(int* value, int attribute, int) {
  *value = attribute == 16 ? 2 : attribute == 75 ? 9 : 0;
  return 0;
}
EMULATED int cuGetErrorName(int status, const char** name) {
  *name = status == 100 ? "CUDA_ERROR_NO_DEVICE" : status == 2 ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR_EMULATED";
  return 0;
}

EMULATED int cudaRuntimeGetVersion(int* version) {
  *version = 13000;
  return 0;
}
EMULATED int cudaSetDevice(int) {
  MAY_FAIL(cudaSetDevice);
  return 0;
}
EMULATED int cudaGetLastError() { return 0; }
EMULATED const char* cudaGetErrorName(int status) {
  return status == 2 ? "cudaErrorMemoryAllocation" : status == 700 ? "cudaErrorIllegalAddress" : "cudaErrorEmulated";
}
EMULATED int cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  MAY_FAIL(cudaMemGetInfo);
  *free = capacity() - used;
  *total = capacity();
  return 0;
}
EMULATED int cudaMalloc(void** address, std::size_t bytes) {
  MAY_FAIL(cudaMalloc);
  if (bytes > capacity() - used) return 2;
  const std::size_t page = sysconf(_SC_PAGESIZE);
  // The end of the memory, rounded to 16 bytes, meets the page without access.
  const std::size_t rounded = (bytes + 15) / 16 * 16, body = (rounded + page - 1) / page * page;
  void* base = mmap(nullptr, body + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) return 2;
  mprotect(static_cast<char*>(base) + body, page, PROT_NONE);
  std::memset(base, 0xff, body);
  const std::uintptr_t place = reinterpret_cast<std::uintptr_t>(base) + body - rounded;
  allocations()[place] = {bytes, body + page, base};
  used += bytes;
  *address = reinterpret_cast<void*>(place + kTag);
  return 0;
}
EMULATED int cudaFree(void* address) {
  MAY_FAIL(cudaFree);
  if (address == nullptr) return 0;
  drainAll();
  const auto found = allocations().find(reinterpret_cast<std::uintptr_t>(address) - kTag);
  if (found == allocations().end()) die("cudaFree", "not an allocation");
  munmap(found->second.base, found->second.mapped);
  used -= found->second.bytes;
  allocations().erase(found);
  return 0;
}
EMULATED int cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, int kind, void* stream) {
  MAY_FAIL(cudaMemcpyAsync);
  if (kind == 1) to = inside(to, bytes, "cudaMemcpyAsync");
  else if (kind == 2) from = inside(from, bytes, "cudaMemcpyAsync");
  else if (kind == 3) to = inside(to, bytes, "cudaMemcpyAsync"), from = inside(from, bytes, "cudaMemcpyAsync");
  else return 21;
  enqueue(static_cast<Stream*>(stream), [=] { std::memcpy(to, from, bytes); });
  return 0;
}
EMULATED int cudaMemsetAsync(void* to, int value, std::size_t bytes, void* stream) {
  MAY_FAIL(cudaMemsetAsync);
  void* place = inside(to, bytes, "cudaMemsetAsync");
  enqueue(static_cast<Stream*>(stream), [=] { std::memset(place, value, bytes); });
  return 0;
}
EMULATED int cudaStreamCreateWithFlags(void** stream, unsigned) {
  MAY_FAIL(cudaStreamCreateWithFlags);
  auto* made = new Stream();
  streams().insert(made);
  *stream = made;
  return 0;
}
EMULATED int cudaStreamDestroy(void* stream) {
  MAY_FAIL(cudaStreamDestroy);
  auto* s = static_cast<Stream*>(stream);
  if (streams().count(s) == 0) die("cudaStreamDestroy", "not a stream");
  drain(s, s->queued);
  streams().erase(s);
  delete s;
  return 0;
}
EMULATED int cudaStreamSynchronize(void* stream) {
  // It fails for what has run, so that nothing is queued afterwards either way.
  auto* s = static_cast<Stream*>(stream);
  drain(s, s->queued);
  MAY_FAIL(cudaStreamSynchronize);
  return 0;
}
EMULATED int cudaStreamWaitEvent(void* stream, void* event, unsigned) {
  MAY_FAIL(cudaStreamWaitEvent);
  const Event e = *static_cast<Event*>(event);
  enqueue(static_cast<Stream*>(stream), [e] { drain(e.stream, e.position); });
  return 0;
}
EMULATED int cudaEventCreateWithFlags(void** event, unsigned) {
  MAY_FAIL(cudaEventCreateWithFlags);
  *event = new Event();
  return 0;
}
EMULATED int cudaEventRecord(void* event, void* stream) {
  MAY_FAIL(cudaEventRecord);
  auto* s = static_cast<Stream*>(stream);
  *static_cast<Event*>(event) = {s, s->queued};
  return 0;
}
EMULATED int cudaEventDestroy(void* event) {
  MAY_FAIL(cudaEventDestroy);
  delete static_cast<Event*>(event);
  return 0;
}
EMULATED int cudaDeviceSynchronize() {
  MAY_FAIL(cudaDeviceSynchronize);
  drainAll();
  return 0;
}

// --- kernels: a "module" is the name of a shared library that compiler.cc made ------------------------------------------------

EMULATED int cuModuleLoadData(void** module, const void* image) {
  MAY_FAIL(cuModuleLoadData);
  *module = dlopen(static_cast<const char*>(image), RTLD_NOW | RTLD_LOCAL);
  if (*module == nullptr) std::fprintf(stderr, "CUDA emulator: %s\n", dlerror());
  return *module ? 0 : 200;
}
EMULATED int cuModuleUnload(void*) { return 0; }
EMULATED int cuModuleGetFunction(void** function, void* module, const char* name) {
  MAY_FAIL(cuModuleGetFunction);
  *function = dlsym(module, (std::string("bind_") + name).c_str());
  return *function ? 0 : 500;
}
EMULATED int cuLaunchKernel(void* function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared,
                            void* stream, void** arguments, void** extra) {
  MAY_FAIL(cuLaunchKernel);
  if (gx == 0 || gy == 0 || gz != 1 || gy > 65535 || bx * by * bz > 1024 || bx * by * bz == 0 || shared != 0 || extra) return 1;
  // The arguments are copied now, the kernel runs later.
  using Launch = std::function<void(unsigned, unsigned, unsigned, unsigned)>;
  auto* bound = reinterpret_cast<Launch* (*)(void**)>(function)(arguments);
  enqueue(static_cast<Stream*>(stream), [=] {
    (*bound)(gx, gy, bx, by);
    delete bound;
  });
  return 0;
}
