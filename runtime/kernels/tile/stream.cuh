// A warp multiplies rows of weights, streamed from memory, with a few tokens.
//
// Weights are the 16-row operand of mma.sync and tokens its 8 columns. A dot
// product does not care about the order of k, so the k of a fragment are chosen
// such that a lane needs 16 contiguous bytes of a row: four lanes have 64 bytes
// of a row, a unit. The warp copies stages of some units of all its rows ahead
// into a ring of its own in shared memory (cp.async), whole lines at a time: no
// barrier but __syncwarp, and as much in flight as the ring holds.

#pragma once

#include "runtime/kernels/ptx/copy_async.cuh"
#include "runtime/kernels/ptx/fragments.cuh"
#include "runtime/kernels/ptx/mma.cuh"
#include "runtime/kernels/shared/stream.h"
#include "runtime/kernels/tile/reduce.cuh"
#include "runtime/kernels/tile/types.cuh"

namespace saddle::device {

/// What weights of a type meet.
template <typename W>
struct StreamToken;
/// Codes times codes.
template <>
struct StreamToken<e4m3> {
  using Type = e4m3;
};
template <>
struct StreamToken<bf16> {
  using Type = bf16;
};
/// A weight is the sum of three bf16 values, exactly.
template <>
struct StreamToken<f32> {
  using Type = bf16;
};

/// Two fp32 values as the sum of three pairs of bf16, largest first.
__device__ __forceinline__ void splitPair(float first, float second,
                                          uint32_t (&parts)[3]) {
#pragma unroll
  for (int i = 0; i < 3; ++i) {
    parts[i] = bf16Pair(first, second);
    float2 values = bf16Values(parts[i]);
    first -= values.x;
    second -= values.y;
  }
}

/// `warpRows` rows (2, 4, 8 or tiles of 16) of weights W (a Matrix) and
/// `tokenTiles` times 8 rows of tokens X (a Matrix); `units` units in a stage
/// of the ring, `depth` stages. With scaleUnits > 0, the product of each that
/// many units is multiplied by one factor for a token and one for eight rows.
/// How a stage lies in the ring: StreamLayout.
template <typename W, typename X, int warpRows, int tokenTiles, int units,
          int depth, int scaleUnits, bool resident = false>
struct WarpStream {
  using Weight = typename W::Element;
  using Token = typename StreamToken<Weight>::Type;
  static_assert(sizeof(Token) == sizeof(typename X::Element),
                "tokens are of the type that meets the weights");
  static_assert(warpRows == 2 || warpRows == 4 || warpRows == 8 ||
                    warpRows % 16 == 0,
                "a tile of weights has 16 rows");
  using Layout = StreamLayout;
  static constexpr Layout kLayout = {
      warpRows,   tokenTiles, units,
      scaleUnits, depth,      static_cast<int64_t>(sizeof(Weight)),
      resident};
  static_assert(sizeof(Token) == kLayout.tokenBytes(),
                "the layout knows what weights meet");
  static constexpr int kTiles = kLayout.tiles();
  static constexpr int kUnitColumns = streamUnitColumns(sizeof(Weight));
  static constexpr bool kScaled = scaleUnits > 0;
  static constexpr int kScaleUnits = kScaled ? scaleUnits : 1;
  static_assert(!kScaled || units % kScaleUnits == 0,
                "a stage has whole groups of scales");
  static constexpr int kScales = kLayout.scales();
  static constexpr int kStageColumns = kLayout.stageColumns();
  static constexpr int kStages = ceilDiv(W::kCols, kStageColumns);
  static constexpr int kScaleColumns = kScaleUnits * kUnitColumns;
  static_assert(!kScaled ||
                    ceilDiv(W::kCols, kScaleColumns) == kStages * kScales,
                "every group of a stage has factors");
  static constexpr int kTokens = kLayout.tokens();
  // Pieces of 16 bytes in a stage of a row.
  static constexpr int kPieces = units * 4;
  static constexpr int kTokenPieces = kPieces * sizeof(Token) / sizeof(Weight);
  static constexpr int kCopies = (warpRows * kPieces + 31) / 32;
  static constexpr int kTokenCopies =
      resident ? 0 : (kTokens * kTokenPieces + 31) / 32;
  static constexpr int kWeightPart = kLayout.weightPart();
  static constexpr int kTokenPart = kLayout.tokenPart();
  // Factors of a group: of tokens, then of half tiles.
  static constexpr int kTokenFactors = kLayout.ringTokens();
  static constexpr int kFactors = kLayout.factors();
  static constexpr int kStageBytes = kLayout.stageBytes();
  /// Of a warp, aligned to 16 bytes.
  static constexpr int kRingBytes = kLayout.ringBytes();

