// experts for few tokens per expert, in three functions:
//
//   up       sorts the (token, choice) pairs by expert into blocks of up to
//            eight; per block and rows of w13: silu(gate) * up, fp32
//   down     sorts them again; per block and rows of w2: the product, fp32
//   combine  adds a token's experts in ascending order
//
// Each CTA has as much of the list of units (blocks times rows) as the others,
// in one piece, and sorts for itself: that takes less than to be told. Rows
// flow through the warps' rings from its first unit to its last one
// (tile/flow.cuh); warps make codes of a block's tokens when they come to it.
// `down` fills its rings while `up` ends. Sums do not depend on how pairs of a
// block are ordered, so that only blocks are the same in all CTAs. Floor: the
// bytes of the chosen experts over the memory bandwidth. Limits: e4m3 weights,
// groups of 128 columns; shared/flow.h.

#pragma once

#include "runtime/kernels/impls/experts_combine.cuh"
#include "runtime/kernels/ptx/launch.cuh"
#include "runtime/kernels/tile/flow.cuh"
#include "runtime/kernels/tile/weights.cuh"

namespace saddle::device {

/// The pairs sorted by expert, in shared memory.
template <typename Experts, int64_t held, int depth>
struct FlowPlan {
  static constexpr int64_t kPairs = Experts::kRows * Experts::kCols;
  static constexpr FlowLayout kLayout = {held, kPairs, depth};
  static_assert(kLayout.fits(1 << 20), "a CTA sorts all pairs");
  static constexpr int kFactorsAt = kLayout.factorsAt(),
                       kSumsAt = kLayout.sumsAt(),
                       kBlocksAt = kLayout.blocksAt(),
                       kOrderAt = kLayout.orderAt();
  static constexpr int kThreads = kFlowWarps * 32;
  static constexpr int kSlots = Experts::kCols;
  static constexpr int kExperts = (held + kThreads - 1) / kThreads;
  static constexpr int kEach = (kPairs + kThreads - 1) / kThreads;

  const FlowBlock *blocks;
  const uint16_t *order;
  int blockCount;

  /// By all threads. wait() is called before choices are read.
  template <int extent, typename Wait>
  __device__ __forceinline__ void sort(const LaunchParams &p, uint8_t *shared,
                                       Wait wait) {
    auto *counts = reinterpret_cast<int32_t *>(shared);
    int32_t *firsts = counts + held;
    auto *sums = firsts + held;
    auto *chosen = reinterpret_cast<int16_t *>(sums + kFlowWarps);
    auto *toBlocks = reinterpret_cast<FlowBlock *>(shared + kBlocksAt);
    auto *toOrder = reinterpret_cast<uint16_t *>(shared + kOrderAt);
    blocks = toBlocks;
    order = toOrder;
    int thread = static_cast<int>(threadIdx.x), warp = thread / 32,
        lane = thread % 32;
    for (int i = thread; i < held; i += kThreads)
      counts[i] = 0;
    __syncthreads();
    wait();
    int total = static_cast<int>(p.step->counts[extent]) * kSlots;
    int experts[kEach], places[kEach];
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      int pair = i * kThreads + thread;
      experts[i] = -1;
      if (pair < total)
        experts[i] = static_cast<int>(heldExpert<held>(
            p, Experts::row(p.operands[2], pair / kSlots)[pair % kSlots]));
    }
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      int pair = i * kThreads + thread;
      if (pair < kPairs)
        chosen[pair] = static_cast<int16_t>(experts[i]);
      places[i] = experts[i] >= 0 ? atomicAdd(&counts[experts[i]], 1) : 0;
    }
    __syncthreads();
    // Blocks and pairs of this thread's experts, then of those before.
    int mine[kExperts], sum = 0;
#pragma unroll
    for (int i = 0; i < kExperts; ++i) {
      int expert = thread * kExperts + i;
      mine[i] = expert < held ? counts[expert] : 0;
      sum += (mine[i] + kFlowTokens - 1) / kFlowTokens << 16 | mine[i];
    }
    int before = sum;
#pragma unroll
    for (int distance = 1; distance < 32; distance *= 2) {
      int more = __shfl_up_sync(kFullWarp, before, distance);
      before += lane >= distance ? more : 0;
    }
    if (lane == 31)
      sums[warp] = before;
    before -= sum;
    __syncthreads();
    int all = 0;
#pragma unroll
    for (int i = 0; i < kFlowWarps; ++i) {
      all += sums[i];
      before += i < warp ? sums[i] : 0;
    }
    blockCount = all >> 16;
    int block = before >> 16, first = before & 0xffff;
#pragma unroll
    for (int i = 0; i < kExperts; ++i) {
      int expert = thread * kExperts + i;
      if (mine[i] > 0)
        firsts[expert] = first;
      for (int left = mine[i]; left > 0; left -= kFlowTokens) {
        int count = left < kFlowTokens ? left : kFlowTokens;
        toBlocks[block++] = {static_cast<uint16_t>(expert),
                             static_cast<uint16_t>(first),
                             static_cast<uint16_t>(count), 0};
        first += count;
      }
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      if (experts[i] < 0)
        continue;
      int pair = i * kThreads + thread;
      // Where an expert has several blocks, all CTAs must find the same ones.
      if (counts[experts[i]] > kFlowTokens) {
        places[i] = 0;
        for (int other = 0; other < pair; ++other)
          places[i] += chosen[other] == experts[i];
      }
      toOrder[firsts[experts[i]] + places[i]] = static_cast<uint16_t>(pair);
    }
    __syncthreads();
  }
};

