// router_topk: one CTA per token, one thread per expert. A thread counts the
// experts that go before its own, which is the expert's place; no rounds, and
// little code, which a kernel that runs once has to fetch first. Scores have
// the bits of the reference, as nearly as C libraries agree on exp, and so have
// order and weights. Floor: launch latency, and 3 instructions for each pair of
// experts. Up to 1024 experts.

#pragma once

#include "runtime/kernels/abi.h"
#include "runtime/kernels/tile/matrix.cuh"

namespace saddle::device {

/// Unsigned integers in the order of floats; NaN below all numbers, and 0 is
/// left for "none".
__device__ __forceinline__ uint32_t sortable(float value) {
  uint32_t bits = __float_as_uint(value);
  if (value != value)
    return 1;
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

/// e^x, rounded correctly but where a tie is nearer than 1e-11; C libraries
/// differ from that in one value of some ten thousand, by a unit in the last
/// place.
__device__ __forceinline__ float expRounded(float x) {
  constexpr double kPerLog2 = 1.4426950408889634; // 1 / ln 2
  constexpr double kLog2 = 0.69314718055994531;
  // 1 / 10!, 1 / 9!, ... 1 / 0!
  constexpr double kSeries[] = {1.0 / 3628800, 1.0 / 362880, 1.0 / 40320,
                                1.0 / 5040,    1.0 / 720,    1.0 / 120,
                                1.0 / 24,      1.0 / 6,      0.5,
                                1.0,           1.0};
  // Beyond these bounds the result is infinite or 0.
  float bounded = fminf(fmaxf(x, -120.0f), 120.0f);
  // Any integer near enough: the rest is within 0.35.
  float whole = rintf(bounded * static_cast<float>(kPerLog2));
  double rest =
      fma(-static_cast<double>(whole), kLog2, static_cast<double>(bounded));
  double y = kSeries[0];
#pragma unroll
  for (int term = 1; term <= 10; ++term)
    y = fma(y, rest, kSeries[term]);
  double scaled = __hiloint2double(
      __double2hiint(y) + (static_cast<int>(whole) << 20), __double2loint(y));
  return x == x ? static_cast<float>(scaled) : x;
}

/// Operands logits, bias, weights, experts; CTAs of `threads`.
template <int extent, int threads, typename Logits, typename Weights,
          typename Experts>
__device__ void routerTopK(const LaunchParams &p, float routedScale) {
  constexpr int kExperts = Logits::kCols, kChosen = Weights::kCols;
  static_assert(kExperts <= threads && threads % 32 == 0,
                "each expert has a thread");
  static_assert(kChosen <= kExperts && Experts::kCols == kChosen,
                "as many weights as chosen experts");
  __shared__ alignas(16) uint32_t keys[threads]; // 0: no expert
  __shared__ float chosen[kChosen];              // scores, best first
  int expert = static_cast<int>(threadIdx.x);
  bool isReal = expert < kExperts;

  for (uint32_t row = blockIdx.x; row < p.step->counts[extent];
       row += gridDim.x) {
    float score = 0;
    uint32_t key = 0;
    if (isReal) {
      float decay = -Logits::row(p.operands[0], row)[expert];
      score = 1.0f / (1.0f + expRounded(decay));
      key = sortable(score + static_cast<const float *>(p.operands[1])[expert]);
    }
    keys[expert] = key;
    __syncthreads();
    int place = 0;
#pragma unroll 2
    for (int first = 0; first < threads; first += 4) {
      uint4 others = *reinterpret_cast<const uint4 *>(keys + first);
      // Of equal ones the lower index goes first: one more makes it larger.
      place += others.x + (first < expert) > key;
      place += others.y + (first + 1 < expert) > key;
      place += others.z + (first + 2 < expert) > key;
      place += others.w + (first + 3 < expert) > key;
    }
    if (isReal && place < kChosen) {
      Experts::row(p.operands[3], row)[place] = expert;
      chosen[place] = score;
    }
    __syncthreads();
    if (expert < kChosen) {
      float sum = 0;
      for (int i = 0; i < kChosen; ++i)
        sum += chosen[i];
      Weights::row(p.operands[2], row)[expert] =
          chosen[expert] / sum * routedScale;
    }
  }
}

} // namespace saddle::device
