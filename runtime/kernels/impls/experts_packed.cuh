// experts with weights of four bits (tile/packed.cuh), in two or four
// functions.
//
// A few tokens: `up` and `down` of impls/experts_decode.cuh, a CTA or a warp
// for each choice. More: `prepare` sorts the (token, choice) pairs by expert
// (impls/experts_stream.cuh), `up` and `down` walk (block of tokens, rows)
// items, `combine` adds a token's experts. Activations stay fp32; as tokens of
// the second product they are the sum of two bf16 numbers. Floor: the bytes of
// the chosen experts over the memory bandwidth. Limits: as linear_packed.cuh.

#pragma once

#include "runtime/kernels/impls/experts_stream.cuh"
#include "runtime/kernels/impls/linear_packed.cuh"

namespace saddle::device {

/// Eight fp32 values as bf16: the numbers, or what they leave of the values.
__device__ __forceinline__ uint4 halvesOf(const float *values, bool rest) {
  auto low = *reinterpret_cast<const Vector<float, 4> *>(values);
  auto high = *reinterpret_cast<const Vector<float, 4> *>(values + 4);
  auto pair = [&](float first, float second) {
    __nv_bfloat162 numbers = __floats2bfloat162_rn(first, second);
    if (rest)
      numbers = __floats2bfloat162_rn(first - __low2float(numbers),
                                      second - __high2float(numbers));
    return asBits(numbers);
  };
  return {pair(low[0], low[1]), pair(low[2], low[3]), pair(high[0], high[1]),
          pair(high[2], high[3])};
}

/// The warp's eight rows of w1 and of w3.
template <typename Gated, typename Source>
__device__ __forceinline__ void
setGatedRows(Source &source, void *const *operands, int expert, int column) {
  source.operands = operands;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    source.rows[half] = (expert * 2 + half) * Gated::kInner + column;
    source.rowCount[half] = Gated::kInner - column;
  }
}

/// The warp's 16 rows of w2.
template <int hidden, typename Source>
__device__ __forceinline__ void
setDownRows(Source &source, void *const *operands, int expert, int row) {
  source.operands = operands;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    source.rows[half] = expert * hidden + row + half * 8;
    source.rowCount[half] = hidden - row - half * 8;
  }
}

//===--- A few tokens -----------------------------------------------------===//

/// inner[token * slots + slot] = silu(gate) * up. The grid: blocks of columns,
/// slots, tokens.
template <int extent, typename X, typename Experts, typename W13, int64_t held,
          typename Shape>
__device__ void expertsUpPackedDecode(const LaunchParams &p, float *inner) {
  using Stream = PackedStream<W13, Shape>;
  using Gated = GatedRows<W13, held, Shape, Stream, NoCompanion>;
  extern __shared__ __align__(16) uint8_t shared[];
  int slot = blockIdx.y, token = blockIdx.z;
  if (token >= p.step->counts[extent])
    return;
  int64_t expert =
      heldExpert<held>(p, Experts::row(p.operands[2], token)[slot]);
  if (expert < 0)
    return;
  WarpShare<Shape, Stream> share(shared);
  int ctaColumn = blockIdx.x * Gated::kCtaColumns;
  typename Stream::Source source;
  setGatedRows<Gated>(source, p.operands + 3, static_cast<int>(expert),
                      ctaColumn + share.row / 2);
  Stream stream;
  stream.clear();
  stream.begin(source, share.ring, share.first, share.last);
  constexpr int kTokensAt = decltype(share)::kResidentAt;
  placeTokens<W13::kCols, Shape::kUnit, Stream::kTokenBytes>(
      shared + kTokensAt, 1, threadIdx.x, blockDim.x, [&](int, int column) {
        return *reinterpret_cast<const uint4 *>(X::row(p.operands[0], token) +
                                                column);
      });
  attachTokens<typename Stream::Source, 1, Stream::kTokenBytes>(
      source, shared + kTokensAt, 1);
  __syncthreads();
  stream.finish(source, share.ring, share.first, share.last);
  float *sums = reinterpret_cast<float *>(shared);
  Gated::Sums::collect(stream, sums);
  for (int c = threadIdx.x; c < Gated::kCtaColumns; c += blockDim.x)
    if (ctaColumn + c < Gated::kInner)
      inner[(static_cast<int64_t>(token) * Experts::kCols + slot) *
                Gated::kInner +
            ctaColumn + c] = Gated::activation(sums, 0, c);
}

