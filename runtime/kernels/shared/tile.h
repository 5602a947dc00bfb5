// Shared memory of the products of many tokens (tile/product.cuh).

#ifndef SADDLE_RUNTIME_KERNELS_SHARED_TILE_H
#define SADDLE_RUNTIME_KERNELS_SHARED_TILE_H

#include <cstdint>

namespace saddle::device {

/// How the tokens of a tile lie.
enum class TokenOrder {
  Anywhere, // each where it likes
  InOrder,  // one behind the other, and so do all rows
  InPairs   // likewise, and the two CTAs of a cluster have the same rows
};

/// `groups` warpgroups, one or two, have 64 tokens each and multiply them with
/// `waves` times 128 rows of weights; one more feeds them through a ring of
/// `depth` stages with 128 bytes of each token and row and `scaleParts` factors
/// for each token and 64 rows.
struct TileLayout {
  int64_t groups, waves, depth, scaleParts;
  /// Of weights that are decoded on the way (tile/decode.cuh): bits of a code.
  int64_t codeBits = 0;

  static constexpr int64_t kLineBytes = 128, kFeeders = 128;
  /// Decoding is work: another warpgroup helps those that feed.
  constexpr int64_t feeders() const {
    return codeBits > 0 && waves == 2 ? 2 * kFeeders : kFeeders;
  }
  /// Tensor maps of a CTA: of rows, and of tokens that lie in order.
  static constexpr int64_t kMapBytes = 128, kMaps = 2;
  /// Of a warp, on the way to memory: 128 bytes of results of 16 tokens.
  static constexpr int64_t kScratchBytes = 16 * 128;

  constexpr int64_t tokens() const { return 64 * groups; }
  constexpr int64_t rows() const { return 128 * waves; }
  /// Runs of 64 rows.
  constexpr int64_t runs() const { return 2 * waves; }
  constexpr int64_t multipliers() const { return 128 * groups; }
  constexpr int64_t threads() const { return multipliers() + feeders(); }
  constexpr int64_t stageBytes() const {
    return (tokens() + rows()) * kLineBytes;
  }
  constexpr int64_t stageFactors() const {
    return scaleParts * (tokens() + runs());
  }
  /// Ring, then factors of its stages, then what warps have for themselves,
  /// then what is said of items, then what warpgroups tell each other, then two
  /// barriers for each stage.
  constexpr int64_t factorsAt() const { return depth * stageBytes(); }
  constexpr int64_t scratchAt() const {
    return factorsAt() + (depth * stageFactors() * 4 + 127) / 128 * 128;
  }
  constexpr int64_t targetsAt() const {
    return scratchAt() + multipliers() / 32 * kScratchBytes;
  }
  /// For all items that can be under way: one that ends, and as many that begin
  /// as there are stages.
  constexpr int64_t itemSets() const { return depth + 2; }
  /// The number of an item and of its tokens, in as many sets.
  constexpr int64_t itemsAt() const {
    return targetsAt() + itemSets() * tokens() * 4;
  }
  /// A number of each group for 64 tokens, likewise.
  constexpr int64_t sharedNumbersAt() const {
    return itemsAt() + itemSets() * 8;
  }
  constexpr int64_t barriersAt() const {
    return sharedNumbersAt() + itemSets() * groups * 64 * 4;
  }
  /// Codes of stages to come, 64 columns each.
  constexpr int64_t codesAt() const {
    return (barriersAt() + depth * 16 + 15) / 16 * 16;
  }
  static constexpr int64_t codeDepth(int64_t bits) { return bits == 8 ? 3 : 4; }
  constexpr int64_t codeBytes() const {
    return codeDepth(codeBits) * rows() * 8 * codeBits;
  }
  constexpr int64_t sharedBytes() const { return codesAt() + codeBytes(); }
};

} // namespace saddle::device

#endif // SADDLE_RUNTIME_KERNELS_SHARED_TILE_H
