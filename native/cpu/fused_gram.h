// The sample-space Gauss-Newton matrix (ts/native/kernels.ts, jacobianGram). Part of fused_body.h.
//
//   C[(k,n),(j,m)] = shift [row = col] + sum_l scale_l (sum_i D_l[i][k,n] D_l[i][j,m]) K_l[n, m]
//
// A tile of at most 4096 entries of the lower triangle stays in the first-level cache while all layers run through it.
// For each layer the rank-h product of the tile is formed in registers, a micro-tile at a time, and multiplied by the
// Gram entries as it is added. Where the Gram matrices are given by their factors Z_l (K_l = Z_l Z_l^T), the tile of K_l
// is formed the same way, just before it is used. What belongs to the tile's columns is packed, scale folded in.

constexpr std::ptrdiff_t kTileEntries = 4096;
constexpr std::ptrdiff_t kSquareTile = 64;
// With many samples stored Gram matrices come from memory: tall tiles read them in longer runs.
constexpr std::ptrdiff_t kTallFrom = 192, kTallRows = 256;
constexpr int kTileColumns = 4;  // columns of a micro-tile

// c += (A B^T) o K, or c := A B^T where k is null, for VR vectors of rows by NR columns; a: h columns at stride lda;
// b: packed, h x NR.
template <class T, int VR, int NR>
FUSED_INLINE void microTile(int h, const T* a, std::ptrdiff_t lda, const T* b, const T* k, std::ptrdiff_t ldk, T* c, std::ptrdiff_t ldc) {
  typedef typename Lanes<T>::Vector V;
  constexpr int W = Lanes<T>::kCount;
  V sum[NR][VR];
#pragma GCC unroll 8
  for (int j = 0; j < NR; j++) {
#pragma GCC unroll 8
    for (int v = 0; v < VR; v++) sum[j][v] = V{};
  }
  for (int i = 0; i < h; i++) {
    V rows[VR];
#pragma GCC unroll 8
    for (int v = 0; v < VR; v++) rows[v] = load(a + v * W);
#pragma GCC unroll 8
    for (int j = 0; j < NR; j++) {
      const V factor = V{} + b[j];
#pragma GCC unroll 8
      for (int v = 0; v < VR; v++) sum[j][v] += rows[v] * factor;
    }
    a += lda;
    b += NR;
  }
  if (k == nullptr) {
#pragma GCC unroll 8
    for (int j = 0; j < NR; j++) {
#pragma GCC unroll 8
      for (int v = 0; v < VR; v++) store(c + j * ldc + v * W, sum[j][v]);
    }
    return;
  }
#pragma GCC unroll 8
  for (int j = 0; j < NR; j++) {
#pragma GCC unroll 8
    for (int v = 0; v < VR; v++) {
      T* place = c + j * ldc + v * W;
      store(place, load(place) + sum[j][v] * load(k + j * ldk + v * W));
    }
  }
}

// All row vectors of one column panel, from vector `from` (the rows above the diagonal are not wanted).
template <class T, int NR>
static void columnPanel(int h, int from, int vectors, const T* a, std::ptrdiff_t lda, const T* b, const T* k, std::ptrdiff_t ldk, T* c, std::ptrdiff_t ldc) {
  constexpr int W = Lanes<T>::kCount, VR = FUSED_PANEL;
  int v = from;
  for (; v + VR <= vectors; v += VR) microTile<T, VR, NR>(h, a + v * W, lda, b, k ? k + v * W : nullptr, ldk, c + v * W, ldc);
  if constexpr (VR > 3) {
    if (vectors - v == 3) return microTile<T, 3, NR>(h, a + v * W, lda, b, k ? k + v * W : nullptr, ldk, c + v * W, ldc);
  }
  if constexpr (VR > 2) {
    if (vectors - v == 2) return microTile<T, 2, NR>(h, a + v * W, lda, b, k ? k + v * W : nullptr, ldk, c + v * W, ldc);
  }
  if (vectors - v == 1) microTile<T, 1, NR>(h, a + v * W, lda, b, k ? k + v * W : nullptr, ldk, c + v * W, ldc);
}