/// out[token] = the sum over its experts held here of weight * w2 inner[pair].
/// The grid: blocks of 16 rows, tokens. Warps take choices in turn; shared
/// memory has a ring and a token, in two halves, for each. Waits itself.
template <int extent, typename Weights, typename Experts, int w2At, typename W2,
          typename Out, int64_t held, typename Shape>
__device__ void expertsDownPackedDecode(const LaunchParams &p,
                                        const float *inner) {
  using Stream = PackedStream<W2, Shape>;
  constexpr int kSlots = Experts::kCols;
  constexpr int kHidden = W2::kRows / held, kInner = W2::kCols;
  constexpr int kWarpBytes = Stream::kRingBytes + 2 * Stream::kTokenBytes;
  extern __shared__ __align__(16) uint8_t shared[];
  __shared__ SortedChoices<kSlots> choices;
  __shared__ float products[kSlots][16];
  allowNext();
  int token = blockIdx.y;
  if (token >= p.step->counts[extent])
    return waitForPrevious(); // a kernel is complete after those before it
  int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  int firstRow = blockIdx.x * 16;
  uint8_t *ring = shared + warp * kWarpBytes;
  uint8_t *tokens = ring + Stream::kRingBytes;
  for (int slot = warp; slot < kSlots; slot += blockDim.x / 32) {
    int64_t expert =
        heldExpert<held>(p, Experts::row(p.operands[2], token)[slot]);
    if (expert < 0)
      continue;
    typename Stream::Source source;
    setDownRows<kHidden>(source, p.operands + w2At, static_cast<int>(expert),
                         firstRow);
    Stream stream;
    stream.clear();
    // The choices were there before `up` began; its results are not yet.
    stream.begin(source, ring, 0, Stream::kStages);
    waitForPrevious();
    const float *values =
        inner + (static_cast<int64_t>(token) * kSlots + slot) * kInner;
    placeTokens<kInner, Shape::kUnit, Stream::kTokenBytes>(
        tokens, 2, lane, 32, [&](int half, int column) {
          return halvesOf(values + column, half == 1);
        });
    attachTokens<typename Stream::Source, 1, Stream::kTokenBytes>(source,
                                                                  tokens, 2);
    __syncwarp();
    stream.finish(source, ring, 0, Stream::kStages);
    if (lane % 4 == 0) { // the columns of both halves
      products[slot][lane / 4] = stream.sums[0][0] + stream.sums[0][1];
      products[slot][8 + lane / 4] = stream.sums[0][2] + stream.sums[0][3];
    }
  }
  waitForPrevious();
  choices.template sort<Weights, Experts, held>(p, token);
  __syncthreads();
  int row = threadIdx.x;
  if (row >= 16 || firstRow + row >= kHidden)
    return;
  float sum = 0;
  for (int i = 0; i < kSlots && choices.slots[i] >= 0; ++i)
    sum += choices.weights[i] * products[choices.slots[i]][row];
  Out::row(p.operands[w2At + W2::kOperands], token)[firstRow + row] =
      fromFloat<typename Out::Element>(sum);
}

//===--- Sorted tokens ----------------------------------------------------===//

