// linear for one token or two with weights of integer codes, of four bits or
// eight, or e4m3 codes (tile/digits.cuh): CTAs walk tiles of 16 rows, whose
// codes are fetched ahead; the warps divide the columns. Floor: the bytes of
// the weights over the memory bandwidth. Limits: bf16 tokens, which stay as
// they are or are quantised by whole rows, rows in tiles of 16, whole
// stretches.

#pragma once

#include "runtime/kernels/abi.h"
#include "runtime/kernels/ptx/launch.cuh"
#include "runtime/kernels/tile/digits.cuh"
#include "runtime/kernels/tile/quantize.cuh"

namespace saddle::device {

/// Eight columns of a row.
__device__ __forceinline__ void readEight(const bf16 *from,
                                          float (&values)[8]) {
  uint4 bits = *reinterpret_cast<const uint4 *>(from);
  const uint32_t words[4] = {bits.x, bits.y, bits.z, bits.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    values[i * 2] = __uint_as_float(words[i] << 16);
    values[i * 2 + 1] = __uint_as_float(words[i] & 0xffff0000u);
  }
}
__device__ __forceinline__ void readEight(const float *from,
                                          float (&values)[8]) {
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    float4 four = reinterpret_cast<const float4 *>(from)[i];
    values[i * 4] = four.x;
    values[i * 4 + 1] = four.y;
    values[i * 4 + 2] = four.z;
    values[i * 4 + 3] = four.w;
  }
}

/// What rows of tokens become before they are multiplied: themselves, or where
/// `isQuantised` what quantisation by whole rows makes of them. Each of `parts`
/// warps of a CTA has a part of a row.
template <bool isQuantised, int rows, int parts>
struct TokenRows {
  float largest[isQuantised ? rows : 1][parts];

  /// Where rows are quantised, reads a warp's part of one: its units of a
  /// Product from `firstUnit` on. The CTA meets before the row is read again.
  template <typename Product, typename Read>
  __device__ __forceinline__ void measure(int row, int part, int firstUnit,
                                          Read read) {
    if constexpr (isQuantised) {
      float its = Product::largest(firstUnit, read);
      if (threadIdx.x % 32 == 0)
        largest[row][part] = its;
    }
  }
  /// Reads the row as it is multiplied.
  template <typename Read>
  __device__ __forceinline__ auto reader(int row, Read read) const {
    if constexpr (!isQuantised) {
      return read;
    } else {
      float most = 0;
#pragma unroll
      for (int part = 0; part < parts; ++part)
        most = fmaxf(most, largest[row][part]);
      float scale = groupScale(most);
      return [read, scale, divisor = Divisor(scale)](int column,
                                                     float (&values)[8]) {
        read(column, values);
#pragma unroll
        for (float &value : values)
          value = toFloat(fromFloat<e4m3>(divisor.divide(value))) * scale;
      };
    }
  }
};

/// The sums of a CTA's items, each of 16 rows, by each of its warps. Of the
/// `items` that all CTAs have, one takes every gridDim.x-th, at most `most`.
template <typename Product, int warps, int most>
struct DigitItems {
  using Rows = typename Product::Rows;
  float parts[most][warps][16];

  /// rowsOf(item) are an item's rows, codesOf(item) its token as encode() has
  /// written it, which is called once weights are under way. Sums are there
  /// after the next barrier.
  template <typename RowsOf, typename Encode, typename CodesOf>
  __device__ __forceinline__ void sum(const Product &product, int items,
                                      RowsOf rowsOf, Encode encode,
                                      CodesOf codesOf) {
    constexpr int kDepth = Product::kDepth;
    int item = static_cast<int>(blockIdx.x), step = static_cast<int>(gridDim.x);
    typename Product::Companions companions[kDepth] = {};
    // Of an item behind the last the group of copies is empty.
    auto fetch = [&](int it, int stage) {
      if (it < items) {
        typename Product::Rows rows = rowsOf(it);
        // What comes to registers would wait behind the copies.
        companions[stage] = product.companionsOf(rows);
        product.fetch(rows, stage);
      } else {
        commitCopies();
      }
    };
#pragma unroll
    for (int i = 0; i < kDepth - 1; ++i)
      fetch(item + i * step, i);
    encode();
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    for (int first = 0; item < items; first += kDepth) {
      // Each stage has its own copy of the code, and registers.
#pragma unroll
      for (int stage = 0; stage < kDepth; ++stage) {
        if (item >= items)
          break;
        Product::template wait<kDepth - 2>();
        fetch(item + (kDepth - 1) * step, (stage + kDepth - 1) % kDepth);
        float sums[2];
        product.multiply(codesOf(item), stage, companions[stage], sums);
        if (lane % 4 == 0) {
          parts[first + stage][warp][lane / 4] = sums[0];
          parts[first + stage][warp][8 + lane / 4] = sums[1];
        }
        item += step;
      }
    }
  }

  /// The sum of row `row` of this CTA's item number `i`.
  __device__ __forceinline__ float at(int i, int row) const {
    float sum = 0;
#pragma unroll
    for (int warp = 0; warp < warps; ++warp)
      sum += parts[i][warp][row];
    return sum;
  }
};

/// out = x w^T, with `warps` warps. The grid: CTAs with at most `most` tiles
/// each. Tokens follow each other, so that the second one's weights come from
/// L2. Waits itself, after it has begun to fetch weights.
template <int extent, bool isQuantised, typename X, typename Weights,
          typename Out, int warps, int units, int depth, int most>
__device__ void linearDigits(const LaunchParams &p) {
  using Product = DigitProduct<Weights, units, depth>;
  constexpr int kTokens = X::kRows, kTiles = Weights::kRows / 16;
  static_assert(Weights::kRows % 16 == 0, "tiles of rows are whole");
  static_assert(X::kCols == Weights::kCols);
  extern __shared__ __align__(16) uint8_t shared[];
  __shared__ DigitItems<Product, warps, most> sums;
  __shared__ TokenRows<isQuantised, kTokens, warps> rows;
  allowNext();
  int warp = threadIdx.x / 32;
  int tokens = static_cast<int>(p.step->counts[extent]);
  uint8_t *ring =
      shared + warp * (Product::kRingBytes + kTokens * Product::kTokenBytes);
  uint8_t *codes = ring + Product::kRingBytes;
  Product product(p.operands + 1, ring, warp * units);
  int items = tokens * kTiles;
  sums.sum(
      product, items,
      [&](int item) {
        int row = item % kTiles * 16;
        return typename Product::Rows{{row, row + 8}};
      },
      [&] {
        waitForPrevious();
        auto readX = [&](int token) {
          return [&p, token](int column, float (&values)[8]) {
            readEight(X::row(p.operands[0], token) + column, values);
          };
        };
        for (int token = 0; token < tokens; ++token)
          rows.template measure<Product>(token, warp, warp * units,
                                         readX(token));
        if (isQuantised)
          __syncthreads();
        for (int token = 0; token < tokens; ++token)
          Product::encode(codes + token * Product::kTokenBytes, warp * units,
                          rows.reader(token, readX(token)));
      },
      [&](int item) { return codes + item / kTiles * Product::kTokenBytes; });
  __syncthreads();
  void *out = p.operands[1 + Weights::kOperands];
  for (int at = threadIdx.x; at < most * 16; at += blockDim.x) {
    int item = static_cast<int>(blockIdx.x + at / 16 * gridDim.x);
    if (item < items)
      Out::row(out, item / kTiles)[item % kTiles * 16 + at % 16] =
          fromFloat<typename Out::Element>(sums.at(at / 16, at % 16));
  }
}

} // namespace saddle::device
