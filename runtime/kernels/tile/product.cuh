// Products of tiles of many tokens and rows of weights on warpgroups.
//
// One or two warpgroups multiply and another feeds them: 128 bytes of every row
// and token go to a ring of stages in shared memory, swizzled as wgmma wants
// them, and the feeder runs ahead over the borders of items. A warpgroup has 64
// tokens and multiplies them with waves of 128 rows of weights; where an item
// has no more than 64 tokens, two warpgroups divide the waves. Tokens are the
// rows of products, so that a thread needs factors of two of them.
//
// Rows come in bulk copies, tokens, which may lie anywhere, by cp.async. At
// prompts' rates the chip is at its limit of power, of which copies take as
// much as scales do: so tokens that lie in order come in bulk copies, too, and
// of rows that two CTAs have in common each fetches half for both (TokenOrder).

#pragma once

#include "runtime/kernels/ptx/copy_async.cuh"
#include "runtime/kernels/ptx/load_matrix.cuh"
#include "runtime/kernels/ptx/tensor_map.cuh"
#include "runtime/kernels/ptx/wgmma_lines.cuh"
#include "runtime/kernels/ptx/wgmma_rows.cuh"
#include "runtime/kernels/shared/tile.h"
#include "runtime/kernels/tile/decode.cuh"
#include "runtime/kernels/tile/matrix.cuh"
#include "runtime/kernels/tile/pair_ring.cuh"

#include <type_traits>

namespace saddle::device {

/// Where rows of weights come from: a matrix, in bulk copies, or StoredWeights,
/// which the feeder decodes to bf16. `At` says where they are: the matrix, or
/// its operand and behind it those of its companions.
template <typename W>
struct TileRows {
  using Element = typename W::Element;
  using At = const void *;
  static constexpr bool kDecoded = false;
  static constexpr int kBits = 0, kOperands = 1;
  static __device__ __forceinline__ At at(void *const *operands) {
    return operands[0];
  }
};
template <typename W, typename Codes, typename Scale, typename Zero,
          typename Global, bool divides>
struct TileRows<StoredWeights<W, Codes, Scale, Zero, Global, divides>> {
  using Weights = StoredWeights<W, Codes, Scale, Zero, Global, divides>;
  using Element = bf16;
  using At = void *const *;
  static constexpr bool kDecoded = true;
  static constexpr int kBits = EightColumns<Codes, typename W::Element>::kBits;
  static constexpr int kOperands = Weights::kOperands;
  static __device__ __forceinline__ At at(void *const *operands) {
    return operands;
  }
};

/// X is a matrix of e4m3 or of bf16, and so are the rows of W (TileRows). With
/// scaleColumns > 0, the product of each that many columns (64 or 128 codes) is
/// multiplied by one factor for a token, for `tokenGroup` columns, and one for
/// 64 rows, for `weightGroup`. With weightGroup 0, rows have factors of their
/// own, which whoever takes the products multiplies by (scaleRows).
template <typename X, typename W, TokenOrder order, int groups, int waves,
          int depth, int scaleColumns = 0, int tokenGroup = 1,
          int weightGroup = 1>
struct TileProduct {
  using T = typename TileRows<W>::Element;
  static constexpr bool kDecoded = TileRows<W>::kDecoded;
  static_assert(sizeof(T) == sizeof(typename X::Element) && sizeof(T) <= 2,
                "both operands are e4m3 or both are bf16");
  static_assert((scaleColumns > 0) == (sizeof(T) == 1), "codes have scales");
  static_assert(groups == 1 || waves == 2, "two groups can divide the waves");
  static constexpr bool kInOrder = order != TokenOrder::Anywhere,
                        kPairs = order == TokenOrder::InPairs;
  static_assert(!kDecoded || !kInOrder, "what decodes copies tokens");
  static constexpr int kCtas = kPairs ? 2 : 1;
  /// wgmma itself reads codes of tokens. What cp.async has written it sees
  /// behind a fence of the thread that waits for it, which does so when it has
  /// begun that many stages more.
  static constexpr bool kFences = scaleColumns > 0 && !kInOrder;
  static constexpr int kBehind = 2;
  static_assert(!kFences || depth > kBehind + 1, "others have stages, too");
  static constexpr int kStageColumns = TileLayout::kLineBytes / sizeof(T);
  static constexpr bool kScaled = scaleColumns > 0;
  static constexpr bool kRowsScaleLater = kScaled && weightGroup == 0;
  static constexpr int kParts = kScaled ? kStageColumns / scaleColumns : 1;
  static_assert(!kScaled || kStageColumns % (kScaled ? scaleColumns : 1) == 0,
                "a stage has whole groups of scales");
  static constexpr TileLayout kLayout = {
      groups, waves, depth, kScaled ? kParts : 0, TileRows<W>::kBits};
  static constexpr int kWaves = waves, kTokens = kLayout.tokens();
  static constexpr int kRows = kLayout.rows(), kRuns = kLayout.runs();
  static constexpr int kMultipliers = kLayout.multipliers();
  static constexpr int kStages = (W::kCols + kStageColumns - 1) / kStageColumns;
  static_assert(X::kCols >= W::kCols, "tokens have all columns of weights");
  static constexpr int kTokenBytes = kTokens * TileLayout::kLineBytes;
  static constexpr int kStageBytes = kLayout.stageBytes(),
                       kStageFactors = kLayout.stageFactors(),
                       kFactorsAt = kLayout.factorsAt(),
                       kScratchAt = kLayout.scratchAt(),
                       kTargetsAt = kLayout.targetsAt(),
                       kItemSets = kLayout.itemSets(),
                       kItemsAt = kLayout.itemsAt(),
                       kSharedNumbersAt = kLayout.sharedNumbersAt(),
                       kBarriersAt = kLayout.barriersAt(),
                       kCodesAt = kLayout.codesAt();
  /// Threads that feed; those from TileLayout::kFeeders on only decode.
  static constexpr int kFeeders = kLayout.feeders();

