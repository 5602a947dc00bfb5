// linear for many tokens: CTAs, or pairs of them, walk items of 64 or 128
// tokens each and 128 or 256 rows of the weight (tile/product.cuh). Quantised
// activations are encoded once, by a function before. Floor: 2 tokens x rows x
// columns over the tensor cores' rate. Limits: rows begin at multiples of 16
// bytes; scales belong to at least 64 rows and columns.

#pragma once

#include "runtime/kernels/impls/linear_stream.cuh"
#include "runtime/kernels/tile/product.cuh"
#include "runtime/kernels/tile/results.cuh"
#include "runtime/kernels/tile/vectors.cuh"

namespace saddle::device {

/// Numbers between two addresses.
__device__ __forceinline__ int offsetFrom(const void *base,
                                          const float *number) {
  return static_cast<int>(number - static_cast<const float *>(base));
}

/// The items of `tokenBlocks` times `rowBlocks`, as `ctas` CTAs take them
/// together, a cluster where they are more than one: a block of tokens each
/// with the same rows, and of a last block for which there is no other one,
/// different rows. Rows are taken in panels that all tokens meet before the
/// next panel begins, so that CTAs at work at the same time share tokens and
/// rows from L2: where weights do not fit there, walking all rows for each
/// block of tokens would fetch them from memory once for each.
template <int ctas>
struct TileItems {
  int tokenBlocks, rowBlocks;

  __device__ __forceinline__ int count() const {
    return tokenBlocks / ctas * rowBlocks +
           tokenBlocks % ctas * ((rowBlocks + ctas - 1) / ctas);
  }

