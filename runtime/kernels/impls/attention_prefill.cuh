// Attention of steps with several tokens of a sequence (prefill), for bf16
// queries over bf16 or e4m3 caches: flash attention on wgmma.
//
// Two warpgroups multiply, a third feeds them keys and values
// (tile/cached_tiles.cuh). A warp holds 16 tokens of one head; the warps of a
// CTA have successive (block of 16 tokens, head of one kv head) pairs and share
// the tiles. While a tile's values are added, the next one's scores become
// weights, and the warpgroups take turns at the tensor cores, so that one
// multiplies while the other weighs. Tokens may belong to any sequences and
// stand at any positions: a CTA takes the sequences of its tokens one after the
// other, and a token ignores all but its own.
//
// bf16 caches are multiplied as bf16, e4m3 as f16: exact, and queries as f16
// scaled by a power of two per row. Rounding: weights become bf16 or f16 before
// they meet the values (relative error 2^-9 or 2^-12 of each; the largest so
// far is 1); the rest is fp32. Floor: 4 * head_dim flops per pair of token and
// visible position.

#pragma once

#include "runtime/kernels/impls/attention.cuh"
#include "runtime/kernels/ptx/wgmma_rows.cuh"
#include "runtime/kernels/tile/cached_tiles.cuh"

namespace saddle::device {

/// What a CTA of attentionPrefill works on: pairs of a block of tokens and a
/// head, for one kv head and one range of positions.
template <typename A>
struct PrefillItem {
  static constexpr int kWarps = kPrefillWarps;
  /// Tokens in blocks of 16 that the pairs of all warps can touch.
  static constexpr int kTokens =
      ((kWarps + A::kPerKvHead - 2) / A::kPerKvHead + 1) * kPrefillTokens;

  uint32_t firstPair;
  uint32_t firstToken, endToken; // none: there are no further items
  int kvHead, range;

  static __device__ __forceinline__ int count(uint32_t tokens) {
    uint32_t pairs = (tokens + kPrefillTokens - 1) / kPrefillTokens *
                     static_cast<uint32_t>(A::kPerKvHead);
    return static_cast<int>((pairs + kWarps - 1) / kWarps) * A::kKvHeads *
           A::kSplits;
  }
  /// The item that this CTA has in a round, -1 for none. Rounds go forth and
  /// back, since items become shorter.
  static __device__ __forceinline__ int ofRound(int round, int count) {
    int cta = static_cast<int>(blockIdx.x), ctas = static_cast<int>(gridDim.x);
    int number = round * ctas + (round % 2 ? ctas - 1 - cta : cta);
    return number < count ? number : -1;
  }
  /// Later tokens see more positions: they come first.
  __device__ __forceinline__ void become(int number, int count,
                                         uint32_t tokens) {
    number = count - 1 - number;
    range = number % A::kSplits;
    kvHead = number / A::kSplits % A::kKvHeads;
    firstPair =
        static_cast<uint32_t>(number / (A::kSplits * A::kKvHeads)) * kWarps;
    firstToken = firstPair / A::kPerKvHead * kPrefillTokens;
    // The last pair's block of tokens ends the item's.
    endToken = min((firstPair + kWarps - 1) / A::kPerKvHead * kPrefillTokens +
                       kPrefillTokens,
                   tokens);
  }
};

/// An item, what its tokens see, and of which sequence, in shared memory.
template <typename A>
struct PrefillTokens {
  static constexpr int kTokens = PrefillItem<A>::kTokens;
  static constexpr int kWords = (kTokens + 31) / 32;
  static_assert(kTokens <= kPrefillFeeders, "a thread has a token");
  PrefillItem<A> item;
  int visibles[kTokens];
  i32 sequences[kTokens];
  /// The most that a token of this one's sequence sees.
  int mosts[kTokens];
  /// Tokens, as bits, whose sequence no earlier one shares and that see
  /// something.
  uint32_t leaders[kWords];

