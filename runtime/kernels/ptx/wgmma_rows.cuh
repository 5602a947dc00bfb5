// wgmma with its first operand in registers: a warpgroup's asynchronous product
// of 64 rows and a tile in shared memory. Each warp has 16 of the rows, lane by
// lane as in mma.cuh; d[n] are its four values of columns 8 n to 8 n + 7.
//
// Between a product and the wait for it, nothing may touch its registers: not
// even values for the next product may be made in the place of a's.

#pragma once

#include "runtime/kernels/ptx/registers.cuh"
#include "runtime/kernels/ptx/wgmma.cuh"

namespace saddle::device {

/// Ties the values of products to the wait before: without it the compiler may
/// read them earlier.
template <int columns>
__device__ __forceinline__ void settle(float (&d)[columns][4]) {
#pragma unroll
  for (int n = 0; n < columns; ++n)
#pragma unroll
    for (int i = 0; i < 4; ++i)
      asm volatile("" : "+f"(d[n][i])::"memory");
}

/// A tile whose rows are k, of 64 columns each, swizzled as swizzledTile();
/// `next` bytes further lie the next 64 columns.
__device__ __forceinline__ uint64_t swizzledColumns(uint32_t shared,
                                                    uint32_t next) {
  constexpr uint64_t kNextField = uint64_t(0x3fff) << 16;
  return (swizzledTile(shared) & ~kNextField) | static_cast<uint64_t>(next / 16)
                                                    << 16;
}

/// d += a * b, or d = a * b when not `adds`; k = 16, of bf16 or f16.
/// `transposed`: b is given by swizzledColumns(), else its rows are columns of
/// d (swizzledTile()). The text of an instruction with `columns` columns, and
/// of its operands behind the registers of d: those of a, b, and the two flags.
#define SADDLE_WGMMA_ROWS_TEXT(type, columns, places, a, b, turned, adding)    \
  "{ .reg .pred adds; setp.ne.b32 adds, " adding ", 0; "                       \
  "wgmma.mma_async.sync.aligned.m64n" columns "k16.f32." type "." type         \
  " {" places "}, {" a "}, " b ", adds, 1, 1, " turned "; }"
#define SADDLE_WGMMA_ROWS(name, count, text, ...)                              \
  template <bool transposed, bool adds = true>                                 \
  __device__ __forceinline__ void name(float (&d)[count][4],                   \
                                       const uint32_t (&a)[4], uint64_t b) {   \
    asm volatile(text                                                          \
                 : __VA_ARGS__                                                 \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b),         \
                   "n"(transposed ? 1 : 0), "n"(adds ? 1 : 0));                \
  }
#define SADDLE_WGMMA_ROWS_64(name, type)                                       \
  SADDLE_WGMMA_ROWS(name, 8,                                                   \
                    SADDLE_WGMMA_ROWS_TEXT(type, "64", SADDLE_PLACES_32,       \
                                           "%32, %33, %34, %35", "%36", "%37", \
                                           "%38"),                             \
                    SADDLE_ROWS_8(d, 0))
#define SADDLE_WGMMA_ROWS_128(name, type)                                      \
  SADDLE_WGMMA_ROWS(name, 16,                                                  \
                    SADDLE_WGMMA_ROWS_TEXT(type, "128", SADDLE_PLACES_64,      \
                                           "%64, %65, %66, %67", "%68", "%69", \
                                           "%70"),                             \
                    SADDLE_ROWS_8(d, 0), SADDLE_ROWS_8(d, 8))

SADDLE_WGMMA_ROWS_64(wgmmaRowsBf16, "bf16")
SADDLE_WGMMA_ROWS_64(wgmmaRowsF16, "f16")
SADDLE_WGMMA_ROWS_128(wgmmaRowsBf16, "bf16")
SADDLE_WGMMA_ROWS_128(wgmmaRowsF16, "f16")

#undef SADDLE_WGMMA_ROWS_128
#undef SADDLE_WGMMA_ROWS_64
#undef SADDLE_WGMMA_ROWS
#undef SADDLE_WGMMA_ROWS_TEXT

} // namespace saddle::device
