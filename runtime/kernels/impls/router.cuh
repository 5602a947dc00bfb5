// router_topk: one warp per token. Scores lie in registers, 32 experts apart;
// each of the k rounds takes the best of the lane, then of the warp. Scores,
// order and weights have the bits of the reference: exp is computed in fp64 and
// rounded. Floor: launch latency and k dependent rounds. Up to 1024 experts.

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

/// e^x rounded to fp32, as a good C library gives it but for one value in a
/// thousand million: fp64, relative error 1e-11 before it is rounded.
__device__ __forceinline__ float expRounded(float x) {
  constexpr double kPerLog2 = 1.4426950408889634; // 1 / ln 2
  constexpr double kLog2 = 0.69314718055994531;
  // Beyond these bounds the result is infinite or 0.
  double bounded = fmin(fmax(static_cast<double>(x), -120.0), 120.0);
  double turns = rint(bounded * kPerLog2);
  double r = fma(-turns, kLog2, bounded); // within 0.35
  double y = 1.0 / 3628800;
  y = fma(y, r, 1.0 / 362880);
  y = fma(y, r, 1.0 / 40320);
  y = fma(y, r, 1.0 / 5040);
  y = fma(y, r, 1.0 / 720);
  y = fma(y, r, 1.0 / 120);
  y = fma(y, r, 1.0 / 24);
  y = fma(y, r, 1.0 / 6);
  y = fma(y, r, 0.5);
  y = fma(y, r, 1.0);
  y = fma(y, r, 1.0);
  y = __hiloint2double(__double2hiint(y) + (static_cast<int>(turns) << 20),
                       __double2loint(y));
  return x == x ? static_cast<float>(y) : x;
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
        scores[i] = 1.0f / (1.0f + expRounded(-logits[expert]));
        keys[i] = sortable(scores[i] + bias[expert]);
      }
    }

    i32 *experts = Experts::row(p.operands[3], row);
    for (int j = 0; j < kChosen; ++j) {
      uint32_t best = 0;
#pragma unroll
      for (int i = 0; i < kPerLane; ++i)
        best = max(best, keys[i]);
      best = __reduce_max_sync(kFullWarp, best);
      // Ties: the lower index.
      unsigned mine = ~0u;
#pragma unroll
      for (int i = kPerLane - 1; i >= 0; --i)
        if (keys[i] == best)
          mine = static_cast<unsigned>(i * 32 + lane);
      unsigned expert = __reduce_min_sync(kFullWarp, mine);
#pragma unroll
      for (int i = 0; i < kPerLane; ++i)
        if (expert == static_cast<unsigned>(i * 32 + lane)) {
          experts[j] = static_cast<i32>(expert);
          chosenScores[warp][j] = scores[i];
          keys[i] = 0;
        }
    }
    __syncwarp();
    float sum = 0;
    for (int j = 0; j < kChosen; ++j)
      sum += chosenScores[warp][j];
    float *weights = Weights::row(p.operands[2], row);
    for (int j = lane; j < kChosen; j += 32)
      weights[j] = chosenScores[warp][j] / sum * routedScale;
    __syncwarp();
  }
}

} // namespace saddle::device
