// Shared memory of products with a token in two parts (tile/digits.cuh): a ring
// of codes for each warp, then its share of each token.

#ifndef SADDLE_RUNTIME_KERNELS_SHARED_DIGITS_H
#define SADDLE_RUNTIME_KERNELS_SHARED_DIGITS_H

#include "runtime/kernels/shared/sizes.h"

namespace saddle::device {

/// Bytes that a warp's `units` units of a row have of a companion, where they
/// come by the ring: blocks lie within a unit and a piece is whole words; else
/// 0, and registers hold them. Elements of `bytes` for `blockCols` columns, in
/// rows `rowBytes` apart.
constexpr int64_t digitPiece(int64_t units, int64_t unitColumns,
                             int64_t blockCols, int64_t bytes,
                             int64_t rowBytes) {
  int64_t piece =
      blockCols > unitColumns ? 0 : units * (unitColumns / blockCols) * bytes;
  return piece % 4 == 0 && rowBytes % 4 == 0 ? piece : 0;
}

/// A warp's 16 rows of codes of `bits` (4 or 8): `units` units of a row, which
/// four lanes read 16 bytes of each, in a ring of `depth` stages, with the
/// pieces of its companions. A token's number is two parts of `partBytes` each:
/// digits, or for floats f16.
struct DigitLayout {
  int64_t bits, partBytes, units, depth;
  int64_t pieces; // bytes of a row

  /// Of a row: what one lane reads at a time, and what four do.
  constexpr int64_t stretchColumns() const { return 128 / bits; }
  constexpr int64_t unitColumns() const { return 4 * stretchColumns(); }
  /// A lane has 16 bytes of rows g and g + 8 for each unit.
  constexpr int64_t codeBytes() const { return units * 2 * 32 * 16; }
  constexpr int64_t stageBytes() const { return codeBytes() + 16 * pieces; }
  constexpr int64_t ringBytes() const { return depth * stageBytes(); }

  // A unit of a token: two parts of each column, for digits as many zeros as a
  // stretch has columns, four exponents, and for digits sums of each half of a
  // stretch. The zeros of f16 parts stand behind all units: rows are long.
  constexpr bool isOfDigits() const { return partBytes == 1; }
  constexpr int64_t digitBytes() const { return 2 * partBytes * unitColumns(); }
  constexpr int64_t zeroBytes() const { return partBytes * stretchColumns(); }
  constexpr int64_t zerosAt() const {
    return isOfDigits() ? digitBytes() : units * unitBytes();
  }
  constexpr int64_t factorsAt() const {
    return digitBytes() + (isOfDigits() ? zeroBytes() : 0);
  }
  constexpr int64_t sumsAt() const { return factorsAt() + 4 * 4; }
  constexpr int64_t unitBytes() const {
    return sumsAt() + (isOfDigits() ? 4 * 2 * 4 : 0);
  }
  constexpr int64_t tokenBytes() const {
    return units * unitBytes() + (isOfDigits() ? 0 : zeroBytes());
  }
  constexpr int64_t warpBytes(int64_t tokens) const {
    return ringBytes() + tokens * tokenBytes();
  }
};

} // namespace saddle::device

#endif // SADDLE_RUNTIME_KERNELS_SHARED_DIGITS_H
