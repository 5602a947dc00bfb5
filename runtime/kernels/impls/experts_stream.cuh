// experts and experts_scaled for few tokens per expert, in five functions:
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

#include "runtime/kernels/impls/experts.cuh"
#include "runtime/kernels/impls/linear_stream.cuh"

namespace saddle::device {

/// What `prepare` finds out, in the workspace. A pair is token * slots + slot.
template <int64_t held, int64_t pairs, int tokensPerBlock>
struct ExpertPlan {
  /// Some pairs of one expert: order[first .. first + count - 1].
  struct Block {
    int32_t expert, first, count, unused;
  };
  static constexpr int64_t kHeld = held;
  static constexpr int kTokens = tokensPerBlock;
  static constexpr int64_t kMostBlocks =
      (held < pairs ? held : pairs) + pairs / tokensPerBlock;

  int32_t blockCount, pairCount, unused[2];
  Block blocks[kMostBlocks];
  int32_t order[pairs];
};

/// One CTA. `shared` has two integers for each expert.
template <int extent, typename Experts, typename Plan>
__device__ void planExperts(const LaunchParams &p, Plan *plan) {
  extern __shared__ int32_t counts[];
  int32_t *next = counts + Plan::kHeld;
  for (int i = threadIdx.x; i < Plan::kHeld; i += blockDim.x)
    counts[i] = 0;
  __syncthreads();
  auto forEachPair = [&](auto visit) {
    int64_t total =
        static_cast<int64_t>(p.step->counts[extent]) * Experts::kCols;
    for (int64_t i = threadIdx.x; i < total; i += blockDim.x) {
      int32_t chosen =
          Experts::row(p.operands[2], i / Experts::kCols)[i % Experts::kCols];
      int64_t expert = heldExpert<Plan::kHeld>(p, chosen);
      if (expert >= 0)
        visit(static_cast<int32_t>(i), static_cast<int32_t>(expert));
    }
  };
  forEachPair([&](int32_t, int32_t expert) { atomicAdd(&counts[expert], 1); });
  __syncthreads();
  // A lane has some consecutive experts: where do their pairs and blocks begin?
  if (threadIdx.x < 32) {
    int lane = threadIdx.x;
    constexpr int kEach = (Plan::kHeld + 31) / 32;
    int firstExpert = lane * kEach;
    int lastExpert = firstExpert + kEach < Plan::kHeld
                         ? firstExpert + kEach
                         : static_cast<int>(Plan::kHeld);
    int pairs = 0, blocks = 0;
    for (int e = firstExpert; e < lastExpert; ++e) {
      pairs += counts[e];
      blocks += (counts[e] + Plan::kTokens - 1) / Plan::kTokens;
    }
    int pairsHere = pairs, blocksHere = blocks;
#pragma unroll
    for (int distance = 1; distance < 32; distance *= 2) {
      int morePairs = __shfl_up_sync(kFullWarp, pairs, distance);
      int moreBlocks = __shfl_up_sync(kFullWarp, blocks, distance);
      pairs += lane >= distance ? morePairs : 0;
      blocks += lane >= distance ? moreBlocks : 0;
    }
    if (lane == 31) {
      plan->blockCount = blocks;
      plan->pairCount = pairs;
    }
    pairs -= pairsHere;
    blocks -= blocksHere;
    for (int e = firstExpert; e < lastExpert; ++e) {
      next[e] = pairs;
      for (int done = 0; done < counts[e]; done += Plan::kTokens) {
        int left = counts[e] - done;
        plan->blocks[blocks++] = {
            e, pairs + done, left < Plan::kTokens ? left : Plan::kTokens, 0};
      }
      pairs += counts[e];
    }
  }
  __syncthreads();
  forEachPair([&](int32_t pair, int32_t expert) {
    plan->order[atomicAdd(&next[expert], 1)] = pair;
  });
}

/// The first CTA plans, the others encode x (when it is to be encoded).
template <int extent, int group, typename X, typename Codes, typename Factors,
          typename Experts, typename Plan>
__device__ void prepareExperts(const LaunchParams &p, Plan *plan, void *codes,
                               void *factors) {
  if (blockIdx.x == 0)
    planExperts<extent, Experts>(p, plan);
  else
    encodeRows<extent, group, X, Codes, Factors>(p, p.operands[0], codes,
                                                 factors, 1);
}

/// inner[pair] = silu(gate) * up. A tile has 8 rows of w1 and the same 8 of w3.
template <int slots, typename X, typename W13, typename Shape, typename Scale,
          typename Tokens, typename Plan>
__device__ void expertsUpStream(const LaunchParams &p, const Plan *plan,
                                const void *x, const void *factors,
                                float *inner) {
  using At = ExpertOperands<Scale::kScaled>;
  using Stream =
      WarpStream<typename W13::Element, Shape::kTiles, Shape::kTokenTiles,
                 Shape::kUnits, Shape::kDepth, Tokens::kScaled>;
  static_assert(Shape::kTokens == Plan::kTokens, "a block of tokens at a time");
  constexpr int kInner = W13::kRows / Plan::kHeld / 2;
  constexpr int kWarpColumns = Shape::kTiles * 8;
  constexpr int kCtaColumns = kWarpColumns * Shape::kRowWarps;
  constexpr int kItems = (kInner + kCtaColumns - 1) / kCtaColumns;
  constexpr int kStages =
      (W13::kCols + Stream::kStageColumns - 1) / Stream::kStageColumns;
  constexpr int kPitch = Shape::kCtaRows + 4;
  extern __shared__ __align__(16) uint8_t shared[];
  float *sums = reinterpret_cast<float *>(shared);
  int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4;
  int rowWarp = warp % Shape::kRowWarps, part = warp / Shape::kRowWarps;
  int total = plan->blockCount * kItems;
  for (int item = blockIdx.x; item < total; item += gridDim.x) {
    auto block = plan->blocks[item / kItems];
    const int32_t *pairs = plan->order + block.first;
    int ctaColumn = item % kItems * kCtaColumns;
    int column = ctaColumn + rowWarp * kWarpColumns;
    int64_t expertRow = static_cast<int64_t>(block.expert) * 2 * kInner;

    typename Stream::Source source;
#pragma unroll
    for (int i = 0; i < Shape::kTiles; ++i)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        int row = column + i * 8 + g;
        source.rows[i][half] = row < kInner
                                   ? W13::row(p.operands[At::kW13],
                                              expertRow + half * kInner + row)
                                   : nullptr;
      }
#pragma unroll
    for (int i = 0; i < Shape::kTokenTiles; ++i)
      source.tokens[i] = i * 8 + g < block.count
                             ? X::row(x, pairs[i * 8 + g] / slots)
                             : nullptr;
    if constexpr (Tokens::kScaled) {
#pragma unroll
      for (int i = 0; i < (Shape::kTokens + 31) / 32; ++i)
        source.tokenFactors[i] =
            i * 32 + lane < block.count
                ? Tokens::row(factors, pairs[i * 32 + lane] / slots)
                : nullptr;
      int row = column + lane / 2 * 8;
      source.rowFactors =
          row < kInner ? Scale::row(p.operands[At::kScale13], block.expert,
                                    lane % 2 * kInner + row)
                       : nullptr;
    }
    Stream stream;
    stream.clear();
    stream.template run<Tokens::kGroup, Scale::kBlockCols>(
        source, shared + warp * Stream::kRingBytes,
        part * kStages / Shape::kColumnWarps,
        (part + 1) * kStages / Shape::kColumnWarps, W13::kCols);

    __syncthreads(); // the rings are done with
    stream.template store<kPitch, Shape::kRows>(
        sums + part * Shape::kTokens * kPitch + rowWarp * Shape::kRows);
    __syncthreads();
    for (int i = threadIdx.x; i < block.count * kCtaColumns; i += blockDim.x) {
      int token = i / kCtaColumns, c = i % kCtaColumns;
      if (ctaColumn + c >= kInner)
        continue;
      float gate = 0, up = 0;
#pragma unroll
      for (int j = 0; j < Shape::kColumnWarps; ++j) {
        const float *row =
            sums + (j * Shape::kTokens + token) * kPitch + c / 8 * 16 + c % 8;
        gate += row[0];
        up += row[8];
      }
      inner[static_cast<int64_t>(pairs[token]) * kInner + ctaColumn + c] =
          silu(gate) * up;
    }
    __syncthreads(); // the rings are free again
  }
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
    const float *from = values + pair * inner + first;
    e4m3 *to = Codes::row(codes, pair) + first;
    float scale = encodeGroup<group>(
        inner - first < group ? static_cast<int>(inner - first) : group,
        [&](int k) { return from[k]; },
        [&](int k, e4m3 code) { to[k] = code; });
    if (threadIdx.x % 32 == 0)
      Factors::row(factors, pair)[i % kGroups] = scale;
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
/// halves of splitInner, which then have token tiles of their own.
template <int parts, typename X, typename W2, typename Shape, typename Scale,
          typename Tokens, typename Plan>
__device__ void expertsDownStream(const LaunchParams &p, const Plan *plan,
                                  const void *x, const void *factors,
                                  float *products) {
  using At = ExpertOperands<Scale::kScaled>;
  using Stream =
      WarpStream<typename W2::Element, Shape::kTiles, Shape::kTokenTiles,
                 Shape::kUnits, Shape::kDepth, Tokens::kScaled>;
  static_assert(Shape::kTokens == Plan::kTokens * parts,
                "a block of tokens at a time");
  constexpr int kHidden = W2::kRows / Plan::kHeld;
  constexpr int kItems = (kHidden + Shape::kCtaRows - 1) / Shape::kCtaRows;
  constexpr int kStages =
      (W2::kCols + Stream::kStageColumns - 1) / Stream::kStageColumns;
  constexpr int kPitch = Shape::kCtaRows + 4;
  extern __shared__ __align__(16) uint8_t shared[];
  float *sums = reinterpret_cast<float *>(shared);
  int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4;
  int rowWarp = warp % Shape::kRowWarps, part = warp / Shape::kRowWarps;
  int total = plan->blockCount * kItems;
  for (int item = blockIdx.x; item < total; item += gridDim.x) {
    auto block = plan->blocks[item / kItems];
    const int32_t *pairs = plan->order + block.first;
    int ctaRow = item % kItems * Shape::kCtaRows;
    int firstRow = ctaRow + rowWarp * Shape::kRows;

    typename Stream::Source source;
#pragma unroll
    for (int i = 0; i < Shape::kTiles; ++i)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        int row = firstRow + i * 16 + half * 8 + g;
        source.rows[i][half] =
            row < kHidden
                ? W2::row(p.operands[At::kW2],
                          static_cast<int64_t>(block.expert) * kHidden + row)
                : nullptr;
      }
#pragma unroll
    for (int i = 0; i < Shape::kTokenTiles; ++i) {
      constexpr int kEach = Shape::kTokenTiles / parts;
      int token = i % kEach * 8 + g;
      source.tokens[i] =
          token < block.count
              ? X::row(x,
                       static_cast<int64_t>(pairs[token]) * parts + i / kEach)
              : nullptr;
    }
    if constexpr (Tokens::kScaled) {
#pragma unroll
      for (int i = 0; i < (Shape::kTokens + 31) / 32; ++i)
        source.tokenFactors[i] =
            i * 32 + lane < block.count
                ? Tokens::row(factors, pairs[i * 32 + lane])
                : nullptr;
      int row = firstRow + lane * 8;
      source.rowFactors =
          row < kHidden ? Scale::row(p.operands[At::kScale2], block.expert, row)
                        : nullptr;
    }
    Stream stream;
    stream.clear();
    stream.template run<Tokens::kGroup, Scale::kBlockCols>(
        source, shared + warp * Stream::kRingBytes,
        part * kStages / Shape::kColumnWarps,
        (part + 1) * kStages / Shape::kColumnWarps, W2::kCols);

    __syncthreads(); // the rings are done with
    stream.template store<kPitch, Shape::kRows>(
        sums + part * Shape::kTokens * kPitch + rowWarp * Shape::kRows);
    __syncthreads();
    for (int i = threadIdx.x; i < block.count * Shape::kCtaRows;
         i += blockDim.x) {
      int token = i / Shape::kCtaRows, row = i % Shape::kCtaRows;
      if (ctaRow + row >= kHidden)
        continue;
      float sum = 0;
#pragma unroll
      for (int j = 0; j < Shape::kColumnWarps * parts; ++j)
        sum += sums[(j * Plan::kTokens + token) * kPitch + row];
      products[static_cast<int64_t>(pairs[token]) * kHidden + ctaRow + row] =
          sum;
    }
    __syncthreads(); // the rings are free again
  }
}

