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
// next one's keys, then values, are under way (with two tiles the one behind
// it, too): about 6 KB per warp, 72 KB per SM.
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

/// The query of head `lane / 4`, which begins at `row`, as fragments; its
/// scores come out multiplied by the result.
template <typename Tile>
__device__ __forceinline__ float
loadQuery(const bf16 *row, bool real,
          uint32_t (&q)[Tile::kKeyPieces][Tile::kQueryRegisters]) {
  int t = static_cast<int>(threadIdx.x) % 4;
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

/// What a CTA, or several of them, works on: a token, a range of its positions,
/// and up to kDecodeHeads heads of one kv head.
template <typename A>
struct DecodePlace {
  static constexpr int kGroups =
      (A::kPerKvHead + kDecodeHeads - 1) / kDecodeHeads;

  uint32_t token;
  int visible, split, begin, end;
  int kvHead, inGroup, firstHead;

  __device__ __forceinline__ DecodePlace(const LaunchParams &p, uint32_t token,
                                         int group, int split)
      : token(token), visible(A::visibleTo(p, token)), split(split) {
    int length = A::rangeLength(visible);
    begin = split * length;
    end = min(begin + length, visible);
    kvHead = group / kGroups;
    inGroup = group % kGroups * kDecodeHeads;
    firstHead = kvHead * A::kPerKvHead + inGroup;
  }
  __device__ __forceinline__ bool hasHead(int head) const {
    return inGroup + head < A::kPerKvHead;
  }
};

/// A warp's tiles of a range: every `warps`-th.
template <typename A, int warps>
struct DecodeTiles {
  static_assert(A::kPageSize % kDecodeTile == 0, "a tile lies in one page");
  static_assert(A::kUnit % (kDecodeTile * warps) == 0 || warps % 4 == 0,
                "ranges are whole tiles");

  int begin, count;
  const i32 *table;
  uint32_t pageCount; // of the cache
  i32 pages = 0;      // of the next 32 tiles, one per lane
  bool bad = false;   // a page was outside the cache

  __device__ __forceinline__ DecodeTiles(const LaunchParams &p,
                                         const DecodePlace<A> &place)
      : begin(place.begin + warp() * kTile),
        count(max((place.end - place.begin + kTile - 1) / kTile - warp() +
                      warps - 1,
                  0) /
              warps),
        table(place.visible ? A::pagesOf(p, A::sequenceOf(p, place.token))
                            : nullptr),
        pageCount(A::pageCount(p)) {}

  /// The first position of a tile.
  __device__ __forceinline__ int positionOf(int tile) const {
    return begin + tile * (warps * kTile);
  }
  /// Its slot in the caches. Called for one tile after the other.
  __device__ __forceinline__ int64_t slotOf(int tile) {
    int lane = static_cast<int>(threadIdx.x) % 32;
    if (tile % 32 == 0 && tile < count) {
      pages = tile + lane < count
                  ? table[positionOf(tile + lane) / A::kPageSize]
                  : 0;
      bool isPage = static_cast<uint32_t>(pages) < pageCount;
      bad |= !isPage;
      pages = isPage ? pages : 0;
    }
    i32 page = __shfl_sync(kFullWarp, pages, tile % 32);
    return static_cast<int64_t>(page) * A::kPageSize +
           positionOf(tile) % A::kPageSize;
  }

private:
  static constexpr int kTile = kDecodeTile;
  static __device__ __forceinline__ int warp() {
    return static_cast<int>(threadIdx.x) / 32;
  }
};

/// A warp's queries in registers, and what it does with tiles of keys.
template <typename A>
struct DecodeScores {
  using T = typename A::Keys::Element;
  using Tile = CacheTile<T, A::kHeadDim>;

  /// Keys of a tile: two halves of 8 positions.
  using Keys = uint4[2][Tile::kKeyPieces];

  int g, t, end;
  const T *keyBase;
  float factor = 0; // of scores
  uint32_t q[Tile::kKeyPieces][Tile::kQueryRegisters];

  __device__ __forceinline__ DecodeScores(const LaunchParams &p,
                                          const DecodePlace<A> &place)
      : g(static_cast<int>(threadIdx.x) % 32 / 4),
        t(static_cast<int>(threadIdx.x) % 4), end(place.end) {
    keyBase = static_cast<const T *>(p.operands[1]) +
              place.kvHead * A::kHeadDim + t * Tile::kElements;
  }

  /// `queries`: those of the place's heads, `stride` elements apart.
  __device__ __forceinline__ void loadQueries(const bf16 *queries, int stride,
                                              const DecodePlace<A> &place,
                                              float scale) {
    factor = loadQuery<Tile>(queries + g * stride, place.hasHead(g), q);
    factor *= scale * kLog2E;
  }

  __device__ __forceinline__ void loadKeys(int64_t slot, Keys &k) const {
#pragma unroll
    for (int half = 0; half < 2; ++half)
#pragma unroll
      for (int i = 0; i < Tile::kKeyPieces; ++i)
        k[half][i] =
            loadOnce(keyBase + (slot + half * 8 + g) * A::Keys::kStride +
                     i * 4 * Tile::kElements);
  }
  /// Puts `key` in the place of row `row` of the tile.
  __device__ __forceinline__ void replaceKey(int row, const T *key,
                                             Keys &k) const {
#pragma unroll
    for (int half = 0; half < 2; ++half)
      if (half * 8 + g == row)
#pragma unroll
        for (int i = 0; i < Tile::kKeyPieces; ++i)
          k[half][i] = *reinterpret_cast<const uint4 *>(
              key + (t + i * 4) * Tile::kElements);
  }

  /// products[half][0] + products[half][1] is Q K^T of a half of the tile.
  __device__ __forceinline__ void
  multiplyKeys(const Keys &k, float (&products)[2][2][4]) const {
#pragma unroll
    for (int i = 0; i < Tile::kKeyPieces; ++i)
#pragma unroll
      for (int half = 0; half < 2; ++half)
        Tile::multiply(products[half][i % 2], q[i], k[half][i]);
  }

  /// Products to scores of positions 2 t, 2 t + 1, 2 t + 8, 2 t + 9 of head g,
  /// the tile's first being `position`; the largest of them.
  __device__ __forceinline__ float score(const float (&products)[2][2][4],
                                         int position, float (&scores)[4]) {
    float largest = -INFINITY;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      float product = products[i / 2][0][i % 2] + products[i / 2][1][i % 2];
      scores[i] = position + 2 * t + i % 2 + i / 2 * 8 < end ? product * factor
                                                             : -INFINITY;
      largest = fmaxf(largest, scores[i]);
    }
    return largest;
  }
};

