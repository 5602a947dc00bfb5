// Everything between the QKV projection and the output projection of a token
// that is alone: qk_norm[_all_reduce]_rope_kv_append and attention behind it in
// one launch.
//
// A cluster has a token and a kv head; in a round each of its CTAs takes 64
// positions of the cache. Keys and values of earlier steps do not depend on the
// projection: each CTA asks for those of its first round before the kernel
// before has ended. Behind it every CTA sums the squares of the rank's whole
// row for itself, one tells the other ranks, and all look for what others have
// sent. A warp norms and turns a head, into shared memory; new keys and values
// take the place of those that were fetched too early. For scores a warp has 16
// positions, for sums a quarter of the dims, so that nothing has to be added
// over warps; weights go through shared memory. Results meet in the shared
// memory of the CTA that has the head, whose barrier counts the bytes.
//
// What counts is the number of instructions between a step and the next, not
// bytes. Floor: the bytes of the visible keys and values; of a short context
// some ten steps that wait for each other.

#pragma once

#include "runtime/kernels/comm/scalars.cuh"
#include "runtime/kernels/impls/attention_decode.cuh"
#include "runtime/kernels/impls/qk_norm_exchange.cuh"
#include "runtime/kernels/ptx/barrier.cuh"
#include "runtime/kernels/ptx/cache_policy.cuh"
#include "runtime/kernels/ptx/cluster.cuh"
#include "runtime/kernels/shared/qk_norm_attention.h"

namespace saddle::device {

/// A CTA's sums of squares of rows of two matrices, all loads at once.
template <int threads, typename Q, typename K>
class RowPairSquares {
  static constexpr int kCount = commonVector<Q, K>();
  static constexpr int kOfQ = Q::kCols / kCount,
                       kAll = kOfQ + K::kCols / kCount;
  static constexpr int kEach = (kAll + threads - 1) / threads;
  using Values = Vector<typename Q::Element, kCount>;
  Values values[kEach] = {};

  static __device__ __forceinline__ int unitOf(int i) {
    return i * threads + static_cast<int>(threadIdx.x);
  }

public:
  __device__ __forceinline__ RowPairSquares(const void *q, const void *k,
                                            uint32_t row) {
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      int unit = unitOf(i);
      const typename Q::Element *from =
          unit < kOfQ ? Q::row(q, row) + unit * kCount
                      : K::row(k, row) + (unit - kOfQ) * kCount;
      if (unit < kAll)
        values[i] = *reinterpret_cast<const Values *>(from);
    }
  }
  /// In every thread; `scratch` as blockSums() has it.
  __device__ __forceinline__ void sum(float (&sums)[2], float *scratch) const {
    sums[0] = sums[1] = 0;
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      float squares = 0;
#pragma unroll
      for (int j = 0; j < kCount; ++j)
        squares += toFloat(values[i][j]) * toFloat(values[i][j]);
      bool isQ = unitOf(i) < kOfQ;
      sums[0] += isQ ? squares : 0;
      sums[1] += isQ ? 0 : squares;
    }
    blockSums<threads>(sums, scratch);
  }
};

/// What takes the place of ExchangedScalars where a rank has all heads.
struct NoExchange {
  __device__ __forceinline__ NoExchange(const LaunchParams &, uint32_t,
                                        uint32_t) {}
  __device__ __forceinline__ void send(uint32_t, float2) {}
  __device__ __forceinline__ bool sum(uint32_t, float2 &) { return true; }
  __device__ __forceinline__ void finish() {}
};

/// One row of a head by a warp: lane l has elements l, l + 32, ... A pair of
/// the rotation is in one lane.
template <int headDim, int rotaryDim>
struct HeadRow {
  static_assert(rotaryDim % 64 == 0 && headDim % 32 == 0 &&
                    rotaryDim <= headDim,
                "a lane has whole pairs");
  static constexpr int kEach = headDim / 32, kPairs = rotaryDim / 64;
  float x[kEach];

