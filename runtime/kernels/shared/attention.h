// How the attention kernels cut positions, and their memory (impls/attention*).

#ifndef SADDLE_RUNTIME_KERNELS_SHARED_ATTENTION_H
#define SADDLE_RUNTIME_KERNELS_SHARED_ATTENTION_H

#include <cstdint>

namespace saddle::device {

/// Ranges of positions begin at multiples of this.
constexpr int kRangeUnit = 64;

/// The workspace of `parts` partial results, one for each token, head and
/// range: the sums of a head, then the pairs (m, l).
constexpr int64_t partialResultBytes(int64_t parts, int64_t headDim) {
  return parts * (headDim + 2) * static_cast<int64_t>(sizeof(float));
}

/// Decode: query heads of a kv head that share a CTA, and positions that a warp
/// takes at a time, which lie in one page.
constexpr int kDecodeHeads = 8, kDecodeTile = 16;

/// Prefill: tokens of a warp, warps that multiply, threads that feed them.
constexpr int kPrefillTokens = 16, kPrefillWarps = 8, kPrefillFeeders = 128;
constexpr int kPrefillThreads = kPrefillWarps * 32 + kPrefillFeeders;
/// Positions of a tile of keys or values. Where e4m3 is widened those that feed
/// need more registers, so that the others have half a tile.
constexpr int prefillTile(int64_t elementBytes) {
  return elementBytes == 1 ? 64 : 128;
}
/// Tiles in the ring.
constexpr int prefillRing(int64_t elementBytes) {
  return 6 * 128 / prefillTile(elementBytes);
}
/// Tiles have 16-bit elements, whatever the cache has.
constexpr int64_t prefillTileBytes(int64_t headDim, int64_t elementBytes) {
  return prefillTile(elementBytes) * headDim * 2;
}
/// The ring, then two barriers for each tile, then for each the first page that
/// each of four warps found outside the cache. The ring is aligned to 1024,
/// which a CTA's memory is not.
constexpr int64_t prefillSharedBytes(int64_t headDim, int64_t elementBytes) {
  return prefillRing(elementBytes) *
             (prefillTileBytes(headDim, elementBytes) + 2 * 8 + 4 * 4) +
         1024;
}
/// The workspace of a CTA, behind partial results: two tensor maps.
constexpr int64_t kPrefillMapBytes = 2 * 128;

} // namespace saddle::device

#endif // SADDLE_RUNTIME_KERNELS_SHARED_ATTENTION_H
