// experts for few tokens per expert, in five functions:
//
//   prepare  sorts the (token, choice) pairs by expert into blocks of tokens,
//            and encodes x
//   up       per block and rows of w13: silu(gate) * up, fp32
//   inner    encodes that for the second product
//   down     per block and rows of w2: the product, fp32
//   combine  adds a token's experts in ascending order
//
// Weights of an expert stream once per block of its tokens (tile/stream.cuh);
// CTAs walk (block, rows) items of the list that `prepare` made, so that any
// routing fills the machine. The order of pairs within an expert differs from
// run to run, which no result depends on. Floor: the bytes of the chosen
// experts over the memory bandwidth. Limits: as linear_stream.cuh.

#pragma once

#include "runtime/kernels/impls/experts_combine.cuh"
#include "runtime/kernels/impls/experts_gated.cuh"
#include "runtime/kernels/impls/linear_stream.cuh"
#include "runtime/kernels/ptx/cluster.cuh"
#include "runtime/kernels/ptx/launch.cuh"
#include "runtime/kernels/shared/experts.h"

namespace saddle::device {

/// Sums by a warp: calls take(i, the sum of value(j) of all j < i, value(i))
/// for each i below `count`, of which a lane has some that follow each other,
/// and returns the sum of all.
template <int count, typename Value, typename Take>
__device__ __forceinline__ int scanByWarp(Value value, Take take) {
  constexpr int kEach = (count + 31) / 32;
  int lane = threadIdx.x % 32, first = lane * kEach;
  int last = first + kEach < count ? first + kEach : count;
  int here = 0;
  for (int i = first; i < last; ++i)
    here += value(i);
  int sum = here;
#pragma unroll
  for (int distance = 1; distance < 32; distance *= 2) {
    int more = __shfl_up_sync(kFullWarp, sum, distance);
    sum += lane >= distance ? more : 0;
  }
  int all = __shfl_sync(kFullWarp, sum, 31);
  sum -= here;
  for (int i = first; i < last; ++i) {
    int mine = value(i);
    take(i, sum, mine);
    sum += mine;
  }
  return all;
}

/// Sorts the pairs, by the first `ctas` CTAs, which are a cluster when there
/// are several; `shared` has expertSortBytes(). Blocks of experts with many
/// pairs come first where a block is a tile: CTAs that take items in turn then
/// have as much to do as others, and end with short ones.
template <int extent, int ctas, typename Experts, typename Plan>
__device__ void planExperts(const LaunchParams &p, Plan *plan) {
  static_assert(sizeof(Plan) == Plan::kBytes,
                "the planner reserves what the kernel uses");
  constexpr bool kLargestFirst = Plan::kTokens >= 64;
  // Of each expert, this CTA's pairs; then all; then where its next pair goes,
  // and how many pairs of CTAs before this one are before that. The experts by
  // their number of pairs.
  extern __shared__ int32_t counts[];
  int32_t *totals = counts + Plan::kHeld, *next = totals + Plan::kHeld,
          *before = next + Plan::kHeld, *ranked = before + Plan::kHeld;
  int cta = static_cast<int>(blockIdx.x);
  for (int i = threadIdx.x; i < Plan::kHeld; i += blockDim.x)
    counts[i] = 0;
  __syncthreads();
  auto forEachPair = [&](auto visit) {
    constexpr int kEach = Experts::isVectorizable(4) ? 4 : 1;
    int64_t total =
        static_cast<int64_t>(p.step->counts[extent]) * Experts::kCols;
    // Several loads at a time, but no more than a single warp of a CTA has:
    // with code for more, ptxas spills though registers are left.
    constexpr int64_t kRounds =
        (Experts::kRows * Experts::kCols - 1) / (32 * kEach * ctas) + 1;
    constexpr int kBatch = kRounds < 16 / kEach ? kRounds : 16 / kEach;
    int64_t stride = static_cast<int64_t>(blockDim.x) * ctas * kEach;
    int64_t thread = static_cast<int64_t>(cta) * blockDim.x + threadIdx.x;
    for (int64_t first = thread * kEach; first < total;
         first += kBatch * stride) {
      Vector<int32_t, kEach> chosen[kBatch];
#pragma unroll
      for (int j = 0; j < kBatch; ++j) {
        int64_t i = first + j * stride;
        if (i < total)
          chosen[j] = loadVector<Experts, kEach>(
              p.operands[2], i / Experts::kCols, i % Experts::kCols);
      }
#pragma unroll
      for (int j = 0; j < kBatch; ++j) {
        int64_t i = first + j * stride;
        if (i >= total)
          break;
#pragma unroll
        for (int k = 0; k < kEach; ++k) {
          int64_t expert = heldExpert<Plan::kHeld>(p, chosen[j][k]);
          if (expert >= 0)
            visit(static_cast<int32_t>(i + k), static_cast<int32_t>(expert));
        }
      }
    }
  };
  forEachPair([&](int32_t, int32_t expert) { atomicAdd(&counts[expert], 1); });
  if constexpr (ctas > 1) {
    arriveAtCluster();
    waitForCluster();
  } else {
    __syncthreads();
  }
  for (int e = threadIdx.x; e < Plan::kHeld; e += blockDim.x) {
    int sum = 0, sumBefore = 0;
#pragma unroll
    for (int i = 0; i < ctas; ++i) {
      int there = ctas > 1 ? loadInCluster(&counts[e], i) : counts[e];
      sum += there;
      sumBefore += i < cta ? there : 0;
    }
    totals[e] = sum;
    before[e] = sumBefore;
  }
  if constexpr (ctas > 1)
    arriveAtCluster(); // others' counts have been read
  __syncthreads();
  if (kLargestFirst && cta == 0) {
    for (int e = threadIdx.x; e < Plan::kHeld; e += blockDim.x) {
      int mine = totals[e], place = 0;
#pragma unroll 4 // not more: registers are the encoding CTAs'
      for (int other = 0; other < Plan::kHeld; ++other) {
        int it = totals[other];
        place += it > mine || (it == mine && other < e);
      }
      ranked[place] = e;
    }
    __syncthreads();
  }
  if (threadIdx.x < 32) {
    int pairs = scanByWarp<Plan::kHeld>(
        [&](int e) { return totals[e]; },
        [&](int e, int first, int) { next[e] = first + before[e]; });
    if (cta == 0) {
      __syncwarp();
      auto expertOf = [&](int i) { return kLargestFirst ? ranked[i] : i; };
      int blocks = scanByWarp<Plan::kHeld>(
          [&](int i) {
            return (totals[expertOf(i)] + Plan::kTokens - 1) / Plan::kTokens;
          },
          [&](int i, int first, int count) {
            int e = expertOf(i), left = totals[e];
            for (int j = 0; j < count; ++j, left -= Plan::kTokens)
              plan->blocks[first + j] = {
                  e, next[e] + j * Plan::kTokens,
                  left < Plan::kTokens ? left : Plan::kTokens, 0};
          });
      if (threadIdx.x == 0) {
        plan->blockCount = blocks;
        plan->pairCount = pairs;
      }
    }
  }
  __syncthreads();
  forEachPair([&](int32_t pair, int32_t expert) {
    plan->order[atomicAdd(&next[expert], 1)] = pair;
  });
  if constexpr (ctas > 1)
    waitForCluster();
}

/// The first `ctas` CTAs plan, the others encode x (when it is to be encoded).
template <int extent, int ctas, int group, typename X, typename Codes,
          typename Factors, typename Experts, typename Plan>
__device__ void prepareExperts(const LaunchParams &p, Plan *plan, void *codes,
                               void *factors) {
  if (blockIdx.x < ctas)
    planExperts<extent, ctas, Experts>(p, plan);
  else
    encodeRows<extent, group, X, Codes, Factors>(p, p.operands[0], codes,
                                                 factors, ctas);
}

/// Calls visit(block, pairs, item) for `items` items of each block of tokens,
/// those of `worker` of `workers` that take them in turn. `pairs` are the
/// block's.
template <int items, typename Plan, typename Visit>
__device__ __forceinline__ void forEachItem(const Plan *plan, int worker,
                                            int workers, Visit visit) {
  int total = plan->blockCount * items;
  for (int item = worker; item < total; item += workers) {
    ExpertBlock block = plan->blocks[item / items];
    visit(block, plan->order + block.first, item % items);
  }
}

/// The tokens of a block, whose rows of x and factors are rowOf(place). With
/// `parts` > 1, x has that many rows for each, which have token tiles of their
/// own.
template <int parts, typename Tokens, typename Plan, typename Stream,
          typename RowOf>
__device__ __forceinline__ void
setBlockTokens(typename Stream::Source &source, const void *x,
               const void *factors, const ExpertBlock &block, RowOf rowOf) {
  source.tokens = x;
#pragma unroll
  for (int i = 0; i < Stream::kTokenCopies; ++i) {
    int place = Stream::tokenOf(i);
    if constexpr (parts == 1)
      source.tokenRow[i] = place < block.count ? rowOf(place) : -1;
    else
      source.tokenRow[i] =
          place % Plan::kTokens < block.count && place < Stream::kTokens
              ? rowOf(place % Plan::kTokens) * parts + place / Plan::kTokens
              : -1;
  }
  if constexpr (Tokens::kScaled) {
#pragma unroll
    for (int i = 0; i < (Stream::kTokens + 31) / 32; ++i) {
      int place = i * 32 + threadIdx.x % 32;
      source.tokenFactors[i] =
          place < block.count ? Tokens::row(factors, rowOf(place)) : nullptr;
    }
  }
}

/// Products of items with a block's tokens: set(source, share, block, item)
/// says what a warp multiplies, and take(sums, block, item) gets the sums. What
/// the next item needs first is under way before those of one are added, so
/// that memory never waits for a barrier. Calls wait() between the first
/// weights and their tokens.
template <typename Shape, typename Stream, int tokenGroup, int weightGroup,
          int items, typename Plan, typename Wait, typename Set, typename Take>
__device__ __forceinline__ void streamItems(const Plan *plan, Wait wait,
                                            Set set, Take take) {
  extern __shared__ __align__(16) uint8_t shared[];
  using Share = WarpShare<Shape, Stream>;
  Share share(shared);
  auto *sums = reinterpret_cast<float *>(shared + Share::kSumsAt);
  int total = plan->blockCount * items, item = blockIdx.x;
  if (item >= total)
    return wait();
  ExpertBlock block = plan->blocks[item / items];
  typename Stream::Source source;
  Stream stream;
  set(source, share, block, item % items);
  stream.template begin<tokenGroup, weightGroup>(source, share.ring,
                                                 share.first, share.last, wait);
  while (true) {
    int next = item + gridDim.x;
    bool isLast = next >= total;
    ExpertBlock nextBlock = {};
    if (!isLast)
      nextBlock = plan->blocks[next / items];
    stream.clear();
    stream.template finish<tokenGroup, weightGroup>(source, share.ring,
                                                    share.first, share.last);
    if (!isLast) {
      set(source, share, nextBlock, next % items);
      stream.template begin<tokenGroup, weightGroup>(
          source, share.ring, share.first, share.last, [] {});
    }
    // Its first barrier: the sums before are read.
    StreamSums<Shape, Stream>::collect(stream, sums);
    take(sums, block, item % items);
    if (isLast)
      return;
    block = nextBlock;
    item = next;
  }
}

/// inner[pair] = silu(gate) * up.
template <int slots, typename X, typename W13, typename Shape, typename Scale,
          typename Tokens, typename Plan>
__device__ void expertsUpStream(const LaunchParams &p, const Plan *plan,
                                const void *x, const void *factors,
                                float *inner) {
  using Stream = typename Shape::template Stream<W13, X>;
  using Gated = GatedRows<W13, Plan::kHeld, Shape, Stream, Scale>;
  static_assert(Shape::kTokens == Plan::kTokens, "a block of tokens at a time");
  constexpr int kInner = Gated::kInner, kCtaColumns = Gated::kCtaColumns;
  constexpr int kItems = (kInner + kCtaColumns - 1) / kCtaColumns;
  streamItems<Shape, Stream, Tokens::kGroup, Scale::kBlockCols, kItems>(
      plan, [] {},
      [&](auto &source, const auto &share, const ExpertBlock &block, int item) {
        const int32_t *pairs = plan->order + block.first;
        Gated::set(source, p, block.expert, item * kCtaColumns, share);
        setBlockTokens<1, Tokens, Plan, Stream>(
            source, x, factors, block,
            [&](int place) { return pairs[place] / slots; });
      },
      [&](const float *sums, const ExpertBlock &block, int item) {
        const int32_t *pairs = plan->order + block.first;
        int ctaColumn = item * kCtaColumns;
        for (int i = threadIdx.x; i < block.count * kCtaColumns;
             i += blockDim.x) {
          int token = i / kCtaColumns, c = i % kCtaColumns;
          if (ctaColumn + c < kInner)
            inner[static_cast<int64_t>(pairs[token]) * kInner + ctaColumn + c] =
                Gated::activation(sums, token, c);
        }
      });
}

/// Codes and factors of the activations of held pairs.
template <int group, int64_t inner, typename Codes, typename Factors,
          typename Plan>
__device__ void encodeInner(const Plan *plan, const float *values, void *codes,
                            void *factors) {
  constexpr int kGroups = Factors::kCols;
  int total = plan->pairCount * kGroups;
  int warps = gridDim.x * (blockDim.x / 32);
  for (int i = (blockIdx.x * blockDim.x + threadIdx.x) / 32; i < total;
       i += warps) {
    int64_t pair = plan->order[i / kGroups];
    int first = i % kGroups * group;
    encodeGroup<group>(values + pair * inner + first,
                       static_cast<int>(inner) - first,
                       Codes::row(codes, pair) + first,
                       Factors::row(factors, pair) + i % kGroups);
  }
}

/// Activations as the sum of two bf16 values: rows 2 pair and 2 pair + 1.
template <int64_t inner, typename Halves, typename Plan>
__device__ void splitInner(const Plan *plan, const float *values,
                           void *halves) {
  int64_t total = plan->pairCount * inner;
  int64_t threads = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
       i < total; i += threads) {
    int64_t pair = plan->order[i / inner], column = i % inner;
    float value = values[pair * inner + column];
    bf16 high = fromFloat<bf16>(value);
    Halves::row(halves, 2 * pair)[column] = high;
    Halves::row(halves, 2 * pair + 1)[column] =
        fromFloat<bf16>(value - toFloat(high));
  }
}

