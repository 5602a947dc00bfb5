// Attention of steps with several tokens of a sequence (prefill), for bf16
// queries over bf16 or e4m3 caches: flash attention on mma.sync.
//
// One CTA per (range, group of query heads of one kv head, block of tokens). A
// warp holds 16 tokens of one head; all warps share tiles of 64 positions in
// shared memory, the next one fetched while one is worked on. Tokens of a block
// may belong to any sequences and stand at any positions: the CTA takes the
// block's sequences one after the other, and a token ignores all but its own.
//
// Rounding: weights are rounded to bf16 before they meet the values and are
// summed as rounded (relative error 2^-9 of each weight, no bias); the rest is
// fp32. Floor: 4 * head_dim flops per pair of token and visible position on the
// tensor cores; this kernel reaches what mma.sync allows, not wgmma.

#pragma once

#include "runtime/kernels/impls/attention.cuh"
#include "runtime/kernels/ptx/copy_async.cuh"
#include "runtime/kernels/ptx/mma.cuh"

namespace saddle::device {

/// Which tokens and heads a CTA of attentionPrefill has, and its shared memory.
template <typename A, int headsOfBlock, int tokenTiles>
struct PrefillBlock {
  using T = typename A::Keys::Element;
  static constexpr bool kWidens = sizeof(T) == 1;
  static constexpr int kWarps = headsOfBlock * tokenTiles;
  static constexpr int kThreads = kWarps * 32;
  static constexpr int kTokens = 16 * tokenTiles;
  static constexpr int kGroups =
      (A::kPerKvHead + headsOfBlock - 1) / headsOfBlock;
  static constexpr int kTile = 64;
  // 16-byte pieces of a row: in the cache, and in shared memory as bf16.
  static constexpr int kPieces = A::kHeadDim * sizeof(T) / 16;
  static constexpr int kChunks = A::kHeadDim / 8;
  static constexpr int kRawBytes = 2 * kTile * kPieces * 16;
  static constexpr int kTileBytes = 2 * kTile * kChunks * 16;
  /// Two stages as they lie in the cache; e4m3 is widened into a third place.
  static constexpr int kSharedBytes =
      2 * kRawBytes + (kWidens ? kTileBytes : 0);
  static_assert(kChunks % 8 == 0, "rows are swizzled in groups of 8 chunks");

