// How the kernel of impls/qk_norm_attention.cuh divides its work.

#ifndef SADDLE_RUNTIME_KERNELS_SHARED_QK_NORM_ATTENTION_H
#define SADDLE_RUNTIME_KERNELS_SHARED_QK_NORM_ATTENTION_H

#include "runtime/kernels/shared/attention.h"
#include "runtime/kernels/shared/sizes.h"

namespace saddle::device {

struct QKNormAttentionLayout {
  /// Of a round of positions a warp has a tile's scores, and of all of it a
  /// share of the dims.
  static constexpr int kWarps = 4, kThreads = kWarps * 32;
  static constexpr int kRound = kWarps * kDecodeTile;
  static constexpr int kCtas = 16;
  /// With three CTAs for a multiprocessor there is room for one beside two of
  /// the product before (160 registers).
  static constexpr int kResident = 3;
  /// Several tokens may be of one sequence, and then read what others write.
  static constexpr int kMostTokens = 1;
  /// Clusters that may share a kv head, as many as make so many CTAs for each
  /// multiprocessor, and from how many positions on each takes a part.
  static constexpr int kMostParts = 4, kCtasOfMultiprocessor = 2,
                       kPositionsOfPart = 2048;

  /// Pairs of a rotation are of one lane.
  static constexpr bool rotates(int64_t headDim, int64_t rotaryDim) {
    return rotaryDim % 64 == 0 && rotaryDim <= headDim;
  }
  /// Whether the longest context is short enough. On an H200 at tp=2, with
  /// 8192 positions a layer takes 2.6 us less than with ranges and their
  /// combination, with 32,000 8 us more.
  static constexpr bool isShort(int64_t maxContext, int64_t parts) {
    constexpr int64_t kLongest = 10 * 1024;
    return maxContext <= kLongest && maxContext <= 5 * kRound * kCtas * parts;
  }
};

} // namespace saddle::device

#endif // SADDLE_RUNTIME_KERNELS_SHARED_QK_NORM_ATTENTION_H