  /// Of the item, by all that feed, who may read at once.
  __device__ __forceinline__ void load(const LaunchParams &p, int thread) {
    int visible = 0;
    i32 sequence = -1;
    uint32_t token = item.firstToken + thread;
    if (thread < kTokens && token < item.endToken) {
      visible = A::visibleTo(p, token);
      sequence = visible ? A::sequenceOf(p, token) : -1;
    }
    if (thread < kTokens) {
      visibles[thread] = visible;
      sequences[thread] = sequence;
    }
    meet<1, kPrefillFeeders>();
    int most = 0;
    bool leads = visible > 0;
#pragma unroll 16
    for (int i = 0; i < kTokens; ++i)
      if (sequences[i] == sequence) {
        leads &= i >= thread;
        most = max(most, visibles[i]);
      }
    if (thread < kTokens)
      mosts[thread] = most;
    uint32_t word = __ballot_sync(kFullWarp, leads);
    if (thread % 32 == 0 && thread / 32 < kWords)
      leaders[thread / 32] = word;
    meet<1, kPrefillFeeders>();
  }

  /// Calls visit(sequence, begin, end) for each sequence and its positions of
  /// the range, in the order of tokens.
  template <typename Visit>
  __device__ __forceinline__ void forEachSequence(Visit visit) const {
#pragma unroll 1
    for (int word = 0; word < kWords; ++word)
#pragma unroll 1
      for (uint32_t left = leaders[word]; left != 0; left &= left - 1) {
        int leader = word * 32 + __ffs(left) - 1, most = mosts[leader];
        int length = A::rangeLength(most), begin = item.range * length;
        if (begin < most)
          visit(sequences[leader], begin, min(begin + length, most));
      }
  }
};

/// Where a warp stands: 16 tokens and one head. Registers are scarce: nothing
/// is kept that can be found again.
template <typename A>
struct PrefillPlace {
  const PrefillItem<A> &item;

  __device__ __forceinline__ uint32_t pair() const {
    return item.firstPair + threadIdx.x / 32;
  }
  __device__ __forceinline__ int head() const {
    return item.kvHead * A::kPerKvHead +
           static_cast<int>(pair() % A::kPerKvHead);
  }
  /// The lane's column of four.
  static __device__ __forceinline__ int column() {
    return static_cast<int>(threadIdx.x) % 4;
  }
  /// The lane's token of row lane / 4 + 8 r.
  __device__ __forceinline__ uint32_t tokenOf(int r) const {
    return pair() / A::kPerKvHead * kPrefillTokens + threadIdx.x % 32 / 4 +
           8 * r;
  }
  /// What it sees of `sequence` before `end`.
  __device__ __forceinline__ int visibleOf(const PrefillTokens<A> &all, int r,
                                           i32 sequence, int end) const {
    uint32_t token = tokenOf(r);
    int i = static_cast<int>(token - item.firstToken);
    bool mine = token < item.endToken && all.sequences[i] == sequence;
    return mine ? min(all.visibles[i], end) : 0;
  }
};

/// What a warp knows of its 16 rows: lane 4 g + t has rows g and g + 8.
template <typename A>
struct PrefillRows {
  static constexpr bool kWidens = sizeof(typename A::Keys::Element) == 1;

  uint32_t q[A::kHeadDim / 16][4];
  float sum[A::kHeadDim / 8][4];
  // The lane's part of the total; -infinity or no number when a page of a
  // visible position was outside the cache.
  float l[2];
  float m[2];
  float factor[2]; // of scores, positive
  int visible[2];  // 0: not of the sequence at hand

