// Declarative reading and checking of kernel arguments.
//
// A wrapper names its arguments in order; every reader checks and, on the first wrong one, throws
//
//     <operation>: expected <what> for <argument>, received <value>
//
// (TypeError for wrong kinds, RangeError for wrong values) and turns the remaining readers into no-ops.
// Nothing is written before `ok()`. The raw C interface is used throughout: it costs about half of the
// C++ wrappers on calls with sixteen arguments.
#pragma once
#include <node_api.h>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <new>

#include "core/types.h"

namespace deep_hessian {

// A family of `count` column-major blocks in one typed array, item i at data + i * stride (elements).
struct Block {
  void* data = nullptr;
  int ld = 1;
  std::int64_t stride = 0;
  std::int64_t rows = 0, cols = 0, count = 1;
  int elementSize = 8;
  const char* name = "";

  template <class T>
  T* as() const {
    return static_cast<T*>(data);
  }
  // Elements from the first to the last of one item and of all. They say nothing of `data`, which is null also
  // for an array of length zero.
  std::int64_t itemExtent() const { return rows == 0 || cols == 0 ? 0 : (cols - 1) * ld + rows; }
  std::int64_t extent() const { return itemExtent() == 0 || count == 0 ? 0 : (count - 1) * stride + itemExtent(); }
  bool empty() const { return data == nullptr || extent() == 0; }
};

// Whether two blocks share an element of memory. Exact, also for interleaved blocks of one array.
bool overlap(const Block& a, const Block& b);

class Args {
 public:
  Args(napi_env env, napi_callback_info info, const char* operation);

  bool ok() const { return !failed_; }

  // --- scalars ------------------------------------------------------------------------------------
  int flag(const char* name);
  int integer(const char* name, int minimum, int maximum = INT32_MAX);
  int size(const char* name) { return integer(name, 0); }
  double number(const char* name);

  // --- arrays of the call's real type ---------------------------------------------------------------
  // Reads `array, offset, ld`.
  Block matrix(const char* name, std::int64_t rows, std::int64_t cols, bool nullable = false);
  // Reads `array, offset, ld, stride`.
  Block matrices(const char* name, std::int64_t rows, std::int64_t cols);
  // Reads `array, offset`; n contiguous elements.
  Block vector(const char* name, std::int64_t n, bool nullable = false);
  // Reads `array, offset, increment`; n elements.
  Block strided(const char* name, std::int64_t n);
  // Reads `array` alone; at least n elements from its start.
  Block leading(const char* name, std::int64_t n);
  // Reads `array` alone; any length >= 1 (rows = its length).
  Block whole(const char* name);

  // --- arrays of a fixed type -------------------------------------------------------------------------
  Block pivots(const char* name, std::int64_t n);               // Int32Array, offset
  Block pivotBatch(const char* name, std::int64_t n);           // Int32Array, offset, stride
  Block integers(const char* name, std::int64_t n);             // Int32Array alone
  Block integersOrNull(const char* name, std::int64_t n, bool& present);  // Int32Array alone, or null
  Block doubles(const char* name, std::int64_t n);              // Float64Array alone
  void count(std::initializer_list<Block*> blocks, const char* name = "count");

  // --- relations between arguments --------------------------------------------------------------------
  // The output shares no memory with `other`.
  void apart(const Block& output, const Block& other);
  // The output is exactly `other` (same start and leading dimension) or shares no memory with it.
  void sameOrApart(const Block& output, const Block& other);
  // Items of an output family do not overlap one another.
  void itemsApart(const Block& output);
  // Contents written by sytrf (with its 2 x 2 encoding) or getrf, so that LAPACK stays inside its arrays.
  void sytrfPivots(const Block& pivots, int upper);
  void getrfPivots(const Block& pivots);
  // Throws the RangeError of the common form with a ready description of what came.
  void failRange(const char* name, const char* expected, const char* received);

  // Calls work(T{}) with the real type of the arrays; out-of-memory becomes a JavaScript error.
  template <class Work>
  void run(Work&& work) {
    try {
      if (type_ == napi_float32_array) {
        work(float{});
      } else {
        work(double{});
      }
    } catch (const std::bad_alloc&) {
      outOfMemory();
    }
  }

  napi_value result(double value) const;
  napi_env env() const { return env_; }

 private:
  static constexpr std::size_t kMaxArguments = 24;

  struct Typed {
    void* data = nullptr;
    std::size_t length = 0;
    int elementSize = 8;
    bool present = false;
  };

  napi_value next(const char* name);
  Typed typed(const char* name, napi_typedarray_type wanted, bool nullable);
  Typed real(const char* name, bool nullable);
  std::int64_t offset(const char* arrayName);
  Block place(const char* name, const Typed& array, std::int64_t offset, std::int64_t rows, std::int64_t cols, int ld);
  void needLength(const char* name, napi_value value, std::int64_t needed, std::size_t length);
  void throwType(const char* name, const char* expected, napi_value received);
  void throwRange(const char* name, const char* expected, napi_value received);
  void outOfMemory();

  napi_env env_;
  const char* operation_;
  napi_value values_[kMaxArguments];
  std::size_t given_ = kMaxArguments;
  std::size_t position_ = 0;
  bool failed_ = false;
  int type_ = -1;
  const char* typeFrom_ = "";
  struct Pending {
    napi_value value;
    std::size_t length;
    std::int64_t offset;
  };
  // What count() needs to check the extents of families, in reading order.
  Pending families_[4] = {};
  const void* familyData_[4] = {};
  int familyCount_ = 0;
};

}  // namespace deep_hessian
