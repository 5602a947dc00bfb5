// experts with scales for many tokens per expert. As experts_stream.cuh, with
// blocks of up to 128 tokens and tensor core tiles (tile/product.cuh) for both
// products. Where a group of the activations is 128 columns, `up` encodes them
// itself. Floor: the larger of the weights' bytes and the products. Limits: as
// linear_tile.cuh; rows of w1 and w3 are multiples of 64. Rounding beside that
// of experts_stream.cuh: where the result is bf16, a product of w2 is, too,
// before a token's are added.

#pragma once

#include "runtime/kernels/impls/elementwise.cuh"
#include "runtime/kernels/impls/experts_stream.cuh"
#include "runtime/kernels/impls/linear_tile.cuh"

namespace saddle::device {

/// Of item `item` of a block, what a thread that feeds needs to know about
/// tokens: rowOf(i, pair) is the row of x of token i of the block, and
/// targetOf(i, pair) where its results go.
template <typename Product, typename Tokens, typename RowOf, typename TargetOf>
__device__ __forceinline__ void
setTileTokens(typename Product::Source &source, const void *x,
              const void *factors, int item, const ExpertBlock &block,
              const int32_t *pairs, RowOf rowOf, TargetOf targetOf) {
  int count = block.count;
  source.item = item;
  source.count = count;
  source.x = x;
  int token = Product::feeder();
  int pair = token < count ? pairs[token] : 0;
  int row = token < count ? rowOf(token, pair) : -1;
  source.target = token < count ? targetOf(token, pair) : 0;
  source.tokenRow = Product::kInOrder ? rowOf(0, pair) : row;
  if constexpr (Tokens::kScaled) {
    source.tokenFactors = static_cast<const float *>(factors);
    source.tokenFactor =
        row >= 0 ? offsetFrom(factors, Tokens::row(factors, row)) : -1;
  }
}

/// The factors of an expert's rows from `row` on, if it is `there`.
template <typename Scale, typename Product>
__device__ __forceinline__ void setRowFactors(typename Product::Source &source,
                                              const void *scale, int expert,
                                              int row, bool there) {
  if constexpr (Scale::kIsThere && !Product::kRowsScaleLater) {
    source.rowFactors = static_cast<const float *>(scale);
    source.rowFactor =
        there ? offsetFrom(scale, Scale::row(scale, expert, row)) : -1;
  }
}

/// The first product: 128 columns of the activations to an item. A wave has 64
/// rows of w1 and the same 64 of w3. Calls
/// finish(product, values, token, divided, count, targets, column) with
/// silu(gate) * up of `count` tokens of the warp, the first of which is `token`
/// of the block: values[j] as those of a product, of columns from `column` on,
/// and where they go: what targetOf(block, token, pair) says. They are 128, or
/// 64 where warpgroups have divided the item.
template <int slots, typename W13, typename Product, typename Scale,
          typename Tokens, typename Plan, typename TargetOf, typename Finish>
__device__ __forceinline__ void
expertsUpTiles(const LaunchParams &p, const Plan *plan, const void *x,
               const void *factors, uint8_t *maps, TargetOf targetOf,
               Finish finish) {
  using At = ExpertOperands<Scale::kIsThere>;
  static_assert(Product::kWaves == 2, "64 columns for each");
  constexpr int kInner = W13::kRows / Plan::kHeld / 2;
  static_assert(kInner % 64 == 0, "a run has rows of w1 alone, or of w3");
  constexpr int kItems = (kInner + 127) / 128;
  extern __shared__ __align__(1024) uint8_t tiles[];
  Product product(tiles, maps, TileRows<W13>::at(p.operands + At::kW13), x);
  if (Product::isFeeder()) {
    Product::beginFeeding();
    static_assert(Product::kTokens == Plan::kTokens,
                  "a block of tokens at a time");
    forEachItem<kItems>(
        plan, blockIdx.x, gridDim.x,
        [&](const ExpertBlock &block, const int32_t *pairs, int item) {
          typename Product::Source source;
          setTileTokens<Product, Tokens>(
              source, x, factors, item, block, pairs,
              [](int, int pair) { return pair / slots; },
              [&](int token, int pair) {
                return targetOf(block, token, pair);
              });
      // Rows of w1 behind the last are those of w3: results that nobody
      // takes.
#pragma unroll
          for (int run = 0; run < Product::kRuns; ++run)
            source.runRow[run] = (block.expert * 2 + run % 2) * kInner +
                                 item * 128 + run / 2 * 64;
          int run = Product::feeder() % Product::kRuns;
          int column = item * 128 + run / 2 * 64;
          setRowFactors<Scale, Product>(source, p.operands[At::kScale13],
                                        block.expert, run % 2 * kInner + column,
                                        column < kInner);
          if constexpr (Product::kRowsScaleLater)
            source.item += block.expert * kItems;
          product.template feed<true>(source);
        });
    product.endFeeding();
  } else {
    Product::beginMultiplying();
    product.multiply(
        itemsOfCta(plan->blockCount * kItems),
        [&](auto &sums, auto place, auto divided, int item, int count) {
          constexpr int kSums = sizeof(sums) / sizeof(sums[0]);
          float values[8 * kSums][4];
          int expert = 0;
          if constexpr (Product::kRowsScaleLater) {
            expert = item / kItems;
            item %= kItems;
          }
#pragma unroll
          for (int wave = 0; wave < kSums; ++wave)
#pragma unroll
            for (int j = 0; j < 8; ++j) {
              float2 gates = {1, 1}, ups = {1, 1};
              if constexpr (Product::kRowsScaleLater) {
                int column = item * 128 + (place.wave + wave) * 64 + j * 8;
                gates = factorsOfRows<Scale>(p.operands[At::kScale13], expert,
                                             column, kInner);
                ups = factorsOfRows<Scale>(p.operands[At::kScale13], expert,
                                           kInner + column, 2 * kInner);
              }
#pragma unroll
              for (int i = 0; i < 4; ++i) {
                // As of 16 bits: they become codes of fewer.
                float gate = sums[wave][j][i] * (i % 2 ? gates.y : gates.x);
                float up = sums[wave][j + 8][i] * (i % 2 ? ups.y : ups.x);
                values[wave * 8 + j][i] = gated<bf16>(gate, gate) * up;
              }
            }
          finish(product, values, place.token, divided, count - place.token,
                 product.targets() + place.token, item * 128 + place.wave * 64);
        });
  }
}

/// inner[pair] = silu(gate) * up, rounded to its type. `maps` is Product's.
template <int slots, typename W13, typename Product, typename Scale,
          typename Tokens, typename Plan, typename To>
__device__ void expertsUpTile(const LaunchParams &p, const Plan *plan,
                              const void *x, const void *factors, To *inner,
                              uint8_t *maps) {
  constexpr int kInner = W13::kRows / Plan::kHeld / 2;
  expertsUpTiles<slots, W13, Product, Scale, Tokens>(
      p, plan, x, factors, maps,
      [](const ExpertBlock &, int, int pair) { return pair; },
      [&](const Product &product, const auto &values, int, auto, int count,
          const int32_t *pairs, int column) {
        storeResults(
            values, product.scratch(), count, kInner - column, [&](int token) {
              return inner + static_cast<int64_t>(pairs[token]) * kInner +
                     column;
            });
      });
}

/// The same as codes of groups of 128 columns, and their factors, in the order
/// of blocks.
template <int slots, typename W13, typename Product, typename Scale,
          typename Tokens, typename Codes, typename Factors, typename Plan>
__device__ void expertsUpEncodeTile(const LaunchParams &p, const Plan *plan,
                                    const void *x, const void *factors,
                                    void *codes, void *innerFactors,
                                    uint8_t *maps) {
  constexpr int kInner = W13::kRows / Plan::kHeld / 2;
  static_assert(Factors::kCols == (kInner + 127) / 128, "an item is a group");
  expertsUpTiles<slots, W13, Product, Scale, Tokens>(
      p, plan, x, factors, maps,
      [](const ExpertBlock &block, int token, int) {
        return block.first + token;
      },
      [&](const Product &product, const auto &values, int token, auto divided,
          int count, const int32_t *rows, int column) {
        storeEncoded(
            values, product.scratch(), count, kInner - column,
            [&](float (&largest)[2]) {
              if constexpr (decltype(divided)::value)
                product.shareLargest(largest, token);
            },
            [&](int token) { return Codes::row(codes, rows[token]) + column; },
            [&](int token) {
              return Factors::row(innerFactors, rows[token]) + column / 128;
            });
      });
}

/// products[pair] = w2 x[pair], with w2 the operand of that number; Product
/// says whether rows of x are in the order of blocks instead. CTAs walk (block,
/// Product::kRows rows) items.
template <int w2At, typename W2, typename Product, typename Scale,
          typename Tokens, typename Plan, typename To>
__device__ void expertsDownTile(const LaunchParams &p, const Plan *plan,
                                const void *x, const void *factors,
                                To *products, uint8_t *maps) {
  using At = ExpertOperands<Scale::kIsThere>;
  constexpr int kHidden = W2::kRows / Plan::kHeld;
  static_assert(kHidden % 8 == 0, "rows of products begin at 16 bytes");
  constexpr int kItems = (kHidden + Product::kRows - 1) / Product::kRows;
  extern __shared__ __align__(1024) uint8_t tiles[];
  Product product(tiles, maps, TileRows<W2>::at(p.operands + w2At), x);
  if (Product::isFeeder()) {
    Product::beginFeeding();
    static_assert(Product::kTokens == Plan::kTokens,
                  "a block of tokens at a time");
    forEachItem<kItems>(
        plan, blockIdx.x, gridDim.x,
        [&](const ExpertBlock &block, const int32_t *pairs, int item) {
          int expert = block.expert;
          int firstRow = item * Product::kRows;
          typename Product::Source source;
          setTileTokens<Product, Tokens>(
              source, x, factors, item, block, pairs,
              [&](int token, int pair) {
                return Product::kInOrder ? block.first + token : pair;
              },
              [](int, int pair) { return pair; });
#pragma unroll
          for (int run = 0; run < Product::kSourceRuns; ++run)
            source.runRow[run] = expert * kHidden + firstRow + run * 64;
          int row = firstRow + Product::feeder() % Product::kRuns * 64;
          setRowFactors<Scale, Product>(source, p.operands[At::kScale2], expert,
                                        row, row < kHidden);
          if constexpr (Product::kRowsScaleLater)
            source.item += expert * kItems;
          product.template feed<true>(source);
        });
    product.endFeeding();
  } else {
    Product::beginMultiplying();
    product.multiply(
        itemsOfCta(plan->blockCount * kItems),
        [&](auto &sums, auto place, auto, int item, int count) {
          constexpr int kSums = sizeof(sums) / sizeof(sums[0]);
          const int32_t *pairs = product.targets() + place.token;
          int expert = 0;
          if constexpr (Product::kRowsScaleLater) {
            expert = item / kItems;
            item %= kItems;
          }
          int firstRow = item * Product::kRows + place.wave * 128;
#pragma unroll
          for (int i = 0; i < kSums; ++i) {
            if constexpr (Product::kRowsScaleLater)
              scaleRows<Scale>(sums[i], p.operands[At::kScale2], expert,
                               firstRow + i * 128, kHidden);
            storeResults(sums[i], product.scratch(), count - place.token,
                         kHidden - firstRow - i * 128, [&](int token) {
                           return products +
                                  static_cast<int64_t>(pairs[token]) * kHidden +
                                  firstRow + i * 128;
                         });
          }
        });
  }
}

} // namespace saddle::device