/// inner[pair] = silu(gate) * up.
template <int slots, typename X, typename W13, typename Shape, typename Plan>
__device__ void expertsUpPacked(const LaunchParams &p, const Plan *plan,
                                float *inner) {
  using Stream = PackedStream<W13, Shape>;
  using Gated = GatedRows<W13, Plan::kHeld, Shape, Stream, NoCompanion>;
  static_assert(Shape::kTokens == Plan::kTokens, "a block of tokens at a time");
  constexpr int kInner = Gated::kInner, kCtaColumns = Gated::kCtaColumns;
  constexpr int kItems = (kInner + kCtaColumns - 1) / kCtaColumns;
  extern __shared__ __align__(16) uint8_t shared[];
  float *sums = reinterpret_cast<float *>(shared);
  forEachItem<kItems>(
      plan, blockIdx.x, gridDim.x,
      [&](const ExpertBlock &block, const int32_t *pairs, int item) {
        int ctaColumn = item * kCtaColumns;
        WarpShare<Shape, Stream> share(shared);
        typename Stream::Source source;
        setGatedRows<Gated>(source, p.operands + 3, block.expert,
                            ctaColumn + share.row / 2);
        Stream stream;
        stream.clear();
        stream.begin(source, share.ring, share.first, share.last);
        constexpr int kTokensAt = WarpShare<Shape, Stream>::kResidentAt;
        placeTokens<W13::kCols, Shape::kUnit, Stream::kTokenBytes>(
            shared + kTokensAt, block.count, threadIdx.x, blockDim.x,
            [&](int token, int column) {
              return *reinterpret_cast<const uint4 *>(
                  X::row(p.operands[0], pairs[token] / slots) + column);
            });
        attachTokens<typename Stream::Source, Shape::kTokenTiles,
                     Stream::kTokenBytes>(source, shared + kTokensAt,
                                          block.count);
        __syncthreads();
        stream.finish(source, share.ring, share.first, share.last);
        Gated::Sums::collect(stream, sums);
        for (int i = threadIdx.x; i < block.count * kCtaColumns;
             i += blockDim.x) {
          int token = i / kCtaColumns, c = i % kCtaColumns;
          if (ctaColumn + c < kInner)
            inner[static_cast<int64_t>(pairs[token]) * kInner + ctaColumn + c] =
                Gated::activation(sums, token, c);
        }
        __syncthreads(); // rings and tokens are free again
      });
}

/// products[pair] = w2 inner[pair], fp32. Shape has two tokens for each of a
/// block's: the halves of all, then the rests of all.
template <int w2At, typename W2, typename Shape, typename Plan>
__device__ void expertsDownPacked(const LaunchParams &p, const Plan *plan,
                                  const float *inner, float *products) {
  using Stream = PackedStream<W2, Shape>;
  using Sums = StreamSums<Shape, Stream>;
  static_assert(Shape::kTokens == 2 * Plan::kTokens,
                "a block of tokens at a time");
  constexpr int kHidden = W2::kRows / Plan::kHeld, kInner = W2::kCols;
  constexpr int kItems = (kHidden + Shape::kCtaRows - 1) / Shape::kCtaRows;
  extern __shared__ __align__(16) uint8_t shared[];
  float *sums = reinterpret_cast<float *>(shared);
  forEachItem<kItems>(
      plan, blockIdx.x, gridDim.x,
      [&](const ExpertBlock &block, const int32_t *pairs, int item) {
        int ctaRow = item * Shape::kCtaRows;
        WarpShare<Shape, Stream> share(shared);
        typename Stream::Source source;
        setDownRows<kHidden>(source, p.operands + w2At, block.expert,
                             ctaRow + share.row);
        Stream stream;
        stream.clear();
        stream.begin(source, share.ring, share.first, share.last);
        constexpr int kTokensAt = WarpShare<Shape, Stream>::kResidentAt;
#pragma unroll
        for (int half = 0; half < 2; ++half)
          placeTokens<kInner, Shape::kUnit, Stream::kTokenBytes>(
              shared + kTokensAt + half * Plan::kTokens * Stream::kTokenBytes,
              block.count, threadIdx.x, blockDim.x, [&](int token, int column) {
                return halvesOf(
                    inner + static_cast<int64_t>(pairs[token]) * kInner +
                        column,
                    half == 1);
              });
        // Missing tokens of the first half lie before the second.
        attachTokens<typename Stream::Source, Shape::kTokenTiles,
                     Stream::kTokenBytes>(source, shared + kTokensAt,
                                          Plan::kTokens + block.count);
        __syncthreads();
        stream.finish(source, share.ring, share.first, share.last);
        Sums::collect(stream, sums);
        for (int i = threadIdx.x; i < block.count * Shape::kCtaRows;
             i += blockDim.x) {
          int token = i / Shape::kCtaRows, row = i % Shape::kCtaRows;
          if (ctaRow + row >= kHidden)
            continue;
          float sum = 0;
#pragma unroll
          for (int j = 0; j < Shape::kColumnWarps; ++j)
#pragma unroll
            for (int half = 0; half < 2; ++half)
              sum += *Sums::at(sums, j, half * Plan::kTokens + token, row);
          products[static_cast<int64_t>(pairs[token]) * kHidden + ctaRow +
                   row] = sum;
        }
        __syncthreads(); // rings and tokens are free again
      });
}

} // namespace saddle::device