  /// Byte offset of chunk `chunk` of row `row` of a tile: chunks of eight rows
  /// lie in different banks.
  static __device__ __forceinline__ uint32_t chunkOffset(int row, int chunk) {
    return static_cast<uint32_t>(row * kChunks + (chunk ^ (row & 7))) * 16;
  }
  static constexpr uint32_t kRowBytes = kChunks * 16;
};

/// Fetches positions first .. first + 64 of a sequence: keys, then values.
/// Zeros from `end` on. A page outside the cache lowers `firstBad`.
template <typename A, typename Block>
__device__ __forceinline__ void
fetchTile(const LaunchParams &p, const i32 *pages, int kvHead, int first,
          int end, uint32_t raw, int *firstBad) {
  constexpr int kPieces = Block::kPieces, kTile = Block::kTile;
#pragma unroll 1 // registers are scarce here
  for (int i = static_cast<int>(threadIdx.x); i < kTile * kPieces;
       i += Block::kThreads) {
    int row = i / kPieces, piece = i % kPieces, position = first + row;
    i32 page = position < end ? pages[position / A::kPageSize] : 0;
    bool real = position < end && A::isPage(page);
    if (position < end && !real)
      atomicMin(firstBad, position);
    int64_t slot = real ? static_cast<int64_t>(page) * A::kPageSize +
                              position % A::kPageSize
                        : 0;
    int64_t offset = slot * A::Keys::kStride + kvHead * A::kHeadDim;
    uint32_t place = Block::kWidens ? static_cast<uint32_t>(i) * 16
                                    : Block::chunkOffset(row, piece);
    using T = typename Block::T;
    constexpr int kElements = 16 / sizeof(T);
    uint32_t bytes = real ? 16 : 0;
    copyAsync16(raw + place,
                static_cast<const T *>(p.operands[1]) + offset +
                    piece * kElements,
                bytes);
    copyAsync16(raw + Block::kRawBytes / 2 + place,
                static_cast<const T *>(p.operands[2]) + offset +
                    piece * kElements,
                bytes);
  }
}

/// Two bf16 of two e4m3 codes: exact.
__device__ __forceinline__ uint32_t e4m3PairToBf16(uint32_t codes) {
  uint32_t pair = e4m3PairToF16(codes);
  float2 values = __half22float2(*reinterpret_cast<__half2 *>(&pair));
  __nv_bfloat162 rounded = __floats2bfloat162_rn(values.x, values.y);
  return *reinterpret_cast<uint32_t *>(&rounded);
}

/// Keys and values of a fetched tile from e4m3 to bf16.
template <typename Block>
__device__ __forceinline__ void widenTile(const uint8_t *raw, uint8_t *tile) {
  constexpr int kAll = 2 * Block::kTile * Block::kPieces;
#pragma unroll 1
  for (int i = static_cast<int>(threadIdx.x); i < kAll; i += Block::kThreads) {
    uint4 codes = *reinterpret_cast<const uint4 *>(raw + i * 16);
    int row = i / Block::kPieces, piece = i % Block::kPieces;
    uint8_t *base = tile + row / Block::kTile * (Block::kTileBytes / 2);
    row %= Block::kTile;
    uint4 low = {e4m3PairToBf16(codes.x), e4m3PairToBf16(codes.x >> 16),
                 e4m3PairToBf16(codes.y), e4m3PairToBf16(codes.y >> 16)};
    uint4 high = {e4m3PairToBf16(codes.z), e4m3PairToBf16(codes.z >> 16),
                  e4m3PairToBf16(codes.w), e4m3PairToBf16(codes.w >> 16)};
    *reinterpret_cast<uint4 *>(base + Block::chunkOffset(row, piece * 2)) = low;
    *reinterpret_cast<uint4 *>(base + Block::chunkOffset(row, piece * 2 + 1)) =
        high;
  }
}

/// What a warp knows of its 16 rows: lane 4 g + t has rows g and g + 8.
template <typename A>
struct PrefillRows {
  uint32_t q[A::kHeadDim / 16][4];
  float sum[A::kHeadDim / 8][4];
  float m[2], l[2];
  int visible[2]; // 0: not of the sequence at hand
};

/// Scores to weights, as bf16 pairs by [row][n]; the rows' maxima, totals and
/// sums follow. Sums are rescaled only when a weight would exceed 2^kSlack.
template <typename A, int columns>
__device__ __forceinline__ void
weigh(PrefillRows<A> &rows, float (&scores)[columns][4], int first,
      float factor, uint32_t (&weights)[columns][2]) {
  constexpr float kSlack = 8;
  int t = static_cast<int>(threadIdx.x) % 4;
  float largest[2] = {-INFINITY, -INFINITY};
#pragma unroll
  for (int n = 0; n < columns; ++n)
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      bool seen = first + n * 8 + 2 * t + i % 2 < rows.visible[i / 2];
      scores[n][i] = seen ? scores[n][i] * factor : -INFINITY;
      largest[i / 2] = fmaxf(largest[i / 2], scores[n][i]);
    }
  if (__any_sync(kFullWarp, largest[0] > rows.m[0] + kSlack ||
                                largest[1] > rows.m[1] + kSlack))
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float most = largest[r];
      most = fmaxf(most, __shfl_xor_sync(kFullWarp, most, 1));
      most = fmaxf(most, __shfl_xor_sync(kFullWarp, most, 2));
      most = fmaxf(most, rows.m[r]);
      float shrink = most == rows.m[r] ? 1 : exp2Fast(rows.m[r] - most);
      rows.m[r] = most;
      rows.l[r] *= shrink;
#pragma unroll
      for (int n = 0; n < A::kHeadDim / 8; ++n) {
        rows.sum[n][2 * r] *= shrink;
        rows.sum[n][2 * r + 1] *= shrink;
      }
    }
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    float base = rows.m[r] == -INFINITY ? 0 : rows.m[r]; // nothing seen so far
#pragma unroll
    for (int n = 0; n < columns; ++n) {
      __nv_bfloat162 pair =
          __floats2bfloat162_rn(exp2Fast(scores[n][2 * r] - base),
                                exp2Fast(scores[n][2 * r + 1] - base));
      rows.l[r] += __low2float(pair) + __high2float(pair);
      weights[n][r] = *reinterpret_cast<uint32_t *>(&pair);
    }
  }
}

