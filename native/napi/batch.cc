// Strided batches: one call for `count` small problems. Argument order and meaning: ts/native/kernels.ts.
#include "cpu/blas.h"
#include "cpu/lapack.h"
#include "cpu/symmetric_indefinite.h"
#include "cpu/triangular.h"
#include "napi/arguments.h"
#include "napi/exports.h"

namespace deep_hessian {
namespace {

// Item i of a family.
template <class T>
T* item(const Block& block, std::int64_t i) {
  return block.as<T>() + i * block.stride;
}

napi_value gemmBatch(napi_env env, napi_callback_info info) {
  Args args(env, info, "gemmBatch");
  const int ta = args.flag("transA"), tb = args.flag("transB");
  const int m = args.size("m"), n = args.size("n"), k = args.size("k");
  const double alpha = args.number("alpha");
  Block a = args.matrices("a", ta ? k : m, ta ? m : k), b = args.matrices("b", tb ? n : k, tb ? k : n);
  const double beta = args.number("beta");
  Block c = args.matrices("c", m, n);
  args.count({&a, &b, &c});
  args.itemsApart(c);
  args.apart(c, a);
  args.apart(c, b);
  if (!args.ok() || m == 0 || n == 0) return nullptr;
  args.run([&](auto type) {
    using T = decltype(type);
    for (std::int64_t i = 0; i < c.count; i++) {
      blas::gemm(transCode(ta), transCode(tb), m, n, k, T(alpha), item<T>(a, i), a.ld, item<T>(b, i), b.ld, T(beta), item<T>(c, i), c.ld);
    }
  });
  return nullptr;
}

napi_value syrkBatch(napi_env env, napi_callback_info info) {
  Args args(env, info, "syrkBatch");
  const int upper = args.flag("uplo"), trans = args.flag("trans"), n = args.size("n"), k = args.size("k");
  const double alpha = args.number("alpha");
  Block a = args.matrices("a", trans ? k : n, trans ? n : k);
  const double beta = args.number("beta");
  Block c = args.matrices("c", n, n);
  args.count({&a, &c});
  args.itemsApart(c);
  args.apart(c, a);
  if (!args.ok() || n == 0) return nullptr;
  args.run([&](auto type) {
    using T = decltype(type);
    for (std::int64_t i = 0; i < c.count; i++) {
      blas::syrk(uploCode(upper), transCode(trans), n, k, T(alpha), item<T>(a, i), a.ld, T(beta), item<T>(c, i), c.ld);
    }
  });
  return nullptr;
}

napi_value trsmBatch(napi_env env, napi_callback_info info) {
  Args args(env, info, "trsmBatch");
  const int right = args.flag("side"), upper = args.flag("uplo"), trans = args.flag("trans"), unit = args.flag("unitDiagonal");
  const int m = args.size("m"), n = args.size("n");
  const double alpha = args.number("alpha");
  Block a = args.matrices("a", right ? n : m, right ? n : m), b = args.matrices("b", m, n);
  args.count({&a, &b});
  args.itemsApart(b);
  args.apart(b, a);
  if (!args.ok() || m == 0 || n == 0) return nullptr;
  args.run([&](auto type) {
    using T = decltype(type);
    for (std::int64_t i = 0; i < b.count; i++) {
      solveTriangular(right, upper, trans, unit, m, n, T(alpha), item<const T>(a, i), a.ld, item<T>(b, i), b.ld);
    }
  });
  return nullptr;
}

napi_value potrfBatch(napi_env env, napi_callback_info info) {
  Args args(env, info, "potrfBatch");
  const int upper = args.flag("uplo"), n = args.size("n");
  Block a = args.matrices("a", n, n);
  args.count({&a});
  args.itemsApart(a);
  if (!args.ok()) return nullptr;
  int first = 0;
  if (n > 0) args.run([&](auto type) {
    using T = decltype(type);
    for (std::int64_t i = 0; i < a.count; i++) {
      const int status = cholesky(upper, n, item<T>(a, i), a.ld);
      if (first == 0) first = status;
    }
  });
  return args.result(first);
}

napi_value potrsBatch(napi_env env, napi_callback_info info) {
  Args args(env, info, "potrsBatch");
  const int upper = args.flag("uplo"), n = args.size("n"), nrhs = args.size("nrhs");
  Block a = args.matrices("a", n, n), b = args.matrices("b", n, nrhs);
  args.count({&a, &b});
  args.itemsApart(b);
  args.apart(b, a);
  if (!args.ok() || n == 0 || nrhs == 0) return nullptr;
  args.run([&](auto type) {
    using T = decltype(type);
    for (std::int64_t i = 0; i < b.count; i++) choleskySolve(upper, n, nrhs, item<const T>(a, i), a.ld, item<T>(b, i), b.ld);
  });
  return nullptr;
}

napi_value sytrfBatch(napi_env env, napi_callback_info info) {
  Args args(env, info, "sytrfBatch");
  const int upper = args.flag("uplo"), n = args.size("n");
  Block a = args.matrices("a", n, n), pivots = args.pivotBatch("pivots", n);
  args.count({&a, &pivots});
  args.itemsApart(a);
  args.itemsApart(pivots);
  args.apart(pivots, a);
  if (!args.ok()) return nullptr;
  int first = 0;
  args.run([&](auto type) {
    using T = decltype(type);
    for (std::int64_t i = 0; i < a.count; i++) {
      const int status = sytrf(upper, n, item<T>(a, i), a.ld, item<int>(pivots, i));
      if (first == 0) first = status;
    }
  });
  return args.ok() ? args.result(first) : nullptr;
}

napi_value sytrsBatch(napi_env env, napi_callback_info info) {
  Args args(env, info, "sytrsBatch");
  const int upper = args.flag("uplo"), n = args.size("n"), nrhs = args.size("nrhs");
  Block a = args.matrices("a", n, n), pivots = args.pivotBatch("pivots", n), b = args.matrices("b", n, nrhs);
  args.count({&a, &pivots, &b});
  args.itemsApart(b);
  args.apart(b, a);
  args.apart(b, pivots);
  args.sytrfPivots(pivots, upper);
  if (!args.ok() || n == 0 || nrhs == 0) return nullptr;
  args.run([&](auto type) {
    using T = decltype(type);
    for (std::int64_t i = 0; i < b.count; i++) {
      symmetricSolve(upper, n, nrhs, item<const T>(a, i), a.ld, item<const std::int32_t>(pivots, i), item<T>(b, i), b.ld);
    }
  });
  return nullptr;
}

napi_value getrfBatch(napi_env env, napi_callback_info info) {
  Args args(env, info, "getrfBatch");
  const int m = args.size("m"), n = args.size("n");
  Block a = args.matrices("a", m, n), pivots = args.pivotBatch("pivots", m < n ? m : n);
  args.count({&a, &pivots});
  args.itemsApart(a);
  args.itemsApart(pivots);
  args.apart(pivots, a);
  if (!args.ok()) return nullptr;
  int first = 0;
  if (m > 0 && n > 0) args.run([&](auto type) {
    using T = decltype(type);
    for (std::int64_t i = 0; i < a.count; i++) {
      const int status = blas::getrf(m, n, item<T>(a, i), a.ld, item<int>(pivots, i));
      if (first == 0) first = status;
    }
  });
  return args.result(first);
}

napi_value getrsBatch(napi_env env, napi_callback_info info) {
  Args args(env, info, "getrsBatch");
  const int trans = args.flag("trans"), n = args.size("n"), nrhs = args.size("nrhs");
  Block a = args.matrices("a", n, n), pivots = args.pivotBatch("pivots", n), b = args.matrices("b", n, nrhs);
  args.count({&a, &pivots, &b});
  args.itemsApart(b);
  args.apart(b, a);
  args.apart(b, pivots);
  args.getrfPivots(pivots);
  if (!args.ok() || n == 0 || nrhs == 0) return nullptr;
  args.run([&](auto type) {
    using T = decltype(type);
    for (std::int64_t i = 0; i < b.count; i++) {
      luSolve(trans, n, nrhs, item<const T>(a, i), a.ld, item<const int>(pivots, i), item<T>(b, i), b.ld);
    }
  });
  return nullptr;
}

}  // namespace

const std::vector<Export>& batchExports() {
  static const std::vector<Export> list = {
      {"gemmBatch", gemmBatch},   {"syrkBatch", syrkBatch},   {"trsmBatch", trsmBatch},   {"potrfBatch", potrfBatch}, {"potrsBatch", potrsBatch},
      {"sytrfBatch", sytrfBatch}, {"sytrsBatch", sytrsBatch}, {"getrfBatch", getrfBatch}, {"getrsBatch", getrsBatch},
  };
  return list;
}

}  // namespace deep_hessian
