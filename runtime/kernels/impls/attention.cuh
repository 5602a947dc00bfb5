// Attention over paged caches: what its kernels share, the kernel for any shape
// and element type, and the combination of partial results.
//
// The positions that a token sees are cut into up to `splits` ranges, so that
// few tokens fill the machine too; CTAs of ranges that do not exist return at
// once. Each range gives, per token and head, the largest score m, l = sum of
// e^(score - m) and the sum of e^(score - m) * v; kernels that compute powers
// of two have scores times log2 e. With several ranges these go to the
// workspace and combineSplits adds them in the order of ranges. A range that
// met a page number outside the cache has l = -1, which makes the whole result
// zero, as in the reference.

#pragma once

#include "runtime/kernels/abi.h"
#include "runtime/kernels/ptx/fragments.cuh"
#include "runtime/kernels/shared/attention.h"
#include "runtime/kernels/tile/quantize.cuh"
#include "runtime/kernels/tile/reduce.cuh"
#include "runtime/kernels/tile/vectors.cuh"

namespace saddle::device {

constexpr float kLog2E = 1.44269504f;

/// One attention launch. Operands q, kcache, vcache, positions, sequences,
/// block_table, out; a cache has one row for each token slot, and its type
/// those of one page.
template <int extent, int headDim, int pageSize, int splits, typename Q,
          typename Cache, typename Table, typename Out>
struct Attention {
  using Query = Q;
  using Keys = Cache;
  using Result = Out;
  static constexpr int kHeadDim = headDim;
  static constexpr int kPageSize = pageSize;
  static constexpr int kSplits = splits;
  static constexpr int kHeads = Q::kCols / headDim;
  static constexpr int kKvHeads = Cache::kCols / headDim;
  static constexpr int kPerKvHead = kHeads / kKvHeads;
  static constexpr int64_t kMaxContext = Table::kCols * pageSize;
  /// Ranges begin at multiples of this many positions.
  static constexpr int kUnit = kRangeUnit;
  static_assert(kPerKvHead * kKvHeads == kHeads,
                "query heads divide evenly over kv heads");

  static __device__ __forceinline__ uint32_t tokens(const LaunchParams &p) {
    return p.step->counts[extent];
  }
  static __device__ __forceinline__ i32 sequenceOf(const LaunchParams &p,
                                                   uint32_t token) {
    return static_cast<const i32 *>(p.operands[4])[token];
  }
  /// How many positions the token sees; 0 when its indices point outside. Page
  /// numbers are looked at later.
  static __device__ __forceinline__ int visibleTo(const LaunchParams &p,
                                                  uint32_t token) {
    i32 position = static_cast<const i32 *>(p.operands[3])[token];
    i32 sequence = sequenceOf(p, token);
    return position < 0 || position >= kMaxContext || sequence < 0 ||
                   sequence >= Table::kRows
               ? 0
               : position + 1;
  }
  static __device__ __forceinline__ const i32 *pagesOf(const LaunchParams &p,
                                                       i32 sequence) {
    return Table::row(p.operands[5], sequence);
  }
  /// A page number below this is one of the cache's.
  static __device__ __forceinline__ uint32_t pageCount(const LaunchParams &p) {
    return p.step->slots / pageSize;
  }

  /// Positions of a range when `visible` positions are cut.
  static __device__ __forceinline__ int rangeLength(int visible) {
    if (splits == 1)
      return max(visible, 1);
    int even = (visible + splits - 1) / splits;
    return max((even + kUnit - 1) / kUnit * kUnit, kUnit);
  }

