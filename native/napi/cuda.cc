// Operations on device memory as JavaScript functions. Argument order and meaning: ts/native/kernels.ts and
// ts/device/operations.ts, with the number of the device before the others and numbers of buffers in the place of arrays.
#include <node_api.h>

#include <algorithm>
#include <string>

#include "cuda/dense.h"
#include "cuda/elementwise.h"
#include "cuda/libraries.h"
#include "napi/device_arguments.h"
#include "napi/exports.h"

namespace deep_hessian {
namespace {

using cuda::Dense;
using cuda::Elementwise;

void set(napi_env env, napi_value object, const char* name, const std::string& text, bool nullable = false) {
  napi_value value;
  if (nullable && text.empty()) napi_get_null(env, &value);
  else napi_create_string_utf8(env, text.c_str(), text.size(), &value);
  napi_set_named_property(env, object, name, value);
}

void set(napi_env env, napi_value object, const char* name, double number) {
  napi_value value;
  napi_create_double(env, number, &value);
  napi_set_named_property(env, object, name, value);
}

// --- the device ------------------------------------------------------------------------------------------------------

napi_value info(napi_env env, napi_callback_info) {
  const cuda::Libraries& all = cuda::libraries();
  napi_value out, list, entry, available;
  napi_create_object(env, &out);
  napi_get_boolean(env, all.usable(), &available);
  napi_set_named_property(env, out, "available", available);
  set(env, out, "reason", all.reason, true);
  napi_create_array_with_length(env, all.found.size(), &list);
  for (std::size_t i = 0; i < all.found.size(); i++) {
    const cuda::Library& library = all.found[i];
    napi_create_object(env, &entry);
    set(env, entry, "name", library.name);
    set(env, entry, "file", library.file, true);
    set(env, entry, "version", library.version, true);
    set(env, entry, "error", library.error, true);
    napi_set_element(env, list, static_cast<std::uint32_t>(i), entry);
  }
  napi_set_named_property(env, out, "libraries", list);
  napi_create_array_with_length(env, all.devices.size(), &list);
  for (std::size_t i = 0; i < all.devices.size(); i++) {
    const cuda::DeviceFacts& facts = all.devices[i];
    napi_create_object(env, &entry);
    set(env, entry, "index", facts.index);
    set(env, entry, "name", facts.name);
    set(env, entry, "memory", facts.memory);
    set(env, entry, "computeCapability", std::to_string(facts.major) + "." + std::to_string(facts.minor));
    set(env, entry, "multiprocessors", facts.multiprocessors);
    napi_set_element(env, list, static_cast<std::uint32_t>(i), entry);
  }
  napi_set_named_property(env, out, "devices", list);
  return out;
}

napi_value open(napi_env env, napi_callback_info callback) {
  std::size_t given = 2;
  napi_value values[2], result = nullptr;
  napi_get_cb_info(env, callback, &given, values, nullptr, nullptr);
  std::int32_t index = 0;
  bool tf32 = false;
  if (napi_get_value_int32(env, values[0], &index) != napi_ok || napi_get_value_bool(env, values[1], &tf32) != napi_ok) {
    napi_throw_type_error(env, nullptr, "cudaOpen: expected an index and true or false");
    return nullptr;
  }
  try {
    napi_create_int32(env, keepDevice(env, std::make_unique<cuda::Device>(index, tf32)), &result);
  } catch (const cuda::Failure& failure) {
    DeviceArgs::throwFailure(env, "cudaOpen", failure);
  } catch (const std::bad_alloc&) {
    napi_throw_error(env, "ERR_OUT_OF_MEMORY", "cudaOpen: out of memory of the host");
  }
  return result;
}

napi_value close(napi_env env, napi_callback_info callback) {
  std::size_t given = 1;
  napi_value value;
  std::int32_t id = 0;
  napi_get_cb_info(env, callback, &given, &value, nullptr, nullptr);
  if (napi_get_value_int32(env, value, &id) == napi_ok) dropDevice(id);
  return nullptr;
}

napi_value allocate(napi_env env, napi_callback_info info) {
  DeviceArgs args(env, info, "cudaAllocate");
  const auto element = static_cast<cuda::Element>(args.integer("element", 0, 2));
  const std::int64_t length = args.index("length");
  int id = 0;
  if (args.ok()) args.run([&] { id = args.device().allocate(element, length); });
  return args.ok() ? args.result(id) : nullptr;
}

napi_value release(napi_env env, napi_callback_info info) {
  DeviceArgs args(env, info, "cudaFree");
  const int id = args.integer("buffer", 0);
  if (args.ok()) args.run([&] { args.device().release(id); });
  return nullptr;
}

napi_value memory(napi_env env, napi_callback_info info) {
  DeviceArgs args(env, info, "cudaMemory");
  napi_value out = nullptr;
  if (args.ok()) args.run([&] {
    const cuda::Device::Memory m = args.device().memory();
    napi_create_object(env, &out);
    set(env, out, "buffers", m.buffers);
    set(env, out, "bytes", m.bytes);
    set(env, out, "workspace", m.workspace);
    set(env, out, "free", m.free);
    set(env, out, "total", m.total);
  });
  return out;
}

// buffer, offset, count, array, arrayOffset
napi_value transfer(napi_env env, napi_callback_info info, const char* name, bool up) {
  DeviceArgs args(env, info, name);
  std::int64_t offset = 0;
  const cuda::Buffer* buffer = args.anyBuffer("buffer", offset);
  const std::int64_t count = args.index("count");
  if (args.ok()) args.needElements("buffer", *buffer, static_cast<double>(offset) + static_cast<double>(count));
  void* host = args.ok() ? args.hostArray("array", buffer->element, count) : nullptr;
  if (args.ok()) args.run([&] {
    if (up) args.device().upload(*buffer, offset, host, count);
    else args.device().download(*buffer, offset, host, count);
  });
  return nullptr;
}

napi_value upload(napi_env env, napi_callback_info info) { return transfer(env, info, "upload", true); }
napi_value download(napi_env env, napi_callback_info info) { return transfer(env, info, "download", false); }

napi_value copy(napi_env env, napi_callback_info info) {
  DeviceArgs args(env, info, "copy");
  const std::int64_t n = args.index("n");
  const Block x = args.vector("x", n), y = args.vector("y", n);
  args.apart(y, x);
  if (args.ok()) args.run([&] { args.device().copy(y.data, x.data, static_cast<std::size_t>(n) * static_cast<std::size_t>(x.elementSize)); });
  return nullptr;
}

napi_value useStream(napi_env env, napi_callback_info info) {
  DeviceArgs args(env, info, "useStream");
  const int index = args.integer("stream", 0, 31);
  if (args.ok()) args.run([&] { args.device().useStream(index); });
  return nullptr;
}

napi_value waitFor(napi_env env, napi_callback_info info) {
  DeviceArgs args(env, info, "waitFor");
  const int index = args.integer("stream", 0, 31);
  if (args.ok()) args.run([&] { args.device().waitFor(index); });
  return nullptr;
}

napi_value synchronize(napi_env env, napi_callback_info info) {
  DeviceArgs args(env, info, "synchronize");
  if (args.ok()) args.run([&] { args.device().synchronize(); });
  return nullptr;
}

// --- BLAS ------------------------------------------------------------------------------------------------------------

napi_value gemm(napi_env env, napi_callback_info info) {
  DeviceArgs args(env, info, "gemm");
  const int transA = args.flag("transA"), transB = args.flag("transB");
  const int m = args.size("m"), n = args.size("n"), k = args.size("k");
  const double alpha = args.number("alpha");
  const Block a = args.matrix("a", transA ? k : m, transA ? m : k), b = args.matrix("b", transB ? n : k, transB ? k : n);
  const double beta = args.number("beta");
  const Block c = args.matrix("c", m, n);
  args.apart(c, a);
  args.apart(c, b);
  if (args.ok()) args.runReal([&](auto type) {
    Dense<decltype(type)>::gemm(args.device(), transA, transB, m, n, k, alpha, viewOf(a), viewOf(b), beta, viewOf(c));
  });
  return nullptr;
}

napi_value gemmBatch(napi_env env, napi_callback_info info) {
  DeviceArgs args(env, info, "gemmBatch");
  const int transA = args.flag("transA"), transB = args.flag("transB");
  const int m = args.size("m"), n = args.size("n"), k = args.size("k");
  const double alpha = args.number("alpha");
  Block a = args.matrices("a", transA ? k : m, transA ? m : k), b = args.matrices("b", transB ? n : k, transB ? k : n);
  const double beta = args.number("beta");
  Block c = args.matrices("c", m, n);
  args.count({&a, &b, &c});
  args.apart(c, a);
  args.apart(c, b);
  if (args.ok()) args.runReal([&](auto type) {
    Dense<decltype(type)>::gemmBatch(args.device(), transA, transB, m, n, k, alpha, viewOf(a), viewOf(b), beta, viewOf(c),
                                     static_cast<int>(c.count));
  });
  return nullptr;
}

napi_value gemv(napi_env env, napi_callback_info info) {
  DeviceArgs args(env, info, "gemv");
  const int trans = args.flag("trans"), m = args.size("m"), n = args.size("n");
  const double alpha = args.number("alpha");
  const Block a = args.matrix("a", m, n), x = args.strided("x", trans ? m : n);
  const double beta = args.number("beta");
  const Block y = args.strided("y", trans ? n : m);
  args.apart(y, a);
  args.apart(y, x);
  if (args.ok()) args.runReal([&](auto type) {
    Dense<decltype(type)>::gemv(args.device(), trans, m, n, alpha, viewOf(a), viewOf(x), x.ld, beta, viewOf(y), y.ld);
  });
  return nullptr;
}

napi_value syrk(napi_env env, napi_callback_info info) {
  DeviceArgs args(env, info, "syrk");
  const int upper = args.flag("uplo"), trans = args.flag("trans"), n = args.size("n"), k = args.size("k");
  const double alpha = args.number("alpha");
  const Block a = args.matrix("a", trans ? k : n, trans ? n : k);
  const double beta = args.number("beta");
  const Block c = args.matrix("c", n, n);
  args.apart(c, a);
  if (args.ok()) args.runReal([&](auto type) {
    Dense<decltype(type)>::syrk(args.device(), upper, trans, n, k, alpha, viewOf(a), beta, viewOf(c));
  });
  return nullptr;
}

napi_value symm(napi_env env, napi_callback_info info) {
  DeviceArgs args(env, info, "symm");
  const int right = args.flag("side"), upper = args.flag("uplo"), m = args.size("m"), n = args.size("n");
  const double alpha = args.number("alpha");
  const Block a = args.matrix("a", right ? n : m, right ? n : m), b = args.matrix("b", m, n);
  const double beta = args.number("beta");
  const Block c = args.matrix("c", m, n);
  args.apart(c, a);
  args.apart(c, b);
  if (args.ok()) args.runReal([&](auto type) {
    Dense<decltype(type)>::symm(args.device(), right, upper, m, n, alpha, viewOf(a), viewOf(b), beta, viewOf(c));
  });
  return nullptr;
}

napi_value trsm(napi_env env, napi_callback_info info) {
  DeviceArgs args(env, info, "trsm");
  const int right = args.flag("side"), upper = args.flag("uplo"), trans = args.flag("trans"), unit = args.flag("unitDiagonal");
  const int m = args.size("m"), n = args.size("n");
  const double alpha = args.number("alpha");
  const Block a = args.matrix("a", right ? n : m, right ? n : m), b = args.matrix("b", m, n);
  args.apart(b, a);
  if (args.ok()) args.runReal([&](auto type) {
    Dense<decltype(type)>::trsm(args.device(), right, upper, trans, unit, m, n, alpha, viewOf(a), viewOf(b));
  });
  return nullptr;
}

napi_value trsmBatch(napi_env env, napi_callback_info info) {
  DeviceArgs args(env, info, "trsmBatch");
  const int right = args.flag("side"), upper = args.flag("uplo"), trans = args.flag("trans"), unit = args.flag("unitDiagonal");
  const int m = args.size("m"), n = args.size("n");
  const double alpha = args.number("alpha");
  Block a = args.matrices("a", right ? n : m, right ? n : m), b = args.matrices("b", m, n);
  args.count({&a, &b});
  args.apart(b, a);
  if (args.ok()) args.runReal([&](auto type) {
    Dense<decltype(type)>::trsmBatch(args.device(), right, upper, trans, unit, m, n, alpha, viewOf(a), viewOf(b),
                                     static_cast<int>(b.count));
  });
  return nullptr;
}

napi_value dot(napi_env env, napi_callback_info info) {
  DeviceArgs args(env, info, "dot");
  const int n = args.size("n");
  const Block x = args.vector("x", n), y = args.vector("y", n);
  double result = 0;
  if (args.ok()) args.runReal([&](auto type) { result = Dense<decltype(type)>::dot(args.device(), n, viewOf(x), viewOf(y)); });
  return args.ok() ? args.result(result) : nullptr;
}

napi_value nrm2(napi_env env, napi_callback_info info) {
  DeviceArgs args(env, info, "nrm2");
  const int n = args.size("n");
  const Block x = args.vector("x", n);
  double result = 0;
  if (args.ok()) args.runReal([&](auto type) { result = Dense<decltype(type)>::nrm2(args.device(), n, viewOf(x)); });
  return args.ok() ? args.result(result) : nullptr;
}

napi_value axpy(napi_env env, napi_callback_info info) {
  DeviceArgs args(env, info, "axpy");
  const int n = args.size("n");
  const double alpha = args.number("alpha");
  const Block x = args.vector("x", n), y = args.vector("y", n);
  args.apart(y, x);
  if (args.ok()) args.runReal([&](auto type) { Dense<decltype(type)>::axpy(args.device(), n, alpha, viewOf(x), viewOf(y)); });
  return nullptr;
}

// --- factorizations ----------------------------------------------------------------------------------------------------

napi_value potrf(napi_env env, napi_callback_info info) {
  DeviceArgs args(env, info, "potrf");
  const int upper = args.flag("uplo"), n = args.size("n");
  const Block a = args.matrix("a", n, n);
  int status = 0;
  if (args.ok()) args.runReal([&](auto type) { status = Dense<decltype(type)>::potrf(args.device(), upper, n, viewOf(a)); });
  return args.ok() ? args.result(status) : nullptr;
}

napi_value potrs(napi_env env, napi_callback_info info) {
  DeviceArgs args(env, info, "potrs");
  const int upper = args.flag("uplo"), n = args.size("n"), nrhs = args.size("nrhs");
  const Block a = args.matrix("a", n, n), b = args.matrix("b", n, nrhs);
  args.apart(b, a);
  if (args.ok()) args.runReal([&](auto type) { Dense<decltype(type)>::potrs(args.device(), upper, n, nrhs, viewOf(a), viewOf(b)); });
  return nullptr;
}

napi_value potrfBatch(napi_env env, napi_callback_info info) {
  DeviceArgs args(env, info, "potrfBatch");
  const int upper = args.flag("uplo"), n = args.size("n");
  Block a = args.matrices("a", n, n);
  args.count({&a});
  int status = 0;
  if (args.ok()) args.runReal([&](auto type) {
    status = Dense<decltype(type)>::potrfBatch(args.device(), upper, n, viewOf(a), static_cast<int>(a.count));
  });
  return args.ok() ? args.result(status) : nullptr;
}

napi_value potrsBatch(napi_env env, napi_callback_info info) {
  DeviceArgs args(env, info, "potrsBatch");
  const int upper = args.flag("uplo"), n = args.size("n"), nrhs = args.size("nrhs");
  Block a = args.matrices("a", n, n), b = args.matrices("b", n, nrhs);
  args.count({&a, &b});
  args.apart(b, a);
  if (args.ok()) args.runReal([&](auto type) {
    Dense<decltype(type)>::potrsBatch(args.device(), upper, n, nrhs, viewOf(a), viewOf(b), static_cast<int>(b.count));
  });
  return nullptr;
}

napi_value sytrf(napi_env env, napi_callback_info info) {
  DeviceArgs args(env, info, "sytrf");
  const int upper = args.flag("uplo"), n = args.size("n");
  const Block a = args.matrix("a", n, n), pivots = args.pivots("pivots", n);
  int status = 0;
  if (args.ok()) args.runReal([&](auto type) {
    status = Dense<decltype(type)>::sytrf(args.device(), upper, n, viewOf(a), pivots.as<int>());
  });
  return args.ok() ? args.result(status) : nullptr;
}

napi_value sytrs(napi_env env, napi_callback_info info) {
  DeviceArgs args(env, info, "sytrs");
  const int upper = args.flag("uplo"), n = args.size("n"), nrhs = args.size("nrhs");
  const Block a = args.matrix("a", n, n), pivots = args.pivots("pivots", n), b = args.matrix("b", n, nrhs);
  args.apart(b, a);
  if (args.ok()) args.runReal([&](auto type) {
    Dense<decltype(type)>::sytrs(args.device(), upper, n, nrhs, viewOf(a), pivots.as<const int>(), viewOf(b));
  });
  return nullptr;
}

napi_value inertia(napi_env env, napi_callback_info info) {
  DeviceArgs args(env, info, "sytrfInertia");
  const int upper = args.flag("uplo"), n = args.size("n");
  const Block a = args.matrix("a", n, n), pivots = args.pivots("pivots", n);
  double* out = const_cast<double*>(args.doubles("out", 6));
  if (args.ok()) args.runReal([&](auto type) {
    Dense<decltype(type)>::sytrfInertia(args.device(), upper, n, viewOf(a), pivots.as<const int>(), out);
  });
  return nullptr;
}

napi_value getrf(napi_env env, napi_callback_info info) {
  DeviceArgs args(env, info, "getrf");
  const int m = args.size("m"), n = args.size("n");
  const Block a = args.matrix("a", m, n), pivots = args.pivots("pivots", std::min(m, n));
  int status = 0;
  if (args.ok()) args.runReal([&](auto type) { status = Dense<decltype(type)>::getrf(args.device(), m, n, viewOf(a), pivots.as<int>()); });
  return args.ok() ? args.result(status) : nullptr;
}

napi_value getrs(napi_env env, napi_callback_info info) {
  DeviceArgs args(env, info, "getrs");
  const int trans = args.flag("trans"), n = args.size("n"), nrhs = args.size("nrhs");
  const Block a = args.matrix("a", n, n), pivots = args.pivots("pivots", n), b = args.matrix("b", n, nrhs);
  args.apart(b, a);
  if (args.ok()) args.runReal([&](auto type) {
    Dense<decltype(type)>::getrs(args.device(), trans, n, nrhs, viewOf(a), pivots.as<const int>(), viewOf(b));
  });
  return nullptr;
}

napi_value getrfBatch(napi_env env, napi_callback_info info) {
  DeviceArgs args(env, info, "getrfBatch");
  const int m = args.size("m"), n = args.size("n");
  Block a = args.matrices("a", m, n), pivots = args.pivotBatch("pivots", std::min(m, n));
  args.count({&a, &pivots});
  int status = 0;
  if (args.ok()) args.runReal([&](auto type) {
    status = Dense<decltype(type)>::getrfBatch(args.device(), m, n, viewOf(a), pivots.as<int>(), pivots.stride, static_cast<int>(a.count));
  });
  return args.ok() ? args.result(status) : nullptr;
}

napi_value getrsBatch(napi_env env, napi_callback_info info) {
  DeviceArgs args(env, info, "getrsBatch");
  const int trans = args.flag("trans"), n = args.size("n"), nrhs = args.size("nrhs");
  Block a = args.matrices("a", n, n), pivots = args.pivotBatch("pivots", n), b = args.matrices("b", n, nrhs);
  args.count({&a, &pivots, &b});
  args.apart(b, a);
  if (args.ok()) args.runReal([&](auto type) {
    Dense<decltype(type)>::getrsBatch(args.device(), trans, n, nrhs, viewOf(a), pivots.as<const int>(), pivots.stride, viewOf(b),
                                      static_cast<int>(b.count));
  });
  return nullptr;
}

napi_value syevd(napi_env env, napi_callback_info info) {
  DeviceArgs args(env, info, "syevd");
  const int vectors = args.flag("vectors"), upper = args.flag("uplo"), n = args.size("n");
  const Block a = args.matrix("a", n, n), w = args.vector("w", n);
  args.apart(w, a);
  int status = 0;
  if (args.ok()) args.runReal([&](auto type) { status = Dense<decltype(type)>::syevd(args.device(), vectors, upper, n, viewOf(a), viewOf(w)); });
  return args.ok() ? args.result(status) : nullptr;
}

// --- element-wise --------------------------------------------------------------------------------------------------------

napi_value activate(napi_env env, napi_callback_info info) {
  DeviceArgs args(env, info, "activate");
  const int code = args.integer("code", 0, 7), rows = args.size("rows"), cols = args.size("cols");
  const std::int64_t n = static_cast<std::int64_t>(rows) * cols;
  const Block s = args.vector("s", n), bias = args.vector("bias", cols, true), residual = args.vector("residual", n, true);
  const Block z = args.vector("z", n, true), d1 = args.vector("d1", n, true), d2 = args.vector("d2", n, true);
  for (const Block* output : {&z, &d1, &d2}) {
    for (const Block* other : {&s, &bias, &residual}) args.apart(*output, *other);
  }
  args.apart(s, bias);
  args.apart(s, residual);
  args.apart(d1, z);
  args.apart(d2, z);
  args.apart(d2, d1);
  if (args.ok()) args.runReal([&](auto type) {
    Elementwise<decltype(type)>::activate(args.device(), code, rows, cols, viewOf(s), viewOf(bias), viewOf(residual), viewOf(z),
                                          viewOf(d1), viewOf(d2));
  });
  return nullptr;
}

napi_value fill(napi_env env, napi_callback_info info) {
  DeviceArgs args(env, info, "fill");
  const int n = args.size("n");
  const double value = args.number("value");
  const Block x = args.vector("x", n);
  if (args.ok()) args.runReal([&](auto type) { Elementwise<decltype(type)>::fill(args.device(), n, value, viewOf(x)); });
  return nullptr;
}

// y first: it has the type of the call.
napi_value convert(napi_env env, napi_callback_info info) {
  DeviceArgs args(env, info, "convert");
  const int n = args.size("n");
  const Block y = args.vector("y", n), x = args.otherVector("x", n);
  args.apart(y, x);
  if (args.ok()) args.runReal([&](auto type) { Elementwise<decltype(type)>::convert(args.device(), n, viewOf(x), viewOf(y)); });
  return nullptr;
}

napi_value hadamard(napi_env env, napi_callback_info info) {
  DeviceArgs args(env, info, "hadamard");
  const int accumulate = args.flag("accumulate"), n = args.size("n");
  const Block x = args.vector("x", n), y = args.vector("y", n), out = args.vector("out", n);
  args.sameOrApart(out, x);
  args.sameOrApart(out, y);
  if (args.ok()) args.runReal([&](auto type) {
    Elementwise<decltype(type)>::hadamard(args.device(), accumulate, n, viewOf(x), viewOf(y), viewOf(out));
  });
  return nullptr;
}

napi_value scaleRows(napi_env env, napi_callback_info info) {
  DeviceArgs args(env, info, "scaleRows");
  const int right = args.flag("side"), m = args.size("m"), n = args.size("n");
  const Block d = args.vector("d", right ? n : m), a = args.matrix("a", m, n), b = args.matrix("b", m, n);
  args.apart(b, d);
  args.sameOrApart(b, a);
  if (args.ok()) args.runReal([&](auto type) { Elementwise<decltype(type)>::scaleRows(args.device(), right, m, n, viewOf(d), viewOf(a), viewOf(b)); });
  return nullptr;
}

napi_value scaleSymmetric(napi_env env, napi_callback_info info) {
  DeviceArgs args(env, info, "scaleSymmetric");
  const int n = args.size("n");
  const Block a = args.matrix("a", n, n), d = args.vector("d", n, true), c = args.vector("c", n, true), b = args.matrix("b", n, n);
  args.apart(b, d);
  args.apart(b, c);
  args.sameOrApart(b, a);
  if (args.ok()) args.runReal([&](auto type) {
    Elementwise<decltype(type)>::scaleSymmetric(args.device(), n, viewOf(a), viewOf(d), viewOf(c), viewOf(b));
  });
  return nullptr;
}

napi_value addDiagonal(napi_env env, napi_callback_info info) {
  DeviceArgs args(env, info, "addDiagonal");
  const int n = args.size("n");
  const double value = args.number("value");
  const Block a = args.matrix("a", n, n);
  if (args.ok()) args.runReal([&](auto type) { Elementwise<decltype(type)>::addDiagonal(args.device(), n, value, viewOf(a)); });
  return nullptr;
}

napi_value diagonal(napi_env env, napi_callback_info info) {
  DeviceArgs args(env, info, "diagonal");
  const int n = args.size("n");
  const Block a = args.matrix("a", n, n), out = args.vector("out", n);
  args.apart(out, a);
  if (args.ok()) args.runReal([&](auto type) { Elementwise<decltype(type)>::diagonal(args.device(), n, viewOf(a), viewOf(out)); });
  return nullptr;
}

napi_value transpose(napi_env env, napi_callback_info info) {
  DeviceArgs args(env, info, "transpose");
  const int m = args.size("m"), n = args.size("n");
  const Block a = args.matrix("a", m, n), b = args.matrix("b", n, m);
  args.apart(b, a);
  if (args.ok()) args.runReal([&](auto type) { Elementwise<decltype(type)>::transpose(args.device(), m, n, viewOf(a), viewOf(b)); });
  return nullptr;
}

napi_value symmetrize(napi_env env, napi_callback_info info) {
  DeviceArgs args(env, info, "symmetrize");
  const int upper = args.flag("uplo"), n = args.size("n");
  const Block a = args.matrix("a", n, n);
  if (args.ok()) args.runReal([&](auto type) { Elementwise<decltype(type)>::symmetrize(args.device(), upper, n, viewOf(a)); });
  return nullptr;
}

napi_value columnSums(napi_env env, napi_callback_info info) {
  DeviceArgs args(env, info, "columnSums");
  const int accumulate = args.flag("accumulate"), rows = args.size("rows"), cols = args.size("cols");
  const Block a = args.matrix("a", rows, cols), out = args.vector("out", cols);
  args.apart(out, a);
  if (args.ok()) args.runReal([&](auto type) { Elementwise<decltype(type)>::columnSums(args.device(), accumulate, rows, cols, viewOf(a), viewOf(out)); });
  return nullptr;
}

napi_value scaleTiled(napi_env env, napi_callback_info info) {
  DeviceArgs args(env, info, "scaleTiled");
  const int samples = args.size("samples"), repeats = args.size("repeats"), cols = args.size("cols");
  const std::int64_t y0 = static_cast<std::int64_t>(samples) * cols;
  const Block x = args.vector("x", y0 * repeats), y = args.vector("y", y0);
  args.apart(x, y);
  if (args.ok()) args.runReal([&](auto type) { Elementwise<decltype(type)>::scaleTiled(args.device(), samples, repeats, cols, viewOf(x), viewOf(y)); });
  return nullptr;
}

napi_value foldTiled(napi_env env, napi_callback_info info) {
  DeviceArgs args(env, info, "foldTiled");
  const int samples = args.size("samples"), repeats = args.size("repeats"), cols = args.size("cols");
  const std::int64_t rows = static_cast<std::int64_t>(samples) * repeats;
  const Block x = args.vector("x", rows * cols), r = args.vector("r", rows);
  const Block out = args.vector("out", static_cast<std::int64_t>(samples) * cols);
  args.apart(out, x);
  args.apart(out, r);
  if (args.ok()) args.runReal([&](auto type) {
    Elementwise<decltype(type)>::foldTiled(args.device(), samples, repeats, cols, viewOf(x), viewOf(r), viewOf(out));
  });
  return nullptr;
}

napi_value dotTiled(napi_env env, napi_callback_info info) {
  DeviceArgs args(env, info, "dotTiled");
  const int accumulate = args.flag("accumulate"), samples = args.size("samples"), repeats = args.size("repeats"), cols = args.size("cols");
  const std::int64_t rows = static_cast<std::int64_t>(samples) * repeats;
  const Block x = args.vector("x", rows * cols), y = args.vector("y", static_cast<std::int64_t>(samples) * cols), out = args.vector("out", rows);
  args.apart(out, x);
  args.apart(out, y);
  if (args.ok()) args.runReal([&](auto type) {
    Elementwise<decltype(type)>::dotTiled(args.device(), accumulate, samples, repeats, cols, viewOf(x), viewOf(y), viewOf(out));
  });
  return nullptr;
}

napi_value rowKronecker(napi_env env, napi_callback_info info) {
  DeviceArgs args(env, info, "rowKronecker");
  const int samples = args.size("samples"), start = args.size("start"), count = args.integer("count", 0, samples - std::min(start, samples));
  const int repeats = args.size("repeats"), colsX = args.size("colsX");
  const Block x = args.vector("x", static_cast<std::int64_t>(samples) * repeats * colsX);
  const int colsY = args.size("colsY");
  const Block y = args.vector("y", static_cast<std::int64_t>(samples) * colsY);
  const Block out = args.matrix("out", static_cast<std::int64_t>(count) * repeats, static_cast<std::int64_t>(colsX) * colsY);
  args.apart(out, x);
  args.apart(out, y);
  if (args.ok()) args.runReal([&](auto type) {
    Elementwise<decltype(type)>::rowKronecker(args.device(), samples, start, count, repeats, colsX, viewOf(x), colsY, viewOf(y), viewOf(out));
  });
  return nullptr;
}

// Part [offset, offset + length) of a buffer that layer l reads, checked to lie inside and apart from c.
void layerPart(DeviceArgs& args, const char* name, int l, double offset, double length, const Block& whole, const Block& c) {
  if (!args.ok()) return;
  if (!(offset >= 0 && offset == static_cast<double>(static_cast<std::int64_t>(offset)) &&
        (length == 0 || offset + length <= static_cast<double>(whole.rows)))) {
    return args.failRange(std::string(name) + "Offsets[" + std::to_string(l) + "]", std::string("an offset of a block inside ") + name,
                          std::to_string(offset));
  }
  Block part = whole;
  part.data = static_cast<std::uint8_t*>(whole.data) + static_cast<std::int64_t>(offset) * whole.elementSize;
  part.rows = static_cast<std::int64_t>(length);
  args.apart(c, part);
}

napi_value jacobianGram(napi_env env, napi_callback_info info) {
  DeviceArgs args(env, info, "jacobianGram");
  cuda::GramProblem p{};
  p.samples = args.size("samples");
  p.outputs = args.size("outputs");
  p.layers = args.size("layers");
  p.shift = args.number("shift");
  p.scale = args.doubles("scale", p.layers);
  p.widths = args.integersOrNull("widths", p.layers, false);
  const Block d = args.whole("d");
  p.dOffsets = args.doubles("dOffsets", p.layers);
  const Block gram = args.whole("gram");
  p.gramOffsets = args.doubles("gramOffsets", p.layers);
  const std::int64_t order = static_cast<std::int64_t>(p.samples) * p.outputs;
  const Block c = args.matrix("c", order, order);
  p.inner = args.integersOrNull("inner", p.layers, true);
  for (int l = 0; l < p.layers && args.ok(); l++) {
    const int width = p.widths[l], inner = p.inner ? p.inner[l] : p.samples;
    if (width < 0) args.failRange("widths[" + std::to_string(l) + "]", "an integer >= 0", std::to_string(width));
    if (inner < 0) args.failRange("inner[" + std::to_string(l) + "]", "an integer >= 0", std::to_string(inner));
    layerPart(args, "d", l, p.dOffsets[l], static_cast<double>(order) * width, d, c);
    layerPart(args, "gram", l, p.gramOffsets[l], static_cast<double>(p.samples) * inner, gram, c);
  }
  if (args.ok()) args.runReal([&](auto type) { Elementwise<decltype(type)>::jacobianGram(args.device(), p, viewOf(d), viewOf(gram), viewOf(c)); });
  return nullptr;
}

}  // namespace

const std::vector<Export>& cudaExports() {
  static const std::vector<Export> list = {
      {"cudaInfo", info},
      {"cudaOpen", open},
      {"cudaClose", close},
      {"cudaAllocate", allocate},
      {"cudaFree", release},
      {"cudaMemory", memory},
      {"cudaUpload", upload},
      {"cudaDownload", download},
      {"cudaUseStream", useStream},
      {"cudaWaitFor", waitFor},
      {"cudaSynchronize", synchronize},
      {"cuda_copy", copy},
      {"cuda_gemm", gemm},
      {"cuda_gemmBatch", gemmBatch},
      {"cuda_gemv", gemv},
      {"cuda_syrk", syrk},
      {"cuda_symm", symm},
      {"cuda_trsm", trsm},
      {"cuda_trsmBatch", trsmBatch},
      {"cuda_dot", dot},
      {"cuda_nrm2", nrm2},
      {"cuda_axpy", axpy},
      {"cuda_potrf", potrf},
      {"cuda_potrs", potrs},
      {"cuda_potrfBatch", potrfBatch},
      {"cuda_potrsBatch", potrsBatch},
      {"cuda_sytrf", sytrf},
      {"cuda_sytrs", sytrs},
      {"cuda_sytrfInertia", inertia},
      {"cuda_getrf", getrf},
      {"cuda_getrs", getrs},
      {"cuda_getrfBatch", getrfBatch},
      {"cuda_getrsBatch", getrsBatch},
      {"cuda_syevd", syevd},
      {"cuda_activate", activate},
      {"cuda_fill", fill},
      {"cuda_convert", convert},
      {"cuda_hadamard", hadamard},
      {"cuda_scaleRows", scaleRows},
      {"cuda_scaleSymmetric", scaleSymmetric},
      {"cuda_addDiagonal", addDiagonal},
      {"cuda_diagonal", diagonal},
      {"cuda_transpose", transpose},
      {"cuda_symmetrize", symmetrize},
      {"cuda_columnSums", columnSums},
      {"cuda_scaleTiled", scaleTiled},
      {"cuda_foldTiled", foldTiled},
      {"cuda_dotTiled", dotTiled},
      {"cuda_rowKronecker", rowKronecker},
      {"cuda_jacobianGram", jacobianGram},
  };
  return list;
}

}  // namespace deep_hessian
