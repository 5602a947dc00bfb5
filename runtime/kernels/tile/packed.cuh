// A warp multiplies 16 rows of weights of four bits, streamed from memory, with
// a few tokens in bf16.
//
// As tile/stream.cuh: weights are the 16-row operand of mma.sync, and the k of
// a fragment are those that a lane reads together. Of a unit of 32, 64 or 128
// columns, each of four lanes has a quarter. Eight codes of a word become four
// pairs of bf16, exactly: codes 0 and 4, 1 and 5, 2 and 6, 3 and 7, as masks
// leave them; tokens lie in shared memory in that order.
//
// Scales: an e4m3 scale times an e2m1 code is a bf16 number, so codes are
// multiplied by it before the product. Other scales multiply the sums of a
// unit, which lies within one of their blocks. A global scale multiplies the
// result.

#pragma once

#include "runtime/kernels/ptx/copy_async.cuh"
#include "runtime/kernels/ptx/mma.cuh"
#include "runtime/kernels/shared/packed.h"
#include "runtime/kernels/tile/stream_cta.cuh"
#include "runtime/kernels/tile/weights.cuh"

#include <type_traits>

namespace saddle::device {

//===--- Codes ------------------------------------------------------------===//

__device__ __forceinline__ __nv_bfloat162 asPair(uint32_t bits) {
  return reinterpret_cast<const __nv_bfloat162 &>(bits);
}
__device__ __forceinline__ uint32_t asBits(__nv_bfloat162 pair) {
  return reinterpret_cast<const uint32_t &>(pair);
}
/// The same number twice; bf16 bits.
__device__ __forceinline__ uint32_t twice(uint32_t bits) {
  return bits * 0x10001u;
}

/// 128 + zero, twice. 128 + a number below 128 is a bf16 number whose last bits
/// are the number's.
__device__ __forceinline__ uint32_t integerZeros(uint32_t zero) {
  return twice(0x4300u | zero);
}

/// Integers less their zeros.
__device__ __forceinline__ void integersToBf16(uint32_t word, uint32_t zeros,
                                               uint32_t (&pairs)[4]) {
#pragma unroll
  for (int i = 0; i < 4; ++i)
    pairs[i] = asBits(__hsub2(
        asPair((word >> 4 * i & 0x000f000fu) | 0x43004300u), asPair(zeros)));
}

/// e2m1: exponent and mantissa at the bottom of bf16's exponent are the number
/// times 2^-126. `factors` undo it.
__device__ __forceinline__ void floatsToBf16(uint32_t word, uint32_t factors,
                                             uint32_t (&pairs)[4]) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    uint32_t magnitude =
        (i < 2 ? word << (6 - 4 * i) : word >> (4 * i - 6)) & 0x01c001c0u;
    uint32_t sign = word << (12 - 4 * i) & 0x80008000u;
    pairs[i] = asBits(__hmul2(asPair(magnitude | sign), asPair(factors)));
  }
}

/// Twice 2^126.
constexpr uint32_t kUndoE2M1 = 0x7e807e80u;

/// Scales of e4m3 reach 448, so that 2^126 times one is no bf16 number: factors
/// are scale * 2^(126 - kScaleShift), results too small by that.
constexpr int kScaleShift = 8;
__device__ __forceinline__ uint32_t scaledUndo(e4m3 scale) {
  // As e2m1: too small by 2^120, with which two factors make 2^238.
  uint32_t code = scale.__x;
  __nv_bfloat162 bits = asPair(twice((code & 0x80) << 8 | (code & 0x7f) << 4));
  bits = __hmul2(bits, asPair(0x7f007f00u));         // 2^127
  return asBits(__hmul2(bits, asPair(0x77007700u))); // 2^111
}

//===--- Shapes -----------------------------------------------------------===//

/// A warp has 16 rows and 8 tokenTiles tokens; a CTA rowWarps x columnWarps
/// warps. `unit` columns are read together, pieces * 32 are a stage.
template <int unit, int pieces, int tokenTiles, int depth, int rowWarps,
          int columnWarps>
