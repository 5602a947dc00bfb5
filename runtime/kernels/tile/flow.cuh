// Rows of e4m3 weights that flow through a warp's ring: what the warp
// multiplies next is fetched as soon as a stage is free, whatever product that
// belongs to, so that memory is asked for the same amount at any time. An H200
// needs more than 128 KB a multiprocessor under way: with rings of 64 KB for
// each of two CTAs chosen experts came at 3.4 TB/s, with 96 KB at 4.6
// (docs/benchmarks.md).
//
// A unit of work is a tile for each of eight warps: 16 rows and some groups of
// columns; `columnWarps` warps share their rows. Tokens stay in registers, as
// codes that the warp has made, until their block ends. Fragments: as
// tile/stream.cuh.

#pragma once

#include "runtime/kernels/ptx/copy_async.cuh"
#include "runtime/kernels/ptx/fragments.cuh"
#include "runtime/kernels/ptx/mma.cuh"
#include "runtime/kernels/shared/flow.h"
#include "runtime/kernels/tile/quantize.cuh"

namespace saddle::device {

/// Up to eight tokens as codes, `stages` groups of columns. Lane 4 g + t has,
/// of token g, the columns 16 t .. 16 t + 15 of every 64.
template <int stages>
struct FlowTokens {
  uint4 codes[stages][2];
  float2 factors[stages]; // of tokens 2 t and 2 t + 1

  /// A lane's numbers of a stage.
  template <typename T>
  struct Numbers {
    static constexpr int kEach = 16 / sizeof(T); // of 16 bytes
    uint4 words[2][sizeof(T)];

    /// `row` is the lane's token; null: zeros.
    __device__ __forceinline__ void load(const T *row, int column) {
#pragma unroll
      for (int unit = 0; unit < 2; ++unit) {
        int first = column + unit * 64 + static_cast<int>(threadIdx.x) % 4 * 16;
#pragma unroll
        for (int i = 0; i < static_cast<int>(sizeof(T)); ++i)
          words[unit][i] =
              row ? *reinterpret_cast<const uint4 *>(row + first + i * kEach)
                  : uint4{};
      }
    }
    __device__ __forceinline__ float at(int unit, int i) const {
      T values[kEach];
      memcpy(values, &words[unit][i / kEach], sizeof(values));
      return toFloat(values[i % kEach]);
    }
  };

  /// By all lanes.
  template <typename T>
  __device__ __forceinline__ void encode(int stage, const Numbers<T> &numbers) {
    float largest = 0;
#pragma unroll
    for (int unit = 0; unit < 2; ++unit)
#pragma unroll
      for (int i = 0; i < 16; ++i)
        largest = fmaxf(largest, fabsf(numbers.at(unit, i)));
    // Four lanes have a token's group.
    largest = fmaxf(largest, __shfl_xor_sync(kFullWarp, largest, 1));
    largest = fmaxf(largest, __shfl_xor_sync(kFullWarp, largest, 2));
    float scale = groupScale(largest);
    Divisor divisor(scale);
#pragma unroll
    for (int unit = 0; unit < 2; ++unit) {
      uint32_t words[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        auto codeOf = [&](int j) {
          return divisor.divide(numbers.at(unit, i * 4 + j));
        };
        words[i] = e4m3Pair(codeOf(0), codeOf(1)) |
                   e4m3Pair(codeOf(2), codeOf(3)) << 16;
      }
      codes[stage][unit] = {words[0], words[1], words[2], words[3]};
    }
    int t = threadIdx.x % 4;
    factors[stage] = {__shfl_sync(kFullWarp, scale, t * 8),
                      __shfl_sync(kFullWarp, scale, t * 8 + 4)};
  }
};

/// A warp's ring for rows of W (a Matrix) with factors of Scale (a Companion).
template <typename W, typename Scale, int columnWarps, int depth>
struct RowFlow {
  static_assert(sizeof(typename W::Element) == 1 &&
                    W::kCols % kFlowColumns == 0,
                "rows are codes, in whole groups");
  static constexpr int kGroups = W::kCols / kFlowColumns;
  static_assert(kFlowWarps % columnWarps == 0 && kGroups % columnWarps == 0,
                "warps have as many columns");
  static constexpr int kColumnWarps = columnWarps;
  static constexpr int kRowWarps = kFlowWarps / columnWarps;
  static constexpr int kStages = kGroups / columnWarps; // of a unit
  static constexpr int kStageBytes = FlowLayout::kStageBytes;
  using Tokens = FlowTokens<kStages>;