  /// Runs whose first row a thread that feeds is told: others follow.
  static constexpr int kSourceRuns = kInOrder ? 1 : kRuns;

  /// What a thread that feeds knows of an item.
  struct Source {
    const void *x;
    /// The row of X of token feeder(), -1 for none, or of the first one, where
    /// they lie in order. Missing tokens have undefined products.
    int tokenRow;
    /// The first row of each run, or of all, where tokens lie in order; behind
    /// the last row of all there are zeros.
    int runRow[kSourceRuns];
    /// The other CTA of the pair has the same rows.
    bool shared;
    /// Where, from the pointers on, factors of token feeder() and of run
    /// feeder() lie; -1 for none.
    const float *tokenFactors, *rowFactors;
    int tokenFactor, rowFactor;
    /// What those that multiply are told: the item's number, how many tokens it
    /// has, and where results of token feeder() go, if that is no question of
    /// the number.
    int item, count, target;
  };

  static __device__ __forceinline__ bool isFeeder() {
    return threadIdx.x >= kMultipliers;
  }
  /// This thread's number among those that feed.
  static __device__ __forceinline__ int feeder() {
    return static_cast<int>(threadIdx.x) - kMultipliers;
  }

  /// By all threads, before anything else; `shared` has kLayout.sharedBytes()
  /// at a multiple of 1024, `maps` in global memory TileLayout::kMapBytes for
  /// each of a CTA's. `weights` are those of W. Where tokens lie in order,
  /// `x` is that of X, the same for all items.
  __device__ __forceinline__ TileProduct(uint8_t *shared, uint8_t *maps,
                                         typename TileRows<W>::At weights,
                                         const void *x)
      : base(sharedAddress(shared)), ring{base + kBarriersAt},
        begun{base + kBarriersAt},
        map(maps + blockIdx.x * TileLayout::kMaps * TileLayout::kMapBytes) {
    int feederWarp = static_cast<int>(threadIdx.x - kMultipliers) / 32;
    if (threadIdx.x == 0)
      ring.begin(kFences ? kFeeders : TileLayout::kFeeders + kFeeders / 32,
                 kMultipliers / 32);
    if constexpr (kDecoded) {
      stored = weights;
    } else if (isFeeder() && feederWarp == 0) {
      makeMatrixMap(map, shared, weights, W::kRows, W::kCols * sizeof(T),
                    W::kStride * sizeof(T), kInOrder ? kRows / kCtas : 64);
    } else if (kInOrder && isFeeder() && feederWarp == 1) {
      makeMatrixMap(tokenMap(), shared + TileLayout::kMapBytes, x, X::kRows,
                    W::kCols * sizeof(T), X::kStride * sizeof(T), 64);
    }
    __syncthreads();
    if constexpr (kPairs) {
      beginInCluster();
      waitForCluster();
    }
    if (!kDecoded && isFeeder()) {
      fenceMap(map);
      if constexpr (kInOrder)
        fenceMap(tokenMap());
    }
  }
  /// By all threads, after anything else: a pair's CTA is there until the other
  /// one has done with it.
  __device__ __forceinline__ void end() const {
    if constexpr (kPairs) {
      __syncwarp();
      beginInCluster();
      waitForCluster();
    }
  }
  /// Registers go from those that feed to those that multiply: what either
  /// calls first, behind the branch on isFeeder().
  static __device__ __forceinline__ void beginFeeding() {
    if constexpr (groups == 2)
      keepRegisters<kDecoded ? 80 : 40>();
  }
  static __device__ __forceinline__ void beginMultiplying() {
    if constexpr (groups == 2)
      takeRegisters<kDecoded ? 176 : 232>();
  }

