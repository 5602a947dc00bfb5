// ldmatrix and stmatrix: four matrices of 8 x 8 values of 16 bits between
// shared memory and the fragments of mma.cuh.

#pragma once

#include <cstdint>

namespace saddle::device {

/// Lane l says where row l % 8 of matrix l / 8 lies, at a multiple of 16 bytes.
/// d[i] of lane 4 g + t is of matrix i: row g at columns 2 t and 2 t + 1, or
/// transposed, column g at rows 2 t and 2 t + 1.
template <bool transposed>
__device__ __forceinline__ void loadMatrices(uint32_t (&d)[4], uint32_t row) {
  if constexpr (transposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 "
                 "{%0, %1, %2, %3}, [%4];"
                 : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
                 : "r"(row)
                 : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 "
                 "{%0, %1, %2, %3}, [%4];"
                 : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
                 : "r"(row)
                 : "memory");
}

/// The way back of loadMatrices.
template <bool transposed = false>
__device__ __forceinline__ void storeMatrices(uint32_t row,
                                              const uint32_t (&d)[4]) {
  if constexpr (transposed)
    asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 "
                 "[%4], {%0, %1, %2, %3};" ::"r"(d[0]),
                 "r"(d[1]), "r"(d[2]), "r"(d[3]), "r"(row)
                 : "memory");
  else
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 "
                 "[%4], {%0, %1, %2, %3};" ::"r"(d[0]),
                 "r"(d[1]), "r"(d[2]), "r"(d[3]), "r"(row)
                 : "memory");
}

} // namespace saddle::device
