// LAPACK calls that need workspace, which comes from the per-thread scratch memory.
#pragma once

namespace deep_hessian {

// Bunch-Kaufman A = P L D L^T P^T (Bunch & Kaufman 1977), one triangle; returns LAPACK's info.
template <class T>
int sytrf(int upper, int n, T* a, int lda, int* pivots);

// Inverse from a sytrf factor, same triangle.
template <class T>
int sytri(int upper, int n, T* a, int lda, const int* pivots);

// Divide and conquer symmetric eigenproblem.
template <class T>
int syevd(int vectors, int upper, int n, T* a, int lda, T* w);

// Thin Householder QR: A (m x n, m >= n) becomes Q, R (n x n) is written whole.
template <class T>
void qr(int m, int n, T* a, int lda, T* r, int ldr);

}  // namespace deep_hessian
