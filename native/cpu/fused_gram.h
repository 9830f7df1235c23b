// The sample-space Gauss-Newton matrix (ts/native/kernels.ts, jacobianGram). Part of fused_body.h.
//
//   C[(k,n),(j,m)] = shift [row = col] + sum_l scale_l (sum_i D_l[i][k,n] D_l[i][j,m]) K_l[n, m]
//
// A tile of the lower triangle stays in the second-level cache while all layers run through it. For each layer the rank-h
// product of the tile is formed in registers, a micro-tile at a time, and multiplied by the Gram entries as it is added;
// those of the next columns are asked for meanwhile. Where the Gram matrices are given by their factors Z_l
// (K_l = Z_l Z_l^T), the tile of K_l is formed the same way, just before it is used. What belongs to the tile's rows and
// columns is packed in the order of use (Goto & van de Geijn 2008), scale folded in: in place the columns of D_l lie a
// multiple of 4 KB apart and would push one another out of the cache.

constexpr std::ptrdiff_t kTileSide = 192, kAlignedFrom = 32;
constexpr int kMicroColumns = 4;  // columns of a micro-tile

// c += (A B^T) o K, or c := A B^T where k is null, for VR vectors of rows by NR columns; a: h columns at
// stride lda; b: packed, h x NR.
template <class T, int VR, int NR>
FUSED_INLINE void microTile(int h, const T* a, std::ptrdiff_t lda, const T* b, const T* k, std::ptrdiff_t ldk, T* c, std::ptrdiff_t ldc) {
  typedef typename Lanes<T>::Vector V;
  constexpr int W = Lanes<T>::kCount;
  V sum[NR][VR];
#pragma GCC unroll 8
  for (int j = 0; j < NR; j++) {
#pragma GCC unroll 8
    for (int v = 0; v < VR; v++) {
      sum[j][v] = V{};
      if (k != nullptr) __builtin_prefetch(k + (j + kMicroColumns) * ldk + v * W);
    }
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

// A micro-tile of any size up to the full one.
template <class T, int VR = FUSED_PANEL>
FUSED_INLINE void microTileOf(std::ptrdiff_t vectors, std::ptrdiff_t cols, int h, const T* a, std::ptrdiff_t lda, const T* b, const T* k, std::ptrdiff_t ldk, T* c,
                              std::ptrdiff_t ldc) {
  if constexpr (VR > 1) {
    if (vectors < VR) return microTileOf<T, VR - 1>(vectors, cols, h, a, lda, b, k, ldk, c, ldc);
  }
  switch (cols) {
    case 1: return microTile<T, VR, 1>(h, a, lda, b, k, ldk, c, ldc);
    case 2: return microTile<T, VR, 2>(h, a, lda, b, k, ldk, c, ldc);
    case 3: return microTile<T, VR, 3>(h, a, lda, b, k, ldk, c, ldc);
    default: return microTile<T, VR, kMicroColumns>(h, a, lda, b, k, ldk, c, ldc);
  }
}

// The whole tile; its part above the diagonal may be left as it is. Column by column: the Gram matrix is read in long runs.
template <class T>
static void tileProduct(int h, bool diagonal, std::ptrdiff_t vectors, std::ptrdiff_t cols, const T* a, const T* b, const T* k, std::ptrdiff_t ldk, T* c,
                        std::ptrdiff_t ldc) {
  constexpr std::ptrdiff_t W = Lanes<T>::kCount, VR = FUSED_PANEL;
  for (std::ptrdiff_t j = 0; j < cols; j += kMicroColumns, b += kMicroColumns * h, c += kMicroColumns * ldc, k = k ? k + kMicroColumns * ldk : nullptr) {
    for (std::ptrdiff_t v = diagonal ? j / W : 0, end; v < vectors; v = end) {
      const std::ptrdiff_t panel = v - v % VR;
      end = smaller(panel + VR, vectors);
      microTileOf<T>(end - v, smaller(kMicroColumns, cols - j), h, a + panel * W * h + (v - panel) * W, (end - panel) * W, b, k ? k + v * W : nullptr, ldk, c + v * W, ldc);
    }
  }
}

// Rows start, start + 1, .. (modulo x's own number of rows, which is its ld) of the h columns of x, for the tile's
// columns: panels of kMicroColumns rows, each h x kMicroColumns, times scale.
template <class T>
static void packColumns(const T* x, std::ptrdiff_t ld, int h, std::ptrdiff_t start, std::ptrdiff_t cols, T scale, T* pack) {
  for (std::ptrdiff_t j = 0; j < cols; j += kMicroColumns) {
    const std::ptrdiff_t width = smaller(kMicroColumns, cols - j), first = (start + j) % ld;
    const T* from = x + first;
    if (width == kMicroColumns && first + width <= ld) {
      for (int i = 0; i < h; i++, from += ld, pack += kMicroColumns) {
#pragma GCC unroll 8
        for (int c = 0; c < kMicroColumns; c++) pack[c] = scale * from[c];
      }
    } else {
      for (int i = 0; i < h; i++, from += ld) {
        for (std::ptrdiff_t c = 0; c < width; c++) *pack++ = scale * from[first + c < ld ? c : c - ld];
      }
    }
  }
}

// `rows` entries from x[start] on, modulo ld, and zeros up to `padded`.
template <class T>
FUSED_INLINE void copyRun(const T* x, std::ptrdiff_t ld, std::ptrdiff_t start, std::ptrdiff_t rows, std::ptrdiff_t padded, T* to) {
  for (std::ptrdiff_t r = 0, n = start; r < rows; n = 0) {
    const std::ptrdiff_t run = smaller(ld - n, rows - r);
    __builtin_memcpy(to + r, x + n, static_cast<std::size_t>(run) * sizeof(T));
    r += run;
  }
  for (std::ptrdiff_t r = rows; r < padded; r++) to[r] = 0;
}

// The same rows for the tile's rows: panels of FUSED_PANEL vectors, each h x its entries, zeros behind the last row.
template <class T>
static void packRows(const T* x, std::ptrdiff_t ld, int h, std::ptrdiff_t start, std::ptrdiff_t rows, T* pack) {
  constexpr std::ptrdiff_t W = Lanes<T>::kCount, full = FUSED_PANEL * W;
  for (std::ptrdiff_t r = 0; r < rows; r += full) {
    const std::ptrdiff_t count = smaller(full, rows - r), padded = (count + W - 1) / W * W, first = (start + r) % ld;
    const T* from = x;
    if (count == full && first + full <= ld) {
      from += first;
      for (int i = 0; i < h; i++, from += ld, pack += full) {
#pragma GCC unroll 8
        for (int v = 0; v < FUSED_PANEL; v++) store(pack + v * W, load(from + v * W));
      }
    } else {
      for (int i = 0; i < h; i++, from += ld, pack += padded) copyRun(from, ld, first, count, padded, pack);
    }
  }
}

template <class T>
static void gramTile(const JacobianGram<T>& p, std::ptrdiff_t row0, std::ptrdiff_t rows, std::ptrdiff_t col0, std::ptrdiff_t cols) {
  constexpr int W = Lanes<T>::kCount;
  const std::ptrdiff_t N = p.samples, order = N * p.outputs;
  const std::ptrdiff_t vectors = (rows + W - 1) / W, padded = vectors * W;
  const std::ptrdiff_t n0 = row0 % N, m0 = col0 % N;
  const bool diagonal = row0 == col0;

  std::ptrdiff_t widest = 0;
  for (int l = 0; l < p.layers; l++) widest = larger(widest, larger(p.widths[l], p.inner ? p.inner[l] : 0));
  const std::ptrdiff_t tileSize = padded * cols;
  T* tile = static_cast<T*>(scratchBytes(Scratch::kTile, static_cast<std::size_t>(2 * tileSize + (padded + cols) * widest) * sizeof(T)));
  T* gramBlock = tile + tileSize;
  T* rowPack = gramBlock + tileSize;
  T* columnPack = rowPack + padded * widest;
  __builtin_memset(tile, 0, static_cast<std::size_t>(tileSize) * sizeof(T));

  for (int l = 0; l < p.layers; l++) {
    const int h = p.widths[l];
    const std::ptrdiff_t dOffset = static_cast<std::ptrdiff_t>(p.dOffsets[l]), gramOffset = static_cast<std::ptrdiff_t>(p.gramOffsets[l]);
    const T* gram = p.gram + gramOffset;
    std::ptrdiff_t ldk = padded;
    const T* k = gramBlock;
    if (h == 0) continue;
    if (p.inner) {
      const int width = p.inner[l];
      if (width == 0) continue;
      packRows(gram, N, width, n0, rows, rowPack);
      packColumns(gram, N, width, m0, cols, T(1), columnPack);
      tileProduct<T>(width, diagonal, vectors, cols, rowPack, columnPack, nullptr, 0, gramBlock, padded);
    } else if (n0 + rows <= N && m0 + cols <= N && gramOffset + n0 + (m0 + cols - 1) * N + padded <= p.gramLength) {
      k = gram + n0 + m0 * N;
      ldk = N;
    } else {
      for (std::ptrdiff_t j = 0, m = m0; j < cols; j++, m = m + 1 == N ? 0 : m + 1) {
        copyRun(gram + m * N, N, n0, rows, padded, gramBlock + j * padded);
      }
    }
    packRows(p.d + dOffset, order, h, row0, rows, rowPack);
    packColumns(p.d + dOffset, order, h, col0, cols, static_cast<T>(p.scale[l]), columnPack);
    tileProduct<T>(h, diagonal, vectors, cols, rowPack, columnPack, k, ldk, tile, padded);
  }

  for (std::ptrdiff_t j = 0; j < cols; j++) {
    T* to = p.c + row0 + (col0 + j) * p.ldc;
    const T* from = tile + j * padded;
    const std::ptrdiff_t start = diagonal ? j : 0;
    __builtin_memcpy(to + start, from + start, static_cast<std::size_t>(rows - start) * sizeof(T));
    if (diagonal) to[j] += static_cast<T>(p.shift);
  }
}

// Cuts the lower triangle of C into tiles and computes every step-th, from the first. With stored Gram matrices of some
// samples no tile crosses from one output to the next, so that these are read in place; else C is cut straight through.
template <class T>
static void gramTiles(const JacobianGram<T>& p, int first, int step) {
  constexpr std::ptrdiff_t W = Lanes<T>::kCount;
  const std::ptrdiff_t N = p.samples, order = N * p.outputs;
  const std::ptrdiff_t period = !p.inner && N >= kAlignedFrom ? N : order, blocks = order / period;
  // Equal parts of whole vectors, so that no thin rest remains.
  const std::ptrdiff_t parts = (period + kTileSide - 1) / kTileSide;
  const std::ptrdiff_t side = ((period + parts - 1) / parts + W - 1) / W * W;
  std::ptrdiff_t index = 0;
  for (std::ptrdiff_t j = 0; j < blocks; j++) {
    for (std::ptrdiff_t m = 0; m < period; m += side) {
      const std::ptrdiff_t cols = smaller(side, period - m);
      for (std::ptrdiff_t k = j; k < blocks; k++) {
        for (std::ptrdiff_t n = k == j ? m : 0; n < period; n += side, index++) {
          if (index % step == first) gramTile(p, k * period + n, smaller(side, period - n), j * period + m, cols);
        }
      }
    }
  }
}
