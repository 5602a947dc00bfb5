// A warp multiplies 16 rows of weights of four bits, streamed from memory, with
// a few tokens in bf16.
//
// As tile/stream.cuh: weights are the 16-row operand of mma.sync, and the k of
// a fragment are those that a lane reads together. Of a unit of 32, 64 or 128
// columns, each of four lanes has a quarter. Eight codes of a word become four
// pairs of bf16, exactly: codes 0 and 4, 1 and 5, 2 and 6, 3 and 7, as masks
// leave them; tokens lie in shared memory in that order.
//
// Scales: an e4m3 or e8m0 scale times an e2m1 code is a bf16 number, so codes
// are multiplied by it before the product. Other scales multiply the sums of a
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
/// (word & mask) | bits, in one instruction: left to itself, the compiler takes
/// two, as an instruction has one constant.
template <uint32_t mask>
__device__ __forceinline__ uint32_t maskedWith(uint32_t word, uint32_t bits) {
  uint32_t result;
  asm("lop3.b32 %0, %1, %2, %3, 0xea;"
      : "=r"(result)
      : "r"(word), "n"(mask), "r"(bits));
  return result;
}

/// 128 + zero, twice. 128 + a number below 128 is a bf16 number whose last bits
/// are the number's.
__device__ __forceinline__ uint32_t integerZeros(uint32_t zero) {
  return twice(0x4300u | zero);
}

/// Integers less their zeros. `magic` is integerZeros(0), in a register.
__device__ __forceinline__ void integersToBf16(uint32_t word, uint32_t magic,
                                               uint32_t zeros,
                                               uint32_t (&pairs)[4]) {
#pragma unroll
  for (int i = 0; i < 4; ++i)
    pairs[i] = asBits(__hsub2(
        asPair(maskedWith<0x000f000fu>(word >> 4 * i, magic)), asPair(zeros)));
}

/// e2m1: exponent and mantissa at the bottom of bf16's exponent are the number
/// times 2^-126. `factors` undo it.
__device__ __forceinline__ void floatsToBf16(uint32_t word, uint32_t factors,
                                             uint32_t (&pairs)[4]) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    uint32_t magnitude =
        (i < 2 ? word << (6 - 4 * i) : word >> (4 * i - 6)) & 0x01c001c0u;
    uint32_t bits = maskedWith<0x80008000u>(word << (12 - 4 * i), magnitude);
    pairs[i] = asBits(__hmul2(asPair(bits), asPair(factors)));
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
/// A power of two may be any of bf16's, twice.
__device__ __forceinline__ uint32_t powerBf16(e8m0 scale) {
  uint32_t exponent = scale.exponent;
  return twice(exponent == 0     ? 0x0040
               : exponent == 255 ? 0x7fc0
                                 : exponent << 7);
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
  static constexpr bool kAligned = kPart.aligned;
  static constexpr int kWords = kPart.words;
  static constexpr int kBytes = kPart.entries * sizeof(typename C::Element);
  static constexpr int kCopies = (16 * kWords + 31) / 32; // of a lane
};
template <int stageColumns>
struct StagePart<NoCompanion, stageColumns> {
  static constexpr CompanionPart kPart = CompanionPart();
  static constexpr int kWords = 0, kCopies = 1;
};

//===--- The product ------------------------------------------------------===//

/// `Weights` are StoredWeights of Nibbles or E2M1 with one scale for each row,
/// whose blocks of columns are whole units. Eight rows are all there or none.
template <typename Weights, typename Shape>
struct PackedStream {
  using Scale = typename Weights::Scale;
  using Zero = typename Weights::Zero;
  using Global = typename Weights::Global;
  static constexpr bool kFloats = std::is_same_v<typename Weights::Codes, E2M1>;
  static constexpr bool kHasPowers =
      std::is_same_v<typename Scale::Element, e8m0>;
  static constexpr bool kHasE4M3 =
      std::is_same_v<typename Scale::Element, e4m3>;
  static constexpr bool kScalesCodes = kHasPowers || kHasE4M3;
  static_assert(!kScalesCodes || kFloats, "the product is a bf16 number");
  static_assert(Scale::kBlockRows == 1, "a row has scales of its own");

