// Element types and their conversions. All arithmetic is fp32; a value is
// rounded once, to nearest even, when it is stored.

#pragma once

#include <cstdint>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>

namespace saddle::device {

using f32 = float;
using bf16 = __nv_bfloat16;
using f16 = __half;
using e4m3 = __nv_fp8_e4m3;
using i32 = int32_t;
using i8 = int8_t;
using u8 = uint8_t;

/// A power of two: eight bits of exponent. 255 is no number.
struct e8m0 {
  uint8_t exponent;
};

__device__ __forceinline__ float toFloat(f32 value) { return value; }
__device__ __forceinline__ float toFloat(bf16 value) {
  return __bfloat162float(value);
}
__device__ __forceinline__ float toFloat(f16 value) {
  return __half2float(value);
}
__device__ __forceinline__ float toFloat(e4m3 value) {
  return static_cast<float>(value);
}
__device__ __forceinline__ float toFloat(i8 value) { return value; }
__device__ __forceinline__ float toFloat(u8 value) { return value; }
__device__ __forceinline__ float toFloat(e8m0 value) {
  uint32_t bits = static_cast<uint32_t>(value.exponent) << 23;
  float power = __uint_as_float(max(bits, 0x00400000u)); // 2^-127
  return fmaf(power, 0.0f, power); // infinity becomes no number
}

template <typename T>
__device__ __forceinline__ T fromFloat(float value);
template <>
__device__ __forceinline__ f32 fromFloat<f32>(float value) {
  return value;
}
template <>
__device__ __forceinline__ bf16 fromFloat<bf16>(float value) {
  return __float2bfloat16_rn(value);
}
template <>
__device__ __forceinline__ f16 fromFloat<f16>(float value) {
  return __float2half_rn(value);
}
/// Saturates at 448.
template <>
__device__ __forceinline__ e4m3 fromFloat<e4m3>(float value) {
  return e4m3(value);
}

/// The value that an element has which was rounded from this one.
template <typename T>
__device__ __forceinline__ float rounded(float value) {
  return toFloat(fromFloat<T>(value));
}
/// As the upper half of a pair, whose conversion is four times as fast as that
/// of a single one.
template <>
__device__ __forceinline__ float rounded<bf16>(float value) {
  uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(value), "f"(0.0f));
  return __uint_as_float(pair);
}

/// `count` elements that move as one 4-, 8- or 16-byte access.
template <typename T, int count>
struct alignas(sizeof(T) * count) Vector {
  T values[count];
  __device__ __forceinline__ T &operator[](int i) { return values[i]; }
  __device__ __forceinline__ const T &operator[](int i) const {
    return values[i];
  }
};

} // namespace saddle::device