  static __device__ __forceinline__ int at(int i) {
    return i * 32 + static_cast<int>(threadIdx.x) % 32;
  }
  template <typename T>
  __device__ __forceinline__ void load(const T *from) {
#pragma unroll
    for (int i = 0; i < kEach; ++i)
      x[i] = toFloat(from[at(i)]);
  }
  template <typename T>
  __device__ __forceinline__ void store(T *to) const {
#pragma unroll
    for (int i = 0; i < kEach; ++i)
      to[at(i)] = fromFloat<T>(x[i]);
  }
  static __device__ __forceinline__ void
  turnBy(Rotation (&by)[kPairs], i32 position, const float *frequencies) {
#pragma unroll
    for (int i = 0; i < kPairs; ++i)
      by[i] = rotationBy(static_cast<float>(position) *
                         frequencies[i * 32 + threadIdx.x % 32]);
  }
  /// Rounds after each step, as the single ops do, to elements of type T.
  template <typename T>
  __device__ __forceinline__ void normAndTurn(float factor,
                                              const float (&gammas)[kEach],
                                              const Rotation (&by)[kPairs]) {
#pragma unroll
    for (int i = 0; i < kEach; ++i)
      x[i] = rounded<T>(x[i] * factor * gammas[i]);
#pragma unroll
    for (int i = 0; i < kPairs; ++i) {
      rotate(by[i], x[i], x[i + kPairs]);
      x[i] = rounded<T>(x[i]);
      x[i + kPairs] = rounded<T>(x[i + kPairs]);
    }
  }
  template <typename T>
  __device__ __forceinline__ void multiply(float factor) {
#pragma unroll
    for (int i = 0; i < kEach; ++i)
      x[i] = rounded<T>(x[i] * factor);
  }
  template <typename T>
  __device__ __forceinline__ void divide(float divisor) {
#pragma unroll
    for (int i = 0; i < kEach; ++i)
      x[i] = rounded<T>(__fdiv_rn(x[i], divisor));
  }
};

/// A CTA's positions: kRound of them in every round of the cluster.
template <typename A, int ctas>
struct ClusterTiles {
  static constexpr int kWarps = QKNormAttentionLayout::kWarps;
  static constexpr int kRound = QKNormAttentionLayout::kRound;
  static constexpr int kRoundsOfPages = 32 / kWarps;

  int begin, rounds;
  const i32 *table;
  uint32_t pageCount; // of the cache
  int end;
  i32 pages = 0;      // of tiles of the next rounds, one for each lane
  bool bad = false;   // one of them was outside the cache
  i32 newSlot;        // that the token writes to; -1: none
  uint32_t fresh = 0; // lanes whose tiles have it

  /// Of the positions from `first` on that are before `end`.
  __device__ __forceinline__ ClusterTiles(const LaunchParams &p,
                                          const DecodePlace<A> &place,
                                          int first, int end, int cta,
                                          i32 newSlot)
      : begin(first + cta * kRound),
        rounds(begin < end ? (end - begin + ctas * kRound - 1) / (ctas * kRound)
                           : 0),
        table(place.visible ? A::pagesOf(p, A::sequenceOf(p, place.token))
                            : nullptr),
        pageCount(A::pageCount(p)), end(end), newSlot(newSlot) {}

  /// The first position of a warp's tile in a round.
  __device__ __forceinline__ int positionOf(int round, int tile) const {
    return begin + round * (ctas * kRound) + tile * kDecodeTile;
  }
  /// Looks up the pages of a round. Called for one round after the other.
  __device__ __forceinline__ void turnTo(int round) {
    if (round % kRoundsOfPages != 0 || round >= rounds)
      return;
    int lane = static_cast<int>(threadIdx.x) % 32;
    int position = positionOf(round + lane / kWarps, lane % kWarps);
    pages = position < end ? table[position / A::kPageSize] : 0;
    bool isPage = static_cast<uint32_t>(pages) < pageCount;
    bad |= !isPage;
    pages = isPage ? pages : 0;
    int at = newSlot - (pages * A::kPageSize + position % A::kPageSize);
    fresh =
        __ballot_sync(kFullWarp, newSlot >= 0 && at >= 0 && at < kDecodeTile &&
                                     position + at < end);
  }
  /// The tiles of the round that was turned to whose rows may be those of the
  /// new slot: a bit for each.
  __device__ __forceinline__ uint32_t freshOf(int round) const {
    return fresh >> (round % kRoundsOfPages * kWarps) & ((1u << kWarps) - 1);
  }
  /// Where a tile of the round that was turned to begins in the caches.
  __device__ __forceinline__ int64_t slotOf(int round, int tile) const {
    i32 page =
        __shfl_sync(kFullWarp, pages, round % kRoundsOfPages * kWarps + tile);
    return static_cast<int64_t>(page) * A::kPageSize +
           positionOf(round, tile) % A::kPageSize;
  }
};

