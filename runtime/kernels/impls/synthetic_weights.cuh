// Weights from a seed: the same bits as runtime/src/weights/SyntheticSource.cpp
// makes on the host, so that every target and topology sees the same model.
//
// A warp works on four times its lanes' columns of one row at a time. Bound by
// the integer hash, not by memory; runs once, while an engine is loaded.

#pragma once

#include "runtime/kernels/abi.h"
#include "runtime/kernels/synthetic.h"
#include "runtime/kernels/tile/types.cuh"

namespace saddle::device {

/// Finalizer of the splitmix64 generator.
__device__ __forceinline__ uint64_t mixBits(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

/// Uniform in [-1, 1). 24 bits, so the conversion is exact.
__device__ __forceinline__ float uniformAt(uint64_t stream, uint64_t index) {
  uint64_t bits = mixBits(stream + index * 0x9e3779b97f4a7c15ull);
  return __fmul_rn(static_cast<float>(static_cast<int64_t>(bits) >> 40),
                   0x1p-23f);
}

/// Element types by their number in the engine file (schema::DType).
enum SyntheticType : uint32_t {
  kSyntheticF32 = 1,
  kSyntheticBF16 = 2,
  kSyntheticF16 = 3,
  kSyntheticE4M3 = 4,
  kSyntheticI32 = 5,
  kSyntheticU8 = 6,
  kSyntheticE8M0 = 7,
  kSyntheticI8 = 8,
  kSyntheticI64 = 9,
};

/// `value` rounded to a cell of type `from` and stored as `to`, which is the
/// same, or f32.
__device__ __forceinline__ void
storeCell(void *row, uint64_t column, float value, uint32_t from, uint32_t to) {
  switch (from) {
  case kSyntheticF32:
    static_cast<f32 *>(row)[column] = value;
    return;
  case kSyntheticBF16:
    if (to == from)
      static_cast<bf16 *>(row)[column] = fromFloat<bf16>(value);
    else
      static_cast<f32 *>(row)[column] = toFloat(fromFloat<bf16>(value));
    return;
  case kSyntheticF16:
    if (to == from)
      static_cast<f16 *>(row)[column] = fromFloat<f16>(value);
    else
      static_cast<f32 *>(row)[column] = toFloat(fromFloat<f16>(value));
    return;
  case kSyntheticE4M3:
    if (to == from)
      static_cast<e4m3 *>(row)[column] = fromFloat<e4m3>(value);
    else
      static_cast<f32 *>(row)[column] = toFloat(fromFloat<e4m3>(value));
    return;
  case kSyntheticI8:
    static_cast<i8 *>(row)[column] =
        static_cast<i8>(__float2int_rn(fminf(fmaxf(value, -127), 127)));
    return;
  case kSyntheticI32: // tables of the model have no random stand-in
    static_cast<i32 *>(row)[column] = 0;
    return;
  case kSyntheticI64:
    static_cast<int64_t *>(row)[column] = 0;
    return;
  default:
    static_cast<uint8_t *>(row)[column] = 0;
  }
}

__device__ __forceinline__ uint32_t syntheticBytes(uint32_t type) {
  return type == kSyntheticI64                             ? 8
         : type == kSyntheticF32 || type == kSyntheticI32  ? 4
         : type == kSyntheticBF16 || type == kSyntheticF16 ? 2
                                                           : 1;
}

/// The value at place `place` of a word: any code but the lowest.
__device__ __forceinline__ uint32_t codeAt(uint64_t stream, uint64_t index,
                                           uint32_t place, uint32_t bits) {
  uint64_t random = mixBits(stream + index * 0x9e3779b97f4a7c15ull);
  if (place >= 4)
    random = mixBits(random);
  uint32_t codes = (1u << bits) - 1;
  return 1 + static_cast<uint32_t>(random >> 16 * (place % 4) & 0xffff) % codes;
}

/// The element of a matrix at (row, column), whose values lie in words.
/// `firstRow` is the member's first row of the tensor.
__device__ __forceinline__ uint8_t elementOfWords(const SyntheticPiece &piece,
                                                  uint64_t stream, uint64_t row,
                                                  uint64_t column,
                                                  uint64_t firstRow) {
  const SyntheticWords &words = piece.words;
  uint32_t result = 0, mask = (1u << words.bits) - 1;
  for (uint32_t i = 0; i < words.perElement; ++i) {
    uint64_t value = column * words.perElement + i;
    uint64_t r = words.transposed ? value : row;
    uint64_t c = words.transposed ? row : value;
    uint64_t along = words.alongRows ? r : c;
    (words.alongRows ? r : c) /= words.perWord;
    uint32_t place = words.places >> 4 * (along % words.perWord) & 15;
    uint32_t code = words.constant
                        ? words.constant
                        : codeAt(stream, (firstRow + r) * piece.sourceCols + c,
                                 place, words.bits);
    result |= (code + words.add & mask) << i * words.bits;
  }
  return static_cast<uint8_t>(result);
}

__device__ __forceinline__ void fillPiece(const SyntheticPiece &piece,
                                          uint64_t warp, uint64_t warps) {
  constexpr uint64_t kEach = 4, kChunk = 32 * kEach;
  uint64_t chunks = (piece.cols + kChunk - 1) / kChunk;
  uint64_t units = piece.members * piece.rows * chunks;
  for (uint64_t unit = warp; unit < units; unit += warps) {
    uint64_t line = unit / chunks, chunk = unit % chunks;
    uint64_t m = line / piece.rows, i = line % piece.rows;
    uint64_t member = piece.memberStart + m;
    uint64_t stream = piece.streams[piece.isStack ? member : 0];
    uint64_t row =
        (piece.rowStart + i * piece.destBlockRows) / piece.sourceBlockRows;
    uint64_t firstRow = piece.isStack ? 0 : member * piece.sourceRows;
    void *dest = static_cast<char *>(piece.dest) +
                 (m * piece.memberStride + i * piece.rowStride) *
                     syntheticBytes(piece.to);
    uint64_t first = chunk * kChunk + threadIdx.x % 32 * kEach;
#pragma unroll
    for (uint64_t k = 0; k < kEach; ++k) {
      uint64_t j = first + k;
      if (j >= piece.cols)
        break;
      uint64_t col = piece.colStart + j * piece.destBlockCols;
      if (piece.sourceBlockCols != 1)
        col /= piece.sourceBlockCols;
      const SyntheticWords &words = piece.words;
      if (words.present && words.bits != 0) {
        static_cast<uint8_t *>(dest)[j] =
            elementOfWords(piece, stream, row, col, firstRow);
        continue;
      }
      uint64_t r = words.transposed ? col : row;
      uint64_t c = words.transposed ? row : col;
      float value = __fadd_rn(
          piece.center,
          __fmul_rn(piece.spread,
                    uniformAt(stream, (firstRow + r) * piece.sourceCols + c)));
      storeCell(dest, j, value, piece.from, piece.to);
    }
  }
}

/// Fills all pieces, one after the other.
__device__ void syntheticWeights(const LaunchParams &p) {
  const SyntheticPiece *pieces =
      static_cast<const SyntheticPiece *>(p.operands[0]);
  uint64_t thread = uint64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  uint64_t warps = uint64_t(gridDim.x) * blockDim.x / 32;
  for (uint64_t i = 0; i < p.rankValues[0]; ++i)
    fillPiece(pieces[i], thread / 32, warps);
}

} // namespace saddle::device