  /// Of the warp's tile: its first row and the one behind seven more; factors
  /// of these, in the first two lanes.
  struct Rows {
    const e4m3 *low, *high;
    const float *factors;
  };

  __device__ __forceinline__ RowFlow(uint8_t *shared, int factorsAt) {
    int warp = threadIdx.x / 32;
    ring = sharedAddress(shared) + warp * depth * kStageBytes;
    factors = sharedAddress(shared) + factorsAt + warp * depth * 8;
    firstColumn = warp % columnWarps * kStages * kFlowColumns;
    slot = 0;
  }

  /// Fetches a stage of rows to the place of the stage that was consumed last,
  /// or, at first, to the next one.
  __device__ __forceinline__ void fetch(const Rows &rows, int stage) {
    const CachePolicy once = evictFirst();
    int lane = threadIdx.x % 32, row = lane / 8, piece = lane % 8;
    int column = firstColumn + stage * kFlowColumns;
    uint32_t to =
        ring + slot * kStageBytes + (row * 8 + (piece ^ (row % 2 * 4))) * 16;
    int64_t from = row * W::kStride + column + piece * 16;
    copyAsync16(to, rows.low + from, 16, once);
    copyAsync16(to + 512, rows.low + from + 4 * W::kStride, 16, once);
    copyAsync16(to + 1024, rows.high + from, 16, once);
    copyAsync16(to + 1536, rows.high + from + 4 * W::kStride, 16, once);
    if (lane < 2)
      copyAsync<4>(factors + slot * 8 + lane * 4,
                   rows.factors + column / Scale::kBlockCols);
  }
  /// Every step ends with one, whether there was something to fetch or not.
  __device__ __forceinline__ void next() {
    commitCopies();
    slot = slot + 1 == depth ? 0 : slot + 1;
  }

  /// Adds the products of the oldest stage under way with the tokens; its place
  /// may be filled again.
  __device__ __forceinline__ void consume(const Tokens &tokens, int stage,
                                          float (&sums)[4]) {
    waitCopies<depth - 1>();
    __syncwarp(); // all lanes' copies are there
    int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    uint32_t base = ring + slot * kStageBytes + g * 128;
    float products[4] = {};
#pragma unroll
    for (int unit = 0; unit < 2; ++unit) {
      uint32_t at = base + ((unit * 4 + t) ^ (g % 2 * 4)) * 16;
      uint4 low = loadShared16(at), high = loadShared16(at + 1024);
      uint4 b = tokens.codes[stage][unit];
      mmaE4m3(products, low.x, high.x, low.y, high.y, b.x, b.y);
      mmaE4m3(products, low.z, high.z, low.w, high.w, b.z, b.w);
    }
    float low = loadShared(factors + slot * 8),
          high = loadShared(factors + slot * 8 + 4);
    float2 token = tokens.factors[stage];
    sums[0] += products[0] * (token.x * low);
    sums[1] += products[1] * (token.y * low);
    sums[2] += products[2] * (token.x * high);
    sums[3] += products[3] * (token.y * high);
    __syncwarp(); // all lanes have read the stage
  }

  int firstColumn; // of the warp

private:
  uint32_t ring, factors;
  int slot;
};

/// Sums of a warp's tile, for all threads behind the next barrier.
__device__ __forceinline__ void storeFlowSums(float *sums,
                                              const float (&tile)[4]) {
  int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  float *to = sums + (threadIdx.x / 32 * kFlowTokens + t * 2) * kFlowPitch + g;
  to[0] = tile[0];
  to[kFlowPitch] = tile[1];
  to[8] = tile[2];
  to[kFlowPitch + 8] = tile[3];
}
/// One of them: of all warps that share row warp `rowWarp`'s rows.
template <int columnWarps>
__device__ __forceinline__ float flowSum(const float *sums, int rowWarp,
                                         int token, int row) {
  float sum = 0;
#pragma unroll
  for (int i = 0; i < columnWarps; ++i)
    sum +=
        sums[((rowWarp * columnWarps + i) * kFlowTokens + token) * kFlowPitch +
             row];
  return sum;
}

} // namespace saddle::device