/// out = the sum over a token's experts held here of weight * product, in
/// ascending order of experts. A CTA takes a token and 4 columns per thread.
template <int extent, int operandOut, int64_t held, typename Weights,
          typename Experts, typename Out>
__device__ void combineExperts(const LaunchParams &p, const float *products) {
  constexpr int kSlots = Experts::kCols;
  __shared__ int order[kSlots], found;
  __shared__ float factor[kSlots];
  int64_t token = blockIdx.x;
  if (token >= p.step->counts[extent])
    return;
  if (threadIdx.x == 0)
    found = 0;
  __syncthreads();
  const int32_t *chosen = Experts::row(p.operands[2], token);
  for (int slot = threadIdx.x; slot < kSlots; slot += blockDim.x) {
    int64_t expert = heldExpert<held>(p, chosen[slot]);
    if (expert < 0)
      continue;
    int place = 0;
    for (int other = 0; other < kSlots; ++other) {
      int64_t it = heldExpert<held>(p, chosen[other]);
      place += it >= 0 && (it < expert || (it == expert && other < slot));
    }
    order[place] = slot;
    factor[place] = Weights::row(p.operands[1], token)[slot];
    atomicAdd(&found, 1);
  }
  __syncthreads();
  constexpr int kEach = Out::kCols % 4 == 0 ? 4 : 1;
  int stride = blockDim.x * gridDim.y * kEach;
  for (int column = (blockIdx.y * blockDim.x + threadIdx.x) * kEach;
       column < Out::kCols; column += stride) {
    float sum[kEach] = {};
    for (int i = 0; i < found; ++i) {
      auto values = *reinterpret_cast<const Vector<float, kEach> *>(
          products + (token * kSlots + order[i]) * Out::kCols + column);
#pragma unroll
      for (int j = 0; j < kEach; ++j)
        sum[j] += factor[i] * values[j];
    }
    auto *out = Out::row(p.operands[operandOut], token) + column;
#pragma unroll
    for (int j = 0; j < kEach; ++j)
      out[j] = fromFloat<typename Out::Element>(sum[j]);
  }
}

} // namespace saddle::device
