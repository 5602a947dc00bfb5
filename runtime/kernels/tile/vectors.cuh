// Rows in vectors of up to 16 bytes: how wide, and a loop over them.

#pragma once

#include "runtime/kernels/tile/matrix.cuh"

namespace saddle::device {

/// Elements of a 16-byte vector of the widest of these, or 1 when rows of one
/// of them cannot be read so.
template <typename... Matrices>
__host__ __device__ constexpr int commonVector() {
  int widest = 1;
  ((widest = sizeof(typename Matrices::Element) > widest
                 ? sizeof(typename Matrices::Element)
                 : widest),
   ...);
  int count = 16 / widest;
  return (Matrices::isVectorizable(count) && ...) ? count : 1;
}

/// Calls visit(row, column) for each vector of `count` elements of the first
/// `rows` rows.
template <int64_t cols, int count, typename Visit>
__device__ __forceinline__ void forEachVector(uint32_t rows, Visit visit) {
  constexpr uint32_t kPerRow = cols / count;
  uint64_t total = static_cast<uint64_t>(rows) * kPerRow;
  uint64_t step = static_cast<uint64_t>(gridDim.x) * blockDim.x;
  for (uint64_t i =
           static_cast<uint64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
       i < total; i += step)
    visit(static_cast<int64_t>(i / kPerRow),
          static_cast<int64_t>(i % kPerRow) * count);
}

/// `count` elements of row `row`, from `column` on, as one access.
template <typename M, int count>
__device__ __forceinline__ Vector<typename M::Element, count>
loadVector(const void *base, int64_t row, int64_t column) {
  return *reinterpret_cast<const Vector<typename M::Element, count> *>(
      M::row(base, row) + column);
}

template <typename T, int count>
__device__ __forceinline__ Vector<T, count>
roundedVector(const float (&values)[count]) {
  Vector<T, count> result;
#pragma unroll
  for (int i = 0; i < count; ++i)
    result[i] = fromFloat<T>(values[i]);
  return result;
}

/// Rounds `count` values and writes them as one access.
template <typename M, int count>
__device__ __forceinline__ void storeVector(void *base, int64_t row,
                                            int64_t column,
                                            const float (&values)[count]) {
  using Element = typename M::Element;
  *reinterpret_cast<Vector<Element, count> *>(M::row(base, row) + column) =
      roundedVector<Element>(values);
}

} // namespace saddle::device
