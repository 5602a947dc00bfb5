// A matrix whose shape and row stride are known when a kernel is compiled.

#pragma once

#include "runtime/kernels/tile/types.cuh"

namespace saddle::device {

/// `rows` x `cols` elements, rows `stride` elements apart, at an address that
/// is a multiple of `alignment` bytes. `rows` is the most that a launch can
/// have; how many are real stands in the step header.
template <typename T, int64_t rows, int64_t cols, int64_t stride,
          int alignment = 16>
struct Matrix {
  using Element = T;
  static constexpr int64_t kRows = rows;
  static constexpr int64_t kCols = cols;
  static constexpr int64_t kStride = stride;

  static __device__ __forceinline__ T *row(void *base, int64_t index) {
    return static_cast<T *>(base) + index * stride;
  }
  static __device__ __forceinline__ const T *row(const void *base,
                                                 int64_t index) {
    return static_cast<const T *>(base) + index * stride;
  }
  /// Whether rows can be read `count` elements at a time.
  static __host__ __device__ constexpr bool isVectorizable(int count) {
    return cols % count == 0 && stride % count == 0 &&
           alignment % (count * sizeof(T)) == 0;
  }
};

} // namespace saddle::device
