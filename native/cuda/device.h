// One opened card: its memory, streams, library handles, workspaces and compiled kernels.
//
// A device belongs to one thread at a time (its JavaScript environment). Work is queued on the current stream; only
// downloads, scalars and status codes wait for it. Every status code is checked and becomes a Failure.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "cuda/libraries.h"

namespace deep_hessian {
namespace cuda {

// Thrown for every status code that is not success.
struct Failure {
  enum Kind { kFailed, kOutOfMemory, kLost, kUnavailable };
  Kind kind;
  std::string library, call, name;  // e.g. 'runtime', 'cudaMalloc', 'cudaErrorMemoryAllocation'
  int status;
  std::string detail;  // more words, may be empty
  double bytes = 0, free = 0, total = 0;  // kOutOfMemory: asked for, and what the card says
};

enum class Element : int { kFloat64 = 0, kFloat32 = 1, kInt32 = 2 };
inline std::size_t bytesOf(Element element) { return element == Element::kFloat64 ? 8 : 4; }

template <class T>
struct ElementOf;
template <>
struct ElementOf<double> {
  static constexpr Element value = Element::kFloat64;
  static constexpr int dataType = kFloat64;
};
template <>
struct ElementOf<float> {
  static constexpr Element value = Element::kFloat32;
  static constexpr int dataType = kFloat32;
};

struct Buffer {
  void* data = nullptr;
  std::int64_t length = 0;
  Element element = Element::kFloat64;
};

// A column-major block in device memory, or `count` of them `stride` elements apart.
struct View {
  void* data = nullptr;
  int ld = 1;
  std::int64_t stride = 0;
  template <class T>
  T* as() const {
    return static_cast<T*>(data);
  }
  template <class T>
  T* item(std::int64_t i) const {
    return static_cast<T*>(data) + i * stride;
  }
};

// One slot per simultaneous use within one operation.
enum class Slot : int { kSolver, kInfo, kPointersA, kPointersB, kPivots, kParameters, kBand, kCount };

// In the order of kKernelNames (device.cc). kWiden exists once, the others for both element types.
enum class Kernel : int {
  kActivate, kFill, kConvert, kHadamard, kScaleRows, kScaleSymmetric, kAddDiagonal, kBand, kDiagonal, kAddresses,
  kTranspose, kSymmetrize, kColumnSums, kScaleTiled, kFoldTiled, kDotTiled, kRowKronecker, kJacobianGram, kWiden, kCount
};

struct Grid {
  unsigned x = 1, y = 1, threadsX = 256, threadsY = 1;
};

class Device {
 public:
  struct Memory {
    double buffers, bytes, workspace, free, total;
  };

  // Opens card `index`; `tf32` lets single-precision products round their inputs to TF32.
  Device(int index, bool tf32);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  // To be called before anything else in every call from outside: makes the card current on this thread.
  void enter();

  int allocate(Element element, std::int64_t length);
  void release(int id);
  const Buffer* find(int id) const;
  Memory memory();

  void upload(const Buffer& to, std::int64_t offset, const void* from, std::int64_t count);
  void download(const Buffer& from, std::int64_t offset, void* to, std::int64_t count);
  // count elements from address to address, which may not overlap.
  void copy(void* to, const void* from, std::size_t bytes);

  // Streams 0, 1, ... are made when first used. Later work goes to stream `index`.
  void useStream(int index);
  int currentStream() const { return current_; }
  // The current stream waits for what is queued on stream `index` now.
  void waitFor(int index);
  void synchronize();

  const Api& api() const { return libraries_.api; }
  const DeviceFacts& facts() const { return facts_; }
  Stream stream() { return lane().stream; }
  Handle blas() { return lane().blas; }
  Handle solver() { return lane().solver; }

  // At least `bytes` of memory of the current stream, valid until the next call for the same slot. Grows, never shrinks.
  void* workspace(Slot slot, std::size_t bytes);
  // Host memory for calls that want some: it must outlive their queued work, whatever fails in between.
  void* hostWorkspace(std::size_t bytes);
  // Copies small host arrays behind one another into the slot of parameters and returns their addresses.
  std::vector<void*> parameters(const std::vector<std::pair<const void*, std::size_t>>& arrays);
  // Waits and reads `count` ints of device memory.
  std::vector<int> readInts(const void* from, std::size_t count);
  void readBytes(const void* from, void* to, std::size_t bytes);

  // Grid for `rows` x `cols` elements: threads along the rows, blocks over the columns.
  Grid grid(std::int64_t rows, std::int64_t cols = 1) const;

  // Arguments must have exactly the types of the kernel's parameters: they are passed by address.
  template <class T, class... Arguments>
  void launch(Kernel kernel, const Grid& grid, Arguments... arguments) {
    void* addresses[] = {&arguments...};
    launchAddresses(kernel, static_cast<int>(ElementOf<T>::value), grid, addresses);
  }

  void check(const char* library, const char* call, int status);

 private:
  struct Lane {
    Stream stream = nullptr;
    Event event = nullptr;
    Handle blas = nullptr, solver = nullptr;
    void* slots[static_cast<int>(Slot::kCount)] = {};
    std::size_t bytes[static_cast<int>(Slot::kCount)] = {};
    std::vector<char> host;
  };

  Lane& lane() { return lanes_[current_]; }
  void openLane();
  void closeLane(Lane& lane);
  void closeAll();
  void* take(std::size_t bytes);
  void loadModule();
  void launchAddresses(Kernel kernel, int element, const Grid& grid, void** addresses);

  const Libraries& libraries_;
  DeviceFacts facts_;
  bool tf32_;
  bool lost_ = false;
  Failure lostBy_{Failure::kLost, "", "", "", 0, "", 0, 0, 0};
  std::vector<Lane> lanes_;
  int current_ = 0;
  int nextId_ = 1;
  std::unordered_map<int, Buffer> buffers_;
  double bufferBytes_ = 0;
  Module module_ = nullptr;
  Function functions_[2][static_cast<int>(Kernel::kCount)] = {};
};

#define DEEP_HESSIAN_CUDA_CALL(device, library, function, ...) \
  (device).check(library, #function, (device).api().function(__VA_ARGS__))

}  // namespace cuda
}  // namespace deep_hessian