/// Weights of positions 2 t, 2 t + 1, 2 t + 8, 2 t + 9 of a head as the second
/// fragment of products with values.
template <typename Tile>
struct WeightFragment {
  uint32_t w[2], rest[2];

  __device__
      __forceinline__ explicit WeightFragment(const float (&weights)[4]) {
    if constexpr (Tile::kElements == 8) {
      w[0] = bf16Pair(weights[0], weights[1], rest[0]);
      w[1] = bf16Pair(weights[2], weights[3], rest[1]);
    } else {
      w[0] = f16Pair(weights[0], weights[1]);
      w[1] = f16Pair(weights[2], weights[3]);
    }
  }

  /// d += V^T P^T of 16 dims, whose pairs at these four positions lanes have.
  __device__ __forceinline__ void multiply(float (&d)[4], uint32_t v0,
                                           uint32_t v1, uint32_t v2,
                                           uint32_t v3) const {
    uint32_t a0 = lowHalves(v0, v1), a1 = highHalves(v0, v1);
    uint32_t a2 = lowHalves(v2, v3), a3 = highHalves(v2, v3);
    if constexpr (Tile::kElements == 8) {
      mmaBf16(d, a0, a1, a2, a3, w[0], w[1]);
      mmaBf16(d, a0, a1, a2, a3, rest[0], rest[1]);
    } else {
      mmaF16(d, a0, a1, a2, a3, w[0], w[1]);
    }
  }
};

/// Sums of columns 2 t and 2 t + 1 of O^T, heads, by the factors that lanes of
/// these heads have.
template <int rows>
__device__ __forceinline__ void shrinkSums(float (&sum)[rows][4], float shrink,
                                           int t) {
  float even = __shfl_sync(kFullWarp, shrink, 8 * t);
  float odd = __shfl_sync(kFullWarp, shrink, 8 * t + 4);
#pragma unroll
  for (int r = 0; r < rows; ++r) {
    sum[r][0] *= even, sum[r][1] *= odd;
    sum[r][2] *= even, sum[r][3] *= odd;
  }
}