  struct Item {
    int tokenBlock, rowBlock;
    bool shared; // with the other CTAs: the rows
  };
  /// What this CTA has of item `item`; behind the last block of rows: nothing.
  __device__ __forceinline__ Item operator[](int item) const {
    constexpr int kPanel = 12; // of about as many tokens' blocks at a time
    int sets = tokenBlocks / ctas, cta = 0;
    if constexpr (ctas > 1) {
      cta = static_cast<int>(clusterRank());
      int rest = item - sets * rowBlocks;
      if (rest >= 0)
        return {sets * ctas, rest * ctas + cta, false};
    }
    int panel = item / (kPanel * sets);
    int rest = item - panel * kPanel * sets;
    int width = min(kPanel, rowBlocks - panel * kPanel);
    return {rest / width * ctas + cta, panel * kPanel + rest % width, ctas > 1};
  }
};

/// Of `items` that sets of `ctas` CTAs take in turn, the first of this one, and
/// how many it has.
template <int ctas = 1>
__device__ __forceinline__ int firstItemOfCta() {
  return static_cast<int>(blockIdx.x) / ctas;
}
template <int ctas = 1>
__device__ __forceinline__ int itemsOfCta(int items) {
  int after = items - firstItemOfCta<ctas>();
  return after > 0 ? (after - 1) / (static_cast<int>(gridDim.x) / ctas) + 1 : 0;
}

/// The factors of rows that a lane has of eight, as TileProduct gives products:
/// of the member's rows `first` and behind; those from `end`, a multiple of 8,
/// on nobody takes.
template <typename Scale>
__device__ __forceinline__ float2 factorsOfRows(const void *scales, int member,
                                                int first, int end) {
  int row = min(first, end - 8) + threadIdx.x % 4 * 2;
  return {*Scale::row(scales, member, row),
          *Scale::row(scales, member, row + 1)};
}

/// Products of 128 rows from `first` on, times those.
template <typename Scale>
__device__ __forceinline__ void scaleRows(float (&sums)[16][4],
                                          const void *scales, int member,
                                          int first, int end) {
#pragma unroll
  for (int j = 0; j < 16; ++j) {
    float2 factors = factorsOfRows<Scale>(scales, member, first + j * 8, end);
    sums[j][0] *= factors.x, sums[j][1] *= factors.y;
    sums[j][2] *= factors.x, sums[j][3] *= factors.y;
  }
}

/// out = x w^T. `Product` is a TileProduct of X and W; `Scale` is NoCompanion
/// for weights whose products need no factors. `weights` are those of W, `maps`
/// is Product's.
template <int extent, typename X, typename W, typename Out, typename Product,
          typename Scale = NoCompanion, typename Tokens = PlainTokens>
__device__ void linearTile(const LaunchParams &p, const void *x,
                           const void *factors, void *maps,
                           typename TileRows<W>::At weights) {
  static_assert(Out::isVectorizable(16 / sizeof(typename Out::Element)),
                "results are written 16 bytes at a time");
  extern __shared__ __align__(1024) uint8_t tiles[];
  constexpr int kTokens = Product::kTokens, kCtas = Product::kCtas;
  constexpr int kBlocks = (W::kRows + Product::kRows - 1) / Product::kRows;
  Product product(tiles, static_cast<uint8_t *>(maps), weights, x);
  int count = p.step->counts[extent];
  TileItems<kCtas> items{(count + kTokens - 1) / kTokens, kBlocks};
  if (Product::isFeeder()) {
    Product::beginFeeding();
    int total = items.count(), step = static_cast<int>(gridDim.x) / kCtas;
    for (int item = firstItemOfCta<kCtas>(); item < total; item += step) {
      auto at = items[item];
      int firstToken = at.tokenBlock * kTokens, left = count - firstToken;
      int firstRow = at.rowBlock * Product::kRows;
      typename Product::Source source;
      source.item = item;
      source.count = left < kTokens ? left : kTokens;
      source.x = x;
      source.shared = at.shared;
      int token = Product::feeder();
      source.tokenRow = Product::kInOrder      ? firstToken
                        : token < source.count ? firstToken + token
                                               : -1;
#pragma unroll
      for (int run = 0; run < Product::kSourceRuns; ++run)
        source.runRow[run] = firstRow + run * 64;
      if constexpr (Tokens::kScaled) {
        source.tokenFactors = static_cast<const float *>(factors);
        source.tokenFactor = -1;
        if (token < source.count)
          source.tokenFactor =
              offsetFrom(factors, Tokens::row(factors, firstToken + token));
        if constexpr (!Product::kRowsScaleLater) {
          source.rowFactors = static_cast<const float *>(p.operands[2]);
          int row = firstRow + Product::feeder() * 64;
          source.rowFactor = -1;
          if (row < W::kRows)
            source.rowFactor =
                offsetFrom(p.operands[2], Scale::row(p.operands[2], 0, row));
        }
      }
      product.feed(source);
    }
    product.endFeeding();
  } else {
    Product::beginMultiplying();
    void *out = p.operands[1 + TileRows<W>::kOperands + Scale::kIsThere];
    product.multiply(
        itemsOfCta<kCtas>(items.count()),
        [&](auto &sums, auto place, auto, int item, int count) {
          constexpr int kSums = sizeof(sums) / sizeof(sums[0]);
          auto at = items[item];
          int firstToken = at.tokenBlock * kTokens + place.token;
          int firstRow = at.rowBlock * Product::kRows + place.wave * 128;
#pragma unroll
          for (int i = 0; i < kSums; ++i) {
            if constexpr (Product::kRowsScaleLater)
              scaleRows<Scale>(sums[i], p.operands[2], 0, firstRow + i * 128,
                               W::kRows);
            storeResults(sums[i], product.scratch(), count - place.token,
                         static_cast<int>(W::kRows) - firstRow - i * 128,
                         [&](int token) {
                           return Out::row(out, firstToken + token) + firstRow +
                                  i * 128;
                         });
          }
        });
  }
  product.end();
}

/// The same with the launch's weights.
template <int extent, typename X, typename W, typename Out, typename Product,
          typename Scale = NoCompanion, typename Tokens = PlainTokens>
__device__ void linearTile(const LaunchParams &p, const void *x,
                           const void *factors, void *maps) {
  linearTile<extent, X, W, Out, Product, Scale, Tokens>(
      p, x, factors, maps, TileRows<W>::at(p.operands + 1));
}

/// Weights in fp32 as three bf16 whose sum they are: 3 x 8 bits hold the 24 of
/// an fp32, and what is below 2^-133 is lost. Their products with bf16 tokens
/// are exact. `Parts`, at `parts`, has the largest parts of all rows, then the
/// next ones. By all CTAs.
template <typename W, typename Parts>
__device__ void splitWeights(const LaunchParams &p, void *parts) {
  static_assert(Parts::kRows == 3 * W::kRows && W::kCols % 4 == 0 &&
                    W::isVectorizable(4) && Parts::isVectorizable(4),
                "four columns at a time");
  constexpr int kFours = W::kCols / 4;
  int block = static_cast<int>(blockIdx.y * gridDim.x + blockIdx.x);
  int stride = static_cast<int>(gridDim.x * gridDim.y * blockDim.x);
  for (int i =
           block * static_cast<int>(blockDim.x) + static_cast<int>(threadIdx.x);
       i < W::kRows * kFours; i += stride) {
    int row = i / kFours, column = i % kFours * 4;
    float4 left =
        *reinterpret_cast<const float4 *>(W::row(p.operands[1], row) + column);
#pragma unroll
    for (int part = 0; part < 3; ++part) {
      uint2 pairs = {bf16Pair(left.x, left.y), bf16Pair(left.z, left.w)};
      *reinterpret_cast<uint2 *>(Parts::row(parts, part * W::kRows + row) +
                                 column) = pairs;
      float2 first = bf16Values(pairs.x), second = bf16Values(pairs.y);
      left = {left.x - first.x, left.y - first.y, left.z - second.x,
              left.w - second.y};
    }
  }
}

/// Products with such weights, from those with their parts, the smallest first.
/// `outAt` is the launch's result.
template <int extent, int outAt, typename Sums, typename Out>
__device__ void sumParts(const LaunchParams &p, const void *sums) {
  static_assert(Sums::kCols == 3 * Out::kCols, "three parts of each");
  constexpr int kCount = commonVector<Sums, Out>();
  forEachVector<Out::kCols, kCount>(
      p.step->counts[extent], [&](int64_t row, int64_t column) {
        Vector<float, kCount> parts[3];
#pragma unroll
        for (int i = 0; i < 3; ++i)
          parts[i] =
              loadVector<Sums, kCount>(sums, row, i * Out::kCols + column);
        float values[kCount];
#pragma unroll
        for (int j = 0; j < kCount; ++j)
          values[j] = parts[2][j] + parts[1][j] + parts[0][j];
        storeVector<Out, kCount>(p.operands[outAt], row, column, values);
      });
}

} // namespace saddle::device
