// Reading and checking of the arguments of operations on device memory, in the manner of arguments.h: the readers are
// called in order, the first wrong argument throws and turns the rest into no-ops, and nothing runs before ok().
//
// A device and its buffers cross the border as small integers. Buffer 0 stands for null.
#pragma once
#include <node_api.h>

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <new>
#include <string>

#include "cuda/device.h"
#include "napi/arguments.h"

namespace deep_hessian {

// The device of this number, or null.
cuda::Device* findDevice(int id);
int keepDevice(napi_env env, std::unique_ptr<cuda::Device> device);
void dropDevice(int id);

class DeviceArgs {
 public:
  // Reads the device, the first argument.
  DeviceArgs(napi_env env, napi_callback_info info, const char* operation);

  bool ok() const { return !failed_; }
  cuda::Device& device() { return *device_; }
  napi_env env() const { return env_; }

  int flag(const char* name);
  int integer(const char* name, int minimum, int maximum = INT32_MAX);
  int size(const char* name) { return integer(name, 0); }
  double number(const char* name);
  std::int64_t index(const char* name);

  // Real blocks: `buffer, offset, ld` and, for a family, `stride`; vectors: `buffer, offset` (and `increment`).
  Block matrix(const char* name, std::int64_t rows, std::int64_t cols);
  Block matrices(const char* name, std::int64_t rows, std::int64_t cols);
  Block vector(const char* name, std::int64_t n, bool nullable = false);
  Block strided(const char* name, std::int64_t n);
  Block whole(const char* name);
  // A vector of the type that the call does not have.
  Block otherVector(const char* name, std::int64_t n);
  // Pivots: an int32 buffer, `buffer, offset` and, for a family, `stride`.
  Block pivots(const char* name, std::int64_t n);
  Block pivotBatch(const char* name, std::int64_t n);
  void count(std::initializer_list<Block*> blocks, const char* name = "count");
  // `buffer, offset` of any type, with n elements from there.
  const cuda::Buffer* anyBuffer(const char* name, std::int64_t& offset);
  void needElements(const char* name, const cuda::Buffer& buffer, double needed);

  // Host arrays.
  const double* doubles(const char* name, std::int64_t n);
  const std::int32_t* integersOrNull(const char* name, std::int64_t n, bool nullable);
  // A typed array with elements of this kind, `array, offset`, n elements from there.
  void* hostArray(const char* name, cuda::Element element, std::int64_t n);

  void apart(const Block& output, const Block& other);
  void sameOrApart(const Block& output, const Block& other);
  void failRange(const std::string& name, const std::string& expected, const std::string& received);
  void failType(const std::string& name, const std::string& expected, const std::string& received);

  // work() with every Failure turned into a JavaScript error; runReal also with the real type of the call.
  template <class Work>
  void run(Work&& work) {
    try {
      device_->enter();
      work();
    } catch (const cuda::Failure& failure) {
      throwFailure(env_, operation_, failure);
      failed_ = true;
    } catch (const std::bad_alloc&) {
      napi_throw_error(env_, "ERR_OUT_OF_MEMORY", (std::string(operation_) + ": out of memory of the host").c_str());
      failed_ = true;
    }
  }
  template <class Work>
  void runReal(Work&& work) {
    run([&] {
      if (element_ == cuda::Element::kFloat32) work(float{});
      else work(double{});
    });
  }

  napi_value result(double value) const;
  // An Error with `code` 'DEEP_HESSIAN_CUDA' and the figures as properties; ts/device/cuda.ts makes it the library's own.
  static void throwFailure(napi_env env, const char* operation, const cuda::Failure& failure);

 private:
  static constexpr std::size_t kMaxArguments = 26;

  struct Family {
    const char* name;
    std::int64_t offset, length;
  };

  napi_value next() { return position_ < kMaxArguments ? values_[position_++] : nullptr; }
  const cuda::Buffer* buffer(const char* name, bool nullable);
  const cuda::Buffer* real(const char* name, bool nullable);
  std::int64_t natural(const std::string& name);
  Block place(const char* name, const cuda::Buffer* buffer, std::int64_t offset, std::int64_t rows, std::int64_t cols, int ld);
  void family(Block& block, const char* strideName, std::int64_t offset, std::int64_t length);

  napi_env env_;
  const char* operation_;
  napi_value values_[kMaxArguments];
  std::size_t given_ = kMaxArguments, position_ = 0;
  bool failed_ = false;
  cuda::Device* device_ = nullptr;
  bool typed_ = false;
  cuda::Element element_ = cuda::Element::kFloat64;
  Family families_[4] = {};
  int familyCount_ = 0;
};

inline cuda::View viewOf(const Block& block) {
  cuda::View view;
  view.data = block.data;
  view.ld = block.ld;
  view.stride = block.stride;
  return view;
}

}  // namespace deep_hessian
