// Fused and data-movement kernels. Argument order and meaning: ts/native/kernels.ts.
#include "cpu/fused.h"

#include <string>

#include "napi/arguments.h"
#include "napi/exports.h"

namespace deep_hessian {
namespace {

napi_value transposeKernel(napi_env env, napi_callback_info info) {
  Args args(env, info, "transpose");
  const int m = args.size("m"), n = args.size("n");
  const Block a = args.matrix("a", m, n), b = args.matrix("b", n, m);
  args.apart(b, a);
  if (!args.ok()) return nullptr;
  args.run([&](auto type) {
    using T = decltype(type);
    transpose(m, n, a.as<const T>(), a.ld, b.as<T>(), b.ld);
  });
  return nullptr;
}

napi_value symmetrizeKernel(napi_env env, napi_callback_info info) {
  Args args(env, info, "symmetrize");
  const int upper = args.flag("uplo"), n = args.size("n");
  const Block a = args.matrix("a", n, n);
  if (!args.ok()) return nullptr;
  args.run([&](auto type) {
    using T = decltype(type);
    symmetrize(upper, n, a.as<T>(), a.ld);
  });
  return nullptr;
}

napi_value scaleSymmetric(napi_env env, napi_callback_info info) {
  Args args(env, info, "scaleSymmetric");
  const int n = args.size("n");
  const Block a = args.matrix("a", n, n), d = args.vector("d", n, true), c = args.vector("c", n, true), b = args.matrix("b", n, n);
  args.sameOrApart(b, a);
  args.apart(b, d);
  args.apart(b, c);
  if (!args.ok()) return nullptr;
  args.run([&](auto type) {
    using T = decltype(type);
    fused<T>().scaleSymmetric(n, a.as<T>(), a.ld, d.as<T>(), c.as<T>(), b.as<T>(), b.ld);
  });
  return nullptr;
}

napi_value scaleRows(napi_env env, napi_callback_info info) {
  Args args(env, info, "scaleRows");
  const int right = args.flag("side"), m = args.size("m"), n = args.size("n");
  const Block d = args.vector("d", right ? n : m), a = args.matrix("a", m, n), b = args.matrix("b", m, n);
  args.sameOrApart(b, a);
  args.apart(b, d);
  if (!args.ok()) return nullptr;
  args.run([&](auto type) {
    using T = decltype(type);
    fused<T>().scaleRows(right, m, n, d.as<T>(), a.as<T>(), a.ld, b.as<T>(), b.ld);
  });
  return nullptr;
}

napi_value activate(napi_env env, napi_callback_info info) {
  Args args(env, info, "activate");
  const int code = args.integer("code", 0, kActivationCount - 1);
  const int rows = args.size("rows"), cols = args.size("cols");
  const std::int64_t n = static_cast<std::int64_t>(rows) * cols;
  const Block s = args.vector("s", n), bias = args.vector("bias", cols, true), residual = args.vector("residual", n, true);
  const Block outputs[] = {s, args.vector("z", n, true), args.vector("d1", n, true), args.vector("d2", n, true)};
  for (int i = 0; i < 4; i++) {
    args.apart(outputs[i], bias);
    args.apart(outputs[i], residual);
    for (int j = 0; j < i; j++) args.apart(outputs[i], outputs[j]);
  }
  if (!args.ok() || n == 0) return nullptr;
  args.run([&](auto type) {
    using T = decltype(type);
    fused<T>().activate(code, rows, cols, s.as<T>(), bias.as<T>(), residual.as<T>(), outputs[1].as<T>(), outputs[2].as<T>(), outputs[3].as<T>());
  });
  return nullptr;
}

napi_value hadamard(napi_env env, napi_callback_info info) {
  Args args(env, info, "hadamard");
  const int accumulate = args.flag("accumulate"), n = args.size("n");
  const Block x = args.vector("x", n), y = args.vector("y", n), out = args.vector("out", n);
  args.sameOrApart(out, x);
  args.sameOrApart(out, y);
  if (!args.ok()) return nullptr;
  args.run([&](auto type) {
    using T = decltype(type);
    fused<T>().hadamard(accumulate, n, x.as<T>(), y.as<T>(), out.as<T>());
  });
  return nullptr;
}

napi_value columnSums(napi_env env, napi_callback_info info) {
  Args args(env, info, "columnSums");
  const int accumulate = args.flag("accumulate"), rows = args.size("rows"), cols = args.size("cols");
  const Block a = args.matrix("a", rows, cols), out = args.vector("out", cols);
  args.apart(out, a);
  if (!args.ok()) return nullptr;
  args.run([&](auto type) {
    using T = decltype(type);
    fused<T>().columnSums(accumulate, rows, cols, a.as<T>(), a.ld, out.as<T>());
  });
  return nullptr;
}

// Whether the offset in `offsets[l]` leaves room for `count` elements in an array of `length`.
void layerInside(Args& args, const char* array, const char* offsets, int l, double offset, double count, std::int64_t length) {
  const std::string name = std::string(offsets) + "[" + std::to_string(l) + "]";
  if (!(offset >= 0) || offset > 9007199254740991.0 || offset != static_cast<double>(static_cast<std::int64_t>(offset))) {
    args.failRange(name.c_str(), "an integer >= 0", std::to_string(offset).c_str());
  } else if (offset + count > static_cast<double>(length)) {
    const std::string expected = "an offset that leaves " + std::to_string(static_cast<std::int64_t>(count)) + " elements of " + array + " (length " + std::to_string(length) + ")";
    args.failRange(name.c_str(), expected.c_str(), std::to_string(static_cast<std::int64_t>(offset)).c_str());
  }
}

napi_value jacobianGramKernel(napi_env env, napi_callback_info info) {
  Args args(env, info, "jacobianGram");
  const int samples = args.size("samples"), outputs = args.size("outputs"), layers = args.size("layers");
  const double shift = args.number("shift");
  const Block scale = args.doubles("scale", layers), widths = args.integers("widths", layers);
  const Block d = args.whole("d"), dOffsets = args.doubles("dOffsets", layers);
  const Block gram = args.whole("gram"), gramOffsets = args.doubles("gramOffsets", layers);
  const std::int64_t order = static_cast<std::int64_t>(samples) * outputs;
  const Block c = args.matrix("c", order, order);
  bool factored = false;
  const Block inner = args.integersOrNull("inner", layers, factored);
  for (int l = 0; l < layers && args.ok(); l++) {
    const int width = widths.as<std::int32_t>()[l];
    if (width < 0) {
      args.failRange(("widths[" + std::to_string(l) + "]").c_str(), "an integer >= 0", std::to_string(width).c_str());
      break;
    }
    const int innerWidth = factored ? inner.as<std::int32_t>()[l] : samples;
    if (innerWidth < 0) {
      args.failRange(("inner[" + std::to_string(l) + "]").c_str(), "an integer >= 0", std::to_string(innerWidth).c_str());
      break;
    }
    layerInside(args, "d", "dOffsets", l, dOffsets.as<double>()[l], static_cast<double>(order) * width, d.rows);
    if (args.ok()) layerInside(args, "gram", "gramOffsets", l, gramOffsets.as<double>()[l], static_cast<double>(samples) * innerWidth, gram.rows);
    // The parts of d and gram that are read, not the whole arrays: c may stand behind them in one buffer.
    if (args.ok()) {
      Block part = d;
      part.data = static_cast<std::uint8_t*>(d.data) + static_cast<std::int64_t>(dOffsets.as<double>()[l]) * d.elementSize;
      part.rows = order * width;
      args.apart(c, part);
      part = gram;
      part.data = static_cast<std::uint8_t*>(gram.data) + static_cast<std::int64_t>(gramOffsets.as<double>()[l]) * gram.elementSize;
      part.rows = static_cast<std::int64_t>(samples) * innerWidth;
      args.apart(c, part);
    }
  }
  for (const Block& other : {scale, widths, dOffsets, gramOffsets, inner}) args.apart(c, other);
  if (!args.ok() || order == 0) return nullptr;
  args.run([&](auto type) {
    using T = decltype(type);
    JacobianGram<T> problem;
    problem.samples = samples;
    problem.outputs = outputs;
    problem.layers = layers;
    problem.shift = shift;
    problem.scale = scale.as<double>();
    problem.widths = widths.as<std::int32_t>();
    problem.inner = factored ? inner.as<std::int32_t>() : nullptr;
    problem.d = d.as<T>();
    problem.dOffsets = dOffsets.as<double>();
    problem.gram = gram.as<T>();
    problem.gramLength = gram.rows;
    problem.gramOffsets = gramOffsets.as<double>();
    problem.c = c.as<T>();
    problem.ldc = c.ld;
    jacobianGram(problem);
  });
  return nullptr;
}

napi_value adamStep(napi_env env, napi_callback_info info) {
  Args args(env, info, "adamStep");
  const int n = args.size("n");
  const Block params = args.leading("params", n), gradient = args.leading("gradient", n), m = args.leading("m", n), v = args.leading("v", n);
  const double rate = args.number("rate"), beta1 = args.number("beta1"), beta2 = args.number("beta2");
  const double correction1 = args.number("correction1"), correction2 = args.number("correction2");
  const double epsilon = args.number("epsilon"), decay = args.number("weightDecay");
  args.apart(params, gradient);
  args.apart(m, gradient);
  args.apart(v, gradient);
  args.apart(m, params);
  args.apart(v, params);
  args.apart(v, m);
  if (!args.ok()) return nullptr;
  args.run([&](auto type) {
    using T = decltype(type);
    fused<T>().adamStep(n, params.as<T>(), gradient.as<T>(), m.as<T>(), v.as<T>(), T(rate), T(beta1), T(beta2), T(correction1), T(correction2), T(epsilon), T(decay));
  });
  return nullptr;
}

napi_value sgdStep(napi_env env, napi_callback_info info) {
  Args args(env, info, "sgdStep");
  const int n = args.size("n");
  const Block params = args.leading("params", n), gradient = args.leading("gradient", n), velocity = args.leading("velocity", n);
  const double rate = args.number("rate"), momentum = args.number("momentum");
  const int nesterov = args.flag("nesterov");
  const double decay = args.number("weightDecay");
  args.apart(params, gradient);
  args.apart(velocity, gradient);
  args.apart(velocity, params);
  if (!args.ok()) return nullptr;
  args.run([&](auto type) {
    using T = decltype(type);
    fused<T>().sgdStep(n, params.as<T>(), gradient.as<T>(), velocity.as<T>(), T(rate), T(momentum), nesterov, T(decay));
  });
  return nullptr;
}

}  // namespace

const std::vector<Export>& fusedExports() {
  static const std::vector<Export> list = {
      {"transpose", transposeKernel}, {"symmetrize", symmetrizeKernel}, {"scaleSymmetric", scaleSymmetric},
      {"scaleRows", scaleRows},       {"activate", activate},           {"hadamard", hadamard},
      {"columnSums", columnSums},     {"jacobianGram", jacobianGramKernel}, {"adamStep", adamStep},
      {"sgdStep", sgdStep},
  };
  return list;
}

}  // namespace deep_hessian
