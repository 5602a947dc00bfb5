// Attention of steps with several tokens of a sequence (prefill), for bf16
// queries over bf16 or e4m3 caches: flash attention on wgmma.
//
// A warp holds 16 tokens of one head; the warps of a CTA have successive
// (block of 16 tokens, head of one kv head) pairs and share tiles of 64
// positions in shared memory. Copies run three tiles ahead, and a tile's
// values are added while the next one's scores become weights. Tokens may
// belong to any sequences and stand at any positions: the CTA takes the
// sequences of its tokens one after the other, and a token ignores all but its
// own.
//
// bf16 caches are multiplied as bf16, e4m3 as f16: exact, and queries as f16
// scaled by a power of two per row. Rounding: weights become bf16 or f16 before
// they meet the values (relative error 2^-9 or 2^-12 of each; the largest so
// far is 1); the rest is fp32. Floor: 4 * head_dim flops per pair of token and
// visible position.

#pragma once

#include "runtime/kernels/impls/attention.cuh"
#include "runtime/kernels/ptx/copy_async.cuh"
#include "runtime/kernels/ptx/wgmma_rows.cuh"

namespace saddle::device {

/// What a CTA of attentionPrefill has, and its shared memory.
template <typename A, int warps>
struct PrefillBlock {
  using Attention = A;
  using T = typename A::Keys::Element;
  static constexpr bool kWidens = sizeof(T) == 1;
  static constexpr int kWarps = warps;
  static constexpr int kThreads = kWarps * 32;
  /// Tokens in blocks of 16 that the pairs of all warps can touch.
  static constexpr int kTokens =
      ((kWarps + A::kPerKvHead - 2) / A::kPerKvHead + 1) * kPrefillTokens;
  static constexpr int kTile = kPrefillTile;
  /// Copies run kAhead tiles ahead of the values that are read.
  static constexpr int kStages = kPrefillStages, kAhead = kStages - 1;
  // 16-byte pieces of a row in the cache, and of 64 bf16.
  static constexpr int kPieces = A::kHeadDim * sizeof(T) / 16;
  static constexpr int kElements = 16 / sizeof(T);
  static constexpr int kHalfBytes = kTile * 128; // 64 dims of all positions
  static constexpr int kMatrixBytes = kTile * A::kHeadDim * 2;
  static constexpr int kRawBytes = prefillTileBytes(A::kHeadDim, sizeof(T));
  static constexpr int kSharedBytes =
      prefillSharedBytes(A::kHeadDim, sizeof(T));
  static_assert(warps % 4 == 0, "four warps share a product");
  static_assert(A::kHeadDim % 64 == 0, "rows are swizzled in 64 elements");