  /// Feeds an item, by all threads that feed.
  template <bool targeted = false>
  __device__ __forceinline__ void feed(const Source &source) {
    if (targeted && feeder() < kTokens)
      inShared<int32_t>(kTargetsAt)[set * kTokens + feeder()] = source.target;
    if (feeder() == 0)
      inShared<int2>(kItemsAt)[set] = {source.item, source.count};
    nextSet();
    // A warp copies the lines of its tokens, four at a time.
    int lane = feeder() % 32, line = lane / 8, piece = lane % 8;
    uint32_t place = (feeder() / 32 * 32 + line) * TileLayout::kLineBytes +
                     (piece ^ line) * 16;
    auto decoded = decodedRows(source);
#pragma unroll 1
    for (int stage = 0; stage < kStages; ++stage) {
      ring.waitEmptied();
      uint32_t to = base + ring.slot * kStageBytes;
      if constexpr (!kDecoded)
        if (feeder() == 0) {
          constexpr int kHalf = 64 * TileLayout::kLineBytes;
          int halves = !kInOrder ? 0 : source.count > 64 ? groups : 1;
          expectBytes(ring.filled(),
                      kStageBytes - kTokenBytes + halves * kHalf);
          feedRows(source, to + kTokenBytes, stage * TileLayout::kLineBytes);
          for (int i = 0; i < halves; ++i)
            copyBox(to + i * kHalf, tokenMap(), source.tokenRow + i * 64,
                    stage * TileLayout::kLineBytes, ring.filled());
        }
      if constexpr (!kInOrder) {
        int column =
            stage * kStageColumns + piece * static_cast<int>(16 / sizeof(T));
        uint32_t bytes = bytesAt(column);
        int at = bytes ? column : 0;
#pragma unroll
        for (int i = 0; i < 8; ++i) {
          int row = __shfl_sync(kFullWarp, source.tokenRow, i * 4 + line);
          if (row >= 0) // the swizzle of line + 4 differs by 4 pieces
            copyAsync16(to + i * 4 * TileLayout::kLineBytes +
                            (place ^ i % 2 * 64),
                        X::row(source.x, row) + at, bytes);
        }
      }
      if constexpr (kScaled)
        feedFactors(source, stage);
      // wgmma reads what bulk copies bring, for which no fence is needed, and
      // decoded rows, which have theirs.
      if constexpr (kDecoded)
        decoded.decode(to + kTokenBytes, feeder(), stage);
      if constexpr (kFences) {
        commitCopies();
        if (waiting == kBehind)
          fill<kBehind>();
        else
          ++waiting;
      } else {
        if (kFeeders == TileLayout::kFeeders || feeder() < TileLayout::kFeeders)
          arriveWithCopies(ring.filled());
        // Copies do not vouch for what is said of items: a warp does.
        __syncwarp();
        if (lane == 0)
          arriveAtBarrier(ring.filled());
      }
      if constexpr (kDecoded)
        decoded.fetch(stage + decoded.kDepth);
      ring.advance();
    }
  }

