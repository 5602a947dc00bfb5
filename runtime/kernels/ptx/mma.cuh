// mma.sync: a warp's product of a 16-row and an 8-column fragment, added to
// fp32, or to integers. Lane 4 g + t holds rows g and g + 8 of the first,
// column g of the second, and of the sum rows g (d[0], d[1]) and g + 8 (d[2],
// d[3]) at columns 2 t and 2 t + 1.

#pragma once

#include <cstdint>

namespace saddle::device {

#define SADDLE_MMA(name, shape, type)                                          \
  __device__ __forceinline__ void name(float (&d)[4], uint32_t a0,             \
                                       uint32_t a1, uint32_t a2, uint32_t a3,  \
                                       uint32_t b0, uint32_t b1) {             \
    asm volatile("mma.sync.aligned." shape ".row.col.f32." type "." type       \
                 ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "         \
                 "{%0, %1, %2, %3};"                                           \
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])              \
                 : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));      \
  }

/// k = 16; each register holds two consecutive k.
SADDLE_MMA(mmaBf16, "m16n8k16", "bf16")
SADDLE_MMA(mmaF16, "m16n8k16", "f16")
/// k = 32; each register holds four consecutive k. sm_90 widens the codes to
/// f16 and runs two products of k = 16, so sums are fp32 throughout.
SADDLE_MMA(mmaE4m3, "m16n8k32", "e4m3")

#undef SADDLE_MMA

/// k = 32, exact: bytes, those of b with a sign; d is added to.
#define SADDLE_INTEGER_MMA(name, type)                                         \
  __device__ __forceinline__ void name(int (&d)[4], uint32_t a0, uint32_t a1,  \
                                       uint32_t a2, uint32_t a3, uint32_t b0,  \
                                       uint32_t b1) {                          \
    asm volatile("mma.sync.aligned.m16n8k32.row.col.s32." type                 \
                 ".s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "      \
                 "{%0, %1, %2, %3};"                                           \
                 : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])              \
                 : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));      \
  }
SADDLE_INTEGER_MMA(mmaU8, "u8")
SADDLE_INTEGER_MMA(mmaS8, "s8")
#undef SADDLE_INTEGER_MMA

} // namespace saddle::device