  using Layout = PackedLayout;
  static constexpr int kPieces = Shape::kPieces;
  static constexpr int kStageColumns = kPieces * 32;
  using ScalePart = StagePart<Scale, kStageColumns>;
  using ZeroPart = StagePart<Zero, kStageColumns>;
  static constexpr Layout kLayout = {kPieces, Shape::kTokenTiles, Shape::kDepth,
                                     ScalePart::kPart, ZeroPart::kPart};
  static constexpr int kUnits = kStageColumns / Shape::kUnit;
  static constexpr int kUnitWords = Shape::kUnit / 32; // of a lane
  static constexpr int kStages = Weights::kCols / kStageColumns;
  static_assert(kStages * kStageColumns == Weights::kCols,
                "stages are never cut");
  static constexpr int kRows = 16, kDepth = Shape::kDepth;
  /// Rows that the lanes copy a stage of at a time, and how often they do.
  static constexpr int kCopyRows = 32 / kPieces < 16 ? 32 / kPieces : 16;
  static constexpr int kCopies = kRows / kCopyRows;
  static constexpr int kScaleAt = kLayout.weightPart();
  static constexpr int kZeroAt = kScaleAt + kRows * ScalePart::kWords * 4;
  static constexpr int kStageBytes = kLayout.stageBytes();
  static constexpr int kRingBytes = kLayout.ringBytes();
  /// Of a token in shared memory.
  static constexpr int kTokenBytes = packedTokenBytes(Weights::kCols);

  /// The first of each eight rows, among those of all members.
  struct Rows {
    int first[2];
  };

  /// Lane 4 g + t: [0], [1] of row g and [2], [3] of row g + 8, at tokens 2 t
  /// and 2 t + 1 of a token tile.
  float sums[Shape::kTokenTiles][4];

  /// `operands` are the weight and its companions; `ring` is this warp's.
  __device__ __forceinline__ PackedStream(void *const *operands, uint8_t *ring)
      : operands(operands), ring(ring) {}

  /// Shared memory has `kept` tokens from `at` on; the products of others are
  /// undefined.
  template <int kept>
  __device__ __forceinline__ void attach(const uint8_t *at) {
    int lane = threadIdx.x % 32 / 4;
#pragma unroll
    for (int j = 0; j < Shape::kTokenTiles; ++j)
      tokens[j] =
          at + (j * 8 + 8 <= kept || j * 8 + lane < kept ? j * 8 + lane : 0) *
                   kTokenBytes;
  }

  /// Starts to copy stages first .. last - 1 of passes 0 .. passes - 1, whose
  /// rows are rowsOf(pass).
  template <typename RowsOf>
  __device__ __forceinline__ void begin(RowsOf rowsOf, int passes, int first,
                                        int last) {
    ahead = {0, first, 0};
    if (passes > 0)
      point(rowsOf(0));
#pragma unroll 1
    for (int i = 0; i < kDepth - 1; ++i)
      fetchNext(rowsOf, passes, first, last);
  }

