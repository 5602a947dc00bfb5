// A warp multiplies rows of weights, streamed from memory, with a few tokens.
//
// Weights are the 16-row operand of mma.sync and tokens its 8 columns. A dot
// product does not care about the order of k, so the k of a fragment are chosen
// such that a lane needs 16 contiguous bytes of a weight row at a time: four
// lanes read 64 bytes of a row, and no two lanes share what they read. Every
// lane copies its own bytes ahead into a ring in shared memory (cp.async) and
// reads them back: no barrier, and as much in flight as the ring holds.

#pragma once

#include "runtime/kernels/ptx/copy_async.cuh"
#include "runtime/kernels/ptx/mma.cuh"
#include "runtime/kernels/tile/reduce.cuh"
#include "runtime/kernels/tile/types.cuh"

namespace saddle::device {

/// How weights of a type meet tokens. A unit is what four lanes read of a row
/// at a time: kColumns weights, 64 bytes.
template <typename W>
struct StreamType;
/// Codes times codes.
template <>
struct StreamType<e4m3> {
  using Token = e4m3;
  static constexpr int kColumns = 64;
};
template <>
struct StreamType<bf16> {
  using Token = bf16;
  static constexpr int kColumns = 32;
};
/// A weight is the sum of three bf16 values, exactly.
template <>
struct StreamType<f32> {
  using Token = bf16;
  static constexpr int kColumns = 16;
};

/// Two fp32 values as the sum of three pairs of bf16, largest first.
__device__ __forceinline__ void splitPair(float first, float second,
                                          uint32_t (&parts)[3]) {
#pragma unroll
  for (int i = 0; i < 3; ++i) {
    __nv_bfloat162 pair = __floats2bfloat162_rn(first, second);
    first -= __low2float(pair);
    second -= __high2float(pair);
    parts[i] = reinterpret_cast<const uint32_t &>(pair);
  }
}

/// `tiles` times 16 rows, `tokenTiles` times 8 tokens, `units` units in a stage
/// of the ring, `depth` stages. With `scaled`, every stage's product is
/// multiplied by one factor for a token and one for eight rows.
template <typename W, int tiles, int tokenTiles, int units, int depth,
          bool scaled>
struct WarpStream {
  using Type = StreamType<W>;
  using Token = typename Type::Token;
  static constexpr int kStageColumns = units * Type::kColumns;
  static constexpr int kTokenBytes = Type::kColumns / 4 * sizeof(Token);
  static constexpr int kTokens = tokenTiles * 8;
  static constexpr int kWeightPart = units * tiles * 2 * 512;
  static constexpr int kTokenPart = units * tokenTiles * 32 * kTokenBytes;
  static constexpr int kScalePart = scaled ? (kTokens + 2 * tiles) * 4 : 0;
  static constexpr int kStageBytes =
      (kWeightPart + kTokenPart + kScalePart + 15) / 16 * 16;
  /// Of a warp, aligned to 16 bytes.
  static constexpr int kRingBytes = depth * kStageBytes;

  /// Where this lane (4 g + t) reads. Null stands for zeros.
  struct Source {
    /// Rows g and g + 8 of each tile.
    const W *rows[tiles][2];
    /// Token g of each tile.
    const Token *tokens[tokenTiles];
    /// Factors of the first 8 tokenTiles tokens, lane by lane, and of the half
    /// tiles, in lanes 0 .. 2 tiles - 1: one for `tokenGroup` and `weightGroup`
    /// columns. Unused unless scaled.
    const float *tokenFactors[(kTokens + 31) / 32];
    const float *rowFactors;
  };

  /// Lane 4 g + t: [0], [1] of row g and [2], [3] of row g + 8 of a tile, at
  /// tokens 2 t and 2 t + 1 of a token tile.
  float sums[tiles][tokenTiles][4];

  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int i = 0; i < tiles; ++i)
#pragma unroll
      for (int j = 0; j < tokenTiles; ++j)
#pragma unroll
        for (int k = 0; k < 4; ++k)
          sums[i][j][k] = 0;
  }

  /// Adds the products over stages first .. last - 1, of kStageColumns columns
  /// each, the last one cut at `columns`. `ring` is this warp's.
  template <int tokenGroup = 1, int weightGroup = 1>
  __device__ __forceinline__ void run(const Source &source, uint8_t *ring,
                                      int first, int last, int columns) {
    static_assert(!scaled || (tokenGroup % kStageColumns == 0 &&
                              weightGroup % kStageColumns == 0),
                  "a stage lies within one group of scales");
    uint32_t base = sharedAddress(ring);
#pragma unroll
    for (int i = 0; i < depth - 1; ++i) {
      if (first + i < last)
        fetch<tokenGroup, weightGroup>(source, base + i * kStageBytes,
                                       first + i, columns);
      commitCopies();
    }
    int slot = 0, ahead = depth - 1;
    for (int stage = first; stage < last; ++stage) {
      waitCopies<depth - 2>();
      __syncwarp(); // factors are read by other lanes than copied them
      if (stage + depth - 1 < last)
        fetch<tokenGroup, weightGroup>(source, base + ahead * kStageBytes,
                                       stage + depth - 1, columns);
      commitCopies();
      consume(ring + slot * kStageBytes);
      slot = slot + 1 == depth ? 0 : slot + 1;
      ahead = ahead + 1 == depth ? 0 : ahead + 1;
    }
    __syncwarp();
  }

  /// Writes the sums of a tile's rows below `rows` to shared memory: token
  /// after token, `pitch` floats apart. `to` is this warp's first row at its
  /// first token.
  template <int pitch, int rows>
  __device__ __forceinline__ void store(float *to) const {
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < tiles; ++i)
#pragma unroll
      for (int j = 0; j < tokenTiles; ++j)