  /// Byte offset of chunk `chunk` of row `row` of keys or values: the layout of
  /// swizzledTile (ptx/wgmma.cuh), 64 dims after 64 dims.
  static __device__ __forceinline__ uint32_t chunkOffset(int row, int chunk) {
    return static_cast<uint32_t>(chunk / 8 * kHalfBytes + row * 128 +
                                 (chunk % 8 ^ row % 8) * 16);
  }
};

/// A sequence's positions, tile by tile.
struct PrefillTiles {
  const i32 *pages;
  uint32_t pageCount; // of the cache
  int begin, end;
};

/// The cache slot of this thread's position of a tile, -1 for none; threads
/// beyond the tile have none. A page outside the cache lowers `firstBad`.
template <typename Block>
__device__ __forceinline__ int slotOf(const PrefillTiles &tiles, int tile,
                                      int *firstBad) {
  using A = typename Block::Attention;
  int row = static_cast<int>(threadIdx.x);
  int position = tiles.begin + tile * Block::kTile + row;
  if (row >= Block::kTile || position >= tiles.end)
    return -1;
  i32 page = tiles.pages[position / A::kPageSize];
  if (static_cast<uint32_t>(page) < tiles.pageCount)
    return page * A::kPageSize + position % A::kPageSize;
  atomicMin(firstBad, position);
  return -1;
}

/// Begins to copy the rows of `slots`, keys and then values, to shared memory;
/// zeros where there is no slot.
template <typename Block>
__device__ __forceinline__ void copyTile(const LaunchParams &p, int kvHead,
                                         const int *slots, uint32_t raw) {
  using A = typename Block::Attention;
  using T = typename Block::T;
  // A thread keeps its piece, and its rows are congruent modulo 8.
  constexpr int kRowsOfPass = Block::kThreads / Block::kPieces;
  static_assert(kRowsOfPass % 8 == 0 && Block::kTile % kRowsOfPass == 0,
                "all passes over a tile are alike");
  int firstRow = static_cast<int>(threadIdx.x) / Block::kPieces;
  int piece = static_cast<int>(threadIdx.x) % Block::kPieces;
  int column = kvHead * A::kHeadDim + piece * Block::kElements;
  const T *keys = static_cast<const T *>(p.operands[1]) + column;
  const T *values = static_cast<const T *>(p.operands[2]) + column;
  uint32_t place = raw + (Block::kWidens ? threadIdx.x * 16
                                         : Block::chunkOffset(firstRow, piece));
#pragma unroll
  for (int row = 0; row < Block::kTile; row += kRowsOfPass) {
    int slot = slots[firstRow + row];
    uint32_t bytes = slot >= 0 ? 16 : 0;
    int64_t offset = static_cast<int64_t>(max(slot, 0)) * A::Keys::kStride;
    uint32_t at = place + row * (Block::kWidens ? Block::kPieces * 16 : 128);
    copyAsync16(at, keys + offset, bytes);
    copyAsync16(at + Block::kRawBytes / 2, values + offset, bytes);
  }
}

/// Keys and values of a fetched tile from e4m3 to f16.
template <typename Block>
__device__ __forceinline__ void widenTile(const uint8_t *raw, uint8_t *tile) {
  constexpr int kAll = 2 * Block::kTile * Block::kPieces;
#pragma unroll 2
  for (int i = static_cast<int>(threadIdx.x); i < kAll; i += Block::kThreads) {
    uint4 codes = *reinterpret_cast<const uint4 *>(raw + i * 16);
    int row = i / Block::kPieces, piece = i % Block::kPieces;
    uint8_t *base = tile + row / Block::kTile * Block::kMatrixBytes;
    row %= Block::kTile;
    uint4 low = {e4m3PairToF16(codes.x), e4m3PairToF16(codes.x >> 16),
                 e4m3PairToF16(codes.y), e4m3PairToF16(codes.y >> 16)};
    uint4 high = {e4m3PairToF16(codes.z), e4m3PairToF16(codes.z >> 16),
                  e4m3PairToF16(codes.w), e4m3PairToF16(codes.w >> 16)};
    *reinterpret_cast<uint4 *>(base + Block::chunkOffset(row, piece * 2)) = low;
    *reinterpret_cast<uint4 *>(base + Block::chunkOffset(row, piece * 2 + 1)) =
        high;
  }
}

/// Where a warp stands: 16 tokens and one head, the warps of a CTA with
/// successive pairs of these.
template <typename Block>
struct PrefillPlace {
  using A = typename Block::Attention;

  uint32_t tokens;               // of the step
  uint32_t blockToken, blockEnd; // of the CTA
  uint32_t firstToken;           // of the warp
  int kvHead, head;
  int g, t; // of the lane

  __device__ __forceinline__ explicit PrefillPlace(const LaunchParams &p)
      : tokens(A::tokens(p)), kvHead(static_cast<int>(blockIdx.y)),
        g(static_cast<int>(threadIdx.x) % 32 / 4),
        t(static_cast<int>(threadIdx.x) % 4) {
    // Later tokens see more positions: they begin first.
    uint32_t pairs = (gridDim.z - 1 - blockIdx.z) * Block::kWarps;
    uint32_t pair = pairs + threadIdx.x / 32;
    blockToken = pairs / A::kPerKvHead * kPrefillTokens;
    // The last pair's block of tokens ends the CTA's.
    blockEnd =
        min((pairs + Block::kWarps - 1) / A::kPerKvHead * kPrefillTokens +
                kPrefillTokens,
            tokens);
    firstToken = pair / A::kPerKvHead * kPrefillTokens;
    head = kvHead * A::kPerKvHead + static_cast<int>(pair % A::kPerKvHead);
  }
  /// The lane's token of row g + 8 r.
  __device__ __forceinline__ uint32_t tokenOf(int r) const {
    return firstToken + g + 8 * r;
  }
};

/// What a warp knows of its 16 rows: lane 4 g + t has rows g and g + 8.
template <typename A>
struct PrefillRows {
  uint32_t q[A::kHeadDim / 16][4];
  float sum[A::kHeadDim / 8][4];
  float m[2], l[2];
  float factor[2]; // of scores, positive
  int visible[2];  // 0: not of the sequence at hand
  bool bad[2];     // a page of a visible position was outside the cache

