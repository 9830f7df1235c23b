// BLAS kernels. Argument order and meaning: ts/native/kernels.ts.
#include "cpu/blas.h"

#include <algorithm>

#include "cpu/fused.h"
#include "cpu/triangular.h"
#include "napi/arguments.h"
#include "napi/exports.h"

namespace deep_hessian {
namespace {

napi_value gemm(napi_env env, napi_callback_info info) {
  Args args(env, info, "gemm");
  const int ta = args.flag("transA"), tb = args.flag("transB");
  const int m = args.size("m"), n = args.size("n"), k = args.size("k");
  const double alpha = args.number("alpha");
  const Block a = args.matrix("a", ta ? k : m, ta ? m : k), b = args.matrix("b", tb ? n : k, tb ? k : n);
  const double beta = args.number("beta");
  const Block c = args.matrix("c", m, n);
  args.apart(c, a);
  args.apart(c, b);
  if (!args.ok() || m == 0 || n == 0) return nullptr;
  args.run([&](auto type) {
    using T = decltype(type);
    blas::gemm(transCode(ta), transCode(tb), m, n, k, T(alpha), a.as<T>(), a.ld, b.as<T>(), b.ld, T(beta), c.as<T>(), c.ld);
  });
  return nullptr;
}

napi_value gemv(napi_env env, napi_callback_info info) {
  Args args(env, info, "gemv");
  const int trans = args.flag("trans"), m = args.size("m"), n = args.size("n");
  const double alpha = args.number("alpha");
  const Block a = args.matrix("a", m, n), x = args.strided("x", trans ? m : n);
  const double beta = args.number("beta");
  const int outputs = trans ? n : m;
  const Block y = args.strided("y", outputs);
  args.apart(y, a);
  args.apart(y, x);
  if (!args.ok() || outputs == 0) return nullptr;
  args.run([&](auto type) {
    using T = decltype(type);
    T* out = y.as<T>();
    // BLAS returns at once for m = 0 or n = 0 and some versions scale a NaN by zero: do beta here.
    if (beta == 0) {
      for (int i = 0; i < outputs; i++) out[static_cast<std::ptrdiff_t>(i) * y.ld] = 0;
    } else if (m == 0 || n == 0) {
      for (int i = 0; i < outputs; i++) out[static_cast<std::ptrdiff_t>(i) * y.ld] *= T(beta);
    }
    if (m == 0 || n == 0) return;
    blas::gemv(transCode(trans), m, n, T(alpha), a.as<T>(), a.ld, x.as<T>(), x.ld, T(beta == 0 ? 1 : beta), out, y.ld);
  });
  return nullptr;
}

napi_value syrk(napi_env env, napi_callback_info info) {
  Args args(env, info, "syrk");
  const int upper = args.flag("uplo"), trans = args.flag("trans"), n = args.size("n"), k = args.size("k");
  const double alpha = args.number("alpha");
  const Block a = args.matrix("a", trans ? k : n, trans ? n : k);
  const double beta = args.number("beta");
  const Block c = args.matrix("c", n, n);
  args.apart(c, a);
  if (!args.ok() || n == 0) return nullptr;
  args.run([&](auto type) {
    using T = decltype(type);
    blas::syrk(uploCode(upper), transCode(trans), n, k, T(alpha), a.as<T>(), a.ld, T(beta), c.as<T>(), c.ld);
  });
  return nullptr;
}

napi_value symm(napi_env env, napi_callback_info info) {
  Args args(env, info, "symm");
  const int right = args.flag("side"), upper = args.flag("uplo"), m = args.size("m"), n = args.size("n");
  const double alpha = args.number("alpha");
  const Block a = args.matrix("a", right ? n : m, right ? n : m), b = args.matrix("b", m, n);
  const double beta = args.number("beta");
  const Block c = args.matrix("c", m, n);
  args.apart(c, a);
  args.apart(c, b);
  if (!args.ok() || m == 0 || n == 0) return nullptr;
  args.run([&](auto type) {
    using T = decltype(type);
    blas::symm(sideCode(right), uploCode(upper), m, n, T(alpha), a.as<T>(), a.ld, b.as<T>(), b.ld, T(beta), c.as<T>(), c.ld);
  });
  return nullptr;
}

// trsm and trmm differ only in the last call.
template <class Call>
napi_value triangular(napi_env env, napi_callback_info info, const char* name, Call call) {
  Args args(env, info, name);
  const int right = args.flag("side"), upper = args.flag("uplo"), trans = args.flag("trans"), unit = args.flag("unitDiagonal");
  const int m = args.size("m"), n = args.size("n");
  const double alpha = args.number("alpha");
  const Block a = args.matrix("a", right ? n : m, right ? n : m), b = args.matrix("b", m, n);
  args.apart(b, a);
  if (!args.ok() || m == 0 || n == 0) return nullptr;
  args.run([&](auto type) {
    using T = decltype(type);
    call(right, upper, trans, unit, m, n, T(alpha), a.as<const T>(), a.ld, b.as<T>(), b.ld);
  });
  return nullptr;
}

napi_value trsm(napi_env env, napi_callback_info info) {
  return triangular(env, info, "trsm", [](auto... arguments) { solveTriangular(arguments...); });
}

napi_value trmm(napi_env env, napi_callback_info info) {
  return triangular(env, info, "trmm", [](int right, int upper, int trans, int unit, auto... rest) {
    blas::trmm(sideCode(right), uploCode(upper), transCode(trans), diagCode(unit), rest...);
  });
}

napi_value dot(napi_env env, napi_callback_info info) {
  Args args(env, info, "dot");
  const int n = args.size("n");
  const Block x = args.vector("x", n), y = args.vector("y", n);
  if (!args.ok()) return nullptr;
  double out = 0;
  args.run([&](auto type) {
    using T = decltype(type);
    out = fused<T>().dot(n, x.as<T>(), y.as<T>());
  });
  return args.result(out);
}

napi_value nrm2(napi_env env, napi_callback_info info) {
  Args args(env, info, "nrm2");
  const int n = args.size("n");
  const Block x = args.vector("x", n);
  if (!args.ok()) return nullptr;
  double out = 0;
  args.run([&](auto type) {
    using T = decltype(type);
    out = fused<T>().nrm2(n, x.as<T>());
  });
  return args.result(out);
}

napi_value axpy(napi_env env, napi_callback_info info) {
  Args args(env, info, "axpy");
  const int n = args.size("n");
  const double alpha = args.number("alpha");
  const Block x = args.vector("x", n), y = args.vector("y", n);
  args.apart(y, x);
  if (!args.ok()) return nullptr;
  args.run([&](auto type) {
    using T = decltype(type);
    fused<T>().axpy(n, T(alpha), x.as<T>(), y.as<T>());
  });
  return nullptr;
}

}  // namespace

const std::vector<Export>& blasExports() {
  static const std::vector<Export> list = {
      {"gemm", gemm}, {"gemv", gemv}, {"syrk", syrk}, {"symm", symm}, {"trsm", trsm},
      {"trmm", trmm}, {"dot", dot},   {"nrm2", nrm2}, {"axpy", axpy},
  };
  return list;
}

}  // namespace deep_hessian
