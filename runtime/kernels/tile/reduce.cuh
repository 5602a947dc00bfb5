// Sums over the threads of a warp or of a CTA, in a fixed order: every thread
// gets the same bits.

#pragma once

#include <cstdint>

namespace saddle::device {

constexpr unsigned kFullWarp = 0xffffffffu;

__device__ __forceinline__ float warpSum(float value) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2)
    value += __shfl_xor_sync(kFullWarp, value, distance);
  return value;
}

__device__ __forceinline__ float warpMax(float value) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2)
    value = fmaxf(value, __shfl_xor_sync(kFullWarp, value, distance));
  return value;
}

/// Over all `threads` of the CTA, a multiple of 32, several values at once.
/// `scratch` holds count * threads / 32 floats of shared memory and may be
/// reused after the call returns.
template <int threads, int count>
__device__ void blockSums(float (&values)[count], float *scratch) {
  static_assert(threads % 32 == 0 && threads <= 1024,
                "a CTA is whole warps, at most 32 of them");
  constexpr int kWarps = threads / 32;
#pragma unroll
  for (int i = 0; i < count; ++i) {
    values[i] = warpSum(values[i]);
    if (threadIdx.x % 32 == 0)
      scratch[i * kWarps + threadIdx.x / 32] = values[i];
  }
  __syncthreads();
#pragma unroll
  for (int i = 0; i < count; ++i) {
    values[i] = 0;
#pragma unroll
    for (int warp = 0; warp < kWarps; ++warp)
      values[i] += scratch[i * kWarps + warp];
  }
  __syncthreads();
}

/// Of one value; `scratch` holds threads / 32 floats.
template <int threads>
__device__ __forceinline__ float blockSum(float value, float *scratch) {
  float values[1] = {value};
  blockSums<threads>(values, scratch);
  return values[0];
}

} // namespace saddle::device
