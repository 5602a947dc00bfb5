// Dynamic quantisation of activations (docs/Runtime.md, `act_group`): a group's
// values are its e4m3 codes times one fp32 scale.

#pragma once

#include "runtime/kernels/ptx/fragments.cuh"
#include "runtime/kernels/shared/limits.h"
#include "runtime/kernels/tile/reduce.cuh"
#include "runtime/kernels/tile/types.cuh"

#include <cstring>

namespace saddle::device {

/// Divides by one number again and again, rounded as a division is, without the
/// call that a division can be. For positive divisors; quotients of tiny
/// numbers (below 1e-30) may be off in the last place.
struct Divisor {
  float lift, value, reciprocal;

  __device__ __forceinline__ explicit Divisor(float divisor)
      : lift(divisor < 1e-30f ? 0x1p96f : 1.0f), value(divisor * lift) {
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(reciprocal) : "f"(value));
    reciprocal = fmaf(fmaf(-value, reciprocal, 1.0f), reciprocal, reciprocal);
  }
  __device__ __forceinline__ float divide(float dividend) const {
    dividend *= lift;
    float first = dividend * reciprocal;
    return fmaf(fmaf(-first, value, dividend), reciprocal, first);
  }
};

/// The scale of a group with that largest magnitude.
__device__ __forceinline__ float groupScale(float largest) {
  float scale = Divisor(448.0f).divide(largest);
  return scale == 0 ? 1.0f : scale;
}

/// A warp encodes a group of up to `most` values in two steps, so that the
/// loads of several groups can be under way at a time. NaN does not count for
/// the scale.
template <int most>
struct GroupEncoder {
  static constexpr int kEach = (most + 31) / 32;
  static_assert(most <= kMostGroupValues,
                "a group fits in the registers of a warp");
  float values[kEach];

  /// The first min(count, most) values.
  template <typename T>
  __device__ __forceinline__ void load(const T *from, int count) {
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      int k = i * 32 + lane;
      values[i] = k < count && k < most ? toFloat(from[k]) : 0;
    }
  }
  /// The largest magnitude of this lane's values.
  __device__ __forceinline__ float largest() const {
    float result = 0;
#pragma unroll
    for (int i = 0; i < kEach; ++i)
      result = fmaxf(result, fabsf(values[i]));
    return result;
  }
  /// Calls write(i, code) for each, with the group's scale.
  template <typename Write>
  __device__ __forceinline__ void store(int count, float scale, Write write) {
    int lane = threadIdx.x % 32;
    Divisor divisor(scale);
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      int k = i * 32 + lane;
      if (k < count && k < most)
        write(k, fromFloat<e4m3>(divisor.divide(values[i])));
    }
  }
};

/// Encodes two groups of 128 values, of which each half of a warp has one and
/// each lane eight neighbours. Makes the lane's codes, by all lanes; returns
/// the group's scale.
__device__ __forceinline__ float encodeHalfWarp(float (&numbers)[8],
                                                uint2 &codes) {
  float largest = 0;
#pragma unroll
  for (int i = 0; i < 8; ++i)
    largest = fmaxf(largest, fabsf(numbers[i]));
#pragma unroll
  for (int distance = 8; distance > 0; distance /= 2)
    largest = fmaxf(largest, __shfl_xor_sync(kFullWarp, largest, distance));
  float scale = groupScale(largest);
  Divisor divisor(scale);
#pragma unroll
  for (int i = 0; i < 8; ++i)
    numbers[i] = divisor.divide(numbers[i]);
  codes.x = e4m3Pair(numbers[0], numbers[1]) | e4m3Pair(numbers[2], numbers[3])
                                                   << 16;
  codes.y = e4m3Pair(numbers[4], numbers[5]) | e4m3Pair(numbers[6], numbers[7])
                                                   << 16;
  return scale;
}

/// The same of values in memory, so that loads of several groups can be under
/// way at a time.
template <typename T>
struct HalfWarpEncoder {
  uint4 words = {}; // as many registers, which elements would not be

  /// Of the lane's group.
  __device__ __forceinline__ void load(const T *from) {
    words = *reinterpret_cast<const uint4 *>(from + threadIdx.x % 16 * 8);
  }
  __device__ __forceinline__ float encode(uint2 &codes) const {
    Vector<T, 8> values;
    static_assert(sizeof(values) == sizeof(words), "eight of two bytes");
    memcpy(&values, &words, sizeof(values));
    float numbers[8];
#pragma unroll
    for (int i = 0; i < 8; ++i)
      numbers[i] = toFloat(values[i]);
    return encodeHalfWarp(numbers, codes);
  }
};

/// A warp encodes a group of any size: values read(i), write(i, code). A lane
/// reads and writes the same i. Returns the scale.
template <typename Read, typename Write>
__device__ __forceinline__ float encodeLongGroup(int64_t count, Read read,
                                                 Write write) {
  int lane = threadIdx.x % 32;
  float largest = 0;
  for (int64_t i = lane; i < count; i += 32)
    largest = fmaxf(largest, fabsf(read(i)));
  float scale = groupScale(warpMax(largest));
  Divisor divisor(scale);
  for (int64_t i = lane; i < count; i += 32)
    write(i, fromFloat<e4m3>(divisor.divide(read(i))));
  return scale;
}

/// A warp encodes the first min(count, most) values, and their scale.
template <int most, typename T>
__device__ __forceinline__ void encodeGroup(const T *from, int count,
                                            e4m3 *codes, float *scaleOut) {
  auto write = [&](int64_t k, e4m3 code) { codes[k] = code; };
  float scale;
  if constexpr (most <= kMostGroupValues) {
    GroupEncoder<most> encoder;
    encoder.load(from, count);
    scale = groupScale(warpMax(encoder.largest()));
    encoder.store(count, scale, write);
  } else {
    scale = encodeLongGroup(
        count < most ? count : most,
        [&](int64_t k) { return toFloat(from[k]); }, write);
  }
  if (threadIdx.x % 32 == 0)
    *scaleOut = scale;
}

} // namespace saddle::device
