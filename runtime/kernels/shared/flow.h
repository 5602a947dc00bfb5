// What planners and kernels of experts whose weights flow (tile/flow.cuh,
// impls/experts_flow.cuh) must agree on.

#ifndef SADDLE_RUNTIME_KERNELS_SHARED_FLOW_H
#define SADDLE_RUNTIME_KERNELS_SHARED_FLOW_H

#include "runtime/kernels/shared/experts.h"
#include "runtime/kernels/shared/sizes.h"

namespace saddle::device {

constexpr int kFlowWarps = 8;
/// Columns whose products are scaled together: a group of the tokens, and of
/// the weights.
constexpr int kFlowColumns = 128;
/// Tokens of an expert that one pass over its weights takes.
constexpr int kFlowTokens = 8;
/// Rows of a warp.
constexpr int kFlowRows = 16;
/// Floats from one token's sums to the next one's: stores meet all banks.
constexpr int kFlowPitch = 20;
/// What a CTA sorts for itself.
constexpr int64_t kMostFlowPairs = 1024, kMostFlowExperts = 1024;

/// A block of tokens as the CTAs keep it: order[first .. first + count - 1].
struct FlowBlock {
  uint16_t expert, first, count, unused;
};

/// Shared memory of a CTA: the rings of its warps, factors of their stages,
/// sums of two units, then what it has sorted. While it sorts, the place of the
/// rings has the counts.
struct FlowLayout {
  int64_t held, pairs, depth;

  static constexpr int64_t kStageBytes = kFlowRows * kFlowColumns;
  static constexpr int64_t kSumsBytes =
      kFlowWarps * kFlowTokens * kFlowPitch * 4;

  constexpr int64_t ringBytes() const { return depth * kStageBytes; }
  constexpr int64_t factorsAt() const { return kFlowWarps * ringBytes(); }
  constexpr int64_t sumsAt() const {
    return factorsAt() + kFlowWarps * depth * 8;
  }
  constexpr int64_t blocksAt() const { return sumsAt() + 2 * kSumsBytes; }
  constexpr int64_t orderAt() const {
    return blocksAt() + mostExpertBlocks(held, pairs, kFlowTokens) *
                            static_cast<int64_t>(sizeof(FlowBlock));
  }
  constexpr int64_t bytes() const { return roundUp(orderAt() + pairs * 2, 16); }

  /// Of each expert, its pairs and the first one's place; experts of pairs;
  /// sums of warps.
  constexpr int64_t sortBytes() const {
    return held * 8 + roundUp(pairs * 2, 4) + kFlowWarps * 4;
  }
  constexpr bool fits(int64_t most) const {
    return held <= kMostFlowExperts && pairs <= kMostFlowPairs &&
           bytes() <= most && sortBytes() <= factorsAt();
  }
};

} // namespace saddle::device

#endif // SADDLE_RUNTIME_KERNELS_SHARED_FLOW_H
