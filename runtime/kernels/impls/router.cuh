// router_topk: one warp per token. Scores lie in registers, 32 experts apart;
// each of the k rounds takes the best of the lane, then of the warp. Scores,
// order and weights have the bits of the reference: exp is computed in fp64 and
// rounded, as a good C library does. Floor: launch latency; k rounds of about
// 60 cycles. Up to 1024 experts.

#pragma once

#include "runtime/kernels/abi.h"
#include "runtime/kernels/tile/matrix.cuh"
#include "runtime/kernels/tile/reduce.cuh"

namespace saddle::device {

/// Unsigned integers in the order of floats; NaN below all numbers, and 0 is
/// left for "none".
__device__ __forceinline__ uint32_t sortable(float value) {
  uint32_t bits = __float_as_uint(value);
  if (value != value)
    return 1;
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

/// Operands logits, bias, weights, experts. `warps` tokens per CTA.
template <int extent, int warps, typename Logits, typename Weights,
          typename Experts>
__device__ void routerTopK(const LaunchParams &p, float routedScale) {
  constexpr int kExperts = Logits::kCols, kChosen = Weights::kCols;
  constexpr int kPerLane = (kExperts + 31) / 32;
  static_assert(kPerLane <= 32, "at most 1024 experts fit a warp's registers");
  static_assert(kChosen <= kExperts && Experts::kCols == kChosen,
                "as many weights as chosen experts");
  __shared__ float chosenScores[warps][kChosen];
  int lane = static_cast<int>(threadIdx.x) % 32;
  int warp = static_cast<int>(threadIdx.x) / 32;
  const float *bias = static_cast<const float *>(p.operands[1]);

  for (uint32_t row = blockIdx.x * warps + warp; row < p.step->counts[extent];
       row += gridDim.x * warps) {
    const float *logits = Logits::row(p.operands[0], row);
    float scores[kPerLane];
    uint32_t keys[kPerLane]; // 0: taken, or no expert
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) {
      int expert = i * 32 + lane;
      keys[i] = 0;
      if (expert < kExperts) {
        auto decay =
            static_cast<float>(exp(-static_cast<double>(logits[expert])));
        scores[i] = 1.0f / (1.0f + decay);
        keys[i] = sortable(scores[i] + bias[expert]);
      }
    }

    float sum = 0;
    i32 *experts = Experts::row(p.operands[3], row);
    for (int j = 0; j < kChosen; ++j) {
      uint32_t bestKey = 0;
      int best = 0;
#pragma unroll
      for (int i = 0; i < kPerLane; ++i)
        if (keys[i] > bestKey) {
          bestKey = keys[i];
          best = i;
        }
      uint32_t warpKey = __reduce_max_sync(kFullWarp, bestKey);
      // Ties: the lower index.
      auto mine = static_cast<unsigned>(best * 32 + lane);
      unsigned expert =
          __reduce_min_sync(kFullWarp, bestKey == warpKey ? mine : ~0u);
      float score = 0;
#pragma unroll
      for (int i = 0; i < kPerLane; ++i)
        if (mine == expert && i == best) {
          score = scores[i];
          keys[i] = 0;
        }
      score = __shfl_sync(kFullWarp, score, static_cast<int>(expert % 32));
      sum += score;
      if (lane == 0) {
        experts[j] = static_cast<i32>(expert);
        chosenScores[warp][j] = score;
      }
    }
    __syncwarp();
    float *weights = Weights::row(p.operands[2], row);
    for (int j = lane; j < kChosen; j += 32)
      weights[j] = chosenScores[warp][j] / sum * routedScale;
    __syncwarp();
  }
}

} // namespace saddle::device
