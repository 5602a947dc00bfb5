// top_candidates and merge_candidates: the largest values of a row, in order.
//
// A CTA holds the keys of up to 16 values per thread in registers and finds the
// K-th largest by radix selection, 8 bits at a time from the top; positions
// follow the values in the key, so no two keys are equal and every choice is
// the same on each run. Then the K winners are ranked against each other. Long
// rows are cut into ranges, a CTA each; a second function takes the best of the
// ranges' candidates. Floor: reading the logits once. Limits:
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

/// Finds the `kept` best of up to `threads` * `perThread` values.
template <int threads, int perThread, int kept>
class CandidateSelection {
  static_assert(threads % 32 == 0 && threads <= kMostThreads &&
                    threads >= kept && kept <= kMostCandidates,
                "whole warps, and a thread for each candidate");
  static_assert(perThread <= kCandidateValues, "keys lie in registers");
  static_assert(kMostCandidateValues <= 65536, "positions have 16 bits");
  static constexpr int kBins = 256, kDigits = 6;

public:
  struct Shared {
    int histogram[kBins];
    int bin, above, inBin; // what the last digit said
    int found;
    uint64_t winners[kept];
  };

  __device__ explicit CandidateSelection(Shared &shared) : shared(shared) {}

  /// Calls emit(rank, position) once for each of the best, on some thread.
  /// There are `kept` values or more; `valueAt(position)` is one of them.
  template <typename ValueAt, typename Emit>
  __device__ void run(int count, ValueAt valueAt, Emit emit) {
    uint32_t keys[perThread];
#pragma unroll
    for (int i = 0; i < perThread; ++i) {
      int position = i * threads + static_cast<int>(threadIdx.x);
      keys[i] = position < count ? candidateKey(valueAt(position)) : 0;
    }
    if (threadIdx.x == 0)
      shared.found = 0;
    // Keys whose upper bits are above `prefix` win, those below lose, and
    // `wanted` of the equal ones win.
    uint64_t prefix = 0;
    int wanted = kept, shift = 8 * kDigits;
    for (bool decided = false; !decided;) {
      shift -= 8;
      count256(keys, prefix, shift);
      pickBin(wanted);
      prefix = prefix << 8 | static_cast<uint64_t>(shared.bin);
      wanted -= shared.above;
      // All of the bin win: no need to look further.
      decided = wanted == shared.inBin || shift == 0;
      __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < perThread; ++i) {
      uint64_t key = keyOf(keys[i], i);
      if (key >> shift >= prefix && keys[i] != 0)
        shared.winners[atomicAdd(&shared.found, 1)] = key;
    }
    __syncthreads();
    if (threadIdx.x >= kept)
      return;
    uint64_t own = shared.winners[threadIdx.x];
    int rank = 0;
#pragma unroll 8
    for (int i = 0; i < kept; ++i)
      rank += shared.winners[i] > own;
    emit(rank, static_cast<int>(0xffffu - (own & 0xffffu)));
  }

private:
  /// The value above, then the position: the earlier one is larger.
  static __device__ __forceinline__ uint64_t keyOf(uint32_t key, int i) {
    uint32_t position = static_cast<uint32_t>(i * threads) + threadIdx.x;
    return static_cast<uint64_t>(key) << 16 | (0xffffu - position);
  }

  /// How many keys that begin with `prefix` have which next digit.
  __device__ void count256(const uint32_t (&keys)[perThread], uint64_t prefix,
                           int shift) {
    for (int bin = static_cast<int>(threadIdx.x); bin < kBins; bin += threads)
      shared.histogram[bin] = 0;
    __syncthreads();
#pragma unroll
    for (int i = 0; i < perThread; ++i) {
      uint64_t key = keyOf(keys[i], i) >> shift;
      bool counts = keys[i] != 0 && key >> 8 == prefix;
      // Logits are much alike: one addition for all of a warp that agree.
      int bin = counts ? static_cast<int>(key & 0xff) : kBins;
      unsigned same = __match_any_sync(kFullWarp, bin);
      if (counts && threadIdx.x % 32 == static_cast<unsigned>(__ffs(same)) - 1)
        atomicAdd(&shared.histogram[bin], __popc(same));
    }
    __syncthreads();
  }

  /// The bin in which the `wanted`-th key from above lies, by the first warp.
  __device__ void pickBin(int wanted) {
    if (threadIdx.x < 32) {
      // Lane 0 has the highest bins.
      constexpr int kPerLane = kBins / 32;
      int first = kBins - 1 - static_cast<int>(threadIdx.x) * kPerLane;
      int own = 0;
#pragma unroll
      for (int i = 0; i < kPerLane; ++i)
        own += shared.histogram[first - i];
      int upTo = own;
#pragma unroll
      for (int distance = 1; distance < 32; distance *= 2) {
        int other = __shfl_up_sync(kFullWarp, upTo, distance);
        if (threadIdx.x >= static_cast<unsigned>(distance))
          upTo += other;
      }
      int above = upTo - own;
      if (above < wanted && wanted <= upTo) {
        int bin = first;
        while (above + shared.histogram[bin] < wanted)
          above += shared.histogram[bin--];
        shared.bin = bin;
        shared.above = above;
        shared.inBin = shared.histogram[bin];
      }
    }
    __syncthreads();
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
  using Selection = CandidateSelection<threads, kPerThread, kept>;
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
  using Selection = CandidateSelection<threads, kPerThread, kKept>;
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