  /// Fetches queries; nothing is summed yet.
  template <typename Block>
  __device__ __forceinline__ void
  begin(const LaunchParams &p, const PrefillPlace<Block> &place, float scale) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      m[r] = -INFINITY;
      factor[r] = scale * kLog2E;
      uint32_t token = place.tokenOf(r);
      if (token >= place.tokens)
        continue;
      const bf16 *row =
          A::Query::row(p.operands[0], token) + place.head * A::kHeadDim;
#pragma unroll
      for (int step = 0; step < A::kHeadDim / 16; ++step) {
        const auto *values =
            reinterpret_cast<const uint32_t *>(row + step * 16);
        q[step][r] = values[place.t];
        q[step][2 + r] = values[4 + place.t];
      }
    }
    if constexpr (Block::kWidens)
      narrowQueries();
  }

  /// The result, or the range's part of it.
  template <typename Block>
  __device__ __forceinline__ void store(const LaunchParams &p,
                                        const PrefillPlace<Block> &place) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float total = l[r];
      total += __shfl_xor_sync(kFullWarp, total, 1);
      total += __shfl_xor_sync(kFullWarp, total, 2);
      uint32_t token = place.tokenOf(r);
      if (token >= place.tokens)
        continue;
      if constexpr (A::kSplits == 1) {
        bool zero = total == 0 || bad[r];
        float share = zero ? 0 : 1 / total;
        bf16 *out =
            A::Result::row(p.operands[6], token) + place.head * A::kHeadDim;
#pragma unroll
        for (int n = 0; n < A::kHeadDim / 8; ++n)
          *reinterpret_cast<__nv_bfloat162 *>(out + n * 8 + 2 * place.t) =
              __floats2bfloat162_rn(zero ? 0 : sum[n][2 * r] * share,
                                    zero ? 0 : sum[n][2 * r + 1] * share);
      } else {
        int64_t part = A::part(token, place.head, static_cast<int>(blockIdx.x));
        float *sums = A::sums(p, part);
#pragma unroll
        for (int n = 0; n < A::kHeadDim / 8; ++n)
          *reinterpret_cast<float2 *>(sums + n * 8 + 2 * place.t) = {
              sum[n][2 * r], sum[n][2 * r + 1]};
        if (place.t == 0)
          *A::stats(p, part) = {m[r], bad[r] ? -1.0f : total};
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

/// Scores of 64 positions from `first` on to weights, in place; the rows'
/// maxima and totals follow. When a maximum grows, returns true, and the rows'
/// sums must be multiplied by `shrink` before these weights are used. Not
/// `masked`: all rows see all positions. `factor` is positive.
template <bool masked, typename A>
__device__ __forceinline__ bool weigh(PrefillRows<A> &rows,
                                      float (&scores)[8][4], int first,
                                      float (&shrink)[2]) {
  int t = static_cast<int>(threadIdx.x) % 4;
  float largest[2] = {-INFINITY, -INFINITY};
#pragma unroll
  for (int n = 0; n < 8; ++n)
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (masked && first + n * 8 + 2 * t + i % 2 >= rows.visible[i / 2])
        scores[n][i] = -INFINITY;
      largest[i / 2] = fmaxf(largest[i / 2], scores[n][i]);
    }
  largest[0] *= rows.factor[0];
  largest[1] *= rows.factor[1];
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
#pragma unroll
    for (int n = 0; n < 8; ++n)
#pragma unroll
      for (int i = 2 * r; i < 2 * r + 2; ++i) {
        scores[n][i] = exp2Fast(fmaf(scores[n][i], rows.factor[r], base));
        rows.l[r] += scores[n][i];
      }
  }
  return grows;
}

/// Weights as pairs in the order of a product's first operand.
template <typename Block>
__device__ __forceinline__ void packWeights(const float (&values)[8][4],
                                            uint32_t (&weights)[4][4]) {
#pragma unroll
  for (int n = 0; n < 8; ++n)
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float a = values[n][2 * r], b = values[n][2 * r + 1];
      weights[n / 2][n % 2 * 2 + r] =
          Block::kWidens ? f16Pair(a, b) : bf16Pair(a, b);
    }
}

/// The product of the element type that a block's tiles have.
template <typename Block, bool transposed, bool adds, int columns>
__device__ __forceinline__ void multiply(float (&d)[columns][4],
                                         const uint32_t (&a)[4], uint64_t b) {
  if constexpr (Block::kWidens)
    wgmmaRowsF16<transposed, adds>(d, a, b);
  else
    wgmmaRowsBf16<transposed, adds>(d, a, b);
}