/// Asks L2 for a tile's keys and values.
template <typename A>
__device__ __forceinline__ void prefetchRows(const LaunchParams &p,
                                             const DecodePlace<A> &place,
                                             int64_t slot, int position) {
  using T = typename A::Keys::Element;
  constexpr int kLine = 128 / sizeof(T);
  int row = static_cast<int>(threadIdx.x) % 32 / 2;
  if (position + row >= place.end)
    return;
  auto *cache = static_cast<const T *>(threadIdx.x % 2 == 0 ? p.operands[1]
                                                            : p.operands[2]) +
                (slot + row) * A::Keys::kStride + place.kvHead * A::kHeadDim;
#pragma unroll
  for (int i = 0; i < A::kHeadDim; i += kLine)
    prefetchToL2(cache + i);
}

/// A warp's share of the dims of a round's values in registers, and their sums.
template <typename A>
struct DecodeValues {
  using T = typename A::Keys::Element;
  using Tile = CacheTile<T, A::kHeadDim>;
  static constexpr int kWarps = QKNormAttentionLayout::kWarps;
  /// Dims of a lane, which stand together; fragments have two of them.
  static constexpr int kDims = A::kHeadDim / kWarps / 8, kRows = kDims / 2;
  static constexpr int kBytes = kDims * sizeof(T), kWords = kBytes / 4;
  static_assert(kWords >= 1 && kWords * 4 == kBytes, "whole words");
  struct alignas(kBytes) Words {
    uint32_t word[kWords];
  };

  int g, t, first; // dim of this lane
  const T *base;
  Words v[kWarps][4];
  float sum[kRows][4] = {}, m = -INFINITY, l = 0;

  __device__ __forceinline__ DecodeValues(const LaunchParams &p,
                                          const DecodePlace<A> &place)
      : g(static_cast<int>(threadIdx.x) % 32 / 4),
        t(static_cast<int>(threadIdx.x) % 4),
        first((static_cast<int>(threadIdx.x) / 32 * 8 + g) * kDims) {
    base = static_cast<const T *>(p.operands[2]) + place.kvHead * A::kHeadDim +
           first;
  }
  static __device__ __forceinline__ int rowOf(int t, int i) {
    return 2 * t + i % 2 + i / 2 * 8;
  }
  /// Tile `tile` of a round.
  __device__ __forceinline__ void load(int tile, int64_t slot, int position,
                                       int end) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      int row = rowOf(t, i);
      v[tile][i] = {};
      // What lies behind the last position may be anything, NaN too.
      if (position + row < end)
        v[tile][i] = loadWords(base + (slot + row) * A::Keys::kStride);
    }
  }
  __device__ __forceinline__ void replace(int tile, int row, const T *value) {
#pragma unroll
    for (int i = 0; i < 4; ++i)
      if (rowOf(t, i) == row)
        v[tile][i] = *reinterpret_cast<const Words *>(value + first);
  }
  /// Weights and (largest score, sum of weights) of each warp's tile, by lane
  /// and by head.
  struct Weights {
    float4 of[kWarps][32];
    float2 stats[kWarps][kDecodeHeads];
  };
  __device__ __forceinline__ void add(const Weights &weights) {
    float2 stats[kWarps];
    float most = m;
#pragma unroll
    for (int w = 0; w < kWarps; ++w) {
      stats[w] = weights.stats[w][g];
      most = fmaxf(most, stats[w].x);
    }
    float shrink = m == most ? 1 : exp2Fast(m - most);
    if (__any_sync(kFullWarp, shrink != 1 && m != -INFINITY))
      shrinkSums(sum, shrink, t);
    m = most;
    l *= shrink;
#pragma unroll
    for (int w = 0; w < kWarps; ++w) {
      float share = stats[w].y != 0 ? exp2Fast(stats[w].x - most) : 0;
      l += stats[w].y * share;
      float4 of = weights.of[w][threadIdx.x % 32];
      float scaled[4] = {of.x * share, of.y * share, of.z * share,
                         of.w * share};
      WeightFragment<Tile> fragment(scaled);
      uint32_t pairs[4][kRows];
#pragma unroll
      for (int i = 0; i < 4; ++i)
        pairsOf(v[w][i], pairs[i]);
#pragma unroll
      for (int x = 0; x < kRows; ++x)
        fragment.multiply(sum[x], pairs[0][x], pairs[1][x], pairs[2][x],
                          pairs[3][x]);
    }
  }