/// Adds the positions of a tile, from `first` on, to the rows of a warp: 32 at
/// a time.
template <typename A, typename Block>
__device__ __forceinline__ void addTile(PrefillRows<A> &rows, uint32_t keys,
                                        uint32_t values, int first,
                                        float factor) {
  constexpr int kColumns = 4; // of 8 positions
  int lane = static_cast<int>(threadIdx.x) % 32;
  // Where this lane's row begins in the first matrix of each load: eight rows
  // further swizzle alike, and chunks differ in bits that these cover.
  uint32_t keyRows[2], valueRows[4];
#pragma unroll
  for (int i = 0; i < 2; ++i)
    keyRows[i] = keys + Block::chunkOffset(lane % 8, i * 4 + lane / 8);
#pragma unroll
  for (int i = 0; i < 4; ++i)
    valueRows[i] = values + Block::chunkOffset(lane % 16, i * 2 + lane / 16);
#pragma unroll
  for (int part = 0; part < Block::kTile; part += kColumns * 8) {
    float scores[kColumns][4] = {};
    // Matrices of a load: 8 keys x (dims 0-7, 8-15 of two steps).
#pragma unroll
    for (int step = 0; step < A::kHeadDim / 16; step += 2)
#pragma unroll
      for (int n = 0; n < kColumns; ++n) {
        uint32_t k[4];
        loadMatrices(k, keyRows[step / 2 % 2] + step / 4 * 128 +
                            (part + n * 8) * Block::kRowBytes);
        const auto &q = rows.q;
        mmaBf16(scores[n], q[step][0], q[step][1], q[step][2], q[step][3], k[0],
                k[1]);
        mmaBf16(scores[n], q[step + 1][0], q[step + 1][1], q[step + 1][2],
                q[step + 1][3], k[2], k[3]);
      }
    uint32_t weights[kColumns][2];
    weigh<A, kColumns>(rows, scores, first + part, factor, weights);
    // Matrices of a load: positions 0-7, 8-15 of a step x (8 dims, the next 8).
#pragma unroll
    for (int step = 0; step < kColumns / 2; ++step)
#pragma unroll
      for (int n = 0; n < A::kHeadDim / 8; n += 2) {
        uint32_t v[4];
        loadMatricesTransposed(v, valueRows[n / 2 % 4] + n / 8 * 128 +
                                      (part + step * 16) * Block::kRowBytes);
        const auto &low = weights[2 * step], &high = weights[2 * step + 1];
        mmaBf16(rows.sum[n], low[0], low[1], high[0], high[1], v[0], v[1]);
        mmaBf16(rows.sum[n + 1], low[0], low[1], high[0], high[1], v[2], v[3]);
      }
  }
}