struct PackedShape {
  static constexpr int kUnit = unit, kPieces = pieces, kTokenTiles = tokenTiles,
                       kDepth = depth, kRowWarps = rowWarps,
                       kColumnWarps = columnWarps;
  static constexpr int kTiles = 1, kRows = 16, kTokens = tokenTiles * 8,
                       kCtaRows = kRows * rowWarps;
};

/// What a stage of a row needs of a companion, as the planner counts it.
template <typename C, int stageColumns>
struct StagePart {
  static constexpr CompanionPart kPart = CompanionPart(
      stageColumns, C::kBlockCols, sizeof(typename C::Element), C::kRowBytes);
};
template <int stageColumns>
struct StagePart<NoCompanion, stageColumns> {
  static constexpr CompanionPart kPart = CompanionPart();
};

//===--- The product ------------------------------------------------------===//

/// `Weights` are StoredWeights of Nibbles or E2M1 with one scale for each row,
/// whose blocks of columns are whole units.
template <typename Weights, typename Shape>
struct PackedStream {
  using Scale = typename Weights::Scale;
  using Zero = typename Weights::Zero;
  using Global = typename Weights::Global;
  static constexpr bool kFloats = std::is_same_v<typename Weights::Codes, E2M1>;
  static constexpr bool kScalesCodes =
      std::is_same_v<typename Scale::Element, e4m3>;
  static_assert(!kScalesCodes || kFloats, "the product is a bf16 number");
  static_assert(Scale::kBlockRows == 1, "a row has scales of its own");

  using Layout = PackedLayout;
  static constexpr int kPieces = Shape::kPieces;
  static constexpr int kStageColumns = kPieces * 32;
  static constexpr Layout kLayout = {kPieces, Shape::kTokenTiles, Shape::kDepth,
                                     StagePart<Scale, kStageColumns>::kPart,
                                     StagePart<Zero, kStageColumns>::kPart};
  static constexpr int kUnits = kStageColumns / Shape::kUnit;
  static constexpr int kUnitWords = Shape::kUnit / 32; // of a lane
  static constexpr int kStages = Weights::kCols / kStageColumns;
  static_assert(kStages * kStageColumns == Weights::kCols,
                "stages are never cut");
  static constexpr int kRows = 16, kDepth = Shape::kDepth;
  static constexpr int kCopies =
      kRows * kPieces / 32 > 0 ? kRows *kPieces / 32 : 1;
  static constexpr int kScaleAt = kLayout.weightPart();
  static constexpr int kScaleWords = kLayout.scale.words;
  static constexpr int kZeroAt = kScaleAt + kRows * kScaleWords * 4;
  static constexpr int kZeroWords = kLayout.zero.words;
  static constexpr int kStageBytes = kLayout.stageBytes();
  static constexpr int kRingBytes = kLayout.ringBytes();
  /// Of a token in shared memory.
  static constexpr int kTokenBytes = packedTokenBytes(Weights::kCols);

  struct Source {
    /// Of the weight; its companions follow.
    void *const *operands;
    /// The first of eight rows among those of all members, and how many of them
    /// there are. Missing rows have undefined products.
    int rows[2], rowCount[2];
    /// Where this lane's token of each tile lies in shared memory.
    const uint8_t *tokens[Shape::kTokenTiles];
  };

  /// Lane 4 g + t: [0], [1] of row g and [2], [3] of row g + 8, at tokens 2 t
  /// and 2 t + 1 of a token tile.
  float sums[Shape::kTokenTiles][4];

  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int j = 0; j < Shape::kTokenTiles; ++j)