/// The units of a CTA, of `units` for each block: rowsOf(block, unit) is a
/// warp's tile, tokenOf(pair) a row of T, and take(sums, block, unit) gets the
/// sums. Tokens of the first block are asked for before the first rows, or
/// behind them after wait().
template <bool tokensFirst, int units, typename Flow, typename T,
          typename FlowPlan, typename RowsOf, typename TokenOf, typename Wait,
          typename Take>
__device__ __forceinline__ void
flowThrough(const FlowPlan &plan, uint8_t *shared, RowsOf rowsOf,
            TokenOf tokenOf, Wait wait, Take take) {
  constexpr int kDepth = FlowPlan::kLayout.depth;
  int total = plan.blockCount * units, cta = static_cast<int>(blockIdx.x),
      ctas = static_cast<int>(gridDim.x);
  int unit = total * cta / ctas, last = total * (cta + 1) / ctas;
  if (unit == last)
    return wait();
  Flow flow(shared, FlowPlan::kFactorsAt);
  typename Flow::Tokens tokens;
  using Numbers = typename Flow::Tokens::template Numbers<T>;
  auto tokenAt = [&](const FlowBlock &block) -> const T * {
    int token = static_cast<int>(threadIdx.x) % 32 / 4;
    return token < block.count ? tokenOf(plan.order[block.first + token])
                               : nullptr;
  };
  auto columnOf = [&](int stage) {
    return flow.firstColumn + stage * kFlowColumns;
  };
  // What is fetched is `depth` stages ahead of what is multiplied.
  int ahead = unit, aheadStage = 0;
  typename Flow::Rows rows = {};
  auto fetch = [&] {
    if (ahead < last) {
      if (aheadStage == 0)
        rows = rowsOf(plan.blocks[ahead / units], ahead % units);
      flow.fetch(rows, aheadStage);
      if (++aheadStage == Flow::kStages) {
        aheadStage = 0;
        ++ahead;
      }
    }
    flow.next();
  };
  auto fill = [&] {
#pragma unroll 1
    for (int i = 0; i < kDepth; ++i)
      fetch();
  };
  int number = unit / units;
  FlowBlock block = plan.blocks[number];
  if constexpr (tokensFirst) {
    Numbers numbers[Flow::kStages];
    const T *token = tokenAt(block);
#pragma unroll
    for (int i = 0; i < Flow::kStages; ++i)
      numbers[i].load(token, columnOf(i));
    fill();
    wait();
#pragma unroll
    for (int i = 0; i < Flow::kStages; ++i)
      tokens.encode(i, numbers[i]);
  } else {
    fill();
    wait();
    number = -1;
  }
  auto *sums = reinterpret_cast<float *>(shared + FlowPlan::kSumsAt);
  constexpr int kSums = FlowLayout::kSumsBytes / 4;
  for (int which = 0; unit < last; ++unit, which ^= 1) {
    if (unit / units != number) {
      number = unit / units;
      block = plan.blocks[number];
      const T *token = tokenAt(block);
#pragma unroll
      for (int i = 0; i < Flow::kStages; ++i) {
        Numbers numbers;
        numbers.load(token, columnOf(i));
        tokens.encode(i, numbers);
      }
    }
    float tile[4] = {};
#pragma unroll
    for (int i = 0; i < Flow::kStages; ++i) {
      flow.consume(tokens, i, tile);
      fetch();
    }
    // Whoever still reads the other sums has not come to this barrier.
    storeFlowSums(sums + which * kSums, tile);
    __syncthreads();
    take(sums + which * kSums, block, unit % units);
  }
}

