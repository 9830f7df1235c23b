// OpenBLAS through its Fortran symbols, as overloads for double and float: 32-bit integers, arguments by
// address, the hidden string lengths at the end. No LAPACKE: Debian's static archive has none.
#pragma once
#include <cstddef>

extern "C" {
char* openblas_get_config(void);
char* openblas_get_corename(void);
void openblas_set_num_threads(int);
int openblas_get_num_threads(void);

#define DEEP_HESSIAN_PROTOTYPES(T, p)                                                                                       \
  void p##gemm_(const char*, const char*, const int*, const int*, const int*, const T*, const T*, const int*, const T*,     \
                const int*, const T*, T*, const int*, std::size_t, std::size_t);                                           \
  void p##gemv_(const char*, const int*, const int*, const T*, const T*, const int*, const T*, const int*, const T*, T*,    \
                const int*, std::size_t);                                                                                  \
  void p##syrk_(const char*, const char*, const int*, const int*, const T*, const T*, const int*, const T*, T*, const int*, \
                std::size_t, std::size_t);                                                                                 \
  void p##symm_(const char*, const char*, const int*, const int*, const T*, const T*, const int*, const T*, const int*,     \
                const T*, T*, const int*, std::size_t, std::size_t);                                                       \
  void p##trsm_(const char*, const char*, const char*, const char*, const int*, const int*, const T*, const T*, const int*, \
                T*, const int*, std::size_t, std::size_t, std::size_t, std::size_t);                                       \
  void p##trmm_(const char*, const char*, const char*, const char*, const int*, const int*, const T*, const T*, const int*, \
                T*, const int*, std::size_t, std::size_t, std::size_t, std::size_t);                                       \
  void p##potrf_(const char*, const int*, T*, const int*, int*, std::size_t);                                              \
  void p##potrs_(const char*, const int*, const int*, const T*, const int*, T*, const int*, int*, std::size_t);            \
  void p##potri_(const char*, const int*, T*, const int*, int*, std::size_t);                                              \
  void p##sytrf_(const char*, const int*, T*, const int*, int*, T*, const int*, int*, std::size_t);                        \
  void p##sytrs_(const char*, const int*, const int*, const T*, const int*, const int*, T*, const int*, int*, std::size_t); \
  void p##sytri_(const char*, const int*, T*, const int*, const int*, T*, int*, std::size_t);                              \
  void p##sytri2x_(const char*, const int*, T*, const int*, const int*, T*, const int*, int*, std::size_t);                \
  void p##getrf_(const int*, const int*, T*, const int*, int*, int*);                                                      \
  void p##getrs_(const char*, const int*, const int*, const T*, const int*, const int*, T*, const int*, int*, std::size_t); \
  void p##gesv_(const int*, const int*, T*, const int*, int*, T*, const int*, int*);                                       \
  void p##syevd_(const char*, const char*, const int*, T*, const int*, T*, T*, const int*, int*, const int*, int*,          \
                 std::size_t, std::size_t);                                                                                \
  void p##geqrf_(const int*, const int*, T*, const int*, T*, T*, const int*, int*);                                        \
  void p##orgqr_(const int*, const int*, const int*, T*, const int*, const T*, T*, const int*, int*);
DEEP_HESSIAN_PROTOTYPES(double, d)
DEEP_HESSIAN_PROTOTYPES(float, s)
#undef DEEP_HESSIAN_PROTOTYPES
double ddot_(const int*, const double*, const int*, const double*, const int*);
double dnrm2_(const int*, const double*, const int*);
}