  /// Multiplies; calls emit(pass) when `sums` has those of a pass. Tokens are
  /// there by now. The other arguments are those of begin().
  template <typename RowsOf, typename Emit>
  __device__ __forceinline__ void finish(RowsOf rowsOf, int passes, int first,
                                         int last, Emit emit) {
    int slot = 0;
#pragma unroll 1
    for (int pass = 0; pass < passes; ++pass) {
#pragma unroll
      for (int j = 0; j < Shape::kTokenTiles; ++j)
#pragma unroll
        for (int k = 0; k < 4; ++k)
          sums[j][k] = 0;
      Rows rows = rowsOf(pass);
#pragma unroll 1
      for (int stage = first; stage < last; ++stage) {
        waitCopies<kDepth - 2>();
        __syncwarp(); // all lanes' copies are there, and slot `ahead` is read
        fetchNext(rowsOf, passes, first, last);
        consume(rows, ring + slot * kStageBytes, stage);
        slot = slot + 1 == kDepth ? 0 : slot + 1;
      }
      multiplyByGlobals(rows);
      emit(pass);
    }
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
  void *const *operands;
  uint8_t *ring;
  const uint8_t *tokens[Shape::kTokenTiles];

  /// What is fetched next, and where this lane's first pieces of each eight
  /// rows and its words of companions are, at stage 0.
  struct {
    int pass, stage, slot;
  } ahead;
  const uint8_t *pieces[2];
  const uint8_t *scales[ScalePart::kCopies];
  const uint8_t *zeros[ZeroPart::kCopies];

  /// Where a piece of a row lies, such that lanes that read at a time meet all
  /// banks: lines of 128 bytes have their pieces in different orders.
  static __device__ __forceinline__ int place(int row, int piece) {
    int line = row * kPieces / 8;
    int order = (line & 1) << 2 | (line & 2) | (line & 4) >> 2;
    return (row * kPieces + (piece ^ order * kPieces / 8)) * 16;
  }

  /// Bytes from an entry to that of the same row in a later stage.
  template <typename C>
  static __device__ __forceinline__ int entryBytes(int stage) {
    return stage * kStageColumns / static_cast<int>(C::kBlockCols) *
           static_cast<int>(sizeof(typename C::Element));
  }

  template <typename C, typename Part>
  static __device__ __forceinline__ void
  pointCompanion(const uint8_t *(&at)[Part::kCopies], const void *base,
                 const Rows &rows) {
#pragma unroll
    for (int i = 0; i < Part::kCopies; ++i) {
      int row = (i * 32 + threadIdx.x % 32) / Part::kWords % kRows;
      at[i] = reinterpret_cast<const uint8_t *>(
          C::row(base, 0, (row < 8 ? rows.first[0] : rows.first[1]) + row % 8));
    }
  }

  __device__ __forceinline__ void point(const Rows &rows) {
    int lane = threadIdx.x % 32;
    using Elements = typename Weights::Elements;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      // With 16 rows at a time, a lane has a row of one half only.
      int row = kCopies == 1 ? lane / kPieces % 8 : lane / kPieces;
      pieces[half] = Elements::row(operands[0], rows.first[half] + row) +
                     lane % kPieces * 16;
    }
    pointCompanion<Scale, ScalePart>(scales, operands[1], rows);
    if constexpr (Zero::kIsThere)
      pointCompanion<Zero, ZeroPart>(zeros, operands[2], rows);
  }

  template <typename C, typename Part>
  static __device__ __forceinline__ void
  fetchCompanion(const uint8_t *const (&at)[Part::kCopies], uint32_t to,
                 int stage) {
    constexpr int kTotal = kRows * Part::kWords;
#pragma unroll
    for (int i = 0; i < Part::kCopies; ++i) {
      int index = i * 32 + threadIdx.x % 32;
      if (kTotal % 32 != 0 && index >= kTotal)
        continue;
      const uint8_t *entry = at[i] + entryBytes<C>(stage), *from = entry;
      if constexpr (!Part::kAligned)
        from = reinterpret_cast<const uint8_t *>(
            reinterpret_cast<uintptr_t>(entry) & ~uintptr_t(3));
      from += index % Part::kWords * 4;
      // A word behind the last entry may lie outside of the companion.
      if (Part::kAligned || from < entry + Part::kBytes)
        copyAsync<4>(to + index * 4, from);
    }
  }

