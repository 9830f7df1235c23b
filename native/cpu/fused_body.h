// Compiled once per instruction set, inside an anonymous namespace, with
//   FUSED_BYTES  bytes of a vector register          FUSED_PANEL  row vectors of the Gram micro-kernel
//   FUSED_ROWS   rows of a triangular micro-kernel
//   FUSED_NAME   name of the set                     FUSED_TABLE  name of the table to define
// No include guard on purpose. No templates of the standard library in here: the linker keeps one copy of such
// functions for the whole program, and it must not be one that needs AVX-512.

template <class T>
struct Lanes;
template <>
struct Lanes<double> {
  typedef double Vector __attribute__((vector_size(FUSED_BYTES)));
  static constexpr int kCount = FUSED_BYTES / 8;
};
template <>
struct Lanes<float> {
  typedef float Vector __attribute__((vector_size(FUSED_BYTES)));
  static constexpr int kCount = FUSED_BYTES / 4;
};

#define FUSED_INLINE static inline __attribute__((always_inline))

template <class T>
FUSED_INLINE typename Lanes<T>::Vector load(const T* p) {
  typename Lanes<T>::Vector v;
  __builtin_memcpy(&v, p, FUSED_BYTES);
  return v;
}

template <class T>
FUSED_INLINE void store(T* p, typename Lanes<T>::Vector v) {
  __builtin_memcpy(p, &v, FUSED_BYTES);
}

FUSED_INLINE std::ptrdiff_t smaller(std::ptrdiff_t a, std::ptrdiff_t b) { return a < b ? a : b; }
FUSED_INLINE std::ptrdiff_t larger(std::ptrdiff_t a, std::ptrdiff_t b) { return a > b ? a : b; }

#include "cpu/fused_activations.h"
#include "cpu/fused_gram.h"
#include "cpu/fused_loops.h"
#include "cpu/fused_triangular.h"

#undef FUSED_DEFINE_TABLE
#define FUSED_DEFINE_TABLE                                                                                          \
  const FusedKernels FUSED_TABLE = {                                                                                \
      FUSED_NAME,                                                                                                   \
      {activate<double>, gramTiles<double>, dot<double>, nrm2<double>, axpy<double>, hadamard<double>,              \
       columnSums<double>, scaleRows<double>, scaleSymmetric<double>, adamStep<double>, sgdStep<double>, triangularSolve<double>},           \
      {activate<float>, gramTiles<float>, dot<float>, nrm2<float>, axpy<float>, hadamard<float>,                    \
       columnSums<float>, scaleRows<float>, scaleSymmetric<float>, adamStep<float>, sgdStep<float>, triangularSolve<float>},                \
  };
