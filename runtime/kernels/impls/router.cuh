// router_topk: one warp per token. Scores lie in registers, 32 experts apart;
// each of the k rounds takes the best of the lane, then of the warp. Scores
// have the bits of the reference, as nearly as C libraries agree on exp, and so
// have order and weights. Floor: launch latency and k dependent rounds. Up to
// 1024 experts.

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

/// e^x of several values side by side (fp64 takes long), rounded correctly but
/// where a tie is nearer than 1e-11; C libraries differ from that in one value
/// of some ten thousand, by a unit in the last place.
template <int count>
__device__ __forceinline__ void expRounded(float (&x)[count]) {
  constexpr double kPerLog2 = 1.4426950408889634; // 1 / ln 2
  constexpr double kLog2 = 0.69314718055994531;
  // 1 / 10!, 1 / 9!, ... 1 / 0!
  constexpr double kSeries[] = {1.0 / 3628800, 1.0 / 362880, 1.0 / 40320,
                                1.0 / 5040,    1.0 / 720,    1.0 / 120,
                                1.0 / 24,      1.0 / 6,      0.5,
                                1.0,           1.0};
  double rest[count], y[count];
  int turns[count];
#pragma unroll
  for (int i = 0; i < count; ++i) {
    // Beyond these bounds the result is infinite or 0.
    float bounded = fminf(fmaxf(x[i], -120.0f), 120.0f);
    // Any integer near enough: the rest is within 0.35.
    float whole = rintf(bounded * static_cast<float>(kPerLog2));
    turns[i] = static_cast<int>(whole);
    rest[i] =
        fma(-static_cast<double>(whole), kLog2, static_cast<double>(bounded));
    y[i] = kSeries[0];
  }
#pragma unroll
  for (int term = 1; term <= 10; ++term)
#pragma unroll
    for (int i = 0; i < count; ++i)
      y[i] = fma(y[i], rest[i], kSeries[term]);
#pragma unroll
  for (int i = 0; i < count; ++i) {
    double scaled = __hiloint2double(__double2hiint(y[i]) + (turns[i] << 20),
                                     __double2loint(y[i]));
    x[i] = x[i] == x[i] ? static_cast<float>(scaled) : x[i];
  }
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
    constexpr int kBatch = kPerLane % 8 == 0 ? 8 : 1;
#pragma unroll
    for (int first = 0; first < kPerLane; first += kBatch) {
      float decay[kBatch];
#pragma unroll
      for (int i = 0; i < kBatch; ++i) {
        int expert = (first + i) * 32 + lane;
        decay[i] = expert < kExperts ? -logits[expert] : 0;
      }
      expRounded(decay);
#pragma unroll
      for (int i = 0; i < kBatch; ++i) {
        int expert = (first + i) * 32 + lane;
        scores[first + i] = 1.0f / (1.0f + decay[i]);
        keys[first + i] =
            expert < kExperts ? sortable(scores[first + i] + bias[expert]) : 0;
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
