// Dense operations on device memory through cuBLAS and cuSOLVER. Arguments are those of ts/native/kernels.ts; the border
// (napi/cuda.cc) has checked them. T is double or float.
#pragma once
#include "cuda/device.h"

namespace deep_hessian {
namespace cuda {

template <class T>
struct Dense {
  static void gemm(Device&, int transA, int transB, int m, int n, int k, double alpha, const View& a, const View& b,
                   double beta, const View& c);
  static void gemmBatch(Device&, int transA, int transB, int m, int n, int k, double alpha, const View& a, const View& b,
                        double beta, const View& c, int count);
  static void gemv(Device&, int trans, int m, int n, double alpha, const View& a, const View& x, int incx, double beta,
                   const View& y, int incy);
  static void syrk(Device&, int upper, int trans, int n, int k, double alpha, const View& a, double beta, const View& c);
  static void symm(Device&, int right, int upper, int m, int n, double alpha, const View& a, const View& b, double beta,
                   const View& c);
  static void trsm(Device&, int right, int upper, int trans, int unit, int m, int n, double alpha, const View& a, const View& b);
  static void trsmBatch(Device&, int right, int upper, int trans, int unit, int m, int n, double alpha, const View& a,
                        const View& b, int count);
  static void axpy(Device&, int n, double alpha, const View& x, const View& y);
  static double dot(Device&, int n, const View& x, const View& y);
  static double nrm2(Device&, int n, const View& x);

  // Factorizations return LAPACK's info; the pivots are LAPACK's too.
  static int potrf(Device&, int upper, int n, const View& a);
  static void potrs(Device&, int upper, int n, int nrhs, const View& a, const View& b);
  static int sytrf(Device&, int upper, int n, const View& a, int* pivots);
  static void sytrs(Device&, int upper, int n, int nrhs, const View& a, const int* pivots, const View& b);
  // As cpu/symmetric_indefinite.h; only D and the pivots travel.
  static void sytrfInertia(Device&, int upper, int n, const View& a, const int* pivots, double* out);
  static int getrf(Device&, int m, int n, const View& a, int* pivots);
  static void getrs(Device&, int trans, int n, int nrhs, const View& a, const int* pivots, const View& b);
  static int syevd(Device&, int vectors, int upper, int n, const View& a, const View& w);

  // The first info of the batch that is not zero. Item i of the pivots is at pivots + i * stridePivots.
  static int potrfBatch(Device&, int upper, int n, const View& a, int count);
  static void potrsBatch(Device&, int upper, int n, int nrhs, const View& a, const View& b, int count);
  static int getrfBatch(Device&, int m, int n, const View& a, int* pivots, std::int64_t stridePivots, int count);
  static void getrsBatch(Device&, int trans, int n, int nrhs, const View& a, const int* pivots, std::int64_t stridePivots,
                         const View& b, int count);
};

extern template struct Dense<double>;
extern template struct Dense<float>;

}  // namespace cuda
}  // namespace deep_hessian
