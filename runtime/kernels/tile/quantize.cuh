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

/// A warp encodes `count` values, read(i), and calls write(i, code); returns
/// their scale. Values of NaN do not count for the scale.
template <typename Read, typename Write>
__device__ __forceinline__ float encodeGroup(int count, Read read,
                                             Write write) {
  int lane = threadIdx.x % 32;
  float largest = 0;
  for (int i = lane; i < count; i += 32)
    largest = fmaxf(largest, fabsf(read(i)));
  float scale = groupScale(warpMax(largest));
  for (int i = lane; i < count; i += 32)
    write(i, fromFloat<e4m3>(read(i) / scale));
  return scale;
}

} // namespace saddle::device