/// A warp's queries, tiles of keys and values in registers, and the result so
/// far of its tiles: m, l and the sums of head g (lane 4 g + t).
template <typename A, int tiles>
struct DecodeWarp : DecodeScores<A> {
  using Scores = DecodeScores<A>;
  using Scores::end;
  using Scores::g;
  using Scores::t;
  using typename Scores::T;
  using typename Scores::Tile;
  static constexpr int kRows = A::kHeadDim / 16; // fragments of 16 dims
  /// A weight may exceed the running maximum's by 2^kSlack before sums are
  /// rescaled.
  static constexpr float kSlack = 8;

  using typename Scores::Keys;
  using Values = uint4[4][Tile::kValuePieces];
  const T *valueBase;
  Keys keys[tiles];
  Values values[tiles];
  /// Columns 2 t and 2 t + 1 of O^T: heads.
  float sum[kRows][4] = {}, m = -INFINITY, l = 0;

  __device__ __forceinline__ DecodeWarp(const LaunchParams &p,
                                        const DecodePlace<A> &place)
      : Scores(p, place) {
    valueBase = static_cast<const T *>(p.operands[2]) +
                place.kvHead * A::kHeadDim + g * Tile::kElements;
  }

  /// `position` is the tile's first one.
  __device__ __forceinline__ void loadValues(int64_t slot, int position,
                                             Values &v) const {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      int row = 2 * t + i % 2 + i / 2 * 8;
#pragma unroll
      for (int j = 0; j < Tile::kValuePieces; ++j)
        v[i][j] = {};
      // What lies behind the last position may be anything, NaN too.
      if (position + row < end) {
        const T *from = valueBase + (slot + row) * A::Keys::kStride;
#pragma unroll
        for (int j = 0; j < Tile::kValuePieces; ++j)
          v[i][j] = loadOnce(from + j * 8 * Tile::kElements);
      }
    }
  }

  /// Products to weights.
  __device__ __forceinline__ void weigh(const float (&products)[2][2][4],
                                        int position, float (&weights)[4]) {
    float scores[4];
    float largest = this->score(products, position, scores);
    if (__any_sync(kFullWarp, largest > m + kSlack))
      raiseMaximum(largest);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      weights[i] = exp2Fast(scores[i] - m);
      l += weights[i];
    }
  }

  /// sum += V^T P^T of the tile.
  __device__ __forceinline__ void addValues(const Values &v,
                                            const float (&weights)[4]) {
    WeightFragment<Tile> fragment(weights);
#pragma unroll
    for (int j = 0; j < Tile::kValuePieces; ++j) {
      uint32_t pairs[4][Tile::kPairs];
#pragma unroll
      for (int i = 0; i < 4; ++i)
        Tile::pairs(v[i][j], pairs[i]);
#pragma unroll
      for (int x = 0; x < Tile::kPairs; ++x)
        fragment.multiply(sum[j * Tile::kPairs + x], pairs[0][x], pairs[1][x],
                          pairs[2][x], pairs[3][x]);
    }
  }

private:
  /// To the largest of all lanes of a head, when some head of the warp needs
  /// it.
  __device__ __forceinline__ void raiseMaximum(float largest) {
    largest = fmaxf(largest, __shfl_xor_sync(kFullWarp, largest, 1));
    largest = fmaxf(largest, __shfl_xor_sync(kFullWarp, largest, 2));
    largest = fmaxf(largest, m);
    float shrink = largest == m ? 1 : exp2Fast(m - largest);
    m = largest;
    l *= shrink;
    shrinkSums(sum, shrink, t);
  }
};

/// The results of a CTA's warps as one: (m, l) of all warps, then each warp's
/// sums at the common maximum.
template <typename A, int warps, typename Warp>
struct DecodeMeeting {
  float2 stats[warps][kDecodeHeads];
  float sums[warps][kDecodeHeads][A::kHeadDim + 2];

  /// All threads of the CTA; whether `bad` is true for any.
  __device__ __forceinline__ bool join(Warp &own, bool bad) {
    using Tile = typename Warp::Tile;
    int warp = static_cast<int>(threadIdx.x) / 32, g = own.g, t = own.t;
    float l = own.l;
    l += __shfl_xor_sync(kFullWarp, l, 1);
    l += __shfl_xor_sync(kFullWarp, l, 2);
    if (t == 0)
      stats[warp][g] = {own.m, l};
    bad = __syncthreads_or(bad);
    float even = shareOf(warp, 2 * t), odd = shareOf(warp, 2 * t + 1);
#pragma unroll
    for (int r = 0; r < Warp::kRows; ++r) {
      int d = r / Tile::kPairs * 8 * Tile::kElements + g * Tile::kElements +
              r % Tile::kPairs * 2;
      const float (&sum)[4] = own.sum[r];
      *reinterpret_cast<float2 *>(&sums[warp][2 * t][d]) = {sum[0] * even,
                                                            sum[2] * even};
      *reinterpret_cast<float2 *>(&sums[warp][2 * t + 1][d]) = {sum[1] * odd,
                                                                sum[3] * odd};
    }
    __syncthreads();
    return bad;
  }

