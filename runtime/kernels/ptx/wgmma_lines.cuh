// wgmma with both operands in shared memory, whose rows are lines of 128 bytes
// of k (swizzledTile()): a warpgroup's product of 64 rows of a and 8 to 128
// rows of b. d[n] of a warp are 16 of a's rows at b's rows 8 n to 8 n + 7, lane
// by lane as in mma.cuh. Otherwise as wgmma_rows.cuh.

#pragma once

#include "runtime/kernels/ptx/registers.cuh"
#include "runtime/kernels/ptx/wgmma.cuh"

namespace saddle::device {

/// d += a b^T, or d = a b^T when not `adds`, over 32 bytes of k: of e4m3 with
/// T of one byte, else of bf16. The text of an instruction of `columns` columns
/// has a, b and the flag behind the registers of d.
#define SADDLE_WGMMA_LINES_TEXT(type, columns, places, a, b, adding, end)      \
  "{ .reg .pred adds; setp.ne.b32 adds, " adding ", 0; "                       \
  "wgmma.mma_async.sync.aligned.m64n" #columns type " {" places "}, " a ", " b \
  ", adds, 1, 1" end "; }"
#define SADDLE_WGMMA_LINES(columns, places, a, b, adding, ...)                 \
  template <typename T, bool adds>                                             \
  __device__ __forceinline__ void wgmmaLines(float (&d)[columns / 8][4],       \
                                             uint64_t aTile, uint64_t bTile) { \
    if constexpr (sizeof(T) == 1)                                              \
      asm volatile(SADDLE_WGMMA_LINES_TEXT("k32.f32.e4m3.e4m3", columns,       \
                                           places, a, b, adding, "")           \
                   : __VA_ARGS__                                               \
                   : "l"(aTile), "l"(bTile), "n"(adds ? 1 : 0));               \
    else                                                                       \
      asm volatile(SADDLE_WGMMA_LINES_TEXT("k16.f32.bf16.bf16", columns,       \
                                           places, a, b, adding, ", 0, 0")     \
                   : __VA_ARGS__                                               \
                   : "l"(aTile), "l"(bTile), "n"(adds ? 1 : 0));               \
  }

SADDLE_WGMMA_LINES(8, SADDLE_PLACES_4, "%4", "%5", "%6", SADDLE_ROWS_1(d, 0))
SADDLE_WGMMA_LINES(16, SADDLE_PLACES_8, "%8", "%9", "%10", SADDLE_ROWS_2(d, 0))
SADDLE_WGMMA_LINES(24, SADDLE_PLACES_12, "%12", "%13", "%14",
                   SADDLE_ROWS_2(d, 0), SADDLE_ROWS_1(d, 2))
SADDLE_WGMMA_LINES(32, SADDLE_PLACES_16, "%16", "%17", "%18",
                   SADDLE_ROWS_4(d, 0))
SADDLE_WGMMA_LINES(48, SADDLE_PLACES_24, "%24", "%25", "%26",
                   SADDLE_ROWS_4(d, 0), SADDLE_ROWS_2(d, 4))
SADDLE_WGMMA_LINES(64, SADDLE_PLACES_32, "%32", "%33", "%34",
                   SADDLE_ROWS_8(d, 0))
SADDLE_WGMMA_LINES(128, SADDLE_PLACES_64, "%64", "%65", "%66",
                   SADDLE_ROWS_8(d, 0), SADDLE_ROWS_8(d, 8))

#undef SADDLE_WGMMA_LINES
#undef SADDLE_WGMMA_LINES_TEXT

} // namespace saddle::device
