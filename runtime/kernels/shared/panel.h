// Shared memory of the products of up to 64 tokens with a panel of rows
// (impls/linear_panel.cuh).

#ifndef SADDLE_RUNTIME_KERNELS_SHARED_PANEL_H
#define SADDLE_RUNTIME_KERNELS_SHARED_PANEL_H

#include "runtime/kernels/shared/sizes.h"

namespace saddle::device {

/// `rows` rows, a multiple of 8 that wgmma has as its columns, meet 64 tokens
/// through a ring of `depth` stages with 128 bytes of each of both; `stages`
/// make all columns.
struct PanelLayout {
  int64_t rows, depth, stages;
  bool scaled; // products of a stage are multiplied by factors

  static constexpr int64_t kTokens = 64, kLineBytes = 128;
  /// Warpgroups that multiply, which take stages in turn.
  static constexpr int64_t kTeams = 4;
  static constexpr int64_t kMultipliers = 128 * kTeams, kFeeders = 128;
  static constexpr int64_t kThreads = kMultipliers + kFeeders;

  constexpr int64_t eights() const { return rows / 8; }
  constexpr int64_t tokenBytes() const { return kTokens * kLineBytes; }
  /// Of a stage: a swizzled tile begins at a multiple of 1024.
  constexpr int64_t stageBytes() const {
    return tokenBytes() + rows * kLineBytes;
  }
  /// Sums of the teams, in the place of the ring.
  constexpr int64_t sumBytes() const { return kTeams * kTokens * rows * 4; }
  constexpr int64_t ringBytes() const {
    int64_t stages = depth * stageBytes();
    return stages > sumBytes() ? stages : sumBytes();
  }
  /// Ring, then factors of all stages: of the tokens, then of each eight rows;
  /// then two barriers for each slot.
  constexpr int64_t tokenFactorsAt() const { return ringBytes(); }
  constexpr int64_t rowFactorsAt() const {
    return tokenFactorsAt() + (scaled ? stages * kTokens * 4 : 0);
  }
  constexpr int64_t barriersAt() const {
    return roundUp(rowFactorsAt() + (scaled ? stages * eights() * 4 : 0), 16);
  }
  constexpr int64_t sharedBytes() const { return barriersAt() + depth * 16; }
};

} // namespace saddle::device

#endif // SADDLE_RUNTIME_KERNELS_SHARED_PANEL_H