private:
  static __device__ __forceinline__ Words loadWords(const T *from) {
    Words words;
    if constexpr (kWords == 2)
      asm volatile("ld.global.nc.L1::no_allocate.v2.b32 {%0, %1}, [%2];"
                   : "=r"(words.word[0]), "=r"(words.word[1])
                   : "l"(from));
    else
      asm volatile("ld.global.nc.L1::no_allocate.b32 %0, [%1];"
                   : "=r"(words.word[0])
                   : "l"(from));
    return words;
  }
  static __device__ __forceinline__ void pairsOf(const Words &words,
                                                 uint32_t (&pairs)[kRows]) {
    if constexpr (sizeof(T) == 1)
      e4m3PairsToF16(words.word[0], pairs[0], pairs[1]);
    else
#pragma unroll
      for (int i = 0; i < kRows; ++i)
        pairs[i] = words.word[i];
  }
};

/// The cluster's partial results of the head that a CTA finishes.
template <typename A, int ctas>
struct ClusterMeeting {
  static_assert(ctas >= kDecodeHeads && ctas % 4 == 0, "a head for a CTA");
  static constexpr int kWarps = QKNormAttentionLayout::kWarps;
  /// Dims of a lane, eight lanes for those of a warp.
  static constexpr int kDims = A::kHeadDim / kWarps / 8;
  using Sums = Vector<float, kDims>;
  using Stats = Vector<float, 2>; // (m, l), l = -1 for a bad page
  Sums sums[ctas][A::kHeadDim / kDims];
  Stats stats[ctas];
  float largest[kWarps];
  uint64_t arrived; // a barrier that counts the bytes of sums and stats

  /// By one thread of the CTA that has a head, before others know of it.
  __device__ __forceinline__ void expect() {
    initBarrier(sharedAddress(&arrived), 1);
    fenceBarriers();
    expectBytes(sharedAddress(&arrived), sizeof(sums) + sizeof(stats));
    arriveAtBarrier(sharedAddress(&arrived));
  }
  template <typename Values>
  __device__ __forceinline__ void send(uint32_t owner, Values *to,
                                       const Values &values) {
    sendFloatsToCluster(addressInCluster(sharedAddress(to), owner), values,
                        addressInCluster(sharedAddress(&arrived), owner));
  }

  /// By all threads. A lane has some of the partial results of kDims dims from
  /// `first` on; four lanes get their sums. Returns (m, l).
  __device__ __forceinline__ float2 add(int &first, Sums &sum) const {
    int lane = static_cast<int>(threadIdx.x) % 32, part = lane / 8;
    int unit = static_cast<int>(threadIdx.x) / 32 * 8 + lane % 8;
    first = unit * kDims;
    waitForBarrier(sharedAddress(&arrived), 0);
    Stats stat = stats[lane % ctas];
    bool bad = __any_sync(kFullWarp, stat[1] < 0);
    float most = warpMax(stat[0]);
    float share = stat[1] != 0 ? exp2Fast(stat[0] - most) : 0;
    float l = stat[1] * share;
#pragma unroll
    for (int distance = ctas / 2; distance > 0; distance /= 2)
      l += __shfl_xor_sync(kFullWarp, l, distance);
    sum = {};
#pragma unroll
    for (int i = 0; i < ctas / 4; ++i) {
      int cta = part * (ctas / 4) + i;
      float of = __shfl_sync(kFullWarp, share, cta);
      Sums each = sums[cta][unit];
#pragma unroll
      for (int j = 0; j < kDims; ++j)
        sum[j] += each[j] * of;
    }
    addOverParts(sum);
    return {most, bad ? -1 : l};
  }

