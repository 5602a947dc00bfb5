// linear for many tokens: a CTA takes 64 or 128 tokens and
// 128 rows of the weight (tile/product.cuh). Quantised activations are encoded
// once, by a function before. Floor: 2 tokens x rows x columns over the tensor
// cores' rate. Limits: rows begin at multiples of 16 bytes; scales belong to at
// least 64 rows and columns.

#pragma once

#include "runtime/kernels/impls/linear_stream.cuh"
#include "runtime/kernels/tile/product.cuh"

namespace saddle::device {

/// Two neighbouring columns of a row, as one access where the row allows it.
template <typename Out>
__device__ __forceinline__ void storePair(void *out, int64_t row, int column,
                                          float first, float second) {
  using T = typename Out::Element;
  T *to = Out::row(out, row) + column;
  if constexpr (Out::isVectorizable(2)) {
    Vector<T, 2> pair;
    pair[0] = fromFloat<T>(first);
    pair[1] = fromFloat<T>(second);
    *reinterpret_cast<Vector<T, 2> *>(to) = pair;
  } else {
    to[0] = fromFloat<T>(first);
    if (column + 1 < Out::kCols)
      to[1] = fromFloat<T>(second);
  }
}

/// out = x w^T. The grid: blocks of 128 rows, then blocks of tokens.
/// `Product` is a TileProduct of X and W; `Scale` is NoCompanion for plain
/// weights.
template <int extent, typename X, typename W, typename Out, typename Product,
          typename Scale = NoCompanion, typename Tokens = PlainTokens>
__device__ void linearTile(const LaunchParams &p, const void *x,
                           const void *factors) {
  extern __shared__ __align__(1024) uint8_t shared[];
  int count = p.step->counts[extent];
  int firstToken = blockIdx.y * Product::kTokens;
  int firstRow = blockIdx.x * Product::kRows;
  if (firstToken >= count)
    return;
  typename Product::Source source;
  source.tokens = x;
#pragma unroll
  for (int i = 0; i < Product::kTokenCopies; ++i) {
    int token = firstToken + Product::tokenOf(i);
    source.tokenRow[i] = token < count ? token : -1;
  }
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    int row = firstRow + half * 64;
    source.rows[half] = W::row(p.operands[1], row);
    source.rowCount[half] = W::kRows - row;
    if constexpr (Tokens::kScaled) {

      int token = firstToken + Product::row() + half * 8;
      source.tokenFactors[half] =
          token < count ? Tokens::row(factors, token) : nullptr;
    }
  }
  void *out = p.operands[Scale::kIsThere ? 3 : 2];
  Product product;
  product.run(
      source, shared, 1,
      [&](int, int half) -> const float * {
        int row = firstRow + half * 64;
        return row < W::kRows ? Scale::row(p.operands[2], 0, row) : nullptr;
      },
      [&](int) {
#pragma unroll
        for (int j = 0; j < 16; ++j)
#pragma unroll
          for (int i = 0; i < 2; ++i) {
            int token = firstToken + Product::row() + i * 8;
            int column = firstRow + j * 8 + threadIdx.x % 4 * 2;
            if (token < count && column < W::kRows)
              storePair<Out>(out, token, column, product.sums[4 * j + 2 * i],
                             product.sums[4 * j + 2 * i + 1]);
          }
      });
}

} // namespace saddle::device