/// products[pair] = w2 inner[pair], fp32. `parts` is 2 when rows of X are the
/// halves of splitInner, which then have token tiles of their own. Waits
/// itself: the plan was there before the function before it began, so the first
/// weights are fetched while that makes the tokens.
template <int parts, typename X, typename W2, typename Shape, typename Scale,
          typename Tokens, typename Plan>
__device__ void expertsDownStream(const LaunchParams &p, const Plan *plan,
                                  const void *x, const void *factors,
                                  float *products) {
  using At = ExpertOperands<Scale::kIsThere>;
  using Stream = typename Shape::template Stream<W2, X>;
  using Sums = StreamSums<Shape, Stream>;
  static_assert(Shape::kTokens == Plan::kTokens * parts,
                "a block of tokens at a time");
  constexpr int kHidden = W2::kRows / Plan::kHeld;
  constexpr int kItems = (kHidden + Shape::kCtaRows - 1) / Shape::kCtaRows;
  allowNext();
  streamItems<Shape, Stream, Tokens::kGroup, Scale::kBlockCols, kItems>(
      plan, [] { waitForPrevious(); },
      [&](auto &source, const auto &share, const ExpertBlock &block, int item) {
        const int32_t *pairs = plan->order + block.first;
        int firstRow = item * Shape::kCtaRows + share.row;
        Shape::template setRows<W2>(
            source,
            W2::row(p.operands[At::kW2],
                    static_cast<int64_t>(block.expert) * kHidden + firstRow),
            kHidden - firstRow);
        setBlockTokens<parts, Tokens, Plan, Stream>(
            source, x, factors, block, [&](int place) { return pairs[place]; });
        if constexpr (Scale::kIsThere) {
          int row = firstRow + threadIdx.x % 32 * 8;
          source.rowFactors =
              row < kHidden
                  ? Scale::row(p.operands[At::kScale2], block.expert, row)
                  : nullptr;
        }
      },
      [&](const float *sums, const ExpertBlock &block, int item) {
        const int32_t *pairs = plan->order + block.first;
        int ctaRow = item * Shape::kCtaRows;
        for (int i = threadIdx.x; i < block.count * Shape::kCtaRows;
             i += blockDim.x) {
          int token = i / Shape::kCtaRows, row = i % Shape::kCtaRows;
          if (ctaRow + row >= kHidden)
            continue;
          float sum = 0;
#pragma unroll
          for (int j = 0; j < Shape::kColumnWarps; ++j)
#pragma unroll
            for (int half = 0; half < parts; ++half)
              sum += *Sums::at(sums, j, half * Plan::kTokens + token, row);
          products[static_cast<int64_t>(pairs[token]) * kHidden + ctaRow +
                   row] = sum;
        }
      });
}

} // namespace saddle::device