/// Begins to multiply queries and a tile's keys.
template <typename Block, typename A>
__device__ __forceinline__ void
beginScores(const PrefillRows<A> &rows, uint32_t keys, float (&scores)[8][4]) {
  uint64_t first = swizzledTile(keys);
  wgmmaFence();
  multiply<Block, false, false>(scores, rows.q[0], first);
#pragma unroll
  for (int step = 1; step < A::kHeadDim / 16; ++step)
    multiply<Block, false, true>(
        scores, rows.q[step],
        first + (step / 4 * Block::kHalfBytes + step % 4 * 32) / 16);
  wgmmaCommit();
}

/// Begins to add weights times a tile's values.
template <typename Block, typename A>
__device__ __forceinline__ void beginSums(PrefillRows<A> &rows, uint32_t values,
                                          const uint32_t (&weights)[4][4]) {
  uint64_t first = swizzledColumns(values, Block::kHalfBytes);
  wgmmaFence();
#pragma unroll
  for (int step = 0; step < 4; ++step)
    multiply<Block, true, true>(rows.sum, weights[step],
                                first + step * 2048 / 16);
  wgmmaCommit();
}

/// Adds all positions of `tiles` to the rows of all warps.
template <typename Block, typename A>
__device__ __forceinline__ void
addPositions(const LaunchParams &p, PrefillRows<A> &rows,
             const PrefillTiles &tiles, int kvHead, uint8_t *stages,
             int (&slots)[Block::kStages][Block::kTile], int *firstBad) {
  constexpr int kStages = Block::kStages, kAhead = Block::kAhead;
  uint32_t place = sharedAddress(stages);
  int count = (tiles.end - tiles.begin + Block::kTile - 1) / Block::kTile;
  int all = min(rows.visible[0], rows.visible[1]); // that all rows see
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2)
    all = min(all, __shfl_xor_sync(kFullWarp, all, distance));
  auto copy = [&](int tile) {
    if (tile < count)
      copyTile<Block>(p, kvHead, slots[tile % kStages],
                      place + tile % kStages * Block::kRawBytes);
    commitCopies();
  };
  // Where a tile's keys lie for products.
  constexpr int kWide = kStages * Block::kRawBytes;
  auto keysOf = [&](int tile) {
    if constexpr (Block::kWidens)
      return place + kWide + tile % 2 * 2 * Block::kMatrixBytes;
    else
      return place + tile % kStages * Block::kRawBytes;
  };
  // By all threads, behind a barrier after the tile's copies.
  auto widen = [&](int tile) {
    if constexpr (Block::kWidens) {
      if (tile < count)
        widenTile<Block>(stages + tile % kStages * Block::kRawBytes,
                         stages + kWide + tile % 2 * 2 * Block::kMatrixBytes);
      fenceForTensorCores();
      __syncthreads();
    }
  };

#pragma unroll 1
  for (int tile = 0; tile <= kAhead; ++tile) {
    int slot = slotOf<Block>(tiles, tile, firstBad);
    if (threadIdx.x < Block::kTile)
      slots[tile][threadIdx.x] = slot;
  }
  __syncthreads();
#pragma unroll 1
  for (int tile = 0; tile < kAhead; ++tile)
    copy(tile);
  waitCopies<kAhead - 1>();
  fenceForTensorCores();
  __syncthreads();
  widen(0);
  float scores[8][4], shrink[2];
  uint32_t weights[4][4];
  beginScores<Block>(rows, keysOf(0), scores);
  wgmmaWaitAllBut<0>();
  settle(scores);
  if (weigh<true>(rows, scores, tiles.begin, shrink))
    rows.rescale(shrink);
  packWeights<Block>(scores, weights);
