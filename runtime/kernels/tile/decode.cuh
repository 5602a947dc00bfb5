// Stored weights as bf16 in a tile of shared memory, decoded by the warpgroup
// that feeds tile/product.cuh: (code - zero) * scale, rounded once. What a
// thread copies nobody else reads, as in tile/digits.cuh: codes come by
// cp.async to places of its own, some stages ahead.

#pragma once

#include "runtime/kernels/ptx/copy_async.cuh"
#include "runtime/kernels/ptx/wgmma.cuh"
#include "runtime/kernels/shared/tile.h"
#include "runtime/kernels/tile/packed.cuh"

#include <type_traits>

namespace saddle::device {

//===--- Codes ------------------------------------------------------------===//

/// A scale for numbers that are multiplied in bf16: two whose sum it is, up to
/// 2^-17 of it, so that the product is rounded as if once.
struct ScaleParts {
  uint32_t high, low; // twice each

  explicit __device__ __forceinline__ ScaleParts(float scale) {
    bf16 number = fromFloat<bf16>(scale);
    high = asBits(__nv_bfloat162(number, number));
    number = fromFloat<bf16>(scale - toFloat(number));
    low = asBits(__nv_bfloat162(number, number));
  }
  __device__ __forceinline__ uint32_t times(uint32_t pair) const {
    return asBits(__hfma2(asPair(pair), asPair(high),
                          __hmul2(asPair(pair), asPair(low))));
  }
};

/// decode() makes eight columns of `words`. pairs[i] are columns 2 i and 2 i +
/// 1.
template <typename Codes, typename Element>
struct EightColumns;

/// Pairs of columns i and i + 4, as masks leave them, in order.
__device__ __forceinline__ void inOrderOfColumns(uint32_t (&pairs)[4]) {
  uint32_t a[4] = {pairs[0], pairs[1], pairs[2], pairs[3]};
  pairs[0] = __byte_perm(a[0], a[1], 0x5410);
  pairs[1] = __byte_perm(a[2], a[3], 0x5410);
  pairs[2] = __byte_perm(a[0], a[1], 0x7632);
  pairs[3] = __byte_perm(a[2], a[3], 0x7632);
}

template <int zero>
struct EightColumns<Nibbles<zero>, u8> {
  static constexpr int kBits = 4, kZero = zero;
  using Scale = ScaleParts;
  static __device__ __forceinline__ void decode(const uint32_t *words,
                                                const Scale &scale, int taken,
                                                uint32_t (&pairs)[4]) {
    integersToBf16(words[0], integerZeros(0), integerZeros(taken), pairs);
    inOrderOfColumns(pairs);
#pragma unroll
    for (uint32_t &pair : pairs)
      pair = scale.times(pair);
  }
};

template <>
struct EightColumns<E2M1, u8> {
  static constexpr int kBits = 4, kZero = 0;
  using Scale = ScaleParts;
  static __device__ __forceinline__ void
  decode(const uint32_t *words, const Scale &scale, int, uint32_t (&pairs)[4]) {
    floatsToBf16(words[0], kUndoE2M1, pairs);
    inOrderOfColumns(pairs);
#pragma unroll
    for (uint32_t &pair : pairs)
      pair = scale.times(pair);
  }
};

/// Bytes: in fp32, of which a byte is the end of the mantissa of 2^23.
template <int zero>
struct EightColumns<Bytes<zero>, u8> {
  static constexpr int kBits = 8, kZero = zero;
  using Scale = float;
  static __device__ __forceinline__ void
  decode(const uint32_t *words, float scale, int taken, uint32_t (&pairs)[4]) {
    float magic = static_cast<float>(0x800000 + taken);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      float value[2];
#pragma unroll
      for (int j = 0; j < 2; ++j)
        value[j] = (__uint_as_float(__byte_perm(words[i / 2], 0x4b000000u,
                                                0x7650 + i % 2 * 2 + j)) -
                    magic) *
                   scale;
      pairs[i] = bf16Pair(value[0], value[1]);
    }
  }
};

