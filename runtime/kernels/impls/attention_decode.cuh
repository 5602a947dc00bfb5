// Attention of tokens that are alone in their sequence (decode), for bf16
// queries over bf16 or e4m3 caches: flash decoding on mma.sync.
//
// One CTA per (range, group of up to 8 query heads of one kv head, token); its
// warps take tiles of 16 positions in turn and meet at the end. All heads of
// the group share each load. Keys and values go from global memory straight to
// registers in 16-byte loads, no shared memory: a dot product does not care
// about the order of its elements, so positions inside a row are dealt to
// fragment registers as they are loaded. S = Q K^T has heads as rows and leaves
// the weights where O^T = V^T P^T, with heads as columns, wants them, so
// nothing moves between lanes in the loop. While one tile is worked on, the
// next one's keys, then values, are under way: about 6 KB per warp, 72 KB per
// SM.
//
// Rounding: bf16 caches use the weights as two bf16 parts (error 2^-17); e4m3
// caches as f16 (2^-12), and queries as f16 scaled by a power of two per head.
// Floor: the bytes of the visible keys and values.

#pragma once

#include "runtime/kernels/impls/attention.cuh"
#include "runtime/kernels/ptx/mma.cuh"

namespace saddle::device {

/// How a lane holds 16 positions of a cache row: loads and fragments by element
/// type. Lane 4 g + t: for keys position g of each half, every fourth 16-byte
/// piece from t on; for values positions 2 t, 2 t + 1, 2 t + 8, 2 t + 9, every
/// eighth piece from g on.
template <typename T, int headDim>
struct CacheTile;

template <int headDim>
struct CacheTile<bf16, headDim> {
  static_assert(headDim % 64 == 0, "lanes share rows in pieces of 8 elements");
  static constexpr int kElements = 8; // of a piece
  static constexpr int kKeyPieces = headDim / 32;
  static constexpr int kValuePieces = headDim / 64;

  /// d += the products of a piece of the query and a piece of keys.
  static __device__ __forceinline__ void
  multiply(float (&d)[4], const uint32_t (&q)[4], uint4 k) {
    mmaBf16(d, q[0], 0, q[1], 0, k.x, k.y);
    mmaBf16(d, q[2], 0, q[3], 0, k.z, k.w);
  }
  static constexpr int kQueryRegisters = 4; // of a piece
  /// Four positions' pieces as pairs of elements.
  static constexpr int kPairs = 4;
  static __device__ __forceinline__ void pairs(uint4 piece,
                                               uint32_t (&out)[kPairs]) {
    out[0] = piece.x, out[1] = piece.y, out[2] = piece.z, out[3] = piece.w;
  }
};

template <int headDim>
struct CacheTile<e4m3, headDim> {
  static_assert(headDim % 128 == 0,
                "lanes share rows in pieces of 16 elements");
  static constexpr int kElements = 16;
  static constexpr int kKeyPieces = headDim / 64;
  static constexpr int kValuePieces = headDim / 128;
  static constexpr int kQueryRegisters = 8;
  static constexpr int kPairs = 8;