  template <typename RowsOf>
  __device__ __forceinline__ void fetchNext(RowsOf rowsOf, int passes,
                                            int first, int last) {
    if (ahead.pass < passes) {
      int lane = threadIdx.x % 32;
      uint32_t slot = sharedAddress(ring) + ahead.slot * kStageBytes;
      uint32_t to = slot + place(lane / kPieces, lane % kPieces);
      int bytes = ahead.stage * kPieces * 16;
      if constexpr (kCopies == 1) {
        if (lane / kPieces < kRows) // all lanes, unless a stage is one piece
          copyAsync16(to, (lane / kPieces < 8 ? pieces[0] : pieces[1]) + bytes);
      } else {
        constexpr int64_t kStride = Weights::Elements::kStride;
#pragma unroll
        for (int i = 0; i < kCopies; ++i) {
          int row = i * kCopyRows; // and those behind it
          copyAsync16(slot + place(row + lane / kPieces, lane % kPieces),
                      pieces[row / 8] + row % 8 * kStride + bytes);
        }
      }
      fetchCompanion<Scale, ScalePart>(scales, slot + kScaleAt, ahead.stage);
      if constexpr (Zero::kIsThere)
        fetchCompanion<Zero, ZeroPart>(zeros, slot + kZeroAt, ahead.stage);
      ahead.slot = ahead.slot + 1 == kDepth ? 0 : ahead.slot + 1;
      if (++ahead.stage == last) {
        ahead.stage = first;
        if (++ahead.pass < passes)
          point(rowsOf(ahead.pass));
      }
    }
    commitCopies();
  }

  /// Entry `entry` of a stage of the companion of row g + 8 half.
  template <typename C, typename Part>
  __device__ __forceinline__ typename C::Element
  entryAt(const Rows &rows, int operand, const uint8_t *part, int half,
          int stage, int entry) const {
    int g = threadIdx.x % 32 / 4;
    int at = (half * 8 + g) * Part::kWords * 4;
    if constexpr (!Part::kAligned)
      at += (reinterpret_cast<uintptr_t>(
                 C::row(operands[operand], 0, rows.first[half] + g)) +
             entryBytes<C>(stage)) &
            3;
    return reinterpret_cast<const typename C::Element *>(part + at)[entry];
  }

  /// Which entry of a stage serves a column of it.
  template <typename C>
  static __device__ __forceinline__ int entryOfColumn(int column) {
    if constexpr (C::kBlockCols >= kStageColumns)
      return 0;
    else
      return column / static_cast<int>(C::kBlockCols);
  }

  __device__ __forceinline__ void consume(const Rows &rows, const uint8_t *slot,
                                          int stage) {
    int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    const uint8_t *scalePart = slot + kScaleAt, *zeroPart = slot + kZeroAt;
    const uint32_t magic = integerZeros(0);
    // More tiles of tokens leave fewer registers.
#pragma unroll(Shape::kTokenTiles == 1 ? kUnits : 1)
    for (int unit = 0; unit < kUnits; ++unit) {
      // This lane's words of both rows, and what makes numbers of them.
      Vector<uint32_t, kUnitWords> words[2];
      uint32_t decode[2], powers[2];
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        int byte = (unit * 4 + t) * kUnitWords * 4;
        words[half] = *reinterpret_cast<const Vector<uint32_t, kUnitWords> *>(
            slot + place(half * 8 + g, byte / 16) + byte % 16);
        if constexpr (kFloats)
          decode[half] = kUndoE2M1;
        else if constexpr (Zero::kIsThere)
          decode[half] = integerZeros(entryAt<Zero, ZeroPart>(
              rows, 2, zeroPart, half, stage,
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
          if constexpr (kScalesCodes) {
            // A lane's columns are whole blocks, or lie within one.
            if (i * 8 % Scale::kBlockCols == 0) {
              auto scale = entryAt<Scale, ScalePart>(
                  rows, 1, scalePart, half, stage,
                  entryOfColumn<Scale>(unit * Shape::kUnit +
                                       (t * kUnitWords + i) * 8));
              if constexpr (kHasE4M3)
                decode[half] = scaledUndo(scale);
              else
                powers[half] = powerBf16(scale);
            }
          }
          if constexpr (kFloats)
            floatsToBf16(words[half][i], decode[half], pairs[half]);
          else
            integersToBf16(words[half][i], magic, decode[half], pairs[half]);
          if constexpr (kHasPowers) {
#pragma unroll
            for (int k = 0; k < 4; ++k)
              pairs[half][k] =
                  asBits(__hmul2(asPair(pairs[half][k]), asPair(powers[half])));
          }
        }
#pragma unroll
        for (int j = 0; j < Shape::kTokenTiles; ++j) {
          uint4 b = *reinterpret_cast<const uint4 *>(
              tokens[j] + (stage * kUnits + unit) * Shape::kUnit * 2 +
              (i * 4 + t) * 16);
          float (&d)[4] = products[j];
          mmaBf16(d, pairs[0][0], pairs[1][0], pairs[0][1], pairs[1][1], b.x,
                  b.y);
          mmaBf16(d, pairs[0][2], pairs[1][2], pairs[0][3], pairs[1][3], b.z,
                  b.w);
        }
      }
      // Units have sums of their own also without scales, so that products of
      // two can be under way.
      float scale[2] = {1, 1};
      if constexpr (!kScalesCodes) {
#pragma unroll
        for (int half = 0; half < 2; ++half)
          scale[half] = toFloat(entryAt<Scale, ScalePart>(
              rows, 1, scalePart, half, stage,
              entryOfColumn<Scale>(unit * Shape::kUnit)));
      }
#pragma unroll
      for (int j = 0; j < Shape::kTokenTiles; ++j)
#pragma unroll
        for (int k = 0; k < 4; ++k)
          sums[j][k] += products[j][k] * scale[k / 2];
    }
  }

