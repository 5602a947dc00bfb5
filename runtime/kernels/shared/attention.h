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

/// Prefill: tokens of a warp, positions of a tile, stages of tiles.
constexpr int kPrefillTokens = 16, kPrefillTile = 64, kPrefillStages = 4;
/// Keys and values of a tile with elements of that size.
constexpr int64_t prefillTileBytes(int64_t headDim, int64_t elementBytes) {
  return 2 * kPrefillTile * headDim * elementBytes;
}
/// Stages as they lie in the cache; e4m3 is widened to f16 in two more places.
/// The first stage is aligned to 1024, which a CTA's memory is not.
constexpr int64_t prefillSharedBytes(int64_t headDim, int64_t elementBytes) {
  return kPrefillStages * prefillTileBytes(headDim, elementBytes) +
         (elementBytes == 1 ? 2 * prefillTileBytes(headDim, 2) : 0) + 1024;
}

} // namespace saddle::device

#endif // SADDLE_RUNTIME_KERNELS_SHARED_ATTENTION_H