  static __device__ __forceinline__ void addOverParts(Sums &sum) {
#pragma unroll
    for (int j = 0; j < kDims; ++j) {
      sum[j] += __shfl_xor_sync(kFullWarp, sum[j], 8);
      sum[j] += __shfl_xor_sync(kFullWarp, sum[j], 16);
    }
  }
};

/// Where clusters that share a token's kv head leave their results: those of a
/// head, the pairs (m, l) and then the sums.
template <typename A, int ctas, int parts>
struct PartResults {
  using Meeting = ClusterMeeting<A, ctas>;
  using Sums = typename Meeting::Sums;
  static constexpr int kHeads = A::kHeads * A::Query::kRows;
  void *memory;

  __device__ __forceinline__ float2 *stats(int head) const {
    return static_cast<float2 *>(memory) + head * parts;
  }
  __device__ __forceinline__ Sums *sums(int head, int part) const {
    return reinterpret_cast<Sums *>(stats(kHeads)) +
           (head * parts + part) * (A::kHeadDim / Meeting::kDims);
  }

  /// By all threads of the CTA that has the head: leaves this part of `used`,
  /// or, the last to come, takes all of them together. Whether this one is.
  __device__ __forceinline__ bool meet(const LaunchParams &p, int head,
                                       int part, int used, int first,
                                       float2 &stat, Sums &sum) const {
    static_assert(kHeads <= kMaxArrivals, "a counter for each head");
    __shared__ bool isLast;
    int unit = first / Meeting::kDims, lane = threadIdx.x % 32;
    if (lane < 8)
      sums(head, part)[unit] = sum;
    if (threadIdx.x == 0)
      stats(head)[part] = stat;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
      auto *arrivals = const_cast<uint32_t *>(p.step->arrivals);
      // Back to zero by the last.
      isLast = atomicInc(arrivals + head, used - 1) == used - 1u;
    }
    __syncthreads();
    if (!isLast)
      return false;
    __threadfence();
    float most = -INFINITY, l = 0;
    bool bad = false;
    for (int i = 0; i < used; ++i) {
      float2 each = __ldcg(stats(head) + i);
      most = fmaxf(most, each.x);
      bad |= each.y < 0;
    }
    sum = {};
    for (int i = 0; i < used; ++i) {
      float2 each = __ldcg(stats(head) + i);
      float share = each.y != 0 ? exp2Fast(each.x - most) : 0;
      l += each.y * share;
      const float *from = sums(head, i)[unit].values;
#pragma unroll
      for (int j = 0; j < Meeting::kDims; ++j)
        sum[j] += __ldcg(from + j) * share;
    }
    stat = {most, bad ? -1 : l};
    return true;
  }
};

/// Where results go: to rows, or to codes and factors, a head being a group.
/// Called by all threads of a CTA, of which every fourth eight of lanes has
/// other values.
template <typename A>
struct StoreRow {
  void *out;
  template <int count>
  __device__ __forceinline__ void operator()(uint32_t token, int head, int d,
                                             const float (&values)[count],
                                             float *) const {
    if (threadIdx.x % 32 < 8)
      storeVector<typename A::Result, count>(out, token, head * A::kHeadDim + d,
                                             values);
  }
};
template <typename A, typename Codes, typename Factors>
struct StoreEncoded {
  void *codes, *factors;
  /// `scratch` has a float for each warp.
  template <int count>
  __device__ __forceinline__ void operator()(uint32_t token, int head, int d,
                                             const float (&values)[count],
                                             float *scratch) const {
    static_assert(count == 4 && Factors::kCols == A::kHeads,
                  "a head is a group of 128");
    constexpr int kWarps = QKNormAttentionLayout::kWarps;
    float rounded[count], largest = 0;
#pragma unroll
    for (int i = 0; i < count; ++i) {
      rounded[i] = toFloat(fromFloat<typename A::Result::Element>(values[i]));
      largest = fmaxf(largest, fabsf(rounded[i]));
    }
#pragma unroll
    for (int distance = 4; distance > 0; distance /= 2)
      largest = fmaxf(largest, __shfl_xor_sync(kFullWarp, largest, distance));
    scratch[threadIdx.x / 32] = largest;
    __syncthreads();
#pragma unroll
    for (int warp = 0; warp < kWarps; ++warp)
      largest = fmaxf(largest, scratch[warp]);
    float scale = groupScale(largest);
    Divisor divisor(scale);
#pragma unroll
    for (int i = 0; i < count; ++i)
      rounded[i] = divisor.divide(rounded[i]);
    if (threadIdx.x % 32 < 8)
      *reinterpret_cast<uint32_t *>(Codes::row(codes, token) +
                                    head * A::kHeadDim + d) =
          e4m3Pair(rounded[0], rounded[1]) | e4m3Pair(rounded[2], rounded[3])
                                                 << 16;
    if (threadIdx.x == 0)
      Factors::row(factors, token)[head] = scale;
  }
};

