#include "napi/arguments.h"

#include <cmath>
#include <cstdio>
#include <string>

namespace deep_hessian {
namespace {

const char* typeName(int type) {
  switch (type) {
    case napi_int8_array: return "Int8Array";
    case napi_uint8_array: return "Uint8Array";
    case napi_uint8_clamped_array: return "Uint8ClampedArray";
    case napi_int16_array: return "Int16Array";
    case napi_uint16_array: return "Uint16Array";
    case napi_int32_array: return "Int32Array";
    case napi_uint32_array: return "Uint32Array";
    case napi_float32_array: return "Float32Array";
    case napi_float64_array: return "Float64Array";
    case napi_bigint64_array: return "BigInt64Array";
    case napi_biguint64_array: return "BigUint64Array";
    default: return "typed array";
  }
}

std::string text(napi_env env, napi_value value, std::size_t limit = 60) {
  napi_value string;
  char buffer[96];
  std::size_t length = 0;
  if (napi_coerce_to_string(env, value, &string) != napi_ok ||
      napi_get_value_string_utf8(env, string, buffer, sizeof buffer, &length) != napi_ok) {
    bool pending = false;
    if (napi_is_exception_pending(env, &pending) == napi_ok && pending) napi_get_and_clear_last_exception(env, &string);
    return "a value without text";
  }
  std::string out(buffer, length);
  if (out.size() > limit) out = out.substr(0, limit - 3) + "...";
  return out;
}

// A short, safe description of any received value, as in ts/checks.ts.
std::string describe(napi_env env, napi_value value) {
  napi_valuetype kind;
  if (value == nullptr || napi_typeof(env, value, &kind) != napi_ok) return "undefined";
  bool is = false;
  switch (kind) {
    case napi_undefined: return "undefined";
    case napi_null: return "null";
    case napi_boolean: return text(env, value);
    case napi_number: {
      double number = 0;
      napi_get_value_double(env, value, &number);
      return number == 0 && std::signbit(number) ? "-0" : text(env, value);
    }
    case napi_string: return "\"" + text(env, value) + "\" (string)";
    case napi_bigint: return text(env, value) + "n";
    case napi_symbol: return "a symbol";
    case napi_function: return "a function";
    default: break;
  }
  if (napi_is_typedarray(env, value, &is) == napi_ok && is) {
    napi_typedarray_type type;
    std::size_t length = 0;
    napi_get_typedarray_info(env, value, &type, &length, nullptr, nullptr, nullptr);
    return std::string(typeName(type)) + " of length " + std::to_string(length);
  }
  if (napi_is_array(env, value, &is) == napi_ok && is) {
    std::uint32_t length = 0;
    napi_get_array_length(env, value, &length);
    return "array of length " + std::to_string(length);
  }
  return "an object";
}

// Do the elements [start, start + n) meet the block's elements? Positions in elements from the block's first one.
bool intervalMeets(std::int64_t start, std::int64_t n, std::int64_t rows, std::int64_t cols, std::int64_t ld) {
  const std::int64_t last = start + n - 1;
  if (last < 0) return false;
  // The last column that begins at or before `last`; earlier columns end before it does, so it alone can
  // decide, unless the interval begins in the gap behind it.
  std::int64_t j = last / ld;
  if (j > cols - 1) j = cols - 1;
  return j * ld + rows - 1 >= start;
}

bool itemsMeet(const Block& a, std::int64_t i, const Block& b, std::int64_t j) {
  const auto* first = static_cast<const std::uint8_t*>(a.data) + i * a.stride * a.elementSize;
  const auto* second = static_cast<const std::uint8_t*>(b.data) + j * b.stride * b.elementSize;
  const std::int64_t firstBytes = a.itemExtent() * a.elementSize, secondBytes = b.itemExtent() * b.elementSize;
  if (first + firstBytes <= second || second + secondBytes <= first) return false;
  const std::int64_t distance = first - second;
  if (a.elementSize != b.elementSize || distance % a.elementSize != 0) return true;
  if (a.cols > b.cols) return itemsMeet(b, j, a, i);
  const std::int64_t start = distance / a.elementSize;
  for (std::int64_t c = 0; c < a.cols; c++) {
    if (intervalMeets(start + c * a.ld, a.rows, b.rows, b.cols, b.ld)) return true;
  }
  return false;
}

}  // namespace

bool overlap(const Block& a, const Block& b) {
  if (a.empty() || b.empty()) return false;
  const auto* first = static_cast<const std::uint8_t*>(a.data);
  const auto* second = static_cast<const std::uint8_t*>(b.data);
  if (first + a.extent() * a.elementSize <= second || second + b.extent() * b.elementSize <= first) return false;
  if (a.stride == b.stride && a.elementSize == b.elementSize) {  // depends on i - j alone
    for (std::int64_t i = 0; i < a.count; i++) if (itemsMeet(a, i, b, 0)) return true;
    for (std::int64_t j = 1; j < b.count; j++) if (itemsMeet(a, 0, b, j)) return true;
    return false;
  }
  const std::int64_t countA = a.stride == 0 ? 1 : a.count, countB = b.stride == 0 ? 1 : b.count;
  for (std::int64_t i = 0; i < countA; i++) {
    for (std::int64_t j = 0; j < countB; j++) if (itemsMeet(a, i, b, j)) return true;
  }
  return false;
}

Args::Args(napi_env env, napi_callback_info info, const char* operation) : env_(env), operation_(operation) {
  napi_get_cb_info(env, info, &given_, values_, nullptr, nullptr);
}

napi_value Args::next(const char*) {
  // napi_get_cb_info fills missing places with undefined, so reading past `given_` is an ordinary type error.
  return position_ < kMaxArguments ? values_[position_++] : nullptr;
}

void Args::throwType(const char* name, const char* expected, napi_value received) {
  if (failed_) return;
  failed_ = true;
  const std::string message =
      std::string(operation_) + ": expected " + expected + " for " + name + ", received " + describe(env_, received);
  napi_throw_type_error(env_, nullptr, message.c_str());
}

void Args::throwRange(const char* name, const char* expected, napi_value received) {
  if (!failed_) failRange(name, expected, describe(env_, received).c_str());
}

void Args::failRange(const char* name, const char* expected, const char* received) {
  if (failed_) return;
  failed_ = true;
  const std::string message = std::string(operation_) + ": expected " + expected + " for " + name + ", received " + received;
  napi_throw_range_error(env_, nullptr, message.c_str());
}

void Args::outOfMemory() {
  failed_ = true;
  napi_throw_error(env_, "ERR_OUT_OF_MEMORY", (std::string(operation_) + ": out of memory for workspace").c_str());
}

napi_value Args::result(double value) const {
  napi_value out = nullptr;
  napi_create_double(env_, value, &out);
  return out;
}

int Args::flag(const char* name) {
  if (failed_) return 0;
  napi_value value = next(name);
  double number;
  if (napi_get_value_double(env_, value, &number) != napi_ok) return throwType(name, "0 or 1", value), 0;
  if (number != 0 && number != 1) return throwRange(name, "0 or 1", value), 0;
  return number != 0;
}

int Args::integer(const char* name, int minimum, int maximum) {
  if (failed_) return minimum;
  napi_value value = next(name);
  double number;
  const napi_status status = napi_get_value_double(env_, value, &number);
  if (status == napi_ok && number >= minimum && number <= maximum && number == static_cast<int>(number)) return static_cast<int>(number);
  char expected[64];
  std::snprintf(expected, sizeof expected, "an integer from %d to %d", minimum, maximum);
  if (status != napi_ok) {
    throwType(name, expected, value);
  } else {
    throwRange(name, expected, value);
  }
  return minimum;
}

double Args::number(const char* name) {
  if (failed_) return 0;
  napi_value value = next(name);
  double number = 0;
  if (napi_get_value_double(env_, value, &number) != napi_ok) throwType(name, "a number", value);
  return number;
}

std::int64_t Args::offset(const char* arrayName) {
  if (failed_) return 0;
  napi_value value = next(arrayName);
  double number;
  const napi_status status = napi_get_value_double(env_, value, &number);
  if (status == napi_ok && number >= 0 && number <= 9007199254740991.0 && number == std::floor(number)) return static_cast<std::int64_t>(number);
  const std::string name = std::string(arrayName) + "Offset";
  if (status != napi_ok) {
    throwType(name.c_str(), "an integer >= 0", value);
  } else {
    throwRange(name.c_str(), "an integer >= 0", value);
  }
  return 0;
}

Args::Typed Args::typed(const char* name, napi_typedarray_type wanted, bool nullable) {
  Typed out;
  if (failed_) return out;
  napi_value value = next(name);
  napi_typedarray_type type;
  if (napi_get_typedarray_info(env_, value, &type, &out.length, &out.data, nullptr, nullptr) != napi_ok) {
    napi_valuetype kind;
    if (nullable && napi_typeof(env_, value, &kind) == napi_ok && kind == napi_null) return out;
    throwType(name, nullable ? (std::string(wanted == napi_int32_array ? "an " : "a ") + typeName(wanted) + " or null").c_str()
                             : (std::string(wanted == napi_int32_array ? "an " : "a ") + typeName(wanted)).c_str(), value);
    return out;
  }
  if (type != wanted) throwType(name, (std::string(wanted == napi_int32_array ? "an " : "a ") + typeName(wanted)).c_str(), value);
  out.present = true;
  out.elementSize = wanted == napi_float64_array ? 8 : 4;
  return out;
}

Args::Typed Args::real(const char* name, bool nullable) {
  Typed out;
  if (failed_) return out;
  napi_value value = next(name);
  napi_typedarray_type type;
  if (napi_get_typedarray_info(env_, value, &type, &out.length, &out.data, nullptr, nullptr) != napi_ok) {
    napi_valuetype kind;
    if (nullable && napi_typeof(env_, value, &kind) == napi_ok && kind == napi_null) return out;
    const char* what = type_ == napi_float64_array   ? "a Float64Array"
                       : type_ == napi_float32_array ? "a Float32Array"
                                                     : "a Float64Array or Float32Array";
    throwType(name, nullable ? (std::string(what) + " or null").c_str() : what, value);
    return out;
  }
  if (type_ < 0) {
    if (type != napi_float64_array && type != napi_float32_array) {
      throwType(name, "a Float64Array or Float32Array", value);
      return out;
    }
    type_ = type;
    typeFrom_ = name;
  } else if (type != type_) {
    throwType(name, (std::string("a ") + typeName(type_) + " (the type of " + typeFrom_ + ")").c_str(), value);
    return out;
  }
  out.present = true;
  out.elementSize = type_ == napi_float64_array ? 8 : 4;
  return out;
}

void Args::needLength(const char* name, napi_value value, std::int64_t needed, std::size_t length) {
  if (failed_ || needed <= static_cast<std::int64_t>(length)) return;
  throwRange(name, ("at least " + std::to_string(needed) + " elements").c_str(), value);
}

Block Args::place(const char* name, const Typed& array, std::int64_t offset, std::int64_t rows, std::int64_t cols, int ld) {
  Block block;
  block.name = name;
  block.rows = rows;
  block.cols = cols;
  block.ld = ld;
  block.elementSize = array.elementSize;
  if (array.present) block.data = static_cast<std::uint8_t*>(array.data) + offset * array.elementSize;
  return block;
}

Block Args::matrix(const char* name, std::int64_t rows, std::int64_t cols, bool nullable) {
  napi_value value = position_ < kMaxArguments ? values_[position_] : nullptr;
  const Typed array = real(name, nullable);
  const std::int64_t start = offset(name);
  if (failed_) return {};
  const std::size_t ldPosition = position_;
  double number = 0;
  const napi_status status = napi_get_value_double(env_, next(name), &number);
  const double least = rows > 1 ? static_cast<double>(rows) : 1;
  if (status != napi_ok || !(number >= least && number <= INT32_MAX) || number != static_cast<int>(number)) {
    const std::string argument = std::string("ld") + name;
    const std::string expected = "an integer >= " + std::to_string(static_cast<std::int64_t>(least));
    if (status != napi_ok) {
      throwType(argument.c_str(), expected.c_str(), values_[ldPosition]);
    } else {
      throwRange(argument.c_str(), expected.c_str(), values_[ldPosition]);
    }
    return {};
  }
  Block block = place(name, array, start, rows, cols, static_cast<int>(number));
  if (array.present) needLength(name, value, start + block.itemExtent(), array.length);
  return block;
}

Block Args::matrices(const char* name, std::int64_t rows, std::int64_t cols) {
  const std::size_t position = position_;
  Block block = matrix(name, rows, cols);
  if (failed_) return block;
  const std::size_t stridePosition = position_;
  double number = 0;
  const napi_status status = napi_get_value_double(env_, next(name), &number);
  if (status != napi_ok || !(number >= 0 && number <= 9007199254740991.0) || number != std::floor(number)) {
    const std::string argument = std::string("stride of ") + name;
    if (status != napi_ok) {
      throwType(argument.c_str(), "an integer >= 0", values_[stridePosition]);
    } else {
      throwRange(argument.c_str(), "an integer >= 0", values_[stridePosition]);
    }
    return block;
  }
  block.stride = static_cast<std::int64_t>(number);
  families_[familyCount_] = {values_[position], 0, 0};
  napi_get_typedarray_info(env_, values_[position], nullptr, &families_[familyCount_].length, nullptr, nullptr, nullptr);
  double start = 0;
  napi_get_value_double(env_, values_[position + 1], &start);
  families_[familyCount_].offset = static_cast<std::int64_t>(start);
  familyData_[familyCount_++] = name;
  return block;
}

void Args::count(std::initializer_list<Block*> blocks, const char* name) {
  const int n = integer(name, 0);
  for (Block* block : blocks) {
    if (failed_) return;
    block->count = n;
    for (int f = 0; f < familyCount_; f++) {
      if (familyData_[f] != block->name) continue;
      // Strides are below 2^53 and counts below 2^31: only the product can leave 64 bits.
      const double extent = static_cast<double>(n > 0 ? n - 1 : 0) * static_cast<double>(block->stride) + static_cast<double>(families_[f].offset);
      if (extent > 9007199254740991.0) {
        needLength(block->name, families_[f].value, INT64_MAX, families_[f].length);
      } else {
        needLength(block->name, families_[f].value, families_[f].offset + block->extent(), families_[f].length);
      }
    }
  }
}

Block Args::vector(const char* name, std::int64_t n, bool nullable) {
  napi_value value = position_ < kMaxArguments ? values_[position_] : nullptr;
  const Typed array = real(name, nullable);
  const std::int64_t start = offset(name);
  if (failed_) return {};
  Block block = place(name, array, start, n, 1, n > 0 && n <= INT32_MAX ? static_cast<int>(n) : 1);
  if (array.present) needLength(name, value, start + n, array.length);
  return block;
}

Block Args::strided(const char* name, std::int64_t n) {
  napi_value value = position_ < kMaxArguments ? values_[position_] : nullptr;
  const Typed array = real(name, false);
  const std::int64_t start = offset(name);
  const std::string increment = std::string("inc") + name;
  const int inc = integer(increment.c_str(), 1);
  if (failed_) return {};
  Block block = inc == 1 ? place(name, array, start, n, 1, n > 0 ? static_cast<int>(n) : 1) : place(name, array, start, 1, n, inc);
  needLength(name, value, start + block.itemExtent(), array.length);
  if (inc == 1) block.ld = 1;  // the BLAS increment; a single column never uses its leading dimension
  return block;
}

Block Args::leading(const char* name, std::int64_t n) {
  napi_value value = position_ < kMaxArguments ? values_[position_] : nullptr;
  const Typed array = real(name, false);
  if (failed_) return {};
  Block block = place(name, array, 0, n, 1, n > 0 ? static_cast<int>(n) : 1);
  needLength(name, value, n, array.length);
  return block;
}

Block Args::whole(const char* name) {
  const Typed array = real(name, false);
  if (failed_) return {};
  return place(name, array, 0, static_cast<std::int64_t>(array.length), 1, 1);
}

Block Args::pivots(const char* name, std::int64_t n) {
  napi_value value = position_ < kMaxArguments ? values_[position_] : nullptr;
  const Typed array = typed(name, napi_int32_array, false);
  const std::int64_t start = offset(name);
  if (failed_) return {};
  Block block = place(name, array, start, n, 1, 1);
  needLength(name, value, start + n, array.length);
  return block;
}

Block Args::pivotBatch(const char* name, std::int64_t n) {
  const std::size_t position = position_;
  Block block = pivots(name, n);
  if (failed_) return block;
  napi_value value = next(name);
  double number = 0;
  if (napi_get_value_double(env_, value, &number) != napi_ok) return throwType("stridePivots", "an integer >= 0", value), block;
  if (!(number >= 0 && number <= 9007199254740991.0) || number != std::floor(number)) return throwRange("stridePivots", "an integer >= 0", value), block;
  block.stride = static_cast<std::int64_t>(number);
  families_[familyCount_] = {values_[position], 0, 0};
  napi_get_typedarray_info(env_, values_[position], nullptr, &families_[familyCount_].length, nullptr, nullptr, nullptr);
  double start = 0;
  napi_get_value_double(env_, values_[position + 1], &start);
  families_[familyCount_].offset = static_cast<std::int64_t>(start);
  familyData_[familyCount_++] = name;
  return block;
}

Block Args::integers(const char* name, std::int64_t n) {
  napi_value value = position_ < kMaxArguments ? values_[position_] : nullptr;
  const Typed array = typed(name, napi_int32_array, false);
  if (failed_) return {};
  needLength(name, value, n, array.length);
  return place(name, array, 0, n, 1, 1);
}

Block Args::integersOrNull(const char* name, std::int64_t n, bool& present) {
  napi_value value = position_ < kMaxArguments ? values_[position_] : nullptr;
  const Typed array = typed(name, napi_int32_array, true);
  present = !failed_ && array.present;
  if (!present) return {};
  needLength(name, value, n, array.length);
  return place(name, array, 0, n, 1, 1);
}

Block Args::doubles(const char* name, std::int64_t n) {
  napi_value value = position_ < kMaxArguments ? values_[position_] : nullptr;
  const Typed array = typed(name, napi_float64_array, false);
  if (failed_) return {};
  needLength(name, value, n, array.length);
  return place(name, array, 0, n, 1, 1);
}

void Args::apart(const Block& output, const Block& other) {
  if (failed_ || !overlap(output, other)) return;
  failRange(output.name, (std::string("memory apart from ") + other.name).c_str(), "an overlapping region");
}

void Args::sameOrApart(const Block& output, const Block& other) {
  if (failed_) return;
  if (output.data == other.data && (output.ld == other.ld || output.cols <= 1)) return;
  if (!overlap(output, other)) return;
  failRange(output.name, (std::string("either ") + other.name + " itself or memory apart from it").c_str(), "an overlapping region");
}

void Args::itemsApart(const Block& output) {
  if (failed_ || output.empty() || output.count < 2 || output.stride >= output.itemExtent()) return;
  for (std::int64_t i = 1; i < output.count; i++) {
    if (i * output.stride >= output.itemExtent()) return;
    if (itemsMeet(output, i, output, 0)) {
      return failRange(output.name, "a stride that keeps the items apart", std::to_string(output.stride).c_str());
    }
  }
}

void Args::sytrfPivots(const Block& pivots, int upper) {
  if (failed_) return;
  const std::int64_t n = pivots.rows;
  for (std::int64_t item = 0; item < (pivots.stride == 0 && pivots.count > 0 ? 1 : pivots.count); item++) {
    const auto* p = pivots.as<const std::int32_t>() + item * pivots.stride;
    // The upper factor is built from the last column to the first, the lower from the first to the last.
    for (std::int64_t s = 0; s < n;) {
      const std::int64_t k = upper ? n - 1 - s : s;
      const std::int64_t value = p[k];
      bool good;
      std::int64_t width = 1;
      if (value > 0) {
        good = upper ? value <= k + 1 : value >= k + 1 && value <= n;
      } else {
        width = 2;
        good = s + 1 < n && p[upper ? k - 1 : k + 1] == value && (upper ? -value >= 1 && -value <= k : -value >= k + 2 && -value <= n);
      }
      if (!good) {
        const std::string name = std::string(pivots.name) + "[" + std::to_string(item * pivots.stride + k) + "]";
        return failRange(name.c_str(), "a pivot that sytrf writes for this triangle", std::to_string(value).c_str());
      }
      s += width;
    }
  }
}

void Args::getrfPivots(const Block& pivots) {
  if (failed_) return;
  const std::int64_t n = pivots.rows;
  for (std::int64_t item = 0; item < (pivots.stride == 0 && pivots.count > 0 ? 1 : pivots.count); item++) {
    const auto* p = pivots.as<const std::int32_t>() + item * pivots.stride;
    for (std::int64_t k = 0; k < n; k++) {
      if (p[k] >= k + 1 && p[k] <= n) continue;
      const std::string name = std::string(pivots.name) + "[" + std::to_string(item * pivots.stride + k) + "]";
      return failRange(name.c_str(), "a pivot that getrf writes", std::to_string(p[k]).c_str());
    }
  }
}

}  // namespace deep_hessian
