// Rows times Hadamard matrices, for weights that stand for rotated values
// (runtime/ops/Storage.h): the matrix is its own transpose, so instead of the
// weights' rows those of what they multiply are rotated.

#pragma once

#include "runtime/kernels/abi.h"
#include "runtime/kernels/tile/matrix.cuh"
#include "runtime/kernels/tile/reduce.cuh"

namespace saddle::device {

/// values[i] of a lane is element 32 i + lane of a vector of 32 count, which is
/// multiplied by the matrix of that size, entries 1 and -1, in natural order.
template <int count>
__device__ __forceinline__ void rotate(float (&values)[count]) {
  int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int distance = 1; distance < 32; distance *= 2)
#pragma unroll
    for (int i = 0; i < count; ++i) {
      float other = __shfl_xor_sync(kFullWarp, values[i], distance);
      values[i] = lane & distance ? other - values[i] : values[i] + other;
    }
#pragma unroll
  for (int half = 1; half < count; half *= 2)
#pragma unroll
    for (int i = 0; i < count; ++i)
      if (!(i & half)) {
        float a = values[i], b = values[i + half];
        values[i] = a + b;
        values[i + half] = a - b;
      }
}

/// The `columns` elements from `from` on, rotated, to `to`, which may be the
/// same; by a warp.
template <int columns, typename T>
__device__ __forceinline__ void rotateTo(float *to, const T *from) {
  constexpr int kCount = columns / 32;
  static_assert(kCount * 32 == columns, "whole rows of lanes");
  int lane = static_cast<int>(threadIdx.x) % 32;
  float values[kCount];
#pragma unroll
  for (int i = 0; i < kCount; ++i)
    values[i] = toFloat(from[i * 32 + lane]);
  rotate(values);
#pragma unroll
  for (int i = 0; i < kCount; ++i)
    to[i * 32 + lane] = values[i];
}

/// out = x with each `columns` columns rotated, fp32, dense; may be x itself
/// where that is fp32 and dense. A warp takes a group.
template <int extent, int columns, typename X>
__device__ void rotateRows(const LaunchParams &p, const void *x, void *out) {
  constexpr int64_t kGroups = X::kCols / columns;
  static_assert(kGroups * columns == X::kCols, "rows are whole groups");
  int64_t total = static_cast<int64_t>(p.step->counts[extent]) * kGroups;
  int64_t warps = static_cast<int64_t>(gridDim.x) * (blockDim.x / 32);
  for (int64_t i =
           (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) / 32;
       i < total; i += warps) {
    int64_t row = i / kGroups, first = i % kGroups * columns;
    rotateTo<columns>(static_cast<float *>(out) + row * X::kCols + first,
                      X::row(x, row) + first);
  }
}

} // namespace saddle::device
