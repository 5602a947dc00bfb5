// linear for many tokens: CTAs, or pairs of them, walk items of 64 or 128
// tokens each and 128 or 256 rows of the weight (tile/product.cuh). Quantised
// activations are encoded once, by a function before. Floor: 2 tokens x rows x
// columns over the tensor cores' rate. Limits: rows begin at multiples of 16
// bytes; scales belong to at least 64 rows and columns.

#pragma once

#include "runtime/kernels/impls/linear_stream.cuh"
#include "runtime/kernels/tile/product.cuh"
#include "runtime/kernels/tile/results.cuh"

namespace saddle::device {

/// Numbers between two addresses.
__device__ __forceinline__ int offsetFrom(const void *base,
                                          const float *number) {
  return static_cast<int>(number - static_cast<const float *>(base));
}

/// Of `items` that CTAs take in turn, how many this one has.
__device__ __forceinline__ int itemsOfCta(int items) {
  int after = items - static_cast<int>(blockIdx.x);
  return after > 0 ? (after - 1) / static_cast<int>(gridDim.x) + 1 : 0;
}

/// out = x w^T. `Product` is a TileProduct of X and W; `Scale` is NoCompanion
/// for plain weights. `maps` is Product's.
template <int extent, typename X, typename W, typename Out, typename Product,
          typename Scale = NoCompanion, typename Tokens = PlainTokens>
__device__ void linearTile(const LaunchParams &p, const void *x,
                           const void *factors, void *maps) {
  static_assert(Out::isVectorizable(16 / sizeof(typename Out::Element)),
                "results are written 16 bytes at a time");
  extern __shared__ __align__(1024) uint8_t tiles[];
  constexpr int kTokens = Product::kTokens;
  constexpr int kBlocks = (W::kRows + Product::kRows - 1) / Product::kRows;
  Product product(tiles, static_cast<uint8_t *>(maps), p.operands[1]);
  int count = p.step->counts[extent];
  int items = (count + kTokens - 1) / kTokens * kBlocks;
  if (Product::isFeeder()) {
    Product::beginFeeding();
    for (int item = blockIdx.x; item < items; item += gridDim.x) {
      int firstToken = item / kBlocks * kTokens, left = count - firstToken;
      int firstRow = item % kBlocks * Product::kRows;
      typename Product::Source source;
      source.item = item;
      source.count = left < kTokens ? left : kTokens;
      source.x = x;
      int token = Product::feeder();
      source.tokenRow = token < source.count ? firstToken + token : -1;
#pragma unroll
      for (int run = 0; run < Product::kRuns; ++run)
        source.runRow[run] = firstRow + run * 64;
      if constexpr (Tokens::kScaled) {
        source.tokenFactors = static_cast<const float *>(factors);
        source.rowFactors = static_cast<const float *>(p.operands[2]);
        source.tokenFactor = -1;
        if (token < source.count)
          source.tokenFactor =
              offsetFrom(factors, Tokens::row(factors, firstToken + token));
        int row = firstRow + Product::feeder() * 64;
        source.rowFactor = -1;
        if (row < W::kRows)
          source.rowFactor =
              offsetFrom(p.operands[2], Scale::row(p.operands[2], 0, row));
      }
      product.feed(source);
    }
  } else {
    Product::beginMultiplying();
    void *out = p.operands[Scale::kIsThere ? 3 : 2];
    product.multiply(itemsOfCta(items), [&](auto &sums, auto place, auto,
                                            int item, int count) {
      constexpr int kSums = sizeof(sums) / sizeof(sums[0]);
      int firstToken = item / kBlocks * kTokens + place.token;
      int firstRow = item % kBlocks * Product::kRows + place.wave * 128;
#pragma unroll
      for (int i = 0; i < kSums; ++i)
        storeResults(
            sums[i], product.scratch(), count - place.token,
            static_cast<int>(W::kRows) - firstRow - i * 128, [&](int token) {
              return Out::row(out, firstToken + token) + firstRow + i * 128;
            });
    });
  }
}

} // namespace saddle::device