  // Partial results in the workspace: sums, then (m, l) pairs.
  static constexpr int64_t kParts = Q::kRows * kHeads * splits;
  static_assert(kParts * headDim * sizeof(float) + kParts * sizeof(float2) ==
                    partialResultBytes(kParts, headDim),
                "the planner reserves what the kernels use");
  static __device__ __forceinline__ int64_t part(uint32_t token, int head,
                                                 int split) {
    return (static_cast<int64_t>(token) * kHeads + head) * splits + split;
  }
  static __device__ __forceinline__ float *sums(const LaunchParams &p,
                                                int64_t part) {
    return static_cast<float *>(p.workspace) + part * headDim;
  }
  static __device__ __forceinline__ float2 *stats(const LaunchParams &p,
                                                  int64_t part) {
    return reinterpret_cast<float2 *>(static_cast<float *>(p.workspace) +
                                      kParts * headDim) +
           part;
  }
};

/// Any head dim and page size, any element types. One CTA of `warps` warps per
/// (range, head, token) in the grid's x, y, z; a warp takes four positions at a
/// time. fp32 throughout.
template <typename A, int warps>
__device__ void attentionAny(const LaunchParams &p, float scale) {
  constexpr int kPerLane = (A::kHeadDim + 31) / 32;
  constexpr int kBatch = 4;
  uint32_t token = blockIdx.z;
  if (token >= A::tokens(p))
    return;
  int head = static_cast<int>(blockIdx.y), split = static_cast<int>(blockIdx.x);
  int lane = static_cast<int>(threadIdx.x) % 32;
  int warp = static_cast<int>(threadIdx.x) / 32;
  int visible = A::visibleTo(p, token), length = A::rangeLength(visible);
  int begin = split * length, end = min(begin + length, visible);
  if (begin >= visible && A::kSplits > 1)
    return;

  const i32 *pages = visible ? A::pagesOf(p, A::sequenceOf(p, token)) : nullptr;
  int first = head / A::kPerKvHead * A::kHeadDim;
  const auto *query = A::Query::row(p.operands[0], token) + head * A::kHeadDim;
  float q[kPerLane], sum[kPerLane] = {};
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) {
    int d = i * 32 + lane;
    q[i] = d < A::kHeadDim ? toFloat(query[d]) : 0;
  }
  const uint32_t pageCount = A::pageCount(p);
  float m = -INFINITY, l = 0;
  bool bad = false;
  for (int position = begin + warp * kBatch; position < end;
       position += warps * kBatch) {
    float k[kBatch][kPerLane], v[kBatch][kPerLane];
#pragma unroll
    for (int b = 0; b < kBatch; ++b) {
      int at = position + b;
      i32 page = at < end ? pages[at / A::kPageSize] : 0;
      bool isPage = static_cast<uint32_t>(page) < pageCount;
      bad |= !isPage;
      bool real = at < end && isPage;
      int64_t slot =
          static_cast<int64_t>(page) * A::kPageSize + at % A::kPageSize;
#pragma unroll
      for (int i = 0; i < kPerLane; ++i) {
        int d = i * 32 + lane;
        bool used = real && d < A::kHeadDim;
        k[b][i] =
            used ? toFloat(A::Keys::row(p.operands[1], slot)[first + d]) : 0;
        v[b][i] =
            used ? toFloat(A::Keys::row(p.operands[2], slot)[first + d]) : 0;
      }
    }
    float scores[kBatch], largest = m;
#pragma unroll
    for (int b = 0; b < kBatch; ++b) {
      float product = 0;
#pragma unroll
      for (int i = 0; i < kPerLane; ++i)
        product += q[i] * k[b][i];
      scores[b] = position + b < end ? warpSum(product) * scale : -INFINITY;
      largest = fmaxf(largest, scores[b]);
    }
    float shrink = expf(m - largest);
    m = largest;
    l *= shrink;
#pragma unroll
    for (int i = 0; i < kPerLane; ++i)
      sum[i] *= shrink;
#pragma unroll
    for (int b = 0; b < kBatch; ++b) {
      float weight = expf(scores[b] - m);
      l += weight;
#pragma unroll
      for (int i = 0; i < kPerLane; ++i)
        sum[i] += weight * v[b][i];
    }
  }

  __shared__ float warpSums[warps][A::kHeadDim];
  __shared__ float2 warpStats[warps];
  bad = __syncthreads_or(bad);
#pragma unroll
  for (int i = 0; i < kPerLane; ++i)
    if (i * 32 + lane < A::kHeadDim)
      warpSums[warp][i * 32 + lane] = sum[i];
  if (lane == 0)
    warpStats[warp] = {m, l};
  __syncthreads();
  float most = -INFINITY, total = 0;
#pragma unroll
  for (int w = 0; w < warps; ++w)
    most = fmaxf(most, warpStats[w].x);
  float shares[warps];
#pragma unroll
  for (int w = 0; w < warps; ++w) {
    shares[w] = warpStats[w].y != 0 ? expf(warpStats[w].x - most) : 0;
    total += warpStats[w].y * shares[w];
  }
  for (int d = static_cast<int>(threadIdx.x); d < A::kHeadDim;
       d += warps * 32) {
    float value = 0;
#pragma unroll
    for (int w = 0; w < warps; ++w)
      value += warpSums[w][d] * shares[w];
    if constexpr (A::kSplits == 1)
      A::Result::row(p.operands[6], token)[head * A::kHeadDim + d] =
          fromFloat<typename A::Result::Element>(
              visible == 0 || bad ? 0 : value / total);
    else
      A::sums(p, A::part(token, head, split))[d] = value;
  }
  if (A::kSplits > 1 && threadIdx.x == 0)
    *A::stats(p, A::part(token, head, split)) = {most, bad ? -1.0f : total};
}

