// How the kernels of linear attention cut a head, and their memory
// (impls/scan*).

#ifndef SADDLE_RUNTIME_KERNELS_SHARED_SCAN_H
#define SADDLE_RUNTIME_KERNELS_SHARED_SCAN_H

#include <cstdint>

namespace saddle::device {

/// Token by token: threads of a CTA, and values of the state that one of them
/// holds in registers at most.
constexpr int kScanThreads = 256;
constexpr int64_t kScanValues = 64;
/// Rows of a state, so that four columns of them are a thread's, and q and k of
/// a token fit in shared memory.
constexpr int64_t kScanMostRows = kScanThreads * kScanValues / 4;

/// In blocks: tokens of a block, columns of the state that a CTA has, and the
/// most rows that it can have.
constexpr int kScanBlock = 64, kScanColumns = 64, kScanRows = 128;

/// Whether the two CTAs of a head in blocks form a cluster that shares q and k:
/// where both would have to activate them.
constexpr bool scanShares(bool activates, int64_t cols) {
  return activates && cols > kScanColumns && cols <= 2 * kScanColumns;
}

/// Shared memory of a CTA that takes blocks of tokens (impls/scan_tiles.cuh),
/// for states of `rows` rows.
struct ScanLayout {
  int64_t rows;

  /// A warpgroup has the state and one makes outputs; the last ones feed.
  static constexpr int kFeeders = 256, kThreads = 256 + kFeeders;
  /// Threads that fill a stage.
  static constexpr int kFillers = 128;
  /// 64 rows of 128 bytes, swizzled as wgmma wants them.
  static constexpr int kTileBytes = 64 * 128;
  /// Stages of the ring of tokens.
  static constexpr int kDepth = 3;
  /// What is said of blocks, and which tokens they are, for all that can be
  /// under way: in each stage one, two that are looked for, and one whose
  /// outputs are stored.
  static constexpr int kSets = kDepth + 3, kSaidBytes = 24;

  /// Runs of 64 rows; behind the last row there are zeros.
  constexpr int64_t halves() const { return (rows + 63) / 64; }
  /// q and k in halves, v, and two parts of decayed v.
  constexpr int64_t stageBytes() const {
    return (2 * halves() + 3) * kTileBytes;
  }
  /// Two parts of the state.
  constexpr int64_t stateAt() const { return kDepth * stageBytes(); }
  /// Of outputs on their way to memory.
  constexpr int64_t scratchAt() const {
    return stateAt() + 2 * halves() * kTileBytes;
  }
  /// Decay^i for i from -kScanBlock to kScanBlock, where it is 0 below 0, then
  /// the same less one from 0 on.
  constexpr int64_t powersAt() const { return scratchAt() + kTileBytes; }
  constexpr int64_t numbersAt() const {
    return powersAt() + (3 * kScanBlock + 2) * 4;
  }
  constexpr int64_t saidAt() const {
    return numbersAt() + kSets * kScanBlock * 4;
  }
  constexpr int64_t barriersAt() const { return saidAt() + kSets * kSaidBytes; }
  /// With what makes the first tile begin at a multiple of 1024.
  constexpr int64_t sharedBytes() const {
    return barriersAt() + (kDepth + 1) * 16 + 1024;
  }
};
static_assert(ScanLayout{0}.barriersAt() % 8 == 0, "barriers have 8 bytes");

/// The workspace of that many spans of a launch (impls/scan_tiles.cuh), for
/// `values` values of the states of a sequence in all heads, which `ctas` CTAs
/// share.
constexpr int64_t scanSpanBytes(int64_t spans, int64_t values, int64_t ctas) {
  return spans * (2 * values + ctas) * 4;
}

} // namespace saddle::device

#endif // SADDLE_RUNTIME_KERNELS_SHARED_SCAN_H
