// wgmma with both operands in shared memory, whose rows are lines of 128 bytes
// (swizzledTile()): a warpgroup's product of 64 rows of a and 8 to 64 rows of
// b. d[n] of a warp are 16 of a's rows at b's rows 8 n to 8 n + 7, lane by lane
// as in mma.cuh. Of a step of 32 bytes of k; otherwise as wgmma_rows.cuh.

#pragma once

#include "runtime/kernels/ptx/registers.cuh"
#include "runtime/kernels/ptx/wgmma.cuh"
#include "runtime/kernels/tile/types.cuh"

namespace saddle::device {

/// d += a * b of elements T, e4m3 or bf16; `columns` times eight rows of b.
template <typename T, int columns>
struct WgmmaLines;

#define SADDLE_WGMMA_LINES(type, text, columns, places, a, b, ...)             \
  template <>                                                                  \
  struct WgmmaLines<type, columns / 8> {                                       \
    static __device__ __forceinline__ void                                     \
    add(float (&d)[columns / 8][4], uint64_t aTile, uint64_t bTile) {          \
      asm volatile("{ .reg .pred adds; setp.ne.b32 adds, 1, 0; "               \
                   "wgmma.mma_async.sync.aligned.m64n" #columns text           \
                   " {" places "}, " a ", " b                                  \
                   ", adds, 1, 1" SADDLE_WGMMA_TAIL_##type "; }"               \
                   : __VA_ARGS__                                               \
                   : "l"(aTile), "l"(bTile));                                  \
    }                                                                          \
  };
#define SADDLE_WGMMA_TAIL_e4m3
#define SADDLE_WGMMA_TAIL_bf16 ", 0, 0"
#define SADDLE_WGMMA_LINES_OF(columns, places, a, b, ...)                      \
  SADDLE_WGMMA_LINES(e4m3, "k32.f32.e4m3.e4m3", columns, places, a, b,         \
                     __VA_ARGS__)                                              \
  SADDLE_WGMMA_LINES(bf16, "k16.f32.bf16.bf16", columns, places, a, b,         \
                     __VA_ARGS__)

SADDLE_WGMMA_LINES_OF(8, SADDLE_PLACES_4, "%4", "%5", SADDLE_ROWS_1(d, 0))
SADDLE_WGMMA_LINES_OF(16, SADDLE_PLACES_8, "%8", "%9", SADDLE_ROWS_2(d, 0))
SADDLE_WGMMA_LINES_OF(24, SADDLE_PLACES_12, "%12", "%13", SADDLE_ROWS_2(d, 0),
                      SADDLE_ROWS_1(d, 2))
SADDLE_WGMMA_LINES_OF(32, SADDLE_PLACES_16, "%16", "%17", SADDLE_ROWS_4(d, 0))
SADDLE_WGMMA_LINES_OF(48, SADDLE_PLACES_24, "%24", "%25", SADDLE_ROWS_4(d, 0),
                      SADDLE_ROWS_2(d, 4))
SADDLE_WGMMA_LINES_OF(64, SADDLE_PLACES_32, "%32", "%33", SADDLE_ROWS_8(d, 0))

#undef SADDLE_WGMMA_LINES_OF
#undef SADDLE_WGMMA_TAIL_bf16
#undef SADDLE_WGMMA_TAIL_e4m3
#undef SADDLE_WGMMA_LINES

} // namespace saddle::device
