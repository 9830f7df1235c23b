// The sample-space Gauss-Newton matrix (ts/native/kernels.ts, jacobianGram). Part of fused_body.h.
//
//   C[(k,n),(j,m)] = shift [row = col] + sum_l scale_l (sum_i D_l[i][k,n] D_l[i][j,m]) K_l[n, m]
//
// A tile of at most 64 x 64 entries of the lower triangle stays in the first-level cache while all layers run
// through it. For each layer the rank-h product of the tile is formed in registers, a micro-tile at a time, and
// multiplied by the Gram entries as it is added. B rows are packed with the scale folded in.

constexpr std::ptrdiff_t kTileOrder = 64;
constexpr int kTileColumns = 4;  // columns of a micro-tile

// c += (A B^T) o K for VR vectors of rows by NR columns; a: h columns at stride lda; b: packed, h x NR.
template <class T, int VR, int NR>
FUSED_INLINE void microTile(int h, const T* a, std::ptrdiff_t lda, const T* b, const T* k, std::ptrdiff_t ldk, T* c) {
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
#pragma GCC unroll 8
  for (int j = 0; j < NR; j++) {
#pragma GCC unroll 8
    for (int v = 0; v < VR; v++) {
      T* place = c + j * kTileOrder + v * W;
      store(place, load(place) + sum[j][v] * load(k + j * ldk + v * W));
    }
  }
}

// All row vectors of one column panel, from vector `from` (the rows above the diagonal are not wanted).
template <class T, int NR>
static void columnPanel(int h, int from, int vectors, const T* a, std::ptrdiff_t lda, const T* b, const T* k, std::ptrdiff_t ldk, T* c) {
  constexpr int W = Lanes<T>::kCount, VR = FUSED_PANEL;
  int v = from;
  for (; v + VR <= vectors; v += VR) microTile<T, VR, NR>(h, a + v * W, lda, b, k + v * W, ldk, c + v * W);
  if constexpr (VR > 3) {
    if (vectors - v == 3) return microTile<T, 3, NR>(h, a + v * W, lda, b, k + v * W, ldk, c + v * W);
  }
  if constexpr (VR > 2) {
    if (vectors - v == 2) return microTile<T, 2, NR>(h, a + v * W, lda, b, k + v * W, ldk, c + v * W);
  }
  if (vectors - v == 1) microTile<T, 1, NR>(h, a + v * W, lda, b, k + v * W, ldk, c + v * W);
}