// The whole tile; its part above the diagonal may be left as it is.
template <class T>
static void tileProduct(int h, bool diagonal, int vectors, std::ptrdiff_t cols, const T* a, std::ptrdiff_t lda, const T* b,
                        const T* k, std::ptrdiff_t ldk, T* c, std::ptrdiff_t ldc) {
  constexpr int W = Lanes<T>::kCount;
  for (std::ptrdiff_t j = 0; j < cols; j += kTileColumns, b += kTileColumns * h, c += kTileColumns * ldc) {
    const int from = diagonal ? static_cast<int>(j / W) : 0;
    const T* kj = k ? k + j * ldk : nullptr;
    switch (smaller(kTileColumns, cols - j)) {
      case 4: columnPanel<T, 4>(h, from, vectors, a, lda, b, kj, ldk, c, ldc); break;
      case 3: columnPanel<T, 3>(h, from, vectors, a, lda, b, kj, ldk, c, ldc); break;
      case 2: columnPanel<T, 2>(h, from, vectors, a, lda, b, kj, ldk, c, ldc); break;
      default: columnPanel<T, 1>(h, from, vectors, a, lda, b, kj, ldk, c, ldc); break;
    }
  }
}

// Rows start, start + 1, .. (modulo x's own number of rows, which is its ld) of the h columns of x, for the tile's
// columns: panels of kTileColumns rows, each h x kTileColumns, times scale.
template <class T>
static void packPanels(const T* x, std::ptrdiff_t ld, int h, std::ptrdiff_t start, std::ptrdiff_t cols, T scale, T* pack) {
  for (std::ptrdiff_t j = 0; j < cols; j += kTileColumns) {
    const std::ptrdiff_t width = smaller(kTileColumns, cols - j), first = (start + j) % ld;
    const T* from = x + first;
    if (first + width <= ld) {
      for (int i = 0; i < h; i++, from += ld) {
        for (std::ptrdiff_t c = 0; c < width; c++) *pack++ = scale * from[c];
      }
    } else {
      for (int i = 0; i < h; i++, from += ld) {
        for (std::ptrdiff_t c = 0; c < width; c++) *pack++ = scale * from[first + c < ld ? c : c - ld];
      }
    }
  }
}

// The same rows of x as columns of `padded` entries in `to`, zeros behind the last row.
template <class T>
static void copyRows(const T* x, std::ptrdiff_t ld, std::ptrdiff_t h, std::ptrdiff_t start, std::ptrdiff_t rows, std::ptrdiff_t padded, T* to) {
  for (std::ptrdiff_t i = 0; i < h; i++, x += ld, to += padded) {
    for (std::ptrdiff_t r = 0, n = start; r < rows; n = 0) {
      const std::ptrdiff_t run = smaller(ld - n, rows - r);
      __builtin_memcpy(to + r, x + n, static_cast<std::size_t>(run) * sizeof(T));
      r += run;
    }
    for (std::ptrdiff_t r = rows; r < padded; r++) to[r] = 0;
  }
}

