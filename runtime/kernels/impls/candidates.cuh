// top_candidates and merge_candidates: the largest values of a row, in order.
//
// A CTA holds the keys of up to 16 values per thread in registers. To find K of
// them it takes a sample of 2 K or more: the K-th largest of the sample is a
// bound below which no candidate lies, and a good sample leaves some 1.4 K
// values that reach it. These are ranked against each other. The sample of
// values in any order are the largest of as many groups; of lists in order,
// their first. Where very many values reach the bound, since they are equal,
// candidates are found one after the other. Positions follow the values in the
// key, so no two keys are equal and every choice is the same on each run.
//
// Long rows are cut into ranges, a CTA each; a second function takes the best
// of the ranges' candidates. Floor: reading the logits once. Limits:
// shared/candidates.h.

#pragma once

#include "runtime/kernels/abi.h"
#include "runtime/kernels/shared/candidates.h"
#include "runtime/kernels/tile/matrix.cuh"
#include "runtime/kernels/tile/reduce.cuh"

namespace saddle::device {

/// Unsigned integers in the order of candidates: NaN above all numbers, zeros
/// equal. 0 is left for "none".
__device__ __forceinline__ uint32_t candidateKey(float value) {
  if (value != value)
    return ~0u;
  uint32_t bits = __float_as_uint(value == 0 ? 0.f : value);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

/// Finds the `kept` best of up to `threads` * `perThread` values. `lists` of
/// them are lists of `kept` values, one behind the other, each in order as a
/// rule; 0: they lie as they come.
template <int threads, int perThread, int kept, int lists>
class CandidateSelection {
  static_assert(threads % 32 == 0 && threads <= kMostThreads &&
                    threads >= kept && kept <= kMostCandidates,
                "whole warps, and a thread for each candidate");
  static_assert(perThread <= kCandidateValues, "keys lie in registers");
  static_assert(kMostCandidateValues <= 65536, "positions have 16 bits");

  /// The most neighbouring threads, a power of two, of which there are
  /// `wanted` such groups, or 1.
  static constexpr int threadsOfEach(int wanted) {
    int each = 1;
    while (each < 32 && 2 * each * wanted <= threads)
      each *= 2;
    return each;
  }
  static constexpr int kGroupThreads = threadsOfEach(2 * kept);
  /// Of each list.
  static constexpr int kFirst =
      lists == 0 ? 0
                 : min(kept, (2 * kept + lists - 1) / (lists == 0 ? 1 : lists));
  static constexpr int kSamples =
      lists == 0 ? threads / kGroupThreads : lists * kFirst;
  /// Threads that compare a sample with the others.
  static constexpr int kShare = threadsOfEach(kSamples);
  static constexpr int kMostFinalists = 8 * kept;

  static constexpr int min(int a, int b) { return a < b ? a : b; }

public:
  struct Shared {
    uint32_t samples[kSamples];
    uint32_t bound;
    int finalists;
    uint64_t keys[kMostFinalists];
    uint64_t warps[threads / 32];
  };

  __device__ explicit CandidateSelection(Shared &shared) : shared(shared) {}

  /// Calls emit(rank, position) once for each of the best, on some thread.
  /// There are `kept` values or more; `valueAt(position)` is one of them.
  template <typename ValueAt, typename Emit>
  __device__ void run(int count, ValueAt valueAt, Emit emit) {
    uint32_t keys[perThread], own = 0;
#pragma unroll
    for (int i = 0; i < perThread; ++i) {
      int position = i * threads + static_cast<int>(threadIdx.x);
      keys[i] = position < count ? candidateKey(valueAt(position)) : 0;
      own = keys[i] > own ? keys[i] : own;
    }
    findBound(own, valueAt);
    uint32_t bound = shared.bound;
#pragma unroll
    for (int i = 0; i < perThread; ++i)
      if (keys[i] != 0 && keys[i] >= bound) {
        int slot = atomicAdd(&shared.finalists, 1);
        if (slot < kMostFinalists)
          shared.keys[slot] = keyOf(keys[i], i);
      }
    __syncthreads();
    if (shared.finalists > kMostFinalists)
      return takeOneByOne(keys, emit);
    rankFinalists(emit);
  }

private:
  /// The value above, then the position: the earlier one is larger.
  static __device__ __forceinline__ uint64_t keyOf(uint32_t key, int i) {
    uint32_t position = static_cast<uint32_t>(i * threads) + threadIdx.x;
    return static_cast<uint64_t>(key) << 16 | (0xffffu - position);
  }
  static __device__ __forceinline__ int positionOf(uint64_t key) {
    return static_cast<int>(0xffffu - (key & 0xffffu));
  }

  template <typename ValueAt>
  __device__ __forceinline__ void takeSample(uint32_t largest,
                                             ValueAt valueAt) {
    int thread = static_cast<int>(threadIdx.x);
    if constexpr (lists == 0) {
#pragma unroll
      for (int distance = 1; distance < kGroupThreads; distance *= 2) {
        uint32_t other = __shfl_xor_sync(kFullWarp, largest, distance);
        largest = other > largest ? other : largest;
      }
      if (thread % kGroupThreads == 0)
        shared.samples[thread / kGroupThreads] = largest;
    } else {
      for (int i = thread; i < kSamples; i += threads)
        shared.samples[i] =
            candidateKey(valueAt(i / kFirst * kept + i % kFirst));
    }
  }

  /// Sets shared.bound, and shared.finalists to zero. `largest` is a thread's.
  /// A short row may leave samples without values: then the bound can be 0.
  template <typename ValueAt>
  __device__ void findBound(uint32_t largest, ValueAt valueAt) {
    takeSample(largest, valueAt);
    if (threadIdx.x == 0)
      shared.finalists = 0;
    __syncthreads();
    // Neighbouring threads share the comparisons of a sample. Among equals the
    // first is larger, so that each rank is one's.
#pragma unroll 1
    for (int first = 0; first < kSamples * kShare; first += threads) {
      int at = (first + static_cast<int>(threadIdx.x)) / kShare,
          part = static_cast<int>(threadIdx.x) % kShare;
      uint32_t own = at < kSamples ? shared.samples[at] : 0;
      int rank = 0;
#pragma unroll 8
      for (int i = part; i < kSamples; i += kShare) {
        uint32_t other = shared.samples[i];
        rank += other > own || (other == own && i < at);
      }
#pragma unroll
      for (int distance = 1; distance < kShare; distance *= 2)
        rank += __shfl_xor_sync(kFullWarp, rank, distance);
      if (part == 0 && at < kSamples && rank == kept - 1)
        shared.bound = own;
    }
    __syncthreads();
  }

  template <typename Emit>
  __device__ void rankFinalists(Emit emit) {
    int count = shared.finalists;
    for (int at = static_cast<int>(threadIdx.x); at < count; at += threads) {
      uint64_t own = shared.keys[at];
      int rank = 0;
#pragma unroll 8
      for (int i = 0; i < count; ++i)
        rank += shared.keys[i] > own;
      if (rank < kept)
        emit(rank, positionOf(own));
    }
  }

  /// Rank by rank, the largest key below that of the rank before.
  template <typename Emit>
  __device__ void takeOneByOne(const uint32_t (&keys)[perThread], Emit emit) {
    uint64_t last = ~uint64_t(0);
#pragma unroll 1
    for (int rank = 0; rank < kept; ++rank) {
      uint64_t best = 0;
#pragma unroll
      for (int i = 0; i < perThread; ++i) {
        uint64_t key = keyOf(keys[i], i);
        best = keys[i] != 0 && key < last && key > best ? key : best;
      }
      best = largestOfWarp(best);
      if (threadIdx.x % 32 == 0)
        shared.warps[threadIdx.x / 32] = best;
      __syncthreads();
      best = largestOfWarp(
          threadIdx.x % 32 < threads / 32 ? shared.warps[threadIdx.x % 32] : 0);
      if (threadIdx.x == 0)
        emit(rank, positionOf(best));
      last = best;
      __syncthreads();
    }
  }
  static __device__ __forceinline__ uint64_t largestOfWarp(uint64_t key) {
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2) {
      uint64_t other = __shfl_xor_sync(kFullWarp, key, distance);
      key = other > key ? other : key;
    }
    return key;
  }

  Shared &shared;
};

/// The best of a range of each row's logits, [rows, ranges, kept] of values and
/// of tokens. Grid: ranges x rows.
template <int extent, int threads, int ranges, int kept, typename Logits>
__device__ void rangeCandidates(const LaunchParams &p, float *values,
                                i32 *tokens) {
  constexpr int64_t kCols = Logits::kCols;
  constexpr int64_t kLongest = (kCols + ranges - 1) / ranges;
  static_assert(kCols / ranges >= kept, "a range has candidates enough");
  constexpr int kPerThread =
      static_cast<int>((kLongest + threads - 1) / threads);
  using Selection = CandidateSelection<threads, kPerThread, kept, 0>;
  __shared__ typename Selection::Shared shared;
  int64_t row = blockIdx.y, range = blockIdx.x;
  if (row >= p.step->counts[extent])
    return;
  int64_t first = kCols * range / ranges, end = kCols * (range + 1) / ranges;
  const float *logits = Logits::row(p.operands[0], row) + first;
  int64_t out = (row * ranges + range) * kept;
  auto start = static_cast<int64_t>(p.rankValues[0]) + first;
  Selection(shared).run(
      static_cast<int>(end - first), [&](int i) { return logits[i]; },
      [&](int rank, int i) {
        values[out + rank] = logits[i];
        tokens[out + rank] = static_cast<i32>(start + i);
      });
}

/// Operands logits, values, tokens; rank value 0 is the first token. A row at a
/// time.
template <int extent, int threads, typename Logits, typename Values,
          typename Tokens>
__device__ void topCandidates(const LaunchParams &p) {
  static_assert(Values::kStride == Values::kCols &&
                    Tokens::kStride == Tokens::kCols,
                "rows of candidates follow one another");
  rangeCandidates<extent, threads, 1, Values::kCols, Logits>(
      p, static_cast<float *>(p.operands[1]),
      static_cast<i32 *>(p.operands[2]));
}

/// The first of two functions, into the workspace: values, then tokens.
template <int extent, int threads, int ranges, typename Logits, typename Values>
__device__ void topCandidatesOfRanges(const LaunchParams &p) {
  constexpr int64_t kCount = Values::kRows * ranges * Values::kCols;
  auto *values = static_cast<float *>(p.workspace);
  rangeCandidates<extent, threads, ranges, Values::kCols, Logits>(
      p, values, reinterpret_cast<i32 *>(values + kCount));
}

/// The best of a row of candidates. Grid: rows.
template <int extent, int threads, typename Given, typename GivenTokens,
          typename Values, typename Tokens>
__device__ void mergeCandidates(const LaunchParams &p, const void *given,
                                const void *givenTokens, void *outValues,
                                void *outTokens) {
  constexpr int kCount = Given::kCols, kKept = Values::kCols;
  static_assert(kCount >= kKept, "there are candidates enough");
  constexpr int kPerThread = (kCount + threads - 1) / threads;
  constexpr int kLists = kCount % kKept == 0 ? kCount / kKept : 0;
  using Selection = CandidateSelection<threads, kPerThread, kKept, kLists>;
  __shared__ typename Selection::Shared shared;
  int64_t row = blockIdx.x;
  if (row >= p.step->counts[extent])
    return;
  const float *values = Given::row(given, row);
  const i32 *tokens = GivenTokens::row(givenTokens, row);
  Selection(shared).run(
      kCount, [&](int i) { return values[i]; },
      [&](int rank, int i) {
        Values::row(outValues, row)[rank] = values[i];
        Tokens::row(outTokens, row)[rank] = tokens[i];
      });
}

/// The second function of top_candidates: merges what the first has left.
template <int extent, int threads, int ranges, typename Values, typename Tokens>
__device__ void mergeRanges(const LaunchParams &p) {
  constexpr int64_t kRows = Values::kRows, kCols = ranges * Values::kCols;
  auto *values = static_cast<const float *>(p.workspace);
  mergeCandidates<extent, threads, Matrix<f32, kRows, kCols, kCols>,
                  Matrix<i32, kRows, kCols, kCols>, Values, Tokens>(
      p, values, values + kRows * kCols, p.operands[1], p.operands[2]);
}

/// Operands values, tokens, merged values, merged tokens.
template <int extent, int threads, typename Given, typename GivenTokens,
          typename Values, typename Tokens>
__device__ void mergeCandidates(const LaunchParams &p) {
  mergeCandidates<extent, threads, Given, GivenTokens, Values, Tokens>(
      p, p.operands[0], p.operands[1], p.operands[2], p.operands[3]);
}

} // namespace saddle::device