#pragma unroll
      for (int k = 0; k < 4; ++k)
        sums[j][k] = 0;
  }

  /// Starts to copy stages first .. last - 1. `ring` is this warp's.
  __device__ __forceinline__ void begin(const Source &source, uint8_t *ring,
                                        int first, int last) {
    uint32_t base = sharedAddress(ring);
#pragma unroll
    for (int i = 0; i < kDepth - 1; ++i) {
      if (first + i < last)
        fetch(source, base + i * kStageBytes, first + i);
      commitCopies();
    }
  }

  /// Adds the products over those stages; tokens are there by now.
  __device__ __forceinline__ void finish(const Source &source, uint8_t *ring,
                                         int first, int last) {
    uint32_t base = sharedAddress(ring);
    int slot = 0, ahead = kDepth - 1;
    for (int stage = first; stage < last; ++stage) {
      waitCopies<kDepth - 2>();
      __syncwarp(); // all lanes' copies are there, and slot `ahead` is read
      if (stage + kDepth - 1 < last)
        fetch(source, base + ahead * kStageBytes, stage + kDepth - 1);
      commitCopies();
      consume(source, ring + slot * kStageBytes, stage);
      slot = slot + 1 == kDepth ? 0 : slot + 1;
      ahead = ahead + 1 == kDepth ? 0 : ahead + 1;
    }
    multiplyByGlobals(source);
    __syncwarp();
  }

  /// Writes the sums of the warp's rows to shared memory: token after token,
  /// `pitch` floats apart. `to` is this warp's first row at its first token.
  template <int pitch>
  __device__ __forceinline__ void store(float *to) const {
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int j = 0; j < Shape::kTokenTiles; ++j)
#pragma unroll
      for (int k = 0; k < 4; ++k)
        to[(j * 8 + lane % 4 * 2 + k % 2) * pitch + k / 2 * 8 + lane / 4] =
            sums[j][k];
  }

