// linear with weights of four bits: rows are divided over the grid and the
// warps of a CTA, columns over its other warps, whose sums are added in order
// (tile/packed.cuh). A CTA keeps its tokens in shared memory; many tokens are
// many CTAs, for each of which weights are read and decoded again. Floor: the
// bytes of the weights over the memory bandwidth. Limits: bf16 tokens; columns
// are whole stages.

#pragma once

#include "runtime/kernels/impls/linear_stream.cuh"
#include "runtime/kernels/tile/packed.cuh"

namespace saddle::device {

/// out = x w^T. The grid: blocks of rows, then blocks of tokens. Waits itself,
/// after it has begun to fetch weights.
template <int extent, typename X, typename Weights, typename Out,
          typename Shape>
__device__ void linearPacked(const LaunchParams &p) {
  using Stream = PackedStream<Weights, Shape>;
  extern __shared__ __align__(16) uint8_t shared[];
  allowNext();
  int count = p.step->counts[extent];
  int firstToken = blockIdx.y * Shape::kTokens;
  if (firstToken >= count)
    return waitForPrevious(); // a kernel is complete after those before it
  WarpShare<Shape, Stream> share(shared);
  int ctaRow = blockIdx.x * Shape::kCtaRows;

  typename Stream::Source source;
  source.operands = p.operands + 1;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    source.rows[half] = ctaRow + share.row + half * 8;
    source.rowCount[half] =
        static_cast<int>(Weights::kRows) - source.rows[half];
  }
  Stream stream;
  stream.clear();
  stream.begin(source, share.ring, share.first, share.last);
  waitForPrevious();
  constexpr int kTokensAt = decltype(share)::kResidentAt;
  int tokens = min(count - firstToken, Shape::kTokens);
  placeTokens<Weights::kCols, Shape::kUnit, Stream::kTokenBytes>(
      shared + kTokensAt, tokens, threadIdx.x, blockDim.x,
      [&](int token, int column) {
        return *reinterpret_cast<const uint4 *>(
            X::row(p.operands[0], firstToken + token) + column);
      });
  attachTokens<typename Stream::Source, Shape::kTokenTiles,
               Stream::kTokenBytes>(source, shared + kTokensAt, tokens);
  __syncthreads();
  stream.finish(source, share.ring, share.first, share.last);
  storeLinear<Shape, Out, Weights::kRows>(
      stream, reinterpret_cast<float *>(shared),
      p.operands[1 + Weights::kOperands], firstToken, count, ctaRow);
}

} // namespace saddle::device