template <class T>
static void gramTile(const JacobianGram<T>& p, std::ptrdiff_t row0, std::ptrdiff_t rows, std::ptrdiff_t col0, std::ptrdiff_t cols) {
  constexpr int W = Lanes<T>::kCount;
  const std::ptrdiff_t N = p.samples, order = N * p.outputs;
  const int vectors = static_cast<int>((rows + W - 1) / W);
  const std::ptrdiff_t n0 = row0 % N, m0 = col0 % N;
  // Inside one (k, j) block and a whole number of vectors: K and D are read where they stand.
  const bool direct = rows % W == 0 && n0 + rows <= N && m0 + cols <= N;

  std::ptrdiff_t widest = 0;
  for (int l = 0; l < p.layers; l++) widest = larger(widest, p.widths[l]);
  // Tile of C, K tile, packed B rows, packed A rows.
  constexpr std::ptrdiff_t kSquare = kTileOrder * kTileOrder;
  T* tile = static_cast<T*>(scratchBytes(Scratch::kTile, static_cast<std::size_t>(2 * kSquare + 2 * kTileOrder * widest) * sizeof(T)));
  T* gramCopy = tile + kSquare;
  T* columnPack = gramCopy + kSquare;
  T* rowPack = columnPack + kTileOrder * widest;
  __builtin_memset(tile, 0, kSquare * sizeof(T));

  for (int l = 0; l < p.layers; l++) {
    const int h = p.widths[l];
    const T scale = static_cast<T>(p.scale[l]);
    const T* d = p.d + static_cast<std::ptrdiff_t>(p.dOffsets[l]);
    const T* gram = p.gram + static_cast<std::ptrdiff_t>(p.gramOffsets[l]);

    T* pack = columnPack;
    for (std::ptrdiff_t j = 0; j < cols; j += kTileColumns) {
      const std::ptrdiff_t width = smaller(kTileColumns, cols - j);
      const T* from = d + col0 + j;
      for (int i = 0; i < h; i++, from += order) {
        for (std::ptrdiff_t c = 0; c < width; c++) *pack++ = scale * from[c];
      }
    }

    const T* a = d + row0;
    std::ptrdiff_t lda = order;
    const T* k = gram + n0 + m0 * N;
    std::ptrdiff_t ldk = N;
    if (!direct) {
      a = rowPack;
      lda = kTileOrder;
      for (int i = 0; i < h; i++) {
        T* to = rowPack + i * kTileOrder;
        __builtin_memcpy(to, d + row0 + i * order, static_cast<std::size_t>(rows) * sizeof(T));
        for (std::ptrdiff_t r = rows; r < vectors * W; r++) to[r] = 0;
      }
      k = gramCopy;
      ldk = kTileOrder;
      for (std::ptrdiff_t j = 0, m = m0; j < cols; j++, m = m + 1 == N ? 0 : m + 1) {
        T* to = gramCopy + j * kTileOrder;
        const T* column = gram + m * N;
        for (std::ptrdiff_t r = 0, n = n0; r < rows; n = 0) {
          const std::ptrdiff_t run = smaller(N - n, rows - r);
          __builtin_memcpy(to + r, column + n, static_cast<std::size_t>(run) * sizeof(T));
          r += run;
        }
        for (std::ptrdiff_t r = rows; r < vectors * W; r++) to[r] = 0;
      }
    }

    const T* b = columnPack;
    for (std::ptrdiff_t j = 0; j < cols; j += kTileColumns) {
      const int from = row0 == col0 ? static_cast<int>(j / W) : 0;
      T* c = tile + j * kTileOrder;
      switch (smaller(kTileColumns, cols - j)) {
        case 4: columnPanel<T, 4>(h, from, vectors, a, lda, b, k + j * ldk, ldk, c); break;
        case 3: columnPanel<T, 3>(h, from, vectors, a, lda, b, k + j * ldk, ldk, c); break;
        case 2: columnPanel<T, 2>(h, from, vectors, a, lda, b, k + j * ldk, ldk, c); break;
        default: columnPanel<T, 1>(h, from, vectors, a, lda, b, k + j * ldk, ldk, c); break;
      }
      b += kTileColumns * h;
    }
  }

  for (std::ptrdiff_t j = 0; j < cols; j++) {
    T* to = p.c + row0 + (col0 + j) * p.ldc;
    const T* from = tile + j * kTileOrder;
    const std::ptrdiff_t start = row0 == col0 ? j : 0;
    __builtin_memcpy(to + start, from + start, static_cast<std::size_t>(rows - start) * sizeof(T));
    if (row0 == col0) to[j] += static_cast<T>(p.shift);
  }
}

// Cuts the rows of C into tiles: inside one output where there are enough samples to fill most of a tile, else
// straight through.
template <class T>
static void gramTiles(const JacobianGram<T>& p, int first, int step) {
  constexpr int W = Lanes<T>::kCount;
  const std::ptrdiff_t N = p.samples, order = N * p.outputs;
  const bool aligned = N >= kTileOrder / 2;
  const std::ptrdiff_t period = aligned ? N : order;
  const std::ptrdiff_t parts = (period + kTileOrder - 1) / kTileOrder;
  const std::ptrdiff_t size = smaller(kTileOrder, ((period + parts - 1) / parts + W - 1) / W * W);
  const std::ptrdiff_t perPeriod = (period + size - 1) / size, blocks = perPeriod * (order / period);
  int index = 0;
  for (std::ptrdiff_t bj = 0; bj < blocks; bj++) {
    const std::ptrdiff_t colStart = bj % perPeriod * size, col0 = bj / perPeriod * period + colStart;
    const std::ptrdiff_t cols = smaller(size, period - colStart);
    for (std::ptrdiff_t bi = bj; bi < blocks; bi++, index++) {
      if (index % step != first) continue;
      const std::ptrdiff_t rowStart = bi % perPeriod * size, row0 = bi / perPeriod * period + rowStart;
      gramTile(p, row0, smaller(size, period - rowStart), col0, cols);
    }
  }
}