  static __device__ __forceinline__ void pairs(uint4 piece,
                                               uint32_t (&out)[kPairs]) {
    uint32_t words[4] = {piece.x, piece.y, piece.z, piece.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      out[2 * i] = e4m3PairToF16(words[i]);
      out[2 * i + 1] = e4m3PairToF16(words[i] >> 16);
    }
  }
  static __device__ __forceinline__ void
  multiply(float (&d)[4], const uint32_t (&q)[8], uint4 k) {
    uint32_t codes[kPairs];
    pairs(k, codes);
#pragma unroll
    for (int i = 0; i < kPairs; i += 2)
      mmaF16(d, q[i], 0, q[i + 1], 0, codes[i], codes[i + 1]);
  }
};

/// Two floats as a bf16 pair and, in `rest`, what rounding took off.
__device__ __forceinline__ uint32_t bf16Pair(float a, float b, uint32_t &rest) {
  uint32_t pair = bf16Pair(a, b);
  float2 rounded = bf16Values(pair);
  rest = bf16Pair(a - rounded.x, b - rounded.y);
  return pair;
}

/// The query of head `lane / 4` as fragments; its scores come out multiplied by
/// the result.
template <typename A, typename Tile>
__device__ __forceinline__ float
loadQuery(const LaunchParams &p, uint32_t token, int head, bool real,
          uint32_t (&q)[Tile::kKeyPieces][Tile::kQueryRegisters]) {
  int t = static_cast<int>(threadIdx.x) % 4;
  const bf16 *row = A::Query::row(p.operands[0], token) + head * A::kHeadDim;
  constexpr bool kF16 = Tile::kElements == 16;
  float largest = 0;
#pragma unroll
  for (int i = 0; i < Tile::kKeyPieces; ++i)
#pragma unroll
    for (int j = 0; j < Tile::kQueryRegisters; j += 4) {
      uint4 piece = {};
      if (real)
        piece = *reinterpret_cast<const uint4 *>(
            row + (i * 4 + t) * Tile::kElements + 2 * j);
      q[i][j] = piece.x, q[i][j + 1] = piece.y;
      q[i][j + 2] = piece.z, q[i][j + 3] = piece.w;
#pragma unroll
      for (int r = j; kF16 && r < j + 4; ++r) {
        float2 pair = bf16Values(q[i][r]);
        largest = fmaxf(largest, fmaxf(fabsf(pair.x), fabsf(pair.y)));
      }
    }
  if constexpr (!kF16)
    return 1;
  // Divide by the power of two that brings the largest to [1, 2).
  largest = fmaxf(largest, __shfl_xor_sync(kFullWarp, largest, 1));
  largest = fmaxf(largest, __shfl_xor_sync(kFullWarp, largest, 2));
  float power = powerBelow(largest), shrink = 1 / power;
#pragma unroll
  for (int i = 0; i < Tile::kKeyPieces; ++i)
#pragma unroll
    for (int r = 0; r < Tile::kQueryRegisters; ++r) {
      float2 pair = bf16Values(q[i][r]);
      q[i][r] = f16Pair(pair.x * shrink, pair.y * shrink);
    }
  return power;
}

template <typename A, int warps>
__device__ void attentionDecode(const LaunchParams &p, float scale) {
  using T = typename A::Keys::Element;
  using Tile = CacheTile<T, A::kHeadDim>;
  constexpr int kTile = 16;
  constexpr int kGroups = (A::kPerKvHead + 7) / 8;
  constexpr int kRows = A::kHeadDim / 16; // fragments of 16 dims
  // A weight may exceed the running maximum's by 2^kSlack before sums are
  // rescaled.
  constexpr float kSlack = 8;
  static_assert(A::kPageSize % kTile == 0, "a tile lies in one page");
  static_assert(A::kUnit % (kTile * warps) == 0 || warps % 4 == 0,
                "ranges are whole tiles");

  uint32_t token = blockIdx.z;
  if (token >= A::tokens(p))
    return;
  int visible = A::visibleTo(p, token), length = A::rangeLength(visible);
  int split = static_cast<int>(blockIdx.x);
  int begin = split * length, end = min(begin + length, visible);
  if (begin >= visible && A::kSplits > 1)
    return;
  int lane = static_cast<int>(threadIdx.x) % 32;
  int warp = static_cast<int>(threadIdx.x) / 32;
  int g = lane / 4, t = lane % 4;
  int kvHead = static_cast<int>(blockIdx.y) / kGroups;
  int inGroup = static_cast<int>(blockIdx.y) % kGroups * 8;
  int firstHead = kvHead * A::kPerKvHead + inGroup;
  bool real = inGroup + g < A::kPerKvHead;

  uint32_t q[Tile::kKeyPieces][Tile::kQueryRegisters];
  float factor = loadQuery<A, Tile>(p, token, firstHead + g, real, q);
  factor *= scale * kLog2E;

  // This warp's tiles, and the pages of the next 32 of them, one per lane.
  int tiles =
      max((end - begin + kTile - 1) / kTile - warp + warps - 1, 0) / warps;
  const i32 *table = visible ? A::pagesOf(p, A::sequenceOf(p, token)) : nullptr;
  const uint32_t pageCount = A::pageCount(p);
  i32 pages = 0;
  bool bad = false;
  auto positionOf = [&](int tile) {
    return begin + (tile * warps + warp) * kTile;
  };
  auto slotOf = [&](int tile) {
    if (tile % 32 == 0 && tile < tiles) {
      pages = tile + lane < tiles
                  ? table[positionOf(tile + lane) / A::kPageSize]
                  : 0;
      bool isPage = static_cast<uint32_t>(pages) < pageCount;
      bad |= !isPage;
      pages = isPage ? pages : 0;
    }
    i32 page = __shfl_sync(kFullWarp, pages, tile % 32);
    return static_cast<int64_t>(page) * A::kPageSize +
           positionOf(tile) % A::kPageSize;
  };
  const T *keyBase = static_cast<const T *>(p.operands[1]) +
                     kvHead * A::kHeadDim + t * Tile::kElements;
  const T *valueBase = static_cast<const T *>(p.operands[2]) +
                       kvHead * A::kHeadDim + g * Tile::kElements;

  uint4 k[2][Tile::kKeyPieces], v[4][Tile::kValuePieces];
  auto loadKeys = [&](int64_t slot) {
#pragma unroll
    for (int half = 0; half < 2; ++half)
#pragma unroll
      for (int i = 0; i < Tile::kKeyPieces; ++i)
        k[half][i] =
            loadOnce(keyBase + (slot + half * 8 + g) * A::Keys::kStride +
                     i * 4 * Tile::kElements);
  };
  auto loadValues = [&](int64_t slot, int position) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      int row = 2 * t + i % 2 + i / 2 * 8;
#pragma unroll
      for (int j = 0; j < Tile::kValuePieces; ++j) {
        v[i][j] = {};
        // What lies behind the last position may be anything, NaN too.
        if (position + row < end)
          v[i][j] = loadOnce(valueBase + (slot + row) * A::Keys::kStride +
                             j * 8 * Tile::kElements);
      }
    }
  };

  float sum[kRows][4] = {}, m = -INFINITY, l = 0;
  if (tiles > 0) {
    int64_t slot = slotOf(0);
    loadKeys(slot);
    loadValues(slot, positionOf(0));
  }
