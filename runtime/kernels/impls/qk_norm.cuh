// qk_norm_rope_kv_append: everything between the QKV projection and attention
// in one launch. Per token: sums of squares of q and k, both rows scaled by
// 1 / rms and weight, heads turned, q written, k and v written to the caches.
//
// One CTA per token reads its rows once and keeps them in registers. The work
// has two halves, sums() and finish(), so that sums over columns of other ranks
// can be exchanged between them. Each step rounds where the single ops do:
// scaled rows to the compute type, then turned rows again. Floor: the bytes of
// the rows; for few tokens a load, a reduction and a store, about 2 us.

#pragma once

#include "runtime/kernels/abi.h"
#include "runtime/kernels/impls/norm.cuh"
#include "runtime/kernels/impls/rope.cuh"

#include <cstring>
#include <type_traits>

namespace saddle::device {

/// Operands, in the order in which the ops of the body name them first
/// (passes/Target/Sm90a/Fusions/QKNorm.cpp). `scaled`: the cache has stored
/// scales.
template <bool scaled>
struct QKNormOperands {
  static constexpr int kQ = 0, kK = 1, kQWeight = 2, kKWeight = 3,
                       kPositions = 4, kKScale = 5, kV = 5 + scaled,
                       kVScale = kV + 1, kSlots = kV + 1 + scaled,
                       kOut = kSlots + 1, kKCache = kOut + 1,
                       kVCache = kOut + 2;
};

/// A thread's part of one token's q, k and v. A cache has one row for each
/// slot.
template <int threads, int headDim, int rotaryDim, typename Q, typename K,
          typename V, typename Out, typename Cache, bool scaled = false>
class QKNormRow {
  static_assert(Q::kCols == Out::kCols && K::kCols == Cache::kCols &&
                    V::kCols == Cache::kCols,
                "q keeps its width, k and v have that of the caches");
  using Units =
      HeadUnits<headDim, rotaryDim, commonVector<Q, K, V, Out, Cache>()>;
  static_assert(sizeof(typename Q::Element) == sizeof(typename K::Element) &&
                    sizeof(typename Q::Element) == sizeof(typename V::Element),
                "q, k and v have one type");
  using Compute = typename Out::Element;
  using At = QKNormOperands<scaled>;
  static constexpr int kCount = Units::kCount;
  static constexpr int kQHeads = Q::kCols / headDim,
                       kHeads = kQHeads + K::kCols / headDim;
  static constexpr int kTurnedUnits = kHeads * Units::kTurned;
  static constexpr int kPassedUnits = kHeads * Units::kPassed;
  static constexpr int kUnits = kTurnedUnits + kPassedUnits + V::kCols / kCount;
  static constexpr int kPerThread = (kUnits + threads - 1) / threads;
  static_assert(kPerThread * kCount <= kRowValues,
                "a thread holds at most 64 values of a token");

public:
  static constexpr int kScratch = 2 * threads / 32;

  __device__ __forceinline__ QKNormRow(const LaunchParams &p, uint32_t row)
      : p(p), row(row),
        slot(static_cast<const i32 *>(p.operands[At::kSlots])[row]),
        cached(static_cast<uint32_t>(slot) < p.step->slots) {
    // Which operand a unit is of decides where it is, not whether it is loaded:
    // behind a branch, its load would end before the next unit's begins.
    constexpr int kBytes = kCount * sizeof(typename Q::Element);
    const uint8_t *from[kPerThread] = {};
    bool isTurned[kPerThread] = {};
    forEach([&](int i, const auto &place) {
      using Place = std::decay_t<decltype(place)>;
      from[i] = reinterpret_cast<const uint8_t *>(
          Place::Source::row(p.operands[Place::kOperand], row) + place.column);
      isTurned[i] = Place::kTurned;
    });
    constexpr int kPartner = Units::kHalf * sizeof(typename Q::Element);
#pragma unroll
    for (int i = 0; i < kPerThread; ++i) {
      if (from[i])
        words[i][0] = loadWords<kBytes>(from[i]);
      if (i * threads < kTurnedUnits && isTurned[i])
        words[i][1] = loadWords<kBytes>(from[i] + kPartner);
    }
  }

