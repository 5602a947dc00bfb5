// add and copy: every thread takes vectors of up to 16 bytes of the output, the
// grid strides over the rows that are real. Floor: the bytes of all operands
// over the memory bandwidth. Any shape; scalar where rows do not allow vectors.

#pragma once

#include "runtime/kernels/abi.h"
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

/// out = a + b; may work in place.
template <int extent, typename A, typename B, typename Out>
__device__ void add(const LaunchParams &p) {
  static_assert(A::kCols == Out::kCols && B::kCols == Out::kCols,
                "the operands of a sum have one width");
  constexpr int kCount = commonVector<A, B, Out>();
  forEachVector<Out::kCols, kCount>(
      p.step->counts[extent], [&](int64_t row, int64_t column) {
        auto a = *reinterpret_cast<const Vector<typename A::Element, kCount> *>(
            A::row(p.operands[0], row) + column);
        auto b = *reinterpret_cast<const Vector<typename B::Element, kCount> *>(
            B::row(p.operands[1], row) + column);
        Vector<typename Out::Element, kCount> sum;
#pragma unroll
        for (int i = 0; i < kCount; ++i)
          sum[i] =
              fromFloat<typename Out::Element>(toFloat(a[i]) + toFloat(b[i]));
        *reinterpret_cast<Vector<typename Out::Element, kCount> *>(
            Out::row(p.operands[2], row) + column) = sum;
      });
}

template <int extent, typename In, typename Out>
__device__ void copy(const LaunchParams &p) {
  static_assert(In::kCols == Out::kCols && sizeof(typename In::Element) ==
                                               sizeof(typename Out::Element),
                "a copy changes neither shape nor type");
  constexpr int kCount = commonVector<In, Out>();
  using Values = Vector<typename In::Element, kCount>;
  forEachVector<Out::kCols, kCount>(
      p.step->counts[extent], [&](int64_t row, int64_t column) {
        *reinterpret_cast<Values *>(Out::row(p.operands[1], row) + column) =
            *reinterpret_cast<const Values *>(In::row(p.operands[0], row) +
                                              column);
      });
}

} // namespace saddle::device
