// How the kernel of impls/qk_norm_attention.cuh divides its work.

#ifndef SADDLE_RUNTIME_KERNELS_SHARED_QK_NORM_ATTENTION_H
#define SADDLE_RUNTIME_KERNELS_SHARED_QK_NORM_ATTENTION_H

#include "runtime/kernels/shared/sizes.h"

namespace saddle::device {

struct QKNormAttentionLayout {
  /// A warp takes 16 positions of a round, and a share of the dims.
  static constexpr int kWarps = 4, kThreads = kWarps * 32;
  static constexpr int kCtas = 16, kResident = 3, kMostTokens = 1;
  /// Pairs of a rotation are of one lane.
  static constexpr bool rotates(int64_t headDim, int64_t rotaryDim) {
    return rotaryDim % 64 == 0 && rotaryDim <= headDim;
  }
};

} // namespace saddle::device

#endif // SADDLE_RUNTIME_KERNELS_SHARED_QK_NORM_ATTENTION_H