#pragma unroll 1
  for (int tile = 0; tile < tiles; ++tile) {
    int position = positionOf(tile);
    float products[2][2][4] = {};
#pragma unroll
    for (int i = 0; i < Tile::kKeyPieces; ++i)
#pragma unroll
      for (int half = 0; half < 2; ++half)
        Tile::multiply(products[half][i % 2], q[i], k[half][i]);
    int64_t next = slotOf(tile + 1);
    if (tile + 1 < tiles)
      loadKeys(next);

    // Positions 2 t, 2 t + 1, 2 t + 8, 2 t + 9 of head g.
    float scores[4], largest = -INFINITY;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      float product = products[i / 2][0][i % 2] + products[i / 2][1][i % 2];
      scores[i] = position + 2 * t + i % 2 + i / 2 * 8 < end ? product * factor
                                                             : -INFINITY;
      largest = fmaxf(largest, scores[i]);
    }
    if (__any_sync(kFullWarp, largest > m + kSlack)) {
      largest = fmaxf(largest, __shfl_xor_sync(kFullWarp, largest, 1));
      largest = fmaxf(largest, __shfl_xor_sync(kFullWarp, largest, 2));
      largest = fmaxf(largest, m);
      float shrink = largest == m ? 1 : exp2Fast(m - largest);
      m = largest;
      l *= shrink;
      float even = __shfl_sync(kFullWarp, shrink, 8 * t);
      float odd = __shfl_sync(kFullWarp, shrink, 8 * t + 4);
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        sum[r][0] *= even, sum[r][1] *= odd;
        sum[r][2] *= even, sum[r][3] *= odd;
      }
    }
    float weights[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      weights[i] = exp2Fast(scores[i] - m);
      l += weights[i];
    }

    uint32_t w[2], rest[2];
    if constexpr (Tile::kElements == 8) {
      w[0] = bf16Pair(weights[0], weights[1], rest[0]);
      w[1] = bf16Pair(weights[2], weights[3], rest[1]);
    } else {
      w[0] = f16Pair(weights[0], weights[1]);
      w[1] = f16Pair(weights[2], weights[3]);
    }