private:
  /// Where a piece of a row lies, such that lanes that read at a time meet all
  /// banks: lines of 128 bytes have their pieces in different orders.
  static __device__ __forceinline__ int place(int row, int piece) {
    int line = row * kPieces / 8;
    int order = (line & 1) << 2 | (line & 2) | (line & 4) >> 2;
    return (row * kPieces + (piece ^ order * kPieces / 8)) * 16;
  }

  static __device__ __forceinline__ const uint8_t *wordOf(const void *address) {
    return reinterpret_cast<const uint8_t *>(
        reinterpret_cast<uintptr_t>(address) & ~uintptr_t(3));
  }
  template <typename C>
  static __device__ __forceinline__ const typename C::Element *
  entryOf(const void *base, int row, int stage) {
    return C::row(base, 0, row) + stage * kStageColumns / C::kBlockCols;
  }

  template <typename C>
  static __device__ __forceinline__ void
  fetchCompanion(const Source &source, int operand, uint32_t to, int stage) {
    using Part = StagePart<C, kStageColumns>;
    constexpr int kWords = Part::kPart.words, kTotal = kRows * kWords;
#pragma unroll
    for (int i = 0; i < (kTotal + 31) / 32; ++i) {
      int index = i * 32 + threadIdx.x % 32;
      int row = index / kWords, word = index % kWords;
      int half = row / 8;
      if ((kTotal % 32 != 0 && index >= kTotal) ||
          row % 8 >= (half ? source.rowCount[1] : source.rowCount[0]))
        continue;
      const auto *entry =
          entryOf<C>(source.operands[operand],
                     (half ? source.rows[1] : source.rows[0]) + row % 8, stage);
      const uint8_t *from = wordOf(entry) + word * 4;
      // A word behind the last entry may lie outside of the companion.
      if (Part::kPart.aligned ||
          from < reinterpret_cast<const uint8_t *>(entry + Part::kPart.entries))
        copyAsync<4>(to + index * 4, from);
    }
  }

  __device__ __forceinline__ void fetch(const Source &source, uint32_t slot,
                                        int stage) {
    int lane = threadIdx.x % 32;
    using Elements = typename Weights::Elements;
#pragma unroll
    for (int i = 0; i < kCopies; ++i) {
      int row = (i * 32 + lane) / kPieces, piece = (i * 32 + lane) % kPieces;
      int half = row / 8;
      if (row < kRows &&
          row % 8 < (half ? source.rowCount[1] : source.rowCount[0]))
        copyAsync16(
            slot + place(row, piece),
            Elements::row(source.operands[0],
                          (half ? source.rows[1] : source.rows[0]) + row % 8) +
                (stage * kPieces + piece) * 16);
    }
    fetchCompanion<Scale>(source, 1, slot + kScaleAt, stage);
    if constexpr (Zero::kIsThere)
      fetchCompanion<Zero>(source, 2, slot + kZeroAt, stage);
  }

  /// Entry `entry` of a stage of the companion of row g + 8 half.
  template <typename C>
  static __device__ __forceinline__ typename C::Element
  entryAt(const Source &source, int operand, const uint8_t *part, int half,
          int stage, int entry) {
    using Part = StagePart<C, kStageColumns>;
    int g = threadIdx.x % 32 / 4;
    int at = (half * 8 + g) * static_cast<int>(Part::kPart.words) * 4;
    if constexpr (!Part::kPart.aligned)
      at += reinterpret_cast<uintptr_t>(entryOf<C>(
                source.operands[operand], source.rows[half] + g, stage)) &
            3;
    return reinterpret_cast<const typename C::Element *>(part + at)[entry];
  }

  /// The entry of a unit, and of a lane's columns in it.
  template <typename C>
  static __device__ __forceinline__ int entryOfColumn(int column) {
    if constexpr (C::kBlockCols >= kStageColumns)
      return 0;
    else
      return column / static_cast<int>(C::kBlockCols);
  }

  __device__ __forceinline__ void consume(const Source &source,
                                          const uint8_t *slot, int stage) {
    int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    // More tiles of tokens leave fewer registers.
#pragma unroll(Shape::kTokenTiles == 1 ? kUnits : 1)
    for (int unit = 0; unit < kUnits; ++unit) {
      // This lane's words of both rows.
      uint32_t words[2][kUnitWords];
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        constexpr int kBytes = kUnitWords * 4;
        int byte = (unit * 4 + t) * kBytes;
        const uint8_t *at = slot + place(half * 8 + g, byte / 16) + byte % 16;
        Vector<uint32_t, kUnitWords> read =
            *reinterpret_cast<const Vector<uint32_t, kUnitWords> *>(at);
#pragma unroll
        for (int i = 0; i < kUnitWords; ++i)
          words[half][i] = read[i];
      }
      // What makes numbers of the codes of each row.
      uint32_t decode[2];
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        if constexpr (kFloats)
          decode[half] = kUndoE2M1;
        else if constexpr (Zero::kIsThere)
          decode[half] = integerZeros(
              entryAt<Zero>(source, 2, slot + kZeroAt, half, stage,
                            entryOfColumn<Zero>(unit * Shape::kUnit)));
        else
          decode[half] = integerZeros(Weights::Codes::kZero);
      }
      float products[Shape::kTokenTiles][4] = {};
#pragma unroll
      for (int i = 0; i < kUnitWords; ++i) {
        uint32_t pairs[2][4];
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          if constexpr (!kFloats) {
            integersToBf16(words[half][i], decode[half], pairs[half]);
          } else {
            if constexpr (kScalesCodes) {
              // A block has two words, or a word is within one.
              static_assert(Scale::kBlockCols % 8 == 0);
              if (i * 8 % Scale::kBlockCols == 0)
                decode[half] = scaledUndo(entryAt<Scale>(
                    source, 1, slot + kScaleAt, half, stage,
                    entryOfColumn<Scale>(unit * Shape::kUnit +
                                         (t * kUnitWords + i) * 8)));
            }
            floatsToBf16(words[half][i], decode[half], pairs[half]);
          }
        }
