// What attention and scans need beside mma.cuh: streaming loads, whole stores,
// exp2, and e4m3 pairs as f16 pairs.

#pragma once

#include <cstdint>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>

namespace saddle::device {

/// 16 bytes that are read once: they do not displace others from L1.
__device__ __forceinline__ uint4 loadOnce(const void *address) {
  uint4 value;
  asm volatile("ld.global.nc.L1::no_allocate.v4.b32 {%0, %1, %2, %3}, [%4];"
               : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w)
               : "l"(address));
  return value;
}

/// Four values at a multiple of 16 bytes as one access, which nvcc may take
/// apart when it sees where they come from.
__device__ __forceinline__ void storeFour(float *address, float a, float b,
                                          float c, float d) {
  asm volatile("st.global.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(address),
               "f"(a), "f"(b), "f"(c), "f"(d)
               : "memory");
}

/// 2^x to 2 ulp; 0 for -infinity.
__device__ __forceinline__ float exp2Fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

/// Two e4m3 codes in the low half of `codes`, the first one lowest, as f16:
/// exact.
__device__ __forceinline__ uint32_t e4m3PairToF16(uint32_t codes) {
  uint32_t pair;
  asm("{ .reg .b16 c; cvt.u16.u32 c, %1; cvt.rn.f16x2.e4m3x2 %0, c; }"
      : "=r"(pair)
      : "r"(codes));
  return pair;
}

/// The same of both halves.
__device__ __forceinline__ void e4m3PairsToF16(uint32_t codes, uint32_t &low,
                                               uint32_t &high) {
  asm("{ .reg .b16 a, b; mov.b32 {a, b}, %2; cvt.rn.f16x2.e4m3x2 %0, a; "
      "cvt.rn.f16x2.e4m3x2 %1, b; }"
      : "=r"(low), "=r"(high)
      : "r"(codes));
}

/// Two floats as e4m3 codes that saturate, the first one in the low byte.
__device__ __forceinline__ uint32_t e4m3Pair(float a, float b) {
  return __nv_cvt_float2_to_fp8x2({a, b}, __NV_SATFINITE, __NV_E4M3);
}

/// Two floats rounded, the first one in the low half.
__device__ __forceinline__ uint32_t bf16Pair(float a, float b) {
  __nv_bfloat162 pair = __floats2bfloat162_rn(a, b);
  return *reinterpret_cast<uint32_t *>(&pair);
}
__device__ __forceinline__ uint32_t f16Pair(float a, float b) {
  __half2 pair = __floats2half2_rn(a, b);
  return *reinterpret_cast<uint32_t *>(&pair);
}
/// One instruction each; CUDA's own function has two for the upper one.
__device__ __forceinline__ float2 bf16Values(uint32_t pair) {
  return {__uint_as_float(pair << 16), __uint_as_float(pair & 0xffff0000u)};
}
__device__ __forceinline__ float2 f16Values(uint32_t pair) {
  return __half22float2(*reinterpret_cast<__half2 *>(&pair));
}

/// The power of two p, at least 2^-126, with p <= value < 2 p for what lies
/// between; both p and 1 / p are normal.
__device__ __forceinline__ float powerBelow(float value) {
  uint32_t exponent = __float_as_uint(value) >> 23 & 0xff;
  return __uint_as_float(min(max(exponent, 1u), 253u) << 23);
}

/// The low halves of a and b, then the high halves, as pairs.
__device__ __forceinline__ uint32_t lowHalves(uint32_t a, uint32_t b) {
  return __byte_perm(a, b, 0x5410);
}
__device__ __forceinline__ uint32_t highHalves(uint32_t a, uint32_t b) {
  return __byte_perm(a, b, 0x7632);
}

} // namespace saddle::device
