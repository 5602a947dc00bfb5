// experts with weights of four bits (tile/packed.cuh), in two or four
// functions.
//
// A few tokens: `up` has CTAs for each choice, `down` adds a token's experts in
// a cluster whose CTAs divide the choices. More: `prepare` sorts the (token,
// choice) pairs by expert (impls/experts_stream.cuh), `up` and `down` walk
// (block of tokens, rows) items without pausing between rows, `combine` adds a
// token's experts. As tokens of the second product, activations are the sum of
// two bf16 numbers. Floor: the bytes of the chosen experts over the memory
// bandwidth. Limits: as linear_packed.cuh, with multiples of 8 activations.

#pragma once

#include "runtime/kernels/impls/experts_stream.cuh"
#include "runtime/kernels/impls/linear_packed.cuh"
#include "runtime/kernels/ptx/cluster.cuh"

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

//===--- A few tokens -----------------------------------------------------===//

/// inner[token * slots + slot] = silu(gate) * up, as storeInner() leaves it.
/// The grid: blocks of columns, slots, tokens.
template <int extent, typename X, typename Experts, typename W13, int64_t held,
          typename Shape, int downUnit>
__device__ void expertsUpPackedDecode(const LaunchParams &p, bf16 *inner) {
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
  int column = ctaColumn + share.row / 2;
  int mine = column < Gated::kInner;
  auto rowsOf = [&](int) {
    return gatedRows<Stream, Gated::kInner>(static_cast<int>(expert), column);
  };
  Stream stream(p.operands + 3, share.ring);
  stream.begin(rowsOf, mine, share.first, share.last);
  uint8_t *tokensAt = shared + WarpShare<Shape, Stream>::kResidentAt;
  orderTokens<W13::kCols, Shape::kUnit, Stream::kTokenBytes>(
      tokensAt, 1, threadIdx.x, blockDim.x, [&](int, int k) {
        return *reinterpret_cast<const uint4 *>(X::row(p.operands[0], token) +
                                                k);
      });
  __syncthreads();
  stream.template attach<1>(tokensAt);
  stream.finish(rowsOf, mine, share.first, share.last, [](int) {});
  float *sums = reinterpret_cast<float *>(shared);
  Gated::Sums::collect(stream, sums);
  for (int c = threadIdx.x; c < Gated::kCtaColumns; c += blockDim.x)
    if (ctaColumn + c < Gated::kInner)
      storeInner<Gated::kInner, downUnit>(
          inner, static_cast<int64_t>(token) * Experts::kCols + slot,
          ctaColumn + c, Gated::activation(sums, 0, c));
}

/// out[token] = the sum over its experts held here of weight * w2 inner[pair].
/// The grid: clusters of CTAs for blocks of 16 rows, tokens. The CTAs of a
/// cluster divide the choices, and Shape::kColumnWarps warps the columns of
/// one; the first CTA adds. Shared memory has a ring for each warp and a token,
/// in two halves, for each choice. Waits itself.
template <int extent, typename Weights, typename Experts, int w2At, typename W2,
          typename Out, int64_t held, int cluster, typename Shape>
__device__ void expertsDownPackedDecode(const LaunchParams &p,
                                        const bf16 *inner) {
  using Stream = PackedStream<W2, Shape>;
  constexpr int kSlots = Experts::kCols, kParts = Shape::kColumnWarps;
  constexpr int kHidden = W2::kRows / held, kInner = W2::kCols;
  static_assert(kHidden % 16 == 0, "tiles of rows are whole");
  static_assert(Shape::kRowWarps == 1, "a warp has all rows");
  constexpr int kEach = (kSlots + cluster - 1) / cluster; // choices of a CTA
  extern __shared__ __align__(16) uint8_t shared[];
  __shared__ SortedChoices<kSlots> choices;
  __shared__ float products[kSlots][kParts][16];
  allowNext();
  int token = blockIdx.y;
  if (token >= p.step->counts[extent])
    return waitForPrevious(); // a kernel is complete after those before it
  if constexpr (cluster > 1)
    arriveAtCluster(); // has begun
  int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  int part = warp % kParts;
  int first = part * Stream::kStages / kParts,
      last = (part + 1) * Stream::kStages / kParts;
  int rank = blockIdx.x % cluster;
  int firstRow = blockIdx.x / cluster * 16;
  int warps = blockDim.x / 32;
  uint8_t *ring = shared + warp * Stream::kRingBytes;
  uint8_t *tokens = shared + warps * Stream::kRingBytes +
                    warp / kParts * 2 * Stream::kTokenBytes;
  bool met = cluster == 1;
  for (int i = warp / kParts; i < kEach; i += warps / kParts) {
    int slot = rank * kEach + i;
    int64_t expert =
        slot < kSlots
            ? heldExpert<held>(p, Experts::row(p.operands[2], token)[slot])
            : -1;
    if (expert < 0)
      continue;
    auto rowsOf = [&](int) {
      int row = static_cast<int>(expert) * kHidden + firstRow;
      return typename Stream::Rows{{row, row + 8}};
    };
    Stream stream(p.operands + w2At, ring);
    // The choices were there before `up` began; its results are not yet.
    stream.begin(rowsOf, 1, first, last);
    waitForPrevious();
    // This warp's columns of both halves.
    constexpr int kStagePieces = Stream::kStageColumns / 8;
    int pieces = (last - first) * kStagePieces;
    const bf16 *from =
        inner + (static_cast<int64_t>(token) * kSlots + slot) * 2 * kInner;
    for (int j = lane; j < 2 * pieces; j += 32) {
      int half = j >= pieces;
      int piece = first * kStagePieces + j - half * pieces;
      copyAsync16(sharedAddress(tokens + half * Stream::kTokenBytes) +
                      piece * 16,
                  from + half * kInner + piece * 8);
    }
    commitCopies();
    waitCopies<0>();
    stream.template attach<2>(tokens);
    __syncwarp();
    stream.finish(rowsOf, 1, first, last, [](int) {});
    // The columns of both halves, of rows g and g + 8.
    float sums[2] = {stream.sums[0][0] + stream.sums[0][1],
                     stream.sums[0][2] + stream.sums[0][3]};
    if constexpr (cluster > 1)
      if (rank != 0) {
        if (!met)
          waitForCluster();
        met = true;
      }
    if (lane % 4 == 0)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float *to = &products[slot][part][half * 8 + lane / 4];
        if (cluster > 1 && rank != 0)
          storeInCluster(to, 0, sums[half]);
        else
          *to = sums[half];
      }
  }
  waitForPrevious();
  if constexpr (cluster > 1) {
    if (!met)
      waitForCluster();
    arriveAtCluster();
    waitForCluster();
    if (rank != 0)
      return;
  }
  choices.template sort<Weights, Experts, held>(p, token);
  __syncthreads();
  int row = threadIdx.x;
  if (row >= 16)
    return;
  float sum = 0;
  for (int i = 0; i < kSlots && choices.slots[i] >= 0; ++i) {
    float product = 0;
#pragma unroll
    for (int j = 0; j < kParts; ++j)
      product += products[choices.slots[i]][j][row];
    sum += choices.weights[i] * product;
  }
  Out::row(p.operands[w2At + W2::kOperands], token)[firstRow + row] =
      fromFloat<typename Out::Element>(sum);
}

//===--- Sorted tokens ----------------------------------------------------===//

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