/// `norm` and `attend` have the operands of the two steps in the order of their
/// own kernels, whose q between them is nowhere.
template <int size, uint64_t memory, int ctas, int parts, int extent,
          int rotaryDim, typename A, typename Q, typename K, typename V,
          bool scaled, typename Store>
__device__ __forceinline__ void
qkNormAttention(const LaunchParams &p, const LaunchParams &norm,
                const LaunchParams &attend, float qDivisor, float kDivisor,
                float eps, const float *frequencies, float scale,
                void *partMemory, Store store) {
  using Layout = QKNormAttentionLayout;
  using At = QKNormOperands<scaled>;
  using T = typename A::Keys::Element;
  using Tiles = ClusterTiles<A, ctas>;
  using Values = DecodeValues<A>;
  using Compute = bf16;
  constexpr int kThreads = Layout::kThreads, kWarps = Layout::kWarps;
  constexpr int kHeadDim = A::kHeadDim, kPerKvHead = A::kPerKvHead;
  constexpr int64_t kTokens = Q::kRows;
  static_assert(kPerKvHead <= kDecodeHeads, "a CTA has all of a kv head");
  using Head = HeadRow<kHeadDim, rotaryDim>;
  using Exchanged =
      std::conditional_t<size == 1, NoExchange,
                         ExchangedScalars<size == 1 ? 2 : size, kTokens>>;
  // Rows of q, of k and of v, one after the other.
  constexpr int kHeads = kPerKvHead + 2;
  constexpr int kEach = (kHeads + kWarps - 1) / kWarps;
  // Apart by so much, eight rows are read without conflicts.
  constexpr int kStride = kHeadDim + 32;

  __shared__ __align__(16) Compute queries[kDecodeHeads * kStride];
  __shared__ __align__(16) T keys[kHeadDim], values[kHeadDim];
  __shared__ float scratch[2 * kWarps];
  __shared__ typename Values::Weights weights[2];
  using Meeting = ClusterMeeting<A, ctas>;
  __shared__ __align__(16) Meeting cluster;

  int warp = static_cast<int>(threadIdx.x) / 32,
      lane = static_cast<int>(threadIdx.x) % 32;
  int cta = static_cast<int>(clusterRank());
  // The first CTA, which looks for the other ranks at the end, has no head.
  auto ownerOf = [](int head) { return ctas - 1 - head; };
  bool isOwner = ownerOf(cta) < kPerKvHead;
  allowNext();
  if (isOwner && threadIdx.x == 0)
    cluster.expect();
  __syncwarp();
  beginInCluster(); // nobody writes to a CTA that has not begun
  uint32_t count = rowsOf<extent, Q>(p);
  static_assert(kTokens == 1, "several may see what others write");
  i32 position = 0, slot = -1; // that it writes to; -1: none
  if (count > 0) {
    position = *static_cast<const i32 *>(norm.operands[At::kPositions]);
    i32 at = *static_cast<const i32 *>(norm.operands[At::kSlots]);
    slot = static_cast<uint32_t>(at) < p.step->slots ? at : -1;
  }
  // Clusters that may share a kv head; where ranks share a device, one has it.
  const int partsHere = gridDim.x / ctas / A::kKvHeads;
  uint32_t item = blockIdx.x / ctas;
  constexpr uint32_t token = 0; // the only one
  int kvHead = static_cast<int>(item) % A::kKvHeads,
      part = static_cast<int>(item) / A::kKvHeads;
  bool real = token < count;

  // What does not depend on the kernel before.
  DecodePlace<A> place(attend, token, kvHead, 0);
  // Few positions are one cluster's.
  int used = min(max((place.visible + Layout::kPositionsOfPart - 1) /
                         Layout::kPositionsOfPart,
                     1),
                 partsHere);
  if (part >= used)
    real = false;
  int length = ((place.visible + used - 1) / used + Tiles::kRound - 1) /
               Tiles::kRound * Tiles::kRound;
  place.begin = part * length;
  place.end = min(place.begin + length, place.visible);
  DecodeScores<A> own(attend, place);
  typename DecodeScores<A>::Keys ownKeys;
  Values sums(attend, place);
  i32 newSlot = real ? slot : -1;
  Tiles tiles(attend, place, place.begin, place.end, cta, newSlot);
  if (!real)
    tiles.rounds = 0;
  auto loadKeys = [&](int round) {
    own.loadKeys(tiles.slotOf(round, warp), ownKeys);
  };
  auto loadValues = [&](int round) {
#pragma unroll
    for (int tile = 0; tile < kWarps; ++tile)
      sums.load(tile, tiles.slotOf(round, tile), tiles.positionOf(round, tile),
                place.end);
  };
  tiles.turnTo(0);
  if (tiles.rounds > 0) {
    loadKeys(0);
    loadValues(0);
  }
  // A later round's wait is then for L2.
#pragma unroll 1
  for (int round = 1; round < min(tiles.rounds, Tiles::kRoundsOfPages); ++round)
    prefetchRows<A>(attend, place, tiles.slotOf(round, warp),
                    tiles.positionOf(round, warp));
  float gammas[kEach][Head::kEach];
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    int head = i * kWarps + warp;
    if (head > kPerKvHead)
      continue;
    const void *all = head < kPerKvHead ? norm.operands[At::kQWeight]
                                        : norm.operands[At::kKWeight];
    auto *from =
        static_cast<const float *>(all) +
        (head < kPerKvHead ? kvHead * kPerKvHead + head : kvHead) * kHeadDim;
#pragma unroll
    for (int j = 0; j < Head::kEach; ++j)
      gammas[i][j] = from[Head::at(j)];
  }
  Rotation rotations[Head::kPairs];
  Head::turnBy(rotations, position, frequencies);
  float kScale = 1, vScale = 1;
  if constexpr (scaled) {
    kScale = *static_cast<const float *>(norm.operands[At::kKScale]);
    vScale = *static_cast<const float *>(norm.operands[At::kVScale]);
  }
  waitForPrevious();

  RowPairSquares<kThreads, Q, K> squares(norm.operands[At::kQ],
                                         norm.operands[At::kK], token);
  Exchanged exchange(p, kQKNormSignature<Q>, count);
  Head rows[kEach];
  // They are in L1 by now.
  auto loadRows = [&] {
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      int head = i * kWarps + warp;
      if (head < kPerKvHead)
        rows[i].load(Q::row(norm.operands[At::kQ], token) +
                     (kvHead * kPerKvHead + head) * kHeadDim);
      else if (head == kPerKvHead)
        rows[i].load(K::row(norm.operands[At::kK], token) + kvHead * kHeadDim);
      else if (head < kHeads)
        rows[i].load(V::row(norm.operands[At::kV], token) + kvHead * kHeadDim);
    }
  };
  float both[2];
  squares.sum(both, scratch);
  if constexpr (size > 1) {
    float2 all = {both[0], both[1]};
    if (real && blockIdx.x == 0 && warp == 0)
      exchange.send(token, all);
    loadRows();
    // Without the others' sums the step is lost; its numbers do not matter.
    if (real)
      exchange.sum(token, all);
    both[0] = all.x;
    both[1] = all.y;
  } else {
    loadRows();
  }
  float ofQ = rmsFactor(both[0], qDivisor, eps),
        ofK = rmsFactor(both[1], kDivisor, eps);
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    int head = i * kWarps + warp;
    if (head >= kHeads)
      continue;
    Head &row = rows[i];
    if (head <= kPerKvHead)
      row.template normAndTurn<Compute>(head < kPerKvHead ? ofQ : ofK,
                                        gammas[i], rotations);
    if (head < kPerKvHead) {
      if constexpr (scaled)
        row.template multiply<Compute>(kScale);
      row.store(queries + head * kStride);
      continue;
    }
    bool isK = head == kPerKvHead;
    if constexpr (scaled)
      row.template divide<Compute>(isK ? kScale : vScale);
    row.store(isK ? keys : values);
    void *cache = isK ? norm.operands[At::kKCache] : norm.operands[At::kVCache];
    if (cta == 0 && part == 0 && newSlot >= 0)
      row.store(A::Keys::row(cache, newSlot) + kvHead * kHeadDim);
  }
  __syncthreads();

