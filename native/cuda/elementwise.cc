#include "cuda/elementwise.h"

#include <algorithm>
#include <type_traits>

namespace deep_hessian {
namespace cuda {
namespace {

using Index = long long;

// Blocks of 32 x 8 threads that walk over 32 x 32 tiles, at most `cap` of them.
Grid tiles(const Device& device, Index count, unsigned threadsX, unsigned threadsY) {
  Grid grid;
  const Index cap = 16 * std::max(device.facts().multiprocessors, 1);
  grid.x = static_cast<unsigned>(std::max<Index>(1, std::min(count, cap)));
  grid.threadsX = threadsX;
  grid.threadsY = threadsY;
  return grid;
}

Index tilesOf(Index n, Index tile) { return (n + tile - 1) / tile; }

}  // namespace

template <class T>
void Elementwise<T>::activate(Device& device, int code, int rows, int cols, const View& s, const View& bias,
                              const View& residual, const View& z, const View& d1, const View& d2) {
  if (rows == 0 || cols == 0) return;
  device.launch<T>(Kernel::kActivate, device.grid(rows, cols), code, Index(rows), Index(cols), s.as<T>(), bias.as<const T>(),
                   residual.as<const T>(), z.as<T>(), d1.as<T>(), d2.as<T>());
}

template <class T>
void Elementwise<T>::fill(Device& device, int n, double value, const View& x) {
  if (n > 0) device.launch<T>(Kernel::kFill, device.grid(n), Index(n), value, x.as<T>());
}

template <class T>
void Elementwise<T>::convert(Device& device, int n, const View& x, const View& y) {
  using Other = std::conditional_t<sizeof(T) == 8, float, double>;
  if (n > 0) device.launch<T>(Kernel::kConvert, device.grid(n), Index(n), x.as<const Other>(), y.as<T>());
}

template <class T>
void Elementwise<T>::hadamard(Device& device, int accumulate, int n, const View& x, const View& y, const View& out) {
  if (n > 0) {
    device.launch<T>(Kernel::kHadamard, device.grid(n), accumulate, Index(n), x.as<const T>(), y.as<const T>(), out.as<T>());
  }
}

template <class T>
void Elementwise<T>::scaleRows(Device& device, int right, int m, int n, const View& d, const View& a, const View& b) {
  if (m == 0 || n == 0) return;
  device.launch<T>(Kernel::kScaleRows, device.grid(m, n), right, Index(m), Index(n), d.as<const T>(), a.as<const T>(),
                   Index(a.ld), b.as<T>(), Index(b.ld));
}

template <class T>
void Elementwise<T>::scaleSymmetric(Device& device, int n, const View& a, const View& d, const View& c, const View& b) {
  if (n == 0) return;
  device.launch<T>(Kernel::kScaleSymmetric, device.grid(n, n), Index(n), a.as<const T>(), Index(a.ld), d.as<const T>(),
                   c.as<const T>(), b.as<T>(), Index(b.ld));
}

template <class T>
void Elementwise<T>::addDiagonal(Device& device, int n, double value, const View& a) {
  if (n > 0) device.launch<T>(Kernel::kAddDiagonal, device.grid(n), Index(n), value, a.as<T>(), Index(a.ld));
}

template <class T>
void Elementwise<T>::diagonal(Device& device, int n, const View& a, const View& out) {
  if (n > 0) device.launch<T>(Kernel::kDiagonal, device.grid(n), Index(n), a.as<const T>(), Index(a.ld), out.as<T>());
}

template <class T>
void Elementwise<T>::transpose(Device& device, int m, int n, const View& a, const View& b) {
  if (m == 0 || n == 0) return;
  device.launch<T>(Kernel::kTranspose, tiles(device, tilesOf(m, 32) * tilesOf(n, 32), 32, 8), Index(m), Index(n),
                   a.as<const T>(), Index(a.ld), b.as<T>(), Index(b.ld));
}

template <class T>
void Elementwise<T>::symmetrize(Device& device, int upper, int n, const View& a) {
  if (n == 0) return;
  device.launch<T>(Kernel::kSymmetrize, tiles(device, tilesOf(n, 32) * tilesOf(n, 32), 32, 8), upper, Index(n), a.as<T>(),
                   Index(a.ld));
}

template <class T>
void Elementwise<T>::columnSums(Device& device, int accumulate, int rows, int cols, const View& a, const View& out) {
  if (cols == 0) return;
  device.launch<T>(Kernel::kColumnSums, tiles(device, cols, 256, 1), accumulate, Index(rows), Index(cols), a.as<const T>(),
                   Index(a.ld), out.as<T>());
}

template <class T>
void Elementwise<T>::scaleTiled(Device& device, int samples, int repeats, int cols, const View& x, const View& y) {
  const Index rows = Index(samples) * repeats;
  if (rows == 0 || cols == 0) return;
  device.launch<T>(Kernel::kScaleTiled, device.grid(rows, cols), Index(samples), Index(repeats), Index(cols), x.as<T>(),
                   y.as<const T>());
}

template <class T>
void Elementwise<T>::foldTiled(Device& device, int samples, int repeats, int cols, const View& x, const View& r, const View& out) {
  if (samples == 0 || cols == 0) return;
  device.launch<T>(Kernel::kFoldTiled, device.grid(samples, cols), Index(samples), Index(repeats), Index(cols), x.as<const T>(),
                   r.as<const T>(), out.as<T>());
}

template <class T>
void Elementwise<T>::dotTiled(Device& device, int accumulate, int samples, int repeats, int cols, const View& x, const View& y,
                              const View& out) {
  const Index rows = Index(samples) * repeats;
  if (rows == 0) return;
  device.launch<T>(Kernel::kDotTiled, device.grid(rows), accumulate, Index(samples), Index(repeats), Index(cols),
                   x.as<const T>(), y.as<const T>(), out.as<T>());
}

template <class T>
void Elementwise<T>::rowKronecker(Device& device, int samples, int start, int count, int repeats, int colsX, const View& x,
                                  int colsY, const View& y, const View& out) {
  const Index rows = Index(count) * repeats, cols = Index(colsX) * colsY;
  if (rows == 0 || cols == 0) return;
  device.launch<T>(Kernel::kRowKronecker, device.grid(rows, cols), Index(samples), Index(start), Index(count), Index(repeats),
                   Index(colsX), x.as<const T>(), Index(colsY), y.as<const T>(), out.as<T>(), Index(out.ld));
}

template <class T>
void Elementwise<T>::jacobianGram(Device& device, const GramProblem& p, const View& d, const View& gram, const View& c) {
  const Index order = Index(p.samples) * p.outputs;
  if (order == 0) return;
  const std::size_t layers = static_cast<std::size_t>(p.layers);
  std::vector<Index> dOffsets(layers), gramOffsets(layers);
  for (std::size_t l = 0; l < layers; l++) {
    dOffsets[l] = static_cast<Index>(p.dOffsets[l]);
    gramOffsets[l] = static_cast<Index>(p.gramOffsets[l]);
  }
  const std::vector<void*> at = device.parameters({{p.scale, layers * sizeof(double)},
                                                   {p.widths, layers * sizeof(std::int32_t)},
                                                   {dOffsets.data(), layers * sizeof(Index)},
                                                   {gramOffsets.data(), layers * sizeof(Index)},
                                                   {p.inner, p.inner ? layers * sizeof(std::int32_t) : 0}});
  const Index down = tilesOf(order, 64);
  Grid grid;
  grid.x = static_cast<unsigned>(std::min<Index>(down * (down + 1) / 2, INT32_MAX));
  grid.threadsX = grid.threadsY = 16;
  device.launch<T>(Kernel::kJacobianGram, grid, Index(p.samples), Index(p.outputs), p.layers, p.shift,
                   static_cast<const double*>(at[0]), static_cast<const int*>(at[1]), d.as<const T>(),
                   static_cast<const Index*>(at[2]), gram.as<const T>(), static_cast<const Index*>(at[3]),
                   p.inner ? static_cast<const int*>(at[4]) : nullptr, c.as<T>(), Index(c.ld));
}

template struct Elementwise<double>;
template struct Elementwise<float>;

}  // namespace cuda
}  // namespace deep_hessian
