// linear for few tokens: weights stream once through the
// tensor cores (tile/stream.cuh). Rows of the weight are divided over the grid
// and the warps of a CTA, columns over the other warps of a CTA, whose sums are
// added in order. Quantised activations are encoded once, by a function before.
// Floor: the bytes of w over the memory bandwidth. Limits: rows begin at
// multiples of 16 bytes, and scales belong to multiples of a stage's columns.

#pragma once

#include "runtime/kernels/abi.h"
#include "runtime/kernels/ptx/launch.cuh"
#include "runtime/kernels/tile/stream_cta.cuh"
#include "runtime/kernels/tile/weights.cuh"

namespace saddle::device {

/// Writes the codes of x and the scales of its groups of `group` columns. A
/// warp takes a group, or eight at a time. CTAs before `firstBlock` take none.
template <int extent, int group, typename X, typename Codes, typename Factors>
__device__ void encodeRows(const LaunchParams &p, const void *x, void *codes,
                           void *factors, int firstBlock = 0) {
  constexpr uint32_t kGroups = Factors::kCols;
  static_assert(X::kRows * Factors::kCols < (int64_t(1) << 31),
                "groups are counted in 32 bits");
  // Eight columns for each lane, as one access.
  constexpr bool kWide = group == 128 && X::kCols % group == 0 &&
                         sizeof(typename X::Element) == 2 &&
                         X::isVectorizable(8) && Codes::isVectorizable(8);
  constexpr uint32_t kTogether = kWide ? 8 : 1;
  uint32_t total = p.step->counts[extent] * kGroups;
  uint32_t warps = (gridDim.x - firstBlock) * (blockDim.x / 32);
  uint32_t block = blockIdx.x - firstBlock;
  for (uint32_t i = (block * blockDim.x + threadIdx.x) / 32 * kTogether;
       i < total; i += warps * kTogether) {
    if constexpr (kWide) {
      HalfWarpEncoder<typename X::Element> groups[kTogether / 2] = {};
      auto mine = [&](int j) { return i + j * 2 + threadIdx.x % 32 / 16; };
#pragma unroll
      for (int j = 0; j < kTogether / 2; ++j)
        if (mine(j) < total)
          groups[j].load(X::row(x, mine(j) / kGroups) +
                         mine(j) % kGroups * group);
#pragma unroll
      for (int j = 0; j < kTogether / 2; ++j) {
        uint32_t row = mine(j) / kGroups, place = mine(j) % kGroups;
        uint2 values;
        float scale = groups[j].encode(values);
        int lane = threadIdx.x % 16;
        if (mine(j) < total)
          *reinterpret_cast<uint2 *>(Codes::row(codes, row) + place * group +
                                     lane * 8) = values;
        if (mine(j) < total && lane == 0)
          Factors::row(factors, row)[place] = scale;
      }
    } else {
      uint32_t row = i / kGroups, first = i % kGroups * group;
      int64_t left = X::kCols - first;
      encodeGroup<group>(X::row(x, row) + first,
                         static_cast<int>(left < group ? left : group),
                         Codes::row(codes, row) + first,
                         Factors::row(factors, row) + i % kGroups);
    }
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

/// Adds the parts of a CTA, in order, and turns rows of weights into columns of
/// out.
template <typename Shape, typename Out, int64_t rows, typename Stream>
__device__ __forceinline__ void storeLinear(const Stream &stream, float *sums,
                                            void *out, int firstToken,
                                            int count, int ctaRow) {
  using Sums = StreamSums<Shape, Stream>;
  Sums::collect(stream, sums);
  for (int i = threadIdx.x; i < Shape::kTokens * Shape::kCtaRows;
       i += blockDim.x) {
    int token = i / Shape::kCtaRows, row = i % Shape::kCtaRows;
    if (firstToken + token >= count || ctaRow + row >= rows)
      continue;
    float sum = 0;
#pragma unroll
    for (int j = 0; j < Shape::kColumnWarps; ++j)
      sum += *Sums::at(sums, j, token, row);
    Out::row(out, firstToken + token)[ctaRow + row] =
        fromFloat<typename Out::Element>(sum);
  }
}

/// out = x w^T for both kernels below. The grid: blocks of rows, then blocks of
/// tokens. setTokens(source, first, count) says where tokens first .. count - 1
/// are, and is called before anything is fetched; makeTokens(source, first,
/// count) when all that is before this kernel is complete.
template <int extent, int tokenGroup, typename Stream, typename W, typename Out,
          typename Shape, typename Scale, typename SetTokens,
          typename MakeTokens>
__device__ __forceinline__ void streamLinear(const LaunchParams &p,
                                             SetTokens setTokens,
                                             MakeTokens makeTokens) {
  extern __shared__ __align__(16) uint8_t shared[];
  allowNext();
  int count = p.step->counts[extent];
  int firstToken = blockIdx.y * Shape::kTokens;
  if (firstToken >= count)
    return waitForPrevious(); // a kernel is complete after those before it
  WarpShare<Shape, Stream> share(shared);
  int ctaRow = blockIdx.x * Shape::kCtaRows;
  int firstRow = ctaRow + share.row;

  typename Stream::Source source;
  Shape::template setRows<W>(source, W::row(p.operands[1], firstRow),
                             W::kRows - firstRow);
  setTokens(source, firstToken, count);
  if constexpr (Scale::kIsThere) {
    int row = firstRow + threadIdx.x % 32 * 8;
    source.rowFactors =
        row < W::kRows ? Scale::row(p.operands[2], 0, row) : nullptr;
  }
  Stream stream;
  stream.clear();
  stream.template begin<tokenGroup, Scale::kBlockCols>(
      source, share.ring, share.first, share.last, [] { waitForPrevious(); });
  makeTokens(source, firstToken, count);
  stream.template finish<tokenGroup, Scale::kBlockCols>(
      source, share.ring, share.first, share.last);
  storeLinear<Shape, Out, W::kRows>(stream, reinterpret_cast<float *>(shared),
                                    p.operands[Scale::kIsThere ? 3 : 2],
                                    firstToken, count, ctaRow);
}

/// out = x w^T with tokens that are in memory. Waits for what is before it
/// itself, after it has begun to fetch weights.
template <int extent, typename X, typename W, typename Out, typename Shape,
          typename Scale = NoCompanion, typename Tokens = PlainTokens>
__device__ void linearStream(const LaunchParams &p, const void *x,
                             const void *factors) {
  static_assert(Tokens::kScaled == Scale::kIsThere,
                "scaled weights go with encoded tokens");
  using Stream = typename Shape::template Stream<W, X>;
  streamLinear<extent, Tokens::kGroup, Stream, W, Out, Shape, Scale>(
      p,
      [&](auto &source, int firstToken, int count) {
        source.tokens = x;
#pragma unroll
        for (int i = 0; i < Stream::kTokenCopies; ++i) {
          int token = Stream::tokenOf(i);
          source.tokenRow[i] =
              token < Shape::kTokens && firstToken + token < count
                  ? firstToken + token
                  : -1;
        }
        if constexpr (Tokens::kScaled) {
#pragma unroll
          for (int i = 0; i < (Shape::kTokens + 31) / 32; ++i) {
            int token = firstToken + i * 32 + threadIdx.x % 32;
            source.tokenFactors[i] =
                token < count ? Tokens::row(factors, token) : nullptr;
          }
        }
      },
      [](auto &, int, int) {});
}

/// The same with x encoded by every CTA on the fly, for few tokens. Behind the
/// rings, shared memory has the codes and then the factors. Waits itself.
template <int extent, int group, typename X, typename W, typename Out,
          typename Shape, typename Scale>
__device__ void linearEncodeStream(const LaunchParams &p) {
  constexpr int kMost = X::kRows < Shape::kTokens ? X::kRows : Shape::kTokens;
  using Resident = ResidentTokens<group, kMost, W, Shape>;
  streamLinear<extent, Resident::kGroup, typename Resident::Stream, W, Out,
               Shape, Scale>(
      p, [](auto &, int, int) {},
      [&](auto &source, int firstToken, int count) {
        extern __shared__ __align__(16) uint8_t shared[];
        Resident::Encoder::encode(
            shared + Resident::kOffset, count - firstToken, threadIdx.x / 32,
            Shape::kRowWarps * Shape::kColumnWarps, [&](int token) {
              return X::row(p.operands[0], firstToken + token);
            });
        Resident::attach(source, shared + Resident::kOffset);
        __syncthreads();
      });
}

} // namespace saddle::device
