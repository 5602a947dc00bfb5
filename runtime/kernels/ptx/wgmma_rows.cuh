// wgmma with its first operand in registers: a warpgroup's asynchronous product
// of 64 rows and a tile in shared memory. Each warp has 16 of the rows, lane by
// lane as in mma.cuh; d[n] are its four values of columns 8 n to 8 n + 7.
//
// Between a product and the wait for it, nothing may touch its registers: not
// even values for the next product may be made in the place of a's.

#pragma once

#include "runtime/kernels/ptx/wgmma.cuh"

namespace saddle::device {

/// Waits until at most the last `pending` groups of products are under way.
template <int pending>
__device__ __forceinline__ void wgmmaWaitFor() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory");
}

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

#define SADDLE_REGISTERS_1(d, n)                                               \
  "+f"((d)[n][0]), "+f"((d)[n][1]), "+f"((d)[n][2]), "+f"((d)[n][3])
#define SADDLE_REGISTERS_8(d, n)                                               \
  SADDLE_REGISTERS_1(d, n), SADDLE_REGISTERS_1(d, (n) + 1),                    \
      SADDLE_REGISTERS_1(d, (n) + 2), SADDLE_REGISTERS_1(d, (n) + 3),          \
      SADDLE_REGISTERS_1(d, (n) + 4), SADDLE_REGISTERS_1(d, (n) + 5),          \
      SADDLE_REGISTERS_1(d, (n) + 6), SADDLE_REGISTERS_1(d, (n) + 7)

/// d += a * b, or d = a * b when not `adds`; k = 16, of bf16 or f16.
/// `transposed`: b is given by swizzledColumns(), else its rows are columns of
/// d (swizzledTile()).
#define SADDLE_WGMMA_ROWS_64(name, type)                                       \
  template <bool transposed, bool adds = true>                                 \
  __device__ __forceinline__ void name(float (&d)[8][4],                       \
                                       const uint32_t (&a)[4], uint64_t b) {   \
    asm volatile("{ .reg .pred adds; setp.ne.b32 adds, %38, 0; "               \
                 "wgmma.mma_async.sync.aligned.m64n64k16.f32." type "." type   \
                 " {"                                                          \
                 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, "     \
                 "%13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, "     \
                 "%24, %25, %26, %27, %28, %29, %30, %31 "                     \
                 "}, {%32, %33, %34, %35}, %36, adds, 1, 1, %37; }"            \
                 : SADDLE_REGISTERS_8(d, 0)                                    \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b),         \
                   "n"(transposed ? 1 : 0), "n"(adds ? 1 : 0));                \
  }
#define SADDLE_WGMMA_ROWS_128(name, type)                                      \
  template <bool transposed, bool adds = true>                                 \
  __device__ __forceinline__ void name(float (&d)[16][4],                      \
                                       const uint32_t (&a)[4], uint64_t b) {   \
    asm volatile("{ .reg .pred adds; setp.ne.b32 adds, %70, 0; "               \
                 "wgmma.mma_async.sync.aligned.m64n128k16.f32." type "." type  \
                 " {"                                                          \
                 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, "     \
                 "%13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, "     \
                 "%24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, "     \
                 "%35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, "     \
                 "%46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, "     \
                 "%57, %58, %59, %60, %61, %62, %63 "                          \
                 "}, {%64, %65, %66, %67}, %68, adds, 1, 1, %69; }"            \
                 : SADDLE_REGISTERS_8(d, 0), SADDLE_REGISTERS_8(d, 8)          \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b),         \
                   "n"(transposed ? 1 : 0), "n"(adds ? 1 : 0));                \
  }

SADDLE_WGMMA_ROWS_64(wgmmaRowsBf16, "bf16")
SADDLE_WGMMA_ROWS_64(wgmmaRowsF16, "f16")
SADDLE_WGMMA_ROWS_128(wgmmaRowsBf16, "bf16")
SADDLE_WGMMA_ROWS_128(wgmmaRowsF16, "f16")

#undef SADDLE_WGMMA_ROWS_128
#undef SADDLE_WGMMA_ROWS_64
#undef SADDLE_REGISTERS_8
#undef SADDLE_REGISTERS_1

} // namespace saddle::device
