// linear with weights of four bits: rows are divided over the grid and the
// warps of a CTA, columns over its other warps, whose sums are added in order
// (tile/packed.cuh). A CTA keeps its tokens in shared memory; many tokens are
// many CTAs, for each of which weights are read and decoded again. Floor: the
// bytes of the weights over the memory bandwidth. Limits: bf16 tokens; columns
// are whole stages, and rows tiles of 16.

#pragma once

#include "runtime/kernels/impls/linear_stream.cuh"
#include "runtime/kernels/tile/packed.cuh"

namespace saddle::device {

/// Tiles of `total` that a warp takes: `first`, first + step, ..., at most
/// `most`.
__device__ __forceinline__ int tilesOf(int total, int first, int step,
                                       int most) {
  int left = total - first;
  return left <= 0 ? 0 : min((left + step - 1) / step, most);
}

/// Writes the rows of x in the order that PackedStreams want them in, dense.
template <int extent, int unit, typename X>
__device__ void orderRows(const LaunchParams &p, const void *x, void *ordered,
                          int firstBlock = 0) {
  orderTokens<X::kCols, unit, X::kCols * 2>(
      static_cast<uint8_t *>(ordered), p.step->counts[extent],
      (blockIdx.x - firstBlock) * blockDim.x + threadIdx.x,
      (gridDim.x - firstBlock) * blockDim.x, [&](int token, int column) {
        return *reinterpret_cast<const uint4 *>(X::row(x, token) + column);
      });
}

/// out = x w^T. The grid: blocks of `passes` times Shape::kCtaRows rows, then
/// blocks of tokens. `ordered` are the rows of x as orderRows() leaves them;
/// null: the CTA does that for its own. Waits itself, after it has begun to
/// fetch weights.
template <int extent, typename X, typename Weights, typename Out, int passes,
          typename Shape>
__device__ void linearPacked(const LaunchParams &p, const void *ordered) {
  using Stream = PackedStream<Weights, Shape>;
  constexpr int kTiles = Weights::kRows / 16;
  static_assert(Weights::kRows % 16 == 0, "tiles of rows are whole");
  static_assert(passes == 1 || Shape::kColumnWarps == 1,
                "a warp has all columns of its rows");
  extern __shared__ __align__(16) uint8_t shared[];
  allowNext();
  int count = p.step->counts[extent];
  int firstToken = blockIdx.y * Shape::kTokens;
  if (firstToken >= count)
    return waitForPrevious(); // a kernel is complete after those before it
  WarpShare<Shape, Stream> share(shared);
  int firstTile =
      blockIdx.x * passes * Shape::kRowWarps + share.row / Shape::kRows;
  int mine = tilesOf(kTiles, firstTile, Shape::kRowWarps, passes);
  auto rowOf = [&](int pass) {
    return (firstTile + pass * Shape::kRowWarps) * 16;
  };
  auto rowsOf = [&](int pass) {
    return typename Stream::Rows{{rowOf(pass), rowOf(pass) + 8}};
  };
  Stream stream(p.operands + 1, share.ring);
  stream.begin(rowsOf, mine, share.first, share.last);
  waitForPrevious();
  uint8_t *tokensAt = shared + WarpShare<Shape, Stream>::kResidentAt;
  int tokens = min(count - firstToken, Shape::kTokens);
  if (ordered) {
    copyTokens<X::kCols, Stream::kTokenBytes>(tokensAt, tokens, [&](int i) {
      return static_cast<const bf16 *>(ordered) +
             static_cast<int64_t>(firstToken + i) * X::kCols;
    });
    commitCopies();
    waitCopies<0>();
  } else {
    orderTokens<X::kCols, Shape::kUnit, Stream::kTokenBytes>(
        tokensAt, tokens, threadIdx.x, blockDim.x, [&](int i, int column) {
          return *reinterpret_cast<const uint4 *>(
              X::row(p.operands[0], firstToken + i) + column);
        });
  }
  __syncthreads();
  constexpr int kKept =
      X::kRows < Shape::kTokens ? static_cast<int>(X::kRows) : Shape::kTokens;
  stream.template attach<kKept>(tokensAt);
  void *out = p.operands[1 + Weights::kOperands];
  int lane = threadIdx.x % 32;
  stream.finish(rowsOf, mine, share.first, share.last, [&](int pass) {
    if constexpr (Shape::kColumnWarps == 1) {
#pragma unroll
      for (int j = 0; j < Shape::kTokenTiles; ++j)
#pragma unroll
        for (int k = 0; k < 4; ++k) {
          int token = j * 8 + lane % 4 * 2 + k % 2;
          if (token < tokens)
            Out::row(out,
                     firstToken + token)[rowOf(pass) + k / 2 * 8 + lane / 4] =
                fromFloat<typename Out::Element>(stream.sums[j][k]);
        }
    }
  });
  if constexpr (Shape::kColumnWarps > 1)
    storeLinear<Shape, Out, Weights::kRows>(
        stream, reinterpret_cast<float *>(shared), out, firstToken, count,
        blockIdx.x * Shape::kCtaRows);
}

} // namespace saddle::device
