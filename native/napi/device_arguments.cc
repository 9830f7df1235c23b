#include "napi/device_arguments.h"

#include <cmath>
#include <mutex>
#include <unordered_map>

namespace deep_hessian {
namespace {

struct Kept {
  std::unique_ptr<cuda::Device> device;
  napi_env env;
};

std::mutex mutex;
int nextDevice = 1;

// Never destroyed: at the end of the process CUDA has gone before.
std::unordered_map<int, Kept>& devices() {
  static auto* all = new std::unordered_map<int, Kept>();
  return *all;
}

// A JavaScript environment that ends takes its devices with it.
void closeAll(void* environment) {
  std::unordered_map<int, Kept> closing;
  {
    const std::lock_guard<std::mutex> lock(mutex);
    for (auto it = devices().begin(); it != devices().end();) {
      if (it->second.env == environment) {
        closing[it->first] = std::move(it->second);
        it = devices().erase(it);
      } else {
        ++it;
      }
    }
  }
}

const char* elementName(cuda::Element element) {
  return element == cuda::Element::kFloat64 ? "float64" : element == cuda::Element::kFloat32 ? "float32" : "int32";
}

std::string describe(const cuda::Buffer& buffer) {
  return std::string("a device buffer of ") + std::to_string(buffer.length) + " " + elementName(buffer.element);
}

std::string describe(napi_env env, napi_value value) {
  napi_value string;
  char text[64];
  std::size_t length = 0;
  napi_valuetype kind;
  if (value == nullptr || napi_typeof(env, value, &kind) != napi_ok || kind == napi_symbol ||
      napi_coerce_to_string(env, value, &string) != napi_ok ||
      napi_get_value_string_utf8(env, string, text, sizeof text, &length) != napi_ok) {
    bool pending = false;
    if (napi_is_exception_pending(env, &pending) == napi_ok && pending) napi_get_and_clear_last_exception(env, &string);
    return "a value of another kind";
  }
  return text;
}

bool readNatural(napi_env env, napi_value value, double& number) {
  return napi_get_value_double(env, value, &number) == napi_ok && number >= 0 && number <= 9007199254740991.0 &&
         number == std::floor(number);
}

}  // namespace

cuda::Device* findDevice(int id) {
  const std::lock_guard<std::mutex> lock(mutex);
  const auto found = devices().find(id);
  return found == devices().end() ? nullptr : found->second.device.get();
}

int keepDevice(napi_env env, std::unique_ptr<cuda::Device> device) {
  const std::lock_guard<std::mutex> lock(mutex);
  bool known = false;
  for (const auto& entry : devices()) known |= entry.second.env == env;
  if (!known) {
    // The hook may have been added before; Node refuses a second of the same kind only in debug builds, so it is removed.
    napi_remove_env_cleanup_hook(env, closeAll, env);
    napi_add_env_cleanup_hook(env, closeAll, env);
  }
  devices()[nextDevice] = Kept{std::move(device), env};
  return nextDevice++;
}

void dropDevice(int id) {
  std::unique_ptr<cuda::Device> closing;
  const std::lock_guard<std::mutex> lock(mutex);
  const auto found = devices().find(id);
  if (found == devices().end()) return;
  closing = std::move(found->second.device);
  devices().erase(found);
}

DeviceArgs::DeviceArgs(napi_env env, napi_callback_info info, const char* operation) : env_(env), operation_(operation) {
  napi_get_cb_info(env, info, &given_, values_, nullptr, nullptr);
  const int id = integer("device", 0);
  if (!failed_ && (device_ = findDevice(id)) == nullptr) failRange("device", "an open device", std::to_string(id));
}

void DeviceArgs::failRange(const std::string& name, const std::string& expected, const std::string& received) {
  if (failed_) return;
  failed_ = true;
  const std::string message = std::string(operation_) + ": expected " + expected + " for " + name + ", received " + received;
  napi_throw_range_error(env_, nullptr, message.c_str());
}

void DeviceArgs::failType(const std::string& name, const std::string& expected, const std::string& received) {
  if (failed_) return;
  failed_ = true;
  const std::string message = std::string(operation_) + ": expected " + expected + " for " + name + ", received " + received;
  napi_throw_type_error(env_, nullptr, message.c_str());
}

napi_value DeviceArgs::result(double value) const {
  napi_value out = nullptr;
  napi_create_double(env_, value, &out);
  return out;
}

int DeviceArgs::integer(const char* name, int minimum, int maximum) {
  if (failed_) return minimum;
  napi_value value = next();
  double number = 0;
  const napi_status status = napi_get_value_double(env_, value, &number);
  if (status == napi_ok && number >= minimum && number <= maximum && number == static_cast<int>(number)) return static_cast<int>(number);
  const std::string expected = "an integer from " + std::to_string(minimum) + " to " + std::to_string(maximum);
  if (status != napi_ok) failType(name, expected, describe(env_, value));
  else failRange(name, expected, describe(env_, value));
  return minimum;
}

int DeviceArgs::flag(const char* name) { return integer(name, 0, 1); }

double DeviceArgs::number(const char* name) {
  if (failed_) return 0;
  napi_value value = next();
  double number = 0;
  if (napi_get_value_double(env_, value, &number) != napi_ok) failType(name, "a number", describe(env_, value));
  return number;
}

std::int64_t DeviceArgs::natural(const std::string& name) {
  if (failed_) return 0;
  napi_value value = next();
  double number = 0;
  if (!readNatural(env_, value, number)) failRange(name, "an integer >= 0", describe(env_, value));
  return failed_ ? 0 : static_cast<std::int64_t>(number);
}

std::int64_t DeviceArgs::index(const char* name) { return natural(name); }

const cuda::Buffer* DeviceArgs::buffer(const char* name, bool nullable) {
  if (failed_) return nullptr;
  napi_value value = next();
  double number = 0;
  if (!readNatural(env_, value, number)) {
    failType(name, nullable ? "a device buffer or null" : "a device buffer", describe(env_, value));
    return nullptr;
  }
  if (number == 0 && nullable) return nullptr;
  const cuda::Buffer* found = number <= INT32_MAX ? device_->find(static_cast<int>(number)) : nullptr;
  if (found == nullptr) failRange(name, "a device buffer in use", "one that has been disposed or belongs to another device");
  return found;
}

const cuda::Buffer* DeviceArgs::real(const char* name, bool nullable) {
  const cuda::Buffer* found = buffer(name, nullable);
  if (found == nullptr) return nullptr;
  if (found->element == cuda::Element::kInt32) {
    failType(name, "a float64 or float32 device buffer", describe(*found));
    return nullptr;
  }
  if (typed_ && found->element != element_) {
    failType(name, std::string("a ") + elementName(element_) + " device buffer (the type of the others)", describe(*found));
    return nullptr;
  }
  typed_ = true;
  element_ = found->element;
  return found;
}

void DeviceArgs::needElements(const char* name, const cuda::Buffer& buffer, double needed) {
  if (needed > static_cast<double>(buffer.length)) {
    failRange(name, "at least " + std::to_string(static_cast<long long>(std::fmin(needed, 9e15))) + " elements", describe(buffer));
  }
}

Block DeviceArgs::place(const char* name, const cuda::Buffer* buffer, std::int64_t offset, std::int64_t rows, std::int64_t cols, int ld) {
  Block block;
  block.name = name;
  block.rows = rows;
  block.cols = cols;
  block.ld = ld;
  if (buffer == nullptr || failed_) return block;
  block.elementSize = static_cast<int>(cuda::bytesOf(buffer->element));
  block.data = static_cast<std::uint8_t*>(buffer->data) + offset * block.elementSize;
  needElements(name, *buffer, static_cast<double>(offset) + static_cast<double>(block.itemExtent()));
  return block;
}

Block DeviceArgs::matrix(const char* name, std::int64_t rows, std::int64_t cols) {
  const cuda::Buffer* found = real(name, false);
  const std::int64_t offset = natural(std::string(name) + "Offset");
  const std::int64_t least = rows > 1 ? rows : 1, ld = natural(std::string("ld") + name);
  if (!failed_ && (ld < least || ld > INT32_MAX)) {
    failRange(std::string("ld") + name, "an integer >= " + std::to_string(least), std::to_string(ld));
  }
  return place(name, found, offset, rows, cols, static_cast<int>(ld));
}

void DeviceArgs::family(Block& block, const char* strideName, std::int64_t offset, std::int64_t length) {
  block.stride = natural(strideName);
  if (!failed_) families_[familyCount_++] = {block.name, offset, length};
}

Block DeviceArgs::matrices(const char* name, std::int64_t rows, std::int64_t cols) {
  const std::size_t at = position_;
  Block block = matrix(name, rows, cols);
  if (failed_) return block;
  double id = 0, offset = 0;
  napi_get_value_double(env_, values_[at], &id);
  napi_get_value_double(env_, values_[at + 1], &offset);
  family(block, (std::string("stride of ") + name).c_str(), static_cast<std::int64_t>(offset), device_->find(static_cast<int>(id))->length);
  return block;
}

Block DeviceArgs::vector(const char* name, std::int64_t n, bool nullable) {
  const cuda::Buffer* found = real(name, nullable);
  const std::int64_t offset = natural(std::string(name) + "Offset");
  return place(name, found, offset, n, 1, n > 0 && n <= INT32_MAX ? static_cast<int>(n) : 1);
}

Block DeviceArgs::otherVector(const char* name, std::int64_t n) {
  const cuda::Buffer* found = buffer(name, false);
  const std::int64_t offset = natural(std::string(name) + "Offset");
  if (found && (found->element == cuda::Element::kInt32 || found->element == element_)) {
    failType(name, std::string("a ") + elementName(element_ == cuda::Element::kFloat64 ? cuda::Element::kFloat32 : cuda::Element::kFloat64) +
                       " device buffer", describe(*found));
  }
  return place(name, found, offset, n, 1, 1);
}

Block DeviceArgs::strided(const char* name, std::int64_t n) {
  const cuda::Buffer* found = real(name, false);
  const std::int64_t offset = natural(std::string(name) + "Offset");
  const int increment = integer((std::string("inc") + name).c_str(), 1);
  return increment == 1 ? place(name, found, offset, n, 1, 1) : place(name, found, offset, 1, n, increment);
}

Block DeviceArgs::whole(const char* name) {
  const cuda::Buffer* found = real(name, false);
  return place(name, found, 0, found ? found->length : 0, 1, 1);
}

Block DeviceArgs::pivots(const char* name, std::int64_t n) {
  const cuda::Buffer* found = buffer(name, false);
  const std::int64_t offset = natural(std::string(name) + "Offset");
  if (found && found->element != cuda::Element::kInt32) failType(name, "an int32 device buffer", describe(*found));
  return place(name, found, offset, n, 1, 1);
}

Block DeviceArgs::pivotBatch(const char* name, std::int64_t n) {
  const std::size_t at = position_;
  Block block = pivots(name, n);
  if (failed_) return block;
  double id = 0, offset = 0;
  napi_get_value_double(env_, values_[at], &id);
  napi_get_value_double(env_, values_[at + 1], &offset);
  family(block, "stridePivots", static_cast<std::int64_t>(offset), device_->find(static_cast<int>(id))->length);
  return block;
}

void DeviceArgs::count(std::initializer_list<Block*> blocks, const char* name) {
  const int n = integer(name, 0);
  for (Block* block : blocks) {
    if (failed_) return;
    block->count = n;
    for (int f = 0; f < familyCount_; f++) {
      if (families_[f].name != block->name) continue;
      // In doubles: only this product can leave 64 bits.
      const double last = static_cast<double>(n > 0 ? n - 1 : 0) * static_cast<double>(block->stride);
      const double needed = static_cast<double>(families_[f].offset) + last + static_cast<double>(block->itemExtent());
      if (n > 0 && block->itemExtent() > 0 && needed > static_cast<double>(families_[f].length)) {
        failRange(block->name, "at least " + std::to_string(static_cast<long long>(std::fmin(needed, 9e15))) + " elements",
                  "a device buffer of length " + std::to_string(families_[f].length));
      }
    }
  }
}

const cuda::Buffer* DeviceArgs::anyBuffer(const char* name, std::int64_t& offset) {
  const cuda::Buffer* found = buffer(name, false);
  offset = natural(std::string(name) + "Offset");
  return found;
}

const double* DeviceArgs::doubles(const char* name, std::int64_t n) {
  return static_cast<const double*>(failed_ ? nullptr : [&]() -> void* {
    napi_value value = next();
    napi_typedarray_type type;
    std::size_t length = 0;
    void* data = nullptr;
    if (napi_get_typedarray_info(env_, value, &type, &length, &data, nullptr, nullptr) != napi_ok || type != napi_float64_array) {
      failType(name, "a Float64Array", describe(env_, value));
      return nullptr;
    }
    if (static_cast<std::int64_t>(length) < n) failRange(name, "at least " + std::to_string(n) + " elements", std::to_string(length));
    return data;
  }());
}

const std::int32_t* DeviceArgs::integersOrNull(const char* name, std::int64_t n, bool nullable) {
  if (failed_) return nullptr;
  napi_value value = next();
  napi_valuetype kind;
  if (nullable && napi_typeof(env_, value, &kind) == napi_ok && kind == napi_null) return nullptr;
  napi_typedarray_type type;
  std::size_t length = 0;
  void* data = nullptr;
  if (napi_get_typedarray_info(env_, value, &type, &length, &data, nullptr, nullptr) != napi_ok || type != napi_int32_array) {
    failType(name, nullable ? "an Int32Array or null" : "an Int32Array", describe(env_, value));
    return nullptr;
  }
  if (static_cast<std::int64_t>(length) < n) failRange(name, "at least " + std::to_string(n) + " elements", std::to_string(length));
  static const std::int32_t none = 0;
  return data ? static_cast<const std::int32_t*>(data) : &none;
}

void* DeviceArgs::hostArray(const char* name, cuda::Element element, std::int64_t n) {
  if (failed_) return nullptr;
  napi_value value = next();
  const napi_typedarray_type wanted = element == cuda::Element::kFloat64   ? napi_float64_array
                                      : element == cuda::Element::kFloat32 ? napi_float32_array
                                                                           : napi_int32_array;
  napi_typedarray_type type;
  std::size_t length = 0;
  void* data = nullptr;
  if (napi_get_typedarray_info(env_, value, &type, &length, &data, nullptr, nullptr) != napi_ok || type != wanted) {
    failType(name, std::string("a typed array of ") + elementName(element), describe(env_, value));
    return nullptr;
  }
  const std::int64_t offset = natural(std::string(name) + "Offset");
  if (!failed_ && static_cast<double>(offset) + static_cast<double>(n) > static_cast<double>(length)) {
    failRange(name, "at least " + std::to_string(offset + n) + " elements", std::to_string(length));
  }
  return failed_ ? nullptr : static_cast<std::uint8_t*>(data) + offset * static_cast<std::int64_t>(cuda::bytesOf(element));
}

void DeviceArgs::apart(const Block& output, const Block& other) {
  if (failed_ || !overlap(output, other)) return;
  failRange(output.name, std::string("memory apart from ") + other.name, "an overlapping region");
}

void DeviceArgs::sameOrApart(const Block& output, const Block& other) {
  if (failed_ || (output.data == other.data && (output.ld == other.ld || output.cols <= 1)) || !overlap(output, other)) return;
  failRange(output.name, std::string("either ") + other.name + " itself or memory apart from it", "an overlapping region");
}

void DeviceArgs::throwFailure(napi_env env, const char* operation, const cuda::Failure& failure) {
  static const char* const kinds[] = {"failed", "out-of-memory", "lost", "unavailable"};
  std::string message = std::string(operation) + ": ";
  if (failure.status == 0) {
    message += failure.detail;
  } else {
    message += failure.call + " returned " + failure.name + " (" + std::to_string(failure.status) + ")";
    if (!failure.detail.empty()) message += ", " + failure.detail;
  }
  napi_value text, code, error, value;
  napi_create_string_utf8(env, message.c_str(), message.size(), &text);
  napi_create_string_utf8(env, "DEEP_HESSIAN_CUDA", NAPI_AUTO_LENGTH, &code);
  napi_create_error(env, code, text, &error);
  const auto string = [&](const char* name, const std::string& content) {
    napi_create_string_utf8(env, content.c_str(), content.size(), &value);
    napi_set_named_property(env, error, name, value);
  };
  const auto number = [&](const char* name, double content) {
    napi_create_double(env, content, &value);
    napi_set_named_property(env, error, name, value);
  };
  string("kind", kinds[failure.kind]);
  string("library", failure.library);
  string("call", failure.call);
  string("statusName", failure.name);
  number("status", failure.status);
  if (failure.kind == cuda::Failure::kOutOfMemory) {
    number("bytes", failure.bytes);
    number("free", failure.free);
    number("total", failure.total);
  }
  napi_throw(env, error);
}

}  // namespace deep_hessian
