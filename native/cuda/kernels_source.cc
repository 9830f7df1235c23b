// The element-wise kernels as CUDA C, compiled by NVRTC for the card at hand when a device is opened (module.cc).
//
// Every kernel exists for double (suffix _f64) and float (_f32). Matrices are column-major, sizes in 64 bits. Loops stride
// over the grid, so any grid is right. Sums run in a fixed order: the same card gives the same bits.
#include "cuda/kernels_source.h"

namespace deep_hessian {
namespace cuda {

const char* const kKernelSource = R"CUDA(
typedef long long Index;

// Rows of the block's part of a column, and the columns: the block is one-dimensional along the rows.
#define FOR_ROWS(i, m) for (Index i = blockIdx.x * (Index)blockDim.x + threadIdx.x; i < (m); i += gridDim.x * (Index)blockDim.x)
#define FOR_COLUMNS(j, n) for (Index j = blockIdx.y; j < (n); j += gridDim.y)

// --- activations -------------------------------------------------------------------------------------------------------
// act(s), act'(s), act''(s), each to a few ulp and without overflow for finite s: saturated slopes come from exp(-|s|),
// never from 1 - z^2. Codes: ts/native/kernels.ts. Floats are computed in double, as on the CPU.

struct Value {
  double z, d1, d2;
};

__device__ Value evaluate(int code, double s) {
  Value v;
  switch (code) {
    case 1: {  // tanh
      const double u = exp(-2.0 * fabs(s));
      v.z = tanh(s);
      v.d1 = 4.0 * u / ((1.0 + u) * (1.0 + u));
      v.d2 = -2.0 * v.z * v.d1;
      return v;
    }
    case 2:    // sigmoid
    case 3:    // softplus
    case 5: {  // silu
      const double u = exp(-fabs(s)), inverse = 1.0 / (1.0 + u), small = u * inverse;
      const double p = s < 0.0 ? small : inverse, q = s < 0.0 ? inverse : small;
      const double slope = small * inverse, flip = tanh(0.5 * s);  // 2 p - 1
      if (code == 2) {
        v.z = p;
        v.d1 = slope;
        v.d2 = -slope * flip;
      } else if (code == 3) {
        v.z = (s > 0.0 ? s : 0.0) + log1p(u);
        v.d1 = p;
        v.d2 = slope;
      } else {
        v.z = s * p;
        v.d1 = p * (1.0 + s * q);
        v.d2 = slope * (2.0 - s * flip);
      }
      return v;
    }
    case 4: {  // gelu, s Phi(s)
      // exp(-s^2 / 2) without the rounding error of s^2: s = h + (s - h), h with 24 bits.
      const bool far = fabs(s) > 40.0;
      const double h = (double)(float)s;
      const double phi = far ? 0.0 : exp(-0.5 * h * h) * exp(-0.5 * (s - h) * (s + h)) * 0.3989422804014327;
      const double distribution = far ? (s > 0.0 ? 1.0 : 0.0) : normcdf(s);
      v.z = s * distribution;
      v.d1 = far ? distribution : distribution + s * phi;
      v.d2 = far ? 0.0 : phi * (2.0 - s * s);
      return v;
    }
    case 6:  // sine
      v.z = sin(s);
      v.d1 = cos(s);
      v.d2 = -v.z;
      return v;
    case 7:  // relu
      v.z = s <= 0.0 ? 0.0 : s;
      v.d1 = s > 0.0 ? 1.0 : 0.0;
      v.d2 = 0.0;
      return v;
    default:  // identity
      v.z = s;
      v.d1 = 1.0;
      v.d2 = 0.0;
      return v;
  }
}

template <class T>
__device__ void activateBody(int code, Index rows, Index cols, T* s, const T* bias, const T* residual, T* z, T* d1, T* d2) {
  FOR_COLUMNS(j, cols) {
    FOR_ROWS(i, rows) {
      const Index o = j * rows + i;
      T biased = s[o];
      if (bias) s[o] = biased = biased + bias[j];
      const Value v = evaluate(code, (double)biased);
      if (z) z[o] = (T)(residual ? (double)residual[o] + v.z : v.z);
      if (d1) d1[o] = (T)v.d1;
      if (d2) d2[o] = (T)v.d2;
    }
  }
}

// --- element-wise ------------------------------------------------------------------------------------------------------

template <class T>
__device__ void fillBody(Index n, double value, T* x) {
  FOR_ROWS(i, n) x[i] = (T)value;
}

// y := x with another type.
template <class T, class S>
__device__ void convertBody(Index n, const S* x, T* y) {
  FOR_ROWS(i, n) y[i] = (T)x[i];
}

template <class T>
__device__ void hadamardBody(int accumulate, Index n, const T* x, const T* y, T* out) {
  FOR_ROWS(i, n) out[i] = accumulate ? out[i] + x[i] * y[i] : x[i] * y[i];
}

// B := diag(d) A, or A diag(d) with `right`.
template <class T>
__device__ void scaleRowsBody(int right, Index m, Index n, const T* d, const T* a, Index lda, T* b, Index ldb) {
  FOR_COLUMNS(j, n) FOR_ROWS(i, m) b[i + j * ldb] = a[i + j * lda] * d[right ? j : i];
}

// B := diag(d) A diag(d) + diag(c)
template <class T>
__device__ void scaleSymmetricBody(Index n, const T* a, Index lda, const T* d, const T* c, T* b, Index ldb) {
  FOR_COLUMNS(j, n) {
    FOR_ROWS(i, n) {
      T value = a[i + j * lda];
      if (d) value = d[i] * value * d[j];
      if (c && i == j) value += c[i];
      b[i + j * ldb] = value;
    }
  }
}

template <class T>
__device__ void addDiagonalBody(Index n, double value, T* a, Index lda) {
  FOR_ROWS(i, n) a[i * (lda + 1)] += (T)value;
}

// out[2 i], out[2 i + 1] := A(i, i) and its neighbour below (lower) or to the right (upper); zero after the last.
template <class T>
__device__ void bandBody(int upper, Index n, const T* a, Index lda, T* out) {
  FOR_ROWS(i, n) {
    out[2 * i] = a[i * (lda + 1)];
    out[2 * i + 1] = i + 1 < n ? a[upper ? i + (i + 1) * lda : i + 1 + i * lda] : (T)0;
  }
}

template <class T>
__device__ void diagonalBody(Index n, const T* a, Index lda, T* out) {
  FOR_ROWS(i, n) out[i] = a[i * (lda + 1)];
}

// Addresses of the items of a strided batch.
template <class T>
__device__ void addressesBody(Index count, T* base, Index stride, T** out) {
  FOR_ROWS(i, count) out[i] = base + i * stride;
}

extern "C" __global__ void widen(Index n, const int* x, Index* y) {
  FOR_ROWS(i, n) y[i] = x[i];
}

// --- data movement through a 32 x 32 tile, block 32 x 8 -------------------------------------------------------------------

#define TRANSPOSE_TILE 32

// B (n x m) := A^T, A m x n.
template <class T>
__device__ void transposeBody(Index m, Index n, const T* a, Index lda, T* b, Index ldb) {
  __shared__ T tile[TRANSPOSE_TILE][TRANSPOSE_TILE + 1];
  const Index tilesDown = (m + TRANSPOSE_TILE - 1) / TRANSPOSE_TILE, tilesAcross = (n + TRANSPOSE_TILE - 1) / TRANSPOSE_TILE;
  for (Index t = blockIdx.x; t < tilesDown * tilesAcross; t += gridDim.x) {
    const Index i0 = t % tilesDown * TRANSPOSE_TILE, j0 = t / tilesDown * TRANSPOSE_TILE;
    for (int k = threadIdx.y; k < TRANSPOSE_TILE; k += blockDim.y) {
      if (i0 + threadIdx.x < m && j0 + k < n) tile[k][threadIdx.x] = a[i0 + threadIdx.x + (j0 + k) * lda];
    }
    __syncthreads();
    for (int k = threadIdx.y; k < TRANSPOSE_TILE; k += blockDim.y) {
      if (j0 + threadIdx.x < n && i0 + k < m) b[j0 + threadIdx.x + (i0 + k) * ldb] = tile[threadIdx.x][k];
    }
    __syncthreads();
  }
}

// Copies the stored triangle onto the other one.
template <class T>
__device__ void symmetrizeBody(int upper, Index n, T* a, Index lda) {
  __shared__ T tile[TRANSPOSE_TILE][TRANSPOSE_TILE + 1];
  const Index tiles = (n + TRANSPOSE_TILE - 1) / TRANSPOSE_TILE;
  for (Index t = blockIdx.x; t < tiles * tiles; t += gridDim.x) {
    const Index bi = t % tiles, bj = t / tiles;  // the same for all threads of the block
    if (upper ? bi > bj : bi < bj) continue;
    const Index i0 = bi * TRANSPOSE_TILE, j0 = bj * TRANSPOSE_TILE;
    for (int k = threadIdx.y; k < TRANSPOSE_TILE; k += blockDim.y) {
      if (i0 + threadIdx.x < n && j0 + k < n) tile[k][threadIdx.x] = a[i0 + threadIdx.x + (j0 + k) * lda];
    }
    __syncthreads();
    for (int k = threadIdx.y; k < TRANSPOSE_TILE; k += blockDim.y) {
      const Index i = i0 + k, j = j0 + threadIdx.x;  // the stored entry (i, j) goes to (j, i)
      if (i < n && j < n && (upper ? i < j : i > j)) a[j + i * lda] = tile[threadIdx.x][k];
    }
    __syncthreads();
  }
}

// --- sums --------------------------------------------------------------------------------------------------------------

// out[j] := sum_i A(i, j) (+ out[j]); 256 threads a column.
template <class T>
__device__ void columnSumsBody(int accumulate, Index rows, Index cols, const T* a, Index lda, T* out) {
  __shared__ T part[256];
  for (Index j = blockIdx.x; j < cols; j += gridDim.x) {
    T sum = 0;
    for (Index i = threadIdx.x; i < rows; i += blockDim.x) sum += a[i + j * lda];
    part[threadIdx.x] = sum;
    __syncthreads();
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
      if (threadIdx.x < half) part[threadIdx.x] += part[threadIdx.x + half];
      __syncthreads();
    }
    if (threadIdx.x == 0) out[j] = accumulate ? out[j] + part[0] : part[0];
    __syncthreads();
  }
}

// --- blocks of rows (k, n) = k N + n, k = 0..repeats-1, that share what belongs to sample n -----------------------------------

// X[(k,n), i] *= y[n, i]
template <class T>
__device__ void scaleTiledBody(Index samples, Index repeats, Index cols, T* x, const T* y) {
  const Index rows = samples * repeats;
  FOR_COLUMNS(j, cols) FOR_ROWS(i, rows) x[i + j * rows] *= y[i % samples + j * samples];
}

// out[n, i] := sum_k X[(k,n), i] r[(k,n)]
template <class T>
__device__ void foldTiledBody(Index samples, Index repeats, Index cols, const T* x, const T* r, T* out) {
  const Index rows = samples * repeats;
  FOR_COLUMNS(j, cols) {
    FOR_ROWS(n, samples) {
      T sum = 0;
      for (Index k = 0; k < repeats; k++) sum += x[k * samples + n + j * rows] * r[k * samples + n];
      out[n + j * samples] = sum;
    }
  }
}

// out[(k,n)] := sum_i X[(k,n), i] y[n, i] (+ out)
template <class T>
__device__ void dotTiledBody(int accumulate, Index samples, Index repeats, Index cols, const T* x, const T* y, T* out) {
  const Index rows = samples * repeats;
  FOR_ROWS(i, rows) {
    const Index n = i % samples;
    T sum = accumulate ? out[i] : (T)0;
    for (Index j = 0; j < cols; j++) sum += x[i + j * rows] * y[n + j * samples];
    out[i] = sum;
  }
}

// out[(k,n), i colsY + j] := X[(k,n), i] y[n, j] for the samples start.. start + count - 1.
template <class T>
__device__ void rowKroneckerBody(Index samples, Index start, Index count, Index repeats, Index colsX, const T* x, Index colsY,
                                 const T* y, T* out, Index ldout) {
  FOR_COLUMNS(c, colsX * colsY) {
    const Index i = c / colsY, j = c % colsY;
    FOR_ROWS(row, count * repeats) {
      const Index k = row / count, n = start + row % count;
      out[row + c * ldout] = x[k * samples + n + i * samples * repeats] * y[n + j * samples];
    }
  }
}

// --- the sample-space Gauss-Newton matrix (ts/native/kernels.ts, jacobianGram) ----------------------------------------------
//
//   C[(k,n),(j,m)] = shift [row = col] + sum_l scale_l (sum_i D_l[i][k,n] D_l[i][j,m]) K_l[n, m],  lower triangle
//
// A block of 16 x 16 threads holds a 64 x 64 tile of C in registers, 4 x 4 entries a thread (16 apart), while all layers
// run through it: C is written once and no product of a layer is ever stored. Panels of 16 columns go through shared
// memory. With `inner` the tile of K_l = Z_l Z_l^T is formed the same way.

#define GRAM_TILE 64
#define GRAM_STEP 16

// sum[a][b] += rows (row0 + ..) times rows (col0 + ..) of the matrix x with `width` columns; `wrap`: row modulo wrap.
template <class T>
__device__ void tileProduct(const T* x, Index ld, int width, Index row0, Index col0, Index order, Index wrap,
                            T (*down)[GRAM_TILE], T (*across)[GRAM_TILE], T (&sum)[4][4]) {
  const int tx = threadIdx.x, ty = threadIdx.y, id = ty * 16 + tx, place = id % GRAM_TILE;
  const Index row = row0 + place, col = col0 + place;
  const Index fromRow = wrap ? row % wrap : row, fromCol = wrap ? col % wrap : col;
  for (int k0 = 0; k0 < width; k0 += GRAM_STEP) {
    for (int k = id / GRAM_TILE; k < GRAM_STEP; k += 256 / GRAM_TILE) {
      const bool within = k0 + k < width;
      down[k][place] = within && row < order ? x[fromRow + (k0 + k) * ld] : (T)0;
      across[k][place] = within && col < order ? x[fromCol + (k0 + k) * ld] : (T)0;
    }
    __syncthreads();
#pragma unroll
    for (int k = 0; k < GRAM_STEP; k++) {
      T left[4], right[4];
#pragma unroll
      for (int a = 0; a < 4; a++) {
        left[a] = down[k][tx + 16 * a];
        right[a] = across[k][ty + 16 * a];
      }
#pragma unroll
      for (int a = 0; a < 4; a++) {
#pragma unroll
        for (int b = 0; b < 4; b++) sum[a][b] += left[a] * right[b];
      }
    }
    __syncthreads();
  }
}

template <class T>
__device__ void jacobianGramBody(Index samples, Index outputs, int layers, double shift, const double* scale, const int* widths,
                                 const T* d, const Index* dOffsets, const T* gram, const Index* gramOffsets, const int* inner,
                                 T* c, Index ldc) {
  __shared__ T down[GRAM_STEP][GRAM_TILE];
  __shared__ T across[GRAM_STEP][GRAM_TILE];
  const Index order = samples * outputs, tiles = (order + GRAM_TILE - 1) / GRAM_TILE;
  const int tx = threadIdx.x, ty = threadIdx.y;
  for (Index t = blockIdx.x; t < tiles * (tiles + 1) / 2; t += gridDim.x) {
    // t counts the tiles of the lower triangle row by row: t = bi (bi + 1) / 2 + bj.
    Index bi = (Index)((sqrt(8.0 * (double)t + 1.0) - 1.0) * 0.5);
    while (bi * (bi + 1) / 2 > t) bi--;
    while ((bi + 1) * (bi + 2) / 2 <= t) bi++;
    const Index row0 = bi * GRAM_TILE, col0 = (t - bi * (bi + 1) / 2) * GRAM_TILE;
    T total[4][4];
#pragma unroll
    for (int a = 0; a < 4; a++) {
#pragma unroll
      for (int b = 0; b < 4; b++) total[a][b] = 0;
    }
    for (int l = 0; l < layers; l++) {
      T sum[4][4], k[4][4];
      const T* g = gram + gramOffsets[l];
#pragma unroll
      for (int a = 0; a < 4; a++) {
#pragma unroll
        for (int b = 0; b < 4; b++) sum[a][b] = k[a][b] = 0;
      }
      tileProduct(d + dOffsets[l], order, widths[l], row0, col0, order, (Index)0, down, across, sum);
      if (inner) {
        tileProduct(g, samples, inner[l], row0, col0, order, samples, down, across, k);
      } else {
#pragma unroll
        for (int a = 0; a < 4; a++) {
#pragma unroll
          for (int b = 0; b < 4; b++) {
            const Index row = row0 + tx + 16 * a, col = col0 + ty + 16 * b;
            if (row < order && col < order) k[a][b] = g[row % samples + col % samples * samples];
          }
        }
      }
      const T factor = (T)scale[l];
#pragma unroll
      for (int a = 0; a < 4; a++) {
#pragma unroll
        for (int b = 0; b < 4; b++) total[a][b] += factor * sum[a][b] * k[a][b];
      }
    }
#pragma unroll
    for (int a = 0; a < 4; a++) {
#pragma unroll
      for (int b = 0; b < 4; b++) {
        const Index row = row0 + tx + 16 * a, col = col0 + ty + 16 * b;
        if (row < order && col <= row) c[row + col * ldc] = total[a][b] + (row == col ? (T)shift : (T)0);
      }
    }
  }
}

// --- entry points --------------------------------------------------------------------------------------------------------

#define ENTRY_POINTS(T, S, suffix)                                                                                          \
  extern "C" __global__ void activate_##suffix(int code, Index rows, Index cols, T* s, const T* bias, const T* residual,    \
                                               T* z, T* d1, T* d2) {                                                        \
    activateBody<T>(code, rows, cols, s, bias, residual, z, d1, d2);                                                        \
  }                                                                                                                         \
  extern "C" __global__ void fill_##suffix(Index n, double value, T* x) { fillBody<T>(n, value, x); }                       \
  extern "C" __global__ void convert_##suffix(Index n, const S* x, T* y) { convertBody<T, S>(n, x, y); }                    \
  extern "C" __global__ void hadamard_##suffix(int accumulate, Index n, const T* x, const T* y, T* out) {                   \
    hadamardBody<T>(accumulate, n, x, y, out);                                                                              \
  }                                                                                                                         \
  extern "C" __global__ void scaleRows_##suffix(int right, Index m, Index n, const T* d, const T* a, Index lda, T* b,       \
                                                Index ldb) {                                                                \
    scaleRowsBody<T>(right, m, n, d, a, lda, b, ldb);                                                                       \
  }                                                                                                                         \
  extern "C" __global__ void scaleSymmetric_##suffix(Index n, const T* a, Index lda, const T* d, const T* c, T* b,          \
                                                     Index ldb) {                                                           \
    scaleSymmetricBody<T>(n, a, lda, d, c, b, ldb);                                                                         \
  }                                                                                                                         \
  extern "C" __global__ void addDiagonal_##suffix(Index n, double value, T* a, Index lda) {                                 \
    addDiagonalBody<T>(n, value, a, lda);                                                                                   \
  }                                                                                                                         \
  extern "C" __global__ void band_##suffix(int upper, Index n, const T* a, Index lda, T* out) {                             \
    bandBody<T>(upper, n, a, lda, out);                                                                                     \
  }                                                                                                                         \
  extern "C" __global__ void diagonal_##suffix(Index n, const T* a, Index lda, T* out) { diagonalBody<T>(n, a, lda, out); } \
  extern "C" __global__ void addresses_##suffix(Index count, T* base, Index stride, T** out) {                              \
    addressesBody<T>(count, base, stride, out);                                                                             \
  }                                                                                                                         \
  extern "C" __global__ void transpose_##suffix(Index m, Index n, const T* a, Index lda, T* b, Index ldb) {                 \
    transposeBody<T>(m, n, a, lda, b, ldb);                                                                                 \
  }                                                                                                                         \
  extern "C" __global__ void symmetrize_##suffix(int upper, Index n, T* a, Index lda) {                                     \
    symmetrizeBody<T>(upper, n, a, lda);                                                                                    \
  }                                                                                                                         \
  extern "C" __global__ void columnSums_##suffix(int accumulate, Index rows, Index cols, const T* a, Index lda, T* out) {   \
    columnSumsBody<T>(accumulate, rows, cols, a, lda, out);                                                                 \
  }                                                                                                                         \
  extern "C" __global__ void scaleTiled_##suffix(Index samples, Index repeats, Index cols, T* x, const T* y) {              \
    scaleTiledBody<T>(samples, repeats, cols, x, y);                                                                        \
  }                                                                                                                         \
  extern "C" __global__ void foldTiled_##suffix(Index samples, Index repeats, Index cols, const T* x, const T* r, T* out) { \
    foldTiledBody<T>(samples, repeats, cols, x, r, out);                                                                    \
  }                                                                                                                         \
  extern "C" __global__ void dotTiled_##suffix(int accumulate, Index samples, Index repeats, Index cols, const T* x,        \
                                               const T* y, T* out) {                                                        \
    dotTiledBody<T>(accumulate, samples, repeats, cols, x, y, out);                                                         \
  }                                                                                                                         \
  extern "C" __global__ void rowKronecker_##suffix(Index samples, Index start, Index count, Index repeats, Index colsX,     \
                                                   const T* x, Index colsY, const T* y, T* out, Index ldout) {              \
    rowKroneckerBody<T>(samples, start, count, repeats, colsX, x, colsY, y, out, ldout);                                    \
  }                                                                                                                         \
  extern "C" __global__ void __launch_bounds__(256)                                                                         \
      jacobianGram_##suffix(Index samples, Index outputs, int layers, double shift, const double* scale, const int* widths, \
                            const T* d, const Index* dOffsets, const T* gram, const Index* gramOffsets, const int* inner,   \
                            T* c, Index ldc) {                                                                              \
    jacobianGramBody<T>(samples, outputs, layers, shift, scale, widths, d, dOffsets, gram, gramOffsets, inner, c, ldc);     \
  }

ENTRY_POINTS(double, float, f64)
ENTRY_POINTS(float, double, f32)
)CUDA";

}  // namespace cuda
}  // namespace deep_hessian