#pragma unroll 1
  for (int round = 0; round < tiles.rounds; ++round) {
    // The token's own slot, wherever it is. Few CTAs have it.
    if (uint32_t fresh = tiles.freshOf(round))
#pragma unroll
      for (int tile = 0; tile < kWarps; ++tile) {
        if ((fresh >> tile & 1) == 0)
          continue;
        int at = static_cast<int>(newSlot - tiles.slotOf(round, tile));
        sums.replace(tile, at, values);
        if (tile == warp)
          own.replaceKey(at, keys, ownKeys);
      }
    float products[2][2][4] = {}, scores[4];
    own.loadQueries(queries, kStride, place, scale); // not kept in registers
    own.multiplyKeys(ownKeys, products);
    float most = own.score(products, tiles.positionOf(round, warp), scores);
    tiles.turnTo(round + 1);
    bool goesOn = round + 1 < tiles.rounds;
    if (goesOn)
      loadKeys(round + 1);
    most = fmaxf(most, __shfl_xor_sync(kFullWarp, most, 1));
    most = fmaxf(most, __shfl_xor_sync(kFullWarp, most, 2));
    float l = 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      scores[i] = most == -INFINITY ? 0 : exp2Fast(scores[i] - most);
      l += scores[i];
    }
    l += __shfl_xor_sync(kFullWarp, l, 1);
    l += __shfl_xor_sync(kFullWarp, l, 2);
    auto &shared = weights[round % 2];
    shared.of[warp][lane] = {scores[0], scores[1], scores[2], scores[3]};
    if (own.t == 0)
      shared.stats[warp][own.g] = {most, l};
    __syncthreads();
    sums.add(shared);
    if (goesOn)
      loadValues(round + 1);
  }
  bool bad = __any_sync(kFullWarp, tiles.bad);
  waitForCluster();
  if (real && own.t == 0 && warp == 0 && place.hasHead(own.g)) {
    typename Meeting::Stats mine;
    mine[0] = sums.m;
    mine[1] = bad ? -1.0f : sums.l;
    cluster.send(ownerOf(own.g), &cluster.stats[cta], mine);
  }
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    int head = 2 * own.t + i;
    typename Meeting::Sums mine;
#pragma unroll
    for (int j = 0; j < Values::kDims; ++j)
      mine[j] = sums.sum[j / 2][j % 2 * 2 + i];
    if (real && place.hasHead(head))
      cluster.send(ownerOf(head),
                   &cluster.sums[cta][sums.first / Values::kDims], mine);
  }
  exchange.finish();
  if (real && isOwner) {
    int first, head = place.firstHead + ownerOf(cta);
    typename Meeting::Sums sum;
    float2 stat = cluster.add(first, sum);
    bool isLast = true;
    if constexpr (parts > 1) {
      PartResults<A, ctas, parts> results{partMemory};
      isLast = used == 1 ||
               results.meet(p, static_cast<int>(token) * A::kHeads + head, part,
                            used, first, stat, sum);
    }
    if (isLast) {
      float result[Values::kDims], factor = stat.y > 0 ? 1 / stat.y : 0;
#pragma unroll
      for (int i = 0; i < Values::kDims; ++i)
        result[i] = sum[i] * factor;
      store(token, head, first, result, cluster.largest);
    }
  }
}

} // namespace saddle::device