template <>
struct EightColumns<Numbers, i8> {
  static constexpr int kBits = 8, kZero = 128;
  using Scale = float;
  static __device__ __forceinline__ void
  decode(const uint32_t *words, float scale, int taken, uint32_t (&pairs)[4]) {
    uint32_t shifted[2] = {words[0] ^ 0x80808080u, words[1] ^ 0x80808080u};
    EightColumns<Bytes<128>, u8>::decode(shifted, scale, taken, pairs);
  }
};

template <>
struct EightColumns<Numbers, e4m3> {
  static constexpr int kBits = 8, kZero = 0;
  using Scale = float;
  static __device__ __forceinline__ void
  decode(const uint32_t *words, float scale, int, uint32_t (&pairs)[4]) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      __half2_raw raw = __nv_cvt_fp8x2_to_halfraw2(
          static_cast<__nv_fp8x2_storage_t>(words[i / 2] >> i % 2 * 16),
          __NV_E4M3);
      float2 values = __half22float2(__half2(raw));
      pairs[i] = bf16Pair(values.x * scale, values.y * scale);
    }
  }
};

//===--- Rows -------------------------------------------------------------===//

/// A thread's rows of a tile of `rows` rows, of 64 columns for each stage:
/// every row of that many `threads` from that of its number on.
template <typename Weights, int rows, int threads>
struct DecodedRows {
  using Matrix = typename Weights::Elements;
  using Eight = EightColumns<typename Weights::Codes, typename Matrix::Element>;
  using Scale = typename Weights::Scale;
  using Zero = typename Weights::Zero;
  using Global = typename Weights::Global;
  static constexpr int kBits = Eight::kBits;
  static constexpr int kThreads = threads;
  static constexpr int kEach = rows / kThreads; // rows of a thread
  static_assert(kEach * kThreads == rows, "threads have as many rows");
  static constexpr int kColumns = 64; // of a stage
  static constexpr int kCols = Weights::kCols;
  /// 16 bytes of codes.
  static constexpr int kPieceColumns = 128 / kBits;
  static constexpr int kPieces = kColumns / kPieceColumns;
  static_assert(kCols % kPieceColumns == 0, "pieces are never cut");
  static constexpr int kDepth = TileLayout::codeDepth(kBits);
  static constexpr int kSlotBytes = kEach * kPieces * kThreads * 16;

  /// Numbers of a companion for a stage of a row.
  template <typename C>
  static constexpr int kEntries =
      C::kBlockCols < kColumns ? kColumns / C::kBlockCols : 1;
  static_assert(Scale::kBlockCols >= kColumns ||
                    (kColumns % Scale::kBlockCols == 0 &&
                     Scale::kBlockCols >= 16),
                "blocks are whole stages, or a stage has whole ones");
  static_assert(Scale::kBlockCols < kColumns || Scale::kBlockCols >= kCols ||
                    Scale::kBlockCols % kColumns == 0,
                "a stage has one block, or some");
  struct Companions {
    typename Scale::Element scales[kEach][kEntries<Scale>];
    uint8_t zeros[kEach][Zero::kIsThere ? kEntries<Zero> : 1];
  };

  /// `codes` is where this thread's copies lie, `thread` its number among those
  /// that feed.
  __device__ __forceinline__ DecodedRows(void *const *operands, uint32_t codes,
                                         int thread)
      : operands(operands), codes(codes + thread * 16) {}