  /// Fetches queries; nothing is summed yet.
  __device__ __forceinline__ void
  begin(const LaunchParams &p, const PrefillPlace<A> &place, float scale) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      m[r] = -INFINITY;
      factor[r] = scale * kLog2E;
      uint32_t token = place.tokenOf(r);
      if (token >= place.item.endToken)
        continue;
      const bf16 *row =
          A::Query::row(p.operands[0], token) + place.head() * A::kHeadDim;
#pragma unroll
      for (int step = 0; step < A::kHeadDim / 16; ++step) {
        const auto *values =
            reinterpret_cast<const uint32_t *>(row + step * 16);
        q[step][r] = values[place.column()];
        q[step][2 + r] = values[4 + place.column()];
      }
    }
    if constexpr (kWidens)
      narrowQueries();
  }

  /// The result, or the range's part of it.
  __device__ __forceinline__ void store(const LaunchParams &p,
                                        const PrefillPlace<A> &place) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float total = l[r];
      total += __shfl_xor_sync(kFullWarp, total, 1);
      total += __shfl_xor_sync(kFullWarp, total, 2);
      uint32_t token = place.tokenOf(r);
      if (token >= place.item.endToken)
        continue;
      if constexpr (A::kSplits == 1) {
        bool zero = !(total > 0);
        float share = zero ? 0 : 1 / total;
        bf16 *out =
            A::Result::row(p.operands[6], token) + place.head() * A::kHeadDim;
#pragma unroll
        for (int n = 0; n < A::kHeadDim / 8; ++n)
          *reinterpret_cast<__nv_bfloat162 *>(out + n * 8 +
                                              2 * place.column()) =
              __floats2bfloat162_rn(zero ? 0 : sum[n][2 * r] * share,
                                    zero ? 0 : sum[n][2 * r + 1] * share);
      } else {
        int64_t part = A::part(token, place.head(), place.item.range);
        float *sums = A::sums(p, part);
#pragma unroll
        for (int n = 0; n < A::kHeadDim / 8; ++n)
          *reinterpret_cast<float2 *>(sums + n * 8 + 2 * place.column()) = {
              sum[n][2 * r], sum[n][2 * r + 1]};
        if (place.column() == 0)
          *A::stats(p, part) = {m[r], total >= 0 ? total : -1.0f};
      }
    }
  }

  /// Queries from bf16 to f16, divided by the power of two that brings the
  /// largest of the row to [1, 2); `factor` makes up for it.
  __device__ __forceinline__ void narrowQueries() {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float largest = 0;
#pragma unroll
      for (int i = r; i < A::kHeadDim / 4; i += 2) {
        float2 pair = bf16Values(q[i / 4][i % 4]);
        largest = fmaxf(largest, fmaxf(fabsf(pair.x), fabsf(pair.y)));
      }
      largest = fmaxf(largest, __shfl_xor_sync(kFullWarp, largest, 1));
      largest = fmaxf(largest, __shfl_xor_sync(kFullWarp, largest, 2));
      float power = powerBelow(largest), shrink = 1 / power;
      factor[r] *= power;
#pragma unroll
      for (int i = r; i < A::kHeadDim / 4; i += 2) {
        float2 pair = bf16Values(q[i / 4][i % 4]);
        q[i / 4][i % 4] = f16Pair(pair.x * shrink, pair.y * shrink);
      }
    }
  }

  __device__ __forceinline__ void rescale(const float (&by)[2]) {
#pragma unroll
    for (int n = 0; n < A::kHeadDim / 8; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i)
        sum[n][i] *= by[i / 2];
  }
};

/// Scores of a tile's positions from `first` on to weights, in place; the rows'
/// maxima and totals follow. When a maximum grows, returns true, and the rows'
/// sums must be multiplied by `shrink` before these weights are used. Not
/// `masked`: all rows see all positions. `factor` is positive.
template <bool masked, typename A, int columns>
__device__ __forceinline__ bool weigh(PrefillRows<A> &rows,
                                      float (&scores)[columns][4], int first,
                                      float (&shrink)[2]) {
  if constexpr (masked) {
    int t = static_cast<int>(threadIdx.x) % 4;
#pragma unroll
    for (int n = 0; n < columns; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i)
        if (first + n * 8 + 2 * t + i % 2 >= rows.visible[i / 2])
          scores[n][i] = -INFINITY;
  }
  // Two chains for each row are shorter than one.
  float most[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    most[i] = scores[0][i];
#pragma unroll
    for (int n = 1; n < columns; ++n)
      most[i] = fmaxf(most[i], scores[n][i]);
  }
  float largest[2] = {fmaxf(most[0], most[1]) * rows.factor[0],
                      fmaxf(most[2], most[3]) * rows.factor[1]};
  bool grows =
      __any_sync(kFullWarp, largest[0] > rows.m[0] || largest[1] > rows.m[1]);
  if (grows) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float most = largest[r];
      most = fmaxf(most, __shfl_xor_sync(kFullWarp, most, 1));
      most = fmaxf(most, __shfl_xor_sync(kFullWarp, most, 2));
      most = fmaxf(most, rows.m[r]);
      shrink[r] = most == rows.m[r] ? 1 : exp2Fast(rows.m[r] - most);
      rows.m[r] = most;
      rows.l[r] *= shrink[r];
    }
  }
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    float base = rows.m[r] == -INFINITY ? 0 : -rows.m[r]; // nothing seen so far
    float totals[2] = {};