  /// What the warp multiplies.
  struct Source {
    /// The first of eight rows, and how many of them there are. Missing rows
    /// and tokens have undefined products.
    const Weight *rows[kTiles][2];
    int rowCount[kTiles][2];
    /// X's data, and the rows of it that this lane copies pieces of, -1 for
    /// none: see tokenOf().
    const void *tokens;
    int tokenRow[kTokenCopies + 1];
    /// Factors of the first kTokens tokens, lane by lane, and of the half
    /// tiles, in lanes 0 .. 2 kTiles - 1; null for none. Unused unless kScaled.
    const float *tokenFactors[(kTokens + 31) / 32];
    const float *rowFactors;
    /// Of resident tokens: where this lane's token of each tile lies, and
    /// factors, kTokens for each tokenGroup columns.
    const uint8_t *residents[tokenTiles];
    const float *residentFactors;
  };

  /// The place of the token that copy `i` of this lane is about.
  static __device__ __forceinline__ int tokenOf(int i) {
    return (i * 32 + threadIdx.x % 32) / kTokenPieces;
  }

  /// Lane 4 g + t: [0], [1] of row g and [2], [3] of row g + 8 of a tile, at
  /// tokens 2 t and 2 t + 1 of a token tile.
  float sums[kTiles][tokenTiles][4];

  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int i = 0; i < kTiles; ++i)
#pragma unroll
      for (int j = 0; j < tokenTiles; ++j)
#pragma unroll
        for (int k = 0; k < 4; ++k)
          sums[i][j][k] = 0;
  }

  /// Adds the products over stages first .. last - 1 in two halves. `ring` is
  /// this warp's; factors belong to `tokenGroup` and `weightGroup` columns. The
  /// first half fills the ring. Calls wait() between weights and tokens.
  /// Resident tokens need not be there yet.
  template <int tokenGroup = 1, int weightGroup = 1, typename Wait>
  __device__ __forceinline__ void begin(const Source &source, uint8_t *ring,
                                        int first, int last, Wait wait) {
    uint32_t base = sharedAddress(ring);
#pragma unroll
    for (int i = 0; i < depth; ++i)
      if (first + i < last)
        fetchRows<weightGroup>(source, base + i * kStageBytes, first + i);
    wait();
#pragma unroll
    for (int i = 0; i < depth; ++i) {
      if (first + i < last)
        fetchTokens<tokenGroup>(source, base + i * kStageBytes, first + i);
      commitCopies();
    }
  }

  /// The second half.
  template <int tokenGroup = 1, int weightGroup = 1>
  __device__ __forceinline__ void finish(const Source &source, uint8_t *ring,
                                         int first, int last) {
    static_assert(!kScaled || (tokenGroup % kScaleColumns == 0 &&
                               weightGroup % kScaleColumns == 0),
                  "products are scaled within one group");
    uint32_t base = sharedAddress(ring);
    int slot = 0;
    for (int stage = first; stage < last; ++stage) {
      waitCopies<depth - 1>();
      __syncwarp(); // all lanes' copies are there
      consume<tokenGroup>(source, ring + slot * kStageBytes, stage);
      __syncwarp(); // all lanes have read the slot
      if (stage + depth < last) {
        uint32_t to = base + slot * kStageBytes;
        fetchRows<weightGroup>(source, to, stage + depth);
        fetchTokens<tokenGroup>(source, to, stage + depth);
      }
      commitCopies();
      slot = slot + 1 == depth ? 0 : slot + 1;
    }
  }

  /// Writes the sums of the warp's rows to shared memory: token after token,
  /// `pitch` floats apart. `to` is this warp's first row at its first token.
  template <int pitch>
  __device__ __forceinline__ void store(float *to) const {
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < kTiles; ++i)
#pragma unroll
      for (int j = 0; j < tokenTiles; ++j)
#pragma unroll
        for (int k = 0; k < 4; ++k)
          if (i * 16 + k / 2 * 8 + lane / 4 < warpRows)
            to[(j * 8 + lane % 4 * 2 + k % 2) * pitch + i * 16 + k / 2 * 8 +
               lane / 4] = sums[i][j][k];
  }