  /// From here on rows are rowOf(i), i < kEach; begins to copy their first
  /// stages.
  template <typename RowOf>
  __device__ __forceinline__ void begin(RowOf rowOf) {
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      int row = rowOf(i); // behind the last: results that nobody takes
      row = row < Weights::kRows ? row : static_cast<int>(Weights::kRows) - 1;
      place[i] = row;
      if constexpr (Global::kIsThere) {
        globals[i] =
            __ldg(Global::row(operands[Weights::kOperands - 1], 0, row));
        if (Weights::kGlobalDivides)
          globals[i] = 1 / globals[i];
      }
    }
#pragma unroll 1
    for (int stage = 0; stage < kDepth; ++stage)
      fetch(stage);
    next = companionsOf(0);
  }

  /// Begins to copy a stage's codes, as one group with what was begun before.
  __device__ __forceinline__ void fetch(int stage) const {
    uint32_t to = codes + stage % kDepth * kSlotBytes;
    if (stage * kColumns < kCols) {
#pragma unroll
      for (int i = 0; i < kEach; ++i) {
        auto *row = reinterpret_cast<const uint8_t *>(
            Matrix::row(operands[0], place[i]));
#pragma unroll
        for (int j = 0; j < kPieces; ++j) {
          int piece = stage * kPieces + j;
          uint32_t bytes = piece * kPieceColumns < kCols ? 16 : 0;
          copyAsync16(to + (i * kPieces + j) * (kThreads * 16),
                      row + (bytes ? piece * 16 : 0), bytes);
        }
      }
    }
    commitCopies();
  }

  /// Writes a stage of this thread's rows to `tile`, swizzled as wgmma reads
  /// it; codes are there when the copies of kDepth - 1 later groups may still
  /// be under way.
  __device__ __forceinline__ void decode(uint32_t tile, int thread, int stage) {
    waitCopies<kDepth - 1>();
    Companions now = next;
    next = companionsOf(stage + 1);
    uint32_t from = codes + stage % kDepth * kSlotBytes;
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      uint32_t line = tile + (i * kThreads + thread) * TileLayout::kLineBytes;
#pragma unroll
      for (int j = 0; j < kPieces; ++j) {
        Vector<uint32_t, 4> words;
        asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
                     : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]),
                       "=r"(words[3])
                     : "r"(from + (i * kPieces + j) * (kThreads * 16))
                     : "memory");
#pragma unroll
        for (int k = 0; k < kPieceColumns / 8; ++k) {
          int column = j * kPieceColumns + k * 8;
          float number = toFloat(now.scales[i][entryAt<Scale>(column)]);
          if constexpr (Global::kIsThere)
            number *= globals[i];
          typename Eight::Scale scale(number);
          int zero = Eight::kZero;
          if constexpr (Zero::kIsThere)
            zero = now.zeros[i][entryAt<Zero>(column)];
          uint32_t pairs[4];
          Eight::decode(&words[k * kBits / 4], scale, zero, pairs);
          asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(
                           line + ((column / 8) ^ thread % 8) * 16),
                       "r"(pairs[0]), "r"(pairs[1]), "r"(pairs[2]),
                       "r"(pairs[3])
                       : "memory");
        }
      }
    }
    fenceForTensorCores();
  }

private:
  void *const *operands;
  uint32_t codes;
  int place[kEach]; // rows
  float globals[Global::kIsThere ? kEach : 1];
  Companions next;

  template <typename C>
  static __host__ __device__ constexpr int entryAt(int column) {
    return C::kBlockCols < kColumns ? column / static_cast<int>(C::kBlockCols)
                                    : 0;
  }
  /// Behind the last column tokens are zero: any number will do.
  template <typename C, typename T, int count>
  static __device__ __forceinline__ void read(T (&to)[count], const T *row,
                                              int stage) {
    constexpr int kBlock =
        static_cast<int>(C::kBlockCols < kCols ? C::kBlockCols : kCols);
#pragma unroll
    for (int k = 0; k < count; ++k) {
      int column = stage * kColumns + k * kBlock;
      to[k] = row[column < kCols ? column / kBlock : 0];
    }
  }
  __device__ __forceinline__ Companions companionsOf(int stage) const {
    Companions result;
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      read<Scale>(result.scales[i], Scale::row(operands[1], 0, place[i]),
                  stage);
      if constexpr (Zero::kIsThere)
        read<Zero>(result.zeros[i], Zero::row(operands[2], 0, place[i]), stage);
    }
    return result;
  }
};

} // namespace saddle::device