/// inner[pair] = silu(gate) * up. Waits itself.
template <int extent, typename X, typename Experts, typename W13, int64_t held,
          typename Scale, int columnWarps, int depth>
__device__ void expertsUpFlow(const LaunchParams &p, float *inner) {
  using At = ExpertOperands<1>;
  using Flow = RowFlow<W13, Scale, columnWarps, depth>;
  using T = typename X::Element;
  constexpr int kInner = W13::kRows / held / 2;
  constexpr int kColumns = 8 * Flow::kRowWarps; // of a unit
  static_assert(kInner % kColumns == 0, "whole units");
  extern __shared__ __align__(16) uint8_t shared[];
  // `down` reads what has been chosen before it waits.
  FlowPlan<Experts, held, depth> plan;
  plan.template sort<extent>(p, shared, [] {
    waitForPrevious();
    allowNext();
  });
  flowThrough<true, kInner / kColumns, Flow, T>(
      plan, shared,
      [&](const FlowBlock &block, int unit) {
        int rowWarp = static_cast<int>(threadIdx.x) / 32 / columnWarps;
        int row = unit * kColumns + rowWarp * 8;
        const e4m3 *low =
            W13::row(p.operands[At::kW13],
                     static_cast<int64_t>(block.expert) * (2 * kInner) + row);
        return typename Flow::Rows{
            low, low + kInner * W13::kStride,
            Scale::row(p.operands[At::kScale13], block.expert,
                       static_cast<int>(threadIdx.x) % 2 * kInner + row)};
      },
      [&](int pair) {
        return X::row(p.operands[At::kX], pair / Experts::kCols);
      },
      [] {},
      [&](const float *sums, const FlowBlock &block, int unit) {
        // Warps take turns where one suffices.
        int thread = (threadIdx.x + unit * 64) % (kFlowWarps * 32);
        for (int i = thread; i < block.count * kColumns; i += kFlowWarps * 32) {
          int token = i / kColumns, column = i % kColumns;
          float gate =
              flowSum<columnWarps>(sums, column / 8, token, column % 8);
          float up =
              flowSum<columnWarps>(sums, column / 8, token, column % 8 + 8);
          inner[plan.order[block.first + token] * kInner + unit * kColumns +
                column] = silu(gate) * up;
        }
      });
}

/// products[pair] = w2 inner[pair], fp32. Waits itself: fetches weights while
/// `up` still runs.
template <int extent, typename Experts, typename W2, int64_t held,
          typename Scale, int columnWarps, int depth>
__device__ void expertsDownFlow(const LaunchParams &p, const float *inner,
                                float *products) {
  using At = ExpertOperands<1>;
  using Flow = RowFlow<W2, Scale, columnWarps, depth>;
  constexpr int kHidden = W2::kRows / held, kInner = W2::kCols;
  constexpr int kRows = kFlowRows * Flow::kRowWarps; // of a unit
  static_assert(kHidden % kRows == 0, "whole units");
  extern __shared__ __align__(16) uint8_t shared[];
  allowNext();
  FlowPlan<Experts, held, depth> plan;
  plan.template sort<extent>(p, shared, [] {});
  flowThrough<false, kHidden / kRows, Flow, float>(
      plan, shared,
      [&](const FlowBlock &block, int unit) {
        int rowWarp = static_cast<int>(threadIdx.x) / 32 / columnWarps;
        int row = unit * kRows + rowWarp * kFlowRows;
        const e4m3 *low =
            W2::row(p.operands[At::kW2],
                    static_cast<int64_t>(block.expert) * kHidden + row);
        return typename Flow::Rows{
            low, low + 8 * W2::kStride,
            Scale::row(p.operands[At::kScale2], block.expert,
                       static_cast<int>(threadIdx.x) % 2 * 8 + row)};
      },
      [&](int pair) { return inner + pair * kInner; },
      [] { waitForPrevious(); },
      [&](const float *sums, const FlowBlock &block, int unit) {
        for (int i = threadIdx.x; i < block.count * kRows;
             i += kFlowWarps * 32) {
          int token = i / kRows, row = i % kRows;
          products[static_cast<int64_t>(plan.order[block.first + token]) *
                       kHidden +
                   unit * kRows + row] =
              flowSum<columnWarps>(sums, row / kFlowRows, token,
                                   row % kFlowRows);
        }
      });
}

} // namespace saddle::device