  /// Fetches the weights of the row's columns for finish<true>().
  __device__ __forceinline__ void fetchWeights() {
    forEach([&](int i, const auto &place) {
      using Place = std::decay_t<decltype(place)>;
      constexpr int kOperand = Place::kOperand;
      if constexpr (kOperand != At::kV) {
        gammas[i][0] = gamma(kOperand, place.column);
        if constexpr (Place::kTurned)
          gammas[i][1] = gamma(kOperand, place.column + Units::kHalf);
      }
    });
  }

  /// Sums of squares of q and of k over the columns at hand, in every thread.
  __device__ __forceinline__ void sums(float (&sums)[2], float *scratch) const {
    sums[0] = sums[1] = 0;
    forEach([&](int i, const auto &place) {
      using Place = std::decay_t<decltype(place)>;
      constexpr int kOperand = Place::kOperand;
      if constexpr (kOperand != At::kV) {
        float values[1 + Place::kTurned][kCount];
        read(values, i, place);
#pragma unroll
        for (int j = 0; j < kCount; ++j)
#pragma unroll
          for (int part = 0; part < 1 + Place::kTurned; ++part)
            sums[kOperand] += values[part][j] * values[part][j];
      }
    });
    blockSums<threads>(sums, scratch);
  }

  /// Scales by `factors` of q and k, turns by `rotations` and stores.
  template <bool fetched = false>
  __device__ __forceinline__ void finish(const float (&factors)[2],
                                         const Rotation *rotations) {
    float kScale = 1, vScale = 1;
    if constexpr (scaled) {
      kScale = *static_cast<const float *>(p.operands[At::kKScale]);
      vScale = *static_cast<const float *>(p.operands[At::kVScale]);
    }
    forEach([&](int i, const auto &place) {
      using Place = std::decay_t<decltype(place)>;
      constexpr int kOperand = Place::kOperand;
      float values[1 + Place::kTurned][kCount];
      read(values, i, place);
      if constexpr (kOperand == At::kV) {
        divide(values[0], vScale);
        if (cached)
          storeVector<Cache, kCount>(p.operands[At::kVCache], slot,
                                     place.column, values[0]);
      } else {
        auto scalePart = [&](int part, int column) {
          if constexpr (fetched)
            scale(values[part], factors[kOperand], gammas[i][part]);
          else
            scale(values[part], factors[kOperand], gamma(kOperand, column));
        };
        scalePart(0, place.column);
        if constexpr (Place::kTurned) {
          scalePart(1, place.column + Units::kHalf);
#pragma unroll
          for (int j = 0; j < kCount; ++j) {
            rotate(rotations[place.pair + j], values[0][j], values[1][j]);
            values[0][j] = rounded<Compute>(values[0][j]);
            values[1][j] = rounded<Compute>(values[1][j]);
          }
        }
#pragma unroll
        for (int part = 0; part < 1 + Place::kTurned; ++part) {
          int64_t column = place.column + part * Units::kHalf;
          if constexpr (kOperand == At::kK)
            divide(values[part], kScale);
          else if constexpr (scaled)
#pragma unroll
            for (int j = 0; j < kCount; ++j)
              values[part][j] = rounded<Compute>(values[part][j] * kScale);
          if constexpr (kOperand == At::kQ)
            storeVector<Out, kCount>(p.operands[At::kOut], row, column,
                                     values[part]);
          else if (cached)
            storeVector<Cache, kCount>(p.operands[At::kKCache], slot, column,
                                       values[part]);
        }
      }
    });
  }

private:
  /// Where a unit lies: its operand, its first column, whether a partner half a
  /// rotation further belongs to it, and then its first pair.
  template <typename S, int operand, bool turned>
  struct Place {
    using Source = S;
    static constexpr int kOperand = operand;
    static constexpr bool kTurned = turned;
    int column, pair;
  };