#pragma unroll
    for (int n = 0; n < columns; ++n)
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        float &score = scores[n][2 * r + i];
        score = exp2Fast(fmaf(score, rows.factor[r], base));
        totals[i] += score;
      }
    rows.l[r] += totals[0] + totals[1];
  }
  return grows;
}

/// The products of an item's rows, by the warps that multiply.
template <typename A>
struct PrefillProducts {
  using Ring = TileRing<A>;
  using Rows = PrefillRows<A>;
  static constexpr int kColumns = Ring::kTile / 8;
  using Scores = float[kColumns][4];
  /// Weights as pairs in the order of a product's first operand.
  using Weights = uint32_t[kColumns / 2][4];

  __device__ __forceinline__ explicit PrefillProducts(const Ring &ring)
      : ring(ring) {}

  /// Adds the positions from `begin` to `end` to the rows of all warps.
  __device__ __forceinline__ void add(int begin, int end) {
    int all = min(rows.visible[0], rows.visible[1]); // that all rows see
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2)
      all = min(all, __shfl_xor_sync(kFullWarp, all, distance));
    Scores scores;
    Weights weights;
    float shrink[2];
    takeKeys();
    beginScores(scores);
    wgmmaWaitAllBut<0>();
    settle(scores);
    leave();
    if (weigh<true>(rows, scores, begin, shrink))
      rows.rescale(shrink);
    pack(scores, weights);
#pragma unroll 1
    for (int first = begin + Ring::kTile; first < end; first += Ring::kTile) {
      takeKeys();
      takeTurn<kTurns>();
      beginScores(scores);
      Ring keys = ring;
      ring.advance();
      ring.waitFilled();
      beginSums(weights);
      passTurn<kTurns>();
      wgmmaWaitAllBut<1>();
      settle(scores);
      keys.release();
      bool grows = first + Ring::kTile <= all
                       ? weigh<false>(rows, scores, first, shrink)
                       : weigh<true>(rows, scores, first, shrink);
      wgmmaWaitAllBut<0>();
      settle(rows.sum);
      leave();
      if (grows)
        rows.rescale(shrink);
      pack(scores, weights);
    }
    ring.waitFilled();
    beginSums(weights);
    wgmmaWaitAllBut<0>();
    settle(rows.sum);
    leave();
  }

  /// The second warpgroup lets the first one begin. By all, once.
  static __device__ __forceinline__ void beginTurns() {
    if (threadIdx.x >= 128)
      passTurn<kTurns>();
  }

  Rows rows;
  Ring ring;

private:
  static constexpr int kTurns = 4; // barriers, and the one after

  __device__ __forceinline__ void takeKeys() {
    ring.waitFilled();
    int4 bad = *ring.firstBad();
    int first = min(min(bad.x, bad.y), min(bad.z, bad.w));
#pragma unroll
    for (int r = 0; r < 2; ++r)
      if (rows.visible[r] > first)
        rows.l[r] = -INFINITY;
  }
  __device__ __forceinline__ void leave() {
    ring.release();
    ring.advance();
  }

  template <bool transposed, bool adds, int columns>
  static __device__ __forceinline__ void
  multiply(float (&d)[columns][4], const uint32_t (&a)[4], uint64_t b) {
    if constexpr (Rows::kWidens)
      wgmmaRowsF16<transposed, adds>(d, a, b);
    else
      wgmmaRowsBf16<transposed, adds>(d, a, b);
  }
  /// Begins to multiply queries and the tile's keys.
  __device__ __forceinline__ void beginScores(Scores &scores) const {
    uint64_t first = swizzledTile(ring.tile());
    wgmmaFence();
    multiply<false, false>(scores, rows.q[0], first);
#pragma unroll
    for (int step = 1; step < A::kHeadDim / 16; ++step)
      multiply<false, true>(
          scores, rows.q[step],
          first + (step / 4 * Ring::kHalfBytes + step % 4 * 32) / 16);
    wgmmaCommit();
  }
  /// Begins to add weights times the tile's values.
  __device__ __forceinline__ void beginSums(const Weights &weights) {
    uint64_t first = swizzledColumns(ring.tile(), Ring::kHalfBytes);
    wgmmaFence();
#pragma unroll
    for (int step = 0; step < kColumns / 2; ++step)
      multiply<true, true>(rows.sum, weights[step], first + step * 2048 / 16);
    wgmmaCommit();
  }
  static __device__ __forceinline__ void pack(const Scores &values,
                                              Weights &weights) {
#pragma unroll
    for (int n = 0; n < kColumns; ++n)
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        float a = values[n][2 * r], b = values[n][2 * r + 1];
        weights[n / 2][n % 2 * 2 + r] =
            Rows::kWidens ? f16Pair(a, b) : bf16Pair(a, b);
      }
  }
};