  /// After the last item, by all threads that feed.
  __device__ __forceinline__ void endFeeding() {
    for (; waiting > 0; --waiting)
      fill<0>();
  }

  /// Where a warp's products belong: its first of 16 tokens, and its first
  /// wave.
  struct Place {
    int token, wave;
  };

  /// Multiplies `items` items as they are fed, by all other threads: calls
  /// finish(sums, place, divided, item, count) where the warpgroup has tokens.
  /// Lane 4 g + t of a warp has tokens place.token + g and + g + 8:
  /// sums[wave][j] are rows 8 j + 2 t and 8 j + 2 t + 1 for the first, then the
  /// second. There are all waves, or, if warpgroups have divided them, that of
  /// `place` alone.
  template <typename Finish>
  __device__ __forceinline__ void multiply(int items, Finish finish) {
#pragma unroll 1
    for (; items > 0; --items) {
      ring.waitFilled(); // what is said of the item is there
      int warp = threadIdx.x / 32;
      int count = inShared<int2>(kItemsAt)[set].y;
      if (groups == 1 || count > 64)
        multiplyItem<waves>({warp * 16, 0}, finish, std::false_type());
      else
        multiplyItem<waves / groups>({warp % 4 * 16, warp / 4}, finish,
                                     std::true_type());
      nextSet();
    }
  }

  /// Where warpgroups have divided the waves, the larger of their numbers for
  /// a token of 64. By all that multiply, lanes 4 g + t of a warp with the
  /// same, once for an item.
  __device__ __forceinline__ void shareLargest(float (&number)[2],
                                               int token) const {
    float *numbers = inShared<float>(kSharedNumbersAt) + set * groups * 64;
    int group = threadIdx.x / 128, lane = threadIdx.x % 32;
    token += lane / 4;
#pragma unroll
    for (int i = 0; i < 2; ++i)
      if (lane % 4 == 0)
        numbers[group * 64 + token + 8 * i] = number[i];
    meet<1, kMultipliers>();
#pragma unroll
    for (int i = 0; i < 2; ++i)
      number[i] = fmaxf(numbers[token + 8 * i], numbers[64 + token + 8 * i]);
  }

  /// Room for 128 bytes of results of the warp's 16 tokens.
  __device__ __forceinline__ uint8_t *scratch() const {
    return inShared<uint8_t>(kScratchAt) +
           threadIdx.x / 32 * static_cast<int>(TileLayout::kScratchBytes);
  }
  /// The targets of the item whose products are there.
  __device__ __forceinline__ const int32_t *targets() const {
    return inShared<int32_t>(kTargetsAt) + set * kTokens;
  }

private:
  /// Registers are scarce: addresses have 32 bits until they are used.
  template <typename Number>
  __device__ __forceinline__ Number *inShared(int offset) const {
    return static_cast<Number *>(__cvta_shared_to_generic(base + offset));
  }
  /// The next stage that waits for it is filled, as far as it is this thread's.
  template <int behind>
  __device__ __forceinline__ void fill() {
    waitCopies<behind>();
    fenceForTensorCores();
    arriveAtBarrier(begun.filled());
    begun.advance();
  }
  __device__ __forceinline__ void nextSet() {
    set = set + 1 == kItemSets ? 0 : set + 1;
  }
  static __device__ __forceinline__ uint32_t bytesAt(int column) {
    if constexpr (W::kCols % kStageColumns == 0)
      return 16;
    int left =
        (static_cast<int>(W::kCols) - column) * static_cast<int>(sizeof(T));
    return left < 0 ? 0 : left < 16 ? left : 16;
  }