  /// The result, or the range's part of it.
  __device__ __forceinline__ void store(const LaunchParams &p,
                                        const DecodePlace<A> &place, bool bad) {
    constexpr int kPairsOfRow = A::kHeadDim / 2;
    for (int i = static_cast<int>(threadIdx.x); i < kDecodeHeads * kPairsOfRow;
         i += warps * 32) {
      int head = i / kPairsOfRow, d = i % kPairsOfRow * 2;
      if (!place.hasHead(head))
        break;
      float2 value = {0, 0};
      float total = 0, most = -INFINITY;
#pragma unroll
      for (int w = 0; w < warps; ++w) {
        float2 part = *reinterpret_cast<float2 *>(&sums[w][head][d]);
        value.x += part.x;
        value.y += part.y;
        total += stats[w][head].y * shareOf(w, head);
        most = fmaxf(most, stats[w][head].x);
      }
      if constexpr (A::kSplits == 1) {
        bool zero = place.visible == 0 || bad;
        bf16 *out = A::Result::row(p.operands[6], place.token) +
                    (place.firstHead + head) * A::kHeadDim + d;
        *reinterpret_cast<__nv_bfloat162 *>(out) = __floats2bfloat162_rn(
            zero ? 0 : value.x / total, zero ? 0 : value.y / total);
      } else {
        int64_t part =
            A::part(place.token, place.firstHead + head, place.split);
        *reinterpret_cast<float2 *>(A::sums(p, part) + d) = value;
        if (d == 0)
          *A::stats(p, part) = {most, bad ? -1.0f : total};
      }
    }
  }

private:
  /// What a warp's sums of a head count at the common maximum.
  __device__ __forceinline__ float shareOf(int warp, int head) const {
    float most = -INFINITY;
#pragma unroll
    for (int i = 0; i < warps; ++i)
      most = fmaxf(most, stats[i][head].x);
    float2 stat = stats[warp][head];
    return stat.y != 0 ? exp2Fast(stat.x - most) : 0;
  }
};

/// The grid: ranges, groups of heads, tokens. `ahead`: tiles that a warp has in
/// registers or on their way there.
template <typename A, int warps, int ahead>
__device__ void attentionDecode(const LaunchParams &p, float scale) {
  if (blockIdx.z >= A::tokens(p))
    return;
  DecodePlace<A> place(p, blockIdx.z, static_cast<int>(blockIdx.y),
                       static_cast<int>(blockIdx.x));
  if (place.begin >= place.visible && A::kSplits > 1)
    return;
  using Warp = DecodeWarp<A, ahead>;
  Warp warp(p, place);
  warp.loadQueries(A::Query::row(p.operands[0], place.token) +
                       place.firstHead * A::kHeadDim,
                   A::kHeadDim, place, scale);
  DecodeTiles<A, warps> tiles(p, place);
#pragma unroll
  for (int i = 0; i < ahead; ++i) {
    int64_t slot = tiles.slotOf(i);
    if (i >= tiles.count)
      break;
    warp.loadKeys(slot, warp.keys[i]);
    warp.loadValues(slot, tiles.positionOf(i), warp.values[i]);
  }
#pragma unroll 1
  for (int first = 0; first < tiles.count; first += ahead)
#pragma unroll
    for (int i = 0; i < ahead; ++i) {
      int tile = first + i, next = tile + ahead;
      if (tile >= tiles.count)
        break;
      float products[2][2][4] = {}, weights[4];
      warp.multiplyKeys(warp.keys[i], products);
      int64_t slot = tiles.slotOf(next);
      if (next < tiles.count)
        warp.loadKeys(slot, warp.keys[i]);
      warp.weigh(products, tiles.positionOf(tile), weights);
      warp.addValues(warp.values[i], weights);
      if (next < tiles.count)
        warp.loadValues(slot, tiles.positionOf(next), warp.values[i]);
    }
  __shared__ DecodeMeeting<A, warps, Warp> meeting;
  bool bad = meeting.join(warp, tiles.bad);
  meeting.store(p, place, bad);
}

} // namespace saddle::device
