// Triangular solves T X = B for one panel of right-hand sides. Part of fused_body.h.
//
// The panel is stored with the right-hand sides side by side: row i of X is contiguous, so that the solve runs along
// vectors whatever the triangle looks like. Eight (or four) rows at a time stay in registers while all solved rows
// above are subtracted, as in a matrix product, and are then solved among themselves.

// Rows i0 .. i0 + R - 1 of the panel. T(i, k) = t[i * rowStride + k * colStride], lower triangular; x: row i at i * stride.
template <class T, int R, int VR>
FUSED_INLINE void solveRows(std::ptrdiff_t i0, bool unit, const T* t, std::ptrdiff_t rowStride, std::ptrdiff_t colStride, T* x, std::ptrdiff_t stride) {
  typedef typename Lanes<T>::Vector V;
  constexpr int W = Lanes<T>::kCount;
  V sum[R][VR];
  T* rows = x + i0 * stride;
#pragma GCC unroll 8
  for (int i = 0; i < R; i++) {
#pragma GCC unroll 8
    for (int v = 0; v < VR; v++) sum[i][v] = load(rows + i * stride + v * W);
  }
  const T* column = t + i0 * rowStride;
  const T* solved = x;
  for (std::ptrdiff_t k = 0; k < i0; k++, column += colStride, solved += stride) {
    V above[VR];
#pragma GCC unroll 8
    for (int v = 0; v < VR; v++) above[v] = load(solved + v * W);
#pragma GCC unroll 8
    for (int i = 0; i < R; i++) {
      const V factor = V{} + column[i * rowStride];
#pragma GCC unroll 8
      for (int v = 0; v < VR; v++) sum[i][v] -= factor * above[v];
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < R; i++, column += colStride) {
    if (!unit) {
      const V inverse = V{} + T(1) / column[i * rowStride];
#pragma GCC unroll 8
      for (int v = 0; v < VR; v++) sum[i][v] *= inverse;
    }
#pragma GCC unroll 8
    for (int below = i + 1; below < R; below++) {
      const V factor = V{} + column[below * rowStride];
#pragma GCC unroll 8
      for (int v = 0; v < VR; v++) sum[below][v] -= factor * sum[i][v];
    }
#pragma GCC unroll 8
    for (int v = 0; v < VR; v++) store(rows + i * stride + v * W, sum[i][v]);
  }
}

template <class T, int VR>
static void solvePanel(std::ptrdiff_t n, bool unit, const T* t, std::ptrdiff_t rowStride, std::ptrdiff_t colStride, T* x, std::ptrdiff_t stride) {
  std::ptrdiff_t i = 0;
  for (; i + FUSED_ROWS <= n; i += FUSED_ROWS) solveRows<T, FUSED_ROWS, VR>(i, unit, t, rowStride, colStride, x, stride);
  if constexpr (FUSED_ROWS > 4) {
    if (i + 4 <= n) {
      solveRows<T, 4, VR>(i, unit, t, rowStride, colStride, x, stride);
      i += 4;
    }
  }
  if (i + 2 <= n) {
    solveRows<T, 2, VR>(i, unit, t, rowStride, colStride, x, stride);
    i += 2;
  }
  if (i < n) solveRows<T, 1, VR>(i, unit, t, rowStride, colStride, x, stride);
}

// X (order x count, element (i, j) at x[i * rowStep + j * columnStep]) := T^-1 X with T(i, k) = t[i * rowStride + k * colStride],
// lower triangular. Strides may be negative: an upper triangle is a lower one read from its end.
template <class T>
static void triangularSolve(std::ptrdiff_t order, std::ptrdiff_t count, int unit, const T* t, std::ptrdiff_t rowStride,
                            std::ptrdiff_t colStride, T* x, std::ptrdiff_t rowStep, std::ptrdiff_t columnStep) {
  constexpr std::ptrdiff_t W = Lanes<T>::kCount, kPanel = 3 * W;
  for (std::ptrdiff_t j0 = 0; j0 < count; j0 += kPanel) {
    const std::ptrdiff_t width = smaller(kPanel, count - j0), vectors = (width + W - 1) / W;
    T* panel = x + j0 * columnStep;
    std::ptrdiff_t stride = rowStep;
    // Where right-hand sides are rows of a column-major matrix and fill their vectors, they are solved in place.
    const bool inPlace = columnStep == 1 && width == vectors * W;
    if (!inPlace) {
      stride = vectors * W;
      panel = static_cast<T*>(scratchBytes(Scratch::kPanel, static_cast<std::size_t>(order * stride) * sizeof(T)));
      for (std::ptrdiff_t i = 0; i < order; i++) {
        const T* from = x + i * rowStep + j0 * columnStep;
        T* to = panel + i * stride;
        for (std::ptrdiff_t j = 0; j < width; j++) to[j] = from[j * columnStep];
        for (std::ptrdiff_t j = width; j < stride; j++) to[j] = 0;
      }
    }
    if (vectors == 3) solvePanel<T, 3>(order, unit != 0, t, rowStride, colStride, panel, stride);
    else if (vectors == 2) solvePanel<T, 2>(order, unit != 0, t, rowStride, colStride, panel, stride);
    else solvePanel<T, 1>(order, unit != 0, t, rowStride, colStride, panel, stride);
    if (!inPlace) {
      for (std::ptrdiff_t j = 0; j < width; j++) {
        T* to = x + (j0 + j) * columnStep;
        for (std::ptrdiff_t i = 0; i < order; i++) to[i * rowStep] = panel[i * stride + j];
      }
    }
  }
}