/// Grid: ranges, groups of query heads over all kv heads, blocks of tokens.
/// `sharedBytes` of dynamic shared memory.
template <typename A, int headsOfBlock, int tokenTiles, int sharedBytes>
__device__ void attentionPrefill(const LaunchParams &p, float scale) {
  using Block = PrefillBlock<A, headsOfBlock, tokenTiles>;
  static_assert(Block::kSharedBytes == sharedBytes,
                "the launch reserves what the tiles need");
  extern __shared__ __align__(16) uint8_t shared[];
  __shared__ int visibles[Block::kTokens];
  __shared__ i32 sequences[Block::kTokens];
  __shared__ int firstBad;
  // Later blocks see more positions: they begin first.
  uint32_t block = gridDim.z - 1 - blockIdx.z;
  uint32_t firstToken = block * Block::kTokens, tokens = A::tokens(p);
  if (firstToken >= tokens)
    return;
  int lane = static_cast<int>(threadIdx.x) % 32;
  int warp = static_cast<int>(threadIdx.x) / 32;
  int g = lane / 4, t = lane % 4;
  int kvHead = static_cast<int>(blockIdx.y) / Block::kGroups;
  int inKvHead = static_cast<int>(blockIdx.y) % Block::kGroups * headsOfBlock +
                 warp % headsOfBlock;
  bool realHead = inKvHead < A::kPerKvHead;
  int head = kvHead * A::kPerKvHead + inKvHead;
  int firstRow = warp / headsOfBlock * 16; // in the block

  for (int i = static_cast<int>(threadIdx.x); i < Block::kTokens;
       i += Block::kThreads) {
    bool real = firstToken + i < tokens;
    visibles[i] = real ? A::visibleTo(p, firstToken + i) : 0;
    sequences[i] = real ? A::sequenceOf(p, firstToken + i) : 0;
  }

  PrefillRows<A> rows = {};
  bool bad[2] = {};
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    rows.m[r] = -INFINITY;
    uint32_t token = firstToken + firstRow + g + 8 * r;
    if (!realHead || token >= tokens)
      continue;
    const bf16 *row = A::Query::row(p.operands[0], token) + head * A::kHeadDim;
#pragma unroll
    for (int step = 0; step < A::kHeadDim / 16; ++step) {
      const auto *pairs = reinterpret_cast<const uint32_t *>(row + step * 16);
      rows.q[step][r] = pairs[t];
      rows.q[step][2 + r] = pairs[4 + t];
    }
  }
  __syncthreads();

  float factor = scale * kLog2E;
  // One sequence after the other: the one of the first token that no earlier
  // token of the block shares.
  for (int leader = 0; leader < Block::kTokens; ++leader) {
    i32 sequence = sequences[leader];
    int most = 0;
    bool repeated = visibles[leader] == 0;
    for (int i = 0; i < Block::kTokens && !repeated; ++i)
      if (visibles[i] != 0 && sequences[i] == sequence) {
        repeated = i < leader;
        most = max(most, visibles[i]);
      }
    if (repeated)
      continue;
    int length = A::rangeLength(most);
    int begin = static_cast<int>(blockIdx.x) * length;
    int end = min(begin + length, most);
    if (begin >= most)
      continue;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      int i = firstRow + g + 8 * r;
      rows.visible[r] = sequences[i] == sequence ? min(visibles[i], end) : 0;
    }
    if (threadIdx.x == 0)
      firstBad = 0x7fffffff;
    __syncthreads();

    const i32 *pages = A::pagesOf(p, sequence);
    uint32_t stages = sharedAddress(shared);
    fetchTile<A, Block>(p, pages, kvHead, begin, end, stages, &firstBad);
    commitCopies();
    int stage = 0;
#pragma unroll 1
    for (int first = begin; first < end; first += Block::kTile, stage ^= 1) {
      if (first + Block::kTile < end)
        fetchTile<A, Block>(p, pages, kvHead, first + Block::kTile, end,
                            stages + (stage ^ 1) * Block::kRawBytes, &firstBad);
      commitCopies();
      waitCopies<1>();
      __syncthreads();
      uint32_t tile = stages + stage * Block::kRawBytes;
      if constexpr (Block::kWidens) {
        widenTile<Block>(shared + stage * Block::kRawBytes,
                         shared + 2 * Block::kRawBytes);
        tile = stages + 2 * Block::kRawBytes;
        __syncthreads();
      }
      addTile<A, Block>(rows, tile, tile + Block::kTileBytes / 2, first,
                        factor);
      __syncthreads();
    }
#pragma unroll
    for (int r = 0; r < 2; ++r)
      bad[r] |= rows.visible[r] > firstBad;
    __syncthreads();
  }

#pragma unroll
  for (int r = 0; r < 2; ++r) {
    float l = rows.l[r];
    l += __shfl_xor_sync(kFullWarp, l, 1);
    l += __shfl_xor_sync(kFullWarp, l, 2);
    uint32_t token = firstToken + firstRow + g + 8 * r;
    if (!realHead || token >= tokens)
      continue;
    if constexpr (A::kSplits == 1) {
      float share = l == 0 || bad[r] ? 0 : 1 / l;
      bf16 *out = A::Result::row(p.operands[6], token) + head * A::kHeadDim;
#pragma unroll
      for (int n = 0; n < A::kHeadDim / 8; ++n)
        *reinterpret_cast<__nv_bfloat162 *>(out + n * 8 + 2 * t) =
            __floats2bfloat162_rn(share == 0 ? 0 : rows.sum[n][2 * r] * share,
                                  share == 0 ? 0
                                             : rows.sum[n][2 * r + 1] * share);
    } else {
      int64_t part = A::part(token, head, static_cast<int>(blockIdx.x));
      float *sums = A::sums(p, part);
      if (l != 0)
#pragma unroll
        for (int n = 0; n < A::kHeadDim / 8; ++n)
          *reinterpret_cast<float2 *>(sums + n * 8 + 2 * t) = {
              rows.sum[n][2 * r], rows.sum[n][2 * r + 1]};
      if (t == 0)
        *A::stats(p, part) = {rows.m[r], bad[r] ? -1.0f : l};
    }
  }
}

} // namespace saddle::device