namespace deep_hessian::blas {

#define DEEP_HESSIAN_OVERLOADS(T, p)                                                                                        \
  inline void gemm(char ta, char tb, int m, int n, int k, T alpha, const T* a, int lda, const T* b, int ldb, T beta, T* c,  \
                   int ldc) {                                                                                              \
    p##gemm_(&ta, &tb, &m, &n, &k, &alpha, a, &lda, b, &ldb, &beta, c, &ldc, 1, 1);                                        \
  }                                                                                                                        \
  inline void gemv(char trans, int m, int n, T alpha, const T* a, int lda, const T* x, int incx, T beta, T* y, int incy) {  \
    p##gemv_(&trans, &m, &n, &alpha, a, &lda, x, &incx, &beta, y, &incy, 1);                                               \
  }                                                                                                                        \
  inline void syrk(char uplo, char trans, int n, int k, T alpha, const T* a, int lda, T beta, T* c, int ldc) {              \
    p##syrk_(&uplo, &trans, &n, &k, &alpha, a, &lda, &beta, c, &ldc, 1, 1);                                                \
  }                                                                                                                        \
  inline void symm(char side, char uplo, int m, int n, T alpha, const T* a, int lda, const T* b, int ldb, T beta, T* c,     \
                   int ldc) {                                                                                              \
    p##symm_(&side, &uplo, &m, &n, &alpha, a, &lda, b, &ldb, &beta, c, &ldc, 1, 1);                                        \
  }                                                                                                                        \
  inline void trsm(char side, char uplo, char trans, char diag, int m, int n, T alpha, const T* a, int lda, T* b, int ldb) { \
    p##trsm_(&side, &uplo, &trans, &diag, &m, &n, &alpha, a, &lda, b, &ldb, 1, 1, 1, 1);                                   \
  }                                                                                                                        \
  inline void trmm(char side, char uplo, char trans, char diag, int m, int n, T alpha, const T* a, int lda, T* b, int ldb) { \
    p##trmm_(&side, &uplo, &trans, &diag, &m, &n, &alpha, a, &lda, b, &ldb, 1, 1, 1, 1);                                   \
  }                                                                                                                        \
  inline int potrf(char uplo, int n, T* a, int lda) {                                                                      \
    int info = 0;                                                                                                          \
    p##potrf_(&uplo, &n, a, &lda, &info, 1);                                                                               \
    return info;                                                                                                           \
  }                                                                                                                        \
  inline int potrs(char uplo, int n, int nrhs, const T* a, int lda, T* b, int ldb) {                                       \
    int info = 0;                                                                                                          \
    p##potrs_(&uplo, &n, &nrhs, a, &lda, b, &ldb, &info, 1);                                                               \
    return info;                                                                                                           \
  }                                                                                                                        \
  inline int potri(char uplo, int n, T* a, int lda) {                                                                      \
    int info = 0;                                                                                                          \
    p##potri_(&uplo, &n, a, &lda, &info, 1);                                                                               \
    return info;                                                                                                           \
  }                                                                                                                        \
  inline int sytrf(char uplo, int n, T* a, int lda, int* pivots, T* work, int lwork) {                                     \
    int info = 0;                                                                                                          \
    p##sytrf_(&uplo, &n, a, &lda, pivots, work, &lwork, &info, 1);                                                         \
    return info;                                                                                                           \
  }                                                                                                                        \
  inline int sytrs(char uplo, int n, int nrhs, const T* a, int lda, const int* pivots, T* b, int ldb) {                    \
    int info = 0;                                                                                                          \
    p##sytrs_(&uplo, &n, &nrhs, a, &lda, pivots, b, &ldb, &info, 1);                                                       \
    return info;                                                                                                           \
  }                                                                                                                        \
  inline int sytri(char uplo, int n, T* a, int lda, const int* pivots, T* work) {                                          \
    int info = 0;                                                                                                          \
    p##sytri_(&uplo, &n, a, &lda, pivots, work, &info, 1);                                                                 \
    return info;                                                                                                           \
  }                                                                                                                        \
  inline int sytri2x(char uplo, int n, T* a, int lda, const int* pivots, T* work, int nb) {                                \
    int info = 0;                                                                                                          \
    p##sytri2x_(&uplo, &n, a, &lda, pivots, work, &nb, &info, 1);                                                          \
    return info;                                                                                                           \
  }                                                                                                                        \
  inline int getrf(int m, int n, T* a, int lda, int* pivots) {                                                             \
    int info = 0;                                                                                                          \
    p##getrf_(&m, &n, a, &lda, pivots, &info);                                                                             \
    return info;                                                                                                           \
  }                                                                                                                        \
  inline int getrs(char trans, int n, int nrhs, const T* a, int lda, const int* pivots, T* b, int ldb) {                   \
    int info = 0;                                                                                                          \
    p##getrs_(&trans, &n, &nrhs, a, &lda, pivots, b, &ldb, &info, 1);                                                      \
    return info;                                                                                                           \
  }                                                                                                                        \
  inline int gesv(int n, int nrhs, T* a, int lda, int* pivots, T* b, int ldb) {                                            \
    int info = 0;                                                                                                          \
    p##gesv_(&n, &nrhs, a, &lda, pivots, b, &ldb, &info);                                                                  \
    return info;                                                                                                           \
  }                                                                                                                        \
  inline int syevd(char jobz, char uplo, int n, T* a, int lda, T* w, T* work, int lwork, int* iwork, int liwork) {          \
    int info = 0;                                                                                                          \
    p##syevd_(&jobz, &uplo, &n, a, &lda, w, work, &lwork, iwork, &liwork, &info, 1, 1);                                    \
    return info;                                                                                                           \
  }                                                                                                                        \
  inline int geqrf(int m, int n, T* a, int lda, T* tau, T* work, int lwork) {                                              \
    int info = 0;                                                                                                          \
    p##geqrf_(&m, &n, a, &lda, tau, work, &lwork, &info);                                                                  \
    return info;                                                                                                           \
  }                                                                                                                        \
  inline int orgqr(int m, int n, int k, T* a, int lda, const T* tau, T* work, int lwork) {                                 \
    int info = 0;                                                                                                          \
    p##orgqr_(&m, &n, &k, a, &lda, tau, work, &lwork, &info);                                                              \
    return info;                                                                                                           \
  }
DEEP_HESSIAN_OVERLOADS(double, d)
DEEP_HESSIAN_OVERLOADS(float, s)
#undef DEEP_HESSIAN_OVERLOADS

}  // namespace deep_hessian::blas
