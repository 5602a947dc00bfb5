// Shared memory of the products of weights with four bits (tile/packed.cuh):
// rings as in shared/stream.h, and the tokens behind them.

#ifndef SADDLE_RUNTIME_KERNELS_SHARED_PACKED_H
#define SADDLE_RUNTIME_KERNELS_SHARED_PACKED_H

#include "runtime/kernels/shared/stream.h"

namespace saddle::device {

/// How much of a companion a stage of a row needs: `entries` elements, in
/// `words` of four bytes. Rows of elements that do not begin at words are
/// copied with what is around them.
struct CompanionPart {
  int64_t entries, words;
  bool aligned;

  constexpr CompanionPart() : entries(0), words(0), aligned(true) {}
  /// Of elements of `bytes` for `blockCols` columns; rows `rowBytes` apart.
  constexpr CompanionPart(int64_t stageColumns, int64_t blockCols,
                          int64_t bytes, int64_t rowBytes)
      : entries(blockCols >= stageColumns ? 1 : stageColumns / blockCols),
        words(0), aligned(entries * bytes % 4 == 0 && rowBytes % 4 == 0) {
    words = ceilDiv(entries * bytes + (aligned ? 0 : 3), 4);
  }
};

/// A warp's ring: `depth` stages of 16 rows, `pieces` times 16 bytes (32
/// columns) of each, with its scales and zeros. Tokens are not in the ring.
struct PackedLayout {
  int64_t pieces, tokenTiles, depth;
  CompanionPart scale, zero;
  static constexpr int64_t rows = 16;

  constexpr int64_t tokens() const { return tokenTiles * 8; }
  constexpr int64_t stageColumns() const { return pieces * 32; }
  constexpr int64_t weightPart() const { return rows * pieces * 16; }
  constexpr int64_t stageBytes() const {
    return roundUp(weightPart() + rows * (scale.words + zero.words) * 4, 16);
  }
  constexpr int64_t ringBytes() const { return depth * stageBytes(); }
};

/// bf16 tokens in shared memory: bytes from one to the next, such that eight
/// lanes that read pieces of two neighbours meet all banks.
constexpr int64_t packedTokenBytes(int64_t cols) {
  return roundUp(cols * 2, 128) + 64;
}

} // namespace saddle::device

#endif // SADDLE_RUNTIME_KERNELS_SHARED_PACKED_H
