// What the kernel of synthetic weights is told (runtime/src/weights,
// SyntheticSource): one record per piece of a weight recipe. Plain C++, shared
// by host and device.

#ifndef SADDLE_RUNTIME_KERNELS_SYNTHETIC_H
#define SADDLE_RUNTIME_KERNELS_SYNTHETIC_H

#include <cstdint>

namespace saddle::device {

/// How values lie in words of the source, as schema::Unpacking says it.
struct SyntheticWords {
  uint32_t bits;    // of a value; 0: elements are values, only transposed
  uint32_t perWord; // values
  uint64_t places;  // of the i-th value of a word, four bits each
  uint32_t alongRows, transposed;
  uint32_t perElement; // values of an element of the matrix
  uint32_t add;
  /// What all values are, in place of random ones; bytes of exponents. 0: none.
  uint32_t constant;
  uint32_t present; // the source has words, or is transposed
};

/// Sizes, strides and starts in elements. Entry (m, i, j) of the destination,
/// m < members, i < rows, j < cols, is cell
///   (rowStart + i * destBlockRows) / sourceBlockRows,
///   (colStart + j * destBlockCols) / sourceBlockCols
/// of member memberStart + m of the source.
struct SyntheticPiece {
  void *dest; // of entry (0, 0, 0)
  uint64_t members, rows, cols;
  uint64_t memberStride, rowStride;
  uint64_t memberStart, rowStart, colStart;
  uint64_t destBlockRows, destBlockCols, sourceBlockRows, sourceBlockCols;
  /// Of the source: a stream for each member if it is a stack, else one through
  /// which members of sourceRows x sourceCols cells follow each other.
  const uint64_t *streams;
  uint64_t sourceRows, sourceCols;
  uint32_t isStack;
  uint32_t from, to; // schema::DType of a cell and of an entry
  float center, spread;
  uint32_t reserved;
  SyntheticWords words;
};
static_assert(sizeof(SyntheticPiece) == 192, "the host copies this structure");

/// operands[0] of the launch is an array of pieces, rankValues[0] their number.

} // namespace saddle::device

#endif // SADDLE_RUNTIME_KERNELS_SYNTHETIC_H
