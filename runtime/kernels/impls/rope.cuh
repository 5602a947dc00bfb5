// rope and kv_append. rope: one CTA per row computes the row's rotations once
// and turns all heads by them. kv_append: a thread per vector of k and v, which
// become rows of the paged caches. Floor: the bytes of the rows. Any shape;
// scalar where rows or heads do not allow vectors.

#pragma once

#include "runtime/kernels/abi.h"
#include "runtime/kernels/tile/rotation.cuh"
#include "runtime/kernels/tile/vectors.cuh"

namespace saddle::device {

/// How a row of heads is cut into units of work: in each head `kTurned` vectors
/// of the lower half of the rotated part, each with its partner in the upper
/// half, then the vectors that pass.
template <int headDim, int rotaryDim, int widest>
struct HeadUnits {
  static_assert(rotaryDim % 2 == 0 && rotaryDim <= headDim,
                "whole pairs inside the head are rotated");
  static constexpr int kHalf = rotaryDim / 2;
  static constexpr int kCount =
      headDim % widest == 0 && kHalf % widest == 0 ? widest : 1;
  static constexpr int kTurned = kHalf / kCount;
  static constexpr int kPassed = (headDim - rotaryDim) / kCount;
  static constexpr int kPerHead = kTurned + kPassed;
};

/// Fills table[0 .. half) for `position`, by all threads of the CTA.
template <int half>
__device__ __forceinline__ void fillRotations(const float *frequencies,
                                              i32 position, Rotation *table) {
  for (int j = static_cast<int>(threadIdx.x); j < half;
       j += static_cast<int>(blockDim.x))
    table[j] = rotationBy(static_cast<float>(position) * frequencies[j]);
}

/// The same by each warp for itself, whose lanes keep the frequencies of their
/// pairs.
template <int half>
class WarpRotations {
public:
  __device__ __forceinline__ explicit WarpRotations(const float *frequencies) {
    forEach([&](int i, int pair) { kept[i] = frequencies[pair]; });
  }
  /// All lanes see the table behind this, and are done with the one before.
  __device__ __forceinline__ void fill(i32 position, Rotation *table) const {
    __syncwarp();
    forEach([&](int i, int pair) {
      table[pair] = rotationBy(static_cast<float>(position) * kept[i]);
    });
    __syncwarp();
  }

private:
  static constexpr int kEach = (half + 31) / 32;
  template <typename Visit>
  static __device__ __forceinline__ void forEach(Visit visit) {
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      int pair = i * 32 + static_cast<int>(threadIdx.x % 32);
      if (pair < half)
        visit(i, pair);
    }
  }
  float kept[kEach];
};

/// Operands x, positions, out; may work in place. `frequencies`: radians per
/// position of each of the rotaryDim / 2 pairs.
template <int extent, int headDim, int rotaryDim, typename X, typename Out>
__device__ void rope(const LaunchParams &p, const float *frequencies) {
  static_assert(X::kCols == Out::kCols && X::kCols % headDim == 0,
                "a row is whole heads");
  using Units = HeadUnits<headDim, rotaryDim, commonVector<X, Out>()>;
  constexpr int kCount = Units::kCount;
  __shared__ Rotation table[Units::kHalf];
  for (uint32_t row = blockIdx.x; row < p.step->counts[extent];
       row += gridDim.x) {
    fillRotations<Units::kHalf>(
        frequencies, static_cast<const i32 *>(p.operands[1])[row], table);
    __syncthreads();
    constexpr int kUnits = X::kCols / headDim * Units::kPerHead;
    for (int unit = static_cast<int>(threadIdx.x); unit < kUnits;
         unit += static_cast<int>(blockDim.x)) {
      int head = unit / Units::kPerHead * headDim;
      int inHead = unit % Units::kPerHead;
      if (inHead >= Units::kTurned) {
        int column = head + rotaryDim + (inHead - Units::kTurned) * kCount;
        auto x = loadVector<X, kCount>(p.operands[0], row, column);
        float values[kCount];
#pragma unroll
        for (int i = 0; i < kCount; ++i)
          values[i] = toFloat(x[i]);
        storeVector<Out, kCount>(p.operands[2], row, column, values);
        continue;
      }
      int pair = inHead * kCount, column = head + pair;
      auto x = loadVector<X, kCount>(p.operands[0], row, column);
      auto y = loadVector<X, kCount>(p.operands[0], row, column + Units::kHalf);
      float low[kCount], high[kCount];
#pragma unroll
      for (int i = 0; i < kCount; ++i) {
        low[i] = toFloat(x[i]);
        high[i] = toFloat(y[i]);
        rotate(table[pair + i], low[i], high[i]);
      }
      storeVector<Out, kCount>(p.operands[2], row, column, low);
      storeVector<Out, kCount>(p.operands[2], row, column + Units::kHalf, high);
    }
    __syncthreads();
  }
}

/// Rounds row `row` of `source` into row `slot` of a cache, `kCount` values
/// from `column` on.
template <typename Source, typename Cache, int count>
__device__ __forceinline__ void appendVector(const void *source, uint32_t row,
                                             void *cache, i32 slot,
                                             int64_t column) {
  auto x = loadVector<Source, count>(source, row, column);
  float values[count];
#pragma unroll
  for (int i = 0; i < count; ++i)
    values[i] = toFloat(x[i]);
  storeVector<Cache, count>(cache, slot, column, values);
}

/// Operands k, v, slots, kcache, vcache; the caches as one row for each slot.
/// Tokens whose slot lies outside are skipped.
template <int extent, typename K, typename V, typename Cache>
__device__ void kvAppend(const LaunchParams &p) {
  static_assert(K::kCols == Cache::kCols && V::kCols == Cache::kCols,
                "a slot holds all kv heads");
  constexpr int kCount = commonVector<K, V, Cache>();
  forEachVector<Cache::kCols, kCount>(
      p.step->counts[extent], [&](int64_t row, int64_t column) {
        i32 slot = static_cast<const i32 *>(p.operands[2])[row];
        if (static_cast<uint32_t>(slot) >= p.step->slots)
          return;
        appendVector<K, Cache, kCount>(p.operands[0], row, p.operands[3], slot,
                                       column);
        appendVector<V, Cache, kCount>(p.operands[1], row, p.operands[4], slot,
                                       column);
      });
}

} // namespace saddle::device