  /// This thread's rows of an item, with their first copies under way.
  __device__ __forceinline__ auto decodedRows(const Source &source) const {
    if constexpr (kDecoded) {
      DecodedRows<W, kRows, kFeeders> rows(stored, base + kCodesAt, feeder());
      rows.begin([&](int i) {
        int run = (i * kFeeders + feeder()) / 64, first = 0;
#pragma unroll
        for (int j = 0; j < kRuns; ++j)
          first = run == j ? source.runRow[j] : first;
        return first + feeder() % 64;
      });
      return rows;
    } else {
      return 0;
    }
  }

  /// Begins the copies of a stage's rows, by one thread.
  __device__ __forceinline__ void feedRows(const Source &source, uint32_t to,
                                           int column) {
    constexpr int kParcels = kInOrder ? kCtas : kRuns;
    constexpr int kParcelRows = kRows / kParcels;
    constexpr int kParcelBytes = kParcelRows * TileLayout::kLineBytes;
    if constexpr (kPairs)
      if (source.shared) {
        int half = static_cast<int>(clusterRank());
        copyBoxTo(3, to + half * kParcelBytes, map,
                  source.runRow[0] + half * kParcelRows, column, ring.filled());
        return;
      }
#pragma unroll
    for (int i = 0; i < kParcels; ++i)
      copyBox(to + i * kParcelBytes, map,
              kInOrder ? source.runRow[0] + i * kParcelRows : source.runRow[i],
              column, ring.filled());
  }

  /// Factors of a stage: of all tokens, then of all runs, for each part.
  __device__ __forceinline__ void feedFactors(const Source &source, int stage) {
    uint32_t to =
        base + kFactorsAt + feeder() * 4 + ring.slot * kStageFactors * 4;
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
      int column = stage * kStageColumns + part * scaleColumns;
      // Products behind the last column are zero: so are their factors.
      uint32_t bytes = column < W::kCols ? 4 : 0;
      if (feeder() < kTokens && source.tokenFactor >= 0)
        copyAsync<4>(to + part * (kTokens + kRuns) * 4,
                     source.tokenFactors + source.tokenFactor +
                         (bytes ? column / tokenGroup : 0),
                     bytes);
      if constexpr (!kRowsScaleLater)
        if (feeder() < kRuns && source.rowFactor >= 0)
          copyAsync<4>(to + (part * (kTokens + kRuns) + kTokens) * 4,
                       source.rowFactors + source.rowFactor +
                           (bytes ? column / weightGroup : 0),
                       bytes);
    }
  }

  template <int count, typename Finish, typename Divided>
  __device__ __forceinline__ void multiplyItem(Place place, Finish finish,
                                               Divided divided) {
    float sums[count][16][4] = {};
#pragma unroll 1
    for (int stage = 0; stage < kStages; ++stage) {
      ring.waitFilled();
      uint32_t at = base + ring.slot * kStageBytes;
      if constexpr (kScaled)
        multiplyScaled(sums, at, place);
      else
        multiplyPlain(sums, at, place);
      ring.advance();
    }
    int2 item = inShared<int2>(kItemsAt)[set];
    finish(sums, place, divided, item.x, item.y);
  }

  static __device__ __forceinline__ uint64_t rowsAt(uint32_t at, int run) {
    return swizzledTile(at + run * 64 * TileLayout::kLineBytes);
  }