/// Grid: CTAs that take items in turn. `sharedBytes` of dynamic shared memory,
/// kPrefillThreads threads; `maps` has kPrefillMapBytes for each CTA.
template <typename A, int sharedBytes>
__device__ void attentionPrefill(const LaunchParams &p, float scale,
                                 uint8_t *maps) {
  using Item = PrefillItem<A>;
  using Products = PrefillProducts<A>;
  static_assert(TileRing<A>::kSharedBytes == sharedBytes,
                "the launch reserves what the ring needs");
  extern __shared__ __align__(16) uint8_t shared[];
  // Those that feed are an item ahead.
  constexpr int kItems = 2;
  __shared__ PrefillTokens<A> itemTokens[kItems];
  __shared__ __align__(8) uint8_t itemBarriers[Ring<kItems>::kBarrierBytes];
  __shared__ __align__(128) uint8_t mapScratch[kPrefillMapBytes];
  TileRing<A> ring((sharedAddress(shared) + 1023) & ~1023u);
  Ring<kItems> items = {sharedAddress(itemBarriers)};
  if (threadIdx.x == 0) {
    ring.begin(kPrefillFeeders, kPrefillWarps);
    items.begin(kPrefillFeeders, kPrefillWarps);
  }
  __syncthreads();

  constexpr int kMultipliers = kPrefillWarps * 32;
  if (threadIdx.x >= kMultipliers) {
    keepRegisters<TileFeeder<A>::kRegisters>();
    int feeder = static_cast<int>(threadIdx.x) - kMultipliers;
    TileFeeder<A> feed(p, feeder, ring, maps + blockIdx.x * kPrefillMapBytes,
                       mapScratch);
    uint32_t tokens = A::tokens(p);
    int count = Item::count(tokens);
#pragma unroll 1
    for (int round = 0;; ++round) {
      int number = Item::ofRound(round, count);
      items.goTo(round);
      items.waitEmptied();
      PrefillTokens<A> &seen = itemTokens[items.slot];
      if (feeder == 0)
        seen.item.become(number, count, number < 0 ? 0 : tokens);
      meet<1, kPrefillFeeders>();
      seen.load(p, feeder);
      arriveAtBarrier(items.filled());
      if (number < 0)
        break;
      seen.forEachSequence([&](i32 sequence, int begin, int end) {
        feed.feed(A::pagesOf(p, sequence), seen.item.kvHead, begin, end);
      });
    }
  } else {
    takeRegisters<TileFeeder<A>::kOthersRegisters>();
    Products products(ring);
    Products::beginTurns();
#pragma unroll 1
    for (int round = 0;; ++round) {
      items.goTo(round);
      items.waitFilled();
      const PrefillTokens<A> &seen = itemTokens[items.slot];
      if (seen.item.endToken == 0)
        break;
      PrefillPlace<A> place = {seen.item};
      products.rows = {};
      products.rows.begin(p, place, scale);
      seen.forEachSequence([&](i32 sequence, int begin, int end) {
#pragma unroll
        for (int r = 0; r < 2; ++r)
          products.rows.visible[r] = place.visibleOf(seen, r, sequence, end);
        products.add(begin, end);
      });
      products.rows.store(p, place);
      items.release();
    }
  }
}

} // namespace saddle::device
