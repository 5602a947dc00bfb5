// What attention needs beside mma.cuh: matrix loads from shared memory, the f16
// product, streaming loads, exp2, and e4m3 pairs as f16 pairs.

#pragma once

#include <cstdint>
#include <cuda_bf16.h>
#include <cuda_fp16.h>

namespace saddle::device {

/// Four 8 x 8 matrices of 16-bit elements. Lane i gives the address (in shared
/// memory) of row i % 8 of matrix i / 8; register m gets matrix m: row lane /
/// 4, elements 2 (lane % 4) and the next.
__device__ __forceinline__ void loadMatrices(uint32_t (&r)[4],
                                             uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, "
               "[%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}

/// The same with each matrix transposed on its way.
__device__ __forceinline__ void loadMatricesTransposed(uint32_t (&r)[4],
                                                       uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, "
               "%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}

/// As mmaBf16 (ptx/mma.cuh), of f16 elements.
__device__ __forceinline__ void mmaF16(float (&d)[4], uint32_t a0, uint32_t a1,
                                       uint32_t a2, uint32_t a3, uint32_t b0,
                                       uint32_t b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
               "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
               "{%0, %1, %2, %3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

/// 16 bytes that are read once: they do not displace others from L1.
__device__ __forceinline__ uint4 loadOnce(const void *address) {
  uint4 value;
  asm volatile("ld.global.nc.L1::no_allocate.v4.b32 {%0, %1, %2, %3}, [%4];"
               : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w)
               : "l"(address));
  return value;
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

/// Two floats rounded, the first one in the low half.
__device__ __forceinline__ uint32_t bf16Pair(float a, float b) {
  __nv_bfloat162 pair = __floats2bfloat162_rn(a, b);
  return *reinterpret_cast<uint32_t *>(&pair);
}
__device__ __forceinline__ uint32_t f16Pair(float a, float b) {
  __half2 pair = __floats2half2_rn(a, b);
  return *reinterpret_cast<uint32_t *>(&pair);
}
__device__ __forceinline__ float2 bf16Values(uint32_t pair) {
  return __bfloat1622float2(*reinterpret_cast<__nv_bfloat162 *>(&pair));
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
