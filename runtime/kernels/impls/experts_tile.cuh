// experts with scales for many tokens per expert. As experts_stream.cuh, with
// blocks of 64 tokens and tensor core tiles (tile/product.cuh) for both
// products. Floor: the larger of the weights' bytes and the products. Limits:
// as linear_tile.cuh; rows of w1 and w3 are multiples of 64.

#pragma once

#include "runtime/kernels/impls/experts_stream.cuh"
#include "runtime/kernels/impls/linear_tile.cuh"

namespace saddle::device {

/// inner[pair] = silu(gate) * up. A tile has 64 rows of w1 and the same 64 of
/// w3. CTAs walk (block, tile) items.
template <int slots, typename X, typename W13, typename Product, typename Scale,
          typename Tokens, typename Plan>
__device__ void expertsUpTile(const LaunchParams &p, const Plan *plan,
                              const void *x, const void *factors,
                              float *inner) {
  using At = ExpertOperands<Scale::kIsThere>;
  static_assert(Product::kTokens == Plan::kTokens,
                "a block of tokens at a time");
  constexpr int kInner = W13::kRows / Plan::kHeld / 2;
  static_assert(kInner % 64 == 0, "half a tile has rows of w1 alone");
  constexpr int kItems = kInner / 64;
  extern __shared__ __align__(1024) uint8_t shared[];
  forEachItem<kItems>(
      plan, blockIdx.x, gridDim.x,
      [&](const ExpertBlock &block, const int32_t *pairs, int item) {
        int firstColumn = item * 64;
        typename Product::Source source;
        source.tokens = x;
#pragma unroll
        for (int i = 0; i < Product::kTokenCopies; ++i) {
          int token = Product::tokenOf(i);
          source.tokenRow[i] = token < block.count ? pairs[token] / slots : -1;
        }
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          int row = half * kInner + firstColumn;
          source.rows[half] =
              W13::row(p.operands[At::kW13],
                       static_cast<int64_t>(block.expert) * 2 * kInner + row);
          source.rowCount[half] = 64;

          int token = Product::row() + half * 8;
          source.tokenFactors[half] =
              token < block.count ? Tokens::row(factors, pairs[token] / slots)
                                  : nullptr;
        }
        Product product;
        product.run(
            source, shared, 1,
            [&](int, int half) {
              return Scale::row(p.operands[At::kScale13], block.expert,
                                half * kInner + firstColumn);
            },
            [](int) {});
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          int token = Product::row() + i * 8;
          if (token >= block.count)
            continue;
          float *to = inner + static_cast<int64_t>(pairs[token]) * kInner +
                      firstColumn + threadIdx.x % 4 * 2;
#pragma unroll
          for (int j = 0; j < 8; ++j) {
            Vector<float, 2> pair;
#pragma unroll
            for (int k = 0; k < 2; ++k)
              pair[k] = silu(product.sums[4 * j + 2 * i + k]) *
                        product.sums[4 * (j + 8) + 2 * i + k];
            *reinterpret_cast<Vector<float, 2> *>(to + j * 8) = pair;
          }
        }
      });
}

/// products[pair] = w2 inner[pair], fp32. CTAs walk (block, `passes` times 128
/// rows) items.
template <int passes, typename X, typename W2, typename Product, typename Scale,
          typename Tokens, typename Plan>
__device__ void expertsDownTile(const LaunchParams &p, const Plan *plan,
                                const void *x, const void *factors,
                                float *products) {
  using At = ExpertOperands<Scale::kIsThere>;
  using Products =
      Matrix<f32, 1, W2::kRows / Plan::kHeld, W2::kRows / Plan::kHeld>;
  static_assert(Product::kTokens == Plan::kTokens,
                "a block of tokens at a time");
  constexpr int kHidden = Products::kCols;
  constexpr int kItemRows = passes * 128;
  constexpr int kItems = (kHidden + kItemRows - 1) / kItemRows;
  extern __shared__ __align__(1024) uint8_t shared[];
  forEachItem<kItems>(
      plan, blockIdx.x, gridDim.x,
      [&](const ExpertBlock &block, const int32_t *pairs, int item) {
        int firstRow = item * kItemRows, left = kHidden - firstRow;
        typename Product::Source source;
        source.tokens = x;
#pragma unroll
        for (int i = 0; i < Product::kTokenCopies; ++i) {
          int token = Product::tokenOf(i);
          source.tokenRow[i] = token < block.count ? pairs[token] : -1;
        }
        int64_t to[2]; // the pairs of this thread's tokens, -1 for none
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          source.rows[half] =
              W2::row(p.operands[At::kW2],
                      static_cast<int64_t>(block.expert) * kHidden + firstRow +
                          half * 64);
          source.rowCount[half] = left - half * 64;
          int token = Product::row() + half * 8;
          to[half] = token < block.count ? pairs[token] : -1;
          source.tokenFactors[half] =
              to[half] >= 0 ? Tokens::row(factors, to[half]) : nullptr;
        }
        Product product;
        product.run(
            source, shared, left < kItemRows ? (left + 127) / 128 : passes,
            [&](int pass, int half) -> const float * {
              int row = firstRow + pass * 128 + half * 64;
              return row < kHidden ? Scale::row(p.operands[At::kScale2],
                                                block.expert, row)
                                   : nullptr;
            },
            [&](int pass) {
#pragma unroll
              for (int i = 0; i < 2; ++i) {
                if (to[i] < 0)
                  continue;
#pragma unroll
                for (int j = 0; j < 16; ++j) {
                  int column =
                      firstRow + pass * 128 + j * 8 + threadIdx.x % 4 * 2;
                  if (column < kHidden)
                    storePair<Products>(products, to[i], column,
                                        product.sums[4 * j + 2 * i],
                                        product.sums[4 * j + 2 * i + 1]);
                }
              }
            });
      });
}

} // namespace saddle::device