/// One CTA of `warps` warps per (head, token) in the grid's x, y. `everySplit`:
/// the kernel before wrote all ranges, with l = 0 for those that do not exist;
/// `binary`: scores are times log2 e. Calls store(token, head, d, value), a
/// value for each thread at a time, and returns whether the token is there.
template <typename A, int warps, bool everySplit, bool binary, typename Store>
__device__ __forceinline__ bool combineEach(const LaunchParams &p,
                                            Store store) {
  // Values of a lane lie beside each other.
  constexpr int kWide = A::kHeadDim % 128 == 0 ? 4 : 1;
  constexpr int kPerLane = (A::kHeadDim + 32 * kWide - 1) / (32 * kWide);
  using Values = Vector<float, kWide>;
  uint32_t token = blockIdx.y;
  if (token >= A::tokens(p))
    return false;
  int head = static_cast<int>(blockIdx.x);
  int lane = static_cast<int>(threadIdx.x) % 32;
  int warp = static_cast<int>(threadIdx.x) / 32;
  int visible = A::visibleTo(p, token), length = A::rangeLength(visible);
  int used =
      everySplit && visible ? A::kSplits : (visible + length - 1) / length;
  int64_t first = A::part(token, head, 0);

  float most = -INFINITY;
  bool bad = false;
#pragma unroll 4
  for (int s = lane; s < used; s += 32) {
    float2 stat = *A::stats(p, first + s);
    most = fmaxf(most, stat.x);
    bad |= stat.y < 0;
  }
  most = warpMax(most);
  bad = __any_sync(kFullWarp, bad);

  Values sum[kPerLane] = {};
  float l = 0;
#pragma unroll 8
  for (int s = warp; s < used; s += warps) {
    float2 stat = *A::stats(p, first + s);
    const float *part = A::sums(p, first + s);
    float share = 0;
    if (stat.y != 0)
      share = binary ? exp2f(stat.x - most) : expf(stat.x - most);
    l += stat.y * share;
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) {
      int d = (i * 32 + lane) * kWide;
      if (d < A::kHeadDim) {
        Values values = *reinterpret_cast<const Values *>(part + d);
#pragma unroll
        for (int j = 0; j < kWide; ++j)
          sum[i][j] += values[j] * share;
      }
    }
  }
  __shared__ __align__(16) float warpSums[warps][A::kHeadDim];
  __shared__ float warpTotals[warps];
#pragma unroll
  for (int i = 0; i < kPerLane; ++i)
    if ((i * 32 + lane) * kWide < A::kHeadDim)
      *reinterpret_cast<Values *>(&warpSums[warp][(i * 32 + lane) * kWide]) =
          sum[i];
  if (lane == 0)
    warpTotals[warp] = l;
  __syncthreads();
  for (int d = static_cast<int>(threadIdx.x); d < A::kHeadDim;
       d += warps * 32) {
    float value = 0, total = 0;
#pragma unroll
    for (int w = 0; w < warps; ++w) {
      value += warpSums[w][d];
      total += warpTotals[w];
    }
    store(token, head, d,
          fromFloat<typename A::Result::Element>(
              used == 0 || bad ? 0 : value / total));
  }
  return true;
}

template <typename A, int warps, bool everySplit, bool binary>
__device__ void combineSplits(const LaunchParams &p) {
  combineEach<A, warps, everySplit, binary>(
      p, [&](uint32_t token, int head, int d, auto value) {
        A::Result::row(p.operands[6], token)[head * A::kHeadDim + d] = value;
      });
}

/// The same as codes and factors; a head is a group.
template <typename A, int warps, bool everySplit, bool binary, typename Codes,
          typename Factors>
__device__ void combineSplitsEncode(const LaunchParams &p, void *codes,
                                    void *factors) {
  static_assert(Factors::kCols == A::kHeads, "a head is a group");
  __shared__ typename A::Result::Element row[A::kHeadDim];
  bool real = combineEach<A, warps, everySplit, binary>(
      p, [&](uint32_t, int, int d, auto value) { row[d] = value; });
  __syncthreads();
  if (!real || threadIdx.x >= 32)
    return;
  uint32_t token = blockIdx.y, head = blockIdx.x;
  encodeGroup<A::kHeadDim>(row, A::kHeadDim,
                           Codes::row(codes, token) + head * A::kHeadDim,
                           Factors::row(factors, token) + head);
}

} // namespace saddle::device
