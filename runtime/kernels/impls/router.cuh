// router_topk, softmax_topk and shared_gate. Of the first two, for few tokens:
// one CTA per token, one thread per expert. A thread counts the experts that go
// before its own, first within its warp; the best of each warp are counted once
// more among each other, by eight lanes each. No rounds, and little code, which
// a kernel that runs once has to fetch first. For many tokens, where
// instructions count and not their latency, a warp per token finds the best of
// what is left, one after the other. Scores have the bits of the reference, as
// nearly as C libraries agree on exp, and so have order and weights. Floor:
// launch latency and some 500 instructions of a warp. Up to 1024 experts.

#pragma once

#include "runtime/kernels/abi.h"
#include "runtime/kernels/tile/matrix.cuh"
#include "runtime/kernels/tile/reduce.cuh"

namespace saddle::device {

/// Unsigned integers in the order of floats, to which zeros of both signs are
/// one number; NaN below all numbers, and 0 is left for "none".
__device__ __forceinline__ uint32_t sortable(float value) {
  uint32_t bits = __float_as_uint(value + 0.0f);
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

/// How many of `count` keys go before `mine`: the larger ones, and of equal
/// ones those of lower numbers than `number`.
template <int count, typename KeyOf>
__device__ __forceinline__ int countBefore(uint32_t mine, int number,
                                           KeyOf keyOf) {
  int before = 0;
#pragma unroll 8
  for (int i = 0; i < count; ++i)
    before += keyOf(i) + (i < number) > mine; // no key is the largest integer
  return before;
}

/// router_topk: the largest sigmoid(logit) + bias; weights are the sigmoids,
/// with a sum of `routedScale`.
struct SigmoidScores {
  const float *bias;
  float routedScale;

  __device__ __forceinline__ float of(float logit) const {
    return 1.0f / (1.0f + expRounded(-logit));
  }
  __device__ __forceinline__ float rank(float score, int expert) const {
    return score + bias[expert];
  }
  __device__ __forceinline__ float weight(float score, float) const {
    return score;
  }
};

/// softmax_topk: the largest logits; what the softmax divides by cancels.
struct SoftmaxScores {
  static constexpr float routedScale = 1;

  __device__ __forceinline__ float of(float logit) const { return logit; }
  __device__ __forceinline__ float rank(float score, int) const {
    return score;
  }
  __device__ __forceinline__ float weight(float score, float largest) const {
    return expRounded(score - largest);
  }
};

/// The experts of one token, by the first `threads` threads of a CTA; the
/// others meet them at two barriers. logitOf(expert) is asked for each once.
/// Between two calls of a CTA there is a barrier.
template <int threads, int experts, int chosen, typename LogitOf,
          typename Scores>
__device__ __forceinline__ void
chooseExperts(LogitOf logitOf, const Scores &rule, float *weightsOut,
              int32_t *expertsOut) {
  static_assert(experts <= threads && threads % 32 == 0,
                "each expert has a thread");
  static_assert(chosen <= experts, "nobody chooses an expert twice");
  constexpr int kOfWarp = chosen < 32 ? chosen : 32;
  constexpr int kFinalists = threads / 32 * kOfWarp;
  __shared__ uint32_t keys[kFinalists]; // 0: no expert
  __shared__ int numbers[kFinalists];
  __shared__ float scores[kFinalists];
  __shared__ float best[chosen]; // scores, best first
  int thread = static_cast<int>(threadIdx.x), lane = thread % 32;

  if (thread < threads) {
    float score = 0;
    uint32_t key = 0;
    if (thread < experts) {
      score = rule.of(logitOf(thread));
      key = sortable(rule.rank(score, thread));
    }
    int place = countBefore<32>(
        key, lane, [&](int i) { return __shfl_sync(kFullWarp, key, i); });
    if (place < kOfWarp) {
      int finalist = thread / 32 * kOfWarp + place;
      keys[finalist] = key;
      numbers[finalist] = thread;
      scores[finalist] = score;
    }
  }
  __syncthreads();
  // In the order of warps, so that of equal keys the lower expert still has
  // the lower number. Some lanes count for one finalist: alone, a thread would
  // take as long as all else here.
  constexpr int kLanes = 8, kTasks = (kFinalists * kLanes + 31) / 32 * 32;
  for (int task = thread; task < kTasks; task += blockDim.x) {
    int finalist = task / kLanes, part = task % kLanes;
    uint32_t key = finalist < kFinalists ? keys[finalist] : 0;
    int place = countBefore<(kFinalists + kLanes - 1) / kLanes>(
        key, (finalist - part + kLanes - 1) / kLanes, [&](int i) {
          int other = i * kLanes + part;
          return other < kFinalists ? keys[other] : 0;
        });
#pragma unroll
    for (int distance = kLanes / 2; distance > 0; distance /= 2)
      place += __shfl_xor_sync(kFullWarp, place, distance);
    if (part == 0 && key != 0 && place < chosen) {
      expertsOut[place] = numbers[finalist];
      best[place] = scores[finalist];
    }
  }
  __syncthreads();
  for (int i = thread; i < chosen; i += blockDim.x) {
    float sum = 0;
    for (int j = 0; j < chosen; ++j)
      sum += rule.weight(best[j], best[0]);
    weightsOut[i] = rule.weight(best[i], best[0]) / sum * rule.routedScale;
  }
}

/// The experts of one token, by a warp; logitOf(expert) is asked for each once.
template <int experts, int chosen, typename LogitOf, typename Scores>
__device__ __forceinline__ void
chooseExpertsOfWarp(LogitOf logitOf, const Scores &rule, float *weightsOut,
                    int32_t *expertsOut) {
  static_assert(chosen <= experts && chosen <= 32, "a lane has a chosen one");
  // Lane by lane successive experts: of equal keys that of the lowest lane, and
  // there the first one, is the lowest expert.
  constexpr int kEach = (experts + 31) / 32;
  int lane = static_cast<int>(threadIdx.x) % 32;
  float scores[kEach];
  uint32_t keys[kEach]; // 0: no expert
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    int expert = lane * kEach + i;
    bool real = experts % 32 == 0 || expert < experts;
    scores[i] = real ? rule.of(logitOf(expert)) : 0;
    keys[i] = real ? sortable(rule.rank(scores[i], expert)) : 0;
  }
  float mine = 0, sum = 0, largest = 0; // of the lane's chosen one, and of all
  int number = 0;
#pragma unroll 1
  for (int place = 0; place < chosen; ++place) {
    uint32_t key = keys[0];
    int at = 0;
#pragma unroll
    for (int i = 1; i < kEach; ++i)
      if (keys[i] > key) {
        key = keys[i];
        at = i;
      }
    uint32_t best = __reduce_max_sync(kFullWarp, key);
    int owner = __ffs(__ballot_sync(kFullWarp, key == best)) - 1;
    float score = scores[0];
#pragma unroll
    for (int i = 1; i < kEach; ++i)
      score = at == i ? scores[i] : score;
    score = __shfl_sync(kFullWarp, score, owner);
    int expert = __shfl_sync(kFullWarp, lane * kEach + at, owner);
    if (place == 0)
      largest = score;
    sum += rule.weight(score, largest);
    if (lane == place) {
      mine = score;
      number = expert;
    }
#pragma unroll
    for (int i = 0; i < kEach; ++i)
      if (lane == owner && at == i)
        keys[i] = 0;
  }
  if (lane < chosen) {
    weightsOut[lane] = rule.weight(mine, largest) / sum * rule.routedScale;
    expertsOut[lane] = number;
  }
}

/// Calls choose(row, logitOf) for all rows, a warp each.
template <int extent, typename Logits, typename Choose>
__device__ __forceinline__ void forEachRowOfWarp(const LaunchParams &p,
                                                 Choose choose) {
  uint32_t warps = gridDim.x * blockDim.x / 32;
  for (uint32_t row = (blockIdx.x * blockDim.x + threadIdx.x) / 32;
       row < p.step->counts[extent]; row += warps)
    choose(row,
           [&](int expert) { return Logits::row(p.operands[0], row)[expert]; });
}

/// Operands logits, bias, weights, experts; CTAs of any number of warps.
template <int extent, typename Logits, typename Weights, typename Experts>
__device__ void routerTopKOfWarps(const LaunchParams &p, float routedScale) {
  SigmoidScores rule = {static_cast<const float *>(p.operands[1]), routedScale};
  forEachRowOfWarp<extent, Logits>(p, [&](uint32_t row, auto logitOf) {
    chooseExpertsOfWarp<Logits::kCols, Weights::kCols>(
        logitOf, rule, Weights::row(p.operands[2], row),
        Experts::row(p.operands[3], row));
  });
}

/// Operands logits, weights, experts; CTAs of any number of warps.
template <int extent, typename Logits, typename Weights, typename Experts>
__device__ void softmaxTopKOfWarps(const LaunchParams &p) {
  forEachRowOfWarp<extent, Logits>(p, [&](uint32_t row, auto logitOf) {
    chooseExpertsOfWarp<Logits::kCols, Weights::kCols>(
        logitOf, SoftmaxScores{}, Weights::row(p.operands[1], row),
        Experts::row(p.operands[2], row));
  });
}

/// Operands logits, bias, weights, experts; CTAs of `threads`.
template <int extent, int threads, typename Logits, typename Weights,
          typename Experts>
__device__ void routerTopK(const LaunchParams &p, float routedScale) {
  static_assert(Experts::kCols == Weights::kCols,
                "as many weights as chosen experts");
  for (uint32_t row = blockIdx.x; row < p.step->counts[extent];
       row += gridDim.x) {
    chooseExperts<threads, Logits::kCols, Weights::kCols>(
        [&](int expert) { return Logits::row(p.operands[0], row)[expert]; },
        SigmoidScores{static_cast<const float *>(p.operands[1]), routedScale},
        Weights::row(p.operands[2], row), Experts::row(p.operands[3], row));
    __syncthreads();
  }
}

/// Operands logits, weights, experts; CTAs of `threads`.
template <int extent, int threads, typename Logits, typename Weights,
          typename Experts>
__device__ void softmaxTopK(const LaunchParams &p) {
  static_assert(Experts::kCols == Weights::kCols,
                "as many weights as chosen experts");
  for (uint32_t row = blockIdx.x; row < p.step->counts[extent];
       row += gridDim.x) {
    chooseExperts<threads, Logits::kCols, Weights::kCols>(
        [&](int expert) { return Logits::row(p.operands[0], row)[expert]; },
        SoftmaxScores{}, Weights::row(p.operands[1], row),
        Experts::row(p.operands[2], row));
    __syncthreads();
  }
}

/// Operands weights, logit, routed, shared, experts; a thread for each token.
template <int extent, typename Weights, typename Logit, typename Routed,
          typename Shared, typename Experts>
__device__ void sharedGate(const LaunchParams &p) {
  static_assert(Routed::kCols == Weights::kCols && Logit::kCols == 1 &&
                    Shared::kCols == 1 && Experts::kCols == 1,
                "one gate for each token");
  for (uint32_t row = blockIdx.x * blockDim.x + threadIdx.x;
       row < p.step->counts[extent]; row += gridDim.x * blockDim.x) {
    float logit = *Logit::row(p.operands[1], row);
    const float *given = Weights::row(p.operands[0], row);
    float *left = Routed::row(p.operands[2], row);
    float rest = 1.0f / (1.0f + expf(logit)); // 1 - sigmoid
#pragma unroll
    for (int j = 0; j < Weights::kCols; ++j)
      left[j] = rest * given[j];
    *Shared::row(p.operands[3], row) = 1.0f / (1.0f + expf(-logit));
    *Experts::row(p.operands[4], row) = 0;
  }
}

} // namespace saddle::device