private:
  /// Where a piece of a row lies, such that the eight lanes that read at a time
  /// (two rows, four pieces) meet all banks.
  static __device__ __forceinline__ int place(int row, int piece, int pieces) {
    return (row * pieces + (pieces % 8 == 0 ? piece ^ (row % 2 * 4) : piece)) *
           16;
  }

  /// How many of a piece's 16 bytes lie before column `columns`.
  template <typename T, int64_t columns, int multiple>
  static __device__ __forceinline__ uint32_t bytesAt(int column) {
    if constexpr (columns % multiple == 0)
      return 16; // no stage is cut
    int64_t left = (columns - column) * static_cast<int64_t>(sizeof(T));
    return left < 0 ? 0 : left < 16 ? static_cast<uint32_t>(left) : 16;
  }

  template <int weightGroup>
  __device__ __forceinline__ void fetchRows(const Source &source, uint32_t slot,
                                            int stage) {
    int lane = threadIdx.x % 32, column = stage * kStageColumns;
    const CachePolicy once = evictFirst();
#pragma unroll
    for (int i = 0; i < kCopies; ++i) {
      int row = (i * 32 + lane) / kPieces, piece = (i * 32 + lane) % kPieces;
      int tile = i * 32 / kPieces / 16; // a tile is whole copies
      if (row >= warpRows)
        continue;
      bool high = row / 8 % 2;
      const Weight *from = high ? source.rows[tile][1] : source.rows[tile][0];
      int count = high ? source.rowCount[tile][1] : source.rowCount[tile][0];
      int at = column + piece * static_cast<int>(16 / sizeof(Weight));
      uint32_t bytes = bytesAt<Weight, W::kCols, kStageColumns>(at);
      if (row % 8 < count)
        copyAsync16(slot + place(row, piece, kPieces),
                    from + row % 8 * W::kStride + (bytes ? at : 0), bytes,
                    once);
    }
    if constexpr (kScaled) {
#pragma unroll
      for (int part = 0; part < kScales; ++part)
        if (lane < 2 * kTiles && source.rowFactors)
          copyAsync<4>(factorsOf(slot, part) + (kTokenFactors + lane) * 4,
                       source.rowFactors + columnOf(stage, part) / weightGroup);
    }
  }

  template <int tokenGroup>
  __device__ __forceinline__ void fetchTokens(const Source &source,
                                              uint32_t slot, int stage) {
    if constexpr (resident)
      return;
    int lane = threadIdx.x % 32, column = stage * kStageColumns;
#pragma unroll
    for (int i = 0; i < kTokenCopies; ++i) {
      int token = tokenOf(i), piece = (i * 32 + lane) % kTokenPieces;
      int at = column + piece * static_cast<int>(16 / sizeof(Token));
      uint32_t bytes = bytesAt<Token, W::kCols, kStageColumns>(at);
      if (source.tokenRow[i] >= 0)
        copyAsync<16>(slot + kWeightPart + place(token, piece, kTokenPieces),
                      X::row(source.tokens, source.tokenRow[i]) +
                          (bytes ? at : 0),
                      bytes);
    }
    if constexpr (kScaled) {
#pragma unroll
      for (int part = 0; part < kScales; ++part)
#pragma unroll
        for (int i = 0; i < (kTokens + 31) / 32; ++i)
          if (i * 32 + lane < kTokens && source.tokenFactors[i])
            copyAsync<4>(factorsOf(slot, part) + (i * 32 + lane) * 4,
                         source.tokenFactors[i] +
                             columnOf(stage, part) / tokenGroup);
    }
  }

  /// Where the factors of part `part` of a stage lie, and its first column.
  static __device__ __forceinline__ uint32_t factorsOf(uint32_t slot,
                                                       int part) {
    return slot + kWeightPart + kTokenPart + part * kFactors * 4;
  }
  static __device__ __forceinline__ int columnOf(int stage, int part) {
    return stage * kStageColumns + part * kScaleColumns;
  }

  template <int tokenGroup>
  __device__ __forceinline__ void consume(const Source &source,
                                          const uint8_t *slot, int stage) {
    if constexpr (!kScaled)
      multiply<0, units>(source, slot, stage, sums);
    else
      consumePart<tokenGroup, 0>(source, slot, stage);
  }

  template <int tokenGroup, int part>
  __device__ __forceinline__ void consumePart(const Source &source,
                                              const uint8_t *slot, int stage) {
    float products[kTiles][tokenTiles][4] = {};
    multiply<part * kScaleUnits, (part + 1) * kScaleUnits>(source, slot, stage,
                                                           products);
    auto *factors =
        reinterpret_cast<const float *>(slot + kWeightPart + kTokenPart) +
        part * kFactors;
    const float *tokenFactors = factors;
    if constexpr (resident)
      tokenFactors =
          source.residentFactors + (stage * units + part * kScaleUnits) *
                                       kUnitColumns / tokenGroup * kTokens;
    int t = threadIdx.x % 4;
#pragma unroll
    for (int j = 0; j < tokenTiles; ++j) {
      float2 token =
          *reinterpret_cast<const float2 *>(tokenFactors + j * 8 + t * 2);
#pragma unroll
      for (int i = 0; i < kTiles; ++i) {
        float low = factors[kTokenFactors + 2 * i];
        float high = factors[kTokenFactors + 2 * i + 1];
        sums[i][j][0] += products[i][j][0] * (token.x * low);
        sums[i][j][1] += products[i][j][1] * (token.y * low);
        sums[i][j][2] += products[i][j][2] * (token.x * high);
        sums[i][j][3] += products[i][j][3] * (token.y * high);
      }
    }
    if constexpr (part + 1 < kScales)
      consumePart<tokenGroup, part + 1>(source, slot, stage);
  }

  template <int first, int last>
  __device__ __forceinline__ void multiply(const Source &source,
                                           const uint8_t *slot, int stage,
                                           float (&d)[kTiles][tokenTiles][4]) {
    int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    auto at = [&](int unit, int tile, int half) {
      // Rows that the warp does not have repeat others.
      int row = (tile * 16 + half * 8 + g) % warpRows;
      return *reinterpret_cast<const uint4 *>(
          slot + place(row, unit * 4 + t, kPieces));
    };
    const uint8_t *tokens = slot + kWeightPart;
    // This lane's bytes of a unit of its token in tile j.
    auto tokenAt = [&](int unit, int j) {
      constexpr int kBytes = kUnitColumns * sizeof(Token); // of a unit
      if constexpr (resident)
        return source.residents[j] + (stage * units + unit) * kBytes +
               t * (kBytes / 4);
      else
        return tokens +
               place(j * 8 + g, (unit * kBytes + t * (kBytes / 4)) / 16,
                     kTokenPieces) +
               t * (kBytes / 4) % 16;
    };
#pragma unroll
    for (int unit = first; unit < last; ++unit) {
      if constexpr (sizeof(Weight) == 4) {
#pragma unroll
        for (int i = 0; i < kTiles; ++i) {
          uint4 low = at(unit, i, 0), high = at(unit, i, 1);
          uint32_t a[4][3];
          splitPair(__uint_as_float(low.x), __uint_as_float(low.y), a[0]);
          splitPair(__uint_as_float(high.x), __uint_as_float(high.y), a[1]);
          splitPair(__uint_as_float(low.z), __uint_as_float(low.w), a[2]);
          splitPair(__uint_as_float(high.z), __uint_as_float(high.w), a[3]);
#pragma unroll
          for (int j = 0; j < tokenTiles; ++j) {
            uint2 b = *reinterpret_cast<const uint2 *>(tokenAt(unit, j));
#pragma unroll
            for (int part = 2; part >= 0; --part)
              mmaBf16(d[i][j], a[0][part], a[1][part], a[2][part], a[3][part],
                      b.x, b.y);
          }
        }
      } else {
        uint4 b[tokenTiles];
#pragma unroll
        for (int j = 0; j < tokenTiles; ++j)
          b[j] = *reinterpret_cast<const uint4 *>(tokenAt(unit, j));
#pragma unroll
        for (int i = 0; i < kTiles; ++i) {
          uint4 low = at(unit, i, 0), high = at(unit, i, 1);
#pragma unroll
          for (int j = 0; j < tokenTiles; ++j) {
            if constexpr (sizeof(Weight) == 1) {
              mmaE4m3(d[i][j], low.x, high.x, low.y, high.y, b[j].x, b[j].y);
              mmaE4m3(d[i][j], low.z, high.z, low.w, high.w, b[j].z, b[j].w);
            } else {
              mmaBf16(d[i][j], low.x, high.x, low.y, high.y, b[j].x, b[j].y);
              mmaBf16(d[i][j], low.z, high.z, low.w, high.w, b[j].z, b[j].w);
            }
          }
        }
      }
    }
  }
};

} // namespace saddle::device
