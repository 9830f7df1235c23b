// Small types shared by every layer of the native core.
#pragma once
#include <cstddef>
#include <cstdint>

namespace deep_hessian {

// Flags as they cross the border (see ts/native/kernels.ts).
enum Triangle : int { kLower = 0, kUpper = 1 };
enum Side : int { kLeft = 0, kRight = 1 };

inline char uploCode(int upper) { return upper ? 'U' : 'L'; }
inline char transCode(int trans) { return trans ? 'T' : 'N'; }
inline char sideCode(int right) { return right ? 'R' : 'L'; }
inline char diagCode(int unit) { return unit ? 'U' : 'N'; }

// Position of element (i, j) of a column-major matrix, in 64 bits.
inline std::ptrdiff_t at(std::ptrdiff_t i, std::ptrdiff_t j, std::ptrdiff_t ld) { return i + j * ld; }

}  // namespace deep_hessian