#pragma unroll
        for (int k = 0; k < 4; ++k)
          if (i * 16 + k / 2 * 8 < rows)
            to[(j * 8 + lane % 4 * 2 + k % 2) * pitch + i * 16 + k / 2 * 8 +
               lane / 4] = sums[i][j][k];
  }

private:
  template <int tokenGroup, int weightGroup>
  __device__ __forceinline__ void fetch(const Source &source, uint32_t slot,
                                        int stage, int columns) {
    int lane = threadIdx.x % 32, column = stage * kStageColumns;
#pragma unroll
    for (int unit = 0; unit < units; ++unit) {
      int mine = column + unit * Type::kColumns +
                 lane % 4 * static_cast<int>(16 / sizeof(W));
      int left = columns - mine;
      left = left < 0 ? 0 : left;
      uint32_t bytes = left * sizeof(W) < 16 ? left * sizeof(W) : 16;
#pragma unroll
      for (int tile = 0; tile < tiles; ++tile)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const W *row = source.rows[tile][half];
          copyAsync16(slot + ((unit * tiles + tile) * 2 + half) * 512 +
                          lane * 16,
                      row + (row && bytes ? mine : 0), row ? bytes : 0);
        }
      uint32_t tokenBytes = left * sizeof(Token) < kTokenBytes
                                ? left * sizeof(Token)
                                : kTokenBytes;
#pragma unroll
      for (int tile = 0; tile < tokenTiles; ++tile) {
        const Token *token = source.tokens[tile];
        copyAsync<kTokenBytes>(
            slot + kWeightPart +
                ((unit * tokenTiles + tile) * 32 + lane) * kTokenBytes,
            token + (token && tokenBytes ? mine : 0), token ? tokenBytes : 0);
      }
    }
    if constexpr (scaled) {
      uint32_t factors = slot + kWeightPart + kTokenPart;
#pragma unroll
      for (int i = 0; i < (kTokens + 31) / 32; ++i)
        if (i * 32 + lane < kTokens) {
          const float *factor = source.tokenFactors[i];
          copyAsync<4>(factors + (i * 32 + lane) * 4,
                       factor + (factor ? column / tokenGroup : 0),
                       factor ? 4 : 0);
        }
      if (lane < 2 * tiles) {
        const float *factor = source.rowFactors;
        copyAsync<4>(factors + (kTokens + lane) * 4,
                     factor + (factor ? column / weightGroup : 0),
                     factor ? 4 : 0);
      }
    }
  }

  __device__ __forceinline__ void consume(const uint8_t *slot) {
    if constexpr (!scaled) {
      multiply(slot, sums);
    } else {
      float products[tiles][tokenTiles][4] = {};
      multiply(slot, products);
      auto *factors =
          reinterpret_cast<const float *>(slot + kWeightPart + kTokenPart);
      int t = threadIdx.x % 4;
#pragma unroll
      for (int j = 0; j < tokenTiles; ++j) {
        float2 token =
            *reinterpret_cast<const float2 *>(factors + j * 8 + t * 2);
#pragma unroll
        for (int i = 0; i < tiles; ++i) {
          float low = factors[kTokens + 2 * i];
          float high = factors[kTokens + 2 * i + 1];
          sums[i][j][0] += products[i][j][0] * (token.x * low);
          sums[i][j][1] += products[i][j][1] * (token.y * low);
          sums[i][j][2] += products[i][j][2] * (token.x * high);
          sums[i][j][3] += products[i][j][3] * (token.y * high);
        }
      }
    }
  }

  __device__ __forceinline__ void multiply(const uint8_t *slot,
                                           float (&d)[tiles][tokenTiles][4]) {
    int lane = threadIdx.x % 32;
    auto at = [&](int unit, int tile, int half) {
      return *reinterpret_cast<const uint4 *>(
          slot + ((unit * tiles + tile) * 2 + half) * 512 + lane * 16);
    };
#pragma unroll
    for (int unit = 0; unit < units; ++unit) {
      const uint8_t *tokens = slot + kWeightPart +
                              unit * tokenTiles * 32 * kTokenBytes +
                              lane * kTokenBytes;
      if constexpr (sizeof(W) == 4) {
#pragma unroll
        for (int i = 0; i < tiles; ++i) {
          uint4 low = at(unit, i, 0), high = at(unit, i, 1);
          uint32_t a[4][3];
          splitPair(__uint_as_float(low.x), __uint_as_float(low.y), a[0]);
          splitPair(__uint_as_float(high.x), __uint_as_float(high.y), a[1]);
          splitPair(__uint_as_float(low.z), __uint_as_float(low.w), a[2]);
          splitPair(__uint_as_float(high.z), __uint_as_float(high.w), a[3]);
#pragma unroll
          for (int j = 0; j < tokenTiles; ++j) {
            uint2 b =
                *reinterpret_cast<const uint2 *>(tokens + j * 32 * kTokenBytes);
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
          b[j] =
              *reinterpret_cast<const uint4 *>(tokens + j * 32 * kTokenBytes);
#pragma unroll
        for (int i = 0; i < tiles; ++i) {
          uint4 low = at(unit, i, 0), high = at(unit, i, 1);
#pragma unroll
          for (int j = 0; j < tokenTiles; ++j) {
            if constexpr (sizeof(W) == 1) {
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