template <class T>
static void gramTile(const JacobianGram<T>& p, std::ptrdiff_t row0, std::ptrdiff_t rows, std::ptrdiff_t col0, std::ptrdiff_t cols) {
  constexpr int W = Lanes<T>::kCount;
  const std::ptrdiff_t N = p.samples, order = N * p.outputs;
  const int vectors = static_cast<int>((rows + W - 1) / W);
  const std::ptrdiff_t padded = static_cast<std::ptrdiff_t>(vectors) * W;
  const std::ptrdiff_t n0 = row0 % N, m0 = col0 % N;
  const bool diagonal = row0 == col0;

  std::ptrdiff_t widest = 0;
  for (int l = 0; l < p.layers; l++) widest = larger(widest, larger(p.widths[l], p.inner ? p.inner[l] : 0));
  const std::ptrdiff_t tileSize = padded * cols;
  T* tile = static_cast<T*>(scratchBytes(Scratch::kTile, static_cast<std::size_t>(2 * tileSize + (padded + cols) * widest) * sizeof(T)));
  T* gramBlock = tile + tileSize;
  T* rowCopy = gramBlock + tileSize;
  T* pack = rowCopy + padded * widest;
  __builtin_memset(tile, 0, static_cast<std::size_t>(tileSize) * sizeof(T));

  // The rows `start`.. of a block of h columns, for the tile's rows: in place where they do not wrap around. The last
  // vector of a column may then reach into what follows, which harms nothing as long as that is part of the array:
  // those lanes are not written to C.
  const auto rowsOf = [&](const T* array, std::ptrdiff_t length, std::ptrdiff_t offset, std::ptrdiff_t ld, std::ptrdiff_t h,
                          std::ptrdiff_t start, std::ptrdiff_t& lda) -> const T* {
    if (start + rows <= ld && offset + start + (h - 1) * ld + padded <= length) {
      lda = ld;
      return array + offset + start;
    }
    lda = padded;
    copyRows(array + offset, ld, h, start, rows, padded, rowCopy);
    return rowCopy;
  };

  for (int l = 0; l < p.layers; l++) {
    const int h = p.widths[l];
    const std::ptrdiff_t dOffset = static_cast<std::ptrdiff_t>(p.dOffsets[l]), gramOffset = static_cast<std::ptrdiff_t>(p.gramOffsets[l]);
    const T* gram = p.gram + gramOffset;
    std::ptrdiff_t lda, ldk = padded;
    const T* k = gramBlock;
    if (h == 0) continue;
    if (p.inner) {
      const int width = p.inner[l];
      if (width == 0) continue;
      const T* a = rowsOf(p.gram, p.gramLength, gramOffset, N, width, n0, lda);
      packPanels(gram, N, width, m0, cols, T(1), pack);
      tileProduct<T>(width, diagonal, vectors, cols, a, lda, pack, nullptr, 0, gramBlock, padded);
    } else if (n0 + rows <= N && m0 + cols <= N && gramOffset + n0 + (m0 + cols - 1) * N + padded <= p.gramLength) {
      k = gram + n0 + m0 * N;
      ldk = N;
    } else {
      for (std::ptrdiff_t j = 0, m = m0; j < cols; j++, m = m + 1 == N ? 0 : m + 1) {
        copyRows(gram + m * N, N, 1, n0, rows, padded, gramBlock + j * padded);
      }
    }
    const T* a = rowsOf(p.d, p.dLength, dOffset, order, h, row0, lda);
    packPanels(p.d + dOffset, order, h, col0, cols, static_cast<T>(p.scale[l]), pack);
    tileProduct<T>(h, diagonal, vectors, cols, a, lda, pack, k, ldk, tile, padded);
  }

  for (std::ptrdiff_t j = 0; j < cols; j++) {
    T* to = p.c + row0 + (col0 + j) * p.ldc;
    const T* from = tile + j * padded;
    const std::ptrdiff_t start = diagonal ? j : 0;
    __builtin_memcpy(to + start, from + start, static_cast<std::size_t>(rows - start) * sizeof(T));
    if (diagonal) to[j] += static_cast<T>(p.shift);
  }
}

// Cuts the lower triangle of C into tiles and computes every step-th, from the first. With enough samples to fill most
// of a tile no tile crosses from one output to the next; else C is cut straight through.
template <class T>
static void gramTiles(const JacobianGram<T>& p, int first, int step) {
  constexpr std::ptrdiff_t W = Lanes<T>::kCount;
  const std::ptrdiff_t N = p.samples, order = N * p.outputs;
  const std::ptrdiff_t period = N >= kSquareTile / 2 ? N : order, blocks = order / period;
  const bool tall = N >= kTallFrom;
  // Equal parts of whole vectors, so that no thin rest remains.
  const std::ptrdiff_t parts = (period + kSquareTile - 1) / kSquareTile;
  const std::ptrdiff_t colsPerTile = tall ? kTileEntries / kTallRows : smaller(kSquareTile, ((period + parts - 1) / parts + W - 1) / W * W);
  const std::ptrdiff_t rowsPerTile = tall ? kTallRows : colsPerTile;
  std::ptrdiff_t index = 0;
  for (std::ptrdiff_t j = 0; j < blocks; j++) {
    for (std::ptrdiff_t m = 0; m < period; m += colsPerTile) {
      const std::ptrdiff_t cols = smaller(colsPerTile, period - m);
      for (std::ptrdiff_t k = j; k < blocks; k++) {
        for (std::ptrdiff_t n = k == j ? m : 0; n < period; n += rowsPerTile, index++) {
          if (index % step == first) gramTile(p, k * period + n, smaller(rowsPerTile, period - n), j * period + m, cols);
        }
      }
    }
  }
}
