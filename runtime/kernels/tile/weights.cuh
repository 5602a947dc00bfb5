// Weights of any storage as fp32 values: plain, or with one multiplier per
// block.

#pragma once

#include "runtime/kernels/tile/matrix.cuh"

namespace saddle::device {

/// Weights that are what they say.
struct Unscaled {
  static constexpr int64_t kBlockCols = 1;
  static constexpr bool kScaled = false;
  static __device__ __forceinline__ const float *row(const void *, int64_t,
                                                     int64_t) {
    return nullptr;
  }
};

/// Multipliers of a stack of matrices: `Scales` has the rows of all members
/// below each other, `memberRows` for each.
template <typename Scales, int64_t blockRows, int64_t blockCols,
          int64_t memberRows = Scales::kRows>
struct BlockScaled {
  static constexpr bool kScaled = true;
  static constexpr int64_t kBlockRows = blockRows;
  static constexpr int64_t kBlockCols = blockCols;

  /// The multipliers of a row, one per blockCols columns.
  static __device__ __forceinline__ const float *
  row(const void *base, int64_t member, int64_t index) {
    return Scales::row(base, member * memberRows + index / blockRows);
  }
};

/// sums[i] = the sum over k of row i of x times the weight at k, by the lanes
/// of a warp; every lane gets all sums. `x(i, k)` is called for i < count <=
/// most; `scales` is null for Unscaled.
template <typename Scale, int most, typename ReadX, typename W>
__device__ __forceinline__ void dotRows(float (&sums)[most], int count, ReadX x,
                                        const W *weights, const float *scales,
                                        int64_t cols) {
#pragma unroll
  for (int i = 0; i < most; ++i)
    sums[i] = 0;
  for (int64_t k = threadIdx.x % 32; k < cols; k += 32) {
    float weight = toFloat(weights[k]);
    if constexpr (Scale::kScaled)
      weight *= scales[k / Scale::kBlockCols];
#pragma unroll
    for (int i = 0; i < most; ++i)
      if (i < count)
        sums[i] += x(i, k) * weight;
  }
#pragma unroll
  for (int i = 0; i < most; ++i)
    sums[i] = warpSum(sums[i]);
}

} // namespace saddle::device
