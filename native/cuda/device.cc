#include "cuda/device.h"

#include <algorithm>
#include <cstring>

#include "cuda/compile.h"

namespace deep_hessian {
namespace cuda {
namespace {

const char* const kKernelNames[] = {
    "activate", "fill",      "convert",    "hadamard",   "scaleRows",  "scaleSymmetric", "addDiagonal", "band",        "diagonal",
    "addresses", "transpose", "symmetrize", "columnSums", "scaleTiled", "foldTiled",      "dotTiled", "rowKronecker", "jacobianGram", "widen"};
static_assert(sizeof kKernelNames / sizeof *kKernelNames == static_cast<int>(Kernel::kCount), "a kernel without a name");

// After these the context is gone: every later call fails too (CUDA runtime API, cudaError_t).
bool isFatal(int status) {
  for (const int fatal : {214, 220, 226, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 999}) {
    if (status == fatal) return true;
  }
  return false;
}

// No driver or device, or a device that another process holds.
bool isUnavailable(int status) { return status == 35 || status == 46 || status == 100 || status == 101; }

bool is(const char* a, const char* b) { return std::strcmp(a, b) == 0; }

bool isOutOfMemory(const char* library, int status) {
  if (is(library, "cublas")) return status == 3;
  return status == 2 && (is(library, "runtime") || is(library, "driver") || is(library, "cusolver"));
}

}  // namespace

Device::Device(int index, bool tf32) : libraries_(libraries()), tf32_(tf32) {
  const auto unavailable = [](const std::string& detail) {
    return Failure{Failure::kUnavailable, "driver", "open", "", 0, detail, 0, 0, 0};
  };
  if (!libraries_.usable()) throw unavailable(libraries_.reason);
  if (index < 0 || index >= static_cast<int>(libraries_.devices.size())) {
    throw unavailable("there is no device " + std::to_string(index) + ", only " + std::to_string(libraries_.devices.size()));
  }
  facts_ = libraries_.devices[index];
  try {
    enter();
    openLane();
  } catch (...) {
    closeAll();
    throw;
  }
}

Device::~Device() { closeAll(); }

// Frees everything; status codes are of no interest any more.
void Device::closeAll() {
  const Api& a = api();
  a.cudaSetDevice(facts_.index);
  for (Lane& lane : lanes_) {
    if (lane.stream && !lost_) a.cudaStreamSynchronize(lane.stream);
  }
  for (const auto& entry : buffers_) a.cudaFree(entry.second.data);
  buffers_.clear();
  bufferBytes_ = 0;
  for (Lane& lane : lanes_) closeLane(lane);
  lanes_.clear();
  if (module_) a.cuModuleUnload(module_);
  module_ = nullptr;
}

void Device::openLane() {
  lanes_.emplace_back();
  Lane& lane = lanes_.back();
  try {
    DEEP_HESSIAN_CUDA_CALL(*this, "runtime", cudaStreamCreateWithFlags, &lane.stream, kStreamNonBlocking);
    DEEP_HESSIAN_CUDA_CALL(*this, "runtime", cudaEventCreateWithFlags, &lane.event, kEventDisableTiming);
    DEEP_HESSIAN_CUDA_CALL(*this, "cublas", cublasCreate_v2, &lane.blas);
    DEEP_HESSIAN_CUDA_CALL(*this, "cublas", cublasSetStream_v2, lane.blas, lane.stream);
    DEEP_HESSIAN_CUDA_CALL(*this, "cublas", cublasSetMathMode, lane.blas, tf32_ ? kTf32Math : kDefaultMath);
    DEEP_HESSIAN_CUDA_CALL(*this, "cusolver", cusolverDnCreate, &lane.solver);
    DEEP_HESSIAN_CUDA_CALL(*this, "cusolver", cusolverDnSetStream, lane.solver, lane.stream);
  } catch (...) {
    closeLane(lane);
    lanes_.pop_back();
    throw;
  }
}

void Device::closeLane(Lane& lane) {
  const Api& a = api();
  for (void*& slot : lane.slots) {
    if (slot) a.cudaFree(slot);
    slot = nullptr;
  }
  if (lane.solver) a.cusolverDnDestroy(lane.solver);
  if (lane.blas) a.cublasDestroy_v2(lane.blas);
  if (lane.event) a.cudaEventDestroy(lane.event);
  if (lane.stream) a.cudaStreamDestroy(lane.stream);
  lane = Lane();
}

void Device::check(const char* library, const char* call, int status) {
  if (status == 0) return;
  Failure failure{Failure::kFailed, library, call, statusName(api(), library, status), status, "", 0, 0, 0};
  if (isOutOfMemory(library, status)) {
    failure.kind = Failure::kOutOfMemory;
    api().cudaGetLastError();  // this error is over once it is read
  } else if (is(library, "runtime") || is(library, "driver")) {
    if (isFatal(status)) failure.kind = Failure::kLost;
    else if (isUnavailable(status)) failure.kind = Failure::kUnavailable;
    if (failure.kind != Failure::kLost) api().cudaGetLastError();
  } else if (const int under = api().cudaDeviceSynchronize(); isFatal(under)) {
    // "execution failed" of cuBLAS or cuSOLVER: the runtime knows what happened.
    failure.kind = Failure::kLost;
    failure.detail = statusName(api(), "runtime", under) + " (" + std::to_string(under) + ")";
  } else {
    api().cudaGetLastError();
  }
  if (failure.kind == Failure::kLost) {
    lost_ = true;
    lostBy_ = failure;
  } else if (failure.kind == Failure::kOutOfMemory) {
    std::size_t free = 0, total = 0;
    if (api().cudaMemGetInfo(&free, &total) == 0) {
      failure.free = static_cast<double>(free);
      failure.total = static_cast<double>(total);
    }
  }
  throw failure;
}

void Device::enter() {
  if (lost_) throw lostBy_;
  DEEP_HESSIAN_CUDA_CALL(*this, "runtime", cudaSetDevice, facts_.index);
}

void* Device::take(std::size_t bytes) {
  void* data = nullptr;
  try {
    DEEP_HESSIAN_CUDA_CALL(*this, "runtime", cudaMalloc, &data, bytes);
  } catch (Failure& failure) {
    failure.bytes = static_cast<double>(bytes);
    throw;
  }
  return data;
}

int Device::allocate(Element element, std::int64_t length) {
  const std::size_t bytes = static_cast<std::size_t>(length) * bytesOf(element);
  Buffer buffer;
  buffer.data = take(std::max<std::size_t>(bytes, 1));
  buffer.length = length;
  buffer.element = element;
  buffers_[nextId_] = buffer;
  bufferBytes_ += static_cast<double>(bytes);
  return nextId_++;
}

void Device::release(int id) {
  const auto found = buffers_.find(id);
  if (found == buffers_.end()) return;
  const Buffer buffer = found->second;
  DEEP_HESSIAN_CUDA_CALL(*this, "runtime", cudaFree, buffer.data);
  buffers_.erase(id);
  bufferBytes_ -= static_cast<double>(buffer.length) * static_cast<double>(bytesOf(buffer.element));
}

const Buffer* Device::find(int id) const {
  const auto found = buffers_.find(id);
  return found == buffers_.end() ? nullptr : &found->second;
}

Device::Memory Device::memory() {
  std::size_t free = 0, total = 0;
  DEEP_HESSIAN_CUDA_CALL(*this, "runtime", cudaMemGetInfo, &free, &total);
  double workspace = 0;
  for (const Lane& lane : lanes_) {
    for (const std::size_t bytes : lane.bytes) workspace += static_cast<double>(bytes);
  }
  return {static_cast<double>(buffers_.size()), bufferBytes_, workspace, static_cast<double>(free), static_cast<double>(total)};
}

// JavaScript may move or reuse the host array as soon as the call returns, so both directions wait.
void Device::upload(const Buffer& to, std::int64_t offset, const void* from, std::int64_t count) {
  if (count == 0) return;
  const std::size_t size = bytesOf(to.element);
  DEEP_HESSIAN_CUDA_CALL(*this, "runtime", cudaMemcpyAsync, static_cast<char*>(to.data) + offset * size, from, count * size,
                         kHostToDevice, stream());
  DEEP_HESSIAN_CUDA_CALL(*this, "runtime", cudaStreamSynchronize, stream());
}

void Device::download(const Buffer& from, std::int64_t offset, void* to, std::int64_t count) {
  const std::size_t size = bytesOf(from.element);
  readBytes(static_cast<const char*>(from.data) + offset * size, to, count * size);
}

void Device::readBytes(const void* from, void* to, std::size_t bytes) {
  if (bytes == 0) return;
  DEEP_HESSIAN_CUDA_CALL(*this, "runtime", cudaMemcpyAsync, to, from, bytes, kDeviceToHost, stream());
  DEEP_HESSIAN_CUDA_CALL(*this, "runtime", cudaStreamSynchronize, stream());
}

std::vector<int> Device::readInts(const void* from, std::size_t count) {
  std::vector<int> out(count);
  readBytes(from, out.data(), count * sizeof(int));
  return out;
}

void Device::copy(void* to, const void* from, std::size_t bytes) {
  if (bytes == 0) return;
  DEEP_HESSIAN_CUDA_CALL(*this, "runtime", cudaMemcpyAsync, to, from, bytes, kDeviceToDevice, stream());
}

void Device::useStream(int index) {
  while (static_cast<int>(lanes_.size()) <= index) openLane();
  current_ = index;
}

void Device::waitFor(int index) {
  if (index == current_ || index >= static_cast<int>(lanes_.size())) return;
  Lane& other = lanes_[index];
  DEEP_HESSIAN_CUDA_CALL(*this, "runtime", cudaEventRecord, other.event, other.stream);
  DEEP_HESSIAN_CUDA_CALL(*this, "runtime", cudaStreamWaitEvent, stream(), other.event, 0u);
}

void Device::synchronize() {
  for (Lane& lane : lanes_) DEEP_HESSIAN_CUDA_CALL(*this, "runtime", cudaStreamSynchronize, lane.stream);
}

void* Device::workspace(Slot slot, std::size_t bytes) {
  Lane& l = lane();
  const int i = static_cast<int>(slot);
  if (l.slots[i] == nullptr || l.bytes[i] < bytes) {
    if (l.slots[i]) {
      // Forgotten only once it is free: what fails here is freed with the device.
      DEEP_HESSIAN_CUDA_CALL(*this, "runtime", cudaFree, l.slots[i]);
      l.slots[i] = nullptr;
      l.bytes[i] = 0;
    }
    // A quarter more, so that slowly growing problems do not allocate every time; not where memory is short.
    const std::size_t exact = std::max<std::size_t>(bytes, 256), generous = bytes < (std::size_t{1} << 28) ? exact + exact / 4 : exact;
    l.slots[i] = take(generous);
    l.bytes[i] = generous;
  }
  return l.slots[i];
}

void* Device::hostWorkspace(std::size_t bytes) {
  Lane& l = lane();
  if (l.host.size() < bytes) {
    DEEP_HESSIAN_CUDA_CALL(*this, "runtime", cudaStreamSynchronize, l.stream);
    l.host.resize(bytes);
  }
  return bytes > 0 ? l.host.data() : nullptr;
}

std::vector<void*> Device::parameters(const std::vector<std::pair<const void*, std::size_t>>& arrays) {
  constexpr std::size_t kAlignment = 16;
  std::size_t bytes = 0;
  for (const auto& array : arrays) bytes += (array.second + kAlignment - 1) / kAlignment * kAlignment;
  std::vector<char> packed(std::max<std::size_t>(bytes, kAlignment));
  char* base = static_cast<char*>(workspace(Slot::kParameters, packed.size()));
  std::vector<void*> addresses;
  std::size_t at = 0;
  for (const auto& array : arrays) {
    if (array.second > 0) std::memcpy(packed.data() + at, array.first, array.second);
    addresses.push_back(base + at);
    at += (array.second + kAlignment - 1) / kAlignment * kAlignment;
  }
  DEEP_HESSIAN_CUDA_CALL(*this, "runtime", cudaMemcpyAsync, base, packed.data(), packed.size(), kHostToDevice, stream());
  DEEP_HESSIAN_CUDA_CALL(*this, "runtime", cudaStreamSynchronize, stream());
  return addresses;
}

Grid Device::grid(std::int64_t rows, std::int64_t cols) const {
  Grid out;
  out.threadsX = static_cast<unsigned>(std::min<std::int64_t>(256, std::max<std::int64_t>(32, (rows + 31) / 32 * 32)));
  const std::int64_t cap = 32 * std::max(facts_.multiprocessors, 1);
  out.x = static_cast<unsigned>(std::max<std::int64_t>(1, std::min((rows + out.threadsX - 1) / out.threadsX, cap)));
  out.y = static_cast<unsigned>(std::max<std::int64_t>(1, std::min<std::int64_t>(cols, 65535)));
  return out;
}

void Device::loadModule() {
  const std::shared_ptr<const std::string> code = compiledKernels(api(), facts_.major, facts_.minor);
  Module module = nullptr;
  DEEP_HESSIAN_CUDA_CALL(*this, "driver", cuModuleLoadData, &module, code->data());
  module_ = module;
}

void Device::launchAddresses(Kernel kernel, int element, const Grid& grid, void** addresses) {
  if (module_ == nullptr) loadModule();
  const int k = static_cast<int>(kernel);
  Function& function = functions_[element][k];
  if (function == nullptr) {
    std::string name = kKernelNames[k];
    if (kernel != Kernel::kWiden) name += element == static_cast<int>(Element::kFloat64) ? "_f64" : "_f32";
    DEEP_HESSIAN_CUDA_CALL(*this, "driver", cuModuleGetFunction, &function, module_, name.c_str());
  }
  DEEP_HESSIAN_CUDA_CALL(*this, "driver", cuLaunchKernel, function, grid.x, grid.y, 1u, grid.threadsX, grid.threadsY, 1u, 0u,
                         stream(), addresses, nullptr);
}

}  // namespace cuda
}  // namespace deep_hessian