#pragma unroll
        for (int j = 0; j < Shape::kTokenTiles; ++j) {
          uint4 b = *reinterpret_cast<const uint4 *>(
              source.tokens[j] + (stage * kUnits + unit) * Shape::kUnit * 2 +
              (i * 4 + t) * 16);
          auto &d = kScalesCodes ? sums[j] : products[j];
          mmaBf16(d, pairs[0][0], pairs[1][0], pairs[0][1], pairs[1][1], b.x,
                  b.y);
          mmaBf16(d, pairs[0][2], pairs[1][2], pairs[0][3], pairs[1][3], b.z,
                  b.w);
        }
      }
      if constexpr (!kScalesCodes) {
        float scales[2];
#pragma unroll
        for (int half = 0; half < 2; ++half)
          scales[half] = toFloat(
              entryAt<Scale>(source, 1, slot + kScaleAt, half, stage,
                             entryOfColumn<Scale>(unit * Shape::kUnit)));
#pragma unroll
        for (int j = 0; j < Shape::kTokenTiles; ++j)
#pragma unroll
          for (int k = 0; k < 4; ++k)
            sums[j][k] += products[j][k] * scales[k / 2];
      }
    }
  }

  __device__ __forceinline__ void multiplyByGlobals(const Source &source) {
    if constexpr (Global::kIsThere || kScalesCodes) {
      int g = threadIdx.x % 32 / 4;
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float factor = kScalesCodes ? 1 << kScaleShift : 1;
        if constexpr (Global::kIsThere)
          if (g < source.rowCount[half]) {
            float global = *Global::row(source.operands[Weights::kOperands - 1],
                                        0, source.rows[half] + g);
            factor =
                Weights::kGlobalDivides ? factor / global : factor * global;
          }
#pragma unroll
        for (int j = 0; j < Shape::kTokenTiles; ++j) {
          sums[j][half * 2] *= factor;
          sums[j][half * 2 + 1] *= factor;
        }
      }
    }
  }
};

//===--- Tokens in shared memory ------------------------------------------===//

/// Eight bf16 columns in the order of a word's codes.
__device__ __forceinline__ uint4 inOrderOfCodes(uint4 columns) {
  return {__byte_perm(columns.x, columns.z, 0x5410),
          __byte_perm(columns.x, columns.z, 0x7632),
          __byte_perm(columns.y, columns.w, 0x5410),
          __byte_perm(columns.y, columns.w, 0x7632)};
}

/// Writes tokens of `cols` columns for a PackedStream: `read(token, column)` is
/// eight columns as a uint4 of bf16. By threads first, first + threads, ...
template <int cols, int unit, int tokenBytes, typename Read>
__device__ __forceinline__ void placeTokens(uint8_t *to, int count, int first,
                                            int threads, Read read) {
  constexpr int kPieces = cols / 8;
  constexpr int kQuarter = unit / 32; // pieces of a lane
  // Several at a time, so that their loads overlap.
  constexpr int kBatch = 4;
  int total = count * kPieces;
  for (int start = first; start < total; start += kBatch * threads) {
    uint4 values[kBatch];
#pragma unroll
    for (int j = 0; j < kBatch; ++j) {
      int index = start + j * threads;
      if (index < total)
        values[j] = read(index / kPieces, index % kPieces * 8);
    }
#pragma unroll
    for (int j = 0; j < kBatch; ++j) {
      int index = start + j * threads;
      if (index >= total)
        continue;
      int token = index / kPieces, piece = index % kPieces;
      // A unit's pieces: those of the first of four lanes, of the second, ...;
      // here the first ones of all four come first.
      int within = piece % (unit / 8);
      int place = piece - within + within % kQuarter * 4 + within / kQuarter;
      *reinterpret_cast<uint4 *>(to + token * tokenBytes + place * 16) =
          inOrderOfCodes(values[j]);
    }
  }
}

/// The lane's token of each tile, of which there are `rows`: others repeat.
template <typename Source, int tokenTiles, int tokenBytes>
__device__ __forceinline__ void attachTokens(Source &source, const uint8_t *at,
                                             int rows) {
#pragma unroll
  for (int j = 0; j < tokenTiles; ++j) {
    int token = j * 8 + threadIdx.x % 32 / 4;
    source.tokens[j] = at + (token < rows ? token : 0) * tokenBytes;
  }
}

} // namespace saddle::device
