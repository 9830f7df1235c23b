// What a Bunch-Kaufman factor is good for: solves, inertia, log-determinant and the half solves.
#pragma once
#include <cstdint>

namespace deep_hessian {

// out[0..5] = positive, negative, zero eigenvalues of D; log|det D|; smallest and largest |eigenvalue| of a
// pivot block. By Sylvester's law the counts are those of the factored matrix. Empty matrix: 0, 0, 0, 0, inf, 0.
template <class T>
void sytrfInertia(int upper, int n, const T* a, int lda, const std::int32_t* pivots, double* out);

// As LAPACK sytrs. Many right-hand sides go through an unpacked copy of a lower factor and blocked triangular solves;
// LAPACK applies the factor column by column.
template <class T>
void symmetricSolve(int upper, int n, int nrhs, const T* a, int lda, const std::int32_t* pivots, T* b, int ldb);

// B (n x nrhs) := |D|^-1/2 Q^T L^-1 P B with a lower factor P A P^T = L D L^T, D = Q diag(+-) Q^T. Rows that
// belong to positive eigenvalues of D come first, in pivot order, then the negative ones. Returns the number of
// positive rows.
template <class T>
int sytrfHalfSolve(int n, int nrhs, const T* a, int lda, const std::int32_t* pivots, T* b, int ldb);

// B := P^T L^-T Q |D|^-1/2 B for rows in that order; same return value.
template <class T>
int sytrfHalfSolveTransposed(int n, int nrhs, const T* a, int lda, const std::int32_t* pivots, T* b, int ldb);

}  // namespace deep_hessian