#pragma unroll
    for (int j = 0; j < Tile::kValuePieces; ++j) {
      uint32_t pairs[4][Tile::kPairs];
#pragma unroll
      for (int i = 0; i < 4; ++i)
        Tile::pairs(v[i][j], pairs[i]);
#pragma unroll
      for (int x = 0; x < Tile::kPairs; ++x) {
        uint32_t a0 = lowHalves(pairs[0][x], pairs[1][x]);
        uint32_t a1 = highHalves(pairs[0][x], pairs[1][x]);
        uint32_t a2 = lowHalves(pairs[2][x], pairs[3][x]);
        uint32_t a3 = highHalves(pairs[2][x], pairs[3][x]);
        float (&d)[4] = sum[j * Tile::kPairs + x];
        if constexpr (Tile::kElements == 8) {
          mmaBf16(d, a0, a1, a2, a3, w[0], w[1]);
          mmaBf16(d, a0, a1, a2, a3, rest[0], rest[1]);
        } else {
          mmaF16(d, a0, a1, a2, a3, w[0], w[1]);
        }
      }
    }
    if (tile + 1 < tiles)
      loadValues(next, positionOf(tile + 1));
  }

  // Meet: (m, l) of all warps, then each warp's sums at the common maximum.
  __shared__ float2 warpStats[warps][8];
  __shared__ float warpSums[warps][8][A::kHeadDim + 2];
  l += __shfl_xor_sync(kFullWarp, l, 1);
  l += __shfl_xor_sync(kFullWarp, l, 2);
  if (t == 0)
    warpStats[warp][g] = {m, l};
  bad = __syncthreads_or(bad);
  auto shareOf = [&](int w, int head) {
    float most = -INFINITY;
#pragma unroll
    for (int i = 0; i < warps; ++i)
      most = fmaxf(most, warpStats[i][head].x);
    float2 stat = warpStats[w][head];
    return stat.y != 0 ? exp2Fast(stat.x - most) : 0;
  };
  float even = shareOf(warp, 2 * t), odd = shareOf(warp, 2 * t + 1);
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    int d = r / Tile::kPairs * 8 * Tile::kElements + g * Tile::kElements +
            r % Tile::kPairs * 2;
    *reinterpret_cast<float2 *>(&warpSums[warp][2 * t][d]) = {sum[r][0] * even,
                                                              sum[r][2] * even};
    *reinterpret_cast<float2 *>(&warpSums[warp][2 * t + 1][d]) = {
        sum[r][1] * odd, sum[r][3] * odd};
  }
  __syncthreads();
  constexpr int kPairsOfRow = A::kHeadDim / 2;
  for (int i = static_cast<int>(threadIdx.x); i < 8 * kPairsOfRow;
       i += warps * 32) {
    int head = i / kPairsOfRow, d = i % kPairsOfRow * 2;
    if (inGroup + head >= A::kPerKvHead)
      break;
    float2 value = {0, 0};
    float total = 0, most = -INFINITY;
#pragma unroll
    for (int w = 0; w < warps; ++w) {
      float2 part = *reinterpret_cast<float2 *>(&warpSums[w][head][d]);
      value.x += part.x;
      value.y += part.y;
      total += warpStats[w][head].y * shareOf(w, head);
      most = fmaxf(most, warpStats[w][head].x);
    }
    if constexpr (A::kSplits == 1) {
      bool zero = visible == 0 || bad;
      bf16 *out = A::Result::row(p.operands[6], token) +
                  (firstHead + head) * A::kHeadDim + d;
      *reinterpret_cast<__nv_bfloat162 *>(out) = __floats2bfloat162_rn(
          zero ? 0 : value.x / total, zero ? 0 : value.y / total);
    } else {
      int64_t part = A::part(token, firstHead + head, split);
      *reinterpret_cast<float2 *>(A::sums(p, part) + d) = value;
      if (d == 0)
        *A::stats(p, part) = {most, bad ? -1.0f : total};
    }
  }
}

} // namespace saddle::device
