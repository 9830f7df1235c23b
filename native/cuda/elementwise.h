// Element-wise and data-movement operations on device memory: launches of the kernels of kernels_source.cc. Arguments
// are those of ts/native/kernels.ts and ts/device/operations.ts; the border has checked them.
#pragma once
#include "cuda/device.h"

namespace deep_hessian {
namespace cuda {

struct GramProblem {
  int samples, outputs, layers;
  double shift;
  const double* scale;          // host arrays of `layers` entries
  const std::int32_t* widths;
  const double* dOffsets;
  const double* gramOffsets;
  const std::int32_t* inner;    // or null
};

template <class T>
struct Elementwise {
  static void activate(Device&, int code, int rows, int cols, const View& s, const View& bias, const View& residual,
                       const View& z, const View& d1, const View& d2);
  static void fill(Device&, int n, double value, const View& x);
  // y := x of the other element type
  static void convert(Device&, int n, const View& x, const View& y);
  static void hadamard(Device&, int accumulate, int n, const View& x, const View& y, const View& out);
  static void scaleRows(Device&, int right, int m, int n, const View& d, const View& a, const View& b);
  static void scaleSymmetric(Device&, int n, const View& a, const View& d, const View& c, const View& b);
  static void addDiagonal(Device&, int n, double value, const View& a);
  static void diagonal(Device&, int n, const View& a, const View& out);
  static void transpose(Device&, int m, int n, const View& a, const View& b);
  static void symmetrize(Device&, int upper, int n, const View& a);
  static void columnSums(Device&, int accumulate, int rows, int cols, const View& a, const View& out);
  static void scaleTiled(Device&, int samples, int repeats, int cols, const View& x, const View& y);
  static void foldTiled(Device&, int samples, int repeats, int cols, const View& x, const View& r, const View& out);
  static void dotTiled(Device&, int accumulate, int samples, int repeats, int cols, const View& x, const View& y, const View& out);
  static void rowKronecker(Device&, int samples, int start, int count, int repeats, int colsX, const View& x, int colsY,
                           const View& y, const View& out);
  static void jacobianGram(Device&, const GramProblem& problem, const View& d, const View& gram, const View& c);
};

extern template struct Elementwise<double>;
extern template struct Elementwise<float>;

}  // namespace cuda
}  // namespace deep_hessian