  /// Tokens from registers, and gives the stage at `at` back.
  template <int count>
  __device__ __forceinline__ void
  multiplyPlain(float (&sums)[count][16][4], uint32_t at, Place place) const {
    // Matrices of 8 tokens and 16 bytes: tokens, tokens + 8, then k + 16.
    int lane = threadIdx.x % 32;
    uint32_t line = (place.token + lane % 16) * TileLayout::kLineBytes;
    uint32_t tokens[4][4]; // 32 bytes of k each
#pragma unroll
    for (int step = 0; step < 4; ++step)
      loadMatrices<false>(tokens[step],
                          at + line + ((step * 2 + lane / 16) ^ lane % 8) * 16);
    at += kTokenBytes + place.wave * 128 * TileLayout::kLineBytes;
    wgmmaFence();
#pragma unroll
    for (int wave = 0; wave < count; ++wave)
#pragma unroll
      for (int i = 0; i < 4; ++i)
        wgmmaRowsBf16<false>(sums[wave], tokens[i],
                             rowsAt(at, 2 * wave) + 2 * i);
    wgmmaCommit();
    wgmmaWaitAllBut<0>();
#pragma unroll
    for (int wave = 0; wave < count; ++wave)
      settle(sums[wave]);
    ring.release();
  }

  /// Of a part of the stage: those of the lane's two tokens, times those of two
  /// runs.
  __device__ __forceinline__ void loadFactors(float (&factors)[2][2], int part,
                                              int token, int run) const {
    uint32_t at = base + kFactorsAt +
                  (ring.slot * kStageFactors + part * (kTokens + kRuns)) * 4;
    uint32_t tokenAt = at + (token + threadIdx.x % 32 / 4) * 4;
    float tokens[2] = {loadShared(tokenAt), loadShared(tokenAt + 32)};
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      float row =
          kRowsScaleLater ? 1.0f : loadShared(at + (kTokens + run + i) * 4);
      factors[i][0] = tokens[0] * row;
      factors[i][1] = tokens[1] * row;
    }
  }

  /// Codes: tokens from shared memory, with 128 rows at a time, and gives the
  /// stage at `at` back. While one warpgroup scales, the other one multiplies.
  template <int count>
  __device__ __forceinline__ void
  multiplyScaled(float (&sums)[count][16][4], uint32_t at, Place place) const {
    constexpr int kSteps = 4 / kParts;
    uint64_t tokens =
        swizzledTile(at + place.token / 64 * 64 * TileLayout::kLineBytes);
#pragma unroll
    for (int wave = 0; wave < count; ++wave)
#pragma unroll
      for (int part = 0; part < kParts; ++part) {
        uint64_t rows = rowsAt(at + kTokenBytes, (place.wave + wave) * 2);
        float products[16][4];
        wgmmaFence();
        wgmmaLines<T, false>(products, tokens + 2 * part * kSteps,
                             rows + 2 * part * kSteps);
#pragma unroll
        for (int i = part * kSteps + 1; i < (part + 1) * kSteps; ++i)
          wgmmaLines<T, true>(products, tokens + 2 * i, rows + 2 * i);
        wgmmaCommit();
        float factors[2][2];
        loadFactors(factors, part, place.token, (place.wave + wave) * 2);
        wgmmaWaitAllBut<0>();
        settle(products);
        if (wave + 1 == count && part + 1 == kParts)
          ring.release();
#pragma unroll
        for (int j = 0; j < 16; ++j)
#pragma unroll
          for (int i = 0; i < 4; ++i)
            sums[wave][j][i] += products[j][i] * factors[j / 8][i / 2];
      }
  }

  __device__ __forceinline__ uint8_t *tokenMap() const {
    return map + TileLayout::kMapBytes;
  }

  uint32_t base;
  std::conditional_t<kPairs, PairRing<depth>, Ring<depth>> ring;
  /// Where kFences: the first stage that this thread has begun and not yet
  /// filled, and how many of them there are.
  Ring<depth> begun;
  int waiting = 0;
  uint8_t *map;
  void *const *stored = nullptr; // of weights that are decoded
  int set = 0;
};

} // namespace saddle::device
