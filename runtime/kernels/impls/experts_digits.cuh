// experts for one token or two with weights of integer codes, of four bits or
// eight, or e4m3 codes (tile/digits.cuh), in two functions:
//
//   up    CTAs walk (pair, 8 columns) items, whose codes are fetched ahead; the
//         warps divide the columns of x. silu(gate) * up, fp32
//   down  a cluster for each block of rows of w2 and token: CTAs divide the
//         choices, warps of a CTA the columns of each, and walk tiles of 16
//         rows; the first CTA adds the choices in ascending order
//
// Floor: the bytes of the chosen experts over the memory bandwidth. Limits:
// bf16 tokens, which stay as they are or are quantised by whole rows as their
// activations are, rows in tiles of 16 (8 of w1 and of w3), whole stretches.

#pragma once

#include "runtime/kernels/impls/experts.cuh"
#include "runtime/kernels/impls/linear_digits.cuh"
#include "runtime/kernels/ptx/cluster.cuh"

namespace saddle::device {

/// The pairs of a launch whose experts are held here, as a warp keeps them.
template <int most>
struct HeldPairs {
  int count, experts[most], pairs[most];

  /// By the warp. The pairs of `tokens` tokens; what others chose, too, is read
  /// before that number is there.
  template <typename Experts, int64_t held>
  __device__ __forceinline__ void find(const LaunchParams &p, int tokens) {
    int lane = threadIdx.x % 32, found = 0;
    constexpr int kSlots = Experts::kCols;
#pragma unroll
    for (int first = 0; first < most; first += 32) {
      int pair = first + lane;
      int chosen = pair < most ? Experts::row(p.operands[2],
                                              pair / kSlots)[pair % kSlots]
                               : 0;
      int expert = pair < tokens * kSlots
                       ? static_cast<int>(heldExpert<held>(p, chosen))
                       : -1;
      uint32_t those = __ballot_sync(kFullWarp, expert >= 0);
      if (expert >= 0) {
        int place = found + __popc(those & ((1u << lane) - 1));
        experts[place] = expert;
        pairs[place] = pair;
      }
      found += __popc(those);
    }
    if (lane == 0)
      count = found;
    __syncwarp();
  }
};

/// inner[pair] = silu(gate) * up, fp32. The grid: CTAs of `warps` warps, each
/// with at most `most` items.
template <int extent, bool isQuantised, typename X, typename Experts,
          typename W13, int64_t held, int warps, int units, int depth, int most>
__device__ void expertsUpDigits(const LaunchParams &p, float *inner) {
  using Product = DigitProduct<W13, units, depth>;
  constexpr int kTokens = X::kRows, kSlots = Experts::kCols;
  constexpr int kInner = W13::kRows / held / 2, kTiles = kInner / 8;
  static_assert(kInner % 8 == 0, "tiles of rows are whole");
  static_assert(X::kCols == W13::kCols);
  extern __shared__ __align__(16) uint8_t shared[];
  __shared__ HeldPairs<kTokens * kSlots> chosenByWarps[warps];
  __shared__ DigitItems<Product, warps, most> sums;
  __shared__ TokenRows<isQuantised, kTokens, warps> rows;
  int warp = threadIdx.x / 32;
  int tokens = static_cast<int>(p.step->counts[extent]);
  uint8_t *ring =
      shared + warp * (Product::kRingBytes + kTokens * Product::kTokenBytes);
  uint8_t *codes = ring + Product::kRingBytes;
  HeldPairs<kTokens * kSlots> &chosen = chosenByWarps[warp];
  chosen.template find<Experts, held>(p, tokens);
  // One token's columns come before weights are under way.
  constexpr bool kEarly = kTokens == 1 && Product::kRounds <= 2 && !isQuantised;
  auto readX = [&](int token) {
    return [&p, token](int column, float (&values)[8]) {
      readEight(X::row(p.operands[0], token) + column, values);
    };
  };
  typename Product::template Values<kEarly ? Product::kRounds : 1> early;
  if constexpr (kEarly)
    Product::template read<Product::kRounds>(early, 0, warp * units, readX(0));
  for (int token = 0; token < tokens; ++token)
    rows.template measure<Product>(token, warp, warp * units, readX(token));
  Product product(p.operands + 3, ring, warp * units);
  int items = chosen.count * kTiles;
  sums.sum(
      product, items,
      [&](int item) {
        int first =
            chosen.experts[item / kTiles] * 2 * kInner + item % kTiles * 8;
        return typename Product::Rows{{first, first + kInner}};
      },
      [&] {
        if constexpr (kEarly) {
          Product::template write<Product::kRounds>(codes, 0, early);
          __syncwarp();
        } else {
          if (isQuantised)
            __syncthreads();
          for (int token = 0; token < tokens; ++token)
            Product::encode(codes + token * Product::kTokenBytes, warp * units,
                            rows.reader(token, readX(token)));
        }
      },
      [&](int item) {
        int token = kTokens == 1 ? 0 : chosen.pairs[item / kTiles] / kSlots;
        return codes + token * Product::kTokenBytes;
      });
  __syncthreads();
  for (int at = threadIdx.x; at < most * 8; at += blockDim.x) {
    int item = static_cast<int>(blockIdx.x + at / 8 * gridDim.x);
    if (item < items)
      inner[static_cast<int64_t>(chosen.pairs[item / kTiles]) * kInner +
            item % kTiles * 8 + at % 8] =
          silu(sums.at(at / 8, at % 8)) * sums.at(at / 8, 8 + at % 8);
  }
}

/// out[token] = the sum over its experts held here of weight * w2 inner[pair].
/// The grid: clusters for blocks of `kTiles` times 16 rows, tokens. A CTA has
/// `kEach` choices; a warp has one of `kParts` parts of a choice's columns, and
/// multiplies tile after tile, which are fetched ahead. Waits itself, after it
/// has begun to fetch weights.
template <int extent, bool isQuantised, typename Weights, typename Experts,
          int w2At, typename W2, typename Out, int64_t held, int cluster,
          int kEach, int kParts, int units, int depth, int kTiles>
__device__ void expertsDownDigits(const LaunchParams &p, const float *inner) {
  using Product = DigitProduct<W2, units, depth>;
  constexpr int kSlots = Experts::kCols, kRows = kTiles * 16;
  constexpr int kHidden = W2::kRows / held, kInner = W2::kCols;
  static_assert(kHidden % kRows == 0, "blocks of rows are whole");
  if constexpr (W2::Global::kIsThere)
    static_assert(W2::Global::kBlockRows % kRows == 0,
                  "a block has one global scale");
  extern __shared__ __align__(16) uint8_t shared[];
  __shared__ SortedChoices<kSlots> choices;
  __shared__ float products[kSlots][kParts][kRows];
  __shared__ TokenRows<isQuantised, kEach, kParts> rows;
  allowNext();
  int token = blockIdx.y;
  int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  int rank = blockIdx.x % cluster, firstRow = blockIdx.x / cluster * kRows;
  int its = warp / kParts; // choice of the CTA
  int slot = rank * kEach + its, part = warp % kParts;
  uint8_t *ring = shared + warp * (Product::kRingBytes + Product::kTokenBytes);
  uint8_t *codes = ring + Product::kRingBytes;
  // The choices were there before `up` began; its results are not yet. Nobody
  // waits for the count first: rows behind it have choices of nobody.
  const auto *chosen = Experts::row(p.operands[2], token);
  int mine = slot < kSlots ? chosen[slot] : 0;
  int ofLane = lane < kSlots ? chosen[lane] : 0;
  float factor = lane < kSlots ? Weights::row(p.operands[1], token)[lane] : 0;
  if constexpr (cluster > 1)
    beginInCluster();
  bool isToken = token < p.step->counts[extent];
  int64_t expert = slot < kSlots && isToken ? heldExpert<held>(p, mine) : -1;
  Product product(p.operands + w2At, ring, part * units);
  typename Product::Companions companions[depth];
  auto fetch = [&](int tile) {
    if (tile < kTiles) {
      int row = static_cast<int>(expert) * kHidden + firstRow + tile * 16;
      typename Product::Rows sixteen = {{row, row + 8}};
      companions[tile % depth] = product.companionsOf(sixteen);
      product.fetch(sixteen, tile % depth);
    } else {
      commitCopies();
    }
  };
  // What is read behind copies waits for all of them. So one tile is on its way
  // while `up` ends, then come the activations, and then the other tiles.
  constexpr bool kEarly = Product::kRounds <= 2 && !isQuantised;
  constexpr int kBefore = kEarly ? 1 : depth;
  if (expert >= 0)
#pragma unroll
    for (int tile = 0; tile < kBefore; ++tile)
      fetch(tile);
  waitForPrevious();
  auto readInner =
      [row = inner + (static_cast<int64_t>(token) * kSlots + slot) * kInner](
          int column, float (&values)[8]) { readEight(row + column, values); };
  typename Product::template Values<kEarly ? Product::kRounds : 1> early;
  if constexpr (kEarly)
    if (expert >= 0)
      Product::template read<Product::kRounds>(early, 0, part * units,
                                               readInner);
  float global = 1;
  if (W2::Global::kIsThere && expert >= 0)
    global = product.globalOf(static_cast<int>(expert) * kHidden + firstRow);
  __syncwarp(); // the assembler moves no copy before the reads
  if (expert >= 0)
    rows.template measure<Product>(its, part, part * units, readInner);
  if (isQuantised)
    __syncthreads();
  if constexpr (!kEarly)
    if (expert >= 0)
      Product::encode(codes, part * units, rows.reader(its, readInner));
  if (expert >= 0)
#pragma unroll
    for (int tile = kBefore; tile < depth; ++tile)
      fetch(tile);
  if constexpr (kEarly)
    if (expert >= 0) {
      Product::template write<Product::kRounds>(codes, 0, early);
      __syncwarp();
    }
  // Nor does it use the number before it is needed: that would be a wait.
  if constexpr (W2::Global::kIsThere)
    asm volatile("" : "+f"(global));
  if constexpr (cluster > 1)
    waitForCluster();
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile) {
    float sums[2] = {};
    if (expert >= 0) {
      Product::template wait<depth - 1>();
      typename Product::Companions &those = companions[tile % depth];
      if constexpr (W2::Global::kIsThere)
        those.globals[0] = those.globals[1] = global;
      product.multiply(codes, tile % depth, those, sums);
      if constexpr (kTiles > depth)
        if (Product::kMeets)
          __syncwarp();
      fetch(tile + depth);
    }
    if (lane % 4 == 0 && slot < kSlots)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float *to = &products[slot][part][tile * 16 + half * 8 + lane / 4];
        if (cluster > 1 && rank != 0)
          storeInCluster(to, 0, sums[half]);
        else
          *to = sums[half];
      }
  }
  if (rank == 0 && warp == 0)
    choices.template sort<held>(p, ofLane, factor);
  if constexpr (cluster > 1) {
    arriveAtCluster();
    waitForCluster();
    if (rank != 0)
      return;
  } else {
    __syncthreads();
  }
  for (int row = threadIdx.x; isToken && row < kRows; row += blockDim.x) {
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
}

} // namespace saddle::device
