// Shared memory of the streaming products (tile/stream.cuh and
// tile/stream_cta.cuh): rings of stages, one for each warp; sums of all warps
// in their place afterwards; and tokens that stay (residents) behind them.

#ifndef SADDLE_RUNTIME_KERNELS_SHARED_STREAM_H
#define SADDLE_RUNTIME_KERNELS_SHARED_STREAM_H

#include "runtime/kernels/shared/sizes.h"

namespace saddle::device {

/// A unit is what four lanes read of a row of weights at a time.
constexpr int64_t kStreamUnitBytes = 64;
constexpr int64_t streamUnitColumns(int64_t weightBytes) {
  return kStreamUnitBytes / weightBytes;
}

/// A warp's ring: `depth` stages of `units` units of `rows` rows of weights and
/// of 8 tokenTiles tokens.
struct StreamLayout {
  int64_t rows, tokenTiles, units;
  int64_t scaleUnits; // whose products are scaled together; 0: unscaled
  int64_t depth;
  int64_t weightBytes; // of an element
  bool resident;       // tokens are not in the ring

  constexpr int64_t tiles() const { return ceilDiv(rows, 16); }
  constexpr int64_t tokens() const { return tokenTiles * 8; }
  /// Codes meet codes, all others bf16.
  constexpr int64_t tokenBytes() const { return weightBytes == 1 ? 1 : 2; }
  constexpr int64_t stageColumns() const {
    return units * streamUnitColumns(weightBytes);
  }

  // A stage: weights, tokens, then the factors of each of its scales, of the
  // tokens and of each eight rows.
  constexpr int64_t ringTokens() const { return resident ? 0 : tokens(); }
  constexpr int64_t weightPart() const {
    return rows * units * kStreamUnitBytes;
  }
  constexpr int64_t tokenPart() const {
    return ringTokens() * stageColumns() * tokenBytes();
  }
  constexpr int64_t scales() const {
    return scaleUnits > 0 ? units / scaleUnits : 0;
  }
  constexpr int64_t factors() const { return ringTokens() + 2 * tiles(); }
  constexpr int64_t stageBytes() const {
    return roundUp(weightPart() + tokenPart() + scales() * factors() * 4, 16);
  }
  constexpr int64_t ringBytes() const { return depth * stageBytes(); }
};

/// Tokens that are encoded once: the codes of each, then the factors of all.
struct ResidentLayout {
  int64_t tokens, cols, groups; // of a token's columns

  /// A token's columns, up to the end of the last stage, and so much that eight
  /// tokens' pieces meet all banks.
  constexpr int64_t tokenBytes(const StreamLayout &stream) const {
    int64_t padded = roundUp(cols, stream.stageColumns());
    return roundUp(padded * stream.tokenBytes(), 128) + 64;
  }
  constexpr int64_t codeBytes(const StreamLayout &stream) const {
    return tokens * tokenBytes(stream);
  }
  constexpr int64_t bytes(const StreamLayout &stream) const {
    return codeBytes(stream) + groups * stream.tokens() * 4;
  }
  /// Of a warp with residents of its own: they lie behind its ring.
  constexpr int64_t warpBytes(const StreamLayout &stream) const {
    return roundUp(stream.ringBytes() + bytes(stream), 16);
  }
};

/// A CTA whose warps share its rows (rowWarps) and its columns (columnWarps);
/// each has a ring. Sums lie in the place of the rings, or, with `sumsApart`,
/// behind them, where rings are filled again before sums are read.
template <typename Ring>
struct CtaLayout : Ring {
  int64_t rowWarps, columnWarps;
  bool sumsApart = false;

  constexpr int64_t warps() const { return rowWarps * columnWarps; }
  constexpr int64_t ctaRows() const { return this->rows * rowWarps; }
  /// Floats from one token's sums to the next one's.
  constexpr int64_t sumsPitch() const { return ctaRows() + 4; }
  /// Where sums that lie apart begin.
  constexpr int64_t sumsOffset() const {
    return roundUp(warps() * this->ringBytes(), 16);
  }
  constexpr int64_t productBytes() const {
    int64_t rings = warps() * this->ringBytes();
    int64_t sums = columnWarps * this->tokens() * sumsPitch() * 4;
    if (sumsApart)
      return sumsOffset() + sums;
    return rings > sums ? rings : sums;
  }
  /// Where the CTA's residents begin.
  constexpr int64_t residentOffset() const {
    return roundUp(productBytes(), 16);
  }
};
using StreamCtaLayout = CtaLayout<StreamLayout>;

} // namespace saddle::device

#endif // SADDLE_RUNTIME_KERNELS_SHARED_STREAM_H
