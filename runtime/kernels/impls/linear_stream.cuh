// linear and linear_scaled for few tokens: weights stream once through the
// tensor cores (tile/stream.cuh). Rows of the weight are divided over the grid
// and the warps of a CTA, columns over the other warps of a CTA, whose sums are
// added in order. Quantised activations are encoded once, by a function before.
// Floor: the bytes of w over the memory bandwidth. Limits: rows begin at
// multiples of 16 bytes, and scales belong to multiples of a stage's columns.

#pragma once

#include "runtime/kernels/abi.h"
#include "runtime/kernels/tile/quantize.cuh"
#include "runtime/kernels/tile/stream.cuh"
#include "runtime/kernels/tile/weights.cuh"

namespace saddle::device {

/// Writes the codes of x and the scales of its groups of `group` columns. A
/// warp takes a group. CTAs before `firstBlock` take none.
template <int extent, int group, typename X, typename Codes, typename Factors>
__device__ void encodeRows(const LaunchParams &p, const void *x, void *codes,
                           void *factors, int firstBlock = 0) {
  constexpr int64_t kGroups = Factors::kCols;
  int64_t total = static_cast<int64_t>(p.step->counts[extent]) * kGroups;
  int64_t warps =
      static_cast<int64_t>(gridDim.x - firstBlock) * (blockDim.x / 32);
  int64_t block = static_cast<int64_t>(blockIdx.x) - firstBlock;
  for (int64_t i = (block * blockDim.x + threadIdx.x) / 32; i < total;
       i += warps) {
    int64_t row = i / kGroups, first = i % kGroups * group;
    const typename X::Element *from = X::row(x, row) + first;
    e4m3 *to = Codes::row(codes, row) + first;
    int64_t left = X::kCols - first;
    float scale = encodeGroup<group>(
        static_cast<int>(left < group ? left : group),
        [&](int k) { return toFloat(from[k]); },
        [&](int k, e4m3 code) { to[k] = code; });
    if (threadIdx.x % 32 == 0)
      Factors::row(factors, row)[i % kGroups] = scale;
  }
}

/// Tokens that are what they say.
struct PlainTokens {
  static constexpr bool kScaled = false;
  static constexpr int kGroup = 1;
};
/// Codes with one factor per `group` columns.
template <typename Factors, int group>
struct ScaledTokens {
  static constexpr bool kScaled = true;
  static constexpr int kGroup = group;
  static __device__ __forceinline__ const float *row(const void *base,
                                                     int64_t index) {
    return Factors::row(base, index);
  }
};

/// How a CTA divides its work: a warp has `rows` rows (8, or tiles of 16) and
/// 8 tokenTiles tokens; rowWarps x columnWarps warps.
template <int rows, int tokenTiles, int units, int depth, int rowWarps,
          int columnWarps>
struct StreamShape {
  static constexpr int kRows = rows, kTokenTiles = tokenTiles, kUnits = units,
                       kDepth = depth, kRowWarps = rowWarps,
                       kColumnWarps = columnWarps;
  static constexpr int kTiles = (rows + 15) / 16;
  static constexpr int kTokens = tokenTiles * 8;
  static constexpr int kCtaRows = rows * rowWarps;
  static_assert(rows == 8 || rows % 16 == 0, "a tile of weights has 16 rows");
};

/// out = x w^T. The grid: blocks of rows, then blocks of tokens.
template <int extent, typename X, typename W, typename Out, typename Shape,
          typename Scale = Unscaled, typename Tokens = PlainTokens>
__device__ void linearStream(const LaunchParams &p, const void *x,
                             const void *factors) {
  constexpr bool kScaled = Tokens::kScaled;
  static_assert(kScaled || !Scale::kScaled,
                "scaled weights go with encoded tokens");
  using Stream =
      WarpStream<typename W::Element, Shape::kTiles, Shape::kTokenTiles,
                 Shape::kUnits, Shape::kDepth, kScaled>;
  extern __shared__ __align__(16) uint8_t shared[];
  int64_t count = p.step->counts[extent];
  int64_t firstToken = static_cast<int64_t>(blockIdx.y) * Shape::kTokens;
  if (firstToken >= count)
    return;
  int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4;
  int rowWarp = warp % Shape::kRowWarps, part = warp / Shape::kRowWarps;
  int64_t ctaRow = static_cast<int64_t>(blockIdx.x) * Shape::kCtaRows;
  int64_t firstRow = ctaRow + rowWarp * Shape::kRows;

  typename Stream::Source source;
#pragma unroll
  for (int i = 0; i < Shape::kTiles; ++i)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      int64_t row = firstRow + i * 16 + half * 8 + g;
      source.rows[i][half] = half * 8 < Shape::kRows && row < W::kRows
                                 ? W::row(p.operands[1], row)
                                 : nullptr;
    }
#pragma unroll
  for (int i = 0; i < Shape::kTokenTiles; ++i) {
    int64_t token = firstToken + i * 8 + g;
    source.tokens[i] = token < count ? X::row(x, token) : nullptr;
  }
  if constexpr (kScaled) {
#pragma unroll
    for (int i = 0; i < (Shape::kTokens + 31) / 32; ++i) {
      int64_t token = firstToken + i * 32 + lane;
      source.tokenFactors[i] =
          token < count ? Tokens::row(factors, token) : nullptr;
    }
    int64_t row = firstRow + lane * 8;
    source.rowFactors =
        row < W::kRows ? Scale::row(p.operands[2], 0, row) : nullptr;
  }
  constexpr int kStages =
      (W::kCols + Stream::kStageColumns - 1) / Stream::kStageColumns;
  Stream stream;
  stream.clear();
  stream.template run<Tokens::kGroup, Scale::kBlockCols>(
      source, shared + warp * Stream::kRingBytes,
      part * kStages / Shape::kColumnWarps,
      (part + 1) * kStages / Shape::kColumnWarps, W::kCols);

  // Add the parts, in order, and turn rows of weights into columns of out.
  constexpr int kPitch = Shape::kCtaRows + 4;
  float *sums = reinterpret_cast<float *>(shared);
  __syncthreads(); // the rings are done with
  stream.template store<kPitch, Shape::kRows>(
      sums + part * Shape::kTokens * kPitch + rowWarp * Shape::kRows);
  __syncthreads();
  void *out = p.operands[Scale::kScaled ? 3 : 2];
  for (int i = threadIdx.x; i < Shape::kTokens * Shape::kCtaRows;
       i += blockDim.x) {
    int token = i / Shape::kCtaRows, row = i % Shape::kCtaRows;
    if (firstToken + token >= count || ctaRow + row >= W::kRows)
      continue;
    float sum = 0;
#pragma unroll
    for (int j = 0; j < Shape::kColumnWarps; ++j)
      sum += sums[(j * Shape::kTokens + token) * kPitch + row];
    Out::row(out, firstToken + token)[ctaRow + row] =
        fromFloat<typename Out::Element>(sum);
  }
}

} // namespace saddle::device
