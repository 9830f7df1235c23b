#include "cpu/symmetric_indefinite.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/types.h"
#include "core/workspace.h"
#include "cpu/blas.h"
#include "cpu/triangular.h"

namespace deep_hessian {
namespace {

// Eigen-decomposition of [[a, b], [b, c]] by one Jacobi rotation (Golub & Van Loan 2013, section 8.5.2):
// [[cosine, -sine], [sine, cosine]]^T M [[cosine, -sine], [sine, cosine]] = diag(larger, smaller).
struct Rotation {
  double larger, smaller, cosine, sine;
};

Rotation diagonalize(double a, double b, double c) {
  if (b == 0) return a >= c ? Rotation{a, c, 1, 0} : Rotation{c, a, 0, 1};
  const double tau = (c - a) / (2 * b);
  const double t = (tau >= 0 ? -1 : 1) / (std::fabs(tau) + std::hypot(1.0, tau));
  const double cosine = 1 / std::sqrt(1 + t * t), sine = t * cosine;
  // tan(angle) = t solves t^2 - 2 tau t - 1 = 0 with |t| <= 1; a quarter turn more exchanges the eigenvalues.
  const double first = a + t * b, second = c - t * b;
  return first >= second ? Rotation{first, second, cosine, sine} : Rotation{second, first, -sine, cosine};
}

// One eigenvalue of D with the row it belongs to and, for 2 x 2 blocks, the rotation of the pair.
struct Pivot {
  int row;         // first row of the block
  int width;       // 1 or 2
  double scale[2]; // |eigenvalue|^-1/2
  double cosine, sine;
  int place[2];    // rows of the result
};

// D of a lower factor. Fills `pivots` (at most n of them); returns their number and, in `positive`, the count of
// rows that belong to positive eigenvalues.
template <class T>
int readPivots(int n, const T* a, int lda, const std::int32_t* encoded, Pivot* pivots, int& positive) {
  int count = 0;
  positive = 0;
  for (int k = 0; k < n;) {
    Pivot& p = pivots[count++];
    p.row = k;
    double values[2];
    if (encoded[k] > 0) {
      p.width = 1;
      p.cosine = 1;
      p.sine = 0;
      values[0] = a[at(k, k, lda)];
    } else {
      p.width = 2;
      const Rotation r = diagonalize(a[at(k, k, lda)], a[at(k + 1, k, lda)], a[at(k + 1, k + 1, lda)]);
      p.cosine = r.cosine;
      p.sine = r.sine;
      values[0] = r.larger;
      values[1] = r.smaller;
    }
    for (int i = 0; i < p.width; i++) {
      p.scale[i] = 1 / std::sqrt(std::fabs(values[i]));
      // The places of the others follow when the number of positive rows is known. A zero is not positive.
      p.place[i] = values[i] > 0 ? positive++ : -1;
    }
    k += p.width;
  }
  int next = positive;
  for (int q = 0; q < count; q++) {
    for (int i = 0; i < pivots[q].width; i++) {
      if (pivots[q].place[i] < 0) pivots[q].place[i] = next++;
    }
  }
  return count;
}

// Below this many right-hand sides the factor is applied column by column as it stands; from there on one
// unpacked copy of L and a blocked triangular solve are faster.
constexpr int kBlockedFrom = 8;

// The rows that the interchange at pivot k swaps: (k, target) for 1 x 1, (k + 1, target) for 2 x 2.
inline int swapTarget(const std::int32_t* encoded, int k) { return (encoded[k] > 0 ? encoded[k] : -encoded[k]) - 1; }

// Unpacks L (unit lower, all interchanges applied to earlier columns as in dsyconv) and the permutation:
// (P B)[i] = B[permutation[i]].
template <class T>
T* unpack(int n, const T* a, int lda, const std::int32_t* encoded, int* permutation) {
  T* l = scratch<T>(Scratch::kFactor, static_cast<std::size_t>(n) * n);
  // position[r]: where row r of column j finally stands, tracked backwards: column j sees the interchanges of all
  // pivots after its own.
  int* position = scratch<int>(Scratch::kLapackInteger, static_cast<std::size_t>(2) * n);
  int* where = position + n;  // where[i]: the final place of what now stands in row i
  for (int i = 0; i < n; i++) where[i] = i;
  for (int k = n - 1; k >= 0;) {
    // encoded[k] < 0 here is always the second row of a 2 x 2 block, because blocks are met from behind.
    const int width = encoded[k] > 0 ? 1 : 2;
    const int first = k - width + 1;
    for (int j = first; j <= k; j++) {
      T* column = l + static_cast<std::ptrdiff_t>(j) * n;
      const T* source = a + at(0, j, lda);
      std::fill_n(column, j, T(0));
      column[j] = 1;
      for (int i = j + 1; i <= k; i++) column[i] = 0;  // the off-diagonal entry of a 2 x 2 block belongs to D
      for (int i = k + 1; i < n; i++) column[where[i]] = source[i];
    }
    // Columns before `first` see this interchange first, then the later ones: where := where o swap.
    const int target = swapTarget(encoded, k);
    if (target != k) std::swap(where[k], where[target]);
    k = first - 1;
  }
  for (int i = 0; i < n; i++) permutation[where[i]] = i;
  return l;
}

}  // namespace

template <class T>
void sytrfInertia(int upper, int n, const T* a, int lda, const std::int32_t* pivots, double* out) {
  double positive = 0, negative = 0, zero = 0, logarithm = 0, largest = 0;
  double smallest = std::numeric_limits<double>::infinity();
  const auto take = [&](double value) {
    if (value > 0) positive++;
    else if (value < 0) negative++;
    else zero++;
    const double size = std::fabs(value);
    logarithm += std::log(size);
    smallest = std::fmin(smallest, size);
    largest = std::fmax(largest, size);
  };
  for (int k = 0; k < n;) {
    if (pivots[k] > 0) {
      take(a[at(k, k, lda)]);
      k++;
    } else {
      const double off = upper ? a[at(k, k + 1, lda)] : a[at(k + 1, k, lda)];
      const Rotation r = diagonalize(a[at(k, k, lda)], off, a[at(k + 1, k + 1, lda)]);
      take(r.larger);
      take(r.smaller);
      k += 2;
    }
  }
  out[0] = positive;
  out[1] = negative;
  out[2] = zero;
  out[3] = logarithm;
  out[4] = smallest;
  out[5] = largest;
}

template <class T>
int sytrfHalfSolve(int n, int nrhs, const T* a, int lda, const std::int32_t* encoded, T* b, int ldb) {
  if (n == 0) return 0;
  Pivot* pivots = scratch<Pivot>(Scratch::kPivots, n);
  int positive;
  const int count = readPivots(n, a, lda, encoded, pivots, positive);
  T* column = scratch<T>(Scratch::kColumn, n);
  const bool blocked = nrhs >= kBlockedFrom;

  if (blocked) {
    int* permutation = scratch<int>(Scratch::kPermutation, n);
    const T* l = unpack(n, a, lda, encoded, permutation);
    for (int j = 0; j < nrhs; j++) {
      T* x = b + at(0, j, ldb);
      std::copy_n(x, n, column);
      for (int i = 0; i < n; i++) x[i] = column[permutation[i]];
    }
    solveTriangular(kLeft, kLower, 0, 1, n, nrhs, T(1), l, n, b, ldb);
  }
  for (int j = 0; j < nrhs; j++) {
    T* x = b + at(0, j, ldb);
    if (!blocked) {
      for (int q = 0; q < count; q++) {
        const int k = pivots[q].row, last = k + pivots[q].width - 1, target = swapTarget(encoded, k);
        if (target != last) std::swap(x[last], x[target]);
        for (int c = k; c <= last; c++) {
          const T* l = a + at(0, c, lda);
          const T factor = x[c];
          for (int i = last + 1; i < n; i++) x[i] -= l[i] * factor;
        }
      }
    }
    std::copy_n(x, n, column);
    for (int q = 0; q < count; q++) {
      const Pivot& p = pivots[q];
      if (p.width == 1) {
        x[p.place[0]] = static_cast<T>(column[p.row] * p.scale[0]);
      } else {
        const double u = column[p.row], v = column[p.row + 1];
        x[p.place[0]] = static_cast<T>((p.cosine * u + p.sine * v) * p.scale[0]);
        x[p.place[1]] = static_cast<T>((p.cosine * v - p.sine * u) * p.scale[1]);
      }
    }
  }
  return positive;
}

template <class T>
int sytrfHalfSolveTransposed(int n, int nrhs, const T* a, int lda, const std::int32_t* encoded, T* b, int ldb) {
  if (n == 0) return 0;
  Pivot* pivots = scratch<Pivot>(Scratch::kPivots, n);
  int positive;
  const int count = readPivots(n, a, lda, encoded, pivots, positive);
  T* column = scratch<T>(Scratch::kColumn, n);
  const bool blocked = nrhs >= kBlockedFrom;

  for (int j = 0; j < nrhs; j++) {
    T* x = b + at(0, j, ldb);
    std::copy_n(x, n, column);
    for (int q = 0; q < count; q++) {
      const Pivot& p = pivots[q];
      const double u = column[p.place[0]] * p.scale[0];
      if (p.width == 1) {
        x[p.row] = static_cast<T>(u);
      } else {
        const double v = column[p.place[1]] * p.scale[1];
        x[p.row] = static_cast<T>(p.cosine * u - p.sine * v);
        x[p.row + 1] = static_cast<T>(p.sine * u + p.cosine * v);
      }
    }
    if (!blocked) {
      for (int q = count - 1; q >= 0; q--) {
        const int k = pivots[q].row, last = k + pivots[q].width - 1, target = swapTarget(encoded, k);
        for (int c = k; c <= last; c++) {
          const T* l = a + at(0, c, lda);
          T sum = 0;
          for (int i = last + 1; i < n; i++) sum += l[i] * x[i];
          x[c] -= sum;
        }
        if (target != last) std::swap(x[last], x[target]);
      }
    }
  }
  if (blocked) {
    int* permutation = scratch<int>(Scratch::kPermutation, n);
    const T* l = unpack(n, a, lda, encoded, permutation);
    solveTriangular(kLeft, kLower, 1, 1, n, nrhs, T(1), l, n, b, ldb);
    for (int j = 0; j < nrhs; j++) {
      T* x = b + at(0, j, ldb);
      std::copy_n(x, n, column);
      for (int i = 0; i < n; i++) x[permutation[i]] = column[i];
    }
  }
  return positive;
}

template <class T>
void symmetricSolve(int upper, int n, int nrhs, const T* a, int lda, const std::int32_t* encoded, T* b, int ldb) {
  if (n == 0 || nrhs == 0) return;
  if (upper || nrhs < kBlockedFrom) {
    blas::sytrs(uploCode(upper), n, nrhs, a, lda, encoded, b, ldb);
    return;
  }
  int* permutation = scratch<int>(Scratch::kPermutation, n);
  T* column = scratch<T>(Scratch::kColumn, n);
  const T* l = unpack(n, a, lda, encoded, permutation);
  for (int j = 0; j < nrhs; j++) {
    T* x = b + at(0, j, ldb);
    std::copy_n(x, n, column);
    for (int i = 0; i < n; i++) x[i] = column[permutation[i]];
  }
  solveTriangular(kLeft, kLower, 0, 1, n, nrhs, T(1), l, n, b, ldb);
  for (int k = 0; k < n; k++) {
    if (encoded[k] > 0) {
      const T d = a[at(k, k, lda)];
      for (int j = 0; j < nrhs; j++) b[at(k, j, ldb)] /= d;
    } else {
      // Divided by the off-diagonal entry, which the pivot rule makes the largest: no overflow.
      const T off = a[at(k + 1, k, lda)], d1 = a[at(k, k, lda)] / off, d2 = a[at(k + 1, k + 1, lda)] / off, denominator = d1 * d2 - 1;
      for (int j = 0; j < nrhs; j++) {
        T* x = b + at(k, j, ldb);
        const T u = x[0] / off, v = x[1] / off;
        x[0] = (d2 * u - v) / denominator;
        x[1] = (d1 * v - u) / denominator;
      }
      k++;
    }
  }
  solveTriangular(kLeft, kLower, 1, 1, n, nrhs, T(1), l, n, b, ldb);
  for (int j = 0; j < nrhs; j++) {
    T* x = b + at(0, j, ldb);
    std::copy_n(x, n, column);
    for (int i = 0; i < n; i++) x[permutation[i]] = column[i];
  }
}

#define INSTANTIATE(T)                                                                                    \
  template void symmetricSolve(int, int, int, const T*, int, const std::int32_t*, T*, int);                \
  template void sytrfInertia(int, int, const T*, int, const std::int32_t*, double*);                      \
  template int sytrfHalfSolve(int, int, const T*, int, const std::int32_t*, T*, int);                     \
  template int sytrfHalfSolveTransposed(int, int, const T*, int, const std::int32_t*, T*, int);
INSTANTIATE(double)
INSTANTIATE(float)
#undef INSTANTIATE

}  // namespace deep_hessian