  __device__ __forceinline__ void multiplyByGlobals(const Rows &rows) {
    if constexpr (Global::kIsThere || kHasE4M3) {
      int g = threadIdx.x % 32 / 4;
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float factor = kHasE4M3 ? 1 << kScaleShift : 1;
        if constexpr (Global::kIsThere) {
          float global = *Global::row(operands[Weights::kOperands - 1], 0,
                                      rows.first[half] + g);
          factor = Weights::kGlobalDivides ? factor / global : factor * global;
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

//===--- Tokens -----------------------------------------------------------===//

/// Where a PackedStream wants a column of a token, in elements. Of a unit's
/// pieces of eight columns, those of the first of four lanes come first in the
/// row; a stream reads the first ones of all four together. Within a piece,
/// columns have the order of a word's codes.
template <int unit>
__device__ __forceinline__ int packedPiece(int piece) {
  constexpr int kQuarter = unit / 32; // pieces of a lane
  int within = piece % (unit / 8);
  return piece - within + within % kQuarter * 4 + within / kQuarter;
}
template <int unit>
__device__ __forceinline__ int packedColumn(int column) {
  return packedPiece<unit>(column / 8) * 8 + column % 4 * 2 + column % 8 / 4;
}

/// Eight bf16 columns in the order of a word's codes.
__device__ __forceinline__ uint4 inOrderOfCodes(uint4 columns) {
  return {__byte_perm(columns.x, columns.z, 0x5410),
          __byte_perm(columns.x, columns.z, 0x7632),
          __byte_perm(columns.y, columns.w, 0x5410),
          __byte_perm(columns.y, columns.w, 0x7632)};
}

/// Writes `count` tokens of `cols` columns, `pitch` bytes apart, in the order
/// of a PackedStream: read(token, column) is eight columns. By `threads`
/// threads, of which this one is the `first`.
template <int cols, int unit, int pitch, typename Read>
__device__ __forceinline__ void orderTokens(uint8_t *to, int count, int first,
                                            int threads, Read read) {
  constexpr int kPieces = cols / 8;
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
      if (index < total)
        *reinterpret_cast<uint4 *>(to + index / kPieces * pitch +
                                   packedPiece<unit>(index % kPieces) * 16) =
            inOrderOfCodes(values[j]);
    }
  }
}

/// Copies `count` tokens that are in that order already: rowOf(token) is one.
/// They are there when this thread's copies are.
template <int cols, int tokenBytes, typename RowOf>
__device__ __forceinline__ void copyTokens(uint8_t *to, int count,
                                           RowOf rowOf) {
  constexpr int kPieces = cols / 8;
  uint32_t base = sharedAddress(to);
  for (int i = threadIdx.x; i < count * kPieces; i += blockDim.x)
    copyAsync16(base + i / kPieces * tokenBytes + i % kPieces * 16,
                reinterpret_cast<const uint8_t *>(rowOf(i / kPieces)) +
                    i % kPieces * 16);
}

} // namespace saddle::device
