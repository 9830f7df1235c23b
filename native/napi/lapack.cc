// LAPACK kernels. Argument order and meaning: ts/native/kernels.ts.
#include "cpu/lapack.h"

#include <algorithm>
#include <string>

#include "cpu/blas.h"
#include "cpu/symmetric_indefinite.h"
#include "cpu/triangular.h"
#include "napi/arguments.h"
#include "napi/exports.h"

namespace deep_hessian {
namespace {

napi_value potrf(napi_env env, napi_callback_info info) {
  Args args(env, info, "potrf");
  const int upper = args.flag("uplo"), n = args.size("n");
  const Block a = args.matrix("a", n, n);
  if (!args.ok()) return nullptr;
  int status = 0;
  if (n > 0) args.run([&](auto type) {
    using T = decltype(type);
    status = cholesky(upper, n, a.as<T>(), a.ld);
  });
  return args.result(status);
}

napi_value potrs(napi_env env, napi_callback_info info) {
  Args args(env, info, "potrs");
  const int upper = args.flag("uplo"), n = args.size("n"), nrhs = args.size("nrhs");
  const Block a = args.matrix("a", n, n), b = args.matrix("b", n, nrhs);
  args.apart(b, a);
  if (!args.ok() || n == 0 || nrhs == 0) return nullptr;
  args.run([&](auto type) {
    using T = decltype(type);
    choleskySolve(upper, n, nrhs, a.as<const T>(), a.ld, b.as<T>(), b.ld);
  });
  return nullptr;
}

napi_value potri(napi_env env, napi_callback_info info) {
  Args args(env, info, "potri");
  const int upper = args.flag("uplo"), n = args.size("n");
  const Block a = args.matrix("a", n, n);
  if (!args.ok()) return nullptr;
  int status = 0;
  if (n > 0) args.run([&](auto type) {
    using T = decltype(type);
    status = blas::potri(uploCode(upper), n, a.as<T>(), a.ld);
  });
  return args.result(status);
}

napi_value sytrf(napi_env env, napi_callback_info info) {
  Args args(env, info, "sytrf");
  const int upper = args.flag("uplo"), n = args.size("n");
  const Block a = args.matrix("a", n, n), pivots = args.pivots("pivots", n);
  args.apart(pivots, a);
  if (!args.ok()) return nullptr;
  int status = 0;
  args.run([&](auto type) {
    using T = decltype(type);
    status = deep_hessian::sytrf(upper, n, a.as<T>(), a.ld, pivots.as<int>());
  });
  return args.ok() ? args.result(status) : nullptr;
}

napi_value sytrs(napi_env env, napi_callback_info info) {
  Args args(env, info, "sytrs");
  const int upper = args.flag("uplo"), n = args.size("n"), nrhs = args.size("nrhs");
  const Block a = args.matrix("a", n, n), pivots = args.pivots("pivots", n), b = args.matrix("b", n, nrhs);
  args.apart(b, a);
  args.apart(b, pivots);
  args.sytrfPivots(pivots, upper);
  if (!args.ok() || n == 0 || nrhs == 0) return nullptr;
  args.run([&](auto type) {
    using T = decltype(type);
    symmetricSolve(upper, n, nrhs, a.as<const T>(), a.ld, pivots.as<const std::int32_t>(), b.as<T>(), b.ld);
  });
  return nullptr;
}

napi_value sytri(napi_env env, napi_callback_info info) {
  Args args(env, info, "sytri");
  const int upper = args.flag("uplo"), n = args.size("n");
  const Block a = args.matrix("a", n, n), pivots = args.pivots("pivots", n);
  args.apart(a, pivots);
  args.sytrfPivots(pivots, upper);
  if (!args.ok()) return nullptr;
  int status = 0;
  args.run([&](auto type) {
    using T = decltype(type);
    status = deep_hessian::sytri(upper, n, a.as<T>(), a.ld, pivots.as<const int>());
  });
  return args.ok() ? args.result(status) : nullptr;
}

napi_value inertia(napi_env env, napi_callback_info info) {
  Args args(env, info, "sytrfInertia");
  const int upper = args.flag("uplo"), n = args.size("n");
  const Block a = args.matrix("a", n, n), pivots = args.pivots("pivots", n), out = args.doubles("out", 6);
  args.apart(out, a);
  args.apart(out, pivots);
  args.sytrfPivots(pivots, upper);
  if (!args.ok()) return nullptr;
  args.run([&](auto type) {
    using T = decltype(type);
    sytrfInertia(upper, n, a.as<const T>(), a.ld, pivots.as<const std::int32_t>(), out.as<double>());
  });
  return nullptr;
}

template <class Call>
napi_value half(napi_env env, napi_callback_info info, const char* name, Call call) {
  Args args(env, info, name);
  const int n = args.size("n"), nrhs = args.size("nrhs");
  const Block a = args.matrix("a", n, n), pivots = args.pivots("pivots", n), b = args.matrix("b", n, nrhs);
  args.apart(b, a);
  args.apart(b, pivots);
  args.sytrfPivots(pivots, kLower);
  if (!args.ok()) return nullptr;
  int positive = 0;
  args.run([&](auto type) {
    using T = decltype(type);
    positive = call(n, nrhs, a.as<const T>(), a.ld, pivots.as<const std::int32_t>(), b.as<T>(), b.ld);
  });
  return args.ok() ? args.result(positive) : nullptr;
}

napi_value halfSolve(napi_env env, napi_callback_info info) {
  return half(env, info, "sytrfHalfSolve", [](auto... arguments) { return sytrfHalfSolve(arguments...); });
}

napi_value halfSolveTransposed(napi_env env, napi_callback_info info) {
  return half(env, info, "sytrfHalfSolveTransposed", [](auto... arguments) { return sytrfHalfSolveTransposed(arguments...); });
}

napi_value getrf(napi_env env, napi_callback_info info) {
  Args args(env, info, "getrf");
  const int m = args.size("m"), n = args.size("n");
  const Block a = args.matrix("a", m, n), pivots = args.pivots("pivots", std::min(m, n));
  args.apart(pivots, a);
  if (!args.ok()) return nullptr;
  int status = 0;
  if (m > 0 && n > 0) args.run([&](auto type) {
    using T = decltype(type);
    status = blas::getrf(m, n, a.as<T>(), a.ld, pivots.as<int>());
  });
  return args.result(status);
}

napi_value getrs(napi_env env, napi_callback_info info) {
  Args args(env, info, "getrs");
  const int trans = args.flag("trans"), n = args.size("n"), nrhs = args.size("nrhs");
  const Block a = args.matrix("a", n, n), pivots = args.pivots("pivots", n), b = args.matrix("b", n, nrhs);
  args.apart(b, a);
  args.apart(b, pivots);
  args.getrfPivots(pivots);
  if (!args.ok() || n == 0 || nrhs == 0) return nullptr;
  args.run([&](auto type) {
    using T = decltype(type);
    luSolve(trans, n, nrhs, a.as<const T>(), a.ld, pivots.as<const int>(), b.as<T>(), b.ld);
  });
  return nullptr;
}

napi_value gesv(napi_env env, napi_callback_info info) {
  Args args(env, info, "gesv");
  const int n = args.size("n"), nrhs = args.size("nrhs");
  const Block a = args.matrix("a", n, n), pivots = args.pivots("pivots", n), b = args.matrix("b", n, nrhs);
  args.apart(b, a);
  args.apart(pivots, a);
  args.apart(pivots, b);
  if (!args.ok()) return nullptr;
  int status = 0;
  if (n > 0) args.run([&](auto type) {
    using T = decltype(type);
    status = nrhs > 0 ? blas::gesv(n, nrhs, a.as<T>(), a.ld, pivots.as<int>(), b.as<T>(), b.ld)
                      : blas::getrf(n, n, a.as<T>(), a.ld, pivots.as<int>());
  });
  return args.result(status);
}

napi_value syevd(napi_env env, napi_callback_info info) {
  Args args(env, info, "syevd");
  const int vectors = args.flag("vectors"), upper = args.flag("uplo");
  // Beyond 32,766 the workspace of 2 n^2 has no 32-bit length.
  const int n = args.integer("n", 0, vectors == 1 ? 32766 : 1 << 24);
  const Block a = args.matrix("a", n, n), w = args.vector("w", n);
  args.apart(w, a);
  if (!args.ok()) return nullptr;
  int status = 0;
  args.run([&](auto type) {
    using T = decltype(type);
    status = deep_hessian::syevd(vectors, upper, n, a.as<T>(), a.ld, w.as<T>());
  });
  return args.ok() ? args.result(status) : nullptr;
}

napi_value qr(napi_env env, napi_callback_info info) {
  Args args(env, info, "qr");
  const int m = args.size("m"), n = args.size("n");
  if (args.ok() && m < n) {
    args.failRange("m", ("an integer >= n = " + std::to_string(n)).c_str(), std::to_string(m).c_str());
  }
  const Block a = args.matrix("a", m, n), r = args.matrix("r", n, n);
  args.apart(r, a);
  if (!args.ok()) return nullptr;
  args.run([&](auto type) {
    using T = decltype(type);
    deep_hessian::qr(m, n, a.as<T>(), a.ld, r.as<T>(), r.ld);
  });
  return nullptr;
}

}  // namespace

const std::vector<Export>& lapackExports() {
  static const std::vector<Export> list = {
      {"potrf", potrf},
      {"potrs", potrs},
      {"potri", potri},
      {"sytrf", sytrf},
      {"sytrs", sytrs},
      {"sytri", sytri},
      {"sytrfInertia", inertia},
      {"sytrfHalfSolve", halfSolve},
      {"sytrfHalfSolveTransposed", halfSolveTransposed},
      {"getrf", getrf},
      {"getrs", getrs},
      {"gesv", gesv},
      {"syevd", syevd},
      {"qr", qr},
  };
  return list;
}

}  // namespace deep_hessian
