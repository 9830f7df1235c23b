// Triangular solves and the Cholesky factorization on top of them. OpenBLAS runs both at a fraction of the speed of its
// matrix product for the orders of 16 to 600 that occur here, so the small solves are done by a kernel of our own and
// everything else by gemm and syrk.
#pragma once

namespace deep_hessian {

// As BLAS trsm: B (m x n) := alpha op(A)^-1 B (right = 0) or alpha B op(A)^-1 (right = 1).
template <class T>
void solveTriangular(int right, int upper, int trans, int unit, int m, int n, T alpha, const T* a, int lda, T* b, int ldb);

// As LAPACK potrf; returns info.
template <class T>
int cholesky(int upper, int n, T* a, int lda);

// As LAPACK potrs.
template <class T>
void choleskySolve(int upper, int n, int nrhs, const T* a, int lda, T* b, int ldb);

// As LAPACK getrs.
template <class T>
void luSolve(int trans, int n, int nrhs, const T* a, int lda, const int* pivots, T* b, int ldb);

}  // namespace deep_hessian
