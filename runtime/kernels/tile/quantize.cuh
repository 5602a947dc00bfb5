// Dynamic quantisation of activations (docs/Runtime.md, `act_group`): a group's
// values are its e4m3 codes times one fp32 scale.

#pragma once

#include "runtime/kernels/tile/reduce.cuh"
#include "runtime/kernels/tile/types.cuh"

namespace saddle::device {

/// The scale of a group with that largest magnitude.
__device__ __forceinline__ float groupScale(float largest) {
  float scale = largest / 448.0f;
  return scale == 0 ? 1.0f : scale;
}

/// A warp encodes `count` <= most values, read(i), and calls write(i, code);
/// returns their scale. A lane reads and writes the same i. Values of NaN do
/// not count for the scale.
template <int most, typename Read, typename Write>
__device__ __forceinline__ float encodeGroup(int count, Read read,
                                             Write write) {
  constexpr int kEach = (most + 31) / 32;
  static_assert(kEach <= 16, "a group fits in the registers of a warp");
  int lane = threadIdx.x % 32;
  float values[kEach], largest = 0;
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    values[i] = i * 32 + lane < count ? read(i * 32 + lane) : 0;
    largest = fmaxf(largest, fabsf(values[i]));
  }
  float scale = groupScale(warpMax(largest));
#pragma unroll
  for (int i = 0; i < kEach; ++i)
    if (i * 32 + lane < count)
      write(i * 32 + lane, fromFloat<e4m3>(values[i] / scale));
  return scale;
}

/// The same for a group of any size.
template <typename Read, typename Write>
__device__ __forceinline__ float encodeLongGroup(int64_t count, Read read,
                                                 Write write) {
  int lane = threadIdx.x % 32;
  float largest = 0;
  for (int64_t i = lane; i < count; i += 32)
    largest = fmaxf(largest, fabsf(read(i)));
  float scale = groupScale(warpMax(largest));
  for (int64_t i = lane; i < count; i += 32)
    write(i, fromFloat<e4m3>(read(i) / scale));
  return scale;
}

} // namespace saddle::device