#pragma unroll 1
  for (int tile = 0; tile + 1 < count; ++tile) {
    // The next tile has arrived, and nobody reads the one before this.
    waitCopies<kAhead - 2>();
    fenceForTensorCores();
    __syncthreads();
    copy(tile + kAhead);
    int slot = slotOf<Block>(tiles, tile + kAhead + 1, firstBad);
    widen(tile + 1);
    beginScores<Block>(rows, keysOf(tile + 1), scores);
    beginSums<Block>(rows, keysOf(tile) + Block::kMatrixBytes, weights);
    wgmmaWaitAllBut<1>();
    settle(scores);
    int first = tiles.begin + (tile + 1) * Block::kTile;
    bool grows = first + Block::kTile <= all
                     ? weigh<false>(rows, scores, first, shrink)
                     : weigh<true>(rows, scores, first, shrink);
    wgmmaWaitAllBut<0>();
    settle(rows.sum);
    if (grows)
      rows.rescale(shrink);
    packWeights<Block>(scores, weights);
    if (threadIdx.x < Block::kTile)
      slots[(tile + kAhead + 1) % kStages][threadIdx.x] = slot;
  }
  beginSums<Block>(rows, keysOf(count - 1) + Block::kMatrixBytes, weights);
  wgmmaWaitAllBut<0>();
  settle(rows.sum);
  waitCopies<0>();
  __syncthreads();
}

/// What the tokens of a CTA see, and of which sequence, in shared memory.
template <typename Block>
struct PrefillTokens {
  using A = typename Block::Attention;
  int visibles[Block::kTokens];
  i32 sequences[Block::kTokens];

  __device__ __forceinline__ void load(const LaunchParams &p,
                                       const PrefillPlace<Block> &place) {
    for (int i = static_cast<int>(threadIdx.x); i < Block::kTokens;
         i += Block::kThreads) {
      bool real = place.blockToken + i < place.blockEnd;
      visibles[i] = real ? A::visibleTo(p, place.blockToken + i) : 0;
      sequences[i] = real ? A::sequenceOf(p, place.blockToken + i) : 0;
    }
  }
  /// The most that a token of `leader`'s sequence sees; 0 when an earlier token
  /// shares it, or it sees nothing.
  __device__ __forceinline__ int mostOf(int leader) const {
    i32 sequence = sequences[leader];
    int most = 0;
    bool repeated = visibles[leader] == 0;
#pragma unroll 1
    for (int i = 0; i < Block::kTokens && !repeated; ++i)
      if (visibles[i] != 0 && sequences[i] == sequence) {
        repeated = i < leader;
        most = max(most, visibles[i]);
      }
    return repeated ? 0 : most;
  }
  /// What the lane's token of row g + 8 r sees of `sequence` before `end`.
  __device__ __forceinline__ int visibleOf(const PrefillPlace<Block> &place,
                                           int r, i32 sequence, int end) const {
    uint32_t token = place.tokenOf(r);
    int i = static_cast<int>(token - place.blockToken);
    bool mine = token < place.tokens && sequences[i] == sequence;
    return mine ? min(visibles[i], end) : 0;
  }
};

/// Grid: ranges, kv heads, groups of `warps` pairs of (16 tokens, head of a
/// kv head). `sharedBytes` of dynamic shared memory.
template <typename A, int warps, int sharedBytes>
__device__ void attentionPrefill(const LaunchParams &p, float scale) {
  using Block = PrefillBlock<A, warps>;
  static_assert(Block::kSharedBytes == sharedBytes,
                "the launch reserves what the tiles need");
  extern __shared__ __align__(16) uint8_t shared[];
  uint8_t *stages = shared + (-sharedAddress(shared) & 1023);
  __shared__ PrefillTokens<Block> tokens;
  __shared__ int firstBad;
  __shared__ int slots[Block::kStages][Block::kTile];
  PrefillPlace<Block> place(p);
  if (place.blockToken >= place.tokens)
    return;
  tokens.load(p, place);
  PrefillRows<A> rows = {};
  rows.begin(p, place, scale);
  __syncthreads();

  // One sequence after the other: the one of the first token that no earlier
  // token of the block shares.
#pragma unroll 1
  for (int leader = 0; leader < Block::kTokens; ++leader) {
    i32 sequence = tokens.sequences[leader];
    int most = tokens.mostOf(leader), length = A::rangeLength(most);
    int begin = static_cast<int>(blockIdx.x) * length;
    int end = min(begin + length, most);
    if (begin >= most)
      continue;
#pragma unroll
    for (int r = 0; r < 2; ++r)
      rows.visible[r] = tokens.visibleOf(place, r, sequence, end);
    if (threadIdx.x == 0)
      firstBad = 0x7fffffff;
    __syncthreads();
    addPositions<Block>(p, rows,
                        {A::pagesOf(p, sequence), A::pageCount(p), begin, end},
                        place.kvHead, stages, slots, &firstBad);
#pragma unroll
    for (int r = 0; r < 2; ++r)
      rows.bad[r] |= rows.visible[r] > firstBad;
    __syncthreads();
  }
  rows.store(p, place);
}

} // namespace saddle::device
