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

/// In blocks: tokens of a block, columns of a warp, and rows of the state, 16
/// at a time, that a warp holds in registers at most.
constexpr int kScanBlock = 64, kScanColumns = 16, kScanRows = 128;

/// Rows of tiles are that many bf16 farther apart than they are long, so that
/// eight of them lie in different banks.
constexpr int64_t kScanPad = 8;
/// q, k and some columns of v of two blocks, and two parts of the weights that
/// tokens of a block have for each other; then powers of the decay, the same
/// less one, and tokens of two blocks.
constexpr int64_t scanSharedBytes(int64_t rows, int64_t columns) {
  return 2 * (2 * kScanBlock * (2 * (rows + kScanPad) + columns + kScanPad) +
              2 * kScanBlock * (kScanBlock + kScanPad)) +
         4 * (2 * (kScanBlock + 1) + 2 * kScanBlock);
}

/// The workspace of that many spans of a launch (impls/scan_spans.cuh), for
/// `values` values of the states of a sequence in all heads, which `ctas` CTAs
/// share.
constexpr int64_t scanSpanBytes(int64_t spans, int64_t values, int64_t ctas) {
  return spans * (2 * values + ctas) * 4;
}

} // namespace saddle::device

#endif // SADDLE_RUNTIME_KERNELS_SHARED_SCAN_H
