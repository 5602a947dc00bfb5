// experts with weights of four bits (tile/packed.cuh) for some tokens, in four
// functions: `prepare` sorts the (token, choice) pairs by expert
// (impls/experts_stream.cuh), `up` and `down` walk (block of tokens, rows)
// items without pausing between rows, `combine` adds a token's experts. As
// tokens of the second product, activations are the sum of two bf16 numbers.
// Floor: the bytes of the chosen experts over the memory bandwidth. Limits: as
// linear_packed.cuh, with multiples of 8 activations.

#pragma once

#include "runtime/kernels/impls/experts_stream.cuh"
#include "runtime/kernels/impls/linear_packed.cuh"

namespace saddle::device {

/// Activations of a pair as two bf16 rows of `inner` columns: the numbers, and
/// what they leave of the values, in the order of streams of that unit.
template <int inner, int unit>
__device__ __forceinline__ void storeInner(bf16 *rows, int64_t pair, int column,
                                           float value) {
  bf16 number = fromFloat<bf16>(value);
  bf16 *to = rows + pair * 2 * inner + packedColumn<unit>(column);
  to[0] = number;
  to[inner] = fromFloat<bf16>(value - toFloat(number));
}

/// Eight rows of w1 and the same of w3.
template <typename Stream, int inner>
__device__ __forceinline__ typename Stream::Rows gatedRows(int expert,
                                                           int column) {
  return {{expert * 2 * inner + column, (expert * 2 + 1) * inner + column}};
}

/// The first CTA plans, the others order x.
template <int extent, int unit, typename X, typename Experts, typename Plan>
__device__ void prepareExpertsPacked(const LaunchParams &p, Plan *plan,
                                     void *ordered) {
  if (blockIdx.x == 0)
    planExperts<extent, 1, Experts>(p, plan);
  else
    orderRows<extent, unit, X>(p, p.operands[0], ordered, 1);
}

/// Walks items of `passes` times rowWarps tiles of rows of a block of tokens,
/// of `tiles` in all; a warp's tiles are rowWarps apart. copy(block, to) starts
/// to copy a block's tokens to shared memory. multiply(block, first tile,
/// tiles, tokens, ready) calls ready() when it has begun to fetch weights;
/// afterwards its tokens are there. With two buffers of `bufferBytes` those of
/// the next item come while this one is multiplied.
template <int tiles, int passes, typename Shape, int buffers, int bufferBytes,
          typename Plan, typename Copy, typename Multiply>
__device__ __forceinline__ void forEachTiles(const Plan *plan, uint8_t *tokens,
                                             Copy copy, Multiply multiply) {
  static_assert(Shape::kColumnWarps == 1, "a warp has all columns");
  constexpr int kItemTiles = passes * Shape::kRowWarps;
  constexpr int kItems = (tiles + kItemTiles - 1) / kItemTiles;
  int total = plan->blockCount * kItems, item = blockIdx.x;
  if (item >= total)
    return;
  ExpertBlock block = plan->blocks[item / kItems], after = block;
  if constexpr (buffers == 2) {
    copy(block, tokens);
    commitCopies();
  }
  for (int buffer = 0; item < total; buffer ^= 1, block = after) {
    int first = item % kItems * kItemTiles + threadIdx.x / 32;
    int mine = tilesOf(tiles, first, Shape::kRowWarps, passes);
    item += gridDim.x;
    if (item < total)
      after = plan->blocks[item / kItems];
    uint8_t *here = tokens + (buffers == 2 ? buffer * bufferBytes : 0);
    multiply(block, first, mine, here, [&] {
      if constexpr (buffers == 2) {
        // Older than all that multiply() has fetched by now.
        waitCopies<Shape::kDepth - 1>();
        __syncthreads(); // and the other buffer is done with
        if (item < total)
          copy(after, tokens + (buffer ^ 1) * bufferBytes);
        if (mine == 0)
          commitCopies(); // else a part of what is fetched next
      } else {
        __syncthreads(); // the tokens before are done with
        copy(block, tokens);
        commitCopies();
        waitCopies<0>();
        __syncthreads();
      }
    });
  }
}

/// The pairs of the tokens of which a lane has sums; -1 for none.
template <int tokenTiles>
__device__ __forceinline__ void pairsOfLane(int (&own)[tokenTiles][2],
                                            const ExpertBlock &block,
                                            const int32_t *pairs) {
#pragma unroll
  for (int j = 0; j < tokenTiles; ++j)
#pragma unroll
    for (int k = 0; k < 2; ++k) {
      int token = j * 8 + threadIdx.x % 4 * 2 + k;
      own[j][k] = token < block.count ? pairs[token] : -1;
    }
}

/// inner = silu(gate) * up of each pair, as storeInner() leaves it.
template <int slots, typename W13, int passes, int buffers, typename Shape,
          int downUnit, typename Plan>
__device__ void expertsUpPacked(const LaunchParams &p, const Plan *plan,
                                const void *ordered, bf16 *inner) {
  using Stream = PackedStream<W13, Shape>;
  static_assert(Plan::kTokens <= Shape::kTokens, "a block at a time");
  constexpr int kInner = W13::kRows / Plan::kHeld / 2;
  static_assert(kInner % 8 == 0, "tiles of rows are whole");
  extern __shared__ __align__(16) uint8_t shared[];
  WarpShare<Shape, Stream> share(shared);
  int g = threadIdx.x % 32 / 4;
  forEachTiles<kInner / 8, passes, Shape, buffers,
               Plan::kTokens * Stream::kTokenBytes>(
      plan, shared + WarpShare<Shape, Stream>::kResidentAt,
      [&](const ExpertBlock &block, uint8_t *to) {
        const int32_t *pairs = plan->order + block.first;
        copyTokens<W13::kCols, Stream::kTokenBytes>(
            to, block.count, [&](int i) {
              return static_cast<const bf16 *>(ordered) +
                     static_cast<int64_t>(pairs[i] / slots) * W13::kCols;
            });
      },
      [&](const ExpertBlock &block, int firstTile, int mine,
          const uint8_t *tokens, auto ready) {
        auto columnOf = [&](int pass) {
          return (firstTile + pass * Shape::kRowWarps) * 8;
        };
        auto rowsOf = [&](int pass) {
          return gatedRows<Stream, kInner>(block.expert, columnOf(pass));
        };
        Stream stream(p.operands + 3, share.ring);
        stream.begin(rowsOf, mine, 0, Stream::kStages);
        int own[Shape::kTokenTiles][2];
        pairsOfLane<Shape::kTokenTiles>(own, block, plan->order + block.first);
        ready();
        stream.template attach<Plan::kTokens>(tokens);
        stream.finish(rowsOf, mine, 0, Stream::kStages, [&](int pass) {
#pragma unroll
          for (int j = 0; j < Shape::kTokenTiles; ++j)
#pragma unroll
            for (int k = 0; k < 2; ++k)
              if (own[j][k] >= 0)
                storeInner<kInner, downUnit>(
                    inner, own[j][k], columnOf(pass) + g,
                    silu(stream.sums[j][k]) * stream.sums[j][2 + k]);
        });
      });
}

/// products[pair] = w2 inner[pair], fp32. Shape has two tokens for each of a
/// block's: the numbers of all, then what they leave.
template <int w2At, typename W2, int passes, int buffers, typename Shape,
          typename Plan>
__device__ void expertsDownPacked(const LaunchParams &p, const Plan *plan,
                                  const bf16 *inner, float *products) {
  using Stream = PackedStream<W2, Shape>;
  static_assert(Shape::kTokens == 2 * Plan::kTokens, "a block at a time");
  constexpr int kHidden = W2::kRows / Plan::kHeld, kInner = W2::kCols;
  static_assert(kHidden % 16 == 0, "tiles of rows are whole");
  // Of the numbers; with four tokens the rests share their tile.
  constexpr bool kShared = Plan::kTokens == 4;
  constexpr int kTokenTiles = kShared ? 1 : Plan::kTokens / 8;
  constexpr int kHalfBytes = Plan::kTokens * Stream::kTokenBytes;
  extern __shared__ __align__(16) uint8_t shared[];
  WarpShare<Shape, Stream> share(shared);
  int g = threadIdx.x % 32 / 4;
  forEachTiles<kHidden / 16, passes, Shape, buffers, 2 * kHalfBytes>(
      plan, shared + WarpShare<Shape, Stream>::kResidentAt,
      [&](const ExpertBlock &block, uint8_t *to) {
        const int32_t *pairs = plan->order + block.first;
#pragma unroll
        for (int half = 0; half < 2; ++half)
          copyTokens<kInner, Stream::kTokenBytes>(
              to + half * kHalfBytes, block.count, [&](int i) {
                return inner +
                       (static_cast<int64_t>(pairs[i]) * 2 + half) * kInner;
              });
      },
      [&](const ExpertBlock &block, int firstTile, int mine,
          const uint8_t *tokens, auto ready) {
        auto rowOf = [&](int pass) {
          return (firstTile + pass * Shape::kRowWarps) * 16;
        };
        auto rowsOf = [&](int pass) {
          int row = block.expert * kHidden + rowOf(pass);
          return typename Stream::Rows{{row, row + 8}};
        };
        Stream stream(p.operands + w2At, share.ring);
        stream.begin(rowsOf, mine, 0, Stream::kStages);
        int own[kTokenTiles][2];
        pairsOfLane<kTokenTiles>(own, block, plan->order + block.first);
        ready();
        stream.template attach<2 * Plan::kTokens>(tokens);
        stream.finish(rowsOf, mine, 0, Stream::kStages, [&](int pass) {
#pragma unroll
          for (int j = 0; j < kTokenTiles; ++j)
#pragma unroll
            for (int k = 0; k < 2; ++k) {
              float sums[2];
#pragma unroll
              for (int half = 0; half < 2; ++half) {
                float number = stream.sums[j][half * 2 + k];
                sums[half] =
                    number + (kShared ? __shfl_xor_sync(kFullWarp, number, 2)
                                      : stream.sums[Shape::kTokenTiles / 2 + j]
                                                   [half * 2 + k]);
              }
              if (own[j][k] < 0)
                continue;
              float *to = products + static_cast<int64_t>(own[j][k]) * kHidden +
                          rowOf(pass) + g;
              to[0] = sums[0];
              to[8] = sums[1];
            }
        });
      });
}

} // namespace saddle::device
