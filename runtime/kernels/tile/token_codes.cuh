// Tokens that are encoded where they are used, into shared memory.

#pragma once

#include "runtime/kernels/tile/quantize.cuh"

namespace saddle::device {

/// Codes of up to `most` tokens of `cols` columns, `tokenBytes` apart and zeros
/// up to `padded` columns; then the factors of groups of `group` columns,
/// `factorStride` for each group, of which token i has the i-th.
template <int group, int most, int cols, int padded, int tokenBytes,
          int factorStride>
struct TokenCodes {
  static constexpr int kGroups = (cols + group - 1) / group;
  static constexpr int kPadded = padded;
  static constexpr int kCodeBytes = most * tokenBytes;
  static constexpr int kBytes =
      kCodeBytes + kGroups * factorStride * static_cast<int>(sizeof(float));

  /// Groups that a warp encodes together, so that their loads and shuffles
  /// overlap: group `first` of all tokens' and every `step`-th behind it.
  template <int kCount>
  struct Batch {
    GroupEncoder<group> encoders[kCount];

    /// The groups of `total`; rowOf(token) is a row of T.
    template <typename RowOf>
    __device__ __forceinline__ void load(int first, int step, int total,
                                         RowOf rowOf) {
#pragma unroll
      for (int j = 0; j < kCount; ++j) {
        int task = first + j * step < total ? first + j * step : first;
        encoders[j].load(rowOf(task / kGroups) + task % kGroups * group,
                         cols - task % kGroups * group);
      }
    }
    __device__ __forceinline__ void store(uint8_t *codes, int first, int step,
                                          int total) {
      int lane = threadIdx.x % 32;
      auto *factors = reinterpret_cast<float *>(codes + kCodeBytes);
      float largest[kCount];
#pragma unroll
      for (int j = 0; j < kCount; ++j)
        largest[j] = encoders[j].largest();
#pragma unroll
      for (int distance = 16; distance > 0; distance /= 2)
#pragma unroll
        for (int j = 0; j < kCount; ++j)
          largest[j] = fmaxf(largest[j],
                             __shfl_xor_sync(kFullWarp, largest[j], distance));
#pragma unroll
      for (int j = 0; j < kCount; ++j) {
        int task = first + j * step;
        if (task >= total)
          continue;
        int token = task / kGroups, part = task % kGroups;
        uint8_t *to = codes + token * tokenBytes + part * group;
        float scale = groupScale(largest[j]);
        encoders[j].store(cols - part * group, scale,
                          [&](int k, e4m3 code) { to[k] = code.__x; });
        if (lane == 0)
          factors[part * factorStride + token] = scale;
        // Columns behind the last one are zeros.
        if (part == kGroups - 1)
          for (int k = cols - part * group + lane; k < padded - part * group;
               k += 32)
            to[k] = 0;
      }
    }
  };

  /// Warps 0 .. warps - 1 encode tokens 0 .. count - 1, rowOf(token). Calls
  /// between() when the loads of the first `batch` groups are under way: what
  /// is fetched before them comes before them.
  template <int batch = 4, typename RowOf, typename Between>
  static __device__ __forceinline__ void encode(uint8_t *codes, int count,
                                                int warp, int warps,
                                                RowOf rowOf, Between between) {
    int total = (count < most ? count : most) * kGroups;
    Batch<batch> groups;
    if (warp < total)
      groups.load(warp, warps, total, rowOf);
    between();
    for (int i = warp; i < total;) {
      groups.store(codes, i, warps, total);
      i += batch * warps;
      if (i < total)
        groups.load(i, warps, total, rowOf);
    }
  }
  template <int batch = 4, typename RowOf>
  static __device__ __forceinline__ void
  encode(uint8_t *codes, int count, int warp, int warps, RowOf rowOf) {
    encode<batch>(codes, count, warp, warps, rowOf, [] {});
  }

  /// Encodes `count` columns of a token, from `column` on, that a lane has in
  /// registers; the lanes behind it have the group's others. Called by whole
  /// warps: behind the last column values are zeros.
  template <int count>
  static __device__ __forceinline__ void
  storeLanes(uint8_t *codes, int token, int column,
             const float (&values)[count]) {
    constexpr int kLanes = group / count;
    static_assert(cols % group == 0 && group % count == 0 && kLanes <= 32 &&
                      32 % kLanes == 0 && count % 4 == 0,
                  "a warp has whole groups");
    float largest = 0;
#pragma unroll
    for (int i = 0; i < count; ++i)
      largest = fmaxf(largest, fabsf(values[i]));
#pragma unroll
    for (int distance = kLanes / 2; distance > 0; distance /= 2)
      largest = fmaxf(largest, __shfl_xor_sync(kFullWarp, largest, distance));
    if (column >= padded)
      return;
    float scale = groupScale(largest);
    Divisor divisor(scale);
    auto *to =
        reinterpret_cast<uint32_t *>(codes + token * tokenBytes + column);
#pragma unroll
    for (int i = 0; i < count; i += 4)
      to[i / 4] =
          e4m3Pair(divisor.divide(values[i]), divisor.divide(values[i + 1])) |
          e4m3Pair(divisor.divide(values[i + 2]), divisor.divide(values[i + 3]))
              << 16;
    if (column % group == 0 && column < cols)
      reinterpret_cast<float *>(
          codes + kCodeBytes)[column / group * factorStride + token] = scale;
  }
};

} // namespace saddle::device