  /// Calls visit(i, place) for each unit of this thread. Those that are turned,
  /// which are most work, come before the others, so that lanes of a warp do
  /// the same.
  template <typename Visit>
  static __device__ __forceinline__ void forEach(Visit visit) {
#pragma unroll
    for (int i = 0; i < kPerThread; ++i) {
      int unit = i * threads + static_cast<int>(threadIdx.x);
      if (i * threads < kTurnedUnits && unit < kTurnedUnits)
        visitHead<true, Units::kTurned>(i, unit, 0, visit);
      else if (i * threads < kTurnedUnits + kPassedUnits &&
               unit < kTurnedUnits + kPassedUnits)
        visitHead<false, Units::kPassed>(i, unit - kTurnedUnits, rotaryDim,
                                         visit);
      else if (unit < kUnits)
        visit(i, Place<V, At::kV, false>{
                     (unit - kTurnedUnits - kPassedUnits) * kCount, 0});
    }
  }
  /// Of the `perHead` units of each head of q, then of k, that begin behind
  /// `first` columns.
  template <bool turned, int perHead, typename Visit>
  static __device__ __forceinline__ void visitHead(int i, int unit, int first,
                                                   Visit visit) {
    if constexpr (perHead > 0) {
      int head = unit / perHead, in = unit % perHead * kCount;
      if (head < kQHeads)
        visit(i, Place<Q, At::kQ, turned>{head * headDim + first + in, in});
      else
        visit(i, Place<K, At::kK, turned>{
                     (head - kQHeads) * headDim + first + in, in});
    }
  }

  /// By a stored scale of the cache, if it has them.
  static __device__ __forceinline__ void divide(float (&x)[kCount],
                                                float scale) {
    if constexpr (scaled)
#pragma unroll
      for (int j = 0; j < kCount; ++j)
        x[j] = rounded<Compute>(__fdiv_rn(x[j], scale));
  }

  template <int bytes>
  static __device__ __forceinline__ uint4 loadWords(const uint8_t *from) {
    struct alignas(bytes) Access {
      uint8_t bytesOf[bytes];
    };
    uint4 result = {};
    if constexpr (bytes == sizeof(result)) {
      result = *reinterpret_cast<const uint4 *>(from);
    } else {
      Access access = *reinterpret_cast<const Access *>(from);
      memcpy(&result, &access, bytes);
    }
    return result;
  }
  /// What was loaded, as numbers.
  template <int parts, typename Place>
  __device__ __forceinline__ void read(float (&values)[parts][kCount], int i,
                                       const Place &) const {
#pragma unroll
    for (int part = 0; part < parts; ++part) {
      Vector<typename Place::Source::Element, kCount> x;
      memcpy(&x, &words[i][part], sizeof(x));
#pragma unroll
      for (int j = 0; j < kCount; ++j)
        values[part][j] = toFloat(x[j]);
    }
  }

  using Gammas = Vector<float, kCount>;
  /// Weights of q or k from `column` on.
  __device__ __forceinline__ Gammas gamma(int operand, int column) const {
    return *reinterpret_cast<const Gammas *>(
        static_cast<const float *>(p.operands[At::kQWeight + operand]) +
        column);
  }
  __device__ __forceinline__ void scale(float (&x)[kCount], float factor,
                                        const Gammas &gamma) {
#pragma unroll
    for (int j = 0; j < kCount; ++j)
      x[j] = rounded<Compute>(x[j] * factor * gamma[j]);
  }

  const LaunchParams &p;
  uint32_t row;
  // Fetched with the row, not behind its sums.
  i32 slot;
  bool cached; // whether the slot is one of the caches'
  // As they are in memory: a conversion waits for its load.
  uint4 words[kPerThread][2];
  Gammas gammas[kPerThread][2]; // unused, and so nowhere, unless fetched
};

/// Norms over the columns at hand: of q over `qDivisor` values, of k over
/// `kDivisor`. A token whose slot lies outside writes q only.
template <int extent, int threads, int headDim, int rotaryDim, typename Q,
          typename K, typename V, typename Out, typename Cache,
          bool scaled = false>
__device__ void qkNormRopeKVAppend(const LaunchParams &p, float qDivisor,
                                   float kDivisor, float eps,
                                   const float *frequencies) {
  using Row =
      QKNormRow<threads, headDim, rotaryDim, Q, K, V, Out, Cache, scaled>;
  __shared__ Rotation rotations[rotaryDim / 2];
  __shared__ float scratch[Row::kScratch];
  for (uint32_t row = blockIdx.x; row < p.step->counts[extent];
       row += gridDim.x) {
    Row mine(p, row);
    fillRotations<rotaryDim / 2>(
        frequencies,
        static_cast<const i32 *>(
            p.operands[QKNormOperands<scaled>::kPositions])[row],
        rotations);
    float sums[2];
    mine.sums(sums, scratch); // a barrier: rotations are there
    float factors[2] = {rmsFactor(sums[0], qDivisor, eps),
                        rmsFactor(sums[1], kDivisor, eps)};
    mine.finish(factors, rotations);
    __syncthreads();
  }
}

} // namespace saddle::device
